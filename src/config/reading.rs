//! What the checks of all sections share: locations, the problems found so far, and the files and variables outside the
//! configuration file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::ca_file::CaFile;
use super::document::Node;
use super::needs::{Need, Needs, SecretFor};
use super::problem::{Location, Mistake, Problem, Severity};
use super::secret_source::SecretSource;
use super::shape::{self, ShapeMistake, Step, is_plain};
use super::shape_error::ShapeErrorKind;
use crate::secret::SecretText;

/// One run over one configuration file.
pub(super) struct Reading<'a> {
    needs: Needs,
    directory: &'a Path,
    environment: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
    /// Values that were replaced by placeholders.
    placeholders: Vec<ValueId>,
}

/// A table of the file, or an entry of a list, with its name in problems.
pub(super) struct Section<'a> {
    node: &'a Node,
    name: String,
}

/// A value in a section, for reporting problems.
#[derive(Clone)]
pub(super) struct ValueRef {
    pub(super) location: Location,
    /// Its name in problems: shorter than `id` where part of the name may be a secret.
    subject: String,
    value_id: ValueId,
}

/// Identifies a value; unlike `subject`, it is never printed.
#[derive(Clone)]
struct ValueId {
    /// Where its section begins: two entries of a list may have the same name.
    section: Location,
    /// The name of its section: sections that are missing from the file all begin at the same location.
    name: String,
    path: Vec<Step>,
}

impl ValueId {
    fn is_within(&self, other: &Self) -> bool {
        (&self.section, &self.name) == (&other.section, &other.name) && self.path.starts_with(&other.path)
    }
}

impl<'a> Section<'a> {
    pub(super) const fn new(node: &'a Node, name: String) -> Self {
        Self { node, name }
    }

    pub(super) const fn node(&self) -> &'a Node {
        self.node
    }

    /// Its name in problems.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the key is present.
    pub(super) fn has(&self, key: &str) -> bool {
        self.node.entry(key).is_some()
    }

    /// The value of a key; located at the section when the key is missing.
    pub(super) fn at(&self, key: &str) -> ValueRef {
        let location = self.node.entry(key).map_or(&self.node.location, |entry| &entry.node.location);
        ValueRef {
            location: location.clone(),
            subject: self.subject(key),
            value_id: self.value_id([Step::Key(key.to_owned())]),
        }
    }

    /// An item of a list.
    pub(super) fn item(&self, key: &str, index: usize) -> ValueRef {
        let list = self.node.entry(key).map(|entry| &entry.node);
        let location = list.map(|list| list.item(index).map_or(&list.location, |item| &item.location));
        let subject = format!("{}[{index}]", self.subject(key));
        let value_id = self.value_id([Step::Key(key.to_owned()), Step::Item(index)]);
        ValueRef { location: location.unwrap_or(&self.node.location).clone(), subject, value_id }
    }

    /// The value of a key in a table inside the section.
    pub(super) fn nested(&self, table: &str, key: &str) -> ValueRef {
        let entry = self.node.entry(table).and_then(|table| table.node.entry(key));
        let location = entry.map_or_else(|| self.at(table).location, |entry| entry.node.location.clone());
        // a name that is not plain may be a misplaced secret
        let subject = if is_plain(key) { format!("{table}.{key}") } else { table.to_owned() };
        let value_id = self.value_id([Step::Key(table.to_owned()), Step::Key(key.to_owned())]);
        ValueRef { location, subject: self.subject(&subject), value_id }
    }

    /// The key itself in a table inside the section: it is checked even if its value could not be read.
    pub(super) fn nested_key(&self, table: &str, key: &str) -> ValueRef {
        let value_id = self.value_id([Step::Key(table.to_owned()), Step::Name(key.to_owned())]);
        ValueRef { value_id, ..self.nested(table, key) }
    }

    /// An item of a list in a table inside the section.
    pub(super) fn nested_item(&self, table: &str, key: &str, index: usize) -> ValueRef {
        let ValueRef { location, subject, .. } = self.nested(table, key);
        let list = self.node.entry(table).and_then(|table| table.node.entry(key));
        let item = list.and_then(|list| list.node.item(index)).map(|item| item.location.clone());
        let path = [Step::Key(table.to_owned()), Step::Key(key.to_owned()), Step::Item(index)];
        ValueRef {
            location: item.unwrap_or(location),
            subject: format!("{subject}[{index}]"),
            value_id: self.value_id(path),
        }
    }

    /// A value anywhere inside the section, by keys and positions that are ours to print; located at what is there of the way.
    pub(super) fn within(&self, path: &[Step]) -> ValueRef {
        let (mut location, mut node, mut subject) = (&self.node.location, Some(self.node), String::new());
        for step in path {
            node = match step {
                Step::Key(key) | Step::Name(key) => {
                    subject = if subject.is_empty() { key.clone() } else { format!("{subject}.{key}") };
                    node.and_then(|node| node.entry(key)).map(|entry| &entry.node)
                }
                Step::Item(index) => {
                    subject = format!("{subject}[{index}]");
                    node.and_then(|node| node.item(*index))
                }
            };
            location = node.map_or(location, |node| &node.location);
        }
        ValueRef { location: location.clone(), subject: self.subject(&subject), value_id: self.value_id(path) }
    }

    fn value_id(&self, path: impl Into<Vec<Step>>) -> ValueId {
        ValueId { section: self.node.location.clone(), name: self.name.clone(), path: path.into() }
    }

    fn subject(&self, key: &str) -> String {
        [self.name.as_str(), key].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }
}

impl<'a> Reading<'a> {
    /// `directory` is where relative paths begin.
    pub(super) const fn new(needs: Needs, directory: &'a Path, environment: &'a BTreeMap<String, String>) -> Self {
        Self { needs, directory, environment, problems: Vec::new(), placeholders: Vec::new() }
    }

    pub(super) const fn directory(&self) -> &'a Path {
        self.directory
    }

    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        self.environment.get(name).map(String::as_str)
    }

    /// All variables with a prefix; the names are returned without it.
    pub(super) fn variables(&self, prefix: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.environment.iter().filter_map(move |(name, text)| Some((name.strip_prefix(prefix)?, text.as_str())))
    }

    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    pub(super) fn error(&mut self, at: &ValueRef, mistake: Mistake) {
        self.add(at, Severity::Error, mistake);
    }

    pub(super) fn warn(&mut self, at: &ValueRef, mistake: Mistake) {
        self.add(at, Severity::Warning, mistake);
    }

    /// For problems outside of any section.
    pub(super) fn error_at(&mut self, location: Location, subject: &str, mistake: Mistake) {
        let value_id = ValueId { section: Location::File, name: subject.to_owned(), path: Vec::new() };
        self.error(&ValueRef { location, subject: subject.to_owned(), value_id }, mistake);
    }

    fn add(&mut self, at: &ValueRef, severity: Severity, mistake: Mistake) {
        if self.is_placeholder(at) {
            return;
        }
        self.problems.push(Problem {
            location: at.location.clone(),
            severity,
            subject: at.subject.clone(),
            what: mistake.what.into_owned(),
            hint: mistake.hint.map(Into::into),
        });
    }

    /// Whether an error was already reported for the value.
    pub(super) fn is_refused(&self, at: &ValueRef) -> bool {
        let is_it = |problem: &Problem| problem.location == at.location && problem.subject == at.subject;
        self.problems.iter().any(|problem| problem.severity == Severity::Error && is_it(problem))
            || self.is_placeholder(at)
    }

    /// Whether an error was already reported for the value, or for a part of it.
    pub(super) fn is_refused_within(&self, at: &ValueRef) -> bool {
        let part = |problem: &Problem| {
            problem.severity == Severity::Error
                && problem.subject.strip_prefix(&at.subject).is_some_and(|rest| rest.starts_with('.'))
        };
        self.is_refused(at) || self.problems.iter().any(part)
    }

    /// Returns the value, or reports the mistake.
    pub(super) fn keep<T>(&mut self, at: &ValueRef, result: Result<T, Mistake>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.error(at, mistake);
                None
            }
        }
    }

    /// Deserializes a section and reports every value of the wrong type. Each of them is replaced by a placeholder: nothing
    /// further is reported for it, and the configuration is refused.
    pub(super) fn shape<T: DeserializeOwned>(&mut self, section: &Section<'_>) -> Option<T> {
        let (written, wrong) = shape::read(section.node);
        for ShapeMistake { location, key, placeholder, error } in wrong {
            let subject = if key.is_empty() { section.name.clone() } else { section.subject(&key) };
            let at = ValueRef { location, subject, value_id: section.value_id(placeholder) };
            // two keys may be missing from one table
            let is_missing = matches!(error.kind, ShapeErrorKind::MissingKey(_));
            let is_told = !key.is_empty() && !is_missing && self.is_refused(&at);
            if !is_told {
                self.error(&at, error.mistake);
            }
            self.placeholders.push(at.value_id);
        }
        written
    }

    /// Suppresses further problems with a key.
    pub(super) fn suppress(&mut self, section: &Section<'_>, key: &str) {
        self.placeholders.push(section.at(key).value_id);
    }

    /// Whether a value, or a part of it, is a placeholder.
    pub(super) fn is_placeholder(&self, at: &ValueRef) -> bool {
        self.placeholders.iter().any(|value_id| at.value_id.is_within(value_id) || value_id.is_within(&at.value_id))
    }

    /// Reads the `ca_file` of a section, which must exist and contain valid root certificates.
    pub(super) fn ca_file(&mut self, section: &Section<'_>, written: Option<String>) -> Option<CaFile> {
        let read = CaFile::read(&self.resolve(&written?)).map_err(|why| {
            let hint = format!("expected PEM certificates; relative paths begin at {}", self.directory.display());
            Mistake::new(why).hint(hint)
        });
        self.keep(&section.at("ca_file"), read)
    }

    /// Whether this run must have such a secret.
    pub(super) fn requires(&self, purpose: SecretFor) -> bool {
        self.needs.of(purpose) == Need::Required
    }

    /// Whether this run reads such a secret.
    pub(super) fn reads(&self, purpose: SecretFor) -> bool {
        self.needs.of(purpose) != Need::Unused
    }

    /// Returns what was made of a secret, or reports the mistake: as a warning where this run can do without.
    pub(super) fn keep_secret<T>(
        &mut self,
        at: &ValueRef,
        purpose: SecretFor,
        result: Result<T, Mistake>,
    ) -> Option<T> {
        match result {
            Err(mistake) if !self.requires(purpose) => {
                let what = format!("{}: tokens at the identity provider cannot be revoked without it", mistake.what);
                self.warn(at, Mistake { what: what.into(), ..mistake });
                None
            }
            result => self.keep(at, result),
        }
    }

    /// Reads a secret, if this run reads such ones.
    pub(super) fn secret(&mut self, at: &ValueRef, purpose: SecretFor, source: &SecretSource) -> Option<SecretText> {
        if !self.reads(purpose) {
            return None;
        }
        let (secret, exposed) = source.fetch(self.directory, |name| self.variable(name));
        if exposed {
            let mistake = Mistake::new("other users of this machine can read the secret's file");
            self.warn(at, mistake.hint("chmod 600 it"));
        }
        self.keep_secret(at, purpose, secret)
    }

    /// All problems found.
    pub(super) fn finish(self) -> Vec<Problem> {
        self.problems
    }
}
