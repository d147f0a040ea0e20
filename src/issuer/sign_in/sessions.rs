//! Sessions at the user's own page: opened by a sign-in for that purpose and by nothing else, and short.
//!
//! Defends against: session fixation (the secret follows from the browser's binding, which is new with each sign-in), theft
//! from the database (only the hash is stored), and a session that outlives its provider (the issuer is compared at every
//! use).

use std::time::Duration;

use super::bound::Bound;
use super::fault::Fault;
use crate::audit::{Audit, Event};
use crate::clock::Clock;
use crate::identity::{Identities, Provider, SignedIn};
use crate::issuer::grants::ProviderTokens;
use crate::model::account;
use crate::model::authorization::{Authorization, Binding, Stage};
use crate::model::ids::Subject;
use crate::secret::{AccountSession, Token};
use crate::storage::{NewAccountSession, Store};
use crate::telemetry::metrics::{self, SignInOutcome};
use crate::wire::Arrival;

/// How old the recorded last use may be: not every request of a session is a write.
const NOTED: Duration = Duration::from_mins(1);

/// Opens and finds sessions. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Sessions {
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

impl Sessions {
    /// Opens the session of an authorization that was claimed.
    pub(super) async fn open(
        &self,
        bound: &Bound<'_>,
        signed_in: SignedIn,
        arrival: &Arrival,
    ) -> Result<Token<AccountSession>, Fault> {
        let Bound { provider, authorization, binding, .. } = bound;
        let subject = Subject::new(provider.id(), &signed_in.key);
        // the session asks the provider nothing, so there is no reason to hold its token
        let standing = self.provider_tokens.standing(provider, &subject, &signed_in);
        self.provider_tokens.give_up(provider.id(), &subject, &standing).await;
        let secret = binding.account_session(authorization.round);
        let session = NewAccountSession {
            hash: &secret.sha256(),
            subject: &subject,
            identity: provider.id(),
            issuer: provider.issuer(),
            name: signed_in.user.known_as(),
            provider_session: standing.session.as_ref(),
            asserted_at: signed_in.session.asserted_at,
        };
        if !self.store.open_account_session(&authorization.id, &session, self.clock.now()).await? {
            self.store.refuse_authorization(&authorization.id, authorization.round).await?;
            return Err(Fault::taken_back(&authorization.id));
        }
        self.metrics.signed_in(provider.id().as_str(), SignInOutcome::SignedIn);
        self.audit.record(&Event::AccountOpened { subject: &subject }, arrival);
        Ok(secret)
    }

    /// The session that an authorization opened, for the browser that holds its binding, while it is good: a browser that sent
    /// the provider's answer twice has dropped the first response, and its cookie.
    pub(super) async fn opened_by(
        &self,
        authorization: &Authorization,
        binding: &Binding,
    ) -> Result<Option<Token<AccountSession>>, Fault> {
        if authorization.stage != Stage::Redeemed {
            return Ok(None);
        }
        let secret = binding.account_session(authorization.round);
        Ok(self.good(&secret).await?.map(|_| secret))
    }

    /// Finds the session of a cookie and notes its use; `None` when it has ended.
    pub(in crate::issuer) async fn used(
        &self,
        secret: &Token<AccountSession>,
    ) -> Result<Option<account::AccountSession>, Fault> {
        let found = self.good(secret).await?;
        let now = self.clock.now();
        if found.as_ref().is_some_and(|session| now >= session.last_used_at + NOTED) {
            self.store.touch_account_session(&secret.sha256(), now).await?;
        }
        Ok(found)
    }

    async fn good(&self, secret: &Token<AccountSession>) -> Result<Option<account::AccountSession>, Fault> {
        let found = self.store.account_session(&secret.sha256(), self.clock.now()).await?;
        Ok(found.filter(|session| {
            let provider = self.identities.get(session.identity.as_str());
            provider.map(Provider::issuer) == Some(session.issuer.as_str())
        }))
    }
}
