//! What is written: a TOML file with the place of every key, and the environment's overrides laid over it.
//!
//! The `config` crate stops at its first error, keeps no lines and retypes values (a secret `007` becomes `7`), so that the
//! file is read with `toml` alone, whose parser keeps every position and goes on after an error.

use super::problem::{Place, Problem, Severity, nearest};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// A configuration file longer than this is refused unread.
pub const MAX_FILE: u64 = 1024 * 1024;
const PREFIX: &str = "SWITCHBOARD__";
/// Tables whose keys are ids that the operator chose.
const ID_TABLES: [&str; 3] = ["channels", "desks", "admin.tokens"];
const SECRET_SOURCES: [&str; 3] = ["env", "file", "credential"];

/// The process's environment, or a test's.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    vars: BTreeMap<String, String>,
    /// Names of variables whose value is not text.
    unreadable: Vec<String>,
}

impl Environment {
    /// The environment that this process was started with.
    #[must_use]
    pub fn of_process() -> Environment {
        let mut env = Environment::default();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            match value.into_string() {
                Ok(value) => {
                    env.vars.insert(name, value);
                }
                Err(_) => env.unreadable.push(name),
            }
        }
        env
    }

    /// The value of a variable; `None` when it is not set.
    ///
    /// # Errors
    /// When its value is not UTF-8.
    pub fn get(&self, name: &str) -> Result<Option<&str>, String> {
        if self.unreadable.iter().any(|n| n == name) {
            return Err(format!("environment variable `{name}` does not hold UTF-8"));
        }
        Ok(self.vars.get(name).map(String::as_str))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(iter: T) -> Environment {
        Environment { vars: iter.into_iter().map(|(k, v)| (k.into(), v.into())).collect(), unreadable: vec![] }
    }
}

#[derive(Clone)]
pub(super) enum Value {
    String(String),
    /// A number, a boolean or a date, as it is written.
    Integer(String),
    Float(String),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
    /// From the environment: it takes the type of its field.
    Text(String),
}

impl Value {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::String(_) | Value::Text(_) => "text",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// A value with its place: of its key where it has one, and of itself.
#[derive(Clone)]
pub(super) struct Node {
    pub key: Place,
    pub place: Place,
    pub value: Value,
}

/// Positions of a text's lines.
struct Lines<'a> {
    text: &'a str,
    file: Arc<PathBuf>,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str, file: Arc<PathBuf>) -> Lines<'a> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Lines { text, file, starts }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|s| *s <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(1, |s| s.chars().count() + 1);
        Place::File { file: self.file.clone(), line, column }
    }

    fn slice(&self, span: std::ops::Range<usize>) -> String {
        self.text.get(span).unwrap_or_default().to_owned()
    }
}

/// Reads TOML text; every syntax error becomes a problem, and what could be read is returned.
pub(super) fn parse(text: &str, file: &Arc<PathBuf>, problems: &mut Vec<Problem>) -> Node {
    let lines = Lines::new(text, file.clone());
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = lines.place(error.span().map_or(0, |s| s.start));
        problems.push(Problem {
            place,
            severity: Severity::Error,
            message: format!("not TOML: {}", one_line(error.message())),
        });
    }
    let start = lines.place(0);
    Node { key: start.clone(), place: start, value: Value::Table(read_table(table.get_ref(), &lines)) }
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(", ")
}

fn read_table(table: &DeTable<'_>, lines: &Lines<'_>) -> BTreeMap<String, Node> {
    table
        .iter()
        .map(|(key, value)| {
            let mut node = read_value(value.get_ref(), value.span(), lines);
            node.key = lines.place(key.span().start);
            if matches!(node.value, Value::Table(_)) {
                node.place = node.key.clone();
            }
            (key.get_ref().to_string(), node)
        })
        .collect()
}

fn read_value(value: &DeValue<'_>, span: std::ops::Range<usize>, lines: &Lines<'_>) -> Node {
    let place = lines.place(span.start);
    let value = match value {
        DeValue::String(s) => Value::String(s.to_string()),
        DeValue::Integer(_) => Value::Integer(lines.slice(span)),
        DeValue::Float(_) => Value::Float(lines.slice(span)),
        DeValue::Boolean(b) => Value::Boolean(*b),
        DeValue::Datetime(_) => Value::Datetime(lines.slice(span)),
        DeValue::Array(items) => Value::Array(items.iter().map(|i| read_value(i.get_ref(), i.span(), lines)).collect()),
        DeValue::Table(t) => Value::Table(read_table(t, lines)),
    };
    Node { key: place.clone(), place, value }
}

/// Lays `SWITCHBOARD__…` over the file.
pub(super) fn overlay(root: &mut Node, env: &Environment, problems: &mut Vec<Problem>) {
    let mut fail = |name: &str, message: String| {
        problems.push(Problem { place: Place::Env(name.to_owned()), severity: Severity::Error, message });
    };
    for name in env.unreadable.iter().filter(|n| n.starts_with(PREFIX)) {
        fail(name, "does not hold UTF-8".into());
    }
    for (name, value) in &env.vars {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let segments: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        if segments.iter().any(String::is_empty) {
            fail(name, "names no key: write `SWITCHBOARD__HTTP__LISTEN` for `http.listen`".into());
        } else if let Err(message) = set(root, "", &segments, name, value) {
            fail(name, message);
        }
    }
}

fn set(node: &mut Node, path: &str, segments: &[String], name: &str, value: &str) -> Result<(), String> {
    let [segment, rest @ ..] = segments else { return Ok(()) };
    let place = Place::Env(name.to_owned());
    let Value::Table(table) = &mut node.value else {
        return Err(format!("`{path}` is not a table and has no key `{segment}`"));
    };
    let by_id = ID_TABLES.contains(&path);
    let key = if by_id {
        let found = table.keys().find(|k| k.replace('-', "_") == *segment);
        found.cloned().ok_or_else(|| unknown_id(path, segment, table.keys().map(String::as_str)))?
    } else {
        segment.clone()
    };
    let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
    if rest.is_empty() {
        let node = Node { key: place.clone(), place, value: Value::Text(value.to_owned()) };
        table.insert(key, node);
        return Ok(());
    }
    let replaces_secret = matches!(rest, [last] if SECRET_SOURCES.contains(&last.as_str()));
    let next = table.entry(key).or_insert_with(|| Node {
        key: place.clone(),
        place: place.clone(),
        value: Value::Table(BTreeMap::new()),
    });
    if replaces_secret && is_secret(&next.value) {
        *next = Node { key: place.clone(), place, value: Value::Table(BTreeMap::new()) };
    }
    set(next, &below, rest, name, value)
}

/// A secret as it is written: a literal, or where it is found. Another source in the environment replaces it whole.
fn is_secret(value: &Value) -> bool {
    match value {
        Value::Table(t) => t.keys().all(|k| SECRET_SOURCES.contains(&k.as_str())),
        Value::String(_) => true,
        _ => false,
    }
}

fn unknown_id<'a>(path: &str, segment: &str, ids: impl Iterator<Item = &'a str> + Clone) -> String {
    let wanted = segment.replace('_', "-");
    let hint = match nearest(&wanted, ids.clone()) {
        Some(id) => format!("did you mean `{id}`?"),
        None => format!("the environment overrides what is written, so write `[{path}.{wanted}]` in the file first"),
    };
    format!("there is no `{path}.{wanted}`: {hint}")
}
