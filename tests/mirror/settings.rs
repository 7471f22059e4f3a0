//! What `run` says of itself: its settings are in the database once its mirror has started, and
//! those of the last start stand.

use crate::log::Log;
use crate::{settings, sink};
use memory::event::Limits;
use memory::settings::{DeletePolicy, ResolverSettings, Strategy, Unclocked};
use memory_operators::mirror::ResolverSettingsRow;
use mirror::Mirror;
use mirror::ports::Stop;
use std::sync::Arc;
use testkit::postgres::query;
use testkit::{Postgres, wait_until};

/// Starts a mirror that leaves these settings.
fn start(url: &str, resolver: ResolverSettings) -> Mirror {
    let startup_row = ResolverSettingsRow { resolver, limits: Limits::default(), max_output_bytes: 16 << 20 };
    let stop = Stop::default();
    let sink = sink(url, &stop).with_startup_row(Arc::new(startup_row));
    Mirror::start(Box::new(Log::new(1).reader([0])), sink, stop, settings()).unwrap()
}

const ALL: &str =
    "select application_id, strategy, overrides, delete_policy, trust_clocks, unclocked, max_clock_skew_ns,
    coalesce(tombstone_retention_ns::text, 'none'), max_value_bytes, max_clock_entries, max_contenders, max_output_bytes
    from memory_resolver_settings order by 1";
const DEFAULT: [&str; 12] = [
    "helixstream",
    "merge_all",
    "{}",
    "update_wins",
    "f",
    "by_time",
    "2000000000",
    "none",
    "8388608",
    "10000",
    "100",
    "16777216",
];

fn wait_for(url: &str, rows: &[[&str; 12]]) {
    let found = || crate::try_query(url, ALL).unwrap_or_default();
    wait_until("the settings", || found() == rows);
}

#[test]
fn the_settings_of_the_last_start_stand_and_are_what_functions_default_to() {
    let url = Postgres::shared().create_database();
    let mirror = start(&url, ResolverSettings::default());
    wait_for(&url, &[DEFAULT]);
    mirror.stop();
    let overrides = [("content", Strategy::LastWriteWins), ("metadata.l\"g", Strategy::VectorClock)];
    let changed = ResolverSettings {
        strategy: Strategy::Importance,
        overrides: overrides.map(|(path, strategy)| (path.to_owned(), strategy)).into(),
        delete_policy: DeletePolicy::DeleteWins,
        trust_clocks: true,
        unclocked: Unclocked::Concurrent,
        max_clock_skew_ns: 0,
        max_contenders: 7,
        ..ResolverSettings::default()
    };
    let mirror = start(&url, changed);
    let mut expected = DEFAULT;
    expected[1..7].copy_from_slice(&[
        "importance",
        r#"{"content": "last_write_wins", "metadata.l\"g": "vector_clock"}"#,
        "delete_wins",
        "t",
        "concurrent",
        "0",
    ]);
    expected[10] = "7";
    wait_for(&url, &[expected]);
    mirror.stop();
    let sql = "select strategy_of_all, overrides->>'content', update_wins, trusts_clocks, by_time, skew_ns
        from memory_settings(null, null, null, null, null)";
    assert_eq!(query(&url, sql), [["importance", "last_write_wins", "f", "t", "f", "0"]]);
    // Another application has a row of its own.
    let mirror = start(&url, ResolverSettings { application_id: "another".to_owned(), ..ResolverSettings::default() });
    let mut other = DEFAULT;
    other[0] = "another";
    wait_for(&url, &[other, expected]);
    mirror.stop();
}

#[test]
fn settings_are_written_once_postgres_is_there() {
    let postgres = Postgres::start();
    let url = postgres.create_database();
    postgres.stop();
    let mirror = start(&url, ResolverSettings::default());
    wait_until("failures", || mirror.status().figures().failures > 1);
    postgres.restart();
    wait_for(&url, &[DEFAULT]);
    mirror.stop();
}

#[test]
fn applications_that_start_together_leave_one_row_each() {
    let url = Postgres::shared().create_database();
    let id = |n: usize| ResolverSettings { application_id: format!("a{}", n % 2), ..ResolverSettings::default() };
    let mirrors: Vec<Mirror> = (0..6).map(|n| start(&url, id(n))).collect();
    let ids = || crate::try_query(&url, "select application_id from memory_resolver_settings order by 1");
    wait_until("both rows", || ids().is_ok_and(|ids| ids == [["a0"], ["a1"]]));
    wait_until("all to own their partition in turn", || {
        query(&url, "select writer_epoch >= 6 from memory_event_checkpoints") == [["t"]]
    });
    assert_eq!(ids().unwrap(), [["a0"], ["a1"]]);
    assert!(mirrors.iter().all(|mirror| mirror.status().figures().failures == 0));
    mirrors.into_iter().for_each(Mirror::stop);
}
