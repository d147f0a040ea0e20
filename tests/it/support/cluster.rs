//! A PostgreSQL server of our own for as long as a test binary runs: in a directory of its own, reached by a socket there and by
//! nothing else. It is made at the first use. A small process stops it and removes the directory when this one ends, by
//! whatever way: it waits for the end of a pipe that only we hold.
//!
//! A run without the server's programs fails and says so; nothing is skipped.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

const PASSWORD: &str = "only-for-tests";

/// `$1` is the directory, `$2` where the server's programs are. The server refuses to run as root.
const KEEPER: &str = r#"
    trap '' HUP INT
    as_server() {
        if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else "$@"; fi
    }
    start() {
        if [ "$(id -u)" = 0 ]; then chown -R postgres: "$1"; fi &&
        as_server "$2/initdb" -D "$1/data" -U portcullis -A scram-sha-256 --pwfile="$1/password" \
            -E UTF8 --locale=C --no-sync --no-instructions &&
        as_server "$2/pg_ctl" -D "$1/data" -s -w -l "$1/log" start \
            -o "-c listen_addresses= -c unix_socket_directories=$1 -c fsync=off -c max_connections=500"
    }
    cd / && if start "$1" "$2" >"$1/setup" 2>&1; then echo ready; else cat "$1/setup" "$1/log" >&2; fi
    read -r _
    as_server "$2/pg_ctl" -D "$1/data" -s -m immediate stop >"$1/setup" 2>&1
    rm -rf "$1"
"#;

/// The server.
pub(crate) struct Cluster {
    directory: PathBuf,
    databases: AtomicUsize,
    /// Holds our end of the pipe. It is never waited for: it ends after us.
    _keeper: Child,
}

/// A database, gone at the end.
pub(crate) struct Database(String);

/// The server of this test binary.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

impl Cluster {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("portcullis-postgres-").tempdir().unwrap().keep();
        std::fs::write(directory.join("password"), PASSWORD).unwrap();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&directory).arg(programs());
        // not in the terminal's group: an interrupt of the tests must not end it before it has cleaned up
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut keeper = keeper.spawn().unwrap();
        let mut answer = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut answer).unwrap();
        assert_eq!(answer, "ready\n", "PostgreSQL does not start: see above");
        Self { directory, databases: AtomicUsize::new(0), _keeper: keeper }
    }

    /// Makes a database: empty, or a copy of another one to which nothing is connected.
    pub(crate) fn create(&self, template: Option<&Database>) -> Database {
        let database = Database(format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed)));
        let template = template.map_or("template1", |template| &template.0);
        administer(format!("CREATE DATABASE {} TEMPLATE {template}", database.0));
        database
    }

    fn url(&self, database: &str) -> String {
        let socket = self.directory.to_str().unwrap().replace('/', "%2F");
        format!("postgres://portcullis:{PASSWORD}@{socket}/{database}?sslmode=disable")
    }
}

impl Database {
    pub(crate) fn url(&self) -> String {
        cluster().url(&self.0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        administer(format!("DROP DATABASE {} WITH (FORCE)", self.0));
    }
}

/// Where the server's programs are: the newest of Debian's, which are not on the path, or those on the path.
#[expect(clippy::disallowed_methods, reason = "the environment of the tests is no configuration")]
fn programs() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| {
            let version = version.ok()?;
            Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin")))
        })
        .collect();
    versions.sort();
    let of_path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = versions.into_iter().rev().map(|(_, path)| path).chain(std::env::split_paths(&of_path));
    let is_server =
        |path: &PathBuf| ["initdb", "pg_ctl", "postgres"].iter().all(|name| Path::new(path).join(name).exists());
    candidates.into_iter().find(is_server).expect(
        "the PostgreSQL server is missing; as root, run: apt-get install postgresql (tests/run does it, and starts nothing)",
    )
}

fn administer(sql: String) {
    blocking(async move {
        let mut connection = PgConnection::connect(&cluster().url("postgres")).await.unwrap();
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// Runs something to its end, inside of a test's runtime or outside.
pub(crate) fn blocking<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    std::thread::spawn(run).join().unwrap()
}
