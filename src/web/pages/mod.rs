//! HTML pages for people: small, without scripts, each with the headers of [`Look::headers`].
//!
//! Defends against XSS and spoofing: the templates (`../templates`) escape every text from outside and isolate its direction,
//! so that a name cannot rewrite the sentence around it. Clickjacking: see `look`.

mod client_label;
mod consent;
mod front;
mod look;
mod message;
mod palette;
mod return_to_application;
mod sign_in;
mod unknown_client;
mod words;

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};

pub use client_label::ClientLabel;
pub use consent::{ConsentNotice, consent};
pub use front::{ClientSettings, FrontPage, ServerPage, front, not_found, server};
pub use look::Look;
pub use message::{
    AlreadyAnsweredPage, EarlierAnswer, ErrorPage, UnavailablePage, already_answered, busy, error, unavailable,
};
pub use return_to_application::{ReturnPage, return_to_application};
pub use sign_in::sign_in;
pub use unknown_client::{UnknownClientPage, unknown_client};

/// A whole page. As a response it brings its headers along; the status is the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The document.
    pub html: String,
    /// [`Look::headers`].
    pub(super) headers: [(HeaderName, HeaderValue); 6],
}

impl Page {
    fn render(look: &Look, template: &impl Template) -> Self {
        #[expect(clippy::expect_used, reason = "writing to a string fails only when memory is out")]
        let html = template.render().expect("a page is written to memory");
        Self { html, headers: look.headers() }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        (self.headers, self.html).into_response()
    }
}

/// How far the gate on top of the page is down: a page that leads on shows it rising, one that ends here shows it shut.
#[derive(Debug, Clone, Copy)]
enum Gate {
    Raised,
    Down,
}

impl Gate {
    const fn class(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Down => "down",
        }
    }
}
