//! Our own authorization server, and what it remembers. It does not exist where every upstream accepts the tokens of other
//! issuers alone: then no database is opened, and no identity provider is needed.

use std::sync::Arc;

use super::StartError;
use super::background::Background;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::delegation;
use crate::gateway::OwnParts;
use crate::identity::Identities;
use crate::issuer::{Issuer, IssuerParts};
use crate::keys::{KeyRing, Resealing, Rotation, RotationSchedule, RotationTerms, Sealer};
use crate::limits::Limits;
use crate::outbound::{LookUp, UntrustedFetcher};
use crate::revocation::Revocation;
use crate::storage::Store;
use crate::telemetry::metrics::{Metrics, Task};

/// The authorization server and its memory. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    issuer: Issuer,
    identities: Identities,
    revocation: Revocation,
    store: Store,
    sealer: Sealer,
    ring: KeyRing,
    parts: AuthorityParts,
}

/// What it is made of.
#[derive(Clone)]
pub(super) struct AuthorityParts {
    pub(super) config: Arc<Config>,
    pub(super) sealer: Sealer,
    pub(super) limits: Limits,
    pub(super) look_up: LookUp,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) audit: Audit,
}

impl Authority {
    /// Opens the store, loads or makes the keys.
    pub(super) async fn build(parts: AuthorityParts) -> Result<Self, StartError> {
        let AuthorityParts { config, sealer, limits, look_up, clock, metrics, audit } = parts.clone();
        let store = Store::open(&config.storage, config.limits.waiting_writes, metrics.store.clone()).await?;
        let ring = KeyRing::load(store.clone(), sealer.clone(), config.tokens.algorithm, clock.clone()).await?;
        let identities = Identities::new(&config, &clock, &metrics.providers);
        let revocation = Revocation::new(clock.clone());
        let untrusted = UntrustedFetcher::configured(&config, look_up);
        let issuer = Issuer::new(IssuerParts {
            config,
            store: store.clone(),
            revocation: revocation.clone(),
            ring: ring.clone(),
            sealer: sealer.clone(),
            identities: identities.clone(),
            untrusted,
            limits,
            clock,
            metrics,
            audit,
        });
        Ok(Self { issuer, identities, revocation, store, sealer, ring, parts })
    }

    /// What the gateway verifies our tokens with.
    pub(super) fn own_parts(&self) -> OwnParts {
        OwnParts { store: self.store.clone(), revocation: self.revocation.clone(), ring: self.ring.clone() }
    }

    /// What credentials for the upstreams are made with.
    pub(super) fn delegation_parts(&self) -> delegation::OwnParts {
        delegation::OwnParts {
            ring: self.ring.clone(),
            identities: self.identities.clone(),
            subject_tokens: self.issuer.subject_tokens(),
        }
    }

    /// The authorization server.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The identity providers.
    #[must_use]
    pub const fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Which grants have ended.
    #[must_use]
    pub const fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    pub(super) const fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// What rotates the signing keys.
    #[must_use]
    pub fn key_rotation(&self) -> RotationSchedule {
        let rotation = Rotation {
            store: self.store.clone(),
            sealer: self.sealer.clone(),
            terms: RotationTerms::of(&self.parts.config),
            clock: self.parts.clock.clone(),
            audit: self.parts.audit.clone(),
        };
        RotationSchedule::new(self.ring.clone(), rotation)
    }

    /// Starts its background tasks.
    pub(super) fn run(&self, background: &mut Background) {
        let runs = |task| self.parts.metrics.background.task(task, &self.parts.clock);
        background.spawn("the refresh of the identity providers' metadata", self.identities.clone().run());
        background.spawn(
            "the feed of ended grants",
            self.revocation.clone().run(self.store.clone(), runs(Task::RevocationFeed)),
        );
        background.spawn("the deletion of what has expired", self.issuer.clone().run_expiry());
        background.spawn("the checks after logouts", self.issuer.clone().run_standing());
        let resealing = Resealing::new(self.store.clone(), self.sealer.clone());
        background.spawn("the resealing under the first root key", resealing.run(runs(Task::Resealing)));
        background.spawn("the rotation of the signing keys", self.key_rotation().run(runs(Task::SigningKeys)));
    }

    /// Waits for running tasks.
    pub(super) async fn settle(&self) {
        self.issuer.settle().await;
    }

    pub(super) async fn close(&self) {
        self.store.close().await;
    }

    /// What is wrong with what it depends on; each entry is a sentence.
    pub(super) fn trouble(&self) -> Vec<String> {
        let mut trouble = Vec::new();
        for provider in self.identities.iter() {
            trouble.extend(provider.trouble().map(|words| format!("identity {}: {words}", provider.id())));
        }
        if self.store.is_degraded() {
            trouble.push("storage: the last call failed".to_owned());
        }
        if self.ring.standing().is_none() {
            trouble.push("keys: every signing key that can be used here was withdrawn".to_owned());
        }
        let stale = self.revocation.staleness();
        if !stale.is_zero() {
            trouble.push(format!("revocation: the feed was last read {} s ago", stale.as_secs()));
        }
        trouble
    }
}
