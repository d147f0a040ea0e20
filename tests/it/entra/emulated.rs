//! That the emulator does what the real one is known to do, where no sign-in of ours shows it.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::config::CaFile;
use portcullis::outbound::{Fetched, Fetcher};
use serde_json::Value;

use super::CALLBACK;
use crate::entra_emulator::{APP, APP_ID_URI, APP_SECRET, CONTOSO, Directory, Emulator, GRAPH, ResourceEra, Visit};
use crate::support::gate::START;

const TIMEOUT: Duration = Duration::from_secs(10);

struct Client {
    emulator: Emulator,
    fetcher: Fetcher,
    clock: Clock,
}

impl Client {
    async fn new() -> Self {
        let clock = Clock::manual(START);
        let emulator = Emulator::start(&clock, Directory::contoso(CALLBACK)).await;
        Self { emulator, fetcher: Fetcher::new(std::iter::empty::<&CaFile>()), clock }
    }

    async fn get(&self, path: &str) -> Fetched {
        self.fetcher.get(&format!("{}{path}", self.emulator.authority()), TIMEOUT).await.unwrap()
    }

    async fn ask(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}{path}", self.emulator.authority());
        let fetched = self.fetcher.post_form(&url, form, None, TIMEOUT).await.unwrap();
        (fetched.status.as_u16(), serde_json::from_slice(&fetched.body).unwrap())
    }

    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let ours = [("client_id", APP), ("client_secret", APP_SECRET)];
        self.ask(&format!("/{CONTOSO}/oauth2/v2.0/token"), &[&ours, form].concat()).await
    }

    /// A fresh code for these scopes.
    fn code(&self, scope: &str, more: &str) -> Visit {
        let scope: String = form_urlencoded::byte_serialize(scope.as_bytes()).collect();
        let root = self.emulator.authority();
        self.emulator.visit(&format!(
            "{root}/{CONTOSO}/oauth2/v2.0/authorize?client_id={APP}&response_type=code&redirect_uri={CALLBACK}&scope={scope}{more}"
        ))
    }

    async fn redeem(&self, scope: &str) -> (u16, Value) {
        let back = self.code(scope, "").back();
        let code = crate::support::browser::parameter(&back, "code").unwrap();
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("scope", scope),
        ])
        .await
    }
}

fn number(answer: &(u16, Value)) -> u64 {
    answer.1["error_codes"][0].as_u64().unwrap_or_else(|| panic!("{answer:?}"))
}

fn claims(token: &Value) -> Value {
    crate::support::gate::claims(token.as_str().unwrap())
}

#[tokio::test]
async fn documents_are_those_of_openid_connect_alone_and_name_neither_pkce_nor_revocation() {
    let client = Client::new().await;
    for path in [
        "/.well-known/oauth-authorization-server",
        &format!("/.well-known/oauth-authorization-server/{CONTOSO}/v2.0"),
        &format!("/.well-known/openid-configuration/{CONTOSO}/v2.0"),
        &format!("/{CONTOSO}/v2.0/.well-known/oauth-authorization-server"),
        &format!("/{CONTOSO}/oauth2/v2.0/revoke"),
    ] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    for (tenant, version, issuer) in [
        (CONTOSO, "/v2.0", format!("{}/{CONTOSO}/v2.0", client.emulator.authority())),
        ("contoso.onmicrosoft.com", "/v2.0", format!("{}/{CONTOSO}/v2.0", client.emulator.authority())),
        ("common", "/v2.0", format!("{}/{{tenantid}}/v2.0", client.emulator.authority())),
        (CONTOSO, "", format!("https://sts.windows.net/{CONTOSO}/")),
    ] {
        let document = client.get(&format!("/{tenant}{version}/.well-known/openid-configuration")).await;
        let document: Value = serde_json::from_slice(&document.body).unwrap();
        assert_eq!(document["issuer"], issuer.as_str(), "{tenant}{version}");
        for absent in [
            "code_challenge_methods_supported",
            "registration_endpoint",
            "revocation_endpoint",
            "introspection_endpoint",
            "grant_types_supported",
            "authorization_response_iss_parameter_supported",
        ] {
            assert!(document.get(absent).is_none(), "{absent}");
        }
    }
    let keys = client.get("/common/discovery/keys").await;
    assert!(String::from_utf8_lossy(&keys.body).contains("https://sts.windows.net/{tenantid}/"));
    assert!(!String::from_utf8_lossy(&keys.body).contains("\"alg\""));
}

#[tokio::test]
async fn a_scope_is_of_its_api_and_a_bare_one_of_graph() {
    let client = Client::new().await;
    let shown = |scope: &str, more: &str| match client.code(scope, more) {
        Visit::Back(url) => url,
        other => panic!("{other:?}"),
    };
    assert!(shown("openid mcp.access", "").contains("AADSTS650053"));
    assert!(shown("openid api://nobody/x", "").contains("AADSTS500011"));
    assert!(shown("offline_access", "").contains("AADSTS70011"));
    assert!(shown(&format!("{APP_ID_URI}/.default {APP_ID_URI}/mcp.read"), "").contains("AADSTS70011"));
    assert!(shown(&format!("{APP_ID_URI}/mcp.read User.Read"), "").contains("code="), "two APIs may be consented to");
    let two = client.redeem(&format!("{APP_ID_URI}/mcp.read User.Read")).await;
    assert_eq!((two.0, number(&two)), (400, 28000));
    let (_, answer) = client.redeem(&format!("openid offline_access {APP_ID_URI}/mcp.read")).await;
    assert_eq!(answer["scope"], format!("{APP_ID_URI}/mcp.read"));
    assert_eq!(claims(&answer["access_token"])["scp"], "mcp.read");
    assert!(client.redeem("openid").await.1.get("refresh_token").is_none());
}

#[tokio::test]
async fn the_three_eras_of_resource_differ() {
    let client = Client::new().await;
    let scope = format!("openid {APP_ID_URI}/mcp.read");
    for (era, resource, scope, expected) in [
        (ResourceEra::RejectAll, APP_ID_URI, scope.as_str(), "AADSTS901002"),
        (ResourceEra::Match, APP_ID_URI, &scope, "code="),
        (ResourceEra::Match, "https://mcp.example.com/mcp", &scope, "AADSTS9010010"),
        (ResourceEra::Match, &format!("{APP_ID_URI}/"), &scope, "AADSTS9010010"),
        (ResourceEra::Match, APP_ID_URI, "openid profile", "AADSTS9010010"),
        (ResourceEra::Ignore, "https://mcp.example.com/mcp", &scope, "code="),
    ] {
        client.emulator.state().era = era;
        let url = client.code(scope, &format!("&resource={resource}")).back();
        assert!(url.contains(expected), "{era:?} {resource} {scope}: {url}");
        assert!(!url.contains("&iss="), "no answer names its issuer");
    }
}

#[tokio::test]
async fn version_1_tokens_name_an_audience_that_cannot_be_foretold() {
    let client = Client::new().await;
    client.emulator.state().our_app().token_version = 1;
    let mut audiences = BTreeSet::new();
    for _ in 0..24 {
        let (_, answer) = client.redeem(&format!("{APP_ID_URI}/mcp.read")).await;
        let claims = claims(&answer["access_token"]);
        assert_eq!(
            (claims["ver"].as_str(), claims["iss"].as_str().unwrap()),
            (Some("1.0"), &*format!("https://sts.windows.net/{CONTOSO}/"))
        );
        audiences.insert(claims["aud"].as_str().unwrap().to_owned());
    }
    assert_eq!(audiences, BTreeSet::from([APP.to_owned(), APP_ID_URI.to_owned(), format!("{APP_ID_URI}/")]));
}

#[tokio::test]
async fn a_code_counts_once_and_an_old_refresh_token_goes_on() {
    let client = Client::new().await;
    let scope = format!("openid offline_access {APP_ID_URI}/mcp.read");
    let back = client.code(&scope, "").back();
    let code = crate::support::browser::parameter(&back, "code").unwrap();
    let form =
        [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK), ("scope", &scope)];
    assert_eq!(number(&client.token(&form[..3]).await), 28003);
    let (_, answer) = client.token(&form).await;
    assert_eq!(number(&client.token(&form).await), 54005);
    let old = answer["refresh_token"].as_str().unwrap();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", old), ("scope", scope.as_str())];
    let (_, first) = client.token(&refresh).await;
    let (status, second) = client.token(&refresh).await;
    assert_eq!(status, 200, "no use of it is taken for theft");
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    // it belongs to no API
    let elsewhere = [("grant_type", "refresh_token"), ("refresh_token", old), ("scope", "User.Read")];
    assert_eq!(client.token(&elsewhere).await.0, 200);
}

#[tokio::test]
async fn machines_and_apis_have_grants_of_their_own() {
    let client = Client::new().await;
    let default = format!("{APP_ID_URI}/.default");
    let (_, machine) = client.token(&[("grant_type", "client_credentials"), ("scope", &default)]).await;
    let of_machine = claims(&machine["access_token"]);
    assert!(of_machine.get("scp").is_none() && of_machine["oid"] == of_machine["sub"]);
    assert_eq!((of_machine["idtyp"].as_str(), of_machine["roles"][0].as_str()), (Some("app"), Some("Mcp.All")));
    assert!(machine.get("refresh_token").is_none());
    let named = format!("{APP_ID_URI}/mcp.read");
    assert_eq!(number(&client.token(&[("grant_type", "client_credentials"), ("scope", &named)]).await), 1_002_012);

    let on_behalf = |assertion: String| async {
        let assertion = assertion;
        client
            .token(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", &assertion),
                ("requested_token_use", "on_behalf_of"),
                ("scope", "https://graph.microsoft.com/User.Read"),
            ])
            .await
    };
    let (_, user) = client.redeem(&named).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!(number(&on_behalf(text(&user["access_token"])).await), 65001);
    client.emulator.state().our_app().admin_consent.insert(format!("{GRAPH}/User.Read"));
    assert_eq!(on_behalf(text(&user["access_token"])).await.0, 200);
    assert_eq!(number(&on_behalf(text(&machine["access_token"])).await), 7_000_114);
    let (_, graph) = client.redeem("openid User.Read").await;
    assert_eq!(number(&on_behalf(text(&graph["access_token"])).await), 50013);
    client.emulator.state().challenge("alice", ("interaction_required", None), 50076, Some("{}"));
    let wanted = on_behalf(text(&user["access_token"])).await;
    assert_eq!((wanted.1["error"].as_str(), wanted.1["claims"].as_str()), (Some("interaction_required"), Some("{}")));
}

#[tokio::test]
async fn a_device_waits_for_its_user() {
    let client = Client::new().await;
    let scope = format!("openid offline_access {APP_ID_URI}/mcp.read");
    let path = format!("/{CONTOSO}/oauth2/v2.0/devicecode");
    let (_, begun) = client.ask(&path, &[("client_id", APP), ("scope", &scope)]).await;
    assert!(begun.get("verification_uri_complete").is_none() && begun["message"].is_string());
    let device_code = begun["device_code"].as_str().unwrap();
    let poll = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", device_code)];
    assert_eq!(client.token(&poll).await.1["error"], "authorization_pending");
    client.emulator.state().answer_device(begun["user_code"].as_str().unwrap(), true);
    assert_eq!(client.token(&poll).await.0, 200);
    assert_eq!(client.token(&poll).await.1["error"], "bad_verification_code");
    let (_, begun) = client.ask(&path, &[("client_id", APP), ("scope", &scope)]).await;
    let device_code = begun["device_code"].as_str().unwrap();
    client.emulator.state().answer_device(begun["user_code"].as_str().unwrap(), false);
    let poll = [("grant_type", "device_code"), ("device_code", device_code)];
    assert_eq!(client.token(&poll).await.1["error"], "authorization_declined");
    client.clock.advance(Duration::from_mins(16));
    assert_eq!(client.token(&poll).await.1["error"], "expired_token");
}

#[tokio::test]
async fn the_subject_is_another_one_for_each_client() {
    let client = Client::new().await;
    let (_, answer) = client.redeem(&format!("openid profile {APP_ID_URI}/mcp.read")).await;
    let (id_token, access) = (claims(&answer["id_token"]), claims(&answer["access_token"]));
    assert_eq!(id_token["oid"], access["oid"]);
    let other = crate::entra_emulator::App {
        client_id: "11112222-bbbb-3333-cccc-4444dddd5555".to_owned(),
        ..client.emulator.state().our_app().clone()
    };
    client.emulator.state().directory.apps = vec![other.clone()];
    let root = client.emulator.authority();
    let url = format!(
        "{root}/{CONTOSO}/oauth2/v2.0/authorize?client_id={}&response_type=code&redirect_uri={CALLBACK}&scope=openid+profile",
        other.client_id
    );
    let code = crate::support::browser::parameter(&client.emulator.visit(&url).back(), "code").unwrap();
    let (_, answer) = client
        .ask(
            &format!("/{CONTOSO}/oauth2/v2.0/token"),
            &[
                ("client_id", &other.client_id),
                ("client_secret", APP_SECRET),
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", CALLBACK),
                ("scope", "openid profile"),
            ],
        )
        .await;
    assert_ne!(claims(&answer["id_token"])["sub"], id_token["sub"]);
    assert_eq!(claims(&answer["id_token"])["oid"], id_token["oid"]);
}
