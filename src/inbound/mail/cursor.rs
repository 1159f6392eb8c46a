//! What is remembered of a mailbox.

use serde::{Deserialize, Serialize};

/// So long before now the duplicate memory knows what was taken, whatever number it has.
const MEMORY_MS: i64 = 8 * DAY_MS;
const DAY_MS: i64 = 86_400_000;

/// The place in a mailbox up to which everything is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Account, server and folder, as they are called in the configuration.
    pub of: String,
    pub validity: u32,
    /// The first UID that was not looked at.
    pub next: u32,
    /// UIDs below this one were numbered anew: what was taken under another number is known by other signs.
    #[serde(default)]
    pub renumbered: u32,
    /// Mails from before this time, in milliseconds, were there before the first look, and are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// Of what is numbered anew, what came before this time was taken under another number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// When the end of the folder was last reached, everything was taken that had come until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// When the newest mail came that was taken under these numbers; never ahead of our own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<i64>,
    /// A mail that was taken, by its UID and when it came: these numbers mean the same mails as long as it has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<(u32, i64)>,
}

/// What became of the mail that is the witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    Same,
    /// Another mail has its number.
    Other,
    /// It is not there any more, or there was none.
    Gone,
}

/// A mailbox as it is found.
pub(super) struct Found<'a> {
    pub of: &'a str,
    pub validity: u32,
    pub uid_next: u32,
    /// The server itself said what the next UID is; without that an empty end of the folder looks like lower numbers.
    pub said_next: bool,
    pub only_new: bool,
    pub witness: Witness,
    pub now_ms: i64,
}

impl Cursor {
    pub fn read(text: &str) -> Option<Cursor> {
        serde_json::from_str(text).ok()
    }

    /// Where to go on, after what is remembered and what the server says now.
    pub fn now(stored: Option<Cursor>, found: &Found<'_>) -> Cursor {
        match stored {
            Some(cursor) if cursor.is_of(found) => Cursor { of: found.of.into(), ..cursor },
            // Every number is void: all is looked at again, and known by other signs.
            Some(cursor) => cursor.anew(found),
            None => Cursor {
                of: found.of.into(),
                validity: found.validity,
                next: if found.only_new { found.uid_next.max(1) } else { 1 },
                renumbered: 0,
                since: found.only_new.then_some(found.now_ms),
                before: None,
                until: None,
                newest: None,
                witness: None,
            },
        }
    }

    /// Whether the numbers still mean the same mails. A folder that came out of a backup has its old UIDVALIDITY, and gives
    /// numbers a second time; another name may mean the same mailbox, which its witness shows.
    fn is_of(&self, found: &Found<'_>) -> bool {
        let goes_on = !found.said_next || found.uid_next >= self.next;
        let is_known = self.of == found.of || found.witness == Witness::Same;
        self.validity == found.validity && goes_on && is_known && found.witness != Witness::Other
    }

    fn anew(self, found: &Found<'_>) -> Cursor {
        // As far back as the duplicate memory knows everything; but a mailbox that was away for long leaves no hole in between.
        let away = self.until.map_or(0, |until| found.now_ms.saturating_sub(until).max(0));
        let again = MEMORY_MS.saturating_sub(away).max(DAY_MS);
        Cursor {
            of: found.of.into(),
            validity: found.validity,
            next: 1,
            renumbered: found.uid_next,
            since: self.since,
            before: self.until.map(|until| until.saturating_sub(again)).max(self.before),
            until: self.until,
            newest: None,
            witness: None,
        }
    }

    /// After mails were taken up to `next`; each with its UID and when it came.
    #[must_use]
    pub fn passed(&self, next: u32, mails: &[(u32, i64)], now_ms: i64) -> Cursor {
        // Whoever puts a mail into the folder may say when it came.
        let newest = mails.iter().map(|(_, at)| (*at).min(now_ms)).max();
        Cursor {
            next,
            newest: self.newest.max(newest),
            witness: mails.last().copied().or(self.witness),
            ..self.clone()
        }
    }

    /// After the end of the folder was reached.
    #[must_use]
    pub fn at_end(&self) -> Cursor {
        Cursor { until: self.until.max(self.newest), ..self.clone() }
    }

    /// Whether what was learnt at the end is worth a write of its own.
    pub fn is_far_from(&self, stored: &Cursor) -> bool {
        let far = |until: i64| stored.until.is_none_or(|known| until.saturating_sub(known) > DAY_MS);
        self.until.is_some_and(far)
    }

    /// Whether a mail was taken under another number, or was to be left alone. `marked` says that it carries our keyword,
    /// `seen` that it carries the flag with which we mark where there are no keywords, and others too.
    pub fn was_taken(&self, uid: u32, at: Option<i64>, marked: bool, seen: bool) -> bool {
        if uid >= self.renumbered {
            return false;
        }
        let until = |limit: Option<i64>| at.zip(limit).is_some_and(|(at, limit)| at < limit);
        marked || until(self.since) || until(self.before) || seen && until(self.until.map(|t| t.saturating_add(1)))
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

    fn found(of: &'static str, validity: u32, uid_next: u32) -> Found<'static> {
        Found { of, validity, uid_next, said_next: true, only_new: false, witness: Witness::Gone, now_ms: 100 * DAY_MS }
    }

    fn first(of: &'static str) -> Cursor {
        Cursor::now(None, &found(of, 7, 50))
    }

    #[test]
    fn a_mailbox_goes_on_where_it_was() {
        assert_eq!((first("a").next, first("a").since), (1, None));
        let later = first("a").passed(42, &[(41, 9)], 10);
        assert_eq!(Cursor::now(Cursor::read(&later.text()), &found("a", 7, 60)), later);
        assert_eq!(Cursor::read("nonsense"), None);
        let early = r#"{"of":"a","validity":7,"next":42,"since":9}"#;
        assert_eq!(Cursor::now(Cursor::read(early), &found("a", 7, 60)).next, 42);
    }

    #[test]
    fn what_was_there_before_is_left_alone_even_when_it_is_numbered_anew() {
        let first = Cursor::now(None, &Found { only_new: true, now_ms: 9, ..found("a", 7, 50) });
        assert_eq!((first.next, first.since), (50, Some(9)));
        for other in [found("a", 8, 70), found("b", 7, 70)] {
            let anew = Cursor::now(Some(first.clone()), &other);
            assert_eq!((anew.next, anew.renumbered, anew.since), (1, 70, Some(9)));
            assert!(anew.was_taken(3, Some(8), false, false) && !anew.was_taken(3, Some(9), false, false));
        }
    }

    #[test]
    fn a_mailbox_under_another_name_is_not_taken_again() {
        let at = 90 * DAY_MS;
        let known = first("support@imap/inbox").passed(42, &[(41, at)], at).at_end();
        // The same mails: only the name is another.
        let same = Found { witness: Witness::Same, ..found("support@shop.example@imap/INBOX", 7, 60) };
        let kept = Cursor::now(Some(known.clone()), &same);
        assert_eq!((kept.next, kept.renumbered, kept.of.as_str()), (42, 0, "support@shop.example@imap/INBOX"));
        // Nobody can tell, as after it was moved to another server: all is looked at, and what is old is left alone.
        for unsure in [found("b", 7, 60), found("b", 9, 60), Found { witness: Witness::Other, ..found("b", 7, 60) }] {
            let anew = Cursor::now(Some(known.clone()), &unsure);
            assert_eq!((anew.next, anew.renumbered), (1, 60));
            assert!(anew.was_taken(5, Some(at - 9 * DAY_MS), false, false), "nothing is answered after weeks");
            assert!(
                !anew.was_taken(5, Some(at + 1), false, true),
                "what came since is new, also when somebody read it"
            );
        }
    }

    #[test]
    fn a_mailbox_out_of_a_backup_is_noticed() {
        let known = first("a").passed(1000, &[(999, 9)], 10);
        let kept = |found: Found<'_>| Cursor::now(Some(known.clone()), &found).next == 1000;
        assert!(kept(found("a", 7, 1000)) && kept(found("a", 7, 1200)));
        assert!(!kept(found("a", 7, 950)), "950 to 999 will be given a second time");
        assert!(!kept(Found { witness: Witness::Other, ..found("a", 7, 1010) }), "they were given a second time");
        assert!(kept(Found { said_next: false, ..found("a", 7, 950) }), "only the last mail went");
    }

    #[test]
    fn without_a_keyword_what_is_numbered_anew_is_known_by_when_it_came() {
        let now = 100 * DAY_MS;
        let days = |n: i64| Some(now - n * DAY_MS);
        let at_end = first("a").passed(42, &[(41, now)], now).at_end();
        let anew = Cursor::now(Some(at_end.clone()), &found("a", 8, 60));
        assert!(anew.was_taken(3, days(9), false, false) && !anew.was_taken(3, days(7), false, false));
        assert!(anew.was_taken(3, days(7), false, true), "marked as read, as we mark here");
        assert!(!anew.was_taken(60, days(9), false, true), "this number was given after");
        assert!(!anew.was_taken(3, None, false, true) && anew.was_taken(3, None, true, false));
        // Away for six days: of what is in between nothing is known to the duplicate memory.
        let late = Found { now_ms: now + 6 * DAY_MS, ..found("a", 8, 60) };
        let anew = Cursor::now(Some(at_end), &late);
        assert!(anew.was_taken(3, days(3), false, false) && !anew.was_taken(3, days(1), false, false));
        // A folder whose end was never reached has old mails that nobody has taken.
        let middle = first("a").passed(42, &[(41, now)], now);
        assert!(!Cursor::now(Some(middle), &found("a", 8, 60)).was_taken(3, days(90), false, true));
    }

    #[test]
    fn a_mail_that_says_it_came_tomorrow_hides_none_of_today() {
        let now = 100 * DAY_MS;
        let cursor = first("a").passed(42, &[(41, now + 400 * DAY_MS)], now).at_end();
        let anew = Cursor::now(Some(cursor), &found("a", 8, 60));
        assert!(!anew.was_taken(50, Some(now + 1), false, true) && !anew.was_taken(50, Some(now - 1), false, false));
    }

    #[test]
    fn numbered_anew_twice_knows_as_much_as_before() {
        let now = 100 * DAY_MS;
        let once = Cursor::now(Some(first("a").passed(42, &[(41, now)], now).at_end()), &found("a", 8, 60));
        let half = once.passed(20, &[(19, now + DAY_MS)], now + DAY_MS);
        let twice = Cursor::now(Some(half), &found("a", 9, 70));
        assert_eq!((twice.until, twice.before), (once.until, once.before));
    }

    #[test]
    fn internal_dates_are_read_as_servers_write_them() {
        assert_eq!(internal_date("22-Nov-2026 10:00:00 +0100"), Some(1_795_338_000_000));
        assert_eq!(internal_date(" 2-Nov-2026 10:00:00 +0000"), Some(1_793_613_600_000));
        assert_eq!(internal_date("yesterday"), None);
    }
}
