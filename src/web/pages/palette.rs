//! The operator's colour, made legible (WCAG 2.2, 1.4.3: a contrast of 4.5 for text).
//!
//! Buttons and links use the colour as given if it contrasts enough with the card. Otherwise it is darkened (in dark mode,
//! lightened) step by step until it does.

use crate::config::Color;

/// The contrast that text needs.
const ENOUGH: f64 = 4.5;

const WHITE: Color = Color { red: 255, green: 255, blue: 255 };
const BLACK: Color = Color { red: 0, green: 0, blue: 0 };
/// `--card` of the style sheet, in light and dark mode.
const LIGHT_CARD: Color = Color { red: 0xff, green: 0xfe, blue: 0xfb };
const DARK_CARD: Color = Color { red: 0x19, green: 0x1f, blue: 0x21 };

/// The CSS rules that replace the style sheet's colour.
pub(super) fn rules(color: Color) -> String {
    let light = variables(color, LIGHT_CARD, [BLACK, WHITE]);
    let dark = variables(color, DARK_CARD, [WHITE, BLACK]);
    format!(":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}")
}

/// The colour, moved towards `pole` until it contrasts with the card.
fn readable(color: Color, card: Color, pole: Color) -> Color {
    let steps = (0..=100).map(|percent| mix(color, pole, percent));
    steps.into_iter().find(|step| contrast(*step, card) >= ENOUGH).unwrap_or(pole)
}

/// A colour that contrasts with the card contrasts even more with the pole on the card's side, `on_key`: the text of a
/// button has that colour, and a button under the mouse moves away from it.
fn variables(color: Color, card: Color, [pole, on_key]: [Color; 2]) -> String {
    let key = readable(color, card, pole);
    let (over, tint) = (mix(key, pole, 18), mix(card, key, 10));
    format!("--key:{};--key-over:{};--on-key:{};--tint:{}", hex(key), hex(over), hex(on_key), hex(tint))
}

fn hex(Color { red, green, blue }: Color) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// `percent` of `to` in `from`.
fn mix(from: Color, to: Color, percent: u16) -> Color {
    let channel = |from: u8, to: u8| {
        let mixed = (u16::from(from) * (100 - percent) + u16::from(to) * percent) / 100;
        u8::try_from(mixed).unwrap_or(u8::MAX)
    };
    Color { red: channel(from.red, to.red), green: channel(from.green, to.green), blue: channel(from.blue, to.blue) }
}

/// The contrast ratio of two colours, from 1 to 21.
fn contrast(a: Color, b: Color) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// The relative luminance, as WCAG defines it.
fn luminance(Color { red, green, blue }: Color) -> f64 {
    let linear = |channel: u8| {
        let value = f64::from(channel) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BLACK, DARK_CARD, ENOUGH, LIGHT_CARD, WHITE, contrast, hex, readable, rules};
    use crate::config::Color;

    fn color(text: &str) -> Color {
        Color::parse(text).unwrap()
    }

    #[test]
    fn the_card_colours_are_those_of_the_style_sheet() {
        for card in [LIGHT_CARD, DARK_CARD] {
            assert!(super::super::branding::STYLE.contains(&format!("--card: {};", hex(card))), "{}", hex(card));
        }
    }

    #[test]
    fn a_legible_colour_is_kept_and_another_is_adjusted() {
        assert_eq!(readable(color("#1b5e4f"), LIGHT_CARD, BLACK), color("#1b5e4f"));
        assert_eq!(readable(color("#83d3b9"), DARK_CARD, WHITE), color("#83d3b9"));
        for (given, card, pole) in [("#ffee00", LIGHT_CARD, BLACK), ("#101010", DARK_CARD, WHITE)] {
            let moved = readable(color(given), card, pole);
            assert!(moved != color(given) && contrast(moved, card) >= ENOUGH, "{given}: {}", hex(moved));
        }
        assert!((contrast(WHITE, BLACK) - 21.0).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn buttons_and_links_are_legible_in_any_colour(red: u8, green: u8, blue: u8) {
            let rules = rules(Color { red, green, blue });
            let values = |name: &str| {
                let name = format!("{name}:");
                rules.match_indices(&name).map(|(at, _)| color(&rules[at + name.len()..][..7])).collect::<Vec<_>>()
            };
            let cards = [LIGHT_CARD, DARK_CARD];
            for (((key, on_key), over), card) in values("--key").iter().zip(values("--on-key")).zip(values("--key-over")).zip(cards) {
                prop_assert!(contrast(*key, card) >= ENOUGH);
                prop_assert!(contrast(*key, on_key) >= ENOUGH);
                prop_assert!(contrast(over, on_key) >= ENOUGH);
            }
            prop_assert_eq!(values("--tint").len(), 2);
        }
    }
}
