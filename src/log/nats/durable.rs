//! What a power cut can take: how often every record is kept, and whether the servers that keep it write it to their disks before
//! they acknowledge it. The first the streams tell; the second only the broker's system account does, which may let ours ask.

use super::{link::Link, names::Names, options::NatsOptions};
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Every server of the broker answers this with its variables.
pub(super) const QUESTION: &str = "$SYS.REQ.SERVER.PING.VARZ";
/// How long their answers are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// What nats-server does when nothing is configured.
const USUAL: Duration = Duration::from_secs(120);

/// When a server writes to its disk what it acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    /// Before the acknowledgement.
    Before,
    /// This often.
    Every(Duration),
}

/// What is known of how the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Durability {
    /// For whoever reads the start.
    pub short: String,
    /// With what to do about it.
    pub sentence: String,
    /// Whether a power cut can, or could as far as anybody knows, take what was acknowledged.
    pub at_risk: bool,
}

#[derive(Deserialize)]
struct Stream {
    config: Copies,
    #[serde(default)]
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
struct Copies {
    #[serde(default)]
    num_replicas: usize,
}

#[derive(Default, Deserialize)]
struct Cluster {
    #[serde(default)]
    leader: Option<String>,
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Deserialize)]
struct Replica {
    name: String,
}

#[derive(Deserialize)]
struct Variables {
    server: Named,
    data: Data,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    jetstream: JetStream,
}

#[derive(Default, Deserialize)]
struct JetStream {
    #[serde(default)]
    config: Option<Syncing>,
}

#[derive(Deserialize)]
struct Syncing {
    #[serde(default)]
    sync_always: bool,
    /// Nanoseconds.
    #[serde(default)]
    sync_interval: u64,
}

/// Asks the broker. That it does not tell is part of the answer, and no error.
pub(super) async fn ask(link: &Link, options: &NatsOptions, names: &Names) -> Durability {
    let mut copies = options.replicas as usize;
    let mut holders = BTreeSet::new();
    // What is acknowledged to providers is in IN, what is decided in LOG.
    for stream in [names.inn(), names.log()] {
        if let Ok(stream) = link.api::<Stream>(&format!("STREAM.INFO.{stream}"), &json!({})).await {
            copies = copies.min(stream.config.num_replicas.max(1));
            let cluster = stream.cluster.unwrap_or_default();
            holders.extend(cluster.leader.into_iter().chain(cluster.replicas.into_iter().map(|r| r.name)));
        }
    }
    if holders.is_empty() {
        holders.insert(link.client.server_info().server_name);
    }
    let answers = servers(link, &holders).await;
    let known: Option<BTreeMap<String, Sync>> =
        holders.into_iter().map(|name| answers.get(&name).map(|sync| (name.clone(), *sync))).collect();
    told(&options.servers.join(", "), copies, known.as_ref())
}

/// How each server syncs, as far as they answer; ends as soon as all that are `wanted` did.
async fn servers(link: &Link, wanted: &BTreeSet<String>) -> BTreeMap<String, Sync> {
    let mut answers = BTreeMap::new();
    let mut denied = link.denials();
    let asked = async {
        let inbox = link.client.new_inbox();
        let mut replies = link.client.subscribe(inbox.clone()).await.ok()?;
        link.client.publish_with_reply(QUESTION, inbox, Bytes::new()).await.ok()?;
        while !wanted.iter().all(|name| answers.contains_key(name)) {
            let reply = replies.next().await?;
            if reply.status == Some(StatusCode::NO_RESPONDERS) {
                return None;
            }
            answers.extend(read(&reply));
        }
        Some(())
    };
    tokio::select! {
        _ = tokio::time::timeout(PATIENCE, asked) => {}
        // Whoever may not ask gets no answer.
        _ = denied.changed() => {}
    }
    answers
}

fn read(reply: &Message) -> Option<(String, Sync)> {
    let said: Variables = serde_json::from_slice(&reply.payload).ok()?;
    let config = said.data.jetstream.config?;
    let sync = match config {
        Syncing { sync_always: true, .. } => Sync::Before,
        // Not told by a server that is older than the field.
        Syncing { sync_interval: 0, .. } => return None,
        Syncing { sync_interval, .. } => Sync::Every(Duration::from_nanos(sync_interval)),
    };
    Some((said.server.name, sync))
}

/// The sentence, from the copies of each record and how the servers that hold them sync; `None` when that is not known of all.
fn told(at: &str, copies: usize, servers: Option<&BTreeMap<String, Sync>>) -> Durability {
    let kept = match copies {
        1 => "one copy".to_owned(),
        n => format!("every record is on a majority of {n} servers before its answer"),
    };
    let longest = servers.and_then(|servers| {
        let every = |sync: &Sync| if let Sync::Every(every) = sync { Some(*every) } else { None };
        servers.values().filter_map(every).max()
    });
    let who =
        if copies == 1 { "a power cut there" } else { "a power cut of one machine takes nothing; one of all at once" };
    let (syncs, at_risk) = match (servers, longest) {
        (None, _) => {
            let unless = if copies == 1 { "unless it has" } else { "unless they have" };
            let which = if copies == 1 { "the server writes to its disk" } else { "the servers write to their disks" };
            let words = format!(
                "whether {which} before is not known, because this user may not ask `{QUESTION}`: {unless} `sync_interval: always` \
                 in the `jetstream` block, {who} can take what was acknowledged in the last {}, or in that interval if another is set",
                span(USUAL)
            );
            // One machine of several may fail either way.
            (words, copies == 1)
        }
        (Some(_), None) => {
            let words = match copies {
                1 => {
                    "the server writes it to its disk before it answers: a power cut takes nothing, a lost disk everything"
                }
                _ => {
                    "each writes it to its disk before: a power cut takes nothing, be it of one machine or of all at once"
                }
            };
            (words.to_owned(), false)
        }
        (Some(servers), Some(longest)) => {
            let late = servers.iter().filter(|(_, sync)| matches!(sync, Sync::Every(_)));
            let late: Vec<&str> = late.map(|(name, _)| name.as_str()).collect();
            let words = format!(
                "`{}` write{} to disk every {} only: {who} can take what was acknowledged since; set `sync_interval: always` in \
                 the `jetstream` block{}",
                late.join("`, `"),
                if late.len() == 1 { "s" } else { "" },
                span(longest),
                if copies == 1 { ", or `log.replicas` to 3 on a cluster" } else { "" }
            );
            (words, copies == 1)
        }
    };
    let killed = if at_risk { " (a killed server loses nothing)" } else { "" };
    let sentence = format!("nats at {at}: {kept}, and {syncs}{killed}");
    let (perhaps, every) = match (servers, longest) {
        (Some(_), None) => return Durability { short: sentence.clone(), sentence, at_risk },
        (Some(_), Some(every)) => ("", every),
        (None, _) => ("perhaps only ", USUAL),
    };
    let short = match copies {
        1 => format!(
            "nats at {at}: {kept}, on disk {perhaps}every {}: a power cut there can take what was acknowledged since",
            span(every)
        ),
        _ => format!("nats at {at}: {kept}: {who} can take the last {}", span(every)),
    };
    Durability { short, sentence, at_risk }
}

/// `2 minutes`, `10 s`.
fn span(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        60 => "minute".into(),
        s if s % 60 == 0 => format!("{} minutes", s / 60),
        s => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(all: &[(&str, Option<u64>)]) -> BTreeMap<String, Sync> {
        let sync = |every: &Option<u64>| every.map_or(Sync::Before, |s| Sync::Every(Duration::from_secs(s)));
        all.iter().map(|(name, every)| ((*name).to_owned(), sync(every))).collect()
    }

    /// Copies, what is known of the servers, whether there is a risk, and what is said.
    type Case<'a> = (usize, Option<BTreeMap<String, Sync>>, bool, &'a [&'a str]);

    #[test]
    fn the_sentence_says_when_a_power_cut_can_take_what_was_acknowledged() {
        let one = |every| servers(&[("a", every)]);
        let mixed = servers(&[("a", None), ("b", Some(10)), ("c", Some(120))]);
        let all = servers(&[("a", None), ("b", None), ("c", None)]);
        let cases: [Case<'_>; 6] = [
            (1, Some(one(None)), false, &["one copy", "a power cut takes nothing, a lost disk everything"]),
            (
                1,
                Some(one(Some(120))),
                true,
                &["one copy", "`a` writes to disk every 2 minutes only", "acknowledged since", "`log.replicas`"],
            ),
            (
                1,
                None,
                true,
                &["one copy", "is not known", "may not ask", "unless it has `sync_interval: always`", "last 2 minutes"],
            ),
            (3, Some(all), false, &["a majority of 3 servers", "takes nothing, be it of one machine or of all"]),
            (
                3,
                Some(mixed),
                false,
                &["of one machine takes nothing", "of all at once can take", "`b`, `c` write to disk every 2 minutes"],
            ),
            (
                3,
                None,
                false,
                &["of one machine takes nothing", "is not known", "unless they have", "of all at once can take"],
            ),
        ];
        for (copies, servers, at_risk, parts) in cases {
            let said = told("nats://a", copies, servers.as_ref());
            assert_eq!(said.at_risk, at_risk, "{}", said.sentence);
            assert!(said.short.len() < 220 && said.short.contains(parts[0]), "{}", said.short);
            for part in parts {
                assert!(said.sentence.contains(part), "`{part}` is not in: {}", said.sentence);
            }
        }
    }
}
