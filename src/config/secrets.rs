//! Secrets, and where they are found. No message here holds a value.

use super::document::{Node, Value};
use super::problem::Place;
use super::reader::{Reader, Section};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use switchboard_adapter_sdk::Secret;

/// A secret's file longer than this is no secret.
const MAX_SECRET: u64 = 64 * 1024;
const WRITE: &str = "write `{ env = \"NAME\" }`, `{ file = \"path\" }` or `{ credential = \"name\" }`";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Line,
    Lines,
}

impl Section {
    pub fn secret(&mut self, r: &mut Reader<'_>, key: &'static str) -> Option<Secret> {
        let node = self.take(key)?;
        let name = self.name(key);
        resolve(r, &name, node, Shape::Line)
    }

    /// A PEM text, which has lines.
    pub fn pem(&mut self, r: &mut Reader<'_>, key: &'static str) -> Option<Secret> {
        let node = self.take(key)?;
        let name = self.name(key);
        resolve(r, &name, node, Shape::Lines)
    }

    /// As [`Section::secret`]; missing is an error.
    pub fn required_secret(&mut self, r: &mut Reader<'_>, key: &'static str) -> Option<Secret> {
        self.need(r, key, "{ env = \"NAME\" }");
        self.secret(r, key)
    }

    /// One secret, or a list of them while it changes from one to the other; none is an error.
    pub fn required_secrets(&mut self, r: &mut Reader<'_>, key: &'static str) -> Vec<Secret> {
        self.need(r, key, "{ env = \"NAME\" }");
        self.secrets(r, key)
    }

    /// A table from names that the operator chooses to secrets.
    pub fn named_secrets(&mut self, r: &mut Reader<'_>, key: &'static str) -> Option<BTreeMap<String, Secret>> {
        let node = self.take(key)?;
        let Value::Table(named) = node.value else {
            r.error(
                &node.place,
                format!("{} is {}: write a table of names and secrets", self.name(key), node.value.kind()),
            );
            return None;
        };
        let resolved = named.into_iter().map(|(name, node)| {
            let shown = self.name(&format!("{key}.{name}"));
            // What cannot be resolved was said; that it is named was seen, so nobody else misses it.
            let secret = resolve(r, &shown, node, Shape::Line).unwrap_or_else(|| Secret::new(""));
            (name, secret)
        });
        Some(resolved.collect())
    }

    /// One secret, a list of them, or none.
    pub fn secrets(&mut self, r: &mut Reader<'_>, key: &'static str) -> Vec<Secret> {
        let Some(node) = self.take(key) else { return vec![] };
        let name = self.name(key);
        match node.value {
            Value::Array(items) if items.is_empty() => {
                r.error(&node.place, format!("{name} is an empty list: {WRITE}"));
                vec![]
            }
            Value::Array(items) => items.into_iter().filter_map(|item| resolve(r, &name, item, Shape::Line)).collect(),
            value => resolve(r, &name, Node { value, ..node }, Shape::Line).into_iter().collect(),
        }
    }
}

fn resolve(r: &mut Reader<'_>, name: &str, node: Node, shape: Shape) -> Option<Secret> {
    let (place, found) = match node.value {
        // The environment is no place that others read, as the file may be.
        Value::Text(text) => (node.place, Ok(text)),
        Value::String(text) => {
            r.warn(&node.place, format!("{name} is a literal secret in the configuration: {WRITE}"));
            (node.place, Ok(text))
        }
        Value::Table(keys) => return from_source(r, name, &node.place, keys, shape),
        other => (node.place, Err(format!("is {}: {WRITE}", other.kind()))),
    };
    settle(r, name, &place, found, shape)
}

fn from_source(
    r: &mut Reader<'_>,
    name: &str,
    place: &Place,
    keys: BTreeMap<String, Node>,
    shape: Shape,
) -> Option<Secret> {
    let mut keys = keys.into_iter();
    let (Some((source, node)), None) = (keys.next(), keys.next()) else {
        r.error(place, format!("{name} must name one source: {WRITE}"));
        return None;
    };
    let (Value::String(from) | Value::Text(from)) = node.value else {
        r.error(&node.place, format!("{name}: `{source}` is {}: write text in quotes", node.value.kind()));
        return None;
    };
    let file = (source == "file").then(|| r.path(&from));
    let found = match source.as_str() {
        "env" => match r.env.get(&from) {
            Ok(Some(value)) => Ok(value.to_owned()),
            Ok(None) => Err(format!("environment variable `{from}` is not set")),
            Err(e) => Err(e),
        },
        "file" => from_file(r, name, &node.place, &r.path(&from)),
        "credential" => from_credential(r, &from),
        _ => Err(format!("unknown source `{source}`: {WRITE}")),
    };
    let secret = settle(r, name, &node.place, found, shape)?;
    Some(match file {
        // Read again later, it must be found from wherever the daemon stands then.
        Some(file) => secret.of_file(std::path::absolute(&file).unwrap_or(file)),
        None => secret,
    })
}

fn settle(
    r: &mut Reader<'_>,
    name: &str,
    place: &Place,
    found: Result<String, String>,
    shape: Shape,
) -> Option<Secret> {
    match found {
        Ok(value) if value.is_empty() => r.error(place, format!("{name}: the secret is empty")),
        Ok(value) if shape == Shape::Line && value.contains(['\n', '\r', '\0']) => {
            r.error(place, format!("{name}: the secret has more than one line"))
        }
        Ok(value) => return Some(Secret::new(value)),
        Err(e) if e.starts_with("is ") => r.error(place, format!("{name} {e}")),
        Err(e) => r.error(place, format!("{name}: {e}")),
    }
    None
}

fn from_file(r: &mut Reader<'_>, name: &str, place: &Place, path: &Path) -> Result<String, String> {
    if readable_by_all(path) {
        r.warn(
            place,
            format!("{name}: `{}` can be read by every user of this machine: run `chmod 600` on it", path.display()),
        );
    }
    read_secret(path)
}

/// `$CREDENTIALS_DIRECTORY/<name>`, where systemd puts what `LoadCredential=` names.
fn from_credential(r: &Reader<'_>, name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!("`{name}` is not the name of a credential"));
    }
    let directory = r.env.get("CREDENTIALS_DIRECTORY")?;
    let directory = directory.ok_or_else(|| format!("credential `{name}` cannot be read: `CREDENTIALS_DIRECTORY` is not set; start under systemd with `LoadCredential={name}:…`"))?;
    read_secret(&Path::new(directory).join(name))
}

/// The file's text without the line end that editors add.
pub(super) fn read_secret(path: &Path) -> Result<String, String> {
    let cannot = |e: &dyn std::fmt::Display| format!("`{}` cannot be read: {e}", path.display());
    let file = std::fs::File::open(path).map_err(|e| cannot(&e))?;
    let mut text = String::new();
    file.take(MAX_SECRET + 1).read_to_string(&mut text).map_err(|e| cannot(&e))?;
    if text.len() as u64 > MAX_SECRET {
        return Err(cannot(&"longer than 64 KiB"));
    }
    let end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(end);
    Ok(text)
}

#[cfg(unix)]
fn readable_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn readable_by_all(_path: &Path) -> bool {
    false
}
