//! Every mistake in `tests/bad` is told in the words that its file ends with, at the place where it was made.

use std::path::{Path, PathBuf};
use switchboard_routing_rules::pack::{Environment, RulePack};

/// What the bad files may name; a file that begins with `# alone` has to do without.
const BASE: &str = "\
queues: { everyone: {}, billing: {} }
agents: { ann: { desks: { team-slack: U1 } } }
default: { queue: everyone }
";

/// Every expected line begins so.
const MARK: &str = "#! ";

fn environment() -> Environment {
    Environment {
        channels: Some([("support-sms".to_owned(), "sms".to_owned())].into()),
        desks: Some(["team-slack".to_owned()].into()),
        ..Environment::default()
    }
}

fn problems(source: &str) -> Vec<String> {
    let mut files = vec![("bad.yaml".to_owned(), source.as_bytes().to_vec())];
    if !source.starts_with("# alone") {
        files.push(("base.yaml".to_owned(), BASE.as_bytes().to_vec()));
    }
    match RulePack::load(&files, &environment()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn bad_files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_mistake_is_told_at_its_place() {
    let (mut wrong, files) = (Vec::new(), bad_files());
    assert!(files.len() > 60, "the table of mistakes is missing");
    for path in files {
        let source = std::fs::read_to_string(&path).unwrap();
        let wanted: Vec<&str> = source.lines().filter_map(|l| l.strip_prefix(MARK)).collect();
        let told = problems(&source);
        if told != wanted || told.is_empty() {
            wrong.push(format!("{}\n  {MARK}{}", path.display(), told.join(&format!("\n  {MARK}"))));
        }
    }
    assert!(wrong.is_empty(), "these tell something else than they should:\n{}", wrong.join("\n"));
}

fn files(texts: &[&str]) -> Vec<(String, Vec<u8>)> {
    let named = |(n, text): (usize, &&str)| (format!("{n}.yaml"), text.as_bytes().to_vec());
    texts.iter().enumerate().map(named).collect()
}

#[test]
fn desks_and_channels_are_told_beside_a_file_that_cannot_be_read() {
    let pack = "agents: { bob: { desks: { taem-slack: U2 }, skills: [french] } }\nrules:\n  - { name: A, when: { channel: sms }, then: { \
                queue: somewhere } }\n";
    let told = RulePack::load(&files(&[pack, "queues: {"]), &environment()).expect_err("broken");
    let told: Vec<String> = told.iter().map(|p| format!("{}:{}: {}", p.file, p.line, p.message)).collect();
    assert_eq!(told.len(), 3, "what the broken file may define is not missed: {told:?}");
    assert_eq!(told[0], "0.yaml:1: there is no desk `taem-slack`");
    assert_eq!(told[1], "0.yaml:3: there is no channel `sms`");
    assert!(told[2].starts_with("1.yaml:"), "{told:?}");
}

#[test]
fn warnings_are_told_beside_errors_unless_they_may_come_of_them() {
    let judged = |texts: &[&str]| {
        let unusable = RulePack::load_with_tests(&files(texts), &environment()).expect_err("mistakes");
        assert!(!unusable.problems.is_empty());
        unusable.warnings.iter().map(|w| format!("{}:{}: {}", w.file, w.line, w.message)).collect::<Vec<_>>()
    };
    let good = "queues: { everyone: {}, books: { skills: [accounting] } }\ndefault: { queue: everyone }\n";
    let agents = "agents: { ann: { skills: [french] } }\n";
    let wants = "0.yaml:1: the queue `books` wants `accounting`, a skill that no agent has".to_owned();
    let never = "  - { name: All, then: { queue: everyone } }\n  - { name: Late, then: { queue: books } }\n";
    let reached = "2.yaml:3: the rule `Late` is never reached: `All` at 2.yaml:2:5 always stops first".to_owned();
    let rules = format!("rules:\n{never}  - {{ name: Wrong, then: {{ queue: nowhere }} }}\n");
    assert_eq!(judged(&[good, agents, &rules]).iter().filter(|w| **w == reached || **w == wants).count(), 2);
    // A rule without the condition that was misspelt would match everything, and an agent may have the skill that was.
    let rules = "rules:\n  - { name: All, when: { txt: a }, then: { queue: everyone } }\n  - { name: Late, then: { queue: books } }\n";
    assert_eq!(judged(&[good, agents, rules]), [wants]);
    assert_eq!(judged(&[good, "agents: { ann: { skils: [accounting] } }\n"]), Vec::<String>::new());
    assert_eq!(judged(&[good, agents, "rules: ["]), Vec::<String>::new());
}
