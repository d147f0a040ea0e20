//! Environment variables over the file: `PORTCULLIS_<SECTION>__<KEY>`, in lists by id
//! (`PORTCULLIS_UPSTREAM__EXPENSES__URL`; a header: `PORTCULLIS_UPSTREAM__EXPENSES__HEADERS__X_API_KEY`), and
//! `PORTCULLIS_PUBLIC_URL` for what stands in no section.
//!
//! A variable that names nothing is an error: it is a slip of the pen far more often than somebody else's.

use std::net::IpAddr;

use super::document::{Entry, Node, Value, parse_tables};
use super::problem::{Mistake, Place, nearest};
use super::reading::Reading;
use super::sections::{Sections, id, names, printable_id};

const PREFIX: &str = "PORTCULLIS_";

/// Puts every variable into its place. The text becomes what the key wants when the section is read.
pub(super) fn overlay(sections: &mut Sections, reading: &mut Reading<'_>) {
    let secrets = named_secrets(sections);
    for (rest, text) in reading.variables(PREFIX) {
        let name = format!("{PREFIX}{rest}");
        if secrets.contains(&name) || is_service_link(rest, text) {
            continue;
        }
        let place = Place::Variable(name.into());
        match target(sections, rest) {
            Ok((table, key)) => put(table, key, text, &place),
            Err(mistake) => reading.error_at(place, "", mistake),
        }
    }
}

/// Variables that the file names as sources of secrets are called as the operator likes.
fn named_secrets(sections: &Sections) -> Vec<String> {
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

/// Kubernetes gives every container the addresses of the services beside it; one may well be called `portcullis`.
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

/// The table that a variable speaks of, and the key in it, which need not exist yet.
fn target<'a>(sections: &'a mut Sections, rest: &str) -> Result<(&'a mut Node, String), Mistake> {
    if rest.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(Mistake::new("is not written in capitals").hint("all variables of this program are"));
    }
    let folded = rest.to_ascii_lowercase();
    let parts: Vec<&str> = folded.split("__").collect();
    match parts.as_slice() {
        [key] if names().contains(key) && sections.table_mut(key).is_none() && sections.list_mut(key).is_none() => {
            Ok((&mut sections.top, (*key).to_owned()))
        }
        [section, key] if sections.table_mut(section).is_some() => {
            let table = sections.table_mut(section).ok_or_else(|| nowhere(&parts))?;
            Ok((table, (*key).to_owned()))
        }
        // names of headers have hyphens, which names of variables cannot have
        ["upstream", id @ .., "headers", name] if !id.is_empty() => {
            let entries = sections.list_mut("upstream").ok_or_else(|| nowhere(&parts))?;
            let headers = inner(entry("upstream", entries, &id.join("__"))?, "headers");
            let headers = headers.ok_or_else(|| nowhere(&parts))?;
            let written = headers.entries().iter().map(|entry| &entry.key).find(|key| fold(key) == *name);
            let name = written.cloned().unwrap_or_else(|| name.replace('_', "-"));
            Ok((headers, name))
        }
        [list, id @ .., key] if !id.is_empty() && sections.list_mut(list).is_some() => {
            let entries = sections.list_mut(list).ok_or_else(|| nowhere(&parts))?;
            Ok((entry(list, entries, &id.join("__"))?, (*key).to_owned()))
        }
        [list, _] if sections.list_mut(list).is_some() => Err(Mistake::new("does not say which one is meant")
            .hint(format!("the id stands in the middle: {PREFIX}{}__ID__KEY", list.to_ascii_uppercase()))),
        parts => Err(nowhere(parts)),
    }
}

fn nowhere(parts: &[&str]) -> Mistake {
    let mistake = Mistake::new("names nothing in the configuration");
    let (first, rest) = parts.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
    match nearest(first, &names()) {
        Some(meant) if meant != first => {
            let meant = [&[meant], rest].concat().join("__").to_ascii_uppercase();
            mistake.hint(format!("did you mean {PREFIX}{meant}?"))
        }
        _ => mistake.hint(format!("{PREFIX}SECTION__KEY, such as {PREFIX}SERVER__LISTEN, or {PREFIX}PUBLIC_URL")),
    }
}

/// The entry of a list whose id, folded as variables' names are, is this one.
fn entry<'a>(list: &str, entries: &'a mut [Node], wanted: &str) -> Result<&'a mut Node, Mistake> {
    let folded = |entry: &Node| id(list, entry).map(fold);
    let printable = entries.iter().filter_map(|entry| printable_id(list, entry));
    let mut ids: Vec<String> = printable.map(|id| fold(id).to_ascii_uppercase()).collect();
    ids.dedup();
    let mut matching = entries.iter_mut().filter(|entry| folded(entry).is_some_and(|id| id == wanted));
    match (matching.next(), matching.next()) {
        (Some(entry), None) => Ok(entry),
        (Some(_), Some(_)) => {
            Err(Mistake::new(format!("names more than one {list}")).hint("write the value into the file"))
        }
        (None, _) if ids.is_empty() => Err(Mistake::new(format!("names no {list}: the file has none with an id"))),
        (None, _) => {
            Err(Mistake::new(format!("names no {list} of the file")).hint(format!("there are {}", ids.join(", "))))
        }
    }
}

/// The table under a key of a table, made when it is not there; `None` when something else stands there.
fn inner<'a>(table: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Value::Table(entries) = &mut table.value else { return None };
    if !entries.iter().any(|entry| entry.key == key) {
        entries.push(Entry { key: key.to_owned(), place: Place::File, node: Node::absent() });
    }
    let node = &mut entries.iter_mut().find(|entry| entry.key == key)?.node;
    matches!(node.value, Value::Table(_)).then_some(node)
}

fn fold(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

fn put(table: &mut Node, key: String, text: &str, place: &Place) {
    let Value::Table(entries) = &mut table.value else { return };
    let value = parse_tables(text, place).unwrap_or_else(|| Value::Variable(text.to_owned()));
    let node = Node { place: place.clone(), value };
    match entries.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => entry.node = node,
        None => entries.push(Entry { key, place: place.clone(), node }),
    }
}

#[cfg(test)]
mod tests {
    use super::is_service_link;

    #[test]
    fn what_kubernetes_puts_there_is_not_ours() {
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
