//! Whether a user is still good, by the refresh token that the provider gave us.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{EXCHANGE_TIMEOUT, Oidc, provider_token};
use crate::config::Standing;
use crate::identity::exchange::{RenewError, Renewed};
use crate::identity::generic::SessionEnd;
use crate::identity::id_tokens::{Received, Unidentified};
use crate::identity::metadata::ProviderMetadata;
use crate::identity::token_endpoint::{Answer, ProviderRefusal};
use crate::identity::userinfo::{About, AnotherUser, Question};
use crate::model::user::User;
use crate::outbound::Diagnosis;
use crate::secret::{SecretText, base64url, random};

impl Oidc {
    pub(in crate::identity) async fn renew(
        &self,
        key: &str,
        known: &User,
        token: Option<&SecretText>,
    ) -> Result<Renewed, RenewError> {
        if self.settings.standing == Standing::None {
            return Ok(Renewed { token: None, user: None, access: None });
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
        let more = self.token_parameters(self.asks_offline());
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        form.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
        let asked_at = self.clock.now();
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = match self.ask(&metadata, &form, &[token.expose()], left).await {
            Ok(answer) => answer,
            Err(refusal) => return Err(self.refused(&metadata, refusal, deadline).await),
        };
        self.health.renewed();
        let user = self.user_of(&metadata, &answer, (key, known), deadline).await?;
        let offline = answer.names_offline_access == Some(true) || answer.session_end == SessionEnd::Never;
        // the same token with another end
        let kept = (answer.session_end != SessionEnd::Unsaid).then_some(token);
        let token = answer.refresh_token.as_ref().or(kept);
        let access = Some(Self::delegated(&answer, asked_at));
        Ok(Renewed { token: token.map(|token| provider_token(token, offline, &answer, asked_at)), user, access })
    }

    /// What a refusal means for the grant. A refused token has no code of its own everywhere (Dex says `invalid_request`), so an
    /// unclear refusal is compared with the answer to a token that the provider never issued: when they are alike, ours is worth
    /// as little. What stays unclear costs no grant, and degrades.
    async fn refused(&self, metadata: &ProviderMetadata, refusal: ProviderRefusal, deadline: Instant) -> RenewError {
        if !refusal.may_concern_the_token() || self.settings.flavour.names_refused_tokens() {
            return refusal.at_renewal();
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let diagnosis = refusal.diagnosis().to_string();
        match self.ask_with_unknown_token(metadata, left).await {
            Err(other) if other.is_like(&refusal) => RenewError::Ended(format!("{diagnosis}, as to an unknown token")),
            _ => {
                let words = format!("it is not clear whether a refresh token was refused: {diagnosis}");
                self.health.renewal_unclear(&words);
                RenewError::Unavailable(words)
            }
        }
    }

    /// Some providers look at a code before they look at who redeems it (ZITADEL's library), and at a refresh token after.
    ///
    /// # Errors
    /// When the provider does not accept our credentials.
    pub(super) async fn try_out_renewal(&self, metadata: &ProviderMetadata) -> Result<(), Diagnosis> {
        if self.settings.standing == Standing::None {
            return Ok(());
        }
        match self.ask_with_unknown_token(metadata, EXCHANGE_TIMEOUT).await {
            Err(refusal) if refusal.concerns_our_credentials() => Err(refusal.diagnosis().clone()),
            _ => Ok(()),
        }
    }

    /// Redeems a refresh token that the provider never issued.
    async fn ask_with_unknown_token(
        &self,
        metadata: &ProviderMetadata,
        timeout: Duration,
    ) -> Result<Answer, ProviderRefusal> {
        let made_up = base64url(&random::<32>());
        let form = [("grant_type", "refresh_token"), ("refresh_token", &made_up)];
        self.ask(metadata, &form, &[&made_up], timeout).await
    }

    /// The user of a renewal, if the provider tells. It has spent our old refresh token by now, so that keys which cannot be
    /// had must not cost us the new one: the user then stays as it was. A token that is wrong is another matter.
    async fn user_of(
        &self,
        metadata: &ProviderMetadata,
        answer: &Answer,
        (key, known): (&str, &User),
        deadline: Instant,
    ) -> Result<Option<User>, RenewError> {
        let identified = match &answer.id_token {
            None => None,
            Some(id_token) => {
                let received = Received { id_token, access_token: &answer.access_token, nonce: None };
                match timeout_at(deadline, self.id_tokens.identify(metadata, &received)).await {
                    Ok(Ok(identified)) if identified.key == key => {
                        Some(self.with_groups(metadata, identified, answer, deadline).await?)
                    }
                    Ok(Ok(_)) => return Err(self.another_user()),
                    Ok(Err(Unidentified::Untrue(words))) => return Err(RenewError::Unavailable(words)),
                    // whom a setting no longer admits is out; the sign-in that follows says why
                    Ok(Err(Unidentified::NotAdmitted { why, .. })) => return Err(RenewError::Ended(why)),
                    Err(_) | Ok(Err(Unidentified::NoKeys(_))) => {
                        tracing::warn!(identity = self.identity, "the ID token of a renewal cannot be verified now");
                        return Ok(None);
                    }
                }
            }
        };
        let about = identified.as_ref().map_or(About::Key(key), About::Token);
        let timeout = deadline.saturating_duration_since(Instant::now());
        let question = Question { about, access_token: &answer.access_token, known, timeout };
        let user = self.whole_user(metadata, question).await;
        let user = user.map_err(|AnotherUser(words)| RenewError::Unavailable(words))?;
        Ok((user != *known).then_some(user))
    }

    fn another_user(&self) -> RenewError {
        RenewError::Unavailable(format!(
            "identity {} answered the refresh token of one user with the ID token of another: nothing of it is used",
            self.identity
        ))
    }

    fn late(&self) -> RenewError {
        let seconds = self.renew_timeout.as_secs_f32();
        RenewError::Unavailable(format!("no answer from identity {} within {seconds} s", self.identity))
    }
}
