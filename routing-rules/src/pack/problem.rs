//! What is wrong in a pack, where, and what to write instead. Loading never stops at the first problem.

use std::fmt;
use std::sync::Arc;

/// Where something is written. Lines and columns start at 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that is wrong in a pack or in its tests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: String,
    pub line: u32,
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if self.hint.is_empty() {
            return Ok(());
        }
        write!(f, "; {}", self.hint)
    }
}

/// Problems beyond this many are only counted: nobody reads a thousand, and a hostile file must not cost memory.
const MAX_PROBLEMS: usize = 200;

/// Collects the problems of one load.
#[derive(Default)]
pub(crate) struct Sink {
    problems: Vec<Problem>,
    beyond: usize,
    /// A file could not be read as YAML, so that names which it may define are not known.
    pub(crate) unreadable: bool,
    /// The pack was in force before. What has been judged a mistake since then does not keep it from being read.
    pub(crate) stored: bool,
    /// The skills of an agent could not be read.
    pub(crate) skills_unknown: bool,
}

impl Sink {
    pub(crate) fn of_stored() -> Sink {
        Sink { stored: true, ..Sink::default() }
    }

    pub(crate) fn error(&mut self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        if self.problems.len() >= MAX_PROBLEMS {
            self.beyond += 1;
            return;
        }
        self.problems.push(Problem {
            file: at.file.to_string(),
            line: at.line,
            column: at.column,
            message: message.into(),
            hint: hint.into(),
        });
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> usize {
        self.problems.len() + self.beyond
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// In the order of the files, then of the lines.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort();
        self.problems.dedup();
        if self.beyond > 0
            && let Some(last) = self.problems.last().cloned()
        {
            self.problems.push(Problem {
                message: format!("{} more problems are not listed", self.beyond),
                hint: "correct the ones above first".into(),
                ..last
            });
        }
        self.problems
    }
}

/// The candidate that is most like `word`, if one is close enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates.into_iter().map(|c| (distance(word, c), c)).filter(|(d, _)| *d <= limit).min().map(|(_, c)| c)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_a = None;
    for (i, ca) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j) + usize::from(ca != *cb)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = j > 0 && previous_a == Some(*cb) && b.get(j - 1) == Some(&ca);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
        previous_a = Some(ca);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

/// `did you mean …`, else the list of what is possible.
pub(crate) fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(c) => format!("did you mean `{c}`"),
        None => format!("write one of {}", listed(known)),
    }
}

pub(crate) fn listed(names: &[&str]) -> String {
    let mut s = String::new();
    for (i, n) in names.iter().enumerate() {
        if i > 0 {
            s.push_str(", ");
        }
        s.push('`');
        s.push_str(n);
        s.push('`');
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_far_ones_are_not() {
        assert_eq!(nearest("quue", ["queue", "agent"]), Some("queue"));
        assert_eq!(nearest("pirority", ["priority"]), Some("priority"));
        assert_eq!(nearest("colour", ["queue", "agent"]), None);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
