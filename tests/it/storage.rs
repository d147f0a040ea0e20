//! The contract of the store: promises that every engine keeps. Each is a function that takes a fresh, empty store; the file
//! named after an engine has the tests of that engine only.

mod at_once;
mod authorizations;
mod cancellation;
mod client_documents;
mod clients;
mod expiry;
mod grants;
mod machine_grants;
mod postgres;
mod provider_logouts;
mod refresh_tokens;
mod sealed;
mod shared_tokens;
mod signing_keys;
mod single_use;
mod sqlite;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::config;
use portcullis::model::authorization::{
    Authorization, ClientRequest, Consent, ProviderStanding, Purpose, SignIn, Stage,
};
use portcullis::model::client::{Authentication, Client, ClientOrigin, SecretMethod};
use portcullis::model::grant::{Grant, Holder};
use portcullis::model::ids::{AuthorizationId, ClientId, GrantId, IdentityId, Subject};
use portcullis::model::user::User;
use portcullis::oauth::scope::ScopeSet;
use portcullis::secret::{Sha256, random};
use portcullis::storage::{
    CodeConsent, CodeIssue, NewCode, NewRefreshToken, Redemption, Rotation, Store, StoredIdentity,
};
use portcullis::telemetry::metrics::{self, Metrics};
use tempfile::TempDir;

use crate::support::cluster::{Database, blocking, cluster};

/// Makes a test of every promise for every engine.
macro_rules! contract {
    ($($promise:ident),+ $(,)?) => {
        contract! { on_sqlite, $crate::storage::SqlitePlace::new(); $($promise),+ }
        contract! { on_postgres, $crate::storage::PostgresPlace::new(); $($promise),+ }
    };
    ($engine:ident, $place:expr; $($promise:ident),+) => {
        mod $engine {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let place = $place;
                    super::$promise($crate::storage::Fresh::new(place.open().await)).await;
                }
            )+
        }
    };
}
use contract;

pub(crate) const START: Timestamp = Timestamp(1_800_000_000);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);

/// How many writes of a kind may wait.
pub(crate) const WAITING_WRITES: usize = 256;

/// The issuer that signs users in.
pub(crate) const ISSUER: &str = "https://keycloak.example";

/// A directory with a database, gone at the end.
pub(crate) struct SqlitePlace {
    directory: TempDir,
    pub(crate) clock: Clock,
}

impl SqlitePlace {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: Clock::manual(START) }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("portcullis.db")
    }

    pub(crate) fn settings(&self) -> config::Storage {
        config::Database::Sqlite(self.file()).into()
    }

    pub(crate) async fn open(&self) -> Opened {
        self.open_counted(WAITING_WRITES, Metrics::default().store).await
    }

    pub(crate) async fn open_counted(&self, waiting_writes: usize, counted: metrics::Store) -> Opened {
        open(self.settings(), waiting_writes, &self.clock, counted).await
    }
}

/// A database on the server of the tests, gone at the end.
pub(crate) struct PostgresPlace {
    database: Database,
    connections: u32,
    pub(crate) clock: Clock,
}

impl PostgresPlace {
    /// With the schema in it.
    pub(crate) fn new() -> Self {
        static TEMPLATE: LazyLock<PostgresPlace> = LazyLock::new(|| {
            let place = PostgresPlace::empty();
            let settings = place.settings();
            blocking(async move {
                Store::open(&settings, WAITING_WRITES, Metrics::default().store).await.unwrap().close().await;
            });
            place
        });
        Self::of(cluster().create(Some(&TEMPLATE.database)))
    }

    pub(crate) fn empty() -> Self {
        Self::of(cluster().create(None))
    }

    fn of(database: Database) -> Self {
        Self { database, connections: 8, clock: Clock::manual(START) }
    }

    /// With so many connections.
    pub(crate) fn with(self, connections: u32) -> Self {
        Self { connections, ..self }
    }

    pub(crate) fn settings(&self) -> config::Storage {
        let server = config::Postgres::at(self.database.url().parse().unwrap());
        config::Postgres { connections: self.connections, ..server }.into()
    }

    pub(crate) async fn open(&self) -> Opened {
        open(self.settings(), WAITING_WRITES, &self.clock, Metrics::default().store).await
    }
}

async fn open(settings: config::Storage, waiting_writes: usize, clock: &Clock, counted: metrics::Store) -> Opened {
    let store = Store::open(&settings, waiting_writes, counted).await.unwrap();
    let keycloak =
        StoredIdentity { id: "keycloak".into(), issuer: ISSUER.to_owned(), client_id: "portcullis".to_owned() };
    store.keep_identity(&keycloak).await.unwrap();
    (store, clock.clone(), settings)
}

/// A store, the clock that its callers go by, and where it lies.
pub(crate) type Opened = (Store, Clock, config::Storage);

/// An empty store and the clock that its callers go by.
pub(crate) struct Fresh {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) settings: config::Storage,
}

/// A user who signed in: the grant and its refresh token.
pub(crate) struct SignedIn {
    pub(crate) grant: Grant,
    pub(crate) token: NewRefreshToken,
    pub(crate) code: Sha256,
    pub(crate) authorization: AuthorizationId,
    /// The grants that were ended to make room.
    pub(crate) ended: Vec<GrantId>,
}

impl Fresh {
    pub(crate) fn new((store, clock, settings): Opened) -> Self {
        Self { store, clock, settings }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An authorization that waits for the provider's answer.
    pub(crate) async fn pending(&self, client: &str) -> Authorization {
        let authorization = authorization(client, self.now());
        assert!(self.store.insert_authorization(&authorization).await.unwrap());
        authorization
    }

    pub(crate) async fn claimed(&self, client: &str) -> Authorization {
        let authorization = self.pending(client).await;
        assert!(self.store.claim_authorization(&authorization.id, 0, self.now()).await.unwrap());
        authorization
    }

    /// A code that can be redeemed for a minute.
    pub(crate) async fn code(&self, client: &str) -> (Authorization, Sha256) {
        let (authorization, code) = (self.claimed(client).await, some_hash());
        let issued = self.store.issue_code(&authorization.id, &new_code(&code, self.now() + MINUTE, &ada())).await;
        assert_eq!(issued.unwrap(), CodeIssue::Issued);
        (authorization, code)
    }

    pub(crate) async fn signed_in(&self, client: &str) -> SignedIn {
        self.signed_in_as(|grant| grant.client_id = ClientId::from(client)).await
    }

    /// Signs in a user of its own: the grants of one user share a token of the provider, and with it the lease.
    pub(crate) async fn signed_in_alone(&self, client: &str) -> SignedIn {
        self.signed_in_as(|grant| {
            grant.client_id = ClientId::from(client);
            grant.subject = Subject::new(&IdentityId::from("keycloak"), grant.id.as_str());
        })
        .await
    }

    /// Signs in and lets the caller say how the grant differs from Ada's.
    pub(crate) async fn signed_in_as(&self, differs: impl FnOnce(&mut Grant)) -> SignedIn {
        let mut grant = grant("c_inspector", self.now());
        differs(&mut grant);
        let (authorization, code) = self.code(grant.client_id.as_str()).await;
        let token = refresh_token(self.now());
        let ended =
            self.store.redeem_code(&redemption(&code, &grant, Some(&token), self.now())).await.unwrap().unwrap();
        SignedIn { grant, token, code, authorization: authorization.id, ended }
    }

    pub(crate) async fn register(&self, id: &str, address: &str) -> Client {
        let client = client(id, self.now());
        self.store.insert_client(&client, address, 1000, self.now()).await.unwrap();
        client
    }

    /// Takes the lease and rotates a refresh token.
    pub(crate) async fn rotate(&self, grant: &GrantId, used: &Sha256) -> NewRefreshToken {
        let successor = refresh_token(self.now());
        assert!(self.store.take_refresh_lease(used, "us", self.now() + MINUTE, self.now()).await.unwrap().is_some());
        assert!(self.store.rotate_refresh_token(&rotation(grant, used, &successor, self.now())).await.unwrap());
        successor
    }
}

pub(crate) fn some_hash() -> Sha256 {
    Sha256::of(&random::<32>())
}

pub(crate) fn parameters() -> &'static Sha256 {
    static PARAMETERS: LazyLock<Sha256> = LazyLock::new(|| Sha256::of(b"parameters"));
    &PARAMETERS
}

/// The session at the provider, which no renewal changes.
fn her_session() -> Sha256 {
    Sha256::of(b"her session")
}

pub(crate) fn new_standing() -> &'static ProviderStanding {
    static STANDING: LazyLock<ProviderStanding> = LazyLock::new(|| ProviderStanding {
        sealed_token: Some(b"the provider's new token".to_vec()),
        offline: false,
        ends_at: None,
        renewable: false,
        line: 0,
        session: Some(her_session()),
    });
    &STANDING
}

pub(crate) fn rotation<'a>(
    grant: &'a GrantId,
    used: &'a Sha256,
    successor: &'a NewRefreshToken,
    now: Timestamp,
) -> Rotation<'a> {
    Rotation {
        grant,
        lease: "us",
        used,
        parameters: parameters(),
        sealed_response: b"sealed",
        successor,
        standing: Some(new_standing()),
        user: None,
        bound_to: None,
        now,
    }
}

pub(crate) fn refresh_token(now: Timestamp) -> NewRefreshToken {
    NewRefreshToken { hash: some_hash(), expires_at: now + 30 * DAY, bound: false }
}

pub(crate) fn client(id: &str, now: Timestamp) -> Client {
    Client {
        id: ClientId::from(id),
        origin: ClientOrigin::Registered,
        name: Some("Ada’s “client”".to_owned()),
        redirect_uris: vec!["http://127.0.0.1/callback".to_owned(), "https://a.example/\"cb\"".to_owned()],
        authentication: Authentication::Secret(Sha256::of(b"secret"), SecretMethod::Post),
        refresh_token: true,
        device: false,
        dpop_bound: false,
        scope: ScopeSet::parse("mcp:access mcp:write").unwrap(),
        application_type: Some("native".to_owned()),
        created_at: now,
    }
}

pub(crate) fn authorization(client: &str, now: Timestamp) -> Authorization {
    Authorization {
        id: AuthorizationId::random(),
        purpose: Purpose::Client(ClientRequest {
            client_id: ClientId::from(client),
            redirect_uri: "http://127.0.0.1:4711/callback".to_owned(),
            state: Some("ä\"state\"".to_owned()),
            code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned(),
            resource: "https://mcp.example.com/mcp".to_owned(),
            scope: ScopeSet::parse("mcp:access").unwrap(),
            named_scope: Some(ScopeSet::parse("mcp:access offline_access").unwrap()),
            dpop_jkt: None,
            refresh: true,
        }),
        consent: Consent::Asked,
        identity: Some(IdentityId::from("keycloak")),
        binding_hash: some_hash(),
        round: 0,
        offline: true,
        retried: false,
        stage: Stage::Pending,
        created_at: now,
        expires_at: now + 20 * MINUTE,
    }
}

pub(crate) fn ada() -> SignIn {
    SignIn {
        subject: Subject::new(&IdentityId::from("keycloak"), "ada"),
        user: User {
            name: Some("Ada Lovelace".to_owned()),
            preferred_username: Some("ada".to_owned()),
            email: Some("ada@example.com".to_owned()),
            domain: Some("example.com".to_owned()),
            groups: vec!["engines, analytical".to_owned()],
        },
        standing: ProviderStanding {
            sealed_token: Some(vec![0, 1, 255]),
            offline: true,
            ends_at: Some(START + 60 * DAY),
            renewable: true,
            line: 0,
            session: Some(her_session()),
        },
    }
}

/// Ada, whose provider has given offline tokens for so many sign-ins.
pub(crate) fn ada_after(sign_ins: i64) -> SignIn {
    SignIn { standing: ProviderStanding { line: sign_ins, ..ada().standing }, ..ada() }
}

pub(crate) fn new_code<'a>(hash: &'a Sha256, expires_at: Timestamp, sign_in: &'a SignIn) -> NewCode<'a> {
    NewCode {
        hash,
        expires_at,
        issuer: ISSUER,
        sign_in,
        consent: CodeConsent::Asked,
        asserted_at: Some(START),
        now: START,
    }
}

/// By a configured client.
pub(crate) fn redemption<'a>(
    code: &'a Sha256,
    grant: &'a Grant,
    refresh_token: Option<&'a NewRefreshToken>,
    now: Timestamp,
) -> Redemption<'a> {
    static HOLDER: LazyLock<Holder> = LazyLock::new(|| Holder {
        receiver: Some("a program on this computer".to_owned()),
        address: Some("203.0.113.7".to_owned()),
        agent: Some("claude-code".to_owned()),
    });
    Redemption { code, grant, holder: &HOLDER, refresh_token, issuer: ISSUER, client_is_configured: true, now }
}

pub(crate) fn grant(client: &str, now: Timestamp) -> Grant {
    let ada = ada();
    Grant {
        id: GrantId::random(),
        subject: ada.subject,
        identity: IdentityId::from("keycloak"),
        client_id: ClientId::from(client),
        resource: "https://mcp.example.com/mcp".to_owned(),
        scope: ScopeSet::parse("mcp:access").unwrap(),
        named_scope: Some(ScopeSet::parse("mcp:access offline_access").unwrap()),
        user: ada.user,
        standing: ada.standing,
        bound_to: None,
        created_at: now,
        expires_at: now + 90 * DAY,
        ended_at: None,
    }
}

/// Runs the same call many times concurrently and returns all results.
pub(crate) async fn at_once<T, F>(times: usize, call: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let calls: Vec<_> = (0..times).map(|n| tokio::spawn(call(n))).collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}
