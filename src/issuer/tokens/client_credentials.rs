//! `grant_type=client_credentials` (RFC 6749 4.4; MCP extension `io.modelcontextprotocol/oauth-client-credentials`): a client
//! acts for itself.
//!
//! Defends against: access that no operator gave. Only clients that the configuration calls machines may ask, within the
//! upstreams and scopes that it names; clients that registered or that are known by their document never may.

use super::machine_grant::{MachineGrants, MachineRequest};
use super::refusal::TokenRefusal;
use super::requester::Requester;
use crate::issuer::machine_bounds::MachineBounds;
use crate::issuer::resources::Resources;
use crate::model::client::{Authentication, ClientOrigin};
use crate::model::grant::Basis;
use crate::model::ids::{IdentityId, Subject};
use crate::model::user::User;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::oauth::scope::named_values;

/// Gives tokens to clients that act for themselves.
pub(in crate::issuer) struct ClientCredentials {
    pub(in crate::issuer) bounds: MachineBounds,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) grants: MachineGrants,
}

impl ClientCredentials {
    /// Answers an authenticated client.
    pub(super) async fn answer(&self, by: &Requester<'_>, parameters: &Parameters) -> Result<Vec<u8>, TokenRefusal> {
        let client = by.client;
        let may = client.origin == ClientOrigin::Configured && client.authentication != Authentication::None;
        let bounds = self.bounds.of_client(&client.id).filter(|_| may);
        let bounds = bounds
            .ok_or_else(|| OAuthError::new(ErrorCode::UnauthorizedClient, "this client may not act for itself"))?;
        let upstream = self.resources.requested_within(parameters, bounds)?;
        let asked = named_values(parameters.one("scope")?.unwrap_or_default());
        let scopes = &upstream.settings.scopes;
        let allowed = bounds.scopes_of(scopes);
        // a scope that the server does not know means nothing; one that it knows would be missed by calls, and asked for again
        let beyond = scopes.hierarchy.missing(&asked.intersection(&scopes.known()), &allowed);
        if !beyond.is_empty() {
            let words = format!("this client may not have the scope {beyond}: machine_scopes does not name it");
            return Err(OAuthError::new(ErrorCode::InvalidScope, words).into());
        }
        let given = scopes.hierarchy.covered(&asked, &allowed);
        let identity = IdentityId::from(IdentityId::CLIENT);
        let request = MachineRequest {
            basis: Basis::ClientCredentials,
            subject: Subject::new(&identity, client.id.as_str()),
            identity,
            issuer: None,
            key: self.grants.prove(by, upstream.audience()).await?,
            client: &client.id,
            resource: upstream.audience(),
            scope: if given.is_empty() { allowed } else { given },
            named: (!asked.is_empty()).then_some(asked),
            user: User::default(),
        };
        self.grants.answer(request, by.arrival).await
    }
}
