//! Fuzzing: mutated files and odd variables.

use portcullis::cli::Outcome;
use proptest::prelude::*;

use super::{Operator, whole_example};

/// One change of a text.
#[derive(Debug, Clone)]
enum Change {
    Cut { at: usize, length: usize },
    Insert { at: usize, text: String },
    Repeat { line: usize },
    Drop { line: usize },
    Swap { one: usize, other: usize },
}

impl Change {
    fn strategy() -> impl Strategy<Value = Self> {
        let at = 0..10_000usize;
        let text = prop_oneof![
            "[\\[\\]{}=\",'#.\\n\\\\ a-z0-9é-]{1,6}",
            Just("[[upstream]]\n".to_owned()),
            Just("[client]\n".to_owned()),
            Just("\u{feff}".to_owned()),
            Just("= [[[[[".to_owned()),
            Just("99999999999999999999".to_owned()),
        ];
        prop_oneof![
            (at.clone(), 1..40usize).prop_map(|(at, length)| Self::Cut { at, length }),
            (at.clone(), text).prop_map(|(at, text)| Self::Insert { at, text }),
            at.clone().prop_map(|line| Self::Repeat { line }),
            at.clone().prop_map(|line| Self::Drop { line }),
            (at.clone(), at).prop_map(|(one, other)| Self::Swap { one, other }),
        ]
    }

    fn apply(self, text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut lines: Vec<&str> = text.lines().collect();
        let place = |at: usize| at % (chars.len() + 1);
        let count = lines.len().max(1);
        match self {
            Self::Cut { at, length } => {
                let end = (place(at) + length).min(chars.len());
                return chars[..place(at)].iter().chain(&chars[end..]).collect();
            }
            Self::Insert { at, text } => {
                return chars[..place(at)]
                    .iter()
                    .copied()
                    .chain(text.chars())
                    .chain(chars[place(at)..].iter().copied())
                    .collect();
            }
            Self::Repeat { line } if !lines.is_empty() => lines.insert(line % count, lines[line % count]),
            Self::Drop { line } if !lines.is_empty() => drop(lines.remove(line % count)),
            Self::Swap { one, other } if !lines.is_empty() => lines.swap(one % count, other % count),
            _ => (),
        }
        lines.join("\n")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn check_survives_any_mutation_of_the_configuration(
        changes in prop::collection::vec(Change::strategy(), 1..6),
        variable in "PORTCULLIS_(SERVER|UPSTREAM__EXPENSES|IDENTITY|CLIENT__|[A-Z_é]{0,8})(__)?[A-Z_]{0,12}",
        value in "\\PC{0,12}",
    ) {
        let text = changes.into_iter().fold(whole_example(), |text, change| change.apply(&text));
        let operator = Operator::new().with("KEYCLOAK_CLIENT_SECRET", "s").with("CHAT_CLIENT_SECRET", "a-secret-of-thirty-two-characters").with(&variable, &value);
        let printed = operator.check(&text);
        match printed.outcome {
            Outcome::Done => prop_assert!(printed.out.starts_with("portcullis.toml: ok\n")),
            Outcome::Failed => prop_assert!(printed.err.contains("error: "), "{}", printed.err),
            Outcome::Misused => prop_assert!(false, "{}", printed.err),
        }
    }
}
