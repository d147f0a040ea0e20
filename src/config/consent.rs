//! `[consent]`: whether a user's consent may be remembered, for how long, and for which clients.
//!
//! Off unless the operator switches it on, and then only for the clients that the operator names. Against an authorization
//! server in the middle: a malicious MCP server has a client open its own authorization endpoint, and redirects the browser
//! from there to ours with that client's id. If the user is not asked, the client gets a code of ours, and brings it to the
//! attacker. The browser does not tell: a redirect leaves `Sec-Fetch-Site: none` as it was. Only a client that compares `iss`
//! (RFC 9207) stops it, and only the operator can know which ones do.

use std::time::Duration;

use serde::Deserialize;

use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{Reading, Section, ValueRef};
use super::{ClientDocuments, ConfiguredClient};
use crate::oauth::client_id_url::ClientIdUrl;

/// The longest time that a consent is remembered.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// What may be remembered of a consent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent {
    /// How long; zero: nothing is remembered.
    pub remember_for: Duration,
    /// The ids of the clients for which the page may be skipped.
    pub remember_clients: Vec<String>,
}

impl Consent {
    /// Whether a consent to this client may be remembered, as far as the operator says.
    #[must_use]
    pub fn remembers(&self, client: &str) -> bool {
        !self.remember_for.is_zero() && self.remember_clients.iter().any(|id| id == client)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    remember_for: Option<Scalar>,
    remember_clients: Option<Vec<String>>,
}

/// Reads the section. `None` for `documents` or `clients`: they could not be read, and nothing is compared with them.
pub(super) fn read(
    section: &Section<'_>,
    documents: Option<&ClientDocuments>,
    clients: Option<&[ConfiguredClient]>,
    reading: &mut Reading<'_>,
) -> Option<Consent> {
    let written: Written = reading.shape(section)?;
    let at = section.at("remember_for");
    let remember_for = match written.remember_for {
        Some(value) => reading.keep(&at, value.duration().and_then(bounded))?,
        None => Duration::ZERO,
    };
    let remember_clients = written.remember_clients.unwrap_or_default();
    if section.has("remember_for") && remember_clients.is_empty() {
        let mistake = Mistake::new("has no effect: no client is named for which consent may be remembered");
        reading.error(&at, mistake.hint("add remember_clients, with ids of clients that compare `iss` (RFC 9207)"));
    }
    if !section.has("remember_for") && section.has("remember_clients") {
        let mistake = Mistake::new("has no effect: nothing is remembered").hint("add remember_for = \"30d\"");
        reading.error(&section.at("remember_clients"), mistake);
    }
    for (index, id) in remember_clients.iter().enumerate() {
        let at = section.item("remember_clients", index);
        match documents.filter(|_| id.starts_with("https://")) {
            Some(documents) => drop(reading.keep(&at, check_document(id, documents))),
            None => check_configured(id, clients, &at, reading),
        }
    }
    Some(Consent { remember_for, remember_clients })
}

fn bounded(duration: Duration) -> Result<Duration, Mistake> {
    if duration.is_zero() {
        return Err(Mistake::new("must be longer than 0s").hint("leave it out to remember nothing"));
    }
    if duration > LONGEST { Err(Mistake::new("must be at most 365d")) } else { Ok(duration) }
}

fn check_document(id: &str, documents: &ClientDocuments) -> Result<(), Mistake> {
    let url = ClientIdUrl::parse(id).map_err(|why| Mistake::new(format!("is no URL of a metadata document: {why}")))?;
    if documents.admit(&url) {
        return Ok(());
    }
    Err(Mistake::new("names a document that is never read").hint("see [client_documents]"))
}

/// A client that is not known by a document must be a configured one that receives codes at a web server.
fn check_configured(id: &str, clients: Option<&[ConfiguredClient]>, at: &ValueRef, reading: &mut Reading<'_>) {
    if id.starts_with("c_") {
        let mistake = Mistake::new("is a client that registered itself: its users are always asked");
        reading.error(at, mistake.hint("name clients with a [[client]] entry or a metadata document"));
        return;
    }
    // what is written is not repeated: it may be a misplaced secret
    let Some(clients) = clients.filter(|_| !id.starts_with("https://")) else { return };
    match clients.iter().find(|client| client.client_id == id) {
        None => {
            let mistake = Mistake::new("is neither the client_id of a [[client]] nor the URL of a metadata document");
            reading.error(at, mistake.hint("the page names the id of a client that has a document"));
        }
        Some(client) if !client.redirect_uris.iter().any(|uri| uri.starts_with("https://")) => {
            let mistake = Mistake::new("is a client without an https redirect URI: its users are always asked");
            reading.error(at, mistake.hint("any program on the user's machine could take its place; remove it here"));
        }
        Some(_) => {}
    }
}
