//! Our authorization server: rules without HTTP, behind one facade for `web`.
//!
//! | folder | what |
//! |---|---|
//! | `clients` | who a client id names, registration, client authentication |
//! | `sign_in` | from the authorization request to the code |
//! | `tokens` | the token endpoint, one file per grant type |
//! | `account` | the user's own page: what they granted, and ending it |
//! | `device` | the device authorization endpoint |
//! | `machine_bounds` | what may be given without a user's consent |
//! | `logout` | logouts that a provider reports, and asking it what they leave |
//! | `token_state` | revocation and introspection of tokens |
//! | `grants` | how grants end, the providers' tokens that hang on them, upkeep |
//!
//! Each part is a struct with the dependencies that it uses. `sign_in` and `tokens` call `clients` and `grants`, never the
//! other way round, and no part knows the facade.

mod account;
mod assembly;
mod clients;
mod device;
mod grants;
mod logout;
mod machine_bounds;
mod metadata;
mod resources;
mod sign_in;
mod single_flight;
mod tasks;
mod token_state;
mod tokens;

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::identity::SubjectTokens;
use crate::model::authorization::{ClientRequest, DeviceRequest};
use crate::model::ids::{AuthorizationId, ConsentId};
use crate::oauth::client_metadata::RegistrationResponse;
use crate::oauth::parameters::Parameters;
use crate::wire::{Arrival, ClientAddress};
use assembly::{Inner, assemble};
use metadata::PublicDocuments;

pub(crate) use account::{AccountPage, Ending, SessionCookie};
pub use account::{AccountUser, AccountView, EndView, GrantView, RememberedView};
pub(crate) use assembly::IssuerParts;
#[cfg(any(test, fuzzing))]
pub(crate) use clients::{ALGORITHMS, AssertionRules, basic, fresh_for};
pub(crate) use clients::{ManagementRequest, RegistrationAttempt, RegistrationRefusal, Via};
pub use grants::Unfit;
pub(crate) use grants::{ChosenGrants, EndReport, GrantEnds};
pub(crate) use logout::LogoutRefusal;
pub use resources::AccessView;
pub(crate) use sign_in::{
    AccountEntry, Answered, AnsweredForm, AuthorizationCookie, AuthorizeRejection, Begun, ClientRedirect, CodeEntry,
    ConsentOutcome, Decision, EarlierOutcome, EntryStep, Fault, FormPage, NotSignedIn, OpenedForm, ProviderAnswer,
    Question, SignInAttempt, SignInStep, Start, Trouble, Validated,
};
pub use sign_in::{
    AccountEntryView, Asker, ConsentView, DeviceEntryView, DeviceView, EarlierAnswer, EntryProblem, Outcome,
    ProviderChoice, SignInProblem, SignInView, Told,
};
pub(crate) use tasks::Panicked;
pub(crate) use tokens::{Reason, SentProof, TokenRefusal, TokenRequest};

/// The authorization server: a facade, each of whose methods is one call of one part, which says more of its errors. Cheap to
/// clone.
#[derive(Clone)]
pub struct Issuer(Arc<Inner>);

impl Issuer {
    /// Builds the issuer.
    #[must_use]
    pub(crate) fn new(parts: IssuerParts) -> Self {
        Self(Arc::new(assemble(parts)))
    }

    /// The provider's access tokens of our grants' users, for the servers behind us.
    #[must_use]
    pub(crate) fn subject_tokens(&self) -> Arc<dyn SubjectTokens> {
        Arc::new(self.0.provider_access.clone())
    }

    /// The public documents: metadata (RFC 8414) and keys (RFC 7517).
    #[must_use]
    pub(crate) fn documents(&self) -> &PublicDocuments {
        &self.0.documents
    }

    /// The current second.
    #[must_use]
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Checks an authorization request that came from this address.
    pub(crate) async fn authorize(
        &self,
        parameters: &Parameters,
        from: ClientAddress,
    ) -> Result<Validated, AuthorizeRejection> {
        self.0.sign_in.authorize.authorize(parameters, from).await
    }

    /// Begins the sign-in for a request whose consent is remembered; `None`: ask.
    pub(crate) async fn begin_remembered(
        &self,
        validated: &Validated,
        start: &Start,
        from: ClientAddress,
    ) -> Result<Option<Begun>, Fault> {
        self.0.sign_in.remembered.begin(validated, start, from).await
    }

    /// Prepares the consent page for a request. `direct` is whether no other site sent the browser.
    pub(crate) async fn consent(&self, validated: Validated, direct: bool) -> Result<FormPage<ConsentView>, Fault> {
        self.0.sign_in.consent_forms.prompt(validated, direct).await
    }

    /// Opens a posted form; each kind is answered by a method of its own. `cookie_of` finds the value of the cookie that was set
    /// with it.
    pub(crate) fn open_form<Q: Question>(
        &self,
        form: &str,
        cookie_of: impl FnOnce(&AuthorizationId) -> Option<String>,
    ) -> Result<OpenedForm<Q>, Fault> {
        self.0.sign_in.forms.open(form, cookie_of)
    }

    /// Takes the user's answer.
    pub(crate) async fn answer_form(
        &self,
        form: &OpenedForm<ClientRequest>,
        decision: &Decision,
    ) -> Result<ConsentOutcome, Fault> {
        self.0.sign_in.approvals.answer(form, decision).await
    }

    /// The user's own page: of the session that the cookie names, or to sign in.
    pub(crate) async fn account(&self, cookie: Option<&SessionCookie>) -> Result<AccountPage, Fault> {
        if let Some(cookie) = cookie
            && let Some(view) = self.0.accounts.page(cookie).await?
        {
            return Ok(AccountPage::SignedIn(Box::new(view)));
        }
        self.0.sign_in.account.page().await.map(AccountPage::SignedOut)
    }

    /// Begins the sign-in at the user's own page.
    pub(crate) async fn open_account(
        &self,
        form: &OpenedForm<AccountEntry>,
        identity: &str,
        address: ClientAddress,
    ) -> Result<AnsweredForm, Fault> {
        self.0.sign_in.account.begin(form, identity, address).await
    }

    /// The question whether to end grants; `None` when the session has ended, or there is nothing to end.
    pub(crate) async fn end_question(&self, cookie: &SessionCookie, which: &Ending) -> Result<Option<EndView>, Fault> {
        self.0.accounts.question(cookie, which).await
    }

    /// Ends grants of the session's user.
    pub(crate) async fn end_own_grants(
        &self,
        cookie: &SessionCookie,
        form_token: &str,
        which: &Ending,
        arrival: &Arrival,
    ) -> Result<(), Fault> {
        self.0.accounts.end(cookie, form_token, which, arrival).await
    }

    /// Forgets a remembered consent of the session's user.
    pub(crate) async fn forget_consent(
        &self,
        cookie: &SessionCookie,
        form_token: &str,
        id: &ConsentId,
        arrival: &Arrival,
    ) -> Result<(), Fault> {
        self.0.accounts.forget(cookie, form_token, id, arrival).await
    }

    /// Ends the session at the user's own page.
    pub(crate) async fn sign_out(&self, cookie: &SessionCookie, form_token: &str) -> Result<(), Fault> {
        self.0.accounts.sign_out(cookie, form_token).await
    }

    /// Gives a device its codes (RFC 8628 3.1).
    pub(crate) async fn device_authorization(&self, request: TokenRequest) -> Result<Vec<u8>, TokenRefusal> {
        match &self.0.device {
            Some(device) => device.answer(request).await,
            None => Err(TokenRefusal::unavailable("device authorization is off")),
        }
    }

    /// The page where a user types the code of a device.
    pub(crate) fn device_page(&self, typed: &str) -> Result<FormPage<DeviceEntryView>, Fault> {
        self.0.sign_in.device_entries.page(typed)
    }

    /// Takes a typed code.
    pub(crate) async fn enter_user_code(
        &self,
        form: &OpenedForm<CodeEntry>,
        typed: &str,
        address: ClientAddress,
    ) -> Result<EntryStep, Fault> {
        self.0.sign_in.device_entries.enter(form, typed, address).await
    }

    /// Takes the user's answer to a device. `identity` is the chosen provider, or `None` for a denial.
    pub(crate) async fn answer_device(
        &self,
        form: &OpenedForm<DeviceRequest>,
        identity: Option<&str>,
        arrival: &Arrival,
    ) -> Result<AnsweredForm, Fault> {
        self.0.sign_in.device_answers.answer(form, identity, arrival).await
    }

    /// Takes the provider's answer. `cookie` is the value of the binding cookie of [`ProviderAnswer::authorization`].
    pub(crate) async fn callback(&self, answer: &ProviderAnswer, cookie: Option<&str>) -> Result<Answered, Fault> {
        self.0.sign_in.callbacks.answer(answer, cookie).await
    }

    /// Prepares the sign-in page for an authorization that this browser began. `cookie` is the value of its binding cookie.
    pub(crate) async fn sign_in_page(
        &self,
        identity: &str,
        id: &AuthorizationId,
        cookie: Option<&str>,
        from: ClientAddress,
    ) -> Result<SignInStep, Fault> {
        self.0.sign_in.passwords.page(identity, id, cookie, from).await
    }

    /// Takes a typed password. `cookie` is the value of the authorization's binding cookie.
    pub(crate) async fn sign_in(&self, attempt: SignInAttempt, cookie: Option<&str>) -> Result<SignInStep, Fault> {
        self.0.sign_in.passwords.attempt(attempt, cookie).await
    }

    /// Answers a token request.
    pub(crate) async fn token(&self, request: TokenRequest) -> Result<Vec<u8>, TokenRefusal> {
        self.0.tokens.answer(request).await
    }

    /// The nonce for a client's next DPoP proof (RFC 9449 8); `None` where no upstream takes bound tokens.
    #[must_use]
    pub(crate) fn dpop_nonce(&self) -> Option<String> {
        self.0.tokens.proofs.nonce()
    }

    /// Ends the grant of a token on its client's behalf (RFC 7009).
    pub(crate) async fn revoke(&self, request: TokenRequest) -> Result<(), TokenRefusal> {
        self.0.revocation.revoke(request).await
    }

    /// Tells a resource server about a token, as JSON (RFC 7662).
    pub(crate) async fn introspect(&self, request: TokenRequest) -> Result<Vec<u8>, TokenRefusal> {
        self.0.introspection.introspect(request).await
    }

    /// Takes the form in which an identity provider reports a logout.
    pub(crate) async fn back_channel_logout(
        &self,
        identity: &str,
        parameters: &Parameters,
        arrival: &Arrival,
    ) -> Result<(), LogoutRefusal> {
        self.0.logouts.receive(identity, parameters, arrival).await
    }

    /// Registers a client.
    pub(crate) async fn register(
        &self,
        attempt: &RegistrationAttempt<'_>,
        arrival: &Arrival,
    ) -> Result<RegistrationResponse, RegistrationRefusal> {
        self.0.registrations.register(attempt, arrival).await
    }

    /// What a client is told of its registration.
    pub(crate) async fn read_client(
        &self,
        request: &ManagementRequest,
    ) -> Result<RegistrationResponse, RegistrationRefusal> {
        self.0.management.read(request).await
    }

    /// Replaces the registration of a client by the JSON body of its request.
    pub(crate) async fn update_client(
        &self,
        request: &ManagementRequest,
        body: &[u8],
    ) -> Result<RegistrationResponse, RegistrationRefusal> {
        self.0.management.update(request, body).await
    }

    /// Deletes a client that asks for it.
    pub(crate) async fn delete_client(&self, request: &ManagementRequest) -> Result<(), RegistrationRefusal> {
        self.0.management.delete(request).await
    }

    /// Starts what claims something single-use, or asks a provider, as a task of its own: see [`tasks::Tasks::complete`].
    pub(crate) fn complete<F>(&self, work: F) -> impl Future<Output = Result<F::Output, Panicked>> + use<F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.tasks.complete(work)
    }

    /// Makes the store fit the configuration before the first request is served.
    pub(crate) async fn adopt_configuration(&self) -> Result<(), Unfit> {
        self.0.adoption.adopt().await
    }

    /// Runs [`Self::expire`] every half minute, without end.
    pub(crate) async fn run_expiry(self) {
        self.0.expiry.run().await;
    }

    /// Ends the grants that can no longer be used, and deletes expired rows.
    pub async fn expire(&self) {
        self.0.expiry.expire().await;
    }

    /// Runs [`Self::check_standing`] every second, without end.
    pub(crate) async fn run_standing(self) {
        self.0.standing.run().await;
    }

    /// Finishes what logouts at identity providers have begun, and asks the providers what still stands.
    pub async fn check_standing(&self) {
        self.0.standing.pass().await;
    }

    /// Waits until every task that runs by itself has ended: calls of [`Self::complete`], revocations at a provider.
    pub async fn settle(&self) {
        self.0.tasks.settle().await;
    }
}
