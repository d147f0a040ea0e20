"""Where Dex, npm's `oidc-provider` and ZITADEL's library differ from each other."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens
from harness.person import StuckOnAPage
from harness.providers import Behind, Dex, OidcProvider
from harness.waiting import wait_until


@pytest.mark.parametrize("kept", ["dex", "oidc_provider"])
def test_a_restart_of_a_provider_that_keeps_its_tokens_loses_nothing(
    kept: str, request: pytest.FixtureRequest, behind: Callable[..., Behind]
) -> None:
    provider = request.getfixturevalue(kept)
    if isinstance(provider, OidcProvider):
        provider.keep()
    gate = behind(provider)
    client, tokens = gate.signed_in()
    provider.restart()
    for _ in range(2):
        tokens = Tokens.read(client.refresh(tokens.refresh_token))
    assert not gate.degraded()


def test_a_consent_refused_at_oidc_provider_reaches_the_client(
    oidc_provider: OidcProvider, behind: Callable[..., Behind]
) -> None:
    gate = behind(oidc_provider)
    client = Client.register(gate.portcullis.url())
    attempt = client.attempt()
    refusing = oidc_provider.person(accepts_at_provider=False)
    refused = refusing.authorize(attempt.url, client.redirect_uri)
    assert refused.parameters["error"] == "access_denied"
    assert refused.parameters["state"] == attempt.state
    assert client.sign_in(oidc_provider.person()).access_token, "with both consents it works"


def test_a_consent_refused_at_dex_ends_on_a_page_of_dex(dex: Dex, behind: Callable[..., Behind]) -> None:
    """Dex sends no browser back; the attempt that waits here ends by its lifetime."""
    gate = behind(dex)
    client = Client.register(gate.portcullis.url())
    with pytest.raises(StuckOnAPage) as stuck:
        dex.person(accepts_at_provider=False).authorize(client.attempt().url, client.redirect_uri)
    assert stuck.value.response.status_code == 500
    assert "Approval rejected" in stuck.value.response.text
    assert client.sign_in(dex.person()).access_token


def test_a_user_who_is_gone_at_oidc_provider_is_out_at_the_next_refresh(
    oidc_provider: OidcProvider, behind: Callable[..., Behind]
) -> None:
    gate = behind(oidc_provider)
    client, tokens = gate.signed_in()
    session = McpSession(gate.portcullis.url(), tokens.access_token)
    assert session.ping() == 200
    oidc_provider.set_users("bob")
    refused = client.refresh(tokens.refresh_token)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    wait_until("the access token is refused", lambda: session.ping() == 401, 3)
    oidc_provider.set_users("alice", "bob")
    assert client.refresh(tokens.refresh_token).status_code == 400, "an ended grant stays ended"


def test_a_user_who_is_deleted_at_dex_gets_no_tokens_and_ready_says_so(dex: Dex, behind: Callable[..., Behind]) -> None:
    """Dex answers 500, as it does when its own directory is away: nobody can tell the two apart."""
    gate = behind(dex)
    dex.add_user("carol@example.com", "carol", "id-of-carol")
    client = Client.register(gate.portcullis.url())
    tokens = client.sign_in(dex.person(email="carol@example.com"))
    tokens = Tokens.read(client.refresh(tokens.refresh_token))
    dex.delete_user("carol@example.com")
    for _ in range(2):
        refused = client.refresh(tokens.refresh_token)
        assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
    assert "500" in gate.degraded()


def test_only_what_each_provider_wants_goes_to_its_authorization_endpoint(
    oidc_provider: OidcProvider, behind: Callable[..., Behind]
) -> None:
    gate = behind(oidc_provider, authorize_params={"prompt": "login consent", "claims_locales": "en"})
    client = Client.register(gate.portcullis.url())
    person = oidc_provider.person()
    assert client.sign_in(person).refresh_token
    there = next(url for url in person.visited if url.startswith(f"{oidc_provider.issuer}/auth?"))
    sent = parse_qs(urlsplit(there).query)
    assert (sent["prompt"], sent["claims_locales"]) == (["login consent"], ["en"])
    assert "resource" not in sent
