//! Proofs at the token endpoint (RFC 9449 5, 8, 10): what tokens are bound to, and what a thief without the key gets.

use std::time::Duration;

use futures_util::future::join_all;
use portcullis::config::{BoundTokens, Bounds, Config, ConfiguredClient};
use portcullis::oauth::client_metadata::AuthMethod;
use serde_json::{Value, json};

use crate::support::browser::{Browser, location, parameter};
use crate::support::dpop::{Holder, ask, optional, redeem, refresh, take};
use crate::support::gate::{
    Answer, REDIRECT_URI, SERVER_SECRET, TestClient, TestGate, WORKS, claims, resource_server, tokens, upstream,
};
use crate::support::log::watch;

const SECRET: &str = "a-secret-of-thirty-two-characters";

/// Status and error code.
fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error())
}

fn refused(code: &str) -> (u16, String) {
    (400, code.to_owned())
}

/// A confidential client that signs users in and acts for itself.
fn confidential(config: &mut Config) {
    config.clients.push(ConfiguredClient {
        machine: Some(Bounds { upstreams: vec!["mcp".to_owned()], scopes: None }),
        redirect_uris: vec![REDIRECT_URI.to_owned()],
        client_secret: Some(SECRET.to_owned().into()),
        auth_method: AuthMethod::ClientSecretPost,
        introspects: Vec::new(),
        ..resource_server("ci", &[])
    });
}

async fn gate_with_confidential() -> TestGate {
    TestGate::with(|config| {
        take(config, BoundTokens::Optional);
        confidential(config);
    })
    .await
}

async fn as_machine(gate: &TestGate, proofs: &[&str]) -> Answer {
    let fields = [("grant_type", "client_credentials"), ("client_id", "ci"), ("client_secret", SECRET)];
    ask(gate, &fields, proofs).await
}

#[tokio::test]
async fn a_proof_binds_the_access_token_and_all_who_are_told_of_it_are_told_the_key() {
    let gate = TestGate::with(|config| {
        take(config, BoundTokens::Optional);
        config.clients.push(resource_server("server", &["mcp"]));
    })
    .await;
    let (client, holder) = (gate.register().await, Holder::new());
    let code = gate.code(&client).await;
    let answer = redeem(&gate, &client, &code, &[&holder.for_tokens(&gate)]).await;
    assert_eq!(answer.json()["token_type"], "DPoP", "{answer:?}");
    assert!(!answer.header("dpop-nonce").is_empty());
    let given = tokens(&answer);
    assert_eq!(claims(&given.access)["cnf"], json!({"jkt": holder.jkt()}));
    let told = gate.post_as(("server", SERVER_SECRET), "/introspect", &[("token", &given.access)]).await.json();
    assert_eq!((&told["token_type"], &told["cnf"]["jkt"]), (&json!("DPoP"), &json!(holder.jkt())));
    assert_eq!(holder.call(&gate, &given.access).await.status, WORKS);
    let refreshed = holder.refresh(&gate, &client, &given.refresh).await;
    assert_eq!(refreshed.json()["token_type"], "DPoP");
    assert_eq!(claims(&tokens(&refreshed).access)["cnf"]["jkt"], json!(holder.jkt()));
    let bearer = gate.tokens(&client).await;
    assert_eq!(claims(&bearer.access).get("cnf"), None, "without a proof it stays as it was");
    let told = gate.post_as(("server", SERVER_SECRET), "/introspect", &[("token", &bearer.access)]).await.json();
    assert_eq!((&told["token_type"], told.get("cnf")), (&json!("Bearer"), None));
}

#[tokio::test]
async fn a_proof_without_our_nonce_gets_one_and_uses_nothing_up() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let code = gate.code(&client).await;
    for nonce in [Value::Null, json!("made-up"), json!(7)] {
        let proof = holder.edited(&gate, ("POST", "/token"), |_, claims| claims["nonce"] = nonce);
        // more often than a code may fail
        for _ in 0..3 {
            let answer = redeem(&gate, &client, &code, &[&proof]).await;
            assert_eq!(refusal(&answer), refused("use_dpop_nonce"), "{answer:?}");
            assert_eq!(answer.headers.get_all("dpop-nonce").iter().count(), 1);
        }
    }
    let with_nonce = |nonce: &str| holder.edited(&gate, ("POST", "/token"), |_, claims| claims["nonce"] = json!(nonce));
    let told = redeem(&gate, &client, &code, &[&with_nonce("")]).await.header("dpop-nonce").to_owned();
    assert_eq!(redeem(&gate, &client, &code, &[&with_nonce(&told)]).await.status, 200);
    gate.clock.advance(Duration::from_mins(1));
    let code = gate.code(&client).await;
    let answer = redeem(&gate, &client, &code, &[&with_nonce(&told)]).await;
    assert_eq!(refusal(&answer), refused("use_dpop_nonce"), "an old nonce");
}

#[tokio::test]
async fn wrong_proofs_are_refused_and_the_code_stays_good() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let code = gate.code(&client).await;
    let edited = |edit: &dyn Fn(&mut Value, &mut Value)| holder.edited(&gate, ("POST", "/token"), edit);
    let good = holder.for_tokens(&gate);
    let now = gate.clock.now().0;
    for (fault, proofs) in [
        ("two headers", vec![good.clone(), good.clone()]),
        ("no proof", vec!["nonsense".to_owned()]),
        ("another method", vec![edited(&|_, claims| claims["htm"] = json!("GET"))]),
        ("another endpoint", vec![edited(&|_, claims| claims["htu"] = json!("http://127.0.0.1:6749/mcp"))]),
        ("a private key", vec![edited(&|header, _| header["jwk"]["d"] = json!("AAAA"))]),
        ("HMAC", vec![edited(&|header, _| header["alg"] = json!("HS256"))]),
        ("unsigned", vec![edited(&|header, _| header["alg"] = json!("none"))]),
        ("another's key", vec![edited(&|header, _| header["jwk"] = Holder::new().jwk())]),
        ("a huge key", vec![edited(&|header, _| header["jwk"]["x5c"] = json!("x".repeat(5000)))]),
        ("expired", vec![edited(&|_, claims| claims["iat"] = json!(now - 301))]),
        ("from the future", vec![edited(&|_, claims| claims["iat"] = json!(now + 301))]),
        ("another type", vec![edited(&|header, _| header["typ"] = json!("JWT"))]),
    ] {
        let proofs: Vec<_> = proofs.iter().map(String::as_str).collect();
        let answer = redeem(&gate, &client, &code, &proofs).await;
        assert_eq!(refusal(&answer), refused("invalid_dpop_proof"), "{fault}: {answer:?}");
    }
    assert_eq!(redeem(&gate, &client, &code, &[&good]).await.status, 200);
}

#[tokio::test]
async fn one_proof_gives_one_token_however_many_ask_for_it_in_two_processes() {
    let gate = gate_with_confidential().await;
    let twin = gate.twin().await;
    let proof = Holder::new().for_tokens(&gate);
    let asked = (0..64).map(|number| {
        let (gate, proof) = (if number % 2 == 0 { &gate } else { &twin }, &proof);
        async move { as_machine(gate, &[proof]).await }
    });
    let answers = join_all(asked).await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(good.len(), 1);
    for answer in bad {
        assert_eq!(refusal(&answer), refused("invalid_dpop_proof"), "{answer:?}");
    }
    gate.clock.advance(Duration::from_mins(10));
    gate.app.issuer().expire().await;
    assert_ne!(as_machine(&gate, &[&proof]).await.status, 200, "forgotten, and too old");
}

#[tokio::test]
async fn a_stolen_refresh_token_is_nothing_without_its_key_and_its_owner_loses_nothing() {
    let gate = optional().await;
    let (client, holder, thief) = (gate.register().await, Holder::new(), Holder::new());
    let given = holder.tokens(&gate, &client).await;
    let (log, _guard) = watch();
    for _ in 0..10 {
        let answer = gate.refresh(&client, &given.refresh).await;
        assert_eq!(refusal(&answer), refused("invalid_dpop_proof"), "without a proof: {answer:?}");
        let answer = thief.refresh(&gate, &client, &given.refresh).await;
        assert_eq!(refusal(&answer), refused("invalid_grant"), "with another key: {answer:?}");
    }
    assert!(log.text().contains("a bound token was presented without its key"), "{}", log.text());
    let next = tokens(&holder.refresh(&gate, &client, &given.refresh).await);
    // a used token ends the grant when its holder replays it late, and not when a thief does
    let third = tokens(&holder.refresh(&gate, &client, &next.refresh).await);
    gate.clock.advance(Duration::from_hours(1));
    let another = gate.register_named("another client").await;
    for stolen in [&given.refresh, &next.refresh] {
        assert_eq!(gate.refresh(&client, stolen).await.error(), "invalid_dpop_proof");
        assert_eq!(thief.refresh(&gate, &client, stolen).await.error(), "invalid_grant");
        assert_eq!(thief.refresh(&gate, &another, stolen).await.error(), "invalid_grant");
        assert_eq!(gate.refresh(&another, stolen).await.error(), "invalid_dpop_proof");
    }
    let fourth = tokens(&holder.refresh(&gate, &client, &third.refresh).await);
    assert_eq!(holder.call(&gate, &fourth.access).await.status, WORKS, "the grant lives");
    assert_eq!(holder.refresh(&gate, &client, &given.refresh).await.error(), "invalid_grant");
    assert_eq!(holder.call(&gate, &fourth.access).await.status, 401, "the holder's own replay ended it");
}

#[tokio::test]
async fn a_retried_refresh_gets_the_same_answer_with_a_new_proof_of_the_same_key_alone() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let given = holder.tokens(&gate, &client).await;
    let proof = holder.for_tokens(&gate);
    let first = tokens(&refresh(&gate, &client, &given.refresh, &[&proof]).await);
    let replayed = refresh(&gate, &client, &given.refresh, &[&proof]).await;
    assert_eq!(refusal(&replayed), refused("invalid_dpop_proof"), "the whole request was replayed");
    assert_eq!(Holder::new().refresh(&gate, &client, &given.refresh).await.error(), "invalid_grant");
    let retried = tokens(&holder.refresh(&gate, &client, &given.refresh).await);
    assert_eq!((retried.access, retried.refresh), (first.access, first.refresh));
}

#[tokio::test]
async fn sixty_four_refreshes_with_one_proof_in_two_processes_succeed_once() {
    let gate = optional().await;
    let twin = gate.twin().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let given = holder.tokens(&gate, &client).await;
    let proof = holder.for_tokens(&gate);
    let asked = (0..64).map(|number| {
        let gate = if number % 2 == 0 { &gate } else { &twin };
        let (client, token, proof) = (&client, &given.refresh, &proof);
        async move { refresh(gate, client, token, &[proof]).await }
    });
    let answers = join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.error() == "invalid_dpop_proof"));
}

#[tokio::test]
async fn a_bound_grant_never_gives_a_bearer_token_again() {
    let gate = gate_with_confidential().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let given = holder.tokens(&gate, &client).await;
    assert_eq!(gate.refresh(&client, &given.refresh).await.error(), "invalid_dpop_proof");
    // a client that authenticates may change its key, and must have one
    let confidential = TestClient { id: "ci".to_owned(), redirect_uri: REDIRECT_URI.to_owned() };
    let code = gate.code(&confidential).await;
    let with_secret = |fields: &[(&'static str, String)]| {
        let mut all = vec![("client_id", "ci".to_owned()), ("client_secret", SECRET.to_owned())];
        all.extend_from_slice(fields);
        all
    };
    let send = async |fields: Vec<(&'static str, String)>, proofs: &[&str]| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        ask(&gate, &fields, proofs).await
    };
    let redemption = with_secret(&[
        ("grant_type", "authorization_code".to_owned()),
        ("code", code),
        ("redirect_uri", REDIRECT_URI.to_owned()),
        ("code_verifier", crate::support::gate::VERIFIER.to_owned()),
    ]);
    let first = tokens(&send(redemption, &[&holder.for_tokens(&gate)]).await);
    let refreshing =
        |token: &str| with_secret(&[("grant_type", "refresh_token".to_owned()), ("refresh_token", token.to_owned())]);
    assert_eq!(send(refreshing(&first.refresh), &[]).await.error(), "invalid_dpop_proof");
    let other = Holder::new();
    let second = send(refreshing(&first.refresh), &[&other.for_tokens(&gate)]).await;
    assert_eq!(second.json()["token_type"], "DPoP", "{second:?}");
    assert_eq!(claims(&tokens(&second).access)["cnf"]["jkt"], json!(other.jkt()));
}

#[tokio::test]
async fn a_bearer_grant_becomes_bound_by_its_first_refresh_with_a_proof() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let bearer = gate.tokens(&client).await;
    let bound = tokens(&holder.refresh(&gate, &client, &bearer.refresh).await);
    assert_eq!(claims(&bound.access)["cnf"]["jkt"], json!(holder.jkt()));
    assert_eq!(gate.refresh(&client, &bound.refresh).await.error(), "invalid_dpop_proof");
    assert_eq!(Holder::new().refresh(&gate, &client, &bound.refresh).await.error(), "invalid_grant");
    assert_eq!(holder.refresh(&gate, &client, &bound.refresh).await.status, 200);
}

#[tokio::test]
async fn a_bound_grant_needs_a_new_sign_in_once_dpop_is_switched_off() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let given = holder.tokens(&gate, &client).await;
    let gate = gate.restart_with(|config| take(config, BoundTokens::Off)).await;
    for answer in [gate.refresh(&client, &given.refresh).await, holder.refresh(&gate, &client, &given.refresh).await] {
        assert_eq!(refusal(&answer), refused("invalid_grant"), "{answer:?}");
    }
    assert_eq!(gate.call(&given.access).await.status, 401);
    assert_eq!(gate.call(&gate.tokens(&client).await.access).await.status, WORKS);
}

#[tokio::test]
async fn a_code_that_was_bound_by_dpop_jkt_is_redeemed_with_that_key_alone() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let jkt = holder.jkt();
    let code = async || {
        let place = gate.sign_in(&mut Browser::default(), &client, &[("dpop_jkt", &jkt)]).await;
        parameter(&place, "code").unwrap()
    };
    let stolen = code().await;
    assert_eq!(refusal(&gate.redeem(&client, &stolen).await), refused("invalid_dpop_proof"));
    let thief = Holder::new().for_tokens(&gate);
    assert_eq!(refusal(&redeem(&gate, &client, &stolen, &[&thief]).await), refused("invalid_grant"));
    assert_eq!(redeem(&gate, &client, &stolen, &[&holder.for_tokens(&gate)]).await.status, 200);
    for malformed in ["x", &jkt[1..], &format!("{jkt}=")] {
        let answer = gate.get(&gate.authorize_path(&client, &[("dpop_jkt", malformed)])).await;
        assert!(location(&answer).contains("error=invalid_request"), "{malformed}: {answer:?}");
    }
}

#[tokio::test]
async fn a_client_of_bound_tokens_alone_gets_no_others() {
    let gate = TestGate::with(|config| {
        take(config, BoundTokens::Optional);
        confidential(config);
        config.clients[0].dpop_bound = true;
        let other = upstream(&config.public_url, "other", "http://127.0.0.1:9/mcp");
        config.upstreams.push(other);
    })
    .await;
    let metadata = json!({"client_name": "Bound", "redirect_uris": [REDIRECT_URI], "dpop_bound_access_tokens": true});
    let registered = gate.post_json("/register", &metadata).await;
    assert_eq!(registered.json()["dpop_bound_access_tokens"], json!(true));
    let (client, holder) = (gate.register_as(&metadata).await, Holder::new());
    let plain = gate.register_named("Bound").await;
    assert_ne!(client.id, plain.id, "another client");
    let code = gate.code(&client).await;
    assert_eq!(refusal(&gate.redeem(&client, &code).await), refused("invalid_dpop_proof"));
    let given = tokens(&redeem(&gate, &client, &code, &[&holder.for_tokens(&gate)]).await);
    assert_eq!(gate.refresh(&client, &given.refresh).await.error(), "invalid_dpop_proof");
    let other = [("resource", "http://127.0.0.1:6749/other")];
    let place = gate.sign_in(&mut Browser::default(), &client, &other).await;
    let code = parameter(&place, "code").unwrap();
    let answer = redeem(&gate, &client, &code, &[&holder.for_tokens(&gate)]).await;
    assert_eq!(refusal(&answer), refused("invalid_target"), "there it would get a bearer token");
    assert_eq!(refusal(&as_machine(&gate, &[]).await), refused("invalid_dpop_proof"), "a configured one, too");
    assert_eq!(as_machine(&gate, &[&holder.for_tokens(&gate)]).await.json()["token_type"], "DPoP");
    // where no upstream takes bound tokens, the member is not accepted
    let gate = TestGate::new().await;
    assert_eq!(gate.post_json("/register", &metadata).await.json().get("dpop_bound_access_tokens"), None);
    assert_eq!(gate.call(&gate.tokens(&gate.register_as(&metadata).await).await.access).await.status, WORKS);
}

#[tokio::test]
async fn where_bound_tokens_are_required_no_client_gets_bearer_tokens() {
    let gate = TestGate::with(|config| {
        take(config, BoundTokens::Required);
        confidential(config);
    })
    .await;
    let (client, holder) = (gate.register().await, Holder::new());
    let code = gate.code(&client).await;
    assert_eq!(refusal(&gate.redeem(&client, &code).await), refused("invalid_dpop_proof"));
    assert_eq!(redeem(&gate, &client, &code, &[&holder.for_tokens(&gate)]).await.status, 200, "the code stayed good");
    assert_eq!(refusal(&as_machine(&gate, &[]).await), refused("invalid_dpop_proof"));
    let token = as_machine(&gate, &[&holder.for_tokens(&gate)]).await;
    assert_eq!(token.json()["token_type"], "DPoP", "{token:?}");
    assert_eq!(holder.call(&gate, token.json()["access_token"].as_str().unwrap()).await.status, WORKS);
}
