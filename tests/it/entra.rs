//! Sign-ins with Microsoft Entra ID, against the emulator, through the whole program.

mod credentials;
mod emulated;
mod errors;
mod groups;
mod on_behalf_of;
mod renewal;
mod sign_in;
mod tenants;

use std::path::Path;

use portcullis::clock::Clock;
use portcullis::config::{Config, ForwardedGroups, Identity, IdentityKind, OidcFlavour, OidcSettings};

use crate::entra_emulator::{APP, APP_ID_URI, APP_SECRET, CONTOSO, Directory, Emulator, Visit};
use crate::support::browser::{Browser, location, parameter};
use crate::support::gate::{Answer, Given, START, TestClient, TestGate, tokens};

/// Where Entra ID sends the browser back.
const CALLBACK: &str = "http://127.0.0.1:6749/callback/entra";

/// What an operator writes, without the credential.
struct Written {
    tenant: String,
    /// Lines of the entry.
    more: String,
    credential: String,
    environment: Vec<(String, String)>,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            tenant: CONTOSO.to_owned(),
            more: "scopes = [\"profile\", \"email\", \"mcp.access\"]\n".to_owned(),
            credential: "client_secret = { env = \"ENTRA_CLIENT_SECRET\" }".to_owned(),
            environment: Vec::new(),
        }
    }
}

impl Written {
    fn in_tenant(tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), ..Self::default() }
    }

    fn with(mut self, line: &str) -> Self {
        self.more = format!("{}{line}\n", self.more);
        self
    }

    /// The entry as the program reads it from a file.
    fn read(&self, emulator: &Emulator, directory: &Path) -> Identity {
        let Self { tenant, more, credential, environment } = self;
        let root = emulator.authority();
        let has = |key: &str| more.lines().any(|line| line.starts_with(key));
        let authority = if has("authority") { String::new() } else { format!("authority = \"{root}\"") };
        let text = format!(
            "public_url = \"https://mcp.example.com\"\n[storage]\nurl = \"sqlite:x.db\"\n[secrets]\nkeys = [{{ env = \"ROOT_KEY\" }}]\n\
             [[identity]]\nid = \"entra\"\nkind = \"entra\"\ntenant = \"{tenant}\"\n{authority}\nclient_id = \"{APP}\"\n\
             app_id_uri = \"{APP_ID_URI}\"\ngraph_url = \"{root}/graph\"\n{credential}\n{more}\n\
             [[upstream]]\nid = \"x\"\npath = \"/mcp\"\nurl = \"http://127.0.0.1:9/mcp\"\n"
        );
        let file = directory.join("portcullis.toml");
        std::fs::write(&file, text).unwrap();
        let of_all =
            [("ROOT_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), ("ENTRA_CLIENT_SECRET", APP_SECRET)];
        let of_all = of_all.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let loaded = Config::load(&file, of_all.into_iter().chain(environment.iter().cloned()));
        loaded.unwrap_or_else(|problems| panic!("{problems}")).config.identities.remove(0)
    }
}

/// A gate in front of the emulator, and a browser that signs in there.
struct Bench {
    emulator: Emulator,
    gate: TestGate,
    client: TestClient,
    browser: Browser,
    clock: Clock,
    directory: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self::with(Written::default()).await
    }

    async fn with(written: Written) -> Self {
        Self::prepared(|_, _| {}, written).await
    }

    /// `prepare` gets the directory before the emulator starts, and a place for files.
    async fn prepared(prepare: impl FnOnce(&mut Directory, &Path), written: Written) -> Self {
        let clock = Clock::manual(START);
        let place = tempfile::tempdir().unwrap();
        let mut directory = Directory::contoso(CALLBACK);
        prepare(&mut directory, place.path());
        let emulator = Emulator::start(&clock, directory).await;
        let identity = written.read(&emulator, place.path());
        let gate = TestGate::at(clock.clone(), |config| {
            config.identities = vec![identity];
            let all = ForwardedGroups { names: vec!["*".to_owned()], max_bytes: 100_000 };
            config.upstreams[0].settings.request_headers.groups = all;
        })
        .await;
        let client = gate.register().await;
        Self { emulator, gate, client, browser: Browser::default(), clock, directory: place }
    }

    /// Approves; returns the URL at Entra ID.
    async fn approve(&mut self) -> String {
        let form = self.gate.consent_form(&mut self.browser, &self.client, &[]).await;
        let form = form.with("decision", "approve").with("identity", "entra");
        location(&self.browser.submit(&self.gate, &form).await)
    }

    /// Brings an answer back.
    async fn back(&mut self, url: &str) -> Answer {
        let path = url.strip_prefix(self.gate.origin()).unwrap_or_else(|| panic!("{url} is not ours")).to_owned();
        self.browser.get(&self.gate, &path).await
    }

    /// The visit, and our answer to what it brings back.
    async fn visit(&mut self) -> Answer {
        let url = self.approve().await;
        let visit = self.emulator.visit(&url);
        self.back(&visit.back()).await
    }

    async fn tokens(&mut self) -> Given {
        let answer = self.visit().await;
        let url = location(&answer);
        let code = parameter(&url, "code").unwrap_or_else(|| panic!("no code in {url}"));
        tokens(&self.gate.redeem(&self.client, &code).await)
    }

    async fn refresh(&self, given: &Given) -> Answer {
        self.gate.refresh(&self.client, &given.refresh).await
    }

    /// Refreshes, which must work.
    async fn refreshed(&self, given: &Given) -> Given {
        tokens(&self.refresh(given).await)
    }

    /// The last form that the token endpoint got.
    fn last_form(&self) -> std::collections::HashMap<String, String> {
        self.emulator.last_call("/token").form
    }
}

/// The URL behind the link of a page that says why a sign-in failed.
fn link_back(page: &Answer) -> String {
    assert_eq!(page.status, 200, "{page:?}");
    let at = page.body.find("<a class=\"button\"").unwrap_or_else(|| panic!("no link: {page:?}"));
    crate::support::browser::attribute(&page.body[at + 2..], "href").expect("a link leads somewhere")
}

fn settings(identity: &mut Identity) -> &mut OidcSettings {
    match &mut identity.kind {
        IdentityKind::Oidc(settings) => settings,
        IdentityKind::Local(_) => panic!("local users"),
    }
}

fn flavour(identity: &mut Identity) -> &mut OidcFlavour {
    &mut settings(identity).flavour
}

/// A sign-in that ends on a page of Microsoft's.
async fn stopped(bench: &mut Bench) -> String {
    let url = bench.approve().await;
    match bench.emulator.visit(&url) {
        Visit::Page(text) => text,
        other => panic!("not stopped: {other:?}"),
    }
}
