//! The pages for operators name every key that a pack may have.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use switchboard_routing_rules::pack::json_schema;

/// The names of all keys of a schema.
fn keys(schema: &Value, found: &mut BTreeSet<String>) {
    let inner: Vec<&Value> = match schema {
        Value::Object(map) => {
            let properties = map.get("properties").and_then(Value::as_object);
            found.extend(properties.into_iter().flat_map(|p| p.keys().cloned()));
            map.values().collect()
        }
        Value::Array(items) => items.iter().collect(),
        _ => vec![],
    };
    inner.into_iter().for_each(|schema| keys(schema, found));
}

/// The words that stand in code, between backticks or fences.
fn words_of_code(page: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut fenced = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        // Of a line outside of a fence every second piece is code.
        let code: Vec<&str> = if fenced { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        for word in code.iter().flat_map(|code| code.split(|c: char| !is_name(c))) {
            words.insert(word.trim_matches('.').to_owned());
        }
    }
    words
}

#[test]
fn every_key_of_a_pack_is_on_a_page_for_operators() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operators");
    let words: BTreeSet<String> = std::fs::read_dir(pages)
        .expect("the pages")
        .map(|entry| entry.expect("a page").path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .flat_map(|path| words_of_code(&std::fs::read_to_string(path).expect("text")))
        .collect();
    let mut named = BTreeSet::new();
    keys(&json_schema(), &mut named);
    assert!(named.len() > 80, "the schema lost its keys: {named:?}");
    let missing: Vec<&String> = named.difference(&words).collect();
    assert!(missing.is_empty(), "no page in docs/operators says what these keys are: {missing:?}");
}
