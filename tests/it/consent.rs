//! Consent, and its binding to one browser (CSRF, login CSRF).

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis::model::authorization::{Purpose, Stage};
use portcullis::model::ids::AuthorizationId;
use portcullis::oauth::scope::ScopeSet;

use crate::support::browser::{Browser, ELSEWHERE, Form, location, parameter};
use crate::support::gate::{TestGate, as_alice, upstream};

fn approve(form: &Form) -> Form {
    form.clone().with("decision", "approve").with("identity", "local")
}

#[tokio::test]
async fn two_tabs_of_one_browser_both_finish_their_sign_in() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let first = gate.consent_form(&mut browser, &client, &[("state", "one")]).await;
    let second = gate.consent_form(&mut browser, &client, &[("state", "two")]).await;
    for (form, state) in [(first, "one"), (second, "two")] {
        let approved = browser.submit(&gate, &approve(&form)).await;
        let page = browser.get(&gate, &location(&approved)).await;
        let form = as_alice(&page);
        let url = location(&browser.submit(&gate, &form).await);
        assert_eq!(parameter(&url, "state").as_deref(), Some(state));
        assert!(parameter(&url, "code").is_some());
        assert_eq!(parameter(&url, "iss").as_deref(), Some(gate.origin()));
    }
}

#[tokio::test]
async fn approving_twice_is_idempotent() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = approve(&gate.consent_form(&mut browser, &client, &[]).await);
    let first = browser.submit(&gate, &form).await;
    let second = browser.submit(&gate, &form).await;
    assert_eq!(location(&first), location(&second));
    assert_eq!(first.header("set-cookie"), second.header("set-cookie"));
}

#[tokio::test]
async fn a_consent_form_posted_after_the_sign_in_offers_to_finish() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = approve(&gate.consent_form(&mut browser, &client, &[]).await);
    let approved = browser.submit(&gate, &form).await;
    let page = browser.get(&gate, &location(&approved)).await;
    let sign_in = as_alice(&page);
    let url = location(&browser.submit(&gate, &sign_in).await);

    let again = browser.submit(&gate, &form).await;
    assert_eq!(again.status, 200);
    assert!(again.header("location").is_empty(), "never an automatic redirect: the client would redeem twice");
    let link = url.replace('&', "&#38;");
    assert!(again.body.contains(&link), "{again:?} does not link to {link}");

    assert_eq!(gate.redeem(&client, &parameter(&url, "code").unwrap()).await.status, 200);
    let after = browser.submit(&gate, &form).await;
    assert!(!after.body.contains("code="), "a redeemed code is not shown again");
}

#[tokio::test]
async fn deny_is_reported_to_the_client_and_final() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = gate.consent_form(&mut browser, &client, &[]).await;
    let mut other_tab = browser.clone();
    let no = form.clone().with("decision", "deny").with("identity", "local");
    let denied = browser.submit(&gate, &no).await;
    let url = location(&denied);
    assert_eq!(parameter(&url, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(&url, "state").as_deref(), Some("client-state"));
    assert_eq!(parameter(&url, "iss").as_deref(), Some(gate.origin()));
    for tab in [&mut browser, &mut other_tab] {
        let after = tab.submit(&gate, &approve(&form)).await;
        assert_eq!((after.status, after.header("set-cookie")), (200, ""), "a later approval has no effect: {after:?}");
        assert!(after.body.contains("<h1>You denied access</h1>"), "{after:?}");
    }
    let stranger = Browser::default().submit(&gate, &approve(&form)).await;
    assert_eq!(stranger.status, 403, "{stranger:?}");
    assert_eq!(location(&other_tab.submit(&gate, &no).await), url, "a double click is told the same");
}

#[tokio::test]
async fn a_denial_is_recorded_without_an_identity_and_keeps_the_form_from_being_approved() {
    let gate = TestGate::new().await;
    let (client, mut browser) = (gate.register().await, Browser::default());
    let form = gate.consent_form(&mut browser, &client, &[]).await;
    let denied = browser.submit(&gate, &form.clone().with("decision", "deny").with("identity", "local")).await;
    assert_eq!(parameter(&location(&denied), "error").as_deref(), Some("access_denied"));
    let cookie = browser.cookies.keys().find(|name| name.contains("-c-")).unwrap();
    let id = AuthorizationId::parse(&format!("r_{}", cookie.rsplit('-').next().unwrap())).unwrap();
    let stored = gate.app.store().authorization(&id).await.unwrap().unwrap();
    assert_eq!((stored.identity, stored.stage), (None, Stage::Denied));
    let Purpose::Client(request) = stored.purpose else { panic!("{:?}", stored.purpose) };
    assert_eq!(request.client_id.as_str(), client.id);
    assert!(browser.submit(&gate, &approve(&form)).await.body.contains("You denied access"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_denials_in_two_processes_both_reach_the_client() {
    let gate = TestGate::new().await;
    let twin = gate.twin().await;
    let client = gate.register().await;
    for _ in 0..40 {
        let mut browser = Browser::default();
        let form = gate.consent_form(&mut browser, &client, &[]).await;
        assert_eq!(browser.submit(&gate, &approve(&form)).await.status, 303);
        let no = form.with("decision", "deny").with("identity", "local");
        let (mut one, mut other) = (browser.clone(), browser.clone());
        let answers = tokio::join!(one.submit(&gate, &no), other.submit(&twin, &no));
        for answer in [answers.0, answers.1] {
            assert_eq!(parameter(&location(&answer), "error").as_deref(), Some("access_denied"), "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deny_beats_a_concurrent_approve_in_another_process() {
    let gate = TestGate::new().await;
    let twin = gate.twin().await;
    let client = gate.register().await;
    for _ in 0..20 {
        let mut browser = Browser::default();
        let form = gate.consent_form(&mut browser, &client, &[]).await;
        let (yes, no) = (approve(&form), form.with("decision", "deny").with("identity", "local"));
        let mut other = browser.clone();
        let (yes, no) = tokio::join!(browser.submit(&gate, &yes), other.submit(&twin, &no));
        assert_eq!(parameter(&location(&no), "error").as_deref(), Some("access_denied"), "{no:?}");
        let after = if yes.status == 303 { browser.get(&gate, &location(&yes)).await } else { yes };
        assert!(after.body.contains("already answered"), "{after:?}");
    }
}

#[tokio::test]
async fn a_late_deny_still_denies() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    for approved in [true, false] {
        let mut browser = Browser::default();
        let form = gate.consent_form(&mut browser, &client, &[]).await;
        // a browser whose clock is slow, or that restores a session with its cookies
        let mut slow = Browser::default();
        slow.cookies = browser.cookies.clone();
        gate.clock.advance(Duration::from_mins(14));
        if approved {
            assert_eq!(browser.submit(&gate, &approve(&form)).await.status, 303);
        }
        gate.clock.advance(Duration::from_mins(2));
        let answer = slow.submit(&gate, &form.with("decision", "deny").with("identity", "local")).await;
        assert_eq!(parameter(&location(&answer), "error").as_deref(), Some("access_denied"), "{answer:?}");
    }
}

#[tokio::test]
async fn only_the_exact_decision_approve_approves() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = gate.consent_form(&mut browser, &client, &[]).await;
    let silent = form.clone().with("identity", "local");
    let answers = ["", "maybe", "APPROVE", "approve "].map(|word| silent.clone().with("decision", word));
    for odd in answers.iter().chain([&silent, &form.clone().with("decision", "approve").with("identity", "")]) {
        let answer = browser.submit(&gate, odd).await;
        assert_eq!(answer.status, 400, "{:?}", odd.fields);
        assert!(answer.header("set-cookie").is_empty());
    }
    assert_eq!(browser.submit(&gate, &approve(&form)).await.status, 303, "nothing was answered yet");
}

#[tokio::test]
async fn approvals_are_rate_limited_before_they_fill_the_disk() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut last = 0;
    for _ in 0..=600 {
        let mut browser = Browser::default();
        let form = gate.consent_form(&mut browser, &client, &[]).await;
        let answer = browser.submit(&gate, &approve(&form)).await;
        last = answer.status;
        if last != 303 {
            assert_eq!(answer.header("retry-after"), "6");
            break;
        }
    }
    assert_eq!(last, 429);
    gate.clock.advance(Duration::from_mins(10));
    let mut browser = Browser::default();
    let form = gate.consent_form(&mut browser, &client, &[]).await;
    assert_eq!(browser.submit(&gate, &approve(&form)).await.status, 303, "the limit is temporary");
}

#[tokio::test]
async fn a_consent_form_gives_the_client_one_answer() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = gate.consent_form(&mut browser, &client, &[]).await;
    let place = location(&browser.submit(&gate, &approve(&form)).await);
    let no = form.clone().with("decision", "deny").with("identity", "local");
    let cookies = browser.clone();
    assert_eq!(parameter(&location(&browser.submit(&gate, &no).await), "error").as_deref(), Some("access_denied"));
    let late = browser.get(&gate, &place).await;
    assert!(late.body.contains("already answered"), "the sign-in that was approved is over: {late:?}");

    let mut browser = cookies;
    let form = gate.consent_form(&mut browser, &client, &[]).await;
    let place = location(&browser.submit(&gate, &approve(&form)).await);
    let page = browser.get(&gate, &place).await;
    let sign_in = as_alice(&page);
    let url = location(&browser.submit(&gate, &sign_in).await);
    let no = browser.submit(&gate, &form.with("decision", "deny").with("identity", "local")).await;
    assert_eq!(no.status, 200, "the client has its code and gets no error: {no:?}");
    assert_eq!(gate.redeem(&client, &parameter(&url, "code").unwrap()).await.status, 200);
}

#[tokio::test]
async fn an_expired_consent_form_is_shown_again() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = approve(&gate.consent_form(&mut browser, &client, &[]).await);
    gate.clock.advance(Duration::from_mins(15));
    let again = browser.submit(&gate, &form).await;
    assert_eq!(again.status, 200);
    let fresh = Form::on(&again.body);
    assert_eq!(fresh.action, "/consent");
    assert_eq!(browser.submit(&gate, &approve(&fresh)).await.status, 303);
}

#[tokio::test]
async fn a_consent_form_is_refused_long_after_its_expiry() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = gate.consent_form(&mut browser, &client, &[]).await;
    let cookies = browser.cookies.clone();
    gate.clock.advance(Duration::from_mins(59));
    let again = Browser::default().submit(&gate, &approve(&form)).await;
    assert_eq!((again.status, Form::on(&again.body).action.as_str()), (200, "/consent"), "{again:?}");
    gate.clock.advance(Duration::from_mins(1));
    for form in [approve(&form), form.with("decision", "deny")] {
        for cookies in [cookies.clone(), BTreeMap::new()] {
            let mut browser = Browser::default();
            browser.cookies = cookies;
            let answer = browser.submit(&gate, &form).await;
            assert_eq!(answer.status, 400, "{answer:?}");
            assert!(answer.body.contains("Connect from the application again."), "{answer:?}");
            assert_eq!(answer.header("set-cookie"), "", "no new form: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_expired_consent_form_is_shown_again_with_todays_settings() {
    let gate = TestGate::with(|config| {
        config.upstreams[0].settings.scopes.required = ScopeSet::parse("mcp:access mcp:write").unwrap();
    })
    .await;
    let client = gate.register().await;
    let extra = [("scope", "mcp:access mcp:write offline_access")];
    let form = approve(&gate.consent_form(&mut Browser::default(), &client, &extra).await);
    gate.clock.advance(Duration::from_mins(15));
    let same = Browser::default().submit(&gate, &form).await;
    assert!(same.body.contains("mcp:write") && same.body.contains("stay connected"), "{same:?}");

    let gate = gate
        .restart_with(|config| config.upstreams[0].settings.scopes.required = ScopeSet::parse("mcp:access").unwrap())
        .await;
    let fewer = Browser::default().submit(&gate, &form).await;
    assert_eq!(fewer.status, 200, "{fewer:?}");
    assert!(!fewer.body.contains("mcp:write") && fewer.body.contains("stay connected"), "{fewer:?}");

    let gate = gate
        .restart_with(|config| config.upstreams = vec![upstream(&config.public_url, "other", "http://127.0.0.1:9/")])
        .await;
    let gone = Browser::default().submit(&gate, &form).await;
    assert_eq!(gone.status, 400, "{gone:?}");
    assert!(gone.body.contains("Connect from the application again."), "{gone:?}");
}

#[tokio::test]
async fn a_sign_in_page_that_was_open_too_long_says_that_it_is_over() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = approve(&gate.consent_form(&mut browser, &client, &[]).await);
    let page = browser.submit(&gate, &form).await;
    let page = browser.get(&gate, &location(&page)).await;
    gate.clock.advance(Duration::from_mins(20));
    let sign_in = as_alice(&page);
    let answer = browser.submit(&gate, &sign_in).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("This sign-in is over"), "{answer:?}");
}

#[tokio::test]
async fn csrf_consent_form_without_its_cookie_or_from_another_site_is_refused() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut attacker = Browser::default();
    let form = approve(&gate.consent_form(&mut attacker, &client, &[]).await);

    let mut victim = Browser::default();
    gate.consent_form(&mut victim, &client, &[]).await;
    for mut browser in [Browser::default(), victim] {
        let answer = browser.submit(&gate, &form).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.header("set-cookie").is_empty());
    }

    for (name, value) in ELSEWHERE {
        let answer = attacker.submit_saying(&gate, &form, &[(name, value)]).await;
        assert_eq!(answer.status, 400, "{name}: {value}: {answer:?}");
    }
    assert_eq!(attacker.submit(&gate, &form).await.status, 303, "the form itself was good");
}

#[tokio::test]
async fn a_tampered_consent_form_is_refused() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = approve(&gate.consent_form(&mut browser, &client, &[]).await);
    let sealed = form.fields.iter().find(|(name, _)| name == "form").unwrap().1.clone();
    let mut flipped = sealed.clone();
    let middle = sealed.len() / 2;
    let other = if sealed.as_bytes()[middle] == b'A' { "B" } else { "A" };
    flipped.replace_range(middle..=middle, other);
    for bad in [flipped, sealed[..sealed.len() - 4].to_owned(), String::new(), "x".repeat(100)] {
        let answer = browser.submit(&gate, &form.clone().with("form", &bad)).await;
        assert_eq!(answer.status, 400);
    }
    let unknown = browser.submit(&gate, &form.clone().with("identity", "unknown")).await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn an_approved_sign_in_cannot_be_finished_in_another_browser() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut attacker = Browser::default();
    let form = approve(&gate.consent_form(&mut attacker, &client, &[]).await);
    let place = location(&attacker.submit(&gate, &form).await);

    let mut victim = Browser::default();
    let page = victim.get(&gate, &place).await;
    assert_eq!(page.status, 403, "{page:?}");

    let page = attacker.get(&gate, &place).await;
    let sign_in = as_alice(&page);
    let posted = victim.submit(&gate, &sign_in).await;
    assert_eq!(posted.status, 403);
    assert!(posted.header("location").is_empty());
}

#[tokio::test]
async fn a_wrong_password_shows_the_page_again_and_guesses_are_rate_limited() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let form = approve(&gate.consent_form(&mut browser, &client, &[]).await);
    let place = location(&browser.submit(&gate, &form).await);
    let page = browser.get(&gate, &place).await;
    let sign_in = Form::on(&page.body).with("username", "alice").with("password", "wrong");
    let answer = browser.submit(&gate, &sign_in).await;
    assert_eq!(answer.status, 422);
    assert!(Form::on(&answer.body).action.starts_with("/sign-in/local"));
    let mut answer = answer;
    for _ in 0..30 {
        answer = browser.submit(&gate, &sign_in).await;
    }
    assert_eq!((answer.status, answer.header("retry-after")), (429, "120"), "guesses are not rate limited");
    assert!(answer.body.contains("Too many attempts"), "{answer:?}");
}

#[tokio::test]
async fn a_private_use_redirect_uri_is_reached_through_a_page() {
    let gate = TestGate::new().await;
    let uri = "cursor://anysphere.cursor-mcp/oauth/callback";
    let body = serde_json::json!({"client_name": "Cursor", "redirect_uris": [uri]});
    let client = gate.register_as(&body).await;
    let mut browser = Browser::default();
    let form = approve(&gate.consent_form(&mut browser, &client, &[]).await);
    let page = browser.get(&gate, &location(&browser.clone().submit(&gate, &form).await)).await;
    assert_eq!(page.status, 403, "this browser lacks the binding cookie, which the clone received");
    let place = location(&browser.submit(&gate, &form).await);
    let page = browser.get(&gate, &place).await;
    let sign_in = as_alice(&page);
    let answer = browser.submit(&gate, &sign_in).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.body.contains("http-equiv=\"refresh\"")
            && answer.body.contains("cursor://anysphere.cursor-mcp/oauth/callback?code="),
        "{answer:?}"
    );
    assert!(answer.body.contains("Signed in as <bdi class=\"claim\">alice</bdi>"), "{answer:?}");
    let again = browser.submit(&gate, &sign_in).await;
    assert!(again.body.contains("Finish signing in"), "{again:?}");
}
