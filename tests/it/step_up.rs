//! Step-up authorization and scopes that imply others, from the refused call to the grant that allows it.

use std::collections::BTreeMap;

use portcullis::config::{Config, ScopeText};
use portcullis::oauth::scope::ScopeSet;
use portcullis::oauth::scope_hierarchy::ScopeHierarchy;
use serde_json::json;

use crate::support::browser::{Browser, location, parameter};
use crate::support::gate::{Answer, Given, TestClient, TestGate, WORKS, claims, tokens};

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

/// Each scope implies the one after it: `mcp:admin`, `mcp:write`, `mcp:access`.
fn hierarchy() -> ScopeHierarchy {
    let direct = [("mcp:admin", "mcp:write"), ("mcp:write", "mcp:access")];
    let direct: BTreeMap<_, _> =
        direct.into_iter().map(|(scope, implied)| (scope.to_owned(), vec![implied.to_owned()])).collect();
    ScopeHierarchy::new(&direct).unwrap()
}

/// Calls need `mcp:access` and `mcp:audit`.
fn ranked(config: &mut Config) {
    let scopes_of_it = &mut config.upstreams[0].settings.scopes;
    scopes_of_it.required = scopes("mcp:access mcp:audit");
    scopes_of_it.optional = scopes("mcp:write mcp:admin");
    scopes_of_it.hierarchy = hierarchy();
}

/// The same without `mcp:audit`.
fn simple(config: &mut Config) {
    ranked(config);
    config.upstreams[0].settings.scopes.required = scopes("mcp:access");
}

async fn asking(gate: &TestGate, client: &TestClient, scope: &str) -> Answer {
    let place = gate.sign_in(&mut Browser::default(), client, &[("scope", scope)]).await;
    gate.redeem(client, &parameter(&place, "code").unwrap_or_else(|| panic!("{place}"))).await
}

async fn given(gate: &TestGate, client: &TestClient, scope: &str) -> Given {
    tokens(&asking(gate, client, scope).await)
}

/// The `scope` of a challenge, as clients find it.
fn challenged(answer: &Answer) -> String {
    let header = answer.header("www-authenticate");
    assert!(header.starts_with("Bearer error=\"insufficient_scope\", "), "{answer:?}");
    let (_, rest) = header.split_once("scope=\"").unwrap_or_else(|| panic!("{answer:?}"));
    // the error comes first, and its code ends in the same letters
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_403_leads_to_a_grant_that_works_and_the_old_grant_stays_as_it_was() {
    let gate = TestGate::with(ranked).await;
    let client = gate.register().await;
    let narrow = given(&gate, &client, "mcp:write").await;
    let refused = gate.call(&narrow.access).await;
    assert_eq!(refused.status, 403);
    let scope = challenged(&refused);
    assert_eq!(scope, "mcp:audit mcp:write", "what is missing, and what the token has");
    for asked in [scope.clone(), format!("{scope} mcp:write offline_access")] {
        let wide = given(&gate, &client, &asked).await;
        assert_eq!(claims(&wide.access)["scope"], "mcp:audit mcp:write", "{asked}");
        assert_eq!(gate.call(&wide.access).await.status, WORKS, "{asked}");
        assert_ne!(claims(&wide.access)["sid"], claims(&narrow.access)["sid"], "{asked}: a grant of its own");
    }
    assert_eq!(claims(&narrow.access)["scope"], "mcp:write");
    assert_eq!(challenged(&gate.call(&narrow.access).await), scope, "a new authorization widens no old token");
}

#[tokio::test]
async fn a_denied_upgrade_is_access_denied_and_the_next_refusal_is_the_same_to_the_byte() {
    let gate = TestGate::with(ranked).await;
    let client = gate.register().await;
    let narrow = given(&gate, &client, "mcp:write").await;
    let first = gate.call(&narrow.access).await;
    let mut browser = Browser::default();
    let form = gate.consent_form(&mut browser, &client, &[("scope", &challenged(&first))]).await;
    let denied = location(&browser.submit(&gate, &form.with("decision", "deny")).await);
    assert_eq!(parameter(&denied, "error").as_deref(), Some("access_denied"), "{denied}");
    assert_eq!(parameter(&denied, "state").as_deref(), Some("client-state"));
    let second = gate.call(&narrow.access).await;
    // the official TypeScript client gives up when an upgrade leads to the challenge that it came from
    assert_eq!((second.status, second.header("www-authenticate")), (403, first.header("www-authenticate")));
}

#[tokio::test]
async fn a_challenge_names_only_scopes_that_the_server_still_grants() {
    let gate = TestGate::with(ranked).await;
    let client = gate.register().await;
    let old = given(&gate, &client, "mcp:admin mcp:write").await;
    let gate = gate
        .restart_with(|config| {
            let scopes_of_it = &mut config.upstreams[0].settings.scopes;
            (scopes_of_it.optional, scopes_of_it.hierarchy) = (scopes("mcp:write"), ScopeHierarchy::default());
        })
        .await;
    let scope = challenged(&gate.call(&old.access).await);
    assert_eq!(scope, "mcp:access mcp:audit mcp:write", "mcp:admin is gone and would never be granted");
    let wide = given(&gate, &client, &scope).await;
    assert_eq!(gate.call(&wide.access).await.status, WORKS);
}

#[tokio::test]
async fn a_request_of_unknown_scopes_beside_the_challenged_ones_ends_the_step_up() {
    let gate = TestGate::with(ranked).await;
    let client = gate.register().await;
    let narrow = given(&gate, &client, "mcp:access").await;
    let scope = challenged(&gate.call(&narrow.access).await);
    let wide = given(&gate, &client, &format!("openid {scope} nonsense")).await;
    assert_eq!(gate.call(&wide.access).await.status, WORKS);
}

#[tokio::test]
async fn a_token_carries_what_was_granted_and_the_server_sees_what_that_implies() {
    let gate = TestGate::with(simple).await;
    let client = gate.register().await;
    for (asked, granted, told) in [
        ("mcp:admin", "mcp:admin", "mcp:access mcp:admin mcp:write"),
        ("mcp:write mcp:access", "mcp:access mcp:write", "mcp:access mcp:write"),
        ("mcp:write", "mcp:write", "mcp:access mcp:write"),
        ("mcp:access", "mcp:access", "mcp:access"),
        ("", "mcp:access", "mcp:access"),
    ] {
        let answer = asking(&gate, &client, asked).await;
        let token = tokens(&answer).access;
        assert_eq!(claims(&token)["scope"], granted, "{asked}");
        let named = answer.json()["scope"].as_str().unwrap_or_default().replace(" offline_access", "");
        assert_eq!(named, granted, "{asked}: a response names nothing that was not asked for");
        assert_eq!(gate.call(&token).await.status, WORKS, "{asked}");
        assert_eq!(gate.behind.last().header("x-portcullis-scopes"), Some(told), "{asked}");
    }
}

#[tokio::test]
async fn a_refresh_is_checked_against_what_the_granted_scopes_imply() {
    let gate = TestGate::with(simple).await;
    let client = gate.register().await;
    let wide = given(&gate, &client, "mcp:admin").await;
    let refresh = |token: String, scope: &'static str| {
        let (gate, client) = (&gate, &client);
        async move {
            let mut fields =
                vec![("grant_type", "refresh_token"), ("client_id", &*client.id), ("refresh_token", &token)];
            fields.extend((!scope.is_empty()).then_some(("scope", scope)));
            let answer = gate.post_form("/token", &fields).await;
            assert_eq!(answer.status, 200, "{scope}: {answer:?}");
            tokens(&answer)
        }
    };
    let mut now = wide;
    for (asked, scope) in [
        ("", "mcp:admin"),
        ("mcp:access", "mcp:access"),
        ("mcp:write mcp:audit", "mcp:write"),
        ("mcp:audit", "mcp:admin"),
        ("", "mcp:admin"),
    ] {
        now = refresh(now.refresh, asked).await;
        assert_eq!(claims(&now.access)["scope"], scope, "{asked}");
    }
    let flat = gate.twin_with(|config| config.upstreams[0].settings.scopes.hierarchy = ScopeHierarchy::default()).await;
    let refused = flat.refresh(&client, &now.refresh).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"), "mcp:admin implies nothing there");
    assert_eq!(gate.refresh(&client, &now.refresh).await.status, 200, "and nothing ended");
}

#[tokio::test]
async fn metadata_names_what_calls_need_and_optional_scopes_are_asked_for_by_name() {
    let gate = TestGate::with(simple).await;
    let listed = async |path: &str| gate.get(path).await.json()["scopes_supported"].clone();
    assert_eq!(listed("/.well-known/oauth-protected-resource/mcp").await, json!(["mcp:access"]));
    assert_eq!(listed("/.well-known/oauth-authorization-server").await, json!(["mcp:access", "offline_access"]));
    let unauthorized = gate.send(gate.request("POST", "/mcp"), "").await;
    assert!(unauthorized.header("www-authenticate").contains("scope=\"mcp:access\""), "{unauthorized:?}");
    for (asked, stored) in [("mcp:admin nonsense", "mcp:admin"), ("", "mcp:access")] {
        let body = json!({"redirect_uris": ["https://a.example/"], "scope": asked});
        assert_eq!(gate.post_json("/register", &body).await.json()["scope"], stored, "{asked}");
    }
}

#[tokio::test]
async fn the_consent_page_says_what_a_scope_implies() {
    let gate = TestGate::with(|config| {
        simple(config);
        let text = |value: &str, text: &str| ScopeText { value: value.to_owned(), text: text.to_owned() };
        config.upstreams[0].settings.scopes.texts = vec![
            text("mcp:access", "read notes"),
            text("mcp:write", "change notes"),
            text("mcp:admin", "delete users"),
        ];
    })
    .await;
    let client = gate.register().await;
    for (asked, shown) in [
        ("mcp:access", [true, false, false]),
        ("mcp:write", [true, true, false]),
        ("mcp:admin", [true, true, true]),
        ("", [true, false, false]),
    ] {
        let page = gate.get(&gate.authorize_path(&client, &[("scope", asked)])).await;
        let seen = ["read notes", "change notes", "delete users"].map(|words| page.body.contains(words));
        assert_eq!(seen, shown, "{asked}: {page:?}");
    }
}
