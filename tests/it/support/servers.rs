//! What only some tests do to a PostgreSQL server: crash it, restart it, reach it by TLS or through a pooler.

use std::path::{Path, PathBuf};

use super::cluster::{Cluster, Database, PASSWORD, POOLER};

impl Cluster {
    /// Starts the server again after [`Self::stop`].
    pub(crate) fn restart(&self) {
        self.tell("start");
    }

    /// Ends every process of the server at once, as a crash of the machine would.
    pub(crate) fn stop(&self) {
        self.tell("stop");
    }

    /// The URL of a database through a PgBouncer in transaction mode, which runs from the first use on.
    pub(crate) fn pooled_url(&self, database: &str) -> String {
        assert!(
            Path::new("/usr/sbin/pgbouncer").exists(),
            "PgBouncer is missing; as root, run: apt-get install pgbouncer (tests/run does it, and starts nothing)"
        );
        self.tell("pooler");
        self.socket_url(POOLER, database)
    }

    /// The URL of a database over TCP, where TLS is possible.
    pub(crate) fn tcp_url(&self, host: &str, database: &str) -> String {
        format!("postgres://portcullis:{PASSWORD}@{host}:{}/{database}", self.port)
    }

    /// The file of the authority that certified the server as `localhost`.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }
}

impl Database {
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}
