//! kill -9 of PostgreSQL while the mirror stands at a named point of its work: what was not
//! committed is written again, once.

use crate::log::Log;
use crate::outputs::{HOLD, POINTS};
use crate::{events, start, wait_for_log};
use testkit::postgres::{query, try_query};
use testkit::{Postgres, wait_until};

/// It takes partitions over and has not got the answer yet.
const CLAIM: &str = "create trigger hold before update of writer_epoch on memory_event_checkpoints
    for each row execute function hold()";

/// Its rows are on their way.
const ROWS: &str = "create trigger hold after insert on memory_events for each row execute function hold()";

#[test]
fn a_postgres_killed_at_each_point_of_the_mirrors_work_has_each_record_once() {
    let postgres = Postgres::start();
    for point in [CLAIM, ROWS].into_iter().chain(POINTS) {
        let (log, url) = (Log::new(3), postgres.create_database());
        log.append(events(30, 3));
        let first = start(log.reader(0..3), &url);
        wait_for_log(&url, &log);
        first.stop();
        query(&url, HOLD);
        query(&url, point);
        query(&url, "insert into held default values");
        // The test server commits asynchronously: what the test itself has set up must be on its
        // disk.
        query(&url, "checkpoint");
        log.append(events(30, 3));
        let mirror = start(log.reader(0..3), &url);
        let standing = "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
        wait_until("the mirror to stand at the point", || query(&url, standing) == [["1"]]);
        postgres.kill_hard();
        wait_until("the mirror to notice", || mirror.status().figures().down);
        postgres.restart();
        wait_until("the hold to be gone", || try_query(&url, "delete from held").is_ok());
        wait_for_log(&url, &log);
        mirror.stop();
    }
}
