//! What may pass in which direction (RFC 9110 7.6.1, RFC 9112 6).
//!
//! Toward the upstream nothing that a client sends may be taken for what we say: names are compared after folding case and
//! whatever is neither letter nor digit to `-`, because servers behind us fold them too: WSGI and many frameworks `_`, some
//! CGI servers everything.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, ORIGIN, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::PublicUrl;

/// Fields that end at the next hop, beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const DPOP: HeaderName = HeaderName::from_static("dpop");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Names and beginnings of names that only we may write.
const OURS: [&str; 3] = ["forwarded", "x-real-ip", "x-user"];
const OURS_BEGIN: [&str; 7] =
    ["x-forwarded-", "x-remote-", "remote-", "x-user-", "x-auth-request-", "x-portcullis-", "x-request-id"];

/// What an upstream's answer may not say: it would speak for our whole origin, where people sign in.
const NOT_THEIRS: [&str; 9] = [
    "set-cookie",
    "set-cookie2",
    "x-request-id",
    "clear-site-data",
    "strict-transport-security",
    "public-key-pins",
    "alt-svc",
    "service-worker-allowed",
    "refresh",
];

fn folded(name: &HeaderName) -> Cow<'_, str> {
    let odd = |c: char| c != '-' && !c.is_ascii_alphanumeric();
    let name = name.as_str();
    if name.contains(odd) { Cow::Owned(name.replace(odd, "-")) } else { Cow::Borrowed(name) }
}

/// Whether only we may say this to an upstream.
fn is_ours(name: &HeaderName) -> bool {
    let name = folded(name);
    OURS.contains(&&*name) || OURS_BEGIN.iter().any(|begin| name.starts_with(begin))
}

/// Whether this is a credential that is ours to check and nobody's behind us to see, whatever its spelling.
fn is_credential(name: &HeaderName) -> bool {
    let name = folded(name);
    [AUTHORIZATION.as_str(), COOKIE.as_str(), DPOP.as_str(), PROXY_AUTHORIZATION.as_str()].contains(&&*name)
}

/// Whether a server that folds names takes it for another header that was judged here: the session's id, the framing,
/// what says how to read the message. Tools' own parameters (`Mcp-Param-…`) may have any name.
fn is_ambiguous(name: &HeaderName) -> bool {
    let judged = |folded: &str| {
        ["content-", "mcp-", "accept"].iter().any(|begin| folded.starts_with(begin))
            && !folded.starts_with("mcp-param-")
            || HOP_BY_HOP.iter().chain([&KEEP_ALIVE, &PROXY_CONNECTION, &HOST, &ORIGIN]).any(|known| known == folded)
            || folded == "last-event-id"
    };
    matches!(folded(name), Cow::Owned(folded) if judged(&folded))
}

/// Removes what ends at this hop (RFC 9110 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain([&KEEP_ALIVE, &PROXY_CONNECTION]).chain(&named) {
        headers.remove(name);
    }
}

/// Two framings in one message (RFC 9112 6.3): whoever reads them differently reads another request.
pub(super) fn has_two_framings(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH)
}

/// Whether a message's body is of this media type, whatever its parameters say (RFC 9110 8.3.1).
pub(crate) fn is_media_type(headers: &HeaderMap, media_type: &str) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

/// Makes a client's headers fit for the upstream, in place.
pub(super) fn clean_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    // the framing is our own: what a client wrote could be read in another way than we did ("010")
    headers.remove(CONTENT_LENGTH);
    headers.remove(HOST);
    headers.remove(ORIGIN);
    let foreign: Vec<HeaderName> =
        headers.keys().filter(|name| is_ours(name) || is_credential(name) || is_ambiguous(name)).cloned().collect();
    for name in &foreign {
        headers.remove(name);
    }
}

/// Makes an upstream's headers fit for the client, in place.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in NOT_THEIRS {
        headers.remove(name);
    }
    let cors: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in &cors {
        headers.remove(name);
    }
    // a challenge of the upstream's would send the client to an authorization server that is not ours
    headers.remove(WWW_AUTHENTICATE);
}

/// Who is in front (`X-Forwarded-*`), made once.
pub(super) struct Forwarding {
    proto: HeaderValue,
    host: HeaderValue,
}

impl Forwarding {
    /// What clients know this gateway as.
    pub(super) fn new(public_url: &PublicUrl) -> Self {
        let proto = HeaderValue::from_static(if public_url.is_https() { "https" } else { "http" });
        // an origin's authority is ASCII without spaces
        let host = HeaderValue::from_str(public_url.authority()).unwrap_or(HeaderValue::from_static(""));
        Self { proto, host }
    }

    /// Adds it to a request from which everything of that kind was removed.
    pub(super) fn write(&self, headers: &mut HeaderMap, client: IpAddr) {
        headers.insert(FORWARDED_PROTO, self.proto.clone());
        headers.insert(FORWARDED_HOST, self.host.clone());
        if let Ok(client) = HeaderValue::try_from(client.to_string()) {
            headers.insert(FORWARDED_FOR, client);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::{clean_request, clean_response, is_credential, is_ours};

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn what_only_we_may_say_is_removed_however_it_is_spelt() {
        let mut headers = map(&[
            ("X_Forwarded_User", "root"),
            ("Mcp_Session_Id", "somebody's"),
            ("Transfer_Encoding", "chunked"),
            ("x-forwarded_email", "root@example.com"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("Forwarded", "for=1.2.3.4"),
            ("X_Real_IP", "1.2.3.4"),
            ("Remote_User", "root"),
            ("Remote-Groups", "wheel"),
            ("X.Forwarded.User", "root"),
            ("X~Portcullis!Scopes", "all"),
            ("Mcp.Session.Id", "somebody's"),
            ("X-Remote-Groups", "wheel"),
            ("X-User-Id", "0"),
            ("X-User", "0"),
            ("X_Auth_Request_User", "root"),
            ("x-portcullis-scopes", "all"),
            ("X-Request-Id", "mine"),
            ("Authorization", "Bearer x"),
            ("Cookie", "a=b"),
            ("DPoP", "x"),
            ("Proxy-Authorization", "Basic x"),
            ("Origin", "https://a.example"),
            ("Host", "a.example"),
            ("Connection", "keep-alive, X-Secret-Hop"),
            ("X-Secret-Hop", "1"),
            ("TE", "trailers"),
            ("Mcp-Session-Id", "s"),
            ("Mcp-Param-Region", "eu"),
            ("Mcp-Param-user_id", "7"),
            ("Content-Type", "application/json"),
            ("X-Custom", "stays"),
        ]);
        clean_request(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "mcp-param-region", "mcp-param-user_id", "mcp-session-id", "x-custom"]);
    }

    #[test]
    fn no_framing_of_the_clients_is_forwarded() {
        let mut headers = map(&[("transfer-encoding", "chunked"), ("content-length", "5"), ("content_length", "6")]);
        clean_request(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn of_an_answer_cookies_cors_and_hop_by_hop_fields_are_dropped() {
        let mut headers = map(&[
            ("set-cookie", "a=b"),
            ("clear-site-data", "*"),
            ("service-worker-allowed", "/"),
            ("access-control-allow-origin", "*"),
            ("access-control-anything", "*"),
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("content-type", "text/event-stream"),
            ("www-authenticate", "Bearer"),
            ("mcp-session-id", "s"),
        ]);
        clean_response(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "mcp-session-id"]);
    }

    proptest! {
        #[test]
        fn no_spelling_of_an_identity_header_survives(
            base in prop::sample::select(vec![
                "x-forwarded-user", "x-forwarded-anything", "remote-user", "x-remote-user", "x-user-email",
                "x-auth-request-groups", "x-portcullis-client", "forwarded", "x-real-ip",
            ]),
            odd in any::<u32>(),
            other in prop::sample::select(vec!['_', '.', '!', '~', '|']),
            value in "[a-z]{1,8}",
        ) {
            let name: String = base
                .chars()
                .enumerate()
                .map(|(at, c)| if c == '-' && odd >> (at % 32) & 1 == 1 { other } else { c })
                .collect();
            let name: HeaderName = name.parse().unwrap();
            let mut headers = HeaderMap::new();
            headers.append(name.clone(), HeaderValue::from_str(&value).unwrap());
            headers.append(name, HeaderValue::from_static("again"));
            clean_request(&mut headers);
            prop_assert!(headers.is_empty());
        }

        #[test]
        fn nothing_that_is_ours_or_a_credential_is_left_of_any_headers(names in prop::collection::vec("[a-zA-Z._-]{1,20}", 0..20)) {
            let mut headers: HeaderMap = names
                .iter()
                .filter_map(|name| Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_static("v"))))
                .collect();
            clean_request(&mut headers);
            prop_assert!(headers.keys().all(|name| !is_ours(name) && !is_credential(name)));
        }
    }
}
