//! Everything that a check has at hand: the broker, the provider, and the adapter between them.

use crate::broker::{Broker, Opened, Own, Record, random_hex};
use crate::delivery::{Proof, Said};
use crate::plan::Plan;
use crate::process::{Places, Running};
use crate::provider::{Act, Call, Provider};
use crate::{On, Stopped, wait};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::{AttemptResult, Inbound, Message, Timestamp};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long something is waited for that must come.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long something is waited for that must not come.
pub(crate) const QUIET: Duration = Duration::from_millis(1500);
/// How long an attempt may be made.
const RELEASED_MS: i64 = 120_000;

pub(crate) struct Bench {
    pub plan: Plan,
    pub broker: Broker,
    pub provider: Provider,
    pub own: Option<Own>,
    pub adapters: Vec<Running>,
    places: Places,
    folder: TempDir,
    on_a_running_broker: bool,
    pub clock: fn() -> Timestamp,
    count: u32,
}

/// An attempt that was released to the adapter.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Found in the call that carries it.
    pub mark: String,
    pub send: String,
    pub record: Value,
    pub until: Timestamp,
}

impl Sent {
    /// Writes another value of the record, before it is released.
    pub(crate) fn set(&mut self, field: &str, value: Value) {
        if let Some(record) = self.record.as_object_mut() {
            record.insert(field.to_owned(), value);
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.record.to_string().into_bytes()
    }
}

impl Bench {
    pub(crate) async fn open(plan: Plan, on: On, clock: fn() -> Timestamp) -> Result<Bench, Stopped> {
        let on_a_running_broker = matches!(on, On::Running(_));
        let Opened { broker, own, server } = Broker::open(on, &plan.adapter.channel).await?;
        let provider = Provider::open(plan.call.clone(), broker.clone(), clock).await?;
        let places = Places {
            server,
            workspace: broker.workspace.clone(),
            prefix: broker.prefix(),
            channel: plan.adapter.channel.clone(),
            provider: provider.url(),
        };
        let folder =
            tempfile::tempdir().map_err(|e| Stopped::Machine(format!("no folder for the adapter's log: {e}")))?;
        let adapters = vec![];
        let mut bench =
            Bench { plan, broker, provider, own, adapters, places, folder, on_a_running_broker, clock, count: 0 };
        if let Err(stopped) = bench.start().await {
            bench.close().await;
            return Err(stopped);
        }
        Ok(bench)
    }

    pub(crate) async fn close(&mut self) {
        for adapter in &mut self.adapters {
            adapter.kill().await;
        }
        if self.on_a_running_broker {
            self.broker.remove().await;
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("adapter.log")
    }

    /// Starts another process of the adapter, and waits until it listens, or says that it is there.
    pub(crate) async fn start(&mut self) -> Result<(), Stopped> {
        let beats = self.broker.beats().len();
        let mut running = Running::start(&self.plan, &self.places, self.log())?;
        let (listens, broker) = (self.plan.deliver.is_some(), self.broker.clone());
        let within = Duration::from_secs(self.plan.adapter.ready.into());
        let listen = running.listen;
        let ready = wait::until(within, async || {
            if let Some(ended) = running.ended() {
                return Some(Err(ended));
            }
            let there = broker.beats().len() > beats;
            let ready = if listens { TcpStream::connect(listen).await.is_ok() } else { there };
            ready.then_some(Ok(()))
        });
        match ready.await {
            Some(Ok(())) => {
                self.adapters.push(running);
                Ok(())
            }
            Some(Err(ended)) => Err(Stopped::Adapter(ended)),
            None => {
                let lacks = if listens {
                    format!("it does not listen at {listen}")
                } else {
                    "it does not say that it is there".into()
                };
                Err(Stopped::Adapter(format!(
                    "{lacks} after {} s; the end of what it wrote:\n{}",
                    within.as_secs(),
                    running.said()
                )))
            }
        }
    }

    /// A mark that is in nothing else.
    fn mark(&mut self) -> String {
        self.count += 1;
        format!("k{}x{}z", random_hex(), self.count)
    }

    /// Something that a person says, not yet delivered.
    pub(crate) fn says(&mut self, ago_ms: i64) -> Said {
        let mark = self.mark();
        let template = self.plan.deliver.as_ref().map_or("kit-{n}", |d| d.id.as_str());
        let number = u64::try_from((self.clock)().0).unwrap_or(0) * 1000 + u64::from(self.count);
        let id = template.replace("{n}", &number.to_string());
        Said { id, text: format!("{mark} déjà vu 😀"), at: (self.clock)().plus(-ago_ms) }
    }

    /// Delivers to the first process; the status of its answer.
    pub(crate) async fn deliver(&self, said: &Said, proof: Proof<'_>) -> Result<u16, String> {
        let Some(deliver) = &self.plan.deliver else { return Err("the plan has no `[deliver]`".into()) };
        self.deliver_body(deliver.fill(&deliver.body, said), proof).await
    }

    pub(crate) async fn deliver_body(&self, body: String, proof: Proof<'_>) -> Result<u16, String> {
        let Some(deliver) = &self.plan.deliver else { return Err("the plan has no `[deliver]`".into()) };
        let Some(adapter) = self.adapters.first() else { return Err("no adapter runs".into()) };
        deliver.post(adapter.listen, body, proof).await
    }

    /// Delivers what must be taken; what is wrong otherwise.
    pub(crate) async fn taken(&self, said: &Said, what: &str) -> Option<String> {
        match self.deliver(said, Proof::Genuine).await {
            Ok(status) if (200..300).contains(&status) => None,
            Ok(status) => Some(format!(
                "{what} was answered {status}, though nothing stood in its way: answer 2xx once IN has it"
            )),
            Err(why) => Some(format!("{what} was not answered: {why}")),
        }
    }

    /// The messages in IN that carry `said`.
    pub(crate) async fn heard(&self, said: &Said) -> Vec<(Arc<Record>, Message)> {
        let records = self.broker.records().await.unwrap_or_default();
        let mark = said.text.split(' ').next().unwrap_or_default();
        let of = |r: Arc<Record>| match &r.read {
            Ok(Inbound::Message(m)) if m.content.text.contains(mark) => Some((Arc::clone(&r), (**m).clone())),
            _ => None,
        };
        records.into_iter().filter_map(of).collect()
    }

    /// The same, once there is one.
    pub(crate) async fn hears(&self, said: &Said) -> Vec<(Arc<Record>, Message)> {
        let found = wait::until(SOON, async || Some(self.heard(said).await).filter(|found| !found.is_empty())).await;
        found.unwrap_or_default()
    }

    /// An attempt, not yet released.
    pub(crate) fn attempt(&mut self, act: Act, for_ms: i64) -> Sent {
        let (mark, until) = (self.mark(), (self.clock)().plus(for_ms));
        let (send, channel) = (format!("m{mark}"), self.plan.adapter.channel.clone());
        let (kind, to) = self.plan.call.as_ref().map_or(("kit", "ann"), |c| (c.kind.as_str(), c.to.as_str()));
        let record = json!({
            "v": 1, "type": "send", "send": send, "part": 1, "n": 1, "until": until, "channel": channel, "conversation": "c1",
            "thread": to, "to": { "kind": kind, "value": to }, "content": { "text": format!("{mark} answers") },
            "author": { "kind": "agent", "id": "ann" }, "reply_to": [],
        });
        self.provider.expect(&mark, format!("{channel}.{send}.1.1"), act);
        Sent { mark, send, record, until }
    }

    /// Releases an attempt that the provider treats in this way.
    pub(crate) async fn release(&mut self, act: Act) -> Result<Sent, String> {
        let sent = self.attempt(act, RELEASED_MS);
        self.broker.put(sent.bytes()).await?;
        Ok(sent)
    }

    pub(crate) fn key(&self, sent: &Sent) -> String {
        format!("{}.{}.1.1", self.plan.adapter.channel, sent.send)
    }

    pub(crate) fn calls(&self, sent: &Sent) -> Vec<Call> {
        self.provider.calls(&sent.mark)
    }

    /// Waits for the first call of an attempt.
    pub(crate) async fn called(&self, sent: &Sent) -> bool {
        wait::until(SOON, async || (!self.calls(sent).is_empty()).then_some(())).await.is_some()
    }

    /// What was said of an attempt so far.
    pub(crate) async fn results(&self, sent: &Sent) -> Vec<AttemptResult> {
        let records = self.broker.records().await.unwrap_or_default();
        let of = |r: &Arc<Record>| match &r.read {
            Ok(Inbound::Result(result)) if result.send == sent.send => Some(result.clone()),
            _ => None,
        };
        records.iter().filter_map(of).collect()
    }

    /// The same, once there is one.
    pub(crate) async fn result(&self, sent: &Sent, within: Duration) -> Option<AttemptResult> {
        wait::until(within, async || self.results(sent).await.into_iter().next()).await
    }

    pub(crate) async fn quiet(&self) {
        tokio::time::sleep(QUIET).await;
    }

    /// Seconds since the adapter said that it is there, and the longest silence between two times.
    pub(crate) fn silence(&self) -> Option<(Duration, Duration)> {
        let beats = self.broker.beats();
        let last = beats.last()?;
        let gaps = beats.iter().zip(beats.iter().skip(1)).map(|(a, b)| b.duration_since(*a));
        Some((Instant::now().duration_since(*last), gaps.max().unwrap_or_default()))
    }
}
