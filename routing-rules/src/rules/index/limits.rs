//! What a rule asks for that can be looked up: the values, texts and ranges of which one has to be there for it to match.

use super::required::fold_for_search;
use crate::pack::Name;
use crate::rules::condition::{Condition, FieldCondition, Order, Test};
use crate::rules::field::Field;
use std::collections::{BTreeMap, BTreeSet};

/// A list that is longer is not looked up: it says too little.
const MAX_ATOMS: usize = 4_000;

/// Where something is looked up. The order is that of the looking: what is cheap first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A field with a fixed name, by its place in the table of fields.
    Value(usize),
    /// Attributes and facts of adapters: of one name, or of all that are not looked up by themselves.
    Named(Own, Option<String>),
    /// Numbers and times, by the field's name.
    Number(String),
    /// Texts within the message's text and subject.
    Body,
    /// Texts within any other field.
    Within,
    Hours,
    /// A field that costs more than the rest to find out, by its place in the table.
    Dear(usize),
}

/// Whose names they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Own {
    Meta,
    Conversation,
    Contact,
}

/// One thing that may be there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Atom {
    /// A folded value.
    Value(String),
    /// A name with a folded value, or with any.
    Named(String, Option<String>),
    /// A text, folded for the search, within a field.
    Text(String, Field),
    /// From and to, both included.
    Range(f64, f64),
    Hours(Name, bool),
}

/// Names that are looked up each by itself.
pub(super) type Popular = BTreeSet<(Own, String)>;

/// What has to be there, one of the atoms for each key.
pub(super) type Limits = BTreeMap<Key, Vec<Atom>>;

/// The limits of conditions that must all hold.
pub(super) fn limits(when: &[Condition], popular: &Popular) -> Limits {
    let mut all = Limits::new();
    for (key, atoms) in when.iter().flat_map(|c| condition(c, popular)) {
        let joined = match all.remove(&key) {
            Some(before) => both(before, atoms),
            None => atoms,
        };
        all.insert(key, joined);
    }
    all.retain(|_, atoms| atoms.len() <= MAX_ATOMS);
    all
}

fn condition(condition: &Condition, popular: &Popular) -> Limits {
    match condition {
        Condition::Field(c) => of_field(c, popular).into_iter().collect(),
        Condition::All(lists) => {
            let joined: Vec<Condition> = lists.iter().flatten().cloned().collect();
            limits(&joined, popular)
        }
        Condition::Any(lists) => {
            let mut branches = lists.iter().map(|l| limits(l, popular));
            let Some(mut common) = branches.next() else { return Limits::new() };
            for branch in branches {
                common.retain(|key, _| branch.contains_key(key));
                for (key, atoms) in branch {
                    if let Some(all) = common.get_mut(&key) {
                        all.extend(atoms);
                    }
                }
            }
            common
        }
        Condition::Not(_) => Limits::new(),
    }
}

/// Two lists of which both must have a hit: ranges are cut, else the one that says more stands for both.
fn both(a: Vec<Atom>, b: Vec<Atom>) -> Vec<Atom> {
    let ranges = |list: &[Atom]| -> Option<Vec<(f64, f64)>> {
        list.iter().map(|x| if let Atom::Range(lo, hi) = x { Some((*lo, *hi)) } else { None }).collect()
    };
    if let (Some(x), Some(y)) = (ranges(&a), ranges(&b))
        && x.len() * y.len() <= MAX_ATOMS
    {
        let cut = x.iter().flat_map(|p| y.iter().map(move |q| (p.0.max(q.0), p.1.min(q.1))));
        return cut.filter(|(lo, hi)| lo <= hi).map(|(lo, hi)| Atom::Range(lo, hi)).collect();
    }
    if says(&b) > says(&a) { b } else { a }
}

/// How much a list says: the length of its shortest text, whether it asks for values, and how short it is.
fn says(list: &[Atom]) -> (usize, bool, usize) {
    let length = |x: &Atom| if let Atom::Text(t, _) = x { t.len().min(8) } else { 0 };
    let shortest = list.iter().map(length).min().unwrap_or(0);
    let valued = !list.iter().any(|x| matches!(x, Atom::Named(_, None)));
    (shortest, valued, usize::MAX - list.len())
}

fn of_field(c: &FieldCondition, popular: &Popular) -> Option<(Key, Vec<Atom>)> {
    match &c.test {
        Test::Equals(list) => Some(values(&c.field, list, popular)),
        // Each has to be there, so the first has to.
        Test::All(list) => Some(values(&c.field, list.get(..1)?, popular)),
        Test::Contains(l) | Test::Word(l) | Test::Prefix(l) | Test::Suffix(l) => {
            texts(&c.field, l.iter().map(|t| fold_for_search(t)).collect())
        }
        Test::Matches(patterns) => {
            let needed: Option<Vec<Vec<String>>> =
                patterns.iter().map(|p| p.required().map(<[String]>::to_vec)).collect();
            texts(&c.field, needed?.concat())
        }
        Test::Exists(true) | Test::Ago(..) => {
            let (own, name) = named(&c.field)?;
            Some((key_of(own, &name, popular), vec![Atom::Named(name, None)]))
        }
        Test::NumberIs(list) => number(&c.field, list.iter().map(|n| Atom::Range(*n, *n)).collect()),
        Test::Compare(order, n) => {
            let range = match order {
                Order::Greater | Order::AtLeast => Atom::Range(*n, f64::INFINITY),
                Order::Less | Order::AtMost => Atom::Range(f64::NEG_INFINITY, *n),
            };
            number(&c.field, vec![range])
        }
        // All of them must be so, so the first must.
        Test::Hours(list) => list.first().map(|(id, open)| (Key::Hours, vec![Atom::Hours(id.clone(), *open)])),
        Test::Weekday(days) => {
            let on = (0_u8..).zip(days).filter(|(_, on)| **on);
            number(&c.field, on.map(|(d, _)| Atom::Range(f64::from(d), f64::from(d))).collect())
        }
        Test::Time(ranges) => {
            let range = |a: u16, b: u16| Atom::Range(f64::from(a), f64::from(b));
            // The end of one that crosses midnight is on the next day.
            let parts = ranges.iter().flat_map(|(a, b)| [range(*a, *b), range(0, b.saturating_sub(1440))]);
            number(&c.field, parts.collect())
        }
        Test::None(_) | Test::NumberNone(_) | Test::Exists(false) => None,
    }
}

fn number(field: &Field, ranges: Vec<Atom>) -> Option<(Key, Vec<Atom>)> {
    Some((Key::Number(field.name()), ranges))
}

pub(super) fn named(field: &Field) -> Option<(Own, String)> {
    match field {
        Field::Meta(n) => Some((Own::Meta, n.clone())),
        Field::Attribute(n) => Some((Own::Conversation, n.clone())),
        Field::ContactAttribute(n) => Some((Own::Contact, n.clone())),
        _ => None,
    }
}

fn key_of(own: Own, name: &str, popular: &Popular) -> Key {
    Key::Named(own, popular.contains(&(own, name.to_owned())).then(|| name.to_owned()))
}

fn values(field: &Field, list: &[String], popular: &Popular) -> (Key, Vec<Atom>) {
    if let Some((own, name)) = named(field) {
        let key = key_of(own, &name, popular);
        return (key, list.iter().map(|v| Atom::Named(name.clone(), Some(v.clone()))).collect());
    }
    let place = field.place();
    let key = if *field == Field::Language { Key::Dear(place) } else { Key::Value(place) };
    (key, list.iter().cloned().map(Atom::Value).collect())
}

fn texts(field: &Field, list: Vec<String>) -> Option<(Key, Vec<Atom>)> {
    let key = match field {
        // Finding it out costs more than asking the rule.
        Field::Language => return None,
        Field::Text | Field::Subject | Field::Content => Key::Body,
        _ => Key::Within,
    };
    Some((key, list.into_iter().map(|t| Atom::Text(t, field.clone())).collect()))
}
