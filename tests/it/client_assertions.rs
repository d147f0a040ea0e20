//! Clients that authenticate by signed assertions (`private_key_jwt`), and attacks on them.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use portcullis::config::ConfiguredClient;
use portcullis::oauth::client_keys::ClientKeys;
use portcullis::oauth::client_metadata::AuthMethod;
use portcullis::secret::{base64url, random};
use serde_json::{Value, json};

use crate::engines::also_on_postgres;
use crate::support::gate::{Answer, REDIRECT_URI, TestClient, TestGate, VERIFIER, WORKS, tokens};
use crate::support::log::watch;
use crate::support::provider::{FakeProvider, TestAlgorithm, TestKey};

also_on_postgres! {
    assertion_replay_is_refused_in_every_process,
    a_used_assertion_is_remembered_for_as_long_as_it_could_be_accepted,
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const HERE: &str = "192.0.2.1";

/// A client with keys, and the key that it signs with.
struct Signer {
    id: String,
    key: TestKey,
}

impl Signer {
    /// Registers with its key in the metadata.
    async fn register(gate: &TestGate, algorithm: TestAlgorithm) -> Self {
        let key = TestKey::new(algorithm, "k1");
        let id = register(gate, &json!({"jwks": {"keys": [key.jwk()]}})).await;
        Self { id, key }
    }

    /// An assertion in good order, whose header and claims are then edited.
    fn edited(&self, gate: &TestGate, edit: impl FnOnce(&mut Value, &mut Value)) -> String {
        let now = gate.clock.now().0;
        let mut header = json!({"alg": self.key.algorithm_name(), "kid": self.key.kid(), "typ": "JWT"});
        let mut claims = json!({
            "iss": self.id, "sub": self.id, "aud": gate.origin(),
            "jti": base64url(&random::<16>()), "iat": now, "exp": now + MINUTE,
        });
        edit(&mut header, &mut claims);
        self.key.jws(&header, &claims)
    }

    fn assertion(&self, gate: &TestGate) -> String {
        self.edited(gate, |_, _| {})
    }

    /// The same with other claims; null takes one away.
    fn claiming(&self, gate: &TestGate, changes: &[(&str, Value)]) -> String {
        self.edited(gate, |_, claims| change(claims, changes))
    }

    /// The same with another header; null takes a member away.
    fn headed(&self, gate: &TestGate, changes: &[(&str, Value)]) -> String {
        self.edited(gate, |header, _| change(header, changes))
    }
}

fn change(object: &mut Value, changes: &[(&str, Value)]) {
    let members = object.as_object_mut().unwrap();
    for (name, value) in changes {
        members.remove(*name);
        if !value.is_null() {
            members.insert((*name).to_owned(), value.clone());
        }
    }
}

/// Registers a client that signs, with this about its keys.
async fn register(gate: &TestGate, keys: &Value) -> String {
    let mut metadata = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "private_key_jwt"});
    metadata.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let answer = gate.post_json("/register", &metadata).await;
    assert_eq!((answer.status, &answer.json()["token_endpoint_auth_method"]), (201, &json!("private_key_jwt")));
    answer.json()["client_id"].as_str().unwrap().to_owned()
}

/// A token request with this assertion and more fields, from an address.
async fn post_from(gate: &TestGate, from: &str, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = vec![("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    fields.extend(more);
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = gate.request("POST", "/token").header("content-type", "application/x-www-form-urlencoded");
    gate.send_from(from.parse::<IpAddr>().unwrap(), request, body).await
}

/// The outcome for an assertion: an authenticated client is told that the code is unknown.
async fn outcome(gate: &TestGate, assertion: &str) -> String {
    outcome_from(gate, HERE, assertion).await
}

async fn outcome_from(gate: &TestGate, from: &str, assertion: &str) -> String {
    let redemption = [("grant_type", "authorization_code"), ("code", "pcc_x"), ("code_verifier", VERIFIER)];
    let answer = post_from(gate, from, assertion, &redemption).await;
    match (answer.status, answer.error().as_str()) {
        (400, "invalid_grant") => "authenticated".to_owned(),
        (401, "invalid_client") => "refused".to_owned(),
        (503, "temporarily_unavailable") => "unavailable".to_owned(),
        (429, "temporarily_unavailable") => "limited".to_owned(),
        _ => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn a_client_with_keys_redeems_and_refreshes_by_assertions_alone() {
    let gate = TestGate::new().await;
    for algorithm in [TestAlgorithm::Es256, TestAlgorithm::Rs256, TestAlgorithm::Ps256] {
        let signer = Signer::register(&gate, algorithm).await;
        let client = TestClient { id: signer.id.clone(), redirect_uri: REDIRECT_URI.to_owned() };
        let code = gate.code(&client).await;
        let redemption = [("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", VERIFIER)];
        let given = tokens(&post_from(&gate, HERE, &signer.assertion(&gate), &redemption).await);
        assert_eq!(gate.call(&given.access).await.status, WORKS);
        let refresh =
            [("grant_type", "refresh_token"), ("refresh_token", given.refresh.as_str()), ("client_id", &signer.id)];
        tokens(&post_from(&gate, HERE, &signer.assertion(&gate), &refresh).await);
    }
}

#[tokio::test]
async fn a_configured_client_signs_with_the_keys_that_the_operator_named() {
    let key = TestKey::new(TestAlgorithm::Es256, "k1");
    let jwks = json!({"keys": [key.jwk()]}).to_string();
    let gate = TestGate::with(|config| {
        config.clients.push(ConfiguredClient {
            device: false,
            client_id: "machine".to_owned(),
            name: None,
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            client_secret: None,
            keys: ClientKeys::read(Some(&jwks), None).unwrap(),
            auth_method: AuthMethod::PrivateKeyJwt,
            dpop_bound: false,
            introspects: Vec::new(),
            machine: None,
        });
    })
    .await;
    let signer = Signer { id: "machine".to_owned(), key };
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated");
    let bare = gate.post_form("/token", &[("grant_type", "refresh_token"), ("client_id", "machine")]).await;
    assert_eq!((bare.status, bare.error().as_str()), (401, "invalid_client"));
}

#[tokio::test]
async fn a_key_for_one_rsa_padding_does_not_verify_the_other() {
    let gate = TestGate::new().await;
    let supported = gate.get("/.well-known/oauth-authorization-server").await.json();
    let supported = &supported["token_endpoint_auth_signing_alg_values_supported"];
    assert!(supported.as_array().unwrap().contains(&json!("PS256")), "{supported}");
    let [plain, pss] = [TestAlgorithm::Rs256, TestAlgorithm::Ps256];
    for (registered, used) in [(plain, pss), (pss, plain)] {
        let signer = Signer::register(&gate, registered).await;
        let other = Signer { id: signer.id.clone(), key: TestKey::new(used, "k1") };
        assert_eq!(outcome(&gate, &other.assertion(&gate)).await, "refused", "the alg of the key is another");
        let disguised = other.headed(&gate, &[("alg", json!(signer.key.algorithm_name()))]);
        assert_eq!(outcome(&gate, &disguised).await, "refused", "the padding is another");
        assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated");
    }
}

#[tokio::test]
async fn an_ed25519_key_signs_assertions() {
    let gate = TestGate::new().await;
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = base64url(pair.public_key().as_ref());
    let id = register(&gate, &json!({"jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}})).await;
    let now = gate.clock.now().0;
    let claims = json!({"iss": id, "sub": id, "aud": gate.origin(), "jti": "1", "exp": now + MINUTE});
    let encode = |part: &Value| base64url(part.to_string().as_bytes());
    let message = format!("{}.{}", encode(&json!({"alg": "EdDSA"})), encode(&claims));
    let assertion = format!("{message}.{}", base64url(pair.sign(message.as_bytes()).as_ref()));
    assert_eq!(outcome(&gate, &assertion).await, "authenticated");
}

#[tokio::test]
async fn assertions_are_accepted_as_libraries_make_them() {
    let gate = TestGate::new().await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let now = gate.clock.now().0;
    let (issuer, token_endpoint) = (gate.origin().to_owned(), format!("{}/token", gate.origin()));
    for changes in [
        [("aud", json!(issuer))],
        [("aud", json!([issuer]))],
        [("aud", json!(format!("{issuer}/")))],
        [("aud", json!(token_endpoint))],
        [("aud", json!([issuer, token_endpoint]))],
        [("exp", json!(now + HOUR))],
        [("exp", json!(now - 59))],
        [("exp", json!(i32::try_from(now + MINUTE).map(f64::from).unwrap() + 0.5))],
        [("iat", Value::Null)],
        [("iat", json!(now + 59))],
        [("iat", json!(now - HOUR))],
        [("nbf", json!(now + 60))],
        [("scope", json!("whatever"))],
    ] {
        assert_eq!(outcome(&gate, &signer.claiming(&gate, &changes)).await, "authenticated", "{changes:?}");
    }
    for changes in [
        [("typ", Value::Null)],
        [("typ", json!("jwt"))],
        [("typ", json!("client-authentication+jwt"))],
        [("typ", json!("application/client-authentication+jwt"))],
        [("kid", Value::Null)],
        [("x5t", json!("abc"))],
    ] {
        assert_eq!(outcome(&gate, &signer.headed(&gate, &changes)).await, "authenticated", "{changes:?}");
    }
}

#[tokio::test]
async fn an_assertion_with_any_wrong_claim_is_refused() {
    let gate = TestGate::new().await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let other = Signer::register(&gate, TestAlgorithm::Es256).await;
    let now = gate.clock.now().0;
    let issuer = gate.origin().to_owned();
    for changes in [
        &[("aud", Value::Null)][..],
        &[("aud", json!(""))],
        &[("aud", json!([]))],
        &[("aud", json!(7))],
        &[("aud", json!("https://other.example"))],
        &[("aud", json!([issuer, "https://other.example"]))],
        &[("aud", json!(["https://other.example/token", issuer]))],
        &[("aud", json!(vec![issuer.clone(); 5]))],
        &[("aud", json!(format!("{issuer}//")))],
        &[("aud", json!(format!("{issuer}/token/")))],
        &[("aud", json!(format!("{issuer}/register")))],
        &[("aud", json!(issuer.to_uppercase()))],
        &[("iss", json!("https://idp.example"))],
        &[("iss", Value::Null)],
        &[("sub", Value::Null)],
        &[("sub", json!(other.id))],
        &[("iss", json!(other.id)), ("sub", json!(other.id))],
        &[("iss", json!("c_unknown")), ("sub", json!("c_unknown"))],
        &[("iss", json!("https://app.example/")), ("sub", json!("https://app.example/"))],
        &[("exp", Value::Null)],
        &[("exp", json!(now - 60))],
        &[("exp", json!(now + HOUR + 61))],
        &[("exp", json!(i64::MAX))],
        &[("exp", json!(-1))],
        &[("exp", json!((now + MINUTE).to_string()))],
        &[("iat", json!(now + 61))],
        &[("iat", json!("now"))],
        &[("nbf", json!(now + 61))],
        &[("jti", Value::Null)],
        &[("jti", json!(""))],
        &[("jti", json!(7))],
        &[("jti", json!("x".repeat(257)))],
    ] {
        assert_eq!(outcome(&gate, &signer.claiming(&gate, changes)).await, "refused", "{changes:?}");
    }
}

#[tokio::test]
async fn forged_assertions_are_refused() {
    let gate = TestGate::with(|config| config.registration.per_address_per_hour = 1000).await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let stranger = Signer { id: signer.id.clone(), key: TestKey::new(TestAlgorithm::Es256, "k1") };
    let rsa = Signer { id: signer.id.clone(), key: TestKey::new(TestAlgorithm::Rs256, "k1") };
    let good = signer.assertion(&gate);
    let (head, _) = good.rsplit_once('.').unwrap();
    let huge = signer.claiming(&gate, &[("pad", json!("x".repeat(16 * 1024)))]);
    let forged = [
        ("another key under the same kid", stranger.assertion(&gate)),
        ("another algorithm", rsa.assertion(&gate)),
        ("alg none", signer.headed(&gate, &[("alg", json!("none"))])),
        ("alg HS256 with the public key as secret", signer.headed(&gate, &[("alg", json!("HS256"))])),
        ("alg of another type of key", signer.headed(&gate, &[("alg", json!("RS256"))])),
        ("a foreign kid", signer.headed(&gate, &[("kid", json!("k2"))])),
        ("a kid that is no text", signer.headed(&gate, &[("kid", json!(["k1"]))])),
        ("a key that the assertion brings along", {
            stranger.headed(&gate, &[("jwk", stranger.key.jwk()), ("kid", Value::Null)])
        }),
        ("a URL of keys that the assertion brings along", {
            stranger.headed(&gate, &[("jku", json!("https://evil.example/jwks"))])
        }),
        ("an extension", signer.headed(&gate, &[("crit", json!(["b64"])), ("b64", json!(false))])),
        ("the type of an access token", signer.headed(&gate, &[("typ", json!("at+jwt"))])),
        ("the type of a proof", signer.headed(&gate, &[("typ", json!("dpop+jwt"))])),
        ("a type that is no text", signer.headed(&gate, &[("typ", json!(7))])),
        ("no signature", format!("{head}.")),
        ("a cut signature", good.split_at(good.len() - 4).0.to_owned()),
        ("more than 16 KiB", huge),
        ("no JWT", "x".to_owned()),
        ("dots", "..".to_owned()),
        ("no JSON", "e30.e30.e30".to_owned()),
    ];
    for (number, (what, assertion)) in forged.iter().enumerate() {
        // one address for each, so that no limit answers
        assert_eq!(outcome_from(&gate, &format!("198.51.100.{number}"), assertion).await, "refused", "{what}");
    }
    assert_eq!(outcome(&gate, &good).await, "authenticated", "and none of them used it up");
}

#[tokio::test]
async fn a_member_that_stands_twice_makes_an_assertion_invalid() {
    let gate = TestGate::new().await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let now = gate.clock.now().0;
    let claims = format!(
        r#"{{"iss":"{0}","sub":"{0}","sub":"{0}","aud":"{1}","jti":"1","exp":{2}}}"#,
        signer.id,
        gate.origin(),
        now + MINUTE
    );
    let sign = |claims: &str| {
        let message = format!("{}.{}", base64url(br#"{"alg":"ES256","kid":"k1"}"#), base64url(claims.as_bytes()));
        format!("{message}.{}", base64url(&signer.key.sign(message.as_bytes())))
    };
    assert_eq!(outcome(&gate, &sign(&claims)).await, "refused");
    let once = claims.replacen(&format!(r#""sub":"{}","#, signer.id), "", 1);
    assert_eq!(outcome(&gate, &sign(&once)).await, "authenticated", "{once}");
}

#[tokio::test]
async fn an_assertion_of_the_explicit_type_is_for_the_issuer_alone() {
    let gate = TestGate::new().await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let token_endpoint = format!("{}/token", gate.origin());
    for aud in [json!(token_endpoint), json!([gate.origin(), token_endpoint])] {
        let assertion = signer.edited(&gate, |header, claims| {
            header["typ"] = json!("client-authentication+jwt");
            claims["aud"] = aud.clone();
        });
        assert_eq!(outcome(&gate, &assertion).await, "refused", "audience injection: {aud}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assertion_replay_is_refused_in_every_process() {
    let gate = TestGate::new().await;
    let twin = gate.twin().await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let assertion = signer.assertion(&gate);
    assert_eq!(outcome(&gate, &assertion).await, "authenticated");
    assert_eq!(outcome(&gate, &assertion).await, "refused", "the same process");
    assert_eq!(outcome(&twin, &assertion).await, "refused", "another process");

    let assertion = signer.assertion(&gate);
    let uses = (0..32).map(|n| {
        let gate = if n % 2 == 0 { &gate } else { &twin };
        let (from, assertion) = (format!("203.0.113.{n}"), &assertion);
        async move { outcome_from(gate, &from, assertion).await }
    });
    let outcomes = futures_util::future::join_all(uses).await;
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "authenticated").count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "refused").count(), 31, "{outcomes:?}");
}

#[tokio::test]
async fn a_used_assertion_is_remembered_for_as_long_as_it_could_be_accepted() {
    let gate = TestGate::new().await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let assertion = signer.claiming(&gate, &[("exp", json!(gate.clock.now().0 + HOUR))]);
    assert_eq!(outcome(&gate, &assertion).await, "authenticated");
    for _ in 0..13 {
        gate.clock.advance(Duration::from_mins(5));
        gate.app.issuer().expire().await;
        assert_eq!(outcome(&gate, &assertion).await, "refused");
    }
}

#[tokio::test]
async fn a_client_cannot_use_up_the_ids_of_another() {
    let gate = TestGate::new().await;
    let attacker = Signer::register(&gate, TestAlgorithm::Es256).await;
    let victim = Signer::register(&gate, TestAlgorithm::Es256).await;
    let jti = [("jti", json!("predictable-1"))];
    assert_eq!(outcome(&gate, &attacker.claiming(&gate, &jti)).await, "authenticated");
    assert_eq!(outcome(&gate, &victim.claiming(&gate, &jti)).await, "authenticated");
}

#[tokio::test]
async fn a_refused_assertion_is_not_used_up() {
    let gate = TestGate::new().await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let jti = [("jti", json!("1"))];
    let stranger = Signer { id: signer.id.clone(), key: TestKey::new(TestAlgorithm::Es256, "k1") };
    assert_eq!(outcome(&gate, &stranger.claiming(&gate, &jti)).await, "refused", "an attacker burns ids");
    assert_eq!(outcome(&gate, &signer.claiming(&gate, &jti)).await, "authenticated");
}

#[tokio::test]
async fn each_client_authenticates_by_its_own_method_only() {
    let gate = TestGate::new().await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let public = gate.register().await;
    let secret_metadata = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "client_secret_basic"});
    let confidential = gate.post_json("/register", &secret_metadata).await.json();
    let id_of = |client: &Value| client["client_id"].as_str().unwrap().to_owned();
    for other in [public.id.clone(), id_of(&confidential)] {
        let as_other = Signer { id: other.clone(), key: signer.key.clone() };
        assert_eq!(outcome(&gate, &as_other.assertion(&gate)).await, "refused", "{other} has no keys");
    }
    let form = |fields: &[(&str, &str)]| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let gate = &gate;
        async move {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let answer = gate.post_form("/token", &fields).await;
            (answer.status, answer.error())
        }
    };
    let grant = ("grant_type", "refresh_token");
    let (invalid_client, invalid_request) = ((401, "invalid_client".to_owned()), (400, "invalid_request".to_owned()));
    assert_eq!(form(&[grant, ("client_id", &signer.id)]).await, invalid_client, "keys are no mere option");
    assert_eq!(form(&[grant, ("client_id", &signer.id), ("client_secret", "x")]).await, invalid_client);
    let assertion = signer.assertion(&gate);
    let (sent, typ) = (("client_assertion", assertion.as_str()), ("client_assertion_type", JWT_BEARER));
    assert_eq!(form(&[grant, sent, typ, ("client_secret", "x")]).await, invalid_request, "two ways at once");
    assert_eq!(form(&[grant, sent, typ, ("client_id", &public.id)]).await, invalid_request, "two client_ids");
    assert_eq!(form(&[grant, sent]).await, invalid_request, "no type");
    assert_eq!(form(&[grant, typ, ("client_id", &signer.id)]).await, invalid_request, "no assertion");
    assert_eq!(form(&[grant, sent, sent, typ]).await, invalid_request, "repeated");
    let saml = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer");
    assert_eq!(form(&[grant, sent, saml]).await, invalid_client, "another type");
    let request = gate
        .request("POST", "/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", "Basic YTpi");
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs([grant, sent, typ]).finish();
    let answer = gate.send(request, body).await;
    assert_eq!((answer.status, answer.error()), invalid_request, "a header and an assertion");
    assert_eq!(outcome(&gate, &assertion).await, "authenticated", "none of this used it up");
}

#[tokio::test]
async fn wrong_assertions_are_rate_limited_without_locking_the_client_out() {
    let gate = TestGate::new().await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let stranger = Signer { id: signer.id.clone(), key: TestKey::new(TestAlgorithm::Es256, "k1") };
    for number in 0..30 {
        assert_eq!(outcome(&gate, &stranger.assertion(&gate)).await, "refused", "{number}");
    }
    assert_eq!(outcome(&gate, &stranger.assertion(&gate)).await, "limited");
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated", "from the same address");
    assert_eq!(outcome_from(&gate, "198.51.100.9", &stranger.assertion(&gate)).await, "refused", "from another");
}

#[tokio::test]
async fn an_assertion_is_not_logged() {
    let gate = TestGate::new().await;
    let signer = Signer::register(&gate, TestAlgorithm::Es256).await;
    let stranger = Signer { id: signer.id.clone(), key: TestKey::new(TestAlgorithm::Es256, "k1") };
    let (lines, _guard) = watch();
    let (good, bad) = (signer.assertion(&gate), stranger.assertion(&gate));
    outcome(&gate, &good).await;
    outcome(&gate, &bad).await;
    let text = lines.text();
    assert!(text.contains("the signature of client_assertion is wrong"), "{text}");
    for assertion in [good, bad] {
        for part in assertion.split('.').skip(1) {
            assert!(!text.contains(part), "{text}");
        }
    }
}

/// A gate that trusts the authority of a server of documents, and that server.
async fn with_documents() -> (TestGate, FakeProvider) {
    let documents = FakeProvider::start_tls(&portcullis::clock::Clock::manual(crate::support::gate::START)).await;
    let ca_file = documents.ca_file();
    let gate = TestGate::with(|config| config.outbound.ca_file = ca_file).await;
    (gate, documents)
}

/// A client whose keys are at a URL of that server.
async fn at_url(gate: &TestGate, documents: &FakeProvider) -> Signer {
    let key = TestKey::new(TestAlgorithm::Es256, "k1");
    documents.rotate(key.clone(), true);
    let id = register(gate, &json!({"jwks_uri": format!("{}/certs", documents.issuer())})).await;
    Signer { id, key }
}

#[tokio::test]
async fn the_key_set_at_a_jwks_uri_is_fetched_once_and_again_for_a_new_key() {
    let (gate, documents) = with_documents().await;
    let mut signer = at_url(&gate, &documents).await;
    assert_eq!(documents.calls("/certs"), 0, "not at registration");
    for _ in 0..3 {
        assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated");
    }
    assert_eq!(documents.calls("/certs"), 1);
    for header in ["authorization", "cookie", "referer"] {
        assert!(!documents.last_call("/certs").headers.contains_key(header), "{header}");
    }

    signer.key = TestKey::new(TestAlgorithm::Es256, "k2");
    documents.rotate(signer.key.clone(), false);
    gate.clock.advance(Duration::from_secs(9));
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "unavailable", "the key may be newer than the set");
    assert_eq!(documents.calls("/certs"), 1, "fetches are ten seconds apart");
    gate.clock.advance(Duration::from_secs(1));
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated");
    assert_eq!(documents.calls("/certs"), 2);

    for _ in 0..5 {
        let invented = signer.headed(&gate, &[("kid", json!("invented"))]);
        assert_eq!(outcome(&gate, &invented).await, "refused");
    }
    assert_eq!(documents.calls("/certs"), 2, "a flood of invented kids");
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_once_the_set_is_no_longer_fresh() {
    let (gate, documents) = with_documents().await;
    let signer = at_url(&gate, &documents).await;
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated");
    documents.rotate(TestKey::new(TestAlgorithm::Es256, "k2"), true);
    gate.clock.advance(Duration::from_hours(1));
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "refused");
}

#[tokio::test]
async fn the_last_key_set_serves_for_a_day_while_its_host_is_down() {
    let (gate, documents) = with_documents().await;
    let signer = at_url(&gate, &documents).await;
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated");
    documents.stop().await;
    gate.clock.advance(Duration::from_hours(24));
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated");
    gate.clock.advance(Duration::from_hours(2));
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "unavailable");
    documents.restart().await;
    gate.clock.advance(Duration::from_secs(2));
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated", "it recovers alone");
}

#[tokio::test]
async fn concurrent_assertions_share_one_fetch() {
    let (gate, documents) = with_documents().await;
    let signer = at_url(&gate, &documents).await;
    let uses = (0..32).map(|_| async { outcome(&gate, &signer.assertion(&gate)).await });
    let outcomes = futures_util::future::join_all(uses).await;
    assert!(outcomes.iter().all(|outcome| outcome == "authenticated"), "{outcomes:?}");
    assert_eq!(documents.calls("/certs"), 1);
}

#[tokio::test]
async fn an_unusable_key_set_proves_nothing() {
    let (gate, documents) = with_documents().await;
    let signer = at_url(&gate, &documents).await;
    let spoilt: [fn(&mut Value); 5] = [
        |set| set["keys"] = json!([]),
        |set| *set = json!("text"),
        |set| set["keys"][0]["d"] = json!("AAAA"),
        |set| {
            let key = set["keys"][0].clone();
            set["keys"] = json!(vec![key; 300]);
        },
        |set| set["pad"] = json!("x".repeat(64 * 1024)),
    ];
    for spoil in spoilt {
        documents.edit_jwks(spoil);
        assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "unavailable");
        gate.clock.advance(Duration::from_secs(1));
    }
    documents.edit_jwks(|_| {});
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated");
}

#[tokio::test]
async fn ssrf_a_jwks_uri_at_an_inner_address_is_not_called_and_only_the_log_tells_why() {
    let gate = TestGate::new().await;
    let key = TestKey::new(TestAlgorithm::Es256, "k1");
    let id = register(&gate, &json!({"jwks_uri": "https://169.254.169.254/latest/meta-data"})).await;
    let signer = Signer { id, key };
    let (lines, _guard) = watch();
    let answer = post_from(&gate, HERE, &signer.assertion(&gate), &[("grant_type", "refresh_token")]).await;
    assert_eq!((answer.status, answer.error().as_str()), (503, "temporarily_unavailable"));
    assert!(!answer.body.contains("169.254"), "{answer:?}");
    assert!(lines.text().contains("169.254.169.254 is link-local"), "{}", lines.text());
}

#[tokio::test]
async fn fetches_of_key_sets_are_rate_limited_by_address() {
    let (gate, documents) = with_documents().await;
    let signer = at_url(&gate, &documents).await;
    documents.stop().await;
    for number in 0..120 {
        assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "unavailable", "{number}");
    }
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "limited");
    documents.restart().await;
    gate.clock.advance(Duration::from_secs(1));
    assert_eq!(outcome_from(&gate, "198.51.100.9", &signer.assertion(&gate)).await, "authenticated");
    assert_eq!(outcome(&gate, &signer.assertion(&gate)).await, "authenticated", "what is known costs no fetch");
}

#[tokio::test]
async fn registrations_with_unsafe_keys_are_refused() {
    let gate = TestGate::new().await;
    let (ec, rsa) = (TestKey::new(TestAlgorithm::Es256, "k").jwk(), TestKey::new(TestAlgorithm::Rs256, "k").jwk());
    let edited = |key: &Value, member: &str, value: Value| {
        let mut key = key.clone();
        key[member] = value;
        key
    };
    let weak = edited(&rsa, "n", json!(base64url(&[0xff; 128])));
    for (keys, words) in [
        (json!({"jwks": {"keys": [weak]}}), "no key for signatures"),
        (json!({"jwks": {"keys": []}}), "no key for signatures"),
        (json!({"jwks": {"keys": [edited(&ec, "x", json!("f83O"))]}}), "no key for signatures"),
        (json!({"jwks": {"keys": [ec, edited(&ec, "d", json!("AAAA"))]}}), "private or secret key"),
        (json!({"jwks": {"keys": [{"kty": "oct", "k": "AAAA", "alg": "HS256"}]}}), "private or secret key"),
        (json!({"jwks": {"keys": vec![ec.clone(); 300]}}), "more than 20 keys"),
        (json!({"jwks": "text"}), "not a JSON Web Key Set"),
        (json!({"jwks": {"keys": [ec]}, "jwks_uri": "https://a.example/jwks"}), "must not both"),
        (json!({"jwks_uri": "http://a.example/jwks"}), "jwks_uri must be an https URL"),
        (json!({"jwks_uri": "https://u:p@a.example/jwks"}), "jwks_uri must be an https URL"),
        (json!({"jwks_uri": "file:///etc/passwd"}), "jwks_uri must be an https URL"),
    ] {
        // what is dangerous is refused whatever the method; the rest concerns only clients that sign
        let always = words.contains("private") || words.contains("both");
        for (method, refused) in [("private_key_jwt", true), ("none", always)] {
            let mut metadata = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": method});
            metadata.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            let answer = gate.post_json("/register", &metadata).await;
            if !refused {
                assert_eq!((answer.status, answer.json().get("jwks")), (201, None), "{words}: {answer:?}");
                continue;
            }
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (400, "invalid_client_metadata"),
                "{words}: {answer:?}"
            );
            let said = answer.json()["error_description"].as_str().unwrap().to_owned();
            assert!(said.contains(words) && !said.contains("AAAA"), "{said}");
        }
    }
}
