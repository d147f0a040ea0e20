//! The sign-in page for users of our own.

use askama::Template;

use super::{Branding, ClientLabel, Page};
use crate::issuer::{SignInProblem, SignInView};

/// Where user name and password are typed. The form goes to `/sign-in/{identity}` with `authorization`, `form_token`,
/// `username` and `password`.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    branding: &'a Branding,
    view: &'a SignInView,
    client: Option<ClientLabel<'a>>,
}

impl SignInPage<'_> {
    /// The text for the problem. It does not say whether the user name or the password is wrong (user enumeration).
    fn problem_in_words(&self) -> Option<&'static str> {
        self.view.problem.map(|problem| match problem {
            SignInProblem::Wrong => "Wrong user name or password.",
            SignInProblem::Busy => "Too many attempts. Wait a minute, then try again.",
        })
    }
}

/// Asks for user name and password.
#[must_use]
pub fn sign_in(branding: &Branding, view: &SignInView) -> Page {
    let client = view.asker.as_ref().map(|asker| (&asker.client).into());
    Page::render(branding, &SignInPage { branding, view, client })
}
