//! What is remembered of a mailbox.

use serde::{Deserialize, Serialize};

/// The place in a mailbox up to which everything is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Account, server and folder: another one is another mailbox.
    pub of: String,
    pub validity: u32,
    /// The first UID that was not looked at.
    pub next: u32,
    /// UIDs below this one were numbered anew: what carries our keyword was taken under another number.
    #[serde(default)]
    pub renumbered: u32,
    /// Mails from before this time, in milliseconds, were there before the first look, and are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
}

impl Cursor {
    /// Where to go on, after what is remembered and what the server says now.
    pub fn now(stored: Option<&str>, of: &str, validity: u32, uid_next: u32, only_new: bool, now_ms: i64) -> Cursor {
        let known = stored.and_then(|text| serde_json::from_str::<Cursor>(text).ok()).filter(|c| c.of == of);
        match known {
            Some(cursor) if cursor.validity == validity => cursor,
            // Every number is void: all is looked at again, and known by its content.
            Some(cursor) => Cursor { validity, next: 1, renumbered: uid_next, ..cursor },
            None if only_new => {
                Cursor { of: of.into(), validity, next: uid_next.max(1), renumbered: 0, since: Some(now_ms) }
            }
            None => Cursor { of: of.into(), validity, next: 1, renumbered: 0, since: None },
        }
    }

    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// `INTERNALDATE` in milliseconds.
pub(super) fn internal_date(text: &str) -> Option<i64> {
    let at = jiff::Zoned::strptime("%d-%b-%Y %H:%M:%S %z", text.trim()).ok()?;
    Some(at.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_goes_on_where_it_was() {
        let first = Cursor::now(None, "a", 7, 50, false, 9);
        assert_eq!((first.next, first.since), (1, None));
        let later = Cursor { next: 42, ..first };
        assert_eq!(Cursor::now(Some(&later.text()), "a", 7, 60, false, 10), later);
        assert_eq!(Cursor::now(Some("nonsense"), "a", 7, 60, false, 10).next, 1);
    }

    #[test]
    fn what_was_there_before_is_left_alone_even_when_it_is_numbered_anew() {
        let first = Cursor::now(None, "a", 7, 50, true, 9);
        assert_eq!((first.next, first.since), (50, Some(9)));
        let anew = Cursor::now(Some(&first.text()), "a", 8, 70, true, 10);
        assert_eq!((anew.next, anew.renumbered, anew.since, anew.validity), (1, 70, Some(9), 8));
        let other = Cursor::now(Some(&first.text()), "b", 7, 70, false, 10);
        assert_eq!((other.next, other.renumbered, other.since), (1, 0, None));
    }

    #[test]
    fn internal_dates_are_read_as_servers_write_them() {
        assert_eq!(internal_date("22-Nov-2026 10:00:00 +0100"), Some(1_795_338_000_000));
        assert_eq!(internal_date(" 2-Nov-2026 10:00:00 +0000"), Some(1_793_613_600_000));
        assert_eq!(internal_date("yesterday"), None);
    }
}
