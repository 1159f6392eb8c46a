//! What changed by itself how a conversation waits: the step, the clock or the rules that the events before say.

use super::project::Done;
use super::rows::{Cause, Considering};
use super::writer::HistoryWriter;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{Considered, Happening, Public, StepTaken, Why};
use switchboard_routing_rules::ids::ConvId;
use switchboard_routing_rules::pack::{Name, Priority, Skills};

impl HistoryWriter {
    /// Rules ran for what somebody of ours did, which stands before it in the transcript.
    pub(super) fn followed_up(&mut self, conv: ConvId, on: Happening, pack: &str, hits: &[String]) -> Done {
        self.hit(pack, hits)?;
        for rule in hits {
            self.line(conv, "followed_up", |l| (l.why, l.on) = (Some(Why::Rule(rule.clone())), Some(on)))?;
        }
        self.work.cause = Some((conv, Cause::Rules(hits.to_vec())));
        Ok(())
    }

    /// What made the event happen that is folded, where it is a consequence of the one before.
    pub(super) fn cause_of(&self, conv: ConvId) -> Option<Cause> {
        self.work.cause.as_ref().filter(|(of, _)| *of == conv).map(|(_, cause)| cause.clone())
    }

    /// The priority became another. What the rules of a message chose is told with their decision.
    pub(super) fn prioritised(&mut self, conv: ConvId, to: Priority, by: Option<&Name>) -> Done {
        let cause = self.cause_of(conv);
        let decided = cause.is_none() && self.work.deciding.is_some_and(|(c, _)| c == conv);
        let Some(c) = self.conversation(conv)? else { return Ok(()) };
        let from = std::mem::replace(&mut c.priority, to);
        if decided || from == to {
            return Ok(());
        }
        let by = by.cloned();
        self.line(conv, "prioritised", |l| (l.cause, l.by, l.priority) = (cause, by, Some((from, to))))
    }

    /// A step took effect. Where it does no more than move the conversation or change its priority, the lines that follow tell it.
    pub(super) fn relaxed(&mut self, conv: ConvId, skills: Option<&Skills>, taken: Option<&StepTaken>) -> Done {
        let Some(c) = self.look(conv)? else { return Ok(()) };
        let cause = Cause::Step { queue: c.queue.clone(), taken: taken.cloned() };
        if skills.is_some() || taken.is_some_and(|t| !t.only.is_empty()) {
            let of_line = cause.clone();
            self.line(conv, "relaxed", |l| (l.cause, l.skills) = (Some(of_line), skills.cloned()))?;
        }
        self.work.cause = Some((conv, cause));
        Ok(())
    }
}

/// Whether an event can be the consequence of the one before it.
pub(super) fn follows_at_once(public: &Public) -> bool {
    matches!(
        public,
        Public::Prioritised { .. }
            | Public::OfferEnded { .. }
            | Public::Queued { .. }
            | Public::Tagged { .. }
            | Public::AttributesSet { .. }
            | Public::ContactTouched { .. }
    )
}

pub(super) fn considering(agent: Option<&Name>, considered: &Considered, offered: bool) -> Considering {
    let (agent, considered) = (agent.cloned(), considered.clone());
    Considering { at: Timestamp::default(), agent, offered, why: None, considered, by: None, from: None }
}
