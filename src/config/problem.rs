//! Problems with a configuration: location, message and hint.
//!
//! No message repeats the value that was refused, because it may be a misplaced secret; line and column lead to it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

/// Where a value was written. The order is that in which problems are printed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// The file as a whole, for something that is missing.
    File,
    /// A position in the file.
    Line {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// An environment variable that overrides the file.
    Variable(Arc<str>),
}

impl Location {
    /// For use inside a message: `line 6`.
    pub(super) fn message(&self) -> String {
        match self {
            Self::File => "the file".to_owned(),
            Self::Line { line, .. } => format!("line {line}"),
            Self::Variable(name) => name.to_string(),
        }
    }
}

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It may be intended.
    Warning,
}

impl Severity {
    /// The printed form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Its location.
    pub location: Location,
    /// Its severity.
    pub severity: Severity,
    /// The section and key concerned: `upstream "expenses": url`. Empty for the file itself.
    pub subject: String,
    /// The message.
    pub what: String,
    /// How to correct it, unless the message says so already.
    pub hint: Option<String>,
}

/// All problems with one file, in the order of its lines. Prints in the form of compiler messages, with a count at the end.
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

    /// The problems, sorted.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Whether there are no problems.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds problems that were found later.
    pub(crate) fn extend(&mut self, found: Vec<Problem>) {
        self.list.extend(found);
        self.list.sort();
    }

    /// Whether the configuration is refused.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// For programs: one object per problem, in printed order. `line` and `column` are null unless the problem has a position
    /// in the file; `variable` names the environment variable that overrides it, or is null.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rows = self.list.iter().map(|problem| {
            let (line, column, variable) = match &problem.location {
                Location::File => (None, None, None),
                Location::Line { line, column } => (Some(line), Some(column), None),
                Location::Variable(name) => (None, None, Some(name)),
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
            match &problem.location {
                Location::File => f.write_str(&self.file)?,
                Location::Line { line, column } => write!(f, "{}:{line}:{column}", self.file)?,
                Location::Variable(name) => f.write_str(name)?,
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
            (0, _) => write!(f, "{}", pluralize(warnings, "warning")),
            (_, 0) => write!(f, "{}", pluralize(errors, "error")),
            _ => write!(f, "{}, {}", pluralize(errors, "error"), pluralize(warnings, "warning")),
        }
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn pluralize(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// A problem without its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) what: Cow<'static, str>,
    pub(super) hint: Option<Cow<'static, str>>,
}

impl Mistake {
    /// A mistake with this message.
    pub(super) fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), hint: None }
    }

    /// Adds or replaces the hint.
    pub(super) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Why a file cannot be read or written, without its name.
pub(crate) fn io_message(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
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
    fn a_misspelt_name_finds_the_known_one_and_an_unrelated_word_finds_none() {
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
