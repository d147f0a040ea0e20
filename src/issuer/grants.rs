//! The end of a grant, and what hangs on it.

use std::time::Duration;

use super::Issuer;
use crate::audit::{self, Event};
use crate::keys::PROVIDER_TOKEN;
use crate::model::grant::{EndReason, Grant};
use crate::model::ids::{GrantId, IdentityId, Subject};
use crate::secret::SecretText;
use crate::storage::{EndedGrant, StoreError};

/// How many grants of each kind one transaction ends.
const BATCH: i64 = 100;
/// How long the provider may keep us with what is revoked after one sweep.
const REVOCATIONS: Duration = Duration::from_mins(1);

impl Issuer {
    /// Ends a grant and everything under it. Nothing happens when it had ended.
    pub(super) async fn end_grant(&self, id: &GrantId, reason: EndReason) -> Result<(), StoreError> {
        let Some(ended) = self.store().end_grant(id, reason, self.now()).await? else { return Ok(()) };
        self.note_end(&ended);
        if let Some(token) = self.to_revoke(&ended) {
            let issuer = self.clone();
            self.0.tasks.spawn(async move { issuer.revoke_at_provider(&ended.grant.identity, &token).await });
        }
        Ok(())
    }

    /// Ends the grants that nobody can use any more. For the background: it waits while tokens are revoked, so that a
    /// provider is asked for one at a time, however many grants came to their end at once.
    pub(super) async fn end_unusable_grants(&self) -> Result<(), StoreError> {
        let mut tokens = Vec::new();
        loop {
            let now = self.now();
            let ended = self.store().end_unusable_grants(self.config().lifetimes.access_token, now, BATCH).await?;
            if ended.is_empty() {
                break;
            }
            for ended in ended {
                self.note_end(&ended);
                tokens.extend(self.to_revoke(&ended).map(|token| (ended.grant.identity, token)));
            }
        }
        let revocations = async {
            for (identity, token) in &tokens {
                self.revoke_at_provider(identity, token).await;
            }
        };
        if tokio::time::timeout(REVOCATIONS, revocations).await.is_err() {
            tracing::warn!(
                "not every token of the grants that came to their end could be revoked: the provider is slow"
            );
        }
        Ok(())
    }

    fn note_end(&self, ended: &EndedGrant) {
        self.0.parts.revocation.note_ended(&ended.grant.id);
        audit::record(&Event::Ended { grant: &ended.grant, reason: ended.reason });
    }

    /// The provider's token, when it ends with the grant. A session-bound one stays: revoking it would sign the user out of
    /// everything at the provider. While the user has another grant there the token stays, too, because some providers
    /// end all of a user's tokens with one.
    fn to_revoke(&self, ended: &EndedGrant) -> Option<SecretText> {
        let ends = ended.grant.standing.offline && ended.was_last && ended.reason != EndReason::IdentityProvider;
        if ends { self.open_provider_token(&ended.grant) } else { None }
    }

    async fn revoke_at_provider(&self, identity: &IdentityId, token: &SecretText) {
        if let Some(provider) = self.0.parts.identities.get(identity.as_str()) {
            provider.revoke(token).await;
        }
    }

    pub(super) fn seal_provider_token(&self, subject: &Subject, token: &SecretText) -> Vec<u8> {
        self.0.parts.sealer.seal(PROVIDER_TOKEN, subject.as_str().as_bytes(), token.expose().as_bytes())
    }

    /// The provider's refresh token of a grant, when there is one that can be opened.
    pub(super) fn open_provider_token(&self, grant: &Grant) -> Option<SecretText> {
        let sealed = grant.standing.sealed_token.as_ref()?;
        let plain = self.0.parts.sealer.open(PROVIDER_TOKEN, grant.subject.as_str().as_bytes(), sealed);
        if let Ok(Ok(token)) = plain.map(String::from_utf8) {
            return Some(token.into());
        }
        tracing::error!(
            grant = %grant.id,
            "the provider's token of this grant cannot be opened: is a root key missing from secrets.keys?"
        );
        None
    }
}
