"""Fixtures for the browser tests."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from harness.chromium import RedirectListener, chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with chromium() as running:
        yield running


@pytest.fixture
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile. A violation of a page's content security policy is a failure."""
    context = browser.new_context()
    context.set_default_timeout(15_000)
    complaints: list[str] = []
    context.on("console", lambda message: complaints.append(message.text))
    yield context
    context.close()
    assert not [text for text in complaints if "Content Security Policy" in text]


@pytest.fixture
def page(profile: BrowserContext) -> Page:
    """A tab."""
    return profile.new_page()


@pytest.fixture
def listener() -> Iterator[RedirectListener]:
    """The client's loopback address."""
    listening = RedirectListener()
    yield listening
    listening.close()
