//! The operators' page on rules names everything that a pack can hold.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use switchboard_routing_rules::pack::json_schema;

#[expect(clippy::disallowed_methods, reason = "a test reads the page")]
fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operators/rules.md");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The part of a page that stands under a heading, and under those below it.
fn under<'p>(page: &'p str, heading: &str) -> &'p str {
    let from = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("the page has no `{heading}`")) + 1;
    let rest = &page[from..];
    let level = heading.chars().take_while(|c| *c == '#').count();
    let next = (1..=level).filter_map(|n| rest[1..].find(&format!("\n{} ", "#".repeat(n)))).min();
    next.map_or(rest, |end| &rest[..end + 1])
}

/// What stands between backticks, also in lists such as `gt`, `gte`.
fn words(part: &str) -> BTreeSet<&str> {
    part.split('`').skip(1).step_by(2).collect()
}

fn names(schema: &Value, pointer: &str) -> Vec<String> {
    let properties = schema.pointer(pointer).and_then(Value::as_object).unwrap_or_else(|| panic!("no {pointer}"));
    properties.keys().cloned().collect()
}

/// The operators of every field.
fn operators(schema: &Value, found: &mut BTreeSet<String>) {
    let definitions = schema.pointer("/$defs").and_then(Value::as_object).unwrap();
    let inline = schema.pointer("/$defs/conditions/properties").and_then(Value::as_object).unwrap();
    let conditions = definitions.iter().filter(|(name, _)| name.ends_with("_condition")).map(|(_, c)| c);
    for condition in conditions.chain(inline.values()) {
        for alternative in condition["anyOf"].as_array().into_iter().flatten() {
            found.extend(alternative["properties"].as_object().into_iter().flat_map(|p| p.keys().cloned()));
        }
    }
}

#[test]
fn every_name_of_the_schema_is_in_the_page() {
    let (page, schema) = (page(), json_schema());
    let named = |heading: &str, wanted: Vec<String>| {
        assert!(wanted.len() > 1, "{heading}: {wanted:?}");
        let said = words(under(&page, heading));
        let missing: Vec<&String> = wanted.iter().filter(|name| !said.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "docs/operators/rules.md does not name {missing:?} under {heading}");
    };
    let top = names(&schema, "/properties").into_iter().filter(|name| name != "tests").collect();
    named("## A pack", top);
    named("## Conditions", names(&schema, "/$defs/conditions/properties"));
    let mut all = BTreeSet::new();
    operators(&schema, &mut all);
    named("### Operators", all.into_iter().collect());
    named("## Actions", names(&schema, "/$defs/action/properties"));
    let of_default = schema.pointer("/$defs/default/oneOf/0/properties").and_then(Value::as_object).unwrap();
    named("## Default", of_default.keys().cloned().collect());
    let rule = names(&schema, "/$defs/rule/properties");
    named("## A pack", rule);
    let test = "/$defs/test/properties";
    named("## Tests", names(&schema, test));
    for part in ["given", "given/properties/conversation", "given/properties/contact", "expect"] {
        named("## Tests", names(&schema, &format!("{test}/{part}/properties")));
    }
    let budget = names(&schema, "/properties/budget/properties");
    let said = under(&page, "## Automatic answers");
    for key in budget {
        assert!(said.contains(&format!("{key}:")) || words(said).contains(key.as_str()), "{key} of the budget");
    }
}

#[test]
fn the_pack_of_the_page_loads() {
    use switchboard_routing_rules::RulePack;
    use switchboard_routing_rules::pack::Environment;
    let page = page();
    let yaml = under(&page, "## A pack").split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let tests = under(&page, "## Tests").split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let files = vec![("pack.yaml".to_owned(), yaml.into()), ("pack_test.yaml".to_owned(), tests.into())];
    let env = Environment::default();
    let loaded = RulePack::load(&files, &env).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(loaded.warnings.len(), 0, "{:?}", loaded.warnings);
    let tests = loaded.pack.tests(&files, &env).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert!(!tests.is_empty());
    for test in tests {
        let verdict = switchboard_routing_rules::trial::run(&loaded.pack, &test);
        assert!(verdict.passed(), "{}: {:?}", test.name, verdict.faults);
    }
}
