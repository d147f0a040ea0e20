//! `[log]`: what is logged, and in which form.

use serde::Deserialize;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::problem::Mistake;
use super::reading::{Reading, Section};

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text at a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line, flat.
    Json,
}

/// The log.
#[derive(Debug, Clone)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// Directives in the form of `RUST_LOG` (levels, and levels of targets), which overrides them.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "warn,portcullis=info,audit=info,access=info".to_owned() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    format: Option<LogFormat>,
    level: Option<String>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Log> {
    let written: Written = reading.shape(section)?;
    let mut log = Log { format: written.format.unwrap_or_default(), ..Log::default() };
    if let Some(level) = written.level {
        log.level = reading.keep(&section.at("level"), directives(&level)).unwrap_or_default();
    }
    Some(log)
}

/// A lone word that is no level would be a target, with everything of it: it is a misspelt level far more often.
fn directives(text: &str) -> Result<String, Mistake> {
    let wrong = || {
        Mistake::new("must be levels, separated by commas").hint(
            "\"info\", or with targets \"warn,portcullis=debug,access=off\"; off, error, warn, info, debug, trace",
        )
    };
    // an empty word would be the level "error"
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let is_target = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:".contains(&byte));
    let says_level = |directive: &str| match directive.rsplit_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(directive),
    };
    let text = text.trim();
    let good = text.split(',').all(says_level) && text.parse::<Targets>().is_ok();
    if good { Ok(text.to_owned()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::{Log, directives};

    #[test]
    fn levels_are_told_from_words_that_only_look_like_them() {
        let default = Log::default().level;
        for good in ["info", "OFF", "warn,portcullis=debug", "access=off", "portcullis::gateway=trace", &default] {
            assert_eq!(directives(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "debgu",
            "warn,",
            "warn,portcullis",
            "portcullis=loud",
            "portcullis=",
            "info;audit=off",
            "a=b=c",
            "portcullis[request]=trace",
        ] {
            assert!(directives(bad).is_err(), "{bad}");
        }
    }
}
