"""The official TypeScript client, through consent and Keycloak's login form."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness.oauth import REDIRECT_URI
from harness.places import TYPESCRIPT
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.script import script
from harness.secrets_seen import remember
from harness.upstreams import Upstream, node


def command(server_url: str, *options: object) -> list[object]:
    """The command line of the client. `options`: the URL of its metadata document, and the file with its key."""
    arguments = [server_url, REDIRECT_URI, "echo", json.dumps({"message": "hello"}), *options]
    return [node(), TYPESCRIPT / "client.mjs", *arguments]


@pytest.mark.parametrize("server", ["everything", "whoami"])
def test_the_typescript_client_registers_calls_a_tool_and_refreshes(
    server: str, request: pytest.FixtureRequest, realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    upstream: Upstream = request.getfixturevalue(server)
    portcullis = gateway(realm, upstreams={"/mcp": upstream}, lifetimes={"access_token": "2s"}).start()
    with script(command(portcullis.url())) as client:
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


def _require_keys(document: dict[str, Any]) -> None:
    document["upstream"][0]["dpop"] = "required"


def test_the_typescript_client_calls_and_refreshes_with_tokens_that_are_bound_to_its_key(
    realm: Realm, gateway: Callable[..., Portcullis], whoami: Upstream
) -> None:
    portcullis = gateway(realm, upstreams={"/mcp": whoami}, lifetimes={"access_token": "2s"}).start()
    portcullis.restart_with(_require_keys)
    with script([*command(portcullis.url()), "--dpop"]) as client:
        answer = realm.person().authorize(client.hear("authorize")["url"], REDIRECT_URI)
        client.say({"callback": answer.url})
        assert client.hear("called")["text"] == "Echo: hello"
        time.sleep(3)
        client.say({"call": True})
        assert client.hear("called")["text"] == "Echo: hello"
        client.say({"end": True})
        end = client.hear("end")
    remember(end["tokens"]["access_token"], end["tokens"]["refresh_token"])
    assert end["tokens"]["token_type"] == "DPoP"
    grants = [(each["grantType"], each["proof"]) for each in end["requests"] if each["path"] == "/token"]
    assert ("refresh_token", True) in grants
    assert all(proof for _, proof in grants)
    calls = [each for each in end["requests"] if each["path"] == "/mcp" and each["status"] == 200]
    assert calls
    assert all((each["scheme"], each["proof"]) == ("DPoP", True) for each in calls)
