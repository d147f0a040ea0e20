//! What only a whole process shows: its log, its last lines, and where it finds its files. Some tests run this binary again
//! as a child process, others the program itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use portcullis::config::{Log, LogFormat};
use portcullis::telemetry::log;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Tells a process that it is the child.
const PART: &str = "PORTCULLIS_TEST_PART";

/// Runs `test` again, alone, in a process whose standard error is a pipe.
fn again(test: &str) -> Output {
    again_logging(test, None)
}

/// The same with a value of `RUST_LOG`.
fn again_logging(test: &str, rust_log: Option<&str>) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("process::{test}"), "--nocapture"]).env(PART, "child").env_remove("RUST_LOG");
    child.envs(rust_log.map(|level| ("RUST_LOG", level)));
    child.env_remove("RUST_BACKTRACE").stdout(Stdio::null()).output().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "this is how a test tells its own child")]
fn is_child() -> bool {
    std::env::var_os(PART).is_some()
}

fn lines(log: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(log);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}\n\n{text}"))).collect()
}

#[test]
fn a_panic_is_one_log_line_without_its_message() {
    if is_child() {
        let _flushed = log::FlushAtEnd;
        log::panics();
        log::start(&Log::default()).unwrap();
        let secret = String::from("pcr_very-secret");
        std::thread::spawn(move || assert!(secret.is_empty(), "{secret}")).join().unwrap_err();
        std::thread::spawn(|| unreachable!()).join().unwrap_err();
        return;
    }
    let output = again("a_panic_is_one_log_line_without_its_message");
    let lines = lines(&output.stderr);
    assert!(output.status.success(), "{lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, words) in lines.iter().zip(["(not shown: made at run time)", "internal error: entered unreachable code"])
    {
        assert_eq!(line["message"], "a thread panicked", "{line}");
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["words"], words);
        assert!(line["place"].as_str().unwrap().starts_with("tests/it/process.rs:"), "{line}");
    }
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"), "{lines:?}");
}

#[test]
fn the_log_is_flushed_before_the_process_ends_even_by_a_panic() {
    if is_child() {
        log::start(&Log::default()).unwrap();
        log::panics();
        let _flushed = log::FlushAtEnd;
        for number in 0..5000 {
            tracing::info!(target: "audit", number, "line");
        }
        unreachable!("the test harness catches this");
    }
    let output = again("the_log_is_flushed_before_the_process_ends_even_by_a_panic");
    let lines = lines(&output.stderr);
    assert_ne!(output.status.code(), Some(0));
    assert_eq!(lines.len(), 5001);
    assert_eq!((&lines[4999]["number"], &lines[5000]["message"]), (&json!(4999), &json!("a thread panicked")));
}

#[test]
fn audit_lines_stay_on_unless_switched_off_by_name_and_rust_log_overrides_the_settings() {
    const TEST: &str = "audit_lines_stay_on_unless_switched_off_by_name_and_rust_log_overrides_the_settings";
    if is_child() {
        let _flushed = log::FlushAtEnd;
        log::start(&Log { level: "error".to_owned(), ..Log::default() }).unwrap();
        tracing::info!(target: "audit", "granted");
        tracing::info!(target: "access", "request");
        tracing::warn!("trouble");
        return;
    }
    for (rust_log, seen) in [
        (None, &["granted"][..]),
        (Some("warn"), &["granted", "trouble"]),
        (Some("audit=off,access=info"), &["request"]),
        (Some("access=loud"), &["granted"]),
    ] {
        let lines = lines(&again_logging(TEST, rust_log).stderr);
        let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages, seen, "{rust_log:?}");
    }
}

#[test]
fn a_text_log_line_names_its_target() {
    const TEST: &str = "a_text_log_line_names_its_target";
    if is_child() {
        let _flushed = log::FlushAtEnd;
        log::start(&Log { format: LogFormat::Text, ..Log::default() }).unwrap();
        tracing::info!(target: "audit", "granted");
        tracing::warn!(target: "portcullis::gateway", "granted");
        return;
    }
    let output = again(TEST);
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1.trim_start()).collect();
    assert_eq!(lines, ["INFO audit: granted", "WARN portcullis::gateway: granted"], "{text}");
}

/// The program itself, with a standard error that is read only at the end.
struct Portcullis {
    process: Child,
    port: u16,
    _state: tempfile::TempDir,
}

impl Portcullis {
    fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["dev", "--port", &port.to_string()]).env("XDG_STATE_HOME", state.path()).env_remove("RUST_LOG");
        let process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let began = tokio::time::Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_mins(1), "it never listened");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { process, port, _state: state }
    }

    fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        connection
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Reads what is left of standard error while the process ends.
    fn end(mut self) -> Vec<Value> {
        self.signal(Signal::INT);
        let mut log = Vec::new();
        self.process.stderr.take().unwrap().read_to_end(&mut log).unwrap();
        self.process.wait().unwrap();
        lines(&log)
    }
}

/// Sends requests on one connection and waits for all their answers, which have these statuses.
fn ask(connection: &mut TcpStream, requests: &[String], status: &str) {
    connection.write_all(requests.concat().as_bytes()).unwrap();
    let (mut seen, mut buffer) = (Vec::new(), [0; 8 * 1024]);
    let expected = format!("HTTP/1.1 {status}");
    while String::from_utf8_lossy(&seen).matches("HTTP/1.1 ").count() < requests.len() {
        let count = connection.read(&mut buffer).expect("an answer in time");
        assert!(count > 0, "the connection ended");
        seen.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(String::from_utf8_lossy(&seen).matches(&expected).count(), requests.len());
}

#[test]
fn an_unread_standard_error_blocks_no_request_and_loses_no_audit_line() {
    const ROUNDS: usize = 40;
    const EACH: usize = 100;
    let portcullis = Portcullis::start();
    let host = format!("Host: 127.0.0.1:{}", portcullis.port);
    let get = format!("GET /nowhere/{} HTTP/1.1\r\n{host}\r\n\r\n", "x".repeat(400));
    let mut connection = portcullis.connect();
    for round in 0..ROUNDS {
        let client = json!({"client_name": format!("client {round}"), "redirect_uris": ["http://127.0.0.1:1/cb"]});
        let (client, json) = (client.to_string(), "Content-Type: application/json");
        let register =
            format!("POST /register HTTP/1.1\r\n{host}\r\n{json}\r\nContent-Length: {}\r\n\r\n{client}", client.len());
        ask(&mut connection, &[register], "201");
        ask(&mut connection, &vec![get.clone(); EACH], "404");
    }
    drop(connection);
    let lines = portcullis.end();
    let of = |target: &str| lines.iter().filter(|line| line["target"] == target).collect::<Vec<_>>();
    let registered: Vec<_> = of("audit").iter().filter_map(|line| Some(line["name"].as_str()?.to_owned())).collect();
    let expected: Vec<_> = (0..ROUNDS).map(|round| format!("client {round}")).collect();
    assert_eq!(registered, expected, "every audit line, in order");
    let reports = of("portcullis::telemetry::lost");
    let dropped: u64 = reports.iter().map(|report| report["lines"].as_u64().unwrap()).sum();
    assert!(reports.iter().all(|report| report["message"] == "lines were dropped: standard error was not read"));
    let (seen, all) = (of("access").len(), u64::try_from(ROUNDS * (EACH + 1)).unwrap());
    assert!(dropped > 0 && u64::try_from(seen).unwrap() + dropped >= all, "{seen} seen, {dropped} dropped of {all}");
}

/// A program in a directory with a configuration whose upstream and provider are dead.
fn program(directory: &std::path::Path, command: &str) -> Command {
    let key = directory.join("portcullis.key");
    std::fs::write(&key, format!("{}=\n", "A".repeat(43))).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let text = "public_url = \"http://127.0.0.1:6749\"\n[server]\nlisten = \"127.0.0.1:0\"\noperations = \"off\"\n\
                [storage]\nurl = \"sqlite:portcullis.db\"\n[secrets]\nkeys = [{ file = \"portcullis.key\" }]\n\
                [[identity]]\nid = \"keycloak\"\nkind = \"keycloak\"\nissuer = \"http://127.0.0.1:9/realms/mcp\"\n\
                client_id = \"portcullis\"\n[[upstream]]\nid = \"expenses\"\npath = \"/mcp\"\nurl = \"http://127.0.0.1:9/mcp\"\n";
    std::fs::write(directory.join("portcullis.toml"), text).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    program.arg(command).current_dir(directory).env_clear().stdin(Stdio::null());
    program
}

#[test]
fn the_default_configuration_is_in_the_working_directory() {
    let directory = tempfile::tempdir().unwrap();
    let checked = program(directory.path(), "check").output().unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && said.starts_with("portcullis.toml: ok\n"), "{said}");
    std::fs::remove_file(directory.path().join("portcullis.toml")).unwrap();
    let mut missing = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let missing = missing.arg("serve").current_dir(directory.path()).env_clear().output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(
        said.contains("portcullis.toml: error: the configuration cannot be read")
            && said.contains("check --config FILE"),
        "{said}"
    );
}

#[test]
fn serve_starts_and_warns_while_upstream_and_provider_are_down() {
    let directory = tempfile::tempdir().unwrap();
    let mut serving = program(directory.path(), "serve").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serving.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (mut serves, mut warned) = (false, Vec::new());
    // the process prints all of it, or ends and closes the pipe
    while warned.len() < 2 {
        let Some(line) = lines.find(|line| line.starts_with('{')) else { break };
        let line: Value = serde_json::from_str(&line).unwrap();
        serves |= line["message"] == "serving";
        if line["about"].is_string() {
            assert_eq!(line["level"], "WARN", "{line}");
            warned.push(line["about"].as_str().unwrap().to_owned());
        }
    }
    let runs = serving.try_wait().unwrap().is_none();
    serving.kill().unwrap();
    serving.wait().unwrap();
    warned.sort();
    assert!(serves && runs);
    assert_eq!(warned, ["identity \"keycloak\"", "upstream \"expenses\": url"]);
}

#[test]
fn a_json_line_of_a_request_can_be_found_by_its_id_at_every_level() {
    if is_child() {
        let _flushed = log::FlushAtEnd;
        log::start(&Log { level: "error,portcullis=warn".to_owned(), ..Log::default() }).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = crate::support::bench::Bench::new().await;
            let url = bench.approve().await;
            let error = bench.error(&url, "server_error");
            bench.back(&error).await;
        });
        return;
    }
    let output = again("a_json_line_of_a_request_can_be_found_by_its_id_at_every_level");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (lines, words) = (lines(&output.stderr), "the identity provider answered with an error");
    let line = lines.iter().find(|line| line["message"] == words).unwrap_or_else(|| panic!("{lines:?}"));
    assert!(line["span"]["request_id"].as_str().unwrap().starts_with("q_"), "{line}");
    assert_eq!((&line["span"]["address"], line.get("spans")), (&json!("127.0.0.1"), None), "{line}");
}
