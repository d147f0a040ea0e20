"""Narrow screens, dark mode, keyboard only."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from harness.chromium import RedirectListener, approve_button, deny_button, photograph, sign_in
from harness.dev import Dev
from harness.oauth import Client, Tokens

LONG_NAME = "A client whose name is as long as a registration allows, to see what becomes of the page around it"


@pytest.fixture(params=[(390, "light"), (390, "dark"), (320, "light"), (320, "dark"), (1280, "light"), (1280, "dark")])
def screen(request: pytest.FixtureRequest, browser: Browser) -> Iterator[tuple[str, BrowserContext]]:
    """A profile of one width and colour scheme, and its name."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    context.set_default_timeout(15_000)
    yield f"{width}-{scheme}", context
    context.close()


def test_every_page_fits_its_screen(screen: tuple[str, BrowserContext], dev: Dev, listener: RedirectListener) -> None:
    name, profile = screen
    page = profile.new_page()
    client = Client.register(dev.url(), redirect_uris=[listener.redirect_uri], client_name=LONG_NAME)
    page.goto(client.attempt().url)
    assert_fits(page, f"consent-{name}")
    approve_button(page).click()
    page.locator("input[name=password]").wait_for()
    assert_fits(page, f"sign-in-{name}")
    sign_in(page, "alice", "not the password")
    page.get_by_role("alert").wait_for()
    assert_fits(page, f"sign-in-again-{name}")
    page.goto(client.attempt(client_id="c_neverregisteredhere000000").url)
    assert_fits(page, f"error-{name}")
    assert is_dark(page) == name.endswith("dark")


@pytest.mark.parametrize("size", [(1280, 720), (1366, 657), (390, 664)])
def test_the_consent_buttons_are_visible_without_scrolling(
    size: tuple[int, int], browser: Browser, dev: Dev, listener: RedirectListener
) -> None:
    width, height = size
    profile = browser.new_context(viewport={"width": width, "height": height})
    page = profile.new_page()
    client = Client.register(dev.url(), redirect_uris=[listener.redirect_uri], client_name="Visual Studio Code")
    page.goto(client.attempt().url)
    photograph(page, f"consent-{width}x{height}", full_page=False)
    for seen in (page.locator("h1"), page.locator(".host"), approve_button(page), deny_button(page)):
        assert is_on_screen(seen), seen
    page.mouse.wheel(0, 10_000)
    expect(page.get_by_text("nothing has been allowed yet")).to_be_in_viewport(ratio=1)
    profile.close()


@pytest.mark.parametrize("size", [(520, 280), (844, 390), (390, 664)])
@pytest.mark.parametrize("redirect_uri", ["https://chat.example.com/callback", "http://127.0.0.1/callback"])
def test_the_receiver_is_visible_whenever_consent_can_be_clicked(
    size: tuple[int, int], redirect_uri: str, browser: Browser, dev: Dev
) -> None:
    width, height = size
    profile = browser.new_context(viewport={"width": width, "height": height})
    page = profile.new_page()
    client = Client.register(dev.url(), redirect_uris=[redirect_uri], client_name="W" * 64)
    page.goto(client.attempt().url)
    clickable, hidden = scroll_past_the_approve_button(page)
    photograph(page, f"consent-small-{width}x{height}", full_page=False)
    assert clickable > 0, "the button cannot be clicked at all"
    assert hidden == [], f"the button can be clicked but the receiver is not visible, scrolled by {hidden} px"
    profile.close()


def test_a_server_url_opened_in_a_browser_explains_itself(dev: Dev, page: Page) -> None:
    for path in ("", "/mcp", "/nothing"):
        response = page.goto(f"{dev.public_url}{path}")
        assert response is not None
        assert response.status == (401 if path == "/mcp" else 404)
        assert_fits(page, f"visited-{path.strip('/') or 'front'}")
    page.goto(dev.url())
    page.get_by_text("Claude Code", exact=True).click()
    expect(page.get_by_text(f"claude mcp add --transport http dev {dev.url()}")).to_be_visible()


def test_the_whole_sign_in_works_with_the_keyboard(dev: Dev, listener: RedirectListener, page: Page) -> None:
    client = Client.register(dev.url(), redirect_uris=[listener.redirect_uri])
    attempt = client.attempt()
    page.goto(attempt.url)
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "approve":
            break
    assert page.evaluate("document.activeElement.value") == "approve"
    assert has_visible_focus(page)
    page.keyboard.press("Enter")
    page.locator("input[name=password]").wait_for()
    assert page.evaluate("document.activeElement.name") == "username", "the first field has the focus"
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type(dev.password())
    page.keyboard.press("Enter")
    answer = listener.wait_for_answer(page, attempt.state)
    assert Tokens.read(client.redeem(attempt, answer)).access_token


def assert_fits(page: Page, name: str) -> None:
    """The page does not overflow horizontally, and has a title."""
    photograph(page, name)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{name}: {overflow} px too wide"
    assert page.title()


def is_on_screen(element: Locator) -> bool:
    """Whether an element is completely visible, and nothing covers its centre."""
    seen: bool = element.evaluate(
        """(element) => {
            const box = element.getBoundingClientRect();
            const top = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
            const inside = box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
            return inside && (element.contains(top) || top.contains(element));
        }"""
    )
    return seen


def scroll_past_the_approve_button(page: Page) -> tuple[int, list[int]]:
    """In how many scroll positions the button can be clicked, and in which of them host or warning are not visible."""
    clickable, hidden = page.evaluate(
        """() => {
            const button = document.querySelector("button[value=approve]");
            const deciding = document.querySelectorAll(".receiver h2, .receiver p");
            const hits = (element, x, y) => {
                const top = document.elementFromPoint(x, y);
                return top !== null && element.contains(top);
            };
            const canBeClicked = () => {
                const box = button.getBoundingClientRect();
                for (let y = box.top + 2; y < box.bottom - 1; y += 4)
                    if (hits(button, (box.left + box.right) / 2, y)) return true;
                return false;
            };
            const isSeen = (element) => {
                const box = element.getBoundingClientRect();
                const x = box.left + 4;
                return box.top >= 0 && box.bottom <= innerHeight
                    && hits(element, x, box.top + 2) && hits(element, x, box.bottom - 2);
            };
            let clickable = 0;
            const hidden = [];
            for (let y = 0; y <= document.documentElement.scrollHeight; y += 5) {
                scrollTo(0, y);
                if (!canBeClicked()) continue;
                clickable += 1;
                if (![...deciding].every(isSeen)) hidden.push(y);
            }
            return [clickable, hidden];
        }"""
    )
    return clickable, hidden


def is_dark(page: Page) -> bool:
    """Whether the page is darker than grey."""
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    root: str = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    painted = root if colour == "rgba(0, 0, 0, 0)" else colour
    return sum(int(part) for part in painted.strip("rgba()").split(",")[:3]) < 3 * 128


def has_visible_focus(page: Page) -> bool:
    """Whether the focused element has a visible outline or shadow."""
    outline: str = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    shadow: str = page.evaluate("getComputedStyle(document.activeElement).boxShadow")
    return outline != "none" or shadow != "none"
