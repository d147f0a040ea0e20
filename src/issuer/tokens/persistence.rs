//! A write that must not be lost to a store that fails for a moment.

use std::time::Duration;

use tokio::time::sleep;

use crate::model::ids::GrantId;
use crate::storage::StoreError;

/// How often, and at which intervals, what a provider has agreed to is written.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(300);

/// Writes what a renewal of a grant brought, and tries again when the store fails.
pub(in crate::issuer) async fn persist<F>(grant: &GrantId, mut write: impl FnMut() -> F) -> Result<bool, StoreError>
where
    F: Future<Output = Result<bool, StoreError>>,
{
    let mut tries = 1;
    loop {
        match write().await {
            Ok(written) => return Ok(written),
            Err(error) if tries == TRIES => return Err(error),
            Err(error) => tracing::warn!(%grant, %error, "a renewal could not be written; again"),
        }
        tries += 1;
        sleep(PAUSE).await;
    }
}
