//! Rules that follow up on what people of ours did: took a conversation, answered, closed it; or on the end of a snooze. They run once for
//! it, before the decision ends, and may only say and note something. What they do is nothing that anybody did, so no rule ever follows up
//! on a rule.

use super::{Draft, MOST};
use crate::event::{Happening, NoReply, Public};
use crate::ids::{ConvId, ID_BYTES, MessageId};
use crate::pack::{ConvStatus, Notify, RunReply, SeenMessage, SeenState};
use crate::state::Conversation;
use std::collections::BTreeMap;
use switchboard_envelope::{Content, Message, Visibility};

/// Assignments of one decision at most, and ends of snoozes, where something may be said to each: it must fit a frame.
const MOST_SAID: usize = 8;
/// Bytes of such a reply, and notices.
const MAX_REPLY: usize = 4_000;
const MAX_NOTICES: usize = 4;
/// Bytes of all the attributes that it sets.
const MAX_SET: usize = 4_000;

/// What rules were asked that follow up on something.
pub(crate) struct Followed {
    pub conv: ConvId,
    pub on: Happening,
    pub message: SeenMessage,
    pub seen: SeenState,
}

impl Draft<'_> {
    pub(super) fn happened(&mut self, conv: ConvId, on: Happening) {
        self.happened.push((conv, on));
    }

    /// A person puts it into this queue, which is no news where it waits there already.
    pub(super) fn moved(&mut self, c: &Conversation, to: &str) {
        let waits = matches!(c.status, ConvStatus::Queued | ConvStatus::Offered);
        if !waits || c.queue.as_deref().is_none_or(|there| there != to) {
            self.happened(c.id, Happening::Moved);
        }
    }

    /// How often this has happened in this decision.
    pub(super) fn times(&self, on: Happening) -> usize {
        self.happened.iter().filter(|(_, what)| *what == on).count()
    }

    /// Assignments of one decision at most; the rest follows by a timer.
    pub(super) fn most_assigned(&self) -> usize {
        self.most_of(Happening::Assigned)
    }

    /// How often this may happen in one decision.
    pub(super) fn most_of(&self, on: Happening) -> usize {
        let says = self.packs().each(&self.state).any(|pack| pack.follows_up(on));
        if says { MOST_SAID } else { MOST }
    }

    pub(super) fn follow_up_pass(&mut self) {
        for (conv, on) in std::mem::take(&mut self.happened) {
            self.follow_up(conv, on);
        }
    }

    fn follow_up(&mut self, conv: ConvId, on: Happening) {
        let Some(c) = self.conv(conv) else { return };
        let pack = self.pack_of(&c);
        if !pack.follows_up(on) {
            return;
        }
        // Of who was erased nothing is known, and nobody can be written to.
        let Some(m) = said_last(&c) else { return };
        let mut seen = self.seen_state(&m, Some(&c));
        seen.contact_agent = c.agent.as_deref().cloned().or(seen.contact_agent);
        let kind = self.profile(&m.channel).map(|p| p.kind.clone()).unwrap_or_default();
        let said = super::seen_message(&m, kind);
        let mut outcome = pack.follow_up(on, &said, &seen);
        self.followed.push(Followed { conv, on, message: said, seen });
        if outcome.hits.is_empty() {
            return;
        }
        let (hits, hash) = (outcome.hits.clone(), pack.hash.clone());
        self.emit(Public::FollowedUp { conv, on, pack: hash, hits });
        let (mut room, all) = (MAX_SET, outcome.set.len());
        outcome.set.retain(|_, value| {
            let left = room.checked_sub(value.len());
            room = left.unwrap_or(room);
            left.is_some()
        });
        if outcome.set.len() < all {
            self.ignore("what a rule that follows up would set is too long");
        }
        let answers = c.last_message.unwrap_or(MessageId::from_bytes([0; ID_BYTES]));
        self.act(conv, answers, &m, &outcome);
        let told: Vec<Notify> = outcome.notify.into_iter().take(MAX_NOTICES).collect();
        self.notify_all(conv, on.as_str(), &told);
        if let Some(reply) = outcome.reply {
            self.say(&c, &m, &reply);
        }
    }

    /// An automatic reply like any other: it answers what the customer wrote last.
    fn say(&mut self, c: &Conversation, m: &Message, reply: &RunReply) {
        let Some(message) = c.last_message else {
            return self.ignore("nothing is said automatically to a customer who never wrote");
        };
        let (conv, rule) = (c.id, reply.rule.clone());
        let said = |p: &Public| matches!(p, Public::SendQueued { conv, notice: false, .. } if *conv == c.id);
        if self.events.iter().any(|e| said(&e.public)) {
            return self.emit(Public::NotReplied { conv, message, rule, why: NoReply::Answered });
        }
        if reply.text.as_ref().is_ok_and(|text| text.len() > MAX_REPLY) {
            return self.emit(Public::NotReplied { conv, message, rule, why: NoReply::TooLong });
        }
        if c.quiet {
            return self.emit(Public::NotReplied { conv, message, rule, why: NoReply::Quiet });
        }
        self.auto_reply(conv, message, m, reply);
    }
}

/// What conditions see where nothing was written now: whose conversation it is, where, and when they wrote last.
fn said_last(c: &Conversation) -> Option<Message> {
    let p = c.private.as_ref()?;
    let from = p.address()?;
    let at = c.last_in.get().unwrap_or(c.opened_at);
    Some(Message {
        id: String::new(),
        channel: (*c.channel).clone(),
        thread: p.thread().to_owned(),
        at,
        received_at: at,
        from,
        to: None,
        content: Content::default(),
        references: vec![],
        provider_id: None,
        visibility: Visibility::Private,
        automatic: c.quiet,
        authenticated: None,
        meta: BTreeMap::new(),
        raw: None,
        traceparent: None,
        mail: None,
    })
}
