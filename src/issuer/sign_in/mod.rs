//! The way of a sign-in, one file per step: `authorize` judges the request, `consent` asks the user, `approval` takes the
//! answer and sends the browser to the identity provider; `callback`, or `password` for users of our own, takes what comes
//! back from the browser that `bound` has proven to be the same one (`first_answer`: what a repeated answer gets); `code` makes
//! the code, and `authorization_response`
//! carries it to the client. Until then each failure is a `fault`, shown on a page.
//!
//! Defends against: CSRF and session fixation (`consent`, `bound`), mix-up of providers (`callback`), replay of forms and
//! answers (each step is one conditional statement of the store), and open redirectors (`authorize`).

mod approval;
mod authorization_response;
mod authorize;
mod bound;
mod callback;
mod code;
mod consent;
mod fault;
mod first_answer;
mod password;
mod provider_leg;

pub(crate) use approval::Approval;
pub(super) use approval::Approvals;
pub(crate) use authorization_response::ClientRedirect;
pub use authorization_response::Outcome;
pub(super) use authorization_response::Recipients;
pub(super) use authorize::Authorize;
pub(crate) use authorize::{AuthorizeRejection, Validated};
pub(super) use bound::BoundSignIns;
pub(super) use callback::Callbacks;
pub(crate) use callback::ProviderAnswer;
pub(super) use code::Codes;
pub(super) use consent::ConsentForms;
pub(crate) use consent::{AuthorizationCookie, ConsentPrompt, OpenedForm};
pub use consent::{ConsentView, ProviderChoice};
pub(crate) use fault::{Fault, Trouble};
pub(super) use first_answer::FirstAnswers;
pub(crate) use first_answer::{Answered, EarlierOutcome};
pub(super) use password::PasswordSignIn;
pub(crate) use password::{SignInAttempt, SignInStep};
pub use password::{SignInProblem, SignInView};
pub(super) use provider_leg::ProviderLeg;

/// The steps of a sign-in.
pub(super) struct SignIn {
    pub(super) authorize: Authorize,
    pub(super) consent_forms: ConsentForms,
    pub(super) approvals: Approvals,
    pub(super) callbacks: Callbacks,
    pub(super) passwords: PasswordSignIn,
}
