//! A URL of a database, and where it was found: only a URL that comes from outside the file may contain a password.

use serde::Deserialize;

use super::needs::SecretFor;
use super::problem::Location;
use super::reading::{Reading, ValueRef};
use super::secret_source::SecretSource;
use crate::secret::SecretText;

/// A URL, or where to find one that contains a password.
#[derive(Deserialize)]
#[serde(untagged, expecting = "must be a URL in quotes, { file = \"…\" } or { env = \"…\" }")]
pub(super) enum WrittenUrl {
    Text(String),
    Source(SecretSource),
}

/// A URL as it was found, and whether it may contain a password.
pub(super) struct FoundUrl {
    pub(super) text: SecretText,
    pub(super) may_have_password: bool,
}

impl WrittenUrl {
    pub(super) fn find(self, at: &ValueRef, reading: &mut Reading<'_>) -> Option<FoundUrl> {
        match self {
            // a variable that overrides the file is no part of the file
            Self::Text(text) => {
                Some(FoundUrl { text: text.into(), may_have_password: matches!(at.location, Location::Variable(_)) })
            }
            Self::Source(source) => {
                let text = reading.secret(at, SecretFor::Storage, &source)?;
                Some(FoundUrl { text, may_have_password: true })
            }
        }
    }
}

impl FoundUrl {
    /// Whether it names a PostgreSQL server.
    pub(super) fn is_postgres(&self) -> bool {
        let url = self.text.expose();
        url.starts_with("postgres:") || url.starts_with("postgresql:")
    }
}
