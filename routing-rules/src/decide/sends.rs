//! Our messages on their way out: lanes, releases, results.

use super::command::{Answer, PAUSED_BY_OPERATOR, done, refuse};
use super::{Draft, Verdict, mail};
use crate::event::{DeadReason, Private, Public, Why};
use crate::ids::{ConvId, MessageId};
use crate::pack::ConvStatus;
use crate::state::{Channel, Phase, SendState};
use std::sync::Arc;
use switchboard_envelope::{AttemptResult, Author, ConsentState, Content, Fault, Outcome, Timestamp};

/// An attempt must start within this after its release.
const UNTIL_MS: i64 = 120_000;
/// Releases of one decision at most, per channel.
const RELEASES: usize = 256;
/// Failures in a row after which a channel admits one probe a minute.
pub const FAILING: u32 = 5;
const PROBE_MS: i64 = 60_000;
/// The first of the waits for a provider at whose address nobody answers; they double up to [`PROBE_MS`].
const LOOK_MS: i64 = 5_000;
const BACKOFF_MIN_MS: i64 = 2_000;
const BACKOFF_MAX_MS: i64 = 15 * 60_000;

/// Why a send ends that its last attempt did not bring there. What an earlier one may have brought is not called unsent.
pub(super) fn unsent(send: &SendState, why: DeadReason) -> DeadReason {
    if send.maybe_sent { DeadReason::Unknown } else { why }
}

impl Draft<'_> {
    /// Accepts a message of ours. What must not be sent was refused before.
    pub(super) fn send(
        &mut self,
        conv: ConvId,
        author: Author,
        mut content: Content,
        resends: Option<MessageId>,
    ) -> Option<MessageId> {
        let message = self.new_message_id();
        let c = self.state.conversation(conv)?;
        let profile = self.profile(&c.channel)?;
        let (contact, channel, at) = (c.contact, (*c.channel).clone(), self.now());
        // Once the person was erased, there is no address to send to.
        let p = c.private.as_ref()?;
        let (to, reply_to) = (p.address()?, p.reply_to().map(str::to_owned));
        let signature = || self.signature(&author, c.queue.as_deref().map(String::as_str));
        let zone = || self.pack_of(c).zone.iana_name().map(str::to_owned);
        let context = || mail::context(p, &author, at, signature(), self.repeated(resends), zone());
        let mail = profile.mail.then(|| Box::new(context()));
        if profile.mail && content.subject.is_none() {
            content.subject = p.subject().map(str::to_owned);
        }
        let public = Public::SendQueued {
            parts: profile.parts(&content),
            conv,
            message,
            channel: channel.clone(),
            author,
            at,
            not_after: at.plus(profile.not_after_ms),
            push: profile.push,
            resends,
            relived: self.relived,
            // Where a repetition does no harm, it is the quickest way to know.
            doubted: self.relived && !profile.push && !profile.same_id_retry && !profile.resend_unknown,
            notice: false,
        };
        let reply_to = reply_to.into_iter().collect();
        let traceparent = self.traceparent.clone();
        let private = Private::Send { content: Box::new(content), to, reply_to, mail, traceparent };
        self.emit_private(public, contact, private);
        self.release.insert(channel);
        Some(message)
    }

    /// Releases what the touched channels have room for.
    pub(super) fn release_pass(&mut self) {
        for channel in std::mem::take(&mut self.release) {
            for _ in 0..RELEASES {
                if !self.release_one(&channel) {
                    break;
                }
            }
        }
    }

    fn release_one(&mut self, channel: &str) -> bool {
        let Some(c) = self.state.channels.get(channel) else { return false };
        let now = self.now();
        if c.removed || c.paused.is_some() || c.in_flight >= c.profile.in_flight.max(1) {
            return false;
        }
        let failing = c.failures >= FAILING;
        if failing && (c.in_flight > 0 || c.probe_at.is_some_and(|at| at > now)) {
            return false;
        }
        let Some(send) = self.state.next_ready(channel).and_then(|id| self.state.sends.get(&id)) else {
            return false;
        };
        let failures = c.failures;
        if send.notice != c.profile.desk {
            // Its name went from a desk to a channel, or back: what was meant for one is not for the other.
            let send = Arc::clone(send);
            self.dead(&send, unsent(&send, DeadReason::ChannelRemoved));
            return true;
        }
        if send.private.is_none() {
            // Erased meanwhile: there is nobody to send to, and what is released has a record in OUT.
            let send = Arc::clone(send);
            self.dead(&send, unsent(&send, DeadReason::Expired));
            self.emit(Public::DeadCleared { conv: send.conv, message: send.id, resent: None });
            return true;
        }
        let until =
            now.plus(UNTIL_MS.max(c.profile.send_timeout_ms.saturating_mul(2)).min(600_000)).min(send.not_after);
        let released = Public::Released { conv: send.conv, message: send.id, part: send.part, n: send.n + 1, until };
        if failing {
            let probe_at = Some(now.plus(PROBE_MS));
            self.emit(Public::ChannelHealth { channel: channel.to_owned(), failures, probe_at, paused: None });
        }
        self.emit(released);
        !failing
    }

    /// An edge says how an attempt ended.
    pub(super) fn result(&mut self, r: &AttemptResult) {
        let Some(send) = MessageId::parse(&r.send).and_then(|id| self.state.sends.get(&id).cloned()) else {
            return self.ignore("the send is settled, or not ours");
        };
        if send.channel != r.channel || send.part != r.part {
            return self.ignore("the result is of a part that is settled");
        }
        // An attempt of this number may have ended so in frames that are lost, and whoever it concerns was told.
        self.relived |= send.relived;
        let current = send.n == r.n;
        let waits = matches!(send.phase, Phase::InFlight { .. } | Phase::Reconciling { .. });
        let unknown = matches!(send.phase, Phase::Dead { reason: DeadReason::Unknown, .. });
        let waits_again = matches!(send.phase, Phase::Backoff { .. } | Phase::Ready { .. } | Phase::Waiting);
        let again = (1..=send.n).contains(&r.n) && waits_again;
        // Frames that are lost may have released attempts that this log does not know.
        let lost = send.doubted && r.n >= send.n && (unknown || !send.is_dead());
        match r.outcome {
            // An attempt that was lost may still turn out well before it is made again.
            Outcome::Accepted if lost || (current && (waits || unknown)) || again => self.accepted(send, r),
            Outcome::Rejected if lost || (current && (waits || unknown)) => self.rejected(&send, r),
            // A later attempt may have followed, in frames that are lost.
            Outcome::NotSent if send.doubted && send.relived => {
                self.ignore("a later attempt may have been made");
            }
            Outcome::NotSent if current && (waits || unknown) => self.not_sent(&send, r),
            Outcome::Unknown if current && matches!(send.phase, Phase::InFlight { .. }) => self.unknown(&send, Some(r)),
            _ => self.ignore("the attempt was settled before"),
        }
    }

    fn attempt_ended(
        &mut self,
        send: Arc<SendState>,
        r: Option<&AttemptResult>,
        outcome: Outcome,
        retry_at: Option<Timestamp>,
    ) {
        let provider = r
            .map(|r| r.provider_ids.iter().map(|p| self.state.hash("provider", &[&send.channel, p])).collect())
            .unwrap_or_default();
        let public = Public::AttemptEnded {
            conv: send.conv,
            message: send.id,
            part: send.part,
            n: r.map_or(send.n, |r| r.n),
            outcome,
            code: r.and_then(|r| r.code.clone()),
            retry_at,
            provider,
        };
        let (contact, channel) = (send.contact, send.channel.clone());
        // Held any longer, it would be copied before it changes.
        drop(send);
        match r {
            Some(r) if !r.provider_ids.is_empty() || r.detail.is_some() => {
                let private = Private::Attempt { provider_ids: r.provider_ids.clone(), detail: r.detail.clone() };
                self.emit_private(public, contact, private);
            }
            _ => self.emit(public),
        }
        self.release.insert(channel);
    }

    fn accepted(&mut self, send: Arc<SendState>, r: &AttemptResult) {
        self.healthy(&send.channel);
        let last = send.part >= send.parts;
        let freed = send.is_dead();
        let (conv, message) = (send.conv, send.id);
        self.attempt_ended(send, Some(r), Outcome::Accepted, None);
        self.part_ended(conv, message, last, freed);
    }

    /// The provider has a part: the last one, or one after which others follow, unless its lane was freed.
    pub(super) fn part_ended(&mut self, conv: ConvId, message: MessageId, last: bool, freed: bool) {
        if last {
            self.sent(conv, message);
        } else if freed {
            // The lane went on without it: further parts would come out of order.
            let at = self.now();
            self.emit(Public::Dead { conv, message, reason: DeadReason::Unknown, at });
        }
    }

    fn sent(&mut self, conv: ConvId, message: MessageId) {
        let at = self.now();
        let private = self.state.sends.get(&message).and_then(|send| send.private.clone());
        self.emit(Public::Sent { conv, message, at });
        self.apply_held(conv, message, private.as_deref().map_or(&[], |p| &p.told));
    }

    fn rejected(&mut self, send: &Arc<SendState>, r: &AttemptResult) {
        self.healthy(&send.channel);
        self.attempt_ended(send.clone(), Some(r), Outcome::Rejected, None);
        if r.opted_out
            && !send.notice
            && let Some(p) = &send.private
        {
            // They told the provider, not us; from here it counts as if they had written it.
            let why = Some(r.code.as_ref().map_or("the provider".to_owned(), |code| format!("the provider, {code}")));
            self.set_consent(send.contact, &p.to.clone(), &send.channel, ConsentState::OptedOut, why);
            self.provider_keeps(&p.to, &send.channel);
        }
        self.dead(send, unsent(send, DeadReason::Rejected));
    }

    fn not_sent(&mut self, send: &Arc<SendState>, r: &AttemptResult) {
        if r.channel_refused {
            self.channel_refused(&send.channel, r.detail.as_deref().unwrap_or("the provider refused our credentials"));
            let now = self.now();
            return self.attempt_ended(send.clone(), Some(r), Outcome::NotSent, Some(now));
        }
        match r.fault {
            Some(Fault::Recipient) => self.healthy(&send.channel),
            fault => self.failed(&send.channel, fault),
        }
        self.retry(send, Some(r), Outcome::NotSent, r.retry_after_ms);
    }

    /// Nothing goes out on the channel until an operator acts.
    pub(super) fn channel_refused(&mut self, channel: &str, detail: &str) {
        let failures = self.failures(channel);
        // What an operator paused stays so when the configuration is read again.
        if self.state.channels.get(channel).is_some_and(|c| c.paused.as_deref() == Some(PAUSED_BY_OPERATOR)) {
            return self.ignore("an operator paused the channel before");
        }
        let paused = Some(detail.to_owned());
        self.emit(Public::ChannelHealth { channel: channel.to_owned(), failures, probe_at: None, paused });
    }

    pub(super) fn pause(&mut self, channel: &str, paused: Option<String>) -> Answer {
        if self.profile(channel).is_none() {
            return Err(refuse(404, "not_found", format!("channel `{channel}` is not in the configuration")));
        }
        self.emit(Public::ChannelHealth { channel: channel.to_owned(), failures: 0, probe_at: None, paused });
        self.release.insert(channel.to_owned());
        Ok(done(200, [("channel", channel.to_owned())]))
    }

    /// With what the provider refused is another one: an attempt shows whether it is right, before which no other is made.
    pub(super) fn mended(&mut self, channel: &str) -> Answer {
        let refused =
            self.state.channels.get(channel).filter(|c| c.paused.as_ref().is_some_and(|p| p != PAUSED_BY_OPERATOR));
        let Some(failures) = refused.map(|c| c.failures.max(FAILING)) else {
            return Err(refuse(409, "not_refused", "the channel is not paused because its provider refused something"));
        };
        let channel = channel.to_owned();
        self.emit(Public::ChannelHealth { channel: channel.clone(), failures, probe_at: None, paused: None });
        self.release.insert(channel.clone());
        Ok(done(200, [("channel", channel)]))
    }

    fn retry(&mut self, send: &Arc<SendState>, r: Option<&AttemptResult>, outcome: Outcome, after: Option<u64>) {
        let mut wait = self.backoff(send);
        if r.is_some_and(|r| r.fault == Some(Fault::Unreachable)) {
            wait = wait.min(PROBE_MS);
        }
        let wait = wait.max(after.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0));
        let at = self.now().plus(wait);
        if at >= send.not_after {
            self.attempt_ended(send.clone(), r, outcome, None);
            let why = if outcome == Outcome::Unknown { DeadReason::Unknown } else { DeadReason::Expired };
            return self.dead(send, unsent(send, why));
        }
        self.attempt_ended(send.clone(), r, outcome, Some(at));
    }

    /// Doubling from two seconds to a quarter of an hour, with a fifth of jitter either way, from the send's id.
    fn backoff(&self, send: &SendState) -> i64 {
        let base = BACKOFF_MIN_MS.saturating_mul(1 << send.retries.min(20)).min(BACKOFF_MAX_MS);
        let spread = base / 5;
        let draw = self.state.hash("jitter", &[&send.id.to_string(), &send.n.to_string()]).0 % 1000;
        base - spread + (2 * spread * i64::try_from(draw).unwrap_or(500)) / 1000
    }

    fn unknown(&mut self, send: &Arc<SendState>, r: Option<&AttemptResult>) {
        // Without a result it was our own process that failed, which says nothing of the channel.
        if r.is_some() {
            self.failed(&send.channel, None);
        }
        if let Some(provider) = self.told_before_lost(send) {
            let (conv, message, outcome) = (send.conv, send.id, Outcome::Accepted);
            let (code, retry_at) = (None, None);
            self.emit(Public::AttemptEnded {
                conv,
                message,
                part: send.part,
                n: send.n,
                outcome,
                code,
                retry_at,
                provider,
            });
            self.release.insert(send.channel.clone());
            return self.part_ended(conv, message, true, false);
        }
        let profile = self.state.channels.get(&send.channel).map(|c| c.profile.clone());
        if profile.as_ref().is_some_and(|p| p.same_id_retry || p.resend_unknown) {
            return self.retry(send, r, Outcome::Unknown, r.and_then(|r| r.retry_after_ms));
        }
        self.attempt_ended(send.clone(), r, Outcome::Unknown, None);
        match profile.filter(|p| p.reconciles && p.reconcile_ms > 0 && send.private.is_some()) {
            Some(p) => {
                let until = self.now().plus(p.reconcile_ms);
                let (conv, message) = (send.conv, send.id);
                self.emit(Public::Reconciling { conv, message, part: send.part, n: send.n, until });
            }
            None => self.dead(send, DeadReason::Unknown),
        }
    }

    pub(super) fn verdict(&mut self, now: Timestamp, message: MessageId, part: u16, n: u32, verdict: Verdict) {
        let now = self.state.now.max(now);
        self.cause = format!("verdict:{message}.{part}.{n}");
        self.relived = self.state.sends.get(&message).is_some_and(|s| s.relived);
        self.emit(Public::Ticked { now, relived: self.relived });
        let Some(send) = self.state.sends.get(&message).cloned() else { return };
        if send.part != part || send.n != n || !matches!(send.phase, Phase::InFlight { .. }) {
            return;
        }
        match verdict {
            Verdict::Unknown => self.unknown(&send, None),
            Verdict::NotSent if self.state.channels.get(&send.channel).is_none_or(|c| c.removed) => {
                self.attempt_ended(send.clone(), None, Outcome::NotSent, None);
                self.dead(&send, unsent(&send, DeadReason::ChannelRemoved));
            }
            Verdict::NotSent if now >= send.not_after => {
                self.attempt_ended(send.clone(), None, Outcome::NotSent, None);
                self.dead(&send, unsent(&send, DeadReason::Expired));
            }
            // Nobody even tried, so there is nothing to back off from.
            Verdict::NotSent => self.attempt_ended(send, None, Outcome::NotSent, Some(now)),
        }
    }

    /// A dead letter: the lane goes on, and the conversation returns to a person.
    pub(super) fn dead(&mut self, send: &SendState, reason: DeadReason) {
        let at = self.now();
        self.emit(Public::Dead { conv: send.conv, message: send.id, reason, at });
        self.release.insert(send.channel.clone());
        // What became of a notice changes nothing of its conversation.
        if !send.notice {
            self.tell_owner(send.conv);
        }
    }

    /// The same, for a message that was settled: of a notice nobody is told.
    pub(super) fn tell_owner_of(&mut self, conv: ConvId, message: MessageId) {
        let settled = self.state.settled.get(&message).and_then(|s| self.state.channels.get(&s.channel));
        if settled.is_none_or(|c| !c.profile.desk) {
            self.tell_owner(conv);
        }
    }

    /// A conversation that waited for the customer waits for us again.
    pub(super) fn tell_owner(&mut self, conv: ConvId) {
        if self.conv(conv).is_some_and(|c| matches!(c.status, ConvStatus::Pending)) {
            self.back_to_us(conv, Why::NotDelivered);
        }
    }

    fn failures(&self, channel: &str) -> u32 {
        self.state.channels.get(channel).map_or(0, |c| c.failures)
    }

    fn healthy(&mut self, channel: &str) {
        let Some(c) = self.state.channels.get(channel).cloned() else { return };
        if c.failures > 0 || c.probe_at.is_some() {
            self.emit(Public::ChannelHealth {
                channel: channel.to_owned(),
                failures: 0,
                probe_at: None,
                paused: c.paused.clone(),
            });
        }
    }

    fn failed(&mut self, channel: &str, fault: Option<Fault>) {
        let Some(Channel { failures, probe_at, paused, profile, .. }) =
            self.state.channels.get(channel).map(|c| (**c).clone())
        else {
            return;
        };
        let failures = failures.saturating_add(1);
        let probe_at = match fault {
            _ if failures < FAILING => None,
            Some(Fault::Unreachable) => {
                // All that were on their way fail together, which is one failure.
                let again = failures.saturating_sub(FAILING.saturating_add(profile.in_flight));
                let at = self.now().plus((LOOK_MS << again.min(8)).min(PROBE_MS));
                Some(probe_at.map_or(at, |earlier| earlier.min(at)))
            }
            _ => probe_at.or(Some(self.now().plus(PROBE_MS))),
        };
        self.emit(Public::ChannelHealth { channel: channel.to_owned(), failures, probe_at, paused });
    }
}
