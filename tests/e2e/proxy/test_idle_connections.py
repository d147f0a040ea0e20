"""A reverse proxy that keeps idle connections longer than we keep those of untrusted peers, behind some latency."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.cable import Cable
from harness.certificate import Certificate
from harness.dev import Dev
from harness.mcp_wire import ACCEPT, INITIALIZE
from harness.oauth import Client, http_client
from harness.proxies import Proxy
from harness.waiting import free_port

CALLS = 50
# the idle time-out of connections from untrusted peers, in seconds
IDLE = 75


@pytest.fixture
def behind_apache(dev: Dev, start_proxy: Callable[[str, int, int], Proxy]) -> Iterator[str]:
    """The URL of Apache, which keeps idle connections indefinitely, with 20 ms of latency to the gateway."""
    cable, port = Cable(dev.port, delay=0.02), free_port()
    start_proxy("apache", port, cable.port)
    yield f"https://127.0.0.1:{port}/mcp"
    cable.close()


def test_no_call_fails_on_an_idle_connection_of_a_proxy(dev: Dev, behind_apache: str, certificate: Certificate) -> None:
    """Every call is sent at about the time at which an idle connection would be closed."""
    token = Client.register(dev.url()).sign_in(dev.person()).access_token
    headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}", "Host": f"127.0.0.1:{dev.port}"}
    trust = certificate.trust()

    def call_twice(number: int) -> tuple[int, int]:
        with http_client(30, trust) as http:
            first = http.post(behind_apache, json=INITIALIZE, headers=headers).status_code
            time.sleep(IDLE - 0.1 + 0.2 * number / CALLS)
            return first, http.post(behind_apache, json=INITIALIZE, headers=headers).status_code

    with ThreadPoolExecutor(CALLS) as callers:
        statuses = list(callers.map(call_twice, range(CALLS)))
    assert statuses == [(200, 200)] * CALLS
