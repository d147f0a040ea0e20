//! The user's own page: what is shown, who may see it, and how access ends.

use std::time::Duration;

use portcullis::config::{Config, Identity, IdentityKind};
use portcullis::model::account::{SESSION_AGE, SESSION_IDLE};
use portcullis::storage::GrantFilter;

use crate::engines::also_on_postgres;
use crate::support::bench::Bench;
use crate::support::browser::{Browser, ELSEWHERE, Form, location, parameter};
use crate::support::database::by_hand;
use crate::support::gate::{Answer, TestGate, WORKS, as_alice, local_user, tokens};

also_on_postgres! {
    a_user_sees_what_they_granted_and_ends_it_at_once,
    all_access_ends_together_and_with_it_a_code_that_no_client_has_redeemed,
    ending_all_access_signs_the_user_out_in_every_other_browser,
    users_neither_see_nor_end_the_grants_of_others,
    a_session_ends_by_signing_out_and_a_stolen_cookie_with_it,
    expired_sessions_are_deleted,
    the_providers_answer_opens_a_session_once_and_again_for_the_same_browser,
}

const MINUTE: Duration = Duration::from_mins(1);

/// Alice and bob.
fn two_users(config: &mut Config) {
    config.identities[0].kind =
        IdentityKind::Local(vec![local_user("alice", "wonderland"), local_user("bob", "builder")]);
}

/// Chooses a provider on the page of a user who is not signed in; answers the redirect.
async fn choose(gate: &TestGate, browser: &mut Browser, identity: &str) -> Answer {
    let page = browser.get(gate, "/account").await;
    assert_eq!(page.status, 200, "{page:?}");
    browser.submit(gate, &Form::on(&page.body).with("identity", identity)).await
}

/// Signs in at the page and opens it.
async fn signed_in(gate: &TestGate, browser: &mut Browser, (name, password): (&str, &str)) -> Answer {
    let chosen = choose(gate, browser, "local").await;
    let page = browser.get(gate, &location(&chosen)).await;
    let form = Form::on(&page.body).with("username", name).with("password", password);
    assert_eq!(location(&browser.submit(gate, &form).await), "/account");
    browser.get(gate, "/account").await
}

pub(super) async fn alice(gate: &TestGate, browser: &mut Browser) -> Answer {
    signed_in(gate, browser, ("alice", "wonderland")).await
}

/// The ids of the live grants, as an operator sees them.
async fn grants(gate: &TestGate) -> Vec<String> {
    let live = gate.app.store().list_grants(&GrantFilter::default(), None, gate.clock.now(), 100).await.unwrap();
    live.into_iter().map(|grant| grant.id.to_string()).collect()
}

/// The question about one grant, or about all, and its form.
pub(super) async fn question(gate: &TestGate, browser: &mut Browser, which: &str) -> Form {
    let page = browser.get(gate, &format!("/account/end?{which}")).await;
    assert_eq!(page.status, 200, "{page:?}");
    Form::on(&page.body)
}

fn is_signed_out(page: &Answer) -> bool {
    page.status == 200 && page.body.contains("Sign in to see which applications")
}

#[tokio::test]
async fn a_user_sees_what_they_granted_and_ends_it_at_once() {
    let gate = TestGate::new().await;
    let client = gate.register_named("Notes <b>app").await;
    let given = gate.tokens(&client).await;
    let mut browser = Browser::default();
    let page = alice(&gate, &mut browser).await;
    for words in ["Notes &#60;b&#62;app", "Nobody has checked that name", "Server mcp", "127.0.0.1", "alice", "Local"] {
        assert!(page.body.contains(words), "{words} is not on the page: {page:?}");
    }
    let [grant] = &grants(&gate).await[..] else { panic!() };
    let form = question(&gate, &mut browser, &format!("grant={grant}")).await;
    assert_eq!(gate.call(&given.access).await.status, WORKS, "the question changes nothing");
    assert_eq!(location(&browser.submit(&gate, &form).await), "/account");
    assert_eq!(gate.call(&given.access).await.status, 401);
    assert_eq!(gate.refresh(&client, &given.refresh).await.error(), "invalid_grant");
    assert!(browser.get(&gate, "/account").await.body.contains("No application has access as you"));
    assert_eq!(location(&browser.submit(&gate, &form).await), "/account", "a double click");
}

#[tokio::test]
async fn all_access_ends_together_and_with_it_a_code_that_no_client_has_redeemed() {
    let gate = TestGate::new().await;
    let (one, other) = (gate.register_named("One").await, gate.register_named("Other").await);
    let given = [gate.tokens(&one).await, gate.tokens(&one).await, gate.tokens(&other).await];
    let code = gate.code(&other).await;
    let mut browser = Browser::default();
    alice(&gate, &mut browser).await;
    let form = question(&gate, &mut browser, "all=yes").await;
    assert_eq!(location(&browser.submit(&gate, &form).await), "/account");
    for given in &given {
        assert_eq!(gate.call(&given.access).await.status, 401);
    }
    assert_eq!(gate.redeem(&other, &code).await.error(), "invalid_grant");
    assert_eq!(grants(&gate).await, [""; 0]);
}

#[tokio::test]
async fn ending_all_access_signs_the_user_out_in_every_other_browser() {
    let gate = TestGate::with(two_users).await;
    let (mut here, mut elsewhere, mut bobs) = (Browser::default(), Browser::default(), Browser::default());
    alice(&gate, &mut here).await;
    alice(&gate, &mut elsewhere).await;
    signed_in(&gate, &mut bobs, ("bob", "builder")).await;
    gate.tokens(&gate.register().await).await;
    let [grant] = &grants(&gate).await[..] else { panic!() };
    let one = question(&gate, &mut here, &format!("grant={grant}")).await;
    here.submit(&gate, &one).await;
    assert!(!is_signed_out(&elsewhere.get(&gate, "/account").await), "one grant is not all access");
    let all = question(&gate, &mut here, "all=yes").await;
    here.submit(&gate, &all).await;
    assert!(is_signed_out(&elsewhere.get(&gate, "/account").await));
    assert!(!is_signed_out(&here.get(&gate, "/account").await), "the browser that asked goes on");
    assert!(!is_signed_out(&bobs.get(&gate, "/account").await));
}

#[tokio::test]
async fn csrf_a_form_needs_the_token_of_its_session_and_our_own_origin() {
    let gate = TestGate::with(two_users).await;
    let given = gate.tokens(&gate.register().await).await;
    let (mut browser, mut attacker) = (Browser::default(), Browser::default());
    alice(&gate, &mut browser).await;
    signed_in(&gate, &mut attacker, ("bob", "builder")).await;
    let form = question(&gate, &mut browser, "all=yes").await;
    let theirs = question(&gate, &mut attacker, "all=yes").await;
    for forged in [form.clone().with("form_token", ""), form.clone().with("form_token", "x"), theirs] {
        let answer = browser.submit(&gate, &forged).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    for header in ELSEWHERE {
        let answer = browser.submit_saying(&gate, &form, &[header]).await;
        assert_eq!(answer.status, 400, "{header:?}: {answer:?}");
    }
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    let by_link = browser.get(&gate, "/account/end?all=yes&form_token=x").await;
    assert_eq!(by_link.status, 200, "a link asks, and ends nothing");
    assert_eq!(gate.call(&given.access).await.status, WORKS);
}

#[tokio::test]
async fn users_neither_see_nor_end_the_grants_of_others() {
    let gate = TestGate::with(two_users).await;
    let given = gate.tokens(&gate.register_named("Of alice").await).await;
    let [grant] = &grants(&gate).await[..] else { panic!() };
    let mut bob = Browser::default();
    let page = signed_in(&gate, &mut bob, ("bob", "builder")).await;
    assert!(!page.body.contains("Of alice") && page.body.contains("No application"), "{page:?}");
    let asked = bob.get(&gate, &format!("/account/end?grant={grant}")).await;
    assert_eq!(location(&asked), "/account", "as for one that does not exist");
    let form = question(&gate, &mut bob, "all=yes").await;
    let mut stolen = form.clone().with("grant", grant);
    stolen.fields.retain(|(name, _)| name != "all");
    assert_eq!(location(&bob.submit(&gate, &stolen).await), "/account");
    assert_eq!(location(&bob.submit(&gate, &form).await), "/account");
    assert_eq!(gate.call(&given.access).await.status, WORKS);
}

#[tokio::test]
async fn users_of_one_name_at_two_providers_are_two_users() {
    let gate = TestGate::with(|config| {
        config.identities.push(Identity {
            id: "staff".to_owned(),
            name: "Staff".to_owned(),
            kind: IdentityKind::Local(vec![local_user("alice", "elsewhere")]),
            admission: portcullis::config::Admission::default(),
        });
    })
    .await;
    gate.tokens(&gate.register_named("Of the first alice").await).await;
    let mut browser = Browser::default();
    let chosen = choose(&gate, &mut browser, "staff").await;
    let page = browser.get(&gate, &location(&chosen)).await;
    let form = Form::on(&page.body).with("username", "alice").with("password", "elsewhere");
    assert_eq!(location(&browser.submit(&gate, &form).await), "/account");
    let page = browser.get(&gate, "/account").await;
    assert!(page.body.contains("Staff") && !page.body.contains("Of the first alice"), "{page:?}");
    let unknown = choose(&gate, &mut Browser::default(), "unknown").await;
    assert_eq!(unknown.status, 400, "{unknown:?}");
}

#[tokio::test]
async fn a_session_ends_by_signing_out_and_a_stolen_cookie_with_it() {
    let gate = TestGate::new().await;
    let mut browser = Browser::default();
    let page = alice(&gate, &mut browser).await;
    let mut thief = browser.clone();
    let question = question(&gate, &mut browser, "all=yes").await;
    let sign_out = Form::on(&page.body);
    let forged = browser.submit(&gate, &sign_out.clone().with("form_token", "x")).await;
    assert_eq!(forged.status, 400, "{forged:?}");
    assert!(!is_signed_out(&browser.get(&gate, "/account").await));
    let out = browser.submit(&gate, &sign_out).await;
    assert_eq!(location(&out), "/account");
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
    assert!(is_signed_out(&thief.get(&gate, "/account").await));
    let given = gate.tokens(&gate.register().await).await;
    assert_eq!(location(&thief.submit(&gate, &question).await), "/account");
    assert_eq!(gate.call(&given.access).await.status, WORKS, "nothing was ended");
}

#[tokio::test]
async fn a_session_is_short_and_no_other_cookie_is_one() {
    let gate = TestGate::new().await;
    let mut browser = Browser::default();
    alice(&gate, &mut browser).await;
    let mut kept = browser.clone();
    let mut passed = Duration::ZERO;
    while passed + 14 * MINUTE < SESSION_AGE {
        gate.clock.advance(14 * MINUTE);
        passed += 14 * MINUTE;
        assert!(!is_signed_out(&browser.get(&gate, "/account").await), "{passed:?}");
    }
    gate.clock.advance(SESSION_AGE.saturating_sub(passed));
    let session = kept.cookies.iter().find(|(name, _)| name.ends_with("-s")).map(|(n, v)| (n.clone(), v.clone()));
    let (name, value) = session.unwrap();
    let mut late = Browser::default();
    late.cookies.insert(name.clone(), value.clone());
    assert!(is_signed_out(&late.get(&gate, "/account").await), "an hour in all");

    alice(&gate, &mut kept).await;
    gate.clock.advance(SESSION_IDLE);
    assert!(is_signed_out(&kept.get(&gate, "/account").await), "a quarter of an hour without a use");
    for odd in ["", "x", "pca_", &value.replace("pca_", "pcc_"), &format!("{value}a")] {
        let mut forger = Browser::default();
        forger.cookies.insert(name.clone(), odd.to_owned());
        assert!(is_signed_out(&forger.get(&gate, "/account").await), "{odd}");
    }
}

#[tokio::test]
async fn a_session_of_a_provider_that_was_replaced_is_no_session() {
    let gate = TestGate::new().await;
    let mut browser = Browser::default();
    alice(&gate, &mut browser).await;
    by_hand(&gate.config.storage, "UPDATE account_sessions SET issuer = 'https://old.example'").await;
    assert!(is_signed_out(&browser.get(&gate, "/account").await));
}

#[tokio::test]
async fn expired_sessions_are_deleted() {
    let gate = TestGate::new().await;
    alice(&gate, &mut Browser::default()).await;
    let count = || crate::support::database::number(&gate.config.storage, "SELECT count(*) FROM account_sessions");
    gate.app.issuer().expire().await;
    assert_eq!(count().await, 1);
    gate.clock.advance(SESSION_IDLE);
    gate.app.issuer().expire().await;
    assert_eq!(count().await, 0);
}

/// What a browser has in hand that began at the page with the fake provider: the URL there.
pub(super) async fn begin(bench: &mut Bench) -> String {
    location(&choose(&bench.gate, &mut bench.browser, "keycloak").await)
}

#[tokio::test]
async fn the_providers_answer_opens_a_session_once_and_again_for_the_same_browser() {
    let mut bench = Bench::new().await;
    let url = begin(&mut bench).await;
    assert!(!url.contains("offline_access"), "no token of the provider is needed: {url}");
    let back = bench.provider.visit(&url);
    let mut other_tab = bench.browser.clone();
    assert_eq!(location(&bench.back(&back).await), "/account");
    let path = back.strip_prefix(bench.gate.origin()).unwrap().to_owned();
    let again = other_tab.get(&bench.gate, &path).await;
    assert_eq!(location(&again), "/account", "the browser dropped the first response");
    let page = other_tab.get(&bench.gate, "/account").await;
    assert!(page.body.contains("You are signed in as"), "{page:?}");
    let stranger = Browser::default().get(&bench.gate, &path).await;
    assert_eq!((stranger.status, stranger.header("set-cookie")), (403, ""), "{stranger:?}");

    let sign_out = Form::on(&page.body);
    other_tab.submit(&bench.gate, &sign_out).await;
    let replayed = other_tab.get(&bench.gate, &path).await;
    assert_eq!(replayed.status, 200, "{replayed:?}");
    assert!(replayed.header("set-cookie").is_empty(), "no answer opens a session that was ended");
    assert!(is_signed_out(&other_tab.get(&bench.gate, "/account").await));
}

#[tokio::test]
async fn what_the_provider_refuses_is_told_on_a_page() {
    let mut bench = Bench::new().await;
    let url = begin(&mut bench).await;
    let refused = bench.back(&bench.error(&url, "access_denied")).await;
    assert!(refused.status == 200 && refused.body.contains("You were not signed in"), "{refused:?}");
    assert!(is_signed_out(&bench.browser.get(&bench.gate.twin().await, "/account").await));
}

#[tokio::test]
async fn a_confused_deputy_finds_no_way_from_one_purpose_to_another() {
    let mut bench = Bench::with(|config| config.device.enabled = true).await;
    // the account sign-in's answer gives no client anything, whatever is added to it
    let url = begin(&mut bench).await;
    let back = bench.provider.visit(&url);
    let answer = bench.back(&format!("{back}&redirect_uri=https%3A%2F%2Fevil.example&client_id=x")).await;
    assert_eq!(location(&answer), "/account");

    // a client's sign-in opens no session
    let mut browser = Browser::default();
    let form = bench.gate.consent_form(&mut browser, &bench.client, &[]).await;
    let consent = form.clone().with("decision", "approve").with("identity", "keycloak");
    let url = location(&browser.submit(&bench.gate, &consent).await);
    let back = bench.provider.visit(&url);
    let path = back.strip_prefix(bench.gate.origin()).unwrap().to_owned();
    let answer = browser.get(&bench.gate, &path).await;
    assert!(parameter(&location(&answer), "code").is_some(), "{answer:?}");
    assert!(!browser.cookies.keys().any(|name| name.ends_with("-s")));
    assert!(is_signed_out(&browser.get(&bench.gate, "/account").await));

    // a form of one kind is not read as one of another
    let account = Form::on(&browser.get(&bench.gate, "/account").await.body);
    let device = Form::on(&browser.get(&bench.gate, "/device").await.body);
    let forms = [("/consent", &consent), ("/account/sign-in", &account), ("/device", &device)];
    for target in ["/consent", "/account/sign-in", "/device", "/device/answer"] {
        for (own, form) in forms.iter().filter(|(own, _)| *own != target) {
            let fields = [("decision", "approve"), ("identity", "keycloak"), ("user_code", "BBBB-BBBB")];
            let moved = fields.iter().fold((*form).clone(), |form, (name, value)| form.with(name, value));
            let answer = browser.submit(&bench.gate, &Form { action: target.to_owned(), ..moved }).await;
            assert_eq!(answer.status, 400, "the form of {own} at {target}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn the_state_of_one_sign_in_is_worth_nothing_with_the_cookie_of_another() {
    let mut bench = Bench::new().await;
    let account = begin(&mut bench).await;
    let client = bench.approve().await;
    let (for_account, for_client) = (bench.provider.visit(&account), bench.provider.visit(&client));
    let state = |url: &str| parameter(url, "state").unwrap();
    // each with the provider's code of the other
    for (code_of, state_of) in [(&for_account, &for_client), (&for_client, &for_account)] {
        let swapped = code_of.replace(&state(code_of), &state(state_of));
        let answer = bench.back(&swapped).await;
        let to = answer.header("location");
        assert!(to != "/account" && parameter(to, "code").is_none(), "{answer:?}");
    }
    // each with the binding of the other, under its name
    let ids: Vec<_> =
        [&account, &client].iter().map(|url| state(url).split_once('.').unwrap().0[2..].to_owned()).collect();
    let name = |id: &String| format!("portcullis-6749-b-{id}");
    let value = |browser: &Browser, id: &String| browser.cookies[&name(id)].clone();
    let mut swapped = bench.browser.clone();
    swapped.cookies.insert(name(&ids[0]), value(&bench.browser, &ids[1]));
    swapped.cookies.insert(name(&ids[1]), value(&bench.browser, &ids[0]));
    for back in [&for_account, &for_client] {
        let path = back.strip_prefix(bench.gate.origin()).unwrap();
        assert_eq!(swapped.get(&bench.gate, path).await.status, 403);
    }
}

#[tokio::test]
async fn a_form_that_waited_too_long_or_came_from_another_browser_begins_nothing() {
    let gate = TestGate::new().await;
    let mut browser = Browser::default();
    let page = browser.get(&gate, "/account").await;
    let form = Form::on(&page.body).with("identity", "local");
    assert_eq!(Browser::default().submit(&gate, &form).await.status, 403);
    for header in ELSEWHERE {
        assert_eq!(browser.submit_saying(&gate, &form, &[header]).await.status, 400, "{header:?}");
    }
    gate.clock.advance(gate.config.lifetimes.consent);
    let mut slow = browser.slow();
    assert_eq!(slow.submit(&gate, &form).await.status, 400);
}

#[tokio::test]
async fn an_ended_grant_says_no_longer_where_its_tokens_were() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "authorization_code"),
            ("client_id", &client.id),
            ("code", &code),
            ("code_verifier", crate::support::gate::VERIFIER),
        ])
        .finish();
    let request = gate
        .request("POST", "/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("user-agent", "claude-code/2.1 (cli)");
    tokens(&gate.send_from("203.0.113.9".parse().unwrap(), request, body).await);
    let mut browser = Browser::default();
    let page = alice(&gate, &mut browser).await;
    assert!(page.body.contains("203.0.113.9") && page.body.contains("claude-code"), "{page:?}");
    let known = "SELECT count(*) FROM grants WHERE address IS NOT NULL OR agent IS NOT NULL OR receiver IS NOT NULL";
    assert_eq!(crate::support::database::number(&gate.config.storage, known).await, 1);
    let form = question(&gate, &mut browser, "all=yes").await;
    browser.submit(&gate, &form).await;
    assert_eq!(crate::support::database::number(&gate.config.storage, known).await, 0);
}

#[tokio::test]
async fn a_double_click_on_the_providers_form_leads_on() {
    let gate = TestGate::new().await;
    let mut browser = Browser::default();
    let chosen = choose(&gate, &mut browser, "local").await;
    let page = browser.get(&gate, &location(&chosen)).await;
    assert!(page.body.contains("Then you see what you have allowed"), "{page:?}");
    let form = as_alice(&page);
    let mut other = browser.clone();
    assert_eq!(location(&browser.submit(&gate, &form).await), "/account");
    assert_eq!(location(&other.submit(&gate, &form).await), "/account");
}
