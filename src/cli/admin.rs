//! Administering a running daemon: each command is one request, or a few.

use super::api::{Api, encoded};
use super::list::{Common, List, address, ago, first, lookup, since, text};
use super::screen::{Screen, plain};
use super::{ConfigArg, Done, Failure};
use crate::config::Environment;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

/// How many rows a list shows unless told otherwise.
const ROWS: usize = 50;

#[derive(Clone, Debug, Args)]
pub(crate) struct Limit {
    /// The most rows to show
    #[arg(long, default_value_t = ROWS, value_parser = rows)]
    limit: usize,
}

fn rows(s: &str) -> Result<usize, String> {
    s.parse().ok().filter(|n| (1..=100_000).contains(n)).ok_or_else(|| "write a number from 1 to 100000".into())
}

/// Says what was done, or prints the API's answer.
fn done(answer: &Value, common: &Common, screen: &mut Screen, said: &str) -> Done {
    if common.json {
        screen.out(&format!("{answer:#}"));
    } else {
        screen.out(said);
    }
    Ok(())
}

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
    let heads = ["ID", "STATE", "CHANNEL", "CONTACT", "QUEUE", "AGENT", "PRIORITY", "SINCE", "LAST"];
    list.show(api, common, screen, &heads, |c, now| {
        vec![
            text(c, "id"),
            text(c, "state"),
            text(c, "channel"),
            who(c),
            text(c, "queue"),
            text(c, "agent"),
            text(c, "priority"),
            since(c, "opened_at", now),
            first(c, &["last_message.text", "subject"]),
        ]
    })
    .await
}

fn who(conversation: &Value) -> String {
    first(
        conversation,
        &["contact.name", "address.name", "address.value", "contact.identities", "thread", "contact.id", "contact"],
    )
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

#[derive(Debug, Args)]
pub(crate) struct Agents {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<AgentsCommand>,
}

#[derive(Debug, Subcommand)]
enum AgentsCommand {
    /// List them (the default)
    List,
    /// Say whether an agent takes conversations
    Presence {
        id: String,
        #[arg(value_enum)]
        presence: Presence,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Presence {
    Available,
    Away,
    Offline,
}

impl Agents {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?;
        if let Some(AgentsCommand::Presence { id, presence }) = self.command {
            let word = match presence {
                Presence::Available => "available",
                Presence::Away => "away",
                Presence::Offline => "offline",
            };
            let answer = api.put(&format!("/agents/{}/presence", encoded(&id)), json!({ "presence": word })).await?;
            return done(&answer, &self.common, screen, &format!("{id} is {word}"));
        }
        let list = List {
            path: "/agents",
            key: "agents",
            query: vec![],
            limit: 100_000,
            empty: "the rule pack has no agents",
        };
        let heads = ["ID", "NAME", "PRESENCE", "LOAD", "CAPACITY", "SKILLS"];
        let cells = |a: &Value, _| {
            vec![
                text(a, "id"),
                text(a, "name"),
                text(a, "presence"),
                text(a, "load"),
                text(a, "capacity"),
                text(a, "skills"),
            ]
        };
        list.show(&api, &self.common, screen, &heads, cells).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Queues {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<QueuesCommand>,
}

#[derive(Debug, Subcommand)]
enum QueuesCommand {
    /// List them (the default)
    List,
}

impl Queues {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?;
        let (None | Some(QueuesCommand::List)) = self.command;
        let list = List {
            path: "/queues",
            key: "queues",
            query: vec![],
            limit: 100_000,
            empty: "the rule pack has no queues",
        };
        let heads = ["ID", "WAITING", "OFFERED", "OLDEST", "SKILLS"];
        let cells = |q: &Value, now| {
            vec![text(q, "id"), text(q, "depth"), text(q, "offered"), since(q, "waiting_since", now), text(q, "skills")]
        };
        list.show(&api, &self.common, screen, &heads, cells).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Channels {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<ChannelsCommand>,
}

#[derive(Debug, Subcommand)]
enum ChannelsCommand {
    /// List them (the default)
    List,
    /// Send nothing through it until it is resumed; nothing is lost meanwhile
    Pause { id: String },
    /// Send again
    Resume { id: String },
}

impl Channels {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?;
        let (id, action, said) = match self.command {
            Some(ChannelsCommand::Pause { id }) => (id, "pause", "is paused"),
            Some(ChannelsCommand::Resume { id }) => (id, "resume", "sends again"),
            None | Some(ChannelsCommand::List) => {
                let list = List {
                    path: "/channels",
                    key: "channels",
                    query: vec![],
                    limit: 100_000,
                    empty: "no channels are configured",
                };
                let heads = ["ID", "KIND", "STATE", "WHY"];
                return list
                    .show(&api, &self.common, screen, &heads, |c, _| {
                        vec![
                            text(c, "id"),
                            text(c, "kind"),
                            channel_state(c),
                            first(c, &["detail", "reason", "pause_reason"]),
                        ]
                    })
                    .await;
            }
        };
        let answer = api.post(&format!("/channels/{}/{action}", encoded(&id)), json!({})).await?;
        done(&answer, &self.common, screen, &format!("{id} {said}"))
    }
}

fn channel_state(c: &Value) -> String {
    let state = first(c, &["state", "status"]);
    match lookup(c, "paused") {
        Value::Bool(true) => "paused".into(),
        Value::Bool(false) if state.is_empty() => "running".into(),
        _ => state,
    }
}

#[derive(Debug, Args)]
pub(crate) struct Contacts {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<ContactsCommand>,
}

#[derive(Debug, Subcommand)]
enum ContactsCommand {
    /// List them, or find one by an identity (the default)
    List {
        /// As phone:+15551230001
        #[arg(long)]
        identity: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one
    Show { id: String },
}

impl Contacts {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?;
        let (identity, limit) = match self.command {
            Some(ContactsCommand::Show { id }) => {
                let contact = api.get(&format!("/contacts/{}", encoded(&id))).await?;
                return if self.common.json {
                    done(&contact, &self.common, screen, "")
                } else {
                    show_fields(&contact, screen)
                };
            }
            Some(ContactsCommand::List { identity, limit }) => (identity, limit.limit),
            None => (None, ROWS),
        };
        let query = identity.into_iter().map(|i| ("identity", i)).collect();
        let list = List { path: "/contacts", key: "contacts", query, limit, empty: "no contacts" };
        let heads = ["ID", "NAME", "IDENTITIES", "TAGS"];
        list.show(&api, &self.common, screen, &heads, |c, _| {
            vec![text(c, "id"), text(c, "name"), text(c, "identities"), text(c, "tags")]
        })
        .await
    }
}

fn show_fields(value: &Value, screen: &mut Screen) -> Done {
    let Some(map) = value.as_object() else {
        return Err(Failure::Failed("the daemon's answer is not an object".into()));
    };
    for (key, value) in map {
        let shown = match value {
            Value::Object(map) => {
                map.iter().map(|(k, v)| format!("{k}={}", text(v, ""))).collect::<Vec<_>>().join(", ")
            }
            other => text(other, ""),
        };
        if !shown.is_empty() {
            screen.out(&format!("{key}: {}", plain(&shown)));
        }
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<DeadLettersCommand>,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    /// List them, newest first (the default)
    List(Limit),
    /// Send one again, at the end of its conversation; the customer may get it twice if its reason is `unknown`
    Resend { id: String },
    /// Give one up
    Drop { id: String },
}

impl DeadLetters {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?;
        let limit = match self.command {
            Some(DeadLettersCommand::Resend { id }) => {
                let answer = api.post(&format!("/dead-letters/{}/resend", encoded(&id)), json!({})).await?;
                return done(&answer, &self.common, screen, &format!("{id} is sent again"));
            }
            Some(DeadLettersCommand::Drop { id }) => {
                let answer = api.delete(&format!("/dead-letters/{}", encoded(&id))).await?;
                return done(&answer, &self.common, screen, &format!("{id} is given up"));
            }
            Some(DeadLettersCommand::List(limit)) => limit.limit,
            None => ROWS,
        };
        let list = List {
            path: "/dead-letters",
            key: "dead_letters",
            query: vec![],
            limit,
            empty: "no dead letters: everything was sent",
        };
        let heads = ["ID", "CHANNEL", "TO", "REASON", "CODE", "SINCE", "DETAIL"];
        list.show(&api, &self.common, screen, &heads, |d, now| {
            vec![
                text(d, "id"),
                text(d, "channel"),
                address(d, "to"),
                text(d, "reason"),
                text(d, "code"),
                since(d, "at", now),
                first(d, &["detail", "text"]),
            ]
        })
        .await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Quarantine {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<QuarantineCommand>,
}

#[derive(Debug, Subcommand)]
enum QuarantineCommand {
    /// List it, newest first (the default)
    List(Limit),
    /// Read one again, after a fix
    Retry { id: String },
}

impl Quarantine {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?;
        let limit = match self.command {
            Some(QuarantineCommand::Retry { id }) => {
                let answer = api.post(&format!("/quarantine/{}/retry", encoded(&id)), json!({})).await?;
                return done(&answer, &self.common, screen, &format!("{id} was read again"));
            }
            Some(QuarantineCommand::List(limit)) => limit.limit,
            None => ROWS,
        };
        let list = List {
            path: "/quarantine",
            key: "quarantine",
            query: vec![],
            limit,
            empty: "nothing is in quarantine: everything was understood",
        };
        let heads = ["ID", "CHANNEL", "SINCE", "REASON"];
        list.show(&api, &self.common, screen, &heads, |q, now| {
            vec![text(q, "id"), text(q, "channel"), since(q, "at", now), first(q, &["reason", "detail"])]
        })
        .await
    }
}
