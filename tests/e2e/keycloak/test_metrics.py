"""What the Prometheus project's own parser reads from `/metrics`."""

from collections.abc import Callable, Iterator

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.waiting import wait_until


def scrape(portcullis: Portcullis) -> list[Sample]:
    """All samples. The parser refuses what the format forbids: duplicates, wrong units, buckets that shrink."""
    answer = portcullis.scrape()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    families: Iterator[Metric] = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    return [sample for family in families for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: str) -> float:
    """The sum of the samples with this name and these labels."""
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def token_calls(samples: list[Sample]) -> float:
    """How often Keycloak's token endpoint has answered."""
    return value(samples, "portcullis_provider_calls_total", call="token", outcome="answered")


def test_prometheus_reads_what_a_sign_in_a_refresh_and_a_call_counted(
    realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    portcullis = gateway(realm).start()
    # at its start it redeems a code and a refresh token that were never issued
    wait_until("our credentials were tried", lambda: token_calls(scrape(portcullis)) == 2, 15)
    before = scrape(portcullis)
    client = Client.register(portcullis.url())
    tokens = client.sign_in(realm.person())
    tokens = Tokens.read(client.refresh(tokens.refresh_token))
    assert McpSession(portcullis.url(), tokens.access_token).ping() == 200
    after = scrape(portcullis)

    def grew(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grew("portcullis_registrations_total", outcome="created") == 1
    assert grew("portcullis_grants_begun_total", identity="keycloak") == 1
    assert grew("portcullis_refreshes_total", outcome="rotated") == 1
    assert grew("portcullis_token_checks_total", result="verified") == 1
    assert token_calls(after) - token_calls(before) == 2
    assert grew("portcullis_upstream_duration_seconds_count", upstream="mcp") >= 1
    assert value(after, "portcullis_ready") == 1
    assert value(after, "portcullis_degraded") == 0
    assert value(after, "portcullis_provider_up", identity="keycloak") == 1
