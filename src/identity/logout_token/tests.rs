use proptest::prelude::*;
use serde_json::{Value, json};

use super::{EVENT, Expected, LogoutToken, REVOKE_OFFLINE, check};
use crate::clock::Timestamp;
use crate::keys::SignedJwt;

const NOW: i64 = 1_800_000_000;
const EXPECTED: Expected<'_> =
    Expected { issuer: "https://sso.example.com/realms/mcp", client_id: "portcullis", now: Timestamp(NOW) };

/// As Keycloak makes it.
fn claims() -> Value {
    json!({"iss": EXPECTED.issuer, "aud": "portcullis", "sub": "u", "sid": "s", "typ": "Logout", "jti": "j",
        "iat": NOW, "exp": NOW + 120, "events": {EVENT: {}}})
}

fn checked(typ: Option<&str>, claims: &Value) -> Result<LogoutToken, String> {
    check(typ, &SignedJwt::of_claims(claims.clone()).claims, &EXPECTED)
}

/// The claims with one of them changed, or taken away.
fn with(name: &str, value: &Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value.clone(),
    }
    claims
}

#[test]
fn a_logout_token_names_user_and_session_and_keycloaks_wish_for_offline_access() {
    let token = checked(Some("logout+jwt"), &claims()).unwrap();
    let expected = LogoutToken {
        jti: "j".to_owned(),
        key: Some("u".to_owned()),
        sid: Some("s".to_owned()),
        ends_offline: false,
        issued_at: Timestamp(NOW),
        refused_from: Timestamp(NOW + 180),
    };
    assert_eq!(token, expected);
    for (wish, ends) in [(json!(true), true), (json!(false), false), (json!("true"), false), (json!({}), false)] {
        let events = json!({EVENT: {}, REVOKE_OFFLINE: wish});
        assert_eq!(checked(None, &with("events", &events)).unwrap().ends_offline, ends, "{wish}");
    }
}

#[test]
fn each_rule_of_a_logout_token_is_checked_by_itself() {
    for typ in [Some("at+jwt"), Some("id_token"), Some("dpop+jwt"), Some("")] {
        assert!(checked(typ, &claims()).is_err(), "{typ:?}");
    }
    for typ in [None, Some("jwt"), Some("logout+jwt")] {
        assert!(checked(typ, &claims()).is_ok(), "{typ:?}");
    }
    let uri = EVENT.to_owned();
    for (claim, value) in [
        ("iss", json!("https://other.example.com")),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", json!(["portcullis", "other"])),
        ("aud", Value::Null),
        ("azp", json!("other")),
        ("iat", Value::Null),
        ("iat", json!(NOW + 61)),
        ("iat", json!("now")),
        ("exp", json!(NOW - 60)),
        ("exp", json!("never")),
        ("nbf", json!(NOW + 61)),
        ("nonce", json!("n")),
        ("nonce", json!("")),
        ("events", Value::Null),
        ("events", json!(uri)),
        ("events", json!([uri])),
        ("events", json!([])),
        ("events", json!({})),
        ("events", json!({uri.clone(): true})),
        ("events", json!({uri.clone(): []})),
        ("events", json!({format!("{uri}/"): {}})),
        ("events", json!({"http://schemas.openid.net/event/other": {}})),
        ("jti", Value::Null),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("jti", json!("j".repeat(2000))),
        ("sid", json!("")),
        ("sid", json!(["s"])),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("u\u{e4}")),
        ("typ", json!("ID")),
        ("typ", json!("Bearer")),
        ("typ", json!("Refresh")),
    ] {
        assert!(checked(None, &with(claim, &value)).is_err(), "{claim}: {value}");
    }
    let mut of_no_one = with("sub", &Value::Null);
    of_no_one.as_object_mut().unwrap().remove("sid");
    assert!(checked(None, &of_no_one).is_err());
    let mut with_null = claims();
    with_null["nonce"] = Value::Null;
    assert!(checked(None, &with_null).is_err(), "a nonce of null is a nonce");
}

#[test]
fn a_logout_token_may_name_the_user_alone_or_the_session_alone() {
    let of_user = checked(None, &with("sid", &Value::Null)).unwrap();
    assert_eq!((of_user.key.as_deref(), of_user.sid), (Some("u"), None));
    let of_session = checked(None, &with("sub", &Value::Null)).unwrap();
    assert_eq!((of_session.key, of_session.sid.as_deref()), (None, Some("s")));
    assert!(checked(None, &with("typ", &Value::Null)).is_ok());
    assert!(checked(None, &with("aud", &json!(["portcullis"]))).is_ok());
}

#[test]
fn a_logout_token_is_refused_a_minute_after_its_end_and_without_end_after_three() {
    for (claim, value, refused_from) in [
        ("exp", json!(NOW - 59), NOW + 1),
        ("exp", Value::Null, NOW + 180),
        ("exp", json!(253_402_300_799_i64), NOW + 86_400 + 60),
    ] {
        let token = checked(None, &with(claim, &value)).unwrap();
        assert_eq!(token.refused_from, Timestamp(refused_from), "{claim}: {value}");
    }
    let mut old = with("exp", &Value::Null);
    old["iat"] = json!(NOW - 180);
    assert!(checked(None, &old).is_err());
    old["iat"] = json!(NOW - 179);
    assert!(checked(None, &old).is_ok());
}

fn hostile() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "portcullis|Logout|[a-zA-Z0-9:/._-]{0,20}|.{0,8}".prop_map(Value::from),
        Just(json!(["portcullis", "other"])),
        Just(json!({EVENT: {}})),
        Just(json!({EVENT: {"a": [1]}, "other": null})),
    ]
}

proptest! {
    #[test]
    fn whatever_the_claims_are_only_those_of_a_logout_sign_someone_out(
        typ in proptest::option::of("jwt|logout\\+jwt|.{0,8}"),
        changes in proptest::collection::vec(
            ("iss|aud|azp|exp|iat|nbf|nonce|sub|sid|jti|events|typ", hostile()), 0..4),
    ) {
        let mut claims = claims();
        for (name, value) in changes {
            claims[name] = value;
        }
        let Ok(token) = checked(typ.as_deref(), &claims) else { return Ok(()) };
        prop_assert_eq!(&claims["iss"], EXPECTED.issuer);
        prop_assert!(claims["aud"].to_string().contains("\"portcullis\""));
        prop_assert!(claims["events"][EVENT].is_object());
        prop_assert!(claims.get("nonce").is_none());
        prop_assert!(token.key.is_some() || token.sid.is_some());
        prop_assert!(!token.jti.is_empty());
        prop_assert!(token.refused_from > EXPECTED.now);
    }
}
