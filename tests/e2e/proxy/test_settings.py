"""The settings in `docs/behind-a-proxy.md`, each in its own proxy, with a sign-in through Keycloak."""

import json
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from harness.certificate import Certificate
from harness.mcp_wire import ACCEPT, McpSession, request
from harness.oauth import Client, http_client
from harness.portcullis import Portcullis, upstream_entry
from harness.proxies import NAMES, Proxy
from harness.realm import Realm
from harness.upstreams import Upstream
from harness.user_agent import UserAgent
from harness.waiting import free_port, wait_until

# the address of the client; that of the proxy is 127.0.0.1
CLIENT = "127.0.0.9"
CLAIMED = "6.6.6.6"
# a tool parameter as a header: nginx and newer versions of Caddy drop such names by default
PARAMETER = "mcp-param-user_id"
Json = dict[str, Any]


@dataclass
class Behind:
    """The gateway behind a proxy, and the session of a client that signed in through both."""

    proxy: str
    portcullis: Portcullis
    session: McpSession

    def stream(self, method: str, message: Json | None = None) -> Any:
        """A call whose response is read as it arrives."""
        headers = {"Accept": ACCEPT, "Authorization": f"Bearer {self.session.access_token}"}
        headers["Mcp-Session-Id"] = str(self.session.session_id)
        return self.session.http.stream(method, self.session.url, json=message, headers=headers)

    def access_lines(self, **wanted: str) -> list[Json]:
        """The lines of the access log with these values."""
        lines = [json.loads(line) for line in self.portcullis.child.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("target") == "access" and wanted.items() <= line.items()]


@pytest.fixture(params=NAMES)
def behind(
    request: pytest.FixtureRequest,
    new_realm: Callable[..., Realm],
    gateway: Callable[..., Portcullis],
    whoami: Upstream,
    certificate: Certificate,
    start_proxy: Callable[[str, int, int], Proxy],
) -> Behind:
    """Every proxy in the document that Debian packages."""
    port, trust = free_port(), certificate.trust()
    public_url = f"https://127.0.0.1:{port}"
    realm = new_realm(client={"redirectUris": [f"{public_url}/callback/keycloak"]})
    portcullis = gateway(
        realm,
        public_url=public_url,
        server={"trusted_proxies": ["127.0.0.1"]},
        upstream=[{**upstream_entry(whoami, "/mcp"), "keep_alive": "1s"}],
    ).start()
    start_proxy(request.param, port, portcullis.port)
    client = Client.register(portcullis.url(), http_client(trust=trust))
    token = client.sign_in(realm.person(agent=UserAgent(trust))).access_token
    return Behind(request.param, portcullis, McpSession(portcullis.url(), token, _client(trust)).open())


def _client(trust: ssl.SSLContext) -> httpx2.Client:
    """Calls from the client's address, with a spoofed X-Forwarded-For."""
    transport = httpx2.HTTPTransport(verify=trust, local_address=CLIENT)
    return httpx2.Client(transport=transport, timeout=30, headers={"X-Forwarded-For": CLAIMED, PARAMETER: "7"})


def _arrivals(lines: Iterator[str], beginning: str, count: int) -> list[float]:
    """The arrival times of the first lines with this prefix."""
    arrived: list[float] = []
    for line in lines:
        if line.startswith(beginning):
            arrived.append(time.monotonic())
        if len(arrived) == count:
            break
    return arrived


def _came_one_by_one(arrived: list[float]) -> bool:
    """Whether lines written a second apart also arrived apart."""
    return len(arrived) > 1 and all(later - earlier > 0.5 for earlier, later in pairwise(arrived))


def test_calls_streams_and_addresses_pass_through_the_documented_settings(behind: Behind) -> None:
    _addresses_are_the_clients_own(behind)
    _a_large_body_passes(behind)
    _events_arrive_as_they_are_written(behind)
    _a_silent_stream_is_kept_and_its_end_is_noticed(behind)


def _addresses_are_the_clients_own(behind: Behind) -> None:
    seen = json.loads(behind.session.call("headers"))
    assert seen["x-forwarded-for"] == CLIENT
    assert seen["x-forwarded-proto"] == "https"
    assert behind.proxy == "caddy" or seen[PARAMETER] == "7"
    (line,) = wait_until("the call is logged", lambda: behind.access_lines(tool="headers"), 5)
    assert line["address"] == CLIENT
    assert not behind.access_lines(address=CLAIMED)
    assert "hint:" not in behind.portcullis.child.log, "the documented settings cause no warnings"


def _a_large_body_passes(behind: Behind) -> None:
    """Larger than the default limit of nginx, and than what the gateway reads whole."""
    message = "x" * 2**21
    assert behind.session.call("echo", message=message) == f"Echo: {message}"


def _events_arrive_as_they_are_written(behind: Behind) -> None:
    call = request("tools/call", 7, name="count", arguments={}, _meta={"progressToken": 1})
    with behind.stream("POST", call) as answer:
        assert answer.status_code == 200
        assert _came_one_by_one(_arrivals(answer.iter_lines(), "data: {", 4))


def _a_silent_stream_is_kept_and_its_end_is_noticed(behind: Behind) -> None:
    with behind.stream("GET") as answer:
        assert answer.status_code == 200
        # keep a reference: dropping the iterator closes the stream
        lines = answer.iter_lines()
        assert _came_one_by_one(_arrivals(lines, ":", 3))
        assert not behind.access_lines(method="GET", path="/mcp")
    (line,) = wait_until("the gateway notices", lambda: behind.access_lines(method="GET", path="/mcp"), 10)
    assert line["incomplete"] == "the client went away"
