//! What a sign-in ends in once the user is known: the one place that turns a purpose into an outcome.
//!
//! Defends against: a confused deputy. The purpose is that of the stored authorization; nothing in the request that ends a
//! sign-in can turn it to another one.

use super::answered::{Answered, Told};
use super::authorization_response::Recipient;
use super::bound::Bound;
use super::code::Codes;
use super::fault::Fault;
use super::sessions::Sessions;
use crate::identity::SignedIn;
use crate::wire::Arrival;

/// Concludes sign-ins. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Conclusions {
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
        match &bound.recipient {
            Recipient::Client(client) => {
                self.codes.for_client(bound, client, signed_in, arrival).await.map(Answered::ToClient)
            }
            Recipient::Account => self.sessions.open(bound, signed_in, arrival).await.map(Answered::ToAccount),
            Recipient::Device(device) => {
                let user = self.codes.for_device(bound, device, signed_in, arrival).await?;
                Ok(Answered::Told(Told::DeviceConnected { user }))
            }
        }
    }
}
