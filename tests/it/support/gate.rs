//! A whole Portcullis in process: a real store in a temporary directory, a clock that tests move, no sockets.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use portcullis::app::{App, Authority};
use portcullis::clock::{Clock, Timestamp};
use portcullis::config::{
    Accepts, Admission, ApiKeys, ClientDocuments, Config, ConfiguredClient, Consent, Database, Device, Dpop, Identity,
    IdentityKind, Lifetimes, Limits, LocalUser, Log, Outbound, Pages, PublicUrl, Reach, ReachHttp, Registration,
    RequestHeaders, RootKey, Secrets, Server, Storage, Tokens, Upstream, UpstreamScopes, UpstreamSettings,
};
use portcullis::identity::hash_password;
use portcullis::issuer::Issuer;
use portcullis::keys::RotationSchedule;
use portcullis::oauth::client_metadata::AuthMethod;
use portcullis::oauth::scope::ScopeSet;
use portcullis::revocation::Revocation;
use portcullis::secret::{Sha256, base64url};
use portcullis::storage::Store;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::browser::{Browser, Form, location, parameter};
use super::provider::FakeProvider;
use super::upstream::Upstream as Behind;

/// The time at which every test starts.
pub const START: Timestamp = Timestamp(1_800_000_000);
/// The redirect URI of the tests' client.
pub const REDIRECT_URI: &str = "http://127.0.0.1:33418/callback";
/// RFC 7636 appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// The status of a call with a valid token: that of the polite upstream behind the gate.
pub const WORKS: u16 = 200;
/// A URL without a listener (the discard service's port).
pub const NOT_LISTENING: &str = "http://127.0.0.1:9/mcp";
/// The user of most tests, and the password.
const ALICE: (&str, &str) = ("alice", "wonderland");

/// The challenge of a verifier.
pub fn challenge(verifier: &str) -> String {
    base64url(Sha256::of(verifier.as_bytes()).as_bytes())
}

/// A gate's application, which has an authorization server unless a test leaves it out.
#[derive(Clone)]
pub struct TestApp(App);

impl From<App> for TestApp {
    fn from(app: App) -> Self {
        Self(app)
    }
}

impl Deref for TestApp {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}

impl TestApp {
    fn own(&self) -> &Authority {
        self.0.authority().expect("an upstream accepts our own tokens")
    }

    pub fn issuer(&self) -> &Issuer {
        self.own().issuer()
    }

    pub fn revocation(&self) -> &Revocation {
        self.own().revocation()
    }

    pub fn store(&self) -> &Store {
        self.own().store()
    }

    pub fn key_rotation(&self) -> RotationSchedule {
        self.own().key_rotation()
    }
}

/// A gate.
pub struct TestGate {
    pub app: TestApp,
    pub clock: Clock,
    pub config: Arc<Config>,
    /// What answers at `/mcp` unless the test configures another upstream there.
    pub behind: Arc<Behind>,
    home: Arc<Home>,
}

/// Where a gate keeps what it remembers; gone with the last gate that uses it.
struct Home {
    directory: TempDir,
    elsewhere: Option<Elsewhere>,
}

/// A database that is not a file in the gate's directory, and what removes it when it is dropped.
pub type Elsewhere = (Storage, Box<dyn Any + Send + Sync>);

thread_local! {
    static MAKE_ELSEWHERE: Cell<Option<fn() -> Elsewhere>> = const { Cell::new(None) };
}

/// Lets every gate that this thread makes from now on keep what it remembers elsewhere.
pub fn remember_elsewhere(make: fn() -> Elsewhere) {
    MAKE_ELSEWHERE.set(Some(make));
}

impl Home {
    fn new() -> Arc<Self> {
        let elsewhere = MAKE_ELSEWHERE.get().map(|make| make());
        Arc::new(Self { directory: tempfile::tempdir().unwrap(), elsewhere })
    }

    fn storage(&self) -> Storage {
        match &self.elsewhere {
            Some((storage, _)) => storage.clone(),
            None => Database::Sqlite(self.directory.path().join("portcullis.db")).into(),
        }
    }
}

/// A response, read whole.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The `error` of an OAuth error document.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}\n{}", self.status, self.headers, self.body)
    }
}

/// A registered client that asks for tokens.
#[derive(Debug, Clone)]
pub struct TestClient {
    pub id: String,
    pub redirect_uri: String,
}

/// What `/token` gave.
#[derive(Debug, Clone)]
pub struct Given {
    pub access: String,
    pub refresh: String,
}

impl TestGate {
    /// A gate with one polite upstream (`/mcp`), a local identity provider with the user `alice` / `wonderland`.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with other settings.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let behind = Behind::polite().await;
        let home = Home::new();
        let mut config = config(home.storage(), &behind.url());
        change(&mut config);
        Self::start(home, Arc::new(config), Clock::manual(START), Arc::new(behind)).await
    }

    /// The same, with a provider that can be made to misbehave instead of local users.
    pub async fn with_provider(change: impl FnOnce(&mut Config)) -> (Self, FakeProvider) {
        Self::with_provider_at(START, change).await
    }

    /// The same, at another time.
    pub async fn with_provider_at(start: Timestamp, change: impl FnOnce(&mut Config)) -> (Self, FakeProvider) {
        let clock = Clock::manual(start);
        let provider = FakeProvider::start(&clock).await;
        let behind = Behind::polite().await;
        let home = Home::new();
        let mut config = config(home.storage(), &behind.url());
        config.identities = vec![provider.identity()];
        change(&mut config);
        (Self::start(home, Arc::new(config), clock, Arc::new(behind)).await, provider)
    }

    /// The same with a clock that something else shares, such as a provider.
    pub async fn at(clock: Clock, change: impl FnOnce(&mut Config)) -> Self {
        let behind = Behind::polite().await;
        let home = Home::new();
        let mut config = config(home.storage(), &behind.url());
        change(&mut config);
        Self::start(home, Arc::new(config), clock, Arc::new(behind)).await
    }

    /// Several processes that start at once on a new database.
    pub async fn many_at_once(count: usize) -> Vec<Self> {
        let (home, behind) = (Home::new(), Arc::new(Behind::polite().await));
        let (config, clock) = (Arc::new(config(home.storage(), &behind.url())), Clock::manual(START));
        let starts = (0..count).map(|_| {
            let (home, config, clock) = (Arc::clone(&home), Arc::clone(&config), clock.clone());
            tokio::spawn(Self::start(home, config, clock, Arc::clone(&behind)))
        });
        join_all(starts).await.into_iter().map(Result::unwrap).collect()
    }

    /// Another process that shares the database.
    pub async fn twin(&self) -> Self {
        Self::start(Arc::clone(&self.home), Arc::clone(&self.config), self.clock.clone(), Arc::clone(&self.behind))
            .await
    }

    /// Another process that shares the database, with other settings.
    pub async fn twin_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::clone(&self.config);
        change(&mut config);
        let (home, behind) = (Arc::clone(&self.home), Arc::clone(&self.behind));
        Self::start(home, Arc::new(config), self.clock.clone(), behind).await
    }

    /// Waits until all background work of the issuer has ended.
    pub async fn settle(&self) {
        self.app.issuer().settle().await;
    }

    async fn start(home: Arc<Home>, config: Arc<Config>, clock: Clock, behind: Arc<Behind>) -> Self {
        let app = App::build(Arc::clone(&config), clock.clone()).await.expect("the gate is built");
        app.adopt().await.expect("the configuration fits the store");
        Self { app: app.into(), clock, config, behind, home }
    }

    /// The same database in a new process, as far as memory goes.
    pub async fn restart(self) -> Self {
        let Self { app, clock, config, behind, home } = self;
        app.close().await;
        drop(app);
        Self::start(home, config, clock, behind).await
    }

    /// The same database in a new process with other settings.
    pub async fn restart_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::clone(&self.config);
        change(&mut config);
        Self { config: Arc::new(config), ..self }.restart().await
    }

    pub fn origin(&self) -> &str {
        self.config.public_url.as_str()
    }

    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(path).header(HOST, self.config.public_url.authority())
    }

    pub async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Answer {
        self.send_from(IpAddr::V4(Ipv4Addr::LOCALHOST), request, body).await
    }

    pub async fn send_from(&self, peer: IpAddr, request: http::request::Builder, body: impl Into<Bytes>) -> Answer {
        let request = request.body(Full::new(body.into())).unwrap();
        let response = self.app.handle(request, SocketAddr::from((peer, 50000))).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body of ours arrives whole").to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path), "").await
    }

    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        let request = self.request("POST", path).header(CONTENT_TYPE, "application/json");
        self.send(request, body.to_string()).await
    }

    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.request("POST", path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, body).await
    }

    /// Registers a public client that may refresh.
    pub async fn register(&self) -> TestClient {
        self.register_named("Test client").await
    }

    pub async fn register_named(&self, name: &str) -> TestClient {
        self.register_as(&json!({"client_name": name, "redirect_uris": [REDIRECT_URI]})).await
    }

    /// Registers a client with this metadata, which then uses the first of its redirect URIs.
    pub async fn register_as(&self, metadata: &Value) -> TestClient {
        let answer = self.post_json("/register", metadata).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        TestClient { id: text(&answer.json()["client_id"]), redirect_uri: text(&metadata["redirect_uris"][0]) }
    }

    /// The path and query of an authorization request; `extra` adds to it or, with an empty value, takes away.
    pub fn authorize_path(&self, client: &TestClient, extra: &[(&str, &str)]) -> String {
        let challenge = challenge(VERIFIER);
        let resource = self.config.upstreams[0].audience();
        let mut fields: Vec<(&str, &str)> = vec![
            ("response_type", "code"),
            ("client_id", &client.id),
            ("redirect_uri", &client.redirect_uri),
            ("state", "client-state"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", resource),
        ];
        fields.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
        fields.extend(extra.iter().filter(|(_, value)| !value.is_empty()));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        format!("/authorize?{query}")
    }

    /// Opens the consent page.
    pub async fn consent_form(&self, browser: &mut Browser, client: &TestClient, extra: &[(&str, &str)]) -> Form {
        let answer = browser.get(self, &self.authorize_path(client, extra)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Form::on(&answer.body)
    }

    /// Approves and signs in as alice; returns where the browser is sent.
    pub async fn sign_in(&self, browser: &mut Browser, client: &TestClient, extra: &[(&str, &str)]) -> String {
        self.sign_in_as(ALICE, browser, client, extra).await
    }

    /// The same as another user, with name and password.
    pub async fn sign_in_as(
        &self,
        who: (&str, &str),
        browser: &mut Browser,
        client: &TestClient,
        extra: &[(&str, &str)],
    ) -> String {
        location(&self.send_password(who, browser, client, extra).await)
    }

    /// The same, up to the answer to the password.
    pub async fn send_password(
        &self,
        who: (&str, &str),
        browser: &mut Browser,
        client: &TestClient,
        extra: &[(&str, &str)],
    ) -> Answer {
        let form = self.consent_form(browser, client, extra).await;
        let approved = browser.submit(self, &form.with("decision", "approve").with("identity", "local")).await;
        let page = browser.get(self, &location(&approved)).await;
        browser.submit(self, &filled_in(&page, who)).await
    }

    /// A fresh code.
    pub async fn code(&self, client: &TestClient) -> String {
        let url = self.sign_in(&mut Browser::default(), client, &[]).await;
        parameter(&url, "code").unwrap_or_else(|| panic!("no code in {url}"))
    }

    /// Redeems a code.
    pub async fn redeem(&self, client: &TestClient, code: &str) -> Answer {
        self.post_form(
            "/token",
            &[
                ("grant_type", "authorization_code"),
                ("client_id", &client.id),
                ("code", code),
                ("redirect_uri", &client.redirect_uri),
                ("code_verifier", VERIFIER),
            ],
        )
        .await
    }

    /// Uses a refresh token.
    pub async fn refresh(&self, client: &TestClient, token: &str) -> Answer {
        self.post_form(
            "/token",
            &[("grant_type", "refresh_token"), ("client_id", &client.id), ("refresh_token", token)],
        )
        .await
    }

    /// Posts a form with the credentials of a client in the header.
    pub async fn post_as(&self, (client, secret): (&str, &str), path: &str, fields: &[(&str, &str)]) -> Answer {
        let basic = data_encoding::BASE64.encode(format!("{client}:{secret}").as_bytes());
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.request("POST", path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.header("authorization", format!("Basic {basic}")), body).await
    }

    /// Revokes a token as a public client.
    pub async fn revoke(&self, client: &TestClient, token: &str) -> Answer {
        self.post_form("/revoke", &[("client_id", &client.id), ("token", token)]).await
    }

    /// Signs in and redeems the code.
    pub async fn tokens(&self, client: &TestClient) -> Given {
        tokens(&self.redeem(client, &self.code(client).await).await)
    }

    /// Opens a listener of its own on a free port; the gate is known there by its configured name.
    pub async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(App::clone(&self.app).serve(listener));
        address
    }

    /// Calls the first upstream.
    pub async fn call(&self, token: &str) -> Answer {
        self.call_at("/mcp", token).await
    }

    pub async fn call_at(&self, path: &str, token: &str) -> Answer {
        self.call_with(path, token, r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#).await
    }

    /// Calls with a message of its own.
    pub async fn call_with(&self, path: &str, token: &str, message: impl Into<Bytes>) -> Answer {
        let body = message.into();
        self.send(self.calling(path, token, body.len()), body).await
    }

    /// The status of a call whose grant may end while its answer comes.
    pub async fn status_of_call(&self, token: &str) -> u16 {
        const BODY: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
        let request = self.calling("/mcp", token, BODY.len()).body(Full::new(Bytes::from(BODY))).unwrap();
        self.app.handle(request, SocketAddr::from((Ipv4Addr::LOCALHOST, 50000))).await.status().as_u16()
    }

    fn calling(&self, path: &str, token: &str, length: usize) -> http::request::Builder {
        self.request("POST", path)
            .header("authorization", format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .header("content-length", length)
            .header("accept", "application/json, text/event-stream")
    }
}

/// The tokens of an answer.
pub fn tokens(answer: &Answer) -> Given {
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    Given { access: text("access_token"), refresh: text("refresh_token") }
}

/// The claims of an access token, unverified.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
}

/// The form of a sign-in page, filled in by alice.
pub fn as_alice(page: &Answer) -> Form {
    filled_in(page, ALICE)
}

fn filled_in(page: &Answer, (name, password): (&str, &str)) -> Form {
    Form::on(&page.body).with("username", name).with("password", password)
}

/// An upstream at the path `/{id}`.
pub fn upstream(public_url: &PublicUrl, id: &str, url: &str) -> Upstream {
    let settings = UpstreamSettings {
        id: id.to_owned(),
        path: format!("/{id}"),
        name: format!("Server {id}"),
        // calls to an upstream that does not listen fail at once
        reach: Reach::Http(ReachHttp { reconnect: None, ..ReachHttp::at(url.parse().unwrap()) }),
        scopes: UpstreamScopes::requiring(ScopeSet::empty().with("mcp:access")),
        admission: Admission::default(),
        accepts: Accepts::default(),
        default: false,
        request_headers: RequestHeaders::default(),
        credential: None,
        api_keys: ApiKeys::default(),
        dpop: Dpop::default(),
        keep_alive: UpstreamSettings::KEEP_ALIVE,
    };
    Upstream::new(public_url, settings).unwrap()
}

/// The secret of [`resource_server`].
pub const SERVER_SECRET: &str = "a-secret-of-more-than-32-characters";

/// A client that may ask about the tokens of these upstreams.
pub fn resource_server(client_id: &str, introspects: &[&str]) -> ConfiguredClient {
    ConfiguredClient {
        device: false,
        client_id: client_id.to_owned(),
        name: None,
        redirect_uris: Vec::new(),
        client_secret: Some(SERVER_SECRET.to_owned().into()),
        auth_method: AuthMethod::ClientSecretBasic,
        machine: None,
        keys: None,
        dpop_bound: false,
        introspects: introspects.iter().map(|id| (*id).to_owned()).collect(),
    }
}

/// How an upstream is reached, for tests that change it.
pub fn reach(upstream: &mut Upstream) -> &mut ReachHttp {
    let Reach::Http(http) = &mut upstream.settings.reach;
    http
}

/// A user of the local identity provider.
pub fn local_user(name: &str, password: &str) -> LocalUser {
    LocalUser {
        id: name.to_owned(),
        username: name.to_owned(),
        password_hash: hash_password(&password.to_owned().into()),
        name: None,
        email: Some(format!("{name}@example.com")),
        groups: vec!["engineering".to_owned()],
    }
}

fn config(storage: Storage, behind: &str) -> Config {
    let public_url = PublicUrl::parse("http://127.0.0.1:6749").unwrap();
    let upstreams = vec![upstream(&public_url, "mcp", behind)];
    let users = vec![local_user(ALICE.0, ALICE.1)];
    Config {
        server: Server::default(),
        log: Log::default(),
        storage,
        secrets: Secrets { keys: vec![RootKey::from_bytes([7; 32])] },
        lifetimes: Lifetimes::default(),
        tokens: Tokens::default(),
        registration: Registration::default(),
        client_documents: ClientDocuments::default(),
        consent: Consent::default(),
        limits: Limits::default(),
        device: Device::default(),
        pages: Pages::default(),
        outbound: Outbound::default(),
        identities: vec![Identity {
            id: "local".to_owned(),
            name: "Local".to_owned(),
            kind: IdentityKind::Local(users),
            admission: Admission::default(),
        }],
        upstreams,
        clients: Vec::new(),
        assertion_issuers: Vec::new(),
        public_url,
    }
}
