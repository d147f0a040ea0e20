//! Errors of deserialization. They name what was expected, never the value that was found, which may be a secret.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use super::problem::{Mistake, nearest};

/// Why a table does not fit the struct of its section.
#[derive(Debug)]
pub(super) struct ShapeError {
    pub(super) mistake: Mistake,
    pub(super) kind: ShapeErrorKind,
}

/// The kind of mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShapeErrorKind {
    /// A value is of the wrong type.
    Value,
    /// An unknown key, with the known ones.
    UnknownKey(&'static [&'static str]),
    /// A required key is missing.
    MissingKey(&'static str),
}

impl ShapeError {
    pub(super) const fn new(mistake: Mistake) -> Self {
        Self { mistake, kind: ShapeErrorKind::Value }
    }

    pub(super) fn expected(expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let words = match expected.as_str() {
            "a string" | "path string" => "a string in quotes",
            "a boolean" => "true or false",
            "a sequence" => "a list in [ ]",
            "newtype variant" => "a table",
            "u32" => "a whole number from 1 to 4294967295",
            "i64" => "a whole number",
            other if other.starts_with("struct ") => "a table",
            other if other.starts_with("tuple struct ") => "a list in [ ]",
            other => other,
        };
        Self::new(Mistake::new(format!("must be {words}")))
    }

    pub(super) fn one_of(variants: &[&str]) -> Self {
        let quoted: Vec<_> = variants.iter().map(|variant| format!("\"{variant}\"")).collect();
        let (joined, one_of) =
            if quoted.len() > 2 { (quoted.join(", "), "one of ") } else { (quoted.join(" or "), "") };
        Self::new(Mistake::new(format!("must be {one_of}{joined}")))
    }
}

impl Error for ShapeError {
    /// For messages of our own types, which contain no value either.
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self::new(Mistake::new(words.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn unknown_variant(written: &str, variants: &'static [&'static str]) -> Self {
        let mut error = Self::one_of(variants);
        if let Some(meant) = nearest(written, variants) {
            error.mistake = error.mistake.hint(format!("did you mean \"{meant}\"?"));
        }
        error
    }

    fn unknown_field(written: &str, known: &'static [&'static str]) -> Self {
        // a key with other characters than our keys have may be a misplaced secret
        let could_be_a_key = written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let mistake = if could_be_a_key {
            unknown_key(written, known)
        } else {
            Mistake::new("has an unknown key").hint(format!("known keys are {}", known.join(", ")))
        };
        Self { mistake, kind: ShapeErrorKind::UnknownKey(known) }
    }

    fn missing_field(field: &'static str) -> Self {
        let example = match field {
            "id" => "add a short name such as id = \"main\"",
            "path" => "add path = \"/mcp\": public_url and this path are the server's URL in clients",
            "url" => "add url = \"http://127.0.0.1:8420/mcp\": where the MCP server listens",
            "kind" => "add kind = \"keycloak\" or \"entra\", or \"oidc\" for any other OpenID Connect provider",
            "tenant" => "add tenant = \"…\": the Directory (tenant) ID of the app registration",
            "issuer" => "add issuer = \"https://sso.example.com/realms/mcp\": the provider's own name for itself",
            "client_id" => "add client_id = \"…\"",
            "redirect_uris" => {
                "add redirect_uris = [\"http://localhost:6274/oauth/callback\"]: where codes may be sent"
            }
            _ => "",
        };
        let mistake = Mistake::new(format!("\"{field}\" is missing"));
        let mistake = if example.is_empty() { mistake } else { mistake.hint(example) };
        Self { mistake, kind: ShapeErrorKind::MissingKey(field) }
    }
}

/// Suggests the key that was probably meant, or lists the known ones.
pub(super) fn unknown_key(written: &str, known: &[&str]) -> Mistake {
    let mistake = Mistake::new(format!("unknown key {written:?}"));
    match nearest(written, known) {
        Some(meant) => mistake.hint(format!("did you mean \"{meant}\"?")),
        None => mistake.hint(format!("known keys are {}", known.join(", "))),
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mistake.what)
    }
}

impl std::error::Error for ShapeError {}
