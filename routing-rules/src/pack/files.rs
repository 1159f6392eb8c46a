//! Reading a pack's directory. The only I/O of this crate, and nothing of the core calls it.

use std::fs;
use std::io;
use std::path::Path;

/// Directories within each other.
const MAX_DEPTH: usize = 8;
/// More than a pack may hold is not read from disk either.
const MAX_FILES: usize = 1_000;
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// The YAML files under a directory, or a single file, as (path with `/` from the directory, bytes), in byte order of the
/// path. Hidden files are left alone.
///
/// # Errors
/// With the path that could not be read.
pub fn read_dir(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    if path.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, read(path)?));
        return Ok(files);
    }
    walk(path, "", 0, &mut files)?;
    files.sort();
    Ok(files)
}

fn walk(dir: &Path, prefix: &str, depth: usize, files: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", dir.display()));
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("{}: directories are nested too deeply", dir.display())));
    }
    #[expect(clippy::disallowed_methods, reason = "a pack's directory is read before anything is decided")]
    let entries = fs::read_dir(dir).map_err(named)?;
    for entry in entries {
        let entry = entry.map_err(named)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        let relative = format!("{prefix}{name}");
        if path.is_dir() {
            walk(&path, &format!("{relative}/"), depth + 1, files)?;
        } else if super::load::is_yaml(&name) {
            if files.len() >= MAX_FILES {
                return Err(io::Error::other(format!("{}: more than {MAX_FILES} files", dir.display())));
            }
            files.push((relative, read(&path)?));
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a pack's files are read before anything is decided")]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    if fs::metadata(path).map_err(named)?.len() > MAX_FILE {
        return Err(io::Error::other(format!("{}: larger than {MAX_FILE} bytes", path.display())));
    }
    fs::read(path).map_err(named)
}
