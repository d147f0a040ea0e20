//! The refresh tokens that providers gave us: sealed for their owner, opened, and revoked once nothing needs them.
//!
//! Defends against: theft from the database (they are sealed) and a confused deputy (the seal names provider, user and our
//! client id, so a token cannot be moved to another row, and a provider that took another's place never gets its tokens).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Clock;
use crate::identity::{Identities, Provider, SignedIn};
use crate::issuer::tasks::Tasks;
use crate::keys::{OpenedToken, Sealer, TokenOwner, open_provider_token, seal_provider_token};
use crate::model::authorization::ProviderStanding;
use crate::model::grant::EndReason;
use crate::model::ids::{IdentityId, Subject};
use crate::secret::{SecretText, Sha256};
use crate::storage::{EndedGrant, Store, StoreError};

/// How long one round of revocations may take.
const REVOCATIONS: Duration = Duration::from_mins(1);
/// Why a token is not revoked at a provider that the configuration no longer names.
const NO_IDENTITY: &str = "the configuration no longer has this identity";

/// Holds and revokes the providers' tokens. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct ProviderTokens {
    identities: Identities,
    sealer: Sealer,
    store: Store,
    clock: Clock,
    tasks: Tasks,
}

/// The provider's token that we hold for a user.
pub(in crate::issuer) enum HeldToken {
    /// We hold none.
    None,
    /// This one.
    Token(SecretText),
    /// The provider gave it to another client id: the client that we are now cannot use it.
    OfAnotherClient,
    /// Another provider gave it, which had the same id in the configuration before.
    OfAnotherIssuer,
    /// This one, in the first release's form: it does not name the provider that gave it.
    Unbound(SecretText),
    /// It cannot be opened.
    Unopened,
}

/// A provider's token that ended with its grant, or with a sign-in that came to nothing.
pub(super) struct EndedToken {
    identity: IdentityId,
    /// The token, or why it must not be sent to the provider.
    token: Result<SecretText, &'static str>,
}

/// The outcome of revocations at one provider.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    /// How many tokens were revoked.
    pub(crate) revoked: usize,
    /// How many were not.
    pub(crate) kept: usize,
    /// The reason for the first of them.
    pub(crate) failure: Option<String>,
    /// Whether the provider was asked and did not do it.
    failed: bool,
}

/// The hash of a provider's session (`sid`): two providers, or two clients that we are at one, may have the same.
pub(in crate::issuer) fn provider_session(provider: &Provider, sid: &str) -> Sha256 {
    let name = serde_json::json!(["provider session", provider.id().as_str(), provider.issuer(), sid]);
    Sha256::of(name.to_string().as_bytes())
}

/// What to do after a provider failed to revoke a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterFailure {
    /// The next one may succeed.
    GoOn,
    /// An operator waits for the outcome: that provider is not asked again.
    Stop,
}

impl Revocations {
    fn keep(&mut self, why: impl Into<String>) {
        self.kept += 1;
        self.failure.get_or_insert_with(|| why.into());
    }
}

impl ProviderTokens {
    pub(in crate::issuer) const fn new(
        identities: Identities,
        sealer: Sealer,
        store: Store,
        clock: Clock,
        tasks: Tasks,
    ) -> Self {
        Self { identities, sealer, store, clock, tasks }
    }

    /// Revokes tokens, one at a time; a provider that failed once is not asked again. Returns the outcome by provider.
    pub(super) async fn revoke_now(&self, tokens: &[EndedToken]) -> BTreeMap<IdentityId, Revocations> {
        let mut all = BTreeMap::new();
        self.revoke(tokens, AfterFailure::Stop, &mut all).await;
        all
    }

    /// Revokes tokens at their providers, best effort: one at a time, within a time limit, and failures go to the log.
    pub(super) async fn revoke_patiently(&self, tokens: &[EndedToken]) {
        let mut all = BTreeMap::new();
        let revoked = self.revoke(tokens, AfterFailure::GoOn, &mut all);
        if tokio::time::timeout(REVOCATIONS, revoked).await.is_err() {
            tracing::warn!("not every unused provider token could be revoked: the provider is slow");
        }
        for (identity, Revocations { kept, failure, .. }) in all.iter().filter(|(_, went)| went.failed) {
            tracing::warn!(%identity, kept, cause = failure, "refresh tokens could not be revoked");
        }
    }

    /// [`Self::revoke_patiently`], in the background.
    pub(super) fn revoke_in_background(&self, tokens: Vec<EndedToken>) {
        if !tokens.is_empty() {
            let provider_tokens = self.clone();
            self.tasks.spawn(async move { provider_tokens.revoke_patiently(&tokens).await });
        }
    }

    /// The standing of a new grant of this user with the provider, its token sealed.
    pub(in crate::issuer) fn standing(
        &self,
        provider: &Provider,
        subject: &Subject,
        signed_in: &SignedIn,
    ) -> ProviderStanding {
        let token = signed_in.token.as_ref();
        ProviderStanding {
            sealed_token: token.map(|token| self.seal(provider, subject, &token.token)),
            offline: token.is_some_and(|token| token.offline),
            ends_at: token.and_then(|token| token.ends_at),
            renewable: signed_in.renewable,
            line: 0,
            session: signed_in.session.sid.as_deref().map(|sid| provider_session(provider, sid)),
        }
    }

    /// Finds a use for the token of a sign-in that came to nothing: the user's grants take an offline one, because the provider
    /// may have ended theirs when it gave it. Without such a grant it is revoked, in the background.
    pub(in crate::issuer) async fn give_up(
        &self,
        identity: &IdentityId,
        subject: &Subject,
        standing: &ProviderStanding,
    ) {
        let Some(token) = self.ended(identity, subject, standing) else { return };
        match self.is_used(identity, subject, standing).await {
            Ok(true) => {}
            Ok(false) => self.revoke_in_background(vec![token]),
            Err(error) => tracing::warn!(%identity, %error, "an unused provider token could not be revoked"),
        }
    }

    /// Whether the user's grants take this token, or the user has other grants there: as at the end of a grant, nothing is
    /// revoked then.
    async fn is_used(
        &self,
        identity: &IdentityId,
        subject: &Subject,
        standing: &ProviderStanding,
    ) -> Result<bool, StoreError> {
        if let Some(provider) = self.identities.get(identity.as_str())
            && self.store.share_provider_token(subject, provider.issuer(), standing).await?
        {
            return Ok(true);
        }
        self.store.has_live_grant(subject, identity, self.clock.now()).await
    }

    /// The providers' tokens that end with these grants. While the user has another grant at a provider its token stays,
    /// because some providers end all of a user's tokens with one; and what the provider has ended needs no revocation.
    pub(super) fn of(&self, ended: &[EndedGrant]) -> Vec<EndedToken> {
        let last = ended.iter().filter(|ended| ended.was_last && ended.reason != EndReason::IdentityProvider);
        last.filter_map(|EndedGrant { grant, .. }| self.ended(&grant.identity, &grant.subject, &grant.standing))
            .collect()
    }

    /// The provider's token, if there is one that outlives the user's session there: revoking one that does not would sign
    /// the user out of everything at the provider.
    pub(super) fn ended(
        &self,
        identity: &IdentityId,
        subject: &Subject,
        standing: &ProviderStanding,
    ) -> Option<EndedToken> {
        if !standing.offline || standing.sealed_token.is_none() {
            return None;
        }
        let token = match self.identities.get(identity.as_str()) {
            Some(provider) => match self.held(provider, subject, standing) {
                HeldToken::Token(token) => Ok(token),
                HeldToken::OfAnotherClient => Err("it was issued to another client id"),
                HeldToken::OfAnotherIssuer => Err("it was issued by another provider"),
                HeldToken::Unbound(_) => {
                    Err("it is from the first release and is bound to its provider at the next start of `serve`")
                }
                HeldToken::Unopened | HeldToken::None => Err("it cannot be opened"),
            },
            None => Err(NO_IDENTITY),
        };
        Some(EndedToken { identity: identity.clone(), token })
    }

    async fn revoke(
        &self,
        tokens: &[EndedToken],
        after_failure: AfterFailure,
        all: &mut BTreeMap<IdentityId, Revocations>,
    ) {
        for EndedToken { identity, token } in tokens {
            let went = all.entry(identity.clone()).or_default();
            let provider = self.identities.get(identity.as_str()).ok_or(NO_IDENTITY);
            let (token, provider) = match (token.as_ref().map_err(|why| *why), provider) {
                (Ok(token), Ok(provider)) => (token, provider),
                (Err(why), _) | (_, Err(why)) => {
                    went.keep(why);
                    continue;
                }
            };
            if went.failed && after_failure == AfterFailure::Stop {
                went.kept += 1;
                continue;
            }
            match provider.revoke(token).await {
                Ok(true) => went.revoked += 1,
                Ok(false) => went.keep("the provider has no revocation endpoint"),
                Err(failure) => {
                    went.failed = true;
                    went.keep(failure.to_string());
                }
            }
        }
    }

    /// Seals a token for its provider, its user and the client that we are there.
    pub(in crate::issuer) fn seal(&self, provider: &Provider, subject: &Subject, token: &SecretText) -> Vec<u8> {
        let owner = TokenOwner { issuer: provider.issuer(), subject: subject.as_str() };
        seal_provider_token(&self.sealer, owner, provider.client_id(), token)
    }

    /// The provider's refresh token that we hold for a user.
    pub(in crate::issuer) fn held(
        &self,
        provider: &Provider,
        subject: &Subject,
        standing: &ProviderStanding,
    ) -> HeldToken {
        let Some(sealed) = &standing.sealed_token else { return HeldToken::None };
        let owner = TokenOwner { issuer: provider.issuer(), subject: subject.as_str() };
        match open_provider_token(&self.sealer, owner, provider.client_id(), sealed) {
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
