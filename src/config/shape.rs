//! From the tree to the structs of the sections: every table and list entry by itself, so that one mistake hides no other.
//!
//! The deserializer is ours for two reasons. Its errors name what was expected and never what was found, which may be a
//! secret. And the text of an environment variable becomes what its key wants: a number, a list, the source of a secret.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_path_to_error::Segment;

use super::document::{Node, Value, parse_list};
use super::problem::Place;
use super::secret_source::{SECRET_SOURCE, SECRET_SOURCES, inline_secret, no_source};
use super::shape_error::{Cause, ShapeError};

/// A mistake of shape and where it was made.
pub(super) struct Misshapen {
    pub(super) place: Place,
    /// The key inside the table, as `scopes[1]`; empty for the table itself.
    pub(super) key: String,
    pub(super) error: ShapeError,
}

/// Reads one table.
pub(super) fn read<T: DeserializeOwned>(table: &Node) -> Result<T, Misshapen> {
    serde_path_to_error::deserialize(table).map_err(|error| {
        let path: Vec<_> = error.path().iter().cloned().collect();
        Misshapen { place: locate(table, &path), key: key(&path), error: error.into_inner() }
    })
}

/// The keys that a struct has. It must deny unknown ones, for it is asked for one.
pub(super) fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    match T::deserialize(MapDeserializer::<_, ShapeError>::new(std::iter::once(("", ())))) {
        Err(ShapeError { cause: Cause::UnknownKey(known), .. }) => known,
        _ => &[],
    }
}

fn locate(table: &Node, path: &[Segment]) -> Place {
    let mut node = table;
    for segment in path {
        let inner = match segment {
            Segment::Map { key } => node.entry(key).map(|entry| &entry.node),
            Segment::Seq { index } => node.item(*index),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        let Some(inner) = inner else { break };
        node = inner;
    }
    node.place.clone()
}

/// Stops where a variant was written, or a name that is not plain: either may be a secret in the wrong place.
fn key(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Map { key } if text.is_empty() => text.clone_from(key),
            Segment::Map { key } if is_plain(key) => text = format!("{text}.{key}"),
            Segment::Seq { index } => text = format!("{text}[{index}]"),
            Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    text
}

/// Whether a name that the operator chose is fit to be printed.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

impl<'de> IntoDeserializer<'de, ShapeError> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Node {
    fn variable(&self) -> Option<&str> {
        match &self.value {
            Value::Variable(text) => Some(text),
            _ => None,
        }
    }

    fn whole_number<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, ShapeError> {
        match self.variable() {
            Some(text) => match text.trim().parse() {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(ShapeError::expected(&visitor)),
            },
            None => self.deserialize_any(visitor),
        }
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = ShapeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match &self.value {
            Value::Text(text) | Value::Variable(text) => visitor.visit_borrowed_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Other => Err(ShapeError::expected(&visitor)),
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Value::Table(entries) => {
                visitor.visit_map(MapDeserializer::new(entries.iter().map(|entry| (entry.key.as_str(), &entry.node))))
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match self.variable().map(str::trim) {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            Some(_) => Err(ShapeError::expected(&visitor)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        self.whole_number(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        self.whole_number(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        let Some(text) = self.variable() else { return self.deserialize_any(visitor) };
        let items = parse_list(text).unwrap_or_else(|| {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        });
        visitor.visit_seq(SeqDeserializer::new(items.into_iter()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        match &self.value {
            Value::Variable(_) if name == SECRET_SOURCES => {
                visitor.visit_newtype_struct(SeqDeserializer::new(std::iter::once(self)))
            }
            Value::Text(_) if name == SECRET_SOURCES => Err(ShapeError::new(inline_secret())),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        match (&self.value, &self.place) {
            (Value::Variable(_), Place::Variable(name_of_it)) if name == SECRET_SOURCE => {
                let source = std::iter::once(("env", name_of_it.as_ref()));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(source)))
            }
            (Value::Text(_), _) if name == SECRET_SOURCE => Err(ShapeError::new(inline_secret())),
            (Value::Text(text) | Value::Variable(text), _) => visitor.visit_enum(text.as_str().into_deserializer()),
            (Value::Table(entries), _) if entries.len() == 1 => {
                let pairs = entries.iter().map(|entry| (entry.key.as_str(), &entry.node));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(pairs)))
            }
            _ if name == SECRET_SOURCE => Err(ShapeError::new(no_source())),
            _ => Err(ShapeError::one_of(variants)),
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        struct identifier ignored_any
    }
}
