//! The code that a sign-in ends in (RFC 6749 4.1.2).
//!
//! Defends against: theft of codes from the database (only the hash is stored, and the code follows from the browser's
//! binding), and orphaned tokens of the provider (what no code will hold is revoked).

use std::time::Duration;

use super::authorization_response::{Answer, ClientRedirect, Recipient};
use super::bound::Bound;
use super::fault::{Fault, Trouble};
use crate::audit::{Audit, Event};
use crate::clock::Clock;
use crate::identity::{Provider, SignedIn};
use crate::issuer::clients::Clients;
use crate::issuer::grants::ProviderTokens;
use crate::model::authorization::{Authorization, Binding, ProviderStanding, Purpose, SignIn};
use crate::model::ids::Subject;
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
    /// Makes the code for an authorization that was claimed.
    pub(super) async fn issue(
        &self,
        bound: &Bound<'_>,
        signed_in: SignedIn,
        arrival: &Arrival,
    ) -> Result<ClientRedirect, Fault> {
        let Bound { provider, authorization, binding, recipient } = bound;
        let subject = Subject::new(provider.id(), &signed_in.key);
        let standing = self.standing(provider, &subject, &signed_in);
        let sign_in = SignIn { subject, user: signed_in.user, standing };
        let code = binding.code(authorization.round);
        let expires_at = self.clock.now() + self.lifetime;
        let new = NewCode { hash: &code.sha256(), expires_at, issuer: provider.issuer(), sign_in: &sign_in };
        let issued = match self.clients.keep(&recipient.client, arrival).await {
            Ok(()) => self.store.issue_code(&authorization.id, &new).await,
            Err(failed) => Err(failed),
        };
        if !matches!(issued, Ok(true)) {
            self.provider_tokens.give_up(provider.id(), &sign_in.subject, &sign_in.standing).await;
        }
        if !issued? {
            // so that another answer of this browser finds it settled, and does not wait for a code
            self.store.refuse_authorization(&authorization.id, authorization.round).await?;
            let words = "was taken back, or expired, while the provider was asked";
            return Err(Fault::new(Trouble::Expired, format!("authorization {} {words}", authorization.id)));
        }
        let Purpose::Client(request) = &authorization.purpose;
        let (subject, client, resource) = (&sign_in.subject, &request.client_id, request.resource.as_str());
        self.counted.signed_in(provider.id().as_str(), SignInOutcome::SignedIn);
        self.audit.record(&Event::SignedIn { subject, client, resource }, arrival);
        let redirect = recipient.respond(Answer::Code(code.expose()));
        Ok(ClientRedirect { user: sign_in.user.known_as().map(str::to_owned), ..redirect })
    }

    fn standing(&self, provider: &Provider, subject: &Subject, signed_in: &SignedIn) -> ProviderStanding {
        let token = signed_in.token.as_ref();
        ProviderStanding {
            sealed_token: token.map(|token| self.provider_tokens.seal(provider, subject, &token.token)),
            offline: token.is_some_and(|token| token.offline),
            ends_at: token.and_then(|token| token.ends_at),
            renewable: signed_in.renewable,
        }
    }

    /// The link that finishes a sign-in: for the browser that holds the binding, while the code is unredeemed.
    pub(super) async fn finish(
        &self,
        authorization: &Authorization,
        binding: &Binding,
        recipient: &Recipient,
    ) -> Result<Option<ClientRedirect>, Fault> {
        let code = binding.code(authorization.round);
        let issued = self.store.issued_code(&code.sha256()).await?;
        let good = issued.is_some_and(|issued| issued.redeemed.is_none() && self.clock.now() < issued.code_expires_at);
        Ok(good.then(|| recipient.respond(Answer::Code(code.expose()))))
    }
}
