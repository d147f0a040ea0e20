//! Failures that are shown in the browser and not reported to the client.

use crate::issuer::clients::{DocumentError, FindError, RedirectRefused};
use crate::limits::Limited;
use crate::model::ids::AuthorizationId;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::storage::StoreError;

/// A failure that the user is told on a page. `detail` is for the operator's log and never shown.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// The kind of page.
    pub trouble: Trouble,
    /// The cause, for the operator.
    pub detail: String,
}

/// The kinds of pages that end a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The client is not known here (any more); the page names the client's own remedy.
    UnknownClient {
        /// The id in the request.
        client_id: String,
        /// Where the client wanted its answer, unchecked: it only tells which remedy to show.
        redirect_uri: Option<String>,
    },
    /// The client has a document, and no valid one was found. The page is the same whether the document's host is unknown,
    /// private, not allowed, or has none (SSRF oracle).
    ClientDocument,
    /// The operator disabled the client.
    ClientDisabled,
    /// The redirect URI is not one of the client's.
    RedirectUri,
    /// The request itself is invalid; the text is for the client's developer.
    Request(OAuthError),
    /// The form was made for another browser, or cookies are switched off.
    OtherBrowser,
    /// The form, or the provider's answer, is not one of ours.
    NotOurs,
    /// The sign-in took too long, or was never begun here.
    Expired,
    /// A device code that was answered before, has expired, or whose client may not use one any more.
    DeviceCode,
    /// The identity provider cannot be reached now.
    ProviderUnavailable {
        /// What people call it.
        provider: String,
    },
    /// Too many sign-ins were begun from this address.
    Limited(Limited),
    /// One of our own services cannot be reached now.
    Unavailable,
}

impl Fault {
    pub(super) fn new(trouble: Trouble, detail: impl Into<String>) -> Self {
        Self { trouble, detail: detail.into() }
    }

    /// A form, or an answer, that is not one of ours.
    #[must_use]
    pub(crate) fn not_ours(detail: impl Into<String>) -> Self {
        Self::new(Trouble::NotOurs, detail)
    }

    /// A sign-in that ended while the provider was asked.
    pub(super) fn taken_back(id: &AuthorizationId) -> Self {
        let words = "was taken back, or expired, while the provider was asked";
        Self::new(Trouble::Expired, format!("authorization {id} {words}"))
    }

    /// A request that is longer than we read.
    #[must_use]
    pub(crate) fn too_long() -> Self {
        let error = OAuthError::new(ErrorCode::InvalidRequest, "the request is longer than 8 KiB");
        Self::new(Trouble::Request(error), "an authorization request of more than 8 KiB")
    }

    /// A failure of ours.
    #[must_use]
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        Self::new(Trouble::Unavailable, cause.to_string())
    }

    /// No client was found. `redirect_uri` is where the request wanted its answer, unchecked. A client with a document gets the
    /// page of an unknown one where documents are not read: it must register.
    pub(super) fn no_client(error: &FindError, redirect_uri: Option<&str>) -> Self {
        let trouble = match error {
            FindError::Unknown(client) | FindError::Off(client) => {
                Trouble::UnknownClient { client_id: client.clone(), redirect_uri: redirect_uri.map(str::to_owned) }
            }
            FindError::Document { cause: DocumentError::Limited(limited), .. } => Trouble::Limited(*limited),
            FindError::Refused { .. } | FindError::Document { .. } => Trouble::ClientDocument,
            FindError::Disabled(_) => Trouble::ClientDisabled,
            FindError::Unavailable { .. } => Trouble::Unavailable,
        };
        Self::new(trouble, error.to_string())
    }
}

impl From<RedirectRefused> for Fault {
    fn from(refused: RedirectRefused) -> Self {
        Self::new(Trouble::RedirectUri, refused.to_string())
    }
}

impl From<Limited> for Fault {
    fn from(limited: Limited) -> Self {
        Self::new(Trouble::Limited(limited), limited.to_string())
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::new(Trouble::Unavailable, error.to_string())
    }
}
