//! The headers of requests to an upstream: `headers`, `drop_headers`, `keep_headers`, `groups` and `max_groups_bytes` of
//! `[[upstream]]`.
//!
//! Defends against: header spoofing by a setting that lets a client send a protected header.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderName, HeaderValue};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::header_names::{HeaderNames, OTHER_PROXIES, PROTECTED, folded};
use super::id::Seen;
use super::needs::SecretFor;
use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{Reading, Section, ValueRef};
use super::secret_source::SecretSource;

/// Node.js refuses a head above 16 KiB with 431; several other servers refuse one above 8 KiB.
const DEFAULT_GROUPS_BYTES: usize = 4 * 1024;
const LEAST_GROUPS_BYTES: u64 = 64;
const MOST_GROUPS_BYTES: u64 = 32 * 1024;
/// The longest value, in bytes: no credential is longer, so a larger file must be the wrong one.
const LONGEST_VALUE: usize = 8 * 1024;

/// Headers that MCP needs: they can neither be set for all calls nor be dropped.
const NEEDED: [&str; 7] =
    ["accept", "content-type", "last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id"];

/// Which headers of a request are added, dropped and kept.
#[derive(Debug, Clone, Default)]
pub struct RequestHeaders {
    /// Headers that we add; a client's header with the same name is dropped.
    pub added: Vec<AddedHeader>,
    /// Further client headers that are dropped.
    pub dropped: DroppedHeaders,
    /// Which of the user's groups are sent.
    pub groups: ForwardedGroups,
}

/// A header that the operator configured.
#[derive(Debug, Clone)]
pub struct AddedHeader {
    /// The header name.
    pub name: HeaderName,
    /// The value, marked as sensitive: it does not print, and HTTP/2 does not index it.
    pub value: HeaderValue,
}

/// The headers dropped by configuration: those of other proxies and those that the operator listed, without exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedHeaders {
    /// Names and prefixes.
    pub(crate) patterns: Vec<String>,
    /// Exceptions.
    pub(crate) kept: HeaderNames,
}

impl Default for DroppedHeaders {
    fn default() -> Self {
        let patterns = OTHER_PROXIES.iter().map(|name| (*name).to_owned()).collect();
        Self { patterns, kept: HeaderNames::default() }
    }
}

/// Which groups an upstream receives, and how many bytes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedGroups {
    /// Names of groups, or prefixes that end in `*`.
    pub names: Vec<String>,
    /// The maximum length of all groups together, in bytes.
    pub max_bytes: usize,
}

impl Default for ForwardedGroups {
    fn default() -> Self {
        Self { names: vec!["*".to_owned()], max_bytes: DEFAULT_GROUPS_BYTES }
    }
}

impl ForwardedGroups {
    /// Sends no groups.
    #[must_use]
    pub const fn none() -> Self {
        Self { names: Vec::new(), max_bytes: 0 }
    }

    /// Whether the upstream receives this group.
    #[must_use]
    pub fn names(&self, group: &str) -> bool {
        self.names.iter().any(|name| match name.strip_suffix('*') {
            Some(begin) => group.starts_with(begin),
            None => name == group,
        })
    }
}

/// The keys of `[[upstream]]` that are read here.
#[derive(Default)]
pub(super) struct Written {
    pub(super) headers: Option<HeaderSources>,
    pub(super) drop: Option<Vec<String>>,
    pub(super) keep: Option<Vec<String>>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) max_groups_bytes: Option<Scalar>,
}

/// Header names, each with the source of its value.
pub(super) struct HeaderSources(BTreeMap<String, SecretSource>);

impl<'de> Deserialize<'de> for HeaderSources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sources;

        impl<'de> Visitor<'de> for Sources {
            type Value = HeaderSources;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of header names, such as { authorization = { env = \"NAME\" } }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderSources, A::Error> {
                let mut sources = BTreeMap::new();
                while let Some((name, source)) = map.next_entry()? {
                    sources.insert(name, source);
                }
                Ok(HeaderSources(sources))
            }
        }

        deserializer.deserialize_any(Sources)
    }
}

/// Checks the keys.
pub(super) fn read(written: Written, section: &Section<'_>, reading: &mut Reading<'_>) -> RequestHeaders {
    let added = written.headers.map(|sources| added(&sources, section, reading)).unwrap_or_default();
    let dropped = dropped(written.drop, written.keep, section, reading);
    let groups = groups(written.groups, written.max_groups_bytes, section, reading);
    RequestHeaders { added, dropped, groups }
}

fn added(sources: &HeaderSources, section: &Section<'_>, reading: &mut Reading<'_>) -> Vec<AddedHeader> {
    let mut seen = Seen::default();
    let mut added = Vec::new();
    for (written, source) in &sources.0 {
        let at = section.nested("headers", written);
        let name = header_name(written).and_then(|name| {
            let once = seen.insert(&folded(name.as_str()), &at.location);
            once.map(|()| name).map_err(|before| Mistake::new(format!("is already set in {before}")))
        });
        let name = reading.keep(&section.nested_key("headers", written), name);
        let value = reading.secret(&at, SecretFor::Serving, source);
        let value = value.and_then(|secret| header_value(&at, secret.expose(), false, reading));
        if let (Some(name), Some(value)) = (name, value) {
            added.push(AddedHeader { name, value });
        }
    }
    added
}

/// A header that we add.
pub(super) fn header_name(written: &str) -> Result<HeaderName, Mistake> {
    let name = HeaderName::try_from(written)
        .map_err(|_invalid| Mistake::new("is not a header name").hint("letters, digits and hyphens"))?;
    let folded = folded(name.as_str());
    match &*folded {
        "authorization" | "cookie" if folded == name.as_str() => Ok(name),
        "host" => Err(Mistake::new("cannot be set here").hint("set the upstream's `host` instead")),
        _ if HeaderNames::new(PROTECTED.iter().copied()).contains(&folded) => {
            Err(Mistake::new("is reserved: the gateway sets or removes this header"))
        }
        _ if NEEDED.contains(&&*folded) || ["content-", "mcp-"].iter().any(|begin| folded.starts_with(begin)) => {
            Err(Mistake::new("describes the client's message, so it cannot be the same for all calls"))
        }
        _ => Ok(name),
    }
}

/// A header in which clients send something to us, and which is not forwarded.
pub(super) fn client_header(written: &str) -> Result<HeaderName, Mistake> {
    let name = header_name(written)?;
    if name == http::header::AUTHORIZATION || name == http::header::COOKIE {
        return Err(Mistake::new("cannot be used: it has another meaning").hint("such as \"x-api-key\""));
    }
    Ok(name)
}

/// The value of a header that we add, which is a secret. `bearer`: whether it gets `Bearer` in front.
pub(super) fn header_value(at: &ValueRef, text: &str, bearer: bool, reading: &mut Reading<'_>) -> Option<HeaderValue> {
    let whole = if bearer { format!("Bearer {text}") } else { text.to_owned() };
    let value = HeaderValue::try_from(whole).ok().filter(|_| text.trim() == text && text.len() <= LONGEST_VALUE);
    let value = value.ok_or_else(|| {
        Mistake::new("the value is not valid in a header")
            .hint("one line of printable ASCII, without spaces around it, at most 8 KiB")
    });
    let mut value = reading.keep(at, value)?;
    value.set_sensitive(true);
    Some(value)
}

fn dropped(
    drop: Option<Vec<String>>,
    keep: Option<Vec<String>>,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> DroppedHeaders {
    let mut dropped = DroppedHeaders::default();
    for (index, pattern) in drop.into_iter().flatten().enumerate() {
        dropped.patterns.extend(reading.keep(&section.item("drop_headers", index), dropped_pattern(pattern)));
    }
    let all = HeaderNames::new(dropped.patterns.iter().map(String::as_str));
    let keep = keep.unwrap_or_default();
    for (index, name) in keep.iter().enumerate() {
        reading.keep(&section.item("keep_headers", index), kept_name(name, &all));
    }
    dropped.kept = HeaderNames::new(keep.iter().map(|name| name.trim_end_matches('*')));
    dropped
}

fn dropped_pattern(pattern: String) -> Result<String, Mistake> {
    let wrong = || Mistake::new("is not a header name or prefix");
    let name = pattern.strip_suffix('*').unwrap_or(&pattern);
    HeaderName::try_from(name)
        .map_err(|_invalid| wrong().hint("such as \"x-tenant\" or \"x-tenant-*\": * is allowed at the end only"))?;
    if name.contains('*') {
        return Err(wrong().hint("* is allowed at the end only"));
    }
    let set = HeaderNames::new([pattern.as_str()]);
    match NEEDED.iter().find(|needed| set.contains(needed)) {
        Some(needed) => Err(Mistake::new(format!("would drop {needed}, without which MCP does not work"))),
        None => Ok(pattern),
    }
}

fn kept_name(name: &str, dropped: &HeaderNames) -> Result<(), Mistake> {
    if name.contains('*') || HeaderName::try_from(name).is_err() {
        return Err(Mistake::new("is not a header name").hint("list each exception by its full name, without *"));
    }
    let folded = folded(name);
    if HeaderNames::new(PROTECTED.iter().copied()).contains(&folded) {
        return Err(Mistake::new("is never accepted from a client: it would let one user impersonate another"));
    }
    if dropped.contains(&folded) {
        Ok(())
    } else {
        Err(Mistake::new("is not dropped, so there is nothing to keep").hint("leave it out"))
    }
}

fn groups(
    names: Option<Vec<String>>,
    max_bytes: Option<Scalar>,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> ForwardedGroups {
    let mut groups = ForwardedGroups::default();
    if let Some(names) = names {
        for (index, name) in names.iter().enumerate() {
            let plain = !name.is_empty() && !name.trim_end_matches('*').contains('*') && !name.ends_with("**");
            let mistake = || {
                Mistake::new("is not a group or prefix")
                    .hint("such as \"staff\" or \"mcp-*\": * is allowed at the end only; [] sends no groups")
            };
            reading.keep(&section.item("groups", index), if plain { Ok(()) } else { Err(mistake()) });
        }
        groups.names = names;
    }
    if let Some(max_bytes) = max_bytes {
        let max_bytes = max_bytes.bytes().and_then(groups_bytes);
        groups.max_bytes = reading.keep(&section.at("max_groups_bytes"), max_bytes).unwrap_or_default();
    }
    groups
}

fn groups_bytes(bytes: u64) -> Result<usize, Mistake> {
    let outside = || Mistake::new("must be between 64 bytes and 32KiB").hint("groups = [] sends no groups");
    let inside = (LEAST_GROUPS_BYTES..=MOST_GROUPS_BYTES).contains(&bytes);
    usize::try_from(bytes).ok().filter(|_| inside).ok_or_else(outside)
}

#[cfg(test)]
mod tests;
