//! Forms and queries, and the values in them.

use crate::oauth::parameters::{Parameters, add_to_query};
use crate::oauth::pkce::{CodeChallenge, CodeVerifier};
use crate::oauth::resource::ResourceUri;
use crate::oauth::scope::{ScopeSet, named_values};

/// The most parameters of a request.
const MOST: usize = 64;
const NAMES: [&str; 9] = [
    "client_id",
    "code",
    "code_challenge",
    "code_verifier",
    "grant_type",
    "redirect_uri",
    "resource",
    "scope",
    "state",
];

/// A form, or the query of an authorization request.
pub fn forms(data: &[u8]) {
    let parameters = Parameters::parse(data);
    let pieces = data.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()).count();
    for name in NAMES {
        let values: Vec<&str> = parameters.all(name).collect();
        match parameters.one(name) {
            Ok(Some(value)) => assert!(values == [value] && !value.is_empty() && pieces <= MOST, "{name}"),
            Ok(None) => assert!(values.is_empty() && pieces <= MOST, "{name}"),
            Err(_) => assert!(pieces > 1, "{name}"),
        }
        assert_prints_and_parses(name, &values);
        for value in values {
            assert_value(value);
        }
    }
    assert_eq!(parameters.none_repeated(&NAMES).is_ok(), NAMES.iter().all(|name| parameters.one(name).is_ok()));
}

/// What was read, written again, reads the same; and it does not disturb a query that it is added to.
fn assert_prints_and_parses(name: &'static str, values: &[&str]) {
    let pairs: Vec<(&str, &str)> = values.iter().map(|value| (name, *value)).collect();
    let uri = add_to_query("https://client.example/callback?own=1", &pairs);
    let query = uri.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let again = Parameters::parse(query.as_bytes());
    assert!(again.all(name).eq(values.iter().copied()) && again.all("own").eq(["1"]), "{uri:?}");
    assert!(!query.contains(['#', '?', ' ']), "{uri:?}");
}

fn assert_value(value: &str) {
    if let Ok(scope) = ScopeSet::parse(value) {
        assert_eq!(ScopeSet::parse(&scope.to_string()).as_ref(), Ok(&scope));
        assert_eq!(named_values(value), scope);
    }
    assert!(ScopeSet::parse(&named_values(value).to_string()).is_ok(), "{value:?}");
    if let Some(verifier) = CodeVerifier::parse(value) {
        let challenge = CodeChallenge::parse(verifier.challenge().as_str());
        assert!(challenge.is_some_and(|challenge| verifier.proves(&challenge)), "{value:?}");
    }
    if let Some(challenge) = CodeChallenge::parse(value) {
        assert_eq!(challenge.as_str(), value);
    }
    if let Ok(resource) = ResourceUri::parse(value) {
        assert_eq!(ResourceUri::parse(resource.as_str()).as_ref(), Ok(&resource));
        assert!(resource.is_same(&resource) && !resource.as_str().contains('#'), "{value:?}");
    }
}
