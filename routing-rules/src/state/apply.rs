//! Folding one event into the state. Infallible and total: an event about something unknown changes nothing.

use super::fold::fold_conversation;
use super::{
    Answer, Channel, ContactPrivate, ConvPrivate, Conversation, Cursor, HeldDetail, HeldPart, HeldReceipt, Join, Phase,
    Rare, Rebase, Relived, SendPrivate, SendState, Settled, State, Steps, When, day, merge_attributes,
};
use crate::event::{ClockKind, DeadReason, Event, KeyHash, Presence, Private, Public, status_after};
use crate::ids::{ContactId, ConvId, MessageId};
use crate::pack::{ConvStatus, Name, Priority};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_envelope::{Author, ConsentState, Outcome, ReceiptStatus, Timestamp};

/// After this what a rebase left in doubt is settled: later than all that came before it.
const SOON_MS: i64 = 1;

impl State {
    /// Folds one event.
    pub fn apply(&mut self, event: &Event) {
        let private = event.private.as_ref().map(|(_, p)| p);
        self.count_trial(&event.public);
        match &event.public {
            Public::Rebased { .. } => self.apply_rebased(&event.public),
            Public::Led { .. }
            | Public::Consumed { .. }
            | Public::Ticked { .. }
            | Public::TimeSetBack { .. }
            | Public::Quarantined { .. }
            | Public::QuarantineReleased { .. }
            | Public::PackInForce { .. }
            | Public::CanaryBegan { .. }
            | Public::CanaryEnded { .. }
            | Public::ChannelsInForce { .. }
            | Public::ChannelHealth { .. } => self.apply_router(&event.public),
            Public::SendQueued { .. }
            | Public::Released { .. }
            | Public::AttemptEnded { .. }
            | Public::RetryDue { .. }
            | Public::Reconciling { .. }
            | Public::Sent { .. }
            | Public::Dead { .. }
            | Public::DeadCleared { .. }
            | Public::Receipt { .. }
            | Public::ReceiptHeld { .. } => self.apply_send(&event.public, private),
            Public::PartKept { .. } => self.apply_part(&event.public, private),
            Public::PartsJoined { key } => self.drop_join(*key),
            Public::ConsentChanged { .. }
            | Public::OptOutKept { .. }
            | Public::ContactTouched { .. }
            | Public::ContactMerged { .. }
            | Public::Blocked { .. }
            | Public::Unblocked { .. }
            | Public::BudgetSpent { .. } => self.apply_contact(&event.public, private),
            Public::PresenceChanged { agent, presence, named, at, lapsed } => {
                let (presence, at, lapsed) = (*presence, *at, *lapsed);
                self.edit_agent(agent, |a| {
                    if presence == Presence::Available && a.presence != presence {
                        a.idle_since = at;
                    }
                    a.presence = presence;
                    a.named.clone_from(named);
                    a.since = at;
                    a.grace_until = None;
                    a.wrap_until = None;
                    if !lapsed {
                        a.lapses = 0;
                    }
                });
            }
            Public::GraceBegan { agent, until } => self.edit_agent(agent, |a| a.grace_until = Some(*until)),
            Public::WrapUp { agent, until } => self.edit_agent(agent, |a| a.wrap_until = *until),
            Public::AssignAgain { at } => {
                self.assign_relived = self.relives;
                self.assign_again(*at);
            }
            Public::Lapsed { agent, count } => self.edit_agent(agent, |a| a.lapses = *count),
            Public::Answered { .. }
            | Public::Ignored { .. }
            | Public::Confirmed { .. }
            | Public::ConsentByHand { .. }
            | Public::NotReplied { .. }
            | Public::FollowedUp { .. }
            | Public::NoteAdded { .. }
            | Public::FilesFetched { .. }
            | Public::NobodyFree { .. }
            | Public::Notified { .. } => {}
            Public::Opened { .. } => self.apply_opened(&event.public, event.private.as_ref()),
            Public::Forgotten { conv, sticky_until } => {
                let known = self.conversations.get(conv);
                let known = known.and_then(|c| Some((self.resolve(c.contact), c.last_answer()?.1.clone())));
                if let (Some((contact, agent)), Some(until)) = (known, sticky_until) {
                    self.remember_agent(contact, agent, *until);
                }
                self.forget(*conv);
            }
            _ => self.apply_conversation(&event.public, private),
        }
    }

    fn apply_router(&mut self, event: &Public) {
        match event {
            Public::Led { now, incarnation } => {
                self.now = *now;
                self.incarnation = *incarnation;
                self.relives = self.rebased.is_some_and(|r| r.cut_after(self.cursor.seq));
            }
            Public::Consumed { seq, stored_at, now, id, duplicate } => {
                self.now = *now;
                self.cursor = Cursor { seq: *seq, at: *stored_at, id: *id };
                self.relives = self.rebased.is_some_and(|r| r.cut_after(*seq));
                if let (Some(id), false) = (id, duplicate) {
                    self.dups.insert(*id, *now, self.limits.duplicates);
                }
                self.forget_old(*now);
            }
            Public::Ticked { now, relived } => {
                self.now = *now;
                self.relives = *relived;
                self.forget_old(*now);
            }
            Public::TimeSetBack { now } => self.set_back(*now),
            Public::Quarantined { seq, .. } => {
                let id = self.cursor.id.filter(|_| self.cursor.seq == *seq);
                self.quarantine.insert(*seq, id);
            }
            Public::QuarantineReleased { seq } => {
                self.quarantine.remove(seq);
            }
            Public::PackInForce { hash } if self.pack != *hash => self.now_in_force(hash),
            Public::CanaryBegan { .. } | Public::CanaryEnded { .. } => self.apply_canary(event),
            Public::ChannelsInForce { channels } => {
                for (name, profile) in channels {
                    self.edit_channel(name, |c| match c {
                        Some(c) => {
                            c.profile = profile.clone();
                            c.removed = false;
                        }
                        None => {
                            *c = Some(Channel {
                                profile: profile.clone(),
                                failures: 0,
                                probe_at: None,
                                paused: None,
                                removed: false,
                                in_flight: 0,
                            })
                        }
                    });
                }
                let gone: Vec<Name> = self.channels.keys().filter(|n| !channels.contains_key(*n)).cloned().collect();
                for name in gone {
                    self.edit_channel(&name, |c| {
                        if let Some(c) = c {
                            c.removed = true;
                        }
                    });
                }
            }
            Public::ChannelHealth { channel, failures, probe_at, paused } => self.edit_channel(channel, |c| {
                if let Some(c) = c {
                    c.failures = *failures;
                    c.probe_at = *probe_at;
                    c.paused.clone_from(paused);
                }
            }),
            _ => {}
        }
    }

    fn apply_opened(&mut self, event: &Public, private: Option<&(ContactId, Private)>) {
        let Public::Opened { conv, contact, channel, thread, at, ours, trial } = event else { return };
        let private = match private {
            Some((_, Private::Opened { thread, address, subject })) => {
                Some(Arc::new(ConvPrivate::new(thread, address, subject.as_deref())))
            }
            _ => None,
        };
        let cost = self.channels.get(channel).map_or(100, |c| c.profile.cost);
        let new = Conversation {
            id: *conv,
            contact: *contact,
            channel: self.shared.label(channel),
            thread: *thread,
            status: ConvStatus::Pending,
            queue: None,
            agent: None,
            offer: None,
            priority: Priority::Normal,
            skills: Rare::default(),
            relaxed: None,
            overflow: Steps::default(),
            step: 0,
            ageing: None,
            chosen: None,
            chosen_priority: None,
            tags: Default::default(),
            opened_at: *at,
            opened_by: self.cursor.seq,
            queued_at: When::NEVER,
            entered_at: When::NEVER,
            last_in: When::NEVER,
            last_out: ours.then_some(*at).into(),
            messages: 0,
            last_message: None,
            last_sent: None,
            clock: None,
            resolution_due: When::NEVER,
            resolution: None,
            answered: false,
            answer: None,
            wait_until: When::NEVER,
            cost,
            declined: None,
            auto_day: 0,
            auto_replies: 0,
            auto_spoke: false,
            ping_pong: 0,
            quiet: false,
            lane: Rare::default(),
            trial: *trial,
            relived: Relived::default(),
            private,
        };
        self.threads.insert(*thread, *conv);
        self.by_contact.insert((*contact, *conv));
        self.conversations.insert(*conv, Arc::new(new));
    }

    fn apply_conversation(&mut self, event: &Public, private: Option<&Private>) {
        let Some(conv) = event.conversation() else { return };
        let now = self.now;
        let owner = |c: &Arc<Conversation>| c.agent.as_deref().cloned().filter(|_| c.status == ConvStatus::Assigned);
        let moves = status_after(event).is_some();
        let before = self.conversations.get(&conv).filter(|_| moves).and_then(owner);
        let waited =
            self.conversations.get(&conv).filter(|c| c.queued_at.is_some()).and_then(|c| c.queue.as_deref().cloned());
        let response = self.conversations.get(&conv).and_then(|c| first_response(c, event));
        // For how many conversations there are, an excerpt of each is kept only where somebody is told of it.
        let excerpts = matches!(event, Public::Received { .. }) && self.has_desks();
        let mut shared = std::mem::take(&mut self.shared);
        self.edit_conversation(conv, |c| fold_conversation(c, event, private, now, excerpts, &mut shared));
        self.shared = shared;
        if let Some((queue, in_time)) = response {
            self.count_response(&queue, in_time);
        }
        if let Public::Assigned { agent, .. } = event {
            self.edit_agent(agent, |a| {
                a.last_assigned = now;
                a.idle_since = now;
                a.lapses = 0;
            });
            if let Some(queue) = waited {
                self.left_queue(&queue);
            }
        }
        // Whoever had it is done with it.
        if let Some(agent) = before.filter(|a| self.conversations.get(&conv).and_then(owner).as_ref() != Some(a)) {
            self.edit_agent(&agent, |a| a.idle_since = now);
        }
    }

    fn apply_send(&mut self, event: &Public, private: Option<&Private>) {
        match event {
            Public::SendQueued { .. } => self.apply_queued_send(event, private),
            Public::Released { message, part, n, until, .. } => {
                let now = self.now;
                self.edit_send(*message, |s| {
                    s.part = *part;
                    s.n = *n;
                    s.released = Some(now);
                    s.doubted = false;
                    s.phase = Phase::InFlight { until: *until };
                });
            }
            Public::AttemptEnded { message, outcome, retry_at, provider, .. } => {
                self.attempt_ended(*message, *outcome, *retry_at, provider);
            }
            Public::RetryDue { message, .. } => {
                let now = self.now;
                self.edit_send(*message, |s| s.phase = Phase::Ready { since: now });
            }
            Public::Reconciling { message, until, .. } => {
                self.edit_send(*message, |s| s.phase = Phase::Reconciling { until: *until });
            }
            Public::Sent { message, at, .. } => self.settle(*message, *at),
            Public::Dead { conv, message, reason, at } => self.bury(*conv, *message, *reason, *at),
            Public::DeadCleared { message, .. } => self.remove_send(*message),
            Public::Receipt { message, status, of, .. } => {
                let held = self.held_key(*message);
                self.drop_held(held);
                let Some(s) = self.settled.get_mut(message) else { return };
                let learned = of.map(|of| of.provider).filter(|of| !s.provider.contains(of));
                Arc::make_mut(s).told(*status, *of);
                let place = (s.at, *message);
                // An id that a provider gives again means its latest message.
                let of = |id: &KeyHash| self.providers.get(id).and_then(|m| Some((self.settled.get(m)?.at, *m)));
                if let Some(id) = learned.filter(|id| of(id).is_none_or(|other| other < place)) {
                    self.providers.insert(id, *message);
                }
            }
            Public::ReceiptHeld { provider, channel, status, code, at, of, message } => {
                if let (Some(message), Some(Private::Receipt { detail: Some(detail) })) = (message, private) {
                    let (provider, status, detail) = (of.unwrap_or(*provider), *status, detail.clone());
                    self.edit_send(*message, |s| {
                        let Some(p) = s.private.as_mut().map(Arc::make_mut) else { return };
                        p.told.retain(|told| told.provider != provider);
                        p.told.push(HeldDetail { provider, status, detail });
                    });
                }
                let mut parts = self.held.get(provider).map(|h| h.parts.clone()).unwrap_or_default();
                if let Some(of) = of {
                    parts.retain(|part| part.provider != *of);
                    parts.push(HeldPart { provider: *of, status: *status, code: code.clone() });
                }
                let (channel, status, code) = (channel.clone(), *status, code.clone());
                let held = HeldReceipt { channel, status, code, at: *at, parts };
                if let Some(old) = self.held.insert(*provider, Arc::new(held)) {
                    self.held_order.remove(&(old.at, *provider));
                }
                self.held_order.insert((*at, *provider));
                while self.held.len() > self.limits.held {
                    let Some((_, oldest)) = self.held_order.get_min().copied() else { break };
                    self.drop_held(oldest);
                }
            }
            _ => {}
        }
    }

    fn apply_queued_send(&mut self, event: &Public, private: Option<&Private>) {
        let Public::SendQueued {
            conv,
            message,
            channel,
            author,
            at,
            not_after,
            push,
            resends,
            relived,
            doubted,
            notice,
            parts,
        } = event
        else {
            return;
        };
        let Some(c) = self.conversations.get(conv) else { return };
        if !push {
            let first = self.lane_head(c, channel).is_none();
            let (contact, before) = (c.contact, c.last_sent.filter(|_| !notice));
            let thread = match notice {
                true => conv.to_string(),
                false => c.private.as_ref().map(|p| p.thread().to_owned()).unwrap_or_default(),
            };
            let body = match private {
                Some(Private::Send { content, to, reply_to, mail, traceparent }) => Some(Arc::new(SendPrivate {
                    content: (**content).clone(),
                    to: to.clone(),
                    thread,
                    reply_to: reply_to.clone(),
                    mail: mail.clone(),
                    traceparent: traceparent.clone(),
                    told: vec![],
                })),
                _ => None,
            };
            let phase = match (first, doubted) {
                (true, true) => Phase::InFlight { until: at.plus(SOON_MS) },
                (true, false) => Phase::Ready { since: *at },
                (false, _) => Phase::Waiting,
            };
            self.put_send(SendState {
                id: *message,
                conv: *conv,
                contact,
                channel: channel.clone(),
                author: author.clone(),
                at: *at,
                not_after: *not_after,
                parts: (*parts).max(1),
                part: 1,
                n: 0,
                retries: 0,
                phase,
                released: None,
                provider: vec![],
                maybe_sent: *relived,
                relived: *relived,
                doubted: *doubted,
                notice: *notice,
                before,
                private: body,
            });
        }
        if *notice {
            // The customer hears nothing of it, so nothing of theirs changes.
            if !push {
                self.edit_conversation(*conv, |c| c.lane.push(*message));
            }
            return;
        }
        let (auto, today) = (matches!(author, Author::Auto { .. }), day(*at));
        let by = match author {
            Author::Agent { id } => Some(self.shared.label(id)),
            _ => None,
        };
        self.edit_conversation(*conv, |c| {
            c.last_out = (*at).into();
            c.last_sent = Some(*message);
            c.answered |= !auto;
            // A tool that names no agent speaks for whoever has it.
            if let Some(by) = by.filter(|by| c.agent.as_ref() == Some(by)) {
                c.answer = Some(Box::new(Answer { by, at: *at }));
            }
            // What a rule says in between takes back nothing that was offered.
            if let (Some(Private::Send { content, .. }), Some(p)) = (private, c.private.as_mut())
                && (!auto || !content.choices.is_empty())
                && *p.offered != *content.choices
            {
                Arc::make_mut(p).offered = content.choices.clone().into();
            }
            // What a person sends once more is no answer of a rule.
            c.auto_spoke = auto && (resends.is_none() || c.auto_spoke);
            c.ping_pong = if auto { c.ping_pong } else { 0 };
            if auto {
                c.auto_replies = if c.auto_day == today { c.auto_replies.saturating_add(1) } else { 1 };
                c.auto_day = today;
            }
            if !push {
                c.lane.push(*message);
            }
        });
    }

    fn attempt_ended(
        &mut self,
        message: MessageId,
        outcome: Outcome,
        retry_at: Option<Timestamp>,
        provider: &[KeyHash],
    ) {
        let now = self.now;
        self.edit_send(message, |s| {
            s.provider.extend(provider.iter().copied());
            s.maybe_sent |= outcome == Outcome::Unknown && retry_at.is_some();
            match (outcome, retry_at) {
                (Outcome::Accepted, _) if s.part < s.parts => {
                    s.part += 1;
                    s.n = 0;
                    s.retries = 0;
                    s.maybe_sent = s.relived;
                    // Of a dead letter it says from where a resend goes on, and no more: its lane went on. What waits behind
                    // others, since its lane went on without it or in frames that are lost, waits now with its next part.
                    if !s.is_dead() && s.phase != Phase::Waiting {
                        // Frames that are lost may have gone on to the next part as well.
                        s.phase = match s.doubted && s.relived {
                            true => Phase::InFlight { until: now.plus(SOON_MS) },
                            false => Phase::Ready { since: now },
                        };
                    }
                }
                (_, Some(at)) => {
                    s.retries = s.retries.saturating_add(1);
                    s.phase = Phase::Backoff { until: at };
                }
                _ => {}
            }
        });
        // Nearly always it is there, and then nothing need be copied.
        if let Some((conv, channel)) = self.sends.get(&message).filter(|s| !s.is_dead()).map(|s| (s.conv, &s.channel))
            && let Some(c) = self.conversations.get(&conv).filter(|c| !c.lane.contains(&message))
        {
            // The lane went on without it: one at a time, it comes after those that are there.
            if self.lane_head(c, channel).is_some() {
                self.edit_send(message, |s| s.phase = Phase::Waiting);
            }
            self.edit_conversation(conv, |c| c.lane.push(message));
        }
    }

    /// The lane is free for the next send, and the message waits for receipts only.
    fn settle(&mut self, message: MessageId, at: Timestamp) {
        let Some(s) = self.sends.get(&message).cloned() else { return };
        self.leave_lane(s.conv, message);
        self.remove_send(message);
        for p in &s.provider {
            self.providers.insert(*p, message);
        }
        let settled = Settled {
            conv: s.conv,
            contact: s.contact,
            channel: s.channel.clone(),
            status: ReceiptStatus::Accepted,
            at,
            provider: s.provider.clone(),
            parts: vec![],
            queued_at: s.at,
            before: s.before,
            n: if s.parts == 1 { s.n } else { 0 },
        };
        self.settled.insert(message, Arc::new(settled));
        self.settled_order.insert((at, message));
        while self.settled.len() > self.limits.settled {
            let Some((_, oldest)) = self.settled_order.get_min().copied() else { break };
            self.drop_settled(oldest);
        }
    }

    fn bury(&mut self, conv: ConvId, message: MessageId, reason: DeadReason, at: Timestamp) {
        self.edit_send(message, |s| s.phase = Phase::Dead { reason, at });
        self.leave_lane(conv, message);
    }

    /// The first of a conversation's unsettled sends to a channel or desk: a lane is both together.
    fn lane_head(&self, c: &Conversation, channel: &str) -> Option<MessageId> {
        c.lane.iter().copied().find(|id| self.sends.get(id).is_some_and(|s| s.channel == channel))
    }

    fn leave_lane(&mut self, conv: ConvId, message: MessageId) {
        self.edit_conversation(conv, |c| c.lane.retain(|m| *m != message));
        let head = match (self.conversations.get(&conv), self.sends.get(&message)) {
            (Some(c), Some(left)) => self.lane_head(c, &left.channel),
            _ => None,
        };
        let now = self.now;
        if let Some(head) = head {
            self.edit_send(head, |s| {
                if s.phase == Phase::Waiting {
                    s.phase = match s.doubted {
                        true => Phase::InFlight { until: now.plus(SOON_MS) },
                        false => Phase::Ready { since: now },
                    };
                }
            });
        }
    }

    /// What was on its way may have been sent; with frames lost, that is also what seems to wait. Its end comes by itself,
    /// once what IN holds about it was read.
    fn apply_rebased(&mut self, event: &Public) {
        let Public::Rebased { number, at, frame, cursor, cursor_at, cursor_id, inn, out, cut, .. } = event else {
            return;
        };
        self.now = self.now.max(*at);
        let earlier = self.rebased;
        let loses = *cut || self.cursor.seq != *cursor;
        let lost_at = if loses { Some(*at) } else { earlier.and_then(|r| r.lost_at) };
        self.cursor = Cursor { seq: *cursor, at: *cursor_at, id: *cursor_id };
        // Records beyond IN's end are others than those that were there when frames were lost.
        let earlier = earlier.and_then(|r| r.cut_inn).map(|end| end.min(*inn));
        let cut_inn = if *cut { Some(*inn) } else { earlier };
        self.rebased = Some(Rebase { number: *number, at: *at, frame: *frame, out: *out, inn: *inn, cut_inn, lost_at });
        if *cut {
            self.frames_are_lost();
        }
        // Later records are others now, or are read again: what was never anything but quarantined is not remembered as decided.
        let (mut kept, last, again) = self.quarantine.split_lookup(cursor);
        if let Some(id) = last {
            kept.insert(*cursor, id);
        }
        self.quarantine = kept;
        again.values().flatten().for_each(|id| self.dups.remove(*id));
        let unsettled: Vec<MessageId> = self.sends.values().filter(|s| !s.is_dead()).map(|s| s.id).collect();
        for message in unsettled {
            self.edit_send(message, |s| {
                let released = matches!(s.phase, Phase::InFlight { .. });
                if !released && !cut {
                    return;
                }
                (s.doubted, s.maybe_sent) = (true, true);
                s.relived |= cut;
                if released || matches!(s.phase, Phase::Ready { .. } | Phase::Backoff { .. }) {
                    s.phase = Phase::InFlight { until: at.plus(SOON_MS) };
                }
            });
        }
    }

    fn apply_part(&mut self, event: &Public, private: Option<&Private>) {
        let Public::PartKept { key, contact, channel, number, total, until } = event else { return };
        let kept = self.joins.get(key).map(|join| (**join).clone());
        let mut join = kept.unwrap_or_else(|| Join {
            contact: *contact,
            channel: channel.clone(),
            total: *total,
            numbers: BTreeSet::new(),
            until: *until,
            relived: self.relives,
            private: None,
        });
        join.numbers.insert(*number);
        if let Some(Private::Part { message }) = private {
            let parts = join.private.get_or_insert_with(|| Arc::new(BTreeMap::new()));
            Arc::make_mut(parts).insert(*number, (**message).clone());
        }
        self.put_join(*key, join);
    }

    fn apply_contact(&mut self, event: &Public, private: Option<&Private>) {
        match event {
            Public::ConsentChanged { identity, channel, state, .. } => {
                let whose = (*identity, channel.clone());
                if *state == ConsentState::OptedIn {
                    self.kept_opt_outs.remove(&whose);
                }
                self.consent.insert(whose, *state);
            }
            Public::OptOutKept { identity, channel } => {
                self.kept_opt_outs.insert((*identity, channel.clone()));
            }
            Public::ContactTouched { contact, tags } => {
                let mut entry = self.contacts.get(contact).map(|c| (**c).clone()).unwrap_or_default();
                if let Some(tags) = tags {
                    entry.tags.clone_from(tags);
                }
                if let Some(Private::Contact { name, attributes, .. }) = private {
                    let p = Arc::make_mut(entry.private.get_or_insert_with(|| Arc::new(ContactPrivate::default())));
                    if name.is_some() {
                        p.name.clone_from(name);
                    }
                    merge_attributes(&mut p.attributes, attributes);
                }
                self.contacts.insert(*contact, Arc::new(entry));
            }
            Public::ContactMerged { into, from } => self.merge_contacts(*into, *from),
            Public::Blocked { identity, channel, contact } => {
                self.blocked.insert((*identity, channel.clone()), *contact);
            }
            Public::Unblocked { identity, channel, .. } => {
                self.blocked.remove(&(*identity, channel.clone()));
            }
            Public::BudgetSpent { identity, day } => {
                *self.budgets.entry((*day, *identity)).or_insert(0) += 1;
            }
            _ => {}
        }
    }

    fn merge_contacts(&mut self, into: ContactId, from: ContactId) {
        if self.resolve(into) == self.resolve(from) {
            return;
        }
        let mut gone = self.contacts.get(&from).map(|c| (**c).clone()).unwrap_or_default();
        let mut kept = self.contacts.get(&into).map(|c| (**c).clone()).unwrap_or_default();
        kept.tags.append(&mut gone.tags);
        if let Some(old) = gone.private.take() {
            let p = Arc::make_mut(kept.private.get_or_insert_with(|| Arc::new(ContactPrivate::default())));
            for (k, v) in &old.attributes {
                p.attributes.entry(k.clone()).or_insert_with(|| v.clone());
            }
        }
        // Whoever was merged into it before is merged into the same, so that nobody is looked for from one to the next.
        for other in self.person(from).into_iter().filter(|other| *other != from) {
            let Some(contact) = self.contacts.get_mut(&other).map(Arc::make_mut) else { continue };
            if let Some(before) = contact.merged_into.replace(into) {
                self.merged.remove(&(before, other));
            }
            self.merged.insert((into, other));
        }
        if let Some(before) = gone.merged_into.replace(into) {
            self.merged.remove(&(before, from));
        }
        self.merged.insert((into, from));
        self.contacts.insert(from, Arc::new(gone));
        self.contacts.insert(into, Arc::new(kept));
    }
}

/// The queue whose promise of a first response an event keeps or breaks.
fn first_response(c: &Conversation, event: &Public) -> Option<(Name, bool)> {
    let clock = c.clock.as_ref().filter(|k| k.kind == ClockKind::FirstResponse && !k.breached)?;
    let in_time = match event {
        Public::ClockBreached { clock: kind, .. } if *kind == clock.kind => false,
        Public::Pending { .. } if c.answered => true,
        _ => return None,
    };
    Some((c.queue.as_deref()?.clone(), in_time))
}
