//! The identity provider's answer (OpenID Connect Core 3.1.2.5, RFC 9207 2.4).
//!
//! Defends against: CSRF and code injection (`state` and the binding cookie must agree), mix-up of providers (a separate path
//! for each, and `iss`), and replay (only the first answer of a round has an effect).

use super::answered::{Answered, explained, refused};
use super::bound::{Bound, BoundSignIns};
use super::conclusion::Conclusions;
use super::fault::Fault;
use super::first_answer::FirstAnswers;
use super::provider_leg::{ProviderLeg, unavailable};
use crate::audit::{Audit, Event};
use crate::clock::Clock;
use crate::identity::{
    Exchange, ExchangeError, Explanation, Meaning, Oidc, RedirectError, RedirectRefusal, SignInMethod, Verdict,
};
use crate::model::authorization::AnotherRound;
use crate::model::ids::AuthorizationId;
use crate::oauth::error::ErrorCode;
use crate::oauth::parameters::Parameters;
use crate::storage::Store;
use crate::telemetry::excerpt;
use crate::telemetry::metrics::{self, SignInOutcome};
use crate::wire::Arrival;

const UNAVAILABLE: &str = "the identity provider is not available now";

/// Takes the answers of identity providers.
pub(in crate::issuer) struct Callbacks {
    pub(in crate::issuer) bound: BoundSignIns,
    pub(in crate::issuer) first_answers: FirstAnswers,
    pub(in crate::issuer) conclusions: Conclusions,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
    pub(in crate::issuer) leg: ProviderLeg,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
}

/// The provider's answer.
#[derive(Debug)]
pub(crate) struct ProviderAnswer {
    /// The provider, from the path.
    pub identity: String,
    /// The query.
    pub parameters: Parameters,
    /// The request that carried it.
    pub arrival: Arrival,
}

impl ProviderAnswer {
    fn state(&self) -> &str {
        self.parameters.one("state").ok().flatten().unwrap_or_default()
    }

    /// The authorization that the answer names: the binding cookie of that name must come with it.
    #[must_use]
    pub(crate) fn authorization(&self) -> Option<AuthorizationId> {
        let (id, _) = self.state().split_once('.')?;
        AuthorizationId::parse(id)
    }
}

impl Callbacks {
    /// Takes the provider's answer. `cookie` is the value of the binding cookie of [`ProviderAnswer::authorization`].
    ///
    /// # Errors
    /// What the user is told on a page. Nothing reaches the client unless the browser is the one that consented.
    pub(in crate::issuer) async fn answer(
        &self,
        answer: &ProviderAnswer,
        cookie: Option<&str>,
    ) -> Result<Answered, Fault> {
        let id = answer.authorization().ok_or_else(|| Fault::not_ours("state is missing or not one of ours"))?;
        let bound = self.bound.bind(&answer.identity, &id, cookie, answer.arrival.address).await?;
        let (state, round) = (answer.state(), bound.authorization.round);
        if !(0..=round).any(|round| bound.binding.is_state(state, &id, round)) {
            return Err(Fault::not_ours("state is not the one that was sent to this provider"));
        }
        bound.provider.prepare().await.map_err(|error| unavailable(bound.provider, &error))?;
        let one = |name| answer.parameters.one(name).map_err(|repeated| Fault::not_ours(repeated.to_string()));
        redirect(&bound)?.check_iss(one("iss")?).map_err(Fault::not_ours)?;
        let is_current = bound.binding.is_state(state, &id, round);
        if !is_current || !bound.is_pending(self.clock.now())? {
            return self.first_answers.repeated(&bound).await;
        }
        match (one("error")?, one("code")?) {
            (Some(error), _) => {
                let error = RedirectError { error, description: one("error_description")? };
                self.provider_error(&bound, &error, &answer.arrival).await
            }
            (None, Some(code)) => self.provider_code(&bound, code, &answer.arrival).await,
            (None, None) => Err(Fault::not_ours("an answer with neither code nor error")),
        }
    }

    async fn provider_error(
        &self,
        bound: &Bound<'_>,
        error: &RedirectError<'_>,
        arrival: &Arrival,
    ) -> Result<Answered, Fault> {
        let authorization = &bound.authorization;
        // only the first answer may have an effect: this one must not undo a valid one that is being processed
        if !self.store.claim_authorization(&authorization.id, authorization.round, self.clock.now()).await? {
            return self.first_answers.repeated(bound).await;
        }
        let RedirectRefusal { meaning, diagnosis, told: explanation } = redirect(bound)?.redirect_refusal(error);
        if meaning == Meaning::AskAgain && !authorization.retried {
            return self.another_round(bound, AnotherRound::Retry).await;
        }
        if meaning == Meaning::ScopeRefused && authorization.offline {
            tracing::warn!(
                identity = %bound.provider.id(),
                "the identity provider refused the scope offline_access: sessions end with its own; allow the scope to \
                 this client there, or set standing = \"session\""
            );
            return self.another_round(bound, AnotherRound::WithoutOffline).await;
        }
        let (error, description) = (excerpt(error.error), error.description.map(|_| diagnosis.to_string()));
        tracing::warn!(
            identity = %bound.provider.id(), authorization = %authorization.id, error = &*error, description = description.as_deref(),
            "the identity provider answered with an error"
        );
        let (code, words) = told(meaning);
        self.refuse(bound, (code, words), explanation, arrival).await
    }

    /// Sends the browser to the provider once more, with a new `state`, without asking the user.
    async fn another_round(&self, bound: &Bound<'_>, why: AnotherRound) -> Result<Answered, Fault> {
        let mut authorization = bound.authorization.clone();
        if !self.store.next_round(&authorization.id, authorization.round, why).await? {
            return self.first_answers.repeated(bound).await;
        }
        authorization.round += 1;
        authorization.offline &= why != AnotherRound::WithoutOffline;
        self.leg.location(bound.provider, &authorization, &bound.binding).map(Answered::ToProvider)
    }

    async fn refuse(
        &self,
        bound: &Bound<'_>,
        (code, words): (ErrorCode, &str),
        explanation: Option<Explanation>,
        arrival: &Arrival,
    ) -> Result<Answered, Fault> {
        let authorization = &bound.authorization;
        if !self.store.refuse_authorization(&authorization.id, authorization.round).await? {
            return self.first_answers.repeated(bound).await;
        }
        let denied = code == ErrorCode::AccessDenied;
        let outcome = if denied { SignInOutcome::Denied } else { SignInOutcome::Failed };
        self.metrics.signed_in(bound.provider.id().as_str(), outcome);
        let client = authorization.purpose.asked().map(|(client, _)| client);
        let identity = bound.provider.id().as_str();
        self.audit.record(&Event::SignInRefused { identity, client, error: code.as_str() }, arrival);
        Ok(match explanation {
            Some(explanation) => explained(&bound.recipient, code, words, explanation),
            None => refused(&bound.recipient, code, words),
        })
    }

    async fn provider_code(&self, bound: &Bound<'_>, code: &str, arrival: &Arrival) -> Result<Answered, Fault> {
        let authorization = &bound.authorization;
        if !self.store.claim_authorization(&authorization.id, authorization.round, self.clock.now()).await? {
            return self.first_answers.repeated(bound).await;
        }
        let round = authorization.round;
        let exchange = Exchange {
            code,
            code_verifier: &bound.binding.code_verifier(round),
            nonce: &bound.binding.nonce(round),
            redirect_uri: &self.leg.callback_uri(bound.provider),
            offline: authorization.offline,
        };
        match redirect(bound)?.exchange(&exchange).await {
            Ok(signed_in) => self.conclusions.conclude(bound, signed_in, arrival).await,
            Err(error) => self.exchange_failed(bound, error, arrival).await,
        }
    }

    async fn exchange_failed(
        &self,
        bound: &Bound<'_>,
        error: ExchangeError,
        arrival: &Arrival,
    ) -> Result<Answered, Fault> {
        let identity = bound.provider.id();
        match error {
            ExchangeError::OfflineRefused(why) if bound.authorization.offline => {
                tracing::warn!(
                    %identity, why,
                    "the identity provider gives this user no offline access: the grant ends with their session there"
                );
                self.another_round(bound, AnotherRound::WithoutOffline).await
            }
            ExchangeError::Unavailable(why) => {
                tracing::warn!(%identity, why, "the sign-in could not be finished");
                self.refuse(bound, (ErrorCode::TemporarilyUnavailable, UNAVAILABLE), None, arrival).await
            }
            ExchangeError::OfflineRefused(why) | ExchangeError::Refused(why) => {
                tracing::error!(%identity, why, "the sign-in could not be finished");
                let words = "the identity provider's response could not be used; the gateway's log has the reason";
                self.refuse(bound, (ErrorCode::ServerError, words), None, arrival).await
            }
            ExchangeError::Explained { why, told } => {
                tracing::warn!(%identity, why, "the sign-in could not be finished");
                self.refuse(bound, verdict(told.verdict), Some(told), arrival).await
            }
        }
    }
}

/// What the client is told about the provider's error (OpenID Connect Core 3.1.2.6).
const fn told(meaning: Meaning) -> (ErrorCode, &'static str) {
    match meaning {
        Meaning::Denied => (ErrorCode::AccessDenied, "the identity provider denied access"),
        Meaning::NotCompleted | Meaning::UserMustAct => (ErrorCode::AccessDenied, "the sign-in was not completed"),
        Meaning::Unavailable | Meaning::AskAgain => (ErrorCode::TemporarilyUnavailable, UNAVAILABLE),
        Meaning::ScopeRefused | Meaning::SessionOver | Meaning::ClientRefused | Meaning::Other => {
            (ErrorCode::ServerError, "the identity provider refused the sign-in; the gateway's log has the reason")
        }
    }
}

/// What the client is told when the user is told more.
const fn verdict(verdict: Verdict) -> (ErrorCode, &'static str) {
    match verdict {
        Verdict::Denied => (ErrorCode::AccessDenied, "the identity provider denied access"),
        Verdict::NotCompleted => (ErrorCode::AccessDenied, "the sign-in was not completed"),
        Verdict::Failed => {
            (ErrorCode::ServerError, "the identity provider refused the sign-in; the gateway's log has the reason")
        }
    }
}

/// The provider as one that answers by a redirect.
fn redirect<'a>(bound: &Bound<'a>) -> Result<&'a Oidc, Fault> {
    match bound.provider.sign_in_method() {
        SignInMethod::Redirect(oidc) => Ok(oidc),
        SignInMethod::Password(_) => {
            Err(Fault::not_ours("people sign in with this identity provider on a page of ours"))
        }
    }
}
