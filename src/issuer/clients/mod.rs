//! The clients: those of the configuration and those that registered. A request looks its client up once.
//!
//! | file | what |
//! |---|---|
//! | `find` | who a client id names, and where its codes may go |
//! | `authentication` | how a client proves itself, at every endpoint that asks |
//! | `assertion` | signed assertions |
//! | `rules` | what holds for the metadata of every registered client |
//! | `registration` | how a client becomes known |
//! | `management` | how a client reads, updates and deletes itself |

mod assertion;
mod authentication;
mod find;
mod management;
mod registration;
mod rules;

pub(super) use assertion::{ALGORITHMS, Assertions};
pub(super) use authentication::{AuthenticationError, ClientAuthentication};
pub(super) use find::{Clients, FindError, RedirectRefused};
pub(super) use management::ClientManagement;
pub(crate) use management::ManagementRequest;
pub(super) use registration::Registrations;
pub(crate) use registration::{RegistrationAttempt, RegistrationRefusal, Via};
pub(super) use rules::MetadataRules;
