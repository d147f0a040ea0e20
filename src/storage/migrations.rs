//! The schema's history, built in: one list of files per engine, with the same numbers and the same names.
//!
//! The library identifies a migration by its number and the SHA-384 of its text, so a file never changes once it was
//! released.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

macro_rules! files {
    ($engine:literal) => {
        files!($engine: "0001_initial", "0002_ends_and_identities", "0003_named_scope", "0004_barred_sign_ins",
               "0005_single_use", "0007_managed_clients", "0008_client_documents", "0009_key_rotation", "0010_purposes",
               "0012_machines", "0013_bound_tokens", "0014_remembered_consents", "0015_bound_refresh_tokens",
               "0016_shared_provider_tokens", "0019_provider_logouts")
    };
    ($engine:literal: $($name:literal),+) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $engine, "/", $name, ".sql")))),+]
    };
}

/// Names, without `.sql`, and texts.
pub(super) type Files = &'static [(&'static str, &'static str)];

/// SQLite's.
pub(super) const SQLITE: Files = files!("sqlite");
/// PostgreSQL's.
pub(super) const POSTGRES: Files = files!("postgres");

sql! {
    pub(super) OLDEST_PROGRAM = "SELECT oldest_program FROM compatibility";

    /// The table is the library's.
    pub(super) APPLIED = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";
}

/// What an open does about a schema that is not current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// Brings it up to date.
    Apply,
    /// Fails: `storage.migrate` is off.
    SwitchedOff,
    /// Fails: a command works with what is there.
    NotByCommands,
}

impl Upgrade {
    /// What `serve` does by these settings.
    pub(super) const fn by_serve(migrate: bool) -> Self {
        if migrate { Self::Apply } else { Self::SwitchedOff }
    }
}

/// The schema of a database, against the files of an engine.
pub(super) struct Schema {
    missing: Vec<&'static str>,
    is_absent: bool,
}

impl Schema {
    /// Compares: `applied` are numbers and checksums, `oldest_program` is what the schema asks of a program.
    ///
    /// # Errors
    /// The message when this program must not use it, even after a migration.
    pub(super) fn read(files: Files, applied: &[(i64, Vec<u8>)], oldest_program: i64) -> Result<Self, String> {
        let ours = migrator(files);
        for migration in ours.iter() {
            let known = applied.iter().find(|(version, _)| *version == migration.version);
            if known.is_some_and(|(_, checksum)| *checksum != *migration.checksum) {
                return Err(another_build(migration.version));
            }
        }
        if let Some(message) = too_new(&ours, oldest_program) {
            return Err(message);
        }
        let is_missing = |name: &'static str| {
            migration((name, "")).is_none_or(|ours| applied.iter().all(|(version, _)| *version != ours.version))
        };
        let missing = files.iter().map(|(name, _)| *name).filter(|name| is_missing(name));
        Ok(Self { missing: missing.collect(), is_absent: false })
    }

    /// An empty database.
    pub(super) fn empty(files: Files) -> Self {
        Self { missing: files.iter().map(|(name, _)| *name).collect(), is_absent: true }
    }

    pub(super) const fn is_current(&self) -> bool {
        self.missing.is_empty()
    }

    /// The names of what is missing.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        self.missing.clone()
    }

    /// Whether nothing of ours is in the database.
    pub(super) const fn is_absent(&self) -> bool {
        self.is_absent
    }

    /// The message for a schema that is not current, when this process may not change it.
    pub(super) fn refusal(&self, upgrade: Upgrade) -> String {
        let lacks = if self.is_absent {
            "is empty".to_owned()
        } else {
            let migrations = if self.missing.len() == 1 { "a migration" } else { "migrations" };
            format!("lacks {migrations} of this program ({})", self.missing.join(", "))
        };
        match upgrade {
            Upgrade::NotByCommands if self.is_absent => {
                format!("{lacks}\n  hint: `serve` or `portcullis migrate` makes the tables; check storage.url")
            }
            Upgrade::NotByCommands => format!("{lacks}\n  hint: run `portcullis migrate` first"),
            Upgrade::Apply | Upgrade::SwitchedOff => {
                format!("{lacks}, and storage.migrate is off: run `portcullis migrate` first")
            }
        }
    }
}

/// Runs the files of a list that a database has not seen yet.
pub(super) fn migrator(files: Files) -> Migrator {
    let mut migrator = Migrator::with_migrations(files.iter().filter_map(|file| migration(*file)).collect());
    // what a later release added does not disturb this one; what it removed is checked against `too_new`
    migrator.set_ignore_missing(true);
    migrator
}

/// `0001_some_words`: the number is the version, the words are the description.
fn migration((name, text): (&'static str, &'static str)) -> Option<Migration> {
    let (version, description) = name.split_once('_')?;
    let description = Cow::Owned(description.replace('_', " "));
    Some(Migration::new(version.parse().ok()?, description, MigrationType::Simple, text.into_sql_str(), false))
}

/// The message for a schema that needs a newer program than one with these files.
fn too_new(migrator: &Migrator, needed: i64) -> Option<String> {
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or_default();
    (needed > known).then(|| {
        format!(
            "has a newer schema than this program: it needs one that knows migration {needed}, this one ends at {known}; \
             start the newer program, or restore a backup from before it"
        )
    })
}

/// The message for a migration that failed; messages for the engine's errors are in its file.
pub(super) fn message(error: MigrateError, engine: fn(&sqlx::Error) -> String) -> String {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => engine(&error),
        MigrateError::VersionMismatch(version) => another_build(version),
        other => format!("cannot be brought up to date: {other}"),
    }
}

fn another_build(version: i64) -> String {
    format!(
        "was made by another build: its migration {version} is not this program's; use that build, or a new database"
    )
}

#[cfg(test)]
mod tests {
    use super::{Files, POSTGRES, SQLITE, Schema, Upgrade, migrator};

    /// Number, description and the first bytes of the SHA-384: what a database of an earlier release holds.
    const RELEASED: [(i64, &str, [u8; 8]); 4] = [
        (1, "initial", [0x11, 0xa1, 0xaa, 0xe0, 0x05, 0x23, 0x2f, 0xa8]),
        (2, "ends and identities", [0x27, 0xaa, 0xfe, 0x08, 0xf1, 0x4d, 0x5e, 0xcd]),
        (3, "named scope", [0xc8, 0x1e, 0x6f, 0x09, 0x49, 0x15, 0x92, 0xb7]),
        (4, "barred sign ins", [0x9a, 0xe0, 0xef, 0x5d, 0x3e, 0x62, 0xc0, 0x98]),
    ];

    fn in_directory(engine: &str) -> Vec<String> {
        let directory = format!("{}/migrations/{engine}", env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn every_migration_file_is_built_in_for_each_engine() {
        let built_in = |files: Files| files.iter().map(|(name, _)| format!("{name}.sql")).collect::<Vec<_>>();
        assert_eq!(in_directory("sqlite"), built_in(SQLITE));
        assert_eq!(in_directory("postgres"), built_in(POSTGRES));
        for files in [SQLITE, POSTGRES] {
            assert_eq!(migrator(files).iter().count(), files.len(), "each has a number and a description");
        }
    }

    #[test]
    fn a_database_of_an_earlier_release_knows_its_migrations_again() {
        for ((version, description, head), built_in) in RELEASED.iter().zip(migrator(SQLITE).iter()) {
            assert_eq!((built_in.version, &*built_in.description), (*version, *description));
            assert_eq!(built_in.checksum[..8], *head, "migration {version} was changed");
        }
    }

    /// As a database holds them in which the first `count` files were applied.
    fn applied(files: Files, count: usize) -> Vec<(i64, Vec<u8>)> {
        migrator(files).iter().take(count).map(|one| (one.version, one.checksum.to_vec())).collect()
    }

    #[test]
    fn what_a_schema_lacks_is_named_and_a_later_one_lacks_nothing() {
        for files in [SQLITE, POSTGRES] {
            assert_eq!(Schema::empty(files).missing().len(), files.len());
            let early = Schema::read(files, &applied(files, 1), 1).unwrap();
            for upgrade in [Upgrade::SwitchedOff, Upgrade::NotByCommands] {
                let words = early.refusal(upgrade);
                assert!(
                    words.contains("(0002_ends_and_identities, ") && words.contains("`portcullis migrate`"),
                    "{words}"
                );
                assert!(Schema::empty(files).refusal(upgrade).starts_with("is empty"));
            }
            let mut later = applied(files, files.len());
            later.push((9998, vec![1]));
            assert!(Schema::read(files, &later, 1).unwrap().is_current(), "a later release added something");
            assert!(Schema::read(files, &later, 9998).is_err(), "a later release removed something");
            later[0].1 = vec![1];
            assert!(Schema::read(files, &later, 1).is_err());
        }
    }
}
