//! What the projection costs alone: CPU (without that of feeding it) and bytes written for a message that is answered by a
//! rule and accepted by its provider, at a few rates. Prints JSON.
//!
//! `cargo run --release --example history_speed -- [DIR]`

#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "a tool that measures: it prints, and stops at the first error"
)]

use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use switchboard::history::{HistoryHandle, HistoryWriter, spawn_projection};
use switchboard::log::memory::{MemoryLog, MemoryOptions};
use switchboard::log::{Commit, FrameWrite, Log};
use switchboard_envelope::{Address, Author, ChannelProfile, Content, Outcome, Timestamp};
use switchboard_routing_rules::event::{DecidedMessage, Event, KeyHash, Private, Public, Why};
use switchboard_routing_rules::ids::{ContactId, ConvId, MessageId, Salt};
use switchboard_routing_rules::pack::SeenState;
use tokio::sync::watch;

/// As the daemon does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SALT: Salt = Salt([7; 16]);
const CONVERSATIONS: u64 = 10_000;
/// Frames follow each other this fast; the rate decides how many messages each holds.
const TICK: Duration = Duration::from_millis(2);

/// The events of the `n`th message, by the customers in turn.
fn message(n: u64, out: &mut Vec<Event>) {
    let who = n % CONVERSATIONS;
    let (conv, contact) =
        (ConvId::derive(&SALT, &[&who.to_be_bytes()]), ContactId::derive(&SALT, &[&who.to_be_bytes()]));
    let (message, reply) = (MessageId::derive(&SALT, &[b"in", &n.to_be_bytes()]), reply_id(n));
    let at = Timestamp(1_763_000_000_000 + i64::try_from(n).unwrap_or(0));
    let phone = Address::new("phone", format!("+1555{who:07}"));
    let mine = |public, private| Event { public, private: Some((contact, private)) };
    out.push(
        Public::Consumed { seq: 2 * n + 1, stored_at: at, now: at, id: Some(KeyHash(n.into())), duplicate: false }
            .into(),
    );
    let opens = n < CONVERSATIONS;
    if opens {
        out.push(mine(
            Public::Opened {
                conv,
                contact,
                channel: "support-sms".into(),
                thread: KeyHash(u128::from(who) << 64),
                at,
                ours: false,
                trial: 0,
            },
            Private::Opened { thread: phone.value.clone(), address: phone.clone(), subject: None },
        ));
    }
    out.push(mine(
        Public::Received {
            conv,
            message,
            at,
            automatic: false,
            provider: Some(KeyHash(u128::from(n) << 32)),
            quiet: false,
        },
        Private::Received {
            said_at: None,
            content: Box::new(Content::text(format!("Where is my order {n}? I want my money back"))),
            from: phone.clone(),
            provider_id: Some(format!("SM{n:032x}")),
            client_id: None,
            id: format!("support-sms:message:SM{n:032x}"),
            mail: None,
            proved: None,
            disproved: false,
        },
    ));
    let seen = SeenState { now: at, new: opens, contact_identities: vec![phone.identity()], ..SeenState::default() };
    let about = DecidedMessage {
        channel: "support-sms".into(),
        kind: "sms".into(),
        to: Some("+15005550006".into()),
        meta: BTreeMap::from([("provider".to_owned(), "twilio".to_owned())]),
        ..DecidedMessage::default()
    };
    out.push(mine(
        Public::Decided {
            conv,
            message,
            pack: "5f2c7e0d9a3b41c68e7f0a1b2c3d4e5f5f2c7e0d9a3b41c68e7f0a1b2c3d4e5f".into(),
            hits: vec!["Refunds".into()],
            place: Some(Why::Rule("Refunds".into())),
            chosen: None,
            priority: None,
        },
        Private::Decided { seen: Box::new(seen), message: Box::new(about) },
    ));
    if opens {
        out.push(
            Public::Queued {
                conv,
                queue: "everyone".into(),
                since: at,
                entered: at,
                skills: BTreeMap::new(),
                overflow: vec![],
                ageing: None,
                newest: false,
                why: Why::Default,
                by: None,
            }
            .into(),
        );
    }
    let channel = "support-sms".into();
    let author = Author::Auto { rule: "Refunds".into() };
    out.push(mine(
        Public::SendQueued {
            parts: 1,
            conv,
            message: reply,
            channel,
            author,
            at,
            not_after: at,
            push: false,
            resends: None,
            relived: false,
            doubted: false,
            notice: false,
        },
        Private::Send {
            content: Box::new(Content::text(format!("We look into it ({n}) and come back to you today"))),
            to: phone,
            reply_to: vec![],
            mail: None,
            traceparent: None,
        },
    ));
    out.push(Public::Released { conv, message: reply, part: 1, n: 1, until: at }.into());
}

fn reply_id(n: u64) -> MessageId {
    MessageId::derive(&SALT, &[b"out", &n.to_be_bytes()])
}

/// The events of the provider's answer to the reply to the `n`th message.
fn result(n: u64, out: &mut Vec<Event>) {
    let who = n % CONVERSATIONS;
    let (conv, message) = (ConvId::derive(&SALT, &[&who.to_be_bytes()]), reply_id(n));
    let contact = ContactId::derive(&SALT, &[&who.to_be_bytes()]);
    let at = Timestamp(1_763_000_000_000 + i64::try_from(n).unwrap_or(0));
    out.push(Public::Consumed { seq: 2 * n + 2, stored_at: at, now: at, id: None, duplicate: false }.into());
    let (part, attempt, provider) = (1, 1, vec![KeyHash(n.into())]);
    let outcome = Outcome::Accepted;
    out.push(Event {
        public: Public::AttemptEnded { conv, message, part, n: attempt, outcome, code: None, retry_at: None, provider },
        private: Some((contact, Private::Attempt { provider_ids: vec![format!("SM{n:032x}")], detail: None })),
    });
    out.push(Public::Sent { conv, message, at }.into());
}

struct Feeder {
    log: Arc<MemoryLog>,
    handle: HistoryHandle,
    last: u64,
    next: u64,
}

impl Feeder {
    /// Frames of `per_frame` messages each, with the results of those before them.
    fn frames(&mut self, messages: u64, per_frame: u64) -> Vec<Arc<Vec<Event>>> {
        let end = self.next + messages;
        let mut frames = vec![];
        while self.next < end {
            let mut events = vec![];
            for n in self.next.saturating_sub(per_frame)..self.next {
                result(n, &mut events);
            }
            for n in self.next..self.next + per_frame {
                message(n, &mut events);
            }
            self.next += per_frame;
            frames.push(Arc::new(events));
        }
        frames
    }

    async fn feed(&mut self, events: Arc<Vec<Event>>) {
        let write = FrameWrite { bytes: Bytes::from_static(b"x"), keys: vec![], out_first: 1, sends: vec![] };
        // The router hands over after its commit; so close to it makes no difference.
        self.handle.feed(self.last + 1, 0, events);
        let done = self.log.commit(self.last, write).await;
        assert_eq!(done, Commit::Done(self.last + 1));
        self.last += 1;
    }

    async fn caught_up(&self) {
        assert!(self.handle.history().wait_for(self.last, Duration::from_secs(60)).await, "history did not follow");
    }
}

/// User and system time of this process, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().filter_map(|i| fields.get(*i)?.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// A number of a file of numbers by name.
fn named(path: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
}

fn written() -> f64 {
    named("/proc/self/io", "wchar:")
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

/// The CPU that the feeding takes, with frames that are dropped at once.
async fn feeding_alone(feeder: &mut Feeder, messages: u64, per_frame: u64) -> f64 {
    let next = feeder.next;
    let frames = feeder.frames(messages, per_frame);
    feeder.next = next;
    let log = MemoryLog::new(&MemoryOptions::default());
    let began = cpu();
    let mut ticks = tokio::time::interval(TICK);
    for (last, frame) in frames.into_iter().enumerate() {
        ticks.tick().await;
        let write = FrameWrite { bytes: Bytes::from_static(b"x"), keys: vec![], out_first: 1, sends: vec![] };
        let done = log.commit(last as u64, write).await;
        assert_eq!(done, Commit::Done(last as u64 + 1));
        drop(frame);
    }
    cpu() - began
}

/// Removes everything in steps of eight milliseconds, and how long the longest took with its commit.
fn trimming(path: &Path) -> String {
    let mut writer = HistoryWriter::open(path).unwrap_or_else(|e| panic!("{e}"));
    let (mut steps, mut messages, mut times) = (0, 0, vec![]);
    loop {
        let began = Instant::now();
        let step = writer.trim(Timestamp::MAX, Duration::from_millis(8)).unwrap_or_else(|e| panic!("{e}"));
        times.push(began.elapsed());
        (steps, messages) = (steps + 1, messages + step.messages);
        if !step.more {
            break;
        }
    }
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() - 1) * part / 100).map_or(0.0, |t| t.as_secs_f64() * 1e3);
    format!(
        "{{\"messages\": {messages}, \"steps\": {steps}, \"step_p99_ms\": {:.1}, \"step_max_ms\": {:.1}}}",
        at(99),
        at(100)
    )
}

async fn at_rate(dir: &Path, rate: u64, messages: u64) -> String {
    let dir = dir.join(format!("rate-{rate}"));
    std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{e}"));
    let path = dir.join("history.db");
    let log = Arc::new(MemoryLog::new(&MemoryOptions::default()));
    let writer = HistoryWriter::open(&path).unwrap_or_else(|e| panic!("{e}"));
    let (stop, stopped) = watch::channel(false);
    let (handle, task) = spawn_projection(log.clone(), writer, |_| std::future::ready(Ok(vec![])), stopped);
    let mut feeder = Feeder { log, handle, last: 0, next: 0 };
    let mut channels = BTreeMap::new();
    channels.insert("support-sms".to_owned(), ChannelProfile::new("sms", "phone"));
    feeder.feed(Arc::new(vec![Public::ChannelsInForce { channels }.into()])).await;
    for frame in feeder.frames(CONVERSATIONS, 20) {
        feeder.feed(frame).await;
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    feeder.caught_up().await;
    let per_frame = (rate * u64::try_from(TICK.as_millis()).unwrap_or(1) / 1000).max(1);
    let without = feeding_alone(&mut feeder, messages, per_frame).await;
    let frames = feeder.frames(messages, per_frame);
    let mut behind = 0;
    let (began, cpu_before, written_before) = (Instant::now(), cpu(), written());
    let mut ticks = tokio::time::interval(TICK);
    for frame in frames {
        ticks.tick().await;
        feeder.feed(frame).await;
        behind = behind.max(feeder.last - feeder.handle.history().cursor());
    }
    let took = began.elapsed().as_secs_f64();
    feeder.caught_up().await;
    let (cpu_used, bytes) = (cpu() - cpu_before - without, written() - written_before);
    let n = messages as f64;
    for who in 0..CONVERSATIONS {
        let conv = ConvId::derive(&SALT, &[&who.to_be_bytes()]);
        let over = [
            Public::Closed { conv, by: None, reopen_until: Timestamp(0) },
            Public::Forgotten { conv, sticky_until: None },
        ];
        feeder.feed(Arc::new(over.into_iter().map(Event::from).collect())).await;
    }
    feeder.caught_up().await;
    let _ = stop.send(true);
    let _ = task.await;
    let trimming = trimming(&path);
    format!(
        "{{\"rate\": {rate}, \"reached\": {:.0}, \"cpu_us_per_message\": {:.1}, \"bytes_written_per_message\": {:.0}, \
         \"file_bytes_per_message\": {:.0}, \"frames_behind_at_most\": {behind}, \"rss_mib\": {:.0}, \"trim\": {trimming}}}",
        n / took,
        cpu_used * 1e6 / n,
        bytes / n,
        size(&path) as f64 / (n + CONVERSATIONS as f64),
        named("/proc/self/status", "VmRSS:") / 1024.0,
    )
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("switchboard-history-speed-{}", std::process::id()));
    println!("[");
    for (rate, messages, end) in [(500, 2_000, ","), (1_000, 6_000, ","), (3_000, 18_000, ","), (10_000, 40_000, "")] {
        println!("  {}{end}", at_rate(&dir, rate, messages).await);
    }
    println!("]");
    let _ = std::fs::remove_dir_all(&dir);
}
