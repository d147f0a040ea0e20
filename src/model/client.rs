//! A client: an application that acts for users.

use serde::{Deserialize, Serialize};

use super::ids::ClientId;
use crate::clock::Timestamp;
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
    /// It registered itself (RFC 7591), so its name is unverified.
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
    pub auth_method: AuthMethod,
    /// The SHA-256 of its secret, when it has one.
    pub secret_hash: Option<Sha256>,
    /// Whether it registered for refresh tokens.
    pub refresh_token: bool,
    /// The scope that it registered; informative only.
    pub scope: ScopeSet,
    /// `native` or `web`, when it said so.
    pub application_type: Option<String>,
    /// When it first registered.
    pub created_at: Timestamp,
}

impl Client {
    /// A client that registers, under the id that its metadata gives it.
    #[must_use]
    pub fn registered(metadata: &ClientMetadata, secret_hash: Option<Sha256>, now: Timestamp) -> Self {
        Self {
            id: if secret_hash.is_some() { ClientId::random() } else { derived_id(metadata) },
            origin: ClientOrigin::Registered,
            name: metadata.client_name.clone(),
            redirect_uris: portless(metadata),
            auth_method: metadata.token_endpoint_auth_method,
            secret_hash,
            refresh_token: metadata.refresh_token,
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

/// Public clients with the same metadata get the same id, on every replica and after the database was lost. A client that
/// registers at each start (several do) therefore costs one row, and an id never changes its meaning.
fn derived_id(metadata: &ClientMetadata) -> ClientId {
    let canonical = serde_json::json!([
        "portcullis public client 1",
        metadata.client_name,
        portless(metadata),
        metadata.refresh_token,
        metadata.scope,
        metadata.application_type,
    ]);
    let hash = Sha256::of(canonical.to_string().as_bytes());
    let mut bits = [0; 16];
    bits.copy_from_slice(hash.as_bytes().split_at(16).0);
    ClientId::from_bits(&bits)
}
