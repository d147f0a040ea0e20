//! Entrances for fuzzing: one function for each kind of text that unauthenticated callers send us. It parses its input and
//! asserts what must hold of the result, so that a fuzzer finds wrong answers and not only panics.
//!
//! What is private to a part of the program has its function there, in a file of the name `fuzzing`.
//!
//! Compiled for tests and for the fuzz targets in `tests/fuzz` alone; nothing of it is in the program. The tests below run the
//! seeds of each target, so that neither can rot.

#![expect(clippy::missing_panics_doc, reason = "a panic is how a fuzzer learns of a property that does not hold")]

mod assertions;
mod client_documents;
mod codes;
mod dpop_proofs;
mod forms;
mod headers;
mod input;
mod key_sets;
mod messages;
mod redirect_uris;
mod registrations;

pub use assertions::{client_assertions, identity_assertions};
pub use client_documents::client_documents;
pub use codes::codes;
pub use dpop_proofs::dpop_proofs;
pub use forms::forms;
pub use headers::headers;
pub use key_sets::key_sets;
pub use messages::messages;
pub use redirect_uris::redirect_uris;
pub use registrations::registrations;

/// A target's function.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its file in `tests/fuzz/targets` and of its seeds.
pub const TARGETS: [(&str, Target); 14] = [
    ("addresses", addresses),
    ("client_assertions", client_assertions),
    ("client_documents", client_documents),
    ("codes", codes),
    ("cookies", cookies),
    ("dpop_proofs", dpop_proofs),
    ("forms", forms),
    ("headers", headers),
    ("identity_assertions", identity_assertions),
    ("key_sets", key_sets),
    ("messages", messages),
    ("queries", queries),
    ("redirect_uris", redirect_uris),
    ("registrations", registrations),
];

/// An address that an unauthenticated caller's host name resolves to, of four or sixteen bytes.
pub fn addresses(data: &[u8]) {
    crate::outbound::fuzzing::addresses(data);
}

/// A line for each Cookie header.
pub fn cookies(data: &[u8]) {
    crate::web::fuzzing::cookies(data);
}

/// The target of a request, whose query may hold an API key.
pub fn queries(data: &[u8]) {
    crate::gateway::fuzzing::queries(data);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::TARGETS;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_seeds_of_every_fuzz_target_keep_its_properties() {
        for (name, target) in TARGETS {
            let seeds: Vec<_> = fs::read_dir(folder("seeds").join(name)).unwrap().collect();
            assert!(!seeds.is_empty(), "{name}");
            for seed in seeds {
                target(&fs::read(seed.unwrap().path()).unwrap());
            }
        }
    }

    #[test]
    fn every_target_has_its_program_and_its_seeds_and_no_others_exist() {
        let targets = TARGETS.map(|(name, _)| name.to_owned()).into();
        assert_eq!(names(&folder("targets")), targets);
        assert_eq!(names(&folder("seeds")), targets);
        let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let program = fs::read_to_string(folder(&format!("targets/{name}.rs"))).unwrap();
            assert!(program.contains(&format!("fuzzing::{name}(")), "{name}");
        }
    }

    #[test]
    fn mutated_seeds_keep_the_properties_too() {
        for (name, target) in TARGETS {
            for seed in fs::read_dir(folder("seeds").join(name)).unwrap() {
                let seed = fs::read(seed.unwrap().path()).unwrap();
                for at in (0..seed.len()).step_by(1 + seed.len() / 16) {
                    let mut without = seed.clone();
                    without.remove(at);
                    target(&without);
                    for put in [b'\n', b'"', b'/', b'%', 0xff] {
                        let mut changed = seed.clone();
                        changed[at] = put;
                        target(&changed);
                    }
                }
            }
        }
    }
}
