//! Client authentication (RFC 6749 2.3, OAuth 2.1 2.4): one function for every endpoint that needs it.
//!
//! Defends against: brute force of a client's secret. `config` refuses short secrets, those that we make have 256 bits, and
//! wrong ones are rate limited per client and address; there is no lockout: the right secret is always accepted. A client
//! that registered keys cannot fall back to anything weaker.

use super::assertion::{Assertions, JWT_BEARER, Unproven};
use super::assertion_rules::Assertion;
use super::error::FindError;
use super::find::Clients;
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::client::{Authentication, Client, ClientKeys};
use crate::model::ids::ClientId;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::{ParameterError, Parameters};
use crate::secret::{SecretText, Sha256};
use crate::wire::ClientAddress;

/// Authenticates clients. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct ClientAuthentication {
    pub(in crate::issuer) clients: Clients,
    pub(in crate::issuer) assertions: Assertions,
    pub(in crate::issuer) limits: Limits,
}

/// Why a client is not authenticated.
#[derive(Debug, thiserror::Error)]
pub(in crate::issuer) enum AuthenticationError {
    /// The request is malformed.
    #[error(transparent)]
    Malformed(#[from] OAuthError),
    /// The id names no client.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The client did not prove itself: `invalid_client`.
    #[error("client {client}: {words}")]
    Refused {
        /// The client.
        client: ClientId,
        /// The text for its developer.
        words: &'static str,
    },
    /// Too many wrong secrets or assertions came.
    #[error("client {client}: {limited}")]
    Limited {
        /// The client.
        client: ClientId,
        /// The limit that is used up.
        limited: Limited,
    },
    /// It cannot be determined now.
    #[error("client {client}: {cause}")]
    Unavailable {
        /// The client.
        client: ClientId,
        /// What failed, for the log.
        cause: String,
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
    sent: Sent,
}

/// How a client authenticates.
enum Sent {
    Nothing,
    Secret(SecretText),
    Assertion(Assertion),
}

/// What has to be checked.
enum Proof<'a> {
    /// Nothing: the client is public.
    None,
    /// The hash of the client's secret with the secret that was sent.
    Secret(&'a Sha256, SecretText),
    /// The client's keys with the assertion that was sent.
    Assertion(&'a ClientKeys, Assertion),
}

impl ClientAuthentication {
    /// Authenticates the client of a request. `authorization` is the header's value.
    ///
    /// A client may send its secret in the header or in the body, whatever it registered: libraries disagree with their own
    /// registrations, and refusing them would gain nothing. A client with keys must sign, and no other may.
    pub(in crate::issuer) async fn authenticate(
        &self,
        authorization: Option<&str>,
        parameters: &Parameters,
        address: ClientAddress,
    ) -> Result<Client, AuthenticationError> {
        let credentials = credentials(authorization, parameters, &self.assertions)?;
        let client = self.clients.find(&credentials.client_id, address).await?;
        let proven = match proof(&client.authentication, credentials.sent) {
            Ok(Proof::None) => Ok(()),
            Ok(Proof::Secret(hash, secret)) => check_secret(hash, &secret),
            Ok(Proof::Assertion(keys, assertion)) => self.assertions.verify(&client, keys, &assertion, address).await,
            Err(words) => return Err(AuthenticationError::Refused { client: client.id, words }),
        };
        match proven {
            Ok(()) => Ok(client),
            Err(unproven) => Err(self.count(client.id, unproven, address).await),
        }
    }

    /// Counts wrong credentials. The right secret is accepted even when the limit is exceeded: the users of a hosted client
    /// share its address, and one of them must not be able to lock out the others.
    async fn count(&self, client: ClientId, unproven: Unproven, address: ClientAddress) -> AuthenticationError {
        let words = match unproven {
            Unproven::Wrong(words) => words,
            Unproven::Limited(limited) => return AuthenticationError::Limited { client, limited },
            Unproven::Unavailable(cause) => return AuthenticationError::Unavailable { client, cause },
        };
        let key = Key::of(&[Part::Client(&client), Part::Address(address)]);
        match self.limits.check(Limit::ClientSecrets, &key).await {
            Ok(()) => AuthenticationError::Refused { client, words },
            Err(limited) => AuthenticationError::Limited { client, limited },
        }
    }
}

/// Compares a secret with the client's, in constant time.
fn check_secret(hash: &Sha256, secret: &SecretText) -> Result<(), Unproven> {
    let is_right = Sha256::of(secret.expose().as_bytes()).same(hash);
    if is_right { Ok(()) } else { Err(Unproven::Wrong("the client secret is wrong")) }
}

/// Compares the credentials that were sent with the client's method.
fn proof(authentication: &Authentication, sent: Sent) -> Result<Proof<'_>, &'static str> {
    match (authentication, sent) {
        (Authentication::None, Sent::Nothing) => Ok(Proof::None),
        (Authentication::None, Sent::Secret(_)) => Err("this client is public and has no secret"),
        (Authentication::None, Sent::Assertion(_)) => Err("this client is public and has no keys"),
        (Authentication::Secret(hash, _), Sent::Secret(secret)) => Ok(Proof::Secret(hash, secret)),
        (Authentication::Secret(..), _) => Err("this client must authenticate with its secret"),
        (Authentication::Keys(keys), Sent::Assertion(assertion)) => Ok(Proof::Assertion(keys, assertion)),
        (Authentication::Keys(_), _) => Err("this client must authenticate with a signed assertion (private_key_jwt)"),
    }
}

/// Reads the credentials; of an assertion only the text is checked. With one, `client_id` may be absent (RFC 7521 4.2).
fn credentials(
    authorization: Option<&str>,
    parameters: &Parameters,
    assertions: &Assertions,
) -> Result<Credentials, AuthenticationError> {
    let secret = parameters.one("client_secret")?;
    let assertion = assertion(parameters)?;
    let client_id = parameters.one("client_id")?;
    let (proven_id, sent) = match (authorization, secret, assertion) {
        (None, None, None) => (None, Sent::Nothing),
        (None, Some(secret), None) => (None, Sent::Secret(secret.to_owned().into())),
        (None, None, Some(text)) => {
            let assertion = assertions.read(text).map_err(invalid_client)?;
            (Some(assertion.client().to_owned()), Sent::Assertion(assertion))
        }
        (Some(header), None, None) => {
            let (id, secret) = basic(header).ok_or_else(|| invalid_client("the Authorization header is not Basic"))?;
            (Some(id), secret.map_or(Sent::Nothing, Sent::Secret))
        }
        _ => return Err(invalid_request("the client authenticates in two ways at once").into()),
    };
    let client_id = match (proven_id, client_id) {
        (Some(proven), Some(named)) if proven != named => {
            return Err(invalid_request("two different client_ids").into());
        }
        (Some(id), _) => id,
        (None, Some(id)) => id.to_owned(),
        (None, None) => return Err(invalid_request("client_id is missing").into()),
    };
    Ok(Credentials { client_id, sent })
}

/// The assertion of a request, if it has one (RFC 7521 4.2).
fn assertion(parameters: &Parameters) -> Result<Option<&str>, AuthenticationError> {
    match (parameters.one("client_assertion")?, parameters.one("client_assertion_type")?) {
        (None, None) => Ok(None),
        (Some(assertion), Some(JWT_BEARER)) => Ok(Some(assertion)),
        (Some(_), Some(_)) => {
            Err(invalid_client("client_assertion_type must be the one of RFC 7523, jwt-bearer").into())
        }
        _ => Err(invalid_request("client_assertion and client_assertion_type belong together").into()),
    }
}

/// Reads Basic credentials. RFC 6749 2.3.1: id and secret are form-encoded before they are joined. An empty secret is none.
pub(crate) fn basic(header: &str) -> Option<(String, Option<SecretText>)> {
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
    let secret = decode(secret)?;
    Some((decode(id)?, (!secret.is_empty()).then(|| secret.into())))
}

fn invalid_client(words: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClient, words)
}

fn invalid_request(words: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Sent, assertion, basic, proof};
    use crate::model::client::{Authentication, ClientKeys, SecretMethod};
    use crate::oauth::parameters::Parameters;
    use crate::secret::Sha256;

    proptest! {
        #[test]
        fn any_authorization_header_is_read_or_refused(text in "\\PC{0,60}|(?i)basic [A-Za-z0-9+/=:%]{0,60}") {
            if let Some((_, Some(secret))) = basic(&text) {
                prop_assert!(!secret.expose().is_empty());
            }
        }

        #[test]
        fn encoded_credentials_read_back(id in "\\PC{1,20}", secret in "\\PC{1,20}") {
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let (read_id, read_secret) = basic(&header(&format!("{}:{}", encode(&id), encode(&secret)))).unwrap();
            prop_assert_eq!(read_id, id);
            let read_secret = read_secret.unwrap();
            prop_assert_eq!(read_secret.expose(), secret);
        }
    }

    fn header(pair: &str) -> String {
        format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        let (id, secret) = basic(&header("a%3Ab:p%2B+q")).unwrap();
        assert_eq!((id.as_str(), secret.unwrap().expose()), ("a:b", "p+ q"));
        assert!(basic(&header("a:")).unwrap().1.is_none(), "an empty secret is none");
        for wrong in ["Bearer x", "Basic !!", "Basic", &header("no colon"), &header("%ff:x")] {
            assert!(basic(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_client_authenticates_in_the_way_it_was_registered_for() {
        let secret = || Sent::Secret("a secret".to_owned().into());
        let confidential = Authentication::Secret(Sha256::of(b"another"), SecretMethod::Basic);
        let keys = Authentication::Keys(ClientKeys::Url("https://client.example.com/jwks".to_owned()));
        for (authentication, sent, accepted) in [
            (&Authentication::None, Sent::Nothing, true),
            (&Authentication::None, secret(), false),
            (&confidential, secret(), true),
            (&confidential, Sent::Nothing, false),
            (&keys, Sent::Nothing, false),
            (&keys, secret(), false),
        ] {
            assert_eq!(proof(authentication, sent).is_ok(), accepted, "{authentication:?}");
        }
    }

    #[test]
    fn an_assertion_needs_its_type_exactly() {
        let read = |form: &str| assertion(&Parameters::parse(form.as_bytes())).map(|found| found.map(str::to_owned));
        let jwt_bearer = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(read(&format!("client_assertion=x&{jwt_bearer}")).unwrap().as_deref(), Some("x"));
        assert_eq!(read("client_id=a").unwrap(), None);
        for wrong in [
            "client_assertion=x".to_owned(),
            jwt_bearer.to_owned(),
            "client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
                .to_owned(),
            format!(
                "client_assertion=x&{}",
                jwt_bearer.to_uppercase().replace("CLIENT_ASSERTION_TYPE", "client_assertion_type")
            ),
            format!("client_assertion=x&client_assertion=y&{jwt_bearer}"),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }
}
