//! How we prove who we are: by a secret, by a certificate, and without a secret.

use std::path::Path;

use portcullis::config::{EntraCredential, ManagedIdentityEndpoint, OidcFlavour};
use portcullis::secret::{Sha256, base64url};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::Value;

use super::{Bench, Written, flavour};
use crate::entra_emulator::{
    APP, App, CONTOSO, Directory, FederatedCredential, IDENTITY, IDENTITY_HEADER, IDENTITY_OBJECT, external_token,
};
use crate::support::browser::{location, parameter};
use crate::support::gate::START;
use crate::support::log::watch;

const EXCHANGE: &str = "api://AzureADTokenExchange";
const CLUSTER: &str = "https://oidc.prod-aks.azure.com/cluster/";

fn with_credential(credential: &str) -> Written {
    Written { credential: credential.to_owned(), ..Written::default() }
}

fn part(jwt: &str, index: usize) -> Value {
    let part = jwt.split('.').nth(index).unwrap();
    serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

/// Writes a certificate and its key, and uploads the certificate.
fn certificate(app: &mut App, place: &Path) -> String {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(vec!["portcullis".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(place.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(place.join("key.pem"), key.serialize_pem()).unwrap();
    let thumbprint = base64url(Sha256::of(certificate.der()).as_bytes());
    let pair = aws_lc_rs::rsa::KeyPair::from_pkcs8(&key.serialize_der()).unwrap();
    app.certificates.insert(thumbprint.clone(), crate::entra_emulator::public_key_of(&pair));
    thumbprint
}

#[tokio::test]
async fn a_secret_travels_in_the_form() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    bench.refreshed(&given).await;
    let call = bench.emulator.last_call("/token");
    assert_eq!((call.form["client_id"].as_str(), call.headers.contains_key("authorization")), (APP, false));
}

#[tokio::test]
async fn a_certificate_signs_a_new_assertion_for_each_request() {
    let mut thumbprint = String::new();
    let prepare = |directory: &mut Directory, place: &Path| thumbprint = certificate(&mut directory.apps[0], place);
    let written = with_credential("client_certificate = { certificate = \"cert.pem\", key = { file = \"key.pem\" } }");
    let mut bench = Bench::prepared(prepare, written).await;
    bench.emulator.state().our_app().secrets.clear();
    let given = bench.tokens().await;
    let first = bench.last_form()["client_assertion"].clone();
    let given = bench.refreshed(&given).await;
    let second = bench.last_form()["client_assertion"].clone();
    assert_ne!(first, second);
    assert!(!bench.last_form().contains_key("client_secret"));
    let (header, claims) = (part(&second, 0), part(&second, 1));
    assert_eq!(header, serde_json::json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}));
    assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some(APP), Some(APP)));
    assert_eq!(claims["aud"], format!("{}/{CONTOSO}/oauth2/v2.0/token", bench.emulator.authority()));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 300);

    bench.emulator.state().our_app().certificates.clear();
    let (lines, _guard) = watch();
    assert_eq!(bench.refresh(&given).await.status, 503, "no grant ends by that");
    let page = bench.visit().await;
    assert!(page.body.contains("AADSTS700027"), "{page:?}");
    assert!(lines.text().contains("upload the certificate") && !lines.text().contains(&second), "{}", lines.text());
}

#[tokio::test]
async fn a_federated_token_is_read_anew_each_time() {
    let subject = "system:serviceaccount:mcp:portcullis";
    let prepare = |directory: &mut Directory, place: &Path| {
        directory.apps[0].secrets.clear();
        directory.apps[0].federated.push(FederatedCredential {
            issuer: CLUSTER.to_owned(),
            subject: subject.to_owned(),
            audience: EXCHANGE.to_owned(),
        });
        std::fs::write(place.join("token"), external_token(CLUSTER, subject, EXCHANGE, START.0 + 3600)).unwrap();
    };
    let mut bench = Bench::prepared(prepare, with_credential("federated_token_file = \"token\"")).await;
    let mut given = bench.tokens().await;
    let file = bench.directory.path().join("token");

    for (token, words) in [
        (external_token("https://elsewhere/", subject, EXCHANGE, START.0 + 3600), "AADSTS700211"),
        (external_token(CLUSTER, "system:serviceaccount:mcp:other", EXCHANGE, START.0 + 3600), "AADSTS700213"),
        (external_token(CLUSTER, subject, "api://other", START.0 + 3600), "AADSTS700212"),
        (external_token(CLUSTER, subject, EXCHANGE, START.0 - 1), "AADSTS700024"),
        ("not a token".to_owned(), "does not hold a signed token"),
        (String::new(), "does not hold a signed token"),
    ] {
        std::fs::write(&file, &token).unwrap();
        let (lines, _guard) = watch();
        let refused = bench.refresh(&given).await;
        assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"), "{words}");
        let text = lines.text();
        assert!(text.contains(words) && (token.len() < 20 || !text.contains(&token)), "{words}: {text}");
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(bench.refresh(&given).await.status, 503);
    std::fs::write(&file, format!("{}\n", external_token(CLUSTER, subject, EXCHANGE, START.0 + 7200))).unwrap();
    given = bench.refreshed(&given).await;
    bench.refreshed(&given).await;
}

fn trusts_managed_identity(directory: &mut Directory, issuer: &str) {
    directory.apps[0].secrets.clear();
    directory.apps[0].federated.push(FederatedCredential {
        issuer: issuer.to_owned(),
        subject: IDENTITY_OBJECT.to_owned(),
        audience: EXCHANGE.to_owned(),
    });
}

/// A bench whose managed identity's endpoint is the emulator's.
async fn managed(endpoint: impl FnOnce(&str) -> ManagedIdentityEndpoint) -> Bench {
    let mut bench = Bench::with(with_credential(&format!("managed_identity = {{ client_id = \"{IDENTITY}\" }}"))).await;
    let root = bench.emulator.authority();
    let issuer = format!("{root}/{CONTOSO}/v2.0");
    trusts_managed_identity(&mut bench.emulator.state().directory, &issuer);
    let endpoint = endpoint(&root);
    bench.gate = bench
        .gate
        .restart_with(|config| {
            let OidcFlavour::Entra(entra) = flavour(&mut config.identities[0]) else { panic!("another kind") };
            let mut changed = portcullis::config::EntraSettings::clone(entra);
            let Some(EntraCredential::ManagedIdentity(identity)) = &mut changed.credential else { panic!("none") };
            identity.endpoint = endpoint;
            *entra = std::sync::Arc::new(changed);
        })
        .await;
    bench
}

fn machine(root: &str) -> ManagedIdentityEndpoint {
    ManagedIdentityEndpoint::Machine(format!("{root}/metadata/identity/oauth2/token"))
}

#[tokio::test]
async fn a_managed_identity_of_a_machine_is_asked_once_until_its_token_nears_its_end() {
    let mut bench = managed(machine).await;
    let mut given = bench.tokens().await;
    for _ in 0..3 {
        given = bench.refreshed(&given).await;
    }
    assert_eq!(bench.emulator.calls("/metadata/identity/oauth2/token"), 1);
    let call = bench.emulator.last_call("/metadata/identity/oauth2/token");
    assert_eq!(call.headers["metadata"], "true");
    assert_eq!((call.query["resource"].as_str(), call.query["client_id"].as_str()), (EXCHANGE, IDENTITY));
    bench.clock.advance(std::time::Duration::from_mins(23 * 60 + 56));
    // one that still counts is used while its endpoint fails
    bench.emulator.state().fail_next("/metadata/identity/oauth2/token", 429, None);
    given = bench.refreshed(&given).await;
    bench.refreshed(&given).await;
    assert_eq!(bench.emulator.calls("/metadata/identity/oauth2/token"), 3);
}

#[tokio::test]
async fn a_managed_identity_of_app_service_shows_the_secret_of_its_process() {
    let written = Written {
        environment: vec![
            ("IDENTITY_ENDPOINT".to_owned(), "http://169.254.130.2:8081/msi/token".to_owned()),
            ("IDENTITY_HEADER".to_owned(), IDENTITY_HEADER.to_owned()),
        ],
        ..with_credential(&format!("managed_identity = {{ client_id = \"{IDENTITY}\" }}"))
    };
    let mut bench = Bench::with(written).await;
    let OidcFlavour::Entra(entra) = flavour(&mut bench.gate.config.identities[0].clone()).clone() else { panic!() };
    let Some(EntraCredential::ManagedIdentity(identity)) = &entra.credential else { panic!("none") };
    let ManagedIdentityEndpoint::AppService { url, header } = identity.endpoint.clone() else { panic!("a machine") };
    assert_eq!(url, "http://169.254.130.2:8081/msi/token");
    assert!(!format!("{entra:?}").contains(IDENTITY_HEADER), "it is not printed");

    let here = |root: &str| ManagedIdentityEndpoint::AppService { url: format!("{root}/msi/token"), header };
    bench = managed(here).await;
    let given = bench.tokens().await;
    bench.refreshed(&given).await;
    assert_eq!(bench.emulator.calls("/msi/token"), 1);
}

#[tokio::test]
async fn a_managed_identity_that_is_not_to_be_had_costs_nothing_and_is_named() {
    let mut bench = managed(machine).await;
    let url = bench.approve().await;
    let back = bench.emulator.visit(&url).back();
    bench.emulator.state().fail_next("/metadata/identity/oauth2/token", 400, None);
    let (lines, _guard) = watch();
    let answer = bench.back(&back).await;
    assert_eq!(parameter(&location(&answer), "error").as_deref(), Some("temporarily_unavailable"));
    assert!(lines.text().contains("managed identity") && lines.text().contains("answers 400"), "{}", lines.text());
    bench.tokens().await;
}
