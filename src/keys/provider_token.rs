//! Encryption of the identity providers' refresh tokens at rest.
//!
//! ```text
//! 3 │ encrypted by the ring, bound to issuer and subject: {"client_id", "token"}
//!     (first release) encrypted by the ring, bound to the subject only: the token
//! ```
//! Defends against: a token sent to another provider that now has the same id, and a token used with another client id than
//! the one it was issued to (RFC 6749 10.4).

use serde::{Deserialize, Serialize};

use super::seal::{Sealer, Unsealable};
use crate::secret::SecretText;

const BOUND: u8 = 3;
const LABEL: &str = "provider token of an issuer";
const UNBOUND_LABEL: &str = "provider token";

/// The owner of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenOwner<'a> {
    /// The provider that issued it.
    pub issuer: &'a str,
    /// The user, as our subject.
    pub subject: &'a str,
}

impl TokenOwner<'_> {
    /// Both parts with length prefixes, so that different owners never yield the same bytes.
    fn context(self) -> Vec<u8> {
        let mut context = Vec::new();
        for part in [self.issuer, self.subject] {
            context.extend_from_slice(&(part.len() as u64).to_be_bytes());
            context.extend_from_slice(part.as_bytes());
        }
        context
    }
}

/// A decrypted token.
#[derive(Debug)]
pub(crate) enum OpenedToken {
    /// It was issued to our current client id.
    Ours(SecretText),
    /// It was issued to another client id, which alone may use it.
    OfAnotherClient,
    /// A key of the ring encrypted it for another provider, or it was modified: it can never be decrypted for this owner.
    OfAnotherIssuer,
    /// It has the first release's format, which does not name the provider.
    Unbound(SecretText),
}

#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    client_id: std::borrow::Cow<'a, str>,
    token: std::borrow::Cow<'a, str>,
}

/// Encrypts a token that was issued to `client_id`.
pub(crate) fn seal_provider_token(
    sealer: &Sealer,
    owner: TokenOwner<'_>,
    client_id: &str,
    token: &SecretText,
) -> Vec<u8> {
    let plain = Sealed { client_id: client_id.into(), token: token.expose().into() };
    // serialization of two strings cannot fail
    seal_bound(sealer, owner, &serde_json::to_vec(&plain).unwrap_or_default())
}

/// Decrypts a token for our current client id.
///
/// # Errors
/// When the key that encrypted it is not in the ring.
pub(crate) fn open_provider_token(
    sealer: &Sealer,
    owner: TokenOwner<'_>,
    client_id: &str,
    at_rest: &[u8],
) -> Result<OpenedToken, Unsealable> {
    if is_unbound(at_rest) {
        let token = sealer.open(UNBOUND_LABEL, owner.subject.as_bytes(), at_rest)?;
        let token = String::from_utf8(token).or(Err(Unsealable))?;
        return Ok(OpenedToken::Unbound(token.into()));
    }
    let plain = match open_bound(sealer, owner, at_rest) {
        Ok(plain) => plain,
        Err(_unsealable) if at_rest.get(1..).is_some_and(|sealed| sealer.has_key_of(sealed)) => {
            return Ok(OpenedToken::OfAnotherIssuer);
        }
        Err(unsealable) => return Err(unsealable),
    };
    let opened: Sealed<'_> = serde_json::from_slice(&plain).or(Err(Unsealable))?;
    if opened.client_id != client_id {
        return Ok(OpenedToken::OfAnotherClient);
    }
    Ok(OpenedToken::Ours(opened.token.into_owned().into()))
}

/// The prefix of every token in the current format under the first root key.
pub(super) fn head(sealer: &Sealer) -> Vec<u8> {
    [&[BOUND], sealer.head().as_slice()].concat()
}

/// Re-encrypts under the first root key in the current format. A token in the first release's format is bound to `client_id`.
pub(super) fn reseal(
    sealer: &Sealer,
    owner: TokenOwner<'_>,
    client_id: &str,
    at_rest: &[u8],
) -> Result<Vec<u8>, Unsealable> {
    if !is_unbound(at_rest) {
        return Ok(seal_bound(sealer, owner, &open_bound(sealer, owner, at_rest)?));
    }
    let token = sealer.open(UNBOUND_LABEL, owner.subject.as_bytes(), at_rest)?;
    let token = String::from_utf8(token).or(Err(Unsealable))?;
    Ok(seal_provider_token(sealer, owner, client_id, &token.into()))
}

fn is_unbound(at_rest: &[u8]) -> bool {
    at_rest.first() != Some(&BOUND)
}

fn seal_bound(sealer: &Sealer, owner: TokenOwner<'_>, plain: &[u8]) -> Vec<u8> {
    let mut bound = vec![BOUND];
    bound.extend(sealer.seal(LABEL, &owner.context(), plain));
    bound
}

fn open_bound(sealer: &Sealer, owner: TokenOwner<'_>, at_rest: &[u8]) -> Result<Vec<u8>, Unsealable> {
    sealer.open(LABEL, &owner.context(), at_rest.get(1..).ok_or(Unsealable)?)
}

#[cfg(test)]
mod tests {
    use super::{OpenedToken, TokenOwner, UNBOUND_LABEL, head, open_provider_token, reseal, seal_provider_token};
    use crate::keys::test_shelf::sealer;

    const OWNER: TokenOwner<'static> = TokenOwner { issuer: "https://a.example", subject: "keycloak|alice" };

    fn opened(owner: TokenOwner<'_>, client_id: &str, sealed: &[u8]) -> Option<String> {
        match open_provider_token(&sealer(1), owner, client_id, sealed) {
            Ok(OpenedToken::Ours(token)) => Some(token.expose().to_owned()),
            Ok(OpenedToken::OfAnotherClient) => Some("another client's".to_owned()),
            Ok(OpenedToken::Unbound(token)) => Some(format!("unbound {}", token.expose())),
            Ok(OpenedToken::OfAnotherIssuer) | Err(_) => None,
        }
    }

    #[test]
    fn a_token_is_bound_to_its_issuer_its_user_and_its_client_id() {
        let sealed = seal_provider_token(&sealer(1), OWNER, "portcullis", &"secret".to_owned().into());
        assert_eq!(opened(OWNER, "portcullis", &sealed).as_deref(), Some("secret"));
        assert_eq!(opened(OWNER, "renamed", &sealed).as_deref(), Some("another client's"));
        let others = [
            TokenOwner { issuer: "https://b.example", ..OWNER },
            TokenOwner { subject: "keycloak|bob", ..OWNER },
            TokenOwner { issuer: "https://a.examplekeycloak|", subject: "alice" },
        ];
        for other in others {
            assert_eq!(opened(other, "portcullis", &sealed), None, "{other:?}");
        }
        let elsewhere = |ring| open_provider_token(&sealer(ring), others[0], "portcullis", &sealed);
        assert!(matches!(elsewhere(1), Ok(OpenedToken::OfAnotherIssuer)));
        assert!(elsewhere(2).is_err(), "the missing root key may be configured again");
        assert_eq!(opened(OWNER, "portcullis", &sealed[1..]), None, "not in the first release's format either");
        assert_eq!(opened(OWNER, "portcullis", &[3]), None);
        assert_eq!(opened(OWNER, "portcullis", &[]), None);
    }

    #[test]
    fn a_token_of_the_first_release_decrypts_and_is_bound_when_re_encrypted() {
        let (ring, before) = (sealer(1), sealer(1).seal(UNBOUND_LABEL, OWNER.subject.as_bytes(), b"secret"));
        assert_eq!(opened(OWNER, "portcullis", &before).as_deref(), Some("unbound secret"));
        let bound = reseal(&ring, OWNER, "portcullis", &before).unwrap();
        assert!(bound.starts_with(&head(&ring)) && !before.starts_with(&head(&ring)));
        assert_eq!(opened(OWNER, "portcullis", &bound).as_deref(), Some("secret"));
        assert_eq!(opened(OWNER, "renamed", &bound).as_deref(), Some("another client's"));
        assert_eq!(opened(TokenOwner { issuer: "https://b.example", ..OWNER }, "portcullis", &bound), None);
        let again = reseal(&ring, OWNER, "renamed", &bound).unwrap();
        assert_eq!(opened(OWNER, "portcullis", &again).as_deref(), Some("secret"), "it keeps its client");
    }
}
