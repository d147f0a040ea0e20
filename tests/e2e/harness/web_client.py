"""A client that is a web server: its redirect URI has a public name, which a browser is told to find on loopback."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from playwright.sync_api import Page

from harness.certificate import Certificate
from harness.person import Answer, read_answer
from harness.provider import respond
from harness.waiting import wait_until

HOST = "desk.example"
REDIRECT_URI = f"https://{HOST}/callback"


class WebClient:
    """`https://desk.example` on loopback, with a self-signed certificate: profiles must ignore it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        certificate = Certificate(directory)
        self.paths: list[str] = []
        self.sends_to = ""
        client = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                client.answer(self)

            def log_request(self, *_: object) -> None:
                """Logs nothing: the request line contains the code."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.chain, certificate.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        # what a browser needs to find it
        self.browser_argument = f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answers one request; `/link` is a page with a link to `sends_to`."""
        self.paths.append(request.path)
        if request.path == "/link":
            respond(request, f'<!doctype html><title>Desk</title><a href="{self.sends_to}">Connect</a>')
        else:
            respond(request, "<!doctype html><title>Desk</title><h1>You are connected</h1>")

    def wait_for_answer(self, page: Page, state: str) -> Answer:
        """Waits for the answer to one authorization request while the page continues to load."""

        def probe() -> Answer | None:
            page.wait_for_timeout(50)
            answers = [read_answer(path) for path in self.paths if urlsplit(path).path == "/callback"]
            return next((answer for answer in answers if answer.parameters["state"] == state), None)

        found = wait_until("the client is called", probe, 20, 0)
        assert found is not None
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
