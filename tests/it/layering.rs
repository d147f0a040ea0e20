//! The direction of the house: which module may name which, and no circle among files. Every path counts, not only those in
//! `use`.

mod graph;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use graph::{Graph, circles};
use source::Source;

/// Module, and what it names. What is not in the table may name everything. An arrow that is not drawn any more is an
/// error too: the table says what is, not what might be.
const IMPORTS: &[(&str, &str)] = &[
    ("oauth", "secret"),
    ("secret", ""),
    ("clock", ""),
    ("signal", ""),
    ("mcp", ""),
    ("wire", "secret"),
    ("config", "oauth secret"),
    ("telemetry", "clock config wire"),
    ("outbound", "config secret"),
    ("limits", "config clock model secret telemetry wire"),
    ("model", "oauth secret clock"),
    ("storage", "model oauth secret config clock telemetry"),
    ("revocation", "storage model clock signal telemetry"),
    ("keys", "audit storage model oauth secret clock outbound config signal telemetry"),
    ("rights", "config keys"),
    ("policy", "mcp model oauth config"),
    ("identity", "keys rights oauth secret outbound clock config model limits telemetry wire"),
    ("audit", "clock model wire"),
    ("delegation", "clock config identity keys model oauth secret telemetry wire"),
    (
        "issuer",
        "identity keys policy storage revocation model oauth outbound audit clock config secret limits telemetry wire",
    ),
    ("upstream", "config outbound telemetry wire"),
    (
        "gateway",
        "audit delegation revocation upstream keys rights policy storage model mcp oauth config clock secret signal limits telemetry wire",
    ),
    ("web", "issuer gateway keys mcp oauth model limits telemetry config clock secret wire"),
    ("inbound", "gateway web oauth limits config secret signal telemetry wire"),
];

/// Folders that must not name these crates: the data path is hyper from socket to socket, and the gateway does not know how an
/// upstream is reached.
const MAY_NOT_NAME: &[(&str, &[&str])] = &[
    ("gateway", &["axum", "tower", "tower_http", "reqwest", "hyper", "hyper_util"]),
    ("inbound", &["axum", "tower", "tower_http", "reqwest"]),
    ("upstream", &["axum", "tower", "tower_http", "reqwest"]),
];

/// Folders whose files may still import each other in a circle. An entry without a circle is an error.
const CIRCLES_ALLOWED: &[&str] = &[];

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

/// The files of each module at the top.
fn modules() -> BTreeMap<String, Vec<Source>> {
    let mut modules: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for source in source::all() {
        modules.entry(source.module().to_owned()).or_default().push(source);
    }
    modules
}

#[test]
fn every_module_names_exactly_what_the_table_says() {
    let modules = modules();
    let mut wrong = Vec::new();
    for (module, table) in IMPORTS {
        let mut unused: BTreeSet<&str> = table.split_whitespace().collect();
        let allowed = unused.clone();
        let files = modules.get(*module).unwrap_or_else(|| panic!("the table names {module}, which is not there"));
        for Source { path, code } in files {
            let named = imports(code);
            for import in named.iter().filter(|import| modules.contains_key(*import) && import != module) {
                unused.remove(import.as_str());
                if !allowed.contains(import.as_str()) {
                    wrong.push(format!("src/{path} names crate::{import}, which {module} may not"));
                }
            }
        }
        wrong.extend(unused.iter().map(|unused| format!("{module} does not name crate::{unused}: take the arrow out")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = source::all();
    let graph = Graph::new(&sources);
    let imports = graph.imports();
    let (mut excused, mut wrong) = (BTreeSet::<&str>::new(), Vec::new());
    for circle in circles(&imports) {
        let is_in = |folder: &&&str| circle.iter().all(|file| file.starts_with(**folder));
        let folder = CIRCLES_ALLOWED.iter().find(is_in);
        excused.extend(folder);
        if folder.is_none() {
            let edges = circle.iter().flat_map(|from| imports[from].intersection(&circle).map(move |to| (from, to)));
            wrong.push(edges.fold("a circle:".to_owned(), |text, (from, to)| format!("{text}\n  {from} > {to}")));
        }
    }
    let clean = CIRCLES_ALLOWED.iter().filter(|folder| !excused.contains(**folder));
    wrong.extend(clean.map(|folder| format!("{folder} has no circle any more: take it out of CIRCLES_ALLOWED")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How many names a file's module path has: `issuer/token/mod.rs` is `issuer::token`, two.
fn depth(path: &str) -> usize {
    path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count()
}

/// How often `super` follows on `super`, at the most.
fn climbs(code: &str) -> usize {
    (1..8).take_while(|times| code.contains(&"super::".repeat(*times))).count()
}

#[test]
fn no_file_reaches_another_module_by_climbing_to_the_root() {
    for Source { path, code } in &source::all() {
        assert!(!code.contains("crate::{"), "{path}: one path for each module, so that it can be found");
        assert!(climbs(code) < depth(path), "{path} climbs to the root by super: say crate::name");
    }
    assert_eq!((depth("a.rs"), depth("a/mod.rs"), depth("a/b.rs")), (1, 1, 2));
    assert_eq!((climbs("crate::a"), climbs("super::a"), climbs("super::super::a super::b")), (0, 1, 2));
}

#[test]
fn every_module_is_in_the_table_or_may_name_everything() {
    let free = ["dev", "app", "cli", "fuzzing", "main", "lib"];
    let known: BTreeSet<&str> = IMPORTS.iter().map(|(module, _)| *module).chain(free).collect();
    for module in modules().keys() {
        assert!(known.contains(module.as_str()), "src/{module} is not in the table of imports");
    }
}

#[test]
fn the_data_path_names_neither_axum_nor_tower_nor_reqwest() {
    let modules = modules();
    for (module, banned) in MAY_NOT_NAME {
        for Source { path, code } in &modules[*module] {
            for name in *banned {
                let named = code.contains(&format!("{name}::")) || code.contains(&format!("use {name};"));
                assert!(!named, "{path} names {name}");
            }
        }
    }
}

#[test]
fn axum_lives_in_web_alone() {
    for Source { path, code } in source::all().iter().filter(|source| source.module() != "web") {
        assert!(!code.contains("axum::"), "{path} names axum");
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let code = "use crate::{keys, oauth::scope}; fn f() -> crate::storage::X { crate::model::y() } // crate::web";
    let found: Vec<_> = imports(&Source::new("x.rs", code).code).into_iter().collect();
    assert_eq!(found, ["keys", "model", "oauth", "storage"]);
}
