//! Which rules a message can meet at all.
//!
//! Every rule is looked up by what its conditions ask for: exact values, texts within texts (those that a pattern needs among
//! them), ranges of numbers and times, opening hours. For each of these the rules that the message satisfies are a set of
//! bits, rules that do not ask are in it too, and the candidates are what all sets have in common. A candidate is then asked
//! whole, so that a set may be too large but never too small. The cost is a few words of memory for 64 rules.

mod bits;
mod limits;
mod required;

pub(crate) use required::{parse, required, states};

use super::Rule;
use super::field::{FIELDS, Field};
use super::fold::fold;
use super::seen::Seen;
use crate::pack::{Name, RunOutcome, SetTarget};
use aho_corasick::AhoCorasick;
pub(crate) use bits::{Bits, Posting};
use limits::{Atom, Key, Own, limits};
use required::fold_for_search;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Fields with numbers of the operator's or an adapter's own that are looked up.
const MAX_NUMBERS: usize = 24;
/// Names of the operator's or an adapter's own that are looked up each by itself, and the questions that this takes.
const MAX_NAMES: usize = 16;
const POPULAR: usize = 32;
/// Parts into which the numbers of one field are cut.
const MAX_SLOTS: usize = 128;

#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    count: usize,
    /// In the order of looking; those that rules of the run can change come last.
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    /// Rules that do not ask for it.
    free: Bits,
    /// Rules of the same run can change what is seen of it.
    grows: bool,
    of: Of,
}

#[derive(Clone, Debug)]
enum Of {
    Value(Field, BTreeMap<String, Posting>),
    Named(Own, BTreeMap<String, Names>),
    Number(Field, Slots),
    Texts(Texts),
    Hours(BTreeMap<Name, [Posting; 2]>),
}

/// The rules that ask for one name.
#[derive(Clone, Debug)]
struct Names {
    any: Posting,
    values: BTreeMap<String, Posting>,
}

/// Numbers in parts, each with the rules whose ranges touch it.
#[derive(Clone, Debug)]
struct Slots {
    cuts: Vec<f64>,
    rules: Vec<Bits>,
}

#[derive(Clone, Debug)]
struct Texts {
    fields: Vec<Field>,
    search: AhoCorasick,
    /// By the search's pattern.
    rules: Vec<Posting>,
}

/// What the rules of a pack set, which later rules of a run can see.
#[derive(Default)]
pub(crate) struct Set<'a> {
    tags: bool,
    conversation: BTreeSet<&'a str>,
    contact: BTreeSet<&'a str>,
}

impl<'a> Set<'a> {
    pub(crate) fn of(rules: &'a [Rule]) -> Set<'a> {
        let mut set = Set { tags: rules.iter().any(|r| !r.then.tags.is_empty()), ..Set::default() };
        for (target, _) in rules.iter().flat_map(|r| &r.then.set) {
            match target {
                SetTarget::Conversation(n) => set.conversation.insert(n),
                SetTarget::Contact(n) => set.contact.insert(n),
            };
        }
        set
    }

    pub(crate) fn has(&self, field: &Field) -> bool {
        match field {
            Field::Tags => self.tags,
            Field::Attribute(n) => self.conversation.contains(n.as_str()),
            Field::ContactAttribute(n) => self.contact.contains(n.as_str()),
            _ => false,
        }
    }
}

/// Names for which so many rules ask that each is looked up by itself; a rule that asks for several of the others is found by one.
fn popular(rules: &[Rule]) -> BTreeSet<(Own, String)> {
    let mut asked: BTreeMap<(Own, String), usize> = BTreeMap::new();
    for rule in rules {
        rule.when.iter().for_each(|c| {
            c.visit(&mut |c| {
                if let Some(name) = limits::named(&c.field) {
                    *asked.entry(name).or_default() += 1;
                }
            })
        });
    }
    let mut most: Vec<((Own, String), usize)> = asked.into_iter().filter(|(_, n)| *n >= POPULAR).collect();
    most.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    most.into_iter().take(MAX_NAMES).map(|(name, _)| name).collect()
}

/// The rules that ask for something of one key, with what they ask for.
type Asked = Vec<(u32, Vec<Atom>)>;

impl RuleIndex {
    pub(crate) fn new(rules: &[Rule]) -> RuleIndex {
        let (set, popular) = (Set::of(rules), popular(rules));
        let mut asked: BTreeMap<Key, Asked> = BTreeMap::new();
        for (position, rule) in (0_u32..).zip(rules) {
            for (key, atoms) in limits(&rule.when, &popular) {
                asked.entry(key).or_default().push((position, atoms));
            }
        }
        let mut numbers: Vec<(usize, Key)> =
            asked.iter().filter(|(k, _)| matches!(k, Key::Number(_))).map(|(k, a)| (a.len(), k.clone())).collect();
        numbers.sort();
        numbers.iter().rev().skip(MAX_NUMBERS).for_each(|(_, key)| drop(asked.remove(key)));
        let mut groups: Vec<Group> =
            asked.into_iter().filter_map(|(key, asked)| group(key, asked, rules.len(), &set)).collect();
        groups.sort_by_key(|g| g.grows);
        RuleIndex { count: rules.len(), groups }
    }

    /// The rules that may match, as far as what was there before the run decides.
    pub(crate) fn candidates(&self, seen: &Seen<'_>) -> Candidates<'_> {
        let mut fixed = Bits::all(self.count);
        let mut growing = Vec::new();
        for group in &self.groups {
            // Nobody who is left asks for it.
            if !fixed.exceeds(&group.free) {
                continue;
            }
            let mut met = group.free.clone();
            group.of.look(seen, &fixed, &mut met);
            if group.grows {
                growing.push((group, met));
            } else {
                fixed.keep(&met);
            }
        }
        Candidates { fixed, growing }
    }
}

/// The rules that may match one message.
pub(crate) struct Candidates<'i> {
    fixed: Bits,
    /// What rules of the run may add to.
    growing: Vec<(&'i Group, Bits)>,
}

impl Candidates<'_> {
    /// The first candidate from this position on.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        self.fixed.next(from, self.growing.iter().map(|(_, met)| met))
    }

    /// A rule has hit: what it set can make others match.
    pub(crate) fn learn(&mut self, rule: &Rule, out: &RunOutcome) {
        if rule.then.tags.is_empty() && rule.then.set.is_empty() {
            return;
        }
        for (group, met) in &mut self.growing {
            for tag in &rule.then.tags {
                group.of.learn(&Field::Tags, tag, met);
            }
            for (target, _) in &rule.then.set {
                let Some(value) = out.set.get(target) else { continue };
                let field = match target {
                    SetTarget::Conversation(n) => Field::Attribute(n.clone()),
                    SetTarget::Contact(n) => Field::ContactAttribute(n.clone()),
                };
                group.of.learn(&field, value, met);
            }
        }
    }
}

impl Of {
    /// Adds the rules that what is seen satisfies. `left` are those that still matter.
    fn look(&self, seen: &Seen<'_>, left: &Bits, met: &mut Bits) {
        match self {
            Of::Value(field, values) => {
                let _ = seen.any_value(field, &mut |v| {
                    value(values, v, met);
                    false
                });
            }
            Of::Named(own, names) => match own {
                Own::Meta => seen.message.meta.iter().for_each(|(n, v)| name(names, n, v, met)),
                Own::Conversation => seen.state.attributes.iter().for_each(|(n, v)| name(names, n, v, met)),
                Own::Contact => seen.state.contact_attributes.iter().for_each(|(n, v)| name(names, n, v, met)),
            },
            Of::Number(field, slots) => {
                if let Some(rules) = seen.measure(field).and_then(|n| slots.rules.get(slots.of(n))) {
                    met.join(rules);
                }
            }
            Of::Texts(texts) if texts.fields.is_empty() => {
                for text in [seen.folded_text(), seen.folded_subject()].into_iter().flatten() {
                    texts.find(text, met);
                }
            }
            Of::Texts(texts) => {
                for field in &texts.fields {
                    let _ = seen.any_value(field, &mut |v| {
                        texts.find(&fold(v), met);
                        false
                    });
                }
            }
            Of::Hours(hours) => {
                for (id, states) in hours.iter().filter(|(_, s)| s.iter().any(|p| p.meets(left))) {
                    let state = seen.hours_open(id).and_then(|open| states.get(usize::from(open)));
                    if let Some(rules) = state {
                        rules.join_into(met);
                    }
                }
            }
        }
    }

    /// Adds the rules that a value satisfies which a rule has just given to a field.
    fn learn(&self, field: &Field, now: &str, met: &mut Bits) {
        match (self, field) {
            (Of::Value(of, values), _) if of == field => value(values, now, met),
            (Of::Named(Own::Conversation, names), Field::Attribute(n))
            | (Of::Named(Own::Contact, names), Field::ContactAttribute(n)) => name(names, n, now, met),
            (Of::Texts(texts), _) if texts.fields.contains(field) => texts.find(&fold(now), met),
            _ => {}
        }
    }
}

fn value(values: &BTreeMap<String, Posting>, seen: &str, met: &mut Bits) {
    if let Some(rules) = values.get(fold(seen.trim()).as_ref()) {
        rules.join_into(met);
    }
}

fn name(names: &BTreeMap<String, Names>, name: &str, seen: &str, met: &mut Bits) {
    if let Some(asked) = names.get(name) {
        asked.any.join_into(met);
        value(&asked.values, seen, met);
    }
}

impl Slots {
    fn of(&self, n: f64) -> usize {
        self.cuts.partition_point(|cut| *cut <= n)
    }

    fn new(asked: &Asked, count: usize) -> Slots {
        let ranges = || asked.iter().flat_map(|(rule, atoms)| atoms.iter().map(move |a| (*rule, a)));
        let ends = ranges().flat_map(|(_, a)| if let Atom::Range(lo, hi) = a { [*lo, *hi] } else { [f64::NAN; 2] });
        let mut ends: Vec<f64> = ends.filter(|n| n.is_finite()).collect();
        ends.sort_by(f64::total_cmp);
        ends.dedup();
        let step = ends.len().div_ceil(MAX_SLOTS - 1).max(1);
        let mut slots = Slots { cuts: ends.into_iter().step_by(step).collect(), rules: Vec::new() };
        slots.rules = vec![Bits::none(count); slots.cuts.len() + 1];
        for (rule, atom) in ranges() {
            let Atom::Range(lo, hi) = atom else { continue };
            let (first, last) = (slots.of(*lo), slots.of(*hi));
            for slot in slots.rules.iter_mut().take(last + 1).skip(first) {
                slot.add(rule as usize);
            }
        }
        slots
    }
}

impl Texts {
    /// Adds the rules of all texts that stand in this one, which is folded.
    fn find(&self, text: &str, met: &mut Bits) {
        let text: Cow<'_, str> =
            if text.contains('ſ') { Cow::Owned(fold_for_search(text)) } else { Cow::Borrowed(text) };
        let mut found = Bits::none(self.rules.len());
        for hit in self.search.find_overlapping_iter(text.as_ref()) {
            let pattern = hit.pattern().as_usize();
            if !found.add_new(pattern) {
                continue;
            }
            if let Some(rules) = self.rules.get(pattern) {
                rules.join_into(met);
            }
        }
    }
}

/// The group of one key; `None` when it cannot be looked up.
fn group(key: Key, asked: Asked, count: usize, set: &Set<'_>) -> Option<Group> {
    let mut free = Bits::all(count);
    asked.iter().for_each(|(rule, _)| free.remove(*rule as usize));
    let (of, grows) = match key {
        Key::Value(place) | Key::Dear(place) => {
            let field = FIELDS.get(place).map(|(_, f, _)| f.clone())?;
            let values = postings(each(&asked, |a| if let Atom::Value(v) = a { Some(v.clone()) } else { None }), count);
            let grows = set.has(&field);
            (Of::Value(field, values), grows)
        }
        Key::Named(own, name) => {
            let sets = |names: &BTreeSet<&str>| name.as_deref().map_or(!names.is_empty(), |n| names.contains(n));
            let grows = match own {
                Own::Meta => false,
                Own::Conversation => sets(&set.conversation),
                Own::Contact => sets(&set.contact),
            };
            (Of::Named(own, names(&asked, count)), grows)
        }
        Key::Number(field) => {
            let field = Field::parse(&field)?;
            // A range that a rule of the run can move is left to the rules.
            if set.has(&field) {
                return None;
            }
            let slots = Slots::new(&asked, count);
            (Of::Number(field, slots), false)
        }
        Key::Body => (Of::Texts(texts(&asked, count, false)?), false),
        Key::Within => {
            let texts = texts(&asked, count, true)?;
            let grows = texts.fields.iter().any(|f| set.has(f));
            (Of::Texts(texts), grows)
        }
        Key::Hours => (Of::Hours(hours(&asked, count)), false),
    };
    Some(Group { free, grows, of })
}

/// Rules by what `pick` takes of their atoms.
fn each<K: Ord>(asked: &Asked, pick: impl Fn(&Atom) -> Option<K>) -> BTreeMap<K, Vec<u32>> {
    let mut all: BTreeMap<K, Vec<u32>> = BTreeMap::new();
    for (rule, atoms) in asked {
        for key in atoms.iter().filter_map(&pick) {
            all.entry(key).or_default().push(*rule);
        }
    }
    all
}

fn postings<K: Ord>(all: BTreeMap<K, Vec<u32>>, count: usize) -> BTreeMap<K, Posting> {
    all.into_iter().map(|(k, rules)| (k, Posting::new(rules, count))).collect()
}

fn names(asked: &Asked, count: usize) -> BTreeMap<String, Names> {
    let mut all: BTreeMap<String, BTreeMap<Option<String>, Vec<u32>>> = BTreeMap::new();
    for (rule, atoms) in asked {
        for atom in atoms {
            let Atom::Named(name, value) = atom else { continue };
            all.entry(name.clone()).or_default().entry(value.clone()).or_default().push(*rule);
        }
    }
    let names = |mut asked: BTreeMap<Option<String>, Vec<u32>>| {
        let any = Posting::new(asked.remove(&None).unwrap_or_default(), count);
        let values = asked.into_iter().filter_map(|(v, rules)| Some((v?, Posting::new(rules, count))));
        Names { any, values: values.collect() }
    };
    all.into_iter().map(|(name, asked)| (name, names(asked))).collect()
}

fn texts(asked: &Asked, count: usize, with_fields: bool) -> Option<Texts> {
    let by_text = each(asked, |a| if let Atom::Text(t, _) = a { Some(t.clone()) } else { None });
    let mut fields: Vec<Field> = Vec::new();
    for (_, atoms) in asked.iter().filter(|_| with_fields) {
        for atom in atoms {
            if let Atom::Text(_, field) = atom
                && !fields.contains(field)
            {
                fields.push(field.clone());
            }
        }
    }
    let search = AhoCorasick::new(by_text.keys()).ok()?;
    let rules = by_text.into_values().map(|rules| Posting::new(rules, count)).collect();
    Some(Texts { fields, search, rules })
}

fn hours(asked: &Asked, count: usize) -> BTreeMap<Name, [Posting; 2]> {
    let mut all: BTreeMap<Name, [Vec<u32>; 2]> = BTreeMap::new();
    for (rule, atoms) in asked {
        for atom in atoms {
            if let Atom::Hours(id, open) = atom {
                let [closed, opened] = all.entry(id.clone()).or_default();
                if *open { opened.push(*rule) } else { closed.push(*rule) }
            }
        }
    }
    all.into_iter().map(|(id, states)| (id, states.map(|rules| Posting::new(rules, count)))).collect()
}
