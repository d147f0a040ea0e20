//! Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document, as MCP of 2026-07-28 asks for them): what a
//! client publishes about itself at the URL that is its id.
//!
//! Defends against: one document that speaks for another client (its `client_id` is the URL that it was fetched from), and
//! secrets that everybody can read.

use super::client_id_url::ClientIdUrl;
use super::client_keys::ClientKeys;
use super::client_metadata::{allowed_redirects, is_application_type, registers_refresh_token};
use super::client_name::clean_client_name;
use super::json_members::Members;
use super::redirect_uri::{RedirectPolicy, RedirectUri};
use super::scope::{ScopeSet, named_values};

/// The largest document that is read, in bytes (draft 6, which recommends this).
pub const MAX_DOCUMENT: usize = 5 * 1024;

/// A document that passed every rule.
#[derive(Debug, Clone)]
pub struct ClientDocument {
    /// The client's name, cleaned; its own claim.
    pub client_name: String,
    /// Those redirect URIs that are allowed; at least one.
    pub redirect_uris: Vec<RedirectUri>,
    /// How it can authenticate.
    pub methods: DocumentMethods,
    /// Its public keys, or where they are, if they can be used.
    pub keys: Option<ClientKeys>,
    /// Whether it names the grant type `refresh_token`, or no grant types at all.
    pub refresh_token: bool,
    /// Whether it wants bound access tokens alone (RFC 9449 5.2).
    pub dpop_bound: bool,
    /// The scopes that it names; informative.
    pub scope: ScopeSet,
    /// `native` or `web`, when it says so.
    pub application_type: Option<String>,
}

/// Which of the methods that need no shared secret a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentMethods {
    /// `none`.
    pub none: bool,
    /// `private_key_jwt` (RFC 7523).
    pub private_key_jwt: bool,
}

/// Why a document makes no client. The messages are for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentRefusal {
    /// It is no JSON object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// It speaks for another client.
    #[error("its client_id is missing, or is not the URL that it was fetched from")]
    OtherClient,
    /// MCP requires a name.
    #[error("its client_name is missing or empty")]
    NoName,
    /// None of its redirect URIs is allowed.
    #[error("{0}")]
    RedirectUris(String),
    /// The document is public, and a secret in it would be too (draft 3.1).
    #[error("it has a client secret, or a method that needs one")]
    Secret,
    /// It offers no method that is known here, or only keys without saying which.
    #[error("it offers neither the method none, nor private_key_jwt with keys")]
    NoMethod,
}

impl ClientDocument {
    /// Reads the document that was fetched from `url`. Unknown members are ignored, and so are optional ones of the wrong type.
    ///
    /// # Errors
    /// See [`DocumentRefusal`].
    pub fn read(url: &ClientIdUrl, json: &[u8], policy: &RedirectPolicy) -> Result<Self, DocumentRefusal> {
        let members = Members::of(json).or(Err(DocumentRefusal::NotAnObject))?;
        if members.text("client_id").as_deref() != Some(url.as_str()) {
            return Err(DocumentRefusal::OtherClient);
        }
        if members.raw("client_secret").is_some() || members.raw("client_secret_expires_at").is_some() {
            return Err(DocumentRefusal::Secret);
        }
        let client_name = members.text("client_name").as_deref().and_then(clean_client_name);
        let redirect_uris = allowed_redirects(&members.list("redirect_uris"), policy);
        Ok(Self {
            client_name: client_name.ok_or(DocumentRefusal::NoName)?,
            redirect_uris: redirect_uris
                .map_err(|error| DocumentRefusal::RedirectUris(error.error_description.into_owned()))?,
            methods: methods(&members)?,
            keys: keys(&members),
            refresh_token: registers_refresh_token(&members.list("grant_types")),
            dpop_bound: members.get("dpop_bound_access_tokens").unwrap_or_default(),
            scope: named_values(&members.text("scope").unwrap_or_default()),
            application_type: members.text("application_type").filter(|kind| is_application_type(kind)),
        })
    }
}

/// The keys that a document offers; those inside of it, which need no further call, before those at its `jwks_uri`.
fn keys(members: &Members<'_>) -> Option<ClientKeys> {
    let inside = ClientKeys::read(members.raw("jwks"), None).ok().flatten();
    inside.or_else(|| ClientKeys::read(None, members.text("jwks_uri").as_deref()).ok().flatten())
}

/// The methods of a document. The plural member, which clients publish that support several, counts before the singular; a
/// document that has neither is that of a public client.
fn methods(members: &Members<'_>) -> Result<DocumentMethods, DocumentRefusal> {
    let mut listed: Vec<String> = members.list("token_endpoint_auth_methods_supported");
    let singular = members.text("token_endpoint_auth_method");
    let mut all = listed.iter().chain(&singular);
    if all.any(|method| method.starts_with("client_secret_")) {
        return Err(DocumentRefusal::Secret);
    }
    if listed.is_empty() {
        listed.push(singular.unwrap_or_else(|| "none".to_owned()));
    }
    let offers = |wanted: &str| listed.iter().any(|method| method == wanted);
    Ok(DocumentMethods { none: offers("none"), private_key_jwt: offers("private_key_jwt") })
}

#[cfg(test)]
mod tests;
