//! The first contact: at the start a broker that is away is waited for, and a refused connection
//! ends the command at once with what to do about it.

use std::time::{Duration, Instant};

use super::contact_state;
use super::metadata::read_metadata;
use super::native::{ClientKind, Native};
use super::settings::KafkaSettings;
use streams::error::{Error, Result};

/// A line is logged each time that no broker answered for this long.
const WAITING: Duration = Duration::from_secs(5);
/// The first question waits so long for its answer, each further one a second longer, up to
/// [`WAITING`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// No question waits for less.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// A connection that is cut off each time for so long is cut off on purpose: a broker that just
/// stops does it once. So long the other brokers of a list have time to answer, too, when one of
/// them refuses the connection.
const CUT_OFF: Duration = Duration::from_secs(5);

/// Waits until a broker answers; logs a line every 5 s or so that none does.
///
/// # Errors
/// [`Error::Fatal`] when none answered within `patience`, and at once when one side refuses the
/// connection to the only broker that is named; of several brokers the others have 5 s more to
/// answer.
pub fn wait_for_brokers(settings: &KafkaSettings, patience: Duration) -> Result<()> {
    let probe = Native::new(ClientKind::Probe, &settings.probe())?;
    let servers = &settings.bootstrap_servers;
    let is_one_broker = !servers.contains(',');
    let started = Instant::now();
    let mut wait = FIRST_WAIT;
    let mut told = Instant::now();
    let mut refused_since = None;
    loop {
        let left = patience.saturating_sub(started.elapsed());
        // No longer than until the next line is due.
        let until_line = WAITING.saturating_sub(told.elapsed()).max(SHORTEST_WAIT);
        let failure = match read_metadata(&probe, wait.min(left).min(until_line), |_| ()) {
            Ok(()) => {
                contact_state::set_made();
                return Ok(());
            }
            Err(failure) => failure,
        };
        let why = probe.last_failure().unwrap_or(failure.text);
        match probe.refusal() {
            Some((message, is_certain)) => {
                let since = *refused_since.get_or_insert_with(Instant::now);
                if (is_certain && is_one_broker) || since.elapsed() >= CUT_OFF {
                    return Err(Error::Fatal(format!("connect to Kafka: {message}")));
                }
            }
            None => refused_since = None,
        }
        if started.elapsed() >= patience {
            let waited = shown(patience);
            let todo = "start Kafka, or correct --bootstrap-servers";
            let text = format!("no Kafka broker at {servers} has answered within {waited} ({why}); {todo} [HS2001]");
            return Err(Error::Fatal(text));
        }
        // A refusal is not waited for: it is told at the end, which is near.
        if told.elapsed() >= WAITING && refused_since.is_none() {
            told = Instant::now();
            let waited = started.elapsed().as_secs();
            let patience = patience.as_secs();
            tracing::warn!(
                code = "HS2001",
                "no Kafka broker at {servers} has answered for {waited} s ({why}); giving up after {patience} s"
            );
        }
        wait = (wait + FIRST_WAIT).min(WAITING);
    }
}

/// A duration for people: `5 s`, `250 ms`.
fn shown(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}
