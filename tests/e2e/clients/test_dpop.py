"""A published client with DPoP (oauth4webapi), and a thief of its tokens."""

from collections.abc import Callable
from typing import Any

import pytest

from harness.oauth import REDIRECT_URI
from harness.places import DPOP
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.script import script
from harness.secrets_seen import remember
from harness.upstreams import Upstream, node


def _require_keys(document: dict[str, Any]) -> None:
    document["upstream"][0]["dpop"] = "required"


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "PS256"])
def test_a_client_with_a_key_calls_and_refreshes_and_a_thief_gets_nothing(
    algorithm: str, realm: Realm, gateway: Callable[..., Portcullis], whoami: Upstream
) -> None:
    portcullis = gateway(realm, upstreams={"/mcp": whoami}).start().restart_with(_require_keys)
    with script([node(), DPOP / "client.mjs", portcullis.url(), REDIRECT_URI, algorithm]) as client:
        answer = realm.person().authorize(client.hear("authorize")["url"], REDIRECT_URI)
        client.say({"callback": answer.url})
        end = client.hear("end")
    remember(*end["tokens"])
    assert end["required"] is True
    assert end["registered"] is True
    assert end["types"] == ["dpop", "dpop"]
    assert end["answered"] is True
    assert end["stolen"] == {
        "code": "invalid_grant",
        "bearer": "invalid_token",
        "call": "invalid_dpop_proof",
        "refresh": "invalid_grant",
        "refresh_without_proof": "invalid_dpop_proof",
    }
