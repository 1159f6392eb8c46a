//! Reading `when`.

use super::condition::{Condition, FieldCondition, Order, Test};
use super::field::{Class, FIELDS, Field, OPEN_FIELDS};
use super::fold::fold;
use super::language;
use super::pattern::Pattern;
use crate::pack::problem::{Place, Sink, listed, nearest};
use crate::pack::read::{
    days, duration, filled, flag, list, minutes, named, one_or_many, parse_duration, short, time_range, whole, word,
};
use crate::pack::refs::{Kind, Refs};
use crate::pack::yaml::{Node, Value, quoted};

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 2_048;
/// Patterns of a pack, and those that are kept compiled from the beginning.
pub(crate) const MAX_PATTERNS: usize = 20_000;
const KEPT_PATTERNS: usize = 1_000;
/// The longest list in one condition.
const MAX_LIST: usize = 1_000;

const TEXT_OPERATORS: &[&str] = &["contains", "word", "prefix", "suffix", "matches", "exists", "none"];
const MANY_OPERATORS: &[&str] = &["contains", "word", "prefix", "suffix", "matches", "exists", "all", "none"];
const FREE_OPERATORS: &[&str] =
    &["contains", "word", "prefix", "suffix", "matches", "gt", "gte", "lt", "lte", "exists", "none"];
const NUMBER_OPERATORS: &[&str] = &["gt", "gte", "lt", "lte", "exists", "none"];
const WORD_OPERATORS: &[&str] = &["exists", "none"];
const FLAG_OPERATORS: &[&str] = &["exists"];
const TIME_OPERATORS: &[&str] = &["gt", "gte", "lt", "lte"];

/// The operators that a field of this class takes.
pub(crate) fn operators(class: Class) -> &'static [&'static str] {
    match class {
        Class::Text => TEXT_OPERATORS,
        Class::Free => FREE_OPERATORS,
        Class::Many => MANY_OPERATORS,
        Class::Flag => FLAG_OPERATORS,
        Class::Number | Class::Duration => NUMBER_OPERATORS,
        Class::Words(_) => WORD_OPERATORS,
        Class::Time => TIME_OPERATORS,
        Class::Hours | Class::Weekday => &[],
    }
}

/// Reads conditions: patterns are compiled, names that must exist are noted.
pub(crate) struct ConditionReader<'k> {
    pub sink: &'k mut Sink,
    pub refs: &'k mut Refs,
    /// Patterns that may still be compiled, over the whole pack.
    pub patterns_left: &'k mut usize,
}

impl ConditionReader<'_> {
    /// A map of conditions that must all hold.
    pub(crate) fn conditions(&mut self, node: &Node) -> Vec<Condition> {
        let mut all = Vec::new();
        for (at, name, value) in named(node, "conditions", self.sink) {
            match name {
                "any" | "all" => all.extend(self.branches(name, value)),
                "not" => all.extend(self.not(value)),
                _ => match Field::parse(name) {
                    Some(field) => all.extend(self.field(at, &field, value)),
                    None => self.unknown(at, name),
                },
            }
        }
        all
    }

    fn unknown(&mut self, at: &Place, name: &str) {
        let names = FIELDS.iter().map(|(n, ..)| *n).chain(["any", "all", "not"]);
        let hint = match (nearest(name, names), OPEN_FIELDS.iter().find(|p| name.starts_with(*p))) {
            (_, Some(p)) => format!("after `{p}` write letters, digits, `-` or `_`"),
            _ if matches!(name, "contact" | "meta" | "attributes" | "conversation") => {
                "write dotted names, such as `contact.tags: vip`, `attributes.order: 5` or `meta.followers: { gt: 100 }`".into()
            }
            (Some(n), _) => format!("did you mean `{n}`"),
            (None, None) => {
                let names: Vec<&str> = FIELDS.iter().map(|(n, ..)| *n).collect();
                format!("write one of {}, `meta.<name>`, `attributes.<name>`", listed(&names))
            }
        };
        self.sink.error(at, format!("unknown field `{}` in a condition", short(name)), hint);
    }

    fn branches(&mut self, name: &str, node: &Node) -> Option<Condition> {
        let items = list(node, &format!("`{name}`"), self.sink)?;
        if items.is_empty() {
            self.sink.error(&node.at, format!("`{name}` has an empty list"), "list at least one map of conditions");
            return None;
        }
        let lists = items.iter().map(|i| self.filled_conditions(i, name)).collect();
        Some(if name == "any" { Condition::Any(lists) } else { Condition::All(lists) })
    }

    fn filled_conditions(&mut self, node: &Node, name: &str) -> Vec<Condition> {
        if matches!(&node.value, Value::Map(entries) if entries.is_empty()) {
            self.sink.error(&node.at, format!("an empty map in `{name}`"), "write a condition in it, or remove it");
        }
        self.conditions(node)
    }

    fn not(&mut self, node: &Node) -> Option<Condition> {
        if let Value::Map(entries) = &node.value
            && entries.len() != 1
        {
            let hint = "write `not: { any: […] }` with a map for each, or `not: { all: […] }`";
            self.sink.error(&node.at, format!("`not` takes one condition, not {}", entries.len()), hint);
            return None;
        }
        Some(Condition::Not(self.conditions(node)))
    }

    fn field(&mut self, at: &Place, field: &Field, node: &Node) -> Vec<Condition> {
        let tests = match (field.class(), &node.value) {
            (_, Value::Bad) => Vec::new(),
            (Class::Hours, _) => self.hours(node).into_iter().collect(),
            (Class::Weekday, _) => self.weekdays(node).into_iter().collect(),
            (_, Value::Map(_)) => self.operators(field, node),
            (Class::Time, _) => self.times(node).into_iter().collect(),
            _ => self.equals(field, node, false).into_iter().collect(),
        };
        let make = |test| Condition::Field(FieldCondition { at: at.clone(), field: field.clone(), test });
        tests.into_iter().map(make).collect()
    }

    fn operators(&mut self, field: &Field, node: &Node) -> Vec<Test> {
        let known = operators(field.class());
        let entries = named(node, "operators", self.sink);
        if entries.is_empty() {
            self.sink.error(
                &node.at,
                format!("`{}` has no operator", field.name()),
                format!("write one of {}", listed(known)),
            );
        }
        let mut tests = Vec::new();
        for (at, name, value) in entries {
            if known.contains(&name) {
                tests.extend(self.operator(field, name, value));
                continue;
            }
            let every: Vec<&str> = FREE_OPERATORS.iter().copied().chain(["all"]).collect();
            let message = if every.contains(&name) {
                format!("`{}` cannot be asked with `{name}`", field.name())
            } else {
                format!("unknown operator `{}` for `{}`", short(name), field.name())
            };
            let hint = match nearest(name, known.iter().copied()) {
                Some(n) => format!("did you mean `{n}`"),
                None => format!("write a value, a list, or one of {}", listed(known)),
            };
            self.sink.error(at, message, hint);
        }
        tests
    }

    fn operator(&mut self, field: &Field, name: &str, node: &Node) -> Option<Test> {
        let order = match name {
            "gt" => Order::Greater,
            "gte" => Order::AtLeast,
            "lt" => Order::Less,
            "lte" => Order::AtMost,
            "exists" => return flag(node, "a value for `exists`", self.sink).map(Test::Exists),
            "none" => return self.equals(field, node, true),
            "all" => return self.texts(field, node).map(|t| Test::All(trimmed(t, str::trim))),
            "contains" => return self.texts(field, node).map(Test::Contains),
            "word" => return self.texts(field, node).map(|t| Test::Word(trimmed(t, str::trim))),
            "prefix" => return self.texts(field, node).map(|t| Test::Prefix(trimmed(t, str::trim_start))),
            "suffix" => return self.texts(field, node).map(|t| Test::Suffix(trimmed(t, str::trim_end))),
            _ => return self.patterns(field, node).map(Test::Matches),
        };
        match (&node.value, field.class()) {
            (Value::Text(t), Class::Free) if let Ok(ms) = parse_duration(t) => Some(Test::Ago(order, ms)),
            _ => self.number(field, node).map(|n| Test::Compare(order, n)),
        }
    }

    fn equals(&mut self, field: &Field, node: &Node, none: bool) -> Option<Test> {
        match field.class() {
            Class::Number | Class::Duration => {
                let numbers: Vec<f64> = one_or_many(node).iter().filter_map(|n| self.number(field, n)).collect();
                self.not_empty(field, node)?;
                Some(if none { Test::NumberNone(numbers) } else { Test::NumberIs(numbers) })
            }
            _ => {
                let texts = trimmed(self.texts(field, node)?, str::trim);
                // Only whole names must exist; a part of one may be anything.
                self.refer(field, node);
                Some(if none { Test::None(texts) } else { Test::Equals(texts) })
            }
        }
    }

    fn not_empty(&mut self, field: &Field, node: &Node) -> Option<()> {
        let count = one_or_many(node).len();
        if count == 0 && !matches!(node.value, Value::Bad) {
            self.sink.error(&node.at, format!("`{}` has an empty list", field.name()), "list at least one value");
        }
        if count > MAX_LIST {
            let hint = format!("at most {MAX_LIST}; use `matches`, or several rules");
            self.sink.error(&node.at, format!("a list of {count} values"), hint);
        }
        (1..=MAX_LIST).contains(&count).then_some(())
    }

    /// Folded texts, which are checked when the field knows which there can be.
    fn texts(&mut self, field: &Field, node: &Node) -> Option<Vec<String>> {
        self.not_empty(field, node)?;
        let what = format!("a value of `{}`", field.name());
        let mut texts = Vec::new();
        for item in one_or_many(node) {
            let text = match field.class() {
                Class::Flag => word(item, &what, &["true", "false"], self.sink),
                Class::Words(known) => word(item, &what, known, self.sink),
                _ => filled(item, &what, self.sink),
            };
            let Some(text) = text else { continue };
            texts.push(fold(text).into_owned());
        }
        Some(texts)
    }

    fn refer(&mut self, field: &Field, node: &Node) {
        let kind = match field {
            Field::Channel => Kind::Channel,
            Field::Queue => Kind::Queue,
            Field::ContactAgent => Kind::Agent,
            Field::Language => return self.languages(node),
            _ => return,
        };
        for item in one_or_many(node) {
            if let Value::Text(name) = &item.value {
                self.refs.add(&item.at, kind, name);
            }
        }
    }

    /// Another word than a code would never match.
    fn languages(&mut self, node: &Node) {
        for item in one_or_many(node) {
            if let Value::Text(written) = &item.value
                && !language::is_code(written)
            {
                let hint = "write the two letters of ISO 639-1, such as `de`, or `unknown`";
                self.sink.error(&item.at, format!("`{}` is not a language", short(written)), hint);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "durations stay far below 2^53 ms")]
    fn number(&mut self, field: &Field, node: &Node) -> Option<f64> {
        let what = format!("`{}`", field.name());
        match field.class() {
            Class::Duration => duration(node, &what, 0, self.sink).map(|ms| ms as f64),
            Class::Number => whole(node, &format!("a number for {what}"), 0..=u32::MAX, self.sink).map(f64::from),
            Class::Time => {
                let t = filled(node, &what, self.sink)?;
                let m = minutes(t);
                if m.is_none() {
                    self.sink.error(&node.at, format!("`{}` is not a time", short(t)), "write it as \"09:00\"");
                }
                m.map(f64::from)
            }
            _ => {
                let t = filled(node, &what, self.sink)?;
                let n = t.parse::<f64>().ok().filter(|n| n.is_finite());
                if n.is_none() {
                    self.sink.error(
                        &node.at,
                        format!("`{}` is not a number", short(t)),
                        "write digits, such as 1000 or 2.5, or how long ago a time is, such as 10m",
                    );
                }
                n
            }
        }
    }

    fn patterns(&mut self, field: &Field, node: &Node) -> Option<Vec<Pattern>> {
        self.not_empty(field, node)?;
        let mut patterns = Vec::new();
        for item in one_or_many(node) {
            let Some(written) = filled(item, "a pattern", self.sink) else { continue };
            patterns.extend(self.pattern(&item.at, written));
        }
        Some(patterns)
    }

    fn pattern(&mut self, at: &Place, written: &str) -> Option<Pattern> {
        if written.len() > MAX_PATTERN {
            let hint = format!("at most {MAX_PATTERN} bytes; split it into several");
            self.sink.error(at, format!("a pattern of {} bytes", written.len()), hint);
            return None;
        }
        let Some(left) = self.patterns_left.checked_sub(1) else {
            self.sink.error(at, "the pack has too many patterns", "use `contains` or `word` where they do");
            return None;
        };
        *self.patterns_left = left;
        // The first ones are kept as they are; of a large pack most are never asked.
        match Pattern::new(written, left >= MAX_PATTERNS - KEPT_PATTERNS) {
            Ok(pattern) => Some(pattern),
            Err(regex::Error::CompiledTooBig(_)) => {
                self.sink.error(at, "a pattern that is too large when compiled", "repeat less, as in {1,9}");
                None
            }
            Err(e) => {
                let said = e.to_string();
                let why = said.lines().last().unwrap_or_default().trim_start_matches("error: ").trim();
                let hint = if why.contains("look-around") || why.contains("backreferences") {
                    "patterns are linear-time: use `not` with another condition instead".to_owned()
                } else {
                    format!("correct {}", quoted(&short(written)))
                };
                self.sink.error(at, format!("not a pattern: {why}"), hint);
                None
            }
        }
    }

    fn hours(&mut self, node: &Node) -> Option<Test> {
        let Value::Map(entries) = &node.value else {
            let hint = "write `hours: { office: open }` or `hours: { office: closed }` with an id from `hours:`";
            self.sink.error(&node.at, "`hours` takes a map", hint);
            return None;
        };
        if entries.is_empty() {
            self.sink.error(&node.at, "`hours` names none", "write `hours: { office: closed }`");
            return None;
        }
        let mut wanted = Vec::new();
        for (at, id, value) in named(node, "`hours`", self.sink) {
            self.refs.add(at, Kind::Hours, id);
            if let Some(w) = word(value, "a state of hours", &["open", "closed"], self.sink) {
                wanted.push((id.to_owned(), w == "open"));
            }
        }
        Some(Test::Hours(wanted))
    }

    fn weekdays(&mut self, node: &Node) -> Option<Test> {
        if matches!(node.value, Value::Map(_)) {
            self.sink.error(&node.at, "`weekday` takes no operators", "write `weekday: [mon-fri]` or `weekday: sat`");
            return None;
        }
        self.not_empty(&Field::Weekday, node)?;
        let mut set = [false; 7];
        for item in one_or_many(node) {
            let Some(t) = filled(item, "a weekday", self.sink) else { continue };
            for day in days(&item.at, t, self.sink) {
                if let Some(d) = set.get_mut(day) {
                    *d = true;
                }
            }
        }
        Some(Test::Weekday(set))
    }

    fn times(&mut self, node: &Node) -> Option<Test> {
        self.not_empty(&Field::Time, node)?;
        let ranges = one_or_many(node).iter().filter_map(|n| time_range(n, "a range of times", self.sink)).collect();
        Some(Test::Time(ranges))
    }
}

/// Space around a value is nothing where a text begins, ends or is the whole.
fn trimmed(texts: Vec<String>, trim: fn(&str) -> &str) -> Vec<String> {
    texts.iter().map(|text| trim(text).to_owned()).collect()
}
