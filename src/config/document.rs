//! The file as a tree in which every key and value has its location.

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::problem::{Location, Mistake};

/// A value and its location. Has no `Debug`: it may contain a secret that was written into the file by mistake.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) location: Location,
    pub(super) value: Value,
}

/// A value.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// A float, a date or an integer that does not fit: no key takes one.
    Other,
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// The text of an environment variable, converted to the type that its key wants.
    Variable(String),
    /// Replaces a wrong or missing value that was already reported. It reads as any type, so that the rest of its table can
    /// be checked.
    Placeholder,
}

/// A key of a table, and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) location: Location,
    pub(super) node: Node,
}

impl Node {
    /// An empty table that is not in the file.
    pub(super) const fn absent() -> Self {
        Self { location: Location::File, value: Value::Table(Vec::new()) }
    }

    /// The entries of a table; anything else has none.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a table.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries of a table, mutable.
    pub(super) const fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        match &mut self.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// The string under a key of a table.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.entry(key)?.node.value {
            Value::Text(text) | Value::Variable(text) => Some(text),
            _ => None,
        }
    }

    /// An item of a list.
    pub(super) fn item(&self, index: usize) -> Option<&Self> {
        match &self.value {
            Value::List(items) => items.get(index),
            _ => None,
        }
    }
}

/// Parses the file.
///
/// # Errors
/// The first syntax error.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, (Location, Mistake)> {
    let lines = Lines::new(text);
    match DeTable::parse(text) {
        Ok(table) => Ok(entries(table.into_inner(), &|offset| lines.location(offset))),
        Err(error) => {
            let location = error.span().map_or(Location::File, |span| lines.location(span.start));
            let mistake = Mistake::new(error.message().to_owned());
            Err((location, hint(error.message()).into_iter().fold(mistake, Mistake::hint)))
        }
    }
}

/// A hint for a syntax error, unless the parser's message suffices.
fn hint(message: &str) -> Option<&'static str> {
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| message.starts_with(beginning));
    if begins(&["duplicate key"]) {
        Some("define each key and each table only once")
    } else if begins(&["invalid boolean"]) {
        Some("write true and false in lower case")
    } else if begins(&["invalid basic", "invalid literal", "invalid multi-line"]) {
        Some("end the string on the same line, with the quote that it begins with")
    } else if begins(&["missing escaped", "invalid escape"]) {
        Some("write \\\\ for one \\, or put the string in 'single quotes'")
    } else if begins(&["key with no value", "unexpected key", "invalid key-value", "unquoted keys"]) {
        Some("the file is TOML: a line is KEY = VALUE, a [section], or a # comment")
    } else if begins(&["invalid ", "string values"]) {
        Some("put strings in quotes: \"127.0.0.1:8080\"")
    } else {
        None
    }
}

/// Parses an environment variable as a TOML list of strings.
pub(super) fn parse_list(text: &str) -> Option<Vec<String>> {
    let DeValue::Array(items) = DeValue::parse(text).ok()?.into_inner() else { return None };
    items.into_iter().map(|item| item.into_inner().as_str().map(str::to_owned)).collect()
}

/// Parses an environment variable as a TOML list of tables: `[{ value = "a", text = "b" }]`.
pub(super) fn parse_tables(text: &str, location: &Location) -> Option<Value> {
    let DeValue::Array(items) = DeValue::parse(text).ok()?.into_inner() else { return None };
    let nodes: Vec<_> = items.into_iter().map(|item| node(item, &|_| location.clone())).collect();
    let tables = !nodes.is_empty() && nodes.iter().all(|node| matches!(node.value, Value::Table(_)));
    tables.then_some(Value::List(nodes))
}

/// Parses an environment variable as an inline TOML table: `{ "a" = ["b"] }`.
pub(super) fn parse_table(text: &str, location: &Location) -> Option<Value> {
    let DeValue::Table(table) = DeValue::parse(text).ok()?.into_inner() else { return None };
    Some(Value::Table(entries(table, &|_| location.clone())))
}

fn entries(table: DeTable<'_>, location: &dyn Fn(usize) -> Location) -> Vec<Entry> {
    let mut written: Vec<_> = table.into_iter().collect();
    written.sort_by_key(|(key, _)| key.span().start);
    written
        .into_iter()
        .map(|(key, value)| Entry {
            location: location(key.span().start),
            key: key.into_inner().into_owned(),
            node: node(value, location),
        })
        .collect()
}

fn node(value: Spanned<DeValue<'_>>, location: &dyn Fn(usize) -> Location) -> Node {
    let start = value.span().start;
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => integer(&number),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Float(_) | DeValue::Datetime(_) => Value::Other,
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| node(item, location)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, location)),
    };
    Node { location: location(start), value }
}

fn integer(number: &DeInteger<'_>) -> Value {
    i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other, Value::Integer)
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn location(&self, offset: usize) -> Location {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|at| self.starts.get(at)).copied().unwrap_or_default();
        let column = self.text.get(start..offset).map_or(offset - start, |before| before.chars().count());
        Location::Line { line, column: column + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Location, Node, Value, parse, parse_list};

    fn at(line: usize, column: usize) -> Location {
        Location::Line { line, column }
    }

    fn child<'a>(entries: &'a [Entry], key: &str) -> &'a Node {
        &entries.iter().find(|entry| entry.key == key).unwrap().node
    }

    #[test]
    fn every_key_and_value_has_its_line_and_column() {
        let text = "url = \"x\"\n[server]\n  \"é\" = 1\n[[upstream]]\nscopes = [\n  \"a\",\n \"b\"]\n[[upstream]]\n";
        let Ok(root) = parse(text) else { panic!("syntax") };
        assert_eq!((root[0].location.clone(), child(&root, "url").location.clone()), (at(1, 1), at(1, 7)));
        let server = child(&root, "server");
        assert_eq!(server.location, at(2, 1));
        assert_eq!(
            (&server.entry("é").unwrap().location, &server.entry("é").unwrap().node.location),
            (&at(3, 3), &at(3, 9))
        );
        let upstream = child(&root, "upstream");
        assert_eq!((&upstream.item(0).unwrap().location, &upstream.item(1).unwrap().location), (&at(4, 1), &at(8, 1)));
        assert_eq!(upstream.item(0).unwrap().entry("scopes").unwrap().node.item(1).unwrap().location, at(7, 2));
    }

    #[test]
    fn a_syntax_error_does_not_repeat_the_line() {
        for text in
            ["a = 1\nclient_secret = hunter2\n", "a = \"hunter2", "a = 1\n[x\nhunter2 = 1", "hunter2", "a = 12hunter2"]
        {
            let Err((location, mistake)) = parse(text) else { panic!("{text:?} is no TOML") };
            assert!(!mistake.what.contains("hunter2"), "{}", mistake.what);
            assert!(matches!(location, Location::Line { .. }), "{text:?}");
        }
    }

    #[test]
    fn an_integer_beyond_64_bits_is_not_an_integer() {
        let Ok(root) = parse("a = 9223372036854775808\nb = 0xff\nc = -1") else { panic!("syntax") };
        assert!(matches!(child(&root, "a").value, Value::Other));
        assert!(matches!(child(&root, "b").value, Value::Integer(255)));
        assert!(matches!(child(&root, "c").value, Value::Integer(-1)));
    }

    #[test]
    fn a_list_in_a_variable_contains_strings_only() {
        assert_eq!(parse_list("[\"a\", 'b']"), Some(vec!["a".to_owned(), "b".to_owned()]));
        for text in ["[1]", "[::1]:80", "a", "", "[\"a\""] {
            assert_eq!(parse_list(text), None, "{text}");
        }
    }
}
