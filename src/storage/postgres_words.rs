//! The operator's messages for PostgreSQL's errors, with a hint where there is one.

use std::error::Error;
use std::time::Duration;

use super::call_limit::{CALL_LIMIT, CONNECT_LIMIT};

/// A call that took too long.
pub(super) fn stalled(limit: Duration) -> String {
    format!("did not answer within {limit:?}: the server is overloaded, or another transaction holds a lock")
}

/// The message for an error, which follows the database's name, with a hint where there is one.
pub(super) fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(cause) => words_for(cause.code().as_deref().unwrap_or_default(), cause.message()),
        sqlx::Error::Io(cause) if cause.get_ref().is_some_and(is_tls) => {
            format!(
                "does not prove its identity: {cause}; name its authority in storage.ca_file, and in storage.url a \
                 host that its certificate has"
            )
        }
        sqlx::Error::Io(cause) => format!("cannot be reached: {cause}; check the server and its address"),
        sqlx::Error::Tls(cause) => format!(
            "offers no TLS that can be used: {cause}; switch it on there or, on a network that you trust, write \
             storage.tls = \"disable\""
        ),
        sqlx::Error::PoolTimedOut => {
            format!("cannot be reached: no connection within {CONNECT_LIMIT:?}; check the server and its address")
        }
        sqlx::Error::PoolClosed => "is closed: this process is ending".to_owned(),
        other => format!("cannot be used: {other}"),
    }
}

fn is_tls(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    cause.is::<rustls::Error>()
}

/// Messages for PostgreSQL's error codes. The server's own may quote a value in class 22 (data), and are left out there.
fn words_for(code: &str, message: &str) -> String {
    match code {
        "28000" => format!("refuses this user: {message}; check storage.url, and pg_hba.conf of the server"),
        "28P01" => "refuses this user or this password: check storage.url and storage.password".to_owned(),
        "3D000" => "does not exist: make it (CREATE DATABASE), or name another".to_owned(),
        "42501" => {
            format!("refuses what this user must be able to do: {message}; grant it, or make the user the owner")
        }
        "25006" => "cannot be written: this server is a standby or read-only; name the primary".to_owned(),
        "53100" => "cannot grow: the disk of the server is full; free some space".to_owned(),
        "53300" => "has no connection left: raise max_connections there, or let this program open fewer".to_owned(),
        "57014" | "55P03" | "25P03" | "25P04" => stalled(CALL_LIMIT),
        "57P01" | "57P02" | "57P03" => format!("cannot be reached: the server is starting or stopping ({message})"),
        "40001" | "40P01" => format!("undid a transaction that collided with another ({code}): try again"),
        other if other.starts_with("08") => format!("cannot be reached: {message}"),
        other if other.starts_with("22") => format!("refused a value ({code})"),
        _ => format!("refused: {message} ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::{message, words_for};

    #[test]
    fn a_wait_for_a_connection_is_told_as_an_outage() {
        // the pool tries again while the server refuses, and never says why
        let message = message(&sqlx::Error::PoolTimedOut);
        assert_eq!(message, "cannot be reached: no connection within 4s; check the server and its address");
    }

    #[test]
    fn no_value_is_quoted_in_an_error() {
        let message = words_for("22P02", "invalid input syntax for type bigint: \"Ada\"");
        assert_eq!(message, "refused a value (22P02)");
    }
}
