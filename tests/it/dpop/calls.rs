//! Calls under bound tokens (RFC 9449 7): each proves the key, and a stolen token proves nothing.

use std::time::Duration;

use futures_util::future::join_all;
use portcullis::config::{BoundTokens, ProofReplay};
use serde_json::{Value, json};

use crate::support::dpop::{Holder, ath, call, nonce, optional, take};
use crate::support::gate::{Answer, Given, TestGate, WORKS};
use crate::support::log::watch;

/// A gate, and a holder of a bound token.
async fn bound() -> (TestGate, Holder, String) {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let Given { access, .. } = holder.tokens(&gate, &client).await;
    (gate, holder, access)
}

fn challenges(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect()
}

/// That a call was refused with this error under the scheme DPoP alone.
fn assert_refused(answer: &Answer, error: &str, fault: &str) {
    let challenges = challenges(answer);
    assert_eq!((answer.status, challenges.len()), (401, 1), "{fault}: {answer:?}");
    assert!(challenges[0].starts_with(&format!("DPoP error=\"{error}\", algs=\"ES256 ")), "{fault}: {challenges:?}");
    assert!(challenges[0].contains("resource_metadata=\""), "{fault}");
    assert_eq!(answer.headers.get_all("dpop-nonce").iter().count(), 1, "{fault}");
}

#[tokio::test]
async fn a_bound_token_calls_with_a_proof_for_each_call_and_the_upstream_sees_neither() {
    let (gate, holder, token) = bound().await;
    for method in ["POST", "GET", "DELETE"] {
        let answer = call(&gate, method, &token, &[&holder.for_call(&gate, method, &token)]).await;
        assert_eq!(answer.status, WORKS, "{method}: {answer:?}");
        assert_eq!(answer.header("dpop-nonce"), nonce(&gate));
        let seen = gate.behind.last();
        assert!(seen.header("dpop").is_none() && seen.header("authorization").is_none(), "{seen:?}");
        assert_eq!(seen.header("x-forwarded-user"), Some("local|alice"));
    }
    let bearer = gate.tokens(&gate.register().await).await.access;
    let answer = gate.call(&bearer).await;
    assert_eq!(answer.status, WORKS, "where both are taken");
    assert!(answer.headers.get("dpop-nonce").is_none());
}

#[tokio::test]
async fn a_stolen_bound_token_is_nothing_without_its_key() {
    let (gate, holder, token) = bound().await;
    let (log, _guard) = watch();
    for known in [false, true] {
        let answer = gate.call(&token).await;
        assert_eq!(answer.status, 401, "as a bearer token, known before: {known}");
        let told = challenges(&answer);
        assert!(told[0].starts_with("Bearer error=\"invalid_token\"") && told[1].starts_with("DPoP algs="), "{told:?}");
        let thief = Holder::new();
        assert_refused(&thief.call(&gate, &token).await, "invalid_dpop_proof", "another key");
        assert_refused(&call(&gate, "POST", &token, &[]).await, "invalid_dpop_proof", "no proof");
        assert_eq!(gate.behind.count(), usize::from(known));
        assert_eq!(holder.call(&gate, &token).await.status, WORKS);
    }
    let told = log.text();
    assert_eq!(told.matches("a bound token was presented without its key").count(), 1, "{told}");
    assert!(told.contains("how=\"access token as Bearer\""), "{told}");
}

#[tokio::test]
async fn tokens_that_are_not_bound_are_refused_under_dpop_and_wherever_bound_ones_are_required() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let bearer = gate.tokens(&client).await.access;
    assert_refused(&holder.call(&gate, &bearer).await, "invalid_token", "not bound");
    assert_eq!(gate.call(&bearer).await.status, WORKS);
    let gate = gate.restart_with(|config| take(config, BoundTokens::Required)).await;
    let answer = gate.call(&bearer).await;
    assert_eq!(answer.status, 401);
    assert!(challenges(&answer)[0].starts_with("DPoP error=\"invalid_token\", algs="), "{answer:?}");
    assert_eq!(challenges(&answer).len(), 1);
    let bound = holder.tokens(&gate, &client).await.access;
    assert_eq!(holder.call(&gate, &bound).await.status, WORKS);
    let gate = gate.restart_with(|config| take(config, BoundTokens::Off)).await;
    assert_eq!(holder.call(&gate, &bound).await.status, 401);
    assert_eq!(gate.call(&bound).await.status, 401, "switched off, a bound token is no bearer token");
}

#[tokio::test]
async fn wrong_proofs_are_refused_and_never_reach_the_upstream() {
    let (gate, holder, token) = bound().await;
    let good = || holder.for_call(&gate, "POST", &token);
    let edited = |edit: &dyn Fn(&mut Value, &mut Value)| {
        holder.edited(&gate, ("POST", "/mcp"), |header, claims| {
            claims["ath"] = ath(&token);
            edit(header, claims);
        })
    };
    let now = gate.clock.now().0;
    for (fault, proofs) in [
        ("two headers", vec![good(), good()]),
        ("no JWT", vec!["nonsense".to_owned()]),
        ("for the token endpoint", vec![holder.for_tokens(&gate)]),
        ("without ath", vec![holder.edited(&gate, ("POST", "/mcp"), |_, _| {})]),
        ("for another token", vec![edited(&|_, claims| claims["ath"] = ath("another"))]),
        ("another method", vec![edited(&|_, claims| claims["htm"] = json!("GET"))]),
        ("another path", vec![edited(&|_, claims| claims["htu"] = json!("http://127.0.0.1:6749/other"))]),
        ("where we listen", vec![edited(&|_, claims| claims["htu"] = json!("http://10.0.0.1:8080/mcp"))]),
        ("a private key", vec![edited(&|header, _| header["jwk"]["d"] = json!("AAAA"))]),
        ("HMAC", vec![edited(&|header, _| header["alg"] = json!("HS256"))]),
        ("unsigned", vec![edited(&|header, _| header["alg"] = json!("none"))]),
        ("the owner's key, another's signature", {
            let thief = Holder::new();
            vec![thief.edited(&gate, ("POST", "/mcp"), |header, claims| {
                claims["ath"] = ath(&token);
                header["jwk"] = holder.jwk();
            })]
        }),
        ("a huge key", vec![edited(&|header, _| header["jwk"]["x5c"] = json!("x".repeat(5000)))]),
        ("expired", vec![edited(&|_, claims| claims["iat"] = json!(now - 301))]),
        ("from the future", vec![edited(&|_, claims| claims["iat"] = json!(now + 301))]),
    ] {
        let proofs: Vec<_> = proofs.iter().map(String::as_str).collect();
        assert_refused(&call(&gate, "POST", &token, &proofs).await, "invalid_dpop_proof", fault);
    }
    assert_eq!(gate.behind.count(), 0);
}

#[tokio::test]
async fn a_proof_without_a_fresh_nonce_of_ours_gets_one() {
    let (gate, holder, token) = bound().await;
    let elsewhere = TestGate::with(|config| {
        config.secrets.keys = vec![portcullis::config::RootKey::from_bytes([8; 32])];
    })
    .await;
    let (foreign, old) = (nonce(&elsewhere), nonce(&gate));
    gate.clock.advance(Duration::from_mins(1));
    let with = |value: Value| {
        holder.edited(&gate, ("POST", "/mcp"), |_, claims| {
            claims["ath"] = ath(&token);
            claims["nonce"] = value;
        })
    };
    for (fault, value) in [("none", Value::Null), ("of another server", json!(foreign)), ("old", json!(old))] {
        let answer = call(&gate, "POST", &token, &[&with(value)]).await;
        assert_refused(&answer, "use_dpop_nonce", fault);
        let retried = call(&gate, "POST", &token, &[&with(json!(answer.header("dpop-nonce")))]).await;
        assert_eq!(retried.status, WORKS, "{fault}: {retried:?}");
    }
}

#[tokio::test]
async fn of_64_calls_with_one_proof_one_is_forwarded() {
    let (gate, holder, token) = bound().await;
    let proof = holder.for_call(&gate, "POST", &token);
    let asked = (0..64).map(|_| async { call(&gate, "POST", &token, &[&proof]).await });
    let answers = join_all(asked).await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == WORKS);
    assert_eq!((good.len(), gate.behind.count()), (1, 1));
    for answer in bad {
        assert_refused(answer, "invalid_dpop_proof", "replayed");
    }
    assert_eq!(holder.call(&gate, &token).await.status, WORKS, "the token is still good");
    for _ in 0..5 {
        gate.clock.advance(Duration::from_secs(15));
        assert_eq!(call(&gate, "POST", &token, &[&proof]).await.status, 401, "at no later time");
    }
}

/// The documented limit of the default, and what lifts it.
#[tokio::test]
async fn a_proof_counts_once_per_process_or_with_the_database_once_in_all() {
    for (replay, in_the_other) in [(ProofReplay::Process, WORKS), (ProofReplay::Database, 401)] {
        let gate = TestGate::with(|config| {
            take(config, BoundTokens::Optional);
            config.upstreams[0].settings.dpop.replay = replay;
        })
        .await;
        let twin = gate.twin().await;
        let (client, holder) = (gate.register().await, Holder::new());
        let token = holder.tokens(&gate, &client).await.access;
        let proof = holder.for_call(&gate, "POST", &token);
        assert_eq!(call(&gate, "POST", &token, &[&proof]).await.status, WORKS);
        assert_eq!(call(&twin, "POST", &token, &[&proof]).await.status, in_the_other, "{replay:?}");
        for gate in [&gate, &twin] {
            assert_eq!(call(gate, "POST", &token, &[&proof]).await.status, 401, "{replay:?}");
        }
        let proof = holder.for_call(&gate, "POST", &token);
        let asked = (0..64).map(|number| {
            let (gate, token, proof) = (if number % 2 == 0 { &gate } else { &twin }, &token, &proof);
            async move { call(gate, "POST", token, &[proof]).await }
        });
        let forwarded = join_all(asked).await.iter().filter(|answer| answer.status == WORKS).count();
        assert_eq!(forwarded, if replay == ProofReplay::Process { 2 } else { 1 }, "{replay:?}");
    }
}

#[tokio::test]
async fn calls_need_no_database_unless_the_operator_asks_for_it() {
    for (replay, status) in [(ProofReplay::Process, WORKS), (ProofReplay::Database, 503)] {
        let gate = TestGate::with(|config| {
            take(config, BoundTokens::Optional);
            config.upstreams[0].settings.dpop.replay = replay;
        })
        .await;
        let (client, holder) = (gate.register().await, Holder::new());
        let token = holder.tokens(&gate, &client).await.access;
        assert_eq!(holder.call(&gate, &token).await.status, WORKS);
        gate.app.store().close().await;
        assert_eq!(holder.call(&gate, &token).await.status, status, "{replay:?}");
    }
}

#[tokio::test]
async fn the_target_of_a_proof_is_the_public_url_in_every_spelling_that_names_it() {
    let (gate, holder, token) = bound().await;
    let with = |htu: &str| {
        holder.edited(&gate, ("POST", "/mcp"), |_, claims| {
            claims["ath"] = ath(&token);
            claims["htu"] = json!(htu);
        })
    };
    for (htu, status) in [
        ("http://localhost:6749/mcp", WORKS),
        ("HTTP://127.0.0.1:6749/%6dcp?query", WORKS),
        ("http://127.0.0.1:6749/mcp/", 401),
        ("http://127.0.0.2:6749/mcp", 401),
        ("https://127.0.0.1:6749/mcp", 401),
    ] {
        assert_eq!(call(&gate, "POST", &token, &[&with(htu)]).await.status, status, "{htu}");
    }
    for (htu, status) in [("http://127.0.0.1:6749/mcp/", WORKS), ("http://127.0.0.1:6749/mcp", 401)] {
        let proof = holder.edited(&gate, ("GET", "/mcp/"), |_, claims| {
            claims["ath"] = ath(&token);
            claims["htu"] = json!(htu);
        });
        let request = gate.request("GET", "/mcp/").header("authorization", format!("DPoP {token}"));
        assert_eq!(gate.send(request.header("dpop", proof), "").await.status, status, "with a slash: {htu}");
    }
}

#[tokio::test]
async fn a_missing_scope_is_challenged_in_the_scheme_of_the_call() {
    let (gate, holder, token) = bound().await;
    let gate = gate
        .restart_with(|config| {
            let scopes = &mut config.upstreams[0].settings.scopes;
            scopes.required = portcullis::oauth::scope::ScopeSet::parse("mcp:access mcp:write").unwrap();
        })
        .await;
    let answer = holder.call(&gate, &token).await;
    assert_eq!((answer.status, challenges(&answer).len()), (403, 1));
    assert!(challenges(&answer)[0].starts_with("DPoP error=\"insufficient_scope\""), "{answer:?}");
}
