"""A user who answers page after page until the client is called back."""

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx2

from harness.forms import Form, Page
from harness.secrets_seen import remember
from harness.user_agent import UserAgent, location, page_of


class StuckOnAPage(AssertionError):
    """A page that the user cannot answer."""

    def __init__(self, response: httpx2.Response) -> None:
        where = urlsplit(str(response.request.url)).path
        super().__init__(f"{response.status_code} at {where}: {page_of(response).text[:500]}")
        self.response = response


@dataclass
class Answer:
    """The parameters at the client's redirect URI."""

    url: str
    parameters: dict[str, str]

    @property
    def code(self) -> str:
        """The code; a missing one is a failure."""
        assert "code" in self.parameters, f"the client got the error {self.parameters.get('error')!r}"
        return self.parameters["code"]


@dataclass
class Person:
    """A user with an account, who approves or denies."""

    username: str
    password: str
    approves: bool = True
    accepts_at_provider: bool = True
    agent: UserAgent = field(default_factory=UserAgent)
    visited: list[str] = field(default_factory=list)

    def authorize(self, url: str, redirect_uri: str) -> Answer:
        """Completes a sign-in, from the client's authorize URL to its redirect URI."""
        return self.carry_on(self.open(url), redirect_uri)

    def open(self, url: str) -> httpx2.Response:
        """Opens a URL."""
        self.visited.append(url)
        return self.agent.get(url)

    def sign_out_at(self, issuer: str) -> None:
        """Signs out at Keycloak in the browser, and confirms."""
        page = self.open(f"{issuer}/protocol/openid-connect/logout")
        form = next((form for form in page_of(page).forms if form.button("confirmLogout")), None)
        if form is None:
            raise StuckOnAPage(page)
        button = form.button("confirmLogout")
        assert button is not None
        signed_out = self.agent.submit(page, form, {str(button.name): button.value})
        assert signed_out.status_code == 200, signed_out.status_code

    def carry_on(self, response: httpx2.Response, redirect_uri: str) -> Answer:
        """Answers pages until the redirect to the client."""
        for _ in range(20):
            target = location(response)
            if target is None:
                response = self.answer_page(response)
            elif target.split("?")[0] == redirect_uri:
                return read_answer(target)
            else:
                response = self.open(target)
        raise StuckOnAPage(response)

    def answer_page(self, response: httpx2.Response) -> httpx2.Response:
        """Answers one page: our consent, a sign-in, or Keycloak's own consent."""
        form, entered = self._decide(response, page_of(response))
        return self.agent.submit(response, form, entered)

    def _decide(self, response: httpx2.Response, page: Page) -> tuple[Form, dict[str, str]]:
        if response.status_code == 200:
            for form in page.forms:
                entered = self._entries(form)
                if entered is not None:
                    return form, entered
        raise StuckOnAPage(response)

    def _entries(self, form: Form) -> dict[str, str] | None:
        if form.password_field is not None:
            return {"username": self.username, form.password_field: self.password}
        if form.action.endswith("/consent"):
            return self._consent(form)
        if form.button("accept") and form.button("cancel"):
            chosen = form.button("accept" if self.accepts_at_provider else "cancel")
            return {str(chosen.name): chosen.value} if chosen else None
        return None

    def _consent(self, form: Form) -> dict[str, str] | None:
        if not self.approves:
            return {"decision": "deny"}
        chosen = form.button("decision", "approve") or form.button("identity")
        return {str(chosen.name): chosen.value} if chosen else None


def read_answer(url: str) -> Answer:
    """The parameters of a redirect to the client; duplicates are a failure."""
    parameters = parse_qs(urlsplit(url).query, strict_parsing=True, keep_blank_values=True)
    assert all(len(values) == 1 for values in parameters.values()), "a parameter came twice"
    single = {name: values[0] for name, values in parameters.items()}
    remember(single.get("code"))
    return Answer(url, single)
