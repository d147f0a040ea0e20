"""Error pages where a redirect would be unsafe (open redirect)."""

from playwright.sync_api import Page, expect

from harness.chromium import RedirectListener, approve_button, photograph, sign_in
from harness.dev import Dev
from harness.oauth import Client, Tokens
from harness.person import read_answer

CURSOR = "cursor://anysphere.cursor-mcp/oauth/callback"


def test_an_unknown_client_gets_a_page_with_a_remedy(dev: Dev, listener: RedirectListener, page: Page) -> None:
    client = Client.register(dev.url(), redirect_uris=[listener.redirect_uri])
    response = page.goto(client.attempt(client_id="c_neverregisteredhere000000").url)
    assert response is not None
    assert response.status == 400
    photograph(page, "unknown-client")
    expect(page.get_by_role("heading").first).to_be_visible()
    assert not listener.answers()


def test_an_unregistered_redirect_uri_gets_a_page_with_a_request_id(
    dev: Dev, listener: RedirectListener, page: Page
) -> None:
    client = Client.register(dev.url(), redirect_uris=[listener.redirect_uri])
    response = page.goto(client.attempt(redirect_uri="https://evil.example/callback").url)
    assert response is not None
    assert response.status == 400
    photograph(page, "foreign-redirect-uri")
    assert response.headers["x-request-id"] in page.inner_text("body")
    assert page.url.startswith(dev.public_url)


def test_a_private_use_scheme_is_opened_from_a_page(dev: Dev, page: Page) -> None:
    client = Client.register(dev.url(), redirect_uris=[CURSOR])
    attempt = client.attempt()
    page.goto(attempt.url)
    photograph(page, "consent-application")
    approve_button(page).click()
    sign_in(page, "alice", dev.password())
    link = page.locator(f"a[href^='{CURSOR}?']")
    expect(link).to_be_visible()
    photograph(page, "return-to-application")
    answer = read_answer(str(link.get_attribute("href")))
    assert Tokens.read(client.redeem(attempt, answer)).access_token
