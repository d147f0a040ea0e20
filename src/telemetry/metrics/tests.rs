use std::time::Duration;

use http::StatusCode;

use super::{Metrics, StoreCall, Task, TokenCheck};
use crate::clock::{Clock, Timestamp};

/// The value of the line that begins with this.
fn value(metrics: &Metrics, series: &str) -> Option<String> {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(series))?;
    line.strip_prefix(' ').map(str::to_owned)
}

#[test]
fn requests_are_counted_by_route_and_status() {
    let metrics = Metrics::default();
    let route = metrics.requests.route("/mcp");
    for status in [StatusCode::OK, StatusCode::OK, StatusCode::UNAUTHORIZED] {
        route.answered(status, Duration::from_millis(3));
    }
    let of = |status| value(&metrics, &format!("portcullis_requests_total{{route=\"/mcp\",status=\"{status}\"}}"));
    assert_eq!((of(200).as_deref(), of(401).as_deref(), of(500)), (Some("2"), Some("1"), None));
    let count = "portcullis_request_duration_seconds_count{route=\"/mcp\"}";
    assert_eq!(value(&metrics, count).as_deref(), Some("3"));
    let bucket = "portcullis_request_duration_seconds_bucket{le=\"0.0025\",route=\"/mcp\"}";
    assert_eq!(value(&metrics, bucket).as_deref(), Some("0"));
}

#[test]
fn what_is_open_counts_until_it_is_dropped() {
    let metrics = Metrics::default();
    let request = metrics.requests.begin();
    let stream = metrics.calls.upstream(&"expenses".into()).stream();
    let open = || {
        let series = ["portcullis_requests_in_flight", "portcullis_open_streams{upstream=\"expenses\"}"];
        series.map(|series| value(&metrics, series).unwrap())
    };
    assert_eq!(open(), ["1", "1"]);
    drop((request, stream));
    assert_eq!(open(), ["0", "0"]);
}

#[test]
fn clones_count_together_and_two_processes_apart() {
    let (metrics, other) = (Metrics::default(), Metrics::default());
    metrics.clone().calls.token_checks(TokenCheck::Cached).inc();
    metrics.calls.token_checks(TokenCheck::Cached).inc();
    let series = "portcullis_token_checks_total{result=\"cached\"}";
    assert_eq!((value(&metrics, series).as_deref(), value(&other, series)), (Some("2"), None));
}

#[test]
fn a_failure_is_told_from_a_success() {
    let metrics = Metrics::default();
    metrics.store.called(StoreCall::Write, false, Duration::from_secs(1));
    metrics.store.called(StoreCall::Read, true, Duration::ZERO);
    let clock = Clock::manual(Timestamp(1_800_000_000));
    let expiry = metrics.background.task(Task::Expiry, &clock);
    expiry.ran(true);
    clock.advance(Duration::from_mins(1));
    expiry.ran(false);
    let text = metrics.encode();
    assert!(text.contains("portcullis_store_failures_total{call=\"write\"} 1\n"), "{text}");
    assert!(text.contains("portcullis_store_failures_total{call=\"read\"} 0\n"), "{text}");
    let last = "portcullis_background_success_time_seconds{task=\"expiry\"} 1800000000\n";
    assert!(text.contains(last), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_task_that_never_succeeded_has_no_time_of_success() {
    let metrics = Metrics::default();
    let expiry = metrics.background.task(Task::Expiry, &Clock::manual(Timestamp(1_800_000_000)));
    let series = "portcullis_background_success_time_seconds{task=\"expiry\"}";
    assert_eq!(value(&metrics, series), None);
    expiry.ran(false);
    assert_eq!(value(&metrics, series), None);
    expiry.ran(true);
    assert_eq!(value(&metrics, series).as_deref(), Some("1800000000"));
}
