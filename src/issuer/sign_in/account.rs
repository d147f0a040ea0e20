//! The sign-in at the user's own page: a form with the providers, and what it starts. No client takes part.
//!
//! Defends against: login CSRF (only the browser that was shown the form can begin, and end, the sign-in).

use super::authorization_response::Recipient;
use super::beginning::{AnsweredForm, Beginnings, Prepared};
use super::choices::{ProviderChoice, ProviderChoices};
use super::fault::Fault;
use super::form::{FormPage, OpenedForm, Question, RenderedForm, SealedForms};
use crate::model::authorization::Purpose;
use crate::storage::Store;
use crate::wire::ClientAddress;

/// Begins sign-ins at the user's own page.
pub(in crate::issuer) struct AccountSignIns {
    pub(in crate::issuer) forms: SealedForms,
    pub(in crate::issuer) choices: ProviderChoices,
    pub(in crate::issuer) beginnings: Beginnings,
    pub(in crate::issuer) store: Store,
}

/// The form with which a user begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct AccountEntry {}

impl Question for AccountEntry {
    const LABEL: &'static str = "account form";
}

/// The page of a user who is not signed in.
#[derive(Debug)]
pub struct AccountEntryView {
    /// The providers that can sign the user in; at least one.
    pub providers: Vec<ProviderChoice>,
    /// The form's hidden field.
    pub form: String,
}

impl AccountSignIns {
    /// The page of a user who is not signed in.
    ///
    /// # Errors
    /// When no identity provider can be reached now.
    pub(in crate::issuer) async fn page(&self) -> Result<FormPage<AccountEntryView>, Fault> {
        let providers = self.choices.reachable(false).await?;
        let RenderedForm { field: form, cookie } = self.forms.render(AccountEntry {})?;
        Ok(FormPage { view: AccountEntryView { providers, form }, cookie })
    }

    /// Takes the user's choice.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(in crate::issuer) async fn begin(
        &self,
        form: &OpenedForm<AccountEntry>,
        identity: &str,
        address: ClientAddress,
    ) -> Result<AnsweredForm, Fault> {
        let proven = form.proven()?;
        self.beginnings.check_age(form)?;
        self.beginnings.admit(address).await?;
        let Prepared { authorization, begun } = self.beginnings.prepare(&proven, identity, Purpose::Account, false)?;
        if self.store.insert_authorization(&authorization).await? {
            return Ok(AnsweredForm::SignIn(begun));
        }
        Ok(self.beginnings.again(&proven, &Recipient::Account).await?.into())
    }
}
