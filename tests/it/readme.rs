//! The documentation is what the program accepts.

use portcullis::cli::{self, Outcome, Terminal};
use portcullis::config::{Config, Log};

fn readme() -> &'static str {
    include_str!("../../README.md")
}

/// The first code block of this language, without indentation.
fn block(language: &str) -> String {
    let start = readme().find(&format!("```{language}\n")).expect("the README has such a block");
    let body = &readme()[start..];
    let body = &body[body.find('\n').unwrap() + 1..];
    body[..body.find("```").unwrap()].lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_configuration_in_the_readme_loads_without_warnings() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("portcullis.toml");
    std::fs::write(&file, block("toml")).unwrap();
    let key = directory.path().join("portcullis.key");
    std::fs::write(&key, data_encoding::BASE64.encode(&[7; 32])).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let environment = [("KEYCLOAK_CLIENT_SECRET".to_owned(), "change-me".to_owned())];
    let loaded = Config::load(&file, environment).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert!(readme().contains(&loaded.config.upstreams[0].plain.resource));
}

#[test]
fn the_example_realm_has_the_client_and_the_users_of_the_readme() {
    let realm: serde_json::Value = serde_json::from_str(include_str!("../../deploy/keycloak/realm.json")).unwrap();
    assert_eq!(realm["realm"], "mcp");
    assert_eq!(realm["clients"][0]["clientId"], "portcullis");
    assert_eq!(realm["clients"][0]["secret"], "change-me");
    for user in ["alice", "bob"] {
        let known = realm["users"].as_array().unwrap().iter().find(|known| known["username"] == user).unwrap();
        assert_eq!(known["credentials"][0]["value"], format!("{user}-demo-password"));
    }
}

/// The arguments of each `portcullis …` in the code of a page.
fn commands(page: &str) -> Vec<Vec<String>> {
    let code = page.split('`').skip(1).step_by(2).flat_map(str::lines);
    let commands = code.flat_map(|line| line.split(" && ")).filter_map(|part| part.trim().strip_prefix("portcullis "));
    // a placeholder stands for a value that is right
    commands.map(|command| command.replace("SHELL", "bash").split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn every_command_in_the_documentation_exists() {
    let pages = [readme(), include_str!("../../docs/operations.md"), include_str!("../../docs/behind-a-proxy.md")];
    let shown: Vec<_> = pages.into_iter().flat_map(commands).collect();
    assert!(shown.len() > 8, "{shown:?}");
    for command in shown {
        let arguments = [&["portcullis".to_owned()], &command[..], &["--help".to_owned()]].concat();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let start_log = |_: &Log| Ok(());
        let mut terminal =
            Terminal { out: &mut out, err: &mut err, input: &mut std::io::empty(), environment: Vec::new(), start_log };
        let outcome = cli::run(arguments.into_iter().map(Into::into), &mut terminal);
        assert_eq!(outcome, Outcome::Done, "{command:?}: {}", String::from_utf8_lossy(&err));
    }
}

#[test]
fn the_documented_settings_behind_a_proxy_load() {
    let page = include_str!("../../docs/behind-a-proxy.md");
    let shown = &page[page.find("```toml\n").unwrap() + "```toml\n".len()..];
    let shown: toml::Table = shown[..shown.find("```").unwrap()].parse().unwrap();
    let mut whole: toml::Table = block("toml").parse().unwrap();
    whole.extend(shown);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("portcullis.toml");
    whole.insert("secrets".to_owned(), toml::toml! { keys = [{ env = "ROOT_KEY" }] }.into());
    std::fs::write(&file, whole.to_string()).unwrap();
    let environment =
        [("KEYCLOAK_CLIENT_SECRET", "change-me".to_owned()), ("ROOT_KEY", data_encoding::BASE64.encode(&[7; 32]))];
    let loaded = Config::load(&file, environment.map(|(name, value)| (name.to_owned(), value)));
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.server.trusted_proxies.len(), 1);
}
