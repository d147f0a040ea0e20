//! Browsers that open an address meant for MCP clients get a page; programs get what they expect.
//!
//! The pages are rendered once, at start: a request costs a pointer copy.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::pages::{self, Branding, ClientSettings, FrontPage, Page, ServerPage};
use crate::config::Config;
use crate::wire::{RETRY_SOON, accept};

/// A page that was rendered at start.
#[derive(Clone)]
pub(crate) struct ReadyPage(Arc<Ready>);

struct Ready {
    html: Bytes,
    headers: [(HeaderName, HeaderValue); 6],
}

impl ReadyPage {
    fn new(page: Page) -> Self {
        Self(Arc::new(Ready { html: page.html.into(), headers: page.headers }))
    }

    /// Replaces a response's body by the page. The status stays, and so do headers that do not describe the body, such as
    /// `WWW-Authenticate` and the request's id.
    pub(crate) fn instead_of<A, B>(&self, answer: Response<A>, body: impl FnOnce(Bytes) -> B) -> Response<B> {
        let (mut head, _) = answer.into_parts();
        head.headers.remove(CONTENT_LENGTH);
        for (name, value) in &self.0.headers {
            head.headers.insert(name.clone(), value.clone());
        }
        head.headers.insert(VARY, HeaderValue::from_static("accept, authorization, sec-fetch-mode, sec-fetch-dest"));
        Response::from_parts(head, body(self.0.html.clone()))
    }
}

/// All of them.
pub(super) struct Visitors {
    front: ReadyPage,
    not_found: ReadyPage,
    /// For browsers while the server is overloaded: a refusal must cost little.
    busy: ReadyPage,
    /// By path, in both spellings.
    servers: HashMap<String, ReadyPage>,
}

impl Visitors {
    pub(super) fn new(config: &Config, branding: &Branding) -> Self {
        let mut servers = HashMap::new();
        for upstream in &config.upstreams {
            let settings = ClientSettings { id: &upstream.settings.id, url: &upstream.plain.resource };
            let page = pages::server(&ServerPage { branding, name: &upstream.settings.name, settings });
            let page = ReadyPage::new(page);
            for names in [&upstream.plain, &upstream.slashed] {
                servers.insert(names.path.clone(), page.clone());
            }
        }
        Self {
            front: ReadyPage::new(front(config, branding)),
            not_found: ReadyPage::new(pages::not_found(branding)),
            busy: ReadyPage::new(pages::busy(branding)),
            servers,
        }
    }

    /// The answer to a browser whose request is not admitted.
    pub(super) fn busy<B>(&self, body: impl FnOnce(Bytes) -> B) -> Response<B> {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SOON));
        self.busy.clone().instead_of(answer, body)
    }

    /// The page of an upstream, for a person who opens its path without a token.
    pub(super) fn server_page(&self, method: &Method, headers: &HeaderMap, path: &str) -> Option<ReadyPage> {
        if headers.contains_key(AUTHORIZATION) || !is_person(method, headers) {
            return None;
        }
        self.servers.get(path).cloned()
    }

    /// The page of a path that is neither an upstream's nor a route.
    pub(super) fn not_found_page(&self, method: &Method, headers: &HeaderMap, path: &str) -> Option<ReadyPage> {
        let page = if path == "/" { &self.front } else { &self.not_found };
        is_person(method, headers).then(|| page.clone())
    }
}

/// Upstreams are listed publicly only if the operator says so: an attacker who does not know their paths cannot try them.
fn front(config: &Config, branding: &Branding) -> Page {
    let listed = config.upstreams.iter().filter(|_| config.pages.list_upstreams);
    let servers: Vec<_> =
        listed.map(|upstream| (upstream.settings.name.as_str(), upstream.plain.resource.as_str())).collect();
    let settings = ClientSettings { id: "NAME", url: &config.public_url.join("/PATH") };
    pages::front(&FrontPage { branding, servers: &servers, settings })
}

/// Whether a browser navigates to an address: it prefers HTML to the media types of MCP, and its `Sec-Fetch-*` headers, if
/// any, say so. An `Accept` of `*/*`, or with equal weights, is a program's.
fn is_person(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &str, wanted: &str| headers.get_all(name).iter().all(|value| value == wanted);
    method == Method::GET
        && prefers_html(headers)
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

fn prefers_html(headers: &HeaderMap) -> bool {
    let weight = |media_type| accept::weight_of(media_type, headers);
    weight("text/html") > weight("application/json").max(weight("text/event-stream"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};
    use proptest::prelude::*;

    use super::is_person;

    /// Chromium's, Firefox's and Safari's.
    const BROWSERS: [&str; 3] = [
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/html, application/xhtml+xml ;q=0.9, */*;q=0.8",
    ];

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs =
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::try_from(*value).unwrap()));
        pairs.collect()
    }

    #[test]
    fn a_browser_that_opens_a_page_is_told_apart_from_programs() {
        for accept in BROWSERS {
            assert!(is_person(&Method::GET, &headers(&[("accept", accept)])), "{accept}");
            let fetch = |mode, dest| headers(&[("accept", accept), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]);
            assert!(is_person(&Method::GET, &fetch("navigate", "document")));
            for (mode, dest) in [("cors", "empty"), ("no-cors", "image"), ("navigate", "iframe"), ("", "document")] {
                assert!(!is_person(&Method::GET, &fetch(mode, dest)), "{mode} {dest}");
            }
            for method in [Method::POST, Method::HEAD, Method::DELETE, Method::OPTIONS] {
                assert!(!is_person(&method, &headers(&[("accept", accept)])), "{method}");
            }
        }
        for accept in [
            "",
            "*/*",
            "text/*",
            "application/json, text/event-stream",
            "text/event-stream",
            "application/json",
            "application/json, text/plain, */*",
            "text/html, application/json",
            "text/html;q=0.9, text/event-stream",
            "application/json, text/html, text/event-stream",
            "text/html;q=0",
            "text/html;q=x",
            "text/html;q=2",
            "text/htmlx",
        ] {
            assert!(!is_person(&Method::GET, &headers(&[("accept", accept)])), "{accept}");
        }
        assert!(!is_person(&Method::GET, &HeaderMap::new()));
        assert!(is_person(&Method::GET, &headers(&[("accept", "application/json;q=0.5, text/html;q=0.501")])));
        let two = headers(&[("accept", "text/html"), ("accept", "application/json")]);
        assert!(!is_person(&Method::GET, &two), "fields of one name are one list");
    }

    proptest! {
        #[test]
        fn any_accept_header_is_handled(accept in "[ -~]{0,80}") {
            let person = is_person(&Method::GET, &headers(&[("accept", &accept)]));
            prop_assert!(!person || accept.to_ascii_lowercase().contains("text/html"));
        }
    }
}
