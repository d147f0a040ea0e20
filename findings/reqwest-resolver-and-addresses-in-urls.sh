#!/usr/bin/env bash
# reqwest 0.13.5: a custom resolver (`ClientBuilder::dns_resolver`) is not asked when the URL's host is an IP address; the client dials
# it. Addresses of other spellings that the URL parser turns into the dotted form (a single number, hexadecimal) count as addresses
# too. A policy on addresses that lives in the resolver must therefore also look at the host of the parsed URL, at every redirect as
# well. Names always go through the resolver, `localhost` included.
#
# Seen on 2026-11-30:
#   http://a.test: asked for a.test
#   http://localhost: asked for localhost
#   http://127.0.0.1: not asked, answered 200
#   http://2130706433: not asked, answered 200
#   http://[::1]: not asked
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "seen"
version = "0.0.0"
edition = "2024"

[dependencies]
reqwest = { version = "=0.13.5", default-features = false }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "net", "rt"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::sync::{Arc, Mutex};

use reqwest::dns::{Name, Resolve, Resolving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

struct Refusing(Arc<Asked>);

impl Resolve for Refusing {
    fn resolve(&self, name: Name) -> Resolving {
        self.0.0.lock().unwrap().push(name.as_str().to_owned());
        Box::pin(async { Err("no name is resolved here".into()) })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            stream.read(&mut head).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
        }
    });
    let asked = Arc::new(Asked::default());
    let client = reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(Refusing(asked.clone()))).build().unwrap();
    for host in ["a.test", "localhost", "127.0.0.1", "2130706433", "[::1]"] {
        let answer = client.get(format!("http://{host}:{port}/")).send().await;
        let names = std::mem::take(&mut *asked.0.lock().unwrap());
        let asked = if names.is_empty() { "not asked".to_owned() } else { format!("asked for {}", names.join(", ")) };
        let status = answer.map(|answer| format!(", answered {}", answer.status().as_u16())).unwrap_or_default();
        println!("http://{host}: {asked}{status}");
    }
}
RUST
seen=$(cargo run --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target")
echo "reqwest 0.13.5"
echo "$seen"
[ "$seen" = 'http://a.test: asked for a.test
http://localhost: asked for localhost
http://127.0.0.1: not asked, answered 200
http://2130706433: not asked, answered 200
http://[::1]: not asked' ]
