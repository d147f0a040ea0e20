//! How long a call of the store may take.

use std::time::Duration;

/// The limit of one call, waiting included. What takes longer is rolled back.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);
