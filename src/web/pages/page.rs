//! A page: the document and its security headers.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};

use super::branding::Branding;

/// A whole page. As a response it has its headers; the caller sets the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The document.
    pub html: String,
    /// [`Branding::headers`].
    pub(in crate::web) headers: [(HeaderName, HeaderValue); 6],
}

impl Page {
    pub(super) fn render(branding: &Branding, template: &impl Template) -> Self {
        #[expect(clippy::expect_used, reason = "writing to a string fails only when memory is out")]
        let html = template.render().expect("a page is written to memory");
        Self { html, headers: branding.headers() }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        (self.headers, self.html).into_response()
    }
}

/// The gate drawn at the top: rising on a page that leads on, shut on a page that ends the sign-in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gate {
    Raised,
    Down,
}

impl Gate {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Down => "down",
        }
    }
}
