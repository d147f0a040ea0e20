"""Denied consent, and double submissions of Keycloak's form."""

from collections.abc import Callable

from harness.oauth import Client, Tokens
from harness.person import Person, read_answer
from harness.portcullis import Portcullis
from harness.realm import Realm
from harness.user_agent import location, page_of


def test_a_denied_consent_reaches_the_client_and_never_keycloak(
    realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    attempt, person = client.attempt(), realm.person(approves=False)
    answer = person.authorize(attempt.url, client.redirect_uri)
    assert answer.parameters["error"] == "access_denied"
    assert answer.parameters["state"] == attempt.state
    assert answer.parameters["iss"] == portcullis.public_url
    assert not any(url.startswith(realm.issuer) for url in person.visited)


def test_a_consent_denied_at_keycloak_reaches_the_client(
    new_realm: Callable[..., Realm], gateway: Callable[..., Portcullis]
) -> None:
    realm = new_realm(client={"consentRequired": True})
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    attempt = client.attempt()
    refused = realm.person(accepts_at_provider=False).authorize(attempt.url, client.redirect_uri)
    assert refused.parameters["error"] == "access_denied"
    assert refused.parameters["state"] == attempt.state
    assert refused.parameters["iss"] == portcullis.public_url
    assert client.sign_in(realm.person()).access_token, "with both consents it works"


def test_keycloaks_form_posted_twice_yields_one_code(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    """Keycloak answers the second post with an error for the same state; here the success arrives first."""
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    attempt, person = client.attempt(), realm.person()
    good, bad = _post_login_twice(person, attempt.url)
    answer = person.carry_on(person.open(good), client.redirect_uri)
    late = person.open(bad)
    assert location(late) is None, "the client is called only once"
    tokens = Tokens.read(client.redeem(attempt, answer))
    assert tokens.access_token


def test_a_dropped_redirect_can_be_finished_by_a_link(realm: Realm, gateway: Callable[..., Portcullis]) -> None:
    """A double click makes the browser drop our redirect; the page that it shows has a link to finish."""
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    attempt, person = client.attempt(), realm.person()
    good, bad = _post_login_twice(person, attempt.url)
    dropped = location(person.open(good))
    page = person.open(bad)
    links = page_of(page).links
    finishing = [link for link in links if link.split("?")[0] == client.redirect_uri]
    assert finishing == [dropped], page_of(page).text
    assert Tokens.read(client.redeem(attempt, read_answer(finishing[0]))).access_token


def test_the_error_of_a_double_click_arriving_first_triggers_a_silent_retry(
    realm: Realm, gateway: Callable[..., Portcullis]
) -> None:
    portcullis = gateway(realm).start()
    client = Client.register(portcullis.url())
    attempt, person = client.attempt(), realm.person()
    _, bad = _post_login_twice(person, attempt.url)
    person.password = "not asked for again"
    answer = person.carry_on(person.open(bad), client.redirect_uri)
    assert Tokens.read(client.redeem(attempt, answer)).access_token


def _post_login_twice(person: Person, url: str) -> tuple[str, str]:
    """Submits Keycloak's login form twice; returns the two redirect URLs."""
    page = person.open(url)
    for _ in range(6):
        form = next((form for form in page_of(page).forms if form.id == "kc-form-login"), None)
        if form is not None:
            break
        target = location(page)
        page = person.open(target) if target else person.answer_page(page)
    assert form is not None
    entered = {"username": person.username, "password": person.password}
    first = location(person.agent.submit(page, form, entered))
    second = location(person.agent.submit(page, form, entered))
    assert first is not None
    assert second is not None
    assert "code=" in first
    assert "error=temporarily_unavailable" in second
    return first, second
