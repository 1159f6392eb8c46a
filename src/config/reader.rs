//! Reads the written form key by key, and collects every problem instead of stopping at the first.

use super::document::{Environment, Node, Value};
use super::problem::{Place, Problem, Severity, nearest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What is wrong so far, and what secrets and paths are resolved against.
pub(super) struct Reader<'e> {
    pub problems: Vec<Problem>,
    pub env: &'e Environment,
    /// Relative paths start here: the configuration file's directory.
    pub base: PathBuf,
    /// Every key that was asked for, by the path of its table with `*` for ids, so that the schema can be compared.
    pub asked: BTreeMap<String, BTreeSet<&'static str>>,
    /// The ids below tables of ids that could be read, as `desks`, also those of which something is wrong.
    pub ids: BTreeMap<&'static str, BTreeSet<String>>,
}

impl<'e> Reader<'e> {
    pub fn new(env: &'e Environment, base: PathBuf) -> Reader<'e> {
        Reader { problems: vec![], env, base, asked: BTreeMap::new(), ids: BTreeMap::new() }
    }

    pub fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.problems.push(Problem { place: place.clone(), severity: Severity::Error, message: message.into() });
    }

    /// How many errors there are so far.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|p| p.severity == Severity::Error).count()
    }

    pub fn warn(&mut self, place: &Place, message: impl Into<String>) {
        self.problems.push(Problem { place: place.clone(), severity: Severity::Warning, message: message.into() });
    }

    /// A path of the configuration, from the configuration file's directory.
    pub fn path(&self, written: &str) -> PathBuf {
        self.base.join(Path::new(written))
    }
}

/// A value with the place where it is written.
pub(super) struct Placed<T> {
    pub value: T,
    pub place: Place,
}

/// One table while it is read. What is left at [`Section::finish`] is unknown.
pub(super) struct Section {
    /// `channels.support-sms`, for messages.
    pub path: String,
    /// `channels.*.sms`, for the schema.
    pattern: String,
    pub place: Place,
    keys: BTreeMap<String, Node>,
    known: BTreeSet<&'static str>,
}

impl Section {
    pub fn root(node: Node) -> Section {
        let keys = if let Value::Table(keys) = node.value { keys } else { BTreeMap::new() };
        Section { path: String::new(), pattern: String::new(), place: node.place, keys, known: BTreeSet::new() }
    }

    /// `table.key`, as messages name it.
    pub fn name(&self, key: &str) -> String {
        if self.path.is_empty() { format!("`{key}`") } else { format!("`{}.{key}`", self.path) }
    }

    pub fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.insert(key);
        self.keys.remove(key)
    }

    /// Text that `parse` understands.
    pub fn placed<T>(
        &mut self,
        r: &mut Reader<'_>,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        let node = self.take(key)?;
        match text_of(&node, &parse).and_then(&parse) {
            Ok(value) => Some(Placed { value, place: node.place }),
            Err(e) => {
                r.error(&node.place, about(&self.name(key), &e));
                None
            }
        }
    }

    pub fn get<T>(
        &mut self,
        r: &mut Reader<'_>,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.placed(r, key, parse).map(|p| p.value)
    }

    /// As [`Section::get`]; missing is an error that says what to write.
    pub fn required<T>(
        &mut self,
        r: &mut Reader<'_>,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.need(r, key, example);
        self.get(r, key, parse)
    }

    /// Says so when a key is not written.
    pub fn need(&mut self, r: &mut Reader<'_>, key: &'static str, example: &str) {
        if !self.keys.contains_key(key) {
            r.error(&self.place, format!("{} is missing: write `{key} = {example}`", self.name(key)));
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Where a key's value is written, if it is.
    pub fn place_of(&self, key: &str) -> Option<Place> {
        self.keys.get(key).map(|n| n.place.clone())
    }

    /// Whether a key's value is written as such, and not as a table that says where it is found.
    pub fn is_plain(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|n| !matches!(n.value, Value::Table(_)))
    }

    pub fn boolean(&mut self, r: &mut Reader<'_>, key: &'static str) -> Option<bool> {
        let node = self.take(key)?;
        match &node.value {
            Value::Boolean(b) => Some(*b),
            Value::Text(t) if t == "true" => Some(true),
            Value::Text(t) if t == "false" => Some(false),
            other => {
                r.error(&node.place, format!("{} is {}: write `true` or `false`", self.name(key), other.kind()));
                None
            }
        }
    }

    /// A whole number in a range.
    pub fn integer(
        &mut self,
        r: &mut Reader<'_>,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let node = self.take(key)?;
        let written = match &node.value {
            Value::Integer(t) | Value::Text(t) => t.replace('_', "").parse::<u64>().ok(),
            _ => None,
        };
        let good = written.filter(|n| range.contains(n));
        if good.is_none() {
            r.error(
                &node.place,
                format!("{} must be a whole number from {} to {}", self.name(key), range.start(), range.end()),
            );
        }
        good
    }

    /// A number in a range.
    pub fn number(&mut self, r: &mut Reader<'_>, key: &'static str, least: f64, most: f64) -> Option<f64> {
        let node = self.take(key)?;
        let written = match &node.value {
            Value::Integer(t) | Value::Float(t) | Value::Text(t) => t.replace('_', "").parse::<f64>().ok(),
            _ => None,
        };
        let good = written.filter(|n| (least..=most).contains(n));
        if good.is_none() {
            r.error(&node.place, format!("{} must be a number from {least} to {most}", self.name(key)));
        }
        good
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        r: &mut Reader<'_>,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        self.get(r, key, |s| match choices.iter().find(|(name, _)| *name == s) {
            Some((_, value)) => Ok(*value),
            None => Err(format!("unknown value `{s}`: {}", either(s, choices.iter().map(|(n, _)| *n)))),
        })
    }

    /// A list of texts; from the environment, texts between commas.
    pub fn list<T>(
        &mut self,
        r: &mut Reader<'_>,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Placed<T>>> {
        let node = self.take(key)?;
        let items: Vec<(String, Place)> = match &node.value {
            Value::Array(items) => {
                let mut texts = vec![];
                for item in items {
                    match text_of(item, &parse) {
                        Ok(t) => texts.push((t.to_owned(), item.place.clone())),
                        Err(e) => r.error(&item.place, about(&format!("an entry of {}", self.name(key)), &e)),
                    }
                }
                texts
            }
            Value::Text(t) => t
                .split(',')
                .map(str::trim)
                .filter(|s| !s.is_empty())
                .map(|s| (s.to_owned(), node.place.clone()))
                .collect(),
            other => {
                r.error(
                    &node.place,
                    format!("{} is {}: write a list, as `{key} = [\"…\"]`", self.name(key), other.kind()),
                );
                return None;
            }
        };
        let mut values = vec![];
        for (text, place) in items {
            match parse(&text) {
                Ok(value) => values.push(Placed { value, place }),
                Err(e) => r.error(&place, about(&self.name(key), &e)),
            }
        }
        Some(values)
    }

    /// Notes a key that nobody has to look for, for the schema.
    pub fn know(&mut self, key: &'static str) {
        self.known.insert(key);
    }

    /// A table from names that the operator chooses to texts.
    pub fn pairs(
        &mut self,
        r: &mut Reader<'_>,
        key: &'static str,
        parse: impl Fn(&str) -> Result<String, String>,
    ) -> Option<BTreeMap<String, String>> {
        let node = self.take(key)?;
        let Value::Table(pairs) = node.value else {
            let e = format!("is {}: write a table of names and texts", node.value.kind());
            r.error(&node.place, about(&self.name(key), &e));
            return None;
        };
        let mut read = BTreeMap::new();
        for (name, node) in pairs {
            match text_of(&node, &parse).and_then(&parse) {
                Ok(text) => drop(read.insert(name, text)),
                Err(e) => r.error(&node.place, about(&self.name(&format!("{key}.{name}")), &e)),
            }
        }
        Some(read)
    }

    /// A table below this one.
    pub fn section(&mut self, r: &mut Reader<'_>, key: &'static str) -> Option<Section> {
        let node = self.take(key)?;
        self.below(r, key, key, node)
    }

    /// A table that is not written: every key has its default.
    pub fn absent(&mut self, key: &'static str) -> Section {
        self.known.insert(key);
        let join = |a: &str| if a.is_empty() { key.to_owned() } else { format!("{a}.{key}") };
        Section {
            path: join(&self.path),
            pattern: join(&self.pattern),
            keys: BTreeMap::new(),
            known: BTreeSet::new(),
            place: self.place.clone(),
        }
    }

    fn below(&self, r: &mut Reader<'_>, key: &str, pattern: &str, node: Node) -> Option<Section> {
        let join = |a: &str, b: &str| if a.is_empty() { b.to_owned() } else { format!("{a}.{b}") };
        let (path, pattern) = (join(&self.path, key), join(&self.pattern, pattern));
        match node.value {
            Value::Table(keys) => Some(Section { path, pattern, place: node.place, keys, known: BTreeSet::new() }),
            Value::Text(_) => {
                r.error(&node.place, format!("`{path}` is a table: set its keys, one variable each"));
                None
            }
            other => {
                r.error(&node.place, format!("`{path}` is {}: write a table `[{path}]`", other.kind()));
                None
            }
        }
    }

    /// A table whose keys are ids that the operator chose.
    pub fn by_id(&mut self, r: &mut Reader<'_>, key: &'static str) -> Vec<(String, Section)> {
        let written = self.keys.contains_key(key);
        let section = self.section(r, key);
        if section.is_some() || !written {
            r.ids.entry(key).or_default().extend(section.iter().flat_map(|s| s.keys.keys().cloned()));
        }
        let Some(section) = section else { return vec![] };
        let (parent, mut found) = (Section { keys: BTreeMap::new(), ..section.shallow() }, vec![]);
        for (id, node) in section.keys {
            if !switchboard_envelope::is_id(&id) {
                r.error(&node.key, format!("`{}.{id}`: {}", parent.path, switchboard_envelope::InvalidId(id.clone())));
            }
            if let Some(s) = parent.below(r, &id, "*", node) {
                found.push((id, s));
            }
        }
        found
    }

    fn shallow(&self) -> Section {
        Section {
            path: self.path.clone(),
            pattern: self.pattern.clone(),
            place: self.place.clone(),
            keys: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    /// Marks which kind of a table with several shapes this is, for the schema.
    pub fn variant(&mut self, name: &str) {
        self.pattern = format!("{}:{name}", self.pattern);
    }

    /// As [`Section::ignore_rest`], of a table that is still needed.
    pub fn forget_rest(&mut self) {
        self.keys.clear();
    }

    /// Drops what is left without a word, where the table's kind is unknown and so are its keys.
    pub fn ignore_rest(mut self) {
        self.keys.clear();
    }

    /// Reports what nobody asked for.
    pub fn finish(self, r: &mut Reader<'_>) {
        for (key, node) in &self.keys {
            let hint = either(key, self.known.iter().copied());
            r.error(&node.key, format!("unknown key {}: {hint}", self.name(key)));
        }
        r.asked.entry(self.pattern).or_default().extend(self.known);
    }
}

/// `did you mean …?` or the whole choice.
fn either<'a>(written: &str, choices: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(written, choices.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let all: Vec<String> = choices.map(|c| format!("`{c}`")).collect();
            match all.as_slice() {
                [] => "remove it".into(),
                [one] => format!("write {one}"),
                [one, other] => format!("write {one} or {other}"),
                [most @ .., last] => format!("write one of {} or {last}", most.join(", ")),
            }
        }
    }
}

/// The key, then what is wrong with it: a sentence of its own, or one about the key.
pub(super) fn about(name: &str, problem: &str) -> String {
    let predicate = ["is ", "must ", "has ", "holds "].iter().any(|verb| problem.starts_with(verb));
    if predicate { format!("{name} {problem}") } else { format!("{name}: {problem}") }
}

/// The text of a value. A number says how to quote itself, unless its quoted form would be wrong too.
fn text_of<'n, T>(node: &'n Node, parse: &impl Fn(&str) -> Result<T, String>) -> Result<&'n str, String> {
    match &node.value {
        Value::String(t) | Value::Text(t) => Ok(t),
        Value::Integer(t) | Value::Float(t) | Value::Datetime(t) => {
            parse(t)?;
            Err(format!("is {}: write it in quotes, as `\"{t}\"`", node.value.kind()))
        }
        Value::Boolean(b) => Err(format!("is a boolean: write text in quotes, not `{b}`")),
        Value::Array(_) | Value::Table(_) => Err(format!("is {}: write text in quotes", node.value.kind())),
    }
}
