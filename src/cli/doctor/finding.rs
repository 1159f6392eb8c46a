//! What was found, and how it is told.

use crate::cli::screen::plain;
use serde::Serialize;

/// How bad it is; the worst first. A fault is what wakes somebody, a warning waits until morning: the two severities of
/// deploy/alerts.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    Fault,
    Warning,
    Well,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Fault => "FAULT",
            Level::Warning => "warning",
            Level::Well => "well",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub level: Level,
    /// `log`, `channel support-sms`.
    pub about: String,
    /// With numbers.
    pub seen: String,
    /// What to do.
    pub then: Option<String>,
}

impl Finding {
    pub fn fault(about: impl Into<String>, seen: impl Into<String>, then: impl Into<String>) -> Finding {
        Finding { level: Level::Fault, about: about.into(), seen: seen.into(), then: Some(then.into()) }
    }

    pub fn warning(about: impl Into<String>, seen: impl Into<String>, then: impl Into<String>) -> Finding {
        Finding { level: Level::Warning, about: about.into(), seen: seen.into(), then: Some(then.into()) }
    }

    /// A sentence that says itself what to do.
    pub fn told(level: Level, about: impl Into<String>, seen: impl Into<String>) -> Finding {
        Finding { level, about: about.into(), seen: seen.into(), then: None }
    }

    pub fn well(about: impl Into<String>, seen: impl Into<String>) -> Finding {
        Finding::told(Level::Well, about, seen)
    }

    /// What was seen, and after an arrow what to do.
    fn parts(&self) -> (String, Option<String>) {
        let then = self.then.as_ref().map(|then| plain(&format!("→ {then}")));
        (plain(&format!("{}: {}", self.about, self.seen)), then)
    }
}

/// Where the text of every line begins.
const INDENT: usize = 9;

/// A line each, the worst first and otherwise as they were found. A terminal shows a long one in several lines, with what to do in a
/// line of its own, for nothing of that may be cut.
pub(super) fn render(findings: &[Finding], width: Option<usize>) -> String {
    let mut lines = vec![];
    for finding in findings {
        let room = width.map_or(usize::MAX, |w| w.saturating_sub(INDENT).max(20));
        let (seen, then) = finding.parts();
        let whole = then.iter().fold(seen.clone(), |line, then| format!("{line} {then}"));
        let parts = match whole.chars().count() <= room {
            true => vec![whole],
            false => std::iter::once(seen).chain(then).flat_map(|part| wrapped(&part, room)).collect(),
        };
        for (n, part) in parts.into_iter().enumerate() {
            let word = if n == 0 { finding.level.word() } else { "" };
            lines.push(format!("{word:<INDENT$}{part}"));
        }
    }
    lines.join("\n")
}

/// In lines of at most so many characters, where words allow it.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// How many there are of a level.
pub(super) fn of(findings: &[Finding], level: Level) -> usize {
    findings.iter().filter(|f| f.level == level).count()
}

/// Bytes as people say them.
pub(super) fn size(bytes: u64) -> String {
    let mut unit = "B";
    let mut shown = bytes;
    let mut rest = 0;
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if shown < 1024 {
            break;
        }
        (rest, shown, unit) = (shown % 1024, shown / 1024, larger);
    }
    match shown {
        0..10 if unit != "B" => format!("{shown}.{} {unit}", rest * 10 / 1024),
        _ => format!("{shown} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_a_terminal_cuts_nothing_of_it() {
        let resume = "mend that, then `switchboard channels resume support-sms`";
        let findings = [
            Finding::fault("channel support-sms", "is paused, nothing is sent: 401, the token is wrong", resume),
            Finding::well("log", "embedded"),
        ];
        let line = "FAULT    channel support-sms: is paused, nothing is sent: 401, the token is wrong → mend that, then \
                    `switchboard channels resume support-sms`\nwell     log: embedded";
        assert_eq!(render(&findings, None), line);
        for width in [40, 80, 120] {
            let told = render(&findings, Some(width));
            assert!(told.lines().all(|l| l.chars().count() <= width), "{told}");
            assert!(told.contains("\n         → mend that, then"), "{told}");
            assert_eq!(told.split_whitespace().collect::<Vec<_>>(), line.split_whitespace().collect::<Vec<_>>());
            assert!(told.lines().skip(1).all(|l| l.starts_with("         ") || l.starts_with("well")), "{told}");
        }
    }

    #[test]
    fn what_drives_a_terminal_does_not_come_through() {
        let found = [Finding::well("daemon", "a\u{1b}[31m\u{202e}b\nc")];
        assert_eq!(render(&found, Some(80)), "well     daemon: a [31mb c");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (31 << 20, "31 MiB"),
            (1 << 30, "1.0 GiB"),
            (3 << 50, "3072 TiB"),
        ] {
            assert_eq!(size(bytes), said);
        }
    }
}
