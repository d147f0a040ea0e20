//! `portcullis dev`: built-in users, database and MCP server, on loopback only, without configuration.

pub mod demo_server;
mod error;
mod screen;
mod state;

pub use error::DevError;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use demo_server::DemoServer;
use http::Uri;

use crate::app::{Ports, StartError};
use crate::config::{
    Accepts, Admission, ApiKeys, ClientDocuments, Config, Consent, Database, Device, Dpop, Identity, IdentityKind,
    Lifetimes, Limits, Log, Outbound, Pages, PublicUrl, Reach, ReachHttp, Registration, RequestHeaders, Secrets,
    Server, Tokens, Upstream, UpstreamScopes, UpstreamSettings, reaches, upstream_url,
};
use crate::oauth::scope::ScopeSet;
use crate::upstream::{self, shown};
use screen::Screen;
use state::{DemoUser, State};

/// The default port: the number of OAuth's RFC.
pub const DEFAULT_PORT: u16 = 6749;

/// The options of the command line.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// The port on loopback.
    pub port: u16,
    /// The URL of a running MCP server; `None` starts the built-in one.
    pub upstream: Option<String>,
    /// The user's state directory.
    pub state_home: PathBuf,
}

/// Everything that must stay alive while `dev` runs.
pub struct Dev {
    /// The configuration to run.
    pub config: Arc<Config>,
    /// The text to print once the gateway listens.
    pub screen: String,
    _state: State,
    demo_server: Option<DemoServer>,
}

impl Dev {
    /// Takes the port, checks or starts the upstream, opens the state directory and makes the users; in this order, so that a
    /// start that fails leaves nothing behind.
    ///
    /// # Errors
    /// See [`DevError`].
    pub async fn prepare(options: &DevOptions) -> Result<(Self, Ports), DevError> {
        let server = server(options.port);
        let given = options.upstream.as_deref().map(|url| read_upstream(url, server.listen)).transpose()?;
        let origin = format!("http://127.0.0.1:{}", options.port);
        let public_url = PublicUrl::parse(&origin).or(Err(DevError::Port(options.port)))?;
        let ports = Ports::take(&server).map_err(|error| not_free(error, options))?;
        let (demo_server, settings) = if let Some(url) = given {
            (None, upstream(url, "My MCP server"))
        } else {
            let demo = demo_server::start().await?;
            let url = upstream_url(&demo.url()).map_err(|why| DevError::BadUpstream { url: demo.url(), why })?;
            (Some(demo), upstream(url, "Demo server"))
        };
        let upstream = Upstream::new(&public_url, settings).ok_or(DevError::Port(options.port))?;
        check(&upstream).await?;
        let state = State::open(&options.state_home, options.port, &origin)?;
        let (users, root_key) = (state.users()?, state.root_key()?);
        let screen = Screen {
            server_url: &format!("{origin}/mcp"),
            upstream: options.upstream.as_deref(),
            users: &users,
            directory: state.directory(),
        }
        .text();
        let config = Config {
            public_url,
            server,
            log: Log::default(),
            storage: Database::Sqlite(state.database()).into(),
            secrets: Secrets { keys: vec![root_key] },
            lifetimes: Lifetimes::default(),
            tokens: Tokens::default(),
            registration: Registration::default(),
            client_documents: ClientDocuments::default(),
            consent: Consent::default(),
            limits: Limits::default(),
            // on loopback phishing is no risk, and it can be tried
            device: Device { enabled: true, registered_clients: true },
            pages: Pages { list_upstreams: true, ..Pages::default() },
            outbound: Outbound::default(),
            identities: vec![identity(users)],
            upstreams: vec![upstream],
            clients: Vec::new(),
            assertion_issuers: Vec::new(),
        };
        Ok((Self { config: Arc::new(config), screen, _state: state, demo_server }, ports))
    }

    /// Completes when the built-in MCP server ends by itself, which is a fault; never when there is none.
    pub async fn demo_server_ended(&mut self) {
        match &mut self.demo_server {
            Some(server) => server.ended().await,
            None => std::future::pending().await,
        }
    }
}

/// Another `dev` on the port is told by its lock, which names the process.
fn not_free(error: StartError, options: &DevOptions) -> DevError {
    match State::holder(&options.state_home, options.port) {
        Some(holder) => DevError::Running { holder },
        None => DevError::listen(error, options.port),
    }
}

/// Parses `--upstream`, and refuses our own address.
fn read_upstream(url: &str, listen: SocketAddr) -> Result<Uri, DevError> {
    let bad = |why| DevError::BadUpstream { url: shown(url), why };
    let uri = upstream_url(url).map_err(bad)?;
    if reaches(&uri, listen) { Err(bad("leads back to this program")) } else { Ok(uri) }
}

/// Probes the upstream: a fatal finding is an error, another one a warning.
async fn check(upstream: &Upstream) -> Result<(), DevError> {
    let url = upstream.settings.reach.url().to_string();
    for finding in upstream::Upstream::probe(&upstream.settings, None).await {
        if finding.is_fatal() {
            return Err(DevError::Unusable { url, what: finding.to_string(), hint: finding.hint() });
        }
        tracing::warn!(url, hint = finding.hint(), "--upstream {finding}");
    }
    Ok(())
}

fn upstream(url: Uri, name: &str) -> UpstreamSettings {
    UpstreamSettings {
        id: "dev".to_owned(),
        path: "/mcp".to_owned(),
        name: name.to_owned(),
        reach: Reach::Http(ReachHttp::at(url)),
        scopes: UpstreamScopes::requiring(ScopeSet::empty().with("mcp:access")),
        admission: Admission::default(),
        accepts: Accepts::default(),
        default: true,
        request_headers: RequestHeaders::default(),
        credential: None,
        api_keys: ApiKeys::default(),
        dpop: Dpop::default(),
        keep_alive: UpstreamSettings::KEEP_ALIVE,
    }
}

fn server(port: u16) -> Server {
    Server {
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        operations: None,
        loopback_origins: true,
        allowed_hosts: vec![format!("localhost:{port}")],
        ..Server::default()
    }
}

fn identity(users: Vec<DemoUser>) -> Identity {
    let users = users.into_iter().map(|demo| demo.user).collect();
    Identity {
        id: "local".to_owned(),
        name: "a demo account".to_owned(),
        kind: IdentityKind::Local(users),
        admission: Admission::default(),
    }
}
