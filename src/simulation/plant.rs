//! Bugs that the simulation must find. They exist in test builds only.

use std::cell::Cell;
use std::sync::Arc;
use switchboard_envelope::{Action, Inbound};
use switchboard_routing_rules::event::{Event, Public, Why};
use switchboard_routing_rules::pack::{ConvStatus, Environment};
use switchboard_routing_rules::state::Conversation;
use switchboard_routing_rules::{Decision, RulePack, State};

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
    /// Whoever comes is given what waits as if nobody's place ever rose with their wait.
    AgeingForgotten,
    /// Nobody is asked whether they could take what waits when they come.
    NobodyAsked,
    /// What says that a machine wrote it is decided as if a person had.
    MachineTakenForAPerson,
    /// LOG says twice that a clock warned or was breached.
    WarnedTwice,
    /// The state that is shown knows of tags of which LOG says nothing.
    StateDrifts,
}

impl Bug {
    pub(crate) const ALL: [Bug; 15] = [
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
        Bug::AgeingForgotten,
        Bug::NobodyAsked,
        Bug::MachineTakenForAPerson,
        Bug::WarnedTwice,
        Bug::StateDrifts,
    ];

    /// The promise that it breaks first, where another one could be found broken for other reasons.
    pub(crate) fn breaks(self) -> &'static str {
        match self {
            Bug::RoomForgotten => "I7",
            Bug::SkillsForgotten | Bug::AgeingForgotten => "I17",
            Bug::NobodyAsked => "I14",
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
    let presence = comes(inbound);
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

fn comes(inbound: &Inbound) -> bool {
    matches!(inbound, Inbound::Command(c) if matches!(c.action, Action::Presence { .. }))
}

/// The state that is decided upon in place of the right one, which comes with it, while such a bug is planted: one in which waiting
/// raises nobody's place, when somebody says who is there.
pub(crate) fn ageless(inbound: &Inbound, state: State) -> (State, Option<State>) {
    if !(planted(Bug::AgeingForgotten) || planted(Bug::NobodyAsked)) || !comes(inbound) {
        return (state, None);
    }
    let right = state.clone();
    if planted(Bug::NobodyAsked) {
        return (state, Some(right));
    }
    let rises = |c: &&Arc<Conversation>| c.status == ConvStatus::Queued && c.ageing.is_some_and(|ms| ms.get() > 0);
    let waiting: Vec<_> = right.conversations.values().filter(rises).cloned().collect();
    let state = waiting.into_iter().fold(state, |mut state, c| {
        if let (Some(queue), Some(since), Some(entered)) = (&c.queue, c.queued_at.get(), c.entered_at.get()) {
            let again = Public::Queued {
                conv: c.id,
                queue: (**queue).clone(),
                since,
                entered,
                skills: (*c.skills).clone(),
                overflow: c.overflow.to_vec(),
                ageing: None,
                newest: false,
                why: Why::Default,
                by: None,
            };
            state.apply(&again.into());
        }
        state
    });
    (state, Some(right))
}

/// What was decided upon such a state, said of the right one.
pub(crate) fn righted(decision: Decision, right: Option<State>) -> Decision {
    let Some(mut after) = right else { return decision };
    let gives = |e: &Event| matches!(e.public, Public::Offered { .. } | Public::Assigned { why: Why::Strategy, .. });
    let mut events = decision.events;
    events.retain(|e| !(planted(Bug::NobodyAsked) && gives(e)));
    events.iter().for_each(|e| after.apply(e));
    Decision { events, after }
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
