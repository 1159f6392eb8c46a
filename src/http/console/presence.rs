//! Who sits at an open console, and what follows when the last one of an agent closes.
//!
//! Pure: the caller brings the time and carries out the changes. The event stream of a console counts as the console
//! being open, because the browser closes it with the page and opens it again after a lost connection. A closed console
//! lowers a presence step by step, and never raises one: raising is the agent's own act, done by the page when it opens.

use std::collections::BTreeMap;
use switchboard_envelope::Timestamp;

/// A reload, a change of network or a lid closed for a moment must not take an agent out of the routing.
pub const AWAY_AFTER_MS: i64 = 30_000;
/// Going offline returns an agent's unanswered conversations to their queues, so it takes more than a coffee.
pub const OFFLINE_AFTER_MS: i64 = 15 * 60_000;

/// An agent's presence, as far as a closed console can change it; the higher ones come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    Available,
    Away,
    Offline,
}

impl Presence {
    /// The word used by the API and by `Action::Presence`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Presence::Available => "available",
            Presence::Away => "away",
            Presence::Offline => "offline",
        }
    }

    /// Reads the word used by the API; anything else is `None`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Presence> {
        match word {
            "available" => Some(Presence::Available),
            "away" => Some(Presence::Away),
            "offline" => Some(Presence::Offline),
            _ => None,
        }
    }
}

/// A presence to put in force for an agent whose consoles are all closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    pub agent: String,
    pub to: Presence,
}

#[derive(Debug, Default)]
struct Seat {
    open: usize,
    /// When the last console closed; `None` while one is open.
    closed_at: Option<Timestamp>,
    /// `away` was already asked for, so that an agent who becomes available elsewhere is not lowered twice.
    away_done: bool,
    /// What they were when they were looked at last, since the last console closed.
    seen: Option<Presence>,
}

/// Counts the open consoles of each agent.
#[derive(Debug, Default)]
pub struct Consoles {
    seats: BTreeMap<String, Seat>,
}

impl Consoles {
    /// A console of this agent opened its event stream.
    pub fn opened(&mut self, agent: &str) {
        let seat = self.seats.entry(agent.to_owned()).or_default();
        seat.open = seat.open.saturating_add(1);
        *seat = Seat { open: seat.open, ..Seat::default() };
    }

    /// Somebody said that this agent is available, and not by a console of theirs: what closed before changes nothing any more.
    pub fn said(&mut self, agent: &str) {
        self.seats.retain(|of, seat| of != agent || seat.open > 0);
    }

    /// An event stream ended.
    pub fn closed(&mut self, agent: &str, now: Timestamp) {
        if let Some(seat) = self.seats.get_mut(agent) {
            seat.open = seat.open.saturating_sub(1);
            if seat.open == 0 {
                seat.closed_at = Some(now);
            }
        }
    }

    /// Treats an agent as one whose console has just closed, unless one is open. For the start of the daemon: whoever the
    /// log shows as available because of a console gets the usual time to come back.
    pub fn expect(&mut self, agent: &str, now: Timestamp) {
        let seat = self.seats.entry(agent.to_owned()).or_default();
        if seat.open == 0 && seat.closed_at.is_none() {
            seat.closed_at = Some(now);
        }
    }

    /// How many consoles of this agent are open.
    #[must_use]
    pub fn open(&self, agent: &str) -> usize {
        self.seats.get(agent).map_or(0, |seat| seat.open)
    }

    /// What to change now. `current` tells an agent's presence; an unknown agent is forgotten.
    pub fn tick(&mut self, now: Timestamp, current: impl Fn(&str) -> Option<Presence>) -> Vec<PresenceChange> {
        let mut changes = vec![];
        self.seats.retain(|agent, seat| {
            let Some(closed_at) = seat.closed_at else { return true };
            let Some(presence) = current(agent) else { return false };
            // A closed console raises nobody: somebody else did, perhaps by another process.
            if seat.seen.is_some_and(|seen| presence < seen) {
                return false;
            }
            seat.seen = Some(presence);
            let gone = now.since(closed_at);
            if gone >= OFFLINE_AFTER_MS {
                if presence != Presence::Offline {
                    changes.push(PresenceChange { agent: agent.clone(), to: Presence::Offline });
                }
                return false;
            }
            if gone >= AWAY_AFTER_MS && !seat.away_done {
                seat.away_done = true;
                if presence == Presence::Available {
                    changes.push(PresenceChange { agent: agent.clone(), to: Presence::Away });
                }
            }
            true
        });
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_000_000);

    fn change(agent: &str, to: Presence) -> Vec<PresenceChange> {
        vec![PresenceChange { agent: agent.into(), to }]
    }

    #[test]
    fn closing_the_last_console_lowers_presence_in_two_steps() {
        let mut consoles = Consoles::default();
        consoles.opened("you");
        consoles.opened("you");
        let available = |_: &str| Some(Presence::Available);
        consoles.closed("you", T.plus(-OFFLINE_AFTER_MS));
        assert_eq!(consoles.tick(T, available), vec![], "one is still open");
        consoles.closed("you", T);
        assert_eq!(consoles.tick(T.plus(AWAY_AFTER_MS - 1), available), vec![]);
        assert_eq!(consoles.tick(T.plus(AWAY_AFTER_MS), available), change("you", Presence::Away));
        assert_eq!(consoles.tick(T.plus(AWAY_AFTER_MS + 1), available), vec![], "asked for once");
        let away = |_: &str| Some(Presence::Away);
        assert_eq!(consoles.tick(T.plus(OFFLINE_AFTER_MS), away), change("you", Presence::Offline));
        assert_eq!(consoles.tick(T.plus(OFFLINE_AFTER_MS * 2), away), vec![], "forgotten");
    }

    #[test]
    fn a_reload_changes_nothing() {
        let mut consoles = Consoles::default();
        consoles.opened("you");
        consoles.closed("you", T);
        consoles.opened("you");
        assert_eq!(consoles.tick(T.plus(OFFLINE_AFTER_MS * 2), |_| Some(Presence::Available)), vec![]);
        assert_eq!(consoles.open("you"), 1);
    }

    #[test]
    fn a_presence_is_never_raised() {
        let mut consoles = Consoles::default();
        consoles.opened("you");
        consoles.closed("you", T);
        assert_eq!(consoles.tick(T.plus(AWAY_AFTER_MS), |_| Some(Presence::Offline)), vec![]);
        assert_eq!(consoles.tick(T.plus(OFFLINE_AFTER_MS), |_| Some(Presence::Offline)), vec![]);
    }

    #[test]
    fn what_somebody_says_after_the_console_closed_stands() {
        let available = |_: &str| Some(Presence::Available);
        let mut consoles = Consoles::default();
        consoles.opened("you");
        consoles.opened("me");
        consoles.closed("you", T);
        consoles.closed("me", T);
        consoles.said("you");
        assert_eq!(consoles.tick(T.plus(AWAY_AFTER_MS), available), change("me", Presence::Away));
        assert_eq!(consoles.tick(T.plus(AWAY_AFTER_MS + 1), |_| Some(Presence::Away)), vec![]);
        assert_eq!(consoles.tick(T.plus(OFFLINE_AFTER_MS), available), vec![], "by another process, which said it");
        // While a console is open, it is what closes later that counts.
        consoles.opened("you");
        consoles.said("you");
        consoles.closed("you", T);
        assert_eq!(consoles.tick(T.plus(AWAY_AFTER_MS), available), change("you", Presence::Away));
    }

    #[test]
    fn who_is_lowered_by_something_else_still_goes_offline() {
        let mut consoles = Consoles::default();
        consoles.opened("you");
        consoles.closed("you", T);
        assert_eq!(consoles.tick(T.plus(5), |_| Some(Presence::Available)), vec![]);
        // Offers lapsed.
        let away = |_: &str| Some(Presence::Away);
        assert_eq!(consoles.tick(T.plus(AWAY_AFTER_MS), away), vec![]);
        assert_eq!(consoles.tick(T.plus(OFFLINE_AFTER_MS), away), change("you", Presence::Offline));
    }

    #[test]
    fn after_a_restart_an_expected_agent_who_does_not_return_is_lowered() {
        let mut consoles = Consoles::default();
        consoles.expect("you", T);
        consoles.expect("you", T.plus(10_000));
        assert_eq!(consoles.tick(T.plus(AWAY_AFTER_MS), |_| Some(Presence::Available)), change("you", Presence::Away));
    }

    #[test]
    fn an_agent_who_left_the_pack_is_forgotten() {
        let mut consoles = Consoles::default();
        consoles.expect("bob", T);
        assert_eq!(consoles.tick(T, |_| None), vec![]);
        assert!(consoles.seats.is_empty());
    }

    #[test]
    fn closing_more_often_than_opening_is_harmless() {
        let mut consoles = Consoles::default();
        consoles.closed("bob", T);
        consoles.opened("bob");
        consoles.closed("bob", T);
        consoles.closed("bob", T.plus(5));
        assert_eq!(consoles.open("bob"), 0);
        let available = |_: &str| Some(Presence::Available);
        assert_eq!(consoles.tick(T.plus(5 + AWAY_AFTER_MS), available), change("bob", Presence::Away));
    }
}
