//! A customer wrote.

use super::assign::{Entry, comes_back};
use super::matching::Named;
use super::{Draft, PENDING_MS, REOPEN_MS};
use crate::event::{Chosen, DecidedMessage, NoReply, Private, Public, Why};
use crate::ids::{ContactId, ConvId, MessageId};
use crate::pack::standing::{asks, fill_in};
use crate::pack::{AgentChoice, ConvStatus, Name, RunOutcome, RunReply, SeenMessage, SeenState, SetTarget};
use crate::state::fold::words;
use crate::state::{Conversation, day};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_envelope::{
    Attachment, Author, Choice, ConsentState, Content, Message, Timestamp, Visibility, chosen, numbered,
};

/// Whoever answers an automatic reply as fast as this, several times in a row, is a machine.
const AT_ONCE_MS: i64 = 15_000;
/// Providers tell the time of a message in whole seconds.
const BLUR_MS: i64 = 1_000;

/// Conversations of a contact whose addresses conditions see.
const MAX_IDENTITIES: usize = 32;

/// How a message found its conversation.
#[derive(Clone, Copy)]
struct Came {
    before: Option<ConvStatus>,
    automatic: bool,
}

/// Where a conversation goes with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where the rules say.
    ByRules,
    /// The rules say where it waits what they said the time before: what moved it from there stands.
    Again,
    /// Nothing holds it: the pack's default takes it.
    ByDefault,
    /// It keeps its owner, its offer or its place; the customer now waits for us.
    Kept,
    /// To whom it was with, or to its queue.
    Back,
    /// It goes on as it was: a rule closes it or lays it aside, or a machine wrote where the customer is waited for.
    AsItWas,
}

impl Draft<'_> {
    pub(super) fn message(&mut self, m: &Message) {
        match self.typed_choice(m) {
            Some(choice) => {
                let mut chose = m.clone();
                chose.content.choice = Some(choice);
                self.heard(&chose);
            }
            None => self.heard(m),
        }
    }

    /// What the customer chose of what our latest message offers, where they typed its number or label.
    fn typed_choice(&self, m: &Message) -> Option<Choice> {
        if m.content.choice.is_some() || m.automatic {
            return None;
        }
        let c = self.state.conversation_of_thread(self.state.thread_hash(&m.channel, &m.thread))?;
        chosen(&m.content.text, &c.private.as_ref()?.offered).cloned()
    }

    fn heard(&mut self, m: &Message) {
        let contact = self.state.contact_of(&m.from);
        let thread = self.state.thread_hash(&m.channel, &m.thread);
        let identity = self.state.identity_hash(&m.from);
        let blocked = self.state.blocked.contains_key(&(identity, m.channel.clone()));
        let now = self.now();
        let reopens = |c: &Conversation| c.is_open() || (!m.automatic && c.wait_until.get().is_some_and(|t| now <= t));
        let appends = |c: &Arc<Conversation>| reopens(c) || m.automatic || blocked;
        // What a letter names comes first; a conversation that closed too long ago goes on in its thread's next one.
        // Of one thread only the latest may be open.
        let latest = |c: Arc<Conversation>| match c.is_open() {
            true => c,
            false => self.state.conversation_of_thread(c.thread).cloned().unwrap_or(c),
        };
        let kept = self.named(m).map(latest).filter(appends);
        let kept = kept.or_else(|| self.state.conversation_of_thread(thread).cloned().filter(appends));
        let before = kept.as_ref().map(|c| c.status);
        let seen = self.seen_state(m, kept.as_deref());
        let ping_pong = kept.as_deref().and_then(|c| self.ping_pong(c, m));
        // What is held of it from here on would have to be copied before it changes.
        let kept = kept.map(|c| (c.id, c.contact));
        let contact = kept.map_or(contact, |(_, contact)| contact);
        let conv = match kept {
            Some((conv, _)) => conv,
            None => self.open(contact, &m.channel, thread, &m.thread, &m.from, m.content.subject.clone(), false),
        };
        let reopened = before == Some(ConvStatus::Closed) && !m.automatic && !blocked;
        if reopened {
            self.emit(Public::Reopened { conv, why: Why::CustomerWrote });
        }
        let message = self.received(conv, contact, m);
        if let Some(replies) = ping_pong {
            self.emit(Public::PingPong { conv, replies });
        }
        if blocked {
            if kept.is_none() {
                self.close(conv, None);
            }
            return self.ignore("the sender is blocked on this channel");
        }
        let came = Came { before, automatic: m.automatic };
        let (outcome, place) = self.run_rules(conv, contact, message, m, seen, came);
        self.act(conv, message, m, &outcome);
        self.place(conv, place, &outcome);
        self.notify_all(conv, "rule", &outcome.notify);
        match self.keyword_reply(m) {
            // The channel answers its keywords itself, and nobody gets two answers.
            Some(reply) => self.auto_reply(conv, message, m, &reply),
            None => outcome.reply.iter().for_each(|reply| self.auto_reply(conv, message, m, reply)),
        }
        if outcome.close {
            self.close(conv, None);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    pub(super) fn open(
        &mut self,
        contact: ContactId,
        channel: &str,
        thread: crate::event::KeyHash,
        thread_text: &str,
        address: &switchboard_envelope::Address,
        subject: Option<String>,
        ours: bool,
    ) -> ConvId {
        let conv = self.new_conv_id();
        let at = self.now();
        // What begins with words of ours says nothing of a pack.
        let trial = if ours { 0 } else { self.state.draw(contact) };
        self.emit_private(
            Public::Opened { conv, contact, channel: channel.to_owned(), thread, at, ours, trial },
            contact,
            Private::Opened { thread: thread_text.to_owned(), address: address.clone(), subject },
        );
        conv
    }

    fn received(&mut self, conv: ConvId, contact: ContactId, m: &Message) -> MessageId {
        // Not an ordinal: the message's id must be found from the envelope's id alone.
        let message = MessageId::derive(&self.state.salt, &[m.id.as_bytes()]);
        let provider = m.provider_id.as_deref().map(|p| self.state.hash("provider", &[&m.channel, p]));
        let at = self.now();
        let mail = self.received_mail(conv, contact, m);
        let elsewhere =
            self.state.conversation(conv).and_then(|c| c.private.as_ref()).is_some_and(|p| p.thread() != m.thread);
        let mut content = Box::new(m.content.clone());
        content.attachments.extend(self.original(m));
        for file in &mut content.attachments {
            file.thread = elsewhere.then(|| m.thread.clone());
        }
        let disproved = self.disproved(m);
        let quiet = self.unwanted(m) || disproved;
        self.emit_private(
            Public::Received { conv, message, at, automatic: m.automatic, provider, quiet },
            contact,
            Private::Received {
                content,
                from: m.from.clone(),
                provider_id: m.provider_id.clone(),
                client_id: m.meta.get("client_id").cloned(),
                id: m.id.clone(),
                mail,
                said_at: (!m.automatic).then(|| m.at.min(at)),
                proved: self.proved(m),
                disproved,
            },
        );
        message
    }

    /// What conditions see: the state before the message.
    pub(super) fn seen_state(&self, m: &Message, c: Option<&Conversation>) -> SeenState {
        let now = self.now();
        let contact_id = self.state.contact_of(&m.from);
        let contact = self.state.contacts.get(&contact_id);
        let consent = self.state.consent.get(&(self.state.identity_hash(&m.from), m.channel.clone()));
        let theirs: Vec<&Conversation> = self.state.conversations_of(contact_id).map(AsRef::as_ref).collect();
        let others = || theirs.iter().filter(|o| c.is_none_or(|c| c.id != o.id));
        let owner = c.filter(|c| c.is_open()).and_then(|c| c.agent.as_deref().cloned());
        let owned = owner.is_some();
        let last_agent = owner.or_else(|| self.sticky_agent(contact_id, c));
        SeenState {
            now,
            new: c.is_none(),
            state: c.map(|c| c.status),
            owned,
            queue: c.and_then(|c| c.queue.as_deref().cloned()),
            tags: c.map(|c| (*c.tags).clone()).unwrap_or_default(),
            attributes: c.and_then(|c| c.private.as_ref()).map(|p| (*p.attributes).clone()).unwrap_or_default(),
            age_ms: c.map_or(0, |c| now.since(c.opened_at)),
            messages: c.map_or(0, |c| c.messages),
            silence_ms: c.and_then(|c| c.last_in.get()).map(|t| now.since(t)),
            contact_identities: identities(&theirs, m),
            contact_name: contact
                .and_then(|c| c.private.as_ref())
                .and_then(|p| p.name.clone())
                .or_else(|| m.from.name.clone()),
            contact_tags: contact.map(|c| c.tags.clone()).unwrap_or_default(),
            contact_attributes: contact
                .and_then(|c| c.private.as_ref())
                .map(|p| p.attributes.clone())
                .unwrap_or_default(),
            contact_consent: consent.map(|s| match s {
                ConsentState::OptedIn => "opted_in".to_owned(),
                ConsentState::OptedOut => "opted_out".to_owned(),
            }),
            contact_open: u32::try_from(others().filter(|o| o.is_open()).count()).unwrap_or(u32::MAX),
            contact_agent: last_agent,
            priority: c.map(|c| c.priority),
        }
    }

    /// What the rules say, with the pack's default where they place nothing that has no place yet.
    fn run_rules(
        &mut self,
        conv: ConvId,
        contact: ContactId,
        message: MessageId,
        m: &Message,
        seen: SeenState,
        came: Came,
    ) -> (RunOutcome, Place) {
        let kind = self.profile(&m.channel).map(|p| p.kind.clone()).unwrap_or_default();
        let mut said = seen_message(m, kind);
        let Some(c) = self.conv(conv) else { return (RunOutcome::default(), Place::AsItWas) };
        let pack = self.pack_of(&c);
        let mut outcome = pack.run(&said, &seen);
        said.language = said.language.or_else(|| outcome.language.map(str::to_owned));
        let mut place = place_of(&c, came, &outcome);
        if place == Place::ByDefault {
            outcome = pack.with_default(&outcome, &said, &seen);
        }
        let chosen = matches!(place, Place::ByRules | Place::ByDefault).then(|| Box::new(chosen_place(&outcome)));
        if place == Place::ByRules && self.has_no_place_yet(&c, &outcome) {
            outcome = pack.with_default(&outcome, &said, &seen);
            place = Place::ByDefault;
        }
        let aside = came.before == Some(ConvStatus::Snoozed) && c.agent.is_none();
        let waits = aside || matches!(came.before, Some(ConvStatus::Queued | ConvStatus::Offered));
        let again = |chosen: &Chosen| waits && c.chosen.as_deref() == Some(chosen);
        let chosen = chosen.filter(|chosen| !again(chosen));
        if place == Place::ByRules && chosen.is_none() {
            place = if aside { Place::Back } else { Place::Again };
        }
        // What raised it since stands as well.
        let priority = outcome.priority.take().filter(|p| c.chosen_priority != Some(*p));
        outcome.priority = priority;
        drop(c);
        let hits = outcome.hits.clone();
        self.emit_private(
            Public::Decided { conv, message, pack: pack.hash.clone(), hits, place: None, chosen, priority },
            contact,
            Private::Decided { seen: Box::new(seen), message: Box::new(decided_message(said)) },
        );
        (outcome, place)
    }

    /// Everything a run decided but the place, the reply and the close.
    pub(super) fn act(&mut self, conv: ConvId, message: MessageId, m: &Message, outcome: &RunOutcome) {
        let Some(c) = self.state.conversation(conv) else { return };
        let (contact, before) = (c.contact, c.priority);
        // What is said of the person is said of who wrote.
        let writer = if self.is_guest(m, contact) { self.state.contact_of(&m.from) } else { contact };
        let fresh: BTreeSet<_> = outcome.tags.difference(&c.tags).cloned().collect();
        if !fresh.is_empty() {
            self.emit(Public::Tagged { conv, add: fresh, remove: BTreeSet::new() });
        }
        let mut of_conv = BTreeMap::new();
        let mut of_contact = BTreeMap::new();
        for (target, value) in &outcome.set {
            match target {
                SetTarget::Conversation(name) => of_conv.insert(name.clone(), Some(value.clone())),
                SetTarget::Contact(name) => of_contact.insert(name.clone(), Some(value.clone())),
            };
        }
        if !of_conv.is_empty() {
            self.emit_private(Public::AttributesSet { conv }, contact, Private::Attributes { set: of_conv });
        }
        if !of_contact.is_empty() {
            self.touch_contact(writer, None, of_contact, m.from.name.clone());
        }
        if let Some(priority) = outcome.priority.filter(|p| *p != before) {
            self.emit(Public::Prioritised { conv, priority, by: None });
        }
        if let Some(opted_in) = outcome.consent {
            let state = if opted_in { ConsentState::OptedIn } else { ConsentState::OptedOut };
            self.set_consent(writer, &m.from, &m.channel, state, Some(format!("rule, message {message}")));
        }
        if outcome.block {
            let identity = self.state.identity_hash(&m.from);
            self.emit(Public::Blocked { identity, channel: m.channel.clone(), contact: Some(writer) });
        }
    }

    fn place(&mut self, conv: ConvId, place: Place, outcome: &RunOutcome) {
        match place {
            Place::ByRules | Place::Again => {
                let by = outcome.placed_by.as_ref().or_else(|| outcome.hits.last());
                let why = by.map_or(Why::Default, |rule| Why::Rule(rule.clone()));
                self.place_by(conv, outcome, why, place == Place::Again);
            }
            Place::ByDefault => self.place_by(conv, outcome, Why::Default, false),
            Place::Kept => self.start_clock(conv),
            Place::Back => self.back_to_us(conv, Why::CustomerWrote),
            Place::AsItWas => {}
        }
        let open = self.state.conversation(conv).is_some_and(|c| c.is_open());
        if let Some(ms) = outcome.snooze_ms.filter(|_| open && !outcome.close) {
            // It comes back to where it was just put.
            let until = self.now().plus(ms.max(1000));
            self.snooze_until(conv, until);
        }
    }

    /// Whether nobody takes it whom the rules name, and they name no queue where it would wait.
    fn has_no_place_yet(&self, c: &Conversation, outcome: &RunOutcome) -> bool {
        let named = outcome.agent.is_some() && outcome.queue.is_none() && c.queue.is_none();
        named && self.first_of(c, &self.named_by(c, outcome)).chosen.is_none()
    }

    /// Whom the rules name, and where they may be to be given it.
    fn named_by(&self, c: &Conversation, outcome: &RunOutcome) -> Named {
        let agents: Vec<Name> = match &outcome.agent {
            Some(AgentChoice::Agent(agent)) => vec![agent.clone()],
            Some(AgentChoice::OneOf(all)) => all.clone(),
            Some(AgentChoice::Sticky) => self.sticky_agent(c.contact, Some(c)).into_iter().collect(),
            None => vec![],
        };
        let queue = outcome.queue.as_ref().and_then(|queue| self.pack_of(c).queues.get(queue));
        Named { agents, presence: queue.map(|q| q.presence.clone()).unwrap_or_default() }
    }

    /// `again` leaves it where it waits unless an agent takes it.
    fn place_by(&mut self, conv: ConvId, outcome: &RunOutcome, why: Why, again: bool) {
        let Some(c) = self.conv(conv) else { return };
        let named = self.named_by(&c, outcome);
        let considered = self.first_of(&c, &named);
        let Some(agent) = considered.chosen.clone() else {
            if !named.agents.is_empty() {
                self.named.insert(conv, named.clone());
            }
            match again {
                true => self.start_clock(conv),
                false => self.queue_by(&c, outcome, why, &named.agents),
            }
            return self.call_out(conv, named.agents.first().map(String::as_str), outcome.desk.as_deref());
        };
        if outcome.queue.is_some() && !again {
            // Where it waits later, and whose clock runs.
            self.queue_by(&c, outcome, why.clone(), &[]);
            self.arrived.remove(&conv);
        }
        self.assign_at(conv, &agent, why, considered, outcome.desk.as_deref());
    }

    fn queue_by(&mut self, c: &Conversation, outcome: &RunOutcome, why: Why, named: &[Name]) {
        let queue = outcome
            .queue
            .clone()
            .or_else(|| c.queue.as_deref().cloned())
            .or_else(|| self.default_queue(self.pack_of(c)));
        let Some(queue) = queue else { return self.enqueue_default(c.id, Why::Default) };
        let mut entry =
            Entry { queue, skills: outcome.skills.clone(), overflow: outcome.overflow.clone(), since: None, why };
        if outcome.queue.is_none() && c.status == ConvStatus::Queued {
            // What it brought to where it waits stays, as far as nothing else is said.
            if entry.skills.is_empty() {
                entry.skills.clone_from(&c.skills);
            }
            entry.overflow.get_or_insert_with(|| c.overflow.to_vec());
        }
        self.wait_for(c, &mut entry, named, outcome.wait);
        self.enqueue(c.id, entry);
    }

    /// The owner of the contact's latest other open conversation on any channel, else who last answered, else who has this one.
    fn sticky_agent(&self, contact: ContactId, c: Option<&Conversation>) -> Option<String> {
        let others = self.state.conversations_of(contact).filter(|o| c.is_none_or(|c| c.id != o.id) && o.is_open());
        let owned = others.filter(|o| o.agent.is_some()).max_by_key(|o| (o.last_in.get(), o.opened_by));
        let owner = owned.and_then(|o| o.agent.as_deref().cloned());
        let answered = || self.last_answered(contact, Timestamp(i64::MIN));
        owner.or_else(answered).or_else(|| c?.agent.as_deref().cloned())
    }

    /// After a wait: to its owner if there is room, else to the head of its queue.
    pub(super) fn back_to_us(&mut self, conv: ConvId, why: Why) {
        let Some(c) = self.conv(conv) else { return };
        if let Some(agent) = c.agent.as_deref().cloned()
            && self.assign_if_room(conv, &agent, why.clone())
        {
            return;
        }
        match c.queue.as_deref().cloned() {
            Some(queue) => {
                let own = self.steps_of(&c, &queue);
                self.enqueue(conv, comes_back(&c, queue, &own, why));
            }
            None => self.enqueue_default(conv, why),
        }
    }

    pub(super) fn close(&mut self, conv: ConvId, by: Option<String>) {
        let Some(c) = self.conv(conv).filter(|c| c.is_open()) else { return };
        self.withdraw_offer(&c);
        let reopen = c
            .queue
            .as_deref()
            .and_then(|q| self.pack_of(&c).queues.get(q))
            .and_then(|q| q.reopen_ms)
            .unwrap_or(REOPEN_MS);
        let reopen_until = self.now().plus(reopen);
        // What a rule or a timer closes leaves nobody anything to finish.
        let wraps_up = by.is_some();
        self.emit(Public::Closed { conv, by, reopen_until });
        if wraps_up {
            self.wrap_up(&c);
        }
        self.somebody_freed();
    }

    pub(super) fn wait_for_customer(&mut self, conv: ConvId) {
        let until = self.now().plus(PENDING_MS);
        self.stop_resolution(conv);
        self.emit(Public::Pending { conv, until });
        self.somebody_freed();
    }

    /// What the channel answers to a message that is a keyword, as a confirmation that the law wants.
    fn keyword_reply(&self, m: &Message) -> Option<RunReply> {
        let keyword = m.meta.get("keyword")?;
        let text = self.profile(&m.channel)?.keyword_replies.get(keyword)?;
        Some(RunReply { rule: keyword.clone(), reply: keyword.clone(), text: Ok(text.clone()), choices: vec![] })
    }

    pub(super) fn auto_reply(&mut self, conv: ConvId, message: MessageId, m: &Message, reply: &RunReply) {
        let reply = &self.standing_said(conv, &m.channel, reply);
        let refused = self.auto_reply_refused(conv, m, reply);
        if let Some(why) = refused {
            return self.emit(Public::NotReplied { conv, message, rule: reply.rule.clone(), why });
        }
        let Ok(text) = &reply.text else { return };
        let identity = self.state.identity_hash(&m.from);
        let today = day(self.now());
        self.emit(Public::BudgetSpent { identity, day: today });
        let content = Content { choices: reply.choices.clone(), ..Content::text(text.clone()) };
        self.send(conv, Author::Auto { rule: reply.rule.clone() }, content, None);
    }

    /// The reply with the place in the queue and the wait, now that they are known, and with the choices where the channel has no
    /// buttons for them.
    fn standing_said(&mut self, conv: ConvId, channel: &str, reply: &RunReply) -> RunReply {
        // The line is walked for whom it tells only.
        let standing = reply.text.as_ref().is_ok_and(|t| asks(t)).then(|| self.standing(conv));
        let shown = self.profile(channel).is_none_or(|p| p.shows(&reply.choices));
        let said = |t: &String| {
            let text = standing.as_ref().map_or_else(|| t.clone(), |standing| fill_in(t, standing));
            if shown { text } else { numbered(&text, &reply.choices) }
        };
        RunReply { text: reply.text.as_ref().map(said).map_err(Clone::clone), ..reply.clone() }
    }

    /// How many automatic replies in a row a machine seems to have answered, where this message changes that: it answers the
    /// latest at once, or in the words of the message before. Once it is as many as the pack allows, only a person of ours
    /// changes it. Whoever chooses what a reply offers may be fast, and what was said before the reply, as all that a mailbox
    /// gave after an outage, is no answer to it.
    fn ping_pong(&self, c: &Conversation, m: &Message) -> Option<u16> {
        let cut = c.ping_pong >= self.pack_of(c).budget.ping_pong;
        if m.automatic || cut || !c.auto_spoke || self.is_guest(m, c.contact) {
            return None;
        }
        let since = c.last_out.get().map(|at| m.at.min(self.now()).since(at));
        let at_once = since.is_some_and(|ms| (-BLUR_MS..=AT_ONCE_MS).contains(&ms));
        let before = c.private.as_ref().and_then(|p| p.words()).filter(|_| !m.content.text.trim().is_empty());
        let same = before.is_some_and(|before| before == words(&m.content.text));
        let machine = (at_once || same) && m.content.choice.is_none();
        let replies = if machine { c.ping_pong.saturating_add(1) } else { 0 };
        (replies != c.ping_pong).then_some(replies)
    }

    fn auto_reply_refused(&self, conv: ConvId, m: &Message, reply: &RunReply) -> Option<NoReply> {
        if m.automatic {
            return Some(NoReply::Automatic);
        }
        if self.unwanted(m) {
            return Some(NoReply::Unwanted);
        }
        if self.disproved(m) {
            return Some(NoReply::Disproved);
        }
        if self.conv(conv).is_some_and(|c| self.is_guest(m, c.contact)) {
            return Some(NoReply::Guest);
        }
        if self.before_rebase {
            return Some(NoReply::Rebased);
        }
        let Some(profile) = self.profile(&m.channel) else { return Some(NoReply::NoChannel) };
        let Ok(text) = &reply.text else { return Some(NoReply::Template) };
        if profile.max_text.is_some_and(|max| text.chars().count() > max as usize) {
            return Some(NoReply::TooLong);
        }
        if profile.window_ms.is_some_and(|window| self.now() > m.at.plus(window)) {
            return Some(NoReply::OutsideWindow);
        }
        let identity = self.state.identity_hash(&m.from);
        if self.state.consent.get(&(identity, m.channel.clone())) == Some(&ConsentState::OptedOut) {
            return Some(NoReply::OptedOut);
        }
        let today = day(self.now());
        let c = self.conv(conv)?;
        let budget = &self.pack_of(&c).budget;
        // Some law wants the confirmation of a keyword.
        if c.ping_pong >= budget.ping_pong && self.keyword_reply(m).is_none() {
            return Some(NoReply::PingPong);
        }
        if c.auto_day == today && u32::from(c.auto_replies) >= budget.conversation {
            return Some(NoReply::ConversationBudget);
        }
        let spent = self.state.budgets.get(&(today, identity)).copied().unwrap_or(0);
        (spent >= budget.address).then_some(NoReply::AddressBudget)
    }
}

/// Where the conversation goes: what had it keeps it, then what the rules say, then the pack's default.
fn place_of(c: &Conversation, came: Came, outcome: &RunOutcome) -> Place {
    let Came { before, automatic } = came;
    if !c.is_open() {
        return Place::AsItWas;
    }
    let held = match before {
        Some(ConvStatus::Assigned | ConvStatus::Offered | ConvStatus::Pending) => true,
        // What was laid aside while it waited goes where what waits goes.
        Some(ConvStatus::Snoozed) => c.agent.is_some() || automatic,
        _ => false,
    };
    let placeless = c.agent.is_none() && c.queue.is_none();
    if outcome.places() && (outcome.move_ || !held || placeless) {
        return Place::ByRules;
    }
    if outcome.close || outcome.snooze_ms.is_some() {
        return Place::AsItWas;
    }
    match before {
        // What the rules say of how it waits holds where it waits.
        Some(ConvStatus::Queued) if !outcome.skills.is_empty() || outcome.overflow.is_some() => Place::ByRules,
        Some(ConvStatus::Assigned | ConvStatus::Offered | ConvStatus::Queued) => Place::Kept,
        Some(ConvStatus::Pending | ConvStatus::Snoozed) if automatic => Place::AsItWas,
        Some(_) if !placeless => Place::Back,
        _ => Place::ByDefault,
    }
}

fn chosen_place(outcome: &RunOutcome) -> Chosen {
    Chosen { queue: outcome.queue.clone(), skills: outcome.skills.clone(), overflow: outcome.overflow.clone() }
}

/// The address that wrote, and those of the contact's other conversations.
fn identities(theirs: &[&Conversation], m: &Message) -> Vec<String> {
    let mut all = vec![m.from.identity()];
    let private = theirs.iter().take(MAX_IDENTITIES).filter_map(|c| c.private.as_ref());
    for address in private.filter_map(|p| p.address()) {
        let identity = address.identity();
        if !all.contains(&identity) {
            all.push(identity);
        }
    }
    all
}

/// The message as conditions see it.
#[must_use]
pub fn seen_message(m: &Message, kind: String) -> SeenMessage {
    SeenMessage {
        channel: m.channel.clone(),
        kind,
        public: m.visibility == Visibility::Public,
        text: m.content.text.clone(),
        subject: m.content.subject.clone(),
        from: Some(m.from.value.clone()),
        to: m.to.as_ref().map(|a| a.value.clone()),
        authenticated: m.authenticated,
        language: m.meta.get("language").cloned(),
        has_attachment: m.content.attachments.iter().any(Attachment::is_sent),
        automatic: m.automatic,
        choice: m.content.choice.as_ref().map(|c| c.id.clone()),
        meta: m.meta.clone(),
    }
}

fn decided_message(said: SeenMessage) -> DecidedMessage {
    DecidedMessage {
        channel: said.channel,
        kind: said.kind,
        public: said.public,
        to: said.to,
        authenticated: said.authenticated,
        language: said.language,
        automatic: said.automatic,
        meta: said.meta,
    }
}

impl DecidedMessage {
    /// What conditions saw, put together again from the facts and the message in history.
    #[must_use]
    pub fn seen(&self, content: &Content, from: Option<&str>) -> SeenMessage {
        SeenMessage {
            channel: self.channel.clone(),
            kind: self.kind.clone(),
            public: self.public,
            text: content.text.clone(),
            subject: content.subject.clone(),
            from: from.map(str::to_owned),
            to: self.to.clone(),
            authenticated: self.authenticated,
            language: self.language.clone(),
            has_attachment: content.attachments.iter().any(Attachment::is_sent),
            automatic: self.automatic,
            choice: content.choice.as_ref().map(|c| c.id.clone()),
            meta: self.meta.clone(),
        }
    }
}
