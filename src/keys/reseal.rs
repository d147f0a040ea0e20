//! Key rotation: re-encrypts values under the first root key, so that older ones can be removed, and binds the first
//! release's provider tokens to their issuer.

use std::time::Duration;

use super::provider_token::{self, TokenOwner};
use super::seal::Sealer;
use super::signing_key;
use crate::storage::{SealedColumn, SealedValue, Store, StoreError};
use crate::telemetry::metrics::TaskRuns;

const BATCH: u16 = 200;
/// Longer than any request takes between reading a value and writing it back.
const PAUSE: Duration = Duration::from_mins(1);
/// The pause after completion: another process may still run with the older key in front.
const LONG_PAUSE: Duration = Duration::from_hours(1);

/// The background task.
pub struct Resealing {
    store: Store,
    sealer: Sealer,
}

/// The result of one pass over the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Values that were re-encrypted under the first key.
    pub resealed: u64,
    /// Values that no key of the ring decrypts.
    pub lost: u64,
}

impl Resealing {
    /// Re-encrypts everything in `store` under the first root key of `sealer`.
    #[must_use]
    pub const fn new(store: Store, sealer: Sealer) -> Self {
        Self { store, sealer }
    }

    /// Makes passes over the store until nothing is left to do, logs that, and continues with longer pauses. With a single
    /// key, one successful pass is enough.
    pub async fn run(self, runs: TaskRuns) {
        if !self.sealer.has_older_keys() {
            while let Err(cause) = self.pass().await {
                runs.ran(false);
                tracing::warn!(%cause, "the providers' tokens could not be bound to their issuers; retrying");
                tokio::time::sleep(PAUSE).await;
            }
            runs.ran(true);
            return std::future::pending().await;
        }
        let mut progress = Progress::default();
        loop {
            let passed = self.pass().await;
            runs.ran(passed.is_ok());
            match passed {
                Ok(passed) => progress.note(Some(passed)),
                Err(cause) => {
                    tracing::warn!(%cause, "values under older root keys could not be re-encrypted; retrying");
                    progress.note(None);
                }
            }
            tokio::time::sleep(if progress.complete { LONG_PAUSE } else { PAUSE }).await;
        }
    }

    /// Re-encrypts everything under older keys, in small transactions. Several processes may do this concurrently.
    ///
    /// # Errors
    /// When the store fails; finished transactions remain.
    pub async fn pass(&self) -> Result<Resealed, StoreError> {
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

    /// Every value that can be decrypted, with its replacement.
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

    /// `None` for a token of an unknown identity: it is deleted when its grant ends.
    fn reseal_token(&self, value: &SealedValue) -> Option<Vec<u8>> {
        let owner = TokenOwner { issuer: value.issuer.as_deref()?, subject: &value.context };
        provider_token::reseal(&self.sealer, owner, value.client_id.as_deref()?, &value.bytes).ok()
    }
}

/// What the passes so far prove.
#[derive(Default)]
struct Progress {
    last: Option<Resealed>,
    complete: bool,
}

impl Progress {
    /// Records a pass (`None` if it failed) and logs changes. Rotation is complete when a pass finds nothing a pause after
    /// another one: a value that a request had read before the earlier pass, and wrote back after it, would have been found.
    fn note(&mut self, passed: Option<Resealed>) {
        let Some(Resealed { resealed, lost }) = passed else {
            self.last = None;
            return;
        };
        if resealed > 0 {
            tracing::info!(resealed, "re-encrypted under the first root key");
        }
        if lost > 0 && self.last.is_none_or(|last| last.lost != lost) {
            tracing::warn!(
                lost,
                "the store has values that no root key in secrets.keys decrypts: is one missing from the list?"
            );
        }
        let complete = resealed == 0 && (self.complete || self.last.is_some());
        if complete && !self.complete {
            tracing::info!(
                "everything in the store is encrypted under the first root key: the others can be removed from secrets.keys"
            );
        }
        *self = Self { last: passed, complete };
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, Resealed};

    #[test]
    fn rotation_is_complete_when_a_second_pass_finds_nothing() {
        let mut progress = Progress::default();
        let mut after = |passed: Option<u64>| {
            progress.note(passed.map(|resealed| Resealed { resealed, lost: 1 }));
            progress.complete
        };
        assert!(!after(Some(0)), "a refresh may have read a value before this pass and write it back after it");
        assert!(!after(None), "a failed pass proves nothing");
        assert!(!after(Some(0)));
        assert!(!after(Some(3)));
        assert!(after(Some(0)));
        assert!(after(None), "a failed pass does not undo completion");
        assert!(after(Some(0)));
        assert!(!after(Some(1)), "a process with the old configuration wrote it");
        assert!(after(Some(0)));
    }
}
