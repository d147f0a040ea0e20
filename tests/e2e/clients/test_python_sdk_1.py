"""The official Python client 1.x, which refuses a token response with more scope than it requested."""

import time
from collections.abc import Callable

import pytest

from harness.oauth import REDIRECT_URI
from harness.places import PYTHON_1, PYTHON_1_INTERPRETER
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.script import script
from harness.secrets_seen import remember
from harness.upstreams import Upstream


@pytest.mark.parametrize("scope", ["", "mcp:access", "mcp:access offline_access"])
def test_the_python_client_1_20_connects_and_refreshes_with_any_requested_scope(
    scope: str, realm: Realm, gateway: Callable[..., Portcullis], everything: Upstream
) -> None:
    portcullis = gateway(realm, upstreams={"/mcp": everything}, lifetimes={"access_token": "2s"}).start()
    with script([PYTHON_1_INTERPRETER, PYTHON_1, portcullis.url(), REDIRECT_URI, scope]) as client:
        answer = realm.person().authorize(client.hear("authorize")["url"], REDIRECT_URI)
        client.say({"callback": answer.url})
        assert client.hear("called")["text"] == "Echo: hello"
        time.sleep(3)
        client.say({"call": True})
        assert client.hear("called")["text"] == "Echo: hello"
        client.say({"end": True})
        tokens = client.hear("end")["tokens"]
    for each in tokens:
        remember(each["access_token"], each["refresh_token"])
    assert len(tokens) >= 2
    assert all(each["refresh_token"] for each in tokens)
