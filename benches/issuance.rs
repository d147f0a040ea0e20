//! Refreshes and whole sign-ins per second and core, on SQLite and on PostgreSQL, with small tables and with a million rows:
//! `cargo bench --bench issuance`. `-- --rows N` fills the tables with N rows instead, `-- --short` measures for a second each.
//!
//! The provider answers at once, on threads of its own that are not counted. What is counted is the time on the processor of all
//! our other threads and, beside it, of the PostgreSQL servers of this machine. The server does not wait for its disk. Requests
//! come without a connection: what HTTP costs is measured by `proxy`.

#![expect(dead_code, unreachable_pub, reason = "only a part of what the tests share is used here")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark that goes wrong ends, and says what it measured"
)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis::config::{Database, Postgres, Storage};
use serde_json::json;
use tokio::runtime::{Builder, Handle};
use tokio::time::Instant;

use support::browser::{Browser, location, parameter};
use support::cluster::cluster;
use support::database::by_hand;
use support::gate::{Elsewhere, Given, TestClient, TestGate, remember_elsewhere, tokens};
use support::provider::FakeProvider;

/// Callers at once, and the grants of each, which it refreshes in turn: one grant may be refreshed once a minute.
const CALLERS: usize = 16;
const GRANTS: usize = 20;
/// What passes between two turns, so that no rate limit is reached.
const PAUSE: Duration = Duration::from_mins(2);

/// What a number of calls took.
#[derive(Clone, Copy)]
struct Cost {
    count: usize,
    elapsed: Duration,
    ours: Duration,
    server: Duration,
}

impl Cost {
    /// How many a core of ours makes in a second.
    fn per_core(self) -> f64 {
        self.count as f64 / self.ours.as_secs_f64()
    }

    fn print(self, what: &str) {
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / self.count as f64;
        println!(
            "  {what}: {:.0} per second and core ({:.3} ms each, database server {:.3} ms), {:.0}/s here",
            self.per_core(),
            each(self.ours),
            each(self.server),
            self.count as f64 / self.elapsed.as_secs_f64()
        );
    }
}

/// The time on the processor of our threads but the provider's, and of all PostgreSQL servers.
fn processor_time() -> (Duration, Duration) {
    let mut times = (0, 0);
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        if read(&task.path().join("comm")) != "provider" {
            times.0 += on_processor(&task.path());
        }
    }
    for process in fs::read_dir("/proc").unwrap().flatten() {
        if read(&process.path().join("comm")) == "postgres" {
            times.1 += on_processor(&process.path());
        }
    }
    (Duration::from_nanos(times.0), Duration::from_nanos(times.1))
}

/// A file of a process or thread; empty when that has ended.
fn read(file: &std::path::Path) -> String {
    fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

fn on_processor(task: &std::path::Path) -> u64 {
    read(&task.join("schedstat")).split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default()
}

/// A gate, its clients' grants, and the provider on threads of its own.
struct Issuance {
    gate: TestGate,
    provider: FakeProvider,
    client: TestClient,
    grants: Vec<Vec<Given>>,
}

impl Issuance {
    async fn start(provider_threads: &Handle) -> Self {
        let gate = TestGate::new().await;
        let clock = gate.clock.clone();
        let provider = provider_threads.spawn(async move { FakeProvider::start(&clock).await }).await.unwrap();
        let gate = gate.restart_with(|config| config.identities = vec![provider.identity()]).await;
        let client = gate.register().await;
        Self { gate, provider, client, grants: vec![Vec::new(); CALLERS] }
    }

    /// The whole way of a new user: authorization, consent, sign-in, callback, code.
    async fn sign_in(&self, user: usize) -> Given {
        let mut browser = Browser::default();
        let form = self.gate.consent_form(&mut browser, &self.client, &[]).await;
        let form = form.with("decision", "approve").with("identity", "keycloak");
        let url = location(&browser.submit(&self.gate, &form).await);
        self.provider.sign_in_as(json!({"sub": format!("u{user}"), "email": format!("u{user}@example.com")}));
        let back = self.provider.visit(&url);
        let path = back.strip_prefix(self.gate.origin()).unwrap();
        let url = location(&browser.get(&self.gate, path).await);
        let code = parameter(&url, "code").unwrap_or_else(|| panic!("no code in {url}"));
        tokens(&self.gate.redeem(&self.client, &code).await)
    }

    async fn refresh(&self, given: &mut Given) {
        *given = tokens(&self.gate.refresh(&self.client, &given.refresh).await);
    }

    async fn sign_ins(&mut self) -> Cost {
        let (began, before) = (Instant::now(), processor_time());
        for turn in 0..GRANTS {
            self.gate.clock.advance(PAUSE);
            let users = turn * CALLERS..(turn + 1) * CALLERS;
            let given = join_all(users.map(|user| self.sign_in(user))).await;
            for (grants, given) in self.grants.iter_mut().zip(given) {
                grants.push(given);
            }
        }
        cost(CALLERS * GRANTS, began, before)
    }

    async fn refreshes(&mut self, length: Duration) -> Cost {
        let mut grants = std::mem::take(&mut self.grants);
        let (began, before) = (Instant::now(), processor_time());
        let mut count = 0;
        while began.elapsed() < length {
            self.gate.clock.advance(PAUSE);
            let callers = grants.iter_mut().map(async |grants| {
                for given in grants {
                    self.refresh(given).await;
                }
            });
            join_all(callers).await;
            count += CALLERS * GRANTS;
        }
        self.grants = grants;
        cost(count, began, before)
    }
}

fn cost(count: usize, began: Instant, before: (Duration, Duration)) -> Cost {
    let (elapsed, after) = (began.elapsed(), processor_time());
    Cost { count, elapsed, ours: after.0.saturating_sub(before.0), server: after.1.saturating_sub(before.1) }
}

/// Other people's clients, grants and refresh tokens, all of them live.
async fn fill(storage: &Storage, rows: usize) {
    let (numbers, hash) = match &storage.database {
        Database::Sqlite(_) => {
            let numbers = format!("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})");
            (numbers, "randomblob(32)")
        }
        Database::Postgres(_) => {
            let numbers = format!("WITH c AS (SELECT n FROM generate_series(1, {rows}::BIGINT) n)");
            (numbers, "sha256(n::TEXT::BYTEA)")
        }
    };
    // ids are random in life, too: these are not in their numbers' order
    let id = format!("((n * 7919 % {rows}) || '_' || n)");
    let far = 4_000_000_000_i64;
    let columns =
        "id, redirect_uris, auth_method, refresh_token, scope, created_at, address, registered_at, last_grant_at";
    let client = format!("'c_' || {id}, '[\"https://client.example/\"]', 'none', TRUE, '', n, 'a' || n, {far}, {far}");
    by_hand(storage, &format!("{numbers} INSERT INTO clients ({columns}) SELECT {client} FROM c")).await;
    let columns = "id, subject, identity, client_id, resource, scope, user_claims, provider_offline, provider_renewable, \
                   created_at, expires_at, last_used_at";
    let grant = format!("'g_' || {id}, 's_' || n, 'keycloak', 'c_' || {id}, 'r', '', '{{}}', TRUE, TRUE, n, {far}, n");
    by_hand(storage, &format!("{numbers} INSERT INTO grants ({columns}) SELECT {grant} FROM c")).await;
    let token = format!("{hash}, 'g_' || {id}, {far}");
    by_hand(
        storage,
        &format!("{numbers} INSERT INTO refresh_tokens (hash, grant_id, expires_at) SELECT {token} FROM c"),
    )
    .await;
    by_hand(storage, "ANALYZE").await;
}

/// Measures on a new database; the figures are sign-ins and refreshes.
async fn measure(provider_threads: &Handle, rows: usize, length: Duration) -> [Cost; 2] {
    let mut issuance = Issuance::start(provider_threads).await;
    if rows > 0 {
        fill(&issuance.gate.config.storage, rows).await;
    }
    let sign_ins = issuance.sign_ins().await;
    sign_ins.print("sign-ins");
    // the first ones prepare their statements
    issuance.refreshes(length / 10).await;
    let refreshes = issuance.refreshes(length).await;
    refreshes.print("refreshes");
    [sign_ins, refreshes]
}

/// Keeps what gates remember on the server that all tests share.
fn in_postgres() -> Elsewhere {
    let database = cluster().create(None);
    let settings = Postgres::at(database.url().parse().unwrap());
    (settings.into(), Box::new(database))
}

async fn measure_all(provider_threads: &Handle, rows: usize, length: Duration) {
    for engine in ["SQLite", "PostgreSQL"] {
        if engine == "PostgreSQL" {
            remember_elsewhere(in_postgres);
        }
        println!("{engine}, small tables:");
        let small = measure(provider_threads, 0, length).await;
        println!("{engine}, {rows} rows in each table:");
        let large = measure(provider_threads, rows, length).await;
        for (what, small, large) in [("sign-ins", small[0], large[0]), ("refreshes", small[1], large[1])] {
            println!("  {what}: ratio to small tables {:.2}", large.per_core() / small.per_core());
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--rows");
    let rows = arguments.nth(1).map_or(1_000_000, |number| number.parse().unwrap());
    let length = Duration::from_secs(if std::env::args().any(|argument| argument == "--short") { 1 } else { 10 });
    let threads = |name: &str| Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build();
    let (ours, provider) = (threads("gate").unwrap(), threads("provider").unwrap());
    ours.block_on(measure_all(provider.handle(), rows, length));
}
