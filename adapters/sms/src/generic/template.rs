//! Texts with `{name}` in them.

use crate::{
    charset,
    segments::{self},
};
use serde_json::Value;
use std::collections::BTreeMap;
use switchboard_adapter_sdk::{Secret, signature::to_hex};

/// What a send fills in.
pub(super) struct Values<'a> {
    pub text: &'a str,
    pub to: &'a str,
    pub from: &'a str,
    pub reference: String,
    pub status_url: String,
    pub secrets: &'a BTreeMap<String, Secret>,
}

/// Where a filled text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is encoded afterwards, as part of a form or of JSON.
    Plain,
    /// A header, which ends at a control character.
    Header,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

/// A text with names in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

const NAMES: &[&str] =
    &["text", "text.hex", "to", "to.digits", "from", "from.digits", "reference", "status_url", "encoding"];

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = vec![];
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
                plain.push_str(brace.get(..1).unwrap_or_default());
                rest = after;
                continue;
            }
            let name = brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = name else {
                return Err(format!("`{text}` has a brace alone: write `{{{{` or `}}}}` for one that is meant"));
            };
            let is_secret = name.strip_prefix("secret.").is_some_and(|name| !name.is_empty());
            if !is_secret && !NAMES.contains(&name) {
                let all = NAMES.join("`, `");
                return Err(format!("`{{{name}}}` is not known: write one of `{all}` or `secret.NAME`"));
            }
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Name(name.to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Template(pieces))
    }

    /// The secrets that it names.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Name(name) => name.strip_prefix("secret."),
            Piece::Text(_) => None,
        })
    }

    pub(super) fn filled(&self, values: &Values<'_>, place: Place) -> String {
        let filled: String = self
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Name(name) => value(name, values),
            })
            .collect();
        match place {
            Place::Plain => filled,
            Place::Header => filled.chars().filter(|c| !c.is_control()).collect(),
        }
    }
}

fn value(name: &str, values: &Values<'_>) -> String {
    let digits = |number: &str| number.strip_prefix('+').unwrap_or(number).to_owned();
    match name {
        "text" => values.text.to_owned(),
        "text.hex" => to_hex(&charset::to_ucs2(values.text)),
        "to" => values.to.to_owned(),
        "to.digits" => digits(values.to),
        "from" => values.from.to_owned(),
        "from.digits" => digits(values.from),
        "reference" => values.reference.clone(),
        "status_url" => values.status_url.clone(),
        "encoding" => segments::encoding(values.text).name().to_owned(),
        other => {
            let secret = other.strip_prefix("secret.").and_then(|name| values.secrets.get(name));
            secret.map(|secret| secret.expose().to_owned()).unwrap_or_default()
        }
    }
}

/// Every string in JSON.
pub(super) fn strings(json: &Value) -> Vec<String> {
    match json {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => vec![],
    }
}

/// The same JSON with its strings filled in. They stay strings, whatever is in them.
pub(super) fn filled(json: &Value, values: &Values<'_>) -> Value {
    match json {
        Value::String(text) => match Template::parse(text) {
            Ok(template) => Value::String(template.filled(values, Place::Plain)),
            Err(_) => json.clone(),
        },
        Value::Array(items) => items.iter().map(|item| filled(item, values)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), filled(value, values))).collect())
        }
        other => other.clone(),
    }
}
