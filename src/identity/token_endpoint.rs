//! Asking a provider's token endpoint (RFC 6749 4.1.3, 5, 6), and what its refusals mean.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::client_authentication::ClientAuthentication;
use super::delegated::DelegateError;
use super::examination::TokenAnswer;
use super::exchange::{ExchangeError, Explanation, RenewError};
use super::generic::{Credentials, Meaning, SessionEnd};
use super::metadata::{ProviderMetadata, WRONG_ADDRESS};
use crate::config::{OidcFlavour, OidcSettings};
use crate::oauth::scope::OFFLINE_ACCESS;
use crate::outbound::{Diagnosis, Fetched, Fetcher};
use crate::secret::SecretText;

/// The hint when a token endpoint redirects.
const REDIRECTS: &str =
    "redirects are not followed: the provider must name the address that it redirects to as its token endpoint";

/// The token endpoint of one provider, and who we are there.
pub(super) struct ProviderTokenEndpoint<'a> {
    pub(super) identity: &'a str,
    pub(super) settings: &'a OidcSettings,
    pub(super) fetcher: &'a Fetcher,
    pub(super) metadata: &'a ProviderMetadata,
    pub(super) authentication: &'a ClientAuthentication,
}

/// What a good answer carries.
#[derive(Debug)]
pub(super) struct Answer {
    /// The ID token may name its hash. It is used as a token at most to ask the provider for more of the user, and for what
    /// `delegation` of an upstream asks for.
    pub(super) access_token: SecretText,
    /// What kind of token that is (RFC 6749 7.1).
    pub(super) token_type: Option<String>,
    /// How long it is good.
    pub(super) life: Life,
    pub(super) id_token: Option<SecretText>,
    pub(super) refresh_token: Option<SecretText>,
    /// Whether the answer names `offline_access`; `None` when it names no scope at all.
    pub(super) names_offline_access: Option<bool>,
    /// The granted scopes by the provider's names, if the answer names any.
    pub(super) scope: Option<String>,
    /// When the session behind the refresh token ends.
    pub(super) session_end: SessionEnd,
}

/// How long an access token is good, by its `expires_in` (RFC 6749 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// The answer says nothing that can be read.
    Unsaid,
    /// No longer: 0, or less.
    Over,
    /// For this time.
    For(Duration),
}

impl Life {
    /// Longer than any token is kept.
    const LONGEST: u64 = 366 * 24 * 3600;

    /// A number, or a text that is one, as version 1 of Entra ID writes it.
    fn of(expires_in: Option<&Value>) -> Self {
        let number = match expires_in {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        match number.filter(|number: &f64| !number.is_nan()) {
            None => Self::Unsaid,
            Some(seconds) if seconds < 1.0 => Self::Over,
            Some(seconds) => {
                Self::For(Duration::try_from_secs_f64(seconds).map_or(Duration::from_secs(Self::LONGEST), |life| {
                    Duration::from_secs(life.as_secs().min(Self::LONGEST))
                }))
            }
        }
    }
}

/// Why there is no good answer. Without secrets.
#[derive(Debug)]
pub(super) enum ProviderRefusal {
    /// No answer, or one that says to come back later: it passes by itself.
    Away(Diagnosis),
    /// An error document (RFC 6749 5.2).
    Error(Box<ErrorAnswer>),
    /// An answer that no token endpoint gives.
    Strange(Diagnosis),
}

/// An error document, and what it means.
#[derive(Debug)]
pub(super) struct ErrorAnswer {
    status: StatusCode,
    error: String,
    meaning: Meaning,
    diagnosis: Diagnosis,
    /// For the user, where there is more to say than that it failed.
    told: Option<Explanation>,
    /// What the next authorization request must carry (`claims`, OpenID Connect Core 5.5).
    claims: Option<String>,
}

/// What a product knows of an error document.
pub(super) struct Refusal {
    pub(super) meaning: Meaning,
    /// The error and its description on one line.
    pub(super) said: String,
    pub(super) hint: Option<String>,
    pub(super) told: Option<Explanation>,
}

#[derive(Deserialize)]
struct AnswerDocument {
    /// RFC 6749 5.1 demands it: a 200 without comes from something else.
    access_token: String,
    token_type: Option<Value>,
    expires_in: Option<Value>,
    id_token: Option<String>,
    refresh_token: Option<String>,
    scope: Option<Value>,
    refresh_expires_in: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct ErrorDocument {
    pub(super) error: String,
    pub(super) error_description: Option<String>,
    /// Members of Microsoft's. What has another form than theirs is as good as absent.
    suberror: Option<Value>,
    error_codes: Option<Value>,
    claims: Option<Value>,
}

impl ErrorDocument {
    pub(super) fn suberror(&self) -> Option<&str> {
        self.suberror.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn claims(&self) -> Option<&str> {
        self.claims.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        let codes = self.error_codes.as_ref().and_then(Value::as_array).into_iter().flatten();
        codes.filter_map(|code| u32::try_from(code.as_u64()?).ok()).collect()
    }
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
            return read_answer(&fetched, &self.settings.flavour).ok_or_else(|| {
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
        let in_context =
            |failure: Diagnosis| failure.in_context(format_args!("the {kind} endpoint of identity {}", self.identity));
        let credentials = self.authentication.credentials(self.settings, self.metadata).await.map_err(in_context)?;
        let mut form = form.to_vec();
        let basic = match &credentials {
            Credentials::Basic(id, secret) => Some((*id, *secret)),
            Credentials::Form(fields) => {
                form.extend(fields.iter().map(|(name, value)| (*name, &**value)));
                None
            }
        };
        let fetched = self.fetcher.post_form(endpoint, &form, basic, timeout).await;
        fetched.map_err(|failure| in_context(failure.into()))
    }

    fn name(&self) -> String {
        format!("the token endpoint of identity {}", self.identity)
    }

    fn error(&self, status: StatusCode, document: &ErrorDocument, secrets: &[&str]) -> ProviderRefusal {
        let ours = self.settings.client_secret.as_ref().map(SecretText::expose);
        let mut hidden = secrets.iter().copied().chain(ours);
        let description = document.error_description.as_deref().unwrap_or_default();
        let repeats_a_secret = hidden.any(|secret| description.contains(secret) || document.error.contains(secret));
        let Refusal { meaning, said, hint, told } = self.settings.flavour.refusal(document, self.identity);
        let said = if repeats_a_secret { "an error".to_owned() } else { said };
        let diagnosis = Diagnosis::new(format!("{} answers {} {said}", self.name(), status.as_u16()));
        let diagnosis = match hint {
            Some(hint) => diagnosis.with_hint(hint),
            None => diagnosis,
        };
        let (error, claims) = (document.error.clone(), document.claims().map(str::to_owned));
        ProviderRefusal::Error(Box::new(ErrorAnswer { status, error, meaning, diagnosis, told, claims }))
    }
}

fn read_answer(fetched: &Fetched, flavour: &OidcFlavour) -> Option<Answer> {
    let document: AnswerDocument = serde_json::from_slice(&fetched.body).ok()?;
    let scope = document.scope.as_ref().and_then(Value::as_str).map(str::to_owned);
    Some(Answer {
        access_token: document.access_token.into(),
        token_type: document.token_type.as_ref().and_then(Value::as_str).map(str::to_owned),
        life: Life::of(document.expires_in.as_ref()),
        id_token: document.id_token.map(SecretText::from),
        refresh_token: document.refresh_token.filter(|token| !token.is_empty()).map(SecretText::from),
        names_offline_access: scope.as_ref().map(|scope| scope.split(' ').any(|value| value == OFFLINE_ACCESS)),
        scope,
        session_end: flavour.session_end(document.refresh_expires_in.as_ref().and_then(whole_seconds)),
    })
}

/// A number, or a text that is one.
fn whole_seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

impl TokenAnswer {
    /// What the answer to something made up says.
    pub(super) fn of(answer: Result<Answer, ProviderRefusal>) -> Self {
        match answer {
            Ok(_) => Self::Accepted,
            Err(ProviderRefusal::Away(diagnosis) | ProviderRefusal::Strange(diagnosis)) => Self::Unclear(diagnosis),
            Err(ProviderRefusal::Error(answer)) => {
                let ErrorAnswer { error, meaning, diagnosis, .. } = *answer;
                Self::Refused { error, meaning, said: diagnosis }
            }
        }
    }
}

impl ProviderRefusal {
    /// Whether it is about who we are, not about the user.
    pub(super) fn concerns_our_credentials(&self) -> bool {
        matches!(self, Self::Error(answer) if answer.meaning == Meaning::ClientRefused)
    }

    pub(super) const fn diagnosis(&self) -> &Diagnosis {
        match self {
            Self::Away(diagnosis) | Self::Strange(diagnosis) => diagnosis,
            Self::Error(answer) => &answer.diagnosis,
        }
    }

    /// What it means for a sign-in. `offline`: whether this round asked for `offline_access`.
    pub(super) fn at_exchange(self, offline: bool) -> ExchangeError {
        let answer = match self {
            Self::Away(diagnosis) => return ExchangeError::Unavailable(diagnosis.to_string()),
            Self::Strange(diagnosis) => return ExchangeError::Refused(diagnosis.to_string()),
            Self::Error(answer) => *answer,
        };
        let why = answer.diagnosis.to_string();
        match answer {
            ErrorAnswer { status: StatusCode::BAD_REQUEST, meaning: Meaning::ScopeRefused, .. } if offline => {
                ExchangeError::OfflineRefused(why)
            }
            ErrorAnswer { meaning: Meaning::Unavailable, .. } => ExchangeError::Unavailable(why),
            ErrorAnswer { told: Some(told), .. } => ExchangeError::Explained { why, told },
            ErrorAnswer { .. } => ExchangeError::Refused(why),
        }
    }

    /// What it means for a token that is to be delegated. `hint` takes the place of what the refusal would mean elsewhere. That a
    /// permission is missing is no matter of another sign-in.
    pub(super) fn at_delegation(self, hint: Option<String>) -> DelegateError {
        let answer = match self {
            Self::Away(diagnosis) => return DelegateError::Unavailable(diagnosis.to_string()),
            Self::Strange(diagnosis) => return DelegateError::Refused(diagnosis.to_string()),
            Self::Error(answer) => *answer,
        };
        let why = match hint {
            Some(hint) => answer.diagnosis.with_hint(hint).to_string(),
            None => answer.diagnosis.to_string(),
        };
        let asks_for_the_user = matches!(answer.error.as_str(), "interaction_required" | "login_required");
        match answer.meaning {
            _ if asks_for_the_user || answer.claims.is_some() => {
                DelegateError::SignInAgain { why, claims: answer.claims }
            }
            Meaning::Unavailable => DelegateError::Unavailable(why),
            _ => DelegateError::Refused(why),
        }
    }

    /// The error code, if it is an error document.
    pub(super) fn error_code(&self) -> Option<&str> {
        match self {
            Self::Error(answer) => Some(&answer.error),
            Self::Away(_) | Self::Strange(_) => None,
        }
    }

    /// Whether it may be about the refresh token, without the standard's word for that (RFC 6749 5.2).
    pub(super) fn may_concern_the_token(&self) -> bool {
        matches!(self, Self::Error(answer) if matches!(answer.meaning, Meaning::Other | Meaning::Denied))
    }

    /// Whether the provider gave the same answer to another request.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Error(answer), Self::Error(other)) => (answer.status, &answer.error) == (other.status, &other.error),
            _ => false,
        }
    }

    /// What it means for a grant: only the provider's plain word that the user's session is over ends it, or that it wants to
    /// see the user. A rotated client secret or an outage must not cost every user a sign-in. Auth0 says it with 403.
    pub(super) fn at_renewal(self) -> RenewError {
        let answer = match self {
            Self::Away(diagnosis) | Self::Strange(diagnosis) => return RenewError::Unavailable(diagnosis.to_string()),
            Self::Error(answer) => *answer,
        };
        let why = answer.diagnosis.to_string();
        match answer.meaning {
            Meaning::SessionOver | Meaning::NotCompleted => RenewError::Ended(why),
            Meaning::UserMustAct => RenewError::SignInAgain { why, claims: answer.claims },
            _ => RenewError::Unavailable(why),
        }
    }
}
