//! How SQL texts are declared, so that none can be left out of the tests that prepare and explain them all.

/// Declares the SQL texts of a file: a constant each, and under test the list of them.
macro_rules! sql {
    ($($(#[$doc:meta])* $vis:vis $name:ident = $text:expr;)+) => {
        $($(#[$doc])* $vis const $name: &str = $text;)+

        /// Every SQL text of this file, with its name.
        #[cfg(test)]
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}
