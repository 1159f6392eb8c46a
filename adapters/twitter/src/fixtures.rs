//! Where the recorded payloads are: beside the repository, or where `SWITCHBOARD_FIXTURES` says.

use std::path::PathBuf;

fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("SWITCHBOARD_FIXTURES") {
        return folder.into();
    }
    let start = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    start
        .ancestors()
        .map(|folder| folder.join("shared/fixtures"))
        .find(|folder| folder.is_dir())
        .expect("no folder shared/fixtures above this crate: set SWITCHBOARD_FIXTURES")
}

pub(crate) fn bytes(file: &str) -> Vec<u8> {
    let path = folder().join(file);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn json(file: &str) -> serde_json::Value {
    serde_json::from_slice(&bytes(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The published vectors of a scheme; there must be some.
pub(crate) fn vectors(scheme: &str) -> Vec<serde_json::Value> {
    let all = json("vectors.json")["vectors"].as_array().expect("a list").clone();
    let found: Vec<_> = all.into_iter().filter(|vector| vector["scheme"] == scheme).collect();
    assert!(!found.is_empty(), "no vector of {scheme}");
    found
}
