//! Bugs that the simulation must find. They exist in test builds only.

use std::cell::Cell;
use std::sync::Arc;
use switchboard_envelope::{Action, Inbound};
use switchboard_routing_rules::RulePack;
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::pack::Environment;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The result is stored before the provider is called.
    ResultBeforeSend,
    /// A frame is appended although another stands in its place.
    DroppedCompareAndSwap,
    /// The cursor is durable before the effects of its inputs.
    CursorBeforeEffects,
    /// A timer is dropped when the state is recovered.
    ForgottenTimer,
    /// The memory of duplicates is empty after a restart.
    DuplicatesLostAtRestart,
    /// Nobody looks whether the log is an older copy.
    OlderCopyUnnoticed,
    /// A router that was relieved goes on from the state that it had.
    RelievedKeepsItsState,
    /// A router that is not the first decides everything by the pack in force, whatever is tried.
    TrialForgotten,
    /// Whoever comes is given what waits as if nobody were ever full.
    RoomForgotten,
    /// Whoever comes is given what waits as if they had no skills.
    SkillsForgotten,
    /// What says that a machine wrote it is decided as if a person had.
    MachineTakenForAPerson,
    /// LOG says twice that a clock warned or was breached.
    WarnedTwice,
    /// The state that is shown knows of tags of which LOG says nothing.
    StateDrifts,
}

impl Bug {
    pub(crate) const ALL: [Bug; 13] = [
        Bug::ResultBeforeSend,
        Bug::DroppedCompareAndSwap,
        Bug::CursorBeforeEffects,
        Bug::ForgottenTimer,
        Bug::DuplicatesLostAtRestart,
        Bug::OlderCopyUnnoticed,
        Bug::RelievedKeepsItsState,
        Bug::TrialForgotten,
        Bug::RoomForgotten,
        Bug::SkillsForgotten,
        Bug::MachineTakenForAPerson,
        Bug::WarnedTwice,
        Bug::StateDrifts,
    ];

    /// The promise that it breaks first, where another one could be found broken for other reasons.
    pub(crate) fn breaks(self) -> &'static str {
        match self {
            Bug::RoomForgotten => "I7",
            Bug::SkillsForgotten => "I17",
            Bug::MachineTakenForAPerson => "I18",
            Bug::WarnedTwice => "I15",
            Bug::StateDrifts => "I11",
            _ => "",
        }
    }
}

/// A message with this text makes its decision panic.
pub(super) const TRIP: &str = "trip over this";

/// Panics, without a report of it, before such a message is decided.
pub(crate) fn trip(inbound: &Inbound) {
    if matches!(inbound, Inbound::Message(m) if m.content.text == TRIP) {
        std::panic::resume_unwind(Box::new(TRIP));
    }
}

/// The pack that decides what comes in place of the right one, while such a bug is planted: one in which nobody is full, or has
/// skills, for commands that say who is there.
pub(crate) fn bent(inbound: &Inbound, pack: &RulePack) -> Option<Arc<RulePack>> {
    let presence = matches!(inbound, Inbound::Command(c) if matches!(c.action, Action::Presence { .. }));
    let other = |text: &str| match PLANTED.get()? {
        Bug::RoomForgotten if presence => Some(text.replace("capacity: ", "capacity: 1")),
        Bug::SkillsForgotten if presence => Some(text.replace("skills: { direct: 2 }, desks", "desks")),
        _ => None,
    };
    let files: Option<Vec<_>> =
        pack.sources().iter().map(|(path, text)| Some((path.clone(), other(text)?.into_bytes()))).collect();
    Some(Arc::new(RulePack::load(&files?, &Environment::default()).ok()?.pack))
}

/// What is decided, while such a bug is planted.
pub(crate) fn mistaken(mut inbound: Inbound) -> Inbound {
    if let Inbound::Message(m) = &mut inbound
        && planted(Bug::MachineTakenForAPerson)
    {
        m.automatic = false;
    }
    inbound
}

/// What LOG is told of a decision, while such a bug is planted.
pub(crate) fn told(mut events: Vec<Event>) -> Vec<Event> {
    match PLANTED.get() {
        Some(Bug::StateDrifts) => events.retain(|e| !matches!(e.public, Public::Tagged { .. })),
        Some(Bug::WarnedTwice) => {
            let warns = |e: &&Event| matches!(e.public, Public::ClockWarned { .. } | Public::ClockBreached { .. });
            let again: Vec<Event> = events.iter().filter(warns).cloned().collect();
            events.extend(again);
        }
        _ => {}
    }
    events
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

pub(super) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted in this thread.
pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
