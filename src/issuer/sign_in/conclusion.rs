//! The conclusion of a sign-in once the user is known: the one place that turns a purpose into an outcome.
//!
//! Defends against: a confused deputy. The purpose is that of the stored authorization; nothing in the request that ends a
//! sign-in can change it. A user whom a rule keeps out gets neither a code nor a session (`admission`).

use super::admission::Admissions;
use super::answered::{Answered, Told};
use super::authorization_response::{ClientRecipient, Recipient};
use super::authorize::Authorize;
use super::bound::Bound;
use super::code::Codes;
use super::fault::Fault;
use super::sessions::Sessions;
use crate::identity::SignedIn;
use crate::model::authorization::Purpose;
use crate::wire::Arrival;

/// Concludes sign-ins. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Conclusions {
    pub(in crate::issuer) admissions: Admissions,
    pub(in crate::issuer) authorize: Authorize,
    pub(in crate::issuer) codes: Codes,
    pub(in crate::issuer) sessions: Sessions,
}

impl Conclusions {
    /// Concludes a sign-in whose authorization was claimed.
    pub(super) async fn conclude(
        &self,
        bound: &Bound<'_>,
        signed_in: SignedIn,
        arrival: &Arrival,
    ) -> Result<Answered, Fault> {
        if let Some(refused) = self.admissions.refuse(bound, &signed_in, arrival).await? {
            return Ok(refused);
        }
        match &bound.recipient {
            Recipient::Client(client) => match self.codes.for_client(bound, client, signed_in, arrival).await? {
                Some(redirect) => Ok(Answered::ToClient(redirect)),
                None => self.ask(bound, client),
            },
            Recipient::Account => self.sessions.open(bound, signed_in, arrival).await.map(Answered::ToAccount),
            Recipient::Device(device) => {
                let user = self.codes.for_device(bound, device, signed_in, arrival).await?;
                Ok(Answered::Told(Told::DeviceConnected { user }))
            }
        }
    }

    /// The consent page after all: the remembered consent that let it be skipped is not this user's.
    fn ask(&self, bound: &Bound<'_>, recipient: &ClientRecipient) -> Result<Answered, Fault> {
        let Purpose::Client(request) = &bound.authorization.purpose else {
            return Err(Fault::not_ours("a client waits for a sign-in of another purpose"));
        };
        let (client, redirect_uri) = (recipient.client.clone(), recipient.redirect_uri.clone());
        let validated = self.authorize.revalidate(request.clone(), client, redirect_uri)?;
        Ok(Answered::Ask(Box::new(validated)))
    }
}
