//! What a token of another issuer must be. Pure: nothing here asks anyone.
//!
//! Defends against:
//! - tokens that are no access tokens (ID, refresh and logout tokens, tokens of Microsoft Graph), which the same keys sign,
//! - tokens for another server (confused deputy),
//! - tokens out of their time,
//! - tokens that are bound to a key which nobody proves,
//! - algorithms that the operator did not allow (RFC 8725 3.1).
//!
//! The operator reads why a token is refused; its client learns the class of the reason. No reason repeats a part of a token.

use std::time::Duration;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::config::{AcceptedIssuer, IssuerKind, TokenIssuer};
use crate::gateway::refusal::TokenFault;
use crate::keys::Members;
use crate::oauth::dpop::Thumbprint;

/// How far the issuer's clock and ours may differ.
const LEEWAY: Duration = Duration::from_mins(1);
/// The type of access tokens (RFC 9068 2.1).
const ACCESS_TOKEN: &str = "at+jwt";
/// How the configuration writes that an issuer's access tokens have no type of their own.
const UNTYPED: &str = "jwt";
/// Claims of ID tokens alone (OpenID Connect Core 2 and 3.3.2.11).
const OF_ID_TOKENS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];
/// Claims that access tokens have where their header does not say what they are, and ID tokens have not.
const OF_ACCESS_TOKENS: [&str; 6] = ["scope", "scp", "client_id", "cid", "permissions", "gty"];
/// The audiences of Microsoft Graph.
const GRAPH: [&str; 3] =
    ["00000003-0000-0000-c000-000000000000", "https://graph.microsoft.com", "https://graph.microsoft.com/"];

/// Why a token is refused: a class for its client, words for the operator.
pub(super) type Fault = (TokenFault, &'static str);

const ID_TOKEN: Fault = (TokenFault::Kind, "it is an ID token: the client must send the access token");
const REFRESH_TOKEN: Fault = (TokenFault::Kind, "it is a refresh token: the client must send the access token");
const LOGOUT_TOKEN: Fault = (TokenFault::Kind, "it is a logout token");
const GRAPH_TOKEN: Fault = (
    TokenFault::Kind,
    "it is for Microsoft Graph, so nobody else can verify it: the client must ask for a scope of this server (the metadata \
     of the resource names them)",
);

/// When a token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) issued_at: Timestamp,
    /// The first second in which it is not, leeway included.
    pub(super) until: Timestamp,
}

/// Checks header and claims for what a token is, and whether the issuer's algorithms are used. Cheap: it comes before the
/// keys are asked for.
pub(super) fn check_kind(header: &Members, claims: &Members, issuer: &TokenIssuer) -> Result<(), Fault> {
    let typ = header.text("typ").or(Err((TokenFault::Kind, "its typ is not a string")))?.map(media_type);
    check_claimed_kind(claims)?;
    if header.get("nonce").is_some() {
        return Err(GRAPH_TOKEN);
    }
    match typ.as_deref() {
        Some("logout+jwt") => return Err(LOGOUT_TOKEN),
        Some(typ) if typ == ACCESS_TOKEN || (typ == issuer.typ && typ != UNTYPED) => {}
        None | Some(UNTYPED) => check_untyped(claims, issuer)?,
        Some(_) => return Err((TokenFault::Kind, "its header says that it is no access token (typ)")),
    }
    if issuer.kind == IssuerKind::Keycloak && !claims.get("typ").is_some_and(|typ| typ == "Bearer" || typ == "DPoP") {
        return Err((TokenFault::Kind, "its typ claim is not \"Bearer\", as in every access token of Keycloak"));
    }
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    if issuer.algorithms.iter().any(|allowed| allowed == algorithm) {
        Ok(())
    } else {
        Err((TokenFault::Other, "its algorithm is not one of the issuer's `algorithms`"))
    }
}

/// What the claims alone say: of a JWT, and of the answer about a token that is none.
pub(super) fn check_claimed_kind(claims: &Members) -> Result<(), Fault> {
    match claims.get("typ").map(|typ| typ.as_str().unwrap_or_default()) {
        None | Some("Bearer" | "DPoP" | "JWT" | "at+jwt") => {}
        Some("ID") => return Err(ID_TOKEN),
        Some("Refresh" | "Offline") => return Err(REFRESH_TOKEN),
        Some("Logout") => return Err(LOGOUT_TOKEN),
        Some(_) => return Err((TokenFault::Kind, "its typ claim is not \"Bearer\"")),
    }
    match claims.get("token_use").map(|used| used.as_str().unwrap_or_default()) {
        None | Some("access" | "access_token") => {}
        Some("id" | "id_token") => return Err(ID_TOKEN),
        Some("refresh" | "refresh_token") => return Err(REFRESH_TOKEN),
        Some(_) => return Err((TokenFault::Kind, "its token_use is not that of an access token")),
    }
    if claims.get("events").is_some() { Err(LOGOUT_TOKEN) } else { Ok(()) }
}

/// What the answer about a token calls it (RFC 7662 2.2). Many servers answer for refresh tokens, too.
pub(super) fn check_token_type(claims: &Members) -> Result<(), Fault> {
    let token_type = claims.get("token_type").map(|typ| typ.as_str().unwrap_or_default().to_ascii_lowercase());
    match token_type.as_deref() {
        None | Some("bearer" | "dpop" | "access_token") => Ok(()),
        Some("refresh_token") => Err(REFRESH_TOKEN),
        Some(_) => Err((TokenFault::Kind, "its token_type is neither \"Bearer\" nor \"DPoP\"")),
    }
}

/// A header that does not say what the token is: its claims must.
fn check_untyped(claims: &Members, issuer: &TokenIssuer) -> Result<(), Fault> {
    if issuer.typ != UNTYPED {
        let words = "its header has no access token type: if those of this issuer have none, set typ = \"JWT\" for it";
        return Err((TokenFault::Kind, words));
    }
    // older Keycloaks repeat the nonce in access tokens, whose typ claim says what they are
    let is_sign = |name: &str| claims.get(name).is_some() && (name != "nonce" || issuer.kind != IssuerKind::Keycloak);
    if OF_ID_TOKENS.into_iter().any(is_sign) {
        return Err(ID_TOKEN);
    }
    let is_access_token = match issuer.kind {
        IssuerKind::Keycloak => true,
        IssuerKind::Entra => ["azp", "appid"].iter().any(|name| claims.get(name).is_some()),
        IssuerKind::Oidc => OF_ACCESS_TOKENS.iter().any(|name| claims.get(name).is_some()),
    };
    if is_access_token {
        Ok(())
    } else {
        Err((TokenFault::Kind, "nothing says that it is an access token: it may be an ID token"))
    }
}

/// RFC 7515 4.1.9: upper and lower case make no difference, and `application/` may be left out.
fn media_type(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
}

/// Checks the times. A token without an end is refused; an answer about one may have none.
pub(super) fn check_times(claims: &Members, now: Timestamp) -> Result<Option<Times>, Fault> {
    let time = |name| claims.time(name).or(Err((TokenFault::Other, "one of its times is no time")));
    let (issued_at, not_before, expires_at) = (time("iat")?, time("nbf")?, time("exp")?);
    if [issued_at, not_before].into_iter().flatten().any(|begins| begins > now + LEEWAY) {
        return Err((TokenFault::Time, "it is not good yet (iat, nbf): compare the clocks"));
    }
    let Some(expires_at) = expires_at else { return Ok(None) };
    let until = expires_at + LEEWAY;
    if now >= until {
        return Err((TokenFault::Time, "it has expired"));
    }
    Ok(Some(Times { issued_at: issued_at.unwrap_or(now), until }))
}

/// Checks whom the token is for: one of its audiences is this upstream, byte for byte.
pub(super) fn check_audience(claims: &Members, accepted: &AcceptedIssuer) -> Result<(), Fault> {
    let audiences = audiences(claims);
    if audiences.is_empty() {
        let words = "it names no audience (aud): let the issuer put one of `audiences` into the tokens for this server";
        return Err((TokenFault::Audience, words));
    }
    if audiences.iter().any(|audience| accepted.is_audience(audience)) {
        return Ok(());
    }
    if audiences.iter().any(|audience| GRAPH.contains(audience)) {
        return Err(GRAPH_TOKEN);
    }
    Err((TokenFault::Audience, "it is for another audience: compare its aud with `audiences`"))
}

/// The audiences of a token; none where one of them is no text.
pub(super) fn audiences(claims: &Members) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(audience)) => vec![audience],
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect::<Option<_>>().unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The key that the token is bound to (RFC 7800, RFC 9449 6). One that is bound otherwise proves nothing here.
pub(super) fn bound_to(claims: &Members, takes_bound: bool) -> Result<Option<Thumbprint>, Fault> {
    let Some(confirmation) = claims.get("cnf") else {
        let is_bound = ["typ", "token_type"].iter().filter_map(|name| claims.get(name)?.as_str());
        return if is_bound.into_iter().any(|typ| typ.eq_ignore_ascii_case("DPoP")) {
            Err((TokenFault::Other, "it is bound to a key (DPoP), and does not say to which (cnf)"))
        } else {
            Ok(None)
        };
    };
    let jkt = confirmation.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("jkt"));
    let Some(key) = jkt.and_then(Value::as_str).and_then(Thumbprint::parse) else {
        return Err((
            TokenFault::Other,
            "it is bound to a key by other means than DPoP (cnf), of which no proof is read",
        ));
    };
    if takes_bound {
        return Ok(Some(key));
    }
    Err((TokenFault::Other, "it is bound to a key (DPoP): set dpop = \"optional\" for this upstream"))
}

#[cfg(test)]
mod tests;
