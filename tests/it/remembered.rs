//! Remembered consent: when the page is skipped, and every way in which it must not be.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE};
use portcullis::config::{Config, ConfiguredClient, Consent, IdentityKind};
use portcullis::model::ids::ClientId;
use portcullis::oauth::client_metadata::AuthMethod;
use portcullis::oauth::scope::ScopeSet;
use portcullis::storage::GrantFilter;

use crate::support::browser::{Browser, Form, location, parameter};
use crate::support::documents::DocumentHost;
use crate::support::gate::{Answer, TestClient, TestGate, local_user, tokens};
use crate::support::log::watch;

const DAY: Duration = Duration::from_hours(24);
const DIRECT: [(&str, &str); 3] =
    [("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
const ALICE: (&str, &str) = ("alice", "wonderland");
const BOB: (&str, &str) = ("bob", "builder");
const WEB: &str = "https://desk.example/callback";
const TICK: Option<&str> = Some("Do not ask me again in this browser for 30 days");

fn configured(client_id: &str, redirect_uris: &[&str]) -> ConfiguredClient {
    ConfiguredClient {
        client_id: client_id.to_owned(),
        name: Some("Desk".to_owned()),
        redirect_uris: redirect_uris.iter().map(|uri| (*uri).to_owned()).collect(),
        client_secret: None,
        keys: None,
        auth_method: AuthMethod::None,
        device: false,
        machine: None,
        dpop_bound: false,
        introspects: Vec::new(),
    }
}

fn remembering(config: &mut Config) {
    config.identities[0].kind =
        IdentityKind::Local(vec![local_user("alice", "wonderland"), local_user("bob", "builder")]);
    config.clients.push(configured("desk", &[WEB, "https://desk.example/other", "http://127.0.0.1/callback"]));
    config.consent = Consent { remember_for: 30 * DAY, remember_clients: vec!["desk".to_owned()] };
    let scopes = &mut config.upstreams[0].settings.scopes;
    scopes.optional = ScopeSet::empty().with("notes:write");
}

fn desk() -> TestClient {
    TestClient { id: "desk".to_owned(), redirect_uri: WEB.to_owned() }
}

/// The words of the checkbox, if there is one.
fn offer(page: &Answer) -> Option<&str> {
    let (_, rest) = page.body.split_once("name=\"remember\" value=\"yes\"> ")?;
    rest.split_once("</label>").map(|(words, _)| words)
}

/// Opens `/authorize` as a browser does that an application started.
async fn start(gate: &TestGate, browser: &mut Browser, client: &TestClient, extra: &[(&str, &str)]) -> Answer {
    start_saying(gate, browser, client, extra, &DIRECT).await
}

async fn start_saying(
    gate: &TestGate,
    browser: &mut Browser,
    client: &TestClient,
    extra: &[(&str, &str)],
    says: &[(&str, &str)],
) -> Answer {
    browser.get_saying(gate, &gate.authorize_path(client, extra), says).await
}

/// Types a password on the page that an answer leads to.
async fn sign_in(gate: &TestGate, browser: &mut Browser, begun: &Answer, (name, password): (&str, &str)) -> Answer {
    let page = browser.get(gate, &location(begun)).await;
    browser.submit(gate, &Form::on(&page.body).with("username", name).with("password", password)).await
}

/// Ticks the box, approves and signs in; answers the redirect to the client.
async fn remember(gate: &TestGate, browser: &mut Browser, client: &TestClient, extra: &[(&str, &str)]) -> String {
    let page = start(gate, browser, client, extra).await;
    assert_eq!(offer(&page), TICK, "{page:?}");
    let form = Form::on(&page.body).with("decision", "approve").with("identity", "local").with("remember", "yes");
    let approved = browser.submit(gate, &form).await;
    location(&sign_in(gate, browser, &approved, ALICE).await)
}

/// Whether a start leads to the sign-in without a question.
fn is_silent(answer: &Answer) -> bool {
    answer.status == 303 && location(answer).starts_with("/sign-in/local?authorization=")
}

fn asks(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.contains("action=\"/consent\"")
}

async fn remembered() -> (TestGate, Browser) {
    let (gate, mut browser) = (TestGate::with(remembering).await, Browser::default());
    remember(&gate, &mut browser, &desk(), &[]).await;
    (gate, browser)
}

#[tokio::test]
async fn a_ticked_consent_is_not_asked_again_and_the_code_works() {
    let (gate, mut browser) = remembered().await;
    let mark = browser.cookies.keys().find(|name| name.ends_with("-m")).unwrap();
    assert!(browser.cookies[mark].starts_with("pcb_"));
    let begun = start(&gate, &mut browser, &desk(), &[]).await;
    assert!(is_silent(&begun), "{begun:?}");
    let url = location(&sign_in(&gate, &mut browser, &begun, ALICE).await);
    assert!(url.starts_with(WEB) && parameter(&url, "iss").as_deref() == Some(gate.origin()), "{url}");
    tokens(&gate.redeem(&desk(), &parameter(&url, "code").unwrap()).await);
    let again = start(&gate, &mut browser, &desk(), &[]).await;
    assert!(is_silent(&again), "it is used as often as needed");
}

#[tokio::test]
async fn nothing_is_remembered_without_a_tick_and_nothing_offered_by_default() {
    let (gate, mut browser) = (TestGate::with(remembering).await, Browser::default());
    let page = start(&gate, &mut browser, &desk(), &[]).await;
    assert!(offer(&page) == TICK && !page.body.contains("checked"), "{page:?}");
    let approved =
        browser.submit(&gate, &Form::on(&page.body).with("decision", "approve").with("identity", "local")).await;
    sign_in(&gate, &mut browser, &approved, ALICE).await;
    assert!(!browser.cookies.keys().any(|name| name.ends_with("-m")));
    assert!(asks(&start(&gate, &mut browser, &desk(), &[]).await));

    let off = TestGate::with(|config| {
        remembering(config);
        config.consent = Consent::default();
    })
    .await;
    let mut browser = Browser::default();
    let page = start(&off, &mut browser, &desk(), &[]).await;
    assert_eq!(offer(&page), None);
    let form = Form::on(&page.body).with("decision", "approve").with("identity", "local").with("remember", "yes");
    let approved = browser.submit(&off, &form).await;
    sign_in(&off, &mut browser, &approved, ALICE).await;
    assert!(asks(&start(&off, &mut browser, &desk(), &[]).await), "a tick that was not offered has no effect");
}

#[tokio::test]
async fn another_user_who_signs_in_in_the_same_browser_is_asked_and_gets_no_code_before() {
    let (gate, mut browser) = remembered().await;
    let begun = start(&gate, &mut browser, &desk(), &[]).await;
    let asked = sign_in(&gate, &mut browser, &begun, BOB).await;
    assert!(asks(&asked) && asked.body.contains("was allowed by someone else"), "{asked:?}");
    let page = browser.get(&gate, &location(&begun)).await;
    assert!(!page.body.contains("code="), "the sign-in that was not allowed is over: {page:?}");
    // bob decides for himself, and alice's decision stays hers
    let form = Form::on(&asked.body).with("decision", "approve").with("identity", "local");
    let approved = browser.submit(&gate, &form).await;
    let url = location(&sign_in(&gate, &mut browser, &approved, BOB).await);
    tokens(&gate.redeem(&desk(), &parameter(&url, "code").unwrap()).await);
    let begun = start(&gate, &mut browser, &desk(), &[]).await;
    assert!(asks(&sign_in(&gate, &mut browser, &begun, BOB).await), "bob had nothing remembered");
    let begun = start(&gate, &mut browser, &desk(), &[]).await;
    assert!(parameter(&location(&sign_in(&gate, &mut browser, &begun, ALICE).await), "code").is_some());
}

#[tokio::test]
async fn a_start_from_another_site_asks_and_so_does_one_that_says_nothing() {
    let (gate, mut browser) = remembered().await;
    let [_, mode, dest] = DIRECT;
    for site in ["cross-site", "same-site", "same-origin", ""] {
        let answer = start_saying(&gate, &mut browser, &desk(), &[], &[("sec-fetch-site", site), mode, dest]).await;
        assert!(asks(&answer) && offer(&answer).is_none(), "{site}: {answer:?}");
    }
    assert!(asks(&start_saying(&gate, &mut browser, &desk(), &[], &[]).await));
    let framed = [DIRECT[0], mode, ("sec-fetch-dest", "iframe")];
    assert!(asks(&start_saying(&gate, &mut browser, &desk(), &[], &framed).await));
    let ahead = [DIRECT[0], mode, dest, ("sec-purpose", "prefetch")];
    assert!(asks(&start_saying(&gate, &mut browser, &desk(), &[], &ahead).await));
}

/// A malicious client that names our own `/authorize`, with the request of another client, as its redirect URI: when its user denies
/// it (or when it is approved), we send the browser there ourselves.
#[tokio::test]
async fn a_client_whose_answer_goes_to_our_own_authorize_does_not_start_another_clients_sign_in_unasked() {
    let (gate, mut browser) = remembered().await;
    let trap = format!("{}{}", gate.origin(), gate.authorize_path(&desk(), &[("state", "")]));
    let evil = gate.register_as(&serde_json::json!({"client_name": "Evil", "redirect_uris": [trap]})).await;
    let cross = [("sec-fetch-site", "cross-site")];
    let page = start_saying(&gate, &mut browser, &evil, &[("state", "of the attacker")], &cross).await;
    let denied = browser.submit(&gate, &Form::on(&page.body).with("decision", "deny")).await;
    let place = location(&denied);
    assert!(place.starts_with(&trap) && place.contains("state=of+the+attacker"), "{denied:?}");
    let says = [("sec-fetch-site", "same-origin"), DIRECT[1], DIRECT[2]];
    let sent = browser.get_saying(&gate, place.strip_prefix(gate.origin()).unwrap(), &says).await;
    assert!(asks(&sent) && sent.body.contains("Desk"), "{sent:?}");
}

/// A client that is known by its document, and whose document changes.
#[tokio::test]
async fn a_client_with_a_document_is_remembered_until_its_document_changes() {
    let host = DocumentHost::start().await;
    let document = |name: &str, more: &[&str]| {
        let uris: Vec<_> = [WEB].into_iter().chain(more.iter().copied()).collect();
        serde_json::json!({"client_name": name, "redirect_uris": uris})
    };
    let client = host.publish("/desk.json", document("Desk", &[]));
    let other = host.publish("/other.json", document("Desk", &[]));
    let gate = TestGate::with(|config| {
        host.trusted(config);
        remembering(config);
        config.consent.remember_clients = vec![client.id.clone()];
    })
    .await;
    let mut browser = Browser::default();
    let url = remember(&gate, &mut browser, &client, &[]).await;
    tokens(&gate.redeem(&client, &parameter(&url, "code").unwrap()).await);
    let begun = start(&gate, &mut browser, &client, &[]).await;
    assert!(is_silent(&begun), "{begun:?}");
    let url = location(&sign_in(&gate, &mut browser, &begun, ALICE).await);
    tokens(&gate.redeem(&client, &parameter(&url, "code").unwrap()).await);
    let page = start(&gate, &mut browser, &other, &[]).await;
    assert!(asks(&page) && offer(&page).is_none(), "another document of the same host: {page:?}");
    for changed in [document("Desk 2", &[]), document("Desk", &["https://evil.example/callback"])] {
        host.publish("/desk.json", changed);
        gate.clock.advance(DAY);
        assert!(asks(&start(&gate, &mut browser, &client, &[]).await));
    }
    host.publish("/desk.json", document("Desk", &[]));
    gate.clock.advance(DAY);
    assert!(is_silent(&start(&gate, &mut browser, &client, &[]).await), "as it was when it was allowed");
}

#[tokio::test]
async fn a_head_request_begins_nothing() {
    let (gate, mut browser) = remembered().await;
    let request = gate.request("HEAD", &gate.authorize_path(&desk(), &[]));
    let request = request.header(COOKIE, browser.cookie_header(gate.clock.now()));
    let request = DIRECT.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    assert_eq!(gate.send(request, "").await.status, 200);
}

#[tokio::test]
async fn a_mark_in_another_browser_leads_a_thief_to_a_sign_in_and_no_further() {
    let (gate, browser) = remembered().await;
    let mut thief = Browser::default();
    thief.cookies = browser.cookies.into_iter().filter(|(name, _)| name.ends_with("-m")).collect::<BTreeMap<_, _>>();
    let begun = start(&gate, &mut thief, &desk(), &[]).await;
    let asked = sign_in(&gate, &mut thief, &begun, BOB).await;
    assert!(asks(&asked), "{asked:?}");
    let mut forger = Browser::default();
    let name = thief.cookies.keys().find(|name| name.ends_with("-m")).unwrap().clone();
    for forged in ["pcb_aaaa", "", "x"] {
        forger.cookies.insert(name.clone(), forged.to_owned());
        assert!(asks(&start(&gate, &mut forger, &desk(), &[]).await), "{forged}");
    }
}

#[tokio::test]
async fn more_scopes_and_step_up_ask_again_and_fewer_do_not() {
    let (gate, mut browser) = (TestGate::with(remembering).await, Browser::default());
    remember(&gate, &mut browser, &desk(), &[("scope", "mcp:access")]).await;
    assert!(is_silent(&start(&gate, &mut browser, &desk(), &[("scope", "mcp:access")]).await));
    let wider = [("scope", "mcp:access notes:write")];
    assert!(asks(&start(&gate, &mut browser, &desk(), &wider).await));
    remember(&gate, &mut browser, &desk(), &wider).await;
    assert!(is_silent(&start(&gate, &mut browser, &desk(), &wider).await));
    assert!(is_silent(&start(&gate, &mut browser, &desk(), &[("scope", "mcp:access")]).await));
}

#[tokio::test]
async fn a_narrow_start_gets_a_narrow_grant_of_a_wide_consent() {
    let (gate, mut browser) = (TestGate::with(remembering).await, Browser::default());
    remember(&gate, &mut browser, &desk(), &[("scope", "mcp:access notes:write")]).await;
    let begun = start(&gate, &mut browser, &desk(), &[("scope", "mcp:access")]).await;
    let url = location(&sign_in(&gate, &mut browser, &begun, ALICE).await);
    let answer = gate.redeem(&desk(), &parameter(&url, "code").unwrap()).await;
    assert_eq!(answer.json()["scope"], "mcp:access");
}

#[tokio::test]
async fn prompt_asks_whatever_is_remembered() {
    let (gate, mut browser) = remembered().await;
    for prompt in ["consent", "login", "select_account", "none", "login consent"] {
        assert!(asks(&start(&gate, &mut browser, &desk(), &[("prompt", prompt)]).await), "{prompt}");
    }
}

#[tokio::test]
async fn another_redirect_uri_another_resource_and_another_client_ask() {
    let gate = TestGate::with(|config| {
        remembering(config);
        config.clients.push(configured("other", &[WEB]));
        let url = config.upstreams[0].settings.reach.url().to_string();
        config.upstreams.push(crate::support::gate::upstream(&config.public_url, "second", &url));
    })
    .await;
    let mut browser = Browser::default();
    remember(&gate, &mut browser, &desk(), &[]).await;
    assert!(is_silent(&start(&gate, &mut browser, &desk(), &[]).await));
    let other = TestClient { redirect_uri: "https://desk.example/other".to_owned(), ..desk() };
    assert!(asks(&start(&gate, &mut browser, &other, &[]).await));
    let resource = gate.config.upstreams[1].audience();
    assert!(asks(&start(&gate, &mut browser, &desk(), &[("resource", resource)]).await));
    let unlisted = TestClient { id: "other".to_owned(), ..desk() };
    let page = start(&gate, &mut browser, &unlisted, &[]).await;
    assert!(asks(&page) && offer(&page).is_none(), "the operator did not name it: {page:?}");
}

#[tokio::test]
async fn loopback_and_registered_clients_are_never_remembered() {
    let gate = TestGate::with(|config| {
        remembering(config);
        config.clients.push(configured("app", &["com.example.app:/callback"]));
        config.consent.remember_clients.push("app".to_owned());
    })
    .await;
    let mut browser = Browser::default();
    let loopback = TestClient { redirect_uri: "http://127.0.0.1:4711/callback".to_owned(), ..desk() };
    let app = TestClient { id: "app".to_owned(), redirect_uri: "com.example.app:/callback".to_owned() };
    for client in [&loopback, &app] {
        let page = start(&gate, &mut browser, client, &[]).await;
        assert!(asks(&page) && offer(&page).is_none(), "{page:?}");
        let form = Form::on(&page.body).with("decision", "approve").with("identity", "local").with("remember", "yes");
        let approved = browser.submit(&gate, &form).await;
        sign_in(&gate, &mut browser, &approved, ALICE).await;
        assert!(asks(&start(&gate, &mut browser, client, &[]).await), "{client:?}");
    }
    let registered = gate.register_as(&serde_json::json!({"client_name": "R", "redirect_uris": [WEB]})).await;
    let gate = gate.restart_with(|config| config.consent.remember_clients.push(registered.id.clone())).await;
    let page = start(&gate, &mut browser, &registered, &[]).await;
    assert!(asks(&page) && offer(&page).is_none(), "even if it got into the list: {page:?}");
}

#[tokio::test]
async fn a_client_that_changed_asks_again() {
    let (gate, mut browser) = remembered().await;
    let gate = gate.restart_with(|config| config.clients[0].name = Some("Desk 2".to_owned())).await;
    assert!(asks(&start(&gate, &mut browser, &desk(), &[]).await));
    let gate = gate.restart_with(|config| config.clients[0].name = Some("Desk".to_owned())).await;
    let begun = start(&gate, &mut browser, &desk(), &[]).await;
    assert!(is_silent(&begun), "{begun:?}");
    // it changes while the user signs in
    let gate = gate.restart_with(|config| config.clients[0].name = Some("Desk 2".to_owned())).await;
    assert!(asks(&sign_in(&gate, &mut browser, &begun, ALICE).await));
}

#[tokio::test]
async fn a_client_that_gives_up_the_protection_of_its_tokens_asks_again() {
    let gate = TestGate::with(|config| {
        remembering(config);
        crate::support::dpop::take(config, portcullis::config::BoundTokens::Optional);
        config.clients[0].dpop_bound = true;
    })
    .await;
    let mut browser = Browser::default();
    remember(&gate, &mut browser, &desk(), &[]).await;
    assert!(is_silent(&start(&gate, &mut browser, &desk(), &[]).await));
    let gate = gate.restart_with(|config| config.clients[0].dpop_bound = false).await;
    assert!(asks(&start(&gate, &mut browser, &desk(), &[]).await));
}

#[tokio::test]
async fn a_memory_expires_by_todays_setting() {
    let (gate, mut browser) = remembered().await;
    let mut browser_with_a_slow_clock = browser.slow();
    gate.clock.advance((30 * DAY).checked_sub(Duration::from_secs(1)).unwrap());
    assert!(is_silent(&start(&gate, &mut browser, &desk(), &[]).await));
    gate.clock.advance(Duration::from_secs(1));
    assert!(asks(&start(&gate, &mut browser_with_a_slow_clock, &desk(), &[]).await));
    let gate = gate.restart_with(|config| config.consent.remember_for = 60 * DAY).await;
    assert!(is_silent(&start(&gate, &mut browser_with_a_slow_clock, &desk(), &[]).await));
    let gate = gate.restart_with(|config| config.consent = Consent::default()).await;
    assert!(asks(&start(&gate, &mut browser_with_a_slow_clock, &desk(), &[]).await));
    gate.app.issuer().expire().await;
    let gate = gate.restart_with(|config| {
        config.consent = Consent { remember_for: 60 * DAY, remember_clients: vec!["desk".to_owned()] };
    });
    assert!(asks(&start(&gate.await, &mut browser_with_a_slow_clock, &desk(), &[]).await), "off forgets all");
}

#[tokio::test]
async fn a_disabled_client_is_refused_and_asks_after_it_is_enabled() {
    let (gate, mut browser) = remembered().await;
    let (store, id) = (gate.app.store(), ClientId::from("desk"));
    let begun = start(&gate, &mut browser, &desk(), &[]).await;
    assert!(store.disable_client(&id, gate.clock.now()).await.unwrap());
    let refused = start(&gate, &mut browser, &desk(), &[]).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let page = browser.get(&gate, &location(&begun)).await;
    assert_eq!(page.status, 403, "in the middle of a sign-in, too: {page:?}");
    // as `clients disable` does
    store.cancel_sign_ins(&GrantFilter { client: Some("desk".to_owned()), ..GrantFilter::default() }).await.unwrap();
    assert!(store.enable_client(&id).await.unwrap());
    assert!(asks(&start(&gate, &mut browser, &desk(), &[]).await));
}

#[tokio::test]
async fn an_operator_who_ends_grants_has_the_consents_forgotten() {
    let filters: [fn(&mut GrantFilter); 4] = [
        |_| {},
        |filter| filter.subject = Some("local|alice".to_owned()),
        |filter| filter.client = Some("desk".to_owned()),
        |filter| filter.resource = Some("http://127.0.0.1:6749/mcp".to_owned()),
    ];
    for set in filters {
        let (gate, mut browser) = remembered().await;
        let mut filter = GrantFilter::default();
        set(&mut filter);
        if filter.resource.is_some() {
            filter.resource = Some(gate.config.upstreams[0].audience().to_owned());
        }
        let elsewhere = GrantFilter { client: Some("another".to_owned()), ..GrantFilter::default() };
        gate.app.store().cancel_sign_ins(&elsewhere).await.unwrap();
        let begun = start(&gate, &mut browser, &desk(), &[]).await;
        assert!(is_silent(&begun));
        gate.app.store().cancel_sign_ins(&filter).await.unwrap();
        assert!(asks(&start(&gate, &mut browser, &desk(), &[]).await), "{filter:?}");
        let page = browser.get(&gate, &location(&begun)).await;
        assert!(!page.body.contains("code="), "{page:?}");
    }
}

/// Signs in at the user's own page.
async fn own_page(gate: &TestGate, browser: &mut Browser, who: (&str, &str)) -> Answer {
    let page = browser.get(gate, "/account").await;
    let chosen = browser.submit(gate, &Form::on(&page.body).with("identity", "local")).await;
    sign_in(gate, browser, &chosen, who).await;
    browser.get(gate, "/account").await
}

/// The form that forgets, on the user's own page.
fn forget_form(page: &Answer) -> Form {
    let at = page.body.find("<form method=\"post\" action=\"/account/forget\"").expect("there is something to forget");
    Form::on(&page.body[at..])
}

#[tokio::test]
async fn a_user_sees_what_is_remembered_and_has_it_forgotten() {
    let (gate, mut browser) = remembered().await;
    let mut elsewhere = Browser::default();
    let page = own_page(&gate, &mut elsewhere, ALICE).await;
    let (_, listed) = page.body.split_once("Where you are not asked again").unwrap_or_else(|| panic!("{page:?}"));
    for words in ["Desk", "Server mcp", "call its tools", "stay connected while you are away", "desk.example"] {
        assert!(listed.contains(words), "{words} is not listed: {listed}");
    }
    let form = forget_form(&page);

    let mut bobs = Browser::default();
    let bobs_page = own_page(&gate, &mut bobs, BOB).await;
    assert!(!bobs_page.body.contains("not asked again"), "{bobs_page:?}");
    let csrf = elsewhere.submit(&gate, &form.clone().with("form_token", "x")).await;
    assert_eq!(csrf.status, 400);
    for header in crate::support::browser::ELSEWHERE {
        assert_eq!(elsewhere.submit_saying(&gate, &form, &[header]).await.status, 400, "{header:?}");
    }
    assert!(is_silent(&start(&gate, &mut browser, &desk(), &[]).await), "nothing was forgotten yet");

    let begun = start(&gate, &mut browser, &desk(), &[]).await;
    assert_eq!(location(&elsewhere.submit(&gate, &form).await), "/account");
    assert_eq!(location(&elsewhere.submit(&gate, &form).await), "/account", "a double click");
    assert!(!elsewhere.get(&gate, "/account").await.body.contains("not asked again"));
    assert!(asks(&start(&gate, &mut browser, &desk(), &[]).await));
    assert!(asks(&sign_in(&gate, &mut browser, &begun, ALICE).await), "a sign-in that was under way, too");
}

#[tokio::test]
async fn users_cannot_forget_for_others() {
    let (gate, mut browser) = remembered().await;
    let mut alices = Browser::default();
    let id = forget_form(&own_page(&gate, &mut alices, ALICE).await);
    let consent = &id.fields.iter().find(|(name, _)| name == "consent").unwrap().1;
    let mut bobs = Browser::default();
    let page = own_page(&gate, &mut bobs, BOB).await;
    let form = Form::on(&page.body);
    let token = &form.fields.iter().find(|(name, _)| name == "form_token").unwrap().1;
    let fields = vec![("form_token".to_owned(), token.clone()), ("consent".to_owned(), consent.clone())];
    let forged = Form { action: "/account/forget".to_owned(), fields };
    assert_eq!(location(&bobs.submit(&gate, &forged).await), "/account");
    assert!(is_silent(&start(&gate, &mut browser, &desk(), &[]).await));
}

#[tokio::test]
async fn ending_access_forgets_and_the_wear_of_a_grant_does_not() {
    let (gate, mut browser) = (TestGate::with(remembering).await, Browser::default());
    let url = remember(&gate, &mut browser, &desk(), &[]).await;
    let given = tokens(&gate.redeem(&desk(), &parameter(&url, "code").unwrap()).await);
    gate.clock.advance(29 * DAY);
    gate.app.issuer().expire().await;
    assert!(is_silent(&start(&gate, &mut browser, &desk(), &[]).await));
    assert_eq!(gate.revoke(&desk(), &given.refresh).await.status, 200);
    assert!(asks(&start(&gate, &mut browser, &desk(), &[]).await), "the client was disconnected");

    remember(&gate, &mut browser, &desk(), &[]).await;
    let mut elsewhere = Browser::default();
    own_page(&gate, &mut elsewhere, ALICE).await;
    let question = elsewhere.get(&gate, "/account/end?all=yes").await;
    elsewhere.submit(&gate, &Form::on(&question.body)).await;
    assert!(asks(&start(&gate, &mut browser, &desk(), &[]).await), "end all access");
}

#[tokio::test]
async fn two_posts_of_one_form_give_one_mark_and_a_second_consent_keeps_it() {
    let (gate, mut browser) = (TestGate::with(remembering).await, Browser::default());
    let page = start(&gate, &mut browser, &desk(), &[]).await;
    let form = Form::on(&page.body).with("decision", "approve").with("identity", "local").with("remember", "yes");
    let mark = |answer: &Answer| {
        let set = answer.headers.get_all(SET_COOKIE).iter().map(HeaderValue::to_str).map(Result::unwrap);
        set.map(str::to_owned).find(|set| set.contains("-m=")).unwrap()
    };
    let mut other_tab = browser.clone();
    let (first, second) = (browser.submit(&gate, &form).await, other_tab.submit(&gate, &form).await);
    assert_eq!(mark(&first), mark(&second));
    let flags = "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict";
    assert!(mark(&first).ends_with(flags), "{}", mark(&first));
    sign_in(&gate, &mut browser, &first, ALICE).await;
    let wider = [("scope", "mcp:access notes:write")];
    let page = start(&gate, &mut browser, &desk(), &wider).await;
    let form = Form::on(&page.body).with("decision", "approve").with("identity", "local").with("remember", "yes");
    assert_eq!(mark(&browser.submit(&gate, &form).await), mark(&first));
}

#[tokio::test]
async fn a_remembered_start_works_in_another_process_and_counts_as_a_sign_in() {
    let (gate, mut browser) = remembered().await;
    let twin = gate.twin().await;
    let begun = start(&gate, &mut browser, &desk(), &[]).await;
    let url = location(&sign_in(&twin, &mut browser, &begun, ALICE).await);
    assert!(parameter(&url, "code").is_some());
    let mut last = None;
    for _ in 0..601 {
        last = Some(start(&gate, &mut browser, &desk(), &[]).await);
    }
    assert_eq!(last.unwrap().status, 429);
}

#[tokio::test]
async fn what_is_remembered_used_and_forgotten_is_audited() {
    let (lines, watching) = watch();
    let (gate, mut browser) = remembered().await;
    let begun = start(&gate, &mut browser, &desk(), &[]).await;
    sign_in(&gate, &mut browser, &begun, ALICE).await;
    let mut elsewhere = Browser::default();
    let form = forget_form(&own_page(&gate, &mut elsewhere, ALICE).await);
    elsewhere.submit(&gate, &form).await;
    drop(watching);
    let log = lines.text();
    for words in ["consent remembered", "remembered=true", "remembered=false", "consent forgotten"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert!(!log.contains("pcb_"), "{log}");
}
