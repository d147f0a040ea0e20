//! The composition root: everything is built once, here, and handed down.

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
use crate::config::Config;
use crate::gateway::{Gateway, GatewayParts};
use crate::identity::Identities;
use crate::inbound::{self, Door, DoorParts, Operations};
use crate::issuer::{Issuer, IssuerParts};
use crate::keys::{KeyRing, Resealing, Rotation, RotationSchedule, RotationTerms, Sealer};
use crate::limits::{Budget, Limits};
use crate::outbound::{LookUp, UntrustedFetcher, machine_look_up};
use crate::revocation::Revocation;
use crate::storage::Store;
use crate::telemetry::metrics::{Metrics, Task};
use crate::web::Web;
use crate::wire::BoxError;
use background::Background;

pub use crate::inbound::Drain;
pub use crate::wire::Body;
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
    issuer: Issuer,
    identities: Identities,
    revocation: Revocation,
    store: Store,
    sealer: Sealer,
    ring: KeyRing,
    audit: Audit,
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
        let waiting = config.limits.waiting_writes;
        let store = Store::open(&config.storage, waiting, metrics.store.clone()).await?;
        let sealer = Sealer::new(&config.secrets);
        let ring = KeyRing::load(store.clone(), sealer.clone(), config.tokens.algorithm, clock.clone()).await?;
        let identities = Identities::new(&config, &clock, &metrics.providers);
        let revocation = Revocation::new(clock.clone());
        let budget = Budget::new(&config, &metrics.limits);
        let limits = Limits::new(&config.registration, &config.lifetimes, &clock, metrics.limits.clone());
        let gateway = Gateway::new(GatewayParts {
            config: Arc::clone(&config),
            store: store.clone(),
            revocation: revocation.clone(),
            ring: ring.clone(),
            sealer: sealer.clone(),
            clock: clock.clone(),
            budget: budget.clone(),
            drained: drain.streams_end().clone(),
            metrics: metrics.calls.clone(),
            limits: limits.clone(),
            audit: audit.clone(),
        });
        let untrusted = UntrustedFetcher::configured(&config, look_up);
        let issuer = Issuer::new(IssuerParts {
            config: Arc::clone(&config),
            store: store.clone(),
            revocation: revocation.clone(),
            ring: ring.clone(),
            sealer: sealer.clone(),
            identities: identities.clone(),
            untrusted,
            limits,
            clock: clock.clone(),
            metrics: metrics.clone(),
            audit: audit.clone(),
        });
        let web = Web::new(Arc::clone(&config), issuer.clone(), gateway.clone());
        let requests = metrics.requests.clone();
        let behind = DoorParts { budget: budget.clone(), gateway: gateway.clone(), web, requests };
        let door = Door::new(&config, behind);
        Ok(Self {
            door,
            gateway,
            issuer,
            identities,
            revocation,
            store,
            sealer,
            ring,
            audit,
            config,
            drain,
            budget,
            clock,
            metrics,
        })
    }

    /// Makes the store fit the configuration: grants of clients and identities that have left end, and a provider that
    /// replaces another takes its place. Comes after everything else that can fail, and before the first request: a start
    /// that fails must not change what a running process works with.
    ///
    /// # Errors
    /// When the configuration does not fit, or the store fails.
    pub async fn adopt(&self) -> Result<(), StartError> {
        Ok(self.issuer.adopt_configuration().await?)
    }

    /// Answers one request as if it came from a connection of `peer`.
    pub async fn handle<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<Body>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        self.door.handle(request, peer).await.map(BodyExt::boxed_unsync)
    }

    /// The authorization server.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The identity providers.
    #[must_use]
    pub const fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Which grants have ended.
    #[must_use]
    pub const fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// What rotates the signing keys.
    #[must_use]
    pub fn key_rotation(&self) -> RotationSchedule {
        let rotation = Rotation {
            store: self.store.clone(),
            sealer: self.sealer.clone(),
            terms: RotationTerms::of(&self.config),
            clock: self.clock.clone(),
            audit: self.audit.clone(),
        };
        RotationSchedule::new(self.ring.clone(), rotation)
    }

    /// The stages of shutdown.
    #[must_use]
    pub const fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Waits for running tasks, then closes upstream connections and the store.
    pub async fn close(&self) {
        self.issuer.settle().await;
        self.gateway.close();
        self.store.close().await;
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
        let runs = |task| self.metrics.background.task(task, &self.clock);
        background.spawn("the refresh of the identity providers' metadata", self.identities.clone().run());
        background.spawn(
            "the feed of ended grants",
            self.revocation.clone().run(self.store.clone(), runs(Task::RevocationFeed)),
        );
        background.spawn("the deletion of what has expired", self.issuer.clone().run_expiry());
        let resealing = Resealing::new(self.store.clone(), self.sealer.clone());
        background.spawn("the resealing under the first root key", resealing.run(runs(Task::Resealing)));
        background.spawn("the rotation of the signing keys", self.key_rotation().run(runs(Task::SigningKeys)));
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
