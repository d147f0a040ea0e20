"""Keycloak's own login form, double-clicked."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from harness.chromium import RedirectListener, approve_button, fill_sign_in, photograph, sign_in
from harness.oauth import Attempt, Client, Tokens
from harness.portcullis import Portcullis
from harness.realm import Realm


def test_a_double_click_on_keycloaks_form_still_completes_the_sign_in(
    realm: Realm, gateway: Callable[..., Portcullis], listener: RedirectListener, page: Page
) -> None:
    client, attempt = _at_the_form(gateway(realm).start(), listener, page)
    fill_sign_in(page, "alice", realm.passwords["alice"])
    page.locator("#kc-login").dblclick()
    _completes(client, attempt, listener, page, realm)


@pytest.mark.parametrize("pause", [30, 100, 150])
def test_submitting_keycloaks_form_twice_still_completes_the_sign_in(
    pause: int, realm: Realm, gateway: Callable[..., Portcullis], listener: RedirectListener, page: Page
) -> None:
    """A double click that the form's script does not stop: the second navigation cancels the first."""
    client, attempt = _at_the_form(gateway(realm).start(), listener, page)
    fill_sign_in(page, "alice", realm.passwords["alice"])
    page.evaluate(
        """(pause) => {
            const form = document.getElementById('kc-form-login');
            form.submit();
            setTimeout(() => form.submit(), pause);
        }""",
        pause,
    )
    _completes(client, attempt, listener, page, realm)


def _at_the_form(portcullis: Portcullis, listener: RedirectListener, page: Page) -> tuple[Client, Attempt]:
    client = Client.register(portcullis.url(), redirect_uris=[listener.redirect_uri])
    attempt = client.attempt()
    page.goto(attempt.url)
    photograph(page, "consent-keycloak")
    approve_button(page).click()
    page.locator("#kc-form-login").wait_for()
    return client, attempt


def _completes(client: Client, attempt: Attempt, listener: RedirectListener, page: Page, realm: Realm) -> None:
    """From whatever page the double click ended on, the obvious action completes the sign-in."""
    finish = page.locator(f"a[href^='{listener.redirect_uri}']")
    for _ in range(12):
        page.wait_for_timeout(1500)
        if listener.answers():
            break
        photograph(page, "after-double-click")
        if finish.count():
            finish.click()
        elif page.locator("#loginContinueLink").count():
            # "Page has expired": users take the link that continues.
            page.locator("#loginContinueLink").click()
        elif page.locator("#kc-error-message").count():
            # A dead end in Keycloak ("restart login cookie not found"): users press Back.
            page.go_back()
        elif page.locator("input[name=username]").count():
            # Keycloak restarts the login by itself ("action expired", "login attempt timed out").
            sign_in(page, "alice", realm.passwords["alice"])
    answer = listener.wait_for_answer(page, attempt.state)
    assert Tokens.read(client.redeem(attempt, answer)).access_token
    assert len(listener.answers()) == 1
