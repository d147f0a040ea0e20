"""A reverse proxy that keeps its connections longer than we keep those of strangers, some milliseconds away."""

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
# after so many seconds without a request the connection of a stranger is closed
IDLE = 75


@pytest.fixture
def behind_apache(dev: Dev, start_proxy: Callable[[str, int, int], Proxy]) -> Iterator[str]:
    """Where Apache answers, which keeps idle connections without limit; 20 ms lie between it and the gateway."""
    cable, port = Cable(dev.port, delay=0.02), free_port()
    start_proxy("apache", port, cable.port)
    yield f"https://127.0.0.1:{port}/mcp"
    cable.close()


def test_no_call_is_lost_on_a_connection_that_a_proxy_kept(
    dev: Dev, behind_apache: str, certificate: Certificate
) -> None:
    """Every call goes out at about the moment at which an idle connection would be closed."""
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
