//! The JSON Schema of a pack's files, for editors. It is built from the tables that the reader uses, so that both know
//! the same fields, operators and actions.

use super::AtOnce;
use super::load::TOP;
use super::people_read::{MAX_COUNTS, ORDERS, PREFERENCES, PRIORITIES};
use super::read::DAYS;
use super::testing::{CONSENTS, DOINGS, is_message};
use crate::event::{Happening, Presence};
use crate::rules::field::{Class, FIELDS, Field, STATES};
use crate::rules::{ACTIONS, DEFAULT_ACTIONS, MESSAGE, operators};
use serde_json::{Map, Value, json};

const ID: &str = "^[a-z0-9][a-z0-9-]{0,62}$";
const DURATION: &str = "^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$";
const TIMES: &str = "^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$";

/// The schema of one file of a pack.
#[must_use]
pub fn json_schema() -> Value {
    let mut properties = Map::new();
    for key in TOP {
        properties.insert((*key).to_owned(), top(key));
    }
    properties.insert("tests".into(), json!({ "type": "array", "items": reference("test") }));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Switchboard rule pack",
        "description": "One file of a rule pack; a file that ends in _test.yaml holds `tests` and nothing else. Lists append and maps join over the files of the directory.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "dependentSchemas": { "tests": { "maxProperties": 1 } },
        "$defs": definitions(),
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn named(of: &str) -> Value {
    json!({ "type": "object", "propertyNames": reference("id"), "additionalProperties": reference(of) })
}

fn top(key: &str) -> Value {
    match key {
        "zone" => json!({ "type": "string", "description": "a name of the tz database, such as Europe/Paris" }),
        "queues" => named("queue"),
        "agents" => named("agent"),
        "hours" => named("hours"),
        "rotations" => named("rotation"),
        "replies" => named("reply"),
        "budget" => closed(&["conversation", "address", "ping_pong"].map(|key| (key, reference("number"))), &[]),
        "presence" => {
            closed(&[("grace", reference("duration")), ("lapses", reference("number")), ("names", presences())], &[])
        }
        "rules" => json!({ "type": "array", "items": reference("rule") }),
        _ => reference("default"),
    }
}

fn closed(properties: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: Map<String, Value> = properties.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn one_or_many(of: &Value) -> Value {
    json!({ "oneOf": [of, { "type": "array", "items": of }] })
}

fn definitions() -> Value {
    let mut d = Map::new();
    let mut add = |name: &str, schema: Value| d.insert(name.to_owned(), schema);
    // Scalars are text as written, whatever an editor takes them for.
    add("text", json!({ "type": ["string", "number", "boolean"] }));
    add("number", json!({ "type": ["integer", "string"], "pattern": "^[0-9]+$" }));
    add("flag", json!({ "enum": [true, false, "true", "false"] }));
    add("id", json!({ "type": ["string", "integer"], "pattern": ID }));
    add("duration", json!({ "type": "string", "pattern": DURATION, "minLength": 2 }));
    add("times", json!({ "type": "string", "pattern": TIMES }));
    add("priority", json!({ "enum": PRIORITIES }));
    add("template", json!({ "type": "string", "minLength": 1, "description": "text with {{ names }}" }));
    let names = "text with {{ names }} that is filled in with ids, with commas between";
    add("names", json!({ "type": "string", "pattern": "\\{\\{", "description": names }));
    let choice = closed(&[("id", reference("text")), ("label", reference("text"))], &["label"]);
    let choices = json!({ "type": "array", "maxItems": 30, "items": { "oneOf": [reference("text"), choice] },
        "description": "what the customer may choose from: buttons, or numbered lines where the channel has none" });
    add(
        "reply",
        json!({ "oneOf": [reference("template"), closed(&[("text", reference("template")), ("choices", choices)], &["text"])] }),
    );
    add(
        "skills",
        json!({ "oneOf": [
        { "type": "array", "items": reference("id") },
        { "type": "object", "propertyNames": reference("id"), "additionalProperties": reference("number") },
    ] }),
    );
    add("notify", closed(&[("desk", reference("id")), ("text", reference("template"))], &["desk"]));
    let fixed = json!({ "type": "string", "minLength": 1, "pattern": "^([^{]|[{]([^{%]|$))*$",
        "description": "a fixed text: nothing is filled in" });
    add("late", closed(&[("desk", reference("id")), ("text", fixed)], &["desk"]));
    add("overflow", json!({ "type": "array", "items": step() }));
    add("sla", sla());
    add("queue", queue());
    add(
        "agent",
        closed(
            &[
                ("name", reference("text")),
                ("skills", reference("skills")),
                ("capacity", reference("text")),
                ("signature", reference("text")),
                (
                    "desks",
                    json!({ "type": "object", "propertyNames": reference("id"), "additionalProperties": reference("text") }),
                ),
            ],
            &[],
        ),
    );
    add("hours", hours());
    add(
        "rotation",
        closed(
            &[
                ("start", json!({ "type": "string" })),
                ("every", reference("duration")),
                ("agents", json!({ "type": "array", "items": reference("id") })),
                ("queues", json!({ "type": "array", "items": reference("id") })),
            ],
            &["start", "every"],
        ),
    );
    add(
        "rule",
        closed(
            &[
                ("name", reference("text")),
                ("on", on()),
                ("when", reference("conditions")),
                ("then", reference("actions")),
                ("continue", reference("flag")),
            ],
            &["name", "then"],
        ),
    );
    for (_, _, class) in &FIELDS {
        if let Some(name) = shared(*class) {
            add(name, field(*class));
        }
    }
    add("free_condition", field(Field::Meta(String::new()).class()));
    add("conditions", conditions());
    add("action", actions(ACTIONS));
    add("default", one_or_many(&actions(DEFAULT_ACTIONS)));
    add("actions", one_or_many(&reference("action")));
    add("test", test());
    Value::Object(d)
}

/// One test of a pack.
fn test() -> Value {
    let texts = json!({ "type": "object", "additionalProperties": reference("text") });
    let some = |of: &str| one_or_many(&reference(of));
    let agent = closed(&[("presence", reference("id")), ("load", reference("text"))], &[]);
    let given = closed(
        &[
            (
                "conversation",
                closed(
                    &[
                        ("state", json!({ "enum": STATES })),
                        ("queue", reference("id")),
                        ("agent", reference("id")),
                        ("priority", reference("priority")),
                        ("tags", some("text")),
                        ("attributes", texts.clone()),
                        ("age", reference("duration")),
                        ("messages", reference("number")),
                        ("silence", reference("duration")),
                    ],
                    &[],
                ),
            ),
            (
                "contact",
                closed(
                    &[
                        ("name", reference("text")),
                        ("identities", some("text")),
                        ("tags", some("text")),
                        ("attributes", texts.clone()),
                        ("consent", json!({ "enum": CONSENTS })),
                        ("open", reference("number")),
                        ("agent", reference("id")),
                    ],
                    &[],
                ),
            ),
            ("agents", json!({ "type": "object", "propertyNames": reference("id"), "additionalProperties": agent })),
        ],
        &[],
    );
    let maybe = json!({ "anyOf": [reference("id"), { "enum": [""] }] });
    let expect = closed(
        &[
            ("queue", maybe.clone()),
            ("agent", maybe),
            ("priority", reference("priority")),
            ("tags", some("text")),
            ("attributes", texts.clone()),
            ("replies", some("id")),
            ("state", json!({ "enum": STATES })),
            ("consent", json!({ "enum": CONSENTS })),
            ("rules", some("text")),
        ],
        &[],
    );
    let at = json!({ "type": "string", "description": "2026-11-22T10:00:00+01:00, or without an offset in the pack's zone" });
    let doings = [
        ("does", json!({ "enum": DOINGS })),
        ("tag", reference("text")),
        ("priority", reference("priority")),
        ("transfer", reference("id")),
    ];
    let one_of: Vec<Value> = doings.iter().map(|(key, _)| json!({ "required": [key] })).collect();
    let act = closed(&[&[("agent", reference("id"))], &doings[..]].concat(), &["agent"]);
    let act = with(act, "oneOf", json!(one_of));
    let keys = [
        ("name", reference("text")),
        ("at", at),
        ("message", message()),
        ("given", given),
        ("act", act),
        ("expect", expect),
    ];
    closed(&keys, &["name", "message", "expect"])
}

/// The message of a test: the fields that a message itself has.
fn message() -> Value {
    let mut properties = Map::new();
    for (name, _, class) in FIELDS.iter().filter(|(_, f, _)| is_message(f)) {
        let value = match class {
            Class::Flag => reference("flag"),
            Class::Words(words) => json!({ "enum": words }),
            _ => reference("text"),
        };
        properties.insert((*name).to_owned(), value);
    }
    properties.insert("meta".into(), json!({ "type": "object", "additionalProperties": reference("text") }));
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "patternProperties": { "^meta\\..+$": reference("text") },
    })
}

fn sla() -> Value {
    let breach =
        closed(&[("priority", reference("priority")), ("queue", reference("id")), ("notify", reference("late"))], &[]);
    closed(
        &[
            ("first_response", reference("duration")),
            ("next_response", reference("duration")),
            ("resolution", reference("duration")),
            ("warn", json!({ "type": "string", "pattern": "^[0-9]{1,3}%$" })),
            ("on_warn", breach.clone()),
            ("on_breach", breach),
        ],
        &[],
    )
}

fn queue() -> Value {
    closed(
        &[
            ("skills", reference("skills")),
            ("sla", reference("sla")),
            ("hours", reference("id")),
            ("strategy", json!({ "enum": ["round_robin", "least_loaded", "longest_idle"] })),
            ("prefer", prefer()),
            ("sticky", reference("duration")),
            ("offer", closed(&[("timeout", reference("duration"))], &["timeout"])),
            ("ageing", reference("duration")),
            ("order", json!({ "enum": ORDERS })),
            ("presence", one_or_many(&reference("id"))),
            ("overflow", reference("overflow")),
            ("reopen", reference("duration")),
            ("wrap_up", reference("duration")),
            ("signature", reference("text")),
            ("limit", closed(&[("waiting", reference("number")), ("queue", reference("id"))], &["waiting", "queue"])),
        ],
        &[],
    )
}

/// What a rule runs on.
fn on() -> Value {
    let words: Vec<&str> = std::iter::once(MESSAGE).chain(Happening::ALL.map(Happening::as_str)).collect();
    json!({ "enum": words, "description": "what customers write (without it), what people of ours do, or the end of a snooze" })
}

/// Presences of the pack's own, and what each counts as.
fn presences() -> Value {
    let counts_as = json!({ "enum": Presence::ALL.map(Presence::as_str) });
    json!({ "type": "object", "propertyNames": reference("id"), "additionalProperties": counts_as })
}

/// When a step does not wait: a word, how many agents there are in some presences, all or any of such numbers.
fn at_once() -> Value {
    let number = || reference("number");
    let one = closed(
        &[
            ("agents", one_or_many(&reference("id"))),
            ("lt", number()),
            ("lte", number()),
            ("gt", number()),
            ("gte", number()),
        ],
        &["agents"],
    );
    let one = with(one, "minProperties", json!(2));
    let all = json!({ "type": "array", "minItems": 1, "maxItems": MAX_COUNTS, "items": one });
    let any = closed(&[("any", all.clone())], &["any"]);
    json!({ "oneOf": [{ "enum": AtOnce::WORDS }, one, all, any] })
}

/// A step of an overflow comes with its time, at once, or whichever is sooner.
fn step() -> Value {
    let properties = [
        ("after", reference("duration")),
        ("if", at_once()),
        ("skills", reference("skills")),
        ("queue", reference("id")),
        ("priority", json!({ "oneOf": [reference("priority"), closed(&[("set", reference("priority"))], &["set"])] })),
    ];
    with(closed(&properties, &[]), "anyOf", json!([{ "required": ["after"] }, { "required": ["if"] }]))
}

/// A schema with one more key.
fn with(mut schema: Value, key: &str, value: Value) -> Value {
    if let Value::Object(keys) = &mut schema {
        keys.insert(key.to_owned(), value);
    }
    schema
}

/// Which skills put an agent first.
fn prefer() -> Value {
    let order = json!({ "type": "object", "propertyNames": reference("id"),
        "additionalProperties": { "enum": PREFERENCES } });
    one_or_many(&json!({ "anyOf": [reference("id"), order] }))
}

fn hours() -> Value {
    let day = DAYS.join("|");
    let days = format!("^({day})(-({day}))?$");
    let week = json!({
        "type": "object",
        "propertyNames": { "pattern": days },
        "additionalProperties": one_or_many(&reference("times")),
    });
    let date = json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" });
    closed(&[("zone", json!({ "type": "string" })), ("week", week), ("closed", one_or_many(&date))], &["week"])
}

fn conditions() -> Value {
    let mut properties = Map::new();
    for (name, _, class) in &FIELDS {
        properties.insert((*name).to_owned(), shared(*class).map_or_else(|| field(*class), reference));
    }
    let lists = json!({ "type": "array", "minItems": 1, "items": reference("conditions") });
    properties.insert("any".into(), lists.clone());
    properties.insert("all".into(), lists);
    properties.insert("not".into(), json!({ "$ref": "#/$defs/conditions", "minProperties": 1, "maxProperties": 1 }));
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "patternProperties": { "^(meta|attributes|contact\\.attributes)\\..+$": reference("free_condition") },
    })
}

/// The definition that fields of one class share.
fn shared(class: Class) -> Option<&'static str> {
    match class {
        Class::Text => Some("text_condition"),
        Class::Many => Some("many_condition"),
        Class::Flag => Some("flag_condition"),
        Class::Number => Some("number_condition"),
        Class::Duration => Some("duration_condition"),
        _ => None,
    }
}

fn field(class: Class) -> Value {
    let value = match class {
        Class::Flag => reference("flag"),
        Class::Number => reference("number"),
        Class::Duration => reference("duration"),
        Class::Words(words) => json!({ "enum": words }),
        Class::Weekday => json!({ "type": "string" }),
        Class::Time => reference("times"),
        Class::Hours => {
            return json!({
                "type": "object", "propertyNames": reference("id"), "additionalProperties": { "enum": ["open", "closed"] }
            });
        }
        Class::Text | Class::Free | Class::Many => reference("text"),
    };
    let list = json!({ "type": "array", "minItems": 1, "items": value });
    let operators = operators(class);
    if operators.is_empty() {
        return json!({ "oneOf": [value, list] });
    }
    let operand = |op: &str| match (op, class) {
        ("exists", _) => reference("flag"),
        ("gt" | "gte" | "lt" | "lte", Class::Free | Class::Time) => reference("text"),
        ("gt" | "gte" | "lt" | "lte", _) => value.clone(),
        _ => json!({ "oneOf": [value, list] }),
    };
    let properties: Vec<(&str, Value)> = operators.iter().map(|op| (*op, operand(op))).collect();
    json!({ "anyOf": [value, list, closed(&properties, &[])] })
}

fn actions(names: &[&'static str]) -> Value {
    let rotation = closed(&[("rotation", reference("id"))], &["rotation"]);
    let properties: Vec<(&str, Value)> = names
        .iter()
        .map(|name| {
            let schema = match *name {
                "queue" => json!({ "oneOf": [reference("id"), rotation] }),
                "agent" => {
                    let some = json!({ "type": "array", "minItems": 1, "items": reference("id") });
                    json!({ "oneOf": [reference("id"), rotation, some, reference("names")] })
                }
                "skills" => json!({ "oneOf": [
                    { "type": "array", "items": { "oneOf": [reference("id"), reference("names")] } },
                    { "type": "object", "propertyNames": { "anyOf": [reference("id"), reference("names")] },
                        "additionalProperties": reference("number") },
                ] }),
                "desk" | "reply" => reference("id"),
                "priority" => reference("priority"),
                "overflow" => reference("overflow"),
                "tag" => one_or_many(&reference("text")),
                "set" => json!({ "type": "object", "additionalProperties": reference("text") }),
                "consent" => json!({ "enum": ["opted_in", "opted_out"] }),
                "notify" => one_or_many(&reference("notify")),
                "snooze" => reference("duration"),
                "wait" => {
                    let absent = closed(&[("for", reference("duration")), ("absent", reference("flag"))], &["for"]);
                    json!({ "oneOf": [reference("duration"), absent] })
                }
                _ => json!({ "enum": [true, "true"] }),
            };
            (*name, schema)
        })
        .collect();
    closed(&properties, &[])
}
