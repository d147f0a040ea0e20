//! Finding the provider, losing it, and finding it again.

use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::config::OidcFlavour;
use portcullis::identity::{ExchangeError, Identities};
use serde_json::json;

use super::{Bench, NOW, unavailable};
use crate::support::config;
use crate::support::provider::FakeProvider;

/// Until something is so: the world moves by itself, the clock does not.
async fn until(what: impl Fn() -> bool + Send + Sync) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it becomes so");
}

#[tokio::test]
async fn concurrent_sign_ins_fetch_the_discovery_document_once() {
    let bench = Bench::new().await;
    let ready = futures_util::future::join_all((0..20).map(|_| bench.us().prepare())).await;
    assert!(ready.iter().all(Result::is_ok));
    bench.us().prepare().await.unwrap();
    assert_eq!(bench.provider.calls("/openid-configuration"), 1);
}

#[tokio::test]
async fn a_provider_that_is_down_at_start_is_unavailable_until_it_is_back() {
    let bench = Bench::new().await;
    bench.provider.stop().await;
    let words = unavailable(bench.us().prepare().await);
    assert!(words.contains("identity keycloak") && words.contains("refuses the connection"), "{words}");
    assert_eq!(unavailable(bench.authorization_url(false)), words);
    assert_eq!(bench.us().trouble(), Some(words));
    assert!(!bench.us().asks_offline());
    bench.provider.restart().await;
    bench.clock.advance(Duration::from_secs(1));
    bench.sign_in().await.unwrap();
    assert_eq!(bench.us().trouble(), None);
}

#[tokio::test]
async fn the_loop_reads_metadata_and_keys_before_the_first_sign_in() {
    let bench = Bench::new().await;
    let task = tokio::spawn(bench.identities.clone().run());
    until(|| bench.provider.calls("/certs") == 1).await;
    assert!(bench.authorization_url(true).is_ok() && bench.us().asks_offline());
    bench.provider.stop().await;
    assert!(bench.authorization_url(true).is_ok(), "what was read stays in use");
    assert!(!task.is_finished());
    task.abort();
}

#[tokio::test]
async fn a_sign_in_that_waits_for_a_lost_provider_wakes_the_loop() {
    let bench = Bench::new().await;
    bench.provider.stop().await;
    let task = tokio::spawn(bench.identities.clone().run());
    until(|| bench.us().trouble().is_some()).await;
    bench.provider.restart().await;
    bench.clock.advance(Duration::from_secs(1));
    unavailable(bench.authorization_url(false));
    // Left alone it would wait four seconds at least.
    let soon = until(|| bench.us().trouble().is_none());
    tokio::time::timeout(Duration::from_secs(3), soon).await.expect("it hurries");
    assert!(bench.authorization_url(false).is_ok());
    task.abort();
}

#[tokio::test]
async fn without_remote_providers_the_background_loop_only_waits() {
    let clock = Clock::manual(Timestamp(NOW));
    let identities = Identities::new(&config(Vec::new()), &clock);
    let run = tokio::time::timeout(Duration::from_millis(20), identities.run());
    assert!(run.await.is_err());
}

#[tokio::test]
async fn another_issuer_in_the_metadata_is_refused_with_both_names_and_a_hint() {
    let bench = Bench::with(|settings| settings.issuer = "https://sso.example.com/realms/mcp".to_owned()).await;
    let words = unavailable(bench.sign_in().await);
    assert!(words.contains("https://sso.example.com/realms/mcp"), "{words}");
    assert!(words.contains(&bench.provider.issuer()) && words.contains("--hostname"), "{words}");
    assert_eq!(bench.us().trouble(), Some(words));
    let generic = Bench::with(|settings| {
        settings.flavour = OidcFlavour::Generic;
        settings.issuer.push('/');
    })
    .await;
    let words = unavailable(generic.sign_in().await);
    assert!(words.contains("byte for byte") && !words.contains("--hostname"), "{words}");
}

#[tokio::test]
async fn issuer_and_discovery_url_may_have_different_hosts() {
    let clock = Clock::manual(Timestamp(NOW));
    let provider = FakeProvider::start(&clock).await;
    provider.edit_discovery(|document| {
        document["issuer"] = json!("https://sso.example.com/realms/mcp");
        document["authorization_endpoint"] = json!("https://sso.example.com/realms/mcp/auth");
    });
    provider.edit_id_token(|_, claims| claims["iss"] = json!("https://sso.example.com/realms/mcp"));
    let bench =
        Bench::around(provider, clock, |settings| settings.issuer = "https://sso.example.com/realms/mcp".to_owned());
    bench.us().prepare().await.unwrap();
    let url = bench.authorization_url(false).unwrap();
    assert!(url.starts_with("https://sso.example.com/realms/mcp/auth?"), "{url}");
    assert_eq!(bench.sign_in().await.unwrap().key, "alice-id");
}

#[tokio::test]
async fn a_missing_realm_is_reported_with_a_hint() {
    let bench = Bench::with(|settings| {
        let elsewhere = settings.discovery.as_str().replace("/mcp/", "/none/");
        settings.discovery = elsewhere.parse().unwrap();
    })
    .await;
    let words = unavailable(bench.us().prepare().await);
    assert!(words.contains("404") && words.contains("does the realm exist"), "{words}");
}

#[tokio::test]
async fn bad_metadata_leave_the_old_ones_in_use_and_are_reported() {
    let bench = Bench::new().await;
    let task = tokio::spawn(bench.identities.clone().run());
    until(|| bench.provider.calls("/certs") == 1).await;
    task.abort();
    bench.provider.edit_discovery(|document| document["issuer"] = json!("https://evil.example"));
    bench.clock.advance(Duration::from_mins(1));
    let task = tokio::spawn(bench.identities.clone().run());
    until(|| bench.us().trouble().is_some_and(|words| words.contains("https://evil.example"))).await;
    task.abort();
    assert!(bench.sign_in().await.is_ok());
}

#[tokio::test]
async fn a_private_certificate_authority_is_trusted_through_ca_file() {
    let clock = Clock::manual(Timestamp(NOW));
    let provider = FakeProvider::start_tls(&clock).await;
    let bench = Bench::around(provider, clock, |_| {});
    assert_eq!(bench.sign_in().await.unwrap().key, "alice-id");

    let mut global = config(vec![bench.provider.identity()]);
    global.outbound.ca_file = bench.provider.ca_file();
    let unnamed = Bench::around(bench.provider, bench.clock, |settings| settings.ca_file = None);
    let words = unavailable(unnamed.us().prepare().await);
    assert!(words.contains("`ca_file`"), "{words}");

    let global = Identities::new(&global, &unnamed.clock);
    assert!(global.get("keycloak").unwrap().prepare().await.is_ok(), "the global file serves every identity");
}

#[tokio::test]
async fn an_http_endpoint_of_an_https_provider_is_refused() {
    let clock = Clock::manual(Timestamp(NOW));
    let provider = FakeProvider::start_tls(&clock).await;
    provider.edit_discovery(|document| document["token_endpoint"] = json!("http://sso.example.com/token"));
    let bench = Bench::around(provider, clock, |_| {});
    let result = bench.us().prepare().await;
    assert!(
        matches!(&result, Err(ExchangeError::Unavailable(words)) if words.contains("token_endpoint")),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_wrong_discovery_url_is_reported_with_a_hint() {
    for (path, hint) in [
        ("/auth?redirect_uri=http://127.0.0.1/", "redirects are not followed, set `discovery`"),
        ("/certs", "it is not a discovery document"),
        ("/none", "it answers 404: check `issuer`"),
    ] {
        let bench = Bench::with(|settings| {
            settings.flavour = OidcFlavour::Generic;
            settings.discovery = format!("{}{path}", settings.issuer).parse().unwrap();
        })
        .await;
        let words = unavailable(bench.us().prepare().await);
        assert!(words.contains(hint) && words.contains("`discovery`"), "{words}");
    }
}
