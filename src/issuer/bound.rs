//! The authorization that a browser comes back with: one way in for the identity provider's answer and for our own
//! sign-in page.
//!
//! The first answer of an authorization is kept; whatever comes later undoes nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::Issuer;
use super::authorization_response::ClientRedirect;
use super::fault::{Fault, Trouble};
use crate::clock::Timestamp;
use crate::identity::Provider;
use crate::model::authorization::{Authorization, Binding, Stage};
use crate::model::ids::AuthorizationId;

/// How long a second answer waits for the first to be worked on, and how often it looks.
const FIRST_ANSWER: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(100);

/// Where the answer leads.
#[derive(Debug)]
pub(crate) enum Answered {
    /// To the client, with a code or an error.
    ToClient(ClientRedirect),
    /// To the provider once more, without asking anybody.
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
        return Err(Fault::new(Trouble::Expired, "the sign-in took too long"));
    }
    Ok(pending)
}

impl Issuer {
    /// Finds an authorization and proves that this browser began it, with this provider. `cookie` is the value of the
    /// authorization's binding cookie.
    pub(super) async fn bind(
        &self,
        identity: &str,
        id: &AuthorizationId,
        cookie: Option<&str>,
    ) -> Result<Bound<'_>, Fault> {
        let provider = self.0.parts.identities.get(identity);
        let provider = provider.ok_or_else(|| Fault::forged("no such identity provider"))?;
        let other = |why: &str| Fault::new(Trouble::OtherBrowser, why);
        let over = |why: &str| Fault::new(Trouble::Expired, why);
        let authorization = self.store().authorization(id).await?.ok_or_else(|| over("no such authorization"))?;
        let Some(binding) = cookie.and_then(Binding::parse) else {
            // browsers forget the cookie when the authorization's time is over, not before
            let late = self.now() >= authorization.expires_at;
            return Err(if late {
                over("the sign-in took too long")
            } else {
                other("the binding cookie did not come")
            });
        };
        if !authorization.binding_hash.same(&binding.sha256()) {
            return Err(other("the binding cookie is another's"));
        }
        if authorization.identity != *provider.id() {
            return Err(Fault::forged("the user was not sent to this identity provider"));
        }
        Ok(Bound { provider, authorization, binding })
    }

    /// What a repeated answer gets. A browser that sends a callback or a form twice shows the second answer only, so
    /// the second must lead on as far as the first did: to the provider, when the first began another round there
    /// (state, nonce and PKCE pair follow from the round, so it is the very same request), or to the client.
    pub(super) async fn answered_before(&self, bound: &Bound<'_>) -> Result<Answered, Fault> {
        let Bound { provider, authorization, binding } = bound;
        let Some(authorization) = self.settled(&authorization.id).await? else {
            return Ok(Answered::Before(Left::Nothing));
        };
        if is_pending(&authorization, self.now())? {
            return self.sign_in_location(provider, &authorization, binding).map(Answered::ToProvider);
        }
        self.left(&authorization, binding).await.map(Answered::Before)
    }

    /// The authorization as its first answer leaves it. While that one is being worked on (`Claimed`) we wait.
    pub(super) async fn settled(&self, id: &AuthorizationId) -> Result<Option<Authorization>, Fault> {
        let deadline = Instant::now() + FIRST_ANSWER;
        loop {
            let found = self.store().authorization(id).await?;
            let in_work = found.as_ref().is_some_and(|authorization| authorization.stage == Stage::Claimed);
            if !in_work || Instant::now() >= deadline {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the browser that holds the binding can still do.
    pub(super) async fn left(&self, authorization: &Authorization, binding: &Binding) -> Result<Left, Fault> {
        if authorization.stage == Stage::Denied {
            return Ok(Left::Denied);
        }
        Ok(self.finish(authorization, binding).await?.map_or(Left::Nothing, Left::Finish))
    }
}
