//! `GET /authorize` (RFC 6749 3.1): the consent page, or an error. Stores nothing, unless a remembered consent lets the
//! browser go on to the provider.

use axum::body::Body;
use axum::extract::{Extension, State};
use http::{HeaderMap, Method, Response, Uri};

use super::consent_page::{Asking, consent_page};
use super::fault::page;
use super::{Endpoints, browser};
use crate::issuer::{AuthorizeRejection, Fault, Start};
use crate::oauth::parameters::Parameters;
use crate::wire::Arrival;

/// The longest query of a request, in bytes.
const MAX_REQUEST: usize = 8 * 1024;

pub(super) async fn get(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    let (query, request_id) = (uri.query().unwrap_or_default(), arrival.id.clone());
    if query.len() > MAX_REQUEST {
        return page(&endpoints.branding, Fault::too_long(), &request_id);
    }
    let validated = match endpoints.issuer.authorize(&Parameters::parse(query.as_bytes()), arrival.address).await {
        Ok(validated) => validated,
        Err(AuthorizeRejection::Page(fault)) => return page(&endpoints.branding, fault, &request_id),
        Err(AuthorizeRejection::Redirect(redirect)) => return browser::to_client(&endpoints.branding, &redirect),
    };
    let start =
        Start { direct: method == Method::GET && is_direct(&headers), mark: endpoints.cookies().mark(&headers) };
    let direct = start.direct;
    let issuer = endpoints.issuer.clone();
    let begun = endpoints.complete(async move {
        let begun = issuer.begin_remembered(&validated, &start, arrival.address).await?;
        Ok((begun, validated))
    });
    match begun.await {
        Ok((Some(begun), _)) => browser::to_sign_in(&endpoints, &headers, &begun),
        Ok((None, validated)) => {
            consent_page(&endpoints, &headers, validated, Asking { notice: None, direct }, &request_id).await
        }
        Err(fault) => page(&endpoints.branding, fault, &request_id),
    }
}

/// Whether the browser came without any site's doing: a person opened the address, or an application had the browser open it. Our
/// own site counts, too: it sends the browser wherever a client wants its answer, and a client may have registered `/authorize` with
/// another client's request. A browser that sends no such headers may have been sent by a site, and so may one that prefetches.
/// (`none` does not exclude a redirect by a site on the way: see `config::Consent`.)
fn is_direct(headers: &HeaderMap) -> bool {
    let is = |name: &str, wanted: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().is_some_and(|value| value == wanted) && values.next().is_none()
    };
    is("sec-fetch-site", "none")
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
        && !["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::is_direct;

    #[test]
    fn only_a_browser_that_says_so_counts_as_a_direct_visit() {
        let is = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
            is_direct(&pairs.collect::<HeaderMap>())
        };
        let (mode, dest) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"));
        assert!(is(&[("sec-fetch-site", "none"), mode, dest]));
        assert!(!is(&[]));
        assert!(!is(&[mode, dest]));
        for site in ["cross-site", "same-site", "same-origin", "None", ""] {
            assert!(!is(&[("sec-fetch-site", site), mode, dest]), "{site}");
        }
        assert!(!is(&[("sec-fetch-site", "none"), mode, ("sec-fetch-dest", "iframe")]));
        assert!(!is(&[("sec-fetch-site", "none"), ("sec-fetch-mode", "no-cors"), dest]));
        for ahead in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            ("x-purpose", "preview"),
            ("x-moz", "prefetch"),
        ] {
            assert!(!is(&[("sec-fetch-site", "none"), mode, dest, ahead]), "{ahead:?}");
        }
    }

    #[test]
    fn a_repeated_header_is_not_trusted() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert!(!is_direct(&headers));
    }
}
