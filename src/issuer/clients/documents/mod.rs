//! Clients whose id is the URL of a document that they publish (Client ID Metadata Documents).
//!
//! | file | what |
//! |---|---|
//! | `mod` | from the id to the client: memory, the store, the document's host |
//! | `fetch` | one call for a document, and what its answer means |
//! | `freshness` | how long a document is fresh |
//! | `memory` | what this process remembers |
//! | `known` | a document and the client that it makes |
//!
//! Anyone can make us fetch a document, before any sign-in. Defends against: SSRF (`outbound::UntrustedFetcher`; hosts that
//! the operator does not allow are never called), floods and amplification (rate limits per address and per host, one call at
//! a time for each document, a rest after a failure), and a host that is down (the last good document serves for some days).
//!
//! Nothing is stored before a user has signed in for the client: see [`Documents::keep`].

mod fetch;
mod freshness;
mod known;
mod memory;

#[cfg(any(test, fuzzing))]
pub(crate) use self::freshness::fresh_for;

use std::borrow::Cow;
use std::sync::Arc;

use self::fetch::Fetch;
use self::known::Known;
use self::memory::Memory;
use super::error::{DocumentError, FindError, shown};
use crate::audit::{Actor, Audit, Event};
use crate::clock::Clock;
use crate::config;
use crate::issuer::single_flight::SingleFlight;
use crate::issuer::tasks::Tasks;
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::client::Client;
use crate::model::client_document::Age;
use crate::model::ids::ClientId;
use crate::oauth::client_id_url::ClientIdUrl;
use crate::oauth::redirect_uri::RedirectPolicy;
use crate::outbound::UntrustedFetcher;
use crate::storage::{Store, StoreError};
use crate::telemetry::metrics::{self, DocumentOutcome};
use crate::wire::{Arrival, ClientAddress};

/// How fresh a document must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// As fresh as its host says: for a new authorization.
    Current,
    /// The last good one will do, and its host is asked in the background: a sign-in is in progress, or a program waits.
    Kept,
}

/// What [`Documents`] are built from.
pub(in crate::issuer) struct DocumentParts {
    pub(in crate::issuer) settings: config::ClientDocuments,
    pub(in crate::issuer) redirect_policy: RedirectPolicy,
    pub(in crate::issuer) untrusted: UntrustedFetcher,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) tasks: Tasks,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

/// Finds clients by their documents. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Documents(Arc<Inner>);

struct Inner {
    settings: config::ClientDocuments,
    fetch: Fetch,
    memory: Memory,
    flights: SingleFlight<String>,
    store: Store,
    clock: Clock,
    limits: Limits,
    tasks: Tasks,
    metrics: metrics::Grants,
    audit: Audit,
}

impl Documents {
    pub(in crate::issuer) fn new(parts: DocumentParts) -> Self {
        let DocumentParts { settings, redirect_policy, untrusted, store, clock, limits, tasks, metrics, audit } = parts;
        let fetch = Fetch { untrusted, redirect_policy, clock: clock.clone() };
        let (memory, flights) = (Memory::new(), SingleFlight::default());
        Self(Arc::new(Inner { settings, fetch, memory, flights, store, clock, limits, tasks, metrics, audit }))
    }

    /// Finds the client whose id is a URL, for a request from this address.
    pub(super) async fn find(&self, id: &str, from: ClientAddress, need: Need) -> Result<Client, FindError> {
        let url = self.0.admit(id)?;
        let unavailable = |cause| FindError::Unavailable { client: shown(id), cause };
        let known = self.0.known(&url).await.map_err(unavailable)?;
        let age = known.as_ref().map(|known| known.age(self.0.clock.now()));
        match (known, age) {
            (Some(known), Some(Age::Fresh)) => Ok(known.client.clone()),
            (Some(known), Some(Age::Stale)) if need == Need::Kept => {
                let client = known.client.clone();
                self.renew_in_background(url, known, from);
                Ok(client)
            }
            (known, _) => {
                let served = self.0.current(&url, known, from).await;
                let served = served.map_err(|cause| FindError::Document { client: shown(id), cause })?;
                Ok(served.client.clone())
            }
        }
    }

    /// Keeps the document of a client for which a user has just signed in, so that every process has it when the code is
    /// redeemed, and it outlives a restart.
    pub(super) async fn keep(&self, client: &Client, arrival: &Arrival) -> Result<(), StoreError> {
        // it was found in this request; if so many others were found since that it was evicted, the code cannot be redeemed
        let Some(known) = self.0.memory.get(client.id.as_str()).await else { return Ok(()) };
        let known = if known.is_stored() {
            if self.0.store.client_document(&client.id).await?.is_some() {
                return Ok(());
            }
            let Some(known) = self.0.forgotten(known, arrival.address).await else { return Ok(()) };
            known
        } else {
            known
        };
        let (name, now) = (client.name.as_deref(), self.0.clock.now());
        if self.0.store.keep_client_document(&client.id, name, &known.document, now).await? {
            self.0.audit.record(&Event::DocumentKept { client: &client.id, name }, arrival);
        }
        known.note_stored(true);
        Ok(())
    }

    /// Asks the host of a stale document, unless that is happening already.
    fn renew_in_background(&self, url: ClientIdUrl, known: Arc<Known>, from: ClientAddress) {
        let Some(turn) = self.0.flights.try_enter(&url.as_str().to_owned()) else { return };
        let documents = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            if let Err(why) = documents.renewed(&url, Some(known), from).await {
                tracing::warn!(client = url.as_str(), %why, "the metadata document of a client counts no longer");
            }
            drop(turn);
        });
    }
}

impl Inner {
    /// What can be checked against the id alone.
    fn admit(&self, id: &str) -> Result<ClientIdUrl, FindError> {
        let refused = |why: Cow<'static, str>| FindError::Refused { client: shown(id), why };
        if !self.settings.enabled {
            return Err(FindError::Off(shown(id)));
        }
        let url = ClientIdUrl::parse(id).map_err(|why| refused(format!("the client id {why}").into()))?;
        if self.settings.admit(&url) {
            Ok(url)
        } else {
            Err(refused("its host is not in `hosts` of [client_documents]".into()))
        }
    }

    /// The document from memory, or else from the store.
    async fn known(&self, url: &ClientIdUrl) -> Result<Option<Arc<Known>>, StoreError> {
        if let Some(known) = self.memory.get(url.as_str()).await {
            return Ok(Some(known));
        }
        let Some(document) = self.store.client_document(&ClientId::from(url.as_str())).await? else { return Ok(None) };
        match Known::read(url, document, &self.fetch.redirect_policy) {
            Ok(known) => {
                let known = Arc::new(known);
                known.note_stored(true);
                self.memory.put(Arc::clone(&known)).await;
                Ok(Some(known))
            }
            Err(why) => {
                tracing::warn!(client = url.as_str(), %why, "the kept metadata document of a client is refused by today's rules");
                Ok(None)
            }
        }
    }

    /// The current document, by one fetch for all concurrent callers.
    async fn current(
        &self,
        url: &ClientIdUrl,
        known: Option<Arc<Known>>,
        from: ClientAddress,
    ) -> Result<Arc<Known>, DocumentError> {
        let _turn = self.flights.enter(&url.as_str().to_owned()).await;
        match self.memory.get(url.as_str()).await {
            Some(known) if known.age(self.clock.now()) == Age::Fresh => Ok(known),
            newer => self.renewed(url, newer.or(known), from).await,
        }
    }

    /// Asks the host. The last good document stays in use when that fails for a reason that is not the client's.
    async fn renewed(
        &self,
        url: &ClientIdUrl,
        known: Option<Arc<Known>>,
        from: ClientAddress,
    ) -> Result<Arc<Known>, DocumentError> {
        let known = known.filter(|known| known.age(self.clock.now()) != Age::TooOld);
        let (id, now) = (url.as_str(), self.clock.monotonic());
        if let Some(error) = self.memory.rest(id, known.is_some(), now).await {
            return match (known, error) {
                (Some(known), DocumentError::Unreachable(_)) => Ok(known),
                (_, error) => Err(error),
            };
        }
        if let Err(limited) = self.count(url, known.as_deref(), from).await {
            self.metrics.document(DocumentOutcome::Limited);
            return known.ok_or(limited.into());
        }
        match self.fetch.get(url).await {
            Ok(fetched) => {
                self.metrics.document(DocumentOutcome::Fetched);
                Ok(self.remember(fetched, known.as_deref()).await)
            }
            Err(error) => {
                self.memory.note_failure(id, &error, now).await;
                self.metrics.document(outcome(&error));
                self.without(url, known, error).await
            }
        }
    }

    /// Counts a fetch before it is made. That of a stored document, which users signed in for, is not counted: untrusted
    /// clients who name dead URLs at its host must not keep it from being renewed, and a hosted client refreshes the grants
    /// of all its users from a few addresses.
    async fn count(&self, url: &ClientIdUrl, known: Option<&Known>, from: ClientAddress) -> Result<(), Limited> {
        if known.is_some_and(Known::is_stored) {
            return Ok(());
        }
        self.limits.check(Limit::DocumentsPerAddress, &Key::of(&[Part::Address(from)])).await?;
        self.limits.check(Limit::DocumentsPerHost, &Key::of(&[Part::Host(url.host())])).await
    }

    /// Asks the host of a document that another process forgot: its publisher may have taken it back. `None` when it did:
    /// then the code that is about to be issued cannot be redeemed.
    async fn forgotten(&self, known: Arc<Known>, from: ClientAddress) -> Option<Arc<Known>> {
        known.note_stored(false);
        let url = ClientIdUrl::parse(known.client.id.as_str()).ok()?;
        let _turn = self.flights.enter(&url.as_str().to_owned()).await;
        let renewed = self.renewed(&url, Some(known), from).await;
        renewed
            .inspect_err(|why| tracing::warn!(client = url.as_str(), %why, "a client signs in without its document"))
            .ok()
    }

    async fn remember(&self, fetched: Known, before: Option<&Known>) -> Arc<Known> {
        if before.is_some_and(Known::is_stored) {
            let Client { id, name, .. } = &fetched.client;
            match self.store.renew_client_document(id, name.as_deref(), &fetched.document).await {
                Ok(is_stored) => fetched.note_stored(is_stored),
                Err(error) => tracing::warn!(client = %id, %error, "a renewed metadata document cannot be stored"),
            }
        }
        let fetched = Arc::new(fetched);
        self.memory.put(Arc::clone(&fetched)).await;
        fetched
    }

    /// What a response without a document means: the last good one stays in use, or the client is gone.
    async fn without(
        &self,
        url: &ClientIdUrl,
        known: Option<Arc<Known>>,
        error: DocumentError,
    ) -> Result<Arc<Known>, DocumentError> {
        match (known, &error) {
            (Some(known), DocumentError::Unreachable(why)) => {
                let since = known.document.fetched_at.0;
                tracing::warn!(client = url.as_str(), why, since, "the last good metadata document of a client serves");
                Ok(known)
            }
            (None, DocumentError::Unreachable(_)) | (_, DocumentError::Limited(_)) => Err(error),
            (_, DocumentError::Gone(_) | DocumentError::Refused(_)) => {
                self.revoke(url).await;
                Err(error)
            }
        }
    }

    /// The publisher withdrew the document, or published one that describes no valid client.
    async fn revoke(&self, url: &ClientIdUrl) {
        self.memory.forget(url.as_str()).await;
        let client = ClientId::from(url.as_str());
        match self.store.forget_client_document(&client).await {
            Ok(true) => self.audit.record(&Event::DocumentRevoked { client: &client }, Actor::Upkeep),
            Ok(false) => {}
            Err(error) => tracing::warn!(%client, %error, "a metadata document that was taken back is still stored"),
        }
    }
}

const fn outcome(error: &DocumentError) -> DocumentOutcome {
    match error {
        DocumentError::Gone(_) => DocumentOutcome::Gone,
        DocumentError::Refused(_) => DocumentOutcome::Refused,
        DocumentError::Unreachable(_) => DocumentOutcome::Unreachable,
        DocumentError::Limited(_) => DocumentOutcome::Limited,
    }
}
