#!/usr/bin/env bash
# tracing 0.1.44: while the only subscriber is scoped to a thread (`with_default`, `set_default`), an event whose first call comes from
# another thread stays disabled, also for the thread with the subscriber: the interest of a new callsite is computed from the calling
# thread's subscriber, which is none, and cached. Creating a second subscriber enables it again. A test that reads the log through a
# scoped subscriber therefore fails, or wrongly passes "nothing was logged", depending on which thread comes first.
#
# Seen on 2026-11-30 (how many of two calls on its own thread the subscriber saw):
#   first called on the subscriber's thread: 2
#   first called on another thread: 0
#   the same, after a second subscriber was made: 2
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
tracing-core = "=0.1.36"
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::{
    sync::{Arc, atomic::{AtomicUsize, Ordering}},
    thread,
};

use tracing::{Dispatch, Event, Metadata, Subscriber, info, span, subscriber::with_default};

#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Subscriber for Count {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn one() {
    info!("one");
}

fn other() {
    info!("other");
}

fn main() {
    let count = Count::default();
    let twice = |event: fn()| {
        count.0.store(0, Ordering::SeqCst);
        event();
        event();
        count.0.load(Ordering::SeqCst)
    };
    with_default(count.clone(), || {
        println!("first called on the subscriber's thread: {}", twice(one));
        thread::spawn(other).join().unwrap();
        println!("first called on another thread: {}", twice(other));
        let _second = Dispatch::new(Count::default());
        println!("the same, after a second subscriber was made: {}", twice(other));
    });
}
RUST
seen=$(cargo run --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target")
echo "tracing 0.1.44, tracing-core 0.1.36"
echo "$seen"
[ "$seen" = "first called on the subscriber's thread: 2
first called on another thread: 0
the same, after a second subscriber was made: 2" ]
