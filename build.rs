//! Tells the program which commit it is built from: `PORTCULLIS_COMMIT` where there is no repository (a container, a package),
//! else, in a release build, what git says. A debug build says that it is one instead. A tarball has none of these, and builds
//! all the same. No time goes in: the same sources make the same bytes.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PORTCULLIS_COMMIT");
    let variable = |name: &str| {
        #[expect(clippy::disallowed_methods, reason = "this is how cargo tells a build script anything")]
        std::env::var(name).ok().filter(|text| !text.is_empty())
    };
    // a debug build is made again after every edit, and would be after every commit
    let is_release = variable("PROFILE").as_deref() == Some("release");
    let commit = variable("PORTCULLIS_COMMIT").or_else(|| if is_release { from_git() } else { None });
    let is_hash = |commit: &String| commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let version = env!("CARGO_PKG_VERSION");
    let version = match commit.filter(is_hash) {
        Some(commit) => format!("{version} ({})", commit.get(..12).unwrap_or(&commit)),
        None if is_release => version.to_owned(),
        None => format!("{version} (debug)"),
    };
    println!("cargo::rustc-env=PORTCULLIS_VERSION={version}");
}

/// The commit of this directory's own repository, not of one that it happens to lie in.
fn from_git() -> Option<String> {
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    // both change with every commit and every checkout
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let answer = Command::new("git").args(arguments).output().ok().filter(|answer| answer.status.success())?;
    Some(String::from_utf8(answer.stdout).ok()?.trim().to_owned())
}
