"""Refreshes that Keycloak refuses or must see only once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2

from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens, http_client
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.waiting import wait_until


def test_a_disabled_user_loses_refresh_and_access(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    session = McpSession(portcullis.url(), tokens.access_token)
    assert session.ping() == 200
    realm.set_enabled("alice", False)
    refused = client.refresh(tokens.refresh_token)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    wait_until("the access token is refused", lambda: session.ping() == 401, 3)
    realm.set_enabled("alice", True)
    assert client.refresh(tokens.refresh_token).status_code == 400, "an ended grant stays ended"


def test_parallel_refreshes_ask_keycloak_once(
    new_realm: Callable[..., Realm], gateway: Callable[..., Portcullis]
) -> None:
    """The realm revokes used refresh tokens: Keycloak would end them all if one is used twice."""
    realm = new_realm(revokeRefreshToken=True, refreshTokenMaxReuse=0)
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(_refresh_alone, [client] * 2, [tokens.refresh_token] * 2))
        first, second = (Tokens.read(answer) for answer in answers)
        assert first == second
        tokens = first
    assert McpSession(portcullis.url(), tokens.access_token).ping() == 200


def test_a_rotated_client_secret_is_503_and_loses_nothing(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    realm.set_client_secret("another-secret-than-ours")
    refused = client.refresh(tokens.refresh_token)
    assert refused.status_code == 503
    assert refused.json()["error"] == "temporarily_unavailable"
    assert int(refused.headers["retry-after"]) > 0
    assert "client_secret" in portcullis.child.log, "the log names the setting"
    assert McpSession(portcullis.url(), tokens.access_token).ping() == 200
    realm.set_client_secret(realm.client_secret)
    assert Tokens.read(client.refresh(tokens.refresh_token)).access_token


def _refresh_alone(client: Client, refresh_token: str | None) -> httpx2.Response:
    """Refreshes over a separate connection."""
    with http_client() as http:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client.client_id}
        return http.post(client.metadata["token_endpoint"], data=form)
