//! Which of a user's groups an upstream is told, and what happens when there are too many.

use portcullis::config::IdentityKind;

use super::headers::request_headers;
use super::token;
use crate::support::gate::{TestGate, upstream};
use crate::support::log::watch;
use crate::support::upstream::{Seen, Upstream};

/// A gate whose user has these groups, and whose upstreams `mcp` and `wiki` have these settings.
async fn gate(behind: &Upstream, groups: &[String], lines: [&str; 2]) -> TestGate {
    let url = behind.url();
    TestGate::with(|config| {
        let told = |id: &str, lines: &str| {
            let mut settings = upstream(&config.public_url, id, &url).settings;
            settings.request_headers = request_headers(lines, &[]);
            portcullis::config::Upstream::new(&config.public_url, settings).unwrap()
        };
        let [mcp, wiki] = lines;
        config.upstreams = vec![told("mcp", mcp), told("wiki", wiki)];
        if let IdentityKind::Local(users) = &mut config.identities[0].kind {
            users[0].groups = groups.to_vec();
        }
    })
    .await
}

/// What the upstream saw of a call with a fresh token.
async fn told(gate: &TestGate, behind: &Upstream) -> Seen {
    assert_eq!(gate.call(&token(gate).await).await.status, 200);
    behind.last()
}

fn many() -> Vec<String> {
    (0..547).map(|number| format!("/departments/company-wide/{number:020}")).collect()
}

#[tokio::test]
async fn an_upstream_gets_only_the_groups_that_are_listed_for_it() {
    let behind = Upstream::polite().await;
    let groups = ["staff", "mcp-read", "mcp-write", "wheel"].map(str::to_owned);
    for (lines, expected) in [
        ("", Some("staff,mcp-read,mcp-write,wheel")),
        ("groups = [\"staff\", \"mcp-*\"]", Some("staff,mcp-read,mcp-write")),
        ("groups = [\"none\"]", None),
        ("groups = []", None),
    ] {
        let gate = gate(&behind, &groups, [lines, "groups = [\"wheel\"]"]).await;
        let seen = told(&gate, &behind).await;
        assert_eq!(seen.header("x-forwarded-groups"), expected, "{lines}");
        assert_eq!(seen.header("x-portcullis-groups-omitted"), None);
    }
}

#[tokio::test]
async fn too_many_groups_are_omitted_and_logged_once_with_user_and_setting() {
    let behind = Upstream::polite().await;
    let gate = gate(&behind, &many(), ["", ""]).await;
    let (lines, _guard) = watch();
    for _ in 0..3 {
        let seen = told(&gate, &behind).await;
        assert_eq!(seen.header("x-forwarded-groups"), None);
        assert_eq!(seen.header("x-portcullis-groups-omitted"), Some("547"));
        assert_eq!(seen.header("x-forwarded-user"), Some("local|alice"));
        let head: usize = seen.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        assert!(head < 2048, "{head}");
    }
    let text = lines.text();
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{text}");
    for part in ["upstream=\"mcp\"", "user=\"local|alice\"", "groups=547", "max_groups_bytes=4096", "list those"] {
        assert!(warnings[0].contains(part), "{part} is not in {}", warnings[0]);
    }
}

#[tokio::test]
async fn a_client_cannot_spoof_the_headers_of_groups() {
    let behind = Upstream::polite().await;
    let gate = gate(&behind, &many(), ["groups = [\"/departments/company-wide/0000000000000000000*\"]", ""]).await;
    let token = token(&gate).await;
    let says =
        [("x-portcullis-groups-omitted", "0"), ("X_Portcullis_Groups_Omitted", "0"), ("x-forwarded-groups", "wheel")];
    assert_eq!(super::with(&gate, &token, "POST", &says).await.status, 200);
    let seen = behind.last();
    assert_eq!(seen.header("x-forwarded-groups").unwrap().split(',').count(), 10);
    assert_eq!((seen.header("x-portcullis-groups-omitted"), seen.header("X_Portcullis_Groups_Omitted")), (None, None));
}

#[tokio::test]
async fn a_raised_max_groups_bytes_sends_all_groups() {
    let behind = Upstream::polite().await;
    let groups: Vec<String> = many().into_iter().take(200).collect();
    let gate = gate(&behind, &groups, ["max_groups_bytes = \"16KiB\"", ""]).await;
    let seen = told(&gate, &behind).await;
    assert_eq!(seen.header("x-forwarded-groups").unwrap().split(',').count(), 200);
}
