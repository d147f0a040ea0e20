"""The official TypeScript client, through consent and Keycloak's login form."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness.oauth import REDIRECT_URI
from harness.places import TYPESCRIPT
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.secrets_seen import remember
from harness.upstreams import Upstream, node


class Script:
    """`client.mjs`, one JSON line at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def say(self, message: dict[str, Any]) -> None:
        """Sends a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def hear(self, event: str) -> dict[str, Any]:
        """Waits for a line, which must be that event."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the client ended instead of {event!r}: {self._process.stderr and self._process.stderr.read()}"
        message: dict[str, Any] = json.loads(line)
        assert message["event"] == event
        return message


@contextmanager
def script(server_url: str) -> Iterator[Script]:
    """Runs the client; it ends with the block."""
    arguments = [server_url, REDIRECT_URI, "echo", json.dumps({"message": "hello"})]
    with subprocess.Popen(
        [str(node()), str(TYPESCRIPT / "client.mjs"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            yield Script(process)
        finally:
            process.kill()


@pytest.mark.parametrize("server", ["everything", "whoami"])
def test_the_typescript_client_registers_calls_a_tool_and_refreshes(
    server: str, request: pytest.FixtureRequest, realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    upstream: Upstream = request.getfixturevalue(server)
    portcullis = gateway(realm, upstreams={"/mcp": upstream}, lifetimes={"access_token": "2s"}).start()
    with script(portcullis.url()) as client:
        answer = realm.person().authorize(client.hear("authorize")["url"], REDIRECT_URI)
        client.say({"callback": answer.url})
        assert client.hear("called")["text"] == "Echo: hello"
        time.sleep(3)
        client.say({"call": True})
        assert client.hear("called")["text"] == "Echo: hello"
        client.say({"end": True})
        end = client.hear("end")
    remember(end["tokens"]["access_token"], end["tokens"]["refresh_token"])
    grants = [(each["grantType"], each["status"]) for each in end["requests"] if each["path"] == "/token"]
    assert grants[0] == ("authorization_code", 200)
    assert ("refresh_token", 200) in grants[1:]
    assert all(status == 200 for _, status in grants)
    assert [each["status"] for each in end["requests"] if each["path"] == "/register"] == [201]
