//! Patterns: checked when the pack loads, compiled when they are first asked, and known by the texts that they need.

use super::index::{parse, required, states};
use regex::{Captures, Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// How large a pattern may become when compiled, in bytes.
const MAX_COMPILED: usize = 512 * 1024;
/// With fewer states than this a pattern stays far below that, and need not be compiled to know it: a state takes some forty bytes,
/// both ways.
const PLAINLY_SMALL: usize = 1_000;
/// What one pattern may keep while it searches.
const MAX_SEARCH: usize = 256 * 1024;

/// A regular expression of a condition. Its search takes linear time.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    written: Box<str>,
    /// Of its groups.
    names: Box<[String]>,
    /// Those of the groups that take part whenever it matches.
    certain: Box<[String]>,
    required: Option<Box<[String]>>,
    compiled: OnceLock<Option<Regex>>,
}

fn compile(written: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(written).size_limit(MAX_COMPILED).dfa_size_limit(MAX_SEARCH).nest_limit(50).build()
}

/// The named groups that take part in every match.
fn certain(hir: &Hir) -> BTreeSet<&str> {
    match hir.kind() {
        HirKind::Capture(c) => {
            let mut names = certain(&c.sub);
            names.extend(c.name.as_deref());
            names
        }
        HirKind::Repetition(r) if r.min > 0 => certain(&r.sub),
        HirKind::Concat(parts) => parts.iter().flat_map(certain).collect(),
        HirKind::Alternation(ways) => {
            let mut ways = ways.iter().map(certain);
            let first = ways.next().unwrap_or_default();
            ways.fold(first, |both, way| both.intersection(&way).copied().collect())
        }
        _ => BTreeSet::new(),
    }
}

impl Pattern {
    /// A pattern that compiles. With `keep` it stays compiled; else it is compiled when it is first asked, so that ten thousand of
    /// them cost neither memory nor time before.
    pub(crate) fn new(written: &str, keep: bool) -> Result<Pattern, regex::Error> {
        let read = parse(written);
        let required = read.as_ref().and_then(required).map(Vec::into_boxed_slice);
        let plain = read.as_ref().is_some_and(|hir| states(hir) <= PLAINLY_SMALL)
            && !written.contains("(?P<")
            && !written.contains("(?<");
        if plain && !keep {
            let (names, certain) = (Box::default(), Box::default());
            return Ok(Pattern { written: written.into(), names, certain, required, compiled: OnceLock::new() });
        }
        let regex = compile(written)?;
        let names = regex.capture_names().flatten().map(str::to_owned).collect();
        let compiled = if keep { OnceLock::from(Some(regex)) } else { OnceLock::new() };
        let certain = read.as_ref().map(certain).unwrap_or_default().into_iter().map(str::to_owned).collect();
        Ok(Pattern { written: written.into(), names, certain, required, compiled })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.written
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Of the groups that have captured something, be it an empty text, whenever the pattern matches.
    pub(crate) fn certain_names(&self) -> impl Iterator<Item = &str> {
        self.certain.iter().map(String::as_str)
    }

    /// Folded texts of which one stands in whatever it matches.
    pub(crate) fn required(&self) -> Option<&[String]> {
        self.required.as_deref()
    }

    fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| compile(&self.written).ok()).as_ref()
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex().is_some_and(|r| r.is_match(text))
    }

    pub(crate) fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.regex()?.captures(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_is_not_kept_matches_as_one_that_is() {
        for keep in [true, false] {
            let p = Pattern::new(r"(?i)#(?<order>\d+)", keep).unwrap();
            assert_eq!(p.compiled.get().is_some(), keep);
            assert!(p.is_match("see #12") && !p.is_match("see 12"));
            assert_eq!(&p.captures("#12").unwrap()["order"], "12");
            assert_eq!(p.names().collect::<Vec<_>>(), ["order"]);
        }
        assert!(Pattern::new("(", true).is_err() && Pattern::new("(", false).is_err());
    }

    /// What is told of a group agrees with what it captures.
    #[test]
    fn a_group_is_certain_where_no_way_of_matching_leaves_it_out() {
        let certain = |pattern: &str| {
            let pattern = Pattern::new(pattern, true).unwrap();
            pattern.certain_names().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(certain(r"(order (?<o>\d+)|my order)"), "");
        assert_eq!(certain(r"(?<o>\d+)?x"), "");
        assert_eq!(certain(r"(?:(?<o>\d)y)*x"), "");
        assert_eq!(certain(r"(?:(?<o>\d)y){0,3}x"), "");
        assert_eq!(certain(r"(?:(?<o>\d)y)+x"), "o");
        assert_eq!(certain(r"(?<a>(?<b>x)?y)(?P<c>z{2,})"), "a c");
        assert_eq!(certain(r"(?i)#(?<order>\d*)"), "order");
        assert_eq!(certain(r"(?:a(?<n>\d)(?<m>\d))|(?:b(?<k>\d))|c"), "");
        let none = Pattern::new("(?<n>a)|b", true).unwrap();
        assert!(none.captures("b").unwrap().name("n").is_none());
    }

    /// Whatever is taken without compiling it compiles.
    #[test]
    fn what_is_plainly_small_compiles() {
        let words = ["a", "ß", r"\d", r"\w", r"\b", "[^x]", "(?i:straße)", r"[\u{80}-\u{10FFFF}]", ".", "x?", r"\p{L}"];
        for a in words {
            for b in words {
                for pattern in [
                    format!("{a}{b}"),
                    format!("({a}|{b}){{1,9}}"),
                    format!("(?:{a}{b}){{2,}}"),
                    format!("(({a}{{3}}){{3}}{b}){{3}}"),
                ] {
                    let hir = parse(&pattern).unwrap();
                    let fits = compile(&pattern).is_ok();
                    assert!(fits || states(&hir) > PLAINLY_SMALL, "{pattern}: {} states", states(&hir));
                    assert_eq!(Pattern::new(&pattern, false).is_ok(), fits, "{pattern}");
                }
            }
        }
        assert!(states(&parse(r"(?i)\border-00001\b").unwrap()) < PLAINLY_SMALL / 10, "as most are");
        let large = "(?:[a-z]{50}){50}".repeat(20);
        assert!(Pattern::new(&large, false).is_err() && states(&parse(&large).unwrap()) > PLAINLY_SMALL);
    }
}
