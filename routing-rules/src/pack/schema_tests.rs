//! The published schema takes every pack that loads, and refuses what an editor should underline.

use super::json_schema;
use super::load::is_yaml;
use super::problem::Sink;
use super::yaml::{self, Node, Value as Yaml};
use regex::Regex;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// As an editor reads it: scalars become what YAML makes of them.
fn tree(node: &Node, source: &str) -> Value {
    match &node.value {
        Yaml::Bad => Value::Null,
        Yaml::List(items) => items.iter().map(|n| tree(n, source)).collect(),
        Yaml::Map(entries) => {
            let pair = |(k, v): &(Node, Node)| match &k.value {
                Yaml::Text(k) => (k.clone(), tree(v, source)),
                _ => (String::new(), Value::Null),
            };
            Value::Object(entries.iter().map(pair).collect::<Map<_, _>>())
        }
        Yaml::Text(t) => {
            let line = source.lines().nth(node.at.line as usize - 1).unwrap_or_default();
            let quoted = line.chars().nth(node.at.column as usize - 1).is_some_and(|c| matches!(c, '"' | '\''));
            let number = t.parse::<i64>().map(|n| json!(n)).or_else(|_| t.parse::<f64>().map(|n| json!(n)));
            match t.as_str() {
                "true" | "false" if !quoted => json!(t == "true"),
                _ if quoted || t.starts_with(['+', '0']) && t.len() > 1 => json!(t),
                _ => number.unwrap_or_else(|_| json!(t)),
            }
        }
    }
}

/// The keywords of JSON Schema that the published schema uses; another one fails the test.
struct Validator {
    root: Value,
    /// The keywords that refused something, also those of alternatives.
    why: RefCell<Vec<String>>,
}

impl Validator {
    fn ok(&self, schema: &Value, value: &Value) -> bool {
        let Value::Object(keys) = schema else { panic!("{schema} is no schema") };
        keys.iter().all(|(key, rule)| {
            let ok = self.keyword(keys, key, rule, value);
            if !ok {
                self.why.borrow_mut().push(format!("{key}: {value}"));
            }
            ok
        })
    }

    fn keyword(&self, all: &Map<String, Value>, key: &str, rule: &Value, value: &Value) -> bool {
        let text = value.as_str();
        let (map, list) = (value.as_object(), value.as_array());
        let each = |schemas: &Value| schemas.as_array().expect("a list").iter().filter(|s| self.ok(s, value)).count();
        let n = |rule: &Value| usize::try_from(rule.as_u64().expect("a number")).expect("small");
        match key {
            "$schema" | "title" | "description" | "$defs" | "examples" => true,
            "$ref" => {
                let path = rule.as_str().and_then(|r| r.strip_prefix('#')).expect("a local reference");
                self.ok(self.root.pointer(path).unwrap_or_else(|| panic!("{path} is not defined")), value)
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|t| is(t, value)),
                one => is(one, value),
            },
            "enum" => rule.as_array().expect("a list").contains(value),
            "pattern" => text.is_none_or(|t| Regex::new(rule.as_str().expect("a pattern")).expect("valid").is_match(t)),
            "minLength" => text.is_none_or(|t| t.chars().count() >= n(rule)),
            "items" => list.is_none_or(|l| l.iter().all(|v| self.ok(rule, v))),
            "maxItems" => list.is_none_or(|l| l.len() <= n(rule)),
            "minItems" => list.is_none_or(|l| l.len() >= n(rule)),
            "minProperties" => map.is_none_or(|m| m.len() >= n(rule)),
            "maxProperties" => map.is_none_or(|m| m.len() <= n(rule)),
            "required" => map.is_none_or(|m| rule.as_array().expect("a list").iter().all(|k| m.contains_key(str(k)))),
            "propertyNames" => map.is_none_or(|m| m.keys().all(|k| self.ok(rule, &json!(k)))),
            "properties" => map.is_none_or(|m| m.iter().all(|(k, v)| rule.get(k).is_none_or(|s| self.ok(s, v)))),
            "patternProperties" => map.is_none_or(|m| {
                let patterns = rule.as_object().expect("a map");
                m.iter().all(|(k, v)| patterns.iter().all(|(p, s)| !matches(p, k) || self.ok(s, v)))
            }),
            "additionalProperties" => map.is_none_or(|m| {
                m.iter().filter(|(k, _)| !known(all, k)).all(|(_, v)| match rule {
                    Value::Bool(taken) => *taken,
                    schema => self.ok(schema, v),
                })
            }),
            "dependentSchemas" => map.is_none_or(|m| {
                rule.as_object().expect("a map").iter().all(|(k, s)| !m.contains_key(k) || self.ok(s, value))
            }),
            "oneOf" => each(rule) == 1,
            "anyOf" => each(rule) > 0,
            other => panic!("the schema uses `{other}`, which this test does not know"),
        }
    }
}

fn str(v: &Value) -> &str {
    v.as_str().expect("a text")
}

fn matches(pattern: &str, key: &str) -> bool {
    Regex::new(pattern).expect("valid").is_match(key)
}

fn known(all: &Map<String, Value>, key: &str) -> bool {
    all.get("properties").is_some_and(|p| p.get(key).is_some())
        || all.get("patternProperties").and_then(Value::as_object).is_some_and(|p| p.keys().any(|p| matches(p, key)))
}

fn is(name: &Value, value: &Value) -> bool {
    match str(name) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("the type {other}"),
    }
}

/// Why the schema refuses a file; empty when it takes it.
fn refusal(source: &str) -> Vec<String> {
    let root = json_schema();
    let node = yaml::parse(&Arc::from("a.yaml"), source, &mut Sink::default()).expect("YAML");
    let validator = Validator { root: root.clone(), why: RefCell::default() };
    let ok = validator.ok(&root, &tree(&node, source));
    if ok { Vec::new() } else { validator.why.take() }
}

fn yaml_files(dir: &Path) -> Vec<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "a test reads the shipped packs")]
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries
        .flat_map(|p| if p.is_dir() { yaml_files(&p) } else { vec![p] })
        .filter(|p| is_yaml(&p.to_string_lossy()))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "a test reads the shipped packs")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_file_of_every_shipped_pack_fits_the_schema() {
    let files = yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("packs"));
    assert!(files.len() >= 5);
    for path in files {
        assert_eq!(refusal(&read(&path)), Vec::<String>::new(), "{}", path.display());
    }
}

#[test]
fn everything_that_a_pack_can_hold_fits_the_schema() {
    let everything = r#"
zone: Europe/Paris
budget: { conversation: 5, address: 20, ping_pong: 3 }
queues:
  a: { skills: { french: 2 }, strategy: round_robin, sticky: 7d, offer: { timeout: 1m30s }, ageing: 30m, reopen: 0s, hours: office }
  c: { prefer: [x, { y: least }] }
  d: { prefer: x }
  e: { prefer: { x: most, y: least } }
  b: { skills: [x], sla: { next_response: 1h, warn: 80%, on_breach: { queue: a, priority: high, notify: { desk: d, text: late } } } }
agents: { ann: { name: Ann, skills: { x: 1 }, capacity: 2.5, desks: { mail: ann@shop.example, 1x: 007 } } }
hours: { office: { zone: UTC, week: { mon-fri: "09:00-17:00", sat: ["22:00-06:00"] }, closed: 2026-12-25 } }
rotations: { r: { start: "2026-11-23T09:00", every: 1w, agents: [ann] }, q: { start: "2026-11-23T09:00", every: 1d, queues: [a] } }
replies: { hi: "Hi {{ contact.first_name | default('') }}", ask: { text: Which?, choices: [Red, { id: BLUE, label: Blue }] } }
rules:
  - name: Everything
    when:
      channel: [a, b]
      kind: { none: [sms] }
      visibility: private
      text: { contains: [a], word: b, prefix: c, suffix: d, matches: ['e'], exists: true }
      from: +15551230001
      authenticated: { exists: false }
      language: { none: [de, unknown] }
      has_attachment: true
      meta.followers: { gt: 10, lte: 1.5 }
      attributes.order: 5
      contact.attributes.plan: { prefix: g }
      contact.tags: { all: [a], none: [b] }
      age: { gt: 1h, none: [2h] }
      messages: { gte: 2 }
      contact.open: 1
      state: [queued, closed]
      hours: { office: open }
      weekday: [mon-fri, sun]
      time: ["09:00-10:00", "22:00-02:00"]
      any: [{ silence: { lt: 1m } }, { time: { gte: "09:00" } }]
      all: [{ choice: yes }]
      not: { any: [{ new: false }] }
    then:
      - { queue: { rotation: q }, agent: sticky, desk: d, priority: high, skills: [x], tag: [a, b], close: true, block: true, move: true }
      - { overflow: [{ after: 5m, skills: [], queue: a, priority: urgent }, { if: nobody_free, queue: a }, { after: 9m, if: nobody_available, skills: [] }], set: { a: 1, contact.b: "" }, consent: opted_in, snooze: 1h }
      - { notify: [{ desk: d, text: hi }], reply: hi }
    continue: true
  - { name: 2, then: { notify: { desk: d }, agent: { rotation: r } } }
  - { name: 3, then: { agent: [a, b], skills: [x, "{{ message.meta.y }}"] } }
  - { name: 4, then: { agent: "{{ match.who | default('') }}", skills: { x: 2, "{{ message.text }}": 3 } } }
  - { name: 5, on: closed, then: { reply: hi, tag: a } }
  - { name: 6, on: message, then: { close: true } }
default: [{ queue: a }, { tag: x }]
"#;
    assert_eq!(refusal(everything), Vec::<String>::new());
    let tests = "
tests:
  - name: T
    at: 2026-11-22T10:00:00+01:00
    message: { channel: a, kind: sms, from: +15551230001, text: 5, has_attachment: true, meta: { followers: 5 }, meta.x: y }
    given:
      conversation: { state: queued, queue: a, priority: low, tags: [a], attributes: { order: 5 }, age: 1h, messages: 3, silence: 5m }
      contact: { name: Ann, identities: ['a:b'], tags: vip, attributes: { plan: x }, consent: opted_in, open: 2, agent: ann }
      agents: { ann: { presence: available, load: 2.5 } }
    act: { agent: ann, does: close }
    expect: { queue: '', agent: ann, priority: high, tags: [], attributes: { contact.x: y }, replies: hi, state: closed, consent: opted_out, rules: [A] }
";
    assert_eq!(refusal(tests), Vec::<String>::new());
}

/// Mistakes of one file's shape; what needs the rest of the pack (names, templates, circles) is for the loader.
#[test]
fn mistakes_of_shape_are_refused_by_the_schema_too() {
    let bad = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    for name in [
        "a-list-at-the-top",
        "action-that-default-cannot-take",
        "any-with-a-map",
        "any-with-nothing",
        "close-false",
        "duration-without-unit",
        "empty-list-in-condition",
        "flag-that-is-no-flag",
        "hours-condition-without-map",
        "id-with-capitals",
        "nested-contact-map",
        "not-with-two-conditions",
        "notify-without-desk",
        "overflow-at-once",
        "operator-that-the-field-lacks",
        "percent-without-sign",
        "prefer-badly-written",
        "rule-without-name",
        "rule-without-then",
        "skills-as-text",
        "state-that-does-not-exist",
        "unknown-action",
        "unknown-field",
        "unknown-key-in-queue",
        "unknown-key-in-rule",
        "unknown-operator",
        "unknown-top-level-key",
    ] {
        assert!(!refusal(&read(&bad.join(format!("{name}.yaml")))).is_empty(), "{name}");
    }
    assert!(!refusal("tests: []\nrules: []\n").is_empty(), "a file holds tests or a pack");
    let late = |text: &str| {
        refusal(&format!(
            "queues: {{ a: {{ sla: {{ first_response: 1h, on_warn: {{ notify: {{ desk: d, text: '{text}' }} }} }} }} }}\n"
        ))
    };
    assert_eq!(late("An answer {is} due"), Vec::<String>::new());
    assert!(!late("Answer {{ contact.name }}").is_empty(), "what a clock tells is a fixed text");
    assert!(!refusal("tests: [{ name: A, massage: {}, expect: {} }]\n").is_empty());
}
