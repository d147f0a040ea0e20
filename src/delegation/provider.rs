//! Tokens of the identity provider's for one upstream, kept for each grant.
//!
//! Defends against: the token of one user used for another (it is kept by grant, and made from the token of that grant alone), a
//! flood of calls to the provider (single flight; a failure is remembered for a moment, too), an upstream that refuses everything
//! (a token that was made after a refusal is not given up again at once), and exhaustion of memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::HeaderValue;
use moka::sync::Cache;
use tracing::Instrument;

use super::encode::header_value;
use super::parts::{Bearer, OwnParts};
use super::undelegated::Undelegated;
use crate::clock::{Clock, Timestamp};
use crate::config::ProviderCredential;
use crate::identity::{DelegateError, DelegatedToken, NoSubjectToken};
use crate::model::ids::GrantId;
use crate::telemetry::metrics::DelegationCounters;
use crate::wire::Arrival;

/// The most memory that the tokens for one upstream take, in bytes.
const MEMORY: u64 = 32 * 1024 * 1024;
/// What one takes besides its text.
const ENTRY: usize = 256;
/// The longest time that one is kept, whatever its provider says.
const LONGEST: Duration = Duration::from_hours(1);
/// How long a token must be good when it is sent, at the most: for the way to the server, and for its clock.
const MARGIN: Duration = Duration::from_secs(30);
/// How long a failure counts for the calls that follow.
const FAILURE: Duration = Duration::from_secs(2);
/// How many failures are remembered.
const FAILURES: u64 = 10_000;
/// After how long a token that was made after a refusal may be given up, too.
const SETTLED: Duration = Duration::from_mins(1);

/// A token in memory.
pub(super) struct Held {
    pub(super) value: HeaderValue,
    made_at: Timestamp,
    /// The first second in which it is not sent any more.
    until: Timestamp,
    /// Whether the upstream had refused the one before.
    after_refusal: bool,
}

type Made = Result<Arc<Held>, Undelegated>;
type Flight = Shared<BoxFuture<'static, Made>>;

/// The tokens for one upstream.
pub(super) struct ProviderCredentials {
    upstream: String,
    wanted: ProviderCredential,
    bearer: bool,
    own: OwnParts,
    clock: Clock,
    counters: DelegationCounters,
    held: Cache<GrantId, Arc<Held>>,
    failures: Cache<GrantId, (Timestamp, Undelegated)>,
    flights: Mutex<HashMap<GrantId, Flight>>,
}

impl ProviderCredentials {
    pub(super) fn new(
        (upstream, wanted, bearer): (&str, ProviderCredential, bool),
        own: OwnParts,
        clock: Clock,
        counters: DelegationCounters,
    ) -> Self {
        // the times of the cache only bound memory: whether a token is still sent is decided by our own clock
        let held = Cache::builder().max_capacity(MEMORY).time_to_live(LONGEST);
        let held = held.weigher(|_, held: &Arc<Held>| u32::try_from(ENTRY + held.value.len()).unwrap_or(u32::MAX));
        Self {
            upstream: upstream.to_owned(),
            wanted,
            bearer,
            own,
            clock,
            counters,
            held: held.build(),
            failures: Cache::builder().max_capacity(FAILURES).time_to_live(FAILURE).build(),
            flights: Mutex::default(),
        }
    }

    /// The grant whose token a caller gets.
    pub(super) fn grant_of<'a>(&self, bearer: &Bearer<'a>) -> Result<&'a GrantId, Undelegated> {
        let (identity, wanted) = (bearer.caller.identity.as_str(), &self.wanted.identity);
        match bearer.grant {
            Some(grant) if identity == wanted => Ok(grant),
            Some(_) => Err(Undelegated::NotSignedIn(format!(
                "upstream {} gets tokens of identity {wanted}, and the caller is of {identity}",
                self.upstream
            ))),
            None => Err(Undelegated::NotSignedIn(format!(
                "upstream {} gets tokens of identity {wanted}, and the caller has a token of another issuer",
                self.upstream
            ))),
        }
    }

    /// The token of a grant that is in memory and still good.
    pub(super) fn fresh(&self, grant: &GrantId) -> Option<Arc<Held>> {
        let now = self.clock.now();
        // a clock that was set back does not make it good for longer
        self.held.get(grant).filter(|held| now < held.until && held.until <= now + LONGEST)
    }

    /// Gives a refused token up, unless another one has taken its place. `false` when no other should be asked for.
    pub(super) fn give_up(&self, grant: &GrantId, refused: &Arc<Held>) -> bool {
        if refused.after_refusal && self.clock.now() < refused.made_at + SETTLED {
            return false;
        }
        let _alone = self.lock();
        if self.held.get(grant).is_some_and(|held| Arc::ptr_eq(&held, refused)) {
            self.held.invalidate(grant);
        }
        true
    }

    /// Asks the provider for a token, once for all who ask at the same time. `refused` is one that the upstream did not take.
    pub(super) fn obtain(
        self: &Arc<Self>,
        grant: &GrantId,
        arrival: &Arrival,
        refused: Option<&Arc<Held>>,
    ) -> impl Future<Output = Made> + Send + use<> {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(grant) {
            return flight.clone();
        }
        // one that has just arrived
        if let Some(held) = self.fresh(grant) {
            return settled(Ok(held));
        }
        let failed = self.failures.get(grant).filter(|(until, _)| self.clock.now() < *until);
        if let Some((_, why)) = failed {
            return settled(Err(why));
        }
        let (this, after_refusal) = (Arc::clone(self), refused.is_some());
        let (of, arrival) = (grant.clone(), arrival.clone());
        // a call that goes away does not stop it: the next one finds the token
        let task = tokio::spawn(
            async move {
                let landing = Landing { this: &this, grant: &of };
                let made = this.make(&of, &arrival, after_refusal).await;
                landing.land(made)
            }
            .in_current_span(),
        );
        let panicked = || Err(Undelegated::Unavailable("asking the identity provider panicked".to_owned()));
        let flight: Flight = async move { task.await.unwrap_or_else(|_| panicked()) }.boxed().shared();
        flights.insert(grant.clone(), flight.clone());
        flight
    }

    async fn make(&self, grant: &GrantId, arrival: &Arrival, after_refusal: bool) -> Made {
        let asked = self.ask(grant, arrival).await;
        let counter = match &asked {
            Ok(_) => &self.counters.issued,
            Err(Undelegated::Unavailable(_)) => &self.counters.unavailable,
            Err(_) => &self.counters.refused,
        };
        counter.inc();
        let DelegatedToken { token, expires_at, .. } = asked?;
        let now = self.clock.now();
        let life = expires_at.since(now).min(LONGEST);
        let value = header_value(token.expose(), self.bearer);
        let value =
            value.ok_or_else(|| Undelegated::Refused("the provider's token does not fit a header".to_owned()))?;
        // at least for the calls of this moment
        let until = now + life.saturating_sub(MARGIN.min(life / 4)).max(Duration::from_secs(1));
        Ok(Arc::new(Held { value, made_at: now, until, after_refusal }))
    }

    async fn ask(&self, grant: &GrantId, arrival: &Arrival) -> Result<DelegatedToken, Undelegated> {
        let OwnParts { identities, subject_tokens, .. } = &self.own;
        let (grant, subject) = subject_tokens.of_grant(grant, arrival).await.map_err(|why| self.without(why))?;
        let provider = identities.get(&self.wanted.identity);
        let Some(provider) = provider.filter(|provider| *provider.id() == grant.identity) else {
            return Err(Undelegated::NotSignedIn("the grant is of another identity".to_owned()));
        };
        let issued = provider.delegate(&subject, &self.wanted.by).await;
        issued.map_err(|error| match error {
            DelegateError::Unavailable(why) => Undelegated::Unavailable(why),
            DelegateError::Refused(why) => Undelegated::Refused(why),
            DelegateError::SignInAgain { why, claims } => {
                tracing::info!(
                    upstream = self.upstream, grant = %grant.id, why,
                    "the identity provider wants a new sign-in before it issues a token for the upstream"
                );
                subject_tokens.demand_sign_in(&grant, claims.as_deref());
                Undelegated::SignInAgain(why)
            }
        })
    }

    fn without(&self, why: NoSubjectToken) -> Undelegated {
        match why {
            NoSubjectToken::NotSignedIn => Undelegated::NotSignedIn(format!(
                "upstream {} gets tokens of identity {}, and nobody signed in there for this grant",
                self.upstream, self.wanted.identity
            )),
            NoSubjectToken::SignInAgain(why) => Undelegated::SignInAgain(why),
            NoSubjectToken::Unavailable(why) => Undelegated::Unavailable(why),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GrantId, Flight>> {
        // no panic can leave the map half changed
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a flight, whatever happens to it: the next call begins another.
struct Landing<'a> {
    this: &'a ProviderCredentials,
    grant: &'a GrantId,
}

impl Landing<'_> {
    fn land(self, made: Made) -> Made {
        let ProviderCredentials { held, failures, clock, .. } = self.this;
        // the flight is taken out afterwards: who comes between finds it, and who comes later its result
        match &made {
            Ok(token) => held.insert(self.grant.clone(), Arc::clone(token)),
            Err(why) => failures.insert(self.grant.clone(), (clock.now() + FAILURE, why.clone())),
        }
        made
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.this.lock().remove(self.grant);
    }
}

fn settled(made: Made) -> Flight {
    async { made }.boxed().shared()
}
