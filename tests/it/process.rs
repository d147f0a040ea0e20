//! What only shows of a whole process: its last words. Each test runs this binary again as the process to look at.

use std::process::{Command, Output, Stdio};

use portcullis::telemetry::log;

/// Names the part that the child plays.
const PART: &str = "PORTCULLIS_TEST_PART";

/// Runs `test` again, alone, in a process whose standard error is a pipe.
fn again(test: &str) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("process::{test}"), "--nocapture"]).env(PART, "child").env_remove("RUST_LOG");
    child.env_remove("RUST_BACKTRACE").stdout(Stdio::null()).output().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "this is how a test tells its own child")]
fn is_child() -> bool {
    std::env::var_os(PART).is_some()
}

#[test]
fn a_panic_is_one_line_of_the_log_with_its_place_and_without_what_it_says() {
    if is_child() {
        log::panics();
        log::start();
        let secret = String::from("pcr_very-secret");
        std::thread::spawn(move || assert!(secret.is_empty(), "{secret}")).join().unwrap_err();
        std::thread::spawn(|| unreachable!()).join().unwrap_err();
        return;
    }
    let output = again("a_panic_is_one_line_of_the_log_with_its_place_and_without_what_it_says");
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(output.status.success(), "{log}");
    assert_eq!(lines.len(), 2, "{log}");
    for (line, words) in lines.iter().zip(["(not shown: made at run time)", "internal error: entered unreachable code"])
    {
        assert_eq!(line["message"], "a thread panicked", "{log}");
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["words"], words);
        assert!(line["place"].as_str().unwrap().starts_with("tests/it/process.rs:"), "{log}");
    }
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn the_last_line_before_the_end_is_in_the_pipe() {
    if is_child() {
        log::start();
        for number in 0..5000 {
            tracing::info!(target: "audit", number, "line");
        }
        std::process::exit(1);
    }
    let output = again("the_last_line_before_the_end_is_in_the_pipe");
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(log.lines().count(), 5000);
    assert!(log.lines().last().unwrap().contains("\"number\":4999"), "{log}");
}
