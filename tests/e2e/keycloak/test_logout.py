"""Back-channel logout: what Keycloak reports, what it does not, and what ends here (docs/logout.md)."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from harness.cable import Cable
from harness.keycloak import Keycloak
from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens
from harness.person import Person
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.waiting import wait_until

ACCEPTED = 'logout_tokens_total{identity="keycloak",result="accepted"}'
STANDS = 'standing_checks_total{identity="keycloak",result="stands"}'
UNAVAILABLE = 'standing_checks_total{identity="keycloak",result="unavailable"}'


@dataclass
class SignedIn:
    """A user who signed in through a gateway."""

    portcullis: Portcullis
    client: Client
    person: Person
    tokens: Tokens
    session: McpSession

    @classmethod
    def at(cls, portcullis: Portcullis, person: Person) -> "SignedIn":
        """Signs a user in and makes a call."""
        client = Client.register(portcullis.url())
        tokens = client.sign_in(person)
        session = McpSession(portcullis.url(), tokens.access_token)
        assert session.ping() == 200
        return cls(portcullis, client, person, tokens, session)

    def assert_out(self, within: float) -> None:
        """Nothing works any more."""
        wait_until("the access token is refused", lambda: self.session.ping() == 401, within)
        assert self.client.refresh(self.tokens.refresh_token).json()["error"] == "invalid_grant"

    def assert_in(self) -> None:
        """Everything works."""
        assert self.session.ping() == 200
        assert Tokens.read(self.client.refresh(self.tokens.refresh_token)).access_token


@pytest.fixture
def session_bound(realm: Realm, gateway: Callable[..., Portcullis]) -> Portcullis:
    """A gateway whose grants end with the session at Keycloak."""
    portcullis = gateway(realm, identity={"standing": "session"}).start()
    realm.report_logouts_to(logout_url(portcullis))
    return portcullis


@pytest.fixture
def offline(realm: Realm, gateway: Callable[..., Portcullis]) -> Portcullis:
    """A gateway whose grants outlive the session at Keycloak."""
    portcullis = gateway(realm).start()
    realm.report_logouts_to(logout_url(portcullis))
    return portcullis


def logout_url(portcullis: Portcullis) -> str:
    """What is entered at Keycloak."""
    return portcullis.url("/back-channel-logout/keycloak")


def open_a_browser_session(realm: Realm, gateway: Callable[..., Portcullis], person: Person) -> None:
    """A sign-in for offline access alone leaves no session in the browser: another one, without, makes it."""
    Client.register((other := gateway(realm, identity={"standing": "session"}).start()).url()).sign_in(person)
    assert other.count(ACCEPTED) == 0


def test_a_sign_out_in_the_browser_ends_the_grants_of_that_browser_at_once(
    realm: Realm, session_bound: Portcullis
) -> None:
    laptop, desktop = (SignedIn.at(session_bound, realm.person()) for _ in range(2))
    second = SignedIn.at(session_bound, laptop.person)
    laptop.person.sign_out_at(realm.issuer)
    laptop.assert_out(2)
    second.assert_out(2)
    desktop.assert_in()
    assert session_bound.count(ACCEPTED) == 1
    assert "back_channel_logout" in session_bound.child.log


def test_without_session_required_a_sign_out_is_of_every_browser(realm: Realm, session_bound: Portcullis) -> None:
    realm.report_logouts_to(logout_url(session_bound), backchannel_logout_session_required="false")
    laptop, desktop = (SignedIn.at(session_bound, realm.person()) for _ in range(2))
    laptop.person.sign_out_at(realm.issuer)
    laptop.assert_out(2)
    desktop.assert_out(2)


def test_offline_access_outlives_a_sign_out_in_the_browser_and_ends_with_the_offline_session(
    realm: Realm, gateway: Callable[..., Portcullis], offline: Portcullis
) -> None:
    person = realm.person()
    open_a_browser_session(realm, gateway, person)
    signed_in = SignedIn.at(offline, person)
    person.sign_out_at(realm.issuer)
    assert offline.count(ACCEPTED) == 1
    wait_until("Keycloak was asked", lambda: offline.count(STANDS) >= 1, 10)
    signed_in.assert_in()
    realm.end_offline_session("alice")
    assert offline.count(ACCEPTED) == 2
    assert offline.child.log.count("signed out at the identity provider") == 2
    wait_until("the access token is refused", lambda: signed_in.session.ping() == 401, 10)


def test_an_administrator_who_signs_a_user_out_ends_offline_access_too(
    realm: Realm, gateway: Callable[..., Portcullis], offline: Portcullis
) -> None:
    person = realm.person()
    open_a_browser_session(realm, gateway, person)
    signed_in = SignedIn.at(offline, realm.person())
    # Keycloak compares whole seconds
    time.sleep(1.1)
    realm.end_sessions("alice")
    assert offline.count(ACCEPTED) == 1, "for the session in the browser, which is another one"
    signed_in.assert_out(10)


def test_offline_access_ends_at_once_where_keycloak_is_told_to_ask_for_it(
    realm: Realm, gateway: Callable[..., Portcullis], offline: Portcullis
) -> None:
    realm.report_logouts_to(logout_url(offline), backchannel_logout_revoke_offline_tokens="true")
    person = realm.person()
    open_a_browser_session(realm, gateway, person)
    signed_in = SignedIn.at(offline, person)
    person.sign_out_at(realm.issuer)
    signed_in.assert_out(2)
    client = realm.our_client()["id"]
    sessions = f"/users/{realm.user_id('alice')}/offline-sessions/{client}"
    wait_until("the token is revoked", lambda: realm.admin("GET", sessions) == [], 10)


def disable(realm: Realm) -> None:
    """Disables the user."""
    realm.set_enabled("alice", False)


def delete(realm: Realm) -> None:
    """Deletes the user."""
    realm.admin("DELETE", f"/users/{realm.user_id('alice')}")


def take_consent_back(realm: Realm) -> None:
    """Takes the user's offline access back in the admin console."""
    realm.admin("DELETE", f"/users/{realm.user_id('alice')}/consents/portcullis")


@pytest.mark.parametrize("change", [disable, delete, take_consent_back])
def test_keycloak_reports_nothing_of_what_the_next_refresh_finds(
    change: Callable[[Realm], None], realm: Realm, offline: Portcullis
) -> None:
    """The access token works until it expires; from then on the user is out."""
    signed_in = SignedIn.at(offline, realm.person())
    change(realm)
    time.sleep(2)
    assert signed_in.session.ping() == 200
    assert offline.count(ACCEPTED) == 0
    refused = signed_in.client.refresh(signed_in.tokens.refresh_token)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    signed_in.assert_out(2)


def test_keycloak_reports_nothing_of_a_disabled_client_and_nothing_is_lost(realm: Realm, offline: Portcullis) -> None:
    signed_in = SignedIn.at(offline, realm.person())
    client = realm.our_client()
    realm.admin("PUT", f"/clients/{client['id']}", {**client, "enabled": False})
    refused = signed_in.client.refresh(signed_in.tokens.refresh_token)
    assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
    realm.admin("PUT", f"/clients/{client['id']}", {**client, "enabled": True})
    signed_in.assert_in()
    assert offline.count(ACCEPTED) == 0


def test_a_logout_that_a_newer_key_signed_is_believed(realm: Realm, session_bound: Portcullis) -> None:
    """Keycloak gives up after five seconds; it may take us ten until we read its keys again."""
    signed_in = SignedIn.at(session_bound, realm.person())
    realm.add_signing_key()
    signed_in.person.sign_out_at(realm.issuer)
    signed_in.assert_out(15)
    assert session_bound.count(ACCEPTED) == 1


@pytest.fixture
def cable(keycloak: Keycloak) -> Iterator[Cable]:
    """The only connection from Portcullis to Keycloak."""
    between = Cable(keycloak.port)
    yield between
    between.close()


def test_while_keycloak_cannot_be_asked_offline_access_waits_and_then_ends(
    realm: Realm, gateway: Callable[..., Portcullis], cable: Cable
) -> None:
    # Keycloak names itself as it is reached, in logout tokens too
    through = replace(realm, base=f"http://127.0.0.1:{cable.port}")
    portcullis = gateway(through).start()
    through.report_logouts_to(logout_url(portcullis))
    signed_in = SignedIn.at(portcullis, through.person())
    through.end_offline_session("alice")
    cable.cut()
    assert portcullis.count(ACCEPTED) == 1
    wait_until("it was tried to ask", lambda: portcullis.count(UNAVAILABLE) >= 1, 10)
    assert signed_in.session.ping() == 200
    refused = signed_in.client.refresh(signed_in.tokens.refresh_token)
    assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
    portcullis.kill()
    portcullis.start()
    cable.restore()
    wait_until("the access token is refused", lambda: signed_in.session.ping() == 401, 30)
