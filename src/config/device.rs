//! `[device]`: device authorization (RFC 8628), for programs without a browser.
//!
//! Off unless the operator switches it on. Against phishing with device codes: an attacker begins the flow, and has a victim enter
//! the code. No PKCE and no redirect URI ties the sign-in to the device, so only the victim's attention is in the way.

use serde::Deserialize;

use super::problem::Mistake;
use super::reading::{Reading, Section};

/// Device authorization.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Device {
    /// Whether `/device_authorization` and `/device` exist and are advertised.
    pub enabled: bool,
    /// Whether clients may register themselves for it; otherwise it is for `[[client]]` entries with `device = true`.
    pub registered_clients: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    enabled: Option<bool>,
    registered_clients: Option<bool>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Device> {
    let written: Written = reading.shape(section)?;
    let device = Device {
        enabled: written.enabled.unwrap_or_default(),
        registered_clients: written.registered_clients.unwrap_or_default(),
    };
    if device.registered_clients && !device.enabled {
        let mistake = Mistake::new("has no effect: device authorization is off").hint("add enabled = true");
        reading.warn(&section.at("registered_clients"), mistake);
    }
    Some(device)
}
