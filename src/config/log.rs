//! `[log]`: the level and format of the log.

use serde::Deserialize;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::problem::Mistake;
use super::reading::{Reading, Section};

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text at a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text, for people.
    Text,
    /// One flat JSON object per line.
    Json,
}

/// The log.
#[derive(Debug, Clone)]
pub struct Log {
    /// The format of a line.
    pub format: LogFormat,
    /// Directives in the form of `RUST_LOG`, which overrides them.
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

/// Checks directives more strictly than the parser: it takes a lone word for a target at level trace, but a misspelt level is
/// more likely.
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
    fn a_misspelt_level_is_not_taken_for_a_target() {
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
