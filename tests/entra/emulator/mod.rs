//! Microsoft Entra ID as far as Portcullis meets it: for the Rust tests, in process, and by hand (`cargo run --example
//! entra-emulator`).
//!
//! Nobody can run the real one here, so it is copied from what Microsoft documents and what users have measured; each rule says
//! in its own words what it copies. What is not known is not made up: it answers 404, or refuses.
//!
//! | file | what |
//! |---|---|
//! | `directory` | tenants, app registrations, users |
//! | `state` | all that changes: codes, sessions, switches, faults |
//! | `service` | HTTP: which path is what, and faults on demand |
//! | `documents` | discovery and keys, version 1 and 2 |
//! | `keys` | its signing keys |
//! | `authorize` | the authorization endpoint |
//! | `redirects` | which redirect URIs it takes |
//! | `scopes` | what a scope means, and the three eras of `resource` |
//! | `clients` | how a client proves who it is |
//! | `grants`, `device` | the token endpoint, one function for each grant |
//! | `tokens` | ID tokens and access tokens |
//! | `graph` | Microsoft Graph: the groups of a user |
//! | `managed` | tokens of managed identities, as machines and App Service give them |
//! | `error` | its error documents |

mod authorize;
mod clients;
mod device;
mod directory;
mod documents;
mod error;
mod grants;
mod graph;
mod keys;
mod managed;
mod redirects;
mod scopes;
mod service;
mod state;
mod tokens;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis::clock::Clock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

pub(crate) use authorize::Visit;
pub(crate) use directory::{App, Directory, FederatedCredential, Platform};
pub(crate) use error::{CORRELATION, EntraError, TRACE};
pub(crate) use keys::{external_token, public_key_of};
pub(crate) use managed::{IDENTITY, IDENTITY_HEADER, IDENTITY_OBJECT};
pub(crate) use state::{Call, ResourceEra, State};

/// The first tenant of [`Directory::contoso`].
pub(crate) const CONTOSO: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
/// Another tenant, whose users may be guests.
pub(crate) const FABRIKAM: &str = "bbbbcccc-1111-dddd-2222-eeee3333ffff";
/// The tenant of personal accounts.
pub(crate) const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
/// Our app registration there.
pub(crate) const APP: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";
/// Its secret.
pub(crate) const APP_SECRET: &str = "Q~8x.entra-secret_of+our/app=";
/// The Application ID URI of its API.
pub(crate) const APP_ID_URI: &str = "api://00001111-aaaa-2222-bbbb-3333cccc4444";
/// Microsoft Graph.
pub(crate) const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

/// A running emulator. It stops when it is dropped.
pub(crate) struct Emulator {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    server: Mutex<Option<JoinHandle<()>>>,
}

impl Emulator {
    /// On a free port of loopback.
    pub(crate) async fn start(clock: &Clock, directory: Directory) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), clock, directory).await
    }

    /// At an address.
    pub(crate) async fn start_at(address: SocketAddr, clock: &Clock, directory: Directory) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State::new(clock.clone(), format!("http://{address}"), directory);
        let emulator = Self { state: Arc::new(Mutex::new(state)), address, server: Mutex::default() };
        emulator.serve(listener);
        emulator
    }

    fn serve(&self, listener: TcpListener) {
        let server = tokio::spawn(service::serve(listener, Arc::clone(&self.state)));
        *self.server.lock().unwrap() = Some(server);
    }

    /// Everything that changes.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The authority: scheme, host and port.
    pub(crate) fn authority(&self) -> String {
        self.state().base.clone()
    }

    /// Refuses connections from now on, and cuts the open ones.
    pub(crate) async fn stop(&self) {
        let server = self.server.lock().unwrap().take();
        if let Some(server) = server {
            server.abort();
            let _aborted = server.await;
        }
    }

    /// Listens again, at the same address.
    pub(crate) async fn restart(&self) {
        self.serve(TcpListener::bind(self.address).await.expect("the address is free again"));
    }

    /// The browser's visit of the authorization endpoint, without HTTP: the user of [`State::signs_in`] signs in at once.
    pub(crate) fn visit(&self, authorization_url: &str) -> Visit {
        let url = Url::parse(authorization_url).expect("a URL");
        self.state().authorize(&url)
    }

    /// How many requests came for a path that ends so.
    pub(crate) fn calls(&self, end_of_path: &str) -> usize {
        self.state().calls.iter().filter(|call| call.path.ends_with(end_of_path)).count()
    }

    /// The last request for a path that ends so.
    pub(crate) fn last_call(&self, end_of_path: &str) -> Call {
        self.state().calls.iter().rev().find(|call| call.path.ends_with(end_of_path)).expect("a call").clone()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(server) = self.server.lock().unwrap().take() {
            server.abort();
        }
    }
}
