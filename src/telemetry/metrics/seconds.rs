//! The buckets of every duration.

use prometheus_client::metrics::histogram::Histogram;

/// A histogram of durations in seconds: from a call on loopback to a tool that works for minutes.
pub(super) fn seconds() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 300.0,
    ])
}
