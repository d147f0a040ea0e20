//! Reads a node of the document as whatever its key wants.
//!
//! A deserializer of our own, for three reasons. Placeholders read as a value of any type. Errors name what was expected and
//! never the value that was found, which may be a secret. The text of an environment variable is converted to what its key
//! wants: a number, a list, the source of a secret.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};

use super::document::{Node, Value, parse_list};
use super::problem::Location;
use super::secret_source::{SECRET_SOURCE, SECRET_SOURCES, inline_secret, no_source};
use super::shape_error::ShapeError;

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
            None if matches!(self.value, Value::Placeholder) => visitor.visit_i64(0),
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
            Value::Placeholder => visitor.visit_borrowed_str(""),
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
            None if matches!(self.value, Value::Placeholder) => visitor.visit_bool(false),
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
        if matches!(self.value, Value::Placeholder) {
            return visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<Self>()));
        }
        let Some(text) = self.variable() else { return self.deserialize_any(visitor) };
        let items = parse_list(text).unwrap_or_else(|| {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        });
        visitor.visit_seq(SeqDeserializer::new(items.into_iter()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        if matches!(self.value, Value::Placeholder) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        if matches!(self.value, Value::Placeholder) { visitor.visit_unit() } else { self.deserialize_any(visitor) }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        if matches!(self.value, Value::Placeholder) {
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
        match (&self.value, &self.location) {
            (Value::Placeholder, _) => {
                static PLACEHOLDER: Node = Node { location: Location::File, value: Value::Placeholder };
                let first = variants.first().map(|variant| (*variant, &PLACEHOLDER));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(first.into_iter())))
            }
            (Value::Variable(_), Location::Variable(name_of_it)) if name == SECRET_SOURCE => {
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
