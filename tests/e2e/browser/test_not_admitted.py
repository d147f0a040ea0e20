"""The page for a user whom a rule keeps out, after the sign-in at Keycloak."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from harness.chromium import RedirectListener, approve_button, photograph, sign_in
from harness.oauth import Client
from harness.portcullis import Portcullis
from harness.realm import Realm

LONG_ASK = "the platform team at platform-and-developer-experience@engineering.example.com, or room 4.17 <before noon>"


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (390, "light"), (1280, "dark")])
def test_the_page_says_whom_to_ask_and_leads_back_to_the_client(
    width: int,
    scheme: str,
    browser: Browser,
    realm: Realm,
    gateway: Callable[..., Portcullis],
    listener: RedirectListener,
) -> None:
    portcullis = gateway(realm, identity={"allow": [{"groups": ["nobody"]}], "ask": LONG_ASK}).start()
    client = Client.register(portcullis.url(), redirect_uris=[listener.redirect_uri])
    attempt = client.attempt()
    profile = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme="dark" if scheme == "dark" else "light"
    )
    profile.set_default_timeout(15_000)
    page = profile.new_page()
    page.goto(attempt.url)
    approve_button(page).click()
    page.locator("#kc-login").wait_for()
    sign_in(page, "alice", realm.passwords["alice"])
    expect(page.get_by_text("may not sign in here")).to_be_visible()
    expect(page.get_by_text(LONG_ASK)).to_be_visible()
    photograph(page, f"not-admitted-{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it scrolls sideways"
    page.get_by_role("link", name="Go back to the application").click()
    answer = listener.wait_for_answer(page, attempt.state)
    assert answer.parameters["error"] == "access_denied"
    profile.close()
