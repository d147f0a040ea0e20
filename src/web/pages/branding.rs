//! The operator's branding (name, logo, colour, support link) and the headers of every page, prepared once at start.
//!
//! Defends against clickjacking and XSS (content security policy) and MIME sniffing.

use data_encoding::BASE64;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue};

use super::palette;
use crate::config::{Pages, Support};
use crate::secret::Sha256;

/// The style sheet that every page carries.
pub(super) const STYLE: &str = include_str!("../templates/style.css");

/// The default icon for the browser's tab.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' \
     stroke='%232f8f78' stroke-width='2.4' stroke-linecap='round'%3E%3Cpath d='M3 22V11a9 9 0 0 1 18 0v11M8 4v16m4-18v20m4-18v16\
     M3.4 9h17.2M3 15h18'/%3E%3C/svg%3E";

/// What all pages have in common.
#[derive(Debug, Clone)]
pub struct Branding {
    pub(super) name: String,
    /// A `data:` URL.
    pub(super) logo: Option<String>,
    pub(super) style: String,
    pub(super) support: Option<Support>,
    policy: HeaderValue,
}

impl Branding {
    /// Prepares the style sheet, the logo and the content security policy.
    #[must_use]
    pub fn new(pages: &Pages) -> Self {
        let style = format!("{STYLE}{}", pages.color.map(palette::rules).unwrap_or_default());
        let logo = pages.logo.as_ref();
        Self {
            name: pages.name.clone(),
            logo: logo.map(|logo| format!("data:{};base64,{}", logo.media_type, BASE64.encode(&logo.bytes))),
            support: pages.support.clone(),
            policy: policy(&style),
            style,
        }
    }

    /// The icon in the browser's tab.
    pub(super) fn icon(&self) -> &str {
        self.logo.as_deref().unwrap_or(ICON)
    }

    /// The headers of every page. The referrer stays within our origin: with `no-referrer` browsers send `Origin: null` with
    /// our own forms. There is no `Cross-Origin-Opener-Policy`: a client that opens a window for the sign-in would take it
    /// for closed.
    #[must_use]
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 6] {
        [
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (CONTENT_SECURITY_POLICY, self.policy.clone()),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        ]
    }
}

/// Allows the style sheet by its hash and inline images, nothing else: no script runs and nothing is loaded. Defends against
/// clickjacking (`frame-ancestors`), and against XSS if a text ever escaped its template. There is no `form-action`: Chromium
/// applies it to every redirect after a form, and ours end at identity providers and clients.
fn policy(style: &str) -> HeaderValue {
    let style = BASE64.encode(Sha256::of(style.as_bytes()).as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
    );
    #[expect(clippy::expect_used, reason = "base64 is printable ASCII, and so is the rest")]
    HeaderValue::try_from(policy).expect("a policy is a header value")
}
