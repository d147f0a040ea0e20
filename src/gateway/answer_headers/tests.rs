//! Answers, header by header.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::{DROPPED, NOT_THEIRS, Private, clean_response, private};
use crate::config::header_names::folded;

fn cleaned(pairs: &[(&str, &str)]) -> Vec<String> {
    let mut headers: HeaderMap = pairs
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    clean_response(&mut headers);
    let mut left: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    left.sort_unstable();
    left
}

#[test]
fn fields_for_the_whole_origin_a_proxy_or_this_hop_are_dropped() {
    let names = [
        "Set-Cookie",
        "Clear-Site-Data",
        "Service-Worker-Allowed",
        "Access-Control-Allow-Origin",
        "Connection",
        "Keep-Alive",
        "WWW-Authenticate",
        "X-Accel-Redirect",
        "X-Accel-Expires",
        "X-Accel-Buffering",
        "X-Sendfile",
        "X-Lighttpd-Send-File",
        "NEL",
        "Report-To",
        "Reporting-Endpoints",
        "Accept-CH",
        "Critical-CH",
        "Surrogate-Control",
        "Surrogate-Key",
        "CDN-Cache-Control",
        "Cloudflare-CDN-Cache-Control",
        "Netlify-CDN-Cache-Control",
        "Strict-Transport-Security",
        "Alt-Svc",
        "Public-Key-Pins-Report-Only",
        "Refresh",
        "Set-Login",
        "Origin-Trial",
        "X-Envoy-Immediate-Health-Check-Fail",
        "X_Accel_Redirect",
        "X.Sendfile",
        "Mcp_Session_Id",
        "Content_Type",
        "X-Reproxy-URL",
        "Transfer_Encoding",
    ];
    let mut pairs: Vec<_> = names.iter().map(|name| (*name, "v")).collect();
    pairs.extend([("Content-Type", "text/event-stream"), ("Mcp-Session-Id", "s"), ("X-Own", "stays")]);
    let left = cleaned(&pairs);
    assert_eq!(
        left,
        ["cache-control: no-store", "content-type: text/event-stream", "mcp-session-id: s", "x-own: stays"]
    );
}

#[test]
fn fields_that_connection_names_are_dropped() {
    assert_eq!(cleaned(&[("connection", "X-Hop, close"), ("x-hop", "1")]), ["cache-control: no-store"]);
}

#[test]
fn an_answer_to_a_bearer_is_never_for_shared_caches() {
    let stored = |text: &str| Private::Stored(text.to_owned());
    for (said, meant) in [
        ("public", stored("private")),
        ("", stored("private")),
        ("public, max-age=60, s-maxage=3600", stored("private, max-age=60")),
        ("Public , S-MaxAge=1,MAX-AGE=60", stored("private, MAX-AGE=60")),
        ("max-age=60, must-revalidate", stored("private, max-age=60, must-revalidate")),
        ("no-cache, no-transform", stored("private, no-cache, no-transform")),
        ("private, max-age=5", stored("private, max-age=5")),
        ("private=\"set-cookie, x\", public", stored("private")),
        ("no-cache=\"a, public\", max-age=1", stored("private, no-cache=\"a, public\", max-age=1")),
        ("public, no-store", Private::NeverStored("no-store".to_owned())),
        ("NO-STORE, max-age=0", Private::Already),
        ("no-store=1, max-age=9", stored("private, no-store=1, max-age=9")),
        ("max-age=60, x=\"open", Private::NoStore),
        ("x=\"\\\", public\"", Private::NoStore),
        ("x=\"a\"s-maxage=1", Private::NoStore),
        ("max-age = 60", Private::NoStore),
        ("max-age=60; public", Private::NoStore),
    ] {
        assert_eq!(private(said), meant, "{said}");
    }
}

#[test]
fn a_privately_cacheable_response_gets_vary_authorization_and_no_expires() {
    let left =
        cleaned(&[("cache-control", "public"), ("cache-control", "max-age=60"), ("expires", "x"), ("vary", "accept")]);
    assert_eq!(left, ["cache-control: private, max-age=60", "vary: accept", "vary: authorization"]);
    assert_eq!(cleaned(&[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")]), ["cache-control: no-store"]);
    assert_eq!(cleaned(&[("cache-control", "no-store, max-age=0")]), ["cache-control: no-store, max-age=0"]);
}

#[test]
fn the_list_is_folded() {
    assert!(NOT_THEIRS.iter().all(|name| folded(name.trim_end_matches('*')) == name.trim_end_matches('*')));
}

proptest! {
    #[test]
    fn an_answer_is_private_whatever_the_upstream_says(
        values in prop::collection::vec("(public|private|s-maxage=1|max-age=1|no-store|x=\"[,\\\\a]{0,3}\"|\"|,| ){0,4}", 0..3),
    ) {
        let mut headers = HeaderMap::new();
        for value in &values {
            headers.append("cache-control", HeaderValue::from_str(value).unwrap());
        }
        clean_response(&mut headers);
        let said = headers.get_all("cache-control").iter().map(|value| value.to_str().unwrap());
        let said = said.collect::<Vec<_>>().join(",");
        prop_assert!(said.starts_with("private") || said.contains("no-store"), "{}", said);
        // also for a cache that knows of no quotes
        let shared = |part: &str| ["public", "s-maxage=1"].contains(&part.trim());
        prop_assert!(!said.split(',').any(shared), "{}", said);
        // a new reading finds nothing more to change
        let once = headers.clone();
        clean_response(&mut headers);
        prop_assert_eq!(headers.get("cache-control"), once.get("cache-control"));
    }

    #[test]
    fn a_dropped_header_is_dropped_in_every_spelling(
        listed in prop::sample::select(NOT_THEIRS.to_vec()),
        other in prop::sample::select(vec!['-', '_', '.', '~']),
    ) {
        let name = listed.replace('*', "x").replace('-', &other.to_string());
        prop_assert!(DROPPED.contains(&folded(&name)));
        let left = cleaned(&[(&name, "v")]);
        prop_assert_eq!(left, vec!["cache-control: no-store".to_owned()]);
    }
}
