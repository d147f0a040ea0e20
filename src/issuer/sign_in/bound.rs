//! The authorization that a browser comes back with: one way in for the identity provider's answer and for our own sign-in
//! page.
//!
//! Defends against: login CSRF, session fixation and code injection (RFC 9700 4.5). An answer counts only in the browser that
//! consented, which the binding cookie proves, and only from the provider that the browser was sent to. The first answer is
//! kept, and a later one undoes nothing (replay).

use std::time::Duration;

use tokio::time::Instant;

use super::authorization_response::{ClientRedirect, Recipient, Recipients};
use super::code::Codes;
use super::fault::{Fault, Trouble};
use super::provider_leg::ProviderLeg;
use crate::clock::{Clock, Timestamp};
use crate::identity::{Identities, Provider};
use crate::model::authorization::{Authorization, Binding, Stage};
use crate::model::ids::AuthorizationId;
use crate::storage::Store;

/// How long a second answer waits until the first one is worked out, and how often it looks.
const FIRST_ANSWER: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(100);

/// Finds the sign-ins that browsers come back with. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct BoundSignIns {
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) recipients: Recipients,
    pub(in crate::issuer) codes: Codes,
    pub(in crate::issuer) leg: ProviderLeg,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
}

/// Where an answer leads.
#[derive(Debug)]
pub(crate) enum Answered {
    /// To the client, with a code or an error.
    ToClient(ClientRedirect),
    /// To the provider once more, without asking the user.
    ToProvider(String),
    /// Nowhere by itself: this sign-in was answered before.
    Before(Left),
}

/// What is left to do in an authorization that was answered before.
#[derive(Debug)]
pub(crate) enum Left {
    /// The client waits for its code: the browser that holds the binding may take it there.
    Finish(ClientRedirect),
    /// The user denied access, which is final.
    Denied,
    /// Nothing.
    Nothing,
}

/// An authorization whose browser has proven that it is the one that consented.
pub(super) struct Bound<'a> {
    pub(super) provider: &'a Provider,
    pub(super) authorization: Authorization,
    pub(super) binding: Binding,
    /// Who waits for the outcome: looked up here, once for the whole request.
    pub(super) recipient: Recipient,
}

impl Bound<'_> {
    /// Whether an answer is waited for; one that comes too late is a fault.
    pub(super) fn is_pending(&self, now: Timestamp) -> Result<bool, Fault> {
        is_pending(&self.authorization, now)
    }
}

fn is_pending(authorization: &Authorization, now: Timestamp) -> Result<bool, Fault> {
    let pending = authorization.stage == Stage::Pending;
    if pending && now >= authorization.expires_at {
        return Err(too_late(&authorization.id));
    }
    Ok(pending)
}

fn too_late(id: &AuthorizationId) -> Fault {
    Fault::new(Trouble::Expired, format!("authorization {id}: the sign-in took too long"))
}

impl BoundSignIns {
    /// Finds an authorization and proves that this browser began it, with this provider. `cookie` is the value of the
    /// authorization's binding cookie.
    pub(super) async fn bind(
        &self,
        identity: &str,
        id: &AuthorizationId,
        cookie: Option<&str>,
    ) -> Result<Bound<'_>, Fault> {
        let provider = self.identities.get(identity);
        let provider = provider.ok_or_else(|| Fault::forged("no such identity provider"))?;
        let other = |why: &str| Fault::new(Trouble::OtherBrowser, format!("authorization {id}: {why}"));
        let found = self.store.authorization(id).await?;
        let authorization =
            found.ok_or_else(|| Fault::new(Trouble::Expired, format!("authorization {id} is not known")))?;
        let Some(binding) = cookie.and_then(Binding::parse) else {
            // browsers drop the cookie when the authorization expires, not before
            let late = self.clock.now() >= authorization.expires_at;
            return Err(if late { too_late(id) } else { other("the binding cookie did not come") });
        };
        if !authorization.binding_hash.same(&binding.sha256()) {
            return Err(other("the binding cookie is another browser's"));
        }
        if authorization.identity.as_ref() != Some(provider.id()) {
            return Err(Fault::forged(format!("authorization {id}: the user was not sent to {identity}")));
        }
        let recipient = self.recipients.of(&authorization.purpose).await?;
        Ok(Bound { provider, authorization, binding, recipient })
    }

    /// What a repeated answer gets. A browser that sends a callback or a form twice shows only the second response, so the
    /// second must lead on as far as the first did: to the provider, when the first began another round there (state,
    /// nonce and PKCE pair follow from the round, so it is the very same request), or to the client.
    pub(super) async fn answered_before(&self, bound: &Bound<'_>) -> Result<Answered, Fault> {
        let Bound { provider, authorization, binding, recipient } = bound;
        let Some(authorization) = self.settled(&authorization.id).await? else {
            return Ok(Answered::Before(Left::Nothing));
        };
        if is_pending(&authorization, self.clock.now())? {
            return self.leg.location(provider, &authorization, binding).map(Answered::ToProvider);
        }
        self.left(&authorization, binding, recipient).await.map(Answered::Before)
    }

    /// The authorization as its first answer leaves it: waits while that one is being worked out (`Claimed`).
    pub(super) async fn settled(&self, id: &AuthorizationId) -> Result<Option<Authorization>, Fault> {
        let deadline = Instant::now() + FIRST_ANSWER;
        loop {
            let found = self.store.authorization(id).await?;
            let in_work = found.as_ref().is_some_and(|authorization| authorization.stage == Stage::Claimed);
            if !in_work || Instant::now() >= deadline {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the browser that holds the binding can still do.
    pub(super) async fn left(
        &self,
        authorization: &Authorization,
        binding: &Binding,
        recipient: &Recipient,
    ) -> Result<Left, Fault> {
        if authorization.stage == Stage::Denied {
            return Ok(Left::Denied);
        }
        Ok(self.codes.finish(authorization, binding, recipient).await?.map_or(Left::Nothing, Left::Finish))
    }
}
