"""The complete flow, in front of a third-party MCP server."""

import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens, unverified_claims
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.upstreams import Upstream


def test_an_unprotected_server_works_behind_the_gateway_after_a_sign_in(
    realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    portcullis = gateway(realm).start()
    tokens = Client.register(portcullis.url()).sign_in(realm.person())
    session = McpSession(portcullis.url(), tokens.access_token).open()
    assert session.call("echo", message="through the gate") == "Echo: through the gate"


def test_keycloak_works_as_a_generic_openid_connect_provider(
    realm: Realm, gateway: Callable[..., Portcullis], whoami: Upstream
) -> None:
    """Keycloak, configured as `kind = "oidc"`."""
    portcullis = gateway(realm, upstreams={"/mcp": whoami}, identity={"kind": "oidc"}).start()
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    tokens = Tokens.read(client.refresh(tokens.refresh_token))
    headers = json.loads(McpSession(portcullis.url(), tokens.access_token).open().call("headers"))
    assert headers["x-forwarded-user"] == f"keycloak|{realm.user_id('alice')}"
    assert headers["x-forwarded-groups"] == "/engineering/platform"


def test_the_access_token_has_one_audience_and_no_personal_data(
    realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    claims = unverified_claims(tokens.access_token)
    assert set(claims) == {"iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "sid"}
    assert claims["iss"] == portcullis.public_url
    assert claims["aud"] == portcullis.url()
    assert claims["sub"] == f"keycloak|{realm.user_id('alice')}"
    assert claims["client_id"] == client.client_id
    assert claims["scope"] == "mcp:access"
    assert tokens.scope == "mcp:access offline_access", "the response names offline_access, the access token does not"


def test_the_upstream_gets_identity_headers_and_never_the_token(
    realm: Realm, gateway: Callable[..., Portcullis], whoami: Upstream
) -> None:
    portcullis = gateway(realm, upstreams={"/mcp": whoami}).start()
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    headers = json.loads(McpSession(portcullis.url(), tokens.access_token).open().call("headers"))
    assert "authorization" not in headers
    assert headers["x-forwarded-user"] == f"keycloak|{realm.user_id('alice')}"
    assert headers["x-forwarded-email"] == "alice@example.com"
    assert headers["x-forwarded-preferred-username"] == "alice"
    assert headers["x-forwarded-groups"] == "/engineering/platform"
    assert headers["x-portcullis-identity"] == "keycloak"
    assert headers["x-portcullis-client"] == client.client_id
    assert headers["x-portcullis-scopes"] == "mcp:access"


def test_keycloak_never_sees_the_parameters_of_the_client(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    attempt = client.attempt(scope="mcp:access", prompt="login")
    person = realm.person()
    Tokens.read(client.redeem(attempt, person.authorize(attempt.url, client.redirect_uri)))
    to_keycloak = next(url for url in person.visited if url.startswith(f"{realm.issuer}/protocol/openid-connect/auth?"))
    asked, sent = parse_qs(urlsplit(attempt.url).query), parse_qs(urlsplit(to_keycloak).query)
    assert "resource" not in sent
    assert "prompt" not in sent
    assert sent["redirect_uri"] == [f"{portcullis.public_url}/callback/keycloak"]
    for name in ("state", "code_challenge", "client_id"):
        assert sent[name] != asked[name]
    assert "mcp:access" not in sent["scope"][0]
    assert sent["code_challenge_method"] == ["S256"]


def test_consent_is_required_again_although_keycloak_has_a_session(
    realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    # Keycloak keeps no browser session after a sign-in that requested an offline token.
    portcullis = gateway(realm, identity={"standing": "session"}).start()
    client = Client.register(portcullis.url())
    person = realm.person()
    first = client.sign_in(person)
    person.password = "not asked for again"
    attempt = client.attempt()
    page = person.open(attempt.url)
    assert page.status_code == 200
    assert "/consent" in page.text
    second = Tokens.read(client.redeem(attempt, person.carry_on(page, client.redirect_uri)))
    both = {McpSession(portcullis.url(), tokens.access_token).ping() for tokens in (first, second)}
    assert both == {200}, "a new grant does not end an older one"
