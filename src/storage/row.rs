//! Reads rows into nouns. Each noun implements [`FromRow`] in its own file; this file depends on none of them.

use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Row as _};

use super::error::{Failure, StoreError};
use super::nul::unescape;
use crate::clock::Timestamp;
use crate::model::authorization::ProviderStanding;
use crate::oauth::scope::ScopeSet;
use crate::secret::Sha256;

/// A row of either engine.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A type that is read from a row.
pub(super) trait FromRow: Sized {
    fn from_row(row: &Row) -> Result<Self, Failure>;
}

/// A type that is read from a column.
pub(super) trait Readable: Sized {
    fn read<I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>>(row: &Row, column: I) -> Result<Self, sqlx::Error>;
}

macro_rules! readable {
    ($($type:ty $(, $decode:expr)?;)+) => {
        $(
            impl Readable for $type {
                fn read<I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>>(row: &Row, column: I) -> Result<Self, sqlx::Error> {
                    match row {
                        Row::Sqlite(row) => row.try_get(column),
                        Row::Postgres(row) => row.try_get::<Self, I>(column)$(.map($decode))?,
                    }
                }
            }

            impl FromRow for $type {
                /// The first column, whatever its name.
                fn from_row(row: &Row) -> Result<Self, Failure> {
                    Ok(Self::read(row, 0)?)
                }
            }
        )+
    };
}

readable! {
    String, unescape;
    Option<String>, |text| text.map(unescape);
    i64;
    Option<i64>;
    bool;
    Vec<u8>;
    Option<Vec<u8>>;
}

impl Row {
    /// The columns, as those of this table: an error about one of them names it.
    pub(super) const fn of(&self, table: &'static str) -> Columns<'_> {
        Columns { row: self, table }
    }
}

/// The columns of a row, and the types that several tables hold in them.
#[derive(Clone, Copy)]
pub(super) struct Columns<'r> {
    row: &'r Row,
    table: &'static str,
}

impl Columns<'_> {
    pub(super) fn corrupt(self, column: &'static str) -> Failure {
        StoreError::Corrupt { table: self.table, column }.into()
    }

    pub(super) fn get<T: Readable>(self, column: &'static str) -> Result<T, Failure> {
        T::read(self.row, column).map_err(|error| match error {
            sqlx::Error::ColumnDecode { .. } => self.corrupt(column),
            other => other.into(),
        })
    }

    pub(super) fn text(self, column: &'static str) -> Result<String, Failure> {
        self.get(column)
    }

    pub(super) fn time(self, column: &'static str) -> Result<Timestamp, Failure> {
        self.get(column).map(Timestamp)
    }

    pub(super) fn optional_time(self, column: &'static str) -> Result<Option<Timestamp>, Failure> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp))
    }

    pub(super) fn sha256(self, column: &'static str) -> Result<Sha256, Failure> {
        self.optional_sha256(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(super) fn optional_sha256(self, column: &'static str) -> Result<Option<Sha256>, Failure> {
        let bytes: Option<Vec<u8>> = self.get(column)?;
        bytes.map(|bytes| Sha256::from_slice(&bytes).ok_or_else(|| self.corrupt(column))).transpose()
    }

    pub(super) fn scope(self, column: &'static str) -> Result<ScopeSet, Failure> {
        self.optional_scope(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(super) fn optional_scope(self, column: &'static str) -> Result<Option<ScopeSet>, Failure> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| ScopeSet::parse(&text).map_err(|_malformed| self.corrupt(column))).transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(self, column: &'static str) -> Result<T, Failure> {
        self.optional_json(column)?.ok_or_else(|| self.corrupt(column))
    }

    pub(super) fn optional_json<T: DeserializeOwned>(self, column: &'static str) -> Result<Option<T>, Failure> {
        let text: Option<String> = self.get(column)?;
        // the parser's message may quote the text, and with it a user's name
        text.map(|text| serde_json::from_str(&text).map_err(|_malformed| self.corrupt(column))).transpose()
    }

    /// The standing of an authorization or a grant with the identity provider.
    pub(super) fn standing(self) -> Result<ProviderStanding, Failure> {
        Ok(ProviderStanding {
            sealed_token: self.get("provider_token")?,
            offline: self.get("provider_offline")?,
            ends_at: self.optional_time("provider_ends_at")?,
            renewable: self.get("provider_renewable")?,
            line: self.get("provider_line")?,
            session: self.optional_sha256("provider_session")?,
        })
    }
}
