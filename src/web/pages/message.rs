//! Pages that end a sign-in: what happened, and what to do now.

use askama::Template;

use super::page::Gate;
use super::{Branding, Page};
use crate::issuer::{EarlierAnswer, NotSignedIn, Told};
use crate::telemetry::RequestId;

/// An error that must not or cannot be reported to the client by a redirect.
#[derive(Debug)]
pub struct ErrorPage<'a> {
    /// The operator's branding.
    pub branding: &'a Branding,
    /// A heading.
    pub title: &'a str,
    /// What went wrong, for the user.
    pub happened: &'a str,
    /// What the user can do.
    pub hint: &'a str,
    /// What the client's developer needs to know, such as an OAuth error code with its description.
    pub for_developer: Option<&'a str>,
    /// The request's id in the log.
    pub request_id: &'a RequestId,
}

/// The form, or the provider's answer, was used before.
#[derive(Debug)]
pub struct AlreadyAnsweredPage<'a> {
    /// The operator's branding.
    pub branding: &'a Branding,
    /// How it was answered.
    pub answer: &'a EarlierAnswer,
    /// The request's id in the log.
    pub request_id: &'a RequestId,
}

/// An identity provider cannot be reached.
#[derive(Debug)]
pub struct UnavailablePage<'a> {
    /// The operator's branding.
    pub branding: &'a Branding,
    /// The provider's display name.
    pub identity_name: &'a str,
    /// The request's id in the log.
    pub request_id: &'a RequestId,
}

/// Says that the server is busy. It names no request, so it can be rendered once, at start.
#[must_use]
pub fn busy(branding: &Branding) -> Page {
    Page::render(
        branding,
        &Message {
            branding,
            gate: Gate::Down,
            title: "This server is busy",
            happened: "It did not handle your request. Nothing is lost.",
            hint: "Wait a few seconds, then load this page again.",
            for_developer: None,
            onwards: None,
            request_id: None,
        },
    )
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    branding: &'a Branding,
    gate: Gate,
    title: &'a str,
    happened: &'a str,
    hint: &'a str,
    for_developer: Option<&'a str>,
    /// The link that leads on, and what it says.
    onwards: Option<(&'a str, &'a str)>,
    request_id: Option<&'a RequestId>,
}

/// Says what went wrong and what to do.
#[must_use]
pub fn error(page: &ErrorPage<'_>) -> Page {
    Page::render(
        page.branding,
        &Message {
            branding: page.branding,
            gate: Gate::Down,
            title: page.title,
            happened: page.happened,
            hint: page.hint,
            for_developer: page.for_developer,
            onwards: None,
            request_id: Some(page.request_id),
        },
    )
}

/// Says that the form was already answered, with a link to finish while that is possible.
#[must_use]
pub fn already_answered(page: &AlreadyAnsweredPage<'_>) -> Page {
    let happened = "This sign-in was already answered, perhaps by a double click or by going back.";
    let over = Message {
        branding: page.branding,
        gate: Gate::Down,
        title: "This was already answered",
        happened,
        hint: "If the application works, close this window. If it still waits for you, connect from there again.",
        for_developer: None,
        onwards: None,
        request_id: Some(page.request_id),
    };
    let message = match page.answer {
        EarlierAnswer::Over => over,
        EarlierAnswer::Finish(place) => Message {
            gate: Gate::Raised,
            title: "One step is left",
            hint: "If the application still waits for you, finish here. If it already works, close this window.",
            onwards: Some((place, "Finish signing in")),
            request_id: None,
            ..over
        },
        EarlierAnswer::Denied => Message {
            title: "You denied access",
            happened: "This sign-in was already answered: you denied it, so the application got no access.",
            hint: "If you did not mean to, connect from the application again. Otherwise close this window.",
            ..over
        },
    };
    Page::render(page.branding, &message)
}

/// The outcome of a sign-in that no client's redirect waits for.
#[must_use]
pub fn told(branding: &Branding, told: &Told, request_id: &RequestId) -> Page {
    let connected;
    let (gate, title, happened, hint) = match told {
        Told::DeviceConnected { user } => {
            let as_whom = user.as_ref().map_or_else(String::new, |user| format!(" as {user}"));
            connected = format!("You are signed in{as_whom}. The device gets access within a few seconds.");
            let hint = "You can close this window. To end the access later, open /account on this site.";
            (Gate::Raised, "The device is connected", connected.as_str(), hint)
        }
        Told::DeviceDenied => (
            Gate::Down,
            "You denied access",
            "The device gets no access.",
            "You can close this window. If you were sent a code or a link by someone else, tell the people who run this server.",
        ),
        Told::DeviceFailed => (
            Gate::Down,
            "You were not signed in",
            "The identity provider did not sign you in, so the device gets no access.",
            "To try once more, start again on the device: it then shows a new code.",
        ),
        Told::NotSignedIn { passing: true } => (
            Gate::Down,
            "You were not signed in",
            "The identity provider is not available at the moment.",
            "Open /account on this site again in a minute.",
        ),
        Told::NotSignedIn { passing: false } => (
            Gate::Down,
            "You were not signed in",
            "The identity provider did not sign you in, or the sign-in was cancelled.",
            "To try once more, open /account on this site again.",
        ),
    };
    let message = Message {
        branding,
        gate,
        title,
        happened,
        hint,
        for_developer: None,
        onwards: None,
        request_id: matches!(told, Told::DeviceFailed | Told::NotSignedIn { .. }).then_some(request_id),
    };
    Page::render(branding, &message)
}

/// Says why the provider did not sign the user in. A link tells the client: by itself the browser would only show what the client
/// makes of an error.
#[must_use]
pub(in crate::web) fn not_signed_in(branding: &Branding, failed: &NotSignedIn, request_id: &RequestId) -> Page {
    let back = failed.client.as_ref().map(|redirect| (&*redirect.location, "Go back to the application"));
    let message = Message {
        branding,
        gate: Gate::Down,
        title: "You were not signed in",
        happened: &failed.told.happened,
        hint: &failed.told.hint,
        for_developer: None,
        onwards: back,
        request_id: Some(request_id),
    };
    Page::render(branding, &message)
}

/// Says that a provider cannot be reached and that nothing is lost. Sent with 503 and `Retry-After`.
#[must_use]
pub fn unavailable(page: &UnavailablePage<'_>) -> Page {
    let title = format!("{} does not answer", page.identity_name);
    let happened =
        format!("Signing in needs {}, which cannot be reached at the moment. Nothing is lost.", page.identity_name);
    Page::render(
        page.branding,
        &Message {
            branding: page.branding,
            gate: Gate::Down,
            title: &title,
            happened: &happened,
            hint: "Connect from the application again in a minute. If that does not help, tell your operator.",
            for_developer: Some("temporarily_unavailable: the identity provider cannot be reached"),
            onwards: None,
            request_id: Some(page.request_id),
        },
    )
}
