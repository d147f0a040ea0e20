//! Audit events: what each says, which request caused it, and that no one can flood them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::app::App;
use portcullis::audit::{Actor, Audit, Event, Sink};
use portcullis::config::{Config, Device};
use portcullis::oauth::grant_type::DEVICE_CODE;
use portcullis::oauth::scope::ScopeSet;

use crate::account::{alice, question};
use crate::support::bench::Bench;
use crate::support::browser::{Browser, Form};
use crate::support::gate::{Answer, TestGate, claims};

/// A sink that keeps events.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<(String, String)>>>);

impl Sink for Kept {
    fn record(&self, event: &Event<'_>, origin: &Actor<'_>) {
        let origin = match origin {
            Actor::Request { id, address } => format!("{id} {address}"),
            Actor::Operator(name) => format!("operator {name}"),
            Actor::Upkeep => "upkeep".to_owned(),
        };
        self.0.lock().unwrap().push((format!("{event:?}"), origin));
    }
}

impl Kept {
    /// The events since the last call, with what caused them.
    fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The only event since the last call. It was caused by the request of this answer.
    fn one(&self, answer: &Answer) -> String {
        let [(event, origin)] = &self.take()[..] else { panic!("not one event") };
        assert_eq!(*origin, format!("{} 127.0.0.1", answer.header("x-request-id")), "{event}");
        event.clone()
    }
}

/// The same gate as another process that shares the database, with other settings.
async fn audited(gate: &mut TestGate, change: impl FnOnce(&mut Config)) -> Kept {
    let kept = Kept::default();
    let mut config = Config::clone(&gate.config);
    change(&mut config);
    gate.config = Arc::new(config);
    let audit = Audit::new(kept.clone());
    gate.app = App::audited(Arc::clone(&gate.config), gate.clock.clone(), audit).await.unwrap().into();
    gate.app.adopt().await.unwrap();
    kept
}

fn assert_says(event: &str, name: &str, parts: &[&str]) {
    assert!(event.starts_with(&format!("{name} {{")), "{event}");
    for part in parts {
        assert!(event.contains(part), "{part} is not in {event}");
    }
}

#[tokio::test]
async fn each_event_of_a_grants_life_names_the_request_that_caused_it() {
    let mut gate = TestGate::new().await;
    let kept = audited(&mut gate, |_| {}).await;
    let registered = gate
        .post_json(
            "/register",
            &serde_json::json!({ "client_name": "Tool", "redirect_uris": ["http://127.0.0.1:33418/callback"] }),
        )
        .await;
    assert_says(&kept.one(&registered), "Registered", &["\"Tool\""]);
    let client = gate.register().await;
    kept.take();
    let mut browser = Browser::default();
    let wrong = gate.send_password(("alice", "wrong"), &mut browser, &client, &[]).await;
    assert_says(&kept.one(&wrong), "SignInFailed", &["\"local\"", "limited: false"]);
    let mut browser = Browser::default();
    let signed_in = gate.send_password(("alice", "wonderland"), &mut browser, &client, &[]).await;
    assert_says(&kept.one(&signed_in), "SignedIn", &["local|", &client.id, "/mcp"]);
    let code = crate::support::browser::parameter(&crate::support::browser::location(&signed_in), "code").unwrap();
    let redeemed = gate.redeem(&client, &code).await;
    assert_says(&kept.one(&redeemed), "Granted", &["refresh: true", &client.id]);
    let given = crate::support::gate::tokens(&redeemed);
    gate.refresh(&client, &given.refresh).await;
    assert_eq!(kept.take(), [], "a refresh grants nothing new");
    gate.clock.advance(Duration::from_secs(30));
    let replayed = gate.refresh(&client, &given.refresh).await;
    let sid = claims(&given.access)["sid"].as_str().unwrap().to_owned();
    assert_says(&kept.one(&replayed), "Ended", &["RefreshTokenReplayed", &sid]);
}

#[tokio::test]
async fn a_client_that_registers_again_is_recorded_once() {
    let mut gate = TestGate::new().await;
    let kept = audited(&mut gate, |_| {}).await;
    let body = serde_json::json!({ "client_name": "Tool", "redirect_uris": ["http://127.0.0.1:33418/callback"] });
    let first = gate.post_json("/register", &body).await;
    assert_says(&kept.one(&first), "Registered", &["\"Tool\""]);
    let again = gate.post_json("/register", &body).await;
    assert_eq!((again.status, again.json()["client_id"].clone()), (201, first.json()["client_id"].clone()));
    assert_eq!(kept.take(), []);
}

#[tokio::test]
async fn the_denial_of_a_device_is_recorded_once_with_its_client() {
    let mut gate = TestGate::new().await;
    let kept = audited(&mut gate, |config| {
        config.device = Device { enabled: true, registered_clients: true };
    })
    .await;
    let metadata = serde_json::json!({ "client_name": "Agent", "grant_types": [DEVICE_CODE] });
    let client = gate.post_json("/register", &metadata).await.json()["client_id"].as_str().unwrap().to_owned();
    let asked = gate.post_form("/device_authorization", &[("client_id", &client)]).await.json();
    let mut browser = Browser::default();
    let page = browser.get(&gate, "/device").await;
    let code = asked["user_code"].as_str().unwrap();
    let page = browser.submit(&gate, &Form::on(&page.body).with("user_code", code)).await;
    kept.take();
    let no = Form::on(&page.body).with("decision", "deny");
    let denied = browser.submit(&gate, &no).await;
    assert_says(&kept.one(&denied), "Denied", &[&client, "/mcp"]);
    browser.submit(&gate, &no).await;
    browser.submit(&gate, &Form::on(&page.body).with("decision", "approve").with("identity", "local")).await;
    assert_eq!(kept.take(), [], "a double click, and a change of mind that comes too late");
}

#[tokio::test]
async fn a_denial_and_a_provider_that_refuses_are_recorded_once() {
    let mut gate = TestGate::new().await;
    let kept = audited(&mut gate, |_| {}).await;
    let client = gate.register().await;
    kept.take();
    let mut browser = Browser::default();
    let no = gate.consent_form(&mut browser, &client, &[]).await.with("decision", "deny").with("identity", "local");
    let denied = browser.submit(&gate, &no).await;
    assert_says(&kept.one(&denied), "Denied", &[&client.id, "/mcp"]);
    browser.submit(&gate, &no).await;
    assert_eq!(kept.take(), [], "a double click");

    let (mut gate, provider) = TestGate::with_provider(|_| {}).await;
    let kept = audited(&mut gate, |_| {}).await;
    let client = gate.register().await;
    let mut bench = Bench { browser: Browser::default(), client, provider, gate };
    let url = bench.approve().await;
    kept.take();
    let answer = bench.error(&url, "access_denied");
    let refused = bench.back(&answer).await;
    assert_says(&kept.one(&refused), "SignInRefused", &["keycloak", &bench.client.id, "access_denied"]);
    bench.back(&answer).await;
    assert_eq!(kept.take(), [], "a repeated answer");
}

#[tokio::test]
async fn what_ends_by_itself_names_no_request() {
    let mut gate = TestGate::new().await;
    let kept = audited(&mut gate, |_| {}).await;
    gate.tokens(&gate.register().await).await;
    kept.take();
    gate.clock.advance(Duration::from_hours(24 * 400));
    gate.app.issuer().expire().await;
    let [(event, origin)] = &kept.take()[..] else { panic!("not one event") };
    assert_says(event, "Ended", &["reason: "]);
    assert_eq!(origin, "upkeep");
}

#[tokio::test]
async fn ending_all_access_records_the_grants_and_the_cancelled_sign_ins() {
    let mut gate = TestGate::new().await;
    let kept = audited(&mut gate, |_| {}).await;
    let client = gate.register().await;
    gate.tokens(&client).await;
    gate.code(&client).await;
    let mut browser = Browser::default();
    alice(&gate, &mut browser).await;
    let form = question(&gate, &mut browser, "all=yes").await;
    kept.take();
    let answer = browser.submit(&gate, &form).await;
    let [(cancelled, _), (ended, _)] = &kept.take()[..] else { panic!("not two events") };
    assert_says(cancelled, "SignInsCancelled", &["Some(\"local|", "client: None", "count: 1"]);
    assert_says(ended, "Ended", &["reason: User"]);
    assert_eq!(answer.status, 303);
    browser.submit(&gate, &form).await;
    assert_eq!(kept.take(), [], "nothing is left to end");
}

#[tokio::test]
async fn a_code_that_is_guessed_at_is_reported_once() {
    let mut gate = TestGate::new().await;
    let kept = audited(&mut gate, |_| {}).await;
    let (client, other) = (gate.register().await, gate.register_named("other").await);
    let code = gate.code(&client).await;
    kept.take();
    let mut events = Vec::new();
    for _ in 0..10 {
        gate.redeem(&other, &code).await;
        events.extend(kept.take());
    }
    assert_eq!(events.len(), 1, "{events:?}");
    assert_says(&events[0].0, "CodeAttacked", &[&other.id, "failures: 5"]);
}

/// Calls ten times; the only event is of the first call.
async fn ten_calls(gate: &TestGate, kept: &Kept, headers: &[(&str, &str)], status: u16) -> String {
    let call = async || {
        let request =
            headers.iter().fold(gate.request("GET", "/mcp"), |request, (name, value)| request.header(*name, *value));
        let answer = gate.send(request, "").await;
        assert_eq!(answer.status, status, "{answer:?}");
        answer
    };
    let event = kept.one(&call().await);
    for _ in 0..9 {
        call().await;
    }
    assert_eq!(kept.take(), []);
    event
}

#[tokio::test]
async fn misuse_of_a_token_is_reported_once_for_each_grant_and_kind() {
    let mut gate = TestGate::new().await;
    let given = gate.tokens(&gate.register().await).await;
    let (bearer, claims) = (format!("Bearer {}", given.access), claims(&given.access));
    let text = |name: &str| format!("\"{}\"", claims[name].as_str().unwrap());
    let caller = [text("sid"), text("sub"), text("client_id")];
    let caller = caller.each_ref().map(|text| text.trim_matches('"'));

    let kept = audited(&mut gate, |_| {}).await;
    let headers = [("authorization", &*bearer), ("mcp-session-id", "another.users")];
    assert_says(
        &ten_calls(&gate, &kept, &headers, 404).await,
        "UnknownSession",
        &[caller[0], caller[1], caller[2], "\"mcp\""],
    );

    let headers = [("authorization", &*bearer)];
    let other =
        |config: &mut Config| config.upstreams[0].settings.scopes.required = ScopeSet::empty().with("mcp:other");
    let denied = audited(&mut gate, other).await;
    let event = ten_calls(&gate, &denied, &headers, 403).await;
    assert_says(
        &event,
        "CallDenied",
        &[caller[0], caller[1], caller[2], "\"mcp\"", "rule: \"scopes\"", "\"mcp:other\""],
    );

    let kept = audited(&mut gate, |config| {
        config.upstreams[0].settings.scopes.required = ScopeSet::empty().with("mcp:access");
    })
    .await;
    assert_eq!(gate.call(&given.access).await.status, 200);
    let (grant, now) = (caller[0].into(), gate.clock.now());
    let reason = portcullis::model::grant::EndReason::IdentityProvider;
    gate.app.store().end_grant(&grant, reason, now).await.unwrap().unwrap();
    gate.app.revocation().note_ended(&grant);
    assert_says(&ten_calls(&gate, &kept, &headers, 401).await, "EndedGrantUsed", &caller);

    let kept = audited(&mut gate, |_| {}).await;
    assert_says(&ten_calls(&gate, &kept, &headers, 401).await, "EndedGrantUsed", &caller);
}

#[tokio::test]
async fn a_request_without_a_valid_token_causes_no_audit_event() {
    let mut gate = TestGate::new().await;
    let kept = audited(&mut gate, |_| {}).await;
    let given = gate.tokens(&gate.register().await).await;
    kept.take();
    let (head, _signature) = given.access.rsplit_once('.').unwrap();
    for forged in ["", "a.b.c", &format!("{head}.AAAA")] {
        for method in ["GET", "POST", "DELETE"] {
            let request = gate.request(method, "/mcp").header("authorization", format!("Bearer {forged}"));
            let answer = gate.send(request.header("mcp-session-id", "another.users"), "").await;
            assert_eq!(answer.status, 401, "{answer:?}");
        }
    }
    gate.send(gate.request("GET", "/mcp").header("mcp-session-id", "another.users"), "").await;
    gate.redeem(&crate::support::gate::TestClient { id: "c_x".to_owned(), redirect_uri: String::new() }, "no").await;
    assert_eq!(kept.take(), []);
}
