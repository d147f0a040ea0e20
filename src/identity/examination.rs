//! What a provider answers to the questions of `portcullis doctor`: facts, from which `doctor` concludes what is wrong.

use std::time::Duration;

use http::header::{AGE, DATE, LOCATION};
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::Value;
use url::Url;

use super::entra::Aadsts;
use super::generic::Meaning;
use crate::outbound::{Diagnosis, Fetched};
use crate::telemetry::excerpt;

/// All that was asked of a provider, and what it answered.
#[derive(Debug, Clone)]
pub(crate) struct Examination {
    /// The answer at the address of the metadata.
    pub(crate) discovery: Result<Head, Diagnosis>,
    /// The metadata; null when the answer was not JSON.
    pub(crate) document: Value,
    /// The issuer that the metadata name, where it is not the configured one.
    pub(crate) other_issuer: Option<String>,
    /// Why sign-ins cannot use the metadata; `None` when they can.
    pub(crate) unusable: Option<Diagnosis>,
    /// What only a provider with usable metadata is asked: our secret goes to no other.
    pub(crate) beyond: Option<Beyond>,
}

/// What is asked at the endpoints that the metadata name.
#[derive(Debug, Clone)]
pub(crate) struct Beyond {
    /// Why its keys cannot be used.
    pub(crate) keys: Result<(), NoKeys>,
    /// The authorization request of a sign-in, without a user.
    pub(crate) visit: Result<Visit, Diagnosis>,
    /// The scopes that it refuses when each is asked for alone; asked only where it refused them together.
    pub(crate) refused_scopes: Vec<String>,
    /// Why there is nothing that proves who we are.
    pub(crate) no_credential: Option<Diagnosis>,
    /// The answer to a code that it never issued.
    pub(crate) code: TokenAnswer,
    /// The answer to a refresh token that it never issued; `None` where refresh tokens are not used.
    pub(crate) refresh_token: Option<TokenAnswer>,
    /// Whether a made-up secret is as good as ours.
    pub(crate) accepts_any_secret: bool,
}

/// An answer without its body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    /// Where it redirects to.
    pub(crate) location: Option<String>,
    /// What it says that the time is.
    pub(crate) date: Option<String>,
    /// How long a cache has kept it.
    pub(crate) age: Duration,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Why keys cannot be used.
#[derive(Debug, Clone)]
pub(crate) enum NoKeys {
    /// There is no answer, or another than 200.
    Unread(Diagnosis),
    /// There is one, and no key in it that could sign.
    Unusable(String),
}

/// Where an authorization request without a user ends.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) status: StatusCode,
    pub(crate) end: VisitEnd,
}

#[derive(Debug, Clone)]
pub(crate) enum VisitEnd {
    /// Back at our redirect URI with an error.
    Back { error: String, description: String },
    /// Back at our redirect URI without one.
    BackWithCode,
    /// At another address of the provider, such as its sign-in page.
    Elsewhere,
    /// On a page: the beginning of its text.
    Page(String),
}

/// An answer of the token endpoint.
#[derive(Debug, Clone)]
pub(crate) enum TokenAnswer {
    /// An error document: its code, what it means, and all of it with a hint.
    Refused { error: String, meaning: Meaning, said: Diagnosis },
    /// No answer, or none that a token endpoint gives.
    Unclear(Diagnosis),
    /// It accepted what it never issued.
    Accepted,
}

/// The number in an error of Microsoft Entra ID, and what we know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntraNumber {
    pub(crate) number: u32,
    pub(crate) said: String,
    pub(crate) hint: Option<&'static str>,
}

impl EntraNumber {
    /// The first number in a text.
    pub(crate) fn find(text: &str) -> Option<Self> {
        let (at, _) = text.match_indices("AADSTS").find(|(at, _)| {
            text.get(at + "AADSTS".len()..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })?;
        let from = text.get(at..)?;
        let until = from.char_indices().nth(1000).map_or(from.len(), |(end, _)| end);
        let said = Aadsts::read(from.get(..until)?, &[])?;
        Some(Self { number: said.number(), said: said.to_string(), hint: said.hint() })
    }
}

impl Head {
    pub(super) fn of(fetched: &Fetched, took: Duration) -> Self {
        let text = |name| text(&fetched.headers, &name);
        Self {
            status: fetched.status,
            location: text(LOCATION),
            date: text(DATE),
            age: Duration::from_secs(text(AGE).and_then(|age| age.parse().ok()).unwrap_or_default()),
            took,
        }
    }
}

impl Visit {
    /// Where an answer to an authorization request leads. `redirect_uri` is the one of the request.
    pub(super) fn of(fetched: &Fetched, redirect_uri: &str) -> Self {
        let end = match text(&fetched.headers, &LOCATION).filter(|_| fetched.status.is_redirection()) {
            Some(location) => back(&location, redirect_uri).unwrap_or(VisitEnd::Elsewhere),
            None => VisitEnd::Page(words(&String::from_utf8_lossy(&fetched.body))),
        };
        Self { status: fetched.status, end }
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn back(location: &str, redirect_uri: &str) -> Option<VisitEnd> {
    let rest = location.strip_prefix(redirect_uri)?;
    let url = Url::parse(location).ok()?;
    // some errors come in the fragment
    let fragment = url.fragment().unwrap_or_default().as_bytes();
    let pairs: Vec<_> = url.query_pairs().chain(form_urlencoded::parse(fragment)).collect();
    let value = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_string());
    match value("error") {
        Some(error) => Some(VisitEnd::Back { error, description: value("error_description").unwrap_or_default() }),
        None if rest.starts_with(['?', '#']) => Some(VisitEnd::BackWithCode),
        None => None,
    }
}

/// How much of a page's text is collected, in bytes.
const LONGEST_TEXT: usize = 4096;

/// What a person reads on a page; a number of Entra ID, which stands in a script there, comes first.
fn words(html: &str) -> String {
    if let Some(EntraNumber { said, .. }) = EntraNumber::find(html) {
        return said;
    }
    // the same bytes at the same places
    let lower = html.to_ascii_lowercase();
    let (mut words, mut at) = (String::new(), 0);
    while let Some(before) = html.get(at..).and_then(|rest| rest.split_once('<')).map(|(before, _)| before) {
        push_words(&mut words, before);
        let tag = at + before.len() + 1;
        let name = lower.get(tag..).unwrap_or_default();
        let hidden = ["script", "style", "head"].into_iter().find(|hidden| {
            name.strip_prefix(hidden).is_some_and(|rest| rest.starts_with(|c: char| !c.is_ascii_alphanumeric()))
        });
        // without an end, all that follows is hidden
        let end = hidden.map_or(Some(0), |hidden| name.find(&format!("</{hidden}")));
        let close = end.and_then(|end| Some(end + name.get(end..)?.find('>')?));
        at = close.map_or(html.len(), |close| tag + close + 1);
        if words.len() > LONGEST_TEXT {
            break;
        }
    }
    push_words(&mut words, html.get(at..).unwrap_or_default());
    excerpt(&words).into_owned()
}

fn push_words(words: &mut String, text: &str) {
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::{EntraNumber, Visit, VisitEnd, words};
    use crate::outbound::Fetched;

    const REDIRECT_URI: &str = "https://mcp.example.com/callback/keycloak";

    fn visit(status: u16, location: &str, body: &'static str) -> VisitEnd {
        let headers = [("location", location)].into_iter().filter(|(_, value)| !value.is_empty());
        let headers: HeaderMap = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let fetched = Fetched {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from_static(body.as_bytes()),
        };
        Visit::of(&fetched, REDIRECT_URI).end
    }

    #[test]
    fn an_answer_to_an_authorization_request_ends_at_our_address_or_elsewhere() {
        let back = visit(302, &format!("{REDIRECT_URI}?error=invalid_scope&error_description=Invalid+scopes"), "");
        assert!(
            matches!(back, VisitEnd::Back { error, description } if error == "invalid_scope" && description == "Invalid scopes")
        );
        let back = visit(302, &format!("{REDIRECT_URI}#error=unauthorized_client"), "");
        assert!(matches!(back, VisitEnd::Back { error, .. } if error == "unauthorized_client"));
        assert!(matches!(visit(302, &format!("{REDIRECT_URI}?code=1"), ""), VisitEnd::BackWithCode));
        for elsewhere in
            ["/login", "https://sso.example.com/login?x", "https://mcp.example.com/callback/keycloak2?error=x"]
        {
            let end = visit(302, elsewhere, "");
            assert!(!matches!(end, VisitEnd::BackWithCode | VisitEnd::Page(_)), "{elsewhere}");
        }
        assert!(matches!(visit(400, "", "<p>We are sorry"), VisitEnd::Page(text) if text == "We are sorry"));
    }

    #[test]
    fn a_page_is_what_a_person_reads() {
        let page = "<!doctype html><head><title>T</title></head><script>var a = '<b>';</script><h1>We are\n  sorry</h1>\
                    <style>p { }</style><p id=x>Invalid parameter: redirect_uri</p>";
        assert_eq!(words(page), "We are sorry Invalid parameter: redirect_uri");
        assert_eq!(words("plain"), "plain");
        assert_eq!(words("seen <script>never closed"), "seen");
        assert!(words(&"<b>".repeat(300_000)).is_empty());
        assert!(words(&"x".repeat(100_000)).len() < 500);
    }

    #[test]
    fn a_number_of_entra_is_found_in_the_script_of_its_page() {
        let page = "<script>$Config={\"strServiceExceptionMessage\":\"AADSTS50011: The redirect URI does not match.\"}</script>";
        let found = EntraNumber::find(page).unwrap();
        assert_eq!((found.number, found.hint.is_some()), (50011, true));
        assert!(words(page).starts_with("AADSTS50011: The redirect URI does not match."));
        assert_eq!(EntraNumber::find("AADSTS without a number"), None);
    }
}
