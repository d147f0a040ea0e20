//! `[[issuer]]`, and the `accepts` and `audiences` of upstreams.

use insta::assert_snapshot;
use portcullis::cli::Outcome;
use portcullis::clock::Clock;
use serde_json::json;

use super::{Operator, Printed, REST};
use crate::support::provider::{CLIENT_SECRET, FakeProvider};
use crate::support::upstream::Upstream;

const ISSUERS: &str = r#"
[[issuer]]
id = "own"
kind = "oidc"
issuer = "https://mcp.example.com"
audiences = []
[[issuer]]
id = "corp"
kind = "keycloak"
issuer = "http://sso.example.com/realms/mcp"
audiences = ["account", "a b"]
jwks_uri = "http://sso.example.com/certs"
authorization_server = "http://sso.example.com"
client_id = "x"
algorithms = ["HS256", "none", "RS256"]
scope_claims = ["", "/"]
scope_prefix = "a b"
typ = "id_token+jwt"
tenants = ["aaaabbbb-0000-cccc-1111-dddd2222eeee"]
[[issuer]]
id = "corp"
kind = "entra"
issuer = "https://login.microsoftonline.com/organizations/v2.0"
audiences = ["https://graph.microsoft.com"]
verify = "introspection"
[[issuer]]
id = "more"
kind = "entra"
issuer = "https://login.microsoftonline.com/common/v2.0"
audiences = ["api://x"]
tenants = ["contoso.com"]
[[issuer]]
id = "keycloak"
kind = "keycloak"
issuer = "https://elsewhere.example/realms/mcp"
authorization_server = "https://sso.example.com/realms/mcp"
audiences = ["https://mcp.example.com/mcp"]
kinds = "x"
"#;

#[test]
fn every_mistake_in_an_issuer_is_reported() {
    let text = format!("public_url = \"https://mcp.example.com\"\n{REST}{ISSUERS}");
    assert_snapshot!(Operator::new().problems(text), @r#"
    portcullis.toml:18:6: error: issuer "own": id: is the word for Portcullis itself in accepts
        hint: choose another id
    portcullis.toml:20:10: error: issuer "own": issuer: is public_url: that is Portcullis itself
        hint: write "own" in the accepts of the upstream instead
    portcullis.toml:21:13: error: issuer "own": audiences: is empty: a token for any other server would open this one
        hint: list the values that `aud` may have in its tokens
    portcullis.toml:25:10: error: issuer "corp": issuer: must be https unless the provider runs on this machine
        hint: if containers reach it over http, write its public https name here and the internal address into discovery
    portcullis.toml:26:14: error: issuer "corp": audiences[0]: is in the tokens of every client of the realm
        hint: add an audience mapper to a client scope of Keycloak, with the URL of this server
    portcullis.toml:26:25: error: issuer "corp": audiences[1]: is not an audience
        hint: 1 to 255 printable characters, without spaces
    portcullis.toml:27:12: error: issuer "corp": jwks_uri: must be an https URL: an attacker who answers there could act as any user
        hint: leave it out to use what the issuer's metadata says
    portcullis.toml:28:24: error: issuer "corp": authorization_server: must be an https URL
        hint: the issuer in the metadata that clients read there, byte for byte
    portcullis.toml:29:13: error: issuer "corp": client_id: has no effect: tokens are verified by the issuer's keys
        hint: add verify = "introspection", or remove it
    portcullis.toml:30:15: error: issuer "corp": algorithms[0]: is not an asymmetric signature algorithm that Portcullis knows
        hint: one of ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512
    portcullis.toml:30:24: error: issuer "corp": algorithms[1]: is not an asymmetric signature algorithm that Portcullis knows
        hint: one of ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512
    portcullis.toml:31:17: error: issuer "corp": scope_claims[0]: is not a claim
        hint: a name, or a JSON pointer such as "/realm_access/roles"
    portcullis.toml:31:21: error: issuer "corp": scope_claims[1]: is not a claim
        hint: a name, or a JSON pointer such as "/realm_access/roles"
    portcullis.toml:32:16: error: issuer "corp": scope_prefix: has characters that a scope cannot have
        hint: such as "api://expenses/"
    portcullis.toml:33:7: error: issuer "corp": typ: is not the type of an access token
        hint: "at+jwt", or "JWT" where the issuer does not tell access tokens from others
    portcullis.toml:34:11: error: issuer "corp": tenants: has no effect: issuer names one tenant
        hint: remove it, or write "organizations" for the tenant in issuer
    portcullis.toml:35:1: error: issuer "corp": tenants: is missing: users of every organization could call
        hint: list the directory (tenant) ids whose users may, or name one tenant in issuer
    portcullis.toml:36:6: error: issuer "corp": id: is already used in line 23
        hint: choose another one
    portcullis.toml:39:14: error: issuer "corp": audiences[0]: is Microsoft Graph, whose tokens nobody else can verify
        hint: expose an API in the app registration; write its client id and Application ID URI
    portcullis.toml:40:10: error: issuer "corp": verify: Entra has no introspection
        hint: its tokens are JWTs: remove verify
    portcullis.toml:40:10: error: issuer "corp": verify: client_id is missing: introspection needs credentials
        hint: register a confidential client there; its secret is { env = "NAME" } or { file = "…" }
    portcullis.toml:40:10: error: issuer "corp": verify: client_secret is missing: introspection needs credentials
        hint: register a confidential client there; its secret is { env = "NAME" } or { file = "…" }
    portcullis.toml:44:10: error: issuer "more": issuer: is already used in line 38
        hint: choose another one
    portcullis.toml:46:12: error: issuer "more": tenants[0]: is not the id of a tenant
        hint: the directory (tenant) id of its overview page, a GUID
    portcullis.toml:50:10: error: issuer "keycloak": issuer: is not the issuer of the identity with this id: users of both would be one
        hint: write that identity's issuer, or choose another id
    portcullis.toml:53:1: error: issuer "keycloak": unknown key "kinds"
        hint: did you mean "kind"?
    portcullis.toml: 26 errors
    "#);
}

const UPSTREAMS: &str = r#"accepts = ["own", "corp", "corp", "nobody"]
audiences = []
authorization_server = "own"
[[upstream]]
id = "wiki"
path = "/wiki"
url = "http://127.0.0.1:8421/mcp"
accepts = ["corp"]
default = true
api_keys = ["bearer"]
[[upstream]]
id = "files"
path = "/files"
url = "http://127.0.0.1:8422/mcp"
audiences = ["https://files"]
[[upstream]]
id = "none"
path = "/none"
url = "http://127.0.0.1:8423/mcp"
accepts = []
[[upstream]]
id = "asks"
path = "/asks"
url = "http://127.0.0.1:8424/mcp"
accepts = ["one", "two"]
[[issuer]]
id = "corp"
kind = "keycloak"
issuer = "https://sso.example.com/realms/mcp"
audiences = ["https://mcp.example.com/mcp"]
[[issuer]]
id = "one"
kind = "oidc"
issuer = "https://one.example"
audiences = ["https://mcp.example.com/asks"]
verify = "introspection"
client_id = "x"
client_secret = { env = "SECRET" }
[[issuer]]
id = "two"
kind = "oidc"
issuer = "https://two.example"
audiences = ["https://mcp.example.com/asks"]
verify = "introspection"
client_id = "x"
client_secret = { env = "SECRET" }
"#;

#[test]
fn every_mistake_in_what_an_upstream_accepts_is_reported() {
    let text = format!("public_url = \"https://mcp.example.com\"\n{REST}{UPSTREAMS}");
    assert_snapshot!(Operator::new().with("SECRET", "s").problems(text), @r#"
    portcullis.toml:16:27: error: upstream "expenses": accepts[2]: is repeated
        hint: remove one
    portcullis.toml:16:35: error: upstream "expenses": accepts[3]: is not the id of an issuer
        hint: write "own" for Portcullis itself, or add [[issuer]] with this id
    portcullis.toml:17:13: error: upstream "expenses": audiences: is empty: no token could open this server
        hint: list the values that `aud` may have, or leave it out for those of the issuer
    portcullis.toml:18:24: error: upstream "expenses": authorization_server: is called accepts now
        hint: accepts = ["own"] is the default; other issuers are [[issuer]] entries
    portcullis.toml:24:11: error: upstream "wiki": default: needs "own" in accepts: it is about clients that ask Portcullis for tokens
        hint: remove it
    portcullis.toml:25:12: error: upstream "wiki": api_keys: needs "own" in accepts: API keys are credentials that Portcullis makes
        hint: add "own" to accepts, or remove this line
    portcullis.toml:30:13: error: upstream "files": audiences: has no effect: this server accepts our own tokens alone, whose audience is its URL
        hint: remove it, or name an [[issuer]] in accepts
    portcullis.toml:35:11: error: upstream "none": accepts: is empty: no token could open this server
        hint: "own", or ids of [[issuer]] entries
    portcullis.toml:40:11: error: upstream "asks": accepts: names two issuers that are asked about tokens: each would see the other's
        hint: give each its own [[upstream]]
    portcullis.toml: 9 errors
    "#);
}

const ALONE: &str = r#"public_url = "https://mcp.example.com"
[[issuer]]
id = "corp"
kind = "keycloak"
issuer = "https://sso.example.com/realms/mcp"
audiences = ["https://mcp.example.com/mcp"]
[[upstream]]
id = "expenses"
path = "/mcp"
url = "http://127.0.0.1:8420/mcp"
accepts = ["corp"]
"#;

#[test]
fn a_gateway_alone_needs_no_identity_provider_database_or_root_key() {
    let printed = Operator::new().check(ALONE);
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
    assert_snapshot!(printed.out, @r#"
    portcullis.toml: ok

      public URL
        https://mcp.example.com

      server URLs for clients
        expenses  https://mcp.example.com/mcp

      other issuers whose tokens are accepted
        corp  https://sso.example.com/realms/mcp
    "#);
    let without_scopes = format!("{ALONE}scopes = []\n");
    assert_eq!(Operator::new().check(without_scopes.clone()).outcome, Outcome::Done);
    let of_ours = format!("public_url = \"https://mcp.example.com\"\n{REST}scopes = []\n");
    assert!(Operator::new().problems(of_ours).contains("scopes: is empty: tokens would carry no scope"));
    let operator = Operator::new().with("PORTCULLIS_UPSTREAM__EXPENSES__ACCEPTS", "corp");
    let printed = operator.check(ALONE.replace("accepts = [\"corp\"]\n", ""));
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""), "by a variable");
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let unused = r#"[[identity]]
id = "keycloak"
kind = "keycloak"
issuer = "https://sso.example.com/realms/mcp"
client_id = "portcullis"
[[client]]
client_id = "chat"
redirect_uris = ["https://chat.example.com/cb"]
[[issuer]]
id = "idle"
kind = "oidc"
issuer = "https://idle.example"
audiences = ["https://mcp.example.com/mcp"]
[[upstream]]
id = "wiki"
path = "/wiki"
url = "http://127.0.0.1:8421/mcp"
accepts = ["corp"]
"#;
    let printed = Operator::new().check(format!("{ALONE}{unused}"));
    assert_eq!(printed.outcome, Outcome::Done);
    assert_snapshot!(printed.err, @r#"
    portcullis.toml:6:13: warning: issuer "corp": audiences: open 2 upstreams: whoever gets a token for one of them can call the others
        hint: give each of these upstreams audiences of its own
    portcullis.toml:13:6: warning: identity "keycloak": id: has no effect: no upstream accepts "own", so nobody signs in here
        hint: remove it, or add "own" to the accepts of an upstream
    portcullis.toml:17:1: warning: client "chat": id: has no effect: no upstream accepts "own", so nobody signs in here
        hint: remove it, or add "own" to the accepts of an upstream
    portcullis.toml:21:6: warning: issuer "idle": id: no upstream accepts tokens of this issuer
        hint: add this id to the accepts of an [[upstream]]
    portcullis.toml: 4 warnings
    "#);
}

#[test]
fn commands_about_grants_say_that_there_is_no_database() {
    let operator = Operator::new();
    operator.check(ALONE);
    let file = operator.path("portcullis.toml").display().to_string();
    for command in [&["grants", "list"][..], &["clients", "list"], &["keys", "list"], &["api-keys", "list"]] {
        let Printed { outcome, err, .. } = operator.run(&[command, &["--config", &file]].concat());
        assert_eq!(outcome, Outcome::Failed, "{command:?}");
        assert!(
            err.contains("there is no database: every upstream accepts the tokens of other issuers alone"),
            "{err}"
        );
    }
    assert!(!operator.path("portcullis.db").exists());
}

/// What `check --online` says of an issuer.
async fn look(provider: &FakeProvider, keys: &str) -> Printed {
    let behind = Upstream::polite().await;
    let operator = Operator::new().with("SECRET", CLIENT_SECRET);
    let text = format!(
        "public_url = \"https://mcp.example.com\"\n[[issuer]]\nid = \"corp\"\nkind = \"keycloak\"\nissuer = \"{}\"\n\
         audiences = [\"https://mcp.example.com/mcp\"]\n{keys}\n\
         [[upstream]]\nid = \"expenses\"\npath = \"/mcp\"\nurl = \"{}\"\naccepts = [\"corp\"]\n",
        provider.issuer(),
        behind.url()
    );
    let file = operator.path("portcullis.toml").display().to_string();
    std::fs::write(&file, text).unwrap();
    let arguments = ["check", "--online", "--config", &file];
    let printed = std::thread::scope(|scope| scope.spawn(|| operator.run(&arguments)).join().unwrap());
    Printed { err: printed.err.replace(&provider.address().to_string(), "HOST"), ..printed }
}

const ASKS: &str = "verify = \"introspection\"\nclient_id = \"portcullis\"\nclient_secret = { env = \"SECRET\" }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_online_reads_the_keys_of_an_issuer_or_asks_it() {
    let provider = FakeProvider::start(&Clock::system()).await;
    let printed = look(&provider, "").await;
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
    assert_eq!((provider.calls("/openid-configuration"), provider.calls("/certs")), (1, 1));
    assert_snapshot!(look(&provider, ASKS).await.err, @r#"
    portcullis.toml: error: issuer "corp": its metadata names no introspection_endpoint
        hint: set introspection_endpoint
    portcullis.toml: 1 error
    "#);
    provider.edit_discovery(|document| {
        document["introspection_endpoint"] = json!(format!("{}/introspect", document["issuer"].as_str().unwrap()));
    });
    let printed = look(&provider, ASKS).await;
    assert_eq!((printed.outcome, printed.err.as_str(), provider.calls("/introspect")), (Outcome::Done, "", 1));
    provider.set_client_secret(Some("another"));
    let refused = look(&provider, ASKS).await.err;
    assert!(
        refused.contains("issuer \"corp\": the introspection endpoint http://HOST/realms/mcp/introspect"),
        "{refused}"
    );
    assert!(
        refused.contains("it answers 401") && refused.contains("hint: check client_id and client_secret"),
        "{refused}"
    );
    provider.edit_discovery(|document| document["issuer"] = json!("https://elsewhere.example"));
    let other = look(&provider, "").await.err;
    assert!(other.contains("it names the issuer \"https://elsewhere.example\""), "{other}");
    assert!(
        other.contains("hint: if that is the issuer of the tokens, set issuer = \"https://elsewhere.example\""),
        "{other}"
    );
    provider.edit_discovery(|document| document["jwks_uri"] = json!("ftp://elsewhere.example/keys"));
    let unusable = look(&provider, "").await.err;
    assert!(unusable.contains("it names \"ftp://elsewhere.example/keys\", which is not an https URL"), "{unusable}");
    provider.stop().await;
    assert_eq!(look(&provider, "").await.outcome, Outcome::Failed);
}
