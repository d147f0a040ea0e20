//! Environment variables override the file: `PORTCULLIS_<SECTION>__<KEY>`, for lists by id
//! (`PORTCULLIS_UPSTREAM__EXPENSES__URL`; a header: `PORTCULLIS_UPSTREAM__EXPENSES__HEADERS__X_API_KEY`), and
//! `PORTCULLIS_PUBLIC_URL` for a top-level key.
//!
//! A variable that matches no setting is an error: it is more likely a typing error than another program's variable.

use std::net::IpAddr;

use super::document::{Entry, Node, Value, parse_table, parse_tables};
use super::problem::{Location, Mistake, nearest};
use super::reading::Reading;
use super::sections::{Sections, id, names, printable_id};

const PREFIX: &str = "PORTCULLIS_";

/// Applies every variable. Its text is converted when the section is deserialized.
pub(super) fn overlay(sections: &mut Sections, reading: &mut Reading<'_>) {
    let secrets = secret_variables(sections);
    for (rest, text) in reading.variables(PREFIX) {
        let name = format!("{PREFIX}{rest}");
        if secrets.contains(&name) || is_service_link(rest, text) {
            continue;
        }
        let location = Location::Variable(name.into());
        match target(sections, rest) {
            Ok((table, key)) => put(table, key, text, &location),
            Err(mistake) => reading.error_at(location, "", mistake),
        }
    }
}

/// The variables that the file uses as sources of secrets. Their names are free, and may begin with the prefix.
fn secret_variables(sections: &Sections) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting: Vec<&Node> = sections.nodes().collect();
    while let Some(node) = waiting.pop() {
        match &node.value {
            Value::List(items) => waiting.extend(items),
            Value::Table(entries) => {
                found.extend(node.text("env").map(str::to_owned));
                waiting.extend(entries.iter().map(|entry| &entry.node));
            }
            _ => (),
        }
    }
    found
}

/// Kubernetes sets variables with the addresses of services, and a service may be called `portcullis`.
fn is_service_link(rest: &str, text: &str) -> bool {
    let ends = |end: &str| rest.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('_'));
    let has = |part: &str| rest.starts_with(part) || rest.contains(&format!("_{part}"));
    let number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = rest.split("PORT_").skip(1).any(|after| {
        let protocol = after.trim_start_matches(|c: char| c.is_ascii_digit());
        protocol.len() < after.len() && ["_TCP", "_UDP", "_SCTP"].iter().any(|known| protocol.starts_with(known))
    });
    port || ends("PORT") && text.contains("://")
        || ends("SERVICE_HOST") && text.parse::<IpAddr>().is_ok()
        || number && (ends("SERVICE_PORT") || has("SERVICE_PORT_"))
}

/// The table and key that a variable overrides; the key need not exist yet.
fn target<'a>(sections: &'a mut Sections, rest: &str) -> Result<(&'a mut Node, String), Mistake> {
    if rest.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(Mistake::new("must be in capitals").hint("write the whole name in capitals"));
    }
    let folded = rest.to_ascii_lowercase();
    let parts: Vec<&str> = folded.split("__").collect();
    match parts.as_slice() {
        [key] if names().contains(key) && sections.table_mut(key).is_none() && sections.list_mut(key).is_none() => {
            Ok((&mut sections.top, (*key).to_owned()))
        }
        [section, key] if sections.table_mut(section).is_some() => {
            let table = sections.table_mut(section).ok_or_else(|| no_such_setting(&parts))?;
            Ok((table, (*key).to_owned()))
        }
        // header names have hyphens, which variable names cannot have
        ["upstream", id @ .., "headers", name] if !id.is_empty() => {
            let entries = sections.list_mut("upstream").ok_or_else(|| no_such_setting(&parts))?;
            let headers = subtable(entry("upstream", entries, &id.join("__"))?, "headers");
            let headers = headers.ok_or_else(|| no_such_setting(&parts))?;
            let written = headers.entries().iter().map(|entry| &entry.key).find(|key| fold(key) == *name);
            let name = written.cloned().unwrap_or_else(|| name.replace('_', "-"));
            Ok((headers, name))
        }
        [list, id @ .., key] if !id.is_empty() && sections.list_mut(list).is_some() => {
            let entries = sections.list_mut(list).ok_or_else(|| no_such_setting(&parts))?;
            Ok((entry(list, entries, &id.join("__"))?, (*key).to_owned()))
        }
        [list, _] if sections.list_mut(list).is_some() => Err(Mistake::new("does not name an entry")
            .hint(format!("put the id in the middle: {PREFIX}{}__ID__KEY", list.to_ascii_uppercase()))),
        parts => Err(no_such_setting(parts)),
    }
}

fn no_such_setting(parts: &[&str]) -> Mistake {
    let mistake = Mistake::new("matches no setting");
    let (first, rest) = parts.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
    match nearest(first, &names()) {
        Some(meant) if meant != first => {
            let meant = [&[meant], rest].concat().join("__").to_ascii_uppercase();
            mistake.hint(format!("did you mean {PREFIX}{meant}?"))
        }
        _ => mistake.hint(format!("{PREFIX}SECTION__KEY, such as {PREFIX}SERVER__LISTEN, or {PREFIX}PUBLIC_URL")),
    }
}

/// The entry of a list whose folded id is the given one.
fn entry<'a>(list: &str, entries: &'a mut [Node], wanted: &str) -> Result<&'a mut Node, Mistake> {
    let folded = |entry: &Node| id(list, entry).map(fold);
    let printable = entries.iter().filter_map(|entry| printable_id(list, entry));
    let mut ids: Vec<String> = printable.map(|id| fold(id).to_ascii_uppercase()).collect();
    ids.dedup();
    let mut matching = entries.iter_mut().filter(|entry| folded(entry).is_some_and(|id| id == wanted));
    match (matching.next(), matching.next()) {
        (Some(entry), None) => Ok(entry),
        (Some(_), Some(_)) => {
            Err(Mistake::new(format!("matches more than one {list}")).hint("set the value in the file"))
        }
        (None, _) if ids.is_empty() => Err(Mistake::new(format!("matches no {list}: the file has none with an id"))),
        (None, _) => {
            Err(Mistake::new(format!("matches no {list} in the file"))
                .hint(format!("known ids are {}", ids.join(", "))))
        }
    }
}

/// The table under a key, created if it is missing; `None` when the key has another value.
fn subtable<'a>(table: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Value::Table(entries) = &mut table.value else { return None };
    if !entries.iter().any(|entry| entry.key == key) {
        entries.push(Entry { key: key.to_owned(), location: Location::File, node: Node::absent() });
    }
    let node = &mut entries.iter_mut().find(|entry| entry.key == key)?.node;
    matches!(node.value, Value::Table(_)).then_some(node)
}

fn fold(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// The settings whose value is a table. Only for these: a secret is never read as TOML.
const TABLES: [&str; 3] = ["implies", "authorize_params", "delegation"];

fn put(table: &mut Node, key: String, text: &str, location: &Location) {
    let Value::Table(entries) = &mut table.value else { return };
    let read = if TABLES.contains(&key.as_str()) { parse_table } else { parse_tables };
    let value = read(text, location).unwrap_or_else(|| Value::Variable(text.to_owned()));
    let node = Node { location: location.clone(), value };
    match entries.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => entry.node = node,
        None => entries.push(Entry { key, location: location.clone(), node }),
    }
}

#[cfg(test)]
mod tests {
    use super::is_service_link;

    #[test]
    fn kubernetes_service_variables_are_ignored() {
        for (rest, text) in [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "80"),
            ("SERVICE_PORT_HTTP", "80"),
            ("PORT", "tcp://10.0.0.1:80"),
            ("PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("PORT_80_TCP_ADDR", "10.0.0.1"),
            ("PORT_80_TCP_PROTO", "tcp"),
            ("POSTGRES_PORT_5432_TCP_PORT", "5432"),
            ("POSTGRES_SERVICE_HOST", "fd00::1"),
        ] {
            assert!(is_service_link(rest, text), "{rest}={text}");
        }
        for (rest, text) in [
            ("PORT", "8080"),
            ("SERVER__LISTEN", "10.0.0.1:80"),
            ("SERVICE_HOST", "example.com"),
            ("SERVICE_PORT", "http"),
            ("UPSTREAM__EXPENSES__URL", "http://10.0.0.1"),
            ("PUBLIC_URL", "https://x"),
            ("SUPPORT", "tcp://x"),
        ] {
            assert!(!is_service_link(rest, text), "{rest}={text}");
        }
    }
}
