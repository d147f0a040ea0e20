//! The scopes of an upstream: `scopes`, `optional_scopes`, `implies`.

use insta::assert_snapshot;
use portcullis::config::{Config, Loaded};
use portcullis::oauth::scope::ScopeSet;

use super::{Operator, REST};

const UPSTREAM: &str = r#"public_url = "https://mcp.example.com"
[[upstream]]
id = "wiki"
path = "/wiki"
url = "http://127.0.0.1:1/mcp"
"#;

fn load(operator: &Operator, keys: &str) -> Config {
    let file = operator.path("portcullis.toml");
    std::fs::write(&file, format!("{UPSTREAM}{keys}{REST}")).unwrap();
    let Loaded { config, warnings, .. } = Config::load(&file, operator.environment.clone()).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    config
}

#[test]
fn optional_scopes_and_implications_are_read_in_either_notation() {
    let operator = Operator::new();
    let scopes = |text: &str| ScopeSet::parse(text).unwrap();
    for implies in [
        "implies = { \"wiki:admin\" = [\"wiki:write\"], \"wiki:write\" = [\"wiki:read\"] }\n",
        "[upstream.implies]\n\"wiki:admin\" = [\"wiki:write\"]\n\"wiki:write\" = [\"wiki:read\"]\n",
    ] {
        let keys = format!("scopes = [\"wiki:read\"]\noptional_scopes = [\"wiki:write\", \"wiki:admin\"]\n{implies}");
        let config = load(&operator, &keys);
        let wiki = &config.upstreams[0].settings.scopes;
        assert_eq!(wiki.required, scopes("wiki:read"));
        assert_eq!(wiki.known(), scopes("wiki:read wiki:write wiki:admin"));
        assert!(wiki.missing(&scopes("wiki:admin")).is_empty() && !wiki.missing(&scopes("wiki:other")).is_empty());
    }
    let config = load(&operator, "");
    let wiki = &config.upstreams[0].settings.scopes;
    assert_eq!((&wiki.required, &wiki.optional), (&scopes("mcp:access"), &ScopeSet::empty()));
}

#[test]
fn every_mistake_in_the_scopes_of_an_upstream_is_reported_in_one_run() {
    let operator = Operator::new();
    let text = r#"scopes = ["wiki:read"]
optional_scopes = ["wiki:write", "offline_access", "wiki:read", "two scopes"]
[upstream.implies]
"wiki:write" = ["wiki:read", "wiki:raed"]
"wiki:admin" = ["wiki:write"]
"wiki:read" = "wiki:list"
"#;
    assert_snapshot!(operator.problems(format!("{UPSTREAM}{text}{REST}")), @r#"
    portcullis.toml:7:34: error: upstream "wiki": optional_scopes[1]: has a meaning of its own and cannot be required by an upstream
        hint: openid, profile, email and offline_access cannot be used here
    portcullis.toml:7:52: error: upstream "wiki": optional_scopes[2]: is one of scopes, which every call needs
        hint: remove it from one of the two
    portcullis.toml:7:65: error: upstream "wiki": optional_scopes[3]: is not a single scope
        hint: printable ASCII without spaces, quotes and backslashes
    portcullis.toml:9:30: error: upstream "wiki": implies[1]: implies a scope that is not one of this upstream's
        hint: add it to scopes or optional_scopes, or correct it here
    portcullis.toml:10:16: error: upstream "wiki": implies: names a scope that is not one of this upstream's
        hint: add it to scopes or optional_scopes, or correct it here
    portcullis.toml:11:15: error: upstream "wiki": implies: must be a list in [ ]
    portcullis.toml: 6 errors
    "#);
}

#[test]
fn a_scope_that_implies_itself_is_refused_with_its_line_and_the_way_back() {
    let operator = Operator::new();
    let text = r#"scopes = ["wiki:read"]
optional_scopes = ["wiki:write", "wiki:admin"]
[upstream.implies]
"wiki:admin" = ["wiki:write"]
"wiki:write" = ["wiki:read", "wiki:admin"]
"#;
    assert_snapshot!(operator.problems(format!("{UPSTREAM}{text}{REST}")), @r#"
    portcullis.toml:9:16: error: upstream "wiki": implies: has a scope that implies itself: wiki:admin → wiki:write → wiki:admin
        hint: let each scope imply narrower ones only; scopes that mean the same can be one
    portcullis.toml: 1 error
    "#);
    let direct = text.replace("\"wiki:read\", \"wiki:admin\"", "\"wiki:write\"");
    assert_snapshot!(operator.problems(format!("{UPSTREAM}{direct}{REST}")), @r#"
    portcullis.toml:10:16: error: upstream "wiki": implies: has a scope that implies itself: wiki:write → wiki:write
        hint: let each scope imply narrower ones only; scopes that mean the same can be one
    portcullis.toml: 1 error
    "#);
}
