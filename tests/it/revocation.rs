//! The revocation feed: what another process ends is known here.

use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::model::grant::{EndReason, Grant};
use portcullis::revocation::Revocation;

use crate::storage::{Fresh, HOUR, MINUTE, START, SqlitePlace};
use crate::support::log::Lines;

const SECOND: Duration = Duration::from_secs(1);

/// Another process that shares the database.
async fn another(place: &SqlitePlace) -> Fresh {
    Fresh::new(place.open().await)
}

async fn end(process: &Fresh, grant: &Grant) {
    process.store.end_grant(&grant.id, EndReason::IdentityProvider, process.now()).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_ended_before_the_start_is_known_after_the_first_read() {
    let place = SqlitePlace::new();
    let theirs = another(&place).await;
    let (dead, recent, live) =
        (theirs.signed_in("c_1").await.grant, theirs.signed_in("c_1").await.grant, theirs.signed_in("c_1").await.grant);
    end(&theirs, &dead).await;
    theirs.clock.advance(2 * MINUTE);
    end(&theirs, &recent).await;
    theirs.clock.advance(HOUR);
    let revocation = Revocation::new(place.clock.clone(), HOUR);
    assert!(!revocation.has_ended(&recent.id));
    revocation.read_feed(&theirs.store).await.unwrap();
    assert_eq!(revocation.epoch(), 1);
    assert!(revocation.has_ended(&recent.id));
    assert!(!revocation.has_ended(&dead.id), "its tokens are dead without us");
    assert!(!revocation.has_ended(&live.id));
}

#[tokio::test]
async fn an_end_that_was_stamped_before_the_last_read_and_committed_after_it_is_not_missed() {
    let place = SqlitePlace::new();
    let theirs = another(&place).await;
    let grant = theirs.signed_in("c_1").await.grant;
    let revocation = Revocation::new(place.clock.clone(), HOUR);
    theirs.clock.advance(HOUR);
    revocation.read_feed(&theirs.store).await.unwrap();
    let stamp = theirs.now().before(10 * SECOND);
    theirs.store.end_grant(&grant.id, EndReason::IdentityProvider, stamp).await.unwrap().unwrap();
    theirs.clock.advance(SECOND);
    revocation.read_feed(&theirs.store).await.unwrap();
    assert!(revocation.has_ended(&grant.id));
    let epoch = revocation.epoch();
    revocation.read_feed(&theirs.store).await.unwrap();
    assert_eq!(revocation.epoch(), epoch, "what is read again is not new");
}

#[tokio::test]
async fn what_ended_during_an_outage_is_known_when_it_is_over() {
    let place = SqlitePlace::new();
    let (ours, theirs) = (another(&place).await, another(&place).await);
    let grant = theirs.signed_in("c_1").await.grant;
    let revocation = Revocation::new(place.clock.clone(), HOUR);
    theirs.clock.advance(MINUTE);
    revocation.read_feed(&ours.store).await.unwrap();
    assert_eq!(revocation.staleness(), Duration::ZERO);
    ours.store.close().await;
    theirs.clock.advance(5 * SECOND);
    assert_eq!(revocation.staleness(), Duration::ZERO, "nobody has asked since");
    revocation.read_feed(&ours.store).await.unwrap_err();
    assert_eq!(revocation.staleness(), 5 * SECOND, "counted from the last read");
    end(&theirs, &grant).await;
    theirs.clock.advance(10 * MINUTE);
    revocation.read_feed(&ours.store).await.unwrap_err();
    assert_eq!(revocation.staleness(), 10 * MINUTE + 5 * SECOND);
    assert_eq!(revocation.epoch(), 0);
    revocation.read_feed(&theirs.store).await.unwrap();
    assert_eq!(revocation.staleness(), Duration::ZERO);
    assert!(revocation.has_ended(&grant.id));
}

#[tokio::test]
async fn an_end_is_forgotten_when_its_tokens_are_dead_and_the_epoch_stays() {
    let place = SqlitePlace::new();
    let store = another(&place).await.store;
    let revocation = Revocation::new(place.clock.clone(), HOUR);
    revocation.add("g_1".into(), START);
    place.clock.advance(HOUR + 59 * SECOND);
    revocation.read_feed(&store).await.unwrap();
    assert!(revocation.has_ended(&"g_1".into()));
    place.clock.advance(MINUTE);
    revocation.read_feed(&store).await.unwrap();
    assert!(!revocation.has_ended(&"g_1".into()));
    assert_eq!(revocation.epoch(), 1);
}

#[tokio::test]
async fn the_running_feed_wakes_who_waits_for_the_epoch() {
    let place = SqlitePlace::new();
    let (ours, theirs) = (another(&place).await, another(&place).await);
    let grant = theirs.signed_in("c_1").await.grant;
    let revocation = Revocation::new(place.clock.clone(), HOUR);
    let mut moved = revocation.subscribe();
    let feed = tokio::spawn(revocation.clone().run(ours.store.clone()));
    end(&theirs, &grant).await;
    tokio::time::timeout(Duration::from_secs(30), moved.changed()).await.unwrap().unwrap();
    assert!(revocation.has_ended(&grant.id));
    feed.abort();
    assert!(feed.await.unwrap_err().is_cancelled(), "it never ends by itself");
}

#[tokio::test]
async fn an_outage_is_logged_when_it_begins_and_when_it_ends() {
    let place = SqlitePlace::new();
    let (ours, theirs) = (another(&place).await, another(&place).await);
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let revocation = Revocation::new(Clock::clone(&place.clock), HOUR);
    revocation.read_feed(&ours.store).await.unwrap();
    ours.store.close().await;
    for _ in 0..3 {
        place.clock.advance(SECOND);
        revocation.read_feed(&ours.store).await.unwrap_err();
    }
    for _ in 0..3 {
        place.clock.advance(SECOND);
        revocation.read_feed(&theirs.store).await.unwrap();
    }
    let text = lines.text();
    let text = text.replace(&place.file().display().to_string(), "FILE");
    insta::assert_snapshot!(text, @r"
    ERROR grants that other processes end are not known now; their tokens stay good until they expire error=the database is unavailable: FILE is closed: this process is ending
     INFO grants that other processes end are known again outage_seconds=4
    ");
}
