//! The file's top level: which sections there are, and which of them are lists.

use super::document::{Entry, Node, Value};
use super::id::is_id;
use super::problem::{Mistake, Place, nearest};
use super::reading::{Reading, Section};
use super::shape_error::unknown_key;

enum Form {
    Value,
    Table,
    List,
}

const KNOWN: [(&str, Form); 15] = [
    ("public_url", Form::Value),
    ("ca_file", Form::Value),
    ("server", Form::Table),
    ("limits", Form::Table),
    ("log", Form::Table),
    ("storage", Form::Table),
    ("secrets", Form::Table),
    ("lifetimes", Form::Table),
    ("tokens", Form::Table),
    ("registration", Form::Table),
    ("pages", Form::Table),
    ("outbound", Form::Table),
    ("identity", Form::List),
    ("upstream", Form::List),
    ("client", Form::List),
];

/// The names of all sections and top-level keys.
pub(super) fn names() -> Vec<&'static str> {
    KNOWN.iter().map(|(name, _)| *name).collect()
}

/// The file, taken apart.
pub(super) struct Sections {
    /// The keys that stand in no section.
    pub(super) top: Node,
    tables: Vec<(&'static str, Node)>,
    lists: Vec<(&'static str, Vec<Node>)>,
    /// What was written, but not in the form or by the name that it has.
    misshapen: Vec<&'static str>,
}

impl Sections {
    /// Sorts the top level; what does not belong there is a problem.
    pub(super) fn take(root: Vec<Entry>, reading: &mut Reading<'_>) -> Self {
        let mut top = Vec::new();
        let (mut tables, mut lists) = (empty_tables(), empty_lists());
        let mut misshapen = misspelt(&root);
        for entry in root {
            let known = KNOWN.iter().find(|(name, _)| *name == entry.key);
            match (known, entry.node.value) {
                (Some((_, Form::Value)), value) => {
                    let node = Node { place: entry.node.place, value };
                    top.push(Entry { key: entry.key, place: entry.place, node });
                }
                (Some((name, Form::Table)), value @ Value::Table(_)) => {
                    if let Some((_, table)) = tables.iter_mut().find(|(known, _)| known == name) {
                        *table = Node { place: entry.node.place, value };
                    }
                }
                (Some((name, Form::List)), Value::List(items)) => {
                    if let Some((_, list)) = lists.iter_mut().find(|(known, _)| known == name) {
                        *list = items;
                    }
                }
                (Some((name, Form::Table)), _) => {
                    misshapen.push(*name);
                    reading.error_at(entry.place, name, Mistake::new(format!("must be one table, [{name}]")));
                }
                (Some((name, Form::List)), _) => {
                    let mistake = Mistake::new("must be a list of tables").hint(format!("write [[{name}]]"));
                    misshapen.push(*name);
                    reading.error_at(entry.place, name, mistake);
                }
                (None, _) => reading.error_at(entry.place, "", unknown_key(&entry.key, &names())),
            }
        }
        Self { top: Node { place: Place::File, value: Value::Table(top) }, tables, lists, misshapen }
    }

    /// Whether a section or key is missing only because it was written in another form or by another name.
    pub(super) fn is_misshapen(&self, name: &str) -> bool {
        self.misshapen.contains(&name)
    }

    /// A section; empty when nobody wrote it.
    pub(super) fn table(&self, name: &'static str) -> Section<'_> {
        static ABSENT: Node = Node::absent();
        let node = self.tables.iter().find(|(known, _)| *known == name).map_or(&ABSENT, |(_, node)| node);
        Section::new(node, name.to_owned())
    }

    /// The entries of a list, each under its id where it has one.
    pub(super) fn list(&self, name: &'static str) -> impl Iterator<Item = Section<'_>> {
        let entries = self.lists.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, entries)| entries);
        entries.iter().enumerate().map(move |(index, node)| {
            let subject = match printable_id(name, node) {
                Some(id) => format!("{name} \"{id}\""),
                None => format!("{name} #{}", index + 1),
            };
            Section::new(node, subject)
        })
    }

    pub(super) fn table_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.tables.iter_mut().find(|(known, _)| *known == name).map(|(_, node)| node)
    }

    pub(super) fn list_mut(&mut self, name: &str) -> Option<&mut Vec<Node>> {
        self.lists.iter_mut().find(|(known, _)| *known == name).map(|(_, entries)| entries)
    }

    /// Every node under the top level.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        let tables = self.tables.iter().map(|(_, node)| node);
        tables.chain(self.lists.iter().flat_map(|(_, entries)| entries))
    }
}

/// What unknown keys probably mean and nothing else says.
fn misspelt(root: &[Entry]) -> Vec<&'static str> {
    let names = names();
    let unknown = root.iter().filter(|entry| !names.contains(&entry.key.as_str()));
    let meant = unknown.filter_map(|entry| nearest(&entry.key, &names));
    meant.filter(|meant| !root.iter().any(|entry| entry.key == *meant)).collect()
}

fn empty_tables() -> Vec<(&'static str, Node)> {
    KNOWN.iter().filter(|(_, form)| matches!(form, Form::Table)).map(|(name, _)| (*name, Node::absent())).collect()
}

fn empty_lists() -> Vec<(&'static str, Vec<Node>)> {
    KNOWN.iter().filter(|(_, form)| matches!(form, Form::List)).map(|(name, _)| (*name, Vec::new())).collect()
}

/// What an entry is called by whoever wrote it.
pub(super) fn id<'a>(list: &str, entry: &'a Node) -> Option<&'a str> {
    entry.text(if list == "client" { "client_id" } else { "id" })
}

/// The same when it is fit to be printed: what is no plain name may be a secret in the wrong place.
pub(super) fn printable_id<'a>(list: &str, entry: &'a Node) -> Option<&'a str> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    id(list, entry).filter(|id| is_id(id) || list == "client" && !id.is_empty() && id.len() <= 64 && plain(id))
}
