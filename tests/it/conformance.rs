//! `docs/conformance.md` names files and tests: all of them exist.

use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/conformance.md");

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// What stands between backticks and is a place in this repository, with the test that it names.
fn places() -> BTreeSet<(&'static str, Option<&'static str>)> {
    let quoted = PAGE.split('`').skip(1).step_by(2);
    let places = quoted.filter(|text| ["src/", "tests/"].iter().any(|folder| text.starts_with(folder)));
    places.map(|text| text.split_once("::").map_or((text, None), |(path, test)| (path, Some(test)))).collect()
}

/// The rows of the tables, without their heads.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| requirement |"));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
}

#[test]
fn every_file_and_test_that_the_page_names_exists() {
    let missing: Vec<_> = places()
        .into_iter()
        .filter(|(path, test)| match (read(path), test) {
            (Some(code), Some(test)) => {
                !code.contains(&format!("fn {test}(")) && !code.contains(&format!("def {test}("))
            }
            (Some(_), None) => false,
            (None, _) => !Path::new(env!("CARGO_MANIFEST_DIR")).join(path).is_dir() || test.is_some(),
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_requirement_has_a_source_a_file_and_a_test() {
    assert!(rows().count() > 100);
    for row in rows() {
        let [requirement, source, file, test] = row[..] else { panic!("four columns: {row:?}") };
        assert!(!requirement.is_empty() && !source.is_empty(), "{row:?}");
        assert!(file.starts_with("`src/"), "{row:?}");
        assert!(test.contains("::"), "{row:?}");
    }
}
