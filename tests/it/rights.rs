//! Claims to rights: who may sign in, who may use a server, and which scopes a user may have; at a sign-in, at each refresh, and at
//! the first use of a token.

use std::collections::BTreeMap;

use portcullis::config::{Admission, Allow, AllowRule, Config, Device, GroupSources, OidcFlavour, Standing};
use portcullis::oauth::grant_type::DEVICE_CODE;
use portcullis::oauth::scope::ScopeSet;
use serde_json::{Value, json};

use crate::support::bench::{Bench, provider_settings};
use crate::support::browser::{Browser, Form, location, parameter};
use crate::support::gate::{Answer, TestGate, WORKS, as_alice, claims, tokens};
use crate::support::log::watch;

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn groups(names: &[&str]) -> Allow {
    Allow(vec![AllowRule { groups: texts(names), ..AllowRule::default() }])
}

fn asking(allow: Allow, ask: &str) -> Admission {
    Admission { allow, ask: Some(ask.to_owned()) }
}

/// Only `/eng` may sign in.
fn for_engineers(config: &mut Config) {
    config.identities[0].admission = asking(groups(&["/eng"]), "the platform team, <platform@example.com>");
}

/// `mcp:admin` is for `/admins`, and implies `mcp:access`, which every call needs.
fn for_admins(config: &mut Config) {
    let settings = &mut config.upstreams[0].settings;
    settings.scopes.required = scopes("mcp:access");
    settings.scopes.optional = scopes("mcp:admin mcp:write");
    settings.scopes.allow = BTreeMap::from([("mcp:admin".to_owned(), groups(&["/admins"]))]);
    settings.admission.ask = Some("the owner of the server".to_owned());
}

fn alice(groups: &[&str]) -> Value {
    json!({"sub": "alice-id", "name": "Alice A", "email": "alice@example.com", "email_verified": true, "groups": groups})
}

/// The page after the sign-in at the provider, when these scopes are asked for.
async fn landing(bench: &mut Bench, scope: &str) -> Answer {
    let form = bench.gate.consent_form(&mut bench.browser, &bench.client, &[("scope", scope)]).await;
    let form = form.with("decision", "approve").with("identity", "keycloak");
    let url = location(&bench.browser.submit(&bench.gate, &form).await);
    bench.back(&bench.provider.visit(&url)).await
}

/// The tokens of a sign-in that asks for these scopes.
async fn given(bench: &mut Bench, scope: &str) -> crate::support::gate::Given {
    let code = parameter(&location(&landing(bench, scope).await), "code").unwrap();
    tokens(&bench.gate.redeem(&bench.client, &code).await)
}

#[tokio::test]
async fn a_user_outside_the_allowed_groups_is_told_whom_to_ask_and_the_client_that_access_was_denied() {
    let mut bench = Bench::with(for_engineers).await;
    bench.provider.sign_in_as(alice(&["/ops"]));
    let (lines, _guard) = watch();
    let page = landing(&mut bench, "mcp:access").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("The account of Alice A may not sign in here."), "{page:?}");
    assert!(page.body.contains("the platform team, &#60;platform@example.com&#62;"), "escaped: {page:?}");
    assert!(!page.body.contains("/eng"), "what would be enough is not for the user: {page:?}");
    let link = page.body.split("href=\"").find(|rest| rest.contains("error=access_denied")).unwrap();
    assert!(!link.contains("code="), "{link}");
    for part in ["user not admitted", "identity keycloak: allow", "keycloak|alice-id"] {
        assert!(lines.text().contains(part), "{part}: {}", lines.text());
    }
    let metrics = bench.gate.app.metrics().await;
    let counted = r#"portcullis_sign_ins_total{identity="keycloak",outcome="not_admitted"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    bench.gate.settle().await;
    assert_eq!(bench.provider.revoked().len(), 1, "nothing holds the token that the provider gave");

    bench.provider.sign_in_as(alice(&["/ops", "/eng"]));
    let given = bench.tokens().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
}

#[tokio::test]
async fn a_claim_that_is_absent_or_of_the_wrong_type_admits_nobody() {
    let mut bench = Bench::with(for_engineers).await;
    for groups in [json!(null), json!({"/eng": true}), json!(["/eng", 5]), json!(true), json!("/ENG")] {
        let (lines, _guard) = watch();
        bench.provider.sign_in_as(json!({"sub": "alice-id", "name": "Alice A", "groups": groups}));
        let page = landing(&mut bench, "mcp:access").await;
        assert!(page.body.contains("may not sign in here"), "{groups}: {page:?}");
        let told = lines.text().contains("a claim cannot be read as groups");
        assert_eq!(told, !groups.is_null() && !groups.is_string(), "{groups}: {}", lines.text());
    }
}

#[tokio::test]
async fn a_domain_counts_only_when_the_provider_itself_verified_the_address() {
    let rule = AllowRule { domains: texts(&["example.com"]), ..AllowRule::default() };
    let mut bench = Bench::with(|config| {
        config.identities[0].admission.allow = Allow(vec![rule]);
        provider_settings(config).trust_email = true;
    })
    .await;
    for (email, verified, admitted) in [
        ("alice@example.com", json!(true), true),
        ("alice@EXAMPLE.com", json!("true"), true),
        ("alice@example.com", json!(false), false),
        ("alice@example.com", json!(null), false),
        ("alice@evil-example.com", json!(true), false),
        ("alice@sub.example.com", json!(true), false),
        ("a@b@example.com", json!(true), false),
        ("alice@ｅxample.com", json!(true), false),
    ] {
        bench.provider.sign_in_as(json!({"sub": "alice-id", "email": email, "email_verified": verified}));
        let landed = landing(&mut bench, "mcp:access").await;
        assert_eq!(parameter(landed.header("location"), "code").is_some(), admitted, "{email} {verified}: {landed:?}");
    }
}

#[tokio::test]
async fn the_refresh_that_finds_a_user_outside_ends_the_grant() {
    let mut bench = Bench::with(for_engineers).await;
    bench.provider.sign_in_as(alice(&["/eng"]));
    let given = bench.tokens().await;
    bench.provider.sign_in_as(alice(&["/ops"]));
    let (lines, _guard) = watch();
    let refused = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"), "{refused:?}");
    assert_eq!(bench.gate.call(&given.access).await.status, 401, "its access tokens end with it");
    let text = lines.text();
    assert!(text.contains("user not admitted") && text.contains("not_admitted"), "{text}");
    bench.gate.settle().await;
    assert_eq!(bench.provider.revoked().len(), 2, "the token of before and the one that the refresh brought");
    let again = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!(again.error(), "invalid_grant");
}

#[tokio::test]
async fn a_scope_goes_with_the_group_and_comes_back_with_it() {
    let mut bench = Bench::with(for_admins).await;
    bench.provider.sign_in_as(alice(&["/admins"]));
    let first = given(&mut bench, "mcp:access mcp:admin").await;
    assert_eq!(claims(&first.access)["scope"], "mcp:access mcp:admin");
    bench.provider.sign_in_as(alice(&[]));
    let answer = bench.gate.refresh(&bench.client, &first.refresh).await;
    let without = tokens(&answer);
    assert_eq!(claims(&without.access)["scope"], "mcp:access");
    assert_eq!(answer.json()["scope"], "mcp:access", "the response names what was given");
    assert_eq!(bench.gate.call(&without.access).await.status, WORKS);
    assert_eq!(bench.gate.behind.last().header("x-portcullis-scopes"), Some("mcp:access"));
    bench.provider.sign_in_as(alice(&["/admins"]));
    let again = tokens(&bench.gate.refresh(&bench.client, &without.refresh).await);
    assert_eq!(claims(&again.access)["scope"], "mcp:access mcp:admin", "the user had consented to it");
}

#[tokio::test]
async fn a_grant_of_which_no_scope_is_left_ends_and_the_next_sign_in_says_why() {
    let mut bench = Bench::with(|config| {
        for_admins(config);
        config.upstreams[0].settings.scopes.allow.insert("mcp:access".to_owned(), groups(&["/eng", "/admins"]));
    })
    .await;
    bench.provider.sign_in_as(alice(&["/eng"]));
    let given = bench.tokens().await;
    bench.provider.sign_in_as(alice(&["/ops"]));
    let refused = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"));
    assert_eq!(bench.gate.call(&given.access).await.status, 401);
    let page = landing(&mut bench, "mcp:access").await;
    assert!(page.body.contains("For access ask the owner of the server."), "{page:?}");
    assert!(page.body.contains("error=access_denied"), "{page:?}");
}

#[tokio::test]
async fn a_refresh_at_which_the_claims_were_not_read_takes_nothing_away() {
    let mut bench = Bench::with(|config| {
        for_admins(config);
        provider_settings(config).flavour = OidcFlavour::Generic;
    })
    .await;
    bench.provider.sign_in_as(alice(&["/admins"]));
    bench.provider.say_at_userinfo(alice(&["/admins"]));
    let first = given(&mut bench, "mcp:access mcp:admin").await;
    // the ID token says less, and the userinfo endpoint cannot be read
    bench.provider.sign_in_as(json!({"sub": "alice-id", "name": "Alice A"}));
    bench.provider.say_at_userinfo(json!("no object"));
    let second = tokens(&bench.gate.refresh(&bench.client, &first.refresh).await);
    assert_eq!(claims(&second.access)["scope"], "mcp:access mcp:admin");
    // now it can: the claim is absent, so the user is in no group
    bench.provider.say_at_userinfo(json!({"sub": "alice-id"}));
    let third = tokens(&bench.gate.refresh(&bench.client, &second.refresh).await);
    assert_eq!(claims(&third.access)["scope"], "mcp:access");
}

#[tokio::test]
async fn a_scope_that_the_user_may_not_have_is_dropped_and_the_audit_log_names_it() {
    let mut bench = Bench::with(for_admins).await;
    bench.provider.sign_in_as(alice(&["/eng"]));
    let (lines, _guard) = watch();
    let given = given(&mut bench, "mcp:access mcp:admin").await;
    assert_eq!(claims(&given.access)["scope"], "mcp:access");
    let text = lines.text();
    assert!(text.contains("scopes withheld") && text.contains("mcp:admin"), "{text}");
    let page = landing(&mut bench, "mcp:admin").await;
    assert!(page.body.contains("may not use") && page.body.contains("the owner of the server"), "{page:?}");
}

#[tokio::test]
async fn a_device_whose_user_is_not_admitted_gets_access_denied() {
    let gate = TestGate::with(|config| {
        config.device = Device { enabled: true, registered_clients: true };
        config.identities[0].admission = asking(groups(&["staff"]), "the platform team");
    })
    .await;
    let metadata = json!({"client_name": "Agent", "grant_types": [DEVICE_CODE, "refresh_token"]});
    let client = gate.post_json("/register", &metadata).await.json()["client_id"].as_str().unwrap().to_owned();
    let asked = gate.post_form("/device_authorization", &[("client_id", &client)]).await.json();
    let mut browser = Browser::default();
    let page = browser.get(&gate, "/device").await;
    let typed = Form::on(&page.body).with("user_code", asked["user_code"].as_str().unwrap());
    let question = browser.submit(&gate, &typed).await;
    let approved = Form::on(&question.body).with("decision", "approve").with("identity", "local");
    let approved = browser.submit(&gate, &approved).await;
    let page = browser.get(&gate, &location(&approved)).await;
    let denied = browser.submit(&gate, &as_alice(&page)).await;
    assert!(denied.body.contains("may not sign in here"), "{denied:?}");
    let fields =
        [("grant_type", DEVICE_CODE), ("client_id", &client), ("device_code", asked["device_code"].as_str().unwrap())];
    let polled = gate.post_form("/token", &fields).await;
    assert_eq!((polled.status, polled.error().as_str()), (400, "access_denied"));
}

#[tokio::test]
async fn a_user_who_may_not_sign_in_has_no_page_of_their_own_and_one_of_one_server_has() {
    for (of_identity, opens) in [(true, false), (false, true)] {
        let gate = TestGate::with(|config| {
            let admission = if of_identity {
                &mut config.identities[0].admission
            } else {
                &mut config.upstreams[0].settings.admission
            };
            admission.allow = groups(&["nobody"]);
        })
        .await;
        let mut browser = Browser::default();
        let page = browser.get(&gate, "/account").await;
        let chosen = browser.submit(&gate, &Form::on(&page.body).with("identity", "local")).await;
        let page = browser.get(&gate, &location(&chosen)).await;
        let landed = browser.submit(&gate, &as_alice(&page)).await;
        assert_eq!(landed.header("location") == "/account", opens, "{landed:?}");
    }
}

#[tokio::test]
async fn groups_of_local_users_come_from_their_records() {
    let gate = TestGate::with(|config| {
        config.upstreams[0].settings.admission.allow = groups(&["staff"]);
        if let portcullis::config::IdentityKind::Local(users) = &mut config.identities[0].kind {
            users[0].groups = texts(&["staff"]);
        }
    })
    .await;
    let given = gate.tokens(&gate.register().await).await;
    assert_eq!(gate.call(&given.access).await.status, WORKS);
}

#[tokio::test]
async fn a_new_rule_holds_for_tokens_of_before_with_a_403_that_starts_no_sign_in() {
    let gate = TestGate::with(|_| {}).await;
    let client = gate.register().await;
    let before = gate.tokens(&client).await;
    assert_eq!(gate.call(&before.access).await.status, WORKS);
    let (lines, _guard) = watch();
    let gate = gate
        .restart_with(|config| config.upstreams[0].settings.admission = asking(groups(&["staff"]), "the platform team"))
        .await;
    let refused = gate.call(&before.access).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(refused.header("www-authenticate"), "");
    assert!(refused.body.contains("For access ask the platform team"), "{refused:?}");
    assert!(lines.text().contains("upstream mcp: allow"), "{}", lines.text());
    let refused = gate.refresh(&client, &before.refresh).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"));
    assert_eq!(gate.call(&before.access).await.status, 401);
}

#[tokio::test]
async fn a_new_rule_for_a_scope_takes_it_from_tokens_of_before() {
    let gate = TestGate::with(|config| {
        for_admins(config);
        config.upstreams[0].settings.scopes.allow.clear();
    })
    .await;
    let client = gate.register().await;
    let place = gate.sign_in(&mut Browser::default(), &client, &[("scope", "mcp:access mcp:admin")]).await;
    let before = tokens(&gate.redeem(&client, &parameter(&place, "code").unwrap()).await);
    let gate = gate.restart_with(for_admins).await;
    assert_eq!(gate.call(&before.access).await.status, WORKS);
    assert_eq!(gate.behind.last().header("x-portcullis-scopes"), Some("mcp:access"));
}

#[tokio::test]
async fn a_grant_that_is_not_renewed_at_the_provider_is_judged_by_what_is_known() {
    let mut bench = Bench::with(|config| provider_settings(config).standing = Standing::None).await;
    bench.provider.sign_in_as(alice(&["/ops"]));
    let given = bench.tokens().await;
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
    let given = bench.tokens().await;
    let gate = bench.gate.restart_with(for_engineers).await;
    assert_eq!(gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn roles_inside_other_claims_become_groups_with_their_prefix() {
    let sources: GroupSources = GroupSources(
        [("groups", ""), ("/realm_access/roles", "realm:"), ("/resource_access/portcullis/roles", "role:")]
            .map(|(place, prefix)| {
                let mut source = GroupSources::claim(place).0.remove(0);
                source.prefix = prefix.to_owned();
                source
            })
            .to_vec(),
    );
    let mut bench = Bench::with(|config| {
        provider_settings(config).groups = sources;
        config.upstreams[0].settings.admission.allow = groups(&["role:writer"]);
    })
    .await;
    let user = |groups: Value, role: &str| {
        json!({"sub": "alice-id", "name": "Alice A", "groups": groups, "realm_access": {"roles": ["offline_access"]},
            "resource_access": {"portcullis": {"roles": [role]}, "account": {"roles": ["writer"]}}})
    };
    bench.provider.sign_in_as(user(json!(["role:writer", "writer", "/eng"]), "reader"));
    let page = landing(&mut bench, "mcp:access").await;
    assert!(page.body.contains("may not use"), "a group poses as a role: {page:?}");
    bench.provider.sign_in_as(user(json!(["/eng"]), "writer"));
    let given = bench.tokens().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    let seen = bench.gate.behind.last();
    assert_eq!(seen.header("x-forwarded-groups"), Some("/eng,realm:offline_access,role:writer"));
}
