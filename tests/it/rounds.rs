//! Sign-ins that go to the provider more than once, in a browser that drops some of our answers: after a double click or a
//! reload a browser shows only the last one, so every answer has to lead on.

use std::time::Duration;

use crate::engines::also_on_postgres;
use crate::support::bench::Bench;
use crate::support::browser::{Browser, location, parameter};
use crate::support::provider::OfflineRefusal;

also_on_postgres! {
    a_browser_that_dropped_a_redirect_gets_the_same_one_again,
    answers_of_earlier_rounds_lead_to_the_current_one,
    concurrent_deliveries_of_an_answer_in_two_processes_lead_to_the_same_round,
    a_replayed_answer_to_a_denied_or_expired_sign_in_leads_nowhere,
}

/// Why the provider's first answer leads to a silent second round.
#[derive(Debug, Clone, Copy)]
enum Reason {
    /// A code whose exchange refuses offline access (a Keycloak user without the role).
    OfflineAtToken,
    /// `invalid_scope`.
    OfflineAtAuthorize,
    /// Keycloak's login form, posted twice.
    PostedTwice,
}

impl Reason {
    /// The provider's answer to `url`.
    fn answer(self, bench: &Bench, url: &str) -> String {
        match self {
            Self::OfflineAtToken => bench.provider.refuse_offline(Some(OfflineRefusal::AtToken)),
            Self::OfflineAtAuthorize => bench.provider.refuse_offline(Some(OfflineRefusal::AtAuthorize)),
            Self::PostedTwice => return bench.error(url, "temporarily_unavailable"),
        }
        bench.provider.visit(url)
    }
}

const REASONS: [Reason; 3] = [Reason::OfflineAtToken, Reason::OfflineAtAuthorize, Reason::PostedTwice];

/// A reload of the first answer, and two more answers that the provider sends when its form is posted again.
fn repeated(bench: &Bench, url: &str, first: &str) -> [String; 3] {
    [first.to_owned(), bench.provider.visit(url), bench.error(url, "temporarily_unavailable")]
}

#[tokio::test]
async fn a_browser_that_dropped_a_redirect_gets_the_same_one_again() {
    for reason in REASONS {
        let mut bench = Bench::new().await;
        let first = bench.approve().await;
        let answer = reason.answer(&bench, &first);
        let second = location(&bench.back(&answer).await);
        let asked = bench.provider.calls("/token");
        for again in repeated(&bench, &first, &answer) {
            assert_eq!(location(&bench.back(&again).await), second, "{reason:?}: {again}");
        }
        assert_eq!(bench.provider.calls("/token"), asked, "{reason:?}: a repeated answer is not exchanged");
        let finished = location(&bench.back(&bench.provider.visit(&second)).await);
        assert!(parameter(&finished, "code").is_some(), "{reason:?}: {finished}");
    }
}

#[tokio::test]
async fn answers_of_earlier_rounds_lead_to_the_current_one() {
    let mut bench = Bench::new().await;
    bench.provider.refuse_offline(Some(OfflineRefusal::AtToken));
    let zero = bench.approve().await;
    let posted_twice = bench.error(&zero, "temporarily_unavailable");
    let one = location(&bench.back(&posted_twice).await);
    let without_role = bench.provider.visit(&one);
    let two = location(&bench.back(&without_role).await);
    assert!(!parameter(&two, "scope").unwrap().contains("offline_access"), "{two}");
    for (url, answer) in [(&zero, &posted_twice), (&one, &without_role)] {
        for again in repeated(&bench, url, answer) {
            assert_eq!(location(&bench.back(&again).await), two, "{again}");
        }
    }
    assert!(parameter(&location(&bench.back(&bench.provider.visit(&two)).await), "code").is_some());
}

#[tokio::test]
async fn a_consent_form_posted_again_leads_to_the_current_round() {
    let mut bench = Bench::new().await;
    let form = bench.gate.consent_form(&mut bench.browser, &bench.client, &[]).await;
    let form = form.with("decision", "approve").with("identity", "keycloak");
    let first = location(&bench.browser.submit(&bench.gate, &form).await);
    let second = location(&bench.back(&Reason::OfflineAtToken.answer(&bench, &first)).await);
    assert_eq!(location(&bench.browser.submit(&bench.gate, &form).await), second);
}

#[tokio::test]
async fn another_browser_learns_nothing_about_the_current_round() {
    for reason in REASONS {
        let mut bench = Bench::new().await;
        let first = bench.approve().await;
        let answer = reason.answer(&bench, &first);
        let second = location(&bench.back(&answer).await);
        let owner = std::mem::take(&mut bench.browser);
        bench.approve().await;
        let with_a_sign_in_of_its_own = bench.browser.clone();
        for stranger in [Browser::default(), with_a_sign_in_of_its_own] {
            bench.browser = stranger;
            let refused = bench.back(&answer).await;
            assert_eq!((refused.status, refused.header("location")), (403, ""), "{reason:?}: {refused:?}");
            for secret in ["state", "nonce", "code_challenge"] {
                assert!(!refused.body.contains(&parameter(&second, secret).unwrap()), "{reason:?}: {secret}");
            }
        }
        bench.browser = owner;
        assert_eq!(location(&bench.back(&answer).await), second, "{reason:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_deliveries_of_an_answer_in_two_processes_lead_to_the_same_round() {
    for reason in REASONS {
        let mut bench = Bench::new().await;
        let twin = bench.gate.twin().await;
        for _ in 0..8 {
            bench.browser = Browser::default();
            let first = bench.approve().await;
            let answer = reason.answer(&bench, &first);
            let path = answer.strip_prefix(bench.gate.origin()).unwrap();
            let asked = bench.provider.calls("/token");
            let (mut one, mut other) = (bench.browser.clone(), bench.browser.clone());
            let (one, other) = tokio::join!(one.get(&bench.gate, path), other.get(&twin, path));
            assert_eq!(location(&one), location(&other), "{reason:?}");
            assert!(bench.provider.calls("/token") <= asked + 1, "{reason:?}: a code is exchanged once");
            let finished = location(&bench.back(&bench.provider.visit(&location(&one))).await);
            assert!(parameter(&finished, "code").is_some(), "{reason:?}: {finished}");
        }
    }
}

#[tokio::test]
async fn a_replayed_answer_to_a_denied_or_expired_sign_in_leads_nowhere() {
    let mut bench = Bench::new().await;
    let form = bench.gate.consent_form(&mut bench.browser, &bench.client, &[]).await;
    let form = form.with("identity", "keycloak");
    let first = location(&bench.browser.submit(&bench.gate, &form.clone().with("decision", "approve")).await);
    let answer = Reason::OfflineAtToken.answer(&bench, &first);
    bench.back(&answer).await;
    bench.browser.submit(&bench.gate, &form.with("decision", "deny")).await;
    let denied = bench.back(&answer).await;
    assert_eq!((denied.status, denied.header("location")), (200, ""), "{denied:?}");
    assert!(denied.body.contains("<h1>You denied access</h1>"), "{denied:?}");

    let first = bench.approve().await;
    let answer = Reason::OfflineAtToken.answer(&bench, &first);
    bench.back(&answer).await;
    bench.gate.clock.advance(Duration::from_mins(20));
    let late = bench.back(&answer).await;
    assert_eq!((late.status, late.header("location")), (400, ""), "{late:?}");
    assert!(late.body.contains("This sign-in is over"), "{late:?}");
}
