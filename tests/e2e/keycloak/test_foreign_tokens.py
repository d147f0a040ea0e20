"""Keycloak's own access tokens open an upstream that accepts them, and nothing else of Keycloak does."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from harness.mcp_wire import McpSession
from harness.oauth import challenge_parameters, http_client, pkce_pair
from harness.portcullis import Portcullis, upstream_entry
from harness.realm import CLIENT_ID, Realm
from harness.secrets_seen import remember
from harness.upstreams import Upstream
from harness.waiting import wait_until

Json = dict[str, Any]
REDIRECT_URI = "http://127.0.0.1:43211/callback/keycloak"


def alone(gateway: Callable[..., Portcullis], realm: Realm, upstream: Upstream, **issuer: object) -> Portcullis:
    """A gateway without an authorization server, whose upstream accepts tokens of the realm."""
    portcullis = gateway(
        realm,
        issuer=[
            {"id": "corp", "kind": "keycloak", "issuer": realm.issuer, "audiences": ["https://expenses"], **issuer}
        ],
        upstream=[{**upstream_entry(upstream, "/mcp"), "accepts": ["corp"]}],
    )
    return portcullis.start()


def give_audience_and_scope(realm: Realm) -> None:
    """What `docs/foreign-issuers.md` asks an administrator of Keycloak to set."""
    client = realm.admin("GET", f"/clients?clientId={CLIENT_ID}")[0]["id"]
    realm.admin(
        "POST",
        "/client-scopes",
        {
            "name": "mcp:access",
            "protocol": "openid-connect",
            "attributes": {"include.in.token.scope": "true"},
            "protocolMappers": [
                {
                    "name": "audience",
                    "protocol": "openid-connect",
                    "protocolMapper": "oidc-audience-mapper",
                    "config": {
                        "included.custom.audience": "https://expenses",
                        "access.token.claim": "true",
                        "introspection.token.claim": "true",
                    },
                },
                {
                    "name": "our client, which introspection needs",
                    "protocol": "openid-connect",
                    "protocolMapper": "oidc-audience-mapper",
                    "config": {"included.client.audience": CLIENT_ID, "access.token.claim": "true"},
                },
            ],
        },
    )
    scopes = {scope["name"]: scope["id"] for scope in realm.admin("GET", "/client-scopes")}
    realm.admin("PUT", f"/clients/{client}/optional-client-scopes/{scopes['mcp:access']}")


def tokens_of_keycloak(realm: Realm, scope: str) -> Json:
    """Signs alice in at Keycloak directly."""
    verifier, challenge = pkce_pair()
    query = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT_URI,
        "scope": scope,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    endpoint = f"{realm.issuer}/protocol/openid-connect"
    answer = realm.person().authorize(f"{endpoint}/auth?{urlencode(query)}", REDIRECT_URI)
    form = {
        "grant_type": "authorization_code",
        "code": answer.code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": verifier,
        "client_id": CLIENT_ID,
        "client_secret": realm.client_secret,
    }
    tokens: Json = realm.http.post(f"{endpoint}/token", data=form).raise_for_status().json()
    remember(*(tokens[kind] for kind in ("access_token", "id_token", "refresh_token")))
    return tokens


def get(url: str) -> httpx2.Response:
    """Fetches a document."""
    with http_client(5) as http:
        return http.get(url)


def test_an_access_token_of_keycloak_opens_the_upstream_and_names_its_user(
    realm: Realm, gateway: Callable[..., Portcullis], whoami: Upstream
) -> None:
    give_audience_and_scope(realm)
    portcullis = alone(gateway, realm, whoami)
    metadata = get(portcullis.public_url + "/mcp/.well-known/oauth-protected-resource").json()
    assert metadata["authorization_servers"] == [realm.issuer]
    assert get(portcullis.public_url + "/.well-known/oauth-authorization-server").status_code == 404
    token = tokens_of_keycloak(realm, "openid mcp:access")["access_token"]
    headers = json.loads(McpSession(portcullis.url(), token).open().call("headers"))
    assert headers["x-forwarded-user"] == f"corp|{realm.user_id('alice')}"
    assert headers["x-portcullis-client"] == CLIENT_ID
    assert "authorization" not in headers


@pytest.mark.parametrize("kind", ["id_token", "refresh_token"])
def test_other_tokens_of_keycloak_are_refused_with_a_reason(
    kind: str, realm: Realm, gateway: Callable[..., Portcullis], everything: Upstream
) -> None:
    give_audience_and_scope(realm)
    portcullis = alone(gateway, realm, everything)
    tokens = tokens_of_keycloak(realm, "openid mcp:access")
    assert McpSession(portcullis.url(), tokens["access_token"]).ping() == 200
    refusal = McpSession(portcullis.url(), tokens[kind]).post({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert refusal.status_code == 401
    assert challenge_parameters(refusal)["error_description"] == "this is not an access token for this server"


def test_a_token_of_the_realm_for_another_audience_is_refused(
    realm: Realm, gateway: Callable[..., Portcullis], everything: Upstream
) -> None:
    give_audience_and_scope(realm)
    portcullis = alone(gateway, realm, everything)
    token = tokens_of_keycloak(realm, "openid")["access_token"]
    refusal = McpSession(portcullis.url(), token).post({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert refusal.status_code == 401
    assert challenge_parameters(refusal)["error_description"] == "the access token is for another audience"


def test_introspection_notices_the_end_of_a_session(
    realm: Realm, gateway: Callable[..., Portcullis], everything: Upstream
) -> None:
    give_audience_and_scope(realm)
    portcullis = alone(
        gateway,
        realm,
        everything,
        verify="introspection",
        client_id=CLIENT_ID,
        client_secret={"env": "KEYCLOAK_CLIENT_SECRET"},
    )
    session = McpSession(portcullis.url(), tokens_of_keycloak(realm, "openid mcp:access")["access_token"])
    assert session.ping() == 200
    realm.end_sessions("alice")
    wait_until("the token is refused", lambda: session.ping() == 401, 60)
