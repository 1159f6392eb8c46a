//! What people and operators' tools tell the router to do. Every command gets exactly one answer.

use super::assign::Entry;
use super::{Draft, lacks};
use crate::event::{Considered, DeadReason, Happening, KeyHash, OfferEnd, Presence, Private, Public, Reply, Why};
use crate::ids::{ContactId, ConvId, MessageId, OfferId};
use crate::pack::{ConvStatus, Priority, RulePack};
use crate::state::{Conversation, Phase, Window};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_envelope::{
    Action, Actor, Address, Attachment, Author, Command, ConsentState, Content, Destination, Scope, numbered, topic_of,
};

/// The reason with which an operator pauses a channel; other reasons end when the configuration is read again.
pub const PAUSED_BY_OPERATOR: &str = "paused by an operator";

/// What a refused command says.
pub(super) struct Refusal {
    status: u16,
    code: &'static str,
    detail: String,
}

pub(super) type Answer = Result<Reply, Refusal>;

/// Attributes of one conversation or contact.
const MAX_ATTRIBUTES: usize = 100;
const MAX_ATTRIBUTE_BYTES: usize = 32 * 1024;

/// Every decision about a conversation sees its attributes, and those of its contact: together they stay small.
fn attributes_fit(
    present: Option<&BTreeMap<String, String>>,
    set: &BTreeMap<String, Option<String>>,
) -> Result<(), Refusal> {
    let mut after = present.cloned().unwrap_or_default();
    crate::state::merge_attributes(&mut after, set);
    let bytes: usize = after.iter().map(|(name, value)| name.len() + value.len()).sum();
    if set.is_empty() || (after.len() <= MAX_ATTRIBUTES && bytes <= MAX_ATTRIBUTE_BYTES) {
        return Ok(());
    }
    let detail =
        format!("at most {MAX_ATTRIBUTES} attributes of {MAX_ATTRIBUTE_BYTES} bytes together; remove some first");
    Err(refuse(422, "too_many_attributes", detail))
}

pub(super) fn refuse(status: u16, code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal { status, code, detail: detail.into() }
}

pub(super) fn not_found(what: &str) -> Refusal {
    refuse(404, "not_found", format!("there is no such {what}"))
}

pub(super) fn done<const N: usize>(status: u16, ids: [(&str, String); N]) -> Reply {
    let ids = ids.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Reply { status, code: String::new(), detail: String::new(), ids }
}

/// Who acts where neither an agent nor a token is named.
const ADMIN: &str = "admin";

/// Who acted, in a word: the agent, else whoever asked by the name of their token.
pub(super) fn by_whom(actor: &Actor) -> String {
    actor.agent.as_ref().or(actor.token.as_ref()).map_or_else(|| ADMIN.to_owned(), Clone::clone)
}

/// The author of what is written: nobody writes in the name of an agent who is not named.
fn author_of(actor: &Actor) -> Author {
    match &actor.agent {
        Some(id) => Author::Agent { id: id.clone() },
        None => Author::Token { name: by_whom(actor) },
    }
}

impl<'a> Draft<'a> {
    pub(super) fn command(&mut self, c: &Command, id: KeyHash, candidate: Option<&'a RulePack>) {
        let answer = self.act_on(&c.actor, &c.action, candidate);
        let reply = answer.unwrap_or_else(|r| Reply {
            status: r.status,
            code: r.code.to_owned(),
            detail: r.detail,
            ids: BTreeMap::new(),
        });
        self.answer(id, c.body_hash.clone(), reply);
    }

    fn act_on(&mut self, actor: &Actor, action: &Action, candidate: Option<&'a RulePack>) -> Answer {
        match action {
            Action::Reply { conversation, text, attachments, choices, template, take, seen } => {
                let content = Content {
                    text: text.clone(),
                    attachments: attachments.clone(),
                    choices: choices.clone(),
                    template: template.clone(),
                    ..Content::default()
                };
                self.reply(actor, conversation, content, *take, seen.as_deref())
            }
            Action::Note { conversation, text } => self.note(actor, conversation, text),
            Action::Take { conversation } => self.take(actor, conversation),
            Action::Close { conversation } => self.close_by(actor, conversation),
            Action::Reopen { conversation } => self.reopen(conversation),
            Action::Transfer { conversation, to } => self.transfer(actor, conversation, to),
            Action::Snooze { conversation, until } => self.snooze(actor, conversation, *until),
            Action::Update { conversation, tags, priority, attributes } => {
                self.update(conversation, tags.as_ref(), priority.as_deref(), attributes)
            }
            Action::Presence { agent, presence } => self.presence(actor, agent, presence),
            Action::AcceptOffer { offer } => self.accept_offer(actor, offer),
            Action::DeclineOffer { offer } => self.decline_offer(actor, offer),
            Action::UpdateContact { contact, tags, attributes, consent, unblock } => {
                self.may_unblock(actor, unblock)?;
                let updated = self.update_contact(actor, contact, tags.as_ref(), attributes, consent)?;
                self.unblock(actor, contact, unblock)?;
                Ok(updated)
            }
            Action::MergeContact { into, from } => self.merge(into, from),
            Action::Start { to_channel, to, subject, text, destination } => {
                let content = Content { subject: subject.clone(), ..Content::text(text.clone()) };
                self.start(actor, to_channel, to, content, destination.as_ref())
            }
            Action::Resend { send } => self.resend(send),
            Action::Drop { send } => self.drop_dead(send),
            Action::PauseChannel { target } => self.pause(target, Some(PAUSED_BY_OPERATOR.to_owned())),
            Action::ResumeChannel { target, mended: false } => self.pause(target, None),
            Action::ResumeChannel { target, mended: true } => self.mended(target),
            Action::ReloadPack { hash } => self.reload(hash, candidate),
            Action::RollbackPack { to } => self.rollback(to.as_deref(), candidate),
            Action::TryPack { hash, percent } => self.try_pack(hash, *percent, candidate),
            Action::EndTrial { promote } => self.end_trial(*promote),
            Action::Confirmed { target, thread, up_to, read } => {
                let (channel, thread) = (target.clone(), self.state.thread_hash(target, thread));
                let at = self.now();
                self.emit(Public::Confirmed { channel, thread, up_to: *up_to, read: *read, at });
                Ok(done(202, []))
            }
            Action::Fetched { conversation, message, attachments } => self.fetched(conversation, message, attachments),
            Action::Released { quarantined } => {
                if !self.state.quarantine.contains_key(quarantined) {
                    return Err(not_found("quarantined record"));
                }
                self.emit(Public::QuarantineReleased { seq: *quarantined });
                Ok(done(200, []))
            }
        }
    }

    fn find(&self, id: &str) -> Result<Arc<Conversation>, Refusal> {
        ConvId::parse(id).and_then(|id| self.conv(id)).ok_or_else(|| {
            refuse(404, "not_found", "there is no such conversation, or it closed too long ago to be acted on")
        })
    }

    /// For whom the command is: the agent whom it names, or the only one that there is, if they are there. Without one it makes nobody
    /// the owner. What it writes is in the name of whoever asks in any case.
    pub(super) fn speaker(&self, actor: &Actor) -> Result<Option<String>, Refusal> {
        match &actor.agent {
            Some(a) if self.pack.agents.contains_key(a) => Ok(Some(a.clone())),
            Some(a) => Err(refuse(422, "unknown_agent", lacks("agent", a, &self.pack.agents))),
            None => Ok(self.only_agent().filter(|a| self.agent_state(a).presence != Presence::Offline)),
        }
    }

    /// Another's conversation is not touched, unless a supervisor insists.
    fn only_agent(&self) -> Option<String> {
        self.pack.agents.keys().next().filter(|_| self.pack.agents.len() == 1).cloned()
    }

    fn may_touch(&self, c: &Conversation, actor: &Actor, who: Option<&str>, take: bool) -> Result<(), Refusal> {
        let owner = match c.status {
            ConvStatus::Assigned | ConvStatus::Pending | ConvStatus::Snoozed => c.agent.as_deref().map(String::as_str),
            ConvStatus::Offered => c.offer.as_ref().map(|o| o.agent.as_str()),
            ConvStatus::Queued | ConvStatus::Closed => None,
        };
        let Some(owner) = owner.filter(|o| Some(*o) != who) else { return Ok(()) };
        // Where there is one agent, whoever acts for none takes it from nobody else.
        let alone = actor.agent.is_none() && self.pack.agents.len() == 1;
        if (take || alone) && actor.scope >= Scope::Supervisor {
            return Ok(());
        }
        let hint = match who {
            _ if actor.scope < Scope::Supervisor => String::new(),
            Some(who) => format!("; add `\"take\": true` to answer all the same: then it is with `{who}`"),
            None => {
                // An offer ends with an answer that is not the agent's.
                let kept = if c.offer.is_none() { format!(", which leaves it with `{owner}`") } else { String::new() };
                format!(
                    "; add `\"agent\": \"{owner}\"` to answer for them, or `\"take\": true` to answer all the same{kept}"
                )
            }
        };
        Err(refuse(409, "owned", format!("the conversation is with `{owner}`{hint}")))
    }

    pub(super) fn supervises(&self, actor: &Actor) -> Result<(), Refusal> {
        if actor.scope >= Scope::Supervisor {
            return Ok(());
        }
        Err(refuse(403, "forbidden", "this needs a token of scope `supervisor`"))
    }

    /// Why something cannot be sent on a channel to an address now.
    fn may_send(&self, channel: &str, to: &Address, content: &Content) -> Result<(), Refusal> {
        let Content { text, attachments, template, .. } = content;
        let Some(profile) = self.profile(channel) else {
            return Err(refuse(422, "no_channel", format!("channel `{channel}` is not in the configuration")));
        };
        if profile.desk {
            return Err(refuse(422, "desk", format!("`{channel}` is a desk: customers are written to on channels")));
        }
        if template.is_some() && !profile.templates {
            return Err(refuse(422, "template", format!("channel `{channel}` has no approved texts")));
        }
        if text.trim().is_empty() && attachments.is_empty() && template.is_none() {
            return Err(refuse(422, "empty", "the message has neither text nor attachments"));
        }
        let length = text.chars().count();
        if let Some(max) = profile.max_text.filter(|max| length > *max as usize) {
            let detail = format!("the text has {length} characters, channel `{channel}` takes {max}");
            return Err(refuse(422, "too_long", detail));
        }
        if let Some(why) = profile.no_files.as_ref().filter(|_| !attachments.is_empty()) {
            return Err(refuse(422, "attachments", format!("channel `{channel}` can send no files: {why}")));
        }
        if profile.max_attachments.is_some_and(|max| attachments.len() > max as usize) {
            let detail =
                format!("channel `{channel}` takes at most {} attachments", profile.max_attachments.unwrap_or(0));
            return Err(refuse(422, "attachments", detail));
        }
        let identity = self.state.identity_hash(to);
        if self.state.consent.get(&(identity, channel.to_owned())) == Some(&ConsentState::OptedOut) {
            return Err(refuse(422, "opted_out", "the customer opted out of messages on this channel"));
        }
        let category = content.template.as_ref().and_then(|template| template.category.as_deref());
        let stopped =
            |of: &&str| self.state.consent.get(&(identity, topic_of(channel, of))) == Some(&ConsentState::OptedOut);
        if let Some(category) = category.filter(stopped) {
            let detail = format!(
                "the customer stopped messages of the kind `{category}` on this channel; others still reach them"
            );
            return Err(refuse(422, "opted_out", detail));
        }
        Ok(())
    }

    /// Why a provider would not take an answer so long after the customer wrote.
    fn in_window(&self, c: &Conversation, person: bool, content: &Content) -> Result<(), Refusal> {
        let window = self.profile(&c.channel).and_then(|profile| Window::of(c, profile, person));
        match window.filter(|w| content.template.is_none() || !w.templates) {
            Some(window) if !window.is_open(self.now()) => Err(refuse(422, "outside_window", window.closed())),
            _ => Ok(()),
        }
    }

    fn reply(
        &mut self,
        actor: &Actor,
        conversation: &str,
        mut content: Content,
        take: bool,
        seen: Option<&str>,
    ) -> Answer {
        let c = self.find(conversation)?;
        let who = self.speaker(actor)?;
        self.may_touch(&c, actor, who.as_deref(), take)?;
        if let Some(seen) = seen {
            let known = [c.last_message, c.last_sent.filter(|_| c.last_out.get() >= c.last_in.get())];
            if !known.iter().flatten().any(|id| id.to_string() == seen) {
                return Err(refuse(409, "stale", "something newer was said; read it first"));
            }
        }
        let Some(to) = c.private.as_ref().and_then(|p| p.address()) else {
            return Err(refuse(422, "no_address", "the customer's address was erased"));
        };
        // Without buttons the customer reads the choices in the text, and so does the transcript.
        if self.profile(&c.channel).is_some_and(|p| !p.shows(&content.choices)) {
            content.text = numbered(&content.text, &content.choices);
        }
        self.may_send(&c.channel, &to, &content)?;
        self.in_window(&c, true, &content)?;
        if c.status == ConvStatus::Closed {
            self.may_reopen(&c)?;
            self.emit(Public::Reopened { conv: c.id, why: Why::Taken });
        }
        // Whoever has it and answers again has taken nothing: it goes on waiting for the customer. Who snoozed it unanswered takes it up.
        let answered = c.status == ConvStatus::Pending || (c.status == ConvStatus::Snoozed && c.clock.is_none());
        let has = answered && who.is_some() && c.agent.as_deref() == who.as_ref();
        if !has {
            self.take_for(&c, who.as_deref());
        }
        let author = author_of(actor);
        let Some(message) = self.send(c.id, author, content, None) else {
            return Err(refuse(422, "no_address", "the customer's address was erased"));
        };
        self.wait_for_customer(c.id);
        self.happened(c.id, Happening::Answered);
        Ok(done(202, [("conversation", c.id.to_string()), ("message", message.to_string())]))
    }

    /// Makes the speaker the owner. Whoever answers has taken it, whatever their capacity says.
    fn take_for(&mut self, c: &Arc<Conversation>, who: Option<&str>) {
        let Some(agent) = who else { return self.withdraw_offer(c) };
        if let Some(o) = c.offer.clone().filter(|o| o.agent == agent) {
            self.emit(Public::OfferEnded { conv: c.id, offer: o.id, agent: o.agent, how: OfferEnd::Accepted });
            return self.assign(c.id, agent, Why::Accepted, Considered::default());
        }
        if c.status != ConvStatus::Assigned || c.agent.as_deref().is_none_or(|a| a != agent) {
            self.assign(c.id, agent, Why::Taken, Considered::default());
        }
    }

    fn note(&mut self, actor: &Actor, conversation: &str, text: &str) -> Answer {
        let c = self.find(conversation)?;
        if text.trim().is_empty() {
            return Err(refuse(422, "empty", "the note has no text"));
        }
        self.speaker(actor)?;
        let agent = actor.agent.clone();
        let token = if agent.is_none() { actor.token.clone() } else { None };
        let (message, at) = (self.new_message_id(), self.now());
        let public = Public::NoteAdded { conv: c.id, message, agent, token, at };
        self.emit_private(public, c.contact, Private::Note { text: text.to_owned() });
        self.happened(c.id, Happening::Noted);
        Ok(done(201, [("conversation", c.id.to_string()), ("message", message.to_string())]))
    }

    fn fetched(&mut self, conversation: &str, message: &str, attachments: &[Attachment]) -> Answer {
        let c = self.find(conversation)?;
        let message = MessageId::parse(message).ok_or_else(|| not_found("message"))?;
        let files = Private::Files { attachments: attachments.to_vec() };
        self.emit_private(Public::FilesFetched { conv: c.id, message }, c.contact, files);
        Ok(done(200, [("conversation", c.id.to_string()), ("message", message.to_string())]))
    }

    fn take(&mut self, actor: &Actor, conversation: &str) -> Answer {
        let c = self.find(conversation)?;
        let Some(who) = self.speaker(actor)? else {
            return Err(refuse(422, "no_agent", "say which agent takes it: add `agent`"));
        };
        self.may_touch(&c, actor, Some(&who), true)?;
        self.has_room(&c, &who)?;
        if c.status == ConvStatus::Closed {
            self.may_reopen(&c)?;
            self.emit(Public::Reopened { conv: c.id, why: Why::Taken });
        }
        self.take_for(&c, Some(&who));
        self.begin_grace(&who);
        Ok(done(200, [("conversation", c.id.to_string())]))
    }

    fn has_room(&self, c: &Conversation, agent: &str) -> Result<(), Refusal> {
        let capacity = self.pack.agents.get(agent).map_or(0, |a| a.capacity);
        let load = self.state.agents.get(agent).map_or(0, |a| a.load);
        let own = c.bearer().is_some_and(|b| b == agent);
        if !own && load.saturating_add(c.cost) > capacity {
            let units = |u: u32| f64::from(u) / 100.0;
            let detail = format!("`{agent}` has no room: {} of {} units are taken", units(load), units(capacity));
            return Err(refuse(409, "capacity", detail));
        }
        Ok(())
    }

    fn close_by(&mut self, actor: &Actor, conversation: &str) -> Answer {
        let c = self.find(conversation)?;
        let who = self.speaker(actor)?;
        self.may_touch(&c, actor, who.as_deref(), true)?;
        if c.is_open() {
            self.close(c.id, actor.agent.clone());
            self.happened(c.id, Happening::Closed);
        }
        Ok(done(200, [("conversation", c.id.to_string())]))
    }

    /// Only the latest conversation of a thread can be open.
    fn may_reopen(&self, c: &Conversation) -> Result<(), Refusal> {
        match self.state.conversation_of_thread(c.thread) {
            Some(latest) if latest.id != c.id => {
                let detail = format!("the customer has a newer conversation on this thread: {}", latest.id);
                Err(refuse(409, "superseded", detail))
            }
            _ => Ok(()),
        }
    }

    fn reopen(&mut self, conversation: &str) -> Answer {
        let c = self.find(conversation)?;
        if c.is_open() {
            return Ok(done(200, [("conversation", c.id.to_string())]));
        }
        self.may_reopen(&c)?;
        self.emit(Public::Reopened { conv: c.id, why: Why::Reopened });
        self.back_to_us(c.id, Why::Reopened);
        Ok(done(200, [("conversation", c.id.to_string())]))
    }

    fn transfer(&mut self, actor: &Actor, conversation: &str, to: &Destination) -> Answer {
        let c = self.find(conversation)?;
        let who = self.speaker(actor)?;
        self.may_touch(&c, actor, who.as_deref(), true)?;
        match to {
            Destination::Queue(q) if !self.pack_of(&c).queues.contains_key(q) => {
                return Err(refuse(422, "unknown_queue", lacks("queue", q, &self.pack_of(&c).queues)));
            }
            Destination::Agent(a) if !self.pack.agents.contains_key(a) => {
                return Err(refuse(422, "unknown_agent", lacks("agent", a, &self.pack.agents)));
            }
            Destination::Agent(a) => self.has_room(&c, a)?,
            Destination::Queue(_) => {}
        }
        if c.status == ConvStatus::Closed {
            self.may_reopen(&c)?;
            self.emit(Public::Reopened { conv: c.id, why: Why::Transferred });
        }
        match to {
            Destination::Queue(q) => {
                self.moved(&c, q);
                self.enqueue(c.id, Entry::new(q.clone(), Why::Transferred));
                self.somebody_freed();
            }
            Destination::Agent(a) => {
                self.assign(c.id, a, Why::Transferred, Considered::default());
                self.begin_grace(a);
            }
        }
        Ok(done(200, [("conversation", c.id.to_string())]))
    }

    fn snooze(&mut self, actor: &Actor, conversation: &str, until: switchboard_envelope::Timestamp) -> Answer {
        let c = self.find(conversation)?;
        let who = self.speaker(actor)?;
        self.may_touch(&c, actor, who.as_deref(), true)?;
        let now = self.now();
        if until <= now || until.since(now) > 366 * 86_400_000 {
            return Err(refuse(422, "until", "`until` must lie in the future, within a year"));
        }
        if c.status == ConvStatus::Closed {
            return Err(refuse(409, "closed", "the conversation is closed"));
        }
        self.snooze_until(c.id, until);
        Ok(done(200, [("conversation", c.id.to_string())]))
    }

    fn update(
        &mut self,
        conversation: &str,
        tags: Option<&Vec<String>>,
        priority: Option<&str>,
        attributes: &BTreeMap<String, Option<String>>,
    ) -> Answer {
        let c = self.find(conversation)?;
        let priority = priority.map(|p| {
            Priority::parse(p).ok_or_else(|| refuse(422, "priority", "priority is low, normal, high or urgent"))
        });
        let priority = priority.transpose()?;
        let present = c.private.as_ref().map(|p| &*p.attributes);
        attributes_fit(present, attributes)?;
        let before = self.events.len();
        if let Some(tags) = tags {
            let wanted: BTreeSet<String> = tags.iter().cloned().collect();
            let add: BTreeSet<String> = wanted.difference(&c.tags).cloned().collect();
            let remove: BTreeSet<String> = c.tags.difference(&wanted).cloned().collect();
            if !add.is_empty() || !remove.is_empty() {
                self.emit(Public::Tagged { conv: c.id, add, remove });
            }
        }
        if let Some(priority) = priority.filter(|p| *p != c.priority) {
            self.emit(Public::Prioritised { conv: c.id, priority, by: self.by.clone() });
        }
        if !attributes.is_empty() {
            let set = attributes.clone();
            self.emit_private(Public::AttributesSet { conv: c.id }, c.contact, Private::Attributes { set });
        }
        if self.events.len() > before {
            self.happened(c.id, Happening::Changed);
        }
        Ok(done(200, [("conversation", c.id.to_string())]))
    }

    fn presence(&mut self, actor: &Actor, agent: &str, presence: &str) -> Answer {
        if actor.agent.as_deref() != Some(agent) {
            self.supervises(actor)?;
        }
        if !self.pack.agents.contains_key(agent) {
            return Err(refuse(404, "not_found", format!("the pack has no agent `{agent}`")));
        }
        let Some((presence, named)) = self.pack.presences.find(presence) else {
            let words: Vec<&str> = self.pack.presences.words().map(|(word, _)| word).collect();
            return Err(refuse(422, "presence", format!("a presence is one of {}", words.join(", "))));
        };
        self.set_presence(agent, presence, named, false);
        Ok(done(200, [("agent", agent.to_owned())]))
    }

    fn find_offer(&self, actor: &Actor, offer: &str) -> Result<(Arc<Conversation>, String), Refusal> {
        let c = OfferId::parse(offer)
            .and_then(|o| self.state.offer(o).cloned())
            .ok_or_else(|| refuse(404, "not_found", "there is no such offer; it may have timed out"))?;
        let agent = c.offer.as_ref().map(|o| o.agent.clone()).unwrap_or_default();
        if self.speaker(actor)?.is_some_and(|who| who != agent) && actor.scope < Scope::Supervisor {
            return Err(refuse(403, "forbidden", format!("the offer is for `{agent}`")));
        }
        Ok((c, agent))
    }

    fn accept_offer(&mut self, actor: &Actor, offer: &str) -> Answer {
        let (c, agent) = self.find_offer(actor, offer)?;
        self.take_for(&c, Some(&agent));
        Ok(done(200, [("conversation", c.id.to_string())]))
    }

    fn decline_offer(&mut self, actor: &Actor, offer: &str) -> Answer {
        let (c, _) = self.find_offer(actor, offer)?;
        self.end_offer(&c, OfferEnd::Declined);
        Ok(done(200, [("conversation", c.id.to_string())]))
    }

    fn update_contact(
        &mut self,
        actor: &Actor,
        contact: &str,
        tags: Option<&Vec<String>>,
        attributes: &BTreeMap<String, Option<String>>,
        consent: &BTreeMap<String, ConsentState>,
    ) -> Answer {
        let id = ContactId::parse(contact).map(|id| self.state.resolve(id)).ok_or_else(|| not_found("contact"))?;
        let known = self.state.contacts.get(&id).and_then(|c| c.private.clone());
        attributes_fit(known.as_ref().map(|p| &p.attributes), attributes)?;
        self.speaker(actor)?;
        let by = by_whom(actor);
        let changes: Vec<Vec<_>> = consent
            .iter()
            .map(|(channel, to)| self.consent_by_hand(actor, id, channel, *to))
            .collect::<Result<_, _>>()?;
        for (conv, address, channel, state) in changes.into_iter().flatten() {
            self.set_consent(id, &address, &channel, state, Some(format!("set by hand by {by}")));
            self.emit(Public::ConsentByHand { conv, state, by: by.clone() });
        }
        if tags.is_some() || !attributes.is_empty() {
            self.touch_contact(id, tags.map(|t| t.iter().cloned().collect()), attributes.clone(), None);
        }
        Ok(done(200, [("contact", id.to_string())]))
    }

    /// What a change of consent by hand comes to, for each of the person's addresses on the channel for which it is not so already. An
    /// opt-out may be noted by anyone of ours. Undoing one takes more, and what the provider holds as well only the person can undo.
    fn consent_by_hand(
        &self,
        actor: &Actor,
        contact: ContactId,
        channel: &str,
        to: ConsentState,
    ) -> Result<Vec<(ConvId, Address, String, ConsentState)>, Refusal> {
        let mut theirs: Vec<_> =
            self.state.conversations_of(contact).filter(|c| c.channel == *channel).map(|c| (c.opened_by, c)).collect();
        theirs.sort_by_key(|(opened, _)| *opened);
        let known = theirs.into_iter().filter_map(|(_, c)| Some((c.id, c.private.as_ref()?.address()?)));
        // Of each address the newest conversation.
        let addresses: BTreeMap<KeyHash, (ConvId, Address)> =
            known.map(|(conv, address)| (self.state.identity_hash(&address), (conv, address))).collect();
        if addresses.is_empty() {
            let detail = format!("the contact has no recent conversation on channel `{channel}`");
            return Err(refuse(422, "no_address", detail));
        }
        let differs = |identity| self.state.consent.get(&(identity, channel.to_owned())) != Some(&to);
        let mut changes = vec![];
        for (identity, (conv, address)) in addresses.into_iter().filter(|(identity, _)| differs(*identity)) {
            if to == ConsentState::OptedIn {
                self.supervises(actor)?;
                if self.state.kept_opt_outs.contains(&(identity, channel.to_owned())) {
                    let detail = format!(
                        "the provider of channel `{channel}` holds this person's opt-out and would refuse every message: \
                         only they can undo it, by writing START"
                    );
                    return Err(refuse(422, "opted_out", detail));
                }
            }
            changes.push((conv, address, channel.to_owned(), to));
        }
        Ok(changes)
    }

    fn merge(&mut self, into: &str, from: &str) -> Answer {
        let parse = |s: &str| ContactId::parse(s).ok_or_else(|| not_found("contact"));
        let (into, from) = (self.state.resolve(parse(into)?), self.state.resolve(parse(from)?));
        if into == from {
            return Err(refuse(409, "same", "these are the same contact"));
        }
        self.emit(Public::ContactMerged { into, from });
        Ok(done(200, [("contact", into.to_string())]))
    }

    fn start(
        &mut self,
        actor: &Actor,
        channel: &str,
        to: &Address,
        content: Content,
        destination: Option<&Destination>,
    ) -> Answer {
        let who = self.speaker(actor)?;
        // Whoever writes to somebody whom we know need not say within which account.
        let thread = self.state.thread_hash(channel, &to.value);
        let known = self.state.conversation_of_thread(thread).and_then(|c| c.private.as_ref()?.address());
        let theirs = |known: &Address| known.within.is_some() && known.identity() == to.identity();
        let known = known.filter(|known| to.within.is_none() && theirs(known));
        let to = known.as_ref().unwrap_or(to);
        self.may_send(channel, to, &content)?;
        let Some(profile) = self.profile(channel).cloned() else { return Err(not_found("channel")) };
        if content.subject.is_some() && !profile.mail {
            return Err(refuse(422, "subject", format!("messages of channel `{channel}` have no subject")));
        }
        if !profile.proactive {
            let detail = format!("channel `{channel}` cannot start a conversation from our side");
            return Err(refuse(422, "not_proactive", detail));
        }
        if profile.address_kind != to.kind {
            let detail = format!("channel `{channel}` writes to `{}`, not to `{}`", profile.address_kind, to.kind);
            return Err(refuse(422, "address", detail));
        }
        let (queue, agent) = match destination {
            Some(Destination::Queue(q)) if !self.pack.queues.contains_key(q) => {
                return Err(refuse(422, "unknown_queue", lacks("queue", q, &self.pack.queues)));
            }
            Some(Destination::Agent(a)) if !self.pack.agents.contains_key(a) => {
                return Err(refuse(422, "unknown_agent", lacks("agent", a, &self.pack.agents)));
            }
            Some(Destination::Queue(q)) => (Some(q.clone()), None),
            Some(Destination::Agent(a)) => (None, Some(a.clone())),
            None => (self.default_queue(self.pack), who.clone()),
        };
        let open = self.state.conversation_of_thread(thread).filter(|c| c.is_open()).map(|c| c.id);
        let conv = match open {
            Some(conv) => conv,
            None => {
                let contact = self.state.contact_of(to);
                let conv = self.open(contact, channel, thread, &to.value, to, content.subject.clone(), true);
                // Where the customer's answer will wait.
                if let Some(queue) = queue {
                    self.enqueue(conv, Entry::new(queue, Why::Started));
                    self.arrived.remove(&conv);
                }
                if let Some(agent) = &agent {
                    self.assign(conv, agent, Why::Taken, Considered::default());
                }
                conv
            }
        };
        let author = author_of(actor);
        let message = self.send(conv, author, content, None);
        let message = message.ok_or_else(|| refuse(422, "no_address", "the customer's address was erased"))?;
        if open.is_none() {
            self.wait_for_customer(conv);
        }
        Ok(done(202, [("conversation", conv.to_string()), ("message", message.to_string())]))
    }

    fn resend(&mut self, send: &str) -> Answer {
        let dead = MessageId::parse(send).and_then(|id| self.state.sends.get(&id).cloned()).filter(|s| s.is_dead());
        let Some(s) = dead else { return Err(not_found("dead letter")) };
        let Some(p) = s.private.clone() else {
            return Err(refuse(422, "no_address", "the message was erased"));
        };
        if s.notice {
            return self.resend_notice(&s, &p);
        }
        self.may_send(&s.channel, &p.to, &p.content)?;
        let Some(c) = self.conv(s.conv) else {
            return Err(refuse(409, "closed", "its conversation closed too long ago; start a new one"));
        };
        self.in_window(&c, s.author.by_hand(), &p.content)?;
        // What the customer has already is not repeated.
        let left = self.profile(&s.channel).map(|profile| profile.remaining(&p.content, s.part));
        let Some(message) = self.send(s.conv, s.author.clone(), left.unwrap_or_default(), Some(s.id)) else {
            return Err(refuse(422, "no_address", "the customer's address was erased"));
        };
        self.emit(Public::DeadCleared { conv: s.conv, message: s.id, resent: Some(message) });
        // It came back to us because this answer failed; now the customer has it, unless they wrote again meanwhile.
        if let Some(c) = self.conv(s.conv).filter(|c| c.is_ours() && c.last_in.get().is_none_or(|at| at <= s.at))
            && s.author.by_hand()
        {
            self.withdraw_offer(&c);
            self.wait_for_customer(c.id);
        }
        Ok(done(202, [("conversation", s.conv.to_string()), ("message", message.to_string())]))
    }

    fn drop_dead(&mut self, send: &str) -> Answer {
        let dead = MessageId::parse(send).and_then(|id| self.state.sends.get(&id).cloned());
        let Some(s) = dead.filter(|s| matches!(s.phase, Phase::Dead { reason, .. } if reason != DeadReason::Failed))
        else {
            return Err(not_found("dead letter"));
        };
        self.emit(Public::DeadCleared { conv: s.conv, message: s.id, resent: None });
        Ok(done(200, [("message", s.id.to_string())]))
    }
}
