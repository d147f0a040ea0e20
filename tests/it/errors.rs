//! Malformed requests at every endpoint of ours: the RFC's code, the status, and an answer that repeats nothing of what came.

use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE};
use portcullis::oauth::paths::{Audience, Route};
use serde_json::json;

use crate::support::browser::{Browser, Form, location, parameter};
use crate::support::gate::{Answer, REDIRECT_URI, TestClient, TestGate, VERIFIER, resource_server};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
/// Input that no answer may repeat, in any spelling.
const MARK: &str = "zq9<b>zq9\"'\\zq9";

async fn post(gate: &TestGate, path: &str, kinds: &[&str], body: impl Into<bytes::Bytes>) -> Answer {
    // what a browser or a careless client would accept must not turn JSON into a page
    let request = gate.request("POST", path).header("accept", "text/html,*/*;q=0.8");
    gate.send(kinds.iter().fold(request, |request, kind| request.header(CONTENT_TYPE, *kind)), body).await
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// An error for a program: JSON that no cache stores, with the request's id, and nothing of the request in it.
#[track_caller]
fn assert_error(answer: &Answer, (status, code): (u16, &str), context: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (status, code), "{context}: {answer:?}");
    assert_eq!(answer.header("content-type"), JSON, "{context}: {answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store", "{context}: {answer:?}");
    assert!(answer.header("x-request-id").starts_with("q_"), "{context}: {answer:?}");
    let json = answer.json();
    let description = json["error_description"].as_str().unwrap_or_default();
    let allowed = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    assert!(!description.is_empty() && description.chars().all(allowed), "{context}: {answer:?}");
    assert_unrepeated(answer, context);
}

/// An error for a person: a page or a line of text that no cache stores, with the request's id.
#[track_caller]
fn assert_page(answer: &Answer, status: u16, context: &str) {
    assert_eq!((answer.status, answer.header("location")), (status, ""), "{context}: {answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store", "{context}: {answer:?}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{context}: {answer:?}");
    assert!(answer.header("x-request-id").starts_with("q_"), "{context}: {answer:?}");
    assert!(!answer.body.contains("<b>"), "{context}: {answer:?}");
}

#[track_caller]
fn assert_unrepeated(answer: &Answer, context: &str) {
    assert!(!answer.body.contains("zq9"), "{context} is repeated: {answer:?}");
    let fields = answer.headers.iter().filter(|(name, _)| *name != "x-request-id");
    for (name, value) in fields {
        assert!(!String::from_utf8_lossy(value.as_bytes()).contains("zq9"), "{context} is in {name}: {answer:?}");
    }
}

/// A redemption and a refresh that fail only because code and token are unknown.
fn token_requests(client: &TestClient) -> [Vec<(&str, &str)>; 2] {
    let redeem = vec![
        ("grant_type", "authorization_code"),
        ("client_id", &*client.id),
        ("code", "pcc_unknown"),
        ("redirect_uri", &*client.redirect_uri),
        ("code_verifier", VERIFIER),
    ];
    let refresh = vec![
        ("grant_type", "refresh_token"),
        ("client_id", &*client.id),
        ("refresh_token", "pcr_unknown"),
        ("scope", "mcp:access"),
    ];
    [redeem, refresh]
}

#[tokio::test]
async fn a_repeated_parameter_at_the_token_endpoint_is_invalid_request_whatever_else_is_wrong() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    for fields in token_requests(&client) {
        for at in 0..fields.len() {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, if *name == "code" { code.as_str() } else { value }))
                .collect();
            let (name, value) = fields[at];
            for again in [value, MARK, ""] {
                fields.push((name, again));
                let answer = post(&gate, "/token", &[FORM], form(&fields)).await;
                assert_error(&answer, (400, "invalid_request"), &format!("{name} twice, {again:?}"));
                fields.pop();
            }
        }
    }
    assert_eq!(gate.redeem(&client, &code).await.status, 200, "a malformed request spends no try of the code");
}

#[tokio::test]
async fn any_value_at_the_token_endpoint_gets_its_code_and_is_not_repeated() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let long = "zq9".repeat(20_000);
    for fields in token_requests(&client) {
        for at in 0..fields.len() {
            let (name, _) = fields[at];
            let status = match name {
                "client_id" => (401, "invalid_client"),
                "grant_type" => (400, "unsupported_grant_type"),
                // the code is unknown, so the rest is not looked at
                _ => (400, "invalid_grant"),
            };
            for value in [MARK, "a\0b", "\u{0}", "\u{202e}zq9", "é", &long] {
                let mut fields = fields.clone();
                fields[at] = (name, value);
                let answer = post(&gate, "/token", &[FORM], form(&fields)).await;
                assert_error(&answer, status, &format!("{name}={:.20}", value.escape_debug().to_string()));
            }
            let raw: Vec<u8> = form(&fields).into_bytes();
            let with = |bytes: &[u8]| [&raw[..], format!("&{name}=").as_bytes(), bytes].concat();
            let answer = post(&gate, "/token", &[FORM], with(b"\xff\xfe\x00")).await;
            assert_error(&answer, (400, "invalid_request"), &format!("{name} twice, once in broken UTF-8"));
            let mut others = fields.clone();
            others.remove(at);
            let broken = [form(&others).as_bytes(), format!("&{name}=").as_bytes(), b"%ff%fe\xff\x00"].concat();
            assert_error(&post(&gate, "/token", &[FORM], broken).await, status, &format!("{name} with broken UTF-8"));
        }
    }
}

#[tokio::test]
async fn a_missing_parameter_at_the_token_endpoint_is_invalid_request() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let code = gate.code(&client).await;
    for mut fields in token_requests(&client) {
        for (name, value) in &mut fields {
            if *name == "code" {
                *value = &code;
            }
        }
        for (name, _) in fields.clone() {
            // redirect_uri may be left out (OAuth 2.1 4.1.3), scope always
            if ["redirect_uri", "scope"].contains(&name) {
                continue;
            }
            let others: Vec<_> = fields.iter().copied().filter(|(other, _)| *other != name).collect();
            let answer = post(&gate, "/token", &[FORM], form(&others)).await;
            assert_error(&answer, (400, "invalid_request"), &format!("without {name}"));
        }
    }
}

#[tokio::test]
async fn only_a_form_is_read_at_the_token_endpoint_and_only_json_at_registration() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let [redeem, _] = token_requests(&client);
    let fields = form(&redeem);
    let object = serde_json::to_string(&redeem.iter().copied().collect::<std::collections::BTreeMap<_, _>>()).unwrap();
    let metadata = json!({"redirect_uris": [REDIRECT_URI]}).to_string();
    let multipart = "multipart/form-data; boundary=zq9";
    for (kinds, body) in [
        (&[][..], &fields),
        (&[""], &fields),
        (&[JSON], &object),
        (&["text/plain"], &fields),
        (&[multipart], &fields),
        (&["application/x-www-form-urlencodedzq9"], &fields),
        (&[FORM, JSON], &fields),
        (&[JSON, FORM], &fields),
    ] {
        let answer = post(&gate, "/token", kinds, body.clone()).await;
        assert_error(&answer, (400, "invalid_request"), &format!("/token {kinds:?}"));
    }
    for (kinds, body) in [
        (&[][..], &metadata),
        (&[FORM], &fields),
        (&["text/plain"], &metadata),
        (&[multipart], &metadata),
        (&["application/jsonp"], &metadata),
        (&[JSON, FORM], &metadata),
    ] {
        let answer = post(&gate, "/register", kinds, body.clone()).await;
        assert_error(&answer, (400, "invalid_client_metadata"), &format!("/register {kinds:?}"));
    }
    for kind in ["application/x-www-form-urlencoded; charset=utf-8", "Application/X-WWW-Form-URLEncoded"] {
        let answer = post(&gate, "/token", &[kind], fields.clone()).await;
        assert_error(&answer, (400, "invalid_grant"), kind);
    }
    assert_eq!(post(&gate, "/register", &["application/json;charset=UTF-8"], metadata).await.status, 201);
}

#[tokio::test]
async fn a_body_of_more_than_64_kib_is_413_at_every_endpoint_that_reads_one() {
    let gate = TestGate::new().await;
    let large = vec![b'z'; 64 * 1024 + 1];
    for (path, kind, code) in [("/token", FORM, "invalid_request"), ("/register", JSON, "invalid_client_metadata")] {
        assert_error(&post(&gate, path, &[kind], large.clone()).await, (413, code), path);
    }
    for path in ["/consent", "/sign-in/local"] {
        assert_page(&post(&gate, path, &[FORM], large.clone()).await, 413, path);
    }
}

#[tokio::test]
async fn an_empty_or_broken_body_gets_an_error_of_its_endpoint() {
    let gate = TestGate::new().await;
    for body in
        [&b""[..], b"\0", b"\xff\xfe", b"&&&==&", b"zq9", b"{", b"[]", b"null", b"\"zq9 <b>\"", b"{\"a\":1}", b"7"]
    {
        let context = String::from_utf8_lossy(body).into_owned();
        assert_error(&post(&gate, "/token", &[FORM], body).await, (400, "invalid_request"), &context);
        let answer = post(&gate, "/register", &[JSON], body).await;
        let code = if body == b"{\"a\":1}" { "invalid_redirect_uri" } else { "invalid_client_metadata" };
        assert_error(&answer, (400, code), &context);
        for path in ["/consent", "/sign-in/local"] {
            assert_page(&post(&gate, path, &[FORM], body).await, 400, &context);
            assert_page(&post(&gate, path, &[JSON], body).await, 400, &context);
        }
    }
    let many = "zq9=1&".repeat(65);
    assert_error(&post(&gate, "/token", &[FORM], many.clone()).await, (400, "invalid_request"), "65 parameters");
    assert_page(&post(&gate, "/consent", &[FORM], many).await, 400, "65 parameters");
}

#[tokio::test]
async fn registration_repeats_nothing_of_what_it_refuses() {
    let gate = TestGate::new().await;
    for uri in [
        MARK,
        "https://zq9.example/#zq9",
        "javascript:zq9",
        "zq9://zq9/zq9",
        "http://zq9.example/",
        "https://*.zq9.example/",
        "https://zq9.example\0/",
        "https://user:zq9@a.example/",
        &"zq9".repeat(300),
    ] {
        let answer = post(&gate, "/register", &[JSON], json!({"redirect_uris": [uri]}).to_string()).await;
        assert_error(&answer, (400, "invalid_redirect_uri"), uri);
    }
    for (body, code) in [
        (r#"{"zq9":}"#, "invalid_client_metadata"),
        (r#"{"redirect_uris":"zq9"}"#, "invalid_redirect_uri"),
        (r#"{"redirect_uris":[{"zq9":1}]}"#, "invalid_redirect_uri"),
        (r#"{"redirect_uris":["zq9"]"#, "invalid_client_metadata"),
    ] {
        assert_error(&post(&gate, "/register", &[JSON], body).await, (400, code), body);
    }
}

#[tokio::test]
async fn a_client_that_was_deleted_is_invalid_client_at_the_token_endpoint_and_a_page_at_authorize() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let [redeem, refresh] = token_requests(&client);
    gate.clock.advance(std::time::Duration::from_hours(24 * 40));
    gate.app.issuer().expire().await;
    for fields in [redeem, refresh] {
        let answer = post(&gate, "/token", &[FORM], form(&fields)).await;
        assert_error(&answer, (401, "invalid_client"), "a deleted client");
        assert_eq!(answer.header("www-authenticate"), "", "it did not send the header");
    }
    assert_page(&gate.get(&gate.authorize_path(&client, &[])).await, 400, "a deleted client");
}

#[tokio::test]
async fn an_authorization_header_that_is_no_client_gets_401_with_a_challenge_or_400() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let [redeem, _] = token_requests(&client);
    let basic = |pair: &[u8]| format!("Basic {}", data_encoding::BASE64.encode(pair));
    for (header, status) in [
        ("Bearer zq9".to_owned(), (401, "invalid_client")),
        ("Basic".to_owned(), (401, "invalid_client")),
        ("Basic zq9!".to_owned(), (401, "invalid_client")),
        (basic(b"no colon zq9"), (401, "invalid_client")),
        (basic(b"\xff\xfe:\xff"), (401, "invalid_client")),
        (basic(format!("{}:zq9", client.id).as_bytes()), (401, "invalid_client")),
        (basic(b"zq9:zq9"), (400, "invalid_request")),
        (basic(b"zq9%00:zq9"), (400, "invalid_request")),
    ] {
        let request = gate.request("POST", "/token").header(CONTENT_TYPE, FORM).header(AUTHORIZATION, &header);
        let answer = gate.send(request, form(&redeem)).await;
        assert_error(&answer, status, &header);
        assert_eq!(!answer.header("www-authenticate").is_empty(), status.0 == 401, "{header}");
    }
    let unnamed: Vec<_> = redeem.iter().copied().filter(|(name, _)| *name != "client_id").collect();
    let header = basic("zq9\0é%00:zq9".as_bytes());
    let request = gate.request("POST", "/token").header(CONTENT_TYPE, FORM).header(AUTHORIZATION, &header);
    assert_error(&gate.send(request, form(&unnamed)).await, (401, "invalid_client"), "NUL in a client id");
    let twice = gate.request("POST", "/token").header(CONTENT_TYPE, FORM);
    let twice = twice.header(AUTHORIZATION, "Basic zq9").header(AUTHORIZATION, "Basic zq9");
    assert_error(&gate.send(twice, form(&redeem)).await, (400, "invalid_request"), "two headers");
}

#[tokio::test]
async fn a_repeated_parameter_at_authorize_stays_on_a_page_or_goes_to_a_trusted_address_as_invalid_request() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    for (name, value) in [
        ("response_type", "code"),
        ("response_mode", "query"),
        ("code_challenge", "zq9"),
        ("code_challenge_method", "S256"),
        ("scope", "mcp:access"),
    ] {
        let once = gate.authorize_path(&client, &[(name, value)]);
        let place = location(&gate.get(&format!("{once}&{name}=zq9")).await);
        assert_eq!(parameter(&place, "error").as_deref(), Some("invalid_request"), "{name}: {place}");
        assert!(!parameter(&place, "error_description").unwrap().contains("zq9"), "{name}: {place}");
    }
    for name in ["client_id", "redirect_uri", "state"] {
        let path = format!("{}&{name}=zq9", gate.authorize_path(&client, &[]));
        let answer = gate.get(&path).await;
        assert_page(&answer, 400, name);
        assert_unrepeated(&answer, name);
    }
}

#[tokio::test]
async fn any_value_at_a_page_is_escaped_or_left_out() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    for name in ["client_id", "redirect_uri", "state", "scope", "resource", "response_type", "code_challenge", "zq9"] {
        for value in [MARK, "a\0b", "<script>alert(1)</script>", "\u{202e}<b>"] {
            let answer = gate.get(&gate.authorize_path(&client, &[(name, value)])).await;
            assert!([200, 303, 400].contains(&answer.status), "{name}: {answer:?}");
            assert_eq!(answer.header("cache-control"), "no-store", "{name}");
            assert!(!answer.body.contains("<b>") && !answer.body.contains("<script"), "{name}: {answer:?}");
        }
    }
    for path in ["/callback/local", "/callback/zq9", "/sign-in/local", "/sign-in/zq9"] {
        for name in ["state", "code", "error", "error_description", "iss", "authorization"] {
            for value in ["zq9%3Cb%3E", "%00", "%ff%fe", &format!("zq9&{name}=zq9"), &"zq9".repeat(2_000)] {
                let answer = gate.get(&format!("{path}?{name}={value}")).await;
                assert_page(&answer, 400, &format!("{path}?{name}={value:.30}"));
                assert_unrepeated(&answer, path);
            }
        }
    }
}

#[tokio::test]
async fn a_form_of_ours_with_repeated_or_foreign_fields_is_refused_and_repeats_nothing() {
    let gate = TestGate::new().await;
    let client = gate.register().await;
    let mut browser = Browser::default();
    let consent = gate.consent_form(&mut browser, &client, &[]).await;
    let consent = consent.with("decision", "approve").with("identity", "local");
    let refused = async |browser: &mut Browser, form: Form, context: String| {
        let answer = browser.submit(&gate, &form).await;
        assert_page(&answer, 400, &context);
        assert_unrepeated(&answer, &context);
    };
    for name in ["form", "decision", "identity"] {
        let mut twice = consent.clone();
        twice.fields.push((name.to_owned(), MARK.to_owned()));
        refused(&mut browser, twice, format!("{name} twice")).await;
        for value in [MARK, "a\0b", "", &"zq9".repeat(10_000)] {
            refused(&mut browser, consent.clone().with(name, value), format!("{name} {value:.10}")).await;
        }
    }
    assert!(location(&browser.submit(&gate, &consent).await).contains("/sign-in/"), "the form itself still works");
}

#[tokio::test]
async fn a_method_that_an_endpoint_does_not_have_is_405_with_allow_and_no_page_for_programs() {
    let gate = TestGate::with(|config| {
        config.device.enabled = true;
        config.clients.push(resource_server("server", &["mcp"]));
    })
    .await;
    for route in Route::ALL {
        let path = route.path().split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        // PUT and DELETE belong to a client that manages itself
        let has_more = *route == Route::RegisteredClient;
        for method in ["PATCH", "TRACE", "FOO", "PUT", "DELETE"].into_iter().take(if has_more { 3 } else { 5 }) {
            if *route == Route::RegisteredClient && ["PUT", "DELETE"].contains(&method) {
                continue;
            }
            let request = gate.request(method, &path).header("accept", "text/html").header(CONTENT_TYPE, FORM);
            let answer = gate.send(request, "zq9=<b>").await;
            let context = format!("{method} {path}");
            assert!(answer.headers.contains_key(ALLOW), "{context}: {answer:?}");
            match route.audience() {
                Audience::Program | Audience::Server => assert_error(&answer, (405, "invalid_request"), &context),
                Audience::Page => assert_page(&answer, 405, &context),
            }
        }
    }
}

#[tokio::test]
async fn every_answer_that_is_not_a_public_document_is_kept_by_no_cache() {
    let gate = TestGate::new().await;
    for path in
        ["/", "/nowhere", "/.well-known/nothing", "/.well-known/oauth-protected-resource/elsewhere", "/mcp", "/token"]
    {
        let answer = gate.get(path).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}: {answer:?}");
        assert!(answer.header("x-request-id").starts_with("q_"), "{path}");
    }
}
