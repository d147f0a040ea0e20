//! The start of a sign-in whose consent is remembered: from `/authorize` to the provider, without a page of ours. `remembering` says
//! why that is safe.

use super::authorize::Validated;
use super::beginning::{Beginnings, Begun, Prepared};
use super::fault::Fault;
use super::form::ProvenForm;
use super::remembering::Remembering;
use crate::identity::{Identities, Provider};
use crate::model::authorization::{Authorization, Consent, Purpose};
use crate::model::remembered_consent::RememberedConsent;
use crate::secret::{BrowserMark, Token};
use crate::storage::Store;
use crate::wire::ClientAddress;

/// Begins sign-ins whose consent is remembered.
pub(in crate::issuer) struct RememberedSignIns {
    pub(in crate::issuer) remembering: Remembering,
    pub(in crate::issuer) beginnings: Beginnings,
    pub(in crate::issuer) identities: Identities,
    pub(in crate::issuer) store: Store,
}

/// How a browser came to `/authorize`.
#[derive(Debug)]
pub(crate) struct Start {
    /// Whether its headers say that no other site sent it; without such headers the answer is no.
    pub direct: bool,
    /// The browser's mark, if it has one.
    pub mark: Option<Token<BrowserMark>>,
}

impl RememberedSignIns {
    /// Begins the sign-in for a request without asking, if an earlier consent in this browser covers it; `None`: ask.
    pub(in crate::issuer) async fn begin(
        &self,
        validated: &Validated,
        start: &Start,
        address: ClientAddress,
    ) -> Result<Option<Begun>, Fault> {
        let Validated { request, client, redirect_uri, prompt } = validated;
        let Some(mark) = start.mark.as_ref().filter(|_| start.direct && !prompt) else { return Ok(None) };
        let Some(asked) = self.remembering.allowed(request, client, redirect_uri) else { return Ok(None) };
        let browser = mark.sha256();
        let known = self.store.consents_in_browser(&browser, &client.id, self.remembering.since()).await?;
        let consent = known.into_iter().find(|known| known.allowed.covers(&asked) && self.stands(known));
        let Some(consent) = consent else { return Ok(None) };
        self.beginnings.admit(address).await?;
        let (purpose, refresh) = (Purpose::Client(request.clone()), request.refresh);
        let form = ProvenForm::unasked();
        let Prepared { authorization, begun } =
            self.beginnings.prepare(&form, consent.identity.as_str(), purpose, refresh)?;
        let authorization = Authorization { consent: Consent::Remembered(browser), ..authorization };
        Ok(self.store.insert_authorization(&authorization).await?.then_some(begun))
    }

    /// Whether the provider of a consent is still the one of today.
    fn stands(&self, consent: &RememberedConsent) -> bool {
        let provider = self.identities.get(consent.identity.as_str());
        provider.map(Provider::issuer) == Some(consent.issuer.as_str())
    }
}
