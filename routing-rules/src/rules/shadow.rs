//! Rules that can never match, or that an earlier rule always stops. Only what is certain is said: a warning that is
//! wrong once is not read again.

use super::Rule;
use super::condition::{Condition, FieldCondition, Order, Test};
use super::field::Class;
use crate::pack::{Problem, RulePack};

/// Stopping rules that later ones are compared with; comparing all with all would be slow on the largest packs.
const MAX_COMPARED: usize = 300;

/// Warnings about the rules of a pack, with both places named.
pub(crate) fn warnings(pack: &RulePack) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut stops: Vec<&Rule> = Vec::new();
    for rule in &pack.rules {
        if let Some(why) = contradiction(&rule.when) {
            found.push(warning(
                rule,
                format!("the rule `{}` can never match: {why}", rule.name),
                "correct or remove one of them",
            ));
            continue;
        }
        if let Some(first) = stops.iter().find(|s| implies_all(&rule.when, &s.when)) {
            let message = format!(
                "the rule `{}` is never reached: `{}` at {} always stops first",
                rule.name, first.name, first.at
            );
            found.push(warning(rule, message, "move it up, or add `continue: true` to the other"));
            continue;
        }
        if !rule.continues && stops.len() < MAX_COMPARED && rule.when.iter().all(stays) {
            stops.push(rule);
        }
    }
    found
}

fn warning(rule: &Rule, message: String, hint: &str) -> Problem {
    Problem { file: rule.at.file.to_string(), line: rule.at.line, column: rule.at.column, message, hint: hint.into() }
}

/// Whether a condition cannot change between two rules of one run.
fn stays(condition: &Condition) -> bool {
    let mut fixed = true;
    condition.visit(&mut |c| fixed &= !c.field.set_by_rules());
    fixed
}

/// Whether every message that meets `from` meets all of `to`.
fn implies_all(from: &[Condition], to: &[Condition]) -> bool {
    to.iter().all(|t| from.iter().any(|f| implies(f, t)))
}

fn implies(from: &Condition, to: &Condition) -> bool {
    match (from, to) {
        (Condition::Field(f), Condition::Field(t)) => f.field == t.field && test_implies(&f.test, &t.test),
        (f, Condition::Any(lists)) if lists.iter().any(|l| implies_all(std::slice::from_ref(f), l)) => true,
        (Condition::Any(f), Condition::Any(t)) => f.iter().all(|a| t.iter().any(|b| implies_all(a, b))),
        (Condition::All(f), Condition::All(t)) => t.iter().all(|b| f.iter().any(|a| implies_all(a, b))),
        (Condition::Not(f), Condition::Not(t)) => implies_all(t, f),
        _ => false,
    }
}

fn test_implies(from: &Test, to: &Test) -> bool {
    let subset = |a: &[String], b: &[String]| a.iter().all(|x| b.contains(x));
    match (from, to) {
        (Test::Equals(a), Test::Equals(b))
        | (Test::Contains(a), Test::Contains(b))
        | (Test::Word(a), Test::Word(b))
        | (Test::Prefix(a), Test::Prefix(b))
        | (Test::Suffix(a), Test::Suffix(b)) => subset(a, b),
        (Test::All(a), Test::All(b)) | (Test::None(a), Test::None(b)) => subset(b, a),
        (Test::Word(a) | Test::Equals(a), Test::Contains(b)) => {
            a.iter().all(|x| b.iter().any(|y| x.contains(y.as_str())))
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
            | Test::Compare(..),
            Test::Exists(true),
        ) => true,
        (Test::NumberIs(a), Test::NumberIs(b)) => a.iter().all(|x| b.contains(x)),
        (Test::NumberIs(a), Test::Compare(order, n)) => a.iter().all(|x| order.holds(*x, *n)),
        (Test::Hours(a), Test::Hours(b)) => b.iter().all(|x| a.contains(x)),
        (Test::Weekday(a), Test::Weekday(b)) => a.iter().zip(b).all(|(x, y)| !x || *y),
        (Test::Time(a), Test::Time(b)) => a.iter().all(|(s, e)| b.iter().any(|(t, f)| t <= s && e <= f)),
        (Test::Compare(o, a), Test::Compare(p, b)) => compare_implies(*o, *a, *p, *b),
        _ => false,
    }
}

fn compare_implies(from: Order, a: f64, to: Order, b: f64) -> bool {
    match (from, to) {
        (Order::Greater, Order::Greater | Order::AtLeast) | (Order::AtLeast, Order::AtLeast) => a >= b,
        (Order::AtLeast, Order::Greater) => a > b,
        (Order::Less, Order::Less | Order::AtMost) | (Order::AtMost, Order::AtMost) => a <= b,
        (Order::AtMost, Order::Less) => a < b,
        _ => false,
    }
}

/// Two conditions of one list that exclude each other.
fn contradiction(when: &[Condition]) -> Option<String> {
    let fields: Vec<&FieldCondition> = when
        .iter()
        .filter_map(|c| match c {
            Condition::Field(f) => Some(f),
            _ => None,
        })
        .collect();
    for (i, a) in fields.iter().enumerate() {
        let rest = fields.get(i + 1..).unwrap_or_default();
        if let Some(b) = rest.iter().find(|b| a.field == b.field && (excludes(a, b) || excludes(b, a))) {
            return Some(format!("two conditions on `{}` at {} and {} exclude each other", a.field.name(), a.at, b.at));
        }
    }
    // `all` holds with the list around it.
    when.iter().find_map(|c| match c {
        Condition::All(lists) => {
            let joined: Vec<Condition> =
                lists.iter().flatten().cloned().chain(fields.iter().map(|f| Condition::Field((*f).clone()))).collect();
            contradiction(&joined)
        }
        _ => None,
    })
}

fn excludes(a: &FieldCondition, b: &FieldCondition) -> bool {
    let one_value = !matches!(a.field.class(), Class::Many) && a.field.name() != "content";
    match (&a.test, &b.test) {
        (Test::Exists(false), Test::Exists(true)) => true,
        (Test::Exists(false), t) => test_implies(t, &Test::Exists(true)),
        (Test::Equals(x), Test::Equals(y)) => one_value && !x.iter().any(|v| y.contains(v)),
        (Test::Equals(x), Test::None(y)) => x.iter().all(|v| y.contains(v)),
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
