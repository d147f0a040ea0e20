//! The parameters of a request: a query or a form (RFC 6749 3.1, 3.2, appendix B).

use std::fmt;

use super::error::{ErrorCode, OAuthError};

/// The most parameters of a request. Each costs tens of bytes beside its text, and an empty one takes a single byte to send:
/// a budget that counts the bytes of bodies would not hold without it. No request of ours has more than twenty.
const MAX_PARAMETERS: usize = 64;

/// The parameters in their order. `Debug` shows their names only: values may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
    /// There were more than [`MAX_PARAMETERS`]. The rest is not dropped silently: which of them count would then depend on
    /// their order.
    too_many: bool,
}

/// Why a parameter cannot be read (RFC 6749 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// It is repeated, and must not be.
    #[error("the parameter {0} is repeated")]
    Repeated(&'static str),
    /// The request has too many of them to be read at all.
    #[error("the request has more than {MAX_PARAMETERS} parameters")]
    TooMany,
}

impl From<ParameterError> for OAuthError {
    fn from(error: ParameterError) -> Self {
        Self::new(ErrorCode::InvalidRequest, error.to_string())
    }
}

impl Parameters {
    /// Reads `application/x-www-form-urlencoded`, which never fails: what is not UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut parsed = form_urlencoded::parse(bytes);
        let pairs = parsed.by_ref().take(MAX_PARAMETERS).map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self { pairs: pairs.collect(), too_many: parsed.next().is_some() }
    }

    /// The value of a parameter that must not repeat; an empty value counts as absent (RFC 6749 3.1).
    ///
    /// # Errors
    /// When the parameter is repeated, or there are too many parameters.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, ParameterError> {
        if self.too_many {
            return Err(ParameterError::TooMany);
        }
        let mut values = self.pairs.iter().filter(|(key, _)| key == name);
        let first = values.next();
        if values.next().is_some() {
            return Err(ParameterError::Repeated(name));
        }
        Ok(first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()))
    }

    /// Checks all of these at once, also those that the rest of the request would keep from being read.
    ///
    /// # Errors
    /// When one of them is repeated, or there are too many parameters.
    pub fn none_repeated(&self, names: &[&'static str]) -> Result<(), ParameterError> {
        names.iter().try_for_each(|name| self.one(name).map(drop))
    }

    /// All values of a parameter that may repeat (`resource`, RFC 8707 2), without empty ones.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

/// A URI with parameters added to its query, which stays as it was (RFC 6749 3.1, 4.1.2).
#[must_use]
pub fn add_to_query(uri: &str, parameters: &[(&str, &str)]) -> String {
    let added = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let separator = match uri.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{uri}{separator}{added}")
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_PARAMETERS, ParameterError, Parameters};

    proptest! {
        #[test]
        fn any_bytes_parse_as_parameters_and_debug_shows_no_values(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let parameters = Parameters::parse(&bytes);
            let _ = parameters.one("code");
            let secret = Parameters::parse(b"code=pcc_secret");
            let printed = format!("{secret:?}{parameters:?}");
            prop_assert!(!printed.contains("pcc_secret"));
        }

        #[test]
        fn encoded_parameters_read_back(name in "[a-z_]{1,10}", value in "\\PC{1,40}") {
            let encoded = form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            let read = Parameters::parse(encoded.as_bytes());
            prop_assert_eq!(read.all(&name).collect::<Vec<_>>(), [value.as_str()]);
        }
    }

    #[test]
    fn a_repeated_parameter_is_an_error_and_an_empty_one_is_absent() {
        let parameters = Parameters::parse(b"a=1&a=2&b=&resource=x&resource=&resource=y%20z");
        assert_eq!(parameters.one("a"), Err(ParameterError::Repeated("a")));
        assert_eq!(parameters.one("b"), Ok(None));
        assert_eq!(parameters.one("c"), Ok(None));
        assert_eq!(parameters.none_repeated(&["c", "b", "a"]), Err(ParameterError::Repeated("a")));
        assert_eq!(parameters.none_repeated(&["c", "b"]), Ok(()));
        assert_eq!(parameters.all("resource").collect::<Vec<_>>(), ["x", "y z"]);
        assert_eq!(format!("{parameters:?}"), r#"["a", "a", "b", "resource", "resource", "resource"]"#);
    }

    #[test]
    fn a_request_with_very_many_parameters_is_not_read() {
        let most = format!("a=1{}", "&b=2".repeat(MAX_PARAMETERS - 1));
        assert_eq!(Parameters::parse(most.as_bytes()).one("a"), Ok(Some("1")));
        let flood = Parameters::parse(format!("a=1{}", "&b".repeat(30_000)).as_bytes());
        assert_eq!(flood.one("a"), Err(ParameterError::TooMany));
        assert_eq!(flood.pairs.len(), MAX_PARAMETERS);
    }
}
