//! An OpenID Connect provider on loopback that behaves well, like Keycloak, until a test tells it otherwise.
//!
//! ```ignore
//! let provider = FakeProvider::start(&clock).await;
//! provider.sign_in_as(json!({"sub": "u1", "email": "a@example.com"}));
//! let callback = provider.visit(&authorization_url);          // what the browser brings back, without HTTP
//! provider.answer_token(Reply::error(503, "x", "y"));         // the next answer of the token endpoint
//! provider.stop().await;                                      // connections are refused from now on
//! ```

mod behaviour;
mod signing;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use portcullis::clock::Clock;
use portcullis::config::{CaFile, Identity, IdentityKind, OidcFlavour, OidcSettings, Standing};
use portcullis::oauth::scope::ScopeSet;
use portcullis::secret::SecretText;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use url::Url;

use behaviour::{State, serve_connection};
pub(crate) use signing::{TestAlgorithm, TestKey, private_authority};

/// Our client id there.
pub(crate) const CLIENT_ID: &str = "portcullis";
/// Our secret there: with characters that must be encoded (RFC 6749 2.3.1).
pub(crate) const CLIENT_SECRET: &str = "s3cr+t/% :ä&=";
/// The audience for which it exchanges tokens.
pub(crate) const EXCHANGE_AUDIENCE: &str = "expenses-api";
/// How long a session-bound refresh token lives, in seconds.
pub(crate) const SESSION_IDLE: u64 = 1800;

/// One answer of the token endpoint.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status and a body, with its media type.
    Body(StatusCode, &'static str, String),
    /// What a well-behaved provider would answer, its JSON edited.
    Edited(fn(&mut Value)),
    /// Accepted, and never answered.
    Hang,
}

impl Reply {
    /// A JSON document.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::Body(StatusCode::from_u16(status).unwrap(), "application/json", body.to_string())
    }

    /// An error document (RFC 6749 5.2).
    pub(crate) fn error(status: u16, error: &str, description: &str) -> Self {
        Self::json(status, &json!({"error": error, "error_description": description}))
    }

    /// What a proxy in front of a provider says.
    pub(crate) fn html(status: u16) -> Self {
        let body = "<html><body>Bad Gateway</body></html>".to_owned();
        Self::Body(StatusCode::from_u16(status).unwrap(), "text/html", body)
    }
}

/// How offline access is refused to users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfflineRefusal {
    /// Keycloak, user without the role: `not_allowed` at the token endpoint, the code is spent.
    AtToken,
    /// Scope not assigned to the client: `invalid_scope` on the redirect.
    AtAuthorize,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) form: HashMap<String, String>,
}

/// The provider. Stops when it is dropped.
pub(crate) struct FakeProvider {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    tls: Option<Tls>,
    server: Mutex<Option<JoinHandle<()>>>,
}

struct Tls {
    acceptor: TlsAcceptor,
    ca_file: PathBuf,
    _directory: tempfile::TempDir,
}

/// Holds answers back for as long as it lives.
pub(crate) struct Hold {
    reached: Arc<Notify>,
    _release: watch::Sender<()>,
}

impl Hold {
    /// Waits until a request is being held.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }
}

impl FakeProvider {
    /// Over http, with an ES256 key.
    pub(crate) async fn start(clock: &Clock) -> Self {
        Self::launch(clock, None).await
    }

    /// Over https, with a certificate that only [`Self::ca_file`] vouches for.
    pub(crate) async fn start_tls(clock: &Clock) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (acceptor, ca_pem) = signing::private_authority();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, ca_pem).unwrap();
        Self::launch(clock, Some(Tls { acceptor, ca_file, _directory: directory })).await
    }

    async fn launch(clock: &Clock, tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = State::new(clock, format!("{scheme}://{address}/realms/mcp"));
        let provider = Self { state: Arc::new(Mutex::new(state)), address, tls, server: Mutex::default() };
        provider.serve(listener);
        provider
    }

    fn serve(&self, listener: TcpListener) {
        let (state, acceptor) = (Arc::clone(&self.state), self.tls.as_ref().map(|tls| tls.acceptor.clone()));
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (state, acceptor) = (Arc::clone(&state), acceptor.clone());
                connections.spawn(async move {
                    match acceptor {
                        None => serve_connection(TokioIo::new(stream), state).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve_connection(TokioIo::new(stream), state).await;
                            }
                        }
                    }
                });
            }
        });
        *self.server.lock().unwrap() = Some(server);
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
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Its issuer, and the root of its endpoints.
    pub(crate) fn issuer(&self) -> String {
        self.state().issuer.clone()
    }

    /// Its address, for endpoints under another name.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate to trust, when it speaks TLS.
    pub(crate) fn ca_file(&self) -> Option<CaFile> {
        self.tls.as_ref().map(|tls| CaFile::read(&tls.ca_file).unwrap())
    }

    /// How an operator would write it down: `kind = "keycloak"`, trusting its authority.
    pub(crate) fn settings(&self) -> OidcSettings {
        let issuer = self.issuer();
        OidcSettings {
            flavour: OidcFlavour::Keycloak,
            discovery: format!("{issuer}/.well-known/openid-configuration").parse().unwrap(),
            issuer,
            client_id: CLIENT_ID.to_owned(),
            client_secret: Some(SecretText::from(CLIENT_SECRET.to_owned())),
            scopes: ScopeSet::parse("profile email").unwrap(),
            authorize_params: Vec::new(),
            standing: Standing::Offline,
            groups: portcullis::config::GroupSources::default(),
            trust_email: false,
            replaces_issuer: None,
            ca_file: self.ca_file(),
        }
    }

    /// The same as an entry of the configuration, called `keycloak`.
    pub(crate) fn identity(&self) -> Identity {
        let kind = IdentityKind::Oidc(Box::new(self.settings()));
        Identity {
            id: "keycloak".to_owned(),
            name: "Keycloak".to_owned(),
            kind,
            admission: portcullis::config::Admission::default(),
        }
    }

    /// The user who signs in from now on has these claims.
    pub(crate) fn sign_in_as(&self, claims: Value) {
        self.state().user = claims;
    }

    /// The user is disabled or logged out: refresh tokens are worth nothing from now on.
    pub(crate) fn end_sessions(&self) {
        self.state().ended = true;
    }

    /// The browser that signs in from now on has this session (`sid`).
    pub(crate) fn begin_session(&self, sid: &str) {
        sid.clone_into(&mut self.state().session);
    }

    /// A session is over: its refresh tokens are worth nothing from now on, and offline access lives on.
    pub(crate) fn end_session(&self, sid: &str) {
        self.state().ended_sessions.insert(sid.to_owned());
    }

    /// Offline access that was given in a session is over.
    pub(crate) fn end_offline(&self, sid: &str) {
        self.state().ended_offline.insert(sid.to_owned());
    }

    /// A logout token for the user and the session that signed in last, changed and then signed. What it says has not happened.
    pub(crate) fn logout_token(&self, edit: impl FnOnce(&mut Value, &mut Value)) -> String {
        self.state().logout_token(edit)
    }

    /// Behaves as Dex: a sign-in ends the refresh token of the same user's sign-in before, and a dead one is `invalid_request`.
    pub(crate) fn keep_one_token_per_user(&self) {
        self.state().one_token_per_user = true;
    }

    /// Behaves as Google and Cognito: a refresh token that was used is as good as before.
    pub(crate) fn keep_used_refresh_tokens(&self) {
        self.state().keeps_used_tokens = true;
    }

    /// The userinfo endpoint says this from now on.
    pub(crate) fn say_at_userinfo(&self, claims: Value) {
        self.state().userinfo = Some(claims);
    }

    /// Refuses offline access, or grants it again.
    pub(crate) fn refuse_offline(&self, how: Option<OfflineRefusal>) {
        self.state().offline_refusal = how;
    }

    /// The secret that our client must show; `None` makes it a public client.
    pub(crate) fn set_client_secret(&self, secret: Option<&str>) {
        self.state().client_secret = secret.map(str::to_owned);
    }

    /// Changes the discovery document.
    pub(crate) fn edit_discovery(&self, edit: impl Fn(&mut Value) + Send + 'static) {
        self.state().edit_discovery = Box::new(edit);
    }

    /// Changes the key set.
    pub(crate) fn edit_jwks(&self, edit: impl Fn(&mut Value) + Send + 'static) {
        self.state().edit_jwks = Box::new(edit);
    }

    /// Changes header and claims of the ID tokens before they are signed.
    pub(crate) fn edit_id_token(&self, edit: impl Fn(&mut Value, &mut Value) + Send + 'static) {
        self.state().edit_id_token = Box::new(edit);
    }

    /// What the token endpoint answers next, once; further calls queue.
    pub(crate) fn answer_token(&self, reply: Reply) {
        self.state().token_replies.push_back(reply);
    }

    /// Holds the answers of the token endpoint back until what this answers is dropped.
    pub(crate) fn hold_token(&self) -> Hold {
        let (release, held) = watch::channel(());
        let reached = Arc::new(Notify::new());
        self.state().held = Some((held, Arc::clone(&reached)));
        Hold { reached, _release: release }
    }

    /// Signs with a new key from now on; the old one stays published unless `drop_old`.
    pub(crate) fn rotate(&self, key: TestKey, drop_old: bool) {
        let mut state = self.state();
        if drop_old {
            state.keys.clear();
        }
        state.keys.insert(0, key);
    }

    /// Signs with a key that is not published, under whatever id it has.
    pub(crate) fn sign_with(&self, impostor: Option<TestKey>) {
        self.state().impostor = impostor;
    }

    /// How many requests came for a path that ends so (`/certs`, `/token`).
    pub(crate) fn calls(&self, end_of_path: &str) -> usize {
        self.state().calls.iter().filter(|call| call.path.ends_with(end_of_path)).count()
    }

    /// How many token requests of this grant type came.
    pub(crate) fn grants(&self, end_of_grant_type: &str) -> usize {
        let is_it = |call: &&Call| call.form.get("grant_type").is_some_and(|kind| kind.ends_with(end_of_grant_type));
        self.state().calls.iter().filter(is_it).count()
    }

    /// The last request for a path that ends so.
    pub(crate) fn last_call(&self, end_of_path: &str) -> Call {
        let state = self.state();
        state.calls.iter().rev().find(|call| call.path.ends_with(end_of_path)).expect("a call").clone()
    }

    /// What it says of a token from now on; `None`: that it is not active.
    pub(crate) fn introspects(&self, token: &str, answer: Option<Value>) {
        let introspected = &mut self.state().introspected;
        match answer {
            Some(answer) => drop(introspected.insert(token.to_owned(), answer)),
            None => drop(introspected.remove(token)),
        }
    }

    /// Answers questions about tokens with 400 and this body from now on.
    pub(crate) fn refuse_questions(&self, body: Option<Value>) {
        self.state().introspection_refusal = body;
    }

    /// Leaves questions about tokens without an answer until what this returns is dropped.
    pub(crate) fn hold_questions(&self) -> watch::Sender<()> {
        let (sender, receiver) = watch::channel(());
        self.state().held_questions = Some(receiver);
        sender
    }

    /// The refresh tokens that were revoked.
    pub(crate) fn revoked(&self) -> Vec<String> {
        self.state().revoked.clone()
    }

    /// The browser's visit: the user signs in at once. Answers the URL that the browser is sent back to.
    pub(crate) fn visit(&self, authorization_url: &str) -> String {
        self.state().authorize(&Url::parse(authorization_url).unwrap())
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        if let Some(server) = self.server.lock().unwrap().take() {
            server.abort();
        }
    }
}
