//! Conversations: listing, reading and answering them.

use super::admin::{Limit, ROWS, done};
use super::api::{Api, encoded};
use super::list::{Common, List, address, ago, first, lookup, since, text};
use super::screen::{Screen, plain};
use super::{ConfigArg, Done};
use crate::config::Environment;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Conversations {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<ConversationsCommand>,
}

#[derive(Clone, Debug, Args)]
struct ConversationFilter {
    /// queued, offered, assigned, pending, snoozed, closed or open
    #[arg(long)]
    state: Option<String>,
    #[arg(long)]
    queue: Option<String>,
    #[arg(long)]
    agent: Option<String>,
    #[arg(long)]
    channel: Option<String>,
    /// A contact's id
    #[arg(long)]
    contact: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Subcommand)]
enum ConversationsCommand {
    /// List them, newest first (the default)
    List(ConversationFilter),
    /// Show one with its messages
    Show { id: String },
    /// Answer the customer
    Reply {
        id: String,
        text: String,
        /// Answer although another agent has it
        #[arg(long)]
        take: bool,
        /// The agent for whom you answer
        #[arg(long)]
        agent: Option<String>,
    },
    /// Add a note that the customer does not see
    Note {
        id: String,
        text: String,
        #[arg(long)]
        agent: Option<String>,
    },
    /// Close it
    Close { id: String },
    /// Open it again
    Reopen { id: String },
    /// Hand it to a queue or an agent
    #[command(group = clap::ArgGroup::new("to").required(true))]
    Transfer {
        id: String,
        #[arg(long, group = "to")]
        queue: Option<String>,
        #[arg(long, group = "to")]
        agent: Option<String>,
    },
    /// Set it aside until a time, as 2026-11-23T09:00:00Z
    Snooze { id: String, until: String },
}

impl Conversations {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?;
        let common = &self.common;
        let (id, action, body, said) = match self.command {
            None => return list_conversations(&api, common, screen, None).await,
            Some(ConversationsCommand::List(filter)) => {
                return list_conversations(&api, common, screen, Some(filter)).await;
            }
            Some(ConversationsCommand::Show { id }) => return show_conversation(&api, common, screen, &id).await,
            Some(ConversationsCommand::Reply { id, text, take, agent }) => {
                let body = with_agent(json!({ "text": text, "take": take }), agent);
                (id, "reply", body, "the reply is on its way")
            }
            Some(ConversationsCommand::Note { id, text, agent }) => {
                (id, "note", with_agent(json!({ "text": text }), agent), "noted")
            }
            Some(ConversationsCommand::Close { id }) => (id, "close", json!({}), "closed"),
            Some(ConversationsCommand::Reopen { id }) => (id, "reopen", json!({}), "open again"),
            Some(ConversationsCommand::Transfer { id, queue: Some(queue), .. }) => {
                (id, "transfer", json!({ "queue": queue }), "transferred")
            }
            Some(ConversationsCommand::Transfer { id, agent, .. }) => {
                (id, "transfer", json!({ "agent": agent }), "transferred")
            }
            Some(ConversationsCommand::Snooze { id, until }) => (id, "snooze", json!({ "until": until }), "snoozed"),
        };
        let answer = api.post(&format!("/conversations/{}/{action}", encoded(&id)), body).await?;
        let sent = text(&answer, "id");
        let said = if action == "reply" && !sent.is_empty() { format!("{said}: {sent}") } else { said.to_owned() };
        done(&answer, common, screen, &said)
    }
}

fn with_agent(mut body: Value, agent: Option<String>) -> Value {
    if let (Some(agent), Some(map)) = (agent, body.as_object_mut()) {
        map.insert("agent".into(), agent.into());
    }
    body
}

async fn list_conversations(
    api: &Api,
    common: &Common,
    screen: &mut Screen,
    filter: Option<ConversationFilter>,
) -> Done {
    let limit = filter.as_ref().map_or(ROWS, |f| f.limit.limit);
    let mut query = vec![];
    if let Some(f) = filter {
        for (key, value) in
            [("state", f.state), ("queue", f.queue), ("agent", f.agent), ("channel", f.channel), ("contact", f.contact)]
        {
            query.extend(value.map(|v| (key, v)));
        }
    }
    let list = List { path: "/conversations", key: "conversations", query, limit, empty: "no conversations" };
    let heads = ["ID", "STATE", "WITH", "CHANNEL", "CONTACT", "SINCE", "LAST"];
    list.show(api, common, screen, &heads, |c, now| {
        vec![
            text(c, "id"),
            standing(c),
            first(c, &["agent", "offer.agent", "queue"]),
            text(c, "channel"),
            who(c),
            since(c, "opened_at", now),
            first(c, &["last_message.text", "subject"]),
        ]
    })
    .await
}

/// Its state, and its priority where that is not the usual one.
fn standing(conversation: &Value) -> String {
    match (text(conversation, "state"), text(conversation, "priority")) {
        (state, priority) if priority.is_empty() || priority == "normal" => state,
        (state, priority) => format!("{state}, {priority}"),
    }
}

fn who(conversation: &Value) -> String {
    let who = first(
        conversation,
        &["contact.name", "address.name", "address.value", "contact.identities", "thread", "contact.id", "contact"],
    );
    // Nobody knows a visitor by 32 letters; the console shows as many.
    match who.strip_prefix("visitor:") {
        Some(id) if !id.contains(',') => format!("visitor {}", id.chars().take(6).collect::<String>()),
        _ => who,
    }
}

async fn show_conversation(api: &Api, common: &Common, screen: &mut Screen, id: &str) -> Done {
    let c = api.get(&format!("/conversations/{}", encoded(id))).await?;
    if common.json {
        screen.out(&format!("{c:#}"));
        return Ok(());
    }
    let mut facts = vec![];
    for (name, value) in [
        ("state", text(&c, "state")),
        ("channel", text(&c, "channel")),
        ("contact", who(&c)),
        ("queue", text(&c, "queue")),
        ("agent", text(&c, "agent")),
        ("priority", text(&c, "priority")),
        ("tags", text(&c, "tags")),
        ("opened", ago(&c, "opened_at", screen.now)),
    ] {
        if !value.is_empty() {
            facts.push(format!("{name}: {}", plain(&value)));
        }
    }
    screen.out(&format!("{}  {}", plain(&text(&c, "id")), facts.join("  ")));
    for m in lookup(&c, "messages").as_array().into_iter().flatten() {
        screen.out("");
        screen.out(&message_head(m, screen));
        for line in text(m, "text").lines() {
            screen.out(&format!("  {}", plain(line)));
        }
        for a in lookup(m, "attachments").as_array().into_iter().flatten() {
            screen.out(&format!("  [{} {}]", plain(&text(a, "name")), plain(&text(a, "mime"))));
        }
    }
    Ok(())
}

/// `12:02  in  Ann  delivered`
fn message_head(m: &Value, screen: &Screen) -> String {
    let author = address(m, "author");
    let author = if author.is_empty() { first(m, &["author.agent", "author.rule", "author.kind"]) } else { author };
    let parts = [ago(m, "at", screen.now), text(m, "direction"), author, text(m, "status"), text(m, "detail")];
    let head: Vec<String> = parts.iter().map(|p| plain(p)).filter(|p| !p.is_empty()).collect();
    format!("{}  {}", head.join("  "), plain(&text(m, "id")))
}
