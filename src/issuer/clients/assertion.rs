//! Assertions that clients sign to authenticate (`private_key_jwt`: RFC 7521 4.2, RFC 7523 3).
//!
//! Defends against:
//! - replay: the `jti` of an accepted assertion is used up, in all processes, until the assertion expires. It is kept under its
//!   client, so that no client can use up the ids of another;
//! - forgery (RFC 8725): only asymmetric algorithms, one key for each assertion, and no key that the assertion brings along;
//! - assertions that were made for another server. The audience is our issuer. The URL of our token endpoint counts too, because
//!   RFC 7523 asked for it and hosted clients send it; an audience that names anyone else beside us does not count at all. With
//!   the token endpoint as audience, a malicious server that a client also uses can name our token endpoint as its own and
//!   replay what the client then sends to another endpoint of that server (audience injection, 2025). The revised RFC 7523
//!   closes this by allowing the issuer only, and marks such assertions by their `typ`: those are held to it;
//! - work for strangers: everything that the text itself tells is judged before the client is looked up, keys are fetched only
//!   for an assertion that passed, and fetches are limited by address.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::{Clock, Timestamp};
use crate::keys::{
    ClientKeySets, FetchedKeys, KnownKeys, Members, PublicKeys, ReadKeys, SignedJwt, SignedJwtError, UnverifiedJwt,
    verify_signed_jwt,
};
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::client::ClientKeys;
use crate::model::ids::ClientId;
use crate::secret::{SecretText, Sha256};
use crate::storage::Store;
use crate::wire::ClientAddress;

/// The only `client_assertion_type` (RFC 7523 2.2).
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The algorithms that may sign assertions, as our metadata list them.
pub(in crate::issuer) const ALGORITHMS: &[&str] =
    &["ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// The `typ` of assertions whose audience is the issuer and nothing else (the revised RFC 7523).
const EXPLICIT_TYPE: &str = "client-authentication+jwt";

/// The longest assertion, in bytes. An RSA signature of 8192 bits takes 1.4 KiB of it, a certificate chain in `x5c` the rest.
const MAX_ASSERTION: usize = 16 * 1024;
/// The longest `jti`, in bytes.
const MAX_JTI: usize = 256;
/// How far the clocks of clients may be off.
const LEEWAY: Duration = Duration::from_mins(1);
/// How long an assertion may live: Authlib makes them for an hour. Its `jti` is remembered that long.
const MAX_LIFETIME: Duration = Duration::from_hours(1);
/// How many audiences are looked at.
const MAX_AUDIENCES: usize = 4;

/// Verifies assertions. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Assertions {
    pub(in crate::issuer) issuer: Arc<str>,
    pub(in crate::issuer) token_endpoint: Arc<str>,
    pub(in crate::issuer) sets: ClientKeySets,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) limits: Limits,
}

/// An assertion whose text is in order; nothing is proven yet.
pub(super) struct Assertion {
    text: SecretText,
    claims: Claims,
}

/// Why a secret or an assertion proves nothing.
pub(super) enum Unproven {
    /// It is wrong: words for the client's developer.
    Wrong(&'static str),
    /// A limit is used up.
    Limited(Limited),
    /// It cannot be found out now.
    Unavailable(String),
}

impl From<Limited> for Unproven {
    fn from(limited: Limited) -> Self {
        Self::Limited(limited)
    }
}

/// What an assertion says.
struct Claims {
    client: String,
    jti: String,
    issued_at: Option<Timestamp>,
    expires_at: Timestamp,
}

impl Assertion {
    /// The client that it speaks of.
    pub(super) fn client(&self) -> &str {
        &self.claims.client
    }
}

impl Assertions {
    /// Judges what the text of an assertion tells by itself.
    ///
    /// # Errors
    /// Words for the client's developer.
    pub(super) fn read(&self, text: &str) -> Result<Assertion, &'static str> {
        if text.len() > MAX_ASSERTION {
            return Err("client_assertion is longer than 16 KiB");
        }
        let jwt = UnverifiedJwt::read(text).ok_or("client_assertion is not a signed JWT with unique members")?;
        let algorithm = jwt.header.text("alg").ok().flatten().unwrap_or_default();
        if !ALGORITHMS.contains(&algorithm) {
            return Err("client_assertion must be signed with a private key: alg as in our metadata");
        }
        let is_explicit = is_explicit(&jwt.header)?;
        let claims = self.judge(&jwt.claims, is_explicit)?;
        Ok(Assertion { text: text.to_owned().into(), claims })
    }

    /// Verifies an assertion with the keys of its client, and uses it up.
    pub(super) async fn verify(
        &self,
        client: &ClientId,
        keys: &ClientKeys,
        assertion: &Assertion,
        address: ClientAddress,
    ) -> Result<(), Unproven> {
        let text = assertion.text.expose();
        let verified = match keys {
            ClientKeys::Set(keys) => {
                let keys = PublicKeys::of_client(keys).map_err(Unproven::Unavailable)?;
                verify_signed_jwt(text, &keys)
            }
            ClientKeys::Url(url) => self.verify_with_set(url, assertion, address).await?,
        };
        let verified = verified.map_err(|error| Unproven::Wrong(wrong(&error)))?;
        // judged again: now it is certain that the client said it
        let is_explicit = verified.typ.as_deref() == Some(EXPLICIT_TYPE);
        let claims = self.judge(&verified.claims, is_explicit).map_err(Unproven::Wrong)?;
        if claims.client != client.as_str() {
            return Err(Unproven::Wrong("client_assertion is of another client"));
        }
        self.limits.check(Limit::Assertions, &Key::of(&[Part::Client(client), Part::Address(address)])).await?;
        // until nobody accepts it any more, for its age
        let used = self.store.use_once(&name(client, &claims.jti), claims.expires_at + LEEWAY + LEEWAY).await;
        match used {
            Ok(true) => Ok(()),
            Ok(false) => Err(Unproven::Wrong("client_assertion was used before: sign a new one for each request")),
            Err(error) => Err(Unproven::Unavailable(error.to_string())),
        }
    }

    /// The same with the keys at a URL, which are fetched again for a key that is not among them.
    async fn verify_with_set(
        &self,
        url: &str,
        assertion: &Assertion,
        address: ClientAddress,
    ) -> Result<Result<SignedJwt, SignedJwtError>, Unproven> {
        let text = assertion.text.expose();
        let known = self.keys_at(url, address).await?;
        match verify_signed_jwt(text, &known.keys) {
            Err(SignedJwtError::UnknownKey) => {}
            verified => return Ok(verified),
        }
        let keys = match self.fetch(url, address).await? {
            FetchedKeys::TooSoon(keys) if is_older(&keys, &assertion.claims) => {
                let cause = "the client signs with a key that its key set did not have a moment ago";
                return Err(Unproven::Unavailable(cause.to_owned()));
            }
            FetchedKeys::Now(keys) | FetchedKeys::TooSoon(keys) => keys,
            FetchedKeys::Failed(cause) => return Err(Unproven::Unavailable(cause.to_string())),
        };
        Ok(verify_signed_jwt(text, &keys.keys))
    }

    /// The key set at a URL: fresh, or, while it cannot be fetched, the last one for a bounded time.
    async fn keys_at(&self, url: &str, address: ClientAddress) -> Result<ReadKeys, Unproven> {
        if let KnownKeys::Fresh(keys) = self.sets.known(url).await {
            return Ok(keys);
        }
        let failed = match self.fetch(url, address).await {
            Ok(FetchedKeys::Now(keys) | FetchedKeys::TooSoon(keys)) => return Ok(keys),
            Ok(FetchedKeys::Failed(cause)) => Unproven::Unavailable(cause.to_string()),
            Err(limited) => limited.into(),
        };
        // asked again: a host that answers that the set is gone has taken its keys back
        match self.sets.known(url).await {
            KnownKeys::Fresh(keys) | KnownKeys::Stale(keys) => Ok(keys),
            KnownKeys::Unknown => Err(failed),
        }
    }

    async fn fetch(&self, url: &str, address: ClientAddress) -> Result<FetchedKeys, Limited> {
        self.limits.check(Limit::KeySets, &Key::of(&[Part::Address(address)])).await?;
        Ok(self.sets.fetch(url).await)
    }

    /// RFC 7523 3: who speaks, to whom, and when.
    fn judge(&self, claims: &Members, is_explicit: bool) -> Result<Claims, &'static str> {
        let text = |name| claims.text(name).ok().flatten().filter(|text| !text.is_empty());
        let client = match (text("iss"), text("sub")) {
            (Some(iss), Some(sub)) if iss == sub => sub,
            _ => return Err("iss and sub of client_assertion must both be the client_id"),
        };
        if !self.is_for_us(claims.get("aud"), is_explicit) {
            return Err("aud of client_assertion must be our issuer, and nothing else");
        }
        let jti = text("jti").ok_or("client_assertion has no jti")?;
        if jti.len() > MAX_JTI {
            return Err("jti of client_assertion is longer than 256 bytes");
        }
        let time = |name| claims.time(name).or(Err("exp, iat or nbf of client_assertion is no time"));
        let now = self.clock.now();
        let expires_at = time("exp")?.ok_or("client_assertion has no exp")?;
        if now >= expires_at + LEEWAY {
            return Err("client_assertion has expired");
        }
        if expires_at > now + MAX_LIFETIME + LEEWAY {
            return Err("client_assertion lives longer than an hour");
        }
        let issued_at = time("iat")?;
        if [issued_at, time("nbf")?].into_iter().flatten().any(|begins| begins > now + LEEWAY) {
            return Err("client_assertion is not valid yet: check the clock");
        }
        Ok(Claims { client: client.to_owned(), jti: jti.to_owned(), issued_at, expires_at })
    }

    fn is_for_us(&self, aud: Option<&Value>, is_explicit: bool) -> bool {
        let is_ours = |audience: &Value| {
            let audience = audience.as_str().unwrap_or_default();
            // libraries that parse the issuer as a URL add a slash
            let is_issuer = audience.strip_suffix('/').unwrap_or(audience) == &*self.issuer;
            is_issuer || (!is_explicit && audience == &*self.token_endpoint)
        };
        match aud {
            Some(Value::Array(audiences)) => {
                (1..=MAX_AUDIENCES).contains(&audiences.len()) && audiences.iter().all(is_ours)
            }
            Some(audience) => is_ours(audience),
            None => false,
        }
    }
}

/// Whether the assertion says by its type that it is one (RFC 8725 3.11). Most have the type of any JWT, or none; a type of
/// something else is refused.
fn is_explicit(header: &Members) -> Result<bool, &'static str> {
    const WRONG: &str = "typ of client_assertion is that of another kind of JWT";
    let typ = header.text("typ").or(Err(WRONG))?.unwrap_or("JWT").to_ascii_lowercase();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        EXPLICIT_TYPE => Ok(true),
        "jwt" => Ok(false),
        _ => Err(WRONG),
    }
}

/// Whether a key set was fetched before an assertion was made: its key may be newer.
fn is_older(keys: &ReadKeys, assertion: &Claims) -> bool {
    assertion.issued_at.is_some_and(|issued_at| issued_at > keys.read_at)
}

/// Under which name the `jti` of a client is used up.
fn name(client: &ClientId, jti: &str) -> Sha256 {
    Sha256::of(serde_json::json!(["client assertion", client, jti]).to_string().as_bytes())
}

fn wrong(error: &SignedJwtError) -> &'static str {
    match error {
        SignedJwtError::UnknownKey => "no key of this client can have signed client_assertion: check kid and alg",
        SignedJwtError::Invalid(why) => {
            tracing::debug!(why, "a client assertion is wrong");
            "the signature of client_assertion is wrong, or several keys could have made it and it names no kid"
        }
    }
}
