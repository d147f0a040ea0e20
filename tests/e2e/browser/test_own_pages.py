"""The user's own page, and devices: the sign-ins that no client's redirect waits for."""

import re
from collections.abc import Callable

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from harness.chromium import RedirectListener, photograph, sign_in
from harness.dev import Dev
from harness.oauth import Client, Tokens, http_client
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.secrets_seen import remember

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
SCREENS = [(390, "light"), (390, "dark"), (320, "dark"), (1280, "light"), (1280, "dark")]


class Device:
    """A program without a browser that asks for tokens."""

    def __init__(self, public_url: str, name: str = "Build agent") -> None:
        self.http = http_client()
        self.metadata = self.http.get(f"{public_url}/.well-known/oauth-authorization-server").json()
        registered = {"client_name": name, "grant_types": [DEVICE_CODE, "refresh_token"]}
        answer = self.http.post(self.metadata["registration_endpoint"], json=registered)
        assert answer.status_code == 201, answer.text
        self.client_id = answer.json()["client_id"]
        answer = self.http.post(self.metadata["device_authorization_endpoint"], data={"client_id": self.client_id})
        assert answer.status_code == 200, answer.text
        self.given = answer.json()
        remember(self.given["device_code"])

    def poll(self) -> httpx2.Response:
        """Asks for the tokens."""
        asked = {"grant_type": DEVICE_CODE, "client_id": self.client_id, "device_code": self.given["device_code"]}
        return self.http.post(self.metadata["token_endpoint"], data=asked)


def call(url: str, token: str) -> int:
    """The status of a call."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    with http_client() as http:
        return http.post(url, json=body, headers=headers).status_code


def fits(page: Page, name: str) -> None:
    """The page does not overflow horizontally, and has a title."""
    photograph(page, name)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{name}: {overflow} px too wide"
    assert page.title()


def connect(page: Page, device: Device, username: str, password: str) -> None:
    """Follows the device's link, compares the code, and signs in."""
    page.goto(device.given["verification_uri_complete"])
    expect(page.locator("#user_code")).to_have_value(device.given["user_code"])
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".code")).to_have_text(device.given["user_code"])
    page.locator("button[value=approve]").click()
    sign_in(page, username, password)
    expect(page.get_by_role("heading", name="The device is connected")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_both_pages_fit_their_screens(width: int, scheme: str, browser: Browser, dev: Dev) -> None:
    name = f"{width}-{scheme}"
    profile = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    page = profile.new_page()
    device = Device(dev.public_url, "A helper whose name is as long as a registration allows, to see it")
    page.goto(f"{dev.public_url}/device")
    fits(page, f"device-entry-{name}")
    page.locator("#user_code").fill("BBBB-BBBB")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_be_visible()
    fits(page, f"device-unknown-{name}")
    page.goto(device.given["verification_uri_complete"])
    fits(page, f"device-link-{name}")
    page.get_by_role("button", name="Continue").click()
    fits(page, f"device-{name}")
    page.locator("button[value=approve]").click()
    sign_in(page, "alice", dev.password())
    fits(page, f"device-connected-{name}")
    Tokens.read(device.poll())
    page.goto(f"{dev.public_url}/account")
    fits(page, f"account-entry-{name}")
    page.get_by_role("button", name=re.compile("Sign in with")).click()
    sign_in(page, "alice", dev.password())
    expect(page.get_by_role("heading", name="What you have allowed")).to_be_visible()
    fits(page, f"account-{name}")
    page.get_by_role("link", name="End this access").first.click()
    fits(page, f"account-end-{name}")
    profile.close()


def test_a_user_ends_access_with_the_keyboard(dev: Dev, listener: RedirectListener, page: Page) -> None:
    client = Client.register(dev.url(), redirect_uris=[listener.redirect_uri], client_name="Visual Studio Code")
    tokens = client.sign_in(dev.person())
    assert call(dev.url(), tokens.access_token) != 401
    page.goto(f"{dev.public_url}/account")
    press_until(page, "document.activeElement.name === 'identity'")
    page.keyboard.press("Enter")
    page.locator("input[name=password]").wait_for()
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type(dev.password())
    page.keyboard.press("Enter")
    expect(page.get_by_text("Visual Studio Code")).to_be_visible()
    press_until(page, "document.activeElement.textContent === 'End this access'")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="End this access?")).to_be_visible()
    assert call(dev.url(), tokens.access_token) != 401, "the question ends nothing"
    press_until(page, "document.activeElement.tagName === 'BUTTON'")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No application has access as you")).to_be_visible()
    assert call(dev.url(), tokens.access_token) == 401
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name=re.compile("Sign in with"))).to_be_visible()
    page.go_back()
    page.reload()
    expect(page.get_by_role("button", name=re.compile("Sign in with"))).to_be_visible()


def test_the_pages_work_without_scripts_and_in_no_frame(browser: Browser, dev: Dev) -> None:
    profile = browser.new_context(java_script_enabled=False)
    page = profile.new_page()
    device = Device(dev.public_url)
    connect(page, device, "alice", dev.password())
    assert Tokens.read(device.poll()).refresh_token
    profile.close()
    with http_client() as http:
        for path in ("/account", "/device"):
            headers = http.get(f"{dev.public_url}{path}").headers
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-frame-options"] == "DENY"


def test_a_device_and_the_page_with_a_real_keycloak(
    realm: Realm, gateway: Callable[..., Portcullis], page: Page
) -> None:
    portcullis = gateway(realm, device={"enabled": True, "registered_clients": True}).start()
    device = Device(portcullis.public_url)
    assert device.poll().json()["error"] == "authorization_pending"
    connect(page, device, "alice", realm.passwords["alice"])
    page.wait_for_timeout(5000)
    tokens = Tokens.read(device.poll())
    assert tokens.refresh_token
    assert device.poll().json()["error"] in ("invalid_grant", "slow_down")
    page.goto(f"{portcullis.public_url}/account")
    page.get_by_role("button", name="Sign in with Keycloak").click()
    # Keycloak keeps no session of a browser for a sign-in with offline access
    sign_in(page, "alice", realm.passwords["alice"])
    expect(page.get_by_text("Build agent")).to_be_visible()
    photograph(page, "account-keycloak")
    page.get_by_role("link", name="End all access").click()
    page.get_by_role("button", name="End all access").click()
    expect(page.get_by_text("No application has access as you")).to_be_visible()
    assert call(portcullis.url(), tokens.access_token) == 401


def press_until(page: Page, reached: str) -> None:
    """Presses Tab until the focus is there, and checks that it shows."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate(reached):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", "the focus is not visible"
            return
    raise AssertionError(f"no Tab reaches {reached}")
