//! Tokens that only their issuer can read: it is asked about each (RFC 7662), and its answer remembered for a short while.
//!
//! An answer that a token is good lasts for half a minute, never beyond the token's end; a token that has ended at its issuer
//! is refused after that, and so are calls that it left open. While the issuer does not answer nothing is known: 503.
//!
//! Defends against a flood of invented tokens: each is asked about once in a while, concurrent callers share one question, new
//! tokens are limited by address, and few questions about them are under way at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use moka::future::Cache;
use moka::ops::compute::{CompResult, Op};

use super::issuers::{Issuers, unfit};
use super::profile::{self, At};
use super::rules::{self, Fault};
use crate::clock::{Clock, Timestamp};
use crate::config::AcceptedIssuer;
use crate::delegation::Delegation;
use crate::gateway::caller::{ForeignToken, Under, VerifiedCaller};
use crate::gateway::refusal::TokenFault;
use crate::gateway::routes::Served;
use crate::gateway::token_watch::TokenWatch;
use crate::gateway::verify::Unverified;
use crate::keys::{Askers, Introspected, KeyWatch, Members, Validity};
use crate::limits::{Key, Limit, Limits, Part};
use crate::secret::{SecretText, Sha256};
use crate::signal::Signal;
use crate::wire::ClientAddress;

/// How long an answer counts that a token is good.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// How long an answer counts that it is not: its client must not make us ask at every try.
const BAD_FOR: Duration = Duration::from_secs(10);
/// How long callers share that there was no answer.
const UNANSWERED_FOR: Duration = Duration::from_secs(1);
/// How long an answer is kept that no one asks for: the token is in it.
const KEPT: Duration = Duration::from_hours(1);
/// The most memory that answers take, in bytes.
const REMEMBERED: u64 = 16 * 1024 * 1024;
/// What an answer takes besides its texts.
const ENTRY: usize = 512;

/// What is known of opaque tokens.
pub(in crate::gateway) struct OpaqueTokens {
    issuers: Issuers,
    answers: Cache<Sha256, Arc<Answer>>,
    clock: Clock,
    delegation: Arc<Delegation>,
    limits: Limits,
}

/// A token at an upstream.
#[derive(Clone, Copy)]
pub(in crate::gateway) struct Question<'a> {
    pub(in crate::gateway) served: &'a Arc<Served>,
    pub(in crate::gateway) issuer: &'a str,
    pub(in crate::gateway) token: &'a str,
    /// The hash of the two.
    pub(in crate::gateway) key: Sha256,
}

/// What the issuer said of a token.
struct Answer {
    /// When it was asked, on the monotonic clock.
    asked_at: Duration,
    said: Said,
    /// Whether it was good when the issuer last said anything of it.
    good: bool,
    /// Set when the issuer says that the token is not good any more.
    ended: Signal,
}

enum Said {
    Good(Arc<VerifiedCaller>),
    Bad(Fault),
    Nothing(String),
}

impl Answer {
    fn counts_for(&self) -> Duration {
        match self.said {
            Said::Good(_) => GOOD_FOR,
            Said::Bad(_) => BAD_FOR,
            Said::Nothing(_) => UNANSWERED_FOR,
        }
    }

    fn counts(&self, clock: &Clock) -> bool {
        clock.monotonic().saturating_sub(self.asked_at) < self.counts_for()
    }

    fn size(&self) -> usize {
        match &self.said {
            Said::Good(caller) => ENTRY + caller.size(),
            Said::Bad(_) => ENTRY,
            Said::Nothing(why) => ENTRY + why.len(),
        }
    }

    fn caller(&self) -> Result<Arc<VerifiedCaller>, Unverified> {
        match &self.said {
            Said::Good(caller) => Ok(Arc::clone(caller)),
            Said::Bad(fault) => Err(unfit(*fault)),
            Said::Nothing(why) => Err(Unverified::Unavailable(why.clone())),
        }
    }
}

impl OpaqueTokens {
    pub(super) fn new(issuers: Issuers, clock: Clock, delegation: Arc<Delegation>, limits: Limits) -> Self {
        let answers = Cache::builder().max_capacity(REMEMBERED).time_to_idle(KEPT);
        let answers = answers.weigher(|_, answer: &Arc<Answer>| u32::try_from(answer.size()).unwrap_or(u32::MAX));
        Self { issuers, answers: answers.build(), clock, delegation, limits }
    }

    /// Whether a token was good when it was last asked about.
    pub(in crate::gateway) fn knows(&self, key: &Sha256) -> bool {
        // a look into memory is ready at once
        self.answers.get(key).now_or_never().flatten().is_some_and(|answer| answer.good)
    }

    /// How many answers are remembered.
    pub(in crate::gateway) async fn remembered(&self) -> u64 {
        self.answers.run_pending_tasks().await;
        self.answers.entry_count()
    }

    /// Whose token it is, when its issuer said so a moment ago.
    pub(in crate::gateway) async fn known_caller(&self, key: &Sha256) -> Option<Arc<VerifiedCaller>> {
        let answer = self.answers.get(key).await.filter(|answer| answer.counts(&self.clock))?;
        answer.caller().ok()
    }

    /// Whose token it is, and whether the issuer was not asked for this. `address` made the call; a token that was good before
    /// costs it nothing.
    ///
    /// # Errors
    /// When it is not good, when too many were asked about for this address, or when it cannot be known now.
    pub(in crate::gateway) async fn caller(
        self: &Arc<Self>,
        question: Question<'_>,
        address: Option<ClientAddress>,
    ) -> Result<(Arc<VerifiedCaller>, bool), Unverified> {
        if let Some(answer) = self.answers.get(&question.key).await
            && answer.counts(&self.clock)
        {
            return answer.caller().map(|caller| (caller, true));
        }
        // boxed: asking takes much room, which every call would have to hold
        let answer = Box::pin(self.ask_once(question, address)).await?;
        answer.caller().map(|caller| (caller, false))
    }

    /// Concurrent callers wait for one another, and find the answer of the first.
    async fn ask_once(
        self: &Arc<Self>,
        question: Question<'_>,
        address: Option<ClientAddress>,
    ) -> Result<Arc<Answer>, Unverified> {
        let entry = self.answers.entry(question.key);
        let computed = entry.and_try_compute_with(async |before| {
            let before = before.map(moka::Entry::into_value);
            if before.as_ref().is_some_and(|before| before.counts(&self.clock)) {
                return Ok(Op::Nop);
            }
            let before = before.filter(|before| before.good);
            if let Some(address) = address.filter(|_| before.is_none()) {
                let limited = self.limits.check(Limit::OpaqueTokens, &Key::of(&[Part::Address(address)])).await;
                limited.map_err(|limited| Unverified::Limited(limited.retry_after))?;
            }
            Ok(Op::Put(Arc::new(self.ask(question, before.as_deref()).await)))
        });
        match entry_of(computed.await?) {
            Some(answer) => Ok(answer),
            None => Err(Unverified::Unavailable("the answer about a token was dropped".to_owned())),
        }
    }

    /// `before` is what was known of the token when it was good.
    async fn ask(self: &Arc<Self>, question: Question<'_>, before: Option<&Answer>) -> Answer {
        let asked_at = self.clock.monotonic();
        let ended = before.map(|before| before.ended.clone()).unwrap_or_default();
        let askers = if before.is_some() { Askers::Known } else { Askers::Unknown };
        let said = self.introspect(question, askers, &ended).await.unwrap_or_else(Said::Nothing);
        let good = match &said {
            Said::Good(_) => true,
            Said::Bad(_) => {
                ended.set();
                false
            }
            Said::Nothing(_) => before.is_some(),
        };
        Answer { asked_at, said, good, ended }
    }

    async fn introspect(
        self: &Arc<Self>,
        question: Question<'_>,
        askers: Askers,
        ended: &Signal,
    ) -> Result<Said, String> {
        let accepted = question.served.config.settings.accepts.of(question.issuer);
        let (Some(accepted), Ok(client)) = (accepted, self.issuers.client(question.issuer)) else {
            return Err("the issuer is not configured".to_owned());
        };
        Ok(match client.introspect(question.token, askers).await? {
            Introspected::Inactive => {
                Said::Bad((TokenFault::Time, "its issuer says that it is not active: expired, revoked or unknown"))
            }
            Introspected::Active(claims) => match self.read(question, &claims, accepted, ended) {
                Ok(caller) => Said::Good(Arc::new(caller)),
                Err(fault) => Said::Bad(fault),
            },
        })
    }

    /// The rules of signed tokens, as far as an answer can hold to them.
    fn read(
        self: &Arc<Self>,
        question: Question<'_>,
        claims: &Members,
        accepted: &AcceptedIssuer,
        ended: &Signal,
    ) -> Result<VerifiedCaller, Fault> {
        let (upstream, now) = (&question.served.config, self.clock.now());
        rules::check_claimed_kind(claims)?;
        rules::check_token_type(claims)?;
        if claims.get("iss").is_some_and(|iss| iss != accepted.issuer.issuer.as_str()) {
            return Err((TokenFault::Issuer, "its issuer says that it is another issuer's (iss)"));
        }
        rules::check_audience(claims, accepted)?;
        let times = rules::check_times(claims, now)?;
        let key_bound_to = rules::bound_to(claims, upstream.settings.dpop.is_on())?;
        let groups = self.issuers.groups(&accepted.issuer.id)?;
        let caller = profile::caller(claims, None, At { accepted, upstream, groups })?;
        let until = times.map_or(Timestamp(i64::MAX), |times| times.until);
        Ok(VerifiedCaller {
            identity: self.delegation.headers(&caller, upstream.audience()),
            caller,
            audience: upstream.audience().to_owned(),
            key_bound_to,
            expires_at: until,
            under: Under::Token(ForeignToken::watched(&accepted.issuer.id, self.watch(question, ended))),
            // no signing key stands behind it
            key: KeyWatch::default(),
            validity: Validity::until(until),
        })
    }
}

impl OpaqueTokens {
    /// The watch of a token, which asks about it as long as something waits there.
    fn watch(self: &Arc<Self>, question: Question<'_>, ended: &Signal) -> TokenWatch {
        let (tokens, key) = (Arc::downgrade(self), question.key);
        let (served, issuer) = (Arc::clone(question.served), question.issuer.to_owned());
        let token: Arc<SecretText> = Arc::new(question.token.to_owned().into());
        let recheck = move || {
            let (tokens, served, issuer, token) = (tokens.clone(), served.clone(), issuer.clone(), Arc::clone(&token));
            let recheck = async move {
                let Some(tokens) = tokens.upgrade() else { return true };
                let question = Question { served: &served, issuer: &issuer, token: token.expose(), key };
                matches!(tokens.caller(question, None).await, Err(Unverified::Unfit(..)))
            };
            recheck.boxed()
        };
        let size = question.token.len();
        TokenWatch { ended: ended.clone(), every: GOOD_FOR, recheck: Box::new(recheck), size }
    }
}

fn entry_of(computed: CompResult<Sha256, Arc<Answer>>) -> Option<Arc<Answer>> {
    match computed {
        CompResult::Inserted(entry)
        | CompResult::ReplacedWith(entry)
        | CompResult::Unchanged(entry)
        | CompResult::Removed(entry) => Some(entry.into_value()),
        CompResult::StillNone(_) => None,
    }
}
