"""SIGKILL against `dev`: no other system is involved, so only our database can lose state."""

import threading
import time

import httpx2
import pytest

from harness.dev import Dev
from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens
from harness.waiting import wait_until


@pytest.mark.parametrize("moment", [0.0, 0.002, 0.005, 0.01, 0.02, 0.05])
def test_codes_redeemed_during_a_crash_give_tokens_at_most_once(moment: float, dev: Dev) -> None:
    client = Client.register(dev.url())
    attempts = [client.attempt() for _ in range(4)]
    person = dev.person()
    codes = [(attempt, person.authorize(attempt.url, client.redirect_uri)) for attempt in attempts]
    during: dict[int, httpx2.Response] = {}

    def redeem(number: int) -> None:
        try:
            during[number] = client.redeem(*codes[number])
        except httpx2.TransportError:
            return

    threads = [threading.Thread(target=redeem, args=(number,)) for number in range(len(codes))]
    for thread in threads:
        thread.start()
    time.sleep(moment)
    dev.kill()
    for thread in threads:
        thread.join(30)
    dev.start()
    for number, (attempt, answer) in enumerate(codes):
        after = [client.redeem(attempt, answer) for _ in range(2)]
        all_answers = [*([during[number]] if number in during else []), *after]
        good = [response for response in all_answers if response.status_code == 200]
        assert len(good) <= 1
        for response in good:
            assert McpSession(dev.url(), Tokens.read(response).access_token).ping() == 200


def test_a_registered_client_survives_a_crash_right_after_its_registration(dev: Dev) -> None:
    client = Client.register(dev.url())
    dev.kill()
    dev.start()
    assert client.sign_in(dev.person()).access_token


def test_a_grant_survives_a_crash_right_after_its_refresh(dev: Dev) -> None:
    client = Client.register(dev.url())
    tokens = client.sign_in(dev.person())
    for _ in range(3):
        tokens = Tokens.read(client.refresh(tokens.refresh_token))
        dev.kill()
        dev.start()
        assert McpSession(dev.url(), tokens.access_token).ping() == 200


def test_a_replayed_refresh_token_ends_the_access_token_on_the_same_connection(dev: Dev) -> None:
    client = Client.register(dev.url())
    first = client.sign_in(dev.person())
    second = Tokens.read(client.refresh(first.refresh_token))
    third = Tokens.read(client.refresh(second.refresh_token))
    session = McpSession(dev.url(), third.access_token)
    assert session.ping() == 200
    assert client.refresh(first.refresh_token).json()["error"] == "invalid_grant"
    wait_until("the access token is refused", lambda: session.ping() == 401, 2)
    assert client.refresh(third.refresh_token).json()["error"] == "invalid_grant"
