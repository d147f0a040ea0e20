//! `authorize_params` of `[[identity]]`.

use insta::assert_snapshot;

use super::Operator;

/// What is reported about this table.
fn problems(table: &str) -> String {
    let text = format!(
        "public_url = \"https://mcp.example.com\"\n[[identity]]\nid = \"corp\"\nkind = \"oidc\"\n\
         issuer = \"https://sso.example.com\"\nclient_id = \"x\"\nauthorize_params = {table}\n"
    );
    let said = Operator::new().problems(&text);
    let mut lines = Vec::new();
    let mut ours = false;
    for line in said.lines() {
        if !line.starts_with(' ') {
            ours = line.contains("authorize_params");
        }
        if ours {
            lines.push(line);
        }
    }
    lines.join("\n")
}

#[test]
fn parameters_that_bind_a_sign_in_to_us_cannot_be_set() {
    for name in [
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "dpop_jkt",
        "nonce",
        "redirect_uri",
        "request",
        "request_uri",
        "response_mode",
        "response_type",
        "scope",
        "state",
        "client_secret",
        "client_assertion",
    ] {
        let said = problems(&format!("{{ {name} = \"x\" }}"));
        assert!(said.contains(&format!("authorize_params.{name}: ")), "{name}: {said}");
    }
    assert_snapshot!(problems("{ state = \"x\", scope = \"openid\", client_secret = \"x\" }"), @r#"
    portcullis.toml:7:30: error: identity "corp": authorize_params.state: is set by Portcullis for each sign-in
        hint: remove it
    portcullis.toml:7:43: error: identity "corp": authorize_params.scope: is set by Portcullis for each sign-in
        hint: write the scopes to request into `scopes`
    portcullis.toml:7:69: error: identity "corp": authorize_params.client_secret: must not be in a URL, which browsers and logs keep
        hint: write the secret into `client_secret`
    "#);
}

#[test]
fn every_mistake_in_a_parameter_is_reported() {
    assert_snapshot!(problems(r#"{ access_type = "", "a b" = "x", hint = "a\nb", acr_values = "urn:a b" }"#), @r#"
    portcullis.toml:7:36: error: identity "corp": authorize_params.access_type: is empty
    portcullis.toml:7:48: error: identity "corp": authorize_params: a parameter's name has only letters, digits, "-", "." and "_"
    portcullis.toml:7:60: error: identity "corp": authorize_params.hint: has a control character
    "#);
}

#[test]
fn all_parameters_together_stay_under_4000_characters() {
    let of = |length: usize| problems(&format!("{{ claims = \"{}\" }}", "x".repeat(length - "claims".len())));
    assert_eq!(of(3999), "");
    assert_snapshot!(of(4000), @r#"
    portcullis.toml:7:20: error: identity "corp": authorize_params: has 4000 characters in all: at most 3999 are possible
        hint: providers and proxies drop longer ones
    "#);
}

#[test]
fn a_value_must_be_a_text() {
    assert_snapshot!(
        problems("{ max_age = 5 }"),
        @r#"portcullis.toml:7:32: error: identity "corp": authorize_params.max_age: must be a string in quotes"#
    );
    assert_snapshot!(
        problems("\"prompt=login\""),
        @r#"portcullis.toml:7:20: error: identity "corp": authorize_params: must be a map"#
    );
    assert_eq!(problems(r#"{ prompt = "login", max_age = "5", "ui.locales-x" = "de en" }"#), "");
}
