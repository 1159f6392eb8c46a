//! Deadlines that passed. Every timer that fires changes the state so that it does not fire again.

use super::sends::unsent;
use super::{CLOCK_AHEAD_MS, Draft, ENOUGH, STEP};
use crate::event::{DeadReason, Happening, OfferEnd, Presence, Public, Why};
use crate::ids::{ConvId, MessageId};
use crate::pack::ConvStatus;
use crate::state::{Conversation, DECLINE_MEMORY_MS, Phase, Timer};
use std::sync::Arc;
use switchboard_envelope::Timestamp;

impl Draft<'_> {
    pub(super) fn timers(&mut self, now: Timestamp) {
        if self.state.now.since(now) > CLOCK_AHEAD_MS {
            self.emit(Public::TimeSetBack { now });
        }
        let now = self.state.now.max(now);
        // The end of an attempt is the router's to judge: its verdict is an input of its own, and may have to wait.
        let mut due = self.state.due_but_ends(now).take(STEP).peekable();
        // Those that may have fired in frames that are lost are apart from the others, so that what they tell is known as such.
        let relived = due.peek().is_some_and(|(_, timer)| self.state.may_have_fired(timer, now));
        let due: Vec<(Timestamp, Timer)> =
            due.take_while(|(_, t)| self.state.may_have_fired(t, now) == relived).collect();
        self.relived = relived;
        // One that was set since a loss is another than what lost frames may have had for the same time.
        let since = if relived { String::new() } else { self.since_rebase() };
        self.emit(Public::Ticked { now, relived });
        let most_back = self.most_of(Happening::Returned);
        for (at, timer) in due {
            if self.events.len() >= ENOUGH || self.times(Happening::Returned) >= most_back {
                break;
            }
            match timer {
                Timer::Conv(id) => {
                    self.cause = format!("timer:{id}:{}{since}", at.0);
                    self.ordinal = 0;
                    self.conversation_due(id);
                }
                Timer::Send(id) => {
                    self.cause = format!("timer:{id}:{}{since}", at.0);
                    self.ordinal = 0;
                    self.send_due(id);
                }
                Timer::Agent(agent) => {
                    self.cause = format!("timer:{agent}:{}{since}", at.0);
                    self.ordinal = 0;
                    self.agent_due(&agent);
                }
                Timer::Assign => {
                    self.cause = format!("timer:assign:{}{since}", at.0);
                    self.ordinal = 0;
                    self.emit(Public::AssignAgain { at: None });
                    self.somebody_freed();
                }
                Timer::Channel(channel) => self.probe_due(&channel),
                Timer::Join(key) => {
                    self.cause = format!("timer:join:{:x}:{}{since}", { key.0 }, at.0);
                    self.ordinal = 0;
                    self.join_up(key);
                }
            }
        }
        self.move_stranded();
    }

    fn probe_due(&mut self, channel: &str) {
        let Some(c) = self.state.channels.get(channel).cloned() else { return };
        self.emit(Public::ChannelHealth {
            channel: channel.to_owned(),
            failures: c.failures,
            probe_at: None,
            paused: c.paused.clone(),
        });
        self.release.insert(channel.to_owned());
    }

    fn send_due(&mut self, id: MessageId) {
        let Some(send) = self.state.sends.get(&id).cloned() else { return };
        let (now, conv, message) = (self.now(), send.conv, send.id);
        match send.phase {
            Phase::Waiting | Phase::Ready { .. } | Phase::Backoff { .. } if send.not_after <= now => {
                let removed = self.state.channels.get(&send.channel).is_none_or(|c| c.removed);
                let why = if removed { DeadReason::ChannelRemoved } else { DeadReason::Expired };
                self.dead(&send, unsent(&send, why));
            }
            Phase::Backoff { until } if until <= now => {
                self.emit(Public::RetryDue { conv, message });
                self.release.insert(send.channel.clone());
            }
            Phase::Reconciling { until } if until <= now => self.dead(&send, DeadReason::Unknown),
            _ => {}
        }
    }

    fn conversation_due(&mut self, id: ConvId) {
        let now = self.now();
        let Some(c) = self.conv(id) else { return };
        if c.wait_until.get().is_some_and(|t| t <= now) {
            return self.wait_over(&c);
        }
        if c.offer.as_ref().is_some_and(|o| o.expires <= now) {
            self.offer_lapsed(&c);
        }
        self.clock_due(id);
        self.resolution_due(id);
        self.overflow_due(id, now);
        let Some(c) = self.conv(id) else { return };
        if c.status == ConvStatus::Queued && c.declines().any(|(_, at)| at.plus(DECLINE_MEMORY_MS) <= now) {
            self.emit(Public::DeclinesForgotten { conv: id, before: now.plus(-DECLINE_MEMORY_MS) });
            self.assign.extend(c.queue.as_deref().cloned());
        }
    }

    fn wait_over(&mut self, c: &Arc<Conversation>) {
        match c.status {
            ConvStatus::Pending => self.close(c.id, None),
            ConvStatus::Snoozed => {
                self.happened(c.id, Happening::Returned);
                self.back_to_us(c.id, Why::Timer);
            }
            ConvStatus::Closed if !c.lane.is_empty() => {
                // Something of it is still on its way out.
                let reopen_until = self.now().plus(3_600_000);
                self.emit(Public::Closed { conv: c.id, by: None, reopen_until });
            }
            ConvStatus::Closed => {
                let sticky = c.queue.as_deref().and_then(|q| self.pack_of(c).queues.get(q)).and_then(|q| q.sticky_ms);
                let until = c.last_answer().zip(sticky).map(|((at, _), ms)| at.plus(ms));
                let sticky_until = until.filter(|at| *at > self.now());
                self.emit(Public::Forgotten { conv: c.id, sticky_until });
            }
            ConvStatus::Queued | ConvStatus::Offered | ConvStatus::Assigned => {}
        }
    }

    fn offer_lapsed(&mut self, c: &Arc<Conversation>) {
        let Some(offer) = c.offer.clone() else { return };
        self.end_offer(c, OfferEnd::TimedOut);
        let count = self.state.agents.get(&offer.agent).map_or(0, |a| a.lapses) + 1;
        self.emit(Public::Lapsed { agent: offer.agent.clone(), count });
        if count >= self.pack.presences.lapses {
            self.set_presence(&offer.agent, Presence::Away, None, true);
        }
    }

    /// The conversation keeps its place in the queue, and the next agent is asked. Where its pack has lost that queue meanwhile (a
    /// trial ended, another pack came in force), it waits in the default queue; where the order changed, by the new one.
    pub(super) fn end_offer(&mut self, c: &Arc<Conversation>, how: OfferEnd) {
        let Some(offer) = c.offer.clone() else { return };
        self.emit(Public::OfferEnded { conv: c.id, offer: offer.id, agent: offer.agent.clone(), how });
        self.somebody_freed();
        if c.queue.as_deref().is_some_and(|queue| !self.pack_of(c).queues.contains_key(queue)) {
            return self.enqueue_default(c.id, Why::Vanished);
        }
        if self.stands_otherwise(c) {
            self.stands_by_the_order(c.id);
        }
        self.arrived.insert(c.id);
        self.assign.extend(c.queue.as_deref().cloned());
    }

    fn overflow_due(&mut self, id: ConvId, now: Timestamp) {
        let Some(c) = self.conv(id).filter(|c| c.status == ConvStatus::Queued) else { return };
        if let Some((_, number, step)) = c.next_step().filter(|(at, ..)| *at <= now) {
            self.take_step(&c, number, step, Why::Overflow);
        }
    }
}
