//! `portcullis keys generate`, the help texts and the exit status.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;
use portcullis::cli::{self, Outcome, Terminal};
use portcullis::config::Log;

use super::{Operator, REST};

#[test]
fn every_generated_root_key_is_new_and_accepted_by_check() {
    let operator = Operator::new();
    let first = operator.run(&["keys", "generate"]);
    assert_eq!((first.outcome, first.out.len(), first.err.as_str()), (Outcome::Done, 45, ""));
    assert_ne!(first.out, operator.run(&["keys", "generate"]).out);
    operator.write_secret("portcullis.key", &first.out);
    assert_eq!(operator.check(format!("public_url = \"https://mcp.example.com\"{REST}")).outcome, Outcome::Done);
}

#[test]
fn a_root_key_file_is_private_and_never_overwritten() {
    let operator = Operator::new();
    let path = operator.path("new.key");
    let arguments = ["keys", "generate", "--out", path.to_str().unwrap()];
    let printed = operator.run(&arguments);
    assert_eq!((printed.outcome, printed.out.as_str()), (Outcome::Done, ""));
    assert_snapshot!(printed.err, @r#"/etc/portcullis/new.key: a new root key"#);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(&path).unwrap();
    let printed = operator.run(&arguments);
    assert_eq!(printed.outcome, Outcome::Failed);
    assert_snapshot!(printed.err, @r#"
    error: /etc/portcullis/new.key already exists; if it is a root key, replacing it would lose what it encrypted
        hint: choose another name
    "#);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), key);
    assert!(!printed.err.contains(key.trim()));
    let rest = REST.replace("portcullis.key", "new.key");
    let printed = operator.check(format!("public_url = \"https://mcp.example.com\"{rest}"));
    assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
    let nowhere = operator.path("nowhere/x.key");
    assert_snapshot!(operator.run(&["keys", "generate", "-o", nowhere.to_str().unwrap()]).err, @r#"error: /etc/portcullis/nowhere/x.key cannot be written: there is no such file or directory"#);
}

#[test]
fn every_command_has_a_help_text_with_an_example() {
    let operator = Operator::new();
    for command in [
        &["dev"][..],
        &["serve"],
        &["check"],
        &["keys"],
        &["keys", "generate"],
        &["grants"],
        &["grants", "list"],
        &["grants", "end"],
        &["clients"],
        &["clients", "list"],
        &["clients", "show"],
        &["clients", "disable"],
        &["clients", "enable"],
        &["clients", "delete"],
        &["doctor"],
        &["api-keys"],
        &["api-keys", "create"],
        &["api-keys", "list"],
        &["api-keys", "revoke"],
        &["completions"],
        &["man"],
    ] {
        let printed = operator.run(&[command, &["--help"]].concat());
        assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
        let call = format!("\n  portcullis {}", command.join(" "));
        assert!(printed.out.contains("Example") && printed.out.contains(&call), "{}", printed.out);
    }
}

#[test]
fn the_version_names_the_release_and_the_commit() {
    let version = env!("PORTCULLIS_VERSION");
    assert_eq!(Operator::new().run(&["--version"]).out, format!("portcullis {version}\n"));
    let built_from =
        version.strip_prefix(concat!(env!("CARGO_PKG_VERSION"), " (")).and_then(|rest| rest.strip_suffix(')'));
    let is_commit = |text: &str| (7..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(built_from.is_some_and(|text| text == "debug" || is_commit(text)), "{version}");
}

#[test]
fn shell_completions_know_every_command() {
    let operator = Operator::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = operator.run(&["completions", shell]);
        assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
        for word in ["serve", "check", "grants", "clients", "completions", "man"] {
            assert!(printed.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(operator.run(&["completions", "tcsh"]).outcome, Outcome::Misused);
}

#[test]
fn every_command_has_a_manual_page_with_its_own_name_and_options() {
    let operator = Operator::new();
    for (command, title, words) in [
        (&[][..], "portcullis", "grants"),
        (&["check"], "portcullis\\-check", "online"),
        (&["grants", "end"], "portcullis\\-grants\\-end", "SUBJECT"),
    ] {
        let printed = operator.run(&[&["man"], command].concat());
        assert_eq!((printed.outcome, printed.err.as_str()), (Outcome::Done, ""));
        assert!(printed.out.contains(&format!(".SH NAME\n{title}")) && printed.out.contains(words), "{}", printed.out);
    }
    let printed = operator.run(&["man", "grants", "steal"]);
    assert_eq!((printed.outcome, printed.out.as_str()), (Outcome::Misused, ""));
}

/// A writer without room.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn output_that_cannot_be_written_fails_the_command() {
    let mut err = Vec::new();
    let (input, start_log) = (&mut io::empty(), |_: &Log| Ok(()));
    let mut terminal = Terminal { out: &mut Full, err: &mut err, input, start_log, environment: Vec::new() };
    let outcome = cli::run(["portcullis", "keys", "generate"].map(OsString::from), &mut terminal);
    assert_eq!(outcome, Outcome::Failed);
    assert_snapshot!(String::from_utf8(err).unwrap(), @"error: the output cannot be written: no storage space");
}

#[test]
fn wrong_usage_has_its_own_exit_status() {
    let operator = Operator::new();
    for call in [
        &[][..],
        &["frobnicate"],
        &["check", "--conf", "x"],
        &["keys"],
        &["dev", "--port", "0"],
        &["grants", "end"],
        &["grants", "end", "--all", "--user", "x"],
        &["grants", "end", "g_1", "--all"],
        &["clients", "delete"],
        &["clients", "disable"],
        &["clients", "enable"],
        &["clients", "show"],
    ] {
        let printed = operator.run(call);
        assert_eq!((printed.outcome, printed.out.as_str()), (Outcome::Misused, ""), "{call:?}");
        assert!(!printed.err.is_empty());
    }
}
