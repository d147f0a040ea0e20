//! Discovery and key documents of both versions.

use serde_json::{Value, json};

use super::state::State;

/// The endpoints of a request: which tenant or tenants, and which policy of Azure AD B2C.
#[derive(Debug, Clone)]
pub(crate) struct Realm {
    /// The segment as it was written.
    pub(super) segment: String,
    /// The tenant; `None` for `common` and `organizations`.
    pub(super) tenant: Option<String>,
    pub(super) policy: Option<String>,
}

impl Realm {
    /// Whether a tenant's users may sign in here: all of one tenant at its own endpoints, all work and school accounts at
    /// `organizations`, those and personal ones at `common`.
    pub(super) fn admits(&self, tenant: &str) -> bool {
        match &self.tenant {
            Some(own) => own == tenant,
            None => self.segment == "common" || tenant != super::CONSUMERS,
        }
    }

    /// The root of its endpoints.
    pub(super) fn root(&self, base: &str) -> String {
        match &self.policy {
            Some(policy) => format!("{base}/{}/{policy}", self.segment),
            None => format!("{base}/{}", self.segment),
        }
    }
}

impl State {
    /// The issuer template of a version. Version 1 names another host, and ends with a slash. Azure AD B2C ends version 2 with a
    /// slash.
    pub(super) fn issuer_template(&self, version: u8, b2c: bool) -> String {
        match (&self.issuer_template, version) {
            (_, 1) => "https://sts.windows.net/{tenantid}/".to_owned(),
            (Some(template), _) => template.clone(),
            (None, _) if b2c => format!("{}/{{tenantid}}/v2.0/", self.base),
            (None, _) => format!("{}/{{tenantid}}/v2.0", self.base),
        }
    }

    /// The issuer of a tenant's tokens.
    pub(super) fn issuer(&self, version: u8, tenant: &str, b2c: bool) -> String {
        self.issuer_template(version, b2c).replace("{tenantid}", tenant)
    }

    /// The discovery document. It has neither `code_challenge_methods_supported` nor endpoints for registration, revocation and
    /// introspection, nor `grant_types_supported`, nor a word about `iss` in answers; and it lists no scope of any API. Endpoints
    /// for many tenants name an issuer with the literal placeholder `{tenantid}`, and no region.
    pub(super) fn discovery(&self, realm: &Realm, version: u8) -> Value {
        let root = realm.root(&self.base);
        let oauth = if version == 1 { "oauth2" } else { "oauth2/v2.0" };
        let keys = if version == 1 { "discovery/keys" } else { "discovery/v2.0/keys" };
        let b2c = realm.policy.is_some();
        let issuer = match &realm.tenant {
            Some(tenant) => self.issuer(version, tenant, b2c),
            None => self.issuer_template(version, false),
        };
        let mut document = json!({
            "token_endpoint": format!("{root}/{oauth}/token"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": format!("{root}/{keys}"),
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": issuer,
            "request_uri_parameter_supported": false,
            "userinfo_endpoint": format!("{}/oidc/userinfo", self.base),
            "authorization_endpoint": format!("{root}/{oauth}/authorize"),
            "device_authorization_endpoint": format!("{root}/{oauth}/devicecode"),
            "http_logout_supported": true,
            "frontchannel_logout_supported": true,
            "end_session_endpoint": format!("{root}/{oauth}/logout"),
            "claims_supported": ["sub", "iss", "cloud_instance_name", "aud", "exp", "iat", "auth_time", "acr", "nonce",
                "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"],
            "kerberos_endpoint": format!("{root}/kerberos"),
            "tenant_region_scope": realm.tenant.as_ref().map(|_| "WW"),
            "cloud_instance_name": "microsoftonline.com",
            "cloud_graph_host_name": "graph.windows.net",
            "msgraph_host": "graph.microsoft.com",
            "rbac_url": "https://pas.windows.net",
        });
        (self.edit_discovery)(&mut document);
        document
    }

    /// The keys. Their `issuer` is that of their version; Azure AD B2C publishes keys without that member.
    pub(super) fn key_document(&self, realm: &Realm, version: u8) -> Value {
        let mut document = super::keys::SigningKeys::document(&self.issuer_template(version, false));
        if realm.policy.is_some() {
            for key in document["keys"].as_array_mut().expect("a list") {
                key.as_object_mut().expect("a key").remove("issuer");
            }
        }
        (self.edit_keys)(&mut document);
        document
    }
}
