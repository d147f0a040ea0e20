//! A signing key: generation, storage, signing.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, EllipticCurveKeyType, Jwk,
    OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse, RSAKeyParameters, RSAKeyType,
};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Serialize;

use super::error::KeyError;
use super::seal::Sealer;
use crate::clock::Timestamp;
use crate::config::SigningAlgorithm;
use crate::model::ids::KeyId;
use crate::model::signing_key::StoredSigningKey;
use crate::oauth::claims::ACCESS_TOKEN_TYPE;
use crate::secret::base64url;
use crate::signal::Signal;

/// The label under which private keys are sealed; the context is the key's id.
pub(super) const SEALED_FOR: &str = "signing key";

/// Whether a key was withdrawn, shared by everything in this process that hangs on a token of it: remembered tokens and open
/// calls. A key that was merely replaced ends nothing: its tokens expire, and a stream may outlive its token.
#[derive(Debug, Clone, Default)]
pub struct KeyWatch(Signal);

impl KeyWatch {
    /// Whether the key was withdrawn. Once true it stays true.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.0.is_set()
    }

    /// Completes when the key was withdrawn.
    pub async fn withdrawn(&self) {
        self.0.wait().await;
    }

    /// Tells everything that hangs on a token of the key.
    pub(super) fn withdraw(&self) {
        self.0.set();
    }
}

/// A decrypted key.
pub(super) struct SigningKey {
    id: KeyId,
    active_from: Timestamp,
    watch: KeyWatch,
    algorithm: SigningAlgorithm,
    private: PrivateKey,
    public: DecodingKey,
    jwk: Jwk,
    validation: Validation,
}

enum PrivateKey {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The algorithm of a stored key; `None` when a newer version of this program made it.
pub(super) fn algorithm_of(stored: &StoredSigningKey) -> Option<SigningAlgorithm> {
    SigningAlgorithm::parse(&stored.algorithm)
}

const fn jws(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

/// Generates and seals a key. Slow for RSA: run it off the async threads.
pub(super) fn generate(
    algorithm: SigningAlgorithm,
    sealer: &Sealer,
    now: Timestamp,
    active_from: Timestamp,
) -> Result<StoredSigningKey, KeyError> {
    let id = KeyId::random();
    let pkcs8 = pkcs8(algorithm).map_err(|cause| KeyError::Unmade(cause.to_string()))?;
    Ok(StoredSigningKey {
        sealed_private_key: sealer.seal(SEALED_FOR, id.as_str().as_bytes(), &pkcs8),
        algorithm: algorithm.as_str().to_owned(),
        created_at: now,
        active_from,
        id,
    })
}

/// The same on a thread where it may take its time.
pub(super) async fn generate_aside(
    algorithm: SigningAlgorithm,
    sealer: &Sealer,
    now: Timestamp,
    active_from: Timestamp,
) -> Result<StoredSigningKey, KeyError> {
    let sealer = sealer.clone();
    let made = tokio::task::spawn_blocking(move || generate(algorithm, &sealer, now, active_from));
    made.await.map_err(|cause| KeyError::Unmade(cause.to_string()))?
}

fn pkcs8(algorithm: SigningAlgorithm) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
    let random = SystemRandom::new();
    Ok(match algorithm {
        SigningAlgorithm::Es256 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?.as_ref().to_vec()
        }
        SigningAlgorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
            AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)?.as_ref().to_vec()
        }
        SigningAlgorithm::EdDsa => Ed25519KeyPair::generate_pkcs8v1(&random)?.as_ref().to_vec(),
    })
}

impl SigningKey {
    /// Decrypts a stored key.
    pub(super) fn open(
        stored: &StoredSigningKey,
        algorithm: SigningAlgorithm,
        sealer: &Sealer,
    ) -> Result<Self, KeyError> {
        let id = stored.id.clone();
        let pkcs8 = sealer
            .open(SEALED_FOR, id.as_str().as_bytes(), &stored.sealed_private_key)
            .map_err(|_unsealable| KeyError::Unsealable(id.clone()))?;
        let unusable = |cause: String| KeyError::Unusable { id: id.clone(), cause };
        let private = PrivateKey::parse(algorithm, &pkcs8).map_err(|cause| unusable(cause.to_string()))?;
        let common = CommonParameters {
            public_key_use: Some(PublicKeyUse::Signature),
            key_algorithm: Some(jws(algorithm).into()),
            key_id: Some(id.to_string()),
            ..CommonParameters::default()
        };
        let jwk = Jwk { common, algorithm: private.public_half() };
        let public = DecodingKey::from_jwk(&jwk).map_err(|cause| unusable(cause.to_string()))?;
        let (active_from, watch) = (stored.active_from, KeyWatch::default());
        Ok(Self { id, active_from, watch, algorithm, private, public, jwk, validation: signature_only(jws(algorithm)) })
    }

    pub(super) const fn id(&self) -> &KeyId {
        &self.id
    }

    /// When it begins to sign.
    pub(super) const fn active_from(&self) -> Timestamp {
        self.active_from
    }

    pub(super) const fn watch(&self) -> &KeyWatch {
        &self.watch
    }

    /// The public key (RFC 7517).
    pub(super) const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    pub(super) const fn public(&self) -> &DecodingKey {
        &self.public
    }

    /// Makes `jsonwebtoken` check the signature and nothing else.
    pub(super) const fn validation(&self) -> &Validation {
        &self.validation
    }

    /// Whether a token's header names the algorithm of this key (RFC 8725 3.1: algorithm confusion).
    pub(super) fn is_algorithm(&self, algorithm: Algorithm) -> bool {
        algorithm == jws(self.algorithm)
    }

    /// A raw signature, for forged tokens in tests.
    #[cfg(test)]
    pub(super) fn sign_bytes(&self, message: &[u8]) -> Vec<u8> {
        self.private.sign(message).unwrap()
    }

    /// Signs an access token (RFC 9068).
    pub(super) fn sign<C: Serialize>(&self, claims: &C) -> Result<String, KeyError> {
        self.sign_as(ACCESS_TOKEN_TYPE, claims)
    }

    /// Signs a token of this type in compact form (RFC 7515 7.1).
    pub(super) fn sign_as<C: Serialize>(&self, typ: &str, claims: &C) -> Result<String, KeyError> {
        let unusable = |cause: String| KeyError::Unusable { id: self.id.clone(), cause };
        let mut header = Header::new(jws(self.algorithm));
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.id.to_string());
        let header = serde_json::to_vec(&header).map_err(|cause| unusable(cause.to_string()))?;
        let claims = serde_json::to_vec(claims).map_err(|cause| unusable(cause.to_string()))?;
        let mut token = format!("{}.{}", base64url(&header), base64url(&claims));
        let signature = self.private.sign(token.as_bytes()).map_err(|cause| unusable(cause.to_string()))?;
        token.push('.');
        token.push_str(&base64url(&signature));
        Ok(token)
    }
}

/// `jsonwebtoken` uses the system clock with a leeway of a minute, so times, issuer and audience are checked elsewhere.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

impl PrivateKey {
    fn parse(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, aws_lc_rs::error::KeyRejected> {
        Ok(match algorithm {
            SigningAlgorithm::Es256 => Self::Ecdsa(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)?),
            SigningAlgorithm::Rs256 => Self::Rsa(RsaKeyPair::from_pkcs8(pkcs8)?),
            SigningAlgorithm::EdDsa => Self::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8)?),
        })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ed25519(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
        }
    }

    fn public_half(&self) -> AlgorithmParameters {
        match self {
            Self::Ecdsa(pair) => {
                // an uncompressed point: 0x04, then both coordinates
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
                    key_type: EllipticCurveKeyType::EC,
                    curve: EllipticCurve::P256,
                    x: base64url(x),
                    y: base64url(y),
                })
            }
            Self::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                AlgorithmParameters::RSA(RSAKeyParameters {
                    key_type: RSAKeyType::RSA,
                    n: base64url(&n),
                    e: base64url(&e),
                })
            }
            Self::Ed25519(pair) => AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                key_type: OctetKeyPairType::OctetKeyPair,
                curve: EllipticCurve::Ed25519,
                x: base64url(pair.public_key().as_ref()),
            }),
        }
    }
}
