//! Keys that an adapter declares as data: reading them, and their part of the schema.

use super::problem::Place;
use super::reader::{Reader, Section};
use super::schema::{one_or_more, secret, table};
use super::values::{base_url, duration_within, is_loopback, size_within};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use switchboard_adapter_sdk::settings::{ConfigProblem, Key, Settings, Shape, Value};

/// Where each declared key is written, for problems that are found later.
pub(super) type Places = BTreeMap<String, Place>;

/// Reads declared keys into `into`; the keys of a table below this one are named with `prefix`.
pub(super) fn read(
    r: &mut Reader<'_>,
    s: &mut Section,
    keys: &'static [Key],
    prefix: &str,
    into: &mut Settings,
    places: &mut Places,
) {
    for key in keys {
        let name = format!("{prefix}{}", key.name);
        if let Some(example) = key.required {
            s.need(r, key.name, example);
        }
        if let Some(place) = s.place_of(key.name) {
            into.written(&name);
            places.insert(name.clone(), place);
        }
        if let Shape::Table(below) = key.shape {
            let section = if s.has(key.name) { s.section(r, key.name) } else { None };
            // What is not written is read all the same, so that its required keys are missed only where the table is.
            let written = section.is_some();
            let mut section = section.unwrap_or_else(|| s.absent(key.name));
            if written {
                read(r, &mut section, below, &format!("{name}."), into, places);
            } else {
                below.iter().for_each(|key| section.know(key.name));
            }
            section.finish(r);
        } else if let Some(value) = value(r, s, key) {
            into.set(&name, value);
        }
    }
}

fn value(r: &mut Reader<'_>, s: &mut Section, key: &Key) -> Option<Value> {
    match key.shape {
        Shape::Text { check, .. } => s.get(r, key.name, check).map(Value::Text),
        Shape::Url => url(r, s, key.name).map(Value::Text),
        Shape::Secret => s.secret(r, key.name).map(|secret| Value::Secrets(vec![secret])),
        Shape::Pem => s.pem(r, key.name).map(|secret| Value::Secrets(vec![secret])),
        Shape::Secrets => Some(s.secrets(r, key.name)).filter(|all| !all.is_empty()).map(Value::Secrets),
        Shape::Flag => s.boolean(r, key.name).map(Value::Flag),
        Shape::Count { least, most } => s.integer(r, key.name, least..=most).map(Value::Count),
        Shape::Size { least, most } => s.get(r, key.name, size_within(least, most)).map(Value::Count),
        Shape::File => s
            .get(r, key.name, switchboard_adapter_sdk::settings::path)
            .map(|p| Value::Text(r.path(&p).display().to_string())),
        Shape::Span { least, most } => s.get(r, key.name, duration_within(least, most)).map(Value::Span),
        Shape::Words { check } => {
            s.list(r, key.name, check).map(|words| Value::Words(words.into_iter().map(|w| w.value).collect()))
        }
        Shape::Choice(choices) => {
            let choices: Vec<_> = choices.iter().map(|choice| (*choice, *choice)).collect();
            s.choice(r, key.name, &choices).map(|choice| Value::Text(choice.to_owned()))
        }
        Shape::Pairs { check } => s.pairs(r, key.name, check).map(Value::Pairs),
        Shape::NamedSecrets => s.named_secrets(r, key.name).map(Value::NamedSecrets),
        Shape::Table(_) => None,
    }
}

fn url(r: &mut Reader<'_>, s: &mut Section, key: &'static str) -> Option<String> {
    let base = s.placed(r, key, base_url)?;
    if base.value.starts_with("http:") && !is_loopback(&base.value) {
        r.warn(
            &base.place,
            format!(
                "{} is `{}`: credentials and customers' messages would travel unencrypted; write `https`",
                s.name(key),
                base.value
            ),
        );
    }
    Some(base.value)
}

/// Reports what an adapter found between keys, at the key where it is written.
pub(super) fn report(r: &mut Reader<'_>, s: &Section, places: &Places, problem: &ConfigProblem) {
    let place = places.get(&problem.key).unwrap_or(&s.place).clone();
    let name = if problem.key == "public_url" { "`http.public_url`".to_owned() } else { s.name(&problem.key) };
    r.error(&place, super::reader::about(&name, &problem.problem));
}

/// The schema's properties of declared keys, and which of them are required.
pub(super) fn schema(keys: &[Key]) -> (Map<String, Json>, Vec<&'static str>) {
    let properties = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    (properties, keys.iter().filter(|key| key.required.is_some()).map(|key| key.name).collect())
}

fn property(key: &Key) -> Json {
    let mut property = match key.shape {
        Shape::Text { pattern: "", .. } => json!({ "type": "string", "minLength": 1 }),
        Shape::Text { pattern, .. } => json!({ "type": "string", "pattern": pattern }),
        Shape::Url => json!({ "type": "string", "format": "uri" }),
        Shape::Secret | Shape::Pem => secret(key.about),
        Shape::Secrets => one_or_more(key.about),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Count { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Size { .. } => json!({ "$ref": "#/$defs/size" }),
        Shape::File => json!({ "type": "string", "minLength": 1 }),
        Shape::Span { .. } => json!({ "$ref": "#/$defs/duration" }),
        Shape::Words { .. } => json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }),
        Shape::Choice(choices) => json!({ "enum": choices }),
        Shape::Pairs { .. } => json!({ "type": "object", "patternProperties": { ".": { "type": "string" } } }),
        Shape::NamedSecrets => json!({ "type": "object", "patternProperties": { ".": { "$ref": "#/$defs/secret" } } }),
        Shape::Table(below) => {
            let (properties, required) = schema(below);
            let mut table = table(key.about, Json::Object(properties));
            super::schema::require(&mut table, &required);
            table
        }
    };
    let Some(object) = property.as_object_mut() else { return property };
    object.entry("description").or_insert_with(|| json!(key.about));
    if let Shape::Span { least, most } | Shape::Size { least, most } = key.shape {
        object.insert("description".into(), json!(format!("{}, {least} to {most}", key.about)));
    }
    if !key.usual.is_empty() {
        let usual = match key.shape {
            Shape::Flag => json!(key.usual == "true"),
            Shape::Count { .. } => key.usual.parse::<u64>().map_or(json!(key.usual), |n| json!(n)),
            _ => json!(key.usual),
        };
        object.insert("default".into(), usual);
    }
    property
}
