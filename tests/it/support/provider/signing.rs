//! Keys and certificates of the fake provider.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    RsaPublicKeyComponents,
};
use portcullis::secret::base64url;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

/// With what the provider signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestAlgorithm {
    Es256,
    Rs256,
    Ps256,
}

/// A key of the provider's.
#[derive(Clone)]
pub(crate) struct TestKey {
    kid: String,
    pair: Arc<Pair>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, TestAlgorithm),
}

impl TestKey {
    pub(crate) fn new(algorithm: TestAlgorithm, kid: &str) -> Self {
        let pair = match algorithm {
            TestAlgorithm::Es256 => Pair::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            TestAlgorithm::Rs256 | TestAlgorithm::Ps256 => {
                Pair::Rsa(RsaKeyPair::from_pkcs8(rsa_key()).unwrap(), algorithm)
            }
        };
        Self { kid: kid.to_owned(), pair: Arc::new(pair) }
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn algorithm_name(&self) -> &'static str {
        match *self.pair {
            Pair::Ecdsa(_) => "ES256",
            Pair::Rsa(_, TestAlgorithm::Ps256) => "PS256",
            Pair::Rsa(..) => "RS256",
        }
    }

    /// The public half.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &*self.pair {
            Pair::Ecdsa(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            Pair::Rsa(pair, _) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": base64url(&public.n), "e": base64url(&public.e), "x5c": ["MII"]})
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm_name());
        jwk
    }

    /// Signs whatever it is given, under whatever header; `alg` HS256 with the public half as the secret.
    pub(crate) fn jws(&self, header: &Value, claims: &Value) -> String {
        let encode = |part: &Value| base64url(part.to_string().as_bytes());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = match &header["alg"] {
            alg if alg == "none" => Vec::new(),
            alg if alg == "HS256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.jwk().to_string().as_bytes());
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
            _ => self.sign(message.as_bytes()),
        };
        format!("{message}.{}", base64url(&signature))
    }

    /// The signature of these bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair, algorithm) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let is_pss = *algorithm == TestAlgorithm::Ps256;
                let encoding: &'static dyn RsaEncoding = if is_pss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// Made once per test run: it takes a while.
fn rsa_key() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec()
    })
}

/// What Keycloak publishes beside its signing key.
pub(crate) fn encryption_key() -> Value {
    let mut jwk = TestKey::new(TestAlgorithm::Rs256, "encryption").jwk();
    jwk["use"] = json!("enc");
    jwk["alg"] = json!("RSA-OAEP");
    jwk
}

/// A server certificate for loopback, and for some names that tests resolve to it, under an authority that is trusted nowhere, and that authority's certificate (PEM).
pub(crate) fn private_authority() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority = CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["127.0.0.1", "localhost", "client.example", "*.clients.example"].map(str::to_owned).to_vec();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}
