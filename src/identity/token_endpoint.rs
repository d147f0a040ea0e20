//! Asking a provider's token endpoint (RFC 6749 4.1.3, 5, 6), and what its refusals mean.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::exchange::{ExchangeError, RenewError};
use super::generic::{Credentials, Meaning, SessionEnd, Symptom};
use super::metadata::{ProviderMetadata, WRONG_ADDRESS};
use crate::config::{OidcFlavour, OidcSettings};
use crate::oauth::scope::OFFLINE_ACCESS;
use crate::outbound::{Diagnosis, Fetched, Fetcher};
use crate::secret::SecretText;
use crate::telemetry::excerpt;

/// The hint when a token endpoint redirects.
const REDIRECTS: &str =
    "redirects are not followed: the provider must name the address that it redirects to as its token endpoint";

/// The token endpoint of one provider, and who we are there.
pub(super) struct ProviderTokenEndpoint<'a> {
    pub(super) identity: &'a str,
    pub(super) settings: &'a OidcSettings,
    pub(super) fetcher: &'a Fetcher,
    pub(super) metadata: &'a ProviderMetadata,
}

/// What a good answer carries.
#[derive(Debug)]
pub(super) struct Answer {
    /// Not used as a token: the ID token may name its hash.
    pub(super) access_token: SecretText,
    pub(super) id_token: Option<SecretText>,
    pub(super) refresh_token: Option<SecretText>,
    /// Whether the answer names `offline_access`; `None` when it names no scope at all.
    pub(super) names_offline_access: Option<bool>,
    /// When the session behind the refresh token ends.
    pub(super) session_end: SessionEnd,
}

/// Why there is no good answer. Without secrets.
#[derive(Debug)]
pub(super) enum ProviderRefusal {
    /// No answer, or one that says to come back later: it passes by itself.
    Away(Diagnosis),
    /// An error document (RFC 6749 5.2).
    Error { status: StatusCode, error: String, meaning: Meaning, diagnosis: Diagnosis },
    /// An answer that no token endpoint gives.
    Strange(Diagnosis),
}

#[derive(Deserialize)]
struct AnswerDocument {
    /// RFC 6749 5.1 demands it: a 200 without comes from something else.
    access_token: String,
    id_token: Option<String>,
    refresh_token: Option<String>,
    scope: Option<Value>,
    refresh_expires_in: Option<Value>,
}

#[derive(Deserialize)]
struct ErrorDocument {
    error: String,
    error_description: Option<String>,
}

impl ProviderTokenEndpoint<'_> {
    /// Sends a form with our credentials added. `secrets` are the values in it that no message may repeat.
    pub(super) async fn ask(
        &self,
        form: &[(&str, &str)],
        secrets: &[&str],
        timeout: Duration,
    ) -> Result<Answer, ProviderRefusal> {
        let fetched =
            self.post("token", &self.metadata.token_endpoint, form, timeout).await.map_err(ProviderRefusal::Away)?;
        let status = fetched.status;
        if status == StatusCode::OK {
            return read_answer(&fetched, self.settings.flavour).ok_or_else(|| {
                let cause = format!("{} answers 200 with something that is not a token response", self.name());
                ProviderRefusal::Strange(Diagnosis::new(cause).with_hint(WRONG_ADDRESS))
            });
        }
        if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
            return Err(ProviderRefusal::Away(Diagnosis::new(format!("{} answers {}", self.name(), status.as_u16()))));
        }
        let Ok(document) = serde_json::from_slice::<ErrorDocument>(&fetched.body) else {
            let cause = format!("{} answers {} without an error code", self.name(), status.as_u16());
            let hint = if status.is_redirection() { REDIRECTS } else { WRONG_ADDRESS };
            return Err(ProviderRefusal::Strange(Diagnosis::new(cause).with_hint(hint)));
        };
        Err(self.error(status, &document, secrets))
    }

    /// Posts a form to an endpoint of the provider at which we authenticate. `kind` names it in errors.
    pub(super) async fn post(
        &self,
        kind: &str,
        endpoint: &str,
        form: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Fetched, Diagnosis> {
        let mut form = form.to_vec();
        let basic = match self.settings.flavour.credentials(self.settings, self.metadata.secret_in()) {
            Credentials::Basic(id, secret) => Some((id, secret)),
            Credentials::Form(fields) => {
                form.extend(fields);
                None
            }
        };
        let fetched = self.fetcher.post_form(endpoint, &form, basic, timeout).await;
        fetched.map_err(|failure| {
            Diagnosis::from(failure).in_context(format!("the {kind} endpoint of identity {}", self.identity))
        })
    }

    fn name(&self) -> String {
        format!("the token endpoint of identity {}", self.identity)
    }

    fn error(&self, status: StatusCode, document: &ErrorDocument, secrets: &[&str]) -> ProviderRefusal {
        let ours = self.settings.client_secret.as_ref().map(SecretText::expose);
        let mut hidden = secrets.iter().copied().chain(ours);
        let description = document.error_description.as_deref().unwrap_or_default();
        let (error, description) =
            if hidden.any(|secret| description.contains(secret) || document.error.contains(secret)) {
                (Cow::Borrowed("an error"), Cow::Borrowed(""))
            } else {
                (excerpt(&document.error), excerpt(description))
            };
        let said = if description.is_empty() { String::new() } else { format!(" ({description})") };
        let diagnosis = Diagnosis::new(format!("{} answers {} {error}{said}", self.name(), status.as_u16()));
        let diagnosis = match self.settings.flavour.hint(Symptom::Error(&document.error), self.identity) {
            Some(hint) => diagnosis.with_hint(hint),
            None => diagnosis,
        };
        let meaning = self.settings.flavour.meaning(&document.error);
        ProviderRefusal::Error { status, error: document.error.clone(), meaning, diagnosis }
    }
}

fn read_answer(fetched: &Fetched, flavour: OidcFlavour) -> Option<Answer> {
    let document: AnswerDocument = serde_json::from_slice(&fetched.body).ok()?;
    let scope = document.scope.as_ref().and_then(Value::as_str);
    Some(Answer {
        access_token: document.access_token.into(),
        id_token: document.id_token.map(SecretText::from),
        refresh_token: document.refresh_token.filter(|token| !token.is_empty()).map(SecretText::from),
        names_offline_access: scope.map(|scope| scope.split(' ').any(|value| value == OFFLINE_ACCESS)),
        session_end: flavour.session_end(document.refresh_expires_in.as_ref().and_then(whole_seconds)),
    })
}

/// A number, or a text that is one.
fn whole_seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

impl ProviderRefusal {
    /// Whether it is about who we are, not about the user.
    pub(super) fn concerns_our_credentials(&self) -> bool {
        matches!(self, Self::Error { meaning: Meaning::ClientRefused, .. })
    }

    pub(super) const fn diagnosis(&self) -> &Diagnosis {
        match self {
            Self::Away(diagnosis) | Self::Strange(diagnosis) | Self::Error { diagnosis, .. } => diagnosis,
        }
    }

    /// What it means for a sign-in. `offline`: whether this round asked for `offline_access`.
    pub(super) fn at_exchange(self, offline: bool) -> ExchangeError {
        match self {
            Self::Away(diagnosis) => ExchangeError::Unavailable(diagnosis.to_string()),
            Self::Error { status: StatusCode::BAD_REQUEST, meaning: Meaning::ScopeRefused, diagnosis, .. }
                if offline =>
            {
                ExchangeError::OfflineRefused(diagnosis.to_string())
            }
            Self::Error { diagnosis, .. } | Self::Strange(diagnosis) => ExchangeError::Refused(diagnosis.to_string()),
        }
    }

    /// Whether it may be about the refresh token, without the standard's word for that (RFC 6749 5.2).
    pub(super) fn may_concern_the_token(&self) -> bool {
        matches!(self, Self::Error { meaning: Meaning::Other | Meaning::Denied, .. })
    }

    /// Whether the provider gave the same answer to another request.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Error { status, error, .. }, Self::Error { status: other_status, error: other_error, .. }) => {
                status == other_status && error == other_error
            }
            _ => false,
        }
    }

    /// What it means for a grant: only the provider's plain word that the user's session is over ends it, or that it wants to
    /// see the user. A rotated client secret or an outage must not cost every user a sign-in. Auth0 says it with 403.
    pub(super) fn at_renewal(self) -> RenewError {
        match self {
            Self::Error { meaning: Meaning::SessionOver | Meaning::NotCompleted, diagnosis, .. } => {
                RenewError::Ended(diagnosis.to_string())
            }
            Self::Away(diagnosis) | Self::Error { diagnosis, .. } | Self::Strange(diagnosis) => {
                RenewError::Unavailable(diagnosis.to_string())
            }
        }
    }
}
