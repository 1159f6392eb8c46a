//! Conversations and their messages.

use super::auth::Caller;
use super::input::{Fields, LONG, Params, Path, SHORT, cursor};
use super::table::Posted;
use super::{ApiState, views, waiting};
use crate::history::{Conversation, ConversationFilter};
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use switchboard_envelope::{Action, Address, Attachment, BlobRef, Choice, Content, Destination, Template, is_id};
use switchboard_routing_rules::ids::{ContactId, ConvId, MessageId};
use switchboard_routing_rules::pack::{ConvStatus, Priority};

/// Messages that a detail shows.
const LATEST: usize = 100;
/// The most people whom one identity names.
const ONE_IDENTITY: usize = 50;
const MAX_FILES: usize = 20;
const MAX_CHOICES: usize = 30;

const STATES: [ConvStatus; 6] = [
    ConvStatus::Queued,
    ConvStatus::Offered,
    ConvStatus::Assigned,
    ConvStatus::Pending,
    ConvStatus::Snoozed,
    ConvStatus::Closed,
];

fn no_conversation() -> Problem {
    Problem::not_found("there is no such conversation")
}

/// An id of the path as a command carries it: what cannot be an id needs no frame to be refused.
fn known_form(id: &str) -> Result<String, Problem> {
    ConvId::parse(id).map(|c| c.to_string()).ok_or_else(no_conversation)
}

async fn find(state: &ApiState, id: &str) -> Result<(Conversation, Option<crate::history::Contact>), Problem> {
    let id = ConvId::parse(id).ok_or_else(no_conversation)?;
    state.history().await.conversation(id).await?.ok_or_else(no_conversation)
}

pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let mut filter = ConversationFilter::default();
    for word in params.one("state").iter().flat_map(|s| s.split(',')) {
        match STATES.into_iter().find(|s| s.as_str() == word) {
            Some(s) => filter.states.push(s),
            None if word == "open" => filter.states.extend(STATES.into_iter().filter(|s| *s != ConvStatus::Closed)),
            None => params.fault("state", "must be queued, offered, assigned, pending, snoozed, closed or open"),
        }
    }
    (filter.queue, filter.agent, filter.channel) = (params.one("queue"), params.one("agent"), params.one("channel"));
    let contact = params.one("contact");
    let (limit, before) = (params.limit(), params.cursor("conversations"));
    params.finish()?;
    let history = state.history().await;
    if let Some(text) = contact {
        // Either an id or an identity such as `phone:+15551230001`, which can be of several people, each within an account.
        filter.contacts = match ContactId::parse(&text) {
            Some(id) => vec![history.contact(id).await?.map_or(id, |c| c.id)],
            None => history
                .contacts(Some(state.backend().spelt(text)), None, ONE_IDENTITY)
                .await?
                .items
                .iter()
                .map(|c| c.id)
                .collect(),
        };
        if filter.contacts.is_empty() {
            return Ok(Json(json!({ "conversations": [], "next": null })));
        }
    }
    let page = history.conversations(filter, before, limit).await?;
    let now = state.backend().state();
    let mut rows = Vec::with_capacity(page.items.len());
    for (c, p) in &page.items {
        rows.push(views::whole(c, p.as_ref(), &now, &state).await);
    }
    Ok(Json(json!({ "conversations": rows, "next": cursor("conversations", page.next) })))
}

pub(super) async fn detail(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::of(&uri).finish()?;
    let (conversation, contact) = find(&state, &id).await?;
    let latest = state.history().await.messages(conversation.seq, None, LATEST).await?;
    let names = views::Names::of(&state).await;
    let messages: Vec<Value> =
        latest.items.iter().rev().map(|m| views::message(m, contact.as_ref(), &names, &state)).collect();
    let now = state.backend().state();
    let mut value = views::whole(&conversation, contact.as_ref(), &now, &state).await;
    let waits = state.backend().waiting(conversation.id).await?;
    if let Some(map) = value.as_object_mut() {
        map.insert("waiting".into(), waits.as_ref().map_or(Value::Null, |w| waiting::view(w, &names)));
        map.insert("messages".into(), Value::Array(messages));
    }
    Ok(Json(value))
}

pub(super) async fn messages(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let (limit, before) = (params.limit(), params.cursor("messages"));
    params.finish()?;
    let (conversation, contact) = find(&state, &id).await?;
    let page = state.history().await.messages(conversation.seq, before, limit).await?;
    let names = views::Names::of(&state).await;
    let rows: Vec<Value> = page.items.iter().map(|m| views::message(m, contact.as_ref(), &names, &state)).collect();
    Ok(Json(json!({ "messages": rows, "next": cursor("messages", page.next) })))
}

pub(super) async fn message(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::of(&uri).finish()?;
    let found =
        state.history().await.message(id).await?.ok_or_else(|| Problem::not_found("there is no such message"))?;
    let (_, contact) = find(&state, &found.conversation.to_string()).await?;
    let mut value = views::message(&found, contact.as_ref(), &views::Names::of(&state).await, &state);
    if let Some(map) = value.as_object_mut() {
        map.insert("conversation".into(), json!(found.conversation));
    }
    Ok(Json(value))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let conversation = known_form(&id)?;
    let f = &mut posted.fields;
    let tags = f.strings("tags");
    let priority = f.optional("priority", SHORT);
    if priority.as_deref().is_some_and(|p| Priority::parse(p).is_none()) {
        f.fault("priority", "must be low, normal, high or urgent");
    }
    let attributes = f.map("attributes");
    posted.act(&state, Action::Update { conversation, tags, priority, attributes }).await
}

pub(super) async fn reply(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let conversation = known_form(&id)?;
    let actor = posted.actor()?;
    let f = &mut posted.fields;
    let files = attachments(f);
    let needed = files.is_empty() && !f.has("template");
    let text = if needed { f.text("text", LONG) } else { f.optional("text", LONG).unwrap_or_default() };
    let (choices, template) = (choices(f), template(f));
    let (take, seen) = (f.flag("take"), f.optional("seen", SHORT));
    if seen.as_deref().is_some_and(|s| MessageId::parse(s).is_none()) {
        f.fault("seen", "is no message's id");
    }
    posted.fields.finish()?;
    let attachments = super::attachments::stored(&state, &conversation, files).await?;
    let content = Content { text, attachments, choices, template, ..Content::default() };
    state
        .backend()
        .fits(&conversation, &content)
        .map_err(|why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "does_not_fit", why))?;
    // Of a conversation that nobody knows the router says so.
    if let Ok((channel, _)) = super::attachments::scope(&state, &conversation).await {
        fits(&state, &channel, &switchboard_envelope::numbered(&content.text, &content.choices))?;
    }
    let Content { text, attachments, choices, template, .. } = content;
    let reply = Action::Reply { conversation, text, attachments, choices, template, take, seen };
    state.act(posted.once, actor, reply).await
}

/// Refuses what the channel would refuse for its price. Characters are the router's to count; what a text costs in segments only the
/// channel's adapter knows, which the router does not see.
fn fits(state: &ApiState, channel: &str, text: &str) -> Result<(), Problem> {
    match state.backend().measure(channel, text).filter(|m| m.segments > m.most) {
        None => Ok(()),
        Some(m) => {
            let detail = format!(
                "the text needs {} segments ({}), channel `{channel}` sends at most {}: shorten it, or raise `max_segments`",
                m.segments, m.encoding, m.most
            );
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "too_long", detail))
        }
    }
}

/// What the customer may choose from; the label stands for an id that is left out.
fn choices(f: &mut Fields) -> Vec<Choice> {
    let rows = f.objects("choices");
    if rows.len() > MAX_CHOICES {
        f.fault("choices", format!("more than {MAX_CHOICES} choices"));
        return vec![];
    }
    let mut out: Vec<Choice> = vec![];
    for (i, mut row) in rows.into_iter().enumerate() {
        let label = row.text("label", SHORT);
        let id = row.optional("id", SHORT).unwrap_or_else(|| label.clone());
        // Either could not be told from the other when it comes back.
        if out.iter().any(|c| c.id == id || c.shown().to_lowercase() == label.to_lowercase()) {
            row.fault("label", "is the same choice as another");
        }
        if label.chars().any(char::is_control) {
            row.fault("label", "must be one line");
        }
        out.push(Choice { id, label: Some(label) });
        f.adopt(&format!("choices\u{1}{i}"), row);
    }
    out
}

/// A text that the provider approved.
fn template(f: &mut Fields) -> Option<Template> {
    let mut row = f.object("template")?;
    let template = Template {
        name: row.text("name", SHORT),
        language: row.text("language", SHORT),
        values: row.strings("values").unwrap_or_default(),
        category: row.optional("category", SHORT),
    };
    f.adopt("template", row);
    Some(template)
}

/// Files as `POST /attachments` answered them.
fn attachments(f: &mut Fields) -> Vec<Attachment> {
    let rows = f.objects("attachments");
    if rows.len() > MAX_FILES {
        f.fault("attachments", format!("more than {MAX_FILES} files"));
        return vec![];
    }
    let mut out = vec![];
    for (i, mut row) in rows.into_iter().enumerate() {
        let (id, name, mime) = (row.text("id", SHORT), row.text("name", SHORT), row.text("mime", SHORT));
        // What the upload answered may be sent back as it is; the size is taken from the file itself.
        let _ = row.ignore("size");
        out.push(Attachment { name, mime, size: 0, blob: Some(BlobRef(id)), ..Attachment::default() });
        f.adopt(&format!("attachments\u{1}{i}"), row);
    }
    out
}

pub(super) async fn note(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let conversation = known_form(&id)?;
    let text = posted.fields.text("text", LONG);
    posted.act(&state, Action::Note { conversation, text }).await
}

/// A command that needs nothing but the conversation.
async fn plain(state: ApiState, id: &str, posted: Posted, action: fn(String) -> Action) -> Result<Response, Problem> {
    posted.act(&state, action(known_form(id)?)).await
}

pub(super) async fn take(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    plain(state, &id, posted, |conversation| Action::Take { conversation }).await
}

/// The agent is writing: a hint for the customer, which is neither stored nor promised.
pub(super) async fn typing(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<StatusCode, Problem> {
    let conversation = ConvId::parse(&id).ok_or_else(no_conversation)?;
    let actor = posted.actor()?;
    posted.fields.finish()?;
    state.backend().agent_typing(conversation, actor.agent.as_deref());
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn close(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    plain(state, &id, posted, |conversation| Action::Close { conversation }).await
}

pub(super) async fn reopen(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    plain(state, &id, posted, |conversation| Action::Reopen { conversation }).await
}

/// Where something goes: `agent` here is the destination, and whoever asks is the caller itself.
fn destination(f: &mut Fields) -> Option<Destination> {
    let (queue, agent) = (f.optional("queue", SHORT), f.optional("agent", SHORT));
    match (queue, agent) {
        (Some(q), None) if is_id(&q) => Some(Destination::Queue(q)),
        (None, Some(a)) if is_id(&a) => Some(Destination::Agent(a)),
        (None, None) => None,
        (Some(_), Some(_)) => {
            f.fault("agent", "give either a queue or an agent");
            None
        }
        (q, _) => {
            f.fault(if q.is_some() { "queue" } else { "agent" }, "is no id");
            None
        }
    }
}

pub(super) async fn transfer(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let conversation = known_form(&id)?;
    let actor = posted.caller.actor(None)?;
    let f = &mut posted.fields;
    let given = f.has("queue") || f.has("agent");
    let to = destination(f);
    if !given {
        f.fault("queue", "is missing: give a queue or an agent");
    }
    posted.fields.finish()?;
    let Some(to) = to else { return Err(Problem::bad("bad_json", "give a queue or an agent")) };
    state.act(posted.once, actor, Action::Transfer { conversation, to }).await
}

pub(super) async fn snooze(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let conversation = known_form(&id)?;
    let now = state.backend().now();
    let f = &mut posted.fields;
    let given = f.has("until");
    let until = f.time("until");
    if !given {
        f.fault("until", "is missing");
    }
    if until.is_some_and(|u| u <= now) {
        f.fault("until", "must be in the future");
    }
    // What is missing or in the past goes no further than the faults that were noted.
    posted.act(&state, Action::Snooze { conversation, until: until.unwrap_or(now) }).await
}

/// Starts a conversation from our side.
pub(super) async fn start(State(state): State<ApiState>, mut posted: Posted) -> Result<Response, Problem> {
    let f = &mut posted.fields;
    let to_channel = f.text("channel", SHORT);
    let text = f.text("text", LONG);
    let subject = f.optional("subject", SHORT);
    let destination = destination(f);
    let mut to = Address::new("", "");
    match f.object("to") {
        Some(mut inner) => {
            (to.kind, to.value) = (inner.text("kind", 32), inner.text("value", 512));
            to.name = inner.optional("name", SHORT);
            f.adopt("to", inner);
        }
        None => f.fault("to", "must be an object with kind and value"),
    }
    if !to.kind.is_empty()
        && !to.value.is_empty()
        && let Err(why) = state.backend().reaches(&to_channel, &to)
    {
        f.fault("to\u{1}value", why);
    }
    fits(&state, &to_channel, &text)?;
    let to = state.backend().canonical(&to_channel, to);
    posted.act_as_caller(&state, Action::Start { to_channel, to, subject, text, destination }).await
}

/// Who asks, for handlers that only read.
pub(super) type Who = axum::Extension<Caller>;
