//! Conditions, and whether they hold. One evaluation serves running and explaining.

use super::field::Field;
use super::fold::{fold, has_word, same};
use super::pattern::Pattern;
use super::seen::Seen;
use crate::pack::{Name, Place};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use switchboard_envelope::Timestamp;

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Field(FieldCondition),
    /// Every list of conditions holds.
    All(Vec<Vec<Condition>>),
    /// At least one list of conditions holds.
    Any(Vec<Vec<Condition>>),
    /// Not all of these hold.
    Not(Vec<Condition>),
}

#[derive(Clone, Debug)]
pub(crate) struct FieldCondition {
    pub at: Place,
    pub field: Field,
    pub test: Test,
}

/// What is asked of one field. Texts are folded; a list is any-of.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Equals(Vec<String>),
    None(Vec<String>),
    All(Vec<String>),
    Contains(Vec<String>),
    Word(Vec<String>),
    Prefix(Vec<String>),
    Suffix(Vec<String>),
    Matches(Vec<Pattern>),
    Exists(bool),
    /// Numbers, or milliseconds of durations.
    NumberIs(Vec<f64>),
    NumberNone(Vec<f64>),
    /// A number, milliseconds, or minutes of the day for `time`.
    Compare(Order, f64),
    /// How long ago a time was, in milliseconds.
    Ago(Order, i64),
    /// Opening hours, and whether they must be open.
    Hours(Vec<(Name, bool)>),
    /// From Monday.
    Weekday([bool; 7]),
    /// Minutes of the day; an end beyond 24:00 is on the next day.
    Time(Vec<(u16, u16)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Greater,
    AtLeast,
    Less,
    AtMost,
}

/// How long ago a text is, where it is a time, in milliseconds.
fn ago(seen: &Seen<'_>, text: &str) -> Option<i64> {
    text.trim().parse::<Timestamp>().ok().map(|at| seen.state.now.since(at))
}

impl Order {
    fn compares(self, seen: Ordering) -> bool {
        match self {
            Order::Greater => seen.is_gt(),
            Order::AtLeast => seen.is_ge(),
            Order::Less => seen.is_lt(),
            Order::AtMost => seen.is_le(),
        }
    }

    pub(crate) fn holds(self, seen: f64, wanted: f64) -> bool {
        seen.partial_cmp(&wanted).is_some_and(|order| self.compares(order))
    }
}

impl Condition {
    pub(crate) fn holds(&self, seen: &Seen<'_>) -> bool {
        match self {
            Condition::Field(c) => c.holds(seen),
            Condition::All(lists) => lists.iter().all(|l| all_hold(l, seen)),
            Condition::Any(lists) => lists.iter().any(|l| all_hold(l, seen)),
            Condition::Not(list) => !all_hold(list, seen),
        }
    }

    /// Cheap conditions are looked at first: comparing ids before searching texts before running patterns.
    pub(crate) fn cost(&self) -> u32 {
        match self {
            Condition::Field(c) => c.cost(),
            Condition::All(lists) | Condition::Any(lists) => lists.iter().flatten().map(Condition::cost).sum(),
            Condition::Not(list) => list.iter().map(Condition::cost).sum(),
        }
    }

    /// What the named groups of the patterns that hold have captured. A group that took no part is the empty text, unless another
    /// of its name took part.
    pub(crate) fn captures(&self, seen: &Seen<'_>, found: &mut BTreeMap<String, String>) {
        match self {
            Condition::Field(c) => c.captures(seen, found),
            Condition::All(lists) => lists.iter().flatten().for_each(|c| c.captures(seen, found)),
            Condition::Any(lists) => {
                for list in lists.iter().filter(|l| all_hold(l, seen)) {
                    list.iter().for_each(|c| c.captures(seen, found));
                }
            }
            Condition::Not(_) => {}
        }
    }

    /// Names that are captured whenever this holds.
    pub(crate) fn certain_captures(&self) -> Vec<&str> {
        match self {
            Condition::Field(c) => c.certain_captures(),
            Condition::All(lists) => lists.iter().flatten().flat_map(Condition::certain_captures).collect(),
            Condition::Any(lists) => {
                let mut branches =
                    lists.iter().map(|l| l.iter().flat_map(Condition::certain_captures).collect::<Vec<_>>());
                let mut certain = branches.next().unwrap_or_default();
                for branch in branches {
                    certain.retain(|n| branch.contains(n));
                }
                certain
            }
            Condition::Not(_) => Vec::new(),
        }
    }

    /// Every field condition in it, in the order written.
    pub(crate) fn visit<'a>(&'a self, f: &mut dyn FnMut(&'a FieldCondition)) {
        match self {
            Condition::Field(c) => f(c),
            Condition::All(lists) | Condition::Any(lists) => lists.iter().flatten().for_each(|c| c.visit(f)),
            Condition::Not(list) => list.iter().for_each(|c| c.visit(f)),
        }
    }
}

pub(crate) fn all_hold(list: &[Condition], seen: &Seen<'_>) -> bool {
    list.iter().all(|c| c.holds(seen))
}

impl FieldCondition {
    pub(crate) fn holds(&self, seen: &Seen<'_>) -> bool {
        match &self.test {
            Test::Equals(wanted) => self.any(seen, |v| wanted.iter().any(|w| same(v, w))),
            Test::None(unwanted) => !self.any(seen, |v| unwanted.iter().any(|w| same(v, w))),
            Test::All(wanted) => wanted.iter().all(|w| self.any(seen, |v| same(v, w))),
            Test::Contains(wanted) => self.any_folded(seen, |v| wanted.iter().any(|w| v.contains(w.as_str()))),
            Test::Word(wanted) => self.any_folded(seen, |v| wanted.iter().any(|w| has_word(v, w))),
            Test::Prefix(wanted) => {
                self.any_folded(seen, |v| wanted.iter().any(|w| v.trim_start().starts_with(w.as_str())))
            }
            Test::Suffix(wanted) => {
                self.any_folded(seen, |v| wanted.iter().any(|w| v.trim_end().ends_with(w.as_str())))
            }
            Test::Matches(patterns) => self.any(seen, |v| patterns.iter().any(|p| p.is_match(v))),
            Test::Exists(wanted) => self.exists(seen) == *wanted,
            Test::NumberIs(wanted) => self.number(seen).is_some_and(|n| wanted.contains(&n)),
            Test::NumberNone(unwanted) => self.number(seen).is_none_or(|n| !unwanted.contains(&n)),
            Test::Compare(order, wanted) => self.number(seen).is_some_and(|n| order.holds(n, *wanted)),
            Test::Ago(order, wanted) => {
                self.any(seen, |v| ago(seen, v).is_some_and(|ms| order.compares(ms.cmp(wanted))))
            }
            Test::Hours(wanted) => wanted.iter().all(|(id, open)| seen.hours_open(id) == Some(*open)),
            Test::Weekday(days) => days.get(seen.weekday()).copied().unwrap_or(false),
            Test::Time(ranges) => {
                let now = seen.minute();
                ranges.iter().any(|(a, b)| (*a..*b).contains(&now) || (*a..*b).contains(&(now + 1440)))
            }
        }
    }

    fn cost(&self) -> u32 {
        match &self.test {
            Test::Matches(p) => 1_000 * u32::try_from(p.len()).unwrap_or(u32::MAX / 1_000),
            Test::Contains(_) | Test::Word(_) | Test::Prefix(_) | Test::Suffix(_) => 100,
            Test::Hours(_) => 50,
            Test::Weekday(_) | Test::Time(_) => 20,
            // Finding out a language costs more than searching a text.
            _ if self.field == Field::Language => 500,
            _ if self.field == Field::Channel => 0,
            _ => 10,
        }
    }

    fn any(&self, seen: &Seen<'_>, mut holds: impl FnMut(&str) -> bool) -> bool {
        seen.any_value(&self.field, &mut holds)
    }

    /// Long texts are folded once a message, the rest when it is needed.
    fn any_folded(&self, seen: &Seen<'_>, mut holds: impl FnMut(&str) -> bool) -> bool {
        match &self.field {
            Field::Text => seen.folded_text().is_some_and(holds),
            Field::Subject => seen.folded_subject().is_some_and(holds),
            Field::Content => {
                seen.folded_text().is_some_and(&mut holds) || seen.folded_subject().is_some_and(&mut holds)
            }
            field => seen.any_value(field, &mut |v| holds(&fold(v))),
        }
    }

    fn exists(&self, seen: &Seen<'_>) -> bool {
        seen.number(&self.field).is_some() || seen.any_value(&self.field, &mut |_| true)
    }

    fn number(&self, seen: &Seen<'_>) -> Option<f64> {
        if self.field == Field::Time {
            return Some(f64::from(seen.minute()));
        }
        seen.number(&self.field)
    }

    fn captures(&self, seen: &Seen<'_>, found: &mut BTreeMap<String, String>) {
        let Test::Matches(patterns) = &self.test else { return };
        let _ = seen.any_value(&self.field, &mut |v| {
            let hit = patterns.iter().find_map(|p| p.captures(v).map(|c| (p, c)));
            let Some((pattern, captures)) = hit else { return false };
            for name in pattern.names() {
                let value = captures.name(name).map_or("", |m| m.as_str());
                if found.get(name).is_none_or(String::is_empty) {
                    found.insert(name.to_owned(), value.to_owned());
                }
            }
            true
        });
    }

    fn certain_captures(&self) -> Vec<&str> {
        let Test::Matches(patterns) = &self.test else { return Vec::new() };
        let others = || patterns.iter().skip(1);
        let first = patterns.first().into_iter().flat_map(Pattern::certain_names);
        first.filter(|n| others().all(|o| o.certain_names().any(|x| x == *n))).collect()
    }
}
