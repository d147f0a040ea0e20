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
    not_after: Option<i64>,
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
        let (thumbprint, not_after) = (Sha256::of(&certificate), not_after(&certificate));
        match CertifiedKey::new(vec![certificate], signer).keys_match() {
            Ok(()) => Ok(Self { thumbprint, not_after, key: Arc::new(pair) }),
            Err(_) => Err(Mistake::new("the key is not that of the certificate")),
        }
    }

    /// The SHA-256 of the certificate's DER form (RFC 7515 4.1.8).
    #[must_use]
    pub const fn thumbprint(&self) -> &Sha256 {
        &self.thumbprint
    }

    /// When its validity ends, in seconds since 1970, if that can be read.
    #[must_use]
    pub const fn not_after(&self) -> Option<i64> {
        self.not_after
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

/// The end of a certificate's validity (RFC 5280 4.1): in the certificate's first member its second sequence of two times.
fn not_after(certificate: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    while let Some((tag, field, rest)) = element(fields) {
        if tag == SEQUENCE
            && let Some((UTC_TIME | GENERALIZED_TIME, _, after)) = element(field)
        {
            let (tag, time, _) = element(after)?;
            return seconds(tag, std::str::from_utf8(time).ok()?);
        }
        fields = rest;
    }
    None
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Tag, content and what follows, of the first element in DER.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` after.
fn seconds(tag: u8, time: &str) -> Option<i64> {
    let century = match (tag, time.get(..2)?.parse::<u32>().ok()?) {
        (UTC_TIME, 50..) => "19",
        (UTC_TIME, _) => "20",
        _ => "",
    };
    let whole = format!("{century}{time}");
    let part = |from: usize, length: usize| whole.get(from..from + length)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 2)?, part(6, 2)?);
    let (hour, minute, second) = (part(8, 2)?, part(10, 2)?, part(12, 2)?);
    // the Gregorian calendar with years that begin in March, so that a leap day ends one
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[certificate: {:?}]", self.thumbprint)
    }
}

#[cfg(test)]
mod tests {
    use super::not_after;

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_time() {
        let key = rcgen::KeyPair::generate().unwrap();
        for (year, seconds) in
            [(2031, 1_924_992_000), (2049, 2_493_072_000), (2050, 2_524_608_000), (2099, 4_070_908_800)]
        {
            let mut parameters = rcgen::CertificateParams::new(vec!["portcullis".to_owned()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
            let certificate = parameters.self_signed(&key).unwrap();
            assert_eq!(not_after(certificate.der()), Some(seconds), "{year}");
        }
        for bad in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", &[0x30; 64], &[0xff; 64]] {
            assert_eq!(not_after(bad), None);
        }
    }
}
