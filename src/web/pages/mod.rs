//! HTML pages for people: small, without scripts, each with the headers of [`Branding::headers`].
//!
//! Defends against XSS and spoofing: the templates (`../templates`) escape every text from outside and isolate its direction,
//! so that a name cannot rewrite the sentence around it. Clickjacking: see `branding`.

mod account;
mod branding;
mod client_label;
mod consent;
mod device;
mod front;
mod message;
mod page;
mod palette;
mod return_to_application;
mod sign_in;
mod unknown_client;
mod when;
mod words;

pub use account::{account, account_end, account_entry};
pub use branding::Branding;
pub use client_label::ClientLabel;
pub use consent::{ConsentNotice, consent};
pub use device::{device, device_entry};
pub use front::{ClientSettings, FrontPage, ServerPage, front, not_found, server};
pub(in crate::web) use message::not_signed_in;
pub use message::{AlreadyAnsweredPage, ErrorPage, UnavailablePage, already_answered, busy, error, told, unavailable};
pub use page::Page;
pub use return_to_application::{ReturnPage, return_to_application};
pub use sign_in::sign_in;
pub use unknown_client::{UnknownClientPage, unknown_client};
