//! Why an id leads to no client.

use std::borrow::Cow;

use crate::limits::Limited;
use crate::storage::StoreError;

/// Why an id leads to no client. The id is as [`shown`] makes it, fit for a page and for the log.
#[derive(Debug, thiserror::Error)]
pub(in crate::issuer) enum FindError {
    /// No client has it (any more): the client has to register.
    #[error("client {0} is not known here")]
    Unknown(String),
    /// The id is a URL, and documents are not read here: the client has to register.
    #[error("client {0} is refused: its id is a URL, and Client ID Metadata Documents are not read here")]
    Off(String),
    /// The id is a URL that is not accepted here; `why` is for the operator.
    #[error("client {client} is refused: {why}")]
    Refused {
        /// The id.
        client: String,
        /// The reason.
        why: Cow<'static, str>,
    },
    /// The id is the URL of a document, and no valid document is there.
    #[error("the metadata document of client {client} cannot be used: {cause}")]
    Document {
        /// The id.
        client: String,
        /// What is wrong.
        cause: DocumentError,
    },
    /// The operator disabled it.
    #[error("client {0} is disabled")]
    Disabled(String),
    /// It cannot be found out now.
    #[error("client {client} cannot be looked up: {cause}")]
    Unavailable {
        /// The id.
        client: String,
        /// What failed.
        cause: StoreError,
    },
}

/// Why there is no valid document. The text is for the operator: an untrusted client does not learn which of these it is.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::issuer) enum DocumentError {
    /// Its host says that there is none.
    #[error("{0}")]
    Gone(String),
    /// There is one, but it describes no valid client.
    #[error("{0}")]
    Refused(String),
    /// It is not known whether there is one.
    #[error("{0}")]
    Unreachable(String),
    /// Too many were fetched.
    #[error(transparent)]
    Limited(#[from] Limited),
}

/// An untrusted id, cut off and without spaces, so that it cannot carry a message to the user or a line into the log (log
/// injection). No id of ours has a space (RFC 6749 A.1 allows them).
pub(super) fn shown(client_id: &str) -> String {
    client_id.chars().take(64).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
