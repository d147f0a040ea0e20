//! Device authorization (RFC 8628 3.3): where a code is typed, and the question about the device.
//!
//! Defends against: phishing with device codes (RFC 8628 5.4). The page names the device's address and the time, shows the code to
//! compare, and says in plain words when to deny. Clickjacking: `Branding::headers`.

use askama::Template;

use super::{Branding, ClientLabel, Page, when, words};
use crate::issuer::{DeviceEntryView, DeviceView, EntryProblem};

/// Where the code is typed. The form goes to `/device` with `form` and `user_code`.
#[derive(Template)]
#[template(path = "device_entry.html")]
struct EntryPage<'a> {
    branding: &'a Branding,
    view: &'a DeviceEntryView,
}

/// The question. The form goes to `/device/answer` with `form`, `identity` and `decision` (`approve` or `deny`).
#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage<'a> {
    branding: &'a Branding,
    view: &'a DeviceView,
    client: ClientLabel<'a>,
}

/// Asks for the code that a device shows.
#[must_use]
pub fn device_entry(branding: &Branding, view: &DeviceEntryView) -> Page {
    Page::render(branding, &EntryPage { branding, view })
}

/// Asks whether a device may act for the user.
#[must_use]
pub fn device(branding: &Branding, view: &DeviceView) -> Page {
    Page::render(branding, &DevicePage { branding, view, client: (&view.client).into() })
}

impl EntryPage<'_> {
    fn problem_in_words(&self) -> Option<&'static str> {
        self.view.problem.map(|problem| match problem {
            EntryProblem::Unknown => {
                "No device shows this code, or it has expired. Compare it, or get a new one on the device."
            }
            EntryProblem::Answered => "This code was answered before. Get a new one on the device.",
        })
    }
}
