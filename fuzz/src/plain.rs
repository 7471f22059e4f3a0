//! The plain form of a target: the files of its corpus, and inputs made from seeds.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use testkit::Random;

use crate::mutation;

/// The variable that sets how many inputs are made, in place of [`Target::inputs`].
const INPUTS: &str = "FUZZ_INPUTS";

/// A target and the inputs that its plain form makes.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name of its folders in `fuzz/corpus` and `fuzz/artifacts`.
    pub name: &'static str,
    /// Panics where a property does not hold for these bytes; returns whether the code under test
    /// accepted them.
    pub check: fn(&[u8]) -> bool,
    /// Makes an input that the code under test is likely to accept.
    pub generate: fn(&mut Random) -> Vec<u8>,
    /// Pieces of text or bytes that mean something in this format; mutation inserts them.
    pub dictionary: &'static [&'static [u8]],
    /// Folders of the repository whose files are samples too.
    pub shared: &'static [&'static str],
    /// How many inputs are made in one run.
    pub inputs: u64,
}

/// A file of a corpus.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Where it is.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The corpus of a target: the files of its folder in `fuzz/corpus`, by name, then those of the
/// folders that it shares.
///
/// # Panics
/// A folder cannot be read, or is empty.
#[must_use]
pub fn corpus(target: &Target) -> Vec<Sample> {
    let shared = target.shared.iter().map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder));
    std::iter::once(folder("corpus", target.name)).chain(shared).flat_map(|folder| samples(&folder)).collect()
}

fn samples(folder: &Path) -> Vec<Sample> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap_or_else(|error| panic!("read {}: {error}", folder.display())).path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no file", folder.display());
    let sample = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        Sample { path, bytes }
    };
    paths.into_iter().map(sample).collect()
}

/// Runs a target on its whole corpus, then on inputs made from new seeds: half of them generated,
/// half of them mutated from the corpus. `SEED=n` replays a run, and `FUZZ_INPUTS=n` sets the
/// number of inputs.
///
/// # Panics
/// A property does not hold: the message before the panic names the file or the seed. Or fewer than
/// one input in fifty was accepted, or was refused, so that the run has checked nothing of that
/// kind.
pub fn run(target: &Target) {
    let samples = corpus(target);
    for sample in &samples {
        let _running = Running { input: &sample.bytes, path: sample.path.clone() };
        (target.check)(&sample.bytes);
    }
    let inputs = inputs(target);
    let mut accepted = 0;
    let mut refused = 0;
    for seed in testkit::seeds(inputs) {
        let input = input(target, &samples, &mut Random::new(seed));
        let path = folder("artifacts", target.name).join(format!("seed-{seed}"));
        let _running = Running { input: &input, path };
        *if (target.check)(&input) { &mut accepted } else { &mut refused } += 1;
    }
    let enough = inputs / 50;
    assert!(
        accepted >= enough && refused >= enough,
        "{}: {accepted} inputs were accepted and {refused} refused; both should be {enough} at least",
        target.name
    );
}

fn inputs(target: &Target) -> u64 {
    let Ok(text) = env::var(INPUTS) else { return target.inputs };
    text.trim().parse().unwrap_or_else(|error| panic!("{INPUTS}={text} is not a number: {error}"))
}

fn input(target: &Target, samples: &[Sample], random: &mut Random) -> Vec<u8> {
    if random.one_in(2) {
        let input = (target.generate)(random);
        return if random.one_in(3) { mutation::mutate(random, input, target.dictionary) } else { input };
    }
    let mut input = samples[random.below(samples.len())].bytes.clone();
    if random.one_in(4) {
        let other = random.below(samples.len());
        input = mutation::splice(random, &input, &samples[other].bytes);
    }
    mutation::mutate(random, input, target.dictionary)
}

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

/// An input that is being checked. Where the check panics, it names the input, and keeps one that
/// was made from a seed as a file.
struct Running<'a> {
    input: &'a [u8],
    path: PathBuf,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let path = &self.path;
        if !path.exists() {
            let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, self.input));
            if let Err(error) = written {
                eprintln!("the failing input could not be written to {}: {error}", path.display());
            }
        }
        eprintln!("the failing input is {}: {}", path.display(), self.input.escape_ascii());
    }
}
