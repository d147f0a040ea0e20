//! `dpop` and `dpop_replay` of an upstream, `dpop_bound_access_tokens` of a client.

use portcullis::cli::Outcome;

use super::{Operator, REST};

/// What `check` says of these keys of the upstream, and of the client, that come last.
fn check(upstream: &str, client: &str) -> String {
    let configuration = format!("public_url = \"https://mcp.example.com\"{REST}");
    let configuration = configuration.replacen("[[upstream]]\n", &format!("[[upstream]]\n{upstream}\n"), 1);
    let checked = Operator::new().check(format!("{configuration}\n{client}"));
    assert_eq!(checked.err.is_empty(), checked.outcome == Outcome::Done, "{}", checked.err);
    checked.err
}

const CLIENT: &str =
    "[[client]]\nclient_id = \"a\"\nredirect_uris = [\"http://127.0.0.1/\"]\ndpop_bound_access_tokens = true\n";

#[test]
fn bound_tokens_are_switched_on_for_each_upstream() {
    for good in ["", "dpop = \"off\"", "dpop = \"optional\"", "dpop = \"required\"\ndpop_replay = \"database\""] {
        assert_eq!(check(good, ""), "", "{good}");
    }
    assert_eq!(check("dpop = \"optional\"", CLIENT), "");
}

#[test]
fn settings_of_bound_tokens_that_contradict_each_other_are_refused() {
    for (upstream, client, words) in [
        ("dpop = true", "", "dpop: "),
        ("dpop = \"always\"", "", "dpop: "),
        ("dpop = \"optional\"\ndpop_replay = \"nowhere\"", "", "dpop_replay: "),
        ("dpop_replay = \"database\"", "", "dpop_replay: has no effect: dpop is off"),
        ("dpop = \"required\"\napi_keys = [\"bearer\"]", "", "dpop: is \"required\", but api_keys lets callers in"),
        ("", CLIENT, "dpop_bound_access_tokens: is true, but no upstream takes tokens that are bound to keys"),
    ] {
        let told = check(upstream, client);
        assert!(told.contains(words) && told.contains("1 error"), "{upstream} {client}: {told}");
    }
}
