//! A configuration that changed between two starts: replaced issuers, and identities and clients that were removed.

use std::sync::Arc;

use portcullis::app::App;
use portcullis::clock::Clock;
use portcullis::config::{Config, ConfiguredClient, IdentityKind, OidcFlavour, OidcSettings};
use portcullis::keys::Sealer;
use portcullis::oauth::client_metadata::AuthMethod;
use sqlx::Connection;

use crate::support::bench::{Bench, provider_settings};
use crate::support::browser::Browser;
use crate::support::database;
use crate::support::gate::{REDIRECT_URI, TestClient, TestGate, WORKS, claims, tokens};
use crate::support::log::watch;
use crate::support::provider::FakeProvider;

/// Tries to start another process with this database and other settings.
async fn start(gate: &TestGate, change: impl FnOnce(&mut Config)) -> Result<App, String> {
    let mut config = Config::clone(&gate.config);
    change(&mut config);
    build(config, gate.clock.clone()).await
}

async fn build(config: Config, clock: Clock) -> Result<App, String> {
    let app = App::build(Arc::new(config), clock).await.map_err(|error| error.to_string())?;
    app.adopt().await.map_err(|error| error.to_string())?;
    Ok(app)
}

/// Settings for another provider, under the id of the first.
async fn another(bench: &Bench) -> (FakeProvider, OidcSettings) {
    let provider = FakeProvider::start(&bench.gate.clock).await;
    let settings = provider.settings();
    (provider, settings)
}

/// Does something to the database that this program never does.
async fn by_hand(gate: &TestGate, sql: &str) {
    database::by_hand(&gate.config.storage, sql).await;
}

/// A public client of the configuration.
fn configured(id: &str) -> ConfiguredClient {
    ConfiguredClient {
        device: false,
        client_id: id.to_owned(),
        name: None,
        redirect_uris: vec![REDIRECT_URI.to_owned()],
        client_secret: None,
        keys: None,
        auth_method: AuthMethod::None,
        machine: None,
        dpop_bound: false,
        introspects: Vec::new(),
    }
}

/// The same client, as it asks for tokens.
fn client(id: &str) -> TestClient {
    TestClient { id: id.to_owned(), redirect_uri: REDIRECT_URI.to_owned() }
}

async fn read_feed(gate: &TestGate) {
    gate.app.revocation().read_feed(gate.app.store()).await.unwrap();
}

#[tokio::test]
async fn another_issuer_under_a_known_id_is_refused_at_start_and_changes_nothing() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let (other, settings) = another(&bench).await;
    let before = bench.provider.issuer();
    for replaces in [None, Some("https://neither.example".to_owned())] {
        let settings = OidcSettings { replaces_issuer: replaces, ..settings.clone() };
        let error = start(&bench.gate, |config| *provider_settings(config) = settings).await.err().unwrap();
        let error = error.replace(&before, "https://a.example").replace(&other.issuer(), "https://b.example");
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @r#"
            identity keycloak was https://a.example, and the configuration now says https://b.example: users of the two providers with the same `sub` would become one user
              hint: give the new provider its own id; or, if its accounts replace the old ones, set replaces_issuer = "…" to the old issuer: every grant of the old provider then ends
            "#);
        }
    }
    let local = |config: &mut Config| config.identities[0].kind = IdentityKind::Local(Vec::new());
    assert!(start(&bench.gate, local).await.err().unwrap().contains("the configuration now says local"));
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
    assert_eq!(other.calls("/token"), 0);
}

#[tokio::test]
async fn a_process_with_the_replaced_issuer_gives_out_no_more_codes() {
    let mut bench = Bench::new().await;
    let waiting = bench.approve().await;
    let (_other, settings) = another(&bench).await;
    let settings = OidcSettings { replaces_issuer: Some(bench.provider.issuer()), ..settings };
    let new = bench.gate.twin_with(|config| *provider_settings(config) = settings).await;
    for url in [waiting, bench.approve().await] {
        let answer = bench.back(&bench.provider.visit(&url)).await;
        assert!(answer.header("location").is_empty() && !answer.body.contains("code="), "{answer:?}");
    }
    assert_eq!(new.app.store().known_identities().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_grant_from_another_issuer_ends_at_its_refresh() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let (other, settings) = another(&bench).await;
    let mut connection = database::connect(&bench.gate.config.storage).await;
    sqlx::query("UPDATE identities SET issuer = $1").bind(other.issuer()).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let old = bench.gate.refresh(&bench.client, &given.refresh).await;
    assert_eq!(old.status, 200, "the older process still accepts the token");
    let given = tokens(&old);
    bench.gate = bench.gate.restart_with(|config| *provider_settings(config) = settings).await;
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
    assert_eq!(bench.gate.call(&given.access).await.status, 401);
    bench.gate.settle().await;
    assert_eq!((other.calls("/token"), other.revoked()), (0, Vec::new()));
}

#[tokio::test]
async fn grants_that_an_older_process_gives_to_a_removed_client_end_too() {
    let mut bench = Bench::with(|config| config.clients = vec![configured("chat")]).await;
    bench.client = client("chat");
    bench.tokens().await;
    let new = bench.gate.twin_with(|config| config.clients.clear()).await;
    let late = bench.tokens().await;
    new.app.issuer().expire().await;
    assert_eq!(new.call(&late.access).await.status, 401);
    read_feed(&bench.gate).await;
    assert_eq!(bench.gate.call(&late.access).await.status, 401);
}

#[tokio::test]
async fn an_issuer_without_sign_ins_can_be_corrected() {
    let (gate, provider) = TestGate::with_provider(|_| {}).await;
    let other = FakeProvider::start(&gate.clock).await;
    let gate = gate.restart_with(|config| *provider_settings(config) = other.settings()).await;
    let gate = gate.restart_with(|config| *provider_settings(config) = provider.settings()).await;
    let client = gate.register().await;
    let mut bench = Bench { gate, provider, client, browser: Browser::default() };
    bench.approve().await;
    let error = start(&bench.gate, |config| *provider_settings(config) = other.settings()).await.err().unwrap();
    assert!(error.contains("with the same `sub` would become one user"), "a sign-in is under way: {error}");
}

#[tokio::test]
async fn building_the_application_ends_no_grants() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let (_other, settings) = another(&bench).await;
    let replaced = OidcSettings { replaces_issuer: Some(bench.provider.issuer()), ..settings };
    for change in [|config: &mut Config| config.identities.clear(), |config: &mut Config| config.clients.clear()] {
        let mut config = Config::clone(&bench.gate.config);
        change(&mut config);
        App::build(Arc::new(config), bench.gate.clock.clone()).await.unwrap();
    }
    let mut config = Config::clone(&bench.gate.config);
    *provider_settings(&mut config) = replaced;
    App::build(Arc::new(config), bench.gate.clock.clone()).await.unwrap();
    read_feed(&bench.gate).await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
}

#[tokio::test]
async fn a_replacing_issuer_gets_no_token_and_no_user_of_the_old_one() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let old_process = bench.gate.twin().await;
    assert_eq!(old_process.call(&given.access).await.status, WORKS);
    let waiting = bench.sign_in().await;
    let (other, settings) = another(&bench).await;
    let settings = OidcSettings { replaces_issuer: Some(bench.provider.issuer()), ..settings };
    bench.gate = bench.gate.restart_with(|config| *provider_settings(config) = settings).await;
    assert_eq!(bench.gate.call(&given.access).await.status, 401);
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
    let code = crate::support::browser::parameter(&waiting, "code").unwrap();
    assert_eq!(bench.gate.redeem(&bench.client, &code).await.error(), "invalid_grant", "a code of the old one");
    read_feed(&old_process).await;
    assert_eq!(old_process.call(&given.access).await.status, 401);
    assert_eq!((other.calls("/token"), other.revoked()), (0, Vec::new()), "the new issuer gets nothing of the old one");
    bench.provider = other;
    let fresh = bench.tokens().await;
    assert_eq!(bench.gate.call(&fresh.access).await.status, WORKS);
    // replaces_issuer may stay in the file
    bench.gate = bench.gate.restart().await;
    assert_eq!(bench.gate.refresh(&bench.client, &fresh.refresh).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_one_of_two_processes_with_different_issuers_starts() {
    for _ in 0..4 {
        let mut bench = Bench::new().await;
        bench.approve().await;
        let Bench { gate, provider: first, .. } = bench;
        by_hand(&gate, "DELETE FROM identities").await;
        let second = FakeProvider::start(&gate.clock).await;
        let starts = [&first, &second].map(|provider| {
            let (mut config, clock) = (Config::clone(&gate.config), gate.clock.clone());
            *provider_settings(&mut config) = provider.settings();
            tokio::spawn(async move { build(config, clock).await.map(drop) })
        });
        let [one, other] = starts;
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        let refused = one.err().or(other.err()).unwrap();
        assert!(refused.contains("with the same `sub` would become one user"), "{refused}");
    }
}

#[tokio::test]
async fn a_provider_stays_the_same_under_another_name_kind_or_discovery_url() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    bench.gate = bench
        .gate
        .restart_with(|config| {
            let settings = provider_settings(config);
            settings.flavour = OidcFlavour::Generic;
            settings.discovery.set_query(Some("inner"));
            config.identities[0].name = "Company".to_owned();
        })
        .await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200);
}

#[tokio::test]
async fn a_providers_refresh_token_is_never_sent_under_another_client_id() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let asked = bench.provider.calls("/token");
    bench.gate = bench.gate.restart_with(|config| "renamed".clone_into(&mut provider_settings(config).client_id)).await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS, "the user is still the same");
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
    assert_eq!(bench.gate.call(&given.access).await.status, 401, "and signs in again");
    bench.gate.settle().await;
    assert_eq!(bench.provider.calls("/token"), asked);
    assert!(bench.provider.revoked().is_empty());
}

/// Puts a token into a grant as the first release wrote it: bound to the user only.
async fn unbind(bench: &Bench, token: &str, grant: &str) {
    let ring = Sealer::new(&bench.gate.config.secrets);
    let unbound = ring.seal("provider token", b"keycloak|alice-id", token.as_bytes());
    let mut connection = database::connect(&bench.gate.config.storage).await;
    sqlx::query("UPDATE grants SET provider_token = $1 WHERE id = $2")
        .bind(unbound)
        .bind(grant)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Makes the database one of the first release: no table of identities, and tokens that are bound to the user only.
async fn make_old(bench: &Bench, token: &str, grant: &str) {
    unbind(bench, token, grant).await;
    by_hand(
        &bench.gate,
        "DROP TRIGGER grants_tell_their_end; DROP TABLE grant_ends; DROP TABLE identities; \
         DROP INDEX grants_live_by_identity; DELETE FROM _sqlx_migrations WHERE version = 2",
    )
    .await;
}

#[tokio::test]
async fn a_token_without_provider_is_not_sent_to_a_replacing_issuer() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    unbind(&bench, "provider-refresh-token-1", claims(&given.access)["sid"].as_str().unwrap()).await;
    let (other, settings) = another(&bench).await;
    let settings = OidcSettings { replaces_issuer: Some(bench.provider.issuer()), ..settings };
    bench.gate = bench.gate.restart_with(|config| *provider_settings(config) = settings).await;
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
    bench.gate.settle().await;
    assert_eq!((other.calls("/token"), other.revoked()), (0, Vec::new()));
}

#[tokio::test]
async fn a_database_of_the_first_release_works_and_its_tokens_become_bound() {
    for renamed in [false, true] {
        let mut bench = Bench::new().await;
        let given = bench.tokens().await;
        let grant = claims(&given.access)["sid"].as_str().unwrap().to_owned();
        make_old(&bench, "provider-refresh-token-2", &grant).await;
        bench.gate = bench.gate.restart().await;
        assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
        if renamed {
            bench.gate =
                bench.gate.restart_with(|config| "renamed".clone_into(&mut provider_settings(config).client_id)).await;
            let asked = bench.provider.calls("/token");
            assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
            assert_eq!(bench.provider.calls("/token"), asked, "it was the old client's");
        } else {
            tokens(&bench.gate.refresh(&bench.client, &given.refresh).await);
        }
    }
}

#[tokio::test]
async fn removing_an_identity_from_the_configuration_ends_its_grants() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let old_process = bench.gate.twin().await;
    assert_eq!(old_process.call(&given.access).await.status, WORKS);
    read_feed(&old_process).await;
    let (log, guard) = watch();
    bench.gate = bench.gate.restart_with(|config| "sso".clone_into(&mut config.identities[0].id)).await;
    drop(guard);
    assert!(log.text().contains("this identity has left the configuration: its grants have ended"), "{}", log.text());
    assert_eq!(bench.gate.call(&given.access).await.status, 401);
    assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.error(), "invalid_grant");
    read_feed(&old_process).await;
    assert_eq!(old_process.call(&given.access).await.status, 401, "other processes learn it from the feed");
    assert!(bench.provider.revoked().is_empty(), "the provider is no longer configured");
}

#[tokio::test]
async fn removing_a_configured_client_ends_its_grants_and_no_others() {
    let mut bench = Bench::with(|config| config.clients = vec![configured("chat"), configured("stays")]).await;
    let registered = bench.tokens().await;
    let mut given = Vec::new();
    for id in ["chat", "stays"] {
        bench.client = client(id);
        given.push(bench.tokens().await);
    }
    bench.gate = bench.gate.restart_with(|config| drop(config.clients.remove(0))).await;
    let statuses = [&given[0], &given[1], &registered].map(|given| given.access.clone());
    for (token, status) in statuses.iter().zip([401, WORKS, WORKS]) {
        assert_eq!(bench.gate.call(token).await.status, status);
    }
    bench.gate.settle().await;
    assert!(bench.provider.revoked().is_empty(), "the user has other grants there");
    bench.gate = bench.gate.restart_with(|config| config.clients.clear()).await;
    assert_eq!(bench.gate.call(&given[1].access).await.status, 401);
    assert_eq!(bench.gate.call(&registered.access).await.status, WORKS);
}

#[tokio::test]
async fn the_end_of_a_removed_clients_last_grant_revokes_its_offline_token() {
    let mut bench = Bench::with(|config| config.clients = vec![configured("chat")]).await;
    bench.client = client("chat");
    bench.tokens().await;
    bench.gate = bench.gate.restart_with(|config| config.clients.clear()).await;
    bench.gate.settle().await;
    assert_eq!(bench.provider.revoked().len(), 1);
}
