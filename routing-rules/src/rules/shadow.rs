//! Rules that can never match, or that an earlier rule always stops. Only what is certain is said: a warning that is
//! wrong once is not read again.

mod stops;

use super::Rule;
use super::condition::{Condition, FieldCondition, Order, Test};
use super::field::{Class, Field};
use super::fold::has_word;
use super::index::Set;
use crate::event::Happening;
use crate::pack::{Problem, RulePack};
use stops::Stops;

/// Warnings about the rules of a pack, with both places named.
pub(crate) fn warnings(pack: &RulePack) -> Vec<Problem> {
    let mut found = of_run(&pack.rules);
    // Those that follow up on the same are asked one after the other as well.
    for on in Happening::ALL {
        let mut rules: Vec<Rule> = pack.follow_ups.iter().filter(|r| r.on == Some(on)).cloned().collect();
        rules.retain(|rule| {
            let new = flat(&rule.when).into_iter().any(asks_for_new);
            if new {
                let message = format!(
                    "the rule `{}` can never match: it asks for a new conversation, and what it follows up on is none",
                    rule.name
                );
                found.push(warning(rule, message, "remove the condition on `new`"));
            }
            !new
        });
        found.extend(of_run(&rules));
    }
    found
}

fn asks_for_new(condition: &Condition) -> bool {
    matches!(condition, Condition::Field(f) if is_new(f))
}

fn is_new(f: &FieldCondition) -> bool {
    f.field == Field::New && matches!(&f.test, Test::Equals(all) if all.iter().all(|v| v == "true"))
}

/// Warnings about rules that are asked in turn.
fn of_run(rules: &[Rule]) -> Vec<Problem> {
    let mut found = Vec::new();
    let flats: Vec<Vec<&Condition>> = rules.iter().map(|r| flat(&r.when)).collect();
    let set = Set::of(rules);
    let mut stops = Stops::of(rules, &flats, &set);
    for (at, (rule, when)) in rules.iter().zip(&flats).enumerate() {
        if let Some(why) = contradiction(when) {
            found.push(warning(
                rule,
                format!("the rule `{}` can never match: {why}", rule.name),
                "correct or remove one of them",
            ));
            continue;
        }
        if let Some(first) = stops.shadowing(when).and_then(|first| rules.get(first)) {
            let message = format!(
                "the rule `{}` is never reached: `{}` at {} always stops first",
                rule.name, first.name, first.at
            );
            found.push(warning(rule, message, "move it up, or add `continue: true` to the other"));
            continue;
        }
        if may_stop(rule, &set) {
            stops.add(at);
        }
    }
    found
}

/// Whether a rule ends the run for whatever meets its conditions, at whichever place it is asked.
fn may_stop(rule: &Rule, set: &Set<'_>) -> bool {
    !rule.continues && rule.when.iter().all(|c| stays(c, set))
}

/// Conditions that must all hold, those in `all` among them.
fn flat(when: &[Condition]) -> Vec<&Condition> {
    when.iter()
        .flat_map(|c| match c {
            Condition::All(lists) => lists.iter().flat_map(|l| flat(l)).collect(),
            other => vec![other],
        })
        .collect()
}

fn warning(rule: &Rule, message: String, hint: &str) -> Problem {
    Problem { file: rule.at.file.to_string(), line: rule.at.line, column: rule.at.column, message, hint: hint.into() }
}

/// Whether a condition cannot change between two rules of one run.
fn stays(condition: &Condition, set: &Set<'_>) -> bool {
    let mut fixed = true;
    condition.visit(&mut |c| fixed &= !set.has(&c.field));
    fixed
}

/// Whether every message that meets `from` meets all of `to`.
fn implies_all(from: &[&Condition], to: &[&Condition]) -> bool {
    to.iter().all(|t| from.iter().any(|f| implies(f, t)))
}

fn implies(from: &Condition, to: &Condition) -> bool {
    if let (Some((f, refused)), Some((t, unwanted))) = (question(from), question(to)) {
        return f.field == t.field
            && match (refused, unwanted) {
                (false, false) => test_implies(&f.test, &t.test) || is_another(f, &t.test),
                // Who meets none of the second meets none of the first.
                (true, true) => test_implies(&t.test, &f.test),
                (true, false) => refusal_implies(&f.test, &t.test),
                (false, true) => refusal_implies(&t.test, &f.test) || excludes(f, t) || excludes(t, f),
            };
    }
    match (from, to) {
        (f, Condition::Any(lists)) if lists.iter().any(|l| implies_all(&[f], &flat(l))) => true,
        (Condition::Any(f), Condition::Any(t)) => f.iter().all(|a| t.iter().any(|b| implies_all(&flat(a), &flat(b)))),
        (Condition::Any(f), t) => f.iter().all(|a| implies_all(&flat(a), &[t])),
        (Condition::Not(f), Condition::Not(t)) => implies_all(&flat(t), &flat(f)),
        _ => false,
    }
}

/// The one question that a condition asks, and whether the answer has to be no.
fn question(condition: &Condition) -> Option<(&FieldCondition, bool)> {
    match condition {
        Condition::Field(c) => Some((c, false)),
        Condition::Not(list) => match list.as_slice() {
            [Condition::Field(c)] => Some((c, true)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether whatever does not meet the first meets the second; and, as that is the same, the other way round.
fn refusal_implies(refused: &Test, to: &Test) -> bool {
    match (refused, to) {
        (Test::Equals(a), Test::None(b)) => b.iter().all(|x| a.contains(x)),
        (Test::None(a), Test::Equals(b)) => a.iter().all(|x| b.contains(x)),
        (Test::NumberIs(a), Test::NumberNone(b)) => b.iter().all(|x| a.contains(x)),
        (Test::NumberNone(a), Test::NumberIs(b)) => a.iter().all(|x| b.contains(x)),
        (Test::Exists(a), Test::Exists(b)) => a != b,
        _ => false,
    }
}

/// Whether the only value that a field can have is none of those that are not wanted.
fn is_another(from: &FieldCondition, to: &Test) -> bool {
    match (&from.test, to) {
        (Test::Equals(a), Test::None(b)) => has_one_value(&from.field) && !a.iter().any(|x| b.contains(x)),
        _ => false,
    }
}

fn has_one_value(field: &Field) -> bool {
    !matches!(field.class(), Class::Many) && *field != Field::Content
}

fn test_implies(from: &Test, to: &Test) -> bool {
    let subset = |a: &[String], b: &[String]| a.iter().all(|x| b.contains(x));
    let each =
        |a: &[String], b: &[String], holds: fn(&str, &str) -> bool| a.iter().all(|x| b.iter().any(|y| holds(x, y)));
    match (from, to) {
        (Test::Equals(a), Test::Equals(b)) => subset(a, b),
        (Test::Equals(a), Test::All(b)) => a.iter().all(|x| b.iter().all(|y| x == y)),
        (Test::All(a), Test::All(b)) | (Test::None(a), Test::None(b)) => subset(b, a),
        (Test::Equals(a) | Test::Word(a), Test::Word(b)) => each(a, b, has_word),
        (Test::Equals(a) | Test::Prefix(a), Test::Prefix(b)) => each(a, b, |x, y| x.starts_with(y)),
        (Test::Equals(a) | Test::Suffix(a), Test::Suffix(b)) => each(a, b, |x, y| x.ends_with(y)),
        (
            Test::Equals(a) | Test::Word(a) | Test::Prefix(a) | Test::Suffix(a) | Test::Contains(a),
            Test::Contains(b),
        ) => each(a, b, |x, y| x.contains(y)),
        // Of several values that are all there, one is enough.
        (Test::All(a), Test::Equals(_) | Test::Word(_) | Test::Prefix(_) | Test::Suffix(_) | Test::Contains(_)) => {
            a.iter().any(|x| test_implies(&Test::Equals(vec![x.clone()]), to))
        }
        (Test::Matches(a), Test::Matches(b)) => a.iter().all(|x| b.iter().any(|y| x.as_str() == y.as_str())),
        (Test::Exists(a), Test::Exists(b)) => a == b,
        (
            Test::Equals(_)
            | Test::All(_)
            | Test::Contains(_)
            | Test::Word(_)
            | Test::Prefix(_)
            | Test::Suffix(_)
            | Test::Matches(_)
            | Test::NumberIs(_)
            | Test::Compare(..)
            | Test::Ago(..),
            Test::Exists(true),
        ) => true,
        (Test::NumberIs(a), Test::NumberIs(b)) => a.iter().all(|x| b.contains(x)),
        (Test::NumberNone(a), Test::NumberNone(b)) => b.iter().all(|x| a.contains(x)),
        (Test::NumberIs(a), Test::NumberNone(b)) => !a.iter().any(|x| b.contains(x)),
        (Test::NumberIs(a), Test::Compare(order, n)) => a.iter().all(|x| order.holds(*x, *n)),
        (Test::Hours(a), Test::Hours(b)) => b.iter().all(|x| a.contains(x)),
        (Test::Weekday(a), Test::Weekday(b)) => a.iter().zip(b).all(|(x, y)| !x || *y),
        (Test::Time(a), Test::Time(b)) => a.iter().all(|(s, e)| b.iter().any(|(t, f)| t <= s && e <= f)),
        (Test::Compare(o, a), Test::Compare(p, b)) => compare_implies(*o, *a, *p, *b),
        (Test::Ago(o, a), Test::Ago(p, b)) => compare_implies(*o, *a, *p, *b),
        _ => false,
    }
}

fn compare_implies<T: PartialOrd>(from: Order, a: T, to: Order, b: T) -> bool {
    match (from, to) {
        (Order::Greater, Order::Greater | Order::AtLeast) | (Order::AtLeast, Order::AtLeast) => a >= b,
        (Order::AtLeast, Order::Greater) => a > b,
        (Order::Less, Order::Less | Order::AtMost) | (Order::AtMost, Order::AtMost) => a <= b,
        (Order::AtMost, Order::Less) => a < b,
        _ => false,
    }
}

/// Conditions that must all hold and exclude each other.
fn contradiction(when: &[&Condition]) -> Option<String> {
    let fields: Vec<&FieldCondition> =
        when.iter().filter_map(|c| if let Condition::Field(f) = c { Some(f) } else { None }).collect();
    for (i, a) in fields.iter().enumerate() {
        if a.field == Field::Language && matches!(a.test, Test::Exists(false)) {
            return Some(format!("at {} it asks for no language, and one that cannot be told is `unknown`", a.at));
        }
        let rest = fields.get(i + 1..).unwrap_or_default();
        if let Some(b) = rest.iter().find(|b| a.field == b.field && (excludes(a, b) || excludes(b, a))) {
            return Some(format!("two conditions on `{}` at {} and {} exclude each other", a.field.name(), a.at, b.at));
        }
        if let Some(b) = fields.iter().find(|b| never_new(a, b)) {
            let name = b.field.name();
            return Some(format!(
                "at {} it asks for a new conversation, and at {} for `{name}`, which a new one has not",
                a.at, b.at
            ));
        }
    }
    for condition in when {
        match condition {
            Condition::Not(list) if implies_all(when, &flat(list)) => {
                return Some("what its `not` excludes is asked for beside it".into());
            }
            Condition::Any(lists) => {
                let with = |l: &[Condition]| {
                    let beside = fields.iter().map(|f| Condition::Field((*f).clone()));
                    let all: Vec<Condition> = l.iter().cloned().chain(beside).collect();
                    contradiction(&flat(&all))
                };
                let whys: Option<Vec<String>> = lists.iter().map(|l| with(l)).collect();
                if let Some(why) = whys.and_then(|w| w.into_iter().next()) {
                    return Some(format!("no alternative of its `any` can hold; in the first, {why}"));
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether the first asks for a new conversation and the second for what only an older one has.
fn never_new(a: &FieldCondition, b: &FieldCondition) -> bool {
    is_new(a)
        && match (&b.field, &b.test) {
            (Field::State | Field::Queue | Field::Priority | Field::Silence, t) => test_implies(t, &Test::Exists(true)),
            (Field::Age | Field::Messages, Test::Compare(order, n)) => !order.holds(0.0, *n),
            (Field::Age | Field::Messages, Test::NumberIs(l)) => !l.contains(&0.0),
            _ => false,
        }
}

fn in_ranges(ranges: &[(u16, u16)], minute: u16) -> bool {
    ranges.iter().any(|(a, b)| (*a..*b).contains(&minute) || (*a..*b).contains(&(minute + 1440)))
}

fn excludes(a: &FieldCondition, b: &FieldCondition) -> bool {
    let one_value = has_one_value(&a.field);
    match (&a.test, &b.test) {
        (Test::Exists(false), Test::Exists(true)) => true,
        (Test::Exists(false), t) => test_implies(t, &Test::Exists(true)),
        (Test::Equals(x), Test::Equals(y)) => one_value && !x.iter().any(|v| y.contains(v)),
        (Test::Equals(x), Test::None(y)) => x.iter().all(|v| y.contains(v)),
        (Test::All(x), Test::None(y)) => x.iter().any(|v| y.contains(v)),
        // Space around the value is not in `x`.
        (Test::Equals(x), Test::Prefix(y)) if one_value => {
            !x.iter().any(|v| y.iter().any(|w| v.starts_with(w.trim_end())))
        }
        (Test::Equals(x), Test::Suffix(y)) if one_value => {
            !x.iter().any(|v| y.iter().any(|w| v.ends_with(w.trim_start())))
        }
        (Test::Equals(x), Test::Contains(y)) if one_value => !x.iter().any(|v| y.iter().any(|w| v.contains(w.trim()))),
        (Test::Hours(x), Test::Hours(y)) => x.iter().any(|(id, open)| y.contains(&(id.clone(), !open))),
        (Test::Time(x), Test::Time(y)) => !(0..1440).any(|m| in_ranges(x, m) && in_ranges(y, m)),
        (Test::NumberIs(x), Test::NumberIs(y)) => !x.iter().any(|v| y.contains(v)),
        (Test::NumberIs(x), Test::Compare(order, n)) => !x.iter().any(|v| order.holds(*v, *n)),
        (
            Test::Compare(lo @ (Order::Greater | Order::AtLeast), x),
            Test::Compare(hi @ (Order::Less | Order::AtMost), y),
        ) => x > y || (x == y && (*lo == Order::Greater || *hi == Order::Less)),
        (Test::Weekday(x), Test::Weekday(y)) => !x.iter().zip(y).any(|(p, q)| *p && *q),
        _ => false,
    }
}
