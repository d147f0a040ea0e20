//! A browser as far as our pages need one: cookies, forms, `Sec-Fetch-Site`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use portcullis::clock::Timestamp;

use super::gate::{Answer, TestGate};

/// Keeps cookies between requests until they expire.
#[derive(Default, Clone)]
pub struct Browser {
    pub cookies: BTreeMap<String, String>,
    until: BTreeMap<String, Timestamp>,
}

/// A form found on a page.
#[derive(Debug, Clone)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// The only form of a page.
    pub fn on(html: &str) -> Self {
        let start = html.find("<form").unwrap_or_else(|| panic!("no form on the page:\n{html}"));
        let form = &html[start..html[start..].find("</form>").map_or(html.len(), |end| start + end)];
        let tags = |name: &str| form.match_indices(&format!("<{name}")).map(|(at, _)| at).collect::<Vec<_>>();
        let mut fields = Vec::new();
        for at in tags("input") {
            let tag = &form[at..at + form[at..].find('>').unwrap()];
            let unticked = attribute(tag, "type").as_deref() == Some("checkbox") && !tag.contains(" checked");
            if let Some(name) = attribute(tag, "name").filter(|_| !unticked) {
                fields.push((name, attribute(tag, "value").unwrap_or_default()));
            }
        }
        let tag = &form[..form.find('>').unwrap()];
        Self { action: attribute(tag, "action").expect("a form has an action"), fields }
    }

    /// With a field set, as typing or pressing a button does.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The value of an attribute, unescaped.
pub fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(" {name}="))? + name.len() + 2;
    let rest = &tag[start..];
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split([' ', '>', '/']).next()?,
    };
    Some(unescape(value))
}

fn unescape(text: &str) -> String {
    text.replace("&#38;", "&")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

impl Browser {
    /// The same browser with a slow clock, or after it restored a session: it keeps cookies that have expired.
    pub fn slow(&self) -> Self {
        Self { cookies: self.cookies.clone(), until: BTreeMap::new() }
    }

    /// The `Cookie` header that it sends.
    pub fn cookie_header(&mut self, now: Timestamp) -> String {
        self.cookies.retain(|name, _| self.until.get(name).is_none_or(|until| now < *until));
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn remember(&mut self, answer: &Answer, now: Timestamp) {
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let (_, age) = attributes.split_once("Max-Age=").expect("every cookie of ours says how long it lives");
            let age = age.split(';').next().unwrap().parse().unwrap();
            self.until.insert(name.to_owned(), now + Duration::from_secs(age));
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Opens a path of ours.
    pub async fn get(&mut self, gate: &TestGate, path: &str) -> Answer {
        self.get_saying(gate, path, &[]).await
    }

    /// The same with these headers, by which a browser says how it came there.
    pub async fn get_saying(&mut self, gate: &TestGate, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = gate.request("GET", path).header(COOKIE, self.cookie_header(gate.clock.now()));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = gate.send(request, "").await;
        self.remember(&answer, gate.clock.now());
        answer
    }

    /// Opens paths of ours in as many tabs at once, none of which knows the cookies of the others.
    pub async fn get_at_once(&mut self, gate: &TestGate, paths: &[String]) -> Vec<Answer> {
        let tabs = paths.iter().map(|path| {
            let mut tab = self.clone();
            async move { tab.get(gate, path).await }
        });
        let answers = join_all(tabs).await;
        for answer in &answers {
            self.remember(answer, gate.clock.now());
        }
        answers
    }

    /// Submits forms in as many tabs at once.
    pub async fn submit_at_once(&mut self, gate: &TestGate, forms: &[Form]) -> Vec<Answer> {
        let tabs = forms.iter().map(|form| {
            let mut tab = self.clone();
            async move { tab.submit(gate, form).await }
        });
        let answers = join_all(tabs).await;
        for answer in &answers {
            self.remember(answer, gate.clock.now());
        }
        answers
    }

    /// Submits a form of one of our pages.
    pub async fn submit(&mut self, gate: &TestGate, form: &Form) -> Answer {
        self.submit_saying(gate, form, &[("sec-fetch-site", "same-origin"), ("origin", gate.origin())]).await
    }

    /// Posts a form with these headers, by which a browser says where the form came from.
    pub async fn submit_saying(&mut self, gate: &TestGate, form: &Form, headers: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.fields).finish();
        let request = gate
            .request("POST", &form.action)
            .header(COOKIE, self.cookie_header(gate.clock.now()))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = gate.send(request, body).await;
        self.remember(&answer, gate.clock.now());
        answer
    }
}

/// Headers by which a browser says that a form came from another site.
pub const ELSEWHERE: [(&str, &str); 5] = [
    ("origin", "null"),
    ("origin", "https://evil.example"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "same-site"),
    ("sec-fetch-site", "none"),
];

/// The `Location` of a redirect.
pub fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.headers.get(LOCATION).expect("a redirect has a Location").to_str().unwrap().to_owned()
}

/// A parameter of a URL's query.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
