//! Access tokens of the provider's for what `delegation` of an upstream asks for: a renewal of the grant at the provider, as at a
//! refresh, which answers no client.
//!
//! Defends against: races (a provider that rotates its refresh tokens takes the second use of one for theft: the grant's lease keeps
//! refreshes and other processes out), a new token that is lost (the work outlives the call, and its write is tried again), and
//! access that outlives the account, or what admits its user (the provider's refusal and the rules end the grant here, too).

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::demanded_sign_ins::DemandedSignIns;
use super::persistence::persist;
use super::refresh_lease::{RefreshLease, RefreshLeases, too_long};
use super::refusal::{Reason, TokenRefusal};
use super::renewal::Renewals;
use crate::clock::Clock;
use crate::identity::{DelegatedToken, Identities, NoSubjectToken, SubjectTokens};
use crate::issuer::grants::ProviderTokens;
use crate::issuer::tasks::Tasks;
use crate::model::grant::Grant;
use crate::model::ids::GrantId;
use crate::storage::Store;
use crate::wire::Arrival;

/// How long a call waits for another renewal of the same user.
const PATIENCE: Duration = Duration::from_secs(8);
/// The delay before it asks again for a lease that another one holds.
const POLL: Duration = Duration::from_millis(100);

/// Renews grants for their access tokens. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct ProviderAccess {
    pub(in crate::issuer) leases: Arc<RefreshLeases>,
    pub(in crate::issuer) renewals: Arc<Renewals>,
    pub(in crate::issuer) demanded: DemandedSignIns,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) tasks: Tasks,
}

impl SubjectTokens for ProviderAccess {
    fn of_grant<'a>(
        &'a self,
        grant: &'a GrantId,
        arrival: &'a Arrival,
    ) -> BoxFuture<'a, Result<(Grant, DelegatedToken), NoSubjectToken>> {
        let (this, grant, arrival) = (self.clone(), grant.clone(), arrival.clone());
        let work = self.tasks.complete(async move { this.renewed(&grant, &arrival).await });
        async move { work.await.unwrap_or_else(|panicked| Err(NoSubjectToken::Unavailable(panicked.to_string()))) }
            .boxed()
    }

    fn demand_sign_in(&self, grant: &Grant, claims: Option<&str>) {
        self.demanded.demand(&grant.id);
        if let (Some(provider), Some(claims)) = (self.identities.get(grant.identity.as_str()), claims) {
            provider.challenged(&grant.client_id, claims);
        }
    }
}

impl ProviderAccess {
    async fn renewed(&self, id: &GrantId, arrival: &Arrival) -> Result<(Grant, DelegatedToken), NoSubjectToken> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let grant = self.store.grant(id).await.map_err(unavailable)?;
            let grant = grant.filter(|grant| grant.is_live(self.clock.now()));
            let grant = grant.ok_or_else(|| NoSubjectToken::SignInAgain("the grant has ended".to_owned()))?;
            // a renewal without a token would end the grant
            if grant.standing.sealed_token.is_none() {
                return Err(NoSubjectToken::NotSignedIn);
            }
            if let Some(lease) = self.leases.take_of_grant(id, deadline).await.map_err(|refusal| because(&refusal))? {
                let renewed = self.under_lease(&lease, grant, arrival).await;
                if renewed.is_err() {
                    self.leases.release(&lease).await;
                }
                return renewed;
            }
            if Instant::now() >= deadline {
                return Err(because(&too_long(id)));
            }
            sleep(POLL).await;
        }
    }

    async fn under_lease(
        &self,
        lease: &RefreshLease,
        mut grant: Grant,
        arrival: &Arrival,
    ) -> Result<(Grant, DelegatedToken), NoSubjectToken> {
        grant.standing = lease.standing.clone();
        let (asked, renewed) = self.renewals.ask(&grant, arrival).await.map_err(|refusal| because(&refusal))?;
        let grant = self.renewals.renewed_grant(&asked, &renewed);
        self.renewals.admitted(&grant, arrival).await.map_err(|refusal| because(&refusal))?;
        let kept = (renewed.token.is_some().then_some(&grant.standing), renewed.user.as_ref());
        let now = self.clock.now();
        let write = persist(&grant.id, || self.store.keep_renewal(&grant, &lease.holder, kept, now)).await;
        if !write.map_err(unavailable)? {
            // no grant holds the token that the provider has just given
            self.provider_tokens.give_up(&grant.identity, &grant.subject, &grant.standing).await;
            return Err(NoSubjectToken::Unavailable("the grant ended meanwhile, or its lease was lost".to_owned()));
        }
        let token = renewed.access.ok_or_else(|| {
            let identity = &grant.identity;
            NoSubjectToken::Unavailable(format!("identity {identity} answered a renewal without an access token"))
        })?;
        Ok((grant, token))
    }
}

fn unavailable(error: impl std::fmt::Display) -> NoSubjectToken {
    NoSubjectToken::Unavailable(error.to_string())
}

/// What the refusal of a renewal means for a call: a client that is told to sign in again there is told so here.
fn because(refusal: &TokenRefusal) -> NoSubjectToken {
    match &refusal.reason {
        Reason::OAuth(_) => NoSubjectToken::SignInAgain(refusal.to_string()),
        Reason::Unavailable(_) | Reason::Limited(_) => NoSubjectToken::Unavailable(refusal.to_string()),
    }
}
