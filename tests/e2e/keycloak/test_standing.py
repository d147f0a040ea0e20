"""`standing`: how long a grant outlives the user's session at Keycloak."""

import time
from collections.abc import Callable

from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens, unverified_claims
from harness.portcullis import Portcullis
from harness.realm import Realm


def test_a_user_without_the_offline_role_signs_in_by_a_silent_retry(
    realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    person = realm.person("carol")
    tokens = client.sign_in(person)
    assert McpSession(portcullis.url(), tokens.access_token).ping() == 200
    rounds = [url for url in person.visited if url.startswith(f"{realm.issuer}/protocol/openid-connect/auth?")]
    assert ["offline_access" in url for url in rounds] == [True, False]
    assert "offline_access" in portcullis.child.log, "the log names the setting"
    assert Tokens.read(client.refresh(tokens.refresh_token)).access_token


def test_refresh_works_after_keycloaks_session_has_idled_out(
    new_realm: Callable[..., Realm], gateway: Callable[..., Portcullis]
) -> None:
    realm = new_realm(ssoSessionIdleTimeout=2, accessTokenLifespan=1)
    offline = gateway(realm).start()
    session_bound = gateway(realm, identity={"standing": "session"}).start()
    stays, goes = (Client.register(portcullis.url()) for portcullis in (offline, session_bound))
    kept, bound = stays.sign_in(realm.person("alice")), goes.sign_in(realm.person("bob"))
    time.sleep(4)
    refused = goes.refresh(bound.refresh_token)
    assert refused.status_code == 400, "the session still exists: this test would prove nothing"
    assert refused.json()["error"] == "invalid_grant"
    renewed = Tokens.read(stays.refresh(kept.refresh_token))
    assert McpSession(offline.url(), renewed.access_token).ping() == 200


def test_session_standing_ends_tokens_with_keycloaks_session(
    new_realm: Callable[..., Realm], gateway: Callable[..., Portcullis]
) -> None:
    realm = new_realm(ssoSessionIdleTimeout=600, ssoSessionMaxLifespan=900)
    portcullis = gateway(realm, identity={"standing": "session"}).start()
    tokens = Client.register(portcullis.url()).sign_in(realm.person())
    claims = unverified_claims(tokens.access_token)
    assert tokens.expires_in <= 600
    assert claims["exp"] - claims["iat"] == tokens.expires_in
