//! Access tokens of other issuers: which of them a token is of, and whether it is good.
//!
//! | file | what |
//! |---|---|
//! | `rules` | what a token must be |
//! | `profile` | who calls under it |
//! | `opaque` | tokens that the issuer is asked about |
//! | `issuers` | the issuers as we call them |
//!
//! Defends against mix-up: the `iss` that a token states only chooses whose keys must have signed it, among the issuers that
//! the upstream accepts; it is compared again once the signature holds. No issuer is asked about a token of another.

mod issuers;
mod opaque;
mod profile;
mod rules;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Unverified, Verified};
use crate::clock::Clock;
use crate::config::{AcceptedIssuer, Config, IssuerKind, TenantId, TokenIssuer, Upstream};
use crate::delegation::Delegation;
use crate::gateway::caller::{ForeignToken, Under, VerifiedCaller};
use crate::gateway::refusal::TokenFault;
use crate::keys::{
    IssuerClient, KeyWatch, Members, SignedJwt, UnverifiedJwt, UnverifiedToken, Validity, filled, first_segment,
    issuing_tenant,
};
use crate::limits::Limits;
use crate::secret::has_our_prefix;
use crate::telemetry::excerpt;
use crate::telemetry::metrics::{self, TokenCheck};
use issuers::{Issuers, unfit};
use profile::At;
use rules::Fault;

pub(in crate::gateway) use opaque::{OpaqueTokens, Question};

/// How many audiences that are not accepted are told to the operator.
const TOLD: usize = 100;

/// Verifies access tokens of other issuers.
pub(in crate::gateway) struct ForeignTokens {
    issuers: Issuers,
    ours: Arc<str>,
    opaque: Arc<OpaqueTokens>,
    clock: Clock,
    delegation: Arc<Delegation>,
    told: Mutex<HashSet<String>>,
}

/// Whose token it is.
pub(in crate::gateway) enum Chosen<'a> {
    /// Ours.
    Own,
    /// This issuer's, to be verified by its keys.
    Jwt(&'a AcceptedIssuer, UnverifiedJwt),
    /// This issuer's, which is asked about it.
    Opaque(&'a AcceptedIssuer),
}

impl ForeignTokens {
    pub(in crate::gateway) fn new(
        config: &Config,
        clock: &Clock,
        delegation: &Arc<Delegation>,
        limits: Limits,
        metrics: &metrics::Metrics,
    ) -> Self {
        let issuers = Issuers::new(config, clock, metrics);
        let opaque = OpaqueTokens::new(issuers.clone(), clock.clone(), Arc::clone(delegation), limits);
        Self {
            issuers,
            ours: config.public_url.as_str().into(),
            opaque: Arc::new(opaque),
            clock: clock.clone(),
            delegation: Arc::clone(delegation),
            told: Mutex::default(),
        }
    }

    /// Tokens that their issuer is asked about.
    pub(in crate::gateway) const fn opaque(&self) -> &Arc<OpaqueTokens> {
        &self.opaque
    }

    /// The issuers as we call them.
    pub(in crate::gateway) fn clients(&self) -> impl Iterator<Item = &IssuerClient> {
        self.issuers.iter()
    }

    /// Keeps what is known of all issuers fresh.
    pub(in crate::gateway) async fn keep(&self) {
        futures_util::future::join_all(self.clients().map(IssuerClient::keep)).await;
        // without an issuer there is nothing to keep
        std::future::pending::<()>().await;
    }

    /// Counts a check of a token of the issuer with this id.
    pub(in crate::gateway) fn count(&self, issuer: &str, result: TokenCheck) {
        self.issuers.count(issuer, result);
    }

    /// Finds out whose token this is, among those that the upstream accepts. What it reads is not verified.
    ///
    /// # Errors
    /// When it is of none of them.
    pub(in crate::gateway) fn choose<'a>(&self, token: &str, upstream: &'a Upstream) -> Result<Chosen<'a>, Unverified> {
        let accepts = &upstream.settings.accepts;
        if accepts.foreign.is_empty() {
            return Ok(Chosen::Own);
        }
        if has_our_prefix(token) {
            return Err(unfit((TokenFault::Kind, "it is a secret of Portcullis, and no access token")));
        }
        let jwt =
            (token.bytes().filter(|byte| *byte == b'.').count() == 2).then(|| UnverifiedJwt::read(token)).flatten();
        let Some(jwt) = jwt else {
            let asked = accepts.introspecting().map(Chosen::Opaque);
            return asked.ok_or(unfit((
                TokenFault::Kind,
                "it is no signed JWT: issuers give opaque or encrypted tokens to clients that did not ask for this server \
                 (resource, audience, scope)",
            )));
        };
        let iss = jwt.claims.text("iss").ok().flatten().unwrap_or_default();
        if accepts.own && iss == &*self.ours {
            return Ok(Chosen::Own);
        }
        match accepts.foreign.iter().find(|accepted| is_named(&accepted.issuer, iss, &jwt.claims)) {
            Some(accepted) if accepted.issuer.introspects() => Ok(Chosen::Opaque(accepted)),
            Some(accepted) => Ok(Chosen::Jwt(accepted, jwt)),
            None => Err(unfit((TokenFault::Issuer, self.not_accepted(iss, upstream)))),
        }
    }

    /// Why an issuer is not accepted.
    fn not_accepted(&self, iss: &str, upstream: &Upstream) -> &'static str {
        let entra = upstream.settings.accepts.foreign.iter().any(|accepted| accepted.issuer.kind == IssuerKind::Entra);
        if iss == &*self.ours {
            "it is a token of Portcullis, and accepts does not name \"own\""
        } else if upstream.settings.accepts.foreign.iter().any(|accepted| names_template(&accepted.issuer, iss)) {
            "its tenant is not one of `tenants`"
        } else if entra && iss.starts_with("https://sts.windows.net/") {
            "it is a version 1 token of Entra: set requestedAccessTokenVersion to 2 in the manifest of the app registration, or \
             add an [[issuer]] with issuer = \"https://sts.windows.net/TENANT/\""
        } else {
            "its issuer (iss) is not one that the upstream accepts"
        }
    }

    /// Verifies a token of an issuer by its keys.
    ///
    /// # Errors
    /// When it is not good, or when that cannot be known now.
    pub(in crate::gateway) async fn verify(
        &self,
        (token, jwt): (&str, &UnverifiedJwt),
        accepted: &AcceptedIssuer,
        upstream: &Upstream,
    ) -> Result<Verified, Unverified> {
        let (settings, now) = (&*accepted.issuer, self.clock.now());
        // before the keys are asked for: a token that can never be accepted costs nothing
        rules::check_kind(&jwt.header, &jwt.claims, settings).map_err(unfit)?;
        rules::check_times(&jwt.claims, now).map_err(unfit)?;
        let verified = self.issuers.client(&settings.id)?.verify(token, jwt).await.map_err(|error| match error {
            UnverifiedToken::Invalid(why) => unfit((TokenFault::Other, why)),
            UnverifiedToken::Unavailable(why) => Unverified::Unavailable(why),
        })?;
        let caller = self.caller(&verified.token, verified.key, accepted, upstream);
        Ok(Verified::Good(Arc::new(caller.map_err(unfit)?)))
    }

    fn caller(
        &self,
        token: &SignedJwt,
        key: KeyWatch,
        accepted: &AcceptedIssuer,
        upstream: &Upstream,
    ) -> Result<VerifiedCaller, Fault> {
        let (claims, settings) = (&token.claims, &*accepted.issuer);
        let tenant = tenant(token, settings)?;
        rules::check_audience(claims, accepted).inspect_err(|_| self.tell_of_audience(claims, settings))?;
        let times = rules::check_times(claims, self.clock.now())?;
        let times = times.ok_or((TokenFault::Other, "it never ends (exp is missing)"))?;
        let key_bound_to = rules::bound_to(claims, upstream.settings.dpop.is_on())?;
        let groups = self.issuers.groups(&accepted.issuer.id)?;
        let caller = profile::caller(claims, tenant.as_ref(), At { accepted, upstream, groups })?;
        Ok(VerifiedCaller {
            identity: self.delegation.headers(&caller, upstream.audience()),
            caller,
            audience: upstream.audience().to_owned(),
            key_bound_to,
            expires_at: times.until,
            under: Under::Token(ForeignToken::of(&settings.id)),
            key,
            validity: Validity::between(times.issued_at, times.until),
        })
    }

    /// Once for each audience: it is a setting, not an event. Only tokens that the issuer signed come here.
    fn tell_of_audience(&self, claims: &Members, issuer: &TokenIssuer) {
        let audiences = rules::audiences(claims).join(" ");
        let audiences = excerpt(&audiences);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD && told.insert(format!("{} {audiences}", issuer.id)) {
            tracing::warn!(
                issuer = issuer.id,
                aud = %audiences,
                "a token is for another audience: if that names this server, add it to audiences; otherwise let the client ask \
                 the issuer for a token for this server"
            );
        }
    }
}

/// Whether a stated `iss` is that of this issuer.
fn is_named(issuer: &TokenIssuer, iss: &str, claims: &Members) -> bool {
    if issuer.kind != IssuerKind::Entra {
        return issuer.issuer == iss;
    }
    let tenant = claims.text("tid").ok().flatten().and_then(TenantId::parse);
    // a tenant that this issuer does not admit may be that of another one
    let is_admitted = |tenant: &TenantId| issuer.tenants.is_empty() || issuer.tenants.contains(tenant);
    tenant.map_or_else(|| issuer.issuer == iss, |tenant| is_admitted(&tenant) && filled(&issuer.issuer, &tenant) == iss)
}

/// Whether a stated `iss` is that of some tenant of an issuer for many.
fn names_template(issuer: &TokenIssuer, iss: &str) -> bool {
    !issuer.tenants.is_empty() && first_segment(iss).is_some_and(|tenant| filled(&issuer.issuer, &tenant) == iss)
}

/// Checks the issuer again, once the signature holds; answers the tenant of Entra.
fn tenant(token: &SignedJwt, issuer: &TokenIssuer) -> Result<Option<TenantId>, Fault> {
    if issuer.kind != IssuerKind::Entra {
        let named = matches!(token.claims.text("iss"), Ok(Some(iss)) if iss == issuer.issuer);
        return if named { Ok(None) } else { Err((TokenFault::Issuer, "its issuer is not that of its keys")) };
    }
    let tenant = issuing_tenant(&issuer.issuer, token).map_err(|why| {
        tracing::debug!(issuer = issuer.id, "a token of Entra is refused: {why}");
        (TokenFault::Issuer, "its issuer, its tenant (tid) and the key that signed it do not belong together")
    })?;
    if issuer.tenants.is_empty() || issuer.tenants.contains(&tenant) {
        return Ok(Some(tenant));
    }
    Err((TokenFault::Issuer, "its tenant is not one of `tenants`"))
}
