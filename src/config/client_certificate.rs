//! A certificate whose private key proves who we are at an identity provider.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rsa::KeyPair;
use rustls::SignatureAlgorithm;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::problem::{Mistake, io_message};
use crate::secret::{SecretText, Sha256};

/// A certificate and its RSA key. Prints as the certificate's thumbprint.
#[derive(Clone)]
pub struct ClientCertificate {
    thumbprint: Sha256,
    key: Arc<KeyPair>,
}

impl ClientCertificate {
    /// Reads a certificate, or a chain that begins with it, and its key. Both are PEM.
    pub(super) fn read(certificate: &Path, key: &SecretText) -> Result<Self, Mistake> {
        let certificate = first_certificate(certificate)?;
        let not_a_key = || Mistake::new("the key is not a private key in PEM form");
        let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).ok().ok_or_else(not_a_key)?;
        let signer = any_supported_type(&key).ok().ok_or_else(not_a_key)?;
        if signer.algorithm() != SignatureAlgorithm::RSA {
            return Err(Mistake::new("the key is not an RSA key").hint("make it with openssl req -newkey rsa:2048"));
        }
        let pair = match &key {
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            other => KeyPair::from_der(other.secret_der()),
        };
        let pair = pair.ok().ok_or_else(|| Mistake::new("the key cannot be used: RSA keys have 2048 to 8192 bits"))?;
        let thumbprint = Sha256::of(&certificate);
        match CertifiedKey::new(vec![certificate], signer).keys_match() {
            Ok(()) => Ok(Self { thumbprint, key: Arc::new(pair) }),
            Err(_) => Err(Mistake::new("the key is not that of the certificate")),
        }
    }

    /// The SHA-256 of the certificate's DER form (RFC 7515 4.1.8).
    #[must_use]
    pub const fn thumbprint(&self) -> &Sha256 {
        &self.thumbprint
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> &KeyPair {
        &self.key
    }
}

fn first_certificate(path: &Path) -> Result<CertificateDer<'static>, Mistake> {
    match CertificateDer::from_pem_file(path) {
        Ok(certificate) => Ok(certificate),
        Err(Error::Io(error)) => {
            Err(Mistake::new(format!("the certificate's file cannot be read: {}", io_message(&error))))
        }
        Err(_) => Err(Mistake::new("the certificate's file holds no certificate in PEM form")),
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[certificate: {:?}]", self.thumbprint)
    }
}
