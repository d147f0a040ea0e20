//! Issues the code of a sign-in (RFC 6749 4.1.2).
//!
//! Defends against: theft of codes from the database (only the hash is stored; the code is derived from the browser's
//! binding), and orphaned tokens of the provider (a token that no code will hold is revoked).

use std::time::Duration;

use super::authorization_response::{Answer, ClientRecipient, ClientRedirect, DeviceRecipient};
use super::bound::Bound;
use super::fault::Fault;
use super::remembering::Remembering;
use crate::audit::{Audit, Event};
use crate::clock::{Clock, Timestamp};
use crate::identity::SignedIn;
use crate::issuer::clients::Clients;
use crate::issuer::grants::ProviderTokens;
use crate::model::authorization::{Authorization, Binding, Consent, DeviceRequest, Purpose, SignIn};
use crate::model::client::Client;
use crate::model::ids::Subject;
use crate::secret::Sha256;
use crate::storage::{CodeConsent, CodeIssue, NewCode, Store, StoreError};
use crate::telemetry::metrics::{self, SignInOutcome};
use crate::wire::Arrival;

/// Issues codes. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Codes {
    pub(in crate::issuer) clients: Clients,
    pub(in crate::issuer) remembering: Remembering,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) lifetime: Duration,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

/// A code that is to be issued.
struct Issuing<'a> {
    client: &'a Client,
    /// The hash of the code.
    hash: &'a Sha256,
    expires_at: Timestamp,
    /// How the user consented; `None`: they must be asked first.
    consent: Option<CodeConsent<'a>>,
}

impl Codes {
    /// Makes the code of a client that waits at its redirect URI; `None`: the user must be asked first, see `remembering`.
    pub(super) async fn for_client(
        &self,
        bound: &Bound<'_>,
        recipient: &ClientRecipient,
        signed_in: SignedIn,
        arrival: &Arrival,
    ) -> Result<Option<ClientRedirect>, Fault> {
        let code = bound.binding.code(bound.authorization.round);
        let expires_at = self.clock.now() + self.lifetime;
        let allowed = match &bound.authorization.purpose {
            Purpose::Client(request) => self.remembering.allowed(request, &recipient.client, &recipient.redirect_uri),
            Purpose::Account | Purpose::Device(_) => None,
        };
        let consent = self.remembering.check(&bound.authorization.consent, allowed.as_ref());
        let issued = Issuing { client: &recipient.client, hash: &code.sha256(), expires_at, consent };
        let user = self.issue(bound, &issued, signed_in, arrival).await?;
        Ok(user.map(|user| ClientRedirect { user, ..recipient.respond(Answer::Code(code.expose())) }))
    }

    /// Issues the device code as the code that the device redeems with its next poll.
    pub(super) async fn for_device(
        &self,
        bound: &Bound<'_>,
        device: &DeviceRecipient,
        signed_in: SignedIn,
        arrival: &Arrival,
    ) -> Result<Option<String>, Fault> {
        let DeviceRequest { device_code: hash, device_code_expires_at, .. } = &device.request;
        // a device that polls for the last time at the end of its code gets it too
        let expires_at = (*device_code_expires_at).max(self.clock.now() + self.lifetime);
        let issued = Issuing { client: &device.client, hash, expires_at, consent: Some(CodeConsent::Asked) };
        self.issue(bound, &issued, signed_in, arrival).await.map(Option::flatten)
    }

    /// Issues a code for an authorization that was claimed; `None` when the user must be asked first.
    async fn issue(
        &self,
        bound: &Bound<'_>,
        issuing: &Issuing<'_>,
        signed_in: SignedIn,
        arrival: &Arrival,
    ) -> Result<Option<Option<String>>, Fault> {
        let Bound { provider, authorization, .. } = bound;
        let subject = Subject::new(provider.id(), &signed_in.key);
        let standing = self.provider_tokens.standing(provider, &subject, &signed_in);
        let sign_in = SignIn { subject, user: signed_in.user, standing };
        let asserted_at = signed_in.session.asserted_at;
        let issued = self.store_code(bound, issuing, (&sign_in, asserted_at), arrival).await;
        if !matches!(issued, Ok(CodeIssue::Issued)) {
            self.provider_tokens.give_up(provider.id(), &sign_in.subject, &sign_in.standing).await;
        }
        let issued = issued?;
        if issued != CodeIssue::Issued {
            // so that another answer of this browser finds it settled and does not wait
            self.store.refuse_authorization(&authorization.id, authorization.round).await?;
        }
        match issued {
            CodeIssue::Issued => {}
            CodeIssue::TakenBack => return Err(Fault::taken_back(&authorization.id)),
            CodeIssue::NotAllowed => return Ok(None),
        }
        self.metrics.signed_in(provider.id().as_str(), SignInOutcome::SignedIn);
        self.note(authorization, &sign_in.subject, arrival);
        Ok(Some(sign_in.user.known_as().map(str::to_owned)))
    }

    async fn store_code(
        &self,
        bound: &Bound<'_>,
        issuing: &Issuing<'_>,
        (sign_in, asserted_at): (&SignIn, Option<Timestamp>),
        arrival: &Arrival,
    ) -> Result<CodeIssue, StoreError> {
        let Issuing { client, hash, expires_at, consent } = *issuing;
        let Some(consent) = consent else { return Ok(CodeIssue::NotAllowed) };
        self.clients.keep(client, arrival).await?;
        let (issuer, now) = (bound.provider.issuer(), self.clock.now());
        let new = NewCode { hash, expires_at, issuer, sign_in, consent, asserted_at, now };
        self.store.issue_code(&bound.authorization.id, &new).await
    }

    fn note(&self, authorization: &Authorization, subject: &Subject, arrival: &Arrival) {
        let Some((client, resource)) = authorization.purpose.asked() else { return };
        let remembered = matches!(authorization.consent, Consent::Remembered(_));
        self.audit.record(&Event::SignedIn { subject, client, resource, remembered }, arrival);
        if matches!(authorization.consent, Consent::AskedOnce(_)) {
            self.audit.record(&Event::ConsentRemembered { subject, client, resource }, arrival);
        }
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
