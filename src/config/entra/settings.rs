//! The settings of Entra ID.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::{ClientCertificate, TenantId};
use crate::secret::SecretText;

/// What Entra ID needs besides the settings of every OpenID Connect provider.
#[derive(Debug, Clone)]
pub struct EntraSettings {
    /// The tenant whose endpoints are used.
    pub tenant: EntraTenant,
    /// The root of its endpoints, without a slash at its end. A path names a policy of Azure AD B2C.
    pub authority: String,
    /// The issuer that the metadata names, where it does not follow from authority and tenant.
    pub issuer: Option<String>,
    /// The tenants whose users may sign in, where the endpoints serve many.
    pub allowed_tenants: Vec<TenantId>,
    /// The identifier of our own API, which its scopes are qualified with.
    pub app_id_uri: Option<String>,
    /// Whether `resource` is sent, with [`Self::app_id_uri`] as its value.
    pub send_resource: bool,
    /// What the user is asked at each sign-in.
    pub prompt: Option<EntraPrompt>,
    /// How we prove who we are without a client secret.
    pub credential: Option<EntraCredential>,
    /// What happens to a user in more groups than a token names.
    pub groups_overage: GroupsOverage,
    /// The root of Microsoft Graph in this cloud, without a slash at its end.
    pub graph_url: String,
}

/// Which tenant, or which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntraTenant {
    /// One, by its id.
    Id(TenantId),
    /// One, by a domain that it has verified.
    Domain(String),
    /// Work and school accounts of all tenants.
    Organizations,
    /// The same, and personal accounts.
    Common,
}

impl EntraTenant {
    /// Its segment in the paths of the endpoints.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id(id) => id.as_str(),
            Self::Domain(domain) => domain,
            Self::Organizations => "organizations",
            Self::Common => "common",
        }
    }

    /// Whether the endpoints serve many tenants, so that their issuer is a template.
    #[must_use]
    pub const fn is_many(&self) -> bool {
        matches!(self, Self::Organizations | Self::Common)
    }
}

/// What the user is asked at each sign-in (OpenID Connect Core 3.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntraPrompt {
    /// Which account to use. Without it a session of another account signs in silently.
    SelectAccount,
    /// The password.
    Login,
    /// To consent once more.
    Consent,
}

impl EntraPrompt {
    /// The value of the parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SelectAccount => "select_account",
            Self::Login => "login",
            Self::Consent => "consent",
        }
    }
}

/// What happens to a user in more groups than a token names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupsOverage {
    /// The sign-in is denied: without the groups no rule about them can hold.
    #[default]
    Deny,
    /// Microsoft Graph is asked, on behalf of the user.
    Graph,
}

/// A credential that is not a client secret.
#[derive(Debug, Clone)]
pub enum EntraCredential {
    /// An assertion signed with the key of a certificate that the app registration lists.
    Certificate(ClientCertificate),
    /// A token of a workload identity, which another program renews in this file.
    TokenFile(PathBuf),
    /// A token of a managed identity.
    ManagedIdentity(ManagedIdentity),
}

/// A user-assigned managed identity; only those can be federated credentials.
#[derive(Debug, Clone)]
pub struct ManagedIdentity {
    /// Its client id.
    pub client_id: String,
    /// The audience of the tokens to ask for.
    pub audience: String,
    /// What gives them.
    pub endpoint: ManagedIdentityEndpoint,
}

/// What gives tokens of a managed identity.
#[derive(Debug, Clone)]
pub enum ManagedIdentityEndpoint {
    /// The instance metadata service of a virtual machine.
    Machine(String),
    /// The endpoint of App Service, Functions and Container Apps.
    AppService {
        /// Its URL.
        url: String,
        /// What a request must carry, so that no forged one is answered.
        header: SecretText,
    },
}
