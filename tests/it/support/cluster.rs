//! PostgreSQL servers of our own for as long as a test binary runs: each in a directory of its own, reached by a socket there and,
//! with TLS, on a free port of this machine. A small process keeps each of them. It stops the server and removes the directory
//! when this one ends, by whatever way: it waits for the end of a pipe that only we hold.
//!
//! A run without the programs of the server and of PgBouncer fails and says so; nothing is skipped.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

pub(super) const PASSWORD: &str = "only-for-tests";
/// The port of a PgBouncer's socket, in the directory of the server's.
pub(super) const POOLER: u16 = 6432;

/// `$1` is the directory, `$2` where the server's programs are, `$3` the port. The programs refuse to run as root. Each command
/// is a line of standard input, and is answered by one.
const KEEPER: &str = r#"
    trap '' HUP INT
    as_server() {
        if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else "$@"; fi
    }
    init() {
        if [ "$(id -u)" = 0 ]; then chown -R postgres: "$1"; fi &&
        as_server "$2/initdb" -D "$1/data" -U portcullis -A scram-sha-256 --pwfile="$1/password" \
            -E UTF8 --locale=C --no-sync --no-instructions
    }
    start() {
        as_server "$2/pg_ctl" -D "$1/data" -s -w -l "$1/log" start \
            -o "-c listen_addresses=127.0.0.1 -c port=$3 -c unix_socket_directories=$1 -c fsync=off -c max_connections=500 \
                -c ssl=on -c ssl_cert_file=$1/server.pem -c ssl_key_file=$1/server.key"
    }
    stop() { as_server "$2/pg_ctl" -D "$1/data" -s -m immediate stop; }
    pooler() {
        [ -e "$1/pooler.pid" ] || as_server /usr/sbin/pgbouncer -q -d "$1/pooler.ini" || return
        for _ in $(seq 100); do if [ -S "$1/.s.PGSQL.6432" ]; then return; fi; sleep 0.05; done
        return 1
    }
    stop_pooler() { if [ -e "$1/pooler.pid" ]; then kill "$(cat "$1/pooler.pid")"; fi; }
    run() { if "$@" >"$2/said" 2>&1; then echo done; else cat "$2/said" "$2/log" >&2; echo failed; fi; }
    cd /
    while read -r command; do
        case $command in
            init) run init "$@" ;;
            start) run start "$@" ;;
            stop) run stop "$@" ;;
            pooler) run pooler "$@" ;;
        esac
    done
    stop_pooler "$1" >"$1/said" 2>&1
    stop "$@" >"$1/said" 2>&1
    rm -rf "$1"
"#;

/// A server.
pub(crate) struct Cluster {
    pub(super) directory: PathBuf,
    pub(super) port: u16,
    databases: AtomicUsize,
    keeper: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    /// Never waited for: it ends after us.
    _keeper: Child,
}

/// A database of the server that all tests share, gone at the end.
pub(crate) struct Database(pub(super) String);

/// The server of this test binary.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

impl Cluster {
    /// Starts a server. That of [`cluster`] is for all tests; one that a test stops is its own.
    pub(crate) fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("portcullis-postgres-").tempdir().unwrap().keep();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(directory.join("password"), PASSWORD).unwrap();
        write_certificate(&directory);
        write_pooler(&directory, port);
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&directory).arg(programs()).arg(port.to_string());
        // not in the terminal's group: an interrupt of the tests must not end it before it has cleaned up
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut keeper = keeper.spawn().unwrap();
        let pipes = (keeper.stdin.take().unwrap(), BufReader::new(keeper.stdout.take().unwrap()));
        let databases = AtomicUsize::new(0);
        let cluster = Self { directory, port, databases, keeper: Mutex::new(pipes), _keeper: keeper };
        cluster.tell("init");
        cluster.tell("start");
        cluster
    }

    /// Has the keeper do something, and waits for it.
    pub(super) fn tell(&self, command: &str) {
        let mut answer = String::new();
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.0, "{command}").unwrap();
        keeper.1.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "{command} failed: see above");
    }

    /// Makes a database: empty, or a copy of another one to which nothing is connected.
    pub(crate) fn create(&self, template: Option<&Database>) -> Database {
        let database = Database(format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed)));
        let template = template.map_or("template1", |template| &template.0);
        administer(format!("CREATE DATABASE {} TEMPLATE {template}", database.0));
        database
    }

    /// The URL of a database through the server's socket.
    pub(crate) fn url(&self, database: &str) -> String {
        self.socket_url(self.port, database)
    }

    pub(super) fn socket_url(&self, port: u16, database: &str) -> String {
        let socket = self.directory.to_str().unwrap().replace('/', "%2F");
        format!("postgres://portcullis:{PASSWORD}@{socket}:{port}/{database}")
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

/// A certificate for `localhost` by an authority of its own.
fn write_certificate(directory: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(directory.join("ca.pem"), ca_certificate.pem()).unwrap();
    std::fs::write(directory.join("server.pem"), server.pem()).unwrap();
    let private = directory.join("server.key");
    std::fs::write(&private, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Few connections of the server for many clients, so that every one of them moves among many.
fn write_pooler(directory: &Path, port: u16) {
    let here = directory.display();
    std::fs::write(directory.join("pooler.users"), format!("\"portcullis\" \"{PASSWORD}\"\n")).unwrap();
    let settings = format!(
        "[databases]\n* = host={here} port={port}\n[pgbouncer]\nlisten_port = {POOLER}\nunix_socket_dir = {here}\n\
         auth_type = scram-sha-256\nauth_file = {here}/pooler.users\npool_mode = transaction\ndefault_pool_size = 4\n\
         max_client_conn = 500\nserver_login_retry = 1\nlogfile = {here}/pooler.log\npidfile = {here}/pooler.pid\n"
    );
    std::fs::write(directory.join("pooler.ini"), settings).unwrap();
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
