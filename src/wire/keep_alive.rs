//! TCP keep-alive, towards clients and upstreams alike. A stream of events may be silent for hours; only probes reveal a
//! peer that vanished.

use std::time::Duration;

/// How long a connection is idle before the first probe.
pub(crate) const IDLE: Duration = Duration::from_mins(1);
/// The time between two probes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(15);
/// How many probes may stay unanswered.
pub(crate) const PROBES: u32 = 4;
