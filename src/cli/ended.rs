//! What a command ended, as it is printed: by `grants end`, `clients disable` and `clients delete`.

use std::io;

use serde_json::{Value, json};

use super::shown::{self, escaped, pluralize};
use super::{Outcome, Terminal};
use crate::issuer::EndReport;
use crate::storage::EndedGrant;

/// The grants and sessions that ended, the sign-ins that were cancelled, and the offline tokens that were revoked or kept.
pub(super) struct Ended(pub(super) EndReport);

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Ended {
    /// The same as [`Self::print`], for a program.
    fn json(&self) -> Value {
        let ended = self.0.ended.iter().map(|EndedGrant { grant, .. }| {
            json!({
                "id": grant.id,
                "subject": grant.subject,
                "client_id": grant.client_id,
                "resource": grant.resource,
            })
        });
        let revocations = self.0.revocations.iter().map(|(identity, tally)| {
            json!({
                "identity": identity,
                "revoked": tally.revoked,
                "kept": tally.kept,
                "failure": tally.failure,
            })
        });
        json!({
            "ended": ended.collect::<Vec<_>>(),
            "cancelled_sign_ins": self.0.cancelled_sign_ins,
            "ended_sessions": self.0.ended_sessions,
            "offline_tokens": revocations.collect::<Vec<_>>(),
        })
    }

    pub(super) fn print_json(&self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        writeln!(terminal.out, "{}", shown::json(&self.json())?)?;
        Ok(self.outcome())
    }

    /// Whether everything was done.
    fn outcome(&self) -> Outcome {
        let failed = self.0.revocations.values().any(|tally| tally.failure.is_some());
        if failed { Outcome::Failed } else { Outcome::Done }
    }

    /// Prints which grants ended, and which tokens could not be revoked.
    pub(super) fn print(&self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        let EndReport { ended, cancelled_sign_ins, ended_sessions, revocations } = &self.0;
        for EndedGrant { grant, .. } in ended {
            let (id, user, client) = (&grant.id, escaped(grant.subject.as_str()), escaped(grant.client_id.as_str()));
            writeln!(terminal.out, "{id}: ended (user {user}, client {client})")?;
        }
        writeln!(terminal.out, "{} ended", pluralize(ended.len(), "grant"))?;
        if *cancelled_sign_ins > 0 {
            writeln!(terminal.out, "{} in progress cancelled", pluralize(count(*cancelled_sign_ins), "sign-in"))?;
        }
        if *ended_sessions > 0 {
            writeln!(terminal.out, "{} at /account ended", pluralize(count(*ended_sessions), "session"))?;
        }
        for (identity, tally) in revocations {
            if tally.revoked > 0 {
                writeln!(terminal.out, "{} revoked at {identity}", pluralize(tally.revoked, "offline token"))?;
            }
            if let Some(failure) = &tally.failure {
                let kept = pluralize(tally.kept, "offline token");
                writeln!(terminal.err, "error: {kept} could not be revoked at {identity}: {}", escaped(failure))?;
                writeln!(terminal.err, "  hint: they are deleted here; end the users' sessions there")?;
            }
        }
        Ok(self.outcome())
    }

    /// Prints what was done to a client besides: `done` is the word for it, and `true` under that name in JSON.
    pub(super) fn print_of_client(
        &self,
        client: &str,
        done: &str,
        as_json: bool,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<Outcome> {
        if !as_json {
            let outcome = self.print(terminal)?;
            writeln!(terminal.out, "client {} is {done}", escaped(client))?;
            return Ok(outcome);
        }
        let mut document = self.json();
        if let Value::Object(members) = &mut document {
            members.insert("client".to_owned(), json!(client));
            members.insert(done.to_owned(), json!(true));
        }
        writeln!(terminal.out, "{}", shown::json(&document)?)?;
        Ok(self.outcome())
    }
}
