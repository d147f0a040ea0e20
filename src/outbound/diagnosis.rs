//! What went wrong with a server that we call, and what the operator can do about it.

use std::borrow::Cow;
use std::fmt;

/// A cause, and a hint where there is one. Neither holds a secret. Printed as `cause: hint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    cause: String,
    hint: Option<Cow<'static, str>>,
    concerns_tls: bool,
}

impl Diagnosis {
    /// A cause without a hint.
    #[must_use]
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: None, concerns_tls: false }
    }

    /// Adds the hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names what was being done: `context: cause`, with the same hint.
    #[must_use]
    pub fn in_context(mut self, context: impl fmt::Display) -> Self {
        self.cause = format!("{context}: {}", self.cause);
        self
    }

    /// The same, about TLS: there is a server, and no trust.
    #[must_use]
    pub(super) const fn of_tls(mut self) -> Self {
        self.concerns_tls = true;
        self
    }

    /// Whether it is about TLS.
    #[must_use]
    pub const fn concerns_tls(&self) -> bool {
        self.concerns_tls
    }

    /// The cause and the hint, to be printed apart.
    #[must_use]
    pub fn into_parts(self) -> (String, Option<String>) {
        (self.cause, self.hint.map(Cow::into_owned))
    }
}

impl From<String> for Diagnosis {
    fn from(cause: String) -> Self {
        Self::new(cause)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, ": {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Diagnosis;

    #[test]
    fn the_hint_follows_the_whole_cause() {
        let diagnosis = Diagnosis::new("it answers 404").in_context("the document of identity k");
        assert_eq!(diagnosis.to_string(), "the document of identity k: it answers 404");
        let diagnosis = diagnosis.with_hint("check `issuer`").in_context("at start");
        assert_eq!(diagnosis.to_string(), "at start: the document of identity k: it answers 404: check `issuer`");
        let (cause, hint) = diagnosis.into_parts();
        assert_eq!(cause, "at start: the document of identity k: it answers 404");
        assert_eq!(hint.as_deref(), Some("check `issuer`"));
    }
}
