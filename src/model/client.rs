//! A client: an application that acts for users.

use jsonwebtoken::jwk::JwkSet;
use serde::{Deserialize, Serialize};

use super::ids::ClientId;
use crate::clock::Timestamp;
use crate::oauth::client_metadata::{AuthMethod, ClientMetadata};
use crate::oauth::device::DEVICE_CODE;
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
    /// Where codes may be sent. A registered client's are stored as they are compared, without loopback ports.
    pub redirect_uris: Vec<String>,
    /// How it authenticates at `/token`.
    pub authentication: Authentication,
    /// Whether it registered for refresh tokens.
    pub refresh_token: bool,
    /// Whether it may ask with a device code (RFC 8628).
    pub device: bool,
    /// The scope that it registered; informative only.
    pub scope: ScopeSet,
    /// `native` or `web`, when it said so.
    pub application_type: Option<String>,
    /// When it first registered.
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

impl Client {
    /// A client that registers, under the id that its metadata gives it. `secret` has the hash of the secret that it was
    /// given and the method that it asked for.
    #[must_use]
    pub fn registered(metadata: &ClientMetadata, secret: Option<(Sha256, SecretMethod)>, now: Timestamp) -> Self {
        Self {
            id: if secret.is_some() { ClientId::random() } else { derived_id(metadata) },
            origin: ClientOrigin::Registered,
            name: metadata.client_name.clone(),
            redirect_uris: portless(metadata),
            authentication: secret.map_or(Authentication::None, |(hash, method)| Authentication::Secret(hash, method)),
            refresh_token: metadata.refresh_token,
            device: metadata.device,
            scope: metadata.scope.clone(),
            application_type: metadata.application_type.clone(),
            created_at: now,
        }
    }

    /// Whether codes may be sent to this URI (RFC 8252 7.3: on loopback the port may vary).
    #[must_use]
    pub fn allows(&self, uri: &RedirectUri) -> bool {
        self.redirect_uris.iter().any(|registered| uri.is_registered_as(registered))
    }
}

fn portless(metadata: &ClientMetadata) -> Vec<String> {
    let mut uris: Vec<_> = metadata.redirect_uris.iter().map(RedirectUri::registered_form).collect();
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
        serde_json::json!(portless(metadata)),
        serde_json::json!(metadata.refresh_token),
        serde_json::json!(metadata.scope),
        serde_json::json!(metadata.application_type),
    ];
    // only where it says something: ids of earlier versions stay as they are
    canonical.extend(metadata.device.then(|| serde_json::json!(DEVICE_CODE)));
    let canonical = serde_json::Value::from(canonical);
    let hash = Sha256::of(canonical.to_string().as_bytes());
    let mut bits = [0; 16];
    bits.copy_from_slice(hash.as_bytes().split_at(16).0);
    ClientId::from_bits(&bits)
}

#[cfg(test)]
mod tests {
    use super::Authentication;
    use crate::oauth::client_metadata::AuthMethod;
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
}
