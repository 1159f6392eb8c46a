//! Why a message went where it went: the rules run again over what the decision saw, with the pack that decided.

use super::input::{Params, Path};
use super::told::{Story, moved};
use super::waiting::{self, passed_words};
use super::{ApiState, views};
use crate::history::{Considering, Direction, Facts, Message, Status};
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use http::Uri;
use serde_json::{Map, Value, json};
use switchboard_routing_rules::event::{NoReply, Why};
use switchboard_routing_rules::ids::ConvId;
use switchboard_routing_rules::pack::{ConvStatus, RuleTrace, SeenMessage};
use switchboard_routing_rules::waiting::Waiting;

/// What became of it afterwards, as far as it is told.
const MOVES: usize = 20;

/// `GET /messages/{id}/explain`; the id `last` is the newest message of a customer.
pub(super) async fn explain(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::of(&uri).finish()?;
    let none = || Problem::not_found("there is no such message");
    let history = state.history().await;
    let found = if id == "last" { history.last_inbound().await? } else { history.message(id.clone()).await? };
    let message = found.ok_or_else(|| match id.as_str() {
        "last" => Problem::not_found("nothing was written yet: there is no message to explain"),
        _ => none(),
    })?;
    match history.facts(message.seq).await? {
        Some(facts) => decided(&state, &message, &facts).await,
        None if message.direction == Direction::In => unasked(&state, message.conversation, Some(&message)).await,
        None => Err(Problem::new(
            http::StatusCode::NOT_FOUND,
            "no_decision",
            "no decision was made about this message: rules run only for what a customer wrote",
        )),
    }
}

/// `GET /conversations/{id}/explain`: of the newest message of its customer; where they wrote nothing, who was considered for it.
pub(super) async fn of_conversation(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::of(&uri).finish()?;
    let none = || Problem::not_found("there is no such conversation");
    let id = ConvId::parse(&id).ok_or_else(none)?;
    let history = state.history().await;
    let (message, _) = history.heard_in(id).await?.ok_or_else(none)?;
    let Some(message) = message else { return unasked(&state, id, None).await };
    match history.facts(message.seq).await? {
        Some(facts) => decided(&state, &message, &facts).await,
        None => unasked(&state, id, Some(&message)).await,
    }
}

/// Where a conversation is that no rule was asked about: its customer wrote nothing, or wrote from an address that rules had blocked.
async fn unasked(state: &ApiState, id: ConvId, message: Option<&Message>) -> Result<Json<Value>, Problem> {
    let none = || Problem::not_found("there is no such conversation");
    let history = state.history().await;
    let (_, considering) = history.heard_in(id).await?.ok_or_else(none)?;
    let names = views::Names::of(state).await;
    let (c, _) = history.conversation(id).await?.ok_or_else(none)?;
    let waits = state.backend().waiting(id).await?;
    let why = match message {
        None => "the customer wrote nothing here",
        Some(_) => {
            "a rule had blocked the sender on this channel, and until somebody unblocks the contact, what comes from there \
             is kept, and neither routed nor answered"
        }
    };
    let mut told = vec![format!("No rule was asked: {why}.")];
    told.extend(considering.iter().map(|one| format!("At {}, {}", one.at, moved(one, "it", &names, None))));
    told.extend(waits.iter().flat_map(|w| waiting::sentences(w, &names, false)));
    let shown = considering.iter().rfind(|c| c.agent.is_some());
    let (rows, others) = considered(shown, waits.as_ref());
    Ok(Json(json!({
        "message": message.map(|m| &m.id),
        "conversation": id,
        "pack": null,
        "decided_at": null,
        "rules": [],
        "incomplete": null,
        "outcome": { "queue": c.queue, "agent": c.agent, "kept": true, "replies": [], "notices": [], "tags": c.tags,
            "priority": c.priority, "closed": c.state == ConvStatus::Closed, "snoozed_until": c.snoozed_until },
        "agents": rows,
        "others": others,
        "waiting": waits.as_ref().map(|w| waiting::view(w, &names)),
        "nobody_free": null,
        "later": considering.iter().map(later).collect::<Vec<_>>(),
        "facts": {},
        "sentences": told,
    })))
}

/// The agents whom an explanation shows, and how many more there are.
fn considered(shown: Option<&Considering>, waits: Option<&Waiting>) -> (Vec<Value>, usize) {
    match (waits, shown) {
        (Some(w), None) => waiting::agents(w),
        _ => (agents(shown), shown.map_or(0, |c| usize::try_from(c.considered.others).unwrap_or(usize::MAX))),
    }
}

async fn decided(state: &ApiState, message: &Message, facts: &Facts) -> Result<Json<Value>, Problem> {
    let pack = state.backend().pack(&facts.pack).await?;
    let names = views::Names::of(state).await;
    let seen = seen_message(message, facts);
    let traces = match (&pack, &seen, &facts.seen) {
        (Some(pack), Some(seen), Some(before)) => Some(pack.explain(seen, before)),
        _ => None,
    };
    let missing = if facts.seen.is_none() {
        Some("what the rules saw was erased with the person")
    } else if pack.is_none() {
        Some("the pack that decided is not kept any more")
    } else {
        None
    };
    let moves = Moves::of(facts);
    let shown = moves.chosen();
    // Whether it waits is asked of now, and only of the newest decision: what came of an older one is told by what followed.
    let waits = state.backend().waiting(message.conversation).await?;
    let since = state.history().await.moved_on(message, MOVES).await?;
    let story =
        Story { facts, traces: traces.as_deref(), missing, names: &names, since: &since, waits: waits.as_ref() };
    let mut told = story.sentences();
    told.extend(message.sender_proof.and_then(views::doubt));
    for (id, desk) in &facts.outcome.notices {
        let notice = state.history().await.message(id.clone()).await?;
        told.push(notified(desk, notice.and_then(|m| m.status)));
    }
    told.extend(waits.iter().flat_map(|w| waiting::sentences(w, &names, story.is_as_then())));
    let (rows, others) = considered(shown, waits.as_ref());
    Ok(Json(json!({
        "message": message.id,
        "conversation": message.conversation,
        "pack": facts.pack,
        "decided_at": facts.at,
        "rules": rules(traces.as_deref(), facts),
        "incomplete": missing,
        "outcome": outcome(facts),
        "agents": rows,
        "others": others,
        "waiting": waits.as_ref().map(|w| waiting::view(w, &names)),
        "nobody_free": moves.nobody().map(later),
        "later": moves.later.iter().map(|c| later(c)).collect::<Vec<_>>(),
        "facts": seen_facts(facts, seen.as_ref()),
        "sentences": told,
    })))
}

/// The message as the conditions saw it; `None` once it is erased.
pub(super) fn seen_message(message: &Message, facts: &Facts) -> Option<SeenMessage> {
    let about = facts.message.as_ref()?;
    Some(SeenMessage {
        channel: about.channel.clone(),
        kind: about.kind.clone(),
        public: about.public,
        text: message.text.clone()?,
        subject: message.subject.clone(),
        from: facts.from.as_ref().map(|a| a.value.clone()),
        to: about.to.clone(),
        authenticated: about.authenticated,
        language: about.language.clone(),
        has_attachment: message.attachments.iter().any(switchboard_envelope::Attachment::is_sent),
        automatic: about.automatic,
        choice: message.choice.as_ref().map(|c| c.id.clone()),
        meta: about.meta.clone(),
    })
}

fn rules(traces: Option<&[RuleTrace]>, facts: &Facts) -> Vec<Value> {
    let Some(traces) = traces else {
        // What hit is known even where nothing can be recomputed.
        return facts
            .hits
            .iter()
            .map(|h| json!({ "rule": h, "name": h, "matched": true, "hit": true, "skipped": false }))
            .collect();
    };
    traces
        .iter()
        .map(|t| {
            json!({
                "rule": t.rule, "name": t.rule, "place": t.place, "matched": t.matched, "hit": t.matched, "skipped": t.skipped,
                "failed": t.failed, "applied": t.applied, "superseded": t.superseded,
            })
        })
        .collect()
}

/// To whom the conversation went: with this message, and afterwards, until the customer wrote again.
pub(super) struct Moves<'f> {
    pub now: Vec<&'f Considering>,
    pub later: Vec<&'f Considering>,
}

impl Moves<'_> {
    pub fn of(facts: &Facts) -> Moves<'_> {
        let (now, later) = facts.considering.iter().partition(|c| c.at <= facts.at);
        Moves { now, later }
    }

    /// The choice whose agents are shown: this decision's, else the first that was made for the conversation it left waiting.
    pub fn chosen(&self) -> Option<&Considering> {
        let chose = |c: &&&Considering| c.agent.is_some();
        let later = || self.later.iter().filter(chose).find(|c| !by_hand(c.why.as_ref()));
        self.now.iter().rfind(chose).or_else(later).copied()
    }

    /// The comparison that found nobody, when the message was decided.
    pub fn nobody(&self) -> Option<&Considering> {
        self.now.iter().find(|c| c.agent.is_none()).copied()
    }
}

/// A person chose, and nobody was compared.
fn by_hand(why: Option<&Why>) -> bool {
    matches!(why, Some(Why::Taken | Why::Accepted | Why::Transferred))
}

pub(super) fn later(c: &Considering) -> Value {
    json!({
        "at": c.at, "agent": c.agent, "offered": c.offered, "why": c.why.as_ref().map(views::why_words),
        "by": c.by, "from": c.from, "agents": agents(Some(c)), "others": c.considered.others,
    })
}

/// Whether the decision left the conversation where it was.
pub(super) fn kept(facts: &Facts) -> bool {
    let o = &facts.outcome;
    o.queue.is_none() && o.agent.is_none() && !o.closed && o.snoozed_until.is_none()
}

pub(super) fn outcome(facts: &Facts) -> Value {
    let o = &facts.outcome;
    let before = facts.seen.as_ref().filter(|s| kept(facts) && !s.new);
    let owner = before.filter(|s| s.state == Some(ConvStatus::Assigned)).and_then(|s| s.contact_agent.as_ref());
    let replies: Vec<Value> = o.replies.iter().map(|(id, rule)| json!({ "message": id, "rule": rule })).collect();
    json!({
        "queue": o.queue.as_ref().or(before.and_then(|s| s.queue.as_ref())),
        "agent": o.agent.as_ref().or(owner),
        "kept": before.is_some(),
        "replies": replies,
        "notices": o.notices.iter().map(|(id, desk)| json!({ "message": id, "desk": desk })).collect::<Vec<_>>(),
        "tags": o.tags,
        "priority": o.priority,
        "closed": o.closed,
        "snoozed_until": o.snoozed_until,
    })
}

fn agents(shown: Option<&Considering>) -> Vec<Value> {
    let Some(c) = shown else { return vec![] };
    let how = if c.offered { "it was offered to them" } else { "it was assigned to them" };
    let chosen = c.agent.iter().map(|agent| json!({ "agent": agent, "chosen": true, "reason": how }));
    let mut rows: Vec<Value> = chosen.collect();
    rows.extend(
        c.considered
            .passed
            .iter()
            .filter(|(agent, _)| Some(agent) != c.agent.as_ref())
            .map(|(agent, why)| json!({ "agent": agent, "chosen": false, "reason": passed_words(why) })),
    );
    rows
}

pub(super) fn seen_facts(facts: &Facts, message: Option<&SeenMessage>) -> Value {
    let mut map = Map::new();
    if let Some(m) = message {
        let fields = [
            ("channel", json!(m.channel)),
            ("kind", json!(m.kind)),
            ("visibility", json!(if m.public { "public" } else { "private" })),
            ("text", json!(m.text)),
            ("subject", json!(m.subject)),
            ("from", json!(m.from)),
            ("to", json!(m.to)),
            ("authenticated", json!(m.authenticated)),
            ("language", json!(m.language)),
            ("has_attachment", json!(m.has_attachment)),
            ("automatic", json!(m.automatic)),
            ("choice", json!(m.choice)),
            ("meta", json!(m.meta)),
        ];
        map.extend(fields.into_iter().map(|(k, v)| (k.to_owned(), v)));
    }
    if let Some(s) = &facts.seen {
        let fields = [
            ("time", json!(s.now)),
            ("new", json!(s.new)),
            ("state", json!(s.state)),
            ("queue", json!(s.queue)),
            ("priority", json!(s.priority)),
            ("tags", json!(s.tags)),
            ("attributes", json!(s.attributes)),
            ("age_ms", json!(s.age_ms)),
            ("messages", json!(s.messages)),
            ("silence_ms", json!(s.silence_ms)),
            ("contact.identities", json!(s.contact_identities)),
            ("contact.name", json!(s.contact_name)),
            ("contact.tags", json!(s.contact_tags)),
            ("contact.attributes", json!(s.contact_attributes)),
            ("contact.consent", json!(s.contact_consent)),
            ("contact.open", json!(s.contact_open)),
            ("contact.agent", json!(s.contact_agent)),
        ];
        map.extend(fields.into_iter().map(|(k, v)| (k.to_owned(), v)));
    }
    map.retain(|_, v| !v.is_null());
    Value::Object(map)
}

pub(crate) fn no_reply_words(why: NoReply) -> &'static str {
    match why {
        NoReply::Automatic => "a machine wrote the message",
        NoReply::ConversationBudget => "the conversation has had its automatic replies for today",
        NoReply::PingPong => {
            "a machine seems to answer: each of the replies before was answered at once or in the same words"
        }
        NoReply::AddressBudget => "the address has had its automatic replies for today",
        NoReply::OptedOut => "the customer opted out",
        NoReply::Answered => "something else was said to the customer at the same time",
        NoReply::Template => "the reply needs a value that is missing, or comes to no text",
        NoReply::TooLong => "the reply is longer than the channel takes",
        NoReply::Rebased => "the message came before the log was rebased, and may have been answered then",
        NoReply::Unwanted => "the message asks for no automatic answer",
        NoReply::Quiet => "a machine wrote last, or what was written last asks for no automatic answer",
        NoReply::Disproved => "its sender was disproved, and who may not have written is not written to",
        NoReply::Guest => "somebody else than the conversation's customer wrote",
        NoReply::OutsideWindow => "the provider takes no answer so long after the message",
        NoReply::NoChannel => "the channel is not configured any more",
    }
}

/// `It was told at the desk team-slack.`
fn notified(desk: &str, status: Option<Status>) -> String {
    match status {
        Some(Status::Received | Status::Accepted | Status::Delivered | Status::Read) => {
            format!("The desk {desk} was told.")
        }
        Some(Status::Queued | Status::Sending) => format!("The desk {desk} is being told."),
        Some(Status::Unknown) => format!("The desk {desk} may have been told: nothing came back."),
        Some(Status::Rejected) => format!("The desk {desk} could not be told: it refused the notice."),
        Some(Status::Failed | Status::Dead) | None => format!("The desk {desk} could not be told."),
    }
}
