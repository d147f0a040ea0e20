"""The official clients, known by a metadata document: public ones, and ones that sign (private_key_jwt)."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from clients.test_python_sdk import MemoryStorage, SignIn, connected, echo
from clients.test_typescript_sdk import command
from harness.client_key import ClientKey
from harness.documents import DocumentHost
from harness.oauth import REDIRECT_URI, http_client
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.script import Script, script
from harness.secrets_seen import remember
from harness.upstreams import Upstream
from harness.user_agent import location, page_of

# a loopback address without a port, as real clients publish it
METADATA = {
    "client_name": "Portcullis tests",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
}
SHORT = {"access_token": "2s"}
EXPIRES = 3


@pytest.fixture
def host(directory: Path) -> Iterator[DocumentHost]:
    """Where the documents are."""
    with DocumentHost(directory / "documents") as running:
        yield running


def _revoke(portcullis: Portcullis, token: str, **credentials: str) -> httpx2.Response:
    with http_client() as http:
        return http.post(portcullis.url("/revoke"), data={"token": token, **credentials})


def _sign_in(client: Script, realm: Realm) -> str:
    """Approves; returns what the page said to the user."""
    person = realm.person()
    page = person.open(client.hear("authorize")["url"])
    text = page_of(page).text
    client.say({"callback": person.carry_on(page, REDIRECT_URI).url})
    return text


def _token_requests(end: dict[str, Any]) -> list[dict[str, Any]]:
    """The requests of a whole run to the token endpoint; it registered nothing."""
    assert not [each for each in end["requests"] if each["path"] == "/register"]
    return [each for each in end["requests"] if each["path"] == "/token"]


@pytest.mark.parametrize("signs", [False, True])
def test_the_typescript_client_with_a_document_calls_refreshes_and_is_revoked(
    signs: bool,
    realm: Realm,
    gateway: Callable[..., Portcullis],
    whoami: Upstream,
    host: DocumentHost,
    directory: Path,
) -> None:
    key = ClientKey()
    method: dict[str, object] = {"token_endpoint_auth_method": "none"}
    if signs:
        method = {"token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks}
    client_id = host.publish("/client.json", **METADATA, **method)
    # a server without a listening stream, which the client would open again by itself after the revocation
    portcullis = gateway(realm, upstreams={"/mcp": whoami}, lifetimes=SHORT, ca_file=str(host.ca_file)).start()
    options = [client_id, key.write(directory / "client.pem")] if signs else [client_id]
    with script(command(portcullis.url(), *options)) as client:
        asked = _sign_in(client, realm)
        assert client.hear("called")["text"] == "Echo: hello"
        time.sleep(EXPIRES)
        client.say({"call": True})
        assert client.hear("called")["text"] == "Echo: hello"
        client.say({"tokens": True, "call": True})
        tokens = client.hear("tokens")["tokens"]
        remember(tokens["access_token"], tokens["refresh_token"])
        assert client.hear("called")["text"] == "Echo: hello"
        credentials = key.assertion(client_id, portcullis.public_url) if signs else {"client_id": client_id}
        assert _revoke(portcullis, tokens["refresh_token"], **credentials).status_code == 200
        client.say({"call": True})
        _sign_in(client, realm)
        assert client.hear("called")["text"] == "Echo: hello", "the grant was over, and the user was asked again"
        client.say({"end": True})
        end = client.hear("end")
    remember(end["tokens"]["access_token"], end["tokens"]["refresh_token"])
    assert "127.0.0.1" in asked
    answered = [(each["grantType"], each["signed"], each["status"]) for each in _token_requests(end)]
    assert answered[:2] == [("authorization_code", signs, 200), ("refresh_token", signs, 200)]
    assert answered[-2:] == [("refresh_token", signs, 400), ("authorization_code", signs, 200)]
    assert host.requests == ["/client.json"], "it was fetched once"


def test_the_typescript_client_with_another_key_than_its_documents_gets_no_token(
    realm: Realm, gateway: Callable[..., Portcullis], host: DocumentHost, directory: Path
) -> None:
    published = {"token_endpoint_auth_method": "private_key_jwt", "jwks": ClientKey().jwks}
    client_id = host.publish("/client.json", **METADATA, **published)
    portcullis = gateway(realm, ca_file=str(host.ca_file)).start()
    with script(command(portcullis.url(), client_id, ClientKey().write(directory / "other.pem"))) as client:
        _sign_in(client, realm)
        client.hear("refused")
        end = client.hear("end")
    requests = _token_requests(end)
    assert requests
    assert {(each["signed"], each["status"], each["error"]) for each in requests} == {(True, 401, "invalid_client")}


def test_a_document_that_no_longer_has_the_redirect_uri_stops_the_sign_in_at_our_page(
    realm: Realm, gateway: Callable[..., Portcullis], host: DocumentHost
) -> None:
    client_id = host.publish("/client.json", **METADATA)
    before = gateway(realm, ca_file=str(host.ca_file)).start()
    with script(command(before.url(), client_id)) as client:
        _sign_in(client, realm)
        assert client.hear("called")["text"] == "Echo: hello"
        client.say({"end": True})
        tokens = client.hear("end")["tokens"]
        remember(tokens["access_token"], tokens["refresh_token"])
    host.publish("/client.json", **{**METADATA, "redirect_uris": ["https://elsewhere.example/callback"]})
    # a gateway that has not seen the document yet: one that has asks again after five minutes at the earliest
    after = gateway(realm, ca_file=str(host.ca_file)).start()
    with script(command(after.url(), client_id)) as client:
        page = realm.person().open(client.hear("authorize")["url"])
    assert page.status_code == 400
    assert location(page) is None, "no one is sent to a redirect URI that the client does not publish"
    assert not page_of(page).forms


def test_the_python_client_with_a_document_calls_refreshes_and_is_revoked(
    realm: Realm, gateway: Callable[..., Portcullis], host: DocumentHost
) -> None:
    client_id = host.publish("/client.json", **METADATA, token_endpoint_auth_method="none")
    portcullis = gateway(realm, lifetimes=SHORT, ca_file=str(host.ca_file)).start()
    storage, sign_in = MemoryStorage(), SignIn(realm.person())

    async def run() -> list[str]:
        async with connected(portcullis.url(), storage, sign_in, client_id) as client:
            texts = [await echo(client, "first")]
            await anyio.sleep(EXPIRES)
            texts.append(await echo(client, "after expiry"))
            assert sign_in.times == 1, "the token was refreshed without another sign-in"
            token = storage.tokens[-1].refresh_token
            assert token is not None
            assert _revoke(portcullis, token, client_id=client_id).status_code == 200
            texts.append(await echo(client, "after revocation"))
        return texts

    assert anyio.run(run) == ["Echo: first", "Echo: after expiry", "Echo: after revocation"]
    assert storage.client is not None
    assert storage.client.client_id == client_id
    assert sign_in.times == 2, "the grant was over, and the user was asked again"
    assert host.requests == ["/client.json"], "it was fetched once"
