"""The official Python client of the 1.x line, headless, in an environment of its own: 1.x and 2.x cannot share one.

    python client.py SERVER_URL REDIRECT_URI SCOPE

Talks to the test line by line in JSON, as the TypeScript client does. Out: {"event": "authorize", "url"},
{"event": "called", "text"}, {"event": "end", …}. In: {"callback": "http://…?code=…"}, then {"call": true} as often as
wanted, then {"end": true}.
"""

import asyncio
import json
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp.types import TextContent
from pydantic import AnyUrl


def say(message: dict[str, Any]) -> None:
    """Sends a line to the test."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def hear() -> dict[str, Any]:
    """Waits for a line of the test."""
    line = await asyncio.to_thread(sys.stdin.readline)
    if not line:
        raise EOFError("the test has gone")
    message: dict[str, Any] = json.loads(line)
    return message


class MemoryStorage:
    """What the client keeps."""

    def __init__(self) -> None:
        self.tokens: list[OAuthToken] = []
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens[-1] if self.tokens else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens.append(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def redirect(url: str) -> None:
    """The client sends its user away."""
    say({"event": "authorize", "url": url})


async def callback() -> tuple[str, str | None]:
    """The user is back."""
    answer = parse_qs(urlsplit((await hear())["callback"]).query)
    return answer["code"][0], answer["state"][0]


async def call(session: ClientSession) -> None:
    """Calls the tool and tells what it said."""
    (content,) = (await session.call_tool("echo", {"message": "hello"})).content
    say({"event": "called", "text": content.text if isinstance(content, TextContent) else ""})


async def main(server_url: str, redirect_uri: str, scope: str) -> None:
    """Signs in, calls, and calls again as often as the test wants."""
    metadata = OAuthClientMetadata(
        client_name="Portcullis tests (Python 1.x)", redirect_uris=[AnyUrl(redirect_uri)], scope=scope or None
    )
    storage = MemoryStorage()
    provider = OAuthClientProvider(server_url, metadata, storage, redirect, callback)
    async with (
        streamablehttp_client(server_url, auth=provider) as (read, write, _session_id),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        await call(session)
        while (await hear()).get("call"):
            await call(session)
    say({"event": "end", "tokens": [tokens.model_dump(mode="json") for tokens in storage.tokens]})


asyncio.run(main(*sys.argv[1:4]))
