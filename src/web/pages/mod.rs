//! What people see: small HTML pages without a script, each with the headers that no page may lack.
//!
//! Every text that comes from outside is escaped by the templates (`../templates`) and isolated from the direction of the
//! text around it, so that a name cannot rewrite the sentence that it stands in.

mod client_label;
mod consent;
mod message;
mod return_to_application;
mod sign_in;
mod unknown_client;
mod words;

use std::sync::LazyLock;

use askama::Template;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue};

use crate::secret::Sha256;

pub use client_label::ClientLabel;
pub use consent::{ConsentNotice, ConsentPage, IdentityChoice, consent};
pub use message::{AlreadyAnsweredPage, EarlierAnswer, ErrorPage, UnavailablePage, already_answered, error, unavailable};
pub use return_to_application::{ReturnPage, return_to_application};
pub use sign_in::{SignInPage, sign_in};
pub use unknown_client::{UnknownClientPage, unknown_client};

/// The style sheet that every page carries.
pub(crate) const STYLE: &str = include_str!("../templates/style.css");

/// The mark, for the browser's tab.
pub(crate) const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' \
     stroke='%232f8f78' stroke-width='2.4' stroke-linecap='round'%3E%3Cpath d='M3 22V11a9 9 0 0 1 18 0v11M8 4v16m4-18v20m4-18v16\
     M3.4 9h17.2M3 15h18'/%3E%3C/svg%3E";

/// Styles by hash, nothing else. There is no `form-action`: Chromium applies it to every redirect after a form, and ours
/// end at identity providers and clients.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = BASE64.encode(Sha256::of(STYLE.as_bytes()).as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
    );
    #[expect(clippy::expect_used, reason = "base64 is printable ASCII, and so is the rest")]
    HeaderValue::try_from(policy).expect("a policy is a header value")
});

/// What goes with every page. The referrer stays within our origin, because with `no-referrer` browsers send
/// `Origin: null` on our own forms. `Cross-Origin-Opener-Policy` is left out: clients that open a window for the sign-in
/// would believe it closed.
#[must_use]
pub fn headers() -> [(HeaderName, HeaderValue); 6] {
    [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ]
}

/// A whole page. As a response it brings its [`headers`] along; the status is the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The document.
    pub html: String,
}

impl Page {
    fn render(template: &impl Template) -> Self {
        #[expect(clippy::expect_used, reason = "writing to a string fails only when memory is out")]
        let html = template.render().expect("a page is written to memory");
        Self { html }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        (headers(), self.html).into_response()
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
