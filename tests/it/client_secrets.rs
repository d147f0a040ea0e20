//! Brute force against the secrets of clients.

use std::net::IpAddr;
use std::time::Duration;

use portcullis::config::ConfiguredClient;
use portcullis::oauth::client_metadata::AuthMethod;

use crate::support::gate::{Answer, REDIRECT_URI, TestClient, TestGate, VERIFIER};
use crate::support::log::watch;

const SECRET: &str = "s3cret-of-more-than-32-characters";

async fn gate() -> TestGate {
    TestGate::with(|config| {
        for client_id in ["chat", "other"] {
            config.clients.push(ConfiguredClient {
                device: false,
                client_id: client_id.to_owned(),
                name: None,
                redirect_uris: vec![REDIRECT_URI.to_owned()],
                client_secret: Some(SECRET.to_owned().into()),
                keys: None,
                auth_method: AuthMethod::ClientSecretBasic,
                machine: None,
                dpop_bound: false,
                introspects: Vec::new(),
            });
        }
    })
    .await
}

/// A redemption of this code with this secret, from this address.
async fn redeem(gate: &TestGate, from: &str, client: &str, secret: &str, code: &str) -> Answer {
    let basic = data_encoding::BASE64.encode(format!("{client}:{secret}").as_bytes());
    let request = gate
        .request("POST", "/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", format!("Basic {basic}"));
    let form = format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}");
    gate.send_from(from.parse::<IpAddr>().unwrap(), request, form).await
}

#[tokio::test]
async fn guesses_of_a_client_secret_are_rate_limited_without_locking_the_client_out() {
    let gate = gate().await;
    let chat = TestClient { id: "chat".to_owned(), redirect_uri: REDIRECT_URI.to_owned() };
    let (guesser, elsewhere) = ("203.0.113.7", "198.51.100.1");
    let guess = async |from: &str, secret: &str| redeem(&gate, from, "chat", secret, "pcc_x").await;
    for number in 0..30 {
        let answer = guess(guesser, &format!("guess{number}")).await;
        assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"), "{number}");
    }
    let (lines, _guard) = watch();
    let answer = guess(guesser, "guess30").await;
    assert_eq!((answer.status, answer.error().as_str()), (429, "temporarily_unavailable"));
    assert_eq!(answer.header("retry-after"), "120");
    assert!(lines.text().contains("too many wrong secrets or assertions of this client"), "{}", lines.text());
    assert!(!lines.text().contains(SECRET) && !lines.text().contains("guess"));

    assert_eq!(redeem(&gate, guesser, "other", SECRET, "pcc_x").await.error(), "invalid_grant", "another client");
    let code = gate.code(&chat).await;
    assert_eq!(redeem(&gate, guesser, "chat", SECRET, &code).await.status, 200, "the client at the same address");
    let code = gate.code(&chat).await;
    assert_eq!(redeem(&gate, elsewhere, "chat", SECRET, &code).await.status, 200, "the client at its own address");

    gate.clock.advance(Duration::from_mins(2));
    assert_eq!(guess(guesser, "guess31").await.status, 401, "one more in two minutes");
}

#[tokio::test]
async fn correct_client_secrets_do_not_count_towards_the_rate_limit() {
    let gate = gate().await;
    for _ in 0..100 {
        assert_eq!(redeem(&gate, "203.0.113.7", "chat", SECRET, "pcc_x").await.error(), "invalid_grant");
    }
}

#[tokio::test]
async fn guesses_from_one_ipv6_network_share_a_rate_limit() {
    let gate = gate().await;
    for number in 0..30 {
        let from = format!("2001:db8:1:2::{number:x}");
        assert_eq!(redeem(&gate, &from, "chat", "guess", "pcc_x").await.status, 401);
    }
    assert_eq!(redeem(&gate, "2001:db8:1:2:ffff::1", "chat", "guess", "pcc_x").await.status, 429);
    assert_eq!(redeem(&gate, "2001:db8:1:3::1", "chat", "guess", "pcc_x").await.status, 401);
}

#[tokio::test]
async fn basic_credentials_are_form_decoded_before_they_are_compared() {
    const STRANGE: &str = "s3cr+t/% :\u{e4}&=-of-more-than-32-characters";
    let gate = TestGate::with(|config| {
        config.clients.push(ConfiguredClient {
            device: false,
            client_id: "team:chat+1".to_owned(),
            name: None,
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            client_secret: Some(STRANGE.to_owned().into()),
            keys: None,
            auth_method: AuthMethod::ClientSecretBasic,
            dpop_bound: false,
            introspects: Vec::new(),
            machine: None,
        });
    })
    .await;
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let answer = redeem(&gate, "203.0.113.7", &encode("team:chat+1"), &encode(STRANGE), "pcc_x").await;
    assert_eq!(answer.error(), "invalid_grant", "{answer:?}");
    let raw = redeem(&gate, "203.0.113.7", &encode("team:chat+1"), STRANGE, "pcc_x").await;
    assert_eq!(raw.error(), "invalid_client", "{raw:?}");
    assert_eq!(raw.header("www-authenticate"), "Basic realm=\"token\"");
}

#[tokio::test]
async fn a_secret_in_the_query_counts_for_nothing_and_is_not_logged() {
    let gate = gate().await;
    let (lines, _guard) = watch();
    let request = gate
        .request("POST", &format!("/token?client_id=chat&client_secret={SECRET}"))
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = gate.send(request, "grant_type=refresh_token&refresh_token=pcr_x&client_id=chat").await;
    assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"));
    assert!(!lines.text().contains(SECRET), "{}", lines.text());
}

#[tokio::test]
async fn an_empty_secret_is_no_secret() {
    let gate = gate().await;
    let public = gate.register().await;
    let answer = redeem(&gate, "203.0.113.7", &public.id, "", "pcc_x").await;
    assert_eq!(answer.error(), "invalid_grant", "a public client whose library sends an empty one: {answer:?}");
    assert_eq!(redeem(&gate, "203.0.113.7", "chat", "", "pcc_x").await.error(), "invalid_client");
}
