//! The parameters of a statement: values of the four types of the schema. Every value carries its type, a NULL too, so that
//! both engines read a statement in the same way.

use std::borrow::Cow;

use serde::Serialize;

use super::error::Failure;
use crate::clock::Timestamp;
use crate::secret::Sha256;

/// A value for a `$n` of a statement, or a NULL of its type.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// `TEXT`.
    Text(Option<Cow<'a, str>>),
    /// `BIGINT`.
    Integer(Option<i64>),
    /// `BOOLEAN`.
    Boolean(Option<bool>),
    /// `BLOB` or `BYTEA`.
    Bytes(Option<&'a [u8]>),
}

/// The values of a statement, in the order of its `$n`.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$($crate::storage::value::Value::from($value)),*]
    };
}
pub(super) use values;

macro_rules! from {
    ($($type:ty: $value:ident => $into:expr;)+) => {
        $(impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self {
                $into
            }
        })+
    };
}

from! {
    &'a str: text => Self::Text(Some(Cow::Borrowed(text)));
    &'a String: text => Self::Text(Some(Cow::Borrowed(text)));
    String: text => Self::Text(Some(Cow::Owned(text)));
    Option<&'a str>: text => Self::Text(text.map(Cow::Borrowed));
    Option<String>: text => Self::Text(text.map(Cow::Owned));
    i64: number => Self::Integer(Some(number));
    Timestamp: at => Self::Integer(Some(at.0));
    Option<Timestamp>: at => Self::Integer(at.map(|at| at.0));
    bool: truth => Self::Boolean(Some(truth));
    &'a [u8]: bytes => Self::Bytes(Some(bytes));
    Option<&'a [u8]>: bytes => Self::Bytes(bytes);
    &'a Sha256: hash => Self::Bytes(Some(hash.as_bytes()));
    Option<&'a Sha256>: hash => Self::Bytes(hash.map(|hash| hash.as_bytes().as_slice()));
}

/// A value as a JSON text.
pub(super) fn json(value: &(impl Serialize + Sync)) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()).into())
}
