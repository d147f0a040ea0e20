//! `[consent]`: remembered consent is refused wherever it could not be safe.

use portcullis::cli::Outcome;

use super::{Operator, REST};

const CLIENTS: &str = "
[[client]]
client_id = \"web\"
redirect_uris = [\"https://chat.example.com/callback\"]
[[client]]
client_id = \"desk\"
redirect_uris = [\"http://127.0.0.1/callback\"]
";

/// What `check` says of a section `[consent]` with these keys, and of settings beside it.
fn check(consent: &str, beside: &str) -> String {
    let configuration =
        format!("public_url = \"https://mcp.example.com\"\n[consent]\n{consent}\n{beside}\n{REST}{CLIENTS}");
    let checked = Operator::new().check(configuration);
    assert_eq!(checked.err.is_empty(), checked.outcome == Outcome::Done, "{}", checked.err);
    checked.err
}

#[test]
fn consent_may_be_remembered_for_named_clients() {
    for good in [
        "",
        "remember_for = \"30d\"\nremember_clients = [\"web\"]",
        "remember_for = \"365d\"\nremember_clients = [\"web\", \"https://claude.ai/oauth/client.json\"]",
    ] {
        assert_eq!(check(good, ""), "", "{good}");
    }
}

#[test]
fn consent_that_could_not_be_remembered_safely_is_an_error() {
    let remember = |clients: &str| format!("remember_for = \"30d\"\nremember_clients = [{clients}]");
    let documents_off = "[client_documents]\nenabled = false";
    for (consent, beside, words) in [
        ("remember_for = \"30d\"".to_owned(), "", "remember_for: has no effect: no client is named"),
        ("remember_clients = [\"web\"]".to_owned(), "", "remember_clients: has no effect: nothing is remembered"),
        ("remember_for = \"0s\"\nremember_clients = [\"web\"]".to_owned(), "", "remember_for: must be longer than 0s"),
        ("remember_for = \"366d\"\nremember_clients = [\"web\"]".to_owned(), "", "remember_for: must be at most 365d"),
        (remember("\"desk\""), "", "remember_clients[0]: is a client without an https redirect URI"),
        (remember("\"web\", \"other\""), "", "remember_clients[1]: is neither the client_id of a [[client]]"),
        (remember("\"c_1234\""), "", "remember_clients[0]: is a client that registered itself"),
        (remember("\"https://claude.ai/\""), "", "remember_clients[0]: is no URL of a metadata document"),
        (
            remember("\"https://claude.ai/oauth/x\""),
            documents_off,
            "remember_clients[0]: names a document that is never",
        ),
    ] {
        let told = check(&consent, beside);
        assert!(told.contains(&format!("consent: {words}")) && told.contains("1 error"), "{consent}: {told}");
    }
}
