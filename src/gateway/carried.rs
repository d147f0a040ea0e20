//! The credential that a permitted call carries to its upstream.
//!
//! It is made for the caller of the permit and the grant of that caller, so that a call cannot leave with the credential of another
//! user (confused deputy). A request that was refused with it is sent once more with a new one, if all of its body is here.

use std::sync::Arc;

use http::StatusCode;

use super::lease::{CallLease, Over};
use super::refusal::Refusal;
use super::routes::{Permit, Served};
use crate::delegation::{Credential, Issued};
use crate::upstream::{Outgoing, Sending};
use crate::wire::Arrival;

/// A credential for one call.
pub(super) struct Carried<'a> {
    credential: &'a Arc<Credential>,
    issued: Issued,
    arrival: &'a Arrival,
}

impl<'a> Carried<'a> {
    /// The credential for a call, if its upstream gets one: from memory but for the first call in some minutes.
    ///
    /// # Errors
    /// When there is none, or the call is over before there is.
    pub(super) async fn by(
        permit: &Permit<'a>,
        arrival: &'a Arrival,
        lease: &mut CallLease,
    ) -> Result<Option<Self>, Refusal> {
        let Some(credential) = &permit.upstream().credential else { return Ok(None) };
        let bearer = permit.caller().bearer(arrival);
        let issued = match credential.at_hand(&bearer)? {
            Some(issued) => issued,
            // boxed: few calls come here, and the others should not hold the room
            None => lease.hold(Box::pin(credential.obtain(&bearer))).await.map_err(Over::before_sending)??,
        };
        Ok(Some(Self { credential, issued, arrival }))
    }

    /// Sends a call with it.
    pub(super) fn send(self, served: &Served, mut outgoing: Outgoing) -> Sending {
        let Self { credential, issued, arrival } = self;
        outgoing.headers.insert(credential.header().clone(), issued.value.clone());
        if !credential.is_renewable() {
            return served.upstream.send(outgoing, &served.calls);
        }
        let copy = outgoing.copy();
        let sending = served.upstream.send(outgoing, &served.calls);
        let (credential, arrival) = (Arc::clone(credential), arrival.clone());
        let (upstream, calls, id) = (served.upstream.clone(), Arc::clone(&served.calls), Arc::clone(&served.id));
        Box::pin(async move {
            let answer = sending.await?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            // given up in any case: the next call asks for another one
            let renewal = credential.refused(&issued, &arrival);
            let (Some(renewal), Some(mut again)) = (renewal, copy) else { return Ok(answer) };
            tracing::info!(
                upstream = &*id,
                "the upstream refused the identity provider's token: it is asked for again"
            );
            match renewal.obtain().await {
                Ok(value) => {
                    again.headers.insert(credential.header().clone(), value);
                    upstream.send(again, &calls).await
                }
                Err(why) => {
                    tracing::warn!(upstream = &*id, %why, "there is no other token after a refused one");
                    Ok(answer)
                }
            }
        })
    }
}
