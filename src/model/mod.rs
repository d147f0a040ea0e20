//! The nouns and their state machines. Pure: no I/O, no time but what is passed in.

pub mod authorization;
pub mod caller;
pub mod client;
pub mod grant;
pub mod ids;
pub mod signing_key;
pub mod user;
