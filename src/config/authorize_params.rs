//! `authorize_params` of `[[identity]]`: parameters that a provider wants at its authorization endpoint besides ours.

use std::collections::BTreeMap;

use super::problem::Mistake;
use super::reading::{Reading, Section};

const KEY: &str = "authorize_params";

/// Keycloak drops a parameter of 4,000 characters and more without a word, and a URL has to pass through browsers and proxies.
const MAX_LENGTH: usize = 4000;

/// Parameters that are ours: they bind the provider's answer to the browser, to the sign-in and to us.
const OURS: [&str; 12] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "dpop_jkt",
    "nonce",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// Parameters that prove who we are (RFC 6749 2.3.1, RFC 7521 4.2).
const SECRETS: [&str; 2] = ["client_assertion", "client_secret"];

/// Checks the parameters, and returns them in the order of their names.
pub(super) fn read(
    written: Option<BTreeMap<String, String>>,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Vec<(String, String)> {
    let written = written.unwrap_or_default();
    for (name, value) in &written {
        reading.keep(&section.nested_key(KEY, name), check_name(name));
        reading.keep(&section.nested(KEY, name), check_value(value));
    }
    let length: usize = written.iter().map(|(name, value)| name.len() + value.len()).sum();
    if length >= MAX_LENGTH {
        let mistake = Mistake::new(format!("has {length} characters in all: at most {} are possible", MAX_LENGTH - 1));
        reading.error(&section.at(KEY), mistake.hint("providers and proxies drop longer ones"));
    }
    written.into_iter().collect()
}

fn check_name(name: &str) -> Result<(), Mistake> {
    if OURS.contains(&name) {
        let mistake = Mistake::new("is set by Portcullis for each sign-in");
        return Err(match name {
            "scope" => mistake.hint("write the scopes to request into `scopes`"),
            "client_id" => mistake.hint("write it into `client_id`"),
            _ => mistake.hint("remove it"),
        });
    }
    if SECRETS.contains(&name) {
        let mistake = Mistake::new("must not be in a URL, which browsers and logs keep");
        return Err(mistake.hint("write the secret into `client_secret`"));
    }
    // RFC 6749 appendix A.4 and the like: parameter names are letters, digits and -._
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(Mistake::new("a parameter's name has only letters, digits, \"-\", \".\" and \"_\""));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), Mistake> {
    if value.trim().is_empty() {
        return Err(Mistake::new("is empty"));
    }
    if value.chars().any(char::is_control) {
        return Err(Mistake::new("has a control character"));
    }
    Ok(())
}
