"""Valid tokens for another audience or from another issuer."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from harness.mcp_wire import McpSession
from harness.oauth import Client, challenge_parameters, pkce_pair
from harness.portcullis import Portcullis
from harness.realm import CLIENT_ID, Realm
from harness.secrets_seen import remember
from harness.upstreams import Upstream


def test_a_token_for_another_upstream_is_refused(
    realm: Realm, gateway: Callable[..., Portcullis], everything: Upstream, whoami: Upstream
) -> None:
    portcullis = gateway(realm, upstreams={"/one": everything, "/two": whoami}).start()
    person = realm.person()
    one = Client.register(portcullis.url("/one")).sign_in(person)
    two = Client.register(portcullis.url("/two")).sign_in(person)
    for path, tokens, status in (("/one", one, 200), ("/two", two, 200), ("/two", one, 401), ("/one", two, 401)):
        assert McpSession(portcullis.url(path), tokens.access_token).ping() == status


@pytest.mark.parametrize("kind", ["access_token", "id_token", "refresh_token"])
def test_keycloaks_own_tokens_are_refused(kind: str, realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    portcullis = gateway(realm).start()
    bearer = _tokens_of_keycloak(realm)[kind]
    refusal = McpSession(portcullis.url(), bearer).post({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert refusal.status_code == 401
    assert challenge_parameters(refusal)["error"] == "invalid_token"


def _tokens_of_keycloak(realm: Realm) -> dict[str, Any]:
    """Signs alice in at Keycloak directly."""
    (verifier, challenge), redirect_uri = pkce_pair(), "http://127.0.0.1:43211/callback/keycloak"
    query = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": redirect_uri,
        "scope": "openid offline_access",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    endpoint = f"{realm.issuer}/protocol/openid-connect"
    answer = realm.person().authorize(f"{endpoint}/auth?{urlencode(query)}", redirect_uri)
    form = {
        "grant_type": "authorization_code",
        "code": answer.code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
        "client_id": CLIENT_ID,
        "client_secret": realm.client_secret,
    }
    tokens: dict[str, Any] = realm.http.post(f"{endpoint}/token", data=form).raise_for_status().json()
    remember(*(tokens[kind] for kind in ("access_token", "id_token", "refresh_token")))
    return tokens
