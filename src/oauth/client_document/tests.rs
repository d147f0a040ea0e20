use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ClientDocument, DocumentMethods, DocumentRefusal};
use crate::oauth::client_id_url::ClientIdUrl;
use crate::oauth::client_keys::ClientKeys;
use crate::oauth::redirect_uri::RedirectPolicy;

const ID: &str = "https://client.example/metadata.json";

fn minimal() -> Value {
    json!({"client_id": ID, "client_name": "Client", "redirect_uris": ["http://127.0.0.1/callback"]})
}

fn read(document: &Value) -> Result<ClientDocument, DocumentRefusal> {
    let policy = RedirectPolicy::new(vec!["claude://claude.ai/mcp-auth-callback/sdk".to_owned()]);
    ClientDocument::read(&ClientIdUrl::parse(ID).unwrap(), document.to_string().as_bytes(), &policy)
}

fn with(member: &str, value: Value) -> Value {
    let mut document = minimal();
    document[member] = value;
    document
}

#[test]
fn id_name_and_redirect_uris_are_required_and_nothing_else() {
    let client = read(&minimal()).unwrap();
    assert_eq!((client.client_name.as_str(), client.refresh_token), ("Client", true));
    assert_eq!(client.methods, DocumentMethods { none: true, private_key_jwt: false });
    for member in ["client_id", "client_name", "redirect_uris"] {
        for bad in [Value::Null, json!(7), json!({}), json!([]), json!("")] {
            assert!(read(&with(member, bad.clone())).is_err(), "{member}: {bad}");
        }
    }
    let nameless = read(&with("client_name", json!("\u{202e}\u{200b} "))).unwrap_err();
    assert_eq!(nameless, DocumentRefusal::NoName, "what is left after cleaning counts");
}

#[test]
fn a_document_speaks_for_the_url_that_it_was_fetched_from_and_no_other() {
    for other in [
        "https://client.example/metadata",
        "https://client.example/metadata.json?",
        "https://client.example:443/metadata.json",
        "https://CLIENT.example/metadata.json",
        "https://client.example//metadata.json",
        "https://client.example/metadata.json#",
        "https://evil.example/metadata.json",
    ] {
        assert_eq!(read(&with("client_id", json!(other))).unwrap_err(), DocumentRefusal::OtherClient, "{other}");
    }
}

#[test]
fn secrets_and_methods_that_need_one_are_refused() {
    for (member, value) in [
        ("client_secret", json!("s3cret")),
        ("client_secret", json!("")),
        ("client_secret_expires_at", json!(0)),
        ("token_endpoint_auth_method", json!("client_secret_basic")),
        ("token_endpoint_auth_method", json!("client_secret_post")),
        ("token_endpoint_auth_method", json!("client_secret_jwt")),
        ("token_endpoint_auth_methods_supported", json!(["none", "client_secret_post"])),
    ] {
        assert_eq!(read(&with(member, value.clone())).unwrap_err(), DocumentRefusal::Secret, "{member}: {value}");
    }
    assert!(read(&with("client_secret", Value::Null)).is_ok(), "null is as good as missing");
}

#[test]
fn the_plural_methods_count_before_the_singular() {
    for (plural, singular, none, keys) in [
        (json!(null), json!(null), true, false),
        (json!(null), json!("none"), true, false),
        (json!(null), json!("private_key_jwt"), false, true),
        (json!(["none", "private_key_jwt"]), json!("private_key_jwt"), true, true),
        (json!(["private_key_jwt"]), json!("none"), false, true),
        (json!(["none"]), json!("private_key_jwt"), true, false),
        (json!([]), json!("private_key_jwt"), false, true),
        (json!("none"), json!("private_key_jwt"), false, true),
        (json!([7, "none"]), json!("private_key_jwt"), true, false),
        (json!(["tls_client_auth"]), json!("none"), false, false),
        (json!(null), json!("tls_client_auth"), false, false),
    ] {
        let mut document = with("token_endpoint_auth_methods_supported", plural.clone());
        document["token_endpoint_auth_method"] = singular.clone();
        let methods = read(&document).unwrap().methods;
        assert_eq!((methods.none, methods.private_key_jwt), (none, keys), "{plural} {singular}");
    }
}

#[test]
fn redirect_uris_are_held_to_the_rules_of_registration() {
    let uris = json!([
        "javascript:alert(1)",
        "http://evil.example/cb",
        "cursor://listed.nowhere/cb",
        "claude://claude.ai/mcp-auth-callback/sdk",
        "https://client.example/cb#f",
        7,
        "http://localhost/callback"
    ]);
    let client = read(&with("redirect_uris", uris)).unwrap();
    let left: Vec<_> = client.redirect_uris.iter().map(ToString::to_string).collect();
    assert_eq!(left, ["claude://claude.ai/mcp-auth-callback/sdk", "http://localhost/callback"]);
    let none = read(&with("redirect_uris", json!(["http://evil.example/cb"]))).unwrap_err();
    assert!(matches!(none, DocumentRefusal::RedirectUris(_)), "{none}");
    let many: Vec<_> = (0..11).map(|n| format!("https://client.example/{n}")).collect();
    assert!(read(&with("redirect_uris", json!(many))).is_err());
}

#[test]
fn optional_members_of_the_wrong_type_are_ignored_and_unknown_ones_too() {
    for member in [
        "grant_types",
        "response_types",
        "scope",
        "application_type",
        "jwks",
        "jwks_uri",
        "logo_uri",
        "client_uri",
        "contacts",
        "token_endpoint_auth_method",
        "unknown",
    ] {
        for odd in [json!(7), json!({"a": [1]}), json!([[[]]]), json!(""), Value::Null] {
            let client = read(&with(member, odd.clone())).unwrap_or_else(|why| panic!("{member}: {odd}: {why}"));
            assert!(client.keys.is_none() && client.application_type.is_none());
        }
    }
    let http = read(&with("jwks_uri", json!("http://client.example/keys"))).unwrap();
    assert_eq!(http.keys, None);
}

#[test]
fn keys_inside_of_a_document_count_before_those_at_its_jwks_uri_and_a_private_key_never() {
    let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let key = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
    let mut private = key.clone();
    private["d"] = json!("AAAA");
    let at = "https://client.example/keys";
    let keys = |jwks: &Value, uri: &Value| {
        let mut document = with("jwks", jwks.clone());
        document["jwks_uri"] = uri.clone();
        read(&document).unwrap().keys
    };
    let url = Some(ClientKeys::Url(at.to_owned()));
    assert!(matches!(keys(&json!({"keys": [key]}), &json!(at)), Some(ClientKeys::Set(set)) if set.keys.len() == 1));
    assert_eq!(keys(&json!({"keys": [private]}), &json!(at)), url);
    assert_eq!(keys(&Value::Null, &json!(at)), url);
    assert_eq!(keys(&json!({"keys": [private]}), &Value::Null), None);
}

#[test]
fn what_is_no_json_object_is_refused() {
    let url = ClientIdUrl::parse(ID).unwrap();
    for text in ["", "[]", "\"x\"", "null", "<html>", "{\"client_id\":", "\u{feff}{}", "{} x"] {
        let refusal = ClientDocument::read(&url, text.as_bytes(), &RedirectPolicy::default()).unwrap_err();
        assert_eq!(refusal, DocumentRefusal::NotAnObject, "{text:?}");
    }
    let binary = ClientDocument::read(&url, &[0xff, 0xfe], &RedirectPolicy::default()).unwrap_err();
    assert_eq!(binary, DocumentRefusal::NotAnObject);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let url = ClientIdUrl::parse(ID).unwrap();
        prop_assert!(ClientDocument::read(&url, &bytes, &RedirectPolicy::default()).is_err());
    }

    #[test]
    fn a_document_that_is_accepted_has_a_name_and_redirect_uris(
        name in "\\PC{0,20}",
        uris in prop::collection::vec("(https?|cursor|javascript)://[a-z.@]{0,12}/\\PC{0,6}", 0..4),
        method in "(none|private_key_jwt|client_secret_[a-z]{0,5}|\\PC{0,8})",
    ) {
        let document = json!({
            "client_id": ID, "client_name": name, "redirect_uris": uris, "token_endpoint_auth_method": method,
        });
        if let Ok(client) = read(&document) {
            prop_assert!(!client.client_name.is_empty() && !client.redirect_uris.is_empty());
            prop_assert!(!method.starts_with("client_secret_"));
        }
    }
}
