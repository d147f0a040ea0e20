//! A client: an application that acts for users.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use serde::{Deserialize, Serialize};

use super::ids::ClientId;
use crate::clock::Timestamp;
use crate::oauth::client_document::{ClientDocument, DocumentRefusal};
use crate::oauth::client_id_url::{ClientIdUrl, publisher};
use crate::oauth::client_metadata::{AuthMethod, ClientMetadata};
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::scope::ScopeSet;
use crate::secret::Sha256;

/// How a client became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientOrigin {
    /// The operator wrote it into the configuration.
    Configured,
    /// It registered itself (RFC 7591): its name is its own claim.
    Registered,
    /// Its id is the URL of a document that describes it: the host is certain, and all that the document says is its claim.
    Document,
}

/// A client as it is stored or configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// How it became known.
    pub origin: ClientOrigin,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where codes may be sent. Those of clients that are not configured are as they are compared, without loopback ports.
    pub redirect_uris: Vec<String>,
    /// How it authenticates at `/token`.
    pub authentication: Authentication,
    /// Whether it registered for refresh tokens.
    pub refresh_token: bool,
    /// The scope that it registered; informative only.
    pub scope: ScopeSet,
    /// `native` or `web`, when it said so.
    pub application_type: Option<String>,
    /// When it first registered, or when its document was fetched.
    pub created_at: Timestamp,
}

/// How a client authenticates at `/token` (OAuth 2.1 2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// A public client: PKCE is all it has.
    None,
    /// A secret, of which only the SHA-256 is kept. Secrets are long enough that a fast hash is safe.
    Secret(Sha256, SecretMethod),
    /// The public keys that verify its signed assertions (`private_key_jwt`, RFC 7523). Assertions are not accepted yet: no
    /// metadata offers the method, registration and configuration do not assign it, the store does not keep it, and
    /// `/token` refuses a client that has only keys.
    Keys(ClientKeys),
}

/// Where the public keys of a client are (RFC 7591 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientKeys {
    /// `jwks`: the keys themselves.
    Set(JwkSet),
    /// `jwks_uri`: an https URL that a stranger named.
    Url(String),
}

/// Where a client said that it sends its secret (RFC 6749 2.3.1). Both are accepted from either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretMethod {
    /// In the `Authorization` header.
    Basic,
    /// In the body.
    Post,
}

impl Authentication {
    /// The authentication of a client with this method and this secret, if it has one; `None` when the two contradict each
    /// other.
    #[must_use]
    pub fn new(method: AuthMethod, secret_hash: Option<Sha256>) -> Option<Self> {
        match (method, secret_hash) {
            (AuthMethod::None, None) => Some(Self::None),
            (AuthMethod::ClientSecretBasic, Some(hash)) => Some(Self::Secret(hash, SecretMethod::Basic)),
            (AuthMethod::ClientSecretPost, Some(hash)) => Some(Self::Secret(hash, SecretMethod::Post)),
            (AuthMethod::None, Some(_)) | (AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost, None) => None,
        }
    }

    /// How the client of a document authenticates: the one place that chooses between the methods that it offers. A document
    /// that offers `none` beside keys is that of a public client, because `/token` verifies no assertions.
    ///
    /// # Errors
    /// When it offers no method that is known here.
    pub fn of_document(document: &ClientDocument) -> Result<Self, DocumentRefusal> {
        let keys = if document.methods.private_key_jwt { ClientKeys::of_document(document) } else { None };
        match keys {
            _ if document.methods.none => Ok(Self::None),
            Some(keys) => Ok(Self::Keys(keys)),
            None => Err(DocumentRefusal::NoMethod),
        }
    }

    /// The method and the hash of the secret as they are stored; `None` for keys, which the store does not keep.
    #[must_use]
    pub const fn stored(&self) -> Option<(AuthMethod, Option<&Sha256>)> {
        match self {
            Self::None => Some((AuthMethod::None, None)),
            Self::Secret(hash, SecretMethod::Basic) => Some((AuthMethod::ClientSecretBasic, Some(hash))),
            Self::Secret(hash, SecretMethod::Post) => Some((AuthMethod::ClientSecretPost, Some(hash))),
            Self::Keys(_) => None,
        }
    }
}

impl ClientKeys {
    /// The keys of a document; those inside of it, which need no further call, before those at its `jwks_uri`. Only public
    /// keys count: a symmetric one in a public document is no secret.
    fn of_document(document: &ClientDocument) -> Option<Self> {
        let keys = document.jwks.iter().filter_map(|key| Jwk::deserialize(key).ok());
        let is_public = |key: &Jwk| {
            use AlgorithmParameters::{EllipticCurve, OctetKeyPair, RSA};
            matches!(key.algorithm, EllipticCurve(_) | RSA(_) | OctetKeyPair(_))
        };
        let keys: Vec<Jwk> = keys.filter(is_public).collect();
        match &document.jwks_uri {
            _ if !keys.is_empty() => Some(Self::Set(JwkSet { keys })),
            Some(uri) => Some(Self::Url(uri.as_str().to_owned())),
            None => None,
        }
    }
}

impl Client {
    /// The client of a document that was fetched at `now` from its id.
    ///
    /// # Errors
    /// When the document offers no method of authentication that is known here.
    pub fn documented(url: &ClientIdUrl, document: ClientDocument, now: Timestamp) -> Result<Self, DocumentRefusal> {
        Ok(Self {
            id: ClientId::from(url.as_str()),
            origin: ClientOrigin::Document,
            authentication: Authentication::of_document(&document)?,
            name: Some(document.client_name),
            redirect_uris: portless(&document.redirect_uris),
            refresh_token: document.refresh_token,
            scope: document.scope,
            application_type: document.application_type,
            created_at: now,
        })
    }

    /// A client that registers, under the id that its metadata gives it. `secret` has the hash of the secret that it was
    /// given and the method that it asked for.
    #[must_use]
    pub fn registered(metadata: &ClientMetadata, secret: Option<(Sha256, SecretMethod)>, now: Timestamp) -> Self {
        Self {
            id: if secret.is_some() { ClientId::random() } else { derived_id(metadata) },
            origin: ClientOrigin::Registered,
            name: metadata.client_name.clone(),
            redirect_uris: portless(&metadata.redirect_uris),
            authentication: secret.map_or(Authentication::None, |(hash, method)| Authentication::Secret(hash, method)),
            refresh_token: metadata.refresh_token,
            scope: metadata.scope.clone(),
            application_type: metadata.application_type.clone(),
            created_at: now,
        }
    }

    /// The host that publishes the client's document: the one thing about such a client that TLS has proven.
    #[must_use]
    pub fn publisher(&self) -> Option<&str> {
        publisher(self.id.as_str()).filter(|_| self.origin == ClientOrigin::Document)
    }

    /// Whether codes may be sent to this URI (RFC 8252 7.3: on loopback the port may vary).
    #[must_use]
    pub fn allows(&self, uri: &RedirectUri) -> bool {
        self.redirect_uris.iter().any(|registered| uri.is_registered_as(registered))
    }
}

fn portless(uris: &[RedirectUri]) -> Vec<String> {
    let mut uris: Vec<_> = uris.iter().map(RedirectUri::registered_form).collect();
    uris.sort();
    uris.dedup();
    uris
}

/// Public clients with the same metadata are the same client, on every replica and after a lost database: a client that
/// registers at each start (several do) costs one row, and an id never comes to mean another client.
fn derived_id(metadata: &ClientMetadata) -> ClientId {
    let canonical = serde_json::json!([
        "portcullis public client 1",
        metadata.client_name,
        portless(&metadata.redirect_uris),
        metadata.refresh_token,
        metadata.scope,
        metadata.application_type,
    ]);
    let hash = Sha256::of(canonical.to_string().as_bytes());
    let mut bits = [0; 16];
    bits.copy_from_slice(hash.as_bytes().split_at(16).0);
    ClientId::from_bits(&bits)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Authentication, Client, ClientKeys};
    use crate::clock::Timestamp;
    use crate::oauth::client_document::{ClientDocument, DocumentRefusal};
    use crate::oauth::client_id_url::ClientIdUrl;
    use crate::oauth::client_metadata::AuthMethod;
    use crate::oauth::redirect_uri::RedirectPolicy;
    use crate::secret::Sha256;

    #[test]
    fn a_method_and_a_secret_that_contradict_each_other_are_no_authentication() {
        let hash = Sha256::of(b"secret");
        for method in [AuthMethod::None, AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost] {
            for secret_hash in [None, Some(hash)] {
                let agree = (method == AuthMethod::None) == secret_hash.is_none();
                let stored = Authentication::new(method, secret_hash);
                let expected = agree.then_some((method, secret_hash.as_ref()));
                assert_eq!(stored.as_ref().and_then(Authentication::stored), expected, "{method:?} {secret_hash:?}");
            }
        }
    }

    const ID: &str = "https://client.example/metadata.json";

    /// The client of a document with these members besides those that are required.
    fn documented(members: &[(&str, &Value)]) -> Result<Client, DocumentRefusal> {
        let uris = ["http://127.0.0.1:33418/", "http://127.0.0.1/"];
        let mut document = json!({"client_id": ID, "client_name": "Client", "redirect_uris": uris});
        for (member, value) in members {
            document[*member] = (*value).clone();
        }
        let url = ClientIdUrl::parse(ID).unwrap();
        let document = ClientDocument::read(&url, document.to_string().as_bytes(), &RedirectPolicy::default()).unwrap();
        Client::documented(&url, document, Timestamp(1))
    }

    #[test]
    fn a_document_that_offers_none_is_that_of_a_public_client_and_keys_alone_are_kept() {
        let (key, uri) =
            (json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), json!("https://client.example/k"));
        let secret = json!({"kty": "oct", "k": "AA"});
        let (jwks, odd) = (json!({"keys": [secret, key, 7]}), json!({"keys": [secret]}));
        let of = |methods: &Value, jwks: &Value, uri: &Value| {
            let plural = "token_endpoint_auth_methods_supported";
            let client = documented(&[(plural, methods), ("jwks", jwks), ("jwks_uri", uri)]);
            client.map(|client| client.authentication)
        };
        assert_eq!(of(&json!(["none", "private_key_jwt"]), &jwks, &uri), Ok(Authentication::None));
        let keys = of(&json!(["private_key_jwt"]), &jwks, &uri).unwrap();
        assert!(matches!(&keys, Authentication::Keys(ClientKeys::Set(set)) if set.keys.len() == 1), "{keys:?}");
        let at = ClientKeys::Url("https://client.example/k".to_owned());
        assert_eq!(of(&json!(["private_key_jwt"]), &odd, &uri), Ok(Authentication::Keys(at)));
        for methods in [json!(["private_key_jwt"]), json!(["tls_client_auth"])] {
            assert_eq!(of(&methods, &odd, &Value::Null), Err(DocumentRefusal::NoMethod));
        }
    }

    #[test]
    fn redirect_uris_of_a_document_are_compared_without_loopback_ports_and_its_host_is_its_publisher() {
        let client = documented(&[]).unwrap();
        assert_eq!(client.redirect_uris, ["http://127.0.0.1/"]);
        assert_eq!(client.publisher(), Some("client.example"));
    }
}
