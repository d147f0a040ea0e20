//! Answers to an exchange that no provider should give.

use serde_json::{Value, json};

use super::exchange::bench;
use crate::support::gate::WORKS;
use crate::support::log::watch;
use crate::support::provider::Reply;

/// A good answer with some members changed; null takes one away.
fn changed(changes: &Value) -> Value {
    let mut answer = json!({"access_token": "exchanged", "token_type": "Bearer", "expires_in": 300,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(answer.as_object_mut().unwrap().remove(name)),
            value => answer[name] = value.clone(),
        }
    }
    answer
}

#[tokio::test]
async fn tokens_that_cannot_be_sent_are_refused_with_a_named_cause() {
    for (changes, cause) in [
        (json!({"token_type": "DPoP"}), "token_type is not Bearer"),
        (json!({"token_type": "N_A"}), "token_type is not Bearer"),
        (json!({"token_type": null}), "token_type is not Bearer"),
        (json!({"token_type": ["Bearer"]}), "token_type is not Bearer"),
        (json!({"expires_in": 0}), "expires_in is 0 or less"),
        (json!({"expires_in": -300}), "expires_in is 0 or less"),
        (json!({"expires_in": "-1"}), "expires_in is 0 or less"),
        (json!({"access_token": ""}), "it is empty"),
        (json!({"access_token": "a b"}), "not printable ASCII"),
        (json!({"access_token": "a\r\nX-Admin: 1"}), "not printable ASCII"),
        (json!({"access_token": "x".repeat(13_000)}), "longer than 12 KiB"),
        (json!({"access_token": null}), "not a token response"),
        (json!({"access_token": 7}), "not a token response"),
    ] {
        let mut bench = bench().await;
        let given = bench.tokens().await;
        // the first answer is that of the refresh
        bench.provider.answer_token(Reply::Edited(|_| {}));
        bench.provider.answer_token(Reply::json(200, &changed(&changes)));
        let (lines, _guard) = watch();
        let refused = bench.gate.call(&given.access).await;
        assert_eq!((refused.status, bench.gate.behind.count()), (502, 0), "{changes:.80}: {refused:?}");
        assert!(refused.headers.get("www-authenticate").is_none());
        assert!(lines.text().contains(cause), "{changes:.80}: {}", lines.text());
        bench.gate.clock.advance(std::time::Duration::from_secs(2));
        assert_eq!(bench.gate.call(&given.access).await.status, WORKS, "{changes:.80}: nothing is lost");
    }
}

#[tokio::test]
async fn a_stated_life_that_is_odd_is_bounded() {
    for (expires_in, kept_for) in [
        (Value::Null, 45),
        (json!("300"), 270),
        (json!(299.5), 269),
        (json!("soon"), 45),
        (json!({}), 45),
        (json!(1), 1),
        (json!(1e30), 3570),
        (json!(u64::MAX), 3570),
    ] {
        let mut bench = bench().await;
        let given = bench.tokens().await;
        bench.provider.answer_token(Reply::Edited(|_| {}));
        bench.provider.answer_token(Reply::json(200, &changed(&json!({"expires_in": expires_in}))));
        let carried =
            |bench: &crate::support::bench::Bench| bench.gate.behind.last().header("authorization").unwrap().to_owned();
        assert_eq!(bench.gate.call(&given.access).await.status, WORKS, "{expires_in}");
        assert_eq!(carried(&bench), "Bearer exchanged");
        bench.gate.clock.advance(std::time::Duration::from_secs(kept_for - 1));
        let last = bench.gate.call(&given.access).await;
        assert!(last.status == 401 || carried(&bench) == "Bearer exchanged", "{expires_in}: {last:?}");
        bench.gate.clock.advance(std::time::Duration::from_secs(1));
        let after = bench.gate.call(&given.access).await;
        assert!(after.status == 401 || carried(&bench) != "Bearer exchanged", "{expires_in}: {after:?}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let mut bench = bench().await;
    let given = bench.tokens().await;
    bench.provider.answer_token(Reply::Edited(|_| {}));
    bench.provider.answer_token(Reply::json(200, &changed(&json!({"padding": "x".repeat(2_000_000)}))));
    assert_eq!(bench.gate.call(&given.access).await.status, 503);
    assert_eq!(bench.gate.behind.count(), 0);
}

#[tokio::test]
async fn refusals_of_the_exchange_are_a_502_in_words_and_say_nothing_of_our_credentials() {
    for (status, error) in [
        (400, "invalid_request"),
        (403, "access_denied"),
        (400, "invalid_client"),
        (400, "invalid_scope"),
        (400, "invalid_grant"),
        (400, "unsupported_grant_type"),
        (400, "made_up"),
    ] {
        let mut bench = bench().await;
        let given = bench.tokens().await;
        bench.provider.answer_token(Reply::Edited(|_| {}));
        bench.provider.answer_token(Reply::error(status, error, "the client said the secret the-access-token"));
        let refused = bench.gate.call(&given.access).await;
        assert_eq!((refused.status, bench.gate.behind.count()), (502, 0), "{error}: {refused:?}");
        assert!(!refused.body.contains("the secret"), "{refused:?}");
        assert!(refused.json()["error"]["message"].as_str().unwrap().contains("refuses to issue"), "{refused:?}");
        assert_eq!(bench.gate.refresh(&bench.client, &given.refresh).await.status, 200, "{error}: the grant stays");
    }
    for reply in [Reply::html(500), Reply::html(429), Reply::error(400, "temporarily_unavailable", "")] {
        let mut bench = bench().await;
        let given = bench.tokens().await;
        bench.provider.answer_token(Reply::Edited(|_| {}));
        bench.provider.answer_token(reply.clone());
        let status = bench.gate.call(&given.access).await.status;
        assert!(matches!(status, 502 | 503), "{reply:?}: {status}");
    }
}
