"""The official clients without a user: client_credentials with private_key_jwt."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.auth import OAuthTokenError
from mcp.client.auth.extensions.client_credentials import PrivateKeyJWTOAuthProvider, SignedJWTParameters
from mcp.client.streamable_http import streamable_http_client

from clients.test_python_sdk import MemoryStorage, echo
from harness.client_key import ALGORITHM, ClientKey
from harness.documents import DocumentHost
from harness.oauth import http_client
from harness.places import TYPESCRIPT
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.script import script
from harness.secrets_seen import remember
from harness.upstreams import node

CLIENT_ID = "agent"
SHORT = {"access_token": "2s"}
EXPIRES = 3


def _entry(**keys: object) -> list[dict[str, Any]]:
    """The configuration of a machine that may call the upstream."""
    return [{"client_id": CLIENT_ID, "machine_upstreams": ["mcp"], **keys}]


def _command(portcullis: Portcullis, key_file: Path) -> list[object]:
    return [node(), TYPESCRIPT / "machine.mjs", portcullis.url(), portcullis.public_url, CLIENT_ID, key_file]


def test_the_typescript_client_signs_for_itself_and_is_revoked(
    realm: Realm, gateway: Callable[..., Portcullis], directory: Path
) -> None:
    key = ClientKey()
    (directory / "jwks.json").write_text(json.dumps(key.jwks), encoding="utf-8")
    portcullis = gateway(realm, client=_entry(jwks=str(directory / "jwks.json")), lifetimes=SHORT).start()
    with script(_command(portcullis, key.write(directory / "agent.pem"))) as client:
        assert client.hear("called")["text"] == "Echo: hello"
        time.sleep(EXPIRES)
        client.say({"call": True})
        assert client.hear("called")["text"] == "Echo: hello"
        client.say({"end": True})
        end = client.hear("end")
    remember(end["tokens"]["access_token"])
    assert "refresh_token" not in end["tokens"], "a machine asks again"
    asked = [
        (each["grantType"], each["signed"], each["status"]) for each in end["requests"] if each["path"] == "/token"
    ]
    assert len(asked) >= 2
    assert set(asked) == {("client_credentials", True, 200)}
    with http_client() as http:
        form = {"token": end["tokens"]["access_token"], **key.assertion(CLIENT_ID, portcullis.public_url)}
        assert http.post(portcullis.url("/revoke"), data=form).status_code == 200
        bearer = {"Authorization": f"Bearer {end['tokens']['access_token']}"}
        assert http.post(portcullis.url(), json={}, headers=bearer).status_code == 401


def test_the_typescript_client_with_another_key_gets_no_token(
    realm: Realm, gateway: Callable[..., Portcullis], directory: Path
) -> None:
    (directory / "jwks.json").write_text(json.dumps(ClientKey().jwks), encoding="utf-8")
    portcullis = gateway(realm, client=_entry(jwks=str(directory / "jwks.json"))).start()
    with script(_command(portcullis, ClientKey().write(directory / "other.pem"))) as client:
        client.hear("refused")
        requests = client.hear("end")["requests"]
    asked = {(each["signed"], each["status"], each["error"]) for each in requests if each["path"] == "/token"}
    assert asked == {(True, 401, "invalid_client")}
    assert not [each for each in requests if each["path"] == "/mcp" and each["status"] != 401]


async def _calls(portcullis: Portcullis, key: ClientKey, storage: MemoryStorage, pauses: Sequence[float]) -> list[str]:
    """Signs in with the key, and calls before and after each pause."""
    parameters = SignedJWTParameters(
        issuer=CLIENT_ID, subject=CLIENT_ID, signing_key=key.pem, signing_algorithm=ALGORITHM
    )
    provider = PrivateKeyJWTOAuthProvider(
        portcullis.url(), storage, CLIENT_ID, parameters.create_assertion_provider(), issuer=portcullis.public_url
    )
    async with (
        httpx2.AsyncClient(auth=provider, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(portcullis.url(), http_client=http)) as client,
    ):
        texts = [await echo(client, "first")]
        for pause in pauses:
            await anyio.sleep(pause)
            texts.append(await echo(client, "later"))
    return texts


def test_the_python_client_signs_with_a_key_that_it_publishes(
    realm: Realm, gateway: Callable[..., Portcullis], directory: Path
) -> None:
    key, storage = ClientKey(), MemoryStorage()
    with DocumentHost(directory / "documents") as host:
        jwks_uri = host.publish("/jwks.json", **key.jwks)
        client = _entry(jwks_uri=jwks_uri)
        portcullis = gateway(realm, client=client, lifetimes=SHORT, ca_file=str(host.ca_file)).start()
        assert anyio.run(_calls, portcullis, key, storage, [EXPIRES]) == ["Echo: first", "Echo: later"]
        assert host.requests == ["/jwks.json"], "the keys were fetched once"
    assert len(storage.tokens) >= 2, "each token was asked for with a new assertion"
    assert all(tokens.refresh_token is None for tokens in storage.tokens)


def test_the_python_client_with_another_key_is_an_invalid_client(
    realm: Realm, gateway: Callable[..., Portcullis], directory: Path
) -> None:
    (directory / "jwks.json").write_text(json.dumps(ClientKey().jwks), encoding="utf-8")
    portcullis = gateway(realm, client=_entry(jwks=str(directory / "jwks.json"))).start()
    with pytest.raises(ExceptionGroup) as ended:
        anyio.run(_calls, portcullis, ClientKey(), MemoryStorage(), [])
    assert ended.group_contains(OAuthTokenError, match=r"\(401\).*invalid_client")
