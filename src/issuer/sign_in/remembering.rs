//! Remembered consent: when the consent page is skipped, and why that is safe. Off by default.
//!
//! The page comes before the identity provider, so the user is not known yet when it is skipped. The order is:
//!
//! 1. `/authorize`: the browser's mark (a cookie) finds what was allowed in it. If that covers the request, the browser goes on to
//!    the provider that signed that user in.
//! 2. The provider's answer: a code is issued only if the user who signed in is one who allowed as much in this browser; the same
//!    transaction looks and issues (`storage::CodeConsent`). Everyone else is shown the page, and goes to the provider once more.
//!
//! So the mark alone is useless: in another browser it leads a thief to a sign-in of their own.
//!
//! Defends against: a confused deputy and an authorization server in the middle, which rides on an earlier consent (only
//! clients that the operator names, only web servers that are known here, never a start from another site), another user at
//! the same browser, and a client that changed since.

use std::time::Duration;

use super::authorize::Validated;
use super::receivers::Receivers;
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::issuer::resources::Resources;
use crate::model::authorization::{ClientRequest, Consent};
use crate::model::client::{Client, ClientOrigin};
use crate::model::remembered_consent::Allowed;
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};
use crate::storage::CodeConsent;

/// Checks what may be remembered. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Remembering {
    pub(in crate::issuer) settings: config::Consent,
    pub(in crate::issuer) receivers: Receivers,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) clock: Clock,
}

impl Remembering {
    /// What a consent to this request allows, if that may be remembered. Never that of a client that registered itself, whose
    /// metadata are anyone's; and only where the code goes to a web server that is known here. A program on the user's machine
    /// proves nothing about itself.
    pub(super) fn allowed(
        &self,
        request: &ClientRequest,
        client: &Client,
        redirect_uri: &RedirectUri,
    ) -> Option<Allowed> {
        let may = self.settings.remembers(client.id.as_str())
            && client.origin != ClientOrigin::Registered
            && redirect_uri.class() == RedirectClass::Https
            && self.receivers.know(client, redirect_uri);
        let upstream = self.resources.of_audience(&request.resource).filter(|_| may)?;
        Some(Allowed {
            client_id: client.id.clone(),
            client_hash: client.fingerprint(),
            redirect_uri: redirect_uri.canonical().to_owned(),
            resource: request.resource.clone(),
            scope: upstream.settings.scopes.hierarchy.effective(&request.scope),
            refresh: request.refresh,
        })
    }

    /// For how long the page may offer to remember the answer to this request; `None`: not at all.
    pub(super) fn offer(&self, validated: &Validated) -> Option<Duration> {
        let Validated { request, client, redirect_uri, .. } = validated;
        self.allowed(request, client, redirect_uri).map(|_| self.settings.remember_for)
    }

    /// What was allowed before it has expired, by today's settings.
    pub(in crate::issuer) fn since(&self) -> Timestamp {
        self.clock.now().before(self.settings.remember_for)
    }

    /// What the code of a sign-in must be checked against. `allowed` is what it gives; `None`: the page must be shown after all,
    /// because this may not be remembered any more.
    pub(super) fn check<'a>(&self, consent: &'a Consent, allowed: Option<&'a Allowed>) -> Option<CodeConsent<'a>> {
        match (consent, allowed) {
            (Consent::Asked, _) | (Consent::AskedOnce(_), None) => Some(CodeConsent::Asked),
            (Consent::AskedOnce(browser), Some(allowed)) => Some(CodeConsent::Remember(browser, allowed)),
            (Consent::Remembered(browser), Some(allowed)) => {
                Some(CodeConsent::Remembered(browser, allowed, self.since()))
            }
            (Consent::Remembered(_), None) => None,
        }
    }
}
