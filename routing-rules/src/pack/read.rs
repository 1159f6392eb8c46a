//! Typed reading of the tree: every function reports what is wrong and returns `None`, so that a caller goes on to the
//! next value and all problems of a file come at once.

use super::problem::{Place, Sink, listed, suggestion};
use super::yaml::{Node, Value, quoted};
use switchboard_envelope::is_id;

/// The longest duration that is accepted: ten years.
const MAX_DURATION_MS: i64 = 10 * 366 * 24 * 3_600_000;

/// The entries of a map whose keys have been checked.
pub(crate) struct Keys<'a> {
    pub at: &'a Place,
    entries: &'a [(Node, Node)],
}

impl<'a> Keys<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(k, _)| is_text(k, key)).map(|(_, v)| v)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }
}

fn is_text(node: &Node, text: &str) -> bool {
    matches!(&node.value, Value::Text(t) if t == text)
}

/// A map with known keys only; `what` names it in messages, as in `a queue`.
pub(crate) fn keys<'a>(node: &'a Node, what: &str, known: &[&str], sink: &mut Sink) -> Option<Keys<'a>> {
    let entries = map(node, what, sink)?;
    for (key, _) in entries {
        if let Value::Text(k) = &key.value
            && !known.contains(&k.as_str())
        {
            sink.error(&key.at, format!("unknown key `{}` in {what}", short(k)), suggestion(k, known));
        }
    }
    Some(Keys { at: &node.at, entries })
}

pub(crate) fn map<'a>(node: &'a Node, what: &str, sink: &mut Sink) -> Option<&'a [(Node, Node)]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        Value::Bad => None,
        _ => {
            sink.error(&node.at, format!("{what} must be a map, not {}", shape(node)), "write `key: value` lines");
            None
        }
    }
}

/// Entries of a map with their keys as text.
pub(crate) fn named<'a>(node: &'a Node, what: &str, sink: &mut Sink) -> Vec<(&'a Place, &'a str, &'a Node)> {
    let entries = map(node, what, sink).unwrap_or_default();
    entries
        .iter()
        .filter_map(|(k, v)| match &k.value {
            Value::Text(t) => Some((&k.at, t.as_str(), v)),
            _ => None,
        })
        .collect()
}

pub(crate) fn list<'a>(node: &'a Node, what: &str, sink: &mut Sink) -> Option<&'a [Node]> {
    match &node.value {
        Value::List(items) => Some(items),
        Value::Bad => None,
        _ => {
            let hint = "write it as a list: [ … ], or a line with `- ` for each";
            sink.error(&node.at, format!("{what} must be a list, not {}", shape(node)), hint);
            None
        }
    }
}

/// A list, or one thing that stands for a list of one.
pub(crate) fn one_or_many(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        Value::Bad => &[],
        _ => std::slice::from_ref(node),
    }
}

pub(crate) fn shape(node: &Node) -> &'static str {
    match &node.value {
        Value::Text(_) => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Bad => "an unreadable value",
    }
}

pub(crate) fn text<'a>(node: &'a Node, what: &str, sink: &mut Sink) -> Option<&'a str> {
    match &node.value {
        Value::Text(t) => Some(t),
        Value::Bad => None,
        Value::Map(entries) if entries.iter().any(|(k, _)| !matches!(&k.value, Value::Text(_))) => None,
        _ => {
            let hint = "write one value; a text that begins with `{` or `[` needs quotes";
            sink.error(&node.at, format!("{what} must be a text, not {}", shape(node)), hint);
            None
        }
    }
}

/// A text that is not empty.
pub(crate) fn filled<'a>(node: &'a Node, what: &str, sink: &mut Sink) -> Option<&'a str> {
    let t = text(node, what, sink)?;
    if t.trim().is_empty() {
        sink.error(&node.at, format!("{what} is empty"), "write a text, or remove the key");
        return None;
    }
    Some(t)
}

/// An id of the form that every name of the workspace has.
pub(crate) fn id<'a>(node: &'a Node, what: &str, sink: &mut Sink) -> Option<&'a str> {
    let t = text(node, what, sink)?;
    check_id(&node.at, t, what, sink).then_some(t)
}

pub(crate) fn check_id(at: &Place, t: &str, what: &str, sink: &mut Sink) -> bool {
    if is_id(t) {
        return true;
    }
    let mut better: String =
        t.to_lowercase().chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    better = better.trim_matches('-').chars().take(63).collect();
    let rule = "ids hold a-z, 0-9 and `-`, start with a letter or digit, and are at most 63 long";
    let hint = if is_id(&better) { format!("write `{better}`: {rule}") } else { rule.to_owned() };
    sink.error(at, format!("`{}` cannot be {what}", short(t)), hint);
    false
}

/// One of a few words.
pub(crate) fn word<'a>(node: &'a Node, what: &str, known: &[&str], sink: &mut Sink) -> Option<&'a str> {
    let t = text(node, what, sink)?;
    if known.contains(&t) {
        return Some(t);
    }
    sink.error(&node.at, format!("`{}` is not {what}", short(t)), suggestion(t, known));
    None
}

/// `true` or `false`, written so.
pub(crate) fn flag(node: &Node, what: &str, sink: &mut Sink) -> Option<bool> {
    word(node, what, &["true", "false"], sink).map(|t| t == "true")
}

/// `true`, for actions that are either written or not.
pub(crate) fn only_true(node: &Node, what: &str, sink: &mut Sink) -> Option<()> {
    match text(node, what, sink)? {
        "true" => Some(()),
        other => {
            let hint = format!("write `{what}: true`, or remove it");
            sink.error(&node.at, format!("`{what}` takes `true`, not `{}`", short(other)), hint);
            None
        }
    }
}

pub(crate) fn whole(node: &Node, what: &str, range: std::ops::RangeInclusive<u32>, sink: &mut Sink) -> Option<u32> {
    let t = text(node, what, sink)?;
    match t.parse::<u32>() {
        Ok(n) if range.contains(&n) && !t.starts_with('+') => Some(n),
        _ => {
            let hint = format!("write a whole number from {} to {}", range.start(), range.end());
            sink.error(&node.at, format!("`{}` is not {what}", short(t)), hint);
            None
        }
    }
}

/// Units of capacity, in hundredths.
pub(crate) fn units(node: &Node, what: &str, sink: &mut Sink) -> Option<u32> {
    let t = text(node, what, sink)?;
    let (units, cents) = t.split_once('.').unwrap_or((t, "0"));
    let digits = |s: &str, most: usize| (1..=most).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    if digits(units, 4) && digits(cents, 2) {
        let cents: u32 = if cents.len() == 1 { cents.parse().unwrap_or(0) * 10 } else { cents.parse().unwrap_or(0) };
        return Some(units.parse::<u32>().unwrap_or(0) * 100 + cents);
    }
    let hint = "write units with at most two decimals, such as 5 or 2.5";
    sink.error(&node.at, format!("`{}` is not {what}", short(t)), hint);
    None
}

/// `80%`, from 1 to 100.
pub(crate) fn percent(node: &Node, what: &str, sink: &mut Sink) -> Option<u8> {
    let t = text(node, what, sink)?;
    let n = t.strip_suffix('%').and_then(|n| n.trim().parse::<u8>().ok()).filter(|n| (1..=100).contains(n));
    if n.is_none() {
        sink.error(
            &node.at,
            format!("`{}` is not {what}", short(t)),
            "write a percentage from 1% to 100%, such as 80%",
        );
    }
    n
}

/// A duration in milliseconds, at least `least`.
pub(crate) fn duration(node: &Node, what: &str, least: i64, sink: &mut Sink) -> Option<i64> {
    let t = text(node, what, sink)?;
    match parse_duration(t) {
        Ok(ms) if ms >= least => Some(ms),
        Ok(_) => {
            sink.error(&node.at, format!("`{t}` is too short for {what}"), format!("write at least {}", spell(least)));
            None
        }
        Err(hint) => {
            sink.error(&node.at, format!("`{}` is not a duration for {what}", short(t)), hint);
            None
        }
    }
}

const UNITS: [(char, i64); 5] =
    [('w', 7 * 86_400_000), ('d', 86_400_000), ('h', 3_600_000), ('m', 60_000), ('s', 1_000)];

/// `1h30m` in milliseconds, or what to write.
pub(crate) fn parse_duration(t: &str) -> Result<i64, String> {
    const HOW: &str = "write numbers with units, largest first, such as 1h30m, 45s or 7d (w, d, h, m, s)";
    if !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("it has no unit; write {t}m for minutes or {t}s for seconds"));
    }
    let (mut total, mut number, mut largest) = (0i64, None::<i64>, i64::MAX);
    for c in t.chars() {
        if let Some(d) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(i64::from(d)));
            continue;
        }
        let unit = UNITS.iter().find(|(u, _)| *u == c).map(|(_, ms)| *ms).filter(|ms| *ms < largest);
        let (Some(n), Some(unit)) = (number.take(), unit) else { return Err(HOW.into()) };
        total = total.saturating_add(n.saturating_mul(unit));
        largest = unit;
    }
    if t.is_empty() || number.is_some() {
        return Err(HOW.into());
    }
    if total > MAX_DURATION_MS {
        return Err("write at most ten years".into());
    }
    Ok(total)
}

/// A duration as it is written in a pack.
pub(crate) fn spell(ms: i64) -> String {
    let mut left = ms.max(0);
    let mut s = String::new();
    for (unit, size) in UNITS {
        if left >= size {
            s.push_str(&(left / size).to_string());
            s.push(unit);
            left %= size;
        }
    }
    if s.is_empty() { "0s".into() } else { s }
}

/// `09:00` in minutes of the day; `24:00` is the end of it.
pub(crate) fn minutes(t: &str) -> Option<u16> {
    let (h, m) = t.trim().split_once(':')?;
    let digits = |s: &str| s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(h) || !digits(m) {
        return None;
    }
    let (h, m): (u16, u16) = (h.parse().ok()?, m.parse().ok()?);
    (m < 60 && (h < 24 || (h == 24 && m == 0))).then_some(h * 60 + m)
}

/// `09:00-17:30` in minutes; the end of one that crosses midnight is beyond 24:00.
pub(crate) fn time_range(node: &Node, what: &str, sink: &mut Sink) -> Option<(u16, u16)> {
    let t = text(node, what, sink)?;
    let range = t.split_once('-').and_then(|(a, b)| Some((minutes(a)?, minutes(b)?)));
    match range {
        Some((a, b)) if a < b => Some((a, b)),
        // The day after; a shift that ends when it begins would be empty or a whole day, and nobody could tell which.
        Some((a, b)) if b < a && a < 1440 => Some((a, b + 1440)),
        _ => {
            let hint =
                "write 24-hour times with two digits, such as \"09:00-17:30\", \"22:00-06:00\" or \"00:00-24:00\"";
            sink.error(&node.at, format!("`{}` is not {what}", short(t)), hint);
            None
        }
    }
}

pub(crate) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `mon` or `mon-fri` as days from Monday 0; ranges may pass the end of the week.
pub(crate) fn days(at: &Place, t: &str, sink: &mut Sink) -> Vec<usize> {
    let day = |d: &str| DAYS.iter().position(|x| *x == d.trim());
    let range = match t.split_once('-') {
        Some((a, b)) => day(a).zip(day(b)),
        None => day(t).map(|d| (d, d)),
    };
    let Some((first, last)) = range else {
        let letters = |d: &str| d.trim().to_lowercase().chars().take(3).collect::<String>();
        let meant = t.split('-').map(letters).collect::<Vec<_>>().join("-");
        let hint = if meant.split('-').count() < 3 && meant.split('-').all(|d| DAYS.contains(&d)) {
            format!("did you mean `{meant}`")
        } else {
            format!("write one of {}, or a range such as mon-fri", listed(&DAYS))
        };
        sink.error(at, format!("`{}` is not a weekday", short(t)), hint);
        return Vec::new();
    };
    let length = (last + 7 - first) % 7;
    (0..=length).map(|i| (first + i) % 7).collect()
}

/// A value as it is shown in a message: cut, on one line.
pub(crate) fn short(t: &str) -> String {
    let mut s: String = t.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if t.chars().count() > 60 {
        s.push('…');
    }
    s
}

/// A text without `{{`, where templates are not filled in.
pub(crate) fn plain<'a>(node: &'a Node, what: &str, sink: &mut Sink) -> Option<&'a str> {
    let t = filled(node, what, sink)?;
    if t.contains("{{") || t.contains("{%") {
        sink.error(
            &node.at,
            format!("{what} is not a template"),
            format!("write a fixed text instead of {}", quoted(&short(t))),
        );
        return None;
    }
    Some(t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_units_in_order() {
        assert_eq!(parse_duration("1h30m"), Ok(5_400_000));
        assert_eq!(parse_duration("7d"), Ok(7 * 86_400_000));
        assert_eq!(parse_duration("1w"), Ok(7 * 86_400_000));
        assert_eq!(parse_duration("0s"), Ok(0));
        assert!(parse_duration("15").unwrap_err().contains("15m"));
        for bad in ["", "m", "1x", "30m1h", "1h1h", "1.5h", "-1h", "1h30", "99999999999999999999w"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(spell(5_400_000), "1h30m");
        assert_eq!(spell(0), "0s");
    }

    #[test]
    fn times_have_two_digits_and_a_day_ends_at_24() {
        assert_eq!(minutes("09:00"), Some(540));
        assert_eq!(minutes("24:00"), Some(1440));
        for bad in ["9:00", "24:01", "12:60", "0900", "ab:cd", "+1:00"] {
            assert_eq!(minutes(bad), None, "{bad}");
        }
    }

    #[test]
    fn weekday_ranges_pass_the_end_of_the_week() {
        let at = Place { file: "a".into(), line: 1, column: 1 };
        let mut sink = Sink::default();
        assert_eq!(days(&at, "mon-fri", &mut sink), [0, 1, 2, 3, 4]);
        assert_eq!(days(&at, "sat-mon", &mut sink), [5, 6, 0]);
        assert_eq!(days(&at, "wed", &mut sink), [2]);
        assert!(sink.is_empty());
        assert!(days(&at, "monday", &mut sink).is_empty());
        assert!(!sink.is_empty());
    }
}
