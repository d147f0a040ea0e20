#!/usr/bin/env bash
# mcp (Python) 2.3.0, an MCP client: OAuthClientProvider does not use a stored refresh token after a restart. Its storage keeps the
# token response without its expiry time, so a loaded access token never expires for the client, and the resulting 401 starts
# discovery and a new authorization in the browser. Only an expiry computed by the same process leads to a refresh. A long-lived
# refresh token therefore does not save this client's user from signing in again.
#
# Seen on 2026-11-30 (the MCP call gets 401, and every metadata look-up 404, as from a server without metadata):
#   tokens from the storage: POST /mcp with Bearer old, 3 metadata look-ups, the browser at /authorize
#   expiry known to the process: POST /token with grant_type=refresh_token
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/restart.py" <<'PYTHON'
import asyncio
import logging
import time
from urllib.parse import parse_qs, urlsplit

from httpx2 import Request, Response
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

CALLBACK = "http://127.0.0.1:9/callback"


class Storage:
    async def get_tokens(self):
        return OAuthToken(access_token="old", expires_in=60, refresh_token="r")

    async def set_tokens(self, tokens):
        pass

    async def get_client_info(self):
        return OAuthClientInformationFull(client_id="c", redirect_uris=[CALLBACK], token_endpoint_auth_method="none")

    async def set_client_info(self, client):
        pass


class Browser(Exception):
    pass


async def browser(url):
    raise Browser(f"the browser at {urlsplit(url).path}")


async def call(label, expiry):
    metadata = OAuthClientMetadata(redirect_uris=[CALLBACK])
    provider = OAuthClientProvider("http://127.0.0.1:9/mcp", metadata, Storage(), browser, browser)
    if expiry is not None:
        await provider._initialize()
        provider.context.token_expiry_time = expiry
    flow = provider.async_auth_flow(Request("POST", "http://127.0.0.1:9/mcp", content=b"{}"))
    request = await anext(flow)
    if request.url.path == "/token":
        grant = parse_qs(request.content.decode())["grant_type"][0]
        print(f"{label}: {request.method} {request.url.path} with grant_type={grant}")
        return await flow.aclose()
    seen = f"{request.method} {request.url.path} with {request.headers['Authorization']}"
    looked_up = []
    try:
        request = await flow.asend(Response(401, request=request))
        while request.url.path.startswith("/.well-known/"):
            looked_up.append(request.url.path)
            request = await flow.asend(Response(404, request=request))
        end = f"{request.method} {request.url.path}"
    except Browser as error:
        end = error
    print(f"{label}: {seen}, {len(looked_up)} metadata look-ups, {end}")


async def main():
    await call("tokens from the storage", None)
    await call("expiry known to the process", time.time() - 1)


logging.disable()  # the provider logs the traceback of Browser
asyncio.run(main())
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check "mcp==2.3.0"
seen=$("$folder/venv/bin/python" "$folder/restart.py")
echo "mcp 2.3.0"
echo "$seen"
[ "$seen" = "tokens from the storage: POST /mcp with Bearer old, 3 metadata look-ups, the browser at /authorize
expiry known to the process: POST /token with grant_type=refresh_token" ]
