//! From the authorization URL to the user.

use std::collections::BTreeMap;

use url::Url;

use super::{Bench, Written};
use crate::entra_emulator::{APP_ID_URI, CONTOSO, ResourceEra};
use crate::support::browser::{location, parameter};
use crate::support::gate::{WORKS, claims, tokens};
use crate::support::log::watch;

#[tokio::test]
async fn the_request_names_our_own_api_whole_and_nothing_of_the_client() {
    let mut bench = Bench::new().await;
    let url = bench.approve().await;
    let mut query: BTreeMap<_, _> = Url::parse(&url).unwrap().query_pairs().into_owned().collect();
    for random in ["state", "nonce", "code_challenge"] {
        let value = query.insert(random.to_owned(), "…".to_owned());
        assert!(value.is_some_and(|value| value.len() > 20), "{random}");
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&query).unwrap(), @r#"
    {
      "client_id": "00001111-aaaa-2222-bbbb-3333cccc4444",
      "code_challenge": "…",
      "code_challenge_method": "S256",
      "nonce": "…",
      "prompt": "select_account",
      "redirect_uri": "http://127.0.0.1:6749/callback/entra",
      "response_type": "code",
      "scope": "email api://00001111-aaaa-2222-bbbb-3333cccc4444/mcp.access offline_access openid profile",
      "state": "…"
    }
    "#);
    bench.back(&bench.emulator.visit(&url).back()).await;
    let form: BTreeMap<_, _> = bench
        .last_form()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("code") && name != "client_secret")
        .collect();
    insta::assert_snapshot!(serde_json::to_string_pretty(&form).unwrap(), @r#"
    {
      "client_id": "00001111-aaaa-2222-bbbb-3333cccc4444",
      "grant_type": "authorization_code",
      "redirect_uri": "http://127.0.0.1:6749/callback/entra",
      "scope": "email api://00001111-aaaa-2222-bbbb-3333cccc4444/mcp.access offline_access openid profile"
    }
    "#);
}

#[tokio::test]
async fn a_user_is_known_by_tenant_and_object_and_never_by_an_address() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let oid = bench.emulator.state().user("alice").oid.clone();
    assert_eq!(claims(&given.access)["sub"], format!("entra|{CONTOSO}.{oid}"));
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert!(bench.gate.behind.last().header("x-forwarded-email").is_none(), "nobody vouches for the address");

    // the address moves to another person: still two users
    bench.emulator.state().user("bob").email = Some("alice@contoso.com".to_owned());
    bench.emulator.state().user("bob").upn = "alice@contoso.com".to_owned();
    bench.emulator.state().signs_in = Some("bob".to_owned());
    let other = bench.tokens().await;
    assert_ne!(claims(&other.access)["sub"], claims(&given.access)["sub"]);
}

#[tokio::test]
async fn an_address_counts_where_its_domain_belongs_to_the_tenant() {
    let mut bench = Bench::new().await;
    bench.emulator.state().user("alice").email_verified = true;
    let given = bench.tokens().await;
    bench.gate.call(&given.access).await;
    assert_eq!(bench.gate.behind.last().header("x-forwarded-email"), Some("alice@contoso.com"));
}

#[tokio::test]
async fn a_token_without_object_id_signs_nobody_in() {
    let mut bench = Bench::with(Written { more: "scopes = [\"mcp.access\"]\n".to_owned(), ..Written::default() }).await;
    let (lines, _guard) = watch();
    let refused = bench.visit().await;
    assert_eq!(parameter(&location(&refused), "error").as_deref(), Some("server_error"));
    assert!(lines.text().contains("has no oid") && lines.text().contains("profile"), "{}", lines.text());
}

#[tokio::test]
async fn resource_is_never_sent_unless_configured_whatever_the_era() {
    for era in [ResourceEra::RejectAll, ResourceEra::Match, ResourceEra::Ignore] {
        let mut bench = Bench::new().await;
        bench.emulator.state().era = era;
        let given = bench.tokens().await;
        bench.refreshed(&given).await;
        let sent = bench
            .emulator
            .state()
            .calls
            .iter()
            .any(|call| call.query.contains_key("resource") || call.form.contains_key("resource"));
        assert!(!sent, "{era:?}");
    }
}

#[tokio::test]
async fn resource_is_our_application_id_uri_where_it_is_configured() {
    for (era, works) in [(ResourceEra::Match, true), (ResourceEra::Ignore, true), (ResourceEra::RejectAll, false)] {
        let mut bench = Bench::with(Written::default().with("send_resource = true")).await;
        bench.emulator.state().era = era;
        let (lines, _guard) = watch();
        let url = bench.approve().await;
        assert_eq!(parameter(&url, "resource").as_deref(), Some(APP_ID_URI));
        let answer = bench.back(&bench.emulator.visit(&url).back()).await;
        if works {
            let code = parameter(&location(&answer), "code").unwrap();
            let given = tokens(&bench.gate.redeem(&bench.client, &code).await);
            assert_eq!(bench.last_form()["resource"], APP_ID_URI);
            bench.refreshed(&given).await;
            assert_eq!(bench.last_form()["resource"], APP_ID_URI);
        } else {
            assert!(answer.body.contains("AADSTS901002"), "{answer:?}");
            assert!(lines.text().contains("remove send_resource"), "{}", lines.text());
        }
    }
}

#[tokio::test]
async fn scopes_of_another_api_are_consented_to_and_left_out_of_the_token_request() {
    let more = "scopes = [\"profile\", \"mcp.access\", \"https://graph.microsoft.com/User.Read\"]\n";
    let mut bench = Bench::with(Written { more: more.to_owned(), ..Written::default() }).await;
    let url = bench.approve().await;
    assert!(parameter(&url, "scope").unwrap().contains("https://graph.microsoft.com/User.Read"));
    let answer = bench.back(&bench.emulator.visit(&url).back()).await;
    assert!(parameter(&location(&answer), "code").is_some());
    assert_eq!(bench.last_form()["scope"], format!("{APP_ID_URI}/mcp.access offline_access openid profile"));
}

#[tokio::test]
async fn a_scope_that_was_not_granted_is_told_to_the_operator_by_its_short_name() {
    let mut bench = Bench::new().await;
    let (lines, _guard) = watch();
    bench.tokens().await;
    assert!(!lines.text().contains("fewer scopes"), "{}", lines.text());
    bench.emulator.state().withholds = Some(format!("{APP_ID_URI}/mcp.access"));
    bench.tokens().await;
    assert!(lines.text().contains("fewer scopes") && lines.text().contains("[\"mcp.access\"]"), "{}", lines.text());
}

#[tokio::test]
async fn the_user_is_asked_which_account_unless_the_operator_says_otherwise() {
    for (line, prompt) in
        [("", Some("select_account")), ("prompt = \"login\"", Some("login")), ("prompt = \"off\"", None)]
    {
        let mut bench = Bench::with(Written::default().with(line)).await;
        let url = bench.approve().await;
        assert_eq!(parameter(&url, "prompt").as_deref(), prompt, "{line}");
        assert!(parameter(&location(&bench.back(&bench.emulator.visit(&url).back()).await), "code").is_some());
    }
}

#[tokio::test]
async fn a_policy_of_b2c_is_asked_for_a_login_and_its_tokens_need_no_tid() {
    let mut written = Written::in_tenant(CONTOSO);
    written.more = "scopes = [\"profile\"]\n".to_owned();
    let bench = Bench::new().await;
    let authority = format!("{}/contoso.onmicrosoft.com/B2C_1_signin", bench.emulator.authority());
    let identity = written.with(&format!("authority = \"{authority}\"")).read(&bench.emulator, bench.directory.path());
    let Bench { emulator, gate, client, browser, clock, directory } = bench;
    let gate = gate
        .restart_with(|config| {
            let mut identity = identity;
            identity.id = "b2c".to_owned();
            config.identities = vec![identity];
        })
        .await;
    emulator
        .state()
        .our_app()
        .redirect_uris
        .push((crate::entra_emulator::Platform::Web, "http://127.0.0.1:6749/callback/b2c".to_owned()));
    let mut bench = Bench { emulator, gate, client, browser, clock, directory };
    let form = bench.gate.consent_form(&mut bench.browser, &bench.client, &[]).await;
    let form = form.with("decision", "approve").with("identity", "b2c");
    let url = location(&bench.browser.submit(&bench.gate, &form).await);
    assert!(url.starts_with(&format!("{authority}/oauth2/v2.0/authorize?")), "{url}");
    assert_eq!(parameter(&url, "prompt").as_deref(), Some("login"));
    let answer = bench.back(&bench.emulator.visit(&url).back()).await;
    let code = parameter(&location(&answer), "code").unwrap_or_else(|| panic!("{answer:?}"));
    let given = tokens(&bench.gate.redeem(&bench.client, &code).await);
    let oid = bench.emulator.state().user("alice").oid.clone();
    assert_eq!(claims(&given.access)["sub"], format!("b2c|{CONTOSO}.{oid}"));
}

#[tokio::test]
async fn external_id_names_itself_by_the_id_of_its_tenant() {
    let template = "https://{tenantid}.ciamlogin.com/{tenantid}/v2.0";
    let issuer = template.replace("{tenantid}", CONTOSO);
    let mut bench = Bench::prepared(|_, _| {}, Written::default().with(&format!("issuer = \"{issuer}\""))).await;
    bench.emulator.state().issuer_template = Some(template.to_owned());
    let given = bench.tokens().await;
    bench.refreshed(&given).await;
}

#[tokio::test]
async fn no_parameter_for_the_provider_comes_near_four_thousand_characters() {
    let scopes: Vec<String> = (0..36).map(|number| format!("\"scope.with.a.long.name.{number}\"")).collect();
    let more = format!("scopes = [\"profile\", {}]\n", scopes.join(", "));
    let mut bench = Bench::with(Written { more, ..Written::default() }).await;
    let names = (0..36).map(|number| format!("scope.with.a.long.name.{number}"));
    bench.emulator.state().our_app().exposes.extend(names);
    let long = "x".repeat(1900);
    let url = bench.gate.authorize_path(&bench.client, &[("state", &long)]);
    let page = bench.browser.get(&bench.gate, &url).await;
    let form = crate::support::browser::Form::on(&page.body).with("decision", "approve").with("identity", "entra");
    let url = location(&bench.browser.submit(&bench.gate, &form).await);
    for (name, value) in Url::parse(&url).unwrap().query_pairs() {
        assert!(value.len() < 4000, "{name} has {} characters", value.len());
    }
}

#[tokio::test]
async fn entra_id_knows_no_back_channel_logout_and_no_token_of_its_is_taken_for_one() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let answer = bench.gate.post_form("/back-channel-logout/entra", &[("logout_token", "a.b.c")]).await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_request"), "{answer:?}");
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
}
