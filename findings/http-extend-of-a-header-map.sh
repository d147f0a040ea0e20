#!/usr/bin/env bash
# http 1.5.0 (as in hyper, axum, reqwest): `HeaderMap::extend` replaces the values of an existing name if its argument is a HeaderMap,
# but appends if it is an iterator of name-value pairs, for instance the same headers filtered. A gateway that overrides the client's
# headers with pairs forwards both values, and `get` returns the client's.
#
# Seen on 2026-11-30 (x-user is "client"; the overriding headers say "gateway"):
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
