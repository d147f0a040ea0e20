//! The direction of the house: which module may name which. Every `crate::name` counts, not only those in `use`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Module, and what it may name. What is not in the table may name everything.
const MAY_IMPORT: &[(&str, &str)] = &[
    ("oauth", "secret"),
    ("secret", ""),
    ("clock", ""),
    ("signal", ""),
    ("mcp", ""),
    ("wire", "secret"),
    ("config", "oauth secret"),
    ("telemetry", "config wire"),
    ("outbound", "config secret"),
    ("limits", "config clock secret wire"),
    ("model", "oauth secret clock"),
    ("storage", "model oauth secret config clock"),
    ("revocation", "storage model clock signal"),
    ("keys", "storage model oauth secret clock outbound config"),
    ("policy", "mcp model oauth config"),
    ("identity", "keys oauth secret outbound clock config model limits telemetry"),
    ("audit", "model"),
    ("delegation", "model config secret"),
    ("issuer", "identity keys policy storage revocation model oauth audit clock config secret limits"),
    ("upstream", "config outbound wire"),
    (
        "gateway",
        "delegation revocation upstream keys policy storage model mcp oauth config clock secret signal limits telemetry wire",
    ),
    ("web", "issuer gateway oauth model limits telemetry config clock secret wire"),
    ("inbound", "gateway web limits config secret signal wire"),
];

/// Folders that must not name these crates: the data path is hyper from socket to socket.
const MAY_NOT_NAME: &[(&str, &[&str])] = &[
    ("gateway", &["axum", "tower", "tower_http", "reqwest"]),
    ("inbound", &["axum", "tower", "tower_http", "reqwest"]),
    ("upstream", &["axum", "tower", "tower_http", "reqwest"]),
];

fn sources(path: &Path, into: &mut Vec<(String, String)>) {
    if path.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in &entries {
            sources(entry, into);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let code: String = fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n");
        into.push((path.display().to_string(), code));
    }
}

/// Every `crate::name` and every name in `crate::{a, b::c}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                found.insert(name);
            }
        }
    }
    found
}

fn modules() -> BTreeMap<String, Vec<(String, String)>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    for entry in fs::read_dir(&src).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        sources(&path, modules.entry(name).or_default());
    }
    modules
}

#[test]
fn every_module_names_only_what_stands_below_it() {
    let modules = modules();
    let mut wrong = Vec::new();
    for (module, allowed) in MAY_IMPORT {
        let allowed: BTreeSet<&str> = allowed.split_whitespace().chain([*module]).collect();
        let files = modules.get(*module).unwrap_or_else(|| panic!("the table names {module}, which is not there"));
        for (file, code) in files {
            for import in imports(code).iter().filter(|import| modules.contains_key(*import)) {
                if !allowed.contains(import.as_str()) {
                    wrong.push(format!("{file} names crate::{import}, which {module} may not"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How many names a file's module path has: `src/issuer/token/mod.rs` is `issuer::token`, two.
fn depth(file: &str) -> usize {
    let (_, inside) = file.rsplit_once("/src/").unwrap();
    inside.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count()
}

/// How often `super` follows on `super`, at the most, in what is compiled into the program.
fn climbs(code: &str) -> usize {
    let code = code.split("#[cfg(test)]\nmod").next().unwrap_or_default();
    (1..8).take_while(|times| code.contains(&"super::".repeat(*times))).count()
}

#[test]
fn nobody_leaves_a_module_by_the_back_door() {
    for (file, code) in modules().values().flatten() {
        assert!(!code.contains("crate::{"), "{file}: one path for each module, so that it can be found");
        let tests = file.ends_with("/tests.rs");
        assert!(tests || climbs(code) < depth(file), "{file} climbs to the root by super: say crate::name");
    }
    assert_eq!((depth("/x/src/a.rs"), depth("/x/src/a/mod.rs"), depth("/x/src/a/b.rs")), (1, 1, 2));
    assert_eq!((climbs("crate::a"), climbs("super::a"), climbs("super::super::a super::b")), (0, 1, 2));
}

#[test]
fn every_module_is_in_the_table_or_may_name_everything() {
    let free = ["dev", "app", "cli", "main", "lib"];
    let known: BTreeSet<&str> = MAY_IMPORT.iter().map(|(module, _)| *module).chain(free).collect();
    for module in modules().keys() {
        assert!(known.contains(module.as_str()), "src/{module} is not in the table of imports");
    }
}

#[test]
fn the_data_path_names_neither_axum_nor_tower_nor_reqwest() {
    let modules = modules();
    for (module, banned) in MAY_NOT_NAME {
        for (file, code) in &modules[*module] {
            for name in *banned {
                let named = code.contains(&format!("{name}::")) || code.contains(&format!("use {name};"));
                assert!(!named, "{file} names {name}");
            }
        }
    }
}

#[test]
fn axum_lives_in_web_alone() {
    for (module, files) in modules().iter().filter(|(module, _)| *module != "web") {
        for (file, code) in files {
            assert!(!code.contains("axum::"), "{file} of {module} names axum");
        }
    }
}

#[test]
fn a_test_of_the_test_finds_imports_however_they_are_written() {
    let code = "use crate::{keys, oauth::scope}; fn f() -> crate::storage::X { crate::model::y() } // crate::web";
    let code = code.split("//").next().unwrap();
    let found: Vec<_> = imports(code).into_iter().collect();
    assert_eq!(found, ["keys", "model", "oauth", "storage"]);
}
