//! Tenants, app registrations and users.

use std::collections::{BTreeMap, BTreeSet};

use super::{APP, APP_ID_URI, APP_SECRET, CONSUMERS, CONTOSO, FABRIKAM};

/// A tenant.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) id: String,
    /// Verified domains: each stands for the id in the paths of the endpoints.
    pub(crate) domains: Vec<String>,
}

/// Where a redirect URI is registered: the platform decides how its client must prove itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    Web,
    SinglePage,
    Public,
}

/// An identity of another issuer that may act as the app.
#[derive(Debug, Clone)]
pub(crate) struct FederatedCredential {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: String,
}

/// An app registration.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) client_id: String,
    pub(crate) tenant: String,
    pub(crate) multi_tenant: bool,
    pub(crate) redirect_uris: Vec<(Platform, String)>,
    pub(crate) secrets: Vec<String>,
    /// Thumbprint (base64url SHA-256 of the DER form) and RSA modulus and exponent of each uploaded certificate.
    pub(crate) certificates: BTreeMap<String, (Vec<u8>, Vec<u8>)>,
    pub(crate) federated: Vec<FederatedCredential>,
    pub(crate) identifier_uris: Vec<String>,
    /// The short names of the scopes that it exposes.
    pub(crate) exposes: Vec<String>,
    pub(crate) roles_of_machines: Vec<String>,
    /// `requestedAccessTokenVersion`: null and 1 are version 1.
    pub(crate) token_version: u8,
    /// Whether its tokens carry groups (`groupMembershipClaims`).
    pub(crate) groups: bool,
    /// Whether the optional claim `idtyp` is configured.
    pub(crate) idtyp: bool,
    /// "Assignment required": only these users may sign in.
    pub(crate) assigned: Option<BTreeSet<String>>,
    /// Qualified scopes that an administrator consented to.
    pub(crate) admin_consent: BTreeSet<String>,
}

/// A user.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) oid: String,
    pub(crate) tenant: String,
    pub(crate) upn: String,
    pub(crate) name: String,
    pub(crate) email: Option<String>,
    /// Whether the owner of the domain of the address is the tenant (`xms_edov`).
    pub(crate) email_verified: bool,
    pub(crate) groups: Vec<String>,
    pub(crate) roles: Vec<String>,
}

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) apps: Vec<App>,
    pub(crate) users: Vec<User>,
}

impl Directory {
    /// One app of Contoso with one API, a few users there, one at Fabrikam, and one with a personal account.
    pub(crate) fn contoso(redirect_uri: &str) -> Self {
        let tenant = |id: &str, domain: &str| Tenant { id: id.to_owned(), domains: vec![domain.to_owned()] };
        Self {
            tenants: vec![
                tenant(CONTOSO, "contoso.onmicrosoft.com"),
                tenant(FABRIKAM, "fabrikam.onmicrosoft.com"),
                tenant(CONSUMERS, "live.com"),
            ],
            apps: vec![App {
                client_id: APP.to_owned(),
                tenant: CONTOSO.to_owned(),
                multi_tenant: false,
                redirect_uris: vec![(Platform::Web, redirect_uri.to_owned())],
                secrets: vec![APP_SECRET.to_owned()],
                certificates: BTreeMap::new(),
                federated: Vec::new(),
                identifier_uris: vec![APP_ID_URI.to_owned()],
                exposes: vec!["mcp.access".to_owned(), "mcp.read".to_owned()],
                roles_of_machines: vec!["Mcp.All".to_owned()],
                token_version: 2,
                groups: true,
                idtyp: true,
                assigned: None,
                admin_consent: BTreeSet::new(),
            }],
            users: vec![
                User::new("alice", CONTOSO, "contoso.com"),
                User::new("bob", CONTOSO, "contoso.com"),
                User::new("fay", FABRIKAM, "fabrikam.com"),
                User::new("pat", CONSUMERS, "outlook.com"),
            ],
        }
    }
}

impl User {
    /// A user whose object id follows from the name.
    pub(crate) fn new(name: &str, tenant: &str, domain: &str) -> Self {
        Self {
            oid: guid(&[name.as_bytes(), tenant.as_bytes()]),
            tenant: tenant.to_owned(),
            upn: format!("{name}@{domain}"),
            name: name.to_owned(),
            email: Some(format!("{name}@{domain}")),
            email_verified: false,
            groups: vec![guid(&[b"group", name.as_bytes()])],
            roles: Vec::new(),
        }
    }
}

/// A GUID that follows from its parts.
pub(crate) fn guid(parts: &[&[u8]]) -> String {
    let hash = portcullis::secret::Sha256::of(&parts.join(&b"|"[..]));
    let hex = data_encoding::HEXLOWER.encode(&hash.as_bytes()[..16]);
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
