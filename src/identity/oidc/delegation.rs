//! Tokens for a server behind us: token exchange (RFC 8693) and the on-behalf-of flow of Entra ID.

use std::time::Duration;

use tokio::time::Instant;

use super::Oidc;
use crate::clock::Timestamp;
use crate::config::ProviderGrant;
use crate::identity::delegated::{DelegateError, DelegatedToken};
use crate::identity::token_endpoint::{Answer, Life, ProviderRefusal};
use crate::telemetry::metrics::ProviderCall;

/// How long the exchange may take: a call waits for it.
const TIMEOUT: Duration = Duration::from_secs(8);
/// How long a token is taken for good whose answer does not say.
const UNSAID: Duration = Duration::from_mins(1);

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl Oidc {
    pub(in crate::identity) async fn delegate(
        &self,
        subject: &DelegatedToken,
        by: &ProviderGrant,
    ) -> Result<DelegatedToken, DelegateError> {
        let token = subject.token.expose();
        let asked_scopes;
        let mut form = match by {
            ProviderGrant::AccessToken => return self.sendable(subject.clone()),
            ProviderGrant::TokenExchange { audience, scopes } => {
                asked_scopes = scopes.to_string();
                vec![
                    ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                    ("subject_token", token),
                    ("subject_token_type", ACCESS_TOKEN),
                    ("requested_token_type", ACCESS_TOKEN),
                    ("audience", audience),
                ]
            }
            ProviderGrant::OnBehalfOf { scopes } => {
                asked_scopes = scopes.to_string();
                vec![
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", token),
                    ("requested_token_use", "on_behalf_of"),
                ]
            }
        };
        if !asked_scopes.is_empty() {
            form.push(("scope", &asked_scopes));
        }
        let asked_at = self.clock.now();
        let answer = self.ask_to_delegate(&form, token).await?;
        self.sendable(Self::delegated(&answer, asked_at))
    }

    /// Asks the token endpoint. That a target is refused says nothing of our own credentials, whatever its code: it degrades
    /// nothing.
    async fn ask_to_delegate(&self, form: &[(&str, &str)], subject: &str) -> Result<Answer, DelegateError> {
        let metadata = self.discovery.get().await;
        let metadata = metadata.map_err(|failure| DelegateError::Unavailable(failure.to_string()))?;
        let began = Instant::now();
        let result = self.endpoint(&metadata).ask(form, &[subject], TIMEOUT).await;
        let answered = !matches!(result, Err(ProviderRefusal::Away(_) | ProviderRefusal::Strange(_)));
        self.health.calls().called(ProviderCall::Exchange, answered, began.elapsed());
        match &result {
            Err(ProviderRefusal::Away(diagnosis)) => self.health.failed(&diagnosis.to_string()),
            _ => self.health.answered(),
        }
        result.map_err(|refusal| {
            let code = refusal.error_code().map(str::to_owned);
            let hint = code.and_then(|code| self.settings.flavour.exchange_hint(&code, &self.identity));
            refusal.at_delegation(hint)
        })
    }

    fn sendable(&self, token: DelegatedToken) -> Result<DelegatedToken, DelegateError> {
        token.sendable(self.clock.now()).map_err(|why| {
            let identity = &self.identity;
            DelegateError::Refused(format!(
                "the token that identity {identity} issued cannot be sent to a server: {why}"
            ))
        })
    }

    /// The access token of an answer to a request of that time.
    pub(super) fn delegated(answer: &Answer, asked_at: Timestamp) -> DelegatedToken {
        let life = match answer.life {
            Life::For(life) => life,
            Life::Unsaid => UNSAID,
            Life::Over => Duration::ZERO,
        };
        let is_bearer = answer.token_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        DelegatedToken { token: answer.access_token.clone(), expires_at: asked_at + life, is_bearer }
    }
}
