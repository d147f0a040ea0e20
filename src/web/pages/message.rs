//! Pages that end an attempt: what happened, and what to do now.

use askama::Template;

use super::page::Gate;
use super::{Look, Page};
use crate::telemetry::RequestId;

/// An error that may not, or cannot, be told to the client by a redirect.
#[derive(Debug)]
pub struct ErrorPage<'a> {
    /// Whose page it is.
    pub look: &'a Look,
    /// A heading.
    pub title: &'a str,
    /// What went wrong, for the user.
    pub happened: &'a str,
    /// What the user can do.
    pub hint: &'a str,
    /// What the client's developer needs to know, such as an OAuth error code with its description.
    pub for_developer: Option<&'a str>,
    /// The id under which the log has it.
    pub request_id: &'a RequestId,
}

/// The form, or the provider's answer, was used before.
#[derive(Debug)]
pub struct AlreadyAnsweredPage<'a> {
    /// Whose page it is.
    pub look: &'a Look,
    /// How it was answered.
    pub answer: EarlierAnswer<'a>,
    /// The id under which the log has it.
    pub request_id: &'a RequestId,
}

/// What became of the first answer.
#[derive(Debug, Clone, Copy)]
pub enum EarlierAnswer<'a> {
    /// A code waits at this address, for the browser that holds the binding while the code is good. Never followed by
    /// itself: a client would redeem the code twice.
    Finish(&'a str),
    /// The user denied access.
    Denied,
    /// It succeeded or failed, and nothing is left to do.
    Over,
}

/// An identity provider cannot be reached.
#[derive(Debug)]
pub struct UnavailablePage<'a> {
    /// Whose page it is.
    pub look: &'a Look,
    /// What people call it.
    pub identity_name: &'a str,
    /// The id under which the log has it.
    pub request_id: &'a RequestId,
}

/// Says that the server has too much to do. It names no request, so that it can be made once, at start.
#[must_use]
pub fn busy(look: &Look) -> Page {
    Page::render(
        look,
        &Message {
            look,
            gate: Gate::Down,
            title: "Too much to do at the moment",
            happened: "This server is busy and did not look at your request. Nothing is lost.",
            hint: "Wait a few seconds, then load this page again.",
            for_developer: None,
            finish: None,
            request_id: None,
        },
    )
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    look: &'a Look,
    gate: Gate,
    title: &'a str,
    happened: &'a str,
    hint: &'a str,
    for_developer: Option<&'a str>,
    /// Where the sign-in is finished.
    finish: Option<&'a str>,
    request_id: Option<&'a RequestId>,
}

/// Says what went wrong and what to do.
#[must_use]
pub fn error(page: &ErrorPage<'_>) -> Page {
    Page::render(
        page.look,
        &Message {
            look: page.look,
            gate: Gate::Down,
            title: page.title,
            happened: page.happened,
            hint: page.hint,
            for_developer: page.for_developer,
            finish: None,
            request_id: Some(page.request_id),
        },
    )
}

/// Says that the question was answered before, and leads on while that is possible.
#[must_use]
pub fn already_answered(page: &AlreadyAnsweredPage<'_>) -> Page {
    let happened = "This sign-in was answered before, perhaps by a double click or by going back.";
    let over = Message {
        look: page.look,
        gate: Gate::Down,
        title: "This was already answered",
        happened,
        hint: "If the application works, close this window. If it still waits for you, connect from there again.",
        for_developer: None,
        finish: None,
        request_id: Some(page.request_id),
    };
    let message = match page.answer {
        EarlierAnswer::Over => over,
        EarlierAnswer::Finish(place) => Message {
            gate: Gate::Raised,
            title: "You are nearly there",
            hint: "If the application still waits for you, finish here. If it already works, close this window.",
            finish: Some(place),
            request_id: None,
            ..over
        },
        EarlierAnswer::Denied => Message {
            title: "You denied access",
            happened: "This sign-in was already answered: you denied it, so the application was given nothing.",
            hint: "If you did not mean to, connect from the application again. Otherwise close this window.",
            ..over
        },
    };
    Page::render(page.look, &message)
}

/// Says that a provider is away and that nothing is lost; goes with 503 and `Retry-After`.
#[must_use]
pub fn unavailable(page: &UnavailablePage<'_>) -> Page {
    let title = format!("{} does not answer", page.identity_name);
    let happened =
        format!("Signing in needs {}, which cannot be reached at the moment. Nothing is lost.", page.identity_name);
    Page::render(
        page.look,
        &Message {
            look: page.look,
            gate: Gate::Down,
            title: &title,
            happened: &happened,
            hint: "Connect from the application again in a minute. If it stays like this, tell your operator.",
            for_developer: Some("temporarily_unavailable: the identity provider cannot be reached"),
            finish: None,
            request_id: Some(page.request_id),
        },
    )
}
