//! The source of a secret: a file or an environment variable, never the configuration file itself.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Deserialize;

use super::problem::{Mistake, io_message};
use crate::secret::SecretText;

/// The names by which the deserializer recognizes the two types.
pub(super) const SECRET_SOURCE: &str = "SecretSource";
pub(super) const SECRET_SOURCES: &str = "SecretSources";

const FORM: &str = "write { file = \"/run/secrets/NAME\" } or { env = \"NAME\" }";

/// The largest file, in bytes: no key or password is longer, so a larger file must be the wrong one.
const LARGEST: u64 = 64 * 1024;

/// `{ file = "…" }` or `{ env = "…" }`.
#[derive(Deserialize)]
#[serde(rename = "SecretSource", rename_all = "lowercase")]
pub(super) enum SecretSource {
    File(String),
    Env(String),
}

/// Several, in order.
#[derive(Deserialize)]
#[serde(rename = "SecretSources")]
pub(super) struct SecretSources(pub(super) Vec<SecretSource>);

/// For a secret written into the configuration file.
pub(super) fn inline_secret() -> Mistake {
    Mistake::new("secrets are not allowed in this file").hint(FORM)
}

/// For a value that is neither a secret nor one source.
pub(super) fn no_source() -> Mistake {
    Mistake::new("must name one source for the secret").hint(FORM)
}

/// For a missing variable. Prints its name only if that cannot be a secret.
fn unset(name: &str) -> Mistake {
    let variable = if is_a_name(name) {
        format!("the environment variable {name}")
    } else {
        "the environment variable".to_owned()
    };
    Mistake::new(format!("{variable} is not set, or is not UTF-8 text"))
        .hint("set it for this process; the name is written without $")
}

/// Whether a text is the name of a variable and cannot be a secret: two or more words in capitals, joined by `_`. Generated
/// keys and passwords are one word, or mix cases, or have digits between letters.
fn is_a_name(text: &str) -> bool {
    let is_word = |word: &str| {
        let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = word.len() - letters.len();
        (1..=12).contains(&letters.len()) && digits <= 2 && letters.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    text.len() <= 64 && text.contains('_') && text.split('_').all(is_word)
}

fn empty() -> Mistake {
    Mistake::new("the secret is empty").hint("put the secret into its file or variable")
}

impl SecretSource {
    /// Reads the secret; also returns whether other users of this machine can read it. Problems never repeat what was
    /// written: it may be the secret itself in place of its source.
    pub(super) fn fetch<'a>(
        &self,
        directory: &Path,
        variable: impl Fn(&str) -> Option<&'a str>,
    ) -> (Result<SecretText, Mistake>, bool) {
        let (text, exposed) = match self {
            Self::File(path) => {
                let path = directory.join(path);
                (read(&path).map_err(|why| unreadable(&why, directory)), readable_by_others(&path))
            }
            Self::Env(name) => (variable(name).map(str::to_owned).ok_or_else(|| unset(name)), false),
        };
        let text = text.and_then(|text| if text.is_empty() { Err(empty()) } else { Ok(text) });
        (text.map(SecretText::from), exposed)
    }
}

fn unreadable(why: &str, directory: &Path) -> Mistake {
    Mistake::new(format!("the secret's file cannot be read: {why}"))
        .hint(format!("relative paths begin at {}", directory.display()))
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| io_message(&error))?;
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| io_message(&error))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LARGEST) {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

fn readable_by_others(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o044 != 0)
}

#[cfg(test)]
mod tests {
    use super::is_a_name;

    #[test]
    fn a_text_that_could_be_a_secret_is_not_taken_for_a_variable_name() {
        for name in ["KEYCLOAK_CLIENT_SECRET", "PORTCULLIS_ROOT_KEY", "OIDC_SECRET2", "A_B"] {
            assert!(is_a_name(name), "{name}");
        }
        for secret in [
            "",
            "HUNTER",
            "Hunter2",
            "JBSWY3DPEHPK3PXP",
            "DEADBEEFDEADBEEF",
            "$KEYCLOAK_SECRET",
            "my_secret",
            "GHP_16C7E42F292C6912E7710C838347AE178B4A",
            "AKIA_IOSFODNN7EXAMPLE",
            "ABCDEFGHIJKLMNOP_QRSTUVWXYZABCDE",
            "A__B",
            "_A",
            "A_B ",
            "A-B_C",
            &"AB_".repeat(30),
        ] {
            assert!(!is_a_name(secret), "{secret}");
        }
    }
}
