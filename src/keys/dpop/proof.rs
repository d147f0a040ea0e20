//! Verifies a proof (RFC 9449 4.3). What costs little is checked first: the signature comes last, and only for a proof with a
//! nonce of ours, so that only a client that was given one can make us verify a signature.
//!
//! Defends against: forgery and algorithm confusion (RFC 8725: asymmetric algorithms only, the key verifies those of its own
//! type, nothing but the key is taken from the header), private keys that are published by mistake, large proofs, a proof for
//! another method, URL or token, and tokens in other hands than their owner's.

use serde_json::Value;

use super::nonces::Nonces;
use crate::clock::Timestamp;
use crate::keys::public_keys::PublicKey;
use crate::keys::signed_jwt::{Members, media_type};
use crate::oauth::client_keys::has_private_members;
use crate::oauth::dpop::{ProofTargets, Thumbprint};
use crate::secret::{Sha256, base64url, same_text};

/// The longest proof, in bytes. One with an RSA key of 4096 bits takes about 2.5 KiB.
pub const MAX_PROOF: usize = 4 * 1024;
/// The longest `jti`, in bytes.
const MAX_JTI: usize = 256;
/// How far the clock of a client may be off. The nonce already tells when a proof was made; many clients run on machines with
/// a wrong clock.
const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_mins(5);
/// The `typ` of a proof.
const PROOF_TYPE: &str = "dpop+jwt";

/// The request that a proof must be for.
#[derive(Clone, Copy)]
pub struct ExpectedProof<'a> {
    /// Its method.
    pub method: &'a str,
    /// Where it was sent, as clients know it.
    pub targets: &'a ProofTargets,
    /// The token that it carries; `None` at the token endpoint.
    pub token: Option<BoundToken<'a>>,
    /// The nonces that are accepted.
    pub nonces: &'a Nonces,
}

/// An access token, and the key that it is bound to.
#[derive(Clone, Copy)]
pub struct BoundToken<'a> {
    /// The SHA-256 of its text.
    pub hash: &'a Sha256,
    /// The key.
    pub key: Thumbprint,
}

/// A proof that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedProof {
    /// The key that made it.
    pub key: Thumbprint,
    /// What it is remembered by, so that it is used once: its key and its `jti`.
    pub id: Sha256,
    /// The first second in which its nonce is refused.
    pub good_until: Timestamp,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofError {
    /// It is wrong: words for the client's developer, never a part of it.
    Invalid(&'static str),
    /// It is in order, but made by another key than the token is bound to.
    OtherKey,
    /// It has no nonce, or one that is too old or not ours: the client must make another one.
    Nonce,
}

/// Verifies a proof: the value of the one `DPoP` header of a request. A pure function.
///
/// # Errors
/// See [`ProofError`].
pub fn verify_proof(text: &str, expected: &ExpectedProof<'_>, now: Timestamp) -> Result<VerifiedProof, ProofError> {
    let invalid = ProofError::Invalid;
    if text.len() > MAX_PROOF {
        return Err(invalid("the DPoP proof is longer than 4 KiB"));
    }
    let (message, signature) = text.rsplit_once('.').ok_or(invalid(NOT_A_JWT))?;
    let (header, claims) = message.split_once('.').ok_or(invalid(NOT_A_JWT))?;
    let header = Members::decode(header).ok_or(invalid(NOT_A_JWT))?;
    let key = key_of(&header).map_err(invalid)?;
    let claims = Members::decode(claims).ok_or(invalid(NOT_A_JWT))?;
    let jti = check(&claims, expected, now).map_err(invalid)?;
    let nonce = text_of(&claims, "nonce").ok_or(ProofError::Nonce)?;
    let good_until = expected.nonces.good_until(nonce, now).ok_or(ProofError::Nonce)?;
    let thumbprint = Thumbprint::new(key.public.thumbprint());
    if !key.public.verifies(key.algorithm, message, signature) {
        return Err(invalid("the signature of the DPoP proof is wrong"));
    }
    if expected.token.is_some_and(|token| token.key != thumbprint) {
        return Err(ProofError::OtherKey);
    }
    let id = Sha256::of(&[b"dpop proof\0", thumbprint.sha256().as_bytes().as_slice(), jti.as_bytes()].concat());
    Ok(VerifiedProof { key: thumbprint, id, good_until })
}

const NOT_A_JWT: &str = "the DPoP proof is not a signed JWT with unique members";

/// The key of a proof, and the algorithm that the proof says it is used with.
struct ProofKey {
    public: PublicKey,
    algorithm: jsonwebtoken::Algorithm,
}

fn key_of(header: &Members) -> Result<ProofKey, &'static str> {
    if header.text("typ").ok().flatten().map(media_type).as_deref() != Some(PROOF_TYPE) {
        return Err("typ of the DPoP proof must be dpop+jwt");
    }
    let algorithm = algorithm(text_of(header, "alg").unwrap_or_default())
        .ok_or("alg of the DPoP proof must be an asymmetric one of dpop_signing_alg_values_supported")?;
    if ["crit", "enc", "cty", "b64"].iter().any(|name| header.get(name).is_some()) {
        return Err("the header of the DPoP proof demands an extension");
    }
    let jwk = header.get("jwk").filter(|jwk| jwk.is_object()).ok_or("the DPoP proof has no jwk")?;
    if has_private_members(jwk) {
        return Err("jwk of the DPoP proof is a private or secret key: make a new pair, and send its public half only");
    }
    let public = PublicKey::read(jwk).ok_or(
        "jwk of the DPoP proof must be a key for signatures: EC on P-256, Ed25519, or RSA of 2048 bits or more",
    )?;
    if !public.is_allowed(algorithm) {
        return Err("alg of the DPoP proof is not one of its key");
    }
    Ok(ProofKey { public, algorithm })
}

/// One of [`crate::oauth::dpop::ALGORITHMS`]: never `none`, never an HMAC.
fn algorithm(name: &str) -> Option<jsonwebtoken::Algorithm> {
    use jsonwebtoken::Algorithm::{ES256, EdDSA, PS256, RS256};
    match name {
        "ES256" => Some(ES256),
        "EdDSA" | "Ed25519" => Some(EdDSA),
        "PS256" => Some(PS256),
        "RS256" => Some(RS256),
        _ => None,
    }
}

/// Checks what the claims say besides the nonce, and answers the `jti`.
fn check<'c>(claims: &'c Members, expected: &ExpectedProof<'_>, now: Timestamp) -> Result<&'c str, &'static str> {
    let jti = text_of(claims, "jti").filter(|jti| !jti.is_empty()).ok_or("the DPoP proof has no jti")?;
    if jti.len() > MAX_JTI {
        return Err("jti of the DPoP proof is longer than 256 bytes");
    }
    if text_of(claims, "htm") != Some(expected.method) {
        return Err("htm of the DPoP proof is not the method of the request");
    }
    if !text_of(claims, "htu").is_some_and(|htu| expected.targets.include(htu)) {
        return Err("htu of the DPoP proof is not the URL of the request, as clients know it");
    }
    let issued_at = claims.time("iat").ok().flatten().ok_or("the DPoP proof has no iat")?;
    if now >= issued_at + CLOCK_SKEW || issued_at > now + CLOCK_SKEW {
        return Err("iat of the DPoP proof is five minutes or more from now: check the clock");
    }
    if let Some(token) = &expected.token
        && !text_of(claims, "ath").is_some_and(|ath| same_text(ath, &base64url(token.hash.as_bytes())))
    {
        return Err("ath of the DPoP proof is not the hash of the access token");
    }
    Ok(jti)
}

fn text_of<'m>(members: &'m Members, name: &str) -> Option<&'m str> {
    members.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
