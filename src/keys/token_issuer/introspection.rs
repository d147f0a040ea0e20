//! What an issuer says of a token (RFC 7662).
//!
//! Defends against a flood that comes from us: few questions are under way at once, and those about invented tokens leave room
//! for those about tokens that were good. How often each token is asked about, and who may cause how many questions, is the
//! caller's to limit.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::metadata::Metadata;
use crate::config::{TokenIssuer, Verification};
use crate::keys::signed_jwt::Members;
use crate::outbound::{Diagnosis, Fetched, Fetcher};
use crate::secret::SecretText;

/// The time-out of a question: a call waits for it.
const TIMEOUT: Duration = Duration::from_secs(4);
/// How many questions are under way at once about tokens that were good, and as many about others.
const AT_ONCE: usize = 64;
/// The token of a question that asks for nothing but an answer: whether our credentials are accepted.
pub(super) const PROBE: &str = "portcullis-check";

/// Who makes us ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Askers {
    /// Those whose token was good when it was last asked about.
    Known,
    /// Anyone.
    Unknown,
}

/// Why nothing is known of a token.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Something is wrong with the issuer, or with our registration there.
    Failed(Diagnosis),
    /// The question was not asked, or the issuer refuses this one (400). Anyone can send a token for which it does, so that
    /// is no sign of an outage.
    Refused(Diagnosis),
}

impl Unanswered {
    pub(super) fn into_diagnosis(self) -> Diagnosis {
        match self {
            Self::Failed(cause) | Self::Refused(cause) => cause,
        }
    }
}

/// What an issuer says of a token.
#[derive(Debug)]
pub(crate) enum Introspected {
    /// It is active, and this is known of it.
    Active(Members),
    /// It is not.
    Inactive,
}

struct Credentials<'a> {
    id: &'a str,
    secret: &'a SecretText,
    endpoint: Option<&'a str>,
}

/// Asks an issuer about tokens.
pub(super) struct Introspection {
    settings: Arc<TokenIssuer>,
    fetcher: Fetcher,
    of_known: Semaphore,
    of_unknown: Semaphore,
}

impl Introspection {
    pub(super) fn new(settings: Arc<TokenIssuer>, fetcher: Fetcher) -> Self {
        Self { settings, fetcher, of_known: Semaphore::new(AT_ONCE), of_unknown: Semaphore::new(AT_ONCE) }
    }

    /// Where questions go, and whether our credentials go into the form.
    pub(super) async fn endpoint(&self, metadata: &Metadata) -> Result<(String, bool), Diagnosis> {
        if let Some(endpoint) = self.credentials()?.endpoint {
            return Ok((endpoint.to_owned(), false));
        }
        let document = metadata.get().await?;
        Ok((document.introspection_endpoint()?, document.wants_credentials_in_form()))
    }

    fn credentials(&self) -> Result<Credentials<'_>, Diagnosis> {
        match &self.settings.verification {
            Verification::Introspection { client_id, client_secret, endpoint } => {
                let endpoint = endpoint.as_ref().map(url::Url::as_str);
                Ok(Credentials { id: client_id, secret: client_secret, endpoint })
            }
            Verification::Jwt => Err(Diagnosis::new("its tokens are verified by its keys")),
        }
    }

    /// Asks about a token.
    pub(super) async fn ask(
        &self,
        metadata: &Metadata,
        token: &str,
        askers: Askers,
    ) -> Result<Introspected, Unanswered> {
        let in_flight = match askers {
            Askers::Known => &self.of_known,
            Askers::Unknown => &self.of_unknown,
        };
        let Ok(_permit) = in_flight.try_acquire() else {
            let words = format!("{AT_ONCE} questions about tokens are under way already");
            return Err(Unanswered::Refused(Diagnosis::new(words)));
        };
        let Credentials { id, secret, .. } = self.credentials().map_err(Unanswered::Failed)?;
        let (endpoint, in_form) = self.endpoint(metadata).await.map_err(Unanswered::Failed)?;
        let mut form = vec![("token", token), ("token_type_hint", "access_token")];
        if in_form {
            form.extend([("client_id", id), ("client_secret", secret.expose())]);
        }
        let basic = (!in_form).then_some((id, secret));
        let answer = self.fetcher.post_form(&endpoint, &form, basic, TIMEOUT).await.map_err(Diagnosis::from);
        let in_context = |cause: Diagnosis| {
            cause.in_context(format_args!("the introspection endpoint {endpoint} gives no usable answer"))
        };
        let answer = answer.map_err(|cause| Unanswered::Failed(in_context(cause)))?;
        let of_token = answer.status == StatusCode::BAD_REQUEST && !blames_us(&answer);
        read(&answer).map_err(in_context).map_err(if of_token { Unanswered::Refused } else { Unanswered::Failed })
    }
}

/// Whether an error is about our registration rather than the token (RFC 6749 5.2).
fn blames_us(answer: &Fetched) -> bool {
    let error = Members::read(&answer.body);
    let error = error.as_ref().and_then(|error| error.get("error")).and_then(Value::as_str);
    matches!(error, Some("invalid_client" | "unauthorized_client"))
}

fn read(answer: &Fetched) -> Result<Introspected, Diagnosis> {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            return Err(Diagnosis::new(format!("it answers {}", answer.status.as_u16())).with_hint(
                "check client_id and client_secret, and that this client may introspect tokens at the issuer",
            ));
        }
        status => return Err(Diagnosis::new(format!("it answers {}", status.as_u16()))),
    }
    let members: Members = serde_json::from_slice(&answer.body)
        .map_err(|_cause| Diagnosis::new("its answer is not one JSON object, or repeats a member"))?;
    match members.get("active") {
        Some(Value::Bool(true)) => Ok(Introspected::Active(members)),
        Some(Value::Bool(false)) => Ok(Introspected::Inactive),
        _ => Err(Diagnosis::new("its answer does not say whether the token is active")),
    }
}
