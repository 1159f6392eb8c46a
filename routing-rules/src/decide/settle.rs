//! What channels say after the send: receipts and echoes. Statuses only move forward.

use super::Draft;
use crate::event::{DeadReason, KeyHash, OfPart, Private, Public};
use crate::ids::{ConvId, MessageId};
use crate::pack::ConvStatus;
use crate::state::{HeldDetail, HeldPart, HeldReceipt, Phase, SendState, Settled};
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_envelope::{Author, Echo, Outcome, Receipt, ReceiptStatus, Timestamp};

/// An echo this near to a send whose fate is open is taken for it, whatever the provider made of the text.
const NEAR_MS: i64 = 120_000;

/// Whether a status may follow another: forward, and `failed` only before delivery.
fn follows(new: ReceiptStatus, old: ReceiptStatus) -> bool {
    match new {
        ReceiptStatus::Failed => old == ReceiptStatus::Accepted,
        _ => old != ReceiptStatus::Failed && new > old,
    }
}

/// What a message has come to by a receipt, and of which of its parts that was said. A part that did not arrive is a message that
/// did not, whatever became of the others; else it has come as far as the furthest: one message may have several names.
/// Of an id that is not known only what names the very attempt that was taken is of a part: its answer was lost, and with it the ids.
fn after(
    settled: &Settled,
    provider: KeyHash,
    new: ReceiptStatus,
    names_it: bool,
) -> Option<(ReceiptStatus, Option<OfPart>)> {
    let is_new = names_it
        && !settled.provider.is_empty()
        && settled.provider.len() < MAX_HELD_PARTS
        && !settled.provider.contains(&provider);
    let Some(old) = settled.part(provider).or(is_new.then_some(ReceiptStatus::Accepted)) else {
        return follows(new, settled.status).then_some((new, None));
    };
    let holds = settled.status != ReceiptStatus::Failed && follows(new, old);
    holds.then(|| (settled.status.max(new), Some(OfPart { provider, status: new })))
}

const ACCEPTED: ReceiptStatus = ReceiptStatus::Accepted;
/// The most of a provider's ids that are told of before the result of their message.
const MAX_HELD_PARTS: usize = 256;

/// What a receipt says of a message, live or held.
struct Told {
    status: ReceiptStatus,
    of: Option<OfPart>,
    code: Option<String>,
    detail: Option<String>,
    at: Timestamp,
}

impl Told {
    fn by(r: &Receipt, status: ReceiptStatus, of: Option<OfPart>, at: Timestamp) -> Told {
        Told { status, of, code: r.code.clone(), detail: r.detail.clone(), at }
    }
}

/// The most messages that one receipt of a whole thread is told of.
const TOLD_AT_ONCE: usize = 200;

impl Draft<'_> {
    pub(super) fn receipt(&mut self, r: &Receipt) {
        if let Some(thread) = &r.thread {
            return self.receipt_of_thread(thread, r);
        }
        let provider = self.state.hash("provider", &[&r.channel, &r.provider_id]);
        // A letter that was sent again has the id of the first, which may be gone.
        let known = |id: &MessageId| self.state.sends.contains_key(id) || self.state.settled.contains_key(id);
        let named = r.send.as_deref().and_then(MessageId::parse).filter(known);
        let Some(message) = named.or_else(|| self.state.message_of_provider(provider)) else {
            return self.hold(provider, None, None, r);
        };
        if let Some(send) = self.state.sends.get(&message).cloned() {
            return self.receipt_before_result(&send, provider, r);
        }
        match self.state.settled.get(&message).cloned() {
            Some(s) if s.channel != r.channel => self.ignore("the receipt names another channel's message"),
            Some(s) => self.receipt_of_settled(&s, message, provider, r),
            None => self.hold(provider, None, None, r),
        }
    }

    fn receipt_of_settled(&mut self, settled: &Settled, message: MessageId, provider: KeyHash, r: &Receipt) {
        let remarked = || self.remarks(r, settled.status).then_some((r.status, None));
        let names_it = r.send.is_some() && (r.part, r.n) == (Some(1), Some(settled.n));
        match after(settled, provider, r.status, names_it).or_else(remarked) {
            Some((status, of)) => self.told(settled.conv, message, Told::by(r, status, of, self.now())),
            None => self.ignore("a newer status is known"),
        }
    }

    /// A letter that was taken is late, or a copy of it did not arrive: nothing changes, and people want to know.
    fn remarks(&self, r: &Receipt, old: ReceiptStatus) -> bool {
        let letter = self.profile(&r.channel).is_some_and(|p| p.mail);
        letter && (r.status, old) == (ACCEPTED, ACCEPTED) && r.detail.is_some()
    }

    /// Everything that was sent to a thread until then: our messages there, newest first, up to one that was known before.
    fn receipt_of_thread(&mut self, thread: &str, r: &Receipt) {
        let thread = self.state.thread_hash(&r.channel, thread);
        let mut next = self.state.conversation_of_thread(thread).and_then(|c| c.last_sent);
        let mut told = vec![];
        for _ in 0..TOLD_AT_ONCE {
            let Some(message) = next else { break };
            if let Some(settled) = self.state.settled.get(&message).cloned() {
                next = settled.before;
                if settled.queued_at > r.at || settled.channel != r.channel {
                    continue;
                }
                match follows(r.status, settled.status) {
                    true => told.push((settled.conv, message)),
                    // Who confirmed as much of this one confirmed all before it.
                    false if settled.status == ReceiptStatus::Read => break,
                    false => {}
                }
            } else {
                next = self.state.sends.get(&message).and_then(|send| send.before);
            }
        }
        if told.is_empty() {
            return self.ignore("no message of ours waits for this receipt");
        }
        // In the order in which they were sent.
        for (conv, message) in told.into_iter().rev() {
            self.told(conv, message, Told::by(r, r.status, None, self.now()));
        }
    }

    /// Keeps a receipt under the provider's id, or under our message with the provider's id beside it; its words with `send`.
    fn hold(&mut self, key: KeyHash, of: Option<KeyHash>, send: Option<&SendState>, r: &Receipt) {
        if let Some(held) = self.state.held.get(&key) {
            let part = held.parts.iter().find(|part| Some(part.provider) == of);
            let known = match part {
                None if !held.parts.is_empty() => None,
                part => Some(part.map_or(held.status, |part| part.status)),
            };
            if known.is_some_and(|known| !follows(r.status, known)) {
                return self.ignore("a newer status is held");
            }
            if part.is_none() && held.parts.len() >= MAX_HELD_PARTS {
                return self.ignore("more of the provider's ids than a message may have");
            }
        }
        let (channel, at) = (r.channel.clone(), self.now());
        let (status, code) = (r.status, r.code.clone());
        let held = |message| Public::ReceiptHeld { provider: key, channel, status, code, at, of, message };
        match send.zip(r.detail.clone()) {
            Some((send, detail)) => {
                let private = Private::Receipt { detail: Some(detail) };
                self.emit_private(held(Some(send.id)), send.contact, private);
            }
            None => self.emit(held(None)),
        }
    }

    /// Whether what is said names an attempt that was lost. All attempts at a letter are the same one, so whoever saw it names them
    /// all, also where it is to be sent again.
    fn names_lost(&self, send: &SendState, r: &Receipt) -> bool {
        if r.part != Some(send.part) {
            return false;
        }
        let lost = matches!(send.phase, Phase::Reconciling { .. } | Phase::Dead { reason: DeadReason::Unknown, .. });
        let letter = self.profile(&send.channel).is_some_and(|p| p.mail && !p.external);
        let waits = matches!(send.phase, Phase::Backoff { .. } | Phase::Ready { .. } | Phase::Waiting);
        match r.n {
            Some(n) => lost && n == send.n,
            None => letter && (lost || (waits && send.maybe_sent)),
        }
    }

    /// A receipt that names an attempt proves that the provider took it.
    fn receipt_before_result(&mut self, send: &Arc<SendState>, provider: KeyHash, r: &Receipt) {
        if send.channel != r.channel {
            return self.ignore("the receipt names another channel's message");
        }
        if self.names_lost(send, r) {
            self.emit_private(
                Public::AttemptEnded {
                    conv: send.conv,
                    message: send.id,
                    part: send.part,
                    n: send.n,
                    outcome: Outcome::Accepted,
                    code: None,
                    retry_at: None,
                    provider: vec![provider],
                },
                send.contact,
                Private::Attempt { provider_ids: vec![r.provider_id.clone()], detail: None },
            );
            self.release.insert(send.channel.clone());
            let last = send.part >= send.parts;
            self.part_ended(send.conv, send.id, last, send.is_dead());
            let says_more = follows(r.status, ACCEPTED) || self.remarks(r, ACCEPTED);
            match self.state.settled.get(&send.id).cloned() {
                _ if !says_more => {}
                Some(settled) => self.receipt_of_settled(&settled, send.id, provider, r),
                None => self.hold(provider, None, Some(send), r),
            }
            return;
        }
        if send.provider.contains(&provider) {
            return self.hold(provider, None, Some(send), r);
        }
        let key = self.state.held_key(send.id);
        self.hold(key, Some(provider), Some(send), r);
    }

    /// By which ids the provider has a message, where its receipts came before its answer was lost: they name it, so it was taken.
    pub(super) fn told_before_lost(&self, send: &SendState) -> Option<Vec<KeyHash>> {
        let held = self.state.held.get(&self.state.held_key(send.id)).filter(|_| send.parts == 1)?;
        Some(held.parts.iter().map(|part| part.provider).collect())
    }

    /// Receipts that overtook the result of their message, and what was said in words with them.
    pub(super) fn apply_held(&mut self, conv: ConvId, message: MessageId, words: &[HeldDetail]) {
        let Some(settled) = self.state.settled.get(&message).cloned() else { return };
        for held in self.held_of(&settled, message) {
            let Some(settled) = self.state.settled.get(&message) else { return };
            let said = words.iter().find(|w| w.provider == held.provider && w.status == held.status);
            let detail = said.map(|w| w.detail.clone());
            // As of a receipt that comes in time.
            let letter = self.profile(&settled.channel).is_some_and(|p| p.mail);
            let remark = letter && detail.is_some() && (held.status, settled.status) == (ACCEPTED, ACCEPTED);
            let told = after(settled, held.provider, held.status, false);
            if let Some((status, of)) = told.or_else(|| remark.then_some((held.status, None))) {
                let at = self.now();
                self.told(conv, message, Told { status, of, code: held.code, detail, at });
            }
        }
    }

    /// What is held of a message, the least first: of each part the last that was said, of one that is no part the same.
    fn held_of(&self, settled: &Settled, message: MessageId) -> Vec<HeldPart> {
        let alone = |provider: KeyHash, h: &HeldReceipt| HeldPart { provider, status: h.status, code: h.code.clone() };
        let by_id = settled.provider.iter().filter_map(|p| self.state.held.get(p).map(|h| alone(*p, h)));
        let key = self.state.held_key(message);
        let by_message = self.state.held.get(&key).into_iter().flat_map(|h| match h.parts.is_empty() {
            true => vec![alone(key, h)],
            false => h.parts.clone(),
        });
        let mut last: BTreeMap<Option<KeyHash>, HeldPart> = BTreeMap::new();
        for held in by_id.chain(by_message) {
            let part = settled.part(held.provider).map(|_| held.provider);
            match last.get(&part) {
                Some(known) if known.status >= held.status => {}
                _ => drop(last.insert(part, held)),
            }
        }
        let mut all: Vec<HeldPart> = last.into_values().collect();
        all.sort_by_key(|held| held.status);
        all
    }

    fn told(&mut self, conv: ConvId, message: MessageId, told: Told) {
        let Told { status, of, code, detail, at } = told;
        let settled = self.state.settled.get(&message);
        let contact = settled.map(|s| s.contact);
        let failed = status == ReceiptStatus::Failed;
        // Who sends it again should know that the customer has some of it.
        let others = settled.filter(|s| failed && of.is_some() && s.status > ReceiptStatus::Accepted);
        let detail = match (others, detail) {
            (Some(_), Some(detail)) => Some(format!("a part of it, while another was delivered: {detail}")),
            (Some(_), None) => Some("a part of it was not delivered, while another was".to_owned()),
            (None, detail) => detail,
        };
        let public = Public::Receipt { conv, message, status, code, at, of };
        match (contact, detail) {
            (Some(contact), Some(detail)) => {
                self.emit_private(public, contact, Private::Receipt { detail: Some(detail) });
            }
            _ => self.emit(public),
        }
        if failed {
            self.tell_owner_of(conv, message);
        }
    }

    /// Our own message, seen at the provider: proof of a send whose answer was lost.
    pub(super) fn echo(&mut self, e: &Echo) {
        let receipt = Receipt {
            thread: None,
            id: e.id.clone(),
            channel: e.channel.clone(),
            provider_id: e.provider_id.clone(),
            send: e.send.clone(),
            part: e.part,
            n: e.n,
            status: ReceiptStatus::Accepted,
            at: e.at,
            code: None,
            detail: None,
        };
        let provider = self.state.hash("provider", &[&e.channel, &e.provider_id]);
        // Another tool's word in the place of ours says nothing.
        let ours = e.send.as_deref().and_then(MessageId::parse);
        if ours.is_some() || self.state.message_of_provider(provider).is_some() {
            return self.receipt(&receipt);
        }
        match self.may_be_ours(e) {
            Some(why) => self.ignore(why),
            None => self.elsewhere(e),
        }
    }

    /// Why an echo that we do not know may still be of a send of ours.
    fn may_be_ours(&self, e: &Echo) -> Option<&'static str> {
        if self.state.sent_before_memory(e.at) {
            return Some("an echo older than what is remembered of our own messages");
        }
        let thread = self.state.thread_hash(&e.channel, &e.thread);
        let conv = self.state.conversation_of_thread(thread)?.id;
        let maybe_sent = |s: &SendState| {
            let lost = matches!(s.phase, Phase::Dead { reason: DeadReason::Unknown, .. });
            let open = matches!(s.phase, Phase::InFlight { .. } | Phase::Reconciling { .. });
            let near = s.released.is_some_and(|at| e.at.since(at).abs() < NEAR_MS);
            let alike = s.private.as_ref().is_some_and(|p| p.content.text.trim() == e.content.text.trim());
            s.conv == conv && !s.notice && (lost || open) && (near || alike)
        };
        self.state.sends.values().any(|s| maybe_sent(s)).then_some("an echo that may be of a send whose fate is open")
    }

    /// Somebody of ours wrote to the customer in the provider's own tool: it belongs to the conversation, and answers it.
    fn elsewhere(&mut self, e: &Echo) {
        let thread = self.state.thread_hash(&e.channel, &e.thread);
        let conv = match self.state.conversation_of_thread(thread).map(|c| c.id) {
            Some(conv) => conv,
            None => {
                let contact = self.state.contact_of(&e.to);
                self.open(contact, &e.channel, thread, &e.thread, &e.to, None, true)
            }
        };
        let Some(c) = self.conv(conv) else { return };
        let (message, at) = (self.new_message_id(), self.now());
        let public = Public::SendQueued {
            parts: 1,
            conv,
            message,
            channel: e.channel.clone(),
            author: Author::Elsewhere,
            at,
            not_after: at,
            push: true,
            resends: None,
            relived: false,
            doubted: false,
            notice: false,
        };
        let mut content = Box::new(e.content.clone());
        // Whose file it is says the router, and nobody else.
        content.attachments.iter_mut().for_each(|file| file.thread = None);
        let private = Private::Send { content, to: e.to.clone(), reply_to: vec![], mail: None, traceparent: None };
        self.emit_private(public, c.contact, private);
        if matches!(c.status, ConvStatus::Closed | ConvStatus::Snoozed) {
            return;
        }
        self.withdraw_offer(&c);
        self.wait_for_customer(conv);
    }
}
