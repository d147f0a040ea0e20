//! What the checks of all sections share: where they are, what they found, and the world beside the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::ca_file::CaFile;
use super::document::Node;
use super::problem::{Mistake, Place, Problem, Severity};
use super::secret_source::SecretSource;
use super::shape::{self, Misshapen, Step, is_plain};
use super::shape_error::Cause;
use crate::secret::SecretText;

/// One reading of one file.
pub(super) struct Reading<'a> {
    directory: &'a Path,
    environment: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
    /// The values that are not what was written.
    invented: Vec<Spot>,
}

/// A table of the file, or an entry of a list, under the name that problems call it by.
pub(super) struct Section<'a> {
    node: &'a Node,
    name: String,
}

/// A value of a section.
#[derive(Clone)]
pub(super) struct At {
    pub(super) place: Place,
    /// What problems call it: less than `spot` where a name may be a secret.
    subject: String,
    spot: Spot,
}

/// Which value it is, apart from what may be printed of it.
#[derive(Clone)]
struct Spot {
    /// Where its section begins: two entries of a list may have one name.
    section: Place,
    /// What its section is called: two that are not in the file begin at one place.
    name: String,
    path: Vec<Step>,
}

impl Spot {
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

    /// Whether somebody wrote the key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.node.entry(key).is_some()
    }

    /// The value of a key; where nobody wrote one, the section's own place.
    pub(super) fn at(&self, key: &str) -> At {
        let place = self.node.entry(key).map_or(&self.node.place, |entry| &entry.node.place);
        At { place: place.clone(), subject: self.subject(key), spot: self.spot([Step::Key(key.to_owned())]) }
    }

    /// An item of a list.
    pub(super) fn item(&self, key: &str, index: usize) -> At {
        let list = self.node.entry(key).map(|entry| &entry.node);
        let place = list.map(|list| list.item(index).map_or(&list.place, |item| &item.place));
        let subject = format!("{}[{index}]", self.subject(key));
        let spot = self.spot([Step::Key(key.to_owned()), Step::Item(index)]);
        At { place: place.unwrap_or(&self.node.place).clone(), subject, spot }
    }

    /// The value of a key in a table that stands inside the section.
    pub(super) fn inner(&self, table: &str, key: &str) -> At {
        let entry = self.node.entry(table).and_then(|table| table.node.entry(key));
        let place = entry.map_or_else(|| self.at(table).place, |entry| entry.node.place.clone());
        // an odd name may be a secret in the wrong place
        let subject = if is_plain(key) { format!("{table}.{key}") } else { table.to_owned() };
        let spot = self.spot([Step::Key(table.to_owned()), Step::Key(key.to_owned())]);
        At { place, subject: self.subject(&subject), spot }
    }

    /// The key itself of a table that stands inside the section: it is judged whether or not its value could be read.
    pub(super) fn inner_name(&self, table: &str, key: &str) -> At {
        let spot = self.spot([Step::Key(table.to_owned()), Step::Name(key.to_owned())]);
        At { spot, ..self.inner(table, key) }
    }

    fn spot(&self, path: impl Into<Vec<Step>>) -> Spot {
        Spot { section: self.node.place.clone(), name: self.name.clone(), path: path.into() }
    }

    fn subject(&self, key: &str) -> String {
        [self.name.as_str(), key].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }
}

impl<'a> Reading<'a> {
    /// `directory` is where relative paths begin.
    pub(super) const fn new(directory: &'a Path, environment: &'a BTreeMap<String, String>) -> Self {
        Self { directory, environment, problems: Vec::new(), invented: Vec::new() }
    }

    pub(super) const fn directory(&self) -> &'a Path {
        self.directory
    }

    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        self.environment.get(name).map(String::as_str)
    }

    /// All variables whose names begin so, without that beginning.
    pub(super) fn variables(&self, prefix: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.environment.iter().filter_map(move |(name, text)| Some((name.strip_prefix(prefix)?, text.as_str())))
    }

    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    pub(super) fn error(&mut self, at: &At, mistake: Mistake) {
        self.add(at, Severity::Error, mistake);
    }

    pub(super) fn warn(&mut self, at: &At, mistake: Mistake) {
        self.add(at, Severity::Warning, mistake);
    }

    /// For places outside of any section.
    pub(super) fn error_at(&mut self, place: Place, subject: &str, mistake: Mistake) {
        let spot = Spot { section: Place::File, name: subject.to_owned(), path: Vec::new() };
        self.error(&At { place, subject: subject.to_owned(), spot }, mistake);
    }

    fn add(&mut self, at: &At, severity: Severity, mistake: Mistake) {
        if self.is_invented(at) {
            return;
        }
        self.problems.push(Problem {
            place: at.place.clone(),
            severity,
            subject: at.subject.clone(),
            what: mistake.what.into_owned(),
            hint: mistake.hint.map(Into::into),
        });
    }

    /// Whether a value was found wrong before, by its shape or its meaning.
    pub(super) fn is_refused(&self, at: &At) -> bool {
        let is_it = |problem: &Problem| problem.place == at.place && problem.subject == at.subject;
        self.problems.iter().any(|problem| problem.severity == Severity::Error && is_it(problem))
            || self.is_invented(at)
    }

    /// The value, or a problem in its stead.
    pub(super) fn keep<T>(&mut self, at: &At, result: Result<T, Mistake>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.error(at, mistake);
                None
            }
        }
    }

    /// Reads a section into its struct and names every mistake of shape. Values that could not be read are invented: they
    /// are not judged further, and nothing starts with them.
    pub(super) fn shape<T: DeserializeOwned>(&mut self, section: &Section<'_>) -> Option<T> {
        let (written, wrong) = shape::read(section.node);
        for Misshapen { place, key, hollow, error } in wrong {
            let subject = if key.is_empty() { section.name.clone() } else { section.subject(&key) };
            let at = At { place, subject, spot: section.spot(hollow) };
            // two keys may be missing from one table
            let is_missing = matches!(error.cause, Cause::MissingKey(_));
            let is_told = !key.is_empty() && !is_missing && self.is_refused(&at);
            if !is_told {
                self.error(&at, error.mistake);
            }
            self.invented.push(at.spot);
        }
        written
    }

    /// Says that a key's value is of no use, whatever is written there: no more is said of it.
    pub(super) fn give_up(&mut self, section: &Section<'_>, key: &str) {
        self.invented.push(section.at(key).spot);
    }

    /// Whether a value, or a part of it, could not be read.
    pub(super) fn is_invented(&self, at: &At) -> bool {
        self.invented.iter().any(|spot| at.spot.is_within(spot) || spot.is_within(&at.spot))
    }

    /// The `ca_file` of a section: it must be there and hold certificates that can be roots.
    pub(super) fn ca_file(&mut self, section: &Section<'_>, written: Option<String>) -> Option<CaFile> {
        let read = CaFile::read(&self.resolve(&written?)).map_err(|why| {
            let hint = format!("certificates in PEM are wanted; relative paths begin at {}", self.directory.display());
            Mistake::new(why).hint(hint)
        });
        self.keep(&section.at("ca_file"), read)
    }

    /// Fetches a secret.
    pub(super) fn secret(&mut self, at: &At, source: &SecretSource) -> Option<SecretText> {
        let (secret, exposed) = source.fetch(self.directory, |name| self.variable(name));
        if exposed {
            let mistake = Mistake::new("other users of this machine can read the secret's file");
            self.warn(at, mistake.hint("chmod 600 it"));
        }
        self.keep(at, secret)
    }

    /// All that was found.
    pub(super) fn finish(self) -> Vec<Problem> {
        self.problems
    }
}
