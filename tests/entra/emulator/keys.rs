//! Its signing keys: RSA alone, several published at a time.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use portcullis::secret::{Sha256, base64url};
use serde_json::{Value, json};

use super::CONSUMERS;

/// How many keys there are: one that signs, one that signs next, one of another issuer, one that is never published.
const KEYS: usize = 4;

/// A key.
#[derive(Clone)]
pub(crate) struct SigningKey {
    pair: Arc<RsaKeyPair>,
    kid: String,
}

/// All keys.
pub(crate) struct SigningKeys {
    /// The index of the one that signs.
    current: usize,
    /// Signs in its place, published or not.
    pub(crate) impostor: Option<usize>,
}

/// Made once per process: it takes a while.
fn key(index: usize) -> SigningKey {
    static KEYS_MADE: OnceLock<Vec<SigningKey>> = OnceLock::new();
    let make = |_| {
        let pair = Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made"));
        let kid = base64url(&Sha256::of(&modulus(&pair)).as_bytes()[..20]);
        SigningKey { pair, kid }
    };
    KEYS_MADE.get_or_init(|| (0..KEYS).map(make).collect())[index].clone()
}

fn modulus(pair: &RsaKeyPair) -> Vec<u8> {
    RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key()).n
}

/// Modulus and exponent of a key.
pub(crate) fn public_key_of(pair: &RsaKeyPair) -> (Vec<u8>, Vec<u8>) {
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    (public.n, public.e)
}

/// A token of an issuer that Entra ID may trust by a federated credential: Kubernetes, for example. The emulator does not fetch
/// that issuer's keys, so the signature counts for nothing.
pub(crate) fn external_token(issuer: &str, subject: &str, audience: &str, expires_at: i64) -> String {
    let claims = json!({"iss": issuer, "sub": subject, "aud": audience, "exp": expires_at});
    let encode = |part: &Value| base64url(part.to_string().as_bytes());
    format!("{}.{}.{}", encode(&json!({"alg": "RS256", "kid": "cluster"})), encode(&claims), base64url(b"signature"))
}

impl SigningKeys {
    pub(super) fn new() -> Self {
        Self { current: 0, impostor: None }
    }

    /// Signs with the next key from now on. There is no timetable for that, and it may happen at any time; the next key has been
    /// published before.
    pub(crate) fn rotate(&mut self) {
        self.current = 1 - self.current;
    }

    /// Signs with the key of the tenant for personal accounts.
    pub(crate) fn sign_as_consumers(&mut self) {
        self.impostor = Some(2);
    }

    /// Signs with a key that is not published.
    pub(crate) fn sign_as_stranger(&mut self) {
        self.impostor = Some(3);
    }

    /// The published keys. Each names the issuer whose tokens it signs: a template for most, and for the key of personal accounts
    /// one exact issuer. `alg` is missing; `use` is there. `template` is the issuer of this version.
    pub(super) fn document(template: &str) -> Value {
        let jwk = |index: usize, issuer: String| {
            let SigningKey { pair, kid } = key(index);
            let (n, e) = public_key_of(&pair);
            json!({"kty": "RSA", "use": "sig", "kid": kid, "x5t": kid, "n": base64url(&n), "e": base64url(&e),
                "x5c": ["MIIC"], "cloud_instance_name": "microsoftonline.com", "issuer": issuer})
        };
        let of_consumers = template.replace("{tenantid}", CONSUMERS);
        json!({"keys": [jwk(0, template.to_owned()), jwk(1, template.to_owned()), jwk(2, of_consumers)]})
    }

    /// The header of a version 2 token has the key's id alone, that of version 1 has `x5t` too.
    pub(super) fn header(&self, version: u8) -> Value {
        let SigningKey { kid, .. } = key(self.impostor.unwrap_or(self.current));
        let mut header = json!({"typ": "JWT", "alg": "RS256", "kid": kid});
        if version == 1 {
            header["x5t"] = json!(kid);
        }
        header
    }

    /// Signs whatever it is given.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let SigningKey { pair, .. } = key(self.impostor.unwrap_or(self.current));
        let encode = |part: &Value| base64url(part.to_string().as_bytes());
        let message = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("it signs");
        format!("{message}.{}", base64url(&signature))
    }
}
