//! Mistakes in `[limits]`.

use super::{Operator, Outcome, REST};

const PUBLIC_URL: &str = "public_url = \"https://mcp.example.com\"\n";

fn problems(limits: &str) -> String {
    Operator::new().problems(format!("{PUBLIC_URL}{limits}{REST}"))
}

#[test]
fn limits_that_admit_no_requests_are_refused_with_a_hint() {
    let keys = [
        "connections",
        "connections_per_address",
        "requests",
        "requests_per_address",
        "calls",
        "calls_per_user",
        "waiting_writes",
    ];
    let written = keys.map(|key| format!("{key} = 0\n")).concat();
    let sizes =
        ["body_memory", "body_memory_per_address", "body_memory_per_user"].map(|key| format!("{key} = \"1KiB\"\n"));
    let problems = problems(&format!("[limits]\n{written}{}", sizes.concat()));
    for (line, key) in keys.iter().enumerate() {
        let expected =
            format!("portcullis.toml:{}:{}: error: limits: {key}: must be at least 4", line + 3, key.len() + 4);
        assert!(problems.contains(&expected), "{problems}");
    }
    assert!(problems.contains("limits: body_memory: is less than 4MiB"), "{problems}");
    for key in ["body_memory_per_address", "body_memory_per_user"] {
        assert!(problems.contains(&format!("limits: {key}: is less than 256KiB")), "{problems}");
    }
    assert_eq!(problems.matches("leave it out").count(), 10, "{problems}");
}

#[test]
fn body_memory_must_hold_four_of_the_largest_bodies() {
    let problems = problems("[server]\ninspect_limit = \"8MiB\"\n[limits]\nbody_memory = \"16MiB\"\n");
    assert!(problems.contains("limits: body_memory: is less than four bodies of server.inspect_limit"), "{problems}");
    assert!(problems.contains("raise it, or lower inspect_limit"), "{problems}");
}

#[test]
fn body_memory_per_user_must_hold_the_largest_body() {
    let written = |size: &str| format!("{PUBLIC_URL}[limits]\nbody_memory_per_user = \"{size}\"\n{REST}");
    let refused = Operator::new().problems(written("1023KiB"));
    let expected =
        "portcullis.toml:3:24: error: limits: body_memory_per_user: is less than one body of server.inspect_limit";
    assert!(refused.contains(expected), "{refused}");
    assert!(refused.contains("raise it, or lower inspect_limit"), "{refused}");
    assert_eq!(Operator::new().check(written("1MiB")).outcome, Outcome::Done);
}

#[test]
fn operations_hosts_are_names_without_ports() {
    let problems = problems("[server]\noperations_hosts = [\"portcullis\", \"portcullis:9090\"]\n");
    assert!(problems.contains("server: operations_hosts[1]: is not a plain host name"), "{problems}");
    assert!(!problems.contains("operations_hosts[0]"), "{problems}");
}
