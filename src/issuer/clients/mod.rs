//! The clients: those of the configuration and those that registered. A request looks its client up once.

mod authentication;
mod find;
mod registration;

pub(super) use authentication::{AuthenticationError, ClientAuthentication};
pub(super) use find::{Clients, FindError, RedirectRefused};
pub(super) use registration::Registrations;
pub(crate) use registration::{RegistrationRefusal, Via};
