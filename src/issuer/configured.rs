//! What the configuration says today, held against what the store remembers: the providers behind the ids of identities,
//! and the grants of clients and identities that have left.
//!
//! Defends against: a provider that was exchanged under the same id. Equal `sub`s of two providers would be one user, and
//! refresh tokens of the old one would be sent to the new one.

use super::Issuer;
use crate::identity::Provider;
use crate::keys::Resealing;
use crate::model::grant::EndReason;
use crate::model::ids::IdentityId;
use crate::storage::{GrantsOf, StoreError, StoredIdentity};

/// Why the configuration does not fit the store.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another provider stands under the id of an identity.
    #[error(
        "identity {id} was {before} until now, and the configuration says {now}: users of both would be one and the same"
    )]
    AnotherIssuer {
        /// The identity.
        id: IdentityId,
        /// The issuer that the store knows.
        before: String,
        /// The issuer of the configuration.
        now: String,
    },
    /// A process of before goes on to give grants under the old provider.
    #[error("identity {0} cannot change its issuer while another process signs users in at the old one")]
    StillUsed(IdentityId),
}

/// How often the grants of a replaced provider are ended, when another process gives new ones meanwhile.
const REPLACE_TRIES: u32 = 5;

impl Issuer {
    /// Makes the store fit the configuration before anybody is served.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub(crate) async fn adopt_configuration(&self) -> Result<(), Unfit> {
        for provider in self.0.parts.identities.iter() {
            self.adopt_identity(provider).await?;
        }
        for identity in self.store().identities_with_grants().await? {
            if self.0.parts.identities.get(identity.as_str()).is_none() {
                let ended = self.end_grants_of(GrantsOf::Identity(&identity), EndReason::IdentityChanged).await?;
                tracing::warn!(%identity, ended, "this identity has left the configuration: its grants have ended");
            }
        }
        for client in self.store().unregistered_clients_with_grants().await? {
            if !self.config().clients.iter().any(|configured| configured.client_id == client.as_str()) {
                let ended = self.end_grants_of(GrantsOf::Client(&client), EndReason::ClientRemoved).await?;
                tracing::warn!(%client, ended, "this client has left the configuration: its grants have ended");
            }
        }
        Ok(())
    }

    async fn adopt_identity(&self, provider: &Provider) -> Result<(), Unfit> {
        let today = StoredIdentity {
            id: provider.id().clone(),
            issuer: provider.issuer().to_owned(),
            client_id: provider.client_id().to_owned(),
        };
        let before = self.store().keep_identity(&today).await?;
        if before.issuer != today.issuer {
            if self.store().correct_identity(&before.issuer, &today).await? {
                let (id, before, now) = (&today.id, &before.issuer, &today.issuer);
                tracing::info!(identity = %id, before, now, "another provider stands behind this identity, which nobody used yet");
                return Ok(());
            }
            if provider.replaces_issuer() != Some(before.issuer.as_str()) {
                return Err(Unfit::AnotherIssuer { id: today.id, before: before.issuer, now: today.issuer });
            }
            return self.replace_identity(&before.issuer, &today).await;
        }
        if before.client_id != today.client_id {
            tracing::warn!(
                identity = %today.id, before = before.client_id, now = today.client_id,
                "client_id of this identity has changed: refresh tokens that the provider gave to the old one stay with it, \
                 and their users sign in again when their access tokens end"
            );
            self.bind_tokens().await?;
            self.store().rename_identity_client(&today).await?;
        }
        Ok(())
    }

    /// Binds tokens of the first release, which name neither provider nor client, to those that the store knows: it must
    /// happen before the store knows others.
    async fn bind_tokens(&self) -> Result<(), StoreError> {
        Resealing::new(self.store().clone(), self.0.parts.sealer.clone()).walk().await?;
        Ok(())
    }

    async fn replace_identity(&self, before: &str, today: &StoredIdentity) -> Result<(), Unfit> {
        self.bind_tokens().await?;
        for _ in 0..REPLACE_TRIES {
            let ended = self.end_grants_of(GrantsOf::Identity(&today.id), EndReason::IdentityChanged).await?;
            let replaced = self.store().replace_identity(before, today).await?;
            if replaced || self.store().keep_identity(today).await?.issuer == today.issuer {
                let (id, issuer) = (&today.id, &today.issuer);
                tracing::warn!(identity = %id, before, now = issuer, ended, "another provider stands behind this identity now");
                return Ok(());
            }
        }
        Err(Unfit::StillUsed(today.id.clone()))
    }
}
