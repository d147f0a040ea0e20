//! What is wrong with a configuration: where, what, and how to correct it.
//!
//! No text here carries a value that was refused. It may be a secret in the wrong place, and the reader of the
//! message has line and column to look it up.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

/// Where a value was written. Ordered as problems are printed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole: something is missing from it.
    File,
    /// A place in the file.
    Line {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// An environment variable that lies over the file.
    Variable(Arc<str>),
}

impl Place {
    /// As part of a sentence about another place.
    pub(super) fn words(&self) -> String {
        match self {
            Self::File => "the file".to_owned(),
            Self::Line { line, .. } => format!("line {line}"),
            Self::Variable(name) => name.to_string(),
        }
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing starts with it.
    Error,
    /// It may be meant so.
    Warning,
}

impl Severity {
    /// As it is printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it was written.
    pub place: Place,
    /// Whether anything can start with it.
    pub severity: Severity,
    /// The section and key that it is about: `upstream "expenses": url`. Empty for the file itself.
    pub subject: String,
    /// What is wrong.
    pub what: String,
    /// How to correct it, where the words above do not say so already.
    pub hint: Option<String>,
}

/// Everything that is wrong with one file, in the order of its lines. Prints as a compiler would, with a count at the
/// end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: String, mut list: Vec<Problem>) -> Self {
        list.sort();
        Self { file, list }
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds what was found out later.
    pub(crate) fn extend(&mut self, found: Vec<Problem>) {
        self.list.extend(found);
        self.list.sort();
    }

    /// Whether nothing can start with them.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// For machines: one object for each, in the order in which they are printed. `line` and `column` are null where no place
    /// in the file is meant; `variable` names the environment variable that lies over it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rows = self.list.iter().map(|problem| {
            let (line, column, variable) = match &problem.place {
                Place::File => (None, None, None),
                Place::Line { line, column } => (Some(line), Some(column), None),
                Place::Variable(name) => (None, None, Some(name)),
            };
            json!({
                "severity": problem.severity.as_str(),
                "file": self.file,
                "line": line,
                "column": column,
                "variable": variable,
                "key": problem.subject,
                "message": problem.what,
                "hint": problem.hint,
            })
        });
        rows.collect()
    }

    fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|problem| problem.severity == severity).count()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            match &problem.place {
                Place::File => f.write_str(&self.file)?,
                Place::Line { line, column } => write!(f, "{}:{line}:{column}", self.file)?,
                Place::Variable(name) => f.write_str(name)?,
            }
            let severity = problem.severity.as_str();
            let colon = if problem.subject.is_empty() { "" } else { ": " };
            writeln!(f, ": {severity}: {}{colon}{}", problem.subject, problem.what)?;
            if let Some(hint) = &problem.hint {
                writeln!(f, "    hint: {hint}")?;
            }
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        write!(f, "{}: ", self.file)?;
        match (errors, warnings) {
            (0, _) => write!(f, "{}", counted(warnings, "warning")),
            (_, 0) => write!(f, "{}", counted(errors, "error")),
            _ => write!(f, "{}, {}", counted(errors, "error"), counted(warnings, "warning")),
        }
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// What is wrong with a value, before it is known where the value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) what: Cow<'static, str>,
    pub(super) hint: Option<Cow<'static, str>>,
}

impl Mistake {
    /// Says what is wrong.
    pub(super) fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), hint: None }
    }

    /// Says how to correct it.
    pub(super) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Why a file cannot be read or written, in words that do not name it.
pub(crate) fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        other => other.to_string(),
    }
}

/// The known name that was probably meant.
pub(super) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written = written.to_ascii_lowercase().replace('-', "_");
    let singular = written.strip_suffix("ies").map(|stem| format!("{stem}y"));
    let distance = |name: &str| {
        let name = name.to_ascii_lowercase();
        let distance = strsim::damerau_levenshtein(&written, &name);
        singular.iter().map(|singular| strsim::damerau_levenshtein(singular, &name)).fold(distance, usize::min)
    };
    known.iter().copied().min_by_key(|name| distance(name)).filter(|name| distance(name) <= (name.len() / 3).max(1))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_what_was_meant_and_another_word_finds_nothing() {
        let known = ["listen", "operations", "url", "path", "scopes", "identity"];
        for (written, meant) in [
            ("urll", Some("url")),
            ("URL", Some("url")),
            ("scope", Some("scopes")),
            ("lisetn", Some("listen")),
            ("operation", Some("operations")),
            ("identities", Some("identity")),
            ("auth", None),
            ("hunter2", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, &known), meant, "{written}");
        }
        assert_eq!(nearest("x", &[]), None);
    }
}
