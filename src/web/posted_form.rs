//! The forms of our pages, as browsers post them: the one extractor with which every handler of a form begins.
//!
//! Defends against: CSRF, in two steps. A form that the browser says another site posted is refused before it is read. A browser
//! that says nothing is accepted here, because its form must still carry a secret that no other site can know: a sealed form
//! must agree with the cookie that was set with it ([`PostedForm::open`]), and `form_token` with the cookie of the session.

use axum::body::Body;
use axum::extract::{Extension, FromRequest, FromRequestParts};
use axum::response::IntoResponse;
use http::{HeaderMap, Request, Response, StatusCode};

use super::body::{self, BodyError};
use super::cookies::Kind;
use super::endpoints::Endpoints;
use super::fault::{busy_page, page};
use super::pages::Branding;
use crate::config::PublicUrl;
use crate::issuer::{Fault, OpenedForm, Question};
use crate::oauth::parameters::Parameters;
use crate::wire::{Arrival, plain};

/// A form that no other site posted, as far as the browser says (CSRF). The answer to any other, and to a body that did not
/// arrive, is a page.
pub(super) struct PostedForm {
    pub(super) arrival: Arrival,
    pub(super) headers: HeaderMap,
    pub(super) fields: Parameters,
}

impl FromRequest<Endpoints> for PostedForm {
    type Rejection = Response<Body>;

    async fn from_request(request: Request<Body>, endpoints: &Endpoints) -> Result<Self, Response<Body>> {
        let (mut head, _read) = request.into_parts();
        let arrival = Extension::from_request_parts(&mut head, endpoints).await;
        let Extension(arrival): Extension<Arrival> = arrival.map_err(IntoResponse::into_response)?;
        if !is_same_origin(&head.headers, &endpoints.config.public_url) {
            let fault = Fault::not_ours("a form that was posted from another site");
            return Err(page(&endpoints.branding, fault, &arrival.id));
        }
        match body::take(&mut head.extensions) {
            Ok(bytes) => Ok(Self { arrival, headers: head.headers, fields: Parameters::parse(&bytes) }),
            Err(error) => Err(unread(error, &endpoints.branding)),
        }
    }
}

impl PostedForm {
    /// The one value of a field.
    pub(super) fn one(&self, name: &'static str) -> Result<Option<&str>, Fault> {
        self.fields.one(name).map_err(|repeated| Fault::not_ours(repeated.to_string()))
    }

    /// Opens the sealed form in it, with the cookie that was set with that form.
    pub(super) fn open<Q: Question>(&self, endpoints: &Endpoints) -> Result<OpenedForm<Q>, Fault> {
        let cookies = endpoints.cookies();
        let field = self.one("form")?.unwrap_or_default();
        endpoints.issuer.open_form(field, |authorization| cookies.get(&self.headers, Kind::Consent, authorization))
    }

    /// The provider with which the user approves the question of the form; `None` for a denial.
    pub(super) fn approved_with<Q: Question>(&self) -> Result<Option<String>, Fault> {
        match (self.one("decision")?, self.one("identity")?) {
            (Some("approve"), Some(identity)) => Ok(Some(identity.to_owned())),
            (Some("deny"), _) => Ok(None),
            _ => Err(Fault::not_ours(format!("{}: neither an approval with a provider nor a denial", Q::LABEL))),
        }
    }
}

fn unread(error: BodyError, branding: &Branding) -> Response<Body> {
    match error.status() {
        StatusCode::SERVICE_UNAVAILABLE => busy_page(branding),
        status => plain(status, Body::from(error.message())),
    }
}

/// Whether no header says that another site posted the form.
fn is_same_origin(headers: &HeaderMap, url: &PublicUrl) -> bool {
    let says =
        |name: &str, wanted: &str| headers.get_all(name).iter().all(|value| value.as_bytes() == wanted.as_bytes());
    says("sec-fetch-site", "same-origin") && says("origin", url.as_str())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::is_same_origin;
    use crate::config::PublicUrl;

    #[test]
    fn csrf_a_form_from_another_site_is_recognised_by_either_header() {
        let url = PublicUrl::parse("https://mcp.example.com").unwrap();
        let is = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
            is_same_origin(&pairs.collect::<HeaderMap>(), &url)
        };
        assert!(is(&[]));
        assert!(is(&[("sec-fetch-site", "same-origin"), ("origin", "https://mcp.example.com")]));
        assert!(is(&[("origin", "https://mcp.example.com")]));
        assert!(!is(&[("origin", "null")]));
        assert!(!is(&[("origin", "https://evil.example")]));
        assert!(!is(&[("sec-fetch-site", "cross-site")]));
        assert!(!is(&[("sec-fetch-site", "same-site"), ("origin", "https://mcp.example.com")]));
        assert!(!is(&[("sec-fetch-site", "none")]));
    }
}
