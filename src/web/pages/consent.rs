//! The consent page: who asks, where the code goes, what for, and with which provider.

use askama::Template;

use super::{ClientLabel, Look, Page, words};
use crate::config::ScopeText;
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};
use crate::oauth::scope::ScopeSet;

/// What is asked of the user. The form goes to `/consent` with `form`, `identity` and `decision` (`approve` or `deny`),
/// all three always.
#[derive(Debug, Template)]
#[template(path = "consent.html")]
pub struct ConsentPage<'a> {
    /// Whose page it is.
    pub look: &'a Look,
    /// Who asks.
    pub client: ClientLabel<'a>,
    /// Where the code goes.
    pub redirect_uri: &'a RedirectUri,
    /// Whether that place is known; another is pointed out.
    pub known_receiver: bool,
    /// What people call the upstream.
    pub resource_name: &'a str,
    /// What will be granted.
    pub scope: &'a ScopeSet,
    /// What people read of the upstream's scopes, in the operator's order.
    pub scope_texts: &'a [ScopeText],
    /// Whether a refresh token will be given, even where `scope` does not name `offline_access`.
    pub refresh: bool,
    /// With whom the user may sign in; at least one.
    pub identities: &'a [IdentityChoice<'a>],
    /// The sealed request.
    pub form: &'a str,
    /// Why the page is shown again.
    pub notice: Option<ConsentNotice>,
}

/// One button.
#[derive(Debug)]
pub struct IdentityChoice<'a> {
    /// The value of `identity`.
    pub id: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// What is asked of it; empty for people whom we know by ourselves.
    pub asked: &'a ScopeSet,
}

/// Why a consent page is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentNotice {
    /// The form of the first page was too old.
    Expired,
}

/// How long a client's name and its receiver may be together, in bytes, so that what decides fits a phone's screen.
const SHORT: usize = 80;

/// Asks for consent.
#[must_use]
pub fn consent(page: &ConsentPage<'_>) -> Page {
    Page::render(page.look, page)
}

impl ConsentPage<'_> {
    fn is_loopback(&self) -> bool {
        self.redirect_uri.class() == RedirectClass::Loopback
    }

    /// Whether the receiver and the buttons, in one box, may stay at the end of a phone's screen while the rest is scrolled.
    /// The box must fit that screen whole: of a higher one the screen would show the buttons and cut off the receiver.
    fn stays_in_sight(&self) -> bool {
        let chosen = self.client.known_as().len() + self.redirect_uri.receiver().len();
        self.identities.len() <= 2 && chosen <= SHORT
    }
}
