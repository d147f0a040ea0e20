//! Tokens of Microsoft Entra ID, as its documentation shows them.

use std::sync::Arc;

use portcullis::config::{AcceptedIssuer, Config, IssuerKind, TenantId, TokenIssuer};
use serde_json::{Value, json};

use super::{Bench, assert_unfit, edited};
use crate::support::gate::WORKS;
use crate::support::log::watch;

const OURS: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
const OTHER: &str = "bbbbcccc-1111-dddd-2222-eeee3333ffff";
const APP: &str = "11112222-bbbb-3333-cccc-4444dddd5555";
const ISSUER: &str = "this server does not accept access tokens of that issuer";
const KIND: &str = "this is not an access token for this server";

/// An endpoint for many tenants, of which one is accepted.
async fn bench() -> Bench {
    bench_for(APP, |_| {}).await
}

/// The same with this audience, and other settings of everything.
async fn bench_for(audience: &str, change: impl FnOnce(&mut Config)) -> Bench {
    let bench = Bench::with(|issuer, config| {
        issuer.kind = IssuerKind::Entra;
        issuer.issuer = format!("{}/{{tenantid}}/v2.0", origin(&issuer.issuer));
        issuer.advertised = format!("{}/organizations/v2.0", origin(&issuer.issuer));
        issuer.audiences = vec![audience.to_owned()];
        issuer.scope_claims = ["scp", "roles"].map(str::to_owned).to_vec();
        issuer.tenants = vec![TenantId::parse(OURS).unwrap()];
        change(config);
    })
    .await;
    let template = format!("{}/{{tenantid}}/v2.0", origin(&bench.provider.issuer()));
    let named = template.clone();
    bench.provider.edit_discovery(move |document| document["issuer"] = json!(named));
    bench.provider.edit_jwks(move |document| {
        for key in document["keys"].as_array_mut().unwrap() {
            key["issuer"] = json!(template);
        }
    });
    bench
}

fn origin(issuer: &str) -> String {
    issuer.split('/').take(3).collect::<Vec<_>>().join("/")
}

fn claims(bench: &Bench) -> Value {
    let now = bench.gate.clock.now().0;
    json!({
        "iss": format!("{}/{OURS}/v2.0", origin(&bench.provider.issuer())), "aud": APP, "tid": OURS,
        "oid": "00000000-0000-0000-66f3-3332eca7ea81", "sub": "pairwise", "azp": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
        "azpacr": "0", "ver": "2.0", "scp": "mcp:access", "iat": now, "nbf": now, "exp": now + 4000,
        "preferred_username": "alice@contoso.com", "email": "alice@contoso.com", "name": "Alice",
    })
}

fn token(bench: &Bench, changes: &Value) -> String {
    bench.key.jws(&bench.header(), &edited(claims(bench), changes))
}

#[tokio::test]
async fn a_user_is_known_by_tenant_and_object_and_never_by_an_address() {
    let bench = bench().await;
    assert_eq!(bench.call(&token(&bench, &json!({}))).await.status, WORKS);
    let seen = bench.gate.behind.last();
    let subject = format!("corp|{OURS}.00000000-0000-0000-66f3-3332eca7ea81");
    assert_eq!(seen.header("x-forwarded-user"), Some(subject.as_str()));
    assert_eq!(seen.header("x-forwarded-email"), None, "anyone may enter any address into a tenant of their own");
    assert_eq!(seen.header("x-portcullis-client"), Some("04b07795-8ddb-461a-bbee-02f9e1bf7b46"));
}

#[tokio::test]
async fn every_form_of_the_audience_and_application_roles_are_taken() {
    for configured in [APP.to_owned(), format!("api://{APP}"), format!("api://{}", APP.to_ascii_uppercase())] {
        let bench = bench_for(&configured, |_| {}).await;
        for aud in [format!("api://{APP}"), format!("api://{APP}/"), APP.to_owned()] {
            let answer = bench.call(&token(&bench, &json!({"aud": aud}))).await;
            assert_eq!(answer.status, WORKS, "{configured}: {aud}");
        }
        let other = json!({"aud": format!("api://{OTHER}")});
        assert_eq!(bench.call(&token(&bench, &other)).await.status, 401, "{configured}");
    }
    let bench = bench().await;
    let machine = json!({"scp": null, "roles": ["mcp:access"], "idtyp": "app"});
    assert_eq!(bench.call(&token(&bench, &machine)).await.status, WORKS);
    let metadata = bench.gate.get("/.well-known/oauth-protected-resource/mcp").await.json();
    let servers = json!([bench.gate.origin(), format!("{}/organizations/v2.0", origin(&bench.provider.issuer()))]);
    assert_eq!(metadata["authorization_servers"], servers);
}

#[tokio::test]
async fn tenants_keys_and_tokens_that_do_not_belong_together_are_refused() {
    let bench = bench().await;
    let root = origin(&bench.provider.issuer());
    for (changes, class) in [
        (json!({"tid": OTHER, "iss": format!("{root}/{OTHER}/v2.0")}), ISSUER),
        (json!({"tid": OTHER}), ISSUER),
        (json!({"tid": null}), ISSUER),
        (json!({"iss": format!("{root}/{OURS}/")}), ISSUER),
        (json!({"iss": format!("https://sts.windows.net/{OURS}/"), "ver": "1.0"}), ISSUER),
        (json!({"iss": format!("{root}/{{tenantid}}/v2.0"), "tid": "{tenantid}"}), ISSUER),
        (json!({"aud": "00000003-0000-0000-c000-000000000000"}), KIND),
        (json!({"azp": null}), KIND),
        (json!({"nonce": "n"}), KIND),
        (json!({"oid": null}), "the access token is not valid"),
        (json!({"_claim_names": {"groups": "src1"}}), "the access token is not valid"),
        (json!({"hasgroups": true}), "the access token is not valid"),
    ] {
        assert_unfit(&bench.call(&token(&bench, &changes)).await, class, &changes.to_string());
    }
    // a key of another tenant alone
    let only = format!("{root}/{OTHER}/v2.0");
    bench.provider.edit_jwks(move |document| {
        for key in document["keys"].as_array_mut().unwrap() {
            key["issuer"] = json!(only);
        }
    });
    bench.gate.clock.advance(std::time::Duration::from_mins(6));
    assert_unfit(&bench.call(&token(&bench, &json!({}))).await, ISSUER, "a key of another tenant");
}

#[tokio::test]
async fn a_tenant_that_one_issuer_does_not_admit_may_be_that_of_another() {
    let (log, _guard) = watch();
    let bench = bench().await;
    let root = origin(&bench.provider.issuer());
    let of_other = json!({"tid": OTHER, "iss": format!("{root}/{OTHER}/v2.0")});
    assert_unfit(&bench.call(&token(&bench, &of_other)).await, ISSUER, "not admitted");
    assert!(log.text().contains("its tenant is not one of `tenants`"), "{}", log.text());
    let gate = bench
        .gate
        .restart_with(|config| {
            let accepts = &mut config.upstreams[0].settings.accepts;
            let mut issuer = TokenIssuer::clone(&accepts.foreign[0].issuer);
            issuer.id = "partner".to_owned();
            issuer.issuer = format!("{root}/{OTHER}/v2.0");
            issuer.discovery = format!("{}/other", issuer.discovery).parse().unwrap();
            issuer.jwks_uri = Some(format!("{}/certs", bench.provider.issuer()).parse().unwrap());
            issuer.tenants.clear();
            accepts.foreign.push(AcceptedIssuer::new(Arc::new(issuer), &[APP.to_owned()]));
        })
        .await;
    let bench = Bench { gate, ..bench };
    assert_eq!(bench.call(&token(&bench, &of_other)).await.status, WORKS);
    let subject = format!("partner|{OTHER}.00000000-0000-0000-66f3-3332eca7ea81");
    assert_eq!(bench.gate.behind.last().header("x-forwarded-user"), Some(subject.as_str()));
    assert_eq!(bench.call(&token(&bench, &json!({}))).await.status, WORKS, "the first one's tenant");
}
