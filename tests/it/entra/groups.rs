//! Groups: those of the token, and those that it leaves out.

use super::{Bench, Written, link_back};
use crate::entra_emulator::GRAPH;
use crate::support::browser::{location, parameter};
use crate::support::gate::tokens;
use crate::support::log::watch;

fn through_graph() -> Written {
    Written::default().with("groups_overage = \"graph\"")
}

async fn bench(written: Written, groups: usize) -> Bench {
    let bench = Bench::with(written).await;
    let mut state = bench.emulator.state();
    state.user("alice").groups = (0..groups).map(|number| format!("00000000-0000-4000-8000-{number:012}")).collect();
    state.our_app().admin_consent.insert(format!("{GRAPH}/GroupMember.Read.All"));
    drop(state);
    bench
}

/// How many groups the server behind is told.
async fn groups_seen(bench: &Bench, access: &str) -> usize {
    bench.gate.call(access).await;
    bench.gate.behind.last().header("x-forwarded-groups").map_or(0, |groups| groups.split(',').count())
}

#[tokio::test]
async fn groups_of_the_token_reach_the_server() {
    let mut bench = bench(Written::default(), 200).await;
    let given = bench.tokens().await;
    assert_eq!(groups_seen(&bench, &given.access).await, 200);
}

#[tokio::test]
async fn a_user_in_more_groups_than_a_token_names_is_denied_and_told_why() {
    let mut bench = bench(Written::default(), 201).await;
    let (lines, _guard) = watch();
    let page = bench.visit().await;
    assert!(page.body.contains("more groups than Microsoft Entra ID tells us"), "{page:?}");
    let link = link_back(&page);
    assert_eq!(parameter(&link, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(&link, "state").as_deref(), Some("client-state"));
    assert_eq!(parameter(&link, "iss").as_deref(), Some(bench.gate.origin()));
    assert!(lines.text().contains("groups_overage"), "{}", lines.text());
    assert_eq!(bench.emulator.calls("/getMemberObjects"), 0);
}

#[tokio::test]
async fn groups_that_grow_too_many_lead_to_a_sign_in_that_explains_it() {
    let mut bench = bench(Written::default(), 200).await;
    let given = bench.tokens().await;
    bench.emulator.state().most_groups = 199;
    let refused = bench.refresh(&given).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"));
    assert!(bench.visit().await.body.contains("more groups"));
    bench.emulator.state().most_groups = 200;
    let given = bench.refreshed(&given).await;
    assert_eq!(groups_seen(&bench, &given.access).await, 200);
}

#[tokio::test]
async fn graph_is_asked_on_behalf_of_the_user_where_that_is_configured() {
    let mut bench = bench(through_graph(), 300).await;
    let given = bench.tokens().await;
    let form = bench.last_form();
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(form["requested_token_use"], "on_behalf_of");
    assert_eq!(form["scope"], format!("{}/graph/.default", bench.emulator.authority()));
    assert_eq!(groups_seen(&bench, &given.access).await, 300);
    bench.emulator.state().user("alice").groups.truncate(250);
    let given = bench.refreshed(&given).await;
    assert_eq!(groups_seen(&bench, &given.access).await, 250);
    bench.emulator.state().user("alice").groups.truncate(7);
    let asked = bench.emulator.calls("/getMemberObjects");
    let given = bench.refreshed(&given).await;
    assert_eq!(groups_seen(&bench, &given.access).await, 7);
    assert_eq!(bench.emulator.calls("/getMemberObjects"), asked, "only where the token leaves groups out");
}

#[tokio::test]
async fn graph_that_fails_never_makes_a_user_of_no_groups() {
    for (fault, error, words) in [
        (429, "temporarily_unavailable", "answers 429"),
        (503, "temporarily_unavailable", "answers 503"),
        (403, "server_error", "GroupMember.Read.All"),
        (404, "server_error", "answers 404"),
        (200, "server_error", "no list of groups"),
    ] {
        let mut bench = bench(through_graph(), 300).await;
        let given = bench.tokens().await;
        let (lines, _guard) = watch();
        bench.emulator.state().fail_next("/getMemberObjects", fault, None);
        let answer = bench.visit().await;
        assert_eq!(parameter(&location(&answer), "error").as_deref(), Some(error), "{fault}");
        assert!(lines.text().contains(words), "{fault}: {}", lines.text());
        bench.emulator.state().fail_next("/getMemberObjects", fault, None);
        assert_eq!(bench.refresh(&given).await.status, 503, "{fault}");
        let given = bench.refreshed(&given).await;
        assert_eq!(groups_seen(&bench, &given.access).await, 300);
    }
}

#[tokio::test]
async fn graph_without_consent_or_permission_names_what_to_grant() {
    let mut bench = bench(through_graph(), 300).await;
    bench.emulator.state().our_app().admin_consent.clear();
    let (lines, _guard) = watch();
    let page = bench.visit().await;
    assert!(page.body.contains("AADSTS65001"), "{page:?}");
    assert!(lines.text().contains("Grant admin consent"), "{}", lines.text());

    bench.emulator.state().our_app().admin_consent.insert(format!("{GRAPH}/User.Read"));
    let answer = bench.visit().await;
    assert_eq!(parameter(&location(&answer), "error").as_deref(), Some("server_error"));
    assert!(lines.text().contains("GroupMember.Read.All"), "{}", lines.text());
}

#[tokio::test]
async fn more_groups_than_we_keep_are_a_denial_too() {
    let mut bench = bench(through_graph(), 2001).await;
    assert!(bench.visit().await.body.contains("more groups"));
    bench.emulator.state().user("alice").groups.truncate(2000);
    let url = location(&bench.visit().await);
    tokens(&bench.gate.redeem(&bench.client, &parameter(&url, "code").unwrap()).await);
}

#[tokio::test]
async fn app_roles_and_groups_are_told_apart_and_the_role_admits() {
    let sources = "groups_from = [{ claim = \"groups\" }, { claim = \"roles\", prefix = \"role:\" }]";
    let mut bench = bench(
        Written::default().with(sources).with("allow = [{ groups = [\"role:Mcp.User\"] }]\nask = \"the service desk\""),
        1,
    )
    .await;
    let page = bench.visit().await;
    assert!(page.body.contains("may not sign in here") && page.body.contains("the service desk"), "{page:?}");
    bench.emulator.state().user("alice").groups = vec!["role:Mcp.User".to_owned()];
    assert!(bench.visit().await.body.contains("may not sign in here"), "a group poses as a role");
    bench.emulator.state().user("alice").roles = vec!["Mcp.User".to_owned()];
    let given = bench.tokens().await;
    bench.gate.call(&given.access).await;
    assert_eq!(bench.gate.behind.last().header("x-forwarded-groups"), Some("role:Mcp.User"));
    bench.emulator.state().user("alice").roles.clear();
    assert_eq!(bench.refresh(&given).await.error(), "invalid_grant", "the role was taken away");
}

#[tokio::test]
async fn groups_from_graph_keep_the_roles_of_the_token() {
    let sources =
        "groups_from = [{ claim = \"groups\", prefix = \"group:\" }, { claim = \"roles\", prefix = \"role:\" }]";
    let mut bench = bench(through_graph().with(sources), 201).await;
    bench.emulator.state().user("alice").roles = vec!["Mcp.User".to_owned()];
    let given = bench.tokens().await;
    bench.gate.call(&given.access).await;
    let seen = bench.gate.behind.last();
    let groups: Vec<_> = seen.header("x-forwarded-groups").unwrap().split(',').collect();
    assert_eq!(groups.iter().filter(|group| group.starts_with("group:0000")).count(), 201);
    assert_eq!(groups.last(), Some(&"role:Mcp.User"));
}
