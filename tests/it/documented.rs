//! The values that stand in the log are in the tables of `docs/operations.md`, and nothing else is.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../docs/operations.md");
const AUDIT: &str = include_str!("../../src/audit/log.rs");
const REFUSAL: &str = include_str!("../../src/gateway/refusal/mod.rs");
const CALL_RECORD: &str = include_str!("../../src/gateway/call_record.rs");
const GRANT: &str = include_str!("../../src/model/grant.rs");

/// What stands in backticks in the first column of the table below a heading.
fn table(heading: &str) -> BTreeSet<String> {
    let (_, below) = PAGE.split_once(&format!("\n### {heading}\n")).expect(heading);
    let rows = below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let first = rows.skip(2).map(|row| row.split('|').nth(1).unwrap());
    first.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// The part of a source that begins with `from` and ends before the next line that is `end`.
fn part<'a>(source: &'a str, from: &str, end: &str) -> &'a str {
    let (_, rest) = source.split_once(from).expect(from);
    rest.split_once(end).expect(end).0
}

/// The text literals that follow each `before`.
fn literals<'a>(code: &'a str, before: &'a str) -> impl Iterator<Item = String> + 'a {
    code.split(before).skip(1).map(|after| after.split('"').next().unwrap().to_owned())
}

#[test]
fn every_decision_of_the_access_log_is_documented_and_no_other() {
    let refused = part(REFUSAL, "pub(super) const fn decision(", "\n    }\n");
    let permitted = part(CALL_RECORD, "pub(super) fn entered(", "\n    }\n");
    let decisions: BTreeSet<_> = literals(refused, "Some(\"").chain(literals(permitted, "Some(\"")).collect();
    assert!(decisions.contains("permitted") && decisions.contains("invalid_token"), "{decisions:?}");
    assert_eq!(table("Values of `decision`"), decisions);
}

#[test]
fn every_reason_for_which_grants_end_is_documented_and_no_other() {
    let reasons = part(GRANT, "impl EndReason {", "\n}\n");
    let reasons: BTreeSet<_> = literals(reasons, " => \"").collect();
    assert!(reasons.contains("operator"), "{reasons:?}");
    assert_eq!(table("Values of `reason`"), reasons);
}

#[test]
fn every_message_of_the_audit_log_is_documented_and_no_other() {
    let lines = AUDIT.split("line!(").skip(1).map(|call| call.split(',').nth(2).unwrap().trim());
    let messages: BTreeSet<_> = lines.filter_map(|words| words.strip_prefix('"')).collect();
    let messages: BTreeSet<_> =
        messages.iter().map(|words| words.trim_end_matches([')', ';', '"']).to_owned()).collect();
    assert!(messages.contains("grant ended") && messages.contains("signed in at the own page"), "{messages:?}");
    assert_eq!(table("Audit messages"), messages);
}
