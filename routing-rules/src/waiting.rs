//! Why a conversation waits: where it stands, and why each agent does not take it now.

use crate::decide::matching::{passed_over, told, wanted};
use crate::event::PassedOver;
use crate::ids::ConvId;
use crate::pack::{ConvStatus, Name, Skills};
use crate::state::{AgentState, Conversation, InForce, State, WaitClass};
use switchboard_envelope::Timestamp;

/// A conversation that waits in a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    pub queue: Name,
    pub since: Option<Timestamp>,
    /// From 1; `None` is further back than is counted.
    pub place: Option<usize>,
    /// How many wait in the queue.
    pub depth: usize,
    /// In milliseconds, as far as it can be told.
    pub wait_ms: Option<i64>,
    /// Skills that an agent must have for it now.
    pub wanted: Skills,
    /// They must be in one of these presences; empty for whoever is available.
    pub presence: Vec<Name>,
    /// Nobody but these is asked until then, as a rule named them.
    pub asked_first: Option<(Timestamp, Vec<Name>)>,
    /// The next overflow step, and what it does.
    pub next_step: Option<(Timestamp, crate::pack::OverflowStep)>,
    /// Every agent of the pack. `None`: they could take it, and will with the next decision.
    pub agents: Vec<(Name, Option<PassedOver>)>,
}

/// Whom a rule named who alone are asked, and until when.
fn asked_first(c: &Conversation) -> Option<(Timestamp, Vec<Name>)> {
    let named = Some(c.asks_first()).filter(|named| !named.is_empty())?;
    let left = c.overflow.iter().skip(c.step as usize).take_while(|step| !step.only.is_empty());
    let after = left.filter_map(|step| step.after_ms).max()?;
    Some((c.entered_at.get()?.plus(after), named.to_vec()))
}

/// Why a conversation waits; `None` when it does not.
#[must_use]
pub fn why<'p>(state: &State, packs: impl Into<InForce<'p>>, conv: ConvId) -> Option<Waiting> {
    let packs: InForce<'p> = packs.into();
    let c = state.conversation(conv).filter(|c| c.status == ConvStatus::Queued)?;
    let queue = c.queue.as_deref().cloned()?;
    let class = WaitClass::of(c);
    let wanted = wanted(packs.of(state, class.trial), &queue, &class);
    let nobody = AgentState::default();
    let agents = packs.pack.agents.iter().map(|(name, agent)| {
        let known = state.agents.get(name).map_or(&nobody, |a| a);
        let why = passed_over(&class, &wanted, name, agent, known, false);
        (name.clone(), why.map(|why| told(c, name, why)))
    });
    let place = state.place(c);
    Some(Waiting {
        since: c.queued_at.get(),
        place,
        depth: state.depth(&queue),
        wait_ms: place.and_then(|place| state.estimated_wait(&queue, place)),
        agents: agents.collect(),
        wanted: wanted.skills,
        presence: wanted.presence,
        asked_first: asked_first(c),
        next_step: c.next_step().map(|(at, _, step)| (at, step.clone())),
        queue,
    })
}
