//! Where secrets may be kept, and that none is ever printed.

use insta::assert_snapshot;

use super::{Operator, Printed, ROOT_KEY, whole_example, whole_operator};

const SECRETS: &str = r#"public_url = "https://mcp.example.com"
[storage]
url = "sqlite:nowhere/x.db"
[secrets]
keys = [
    { env = "SAME" },
    { file = "portcullis.key" },
    { env = "SHORT" },
    { env = "EMPTY" },
    { env = "NOT_SET" },
    { file = "empty" },
    { file = "large" },
    { file = "binary" },
    { file = "nowhere" },
    { file = "." },
    "inline",
]
[[identity]]
id = "keycloak"
kind = "keycloak"
issuer = "https://sso.example.com/realms/mcp"
client_id = "portcullis"
client_secret = { env = "SAME", file = "empty" }
"#;

#[test]
fn missing_and_malformed_secrets_are_reported() {
    let operator = Operator::new().with("EMPTY", "").with("SAME", ROOT_KEY.trim()).with("SHORT", "AAAA");
    operator.write_secret("empty", "\n");
    operator.write_secret("large", vec![b'a'; 65 * 1024]);
    operator.write_secret("binary", [0xff; 32]);
    assert_snapshot!(operator.problems(SECRETS), @r#"
    portcullis.toml: error: upstream: there is no MCP server to protect
        hint: add [[upstream]] with id, path and url
    portcullis.toml:3:7: error: storage: url: the directory of the database does not exist
        hint: create it for the user that runs Portcullis
    portcullis.toml:7:5: error: secrets: keys[1]: repeats an earlier key
        hint: remove one
    portcullis.toml:8:5: error: secrets: keys[2]: the secret is not a root key (32 bytes in base64)
        hint: `portcullis keys generate` makes one
    portcullis.toml:9:5: error: secrets: keys[3]: the secret is empty
        hint: put the secret into its file or variable
    portcullis.toml:10:5: error: secrets: keys[4]: the environment variable NOT_SET is not set, or is not UTF-8 text
        hint: set it for this process; the name is written without $
    portcullis.toml:11:5: error: secrets: keys[5]: the secret is empty
        hint: put the secret into its file or variable
    portcullis.toml:12:5: error: secrets: keys[6]: the secret's file cannot be read: it is larger than 65536 bytes
        hint: relative paths begin at /etc/portcullis
    portcullis.toml:13:5: error: secrets: keys[7]: the secret's file cannot be read: it is not UTF-8 text
        hint: relative paths begin at /etc/portcullis
    portcullis.toml:14:5: error: secrets: keys[8]: the root key's file does not exist
        hint: `portcullis keys generate --out FILE` makes one; relative paths begin at /etc/portcullis
    portcullis.toml:15:5: error: secrets: keys[9]: the secret's file cannot be read: it is a directory
        hint: relative paths begin at /etc/portcullis
    portcullis.toml:16:5: error: secrets: keys[10]: secrets are not allowed in this file
        hint: write { file = "/run/secrets/NAME" } or { env = "NAME" }
    portcullis.toml:23:17: error: identity "keycloak": client_secret: must name one source for the secret
        hint: write { file = "/run/secrets/NAME" } or { env = "NAME" }
    portcullis.toml: 13 errors
    "#);
    assert_snapshot!(operator.problems(SECRETS.replace("    \"inline\",\n", "")), @r#"
    portcullis.toml: error: upstream: there is no MCP server to protect
        hint: add [[upstream]] with id, path and url
    portcullis.toml:3:7: error: storage: url: the directory of the database does not exist
        hint: create it for the user that runs Portcullis
    portcullis.toml:7:5: error: secrets: keys[1]: repeats an earlier key
        hint: remove one
    portcullis.toml:8:5: error: secrets: keys[2]: the secret is not a root key (32 bytes in base64)
        hint: `portcullis keys generate` makes one
    portcullis.toml:9:5: error: secrets: keys[3]: the secret is empty
        hint: put the secret into its file or variable
    portcullis.toml:10:5: error: secrets: keys[4]: the environment variable NOT_SET is not set, or is not UTF-8 text
        hint: set it for this process; the name is written without $
    portcullis.toml:11:5: error: secrets: keys[5]: the secret is empty
        hint: put the secret into its file or variable
    portcullis.toml:12:5: error: secrets: keys[6]: the secret's file cannot be read: it is larger than 65536 bytes
        hint: relative paths begin at /etc/portcullis
    portcullis.toml:13:5: error: secrets: keys[7]: the secret's file cannot be read: it is not UTF-8 text
        hint: relative paths begin at /etc/portcullis
    portcullis.toml:14:5: error: secrets: keys[8]: the root key's file does not exist
        hint: `portcullis keys generate --out FILE` makes one; relative paths begin at /etc/portcullis
    portcullis.toml:15:5: error: secrets: keys[9]: the secret's file cannot be read: it is a directory
        hint: relative paths begin at /etc/portcullis
    portcullis.toml:22:17: error: identity "keycloak": client_secret: must name one source for the secret
        hint: write { file = "/run/secrets/NAME" } or { env = "NAME" }
    portcullis.toml: 12 errors
    "#);
}

/// Not a valid id, path or URL: only a display name may be like this.
const CANARY: &str = "Hunter2-Canary!";

#[test]
fn a_secret_anywhere_in_the_file_is_never_printed() {
    let example = whole_example();
    let positions: Vec<&str> = example.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).collect();
    assert!(positions.len() > 50);
    let shapes = [
        format!("\"{CANARY}\""),
        CANARY.to_owned(),
        format!("\"{CANARY}"),
        format!("[\"{CANARY}\"]"),
        format!("[{CANARY}]"),
        format!("{{ \"{CANARY}\" = 1 }}"),
        format!("{{ file = \"{CANARY}\" }}"),
        format!("{{ env = \"{CANARY}\" }}"),
        format!("{{ env = \"{CANARY}\", file = \"{CANARY}\" }}"),
        format!("[{{ file = \"{CANARY}\" }}, {{ \"{CANARY}\" = \"x\" }}]"),
        format!("[{{ env = \"{CANARY}\" }}, \"{CANARY}\"]"),
        format!("\"https://user:{CANARY}@host.example/\""),
        format!("\"https://host.example/?key={CANARY}\""),
        format!("\"sqlite:{CANARY}/x.db\""),
        format!("\"sqlite:{CANARY}?mode=ro\""),
        format!("\"postgres://user:{CANARY}@host/db\""),
        format!("{{ external = {{ secret = \"{CANARY}\" }} }}"),
        format!("[\"/{CANARY}/\", \"*{CANARY}*\"]"),
        format!("\"/{CANARY}\""),
    ];
    let operator = whole_operator();
    for line in positions {
        let (key, _) = line.split_once(" = ").unwrap();
        for shape in &shapes {
            let text = example.replacen(&format!("\n{line}"), &format!("\n{key} = {shape}"), 1);
            assert_ne!(text, example);
            for text in [text.clone(), text.replacen("code = \"60s\"", "code = 60", 1)] {
                let Printed { out, err, .. } = operator.check(&text);
                assert!(!out.contains(CANARY) && !err.contains(CANARY), "{key} = {shape}\n{out}{err}");
            }
        }
    }
}

#[test]
fn the_value_of_an_environment_variable_is_never_printed() {
    let example = whole_example();
    let (mut section, mut count) = (String::new(), 0);
    for line in example.lines() {
        if line.starts_with('[') {
            let name = line.trim_matches(['[', ']']);
            let id = [("identity", "__KEYCLOAK"), ("upstream", "__EXPENSES"), ("client", "__CHAT")];
            let id = id.into_iter().find(|(list, _)| *list == name).map_or("", |(_, id)| id);
            section = format!("{}{id}__", name.to_uppercase());
        }
        let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else { continue };
        count += 1;
        for text in
            [CANARY.to_owned(), format!("[\"{CANARY}\"]"), format!("https://u:{CANARY}@h/"), format!("[{CANARY}")]
        {
            let name = format!("PORTCULLIS_{section}{}", key.to_uppercase());
            let Printed { out, err, .. } = whole_operator().with(&name, &text).check(&example);
            assert!(!out.contains(CANARY) && !err.contains(CANARY), "{name}={text}\n{out}{err}");
        }
    }
    assert!(count > 50);
}
