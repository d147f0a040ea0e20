//! The file's top level: which sections there are, and which of them are lists.

use super::document::{Entry, Node, Value};
use super::id::is_id;
use super::problem::{Mistake, Place, nearest};
use super::reading::{Reading, Section};
use super::shape_error::unknown_key;
use super::{
    client, identity, lifetimes, limits, log, pages, proxy, registration, secrets, server, shape, storage, tokens,
    upstream,
};

enum Form {
    Value,
    Table(Keys),
    List(Keys),
}

/// The keys that a table has.
type Keys = fn() -> &'static [&'static str];

const KNOWN: [(&str, Form); 15] = [
    ("public_url", Form::Value),
    ("ca_file", Form::Value),
    ("server", Form::Table(shape::keys::<server::Written>)),
    ("limits", Form::Table(shape::keys::<limits::Written>)),
    ("log", Form::Table(shape::keys::<log::Written>)),
    ("storage", Form::Table(shape::keys::<storage::Written>)),
    ("secrets", Form::Table(shape::keys::<secrets::Written>)),
    ("lifetimes", Form::Table(shape::keys::<lifetimes::Written>)),
    ("tokens", Form::Table(shape::keys::<tokens::Written>)),
    ("registration", Form::Table(shape::keys::<registration::Written>)),
    ("pages", Form::Table(shape::keys::<pages::Written>)),
    ("outbound", Form::Table(shape::keys::<proxy::Written>)),
    ("identity", Form::List(shape::keys::<identity::Written>)),
    ("upstream", Form::List(shape::keys::<upstream::Written>)),
    ("client", Form::List(shape::keys::<client::Written>)),
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
    /// What was written as something that no table can be made of.
    misshapen: Vec<&'static str>,
}

impl Sections {
    /// Sorts the top level. What is misspelt, or a table where a list belongs, is a problem, and read as what was meant.
    pub(super) fn take(mut root: Vec<Entry>, reading: &mut Reading<'_>) -> Self {
        spell(&mut root, &names(), &[], "", reading);
        let top = Node { place: Place::File, value: Value::Table(Vec::new()) };
        let mut sections = Self { top, tables: empty_tables(), lists: empty_lists(), misshapen: Vec::new() };
        for entry in root {
            let Some((name, form)) = KNOWN.iter().find(|(name, _)| *name == entry.key) else { continue };
            match form {
                Form::Value => sections.top.entries_mut().into_iter().for_each(|top| top.push(entry.clone())),
                Form::Table(_) => sections.put_table(name, entry, reading),
                Form::List(_) => sections.put_list(name, entry, reading),
            }
        }
        sections
    }

    fn put_table(&mut self, name: &'static str, Entry { place, node, .. }: Entry, reading: &mut Reading<'_>) {
        if !matches!(node.value, Value::Table(_)) {
            reading.error_at(place, name, Mistake::new(format!("must be one table, [{name}]")));
        }
        let table = match node.value {
            Value::List(items) => items.into_iter().find(|item| matches!(item.value, Value::Table(_))),
            Value::Table(_) => Some(node),
            _ => None,
        };
        match (table, self.table_mut(name)) {
            (Some(table), Some(slot)) => *slot = table,
            _ => self.misshapen.push(name),
        }
    }

    fn put_list(&mut self, name: &'static str, Entry { place, node, .. }: Entry, reading: &mut Reading<'_>) {
        if !matches!(node.value, Value::List(_)) {
            let mistake = Mistake::new("must be a list of tables").hint(format!("write [[{name}]]"));
            reading.error_at(place, name, mistake);
        }
        let entries = match node.value {
            Value::List(items) => Some(items),
            Value::Table(_) => Some(vec![node]),
            _ => None,
        };
        match (entries, self.list_mut(name)) {
            (Some(entries), Some(slot)) => *slot = entries,
            _ => self.misshapen.push(name),
        }
    }

    /// Names every unknown key of every table, and reads it as the one that was meant, where that can be told.
    pub(super) fn spell(&mut self, reading: &mut Reading<'_>) {
        let known = |name: &str| {
            KNOWN.iter().find_map(|(known, form)| match form {
                Form::Table(keys) | Form::List(keys) if *known == name => Some(keys()),
                _ => None,
            })
        };
        for (name, table) in &mut self.tables {
            if let (Some(known), Some(entries)) = (known(name), table.entries_mut()) {
                spell(entries, known, &[], name, reading);
            }
        }
        for (name, list) in &mut self.lists {
            let later = if *name == "upstream" { &upstream::LATER[..] } else { &[] };
            for (index, entry) in list.iter_mut().enumerate().filter(|(_, entry)| !is_of_a_later_version(name, entry)) {
                let called = entry_name(name, index, entry);
                if let (Some(known), Some(entries)) = (known(name), entry.entries_mut()) {
                    spell(entries, known, later, &called, reading);
                }
            }
        }
    }

    /// Whether a section was written as something that no table can be made of.
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
        entries.iter().enumerate().map(move |(index, node)| Section::new(node, entry_name(name, index, node)))
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

/// Names every key that is not known and gives it the name that was probably meant, unless that is taken; others go. Keys of
/// later versions stay for those who have a word on them.
fn spell(entries: &mut Vec<Entry>, known: &[&'static str], later: &[&str], section: &str, reading: &mut Reading<'_>) {
    let written: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    let mut kept: Vec<Entry> = Vec::new();
    for mut entry in std::mem::take(entries) {
        let key = entry.key.as_str();
        if !known.contains(&key) && !later.contains(&key) {
            reading.error_at(entry.place.clone(), section, unknown_key(key, known));
            let is_taken =
                |name: &str| written.iter().any(|key| key == name) || kept.iter().any(|other| other.key == name);
            let Some(meant) = nearest(key, known).filter(|meant| !is_taken(meant)) else { continue };
            meant.clone_into(&mut entry.key);
        }
        kept.push(entry);
    }
    *entries = kept;
}

/// Whether an entry has other keys than this version knows, and says so by its kind.
fn is_of_a_later_version(list: &str, entry: &Node) -> bool {
    list == "identity" && entry.text("kind").is_some_and(identity::is_later_kind)
}

/// What problems call an entry of a list.
fn entry_name(list: &str, index: usize, entry: &Node) -> String {
    match printable_id(list, entry) {
        Some(id) => format!("{list} \"{id}\""),
        None => format!("{list} #{}", index + 1),
    }
}

fn empty_tables() -> Vec<(&'static str, Node)> {
    KNOWN.iter().filter(|(_, form)| matches!(form, Form::Table(_))).map(|(name, _)| (*name, Node::absent())).collect()
}

fn empty_lists() -> Vec<(&'static str, Vec<Node>)> {
    KNOWN.iter().filter(|(_, form)| matches!(form, Form::List(_))).map(|(name, _)| (*name, Vec::new())).collect()
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
