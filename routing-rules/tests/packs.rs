//! The shipped packs load without a warning, and do what their tests say in the core that routes.

use std::collections::BTreeSet;
use std::path::Path;
use switchboard_routing_rules::pack::{Environment, QUICKSTART, RulePack, SeenMessage, SeenState, files, json_schema};
use switchboard_routing_rules::trial;

fn pack_dir(name: &str) -> Vec<(String, Vec<u8>)> {
    files::read_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("packs").join(name)).unwrap()
}

fn load(files: &[(String, Vec<u8>)]) -> RulePack {
    let loaded = RulePack::load(files, &Environment::default())
        .unwrap_or_else(|p| panic!("{}", p.iter().map(|p| format!("{p}\n")).collect::<String>()));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    loaded.pack
}

/// Every shipped pack, with how many tests it has at the least.
const SHIPPED: [(&str, usize); 9] = [
    ("follow-the-sun", 8),
    ("from-taskrouter", 23),
    ("from-zammad", 17),
    ("on-call", 9),
    ("overflow", 6),
    ("quickstart", 3),
    ("shop", 10),
    ("support-team", 22),
    ("vip", 9),
];

#[test]
fn every_shipped_pack_does_what_its_tests_say() {
    let mut wrong = Vec::new();
    for (name, at_least) in SHIPPED {
        let files = pack_dir(name);
        let pack = load(&files);
        let tests = pack.tests(&files, &Environment::default()).unwrap_or_else(|p| panic!("{name}: {p:#?}"));
        assert!(tests.len() >= at_least, "{name} lost its tests: {}", tests.len());
        for test in &tests {
            let verdict = trial::run(&pack, test);
            let came = verdict.actual.map(|a| format!("{a}, rules {:?}", a.rules)).unwrap_or_default();
            wrong.extend(verdict.faults.iter().map(|f| format!("{name}/{}: {}: {f} ({came})\n", test.at, test.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

/// A rule that no test of its pack ever hits is one that nobody has seen working.
#[test]
fn every_rule_of_a_shipped_pack_is_hit_by_a_test() {
    for (name, _) in SHIPPED {
        let files = pack_dir(name);
        let pack = load(&files);
        let tests = pack.tests(&files, &Environment::default()).unwrap();
        let hit: BTreeSet<String> =
            tests.iter().filter_map(|t| trial::run(&pack, t).actual).flat_map(|a| a.rules).collect();
        let missed: Vec<&str> = pack.rules().map(|(n, _)| n).filter(|n| !hit.contains(*n)).collect();
        assert!(missed.is_empty(), "{name}: no test hits {missed:?}");
    }
}

#[test]
fn every_directory_of_packs_is_in_the_list() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("packs");
    let found: BTreeSet<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, SHIPPED.iter().map(|(n, _)| (*n).to_owned()).collect());
}

#[test]
fn the_built_in_quickstart_is_the_shipped_directory() {
    let built_in: Vec<(String, Vec<u8>)> =
        QUICKSTART.iter().map(|(p, t)| ((*p).to_owned(), t.as_bytes().to_vec())).collect();
    assert_eq!(built_in, pack_dir("quickstart"));
}

/// What a version judges a mistake does not keep it from reading what an earlier one put in force.
#[test]
fn a_pack_that_was_in_force_is_read_though_it_wants_what_nobody_has() {
    let yaml =
        "queues: { q: { overflow: [{ after: 1m, skills: [french] }] } }\nagents: { ann: {} }\ndefault: { queue: q }\n";
    let files = [("a.yaml".to_owned(), yaml.as_bytes().to_vec())];
    assert!(RulePack::load(&files, &Environment::default()).is_err());
    let good = RulePack::load(
        &[("a.yaml".to_owned(), yaml.replace("ann: {}", "ann: { skills: [french] }").into_bytes())],
        &Environment::default(),
    );
    let blob = good.unwrap().pack.to_blob();
    let text = String::from_utf8_lossy(&blob).into_owned();
    assert!(text.contains("ann: { skills: [french] }"));
    // The same length, so that the blob is one.
    let at = blob.windows(25).position(|w| w == b"ann: { skills: [french] }").unwrap();
    let mut stored = blob.clone();
    stored[at..at + 25].copy_from_slice(b"ann: { skills: [frensh] }");
    assert!(RulePack::from_blob(&stored).is_ok());
}

#[test]
fn a_pack_that_was_in_force_is_read_though_a_name_of_its_templates_may_be_missing() {
    let good = "queues: { q: {} }\nrules: [{ name: A, when: { text: { matches: '#(?<n>[0-9])+' } }, then: { set: { n: '<{{ match.n }}>' } } }]\n\
                default: { queue: q }\n";
    let files = |yaml: &str| [("a.yaml".to_owned(), yaml.as_bytes().to_vec())];
    assert!(RulePack::load(&files(&good.replace(")+", ")*")), &Environment::default()).is_err());
    let mut stored = RulePack::load(&files(good), &Environment::default()).unwrap().pack.to_blob();
    let at = stored.windows(2).position(|w| w == b")+").unwrap();
    stored[at + 1] = b'*';
    let pack = RulePack::from_blob(&stored).unwrap();
    let said = SeenMessage { text: "no # here".into(), ..SeenMessage::default() };
    let set: Vec<String> = pack.run(&said, &SeenState::default()).set.into_values().collect();
    assert_eq!(set, ["<>"], "as it did");
}

#[test]
fn a_pack_travels_as_a_blob_and_keeps_its_name() {
    let pack = load(&pack_dir("shop"));
    let again = RulePack::from_blob(&pack.to_blob()).unwrap();
    assert_eq!((again.hash(), again.sources()), (pack.hash(), pack.sources()));
    assert_eq!(pack.hash().len(), 64);
    assert!(RulePack::from_blob(b"\xc1").is_err());
    assert!(RulePack::from_blob(&[]).is_err());
    let mut other = pack_dir("shop");
    other[0].1.push(b'\n');
    assert_ne!(load(&other).hash(), pack.hash(), "a byte more is another pack");
    let mut moved = pack_dir("shop");
    moved[0].0.insert(0, 'a');
    assert_ne!(load(&moved).hash(), pack.hash(), "another path is another pack");
    let tested: Vec<_> = pack_dir("shop").into_iter().filter(|(p, _)| !p.ends_with("_test.yaml")).collect();
    assert_eq!(load(&tested).hash(), pack.hash(), "tests are no part of what decides");
}

/// After a change that was meant, write the schema anew: `SWITCHBOARD_WRITE_SCHEMA=1 cargo test -p
/// switchboard-routing-rules --test packs`.
#[test]
fn the_committed_schema_is_the_one_in_force() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/pack.schema.json");
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("SWITCHBOARD_WRITE_SCHEMA").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    // Not assert_eq: it would print both.
    assert!(std::fs::read_to_string(&path).unwrap_or_default() == schema, "{} is stale", path.display());
}

#[test]
fn mistakes_in_tests_are_told_at_their_place() {
    let file = |p: &str, t: &str| (p.to_owned(), t.as_bytes().to_vec());
    let source = "\
tests:
  - name: A
    massage: { kind: sms }
    expect: { queue: nowhere }
  - name: B
    at: yesterday
    message: { txt: x }
    given: { conversation: { state: open }, agents: { zed: { presence: here } } }
    expect: { rules: [No such], state: queud, mood: good }
  - name: B
    message: { kind: sms }
    expect: {}
";
    let files = [file("p.yaml", "queues: { q: {} }\ndefault: { queue: q }\n"), file("p_test.yaml", source)];
    let problems = load(&files).tests(&files, &Environment::default()).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for wanted in [
        "p_test.yaml:2:5: a test without `message`",
        "p_test.yaml:3:5: unknown key `massage` in a test; did you mean `message`",
        "p_test.yaml:6:9: `yesterday` is not a time",
        "p_test.yaml:7:14: a message without a channel",
        "p_test.yaml:7:16: unknown field `txt` of a message; did you mean `text`",
        "p_test.yaml:8:37: `open` is not a state",
        "p_test.yaml:8:55: there is no agent `zed`",
        "p_test.yaml:8:72: there is no presence `here`",
        "p_test.yaml:9:23: there is no rule `No such`",
        "p_test.yaml:9:40: `queud` is not a state; did you mean `queued`",
        "p_test.yaml:9:47: unknown key `mood` in `expect`",
        "p_test.yaml:10:5: two tests are called `B`",
    ] {
        assert!(told.iter().any(|t| t.starts_with(wanted)), "{wanted} is not in {told:#?}");
    }
}
