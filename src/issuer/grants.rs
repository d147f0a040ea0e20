//! The end of a grant, and what hangs on it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Issuer;
use crate::audit::{self, Event};
use crate::identity::Provider;
use crate::keys::{OpenedToken, TokenOwner, open_provider_token, seal_provider_token};
use crate::model::authorization::ProviderStanding;
use crate::model::grant::EndReason;
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::secret::SecretText;
use crate::storage::{EndedGrant, GrantsOf, StoreError};

/// How many grants of each kind one transaction ends.
const BATCH: i64 = 100;
/// How long the provider may keep us with what is revoked after one sweep.
const REVOCATIONS: Duration = Duration::from_mins(1);

/// The provider's token that we hold for a user.
pub(super) enum HeldToken {
    /// There is none.
    None,
    /// This one.
    Token(SecretText),
    /// The provider gave it to another client id: it is nothing to the client that we are now.
    OfAnotherClient,
    /// Another provider gave it, which stood under the same id.
    OfAnotherIssuer,
    /// This one, in the first release's form: it does not name the provider that gave it.
    Unbound(SecretText),
    /// It cannot be opened.
    Unopened,
}

/// How revocations at one provider went.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    /// How many tokens were revoked.
    pub(crate) revoked: usize,
    /// How many were not.
    pub(crate) kept: usize,
    /// Why not.
    pub(crate) failure: Option<String>,
    /// Whether the provider was asked and did not do it: it is asked no more.
    failed: bool,
}

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
        self.revoke_in_turn(&tokens).await;
        Ok(())
    }

    /// Ends all grants of a client or at an identity, and answers how many. What is to be revoked at the provider is revoked
    /// in the background.
    pub(super) async fn end_grants_of(&self, whose: GrantsOf<'_>, reason: EndReason) -> Result<usize, StoreError> {
        let (mut count, mut tokens) = (0, Vec::new());
        loop {
            let ended = self.store().end_grants_of(whose, reason, self.now(), BATCH).await?;
            if ended.is_empty() {
                break;
            }
            count += ended.len();
            for ended in ended {
                self.note_end(&ended);
                tokens.extend(self.to_revoke(&ended).map(|token| (ended.grant.identity, token)));
            }
        }
        if !tokens.is_empty() {
            let issuer = self.clone();
            self.0.tasks.spawn(async move { issuer.revoke_in_turn(&tokens).await });
        }
        Ok(count)
    }

    /// Revokes tokens at their providers, one at a time and not for ever.
    pub(super) async fn revoke_in_turn(&self, tokens: &[(IdentityId, SecretText)]) {
        let revocations = async {
            for (identity, token) in tokens {
                self.revoke_at_provider(identity, token).await;
            }
        };
        if tokio::time::timeout(REVOCATIONS, revocations).await.is_err() {
            tracing::warn!("not every unused provider token could be revoked: the provider is slow");
        }
    }

    /// Ends grants as an operator asks for it. Nothing is revoked at a provider yet: [`Self::revoke_ended`] does that.
    pub(crate) async fn end_for_operator(
        &self,
        ids: &[GrantId],
        operator: &str,
    ) -> Result<Vec<EndedGrant>, StoreError> {
        let ended = self.store().end_grants(ids, EndReason::Operator, self.now()).await?;
        for ended in &ended {
            self.0.parts.revocation.note_ended(&ended.grant.id);
            audit::record(&Event::EndedByOperator { grant: &ended.grant, operator });
        }
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

    /// Revokes what ends at the providers with these grants, one token at a time; a provider that failed once is asked no
    /// more. Answers how it went at each provider that had something to revoke.
    pub(crate) async fn revoke_ended(&self, ended: &[EndedGrant]) -> BTreeMap<IdentityId, Revocations> {
        let mut all: BTreeMap<IdentityId, Revocations> = BTreeMap::new();
        let to_revoke = |ended: &&EndedGrant| ends_at_provider(ended) && ended.grant.standing.sealed_token.is_some();
        for EndedGrant { grant, .. } in ended.iter().filter(to_revoke) {
            let tally = all.entry(grant.identity.clone()).or_default();
            let outcome = match self.0.parts.identities.get(grant.identity.as_str()) {
                _ if tally.failed => Err(None),
                None => Err(Some("the configuration no longer has this identity".to_owned())),
                Some(provider) => match self.held_token(provider, &grant.subject, &grant.standing) {
                    HeldToken::Token(token) => {
                        let outcome = revoke_at(provider, &token).await;
                        tally.failed = outcome.is_err();
                        outcome.map_err(Some)
                    }
                    HeldToken::OfAnotherClient => Err(Some("the provider gave it to another client id".to_owned())),
                    HeldToken::OfAnotherIssuer => Err(Some("another provider gave it".to_owned())),
                    HeldToken::Unbound(_) => {
                        Err(Some("it does not name its provider before the next start".to_owned()))
                    }
                    HeldToken::Unopened | HeldToken::None => Err(Some("it cannot be opened".to_owned())),
                },
            };
            match outcome {
                Ok(()) => tally.revoked += 1,
                Err(words) => {
                    tally.kept += 1;
                    tally.failure = tally.failure.take().or(words);
                }
            }
        }
        all
    }

    fn note_end(&self, ended: &EndedGrant) {
        self.0.parts.revocation.note_ended(&ended.grant.id);
        audit::record(&Event::Ended { grant: &ended.grant, reason: ended.reason });
    }

    /// The provider's token, when it ends with the grant. A session-bound one stays: revoking it would sign the user out of
    /// everything at the provider. While the user has another grant there the token stays, too, because some providers
    /// end all of a user's tokens with one.
    fn to_revoke(&self, ended: &EndedGrant) -> Option<SecretText> {
        let EndedGrant { grant, .. } = ended;
        if ends_at_provider(ended) {
            self.offline_token(&grant.identity, &grant.subject, &grant.standing)
        } else {
            None
        }
    }

    /// Revokes a token at the provider that no grant will ever hold, in the background: of a sign-in that came to nothing.
    /// As at the end of a grant, only an offline one, and not while the user has a grant there.
    pub(super) async fn give_up_token(&self, identity: &IdentityId, subject: &Subject, standing: &ProviderStanding) {
        let Some(token) = self.offline_token(identity, subject, standing) else { return };
        match self.store().has_live_grant(subject, identity, self.now()).await {
            Ok(true) => {}
            Ok(false) => {
                let (issuer, identity) = (self.clone(), identity.clone());
                self.0.tasks.spawn(async move { issuer.revoke_at_provider(&identity, &token).await });
            }
            Err(error) => tracing::warn!(%identity, %error, "an unused provider token could not be revoked"),
        }
    }

    /// The provider's token, when it outlives the user's session there and is ours to revoke. One that does not name its
    /// provider may be another one's by now, so it is sent nowhere.
    pub(super) fn offline_token(
        &self,
        identity: &IdentityId,
        subject: &Subject,
        standing: &ProviderStanding,
    ) -> Option<SecretText> {
        let provider = self.0.parts.identities.get(identity.as_str()).filter(|_| standing.offline)?;
        match self.held_token(provider, subject, standing) {
            HeldToken::Token(token) => Some(token),
            HeldToken::None
            | HeldToken::OfAnotherClient
            | HeldToken::OfAnotherIssuer
            | HeldToken::Unbound(_)
            | HeldToken::Unopened => None,
        }
    }

    async fn revoke_at_provider(&self, identity: &IdentityId, token: &SecretText) {
        if let Some(provider) = self.0.parts.identities.get(identity.as_str()) {
            provider.revoke(token).await;
        }
    }

    /// Seals a token for its provider, its user and the client that we are there.
    pub(super) fn seal_provider_token(&self, provider: &Provider, subject: &Subject, token: &SecretText) -> Vec<u8> {
        let owner = TokenOwner { issuer: provider.issuer(), subject: subject.as_str() };
        seal_provider_token(&self.0.parts.sealer, owner, provider.client_id(), token)
    }

    /// The provider's refresh token that we hold for a user.
    pub(super) fn held_token(&self, provider: &Provider, subject: &Subject, standing: &ProviderStanding) -> HeldToken {
        let Some(sealed) = &standing.sealed_token else { return HeldToken::None };
        let owner = TokenOwner { issuer: provider.issuer(), subject: subject.as_str() };
        match open_provider_token(&self.0.parts.sealer, owner, provider.client_id(), sealed) {
            Ok(OpenedToken::Ours(token)) => HeldToken::Token(token),
            Ok(OpenedToken::OfAnotherClient) => HeldToken::OfAnotherClient,
            Ok(OpenedToken::OfAnotherIssuer) => HeldToken::OfAnotherIssuer,
            Ok(OpenedToken::Unbound(token)) => HeldToken::Unbound(token),
            Err(_unsealable) => {
                tracing::error!(
                    identity = %provider.id(), %subject,
                    "a provider's token cannot be opened: is a root key missing from secrets.keys?"
                );
                HeldToken::Unopened
            }
        }
    }
}

/// Whether the provider's token, if there is one, ends with the grant: see `Issuer::to_revoke`.
fn ends_at_provider(ended: &EndedGrant) -> bool {
    ended.was_last && ended.reason != EndReason::IdentityProvider && ended.grant.standing.offline
}

async fn revoke_at(provider: &Provider, token: &SecretText) -> Result<(), String> {
    match provider.try_revoke(token).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("the provider has no revocation endpoint".to_owned()),
        Err(words) => Err(words),
    }
}
