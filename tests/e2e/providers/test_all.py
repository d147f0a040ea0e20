"""What must hold in front of every OpenID Connect provider: Dex, npm's `oidc-provider`, ZITADEL's library."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2

from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens, http_client
from harness.providers import Behind, Provider
from harness.waiting import wait_until


def user_behind(each: Behind, tokens: Tokens) -> dict[str, str]:
    """The headers by which the server behind the gate knows its user."""
    headers: dict[str, str] = json.loads(McpSession(each.portcullis.url(), tokens.access_token).open().call("headers"))
    return headers


def test_the_server_behind_knows_the_user_after_a_sign_in_and_after_a_refresh(each: Behind) -> None:
    client, tokens = each.signed_in()
    first = user_behind(each, tokens)
    assert first["x-forwarded-user"].startswith("corp|")
    assert first["x-forwarded-email"] == "alice@example.com"
    assert first["x-forwarded-preferred-username"] == "alice"
    assert first.get("x-forwarded-groups") == each.provider.groups
    again = user_behind(each, Tokens.read(client.refresh(tokens.refresh_token)))
    for name in first:
        if name.startswith("x-forwarded-"):
            assert again.get(name) == first[name], name


def test_five_refreshes_at_once_get_the_same_tokens(each: Behind) -> None:
    client, tokens = each.signed_in()
    for _ in range(3):
        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(_refresh_alone, [client] * 5, [tokens.refresh_token] * 5))
        assert [answer.status_code for answer in answers] == [200] * 5
        read = [Tokens.read(answer) for answer in answers]
        assert all(other == read[0] for other in read)
        tokens = read[0]
    assert McpSession(each.portcullis.url(), tokens.access_token).ping() == 200


def test_two_clients_of_one_user_both_live_on(each: Behind) -> None:
    pairs = [each.signed_in("one"), each.signed_in("another")]
    assert pairs[0][0].client_id != pairs[1][0].client_id
    for _ in range(4):
        pairs = [(client, Tokens.read(client.refresh(tokens.refresh_token))) for client, tokens in pairs]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(_refresh_alone, [c for c, _ in pairs], [t.refresh_token for _, t in pairs]))
    for answer in answers:
        assert McpSession(each.portcullis.url(), Tokens.read(answer).access_token).ping() == 200


def test_a_client_that_ends_leaves_the_other_one_alive(each: Behind) -> None:
    (first, kept), (second, ended) = each.signed_in("one"), each.signed_in("another")
    gone = second.http.post(
        second.metadata["revocation_endpoint"], data={"token": ended.refresh_token, "client_id": second.client_id}
    )
    assert gone.status_code == 200
    assert second.refresh(ended.refresh_token).status_code == 400
    for _ in range(2):
        kept = Tokens.read(first.refresh(kept.refresh_token))


def test_a_provider_that_forgot_its_tokens_ends_the_grant_and_signs_in_again_at_once(each: Behind) -> None:
    """Each of them makes new keys, too: the sign-in right after must not fail on those that we know."""
    client, tokens = each.signed_in()
    each.provider.forget()
    refused = client.refresh(tokens.refresh_token)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    tokens = client.sign_in(each.provider.person())
    assert Tokens.read(client.refresh(tokens.refresh_token)).access_token
    assert not each.degraded()


def test_while_the_provider_is_away_refreshes_are_503_and_nothing_is_lost(each: Behind) -> None:
    client, tokens = each.signed_in()
    each.provider.cable.cut()
    refused = client.refresh(tokens.refresh_token)
    assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert McpSession(each.portcullis.url(), tokens.access_token).ping() == 200
    wait_until("it is degraded", each.degraded, 15)
    each.provider.cable.restore()
    assert Tokens.read(client.refresh(tokens.refresh_token)).access_token
    wait_until("it has recovered", lambda: not each.degraded(), 15)


def test_a_wrong_client_secret_is_named_by_check_by_the_log_and_by_ready(
    any_provider: Provider, behind: Callable[..., Behind]
) -> None:
    wrong = behind(any_provider, secret="another-secret-than-the-provider-knows")
    checked = wrong.portcullis.check_online()
    assert checked.returncode == 1
    assert "client_secret" in checked.stderr
    client = Client.register(wrong.portcullis.url())
    answer = any_provider.person().authorize(client.attempt().url, client.redirect_uri)
    assert answer.parameters["error"] == "server_error"
    assert "client_secret" in wrong.portcullis.child.log
    assert "client_secret" in wrong.degraded()


def test_the_doctor_finds_no_fault_of_the_provider(each: Behind) -> None:
    status, document = each.portcullis.doctor()
    assert (status, document["findings"]) == (0, [])


def test_check_online_accepts_the_provider(each: Behind) -> None:
    checked = each.portcullis.check_online()
    assert (checked.returncode, checked.stderr) == (0, "")


def _refresh_alone(client: Client, refresh_token: str | None) -> httpx2.Response:
    """Refreshes over a separate connection."""
    with http_client() as http:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client.client_id}
        return http.post(client.metadata["token_endpoint"], data=form)
