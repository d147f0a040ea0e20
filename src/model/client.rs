//! A client: an application that acts for users.

use serde::{Deserialize, Serialize};

use super::ids::ClientId;
use crate::clock::Timestamp;
use crate::oauth::client_document::{ClientDocument, DocumentMethods, DocumentRefusal};
use crate::oauth::client_id_url::{ClientIdUrl, publisher};
use crate::oauth::client_metadata::{AuthMethod, ClientMetadata};
use crate::oauth::grant_type::DEVICE_CODE;
use crate::oauth::redirect_uri::RedirectUri;
use crate::oauth::scope::ScopeSet;
use crate::secret::Sha256;

pub use crate::oauth::client_keys::ClientKeys;

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
    /// Whether it may ask with a device code (RFC 8628).
    pub device: bool,
    /// Whether it gets tokens that are bound to a key alone (RFC 9449 5.2).
    pub dpop_bound: bool,
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
    /// The public keys that verify its signed assertions (`private_key_jwt`, RFC 7523).
    Keys(ClientKeys),
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
    /// The authentication of a client with this method, and the secret or the keys that it needs; `None` when they
    /// contradict each other.
    #[must_use]
    pub fn new(method: AuthMethod, secret_hash: Option<Sha256>, keys: Option<ClientKeys>) -> Option<Self> {
        match (method, secret_hash, keys) {
            (AuthMethod::None, None, None) => Some(Self::None),
            (AuthMethod::ClientSecretBasic, Some(hash), None) => Some(Self::Secret(hash, SecretMethod::Basic)),
            (AuthMethod::ClientSecretPost, Some(hash), None) => Some(Self::Secret(hash, SecretMethod::Post)),
            (AuthMethod::PrivateKeyJwt, None, Some(keys)) => Some(Self::Keys(keys)),
            _ => None,
        }
    }

    /// How the client of a document authenticates: the one place that chooses between the methods that it offers. One that
    /// can sign must sign, although it offers `none` as well: a thief of a code or token then needs its key too.
    ///
    /// # Errors
    /// When it offers no method that is known here, or keys alone that cannot be used.
    pub fn of_document(methods: DocumentMethods, keys: Option<ClientKeys>) -> Result<Self, DocumentRefusal> {
        match keys.filter(|_| methods.private_key_jwt) {
            Some(keys) => Ok(Self::Keys(keys)),
            None if methods.none => Ok(Self::None),
            None => Err(DocumentRefusal::NoMethod),
        }
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> AuthMethod {
        match self {
            Self::None => AuthMethod::None,
            Self::Secret(_, SecretMethod::Basic) => AuthMethod::ClientSecretBasic,
            Self::Secret(_, SecretMethod::Post) => AuthMethod::ClientSecretPost,
            Self::Keys(_) => AuthMethod::PrivateKeyJwt,
        }
    }

    /// The hash of the secret, if there is one.
    #[must_use]
    pub const fn secret_hash(&self) -> Option<&Sha256> {
        match self {
            Self::Secret(hash, _) => Some(hash),
            Self::None | Self::Keys(_) => None,
        }
    }

    /// The keys, if there are any.
    #[must_use]
    pub const fn keys(&self) -> Option<&ClientKeys> {
        match self {
            Self::Keys(keys) => Some(keys),
            Self::None | Self::Secret(..) => None,
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
            authentication: Authentication::of_document(document.methods, document.keys)?,
            name: Some(document.client_name),
            redirect_uris: portless(&document.redirect_uris),
            refresh_token: document.refresh_token,
            // only the operator, or a registration where the operator allows it, gives the device grant
            device: false,
            dpop_bound: document.dpop_bound,
            scope: document.scope,
            application_type: document.application_type,
            created_at: now,
        })
    }

    /// A client that registers. A public one has the id that its metadata gives it; one with a secret or keys a random one,
    /// under which it can be managed.
    #[must_use]
    pub fn registered(metadata: &ClientMetadata, authentication: Authentication, now: Timestamp) -> Self {
        let is_public = authentication == Authentication::None;
        let id = if is_public { derived_id(metadata) } else { ClientId::random() };
        Self::with_id(id, metadata, authentication, now)
    }

    /// A registered client with this id and this metadata, first known at `created_at`.
    #[must_use]
    pub fn with_id(
        id: ClientId,
        metadata: &ClientMetadata,
        authentication: Authentication,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            origin: ClientOrigin::Registered,
            name: metadata.client_name.clone(),
            redirect_uris: portless(&metadata.redirect_uris),
            authentication,
            refresh_token: metadata.refresh_token,
            device: metadata.device,
            dpop_bound: metadata.dpop_bound,
            scope: metadata.scope.clone(),
            application_type: metadata.application_type.clone(),
            created_at,
        }
    }

    /// The host that publishes the client's document: the one thing about such a client that TLS has proven.
    #[must_use]
    pub fn publisher(&self) -> Option<&str> {
        publisher(self.id.as_str()).filter(|_| self.origin == ClientOrigin::Document)
    }

    /// All that is known of the client, in a hash: whatever changes it, an earlier consent to the client does not count for what
    /// it is now. Not its secret, which no user sees.
    #[must_use]
    pub fn fingerprint(&self) -> Sha256 {
        let known = serde_json::json!([
            self.id,
            self.origin,
            self.name,
            self.redirect_uris,
            self.authentication.method().as_str(),
            self.authentication.keys(),
            self.refresh_token,
            self.device,
            self.scope,
            self.application_type,
            self.dpop_bound,
        ]);
        Sha256::of(known.to_string().as_bytes())
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
    let mut canonical = vec![
        serde_json::json!("portcullis public client 1"),
        serde_json::json!(metadata.client_name),
        serde_json::json!(portless(&metadata.redirect_uris)),
        serde_json::json!(metadata.refresh_token),
        serde_json::json!(metadata.scope),
        serde_json::json!(metadata.application_type),
    ];
    // only where it says something: ids of earlier versions stay as they are
    canonical.extend(metadata.device.then(|| serde_json::json!(DEVICE_CODE)));
    canonical.extend(metadata.dpop_bound.then(|| serde_json::json!("dpop_bound_access_tokens")));
    let canonical = serde_json::Value::from(canonical);
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
    fn a_method_that_contradicts_its_secret_or_keys_is_no_authentication() {
        let (hash, keys) = (Sha256::of(b"secret"), ClientKeys::Url("https://client.example/jwks".to_owned()));
        for method in AuthMethod::ALL {
            for (secret_hash, keys) in
                [(None, None), (Some(hash), None), (None, Some(&keys)), (Some(hash), Some(&keys))]
            {
                let agree = match method {
                    AuthMethod::None => secret_hash.is_none() && keys.is_none(),
                    AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost => {
                        secret_hash.is_some() && keys.is_none()
                    }
                    AuthMethod::PrivateKeyJwt => secret_hash.is_none() && keys.is_some(),
                };
                let read = Authentication::new(method, secret_hash, keys.cloned());
                let parts = read.as_ref().map(|read| (read.method(), read.secret_hash(), read.keys()));
                assert_eq!(parts, agree.then_some((method, secret_hash.as_ref(), keys)), "{method:?}");
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
    fn a_document_with_usable_keys_must_sign_and_one_without_is_public_if_it_offers_none() {
        let uri = json!("https://client.example/k");
        let keys = Ok(Authentication::Keys(ClientKeys::Url("https://client.example/k".to_owned())));
        let of = |methods: &Value, uri: &Value| {
            let client = documented(&[("token_endpoint_auth_methods_supported", methods), ("jwks_uri", uri)]);
            client.map(|client| client.authentication)
        };
        for (methods, with_keys, without) in [
            (json!(["none", "private_key_jwt"]), keys.clone(), Ok(Authentication::None)),
            (json!(["private_key_jwt"]), keys, Err(DocumentRefusal::NoMethod)),
            (json!(["none"]), Ok(Authentication::None), Ok(Authentication::None)),
            (json!(["tls_client_auth"]), Err(DocumentRefusal::NoMethod), Err(DocumentRefusal::NoMethod)),
        ] {
            assert_eq!((of(&methods, &uri), of(&methods, &Value::Null)), (with_keys, without), "{methods}");
        }
    }

    #[test]
    fn redirect_uris_of_a_document_are_compared_without_loopback_ports_and_its_host_is_its_publisher() {
        let client = documented(&[]).unwrap();
        assert_eq!(client.redirect_uris, ["http://127.0.0.1/"]);
        assert_eq!(client.publisher(), Some("client.example"));
    }
}
