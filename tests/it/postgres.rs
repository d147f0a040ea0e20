//! A whole Portcullis on PostgreSQL: TLS, a pooler, several processes, and a server that crashes. What every engine must do is in
//! `storage`, and the sign-ins that run on both are where they are tested on SQLite.

mod faults;
mod pooler;
mod privileges;
mod processes;
mod replicas;
mod tls;

use portcullis::config::{Postgres, Storage};
use portcullis::storage::{Store, StoreError};
use portcullis::telemetry::metrics::Metrics;

use crate::storage::WAITING_WRITES;

/// The settings of a server.
fn settings(url: &str) -> Postgres {
    Postgres::at(url.parse().unwrap())
}

async fn open(settings: Postgres) -> Result<Store, StoreError> {
    open_with(settings.into()).await
}

async fn open_with(settings: Storage) -> Result<Store, StoreError> {
    Store::open(&settings, WAITING_WRITES, Metrics::default().store).await
}

async fn refused(settings: Postgres) -> String {
    match open(settings).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}
