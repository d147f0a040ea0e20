//! A client as an operator sees it: configured, registered, or known by its document.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::cli::database;
use crate::cli::shown::{self, escaped, moment, pluralize, quoted};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, ConfiguredClient};
use crate::model::client::Client;
use crate::model::ids::ClientId;
use crate::oauth::client_document::ClientDocument;
use crate::oauth::client_id_url::{ClientIdUrl, is_url};
use crate::storage::{ClientUse, ListedClient, ListedDocument, Store};

/// How a client is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KnownBy {
    Configuration,
    Registration,
    Document,
    /// Nothing else: only that it is disabled is known.
    Disabling,
}

/// A client.
pub(super) struct Record {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) known_by: KnownBy,
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
            known_by: KnownBy::Configuration,
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
            known_by: KnownBy::Registration,
            disabled: client.disabled,
            redirect_uris: client.redirect_uris,
            auth_method: client.auth_method,
            use_of: client.use_of,
        }
    }

    /// Read by today's rules; a document that makes no client any more is listed all the same.
    fn documented(kept: ListedDocument, config: &Config) -> Self {
        let ListedDocument { id, document, disabled, use_of } = kept;
        let client = ClientIdUrl::parse(id.as_str()).ok().and_then(|url| {
            let policy = &config.registration.redirect_policy;
            let document = ClientDocument::read(&url, document.as_bytes(), policy).ok()?;
            Client::documented(&url, document, Timestamp(0)).ok()
        });
        let unusable = (None, Vec::new(), "unknown: the document makes no client here".to_owned());
        let (name, redirect_uris, auth_method) = client.map_or(unusable, |client| {
            (client.name, client.redirect_uris, client.authentication.method().as_str().to_owned())
        });
        Self {
            id: id.as_str().to_owned(),
            name,
            known_by: KnownBy::Document,
            disabled,
            redirect_uris,
            auth_method,
            use_of,
        }
    }

    /// A client of which only its id is known, and that it is disabled.
    fn disabled_only(id: &ClientId) -> Self {
        Self {
            id: id.as_str().to_owned(),
            name: None,
            known_by: KnownBy::Disabling,
            disabled: true,
            redirect_uris: Vec::new(),
            auth_method: "unknown".to_owned(),
            use_of: ClientUse::default(),
        }
    }

    /// All of them: the configured ones, the registered ones, those with a document that is kept here, and those of which only is
    /// known that they are disabled.
    pub(super) async fn all(config: &Config, store: &Store) -> Result<Vec<Self>, String> {
        let mut records = Vec::new();
        for client in &config.clients {
            records.push(Self::configured(client, store).await?);
        }
        records.extend(database::clients(store).await?.into_iter().map(Self::registered));
        records.extend(database::documents(store).await?.into_iter().map(|kept| Self::documented(kept, config)));
        let configured = |id: &ClientId| config.clients.iter().any(|client| client.client_id == id.as_str());
        let disabled = database::disabled_only(store).await?;
        records.extend(disabled.iter().filter(|id| !configured(id)).map(Self::disabled_only));
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
        let client = ClientId::from(id);
        if let Some(kept) = store.listed_document(&client, now).await.map_err(database::message)? {
            return Ok(Self::documented(kept, config));
        }
        if let Some(registered) = store.listed_client(&client, now).await.map_err(database::message)? {
            return Ok(Self::registered(registered));
        }
        let disabled = store.is_client_disabled(&client).await.map_err(database::message)?;
        disabled
            .then(|| Self::disabled_only(&client))
            .ok_or_else(|| format!("there is no client {}\n  hint: `portcullis clients list` shows them", escaped(id)))
    }

    fn origin(&self) -> &'static str {
        match self.known_by {
            KnownBy::Configuration => "configured",
            KnownBy::Registration => "registered",
            KnownBy::Document => "document",
            KnownBy::Disabling if is_url(&self.id) => "document",
            KnownBy::Disabling => "unknown",
        }
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
        let receivers = if hosts.is_empty() { String::new() } else { format!(", sends codes to {}", hosts.join(", ")) };
        writeln!(out, "{}", self.title())?;
        writeln!(out, "    {disabled}{}{receivers}", self.origin())?;
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
