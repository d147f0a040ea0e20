//! The consent page: who asks, where the code goes, what for, and with which provider.
//!
//! Defends against: clickjacking (`Branding::headers`), and phishing by a client's own name (it is shown as a claim, with the
//! host that publishes it, and the receiver of the code is named above the buttons). No picture from an unverified client is
//! shown.

use askama::Template;

use super::{Branding, ClientLabel, Page, when, words};
use crate::issuer::ConsentView;
use crate::oauth::redirect_uri::RedirectClass;

/// The question. The form goes to `/consent` with `form`, `identity` and `decision` (`approve` or `deny`), all three always,
/// and `remember` where that is offered and ticked.
#[derive(Debug, Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    branding: &'a Branding,
    view: &'a ConsentView,
    client: ClientLabel<'a>,
    notice: Option<ConsentNotice>,
}

/// Why a consent page is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentNotice {
    /// The form of the first page was too old.
    Expired,
    /// The consent remembered in this browser is not, or no longer, that of the user who signed in.
    NotAllowed,
}

/// The total length of a client's name, publisher and receiver that fits a phone's screen, in bytes.
const SHORT: usize = 80;

/// Asks for consent. `notice` says why the page is shown again.
#[must_use]
pub fn consent(branding: &Branding, view: &ConsentView, notice: Option<ConsentNotice>) -> Page {
    Page::render(branding, &ConsentPage { branding, view, client: (&view.client).into(), notice })
}

impl ConsentPage<'_> {
    fn is_loopback(&self) -> bool {
        self.view.redirect_uri.class() == RedirectClass::Loopback
    }

    /// Whether a client that is described at one host receives its codes at another one.
    fn is_elsewhere(&self) -> bool {
        let publisher = self.client.publisher();
        !publisher.is_empty() && publisher != self.view.redirect_uri.receiver()
    }

    /// Whether the receiver and the buttons, in one box, may stay at the end of a phone's screen while the rest is scrolled.
    /// The box must fit that screen whole: a higher one would show the buttons with the receiver cut off.
    fn stays_in_sight(&self) -> bool {
        let words = [self.client.known_as(), self.client.publisher(), &self.view.redirect_uri.receiver()];
        let chosen: usize = words.iter().map(|words| words.len()).sum();
        let most = if self.view.remember_for.is_some() { 1 } else { 2 };
        self.view.providers.len() <= most && chosen <= SHORT
    }
}
