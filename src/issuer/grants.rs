//! How grants end. In every case the holders of tokens are told, the audit log says why, and the provider's token for the
//! grant is revoked there.

use super::Issuer;
use super::provider_tokens::EndedToken;
use crate::audit::{self, Event};
use crate::model::grant::EndReason;
use crate::model::ids::{ClientId, GrantId};
use crate::storage::{EndedGrant, GrantsOf, StoreError};

/// How many grants of each kind one transaction ends.
const BATCH: i64 = 100;

impl Issuer {
    /// Ends a grant and everything under it. Nothing happens when it had ended.
    pub(super) async fn end_grant(&self, id: &GrantId, reason: EndReason) -> Result<(), StoreError> {
        let ended = self.store().end_grant(id, reason, self.now()).await?;
        self.note_ends(ended.as_slice(), None);
        self.revoke_in_background(self.tokens_of(ended.as_slice()));
        Ok(())
    }

    /// Ends the grants that can no longer be used. It waits for the revocations, so it is for the background: a provider gets
    /// one at a time, however many grants end at once.
    pub(super) async fn end_unusable_grants(&self) -> Result<(), StoreError> {
        let access_token = self.config().lifetimes.access_token;
        let mut tokens = Vec::new();
        let ended =
            self.end_all(&mut tokens, || self.store().end_unusable_grants(access_token, self.now(), BATCH)).await;
        self.revoke_patiently(&tokens).await;
        ended.map(drop)
    }

    /// Ends all grants of a client or at an identity, and answers how many. What is to be revoked at the provider is revoked
    /// in the background.
    pub(super) async fn end_grants_of(&self, whose: GrantsOf<'_>, reason: EndReason) -> Result<usize, StoreError> {
        let mut tokens = Vec::new();
        let ended = self.end_all(&mut tokens, || self.store().end_grants_of(whose, reason, self.now(), BATCH)).await;
        self.revoke_in_background(tokens);
        ended
    }

    /// Ends grants as an operator asks for it. Nothing is revoked at a provider yet: [`Self::revoke_ended`] does that.
    pub(crate) async fn end_for_operator(
        &self,
        ids: &[GrantId],
        operator: &str,
    ) -> Result<Vec<EndedGrant>, StoreError> {
        let ended = self.store().end_grants(ids, EndReason::Operator, self.now()).await?;
        self.note_ends(&ended, Some(operator));
        Ok(ended)
    }

    /// Deletes a registered client as an operator asks for it; `false` when there is none.
    pub(crate) async fn delete_client(&self, id: &ClientId, operator: &str) -> Result<bool, StoreError> {
        let deleted = self.store().delete_client(id).await?;
        if deleted {
            audit::record(&Event::ClientDeleted { client: id, operator });
        }
        Ok(deleted)
    }

    /// Ends batch after batch until none is left, and answers how many grants ended. Adds to `tokens` what must be revoked now;
    /// that counts after a failure, too, because the store no longer has the tokens of the batches before it.
    async fn end_all<F>(&self, tokens: &mut Vec<EndedToken>, batch: impl Fn() -> F + Send) -> Result<usize, StoreError>
    where
        F: Future<Output = Result<Vec<EndedGrant>, StoreError>> + Send,
    {
        let mut count = 0;
        loop {
            let ended = batch().await?;
            if ended.is_empty() {
                return Ok(count);
            }
            count += ended.len();
            self.note_ends(&ended, None);
            tokens.extend(self.tokens_of(&ended));
        }
    }

    /// Tells the holders of tokens, and the audit log.
    fn note_ends(&self, ended: &[EndedGrant], operator: Option<&str>) {
        for EndedGrant { grant, reason, .. } in ended {
            self.0.parts.revocation.note_ended(&grant.id);
            audit::record(&match operator {
                Some(operator) => Event::EndedByOperator { grant, operator },
                None => Event::Ended { grant, reason: *reason },
            });
        }
    }
}
