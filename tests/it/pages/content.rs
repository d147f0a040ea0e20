//! The texts of each page, and what its forms send.

use portcullis::config::ScopeText;
use portcullis::issuer::{EarlierAnswer, Outcome, SignInProblem};
use portcullis::model::client::ClientOrigin;
use portcullis::web::pages::{AlreadyAnsweredPage, ClientLabel, ConsentNotice, already_answered};

use super::gallery::{
    Consent, KEYCLOAK, OWN, PLAIN, attribute, between, documented, error_page, front_page, gallery, registered,
    request_id, return_page, server_page, sign_in_page, text_of, unavailable_page, unknown,
};

#[test]
fn consent_page_names_client_receiver_scopes_and_what_the_provider_reveals() {
    insta::assert_snapshot!(text_of(&Consent::default().html()), @r"
    Allow access to Expenses?
    An application that calls itself Claude wants to use Expenses as you. Nobody has checked that name.
    It may
    call its tools and read what it offers, on your behalf
    stay connected while you are away, until access is revoked
    If you continue, access goes to
    claude.ai
    Continue only if you came from there yourself, a moment ago.
    Continue with Keycloak
    Deny
    What this site learns from your sign-in
    Keycloak
    who you are, your name, your email address, whether your account is still active while you are away
    The whole address that access goes to: https://claude.ai/api/mcp/auth_callback
    Not what you expected? Deny, or close this window: nothing has been allowed yet.
    You can end access at any time: on
    your page
    of this site, which lists what you have allowed.
    ");
}

#[test]
fn only_unknown_receivers_are_warned_about() {
    let page = |redirect_uri, known_receiver| Consent { redirect_uri, known_receiver, ..Consent::default() }.html();
    for (redirect_uri, known, words) in [
        (
            "https://claude.ai/api/mcp/auth_callback",
            true,
            "Continue only if you came from there yourself, a moment ago.",
        ),
        ("https://claude.example/cb", false, "This address is not known here."),
        ("http://127.0.0.1:33418/", true, "any program here can call itself Claude."),
        (
            "cursor://anysphere.cursor-mcp/oauth/callback",
            true,
            "It opens the application on this device that owns this address.",
        ),
        ("com.example.app:/cb", false, "Any application on this device can take an address like this one."),
    ] {
        let html = page(redirect_uri, known);
        assert_eq!(html.contains("class=\"caution\""), !known, "{redirect_uri}");
        let text = text_of(&html);
        assert!(text.contains(words), "{redirect_uri}: {text}");
    }
    let loopback = text_of(&page("http://127.0.0.1:33418/", true));
    assert!(loopback.contains("a program on this computer\nContinue only"), "{loopback}");
}

#[test]
fn the_receiver_and_its_warning_share_a_box_with_the_buttons() {
    let unknown = Consent { known_receiver: false, redirect_uri: "https://chat.example.com/cb", ..Consent::default() };
    let html = unknown.html();
    let decision = between(&html, "<div class=\"decision in-sight\">", "<details>");
    insta::assert_snapshot!(text_of(&format!("</header>{decision}</main>")), @r"
    If you continue, access goes to
    chat.example.com
    This address is not known here. Continue only if you trust it, and came from there yourself, a moment ago.
    Continue with Keycloak
    Deny
    ");
}

#[test]
fn the_box_with_the_buttons_stays_in_sight_only_when_it_fits_a_phone() {
    let long_name = "A ".repeat(50);
    let long_host = format!("https://{}.example.com/", "label.".repeat(20) + "x");
    let stays = |consent: Consent<'_>| consent.html().contains("<div class=\"decision in-sight\">");
    let two = [KEYCLOAK, ("partners", "Partner directory", "openid")];
    let three = [two[0], two[1], ("guests", "Guests", "openid")];
    assert!(stays(Consent::default()));
    assert!(stays(Consent { identities: &two, ..Consent::default() }));
    assert!(!stays(Consent { identities: &three, ..Consent::default() }));
    assert!(!stays(Consent { client: registered(&long_name), ..Consent::default() }));
    assert!(!stays(Consent { redirect_uri: &long_host, ..Consent::default() }));
}

#[test]
fn only_a_configured_name_is_not_shown_as_a_claim() {
    let configured = ClientLabel { id: "inspector", name: Some("Inspector"), origin: ClientOrigin::Configured };
    let text = text_of(&Consent { client: configured, ..Consent::default() }.html());
    assert!(text.contains("Inspector, an application known to your operator, wants to use Expenses as you."), "{text}");
    assert!(!text.contains("checked that name"), "{text}");

    let nameless = ClientLabel { name: None, ..registered("") };
    let text = text_of(&Consent { client: nameless, ..Consent::default() }.html());
    assert!(text.contains("An application that gave no name (c_4ndcxgkbnsbnhkxk5gu6hyjcwi) wants"), "{text}");
}

#[test]
fn a_client_with_a_document_is_named_with_the_host_that_describes_it() {
    let loopback = Consent {
        client: documented("Claude Code"),
        redirect_uri: "http://localhost:54321/callback",
        ..Consent::default()
    };
    let text = text_of(&loopback.html());
    let named =
        "An application that calls itself Claude Code and is described at claude.ai wants to use Expenses as you.";
    assert!(text.contains(named) && text.contains("Nobody has checked that name."), "{text}");
    assert!(
        text.contains("any program here can call itself Claude Code, and claude.ai cannot prevent that."),
        "{text}"
    );
    let unknown = |redirect_uri| {
        let client = ClientLabel { id: "https://evil.example/a", ..documented("Claude") };
        text_of(&Consent { client, redirect_uri, known_receiver: false, ..Consent::default() }.html())
    };
    let elsewhere = unknown("https://codes.example/cb");
    let warning = "This address is not known here, and it is not where the application is described. Continue only if";
    assert!(elsewhere.contains(warning), "{elsewhere}");
    let there = unknown("https://evil.example/cb");
    assert!(there.contains("This address is not known here. Continue only if"), "{there}");
}

#[test]
fn an_unknown_scope_is_shown_by_its_value() {
    let html = Consent { scope: "mcp:access expenses:approve", ..Consent::default() }.html();
    assert!(html.contains("<code>expenses:approve</code>"), "{html}");
    assert!(!html.contains("mcp:access"), "{html}");
}

#[test]
fn scopes_are_shown_in_the_operators_words_and_order() {
    let text = |value: &str, text: &str| ScopeText { value: value.to_owned(), text: text.to_owned() };
    let scope_texts = [
        text("expenses:approve", "approve expenses in your name"),
        text("mcp:access", "read your expenses"),
        text("expenses:delete", "delete expenses"),
    ];
    let scope = "expenses:approve expenses:other mcp:access";
    let html = Consent { scope, scope_texts: &scope_texts, ..Consent::default() }.html();
    let text = text_of(&html);
    insta::assert_snapshot!(between(&text, "It may\n", "\nIf you continue"), @r"
    approve expenses in your name
    read your expenses
    expenses:other
    stay connected while you are away, until access is revoked
    ");
}

#[test]
fn staying_connected_is_shown_once_and_only_with_a_refresh_token() {
    let count = |scope, refresh| {
        let html = Consent { scope, refresh, ..Consent::default() }.html();
        html.matches("stay connected while you are away").count()
    };
    assert_eq!(count("mcp:access", false), 0);
    assert_eq!(count("mcp:access", true), 1);
    assert_eq!(count("mcp:access offline_access", true), 1);
}

#[test]
fn every_choice_of_the_consent_page_sends_form_identity_and_decision() {
    let html =
        Consent { identities: &[KEYCLOAK, ("partners", "Partner directory", "openid")], ..Consent::default() }.html();
    let forms: Vec<_> = html.split("<form ").skip(1).collect();
    assert_eq!(forms.len(), 2);
    for (form, (identity, name)) in forms.iter().zip([("keycloak", "Keycloak"), ("partners", "Partner directory")]) {
        let (form, _) = form.split_once("</form>").unwrap();
        assert!(form.starts_with(r#"method="post" action="/consent" id="approve-"#), "{form}");
        assert!(form.contains(r#"<input type="hidden" name="form" value="c2VhbGVk">"#), "{form}");
        assert!(form.contains(&format!(r#"<input type="hidden" name="identity" value="{identity}">"#)), "{form}");
        assert!(
            form.contains(&format!(
                r#"<button name="decision" value="approve">Continue with <bdi>{name}</bdi></button>"#
            ))
        );
    }
    assert!(html.contains(r#"<button class="deny" form="approve-1" name="decision" value="deny">Deny</button>"#));
    assert_eq!(html.matches("<button").count(), 3);
}

#[test]
fn a_consent_page_after_an_expired_form_says_why_it_is_shown_again() {
    let notice = Some(ConsentNotice::Expired);
    assert!(text_of(&Consent { notice, ..Consent::default() }.html()).contains("open for too long"));
    assert!(!text_of(&Consent::default().html()).contains("open for too long"));
}

#[test]
fn the_sign_in_form_suits_password_managers_and_hides_which_field_was_wrong() {
    let first = sign_in_page(registered("Claude"), "", None).html;
    assert_eq!(attribute(&first, "<form", "action"), "/sign-in/demo");
    assert_eq!(attribute(&first, r#"<input id="username""#, "autocomplete"), "username");
    assert_eq!(attribute(&first, r#"<input id="password""#, "autocomplete"), "current-password");
    assert_eq!(
        attribute(&first, r#"<input type="hidden" name="authorization""#, "value"),
        "r_4ndcxgkbnsbnhkxk5gu6hyjcwi"
    );
    assert_eq!(attribute(&first, r#"<input type="hidden" name="form_token""#, "value"), "dG9rZW4");
    assert!(between(&first, r#"id="username""#, ">").contains("autofocus"));
    assert!(!first.contains(r#"role="alert""#));

    let again = sign_in_page(registered("Claude"), "alice", Some(SignInProblem::Wrong)).html;
    assert_eq!(attribute(&again, r#"<input id="username""#, "value"), "alice");
    assert!(between(&again, r#"id="password""#, ">").contains("autofocus"));
    assert!(again.contains(r#"<p class="problem" id="problem" role="alert">Wrong user name or password.</p>"#));
    let busy = sign_in_page(registered("Claude"), "alice", Some(SignInProblem::Busy)).html;
    assert!(busy.contains("Too many attempts. Wait a minute, then try again."));
}

#[test]
fn only_a_listed_private_use_uri_is_opened_without_a_click() {
    let listed =
        return_page(registered("Cursor"), "cursor://anysphere.cursor-mcp/oauth/callback", Outcome::SignedIn).html;
    let location = "cursor://anysphere.cursor-mcp/oauth/callback?code=pcc_x&#38;state=a%3Bb%27c";
    assert_eq!(attribute(&listed, r#"<meta http-equiv="refresh""#, "content"), format!("0;url={location}"));
    assert_eq!(attribute(&listed, r#"<a class="button""#, "href"), location);

    let unlisted = return_page(registered("Assistant"), "com.example.assistant:/oauth", Outcome::SignedIn).html;
    assert_eq!(
        attribute(&unlisted, r#"<a class="button""#, "href"),
        "com.example.assistant:/oauth?code=pcc_x&#38;state=a%3Bb%27c"
    );
    for (name, page) in gallery() {
        assert_eq!(page.html.contains("http-equiv"), name == "return-listed", "{name}");
    }
}

#[test]
fn an_answered_sign_in_offers_to_finish_by_a_link_only() {
    let id = request_id();
    let page =
        |answer| already_answered(&AlreadyAnsweredPage { branding: &PLAIN, answer: &answer, request_id: &id }).html;
    let open = page(EarlierAnswer::Finish("http://127.0.0.1:33418/?code=x&state=y".to_owned()));
    assert_eq!(attribute(&open, r#"<a class="button""#, "href"), "http://127.0.0.1:33418/?code=x&#38;state=y");
    assert!(!page(EarlierAnswer::Over).contains("<a "));
    let denied = page(EarlierAnswer::Denied);
    assert!(denied.contains("<h1>You denied access</h1>") && !denied.contains("<a "), "{denied}");
}

#[test]
fn an_error_page_carries_its_request_id_and_the_developers_line() {
    let id = request_id();
    let text = text_of(&error_page("Something failed", &id).html);
    assert!(text.contains(&format!("give this id: {id}")), "{text}");
    assert!(text.contains("invalid_request: redirect_uri is not one of those that were registered"), "{text}");
}

#[test]
fn an_unreachable_provider_is_named() {
    let html = unavailable_page("Keycloak").html;
    assert!(html.contains("<h1>Keycloak does not answer</h1>"), "{html}");
    assert!(!html.contains("<a "));
}

#[test]
fn an_unknown_client_is_shown_the_remedy_of_its_own_application() {
    let html = unknown("c_gone", "http://127.0.0.1:33418/").html;
    assert_eq!(html.matches("<details open>").count(), 1);
    assert!(
        between(&html, "<details open>", "</details>")
            .contains("Authentication: Remove Dynamic Authentication Providers")
    );
    assert!(html.contains("<code><bdi>c_gone</bdi></code>"));
    for remedy in [
        "claude mcp logout NAME",
        "Clear authentication",
        "rm -rf ~/.mcp-auth",
        "Clear OAuth State",
        "codex mcp logout",
    ] {
        assert!(html.contains(remedy), "{remedy}");
    }
    assert_eq!(unknown("c_gone", "nonsense").html.matches("<details open>").count(), 0);
}

#[test]
fn pages_show_the_operators_name_logo_colour_and_help() {
    let html = server_page(&OWN, "Expenses").html;
    assert!(html.contains("<title>Expenses · Example Tools</title>") && html.contains("<span>Example Tools</span>"));
    assert!(html.contains(
        r#"<p class="help">Help: <a href="mailto:help@example.com" rel="noreferrer">help@example.com</a></p>"#
    ));
    assert!(html.contains("--key:#d64100") && !html.contains("Portcullis"), "{html}");
    let plain = server_page(&PLAIN, "Expenses").html;
    assert!(plain.contains("<span>Portcullis</span>") && !plain.contains("Help:") && !plain.contains("<img"));
}

#[test]
fn the_page_of_an_upstream_shows_the_settings_of_each_client() {
    let text = text_of(&server_page(&PLAIN, "Expenses").html).replace("&#34;", "\"");
    for settings in [
        r#"{ "servers": { "expenses": { "type": "http", "url": "https://mcp.example.com/mcp" } } }"#,
        "claude mcp add --transport http expenses https://mcp.example.com/mcp",
        r#"{ "mcpServers": { "expenses": { "url": "https://mcp.example.com/mcp" } } }"#,
        "npx @modelcontextprotocol/inspector --transport http --server-url https://mcp.example.com/mcp",
    ] {
        assert!(text.lines().any(|line| line == settings), "{settings}: {text}");
    }
    assert!(!front_page(&[]).html.contains("The servers"));
    let listed = front_page(&[("Expenses", "https://mcp.example.com/mcp")]).html;
    assert!(listed.contains(r#"<a href="https://mcp.example.com/mcp"><bdi>Expenses</bdi></a>"#), "{listed}");
}
