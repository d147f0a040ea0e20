//! What an ID token says, once it is proved (OpenID Connect Core 1.0 3.1.3.7).

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use openidconnect::core::{
    CoreGenderClaim, CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
};
use openidconnect::{
    AdditionalClaims, ClaimsVerificationError, ClientId, IdToken, IdTokenClaims, IdTokenVerifier, IssuerUrl, Nonce,
    SignatureVerificationError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::excerpt::excerpt;
use crate::clock::Timestamp;
use crate::model::user::User;

/// How far the provider's clock and ours may differ.
const LEEWAY: Duration = Duration::from_mins(1);
/// OpenID Connect Core 2: a `sub` has at most 255 ASCII characters.
const MAX_SUBJECT: usize = 255;

/// A secret that both sides know proves nothing to us (and `none` nothing to anybody): signatures only.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// A provider's keys.
pub(super) type KeySet = CoreJsonWebKeySet;

/// Reads a key set (RFC 7517 5). Keys that we cannot use are left out: Keycloak publishes one for encryption, sometimes
/// first.
pub(super) fn parse_keys(document: &[u8]) -> Result<KeySet, String> {
    let no_set = |cause: serde_json::Error| format!("it is no key set: {}", excerpt(&cause.to_string()));
    let mut document: Value = serde_json::from_slice(document).map_err(no_set)?;
    if let Some(keys) = document.get_mut("keys").and_then(Value::as_array_mut) {
        keys.retain(is_for_signatures);
    }
    let set: KeySet = serde_json::from_value(document).map_err(no_set)?;
    let mut usable: Vec<_> = set.keys().clone();
    // The same key twice would leave open which of the two is meant.
    let mut seen = HashSet::new();
    usable.retain(|key| serde_json::to_string(key).is_ok_and(|text| seen.insert(text)));
    if usable.is_empty() { Err("it holds no key that signs".to_owned()) } else { Ok(KeySet::new(usable)) }
}

/// Whether a key's owner meant it for signatures that others verify (RFC 7517 4.2 and 4.3): a key for something else must
/// not vouch for a user, whatever it could compute.
fn is_for_signatures(key: &Value) -> bool {
    let used = key.get("use").is_none_or(|used| used == "sig");
    let verifies = |operations: &Value| {
        operations.as_array().is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    };
    used && key.get("key_ops").is_none_or(verifies)
}

/// What a token must be for us to believe it.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// `None` at a refresh, whose ID token carries none (OpenID Connect Core 12.2).
    pub(super) nonce: Option<&'a str>,
    pub(super) groups_claim: &'a str,
    /// Whether an address counts that the provider does not call verified.
    pub(super) trust_email: bool,
    pub(super) now: Timestamp,
}

/// A believed token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identified {
    pub(super) sub: String,
    pub(super) user: User,
    /// Whether it carries an address that nobody has proven.
    pub(super) email_withheld: bool,
}

/// Why a token is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IdTokenError {
    /// No key of the set can have signed it; a newer set may.
    UnknownKey,
    /// It is wrong, and why. Never the token.
    Untrue(String),
}

#[derive(Debug, Deserialize, Serialize)]
struct OtherClaims(BTreeMap<String, Value>);
impl AdditionalClaims for OtherClaims {}

type Claims = IdTokenClaims<OtherClaims, CoreGenderClaim>;
type Token = IdToken<OtherClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

/// Proves an ID token and reads who it names.
pub(super) fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Identified, IdTokenError> {
    let token: Token = token.parse().map_err(|cause: serde_json::Error| {
        // The cause may quote a claim: its place is enough.
        IdTokenError::Untrue(format!("it cannot be read ({:?} error)", cause.classify()))
    })?;
    let claims = token.into_claims(&verifier(keys, expected)?, |nonce: Option<&Nonce>| check_nonce(nonce, expected));
    let claims = claims.map_err(untrue)?;
    check_times(&claims, expected.now)?;
    check_party(&claims, expected.client_id)?;
    let sub = claims.subject().as_str().to_owned();
    if sub.is_empty() || sub.len() > MAX_SUBJECT || sub.chars().any(char::is_control) {
        return Err(IdTokenError::Untrue("its sub is empty, too long or unprintable".to_owned()));
    }
    let user = user(&claims, expected);
    let email_withheld = claims.email().is_some() && user.email.is_none();
    Ok(Identified { sub, user, email_withheld })
}

fn verifier<'a>(keys: &KeySet, expected: &Expected<'_>) -> Result<IdTokenVerifier<'a, CoreJsonWebKey>, IdTokenError> {
    let issuer = IssuerUrl::new(expected.issuer.to_owned())
        .map_err(|cause| IdTokenError::Untrue(format!("the configured issuer is no URL: {cause}")))?;
    let client_id = ClientId::new(expected.client_id.to_owned());
    Ok(IdTokenVerifier::new_public_client(client_id, issuer, keys.clone())
        .set_allowed_algs(ALGORITHMS)
        // Audience mappers add others; then `azp` must be us, which is checked below.
        .set_other_audience_verifier_fn(|_other| true)
        // Times are judged below, by our clock and with a leeway: here it is always 1970.
        .set_time_fn(Default::default))
}

fn check_nonce(nonce: Option<&Nonce>, expected: &Expected<'_>) -> Result<(), String> {
    match (expected.nonce, nonce) {
        (None, _) => Ok(()),
        (Some(expected), Some(nonce)) if crate::secret::same_text(expected, nonce.secret()) => Ok(()),
        (Some(_), Some(_)) => Err("its nonce is not ours: it answers another sign-in".to_owned()),
        (Some(_), None) => Err("it has no nonce".to_owned()),
    }
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), IdTokenError> {
    if now >= Timestamp(claims.expiration().timestamp()) + LEEWAY {
        return Err(IdTokenError::Untrue("it has expired: check the clocks of both machines".to_owned()));
    }
    if Timestamp(claims.issue_time().timestamp()) > now + LEEWAY {
        return Err(IdTokenError::Untrue("it comes from the future: check the clocks of both machines".to_owned()));
    }
    match claims.additional_claims().0.get("nbf").map(Value::as_f64) {
        None => Ok(()),
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact for longer than anybody will ask")]
        Some(Some(nbf)) if nbf <= (now + LEEWAY).0 as f64 => Ok(()),
        Some(Some(_)) => {
            Err(IdTokenError::Untrue("it is not good yet (nbf): check the clocks of both machines".to_owned()))
        }
        Some(None) => Err(IdTokenError::Untrue("its nbf is no time".to_owned())),
    }
}

fn check_party(claims: &Claims, client_id: &str) -> Result<(), IdTokenError> {
    match claims.authorized_party() {
        Some(party) if party.as_str() == client_id => Ok(()),
        Some(party) => Err(IdTokenError::Untrue(format!("its azp is {:?}, not our client_id", party.as_str()))),
        None if claims.audiences().len() > 1 => {
            Err(IdTokenError::Untrue("it is for several audiences and names no azp".to_owned()))
        }
        None => Ok(()),
    }
}

fn untrue(error: ClaimsVerificationError) -> IdTokenError {
    use SignatureVerificationError::{DisallowedAlg, NoMatchingKey, NoSignature};
    match error {
        ClaimsVerificationError::SignatureVerification(NoMatchingKey) => IdTokenError::UnknownKey,
        ClaimsVerificationError::SignatureVerification(DisallowedAlg(_) | NoSignature) => IdTokenError::Untrue(
            "it is signed with a shared secret or not at all: set the client's ID token signature to RS256 or ES256"
                .to_owned(),
        ),
        ClaimsVerificationError::SignatureVerification(cause) => IdTokenError::Untrue(cause.to_string()),
        ClaimsVerificationError::InvalidIssuer(cause) => {
            IdTokenError::Untrue(format!("its issuer is another: {cause}"))
        }
        other => IdTokenError::Untrue(other.to_string()),
    }
}

fn user(claims: &Claims, expected: &Expected<'_>) -> User {
    let (email, proven) = (claims.email(), expected.trust_email || claims.email_verified() == Some(true));
    User {
        name: claims.name().and_then(|name| name.get(None)).map(|name| name.as_str().to_owned()),
        preferred_username: claims.preferred_username().map(|name| name.as_str().to_owned()),
        // an address that nobody has proven is anybody's
        email: email.filter(|_| proven).map(|email| email.as_str().to_owned()),
        groups: groups(claims.additional_claims().0.get(expected.groups_claim)),
    }
}

/// An array of names; some providers send one name alone.
fn groups(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(group)) => vec![group.clone()],
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Expected, IdTokenError, parse_keys, verify};
    use crate::clock::Timestamp;
    use crate::secret::base64url;

    const EXPECTED: Expected<'_> = Expected {
        issuer: "https://sso.example.com/realms/mcp",
        client_id: "portcullis",
        nonce: Some("ours"),
        groups_claim: "groups",
        trust_email: false,
        now: Timestamp(1_800_000_000),
    };

    fn keys() -> Value {
        json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "kid": "k",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-zA-Z0-9:/._-]{0,20}|.{0,8}".prop_map(Value::from),
            Just(json!(["portcullis", "other"])),
            Just(json!({"a": [1, {"b": null}]})),
        ]
    }

    proptest! {
        #[test]
        fn hostile_claims_are_refused_and_break_nothing(
            values in proptest::collection::vec(value(), 16),
            alg in "ES256|RS256|HS256|none|A128GCM|x",
            signature in "[A-Za-z0-9_-]{0,90}",
        ) {
            let names = ["iss", "aud", "exp", "iat", "nonce", "azp", "sub", "acr", "amr", "auth_time", "email",
                "email_verified", "name", "updated_at", "locale", "groups"];
            let mut claims = json!({"iss": EXPECTED.issuer, "aud": "portcullis", "sub": "u", "nonce": "ours",
                "exp": 1_800_000_300, "iat": 1_800_000_000});
            for (name, value) in names.iter().zip(&values) {
                if *value != Value::Null {
                    claims[name] = value.clone();
                }
            }
            let header = json!({"alg": alg, "kid": "k", "typ": "JWT"});
            let encode = |part: &Value| base64url(part.to_string().as_bytes());
            let token = format!("{}.{}.{signature}", encode(&header), encode(&claims));
            let keys = parse_keys(keys().to_string().as_bytes()).unwrap();
            prop_assert!(verify(&token, &keys, &EXPECTED).is_err());
        }

        #[test]
        fn hostile_text_is_no_token_and_no_key_set(text in ".{0,200}") {
            let keys = parse_keys(keys().to_string().as_bytes()).unwrap();
            prop_assert!(matches!(verify(&text, &keys, &EXPECTED), Err(IdTokenError::Untrue(_))));
            prop_assert!(parse_keys(text.as_bytes()).is_err());
        }

        #[test]
        fn a_key_set_with_a_hostile_key_keeps_its_good_one(
            members in proptest::collection::vec(("kty|use|alg|kid|n|e|x|y|crv|k|d", value()), 0..8),
        ) {
            let mut document = keys();
            let hostile = members.into_iter().collect::<serde_json::Map<_, _>>();
            document["keys"].as_array_mut().unwrap().insert(0, Value::Object(hostile));
            prop_assert!(parse_keys(document.to_string().as_bytes()).is_ok());
        }
    }
}
