//! What an event sends to OUT.

use crate::log::OutRecord;
use switchboard_envelope::{Outbound, Reconcile, Send as SendRecord, Timestamp};
use switchboard_routing_rules::event::Public;
use switchboard_routing_rules::state::{SendState, State};

/// The record of an attempt or a question; `None` where an event sends nothing.
pub(super) fn out_record(state: &State, event: &Public) -> Option<OutRecord> {
    let (message, until, asks) = match event {
        Public::Released { message, until, .. } => (message, *until, false),
        Public::Reconciling { message, until, .. } => (message, *until, true),
        _ => return None,
    };
    let s = state.sends.get(message)?;
    // Erased since: what is released, or asked for, had this when it was decided.
    let p = s.private.as_ref()?;
    let (data, claim_key) = if asks {
        let record = Reconcile {
            send: s.id.to_string(),
            part: s.part,
            // What was never released, as far as this log knows, is asked for because a first attempt was in frames that are lost.
            n: s.n.max(1),
            channel: s.channel.clone(),
            conversation: s.conv.to_string(),
            thread: p.thread.clone(),
            to: p.to.clone(),
            content: p.content.clone(),
            released_at: s.released.unwrap_or(state.now),
            until,
        };
        (Outbound::Reconcile(record).to_vec(), String::new())
    } else {
        let record = SendRecord {
            send: s.id.to_string(),
            part: s.part,
            n: s.n,
            until,
            channel: s.channel.clone(),
            conversation: s.conv.to_string(),
            thread: p.thread.clone(),
            to: p.to.clone(),
            content: p.content.clone(),
            author: s.author.clone(),
            reply_to: p.reply_to.clone(),
            traceparent: p.traceparent.clone(),
            mail: p.mail.clone(),
            window_until: window_until(state, s),
        };
        let key = record.claim_key();
        (Outbound::Send(Box::new(record)).to_vec(), key)
    };
    Some(OutRecord { channel: s.channel.clone(), claim_key, until, data: data.into() })
}

/// Until when the provider takes any answer of ours, as far as it is known when the attempt is released.
fn window_until(state: &State, s: &SendState) -> Option<Timestamp> {
    let window = state.channels.get(&s.channel)?.profile.window_ms?;
    let said = state.conversation(s.conv)?.private.as_ref()?.said_at.get()?;
    Some(said.plus(window))
}

/// The claim of a send's current attempt.
pub(super) fn claim_key(s: &SendState) -> String {
    format!("{}.{}.{}.{}", s.channel, s.id, s.part, s.n)
}
