"""A headless browser without JavaScript: cookies, `Origin`, `Sec-Fetch-Site`; it follows no redirects by itself."""

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
        # Browsers accept `Secure` cookies on loopback over http; Keycloak sets them there.
        policy = DefaultCookiePolicy(secure_protocols=("https", "http"))
        self.jar = CookieJar(policy)
        self._http = httpx2.Client(cookies=self.jar, timeout=20, trust_env=False, follow_redirects=False, verify=trust)

    def get(self, url: str) -> httpx2.Response:
        """Opens a URL as if it were typed."""
        return self._noted(self._http.get(url, headers={"Accept": "text/html", "Sec-Fetch-Site": "none"}))

    def submit(
        self, page: httpx2.Response, form: Form, entered: dict[str, str], site: str = "same-origin"
    ) -> httpx2.Response:
        """Submits a form: its hidden fields, the input, and the button."""
        here = str(page.request.url)
        answer = self._http.post(
            urljoin(here, form.action),
            data={**form.hidden, **entered},
            headers={"Accept": "text/html", "Origin": origin_of(here), "Sec-Fetch-Site": site},
        )
        return self._noted(answer)

    @staticmethod
    def _noted(response: httpx2.Response) -> httpx2.Response:
        """Records cookies and codes as secrets."""
        remember(*(value for value in response.cookies.values() if len(value) >= 16))
        remember(*parse_qs(urlsplit(location(response) or "").query).get("code", []))
        return response

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()


def location(response: httpx2.Response) -> str | None:
    """The absolute URL of a redirect; `None` for other responses."""
    if response.status_code not in (302, 303, 307):
        return None
    return urljoin(str(response.request.url), response.headers["location"])


def page_of(response: httpx2.Response) -> Page:
    """The document in a response."""
    return read_page(response.text)
