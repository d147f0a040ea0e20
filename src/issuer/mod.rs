//! Our authorization server: rules without HTTP, behind one facade for `web`.
//!
//! | folder | what |
//! |---|---|
//! | `clients` | who a client id names, registration, client authentication |
//! | `sign_in` | from the authorization request to the code |
//! | `tokens` | the token endpoint, one file per grant type |
//! | `machine_bounds` | what may be given without a user's consent |
//! | `token_state` | revocation and introspection of tokens |
//! | `grants` | how grants end, the providers' tokens that hang on them, upkeep |
//!
//! Each part is a struct with the dependencies that it uses. `sign_in` and `tokens` call `clients` and `grants`, never the
//! other way round, and no part knows the facade.

mod assembly;
mod clients;
mod grants;
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
use crate::model::ids::AuthorizationId;
use crate::oauth::client_metadata::RegistrationResponse;
use crate::oauth::parameters::Parameters;
use crate::wire::{Arrival, ClientAddress};
use assembly::{Inner, assemble};
use metadata::PublicDocuments;
use sign_in::{ConsentPrompt, OpenedForm};

pub(crate) use assembly::IssuerParts;
pub(crate) use clients::{ManagementRequest, RegistrationAttempt, RegistrationRefusal, Via};
pub use grants::Unfit;
pub(crate) use grants::{GrantEnds, Revocations};
pub(crate) use sign_in::{
    Answered, Approval, AuthorizationCookie, AuthorizeRejection, ClientRedirect, EarlierOutcome, Fault, ProviderAnswer,
    SignInAttempt, SignInStep, Trouble, Validated,
};
pub use sign_in::{ConsentView, Outcome, ProviderChoice, SignInProblem, SignInView};
pub(crate) use tasks::Panicked;
pub(crate) use tokens::{Reason, TokenRefusal, TokenRequest};

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

    /// Judges an authorization request that came from this address.
    pub(crate) async fn authorize(
        &self,
        parameters: &Parameters,
        from: ClientAddress,
    ) -> Result<Validated, AuthorizeRejection> {
        self.0.sign_in.authorize.authorize(parameters, from).await
    }

    /// Prepares the consent page for a request.
    pub(crate) async fn consent(&self, validated: Validated) -> Result<ConsentPrompt, Fault> {
        self.0.sign_in.consent_forms.prompt(validated).await
    }

    /// Opens a posted consent form.
    pub(crate) fn open_form(&self, form: &str) -> Result<OpenedForm, Fault> {
        self.0.sign_in.consent_forms.open(form)
    }

    /// Takes the user's answer. `cookie` is the value of the form's cookie; `identity` the chosen provider, or `None` for a
    /// denial.
    pub(crate) async fn answer_form(
        &self,
        form: &OpenedForm,
        cookie: Option<&str>,
        identity: Option<&str>,
        address: ClientAddress,
    ) -> Result<Approval, Fault> {
        self.0.sign_in.approvals.answer(form, cookie, identity, address).await
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

    /// Ends the grant of a token on its client's behalf (RFC 7009).
    pub(crate) async fn revoke(&self, request: TokenRequest) -> Result<(), TokenRefusal> {
        self.0.revocation.revoke(request).await
    }

    /// Tells a resource server about a token, as JSON (RFC 7662).
    pub(crate) async fn introspect(&self, request: TokenRequest) -> Result<Vec<u8>, TokenRefusal> {
        self.0.introspection.introspect(request).await
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

    /// Waits until every task that runs by itself has ended: calls of [`Self::complete`], revocations at a provider.
    pub async fn settle(&self) {
        self.0.tasks.settle().await;
    }
}
