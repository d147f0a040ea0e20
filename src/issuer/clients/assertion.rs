//! Assertions that clients sign to authenticate (`private_key_jwt`: RFC 7521 4.2, RFC 7523 3).
//!
//! Defends against:
//! - replay: the `jti` of an accepted assertion is used up, in all processes, until the assertion expires. It is kept under its
//!   client, so that no client can use up the ids of another;
//! - forgery (RFC 8725): only asymmetric algorithms, one key for each assertion, and no key that the assertion brings along;
//! - assertions that were made for another server (`assertion_rules`);
//! - work for untrusted clients: everything that the text alone shows is checked before the client is looked up, keys are
//!   fetched only for an assertion that passed, and fetches are limited by address.

use super::assertion_rules::{Assertion, AssertionRules, Claims, EXPLICIT_TYPE, LEEWAY};
use crate::clock::Clock;
use crate::keys::{
    ClientKeySets, FetchedKeys, KnownKeys, PublicKeys, ReadKeys, SignedJwt, SignedJwtError, verify_signed_jwt,
};
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::client::{Client, ClientKeys, ClientOrigin};
use crate::model::ids::ClientId;
use crate::secret::Sha256;
use crate::storage::Store;
use crate::wire::ClientAddress;

/// The only `client_assertion_type` (RFC 7523 2.2).
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Verifies assertions. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Assertions {
    pub(in crate::issuer) rules: AssertionRules,
    pub(in crate::issuer) sets: ClientKeySets,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) limits: Limits,
}

/// Why a secret or an assertion is not accepted.
pub(super) enum Unproven {
    /// It is wrong; the text is for the client's developer.
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

impl Assertions {
    /// Checks what can be checked in the text of an assertion alone.
    ///
    /// # Errors
    /// The text is for the client's developer.
    pub(super) fn read(&self, text: &str) -> Result<Assertion, &'static str> {
        self.rules.read(text, self.clock.now())
    }

    /// Verifies an assertion with the keys of its client, and uses it up.
    pub(super) async fn verify(
        &self,
        client: &Client,
        keys: &ClientKeys,
        assertion: &Assertion,
        address: ClientAddress,
    ) -> Result<(), Unproven> {
        let text = assertion.text.expose();
        let verified = match keys {
            ClientKeys::Set(keys) => {
                // an earlier release stored such keys; another attempt would not help
                let unusable = "no key of this client can verify a signature: register other keys";
                let keys = PublicKeys::of_client(keys).map_err(|_cause| Unproven::Wrong(unusable))?;
                verify_signed_jwt(text, &keys)
            }
            ClientKeys::Url(url) => self.verify_with_set(url, assertion, address).await?,
        };
        let verified = verified.map_err(|error| Unproven::Wrong(wrong(&error)))?;
        // checked again: the claims are authentic only now
        let is_explicit = verified.typ.as_deref() == Some(EXPLICIT_TYPE);
        let claims = self.rules.check(&verified.claims, is_explicit, self.clock.now());
        let claims = claims.map_err(Unproven::Wrong)?;
        if claims.client != client.id.as_str() {
            return Err(Unproven::Wrong("client_assertion is of another client"));
        }
        self.limits.check(Limit::Assertions, &counted_by(client, address)).await?;
        // until it is refused for its age everywhere
        let used = self.store.use_once(&name(&client.id, &claims.jti), claims.expires_at + LEEWAY + LEEWAY).await;
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
        // an answer that the set is gone withdraws its keys
        match self.sets.known(url).await {
            KnownKeys::Fresh(keys) | KnownKeys::Stale(keys) => Ok(keys),
            KnownKeys::Unknown => Err(failed),
        }
    }

    async fn fetch(&self, url: &str, address: ClientAddress) -> Result<FetchedKeys, Limited> {
        self.limits.check(Limit::KeySets, &Key::of(&[Part::Address(address)])).await?;
        Ok(self.sets.fetch(url).await)
    }
}

/// Whether a key set was fetched before an assertion was made: its key may be newer.
fn is_older(keys: &ReadKeys, assertion: &Claims) -> bool {
    assertion.issued_at.is_some_and(|issued_at| issued_at > keys.read_at)
}

/// The key of the rate limit. Anyone can register clients with keys or publish their documents, and each assertion leaves a
/// row, so all of these clients share one limit per address.
fn counted_by(client: &Client, address: ClientAddress) -> Key {
    match client.origin {
        ClientOrigin::Configured => Key::of(&[Part::Client(&client.id), Part::Address(address)]),
        ClientOrigin::Registered | ClientOrigin::Document => Key::of(&[Part::Address(address)]),
    }
}

/// The name under which the `jti` of a client is used up.
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

#[cfg(test)]
mod tests {
    use super::{Key, counted_by};
    use crate::clock::Timestamp;
    use crate::model::client::{Authentication, Client, ClientOrigin};
    use crate::oauth::scope::ScopeSet;
    use crate::wire::ClientAddress;

    fn key(id: &str, origin: ClientOrigin, address: &str) -> Key {
        let client = Client {
            id: id.into(),
            origin,
            name: None,
            redirect_uris: Vec::new(),
            authentication: Authentication::None,
            refresh_token: false,
            device: false,
            dpop_bound: false,
            scope: ScopeSet::empty(),
            application_type: None,
            created_at: Timestamp(0),
        };
        counted_by(&client, ClientAddress(address.parse().unwrap()))
    }

    #[test]
    fn flood_one_address_gains_nothing_by_more_clients_unless_the_operator_named_them() {
        use ClientOrigin::{Configured, Document, Registered};
        let (here, elsewhere) = ("192.0.2.1", "192.0.2.2");
        let invented = key("a", Registered, here);
        assert_eq!(invented, key("b", Registered, here));
        assert_eq!(invented, key("https://a.example/1", Document, here));
        assert_eq!(invented, key("https://b.example/2", Document, here));
        assert_ne!(invented, key("a", Registered, elsewhere));
        assert_ne!(key("a", Configured, here), key("b", Configured, here));
        assert_ne!(key("a", Configured, here), invented);
        assert_ne!(key("a", Configured, here), key("a", Configured, elsewhere));
    }
}
