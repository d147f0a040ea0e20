//! A device code (RFC 8628): what a device polls with while its user answers in a browser.
//!
//! ```text
//!            ┌──► (a denial)
//! open ──────┤
//!            └──► (an approval: an authorization, whose code is the device code)
//! ```
//! Each device code is answered once. How far an approval has come is the stage of its authorization.

use super::authorization::{Access, DeviceRequest, Stage};
use super::ids::ClientId;
use crate::clock::Timestamp;
use crate::secret::Sha256;

/// How many device codes may be open at the same time. It bounds the table, and the chance to hit one by a guess.
pub const MAX_OPEN: i64 = 10_000;

/// A device code to remember.
#[derive(Debug, Clone, Copy)]
pub struct NewDeviceCode<'a> {
    /// What we remember of it.
    pub hash: &'a Sha256,
    /// The MAC of the code that the user types.
    pub user_code: &'a Sha256,
    /// What the device asks for.
    pub access: &'a Access,
    /// The device's address.
    pub address: &'a str,
    /// The family of its program.
    pub agent: Option<&'a str>,
    /// How many seconds must lie between two polls.
    pub interval: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A device code as the user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDeviceCode {
    /// What the device asks for.
    pub request: DeviceRequest,
    /// The device's address when it asked.
    pub address: String,
    /// The family of its program.
    pub agent: Option<String>,
    /// When it asked.
    pub created_at: Timestamp,
    /// Whether a user has answered it.
    pub answered: bool,
}

/// A device code as its device sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledDeviceCode {
    /// The client that it was made for.
    pub client_id: ClientId,
    /// How many seconds must lie between two polls.
    pub interval: i64,
    /// When it expires.
    pub expires_at: Timestamp,
    /// How far the user's answer has come, if there is one.
    pub answer: Option<Stage>,
}
