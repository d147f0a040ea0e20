//! Makes the store fit today's configuration: the providers behind the ids of identities, and the end of the grants of clients
//! and identities that have left.
//!
//! Defends against: a provider that was replaced under the same id. Equal `sub`s of two providers would be one user (account
//! takeover), and refresh tokens of the old one would be sent to the new one.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::ends::GrantEnds;
use crate::config::{AssertionIssuer, ClientDocuments, Config};
use crate::identity::{Identities, Provider};
use crate::issuer::machine_bounds::MachineBounds;
use crate::keys::{Resealing, Sealer};
use crate::model::grant::{Basis, EndReason};
use crate::model::ids::{ClientId, GrantId, IdentityId};
use crate::oauth::client_id_url::ClientIdUrl;
use crate::storage::{GrantsOf, Store, StoreError, StoredIdentity};

/// Why the configuration does not fit the store.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another provider has the id of an identity.
    #[error(
        "identity {id} was {before}, and the configuration now says {now}: users of the two providers with the same `sub` would become one user"
    )]
    AnotherIssuer {
        /// The identity.
        id: IdentityId,
        /// The issuer that the store knows.
        before: String,
        /// The issuer of the configuration.
        now: String,
    },
    /// A process with the older configuration goes on to make grants under the old provider.
    #[error("identity {0} cannot change its issuer while another process signs users in at the old one")]
    StillUsed(IdentityId),
}

/// What had left the configuration when this process started. Later differences may come from a newer configuration than
/// ours, and are not ours to end.
#[derive(Debug)]
struct Departed {
    identities: Vec<IdentityId>,
    clients: Vec<ClientId>,
}

/// How often the grants of a replaced provider are ended, when another process makes new ones meanwhile.
const REPLACE_TRIES: u32 = 5;
/// How many grants of machines one query reads.
const PAGE: i64 = 500;

/// Makes the store fit the configuration.
pub(in crate::issuer) struct Adoption {
    identities: Identities,
    clients: BTreeSet<ClientId>,
    documents: ClientDocuments,
    bounds: MachineBounds,
    ends: GrantEnds,
    store: Store,
    sealer: Sealer,
    departed: OnceLock<Departed>,
}

impl Adoption {
    pub(in crate::issuer) fn new(
        config: &Config,
        identities: Identities,
        bounds: MachineBounds,
        ends: GrantEnds,
        sealer: Sealer,
    ) -> Self {
        let clients = config.clients.iter().map(|client| ClientId::from(client.client_id.as_str())).collect();
        let documents = config.client_documents.clone();
        let store = ends.store.clone();
        Self { identities, clients, documents, bounds, ends, store, sealer, departed: OnceLock::new() }
    }

    /// Makes the store fit the configuration before the first request is served.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub(in crate::issuer) async fn adopt(&self) -> Result<(), Unfit> {
        for provider in self.identities.iter() {
            self.adopt_identity(provider).await?;
        }
        for issuer in self.bounds.issuers() {
            self.adopt_assertion_issuer(issuer).await?;
        }
        let mut departed = Departed {
            identities: self.store.known_identities().await?,
            clients: self.store.unregistered_clients().await?,
        };
        departed.identities.retain(|id| !self.is_configured(id));
        departed.clients.retain(|id| !self.clients.contains(id) && !self.has_document(id));
        self.departed.set(departed).ok();
        self.end_departed().await?;
        Ok(self.end_beyond_bounds().await?)
    }

    fn is_configured(&self, id: &IdentityId) -> bool {
        let is_issuer = |issuer: &AssertionIssuer| issuer.id == id.as_str();
        self.identities.get(id.as_str()).is_some() || self.bounds.issuers().iter().any(is_issuer)
    }

    /// Ends the grants that no user consented to and that today's configuration would not give.
    async fn end_beyond_bounds(&self) -> Result<(), StoreError> {
        for basis in [Basis::ClientCredentials, Basis::Assertion] {
            let mut after: Option<GrantId> = None;
            loop {
                let page = self.store.grants_of_basis(basis, after.as_ref(), PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.id.clone());
                let beyond = page.iter().filter(|grant| !self.bounds.allow(grant, basis));
                let beyond: Vec<GrantId> = beyond.map(|grant| grant.id.clone()).collect();
                let ended = self.ends.end_removed(&beyond).await?;
                if ended > 0 {
                    tracing::warn!(
                        basis = basis.as_str(),
                        ended,
                        "the configuration does not allow these grants any more"
                    );
                }
            }
        }
        Ok(())
    }

    /// Whether a client is one whose document may be read: it needs no registration.
    fn has_document(&self, id: &ClientId) -> bool {
        ClientIdUrl::parse(id.as_str()).is_ok_and(|url| self.documents.admit(&url))
    }

    /// Ends the grants of identities and clients that had left the configuration when this process started. It is repeated,
    /// because a process with the older configuration may go on to make new ones.
    pub(super) async fn end_departed(&self) -> Result<(), StoreError> {
        let Some(departed) = self.departed.get() else { return Ok(()) };
        for identity in &departed.identities {
            let ended = self.ends.end_of(GrantsOf::Identity(identity), EndReason::IdentityChanged).await?;
            if ended > 0 {
                tracing::warn!(%identity, ended, "this identity has left the configuration: its grants have ended");
            }
        }
        for client in &departed.clients {
            let ended = self.ends.end_of(GrantsOf::Client(client), EndReason::ClientRemoved).await?;
            if ended > 0 {
                tracing::warn!(%client, ended, "this client has left the configuration: its grants have ended");
            }
        }
        Ok(())
    }

    /// Ends the grants that a client got while it was being disabled.
    pub(super) async fn end_disabled(&self) -> Result<(), StoreError> {
        self.ends.end_of(GrantsOf::DisabledClients, EndReason::Operator).await.map(drop)
    }

    async fn adopt_identity(&self, provider: &Provider) -> Result<(), Unfit> {
        let today = StoredIdentity {
            id: provider.id().clone(),
            issuer: provider.issuer().to_owned(),
            client_id: provider.client_id().to_owned(),
        };
        let before = self.store.keep_identity(&today).await?;
        if before.issuer != today.issuer {
            if self.store.correct_identity(&before.issuer, &today).await? {
                let (id, before, now) = (&today.id, &before.issuer, &today.issuer);
                tracing::info!(identity = %id, before, now, "another provider stands behind this identity, which has no user yet");
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
            self.store.rename_identity_client(&today).await?;
        }
        Ok(())
    }

    /// An issuer of assertions names users as a provider does, so no other one may take its place under the id.
    async fn adopt_assertion_issuer(&self, issuer: &AssertionIssuer) -> Result<(), Unfit> {
        let id = IdentityId::from(issuer.id.as_str());
        if self.identities.get(id.as_str()).is_some() {
            return Ok(());
        }
        let today = StoredIdentity { id, issuer: issuer.issuer.clone(), client_id: String::new() };
        let before = self.store.keep_identity(&today).await?.issuer;
        if before == today.issuer || self.store.correct_identity(&before, &today).await? {
            return Ok(());
        }
        Err(Unfit::AnotherIssuer { id: today.id, before, now: today.issuer })
    }

    /// Binds tokens of the first release, which name neither provider nor client, to those that the store knows. It must
    /// happen before the store knows others.
    async fn bind_tokens(&self) -> Result<(), StoreError> {
        Resealing::new(self.store.clone(), self.sealer.clone()).pass().await?;
        Ok(())
    }

    async fn replace_identity(&self, before: &str, today: &StoredIdentity) -> Result<(), Unfit> {
        self.bind_tokens().await?;
        for _ in 0..REPLACE_TRIES {
            let ended = self.ends.end_of(GrantsOf::Identity(&today.id), EndReason::IdentityChanged).await?;
            let replaced = self.store.replace_identity(before, today).await?;
            if replaced || self.store.keep_identity(today).await?.issuer == today.issuer {
                let (id, issuer) = (&today.id, &today.issuer);
                tracing::warn!(identity = %id, before, now = issuer, ended, "this identity now has another provider");
                return Ok(());
            }
        }
        Err(Unfit::StillUsed(today.id.clone()))
    }
}
