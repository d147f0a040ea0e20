//! Every number of the table as a fixture, and what is read of an answer.

use super::{Aadsts, KNOWN};
use crate::identity::exchange::Verdict;

const TRACE: &str = "a1b2c3d4-0000-4000-8000-0123456789ab";
const CORRELATION: &str = "b2c3d4e5-1111-4111-8111-123456789abc";

fn description(number: u32, text: &str) -> String {
    format!(
        "AADSTS{number}: {text}\r\nTrace ID: {TRACE}\r\nCorrelation ID: {CORRELATION}\r\nTimestamp: 2027-01-15 08:00:00Z"
    )
}

#[test]
fn every_number_becomes_one_line_with_its_ids_and_its_own_hint() {
    for (number, _, hint) in KNOWN {
        let said = Aadsts::read(&description(*number, "Words of Microsoft's."), &[]).unwrap();
        assert_eq!(said.hint(), Some(*hint), "{number}");
        let line = said.to_string();
        let expected =
            format!("AADSTS{number}: Words of Microsoft's. (trace id {TRACE}, correlation id {CORRELATION})");
        assert_eq!(line, expected);
        let told = said.explanation(false);
        assert!(told.happened.contains(&format!("AADSTS{number}.")), "{told:?}");
        assert!(!told.happened.contains(TRACE) && !told.happened.contains("Words of"), "{told:?}");
        assert!(said.explanation(true).verdict == Verdict::Denied, "{number}");
    }
}

#[test]
fn the_numbers_are_in_order_and_stand_there_once() {
    assert!(KNOWN.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for (number, _, hint) in KNOWN {
        assert!(hint.len() < 200 && !hint.ends_with('.'), "{number}: {hint}");
    }
}

#[test]
fn an_unknown_number_has_its_line_and_no_hint() {
    let said = Aadsts::read(&description(123_456, "New."), &[]).unwrap();
    assert_eq!(said.hint(), None);
    assert!(said.to_string().starts_with("AADSTS123456: New. (trace id "));
    assert_eq!(said.explanation(false).verdict, Verdict::Failed);
}

#[test]
fn other_shapes_of_the_description_are_read_too() {
    let one_line = format!("AADSTS50105: Not assigned. Trace ID: {TRACE} Correlation ID: {CORRELATION}");
    let said = Aadsts::read(&one_line, &[]).unwrap();
    assert_eq!(
        said.to_string(),
        format!("AADSTS50105: Not assigned. (trace id {TRACE}, correlation id {CORRELATION})")
    );
    assert_eq!(Aadsts::read("AADSTS50105", &[]).unwrap().to_string(), "AADSTS50105: ");
    assert_eq!(Aadsts::read("Something else.", &[70008]).unwrap().to_string(), "AADSTS70008: Something else.");
    for nothing in ["", "access_denied", "AADSTS", "AADSTSx", "AADSTS99999999999999999999: x"] {
        assert_eq!(Aadsts::read(nothing, &[]), None, "{nothing}");
    }
}

#[test]
fn a_hostile_description_stays_one_short_line() {
    let hostile =
        format!("AADSTS50011: {}\u{202e}\u{1b}[31m\nTrace ID: ../../x\nCorrelation ID: {TRACE}x", "y".repeat(10_000));
    let line = Aadsts::read(&hostile, &[]).unwrap().to_string();
    assert!(
        line.len() < 1000 && !line.contains(['\n', '\r', '\u{1b}', '\u{202e}']) && !line.contains("trace id"),
        "{line}"
    );
}
