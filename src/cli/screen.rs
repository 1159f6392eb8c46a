use crate::config::Environment;
use std::io::{IsTerminal as _, Write as _};
use switchboard_envelope::Timestamp;

/// Where commands print: the only place of the program that does.
pub(crate) struct Screen {
    /// Columns of the terminal, or as many as `$COLUMNS` says; `None` when the output goes elsewhere and is not cut.
    pub width: Option<usize>,
    pub now: Timestamp,
    /// What was printed, kept instead of shown, in tests.
    #[cfg(test)]
    pub kept: Option<String>,
}

impl Screen {
    pub fn of_process(env: &Environment) -> Screen {
        let given = env.get("COLUMNS").ok().flatten().and_then(|c| c.parse::<usize>().ok());
        let terminal = || terminal_size::terminal_size().map(|(w, _)| usize::from(w.0));
        let terminal = || std::io::stdout().is_terminal().then(terminal).flatten();
        let width = given.or_else(terminal).map(|w| w.max(40));
        Screen {
            width,
            now: crate::clock::now(),
            #[cfg(test)]
            kept: None,
        }
    }

    #[cfg(test)]
    pub fn of_test(width: Option<usize>) -> Screen {
        Screen { width, now: "2026-11-21T20:30:00Z".parse().expect("a time"), kept: Some(String::new()) }
    }

    /// One or more lines to the standard output. A reader that went away is no error: the command is over anyway.
    pub fn out(&mut self, text: &str) {
        #[cfg(test)]
        if let Some(kept) = &mut self.kept {
            kept.push_str(text);
            kept.push('\n');
            return;
        }
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    pub fn err(&mut self, text: &str) {
        #[cfg(test)]
        if let Some(kept) = &mut self.kept {
            kept.push_str(text);
            kept.push('\n');
            return;
        }
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// Bytes of a stranger as they are, but for what would drive the terminal, which is escaped, and so is what is no UTF-8. A backslash
/// is doubled, or nobody could tell what was escaped here from what came so.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let drives = c.is_control() && !matches!(c, '\n' | '\t');
            if drives || turns(c) || c == '\\' {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        out.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    out
}

/// JSON in which nothing drives the terminal either: what it leaves as it is can stand in a string only, and is escaped there.
pub(crate) fn json(value: &serde_json::Value) -> String {
    let mut out = String::new();
    for c in format!("{value:#}").chars() {
        if turns(c) || (c.is_control() && c != '\n') {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that turn the direction of the rest of the line.
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What customers wrote, in one line that cannot drive the terminal: no control characters, and none that turn the direction
/// of the rest of the line.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !turns(*c)) {
        let blank = c.is_whitespace() || c.is_control();
        if !blank {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// How long ago, or how long until, in one unit: `12s ago`, `in 5m`.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let ms = now.since(at);
    match ms {
        -999..=999 => "now".into(),
        1000.. => format!("{} ago", span(ms)),
        _ => format!("in {}", span(-ms)),
    }
}

/// A length of time in one unit.
pub(crate) fn span(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m", s / 60),
        3600..86_400 => format!("{}h", s / 3600),
        _ => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customers_text_cannot_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mred\r\n\tb\u{202e}c  d\u{7}"), "a [31mred bc d");
        assert_eq!(plain("  \n"), "");
    }

    #[test]
    fn bytes_are_shown_as_they_are_but_for_what_drives_the_terminal() {
        assert_eq!(escaped("{\n\t\"é\": 7}".as_bytes()), "{\n\t\"é\": 7}");
        assert_eq!(escaped(b"a\x1b[31m\r\n\x00\x9b\xc2\x9b"), "a\\u{1b}[31m\\r\n\\u{0}\\x9b\\u{9b}");
        assert_eq!(escaped("b\u{202e}c".as_bytes()), "b\\u{202e}c");
        assert_eq!(escaped(br"b\u{202e}c"), r"b\\u{202e}c", "what came so is told apart");
    }

    #[test]
    fn json_says_the_same_and_drives_no_terminal() {
        let value = serde_json::json!({ "text": "a\u{9b}31m\u{202e}b\u{1b}é\n", "n": [1] });
        let printed = json(&value);
        assert!(printed.contains("a\\u009b31m\\u202eb\\u001bé\\n") && printed.lines().count() == 6, "{printed}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).expect("JSON"), value);
    }

    #[test]
    fn times_are_relative() {
        let now = Timestamp(1_000_000_000_000);
        for (ago, text) in [
            (0, "now"),
            (1500, "1s ago"),
            (61_000, "1m ago"),
            (7_200_000, "2h ago"),
            (172_800_000, "2d ago"),
            (-90_000, "in 1m"),
        ] {
            assert_eq!(relative(now.plus(-ago), now), text);
        }
    }
}
