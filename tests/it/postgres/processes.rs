//! Two real processes of the program on one database.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::Instant;

use crate::support::cluster::{Database, cluster};
use crate::support::gate::{VERIFIER, challenge};

/// A process, ended with the test.
struct Replica {
    process: Child,
    port: u16,
}

impl Replica {
    fn start(directory: &Path, database: &Database) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut program = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        program.args(["serve", "--config"]).arg(directory.join("portcullis.toml")).env_clear();
        program
            .env("PORTCULLIS_STORAGE__URL", database.url())
            .env("PORTCULLIS_SERVER__LISTEN", format!("127.0.0.1:{port}"));
        let process = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { process, port }
    }

    fn answers(&self) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < Duration::from_mins(1), "it never listened");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The whole answer to a request.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:6749\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::KILL).ok();
        self.process.wait().ok();
    }
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn two_processes_that_start_at_once_on_a_new_database_share_keys_and_clients() {
    let (directory, database) = (tempfile::tempdir().unwrap(), cluster().create(None));
    let key = directory.path().join("portcullis.key");
    std::fs::write(&key, format!("{}=\n", "A".repeat(43))).unwrap();
    let text = "public_url = \"http://127.0.0.1:6749\"\n[server]\noperations = \"off\"\n[storage]\n[secrets]\n\
                keys = [{ file = \"portcullis.key\" }]\n[[identity]]\nid = \"keycloak\"\nkind = \"keycloak\"\n\
                issuer = \"http://127.0.0.1:9/realms/mcp\"\nclient_id = \"portcullis\"\n[[upstream]]\nid = \"mcp\"\n\
                path = \"/mcp\"\nurl = \"http://127.0.0.1:9/mcp\"\n";
    std::fs::write(directory.path().join("portcullis.toml"), text).unwrap();
    let replicas = [0, 1].map(|_| Replica::start(directory.path(), &database));
    replicas.iter().for_each(Replica::answers);
    let keys = replicas.each_ref().map(|replica| replica.ask("GET", "/.well-known/jwks.json", ""));
    assert_eq!(body(&keys[0]), body(&keys[1]));
    let set: Value = serde_json::from_str(body(&keys[0])).unwrap();
    assert_eq!(set["keys"].as_array().unwrap().len(), 1, "{set}");
    let registered = replicas[0].ask("POST", "/register", "{\"redirect_uris\":[\"http://127.0.0.1:1/cb\"]}");
    let client: Value = serde_json::from_str(body(&registered)).unwrap();
    let authorize = format!(
        "/authorize?response_type=code&client_id={}&redirect_uri=http://127.0.0.1:1/cb&code_challenge={}\
         &code_challenge_method=S256&state=x",
        client["client_id"].as_str().unwrap(),
        challenge(VERIFIER)
    );
    for path in [authorize.as_str(), "/authorize?client_id=c_unknown"] {
        let answer = replicas[1].ask("GET", path, "");
        assert_eq!(answer.contains("must connect again"), path != authorize, "{answer}");
    }
}
