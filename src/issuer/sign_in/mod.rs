//! A sign-in, one file per step.
//!
//! | file | what |
//! |---|---|
//! | `authorize`, `consent`, `approval` | a client's request: check it, ask the user, take the answer |
//! | `remembering`, `remembered_start`, `receivers` | when the question is skipped, and who receives codes |
//! | `account` | the user's own page: choose a provider |
//! | `device_entry`, `device_answer`, `user_codes` | a device: find it by the typed code, ask the user, take the answer |
//! | `form`, `choices`, `beginning` | what these have in common: sealed forms, the providers, the way to one of them |
//! | `provider_leg`, `callback`, `password`, `bound` | to the provider and back, by the same browser |
//! | `conclusion`, `admission`, `code`, `sessions` | what the sign-in ends in, by its purpose, and whether the user is admitted |
//! | `authorization_response`, `answered`, `first_answer` | who waits for it, and what they are told, once or again |
//! | `fault` | failures that end on a page |
//!
//! Defends against: CSRF and session fixation (`form`, `bound`), mix-up of providers (`callback`), replay of forms and answers
//! (each step is one conditional statement of the store), a confused deputy between the purposes (`conclusion`), and open
//! redirectors (`authorize`).

mod account;
mod admission;
mod answered;
mod approval;
mod authorization_response;
mod authorize;
mod beginning;
mod bound;
mod callback;
mod choices;
mod code;
mod conclusion;
mod consent;
mod device_answer;
mod device_entry;
mod fault;
mod first_answer;
mod form;
mod password;
mod provider_leg;
mod receivers;
mod remembered_start;
mod remembering;
mod sessions;
mod user_codes;

pub(crate) use account::AccountEntry;
pub use account::AccountEntryView;
pub(super) use account::AccountSignIns;
pub(super) use admission::Admissions;
pub(crate) use answered::NotSignedIn;
pub(crate) use answered::{Answered, EarlierOutcome};
pub use answered::{EarlierAnswer, Told};
pub(super) use approval::Approvals;
pub(crate) use approval::{ConsentOutcome, Decision};
pub(crate) use authorization_response::ClientRedirect;
pub use authorization_response::Outcome;
pub(super) use authorization_response::Recipients;
pub(super) use authorize::Authorize;
pub(crate) use authorize::{AuthorizeRejection, Validated};
pub(super) use beginning::Beginnings;
pub(crate) use beginning::{AnsweredForm, Begun};
pub(super) use bound::BoundSignIns;
pub(super) use callback::Callbacks;
pub(crate) use callback::ProviderAnswer;
pub use choices::ProviderChoice;
pub(super) use choices::ProviderChoices;
pub(super) use code::Codes;
pub(super) use conclusion::Conclusions;
pub(super) use consent::ConsentForms;
pub use consent::ConsentView;
pub(super) use device_answer::DeviceAnswers;
pub(super) use device_entry::DeviceEntries;
pub(crate) use device_entry::{CodeEntry, EntryStep};
pub use device_entry::{DeviceEntryView, DeviceView, EntryProblem};
pub(crate) use fault::{Fault, Trouble};
pub(super) use first_answer::FirstAnswers;
pub(super) use form::SealedForms;
pub(crate) use form::{AuthorizationCookie, FormPage, OpenedForm, Question};
pub(super) use password::PasswordSignIn;
pub use password::{Asker, SignInProblem, SignInView};
pub(crate) use password::{SignInAttempt, SignInStep};
pub(super) use provider_leg::ProviderLeg;
pub(super) use receivers::Receivers;
pub(super) use remembered_start::RememberedSignIns;
pub(crate) use remembered_start::Start;
pub(super) use remembering::Remembering;
pub(super) use sessions::Sessions;
pub(super) use user_codes::UserCodes;

/// The steps of a sign-in.
pub(super) struct SignIn {
    pub(super) forms: SealedForms,
    pub(super) authorize: Authorize,
    pub(super) consent_forms: ConsentForms,
    pub(super) approvals: Approvals,
    pub(super) remembered: RememberedSignIns,
    pub(super) account: AccountSignIns,
    pub(super) device_entries: DeviceEntries,
    pub(super) device_answers: DeviceAnswers,
    pub(super) callbacks: Callbacks,
    pub(super) passwords: PasswordSignIn,
    pub(super) sessions: Sessions,
}
