//! `[client_documents]`: Client ID Metadata Documents, whose URL is the id of a client.
//!
//! Defends against: SSRF. A host that is not on the list is never called, and private addresses only for listed names.

use serde::Deserialize;

use super::problem::Mistake;
use super::reading::{Reading, Section};
use crate::oauth::client_id_url::{ClientIdUrl, ClientIdUrlError};

/// Client ID Metadata Documents.
#[derive(Debug, Clone)]
pub struct ClientDocuments {
    /// Whether they are read and advertised.
    pub enabled: bool,
    /// The only hosts whose documents are read; `None` is every host.
    pub hosts: Option<Vec<String>>,
    /// Hosts whose addresses may be private.
    pub private_hosts: Vec<String>,
}

impl Default for ClientDocuments {
    fn default() -> Self {
        Self { enabled: true, hosts: None, private_hosts: Vec::new() }
    }
}

impl ClientDocuments {
    /// Whether the document at this URL may be read at all: checked before anything is fetched.
    #[must_use]
    pub fn admit(&self, url: &ClientIdUrl) -> bool {
        let is_listed = |hosts: &Vec<String>| hosts.iter().any(|host| host == url.host());
        self.enabled && self.hosts.as_ref().is_none_or(is_listed)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    enabled: Option<bool>,
    hosts: Option<Vec<String>>,
    private_hosts: Option<Vec<String>>,
}

/// Reads the section. `default` is whether documents are read when it does not say.
pub(super) fn read(section: &Section<'_>, default: bool, reading: &mut Reading<'_>) -> Option<ClientDocuments> {
    let written: Written = reading.shape(section)?;
    for (key, hosts) in [("hosts", &written.hosts), ("private_hosts", &written.private_hosts)] {
        for (index, host) in hosts.iter().flatten().enumerate() {
            reading.keep(&section.item(key, index), check_host(host));
        }
    }
    if written.hosts.as_ref().is_some_and(Vec::is_empty) {
        let mistake = Mistake::new("is empty: no document would ever be read");
        reading.error(
            &section.at("hosts"),
            mistake.hint("name hosts, leave the line out for all of them, or set enabled = false"),
        );
    }
    Some(ClientDocuments {
        enabled: written.enabled.unwrap_or(default),
        hosts: written.hosts,
        private_hosts: written.private_hosts.unwrap_or_default(),
    })
}

/// Checks a host in the form in which it is compared: that of a client id, without port.
fn check_host(host: &str) -> Result<(), Mistake> {
    let wrong =
        |what| Err(Mistake::new(what).hint("a name in lower case, without scheme, port and path: \"claude.ai\""));
    if host.contains('*') {
        return wrong("patterns are not supported: hosts are compared exactly");
    }
    match ClientIdUrl::parse(&format!("https://{host}/client")) {
        Ok(url) if url.host() == host => Ok(()),
        Ok(_) | Err(ClientIdUrlError::NotNormal | ClientIdUrlError::NoPath | ClientIdUrlError::TooLong) => {
            wrong("is not a host")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientDocuments, check_host};
    use crate::oauth::client_id_url::ClientIdUrl;

    #[test]
    fn a_host_is_written_as_it_is_compared() {
        for good in ["claude.ai", "www.mcpjam.com", "xn--bcher-kva.example", "localhost", "10.1.2.3", "[2001:db8::1]"] {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.example.com",
            "Claude.ai",
            "https://claude.ai",
            "claude.ai/",
            "claude.ai/oauth",
            "claude.ai:443",
            "claude.ai:8443",
            "user@claude.ai",
            "claude.ai.",
            "a b",
            "b\u{fc}cher.example",
            "claude.ai?",
            "claude.ai#",
            "127.1",
        ] {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn documents_are_read_from_listed_hosts_only_and_from_none_when_disabled() {
        let url = |text: &str| ClientIdUrl::parse(text).unwrap();
        let (claude, evil) = (url("https://claude.ai:8443/a"), url("https://claude.ai.evil.example/a"));
        let open = ClientDocuments::default();
        let listed = ClientDocuments { hosts: Some(vec!["claude.ai".to_owned()]), ..ClientDocuments::default() };
        let off = ClientDocuments { enabled: false, ..listed.clone() };
        let check = |documents: &ClientDocuments| [documents.admit(&claude), documents.admit(&evil)];
        assert_eq!([check(&open), check(&listed), check(&off)], [[true, true], [true, false], [false, false]]);
    }
}
