//! A provider that follows OpenID Connect and OAuth 2.0 to the letter; what other products are compared with.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::user_claims::UserClaims;
use crate::config::OidcSettings;
use crate::keys::Members;
use crate::secret::SecretText;
use crate::telemetry::excerpt;

/// OpenID Connect Core 2: a `sub` has at most 255 ASCII characters.
const MAX_SUBJECT: usize = 255;

/// What an error code of the provider means for us, on a redirect (RFC 6749 4.1.2.1) or from its token endpoint (5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The scopes are refused to this client or this user: when `offline_access` was among them, the rest may be granted.
    ScopeRefused,
    /// The answer says nothing of the user's sign-in: one more round brings it.
    AskAgain,
    /// The user, or the provider on the user's behalf, said no.
    Denied,
    /// The user did not finish what the provider asks for.
    NotCompleted,
    /// The provider wants something of the user at a new sign-in, and the session is not over by that.
    UserMustAct,
    /// It passes by itself.
    Unavailable,
    /// The user's session or account is over.
    SessionOver,
    /// It is about who we are, not about the user.
    ClientRefused,
    /// Anything else.
    Other,
}

/// What an operator may have to change a setting for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Symptom<'a> {
    /// An error of the token endpoint.
    Error(&'a str),
    /// The metadata names another issuer than the configuration.
    OtherIssuer,
    /// What lies at the address of the metadata: a status.
    NoMetadata(StatusCode),
    /// The answer has no `iss` although the metadata announces it.
    NoIss,
    /// A sign-in brought no refresh token.
    NoRefreshToken,
}

/// Where a provider wants our secret (RFC 6749 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretIn {
    Header,
    Body,
}

/// How we prove who we are at the token endpoint. Not printed: it holds secrets.
pub(super) enum Credentials<'a> {
    /// Id and secret in the header (RFC 6749 2.3.1).
    Basic(&'a str, &'a SecretText),
    /// Fields of the form: the id alone, or with what proves it.
    Form(Vec<(&'static str, Cow<'a, str>)>),
}

/// When the session behind a refresh token ends, as the provider states it with the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// It says nothing of it.
    Unsaid,
    /// After this time, unless the token is used before.
    After(Duration),
    /// At no stated time.
    Open,
    /// Never: the token is an offline one, which belongs to no session.
    Never,
}

/// Compared byte for byte (OpenID Connect Discovery 4.3, RFC 9207 2.4).
pub(super) fn issuer_is(configured: &str, stated: &str) -> bool {
    configured == stated
}

/// The issuer of a token is that of the metadata (OpenID Connect Core 3.1.3.7).
pub(super) fn check_issuer(claims: &Members, issuer: &str) -> Result<(), String> {
    match claims.text("iss")? {
        Some(iss) if iss == issuer => Ok(()),
        Some(iss) => Err(format!("its iss is {:?}, the configured `issuer` is {issuer:?}", excerpt(iss))),
        None => Err("it has no iss".to_owned()),
    }
}

/// Some providers send `"true"`. Anything else counts as unverified and does not fail the sign-in.
pub(super) fn email_is_verified(claims: &Members) -> bool {
    matches!(claims.get("email_verified"), Some(Value::Bool(true)))
        || matches!(claims.get("email_verified"), Some(Value::String(text)) if text == "true")
}

/// The subject, which never changes and is never given to another user.
pub(super) fn key_of(claims: &Members) -> Result<String, String> {
    let sub = claims.text("sub")?.ok_or("it has no sub")?;
    if sub.is_empty() || sub.len() > MAX_SUBJECT || !sub.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("its sub is not 1 to 255 printable ASCII characters".to_owned());
    }
    Ok(sub.to_owned())
}

/// OpenID Connect Core 11 asks for it with `offline_access`; without it some providers drop that scope in silence.
pub(super) fn prompt(offline: bool) -> Option<&'static str> {
    offline.then_some("consent")
}

/// An ID token may be short of claims that the userinfo endpoint has (OpenID Connect Core 5.4).
pub(super) fn says_all(said: &UserClaims) -> bool {
    said.names_user() && said.names_groups()
}

/// A client without a secret only names itself.
pub(super) fn credentials(settings: &OidcSettings, secret_in: SecretIn) -> Credentials<'_> {
    let id = settings.client_id.as_str();
    match (&settings.client_secret, secret_in) {
        (Some(secret), SecretIn::Header) => Credentials::Basic(id, secret),
        (Some(secret), SecretIn::Body) => {
            Credentials::Form(vec![("client_id", id.into()), ("client_secret", secret.expose().into())])
        }
        (None, _) => Credentials::Form(vec![("client_id", id.into())]),
    }
}

pub(super) fn meaning(error: &str) -> Meaning {
    match error {
        "invalid_scope" => Meaning::ScopeRefused,
        "access_denied" => Meaning::Denied,
        "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
            Meaning::NotCompleted
        }
        "temporarily_unavailable" | "server_error" => Meaning::Unavailable,
        "invalid_grant" => Meaning::SessionOver,
        "invalid_client" | "unauthorized_client" => Meaning::ClientRefused,
        _ => Meaning::Other,
    }
}

/// `refresh_expires_in` is in no standard, but several products have it. 0 is no end.
pub(super) fn session_end(refresh_expires_in: Option<u64>) -> SessionEnd {
    match refresh_expires_in {
        None => SessionEnd::Unsaid,
        Some(0) => SessionEnd::Open,
        Some(seconds) => SessionEnd::After(Duration::from_secs(seconds)),
    }
}

pub(super) fn hint(symptom: Symptom<'_>, identity: &str) -> Option<String> {
    let error = match symptom {
        Symptom::Error(error) => error,
        Symptom::NoRefreshToken => {
            return Some(format!(
                "the provider must give our client refresh tokens (grant type refresh_token, scope offline_access); or set \
                 standing = \"none\" for identity {identity}, and a max_grant_age"
            ));
        }
        Symptom::OtherIssuer | Symptom::NoMetadata(_) | Symptom::NoIss => return None,
    };
    match (meaning(error), error) {
        (Meaning::ClientRefused, _) => Some(format!(
            "check `client_id` and `client_secret` of identity {identity} against the client at the provider"
        )),
        (Meaning::ScopeRefused, _) => {
            Some(format!("check `scopes` and `standing` of identity {identity} against the client there"))
        }
        (_, "unsupported_grant_type") => {
            Some("the provider must allow authorization_code and refresh_token".to_owned())
        }
        _ => None,
    }
}

/// RFC 8693 2.2.2.
pub(super) fn exchange_hint(error: &str, identity: &str) -> Option<String> {
    match error {
        "invalid_target" => {
            Some("the provider does not know the `audience` in `delegation` of the upstream".to_owned())
        }
        "unsupported_grant_type" | "unauthorized_client" | "access_denied" | "invalid_request" => Some(format!(
            "the client of identity {identity} must be allowed token exchange (RFC 8693) for the `audience` in `delegation` of \
             the upstream"
        )),
        "invalid_scope" => Some("check `scopes` in `delegation` of the upstream".to_owned()),
        "invalid_client" => Some(format!(
            "check `client_id` and `client_secret` of identity {identity}, and `audience` in `delegation` of the upstream"
        )),
        _ => None,
    }
}
