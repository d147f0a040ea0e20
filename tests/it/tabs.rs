//! A client with many servers: one sign-in for each, all in tabs of one browser.

use http::header::COOKIE;

use crate::support::bench::Bench;
use crate::support::browser::{Form, location, parameter};

fn approve(page: &crate::support::gate::Answer) -> Form {
    Form::on(&page.body).with("decision", "approve").with("identity", "keycloak")
}

impl Bench {
    /// The path of one tab's authorization request.
    fn tab(&self, number: usize) -> String {
        self.gate.authorize_path(&self.client, &[("state", &number.to_string())])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_sign_ins_opened_at_once_all_finish() {
    let mut bench = Bench::new().await;
    let paths: Vec<_> = (0..20).map(|number| bench.tab(number)).collect();
    let pages = bench.browser.get_at_once(&bench.gate, &paths).await;
    let forms: Vec<_> = pages.iter().map(approve).collect();
    let approved = bench.browser.submit_at_once(&bench.gate, &forms).await;
    let length = bench.browser.cookie_header(bench.gate.clock.now()).len();
    assert!(length < 4096, "{length} bytes of {COOKIE}");
    for (number, answer) in approved.iter().enumerate() {
        let back = bench.provider.visit(&location(answer));
        let finished = location(&bench.back(&back).await);
        assert_eq!(parameter(&finished, "state"), Some(number.to_string()));
        assert!(parameter(&finished, "code").is_some(), "{finished}");
    }
}

#[tokio::test]
async fn the_twenty_latest_tabs_keep_their_cookies_and_older_ones_are_refused() {
    let mut bench = Bench::new().await;
    let mut pages = Vec::new();
    for number in 0..25 {
        let path = bench.tab(number);
        pages.push(bench.browser.get(&bench.gate, &path).await);
    }
    assert_eq!(bench.browser.cookies.values().filter(|value| !value.is_empty()).count(), 20);
    for (number, page) in pages.iter().enumerate() {
        let answer = bench.browser.submit(&bench.gate, &approve(page)).await;
        assert_eq!(answer.status, if number < 5 { 403 } else { 303 }, "tab {number}: {answer:?}");
    }
}

#[tokio::test]
async fn new_tabs_do_not_evict_a_running_sign_in() {
    let mut bench = Bench::new().await;
    let first = bench.approve().await;
    for number in 0..25 {
        let path = bench.tab(number);
        bench.browser.get(&bench.gate, &path).await;
    }
    let finished = location(&bench.back(&bench.provider.visit(&first)).await);
    assert!(parameter(&finished, "code").is_some(), "{finished}");
}
