//! The top level of the file: its sections, and which of them are lists.

use super::document::{Entry, Node, Value};
use super::id::is_id;
use super::problem::{Location, Mistake, nearest};
use super::reading::{Reading, Section};
use super::shape_error::unknown_key;
use super::{
    assertion_issuer, client, client_documents, consent, device, identities, identity, lifetimes, limits, log, pages,
    proxy, registration, secrets, server, shape, storage, token_issuer, tokens, upstream,
};

enum Form {
    Value,
    Table(Keys),
    List(Keys),
}

/// Returns the known keys of a table.
type Keys = fn() -> &'static [&'static str];

const KNOWN: [(&str, Form); 20] = [
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
    ("device", Form::Table(shape::keys::<device::Written>)),
    ("client_documents", Form::Table(shape::keys::<client_documents::Written>)),
    ("consent", Form::Table(shape::keys::<consent::Written>)),
    ("pages", Form::Table(shape::keys::<pages::Written>)),
    ("outbound", Form::Table(shape::keys::<proxy::Written>)),
    ("identity", Form::List(shape::keys::<identity::Written>)),
    ("issuer", Form::List(shape::keys::<token_issuer::Written>)),
    ("upstream", Form::List(shape::keys::<upstream::Written>)),
    ("client", Form::List(shape::keys::<client::Written>)),
    ("assertion_issuer", Form::List(shape::keys::<assertion_issuer::Written>)),
];

/// The names of all sections and top-level keys.
pub(super) fn names() -> Vec<&'static str> {
    KNOWN.iter().map(|(name, _)| *name).collect()
}

/// The file, split into sections.
pub(super) struct Sections {
    /// The keys outside of any section.
    pub(super) top: Node,
    tables: Vec<(&'static str, Node)>,
    lists: Vec<(&'static str, Vec<Node>)>,
    /// Sections with a value that is not a table.
    unreadable: Vec<&'static str>,
}

impl Sections {
    /// Splits the top level. A misspelt name, or a table in place of a list, is reported and read as intended.
    pub(super) fn take(mut root: Vec<Entry>, reading: &mut Reading<'_>) -> Self {
        spell(&mut root, &names(), &[], "", reading);
        let top = Node { location: Location::File, value: Value::Table(Vec::new()) };
        let mut sections = Self { top, tables: empty_tables(), lists: empty_lists(), unreadable: Vec::new() };
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

    fn put_table(&mut self, name: &'static str, Entry { location, node, .. }: Entry, reading: &mut Reading<'_>) {
        if !matches!(node.value, Value::Table(_)) {
            reading.error_at(location, name, Mistake::new(format!("must be one table, [{name}]")));
        }
        let table = match node.value {
            Value::List(items) => items.into_iter().find(|item| matches!(item.value, Value::Table(_))),
            Value::Table(_) => Some(node),
            _ => None,
        };
        match (table, self.table_mut(name)) {
            (Some(table), Some(slot)) => *slot = table,
            _ => self.unreadable.push(name),
        }
    }

    fn put_list(&mut self, name: &'static str, Entry { location, node, .. }: Entry, reading: &mut Reading<'_>) {
        if !matches!(node.value, Value::List(_)) {
            let mistake = Mistake::new("must be a list of tables").hint(format!("write [[{name}]]"));
            reading.error_at(location, name, mistake);
        }
        let entries = match node.value {
            Value::List(items) => Some(items),
            Value::Table(_) => Some(vec![node]),
            _ => None,
        };
        match (entries, self.list_mut(name)) {
            (Some(entries), Some(slot)) => *slot = entries,
            _ => self.unreadable.push(name),
        }
    }

    /// Reports every unknown key of every table, and reads it as the intended one if that is clear.
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
            let later = if *name == "upstream" { &upstream::OTHER_KEYS[..] } else { &[] };
            for (index, entry) in list.iter_mut().enumerate().filter(|(_, entry)| !is_from_a_later_version(name, entry))
            {
                let called = entry_name(name, index, entry);
                let of_kind = (*name == "identity").then(|| identities::keys(entry.text("kind")));
                if let (Some(known), Some(entries)) = (of_kind.or_else(|| known(name)), entry.entries_mut()) {
                    spell(entries, known, later, &called, reading);
                }
            }
        }
    }

    /// Whether the value of a section is not a table.
    pub(super) fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains(&name)
    }

    /// A section; empty when it is missing.
    pub(super) fn table(&self, name: &'static str) -> Section<'_> {
        static ABSENT: Node = Node::absent();
        let node = self.tables.iter().find(|(known, _)| *known == name).map_or(&ABSENT, |(_, node)| node);
        Section::new(node, name.to_owned())
    }

    /// The entries of a list, named by id or number.
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

    /// Every section and every entry of a list, the keys outside of any section first.
    pub(super) fn all(&self) -> impl Iterator<Item = Section<'_>> {
        let top = std::iter::once(Section::new(&self.top, String::new()));
        let tables = self.tables.iter().map(|(name, node)| Section::new(node, (*name).to_owned()));
        top.chain(tables).chain(self.lists.iter().flat_map(|(name, _)| self.list(name)))
    }

    /// Every node under the top level.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        let tables = self.tables.iter().map(|(_, node)| node);
        tables.chain(self.lists.iter().flat_map(|(_, entries)| entries))
    }
}

/// Reports every unknown key. It is renamed to the key that was probably meant, unless the table has that one too; otherwise it
/// is removed. Keys of later versions are kept for a message of their own.
fn spell(entries: &mut Vec<Entry>, known: &[&'static str], later: &[&str], section: &str, reading: &mut Reading<'_>) {
    let written: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    let mut kept: Vec<Entry> = Vec::new();
    for mut entry in std::mem::take(entries) {
        let key = entry.key.as_str();
        if !known.contains(&key) && !later.contains(&key) {
            reading.error_at(entry.location.clone(), section, unknown_key(key, known));
            let is_taken =
                |name: &str| written.iter().any(|key| key == name) || kept.iter().any(|other| other.key == name);
            let Some(meant) = nearest(key, known).filter(|meant| !is_taken(meant)) else { continue };
            meant.clone_into(&mut entry.key);
        }
        kept.push(entry);
    }
    *entries = kept;
}

/// Whether the kind of an entry has keys that this version does not know.
fn is_from_a_later_version(list: &str, entry: &Node) -> bool {
    list == "identity" && entry.text("kind").is_some_and(identity::is_future_kind)
}

/// The name of an entry in problems.
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

/// The id of an entry.
pub(super) fn id<'a>(list: &str, entry: &'a Node) -> Option<&'a str> {
    entry.text(if list == "client" { "client_id" } else { "id" })
}

/// The id if it is safe to print: one that is not plain may be a misplaced secret.
pub(super) fn printable_id<'a>(list: &str, entry: &'a Node) -> Option<&'a str> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    id(list, entry).filter(|id| is_id(id) || list == "client" && !id.is_empty() && id.len() <= 64 && plain(id))
}
