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
