//! The nouns and their states. Pure: no I/O, and time only as an argument. `storage` makes the transitions, each as one
//! conditional statement.

pub mod account;
pub mod api_key;
pub mod authorization;
pub mod caller;
pub mod client;
pub mod client_document;
pub mod device_code;
pub mod grant;
pub mod ids;
pub mod provider_logout;
pub mod remembered_consent;
pub mod signing_key;
pub mod user;
