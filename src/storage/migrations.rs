//! The schema's history, built in: one list of files per engine, with the same numbers and the same names.
//!
//! The library knows a migration again by its number and the SHA-384 of its text, so a file never changes once it was released.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

macro_rules! files {
    ($engine:literal) => {
        files!($engine: "0001_initial", "0002_ends_and_identities", "0003_named_scope", "0004_barred_sign_ins",
               "0005_single_use", "0007_managed_clients", "0008_client_documents", "0012_machines")
    };
    ($engine:literal: $($name:literal),+) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $engine, "/", $name, ".sql")))),+]
    };
}

/// Names, without `.sql`, and texts.
type Files = &'static [(&'static str, &'static str)];

/// SQLite's.
pub(super) const SQLITE: Files = files!("sqlite");
/// PostgreSQL's.
pub(super) const POSTGRES: Files = files!("postgres");

sql! {
    pub(super) OLDEST_PROGRAM = "SELECT oldest_program FROM compatibility";
}

/// What runs the files of a list that a database has not seen yet.
pub(super) fn migrator(files: Files) -> Migrator {
    let mut migrator = Migrator::with_migrations(files.iter().filter_map(|file| migration(*file)).collect());
    // what a later release added does not disturb this one; what it removed is judged by `too_new`
    migrator.set_ignore_missing(true);
    migrator
}

/// `0001_some_words`: the number is the version, the words are the description.
fn migration((name, text): (&'static str, &'static str)) -> Option<Migration> {
    let (version, description) = name.split_once('_')?;
    let description = Cow::Owned(description.replace('_', " "));
    Some(Migration::new(version.parse().ok()?, description, MigrationType::Simple, text.into_sql_str(), false))
}

/// Words for a schema that needs a newer program than one that knows these files.
pub(super) fn too_new(migrator: &Migrator, needed: i64) -> Option<String> {
    let known = migrator.iter().map(|migration| migration.version).max().unwrap_or_default();
    (needed > known).then(|| {
        format!(
            "has a newer schema than this program: it needs one that knows migration {needed}, this one ends at {known}; \
             start the newer program, or restore a backup from before it"
        )
    })
}

/// Words for a migration that failed; those for an error of the engine are the engine's.
pub(super) fn words(error: MigrateError, engine: fn(&sqlx::Error) -> String) -> String {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => engine(&error),
        MigrateError::VersionMismatch(version) => format!(
            "was made by another build: its migration {version} is not this program's; use that build, or a new database"
        ),
        other => format!("cannot be brought up to date: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Files, POSTGRES, SQLITE, migrator};

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
}
