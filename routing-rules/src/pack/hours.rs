//! Opening hours and rotations: wall-clock times of a zone, counted over changes of daylight saving time.

use super::Name;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use switchboard_envelope::Timestamp;

/// How far ahead openings are looked for: a year and a bit, so that a week of yearly holidays never hides the next one.
const SEARCH_DAYS: u32 = 400;
/// How far ahead open time is added up; a deadline beyond it is set at its end.
const ADD_DAYS: u32 = 1_200;

/// One opening on a weekday, in minutes from its midnight; the end may lie on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Opening {
    pub start: u16,
    pub end: u16,
}

/// When people are there.
#[derive(Clone, Debug)]
pub struct Hours {
    pub(crate) zone: TimeZone,
    /// From Monday, each in order of time.
    pub(crate) week: [Vec<Opening>; 7],
    pub(crate) closed: BTreeSet<Date>,
}

impl Hours {
    /// Whether it is open at `now`; the first moment of an opening counts, the last does not.
    #[must_use]
    pub fn open(&self, now: Timestamp) -> bool {
        self.openings(now, 1).any(|(start, end)| start <= now && now < end)
    }

    /// When it is next open: `now` itself while open. `None` if not within 400 days.
    #[must_use]
    pub fn next_open(&self, now: Timestamp) -> Option<Timestamp> {
        self.openings(now, SEARCH_DAYS).find(|(_, end)| *end > now).map(|(start, _)| start.max(now))
    }

    /// When it next closes: the end of the opening that `now` is in, or of the next one. `None` if it never does within
    /// 400 days.
    #[must_use]
    pub fn next_close(&self, now: Timestamp) -> Option<Timestamp> {
        let mut until: Option<Timestamp> = None;
        for (start, end) in self.openings(now, SEARCH_DAYS).filter(|(_, end)| *end > now) {
            match until {
                // 00:00-24:00 on one day runs on into the next.
                Some(u) if start > u => return until,
                Some(u) => until = Some(u.max(end)),
                None => until = Some(end),
            }
        }
        // Openings to the end of the search are no end.
        let horizon = now.plus(i64::from(SEARCH_DAYS - 2) * 86_400_000);
        until.filter(|u| *u < horizon)
    }

    /// The moment at which `ms` milliseconds of open time have passed since `from`: `from` itself for zero.
    #[must_use]
    pub fn add_open_time(&self, from: Timestamp, ms: i64) -> Timestamp {
        if ms <= 0 {
            return from;
        }
        let (mut left, mut reached) = (ms, from);
        for (start, end) in self.openings(from, ADD_DAYS) {
            let begin = start.max(reached);
            let length = end.since(begin);
            if length <= 0 {
                continue;
            }
            if length >= left {
                return begin.plus(left);
            }
            left -= length;
            reached = end;
        }
        reached.max(from.plus(i64::from(ADD_DAYS) * 86_400_000))
    }

    /// The open time between two moments, in milliseconds.
    #[must_use]
    pub fn open_time_between(&self, from: Timestamp, to: Timestamp) -> i64 {
        let within = self.openings(from, ADD_DAYS).take_while(|(start, _)| *start < to);
        within.map(|(start, end)| end.min(to).since(start.max(from)).max(0)).sum()
    }

    /// Openings in order, beginning with what may still run from the day before `from`.
    fn openings(&self, from: Timestamp, days: u32) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let today = self.zone.to_datetime(from.to_jiff()).date();
        let first = today.yesterday().unwrap_or(today);
        std::iter::successors(Some(first), |d| d.tomorrow().ok())
            .take(days as usize + 2)
            .flat_map(move |date| self.on(date))
            .filter(|(start, end)| start < end)
    }

    fn on(&self, date: Date) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let weekday = usize::from(date.weekday().to_monday_zero_offset().unsigned_abs());
        let openings = if self.closed.contains(&date) { None } else { self.week.get(weekday) };
        let tomorrow_closed = date.tomorrow().is_ok_and(|d| self.closed.contains(&d));
        openings.into_iter().flatten().map(move |o| {
            // A closed day is closed from its midnight on, also for who began the evening before.
            let end = if tomorrow_closed { o.end.min(1440) } else { o.end };
            (self.moment(date, o.start), self.moment(date, end))
        })
    }

    /// A wall-clock time as a moment; in the hour that a spring day skips, the moment after it.
    fn moment(&self, date: Date, minute: u16) -> Timestamp {
        let (date, minute) =
            if minute >= 1440 { (date.tomorrow().unwrap_or(date), minute - 1440) } else { (date, minute) };
        let hour = i8::try_from(minute / 60).unwrap_or(0);
        let civil = date.at(hour, i8::try_from(minute % 60).unwrap_or(0), 0, 0);
        let at = self.zone.to_ambiguous_timestamp(civil).compatible();
        at.map(Timestamp::from_jiff).unwrap_or(Timestamp::MAX)
    }

    /// The next opening for a person: `at 13:30`, `tomorrow at 09:00`, `on Monday at 09:00`, `on 2026-12-28 at 09:00`.
    #[must_use]
    pub fn next_open_text(&self, now: Timestamp) -> Option<String> {
        let next = self.next_open(now)?;
        if next == now {
            return Some("now".into());
        }
        let (today, then) = (self.local(now).date(), self.local(next));
        let days = (then.date() - today).get_days();
        let time = then.strftime("%H:%M");
        Some(match days {
            0 => format!("at {time}"),
            1 => format!("tomorrow at {time}"),
            2..=6 => format!("on {} at {time}", then.strftime("%A")),
            _ => format!("on {} at {time}", then.date()),
        })
    }

    pub(crate) fn local(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(at.to_jiff())
    }
}

/// Who takes turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Members {
    Agents(Vec<Name>),
    Queues(Vec<Name>),
}

impl Members {
    pub(crate) fn names(&self) -> &[Name] {
        match self {
            Members::Agents(n) | Members::Queues(n) => n,
        }
    }
}

/// Turns of equal length, such as a week on call. Handovers keep their wall-clock time in summer and winter.
#[derive(Clone, Debug)]
pub struct Rotation {
    pub(crate) zone: TimeZone,
    pub(crate) start: DateTime,
    pub(crate) every_ms: i64,
    pub(crate) members: Members,
}

impl Rotation {
    /// Whose turn it is. Before the start, the turns are counted backwards.
    #[must_use]
    pub fn member(&self, now: Timestamp) -> Option<&Name> {
        let wall = |dt: DateTime| TimeZone::UTC.to_ambiguous_timestamp(dt).compatible().map(|t| t.as_millisecond());
        let here = wall(self.zone.to_datetime(now.to_jiff())).ok()?;
        let turn = here.saturating_sub(wall(self.start).ok()?).div_euclid(self.every_ms.max(1));
        let names = self.members.names();
        let count = i64::try_from(names.len()).ok().filter(|n| *n > 0)?;
        names.get(usize::try_from(turn.rem_euclid(count)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap()
    }

    fn at(s: &str) -> Timestamp {
        s.parse().unwrap()
    }

    fn hours(week: &[(usize, u16, u16)], closed: &[&str]) -> Hours {
        let mut days: [Vec<Opening>; 7] = Default::default();
        for (day, start, end) in week {
            days[*day].push(Opening { start: *start, end: *end });
        }
        Hours { zone: zone("Europe/Paris"), week: days, closed: closed.iter().map(|d| d.parse().unwrap()).collect() }
    }

    fn office() -> Hours {
        let week: Vec<_> = (0..5).flat_map(|d| [(d, 540, 750), (d, 810, 1080)]).collect();
        hours(&week, &["2026-12-25"])
    }

    #[test]
    fn office_hours_open_close_and_say_when_they_are_back() {
        let h = office();
        // A Wednesday in winter: Paris is an hour ahead.
        assert!(!h.open(at("2026-11-25T07:59:59Z")));
        assert!(h.open(at("2026-11-25T08:00:00Z")));
        assert!(!h.open(at("2026-11-25T11:30:00Z")));
        assert_eq!(h.next_open_text(at("2026-11-25T11:30:00Z")).unwrap(), "at 13:30");
        assert_eq!(h.next_open_text(at("2026-11-25T20:00:00Z")).unwrap(), "tomorrow at 09:00");
        assert_eq!(h.next_open_text(at("2026-11-27T20:00:00Z")).unwrap(), "on Monday at 09:00");
        assert_eq!(h.next_open_text(at("2026-11-25T09:00:00Z")).unwrap(), "now");
        assert_eq!(h.next_close(at("2026-11-25T09:00:00Z")), Some(at("2026-11-25T11:30:00Z")));
        // Thursday evening before the holiday, then the weekend.
        assert_eq!(h.next_open(at("2026-12-24T20:00:00Z")), Some(at("2026-12-28T08:00:00Z")));
        assert!(!h.open(at("2026-12-25T10:00:00Z")));
    }

    #[test]
    fn hours_across_midnight_and_across_the_change_of_the_clock() {
        // Saturday 22:00 to Sunday 06:00; the clocks go forward at 02:00 on 29 March 2026 and back on 25 October.
        let h = hours(&[(5, 1320, 1800)], &[]);
        assert!(h.open(at("2026-03-29T03:59:00Z")) && !h.open(at("2026-03-29T04:00:00Z")));
        assert_eq!(h.add_open_time(at("2026-03-28T21:00:00Z"), 7 * 3_600_000), at("2026-03-29T04:00:00Z"));
        assert!(h.open(at("2026-10-25T04:59:00Z")) && !h.open(at("2026-10-25T05:00:00Z")));
        assert_eq!(h.add_open_time(at("2026-10-24T20:00:00Z"), 9 * 3_600_000), at("2026-10-25T05:00:00Z"));
        // An opening inside the hour that does not exist is no opening.
        let gap = hours(&[(6, 130, 140)], &[]);
        assert!(gap.next_open(at("2026-03-28T12:00:00Z")).unwrap() >= at("2026-03-29T01:00:00Z"));
        // A closed day also ends the shift of the evening before, and has no evening of its own.
        let cut = hours(&[(3, 1320, 1800), (4, 1320, 1800)], &["2026-12-25"]);
        assert!(cut.open(at("2026-12-24T22:30:00Z")) && !cut.open(at("2026-12-24T23:00:00Z")));
        assert!(!cut.open(at("2026-12-25T22:00:00Z")) && !cut.open(at("2026-12-26T02:00:00Z")));
    }

    #[test]
    fn deadlines_run_only_while_open_and_are_bounded() {
        let h = office();
        let friday = at("2026-11-27T16:30:00Z");
        assert_eq!(h.add_open_time(friday, 3_600_000), at("2026-11-30T08:30:00Z"));
        assert_eq!(h.add_open_time(friday, 30 * 60_000), at("2026-11-27T17:00:00Z"));
        assert_eq!(h.add_open_time(friday, 0), friday);
        assert_eq!(h.add_open_time(friday, -5), friday);
        assert!(h.add_open_time(friday, i64::MAX) > friday);
        assert!(h.add_open_time(Timestamp::MAX, 5) >= Timestamp(0));
        let never = hours(&[], &[]);
        assert_eq!((never.next_open(friday), never.open(friday)), (None, false));
        assert!(never.add_open_time(friday, 1) > friday);
    }

    #[test]
    fn round_the_clock_never_closes() {
        let week: Vec<_> = (0..7).map(|d| (d, 0, 1440)).collect();
        let h = hours(&week, &[]);
        assert!(h.open(at("2026-03-29T00:59:59Z")) && h.open(at("2026-03-29T01:00:00Z")));
        assert_eq!(h.next_close(at("2026-11-25T09:00:00Z")), None);
        assert_eq!(h.add_open_time(at("2026-11-25T09:00:00Z"), 86_400_000), at("2026-11-26T09:00:00Z"));
    }

    #[test]
    fn rotations_hand_over_at_the_same_wall_clock_time() {
        let r = Rotation {
            zone: zone("Europe/Paris"),
            start: "2026-10-19T09:00".parse().unwrap(),
            every_ms: 7 * 86_400_000,
            members: Members::Agents(vec!["ann".into(), "bob".into()]),
        };
        assert_eq!(r.member(at("2026-10-26T07:59:00Z")).unwrap(), "ann");
        assert_eq!(r.member(at("2026-10-26T08:00:00Z")).unwrap(), "bob");
        assert_eq!(r.member(at("2026-10-12T07:00:00Z")).unwrap(), "bob");
        assert_eq!(r.member(at("2026-10-19T06:59:00Z")).unwrap(), "bob");
        assert_eq!(r.member(at("2026-10-19T07:00:00Z")).unwrap(), "ann");
    }
}
