//! Sealing anew what older root keys sealed, so that they can be retired, and what the first release sealed without its
//! issuer.

use std::time::Duration;

use super::provider_token::{self, TokenOwner};
use super::seal::Sealer;
use super::signing_key;
use crate::storage::{SealedColumn, SealedValue, Store, StoreError};
use crate::telemetry::metrics::TaskRuns;

const BATCH: u16 = 200;
/// Longer than any call that has read a value and will write it back.
const PAUSE: Duration = Duration::from_mins(1);
/// Once all is done: a process of before may still be at work, with the older key in front.
const LONG_PAUSE: Duration = Duration::from_hours(1);

/// The work.
pub struct Resealing {
    store: Store,
    sealer: Sealer,
}

/// What one walk through the store did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Values that an older key sealed, and the first one seals now.
    pub resealed: u64,
    /// Values that no key of the ring opens.
    pub lost: u64,
}

impl Resealing {
    /// For everything in this store, under the first root key of the ring.
    #[must_use]
    pub const fn new(store: Store, sealer: Sealer) -> Self {
        Self { store, sealer }
    }

    /// Walks through the store until nothing is left to do, says so in the log, and goes on looking. A ring of one key is
    /// done after one walk.
    pub async fn run(self, runs: TaskRuns) {
        if !self.sealer.has_older_keys() {
            while let Err(cause) = self.walk().await {
                runs.ran(false);
                tracing::warn!(%cause, "the providers' tokens could not be bound to their issuers; it is tried again");
                tokio::time::sleep(PAUSE).await;
            }
            runs.ran(true);
            return std::future::pending().await;
        }
        let mut progress = Progress::default();
        loop {
            let walked = self.walk().await;
            runs.ran(walked.is_ok());
            match walked {
                Ok(walked) => progress.note(Some(walked)),
                Err(cause) => {
                    tracing::warn!(%cause, "what older root keys sealed could not be sealed anew; it is tried again");
                    progress.note(None);
                }
            }
            tokio::time::sleep(if progress.complete { LONG_PAUSE } else { PAUSE }).await;
        }
    }

    /// Seals everything anew that an older key of the ring sealed, in small transactions. Several processes may do so at
    /// once.
    ///
    /// # Errors
    /// When the store fails; what was done before that stays done.
    pub async fn walk(&self) -> Result<Resealed, StoreError> {
        let mut total = Resealed::default();
        for column in SealedColumn::ALL {
            let head = match column {
                SealedColumn::SigningKeys => self.sealer.head(),
                SealedColumn::Authorizations | SealedColumn::Grants => provider_token::head(&self.sealer),
            };
            let mut after = String::new();
            loop {
                let found = self.store.sealed_otherwise(column, &head, &after, BATCH.into()).await?;
                let Some(last) = found.last() else { break };
                last.id.clone_into(&mut after);
                let (count, opened) = (found.len(), self.reseal(column, found));
                total.lost += (count - opened.len()) as u64;
                total.resealed += self.store.replace_sealed(column, &opened).await?;
                if count < usize::from(BATCH) {
                    break;
                }
            }
        }
        Ok(total)
    }

    /// Each value that can be opened, with what takes its place.
    fn reseal(&self, column: SealedColumn, found: Vec<SealedValue>) -> Vec<(SealedValue, Vec<u8>)> {
        let anew = |value: SealedValue| {
            let sealed = match column {
                SealedColumn::SigningKeys => self.reseal_key(&value)?,
                SealedColumn::Authorizations | SealedColumn::Grants => self.reseal_token(&value)?,
            };
            Some((value, sealed))
        };
        found.into_iter().filter_map(anew).collect()
    }

    fn reseal_key(&self, value: &SealedValue) -> Option<Vec<u8>> {
        let (label, context) = (signing_key::SEALED_FOR, value.context.as_bytes());
        let plain = self.sealer.open(label, context, &value.bytes).ok()?;
        Some(self.sealer.seal(label, context, &plain))
    }

    /// A token of an identity that this program never knew stays as it is: its grant ends, and takes it along.
    fn reseal_token(&self, value: &SealedValue) -> Option<Vec<u8>> {
        let owner = TokenOwner { issuer: value.issuer.as_deref()?, subject: &value.context };
        provider_token::reseal(&self.sealer, owner, value.client_id.as_deref()?, &value.bytes).ok()
    }
}

/// What the walks up to now prove.
#[derive(Default)]
struct Progress {
    last: Option<Resealed>,
    complete: bool,
}

impl Progress {
    /// Notes a walk, `None` being one that failed, and logs what is news. All is done when a walk finds nothing, a pause
    /// after another: what was read before that one, and written back after it, would have been found.
    fn note(&mut self, walked: Option<Resealed>) {
        let Some(Resealed { resealed, lost }) = walked else {
            self.last = None;
            return;
        };
        if resealed > 0 {
            tracing::info!(resealed, "sealed anew under the first root key");
        }
        if lost > 0 && self.last.is_none_or(|last| last.lost != lost) {
            tracing::warn!(
                lost,
                "the store holds what no root key in secrets.keys opens: is one missing from the list?"
            );
        }
        let complete = resealed == 0 && (self.complete || self.last.is_some());
        if complete && !self.complete {
            tracing::info!(
                "everything in the store is sealed under the first root key: the others may leave secrets.keys"
            );
        }
        *self = Self { last: walked, complete };
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, Resealed};

    #[test]
    fn all_is_done_when_a_walk_after_another_finds_nothing() {
        let mut progress = Progress::default();
        let mut after = |walked: Option<u64>| {
            progress.note(walked.map(|resealed| Resealed { resealed, lost: 1 }));
            progress.complete
        };
        assert!(!after(Some(0)), "a refresh may have read before and write after");
        assert!(!after(None), "nobody looked");
        assert!(!after(Some(0)));
        assert!(!after(Some(3)));
        assert!(after(Some(0)));
        assert!(after(None), "a walk that fails takes nothing back");
        assert!(after(Some(0)));
        assert!(!after(Some(1)), "a process of before sealed it");
        assert!(after(Some(0)));
    }
}
