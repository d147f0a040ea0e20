//! `[pages]`, the words for scopes, and the names of identity providers.

use insta::assert_snapshot;
use portcullis::cli::Outcome;
use portcullis::config::{Color, Config, Loaded, Support};

use super::{LOGO, Operator, REST};

const PUBLIC_URL: &str = "public_url = \"https://mcp.example.com\"\n";

impl Operator {
    /// Loads this text.
    pub(super) fn load(&self, configuration: &str) -> Loaded {
        let file = self.path("portcullis.toml");
        std::fs::write(&file, configuration).unwrap();
        Config::load(&file, self.environment.clone()).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

#[test]
fn every_mistake_in_pages_and_scope_texts_is_reported_in_one_run() {
    let operator = Operator::new();
    std::fs::write(operator.path("logo.gif"), "GIF89a").unwrap();
    let text = r#"
[pages]
name = ""
logo = "logo.gif"
color = "rebeccapurple"
support = "javascript:alert(1)"
list_upstreams = "perhaps"
[[upstream]]
id = "wiki"
path = "/wiki"
url = "http://127.0.0.1:1/mcp"
scopes = ["wiki:read"]
[[upstream.scope]]
value = "wiki:write"
text = "write"
[[upstream.scope]]
value = "wiki:read"
text = ""
[[upstream.scope]]
value = "wiki:read"
text = "read"
"#;
    let first = operator.problems(format!("{PUBLIC_URL}{text}{REST}"));
    let rest =
        text.replace("list_upstreams = \"perhaps\"", "known_hosts = [\"claude.ai\", \"*.example.com\", \"Claude.ai\"]");
    assert!(first.contains("pages: list_upstreams: must be true or false"), "{first}");
    assert_snapshot!(operator.problems(format!("{PUBLIC_URL}{rest}{REST}")), @r##"
    portcullis.toml:4:8: error: pages: name: must be 1 to 100 characters on one line
    portcullis.toml:5:8: error: pages: logo: the file is neither PNG nor SVG
        hint: a PNG or SVG of at most 16 KiB: it is shown about 30 pixels high; relative paths begin at /etc/portcullis
    portcullis.toml:6:9: error: pages: color: must be a colour
        hint: six hexadecimal digits: "#1b5e4f"
    portcullis.toml:7:11: error: pages: support: must be an https or mailto URL
        hint: "https://help.example.com/mcp" or "mailto:help@example.com"
    portcullis.toml:8:29: error: pages: known_hosts[1]: is neither a host nor a host with a path
        hint: a name in lower case, a port unless it is 443, perhaps a path: "chat.example.com" or "chat.example.com/callback"
    portcullis.toml:8:46: error: pages: known_hosts[2]: is neither a host nor a host with a path
        hint: a name in lower case, a port unless it is 443, perhaps a path: "chat.example.com" or "chat.example.com/callback"
    portcullis.toml:14:1: error: upstream "wiki": scope[0]: has a value that is not one of this upstream's scopes
        hint: add it to scopes or optional_scopes, or remove this entry
    portcullis.toml:17:1: error: upstream "wiki": scope[1]: has a text that is not 1 to 100 characters on one line
        hint: it is read as the end of "It may …"
    portcullis.toml:20:1: error: upstream "wiki": scope[2]: is already used in line 17
        hint: choose another one
    portcullis.toml: 9 errors
    "##);
}

#[test]
fn all_page_settings_are_read_and_scope_texts_keep_their_order() {
    let operator = Operator::new();
    std::fs::write(operator.path("logo.svg"), LOGO).unwrap();
    let text = r##"
[pages]
name = "Example Tools"
logo = "logo.svg"
color = "#dd4400"
support = "https://help.example.com/mcp"
known_hosts = ["chat.example.com:8443"]
[[upstream]]
id = "wiki"
path = "/wiki"
url = "http://127.0.0.1:1/mcp"
scopes = ["wiki:read", "wiki:approve"]
[[upstream.scope]]
value = "wiki:read"
text = "read pages"
[[upstream.scope]]
value = "wiki:approve"
text = "approve changes"
"##;
    let Loaded { config, warnings, .. } = operator.load(&format!("{PUBLIC_URL}{text}{REST}"));
    assert!(warnings.is_empty(), "{warnings}");
    let pages = &config.pages;
    assert_eq!((pages.name.as_str(), pages.color), ("Example Tools", Color::parse("#dd4400")));
    assert_eq!(pages.logo.as_ref().unwrap().bytes, LOGO.as_bytes());
    let (href, text) = ("https://help.example.com/mcp".to_owned(), "help.example.com".to_owned());
    assert_eq!(pages.support, Some(Support { href, text }));
    assert_eq!(
        (pages.list_upstreams, pages.known_hosts.as_slice()),
        (false, &["chat.example.com:8443".to_owned()][..])
    );
    let wiki = &config.upstreams[0].settings;
    let texts: Vec<_> = wiki.scopes.texts.iter().map(|scope| (scope.value.as_str(), scope.text.as_str())).collect();
    assert_eq!(texts, [("wiki:read", "read pages"), ("wiki:approve", "approve changes")]);
}

#[test]
fn identity_providers_have_default_names_and_equal_names_are_a_warning() {
    let operator = Operator::new();
    let Loaded { config, .. } = operator.load(&format!("{PUBLIC_URL}{REST}"));
    assert_eq!(config.identities[0].name, "Keycloak");
    let second = "[[identity]]\nid = \"partners\"\nkind = \"keycloak\"\nissuer = \"https://sso.example.com/realms/b\"\nclient_id = \"p\"\n";
    let printed = operator.check(format!("{PUBLIC_URL}{REST}{second}"));
    assert_eq!(printed.outcome, Outcome::Done);
    assert!(printed.err.contains("identity \"partners\": name: is the same as in"), "{}", printed.err);
    let third = second.replace("kind = \"keycloak\"", "kind = \"oidc\"");
    let Loaded { config, warnings, .. } = operator.load(&format!("{PUBLIC_URL}{REST}{third}"));
    assert!(warnings.is_empty() && config.identities[1].name == "partners");
}
