//! `portcullis migrate` and `portcullis storage copy`, on the databases of running gates.

use portcullis::cli::Outcome;
use portcullis::config::{Database, Storage};
use portcullis::model::grant::EndReason;
use portcullis::storage::GrantFilter;

use super::{Operator, Printed, REST};
use crate::storage::{PostgresPlace, SqlitePlace};
use crate::support::cluster::blocking;
use crate::support::database;
use crate::support::gate::{TestGate, WORKS, tokens};

/// An operator whose file names this database.
fn operator(storage: &Storage) -> Operator {
    let (url, password) = match &storage.database {
        Database::Sqlite(file) => (format!("sqlite:{}", file.display()), ""),
        Database::Postgres(settings) => {
            (database::url(&settings.server).replace(":only-for-tests", ""), "password = { file = \"database\" }")
        }
    };
    let operator = Operator::new();
    operator.write_secret("database", "only-for-tests\n");
    let rest = REST.replace("url = \"sqlite:portcullis.db\"", &format!("url = \"{url}\"\n{password}\nmigrate = false"));
    std::fs::write(operator.path("portcullis.toml"), format!("public_url = \"https://mcp.example.com\"{rest}"))
        .unwrap();
    operator
}

/// Runs a command on a thread of its own, because it has its own runtime.
fn run(operator: &Operator, arguments: &[&str]) -> Printed {
    let file = operator.path("portcullis.toml").display().to_string();
    let arguments = [arguments, &["--config", &file]].concat();
    std::thread::scope(|scope| scope.spawn(|| operator.run(&arguments)).join().unwrap())
}

fn migrates(storage: &Storage) {
    let operator = operator(storage);
    let before = run(&operator, &["clients", "list"]);
    assert_eq!(before.outcome, Outcome::Failed);
    let first = run(&operator, &["migrate"]);
    assert_eq!((first.outcome, first.err.as_str()), (Outcome::Done, ""));
    assert!(first.out.starts_with("0001_initial\n0002_ends_and_identities\n"), "{}", first.out);
    assert!(first.out.contains("the schema is up to date: "), "{}", first.out);
    let again = run(&operator, &["migrate"]);
    assert_eq!(again.out, "the schema is up to date: 0 migrations applied\n");
    assert_eq!(run(&operator, &["clients", "list"]).out, "0 clients\n");
}

#[test]
fn migrate_brings_a_schema_up_to_date_that_a_start_leaves_alone() {
    migrates(&SqlitePlace::new().settings());
    migrates(&PostgresPlace::empty().settings());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_clients_of_a_sqlite_file_go_on_with_their_tokens_on_postgres() {
    let gate = TestGate::new().await;
    let mut signed_in = Vec::new();
    for n in 0..3 {
        let client = gate.register_named(&format!("Client {n}\u{0}")).await;
        let first = gate.tokens(&client).await;
        let second = tokens(&gate.refresh(&client, &first.refresh).await);
        signed_in.push((client, second));
    }
    let ended = gate.app.store().list_grants(&GrantFilter::default(), None, gate.clock.now(), 10).await.unwrap();
    gate.app.store().end_grant(&ended[0].id, EndReason::IdentityProvider, gate.clock.now()).await.unwrap();
    // a row that neither an insertion of ours nor a default would make
    database::by_hand(&gate.config.storage, "UPDATE grant_ends SET sequence = sequence + 1000 WHERE sequence > 1")
        .await;
    gate.app.close().await;

    let place = PostgresPlace::empty();
    let operator = operator(&place.settings());
    let source = database::file(&gate.config.storage).display().to_string();
    let copied = run(&operator, &["storage", "copy", "--from", &source]);
    assert_eq!((copied.outcome, copied.err.as_str()), (Outcome::Done, ""), "{}", copied.out);
    for (table, rows) in [("grants", 3), ("refresh_tokens", 6), ("signing_keys", 1), ("clients", 3), ("grant_ends", 2)]
    {
        let line = copied.out.lines().find(|line| line.split_whitespace().next() == Some(table)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(rows.to_string().as_str()), "{}", copied.out);
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(database::number(&place.settings(), &count).await, rows);
    }

    let settings = place.settings();
    let moved = gate.twin_with(|config| config.storage = settings).await;
    let mut working = 0;
    for (client, given) in &signed_in {
        let answer = moved.refresh(client, &given.refresh).await;
        if answer.status == 200 {
            assert_eq!(moved.call(&given.access).await.status, WORKS, "the old access token");
            assert_eq!(moved.call(&tokens(&answer).access).await.status, WORKS);
            working += 1;
        } else {
            assert_eq!(answer.error(), "invalid_grant");
            assert_eq!(moved.call(&given.access).await.status, 401);
        }
    }
    assert_eq!(working, 2, "all but the ended one");
    let live = moved.app.store().list_grants(&GrantFilter::default(), None, moved.clock.now(), 10).await.unwrap();
    moved.app.store().end_grant(&live[0].id, EndReason::IdentityProvider, moved.clock.now()).await.unwrap().unwrap();
    let newest = "SELECT max(sequence) FROM grant_ends";
    assert_eq!(database::number(&place.settings(), newest).await, 1003, "the feed goes on where it was");

    let again = run(&operator, &["storage", "copy", "--from", &source]);
    assert_eq!((again.outcome, again.out.as_str()), (Outcome::Failed, ""));
    assert!(again.err.contains("is not empty: table ") && !again.err.contains("only-for-tests"), "{}", again.err);
    moved.app.close().await;
}

#[test]
fn a_copy_needs_a_source_that_is_there_with_the_schema_of_this_program_and_a_server() {
    let (source, place) = (SqlitePlace::new(), PostgresPlace::empty());
    let (file, target) = (source.file().display().to_string(), operator(&place.settings()));
    let copy = |operator: &Operator| run(operator, &["storage", "copy", "--from", &file]).err;
    assert!(copy(&target).contains("portcullis.db does not exist"), "{}", copy(&target));
    assert!(!source.file().exists());
    let settings = source.settings();
    blocking(async move { drop(portcullis::storage::Store::migrate(&settings).await.unwrap()) });
    let settings = source.settings();
    blocking(async move { database::by_hand(&settings, "DELETE FROM _sqlx_migrations WHERE version = 5").await });
    assert!(
        copy(&target).contains("has an older schema than this program: run `portcullis migrate`"),
        "{}",
        copy(&target)
    );
    let settings = place.settings();
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(blocking(async move { database::number(&settings, tables).await }), 0, "nothing was done to the target");
    let to_itself = copy(&operator(&source.settings()));
    assert!(to_itself.contains("storage.url names a SQLite file\n  hint: write the postgres: URL"), "{to_itself}");
}
