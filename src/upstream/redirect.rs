//! Redirects of an upstream.
//!
//! Defends against open redirects that would carry a user's identity to another host, and against leaking inner addresses
//! to clients. A redirect on the upstream's own origin is followed here; any other is an error.

use std::sync::atomic::{AtomicBool, Ordering};

use ::http::header::LOCATION;
use ::http::{HeaderValue, Response, StatusCode, Uri};
use url::{Position, Url};

use super::error::UpstreamError;
use super::outgoing::Outgoing;

/// How many redirects a call follows.
pub(super) const MOST: usize = 2;

const ELSEWHERE: &str =
    "redirects to another origin are not followed: set `url` to the address at which the server itself answers";
const NOWHERE: &str = "set `url` to the address at which the server itself answers";
const METHOD: &str =
    "only 307 and 308 keep the method and the body: set `url` to the address at which the server itself answers";
/// Why there is no copy of a call: its body was streamed, or is large.
pub(super) const BODY_NOT_KEPT: &str = "the body of this call was not kept for resending (only JSON up to 64 KiB is): \
     set `url` to the address at which the server itself answers";
/// Why there is no copy of a call: no redirect was expected.
pub(super) const UNEXPECTED: &str = "the server had not redirected before, so this call was not kept for resending; later calls \
     follow the redirect: set `url` to the address at which the server itself answers";
const AGAIN: &str = "more than 2 redirects: set `url` to the address at which the server itself answers";

/// Where the redirects of a call led: an extension of its answer.
#[derive(Debug, Clone)]
pub(super) struct Followed(pub(super) Uri);

/// Whether an upstream redirects. Nearly none does, and following needs a copy of every call. Calls are copied until
/// the upstream has answered one itself, and again after its first redirect. So when an upstream begins to redirect
/// while we run, its first redirected calls fail.
#[derive(Default)]
pub(super) struct Habit {
    answers: AtomicBool,
    redirects: AtomicBool,
}

impl Habit {
    pub(super) fn may_redirect(&self) -> bool {
        self.redirects.load(Ordering::Relaxed) || !self.answers.load(Ordering::Relaxed)
    }

    pub(super) fn note_redirect(&self) {
        self.redirects.store(true, Ordering::Relaxed);
    }

    /// An error may come from a layer in front of the server, and says nothing.
    pub(super) fn note_answer(&self, status: StatusCode) {
        if status.is_success() && !self.answers.load(Ordering::Relaxed) {
            self.answers.store(true, Ordering::Relaxed);
        }
    }
}

/// A redirect.
pub(super) struct Redirect {
    status: StatusCode,
    /// The URL that was asked, and the one that was named.
    places: Option<(Url, Url)>,
}

impl Redirect {
    /// The redirect in an answer, if it is one, also one without a `Location`, which no MCP client can use. `url` is
    /// the upstream's; `path` is the requested one, if it differs.
    pub(super) fn of<B>(answer: &Response<B>, url: &Uri, path: Option<&Uri>) -> Option<Self> {
        let (status, location) = (answer.status(), answer.headers().get(LOCATION));
        // 304 is no redirect unless it has a `Location`
        if !status.is_redirection() || (status == StatusCode::NOT_MODIFIED && location.is_none()) {
            return None;
        }
        let asked = Url::parse(&url.to_string()).ok().map(|mut asked| {
            // not by `join`, which takes a path that begins with two slashes for another host
            if let Some(path) = path {
                asked.set_path(path.path());
                asked.set_query(path.query());
            }
            asked
        });
        let places = asked.and_then(|asked| {
            let named = asked.join(location?.to_str().ok()?).ok()?;
            Some((asked, named))
        });
        Some(Self { status, places })
    }

    /// The call again, sent to the target of the redirect. `call` is a copy, or says why there is none; `host` is the
    /// name that the server was called by.
    ///
    /// # Errors
    /// When it must not, or cannot, be followed.
    pub(super) fn follow(
        &self,
        call: Result<Outgoing, &'static str>,
        host: &HeaderValue,
        left: usize,
    ) -> Result<Outgoing, UpstreamError> {
        let named = match &self.places {
            Some((asked, named)) if is_own(asked, host, named) => named,
            Some(_) => return Err(self.refused(ELSEWHERE)),
            None => return Err(self.refused(NOWHERE)),
        };
        if !matches!(self.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
            return Err(self.refused(METHOD));
        }
        let mut call = call.map_err(|why| self.refused(why))?;
        if left == 0 {
            return Err(self.refused(AGAIN));
        }
        let path = &named[Position::BeforePath..Position::AfterQuery];
        call.target = path.parse().map_err(|_invalid| self.refused(ELSEWHERE))?;
        Ok(call)
    }

    fn refused(&self, hint: &'static str) -> UpstreamError {
        let to = self.places.as_ref().map_or_else(|| "no address".to_owned(), |(_, named)| shown(named));
        UpstreamError::Redirects { status: self.status, to, hint }
    }
}

/// A place as it may stand in a log: a query or user information may hold a secret.
fn shown(target: &Url) -> String {
    let origin = target.origin();
    if origin.is_tuple() {
        format!("{}{}", origin.ascii_serialization(), target.path())
    } else {
        target.scheme().to_owned()
    }
}

/// Whether a target lies on the requested origin, also as the server spells it, which it takes from the `Host` that we
/// sent. A server that believes our `X-Forwarded-Proto` writes `https` where we call it by `http`: then another path on
/// the same port is meant, for a server that wants TLS would name the same path.
fn is_own(base: &Url, host: &HeaderValue, target: &Url) -> bool {
    if !target.username().is_empty() || target.password().is_some() {
        return false;
    }
    let named = host.to_str().ok().and_then(|host| Url::parse(&format!("{}://{host}/", base.scheme())).ok());
    [Some(base), named.as_ref()].into_iter().flatten().any(|own| {
        let same_scheme =
            own.scheme() == target.scheme() && own.port_or_known_default() == target.port_or_known_default();
        let believed = own.scheme() == "http"
            && target.scheme() == "https"
            && own.port() == target.port()
            && base.path() != target.path();
        own.host() == target.host() && (same_scheme || believed)
    })
}

#[cfg(test)]
mod tests {
    use ::http::header::LOCATION;
    use ::http::{HeaderMap, HeaderValue, Method, Response, Uri};
    use bytes::Bytes;

    use super::{BODY_NOT_KEPT, MOST, Redirect};
    use crate::upstream::outgoing::{Outgoing, Payload};

    const HOST: HeaderValue = HeaderValue::from_static("10.0.0.5:8420");

    fn followed(status: u16, location: &str, path: Option<&str>, left: usize) -> Result<String, String> {
        let answer = Response::builder().status(status).header(LOCATION, location).body(()).unwrap();
        let url: Uri = "http://10.0.0.5:8420/mcp/".parse().unwrap();
        let call = path.ok_or(BODY_NOT_KEPT).map(|path| {
            let payload = Payload::Whole(Bytes::from_static(b"{}"));
            Outgoing { method: Method::POST, target: path.parse().unwrap(), headers: HeaderMap::new(), payload }
        });
        let redirect = Redirect::of(&answer, &url, call.as_ref().ok().map(|call| &call.target)).unwrap();
        match redirect.follow(call, &HOST, left) {
            Ok(again) => {
                assert_eq!((again.method.as_str(), &**again.payload.whole().unwrap()), ("POST", &b"{}"[..]));
                Ok(again.target.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_redirect_on_the_own_origin_is_followed_with_method_and_body() {
        for (location, path) in [
            ("http://10.0.0.5:8420/mcp?a=1", "/mcp?a=1"),
            ("/mcp", "/mcp"),
            ("../x#part", "/x"),
            ("//10.0.0.5:8420/mcp", "/mcp"),
            ("https://10.0.0.5:8420/mcp", "/mcp"),
        ] {
            for status in [307, 308] {
                assert_eq!(followed(status, location, Some("/mcp/?a=1"), MOST).as_deref(), Ok(path), "{location}");
            }
        }
    }

    #[test]
    fn a_path_that_begins_with_two_slashes_does_not_become_another_host() {
        let second = |location| followed(307, location, Some("//evil.example/x?a=1"), MOST);
        assert!(second("http://evil.example/y").unwrap_err().contains("redirects to another origin are not followed"));
        for (location, path) in [("/y", "/y"), ("y", "//evil.example/y"), ("http://10.0.0.5:8420/y", "/y")] {
            assert_eq!(second(location).as_deref(), Ok(path), "{location}");
        }
        let first = followed(307, "http://10.0.0.5:8420//evil.example/x", Some("/mcp/"), MOST);
        assert_eq!(first.as_deref(), Ok("//evil.example/x"));
    }

    #[test]
    fn no_other_redirect_is_followed_and_the_words_hold_no_secret() {
        for location in [
            "http://10.0.0.6:8420/mcp",
            "http://10.0.0.5/mcp",
            "https://10.0.0.5:8420/mcp/",
            "https://10.0.0.5/mcp",
            "http://user:secret@10.0.0.5:8420/mcp",
            "http://10.0.0.5:8420@evil.example/mcp",
            "//evil.example/mcp",
            "https:secret",
            "data:secret",
            "http://[",
        ] {
            let words = followed(307, location, Some("/mcp/"), MOST).unwrap_err();
            assert!(words.starts_with("redirects (307 Temporary Redirect) to "), "{location}: {words}");
            assert!(!words.contains("user") && words.contains("`url`"), "{location}: {words}");
        }
        for status in [300, 301, 302, 303] {
            assert!(followed(status, "/mcp?key=secret", Some("/mcp/"), MOST).unwrap_err().contains("keep the method"));
        }
        let words = followed(308, "/mcp?key=secret", Some("/mcp/"), 0).unwrap_err();
        assert!(words.contains("http://10.0.0.5:8420/mcp: more than 2 redirects"), "{words}");
        assert!(followed(308, "/mcp", None, MOST).unwrap_err().contains("not kept for resending"));
    }
}
