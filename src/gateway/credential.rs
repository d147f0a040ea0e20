//! The credential of a request: an access token, or an API key where the upstream takes them.
//!
//! Defends against: two credentials in one request (another server might read the other one), and API keys that leak through
//! a URL, a header or a log. Where API keys are off, none is looked for.

use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};

use super::refusal::Refusal;
use crate::config::{ApiKeys, Dpop};
use crate::keys::MAX_ACCESS_TOKEN;
use crate::oauth::dpop::TOKEN_TYPE;
use crate::secret::{ApiKey, Kind, SecretText, Sha256, Token};

/// The longest token of another issuer, in bytes: users in hundreds of groups have long ones. The head of a request has 64 KiB.
const LONGEST: usize = 32 * 1024;

/// The one credential of a request.
#[derive(Debug)]
pub(super) enum Credential<'a> {
    /// An access token, by its form.
    AccessToken(AccessToken<'a>),
    /// An API key whose checksum is right.
    ApiKey(Token<ApiKey>),
}

/// An access token.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccessToken<'a> {
    pub(super) text: &'a str,
    pub(super) scheme: Scheme,
}

/// The scheme of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// RFC 6750 2.1.
    Bearer,
    /// RFC 9449 7.1: with a proof.
    Dpop,
}

impl<'a> Credential<'a> {
    /// The access token, unless it is an API key.
    pub(super) const fn access_token(&self) -> Option<AccessToken<'a>> {
        match self {
            Self::AccessToken(token) => Some(*token),
            Self::ApiKey(_) => None,
        }
    }

    /// Its key in the cache.
    pub(super) fn sha256(&self) -> Sha256 {
        match self {
            Self::AccessToken(token) => Sha256::of(token.text.as_bytes()),
            Self::ApiKey(key) => key.sha256(),
        }
    }
}

/// The key that a query held.
pub(super) enum QueryKey {
    None,
    One(SecretText),
    /// Several: two servers would read different ones.
    Several,
}

/// Which credentials an upstream takes.
#[derive(Clone, Copy)]
pub(super) struct Takes<'a> {
    /// Where API keys may be.
    pub(super) api_keys: &'a ApiKeys,
    /// Whether tokens may be bound to keys.
    pub(super) dpop: Dpop,
    /// What access tokens may look like.
    pub(super) tokens: TokenForms,
}

/// What access tokens may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenForms {
    /// As ours: signed JWTs, none of them long.
    Own,
    /// As those of other issuers: anything that fits a header.
    Any,
}

/// Reads the credential of a request to an upstream that takes these.
///
/// # Errors
/// When there is none, when there are several, or when it is malformed.
pub(super) fn read<'a>(
    headers: &'a HeaderMap,
    Takes { api_keys, dpop, tokens }: Takes<'_>,
    in_query: &QueryKey,
) -> Result<Credential<'a>, Refusal> {
    let authorization = one(headers, &AUTHORIZATION, "more than one Authorization header")?;
    let mut credential = authorization
        .map(|authorization| token_in(authorization, dpop).and_then(|token| check(token, api_keys.bearer, tokens)));
    for name in &api_keys.headers {
        if let Some(key) = one(headers, name, "more than one API key")? {
            set(&mut credential, key)?;
        }
    }
    match in_query {
        QueryKey::None => {}
        QueryKey::One(key) => set(&mut credential, key.expose())?,
        QueryKey::Several => return Err(Refusal::Malformed("more than one API key")),
    }
    credential.unwrap_or(Err(Refusal::NoToken))
}

/// Records an API key as the credential, unless there is one already.
fn set(credential: &mut Option<Result<Credential<'_>, Refusal>>, key: &str) -> Result<(), Refusal> {
    if credential.is_some() {
        return Err(Refusal::Malformed("more than one credential: send an access token or an API key"));
    }
    *credential = Some(api_key(key));
    Ok(())
}

/// The one value of a field.
fn one<'a>(headers: &'a HeaderMap, name: &http::HeaderName, several: &'static str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Malformed(several));
    }
    value.to_str().map(Some).map_err(|_not_text| Refusal::InvalidToken("the header of the credential is not text"))
}

/// The token in an `Authorization` header (RFC 6750 2.1, RFC 9449 7.1).
fn token_in(header: &str, dpop: Dpop) -> Result<AccessToken<'_>, Refusal> {
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    let scheme = if scheme.eq_ignore_ascii_case("bearer") {
        Scheme::Bearer
    } else if dpop.is_on() && scheme.eq_ignore_ascii_case(TOKEN_TYPE) {
        Scheme::Dpop
    } else {
        return Err(Refusal::InvalidToken("the Authorization header is neither Bearer, nor DPoP where that is on"));
    };
    Ok(AccessToken { text: token.trim(), scheme })
}

/// Whether a request to an upstream that takes bound tokens uses DPoP: our responses then do, too.
pub(super) fn speaks_dpop(headers: &HeaderMap, dpop: Dpop) -> bool {
    let is_dpop = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(TOKEN_TYPE.as_bytes())
    };
    dpop.is_on() && headers.get(AUTHORIZATION).is_some_and(is_dpop)
}

fn check(token: AccessToken<'_>, takes_api_keys: bool, tokens: TokenForms) -> Result<Credential<'_>, Refusal> {
    let AccessToken { text, scheme } = token;
    if takes_api_keys && scheme == Scheme::Bearer && text.starts_with(ApiKey::PREFIX) {
        return api_key(text);
    }
    let fits = match tokens {
        TokenForms::Own => text.len() <= MAX_ACCESS_TOKEN && text.bytes().filter(|byte| *byte == b'.').count() == 2,
        TokenForms::Any => text.len() <= LONGEST && text.bytes().all(is_of_token),
    };
    if fits && !text.is_empty() {
        return Ok(Credential::AccessToken(token));
    }
    Err(Refusal::InvalidToken("it has the form of no access token that is accepted here"))
}

/// The characters of a bearer token (RFC 6750 2.1).
const fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// A key with a wrong checksum costs no look-up.
fn api_key(text: &str) -> Result<Credential<'static>, Refusal> {
    Token::parse(text.trim()).map(Credential::ApiKey).ok_or(Refusal::InvalidToken("not an API key of ours"))
}

/// Takes the API key out of a query, so that nothing behind this can log, repeat or forward it. The rest stays as it was
/// written. `None`: there is none.
pub(super) fn take_from_query(uri: &Uri, api_keys: &ApiKeys) -> Option<(Uri, QueryKey)> {
    let query = uri.query().filter(|_| !api_keys.parameters.is_empty())?;
    let is_place = |name: &str| api_keys.parameters.iter().any(|parameter| parameter == name);
    let (mut rest, mut keys) = (String::with_capacity(query.len()), Vec::new());
    // some servers treat `;` as `&`
    for piece in query.split_inclusive(['&', ';']) {
        let pair = piece.trim_end_matches(['&', ';']);
        match form_urlencoded::parse(pair.as_bytes()).next() {
            Some((name, value)) if is_place(&name) => keys.push(SecretText::from(value.into_owned())),
            _ => rest.push_str(piece),
        }
    }
    let mut keys = keys.into_iter();
    let key = keys.next()?;
    let key = if keys.next().is_some() { QueryKey::Several } else { QueryKey::One(key) };
    let rest = rest.trim_end_matches(['&', ';']);
    let target = if rest.is_empty() { uri.path().to_owned() } else { format!("{}?{rest}", uri.path()) };
    let mut parts = uri.clone().into_parts();
    // the characters of a URL that was parsed: if that failed nothing of the query would be left
    parts.path_and_query = PathAndQuery::try_from(target).or_else(|_| PathAndQuery::try_from(uri.path())).ok();
    Some((Uri::from_parts(parts).unwrap_or_default(), key))
}

/// Whether a query holds an API key. Where an upstream takes none there, the request must not be forwarded, and its sender
/// must learn that the key is now in logs.
pub(super) fn is_in_query(query: &str) -> bool {
    query.contains(ApiKey::PREFIX)
        && query
            .split(['&', ';'])
            .filter_map(|pair| form_urlencoded::parse(pair.as_bytes()).next())
            .any(|(_, value)| Token::<ApiKey>::parse(&value).is_some())
}

#[cfg(test)]
mod tests {
    use http::header::{AUTHORIZATION, HeaderName};
    use http::{HeaderMap, HeaderValue, Uri};

    use super::{Credential, QueryKey, Scheme, Takes, TokenForms, is_in_query, read, speaks_dpop, take_from_query};
    use crate::config::{ApiKeys, BoundTokens, Dpop};
    use crate::gateway::refusal::Refusal;
    use crate::secret::{ApiKey, Token};

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        values.iter().map(header).collect()
    }

    fn taking(api_keys: &ApiKeys, dpop: Dpop) -> Takes<'_> {
        Takes { api_keys, dpop, tokens: TokenForms::Own }
    }

    fn everywhere() -> ApiKeys {
        ApiKeys {
            bearer: true,
            headers: vec![HeaderName::from_static("x-api-key"), HeaderName::from_static("x-key")],
            parameters: vec!["code".to_owned()],
        }
    }

    #[test]
    fn one_bearer_is_read_whatever_the_case_of_its_scheme() {
        let bearer = |values: &[&str]| {
            let headers: HeaderMap =
                values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect();
            match read(&headers, taking(&ApiKeys::default(), Dpop::default()), &QueryKey::None) {
                Ok(Credential::AccessToken(token)) => Ok(token.text.to_owned()),
                Ok(Credential::ApiKey(_)) => panic!("an API key"),
                Err(refusal) => Err(refusal),
            }
        };
        assert_eq!(bearer(&["Bearer a.b.c"]).unwrap(), "a.b.c");
        assert_eq!(bearer(&["bearer  a.b.c "]).unwrap(), "a.b.c");
        assert!(matches!(bearer(&[]), Err(Refusal::NoToken)));
        assert!(matches!(bearer(&["Bearer a.b.c", "Bearer a.b.c"]), Err(Refusal::Malformed(_))));
        let long = format!("Bearer a.b.{}", "x".repeat(9000));
        for bad in ["Basic a.b.c", "Bearer", "Bearer ", "Bearer abc", "Bearer a.b", "Bearer a.b.c.d.e", &long] {
            assert!(matches!(bearer(&[bad]), Err(Refusal::InvalidToken(_))), "{bad}");
        }
    }

    #[test]
    fn the_scheme_dpop_is_read_only_where_bound_tokens_are_taken_and_never_for_an_api_key() {
        let key = format!("DPoP {}", Token::<ApiKey>::generate().expose());
        let everywhere = everywhere();
        for (value, tokens, read_as) in [
            ("DPoP a.b.c", BoundTokens::Off, None),
            ("DPoP a.b.c", BoundTokens::Optional, Some(Scheme::Dpop)),
            ("dpop  a.b.c ", BoundTokens::Required, Some(Scheme::Dpop)),
            ("Bearer a.b.c", BoundTokens::Required, Some(Scheme::Bearer)),
            ("DPoPa.b.c", BoundTokens::Required, None),
            (&key, BoundTokens::Optional, None),
        ] {
            let dpop = Dpop { tokens, ..Dpop::default() };
            let headers = headers(&[("authorization", value)]);
            let credential = read(&headers, taking(&everywhere, dpop), &QueryKey::None);
            let token = credential.as_ref().ok().and_then(Credential::access_token);
            assert_eq!(token.map(|token| token.scheme), read_as, "{value} {tokens:?}");
            assert!(token.is_none_or(|token| token.text == "a.b.c"));
            assert_eq!(
                speaks_dpop(&headers, dpop),
                dpop.is_on() && value[..5].eq_ignore_ascii_case("dpop "),
                "{value}"
            );
        }
    }

    #[test]
    fn an_api_key_is_read_only_where_the_upstream_takes_one() {
        let key = Token::<ApiKey>::generate();
        let (bearer, text) = (format!("Bearer {}", key.expose()), key.expose());
        let settings = [ApiKeys::default(), ApiKeys { bearer: true, ..ApiKeys::default() }, everywhere()];
        for (name, value, takers) in [
            ("authorization", bearer.as_str(), [false, true, true]),
            ("x-api-key", text, [false, false, true]),
            ("x-functions-key", text, [false, false, false]),
        ] {
            for (api_keys, takes) in settings.iter().zip(takers) {
                let headers = headers(&[(name, value)]);
                let credential = read(&headers, taking(api_keys, Dpop::default()), &QueryKey::None);
                assert_eq!(matches!(credential, Ok(Credential::ApiKey(_))), takes, "{name} {api_keys:?}");
            }
        }
    }

    #[test]
    fn two_credentials_are_refused_wherever_they_are() {
        let key = Token::<ApiKey>::generate();
        let text = key.expose();
        let in_query = |text: &str| QueryKey::One(text.to_owned().into());
        let api_keys = everywhere();
        let bearer = ("authorization", "Bearer a.b.c");
        for (fields, query) in [
            (vec![bearer, ("x-api-key", text)], QueryKey::None),
            (vec![("x-api-key", text), ("x-api-key", text)], QueryKey::None),
            (vec![("x-api-key", text), ("x-key", text)], QueryKey::None),
            (vec![("authorization", "Basic eA=="), ("x-api-key", text)], QueryKey::None),
            (vec![bearer], in_query(text)),
            (vec![("x-api-key", text)], in_query(text)),
            (vec![], QueryKey::Several),
        ] {
            let headers = headers(&fields);
            let refused = read(&headers, taking(&api_keys, Dpop::default()), &query);
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{fields:?}");
        }
    }

    #[test]
    fn a_key_is_taken_out_of_the_query_and_the_rest_stays_as_it_was_written() {
        let api_keys = everywhere();
        for (query, rest, several) in [
            ("code=pck_x", None, false),
            ("a=%20b&code=pck_x&c", Some("a=%20b&c"), false),
            ("a=1;c%6fde=pck_x;b=2", Some("a=1;b=2"), false),
            ("code=pck_x&a=1", Some("a=1"), false),
            ("a=1&code=pck_x", Some("a=1"), false),
            ("code=pck_x&code=pck_y", None, true),
        ] {
            let uri: Uri = format!("http://h/mcp?{query}").parse().unwrap();
            let (left, key) = take_from_query(&uri, &api_keys).unwrap();
            assert_eq!((left.path(), left.query()), ("/mcp", rest), "{query}");
            assert_eq!(matches!(key, QueryKey::Several), several, "{query}");
        }
        for none in ["", "a=code", "Code=1", "codes=1"] {
            assert!(take_from_query(&format!("/mcp?{none}").parse().unwrap(), &api_keys).is_none(), "{none}");
        }
        assert!(take_from_query(&"/mcp?code=pck_x".parse().unwrap(), &ApiKeys::default()).is_none());
    }

    #[test]
    fn a_real_key_in_a_query_is_recognised_under_any_name() {
        let key = Token::<ApiKey>::generate();
        let text = key.expose();
        assert!(is_in_query(&format!("a=1&k={text}")) && is_in_query(&format!("a;%6b=%70ck_{}&pck_", &text[4..])));
        assert!(!is_in_query("a=pck_abc&b") && !is_in_query("pck_"));
    }
}
