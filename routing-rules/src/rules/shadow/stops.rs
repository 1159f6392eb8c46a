//! Rules that end the run, found by what whoever is shadowed by them has to ask for as well. What is found may be too much and is
//! compared condition by condition; comparing all with all would be slow on the largest packs.

use super::{implies_all, may_stop};
use crate::rules::Rule;
use crate::rules::condition::{Condition, FieldCondition, Order, Test};
use crate::rules::index::Set;
use crate::rules::index::{Bits, Posting};
use crate::rules::pattern::Pattern;
use std::collections::{BTreeMap, BTreeSet};

/// Stopping rules with nothing to find them by that later ones are compared with.
const MAX_COMPARED: usize = 300;
/// Comparisons for one pack: warnings are worth no more.
const MAX_COMPARISONS: usize = 2_000_000;
/// Values that are compared with values in what is counted as one more comparison.
const VALUES: usize = 64;
/// Kinds of questions that are looked up.
const MAX_GROUPS: usize = 32;
/// Parts into which bounds are cut.
const MAX_SLOTS: usize = 256;

/// A question of one field that only a question of the same kind implies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// One of some values: `is`, `word` and so on, of the field.
    One(&'static str, String),
    AtLeast(String),
    AtMost(String),
}

enum Asked<'p> {
    Values(Vec<&'p str>),
    Bound(f64),
}

/// The rules that ask one kind of question.
struct Group {
    kind: Kind,
    /// Those that do not.
    free: Bits,
    of: Of,
}

enum Of {
    Values(BTreeMap<String, Posting>),
    /// Bounds in parts: each with the rules whose bound lies in it, or on the side where it asks for less.
    Bounds(Vec<f64>, Vec<Bits>),
}

pub(super) struct Stops<'p> {
    flats: &'p [Vec<&'p Condition>],
    /// How many values each rule lists.
    sizes: Vec<usize>,
    groups: Vec<Group>,
    /// Rules with something to find them by.
    keyed: Bits,
    /// What the groups are of.
    kinds: BTreeSet<Kind>,
    /// Those that come before the one that is looked at.
    before: Bits,
    without_key: usize,
    left: usize,
}

impl<'p> Stops<'p> {
    pub(super) fn of(rules: &'p [Rule], flats: &'p [Vec<&'p Condition>], set: &Set<'_>) -> Stops<'p> {
        let mut asked: BTreeMap<Kind, Vec<(u32, Asked<'p>)>> = BTreeMap::new();
        let mut keyed = Bits::none(rules.len());
        for (at, (_, when)) in (0_u32..).zip(rules.iter().zip(flats)).filter(|(_, (rule, _))| may_stop(rule, set)) {
            for (kind, what) in when.iter().filter_map(|c| if let Condition::Field(c) = c { question(c) } else { None })
            {
                asked.entry(kind).or_default().push((at, what));
                keyed.add(at as usize);
            }
        }
        let mut most: Vec<(Kind, Vec<(u32, Asked<'p>)>)> = asked.into_iter().collect();
        most.sort_by_key(|(_, asked)| std::cmp::Reverse(asked.len()));
        let groups: Vec<Group> =
            most.into_iter().take(MAX_GROUPS).map(|(kind, asked)| group(kind, &asked, rules.len())).collect();
        let kinds = groups.iter().map(|g| g.kind.clone()).collect();
        let before = Bits::none(rules.len());
        let sizes = flats.iter().map(|when| when.iter().map(|c| size(c)).sum()).collect();
        Stops { flats, sizes, groups, keyed, kinds, before, without_key: 0, left: MAX_COMPARISONS }
    }

    /// A rule that stops, for those after it.
    pub(super) fn add(&mut self, at: usize) {
        if !self.keyed.has(at) {
            self.without_key += 1;
            if self.without_key > MAX_COMPARED {
                return;
            }
        }
        self.before.add(at);
    }

    /// The first rule that stops whatever meets these conditions.
    pub(super) fn shadowing(&mut self, when: &[&'p Condition]) -> Option<usize> {
        let mut said: BTreeMap<Kind, Vec<Asked<'p>>> = BTreeMap::new();
        for condition in when {
            visit(condition, &mut |c| answers(c, &self.kinds, &mut said));
        }
        let mut left = self.before.clone();
        for group in &self.groups {
            let mut met = group.free.clone();
            for what in said.get(&group.kind).into_iter().flatten() {
                group.of.look(what, &mut met);
            }
            left.keep(&met);
        }
        let mut from = 0;
        let asked = when.iter().map(|c| size(c)).sum::<usize>();
        while let Some(at) = left.next(from, std::iter::empty()) {
            self.left = self.left.checked_sub(1 + self.sizes.get(at).map_or(0, |size| size * asked / VALUES))?;
            if self.flats.get(at).is_some_and(|stop| implies_all(when, stop)) {
                return Some(at);
            }
            from = at + 1;
        }
        None
    }
}

impl Of {
    /// Adds the rules that ask for no more than this says.
    fn look(&self, what: &Asked<'_>, met: &mut Bits) {
        match (self, what) {
            // Each of its values is among those of a question that it implies, so the first is.
            (Of::Values(values), Asked::Values(list)) => {
                if let Some(rules) = list.first().and_then(|v| values.get(*v)) {
                    rules.join_into(met);
                }
            }
            (Of::Bounds(cuts, rules), Asked::Bound(n)) => {
                if let Some(rules) = rules.get(slot(cuts, *n)) {
                    met.join(rules);
                }
            }
            _ => {}
        }
    }
}

fn slot(cuts: &[f64], n: f64) -> usize {
    cuts.partition_point(|cut| *cut <= n)
}

fn group(kind: Kind, asked: &[(u32, Asked<'_>)], count: usize) -> Group {
    let mut free = Bits::all(count);
    asked.iter().for_each(|(at, _)| free.remove(*at as usize));
    let below = matches!(kind, Kind::AtLeast(_));
    let of = match kind {
        Kind::One(..) => {
            let mut values: BTreeMap<String, Vec<u32>> = BTreeMap::new();
            for (at, what) in asked {
                let Asked::Values(list) = what else { continue };
                list.iter().for_each(|v| values.entry((*v).to_owned()).or_default().push(*at));
            }
            Of::Values(values.into_iter().map(|(v, rules)| (v, Posting::new(rules, count))).collect())
        }
        Kind::AtLeast(_) | Kind::AtMost(_) => bounds(asked, count, below),
    };
    Group { kind, free, of }
}

/// Rules by their bounds. What is at least 7 implies at least 5: where `below`, the rules of all smaller parts count as well.
fn bounds(asked: &[(u32, Asked<'_>)], count: usize, below: bool) -> Of {
    let bound = |what: &Asked<'_>| if let Asked::Bound(n) = what { *n } else { f64::NAN };
    let mut cuts: Vec<f64> = asked.iter().map(|(_, what)| bound(what)).filter(|n| n.is_finite()).collect();
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    let step = cuts.len().div_ceil(MAX_SLOTS - 1).max(1);
    let cuts: Vec<f64> = cuts.into_iter().step_by(step).collect();
    let mut rules = vec![Bits::none(count); cuts.len() + 1];
    for (at, what) in asked {
        if let Some(bits) = rules.get_mut(slot(&cuts, bound(what))) {
            bits.add(*at as usize);
        }
    }
    let mut sum = Bits::none(count);
    let mut join = |bits: &mut Bits| {
        sum.join(bits);
        *bits = sum.clone();
    };
    if below {
        rules.iter_mut().for_each(&mut join)
    } else {
        rules.iter_mut().rev().for_each(&mut join)
    }
    Of::Bounds(cuts, rules)
}

/// What a condition asks that can be looked up.
fn question(c: &FieldCondition) -> Option<(Kind, Asked<'_>)> {
    let field = || c.field.name();
    let one = |kind, list: Vec<_>| Some((Kind::One(kind, field()), Asked::Values(list)));
    match &c.test {
        Test::Equals(l) => one("is", l.iter().map(String::as_str).collect()),
        Test::Word(l) => one("word", l.iter().map(String::as_str).collect()),
        Test::Prefix(l) => one("prefix", l.iter().map(String::as_str).collect()),
        Test::Suffix(l) => one("suffix", l.iter().map(String::as_str).collect()),
        Test::Matches(l) => one("matches", l.iter().map(Pattern::as_str).collect()),
        Test::Compare(Order::Greater | Order::AtLeast, n) => Some((Kind::AtLeast(field()), Asked::Bound(*n))),
        Test::Compare(Order::Less | Order::AtMost, n) => Some((Kind::AtMost(field()), Asked::Bound(*n))),
        _ => None,
    }
}

/// What a condition says of whatever meets it, for the questions of these kinds that it may imply.
fn answers<'p>(c: &'p FieldCondition, kinds: &BTreeSet<Kind>, said: &mut BTreeMap<Kind, Vec<Asked<'p>>>) {
    let field = c.field.name();
    if let Test::NumberIs(list) = &c.test {
        let least = list.iter().copied().fold(f64::INFINITY, f64::min);
        let most = list.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        said.entry(Kind::AtLeast(field.clone())).or_default().push(Asked::Bound(least));
        said.entry(Kind::AtMost(field)).or_default().push(Asked::Bound(most));
        return;
    }
    let mut say = |kind, parts: fn(&'p str) -> Vec<&'p str>, values: &'p [String]| {
        let kind = Kind::One(kind, field.clone());
        if kinds.contains(&kind) {
            let parts = values.iter().flat_map(|v| parts(v)).map(|part| Asked::Values(vec![part]));
            said.entry(kind).or_default().extend(parts);
        }
    };
    match &c.test {
        // Each of a list of which one is meant implies a question that is implied, so the first does.
        Test::Equals(list) => {
            let list = list.get(..1).unwrap_or_default();
            say("is", |v| vec![v], list);
            say("word", words, list);
            say("prefix", prefixes, list);
            say("suffix", suffixes, list);
        }
        Test::All(list) => {
            say("is", |v| vec![v], list);
            say("word", words, list);
            say("prefix", prefixes, list);
            say("suffix", suffixes, list);
        }
        Test::Word(list) => say("word", words, list.get(..1).unwrap_or_default()),
        Test::Prefix(list) => say("prefix", prefixes, list.get(..1).unwrap_or_default()),
        Test::Suffix(list) => say("suffix", suffixes, list.get(..1).unwrap_or_default()),
        _ => {
            if let Some((kind, what)) = question(c) {
                said.entry(kind).or_default().push(what);
            }
        }
    }
}

/// Of longer texts the longest parts are not looked up.
const MAX_PARTS: usize = 64;

fn prefixes(text: &str) -> Vec<&str> {
    let ends = text.char_indices().map(|(at, _)| at).skip(1).take(MAX_PARTS);
    ends.filter_map(|end| text.get(..end)).chain([text]).collect()
}

fn suffixes(text: &str) -> Vec<&str> {
    text.char_indices().rev().take(MAX_PARTS).filter_map(|(at, _)| text.get(at..)).chain([text]).collect()
}

/// The words of a text, and those that follow each other.
fn words(text: &str) -> Vec<&str> {
    let mut borders = vec![];
    let mut before = None;
    for (at, c) in text.char_indices() {
        let letter = c.is_alphanumeric() || c == '_';
        if before != Some(true) || !letter {
            borders.push(at);
        }
        before = Some(letter);
    }
    borders.push(text.len());
    borders.truncate(MAX_PARTS / 2);
    let all = borders.iter().enumerate().flat_map(|(i, from)| {
        borders.iter().skip(i + 1).filter_map(|to| text.get(*from..*to)).filter(|part| part.trim() == *part)
    });
    all.chain([text]).collect()
}

/// Every field condition that holds in some way of meeting a condition.
fn visit<'p>(condition: &'p Condition, f: &mut dyn FnMut(&'p FieldCondition)) {
    match condition {
        Condition::Field(c) => f(c),
        Condition::All(lists) | Condition::Any(lists) => lists.iter().flatten().for_each(|c| visit(c, f)),
        Condition::Not(_) => {}
    }
}

/// How many values a condition lists.
fn size(condition: &Condition) -> usize {
    let mut listed = 0;
    condition.visit(&mut |c| {
        listed += match &c.test {
            Test::Equals(l)
            | Test::None(l)
            | Test::All(l)
            | Test::Contains(l)
            | Test::Word(l)
            | Test::Prefix(l)
            | Test::Suffix(l) => l.len(),
            Test::Matches(l) => l.len(),
            Test::NumberIs(l) | Test::NumberNone(l) => l.len(),
            _ => 1,
        }
    });
    listed
}
