//! `[pages]`: the look of our pages, and the hosts that need no warning on the consent page.

mod brand;
mod known_hosts;

pub use brand::{Color, Logo, Support};
use known_hosts::{KNOWN_HOSTS, check_known_host, is_known};
use serde::Deserialize;

use super::name::check_name;
use super::problem::Mistake;
use super::reading::{Reading, Section};
use crate::oauth::redirect_uri::RedirectUri;

/// The look of the pages.
#[derive(Debug, Clone)]
pub struct Pages {
    /// The name in the header of every page.
    pub name: String,
    /// The picture beside the name.
    pub logo: Option<Logo>,
    /// The colour of buttons and links.
    pub color: Option<Color>,
    /// Where users get help.
    pub support: Option<Support>,
    /// Whether the page at `/` names the upstreams.
    pub list_upstreams: bool,
    /// Where codes may be sent without a warning, besides the redirect URIs of configured clients: a host, a host with a path,
    /// or a host with a path that ends in a slash, which matches everything below it.
    pub known_hosts: Vec<String>,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            name: "Portcullis".to_owned(),
            logo: None,
            color: None,
            support: None,
            list_upstreams: false,
            known_hosts: KNOWN_HOSTS.map(str::to_owned).to_vec(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: Option<String>,
    logo: Option<String>,
    color: Option<String>,
    support: Option<String>,
    list_upstreams: Option<bool>,
    known_hosts: Option<Vec<String>>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Pages> {
    let written: Written = reading.shape(section)?;
    let mut pages = Pages::default();
    if let Some(name) = written.name {
        reading.keep(&section.at("name"), check_name(&name));
        pages.name = name;
    }
    if let Some(path) = written.logo {
        let logo = Logo::read(&reading.resolve(&path)).map_err(|why| {
            let hint = format!(
                "a PNG or SVG of at most 16 KiB: it is shown about 30 pixels high; relative paths begin at {}",
                reading.directory().display()
            );
            Mistake::new(why).hint(hint)
        });
        pages.logo = reading.keep(&section.at("logo"), logo);
    }
    if let Some(color) = written.color {
        let color = Color::parse(&color)
            .ok_or_else(|| Mistake::new("must be a colour").hint("six hexadecimal digits: \"#1b5e4f\""));
        pages.color = reading.keep(&section.at("color"), color);
    }
    if let Some(support) = written.support {
        pages.support = reading.keep(&section.at("support"), Support::parse(&support));
    }
    pages.list_upstreams = written.list_upstreams.unwrap_or(pages.list_upstreams);
    if let Some(hosts) = written.known_hosts {
        for (index, host) in hosts.iter().enumerate() {
            reading.keep(&section.item("known_hosts", index), check_known_host(host));
        }
        pages.known_hosts = hosts;
    }
    Some(pages)
}

impl Pages {
    /// Whether a code may go to this https URI without a warning.
    #[must_use]
    pub fn knows(&self, redirect_uri: &RedirectUri) -> bool {
        is_known(&self.known_hosts, redirect_uri)
    }
}
