//! Whether a user is still good, by the refresh token that the provider gave us.

use tokio::time::{Instant, timeout_at};

use super::{Oidc, provider_token};
use crate::config::Standing;
use crate::identity::exchange::{RenewError, Renewed};
use crate::identity::generic::SessionEnd;
use crate::identity::id_token::Identified;
use crate::identity::id_tokens::{Received, Unidentified};
use crate::identity::metadata::ProviderMetadata;
use crate::identity::token_endpoint::ProviderRefusal;
use crate::secret::SecretText;

impl Oidc {
    pub(in crate::identity) async fn renew(
        &self,
        key: &str,
        token: Option<&SecretText>,
    ) -> Result<Renewed, RenewError> {
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
        let more = self.token_parameters(self.asks_offline());
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        form.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
        let asked_at = self.clock.now();
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self.ask(&metadata, &form, &[token.expose()], left).await.map_err(ProviderRefusal::at_renewal)?;
        let user = match &answer.id_token {
            Some(id_token) => {
                let received = Received { id_token, access_token: &answer.access_token, nonce: None };
                match self.identified(&metadata, &received, key, deadline).await? {
                    Some(identified) => Some(self.with_groups(&metadata, identified, &answer, deadline).await?.user),
                    None => None,
                }
            }
            None => None,
        };
        let offline = answer.names_offline_access == Some(true) || answer.session_end == SessionEnd::Never;
        // the same token with another end
        let kept = (answer.session_end != SessionEnd::Unsaid).then_some(token);
        let token = answer.refresh_token.as_ref().or(kept);
        Ok(Renewed { token: token.map(|token| provider_token(token, offline, &answer, asked_at)), user })
    }

    /// The user of a renewal's ID token. The provider has spent our old refresh token by now, so that keys which cannot be
    /// had must not cost us the new one: the user then stays as it was. A token that is wrong is another matter.
    async fn identified(
        &self,
        metadata: &ProviderMetadata,
        received: &Received<'_>,
        key: &str,
        deadline: Instant,
    ) -> Result<Option<Identified>, RenewError> {
        match timeout_at(deadline, self.id_tokens.identify(metadata, received)).await {
            Ok(Ok(identified)) if identified.key == key => Ok(Some(identified)),
            Err(_) | Ok(Err(Unidentified::NoKeys(_))) => {
                tracing::warn!(identity = self.identity, "the ID token of a renewal cannot be verified now");
                Ok(None)
            }
            Ok(Err(Unidentified::Untrue(words))) => Err(RenewError::Unavailable(words)),
            // whom a setting no longer admits is out; the sign-in that follows says why
            Ok(Err(Unidentified::NotAdmitted { why, .. })) => Err(RenewError::Ended(why)),
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
}
