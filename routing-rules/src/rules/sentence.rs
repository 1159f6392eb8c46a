//! Why a rule did not match, in a sentence.

use super::condition::{Condition, FieldCondition, Order, Test, all_hold};
use super::field::{Class, Field};
use super::pattern::Pattern;
use super::seen::Seen;
use crate::pack::FailedCondition;
use crate::pack::read::{DAYS, spell};

/// The longest value that is shown, in letters.
const MAX_SHOWN: usize = 120;
/// How many values of a list are shown.
const MAX_LISTED: usize = 5;

/// The first condition that fails, in the order written.
pub(super) fn failed(when: &[Condition], seen: &Seen<'_>) -> Option<FailedCondition> {
    when.iter().find(|c| !c.holds(seen)).map(|c| explain(c, seen))
}

fn explain(condition: &Condition, seen: &Seen<'_>) -> FailedCondition {
    match condition {
        Condition::Field(c) => field(c, seen),
        Condition::All(lists) => {
            lists.iter().find_map(|l| failed(l, seen)).unwrap_or_else(|| whole("all", "every list holds", ""))
        }
        Condition::Any(lists) => {
            let why: Vec<String> =
                lists.iter().filter_map(|l| failed(l, seen)).take(MAX_LISTED).map(|f| f.sentence).collect();
            let sentence = format!("none of the alternatives holds: {}", why.join("; "));
            FailedCondition { sentence, ..whole("any", "one of the alternatives", "none") }
        }
        Condition::Not(list) => {
            let held: Vec<String> = list.iter().map(describe).collect();
            let held = held.join(" and ");
            let saw = match list.as_slice() {
                [Condition::Field(c)] => saw(c, seen),
                _ => "it holds".to_owned(),
            };
            let sentence = format!("it must not be that {held}, and it is");
            debug_assert!(all_hold(list, seen), "a failed `not` has conditions that hold");
            FailedCondition { saw, sentence, ..whole("not", &format!("not: {held}"), "") }
        }
    }
}

fn whole(field: &str, wanted: &str, saw: &str) -> FailedCondition {
    FailedCondition { field: field.into(), wanted: wanted.into(), saw: saw.into(), sentence: String::new() }
}

fn field(c: &FieldCondition, seen: &Seen<'_>) -> FailedCondition {
    let (name, saw) = (c.field.name(), saw(c, seen));
    let missing = saw == NOTHING;
    let wanted = wanted(c);
    let sentence = match &c.test {
        Test::Exists(true) => format!("{name} is missing"),
        Test::Exists(false) => format!("{name} is {saw}, and must be missing"),
        Test::Hours(list) => {
            let wrong = list.iter().find(|(id, open)| seen.hours_open(id) != Some(*open));
            let (id, open) = wrong.map_or(("", false), |(id, open)| (id.as_str(), *open));
            let (is, not) = if open { ("closed", "open") } else { ("open", "closed") };
            format!("hours {id} are {is}, not {not}")
        }
        _ if missing => format!("{name} is missing, and must be {wanted}"),
        Test::Contains(_) | Test::Word(_) | Test::Prefix(_) | Test::Suffix(_) | Test::Matches(_) => {
            format!("{name} {}", not_found(&c.test))
        }
        Test::All(_) => format!("{name} are {saw}, not {wanted}"),
        Test::None(list) => format!("{name} has {}, and must have none of {}", saw, texts(list, "or")),
        _ => format!("{name} is {saw}, not {wanted}"),
    };
    FailedCondition { field: name, wanted, saw, sentence }
}

fn not_found(test: &Test) -> String {
    match test {
        Test::Contains(l) => format!("does not contain {}", texts(l, "or")),
        Test::Word(l) => format!("does not have the word {}", texts(l, "or")),
        Test::Prefix(l) => format!("does not begin with {}", texts(l, "or")),
        Test::Suffix(l) => format!("does not end with {}", texts(l, "or")),
        Test::Matches(l) => format!("does not match {}", patterns(l)),
        _ => String::new(),
    }
}

fn patterns(list: &[Pattern]) -> String {
    list.iter().take(MAX_LISTED).map(|p| format!("/{}/", cut(p.as_str()))).collect::<Vec<_>>().join(" or ")
}

/// What was asked for, as in `"refund" or "return"`.
fn wanted(c: &FieldCondition) -> String {
    match &c.test {
        Test::Equals(l) if matches!(c.field.class(), Class::Flag | Class::Words(_)) => l.join(" or "),
        Test::Equals(l) => texts(l, "or"),
        Test::None(l) => format!("none of {}", texts(l, "or")),
        Test::All(l) => format!("all of {}", texts(l, "and")),
        Test::Contains(l) => format!("a text with {}", texts(l, "or")),
        Test::Word(l) => format!("a text with the word {}", texts(l, "or")),
        Test::Prefix(l) => format!("a text that begins with {}", texts(l, "or")),
        Test::Suffix(l) => format!("a text that ends with {}", texts(l, "or")),
        Test::Matches(l) => format!("a text that matches {}", patterns(l)),
        Test::Exists(true) => "there".into(),
        Test::Exists(false) => "missing".into(),
        Test::NumberIs(l) => numbers(&c.field, l),
        Test::NumberNone(l) => format!("none of {}", numbers(&c.field, l)),
        Test::Compare(order, n) => format!("{} {}", ordered(*order), number(&c.field, *n)),
        Test::Ago(order, ms) => format!("{} {} ago", ordered(*order), spell(*ms)),
        Test::Hours(l) => {
            let one = |(id, open): &(String, bool)| format!("{id} {}", if *open { "open" } else { "closed" });
            l.iter().map(one).collect::<Vec<_>>().join(" and ")
        }
        Test::Weekday(set) => {
            DAYS.iter().zip(set).filter(|(_, on)| **on).map(|(d, _)| *d).collect::<Vec<_>>().join(" or ")
        }
        Test::Time(l) => {
            l.iter().map(|(a, b)| format!("{}-{}", clock(*a), clock(*b % 1441))).collect::<Vec<_>>().join(" or ")
        }
    }
}

fn ordered(order: Order) -> &'static str {
    match order {
        Order::Greater => "more than",
        Order::AtLeast => "at least",
        Order::Less => "less than",
        Order::AtMost => "at most",
    }
}

/// A condition that holds, as the end of "it must not be that …".
fn describe(condition: &Condition) -> String {
    match condition {
        Condition::Field(c) => match &c.test {
            Test::Exists(_) => format!("{} is {}", c.field.name(), wanted(c)),
            Test::Hours(_) => format!("hours are {}", wanted(c)),
            _ if c.field.class() == Class::Many => format!("{} has {}", c.field.name(), wanted(c)),
            _ => format!("{} is {}", c.field.name(), wanted(c)),
        },
        Condition::All(_) => "all of the list holds".into(),
        Condition::Any(lists) => {
            let alternatives: Vec<String> = lists
                .iter()
                .take(MAX_LISTED)
                .map(|l| l.iter().map(describe).collect::<Vec<_>>().join(" and "))
                .collect();
            alternatives.join(", or ")
        }
        Condition::Not(list) => format!("not ({})", list.iter().map(describe).collect::<Vec<_>>().join(" and ")),
    }
}

const NOTHING: &str = "nothing";

fn saw(c: &FieldCondition, seen: &Seen<'_>) -> String {
    match c.field {
        Field::Weekday => return DAYS.get(seen.weekday()).copied().unwrap_or_default().to_owned(),
        Field::Time => return clock(seen.minute()),
        Field::Hours => {
            let Test::Hours(list) = &c.test else { return NOTHING.into() };
            let one = |(id, _): &(String, bool)| {
                format!("{id} {}", if seen.hours_open(id) == Some(true) { "open" } else { "closed" })
            };
            return list.iter().map(one).collect::<Vec<_>>().join(", ");
        }
        _ => {}
    }
    if matches!(c.field.class(), Class::Number | Class::Duration) {
        return seen.number(&c.field).map_or(NOTHING.into(), |n| number(&c.field, n));
    }
    let mut values = Vec::new();
    let bare = matches!(c.field.class(), Class::Flag | Class::Words(_));
    let _ = seen.any_value(&c.field, &mut |v| {
        values.push(if bare { v.to_owned() } else { format!("\"{}\"", cut(v)) });
        values.len() >= MAX_LISTED
    });
    if values.is_empty() { NOTHING.into() } else { values.join(", ") }
}

fn cut(s: &str) -> String {
    let mut t: String = s.chars().take(MAX_SHOWN).collect();
    if s.chars().nth(MAX_SHOWN).is_some() {
        t.push('…');
    }
    t
}

fn texts(list: &[String], word: &str) -> String {
    let mut shown: Vec<String> = list.iter().take(MAX_LISTED).map(|t| format!("\"{}\"", cut(t))).collect();
    if list.len() > MAX_LISTED {
        shown.push(format!("{} more", list.len() - MAX_LISTED));
    }
    shown.join(&format!(" {word} "))
}

fn numbers(field: &Field, list: &[f64]) -> String {
    list.iter().take(MAX_LISTED).map(|n| number(field, *n)).collect::<Vec<_>>().join(" or ")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shown only; out of range saturates")]
fn number(field: &Field, n: f64) -> String {
    match field.class() {
        Class::Duration => spell(n as i64),
        Class::Time => clock(n as u16),
        _ => n.to_string(),
    }
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}
