//! Administering a running daemon: each command is one request, or a few. Conversations are in their own file.

use super::api::{Api, encoded};
use super::list::{Common, List, address, first, id, lookup, since, text};
use super::screen::{Screen, escaped, plain, span};
use super::{ConfigArg, Done, Failure};
use crate::config::Environment;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

/// How many rows a list shows unless told otherwise.
pub(super) const ROWS: usize = 50;

#[derive(Clone, Debug, Args)]
pub(crate) struct Limit {
    /// The most rows to show
    #[arg(long, default_value_t = ROWS, value_parser = rows)]
    pub limit: usize,
}

fn rows(s: &str) -> Result<usize, String> {
    s.parse().ok().filter(|n| (1..=100_000).contains(n)).ok_or_else(|| "write a number from 1 to 100000".into())
}

/// Says what was done, or prints the API's answer.
pub(super) fn done(answer: &Value, common: &Common, screen: &mut Screen, said: &str) -> Done {
    if common.json {
        screen.out(&super::screen::json(answer));
    } else {
        screen.out(said);
    }
    Ok(())
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
        /// `available`, `away`, `offline`, or a name of the rule pack's own
        #[arg(value_parser = self::id)]
        presence: String,
    },
    /// Print a link that signs an agent in to the console: once, within ten minutes
    Login {
        #[arg(value_parser = id)]
        id: String,
        /// What they may do there
        #[arg(long, value_enum, default_value_t = MayDo::Agent)]
        scope: MayDo,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MayDo {
    Read,
    Agent,
    Supervisor,
    Admin,
}

impl Agents {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?.under(self.common.idempotency_key.as_deref());
        if let Some(AgentsCommand::Login { id, scope }) = self.command {
            let scope = scope.to_possible_value().map(|v| v.get_name().to_owned());
            let answer = api.post(&format!("/agents/{}/login", encoded(&id)), json!({ "scope": scope })).await?;
            // Where nobody configured how the console is reached from outside, it is reached as by this command.
            let link = Some(text(&answer, "url")).filter(|url| !url.is_empty());
            let link = link.unwrap_or_else(|| format!("{}{}", api.url(), text(&answer, "path")));
            screen.err(&format!("signs in {id}, once, within ten minutes:"));
            return done(&answer, &self.common, screen, &link);
        }
        if let Some(AgentsCommand::Presence { id, presence }) = self.command {
            let body = json!({ "presence": presence });
            let answer = api.put(&format!("/agents/{}/presence", encoded(&id)), body).await?;
            return done(&answer, &self.common, screen, &format!("{id} is {presence}"));
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
            vec![text(a, "id"), text(a, "name"), presence(a), text(a, "load"), text(a, "capacity"), text(a, "skills")]
        };
        list.show(&api, &self.common, screen, &heads, cells).await
    }
}

/// `away`, or `lunch (away)`.
fn presence(agent: &Value) -> String {
    let (counts_as, name) = (text(agent, "presence"), text(agent, "presence_name"));
    if name.is_empty() || name == counts_as { counts_as } else { format!("{name} ({counts_as})") }
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
        let api = Api::open(at, env)?.under(self.common.idempotency_key.as_deref());
        let (None | Some(QueuesCommand::List)) = self.command;
        let list = List {
            path: "/queues",
            key: "queues",
            query: vec![],
            limit: 100_000,
            empty: "the rule pack has no queues",
        };
        let heads = ["ID", "WAITING", "OFFERED", "OLDEST", "IN TIME"];
        let cells =
            |q: &Value, now| vec![text(q, "id"), text(q, "depth"), text(q, "offered"), waited(q, now), in_time(q)];
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
        let api = Api::open(at, env)?.under(self.common.idempotency_key.as_deref());
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
                return list.show_lines(&api, &self.common, screen, &heads, |c, _| channel_lines(c)).await;
            }
        };
        let answer = api.post(&format!("/channels/{}/{action}", encoded(&id)), json!({})).await?;
        done(&answer, &self.common, screen, &format!("{id} {said}"))
    }
}

/// How long the first in a queue has waited.
fn waited(queue: &Value, now: switchboard_envelope::Timestamp) -> String {
    match lookup(queue, "oldest_wait_ms").as_i64() {
        Some(ms) => span(ms),
        None => since(queue, "waiting_since", now),
    }
}

/// The share that was answered in time.
fn in_time(queue: &Value) -> String {
    lookup(queue, "sla.level").as_f64().map(|l| format!("{:.0} %", l * 100.0)).unwrap_or_default()
}

/// A channel in as many lines as it has troubles, each of which a terminal cuts by itself.
fn channel_lines(c: &Value) -> Vec<Vec<String>> {
    let line = |why: String| vec![text(c, "id"), text(c, "kind"), channel_state(c), why];
    let every = channel_troubles(c);
    if every.is_empty() { vec![line(String::new())] } else { every.into_iter().map(line).collect() }
}

/// Why nothing is sent, after what ends that, which no terminal may cut; why nothing comes in; and that its adapter is silent.
fn channel_troubles(c: &Value) -> Vec<String> {
    let sending = match (text(c, "paused_reason"), text(c, "then")) {
        (paused, _) if paused.is_empty() => text(c, "sending_trouble"),
        (paused, then) if then.is_empty() => paused,
        (paused, then) => format!("ends with: {then}; why: {paused}"),
    };
    let silent = match text(c, "silent_since") {
        since if since.is_empty() => since,
        _ => "nothing is heard of its adapter, which is another process".to_owned(),
    };
    let mut every: Vec<String> =
        [sending, text(c, "receiving_trouble"), silent].into_iter().filter(|why| !why.is_empty()).collect();
    if every.is_empty() {
        // A daemon of before tells one trouble.
        every.extend(Some(text(c, "trouble")).filter(|why| !why.is_empty()));
    }
    every
}

fn channel_state(c: &Value) -> String {
    let state = first(c, &["state", "status"]);
    match lookup(c, "paused") {
        Value::Bool(true) => "paused".into(),
        Value::Bool(false) if state.is_empty() => "running".into(),
        _ if state == "unheard" => "not heard of yet".into(),
        _ => state,
    }
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
    Resend {
        #[arg(value_parser = id)]
        id: String,
    },
    /// Give one up
    Drop {
        #[arg(value_parser = id)]
        id: String,
    },
}

impl DeadLetters {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?.under(self.common.idempotency_key.as_deref());
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
            empty: "no dead letters: nothing waits for a decision (what the provider took and told later that it did not arrive is \
                    `failed` in its conversation)",
        };
        let heads = ["ID", "CONVERSATION", "CHANNEL", "TO", "REASON", "CODE", "SINCE", "DETAIL", "TEXT"];
        list.show(&api, &self.common, screen, &heads, |d, now| {
            vec![
                text(d, "id"),
                text(d, "conversation"),
                text(d, "channel"),
                address(d, "to"),
                text(d, "reason"),
                text(d, "code"),
                since(d, "at", now),
                text(d, "detail"),
                text(d, "text"),
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
    /// Show one as it came, up to 16 KiB; what does not print is escaped, and a backslash doubled
    Show {
        #[arg(value_parser = id)]
        id: String,
    },
    /// Read one again, after a fix
    Retry {
        #[arg(value_parser = id)]
        id: String,
    },
    /// Give one up: what it says reaches nobody
    Drop {
        #[arg(value_parser = id)]
        id: String,
    },
}

impl Quarantine {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?.under(self.common.idempotency_key.as_deref());
        let limit = match self.command {
            Some(QuarantineCommand::Show { id }) => return show_record(&api, &self.common, screen, &id).await,
            Some(QuarantineCommand::Retry { id }) => {
                let answer = api.post(&format!("/quarantine/{}/retry", encoded(&id)), json!({})).await?;
                let again = lookup(&answer, "released").as_bool() != Some(false);
                let said = if again {
                    "was read again".to_owned()
                } else {
                    format!("still cannot be read: {}", plain(&text(&answer, "reason")))
                };
                done(&answer, &self.common, screen, &format!("{id} {said}"))?;
                return if again { Ok(()) } else { Err(Failure::Failed(String::new())) };
            }
            Some(QuarantineCommand::Drop { id }) => {
                let answer = api.delete(&format!("/quarantine/{}", encoded(&id))).await?;
                return done(&answer, &self.common, screen, &format!("{id} is given up"));
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

/// A record of the quarantine with its bytes.
async fn show_record(api: &Api, common: &Common, screen: &mut Screen, id: &str) -> Done {
    let record = api.get(&format!("/quarantine/{}", encoded(id))).await?;
    if common.json {
        screen.out(&super::screen::json(&record));
        return Ok(());
    }
    let parts =
        [text(&record, "id"), text(&record, "channel"), since(&record, "at", screen.now), text(&record, "reason")];
    screen.out(&parts.map(|part| plain(&part)).join("  "));
    let raw = lookup(&record, "raw");
    if raw.is_null() {
        screen.err("its bytes are not kept any more");
        return Ok(());
    }
    screen.out(&plain(&text(raw, "content_type")));
    screen.out("");
    let bytes = match lookup(raw, "base64").as_str() {
        Some(coded) => {
            STANDARD.decode(coded).map_err(|e| Failure::Failed(format!("the daemon's base64 is none: {e}")))?
        }
        None => text(raw, "text").into_bytes(),
    };
    screen.out(&escaped(&bytes));
    if lookup(raw, "cut").as_bool() == Some(true) {
        screen.err("only its beginning is shown");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::api::tests::{answer, answering};
    use super::*;

    #[test]
    fn a_channel_tells_every_trouble_in_a_line_of_its_own_and_first_what_ends_a_pause() {
        let why = |c: Value| channel_troubles(&c);
        let none: Vec<String> = vec![];
        assert_eq!(why(json!({ "state": "up", "trouble": null })), none);
        let (sending, unread) = ("the last 5 attempts to send failed: refused", "its mailbox cannot be read: gone");
        let both = json!({ "trouble": sending, "sending_trouble": sending, "receiving_trouble": unread });
        assert_eq!(why(both), [sending, unread]);
        assert_eq!(why(json!({ "trouble": unread, "receiving_trouble": unread })), [unread]);
        let paused = json!({ "id": "mail", "kind": "email", "state": "paused", "paused_reason": "535: check `smtp.password`",
            "receiving_trouble": unread, "trouble": unread, "then": "switchboard channels resume mail" });
        let first = "ends with: switchboard channels resume mail; why: 535: check `smtp.password`";
        assert_eq!(why(paused.clone()), [first, unread]);
        let lines = channel_lines(&paused);
        assert_eq!(lines, [["mail", "email", "paused", first], ["mail", "email", "paused", unread]]);
        let mut table = super::super::table::Table::new(&["ID", "KIND", "STATE", "WHY"]);
        lines.into_iter().for_each(|line| table.row(line));
        let narrow = table.render(Some(80));
        assert!(narrow.contains("switchboard channels resume mail;") && narrow.contains(unread), "{narrow}");
        let silent = json!({ "state": "down", "silent_since": "2026-11-21T20:00:00Z" });
        assert_eq!(why(silent), ["nothing is heard of its adapter, which is another process"]);
        assert_eq!(why(json!({ "trouble": "of a daemon of before" })), ["of a daemon of before"]);
        assert_eq!(channel_lines(&json!({ "id": "sms", "state": "up" })).len(), 1);
    }

    #[tokio::test]
    async fn a_quarantined_record_is_shown_with_what_does_not_print_escaped() {
        let shown = async |raw: Value| {
            let body = json!({ "id": "27", "channel": "crm", "reason": "it is no JSON", "at": "2026-11-21T20:29:00Z", "raw": raw });
            let (api, _) = answering(&[&answer("200 OK", &body)]).await;
            let mut screen = Screen::of_test(None);
            show_record(&api, &Common::default(), &mut screen, "27").await.expect("shown");
            screen.kept.unwrap_or_default()
        };
        let said =
            shown(json!({ "content_type": "application/json", "text": "{\n\"a\": \u{1b}[31m", "cut": false })).await;
        assert_eq!(said, "27  crm  1m  it is no JSON\napplication/json\n\n{\n\"a\": \\u{1b}[31m\n");
        let said = shown(json!({ "content_type": "text/plain", "base64": "Y2Fm6QpiYQ==", "cut": true })).await;
        assert_eq!(said, "27  crm  1m  it is no JSON\ntext/plain\n\ncaf\\xe9\nba\nonly its beginning is shown\n");
        assert!(shown(Value::Null).await.ends_with("its bytes are not kept any more\n"));
    }
}
