#!/usr/bin/env bash
# hyper-util 0.1.21, `client::proxy::matcher::Matcher::from_env`: its documentation says that it treats the proxy variables as curl
# does. It does not. It uses HTTP_PROXY in upper case, which curl deliberately ignores. Upper case takes precedence over lower case (in
# curl it is the reverse), so an empty NO_PROXY hides a non-empty no_proxy. It separates entries of no_proxy by commas only, curl by
# spaces too. In both, `*.domain` and `host:port` in no_proxy silently match nothing, and the request goes through the proxy.
#
# Seen on 2026-11-30 (curl 7.88.1 as in Debian; the request is http://a.invalid/, the proxy http://127.0.0.1:PORT):
#   HTTP_PROXY: hyper-util proxy, curl direct
#   http_proxy, no_proxy=a.invalid: hyper-util direct, curl direct
#   http_proxy, NO_PROXY= no_proxy=a.invalid: hyper-util proxy, curl direct
#   http_proxy, no_proxy=b.invalid a.invalid: hyper-util proxy, curl direct
#   http_proxy, no_proxy=*.invalid: hyper-util proxy, curl proxy
#   http_proxy, no_proxy=a.invalid:80: hyper-util proxy, curl proxy
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
http = "=1.5.0"
hyper-util = { version = "=0.1.21", default-features = false, features = ["client-proxy"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

fn main() {
    let proxy = Matcher::from_env().intercept(&Uri::from_static("http://a.invalid/"));
    println!("{}", if proxy.is_some() { "proxy" } else { "direct" });
}
RUST
cat >"$folder/both.py" <<'PYTHON'
import http.server
import shutil
import subprocess
import sys
import threading


class Proxy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
curl = [shutil.which("curl"), "-q", "-s", "-w", "%{http_code}", "--max-time", "5", "http://a.invalid/"]


def show(proxy, **others):
    variables = {proxy: address, **others}
    ours = subprocess.run([sys.argv[1]], env=variables, capture_output=True, text=True, check=True).stdout.strip()
    answer = subprocess.run(curl, env=variables, capture_output=True, text=True, check=False)
    # 6: curl resolved a.invalid itself, which does not exist
    curls = {(0, "204"): "proxy", (6, "000"): "direct"}.get((answer.returncode, answer.stdout), answer)
    label = f"{proxy}, {' '.join(f'{name}={value}' for name, value in others.items())}" if others else proxy
    print(f"{label}: hyper-util {ours}, curl {curls}")


show("HTTP_PROXY")
show("http_proxy", no_proxy="a.invalid")
show("http_proxy", NO_PROXY="", no_proxy="a.invalid")
show("http_proxy", no_proxy="b.invalid a.invalid")
show("http_proxy", no_proxy="*.invalid")
show("http_proxy", no_proxy="a.invalid:80")
PYTHON
cargo build --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target"
echo "hyper-util 0.1.21, $(curl --version | head -n 1 | cut -d ' ' -f 1,2)"
seen=$(python3 "$folder/both.py" "$folder/target/debug/seen")
echo "$seen"
[ "$seen" = 'HTTP_PROXY: hyper-util proxy, curl direct
http_proxy, no_proxy=a.invalid: hyper-util direct, curl direct
http_proxy, NO_PROXY= no_proxy=a.invalid: hyper-util proxy, curl direct
http_proxy, no_proxy=b.invalid a.invalid: hyper-util proxy, curl direct
http_proxy, no_proxy=*.invalid: hyper-util proxy, curl proxy
http_proxy, no_proxy=a.invalid:80: hyper-util proxy, curl proxy' ]
