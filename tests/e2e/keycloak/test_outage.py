"""Outages of Keycloak, and recovery."""

from collections.abc import Callable, Iterator

import pytest

from harness.cable import Cable
from harness.keycloak import Keycloak
from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.waiting import wait_until


@pytest.fixture
def cable(keycloak: Keycloak) -> Iterator[Cable]:
    """The only connection from Portcullis to Keycloak."""
    between = Cable(keycloak.port)
    yield between
    between.close()


def behind(cable: Cable) -> dict[str, object]:
    """An identity whose issuer is reached through the cable."""
    return {"base": f"http://127.0.0.1:{cable.port}"}


@pytest.mark.parametrize("fault", [Cable.cut, Cable.block], ids=["refused", "silent"])
def test_without_keycloak_tokens_work_and_refreshes_are_503(
    fault: Callable[[Cable], None], realm: Realm, gateway: Callable[..., Portcullis], cable: Cable
) -> None:
    portcullis = gateway(realm, identity=behind(cable)).start()
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    session = McpSession(portcullis.url(), tokens.access_token)
    assert session.ping() == 200
    fault(cable)
    refused = client.refresh(tokens.refresh_token)
    assert refused.status_code == 503
    assert refused.json()["error"] == "temporarily_unavailable"
    assert int(refused.headers["retry-after"]) > 0
    assert refused.elapsed.total_seconds() < 10, "clients give up after ten seconds"
    assert session.ping() == 200, "cached tokens still work"
    wait_until("it is degraded", lambda: is_degraded(portcullis), 15)
    cable.restore()
    assert Tokens.read(client.refresh(tokens.refresh_token)).access_token
    wait_until("it has recovered", lambda: not is_degraded(portcullis), 15)


def test_authorize_without_keycloak_is_a_503_page_with_retry_after(
    realm: Realm, gateway: Callable[..., Portcullis], cable: Cable
) -> None:
    cable.cut()
    portcullis = gateway(realm, identity=behind(cable)).start()
    assert is_degraded(portcullis), "it is ready, and names the provider as degraded"
    client = Client.register(portcullis.url())
    page = realm.person().open(client.attempt().url)
    assert page.status_code == 503
    assert page.headers["content-type"].startswith("text/html")
    assert int(page.headers["retry-after"]) > 0


def test_a_start_without_keycloak_recovers_by_itself(
    realm: Realm, gateway: Callable[..., Portcullis], cable: Cable
) -> None:
    cable.cut()
    portcullis = gateway(realm, identity=behind(cable)).start()
    client = Client.register(portcullis.url())
    cable.restore()
    wait_until("it has recovered", lambda: not is_degraded(portcullis), 20)
    assert client.sign_in(realm.person()).access_token


@pytest.mark.timeout(420)
def test_a_restart_of_keycloak_loses_no_grant(
    keycloak: Keycloak, realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    session = McpSession(portcullis.url(), tokens.access_token)
    assert session.ping() == 200
    keycloak.stop()
    try:
        assert client.refresh(tokens.refresh_token).status_code == 503
        assert session.ping() == 200
        wait_until("it is degraded", lambda: is_degraded(portcullis), 15)
    finally:
        keycloak.launch()
        keycloak.wait_until_ready()
    renewed = Tokens.read(client.refresh(tokens.refresh_token))
    assert McpSession(portcullis.url(), renewed.access_token).ping() == 200
    wait_until("it has recovered", lambda: not is_degraded(portcullis), 15)


def is_degraded(portcullis: Portcullis) -> bool:
    """Whether `/ready`, which must always be 200, names the provider."""
    answer = portcullis.ready()
    assert answer.status_code == 200, answer.text
    return any("keycloak" in entry for entry in answer.json()["degraded"])
