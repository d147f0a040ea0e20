//! A client as an operator sees it, whether configured or registered.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::cli::database;
use crate::cli::shown::{self, escaped, moment, pluralize, quoted};
use crate::clock::Clock;
use crate::config::{Config, ConfiguredClient};
use crate::model::ids::ClientId;
use crate::storage::{ClientUse, ListedClient, Store};

/// A client.
pub(super) struct Record {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) configured: bool,
    pub(super) disabled: bool,
    redirect_uris: Vec<String>,
    auth_method: String,
    use_of: ClientUse,
}

impl Record {
    async fn configured(client: &ConfiguredClient, store: &Store) -> Result<Self, String> {
        let id = ClientId::from(client.client_id.as_str());
        Ok(Self {
            id: client.client_id.clone(),
            name: client.name.clone(),
            configured: true,
            disabled: store.is_client_disabled(&id).await.map_err(database::message)?,
            redirect_uris: client.redirect_uris.clone(),
            auth_method: client.auth_method.as_str().to_owned(),
            use_of: store.use_of_client(&id, Clock::system().now()).await.map_err(database::message)?,
        })
    }

    fn registered(client: ListedClient) -> Self {
        Self {
            id: client.id.as_str().to_owned(),
            name: client.name,
            configured: false,
            disabled: client.disabled,
            redirect_uris: client.redirect_uris,
            auth_method: client.auth_method,
            use_of: client.use_of,
        }
    }

    /// All of them: the configured ones, then the registered ones.
    pub(super) async fn all(config: &Config, store: &Store) -> Result<Vec<Self>, String> {
        let mut records = Vec::new();
        for client in &config.clients {
            records.push(Self::configured(client, store).await?);
        }
        records.extend(database::clients(store).await?.into_iter().map(Self::registered));
        Ok(records)
    }

    /// The one with this id.
    ///
    /// # Errors
    /// Also when there is none: with the hint.
    pub(super) async fn find(id: &str, config: &Config, store: &Store) -> Result<Self, String> {
        if let Some(client) = config.clients.iter().find(|client| client.client_id == id) {
            return Self::configured(client, store).await;
        }
        let now = Clock::system().now();
        let found = store.listed_client(&ClientId::from(id), now).await.map_err(database::message)?;
        found
            .map(Self::registered)
            .ok_or_else(|| format!("there is no client {}\n  hint: `portcullis clients list` shows them", escaped(id)))
    }

    const fn origin(&self) -> &'static str {
        if self.configured { "configured" } else { "registered" }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "origin": self.origin(),
            "auth_method": self.auth_method,
            "disabled": self.disabled,
            "redirect_uris": self.redirect_uris,
            "grants": self.use_of.grants,
            "last_used_at": self.use_of.last_used_at,
        })
    }

    /// Its id, and its name in quotes.
    pub(super) fn title(&self) -> String {
        let name = self.name.as_deref().map(|name| format!("  {}", quoted(name))).unwrap_or_default();
        format!("{}{name}", escaped(&self.id))
    }

    fn grants(&self) -> String {
        pluralize(usize::try_from(self.use_of.grants).unwrap_or_default(), "live grant")
    }

    fn last_used(&self) -> String {
        self.use_of.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("last used {}", moment(at)))
    }

    /// In three lines.
    pub(super) fn write_short(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut hosts: Vec<_> = self.redirect_uris.iter().map(|uri| shown::redirect_host(uri)).collect();
        hosts.dedup();
        let disabled = if self.disabled { "disabled, " } else { "" };
        writeln!(out, "{}", self.title())?;
        let receivers = match hosts.as_slice() {
            [] => "has no redirect URI".to_owned(),
            hosts => format!("sends codes to {}", hosts.join(", ")),
        };
        writeln!(out, "    {disabled}{}, {receivers}", self.origin())?;
        writeln!(out, "    {}, {}\n", self.grants(), self.last_used())
    }

    /// With everything that is known.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.title())?;
        writeln!(out, "    origin          {}", self.origin())?;
        writeln!(out, "    state           {}", if self.disabled { "disabled" } else { "enabled" })?;
        writeln!(out, "    authentication  {}", escaped(&self.auth_method))?;
        for uri in &self.redirect_uris {
            writeln!(out, "    redirect URI    {}", escaped(uri))?;
        }
        writeln!(out, "    use             {}, {}", self.grants(), self.last_used())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_a_redirect_uri_is_not_said_to_send_codes() {
        let machine = Record {
            id: "ci".to_owned(),
            name: None,
            configured: true,
            disabled: false,
            redirect_uris: Vec::new(),
            auth_method: "client_secret_basic".to_owned(),
            use_of: ClientUse { grants: 0, last_used_at: None },
        };
        let mut out = Vec::new();
        machine.write_short(&mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert_eq!(shown, "ci\n    configured, has no redirect URI\n    0 live grants, never used\n\n");
    }
}
