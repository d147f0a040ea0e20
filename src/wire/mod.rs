//! HTTP vocabulary that several modules need: the body type, request ids, client addresses, media types, small answers.

pub(crate) mod accept;
mod agent;
mod answer;
mod arrival;
mod body;
mod client_address;
mod doctor;
pub(crate) mod keep_alive;
mod media_type;
mod rejection;
mod request_id;

pub(crate) use agent::agent;
pub(crate) use answer::{Cause, RETRY_SOON, plain};
pub(crate) use arrival::Arrival;
pub use body::Body;
pub(crate) use body::{BoxError, full};
pub(crate) use client_address::{ClientAddress, X_FORWARDED_FOR};
pub(crate) use doctor::DOCTOR_PASS;
pub(crate) use media_type::is_media_type;
pub(crate) use rejection::Rejection;
pub(crate) use request_id::REQUEST_ID;
pub use request_id::RequestId;
