//! The authorization that a browser comes back with: one way in for the identity provider's answer and for our own
//! sign-in page.
//!
//! The first answer of an authorization is kept; whatever comes later undoes nothing.

use std::time::Duration;

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
    Before {
        /// The way to finish, for the browser that may.
        finish: Option<ClientRedirect>,
    },
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
        let pending = self.authorization.stage == Stage::Pending;
        if pending && now >= self.authorization.expires_at {
            return Err(Fault::new(Trouble::Expired, "the sign-in took too long"));
        }
        Ok(pending)
    }
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

    /// What a later answer gets. When the first is still being worked on we wait for it, because a browser that posted a
    /// form twice shows the second answer only.
    pub(super) async fn answered_before(&self, bound: &Bound<'_>) -> Result<Answered, Fault> {
        let first = async {
            loop {
                match self.store().authorization(&bound.authorization.id).await? {
                    Some(authorization) if authorization.stage == Stage::Claimed => tokio::time::sleep(LOOK).await,
                    other => return Ok::<_, Fault>(other),
                }
            }
        };
        let finish = match tokio::time::timeout(FIRST_ANSWER, first).await {
            Ok(authorization) => match authorization? {
                Some(authorization) => self.finish(&authorization, &bound.binding).await?,
                None => None,
            },
            Err(_elapsed) => None,
        };
        Ok(Answered::Before { finish })
    }
}
