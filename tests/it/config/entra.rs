//! `[[identity]]` with `kind = "entra"`.

use super::{Operator, REST};

/// A file with this entry in the place of Keycloak's.
fn with(entry: &str) -> String {
    let (before, rest) = REST.split_once("[[identity]]").unwrap();
    let (_, after) = rest.split_once("[[upstream]]").unwrap();
    format!(
        "public_url = \"https://mcp.example.com\"{before}[[identity]]\nid = \"entra\"\nkind = \"entra\"\n{entry}\n[[upstream]]{after}"
    )
}

const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";

fn operator() -> Operator {
    Operator::new().with("ENTRA_CLIENT_SECRET", "a-secret")
}

fn good(more: &str) -> String {
    with(&format!(
        "tenant = \"{TENANT}\"\nclient_id = \"x\"\nclient_secret = {{ env = \"ENTRA_CLIENT_SECRET\" }}\n{more}"
    ))
}

#[test]
fn a_whole_entry_is_accepted_and_is_called_microsoft() {
    for more in [
        "",
        "prompt = \"off\"",
        "authority = \"https://login.microsoftonline.us\"\ngraph_url = \"https://dod-graph.microsoft.us\"",
        "authority = \"https://contoso.ciamlogin.com/\"",
        "authority = \"https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_x\"",
        "app_id_uri = \"api://x\"\nscopes = [\"profile\", \"mcp.read\"]\ngroups_overage = \"graph\"\nsend_resource = true",
        "scopes = [\"profile\", \"https://graph.microsoft.com/User.Read\"]",
        "standing = \"none\"\ntrust_email = true",
    ] {
        let printed = operator().check(good(more));
        assert!(
            printed.out.contains("callback/entra") && printed.err.is_empty(),
            "{more}: {}{}",
            printed.out,
            printed.err
        );
    }
}

#[test]
fn every_mistake_in_an_entry_is_reported() {
    let entry = "tenant = \"organizations\"
client_id = \"\"
allowed_tenants = [\"contoso.com\"]
app_id_uri = \"api://x/\"
discovery = \"https://x\"
prompt = \"none\"";
    let problems = operator().problems(with(entry));
    for expected in [
        "client_id: is empty",
        "client_id: there is no credential",
        "allowed_tenants[0]: is not the id of a tenant",
        "app_id_uri: is not an Application ID URI",
        "unknown key \"discovery\"",
        "prompt: must be one of \"select_account\", \"login\", \"consent\", \"off\"",
    ] {
        assert!(problems.contains(&format!("identity \"entra\": {expected}")), "{expected}: {problems}");
    }
    let authority = "authority = \"https://login.microsoftonline.com/organizations/v2.0\"";
    assert!(operator().problems(good(authority)).contains("authority: goes on too long"));
}

#[test]
fn what_contradicts_itself_is_refused() {
    let mut all = String::new();
    for (entry, words) in [
        ("tenant = \"common\"", "lets users of every tenant in the world sign in"),
        ("tenant = \"consumers\"", "9188040d-6c67-4c5b-b112-36a304b66dad"),
        ("tenant = \"contoso\"", "is not a tenant"),
        ("tenant = \"contoso.com\"\nallowed_tenants = []", "has no effect"),
        ("tenant = \"T\"\nsend_resource = true", "needs `app_id_uri`"),
        ("tenant = \"T\"\ngroups_overage = \"graph\"", "set app_id_uri, and name a scope"),
        ("tenant = \"T\"\ngroups_overage = \"graph\"\napp_id_uri = \"api://x\"", "set app_id_uri, and name a scope"),
        ("tenant = \"T\"\nstanding = \"session\"", "belong to no session"),
        ("tenant = \"T\"\nscopes = [\"mcp.read\"]", "look for in Microsoft Graph"),
        ("tenant = \"T\"\nauthority = \"http://login.example.com\"", "must be https"),
        (
            "tenant = \"T\"\nauthority = \"https://x.b2clogin.com/x/B2C_1_y\"\nprompt = \"select_account\"",
            "not known to Azure AD B2C",
        ),
        ("tenant = \"organizations\"\nallowed_tenants = [\"T\"]\ntrust_email = true", "take any address"),
        ("tenant = \"T\"\nmanaged_identity = { client_id = \"x\" }", "is a second credential"),
        ("tenant = \"T\"\nissuer = \"login.example.com\"", "is not an issuer"),
        ("tenant = \"T\"\ngraph_url = \"http://graph.example.com\"", "must be an https URL"),
    ] {
        let entry = entry.replace("\"T\"", &format!("\"{TENANT}\""));
        let entry = format!("client_id = \"x\"\nclient_secret = {{ env = \"ENTRA_CLIENT_SECRET\" }}\n{entry}");
        let problems = operator().problems(with(&entry));
        assert!(problems.contains(words), "{entry}: {problems}");
        all.push_str(&problems);
    }
    let many: Vec<String> = (0..60).map(|number| format!("\"scope.with.a.long.name.{number}\"")).collect();
    let problems =
        operator().problems(good(&format!("app_id_uri = \"api://{TENANT}\"\nscopes = [{}]", many.join(", "))));
    assert!(problems.contains("longer than 3000 characters"), "{problems}");
    assert!(!all.contains("a-secret"));
}

#[test]
fn a_credential_is_demanded_and_judged() {
    let with_credential = |line: &str| with(&format!("tenant = \"{TENANT}\"\nclient_id = \"x\"\n{line}"));
    let operator = operator();
    assert!(operator.problems(with_credential("")).contains("there is no credential"));
    let rsa = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let other = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let elliptic = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["x".to_owned()]).unwrap();
    std::fs::write(operator.path("cert.pem"), certificate.self_signed(&rsa).unwrap().pem()).unwrap();
    for (name, text) in
        [("key", rsa.serialize_pem()), ("other", other.serialize_pem()), ("ec", elliptic.serialize_pem())]
    {
        operator.write_secret(&format!("{name}.pem"), text);
    }
    operator.write_secret("nonsense.pem", "nonsense");
    let line = |certificate: &str, key: &str| {
        with_credential(&format!(
            "client_certificate = {{ certificate = \"{certificate}\", key = {{ file = \"{key}\" }} }}"
        ))
    };
    for (certificate, key, words) in [
        ("cert.pem", "other.pem", "the key is not that of the certificate"),
        ("cert.pem", "ec.pem", "the key is not an RSA key"),
        ("cert.pem", "nonsense.pem", "the key is not a private key"),
        ("cert.pem", "nowhere.pem", "the secret's file cannot be read"),
        ("nowhere.pem", "key.pem", "the certificate's file cannot be read"),
        ("key.pem", "key.pem", "holds no certificate"),
    ] {
        let problems = operator.problems(line(certificate, key));
        assert!(problems.contains(words) && !problems.contains("BEGIN"), "{certificate} {key}: {problems}");
    }
    assert!(operator.check(line("cert.pem", "key.pem")).err.is_empty());
    let absent = operator.check(with_credential("federated_token_file = \"nowhere\""));
    assert!(absent.err.contains("there is no such file now") && !absent.out.is_empty(), "{}", absent.err);
    assert!(operator.check(with_credential("managed_identity = { client_id = \"x\" }")).err.is_empty());
    let half = Operator::new().with("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token");
    assert!(half.problems(with_credential("managed_identity = { client_id = \"x\" }")).contains("IDENTITY_HEADER"));
}

#[test]
fn a_public_url_that_no_registration_takes_is_a_warning() {
    for (url, warned) in [("http://127.0.0.1:8080", true), ("http://localhost:8080", false)] {
        let printed = Operator::without_proxy()
            .with("ENTRA_CLIENT_SECRET", "a-secret")
            .check(good("").replace("https://mcp.example.com", url));
        assert_eq!(printed.err.contains("http for localhost alone"), warned, "{url}: {}", printed.err);
    }
}
