//! Copies a SQLite file into an empty PostgreSQL database.
//!
//! The tables and their columns are those that the target has after its migrations, so that a table that a migration adds is
//! copied without being named here. This file alone puts SQL texts together. Nothing of the source is part of a text: all names
//! come from our own migrations, by way of the target's catalogue, which also quotes them.

use std::path::Path;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, Postgres, Row};

use super::error::StoreError;
use super::nul::escape;
use super::server::Server;
use super::{Store, sqlite, sqlite_inspection};
use crate::config;

/// How many rows one statement inserts.
const BATCH: usize = 500;

sql! {
    /// A copy may take longer than any call.
    NO_LIMITS = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

    /// Every column, in the order of its table.
    COLUMNS = "
        SELECT quote_ident(c.relname), quote_ident(a.attname), format_type(a.atttypid, NULL), a.attidentity <> ''
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = to_regnamespace(current_schema()) AND c.relkind = 'r'
          AND c.relname NOT IN ('_sqlx_migrations', 'compatibility') AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY c.relname, a.attnum";

    /// Not empty in a new database: a migration begins the feed of ends with an entry.
    HAS_ENDS = "SELECT EXISTS (SELECT 1 FROM grant_ends WHERE sequence > 1)";

    CLEAR_ENDS = "DELETE FROM grant_ends";

    /// Which table refers to which.
    REFERENCES = "
        SELECT quote_ident(c.relname), quote_ident(r.relname)
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
        WHERE k.contype = 'f' AND c.relnamespace = to_regnamespace(current_schema()) AND c.oid <> r.oid";
}

/// How much of a table was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// The table.
    pub name: String,
    /// How many rows.
    pub rows: u64,
}

struct Table {
    name: String,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    kind: Kind,
    is_identity: bool,
}

/// The types of our schema.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Boolean,
    Bytes,
}

impl Kind {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "bigint" => Self::Integer,
            "boolean" => Self::Boolean,
            "bytea" => Self::Bytes,
            _ => return None,
        })
    }

    const fn array(self) -> &'static str {
        match self {
            Self::Text => "text[]",
            Self::Integer => "bigint[]",
            Self::Boolean => "boolean[]",
            Self::Bytes => "bytea[]",
        }
    }
}

/// Copies every row of a SQLite file into a PostgreSQL database, all or nothing. The target gets its schema first, if it has
/// none. The source is only read, and must have the schema of this program.
///
/// # Errors
/// When the source does not exist or its schema is older, when the target is not empty, or when either fails. Then
/// the target stays empty.
pub async fn copy_to_postgres(source: &Path, target: &config::Postgres) -> Result<Vec<CopiedTable>, StoreError> {
    let mut file = open(source).await.map_err(|message| StoreError::about(source.display(), message))?;
    Store::migrate(&target.clone().into()).await?;
    let server = Server::new(target.direct.as_ref().unwrap_or(&target.server));
    let mut connection = server.connect().await?;
    let copied = copy(&mut file, &mut connection).await.map_err(|failure| match failure {
        Failure::Source(error) => StoreError::about(source.display(), sqlite::message(&error)),
        Failure::Target(error) => server.explain(&error),
        Failure::Words(message) => server.about(message),
    })?;
    // both have done their work
    file.close().await.ok();
    connection.close().await.ok();
    Ok(copied)
}

enum Failure {
    Source(sqlx::Error),
    Target(sqlx::Error),
    Words(String),
}

async fn open(source: &Path) -> Result<SqliteConnection, String> {
    if !source.is_file() {
        return Err("does not exist".to_owned());
    }
    let mut file = sqlite_inspection::connect_to_read(source).await?;
    let schema = sqlite::inspect(&mut file).await?;
    if schema.is_current() {
        Ok(file)
    } else {
        Err("has an older schema than this program: run `portcullis migrate` with it in storage.url first".to_owned())
    }
}

async fn copy(file: &mut SqliteConnection, to: &mut PgConnection) -> Result<Vec<CopiedTable>, Failure> {
    // one state of the source, and of the target everything or nothing
    let mut from = file.begin().await.map_err(Failure::Source)?;
    let mut to = to.begin().await.map_err(Failure::Target)?;
    sqlx::raw_sql(NO_LIMITS).execute(&mut *to).await.map_err(Failure::Target)?;
    let tables = tables(&mut to).await?;
    let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
    let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", names.join(", "));
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *to).await.map_err(Failure::Target)?;
    refuse_full(&tables, &mut to).await?;
    let mut copied = Vec::new();
    for table in &tables {
        let rows = copy_table(table, &mut from, &mut to).await?;
        copied.push(CopiedTable { name: table.name.clone(), rows });
    }
    to.commit().await.map_err(Failure::Target)?;
    from.rollback().await.map_err(Failure::Source)?;
    Ok(copied)
}

/// The target's tables, referenced ones first.
async fn tables(to: &mut PgConnection) -> Result<Vec<Table>, Failure> {
    let columns: Vec<(String, String, String, bool)> =
        sqlx::query_as(COLUMNS).persistent(false).fetch_all(&mut *to).await.map_err(Failure::Target)?;
    let references: Vec<(String, String)> =
        sqlx::query_as(REFERENCES).persistent(false).fetch_all(to).await.map_err(Failure::Target)?;
    let mut tables: Vec<Table> = Vec::new();
    for (table, name, kind, is_identity) in columns {
        let kind = Kind::parse(&kind)
            .ok_or_else(|| Failure::Words(format!("cannot be filled: column {table}.{name} is of type {kind}")))?;
        let column = Column { name, kind, is_identity };
        match tables.last_mut().filter(|last| last.name == table) {
            Some(last) => last.columns.push(column),
            None => tables.push(Table { name: table, columns: vec![column] }),
        }
    }
    Ok(in_order(tables, &references))
}

/// Sorts tables by their references. Tables in a circle, which do not exist, would come last.
fn in_order(mut waiting: Vec<Table>, references: &[(String, String)]) -> Vec<Table> {
    let mut sorted: Vec<Table> = Vec::new();
    while !waiting.is_empty() {
        let is_waiting = |name: &String| waiting.iter().any(|table| table.name == *name);
        let blocked: Vec<String> =
            references.iter().filter(|(_, to)| is_waiting(to)).map(|(from, _)| from.clone()).collect();
        let (later, next): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|table| blocked.contains(&table.name));
        let stuck = next.is_empty();
        sorted.extend(next);
        if stuck {
            sorted.extend(later);
            break;
        }
        waiting = later;
    }
    sorted
}

/// Refuses a target that is not empty, and deletes the rows that the migrations put there.
async fn refuse_full(tables: &[Table], to: &mut PgConnection) -> Result<(), Failure> {
    for Table { name, .. } in tables {
        let query = if name == "grant_ends" {
            sqlx::query_scalar(HAS_ENDS)
        } else {
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {name})")))
        };
        let is_full: bool = query.persistent(false).fetch_one(&mut *to).await.map_err(Failure::Target)?;
        if is_full {
            return Err(Failure::Words(format!(
                "is not empty: table {name} has rows; copy into a new database, before any `serve` starts on it"
            )));
        }
    }
    sqlx::query(CLEAR_ENDS).persistent(false).execute(to).await.map_err(Failure::Target)?;
    Ok(())
}

async fn copy_table(table: &Table, from: &mut SqliteConnection, to: &mut PgConnection) -> Result<u64, Failure> {
    let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let select = AssertSqlSafe(format!("SELECT {} FROM {}", names.join(", "), table.name));
    let mut rows = sqlx::query(select).fetch(from);
    let (mut batch, mut count) = (Batch::new(table), 0);
    while let Some(row) = rows.try_next().await.map_err(Failure::Source)? {
        batch.push(&row).map_err(Failure::Source)?;
        count += 1;
        if batch.rows == BATCH {
            insert(table, std::mem::replace(&mut batch, Batch::new(table)), to).await?;
        }
    }
    insert(table, batch, to).await?;
    for column in table.columns.iter().filter(|column| column.is_identity) {
        let Table { name: table, .. } = table;
        let next = AssertSqlSafe(format!(
            "SELECT setval(pg_get_serial_sequence('{table}', '{0}'), max({0})) FROM {table} HAVING max({0}) IS NOT NULL",
            column.name
        ));
        sqlx::query(next).persistent(false).execute(&mut *to).await.map_err(Failure::Target)?;
    }
    Ok(count)
}

async fn insert(table: &Table, batch: Batch, to: &mut PgConnection) -> Result<(), Failure> {
    let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let arrays = table.columns.iter().zip(1..).map(|(column, n)| format!("${n}::{}", column.kind.array()));
    let sql = format!(
        "INSERT INTO {} ({}) SELECT * FROM UNNEST({})",
        table.name,
        names.join(", "),
        arrays.collect::<Vec<_>>().join(", ")
    );
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    let query = batch.columns.into_iter().fold(query, |query, values| values.bind(query));
    query.execute(to).await.map_err(Failure::Target)?;
    Ok(())
}

/// Rows, column by column.
struct Batch {
    rows: usize,
    columns: Vec<Values>,
}

enum Values {
    Text(Vec<Option<String>>),
    Integer(Vec<Option<i64>>),
    Boolean(Vec<Option<bool>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Batch {
    fn new(table: &Table) -> Self {
        let columns = table.columns.iter().map(|column| match column.kind {
            Kind::Text => Values::Text(Vec::new()),
            Kind::Integer => Values::Integer(Vec::new()),
            Kind::Boolean => Values::Boolean(Vec::new()),
            Kind::Bytes => Values::Bytes(Vec::new()),
        });
        Self { rows: 0, columns: columns.collect() }
    }

    fn push(&mut self, row: &SqliteRow) -> Result<(), sqlx::Error> {
        for (column, values) in self.columns.iter_mut().enumerate() {
            match values {
                Values::Text(values) => {
                    let text: Option<String> = row.try_get(column)?;
                    values.push(text.map(|text| escape(&text).into_owned()));
                }
                Values::Integer(values) => values.push(row.try_get(column)?),
                Values::Boolean(values) => values.push(row.try_get(column)?),
                Values::Bytes(values) => values.push(row.try_get(column)?),
            }
        }
        self.rows += 1;
        Ok(())
    }
}

impl Values {
    fn bind(self, query: Query<'_, Postgres, PgArguments>) -> Query<'_, Postgres, PgArguments> {
        match self {
            Self::Text(values) => query.bind(values),
            Self::Integer(values) => query.bind(values),
            Self::Boolean(values) => query.bind(values),
            Self::Bytes(values) => query.bind(values),
        }
    }
}
