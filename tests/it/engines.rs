//! Tests of the whole program that run on both engines.

use crate::storage::PostgresPlace;
use crate::support::gate::remember_elsewhere;

/// Tests of this file, which run on SQLite, that run on PostgreSQL, too.
macro_rules! also_on_postgres {
    ($($test:ident),+ $(,)?) => {
        mod on_postgres {
            $(
                #[test]
                fn $test() {
                    $crate::engines::on_postgres(super::$test);
                }
            )+
        }
    };
}
pub(crate) use also_on_postgres;

/// Runs a test with every gate that it makes on PostgreSQL. A test has a thread of its own.
pub fn on_postgres(test: fn()) {
    remember_elsewhere(|| {
        let place = PostgresPlace::new();
        (place.settings(), Box::new(place))
    });
    test();
}
