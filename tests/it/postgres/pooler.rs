//! PgBouncer in transaction mode between us and the server: every transaction meets another of its few connections.

use std::sync::Arc;

use futures_util::future::join_all;
use portcullis::config::Postgres;
use portcullis::storage::{SchemaState, Store};

use super::{open, refused, settings};
use crate::storage::{Fresh, MINUTE, START, at_once, refresh_token, rotation};
use crate::support::cluster::{Database, cluster};
use crate::support::gate::{TestGate, WORKS, tokens};
use crate::support::log::watch;

/// A database with the schema, through the pooler.
async fn pooled() -> (Database, Postgres) {
    let database = cluster().create(None);
    Store::migrate(&settings(&database.url()).into()).await.unwrap();
    let pooled = settings(&cluster().pooled_url(database.name()));
    (database, pooled)
}

#[tokio::test]
async fn a_pooler_that_shares_connections_is_found_and_a_server_is_not_taken_for_one() {
    let (database, pooled) = pooled().await;
    let words = "is behind a pooler that shares connections among transactions";
    for (settings, found) in [(pooled, true), (settings(&database.url()), false)] {
        let (log, _guard) = watch();
        open(settings.clone()).await.unwrap().close().await;
        assert_eq!(log.text().contains(words), found, "{}", log.text());
        assert_eq!(Store::inspect(&settings.into()).await.unwrap().pooled, found);
    }
}

#[tokio::test]
async fn a_pooler_under_load_is_found_every_time() {
    let (_database, pooled) = pooled().await;
    let store = open(pooled.clone()).await.unwrap();
    let load = tokio::spawn(async move {
        loop {
            at_once(32, |_| {
                let store = store.clone();
                async move { drop(store.signing_keys().await) }
            })
            .await;
        }
    });
    for _ in 0..10 {
        let (log, _guard) = watch();
        open(pooled.clone()).await.unwrap().close().await;
        assert!(log.text().contains("is behind a pooler"), "{}", log.text());
    }
    load.abort();
}

#[tokio::test]
async fn a_schema_is_changed_through_the_direct_url_only() {
    let database = cluster().create(None);
    let pooled = settings(&cluster().pooled_url(database.name()));
    let error = refused(pooled.clone()).await;
    assert!(error.contains("name the server itself in storage.direct_url"), "{error}");
    let error = Store::inspect(&pooled.clone().into()).await.unwrap_err().to_string();
    assert!(error.contains("name the server itself in storage.direct_url"), "before a start: {error}");
    let indirect = Postgres { direct: Some(pooled.server.clone()), ..pooled.clone() };
    let error = refused(indirect).await;
    assert!(error.contains("storage.direct_url must name the server itself"), "{error}");
    let other = cluster().create(None);
    let elsewhere = Postgres { direct: Some(settings(&other.url()).server), ..pooled.clone() };
    let error = refused(elsewhere).await;
    assert!(error.contains("is another database than that of storage.direct_url"), "{error}");
    let direct = Postgres { direct: Some(settings(&database.url()).server), ..pooled.clone() };
    let found = Store::inspect(&direct.clone().into()).await.unwrap();
    assert_eq!((found.schema, found.pooled), (SchemaState::Absent, true));
    open(direct).await.unwrap().close().await;
    open(pooled).await.unwrap().close().await;
}

/// What goes wrong without an explicit transaction around each statement: callers get the answers of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_caller_gets_its_own_answer() {
    let (_database, pooled) = pooled().await;
    let settings: portcullis::config::Storage = pooled.clone().into();
    let clock = portcullis::clock::Clock::manual(START);
    let mut processes = Vec::new();
    for _ in 0..3 {
        let store = open(pooled.clone()).await.unwrap();
        processes.push(Arc::new(Fresh::new((store, clock.clone(), settings.clone()))));
    }
    let keycloak = portcullis::storage::StoredIdentity {
        id: "keycloak".into(),
        issuer: crate::storage::ISSUER.to_owned(),
        client_id: "portcullis".to_owned(),
    };
    processes[0].store.keep_identity(&keycloak).await.unwrap();
    let callers = (0..24).map(|n| {
        let process = Arc::clone(&processes[n % 3]);
        tokio::spawn(async move { one_caller(&process, n).await })
    });
    let answers: usize = join_all(callers).await.into_iter().map(Result::unwrap).sum();
    assert!(answers > 1000, "{answers}");
}

/// How often each caller reads and writes. Few callers with many rounds: on a busy machine, more of them would wait too long for
/// their turn to write.
const ROUNDS: usize = 8;

/// One client and one grant, read and written in turn; answers how many answers were compared.
async fn one_caller(process: &Fresh, n: usize) -> usize {
    let id = format!("c_{n}");
    let client = process.register(&id, &format!("A{n}")).await;
    let signed_in = process.signed_in_alone(&id).await;
    let (store, now, mut token) = (&process.store, process.now(), signed_in.token.hash);
    for round in 0..ROUNDS {
        assert_eq!(store.client(&client.id).await.unwrap().as_ref(), Some(&client));
        let grant = store.grant(&signed_in.grant.id).await.unwrap().unwrap();
        assert_eq!((&grant.id, &grant.client_id), (&signed_in.grant.id, &client.id));
        assert_eq!(store.refresh_token(&token).await.unwrap().unwrap().grant_id, signed_in.grant.id);
        assert_eq!(store.use_of_client(&client.id, now).await.unwrap().grants, 1);
        let holder = format!("l_{n}_{round}");
        assert!(store.take_refresh_lease(&token, &holder, now + MINUTE, now).await.unwrap().is_some());
        store.release_refresh_lease(&signed_in.grant.id, &holder).await.unwrap();
        assert!(store.take_refresh_lease(&token, "us", now + MINUTE, now).await.unwrap().is_some());
        let successor = refresh_token(now);
        let rotated = store.rotate_refresh_token(&rotation(&signed_in.grant.id, &token, &successor, now)).await;
        assert!(rotated.unwrap());
        token = successor.hash;
    }
    ROUNDS * 6
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_and_refreshes_of_two_processes_work_through_the_pooler() {
    let (database, pooled) = pooled().await;
    let gate = Arc::new(TestGate::with(|config| config.storage = pooled.into()).await);
    let twin = Arc::new(gate.twin().await);
    let callers = (0..8).map(|n| {
        let (gate, twin) = (Arc::clone(&gate), Arc::clone(&twin));
        tokio::spawn(async move {
            let client = gate.register_named(&format!("Client {n}")).await;
            let given = gate.tokens(&client).await;
            let again = tokens(&twin.refresh(&client, &given.refresh).await);
            assert_eq!(twin.call(&again.access).await.status, WORKS);
            assert_eq!(gate.refresh(&client, &again.refresh).await.status, 200);
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    gate.app.close().await;
    twin.app.close().await;
    drop(database);
}
