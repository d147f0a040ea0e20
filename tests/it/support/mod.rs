//! What tests of several parts need.

pub(crate) mod bench;
pub mod browser;
pub(crate) mod cluster;
pub mod database;
pub(crate) mod documents;
pub(crate) mod dpop;
pub mod gate;
pub mod log;
pub(crate) mod provider;
pub mod raw;
pub(crate) mod servers;
pub(crate) mod statements;
pub mod upstream;

use std::path::PathBuf;

use portcullis::config::{
    ClientDocuments, Config, Consent, Database, Device, Identity, Lifetimes, Limits, Log, Outbound, Pages, PublicUrl,
    Registration, RootKey, Secrets, Server, Tokens,
};

/// A configuration with these identities and nothing else worth mentioning.
pub(crate) fn config(identities: Vec<Identity>) -> Config {
    Config {
        public_url: PublicUrl::parse("https://mcp.example.com").unwrap(),
        server: Server::default(),
        log: Log::default(),
        storage: Database::Sqlite(PathBuf::from("never-opened.db")).into(),
        secrets: Secrets { keys: vec![RootKey::from_bytes([7; 32])] },
        lifetimes: Lifetimes::default(),
        tokens: Tokens::default(),
        registration: Registration::default(),
        client_documents: ClientDocuments::default(),
        consent: Consent::default(),
        limits: Limits::default(),
        device: Device::default(),
        pages: Pages::default(),
        outbound: Outbound::default(),
        identities,
        upstreams: Vec::new(),
        clients: Vec::new(),
        assertion_issuers: Vec::new(),
    }
}
