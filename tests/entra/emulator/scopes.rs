//! What a scope means, and what becomes of `resource`.

use std::collections::{BTreeMap, BTreeSet};

use super::GRAPH;
use super::error::EntraError;
use super::state::{ResourceEra, State};

/// The scopes of OpenID Connect: they are bare, belong to no API, and stand in no `scp`.
const OIDC: [&str; 4] = ["openid", "profile", "email", "offline_access"];
/// Some scopes of Microsoft Graph.
const OF_GRAPH: [&str; 5] =
    ["User.Read", "User.ReadBasic.All", "GroupMember.Read.All", "Directory.Read.All", "Mail.Read"];

/// Resolved scopes.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolved {
    pub(super) oidc: BTreeSet<String>,
    /// Client id of the API, and the short names; `.default` for all that was consented to before.
    pub(super) apis: BTreeMap<String, BTreeSet<String>>,
    /// The scopes of APIs as they were written.
    pub(super) written: BTreeSet<String>,
}

impl State {
    /// Resolves scopes: `{Application ID URI}/{name}` or `{client id}/{name}` is a scope of that API; a bare name that is none of
    /// OpenID Connect's is looked for in Microsoft Graph, whatever API was meant.
    pub(super) fn resolve(&self, scope: &str) -> Result<Resolved, EntraError> {
        let mut resolved = Resolved::default();
        for value in scope.split(' ').filter(|value| !value.is_empty()) {
            if OIDC.contains(&value) {
                resolved.oidc.insert(value.to_owned());
                continue;
            }
            let (resource, name) = value.rsplit_once('/').unwrap_or(("https://graph.microsoft.com", value));
            let id = self.api(resource).ok_or_else(|| {
                let text = format!("The resource principal named {resource} was not found in the tenant.");
                EntraError::new("invalid_resource", 500_011, text)
            })?;
            if !self.exposes(&id, name) {
                let text =
                    format!("The application asked for scope '{name}' that doesn't exist on the resource '{id}'.");
                return Err(EntraError::new("invalid_client", 650_053, text));
            }
            resolved.written.insert(value.to_owned());
            resolved.apis.entry(id).or_default().insert(name.to_owned());
        }
        // `.default` means all, so it cannot stand beside one
        if resolved.apis.values().any(|names| names.contains(".default") && names.len() > 1) {
            let text = "The provided value for the input parameter 'scope' is not valid: .default cannot be combined.";
            return Err(EntraError::new("invalid_scope", 70011, text));
        }
        // a refresh token for nothing is refused
        if resolved.apis.is_empty() && resolved.oidc.len() == 1 && resolved.oidc.contains("offline_access") {
            let text = "The scope offline_access must include either openid scope or a resource scope.";
            return Err(EntraError::new("invalid_scope", 70011, text));
        }
        Ok(resolved)
    }

    /// The client id of the API that a resource names: an Application ID URI, or the client id.
    fn api(&self, resource: &str) -> Option<String> {
        let graph = format!("{}/graph", self.base);
        if resource == "https://graph.microsoft.com" || resource == GRAPH || resource == graph {
            return Some(GRAPH.to_owned());
        }
        let named =
            |app: &&super::App| app.client_id == resource || app.identifier_uris.iter().any(|uri| uri == resource);
        self.directory.apps.iter().find(named).map(|app| app.client_id.clone())
    }

    fn exposes(&self, id: &str, name: &str) -> bool {
        name == ".default"
            || if id == GRAPH {
                OF_GRAPH.contains(&name)
            } else {
                self.app(id).is_some_and(|app| app.exposes.iter().any(|exposed| exposed == name))
            }
    }

    /// The one API of a token request. Scopes of a second one are refused here, though not at the authorization endpoint; with
    /// none the token is for Microsoft Graph.
    pub(super) fn one_api(resolved: &Resolved) -> Result<(String, BTreeSet<String>), EntraError> {
        if resolved.apis.len() > 1 {
            let text =
                "Provided value for the input parameter scope is not valid because it contains more than one resource.";
            return Err(EntraError::new("invalid_request", 28000, text));
        }
        Ok(match resolved.apis.iter().next() {
            Some((id, names)) => (id.clone(), names.clone()),
            None => (GRAPH.to_owned(), BTreeSet::from(["User.Read".to_owned()])),
        })
    }

    /// What becomes of `resource`, depending on the era.
    pub(super) fn check_resource(&self, resource: Option<&str>, resolved: &Resolved) -> Result<(), EntraError> {
        let Some(resource) = resource else { return Ok(()) };
        let owners = || resolved.apis.keys().filter_map(|id| self.app(id));
        match self.era {
            ResourceEra::Ignore => Ok(()),
            ResourceEra::RejectAll => {
                let text = "The 'resource' request parameter is not supported.";
                Err(EntraError::new("invalid_request", 901_002, text))
            }
            // character for character, without a slash at the end; and a request for no API matches none
            ResourceEra::Match if owners().any(|app| app.identifier_uris.iter().any(|uri| uri == resource)) => Ok(()),
            ResourceEra::Match => {
                let text = "The resource parameter provided in the request doesn't match with the requested scopes.";
                Err(EntraError::new("invalid_target", 9_010_010, text))
            }
        }
    }
}
