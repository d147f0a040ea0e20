//! Signing keys of several processes over their whole life: no call fails while they rotate, a third party can verify every token
//! with a key set as old as it may be, and a withdrawn key is worth nothing within a second.

use std::collections::BTreeSet;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use portcullis::app::App;
use portcullis::audit::{Actor, Audit};
use portcullis::clock::Timestamp;
use portcullis::config::{Config, SigningAlgorithm, Storage};
use portcullis::keys::{Replaced, Rotation, RotationSchedule, RotationTerms, Sealer};
use portcullis::telemetry::metrics::{Metrics, Task};

use crate::storage::PostgresPlace;
use crate::support::bench::Bench;
use crate::support::gate::{Given, TestClient, TestGate, WORKS, tokens, upstream};
use crate::support::log::watch;
use crate::support::raw::{RawUpstream, SSE};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

async fn key_set(gate: &TestGate) -> JwkSet {
    serde_json::from_str(&gate.get("/.well-known/jwks.json").await.body).unwrap()
}

async fn published(gate: &TestGate) -> BTreeSet<String> {
    key_set(gate).await.keys.into_iter().map(|key| key.common.key_id.unwrap()).collect()
}

/// What the operator's command does.
fn rotation(gate: &TestGate) -> Rotation {
    Rotation {
        store: gate.app.store().clone(),
        sealer: Sealer::new(&gate.config.secrets),
        terms: RotationTerms::of(&gate.config),
        clock: gate.clock.clone(),
        audit: Audit::to_log(),
    }
}

async fn withdraw(gate: &TestGate) -> Replaced {
    rotation(gate).replace(Actor::Operator("ops")).await.unwrap()
}

/// A process, and what rotates its keys.
struct Process {
    gate: TestGate,
    schedule: RotationSchedule,
}

impl Process {
    fn new(gate: TestGate) -> Self {
        let schedule = gate.app.key_rotation();
        Self { gate, schedule }
    }

    async fn tend(&self) {
        self.schedule.tend().await.unwrap();
    }

    async fn twin_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        Self::new(self.gate.twin_with(change).await)
    }

    async fn twin(&self) -> Self {
        self.twin_with(|_| {}).await
    }
}

/// Someone who verifies our tokens with a copy of our key set that is as old as it may be.
struct ThirdParty {
    keys: JwkSet,
    read_at: Timestamp,
}

impl ThirdParty {
    async fn new(gate: &TestGate) -> Self {
        Self { keys: key_set(gate).await, read_at: gate.clock.now() }
    }

    async fn verify(&mut self, gate: &TestGate, token: &str) {
        if gate.clock.now().since(self.read_at) >= gate.config.lifetimes.jwks_max_age {
            *self = Self::new(gate).await;
        }
        let key = self.keys.find(&kid(token)).unwrap_or_else(|| panic!("a key that was not published in time"));
        let mut validation = Validation::new(jsonwebtoken::decode_header(token).unwrap().alg);
        validation.validate_exp = false;
        validation.validate_aud = false;
        let key = DecodingKey::from_jwk(key).unwrap();
        jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation).unwrap();
    }
}

/// The storage of both engines.
fn engines() -> (PostgresPlace, [Option<Storage>; 2]) {
    let place = PostgresPlace::new();
    let storage = place.settings();
    (place, [None, Some(storage)])
}

async fn gate_on(storage: Option<Storage>, change: impl FnOnce(&mut Config)) -> TestGate {
    TestGate::with(|config| {
        if let Some(storage) = storage {
            config.storage = storage;
        }
        change(config);
    })
    .await
}

/// A client of both processes that refreshes at one of them and calls at both, with its newest token and with one that is nearly
/// as old as it may be.
struct Caller {
    client: TestClient,
    given: Given,
    old: Vec<(Timestamp, String)>,
}

impl Caller {
    async fn new(gate: &TestGate) -> Self {
        let client = gate.register().await;
        let given = gate.tokens(&client).await;
        Self { client, given, old: Vec::new() }
    }

    async fn step(&mut self, issuing: &TestGate, processes: &[Process], parties: &mut [ThirdParty]) {
        self.given = tokens(&issuing.refresh(&self.client, &self.given.refresh).await);
        let now = issuing.clock.now();
        self.old.push((now, self.given.access.clone()));
        self.old.retain(|(issued, _)| now.since(*issued) < HOUR);
        let oldest = &self.old[0].1;
        for Process { gate, .. } in processes {
            for token in [&self.given.access, oldest] {
                assert_eq!(gate.call(token).await.status, WORKS, "at {now:?}");
            }
        }
        for (party, process) in parties.iter_mut().zip(processes.iter().cycle()) {
            party.verify(&process.gate, &self.given.access).await;
        }
    }
}

#[tokio::test]
async fn two_rotations_of_two_processes_on_each_engine_fail_no_call_and_no_third_party() {
    let (_place, engines) = engines();
    for storage in engines {
        let gate = gate_on(storage, |config| config.tokens.rotate_keys = Some(4 * HOUR)).await;
        let first = Process::new(gate);
        let processes = [first.twin().await, first];
        let mut caller = Caller::new(&processes[0].gate).await;
        let mut parties = Vec::new();
        let (mut signed, mut most) = (BTreeSet::new(), 0);
        for step in 0..264_u32 {
            let (leads, follows) = if step % 2 == 0 { (0, 1) } else { (1, 0) };
            processes[leads].gate.clock.advance(Duration::from_secs(150));
            if parties.len() < 4 {
                parties.push(ThirdParty::new(&processes[leads].gate).await);
            }
            // the call at the moment of the switch comes before anyone has read anything
            caller.step(&processes[leads].gate, &processes, &mut parties).await;
            processes[leads].tend().await;
            caller.step(&processes[follows].gate, &processes, &mut parties).await;
            if step % 3 == 0 {
                processes[follows].tend().await;
            }
            signed.insert(kid(&caller.given.access));
            most = most.max(published(&processes[leads].gate).await.len());
        }
        assert_eq!(signed.len(), 3, "two rotations in eleven hours");
        assert_eq!(most, 2, "the next one, or the last one");
        let stored = processes[0].gate.app.store().signing_keys().await.unwrap();
        assert!(stored.len() <= 2 && stored.iter().any(|key| key.id.as_str() == kid(&caller.given.access)));
    }
}

#[tokio::test]
async fn a_key_is_published_for_as_long_as_others_may_cache_and_five_minutes_more_before_it_signs() {
    let gate = TestGate::with(|config| config.lifetimes.jwks_max_age = HOUR).await;
    let process = Process::new(gate);
    let client = process.gate.register().await;
    let old = kid(&process.gate.tokens(&client).await.access);
    rotation(&process.gate).prepare(Actor::Operator("ops")).await.unwrap().unwrap();
    process.tend().await;
    let both = published(&process.gate).await;
    assert_eq!(both.len(), 2);
    process.gate.clock.advance(HOUR + 4 * MINUTE + 59 * SECOND);
    assert_eq!(kid(&process.gate.tokens(&client).await.access), old);
    process.gate.clock.advance(SECOND);
    let new = kid(&process.gate.tokens(&client).await.access);
    assert!(new != old && both.contains(&new));
    // the last token of the old key lives an hour, and the key a quarter of an hour more
    process.gate.clock.advance(HOUR + 14 * MINUTE + 59 * SECOND);
    process.tend().await;
    assert_eq!(published(&process.gate).await, both);
    process.gate.clock.advance(SECOND);
    process.tend().await;
    process.gate.clock.advance(SECOND);
    process.tend().await;
    assert_eq!(published(&process.gate).await, [new].into());
}

#[tokio::test]
async fn keys_rotate_at_their_age_and_never_when_that_is_off() {
    for (every, keys) in [(Some(24 * HOUR), 2), (None, 1)] {
        let process = Process::new(TestGate::with(|config| config.tokens.rotate_keys = every).await);
        process.gate.clock.advance(23 * HOUR + 49 * MINUTE + 59 * SECOND);
        process.tend().await;
        assert_eq!(process.gate.app.store().signing_keys().await.unwrap().len(), 1);
        process.gate.clock.advance(SECOND);
        process.tend().await;
        let stored = process.gate.app.store().signing_keys().await.unwrap();
        assert_eq!(stored.len(), keys);
        if let [first, next] = &stored[..] {
            assert_eq!(next.active_from.since(first.active_from), 24 * HOUR);
        }
    }
}

#[tokio::test]
async fn a_change_of_algorithm_is_a_rotation_and_a_process_with_the_old_setting_does_not_undo_it() {
    for (before, after) in [
        (SigningAlgorithm::Es256, SigningAlgorithm::EdDsa),
        (SigningAlgorithm::EdDsa, SigningAlgorithm::Rs256),
        (SigningAlgorithm::Rs256, SigningAlgorithm::Es256),
    ] {
        let old = Process::new(TestGate::with(|config| config.tokens.algorithm = before).await);
        old.tend().await;
        let new = old.twin_with(|config| config.tokens.algorithm = after).await;
        new.tend().await;
        let mut processes = [old, new];
        let mut caller = Caller::new(&processes[0].gate).await;
        let mut parties = [ThirdParty::new(&processes[0].gate).await, ThirdParty::new(&processes[1].gate).await];
        for _ in 0..40 {
            for process in &processes {
                process.gate.clock.advance(Duration::from_secs(75));
                process.tend().await;
            }
            for issuing in [0, 1] {
                caller.step(&processes[issuing].gate, &processes, &mut parties).await;
            }
            processes.reverse();
        }
        let algorithm = format!("{:?}", jsonwebtoken::decode_header(&caller.given.access).unwrap().alg);
        assert_eq!(algorithm, after.as_str());
        let stored = processes[0].gate.app.store().signing_keys().await.unwrap();
        assert!(stored.len() <= 2, "each process made a key of its own: {}", stored.len());
    }
}

#[tokio::test]
async fn processes_that_rotate_at_the_same_moment_publish_one_key() {
    let (_place, engines) = engines();
    for storage in engines {
        let first = Process::new(gate_on(storage, |_| {}).await);
        let others = [first.twin().await, first.twin().await, first.twin().await];
        first.gate.clock.advance(90 * 24 * HOUR);
        tokio::join!(first.tend(), others[0].tend(), others[1].tend(), others[2].tend());
        assert_eq!(first.gate.app.store().signing_keys().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_everywhere_after_the_next_read_and_clients_refresh() {
    let (_place, engines) = engines();
    for storage in engines {
        let here = Process::new(gate_on(storage, |_| {}).await);
        let there = here.twin().await;
        let client = here.gate.register().await;
        let given = here.gate.tokens(&client).await;
        for process in [&here, &there] {
            assert_eq!(process.gate.call(&given.access).await.status, WORKS, "it is remembered there");
        }
        let replaced = withdraw(&here.gate).await;
        assert_eq!(replaced.withdrawn.len(), 1);
        for process in [&here, &there] {
            process.gate.clock.advance(SECOND);
            process.tend().await;
            let answer = process.gate.call(&given.access).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "clients refresh on that");
            assert_eq!(published(&process.gate).await, [replaced.key.id.to_string()].into());
        }
        // the user need not sign in again
        let fresh = tokens(&there.gate.refresh(&client, &given.refresh).await);
        assert_eq!(kid(&fresh.access), replaced.key.id.as_str());
        // a process that never knew the withdrawn key
        let late = here.twin().await;
        for process in [&here, &there, &late] {
            assert_eq!(process.gate.call(&fresh.access).await.status, WORKS);
            process.gate.clock.advance(SECOND);
            assert_eq!(process.gate.call(&given.access).await.status, 401);
        }
    }
}

#[tokio::test]
async fn a_token_of_a_new_key_works_in_a_process_that_has_not_read_it_yet() {
    let here = Process::new(TestGate::new().await);
    let there = here.twin().await;
    let client = here.gate.register().await;
    withdraw(&here.gate).await;
    here.gate.clock.advance(SECOND);
    here.tend().await;
    let given = here.gate.tokens(&client).await;
    assert_eq!(there.gate.call(&given.access).await.status, WORKS);
}

#[tokio::test]
async fn a_stream_under_a_token_of_a_withdrawn_key_ends_and_one_of_a_retired_key_does_not() {
    for withdrawn in [true, false] {
        let behind = RawUpstream::start().await;
        let url = behind.url();
        let gate = TestGate::with(|config| config.upstreams = vec![upstream(&config.public_url, "mcp", &url)]).await;
        let process = Process::new(gate);
        let gate = &process.gate;
        let client = gate.register().await;
        let given = gate.tokens(&client).await;
        let request = gate.request("GET", "/mcp").header("authorization", format!("Bearer {}", given.access));
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let (answer, mut wire) = tokio::join!(gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()), async {
            let mut wire = behind.asked().await;
            wire.send(SSE).await;
            wire
        });
        let mut body = answer.into_body();
        if withdrawn {
            withdraw(gate).await;
            gate.clock.advance(SECOND);
            process.tend().await;
        } else {
            rotation(gate).prepare(Actor::Operator("ops")).await.unwrap().unwrap();
            for _ in 0..3 {
                gate.clock.advance(HOUR);
                process.tend().await;
            }
            assert_eq!(gate.app.store().signing_keys().await.unwrap().len(), 1, "the old key is gone");
            wire.send("5\r\n: hi\n\r\n").await;
            assert!(body.frame().await.unwrap().is_ok(), "a stream may outlive its token");
            continue;
        }
        let rest = async { while body.frame().await.is_some() {} };
        assert!(tokio::time::timeout(SECOND, rest).await.is_ok(), "the stream goes on");
    }
}

#[tokio::test]
async fn a_withdrawn_key_reaches_into_introspection_and_revocation() {
    let server = crate::support::gate::resource_server("server", &["mcp"]);
    let process = Process::new(TestGate::with(|config| config.clients.push(server)).await);
    let gate = &process.gate;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let ask = async || {
        let caller = ("server", crate::support::gate::SERVER_SECRET);
        gate.post_as(caller, "/introspect", &[("token", &given.access)]).await.json()["active"].as_bool().unwrap()
    };
    assert!(ask().await);
    withdraw(gate).await;
    gate.clock.advance(SECOND);
    process.tend().await;
    assert!(!ask().await);
    // the holder of the key could name any grant
    assert_eq!(gate.revoke(&client, &given.access).await.status, 200);
    tokens(&gate.refresh(&client, &given.refresh).await);
}

#[tokio::test]
async fn a_key_that_a_wrong_clock_dated_years_ahead_does_not_stop_the_rotation() {
    let process = Process::new(TestGate::new().await);
    let gate = &process.gate;
    gate.clock.step(5 * 365 * 24 * 3600);
    rotation(gate).prepare(Actor::Operator("ops")).await.unwrap().unwrap();
    gate.clock.step(-5 * 365 * 24 * 3600);
    process.tend().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    gate.clock.advance(90 * 24 * HOUR);
    process.tend().await;
    let next = gate.app.store().signing_keys().await.unwrap().pop().unwrap();
    gate.clock.advance(10 * MINUTE);
    process.tend().await;
    let client = gate.register_named("later").await;
    assert_eq!(kid(&gate.tokens(&client).await.access), next.id.as_str());
    gate.clock.advance(2 * HOUR);
    process.tend().await;
    assert_eq!(gate.app.store().signing_keys().await.unwrap(), [next]);
}

#[tokio::test]
async fn an_outage_of_the_store_stops_neither_calls_nor_the_switch_and_is_logged_once() {
    let process = Process::new(TestGate::new().await);
    let gate = &process.gate;
    let client = gate.register().await;
    let old = gate.tokens(&client).await.access;
    assert_eq!(gate.call(&old).await.status, WORKS);
    rotation(gate).prepare(Actor::Operator("ops")).await.unwrap().unwrap();
    process.tend().await;
    gate.app.store().close().await;
    let (lines, _guard) = watch();
    for _ in 0..5 {
        gate.clock.advance(3 * MINUTE);
        process.schedule.tend().await.unwrap_err();
        assert_eq!(gate.call(&old).await.status, WORKS);
    }
    assert_eq!(published(gate).await.len(), 2);
    let said = lines.text();
    assert_eq!(said.matches("the signing keys in memory stay in use").count(), 1, "{said}");
}

#[tokio::test]
async fn the_running_program_refuses_tokens_of_a_withdrawn_key() {
    let gate = TestGate::with(|config| {
        let free = "127.0.0.1:0".parse().unwrap();
        config.server.listen = free;
        config.server.operations = None;
    })
    .await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    let listeners = gate.app.listen().unwrap();
    let refused = async {
        withdraw(&gate).await;
        let began = tokio::time::Instant::now();
        while gate.status_of_call(&given.access).await != 401 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    };
    tokio::select! {
        ended = gate.app.run(listeners) => panic!("the program ended: {ended:?}"),
        took = refused => assert!(took < Duration::from_secs(3), "{took:?}"),
    }
}

#[tokio::test]
async fn the_age_of_the_key_that_signs_and_the_number_of_keys_are_measured() {
    let process = Process::new(TestGate::new().await);
    let app: &App = &process.gate.app;
    process.gate.clock.advance(HOUR);
    let text = app.metrics().await;
    assert!(text.contains("portcullis_signing_key_age_seconds 3600"), "{text}");
    assert!(text.contains("portcullis_signing_keys 1"), "{text}");
    rotation(&process.gate).prepare(Actor::Operator("ops")).await.unwrap().unwrap();
    process.tend().await;
    assert!(app.metrics().await.contains("portcullis_signing_keys 2"));
    process.gate.clock.advance(11 * MINUTE);
    assert!(app.metrics().await.contains("portcullis_signing_key_age_seconds 60"));
    drop(Metrics::default().background.task(Task::SigningKeys, &process.gate.clock));
}

#[tokio::test]
async fn a_provider_leg_is_not_touched_by_a_rotation() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let process = Process::new(bench.gate);
    withdraw(&process.gate).await;
    process.gate.clock.advance(SECOND);
    process.tend().await;
    tokens(&process.gate.refresh(&bench.client, &given.refresh).await);
    assert!(bench.provider.revoked().is_empty(), "no grant ended");
}
