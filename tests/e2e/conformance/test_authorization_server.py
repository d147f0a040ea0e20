"""The official suite's scenarios for authorization servers, through consent and Keycloak's login form.

Exactly three checks: the suite exits with 0 when it skips one.
"""

from collections.abc import Callable
from pathlib import Path

from harness.conformance import Run
from harness.documents import DocumentHost
from harness.oauth import Client
from harness.portcullis import Portcullis
from harness.realm import Realm


def test_a_registered_public_client_passes_three_of_three(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    portcullis, run = gateway(realm).start(), Run()
    client = Client.register(portcullis.url(), redirect_uris=[run.redirect_uri])
    result = run.grant(portcullis.public_url, realm.person(), ["--client-id", client.client_id], portcullis.url())
    assert (result.status, result.passed) == (0, 3), result.output


def test_a_configured_client_passes_three_of_three(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    run = Run()
    configured = {"client_id": "inspector", "redirect_uris": [run.redirect_uri]}
    portcullis = gateway(realm, client=[configured]).start()
    result = run.grant(portcullis.public_url, realm.person(), ["--client-id", "inspector"], portcullis.url())
    assert (result.status, result.passed) == (0, 3), result.output


def test_a_client_with_a_metadata_document_passes_three_of_three(
    realm: Realm, gateway: Callable[..., Portcullis], directory: Path
) -> None:
    run = Run()
    with DocumentHost(directory / "documents") as host:
        client_id = host.publish("/client.json", client_name="Conformance suite", redirect_uris=[run.redirect_uri])
        portcullis = gateway(realm, ca_file=str(host.ca_file)).start()
        result = run.grant(portcullis.public_url, realm.person(), ["--client-id", client_id], portcullis.url())
    assert (result.status, result.passed) == (0, 3), result.output
