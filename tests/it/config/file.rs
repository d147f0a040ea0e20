//! Mistakes in the file as a whole and in its sections, and what is accepted.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;
use portcullis::cli::Outcome;

use super::{EXAMPLE, Operator, REST, ROOT_KEY, whole_example, whole_operator};

#[test]
fn check_lists_the_urls_of_a_valid_file_that_must_be_entered_elsewhere() {
    let more = "[[upstream]]\nid = \"wiki\"\npath = \"/team/wiki\"\nurl = \"https://wiki.internal/mcp\"\n";
    let printed = Operator::new().check(format!("public_url = \"https://mcp.example.com\"\n{REST}{more}"));
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
    assert_snapshot!(printed.out, @r#"
    portcullis.toml: ok

      public URL, and issuer of all tokens
        https://mcp.example.com

      server URLs for clients
        expenses  https://mcp.example.com/mcp
        wiki      https://mcp.example.com/team/wiki

      redirect URIs to register at the identity providers
        keycloak  https://mcp.example.com/callback/keycloak

      back-channel logout URLs to enter there, if users shall be signed out here as well
        keycloak  https://mcp.example.com/back-channel-logout/keycloak
    "#);
}

#[test]
fn the_example_is_valid_as_it_is_and_with_every_key() {
    let operator = whole_operator();
    for text in [EXAMPLE, &whole_example()] {
        let printed = operator.check(text);
        assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
    }
}

const SECTIONS: &str = r#"public_url = "http://mcp.example.com"

[server]
listen = "localhost:8080"
operations = "127.0.0.1:8080"
trusted_proxies = ["10.0.0.0/8", "proxy", "0.0.0.0/0"]
allowed_origins = ["https://a.example/", "https://a.example", "null"]
allowed_hosts = ["MCP.internal:8443", "*.example.com", "https://x"]
inspect_limit = "1MB"
max_stream_age = 3600
revocation_staleness = "0s"
drain = "1h30m"

[storage]
url = "postgres://h/db"

[lifetimes]
code = "1h"
consent = 15
access_token = "0s"

[registration]
private_use_redirect_uris = ["cursor:", "https://a/cb", "x://*/cb"]
max_unused = 0
"#;

#[test]
fn every_invalid_value_is_reported_in_one_run() {
    assert_snapshot!(Operator::without_proxy().problems(SECTIONS), @r#"
    portcullis.toml: error: identity: there is no valid identity provider
        hint: add [[identity]], which signs users in
    portcullis.toml: error: secrets: keys: there is no root key
        hint: `portcullis keys generate --out portcullis.key` makes one: keys = [{ file = "portcullis.key" }]
    portcullis.toml: error: upstream: there is no MCP server to protect
        hint: add [[upstream]] with id, path and url
    portcullis.toml:1:14: error: public_url: must be https unless its host is this machine (127.0.0.1, [::1] or localhost)
    portcullis.toml:4:10: error: server: listen: must be an IP address and a port
        hint: "127.0.0.1:8080" for this machine only, "0.0.0.0:8080" or "[::]:8080" for everyone
    portcullis.toml:5:14: error: server: operations: is the same address as listen
        hint: give it another port, or write "off"
    portcullis.toml:6:34: error: server: trusted_proxies[1]: must be a network or an address
        hint: for example "10.0.0.0/8" or "192.0.2.7"
    portcullis.toml:6:43: warning: server: trusted_proxies[2]: lets every client choose its own address
        hint: list only the networks of your proxies
    portcullis.toml:7:20: error: server: allowed_origins[0]: is not an origin in the form that browsers send
        hint: scheme, host and port only: "https://app.example.com"; "*" means every origin
    portcullis.toml:7:63: error: server: allowed_origins[2]: is not an origin in the form that browsers send
        hint: scheme, host and port only: "https://app.example.com"; "*" means every origin
    portcullis.toml:8:39: error: server: allowed_hosts[1]: is not a host
        hint: a name or address, and a port unless it is the scheme's own: "mcp.internal:8443"
    portcullis.toml:8:56: error: server: allowed_hosts[2]: is not a host
        hint: a name or address, and a port unless it is the scheme's own: "mcp.internal:8443"
    portcullis.toml:9:17: error: server: inspect_limit: must be a size
        hint: a number of bytes, or a text such as "64KiB" or "1MiB"
    portcullis.toml:10:18: error: server: max_stream_age: must be a duration
        hint: a duration such as "1h", or "off"
    portcullis.toml:11:24: error: server: revocation_staleness: must be longer than 0s
        hint: "off" switches it off
    portcullis.toml:12:9: error: server: drain: must be a duration
        hint: a whole number and s, m, h or d: "60s", "15m", "1h", "30d"
    portcullis.toml:15:7: error: storage: url: names no user
        hint: write url = "postgres://USER@HOST:5432/DATABASE"
    portcullis.toml:18:8: error: lifetimes: code: must be at most 10m
    portcullis.toml:19:11: error: lifetimes: consent: must be a duration
        hint: a whole number and s, m, h or d: "60s", "15m", "1h", "30d"
    portcullis.toml:20:16: error: lifetimes: access_token: must be longer than 0s
    portcullis.toml:23:30: error: registration: private_use_redirect_uris[0]: must be scheme, authority and path in normal form, without query and fragment
        hint: scheme, authority and path of one application: "cursor://anysphere.cursor-mcp/oauth/callback"
    portcullis.toml:23:41: error: registration: private_use_redirect_uris[1]: is not a private-use URI
        hint: https, and http on loopback, are allowed without being listed
    portcullis.toml:23:57: error: registration: private_use_redirect_uris[2]: patterns are not supported: redirect URIs are compared exactly
        hint: scheme, authority and path of one application: "cursor://anysphere.cursor-mcp/oauth/callback"
    portcullis.toml:24:14: error: registration: max_unused: must be at least 1
        hint: enabled = false switches registration off
    portcullis.toml: 23 errors, 1 warning
    "#);
}

#[test]
fn an_unknown_log_format_or_level_is_reported_with_the_known_ones() {
    let problems =
        |log: &str| Operator::new().problems(format!("public_url = \"https://mcp.example.com\"\n[log]\n{log}\n{REST}"));
    assert_snapshot!(problems("format = \"xml\""), @r#"
    portcullis.toml:3:10: error: log: format: must be one of "auto", "text", "json"
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(problems("level = \"warn,portcullis=loud\""), @r#"
    portcullis.toml:3:9: error: log: level: must be levels, separated by commas
        hint: "info", or with targets "warn,portcullis=debug,access=off"; off, error, warn, info, debug, trace
    portcullis.toml: 1 error
    "#);
}

#[test]
fn an_unknown_key_is_reported_with_a_suggestion_and_hides_no_other_mistake() {
    let text = r#"public_url = "https://mcp.example.com/"
ca_flie = "ca.pem"
[sever]
listen = "127.0.0.1:1"
[server]
lisetn = "127.0.0.1:1"
frobnicate = true
drain = "25 seconds"
[tokens]
algorithm = 256
refersh = "asked"
[registration]
enabled = "true"
[[upstream]]
id = "wiki"
path = "/wiki/"
urll = "http://127.0.0.1:1/mcp"
"#;
    assert_snapshot!(Operator::new().problems(format!("{text}{REST}")), @r#"
    portcullis.toml:1:14: error: public_url: must be an origin like https://mcp.example.com, without path, trailing slash, query or user information
    portcullis.toml:2:1: error: unknown key "ca_flie"
        hint: did you mean "ca_file"?
    portcullis.toml:2:11: error: ca_file: the file cannot be read: there is no such file or directory
        hint: expected PEM certificates; relative paths begin at /etc/portcullis
    portcullis.toml:3:2: error: unknown key "sever"
        hint: did you mean "server"?
    portcullis.toml:6:1: error: server: unknown key "lisetn"
        hint: did you mean "listen"?
    portcullis.toml:7:1: error: server: unknown key "frobnicate"
        hint: known keys are listen, operations, operations_hosts, trusted_proxies, allowed_origins, allowed_hosts, inspect_limit, max_stream_age, revocation_staleness, drain
    portcullis.toml:8:9: error: server: drain: must be a duration
        hint: a whole number and s, m, h or d: "60s", "15m", "1h", "30d"
    portcullis.toml:10:13: error: tokens: algorithm: must be one of "ES256", "RS256", "EdDSA"
    portcullis.toml:11:1: error: tokens: unknown key "refersh"
        hint: did you mean "refresh"?
    portcullis.toml:13:11: error: registration: enabled: must be true or false
    portcullis.toml:16:8: error: upstream "wiki": path: must not end with /
        hint: remove it: clients reach the path with and without it
    portcullis.toml:17:1: error: upstream "wiki": unknown key "urll"
        hint: did you mean "url"?
    portcullis.toml:17:8: error: upstream "wiki": url: leads back to this program
        hint: write where the MCP server itself listens
    portcullis.toml: 13 errors
    "#);
}

#[test]
fn an_empty_file_is_told_which_settings_are_missing() {
    assert_snapshot!(Operator::new().problems(""), @r#"
    portcullis.toml: error: identity: there is no valid identity provider
        hint: add [[identity]], which signs users in
    portcullis.toml: error: public_url: is missing
        hint: write public_url = "https://mcp.example.com": it is permanent, clients keep it with their credentials
    portcullis.toml: error: secrets: keys: there is no root key
        hint: `portcullis keys generate --out portcullis.key` makes one: keys = [{ file = "portcullis.key" }]
    portcullis.toml: error: storage: url: is missing
        hint: write url = "sqlite:/var/lib/portcullis/portcullis.db", or "postgres://USER@HOST/DATABASE"
    portcullis.toml: error: upstream: there is no MCP server to protect
        hint: add [[upstream]] with id, path and url
    portcullis.toml: 5 errors
    "#);
}

#[test]
fn a_section_of_the_wrong_type_is_not_reported_as_missing_too() {
    let text = "public_url = \"https://mcp.example.com\"\nstorage = \"sqlite:x.db\"\nupstream = 3\nclient = [1]\n\
                [[server]]\n[[secrets]]\n[identity]\nid = \"x\"\n";
    assert_snapshot!(Operator::new().problems(text), @r#"
    portcullis.toml:2:1: error: storage: must be one table, [storage]
    portcullis.toml:3:1: error: upstream: must be a list of tables
        hint: write [[upstream]]
    portcullis.toml:4:11: error: client #1: must be a table
    portcullis.toml:5:3: error: server: must be one table, [server]
    portcullis.toml:6:1: error: secrets: keys: there is no root key
        hint: `portcullis keys generate --out portcullis.key` makes one: keys = [{ file = "portcullis.key" }]
    portcullis.toml:6:3: error: secrets: must be one table, [secrets]
    portcullis.toml:7:1: error: identity "x": "client_id" is missing
        hint: add client_id = "…"
    portcullis.toml:7:1: error: identity "x": "issuer" is missing
        hint: add issuer = "https://sso.example.com/realms/mcp": the provider's own name for itself
    portcullis.toml:7:1: error: identity "x": "kind" is missing
        hint: add kind = "keycloak" or "entra", or "oidc" for any other OpenID Connect provider
    portcullis.toml:7:2: error: identity: must be a list of tables
        hint: write [[identity]]
    portcullis.toml: 10 errors
    "#);
}

#[test]
fn a_syntax_error_is_reported_with_its_place() {
    let operator = Operator::new();
    assert_snapshot!(operator.problems("public_url = \"https://mcp.example.com\"\n[server]\nlisten = 127.0.0.1:8080\n"), @r#"
    portcullis.toml:3:15: error: invalid float, expected nothing
        hint: put strings in quotes: "127.0.0.1:8080"
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(operator.problems("[server]\ndrain = \"1s\"\ndrain = \"2s\"\n"), @r#"
    portcullis.toml:3:1: error: duplicate key
        hint: define each key and each table only once
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(operator.problems("[server\n"), @r#"
    portcullis.toml:1:8: error: unclosed table, expected `]`
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(operator.problems(b"x = \"\xff\""), @r#"
    portcullis.toml: error: the configuration is not UTF-8 text
        hint: save it as UTF-8
    portcullis.toml: 1 error
    "#);
}

#[test]
fn an_unreadable_configuration_is_reported_with_the_reason() {
    let operator = Operator::new();
    assert_snapshot!(operator.run(&["check", "--config", "/nowhere/portcullis.toml"]).err, @r#"
    /nowhere/portcullis.toml: error: the configuration cannot be read: there is no such file or directory
        hint: check --config FILE; relative paths begin at the current directory
    /nowhere/portcullis.toml: 1 error
    "#);
    assert_snapshot!(operator.run(&["check", "-c", "/"]).err, @r#"
    /: error: the configuration cannot be read: it is a directory
        hint: check --config FILE; relative paths begin at the current directory
    /: 1 error
    "#);
}

#[test]
fn doubtful_settings_are_warnings_and_not_errors() {
    let operator = Operator::without_proxy();
    operator.write_secret("open.key", ROOT_KEY.replace('A', "B").replace("BBB=", "BBA="));
    std::fs::set_permissions(operator.path("open.key"), PermissionsExt::from_mode(0o644)).unwrap();
    let text = r#"public_url = "http://127.0.0.1:6749"
[server]
listen = "0.0.0.0:6749"
trusted_proxies = ["::/0"]
[registration]
enabled = false
"#;
    let rest = REST.replace("portcullis.key", "open.key").replace("/realms/mcp", "/auth");
    let printed = operator.check(format!("{text}{rest}"));
    assert_eq!(printed.outcome, Outcome::Done);
    assert!(printed.out.starts_with("portcullis.toml: ok\n"), "{}", printed.out);
    assert_snapshot!(printed.err, @r#"
    portcullis.toml:1:14: warning: public_url: leads to this machine only, while server.listen takes connections from elsewhere
        hint: correct in a container whose port is published on 127.0.0.1; otherwise write the https URL that clients use
    portcullis.toml:4:20: warning: server: trusted_proxies[0]: lets every client choose its own address
        hint: list only the networks of your proxies
    portcullis.toml:6:11: warning: registration: enabled: no client can ever connect: none is configured, and none may register
        hint: add [[client]], or enable registration
    portcullis.toml:11:9: warning: secrets: keys[0]: other users of this machine can read the secret's file
        hint: chmod 600 it
    portcullis.toml:15:10: warning: identity "keycloak": issuer: Keycloak's issuers end in /realms/NAME, without a trailing slash
        hint: for other providers, use kind = "oidc"
    portcullis.toml: 5 warnings
    "#);
    let printed = operator.check(format!("public_url = \"http://localhost:6749\"\n{REST}"));
    assert_snapshot!(printed.err, @r#"
    portcullis.toml:1:14: warning: public_url: has another port than server.listen, which is 127.0.0.1:8080
        hint: use the same port in both
    portcullis.toml: 1 warning
    "#);
}

#[test]
fn unset_trusted_proxies_behind_https_are_a_warning() {
    let operator = Operator::without_proxy();
    let printed = operator.check(format!("public_url = \"https://mcp.example.com\"{REST}"));
    assert_eq!(printed.outcome, Outcome::Done);
    assert_snapshot!(printed.err, @r#"
    portcullis.toml: warning: server: trusted_proxies: is empty, but TLS ends at a proxy: all clients share its address, and the limits of one address
        hint: name that proxy's address or network: trusted_proxies = ["127.0.0.1"]; [] when it sends no X-Forwarded-For
    portcullis.toml: 1 warning
    "#);
    for said in ["[]", "[\"10.0.0.0/8\"]"] {
        let server = format!("public_url = \"https://mcp.example.com\"\n[server]\ntrusted_proxies = {said}{REST}");
        assert_eq!(operator.check(server).err, "", "{said}");
    }
    assert_eq!(operator.check(format!("public_url = \"http://127.0.0.1:8080\"{REST}")).err, "");
}

#[test]
fn a_misspelt_section_is_not_reported_as_missing_too() {
    let text = format!("public_url = \"https://mcp.example.com\"{REST}")
        .replace("public_url", "publik_url")
        .replace("[storage]", "[storge]")
        .replace("[secrets]", "[secretes]")
        .replace("[[identity]]", "[[identities]]")
        .replace("[[upstream]]", "[[upstreams]]");
    assert_snapshot!(Operator::without_proxy().problems(text), @r#"
    portcullis.toml: warning: server: trusted_proxies: is empty, but TLS ends at a proxy: all clients share its address, and the limits of one address
        hint: name that proxy's address or network: trusted_proxies = ["127.0.0.1"]; [] when it sends no X-Forwarded-For
    portcullis.toml:1:1: error: unknown key "publik_url"
        hint: did you mean "public_url"?
    portcullis.toml:2:2: error: unknown key "storge"
        hint: did you mean "storage"?
    portcullis.toml:4:2: error: unknown key "secretes"
        hint: did you mean "secrets"?
    portcullis.toml:6:3: error: unknown key "identities"
        hint: did you mean "identity"?
    portcullis.toml:11:3: error: unknown key "upstreams"
        hint: did you mean "upstream"?
    portcullis.toml: 5 errors, 1 warning
    "#);
}

#[test]
fn common_syntax_errors_have_a_hint() {
    let operator = Operator::without_proxy();
    for (line, hint) in [
        ("drain = 25s", "put strings in quotes"),
        ("a = 10.0.0.0/8", "put strings in quotes"),
        ("a = True", "lower case"),
        ("a = \"x", "with the quote that it begins with"),
        ("a = \"c:\\dir\"", "single quotes"),
        ("server:", "the file is TOML"),
        ("{\"server\": 1}", "the file is TOML"),
        ("// x", "the file is TOML"),
        ("a = 1\na = 2", "only once"),
    ] {
        let problems = operator.problems(format!("{line}\n"));
        assert!(problems.contains("    hint: ") && problems.contains(hint), "{line}: {problems}");
    }
}

#[test]
fn an_unknown_kind_of_provider_is_pointed_to_oidc() {
    let operator = Operator::new();
    let problems = |kind: &str| {
        let rest = REST.replace("kind = \"keycloak\"", &format!("kind = {kind}"));
        operator.problems(format!("public_url = \"https://mcp.example.com\"{rest}"))
    };
    assert!(problems("\"google\"").contains("hint: \"oidc\" is any other OpenID Connect provider"));
    assert!(problems("\"keyclock\"").contains("hint: did you mean \"keycloak\"?"));
    assert!(problems("3").contains("kind: must be \"keycloak\", \"entra\" or \"oidc\""));
}

/// One mistake per line, or a missing key under a header: wrong names, types and values, several in each table.
const THIRTY: &str = r#"public_ulr = "http://mcp.example.com/"
ca_file = 7
[sever]
lisetn = "localhost:8080"
operations = true
drain = 25
frobnicate = 1
allowed_hosts = ["*", 5, "x/y"]
[storage]
ulr = "postgres://h/db"
[secrets]
keys = [{ file = "portcullis.key" }, "inline", { env = "NOT_SET" }]
[lifetimes]
code = 60
consnet = "soon"
[tokens]
algorithm = "HS256"
refresh = 1
[registration]
enabled = "no"
max_unused = 0
[[identity]]
id = "Keycloak"
kind = "google"
issuer = "http://sso.example.com"
standing = "for ever"
scopes = ["a b", 7]
[[upstream]]
id = "expenses"
path = "mcp"
url = 8420
default = "yes"
scopes = "mcp:access"
headers = { host = "inline", "a b" = "inline", cookie = { env = "NOT_SET" }, "c d" = { env = "NOT_SET" } }
[[upstream]]
id = "ourselves"
path = "/ourselves"
url = "https://mcp.example.com/mcp"
scope = [{}]
[[client]]
client_id = 5
redirect_uris = ["https://a.example/*"]
client_secret = "inline"
token_endpoint_auth_method = "basic"
"#;

#[test]
fn thirty_mistakes_in_one_file_are_reported_in_one_run() {
    let problems = Operator::without_proxy().problems(THIRTY);
    let named: Vec<_> = problems.lines().filter(|line| !line.starts_with("    hint: ")).collect();
    assert_snapshot!(named.join("\n"), @r#"
    portcullis.toml:1:1: error: unknown key "public_ulr"
    portcullis.toml:1:14: error: public_url: must be an origin like https://mcp.example.com, without path, trailing slash, query or user information
    portcullis.toml:1:14: error: public_url: must be https unless its host is this machine (127.0.0.1, [::1] or localhost)
    portcullis.toml:2:11: error: ca_file: must be a string in quotes
    portcullis.toml:3:2: error: unknown key "sever"
    portcullis.toml:4:1: error: server: unknown key "lisetn"
    portcullis.toml:4:10: error: server: listen: must be an IP address and a port
    portcullis.toml:5:14: error: server: operations: must be an IP address and a port
    portcullis.toml:6:9: error: server: drain: must be a duration
    portcullis.toml:7:1: error: server: unknown key "frobnicate"
    portcullis.toml:8:18: error: server: allowed_hosts[0]: is not a host
    portcullis.toml:8:23: error: server: allowed_hosts[1]: must be a string in quotes
    portcullis.toml:8:26: error: server: allowed_hosts[2]: is not a host
    portcullis.toml:10:1: error: storage: unknown key "ulr"
    portcullis.toml:10:7: error: storage: url: names no user
    portcullis.toml:12:38: error: secrets: keys[1]: secrets are not allowed in this file
    portcullis.toml:12:48: error: secrets: keys[2]: the environment variable NOT_SET is not set, or is not UTF-8 text
    portcullis.toml:14:8: error: lifetimes: code: must be a duration
    portcullis.toml:15:1: error: lifetimes: unknown key "consnet"
    portcullis.toml:15:11: error: lifetimes: consent: must be a duration
    portcullis.toml:17:13: error: tokens: algorithm: must be one of "ES256", "RS256", "EdDSA"
    portcullis.toml:18:11: error: tokens: refresh: must be "registered" or "asked"
    portcullis.toml:20:11: error: registration: enabled: must be true or false
    portcullis.toml:21:14: error: registration: max_unused: must be at least 1
    portcullis.toml:22:1: error: identity #1: "client_id" is missing
    portcullis.toml:23:6: error: identity #1: id: is not a valid id
    portcullis.toml:24:8: error: identity #1: kind: must be "keycloak", "entra" or "oidc"
    portcullis.toml:25:10: error: identity #1: issuer: must be https unless the provider runs on this machine
    portcullis.toml:26:12: error: identity #1: standing: must be one of "offline", "session", "none"
    portcullis.toml:27:11: error: identity #1: scopes[0]: is not a single scope
    portcullis.toml:27:18: error: identity #1: scopes[1]: must be a string in quotes
    portcullis.toml:30:8: error: upstream "expenses": path: must begin with /
    portcullis.toml:31:7: error: upstream "expenses": url: must be a string in quotes
    portcullis.toml:32:11: error: upstream "expenses": default: must be true or false
    portcullis.toml:33:10: error: upstream "expenses": scopes: must be a list in [ ]
    portcullis.toml:34:20: error: upstream "expenses": headers.host: cannot be set here
    portcullis.toml:34:20: error: upstream "expenses": headers.host: secrets are not allowed in this file
    portcullis.toml:34:38: error: upstream "expenses": headers: is not a header name
    portcullis.toml:34:38: error: upstream "expenses": headers: secrets are not allowed in this file
    portcullis.toml:34:57: error: upstream "expenses": headers.cookie: the environment variable NOT_SET is not set, or is not UTF-8 text
    portcullis.toml:34:86: error: upstream "expenses": headers: is not a header name
    portcullis.toml:34:86: error: upstream "expenses": headers: the environment variable NOT_SET is not set, or is not UTF-8 text
    portcullis.toml:38:7: error: upstream "ourselves": url: leads back to this program
    portcullis.toml:39:10: error: upstream "ourselves": scope[0]: "text" is missing
    portcullis.toml:39:10: error: upstream "ourselves": scope[0]: "value" is missing
    portcullis.toml:41:13: error: client #1: client_id: must be a string in quotes
    portcullis.toml:42:18: error: client #1: redirect_uris[0]: patterns are not supported: redirect URIs are compared exactly
    portcullis.toml:43:17: error: client #1: client_secret: secrets are not allowed in this file
    portcullis.toml:44:30: error: client #1: token_endpoint_auth_method: must be one of "none", "client_secret_basic", "client_secret_post", "private_key_jwt"
    portcullis.toml: 49 errors
    "#);
    let count = problems.lines().last().and_then(|line| line.split_whitespace().nth(1)).unwrap();
    assert!(count.parse::<usize>().unwrap() >= 30, "{problems}");
}

#[test]
fn an_unreadable_value_causes_no_further_errors() {
    let text = format!("public_url = \"https://mcp.example.com\"{REST}")
        .replace("kind = \"keycloak\"", "kind = 3")
        .replace("/realms/mcp", "")
        .replace("path = \"/mcp\"", "path = 3");
    let client = "[[client]]\nclient_id = \"chat\"\nredirect_uris = [\"https://a.example/\"]\n\
                  client_secret = 3\ntoken_endpoint_auth_method = \"client_secret_post\"\n[server]\nlisten = 3\noperations = \"127.0.0.1:8080\"\n";
    assert_snapshot!(Operator::new().problems(format!("{text}{client}")), @r#"
    portcullis.toml:8:8: error: identity "keycloak": kind: must be "keycloak", "entra" or "oidc"
    portcullis.toml:13:8: error: upstream "expenses": path: must be a string in quotes
    portcullis.toml:18:17: error: client "chat": client_secret: must name one source for the secret
        hint: write { file = "/run/secrets/NAME" } or { env = "NAME" }
    portcullis.toml:21:10: error: server: listen: must be a string in quotes
    portcullis.toml: 4 errors
    "#);
}

#[test]
fn check_json_prints_problems_in_a_stable_format() {
    let operator = Operator::new().with("PORTCULLIS_SERVER__DRAIN", "soon");
    let file = operator.path("portcullis.toml").display().to_string();
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let printed = operator.run(&["check", "--json", "--config", &file]);
        assert_eq!(printed.err, "");
        (printed.outcome, printed.out)
    };
    let (outcome, out) =
        check(&format!("public_url = \"https://mcp.example.com/\"{}", REST.replace("[storage]", "[storage]\nx = 1")));
    assert_eq!(outcome, Outcome::Failed);
    assert_snapshot!(out, @r#"
    [
      {
        "column": 14,
        "file": "portcullis.toml",
        "hint": null,
        "key": "public_url",
        "line": 1,
        "message": "must be an origin like https://mcp.example.com, without path, trailing slash, query or user information",
        "severity": "error",
        "variable": null
      },
      {
        "column": 1,
        "file": "portcullis.toml",
        "hint": "known keys are url, direct_url, password, tls, ca_file, connections, migrate",
        "key": "storage",
        "line": 3,
        "message": "unknown key \"x\"",
        "severity": "error",
        "variable": null
      },
      {
        "column": null,
        "file": "portcullis.toml",
        "hint": "a whole number and s, m, h or d: \"60s\", \"15m\", \"1h\", \"30d\"",
        "key": "server: drain",
        "line": null,
        "message": "must be a duration",
        "severity": "error",
        "variable": "PORTCULLIS_SERVER__DRAIN"
      }
    ]
    "#);
    let (outcome, out) = check("not TOML");
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (outcome, list.as_array().unwrap().len(), &list[0]["line"]),
        (Outcome::Failed, 1, &serde_json::json!(1))
    );
    let operator = Operator::new();
    let file = operator.path("portcullis.toml").display().to_string();
    std::fs::write(&file, format!("public_url = \"https://mcp.example.com\"{REST}")).unwrap();
    let printed = operator.run(&["check", "--json", "--config", &file]);
    assert_eq!((printed.outcome, printed.out.as_str(), printed.err.as_str()), (Outcome::Done, "[]\n", ""));
}

#[test]
fn an_issuer_that_is_a_template_is_refused() {
    for issuer in [
        "https://login.microsoftonline.com/common/v2.0",
        "https://login.microsoftonline.com/organizations/v2.0",
        "https://login.microsoftonline.com/consumers",
        "https://login.microsoftonline.com/{tenantid}/v2.0",
        "https://sso.example.com/realms/<realm>",
    ] {
        let rest = REST
            .replace("https://sso.example.com/realms/mcp", issuer)
            .replace("\"keycloak\"\nissuer", "\"oidc\"\nissuer");
        let problems = Operator::new().problems(format!("public_url = \"https://mcp.example.com\"{rest}"));
        assert!(problems.contains("issuer: is a template: each tenant's tokens name another issuer"), "{problems}");
        assert!(problems.ends_with(": 1 error\n"), "{problems}");
    }
}

#[test]
fn an_upstream_that_leads_back_to_this_program_is_refused() {
    for (public_url, listen, url) in [
        ("https://mcp.example.com", "127.0.0.1:8080", "https://mcp.example.com/other"),
        ("https://mcp.example.com", "127.0.0.1:8080", "https://MCP.example.com:443/mcp"),
        ("https://mcp.example.com:8443", "127.0.0.1:8080", "https://mcp.example.com:8443/"),
        ("https://mcp.example.com", "0.0.0.0:8080", "http://127.0.0.1:8080/backend"),
        ("http://localhost:8080", "127.0.0.1:8080", "http://localhost:8080/backend"),
    ] {
        let rest = REST.replace("http://127.0.0.1:8420/mcp", url);
        let text = format!("public_url = \"{public_url}\"\n[server]\nlisten = \"{listen}\"\n{rest}");
        let problems = Operator::new().problems(text);
        assert!(problems.contains("upstream \"expenses\": url: leads back to this program"), "{url}: {problems}");
    }
    let rest = REST.replace("http://127.0.0.1:8420/mcp", "https://mcp.example.com:8444/mcp");
    assert_eq!(Operator::new().check(format!("public_url = \"https://mcp.example.com\"{rest}")).outcome, Outcome::Done);
}
