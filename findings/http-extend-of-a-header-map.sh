#!/usr/bin/env bash
# http 1.5.0 (as in hyper, axum, reqwest): `HeaderMap::extend` with a HeaderMap replaces the values of a name that is there; with
# pairs of name and value, the same headers filtered for instance, it appends. A gateway that lays its own headers over the client's
# this way forwards both values, and `get` gives the client's.
#
# Seen on 2026-11-30 (x-user is "client", the headers laid over it say "gateway"):
#   extend(map): ["gateway"], get: "gateway"
#   extend(pairs of the map): ["client", "gateway"], get: "client"
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
TOML
cat >"$folder/src/main.rs" <<'RUST'
use http::{HeaderMap, HeaderName, HeaderValue};

const USER: HeaderName = HeaderName::from_static("x-user");

fn user(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(USER, HeaderValue::from_static(value))])
}

fn show(label: &str, headers: &HeaderMap) {
    println!("{label}: {:?}, get: {:?}", headers.get_all(USER).iter().collect::<Vec<_>>(), headers[USER]);
}

fn main() {
    let mut headers = user("client");
    headers.extend(user("gateway"));
    show("extend(map)", &headers);

    let mut headers = user("client");
    headers.extend(user("gateway").iter().map(|(name, value)| (name.clone(), value.clone())));
    show("extend(pairs of the map)", &headers);
}
RUST
seen=$(cargo run --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target")
echo "http 1.5.0"
echo "$seen"
[ "$seen" = 'extend(map): ["gateway"], get: "gateway"
extend(pairs of the map): ["client", "gateway"], get: "client"' ]
