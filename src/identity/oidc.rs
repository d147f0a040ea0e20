//! One OpenID Connect provider: where the browser goes, what comes back, and whether the user is still good.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, timeout_at};

use super::discovery::Discovery;
use super::exchange::{Begin, Exchange, ExchangeError, ProviderToken, RenewError, Renewed, SignedIn};
use super::generic::{Meaning, Symptom};
use super::health::Health;
use super::id_token::Identified;
use super::id_tokens::{IdTokens, Received, Unidentified};
use super::metadata::ProviderMetadata;
use super::token_endpoint::{Answer, Refusal, TokenEndpoint};
use crate::clock::{Clock, Timestamp};
use crate::config::{OidcSettings, Outbound, Standing};
use crate::model::user::User;
use crate::oauth::parameters::add_to_query;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};
use crate::outbound::{Diagnosis, Fetcher};
use crate::secret::{SecretText, base64url, random};
use crate::telemetry::excerpt;
use crate::telemetry::metrics::{ProviderCall, ProviderCalls};

/// How long the token endpoint may take at a sign-in, where the user watches.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a renewal may take in all: clients give up on our own token endpoint after ten seconds.
const RENEW_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a revocation may take; no user waits for it.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(5);

/// An OpenID Connect provider.
pub struct Oidc {
    identity: String,
    settings: OidcSettings,
    fetcher: Fetcher,
    clock: Clock,
    health: Arc<Health>,
    discovery: Discovery,
    id_tokens: IdTokens,
    renew_timeout: Duration,
}

impl Oidc {
    pub(super) fn new(
        identity: &str,
        settings: &OidcSettings,
        outbound: &Outbound,
        clock: &Clock,
        calls: ProviderCalls,
    ) -> Self {
        let fetcher = Fetcher::through(outbound.ca_file.iter().chain(&settings.ca_file), &outbound.proxy);
        let health = Arc::new(Health::new(calls));
        let discovery = Discovery::new(identity, settings, fetcher.clone(), Arc::clone(&health), clock.clone());
        let id_tokens = IdTokens::new(identity, settings, fetcher.clone(), Arc::clone(&health), clock.clone());
        let (identity, settings, clock) = (identity.to_owned(), settings.clone(), clock.clone());
        Self { identity, settings, fetcher, clock, health, discovery, id_tokens, renew_timeout: RENEW_TIMEOUT }
    }

    pub(super) const fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    /// Keeps metadata and keys fresh, for ever.
    pub(super) async fn run(&self) {
        let mut failing = false;
        loop {
            failing = self.discovery.keep(failing).await;
            if let Some(metadata) = self.discovery.known()
                && let Err(cause) = self.id_tokens.prepare(&metadata).await
            {
                tracing::warn!(identity = self.identity, "{cause}");
            }
            self.discovery.pause(failing).await;
        }
    }

    pub(super) async fn prepare(&self) -> Result<(), Diagnosis> {
        self.discovery.get().await.map(drop)
    }

    /// As [`Self::prepare`], and the last reading did not fail.
    pub(super) async fn is_reachable(&self) -> Result<(), Diagnosis> {
        self.prepare().await?;
        self.discovery.last_failure().map_or(Ok(()), Err)
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.health.trouble()
    }

    pub(super) fn asks_offline(&self) -> bool {
        let listed = || self.discovery.known().is_some_and(|metadata| metadata.lists_offline_access());
        self.settings.standing == Standing::Offline && (self.settings.scopes.contains(OFFLINE_ACCESS) || listed())
    }

    pub(super) fn requested_scopes(&self, offline: bool) -> ScopeSet {
        let asked = self.settings.scopes.without(&ScopeSet::empty().with(OFFLINE_ACCESS)).with("openid");
        if offline { asked.with(OFFLINE_ACCESS) } else { asked }
    }

    /// Where the browser goes.
    ///
    /// # Errors
    /// When the provider's metadata was never read: a 503 page.
    pub fn authorization_url(&self, begin: &Begin<'_>) -> Result<String, ExchangeError> {
        let metadata = self.discovery.known_or_hurry().ok_or_else(|| {
            let words = self.trouble().unwrap_or_else(|| format!("identity {} was not reached yet", self.identity));
            ExchangeError::Unavailable(words)
        })?;
        let request = [
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", begin.redirect_uri),
            ("scope", &self.settings.flavour.outward_scopes(&self.requested_scopes(begin.offline))),
            ("state", begin.state),
            ("nonce", begin.nonce),
            ("code_challenge", begin.code_challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        Ok(add_to_query(&metadata.authorization_endpoint, &request))
    }

    /// Checks `iss` of the provider's answer (mix-up, RFC 9207 2.4): demanded where announced, compared wherever sent. While
    /// it is not known whether the provider announces it, an answer without is refused.
    ///
    /// # Errors
    /// Words for the operator.
    pub fn check_iss(&self, iss: Option<&str>) -> Result<(), String> {
        let (id, flavour) = (&self.identity, self.settings.flavour);
        match (iss, self.discovery.known()) {
            (Some(iss), _) if flavour.issuer_is(&self.settings.issuer, iss) => Ok(()),
            (Some(iss), _) => Err(format!(
                "the answer says that it comes from {:?}, identity {id} is {:?}: check `issuer`",
                excerpt(iss),
                self.settings.issuer
            )),
            (None, Some(metadata)) if !metadata.sends_iss => Ok(()),
            (None, Some(_)) => {
                let hint = flavour.hint(Symptom::NoIss, id).map(|hint| format!(": {hint}")).unwrap_or_default();
                Err(format!("the answer of identity {id} has no iss although its metadata announces it{hint}"))
            }
            (None, None) => Err(format!("the answer has no iss, and whether identity {id} sends it is not known yet")),
        }
    }

    /// What an error code on the provider's redirect means.
    #[must_use]
    pub fn meaning(&self, error: &str) -> Meaning {
        self.settings.flavour.meaning(error)
    }

    /// Exchanges the provider's code and verifies the ID token.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub async fn exchange(&self, exchange: &Exchange<'_>) -> Result<SignedIn, ExchangeError> {
        let metadata = self.discovery.get().await.map_err(|failure| ExchangeError::unavailable(&failure))?;
        let verifier = exchange.code_verifier.expose();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", exchange.code),
            ("redirect_uri", exchange.redirect_uri),
            ("code_verifier", verifier),
        ];
        let asked_at = self.clock.now();
        let answer = self.ask(&metadata, &form, &[exchange.code, verifier], EXCHANGE_TIMEOUT).await;
        let answer = answer.map_err(|refusal| refusal.at_exchange(exchange.offline))?;
        let id_token = answer.id_token.as_ref().ok_or_else(|| {
            ExchangeError::Refused(format!(
                "identity {} sent no ID token: is it an OpenID Connect client?",
                self.identity
            ))
        })?;
        let received = Received { id_token, access_token: &answer.access_token, nonce: Some(exchange.nonce) };
        let identified = self.id_tokens.identify(&metadata, &received).await;
        let Identified { key, user, .. } = identified.map_err(|why| match why {
            Unidentified::NoKeys(words) => ExchangeError::Unavailable(words),
            Unidentified::Untrue(words) => ExchangeError::Refused(words),
        })?;
        let token = match self.settings.standing {
            Standing::None => None,
            Standing::Offline | Standing::Session => {
                let granted = answer.names_offline_access.unwrap_or(true);
                let marked = self.settings.flavour.marks_offline(answer.refresh_expires_in);
                let offline = exchange.offline && (granted || marked);
                answer.refresh_token.as_ref().map(|token| provider_token(token, offline, &answer, asked_at))
            }
        };
        let renewable = self.settings.standing == Standing::None || token.is_some();
        Ok(SignedIn { key, user, token, renewable })
    }

    pub(super) async fn renew(&self, key: &str, token: Option<&SecretText>) -> Result<Renewed, RenewError> {
        if self.settings.standing == Standing::None {
            return Ok(Renewed { token: None, user: None });
        }
        let Some(token) = token else {
            let id = &self.identity;
            return Err(RenewError::Ended(format!(
                "no refresh token of identity {id} is held, and its `standing` asks for one: signing in again brings it"
            )));
        };
        let deadline = Instant::now() + self.renew_timeout;
        let metadata = timeout_at(deadline, self.discovery.get()).await;
        let metadata = metadata.map_err(|_elapsed| self.late())?;
        let metadata = metadata.map_err(|failure| RenewError::Unavailable(failure.to_string()))?;
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        let asked_at = self.clock.now();
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self.ask(&metadata, &form, &[token.expose()], left).await.map_err(Refusal::at_renewal)?;
        let user = match &answer.id_token {
            Some(id_token) => {
                let received = Received { id_token, access_token: &answer.access_token, nonce: None };
                self.user_of(&metadata, &received, key, deadline).await?
            }
            None => None,
        };
        let marked = self.settings.flavour.marks_offline(answer.refresh_expires_in);
        let offline = answer.names_offline_access == Some(true) || marked;
        let kept = answer.refresh_expires_in.is_some().then_some(token);
        let token = answer.refresh_token.as_ref().or(kept);
        Ok(Renewed { token: token.map(|token| provider_token(token, offline, &answer, asked_at)), user })
    }

    /// The user of a renewal's ID token. The provider has spent our old refresh token by now, so that keys which cannot be
    /// had must not cost us the new one: the user then stays as it was. A token that is wrong is another matter.
    async fn user_of(
        &self,
        metadata: &ProviderMetadata,
        received: &Received<'_>,
        key: &str,
        deadline: Instant,
    ) -> Result<Option<User>, RenewError> {
        match timeout_at(deadline, self.id_tokens.identify(metadata, received)).await {
            Ok(Ok(identified)) if identified.key == key => Ok(Some(identified.user)),
            Err(_) | Ok(Err(Unidentified::NoKeys(_))) => {
                tracing::warn!(identity = self.identity, "the ID token of a renewal cannot be verified now");
                Ok(None)
            }
            Ok(Err(Unidentified::Untrue(words))) => Err(RenewError::Unavailable(words)),
            Ok(Ok(_)) => Err(RenewError::Unavailable(format!(
                "identity {} answered the refresh token of one user with the ID token of another: nothing of it is used",
                self.identity
            ))),
        }
    }

    fn late(&self) -> RenewError {
        let seconds = self.renew_timeout.as_secs_f32();
        RenewError::Unavailable(format!("no answer from identity {} within {seconds} s", self.identity))
    }

    /// Redeems a made-up code: a provider that refuses the code has accepted the client before (RFC 6749 5.2).
    pub(super) async fn try_out(&self, redirect_uri: &str) -> Result<(), Diagnosis> {
        let metadata = self.discovery.get().await?;
        self.id_tokens.prepare(&metadata).await?;
        let (code, verifier) = (base64url(&random::<32>()), base64url(&random::<32>()));
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &verifier),
        ];
        match self.ask(&metadata, &form, &[&code, &verifier], EXCHANGE_TIMEOUT).await {
            Err(refusal) if refusal.concerns_our_credentials() => Err(refusal.diagnosis().clone()),
            Err(Refusal::Away(failure) | Refusal::Strange(failure)) => Err(failure),
            Err(Refusal::Error { .. }) => Ok(()),
            Ok(_) => Err(Diagnosis::new(format!("identity {} accepts a code that it never issued", self.identity))
                .with_hint("do not trust this provider with sign-ins: check `issuer`")),
        }
    }

    /// Revokes a refresh token; `false` when the provider has no endpoint for that.
    pub(super) async fn revoke(&self, token: &SecretText) -> Result<bool, Diagnosis> {
        let metadata = self.discovery.get().await?;
        let Some(endpoint) = &metadata.revocation_endpoint else { return Ok(false) };
        let form = [("token", token.expose()), ("token_type_hint", "refresh_token")];
        let ours = self.endpoint(&metadata);
        let posted = ours.post("revocation", endpoint, &form, REVOKE_TIMEOUT);
        let fetched = self.health.calls().timed(ProviderCall::Revocation, posted).await?;
        // Keycloak answers an unknown token with 200 and an error document: it is gone, which is all we want.
        if fetched.status == StatusCode::OK {
            Ok(true)
        } else {
            let (identity, status) = (&self.identity, fetched.status.as_u16());
            Err(Diagnosis::new(format!("the revocation endpoint of identity {identity} answers {status}")))
        }
    }

    fn endpoint<'a>(&'a self, metadata: &'a ProviderMetadata) -> TokenEndpoint<'a> {
        TokenEndpoint { identity: &self.identity, settings: &self.settings, fetcher: &self.fetcher, metadata }
    }

    /// Asks the token endpoint and remembers how it fared.
    async fn ask(
        &self,
        metadata: &ProviderMetadata,
        form: &[(&str, &str)],
        secrets: &[&str],
        timeout: Duration,
    ) -> Result<Answer, Refusal> {
        let began = Instant::now();
        let result = self.endpoint(metadata).ask(form, secrets, timeout).await;
        let answered = !matches!(result, Err(Refusal::Away(_) | Refusal::Strange(_)));
        self.health.calls().called(ProviderCall::Token, answered, began.elapsed());
        match &result {
            Err(refusal @ (Refusal::Away(_) | Refusal::Strange(_))) => {
                self.health.failed(&refusal.diagnosis().to_string());
            }
            Err(refusal) if refusal.concerns_our_credentials() => {
                self.health.answered();
                self.health.credentials_refused(&refusal.diagnosis().to_string());
            }
            Ok(_) | Err(Refusal::Error { .. }) => {
                self.health.answered();
                self.health.credentials_accepted();
            }
        }
        result
    }
}

fn provider_token(token: &SecretText, offline: bool, answer: &Answer, asked_at: Timestamp) -> ProviderToken {
    // 0 is no end: a token that never ends, or a provider that says nothing
    let ends_at = answer.refresh_expires_in.filter(|seconds| *seconds > 0);
    let ends_at = ends_at.map(|seconds| asked_at + Duration::from_secs(seconds));
    ProviderToken { token: token.clone(), offline, ends_at }
}

#[cfg(test)]
mod tests;
