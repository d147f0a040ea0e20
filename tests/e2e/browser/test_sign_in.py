"""The sign-in page of `dev`."""

from playwright.sync_api import Page, expect

from harness.chromium import RedirectListener, approve_button, photograph, sign_in
from harness.dev import Dev
from harness.oauth import Client, Tokens


def test_a_wrong_password_can_be_corrected(dev: Dev, listener: RedirectListener, page: Page) -> None:
    client = Client.register(dev.url(), redirect_uris=[listener.redirect_uri])
    attempt = client.attempt()
    page.goto(attempt.url)
    approve_button(page).click()
    sign_in(page, "alice", "not the password")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("input[name=username]")).to_have_value("alice")
    expect(page.locator("input[name=password]")).to_have_value("")
    photograph(page, "sign-in-wrong-password")
    sign_in(page, "alice", dev.password())
    answer = listener.wait_for_answer(page, attempt.state)
    assert Tokens.read(client.redeem(attempt, answer)).access_token


def test_an_unknown_user_and_a_wrong_password_get_the_same_message(
    dev: Dev, listener: RedirectListener, page: Page
) -> None:
    client = Client.register(dev.url(), redirect_uris=[listener.redirect_uri])
    texts = []
    for username in ("alice", "mallory"):
        page.goto(client.attempt().url)
        approve_button(page).click()
        sign_in(page, username, "not the password")
        texts.append(page.get_by_role("alert").inner_text())
    assert texts[0] == texts[1]
    assert not listener.answers()
