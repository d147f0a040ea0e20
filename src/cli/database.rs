//! The database of a configuration, which a running process may have open at the same time: what is written here reaches it
//! by its feed within a second.

use crate::app::StartError;
use crate::clock::Clock;
use crate::config::{Config, Storage};
use crate::identity::Identities;
use crate::issuer::GrantEnds;
use crate::keys::Sealer;
use crate::model::ids::ClientId;
use crate::storage::{GrantFilter, ListedClient, ListedGrant, Store, StoreError};

/// How much one call of the store reads.
const PAGE: i64 = 500;

/// Opens a database that is there.
pub(super) async fn open(config: &Config) -> Result<Store, String> {
    if let Storage::Sqlite(file) = &config.storage
        && !file.exists()
    {
        return Err(format!(
            "there is no database at {}\n  hint: `serve` makes it at its first start; check storage.url",
            file.display()
        ));
    }
    Store::open(&config.storage, config.limits.waiting_writes).await.map_err(words)
}

/// What ends grants, with all that hangs on them. It serves no requests and runs nothing in the background.
pub(super) fn grant_ends(config: &Config, store: &Store) -> GrantEnds {
    let clock = Clock::system();
    let (identities, sealer) = (Identities::new(config, &clock), Sealer::new(&config.secrets));
    GrantEnds::for_operator(store.clone(), identities, sealer, clock)
}

/// The store's error as the last words of a command.
pub(super) fn words(error: StoreError) -> String {
    StartError::from(error).to_string()
}

/// All live grants that a filter lets through, the one that was used last first.
pub(super) async fn grants(store: &Store, filter: &GrantFilter) -> Result<Vec<ListedGrant>, String> {
    let now = Clock::system().now();
    let mut all: Vec<ListedGrant> = Vec::new();
    loop {
        let after = all.last().map(|grant| grant.id.clone());
        let page = store.list_grants(filter, after.as_ref(), now, PAGE).await.map_err(words)?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    all.sort_by(|a, b| b.last_used_at.cmp(&a.last_used_at).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}

/// All registered clients, the one that was used last first.
pub(super) async fn clients(store: &Store) -> Result<Vec<ListedClient>, String> {
    let now = Clock::system().now();
    let mut all: Vec<ListedClient> = Vec::new();
    loop {
        let after: Option<ClientId> = all.last().map(|client| client.id.clone());
        let page = store.list_clients(after.as_ref(), now, PAGE).await.map_err(words)?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    all.sort_by(|a, b| b.use_of.last_used_at.cmp(&a.use_of.last_used_at).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}
