//! What a logout token says, once every rule of OpenID Connect Back-Channel Logout 1.0 2.6 holds.
//!
//! Defends against: a token of another issuer or for another client, an ID token or an access token that is presented as a logout
//! token (cross-JWT confusion, by `typ`, `events` and `nonce`), and one that was recorded long ago. The signature is verified by
//! `keys`; whether it was used before (replay, by `jti`) is for the caller to decide.

use serde_json::Value;

use super::generic;
use super::id_token::{LEEWAY, MAX_AGE, check_audience};
use crate::clock::Timestamp;
use crate::keys::{Members, SignedJwtError};
use crate::telemetry::excerpt;

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Keycloak adds it where the client says so (`backchannel.logout.revoke.offline.tokens`).
const REVOKE_OFFLINE: &str = "revoke_offline_access";
/// How long a token without `exp` is good: the specification recommends no more than that.
const WITHOUT_EXP: std::time::Duration = std::time::Duration::from_mins(2);
/// No id is longer, in bytes.
const MAX_ID: usize = 1024;

/// What a token must be for us to believe it.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) now: Timestamp,
}

/// A believed token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogoutToken {
    /// Its id, which no other token of the issuer has.
    pub(crate) jti: String,
    /// The provider's own id of the user; without it, `sid` is there.
    pub(crate) key: Option<String>,
    /// The session; without it, every session of the user.
    pub(crate) sid: Option<String>,
    /// Whether the provider wants offline access to end with the session.
    pub(crate) ends_offline: bool,
    /// When the user signed out, by the provider's clock.
    pub(crate) issued_at: Timestamp,
    /// From when on it is refused for its age.
    pub(crate) refused_from: Timestamp,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotBelieved {
    /// No key that we know signed it; a newer key may have.
    UnknownKey,
    /// It is wrong, and why. Never the token.
    Untrue(String),
    /// It cannot be checked now.
    Unavailable(String),
}

impl From<SignedJwtError> for NotBelieved {
    fn from(error: SignedJwtError) -> Self {
        match error {
            SignedJwtError::UnknownKey => Self::UnknownKey,
            SignedJwtError::Invalid(why) => Self::Untrue(why.to_owned()),
        }
    }
}

/// Checks header and claims; the error says what is wrong with them, for the operator.
pub(super) fn check(typ: Option<&str>, claims: &Members, expected: &Expected<'_>) -> Result<LogoutToken, String> {
    check_type(typ, claims)?;
    generic::check_issuer(claims, expected.issuer)?;
    check_audience(claims, expected.client_id)?;
    let (issued_at, refused_from) = check_times(claims, expected.now)?;
    let ends_offline = check_events(claims)?;
    if claims.get("nonce").is_some() {
        return Err("it has a nonce: it is an ID token".to_owned());
    }
    let key = claims.get("sub").map(|_| generic::key_of(claims)).transpose()?;
    let sid = id(claims, "sid")?;
    if key.is_none() && sid.is_none() {
        return Err("it names neither a user (sub) nor a session (sid)".to_owned());
    }
    let jti = id(claims, "jti")?.ok_or("it has no jti")?;
    Ok(LogoutToken { jti, key, sid, ends_offline, issued_at, refused_from })
}

/// `logout+jwt` is recommended, and many providers say `JWT`, as for an ID token. Keycloak names the kind in a claim, too.
fn check_type(typ: Option<&str>, claims: &Members) -> Result<(), String> {
    match typ {
        None | Some("logout+jwt" | "jwt") => {}
        Some(typ) => return Err(format!("its typ is {:?}: it is not a logout token", excerpt(typ))),
    }
    match claims.text("typ")? {
        None | Some("Logout") => Ok(()),
        Some(typ) => Err(format!("its claim typ is {:?}: it is not a logout token", excerpt(typ))),
    }
}

/// When it was made, and from when on it is refused. The first drafts of the specification had no `exp`.
fn check_times(claims: &Members, now: Timestamp) -> Result<(Timestamp, Timestamp), String> {
    const CLOCKS: &str = "check the clocks of both machines";
    let iat = claims.time("iat")?.ok_or("it has no iat")?;
    if iat > now + LEEWAY {
        return Err(format!("it comes from the future: {CLOCKS}"));
    }
    let exp = claims.time("exp")?.unwrap_or(iat + WITHOUT_EXP);
    let refused_from = exp.min(iat + MAX_AGE) + LEEWAY;
    if now >= refused_from {
        return Err(format!("it has expired: {CLOCKS}"));
    }
    match claims.time("nbf")? {
        Some(nbf) if nbf > now + LEEWAY => Err(format!("it is not good yet (nbf): {CLOCKS}")),
        _ => Ok((iat, refused_from)),
    }
}

/// The event of a logout must be there. Answers whether offline access ends as well.
fn check_events(claims: &Members) -> Result<bool, String> {
    let Some(Value::Object(events)) = claims.get("events") else {
        return Err("it has no events, or they are no object: it is not a logout token".to_owned());
    };
    if !events.get(EVENT).is_some_and(Value::is_object) {
        return Err(format!("its events have no object {EVENT}: it is not a logout token"));
    }
    Ok(events.get(REVOKE_OFFLINE) == Some(&Value::Bool(true)))
}

/// An id; `None` when it is absent.
fn id(claims: &Members, name: &str) -> Result<Option<String>, String> {
    match claims.text(name)? {
        None => Ok(None),
        Some(id) if id.is_empty() || id.len() > MAX_ID => Err(format!("its {name} is empty or too long")),
        Some(id) => Ok(Some(id.to_owned())),
    }
}

#[cfg(test)]
mod tests;
