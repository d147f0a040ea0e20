//! What settings are called in the consoles of providers, letter by letter.

use crate::config::OidcFlavour;

/// Which console an operator has in front of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    Keycloak,
    Entra,
    Other,
}

/// A setting of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    RedirectUris,
    ClientId,
    ClientEnabled,
    Secret,
    Authenticator,
    ClientAuthentication,
    Certificates,
    FederatedCredentials,
    StandardFlow,
    Pkce,
    Scopes,
    PushedRequests,
    RequestObject,
    Dpop,
    Policies,
    Realm,
    Tenant,
    RequireSsl,
    FrontendUrl,
    SignatureAlgorithm,
    Resource,
}

impl Product {
    pub(super) const fn of(flavour: &OidcFlavour) -> Self {
        match flavour {
            OidcFlavour::Keycloak => Self::Keycloak,
            OidcFlavour::Entra(_) => Self::Entra,
            OidcFlavour::Generic => Self::Other,
        }
    }

    /// The name of a setting there; `None` where the product has no such setting, or is not known.
    pub(super) fn name(self, spot: Spot, client_id: &str) -> Option<String> {
        match self {
            Self::Keycloak => keycloak(spot, client_id),
            Self::Entra => entra(spot).map(|name| format!("Entra admin center: {name}")),
            Self::Other => other(spot, client_id),
        }
    }
}

/// As Keycloak 26.7 has them.
fn keycloak(spot: Spot, client_id: &str) -> Option<String> {
    let of_client = match spot {
        Spot::RedirectUris => "Settings > Access settings > Valid redirect URIs",
        Spot::ClientId => "Settings > General settings > Client ID",
        Spot::ClientEnabled => "the switch Enabled at the top",
        Spot::Secret => "Credentials > Client Secret",
        Spot::Authenticator => "Credentials > Client Authenticator",
        Spot::ClientAuthentication => "Settings > Capability config > Client authentication",
        Spot::StandardFlow => "Settings > Capability config > Authentication flow > Standard flow",
        Spot::Pkce => "Settings > Capability config > PKCE Method",
        Spot::Scopes => "Client scopes > Add client scope",
        Spot::PushedRequests => "Advanced > Advanced settings > Pushed authorization request required",
        Spot::RequestObject => "Advanced > Fine grain OpenID Connect configuration > Request object required",
        Spot::Dpop => "Settings > Capability config > Require DPoP bound tokens",
        Spot::SignatureAlgorithm => "Advanced > Fine grain OpenID Connect configuration > ID token signature algorithm",
        Spot::Policies => return Some("Keycloak: Realm settings > Client policies".to_owned()),
        Spot::Realm => return Some("Keycloak: Realm settings > the switch Enabled at the top".to_owned()),
        Spot::RequireSsl => return Some("Keycloak: Realm settings > General > Require SSL".to_owned()),
        Spot::FrontendUrl => {
            return Some("Keycloak: Realm settings > General > Frontend URL, and the option --hostname".to_owned());
        }
        Spot::Tenant | Spot::Certificates | Spot::FederatedCredentials | Spot::Resource => return None,
    };
    Some(format!("Keycloak: Clients > {client_id} > {of_client}"))
}

fn entra(spot: Spot) -> Option<&'static str> {
    Some(match spot {
        Spot::RedirectUris => "App registrations > Authentication > Platform configurations > Web > Redirect URIs",
        Spot::ClientId => "App registrations > Overview > Application (client) ID",
        Spot::ClientEnabled => "Enterprise applications > Properties > Enabled for users to sign-in?",
        Spot::Secret => "App registrations > Certificates & secrets > Client secrets > Value",
        Spot::Authenticator | Spot::ClientAuthentication => "App registrations > Certificates & secrets",
        Spot::Certificates => "App registrations > Certificates & secrets > Certificates",
        Spot::FederatedCredentials => "App registrations > Certificates & secrets > Federated credentials",
        Spot::Scopes => "App registrations > Expose an API > Scopes defined by this API",
        Spot::Resource => "App registrations > Expose an API > Application ID URI",
        Spot::Tenant => "Overview > Tenant ID",
        Spot::StandardFlow
        | Spot::Pkce
        | Spot::PushedRequests
        | Spot::RequestObject
        | Spot::Dpop
        | Spot::Policies
        | Spot::Realm
        | Spot::RequireSsl
        | Spot::FrontendUrl
        | Spot::SignatureAlgorithm => return None,
    })
}

fn other(spot: Spot, client_id: &str) -> Option<String> {
    let setting = match spot {
        Spot::RedirectUris => "redirect URIs",
        Spot::ClientId => "client id",
        Spot::Secret => "client secret",
        Spot::Authenticator | Spot::ClientAuthentication => "authentication method at the token endpoint",
        Spot::StandardFlow => "grant types (authorization_code)",
        Spot::Pkce => "PKCE (S256)",
        Spot::Scopes => "scopes",
        Spot::PushedRequests => "pushed authorization requests",
        Spot::Dpop => "DPoP",
        _ => return None,
    };
    Some(format!("the client {client_id:?} at the provider: {setting}"))
}
