//! The names on the wire: subjects, streams, buckets, keys. They are a public contract, see docs/operators/nats.md.

use crate::log::LogError;
use std::fmt::Write as _;
use switchboard_envelope::is_id;

/// The names of one workspace.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    workspace: String,
}

impl Names {
    pub(super) fn new(prefix: &str, workspace: &str) -> Names {
        Names { prefix: prefix.to_owned(), workspace: workspace.to_owned() }
    }

    pub(super) fn inn(&self) -> String {
        format!("SB_{}_IN", self.workspace)
    }

    pub(super) fn log(&self) -> String {
        format!("SB_{}_LOG", self.workspace)
    }

    pub(super) fn out(&self) -> String {
        format!("SB_{}_OUT", self.workspace)
    }

    /// The bucket of this name, as KV clients call it.
    pub(super) fn bucket(&self, name: &str) -> String {
        format!("SB_{}_{name}", self.workspace)
    }

    pub(super) fn in_subject(&self, channel: &str) -> String {
        format!("{}.{}.in.{channel}", self.prefix, self.workspace)
    }

    pub(super) fn log_subject(&self) -> String {
        format!("{}.{}.log", self.prefix, self.workspace)
    }

    pub(super) fn out_subject(&self, channel: &str) -> String {
        format!("{}.{}.out.{channel}", self.prefix, self.workspace)
    }

    /// Where processes say which channels they serve.
    pub(super) fn status_subject(&self) -> String {
        self.status_of("*")
    }

    pub(super) fn status_of(&self, channel: &str) -> String {
        format!("{}.{}.status.{channel}", self.prefix, self.workspace)
    }

    /// Where the process that leads answers.
    pub(super) fn leader_subject(&self) -> String {
        format!("{}.{}.router", self.prefix, self.workspace)
    }

    /// Where a process answers for as long as it lives.
    pub(super) fn process_subject(&self, process: &str) -> String {
        format!("{}.{}.process.{process}", self.prefix, self.workspace)
    }

    /// Answers to a process arrive below this, and nowhere else, so that a broker can forbid others to listen.
    pub(super) fn inbox_prefix(&self, role: &str) -> String {
        format!("_INBOX_{}_{}_{role}", self.prefix.replace('.', "_"), self.workspace)
    }
}

/// A channel's name as the last token of a subject.
pub(super) fn channel_token(channel: &str) -> Result<&str, LogError> {
    if is_id(channel) {
        return Ok(channel);
    }
    Err(LogError::Refused(format!("`{channel}` is no channel's id")))
}

/// The channel in the last token of a subject.
pub(super) fn channel_of(subject: &str) -> String {
    subject.rsplit('.').next().unwrap_or_default().to_owned()
}

/// A text as a bucket's key. Letters, digits, `-` and `_` stay, and single dots inside; every other byte becomes `=` and two
/// hex digits.
pub(super) fn key(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut key = String::with_capacity(bytes.len());
    for (i, byte) in bytes.iter().enumerate() {
        let inside = i > 0 && i + 1 < bytes.len() && bytes.get(i - 1) != Some(&b'.');
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => key.push(char::from(*byte)),
            b'.' if inside => key.push('.'),
            _ => {
                let _ = write!(key, "={byte:02X}");
            }
        }
    }
    if key.is_empty() { "=".into() } else { key }
}

/// The text whose key this is.
pub(super) fn text_of(key: &str) -> String {
    let mut parts = key.split('=');
    let mut text = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let escaped = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        text.extend(escaped);
        text.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hold_what_a_bucket_takes_and_stay_apart() {
        assert_eq!(key("sms.s1.1.1"), "sms.s1.1.1");
        assert_eq!(key("poll/ä"), "poll=2F=C3=A4");
        assert_eq!(key(".a..b."), "=2Ea.=2Eb=2E");
        assert_eq!(key("a=2F"), "a=3D2F");
        assert_eq!(key("> *#:<@"), "=3E=20=2A=23=3A=3C=40");
        assert_eq!(key(""), "=");
        for text in ["sms.s1.1.1", "poll/ä", ".a..b.", "a=2F", "> *#:<@", "", "x.y"] {
            assert_eq!(text_of(&key(text)), text);
        }
    }
}
