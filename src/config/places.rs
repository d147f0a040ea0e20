//! Where each setting was written, for problems that are found after the configuration was read.

use super::problem::Location;
use super::reading::Section;

/// The location of every section and key. It holds no values, which may be secrets.
#[derive(Debug, Clone, Default)]
pub struct Places(Vec<Place>);

#[derive(Debug, Clone)]
struct Place {
    section: String,
    location: Location,
    keys: Vec<(String, Location)>,
}

impl Places {
    pub(super) fn of<'a>(sections: impl Iterator<Item = Section<'a>>) -> Self {
        let places = sections.map(|section| {
            let keys = section.node().entries().iter();
            let keys = keys.map(|entry| (entry.key.clone(), entry.node.location.clone()));
            Place {
                section: section.name().to_owned(),
                location: section.node().location.clone(),
                keys: keys.collect(),
            }
        });
        Self(places.collect())
    }

    /// Where a key was written; where its section begins if the key is not there. `section` is its name in problems:
    /// `upstream "expenses"`, `storage`, or nothing for the keys outside of any section.
    #[must_use]
    pub fn find(&self, section: &str, key: &str) -> Location {
        let Some(place) = self.0.iter().find(|place| place.section == section) else { return Location::File };
        let key = place.keys.iter().find(|(known, _)| known == key);
        key.map_or(&place.location, |(_, location)| location).clone()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Location};

    #[test]
    fn a_setting_is_found_in_the_file_or_in_the_variable_that_overrides_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("portcullis.toml");
        let text = "public_url = \"http://127.0.0.1:8080\"\n[storage]\nurl = \"sqlite:x.db\"\n\
                    [secrets]\nkeys = [{ env = \"KEY\" }]\n\
                    [[identity]]\nid = \"k\"\nkind = \"oidc\"\nissuer = \"https://sso.example.com\"\nclient_id = \"x\"\n\
                    [[upstream]]\nid = \"a\"\npath = \"/mcp\"\nurl = \"http://127.0.0.1:1/mcp\"\n";
        std::fs::write(&file, text).unwrap();
        let variables = [
            ("KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            ("PORTCULLIS_UPSTREAM__A__URL", "http://127.0.0.1:2/mcp"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let places = Config::load(&file, variables).unwrap().places;
        let line = |section: &str, key: &str| match places.find(section, key) {
            Location::Line { line, .. } => line,
            other => panic!("{other:?}"),
        };
        assert_eq!((line("", "public_url"), line("storage", "url")), (1, 3));
        assert_eq!((line("identity \"k\"", "issuer"), line("upstream \"a\"", "path")), (9, 13));
        assert_eq!(line("identity \"k\"", "client_secret"), 6, "what is missing is missing in its section");
        let variable = places.find("upstream \"a\"", "url");
        assert_eq!(variable, Location::Variable("PORTCULLIS_UPSTREAM__A__URL".into()));
        assert_eq!(places.find("identity \"nobody\"", "issuer"), Location::File);
    }
}
