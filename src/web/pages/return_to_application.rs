//! The way back to an application that owns a private-use scheme: browsers show nothing of their own after such a
//! redirect, and would leave the form on screen (RFC 8252 7.1).

use askama::Template;

use super::page::Gate;
use super::{ClientLabel, Look, Page};
use crate::issuer::Outcome;
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};

/// Leads back. It hops by itself to an address that the operator lists; elsewhere the link is all there is.
#[derive(Debug, Template)]
#[template(path = "return_to_application.html")]
pub struct ReturnPage<'a> {
    /// Whose page it is.
    pub look: &'a Look,
    /// Who waits.
    pub client: ClientLabel<'a>,
    /// Where.
    pub redirect_uri: &'a RedirectUri,
    /// The redirect URI with the response's parameters.
    pub location: &'a str,
    /// What the client will be told.
    pub outcome: Outcome,
    /// Who signed in, as the identity provider calls them.
    pub user: Option<&'a str>,
}

/// Leads the browser back to an application.
#[must_use]
pub fn return_to_application(page: &ReturnPage<'_>) -> Page {
    Page::render(page.look, page)
}

impl ReturnPage<'_> {
    const fn title(&self) -> &'static str {
        match self.outcome {
            Outcome::SignedIn => "You are signed in",
            Outcome::Denied => "You denied access",
            Outcome::Refused => "Access was refused",
            Outcome::Failed => "The sign-in did not work",
        }
    }

    const fn words(&self) -> &'static str {
        match self.outcome {
            Outcome::SignedIn => "",
            Outcome::Denied => "Nothing was allowed.",
            Outcome::Refused => "Your sign-in was refused where you signed in. Nothing was allowed.",
            Outcome::Failed => "The application is told why.",
        }
    }

    const fn gate(&self) -> Gate {
        match self.outcome {
            Outcome::SignedIn => Gate::Raised,
            Outcome::Denied | Outcome::Refused | Outcome::Failed => Gate::Down,
        }
    }

    fn hops(&self) -> bool {
        self.redirect_uri.class() == RedirectClass::ListedApplication
    }
}
