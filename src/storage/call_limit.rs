//! How long a call of the store may take.

use std::time::Duration;

/// The time limit of one call, waiting included. A longer call is rolled back.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);

/// How long a call waits for a connection to a server: less than the limit of a call, so that an outage is reported as one.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(4);
