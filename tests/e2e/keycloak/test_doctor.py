"""`portcullis doctor` on a real Keycloak: each wrong setting is found by its id, and a healthy realm has no faults."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.keycloak import Keycloak
from harness.mcp_wire import McpSession
from harness.oauth import Client
from harness.portcullis import Portcullis
from harness.realm import CLIENT_ID, Realm
from harness.upstreams import Upstream

Json = dict[str, Any]

S256 = {"pkce.code.challenge.method": "S256"}
LOOPBACK_REFUSED = {"allow-ipv4-loopback-address": "false", "allow-ipv6-loopback-address": "false"}
# what is changed of our client in the realm, the fault, and a part of the setting's name in the console
CLIENT_FAULTS: dict[str, tuple[Json, str, str]] = {
    "another redirect URI": (
        {"redirectUris": ["https://other.example/callback/keycloak"]},
        "provider.redirect_uri",
        "Valid redirect URIs",
    ),
    "another client": ({"clientId": "somebody-else"}, "provider.client_unknown", "Client ID"),
    "disabled": ({"enabled": False}, "provider.client_disabled", "Enabled"),
    "no standard flow": ({"standardFlowEnabled": False}, "provider.standard_flow", "Standard flow"),
    "bearer only": ({"bearerOnly": True}, "provider.standard_flow", "Standard flow"),
    "PKCE plain": ({"attributes": {"pkce.code.challenge.method": "plain"}}, "provider.pkce", "PKCE Method"),
    "no offline scope": (
        {"defaultClientScopes": ["basic", "profile", "email"], "optionalClientScopes": []},
        "provider.offline_access",
        "Client scopes",
    ),
    "public": ({"publicClient": True}, "provider.any_secret", "Client authentication"),
    "signed JWT": ({"clientAuthenticatorType": "client-jwt"}, "provider.client_authentication", "Client Authenticator"),
    "X.509": ({"clientAuthenticatorType": "client-x509"}, "provider.client_authentication", "Client Authenticator"),
    "post only": (
        {"attributes": {**S256, "client.secret.authentication.allowed.method": "client_secret_post"}},
        "provider.client_authentication",
        "Client Authenticator",
    ),
    "PAR": (
        {"attributes": {**S256, "require.pushed.authorization.requests": "true"}},
        "provider.pushed_requests",
        "Pushed authorization request required",
    ),
    "DPoP": (
        {"attributes": {**S256, "dpop.bound.access.tokens": "true"}},
        "provider.dpop",
        "Require DPoP bound tokens",
    ),
    "request object": (
        {"attributes": {**S256, "request.object.required": "request or request_uri"}},
        "provider.authorization_refused",
        "Client policies",
    ),
}
# an executor of a client policy for every client, with its configuration, and the fault
POLICY_FAULTS: dict[str, tuple[Json, str]] = {
    "secure-redirect-uris-enforcer": (LOOPBACK_REFUSED, "provider.redirect_uri_policy"),
    "secure-client-uris": ({}, "provider.redirect_uri_policy"),
    "secure-par-content": ({}, "provider.pushed_requests"),
    "secure-request-object": ({}, "provider.request_object"),
    "secure-client-authenticator": (
        {"allowed-client-authenticators": ["client-jwt"], "default-client-authenticator": "client-jwt"},
        "provider.client_authentication",
    ),
}


def _found(portcullis: Portcullis) -> Json:
    """The one fault, before the gateway runs."""
    status, document = portcullis.doctor("--without-public-url")
    assert status == 1
    assert document["well"] is False
    (finding,) = document["findings"]
    assert finding["severity"] == "error"
    assert finding["line"] > 0, "each fault names a line of the file"
    assert finding["mend"]
    return dict(finding)


def test_a_healthy_realm_and_a_running_gateway_have_no_faults(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    portcullis = gateway(realm).start()
    status, document = portcullis.doctor()
    assert document["findings"] == []
    assert (status, document["well"]) == (0, True)
    assert [asked["about"] for asked in document["asked"]] == [
        "database",
        "identity keycloak",
        "upstream mcp",
        "public_url",
    ]


@pytest.mark.parametrize("standing", ["session", "none"])
def test_other_standings_have_no_faults_either(realm: Realm, gateway: Callable[..., Portcullis], standing: str) -> None:
    status, document = gateway(realm, identity={"standing": standing}).doctor("--without-public-url")
    assert (status, document["findings"]) == (0, [])


@pytest.mark.parametrize("fault", CLIENT_FAULTS)
def test_each_wrong_setting_of_the_client_is_found(
    new_realm: Callable[..., Realm], gateway: Callable[..., Portcullis], fault: str
) -> None:
    change, name, console = CLIENT_FAULTS[fault]
    finding = _found(gateway(new_realm(client=change)))
    assert finding["id"] == name
    assert console in finding["elsewhere"]


@pytest.mark.parametrize("executor", POLICY_FAULTS)
def test_each_client_policy_that_refuses_us_is_found(
    realm: Realm, gateway: Callable[..., Portcullis], executor: str
) -> None:
    configuration, name = POLICY_FAULTS[executor]
    profile = {"name": "strict", "executors": [{"executor": executor, "configuration": configuration}]}
    everyone = {"condition": "any-client", "configuration": {}}
    policy = {"name": "all", "enabled": True, "conditions": [everyone], "profiles": ["strict"]}
    realm.admin("PUT", "/client-policies/profiles", {"profiles": [profile]})
    realm.admin("PUT", "/client-policies/policies", {"policies": [policy]})
    assert _found(gateway(realm))["id"] == name


@pytest.mark.parametrize(
    ("settings", "name", "console"),
    [
        ({"enabled": False}, "provider.realm_disabled", "Realm settings"),
        ({"sslRequired": "all"}, "provider.https_required", "Require SSL"),
        ({"attributes": {"frontendUrl": "https://sso.example.com"}}, "provider.issuer", "Frontend URL"),
    ],
)
def test_each_wrong_setting_of_the_realm_is_found(
    new_realm: Callable[..., Realm],
    gateway: Callable[..., Portcullis],
    settings: Json,
    name: str,
    console: str,
) -> None:
    finding = _found(gateway(new_realm(**settings)))
    assert finding["id"] == name
    assert console in finding["elsewhere"]


def test_each_wrong_setting_of_the_file_is_found(
    realm: Realm, keycloak: Keycloak, gateway: Callable[..., Portcullis]
) -> None:
    elsewhere = f"{keycloak.url}/realms/no-such-realm"
    for settings, name, key in [
        ({"issuer": elsewhere}, "provider.discovery", "issuer"),
        ({"issuer": f"{realm.issuer}/"}, "provider.issuer", "issuer"),
        ({"issuer": "http://localhost:1/realms/mcp"}, "provider.unreachable", "issuer"),
        ({"discovery": f"{keycloak.url}/admin"}, "provider.discovery_redirects", "discovery"),
        ({"discovery": f"{keycloak.url}/realms/{realm.name}"}, "provider.endpoints", "discovery"),
        ({"client_id": "nobody"}, "provider.client_unknown", "client_id"),
        ({"scopes": ["profile", "nope"]}, "provider.scope", "scopes"),
    ]:
        status, document = gateway(realm, identity=settings).doctor("--without-public-url")
        faults = [finding for finding in document["findings"] if finding["severity"] == "error"]
        assert [(fault["id"], fault["key"]) for fault in faults] == [(name, key)], settings
        assert status == 1


def test_a_rotated_secret_is_found_and_not_printed(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    portcullis = gateway(realm)
    realm.set_client_secret("another-secret-than-ours")
    finding = _found(portcullis)
    assert (finding["id"], finding["key"]) == ("provider.client_secret", "client_secret")
    assert "Credentials > Client Secret" in finding["elsewhere"]


def test_the_doctor_leaves_nothing_at_the_provider(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    """No session begins, no client is registered, no user changes."""
    before = realm.admin("GET", "/clients"), realm.admin("GET", "/client-session-stats")
    gateway(realm).doctor("--without-public-url")
    assert (realm.admin("GET", "/clients"), realm.admin("GET", "/client-session-stats")) == before


def test_the_documented_steps_make_a_client_that_works(
    realm: Realm, gateway: Callable[..., Portcullis], whoami: Upstream
) -> None:
    """`docs/identity-providers/keycloak.md`, by the fields that the console fills in."""
    (old,) = realm.admin("GET", f"/clients?clientId={CLIENT_ID}")
    realm.admin("DELETE", f"/clients/{old['id']}")
    mapper = {
        "name": "groups",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-group-membership-mapper",
        "config": {"claim.name": "groups", "full.path": "true", "id.token.claim": "true"},
    }
    portcullis = gateway(realm, upstreams={"/mcp": whoami})
    client = {
        "clientId": CLIENT_ID,
        "protocol": "openid-connect",
        "publicClient": False,
        "standardFlowEnabled": True,
        "directAccessGrantsEnabled": False,
        "redirectUris": [f"{portcullis.public_url}/callback/keycloak"],
        "attributes": S256,
        "secret": realm.client_secret,
        "protocolMappers": [mapper],
    }
    realm.admin("POST", "/clients", client)
    assert portcullis.start().doctor()[1]["findings"] == []
    token = Client.register(portcullis.url()).sign_in(realm.person()).access_token
    headers = json.loads(McpSession(portcullis.url(), token).open().call("headers"))
    assert headers["x-forwarded-groups"] == "/engineering/platform"
    assert headers["x-forwarded-email"] == "alice@example.com"
