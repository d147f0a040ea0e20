//! Which source file names which: every path that begins with `crate`, `super`, `self`, a child module or an imported module
//! is followed to the file that defines the name.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// A module's path from the root; the root itself is empty.
pub type Module = Vec<String>;

/// The edges between files, and which module is in which file.
pub struct Graph {
    files: BTreeMap<Module, File>,
}

struct File {
    name: String,
    tokens: Vec<String>,
    uses: Vec<Use>,
}

/// One name that a `use` brings in.
struct Use {
    path: Vec<String>,
    name: String,
    /// `pub use`, `pub(crate) use`: a signpost for others, unless the file itself needs the name.
    public: bool,
    /// Where the declaration stands among the tokens.
    at: std::ops::Range<usize>,
}

/// What a path leads to.
enum Target {
    /// A module as such: a namespace, which is no import of its code.
    Module(Module),
    /// A name that is defined in the file of this module.
    Item(Module),
}

impl Graph {
    /// `sources` are the files below `src`, by their paths there, without tests.
    pub fn new(sources: &[Source]) -> Self {
        let files = sources.iter().map(|source| {
            let tokens = tokens(&source.code);
            let uses = uses(&tokens);
            (module_of(&source.path), File { name: source.path.clone(), tokens, uses })
        });
        Self { files: files.collect() }
    }

    /// The names of the files that each file imports.
    pub fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        self.files.iter().map(|(module, file)| (file.name.as_str(), self.imports_of(module, file))).collect()
    }

    fn imports_of(&self, module: &Module, file: &File) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut note = |path: &[String]| {
            if let Some(Target::Item(target)) = self.follow(module, path, 0) {
                let Some(file) = self.files.get(&target) else {
                    panic!("{path:?} in {} leads to {target:?}, which is no file", file.name)
                };
                found.insert(file.name.as_str());
            }
        };
        for import in &file.uses {
            let elsewhere = |at: usize| !import.at.contains(&at);
            let needed = file.tokens.iter().enumerate().any(|(at, token)| *token == import.name && elsewhere(at));
            if !import.public || needed {
                note(&import.path);
            }
        }
        for path in paths(&file.tokens, &file.uses) {
            note(&path);
        }
        found.remove(file.name.as_str());
        found
    }

    /// Follows a path that stands in `module`; `None` when it leads out of the program (another crate, a local name).
    fn follow(&self, module: &Module, path: &[String], depth: usize) -> Option<Target> {
        assert!(depth < 16, "{path:?} in {module:?} leads in a circle of re-exports");
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Module::new(),
            "self" => module.clone(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            // a child, or what a `use` here calls by this name
            name => return self.member(module, name, rest, depth),
        };
        while let Some((name, after)) = rest.split_first() {
            if name == "super" {
                at.pop()?;
                rest = after;
            } else {
                return self.member(&at, name, after, depth).or(Some(Target::Item(at)));
            }
        }
        Some(Target::Module(at))
    }

    /// What a module calls by a name, and what stands behind that: a child, or what it imports. `None` when it is neither.
    fn member(&self, module: &Module, name: &str, rest: &[String], depth: usize) -> Option<Target> {
        let child: Module = module.iter().cloned().chain([name.to_owned()]).collect();
        let target = if self.files.contains_key(&child) {
            Target::Module(child)
        } else {
            let import = self.files.get(module)?.uses.iter().find(|import| import.name == name)?;
            // `use name::…` brings in the crate `name`, or the child of that name, which was looked for above
            if import.path.first()? == name {
                return None;
            }
            self.follow(module, &import.path, depth + 1)?
        };
        match (target, rest.split_first()) {
            (Target::Module(inner), Some((name, rest))) => {
                Some(self.member(&inner, name, rest, depth + 1).unwrap_or(Target::Item(inner)))
            }
            (target, _) => Some(target),
        }
    }
}

/// The circles: each is a set of files that import each other, directly or through others.
pub fn circles<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<BTreeSet<&'a str>> {
    let beyond = |from: &'a str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            open.extend(imports.get(file).into_iter().flatten().filter(|next| seen.insert(**next)));
        }
        seen
    };
    let reached: BTreeMap<_, _> = imports.keys().map(|file| (*file, beyond(file))).collect();
    let mut circles = BTreeSet::new();
    for (file, others) in &reached {
        if others.contains(file) {
            circles.insert(others.iter().copied().filter(|other| reached[other].contains(file)).collect());
        }
    }
    circles.into_iter().collect()
}

fn module_of(path: &str) -> Module {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let path = if path == "mod" || path == "lib" { "" } else { path };
    path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Identifiers, `::`, and single characters. There are no comments and no strings in `code`.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = match first {
            ':' if rest.starts_with("::") => 2,
            _ => word.max(first.len_utf8()),
        };
        let (token, after) = rest.split_at(length);
        if !first.is_whitespace() {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    tokens
}

/// The names that the `use` declarations of a file bring in.
fn uses(tokens: &[String]) -> Vec<Use> {
    let mut uses = Vec::new();
    for (at, _) in tokens.iter().enumerate().filter(|(_, token)| *token == "use") {
        let end = tokens[at..].iter().position(|token| token == ";").map_or(tokens.len(), |length| at + length);
        let public = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
        let mut found = Vec::new();
        tree(&mut tokens[at + 1..end].iter().map(String::as_str).peekable(), &[], &mut found);
        uses.extend(found.into_iter().map(|(path, name)| Use { path, name, public, at: at..end }));
    }
    uses
}

type Words<'a, I> = std::iter::Peekable<I>;

/// Reads `a::b`, `a::{b, c::d}`, `a as b`, one branch after another.
fn tree<'a, I: Iterator<Item = &'a str>>(
    words: &mut Words<'a, I>,
    before: &[String],
    found: &mut Vec<(Vec<String>, String)>,
) {
    let mut path = before.to_vec();
    let mut name = None;
    loop {
        match words.next() {
            Some("::") => {}
            Some("{") => {
                while words.peek().is_some_and(|word| *word != "}") {
                    tree(words, &path, found);
                }
                words.next();
                path.clear();
            }
            Some("as") => name = words.next().map(str::to_owned),
            Some(word) if word != "," && word != "}" => path.push(word.to_owned()),
            _ => break,
        }
        if matches!(words.peek(), Some(&"}")) {
            break;
        }
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if let Some(last) = path.last() {
        found.push((path.clone(), name.unwrap_or_else(|| last.clone())));
    }
}

/// Every path outside of `use` declarations, as far as it can be followed.
fn paths(tokens: &[String], uses: &[Use]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 2 < tokens.len() {
        if let Some(declaration) = uses.iter().find(|declaration| declaration.at.contains(&at)) {
            at = declaration.at.end;
            continue;
        }
        let begins = tokens[at + 1] == "::" && (at == 0 || tokens[at - 1] != "::");
        if !begins {
            at += 1;
            continue;
        }
        let mut path = vec![tokens[at].clone()];
        while at + 2 < tokens.len() && tokens[at + 1] == "::" {
            at += 2;
            path.push(tokens[at].clone());
        }
        found.push(path);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Graph, circles};
    use crate::layering::source::Source;

    fn imports(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files.iter().map(|(path, code)| Source::new(path, code)).collect();
        let graph = Graph::new(&sources);
        let imports = graph.imports();
        imports.into_iter().flat_map(|(from, to)| to.into_iter().map(move |to| format!("{from} > {to}"))).collect()
    }

    #[test]
    fn a_name_is_followed_to_the_file_that_defines_it() {
        let a = ("a/mod.rs", "mod b; pub(crate) use b::B; pub(crate) fn own() {}");
        let b = ("a/b.rs", "pub(crate) struct B;");
        for (code, edges) in [
            ("use crate::a::B;", "c.rs > a/b.rs"),
            ("use crate::a::{B as X, own};", "c.rs > a/b.rs, c.rs > a/mod.rs"),
            ("use crate::a::b::B;", "c.rs > a/b.rs"),
            ("use crate::a; fn f() -> a::B { a::own() }", "c.rs > a/b.rs, c.rs > a/mod.rs"),
            ("use crate::a;", ""),
            ("fn f() -> crate::a::B { g(\"crate::a::own\") } // crate::a::own", "c.rs > a/b.rs"),
            ("use std::a::B; fn f() { std::a::own() }", ""),
            ("#[cfg(test)]\nmod tests { use crate::a::B; }", ""),
        ] {
            assert_eq!(imports(&[a, b, ("c.rs", code)]).join(", "), edges, "{code}");
        }
    }

    #[test]
    fn a_re_export_is_not_an_import_and_a_use_of_its_name_is() {
        let b = ("a/b.rs", "use super::own;");
        assert_eq!(imports(&[("a/mod.rs", "mod b; pub use b::B; fn own() {}"), b]), ["a/b.rs > a/mod.rs"]);
        let both = ["a/b.rs > a/mod.rs", "a/mod.rs > a/b.rs"];
        assert_eq!(imports(&[("a/mod.rs", "mod b; pub use b::B; fn own() -> B {}"), b]), both);
        assert_eq!(imports(&[("a/mod.rs", "mod b; fn own() { b::f() }"), b]), both);
        assert_eq!(imports(&[("a/mod.rs", "mod b; use b::B; fn own() {}"), b]), both);
        let through = [("a/mod.rs", "mod b; mod c; use c::C;"), ("a/b.rs", "use super::C;"), ("a/c.rs", "")];
        assert_eq!(imports(&through), ["a/b.rs > a/c.rs", "a/mod.rs > a/c.rs"]);
    }

    #[test]
    fn a_circle_is_found_whatever_its_length() {
        let sources = [
            Source::new("a.rs", "use crate::b::B;"),
            Source::new("b.rs", "use crate::c::C;"),
            Source::new("c.rs", "use crate::a::A;"),
            Source::new("d.rs", "use crate::a::A;"),
        ];
        let graph = Graph::new(&sources);
        assert_eq!(circles(&graph.imports()), [BTreeSet::from(["a.rs", "b.rs", "c.rs"])]);
    }
}
