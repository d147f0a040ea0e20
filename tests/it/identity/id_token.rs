//! Which ID tokens are accepted.

use std::time::Duration;

use futures_util::future::join_all;
use portcullis::config::GroupSources;
use serde_json::{Value, json};

use super::{Bench, NOW, refused, unavailable};
use crate::support::provider::{Reply, TestAlgorithm, TestKey};

type Attack = (&'static str, fn(&mut Value, &mut Value));

/// Each with one fault in a token that is otherwise good and rightly signed.
const ATTACKS: [Attack; 48] = [
    ("no nonce", |_, claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
    ("another nonce", |_, claims| claims["nonce"] = json!("theirs")),
    ("an empty nonce", |_, claims| claims["nonce"] = json!("")),
    ("another audience", |_, claims| claims["aud"] = json!("account")),
    ("an audience without case", |_, claims| claims["aud"] = json!("Portcullis")),
    ("an audience that begins with ours", |_, claims| claims["aud"] = json!("portcullis-admin")),
    ("no audience in the list", |_, claims| claims["aud"] = json!([])),
    ("an audience that is no text", |_, claims| claims["aud"] = json!(["portcullis", 5])),
    ("an azp that is no text", |_, claims| claims["azp"] = json!(["portcullis"])),
    ("no audience", |_, claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
    ("several audiences without azp", |_, claims| {
        claims["aud"] = json!(["portcullis", "other"]);
        claims.as_object_mut().unwrap().remove("azp");
    }),
    ("several audiences, given to another", |_, claims| {
        claims["aud"] = json!(["portcullis", "other"]);
        claims["azp"] = json!("other");
    }),
    ("one audience, given to another", |_, claims| claims["azp"] = json!("other")),
    ("several audiences, ours twice, without azp", |_, claims| {
        claims["aud"] = json!(["portcullis", "other", "portcullis"]);
        claims.as_object_mut().unwrap().remove("azp");
    }),
    ("the issuer in a list", |_, claims| claims["iss"] = json!([claims["iss"]])),
    ("another issuer", |_, claims| claims["iss"] = json!("https://evil.example/realms/mcp")),
    ("the issuer with a slash", |_, claims| claims["iss"] = json!(format!("{}/", claims["iss"].as_str().unwrap()))),
    ("no issuer", |_, claims| drop(claims.as_object_mut().unwrap().remove("iss"))),
    ("no expiry", |_, claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
    ("no subject", |_, claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
    ("an empty subject", |_, claims| claims["sub"] = json!("")),
    ("a subject with a line break", |_, claims| claims["sub"] = json!("alice\r\nX: y")),
    ("a subject beyond ASCII", |_, claims| claims["sub"] = json!("alicé")),
    ("a subject that is a number", |_, claims| claims["sub"] = json!(5)),
    ("a subject of 256 characters", |_, claims| claims["sub"] = json!("a".repeat(256))),
    ("no signature", |header, _| header["alg"] = json!("none")),
    ("the public key as a shared secret", |header, _| header["alg"] = json!("HS256")),
    ("no signature, spelt otherwise", |header, _| header["alg"] = json!("NONE")),
    ("another shared secret", |header, _| header["alg"] = json!("HS512")),
    ("the kid of the key for encryption", |header, _| header["kid"] = json!("encryption")),
    ("an encrypted token", |header, _| header["enc"] = json!("A128GCM")),
    ("a token in a token", |header, _| header["cty"] = json!("JWT")),
    ("an algorithm that the key has not", |header, _| header["alg"] = json!("ES384")),
    ("a logout token", |header, _| header["typ"] = json!("logout+jwt")),
    ("an access token", |header, _| header["typ"] = json!("at+jwt")),
    ("an expiry beyond all time", |_, claims| claims["exp"] = json!(i64::MAX)),
    ("an expiry before all time", |_, claims| claims["exp"] = json!(i64::MIN)),
    ("an expiry in words", |_, claims| claims["exp"] = json!("never")),
    ("an expiry without end", |_, claims| claims["exp"] = json!(1e300)),
    ("an expiry as a date", |_, claims| claims["exp"] = json!("2027-01-15T08:05:00Z")),
    ("made two days ago", |_, claims| claims["iat"] = json!(NOW - 172_800)),
    ("made in ten years", |_, claims| claims["iat"] = json!(NOW + 315_360_000)),
    ("no time of issue", |_, claims| drop(claims.as_object_mut().unwrap().remove("iat"))),
    ("a list of subjects", |_, claims| claims["sub"] = json!(["alice-id"])),
    ("the hash of another access token", |_, claims| claims["at_hash"] = json!("77QmUPtjPfzWtF2AnpK9RQ")),
    ("a hash that is no text", |_, claims| claims["at_hash"] = json!(true)),
    ("an azp without end", |_, claims| claims["azp"] = json!("x".repeat(100_000))),
    ("a critical header", |header, _| header["crit"] = json!(["exp"])),
];

#[tokio::test]
async fn an_id_token_with_any_single_fault_is_refused() {
    for (what, attack) in ATTACKS {
        let bench = Bench::new().await;
        bench.sign_in().await.unwrap();
        bench.clock.advance(Duration::from_secs(11));
        bench.provider.edit_id_token(attack);
        let words = refused(bench.sign_in().await);
        assert!(words.starts_with("the ID token of identity keycloak is not believed"), "{what}: {words}");
        assert!(words.len() < 500 && !words.contains(['\r', '\n']), "{what}: {words}");
    }
}

#[tokio::test]
async fn id_tokens_as_real_providers_send_them_are_accepted() {
    let kindly: [Attack; 16] = [
        ("several audiences, given to us", |_, claims| claims["aud"] = json!(["other", "portcullis"])),
        ("one audience in a list, no azp", |_, claims| {
            claims["aud"] = json!(["portcullis"]);
            claims.as_object_mut().unwrap().remove("azp");
        }),
        ("no typ", |header, _| drop(header.as_object_mut().unwrap().remove("typ"))),
        ("a media type in full", |header, _| header["typ"] = json!("application/JWT")),
        ("no access token's hash", |_, claims| drop(claims.as_object_mut().unwrap().remove("at_hash"))),
        ("an azp and no other audience", |_, claims| claims["azp"] = json!("portcullis")),
        ("a time with a fraction", |_, claims| claims["exp"] = json!(300.5 + f64::from(i32::try_from(NOW).unwrap()))),
        ("an hour-old time of issue", |_, claims| claims["iat"] = json!(NOW - 3600)),
        ("an unknown header", |header, _| header["x5t"] = json!("AAAA")),
        ("no kid, when one key signs", |header, _| drop(header.as_object_mut().unwrap().remove("kid"))),
        ("a truth in quotes", |_, claims| claims["email_verified"] = json!("true")),
        ("a date in words", |_, claims| claims["updated_at"] = json!("2026-11-21T10:00:00.000Z")),
        ("a truth that is none", |_, claims| claims["email_verified"] = json!("yes")),
        ("localized names", |_, claims| claims["name#ja-Kana-JP"] = json!("アリス")),
        ("strange values of claims that we do not read", |_, claims| {
            (claims["locale"], claims["address"], claims["auth_time"]) = (json!(5), json!([]), json!("long ago"));
        }),
        ("unknown claims", |_, claims| claims["realm_access"] = json!({"roles": ["a"]})),
    ];
    for (what, edit) in kindly {
        let bench = Bench::new().await;
        bench.provider.edit_id_token(edit);
        let signed_in = bench.sign_in().await;
        assert!(signed_in.is_ok_and(|signed_in| signed_in.key == "alice-id"), "{what}");
    }
}

#[tokio::test]
async fn a_malformed_id_token_is_refused_without_quoting_it() {
    for garbage in ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", &"A".repeat(100_000)] {
        let bench = Bench::new().await;
        let code = bench.code(false).await;
        bench.provider.answer_token(Reply::json(200, &json!({"access_token": "x", "id_token": garbage})));
        let words = refused(bench.exchange(&code, false).await);
        assert!(words.contains("is not believed") && words.len() < 300, "{words}");
    }
    let bench = Bench::new().await;
    bench.provider.edit_id_token(|_, claims| claims["email"] = json!(["private@example.com"]));
    let words = refused(bench.sign_in().await);
    assert!(!words.contains("private"), "{words}");
}

#[tokio::test]
async fn id_token_times_have_a_leeway_of_one_minute() {
    for (exp, iat, good) in [
        (NOW - 59, NOW - 300, true),
        (NOW - 60, NOW - 300, false),
        (NOW + 300, NOW + 60, true),
        (NOW + 300, NOW + 61, false),
    ] {
        let bench = Bench::new().await;
        bench.provider.edit_id_token(move |_, claims| (claims["exp"], claims["iat"]) = (json!(exp), json!(iat)));
        let result = bench.sign_in().await;
        assert_eq!(result.is_ok(), good, "{exp} {iat}: {result:?}");
        assert!(good || refused(result).contains("clock"));
    }
}

#[tokio::test]
async fn unusable_keys_in_a_key_set_are_skipped() {
    let bench = Bench::new().await;
    bench.provider.rotate(TestKey::new(TestAlgorithm::Rs256, "rsa"), true);
    bench.provider.edit_jwks(|document| {
        let keys = document["keys"].as_array_mut().unwrap();
        keys.insert(0, json!({"kty": "AKP", "alg": "ML-DSA-65", "kid": "future", "pub": "AA"}));
        keys.insert(0, json!({"kty": "EC", "crv": "P-521", "kid": "p521", "x": "!", "y": 5}));
        keys.insert(0, json!("no key at all"));
        keys.push(json!({"kid": "half"}));
    });
    assert_eq!(bench.sign_in().await.unwrap().key, "alice-id");
}

#[tokio::test]
async fn an_encryption_key_verifies_no_signature() {
    let bench = Bench::new().await;
    bench.provider.rotate(TestKey::new(TestAlgorithm::Rs256, "rsa"), true);
    bench.sign_in().await.unwrap();
    bench.clock.advance(Duration::from_secs(11));
    bench.provider.sign_with(Some(TestKey::new(TestAlgorithm::Rs256, "encryption")));
    assert!(refused(bench.sign_in().await).contains("no key of"));
    bench.provider.edit_jwks(|document| {
        document["keys"].as_array_mut().unwrap().retain(|key| key["use"] == "enc");
    });
    bench.clock.advance(Duration::from_secs(301));
    assert!(unavailable(bench.sign_in().await).contains("holds no key that signs"));
    bench.provider.sign_with(None);
    bench.sign_in().await.expect("the old keys serve while no better ones come");
}

#[tokio::test]
async fn a_forged_signature_under_a_known_key_id_costs_no_fetch() {
    let bench = Bench::new().await;
    bench.sign_in().await.unwrap();
    let fetches = bench.provider.calls("/certs");
    bench.provider.sign_with(Some(TestKey::new(TestAlgorithm::Es256, "first")));
    assert!(refused(bench.sign_in().await).contains("is not believed"));
    assert_eq!(bench.provider.calls("/certs"), fetches);
}

#[tokio::test]
async fn a_rotated_signing_key_is_found_with_one_more_fetch() {
    let bench = Bench::new().await;
    bench.sign_in().await.unwrap();
    bench.sign_in().await.unwrap();
    assert_eq!(bench.provider.calls("/certs"), 1, "keys are kept");
    bench.clock.advance(Duration::from_secs(11));
    bench.provider.rotate(TestKey::new(TestAlgorithm::Rs256, "second"), false);
    bench.sign_in().await.unwrap();
    bench.sign_in().await.unwrap();
    assert_eq!(bench.provider.calls("/certs"), 2);
}

#[tokio::test]
async fn a_sign_in_right_after_the_keys_were_read_waits_for_the_next_read() {
    let bench = Bench::new().await;
    bench.sign_in().await.unwrap();
    bench.provider.rotate(TestKey::new(TestAlgorithm::Rs256, "second"), true);
    bench.clock.advance(Duration::from_millis(9_900));
    bench.sign_in().await.expect("its code is spent: it cannot come again");
    assert_eq!(bench.provider.calls("/certs"), 2);
}

#[tokio::test]
async fn unknown_key_ids_cost_one_fetch_in_ten_seconds() {
    let bench = Bench::new().await;
    bench.sign_in().await.unwrap();
    bench.clock.advance(Duration::from_secs(11));
    bench.provider.sign_with(Some(TestKey::new(TestAlgorithm::Es256, "unpublished")));
    assert!(refused(bench.sign_in().await).contains("no key of"));
    assert_eq!(bench.provider.calls("/certs"), 2);
    bench.clock.advance(Duration::from_millis(9_900));
    for answer in join_all((0..10).map(|_| bench.sign_in())).await {
        assert!(refused(answer).contains("no key of"));
    }
    assert_eq!(bench.provider.calls("/certs"), 3, "all waited for one");
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_make_a_sign_in_unavailable_and_not_refused() {
    let bench = Bench::new().await;
    bench.provider.edit_jwks(|document| *document = json!("no key set"));
    assert!(unavailable(bench.sign_in().await).contains("/certs cannot be read"));
    assert!(bench.us().trouble().unwrap().contains("/certs"));
    bench.provider.edit_jwks(|_| {});
    bench.clock.advance(Duration::from_secs(1));
    bench.sign_in().await.unwrap();
    assert_eq!(bench.us().trouble(), None);
    // From here on the old keys serve, however old, while no new ones can be had.
    bench.provider.edit_jwks(|document| *document = json!("no key set"));
    bench.clock.advance(Duration::from_hours(1));
    bench.sign_in().await.unwrap();
}

#[tokio::test]
async fn groups_are_read_from_the_configured_claim_as_a_list_or_a_string() {
    for (claim, value, groups) in [
        ("groups", json!(["/eng/core", "/ops"]), vec!["/eng/core", "/ops"]),
        ("groups", json!("staff"), vec!["staff"]),
        ("groups", json!(["a", 5, null, "b"]), vec![]),
        ("groups", json!({"a": true}), vec![]),
        ("groups", json!(null), vec![]),
        ("https://example.com/groups", json!(["dotted.name"]), vec!["dotted.name"]),
    ] {
        let bench = Bench::with(|settings| settings.groups = GroupSources::claim(claim)).await;
        let mut user = json!({"sub": "u"});
        user[claim] = value.clone();
        bench.provider.sign_in_as(user);
        assert_eq!(bench.sign_in().await.unwrap().user.groups, groups, "{claim} {value}");
    }
    let bench = Bench::new().await;
    bench.provider.sign_in_as(json!({"sub": "u"}));
    assert_eq!(bench.sign_in().await.unwrap().user, portcullis::model::user::User::default());
}

#[tokio::test]
async fn a_long_key_set_with_a_repeated_key_works() {
    let bench = Bench::new().await;
    bench.provider.edit_jwks(|document| {
        let keys = document["keys"].as_array_mut().unwrap();
        let ours = keys.last().unwrap().clone();
        keys.insert(0, ours.clone());
        for at in 0..2000 {
            let mut other = ours.clone();
            other["kid"] = json!(format!("other-{at}"));
            keys.push(other);
        }
    });
    assert_eq!(bench.sign_in().await.unwrap().key, "alice-id");
}

#[tokio::test]
async fn two_different_keys_under_one_id_verify_nothing() {
    let bench = Bench::new().await;
    let other = TestKey::new(TestAlgorithm::Es256, "first").jwk();
    bench.provider.edit_jwks(move |document| document["keys"].as_array_mut().unwrap().push(other.clone()));
    assert!(refused(bench.sign_in().await).contains("is not believed"));
}

#[tokio::test]
async fn nbf_of_an_id_token_is_enforced_with_the_same_leeway() {
    for (nbf, good) in [
        (json!(NOW - 300), true),
        (json!(NOW + 60), true),
        (json!(NOW + 61), false),
        (json!(i64::MAX), false),
        (json!(1e300), false),
        (json!("soon"), false),
        (json!(null), false),
        (json!([NOW]), false),
    ] {
        let bench = Bench::new().await;
        let claim = nbf.clone();
        bench.provider.edit_id_token(move |_, claims| claims["nbf"] = claim.clone());
        let result = bench.sign_in().await;
        assert_eq!(result.is_ok(), good, "{nbf}: {result:?}");
        assert!(good || refused(result).contains("nbf"));
    }
}

#[tokio::test]
async fn a_key_that_is_not_for_verifying_signatures_is_not_used() {
    for (member, value, good) in [
        ("key_ops", json!(["verify"]), true),
        ("key_ops", json!(["sign", "verify"]), true),
        ("key_ops", json!(["encrypt", "wrapKey"]), false),
        ("key_ops", json!([]), false),
        ("key_ops", json!("verify"), false),
        ("use", json!("enc"), false),
        ("use", json!("tls"), false),
        ("use", json!(5), false),
    ] {
        let bench = Bench::new().await;
        let what = value.clone();
        bench.provider.edit_jwks(move |document| {
            for key in document["keys"].as_array_mut().unwrap() {
                if key["use"] == "sig" {
                    key[member] = what.clone();
                }
            }
        });
        let result = bench.sign_in().await;
        assert_eq!(result.is_ok(), good, "{member} {value}: {result:?}");
        assert!(good || unavailable(result).contains("holds no key that signs"));
    }
}

#[tokio::test]
async fn an_email_address_counts_only_if_verified_or_trusted_by_the_operator() {
    for (verified, trusted, counts) in [
        (json!(true), false, true),
        (json!("true"), false, true),
        (json!(false), false, false),
        (json!("TRUE"), false, false),
        (json!(1), false, false),
        (json!(null), false, false),
        (json!(null), true, true),
        (json!(false), true, true),
    ] {
        let bench = Bench::with(|settings| settings.trust_email = trusted).await;
        let mut user = json!({"sub": "u", "email": "alice@example.com"});
        if !verified.is_null() {
            user["email_verified"] = verified.clone();
        }
        bench.provider.sign_in_as(user);
        let (log, _guard) = crate::support::log::watch();
        for _ in 0..2 {
            let email = bench.sign_in().await.unwrap().user.email;
            assert_eq!(email.is_some(), counts, "{verified} {trusted}");
        }
        assert_eq!(
            log.text().matches("set trust_email = true").count(),
            usize::from(!counts),
            "the operator is told once"
        );
    }
}
