//! JSON Schemas of the envelopes, for adapters that are not written in Rust.

use crate::{
    AttemptResult, ChannelRefused, Command, ConsentChange, Echo, Message, Receipt, Reconcile, Send, Unparsed, VERSION,
};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

/// The schema of everything that travels, as `switchboard schema envelope` prints it. Unknown fields are allowed, because a
/// reader tolerates them.
#[must_use]
pub fn envelope_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut one_of = inbound_types(&mut generator);
    one_of.extend(outbound_types(&mut generator));
    document("Switchboard envelope", one_of, generator)
}

/// The schema of a record of IN: one of the inbound types, told apart by `type`.
#[must_use]
pub fn inbound() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let one_of = inbound_types(&mut generator);
    document("Switchboard inbound envelope", one_of, generator)
}

/// The schema of a record of OUT.
#[must_use]
pub fn outbound() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let one_of = outbound_types(&mut generator);
    document("Switchboard outbound envelope", one_of, generator)
}

fn inbound_types(generator: &mut SchemaGenerator) -> Vec<Value> {
    vec![
        framed::<Message>(generator, "message"),
        framed::<Echo>(generator, "echo"),
        framed::<Receipt>(generator, "receipt"),
        framed::<ConsentChange>(generator, "consent"),
        framed::<AttemptResult>(generator, "result"),
        framed::<Command>(generator, "command"),
        framed::<Unparsed>(generator, "unparsed"),
        framed::<ChannelRefused>(generator, "refused"),
    ]
}

fn outbound_types(generator: &mut SchemaGenerator) -> Vec<Value> {
    vec![framed::<Send>(generator, "send"), framed::<Reconcile>(generator, "reconcile")]
}

/// A body's schema with the two fields that every envelope has.
fn framed<T: JsonSchema>(generator: &mut SchemaGenerator, kind: &str) -> Value {
    let mut body = T::json_schema(generator).to_value();
    if let Some(object) = body.as_object_mut() {
        object.insert("title".into(), json!(kind));
        if let Some(properties) = object.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
            properties.insert("v".into(), json!({ "const": VERSION }));
            properties.insert("type".into(), json!({ "const": kind }));
        }
        if let Some(required) = object.entry("required").or_insert_with(|| json!([])).as_array_mut() {
            required.insert(0, json!("v"));
            required.insert(1, json!("type"));
        }
    }
    body
}

fn document(title: &str, one_of: Vec<Value>, mut generator: SchemaGenerator) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "oneOf": one_of,
        "$defs": generator.take_definitions(true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(document: &Value) -> Vec<String> {
        let of = |variant: &Value| variant["properties"]["type"]["const"].as_str().unwrap_or_default().to_owned();
        document["oneOf"].as_array().map(|all| all.iter().map(of).collect()).unwrap_or_default()
    }

    #[test]
    fn the_committed_schema_is_the_one_that_is_printed() {
        let printed = format!("{:#}\n", envelope_schema());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/envelope.schema.json");
        let committed = std::fs::read_to_string(path).expect("the committed schema");
        assert!(
            committed == printed,
            "run `switchboard schema envelope > adapters/envelope/schema/envelope.schema.json`"
        );
    }

    #[test]
    fn no_envelope_type_is_missing_from_the_schemas() {
        let expected = ["message", "echo", "receipt", "consent", "result", "command", "unparsed", "refused"];
        assert_eq!(kinds(&inbound()), expected);
        assert_eq!(kinds(&outbound()), ["send", "reconcile"]);
    }

    #[test]
    fn every_field_of_the_schema_is_known_by_its_name() {
        fn names(schema: &Value, found: &mut Vec<String>) {
            let inner: Vec<&Value> = match schema {
                Value::Object(keys) => {
                    let properties = keys.get("properties").and_then(Value::as_object);
                    found.extend(properties.into_iter().flat_map(|p| p.keys().cloned()));
                    keys.values().collect()
                }
                Value::Array(items) => items.iter().collect(),
                _ => vec![],
            };
            inner.into_iter().for_each(|schema| names(schema, found));
        }
        let mut found = vec![];
        names(&envelope_schema(), &mut found);
        assert!(found.len() > 100, "{found:?}");
        let unknown: Vec<&String> = found.iter().filter(|name| !crate::is_field(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?} are not in FIELDS of wire.rs, in the order of the alphabet");
        assert!(!crate::is_field("s3cret") && !crate::is_field(""));
    }

    #[test]
    fn every_reference_of_a_schema_has_a_definition() {
        for document in [inbound(), outbound()] {
            let text = document.to_string();
            for reference in text.split("\"#/$defs/").skip(1) {
                let name = reference.split('"').next().unwrap_or_default();
                assert!(document["$defs"].get(name).is_some(), "`{name}` is not defined");
            }
        }
    }

    #[test]
    fn a_schema_demands_the_fields_that_reading_demands() {
        let inbound = inbound();
        let required = inbound["oneOf"][0]["required"].as_array().cloned().unwrap_or_default();
        for field in ["v", "type", "id", "channel", "thread", "at", "from", "content"] {
            assert!(required.contains(&json!(field)), "`{field}` is not required of a message: {required:?}");
        }
    }
}
