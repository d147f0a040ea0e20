//! The program's source files, as far as they are compiled into it: without comments, texts and tests.

use std::fs;
use std::path::Path;

/// A file below `src`.
pub struct Source {
    /// Where, with slashes: `gateway/mod.rs`.
    pub path: String,
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let mut code = without_texts(text);
        let begins_tests =
            |at: &usize| code[*at..].lines().find(|line| !line.starts_with("#[")).is_some_and(opens_module);
        let tests = code.match_indices("#[cfg(test)]").map(|(at, _)| at).find(begins_tests);
        code.truncate(tests.unwrap_or(code.len()));
        Self { path: path.to_owned(), code }
    }

    /// The module at the top that the file belongs to.
    pub fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }
}

/// Whether a line opens a module. One that stands in a file of its own (`mod tests;`) ends nothing.
fn opens_module(line: &str) -> bool {
    line.starts_with("mod ") && !line.ends_with(';')
}

/// Every file of the program, in the order of their paths.
pub fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if !name.ends_with("/tests.rs") && !name.contains("/tests/") {
                found.push(Source::new(&name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
}

/// Leaves comments out, and empties string literals.
fn without_texts(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            out.push_str("\"\"");
            string(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !ends_in_word(&out)) {
            out.push_str("\"\"");
            length
        } else if c == '\'' {
            character(rest)
        } else {
            0
        };
        let taken = if skipped == 0 { c.len_utf8() } else { skipped };
        if skipped == 0 {
            out.push(c);
        }
        rest = &rest[taken..];
    }
    out
}

fn ends_in_word(out: &str) -> bool {
    out.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !out.ends_with('b')
}

/// The length of a string literal at the beginning.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    rest.len()
}

/// The length of a raw string literal at the beginning, if there is one.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    let inside = rest[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(2 + hashes + inside.find(&end)? + end.len())
}

/// The length of a character literal at the beginning; 0 when it is a lifetime.
fn character(rest: &str) -> usize {
    let mut inside = rest.char_indices().skip(1);
    match inside.next() {
        Some((_, '\\')) => rest[2..].char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 3),
        Some(_) => inside.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn comments_texts_and_tests_are_no_code() {
        for (code, left) in [
            ("a // b\nc", "a \nc"),
            ("a /* b\n */ c", "a  c"),
            (r#"f("// \" b", 'x', '"', '\'', b"y", &'a str)"#, r#"f("", , , , b"", &'a str)"#),
            ("f(r#\"a \"b\" c\"#, for_each\"x\")", "f(\"\", for_each\"\")"),
            ("a\n#[cfg(test)]\nmod tests { b }", "a\n"),
            ("a\n#[cfg(test)]\n#[cfg(unix)]\nmod tests { b }", "a\n"),
            ("#[cfg(test)]\nmod tests;\nb", "#[cfg(test)]\nmod tests;\nb"),
            ("#[cfg(test)]\nfn a() {}", "#[cfg(test)]\nfn a() {}"),
        ] {
            assert_eq!(Source::new("x.rs", code).code, left, "{code}");
        }
    }
}
