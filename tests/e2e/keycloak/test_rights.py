"""Claims to rights on a real Keycloak: roles by JSON pointer, roles taken away, users who are not admitted."""

from collections.abc import Callable
from typing import Any

import pytest

from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens, unverified_claims
from harness.person import StuckOnAPage
from harness.portcullis import Portcullis, upstream_entry
from harness.realm import CLIENT_ID, Realm
from harness.upstreams import Upstream
from harness.user_agent import page_of

Json = dict[str, Any]

ROLES = [
    {"claim": "groups"},
    {"claim": "/realm_access/roles", "prefix": "realm:"},
    {"claim": f"/resource_access/{CLIENT_ID}/roles", "prefix": "role:"},
]
ADMINS = {
    "scopes": ["mcp:access"],
    "optional_scopes": ["mcp:admin"],
    "scope": [{"value": "mcp:admin", "text": "do everything", "allow": [{"groups": ["role:admin"]}]}],
}


def put_roles_into_id_tokens(realm: Realm) -> None:
    """What `docs/rights.md` asks an administrator of Keycloak to set."""
    scopes = {scope["name"]: scope for scope in realm.admin("GET", "/client-scopes")}
    roles = scopes["roles"]
    for mapper in roles["protocolMappers"]:
        if mapper["protocolMapper"] in ("oidc-usermodel-realm-role-mapper", "oidc-usermodel-client-role-mapper"):
            mapper["config"]["id.token.claim"] = "true"
            realm.admin("PUT", f"/client-scopes/{roles['id']}/protocol-mappers/models/{mapper['id']}", mapper)


def client_role(realm: Realm, name: str) -> tuple[str, Json]:
    """Makes a role of our client; answers the path of alice's client roles, and the role."""
    client = realm.admin("GET", f"/clients?clientId={CLIENT_ID}")[0]["id"]
    realm.admin("POST", f"/clients/{client}/roles", {"name": name})
    role: Json = realm.admin("GET", f"/clients/{client}/roles/{name}")
    return f"/users/{realm.user_id('alice')}/role-mappings/clients/{client}", role


def test_a_scope_goes_with_the_role_at_the_next_refresh_and_comes_back_with_it(
    realm: Realm, gateway: Callable[..., Portcullis], whoami: Upstream
) -> None:
    put_roles_into_id_tokens(realm)
    mappings, role = client_role(realm, "admin")
    realm.admin("POST", mappings, [role])
    portcullis = gateway(
        realm, identity={"groups_from": ROLES}, upstream=[{**upstream_entry(whoami, "/mcp"), **ADMINS}]
    ).start()
    client = Client.register(portcullis.url())
    attempt = client.attempt(scope="mcp:access mcp:admin offline_access")
    first = Tokens.read(client.redeem(attempt, realm.person().authorize(attempt.url, client.redirect_uri)))
    assert unverified_claims(first.access_token)["scope"] == "mcp:access mcp:admin"

    realm.admin("DELETE", mappings, [role])
    second = Tokens.read(client.refresh(first.refresh_token))
    assert unverified_claims(second.access_token)["scope"] == "mcp:access"
    assert McpSession(portcullis.url(), second.access_token).ping() == 200

    realm.admin("POST", mappings, [role])
    third = Tokens.read(client.refresh(second.refresh_token))
    assert unverified_claims(third.access_token)["scope"] == "mcp:access mcp:admin"


def test_a_user_without_the_role_is_told_whom_to_ask_and_one_who_loses_it_is_out(
    realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    put_roles_into_id_tokens(realm)
    mappings, role = client_role(realm, "mcp-user")
    identity = {
        "groups_from": ROLES,
        "allow": [{"groups": ["role:mcp-user"]}],
        "ask": "the platform team, platform@example.com",
    }
    portcullis = gateway(realm, identity=identity).start()
    client = Client.register(portcullis.url())
    with pytest.raises(StuckOnAPage) as stuck:
        client.sign_in(realm.person())
    text = page_of(stuck.value.response).text
    assert "may not sign in here" in text
    assert "For access ask the platform team, platform@example.com." in text
    assert "error=access_denied" in stuck.value.response.text

    realm.admin("POST", mappings, [role])
    tokens = client.sign_in(realm.person())
    assert McpSession(portcullis.url(), tokens.access_token).ping() == 200
    realm.admin("DELETE", mappings, [role])
    refused = client.refresh(tokens.refresh_token)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert McpSession(portcullis.url(), tokens.access_token).ping() == 401
    assert "identity keycloak: allow" in portcullis.child.log
