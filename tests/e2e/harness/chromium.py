"""A real browser, and the actions of a user on our pages and on Keycloak's."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserType, Locator, Page, sync_playwright

from harness.person import Answer, read_answer
from harness.places import SCREENSHOTS
from harness.waiting import wait_until

ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str | None:
    """`CHROMIUM`, or the distribution's browser; `None` uses the one that `tests/run` fetched through Playwright."""
    given = os.environ.get("CHROMIUM")
    return given or shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for the whole run."""
    with sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        yield browser
        browser.close()


def launch(kind: BrowserType, *more: str) -> Browser:
    """Starts a browser with more arguments than the usual ones."""
    # Chromium's own sandbox refuses to run as root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return kind.launch(executable_path=executable(), args=[*ARGUMENTS, *sandbox, *more])


class RedirectListener:
    """The loopback redirect listener of a client."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.paths.append(self.path)
                body = b"<!doctype html><title>Client</title><h1>You can close this window</h1>"
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_request(self, *_: object) -> None:
                """Logs nothing: the request line contains the code."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.redirect_uri = f"http://127.0.0.1:{self._server.server_port}/callback"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def answers(self) -> list[Answer]:
        """All answers so far."""
        return [read_answer(path) for path in self.paths if urlsplit(path).path == "/callback"]

    def wait_for_answer(self, page: Page, state: str) -> Answer:
        """Waits for the answer to one authorization request while the page continues to load."""

        def probe() -> Answer | None:
            page.wait_for_timeout(50)
            return next((answer for answer in self.answers() if answer.parameters["state"] == state), None)

        found = wait_until("the client is called", probe, 20, 0)
        assert found is not None
        return found

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()


def approve_button(page: Page) -> Locator:
    """The approve button of the consent page."""
    return page.locator("form[action='/consent'] button[name=decision][value=approve]").first


def deny_button(page: Page) -> Locator:
    """The deny button of the consent page."""
    return page.locator("button[name=decision][value=deny]")


def fill_sign_in(page: Page, username: str, password: str) -> None:
    """Fills in a sign-in form, ours or Keycloak's."""
    page.locator("input[name=username]").fill(username)
    page.locator("input[name=password]").fill(password)


def sign_in(page: Page, username: str, password: str) -> None:
    """Fills in and submits a sign-in form."""
    fill_sign_in(page, username, password)
    page.locator("#kc-login, form[action^='/sign-in/'] button").first.click()


def photograph(page: Page, name: str, *, full_page: bool = True) -> None:
    """Saves a screenshot for review."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full_page)
