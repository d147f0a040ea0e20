//! What only SQLite has: files, one writer, and processes that share them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, poll};
use portcullis::config;
use portcullis::model::grant::EndReason;
use portcullis::storage::{Feed, Store, StoreError};
use portcullis::telemetry::metrics::Metrics;
use sqlx::Executor;

use super::signing_keys::key;
use super::{
    Fresh, MINUTE, SqlitePlace, WAITING_WRITES, ada, at_once, authorization, client, grant, new_code, redemption,
    refresh_token, rotation, some_hash,
};
use crate::support::database;

async fn refused(file: &Path) -> String {
    match Store::open(&config::Database::Sqlite(file.to_owned()).into(), WAITING_WRITES, Metrics::default().store).await
    {
        Ok(_) => panic!("{} was opened", file.display()),
        Err(error) => error.to_string(),
    }
}

async fn by_hand(place: &SqlitePlace, sql: &str) {
    database::by_hand(&place.settings(), sql).await;
}

#[tokio::test]
async fn stored_rows_survive_a_reopen() {
    let place = SqlitePlace::new();
    let fresh = Fresh::new(place.open().await);
    let registered = fresh.register("c_1", "A").await;
    let signed_in = fresh.signed_in("c_1").await;
    fresh.store.close().await;
    let (again, ..) = place.open().await;
    assert_eq!(again.client(&registered.id).await.unwrap(), Some(registered));
    assert_eq!(again.grant(&signed_in.grant.id).await.unwrap(), Some(signed_in.grant));
    assert!(again.refresh_token(&signed_in.token.hash).await.unwrap().is_some());
}

#[tokio::test]
async fn commits_survive_a_killed_process() {
    let place = SqlitePlace::new();
    let killed = Fresh::new(place.open().await);
    let signed_in = killed.signed_in("c_1").await;
    // as after kill -9: the write-ahead log was never folded in
    let copy = SqlitePlace::new();
    for suffix in ["", "-wal"] {
        let beside = |place: &SqlitePlace| format!("{}{suffix}", place.file().display());
        std::fs::copy(beside(&place), beside(&copy)).unwrap();
    }
    let (again, ..) = copy.open().await;
    assert_eq!(again.grant(&signed_in.grant.id).await.unwrap(), Some(signed_in.grant));
}

#[tokio::test]
async fn two_processes_share_one_file() {
    let place = SqlitePlace::new();
    let (ours, theirs) = (Fresh::new(place.open().await), Fresh::new(place.open().await));
    let grant = ours.signed_in("c_1").await.grant;
    assert_eq!(theirs.store.grant(&grant.id).await.unwrap(), Some(grant.clone()));
    let position = ours.store.newest_grant_end().await.unwrap();
    theirs.store.end_grant(&grant.id, EndReason::IdentityProvider, theirs.now()).await.unwrap().unwrap();
    let told = ours.store.grants_ended_after(position).await.unwrap();
    assert!(matches!(told, Feed::Ended(grants, _) if grants == [grant.id]));
}

#[tokio::test]
async fn the_feed_reports_grants_that_the_previous_release_ends() {
    let place = SqlitePlace::new();
    let fresh = Fresh::new(place.open().await);
    let grant = fresh.signed_in("c_1").await.grant;
    let position = fresh.store.newest_grant_end().await.unwrap();
    by_hand(&place, "UPDATE grants SET ended_at = 1, end_reason = 'expired' WHERE ended_at IS NULL").await;
    by_hand(&place, "UPDATE grants SET user_claims = '{}', ended_at = 2").await;
    let told = fresh.store.grants_ended_after(position).await.unwrap();
    assert!(matches!(told, Feed::Ended(grants, _) if grants == [grant.id]), "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_may_open_a_new_file_at_once() {
    let place = SqlitePlace::new();
    let stores = at_once(8, |_| {
        let settings = place.settings();
        async move { Store::open(&settings, WAITING_WRITES, Metrics::default().store).await.unwrap() }
    })
    .await;
    for (n, store) in stores.iter().enumerate() {
        let client = client(&format!("c_{n}"), place.clock.now());
        store.insert_client(&client, "A", 100, place.clock.now()).await.unwrap();
        assert_eq!(stores[0].client(&client.id).await.unwrap(), Some(client));
    }
}

#[tokio::test]
async fn the_database_files_are_private_to_their_owner() {
    let place = SqlitePlace::new();
    let fresh = Fresh::new(place.open().await);
    fresh.register("c_1", "A").await;
    let directory = place.file().parent().unwrap().to_owned();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["portcullis.db", "portcullis.db-shm", "portcullis.db-wal", "portcullis.db.lock"]);
}

#[tokio::test]
async fn a_database_readable_by_others_is_warned_about_with_a_hint() {
    let place = SqlitePlace::new();
    place.open().await.0.close().await;
    for (mode, warns) in [(0o600, false), (0o640, true), (0o604, true), (0o660, true), (0o400 | 0o200, false)] {
        std::fs::set_permissions(place.file(), std::fs::Permissions::from_mode(mode)).unwrap();
        let (log, guard) = crate::support::log::watch();
        place.open().await.0.close().await;
        drop(guard);
        let hint = format!("run `chmod 600 {}", place.file().display());
        assert_eq!(log.text().contains(&hint), warns, "{mode:o}: {}", log.text());
    }
}

#[tokio::test]
async fn a_missing_database_directory_is_reported_with_a_hint() {
    let place = SqlitePlace::new();
    let file = place.file().parent().unwrap().join("missing/portcullis.db");
    let error = refused(&file).await;
    let directory = file.parent().unwrap().display();
    assert!(error.ends_with(&format!("cannot be made: {directory} is not a directory; make it first")), "{error}");
    assert!(error.contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let place = SqlitePlace::new();
    let letter = "Dear Ada, ".repeat(1000);
    std::fs::write(place.file(), &letter).unwrap();
    let error = refused(&place.file()).await;
    assert!(error.contains("is damaged or no SQLite database"), "{error}");
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), letter);
}

#[tokio::test]
async fn a_newer_schema_that_only_adds_can_be_opened() {
    let place = SqlitePlace::new();
    place.open().await.0.close().await;
    by_hand(&place, "ALTER TABLE grants ADD COLUMN nickname TEXT; CREATE TABLE devices (id TEXT PRIMARY KEY)").await;
    by_hand(&place, "INSERT INTO _sqlx_migrations VALUES (9999, 'later', CURRENT_TIMESTAMP, TRUE, x'00', 1)").await;
    let fresh = Fresh::new(place.open().await);
    let grant = fresh.signed_in("c_1").await.grant;
    assert_eq!(fresh.store.grant(&grant.id).await.unwrap(), Some(grant));
}

#[tokio::test]
async fn a_schema_that_needs_a_newer_program_is_refused() {
    let place = SqlitePlace::new();
    place.open().await.0.close().await;
    by_hand(&place, "UPDATE compatibility SET oldest_program = 9999").await;
    let error = refused(&place.file()).await;
    assert!(error.contains("has a newer schema than this program: it needs one that knows migration 9999"), "{error}");
    assert!(error.contains("start the newer program"), "{error}");
}

#[tokio::test]
async fn a_schema_of_another_build_is_refused() {
    let place = SqlitePlace::new();
    place.open().await.0.close().await;
    by_hand(&place, "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1").await;
    let error = refused(&place.file()).await;
    assert!(error.contains("was made by another build: its migration 1 is not this program's"), "{error}");
}

#[tokio::test]
async fn a_column_added_while_the_program_runs_does_no_harm() {
    let place = SqlitePlace::new();
    let fresh = Fresh::new(place.open().await);
    let before = fresh.signed_in("c_1").await.grant;
    assert!(fresh.store.grant(&before.id).await.unwrap().is_some());
    by_hand(&place, "ALTER TABLE grants ADD COLUMN nickname TEXT").await;
    assert_eq!(fresh.store.grant(&before.id).await.unwrap(), Some(before));
    fresh.signed_in("c_1").await;
}

#[tokio::test]
async fn no_first_key_is_made_after_the_first_was_retired() {
    let place = SqlitePlace::new();
    let (store, ..) = place.open().await;
    store.insert_first_signing_key(&key("ES256", 1)).await.unwrap();
    by_hand(&place, "UPDATE signing_keys SET id = 'k_second', generation = 2").await;
    store.insert_first_signing_key(&key("ES256", 2)).await.unwrap();
    let kept = store.signing_keys().await.unwrap();
    assert_eq!(kept.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["k_second"]);
}

#[tokio::test]
async fn the_last_call_decides_whether_the_store_is_degraded() {
    let place = SqlitePlace::new();
    let fresh = Fresh::new(place.open().await);
    assert!(!fresh.store.is_degraded());
    by_hand(&place, "ALTER TABLE clients RENAME TO elsewhere").await;
    assert!(fresh.store.client(&"c_1".into()).await.is_err());
    assert!(fresh.store.is_degraded());
    by_hand(&place, "ALTER TABLE elsewhere RENAME TO clients").await;
    assert!(fresh.store.client(&"c_1".into()).await.is_ok());
    assert!(!fresh.store.is_degraded());
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let place = SqlitePlace::new();
    let (store, ..) = place.open().await;
    store.close().await;
    let error = store.client(&"c_1".into()).await.unwrap_err().to_string();
    assert!(error.ends_with("portcullis.db is closed: this process is ending"), "{error}");
}

/// A write, under way, and its name.
type Write<'a> = Pin<Box<dyn Future<Output = (&'static str, Result<(), StoreError>)> + Send + 'a>>;

fn write<'a, T: 'a>(name: &'static str, work: impl Future<Output = Result<T, StoreError>> + Send + 'a) -> Write<'a> {
    Box::pin(async move { (name, work.await.map(drop)) })
}

#[tokio::test]
async fn refreshes_redemptions_and_ends_pass_full_queues_of_registrations_and_approvals() {
    const MOST: usize = 4;
    let place = SqlitePlace::new();
    let metrics = Metrics::default();
    let fresh = Fresh::new(place.open_counted(MOST, metrics.store.clone()).await);
    let (store, now) = (&fresh.store, fresh.now());
    let (refreshes, ends) = (fresh.signed_in("c_1").await, fresh.signed_in("c_1").await.grant);
    assert!(store.take_refresh_lease(&refreshes.token.hash, "us", now + MINUTE, now).await.unwrap().is_some());
    let (code, claimed) = (fresh.code("c_1").await.1, fresh.claimed("c_1").await);
    let (redeemed, successor, next_code, ada) = (grant("c_1", now), refresh_token(now), some_hash(), ada());
    let rotation = rotation(&refreshes.grant.id, &refreshes.token.hash, &successor, now);
    let redemption = redemption(&code, &redeemed, None, now);
    let next_code = new_code(&next_code, now + MINUTE, &ada);
    let strangers: Vec<_> =
        (0..=MOST).map(|n| (client(&format!("c_new{n}"), now), authorization("c_1", now))).collect();

    let mut lock = database::connect(&place.settings()).await;
    lock.execute("BEGIN IMMEDIATE").await.unwrap();
    let mut under_way: FuturesUnordered<Write<'_>> = FuturesUnordered::new();
    under_way.push(write("first", store.refuse_authorization(&claimed.id, 7)));
    assert!(poll!(under_way.next()).is_pending(), "the database is locked");
    for (client, authorization) in &strangers[..MOST] {
        under_way.push(write("registration", store.insert_client(client, "A", 1000, now)));
        assert!(poll!(under_way.next()).is_pending());
        under_way.push(write("approval", store.insert_authorization(authorization)));
        assert!(poll!(under_way.next()).is_pending());
    }
    let (client, authorization) = &strangers[MOST];
    assert!(matches!(store.insert_client(client, "A", 1000, now).await, Err(StoreError::Busy)));
    assert!(matches!(store.insert_authorization(authorization).await, Err(StoreError::Busy)));
    assert!(metrics.encode().contains("limited_total{limit=\"waiting_writes\"} 2"), "{}", metrics.encode());

    under_way.push(write("refresh", store.rotate_refresh_token(&rotation)));
    under_way.push(write("redemption", store.redeem_code(&redemption)));
    under_way.push(write("end", store.end_grant(&ends.id, EndReason::IdentityProvider, now)));
    under_way.push(write("code", store.issue_code(&claimed.id, &next_code)));
    assert!(poll!(under_way.next()).is_pending(), "none of them is refused");
    lock.execute("ROLLBACK").await.unwrap();

    let done: Vec<_> = under_way.collect().await;
    assert!(done.iter().all(|(_, result)| result.is_ok()), "{done:?}");
    let order: Vec<_> = done.into_iter().map(|(name, _)| name).collect();
    assert_eq!(order[..5], ["first", "refresh", "redemption", "end", "code"], "{order:?}");
    assert_eq!(order[5..], [["approval"; MOST], ["registration"; MOST]].concat());
}
