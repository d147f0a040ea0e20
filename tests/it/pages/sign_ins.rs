//! The pages of sign-ins that no client's redirect waits for: the user's own page, and devices.

use portcullis::clock::Timestamp;
use portcullis::issuer::{
    AccessView, AccountEntryView, AccountUser, AccountView, DeviceEntryView, DeviceView, EndView, EntryProblem,
    GrantView, ProviderChoice, RememberedView, Told,
};
use portcullis::model::client::ClientOrigin;
use portcullis::model::grant::Holder;
use portcullis::web::pages::{ClientLabel, Page, account, account_end, account_entry, device, device_entry, told};

use super::gallery::{KEYCLOAK, PLAIN, client, registered, request_id, scope};

/// One grant of a client that says this of itself, by a program that does too.
pub(super) fn grant_view(text: &str, origin: ClientOrigin) -> GrantView {
    GrantView {
        id: "g_4ndcxgkbnsbnhkxk5gu6hyjcwi".to_owned(),
        client_id: "c_4ndcxgkbnsbnhkxk5gu6hyjcwi".to_owned(),
        client_name: Some(text.to_owned()),
        origin,
        holder: Holder {
            receiver: Some("claude.ai".to_owned()),
            address: Some("2001:db8:85a3:1234:5678:8a2e:370:7334".to_owned()),
            agent: Some(text.to_owned()),
        },
        access: access(text),
        created_at: Timestamp(1_800_000_000),
        last_used_at: Timestamp(1_800_400_000),
    }
}

fn access(resource_name: &str) -> AccessView {
    AccessView {
        resource_name: resource_name.to_owned(),
        scope: scope("mcp:access"),
        scope_texts: Vec::new(),
        refresh: true,
    }
}

fn user(name: &str) -> AccountUser {
    AccountUser { name: name.to_owned(), identity_name: "Keycloak".to_owned(), form_token: "dG9rZW4".to_owned() }
}

pub(super) fn account_page(name: &str, grants: Vec<GrantView>, more: bool) -> Page {
    account(&PLAIN, &view(name, grants, more))
}

/// The same, with a client for which the user is not asked any more.
pub(super) fn remembering_page(text: &str) -> Page {
    let remembered = RememberedView {
        id: "m_4ndcxgkbnsbnhkxk5gu6hyjcwi".to_owned(),
        client_id: "chat".to_owned(),
        client_name: Some(text.to_owned()),
        origin: ClientOrigin::Configured,
        access: access(text),
        receiver: "chat.example".to_owned(),
        created_at: Timestamp(1_800_000_000),
        until: Timestamp(1_802_000_000),
    };
    account(&PLAIN, &AccountView { remembered: vec![remembered], ..view(text, Vec::new(), false) })
}

fn view(name: &str, grants: Vec<GrantView>, more: bool) -> AccountView {
    AccountView { user: user(name), grants, more, remembered: Vec::new(), now: Timestamp(1_800_500_000) }
}

pub(super) fn end_page(name: &str, grant: Option<GrantView>) -> Page {
    account_end(&PLAIN, &EndView { user: user(name), grant, now: Timestamp(1_800_500_000) })
}

fn choice((id, name, asked): (&str, &str, &str)) -> ProviderChoice {
    ProviderChoice { id: id.to_owned(), name: name.to_owned(), scope: scope(asked) }
}

pub(super) fn device_page(label: ClientLabel<'_>, text: &str, same_network: bool) -> Page {
    let view = DeviceView {
        client: client(label),
        user_code: "WDJB-MJHT".to_owned(),
        address: if same_network { "192.0.2.7" } else { "2001:db8:85a3:1234:5678:8a2e:370:7334" }.to_owned(),
        same_network,
        agent: Some(text.to_owned()),
        waiting: 75,
        access: access(text),
        providers: vec![choice(KEYCLOAK)],
        form: "c2VhbGVk".to_owned(),
    };
    device(&PLAIN, &view)
}

fn entry_page(typed: &str, problem: Option<EntryProblem>) -> Page {
    device_entry(&PLAIN, &DeviceEntryView { typed: typed.to_owned(), problem, form: "c2VhbGVk".to_owned() })
}

pub(super) fn told_page(what: &Told) -> Page {
    told(&PLAIN, what, &request_id())
}

pub(super) fn pages() -> Vec<(&'static str, Page)> {
    let providers = vec![choice(KEYCLOAK), choice(("partners", "Partner directory", "openid"))];
    let entry = AccountEntryView { providers, form: "c2VhbGVk".to_owned() };
    let (claimed, known) =
        (grant_view("Visual Studio Code", ClientOrigin::Registered), grant_view("Chat", ClientOrigin::Configured));
    let agent = registered("Build agent");
    vec![
        ("account-entry", account_entry(&PLAIN, &entry)),
        ("account", account_page("Alice Anderson", vec![claimed, known], true)),
        ("account-empty", account_page("Alice Anderson", Vec::new(), false)),
        ("account-remembered", remembering_page("Chat")),
        ("account-end", end_page("Alice Anderson", Some(grant_view("Claude", ClientOrigin::Registered)))),
        ("account-end-all", end_page("Alice Anderson", None)),
        ("device-entry", entry_page("", None)),
        ("device-entry-link", entry_page("WDJB-MJHT", None)),
        ("device-entry-unknown", entry_page("WDJB-MJHT", Some(EntryProblem::Unknown))),
        ("device", device_page(agent, "agent", true)),
        ("device-elsewhere", device_page(agent, "python-httpx", false)),
        ("device-connected", told_page(&Told::DeviceConnected { user: Some("Alice Anderson".to_owned()) })),
        ("device-denied", told_page(&Told::DeviceDenied)),
        ("device-failed", told_page(&Told::DeviceFailed)),
        ("account-failed", told_page(&Told::NotSignedIn { passing: true })),
    ]
}
