//! The user's answer to a device (RFC 8628 3.3), and what it starts.
//!
//! Defends against: CSRF (form and cookie must agree), and a second answer to a device code from any browser (one conditional
//! statement records the first).

use super::answered::Told;
use super::authorization_response::{Recipient, Recipients};
use super::beginning::{AnsweredForm, Beginnings, Prepared, Withdrawal};
use super::fault::{Fault, Trouble};
use super::form::{OpenedForm, ProvenForm};
use crate::audit::{Audit, Event};
use crate::clock::Clock;
use crate::model::authorization::{Authorization, DeviceRequest, Purpose};
use crate::storage::{DeviceAnswer, Store};
use crate::telemetry::metrics::{self, SignInOutcome};
use crate::wire::Arrival;

/// Takes answers to devices.
pub(in crate::issuer) struct DeviceAnswers {
    pub(in crate::issuer) recipients: Recipients,
    pub(in crate::issuer) beginnings: Beginnings,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

impl DeviceAnswers {
    /// Takes the user's answer. `identity` is the chosen provider, or `None` for a denial.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(in crate::issuer) async fn answer(
        &self,
        form: &OpenedForm<DeviceRequest>,
        identity: Option<&str>,
        arrival: &Arrival,
    ) -> Result<AnsweredForm, Fault> {
        let address = arrival.address;
        let proven = form.proven()?;
        self.beginnings.admit(address).await?;
        let request = form.question().clone();
        let recipient = Recipient::Device(self.recipients.of_device(request.clone(), address).await?);
        match identity {
            Some(identity) => self.approve(&proven, request, identity, &recipient).await,
            None => self.deny(&proven, request, &recipient, arrival).await,
        }
    }

    async fn approve(
        &self,
        form: &ProvenForm,
        request: DeviceRequest,
        identity: &str,
        recipient: &Recipient,
    ) -> Result<AnsweredForm, Fault> {
        let (device_code, refresh) = (request.device_code, request.access.refresh);
        let Prepared { authorization, begun } =
            self.beginnings.prepare(form, identity, Purpose::Device(request), refresh)?;
        match self.store.answer_device_code(&device_code, &authorization, self.clock.now()).await? {
            DeviceAnswer::Recorded => Ok(AnsweredForm::SignIn(begun)),
            DeviceAnswer::Posted => Ok(self.beginnings.again(form, recipient).await?.into()),
            DeviceAnswer::Closed => Err(closed()),
        }
    }

    async fn deny(
        &self,
        form: &ProvenForm,
        request: DeviceRequest,
        recipient: &Recipient,
        arrival: &Arrival,
    ) -> Result<AnsweredForm, Fault> {
        let (now, device_code) = (self.clock.now(), request.device_code);
        let denial = Authorization::denied(form.authorization.clone(), Purpose::Device(request), &form.binding, now);
        let denied = Ok(AnsweredForm::Told(Told::DeviceDenied));
        match self.store.answer_device_code(&device_code, &denial, now).await? {
            DeviceAnswer::Recorded => {}
            DeviceAnswer::Posted => match self.beginnings.withdraw(form, recipient).await? {
                Withdrawal::Done => {}
                Withdrawal::Repeated => return denied,
                Withdrawal::TooLate(outcome) => return Ok(AnsweredForm::Answered(outcome)),
            },
            DeviceAnswer::Closed => return Err(closed()),
        }
        self.metrics.signed_in("", SignInOutcome::Denied);
        if let Some((client, resource)) = denial.purpose.asked() {
            self.audit.record(&Event::Denied { client, resource }, arrival);
        }
        denied
    }
}

fn closed() -> Fault {
    Fault::new(Trouble::DeviceCode, "a device code that was answered from another page, or has expired")
}
