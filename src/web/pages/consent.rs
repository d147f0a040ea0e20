//! The consent page: who asks, where the code goes, what for, and with which provider.

use askama::Template;

use super::{ClientLabel, Page, words};
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};
use crate::oauth::scope::ScopeSet;

/// What is asked of the user. The form goes to `/consent` with `form`, `identity` and `decision` (`approve` or `deny`),
/// all three always.
#[derive(Debug, Template)]
#[template(path = "consent.html")]
pub struct ConsentPage<'a> {
    /// Who asks.
    pub client: ClientLabel<'a>,
    /// Where the code goes.
    pub redirect_uri: &'a RedirectUri,
    /// What people call the upstream.
    pub resource_name: &'a str,
    /// Its URL, as the client typed it or as tokens name it.
    pub resource: &'a str,
    /// What will be granted.
    pub scope: &'a ScopeSet,
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

/// Asks for consent.
#[must_use]
pub fn consent(page: &ConsentPage<'_>) -> Page {
    Page::render(page)
}

impl ConsentPage<'_> {
    fn is_loopback(&self) -> bool {
        self.redirect_uri.class() == RedirectClass::Loopback
    }

    /// Whether somebody else than the named client could wait at the redirect URI.
    fn is_doubtful(&self) -> bool {
        matches!(self.redirect_uri.class(), RedirectClass::Loopback | RedirectClass::Application)
    }
}
