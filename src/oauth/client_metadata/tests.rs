//! What a registration accepts, drops and replaces.

use proptest::prelude::*;

use super::{AuthMethod, RegistrationRequest};
use crate::oauth::redirect_uri::RedirectPolicy;

fn register(json: &str) -> Result<super::ClientMetadata, String> {
    let request = RegistrationRequest::parse(json.as_bytes()).map_err(|error| error.to_string())?;
    request.validate(&RedirectPolicy::default(), true).map_err(|error| error.to_string())
}

#[test]
fn disallowed_redirect_uris_are_dropped_and_the_rest_is_registered() {
    let client = register(
        r#"{"redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback","http://localhost:8787/callback","http://evil/"],
            "scope":"","token_endpoint_auth_method":null,"jwks":{"keys":[]},"grant_types":["authorization_code","urn:x"]}"#,
    )
    .unwrap();
    let uris: Vec<_> = client.redirect_uris.iter().map(super::RedirectUri::as_str).collect();
    assert_eq!(uris, ["http://localhost:8787/callback"]);
    assert_eq!(client.token_endpoint_auth_method, AuthMethod::None);
    assert!(!client.refresh_token && client.scope.is_empty());
}

#[test]
fn a_refused_registration_says_what_is_wrong() {
    for (json, words) in [
        (r"{}", "invalid_redirect_uri: redirect_uris is missing, empty or not a list of strings"),
        (
            r#"{"redirect_uris":"https://a/"}"#,
            "invalid_redirect_uri: redirect_uris is missing, empty or not a list of strings",
        ),
        (
            r#"{"redirect_uris":["http://evil/"]}"#,
            "invalid_redirect_uri: the first of redirect_uris is neither https, nor http on a loopback address, nor an allowed private-use URI",
        ),
    ] {
        assert_eq!(register(json).unwrap_err(), words);
    }
}

#[test]
fn an_optional_member_of_the_wrong_type_is_ignored() {
    for value in ["null", "7", "true", "[]", "{}", r#"[null,7,"x"]"#, r#""\ud800""#, r#""""#, "1e999", &"[".repeat(500)]
    {
        let value = format!("{value}{}", "]".repeat(if value.len() == 500 { 500 } else { 0 }));
        for member in [
            "client_name",
            "token_endpoint_auth_method",
            "grant_types",
            "response_types",
            "scope",
            "application_type",
            "client_uri",
            "contacts",
            "jwks",
        ] {
            let client = register(&format!(r#"{{"{member}":{value},"redirect_uris":["https://a/",null,7]}}"#));
            let client = client.unwrap_or_else(|why| panic!("{member} {value}: {why}"));
            assert_eq!(client.redirect_uris.len(), 1);
            assert_eq!(client.token_endpoint_auth_method, AuthMethod::None);
            assert!(client.client_name.is_none() && client.application_type.is_none() && client.scope.is_empty());
        }
    }
}

#[test]
fn unsupported_client_metadata_is_replaced() {
    let client = register(
        r#"{"redirect_uris":["https://a/"],"token_endpoint_auth_method":"tls_client_auth","response_types":["token"],
            "grant_types":["client_credentials"],"client_name":" Cl\u202Eedual\u2713\n","scope":"a\"b mcp:access  c",
            "client_name":"Claude\u2713\n"}"#,
    )
    .unwrap();
    assert_eq!(client.token_endpoint_auth_method, AuthMethod::None);
    assert!(!client.refresh_token);
    assert_eq!(client.client_name.as_deref(), Some("Claude"));
    assert_eq!(client.scope.to_string(), "c mcp:access");
}

/// Any JSON value.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,20}".prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map("\\PC{0,8}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The name of a member: mostly one that means something.
fn member() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "client_name",
        "client_uri",
        "token_endpoint_auth_method",
        "grant_types",
        "response_types",
        "scope",
        "application_type",
        "contacts",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "\\PC{0,12}"]
}

proptest! {
    #[test]
    fn any_object_with_an_allowed_redirect_uri_registers(members in prop::collection::hash_map(member(), json(), 0..6)) {
        let mut object: serde_json::Map<_, _> = members.into_iter().collect();
        object.insert("redirect_uris".to_owned(), serde_json::json!(["https://a.example/cb"]));
        let client = register(&serde_json::Value::Object(object).to_string());
        prop_assert_eq!(client.map(|client| client.redirect_uris.len()), Ok(1));
    }

    #[test]
    fn no_body_registers_a_client_without_an_allowed_redirect_uri(body in "\\PC{0,200}") {
        if let Ok(client) = register(&body) {
            prop_assert!(!client.redirect_uris.is_empty());
        }
    }
}
