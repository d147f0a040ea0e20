//! The authorization that a browser comes back with: one way in for the identity provider's answer and for our own sign-in
//! page.
//!
//! Defends against: login CSRF, session fixation and code injection (RFC 9700 4.5). An answer is accepted only from the
//! browser that consented, which the binding cookie proves, and only from the provider that it was sent to.

use super::authorization_response::{Recipient, Recipients};
use super::fault::{Fault, Trouble};
use crate::clock::{Clock, Timestamp};
use crate::identity::{Identities, Provider};
use crate::model::authorization::{Authorization, Binding, Stage};
use crate::model::ids::AuthorizationId;
use crate::storage::Store;
use crate::wire::ClientAddress;

/// Finds the sign-ins that browsers come back with. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct BoundSignIns {
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) recipients: Recipients,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
}

/// An authorization whose browser has proven that it is the one that consented.
pub(super) struct Bound<'a> {
    pub(super) provider: &'a Provider,
    pub(super) authorization: Authorization,
    pub(super) binding: Binding,
    /// The recipient of the outcome, looked up once per request.
    pub(super) recipient: Recipient,
}

impl Bound<'_> {
    /// Whether an answer is waited for; one that comes too late is a fault.
    pub(super) fn is_pending(&self, now: Timestamp) -> Result<bool, Fault> {
        is_pending(&self.authorization, now)
    }
}

/// Whether an authorization waits for an answer; one that waited too long is a fault.
pub(super) fn is_pending(authorization: &Authorization, now: Timestamp) -> Result<bool, Fault> {
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
    /// authorization's binding cookie, `from` the address of the request.
    pub(super) async fn bind(
        &self,
        identity: &str,
        id: &AuthorizationId,
        cookie: Option<&str>,
        from: ClientAddress,
    ) -> Result<Bound<'_>, Fault> {
        let provider = self.identities.get(identity);
        let provider = provider.ok_or_else(|| Fault::not_ours("no such identity provider"))?;
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
            return Err(Fault::not_ours(format!("authorization {id}: the user was not sent to {identity}")));
        }
        let recipient = self.recipients.of(&authorization.purpose, from).await?;
        Ok(Bound { provider, authorization, binding, recipient })
    }
}
