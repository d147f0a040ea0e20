//! From the tree to the structs of the sections: every value by itself, so that one mistake hides no other.
//!
//! A table is read again and again. Each time the first value that does not fit is named, and made hollow: a hollow value
//! reads as whatever its key wants. In the end there is a whole struct, in which only what is hollow is not judged further.
//!
//! The deserializer is ours for three reasons. It knows hollow values. Its errors name what was expected and never what was
//! found, which may be a secret. And the text of an environment variable becomes what its key wants: a number, a list, the
//! source of a secret.

use std::borrow::Cow;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_path_to_error::Segment;

use super::document::{Entry, Node, Value, parse_list};
use super::problem::Place;
use super::secret_source::{SECRET_SOURCE, SECRET_SOURCES, inline_secret, no_source};
use super::shape_error::{Cause, ShapeError};

/// One step from a table to a value inside it. Names are kept as they were written: they tell values apart, and are never
/// printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a key.
    Key(String),
    /// The name of a key that the operator chose, which may be wrong by itself.
    Name(String),
    /// An item of a list.
    Item(usize),
}

/// A mistake of shape and where it was made.
pub(super) struct Misshapen {
    pub(super) place: Place,
    /// The key inside the table as it may be printed, such as `scopes[1]`; empty for the table itself.
    pub(super) key: String,
    /// The way to the value that is hollow from now on: that of the key, or of the one that is missing.
    pub(super) hollow: Vec<Step>,
    pub(super) error: ShapeError,
}

/// Reads one table, and names every value in it that does not fit. What comes with mistakes is whole and not true; it is
/// missing only when the table is none.
pub(super) fn read<T: DeserializeOwned>(table: &Node) -> (Option<T>, Vec<Misshapen>) {
    let mut wrong = Vec::new();
    let mut table = Cow::Borrowed(table);
    loop {
        let error = match serde_path_to_error::deserialize(&*table) {
            Ok(written) => return (Some(written), wrong),
            Err(error) => error,
        };
        let path: Vec<_> = error.path().iter().cloned().collect();
        let error = error.into_inner();
        let (positions, key, mut hollow) = (positions(&table, &path), key(&path), steps(&path));
        if let Cause::MissingKey(missing) = error.cause {
            hollow.push(Step::Key(missing.to_owned()));
        }
        let place = inner_mut(table.to_mut(), &positions).map_or(Place::File, |node| node.place.clone());
        let repaired = repair(table.to_mut(), &positions, error.cause).is_some();
        wrong.push(Misshapen { place, key, hollow, error });
        if !repaired {
            return (None, wrong);
        }
    }
}

/// The keys that a struct has. It must deny unknown ones, for it is asked for one.
pub(super) fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    match T::deserialize(MapDeserializer::<_, ShapeError>::new(std::iter::once(("", ())))) {
        Err(ShapeError { cause: Cause::UnknownKey(known), .. }) => known,
        _ => &[],
    }
}

/// The positions, in tables and lists, that lead along a path as far as it goes.
fn positions(table: &Node, path: &[Segment]) -> Vec<usize> {
    let (mut node, mut positions) = (table, Vec::new());
    for segment in path {
        let position = match segment {
            Segment::Map { key } => node.entries().iter().position(|entry| entry.key == *key),
            Segment::Seq { index } => Some(*index),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        let inner = position
            .and_then(|position| node.entries().get(position).map(|entry| &entry.node).or_else(|| node.item(position)));
        let (Some(position), Some(inner)) = (position, inner) else { break };
        positions.push(position);
        node = inner;
    }
    positions
}

/// The same path by names, as far as it leads through tables and lists.
fn steps(path: &[Segment]) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Item(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().map_while(step).collect()
}

fn inner_mut<'a>(node: &'a mut Node, positions: &[usize]) -> Option<&'a mut Node> {
    let Some((position, rest)) = positions.split_first() else { return Some(node) };
    match &mut node.value {
        Value::Table(entries) => inner_mut(&mut entries.get_mut(*position)?.node, rest),
        Value::List(items) => inner_mut(items.get_mut(*position)?, rest),
        _ => None,
    }
}

/// Makes hollow what does not fit; `None` when nothing can be done about it.
fn repair(table: &mut Node, positions: &[usize], cause: Cause) -> Option<()> {
    match cause {
        Cause::MissingKey(key) => {
            let node = inner_mut(table, positions)?;
            if matches!(node.value, Value::Hollow) {
                node.value = Value::Table(Vec::new());
            }
            let place = node.place.clone();
            let hollow = Node { place: place.clone(), value: Value::Hollow };
            node.entries_mut()?.push(Entry { key: key.to_owned(), place, node: hollow });
        }
        Cause::UnknownKey(_) => {
            let (position, table_of_it) = positions.split_last()?;
            inner_mut(table, table_of_it)?.entries_mut()?.remove(*position);
        }
        Cause::Value => {
            let node = inner_mut(table, positions).filter(|_| !positions.is_empty())?;
            if matches!(node.value, Value::Hollow) {
                return None;
            }
            node.value = Value::Hollow;
        }
    }
    Some(())
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
            None if matches!(self.value, Value::Hollow) => visitor.visit_i64(0),
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
            Value::Hollow => visitor.visit_borrowed_str(""),
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
            None if matches!(self.value, Value::Hollow) => visitor.visit_bool(false),
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
        if matches!(self.value, Value::Hollow) {
            return visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<Self>()));
        }
        let Some(text) = self.variable() else { return self.deserialize_any(visitor) };
        let items = parse_list(text).unwrap_or_else(|| {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        });
        visitor.visit_seq(SeqDeserializer::new(items.into_iter()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        if matches!(self.value, Value::Hollow) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        if matches!(self.value, Value::Hollow) { visitor.visit_unit() } else { self.deserialize_any(visitor) }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        if matches!(self.value, Value::Hollow) {
            return visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, Self)>()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        self.deserialize_map(visitor)
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
            (Value::Hollow, _) => {
                static HOLLOW: Node = Node { place: Place::File, value: Value::Hollow };
                let first = variants.first().map(|variant| (*variant, &HOLLOW));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(first.into_iter())))
            }
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
        i8 i16 i32 i128 u8 u16 u64 u128 f32 f64 char str string bytes byte_buf unit_struct tuple tuple_struct
        identifier ignored_any
    }
}
