//! What a channel is configured with. An adapter declares its keys as data; the daemon reads them out of the configuration,
//! reports everything that is wrong with its place, makes the schema for editors of them, and hands over [`Settings`].

use crate::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thiserror::Error;

/// Says of a written text what it means in its canonical form, or what is wrong with it and what to write.
pub type Check = fn(&str) -> Result<String, String>;

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    /// An example in TOML, where the key must be written; the error for a missing key shows it.
    pub required: Option<&'static str>,
    /// What holds when it is not written, for the schema only; empty when nothing does.
    pub usual: &'static str,
    /// One line for editors.
    pub about: &'static str,
}

impl Key {
    /// A key that may be left out.
    #[must_use]
    pub const fn new(name: &'static str, shape: Shape, about: &'static str) -> Key {
        Key { name, shape, required: None, usual: "", about }
    }

    /// The same key, which must be written.
    #[must_use]
    pub const fn required(mut self, example: &'static str) -> Key {
        self.required = Some(example);
        self
    }

    /// The same key with what holds when it is not written.
    #[must_use]
    pub const fn usual(mut self, usual: &'static str) -> Key {
        self.usual = usual;
        self
    }
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Text, with the pattern that editors check (empty: any).
    Text {
        check: Check,
        pattern: &'static str,
    },
    /// An `http` or `https` address that paths are appended to. It is kept without a slash at its end.
    Url,
    Secret,
    /// A secret of several lines: a private key in PEM.
    Pem,
    /// One secret, or several while it is rotated.
    Secrets,
    Flag,
    Count {
        least: u64,
        most: u64,
    },
    /// A size in bytes between two others, such as `64KiB`.
    Size {
        least: &'static str,
        most: &'static str,
    },
    /// The path of a file; one that is relative starts at the configuration's directory.
    File,
    /// A duration between two others.
    Span {
        least: &'static str,
        most: &'static str,
    },
    /// A list of texts.
    Words {
        check: Check,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A table from names that the operator chooses to texts.
    Pairs {
        check: Check,
    },
    /// A table from names that the operator chooses to secrets.
    NamedSecrets,
    /// A table of further keys.
    Table(&'static [Key]),
}

/// A value as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Flag(bool),
    Count(u64),
    Span(Duration),
    Words(Vec<String>),
    Secrets(Vec<Secret>),
    Pairs(BTreeMap<String, String>),
    NamedSecrets(BTreeMap<String, Secret>),
}

/// What is written of a channel, by key. The keys of a table below it are named with it: `send.url`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The channel's id.
    pub channel: String,
    /// Where providers reach this daemon, without a slash at its end.
    pub public_url: Option<String>,
    written: BTreeSet<String>,
    values: BTreeMap<String, Value>,
}

impl Settings {
    #[must_use]
    pub fn new(channel: &str, public_url: Option<&str>) -> Settings {
        Settings {
            channel: channel.to_owned(),
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
            ..Settings::default()
        }
    }

    /// Notes that a key is written, whatever its value is worth.
    pub fn written(&mut self, key: &str) {
        self.written.insert(key.to_owned());
    }

    pub fn set(&mut self, key: &str, value: Value) {
        self.written(key);
        self.values.insert(key.to_owned(), value);
    }

    /// The same with one more value; for tests.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Settings {
        self.set(key, value);
        self
    }

    /// Whether a key is written, even with a value that cannot be used.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.written.contains(key)
    }

    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A flag; `false` when it is not written.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.values.get(key), Some(Value::Flag(true)))
    }

    #[must_use]
    pub fn count(&self, key: &str) -> Option<u64> {
        match self.values.get(key) {
            Some(Value::Count(count)) => Some(*count),
            _ => None,
        }
    }

    #[must_use]
    pub fn span(&self, key: &str) -> Option<Duration> {
        match self.values.get(key) {
            Some(Value::Span(span)) => Some(*span),
            _ => None,
        }
    }

    /// The secrets of a key; none when it is not written.
    #[must_use]
    pub fn secrets(&self, key: &str) -> &[Secret] {
        match self.values.get(key) {
            Some(Value::Secrets(secrets)) => secrets,
            _ => &[],
        }
    }

    #[must_use]
    pub fn secret(&self, key: &str) -> Option<&Secret> {
        self.secrets(key).first()
    }

    #[must_use]
    pub fn words(&self, key: &str) -> &[String] {
        match self.values.get(key) {
            Some(Value::Words(words)) => words,
            _ => &[],
        }
    }

    #[must_use]
    pub fn pairs(&self, key: &str) -> Option<&BTreeMap<String, String>> {
        match self.values.get(key) {
            Some(Value::Pairs(pairs)) => Some(pairs),
            _ => None,
        }
    }

    #[must_use]
    pub fn named_secrets(&self, key: &str) -> Option<&BTreeMap<String, Secret>> {
        match self.values.get(key) {
            Some(Value::NamedSecrets(secrets)) => Some(secrets),
            _ => None,
        }
    }

    /// A problem of this channel.
    #[must_use]
    pub fn problem(&self, key: &str, problem: impl Into<String>) -> ConfigProblem {
        ConfigProblem { channel: self.channel.clone(), key: key.to_owned(), problem: problem.into() }
    }
}

/// A setting that cannot be used. The key `public_url` is that of `[http]`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("channels.{channel}.{key}: {problem}")]
pub struct ConfigProblem {
    pub channel: String,
    pub key: String,
    /// A sentence that says what to write; it starts with `is`, `must`, `has` or `holds` where it is one about the key.
    pub problem: String,
}

/// A [`Check`] that takes every text.
///
/// # Errors
/// Never.
pub fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// A [`Check`] for the path of a file.
///
/// # Errors
/// When it can be none.
pub fn path(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.contains('\0') {
        return Err("is empty: write the path of a file".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_what_it_is_and_nothing_else() {
        let settings = Settings::new("sms", Some("https://a.example/"))
            .with("from", Value::Text("+1".into()))
            .with("echoes", Value::Flag(true))
            .with("send.url", Value::Text("https://b.example".into()));
        assert_eq!(settings.public_url.as_deref(), Some("https://a.example"));
        assert_eq!((settings.text("from"), settings.text("echoes")), (Some("+1"), None));
        assert!(settings.flag("echoes") && !settings.flag("from") && !settings.flag("other"));
        assert_eq!(settings.text("send.url"), Some("https://b.example"));
        assert!(settings.secrets("from").is_empty() && settings.words("from").is_empty());
        assert_eq!((settings.count("from"), settings.span("from")), (None, None));
    }

    #[test]
    fn what_is_written_wrong_is_written_all_the_same() {
        let mut settings = Settings::new("sms", None);
        settings.written("api_key");
        assert!(settings.has("api_key") && !settings.has("api_secret"));
        assert_eq!(settings.text("api_key"), None);
        assert_eq!(settings.problem("api_key", "is wrong").to_string(), "channels.sms.api_key: is wrong");
    }
}
