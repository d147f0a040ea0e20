//! Verifying ID tokens with the provider's keys, which change, and which cannot always be had.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::exchange::Explanation;
use super::health::Health;
use super::id_token::{self, Expected, IdTokenError, Identified};
use super::metadata::ProviderMetadata;
use crate::clock::Clock;
use crate::config::OidcSettings;
use crate::keys::{PublicKeys, ReadKeys, RemoteKeys, RemoteKeysError, Unfound};
use crate::outbound::Fetcher;
use crate::rights::GroupReader;
use crate::secret::SecretText;
use crate::telemetry::excerpt;

/// The ID tokens of one provider.
pub(super) struct IdTokens {
    identity: String,
    settings: OidcSettings,
    groups: GroupReader,
    keys: RemoteKeys,
    health: Arc<Health>,
    clock: Clock,
    told_of_email: AtomicBool,
}

/// An ID token, and what came with it.
pub(super) struct Received<'a> {
    pub(super) id_token: &'a SecretText,
    pub(super) access_token: &'a SecretText,
    /// What the sign-in asked for; `None` at a renewal, which has none.
    pub(super) nonce: Option<&'a str>,
}

/// Why an ID token names no user.
pub(super) enum Unidentified {
    /// The keys cannot be had now.
    NoKeys(String),
    /// It must not be believed.
    Untrue(String),
    /// It is believed, and its user may not sign in.
    NotAdmitted {
        /// For the operator.
        why: String,
        /// For the user.
        told: Explanation,
    },
}

impl IdTokens {
    pub(super) fn new(
        identity: &str,
        settings: &OidcSettings,
        fetcher: Fetcher,
        health: Arc<Health>,
        clock: Clock,
    ) -> Self {
        Self {
            groups: GroupReader::new(identity.to_owned(), settings.groups.clone()),
            identity: identity.to_owned(),
            settings: settings.clone(),
            keys: RemoteKeys::new(fetcher, clock.clone(), health.calls().clone()),
            health,
            clock,
            told_of_email: AtomicBool::new(false),
        }
    }

    /// How the groups of its users are read, in other documents too.
    pub(super) const fn groups(&self) -> &GroupReader {
        &self.groups
    }

    /// Reads the keys when they are old, before a sign-in needs them.
    pub(super) async fn prepare(&self, metadata: &ProviderMetadata) -> Result<(), RemoteKeysError> {
        self.keys.get(&metadata.jwks_uri).await.map(drop)
    }

    /// The keys that are known, or that can be read now.
    pub(super) async fn keys(&self, metadata: &ProviderMetadata) -> Result<ReadKeys, RemoteKeysError> {
        let read = self.keys.get(&metadata.jwks_uri).await;
        read.inspect_err(|cause| self.health.failed(&cause.to_string()))
    }

    /// See [`RemoteKeys::refetch`].
    pub(super) async fn refetch(&self, metadata: &ProviderMetadata) -> Unfound {
        self.keys.refetch(&metadata.jwks_uri).await
    }

    /// See [`RemoteKeys::refetch_patiently`].
    pub(super) async fn refetch_patiently(&self, metadata: &ProviderMetadata) -> Unfound {
        self.keys.refetch_patiently(&metadata.jwks_uri).await
    }

    /// Verifies a token; a key that is not known leads to one more reading of the keys.
    pub(super) async fn identify(
        &self,
        metadata: &ProviderMetadata,
        received: &Received<'_>,
    ) -> Result<Identified, Unidentified> {
        let read = self.keys(metadata).await.map_err(|cause| self.no_keys(&cause.to_string()))?;
        let expected = Expected {
            flavour: &self.settings.flavour,
            issuer: &metadata.issuer,
            client_id: &self.settings.client_id,
            nonce: received.nonce,
            access_token: received.access_token.expose(),
            groups: &self.groups,
            trust_email: self.settings.trust_email,
            now: self.clock.now(),
        };
        let verify = |keys: &PublicKeys| id_token::verify(received.id_token.expose(), keys, &expected);
        let mut verified = verify(&read.keys);
        if verified == Err(IdTokenError::UnknownKey) {
            // the code is spent: another try would be another sign-in
            match self.refetch_patiently(metadata).await {
                Unfound::Reread(read) | Unfound::TooSoon(read) => verified = verify(&read.keys),
                Unfound::Failed(cause) => return Err(self.no_keys(&cause.to_string())),
            }
        }
        if verified.as_ref().is_ok_and(|identified| identified.user.email_withheld) {
            self.tell_of_withheld_email();
        }
        verified.map_err(|error| match error {
            IdTokenError::UnknownKey => self.untrue(&format!("no key of {} signed it", metadata.jwks_uri)),
            IdTokenError::Untrue(cause) => self.untrue(&cause),
            IdTokenError::NotAdmitted { why, told } => {
                Unidentified::NotAdmitted { why: format!("the ID token of identity {}: {why}", self.identity), told }
            }
        })
    }

    /// Once: it is a setting, not an event.
    fn tell_of_withheld_email(&self) {
        if !self.told_of_email.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                identity = self.identity,
                "the provider does not say that its users' e-mail addresses are verified (email_verified), so \
                 X-Forwarded-Email is not sent for them: have it say so, or set trust_email = true where people cannot \
                 enter any address they like"
            );
        }
    }

    fn no_keys(&self, cause: &str) -> Unidentified {
        Unidentified::NoKeys(format!("identity {}: {cause}", self.identity))
    }

    fn untrue(&self, cause: &str) -> Unidentified {
        Unidentified::Untrue(format!("the ID token of identity {} is not believed: {}", self.identity, excerpt(cause)))
    }
}
