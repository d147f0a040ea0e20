"""Remembered consent: the box on the consent page, sign-ins without that page, and the list on the user's own page."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from harness.chromium import approve_button, deny_button, launch, photograph
from harness.oauth import Attempt, Client, Tokens, challenge_parameters, http_client
from harness.portcullis import Portcullis, upstream_entry
from harness.provider import OpenIdProvider
from harness.upstreams import Upstream
from harness.web_client import REDIRECT_URI, WebClient

SCREENS = [(width, scheme) for width in (320, 390, 1280) for scheme in ("light", "dark")]
ASKED = re.compile("Allow access to")
REMEMBERED = "Where you are not asked again"


@dataclass
class Desk:
    """A gateway that may remember the consent to the web client `desk`, and a browser that finds it."""

    gateway: Portcullis
    web: WebClient
    browser: Browser
    client: Client

    def profile(self, **options: object) -> BrowserContext:
        """A fresh profile."""
        context = self.browser.new_context(ignore_https_errors=True, **options)  # type: ignore[arg-type]
        context.set_default_timeout(15_000)
        return context

    def finish(self, page: Page, attempt: Attempt) -> None:
        """Waits for the code, and redeems it."""
        answer = self.web.wait_for_answer(page, attempt.state)
        # the answer has arrived, but the browser may still be on its way: a next navigation would meet this one
        page.wait_for_url(re.compile(re.escape(REDIRECT_URI)), wait_until="load")
        assert Tokens.read(self.client.redeem(attempt, answer)).access_token

    def connect(self, page: Page, username: str, *, remember: bool) -> None:
        """A whole sign-in with the consent page."""
        attempt = self.client.attempt()
        page.goto(attempt.url)
        if remember:
            box(page).check()
        approve_button(page).click()
        sign_in(page, username)
        self.finish(page, attempt)

    def is_asked(self, page: Page) -> bool:
        """Whether a start that no site caused shows the consent page."""
        page.goto(self.client.attempt().url)
        return page.get_by_role("heading", name=ASKED).is_visible()

    def open_account(self, page: Page, username: str) -> None:
        """Signs in at the user's own page."""
        page.goto(f"{self.gateway.public_url}/account")
        page.get_by_role("button", name=re.compile("Sign in with")).first.click()
        sign_in(page, username)
        expect(page.get_by_role("heading", name="What you have allowed")).to_be_visible()


@pytest.fixture
def desk(directory: Path, whoami: Upstream, browser: Browser) -> Iterator[Desk]:
    """The gateway with two ways to sign in, of which the tests use the first one."""
    with OpenIdProvider() as provider, WebClient(directory / "desk") as web:
        portcullis = gateway(directory / "gateway", provider, whoami)
        running = launch(browser.browser_type, web.browser_argument)
        try:
            yield Desk(portcullis, web, running, known_client(portcullis.start()))
        finally:
            running.close()
            portcullis.close()


def gateway(directory: Path, provider: OpenIdProvider, whoami: Upstream) -> Portcullis:
    """A gateway that remembers consent to one configured client."""
    client = {"client_id": "desk", "name": "Desk", "redirect_uris": [REDIRECT_URI]}
    remembering = {"remember_for": "30d", "remember_clients": ["desk"]}
    sections = {"client": [client], "consent": remembering}
    entries = [upstream_entry(whoami, "/mcp")]
    return Portcullis(directory, entries, provider.identity(), provider.client_secret, sections)


def known_client(portcullis: Portcullis) -> Client:
    """The configured client, which needs no registration."""
    http = http_client()
    refusal = http.post(portcullis.url(), json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    resource = http.get(challenge_parameters(refusal)["resource_metadata"]).json()
    metadata = http.get(f"{portcullis.public_url}/.well-known/oauth-authorization-server").json()
    return Client(portcullis.url(), resource, metadata, "desk", REDIRECT_URI, http=http)


def box(page: Page) -> Locator:
    """The box on the consent page."""
    return page.get_by_role("checkbox", name=re.compile("Do not ask me again"))


def sign_in(page: Page, username: str) -> None:
    """Signs in at the provider."""
    page.locator("input[name=username]").fill(username)
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_box_and_the_list_fit_every_screen(width: int, scheme: str, desk: Desk) -> None:
    name = f"{width}-{scheme}"
    profile = desk.profile(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = profile.new_page()
    page.goto(desk.client.attempt().url)
    expect(box(page)).not_to_be_checked()
    assert_fits(page, f"remember-{name}")
    box(page).check()
    photograph(page, f"remember-ticked-{name}", full_page=False)
    desk.connect(page, "alice", remember=True)
    page.goto(desk.client.attempt().url)
    sign_in(page, "bob")
    expect(page.get_by_role("status")).to_contain_text("was allowed by someone else")
    assert_fits(page, f"remember-someone-else-{name}")
    desk.open_account(page, "alice")
    expect(page.get_by_role("heading", name=REMEMBERED)).to_be_visible()
    assert_fits(page, f"remember-account-{name}")
    page.get_by_role("button", name="Ask me again").click()
    expect(page.get_by_role("heading", name=REMEMBERED)).to_have_count(0)
    assert_fits(page, f"remember-account-forgotten-{name}")
    profile.close()


@pytest.mark.parametrize("size", [(1280, 720), (1366, 657), (390, 664), (320, 664)])
def test_the_box_is_visible_together_with_the_buttons_and_the_receiver(size: tuple[int, int], desk: Desk) -> None:
    width, height = size
    profile = desk.profile(viewport={"width": width, "height": height})
    page = profile.new_page()
    page.goto(desk.client.attempt().url)
    photograph(page, f"remember-{width}x{height}", full_page=False)
    for seen in (page.locator(".host"), box(page), approve_button(page), deny_button(page)):
        expect(seen).to_be_in_viewport(ratio=1)
    profile.close()


def test_consent_is_remembered_and_taken_back_with_the_keyboard(desk: Desk) -> None:
    profile = desk.profile()
    page = profile.new_page()
    first = desk.client.attempt()
    page.goto(first.url)
    press_until(page, "document.activeElement.name === 'remember'")
    page.keyboard.press("Space")
    expect(box(page)).to_be_checked()
    press_until(page, "document.activeElement.value === 'approve'")
    page.keyboard.press("Enter")
    type_name(page, "alice")
    desk.finish(page, first)
    second = desk.client.attempt()
    page.goto(second.url)
    type_name(page, "alice")
    desk.finish(page, second)
    page.goto(f"{desk.gateway.public_url}/account")
    press_until(page, "document.activeElement.name === 'identity'")
    page.keyboard.press("Enter")
    type_name(page, "alice")
    expect(page.get_by_role("heading", name=REMEMBERED)).to_be_visible()
    press_until(page, "document.activeElement.textContent === 'Ask me again'")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=REMEMBERED)).to_have_count(0)
    assert desk.is_asked(page)
    profile.close()


def test_remembered_consent_needs_no_scripts(desk: Desk) -> None:
    profile = desk.profile(java_script_enabled=False)
    page = profile.new_page()
    desk.connect(page, "alice", remember=True)
    assert not desk.is_asked(page)
    desk.open_account(page, "alice")
    page.get_by_role("button", name="Ask me again").click()
    expect(page.get_by_text(REMEMBERED)).to_have_count(0)
    assert desk.is_asked(page)
    profile.close()


def test_the_box_is_empty_again_after_a_reload_and_after_the_back_button(desk: Desk) -> None:
    profile = desk.profile()
    page = profile.new_page()
    page.goto(desk.client.attempt().url)
    box(page).check()
    page.reload()
    expect(box(page)).not_to_be_checked()
    approve_button(page).click()
    page.locator("input[name=username]").wait_for()
    page.go_back()
    expect(box(page)).not_to_be_checked()
    profile.close()


def test_another_user_and_another_profile_are_asked(desk: Desk) -> None:
    profile, other = desk.profile(), desk.profile()
    page = profile.new_page()
    desk.connect(page, "alice", remember=True)
    attempt = desk.client.attempt()
    page.goto(attempt.url)
    sign_in(page, "bob")
    expect(page.get_by_role("heading", name=ASKED)).to_be_visible()
    approve_button(page).click()
    sign_in(page, "bob")
    desk.finish(page, attempt)
    assert desk.is_asked(other.new_page()), "the profile that has not seen alice's consent"
    for context in (profile, other):
        context.close()


def test_a_link_of_another_site_asks_although_consent_is_remembered(desk: Desk) -> None:
    profile = desk.profile()
    page = profile.new_page()
    desk.connect(page, "alice", remember=True)
    desk.web.sends_to = desk.client.attempt().url.replace("&", "&amp;")
    page.goto("https://desk.example/link")
    page.get_by_role("link", name="Connect").click()
    expect(page.get_by_role("heading", name=ASKED)).to_be_visible()
    expect(box(page)).to_have_count(0)
    assert not desk.is_asked(page), "it is still remembered"
    profile.close()


def test_ending_all_access_asks_again(desk: Desk) -> None:
    profile = desk.profile()
    page = profile.new_page()
    desk.connect(page, "alice", remember=True)
    desk.open_account(page, "alice")
    page.get_by_role("link", name="End all access").click()
    page.get_by_role("button", name="End all access").click()
    expect(page.get_by_text("No application has access as you")).to_be_visible()
    expect(page.get_by_text(REMEMBERED)).to_have_count(0)
    assert desk.is_asked(page)
    profile.close()


def assert_fits(page: Page, name: str) -> None:
    """The page does not overflow horizontally, and has a title."""
    photograph(page, name)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{name}: {overflow} px too wide"
    assert page.title()


def type_name(page: Page, username: str) -> None:
    """Signs in at the provider with the keyboard."""
    page.locator("input[name=username]").wait_for()
    page.keyboard.type(username)
    page.keyboard.press("Enter")


def press_until(page: Page, reached: str) -> None:
    """Presses Tab until the focus is there, and checks that it shows."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate(reached):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", "the focus is not visible"
            return
    raise AssertionError(f"no Tab reaches {reached}")
