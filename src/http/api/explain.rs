//! Why a message went where it went: the rules run again over what the decision saw, with the pack that decided.

use super::input::{Params, Path};
use super::waiting::{self, passed_words};
use super::{ApiState, views};
use crate::history::{Considering, Facts, Message, Status};
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use http::Uri;
use serde_json::{Map, Value, json};
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{NoReply, Why};
use switchboard_routing_rules::ids::ConvId;
use switchboard_routing_rules::pack::{ConvStatus, Name, RuleTrace, SeenMessage};
use switchboard_routing_rules::waiting::Waiting;

/// Moves from queue to queue that are told at most.
const MOVES: usize = 10;

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
    let facts = history.facts(message.seq).await?.ok_or_else(|| {
        Problem::new(
            http::StatusCode::NOT_FOUND,
            "no_decision",
            "no decision was made about this message: rules run only for what a customer wrote",
        )
    })?;
    decided(&state, &message, &facts).await
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
    let (message, considering) = history.heard_in(id).await?.ok_or_else(none)?;
    if let Some(message) = message
        && let Some(facts) = history.facts(message.seq).await?
    {
        return decided(&state, &message, &facts).await;
    }
    let names = views::Names::of(&state).await;
    let (c, _) = history.conversation(id).await?.ok_or_else(none)?;
    let waits = state.backend().waiting(id).await?;
    let mut told = vec!["No rule was asked: there is nothing here that a customer wrote and rules decided.".to_owned()];
    told.extend(considering.iter().map(|one| format!("At {}, {}", one.at, moved(one, "it", &names))));
    told.extend(waits.iter().flat_map(waiting::sentences));
    let shown = considering.iter().rfind(|c| c.agent.is_some());
    let (rows, others) = considered(shown, waits.as_ref());
    Ok(Json(json!({
        "message": null,
        "conversation": id,
        "pack": null,
        "decided_at": null,
        "rules": [],
        "incomplete": null,
        "outcome": { "queue": c.queue, "agent": c.agent, "kept": true, "replies": [], "notices": [], "tags": c.tags,
            "priority": c.priority, "closed": c.state == ConvStatus::Closed, "snoozed_until": c.snoozed_until },
        "agents": rows,
        "others": others,
        "waiting": waits.as_ref().map(waiting::view),
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
    let moved_on = state.history().await.moved_on(message, MOVES).await?;
    let mut told = sentences(facts, traces.as_deref(), missing, &names, &moved_on);
    told.extend(message.sender_proof.and_then(views::doubt));
    for (id, desk) in &facts.outcome.notices {
        let notice = state.history().await.message(id.clone()).await?;
        told.push(notified(desk, notice.and_then(|m| m.status)));
    }
    told.extend(waits.iter().flat_map(waiting::sentences));
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
        "waiting": waits.as_ref().map(waiting::view),
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
struct Moves<'f> {
    now: Vec<&'f Considering>,
    later: Vec<&'f Considering>,
}

impl Moves<'_> {
    fn of(facts: &Facts) -> Moves<'_> {
        let (now, later) = facts.considering.iter().partition(|c| c.at <= facts.at);
        Moves { now, later }
    }

    /// The choice whose agents are shown: this decision's, else the first that was made for the conversation it left waiting.
    fn chosen(&self) -> Option<&Considering> {
        let chose = |c: &&&Considering| c.agent.is_some();
        let later = || self.later.iter().filter(chose).find(|c| !by_hand(c.why.as_ref()));
        self.now.iter().rfind(chose).or_else(later).copied()
    }

    /// The comparison that found nobody, when the message was decided.
    fn nobody(&self) -> Option<&Considering> {
        self.now.iter().find(|c| c.agent.is_none()).copied()
    }
}

/// A person chose, and nobody was compared.
fn by_hand(why: Option<&Why>) -> bool {
    matches!(why, Some(Why::Taken | Why::Accepted | Why::Transferred))
}

fn later(c: &Considering) -> Value {
    json!({
        "at": c.at, "agent": c.agent, "offered": c.offered, "why": c.why.as_ref().map(views::why_words),
        "agents": agents(Some(c)), "others": c.considered.others,
    })
}

/// Whether the decision left the conversation where it was.
fn kept(facts: &Facts) -> bool {
    let o = &facts.outcome;
    o.queue.is_none() && o.agent.is_none() && !o.closed && o.snoozed_until.is_none()
}

fn outcome(facts: &Facts) -> Value {
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

fn seen_facts(facts: &Facts, message: Option<&SeenMessage>) -> Value {
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
        NoReply::Template => "the reply needs a value that is missing",
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

/// The decision as one would tell it, and what came of it: who was asked, and from queue to queue where it waited.
fn sentences(
    facts: &Facts,
    traces: Option<&[RuleTrace]>,
    missing: Option<&str>,
    names: &views::Names,
    moved_on: &[Message],
) -> Vec<String> {
    let mut out = vec![];
    let considered = traces.map(|t| t.iter().filter(|r| !r.skipped).count());
    match (facts.hits.as_slice(), considered) {
        ([], Some(1)) => out.push("The only rule that was asked did not match.".into()),
        ([], Some(n)) => out.push(format!("None of the {n} rules matched.")),
        ([], None) => out.push("No rule matched.".into()),
        ([one], _) => out.push(format!("The rule “{one}” matched.")),
        (many, _) => out.push(format!("The rules “{}” matched.", many.join("”, “"))),
    }
    let o = &facts.outcome;
    if let Some(queue) = &o.queue {
        out.push(match &facts.place {
            Some(Why::Default) => format!("The pack's default put it in the queue {queue}."),
            _ => format!("It was put in the queue {queue}."),
        });
    }
    if !o.tags.is_empty() {
        out.push(format!("It was tagged {}.", o.tags.iter().cloned().collect::<Vec<_>>().join(", ")));
    }
    if let Some(p) = o.priority {
        out.push(format!("Its priority became {}.", p.as_str()));
    }
    for (_, rule) in &o.replies {
        out.push(format!("“{rule}” answered it automatically."));
    }
    for (rule, why) in &facts.not_replied {
        out.push(format!("“{rule}” would have answered it, but {}.", no_reply_words(*why)));
    }
    if o.closed {
        out.push("The conversation was closed.".into());
    }
    if let Some(until) = o.snoozed_until {
        out.push(format!("The conversation was snoozed until {until}."));
    }
    let placing = |action: &String| action.starts_with("queue ") || action == "skills" || action == "overflow";
    let again = traces.is_some_and(|t| t.iter().any(|r| r.matched && r.applied.iter().any(placing)));
    out.extend(stayed(facts, again, names));
    let moves = Moves::of(facts);
    out.extend(moves.now.iter().map(|c| moved(c, "It", names)));
    let mut later: Vec<(Timestamp, String)> = moved_on.iter().filter_map(went_on).collect();
    later.extend(moves.later.iter().map(|c| (c.at, moved(c, "it", names))));
    // Of one moment the move comes first: who was asked there was asked for it.
    later.sort_by_key(|(at, _)| *at);
    out.extend(later.into_iter().map(|(at, said)| match at > facts.at {
        true => format!("Later, at {at}, {said}"),
        false => format!("Then {said}"),
    }));
    if let Some(why) = missing {
        out.push(format!("The conditions cannot be shown: {why}."));
    }
    out
}

/// `it went on to the queue everyone because it had waited too long.`
fn went_on(line: &Message) -> Option<(Timestamp, String)> {
    let event = line.event.as_ref()?;
    let (queue, why) = (event.queue.as_ref()?, event.why.as_ref()?);
    Some((line.at, format!("it went on to the queue {queue} {}.", views::why_words(why))))
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

/// `It was assigned to Ann; two others were passed over.` `it` is how the sentence calls the conversation.
fn moved(c: &Considering, it: &str, names: &views::Names) -> String {
    let called = |agent: &Name| names.get(agent).unwrap_or(agent).to_owned();
    let Some(name) = c.agent.as_ref().map(called) else { return nobody_took(c, it, called) };
    let passed = c.considered.passed.len() + usize::try_from(c.considered.others).unwrap_or(usize::MAX);
    let others = match passed {
        0 => String::new(),
        1 => "; one other agent was passed over".into(),
        n => format!("; {n} other agents were passed over"),
    };
    match (c.offered, &c.why) {
        (true, _) => format!("{it} was offered to {name}{others}."),
        (false, Some(Why::Taken)) => format!("{name} took it{others}."),
        (false, Some(Why::Accepted)) => format!("{name} accepted it{others}."),
        (false, Some(why @ Why::Strategy)) => {
            format!("{it} was assigned to {name}, {}{others}.", views::why_words(why))
        }
        (false, Some(why)) => format!("{it} was assigned to {name} {}{others}.", views::why_words(why)),
        (false, None) => format!("{it} was assigned to {name}{others}."),
    }
}

/// `Nobody could take it then: Ann is away, Bob has no room: 2 of 2 units taken, and 3 others.`
fn nobody_took(c: &Considering, it: &str, called: impl Fn(&Name) -> String) -> String {
    let mut why: Vec<String> =
        c.considered.passed.iter().map(|(agent, why)| format!("{} {}", called(agent), passed_words(why))).collect();
    match c.considered.others {
        0 => {}
        1 => why.push("and one other".into()),
        n => why.push(format!("and {n} others")),
    }
    let (nobody, then) = if it == "it" { ("nobody", "") } else { ("Nobody", " then") };
    match why.is_empty() {
        true => format!("{nobody} could take it{then}: the pack has no agents."),
        false => format!("{nobody} could take it{then}: {}.", why.join(", ")),
    }
}

/// Where a conversation stays that a message did not move.
fn stayed(facts: &Facts, again: bool, names: &views::Names) -> Option<String> {
    let seen = facts.seen.as_ref().filter(|s| kept(facts) && !s.new)?;
    let owner = seen.contact_agent.as_ref().map(|id| names.get(id).unwrap_or(id));
    Some(match seen.state? {
        ConvStatus::Assigned => format!("It stays with {}, who has the conversation.", owner.unwrap_or("its agent")),
        ConvStatus::Offered => "It stays with the agent to whom the conversation is offered.".into(),
        ConvStatus::Queued => match &seen.queue {
            Some(queue) if again => {
                format!("It stays in the queue {queue}: the rules choose for it what they chose before.")
            }
            Some(queue) => format!("It keeps its place in the queue {queue}."),
            None => "It keeps its place.".into(),
        },
        ConvStatus::Pending | ConvStatus::Snoozed | ConvStatus::Closed => {
            format!("The conversation stays {}: a machine wrote the message.", seen.state?.as_str())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::FactsOutcome;
    use switchboard_routing_rules::event::{Considered, PassedOver};
    use switchboard_routing_rules::pack::{Priority, SeenState};

    const NOW: Timestamp = Timestamp(1_795_219_200_000);

    fn facts(state: Option<ConvStatus>) -> Facts {
        let seen = SeenState {
            now: NOW,
            new: state.is_none(),
            state,
            queue: state.map(|_| "billing".to_owned()),
            contact_agent: Some("ann".to_owned()),
            ..SeenState::default()
        };
        Facts {
            pack: "p".into(),
            at: NOW,
            hits: vec![],
            place: None,
            seen: Some(seen),
            message: None,
            from: None,
            considering: vec![],
            not_replied: vec![],
            outcome: FactsOutcome::default(),
        }
    }

    fn told(facts: &Facts) -> Vec<String> {
        let names = views::Names::of_test(&[("ann", "Ann"), ("bob", "Bob")]);
        let mut told = sentences(facts, None, None, &names, &[]);
        assert_eq!(told.remove(0), "No rule matched.");
        told
    }

    #[test]
    fn who_was_moved_stays_there_while_the_rules_choose_the_same() {
        let facts = Facts { hits: vec!["VIP".into()], ..facts(Some(ConvStatus::Queued)) };
        let trace = RuleTrace {
            rule: "VIP".into(),
            place: "a.yaml:1".into(),
            matched: true,
            skipped: false,
            failed: None,
            applied: vec!["queue vip".into()],
            superseded: vec![],
        };
        let told = sentences(&facts, Some(&[trace]), None, &views::Names::of_test(&[]), &[]);
        let stays = "It stays in the queue billing: the rules choose for it what they chose before.";
        assert_eq!(told, ["The rule “VIP” matched.", stays]);
    }

    #[test]
    fn the_facts_tell_the_priority_that_it_had_where_it_was_kept() {
        let mut facts = facts(Some(ConvStatus::Queued));
        assert_eq!(seen_facts(&facts, None).get("priority"), None);
        facts.seen = facts.seen.map(|seen| SeenState { priority: Some(Priority::High), ..seen });
        assert_eq!(seen_facts(&facts, None)["priority"], json!("high"));
    }

    #[test]
    fn where_it_went_on_to_is_told_among_who_was_asked_for_it() {
        use crate::history::{Direction, EventLine, Who};
        let line = |ms: i64, queue: &str, why: Why| Message {
            seq: 1,
            id: "e1".into(),
            conversation: crate::history::tests::conv(1),
            conversation_seq: 1,
            direction: Direction::Event,
            author: Who::Contact,
            text: None,
            subject: None,
            attachments: vec![],
            choice: None,
            choices: vec![],
            at: NOW.plus(ms),
            status: None,
            code: None,
            detail: None,
            to: None,
            client_id: None,
            resends: None,
            event: Some(EventLine {
                what: "queued".into(),
                queue: Some(queue.into()),
                why: Some(why),
                ..EventLine::default()
            }),
            sender_proof: None,
        };
        let count = Why::Headcount("fewer than 2 were in available (1)".into());
        let moved = [line(0, "late", count), line(60_000, "everyone", Why::Overflow)];
        let taken = Considering {
            at: NOW.plus(60_000),
            agent: Some("bob".into()),
            offered: false,
            why: Some(Why::Strategy),
            considered: Considered::default(),
        };
        let outcome = FactsOutcome { queue: Some("first".into()), ..FactsOutcome::default() };
        let facts = Facts { considering: vec![taken], outcome, ..facts(None) };
        let names = views::Names::of_test(&[("bob", "Bob")]);
        assert_eq!(
            sentences(&facts, None, None, &names, &moved)[1..],
            [
                "It was put in the queue first.",
                "Then it went on to the queue late because fewer than 2 were in available (1), of those who have its skills.",
                "Later, at 2026-11-21T00:01:00.000Z, it went on to the queue everyone because it had waited too long.",
                "Later, at 2026-11-21T00:01:00.000Z, it was assigned to Bob, who came first by the queue's order.",
            ]
        );
    }

    #[test]
    fn a_message_that_moves_nothing_says_where_the_conversation_stays() {
        for (state, sentence, agent) in [
            (ConvStatus::Assigned, "It stays with Ann, who has the conversation.", json!("ann")),
            (ConvStatus::Queued, "It keeps its place in the queue billing.", Value::Null),
            (ConvStatus::Offered, "It stays with the agent to whom the conversation is offered.", Value::Null),
            (ConvStatus::Closed, "The conversation stays closed: a machine wrote the message.", Value::Null),
        ] {
            let facts = facts(Some(state));
            assert_eq!(told(&facts), [sentence]);
            let came = outcome(&facts);
            assert_eq!((&came["queue"], &came["agent"], &came["kept"]), (&json!("billing"), &agent, &json!(true)));
        }
        let mut moved = facts(Some(ConvStatus::Assigned));
        moved.outcome.queue = Some("vip".into());
        assert_eq!(told(&moved), ["It was put in the queue vip."]);
        assert_eq!((&outcome(&moved)["agent"], &outcome(&moved)["kept"]), (&Value::Null, &json!(false)));
        assert_eq!(told(&facts(None)), Vec::<String>::new(), "a new conversation was nowhere before");
    }

    #[test]
    fn why_nobody_could_take_it_is_told_as_it_was_then() {
        let mut waited = facts(None);
        let full = PassedOver::Capacity { load: 200, capacity: 200 };
        let passed = vec![("ann".to_owned(), PassedOver::Away), ("bob".to_owned(), full)];
        let nobody = |after: i64, considered: &Considered| Considering {
            at: NOW.plus(after),
            agent: None,
            offered: false,
            why: None,
            considered: considered.clone(),
        };
        let many = Considered { chosen: None, passed, others: 3 };
        waited.considering = vec![nobody(0, &many), nobody(60_000, &Considered::default())];
        assert_eq!(
            told(&waited),
            [
                "Nobody could take it then: Ann is away, Bob has no room: 2 of 2 units taken, and 3 others.",
                "Later, at 2026-11-21T00:01:00.000Z, nobody could take it: the pack has no agents.",
            ]
        );
        let moves = Moves::of(&waited);
        assert!(moves.chosen().is_none(), "who could not take it was not chosen");
        assert_eq!(
            moves.nobody().map(later),
            Some(json!({
                "at": "2026-11-21T00:00:00.000Z", "agent": null, "offered": false, "why": null, "others": 3,
                "agents": [
                    { "agent": "ann", "chosen": false, "reason": "is away" },
                    { "agent": "bob", "chosen": false, "reason": "has no room: 2 of 2 units taken" },
                ],
            }))
        );
        // Whom it went to afterwards is shown as chosen, and why nobody took it stays.
        let took = Considering { agent: Some("bob".into()), why: Some(Why::Strategy), ..nobody(90_000, &many) };
        waited.considering.push(took);
        assert_eq!(Moves::of(&waited).chosen().map(|c| c.agent.as_deref()), Some(Some("bob")));
        assert!(told(&waited)[0].starts_with("Nobody could take it then: Ann is away"));
    }

    #[test]
    fn what_came_later_is_told_as_later() {
        let passed = |agent: &str| Considered {
            chosen: Some(agent.to_owned()),
            passed: vec![("cyn".to_owned(), PassedOver::Away)],
            others: 0,
        };
        let considering = |after: i64, agent: &str, why, considered| Considering {
            at: NOW.plus(after),
            agent: Some(agent.to_owned()),
            offered: false,
            why: Some(why),
            considered,
        };
        let mut waited = facts(None);
        waited.outcome.queue = Some("billing".into());
        waited.considering = vec![
            considering(60_000, "ann", Why::Strategy, passed("ann")),
            considering(90_000, "bob", Why::Transferred, Considered::default()),
        ];
        assert_eq!(
            told(&waited),
            [
                "It was put in the queue billing.",
                "Later, at 2026-11-21T00:01:00.000Z, it was assigned to Ann, who came first by the queue's order; one other agent was passed over.",
                "Later, at 2026-11-21T00:01:30.000Z, it was assigned to Bob by transfer.",
            ]
        );
        // The comparison of agents is the one that was made, not the transfer that compared nobody.
        let moves = Moves::of(&waited);
        assert_eq!(moves.chosen().map(|c| c.agent.as_deref()), Some(Some("ann")));
        assert_eq!(
            later(moves.later[1]),
            json!({
                "at": "2026-11-21T00:01:30.000Z", "agent": "bob", "offered": false, "why": "by transfer", "others": 0,
                "agents": [{ "agent": "bob", "chosen": true, "reason": "it was assigned to them" }],
            })
        );

        let mut at_once = waited;
        at_once.considering.insert(0, considering(0, "bob", Why::Strategy, passed("bob")));
        assert_eq!(Moves::of(&at_once).chosen().map(|c| c.agent.as_deref()), Some(Some("bob")));
        assert_eq!(
            told(&at_once)[1],
            "It was assigned to Bob, who came first by the queue's order; one other agent was passed over."
        );
    }
}
