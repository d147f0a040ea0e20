//! Device authorization (RFC 8628): the device, the user who types its code, and those who would like to be one of them.

use std::net::IpAddr;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use portcullis::config::{BoundTokens, Config, ConfiguredClient, Device};
use portcullis::oauth::client_metadata::AuthMethod;
use portcullis::oauth::grant_type::DEVICE_CODE;
use portcullis::storage::GrantFilter;
use serde_json::{Value, json};

use crate::engines::also_on_postgres;
use crate::support::bench::Bench;
use crate::support::browser::{Browser, ELSEWHERE, Form, location, parameter};
use crate::support::database::number;
use crate::support::dpop::{self, Holder};
use crate::support::gate::{Answer, TestClient, TestGate, WORKS, as_alice, claims, tokens, upstream};

also_on_postgres! {
    a_device_gets_tokens_when_its_user_has_signed_in,
    a_device_that_polls_too_often_is_slowed_down_in_every_process,
    of_64_polls_at_once_in_two_processes_one_succeeds,
    an_expired_code_is_told_to_the_device_and_unknown_to_users,
    the_first_answer_counts_from_whichever_browser,
    of_many_answers_at_once_in_two_processes_one_counts,
    an_operator_who_ends_a_users_grants_takes_back_what_a_device_was_about_to_get,
}

const SECOND: Duration = Duration::from_secs(1);
/// In time for the next poll.
const INTERVAL: Duration = Duration::from_secs(5);

fn enabled(config: &mut Config) {
    config.device = Device { enabled: true, registered_clients: true };
}

/// Registers a client for devices, without a redirect URI.
async fn device_client(gate: &TestGate, name: &str) -> String {
    let metadata = json!({"client_name": name, "grant_types": [DEVICE_CODE, "refresh_token"]});
    let answer = gate.post_json("/register", &metadata).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["grant_types"], json!(["refresh_token", DEVICE_CODE]));
    answer.json()["client_id"].as_str().unwrap().to_owned()
}

/// What a device was given.
struct Asked {
    client: String,
    device_code: String,
    user_code: String,
    answer: Value,
}

async fn ask(gate: &TestGate, client: &str) -> Asked {
    let answer = gate.post_form("/device_authorization", &[("client_id", client)]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    Asked {
        client: client.to_owned(),
        device_code: text("device_code"),
        user_code: text("user_code"),
        answer: answer.json(),
    }
}

async fn poll(gate: &TestGate, asked: &Asked) -> Answer {
    poll_as(gate, &asked.client, &asked.device_code).await
}

async fn poll_as(gate: &TestGate, client: &str, device_code: &str) -> Answer {
    let fields = [("grant_type", DEVICE_CODE), ("client_id", client), ("device_code", device_code)];
    gate.post_form("/token", &fields).await
}

/// Types a code; answers the page.
async fn enter(gate: &TestGate, browser: &mut Browser, code: &str) -> Answer {
    let page = browser.get(gate, "/device").await;
    browser.submit(gate, &Form::on(&page.body).with("user_code", code)).await
}

/// The form of the question about a device.
async fn question(gate: &TestGate, browser: &mut Browser, asked: &Asked) -> Form {
    let page = enter(gate, browser, &asked.user_code).await;
    assert_eq!(page.status, 200, "{page:?}");
    Form::on(&page.body)
}

fn approve(form: &Form) -> Form {
    form.clone().with("decision", "approve").with("identity", "local")
}

fn deny(form: &Form) -> Form {
    form.clone().with("decision", "deny").with("identity", "local")
}

/// Approves a device and signs in.
async fn connect(gate: &TestGate, browser: &mut Browser, asked: &Asked) {
    let form = question(gate, browser, asked).await;
    let approved = browser.submit(gate, &approve(&form)).await;
    let page = browser.get(gate, &location(&approved)).await;
    assert!(page.body.contains("will use"), "{page:?}");
    let done = browser.submit(gate, &as_alice(&page)).await;
    assert!(done.status == 200 && done.body.contains("The device is connected"), "{done:?}");
    assert!(done.header("location").is_empty() && !done.body.contains("pcc_") && !done.body.contains("pcd_"));
}

#[tokio::test]
async fn a_device_gets_tokens_when_its_user_has_signed_in() {
    let gate = TestGate::with(enabled).await;
    let client = device_client(&gate, "Build agent").await;
    let asked = ask(&gate, &client).await;
    assert_eq!(asked.answer["verification_uri"], format!("{}/device", gate.origin()));
    assert_eq!(
        asked.answer["verification_uri_complete"],
        format!("{}/device?user_code={}", gate.origin(), asked.user_code)
    );
    assert_eq!((&asked.answer["expires_in"], &asked.answer["interval"]), (&json!(600), &json!(5)));
    assert_eq!(poll(&gate, &asked).await.error(), "authorization_pending");
    connect(&gate, &mut Browser::default(), &asked).await;
    gate.clock.advance(INTERVAL);
    let answer = poll(&gate, &asked).await;
    let given = tokens(&answer);
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    let fields = [("grant_type", "refresh_token"), ("client_id", &client), ("refresh_token", &given.refresh)];
    assert_eq!(gate.post_form("/token", &fields).await.status, 200);
    gate.clock.advance(INTERVAL);
    assert_eq!(poll(&gate, &asked).await.error(), "invalid_grant", "a replay");
    let as_code = [("grant_type", "authorization_code"), ("client_id", &*client), ("code", &*asked.device_code)];
    assert_eq!(gate.post_form("/token", &as_code).await.error(), "invalid_grant");
}

#[tokio::test]
async fn it_is_off_unless_the_operator_switches_it_on() {
    let gate = TestGate::new().await;
    let answer = gate.post_json("/register", &json!({"grant_types": [DEVICE_CODE]})).await;
    assert_eq!(answer.error(), "invalid_redirect_uri", "a client that could do nothing");
    let client = gate.register().await.id;
    for path in ["/device", "/device_authorization", "/device/answer"] {
        assert_eq!(gate.get(path).await.status, 404, "{path}");
    }
    assert_eq!(poll_as(&gate, &client, "pcd_x").await.error(), "unsupported_grant_type");
    let metadata = gate.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["device_authorization_endpoint"], Value::Null);
    assert_eq!(metadata["grant_types_supported"], json!(["authorization_code", "refresh_token"]));
    let on = TestGate::with(enabled).await;
    let metadata = on.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["device_authorization_endpoint"], format!("{}/device_authorization", on.origin()));
    assert_eq!(metadata["grant_types_supported"], json!(["authorization_code", "refresh_token", DEVICE_CODE]));
}

#[tokio::test]
async fn only_clients_with_the_grant_type_may_use_it() {
    let gate = TestGate::with(|config| {
        config.device.enabled = true;
        config.clients.push(ConfiguredClient {
            client_id: "agent".to_owned(),
            name: Some("Agent".to_owned()),
            redirect_uris: Vec::new(),
            client_secret: Some("s3cret".to_owned().into()),
            auth_method: AuthMethod::ClientSecretPost,
            device: true,
            keys: None,
            machine: None,
            dpop_bound: false,
            introspects: Vec::new(),
        });
    })
    .await;
    let metadata =
        json!({"redirect_uris": ["http://127.0.0.1/cb"], "grant_types": ["authorization_code", DEVICE_CODE]});
    let answer = gate.post_json("/register", &metadata).await;
    assert_eq!(answer.json()["grant_types"], json!(["authorization_code"]), "registered clients do not get it");
    let client = answer.json()["client_id"].as_str().unwrap().to_owned();
    for answer in [
        gate.post_form("/device_authorization", &[("client_id", &client)]).await,
        poll_as(&gate, &client, "pcd_x").await,
    ] {
        assert_eq!((answer.status, answer.error().as_str()), (400, "unauthorized_client"), "{answer:?}");
    }
    for (secret, status) in [("", 401), ("wrong", 401), ("s3cret", 200)] {
        let fields = [("client_id", "agent"), ("client_secret", secret)];
        assert_eq!(gate.post_form("/device_authorization", &fields).await.status, status, "{secret}");
    }
    assert_eq!(gate.post_form("/device_authorization", &[("client_id", "unknown")]).await.error(), "invalid_client");
    let authorize = gate.get("/authorize?response_type=code&client_id=agent&redirect_uri=https://evil.example").await;
    assert_eq!((authorize.status, authorize.header("location")), (400, ""), "{authorize:?}");
}

#[tokio::test]
async fn the_resource_follows_the_rules_of_authorize() {
    let gate = TestGate::with(|config| {
        enabled(config);
        config.upstreams.push(upstream(&config.public_url, "other", "http://127.0.0.1:9/"));
    })
    .await;
    let client = device_client(&gate, "Agent").await;
    let other = format!("{}/other", gate.origin());
    for (resource, error) in
        [(None, "invalid_target"), (Some("https://evil.example/"), "invalid_target"), (Some(&*other), "")]
    {
        let mut fields = vec![("client_id", client.as_str())];
        fields.extend(resource.map(|resource| ("resource", resource)));
        let answer = gate.post_form("/device_authorization", &fields).await;
        assert_eq!(answer.error(), error, "{answer:?}");
    }
    let twice = [("client_id", client.as_str()), ("scope", "a"), ("scope", "b"), ("resource", &other)];
    assert_eq!(gate.post_form("/device_authorization", &twice).await.error(), "invalid_request");
}

#[tokio::test]
async fn a_device_that_polls_too_often_is_slowed_down_in_every_process() {
    let gate = TestGate::with(enabled).await;
    let twin = gate.twin().await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    assert_eq!(poll(&gate, &asked).await.error(), "authorization_pending");
    gate.clock.advance(4 * SECOND);
    assert_eq!(poll(&gate, &asked).await.error(), "slow_down");
    assert_eq!(poll(&twin, &asked).await.error(), "authorization_pending", "the first poll there");
    gate.clock.advance(6 * SECOND);
    assert_eq!(poll(&twin, &asked).await.error(), "slow_down", "the interval is 10 s for all");
    gate.clock.advance(15 * SECOND);
    assert_eq!(poll(&twin, &asked).await.error(), "authorization_pending", "15 s now");
    let stored = "SELECT poll_interval FROM device_codes";
    assert_eq!(number(&gate.config.storage, stored).await, 15);
    for _ in 0..100 {
        assert_eq!(poll(&twin, &asked).await.error(), "slow_down");
    }
    assert_eq!(number(&gate.config.storage, stored).await, 60, "it has an end, and with it the writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_polls_at_once_in_two_processes_one_succeeds() {
    let gate = TestGate::with(enabled).await;
    let twin = gate.twin().await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    connect(&gate, &mut Browser::default(), &asked).await;
    let polls = (0..64).map(|number| poll(if number % 2 == 0 { &gate } else { &twin }, &asked));
    let answers = futures_util::future::join_all(polls).await;
    let good: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(good.len(), 1, "{answers:?}");
    assert_eq!(gate.call(&tokens(good[0]).access).await.status, WORKS);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(["slow_down", "invalid_grant"].contains(&answer.error().as_str()), "{answer:?}");
    }
}

#[tokio::test]
async fn a_device_code_is_bound_to_its_client() {
    let gate = TestGate::with(enabled).await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    let thief = device_client(&gate, "Thief").await;
    assert_eq!(poll_as(&gate, &thief, &asked.device_code).await.error(), "invalid_grant");
    connect(&gate, &mut Browser::default(), &asked).await;
    assert_eq!(poll_as(&gate, &thief, &asked.device_code).await.error(), "invalid_grant");
    tokens(&poll(&gate, &asked).await);
    let other = portcullis::secret::Token::<portcullis::secret::DeviceCode>::generate();
    for unknown in ["", "x", other.expose()] {
        let error = poll_as(&gate, &asked.client, unknown).await.error();
        assert_eq!(error, if unknown.is_empty() { "invalid_request" } else { "invalid_grant" });
    }
}

#[tokio::test]
async fn an_expired_code_is_told_to_the_device_and_unknown_to_users() {
    let gate = TestGate::with(enabled).await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    let mut browser = Browser::default();
    let form = question(&gate, &mut browser, &asked).await;
    let mut slow = browser.slow();
    gate.clock.advance(600 * SECOND);
    assert_eq!(poll(&gate, &asked).await.error(), "expired_token");
    assert_eq!(enter(&gate, &mut Browser::default(), &asked.user_code).await.status, 422);
    let late = slow.submit(&gate, &approve(&form)).await;
    assert!(late.status == 400 && late.body.contains("This code is no longer good"), "{late:?}");
    gate.clock.advance(600 * SECOND);
    gate.app.issuer().expire().await;
    assert_eq!(poll(&gate, &asked).await.error(), "invalid_grant", "forgotten");
}

#[tokio::test]
async fn a_sign_in_that_ends_after_the_device_gave_up_is_refused() {
    let gate = TestGate::with(enabled).await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    let mut browser = Browser::default();
    let form = question(&gate, &mut browser, &asked).await;
    gate.clock.advance(590 * SECOND);
    let approved = browser.submit(&gate, &approve(&form)).await;
    let page = browser.get(&gate, &location(&approved)).await;
    let mut slow = browser.slow();
    let mut prompt = slow.clone();
    let form = as_alice(&page);
    gate.clock.advance(9 * SECOND);
    assert_eq!(prompt.submit(&gate, &form).await.status, 200);
    gate.clock.advance(30 * SECOND);
    tokens(&poll(&gate, &asked).await);

    let asked = ask(&gate, &asked.client).await;
    let form = question(&gate, &mut slow, &asked).await;
    let approved = slow.submit(&gate, &approve(&form)).await;
    let form = as_alice(&slow.get(&gate, &location(&approved)).await);
    let mut later = slow.slow();
    gate.clock.advance(600 * SECOND);
    assert_eq!(later.submit(&gate, &form).await.status, 400);
    assert_eq!(poll(&gate, &asked).await.error(), "expired_token");
}

#[tokio::test]
async fn a_denial_is_told_to_the_device_and_final() {
    let gate = TestGate::with(enabled).await;
    let client = device_client(&gate, "Agent").await;
    let asked = ask(&gate, &client).await;
    let mut browser = Browser::default();
    let form = question(&gate, &mut browser, &asked).await;
    for _ in 0..2 {
        let denied = browser.submit(&gate, &deny(&form)).await;
        assert!(denied.status == 200 && denied.body.contains("You denied access"), "{denied:?}");
    }
    let after = browser.submit(&gate, &approve(&form)).await;
    assert!(after.body.contains("You denied access") && after.header("location").is_empty(), "{after:?}");
    assert_eq!(poll(&gate, &asked).await.error(), "access_denied");
    let answered = enter(&gate, &mut Browser::default(), &asked.user_code).await;
    assert!(answered.status == 422 && answered.body.contains("answered before"), "{answered:?}");

    let asked = ask(&gate, &client).await;
    let form = question(&gate, &mut browser, &asked).await;
    assert_eq!(browser.submit(&gate, &approve(&form)).await.status, 303);
    let denied = browser.submit(&gate, &deny(&form)).await;
    assert!(denied.body.contains("You denied access"), "before the sign-in has ended: {denied:?}");
    assert_eq!(poll(&gate, &asked).await.error(), "access_denied");
}

#[tokio::test]
async fn the_first_answer_counts_from_whichever_browser() {
    let gate = TestGate::with(enabled).await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    let (mut first, mut second) = (Browser::default(), Browser::default());
    let (one, other) = (question(&gate, &mut first, &asked).await, question(&gate, &mut second, &asked).await);
    let approved = first.submit(&gate, &approve(&one)).await;
    for form in [approve(&other), deny(&other)] {
        let late = second.submit(&gate, &form).await;
        assert!(late.status == 400 && late.body.contains("no longer good"), "{late:?}");
    }
    let again = first.submit(&gate, &approve(&one)).await;
    assert_eq!(location(&again), location(&approved), "a double click");
    let page = first.get(&gate, &location(&approved)).await;
    first.submit(&gate, &as_alice(&page)).await;
    let done = first.submit(&gate, &approve(&one)).await;
    assert!(done.body.contains("The device is connected"), "{done:?}");
    let too_late = first.submit(&gate, &deny(&one)).await;
    assert!(too_late.body.contains("The device is connected"), "{too_late:?}");
    tokens(&poll(&gate, &asked).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_answers_at_once_in_two_processes_one_counts() {
    let gate = TestGate::with(enabled).await;
    let twin = gate.twin().await;
    let client = device_client(&gate, "Agent").await;
    for _ in 0..5 {
        let asked = ask(&gate, &client).await;
        let mut forms = Vec::new();
        for number in 0..16 {
            let mut browser = Browser::default();
            let form = question(&gate, &mut browser, &asked).await;
            forms.push((browser, if number % 2 == 0 { approve(&form) } else { deny(&form) }, number % 4 < 2));
        }
        let answers = forms.into_iter().map(|(mut browser, form, here)| {
            let gate = if here { &gate } else { &twin };
            async move { browser.submit(gate, &form).await.status }
        });
        let answers = futures_util::future::join_all(answers).await;
        assert_eq!(answers.iter().filter(|status| **status != 400).count(), 1, "{answers:?}");
    }
}

#[tokio::test]
async fn csrf_a_form_counts_in_the_browser_that_was_shown_it_and_from_our_origin() {
    let gate = TestGate::with(enabled).await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    let mut browser = Browser::default();
    let entry = Form::on(&browser.get(&gate, "/device").await.body).with("user_code", &asked.user_code);
    assert_eq!(Browser::default().submit(&gate, &entry).await.status, 403);
    let form = question(&gate, &mut browser, &asked).await;
    for answer in [approve(&form), deny(&form)] {
        assert_eq!(Browser::default().submit(&gate, &answer).await.status, 403);
        for header in ELSEWHERE {
            assert_eq!(browser.submit_saying(&gate, &answer, &[header]).await.status, 400, "{header:?}");
            assert_eq!(browser.submit_saying(&gate, &entry, &[header]).await.status, 400, "{header:?}");
        }
    }
    assert_eq!(poll(&gate, &asked).await.error(), "authorization_pending", "nothing was answered");
}

#[tokio::test]
async fn phishing_a_link_fills_in_a_code_and_does_nothing_else() {
    let gate = TestGate::with(enabled).await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    let mut browser = Browser::default();
    let link = asked.answer["verification_uri_complete"].as_str().unwrap().strip_prefix(gate.origin()).unwrap();
    let page = browser.get(&gate, link).await;
    assert!(page.body.contains(&format!("value=\"{}\"", asked.user_code)), "{page:?}");
    assert!(page.body.contains("exactly this code") && page.body.contains("Were you sent a code"), "{page:?}");
    assert_eq!(poll(&gate, &asked).await.error(), "authorization_pending");
    for hostile in ["call%200800-EVIL%20now", "%3Cscript%3E", "BBBB-BBBB%22onfocus"] {
        let page = browser.get(&gate, &format!("/device?user_code={hostile}")).await;
        for words in ["EVIL", "<script>", "onfocus"] {
            assert!(page.status == 200 && !page.body.contains(words), "{page:?}");
        }
    }
}

#[tokio::test]
async fn phishing_the_page_says_who_asks_from_where_and_since_when() {
    let gate = TestGate::with(enabled).await;
    let client = device_client(&gate, "Microsoft Office").await;
    let request = |peer: &'static str| {
        let request = gate
            .request("POST", "/device_authorization")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("user-agent", "evil-agent/6.6");
        gate.send_from(peer.parse::<IpAddr>().unwrap(), request, format!("client_id={client}"))
    };
    let mut browser = Browser::default();
    for (peer, elsewhere) in [("203.0.113.66", true), ("::ffff:127.0.0.1", false)] {
        let code = request(peer).await.json()["user_code"].as_str().unwrap().to_owned();
        gate.clock.advance(125 * SECOND);
        let page = enter(&gate, &mut browser, &code.to_lowercase().replace('-', " ")).await;
        let words =
            ["Microsoft Office", "Nobody has checked that name", "2 minutes ago", "evil-agent", "Server mcp", &code];
        for words in words {
            assert!(page.body.contains(words), "{words} is not on the page: {page:?}");
        }
        assert_eq!(page.body.contains("203.0.113.66"), elsewhere, "{page:?}");
        assert_eq!(page.body.contains("in another network"), elsewhere, "{page:?}");
        assert!(page.body.contains("on a device in front of you"), "{page:?}");
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"), "clickjacking");
    }
}

#[tokio::test]
async fn brute_force_codes_cannot_be_guessed_by_a_form_nor_by_an_address() {
    let gate = TestGate::with(enabled).await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    let mut browser = Browser::default();
    let form = Form::on(&browser.get(&gate, "/device").await.body);
    for _ in 0..6 {
        let wrong = browser.submit(&gate, &form.clone().with("user_code", "BBBB-BBBB")).await;
        assert!(wrong.status == 422 && wrong.body.contains("No device shows this code"), "{wrong:?}");
    }
    let limited = browser.submit(&gate, &form.clone().with("user_code", &asked.user_code)).await;
    assert_eq!(limited.status, 429, "not even the right one: {limited:?}");
    assert!(limited.body.contains("Too many codes were typed") && !limited.header("retry-after").is_empty());
    for _ in 0..19 {
        let form = Form::on(&browser.get(&gate, "/device").await.body).with("user_code", "no code");
        for _ in 0..6 {
            assert_eq!(browser.submit(&gate, &form).await.status, 422);
        }
    }
    let fresh = enter(&gate, &mut Browser::default(), &asked.user_code).await;
    assert_eq!(fresh.status, 429, "another browser at this address: {fresh:?}");
}

#[tokio::test]
async fn one_address_cannot_ask_for_codes_without_end() {
    let gate = TestGate::with(enabled).await;
    let client = device_client(&gate, "Agent").await;
    for _ in 0..300 {
        ask(&gate, &client).await;
    }
    let answer = gate.post_form("/device_authorization", &[("client_id", &client)]).await;
    assert_eq!((answer.status, answer.error().as_str()), (429, "temporarily_unavailable"), "{answer:?}");
    ask(&gate, &device_client(&gate, "Another").await).await;
}

#[tokio::test]
async fn flood_one_address_cannot_take_the_place_of_others_by_registering_more_clients() {
    let gate = TestGate::with(enabled).await;
    let mut given = 0;
    for number in 0..4 {
        let client = device_client(&gate, &format!("Agent {number}")).await;
        while gate.post_form("/device_authorization", &[("client_id", &client)]).await.status == 200 {
            given += 1;
        }
    }
    assert_eq!(given, 900, "of the 10,000 codes that may be open for all");
    let client = device_client(&gate, "Agent 0").await;
    let request =
        gate.request("POST", "/device_authorization").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let elsewhere = gate.send_from("203.0.113.7".parse().unwrap(), request, format!("client_id={client}")).await;
    assert_eq!(elsewhere.status, 200, "another address: {elsewhere:?}");
}

#[tokio::test]
async fn flood_a_page_asks_for_no_codes_in_the_name_of_its_visitors() {
    let gate = TestGate::with(enabled).await;
    let client = device_client(&gate, "Agent").await;
    let form = format!("client_id={client}");
    let from_page = |origin: &str| {
        let request = gate
            .request("POST", "/device_authorization")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("origin", origin);
        gate.send(request, form.clone())
    };
    for origin in ["https://evil.example", "null", gate.origin()] {
        let answer = from_page(origin).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_request"), "{origin}: {answer:?}");
    }
    assert_eq!(number(&gate.config.storage, "SELECT count(*) FROM device_codes").await, 0);
}

#[tokio::test]
async fn a_client_that_registered_while_it_was_allowed_loses_the_device_grant_with_the_setting() {
    let gate = TestGate::with(enabled).await;
    let client = device_client(&gate, "Agent").await;
    let (waiting, approved) = (ask(&gate, &client).await, ask(&gate, &client).await);
    connect(&gate, &mut Browser::default(), &approved).await;
    let closed = gate.twin_with(|config| config.device.registered_clients = false).await;
    for answer in [
        closed.post_form("/device_authorization", &[("client_id", &client)]).await,
        poll(&closed, &waiting).await,
        poll(&closed, &approved).await,
    ] {
        assert_eq!((answer.status, answer.error().as_str()), (400, "unauthorized_client"), "{answer:?}");
    }
    let page = enter(&closed, &mut Browser::default(), &waiting.user_code).await;
    assert!(page.status == 400 && page.body.contains("no longer good"), "the user is not asked about it: {page:?}");
}

#[tokio::test]
async fn nothing_that_is_stored_gives_away_a_code() {
    let gate = TestGate::with(enabled).await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    let letters = asked.user_code.replace('-', "");
    for (what, text) in [("device code", &asked.device_code), ("user code", &asked.user_code), ("letters", &letters)] {
        let hash = data_encoding::HEXUPPER.encode(portcullis::secret::Sha256::of(text.as_bytes()).as_bytes());
        let plain = format!(
            "SELECT count(*) FROM device_codes WHERE instr(hash, '{text}') + instr(user_code, '{text}') + instr(request, '{text}')"
        );
        assert_eq!(number(&gate.config.storage, &plain).await, 0, "{what}");
        let hashed = format!("SELECT count(*) FROM device_codes WHERE hex(user_code) = '{hash}'");
        assert_eq!(number(&gate.config.storage, &hashed).await, 0, "{what}: a hash could be inverted");
    }
    // after a rotation of the root keys codes of the older one are found
    let rotated =
        gate.twin_with(|config| config.secrets.keys.insert(0, portcullis::config::RootKey::from_bytes([8; 32]))).await;
    assert_eq!(enter(&rotated, &mut Browser::default(), &asked.user_code).await.status, 200);
}

#[tokio::test]
async fn what_the_provider_refuses_is_a_denial_for_the_device() {
    let mut bench = Bench::with(enabled).await;
    let client = device_client(&bench.gate, "Agent").await;
    for refused in [false, true] {
        let asked = ask(&bench.gate, &client).await;
        let form = question(&bench.gate, &mut bench.browser, &asked).await;
        let form = form.with("decision", "approve").with("identity", "keycloak");
        let url = location(&bench.browser.submit(&bench.gate, &form).await);
        assert!(parameter(&url, "scope").unwrap().contains("offline_access"), "{url}");
        let back = if refused { bench.error(&url, "access_denied") } else { bench.provider.visit(&url) };
        let page = bench.back(&back).await;
        let words = if refused { "so the device gets no access" } else { "The device is connected" };
        assert!(page.status == 200 && page.body.contains(words), "{page:?}");
        let again = bench.back(&back).await;
        assert!(again.body.contains(words), "a second answer: {again:?}");
        let answer = poll(&bench.gate, &asked).await;
        if refused {
            assert_eq!(answer.error(), "access_denied");
            continue;
        }
        // the provider's standing is kept with the grant: when it ends the user's sessions, the device's grant ends too
        let given = tokens(&answer);
        bench.provider.end_sessions();
        bench.gate.clock.advance(INTERVAL);
        let fields = [("grant_type", "refresh_token"), ("client_id", &client), ("refresh_token", &given.refresh)];
        assert_eq!(bench.gate.post_form("/token", &fields).await.error(), "invalid_grant");
    }
}

#[tokio::test]
async fn an_operator_who_ends_a_users_grants_takes_back_what_a_device_was_about_to_get() {
    let gate = TestGate::with(enabled).await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    connect(&gate, &mut Browser::default(), &asked).await;
    let filter = GrantFilter { subject: Some("local|alice".to_owned()), ..GrantFilter::default() };
    assert_eq!(gate.app.store().cancel_sign_ins(&filter).await.unwrap(), 1);
    assert_eq!(poll(&gate, &asked).await.error(), "access_denied");
}

#[tokio::test]
async fn the_users_page_shows_a_device_and_ends_its_access() {
    let gate = TestGate::with(enabled).await;
    let asked = ask(&gate, &device_client(&gate, "Agent").await).await;
    let mut browser = Browser::default();
    connect(&gate, &mut browser, &asked).await;
    let given = tokens(&poll(&gate, &asked).await);
    let entry = Form::on(&browser.get(&gate, "/account").await.body).with("identity", "local");
    let page = browser.submit(&gate, &entry).await;
    let page = browser.get(&gate, &location(&page)).await;
    browser.submit(&gate, &as_alice(&page)).await;
    assert!(browser.get(&gate, "/account").await.body.contains("Agent"));
    let form = Form::on(&browser.get(&gate, "/account/end?all=yes").await.body);
    browser.submit(&gate, &form).await;
    assert_eq!(gate.call(&given.access).await.status, 401);
}

#[tokio::test]
async fn a_device_that_proves_a_key_gets_tokens_that_are_bound_to_it() {
    let gate = TestGate::with(|config| {
        enabled(config);
        dpop::take(config, BoundTokens::Required);
    })
    .await;
    let client = device_client(&gate, "Build agent").await;
    let (asked, holder) = (ask(&gate, &client).await, Holder::new());
    let polled = async |proofs: &[&str]| {
        gate.clock.advance(INTERVAL);
        let fields = [("grant_type", DEVICE_CODE), ("client_id", &*client), ("device_code", &*asked.device_code)];
        dpop::ask(&gate, &fields, proofs).await
    };
    let waiting = holder.for_tokens(&gate);
    assert_eq!(polled(&[&waiting]).await.error(), "authorization_pending");
    connect(&gate, &mut Browser::default(), &asked).await;
    assert_eq!(polled(&[]).await.error(), "invalid_dpop_proof", "and the code stays good");
    let without_nonce = holder.edited(&gate, ("POST", "/token"), |_, claims| claims["nonce"] = Value::Null);
    assert_eq!(polled(&[&without_nonce]).await.error(), "use_dpop_nonce");
    let proof = holder.for_tokens(&gate);
    let given = tokens(&polled(&[&proof]).await);
    assert_eq!(claims(&given.access)["cnf"]["jkt"], json!(holder.jkt()));
    assert_eq!(holder.call(&gate, &given.access).await.status, WORKS);
    assert_eq!(gate.call(&given.access).await.status, 401);
    let thief = Holder::new();
    let client = TestClient { id: client.clone(), redirect_uri: String::new() };
    assert_eq!(thief.refresh(&gate, &client, &given.refresh).await.error(), "invalid_grant");
    assert_eq!(gate.refresh(&client, &given.refresh).await.error(), "invalid_dpop_proof");
    assert_eq!(holder.refresh(&gate, &client, &given.refresh).await.json()["token_type"], "DPoP");
}
