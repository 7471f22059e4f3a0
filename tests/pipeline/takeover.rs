//! Tasks are taken over from an instance that was killed with a transaction open.

use crate::events::Events;
use crate::expect;
use crate::trial::Trial;

/// The transaction stays open for longer than any test waits, unless somebody ends it.
const SETTINGS: [&str; 7] =
    ["--threads", "1", "--no-mirror", "--set", "session_timeout=6s", "--set", "transaction_timeout=10m"];

#[test]
fn who_takes_over_ends_the_transaction_of_an_instance_that_was_killed() {
    let trial = Trial::new("takeover", &[]);
    let mut events = Events::new(9, 40);
    trial.feed(&events.take(300));
    // Offsets that are sent and not committed are unstable, and the records before them are behind
    // the last stable offset.
    trial.start_killed_at("commit:3", "first", &SETTINGS).wait_for_kill();
    trial.feed(&events.take(300));
    let mut second = trial.start("second", &SETTINGS);
    trial.wait_until_done(&mut [&mut second]);
    expect::assert_outputs(&trial);
    let log = second.stop().stderr;
    assert!(log.contains("may have left open is ended"), "{log}");
    assert!(!log.contains("HS1047"), "{log}");
}
