//! Tokens that the issuer is asked about (RFC 7662).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty};
use portcullis::config::{AcceptedIssuer, Accepts, Verification};
use serde_json::{Value, json};

use super::{Bench, assert_unfit, edited, introspection};
use crate::support::gate::{WORKS, upstream};
use crate::support::log::watch;
use crate::support::raw::{RawUpstream, SSE};

const INACTIVE: &str = "the access token has expired, or is not active";

async fn bench() -> Bench {
    Bench::with(|issuer, _| issuer.verification = introspection()).await
}

/// What the issuer says of a good token.
fn active(bench: &Bench) -> Value {
    edited(bench.claims(), &json!({"active": true, "client_id": "vscode", "username": "alice", "token_type": "Bearer"}))
}

impl Bench {
    fn asked(&self) -> usize {
        self.provider.calls("/introspect")
    }
}

#[tokio::test]
async fn an_opaque_token_opens_the_upstream_when_its_issuer_says_that_it_is_active() {
    let bench = bench().await;
    bench.provider.introspects("opaque-1", Some(active(&bench)));
    for _ in 0..3 {
        assert_eq!(bench.call("opaque-1").await.status, WORKS);
    }
    assert_eq!(bench.asked(), 1, "the answer counts for half a minute");
    let seen = bench.gate.behind.last();
    assert_eq!(seen.header("x-forwarded-user"), Some("corp|alice-id"));
    assert_eq!(seen.header("x-portcullis-client"), Some("vscode"));
    let asked = bench.provider.last_call("/introspect");
    assert_eq!(asked.form["token"], "opaque-1");
    assert_eq!(asked.form["token_type_hint"], "access_token");
    assert!(
        asked.headers["authorization"].to_str().unwrap().starts_with("Basic ")
            && !asked.form.contains_key("client_secret")
    );
}

#[tokio::test]
async fn a_token_that_ended_at_its_issuer_is_refused_within_half_a_minute_and_its_streams_end() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let bench = Bench::with(|issuer, config| {
        issuer.verification = introspection();
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
    })
    .await;
    bench.provider.introspects("opaque-1", Some(active(&bench)));
    let request = bench.gate.request("GET", "/mcp").header("authorization", "Bearer opaque-1");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let (answer, _wire) = tokio::join!(bench.gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()), async {
        let mut wire = behind.asked().await;
        wire.send(SSE).await;
        wire
    });
    bench.provider.introspects("opaque-1", None);
    bench.gate.clock.advance(Duration::from_secs(30));
    assert_unfit(&bench.call("opaque-1").await, INACTIVE, "ended");
    let ended = tokio::time::timeout(Duration::from_secs(5), answer.into_body().collect()).await;
    assert!(ended.is_ok(), "the stream goes on");
}

#[tokio::test]
async fn an_open_stream_makes_us_ask_again_by_itself() {
    let behind = RawUpstream::start().await;
    let url = behind.url();
    let bench = Bench::with(|issuer, config| {
        issuer.verification = introspection();
        config.upstreams = vec![upstream(&config.public_url, "mcp", &url)];
    })
    .await;
    bench.provider.introspects("opaque-1", Some(active(&bench)));
    let request = bench.gate.request("GET", "/mcp").header("authorization", "Bearer opaque-1");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let (answer, _wire) = tokio::join!(bench.gate.app.handle(request, "127.0.0.1:5000".parse().unwrap()), async {
        let mut wire = behind.asked().await;
        wire.send(SSE).await;
        wire
    });
    bench.provider.introspects("opaque-1", None);
    bench.gate.clock.advance(Duration::from_secs(30));
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    drop(answer.into_body().collect().await);
    assert!(began.elapsed() < Duration::from_mins(2), "{:?}", began.elapsed());
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn answers_that_do_not_make_a_good_access_token_are_refused() {
    let bench = bench().await;
    let now = bench.gate.clock.now().0;
    for (n, (changes, class)) in [
        (json!({"aud": null}), "the access token is for another audience"),
        (json!({"aud": "account"}), "the access token is for another audience"),
        (json!({"iss": "https://elsewhere.example"}), "this server does not accept access tokens of that issuer"),
        (json!({"typ": "ID"}), "this is not an access token for this server"),
        (json!({"typ": "Refresh"}), "this is not an access token for this server"),
        (json!({"token_use": "refresh_token", "typ": null}), "this is not an access token for this server"),
        (json!({"token_type": "refresh_token", "typ": null}), "this is not an access token for this server"),
        (json!({"token_type": "mac"}), "this is not an access token for this server"),
        (json!({"token_type": ["Bearer"]}), "this is not an access token for this server"),
        (json!({"token_type": "DPoP"}), "the access token is not valid"),
        (json!({"exp": now - 60}), INACTIVE),
        (json!({"active": false}), INACTIVE),
        (json!({"sub": null}), "the access token is not valid"),
        (json!({"cnf": {"jkt": "x"}}), "the access token is not valid"),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("opaque-{n}");
        bench.provider.introspects(&token, Some(edited(active(&bench), &changes)));
        assert_unfit(&bench.call(&token).await, class, &changes.to_string());
    }
    assert_eq!(bench.gate.behind.count(), 0);
}

#[tokio::test]
async fn a_bad_token_is_asked_about_once_in_a_while_and_many_callers_share_one_question() {
    let bench = bench().await;
    let answers = join_all((0..40).map(|_| bench.call("unknown"))).await;
    assert!(answers.iter().all(|answer| answer.status == 401));
    assert_eq!(bench.asked(), 1);
    bench.gate.clock.advance(Duration::from_secs(9));
    assert_unfit(&bench.call("unknown").await, INACTIVE, "remembered");
    assert_eq!(bench.asked(), 1);
    bench.provider.introspects("unknown", Some(active(&bench)));
    bench.gate.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.call("unknown").await.status, WORKS, "not for ever");
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_makes_503_and_never_401() {
    let bench = bench().await;
    bench.provider.introspects("opaque-1", Some(active(&bench)));
    assert_eq!(bench.call("opaque-1").await.status, WORKS);
    bench.provider.stop().await;
    assert_eq!(bench.call("opaque-1").await.status, WORKS, "what is known counts for half a minute");
    bench.gate.clock.advance(Duration::from_secs(30));
    for token in ["opaque-1", "opaque-2"] {
        let answer = bench.call(token).await;
        let headers = (answer.header("retry-after"), answer.header("www-authenticate"));
        assert_eq!((answer.status, headers), (503, ("5", "")), "{token}: {answer:?}");
    }
    bench.provider.restart().await;
    bench.gate.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.call("opaque-1").await.status, WORKS);
}

#[tokio::test]
async fn refused_credentials_of_ours_are_503_and_name_the_setting() {
    let bench = Bench::with(|issuer, _| {
        issuer.verification = introspection();
        if let Verification::Introspection { client_secret, .. } = &mut issuer.verification {
            *client_secret = "another".to_owned().into();
        }
    })
    .await;
    let (log, _guard) = watch();
    assert_eq!(bench.call("opaque-1").await.status, 503);
    let log = log.text();
    assert!(log.contains("issuer corp: the introspection endpoint") && log.contains("it answers 401"), "{log}");
    assert!(log.contains("check client_id and client_secret"), "{log}");
    assert!(bench.gate.app.metrics().await.contains(r#"portcullis_provider_up{identity="corp"} 0"#));
}

#[tokio::test]
async fn a_token_that_the_issuer_refuses_to_look_at_is_503_and_no_sign_of_an_outage() {
    let bench = bench().await;
    bench.provider.introspects("good", Some(active(&bench)));
    assert_eq!(bench.call("good").await.status, WORKS);
    bench.provider.refuse_questions(Some(json!({"error": "invalid_request"})));
    let (log, _guard) = watch();
    assert_eq!(bench.call("odd").await.status, 503);
    assert!(log.text().contains("it answers 400"), "{}", log.text());
    assert!(
        bench.gate.app.metrics().await.contains(r#"portcullis_provider_up{identity="corp"} 1"#),
        "anyone can do that"
    );
    bench.provider.refuse_questions(Some(json!({"error": "invalid_client"})));
    assert_eq!(bench.call("odd-2").await.status, 503);
    assert!(
        bench.gate.app.metrics().await.contains(r#"portcullis_provider_up{identity="corp"} 0"#),
        "our registration"
    );
    bench.provider.refuse_questions(None);
    assert_eq!(bench.call("unknown").await.status, 401);
    assert!(bench.gate.app.metrics().await.contains(r#"portcullis_provider_up{identity="corp"} 1"#));
}

#[tokio::test]
async fn questions_about_invented_tokens_leave_room_for_those_about_known_ones() {
    let bench = bench().await;
    bench.provider.introspects("known", Some(active(&bench)));
    assert_eq!(bench.call("known").await.status, WORKS);
    bench.gate.clock.advance(Duration::from_secs(30));
    let held = bench.provider.hold_questions();
    let invented: Vec<_> = (0..64).map(|n| format!("invented-{n}")).collect();
    let flood = join_all(invented.iter().map(|token| bench.call(token)));
    let others = async {
        while bench.asked() < 65 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(bench.call("one-more").await.status, 503, "64 strangers at once");
        let known = bench.call("known");
        let release = async {
            while bench.asked() < 66 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(held);
        };
        assert_eq!(tokio::join!(known, release).0.status, WORKS);
    };
    let (flood, ()) = tokio::join!(flood, others);
    assert!(flood.iter().all(|answer| answer.status == 401));
}

#[tokio::test]
async fn a_token_without_an_end_is_good_for_as_long_as_its_issuer_says_so() {
    let bench = bench().await;
    bench.provider.introspects("endless", Some(edited(active(&bench), &json!({"exp": null, "iat": null}))));
    assert_eq!(bench.call("endless").await.status, WORKS);
    bench.gate.clock.advance(Duration::from_hours(24));
    assert_eq!(bench.call("endless").await.status, WORKS);
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn an_answer_counts_for_no_other_upstream_and_not_beyond_the_end_of_the_token() {
    let bench = Bench::with(|issuer, config| {
        issuer.verification = introspection();
        let url = config.upstreams[0].settings.reach.url().to_string();
        let mut other = upstream(&config.public_url, "other", &url);
        let accepted = AcceptedIssuer::new(Arc::new(issuer.clone()), &[other.audience().to_owned()]);
        other.settings.accepts = Accepts { own: false, foreign: vec![accepted] };
        config.upstreams.push(other);
    })
    .await;
    let now = bench.gate.clock.now().0;
    bench.provider.introspects("short", Some(edited(active(&bench), &json!({"exp": now - 50}))));
    for _ in 0..2 {
        assert_eq!(bench.call("short").await.status, WORKS, "within the leeway");
        assert_unfit(&bench.gate.call_at("/other", "short").await, "the access token is for another audience", "other");
    }
    bench.gate.clock.advance(Duration::from_secs(10));
    assert_eq!(bench.call("short").await.status, 401, "though the answer is not 30 s old");
}

#[tokio::test]
async fn secrets_of_ours_and_tokens_of_others_are_never_sent_to_the_issuer() {
    let bench = bench().await;
    let own = "pcr_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let foreign = bench.token_with(&json!({"iss": "https://elsewhere.example"}));
    for token in [own, "pck_x", &foreign] {
        assert_eq!(bench.call(token).await.status, 401);
    }
    assert_eq!(bench.asked(), 0);
    // a JWT that names this issuer is its own to verify
    let lightweight = bench.token();
    bench.provider.introspects(&lightweight, Some(active(&bench)));
    assert_eq!(bench.call(&lightweight).await.status, WORKS);
    assert_eq!((bench.asked(), bench.provider.calls("/certs")), (1, 0));
}

#[tokio::test]
async fn one_address_cannot_make_us_ask_without_end_and_known_tokens_go_on() {
    let bench = bench().await;
    bench.provider.introspects("opaque-1", Some(active(&bench)));
    assert_eq!(bench.call("opaque-1").await.status, WORKS);
    let mut limited = None;
    for n in 0..6100 {
        let answer = bench.call(&format!("invented-{n}")).await;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("a limit");
    assert!(limited.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{limited:?}");
    bench.gate.clock.advance(Duration::from_millis(100));
    let asked = bench.asked();
    assert!((5000..=6001).contains(&asked), "{asked}");
    bench.provider.introspects("opaque-1", Some(active(&bench)));
    assert_eq!(bench.call("opaque-1").await.status, WORKS);
}
