//! What several tables hold in the same columns, and the step from a column to a type.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use crate::clock::Timestamp;
use crate::model::authorization::ProviderStanding;
use crate::oauth::scope::ScopeSet;
use crate::secret::Sha256;

/// How an authorization or a grant stands with the identity provider.
#[derive(sqlx::FromRow)]
pub(super) struct StandingRow {
    #[sqlx(rename = "provider_token")]
    sealed_token: Option<Vec<u8>>,
    #[sqlx(rename = "provider_offline")]
    offline: bool,
    #[sqlx(rename = "provider_ends_at")]
    ends_at: Option<i64>,
    #[sqlx(rename = "provider_renewable")]
    renewable: bool,
}

impl From<StandingRow> for ProviderStanding {
    fn from(row: StandingRow) -> Self {
        Self {
            sealed_token: row.sealed_token,
            offline: row.offline,
            ends_at: row.ends_at.map(Timestamp),
            renewable: row.renewable,
        }
    }
}

/// A column's name, for the error when it holds what this program never wrote.
#[derive(Clone, Copy)]
pub(super) struct Column(pub(super) &'static str, pub(super) &'static str);

impl Column {
    pub(super) fn corrupt(self) -> StoreError {
        StoreError::Corrupt { table: self.0, column: self.1 }
    }

    pub(super) fn sha256(self, bytes: &[u8]) -> Result<Sha256, StoreError> {
        Sha256::from_slice(bytes).ok_or_else(|| self.corrupt())
    }

    pub(super) fn scope(self, text: &str) -> Result<ScopeSet, StoreError> {
        ScopeSet::parse(text).map_err(|_malformed| self.corrupt())
    }

    pub(super) fn json<T: DeserializeOwned>(self, text: &str) -> Result<T, StoreError> {
        // the parser's words may quote the text, and with it somebody's name
        serde_json::from_str(text).map_err(|_malformed| self.corrupt())
    }
}

/// A value as a JSON text.
pub(super) fn json(value: &(impl Serialize + Sync)) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}
