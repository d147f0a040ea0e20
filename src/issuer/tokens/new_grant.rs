//! The grant of a redeemed code, whether a client's or a device's.
//!
//! Defends against: replay. The code is consumed, and all that follows from it is stored, by one transaction.

use super::access_token::{AccessTokens, Answered};
use super::proofs::Proofs;
use super::refusal::TokenRefusal;
use super::requester::Requester;
use crate::audit::{Audit, Event};
use crate::clock::{Clock, Timestamp};
use crate::config::Lifetimes;
use crate::identity::{Identities, Provider};
use crate::issuer::grants::GrantEnds;
use crate::issuer::resources::Resources;
use crate::model::authorization::{Access, SignIn};
use crate::model::client::{Client, ClientOrigin};
use crate::model::grant::{Grant, Holder};
use crate::model::ids::{GrantId, IdentityId};
use crate::oauth::scope::ScopeSet;
use crate::policy::Person;
use crate::secret::Sha256;
use crate::storage::{Redemption, Store};
use crate::telemetry::metrics;
use crate::wire::Arrival;

/// Makes grants of codes. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct NewGrants {
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) proofs: Proofs,
    pub(in crate::issuer) access_tokens: AccessTokens,
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) lifetimes: Lifetimes,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

/// What a user allowed.
pub(super) struct Approved {
    pub(super) access: Access,
    pub(super) identity: IdentityId,
    pub(super) sign_in: SignIn,
    /// The receiver of the code, if it was sent by redirect.
    pub(super) receiver: Option<String>,
}

impl NewGrants {
    /// Consumes the code with this hash, by one conditional statement, and answers with the first tokens of its grant.
    pub(super) async fn begin(
        &self,
        code: &Sha256,
        mut approved: Approved,
        by: &Requester<'_>,
    ) -> Result<Vec<u8>, TokenRefusal> {
        let Requester { client, arrival, agent, .. } = *by;
        let asked = approved.access.scope.clone();
        approved.access.scope = self.granted(&approved)?;
        let key = self.proofs.key(by, &approved.access.resource)?;
        let now = self.clock.now();
        let gives_refresh = gives_refresh(client, &approved);
        let holder = Holder {
            receiver: approved.receiver.clone(),
            address: Some(arrival.address.0.to_canonical().to_string()),
            agent: agent.map(str::to_owned),
        };
        let bound_to = key.filter(|_| gives_refresh);
        let grant = Grant { bound_to, ..self.grant(approved, gives_refresh, now) };
        let fresh = gives_refresh.then(|| self.access_tokens.fresh_refresh_token(&grant, key.is_some(), now));
        let answered = Answered { allowed: &grant.scope, named: grant.named_scope.as_ref(), key };
        let response = self.access_tokens.response(&grant, &answered, fresh.as_ref().map(|fresh| &fresh.token), now)?;
        let redemption = Redemption {
            code,
            grant: &grant,
            holder: &holder,
            refresh_token: fresh.as_ref().map(|fresh| &fresh.stored),
            // no provider has an empty one
            issuer: self.identities.get(grant.identity.as_str()).map_or("", Provider::issuer),
            client_is_configured: client.origin == ClientOrigin::Configured,
            now,
        };
        self.proofs.use_up(by).await?;
        let Some(made_room) = self.store.redeem_code(&redemption).await? else {
            return Err(TokenRefusal::invalid_grant("the code was redeemed or taken back before, or has expired"));
        };
        self.ends.note_made_room(&made_room, arrival);
        self.metrics.begun(grant.identity.as_str());
        self.audit.record(&Event::Granted { grant: &grant, refresh: gives_refresh }, arrival);
        self.note_withheld(&grant, &asked, arrival);
        Ok(response)
    }

    /// The scopes that the user consented to and may have. One who may not use the server at all was refused at the sign-in, unless
    /// the rules have changed since.
    fn granted(&self, Approved { access, identity, sign_in, .. }: &Approved) -> Result<ScopeSet, TokenRefusal> {
        let person = Person::of(identity, sign_in.subject.as_str(), &sign_in.user);
        let granted = self.resources.granted_to(&person, &access.resource, &access.scope);
        granted.map_err(|_not_admitted| TokenRefusal::invalid_grant("the user may not use this server"))
    }

    fn note_withheld(
        &self,
        Grant { subject, client_id: client, resource, scope, .. }: &Grant,
        asked: &ScopeSet,
        arrival: &Arrival,
    ) {
        let withheld = asked.without(scope);
        if !withheld.is_empty() {
            let withheld = &withheld.to_string();
            self.audit.record(&Event::ScopesWithheld { subject, client, resource, withheld }, arrival);
        }
    }

    fn grant(&self, approved: Approved, gives_refresh: bool, now: Timestamp) -> Grant {
        let Lifetimes { max_grant_age, access_token, .. } = self.lifetimes;
        let age = if gives_refresh { max_grant_age } else { access_token };
        let Approved { access, identity, mut sign_in, receiver: _ } = approved;
        if !gives_refresh {
            // the provider will never be asked again, so there is no reason to hold its token. It is not an offline one:
            // that is requested only where a refresh token will be given
            sign_in.standing.sealed_token = None;
        }
        Grant {
            id: GrantId::random(),
            subject: sign_in.subject,
            identity,
            client_id: access.client_id,
            resource: access.resource,
            scope: access.scope,
            named_scope: access.named_scope,
            user: sign_in.user,
            standing: sign_in.standing,
            bound_to: None,
            created_at: now,
            expires_at: now + age,
            ended_at: None,
        }
    }
}

/// Whether the client gets a refresh token: it asked for one, and the provider gave what the renewals will need.
fn gives_refresh(client: &Client, approved: &Approved) -> bool {
    let (asked, renewable) = (approved.access.refresh, approved.sign_in.standing.renewable);
    if asked && !renewable {
        tracing::warn!(
            identity = %approved.identity, client = %client.id,
            "the identity provider gave no refresh token, so this client gets none and signs in again when its token ends"
        );
    }
    asked && renewable
}
