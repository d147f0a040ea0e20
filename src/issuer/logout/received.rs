//! A logout token: whether to believe it, once, and what it ends.
//!
//! Defends against: forged tokens and other tokens of the provider (`identity::logout_token`), replay (the token is kept by a unique
//! key before anything ends), floods (only a few that no known key signed have keys read), and an oracle (a token about a user
//! or a session that is not known here is answered like any other).

use super::applied::AppliedLogouts;
use crate::audit::{Audit, Event};
use crate::clock::{Clock, Timestamp};
use crate::identity::{Identities, LogoutToken, NotBelieved, Oidc, Provider, SignInMethod};
use crate::issuer::grants::provider_session;
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::ids::Subject;
use crate::model::provider_logout::ProviderLogout;
use crate::oauth::parameters::Parameters;
use crate::secret::Sha256;
use crate::storage::{Store, StoreError};
use crate::telemetry::metrics::{self, LogoutResult};
use crate::wire::Arrival;

/// How much longer than a sign-in may take its logout is remembered: an answer that came at the last moment is still being
/// processed.
const MARGIN: std::time::Duration = std::time::Duration::from_mins(5);

/// Why a logout token did not count.
#[derive(Debug)]
pub(crate) enum LogoutRefusal {
    /// It is wrong.
    Invalid {
        /// For the provider.
        told: &'static str,
        /// For the operator.
        why: String,
    },
    /// Too many wrong ones came from its address.
    Limited(Limited),
    /// It could not be checked, or not be kept: for the operator.
    Failed(String),
}

impl From<Limited> for LogoutRefusal {
    fn from(limited: Limited) -> Self {
        Self::Limited(limited)
    }
}

impl From<StoreError> for LogoutRefusal {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Receives logout tokens.
pub(in crate::issuer) struct ReceivedLogouts {
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) applied: AppliedLogouts,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    /// How long a sign-in may take.
    pub(in crate::issuer) sign_in: std::time::Duration,
    pub(in crate::issuer) metrics: metrics::Logouts,
    pub(in crate::issuer) audit: Audit,
}

impl ReceivedLogouts {
    /// Takes the form that came for an identity provider.
    pub(in crate::issuer) async fn receive(
        &self,
        identity: &str,
        parameters: &Parameters,
        arrival: &Arrival,
    ) -> Result<(), LogoutRefusal> {
        let provider = self.identities.get(identity);
        let received = self.take(provider, parameters, arrival).await;
        if let Some(provider) = provider {
            self.metrics.received(provider.id().as_str(), result(&received));
        }
        match received {
            Ok(true) => Ok(()),
            Ok(false) => Err(invalid("the logout token was received before", "a replayed logout token")),
            Err(refusal) => Err(refusal),
        }
    }

    /// `false` for a token that came before.
    async fn take(
        &self,
        provider: Option<&Provider>,
        parameters: &Parameters,
        arrival: &Arrival,
    ) -> Result<bool, LogoutRefusal> {
        let text = parameters.one("logout_token");
        let text = text.map_err(|error| invalid("logout_token must be there once", error))?;
        let text = text.ok_or_else(|| invalid("logout_token is missing", "no logout_token"))?;
        let (provider, token) = self.believed(provider, text, arrival).await?;
        let logout = self.logout(provider, &token);
        if !self.store.keep_provider_logout(&logout).await? {
            return Ok(false);
        }
        let (identity, subject) = (logout.identity.as_str(), logout.subject.as_ref().map(Subject::as_str));
        let one_session = logout.session.is_some();
        self.audit.record(&Event::SignedOutAtProvider { identity, subject, one_session }, arrival);
        if let Err(error) = self.applied.apply(&logout, arrival.into()).await {
            // it is kept: the upkeep applies it in a few seconds, and a second token could do no more
            tracing::warn!(identity, %error, "what a logout ends could not be ended yet; retrying");
        }
        Ok(true)
    }

    async fn believed<'a>(
        &self,
        provider: Option<&'a Provider>,
        text: &str,
        arrival: &Arrival,
    ) -> Result<(&'a Provider, LogoutToken), LogoutRefusal> {
        let Some((provider, oidc)) = provider.and_then(|provider| Some((provider, oidc(provider)?))) else {
            self.count_wrong(arrival).await?;
            return Err(invalid(NOT_GOOD, "no identity that signs users in elsewhere has this id"));
        };
        let mut counted = false;
        let mut believed = oidc.logout_token(text).await;
        if believed == Err(NotBelieved::UnknownKey) {
            self.count_wrong(arrival).await?;
            counted = true;
            believed = oidc.logout_token_by_new_key(text).await;
        }
        match believed {
            Ok(token) => Ok((provider, token)),
            Err(NotBelieved::Unavailable(why)) => Err(LogoutRefusal::Failed(why)),
            Err(NotBelieved::UnknownKey) => Err(invalid(NOT_GOOD, "no key of the provider signed the logout token")),
            Err(NotBelieved::Untrue(why)) => {
                if !counted {
                    self.count_wrong(arrival).await?;
                }
                Err(invalid(NOT_GOOD, why))
            }
        }
    }

    async fn count_wrong(&self, arrival: &Arrival) -> Result<(), Limited> {
        self.limits.check(Limit::WrongLogoutTokens, &Key::of(&[Part::Address(arrival.address)])).await
    }

    fn logout(&self, provider: &Provider, token: &LogoutToken) -> ProviderLogout {
        let (id, now) = (provider.id(), self.clock.now());
        let name = serde_json::json!(["logout token", id.as_str(), provider.issuer(), token.jti]).to_string();
        ProviderLogout {
            id: Sha256::of(name.as_bytes()),
            identity: id.clone(),
            subject: token.key.as_deref().map(|key| Subject::new(id, key)),
            session: token.sid.as_deref().map(|sid| provider_session(provider, sid)),
            ends_offline: token.ends_offline,
            issued_at: token.issued_at,
            received_at: now,
            remembered_until: remembered_until(token, now + self.sign_in),
        }
    }
}

/// What the provider is told of a token that is not believed; the log says why.
const NOT_GOOD: &str = "this is no valid logout token for this identity provider: the gateway's log has the reason";

fn invalid(told: &'static str, why: impl std::fmt::Display) -> LogoutRefusal {
    LogoutRefusal::Invalid { told, why: why.to_string() }
}

/// The clocks of our processes may differ by the margin.
fn remembered_until(token: &LogoutToken, sign_ins_end: Timestamp) -> Timestamp {
    token.refused_from.max(sign_ins_end) + MARGIN
}

fn oidc(provider: &Provider) -> Option<&Oidc> {
    match provider.sign_in_method() {
        SignInMethod::Redirect(oidc) => Some(oidc),
        SignInMethod::Password(_) => None,
    }
}

const fn result(received: &Result<bool, LogoutRefusal>) -> LogoutResult {
    match received {
        Ok(true) => LogoutResult::Accepted,
        Ok(false) => LogoutResult::Replayed,
        Err(LogoutRefusal::Invalid { .. }) => LogoutResult::Refused,
        Err(LogoutRefusal::Limited(_)) => LogoutResult::Limited,
        Err(LogoutRefusal::Failed(_)) => LogoutResult::Unavailable,
    }
}
