//! Mistakes in `[[identity]]`, `[[upstream]]` and `[[client]]`.

use insta::assert_snapshot;
use portcullis::cli::Outcome;

use super::{JWKS, Operator, REST};

const IDENTITIES: &str = r#"public_url = "https://mcp.example.com"
[[identity]]
id = "Keycloak"
kind = "keyclok"
[[identity]]
id = "keycloak"
name = ""
kind = "keycloak"
issuer = "http://sso.example.com/realms/mcp"
discovery = "keycloak:8080"
client_id = ""
client_secret = { env = "NOT_SET" }
scopes = ["openid", "offline_access", "a b"]
standing = "for ever"
[[identity]]
id = "keycloak"
kind = "oidc"
issuer = "http://sso.example.com"
discovery = "keycloak:8080"
client_id = " "
client_secret = { env = "NOT_SET" }
scopes = ["openid", "offline_access", "a b"]
groups_claim = ""
ca_file = "nowhere.pem"
[[identity]]
id = "key"
kind = "oidc"
issuer = "https://mcp.example.com"
client_id = "x"
[[identity]]
id = "entra"
kind = "entra"
tenant = "x"
[[identity]]
id = "us"
kind = "local"
[[identity]]
id = "more"
kind = "keycloak"
issuer = "https://sso.example.com/realms/mcp/.well-known/openid-configuration"
client_id = "x"
[[identity]]
kind = "keycloak"
issuer = "https://sso.example.com/realms/mcp"
client_id = "x"
"#;

#[test]
#[expect(clippy::too_many_lines, reason = "it is one snapshot")]
fn every_mistake_in_an_identity_provider_is_reported() {
    assert_snapshot!(Operator::new().problems(IDENTITIES), @r#"
    portcullis.toml: error: secrets: keys: there is no root key
        hint: `portcullis keys generate --out portcullis.key` makes one: keys = [{ file = "portcullis.key" }]
    portcullis.toml: error: storage: url: is missing
        hint: write url = "sqlite:/var/lib/portcullis/portcullis.db", or "postgres://USER@HOST/DATABASE"
    portcullis.toml: error: upstream: there is no MCP server to protect
        hint: add [[upstream]] with id, path and url
    portcullis.toml:2:1: error: identity #1: "client_id" is missing
        hint: add client_id = "…"
    portcullis.toml:2:1: error: identity #1: "issuer" is missing
        hint: add issuer = "https://sso.example.com/realms/mcp": the provider's own name for itself
    portcullis.toml:3:6: error: identity #1: id: is not a valid id
        hint: a lower-case letter, then lower-case letters, digits and single underscores, at most 32 characters: "expenses"
    portcullis.toml:4:8: error: identity #1: kind: must be "keycloak", "entra" or "oidc"
        hint: did you mean "keycloak"?
    portcullis.toml:7:8: error: identity "keycloak": name: must be 1 to 100 characters on one line
    portcullis.toml:9:10: error: identity "keycloak": issuer: must be https unless the provider runs on this machine
        hint: if containers reach it over http, write its public https name here and the internal address into discovery
    portcullis.toml:10:13: error: identity "keycloak": discovery: must be an absolute http or https URL
        hint: such as "http://keycloak:8080/realms/mcp/.well-known/openid-configuration"
    portcullis.toml:11:13: error: identity "keycloak": client_id: is empty
    portcullis.toml:12:17: error: identity "keycloak": client_secret: the environment variable NOT_SET is not set, or is not UTF-8 text
        hint: set it for this process; the name is written without $
    portcullis.toml:13:21: error: identity "keycloak": scopes[1]: offline_access is requested through standing
        hint: standing = "offline" is the default
    portcullis.toml:13:39: error: identity "keycloak": scopes[2]: is not a single scope
        hint: printable ASCII without spaces, quotes and backslashes
    portcullis.toml:14:12: error: identity "keycloak": standing: must be one of "offline", "session", "none"
    portcullis.toml:16:6: error: identity "keycloak": id: is already used in line 6
        hint: choose another one
    portcullis.toml:18:10: error: identity "keycloak": issuer: must be https unless the provider runs on this machine
        hint: if containers reach it over http, write its public https name here and the internal address into discovery
    portcullis.toml:19:13: error: identity "keycloak": discovery: must be an absolute http or https URL
        hint: such as "http://keycloak:8080/realms/mcp/.well-known/openid-configuration"
    portcullis.toml:20:13: error: identity "keycloak": client_id: is empty
    portcullis.toml:21:17: error: identity "keycloak": client_secret: the environment variable NOT_SET is not set, or is not UTF-8 text
        hint: set it for this process; the name is written without $
    portcullis.toml:22:21: error: identity "keycloak": scopes[1]: offline_access is requested through standing
        hint: standing = "offline" is the default
    portcullis.toml:22:39: error: identity "keycloak": scopes[2]: is not a single scope
        hint: printable ASCII without spaces, quotes and backslashes
    portcullis.toml:23:16: error: identity "keycloak": groups_claim: is not a claim
        hint: a name, or a JSON pointer such as "/realm_access/roles"
    portcullis.toml:24:11: error: identity "keycloak": ca_file: the file cannot be read: there is no such file or directory
        hint: expected PEM certificates; relative paths begin at /etc/portcullis
    portcullis.toml:26:6: error: identity "key": id: is reserved for the subjects of machines
        hint: choose another id
    portcullis.toml:28:10: error: identity "key": issuer: is public_url: Portcullis would send users to itself to sign in
        hint: write the identity provider's issuer
    portcullis.toml:30:1: error: identity "entra": "client_id" is missing
        hint: add client_id = "…"
    portcullis.toml:33:10: error: identity "entra": tenant: is not a tenant
        hint: write the Directory (tenant) ID of the app registration's overview, a verified domain, or "organizations" or "common" with allowed_tenants
    portcullis.toml:36:8: error: identity "us": kind: "local" is not supported in this version
        hint: `portcullis dev` has built-in users; use "keycloak", "entra" or "oidc" here
    portcullis.toml:40:10: error: identity "more": issuer: is the URL of the metadata
        hint: remove /.well-known/openid-configuration
    portcullis.toml:42:1: error: identity #8: "id" is missing
        hint: add a short name such as id = "main"
    portcullis.toml: 31 errors
    "#);
}

const UPSTREAMS: &str = r#"
[[upstream]]
id = "expenses"
path = "/MCP"
url = "http://u:p@127.0.0.1:8420/mcp"
scopes = []
default = true
[[upstream]]
id = "a__b"
path = "/token"
url = "127.0.0.1:8420/mcp"
scopes = ["openid", "a b"]
default = true
authorization_server = { external = { issuer = "x" } }
[[upstream]]
id = "wiki"
path = "/wiki"
sse = "http://127.0.0.1:8421/sse"
[[upstream]]
id = "files"
path = "/files"
command = ["uv", "run", "server.py"]
[[upstream]]
id = "notes"
url = "http://127.0.0.1:8422/mcp"
[[upstream]]
id = "loop"
path = "/loop/"
url = "http://localhost:8080/mcp"
[[upstream]]
id = "round"
path = "/round"
url = "https://mcp.example.com/mcp?x=1"
[[upstream]]
id = "round2"
path = "/round2"
url = "https://mcp.example.com/mcp/"
name = "two\nlines"
[[upstream]]
id = "last"
path = "/last"
url = "http://127.0.0.1:8423/mcp"
default = "yes"
"#;

#[test]
fn every_mistake_in_an_upstream_is_reported() {
    assert_snapshot!(Operator::new().problems(format!("public_url = \"https://mcp.example.com\"{REST}{UPSTREAMS}")), @r#"
    portcullis.toml:17:6: error: upstream "expenses": id: is already used in line 12
        hint: choose another one
    portcullis.toml:18:8: error: upstream "expenses": path: is already used in line 13
        hint: paths must differ in more than case
    portcullis.toml:19:7: error: upstream "expenses": url: must be an absolute http or https URL without user information or fragment
        hint: such as "http://127.0.0.1:8420/mcp"
    portcullis.toml:20:10: error: upstream "expenses": scopes: is empty: tokens would carry no scope
        hint: remove it for the default, ["mcp:access"]
    portcullis.toml:23:6: error: upstream #3: id: is not a valid id
        hint: a lower-case letter, then lower-case letters, digits and single underscores, at most 32 characters: "expenses"
    portcullis.toml:24:8: error: upstream #3: path: is one of our own paths, or below one
        hint: write a path such as "/mcp" or "/team/expenses"
    portcullis.toml:25:7: error: upstream #3: url: must be an absolute http or https URL without user information or fragment
        hint: such as "http://127.0.0.1:8420/mcp"
    portcullis.toml:26:11: error: upstream #3: scopes[0]: has a meaning of its own and cannot be required by an upstream
        hint: openid, profile, email and offline_access cannot be used here
    portcullis.toml:26:21: error: upstream #3: scopes[1]: is not a single scope
        hint: printable ASCII without spaces, quotes and backslashes
    portcullis.toml:27:11: error: upstream #3: default: is already set in line 21
        hint: a client that names no resource can mean one upstream only
    portcullis.toml:28:24: error: upstream #3: authorization_server: is called accepts now
        hint: accepts = ["own"] is the default; other issuers are [[issuer]] entries
    portcullis.toml:32:7: error: upstream "wiki": sse: is not supported in this version
        hint: give the server's Streamable HTTP endpoint as url
    portcullis.toml:36:11: error: upstream "files": command: is not supported in this version
        hint: give the server's Streamable HTTP endpoint as url
    portcullis.toml:37:1: error: upstream "notes": "path" is missing
        hint: add path = "/mcp": public_url and this path are the server's URL in clients
    portcullis.toml:42:8: error: upstream "loop": path: must not end with /
        hint: remove it: clients reach the path with and without it
    portcullis.toml:43:7: error: upstream "loop": url: leads back to this program
        hint: write where the MCP server itself listens
    portcullis.toml:47:7: error: upstream "round": url: must not have a query: clients send their own
        hint: such as "http://127.0.0.1:8420/mcp"
    portcullis.toml:51:7: error: upstream "round2": url: leads back to this program
        hint: write where the MCP server itself listens
    portcullis.toml:52:8: error: upstream "round2": name: must be 1 to 100 characters on one line
    portcullis.toml:57:11: error: upstream "last": default: must be true or false
    portcullis.toml: 20 errors
    "#);
}

const REQUEST_HEADERS: &str = r#"
[[upstream]]
id = "keys"
path = "/keys"
url = "http://127.0.0.1:8423/mcp"
headers = { authorization = { env = "KEY" }, x-key = { file = "two-lines" }, X_Key = { env = "KEY" }, host = { env = "KEY" }, mcp-name = { env = "KEY" }, X-Forwarded-User = { env = "KEY" }, "a b" = { env = "KEY" }, cookie = { env = "NOT_SET" }, x-odd = { env = "ODD" } }
drop_headers = ["x-tenant-*", "*", "a*b", "Mcp-*"]
keep_headers = ["cf-connecting-ip", "x-forwarded-user", "x-custom", "cf-*"]
groups = ["staff", "a*b", ""]
max_groups_bytes = "1MiB"
[[upstream]]
id = "inline"
path = "/inline"
url = "http://127.0.0.1:8424/mcp"
headers = { authorization = "Bearer s3cret" }
[[upstream]]
id = "shape"
path = "/shape"
url = "http://127.0.0.1:8425/mcp"
headers = ["authorization"]
groups = "staff"
"#;

#[test]
fn every_mistake_in_headers_and_groups_of_an_upstream_is_reported() {
    let operator = Operator::new().with("KEY", "Bearer s3cret").with("ODD", " s3crét ");
    operator.write_secret("two-lines", "s3cret\ns3cret\n");
    let problems = operator.problems(format!("public_url = \"https://mcp.example.com\"{REST}{REQUEST_HEADERS}"));
    assert!(!problems.contains("s3cr"), "{problems}");
    assert_snapshot!(problems, @r#"
    portcullis.toml:20:54: error: upstream "keys": headers.x-key: is already set in line 20
    portcullis.toml:20:54: error: upstream "keys": headers.x-key: the value is not valid in a header
        hint: one line of printable ASCII, without spaces around it, at most 8 KiB
    portcullis.toml:20:110: error: upstream "keys": headers.host: cannot be set here
        hint: set the upstream's `host` instead
    portcullis.toml:20:138: error: upstream "keys": headers.mcp-name: describes the client's message, so it cannot be the same for all calls
    portcullis.toml:20:174: error: upstream "keys": headers.X-Forwarded-User: is reserved: the gateway sets or removes this header
    portcullis.toml:20:199: error: upstream "keys": headers: is not a header name
        hint: letters, digits and hyphens
    portcullis.toml:20:225: error: upstream "keys": headers.cookie: the environment variable NOT_SET is not set, or is not UTF-8 text
        hint: set it for this process; the name is written without $
    portcullis.toml:20:254: error: upstream "keys": headers.x-odd: the value is not valid in a header
        hint: one line of printable ASCII, without spaces around it, at most 8 KiB
    portcullis.toml:21:31: error: upstream "keys": drop_headers[1]: is not a header name or prefix
        hint: such as "x-tenant" or "x-tenant-*": * is allowed at the end only
    portcullis.toml:21:36: error: upstream "keys": drop_headers[2]: is not a header name or prefix
        hint: * is allowed at the end only
    portcullis.toml:21:43: error: upstream "keys": drop_headers[3]: would drop mcp-method, without which MCP does not work
    portcullis.toml:22:37: error: upstream "keys": keep_headers[1]: is never accepted from a client: it would let one user impersonate another
    portcullis.toml:22:57: error: upstream "keys": keep_headers[2]: is not dropped, so there is nothing to keep
        hint: leave it out
    portcullis.toml:22:69: error: upstream "keys": keep_headers[3]: is not a header name
        hint: list each exception by its full name, without *
    portcullis.toml:23:20: error: upstream "keys": groups[1]: is not a group or prefix
        hint: such as "staff" or "mcp-*": * is allowed at the end only; [] sends no groups
    portcullis.toml:23:27: error: upstream "keys": groups[2]: is not a group or prefix
        hint: such as "staff" or "mcp-*": * is allowed at the end only; [] sends no groups
    portcullis.toml:24:20: error: upstream "keys": max_groups_bytes: must be between 64 bytes and 32KiB
        hint: groups = [] sends no groups
    portcullis.toml:29:29: error: upstream "inline": headers.authorization: secrets are not allowed in this file
        hint: write { file = "/run/secrets/NAME" } or { env = "NAME" }
    portcullis.toml:34:11: error: upstream "shape": headers: must be a table of header names, such as { authorization = { env = "NAME" } }
    portcullis.toml:35:10: error: upstream "shape": groups: must be a list in [ ]
    portcullis.toml: 20 errors
    "#);
}

const CLIENTS: &str = r#"
[[client]]
client_id = "c_1"
redirect_uris = []
client_secret = "inline"
[[client]]
client_id = "c_1"
redirect_uris = []
client_secret = { env = "NOT_SET" }
[[client]]
client_id = "https://app.example.com/client.json"
redirect_uris = ["https://a.example/cb"]
token_endpoint_auth_method = "client_secret_post"
[[client]]
client_id = "chat"
redirect_uris = ["https://*.example.com/cb", "http://evil.example/", "https://a.example/", "https://a.example/", "x:y"]
client_secret = { file = "portcullis.key" }
token_endpoint_auth_method = "none"
[[client]]
client_id = "chat"
name = ""
redirect_uris = ["https://a.example/"]
[[client]]
client_id = "two words"
redirect_uris = "https://a.example/"
[[client]]
client_id = "two words"
redirect_uris = ["https://a.example/"]
token_endpoint_auth_method = "private_key_jwt"
[[client]]
client_id = "two words"
redirect_uris = ["https://a.example/"]
"#;

#[test]
fn every_mistake_in_a_client_is_reported() {
    assert_snapshot!(Operator::new().problems(format!("public_url = \"https://mcp.example.com\"{REST}{CLIENTS}")), @r#"
    portcullis.toml:17:13: error: client "c_1": client_id: the prefix c_ is reserved for clients that register themselves
        hint: choose another client id
    portcullis.toml:18:17: error: client "c_1": redirect_uris: is empty: there is nowhere to send a code
        hint: the client's documentation names them
    portcullis.toml:19:17: error: client "c_1": client_secret: secrets are not allowed in this file
        hint: write { file = "/run/secrets/NAME" } or { env = "NAME" }
    portcullis.toml:21:13: error: client "c_1": client_id: the prefix c_ is reserved for clients that register themselves
        hint: choose another client id
    portcullis.toml:22:17: error: client "c_1": redirect_uris: is empty: there is nowhere to send a code
        hint: the client's documentation names them
    portcullis.toml:23:17: error: client "c_1": client_secret: the environment variable NOT_SET is not set, or is not UTF-8 text
        hint: set it for this process; the name is written without $
    portcullis.toml:25:13: error: client #3: client_id: URLs are reserved for clients with a metadata document
        hint: choose another client id
    portcullis.toml:27:30: error: client #3: token_endpoint_auth_method: needs a client_secret, and there is none
        hint: add client_secret = { env = "NAME" }
    portcullis.toml:30:18: error: client "chat": redirect_uris[0]: patterns are not supported: redirect URIs are compared exactly
        hint: list each URI
    portcullis.toml:30:46: error: client "chat": redirect_uris[1]: is neither https, nor http on a loopback address, nor an allowed private-use URI
        hint: https, http on 127.0.0.1, [::1] or localhost, or listed in registration.private_use_redirect_uris
    portcullis.toml:30:92: error: client "chat": redirect_uris[3]: is already listed in line 30
        hint: remove one
    portcullis.toml:30:114: error: client "chat": redirect_uris[4]: is neither https, nor http on a loopback address, nor an allowed private-use URI
        hint: https, http on 127.0.0.1, [::1] or localhost, or listed in registration.private_use_redirect_uris
    portcullis.toml:32:30: error: client "chat": token_endpoint_auth_method: is "none", but there is a client_secret
        hint: remove one of the two
    portcullis.toml:34:13: error: client "chat": client_id: is already used in line 29
        hint: choose another one
    portcullis.toml:35:8: error: client "chat": name: must be 1 to 100 characters on one line
    portcullis.toml:38:13: error: client #6: client_id: must be 1 to 255 printable ASCII characters without spaces
    portcullis.toml:39:17: error: client #6: redirect_uris: must be a list in [ ]
    portcullis.toml:41:13: error: client #7: client_id: must be 1 to 255 printable ASCII characters without spaces
    portcullis.toml:43:30: error: client #7: token_endpoint_auth_method: needs the client's public keys, and there are none
        hint: add jwks = "FILE" or jwks_uri = "https://…"
    portcullis.toml:45:13: error: client #8: client_id: must be 1 to 255 printable ASCII characters without spaces
    portcullis.toml: 20 errors
    "#);
}

#[test]
fn a_client_secret_that_could_be_guessed_is_refused_with_a_hint() {
    let client = "[[client]]\nclient_id = \"chat\"\nredirect_uris = [\"https://a.example/\"]\n\
                  client_secret = { env = \"CHAT\" }\n";
    let text = format!("public_url = \"https://mcp.example.com\"{REST}{client}");
    let problems = Operator::new().with("CHAT", &"x".repeat(31)).problems(text.clone());
    assert!(problems.contains("client_secret: has fewer than 32 characters and could be guessed"), "{problems}");
    assert!(problems.contains("openssl rand -base64 32") && !problems.contains("xxx"), "{problems}");
    assert_eq!(Operator::new().with("CHAT", &"x".repeat(32)).check(&text).outcome, Outcome::Done);
}

#[test]
fn an_invalid_path_is_reported_once() {
    for path in ["mcp", "/mcp?x=1", "/a b", "/mcp#x", "//mcp", "", "/"] {
        let rest = REST.replace("path = \"/mcp\"", &format!("path = \"{path}\""));
        let problems = Operator::new().problems(format!("public_url = \"https://mcp.example.com\"{rest}"));
        assert!(problems.ends_with(": 1 error\n"), "{path}: {problems}");
        assert!(problems.contains("upstream \"expenses\": path: "), "{problems}");
    }
}

#[test]
fn check_reads_every_ca_file_and_reports_its_place() {
    let operator = Operator::new();
    std::fs::write(operator.path("ca.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let rest = REST.replace("\nid =", "\nca_file = \"ca.pem\"\nid =");
    let text = format!("public_url = \"https://mcp.example.com\"\nca_file = \"ca.pem\"{rest}");
    assert_snapshot!(operator.problems(text), @r#"
    portcullis.toml:2:11: error: ca_file: the file holds a certificate that cannot be a root
        hint: expected PEM certificates; relative paths begin at /etc/portcullis
    portcullis.toml:8:11: error: identity "keycloak": ca_file: the file holds a certificate that cannot be a root
        hint: expected PEM certificates; relative paths begin at /etc/portcullis
    portcullis.toml:14:11: error: upstream "expenses": ca_file: the file holds a certificate that cannot be a root
        hint: expected PEM certificates; relative paths begin at /etc/portcullis
    portcullis.toml: 3 errors
    "#);
}

#[test]
fn check_suggests_an_allowed_spelling_of_a_refused_redirect_uri() {
    let check = |uri: &str| {
        let client = format!("\n[[client]]\nclient_id = \"chat\"\nredirect_uris = [\"{uri}\"]\n");
        Operator::new().check(format!("public_url = \"https://mcp.example.com\"{REST}{client}"))
    };
    for (uri, passes) in [
        ("https://a.example/b/../cb", "https://a.example/cb"),
        ("http://127.1:8080/cb", "http://127.0.0.1:8080/cb"),
        ("https:/a.example/cb", "https://a.example/cb"),
    ] {
        let problems = check(uri).err;
        assert!(problems.contains(&format!("write \"{passes}\"")), "{problems}");
        assert_eq!(check(passes).err, "");
    }
    for passes in ["HTTPS://A.Example:443/cb", "http://127.0.0.1:8080", "https://a.example"] {
        assert_eq!(check(passes).err, "", "{passes}");
    }
    let nothing_passes = check("https://a.example./cb").err;
    assert!(nothing_passes.contains("a host that is neither") && !nothing_passes.contains("write"), "{nothing_passes}");
}

#[test]
fn host_and_time_outs_of_an_upstream_are_validated() {
    let operator = Operator::new();
    let said = |keys: &str| {
        let rest = REST.replace("[[upstream]]\n", &format!("[[upstream]]\n{keys}\n"));
        let printed = operator.check(format!("public_url = \"https://mcp.example.com\"{rest}"));
        printed.err
    };
    for good in [
        "host = \"localhost:8080\"",
        "first_byte = \"1s\"",
        "keep_alive = \"off\"",
        "keep_alive = false",
        "reconnect = \"1m\"",
    ] {
        assert_eq!(said(good), "", "{good}");
    }
    for (bad, words) in [
        ("host = \"http://localhost\"", "host: is not a host"),
        ("host = \"a@b\"", "host: is not a host"),
        ("first_byte = \"off\"", "first_byte: must be a duration"),
        ("first_byte = \"0s\"", "first_byte: must be between 1s and 86400s"),
        ("keep_alive = \"2h\"", "keep_alive: must be between 1s and 3600s"),
        ("keep_alive = 25", "keep_alive: must be a duration"),
        ("reconnect = \"2m\"", "reconnect: must be between 1s and 60s"),
    ] {
        assert!(said(bad).contains(words), "{bad}: {}", said(bad));
    }
}

const KEYS: &str = r#"[registration]
initial_access_tokens = [{ env = "SHORT" }, { env = "SPACED" }, { env = "NOT_SET" }, "inline"]
[[client]]
client_id = "both"
redirect_uris = ["https://a.example/"]
jwks = "jwks.json"
jwks_uri = "https://a.example/jwks"
[[client]]
client_id = "secret_and_keys"
redirect_uris = ["https://a.example/"]
client_secret = { env = "LONG" }
jwks = "jwks.json"
[[client]]
client_id = "no_keys"
redirect_uris = ["https://a.example/"]
token_endpoint_auth_method = "private_key_jwt"
[[client]]
client_id = "not_none"
redirect_uris = ["https://a.example/"]
token_endpoint_auth_method = "none"
jwks_uri = "https://a.example/jwks"
[[client]]
client_id = "http"
redirect_uris = ["https://a.example/"]
jwks_uri = "http://a.example/jwks"
[[client]]
client_id = "private"
redirect_uris = ["https://a.example/"]
jwks = "private.json"
[[client]]
client_id = "no_file"
redirect_uris = ["https://a.example/"]
jwks = "nowhere.json"
"#;

#[test]
fn every_mistake_in_the_keys_of_clients_and_in_initial_access_tokens_is_reported() {
    let operator = Operator::new()
        .with("SHORT", "0123456789abcdef0123456789abcde")
        .with("SPACED", "0123456789abcdef 0123456789abcdef")
        .with("LONG", "0123456789abcdef0123456789abcdef");
    std::fs::write(operator.path("jwks.json"), JWKS).unwrap();
    std::fs::write(operator.path("private.json"), JWKS.replace("\"kid\"", "\"d\": \"s3cret\", \"kid\"")).unwrap();
    let problems = operator.problems(format!("public_url = \"https://mcp.example.com\"{REST}{KEYS}"));
    assert!(!problems.contains("s3cret") && !problems.contains("0123456789"), "{problems}");
    assert_snapshot!(problems, @r#"
    portcullis.toml:16:26: error: registration: initial_access_tokens[0]: must be at least 32 printable ASCII characters without spaces
        hint: make one with `openssl rand -hex 32`
    portcullis.toml:16:45: error: registration: initial_access_tokens[1]: must be at least 32 printable ASCII characters without spaces
        hint: make one with `openssl rand -hex 32`
    portcullis.toml:16:65: error: registration: initial_access_tokens[2]: the environment variable NOT_SET is not set, or is not UTF-8 text
        hint: set it for this process; the name is written without $
    portcullis.toml:16:86: error: registration: initial_access_tokens[3]: secrets are not allowed in this file
        hint: write { file = "/run/secrets/NAME" } or { env = "NAME" }
    portcullis.toml:20:8: error: client "both": jwks: jwks and jwks_uri must not both be present
        hint: remove one of the two
    portcullis.toml:22:1: error: client "secret_and_keys": token_endpoint_auth_method: cannot be decided: there is a client_secret, and there are keys
        hint: remove one of the two: a client authenticates in one way
    portcullis.toml:30:30: error: client "no_keys": token_endpoint_auth_method: needs the client's public keys, and there are none
        hint: add jwks = "FILE" or jwks_uri = "https://…"
    portcullis.toml:34:30: error: client "not_none": token_endpoint_auth_method: is "none", but there are keys
        hint: remove one of the two
    portcullis.toml:39:12: error: client "http": jwks_uri: jwks_uri must be an https URL of at most 512 bytes, in normal form, without user information and fragment
        hint: the client's documentation names it
    portcullis.toml:43:8: error: client "private": jwks: jwks has a private or secret key: make a new key pair, and publish its public half only
        hint: the file is the public key set that the client gives you
    portcullis.toml:47:8: error: client "no_file": jwks: the file of the keys cannot be read: there is no such file or directory
        hint: jwks names a file; relative paths begin at the directory of the configuration
    portcullis.toml: 11 errors
    "#);
}

const MACHINES: &str = r#"
[[client]]
client_id = "ci"
machine_upstreams = ["wiki", "expenses"]
client_secret = { env = "SECRET" }
[[client]]
client_id = "public"
machine_upstreams = []
machine_scopes = ["a b"]
[[client]]
client_id = "narrow"
machine_upstreams = ["expenses"]
machine_scopes = ["other"]
client_secret = { env = "SECRET" }
[[client]]
client_id = "neither"
machine_scopes = ["mcp:access"]
client_secret = { env = "SECRET" }
[[upstream]]
id = "notes"
path = "/notes"
url = "http://127.0.0.1:8421/mcp"
api_keys = ["bearer", "basic", "header:authorization", "header:X-Forwarded-User", "header:mcp-name", "query:access_token", "query:a b", "header"]
[[assertion_issuer]]
id = "keycloak"
issuer = "https://elsewhere.example.com"
jwks_uri = "https://elsewhere.example.com/keys"
clients = []
upstreams = ["wiki"]
[[assertion_issuer]]
id = "client"
issuer = "https://elsewhere.example.com"
jwks_uri = "http://elsewhere.example.com/keys"
clients = ["ci"]
upstreams = ["expenses"]
[[assertion_issuer]]
id = "okta"
issuer = "https://okta.example.com"
jwks_uri = "https://okta.example.com/keys"
clients = ["ci"]
upstreams = ["expenses"]
scopes = ["mcp:access", "more"]
"#;

#[test]
fn every_mistake_about_machines_is_reported() {
    let operator = Operator::new().with("SECRET", "a-secret-of-thirty-two-characters");
    assert_snapshot!(operator.problems(format!("public_url = \"https://mcp.example.com\"{REST}{MACHINES}")), @r#"
    portcullis.toml:18:21: error: client "ci": machine_upstreams: names an upstream that is not there
        hint: known ids are expenses, notes
    portcullis.toml:22:21: error: client "public": machine_upstreams: is empty: nothing could be reached
        hint: list the ids of upstreams
    portcullis.toml:22:21: error: client "public": machine_upstreams: needs a client that authenticates, and this one is public
        hint: add client_secret = { env = "NAME" }, or jwks
    portcullis.toml:23:18: error: client "public": machine_scopes: is not a single scope
        hint: printable ASCII without spaces, quotes and backslashes
    portcullis.toml:27:18: error: client "narrow": machine_scopes: has a scope that none of these upstreams knows
        hint: the scopes of an upstream are those in its `scopes` and `optional_scopes`
    portcullis.toml:27:18: error: client "narrow": machine_scopes: lacks a scope without which one of these upstreams cannot be entered
        hint: leave it out to allow the scopes that they require
    portcullis.toml:29:1: error: client "neither": redirect_uris: is missing: there is nowhere to send a code
        hint: the client's documentation names them
    portcullis.toml:31:18: error: client "neither": machine_scopes: has no effect: this client does not act for itself
        hint: add machine_upstreams
    portcullis.toml:37:23: error: upstream "notes": api_keys[1]: is not a place for an API key
        hint: "bearer", "header:x-api-key" or, if nothing else works, "query:code"
    portcullis.toml:37:32: error: upstream "notes": api_keys[2]: cannot be used: it has another meaning
        hint: such as "x-api-key"
    portcullis.toml:37:56: error: upstream "notes": api_keys[3]: is reserved: the gateway sets or removes this header
    portcullis.toml:37:83: error: upstream "notes": api_keys[4]: describes the client's message, so it cannot be the same for all calls
    portcullis.toml:37:102: error: upstream "notes": api_keys[5]: is where clients would send access tokens, which are refused in a query
        hint: choose another name
    portcullis.toml:37:124: error: upstream "notes": api_keys[6]: does not name a query parameter
        hint: such as "query:code"
    portcullis.toml:37:137: error: upstream "notes": api_keys[7]: is not a place for an API key
        hint: "bearer", "header:x-api-key" or, if nothing else works, "query:code"
    portcullis.toml:40:10: error: assertion_issuer "keycloak": issuer: is not the issuer of the identity with this id: users of both would be one
        hint: write that identity's issuer, or choose another id
    portcullis.toml:42:11: error: assertion_issuer "keycloak": clients: is empty: no client could use an assertion
        hint: list client ids, such as the URL of a metadata document
    portcullis.toml:43:13: error: assertion_issuer "keycloak": upstreams: names an upstream that is not there
        hint: known ids are expenses, notes
    portcullis.toml:45:6: error: assertion_issuer "client": id: is reserved for the subjects of machines
        hint: choose another id
    portcullis.toml:46:10: error: assertion_issuer "client": issuer: is already used in line 40
        hint: choose another one
    portcullis.toml:47:12: error: assertion_issuer "client": jwks_uri: must be an https URL: an attacker who answers there could act as any user
        hint: copy it from "jwks_uri" in the issuer's openid-configuration
    portcullis.toml:56:10: error: assertion_issuer "okta": scopes: has a scope that none of these upstreams knows
        hint: the scopes of an upstream are those in its `scopes` and `optional_scopes`
    portcullis.toml: 22 errors
    "#);
}

#[test]
fn an_empty_list_of_initial_access_tokens_is_refused() {
    let problems = Operator::new().problems(format!(
        "public_url = \"https://mcp.example.com\"{REST}[registration]\ninitial_access_tokens = []\n"
    ));
    assert_snapshot!(problems, @r#"
    portcullis.toml:16:25: error: registration: initial_access_tokens: is empty: anyone may register
        hint: add a source, { file = "…" } or { env = "NAME" }, remove the key, or set enabled = false
    portcullis.toml: 1 error
    "#);
}

#[test]
fn the_shapes_of_well_known_clients_can_be_configured() {
    let guide = include_str!("../../../docs/clients.md");
    let examples: String = guide
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(example, _)| example)
        .filter(|example| example.starts_with("[[client]]"))
        .collect();
    assert!(examples.matches("[[client]]").count() >= 4, "{examples}");
    let operator = ["COPILOT_STUDIO_SECRET", "CHATGPT_SECRET"]
        .into_iter()
        .fold(Operator::new(), |operator, name| operator.with(name, "a-secret-of-thirty-two-characters"));
    std::fs::write(operator.path("agent-jwks.json"), JWKS).unwrap();
    let printed = operator.check(format!("public_url = \"https://mcp.example.com\"{REST}{examples}"));
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
}

#[test]
fn a_machine_needs_no_redirect_uris() {
    let operator = Operator::new().with("SECRET", "a-secret-of-thirty-two-characters");
    let machine =
        "[[client]]\nclient_id = \"ci\"\nmachine_upstreams = [\"expenses\"]\nclient_secret = { env = \"SECRET\" }\n";
    let checked = operator.check(format!("public_url = \"https://mcp.example.com\"{REST}{machine}"));
    assert_eq!(checked.outcome, Outcome::Done, "{}", checked.err);
}

#[test]
fn a_resource_server_needs_a_secret_and_upstreams_that_exist() {
    let operator = Operator::new().with("SERVER_SECRET", "a-secret-of-thirty-two-characters");
    let check = |keys: &str| {
        let client = format!("[[client]]\nclient_id = \"server\"\nredirect_uris = []\n{keys}\n");
        operator.check(format!("public_url = \"https://mcp.example.com\"{REST}{client}")).err
    };
    let secret = "client_secret = { env = \"SERVER_SECRET\" }";
    assert_eq!(check(&format!("{secret}\nintrospects = [\"expenses\"]")), "", "without redirect URIs");
    assert_snapshot!(check("introspects = [\"expenses\"]"), @r#"
    portcullis.toml:18:15: error: client "server": introspects: needs a client that authenticates: anyone could ask about tokens otherwise
        hint: add client_secret = { env = "NAME" }, or jwks
    portcullis.toml: 1 error
    "#);
    assert_snapshot!(check(&format!("{secret}\nintrospects = [\"expenses\", \"wiki\"]")), @r#"
    portcullis.toml:19:28: error: client "server": introspects[1]: is not the id of an upstream
        hint: the configuration has expenses
    portcullis.toml: 1 error
    "#);
    assert!(check(&format!("{secret}\nintrospects = []")).contains("redirect_uris: is empty"));
}
