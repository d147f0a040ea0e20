//! The composition root: everything is built once, here, and handed down.

mod authority;
mod background;
mod observe;
mod ports;
mod start_error;

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::net::TcpListener;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{Config, RootKey, Secrets};
use crate::delegation::{Delegation, DelegationParts};
use crate::gateway::{Gateway, GatewayParts};
use crate::inbound::{self, Door, DoorParts, Operations};
use crate::keys::{DoctorPasses, Sealer};
use crate::limits::{Budget, Limits};
use crate::outbound::{LookUp, machine_look_up};
use crate::secret::random;
use crate::telemetry::metrics::Metrics;
use crate::web::Web;
use crate::wire::BoxError;
use authority::AuthorityParts;
use background::Background;

pub use crate::inbound::Drain;
pub use crate::wire::Body;
pub use authority::Authority;
pub use ports::{Listeners, Ports};
pub use start_error::StartError;

/// What a process meets outside of itself besides its configuration; tests put in their own.
pub struct Outside {
    /// Where audit events go: by default into the log.
    pub audit: Audit,
    /// Resolves the names that untrusted clients make us call: by default with the machine's resolver.
    pub look_up: LookUp,
}

impl Default for Outside {
    fn default() -> Self {
        Self { audit: Audit::to_log(), look_up: machine_look_up() }
    }
}

/// A whole Portcullis, without sockets. Cheap to clone.
#[derive(Clone)]
pub struct App {
    door: Door,
    gateway: Gateway,
    authority: Option<Authority>,
    config: Arc<Config>,
    drain: Drain,
    budget: Budget,
    clock: Clock,
    metrics: Metrics,
}

impl App {
    /// Builds everything: opens the store, loads or makes the keys. Asks no identity provider and no upstream, and ends no
    /// grant: see [`Self::adopt`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn build(config: Arc<Config>, clock: Clock) -> Result<Self, StartError> {
        Self::build_within(config, clock, Outside::default()).await
    }

    /// Like [`Self::build`], with another audit sink.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn audited(config: Arc<Config>, clock: Clock, audit: Audit) -> Result<Self, StartError> {
        Self::build_within(config, clock, Outside { audit, ..Outside::default() }).await
    }

    /// The same within another world.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn build_within(config: Arc<Config>, clock: Clock, outside: Outside) -> Result<Self, StartError> {
        let Outside { audit, look_up } = outside;
        let drain = Drain::default();
        let metrics = Metrics::default();
        let sealer = Sealer::new(&secrets(&config));
        let budget = Budget::new(&config, &metrics.limits);
        let limits = Limits::new(&config.registration, &config.lifetimes, &clock, metrics.limits.clone());
        let authority = if config.issues_tokens() {
            let parts = AuthorityParts {
                config: Arc::clone(&config),
                sealer: sealer.clone(),
                limits: limits.clone(),
                look_up,
                clock: clock.clone(),
                metrics: metrics.clone(),
                audit: audit.clone(),
            };
            // boxed: what it holds while it opens the store would be part of every caller's future
            Some(Box::pin(Authority::build(parts)).await?)
        } else {
            None
        };
        let passes = DoctorPasses::new(sealer.clone(), clock.clone());
        let delegation = DelegationParts {
            own: authority.as_ref().map(Authority::delegation_parts),
            clock: clock.clone(),
            metrics: metrics.delegation.clone(),
        };
        let gateway = Gateway::new(GatewayParts {
            delegation: Arc::new(Delegation::new(&config, &delegation)),
            config: Arc::clone(&config),
            own: authority.as_ref().map(Authority::own_parts),
            sealer,
            clock: clock.clone(),
            budget: budget.clone(),
            drained: drain.streams_end().clone(),
            metrics: metrics.clone(),
            limits,
            audit,
        });
        let issuer = authority.as_ref().map(|authority| authority.issuer().clone());
        let web = Web::new(Arc::clone(&config), issuer, gateway.clone(), passes);
        let requests = metrics.requests.clone();
        let behind = DoorParts { budget: budget.clone(), gateway: gateway.clone(), web, requests };
        let door = Door::new(&config, behind);
        Ok(Self { door, gateway, authority, config, drain, budget, clock, metrics })
    }

    /// Makes the store fit the configuration: grants of clients and identities that have left end, and a provider that
    /// replaces another takes its place. Comes after everything else that can fail, and before the first request: a start
    /// that fails must not change what a running process works with.
    ///
    /// # Errors
    /// When the configuration does not fit, or the store fails.
    pub async fn adopt(&self) -> Result<(), StartError> {
        match &self.authority {
            Some(authority) => Ok(authority.issuer().adopt_configuration().await?),
            None => Ok(()),
        }
    }

    /// Answers one request as if it came from a connection of `peer`.
    pub async fn handle<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<Body>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        self.door.handle(request, peer).await.map(BodyExt::boxed_unsync)
    }

    /// Our authorization server; `None` where every upstream accepts the tokens of other issuers alone.
    #[must_use]
    pub const fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// The stages of shutdown.
    #[must_use]
    pub const fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Waits for running tasks, then closes upstream connections and the store.
    pub async fn close(&self) {
        if let Some(authority) = &self.authority {
            authority.settle().await;
        }
        self.gateway.close();
        if let Some(authority) = &self.authority {
            authority.close().await;
        }
    }

    /// Opens the listeners of the configuration.
    ///
    /// # Errors
    /// When one cannot be opened; the words include the hint.
    pub fn listen(&self) -> Result<Listeners, StartError> {
        Ports::take(&self.config.server)?.listen()
    }

    /// Serves one listener until drained, without the background tasks.
    pub async fn serve(self, listener: TcpListener) {
        inbound::serve(self.door, listener, self.drain).await;
    }

    /// Serves until drained. A background task that ends is a fault.
    ///
    /// # Errors
    /// Names the task that ended.
    pub async fn run(&self, listeners: Listeners) -> Result<(), String> {
        let mut background = Background::default();
        if let Some(authority) = &self.authority {
            authority.run(&mut background);
        }
        background.spawn("the refresh of the other issuers' keys", self.gateway.clone().keep_issuers());
        if let Some(listener) = listeners.operations {
            let hosts = self.config.server.operations_hosts.clone();
            let operations =
                Operations { hosts, drain: self.drain.clone(), health: self.health(), metrics: self.scrape() };
            let serving = operations.serve(listener, self.budget.operations.clone());
            background.spawn("the listener of operations", serving);
        }
        background.beside(self.clone().serve(listeners.public)).await?;
        self.close().await;
        Ok(())
    }
}

/// The root keys. Where the operator wrote none nothing is stored, and a key that lives as long as this process binds the
/// sessions of MCP servers: another process refuses them, and clients start new ones.
fn secrets(config: &Config) -> Secrets {
    if config.secrets.keys.is_empty() {
        return Secrets { keys: vec![RootKey::from_bytes(random())] };
    }
    config.secrets.clone()
}
