//! Proof Key for Code Exchange (RFC 7636), with S256 only. Defends against stolen and injected codes.

use std::fmt;

use crate::secret::{Sha256, base64url, same_text};

/// A `code_challenge` of method S256: 43 characters of base64url that are 32 bytes (RFC 7636 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Reads the parameter; `None` when it cannot be a SHA-256 value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        (bytes.len() == 32).then(|| Self(text.to_owned()))
    }

    /// The challenge as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A `code_verifier`: 43 to 128 unreserved characters (RFC 7636 4.1). A secret.
pub struct CodeVerifier(String);

impl CodeVerifier {
    /// Reads the parameter; `None` for a wrong length or alphabet.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        ((43..=128).contains(&text.len()) && text.bytes().all(unreserved)).then(|| Self(text.to_owned()))
    }

    /// The verifier derived from 256 secret bits.
    #[must_use]
    pub fn from_bits(bits: &[u8; 32]) -> Self {
        Self(base64url(bits))
    }

    /// The challenge that this verifier proves.
    #[must_use]
    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(base64url(Sha256::of(self.0.as_bytes()).as_bytes()))
    }

    /// Whether this verifier proves the challenge; in constant time (RFC 7636 4.6).
    #[must_use]
    pub fn proves(&self, challenge: &CodeChallenge) -> bool {
        same_text(self.challenge().as_str(), challenge.as_str())
    }

    /// The text itself, for the one request that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CodeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[code verifier]")
    }
}

#[cfg(test)]
mod tests {
    use super::{CodeChallenge, CodeVerifier};

    #[test]
    fn the_example_of_rfc_7636_appendix_b_holds() {
        let verifier = CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        let challenge = CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
        assert!(verifier.proves(&challenge));
        assert_eq!(format!("{verifier:?}"), "[code verifier]");
    }

    #[test]
    fn length_and_alphabet_of_pkce_values_are_checked() {
        for bad in ["", "short", &"a".repeat(42), &"a".repeat(129), &format!("{}+", "a".repeat(43))] {
            assert!(CodeVerifier::parse(bad).is_none(), "{bad:?}");
        }
        for bad in ["", &"A".repeat(42), &"A".repeat(44), &format!("{}=", "A".repeat(43)), &"A".repeat(86)] {
            assert!(CodeChallenge::parse(bad).is_none(), "{bad:?}");
        }
    }
}
