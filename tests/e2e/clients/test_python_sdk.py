"""The official Python client, through consent and Keycloak's login form."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp_types import TextContent
from pydantic import AnyUrl

from harness.oauth import REDIRECT_URI
from harness.person import Answer, Person
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.secrets_seen import remember
from harness.upstreams import Upstream


class MemoryStorage:
    """The client's storage."""

    def __init__(self) -> None:
        self.tokens: list[OAuthToken] = []
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens[-1] if self.tokens else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        remember(tokens.access_token, tokens.refresh_token)
        self.tokens.append(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class SignIn:
    """Replaces the client's browser window and redirect listener."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self._answer: Answer | None = None
        self.times = 0
        self.url = ""

    async def redirect(self, url: str) -> None:
        """Opens the authorization URL as the user."""
        self.times += 1
        self.url = url
        self._answer = await anyio.to_thread.run_sync(self.person.authorize, url, REDIRECT_URI)

    async def callback(self) -> AuthorizationCodeResult:
        """Returns the parameters of the redirect."""
        assert self._answer is not None
        parameters = self._answer.parameters
        return AuthorizationCodeResult(code=self._answer.code, state=parameters["state"], iss=parameters["iss"])


@pytest.mark.parametrize("server", ["everything", "whoami"])
def test_the_python_client_registers_calls_a_tool_and_refreshes(
    server: str, request: pytest.FixtureRequest, realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    upstream: Upstream = request.getfixturevalue(server)
    portcullis = gateway(realm, upstreams={"/mcp": upstream}, lifetimes={"access_token": "2s"}).start()
    storage, sign_in = MemoryStorage(), SignIn(realm.person())
    texts = anyio.run(_two_calls, portcullis.url(), storage, sign_in)
    assert texts == ["Echo: first", "Echo: after expiry"]
    assert storage.client is not None
    assert sign_in.times == 1, "the token was refreshed without another sign-in"
    assert len(storage.tokens) >= 2
    assert len({tokens.refresh_token for tokens in storage.tokens}) == len(storage.tokens), "every refresh rotates it"


@asynccontextmanager
async def connected(
    url: str, storage: MemoryStorage, sign_in: SignIn, client_metadata_url: str | None = None
) -> AsyncIterator[Client]:
    """A client that signs in when it must."""
    metadata = OAuthClientMetadata(client_name="Portcullis tests (Python)", redirect_uris=[AnyUrl(REDIRECT_URI)])
    provider = OAuthClientProvider(
        url, metadata, storage, sign_in.redirect, sign_in.callback, client_metadata_url=client_metadata_url
    )
    async with (
        httpx2.AsyncClient(auth=provider, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def _two_calls(
    url: str, storage: MemoryStorage, sign_in: SignIn, client_metadata_url: str | None = None
) -> list[str]:
    async with connected(url, storage, sign_in, client_metadata_url) as client:
        texts = [await echo(client, "first")]
        await anyio.sleep((storage.tokens[-1].expires_in or 0) + 1)
        texts.append(await echo(client, "after expiry"))
    return texts


async def echo(client: Client, message: str) -> str:
    """Calls the tool."""
    result = await client.call_tool("echo", {"message": message})
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text
