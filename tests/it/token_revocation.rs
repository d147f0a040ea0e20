//! `/revoke` (RFC 7009): what ends, for whom, how often, and what a caller cannot learn.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty};
use portcullis::config::ConfiguredClient;
use portcullis::model::grant::EndReason;
use portcullis::oauth::client_metadata::AuthMethod;

use crate::storage::PostgresPlace;
use crate::support::bench::Bench;
use crate::support::gate::{
    Answer, Given, REDIRECT_URI, TestClient, TestGate, VERIFIER, WORKS, claims, tokens, upstream,
};
use crate::support::log::watch;
use crate::support::raw::{RawUpstream, SSE};

const SECRET: &str = "s3cret-of-more-than-32-characters";

/// The answer to every request that was understood, whatever came of it.
fn assert_done(answer: &Answer) {
    assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// Asserts that nothing works any more that the grant gave.
async fn assert_ended(gate: &TestGate, client: &TestClient, given: &Given) {
    assert_eq!(gate.call(&given.access).await.status, 401);
    assert_eq!(gate.refresh(client, &given.refresh).await.error(), "invalid_grant");
}

#[tokio::test]
async fn every_refresh_token_of_a_grant_and_a_valid_access_token_end_it_at_once() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    for which in ["newest", "superseded within the window", "superseded long ago", "access", "older access"] {
        let first = gate.tokens(&client).await;
        let second = tokens(&gate.refresh(&client, &first.refresh).await);
        assert_eq!((gate.call(&first.access).await.status, gate.call(&second.access).await.status), (WORKS, WORKS));
        let token = match which {
            "newest" => &second.refresh,
            "access" => &second.access,
            "older access" => &first.access,
            "superseded long ago" => {
                gate.clock.advance(Duration::from_mins(10));
                &first.refresh
            }
            _ => &first.refresh,
        };
        assert_done(&gate.revoke(&client, token).await);
        assert_ended(&gate, &client, &second).await;
        assert_eq!(gate.call(&first.access).await.status, 401, "{which}");
        assert_done(&gate.revoke(&client, token).await);
    }
}

#[tokio::test]
async fn the_hint_may_be_wrong_and_other_grants_of_the_user_live_on() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let (here, there) = (gate.tokens(&client).await, gate.tokens(&client).await);
    for (token, hint) in [(&here.refresh, "access_token"), (&there.access, "id_token")] {
        let fields = [("client_id", client.id.as_str()), ("token", token), ("token_type_hint", hint)];
        assert_done(&gate.post_form("/revoke", &fields).await);
        if hint == "access_token" {
            assert_ended(&gate, &client, &here).await;
            assert_eq!(gate.call(&there.access).await.status, WORKS);
        }
    }
    assert_ended(&gate, &client, &there).await;
}

#[tokio::test]
async fn an_expired_access_token_and_made_up_ones_are_no_error_and_end_nothing() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    gate.clock.advance(Duration::from_hours(1));
    let forged = format!("{}A", given.access);
    let checksum_wrong = format!("{}0", &given.refresh[..given.refresh.len() - 1]);
    for token in [given.access.as_str(), &forged, &checksum_wrong, "x", "pcr_", "a.b.c", &"a".repeat(20_000), "\u{0}"] {
        assert_done(&gate.revoke(&client, token).await);
    }
    assert_eq!(gate.refresh(&client, &given.refresh).await.status, 200, "the grant lives");
}

#[tokio::test]
async fn a_token_of_another_client_is_answered_like_an_unknown_one_and_the_operator_is_told() {
    let gate = TestGate::new().await;
    let (client, thief) = (gate.register().await, gate.register_named("Another").await);
    let first = gate.tokens(&client).await;
    let second = tokens(&gate.refresh(&client, &first.refresh).await);
    let (lines, _guard) = watch();
    for token in [&first.refresh, &second.refresh, &second.access] {
        let answer = gate.revoke(&thief, token).await;
        assert_done(&answer);
        let unknown = gate.revoke(&thief, "pcr_unknown").await;
        let shape = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("x-request-id");
            (answer.status, headers, answer.body.clone())
        };
        assert_eq!(shape(&answer), shape(&unknown));
    }
    let told = "a client asked to revoke another client's token";
    assert_eq!(lines.text().matches(told).count(), 3, "{}", lines.text());
    assert_eq!(gate.call(&second.access).await.status, WORKS);
    assert_eq!(gate.refresh(&client, &second.refresh).await.status, 200, "a replay at /revoke ends nothing either");
}

#[tokio::test]
async fn a_request_without_a_client_or_token_is_refused_with_the_code_of_the_rfc() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let id = client.id.as_str();
    for (fields, status, error) in [
        (&[("token", given.refresh.as_str())][..], 400, "invalid_request"),
        (&[("client_id", id)], 400, "invalid_request"),
        (&[("client_id", id), ("token", "")], 400, "invalid_request"),
        (&[("client_id", id), ("token", &given.refresh), ("token", &given.refresh)], 400, "invalid_request"),
        (&[("client_id", "c_unknown"), ("token", &given.refresh)], 401, "invalid_client"),
        (&[("client_id", id), ("client_secret", "guess"), ("token", &given.refresh)], 401, "invalid_client"),
    ] {
        let answer = gate.post_form("/revoke", fields).await;
        assert_eq!((answer.status, answer.error().as_str()), (status, error), "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let json = gate.post_json("/revoke", &serde_json::json!({"client_id": id, "token": given.refresh})).await;
    assert_eq!((json.status, json.error().as_str()), (400, "invalid_request"));
    let large = gate.post_form("/revoke", &[("client_id", id), ("token", &"x".repeat(70_000))]).await;
    assert_eq!(large.status, 413);
    assert_eq!(gate.call(&given.access).await.status, WORKS);
}

#[tokio::test]
async fn a_confidential_client_needs_its_secret() {
    let gate = TestGate::with(|config| {
        config.clients.push(ConfiguredClient {
            device: false,
            client_id: "chat".to_owned(),
            name: None,
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            client_secret: Some(SECRET.to_owned().into()),
            auth_method: AuthMethod::ClientSecretBasic,
            machine: None,
            keys: None,
            dpop_bound: false,
            introspects: Vec::new(),
        });
    })
    .await;
    let chat = TestClient { id: "chat".to_owned(), redirect_uri: REDIRECT_URI.to_owned() };
    let code = gate.code(&chat).await;
    let redemption = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER)];
    let given = tokens(&gate.post_as(("chat", SECRET), "/token", &redemption).await);
    let token = [("token", given.refresh.as_str())];
    assert_eq!(gate.revoke(&chat, &given.refresh).await.error(), "invalid_client");
    let wrong = gate.post_as(("chat", "wrong"), "/revoke", &token).await;
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, "Basic realm=\"token\""));
    let stranger = gate.register().await;
    assert_done(&gate.revoke(&stranger, &given.refresh).await);
    assert_eq!(gate.call(&given.access).await.status, WORKS);
    assert_done(&gate.post_as(("chat", SECRET), "/revoke", &token).await);
    assert_eq!(gate.call(&given.access).await.status, 401);
}

#[tokio::test]
async fn fruitless_requests_are_rate_limited_and_right_ones_never_are() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let from: IpAddr = "203.0.113.7".parse().unwrap();
    let revoke = async |client: &str, token: &str| {
        let request = gate.request("POST", "/revoke").header("content-type", "application/x-www-form-urlencoded");
        gate.send_from(from, request, format!("client_id={client}&token={token}")).await
    };
    for number in 0..600 {
        let (client, status) = if number % 2 == 0 { (client.id.as_str(), 200) } else { ("c_unknown", 401) };
        assert_eq!(revoke(client, "pcr_x").await.status, status, "{number}");
    }
    for client in [client.id.as_str(), "c_unknown"] {
        let answer = revoke(client, "pcr_x").await;
        assert_eq!((answer.status, answer.error().as_str()), (429, "temporarily_unavailable"));
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_done(&revoke(&client.id, &given.refresh).await);
    assert_eq!(gate.call(&given.access).await.status, 401, "the user at the same address signs out");
}

#[tokio::test]
async fn sixty_four_revocations_at_once_in_two_processes_end_a_grant_once() {
    for gate in [TestGate::new().await, on_postgres(&PostgresPlace::new()).await] {
        let twin = gate.twin().await;
        let client = gate.register().await;
        let given = gate.tokens(&client).await;
        let (lines, _guard) = watch();
        let answers = join_all((0..64).map(|n| {
            let (gate, token) = if n % 2 == 0 { (&gate, &given.refresh) } else { (&twin, &given.access) };
            gate.revoke(&client, token)
        }))
        .await;
        for answer in &answers {
            assert_done(answer);
        }
        assert_eq!(lines.text().matches("grant ended").count(), 1, "{}", lines.text());
        assert!(lines.text().contains("reason=\"client\""), "{}", lines.text());
        assert_ended(&gate, &client, &given).await;
        assert_eq!(twin.refresh(&client, &given.refresh).await.error(), "invalid_grant");
    }
}

async fn on_postgres(place: &PostgresPlace) -> TestGate {
    let storage = place.settings();
    TestGate::with(|config| config.storage = storage).await
}

#[tokio::test]
async fn another_process_refuses_the_tokens_after_its_next_read_of_the_feed() {
    let place = PostgresPlace::new();
    for gate in [TestGate::new().await, on_postgres(&place).await] {
        let twin = gate.twin().await;
        let client = gate.register().await;
        let given = gate.tokens(&client).await;
        twin.app.revocation().read_feed(twin.app.store()).await.unwrap();
        assert_eq!(twin.call(&given.access).await.status, WORKS);
        assert_done(&gate.revoke(&client, &given.refresh).await);
        twin.app.revocation().read_feed(twin.app.store()).await.unwrap();
        assert_eq!(twin.call(&given.access).await.status, 401);
    }
}

#[tokio::test]
async fn an_open_stream_ends_with_the_revocation() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let gate = TestGate::with(|config| config.upstreams = vec![upstream(&config.public_url, "mcp", &url)]).await;
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
    wire.send("5\r\n: hi\n\r\n").await;
    assert!(body.frame().await.unwrap().is_ok());
    assert_done(&gate.revoke(&client, &given.refresh).await);
    let rest = tokio::time::timeout(Duration::from_secs(1), async { while body.frame().await.is_some() {} }).await;
    assert!(rest.is_ok(), "the stream goes on");
}

#[tokio::test]
async fn a_revocation_during_a_refresh_ends_the_grant_for_good_and_revokes_the_providers_new_token() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    let (gate, client) = (&bench.gate, &bench.client);
    let held = bench.provider.hold_token();
    let (refreshed, ()) = tokio::join!(gate.refresh(client, &given.refresh), async {
        held.reached().await;
        assert_done(&gate.revoke(client, &given.refresh).await);
        drop(held);
    });
    assert_eq!(refreshed.error(), "invalid_grant");
    assert_ended(gate, client, &given).await;
    gate.settle().await;
    assert!(!bench.provider.revoked().is_empty(), "the offline token at the provider");
}

#[tokio::test]
async fn the_reason_is_stored_and_a_client_that_goes_away_does_not_stop_a_revocation() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let given = gate.tokens(&client).await;
    let form = format!("client_id={}&token={}", client.id, given.refresh);
    let request = gate.request("POST", "/revoke").header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(http_body_util::Full::new(bytes::Bytes::from(form))).unwrap();
    {
        let answer = gate.app.handle(request, "127.0.0.1:5000".parse().unwrap());
        let mut answer = std::pin::pin!(answer);
        // polled until the task of its own has begun, then dropped as by a closed connection
        let polled = futures_util::poll!(&mut answer);
        assert!(polled.is_pending());
    }
    gate.settle().await;
    assert_ended(&gate, &client, &given).await;
    let grant = claims(&given.access)["sid"].as_str().unwrap().to_owned();
    let counted = format!("SELECT count(*) FROM grants WHERE id = '{grant}' AND end_reason = 'client'");
    assert_eq!(crate::support::database::number(&gate.config.storage, &counted).await, 1);
    assert_eq!(EndReason::Client.as_str(), "client");
}

#[tokio::test]
async fn pages_of_any_origin_may_revoke_and_metadata_says_where() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let answer = gate.revoke(&client, "pcr_x").await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-allow-credentials").is_empty());
    let metadata = gate.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["revocation_endpoint"], format!("{}/revoke", gate.origin()));
    let methods = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];
    assert_eq!(metadata["revocation_endpoint_auth_methods_supported"], serde_json::json!(methods));
}
