"""A browser without a window: cookies, `Origin`, `Sec-Fetch-Site`, and no redirect followed behind one's back."""

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2

from harness.forms import Form, Page, read_page
from harness.secrets_seen import remember


def origin_of(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class UserAgent:
    """One browser profile."""

    def __init__(self, trust: ssl.SSLContext | bool = True) -> None:
        # Browsers trust loopback like https and keep `Secure` cookies there; Keycloak sets them on plain http.
        policy = DefaultCookiePolicy(secure_protocols=("https", "http"))
        self.jar = CookieJar(policy)
        self._http = httpx2.Client(cookies=self.jar, timeout=20, trust_env=False, follow_redirects=False, verify=trust)

    def get(self, url: str) -> httpx2.Response:
        """Opens an address as if it were typed or linked to."""
        return self._noted(self._http.get(url, headers={"Accept": "text/html", "Sec-Fetch-Site": "none"}))

    def submit(
        self, page: httpx2.Response, form: Form, entered: dict[str, str], site: str = "same-origin"
    ) -> httpx2.Response:
        """Sends a form of a page: its hidden fields and what was entered or clicked."""
        here = str(page.request.url)
        answer = self._http.post(
            urljoin(here, form.action),
            data={**form.hidden, **entered},
            headers={"Accept": "text/html", "Origin": origin_of(here), "Sec-Fetch-Site": site},
        )
        return self._noted(answer)

    @staticmethod
    def _noted(response: httpx2.Response) -> httpx2.Response:
        """Cookies and codes on the way are secrets too."""
        remember(*(value for value in response.cookies.values() if len(value) >= 16))
        remember(*parse_qs(urlsplit(location(response) or "").query).get("code", []))
        return response

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()


def location(response: httpx2.Response) -> str | None:
    """The absolute address that a response sends the browser to."""
    if response.status_code not in (302, 303, 307):
        return None
    return urljoin(str(response.request.url), response.headers["location"])


def page_of(response: httpx2.Response) -> Page:
    """The document in a response."""
    return read_page(response.text)
