#!/usr/bin/env bash
# Keycloak 26.7.0: if a client requests the scope `offline_access` for a user without that role, the sign-in succeeds and returns a
# code. Only the token endpoint fails, with the error `not_allowed`, which RFC 6749 5.2 does not define; Keycloak neither reduces the
# scope nor returns `invalid_scope` or `access_denied` at the authorization endpoint. A gateway that requests `offline_access` for every
# user locks such users out. For a user with the role, `refresh_expires_in` is 0, which means "never", not "immediately".
#
# Seen on 2026-11-30 (authorization code flow, public client with PKCE, scopes sorted):
#   with the role, openid: 200, scope 'email openid profile', refresh_expires_in 1800
#   with the role, openid offline_access: 200, scope 'email offline_access openid profile', refresh_expires_in 0
#   without it, openid: 200, scope 'email openid profile', refresh_expires_in 1800
#   without it, openid offline_access: 400, not_allowed: Offline tokens not allowed for the user or client
#
# It needs Java 17 and Maven, and takes one or two minutes after the download of the archive (about 150 MB).
set -euo pipefail

folder=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    "-Dartifact=org.keycloak:keycloak-quarkus-dist:26.7.0:tar.gz" "-DoutputDirectory=$folder"
tar xzf "$folder/keycloak-quarkus-dist-26.7.0.tar.gz" -C "$folder"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin
"$folder/keycloak-26.7.0/bin/kc.sh" start-dev --cache=local --http-host=127.0.0.1 "--http-port=$port" >"$folder/log" 2>&1 &
server=$!
cat >"$folder/flow.py" <<'PYTHON'
import base64
import hashlib
import html
import http.client
import json
import re
import sys
import time
from urllib.parse import parse_qs, urlencode, urlsplit

PORT = int(sys.argv[1])
CALLBACK = "http://127.0.0.1:9/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.headers, response.read().decode()


def form(path, values, **headers):
    return call("POST", path, urlencode(values), **{"Content-Type": "application/x-www-form-urlencoded"}, **headers)


def wait():
    end = time.monotonic() + 240
    while time.monotonic() < end:
        try:
            if call("GET", "/realms/master")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.5)
    sys.exit("Keycloak did not start")


def user(name, roles):
    names = {"username": name, "email": f"{name}@example.com", "firstName": name, "lastName": name}
    return names | {"enabled": True, "credentials": [{"type": "password", "value": "p"}], "realmRoles": roles}


def set_up():
    admin = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"}
    token = json.loads(form("/realms/master/protocol/openid-connect/token", admin)[2])["access_token"]
    realm = {
        "realm": "r",
        "enabled": True,
        "clients": [{"clientId": "c", "publicClient": True, "redirectUris": [CALLBACK]}],
        "users": [user("with", ["offline_access"]), user("without", [])],
    }
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    status, _, body = call("POST", "/admin/realms", json.dumps(realm), **headers)
    assert status == 201, body


def sign_in(name, scope):
    query = {"client_id": "c", "redirect_uri": CALLBACK, "response_type": "code", "scope": scope}
    query |= {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    _, headers, page = call("GET", f"/realms/r/protocol/openid-connect/auth?{urlencode(query)}")
    cookies = "; ".join(cookie.split(";")[0] for cookie in headers.get_all("Set-Cookie"))
    action = urlsplit(html.unescape(re.search(r'action="([^"]+)"', page).group(1)))
    status, headers, _ = form(f"{action.path}?{action.query}", {"username": name, "password": "p"}, Cookie=cookies)
    answer = parse_qs(urlsplit(headers["Location"]).query)
    assert status == 302 and "code" in answer, answer
    exchange = {"grant_type": "authorization_code", "client_id": "c", "redirect_uri": CALLBACK}
    exchange |= {"code": answer["code"][0], "code_verifier": VERIFIER}
    status, _, body = form("/realms/r/protocol/openid-connect/token", exchange)
    return status, json.loads(body)


def show(label, name, scope):
    status, answer = sign_in(name, scope)
    if status == 200:
        seen = f"scope {' '.join(sorted(answer['scope'].split()))!r}, refresh_expires_in {answer['refresh_expires_in']}"
    else:
        seen = f"{answer['error']}: {answer['error_description']}"
    print(f"{label}, {scope}: {status}, {seen}")


wait()
set_up()
for label, name in [("with the role", "with"), ("without it", "without")]:
    show(label, name, "openid")
    show(label, name, "openid offline_access")
PYTHON
seen=$(python3 "$folder/flow.py" "$port") || { tail -n 20 "$folder/log" >&2; exit 1; }
echo "Keycloak $(head -n 1 "$folder/keycloak-26.7.0/version.txt" | grep -o '[0-9.]*[0-9]')"
echo "$seen"
[ "$seen" = "with the role, openid: 200, scope 'email openid profile', refresh_expires_in 1800
with the role, openid offline_access: 200, scope 'email offline_access openid profile', refresh_expires_in 0
without it, openid: 200, scope 'email openid profile', refresh_expires_in 1800
without it, openid offline_access: 400, not_allowed: Offline tokens not allowed for the user or client" ]
