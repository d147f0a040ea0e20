//! For `crate::fuzzing`: what a request proves itself with.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Uri};

use super::credential::{Credential, QueryKey, Scheme, Takes, TokenForms, is_in_query, read, take_from_query};
use crate::config::{ApiKeys, BoundTokens, Dpop};
use crate::secret::{ApiKey, Token};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The target of a request: a path and its query.
pub(crate) fn queries(data: &[u8]) {
    let Ok(uri) = Uri::try_from(data) else { return };
    let api_keys =
        ApiKeys { bearer: false, headers: vec![API_KEY], parameters: vec!["key".to_owned(), "code".to_owned()] };
    let Some((rest, key)) = take_from_query(&uri, &api_keys) else {
        assert!(!names_a_key(uri.query().unwrap_or_default()), "{uri}");
        return;
    };
    assert_eq!(uri.path(), rest.path());
    assert_eq!(uri.authority(), rest.authority());
    assert!(take_from_query(&rest, &api_keys).is_none(), "{uri} leaves {rest}");
    assert!(!names_a_key(rest.query().unwrap_or_default()), "{uri} leaves {rest}");
    if let QueryKey::One(key) = key
        && Token::<ApiKey>::parse(key.expose()).is_some()
    {
        assert!(is_in_query(uri.query().unwrap_or_default()), "{uri}");
    }
}

/// Whether a server behind us would find one of the parameters.
fn names_a_key(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "key" || name == "code")
}

/// Whether a key is noticed in a query, whatever its name there.
pub(crate) fn is_recognised_in_a_query(key: &str) -> bool {
    is_in_query(&format!("a=1&b={key}"))
}

/// One credential at most is read, and from no other place than the upstream's.
pub(crate) fn assert_credential(headers: &HeaderMap) {
    let everywhere = ApiKeys { bearer: true, headers: vec![API_KEY], parameters: Vec::new() };
    let bound = Dpop { tokens: BoundTokens::Optional, ..Dpop::default() };
    let sent = |name: &HeaderName| headers.get_all(name).iter().count();
    if let Ok(credential) = read(headers, takes(&ApiKeys::default(), Dpop::default(), TokenForms::Own), &QueryKey::None)
    {
        let token = credential.access_token();
        assert!(token.is_some_and(|token| token.scheme == Scheme::Bearer), "API keys and bound tokens are off");
        assert_eq!(sent(&AUTHORIZATION), 1);
    }
    if let Ok(credential) = read(headers, takes(&everywhere, bound, TokenForms::Own), &QueryKey::None) {
        assert_eq!(sent(&AUTHORIZATION) + sent(&API_KEY), 1);
        if let Credential::AccessToken(token) = credential {
            assert_eq!(token.text.bytes().filter(|byte| *byte == b'.').count(), 2);
        }
    }
    if let Ok(Credential::AccessToken(token)) =
        read(headers, takes(&ApiKeys::default(), bound, TokenForms::Any), &QueryKey::None)
    {
        assert!(!token.text.is_empty() && token.text.len() <= 32 * 1024 && token.text.is_ascii());
        assert!(!token.text.contains([' ', ',', '"']));
    }
}

const fn takes(api_keys: &ApiKeys, dpop: Dpop, tokens: TokenForms) -> Takes<'_> {
    Takes { api_keys, dpop, tokens }
}
