//! The end of a grant, and what hangs on it.

use super::Issuer;
use crate::audit::{self, Event};
use crate::model::grant::{EndReason, Grant};
use crate::model::ids::{GrantId, Subject};
use crate::secret::SecretText;
use crate::storage::StoreError;

const SEAL_LABEL: &str = "provider token";

impl Issuer {
    /// Ends a grant and everything under it. Nothing happens when it had ended.
    pub(super) async fn end_grant(&self, id: &GrantId, reason: EndReason) -> Result<(), StoreError> {
        let now = self.now();
        let Some(ended) = self.store().end_grant(id, reason, now).await? else { return Ok(()) };
        self.0.parts.revocation.add(id.clone(), now);
        let grant = &ended.grant;
        audit::record(&Event::Ended { grant, reason });
        // a session-bound token stays: revoking it would sign the user out of everything at the provider
        if grant.standing.offline && ended.was_last && reason != EndReason::IdentityProvider {
            self.revoke_at_provider(grant);
        }
        Ok(())
    }

    fn revoke_at_provider(&self, grant: &Grant) {
        let Some(token) = self.open_provider_token(grant) else { return };
        let (identities, identity) = (self.0.parts.identities.clone(), grant.identity.clone());
        self.0.tasks.spawn(async move {
            if let Some(provider) = identities.get(identity.as_str()) {
                provider.revoke(&token).await;
            }
        });
    }

    pub(super) fn seal_provider_token(&self, subject: &Subject, token: &SecretText) -> Vec<u8> {
        self.0.parts.sealer.seal(SEAL_LABEL, subject.as_str().as_bytes(), token.expose().as_bytes())
    }

    /// The provider's refresh token of a grant, when there is one that can be opened.
    pub(super) fn open_provider_token(&self, grant: &Grant) -> Option<SecretText> {
        let sealed = grant.standing.sealed_token.as_ref()?;
        let plain = self.0.parts.sealer.open(SEAL_LABEL, grant.subject.as_str().as_bytes(), sealed);
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
