//! A provider's metadata: fetched, and kept fresh.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Notify;

use super::generic::Symptom;
use super::health::Health;
use super::metadata::{ProviderMetadata, WRONG_ADDRESS};
use crate::clock::Clock;
use crate::config::OidcSettings;
use crate::keys::{Refetch, Refetched};
use crate::outbound::{Diagnosis, Fetcher};
use crate::secret::random;
use crate::telemetry::metrics::ProviderCall;

/// How long the document may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(4);
/// How often it is read again.
const EVERY: Duration = Duration::from_mins(1);
/// How often it is tried while it cannot be read; give or take a fifth, so that replicas do not come together.
const EVERY_WHILE_FAILING: Duration = Duration::from_secs(5);

/// The metadata of one provider.
pub(super) struct Discovery {
    source: Arc<Source>,
    refetch: Refetch,
    wake: Notify,
}

struct Source {
    identity: String,
    settings: OidcSettings,
    fetcher: Fetcher,
    health: Arc<Health>,
    known: RwLock<Option<Arc<ProviderMetadata>>>,
    /// Why the last reading failed, if it did.
    failure: RwLock<Option<Diagnosis>>,
}

impl Discovery {
    pub(super) fn new(
        identity: &str,
        settings: &OidcSettings,
        fetcher: Fetcher,
        health: Arc<Health>,
        clock: Clock,
    ) -> Self {
        let (identity, settings) = (identity.to_owned(), settings.clone());
        let source =
            Source { identity, settings, fetcher, health, known: RwLock::default(), failure: RwLock::default() };
        Self { source: Arc::new(source), refetch: Refetch::new(clock), wake: Notify::new() }
    }

    /// What was read last.
    pub(super) fn known(&self) -> Option<Arc<ProviderMetadata>> {
        self.source.known()
    }

    /// What was read last; when nothing was, the task in [`Self::pause`] is woken.
    pub(super) fn known_or_hurry(&self) -> Option<Arc<ProviderMetadata>> {
        let known = self.known();
        if known.is_none() {
            self.wake.notify_one();
        }
        known
    }

    /// Why the document could not be read the last time, if it could not.
    pub(super) fn last_failure(&self) -> Option<Diagnosis> {
        self.source.failure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was read last; read now when nothing was.
    pub(super) async fn get(&self) -> Result<Arc<ProviderMetadata>, Diagnosis> {
        if let Some(known) = self.source.known() {
            return Ok(known);
        }
        let refreshed = self.refresh().await;
        self.source.known().ok_or_else(|| refreshed.err().unwrap_or_else(|| Diagnosis::new("was never read")))
    }

    async fn refresh(&self) -> Result<(), Diagnosis> {
        let source = Arc::clone(&self.source);
        match self.refetch.ask(async move { source.read().await }).await {
            Refetched::Fresh | Refetched::TooSoon => Ok(()),
            Refetched::Failed(failure) => Err(failure),
        }
    }

    /// Reads the document again and logs when that begins or ceases to fail; returns whether it fails.
    pub(super) async fn keep(&self, failed_before: bool) -> bool {
        match self.refresh().await {
            Ok(()) if failed_before => {
                tracing::info!(identity = self.source.identity, "the identity provider is back");
                false
            }
            Ok(()) => false,
            Err(failure) => {
                if !failed_before {
                    tracing::warn!("{failure}");
                }
                true
            }
        }
    }

    /// Waits until it is time to read again, or until the document is needed and was never read.
    pub(super) async fn pause(&self, failing: bool) {
        let [random] = random();
        tokio::select! {
            () = tokio::time::sleep(pause(failing, random)) => {}
            () = self.wake.notified() => {}
        }
    }
}

fn pause(failing: bool, random: u8) -> Duration {
    if failing { EVERY_WHILE_FAILING.mul_f64(0.8 + 0.4 * f64::from(random) / 255.0) } else { EVERY }
}

impl Source {
    fn known(&self) -> Option<Arc<ProviderMetadata>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was read before stays in use when the new document cannot be believed.
    async fn read(&self) -> Result<(), Diagnosis> {
        let read = self.health.calls().timed(ProviderCall::Discovery, self.fetch()).await.map_err(|failure| {
            let (identity, url) = (&self.identity, &self.settings.discovery);
            failure.in_context(format_args!("the discovery document of identity {identity} at {url}"))
        });
        *self.failure.write().unwrap_or_else(PoisonError::into_inner) = read.as_ref().err().cloned();
        match read {
            Ok(metadata) => {
                self.health.answered();
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(metadata));
                Ok(())
            }
            Err(failure) => {
                self.health.failed(&failure.to_string());
                Err(failure)
            }
        }
    }

    async fn fetch(&self) -> Result<ProviderMetadata, Diagnosis> {
        let fetched = self.fetcher.get(self.settings.discovery.as_str(), TIMEOUT).await?;
        if fetched.status == StatusCode::OK {
            return ProviderMetadata::parse(&fetched.body, &self.settings, &self.identity);
        }
        let answers = Diagnosis::new(format!("it answers {}", fetched.status.as_u16()));
        if let Some(hint) = self.settings.flavour.hint(Symptom::NoMetadata(fetched.status), &self.identity) {
            return Err(answers.with_hint(hint));
        }
        Err(match fetched.status {
            other if other.is_redirection() => {
                answers.with_hint("redirects are not followed, set `discovery` to where it leads")
            }
            other if other.is_client_error() => answers.with_hint(WRONG_ADDRESS),
            _ => answers
                .with_hint("the server is reached but fails: see its log, and the log of any proxy in front of it"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::pause;

    #[test]
    fn a_failing_provider_is_asked_about_every_five_seconds_and_a_good_one_every_minute() {
        assert_eq!(pause(false, 200), Duration::from_mins(1));
        assert_eq!(pause(true, 0), Duration::from_secs(4));
        assert_eq!(pause(true, 255), Duration::from_secs(6));
    }
}
