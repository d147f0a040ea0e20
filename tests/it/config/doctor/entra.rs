//! Microsoft Entra ID, by the emulator.

use std::path::Path;

use portcullis::clock::Clock;
use portcullis::secret::{Sha256, base64url};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::Value;

use super::{Operator, file, findings_of, ids, mcp, operator};
use crate::entra_emulator::{
    APP, APP_ID_URI, APP_SECRET, App, CONTOSO, Directory, Emulator, FederatedCredential, Platform, ResourceEra,
    external_token, public_key_of,
};

const CALLBACK: &str = "http://localhost:6749/callback/entra";
const SECRET: &str = "client_secret = { env = \"ENTRA_SECRET\" }";
const CERTIFICATE: &str = "client_certificate = { certificate = \"cert.pem\", key = { file = \"key.pem\" } }";
const TOKEN_FILE: &str = "federated_token_file = \"token\"";

/// An emulator whose app is changed, and what the doctor says of it.
struct Patient {
    operator: Operator,
    emulator: Emulator,
    tenant: String,
    client_id: String,
    lines: String,
}

impl Patient {
    async fn new(change: impl FnOnce(&mut App, &Path), credential: &str) -> Self {
        let operator = operator().with("ENTRA_SECRET", APP_SECRET);
        let mut directory = Directory::contoso(CALLBACK);
        change(&mut directory.apps[0], operator.directory.path());
        let emulator = Emulator::start(&Clock::system(), directory).await;
        Self { operator, emulator, tenant: CONTOSO.to_owned(), client_id: APP.to_owned(), lines: credential.to_owned() }
    }

    fn with(mut self, line: &str) -> Self {
        self.lines = format!("{}\n{line}", self.lines);
        self
    }

    async fn findings(&self) -> Vec<Value> {
        let behind = mcp().await;
        let Self { tenant, client_id, lines, .. } = self;
        let root = self.emulator.authority();
        let identity = format!(
            "id = \"entra\"\nkind = \"entra\"\ntenant = \"{tenant}\"\nauthority = \"{root}\"\nclient_id = \"{client_id}\"\n{lines}"
        );
        let text = file("http://localhost:6749", &identity, &format!("url = \"{}\"", behind.url()));
        findings_of(&self.operator, &text)
    }

    /// The one fault: its id, its key, and the name of the setting in the admin center.
    async fn fault(&self) -> (String, String, String) {
        let findings = self.findings().await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        let text = |name: &str| findings[0][name].as_str().unwrap_or_default().to_owned();
        (text("id"), text("key"), text("elsewhere"))
    }
}

fn unchanged(_: &mut App, _: &Path) {}

fn assert_fault((id, key, elsewhere): &(String, String, String), expected: (&str, &str, &str)) {
    assert_eq!((id.as_str(), key.as_str()), (expected.0, expected.1));
    assert!(elsewhere.contains(expected.2), "{elsewhere}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_registration_has_no_faults_whatever_the_credential() {
    let with_scopes = format!("app_id_uri = \"{APP_ID_URI}\"\nscopes = [\"profile\", \"mcp.access\"]");
    for patient in [
        Patient::new(unchanged, SECRET).await,
        Patient::new(unchanged, SECRET).await.with(&with_scopes),
        Patient::new(|app, place| certificate(app, place, 2099), CERTIFICATE).await,
        Patient::new(federation, TOKEN_FILE).await,
    ] {
        assert_eq!(patient.findings().await, [Value::Null; 0]);
        assert_eq!(patient.emulator.calls("/authorize"), 1, "no user was asked for");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_the_registration_is_found() {
    let elsewhere = vec![(Platform::Web, "https://mcp.example.com/callback/entra".to_owned())];
    let patient = Patient::new(|app, _| app.redirect_uris = elsewhere, SECRET).await;
    assert_fault(&patient.fault().await, ("provider.redirect_uri", "id", "Redirect URIs"));

    let mut patient = Patient::new(unchanged, SECRET).await;
    patient.client_id = "99991111-aaaa-2222-bbbb-3333cccc4444".to_owned();
    assert_fault(&patient.fault().await, ("provider.client_unknown", "client_id", "Application (client) ID"));

    let mut patient = Patient::new(unchanged, SECRET).await;
    patient.tenant = "99990000-aaaa-1111-bbbb-222233334444".to_owned();
    assert_fault(&patient.fault().await, ("provider.tenant", "tenant", "Tenant ID"));

    let patient = Patient::new(|app, _| app.secrets = vec!["another".to_owned()], SECRET).await;
    assert_fault(&patient.fault().await, ("provider.client_secret", "client_secret", "Client secrets > Value"));

    let scopes = format!("app_id_uri = \"{APP_ID_URI}\"\nscopes = [\"profile\", \"mcp.nope\"]");
    let patient = Patient::new(unchanged, SECRET).await.with(&scopes);
    assert_fault(&patient.fault().await, ("provider.scope", "scopes", "Expose an API"));

    let nobodys = "app_id_uri = \"api://nobody\"\nscopes = [\"profile\", \"mcp.access\"]";
    let patient = Patient::new(unchanged, SECRET).await.with(nobodys);
    assert_fault(&patient.fault().await, ("provider.scope", "scopes", "Expose an API"));

    let resource =
        format!("app_id_uri = \"{APP_ID_URI}\"\nscopes = [\"profile\", \"mcp.access\"]\nsend_resource = true");
    let patient = Patient::new(unchanged, SECRET).await.with(&resource);
    patient.emulator.state().era = ResourceEra::RejectAll;
    assert_fault(&patient.fault().await, ("provider.resource", "send_resource", "Application ID URI"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_credential_without_a_secret_is_found() {
    let patient = Patient::new(|app, place| certificate(app, place, 2099), CERTIFICATE).await;
    patient.emulator.state().our_app().certificates.clear();
    assert_fault(&patient.fault().await, ("provider.client_certificate", "client_certificate", "Certificates"));

    let patient = Patient::new(|app, place| certificate(app, place, 2024), CERTIFICATE).await;
    assert_fault(&patient.fault().await, ("provider.client_certificate", "client_certificate", "Certificates"));

    let patient = Patient::new(federation, TOKEN_FILE).await;
    std::fs::remove_file(patient.operator.path("token")).unwrap();
    assert_fault(&patient.fault().await, ("provider.credential", "federated_token_file", ""));

    let patient = Patient::new(federation, TOKEN_FILE).await;
    patient.emulator.state().our_app().federated[0].subject = "system:serviceaccount:other:other".to_owned();
    assert_fault(
        &patient.fault().await,
        ("provider.federated_credential", "federated_token_file", "Federated credentials"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_told_from_a_wrong_setting() {
    let patient = Patient::new(unchanged, SECRET).await;
    for end in ["/token", "/token"] {
        patient.emulator.state().fail_next(end, 503, None);
    }
    assert_eq!(ids(&patient.findings().await), ["provider.token_endpoint"]);
    patient.emulator.state().fail_next("/openid-configuration", 503, None);
    assert_eq!(ids(&patient.findings().await), ["provider.discovery"]);
}

/// Writes a certificate that ends in this year, and its key, and uploads the certificate.
fn certificate(app: &mut App, place: &Path, year: i32) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut parameters = CertificateParams::new(vec!["portcullis".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
    let certificate = parameters.self_signed(&key).unwrap();
    std::fs::write(place.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(place.join("key.pem"), key.serialize_pem()).unwrap();
    let pair = aws_lc_rs::rsa::KeyPair::from_pkcs8(&key.serialize_der()).unwrap();
    app.secrets.clear();
    app.certificates.insert(base64url(Sha256::of(certificate.der()).as_bytes()), public_key_of(&pair));
}

/// Trusts a workload, and writes its token.
fn federation(app: &mut App, place: &Path) {
    let issuer = "https://oidc.prod-aks.azure.com/cluster/";
    let (subject, audience) = ("system:serviceaccount:mcp:portcullis", "api://AzureADTokenExchange");
    app.secrets.clear();
    app.federated = vec![FederatedCredential {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        audience: audience.to_owned(),
    }];
    let token = external_token(issuer, subject, audience, Clock::system().now().0 + 3600);
    std::fs::write(place.join("token"), token).unwrap();
}
