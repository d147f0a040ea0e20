//! Scopes in words.

use askama::Template;

use crate::issuer::AccessView;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};

/// One scope on the page: its text if it has one, otherwise its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = "{% match self %}{% when Self::Known(words) %}{{ words }}{% when Self::Foreign(value) %}<code>{{ value }}</code>{% endmatch %}"
)]
pub(super) enum Meaning<'a> {
    Known(&'a str),
    Foreign(&'a str),
}

const STAY: &str = "stay connected while you are away, until access is revoked";

/// What a client may do, in the order of the page.
const GRANTED: [(&str, &str); 2] =
    [("mcp:access", "call its tools and read what it offers, on your behalf"), (OFFLINE_ACCESS, STAY)];

/// What an identity provider reveals (OpenID Connect Core 5.4 and 11).
const ASKED: [(&str, &str); 8] = [
    ("openid", "who you are"),
    ("profile", "your name"),
    ("email", "your email address"),
    ("phone", "your telephone number"),
    ("address", "your postal address"),
    ("groups", "your groups"),
    ("roles", "your roles"),
    (OFFLINE_ACCESS, "whether your account is still active while you are away"),
];

/// What a grant allows: the operator's texts first, in their order. Never empty: every grant allows entering.
pub(super) fn granted(access: &AccessView) -> Vec<Meaning<'_>> {
    let AccessView { scope, scope_texts: texts, refresh, resource_name: _ } = access;
    let own = texts.iter().map(|own| (own.value.as_str(), own.text.as_str()));
    let ours = GRANTED.into_iter().filter(|(value, _)| texts.iter().all(|own| own.value != *value));
    let mut meanings = in_words(&own.chain(ours).collect::<Vec<_>>(), scope);
    let stay = Meaning::Known(STAY);
    if *refresh && !meanings.contains(&stay) {
        meanings.push(stay);
    }
    if scope.without(&ScopeSet::empty().with(OFFLINE_ACCESS)).is_empty() {
        meanings.insert(0, Meaning::Known("use it on your behalf"));
    }
    meanings
}

/// What the provider is asked for; empty for the built-in provider.
pub(super) fn asked(scope: &ScopeSet) -> Vec<Meaning<'_>> {
    in_words(&ASKED, scope)
}

fn in_words<'a>(dictionary: &[(&str, &'a str)], scope: &'a ScopeSet) -> Vec<Meaning<'a>> {
    let known = dictionary.iter().filter(|(value, _)| scope.contains(value)).map(|(_, words)| Meaning::Known(words));
    let is_foreign = |value: &&str| !dictionary.iter().any(|(known, _)| known == value);
    known.chain(scope.iter().filter(is_foreign).map(Meaning::Foreign)).collect()
}
