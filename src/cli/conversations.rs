//! Conversations: listing, reading and answering them.

use super::admin::{Limit, ROWS, done};
use super::api::{Api, encoded};
use super::check::count;
use super::explain::waits;
use super::list::{Common, List, address, ago, first, id, lookup, since, text};
use super::screen::{Screen, plain};
use super::{ConfigArg, Done, Failure};
use crate::config::{self, Environment};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::Read;
use switchboard_envelope::{Attachment, Timestamp};

/// The most bytes of a message that is read from the standard input; the API takes less.
const MAX_GIVEN: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Conversations {
    #[command(flatten)]
    common: Common,
    /// Those of the list, which need no word for it.
    #[command(flatten)]
    filter: ConversationFilter,
    #[command(subcommand)]
    command: Option<ConversationsCommand>,
}

#[derive(Clone, Debug, Args)]
struct ConversationFilter {
    /// queued, offered, assigned, pending, snoozed, closed or open; several with commas between
    #[arg(long)]
    state: Option<String>,
    /// The id of a queue
    #[arg(long)]
    queue: Option<String>,
    /// The id of an agent
    #[arg(long)]
    agent: Option<String>,
    /// The id of a channel
    #[arg(long)]
    channel: Option<String>,
    /// A contact's id, or an identity, as phone:+15551230001
    #[arg(long)]
    contact: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

impl ConversationFilter {
    fn is_empty(&self) -> bool {
        [&self.state, &self.queue, &self.agent, &self.channel, &self.contact].iter().all(|f| f.is_none())
            && self.limit.limit == ROWS
    }
}

#[derive(Debug, Subcommand)]
enum ConversationsCommand {
    /// List them, the latest opened first (the default)
    List(ConversationFilter),
    /// Show one with its messages
    Show {
        #[arg(value_parser = id)]
        id: String,
    },
    /// Answer the customer
    Reply {
        #[arg(value_parser = id)]
        id: String,
        /// The words, or - to read them from the standard input
        text: String,
        /// Answer although another agent has it
        #[arg(long)]
        take: bool,
        /// The agent for whom you answer; without it the answer is in the name of your token
        #[arg(long, visible_alias = "as", value_name = "AGENT")]
        agent: Option<String>,
    },
    /// Make it an agent's, without an answer; with another agent's too, if your token may
    Take {
        #[arg(value_parser = id)]
        id: String,
        /// The agent whose it becomes; without it the agent of your token, or the only one, if they are there
        #[arg(long, visible_alias = "as", value_name = "AGENT")]
        agent: Option<String>,
    },
    /// Add a note that the customer does not see
    Note {
        #[arg(value_parser = id)]
        id: String,
        text: String,
        /// The agent for whom you write it; without it the note is in the name of your token
        #[arg(long, visible_alias = "as", value_name = "AGENT")]
        agent: Option<String>,
    },
    /// Close it
    Close {
        #[arg(value_parser = id)]
        id: String,
        /// The agent for whom you close it; without it nobody is named
        #[arg(long, visible_alias = "as", value_name = "AGENT")]
        agent: Option<String>,
    },
    /// Open it again
    Reopen {
        #[arg(value_parser = id)]
        id: String,
        /// The agent for whom you open it; without it nobody is named
        #[arg(long, visible_alias = "as", value_name = "AGENT")]
        agent: Option<String>,
    },
    /// Hand it to a queue or an agent, as `transfer c1 billing`
    #[command(group = clap::ArgGroup::new("to").required(true))]
    Transfer {
        #[arg(value_parser = id)]
        id: String,
        /// The id of a queue or of an agent
        #[arg(value_name = "QUEUE|AGENT", group = "to", value_parser = id)]
        there: Option<String>,
        /// The queue, where an agent has the same id
        #[arg(long, group = "to")]
        queue: Option<String>,
        /// The agent, where a queue has the same id
        #[arg(long, group = "to")]
        agent: Option<String>,
    },
    /// Set it aside for a while, as 2h, or until a time, as 2026-11-23T09:00:00Z
    Snooze {
        #[arg(value_parser = id)]
        id: String,
        /// 90s, 1h30m, 3d, 1w or a time
        #[arg(value_parser = span_or_time)]
        until: Until,
        /// The agent for whom you set it aside
        #[arg(long, visible_alias = "as", value_name = "AGENT")]
        agent: Option<String>,
    },
}

impl Conversations {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?.under(self.common.idempotency_key.as_deref());
        let common = &self.common;
        if self.command.is_some() && !self.filter.is_empty() {
            let said = "what a list is to hold stands after `list`, or after `conversations` alone";
            return Err(Failure::Usage(said.into()));
        }
        let (id, action, body, said) = match self.command {
            None => return list_conversations(&api, common, screen, self.filter).await,
            Some(ConversationsCommand::List(filter)) => return list_conversations(&api, common, screen, filter).await,
            Some(ConversationsCommand::Show { id }) => return show_conversation(&api, common, screen, &id).await,
            Some(ConversationsCommand::Reply { id, text, take, agent }) => {
                let body = with_agent(json!({ "text": given(text, std::io::stdin())?, "take": take }), agent);
                (id, "reply", body, "the reply is on its way")
            }
            Some(ConversationsCommand::Note { id, text, agent }) => {
                (id, "note", with_agent(json!({ "text": given(text, std::io::stdin())? }), agent), "noted")
            }
            Some(ConversationsCommand::Take { id, agent }) => (id, "take", with_agent(json!({}), agent), "taken"),
            Some(ConversationsCommand::Close { id, agent }) => (id, "close", with_agent(json!({}), agent), "closed"),
            Some(ConversationsCommand::Reopen { id, agent }) => {
                (id, "reopen", with_agent(json!({}), agent), "open again")
            }
            Some(ConversationsCommand::Transfer { id, there: Some(there), .. }) => {
                let to = destination(&api, &there).await?;
                (id, "transfer", json!({ to: there }), "transferred")
            }
            Some(ConversationsCommand::Transfer { id, queue: Some(queue), .. }) => {
                (id, "transfer", json!({ "queue": queue }), "transferred")
            }
            Some(ConversationsCommand::Transfer { id, agent, .. }) => {
                (id, "transfer", json!({ "agent": agent }), "transferred")
            }
            Some(ConversationsCommand::Snooze { id, until, agent }) => {
                let until = until.from(screen.now);
                (id, "snooze", with_agent(json!({ "until": until }), agent), "snoozed")
            }
        };
        let to = text(&body, "agent");
        let answer = api.post(&format!("/conversations/{}/{action}", encoded(&id)), body).await?;
        let sent = text(&answer, "id");
        let said = if action == "reply" && !sent.is_empty() { format!("{said}: {sent}") } else { said.to_owned() };
        done(&answer, common, screen, &said)?;
        if matches!(action, "transfer" | "take") && !to.is_empty() {
            absent(&api, &to).await.into_iter().for_each(|said| screen.err(&said));
        }
        Ok(())
    }
}

/// A while from now, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    After(i64),
    At(Timestamp),
}

impl Until {
    fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Until::After(ms) => now.plus(ms),
            Until::At(at) => at,
        }
    }

    /// The span lies behind.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Until::After(ms) => now.plus(-ms),
            Until::At(at) => at,
        }
    }
}

pub(crate) fn span_or_time(s: &str) -> Result<Until, String> {
    let span = config::duration(&s.replace(' ', "")).ok().filter(|span| !span.is_zero());
    let span = span.and_then(|span| i64::try_from(span.as_millis()).ok()).map(Until::After);
    let time = || s.parse().ok().map(Until::At);
    span.or_else(time).ok_or_else(|| "write how long, as 90s, 1h30m or 3d, or a time, as 2026-11-23T09:00:00Z".into())
}

/// The words of a message: as they stand there, or `-` for what the standard input holds.
fn given(text: String, input: impl Read) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text);
    }
    let mut read = String::new();
    let all = input.take(MAX_GIVEN).read_to_string(&mut read);
    all.map_err(|e| Failure::Failed(format!("the standard input cannot be read as text: {e}")))?;
    Ok(read.trim_end().to_owned())
}

/// The ids of all queues, agents or channels.
async fn ids(api: &Api, of: &str) -> Result<Vec<String>, Failure> {
    let list = List { path: &format!("/{of}"), key: of, query: vec![], limit: 100_000, empty: "" };
    Ok(list.rows(api).await?.0.iter().map(|row| text(row, "id")).collect())
}

/// The first ten of them, and how many more there are.
fn some(ids: &[String]) -> String {
    let (listed, more) = ids.split_at(ids.len().min(10));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{}{more}", listed.join(", "))
}

/// That somebody is not there to whom a conversation was given. What was done is done, whatever comes of this look.
async fn absent(api: &Api, agent: &str) -> Option<String> {
    let list = List { path: "/agents", key: "agents", query: vec![], limit: 100_000, empty: "" };
    let (agents, _) = list.rows(api).await.ok()?;
    let presence = agents.iter().find(|row| text(row, "id") == agent).map(|row| text(row, "presence"))?;
    match presence.as_str() {
        "offline" => Some(format!("{agent} is offline: unless they come back soon, it goes back to its queue")),
        "away" => Some(format!("{agent} is away")),
        _ => None,
    }
}

/// Whether a word is the id of a queue or of an agent of the pack in force.
async fn destination(api: &Api, there: &str) -> Result<&'static str, Failure> {
    let (queues, agents) = (ids(api, "queues").await?, ids(api, "agents").await?);
    match (queues.iter().any(|q| q == there), agents.iter().any(|a| a == there)) {
        (true, false) => Ok("queue"),
        (false, true) => Ok("agent"),
        (true, true) => {
            Err(Failure::Usage(format!("`{there}` is a queue and an agent: write `--queue` or `--agent` before it")))
        }
        (false, false) => Err(Failure::Failed(format!(
            "the pack in force has neither a queue nor an agent `{there}`; its queues are {}, its agents {}",
            some(&queues),
            some(&agents)
        ))),
    }
}

fn with_agent(mut body: Value, agent: Option<String>) -> Value {
    if let (Some(agent), Some(map)) = (agent, body.as_object_mut()) {
        map.insert("agent".into(), agent.into());
    }
    body
}

async fn list_conversations(api: &Api, common: &Common, screen: &mut Screen, f: ConversationFilter) -> Done {
    let named = [
        ("queues", "queue", f.queue.clone()),
        ("agents", "agent", f.agent.clone()),
        ("channels", "channel", f.channel.clone()),
    ];
    let limit = f.limit.limit;
    let mut query = vec![];
    for (key, value) in
        [("state", f.state), ("queue", f.queue), ("agent", f.agent), ("channel", f.channel), ("contact", f.contact)]
    {
        query.extend(value.map(|v| (key, v)));
    }
    let list = List { path: "/conversations", key: "conversations", query, limit, empty: "no conversations" };
    let any = async |query| Ok::<_, Failure>(!List { limit: 1, query, ..list }.rows(api).await?.0.is_empty());
    let named: Vec<_> = named.into_iter().filter_map(|(of, key, id)| Some((of, key, id?))).collect();
    if !named.is_empty() && !any(list.query.clone()).await? {
        for (of, key, id) in named {
            // What is gone may have conversations yet, in whatever state.
            if any(vec![(key, id.clone())]).await? {
                continue;
            }
            let known = ids(api, of).await?;
            if !known.contains(&id) {
                return Err(Failure::Failed(format!("there is no {key} `{id}`; the {of} are {}", some(&known))));
            }
        }
    }
    let heads = ["ID", "STATE", "WITH", "CHANNEL", "CONTACT", "OPENED", "WRITTEN", "SUBJECT", "LAST"];
    list.show(api, common, screen, &heads, |c, now| {
        vec![
            text(c, "id"),
            standing(c),
            first(c, &["agent", "offer.agent", "queue"]),
            text(c, "channel"),
            who(c),
            since(c, "opened_at", now),
            since(c, "last_message.at", now),
            text(c, "subject"),
            last(c),
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

/// What the customer asked until a person has answered, then the answer. What is wrong comes first, and says of whose words it is.
fn last(conversation: &Value) -> String {
    let said = text(conversation, "last_message.text");
    let theirs = text(conversation, "last_message.direction") != "out";
    let fate = undelivered(conversation).map(str::to_uppercase);
    match (doubt(conversation), fate) {
        (Some(doubt), None) if theirs => format!("{doubt}: {said}"),
        (Some(doubt), None) => format!("{doubt}, answered: {said}"),
        (Some(doubt), Some(fate)) if theirs => format!("{doubt}, OUR ANSWER {fate}. They wrote: {said}"),
        (Some(doubt), Some(fate)) => format!("{doubt}, OUR ANSWER {fate}: {said}"),
        (None, Some(fate)) if theirs => format!("OUR ANSWER {fate}. They wrote: {said}"),
        (None, Some(fate)) => format!("{fate}: {said}"),
        (None, None) => said,
    }
}

/// That a message, or the newest one of a conversation's customer, may be somebody else's.
fn doubt(of: &Value) -> Option<&'static str> {
    match text(of, "sender_proof").as_str() {
        "disproved" => Some("SENDER DISPROVED"),
        "not_proved" => Some("SENDER NOT PROVED"),
        // A daemon of before says so of messages only, and in fewer words.
        "" if first(of, &["sender_proved", "last_message.sender_proved"]) == "no" => Some("SENDER NOT PROVED"),
        _ => None,
    }
}

/// What became of our newest message, unless the customer has it or it is about to leave.
fn undelivered(conversation: &Value) -> Option<&'static str> {
    let late = lookup(conversation, "undelivered.delayed").as_bool() == Some(true);
    match first(conversation, &["undelivered.status", "last_message.status"]).as_str() {
        "rejected" | "failed" | "dead" => Some("not delivered"),
        "unknown" => Some("may have been sent"),
        "queued" | "sending" if late => Some("not sent yet"),
        _ => None,
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
        screen.out(&super::screen::json(&c));
        return Ok(());
    }
    let mut facts = vec![];
    for (name, value) in [
        ("state", text(&c, "state")),
        ("channel", text(&c, "channel")),
        ("contact", who(&c)),
        ("subject", text(&c, "subject")),
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
    warnings(&c).iter().for_each(|said| screen.out(said));
    waits(&c).iter().for_each(|said| screen.out(said));
    if let Some(what) = undelivered(&c) {
        let tried = match lookup(&c, "undelivered.attempts").as_u64() {
            Some(n) if what == "not sent yet" => {
                format!(", after {}", count(usize::try_from(n).unwrap_or(0), "attempt"))
            }
            _ => String::new(),
        };
        let why = text(&c, "undelivered.reason");
        let why = if why.is_empty() { why } else { format!(": {}", plain(&why)) };
        screen.out(&format!("our latest message: {what}{tried}{why}{}", then(&c)));
    }
    let mut subject = text(&c, "subject");
    for m in lookup(&c, "messages").as_array().into_iter().flatten() {
        screen.out("");
        screen.out(&message_head(m, screen));
        let of_message = text(m, "subject");
        if !of_message.is_empty() && !is_of_subject(&of_message, &subject) {
            screen.out(&format!("  Subject: {}", plain(&of_message)));
            subject = of_message;
        }
        for line in text(m, "text").lines() {
            screen.out(&format!("  {}", plain(line)));
        }
        for a in lookup(m, "attachments").as_array().into_iter().flatten() {
            screen.out(&format!("  [{}]", file(a)));
        }
    }
    if let Some(said) = api.stale().await {
        screen.err(&said);
    }
    Ok(())
}

/// What to know before one answers: whether the customer wrote what they seem to have written, and that no answer can go out.
fn warnings(c: &Value) -> Vec<String> {
    let why = match text(c, "sender_proof").as_str() {
        "disproved" => {
            "their domain says that the newest message is not theirs (DMARC failed): somebody else may have written it in the \
             customer's name, or a server that forwarded it changed it; ask them in another way before you act on it"
        }
        _ => "anybody may have written the newest message in the customer's name",
    };
    let proof = doubt(c).map(|doubt| format!("{doubt}: {why}"));
    let shut = lookup(c, "can_reply.ok").as_bool() == Some(false);
    let shut = shut.then(|| format!("cannot be answered now: {}", plain(&text(c, "can_reply.reason"))));
    proof.into_iter().chain(shut).collect()
}

/// Whether a message has that subject: `Re: ` before what it was changes nothing.
fn is_of_subject(of_message: &str, subject: &str) -> bool {
    let (of_message, subject) = (of_message.to_lowercase(), subject.to_lowercase());
    let before = of_message.strip_suffix(&subject).filter(|_| !subject.is_empty());
    before.is_some_and(|before| before.is_empty() || before.trim_end().ends_with(':'))
}

/// What ends a pause of its channel, and that nothing comes in there either.
fn then(c: &Value) -> String {
    let parts = [("; then: ", text(c, "undelivered.then")), ("; and ", text(c, "undelivered.receiving_trouble"))];
    parts.iter().filter(|(_, said)| !said.is_empty()).map(|(before, said)| format!("{before}{}", plain(said))).collect()
}

/// A file in a word or two, and why it is not there.
fn file(a: &Value) -> String {
    let (name, mime) = (plain(&text(a, "name")), plain(&text(a, "mime")));
    if mime == Attachment::ORIGINAL {
        return format!("{name}: the whole mail as it came");
    }
    let of_page = if text(a, "content_id").is_empty() { "" } else { ", shown in the mail" };
    let why = text(a, "problem");
    let why = if why.is_empty() { why } else { format!(": {}", plain(&why)) };
    let missing = match (text(a, "state").as_str(), why.is_empty()) {
        ("failed", _) => ", could not be fetched",
        ("fetching", true) => ", being fetched",
        ("fetching", false) => ", not fetched yet, tried again",
        _ => "",
    };
    format!("{name} {mime}{of_page}{missing}{why}")
}

/// `12:02  in  Ann  delivered`
fn message_head(m: &Value, screen: &Screen) -> String {
    let author = address(m, "author");
    // Of a customer without a name there is the contact's id alone, and the message's stands at the end of the line.
    let nameless = text(m, "author.kind") == "contact" && !author.is_empty() && author == text(m, "author.id");
    let author = if nameless { format!("contact {author}") } else { author };
    let author = if author.is_empty() { first(m, &["author.agent", "author.rule", "author.kind"]) } else { author };
    let proof = doubt(m).unwrap_or_default().to_owned();
    let at = ago(m, "at", screen.now);
    let parts = [at, text(m, "direction"), author, proof, at_desk(m), text(m, "status"), text(m, "detail")];
    let head: Vec<String> = parts.iter().map(|p| plain(p)).filter(|p| !p.is_empty()).collect();
    format!("{}  message {}", head.join("  "), plain(&text(m, "id")))
}

/// `at team-slack`, for what people of ours were told there.
fn at_desk(m: &Value) -> String {
    let desk = text(m, "desk");
    if desk.is_empty() { desk } else { format!("at {desk}") }
}

#[cfg(test)]
mod tests {
    use super::super::api::tests::{answer, answering};
    use super::*;

    #[test]
    fn a_snooze_takes_a_while_or_a_time() {
        assert_eq!(span_or_time("2h"), Ok(Until::After(7_200_000)));
        assert_eq!(span_or_time("30 min"), Ok(Until::After(1_800_000)));
        assert_eq!(span_or_time("30m"), Ok(Until::After(1_800_000)));
        assert_eq!(span_or_time("1w"), Ok(Until::After(7 * 86_400_000)));
        assert_eq!(span_or_time("90s"), Ok(Until::After(90_000)));
        assert_eq!(span_or_time("1d12h"), Ok(Until::After(129_600_000)));
        let at: Timestamp = "2026-11-23T09:00:00Z".parse().expect("a time");
        assert_eq!(span_or_time("2026-11-23T09:00:00Z"), Ok(Until::At(at)));
        for wrong in ["", "h", "0h", "-2h", "2x", "99999999999999999999d", "tomorrow"] {
            assert!(span_or_time(wrong).is_err_and(|said| said.contains("as 90s, 1h30m or 3d")), "{wrong}");
        }
    }

    #[test]
    fn only_what_stands_before_a_subject_may_differ() {
        assert!(is_of_subject("Refund", "refund") && is_of_subject("RE: Fwd: Refund", "Refund"));
        for (of_message, subject) in [("Fix", "x"), ("Anything", ""), ("Your refund", "refund"), ("Refund", "Refund 2")]
        {
            assert!(!is_of_subject(of_message, subject), "{of_message} in {subject}");
        }
    }

    #[test]
    fn the_words_of_an_answer_may_come_from_the_standard_input() {
        let input = || &b"two\nlines\n"[..];
        assert_eq!(given("-".into(), input()), Ok("two\nlines".into()));
        assert_eq!(given("as - it is".into(), input()), Ok("as - it is".into()));
        assert!(given("-".into(), &b"\xff"[..]).is_err());
    }

    #[test]
    fn what_is_wrong_is_said_first_and_of_whose_words_it_is() {
        let row =
            |status: &str| json!({ "last_message": { "text": "on its way", "direction": "out", "status": status } });
        assert_eq!(last(&row("rejected")), "NOT DELIVERED: on its way");
        assert_eq!(last(&row("unknown")), "MAY HAVE BEEN SENT: on its way");
        assert_eq!(last(&row("delivered")), "on its way");
        assert_eq!(last(&row("queued")), "on its way");
        let late = |status: &str, delayed: bool| {
            json!({ "last_message": { "text": "hello?", "direction": "in", "status": "received" },
                "undelivered": { "status": status, "delayed": delayed } })
        };
        assert_eq!(last(&late("queued", true)), "OUR ANSWER NOT SENT YET. They wrote: hello?");
        assert_eq!(last(&late("sending", false)), "hello?");
        assert_eq!(last(&late("dead", true)), "OUR ANSWER NOT DELIVERED. They wrote: hello?");
        let forged = |proof: Option<&str>, way: &str, fate: &str| json!({ "last_message": { "text": "hello?", "direction": way, "status": fate }, "sender_proof": proof });
        assert_eq!(last(&forged(Some("not_proved"), "in", "received")), "SENDER NOT PROVED: hello?");
        assert_eq!(last(&forged(Some("disproved"), "in", "received")), "SENDER DISPROVED: hello?");
        for proved in [Some("proved"), None] {
            assert_eq!(last(&forged(proved, "in", "received")), "hello?");
        }
        // That somebody answered proves nothing.
        let answered = |fate: &str| last(&forged(Some("disproved"), "out", fate));
        assert_eq!(answered("sent"), "SENDER DISPROVED, answered: hello?");
        assert_eq!(answered("rejected"), "SENDER DISPROVED, OUR ANSWER NOT DELIVERED: hello?");
        let both = json!({ "last_message": { "text": "hello?", "direction": "in" }, "sender_proof": "not_proved",
            "undelivered": { "status": "rejected", "delayed": false } });
        assert_eq!(last(&both), "SENDER NOT PROVED, OUR ANSWER NOT DELIVERED. They wrote: hello?");
        assert_eq!(last(&json!({ "subject": "Refund", "last_message": null })), "");
    }

    #[test]
    fn a_conversation_says_who_may_not_have_written_and_that_no_answer_can_go_out() {
        assert_eq!(warnings(&json!({ "sender_proof": "proved", "can_reply": { "ok": true } })), Vec::<String>::new());
        let reason = "the customer opted out of messages on this channel";
        let both = json!({ "sender_proof": "disproved", "can_reply": { "ok": false, "reason": reason } });
        assert_eq!(
            warnings(&both),
            [
                "SENDER DISPROVED: their domain says that the newest message is not theirs (DMARC failed): somebody else may have \
                 written it in the customer's name, or a server that forwarded it changed it; ask them in another way before you \
                 act on it"
                    .to_owned(),
                format!("cannot be answered now: {reason}"),
            ]
        );
        let said = warnings(&json!({ "sender_proof": "not_proved" }));
        assert_eq!(said, ["SENDER NOT PROVED: anybody may have written the newest message in the customer's name"]);
    }

    #[test]
    fn a_message_says_who_was_not_proved_and_a_file_what_it_is() {
        let screen = Screen::of_test(None);
        let head = |m: &Value| message_head(m, &screen);
        let mail = json!({ "id": "m1", "direction": "in", "author": { "name": "Carl" }, "status": "received" });
        assert_eq!(head(&mail), "in  Carl  received  message m1");
        let mut forged = mail.clone();
        forged["sender_proof"] = json!("not_proved");
        assert_eq!(head(&forged), "in  Carl  SENDER NOT PROVED  received  message m1");
        forged["sender_proof"] = json!("disproved");
        assert_eq!(head(&forged), "in  Carl  SENDER DISPROVED  received  message m1");
        forged["sender_proof"] = json!("proved");
        assert_eq!(head(&forged), head(&mail));
        let mut of_before = mail.clone();
        of_before["sender_proved"] = json!(false);
        assert_eq!(head(&of_before), "in  Carl  SENDER NOT PROVED  received  message m1");
        let row = json!({ "last_message": { "text": "hello?", "direction": "in", "sender_proved": false } });
        assert_eq!(last(&row), "SENDER NOT PROVED: hello?");
        let nameless = json!({ "id": "m2", "direction": "in", "author": { "kind": "contact", "id": "p1", "name": null }, "status": "received" });
        assert_eq!(head(&nameless), "in  contact p1  received  message m2");
        for (of, said) in [
            (json!({ "name": "a.png", "mime": "image/png" }), "a.png image/png"),
            (
                json!({ "name": "a.png", "mime": "image/png", "content_id": "a@b" }),
                "a.png image/png, shown in the mail",
            ),
            (
                json!({ "name": "original.eml", "mime": Attachment::ORIGINAL }),
                "original.eml: the whole mail as it came",
            ),
            (json!({ "name": "a.pdf", "mime": "application/pdf", "state": "stored" }), "a.pdf application/pdf"),
            (
                json!({ "name": "a.pdf", "mime": "application/pdf", "state": "fetching" }),
                "a.pdf application/pdf, being fetched",
            ),
            (
                json!({ "name": "a.pdf", "mime": "application/pdf", "state": "fetching", "problem": "the provider answered 503" }),
                "a.pdf application/pdf, not fetched yet, tried again: the provider answered 503",
            ),
            (
                json!({ "name": "a.pdf", "mime": "application/pdf", "state": "failed", "problem": "it is larger than 16 MiB" }),
                "a.pdf application/pdf, could not be fetched: it is larger than 16 MiB",
            ),
        ] {
            assert_eq!(file(&of), said);
        }
    }

    #[test]
    fn a_paused_channel_says_what_ends_it_with_the_answer_that_waits() {
        let late = json!({ "undelivered": { "then": "switchboard channels resume sms", "receiving_trouble": null } });
        assert_eq!(then(&late), "; then: switchboard channels resume sms");
        let deaf = json!({ "undelivered": { "then": null, "receiving_trouble": "its mailbox cannot be read" } });
        assert_eq!(then(&deaf), "; and its mailbox cannot be read");
        assert_eq!(then(&json!({ "undelivered": null })), "");
    }

    #[tokio::test]
    async fn a_list_of_what_is_not_there_says_what_is() {
        let queues = answer("200 OK", &json!({ "queues": [{ "id": "billing" }, { "id": "everyone" }], "next": null }));
        let listed = |rows: Value| answer("200 OK", &json!({ "conversations": rows, "next": null }));
        let filter = || ConversationFilter {
            state: None,
            queue: Some("nope".into()),
            agent: None,
            channel: None,
            contact: None,
            limit: Limit { limit: ROWS },
        };
        let none = listed(json!([]));
        let (api, _) = answering(&[&none, &none, &queues]).await;
        let mut screen = Screen::of_test(None);
        let done = list_conversations(&api, &Common::default(), &mut screen, filter()).await;
        assert_eq!(done, Err(Failure::Failed("there is no queue `nope`; the queues are billing, everyone".into())));
        // A queue that the pack lost has conversations yet.
        let row = listed(json!([{ "id": "c1", "state": "closed", "queue": "nope" }]));
        let (api, _) = answering(&[&row, &row]).await;
        assert_eq!(list_conversations(&api, &Common::default(), &mut screen, filter()).await, Ok(()));
        assert!(screen.kept.as_ref().is_some_and(|said| said.contains("c1")));
        // That none of them is in a state says nothing of the queue.
        let queued = ConversationFilter { state: Some("queued".into()), ..filter() };
        let (api, _) = answering(&[&none, &row, &none]).await;
        assert_eq!(list_conversations(&api, &Common::default(), &mut screen, queued).await, Ok(()));
        assert!(screen.kept.unwrap_or_default().contains("no conversations"));
        let many: Vec<String> = (0..12).map(|n| format!("q{n}")).collect();
        assert!(some(&many).ends_with("q9 and 2 more") && some(&many[..1]) == "q0", "{}", some(&many));
    }

    #[tokio::test]
    async fn who_is_not_there_is_said_once_something_was_given_to_them() {
        let agents = [("ann", "available"), ("bob", "offline"), ("cyn", "away")];
        let rows: Vec<Value> = agents.iter().map(|(id, presence)| json!({ "id": id, "presence": presence })).collect();
        let (api, _) = answering(&[&answer("200 OK", &json!({ "agents": rows, "next": null }))]).await;
        assert_eq!(absent(&api, "ann").await, None);
        assert!(absent(&api, "bob").await.is_some_and(|said| said.contains("offline") && said.contains("goes back")));
        assert_eq!(absent(&api, "cyn").await.as_deref(), Some("cyn is away"));
    }
}
