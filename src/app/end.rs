//! Ends a process whose libraries have threads of their own. Their cleanup, when they are closed or
//! in the C library's exit handlers, may wait for a broker that is away; none of it is worth
//! waiting for.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use super::signals::wait_for;

/// How long the closing of clients and stores is waited for.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);
/// How long the process may take to end once it has said all that it has to say.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

/// Closes clients and stores, by dropping them on a thread of their own. One that does not come to
/// its end within 3 s is left to the end of the process: what is committed is committed, and a
/// store that is not closed is opened again as after a kill. Says whether all was closed.
pub fn close(held: impl Send + 'static) -> bool {
    let thread = thread::Builder::new().name("close".to_owned()).spawn(move || drop(held));
    // Without a thread what it was given is dropped already.
    let is_closed = thread.map_or(true, |thread| wait_for(&thread, Instant::now() + CLOSE_LIMIT));
    if !is_closed {
        tracing::info!(
            "a Kafka client or a store has not been closed within {} s; the process ends without waiting for it, and nothing that was \
             committed is lost",
            CLOSE_LIMIT.as_secs()
        );
    }
    is_closed
}

/// Ends the process with this code when its own end takes longer than 2 s: exit handlers of
/// librdkafka and OpenSSL may wait for threads that wait for a broker.
pub fn within_limit(code: u8) -> ExitCode {
    let watchdog = move || {
        thread::sleep(EXIT_LIMIT);
        // SAFETY: ends the process without running any more code of it. All output is written by
        // now.
        unsafe { libc::_exit(i32::from(code)) }
    };
    // Where the system gives no thread the process ends as it can.
    let _ = thread::Builder::new().name("exit".to_owned()).spawn(watchdog);
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_does_not_close_is_not_waited_for_for_ever() {
        struct Waits(std::sync::mpsc::Receiver<()>);
        impl Drop for Waits {
            fn drop(&mut self) {
                let _ = self.0.recv();
            }
        }
        let (keeps, waits) = channel();
        assert!(!close(Waits(waits)));
        drop(keeps);
        let (keeps, waits) = channel();
        drop(keeps);
        assert!(close(Waits(waits)), "its sender is gone, so it does not wait");
    }

    #[test]
    fn a_process_whose_exit_handler_hangs_ends_with_its_code() {
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--ignored", "--exact", "app::end::tests::helper_whose_exit_handler_hangs"]);
        let output = process.output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
    }

    extern "C" fn hang() {
        loop {
            thread::sleep(Duration::from_secs(60));
        }
    }

    #[test]
    #[ignore = "not a test: the process that the test above starts"]
    fn helper_whose_exit_handler_hangs() {
        // SAFETY: registers a function that takes nothing.
        assert_eq!(unsafe { libc::atexit(hang) }, 0);
        let _ = within_limit(7);
        std::process::exit(7);
    }
}
