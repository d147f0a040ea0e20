"""The consent page in a real browser: tabs, double clicks, the back button."""

from playwright.sync_api import BrowserContext, Page

from harness.chromium import RedirectListener, approve_button, deny_button, sign_in
from harness.dev import Dev
from harness.oauth import Client, Tokens


def registered(dev: Dev, listener: RedirectListener) -> Client:
    """A client that listens on the listener's address."""
    return Client.register(dev.url(), redirect_uris=[listener.redirect_uri])


def test_approval_and_sign_in_lead_back_to_the_client(dev: Dev, listener: RedirectListener, page: Page) -> None:
    client = registered(dev, listener)
    attempt = client.attempt()
    page.goto(attempt.url)
    approve_button(page).click()
    sign_in(page, "alice", dev.password())
    answer = listener.wait_for_answer(page, attempt.state)
    assert Tokens.read(client.redeem(attempt, answer)).access_token
    assert len(listener.answers()) == 1


def test_two_consent_tabs_can_both_be_approved(dev: Dev, listener: RedirectListener, profile: BrowserContext) -> None:
    client = registered(dev, listener)
    attempts = [client.attempt(), client.attempt()]
    tabs = [profile.new_page(), profile.new_page()]
    for tab, attempt in zip(tabs, attempts, strict=True):
        tab.goto(attempt.url)
    for tab in reversed(tabs):
        approve_button(tab).click()
    for tab in tabs:
        sign_in(tab, "alice", dev.password())
    for tab, attempt in zip(tabs, attempts, strict=True):
        answer = listener.wait_for_answer(tab, attempt.state)
        assert Tokens.read(client.redeem(attempt, answer)).access_token


def test_a_double_click_on_approve_is_one_approval(dev: Dev, listener: RedirectListener, page: Page) -> None:
    client = registered(dev, listener)
    attempt = client.attempt()
    page.goto(attempt.url)
    approve_button(page).dblclick()
    sign_in(page, "alice", dev.password())
    answer = listener.wait_for_answer(page, attempt.state)
    assert Tokens.read(client.redeem(attempt, answer)).access_token
    assert len(listener.answers()) == 1


def test_the_back_button_after_approval_still_leads_to_the_sign_in(
    dev: Dev, listener: RedirectListener, page: Page
) -> None:
    client = registered(dev, listener)
    attempt = client.attempt()
    page.goto(attempt.url)
    approve_button(page).click()
    page.locator("input[name=password]").wait_for()
    page.go_back()
    approve_button(page).click()
    sign_in(page, "alice", dev.password())
    answer = listener.wait_for_answer(page, attempt.state)
    assert Tokens.read(client.redeem(attempt, answer)).access_token


def test_the_back_button_after_completion_does_not_call_the_client_again(
    dev: Dev, listener: RedirectListener, page: Page
) -> None:
    client = registered(dev, listener)
    attempt = client.attempt()
    page.goto(attempt.url)
    approve_button(page).click()
    sign_in(page, "alice", dev.password())
    answer = listener.wait_for_answer(page, attempt.state)
    tokens = Tokens.read(client.redeem(attempt, answer))
    response = page.go_back()
    assert response is None or response.status < 500
    page.wait_for_timeout(500)
    assert len(listener.answers()) == 1
    assert Tokens.read(client.refresh(tokens.refresh_token)).access_token, "the grant is still alive"


def test_deny_returns_access_denied_to_the_client(dev: Dev, listener: RedirectListener, page: Page) -> None:
    client = registered(dev, listener)
    attempt = client.attempt()
    page.goto(attempt.url)
    deny_button(page).click()
    answer = listener.wait_for_answer(page, attempt.state)
    assert answer.parameters["error"] == "access_denied"
    assert answer.parameters["iss"] == dev.public_url
    assert "code" not in answer.parameters
