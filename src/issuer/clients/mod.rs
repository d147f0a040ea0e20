//! The clients: those of the configuration, those that publish a document about themselves, and those that registered. A request
//! looks its client up once.

mod authentication;
mod documents;
mod error;
mod find;
mod registration;

pub(super) use authentication::{AuthenticationError, ClientAuthentication};
pub(super) use documents::{DocumentParts, Documents};
pub(super) use error::{DocumentError, FindError};
pub(super) use find::{Clients, RedirectRefused};
pub(super) use registration::Registrations;
pub(crate) use registration::{RegistrationRefusal, Via};
