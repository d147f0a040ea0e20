//! Tokens that must open nothing, each with the class of the reason that its client learns and the words that the operator
//! reads.

use std::sync::Arc;

use portcullis::config::AcceptedIssuer;
use portcullis::secret::{ApiKey, Refresh, Token};
use serde_json::{Value, json};

use super::{AUDIENCE, Bench, assert_unfit, edited, issuer_of};
use crate::support::gate::{TestGate, WORKS, upstream};
use crate::support::log::watch;
use crate::support::provider::{FakeProvider, TestAlgorithm, TestKey};

const KIND: &str = "this is not an access token for this server";
const ISSUER: &str = "this server does not accept access tokens of that issuer";
const FOR_OTHERS: &str = "the access token is for another audience";
const TIME: &str = "the access token has expired, or is not active";
const OTHER: &str = "the access token is not valid";

/// A token, the class of the reason why it is refused, and a part of the words.
type Wrong = (String, &'static str, &'static str);

fn with_wrong_claims(bench: &Bench) -> Vec<Wrong> {
    let now = bench.gate.clock.now().0;
    let wrong = [
        (json!({"typ": "ID", "nonce": "n"}), KIND, "it is an ID token"),
        (json!({"typ": "Refresh"}), KIND, "it is a refresh token"),
        (json!({"typ": "Offline", "exp": null}), KIND, "it is a refresh token"),
        (json!({"typ": "Logout", "events": {}}), KIND, "it is a logout token"),
        (json!({"typ": null}), KIND, "its typ claim is not"),
        (json!({"typ": "Serialized-ID"}), KIND, "its typ claim is not"),
        (json!({"typ": "JWT"}), KIND, "its typ claim is not"),
        (json!({"typ": ["Bearer"]}), KIND, "its typ claim is not"),
        (json!({"typ": "DPoP"}), OTHER, "does not say to which"),
        (json!({"cnf": null, "typ": "DPoP"}), OTHER, "does not say to which"),
        (json!({"at_hash": "x"}), KIND, "it is an ID token"),
        (json!({"iss": "https://elsewhere.example"}), ISSUER, "its issuer (iss) is not one that the upstream accepts"),
        (json!({"iss": format!("{}/", bench.provider.issuer())}), ISSUER, "its issuer (iss)"),
        (json!({"iss": [bench.provider.issuer()]}), ISSUER, "its issuer (iss)"),
        (json!({"iss": null}), ISSUER, "its issuer (iss)"),
        (json!({"aud": "account"}), FOR_OTHERS, "compare its aud with `audiences`"),
        (json!({"aud": "vscode"}), FOR_OTHERS, "compare its aud"),
        (json!({"aud": format!("{AUDIENCE}/x")}), FOR_OTHERS, "compare its aud"),
        (json!({"aud": "http://127.0.0.1:6749"}), FOR_OTHERS, "compare its aud"),
        (json!({"aud": null}), FOR_OTHERS, "it names no audience"),
        (json!({"aud": {}}), FOR_OTHERS, "it names no audience"),
        (json!({"exp": now - 60}), TIME, "it has expired"),
        (json!({"nbf": now + 61}), TIME, "it is not good yet"),
        (json!({"exp": null}), OTHER, "it never ends"),
        (json!({"exp": "tomorrow"}), OTHER, "one of its times is no time"),
        (json!({"sub": null}), OTHER, "it names no user (sub)"),
        (json!({"sub": ""}), OTHER, "it names no user (sub)"),
        (json!({"sub": "a\u{202e}b"}), OTHER, "not printable ASCII"),
        (json!({"cnf": {"jkt": "x"}}), OTHER, "by other means than DPoP"),
    ];
    wrong.into_iter().map(|(changes, class, reason)| (bench.token_with(&changes), class, reason)).collect()
}

fn with_wrong_headers(bench: &Bench) -> Vec<Wrong> {
    let wrong = [
        (json!({"typ": "logout+jwt"}), KIND, "it is a logout token"),
        (json!({"typ": "oauth-id-jag+jwt"}), KIND, "it is no access token (typ)"),
        (json!({"typ": "dpop+jwt"}), KIND, "it is no access token (typ)"),
        (json!({"nonce": "x"}), KIND, "it is for Microsoft Graph"),
        (json!({"alg": "none"}), OTHER, "not one of the issuer's `algorithms`"),
        (json!({"alg": "HS256"}), OTHER, "not one of the issuer's `algorithms`"),
        (json!({"alg": "PS256"}), OTHER, "not one of the issuer's `algorithms`"),
        (json!({"alg": "RS256"}), OTHER, "no key of its issuer signed it"),
        (json!({"crit": ["b64"], "b64": false}), OTHER, "crit"),
        (json!({"cty": "JWT"}), OTHER, "cty"),
    ];
    wrong.into_iter().map(|(changes, class, reason)| (bench.token_headed(&changes), class, reason)).collect()
}

fn of_wrong_forms_and_signatures(bench: &Bench) -> Vec<Wrong> {
    let (own_key, mut wrong) = (TestKey::new(TestAlgorithm::Es256, "corp"), Vec::new());
    // keys that a token brings along, or where to fetch them, mean nothing
    for brought in
        [json!({"jwk": own_key.jwk()}), json!({"jku": "https://evil.example/jwks"}), json!({"x5u": "https://evil"})]
    {
        wrong.push((own_key.jws(&edited(bench.header(), &brought), &bench.claims()), OTHER, "its signature is wrong"));
    }
    let good = bench.token();
    let (head, signature) = good.rsplit_once('.').unwrap();
    wrong.push((format!("{head}.{}", "A".repeat(signature.len())), OTHER, "its signature is wrong"));
    wrong.push((format!("{head}."), OTHER, "its signature is wrong"));
    let twice = data_encoding::BASE64URL_NOPAD.encode(br#"{"iss":"a","iss":"b"}"#);
    wrong.push((format!("{}.{twice}.{signature}", head.split('.').next().unwrap()), KIND, "it is no signed JWT"));
    wrong.push(("an-opaque-token".to_owned(), KIND, "it is no signed JWT"));
    wrong.push(("a.b.c.d.e".to_owned(), KIND, "it is no signed JWT"));
    wrong.push((Token::<Refresh>::generate().expose().to_owned(), KIND, "it is a secret of Portcullis"));
    wrong.push((Token::<ApiKey>::generate().expose().to_owned(), KIND, "it is a secret of Portcullis"));
    wrong
}

#[tokio::test]
async fn each_token_that_is_no_good_is_refused_with_a_reason_and_reaches_nothing() {
    let bench = Bench::new().await;
    let claims = with_wrong_claims(&bench);
    let others = with_wrong_headers(&bench).into_iter().chain(of_wrong_forms_and_signatures(&bench));
    for (token, class, reason) in claims.into_iter().chain(others) {
        let (log, guard) = watch();
        let answer = bench.call(&token).await;
        drop(guard);
        assert_unfit(&answer, class, reason);
        assert!(log.text().contains(reason), "{reason}\n{}", log.text());
        assert!(!log.text().contains(&token), "a token is in the log");
    }
    assert_eq!(bench.gate.behind.count(), 0);
    assert!(bench.provider.calls("/certs") <= 2, "{}", bench.provider.calls("/certs"));
    assert_eq!(bench.call(&bench.token()).await.status, WORKS);
}

/// A gate with two upstreams, each of which accepts another issuer.
async fn two_issuers() -> (TestGate, [FakeProvider; 2]) {
    let (gate, first) = TestGate::with_provider(|_| {}).await;
    let second = FakeProvider::start(&gate.clock).await;
    let gate = gate
        .restart_with(|config| {
            let url = config.upstreams[0].settings.reach.url().to_string();
            config.upstreams.push(upstream(&config.public_url, "other", &url));
            for (index, (id, provider)) in [("corp", &first), ("partner", &second)].into_iter().enumerate() {
                let mut issuer = issuer_of(provider);
                issuer.id = id.to_owned();
                let audience = config.upstreams[index].audience().to_owned();
                let accepted = AcceptedIssuer::new(Arc::new(issuer), &[audience]);
                config.upstreams[index].settings.accepts.foreign.push(accepted);
            }
        })
        .await;
    for provider in [&first, &second] {
        // the same id on both sides, so that only the issuer tells the keys apart
        provider.rotate(TestKey::new(TestAlgorithm::Es256, "same"), true);
    }
    (gate, [first, second])
}

fn claims(gate: &TestGate, iss: &str, aud: &Value) -> Value {
    let now = gate.clock.now().0;
    json!({"iss": iss, "aud": aud, "sub": "u", "typ": "Bearer", "iat": now, "exp": now + 300, "scope": "mcp:access"})
}

#[tokio::test]
async fn no_issuers_keys_verify_the_token_of_another_one() {
    let (gate, [first, second]) = two_issuers().await;
    let (one, two) = (TestKey::new(TestAlgorithm::Es256, "same"), TestKey::new(TestAlgorithm::Es256, "same"));
    first.rotate(one.clone(), true);
    second.rotate(two.clone(), true);
    let both = json!([gate.config.upstreams[0].audience(), gate.config.upstreams[1].audience()]);
    let header = json!({"alg": "ES256", "kid": "same", "typ": "JWT"});
    let token = |key: &TestKey, iss: &str| key.jws(&header, &claims(&gate, iss, &both));
    let (a, b) = (first.issuer(), second.issuer());
    assert_eq!(gate.call_at("/mcp", &token(&one, &a)).await.status, WORKS);
    assert_eq!(gate.call_at("/other", &token(&two, &b)).await.status, WORKS);
    assert_eq!(gate.behind.last().header("x-forwarded-user"), Some("partner|u"), "never corp|u");
    for (path, token, class) in [
        ("/mcp", token(&two, &a), OTHER),
        ("/other", token(&one, &b), OTHER),
        ("/mcp", token(&two, &b), ISSUER),
        ("/other", token(&one, &a), ISSUER),
    ] {
        assert_unfit(&gate.call_at(path, &token).await, class, path);
    }
    // nobody else signs in our name
    let forged = gate.call_at("/mcp", &token(&one, gate.origin())).await;
    assert_eq!(forged.status, 401, "{forged:?}");
}

#[tokio::test]
async fn a_token_for_one_upstream_opens_no_other_one_though_it_was_verified_there() {
    let bench = Bench::with(|issuer, config| {
        let url = config.upstreams[0].settings.reach.url().to_string();
        let mut other = upstream(&config.public_url, "other", &url);
        let accepted = AcceptedIssuer::new(Arc::new(issuer.clone()), &[other.audience().to_owned()]);
        other.settings.accepts.foreign.push(accepted);
        config.upstreams.push(other);
    })
    .await;
    let token = bench.token();
    for _ in 0..2 {
        assert_eq!(bench.gate.call_at("/mcp", &token).await.status, WORKS);
        assert_unfit(&bench.gate.call_at("/other", &token).await, FOR_OTHERS, "other");
    }
}

#[tokio::test]
async fn a_key_that_two_issuers_publish_makes_no_token_of_one_that_of_the_other() {
    let (gate, [first, second]) = two_issuers().await;
    let shared = TestKey::new(TestAlgorithm::Es256, "same");
    first.rotate(shared.clone(), true);
    second.rotate(shared.clone(), true);
    let both = json!([gate.config.upstreams[0].audience(), gate.config.upstreams[1].audience()]);
    let token =
        |iss: &str| shared.jws(&json!({"alg": "ES256", "kid": "same", "typ": "JWT"}), &claims(&gate, iss, &both));
    let (a, b) = (token(&first.issuer()), token(&second.issuer()));
    assert_eq!(gate.call_at("/mcp", &a).await.status, WORKS);
    assert_eq!(gate.behind.last().header("x-forwarded-user"), Some("corp|u"));
    assert_eq!(gate.call_at("/other", &b).await.status, WORKS);
    assert_eq!(gate.behind.last().header("x-forwarded-user"), Some("partner|u"));
    assert_unfit(&gate.call_at("/other", &a).await, ISSUER, "the first issuer's at the second's upstream");
    assert_unfit(&gate.call_at("/mcp", &b).await, ISSUER, "the second issuer's at the first's upstream");
}

#[tokio::test]
async fn no_tokens_of_others_open_an_upstream_that_accepts_ours_alone() {
    let bench = Bench::with(|_, config| {
        let url = config.upstreams[0].settings.reach.url().to_string();
        config.upstreams.push(upstream(&config.public_url, "own", &url));
    })
    .await;
    let audience = bench.gate.config.upstreams[1].audience().to_owned();
    let token = bench.token_with(&json!({"aud": [AUDIENCE, audience]}));
    assert_eq!(bench.gate.call_at("/mcp", &token).await.status, WORKS);
    let refused = bench.gate.call_at("/own", &token).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("/.well-known/oauth-protected-resource/own\""), "{challenge}");
}

#[tokio::test]
async fn the_name_of_a_client_that_is_no_id_is_left_out() {
    let bench = Bench::new().await;
    for azp in [json!("a\nb"), json!("\u{202e}"), json!("x".repeat(256)), json!(7)] {
        assert_eq!(bench.call(&bench.token_with(&json!({"azp": azp}))).await.status, WORKS, "{azp}");
        assert!(bench.gate.behind.last().header("x-portcullis-client").is_none_or(str::is_empty), "{azp}");
    }
}

#[tokio::test]
async fn an_audience_that_is_not_accepted_is_told_to_the_operator_once_and_only_if_the_issuer_signed_it() {
    let bench = Bench::new().await;
    let (log, _guard) = watch();
    for n in 0..3 {
        bench
            .call(&bench.token_with(&json!({"aud": ["https://mcp.example.com", "account"], "jti": n.to_string()})))
            .await;
    }
    let other_key = TestKey::new(TestAlgorithm::Es256, "corp");
    let forged = edited(bench.claims(), &json!({"aud": "https://forged.example"}));
    bench.call(&other_key.jws(&bench.header(), &forged)).await;
    let log = log.text();
    let told: Vec<_> = log.lines().filter(|line| line.contains("a token is for another audience:")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("issuer=\"corp\" aud=https://mcp.example.com account"), "{}", told[0]);
}

#[tokio::test]
async fn a_very_long_token_is_refused_and_one_of_a_user_in_many_groups_is_not() {
    let bench = Bench::with(|_, config| config.upstreams[0].settings.request_headers.groups.names.clear()).await;
    let groups = |count: usize| json!({"groups": vec!["11112222-bbbb-3333-cccc-4444dddd5555"; count]});
    assert_eq!(bench.call(&bench.token_with(&groups(400))).await.status, WORKS);
    assert_eq!(bench.call(&bench.token_with(&groups(800))).await.status, 401);
}
