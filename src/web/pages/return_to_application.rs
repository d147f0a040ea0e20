//! The page that returns to an application with a private-use scheme: after such a redirect browsers show nothing new and
//! would leave the form on screen (RFC 8252 7.1).

use askama::Template;

use super::page::Gate;
use super::{Branding, ClientLabel, Page};
use crate::issuer::Outcome;
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};

/// Returns to the application: automatically to a URI on the operator's list, otherwise by a link.
#[derive(Debug, Template)]
#[template(path = "return_to_application.html")]
pub struct ReturnPage<'a> {
    /// The operator's branding.
    pub branding: &'a Branding,
    /// The client.
    pub client: ClientLabel<'a>,
    /// Its redirect URI.
    pub redirect_uri: &'a RedirectUri,
    /// The redirect URI with the response's parameters.
    pub location: &'a str,
    /// The outcome that the client is told.
    pub outcome: Outcome,
    /// The display name of the user who signed in.
    pub user: Option<&'a str>,
}

/// Leads the browser back to an application.
#[must_use]
pub fn return_to_application(page: &ReturnPage<'_>) -> Page {
    Page::render(page.branding, page)
}

impl ReturnPage<'_> {
    const fn title(&self) -> &'static str {
        match self.outcome {
            Outcome::SignedIn => "You are signed in",
            Outcome::Denied => "You denied access",
            Outcome::Refused => "Access was refused",
            Outcome::Failed => "The sign-in failed",
        }
    }

    const fn words(&self) -> &'static str {
        match self.outcome {
            Outcome::SignedIn => "",
            Outcome::Denied => "Nothing was allowed.",
            Outcome::Refused => "The site where you signed in refused access. Nothing was allowed.",
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
