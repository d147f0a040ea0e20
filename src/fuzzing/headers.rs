//! Header fields of requests, and of the hosts of documents.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::input::header_map;
use crate::clock::Timestamp;
use crate::issuer::{basic, fresh_for};
use crate::wire::accept::weight_of;
use crate::wire::is_media_type;

const FORM: &str = "application/x-www-form-urlencoded";

/// Lines of the form `name: value`.
pub fn headers(data: &[u8]) {
    let headers = header_map(data);
    assert_media_types(&headers);
    assert_basic(&headers);
    crate::inbound::fuzzing::assert_address(&headers);
    crate::gateway::fuzzing::assert_credential(&headers);
    let fresh = fresh_for(&headers, Timestamp(1_800_000_000));
    assert!((Duration::from_mins(5)..=Duration::from_hours(24)).contains(&fresh), "{fresh:?}");
}

fn assert_media_types(headers: &HeaderMap) {
    let weight = weight_of("text/html", headers);
    let names = |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().windows(9).any(|part| part == b"text/html");
    assert!(weight <= 1000);
    assert!(weight == 0 || headers.get_all(ACCEPT).iter().any(names));
    if is_media_type(headers, FORM) {
        assert_eq!(headers.get_all(CONTENT_TYPE).iter().count(), 1);
        assert!(!is_media_type(headers, "application/json"));
    }
}

/// Basic credentials, written again, are the same pair; an empty secret is none.
fn assert_basic(headers: &HeaderMap) {
    for value in headers.get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok()) {
        if let Some((id, secret)) = basic(value) {
            let secret = secret.map(|secret| secret.expose().to_owned());
            assert!(secret.as_deref() != Some(""));
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encode(&id), encode(secret.as_deref().unwrap_or_default()));
            let again = basic(&format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes())));
            let again = again.map(|(id, secret)| (id, secret.map(|secret| secret.expose().to_owned())));
            assert!(again == Some((id, secret)), "written again it is another pair");
        }
    }
}
