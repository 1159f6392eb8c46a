//! Where the recorded mails are: beside the repository, or where `SWITCHBOARD_FIXTURES` says.

use serde_json::Value;
use std::path::PathBuf;

pub(crate) fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("SWITCHBOARD_FIXTURES") {
        return PathBuf::from(folder).join("email");
    }
    let start = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    start
        .ancestors()
        .map(|folder| folder.join("shared/fixtures/email"))
        .find(|folder| folder.is_dir())
        .expect("no folder shared/fixtures/email above this crate: set SWITCHBOARD_FIXTURES")
}

pub(crate) fn bytes(file: &str) -> Vec<u8> {
    let path = folder().join(file);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn json(file: &str) -> Value {
    serde_json::from_slice(&bytes(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The names of the files in a folder of the corpus that end so, in order.
pub(crate) fn names(under: &str, end: &str) -> Vec<String> {
    let folder = folder().join(under);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).filter(|n| n.ends_with(end)).collect();
    names.sort();
    assert!(!names.is_empty(), "{}: no file *{end}", folder.display());
    names
}

/// Does what reads its input once on the slowest machine in far less than these seconds, and in hours if it does not.
pub(crate) fn in_time<T>(what: &str, seconds: u64, work: impl FnOnce() -> T) -> T {
    let begun = std::time::Instant::now();
    let done = work();
    let took = begun.elapsed();
    assert!(took.as_secs() < seconds, "{what}: {took:?}");
    done
}
