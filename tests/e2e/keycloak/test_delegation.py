"""A server behind the gateway verifies who calls, by an assertion of ours or a token that Keycloak exchanged."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.mcp_wire import McpSession, request
from harness.oauth import Client
from harness.portcullis import Portcullis, upstream_entry
from harness.realm import CLIENT_ID, Realm
from harness.upstreams import Upstream, fastmcp
from harness.waiting import free_port, wait_until

Json = dict[str, Any]
AUDIENCE = "urn:example:expenses"
EXCHANGED = "expenses-api"


class Servers:
    """FastMCP servers, stopped after the test."""

    def __init__(self) -> None:
        self.running: list[Upstream] = []

    def start(self, jwks_uri: str, issuer: str, audience: str, algorithm: str) -> Upstream:
        """Starts one with such a verifier."""
        self.running.append(fastmcp(jwks_uri=jwks_uri, issuer=issuer, audience=audience, algorithm=algorithm))
        return self.running[-1]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Starts FastMCP servers."""
    made = Servers()
    yield made
    for upstream in made.running:
        upstream.child.stop()


def with_delegation(upstream: Upstream, **delegation: object) -> list[Json]:
    """The `[[upstream]]` entry of a server that gets a credential."""
    return [{**upstream_entry(upstream, "/mcp"), "delegation": delegation}]


def verifies_assertions(gateway: Callable[..., Portcullis], realm: Realm, servers: Servers) -> Portcullis:
    """A gateway, and a server that verifies what it signs."""
    port = free_port()
    public_url = f"http://127.0.0.1:{port}"
    server = servers.start(f"{public_url}/.well-known/jwks.json", public_url, AUDIENCE, "ES256")
    claims = ["client_id", "scope", "email", "groups"]
    entries = with_delegation(server, kind="assertion", audience=AUDIENCE, claims=claims)
    listen = {"listen": f"127.0.0.1:{port}"}
    return gateway(realm, public_url=public_url, server=listen, upstream=entries).start()


def verifies_exchanged(gateway: Callable[..., Portcullis], realm: Realm, servers: Servers) -> Portcullis:
    """A gateway, and a server with an audience of its own in the realm."""
    certs = f"{realm.issuer}/protocol/openid-connect/certs"
    server = servers.start(certs, realm.issuer, EXCHANGED, "RS256")
    exchange = {"kind": "token_exchange", "identity": "keycloak", "audience": EXCHANGED, "scopes": ["expenses"]}
    return gateway(realm, upstream=with_delegation(server, **exchange)).start()


def set_up_exchange(realm: Realm) -> None:
    """What `docs/delegation.md` asks an administrator of Keycloak to set."""
    server = {"clientId": EXCHANGED, "standardFlowEnabled": False, "directAccessGrantsEnabled": False}
    realm.admin("POST", "/clients", server)
    mapper = {
        "name": "audience",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.client.audience": EXCHANGED, "access.token.claim": "true"},
    }
    scope: Json = {"name": "expenses", "protocol": "openid-connect", "protocolMappers": [mapper]}
    scope["attributes"] = {"include.in.token.scope": "true"}
    realm.admin("POST", "/client-scopes", scope)
    scopes = {scope["name"]: scope["id"] for scope in realm.admin("GET", "/client-scopes")}
    client = realm.admin("GET", f"/clients?clientId={CLIENT_ID}")[0]
    realm.admin("PUT", f"/clients/{client['id']}/optional-client-scopes/{scopes['expenses']}")
    allow_exchange(realm, True)


def allow_exchange(realm: Realm, allowed: bool) -> None:
    """Switches "Standard token exchange" of our client."""
    client = realm.admin("GET", f"/clients?clientId={CLIENT_ID}")[0]
    client["attributes"]["standard.token.exchange.enabled"] = "true" if allowed else "false"
    realm.admin("PUT", f"/clients/{client['id']}", client)


def claims_seen(portcullis: Portcullis, token: str) -> Json:
    """What the server behind says of its caller."""
    seen: Json = json.loads(McpSession(portcullis.url(), token).open().call("claims"))
    return seen


def test_an_unmodified_fastmcp_server_sees_the_user_in_an_assertion(
    realm: Realm, gateway: Callable[..., Portcullis], servers: Servers
) -> None:
    portcullis = verifies_assertions(gateway, realm, servers)
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    seen = claims_seen(portcullis, tokens.access_token)
    assert seen["client_id"] == client.client_id
    assert seen["scopes"] == ["mcp:access"]
    assert seen["claims"]["sub"] == f"keycloak|{realm.user_id('alice')}"
    assert seen["claims"]["email"] == "alice@example.com"
    assert seen["claims"]["groups"] == ["/engineering/platform"]
    bob = claims_seen(portcullis, client.sign_in(realm.person("bob")).access_token)
    assert bob["claims"]["sub"] == f"keycloak|{realm.user_id('bob')}"


def test_the_fastmcp_server_itself_refuses_the_token_of_the_client(
    realm: Realm, gateway: Callable[..., Portcullis], servers: Servers
) -> None:
    portcullis = verifies_assertions(gateway, realm, servers)
    tokens = Client.register(portcullis.url()).sign_in(realm.person())
    direct = McpSession(servers.running[0].url, tokens.access_token).post(request("ping"))
    assert direct.status_code == 401


def test_a_fastmcp_server_with_its_own_audience_in_keycloak_gets_an_exchanged_token(
    realm: Realm, gateway: Callable[..., Portcullis], servers: Servers
) -> None:
    set_up_exchange(realm)
    portcullis = verifies_exchanged(gateway, realm, servers)
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    seen = claims_seen(portcullis, tokens.access_token)["claims"]
    assert seen["sub"] == realm.user_id("alice")
    assert seen["aud"] == EXCHANGED
    assert seen["azp"] == CLIENT_ID
    again = claims_seen(portcullis, tokens.access_token)["claims"]
    assert again["jti"] == seen["jti"], "kept for the grant"
    bob = claims_seen(portcullis, client.sign_in(realm.person("bob")).access_token)["claims"]
    assert bob["sub"] == realm.user_id("bob")
    assert client.refresh(tokens.refresh_token).status_code == 200


def test_a_disabled_user_is_out_at_the_next_exchange(
    realm: Realm, gateway: Callable[..., Portcullis], servers: Servers
) -> None:
    set_up_exchange(realm)
    portcullis = verifies_exchanged(gateway, realm, servers)
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    realm.set_enabled("alice", False)
    refused = McpSession(portcullis.url(), tokens.access_token).post(request("ping"))
    assert refused.status_code == 401
    assert client.refresh(tokens.refresh_token).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("exchange", "Standard token exchange"),
        ("audience", "client id of a client in the same realm"),
        ("scope", "must be client scopes of our client"),
    ],
)
def test_what_keycloak_refuses_is_a_502_and_the_log_names_the_setting(
    wrong: str, words: str, realm: Realm, gateway: Callable[..., Portcullis], servers: Servers
) -> None:
    set_up_exchange(realm)
    if wrong == "exchange":
        allow_exchange(realm, False)
    certs = f"{realm.issuer}/protocol/openid-connect/certs"
    server = servers.start(certs, realm.issuer, EXCHANGED, "RS256")
    exchange = {
        "kind": "token_exchange",
        "identity": "keycloak",
        "audience": "unknown" if wrong == "audience" else EXCHANGED,
        "scopes": ["unknown" if wrong == "scope" else "expenses"],
    }
    portcullis = gateway(realm, upstream=with_delegation(server, **exchange)).start()
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    refused = McpSession(portcullis.url(), tokens.access_token).post(request("ping"))
    assert refused.status_code == 502
    assert "refuses to issue" in refused.json()["error"]["message"]
    # the log is written behind the requests
    wait_until("the log names the setting", lambda: words in portcullis.child.log, 5)
    assert client.refresh(tokens.refresh_token).status_code == 200, "the grant stays"
