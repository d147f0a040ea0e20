"""SIGKILL at any moment loses no client and no grant, and lets no code be used twice."""

import threading
import time
from collections.abc import Callable

import httpx2
import pytest

from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.waiting import wait_until

MOMENTS = [0.0, 0.005, 0.02, 0.05, 0.1]


def test_client_and_grant_survive_a_crash(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    portcullis.kill()
    portcullis.start()
    tokens = client.sign_in(realm.person())
    portcullis.kill()
    portcullis.start()
    assert McpSession(portcullis.url(), tokens.access_token).ping() == 200
    assert Tokens.read(client.refresh(tokens.refresh_token)).access_token


def test_a_code_redeemed_before_a_crash_is_spent_after_it(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    attempt = client.attempt()
    answer = realm.person().authorize(attempt.url, client.redirect_uri)
    tokens = Tokens.read(client.redeem(attempt, answer))
    portcullis.kill()
    portcullis.start()
    again = client.redeem(attempt, answer)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert McpSession(portcullis.url(), tokens.access_token).ping() == 200


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_crash_while_a_code_is_redeemed_gives_tokens_at_most_once(
    moment: float, realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    attempt = client.attempt()
    answer = realm.person().authorize(attempt.url, client.redirect_uri)
    during = _crash_during(portcullis, moment, lambda: client.redeem(attempt, answer))
    portcullis.start()
    after = [client.redeem(attempt, answer) for _ in range(2)]
    good = [response for response in (during, *after) if response is not None and response.status_code == 200]
    assert len(good) <= 1
    for response in good:
        assert McpSession(portcullis.url(), Tokens.read(response).access_token).ping() == 200
    assert all(response.json()["error"] == "invalid_grant" for response in after if response not in good)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_crash_while_refreshing_loses_no_grant(
    moment: float, realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    during = _crash_during(portcullis, moment, lambda: client.refresh(tokens.refresh_token))
    portcullis.start()
    held = Tokens.read(during) if during is not None and during.status_code == 200 else tokens

    def renewed() -> Tokens | None:
        """The killed process may hold the refresh lease, which expires within 30 s; until then the status is 503."""
        response = client.refresh(held.refresh_token)
        assert response.status_code in (200, 503), response.text
        return Tokens.read(response) if response.status_code == 200 else None

    fresh = wait_until("the grant can be refreshed", renewed, 45, 0.5)
    assert fresh is not None
    assert McpSession(portcullis.url(), fresh.access_token).ping() == 200


def _crash_during(portcullis: Portcullis, moment: float, work: Callable[[], httpx2.Response]) -> httpx2.Response | None:
    """Kills the process `moment` seconds into a request; returns the response, if there was one."""
    got: list[httpx2.Response] = []

    def request() -> None:
        try:
            got.append(work())
        except httpx2.TransportError:
            return

    thread = threading.Thread(target=request)
    thread.start()
    time.sleep(moment)
    portcullis.kill()
    thread.join(30)
    return got[0] if got else None
