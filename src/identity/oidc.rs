//! One OpenID Connect provider: where the browser goes, and what comes back. `renewal.rs` has whether the user is still good,
//! `examination.rs` what the doctor asks.

mod delegation;
mod examination;
mod groups;
mod logout;
mod renewal;
mod userinfo;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::client_authentication::ClientAuthentication;
use super::discovery::Discovery;
use super::entra::Challenges;
use super::exchange::{Begin, Exchange, ExchangeError, ProviderToken, RedirectError, RedirectRefusal, SignedIn};
use super::generic::{SessionEnd, Symptom};
use super::health::Health;
use super::id_tokens::{IdTokens, Received, Unidentified};
use super::metadata::ProviderMetadata;
use super::token_endpoint::{Answer, ProviderRefusal, ProviderTokenEndpoint};
use super::userinfo::{About, AnotherUser, Question};
use crate::clock::{Clock, Timestamp};
use crate::config::{OidcSettings, Outbound, Standing};
use crate::model::ids::ClientId;
use crate::model::user::User;
use crate::oauth::parameters::add_to_query;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};
use crate::outbound::{Diagnosis, Fetcher};
use crate::rights::GroupReader;
use crate::secret::{SecretText, base64url, random};
use crate::telemetry::excerpt;
use crate::telemetry::metrics::{ProviderCall, ProviderCalls};

/// How long the token endpoint may take at a sign-in, where the user watches.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a renewal may take in all: clients give up on our own token endpoint after ten seconds.
const RENEW_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the userinfo endpoint may take at a sign-in.
const USERINFO_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a revocation may take; no user waits for it.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many logout tokens may wait for the next reading of the keys.
const LOGOUTS_WAITING: usize = 16;

/// An OpenID Connect provider.
pub struct Oidc {
    identity: String,
    settings: OidcSettings,
    fetcher: Fetcher,
    clock: Clock,
    health: Arc<Health>,
    discovery: Discovery,
    id_tokens: IdTokens,
    authentication: ClientAuthentication,
    challenges: Challenges,
    renew_timeout: Duration,
    logouts_waiting: Semaphore,
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
        Self {
            authentication: ClientAuthentication::new(settings, clock),
            challenges: Challenges::new(clock.clone()),
            identity: identity.to_owned(),
            settings: settings.clone(),
            clock: clock.clone(),
            fetcher,
            health,
            discovery,
            id_tokens,
            renew_timeout: RENEW_TIMEOUT,
            logouts_waiting: Semaphore::new(LOGOUTS_WAITING),
        }
    }

    pub(super) const fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    pub(super) const fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    pub(super) const fn groups(&self) -> &GroupReader {
        self.id_tokens.groups()
    }

    pub(super) fn calls(&self) -> &ProviderCalls {
        self.health.calls()
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
        let known =
            self.settings.scopes.contains(OFFLINE_ACCESS) || self.settings.flavour.always_knows_offline_access();
        self.settings.standing == Standing::Offline && (known || listed())
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
        Ok(self.authorization_request(&metadata, begin))
    }

    fn authorization_request(&self, metadata: &ProviderMetadata, begin: &Begin<'_>) -> String {
        let more = self.settings.flavour.authorization_parameters(begin.offline);
        let claims = begin.client.and_then(|client| self.challenges.of(client));
        let scope = self.settings.flavour.outward_scopes(&self.requested_scopes(begin.offline));
        let mut request = vec![
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", begin.redirect_uri),
            ("scope", &scope),
            ("state", begin.state),
            ("nonce", begin.nonce),
            ("code_challenge", begin.code_challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        request.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
        for (name, value) in &self.settings.authorize_params {
            request.retain(|(ours, _)| ours != name);
            request.push((name, value));
        }
        if let Some(claims) = &claims {
            request.retain(|(name, _)| *name != "claims");
            request.push(("claims", claims));
        }
        add_to_query(&metadata.authorization_endpoint, &request)
    }

    /// Checks `iss` of the provider's answer (mix-up, RFC 9207 2.4): demanded where announced, compared wherever sent. While
    /// it is not known whether the provider announces it, an answer without is refused.
    ///
    /// # Errors
    /// Words for the operator.
    pub fn check_iss(&self, iss: Option<&str>) -> Result<(), String> {
        let (id, flavour) = (&self.identity, &self.settings.flavour);
        let known = self.discovery.known();
        let in_metadata = known.as_ref().map(|metadata| metadata.issuer.as_str());
        match (iss, &known) {
            (Some(iss), _) if flavour.answer_issuer_is(&self.settings.issuer, in_metadata, iss) => Ok(()),
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

    /// What an error on the provider's redirect means.
    #[must_use]
    pub fn redirect_refusal(&self, error: &RedirectError<'_>) -> RedirectRefusal {
        self.settings.flavour.redirect_refusal(error)
    }

    pub(super) fn challenged(&self, client: &ClientId, claims: &str) {
        self.challenges.keep(client, claims);
    }

    /// Exchanges the provider's code and verifies the ID token.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub async fn exchange(&self, exchange: &Exchange<'_>) -> Result<SignedIn, ExchangeError> {
        let metadata = self.discovery.get().await.map_err(|failure| ExchangeError::unavailable(&failure))?;
        let verifier = exchange.code_verifier.expose();
        let more = self.token_parameters(exchange.offline);
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", exchange.code),
            ("redirect_uri", exchange.redirect_uri),
            ("code_verifier", verifier),
        ];
        form.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
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
        let identified = identified.map_err(|why| match why {
            Unidentified::NoKeys(words) => ExchangeError::Unavailable(words),
            Unidentified::Untrue(words) => ExchangeError::Refused(words),
            Unidentified::NotAdmitted { why, told } => ExchangeError::Explained { why, told },
        })?;
        self.tell_of_missing_scopes(&answer, exchange.offline);
        let deadline = Instant::now() + EXCHANGE_TIMEOUT;
        let identified = self.with_groups(&metadata, identified, &answer, deadline).await?;
        let question = Question {
            about: About::Token(&identified),
            access_token: &answer.access_token,
            known: &User::default(),
            timeout: USERINFO_TIMEOUT,
        };
        let user = self.whole_user(&metadata, question).await;
        let user = user.map_err(|AnotherUser(words)| ExchangeError::Refused(words))?;
        let token = match self.settings.standing {
            Standing::None => None,
            Standing::Offline | Standing::Session => {
                let granted = answer.names_offline_access.unwrap_or(true);
                let offline = exchange.offline && (granted || answer.session_end == SessionEnd::Never);
                answer.refresh_token.as_ref().map(|token| provider_token(token, offline, &answer, asked_at))
            }
        };
        let renewable = self.settings.standing == Standing::None || token.is_some();
        if !renewable {
            let hint = self.settings.flavour.hint(Symptom::NoRefreshToken, &self.identity);
            tracing::warn!(identity = self.identity, hint, "the identity provider gave no refresh token");
        }
        Ok(SignedIn { key: identified.key, user, token, renewable, session: identified.session })
    }

    /// Redeems a made-up code: a provider that refuses the code has accepted the client before (RFC 6749 5.2).
    pub(super) async fn try_out(&self, redirect_uri: &str) -> Result<(), Diagnosis> {
        let metadata = self.discovery.get().await?;
        self.id_tokens.prepare(&metadata).await?;
        let (code, verifier) = (base64url(&random::<32>()), base64url(&random::<32>()));
        let more = self.token_parameters(self.asks_offline());
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &verifier),
        ];
        form.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
        match self.ask(&metadata, &form, &[&code, &verifier], EXCHANGE_TIMEOUT).await {
            Err(refusal) if refusal.concerns_our_credentials() => Err(refusal.diagnosis().clone()),
            Err(ProviderRefusal::Away(failure) | ProviderRefusal::Strange(failure)) => Err(failure),
            Err(ProviderRefusal::Error(_)) => self.try_out_renewal(&metadata).await,
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

    fn endpoint<'a>(&'a self, metadata: &'a ProviderMetadata) -> ProviderTokenEndpoint<'a> {
        ProviderTokenEndpoint {
            identity: &self.identity,
            settings: &self.settings,
            fetcher: &self.fetcher,
            metadata,
            authentication: &self.authentication,
        }
    }

    /// What the token endpoint is asked with besides the grant.
    fn token_parameters(&self, offline: bool) -> Vec<(&'static str, String)> {
        self.settings.flavour.token_parameters(&self.requested_scopes(offline))
    }

    /// A permission that was not granted shows only later, as a refusal of the API.
    fn tell_of_missing_scopes(&self, answer: &Answer, offline: bool) {
        let asked = self.requested_scopes(offline);
        let missing = self.settings.flavour.missing_scopes(&asked, answer.scope.as_deref());
        if !missing.is_empty() {
            tracing::warn!(identity = self.identity, ?missing, "the provider granted fewer scopes than were asked for");
        }
    }

    /// Asks the token endpoint and remembers how it fared.
    async fn ask(
        &self,
        metadata: &ProviderMetadata,
        form: &[(&str, &str)],
        secrets: &[&str],
        timeout: Duration,
    ) -> Result<Answer, ProviderRefusal> {
        let began = Instant::now();
        let result = self.endpoint(metadata).ask(form, secrets, timeout).await;
        let answered = !matches!(result, Err(ProviderRefusal::Away(_) | ProviderRefusal::Strange(_)));
        self.health.calls().called(ProviderCall::Token, answered, began.elapsed());
        match &result {
            Err(refusal @ (ProviderRefusal::Away(_) | ProviderRefusal::Strange(_))) => {
                self.health.failed(&refusal.diagnosis().to_string());
            }
            Err(refusal) if refusal.concerns_our_credentials() => {
                self.health.answered();
                self.health.credentials_refused(&refusal.diagnosis().to_string());
            }
            Ok(_) | Err(ProviderRefusal::Error(_)) => {
                self.health.answered();
                self.health.credentials_accepted();
            }
        }
        result
    }
}

/// A refresh token, as it is kept.
fn provider_token(token: &SecretText, offline: bool, answer: &Answer, asked_at: Timestamp) -> ProviderToken {
    let ends_at = match answer.session_end {
        SessionEnd::After(time) => Some(asked_at + time),
        SessionEnd::Unsaid | SessionEnd::Open | SessionEnd::Never => None,
    };
    ProviderToken { token: token.clone(), offline, ends_at }
}

#[cfg(test)]
mod tests;
