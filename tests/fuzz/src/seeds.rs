//! Where trying begins: recorded payloads, and lines written by hand for the channels that have none.

use std::path::{Path, PathBuf};

/// The inputs that a target begins with, in an order that is always the same.
///
/// # Panics
/// Without the recorded payloads of a target that has some.
#[must_use]
pub fn seeds(name: &str) -> Vec<Vec<u8>> {
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    if written.exists() {
        let lines = std::fs::read_to_string(&written).unwrap_or_else(|e| panic!("{}: {e}", written.display()));
        return lines.lines().map(|line| line.as_bytes().to_vec()).collect();
    }
    let folder = fixtures().join(match name {
        "mail" => "email",
        "twitter" | "twitter-tokens" => "x",
        other => other,
    });
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).collect()
}

fn fixtures() -> PathBuf {
    if let Some(folder) = std::env::var_os("SWITCHBOARD_FIXTURES") {
        return folder.into();
    }
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("shared/fixtures"));
    let found = above.filter(|folder| folder.is_dir()).last();
    found.unwrap_or_else(|| panic!("no folder shared/fixtures above this crate: set SWITCHBOARD_FIXTURES"))
}
