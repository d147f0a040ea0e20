//! Environment variables over the file.

use insta::assert_snapshot;
use portcullis::cli::Outcome;

use super::{Operator, REST, ROOT_KEY};

#[test]
fn an_unknown_variable_is_an_error_with_a_suggestion() {
    let operator = Operator::new()
        .with("PORTCULLIS_PUBLIC_ULR", "https://mcp.example.com")
        .with("PORTCULLIS_SEVER__LISTEN", "127.0.0.1:1")
        .with("PORTCULLIS_SERVER__LISTN", "127.0.0.1:1")
        .with("PORTCULLIS_SERVER", "127.0.0.1:1")
        .with("PORTCULLIS_Server__Listen", "127.0.0.1:1")
        .with("PORTCULLIS_SERVER__LISTEN__MORE", "127.0.0.1:1")
        .with("PORTCULLIS_UPSTREAM__URL", "http://127.0.0.1:1/mcp")
        .with("PORTCULLIS_UPSTREAM__WIKI__URL", "http://127.0.0.1:1/mcp")
        .with("PORTCULLIS_UPSTREAM__EXPENSES__ULR", "http://127.0.0.1:1/mcp")
        .with("PORTCULLIS_CLIENT__CHAT__NAME", "Chat")
        .with("PORTCULLIS_", "")
        .with("PORTCULLIS_FROBNICATE", "")
        .with("PORTCULLIS_PORT", "tcp://10.0.0.1:80")
        .with("PORTCULLIS_SERVICE_HOST", "10.0.0.1")
        .with("OTHERS_SERVER__LISTN", "");
    assert_snapshot!(operator.problems(format!("public_url = \"https://mcp.example.com\"{REST}")), @r#"
    PORTCULLIS_: error: matches no setting
        hint: PORTCULLIS_SECTION__KEY, such as PORTCULLIS_SERVER__LISTEN, or PORTCULLIS_PUBLIC_URL
    PORTCULLIS_CLIENT__CHAT__NAME: error: matches no client: the file has none with an id
    PORTCULLIS_FROBNICATE: error: matches no setting
        hint: PORTCULLIS_SECTION__KEY, such as PORTCULLIS_SERVER__LISTEN, or PORTCULLIS_PUBLIC_URL
    PORTCULLIS_PUBLIC_ULR: error: matches no setting
        hint: did you mean PORTCULLIS_PUBLIC_URL?
    PORTCULLIS_SERVER: error: matches no setting
        hint: PORTCULLIS_SECTION__KEY, such as PORTCULLIS_SERVER__LISTEN, or PORTCULLIS_PUBLIC_URL
    PORTCULLIS_SERVER__LISTEN__MORE: error: matches no setting
        hint: PORTCULLIS_SECTION__KEY, such as PORTCULLIS_SERVER__LISTEN, or PORTCULLIS_PUBLIC_URL
    PORTCULLIS_SERVER__LISTN: error: server: unknown key "listn"
        hint: did you mean "listen"?
    PORTCULLIS_SEVER__LISTEN: error: matches no setting
        hint: did you mean PORTCULLIS_SERVER__LISTEN?
    PORTCULLIS_Server__Listen: error: must be in capitals
        hint: write the whole name in capitals
    PORTCULLIS_UPSTREAM__EXPENSES__ULR: error: upstream "expenses": unknown key "ulr"
        hint: did you mean "url"?
    PORTCULLIS_UPSTREAM__URL: error: does not name an entry
        hint: put the id in the middle: PORTCULLIS_UPSTREAM__ID__KEY
    PORTCULLIS_UPSTREAM__WIKI__URL: error: matches no upstream in the file
        hint: known ids are EXPENSES
    portcullis.toml: 12 errors
    "#);
}

#[test]
fn a_value_in_a_variable_is_validated_like_one_in_the_file() {
    let operator = Operator::new()
        .with("PORTCULLIS_PUBLIC_URL", "https://mcp.example.com/")
        .with("PORTCULLIS_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, proxy")
        .with("PORTCULLIS_SERVER__ALLOWED_HOSTS", "[\"a.example\", \"*\"]")
        .with("PORTCULLIS_SERVER__INSPECT_LIMIT", "5")
        .with("PORTCULLIS_REGISTRATION__ENABLED", "yes")
        .with("PORTCULLIS_SECRETS__KEYS", "short")
        .with("PORTCULLIS_TOKENS__ALGORITHM", "HS256")
        .with("PORTCULLIS_IDENTITY__KEYCLOAK__CLIENT_SECRET", "")
        .with("PORTCULLIS_UPSTREAM__EXPENSES__DEFAULT", "1")
        .with("PORTCULLIS_CLIENT__MY_CHAT_1__REDIRECT_URIS", "http://a.example/")
        .with("PORTCULLIS_CLIENT__MY_CHAT_1__CLIENT_SECRET", "a-secret-of-thirty-two-characters");
    let client = "[[client]]\nclient_id = \"my.chat-1\"\n";
    assert_snapshot!(operator.problems(format!("public_url = \"https://mcp.example.com\"{REST}{client}")), @r#"
    PORTCULLIS_CLIENT__MY_CHAT_1__REDIRECT_URIS: error: client "my.chat-1": redirect_uris[0]: is neither https, nor http on a loopback address, nor an allowed private-use URI
        hint: https, http on 127.0.0.1, [::1] or localhost, or listed in registration.private_use_redirect_uris
    PORTCULLIS_IDENTITY__KEYCLOAK__CLIENT_SECRET: error: identity "keycloak": client_secret: the secret is empty
        hint: put the secret into its file or variable
    PORTCULLIS_PUBLIC_URL: error: public_url: must be an origin like https://mcp.example.com, without path, trailing slash, query or user information
    PORTCULLIS_REGISTRATION__ENABLED: error: registration: enabled: must be true or false
    PORTCULLIS_SECRETS__KEYS: error: secrets: keys[0]: the secret is not a root key (32 bytes in base64)
        hint: `portcullis keys generate` makes one
    PORTCULLIS_SERVER__ALLOWED_HOSTS: error: server: allowed_hosts[1]: is not a host
        hint: a name or address, and a port unless it is the scheme's own: "mcp.internal:8443"
    PORTCULLIS_SERVER__INSPECT_LIMIT: error: server: inspect_limit: must be between 1KiB and 64MiB
    PORTCULLIS_SERVER__TRUSTED_PROXIES: error: server: trusted_proxies[1]: must be a network or an address
        hint: for example "10.0.0.0/8" or "192.0.2.7"
    PORTCULLIS_TOKENS__ALGORITHM: error: tokens: algorithm: must be one of "ES256", "RS256", "EdDSA"
        hint: did you mean "ES256"?
    PORTCULLIS_UPSTREAM__EXPENSES__DEFAULT: error: upstream "expenses": default: must be true or false
    portcullis.toml: 10 errors
    "#);
}

#[test]
fn a_variable_that_the_file_names_as_a_secret_is_not_unknown() {
    let operator = Operator::new().with("PORTCULLIS_ROOT_KEY", ROOT_KEY.trim());
    let rest = REST.replace("file = \"portcullis.key\"", "env = \"PORTCULLIS_ROOT_KEY\"");
    let printed = operator.check(format!("public_url = \"https://mcp.example.com\"{rest}"));
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
}

#[test]
fn a_header_for_an_upstream_may_come_from_its_own_variable() {
    let rest =
        REST.replace("url = \"http://127", "headers = { X-Functions-Key = { env = \"NOT_SET\" } }\nurl = \"http://127");
    let operator = Operator::new()
        .with("PORTCULLIS_UPSTREAM__EXPENSES__HEADERS__X_FUNCTIONS_KEY", "k1")
        .with("PORTCULLIS_UPSTREAM__EXPENSES__HEADERS__AUTHORIZATION", "Bearer k2")
        .with("PORTCULLIS_UPSTREAM__EXPENSES__GROUPS", "staff, mcp-*");
    let file = operator.path("portcullis.toml");
    std::fs::write(&file, format!("public_url = \"https://mcp.example.com\"{rest}")).unwrap();
    let loaded = portcullis::config::Config::load(&file, operator.environment.clone()).unwrap();
    let settings = &loaded.config.upstreams[0].settings.request_headers;
    let added: Vec<_> =
        settings.added.iter().map(|added| (added.name.as_str(), added.value.to_str().unwrap())).collect();
    assert_eq!(added, [("x-functions-key", "k1"), ("authorization", "Bearer k2")]);
    assert_eq!(settings.groups.names, ["staff", "mcp-*"]);
    let shown = format!("{:?}", loaded.config);
    assert!(!shown.contains("k1") && !shown.contains("k2"), "no value prints");
    for (name, part) in [
        ("PORTCULLIS_UPSTREAM__EXPENSES__HEADERS__X_FORWARDED_USER", "the gateway sets or removes this header"),
        ("PORTCULLIS_UPSTREAM__EXPENSES__HEADERS", "must be a table of header names"),
        ("PORTCULLIS_UPSTREAM__WIKI__HEADERS__X_KEY", "matches no upstream in the file"),
    ] {
        let problems =
            Operator::new().with(name, "s3cret").problems(format!("public_url = \"https://mcp.example.com\"{REST}"));
        assert!(problems.contains(name) && problems.contains(part) && !problems.contains("s3cret"), "{problems}");
    }
}

#[test]
fn a_proxy_in_the_environment_is_used_only_if_configured_and_its_password_never_printed() {
    let text = |section: &str| format!("public_url = \"https://mcp.example.com\"\n[outbound]\n{section}\n{REST}");
    let operator = || Operator::new().with("HTTPS_PROXY", "http://user:s3cret@proxy.example.com:3128");
    let unsaid = operator().check(format!("public_url = \"https://mcp.example.com\"{REST}"));
    assert_eq!(unsaid.outcome, Outcome::Done);
    assert_snapshot!(unsaid.err, @r#"
    portcullis.toml: warning: outbound: proxy: HTTPS_PROXY is set but not used: identity providers are called directly
        hint: [outbound] proxy = "env" uses it and NO_PROXY; proxy = "off" silences this warning
    portcullis.toml: 1 warning
    "#);
    for said in ["proxy = \"off\"", "proxy = \"env\"", "proxy = \"http://other.example.com:3128\""] {
        let printed = operator().check(text(said));
        assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""), "{said}");
    }
    let nothing_set = Operator::new().check(text("proxy = \"env\""));
    assert!(nothing_set.err.contains("neither HTTPS_PROXY nor HTTP_PROXY"), "{}", nothing_set.err);
    let wrong = "proxy = \"http://user:s3cret@proxy.example.com:3128\"\nno_proxy = [\"http://keycloak\"]";
    assert_snapshot!(operator().problems(text(wrong)), @r#"
    portcullis.toml:3:9: error: outbound: proxy: contains a password, and secrets are not allowed in this file
        hint: write "env", and put the whole URL into the variable HTTPS_PROXY
    portcullis.toml:4:13: error: outbound: no_proxy[0]: is not a name, an address or a network
        hint: such as "keycloak", ".internal" or "10.0.0.0/8", without scheme and port
    portcullis.toml: 2 errors
    "#);
    let socks = Operator::new().with("ALL_PROXY", "socks5://user:s3cret@proxy.example.com:1080");
    let problems = socks.problems(text("proxy = \"env\""));
    assert!(problems.contains("ALL_PROXY is not the http") && !problems.contains("s3cret"), "{problems}");
}
