//! `[upstream.delegation]`.

use portcullis::cli::Outcome;

use super::{Operator, REST};

const ISSUER: &str = "[[issuer]]\nid = \"corp\"\nkind = \"keycloak\"\nissuer = \"https://sso.example.com/realms/corp\"\n\
    audiences = [\"https://mcp.example.com/mcp\"]\n";
const ENTRA: &str = "[[identity]]\nid = \"entra\"\nkind = \"entra\"\ntenant = \"8eaef023-2b34-4da1-9baa-8bc8c9d6a490\"\n\
    client_id = \"11112222-bbbb-3333-cccc-4444dddd5555\"\nclient_secret = { file = \"secret\" }\n";

/// What `check` says of the upstream with these keys and this table, and of what comes after it.
fn check(keys: &str, table: &str, after: &str) -> String {
    let configuration = format!("public_url = \"https://mcp.example.com\"{REST}");
    let configuration = configuration.replacen("[[upstream]]\n", &format!("[[upstream]]\n{keys}\n"), 1);
    let operator = Operator::new().with("SERVICE_KEY", "the-key");
    operator.write_secret("secret", "the-secret");
    let checked = operator.check(format!("{configuration}\n[upstream.delegation]\n{table}\n{after}"));
    assert_eq!(!checked.err.contains("error"), checked.outcome == Outcome::Done, "{}", checked.err);
    checked.err
}

#[test]
fn every_kind_is_written_in_one_table() {
    let entra = format!("{ENTRA}app_id_uri = \"api://portcullis\"\nscopes = [\"profile\", \"access_as_user\"]\n");
    for (table, after) in [
        ("kind = \"assertion\"\naudience = \"urn:example:expenses\"", ""),
        (
            "kind = \"assertion\"\naudience = \"expenses\"\nlifetime = \"5m\"\nclaims = [\"groups\", \"email\"]\n\
             header = \"x-jwt-assertion\"",
            "",
        ),
        (
            "kind = \"token_exchange\"\nidentity = \"keycloak\"\naudience = \"expenses-api\"\nscopes = [\"expenses\"]",
            "",
        ),
        ("kind = \"provider_access_token\"\nidentity = \"keycloak\"", ""),
        ("kind = \"secret\"\nsecret = { env = \"SERVICE_KEY\" }\nheader = \"x-service-key\"", ""),
        ("kind = \"on_behalf_of\"\nidentity = \"entra\"\nscopes = [\"api://expenses/.default\"]", entra.as_str()),
    ] {
        assert_eq!(check("", table, after), "", "{table}");
    }
}

#[test]
fn mistakes_in_the_table_are_named() {
    for (keys, table, words) in [
        ("", "audience = \"x\"", "kind"),
        ("", "kind = \"token-exchange\"", "kind"),
        ("", "kind = \"assertion\"", "delegation.audience: is missing"),
        ("", "kind = \"assertion\"\naudience = \"a b\"", "delegation.audience: is not an audience"),
        (
            "",
            "kind = \"assertion\"\naudience = \"x\"\nlifetime = \"1h\"",
            "delegation.lifetime: must be between 30s and 10m",
        ),
        ("", "kind = \"assertion\"\naudience = \"x\"\nclaims = [\"mail\"]", "did you mean \"email\"?"),
        (
            "",
            "kind = \"assertion\"\naudience = \"x\"\nsecret = { env = \"SERVICE_KEY\" }",
            "delegation.secret: has no effect with this kind",
        ),
        ("", "kind = \"secret\"", "delegation.secret: is missing"),
        ("", "kind = \"secret\"\nsecret = \"the-key\"", "secrets are not allowed in this file"),
        (
            "",
            "kind = \"secret\"\nsecret = { env = \"SERVICE_KEY\" }\nheader = \"x-forwarded-user\"",
            "delegation.header: is reserved",
        ),
        (
            "",
            "kind = \"secret\"\nsecret = { env = \"SERVICE_KEY\" }\nheader = \"mcp-session-id\"",
            "delegation.header: ",
        ),
        (
            "",
            "kind = \"secret\"\nsecret = { env = \"SERVICE_KEY\" }\nheader = \"cookie\"",
            "delegation.header: cannot be used",
        ),
        (
            "headers = { x-service-key = { env = \"SERVICE_KEY\" } }",
            "kind = \"secret\"\nsecret = { env = \"SERVICE_KEY\" }\nheader = \"X_Service_Key\"",
            "is set in headers, too",
        ),
        ("", "kind = \"token_exchange\"\naudience = \"x\"", "delegation.identity: is missing"),
        ("", "kind = \"token_exchange\"\nidentity = \"keycloak\"", "delegation.audience: is missing"),
        (
            "",
            "kind = \"token_exchange\"\nidentity = \"other\"\naudience = \"x\"",
            "delegation.identity: is not the id of an identity",
        ),
        (
            "",
            "kind = \"on_behalf_of\"\nidentity = \"keycloak\"\nscopes = [\"a\"]",
            "\"on_behalf_of\" is for identities with kind = \"entra\"",
        ),
        ("", "kind = \"on_behalf_of\"\nidentity = \"keycloak\"", "delegation.scopes: is missing"),
    ] {
        let told = check(keys, table, "");
        assert!(told.contains(words), "{table}: {told}");
        assert!(!told.contains("the-key"), "{told}");
    }
}

#[test]
fn an_assertion_has_an_audience_of_its_own() {
    for audience in [
        "https://mcp.example.com",
        "https://mcp.example.com/",
        "https://mcp.example.com/mcp",
        "https://mcp.example.com/mcp/",
        "https://mcp.example.com/token",
    ] {
        let told = check("", &format!("kind = \"assertion\"\naudience = \"{audience}\""), "");
        assert!(told.contains("delegation.audience: is one of our own URLs"), "{audience}: {told}");
    }
    let second = "[[upstream]]\nid = \"notes\"\npath = \"/notes\"\nurl = \"http://127.0.0.1:8421/mcp\"\n\
        [upstream.delegation]\nkind = \"assertion\"\naudience = \"urn:servers\"\n";
    let told = check("", "kind = \"assertion\"\naudience = \"urn:servers\"", second);
    assert!(told.contains("upstream \"notes\": delegation.audience: is that of upstream"), "{told}");
}

#[test]
fn what_cannot_go_together_is_refused_by_name() {
    let exchange = "kind = \"token_exchange\"\nidentity = \"keycloak\"\naudience = \"expenses-api\"";
    let told = check("api_keys = [\"bearer\"]", exchange, "");
    assert!(
        told.contains("delegation.kind: needs a user who signed in, and api_keys lets callers in who did not"),
        "{told}"
    );
    let told = check("accepts = [\"own\", \"corp\"]", exchange, ISSUER);
    assert!(
        told.contains("delegation.kind: needs a user who signed in here, and accepts names an [[issuer]]"),
        "{told}"
    );
    let told = check("accepts = [\"corp\"]", "kind = \"assertion\"\naudience = \"x\"", ISSUER);
    assert!(
        told.contains("delegation.kind: \"assertion\" needs a signing key, and no upstream accepts \"own\""),
        "{told}"
    );
    assert_eq!(check("accepts = [\"own\", \"corp\"]", "kind = \"assertion\"\naudience = \"x\"", ISSUER), "");
    assert_eq!(check("api_keys = [\"bearer\"]", "kind = \"assertion\"\naudience = \"x\"", ""), "");

    let told = check("", "kind = \"token_exchange\"\nidentity = \"entra\"\naudience = \"x\"", ENTRA);
    assert!(told.contains("\"token_exchange\" is not what Entra ID has"), "{told}");
    let on_behalf = "kind = \"on_behalf_of\"\nidentity = \"entra\"\nscopes = [\"api://expenses/.default\"]";
    let told = check("", on_behalf, ENTRA);
    assert!(told.contains("delegation.identity: asks for no scope of our own API"), "{told}");
    let none = "[[identity]]\nid = \"sso\"\nkind = \"oidc\"\nissuer = \"https://sso.example.com\"\nclient_id = \"a\"\nstanding = \"none\"\n";
    let told = check("", "kind = \"provider_access_token\"\nidentity = \"sso\"", none);
    assert!(told.contains("delegation.identity: has standing = \"none\""), "{told}");
}

#[test]
fn an_unknown_key_of_the_table_is_an_error() {
    let told = check("", "kind = \"assertion\"\naudience = \"x\"\naudiense = \"y\"", "");
    assert!(told.contains("audiense"), "{told}");
}
