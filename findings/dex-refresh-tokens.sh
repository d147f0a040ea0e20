#!/usr/bin/env bash
# Dex of 2026-08-06 (v0.0.0-20260806151424-ab64ed778070), refresh tokens. It keeps one for each user and client: a sign-in ends the
# token of the sign-in before, and a dead token is refused with `invalid_request`, not with `invalid_grant` (RFC 6749 5.2). A user who
# refuses consent ends on a page with status 500; the client is never called back. With storage in memory, a refresh is never
# answered: while it holds the lock of the storage to rotate the token, Dex reads the offline session, which waits for the same lock.
# From then on every sign-in hangs too, but discovery answers, so that a health check sees nothing. With storage in PostgreSQL it
# works.
#
# Seen on 2026-11-30 (static password and client, authorization code flow, scope openid offline_access):
#   consent refused: 500, Approval rejected.
#   two sign-ins: 200, 200
#   refresh with the token of the first: 400 invalid_request
#   refresh with the token of the second: no answer within 10 s
#   another sign-in: no answer within 10 s
#   discovery: 200
#
# It needs Go 1.26, and takes some minutes to build Dex.
set -euo pipefail

folder=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || { kill -KILL "$server" && wait "$server"; } 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
cat >"$folder/go.mod" <<'GO'
module finding

go 1.26.0

tool github.com/dexidp/dex/cmd/dex

require github.com/dexidp/dex v0.0.0-20260806151424-ab64ed778070

replace github.com/dexidp/dex/api/v2 => github.com/dexidp/dex/api/v2 v2.4.1-0.20260806151424-ab64ed778070
GO
(cd "$folder" && go mod tidy 2>/dev/null && CGO_ENABLED=0 go build -buildvcs=false -o dex github.com/dexidp/dex/cmd/dex)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# the hash is that of "password"
cat >"$folder/config.json" <<JSON
{
  "issuer": "http://127.0.0.1:$port/dex",
  "storage": {"type": "memory", "config": {}},
  "web": {"http": "127.0.0.1:$port"},
  "staticClients": [{"id": "c", "name": "c", "secret": "s", "redirectURIs": ["http://127.0.0.1:9/callback"]}],
  "enablePasswordDB": true,
  "staticPasswords": [{
    "email": "a@example.com", "username": "a", "userID": "1",
    "hash": "\$2a\$10\$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W"
  }]
}
JSON
"$folder/dex" serve "$folder/config.json" >"$folder/log" 2>&1 &
server=$!
cat >"$folder/flow.py" <<'PYTHON'
import html
import http.client
import json
import re
import sys
import time
from urllib.parse import parse_qs, urlencode, urlsplit

PORT = int(sys.argv[1])
CALLBACK = "http://127.0.0.1:9/callback"
CLIENT = {"client_id": "c", "client_secret": "s"}


def call(method, path, values=None):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    body = urlencode(values) if values else None
    connection.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"} if values else {})
    response = connection.getresponse()
    return response.status, response.headers, response.read().decode()


def wait():
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if call("GET", "/dex/.well-known/openid-configuration")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    sys.exit("Dex did not start")


def sign_in(decision="approve"):
    query = {"client_id": "c", "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid offline_access"}
    answer = call("GET", f"/dex/auth?{urlencode(query)}")
    for _ in range(8):
        status, headers, page = answer
        if status in (302, 303):
            target = urlsplit(headers["Location"])
            if target.netloc == "127.0.0.1:9":
                code = parse_qs(target.query)["code"][0]
                form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, **CLIENT}
                status, _, body = call("POST", "/dex/token", form)
                return status, json.loads(body)
            where = f"{target.path}?{target.query}"
            answer = call("GET", where)
        elif status == 200 and 'name="approval"' in page:
            request = re.search(r'name="req" value="([^"]+)"', page).group(1)
            answer = call("POST", where, {"req": request, "approval": decision})
        elif status == 200:
            action = html.unescape(re.search(r'action="([^"]+)"', page).group(1))
            answer = call("POST", action, {"login": "a@example.com", "password": "password"})
        else:
            return status, re.search(r"<p>(.*)</p>", page).group(1)
    sys.exit(f"no sign-in: {answer}")


def show(label, ask):
    try:
        print(f"{label}: {ask()}")
    except TimeoutError:
        print(f"{label}: no answer within 10 s")


wait()
print("consent refused: {}, {}".format(*sign_in("rejected")))
first, second = sign_in(), sign_in()
print(f"two sign-ins: {first[0]}, {second[0]}")


def refresh(tokens):
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], **CLIENT}
    status, _, body = call("POST", "/dex/token", form)
    return f"{status} {json.loads(body).get('error', '')}"


show("refresh with the token of the first", lambda: refresh(first[1]))
show("refresh with the token of the second", lambda: refresh(second[1]))
show("another sign-in", lambda: sign_in()[0])
show("discovery", lambda: call("GET", "/dex/.well-known/openid-configuration")[0])
PYTHON
seen=$(python3 "$folder/flow.py" "$port") || { tail -n 20 "$folder/log" >&2; exit 1; }
echo "$seen"
[ "$seen" = "consent refused: 500, Approval rejected.
two sign-ins: 200, 200
refresh with the token of the first: 400 invalid_request
refresh with the token of the second: no answer within 10 s
another sign-in: no answer within 10 s
discovery: 200" ]
