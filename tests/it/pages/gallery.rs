//! Every page in every state, and what the tests read in them.

use std::sync::LazyLock;
use std::time::Duration;

use axum::response::IntoResponse;
use portcullis::clock::Timestamp;
use portcullis::config::{Color, Logo, Pages, ScopeText, Support};
use portcullis::issuer::{
    AccessView, Asker, ConsentView, EarlierAnswer, Outcome, ProviderChoice, SignInProblem, SignInView,
};
use portcullis::model::client::{Authentication, Client, ClientOrigin};
use portcullis::model::ids::AuthorizationId;
use portcullis::oauth::redirect_uri::{RedirectPolicy, RedirectUri};
use portcullis::oauth::scope::ScopeSet;
use portcullis::telemetry::RequestId;
use portcullis::web::pages::{
    AlreadyAnsweredPage, Branding, ClientLabel, ClientSettings, ConsentNotice, ErrorPage, FrontPage, Page, ReturnPage,
    ServerPage, UnavailablePage, UnknownClientPage, already_answered, consent, error, front, not_found,
    return_to_application, server, sign_in, unavailable, unknown_client,
};

use super::sign_ins;

pub(super) const HOSTILE: &str = r#""><script>alert(1)</script><b title='"#;

/// Pages without any settings.
pub(super) static PLAIN: LazyLock<Branding> = LazyLock::new(|| Branding::new(&Pages::default()));

/// Pages with every setting.
pub(super) static OWN: LazyLock<Branding> = LazyLock::new(|| Branding::new(&own_pages()));

pub(super) fn own_pages() -> Pages {
    let svg = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 96 24'><rect width='96' height='24' rx='6' fill='#d40'/></svg>";
    Pages {
        name: "Example Tools".to_owned(),
        logo: Some(Logo { media_type: "image/svg+xml", bytes: svg.as_bytes().to_vec() }),
        color: Color::parse("#dd4400"),
        support: Some(Support { href: "mailto:help@example.com".to_owned(), text: "help@example.com".to_owned() }),
        ..Pages::default()
    }
}

pub(super) fn redirect(text: &str) -> RedirectUri {
    RedirectPolicy::new(vec!["cursor://anysphere.cursor-mcp/oauth/callback".to_owned()]).parse(text).unwrap()
}

pub(super) fn scope(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

pub(super) fn registered(name: &str) -> ClientLabel<'_> {
    ClientLabel { id: "c_4ndcxgkbnsbnhkxk5gu6hyjcwi", name: Some(name), origin: ClientOrigin::Registered }
}

pub(super) fn documented(name: &str) -> ClientLabel<'_> {
    ClientLabel {
        id: "https://claude.ai/oauth/claude-code-client-metadata",
        name: Some(name),
        origin: ClientOrigin::Document,
    }
}

/// A client of which a page shows this.
pub(super) fn client(label: ClientLabel<'_>) -> Client {
    Client {
        id: label.id.into(),
        origin: label.origin,
        name: label.name.map(str::to_owned),
        redirect_uris: Vec::new(),
        authentication: Authentication::None,
        refresh_token: true,
        device: false,
        dpop_bound: false,
        scope: ScopeSet::empty(),
        application_type: None,
        created_at: Timestamp(0),
    }
}

/// The parts of a consent page, with defaults, so that a test names only what it is about.
pub(super) struct Consent<'a> {
    pub(super) branding: &'a Branding,
    pub(super) client: ClientLabel<'a>,
    pub(super) redirect_uri: &'a str,
    pub(super) known_receiver: bool,
    pub(super) resource_name: &'a str,
    pub(super) scope: &'a str,
    pub(super) scope_texts: &'a [ScopeText],
    pub(super) refresh: bool,
    pub(super) remember_for: Option<Duration>,
    pub(super) identities: &'a [(&'a str, &'a str, &'a str)],
    pub(super) notice: Option<ConsentNotice>,
}

pub(super) const KEYCLOAK: (&str, &str, &str) = ("keycloak", "Keycloak", "openid profile email offline_access");

impl Default for Consent<'_> {
    fn default() -> Self {
        Self {
            branding: &PLAIN,
            client: registered("Claude"),
            redirect_uri: "https://claude.ai/api/mcp/auth_callback",
            known_receiver: true,
            resource_name: "Expenses",
            scope: "mcp:access",
            scope_texts: &[],
            refresh: true,
            remember_for: None,
            identities: &[KEYCLOAK],
            notice: None,
        }
    }
}

impl Consent<'_> {
    pub(super) fn page(&self) -> Page {
        let choice = |(id, name, asked): &(&str, &str, &str)| ProviderChoice {
            id: (*id).to_owned(),
            name: (*name).to_owned(),
            scope: scope(asked),
        };
        let view = ConsentView {
            client: client(self.client),
            redirect_uri: redirect(self.redirect_uri),
            known_receiver: self.known_receiver,
            access: AccessView {
                resource_name: self.resource_name.to_owned(),
                scope: scope(self.scope),
                scope_texts: self.scope_texts.to_vec(),
                refresh: self.refresh,
            },
            remember_for: self.remember_for,
            providers: self.identities.iter().map(choice).collect(),
            form: "c2VhbGVk".to_owned(),
        };
        consent(self.branding, &view, self.notice)
    }

    pub(super) fn html(&self) -> String {
        self.page().html
    }
}

pub(super) fn sign_in_page(label: ClientLabel<'_>, username: &str, problem: Option<SignInProblem>) -> Page {
    let view = SignInView {
        identity: "demo".to_owned(),
        identity_name: "Demo accounts".to_owned(),
        asker: Some(Asker { client: client(label), resource_name: "Expenses".to_owned() }),
        authorization: AuthorizationId::from("r_4ndcxgkbnsbnhkxk5gu6hyjcwi"),
        form_token: "dG9rZW4".to_owned(),
        username: username.to_owned(),
        problem,
    };
    sign_in(&PLAIN, &view)
}

pub(super) fn return_page(client: ClientLabel<'_>, uri: &str, outcome: Outcome) -> Page {
    let redirect_uri = redirect(uri);
    let location = redirect_uri.with_parameters(&[("code", "pcc_x"), ("state", "a;b'c")]);
    let user = (outcome == Outcome::SignedIn).then_some("Alice Anderson");
    return_to_application(&ReturnPage {
        branding: &PLAIN,
        client,
        redirect_uri: &redirect_uri,
        location: &location,
        outcome,
        user,
    })
}

pub(super) fn request_id() -> RequestId {
    RequestId::random()
}

pub(super) fn unknown(client_id: &str, redirect_uri: &str) -> Page {
    unknown_client(&UnknownClientPage {
        branding: &PLAIN,
        client_id,
        redirect_uri: Some(redirect_uri),
        request_id: &request_id(),
    })
}

/// Every page in every state, by name.
pub(super) fn gallery() -> Vec<(&'static str, Page)> {
    consents().into_iter().chain(remembering()).chain(answers()).chain(visited()).chain(sign_ins::pages()).collect()
}

/// The page where it offers to remember the answer.
fn remembering() -> Vec<(&'static str, Page)> {
    let remembered = Consent { remember_for: Some(Duration::from_hours(30 * 24)), ..Consent::default() };
    let not_allowed = Consent {
        remember_for: Some(Duration::from_hours(1)),
        identities: &[KEYCLOAK, ("partners", "Partner directory", "openid email")],
        notice: Some(ConsentNotice::NotAllowed),
        ..Consent::default()
    };
    vec![("consent-remember", remembered.page()), ("consent-not-allowed", not_allowed.page())]
}

fn consents() -> Vec<(&'static str, Page)> {
    let vs_code = Consent {
        client: registered("Visual Studio Code"),
        redirect_uri: "http://127.0.0.1:33418/",
        scope: "mcp:access expenses:approve",
        ..Consent::default()
    };
    let two = Consent {
        client: ClientLabel { id: "inspector", name: Some("Inspector"), origin: ClientOrigin::Configured },
        redirect_uri: "http://localhost:6274/oauth/callback",
        refresh: false,
        identities: &[KEYCLOAK, ("partners", "Partner directory", "openid email urn:partner:tier")],
        notice: Some(ConsentNotice::Expired),
        ..Consent::default()
    };
    let long_name =
        "A helper whose name is as long as a registration allows, and then wraps over several lines of text !";
    let long_uri = format!("https://{}.example.com/{}", "very-long-label-".repeat(3) + "x", "callback/".repeat(45));
    let long = Consent {
        client: registered(long_name),
        redirect_uri: &long_uri,
        known_receiver: false,
        identities: &[("local", "Demo accounts", "")],
        ..Consent::default()
    };
    let rtl = Consent {
        client: registered("مساعد المصروفات (שלום)"),
        redirect_uri: "com.example.assistant:/oauth",
        known_receiver: false,
        resource_name: "המערכת",
        ..Consent::default()
    };
    let document = Consent {
        client: documented("Claude Code"),
        redirect_uri: "http://localhost:54321/callback",
        ..Consent::default()
    };
    let elsewhere = Consent {
        client: ClientLabel { id: "https://evil.example/claude.json", ..documented("Claude") },
        redirect_uri: "https://codes.evil.example/api/mcp/auth_callback",
        known_receiver: false,
        ..Consent::default()
    };
    let nameless = Consent {
        client: ClientLabel { name: None, ..registered("") },
        redirect_uri: "cursor://anysphere.cursor-mcp/oauth/callback",
        scope: "",
        ..Consent::default()
    };
    vec![
        ("consent", Consent::default().page()),
        ("consent-loopback", vs_code.page()),
        ("consent-two-providers", two.page()),
        ("consent-long", long.page()),
        ("consent-rtl", rtl.page()),
        ("consent-nameless", nameless.page()),
        ("consent-document", document.page()),
        ("consent-document-elsewhere", elsewhere.page()),
        ("consent-hostile", Consent { client: registered(HOSTILE), ..Consent::default() }.page()),
    ]
}

pub(super) fn server_page(branding: &Branding, name: &str) -> Page {
    server(&ServerPage {
        branding,
        name,
        settings: ClientSettings { id: "expenses", url: "https://mcp.example.com/mcp" },
    })
}

pub(super) fn front_page(servers: &[(&str, &str)]) -> Page {
    front(&FrontPage {
        branding: &PLAIN,
        servers,
        settings: ClientSettings { id: "NAME", url: "https://mcp.example.com/PATH" },
    })
}

fn visited() -> Vec<(&'static str, Page)> {
    let long = Consent {
        branding: &OWN,
        known_receiver: false,
        redirect_uri: "https://chat.example.com/cb",
        ..Consent::default()
    };
    vec![
        ("server", server_page(&PLAIN, "Expenses")),
        ("server-own", server_page(&OWN, "Expenses")),
        ("front", front_page(&[])),
        (
            "front-listed",
            front_page(&[("Expenses", "https://mcp.example.com/mcp"), ("המערכת", "https://mcp.example.com/team/wiki")]),
        ),
        ("not-found", not_found(&PLAIN)),
        ("consent-own", long.page()),
    ]
}

fn answers() -> Vec<(&'static str, Page)> {
    let id = request_id();
    let earlier =
        |answer| already_answered(&AlreadyAnsweredPage { branding: &PLAIN, answer: &answer, request_id: &id });
    vec![
        ("sign-in", sign_in_page(registered("Visual Studio Code"), "", None)),
        ("sign-in-wrong", sign_in_page(registered("Visual Studio Code"), "alice", Some(SignInProblem::Wrong))),
        ("error", error_page("The sign-in could not be finished", &id)),
        ("already-answered", earlier(EarlierAnswer::Over)),
        ("already-answered-denied", earlier(EarlierAnswer::Denied)),
        ("already-answered-finish", earlier(EarlierAnswer::Finish("http://127.0.0.1:33418/?code=x".to_owned()))),
        ("unavailable", unavailable_page("Keycloak")),
        (
            "return-listed",
            return_page(registered("Cursor"), "cursor://anysphere.cursor-mcp/oauth/callback", Outcome::SignedIn),
        ),
        ("return-unlisted", return_page(registered("Assistant"), "com.example.assistant:/oauth", Outcome::SignedIn)),
        ("return-denied", return_page(registered("Assistant"), "com.example.assistant:/oauth", Outcome::Denied)),
        ("return-refused", return_page(registered("Assistant"), "com.example.assistant:/oauth", Outcome::Refused)),
        ("return-failed", return_page(registered("Assistant"), "com.example.assistant:/oauth", Outcome::Failed)),
        ("unknown-client", unknown("c_4ndcxgkbnsbnhkxk5gu6hyjcwi", "http://127.0.0.1:33418/")),
    ]
}

pub(super) fn error_page(title: &str, request_id: &RequestId) -> Page {
    error(&ErrorPage {
        branding: &PLAIN,
        title,
        happened: "Keycloak answered in a way that must not be believed.",
        hint: "Connect from the application again. If it happens again, tell your operator.",
        for_developer: Some("invalid_request: redirect_uri is not one of those that were registered"),
        request_id,
    })
}

pub(super) fn unavailable_page(name: &str) -> Page {
    unavailable(&UnavailablePage { branding: &PLAIN, identity_name: name, request_id: &request_id() })
}

pub(super) fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start} in {text}"));
    rest.split_once(end).unwrap().0
}

pub(super) fn attribute<'a>(html: &'a str, element: &str, name: &str) -> &'a str {
    between(between(html, element, ">"), &format!("{name}=\""), "\"")
}

/// What a reader sees: the words between the tags, one line per block.
pub(super) fn text_of(html: &str) -> String {
    let mut text = String::new();
    for piece in between(html, "</header>", "</main>").split('<') {
        let (tag, words) = piece.split_once('>').unwrap_or(("", piece));
        let inline = ["bdi", "span", "code"].iter().any(|name| tag.trim_start_matches('/').starts_with(name));
        if !inline && !tag.is_empty() {
            text.push('\n');
        }
        text.push_str(&words.replace('\n', " "));
    }
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The value of a page's header.
pub(super) fn header(page: Page, name: &str) -> String {
    page.into_response().headers().get(name).unwrap().to_str().unwrap().to_owned()
}
