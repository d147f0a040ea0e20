#!/usr/bin/env bash
# Chromium 156 (Debian's package; driven by Playwright 1.65.2): a navigation that no page began (typed, or opened by an application) says `Sec-Fetch-Site: none`, and
# goes on saying so after a redirect by another site; SameSite=Strict cookies are sent as well. So neither tells a server whether it was
# reached directly: a server that an application opened first may have chosen this address. A link on another site's page is told:
# `cross-site`, also after the other site's redirect, and no Strict cookie comes. Fetch Metadata (2.3) and RFC 6265bis (5.2) say the same.
# The header goes to https and to this machine only.
#
# Seen on 2026-11-30:
#   opened by an application: none, with the Strict cookie
#   opened, then redirected by another site: none, with the Strict cookie
#   a link on another site: cross-site, without it
#   a link to a redirect of another site: cross-site, without it
set -euo pipefail

# the distribution's browser, unless another one is named
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v google-chrome)}
export CHROMIUM
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/seen.py" <<'PY'
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from playwright.sync_api import sync_playwright

SEEN = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        here = f"http://site.localhost:{self.server.server_port}"
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("location", f"{here}/goal")
            self.end_headers()
            return
        if self.path == "/goal":
            cookie = "with the Strict cookie" if "strict=1" in self.headers.get("cookie", "") else "without it"
            SEEN.append(f"{self.headers.get('sec-fetch-site')}, {cookie}")
        body = f'<a id="link" href="{here}/goal">a</a><a id="redirect" href="/redirect">b</a>'.encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        if self.path == "/set":
            self.send_header("set-cookie", "strict=1; SameSite=Strict; Path=/")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
Thread(target=server.serve_forever, daemon=True).start()
site, other = (f"http://{name}.localhost:{server.server_port}" for name in ("site", "other"))
arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"], args=arguments)
    assert browser.version.startswith("156."), browser.version
    page = browser.new_page()
    page.goto(f"{site}/set")
    for what, open_it in [
        ("opened by an application", lambda: page.goto(f"{site}/goal")),
        ("opened, then redirected by another site", lambda: page.goto(f"{other}/redirect")),
        ("a link on another site", lambda: (page.goto(f"{other}/page"), page.click("#link"))),
        ("a link to a redirect of another site", lambda: (page.goto(f"{other}/page"), page.click("#redirect"))),
    ]:
        SEEN.clear()
        open_it()
        page.wait_for_url(f"{site}/goal")
        print(f"{what}: {'; '.join(SEEN)}")
    browser.close()
PY
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "playwright==1.65.2"
seen=$("$folder/venv/bin/python" "$folder/seen.py")
echo "$seen"
[ "$seen" = "opened by an application: none, with the Strict cookie
opened, then redirected by another site: none, with the Strict cookie
a link on another site: cross-site, without it
a link to a redirect of another site: cross-site, without it" ]
