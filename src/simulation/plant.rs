//! Bugs that the simulation must find. They exist in test builds only.

use std::cell::Cell;
use std::sync::Arc;
use switchboard_envelope::{Action, Inbound};
use switchboard_routing_rules::RulePack;
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
}

impl Bug {
    pub(crate) const ALL: [Bug; 9] = [
        Bug::ResultBeforeSend,
        Bug::DroppedCompareAndSwap,
        Bug::CursorBeforeEffects,
        Bug::ForgottenTimer,
        Bug::DuplicatesLostAtRestart,
        Bug::OlderCopyUnnoticed,
        Bug::RelievedKeepsItsState,
        Bug::TrialForgotten,
        Bug::RoomForgotten,
    ];

    /// The promise that it breaks first, where another one could be found broken for other reasons.
    pub(crate) fn breaks(self) -> &'static str {
        match self {
            Bug::RoomForgotten => "I7",
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

/// The pack that decides what comes in place of the right one, while that bug is planted: one in which nobody is full, for
/// commands that say who is there.
pub(crate) fn roomy(inbound: &Inbound, pack: &RulePack) -> Option<Arc<RulePack>> {
    let presence = matches!(inbound, Inbound::Command(c) if matches!(c.action, Action::Presence { .. }));
    if !presence || !planted(Bug::RoomForgotten) {
        return None;
    }
    let wider =
        |(path, text): &(String, String)| (path.clone(), text.replace("capacity: ", "capacity: 1").into_bytes());
    let files: Vec<_> = pack.sources().iter().map(wider).collect();
    Some(Arc::new(RulePack::load(&files, &Environment::default()).ok()?.pack))
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
