//! The user's own page: what they granted, and the question whether to end it.
//!
//! Defends against: clickjacking (`Branding::headers`), and CSRF by a link (a link only leads to a question, whose form is
//! posted).

use askama::Template;

use super::{Branding, ClientLabel, Page, when, words};
use crate::clock::Timestamp;
use crate::issuer::{AccountEntryView, AccountView, EndView, GrantView, RememberedView};

/// The page of a user who is not signed in. The form goes to `/account/sign-in` with `form` and `identity`.
#[derive(Template)]
#[template(path = "account_entry.html")]
struct EntryPage<'a> {
    branding: &'a Branding,
    view: &'a AccountEntryView,
}

/// Lists grants and remembered consents. The forms go to `/account/sign-out` with `form_token`, and to `/account/forget` with
/// `form_token` and `consent`.
#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    branding: &'a Branding,
    view: &'a AccountView,
}

/// The question. The form goes to `/account/end` with `form_token` and either `grant` or `all`.
#[derive(Template)]
#[template(path = "account_end.html")]
struct EndPage<'a> {
    branding: &'a Branding,
    view: &'a EndView,
}

/// One grant in the list and in the question.
#[derive(Template)]
#[template(path = "grant.html")]
struct GrantPart<'a> {
    grant: &'a GrantView,
    client: ClientLabel<'a>,
    now: Timestamp,
}

/// Asks a user to sign in.
#[must_use]
pub fn account_entry(branding: &Branding, view: &AccountEntryView) -> Page {
    Page::render(branding, &EntryPage { branding, view })
}

/// Shows a user's grants.
#[must_use]
pub fn account(branding: &Branding, view: &AccountView) -> Page {
    Page::render(branding, &AccountPage { branding, view })
}

/// Asks whether to end one grant, or all.
#[must_use]
pub fn account_end(branding: &Branding, view: &EndView) -> Page {
    Page::render(branding, &EndPage { branding, view })
}

impl<'a> GrantPart<'a> {
    fn new(grant: &'a GrantView, now: Timestamp) -> Self {
        Self { grant, client: label(grant), now }
    }
}

impl<'a> From<&'a RememberedView> for ClientLabel<'a> {
    fn from(consent: &'a RememberedView) -> Self {
        Self { id: &consent.client_id, name: consent.client_name.as_deref(), origin: consent.origin }
    }
}

fn label(grant: &GrantView) -> ClientLabel<'_> {
    ClientLabel { id: &grant.client_id, name: grant.client_name.as_deref(), origin: grant.origin }
}
