//! A pooler between us and PostgreSQL (PgBouncer, Odyssey, a cloud's proxy), recognised by what it does.
//!
//! In transaction mode each *transaction* gets another server connection. Session state is then lost or, worse, reaches
//! another client: a lock that one connection takes and another should release, the number of a prepared statement. Our calls
//! do not use any of it; the migrations hold a lock of their session.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection, PgTransaction};

/// How many attempts are made. The first finds an idle pooler, the others one whose connections move among many clients: each
/// may miss it by chance. Without a pooler all are made, three round trips each.
const TRIES: usize = 16;
/// How long a transaction may wait for a connection of the server: a pooler with a single one makes it wait for the other.
const WAIT: Duration = Duration::from_secs(2);

sql! {
    BACKEND = "SELECT pg_backend_pid()";
}

/// Whether server connections are shared among transactions: two open connections meet the same process of the server, or one
/// meets several. Either connection may be unusable after this.
pub(super) async fn shares_connections(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, sqlx::Error> {
    for _ in 0..TRIES {
        let before = in_transaction(one).await?;
        let mut held = other.begin().await?;
        let theirs = backend(&mut held).await?;
        let after = match tokio::time::timeout(WAIT, in_transaction(one)).await {
            Ok(after) => after?,
            Err(_elapsed) => return Ok(true),
        };
        held.rollback().await?;
        if before == theirs || before != after {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn in_transaction(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let mut tx = connection.begin().await?;
    let backend = backend(&mut tx).await?;
    tx.commit().await?;
    Ok(backend)
}

async fn backend(tx: &mut PgTransaction<'_>) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar(BACKEND).persistent(false).fetch_one(&mut **tx).await
}
