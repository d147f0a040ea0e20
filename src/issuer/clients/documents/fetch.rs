//! One call for a document, and what its answer means.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::freshness::fresh_for;
use super::known::Known;
use crate::clock::Clock;
use crate::issuer::clients::error::DocumentError;
use crate::model::client_document::KeptDocument;
use crate::oauth::client_document::MAX_DOCUMENT;
use crate::oauth::client_id_url::ClientIdUrl;
use crate::oauth::redirect_uri::RedirectPolicy;
use crate::outbound::{UntrustedFetchError, UntrustedFetcher};
use crate::telemetry::excerpt;

/// Fetches documents.
pub(super) struct Fetch {
    pub(super) untrusted: UntrustedFetcher,
    pub(super) redirect_policy: RedirectPolicy,
    pub(super) clock: Clock,
}

impl Fetch {
    /// Fetches the document at a URL.
    ///
    /// What is no JSON document at all (a login page, an error page with status 200, a redirect) is no statement about the
    /// client: the last good document stays in use. A JSON document that breaks a rule is the publisher's current statement.
    pub(super) async fn get(&self, url: &ClientIdUrl) -> Result<Known, DocumentError> {
        let fetched_at = self.clock.now();
        let document = self.untrusted.get(url.as_str(), MAX_DOCUMENT).await.map_err(|error| failed(&error))?;
        if !is_json(&document.headers) {
            return Err(DocumentError::Unreachable("its type is not application/json".to_owned()));
        }
        let text = String::from_utf8(document.body.into())
            .map_err(|_binary| DocumentError::Unreachable("it is not UTF-8".to_owned()))?;
        let fresh_until = fetched_at + fresh_for(&document.headers, fetched_at);
        let kept = KeptDocument { text, fetched_at, fresh_until };
        Known::read(url, kept, &self.redirect_policy).map_err(|why| {
            // the message may quote the document
            DocumentError::Refused(excerpt(&why.to_string()).into_owned())
        })
    }
}

fn failed(error: &UntrustedFetchError) -> DocumentError {
    let why = error.diagnosis().to_string();
    if error.is_gone() { DocumentError::Gone(why) } else { DocumentError::Unreachable(why) }
}

/// `application/json`, or a type that is written in it (RFC 6839 3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.strip_prefix("application/") {
        Some("json") => true,
        Some(special) => special.len() > "+json".len() && special.ends_with("+json"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http::{HeaderMap, HeaderValue};

    use super::is_json;

    #[test]
    fn only_json_is_a_document() {
        for (kind, accepted) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/client-metadata+json", true),
            ("application/+json", false),
            ("application/jsonp", false),
            ("text/json", false),
            ("text/html", false),
            ("text/plain; application/json", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(is_json(&headers), accepted, "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
