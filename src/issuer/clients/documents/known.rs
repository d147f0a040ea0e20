//! A document and the client that it makes.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Timestamp;
use crate::model::client::Client;
use crate::model::client_document::{Age, KeptDocument};
use crate::oauth::client_document::{ClientDocument, DocumentRefusal};
use crate::oauth::client_id_url::ClientIdUrl;
use crate::oauth::redirect_uri::RedirectPolicy;

/// A document that makes a client, by today's rules.
pub(super) struct Known {
    pub(super) client: Client,
    pub(super) document: KeptDocument,
    is_stored: AtomicBool,
}

impl Known {
    /// Reads a document.
    pub(super) fn read(
        url: &ClientIdUrl,
        document: KeptDocument,
        policy: &RedirectPolicy,
    ) -> Result<Self, DocumentRefusal> {
        let read = ClientDocument::read(url, document.text.as_bytes(), policy)?;
        let client = Client::documented(url, read, document.fetched_at)?;
        Ok(Self { client, document, is_stored: AtomicBool::new(false) })
    }

    pub(super) fn age(&self, now: Timestamp) -> Age {
        self.document.age(now)
    }

    /// Whether the store has this document.
    pub(super) fn is_stored(&self) -> bool {
        self.is_stored.load(Ordering::Relaxed)
    }

    /// Notes whether the store has it.
    pub(super) fn note_stored(&self, is_stored: bool) {
        self.is_stored.store(is_stored, Ordering::Relaxed);
    }
}
