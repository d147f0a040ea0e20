#!/usr/bin/env bash
# mcp (Python) 1.20.0, an MCP client: OAuthClientProvider refuses a token response whose `scope` contains more than the client
# requested. RFC 6749 5.1 lets a server grant another scope than requested and requires it to say so. An authorization server that
# issues a refresh token and names `offline_access` in `scope` therefore cannot be used with this client. mcp 2.3.0 accepts the same
# response.
#
# Seen on 2026-11-30:
#   mcp 1.20.0: OAuthTokenError: Server granted unauthorized scopes: {'offline_access'}
#   mcp 2.3.0: accepted, scope 'mcp:access offline_access'
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/answer.py" <<'PYTHON'
import asyncio
import importlib.metadata
import inspect

from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata

ANSWER = b'{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"mcp:access offline_access"}'
version = importlib.metadata.version("mcp")
if version.startswith("1."):
    from httpx import Request, Response
else:
    from httpx2 import Request, Response


class Storage:
    async def get_tokens(self):
        return None

    async def set_tokens(self, tokens):
        pass

    async def get_client_info(self):
        return None

    async def set_client_info(self, client):
        pass


async def main():
    uri = "http://127.0.0.1:9/callback"
    asked = OAuthClientMetadata(redirect_uris=[uri], scope="mcp:access")
    provider = OAuthClientProvider("http://127.0.0.1:9/mcp", asked, Storage(), None, None)
    provider.context.client_info = OAuthClientInformationFull(client_id="c", redirect_uris=[uri], scope="mcp:access")
    response = Response(200, content=ANSWER, request=Request("POST", "http://127.0.0.1:9/token"))
    try:
        await provider._handle_token_response(response)
        print(f"mcp {version}: accepted, scope {provider.context.current_tokens.scope!r}")
    except Exception as error:
        print(f"mcp {version}: {type(error).__name__}: {error}")


asyncio.run(main())
PYTHON

# 1.20.0 cannot be imported with pydantic 2.14, which its own requirements allow: see mcp-1-and-pydantic.sh
seen=$(
    for wanted in "mcp==1.20.0 pydantic==2.12.5" "mcp==2.3.0"; do
        python3 -m venv "$folder/venv"
        # shellcheck disable=SC2086
        "$folder/venv/bin/pip" install -q --disable-pip-version-check $wanted
        "$folder/venv/bin/python" "$folder/answer.py"
        rm -rf "$folder/venv"
    done
)
echo "$seen"
[ "$seen" = "mcp 1.20.0: OAuthTokenError: Server granted unauthorized scopes: {'offline_access'}
mcp 2.3.0: accepted, scope 'mcp:access offline_access'" ]
