//! The SQL statements that a piece of work makes the database run, as sqlx logs them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::Id;
use tracing::{Event, Instrument, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The span under which statements are collected.
const SPAN: &str = "collected statements";

/// What was collected so far, by span.
static COLLECTED: Mutex<Option<HashMap<Id, Vec<String>>>> = Mutex::new(None);

/// Runs `work` and returns the statements that it ran, those of its own tasks included.
pub(crate) async fn of<T>(work: impl Future<Output = T>) -> (T, Vec<String>) {
    super::log::everywhere();
    let span = tracing::info_span!(SPAN);
    let id = span.id().expect("the subscriber of all threads takes every span");
    let output = work.instrument(span.clone()).await;
    let mut collected = COLLECTED.lock().unwrap_or_else(PoisonError::into_inner);
    let statements = collected.get_or_insert_default().remove(&id).unwrap_or_default();
    (output, statements)
}

/// How many of the statements read this table, and do nothing else.
pub(crate) fn reads_of(table: &str, statements: &[String]) -> usize {
    let from = format!("FROM {table}");
    reads(statements).filter(|statement| statement.contains(&from)).count()
}

/// The statements that only read.
pub(crate) fn reads(statements: &[String]) -> impl Iterator<Item = &String> {
    statements.iter().filter(|statement| statement.trim_start().starts_with("SELECT"))
}

/// Collects the statements of the spans that ask for it.
pub(super) struct Collector;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "sqlx::query" {
            return;
        }
        let mut statement = Statement::default();
        event.record(&mut statement);
        // the set-up of a new connection, which the pool may open at any time
        if statement.summary.starts_with("PRAGMA") {
            return;
        }
        for span in context.event_scope(event).into_iter().flatten().filter(|span| span.name() == SPAN) {
            let mut collected = COLLECTED.lock().unwrap_or_else(PoisonError::into_inner);
            collected.get_or_insert_default().entry(span.id()).or_default().push(statement.text());
        }
    }
}

/// A statement: sqlx logs a short one as its summary alone.
#[derive(Default)]
struct Statement {
    summary: String,
    whole: String,
}

impl Statement {
    fn text(&self) -> String {
        if self.whole.is_empty() { self.summary.clone() } else { self.whole.clone() }
    }
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.whole),
            _ => {}
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn Debug) {}
}
