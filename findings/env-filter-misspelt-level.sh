#!/usr/bin/env bash
# tracing-subscriber 0.3.23: `EnvFilter` accepts a bare word that is not a level as the name of a target. A misspelt level is
# therefore not an error, and does not fall back to the default: the program logs nothing at all, not even errors. A misspelt level
# is refused only after `target=`. A program has to check the words itself, or parse `LevelFilter` first.
#
# Seen on 2026-11-30 (one event of each level but trace, from target `seen`):
#   warn: accepted as "warn"; logged: ERROR WARN
#   debg: accepted as "debg=trace"; logged: nothing
#   warning: accepted as "warning=trace"; logged: nothing
#   seen=debg: refused: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
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
tracing = { version = "=0.1.44", default-features = false, features = ["std"] }
tracing-subscriber = { version = "=0.3.23", default-features = false, features = ["env-filter", "registry", "std"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::sync::{Arc, Mutex};

use tracing::{Event, Subscriber, debug, error, info, subscriber::with_default, warn};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, SubscriberExt},
};

#[derive(Clone, Default)]
struct Levels(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Levels {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.lock().unwrap().push(event.metadata().level().to_string());
    }
}

fn main() {
    for setting in ["warn", "debg", "warning", "seen=debg"] {
        let filter = match EnvFilter::try_new(setting) {
            Ok(filter) => filter,
            Err(error) => {
                println!("{setting}: refused: {error}");
                continue;
            }
        };
        let accepted = filter.to_string();
        let levels = Levels::default();
        with_default(Registry::default().with(filter).with(levels.clone()), || {
            error!("an error");
            warn!("a warning");
            info!("a fact");
            debug!("a detail");
        });
        let logged = levels.0.lock().unwrap().join(" ");
        let logged = if logged.is_empty() { "nothing" } else { &logged };
        println!("{setting}: accepted as {accepted:?}; logged: {logged}");
    }
}
RUST
seen=$(cargo run --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target")
echo "tracing-subscriber 0.3.23"
echo "$seen"
[ "$seen" = 'warn: accepted as "warn"; logged: ERROR WARN
debg: accepted as "debg=trace"; logged: nothing
warning: accepted as "warning=trace"; logged: nothing
seen=debg: refused: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5' ]
