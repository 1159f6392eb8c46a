//! Rule packs for commands that look at one: problems are named by the path from here, so that a terminal or an editor finds
//! them.

use super::Failure;
use crate::packs;
use std::path::{Path, PathBuf};
use switchboard_routing_rules::RulePack;
use switchboard_routing_rules::pack::{Environment, PackTest, Problem, QUICKSTART, files};

/// A pack with its tests, and what its author should look at.
#[derive(Debug)]
pub(super) struct Read {
    pub pack: RulePack,
    pub tests: Vec<PackTest>,
    pub warnings: Vec<Problem>,
}

/// Reads a pack with its tests; `None` is the pack that is compiled in.
///
/// # Errors
/// With a line for everything that is wrong.
pub(super) fn read(directory: Option<&PathBuf>, known: &Environment) -> Result<Read, Vec<String>> {
    let at = directory.map(PathBuf::as_path);
    let lines = |problems: Vec<Problem>| placed(problems, at).iter().map(ToString::to_string).collect::<Vec<_>>();
    let files = match at {
        Some(path) => files::read_dir(path).map_err(|e| vec![format!("{}: cannot be read: {e}", path.display())])?,
        None => QUICKSTART.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect(),
    };
    if files.is_empty() {
        let path = at.unwrap_or(Path::new("")).display();
        return Err(vec![format!("{path}: no file ends in .yaml or .yml; a rule pack is a directory of YAML files")]);
    }
    let loaded = packs::load(&packs::Source::of(directory.cloned()), known).map_err(|e| match e {
        packs::PackError::Problems(problems) => lines(problems),
        other => vec![other.to_string()],
    })?;
    let tests = loaded.pack.tests(&files, known).map_err(lines)?;
    Ok(Read { tests, warnings: placed(loaded.warnings, at), pack: loaded.pack })
}

/// A warning as one line.
pub(super) fn warning(w: &Problem) -> String {
    format!("{}:{}:{}: warning: {}; {}", w.file, w.line, w.column, w.message, w.hint)
}

/// A failure that says everything that is wrong with a pack.
pub(super) fn failure(problems: Vec<String>) -> Failure {
    Failure::Failed(problems.join("\n"))
}

fn placed(problems: Vec<Problem>, directory: Option<&Path>) -> Vec<Problem> {
    let prefix = |file: String| match directory {
        Some(d) if d.is_dir() => d.join(file).display().to_string(),
        Some(d) => d.display().to_string(),
        None => format!("(compiled in) {file}"),
    };
    problems.into_iter().map(|p| Problem { file: prefix(p.file), ..p }).collect()
}
