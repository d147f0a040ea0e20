//! The revocation feed: what another process ends is known here, whatever happens to the clock.

use std::time::Duration;

use portcullis::model::grant::{EndReason, Grant};
use portcullis::revocation::Revocation;
use portcullis::storage::Retention;
use portcullis::telemetry::metrics::{Metrics, Task};

use crate::storage::{DAY, Fresh, HOUR, MINUTE, SqlitePlace};
use crate::support::log::Lines;

const SECOND: Duration = Duration::from_secs(1);

/// Another process that shares the database.
async fn another(place: &SqlitePlace) -> Fresh {
    Fresh::new(place.open().await)
}

async fn end(process: &Fresh, grant: &Grant) {
    process.store.end_grant(&grant.id, EndReason::IdentityProvider, process.now()).await.unwrap().unwrap();
}

/// Deletes what a process with this lifetime of access tokens no longer keeps.
async fn sweep(process: &Fresh, access_token: Duration) {
    let retention = Retention {
        consent: 15 * MINUTE,
        replay_window: 30 * SECOND,
        unused_client: DAY,
        used_client: 90 * DAY,
        access_token,
        remembered_consent: DAY,
    };
    while process.store.delete_expired(&retention, process.now(), 100).await.unwrap() > 0 {}
}

#[tokio::test]
async fn an_end_in_another_process_is_known_after_the_next_read_of_the_feed() {
    let place = SqlitePlace::new();
    let theirs = another(&place).await;
    let (ended, live) = (theirs.signed_in("c_1").await.grant, theirs.signed_in("c_1").await.grant);
    let revocation = Revocation::new(place.clock.clone());
    let (held, other) = (revocation.watch(&ended.id), revocation.watch(&live.id));
    revocation.read_feed(&theirs.store).await.unwrap();
    end(&theirs, &ended).await;
    assert!(!held.has_ended());
    revocation.read_feed(&theirs.store).await.unwrap();
    assert!(held.has_ended() && !other.has_ended());
}

#[tokio::test]
async fn an_end_before_the_first_read_of_the_feed_is_not_missed() {
    let place = SqlitePlace::new();
    let theirs = another(&place).await;
    let grant = theirs.signed_in("c_1").await.grant;
    let revocation = Revocation::new(place.clock.clone());
    let held = revocation.watch(&grant.id);
    end(&theirs, &grant).await;
    revocation.read_feed(&theirs.store).await.unwrap();
    assert!(held.has_ended());
}

#[tokio::test]
async fn no_step_of_the_wall_clock_hides_the_end_of_a_grant() {
    for steps in [[4000, -4000], [-4000, 4000], [4000, 4000], [-100_000, 1]] {
        let place = SqlitePlace::new();
        let theirs = another(&place).await;
        let mut grants = Vec::new();
        for _ in 0..4 {
            grants.push(theirs.signed_in("c_1").await.grant);
        }
        let revocation = Revocation::new(place.clock.clone());
        let held: Vec<_> = grants.iter().map(|grant| revocation.watch(&grant.id)).collect();
        revocation.read_feed(&theirs.store).await.unwrap();
        end(&theirs, &grants[0]).await;
        for (grant, step) in grants[1..].iter().zip(steps) {
            place.clock.step(step);
            revocation.read_feed(&theirs.store).await.unwrap();
            end(&theirs, grant).await;
            place.clock.advance(3 * SECOND);
        }
        end(&theirs, &grants[3]).await;
        // a process that starts while the clock is wrong, and reads late
        let late = Revocation::new(place.clock.clone());
        let held_there: Vec<_> = grants.iter().map(|grant| late.watch(&grant.id)).collect();
        place.clock.step(-steps[0]);
        for revocation in [&revocation, &late] {
            revocation.read_feed(&theirs.store).await.unwrap();
        }
        assert!(held.iter().chain(&held_there).all(|held| held.has_ended()), "{steps:?}");
    }
}

#[tokio::test]
async fn an_ended_grant_stays_ended_after_its_rows_are_deleted() {
    let place = SqlitePlace::new();
    let theirs = another(&place).await;
    let grant = theirs.signed_in("c_1").await.grant;
    let revocation = Revocation::new(place.clock.clone());
    let held = revocation.watch(&grant.id);
    end(&theirs, &grant).await;
    revocation.read_feed(&theirs.store).await.unwrap();
    for _ in 0..3 {
        place.clock.advance(100 * DAY);
        sweep(&theirs, 5 * SECOND).await;
        revocation.read_feed(&theirs.store).await.unwrap();
        assert!(held.has_ended());
    }
    assert!(theirs.store.grant(&grant.id).await.unwrap().is_none(), "even its row is gone");
}

#[tokio::test]
async fn a_gap_in_the_feed_is_closed_by_reading_the_watched_grants() {
    let place = SqlitePlace::new();
    let (ours, theirs) = (another(&place).await, another(&place).await);
    let grants = [theirs.signed_in("c_1").await.grant, theirs.signed_in("c_1").await.grant];
    let live = theirs.signed_in("c_1").await.grant;
    let revocation = Revocation::new(place.clock.clone());
    let held = grants.each_ref().map(|grant| revocation.watch(&grant.id));
    let other = revocation.watch(&live.id);
    revocation.read_feed(&ours.store).await.unwrap();
    for grant in &grants {
        end(&theirs, grant).await;
    }
    // the feed is not read for two hours: its log keeps only the newest end, and the store not even the grants
    place.clock.advance(2 * HOUR);
    sweep(&theirs, 5 * SECOND).await;
    assert!(theirs.store.grant(&grants[0].id).await.unwrap().is_none());
    revocation.read_feed(&ours.store).await.unwrap();
    assert!(held.iter().all(|held| held.has_ended()));
    assert!(!other.has_ended());
    end(&theirs, &live).await;
    revocation.read_feed(&ours.store).await.unwrap();
    assert!(other.has_ended(), "from then on the feed works as before");
}

#[tokio::test]
async fn ends_during_an_outage_of_the_store_are_known_afterwards() {
    let place = SqlitePlace::new();
    let (ours, theirs) = (another(&place).await, another(&place).await);
    let grant = theirs.signed_in("c_1").await.grant;
    let revocation = Revocation::new(place.clock.clone());
    let held = revocation.watch(&grant.id);
    theirs.clock.advance(MINUTE);
    revocation.read_feed(&ours.store).await.unwrap();
    assert_eq!(revocation.staleness(), Duration::ZERO);
    ours.store.close().await;
    theirs.clock.advance(5 * SECOND);
    assert_eq!(revocation.staleness(), Duration::ZERO, "the feed was not read since");
    revocation.read_feed(&ours.store).await.unwrap_err();
    assert_eq!(revocation.staleness(), 5 * SECOND, "counted from the last read");
    end(&theirs, &grant).await;
    theirs.clock.step(-4000);
    theirs.clock.advance(10 * MINUTE);
    revocation.read_feed(&ours.store).await.unwrap_err();
    assert_eq!(revocation.staleness(), 10 * MINUTE + 5 * SECOND, "a step of the wall clock does not change it");
    assert!(!held.has_ended());
    revocation.read_feed(&theirs.store).await.unwrap();
    assert_eq!(revocation.staleness(), Duration::ZERO);
    assert!(held.has_ended());
}

#[tokio::test]
async fn the_running_feed_wakes_those_who_wait_for_the_end() {
    let place = SqlitePlace::new();
    let (ours, theirs) = (another(&place).await, another(&place).await);
    let grant = theirs.signed_in("c_1").await.grant;
    let revocation = Revocation::new(place.clock.clone());
    let held = revocation.watch(&grant.id);
    let runs = Metrics::default().background.task(Task::RevocationFeed, &place.clock);
    let feed = tokio::spawn(revocation.clone().run(ours.store.clone(), runs));
    end(&theirs, &grant).await;
    tokio::time::timeout(Duration::from_secs(30), held.ended()).await.unwrap();
    feed.abort();
    assert!(feed.await.unwrap_err().is_cancelled(), "it never ends by itself");
}

#[tokio::test]
async fn an_outage_of_the_feed_is_logged_when_it_begins_and_when_it_ends() {
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
    let revocation = Revocation::new(place.clock.clone());
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
    ERROR the revocation feed cannot be read: tokens of grants that other processes end stay valid error=the database cannot be used: FILE is closed: this process is ending
     INFO the revocation feed works again outage_seconds=4
    ");
}
