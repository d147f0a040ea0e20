//! Access to the database for commands. `serve` may be running: it sees their writes through its feed within a second.

use crate::app::StartError;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{Config, Database, RootKey, Secrets};
use crate::identity::Identities;
use crate::issuer::GrantEnds;
use crate::keys::Sealer;
use crate::model::ids::ClientId;
use crate::secret::random;
use crate::storage::{GrantFilter, ListedApiKey, ListedClient, ListedDocument, ListedGrant, Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// How many rows one query reads.
const PAGE: i64 = 500;

/// Opens an existing database. Commands do not make one, nor change its schema: `serve` and `migrate` do.
pub(super) async fn open(config: &Config) -> Result<Store, String> {
    if !config.issues_tokens() {
        let words = "there is no database: every upstream accepts the tokens of other issuers alone";
        return Err(format!("{words}\n  hint: grants, clients and keys are theirs; ask their administrators"));
    }
    if let Database::Sqlite(file) = &config.storage.database
        && !file.exists()
    {
        return Err(format!(
            "there is no database at {}\n  hint: `serve` creates it at its first start; check storage.url",
            file.display()
        ));
    }
    let metrics = Metrics::default().store;
    Store::open_existing(&config.storage, config.limits.waiting_writes, metrics).await.map_err(message)
}

/// Ends grants for an operator. It serves no requests and runs no background tasks.
pub(super) fn grant_ends(config: &Config, store: &Store) -> GrantEnds {
    let clock = Clock::system();
    // a command is not scraped
    let metrics = Metrics::default();
    let identities = Identities::new(config, &clock, &metrics.providers);
    let sealer = sealer(&config.secrets);
    GrantEnds::for_operator(store.clone(), identities, sealer, clock, Audit::to_log())
}

/// Opens what is sealed. Where the root keys are not at hand nothing opens, which is reported for each token that would be revoked.
fn sealer(secrets: &Secrets) -> Sealer {
    if secrets.keys.is_empty() {
        return Sealer::new(&Secrets { keys: vec![RootKey::from_bytes(random())] });
    }
    Sealer::new(secrets)
}

/// The error message of a command.
pub(super) fn message(error: StoreError) -> String {
    StartError::from(error).to_string()
}

/// All live grants that match a filter, the most recently used first.
pub(super) async fn grants(store: &Store, filter: &GrantFilter) -> Result<Vec<ListedGrant>, String> {
    let now = Clock::system().now();
    let mut all: Vec<ListedGrant> = Vec::new();
    loop {
        let after = all.last().map(|grant| grant.id.clone());
        let page = store.list_grants(filter, after.as_ref(), now, PAGE).await.map_err(message)?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    all.sort_by(|a, b| b.last_used_at.cmp(&a.last_used_at).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}

/// All registered clients, the most recently used first.
pub(super) async fn clients(store: &Store) -> Result<Vec<ListedClient>, String> {
    let now = Clock::system().now();
    let mut all: Vec<ListedClient> = Vec::new();
    loop {
        let after: Option<ClientId> = all.last().map(|client| client.id.clone());
        let page = store.list_clients(after.as_ref(), now, PAGE).await.map_err(message)?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    all.sort_by(|a, b| b.use_of.last_used_at.cmp(&a.use_of.last_used_at).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}

/// All clients whose documents are kept, the most recently used first.
pub(super) async fn documents(store: &Store) -> Result<Vec<ListedDocument>, String> {
    let now = Clock::system().now();
    let mut all: Vec<ListedDocument> = Vec::new();
    loop {
        let after = all.last().map(|client| client.id.clone());
        let page = store.list_documents(after.as_ref(), now, PAGE).await.map_err(message)?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    all.sort_by(|a, b| b.use_of.last_used_at.cmp(&a.use_of.last_used_at).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}

/// The ids of all clients that are disabled and of which nothing else is stored.
pub(super) async fn disabled_only(store: &Store) -> Result<Vec<ClientId>, String> {
    let mut all: Vec<ClientId> = Vec::new();
    loop {
        let page = store.list_disabled_only(all.last(), PAGE).await.map_err(message)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// All live API keys, or those of one audience, the most recently used first.
pub(super) async fn api_keys(store: &Store, resource: Option<&str>) -> Result<Vec<ListedApiKey>, String> {
    let now = Clock::system().now();
    let mut all: Vec<ListedApiKey> = Vec::new();
    loop {
        let after = all.last().map(|key| key.id.clone());
        let page = store.list_api_keys(resource, after.as_ref(), now, PAGE).await.map_err(message)?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    all.sort_by(|a, b| b.last_used_at.cmp(&a.last_used_at).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}
