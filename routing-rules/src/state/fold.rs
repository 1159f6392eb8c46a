//! What one event does to one conversation.

use super::private::Said;
use super::slim::Shared;
use super::{
    Clock, ConvPrivate, Conversation, Declined, Files, LetGo, MAX_EXCERPT, MAX_QUOTE, Offer, Parent, Resolution,
    STANDS_STILL, WaitKey, When,
};
use crate::event::{ClockKind, OfferEnd, Private, Public};
use crate::ids::MessageId;
use crate::pack::ConvStatus;
use std::sync::Arc;
use switchboard_envelope::{Quote, SenderProof, Timestamp};

pub(super) fn fold_conversation(
    c: &mut Conversation,
    event: &Public,
    private: Option<&Private>,
    now: Timestamp,
    excerpts: bool,
    shared: &mut Shared,
) {
    match event {
        Public::Received { message, at, automatic, quiet, .. } => {
            c.auto_spoke &= *automatic;
            c.quiet = *automatic || *quiet;
            c.messages = c.messages.saturating_add(1);
            c.last_in = (*at).into();
            c.last_message = Some(*message);
            if let (Some(private), Some(p)) = (private, c.private.as_mut()) {
                fold_received(Arc::make_mut(p), private, excerpts.then_some(*message));
            }
        }
        Public::Tagged { add, remove, .. } => {
            c.tags.retain(|t| !remove.contains(t));
            c.tags.extend(add.iter().cloned());
        }
        Public::Prioritised { priority, .. } => c.priority = *priority,
        Public::Decided { chosen, priority, .. } => {
            if let Some(chosen) = chosen {
                c.chosen = Some(shared.chosen(chosen));
            }
            c.chosen_priority = priority.or(c.chosen_priority);
        }
        Public::PingPong { replies, .. } => c.ping_pong = *replies,
        Public::AttributesSet { .. } => {
            if let (Some(Private::Attributes { set }), Some(p)) = (private, c.private.as_mut()) {
                super::merge_attributes(&mut Arc::make_mut(p).attributes, set);
            }
        }
        Public::Queued { .. }
        | Public::Relaxed { .. }
        | Public::Offered { .. }
        | Public::OfferEnded { .. }
        | Public::Assigned { .. }
        | Public::DeclinesForgotten { .. }
        | Public::Pending { .. }
        | Public::Snoozed { .. }
        | Public::Closed { .. }
        | Public::Reopened { .. } => fold_place(c, event, now, shared),
        Public::ClockSet { clock, due, warn_at, .. } => {
            let next = warn_at.unwrap_or(*due).min(*due);
            c.clock = Some(Clock { kind: *clock, due: *due, warned: warn_at.is_none(), breached: false, next });
        }
        Public::ClockStopped { .. } => c.clock = None,
        Public::ClockWarned { clock: ClockKind::Resolution, .. } => {
            let r = c.resolution.get_or_insert_default();
            (r.warned, r.warn_at) = (true, None);
        }
        Public::ClockBreached { clock: ClockKind::Resolution, .. } => {
            let r = c.resolution.get_or_insert_default();
            (r.breached, r.warned, r.warn_at) = (true, true, None);
            c.resolution_due = When::NEVER;
        }
        Public::ClockWarned { .. } => {
            if let Some(clock) = &mut c.clock {
                clock.warned = true;
                clock.next = clock.due;
            }
        }
        Public::ClockBreached { again, .. } => {
            if let Some(clock) = &mut c.clock {
                clock.warned = true;
                clock.breached = true;
                clock.next = *again;
            }
        }
        Public::StillBreached { again, .. } => {
            if let Some(clock) = &mut c.clock {
                clock.next = *again;
            }
        }
        Public::ResolutionDue { due, warn_at, .. } => {
            c.resolution_due = (*due).into();
            let r = c.resolution.get_or_insert_default();
            (r.left, r.warn_at, r.closed) = (None, *warn_at, false);
        }
        Public::ResolutionStopped { left, .. } => {
            c.resolution_due = When::NEVER;
            let r = c.resolution.get_or_insert_default();
            (r.left, r.warn_at) = (Some(*left), None);
        }
        _ => {}
    }
}

fn fold_place(c: &mut Conversation, event: &Public, now: Timestamp, shared: &mut Shared) {
    match event {
        Public::Queued { queue, since, entered, skills, overflow, ageing, newest, why, .. } => {
            if c.queue.as_deref() != Some(queue) || c.entered_at.get() != Some(*entered) {
                c.step = 0;
                c.relaxed = None;
                // Whoever gave it away does not get it back because nobody was where it was put.
                if !why.is_at_once() {
                    c.declined = None;
                }
            }
            c.status = ConvStatus::Queued;
            let queue = shared.label(queue);
            c.overflow = shared.steps(&queue, overflow);
            c.queue = Some(queue);
            c.offer = None;
            c.queued_at = (*since).into();
            c.entered_at = (*entered).into();
            c.skills = skills.clone().into();
            c.ageing = WaitKey::ageing(*ageing, *newest);
            c.wait_until = When::NEVER;
            // Whoever gave it away is asked last, and not at once.
            if why.is_transfer()
                && let Some(agent) = c.agent.take()
            {
                let gone = Declined { at: now, how: LetGo::GaveAway };
                c.declined.get_or_insert_default().insert((*agent).clone(), gone);
            }
        }
        Public::Relaxed { step, skills, at_once, .. } => {
            c.step = step.saturating_add(1);
            if let Some(skills) = skills {
                c.relaxed = Some(Box::new(skills.clone()));
            }
            if !at_once {
                c.declined = None;
            }
        }
        Public::Offered { offer, agent, expires, .. } => {
            c.status = ConvStatus::Offered;
            c.offer = Some(Box::new(Offer { id: *offer, agent: agent.clone(), expires: *expires }));
        }
        Public::OfferEnded { agent, how, .. } => {
            c.offer = None;
            if c.status == ConvStatus::Offered {
                // Back in its place until the next event of the same decision says where it goes.
                c.status = ConvStatus::Queued;
            }
            let gone = match how {
                OfferEnd::Declined => Some(LetGo::Declined),
                OfferEnd::TimedOut => Some(LetGo::Lapsed),
                OfferEnd::Accepted | OfferEnd::Withdrawn => None,
            };
            if let Some(how) = gone {
                c.declined.get_or_insert_default().insert(agent.clone(), Declined { at: now, how });
            }
        }
        Public::DeclinesForgotten { before, .. } => {
            let mut declined = c.declined.take();
            if let Some(all) = &mut declined {
                all.retain(|_, declined| declined.at > *before);
            }
            c.declined = declined.filter(|all| !all.is_empty());
        }
        Public::Assigned { agent, .. } => {
            c.status = ConvStatus::Assigned;
            c.agent = Some(shared.label(agent));
            leave_queue(c);
        }
        Public::Pending { until, .. } => {
            c.status = ConvStatus::Pending;
            leave_queue(c);
            c.clock = None;
            c.wait_until = (*until).into();
        }
        Public::Snoozed { until, left, .. } => {
            c.status = ConvStatus::Snoozed;
            leave_queue(c);
            c.clock = c.clock.take().and_then(|clock| match left {
                Some(left) => Some(Clock { due: Timestamp(*left), next: STANDS_STILL, ..clock }),
                // What is breached stays so; any other begins anew.
                None => Some(clock).filter(|k| k.breached),
            });
            c.wait_until = (*until).into();
        }
        Public::Closed { reopen_until, .. } => {
            c.status = ConvStatus::Closed;
            leave_queue(c);
            (c.chosen, c.chosen_priority) = (None, None);
            c.clock = None;
            c.resolution_due = When::NEVER;
            c.resolution = Some(Box::new(Resolution { closed: true, ..Resolution::default() }));
            c.wait_until = (*reopen_until).into();
        }
        Public::Reopened { .. } => {
            // Its place follows in the same decision.
            c.status = ConvStatus::Pending;
            c.wait_until = When::NEVER;
        }
        _ => {}
    }
}

fn leave_queue(c: &mut Conversation) {
    c.offer = None;
    c.queued_at = When::NEVER;
    c.entered_at = When::NEVER;
    c.step = 0;
    c.relaxed = None;
    c.declined = None;
    c.wait_until = When::NEVER;
}

/// As much of a text as fits so many bytes.
pub(crate) fn beginning(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Tells a text from others by its words, in four characters: 24 bits of FNV-1a over as much as is quoted, without white space.
pub(crate) fn words(text: &str) -> String {
    let bytes = beginning(text, MAX_QUOTE).bytes().filter(|b| !b.is_ascii_whitespace()).map(|b| b.to_ascii_lowercase());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let folded = hash ^ (hash >> 24) ^ (hash >> 48);
    (0..4).map(|n| char::from(b'0' + ((folded >> (n * 6)) & 63) as u8)).collect()
}

/// Whom and what an answer would answer, and whether it was them. `told` is the message where somebody may be told of it: then its
/// beginning is kept, and which files it has.
fn fold_received(p: &mut ConvPrivate, private: &Private, told: Option<MessageId>) {
    let Private::Received { from, provider_id, content, mail, said_at, proved, disproved, .. } = private else {
        return;
    };
    if mail.as_ref().is_some_and(|m| m.aside) {
        return;
    }
    // What is no message, and so has no id of its own, leaves what an answer answers.
    let reply_to = (provider_id.is_some() || mail.is_some()).then_some(provider_id.as_deref());
    let excerpt = told.map(|_| beginning(&content.text, MAX_EXCERPT));
    let files = told.and_then(|message| Files::of(message, &content.attachments));
    // What a machine says that calls itself one is no word of theirs.
    let words = said_at.is_some().then(|| words(&content.text));
    let subject = content.subject.as_deref().filter(|_| mail.is_some());
    let proof = SenderProof::of(*proved, *disproved);
    let said = Said { reply_to, subject, excerpt, files: files.as_ref(), words: words.as_deref(), proof };
    p.heard(from, &said);
    p.said_at = p.said_at.get().max(*said_at).into();
    let Some(mail) = mail else { return };
    let text = beginning(&content.text, MAX_QUOTE).to_owned();
    let author = from.name.as_ref().map_or_else(|| from.value.clone(), |name| format!("{name} <{}>", from.value));
    let references = mail.references.iter().map(|id| id.as_str().into()).collect();
    let quote = Quote { author: Some(author), at: mail.at, text };
    p.parent = Some(Box::new(Parent { references, quote, others: mail.others.as_slice().into() }));
}
