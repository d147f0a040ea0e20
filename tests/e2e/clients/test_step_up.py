"""The official clients with a token that allows too little: an upgrade that is granted, and one that is denied."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from clients.test_python_sdk import MemoryStorage, SignIn, connected, echo
from clients.test_typescript_sdk import command
from harness.oauth import REDIRECT_URI
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.script import script
from harness.secrets_seen import remember
from harness.upstreams import Upstream


def _require_more(document: dict[str, Any]) -> None:
    document["upstream"][0]["scopes"] = ["mcp:access", "mcp:audit"]


def _asked(url: str) -> set[str]:
    return set(parse_qs(urlsplit(url).query)["scope"][0].split())


def test_the_typescript_client_ends_a_denied_upgrade_and_uses_a_granted_one(
    realm: Realm, gateway: Callable[..., Portcullis], whoami: Upstream
) -> None:
    # a server without a listening stream: the client would open it again by itself, with an upgrade beside the call's
    portcullis = gateway(realm, upstreams={"/mcp": whoami}).start()
    with script(command(portcullis.url())) as client:
        answer = realm.person().authorize(client.hear("authorize")["url"], REDIRECT_URI)
        client.say({"callback": answer.url})
        assert client.hear("called")["text"] == "Echo: hello"
        portcullis.restart_with(_require_more)
        client.say({"call": True})
        url = client.hear("authorize")["url"]
        assert {"mcp:access", "mcp:audit"} <= _asked(url)
        denied = realm.person(approves=False).authorize(url, REDIRECT_URI)
        assert denied.parameters["error"] == "access_denied"
        client.say({"callback": denied.url})
        assert client.hear("refused")["message"] == "OAuthError: the user denied access"
        client.say({"call": True})
        answer = realm.person().authorize(client.hear("authorize")["url"], REDIRECT_URI)
        client.say({"callback": answer.url})
        assert client.hear("called")["text"] == "Echo: hello"
        client.say({"call": True})
        assert client.hear("called")["text"] == "Echo: hello"
        client.say({"end": True})
        end = client.hear("end")
    remember(end["tokens"]["access_token"], end["tokens"]["refresh_token"])
    refused = [each for each in end["requests"] if each["path"] == "/mcp" and each["status"] == 403]
    assert len(refused) == 2, "one refusal for each call before the upgrade, and no call in a loop"
    grants = [each["grantType"] for each in end["requests"] if each["path"] == "/token"]
    assert grants == ["authorization_code", "authorization_code"], "an upgrade is no refresh"


@pytest.mark.parametrize("approves", [True, False])
def test_the_python_client_asks_once_for_an_upgrade(
    approves: bool, realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    portcullis = gateway(realm).start()
    storage, sign_in = MemoryStorage(), SignIn(realm.person())

    async def run() -> str:
        async with connected(portcullis.url(), storage, sign_in) as client:
            assert await echo(client, "first") == "Echo: first"
            await anyio.to_thread.run_sync(portcullis.restart_with, _require_more)
            sign_in.person = realm.person(approves=approves)
            return await echo(client, "more")

    if approves:
        assert anyio.run(run) == "Echo: more"
        assert set((storage.tokens[-1].scope or "").split()) >= {"mcp:access", "mcp:audit"}
    else:
        with pytest.raises(ExceptionGroup) as ended:
            anyio.run(run)
        assert ended.value.subgroup(AssertionError) is not None, "the client is told of the error and gives up"
    assert sign_in.times == 2
    assert {"mcp:access", "mcp:audit"} <= _asked(sign_in.url)
