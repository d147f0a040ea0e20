//! What disabling and deleting share: the question, the end of the client's grants, and the report.

use std::io;

use serde_json::{Value, json};

use crate::cli::grants::{self, Chosen, Report};
use crate::cli::shown::{self, escaped};
use crate::cli::{Outcome, Terminal, database};
use crate::config::Config;
use crate::storage::{GrantFilter, Store};

/// The grants of a client.
pub(super) fn grants_of(client: &str) -> GrantFilter {
    GrantFilter { client: Some(client.to_owned()), ..GrantFilter::default() }
}

/// Ends all grants of a client. Nothing may become a grant of it any more.
pub(super) async fn end_grants(config: &Config, store: &Store, client: &str, operator: &str) -> Result<Report, String> {
    let mut chosen = Chosen::new();
    for grant in database::grants(store, &grants_of(client)).await? {
        chosen.entry(grant.subject.as_str().to_owned()).or_default().push(grant.id);
    }
    grants::end(config, store, chosen, operator).await
}

/// Prints what was done to a client: `done` is the word for it, and `true` under that name in JSON.
pub(super) fn print(
    report: &Report,
    (client, done): (&str, &str),
    as_json: bool,
    terminal: &mut Terminal<'_>,
) -> io::Result<Outcome> {
    if !as_json {
        let outcome = report.print(terminal)?;
        writeln!(terminal.out, "client {} is {done}", escaped(client))?;
        return Ok(outcome);
    }
    let mut document = report.json();
    if let Value::Object(members) = &mut document {
        members.insert("client".to_owned(), json!(client));
        members.insert(done.to_owned(), json!(true));
    }
    writeln!(terminal.out, "{}", shown::json(&document)?)?;
    Ok(report.outcome())
}
