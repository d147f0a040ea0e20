"""A reverse proxy that keeps its connections longer than we keep those of strangers, some milliseconds away."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.apache import Apache
from harness.cable import Cable
from harness.dev import Dev
from harness.mcp_wire import ACCEPT, INITIALIZE
from harness.oauth import Client, http_client

CALLS = 50
# after so many seconds without a request the connection of a stranger is closed
IDLE = 75


@pytest.fixture
def behind_apache(dev: Dev, tmp_path: Path) -> Iterator[str]:
    """Where Apache answers; 20 ms lie between it and the gateway."""
    cable = Cable(dev.port, delay=0.02)
    apache = Apache(tmp_path, cable.port)
    yield f"http://127.0.0.1:{apache.port}/mcp"
    apache.close()
    cable.close()


def test_no_call_is_lost_on_a_connection_that_a_proxy_kept(dev: Dev, behind_apache: str) -> None:
    """Every call goes out at about the moment at which an idle connection would be closed."""
    token = Client.register(dev.url()).sign_in(dev.person()).access_token
    headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}", "Host": f"127.0.0.1:{dev.port}"}

    def call_twice(number: int) -> tuple[int, int]:
        with http_client(30) as http:
            first = http.post(behind_apache, json=INITIALIZE, headers=headers).status_code
            time.sleep(IDLE - 0.1 + 0.2 * number / CALLS)
            return first, http.post(behind_apache, json=INITIALIZE, headers=headers).status_code

    with ThreadPoolExecutor(CALLS) as callers:
        statuses = list(callers.map(call_twice, range(CALLS)))
    assert statuses == [(200, 200)] * CALLS
