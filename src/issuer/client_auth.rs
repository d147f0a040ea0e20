//! Who calls `/token`: client authentication (RFC 6749 2.3, OAuth 2.1 2.4).
//!
//! Defends against: brute force of a client's secret, by its length (`config` refuses short ones), and floods of wrong ones,
//! which are limited without a lockout of the client behind the same address.

use super::Issuer;
use super::token::TokenRefusal;
use crate::limits::ClientAddress;
use crate::model::client::Client;
use crate::model::ids::ClientId;
use crate::oauth::client_metadata::AuthMethod;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::secret::{SecretText, Sha256};

/// What a client proved itself with.
struct Credentials {
    client_id: String,
    secret: Option<SecretText>,
}

impl Issuer {
    /// Authenticates the client of a request. `authorization` is the header's value.
    ///
    /// A client with a secret may send it in the header or in the body, whichever it registered: libraries disagree with
    /// their own registrations, and nothing is gained by refusing.
    pub(super) async fn authenticate_client(
        &self,
        authorization: Option<&str>,
        parameters: &Parameters,
        address: ClientAddress,
    ) -> Result<Client, TokenRefusal> {
        let credentials = credentials(authorization, parameters)?;
        let client = self.find_client(&credentials.client_id).await?;
        let client = client.ok_or_else(|| refused("this client is not registered here (any more): register again"))?;
        match (client.auth_method, &client.secret_hash, credentials.secret) {
            (AuthMethod::None, None, None) => Ok(client),
            (AuthMethod::None, None, Some(_)) => Err(refused("this client is public and has no secret")),
            (_, Some(hash), Some(secret)) => {
                self.check_secret(&client.id, hash, &secret, address)?;
                Ok(client)
            }
            (_, _, None) => Err(refused("this client must authenticate with its secret")),
            (_, None, Some(_)) => Err(refused("this client has no secret")),
        }
    }

    /// Compares a secret with the client's. The right one is always accepted: a hosted client's users share its address, and
    /// one who makes it send wrong secrets must not lock out the others. Secrets are too long to be guessed at any rate;
    /// the limit of wrong ones is there for the log and for a client in a loop.
    fn check_secret(
        &self,
        client: &ClientId,
        hash: &Sha256,
        secret: &SecretText,
        address: ClientAddress,
    ) -> Result<(), TokenRefusal> {
        if Sha256::of(secret.expose().as_bytes()).same(hash) {
            return Ok(());
        }
        // no client id has a space
        let key = format!("{} {}", address.key(), client.as_str());
        let words = "too many wrong secrets of this client came from this address: wait, then send the right one";
        let counted = self.0.wrong_secrets.check(&key);
        counted.map_err(|retry_after| TokenRefusal::TooMany { retry_after, words })?;
        Err(refused("the client secret is wrong"))
    }
}

fn credentials(authorization: Option<&str>, parameters: &Parameters) -> Result<Credentials, OAuthError> {
    let in_body = parameters.one("client_secret")?.map(|secret| SecretText::from(secret.to_owned()));
    let client_id = parameters.one("client_id")?;
    let Some(authorization) = authorization else {
        let client_id = client_id.ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "client_id is missing"))?;
        return Ok(Credentials { client_id: client_id.to_owned(), secret: in_body });
    };
    if in_body.is_some() {
        return Err(OAuthError::new(ErrorCode::InvalidRequest, "the client authenticates in two ways at once"));
    }
    let basic = basic(authorization).ok_or_else(|| invalid_client("the Authorization header is not Basic"))?;
    if client_id.is_some_and(|id| id != basic.client_id) {
        return Err(OAuthError::new(ErrorCode::InvalidRequest, "two different client_ids"));
    }
    Ok(basic)
}

/// RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
fn basic(header: &str) -> Option<Credentials> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = data_encoding::BASE64.decode(encoded.trim().as_bytes()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    Some(Credentials { client_id: decode(id)?, secret: Some(decode(secret)?.into()) })
}

fn invalid_client(words: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClient, words)
}

fn refused(words: &'static str) -> TokenRefusal {
    TokenRefusal::OAuth(invalid_client(words))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{basic, credentials};
    use crate::oauth::parameters::Parameters;

    proptest! {
        #[test]
        fn no_header_is_too_odd_to_be_read_or_refused(text in "\\PC{0,60}|(?i)basic [A-Za-z0-9+/=:%]{0,60}") {
            if let Some(read) = basic(&text) {
                prop_assert!(read.secret.is_some());
            }
        }

        #[test]
        fn every_pair_that_was_encoded_reads_back(id in "\\PC{1,20}", secret in "\\PC{1,20}") {
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let read = basic(&header(&format!("{}:{}", encode(&id), encode(&secret)))).unwrap();
            prop_assert_eq!(read.client_id, id);
            let read_secret = read.secret.unwrap();
            prop_assert_eq!(read_secret.expose(), secret);
        }
    }

    fn header(pair: &str) -> String {
        format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        let read = basic(&header("a%3Ab:p%2B+q")).unwrap();
        assert_eq!((read.client_id.as_str(), read.secret.unwrap().expose()), ("a:b", "p+ q"));
        assert!(basic("Bearer x").is_none());
        assert!(basic("Basic !!").is_none());
        assert!(basic(&header("no colon")).is_none());
    }

    #[test]
    fn two_ways_to_authenticate_at_once_are_refused() {
        let both = Parameters::parse(b"client_id=a&client_secret=s");
        assert!(credentials(Some(&header("a:s")), &both).is_err());
        assert!(credentials(Some(&header("b:s")), &Parameters::parse(b"client_id=a")).is_err());
        assert!(credentials(None, &Parameters::parse(b"")).is_err());
        assert!(credentials(None, &Parameters::parse(b"client_id=a&client_secret=")).unwrap().secret.is_none());
    }
}
