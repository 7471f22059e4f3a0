//! Programs of Kafka's jars: the command that runs a class of them in a JVM.

use super::process::Process;
use super::repo_path;
use rustix::process::Signal;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The folder of Kafka's jars, made by `scripts/kafka-jars`.
pub fn libs() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let libs = cache.expect("HOME is set").join("helixstream/kafka/libs");
    assert!(libs.is_dir(), "Kafka's jars are not in {}: run scripts/kafka-jars (make test does)", libs.display());
    libs
}

/// A command that runs a class of Kafka's jars; arguments are still to be added.
pub fn java(heap: &str, class: &str) -> Command {
    java_with(heap, &[], class)
}

/// The same with more arguments for the JVM.
pub fn java_with(heap: &str, jvm: &[String], class: &str) -> Command {
    let mut command = Command::new("java");
    let log4j = repo_path("scripts/kafka-log4j2.properties");
    command.arg(format!("-Xmx{heap}")).args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    // The archive of classes that `scripts/kafka-classes` makes halves the time of a start. Where
    // the JVM cannot use it, it loads the classes one by one, and need not say so.
    let archive = libs().join(".classes.jsa");
    if archive.is_file() {
        command.arg(format!("-XX:SharedArchiveFile={}", archive.display())).arg("-Xlog:cds*=off");
    }
    command.arg(format!("-Dlog4j2.configurationFile={}", log4j.display()));
    // Of an argument that is given twice the JVM takes the last one.
    command.args(jvm);
    command.arg("-cp").arg(libs().join("*")).arg(class);
    command
}

/// Runs a class with arguments to its end and gives its standard output; panics with its standard
/// error when it fails.
pub fn run(class: &str, arguments: &[&str]) -> String {
    let mut command = java("256m", class);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(command, Signal::KILL).expect("start java");
    let mut errors = process.child().stderr.take().expect("standard error is piped");
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text).unwrap_or_else(|error| error.to_string())
    });
    let mut output = String::new();
    process.child().stdout.take().expect("standard output is piped").read_to_string(&mut output).unwrap();
    let status = process.wait(Duration::from_secs(60)).expect("a tool ends after its output");
    let errors = errors.join().unwrap();
    assert!(status.success(), "{class} {arguments:?} ended with {status}:\n{output}\n{errors}");
    output
}
