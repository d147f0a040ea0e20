//! The code that a sign-in ends in (RFC 6749 4.1.2).
//!
//! Defends against: theft of codes from the database (only the hash is stored, and the code follows from the browser's
//! binding), and orphaned tokens of the provider (what no code will hold is revoked).

use std::time::Duration;

use super::authorization_response::{Answer, ClientRecipient, ClientRedirect, DeviceRecipient};
use super::bound::Bound;
use super::fault::Fault;
use crate::audit::{Audit, Event};
use crate::clock::{Clock, Timestamp};
use crate::identity::SignedIn;
use crate::issuer::clients::Clients;
use crate::issuer::grants::ProviderTokens;
use crate::model::authorization::{Authorization, Binding, DeviceRequest, SignIn};
use crate::model::client::Client;
use crate::model::ids::Subject;
use crate::secret::Sha256;
use crate::storage::{NewCode, Store};
use crate::telemetry::metrics::{self, SignInOutcome};
use crate::wire::Arrival;

/// Issues codes. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Codes {
    pub(in crate::issuer) clients: Clients,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) lifetime: Duration,
    pub(in crate::issuer) counted: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

impl Codes {
    /// Makes the code of a client that waits at its redirect URI.
    pub(super) async fn for_client(
        &self,
        bound: &Bound<'_>,
        recipient: &ClientRecipient,
        signed_in: SignedIn,
        arrival: &Arrival,
    ) -> Result<ClientRedirect, Fault> {
        let code = bound.binding.code(bound.authorization.round);
        let expires_at = self.clock.now() + self.lifetime;
        let user = self.issue(bound, &recipient.client, (&code.sha256(), expires_at), (signed_in, arrival)).await?;
        Ok(ClientRedirect { user, ..recipient.respond(Answer::Code(code.expose())) })
    }

    /// Makes a device code the code that its device redeems with the next poll.
    pub(super) async fn for_device(
        &self,
        bound: &Bound<'_>,
        device: &DeviceRecipient,
        signed_in: SignedIn,
        arrival: &Arrival,
    ) -> Result<Option<String>, Fault> {
        let DeviceRequest { device_code, device_code_expires_at, .. } = &device.request;
        // a device that polls for the last time at the end of its code gets it too
        let expires_at = (*device_code_expires_at).max(self.clock.now() + self.lifetime);
        self.issue(bound, &device.client, (device_code, expires_at), (signed_in, arrival)).await
    }

    /// Issues the code with this hash for an authorization that was claimed, and answers what the user is called.
    async fn issue(
        &self,
        bound: &Bound<'_>,
        client: &Client,
        (hash, expires_at): (&Sha256, Timestamp),
        (signed_in, arrival): (SignedIn, &Arrival),
    ) -> Result<Option<String>, Fault> {
        let Bound { provider, authorization, .. } = bound;
        let subject = Subject::new(provider.id(), &signed_in.key);
        let standing = self.provider_tokens.standing(provider, &subject, &signed_in);
        let sign_in = SignIn { subject, user: signed_in.user, standing };
        let new = NewCode { hash, expires_at, issuer: provider.issuer(), sign_in: &sign_in };
        let issued = match self.clients.keep(client, arrival).await {
            Ok(()) => self.store.issue_code(&authorization.id, &new).await,
            Err(failed) => Err(failed),
        };
        if !matches!(issued, Ok(true)) {
            self.provider_tokens.give_up(provider.id(), &sign_in.subject, &sign_in.standing).await;
        }
        if !issued? {
            // so that another answer of this browser finds it settled, and does not wait for a code
            self.store.refuse_authorization(&authorization.id, authorization.round).await?;
            return Err(Fault::taken_back(&authorization.id));
        }
        self.counted.signed_in(provider.id().as_str(), SignInOutcome::SignedIn);
        if let Some((client, resource)) = authorization.purpose.asked() {
            self.audit.record(&Event::SignedIn { subject: &sign_in.subject, client, resource }, arrival);
        }
        Ok(sign_in.user.known_as().map(str::to_owned))
    }

    /// The link that finishes a sign-in: for the browser that holds the binding, while the code is unredeemed.
    pub(super) async fn finish(
        &self,
        authorization: &Authorization,
        binding: &Binding,
        recipient: &ClientRecipient,
    ) -> Result<Option<ClientRedirect>, Fault> {
        let code = binding.code(authorization.round);
        let issued = self.store.issued_code(&code.sha256()).await?;
        let good = issued.is_some_and(|issued| issued.redeemed.is_none() && self.clock.now() < issued.code_expires_at);
        Ok(good.then(|| recipient.respond(Answer::Code(code.expose()))))
    }
}
