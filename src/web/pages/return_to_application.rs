//! The way back to an application that owns a private-use scheme: browsers show nothing of their own after such a
//! redirect, and would leave the form on screen (RFC 8252 7.1).

use askama::Template;

use super::{ClientLabel, Gate, Page};
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};

/// Leads back. It hops by itself to an address that the operator lists; elsewhere the link is all there is.
#[derive(Debug, Template)]
#[template(path = "return_to_application.html")]
pub struct ReturnPage<'a> {
    /// Who waits.
    pub client: ClientLabel<'a>,
    /// Where.
    pub redirect_uri: &'a RedirectUri,
    /// The redirect URI with the response's parameters.
    pub location: &'a str,
    /// What the client will be told.
    pub outcome: Outcome,
}

/// How the authorization went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There is a code.
    SignedIn,
    /// The user said no.
    Denied,
    /// Something failed.
    Failed,
}

impl Outcome {
    const fn title(self) -> &'static str {
        match self {
            Self::SignedIn => "You are signed in",
            Self::Denied => "Access denied",
            Self::Failed => "The sign-in did not work",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::SignedIn => "",
            Self::Denied => "Nothing was allowed.",
            Self::Failed => "The application is told why.",
        }
    }

    const fn gate(self) -> Gate {
        match self {
            Self::SignedIn => Gate::Raised,
            Self::Denied | Self::Failed => Gate::Down,
        }
    }
}

/// Leads the browser back to an application.
#[must_use]
pub fn return_to_application(page: &ReturnPage<'_>) -> Page {
    Page::render(page)
}

impl ReturnPage<'_> {
    fn hops(&self) -> bool {
        self.redirect_uri.class() == RedirectClass::ListedApplication
    }
}
