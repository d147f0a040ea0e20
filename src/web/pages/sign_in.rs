//! The sign-in page for people whom we know by ourselves.

use askama::Template;

use super::{ClientLabel, Look, Page};
use crate::issuer::SignInProblem;
use crate::model::ids::AuthorizationId;

/// Where user name and password are typed. The form goes to `/sign-in/{identity}` with `authorization`, `form_token`,
/// `username` and `password`.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage<'a> {
    /// Whose page it is.
    pub look: &'a Look,
    /// The provider's id.
    pub identity: &'a str,
    /// What people call it.
    pub identity_name: &'a str,
    /// For whom the user signs in.
    pub client: ClientLabel<'a>,
    /// What people call the upstream.
    pub resource_name: &'a str,
    /// The authorization that the sign-in belongs to.
    pub authorization: &'a AuthorizationId,
    /// What ties the form to the browser's binding cookie.
    pub form_token: &'a str,
    /// What was typed before; empty at first.
    pub username: &'a str,
    /// Why the page is shown again.
    pub problem: Option<SignInProblem>,
}

impl SignInPage<'_> {
    /// The problem in words; which of the two is wrong they do not tell.
    fn problem_in_words(&self) -> Option<&'static str> {
        self.problem.map(|problem| match problem {
            SignInProblem::Wrong => "User name or password is not right.",
            SignInProblem::Busy => "Too many tries. Wait a minute, then try again.",
        })
    }
}

/// Asks for user name and password.
#[must_use]
pub fn sign_in(page: &SignInPage<'_>) -> Page {
    Page::render(page.look, page)
}
