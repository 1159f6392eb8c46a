//! What things look like in JSON.

use super::ApiState;
use super::backend::{AgentView, ChannelView, QueueView, StateView, Undelivered, resume_command};
use super::{no_reply_words, told};
use crate::history::{
    Cause, Contact, Conversation, DeadLetter, Direction, EventLine, Message, OLDER_GONE, OfferRow, Status, Who,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use switchboard_envelope::{Attachment, ConsentState, SenderProof, Timestamp};
use switchboard_routing_rules::event::{ClockKind, DeadReason, Happening, Why};
use switchboard_routing_rules::pack::{ConvStatus, Name, Units};
use switchboard_routing_rules::state::Window;

/// What agents are called.
pub(super) struct Names(BTreeMap<Name, String>);

impl Names {
    /// By the pack in force; without it an agent goes by its id.
    pub async fn of(state: &ApiState) -> Names {
        let hash = state.backend().state().pack.clone();
        let pack = state.backend().pack(&hash).await.ok().flatten();
        Names(pack.map(|p| p.agents().iter().map(|(id, a)| (id.clone(), a.name.clone())).collect()).unwrap_or_default())
    }

    pub fn get(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str).filter(|n| !n.is_empty())
    }

    pub fn say<'n>(&'n self, id: &'n str) -> &'n str {
        self.get(id).unwrap_or(id)
    }
}

#[cfg(test)]
impl Names {
    pub fn of_test(names: &[(&str, &str)]) -> Names {
        Names(names.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect())
    }
}

fn consent_word(state: ConsentState) -> &'static str {
    match state {
        ConsentState::OptedOut => "opted_out",
        ConsentState::OptedIn => "opted_in",
    }
}

pub(super) fn contact(c: &Contact) -> Value {
    let consent: BTreeMap<&Name, &str> = c.consent.iter().map(|(k, v)| (k, consent_word(*v))).collect();
    json!({
        "id": c.id, "name": c.name, "identities": c.identities, "tags": c.tags, "attributes": c.attributes, "consent": consent,
    })
}

fn clock_word(kind: ClockKind) -> &'static str {
    match kind {
        ClockKind::FirstResponse => "first_response",
        ClockKind::NextResponse => "next_response",
        ClockKind::Waiting => "waiting",
        ClockKind::Resolution => "resolution",
    }
}

/// Whether an agent could answer now, as far as it can be known before trying.
fn can_reply(c: &Conversation, who: Option<&Contact>, now: &StateView, window: Option<&Window>) -> Value {
    let no = |reason: String| json!({ "ok": false, "reason": reason });
    if !now.channels.contains_key(&c.channel) {
        return no(format!("the channel `{}` is not configured any more", c.channel));
    }
    if who.and_then(|p| p.consent.get(&c.channel)) == Some(&ConsentState::OptedOut) {
        return no("the customer opted out of messages on this channel".into());
    }
    if c.address.is_none() {
        return no("nothing is known of the customer any more".into());
    }
    match window {
        Some(w) if w.is_open(now.now) => json!({ "ok": true, "until": w.until }),
        Some(w) => json!({ "ok": false, "reason": w.closed(), "until": w.until }),
        None => json!({ "ok": true }),
    }
}

/// Why it has not left or did not arrive, as far as that is known.
async fn undelivered(u: Undelivered, channel: &str, state: &ApiState) -> Value {
    // What is on its way as usual has nothing to explain.
    let told = match u.delayed && u.paused.is_none() {
        true => state.shared.history.history().message(u.told_by.to_string()).await.ok().flatten(),
        false => None,
    };
    let reason = u.paused.or_else(|| told.and_then(|m| m.detail.or(m.code)));
    json!({
        "message": u.message, "status": u.status.as_str(), "since": u.since, "delayed": u.delayed, "attempts": u.attempts,
        "tried_again_at": u.tried_again, "reason": reason, "then": u.then,
        "receiving_trouble": state.backend().receiving_trouble(channel).filter(|_| u.delayed),
    })
}

/// A conversation with what only the router knows of it now.
pub(super) async fn whole(c: &Conversation, who: Option<&Contact>, now: &StateView, state: &ApiState) -> Value {
    let window = state.backend().window(c.id);
    let mut value = conversation(c, who, now, window.as_ref());
    let late = match state.backend().undelivered(c.id) {
        Some(u) => undelivered(u, &c.channel, state).await,
        None => Value::Null,
    };
    if let Some(map) = value.as_object_mut() {
        map.insert("undelivered".into(), late);
    }
    value
}

/// That somebody else may have written, as a decision's explanation says it.
pub(super) fn doubt(proof: SenderProof) -> Option<String> {
    match proof {
        SenderProof::NotProved => {
            Some("Nothing proves that the customer wrote this: anybody may have, in their name.".into())
        }
        SenderProof::Disproved => Some(
            "Their domain says that this is not theirs (DMARC failed): somebody else may have written it in the customer's name, or \
             a server that forwarded it changed it."
                .into(),
        ),
        SenderProof::Proved => None,
    }
}

/// What is known of who wrote; nothing where the channel cannot tell.
fn insert_proof(map: &mut Map<String, Value>, proof: Option<SenderProof>) {
    if let Some(proof) = proof {
        map.insert("sender_proved".into(), json!(proof == SenderProof::Proved));
        map.insert("sender_proof".into(), json!(proof.as_str()));
    }
}

fn conversation(c: &Conversation, who: Option<&Contact>, now: &StateView, window: Option<&Window>) -> Value {
    let ours = matches!(c.state, ConvStatus::Queued | ConvStatus::Offered | ConvStatus::Assigned);
    let sla =
        c.clock.as_ref().filter(|_| ours).map(
            |k| json!({ "due_at": k.due, "kind": clock_word(k.kind), "warned": k.warned, "breached": k.breached }),
        );
    let last = c.last.as_ref().map(|m| {
        let mut last = json!({ "text": m.text, "direction": if m.inbound { "in" } else { "out" }, "at": m.at,
            "status": m.status.map(Status::as_str) });
        if let Some(map) = last.as_object_mut() {
            insert_proof(map, m.sender_proof);
        }
        last
    });
    let offer = c.offer.as_ref().map(|o| json!({ "id": o.id, "agent": o.agent, "expires_at": o.expires }));
    json!({
        "id": c.id,
        "channel": c.channel,
        "kind": c.kind,
        "state": c.state.as_str(),
        "queue": c.queue,
        "agent": c.agent,
        "priority": c.priority.as_str(),
        "tags": c.tags,
        "attributes": c.attributes,
        "contact": who.map_or_else(|| json!({ "id": c.contact, "name": null, "identities": [], "tags": [], "attributes": {}, "consent": {} }), contact),
        "subject": c.subject,
        "opened_at": c.opened_at,
        "updated_at": c.updated_at,
        "queued_at": c.queued_at,
        "closed_at": c.closed_at,
        "sla": sla,
        "resolution_due_at": c.resolution_due,
        "last_message": last,
        "sender_proof": c.sender_proof.map(SenderProof::as_str),
        "message_count": c.messages,
        // Wherever somebody of ours is expected to act a clock runs, also when it is because an answer did not arrive.
        "turn": if ours || (c.state == ConvStatus::Snoozed && c.ours_to_answer) { "us" } else { "customer" },
        "offer": offer,
        "snoozed_until": c.snoozed_until,
        "pending_until": c.pending_until,
        "can_reply": can_reply(c, who, now, window),
    })
}

/// As it follows `assigned to Ann`, or `put in the queue billing`.
pub(super) fn why_words(why: &Why) -> String {
    match why {
        Why::Rule(rule) => format!("by the rule “{rule}”"),
        Why::Default => "by the pack's default".into(),
        Why::Sticky => "because they know the customer".into(),
        Why::Strategy => "who came first by the queue's order".into(),
        Why::Accepted => "who accepted it".into(),
        Why::Taken => "who took it".into(),
        Why::Transferred => "by transfer".into(),
        Why::TransferredOn(full) => format!("by transfer to the queue {full}, which was full"),
        Why::Reopened => "because it was opened again".into(),
        Why::Started => "because we wrote first".into(),
        Why::Returned => "because its owner left or gave it back".into(),
        Why::Timer => "because its time had come".into(),
        Why::CustomerWrote => "because the customer wrote".into(),
        Why::Overflow => "because it had waited too long".into(),
        Why::NobodyThere => "because nobody was there who could take it".into(),
        Why::Headcount(said) => format!("because {said}, of those who have its skills"),
        Why::Vanished => "because its queue or agent is not in the pack any more".into(),
        Why::NotDelivered => "because a reply could not be delivered".into(),
        Why::Reordered => "because the order of its queue changed".into(),
    }
}

/// Which rule's answer was not sent, and why.
fn not_replied(e: &EventLine) -> String {
    let rule = match &e.why {
        Some(Why::Rule(rule)) => format!("the rule “{rule}”"),
        _ => "a rule".into(),
    };
    let why = e.no_reply.map(|why| format!(", but {}", no_reply_words(why))).unwrap_or_default();
    format!("{rule} would have answered{why}")
}

/// An event of the transcript in words.
fn event_text(e: &EventLine, names: &Names) -> String {
    let why = e.why.as_ref().map(|w| format!(" {}", why_words(w))).unwrap_or_default();
    match (e.what.as_str(), &e.agent, &e.queue, e.until) {
        // It was theirs before, and is again.
        ("assigned", Some(agent), ..) if matches!(e.why, Some(Why::CustomerWrote | Why::NotDelivered)) => {
            format!("back with {}{why}", names.say(agent))
        }
        ("assigned", Some(agent), ..) if e.by.is_some() && e.why == Some(Why::Transferred) => {
            format!("transferred to {} by {}", names.say(agent), e.by.as_deref().map_or("", |by| names.say(by)))
        }
        ("assigned", Some(agent), _, _) => format!(
            "assigned to {}{}",
            names.say(agent),
            match &e.why {
                Some(Why::Taken) => told::taken_by(e.by.as_ref(), e.from.as_ref().map(|from| names.say(from)), names),
                Some(Why::Accepted | Why::Strategy) => format!(", {}", why.trim()),
                _ => why,
            }
        ),
        ("queued", _, Some(queue), _) => match &e.by {
            Some(by) if e.why == Some(Why::Transferred) => format!("put in the queue {queue} by {}", names.say(by)),
            Some(by) if let Some(Why::TransferredOn(full)) = &e.why => {
                format!("put in the queue {queue} by {}: {full} was full", names.say(by))
            }
            _ => format!("put in the queue {queue} {}", told::because(e, names)),
        },
        ("prioritised", ..) => told::prioritised(e, names),
        ("relaxed", ..) => told::relaxed(e, names),
        ("closed", Some(agent), _, _) => format!("closed by {}", names.say(agent)),
        // Whoever answered, took or transferred it is told by the line that follows.
        ("reopened", ..) if e.why != Some(Why::CustomerWrote) => "reopened".into(),
        ("reopened", ..) => format!("reopened{why}"),
        ("snoozed", _, _, Some(until)) => format!("snoozed until {until}"),
        ("breached", ..) => match &e.cause {
            Some(Cause::Breached(kind)) => format!("its clock ran out: {}", told::late(*kind)),
            _ => "its clock ran out".into(),
        },
        (OLDER_GONE, ..) => "what was said before is older than what the log keeps, and gone".into(),
        ("followed_up", ..) => format!("followed up{why}{}", told::on_what(e.on)),
        ("not_replied", ..) => not_replied(e),
        ("opted_in", Some(by), ..) => {
            format!("opted in again by {}: messages may be sent to the customer here", names.say(by))
        }
        ("opted_out", Some(by), ..) => {
            format!("opted out by {}: nothing more is sent to the customer here", names.say(by))
        }
        (what, ..) => what.to_owned(),
    }
}

fn author(m: &Message, who: Option<&Contact>, names: &Names) -> Value {
    match &m.author {
        Who::Contact => {
            json!({ "kind": "contact", "id": who.map(|c| c.id), "name": who.and_then(|c| c.name.as_deref()) })
        }
        Who::Agent(id) => json!({ "kind": "agent", "id": id, "name": names.get(id) }),
        Who::Token(name) => json!({ "kind": "token", "name": name }),
        Who::Auto(rule) => json!({ "kind": "auto", "rule": rule }),
        Who::System => json!({ "kind": "system" }),
        Who::Elsewhere => json!({ "kind": "elsewhere", "name": "outside Switchboard" }),
    }
}

/// A file of a message. One that its provider still keeps has no address for others: fetching it takes our credentials.
fn file(m: &Message, i: usize, a: &Attachment, state: &ApiState) -> Value {
    let url = a.blob.as_ref().map(|_| state.file_link(&m.id, i));
    let state = match &a.blob {
        Some(_) => "stored",
        None if a.is_wanted() => "fetching",
        None => "failed",
    };
    // What nobody fetched has the size that its provider says, if it says one.
    let size = Some(a.size).filter(|size| a.blob.is_some() || *size > 0);
    let mut value = json!({ "name": a.name, "mime": a.mime, "size": size, "url": url, "state": state });
    let Some(map) = value.as_object_mut() else { return value };
    if let Some(problem) = &a.problem {
        map.insert("problem".into(), Value::String(problem.detail.clone()));
    }
    if let Some(id) = &a.content_id {
        map.insert("content_id".into(), json!(id));
    }
    value
}

pub(super) fn message(m: &Message, who: Option<&Contact>, names: &Names, state: &ApiState) -> Value {
    let files: Vec<Value> = m.attachments.iter().enumerate().map(|(i, a)| file(m, i, a, state)).collect();
    let text = match m.event.as_ref().filter(|_| m.direction == Direction::Event) {
        Some(e) => Some(event_text(e, names)),
        None => m.text.clone(),
    };
    let mut value = json!({
        "id": m.id,
        "direction": m.direction.as_str(),
        "author": author(m, who, names),
        "text": text,
        "subject": m.subject,
        "attachments": files,
        "at": m.at,
    });
    let Some(map) = value.as_object_mut() else { return value };
    if let Some(status) = m.status {
        map.insert("status".into(), json!(status.as_str()));
    }
    insert_proof(map, m.sender_proof);
    if let Some(choice) = &m.choice {
        map.insert("choice".into(), json!(choice));
    }
    if !m.choices.is_empty() {
        map.insert("choices".into(), json!(m.choices));
    }
    let optional =
        [("code", m.code.clone()), ("detail", m.detail.clone()), ("resends", m.resends.map(|r| r.to_string()))];
    for (key, text) in optional {
        if let Some(t) = text {
            map.insert(key.into(), Value::String(t));
        }
    }
    if let Some(desk) = m.event.as_ref().and_then(|e| e.desk.as_ref()) {
        map.insert("desk".into(), json!(desk));
    }
    if m.direction == Direction::Event
        && let Some(e) = &m.event
    {
        let priority = e.priority.map(|(_, to)| to.as_str());
        let event = json!({ "what": e.what, "agent": e.agent, "queue": e.queue, "until": e.until, "priority": priority,
            "by": e.by, "on": e.on.map(Happening::as_str) });
        map.insert("event".into(), event);
    }
    value
}

pub(super) fn offer(o: &OfferRow) -> Value {
    json!({ "id": o.id, "conversation": o.conversation, "agent": o.agent, "expires_at": o.expires })
}

/// Hundredths of a unit as people write them.
fn units(n: Units) -> Value {
    if n.is_multiple_of(100) { json!(n / 100) } else { json!(f64::from(n) / 100.0) }
}

pub(super) fn agent(
    id: &str,
    known: Option<&switchboard_routing_rules::pack::Agent>,
    now: Option<&AgentView>,
) -> Value {
    let default = AgentView::default();
    let a = now.unwrap_or(&default);
    json!({
        "id": id,
        "name": known.map(|k| k.name.as_str()).filter(|n| !n.is_empty()).unwrap_or(id),
        "presence": a.presence.as_str(),
        "presence_name": a.named.as_deref().unwrap_or(a.presence.as_str()),
        "load": units(a.load),
        "wraps_up_until": a.wrap_until,
        "capacity": known.map(|k| units(k.capacity)),
        "skills": known.map(|k| &k.skills),
        "offers": a.offers,
        "conversations": a.conversations,
    })
}

pub(super) fn queue(id: &str, q: &QueueView, now: Timestamp) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    let level = (q.due > 0).then(|| q.in_time as f64 / q.due as f64);
    json!({
        "id": id,
        "depth": q.depth,
        "oldest_wait_ms": q.oldest_since.map(|t| now.since(t).max(0)),
        "offered": q.offered,
        "sla": level.map(|l| json!({ "level": l, "in_time": q.in_time, "due": q.due })),
    })
}

pub(super) async fn channel(id: &str, c: &ChannelView, state: &ApiState) -> Value {
    // Why it is paused is what its attempts met.
    let sending = if c.paused.is_none() { state.backend().sending_trouble(id).await } else { None };
    let receiving = state.backend().receiving_trouble(id);
    let trouble = sending.as_ref().or(receiving.as_ref());
    let state = if c.paused.is_some() {
        "paused"
    } else if c.unheard {
        "unheard"
    } else if c.silent_since.is_some() {
        "down"
    } else if c.probe_at.is_some() {
        "probing"
    } else if trouble.is_some() {
        "failing"
    } else {
        "up"
    };
    json!({
        "id": id, "kind": c.kind, "state": state, "paused_reason": c.paused, "failures": c.failures, "probe_at": c.probe_at,
        "silent_since": c.silent_since, "trouble": trouble, "receiving_trouble": receiving,
        "sending_trouble": sending, "then": c.paused.as_ref().map(|_| resume_command(id)),
    })
}

/// A reason in words, where the provider gave none.
fn dead_words(reason: DeadReason) -> &'static str {
    match reason {
        DeadReason::Rejected => "the provider refused it",
        DeadReason::Unknown => {
            "it may have been sent: the provider's answer was lost, and only a person can decide to send it again"
        }
        DeadReason::Expired => "its time passed before the provider took it",
        DeadReason::ChannelRemoved => "its channel is not configured any more",
        DeadReason::Failed => "the provider took it, and said later that it will not arrive",
    }
}

pub(super) fn dead_letter(d: &DeadLetter) -> Value {
    json!({
        "id": d.message.id,
        "message": d.message.id,
        "conversation": d.message.conversation,
        "channel": d.channel,
        "to": d.message.to.as_ref().map(|a| a.value.as_str()),
        "text": d.message.text,
        "reason": d.reason.as_str(),
        "code": d.message.code,
        "detail": d.message.detail.as_deref().unwrap_or_else(|| dead_words(d.reason)),
        "at": d.at,
    })
}
