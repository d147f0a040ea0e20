//! `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer` with an identity assertion (ID-JAG; MCP extension
//! `io.modelcontextprotocol/enterprise-managed-authorization`): the user's enterprise has decided, so there is no consent page.
//!
//! Defends against: replay (a `jti` is accepted once in all processes), an assertion that was made for another client or
//! resource (confused deputy), and scopes that the identity provider did not allow. Without a trusted issuer in the
//! configuration the grant type does not exist, and assertions are not read.

use std::time::Duration;

use super::machine_grant::{MachineGrants, MachineRequest};
use super::refusal::TokenRefusal;
use super::requester::Requester;
use crate::clock::Clock;
use crate::config::{AssertionIssuer, Upstream};
use crate::identity::{Assertion, AssertionIssuers, Identities, Unproven};
use crate::issuer::resources::Resources;
use crate::model::client::{Authentication, Client};
use crate::model::grant::Basis;
use crate::model::ids::{IdentityId, Subject};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::oauth::scope::{ScopeSet, named_values};
use crate::policy::{self, Person};
use crate::secret::Sha256;
use crate::storage::Store;

/// How long a `jti` is remembered after its assertion has expired: the clocks of our processes differ.
const SKEW: Duration = Duration::from_mins(5);

/// Exchanges assertions for access tokens.
pub(in crate::issuer) struct JwtBearer {
    pub(in crate::issuer) issuers: AssertionIssuers,
    pub(in crate::issuer) identities: Identities,
    /// Our own issuer: the audience of assertions.
    pub(in crate::issuer) issuer: std::sync::Arc<str>,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) grants: MachineGrants,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
}

impl JwtBearer {
    /// Answers a client that was authenticated. The assertion is used up only when every rule holds.
    pub(super) async fn answer(&self, by: &Requester<'_>, parameters: &Parameters) -> Result<Vec<u8>, TokenRefusal> {
        let client = by.client;
        if client.authentication == Authentication::None {
            let words = "this grant needs a client that authenticates itself";
            return Err(OAuthError::new(ErrorCode::UnauthorizedClient, words).into());
        }
        let assertion = parameters.one("assertion")?;
        let assertion = assertion.ok_or_else(|| TokenRefusal::invalid_request("assertion is missing"))?;
        let (issuer, assertion) = self.issuers.verify(assertion, &self.issuer).await.map_err(refused)?;
        let upstream = self.upstream(client, issuer, &assertion)?;
        self.resources.check(parameters, upstream.audience())?;
        let asked = named_values(parameters.one("scope")?.unwrap_or_default());
        let scope = scope(issuer, &assertion, upstream, &asked)?;
        let identity = IdentityId::from(issuer.id.as_str());
        let scope = self.admitted(&identity, &assertion, upstream, &scope)?;
        let key = self.grants.prove(by, upstream.audience()).await?;
        self.use_up(issuer, &assertion).await?;
        let request = MachineRequest {
            basis: Basis::Assertion,
            subject: Subject::new(&identity, &assertion.key),
            identity,
            issuer: Some(&issuer.issuer),
            key,
            client: &client.id,
            resource: upstream.audience(),
            scope,
            named: (!asked.is_empty()).then_some(asked),
            user: assertion.user,
        };
        self.grants.answer(request, by.arrival).await
    }

    /// The scopes that the user may have. The rules of the provider with the same id hold too: its users are the same. An assertion
    /// names no groups.
    fn admitted(
        &self,
        identity: &IdentityId,
        assertion: &Assertion,
        upstream: &Upstream,
        scope: &ScopeSet,
    ) -> Result<ScopeSet, TokenRefusal> {
        let person = Person { identity, key: &assertion.key, user: &assertion.user };
        let provider = self.identities.get(identity.as_str());
        let admitted = provider.map_or(Ok(()), |provider| policy::admit(&person, provider.admission(), "identity"));
        let allowed = admitted.and_then(|()| policy::admit_to(&person, upstream, scope));
        allowed.map_err(|not_admitted| {
            let words = format!("the user may not use this server ({})", not_admitted.rule);
            OAuthError::new(ErrorCode::InvalidGrant, words).into()
        })
    }

    /// The upstream that the assertion opens for this client.
    fn upstream(
        &self,
        client: &Client,
        issuer: &AssertionIssuer,
        assertion: &Assertion,
    ) -> Result<&Upstream, TokenRefusal> {
        if assertion.client_id != client.id.as_str() {
            return Err(TokenRefusal::invalid_grant("the assertion is for another client"));
        }
        if !issuer.clients.contains(&assertion.client_id) {
            return Err(TokenRefusal::invalid_grant("this client may not use assertions of this issuer"));
        }
        let upstream =
            self.resources.of_uri(&assertion.resource).filter(|upstream| issuer.bounds.allow(&upstream.settings.id));
        upstream.ok_or_else(|| TokenRefusal::invalid_grant("the assertion is for no server here that it may open"))
    }

    /// Replay: one conditional insert decides between all processes.
    async fn use_up(&self, issuer: &AssertionIssuer, assertion: &Assertion) -> Result<(), TokenRefusal> {
        let name = serde_json::json!(["id-jag", issuer.issuer, assertion.jti]).to_string();
        let remembered = assertion.refused_from.max(self.clock.now()) + SKEW;
        if self.store.use_once(&Sha256::of(name.as_bytes()), remembered).await? {
            Ok(())
        } else {
            Err(TokenRefusal::invalid_grant("the assertion was used before"))
        }
    }
}

/// What the issuer, the configuration and the upstream allow together, narrowed to what is asked. If none of the requested
/// scopes is allowed, all allowed ones are granted; an empty set is never widened. (A client that asks for too little is told so
/// at its first call, and may ask for more.)
fn scope(
    issuer: &AssertionIssuer,
    assertion: &Assertion,
    upstream: &Upstream,
    asked: &ScopeSet,
) -> Result<ScopeSet, TokenRefusal> {
    let scopes = &upstream.settings.scopes;
    let bounds = issuer.bounds.scopes_of(scopes);
    let allowed =
        assertion.scope.as_ref().map_or_else(|| bounds.clone(), |scope| scopes.hierarchy.covered(scope, &bounds));
    // tokens would be refused at every call, and no other request of the client could change that
    let lacking = policy::missing(&allowed, upstream);
    if !lacking.is_empty() {
        let words = format!("the assertion does not allow what its server requires: {lacking}");
        return Err(OAuthError::new(ErrorCode::InvalidScope, words).into());
    }
    if allowed.is_empty() {
        return Err(OAuthError::new(ErrorCode::InvalidScope, "the assertion allows no scope of its server").into());
    }
    let given = scopes.hierarchy.covered(asked, &allowed);
    Ok(if given.is_empty() { allowed } else { given })
}

fn refused(unproven: Unproven) -> TokenRefusal {
    match unproven {
        Unproven::Untrue(why) => {
            OAuthError::new(ErrorCode::InvalidGrant, format!("the assertion is refused: {why}")).into()
        }
        Unproven::NoKeys(why) => TokenRefusal::unavailable(why),
    }
}
