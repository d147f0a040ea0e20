//! Deserializes a table into the struct of its section, and reports every value of the wrong type instead of the first only.
//!
//! A table is deserialized repeatedly. Each pass reports the first value that does not fit and replaces it by a placeholder,
//! which reads as any type. The last pass returns a complete struct; the placeholders in it are not checked any further.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_path_to_error::Segment;

use super::document::{Entry, Node, Value};
use super::problem::Location;
use super::shape_error::{ShapeError, ShapeErrorKind};

/// One step from a table to a value inside it. Names are kept as written, to identify values; they are never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a key.
    Key(String),
    /// The name of a key that the operator chose: it can be wrong independently of its value.
    Name(String),
    /// An item of a list.
    Item(usize),
}

/// A value of the wrong type, or an unknown or missing key.
pub(super) struct ShapeMistake {
    pub(super) location: Location,
    /// The key inside the table in printable form, such as `scopes[1]`; empty for the table itself.
    pub(super) key: String,
    /// The path to the value that is now a placeholder.
    pub(super) placeholder: Vec<Step>,
    pub(super) error: ShapeError,
}

/// Deserializes a table and returns every mistake in it. With mistakes, the struct contains placeholders; it is `None` only
/// when the node is not a table.
pub(super) fn read<T: DeserializeOwned>(table: &Node) -> (Option<T>, Vec<ShapeMistake>) {
    let mut wrong = Vec::new();
    let mut table = Cow::Borrowed(table);
    loop {
        let error = match serde_path_to_error::deserialize(&*table) {
            Ok(written) => return (Some(written), wrong),
            Err(error) => error,
        };
        let path: Vec<_> = error.path().iter().cloned().collect();
        let error = error.into_inner();
        let (positions, key, mut placeholder) = (positions(&table, &path), key(&path), steps(&path));
        if let ShapeErrorKind::MissingKey(missing) = error.kind {
            placeholder.push(Step::Key(missing.to_owned()));
        }
        let location = inner_mut(table.to_mut(), &positions).map_or(Location::File, |node| node.location.clone());
        let repaired = repair(table.to_mut(), &positions, error.kind).is_some();
        wrong.push(ShapeMistake { location, key, placeholder, error });
        if !repaired {
            return (None, wrong);
        }
    }
}

/// The keys of a struct, taken from its error for an unknown key: it must deny unknown keys.
pub(super) fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    match T::deserialize(MapDeserializer::<_, ShapeError>::new(std::iter::once(("", ())))) {
        Err(ShapeError { kind: ShapeErrorKind::UnknownKey(known), .. }) => known,
        _ => &[],
    }
}

/// A path as positions in tables and lists, as far as it exists.
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

/// A path as names, as far as it leads through tables and lists.
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

/// Replaces the value that does not fit by a placeholder, adds one for a missing key, or removes an unknown key. `None` when
/// that is impossible.
fn repair(table: &mut Node, positions: &[usize], kind: ShapeErrorKind) -> Option<()> {
    match kind {
        ShapeErrorKind::MissingKey(key) => {
            let node = inner_mut(table, positions)?;
            if matches!(node.value, Value::Placeholder) {
                node.value = Value::Table(Vec::new());
            }
            let location = node.location.clone();
            let placeholder = Node { location: location.clone(), value: Value::Placeholder };
            node.entries_mut()?.push(Entry { key: key.to_owned(), location, node: placeholder });
        }
        ShapeErrorKind::UnknownKey(_) => {
            let (position, table_of_it) = positions.split_last()?;
            inner_mut(table, table_of_it)?.entries_mut()?.remove(*position);
        }
        ShapeErrorKind::Value => {
            let node = inner_mut(table, positions).filter(|_| !positions.is_empty())?;
            if matches!(node.value, Value::Placeholder) {
                return None;
            }
            node.value = Value::Placeholder;
        }
    }
    Some(())
}

/// The path in printable form. It stops at a variant and at a name that is not plain: either may be a misplaced secret.
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

/// Whether a name that the operator chose is safe to print.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
