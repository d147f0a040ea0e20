//! Where a user types the code that a device shows, and what they are asked then (RFC 8628 3.3).
//!
//! Defends against: brute force of user codes (rate limits per form, per address and in total), and phishing with device
//! codes (RFC 8628 5.4): a link with the code fills in the form and nothing more; the page says which client asks, from which
//! address, since when, and that only the user's own device may be answered.

use super::authorization_response::{DeviceRecipient, Recipients};
use super::choices::{ProviderChoice, ProviderChoices};
use super::fault::Fault;
use super::form::{FormPage, OpenedForm, Question, RenderedForm, SealedForms};
use super::user_codes::UserCodes;
use crate::clock::Clock;
use crate::issuer::resources::{AccessView, Resources};
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::authorization::DeviceRequest;
use crate::model::client::Client;
use crate::model::device_code::OpenDeviceCode;
use crate::model::ids::AuthorizationId;
use crate::oauth::device::UserCode;
use crate::storage::Store;
use crate::wire::ClientAddress;

/// The minimum cost of an attempt against the total limit. An attempt costs as much as there are open codes, so the chance
/// that any attempt of an hour succeeds is bounded, while few open codes leave room for many attempts.
const LEAST_COST: i64 = 100;

/// Finds device codes for users.
pub(in crate::issuer) struct DeviceEntries {
    pub(in crate::issuer) forms: SealedForms,
    pub(in crate::issuer) choices: ProviderChoices,
    pub(in crate::issuer) user_codes: UserCodes,
    pub(in crate::issuer) recipients: Recipients,
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
}

/// The form into which a user types a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct CodeEntry {}

impl Question for CodeEntry {
    const LABEL: &'static str = "device code form";
}

impl Question for DeviceRequest {
    const LABEL: &'static str = "device form";
}

/// The page where a code is typed.
#[derive(Debug)]
pub struct DeviceEntryView {
    /// What was typed before, or came with the link.
    pub typed: String,
    /// Why the page is shown again.
    pub problem: Option<EntryProblem>,
    /// The form's hidden field.
    pub form: String,
}

/// Why a code is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryProblem {
    /// It is not known here, or has expired.
    Unknown,
    /// It was answered before.
    Answered,
}

/// What a user is asked about a device.
#[derive(Debug)]
pub struct DeviceView {
    /// The client of the device.
    pub client: Client,
    /// The code that the device must show.
    pub user_code: String,
    /// The device's address.
    pub address: String,
    /// Whether the browser is in the same network.
    pub same_network: bool,
    /// The family of the device's program.
    pub agent: Option<String>,
    /// For how many seconds the device has been waiting.
    pub waiting: u64,
    /// What the client will be allowed.
    pub access: AccessView,
    /// The providers that can sign the user in; at least one.
    pub providers: Vec<ProviderChoice>,
    /// The form's hidden field: the sealed request.
    pub form: String,
}

/// The result of a typed code.
#[derive(Debug)]
pub(crate) enum EntryStep {
    /// The question about the device.
    Ask(Box<FormPage<DeviceView>>),
    /// The same page again.
    Again(DeviceEntryView),
}

impl DeviceEntries {
    /// The page where a code is typed. `typed` came with a link, and is only filled in.
    ///
    /// # Errors
    /// A fault of ours.
    pub(in crate::issuer) fn page(&self, typed: &str) -> Result<FormPage<DeviceEntryView>, Fault> {
        let RenderedForm { field: form, cookie } = self.forms.render(CodeEntry {})?;
        // only a well-formed code is shown: a link must not put text on our page (content injection)
        let typed = UserCode::parse(typed).map(|code| code.to_string()).unwrap_or_default();
        Ok(FormPage { view: DeviceEntryView { typed, problem: None, form }, cookie })
    }

    /// Takes a typed code.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(in crate::issuer) async fn enter(
        &self,
        form: &OpenedForm<CodeEntry>,
        typed: &str,
        address: ClientAddress,
    ) -> Result<EntryStep, Fault> {
        let proven = form.proven()?;
        self.admit(&proven.authorization, address).await?;
        let code = UserCode::parse(typed);
        let found = match &code {
            Some(code) => self.find(code).await?,
            None => None,
        };
        let again = |problem| {
            let typed = code.as_ref().map(ToString::to_string).unwrap_or_default();
            Ok(EntryStep::Again(DeviceEntryView { typed, problem: Some(problem), form: form.field().to_owned() }))
        };
        match (found, &code) {
            (Some(found), _) if found.answered => again(EntryProblem::Answered),
            (Some(found), Some(code)) => self.ask(found, code, address).await,
            _ => again(EntryProblem::Unknown),
        }
    }

    /// Counts an attempt, right or wrong: a limit that spares right ones would not stop brute force.
    async fn admit(&self, form: &AuthorizationId, address: ClientAddress) -> Result<(), Fault> {
        self.limits.check(Limit::UserCodesPerForm, &Key::of(&[Part::Authorization(form)])).await?;
        self.limits.check(Limit::UserCodesPerAddress, &Key::of(&[Part::Address(address)])).await?;
        let open = self.store.count_open_device_codes(self.clock.now()).await?;
        let cost = u32::try_from(open.max(LEAST_COST)).unwrap_or(u32::MAX);
        let admitted: Result<(), Limited> = self.limits.check_cost(Limit::UserCodes, &Key::of(&[]), cost).await;
        Ok(admitted?)
    }

    async fn find(&self, code: &UserCode) -> Result<Option<OpenDeviceCode>, Fault> {
        let now = self.clock.now();
        for mac in self.user_codes.macs(code) {
            if let Some(found) = self.store.device_code_of_user(&mac, now).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn ask(&self, found: OpenDeviceCode, code: &UserCode, browser: ClientAddress) -> Result<EntryStep, Fault> {
        let OpenDeviceCode { request, address, agent, created_at, answered: _ } = found;
        let DeviceRecipient { client, request } = self.recipients.of_device(request, browser).await?;
        let providers = self.choices.reachable(request.access.refresh).await?;
        let access = &request.access;
        let access = self.resources.access_view(&access.resource, &access.scope, access.refresh);
        let RenderedForm { field: form, cookie } = self.forms.render(request)?;
        let view = DeviceView {
            user_code: code.to_string(),
            same_network: address.parse().is_ok_and(|device| ClientAddress(device).network() == browser.network()),
            waiting: self.clock.now().since(created_at).as_secs(),
            access,
            client,
            address,
            agent,
            providers,
            form,
        };
        Ok(EntryStep::Ask(Box::new(FormPage { view, cookie })))
    }
}
