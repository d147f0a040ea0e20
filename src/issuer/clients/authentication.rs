//! Client authentication at `/token` (RFC 6749 2.3, OAuth 2.1 2.4).
//!
//! Defends against: brute force of a client's secret. `config` refuses short secrets, those that we make have 256 bits, and
//! wrong ones are rate limited per client and address; there is no lockout, because a right secret is always accepted.

use super::error::FindError;
use super::find::Clients;
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::client::{Authentication, Client};
use crate::model::ids::ClientId;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::{ParameterError, Parameters};
use crate::secret::{SecretText, Sha256};
use crate::wire::ClientAddress;

/// Authenticates clients.
pub(in crate::issuer) struct ClientAuthentication {
    pub(in crate::issuer) clients: Clients,
    pub(in crate::issuer) limits: Limits,
}

/// Why a client is not authenticated.
#[derive(Debug, thiserror::Error)]
pub(in crate::issuer) enum AuthenticationError {
    /// The request is malformed.
    #[error(transparent)]
    Malformed(#[from] OAuthError),
    /// The id leads to no client.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The client did not prove itself: `invalid_client`.
    #[error("client {client}: {words}")]
    Refused {
        /// The client.
        client: ClientId,
        /// Words for its developer.
        words: &'static str,
    },
    /// Too many wrong secrets came.
    #[error("client {client}: {limited}")]
    Limited {
        /// The client.
        client: ClientId,
        /// The limit that is used up.
        limited: Limited,
    },
}

impl From<ParameterError> for AuthenticationError {
    fn from(error: ParameterError) -> Self {
        Self::Malformed(error.into())
    }
}

/// The credentials of a request.
struct Credentials {
    client_id: String,
    secret: Option<SecretText>,
}

/// What has to be compared.
enum Proof<'a> {
    /// Nothing: the client is public.
    None,
    /// The hash of the client's secret with the secret that was sent.
    Secret(&'a Sha256, SecretText),
}

impl ClientAuthentication {
    /// Authenticates the client of a request. `authorization` is the header's value.
    ///
    /// A client may send its secret in the header or in the body, whatever it registered: libraries disagree with their own
    /// registrations, and refusing them would gain nothing.
    pub(in crate::issuer) async fn authenticate(
        &self,
        authorization: Option<&str>,
        parameters: &Parameters,
        address: ClientAddress,
    ) -> Result<Client, AuthenticationError> {
        let credentials = credentials(authorization, parameters)?;
        let client = self.clients.find(&credentials.client_id, address).await?;
        match proof(&client.authentication, credentials.secret) {
            Ok(Proof::None) => Ok(client),
            Ok(Proof::Secret(hash, secret)) => {
                self.check_secret(&client.id, hash, &secret, address).await?;
                Ok(client)
            }
            Err(words) => Err(AuthenticationError::Refused { client: client.id, words }),
        }
    }

    /// Compares a secret with the client's, in constant time. The right one is accepted even where the limit is used up: the
    /// users of a hosted client share its address, and one of them must not be able to lock out the others.
    async fn check_secret(
        &self,
        client: &ClientId,
        hash: &Sha256,
        secret: &SecretText,
        address: ClientAddress,
    ) -> Result<(), AuthenticationError> {
        if Sha256::of(secret.expose().as_bytes()).same(hash) {
            return Ok(());
        }
        let key = Key::of(&[Part::Client(client), Part::Address(address)]);
        let client = client.clone();
        match self.limits.check(Limit::ClientSecrets, &key).await {
            Ok(()) => Err(AuthenticationError::Refused { client, words: "the client secret is wrong" }),
            Err(limited) => Err(AuthenticationError::Limited { client, limited }),
        }
    }
}

/// Holds what was sent against what the client authenticates with.
fn proof(authentication: &Authentication, sent: Option<SecretText>) -> Result<Proof<'_>, &'static str> {
    match (authentication, sent) {
        (Authentication::None, None) => Ok(Proof::None),
        (Authentication::None, Some(_)) => Err("this client is public and has no secret"),
        (Authentication::Secret(hash, _), Some(secret)) => Ok(Proof::Secret(hash, secret)),
        (Authentication::Secret(..), None) => Err("this client must authenticate with its secret"),
        (Authentication::Keys(_), _) => Err("private_key_jwt is not accepted here"),
    }
}

fn credentials(authorization: Option<&str>, parameters: &Parameters) -> Result<Credentials, AuthenticationError> {
    let in_body = parameters.one("client_secret")?.map(|secret| SecretText::from(secret.to_owned()));
    let client_id = parameters.one("client_id")?;
    let Some(authorization) = authorization else {
        let client_id = client_id.ok_or_else(|| invalid_request("client_id is missing"))?;
        return Ok(Credentials { client_id: client_id.to_owned(), secret: in_body });
    };
    if in_body.is_some() {
        return Err(invalid_request("the client authenticates in two ways at once").into());
    }
    let basic = basic(authorization)
        .ok_or_else(|| OAuthError::new(ErrorCode::InvalidClient, "the Authorization header is not Basic"))?;
    if client_id.is_some_and(|id| id != basic.client_id) {
        return Err(invalid_request("two different client_ids").into());
    }
    Ok(basic)
}

/// Reads Basic credentials. RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
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

fn invalid_request(words: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{basic, credentials, proof};
    use crate::model::client::{Authentication, ClientKeys, SecretMethod};
    use crate::oauth::parameters::Parameters;
    use crate::secret::Sha256;

    proptest! {
        #[test]
        fn any_authorization_header_is_read_or_refused(text in "\\PC{0,60}|(?i)basic [A-Za-z0-9+/=:%]{0,60}") {
            if let Some(read) = basic(&text) {
                prop_assert!(read.secret.is_some());
            }
        }

        #[test]
        fn encoded_credentials_read_back(id in "\\PC{1,20}", secret in "\\PC{1,20}") {
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
    fn a_client_authenticates_as_it_was_registered_and_keys_are_not_accepted() {
        let secret = || Some("a secret".to_owned().into());
        let confidential = Authentication::Secret(Sha256::of(b"another"), SecretMethod::Basic);
        let keys = Authentication::Keys(ClientKeys::Url("https://client.example.com/jwks".to_owned()));
        for (authentication, sent, accepted) in [
            (&Authentication::None, None, true),
            (&Authentication::None, secret(), false),
            (&confidential, secret(), true),
            (&confidential, None, false),
            (&keys, None, false),
            (&keys, secret(), false),
        ] {
            let has_secret = sent.is_some();
            assert_eq!(proof(authentication, sent).is_ok(), accepted, "{authentication:?}, a secret: {has_secret}");
        }
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
