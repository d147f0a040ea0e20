//! Logouts at an identity provider (OpenID Connect Back-Channel Logout 1.0), and what they leave.
//!
//! | file | what |
//! |---|---|
//! | `received` | a logout token: believed once, kept, and applied |
//! | `applied` | what ends at once: grants of the session, their codes, sessions at the user's own page |
//! | `standing` | asking the provider what offline access still stands |
//!
//! A provider may send the same words when a user closes the session in a browser and when an administrator ends offline access, of
//! which only the second ends a grant that rests on an offline token. So such a grant ends when the provider refuses its token.
//! It is asked after its request was answered: until then, it may not have ended anything (Keycloak).

mod applied;
mod received;
mod standing;

pub(super) use applied::AppliedLogouts;
pub(crate) use received::LogoutRefusal;
pub(super) use received::ReceivedLogouts;
pub(super) use standing::StandingChecks;
