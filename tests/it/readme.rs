//! What the README shows is what the program reads.

use portcullis::config::Config;

fn readme() -> &'static str {
    include_str!("../../README.md")
}

/// The block that begins with this line of a list, without its indentation.
fn block(language: &str) -> String {
    let start = readme().find(&format!("```{language}\n")).expect("the README has such a block");
    let body = &readme()[start..];
    let body = &body[body.find('\n').unwrap() + 1..];
    body[..body.find("```").unwrap()].lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_configuration_in_the_readme_is_read_without_a_word() {
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
fn the_realm_in_the_readme_knows_the_client_and_the_people_of_the_readme() {
    let realm: serde_json::Value = serde_json::from_str(include_str!("../../deploy/keycloak/realm.json")).unwrap();
    assert_eq!(realm["realm"], "mcp");
    assert_eq!(realm["clients"][0]["clientId"], "portcullis");
    assert_eq!(realm["clients"][0]["secret"], "change-me");
    for user in ["alice", "bob"] {
        let known = realm["users"].as_array().unwrap().iter().find(|known| known["username"] == user).unwrap();
        assert_eq!(known["credentials"][0]["value"], format!("{user}-demo-password"));
    }
}
