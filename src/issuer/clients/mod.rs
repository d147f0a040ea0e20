//! The clients: those of the configuration, those that publish a document about themselves, and those that registered. A request
//! looks its client up once.
//!
//! | file | what |
//! |---|---|
//! | `find` | who a client id names, and where its codes may go |
//! | `documents` | clients whose id is the URL of a document |
//! | `error` | why an id leads to no client |
//! | `authentication` | how a client proves itself, at every endpoint that asks |
//! | `assertion` | signed assertions |
//! | `assertion_rules` | what they must say |
//! | `rules` | what holds for the metadata of every registered client |
//! | `registration` | how a client becomes known |
//! | `management` | how a client reads, updates and deletes itself |

mod assertion;
mod assertion_rules;
mod authentication;
mod documents;
mod error;
mod find;
mod management;
mod registration;
mod rules;

pub(super) use assertion::Assertions;
pub(crate) use assertion_rules::{ALGORITHMS, AssertionRules};
#[cfg(any(test, fuzzing))]
pub(crate) use authentication::basic;
pub(super) use authentication::{AuthenticationError, ClientAuthentication};
#[cfg(any(test, fuzzing))]
pub(crate) use documents::fresh_for;
pub(super) use documents::{DocumentParts, Documents};
pub(super) use error::{DocumentError, FindError};
pub(super) use find::{Clients, RedirectRefused};
pub(super) use management::ClientManagement;
pub(crate) use management::ManagementRequest;
pub(super) use registration::Registrations;
pub(crate) use registration::{RegistrationAttempt, RegistrationRefusal, Via};
pub(super) use rules::MetadataRules;
