//! Texts of which one must stand in whatever a pattern matches, so that a message without them need not be shown to it.

use crate::rules::fold::fold;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Alternatives that are followed at once.
const MAX_ALTERNATIVES: usize = 32;
/// Alternatives that one pattern may need in the end.
const MAX_NEEDED: usize = 256;
/// States for a range of letters beyond ASCII, at most.
const SEQUENCES: usize = 40;
/// Longer needs tell no more.
const LONG: usize = 12;

/// As [`fold`], with the letters that patterns without case take for one: `ſ` is an `s`.
pub(super) fn fold_for_search(s: &str) -> String {
    let folded = fold(s);
    if folded.contains('ſ') { folded.replace('ſ', "s") } else { folded.into_owned() }
}

/// A pattern as it is written, read.
pub(crate) fn parse(pattern: &str) -> Option<Hir> {
    ParserBuilder::new().nest_limit(50).build().parse(pattern).ok()
}

/// What a pattern needs, folded for the search; `None` when it may match without any certain text.
pub(crate) fn required(pattern: &Hir) -> Option<Vec<String>> {
    needs(pattern).best()
}

/// The states that a pattern takes once it is compiled, and rather too many: a letter beyond ASCII is several bytes, and a range of
/// them several sequences of bytes.
pub(crate) fn states(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(l) => l.0.len(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Class(Class::Unicode(class)) => {
            class.ranges().iter().map(|r| if r.end().is_ascii() { 1 } else { SEQUENCES }).sum()
        }
        HirKind::Capture(c) => states(&c.sub).saturating_add(2),
        HirKind::Repetition(r) => {
            let most = r.max.unwrap_or_else(|| r.min.saturating_add(1)).max(1);
            states(&r.sub).saturating_add(2).saturating_mul(most as usize)
        }
        HirKind::Concat(all) | HirKind::Alternation(all) => all.iter().map(states).fold(1, usize::saturating_add),
    }
}

/// What is known of the texts that a part of a pattern matches.
#[derive(Default)]
struct Needs {
    /// All of them.
    exact: Option<Vec<String>>,
    /// One of these stands in each of them.
    some: Option<Vec<String>>,
}

impl Needs {
    fn exactly(texts: Vec<String>) -> Needs {
        Needs { exact: Some(texts), some: None }
    }

    fn best(self) -> Option<Vec<String>> {
        let mut best = None;
        for set in [self.some, self.exact].into_iter().flatten() {
            better(&mut best, set);
        }
        best
    }
}

/// How much a set tells: the length of its shortest text.
fn tells(set: &[String]) -> usize {
    set.iter().map(String::len).min().unwrap_or(0).min(LONG)
}

fn better(best: &mut Option<Vec<String>>, mut set: Vec<String>) {
    // Two parts that follow each other may end and begin with a space.
    set.iter_mut().for_each(|text| *text = fold(text).into_owned());
    set.sort();
    set.dedup();
    if set.len() > MAX_NEEDED || tells(&set) == 0 {
        return;
    }
    let worth = |s: &[String]| (tells(s), usize::MAX - s.len());
    if best.as_ref().is_none_or(|b| worth(&set) > worth(b)) {
        *best = Some(set);
    }
}

fn needs(hir: &Hir) -> Needs {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Needs::exactly(vec![String::new()]),
        HirKind::Literal(l) => match std::str::from_utf8(&l.0) {
            Ok(text) => Needs::exactly(vec![fold_for_search(text)]),
            Err(_) => Needs::default(),
        },
        HirKind::Class(class) => letters(class).map(Needs::exactly).unwrap_or_default(),
        HirKind::Capture(c) => needs(&c.sub),
        HirKind::Repetition(r) => {
            let sub = needs(&r.sub);
            match (r.min, r.max) {
                (0, Some(1)) => {
                    let exact = sub.exact.map(|mut texts| {
                        texts.push(String::new());
                        texts
                    });
                    Needs { exact, some: None }
                }
                (0, _) => Needs::default(),
                (1, Some(1)) => sub,
                _ => Needs { exact: None, some: sub.best() },
            }
        }
        HirKind::Concat(parts) => concat(parts),
        HirKind::Alternation(parts) => alternation(parts),
    }
}

/// The few letters of a class, folded; `[Rr]` is one.
fn letters(class: &Class) -> Option<Vec<String>> {
    let mut all: Vec<String> = match class {
        Class::Unicode(c) => {
            let count: usize = c.ranges().iter().map(regex_syntax::hir::ClassUnicodeRange::len).sum();
            if count > MAX_ALTERNATIVES {
                return None;
            }
            c.ranges()
                .iter()
                .flat_map(|r| r.start()..=r.end())
                .map(|c| fold_for_search(c.encode_utf8(&mut [0; 4])))
                .collect()
        }
        Class::Bytes(c) if c.is_ascii() => {
            let count: usize = c.ranges().iter().map(regex_syntax::hir::ClassBytesRange::len).sum();
            if count > MAX_ALTERNATIVES {
                return None;
            }
            let bytes = c.ranges().iter().flat_map(|r| r.start()..=r.end());
            bytes.map(|b| fold_for_search(char::from(b).encode_utf8(&mut [0; 4]))).collect()
        }
        Class::Bytes(_) => return None,
    };
    all.sort();
    all.dedup();
    (!all.is_empty()).then_some(all)
}

/// One after the other: what is exact grows together, and the rest begins anew.
fn concat(parts: &[Hir]) -> Needs {
    let (mut best, mut whole) = (None, true);
    let mut run = vec![String::new()];
    for part in parts {
        let part = needs(part);
        match part.exact {
            Some(texts) if run.len() * texts.len() <= MAX_ALTERNATIVES => {
                run = run.iter().flat_map(|a| texts.iter().map(move |b| format!("{a}{b}"))).collect();
            }
            Some(texts) => {
                whole = false;
                better(&mut best, std::mem::replace(&mut run, texts));
            }
            None => {
                whole = false;
                better(&mut best, std::mem::replace(&mut run, vec![String::new()]));
                if let Some(some) = part.some {
                    better(&mut best, some);
                }
            }
        }
    }
    if whole {
        return Needs { exact: Some(run), some: best };
    }
    better(&mut best, run);
    Needs { exact: None, some: best }
}

/// One or the other: every branch has to need something.
fn alternation(parts: &[Hir]) -> Needs {
    let branches: Vec<Needs> = parts.iter().map(needs).collect();
    let exact: Option<Vec<String>> = branches
        .iter()
        .map(|b| b.exact.clone())
        .collect::<Option<Vec<_>>>()
        .map(|all| all.into_iter().flatten().collect::<Vec<_>>())
        .filter(|all| all.len() <= MAX_NEEDED);
    let each: Option<Vec<Vec<String>>> = branches.into_iter().map(Needs::best).collect();
    let some = each.map(|all| all.into_iter().flatten().collect());
    Needs { exact, some }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pattern: &str) -> Vec<String> {
        required(&parse(pattern).unwrap()).unwrap_or_default()
    }

    #[test]
    fn patterns_need_their_longest_certain_text() {
        for (pattern, needed) in [
            ("refund", vec!["refund"]),
            (r"(?i)\b(refund|money back)\b", vec!["money back", "refund"]),
            (r"#(?<order>\d{6})\b", vec!["#"]),
            (r"(?i)^\s*(please\s+)?(stop|unsubscribe)\b", vec!["stop", "unsubscribe"]),
            (r"(?i)order[- ]?number *\d+", vec!["order number", "order-number", "ordernumber"]),
            ("a+b+", vec!["a"]),
            ("x?yes", vec!["xyes", "yes"]),
            ("(foo|ba[rz])qux", vec!["barqux", "bazqux", "fooqux"]),
            ("ÉTÉ", vec!["été"]),
            ("(?i)straße", vec!["straße"]),
        ] {
            assert_eq!(list(pattern), needed, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_match_without_a_certain_text_need_nothing() {
        for pattern in [r"\d{6}", "", ".*", "a*", "(a|)", r"[^\s]+", "(?i)[a-z]+", r"\bword|\d+", "^$"] {
            assert_eq!(list(pattern), Vec::<String>::new(), "{pattern}");
        }
    }

    #[test]
    fn the_long_s_is_an_s() {
        assert_eq!(list("(?i)stop"), ["stop"]);
        assert!(regex::Regex::new("(?i)stop").unwrap().is_match("ſtop"), "so the search must find it as well");
        assert_eq!(fold_for_search("ſTOP"), "stop");
        // The sign of the Kelvin is a k.
        assert_eq!((list("(?i)okay"), fold_for_search("O\u{212a}AY")), (vec!["okay".to_owned()], "okay".to_owned()));
    }
}
