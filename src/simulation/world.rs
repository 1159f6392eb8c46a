//! One simulated life of a workspace: customers, agents, a provider, crashes; then quiet, and the checks.

use super::packs::{OTHER, PACK, THIRD};
use super::plant::TRIP;
use super::provider::{Delivered, Kind, Provider, SimAdapter};
use super::trouble::keeps_tidy;
use crate::clock;
use crate::log::frame::FrameId;
use crate::log::memory::{Backup, Faults, MemoryLog, MemoryOptions, Room};
use crate::log::{Class, InRecord, Log, Seq, Told};
use crate::metrics::Metrics;
use crate::outbound::{Caller, Lane, spawn};
use crate::packs::{Packs, Source};
use crate::router::{Codec, Feed, Member, RouterHandle, Seat};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard_adapter_sdk::{Adapter, Answer, Call};
use switchboard_envelope::{
    Action, Actor, Address, Attachment, Command, ConsentChange, ConsentState, Content, Destination, Inbound, Message,
    Receipt, ReceiptStatus, Scope, Timestamp, Visibility,
};
use switchboard_routing_rules::event::Public;
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::pack::Environment;
use switchboard_routing_rules::state::State;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) const SALT: Salt = Salt([9; 16]);
pub(super) const CHANNEL: &str = "sms";
/// Another channel, on which the same customers write.
pub(super) const CHAT: &str = "chat";
pub(super) const DESK: &str = "team";
/// Saturday, 24 October 2026, in the evening: in the night clocks in Europe go back by an hour.
const START: Timestamp = Timestamp(1_792_872_000_000);
pub(super) const CUSTOMERS: u64 = 6;
/// One of them is a machine, which answers whatever it gets and does not say what it is.
const ROBOT: &str = "+15550000005";

/// SplitMix64.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

/// What the world knows by itself, to compare with.
#[derive(Default)]
pub(super) struct Ledger {
    /// Ids of messages that IN acknowledged, by thread, in the order of the first acknowledgement.
    pub accepted: BTreeMap<String, Vec<String>>,
    /// Messages that were offered to IN, acknowledged or not.
    pub offered: Vec<String>,
    /// Those of them whose decision panics.
    pub tripping: BTreeSet<String>,
    /// Those of them that say that a machine wrote them.
    pub machines: BTreeSet<String>,
    /// Frames after this one were lost, the last time that an older copy was put back.
    pub cut: Option<Seq>,
    /// How many messages the provider had taken then.
    pub before_cut: usize,
    /// How much of what the provider took the machine among the customers has seen.
    heard: usize,
}

/// A process that routes, or is ready to, and sends.
pub(super) struct Process {
    pub log: MemoryLog,
    /// What its history holds of LOG, and keeps over a kill.
    history: Arc<Mutex<Told>>,
    pub handle: RouterHandle,
    stop: watch::Sender<bool>,
    packs: Arc<Packs>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a process held after a frame, when it was killed.
pub(super) struct Lived {
    pub at: Seq,
    pub frame: FrameId,
    pub state: Arc<State>,
}

/// The provider as a process reaches it that may be paused.
struct Reached {
    provider: Provider,
    log: MemoryLog,
}

#[async_trait]
impl Caller for Reached {
    async fn call(&self, call: Call) -> Answer {
        self.log.awake().await;
        let answer = self.provider.call(call).await;
        self.log.awake().await;
        answer
    }
}

pub(super) struct World {
    pub log: MemoryLog,
    pub provider: Provider,
    pub ledger: Ledger,
    pub dice: Dice,
    reconciles: bool,
    pub(super) faults: Faults,
    serial: u64,
    /// How many processes share the log.
    processes: usize,
    /// Names processes: how many were started.
    starts: AtomicU64,
    /// Whether older copies of the log come back in this life, and the one that would.
    restores: bool,
    /// LOG is trimmed.
    pub(super) trims: bool,
    pub(super) backup: Option<Backup>,
    /// Processes that start now have a configuration without the channel.
    pub(super) removed: bool,
    /// What history tells once every process is down.
    told: Told,
    /// The last frame, and the state after it.
    pub end: (Seq, Arc<State>),
    lived: Mutex<Vec<Lived>>,
}

impl Process {
    pub(super) fn told(&self) -> Told {
        *self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Whether older copies may come back in the life of a seed; where they do not, it is the same life without them.
    pub fn has_copies(seed: u64) -> bool {
        Dice::new(seed ^ 0xc0b1e5).below(3) == 0
    }

    /// One life, up to where everything has settled and the promises can be checked.
    pub async fn run(seed: u64, copies: bool) -> Result<World, String> {
        clock::simulated::start(START);
        let mut dice = Dice::new(seed);
        let mild = dice.below(3) == 0;
        let most = |d: &mut Dice, n: u64| u16::try_from(d.below(n)).unwrap_or(0);
        let faults = if mild {
            Faults::default()
        } else {
            Faults {
                forget_duplicate: most(&mut dice, 400),
                answer_lost: most(&mut dice, 60),
                request_lost: most(&mut dice, 60),
                late: most(&mut dice, 60),
                lost_read: most(&mut dice, 40),
                redeliver: most(&mut dice, 100),
                ack_lost: most(&mut dice, 100),
                half: most(&mut dice, 60),
                leader_unseen: most(&mut dice, 100),
                overtaken: most(&mut dice, 500),
            }
        };
        // One process on a log of its own, or one or two on a log that is shared.
        let (exclusive, processes) = [(true, 1), (false, 1), (false, 2), (false, 2)][seat(&mut dice, 4)];
        let clock: Option<fn() -> Timestamp> = Some(clock::now);
        // In some lives IN is soon half full, and is trimmed long before what is in it is old.
        let in_max_bytes = if dice.below(3) == 0 { 40_000 } else { 1 << 26 };
        let log = MemoryLog::new(&MemoryOptions { in_max_bytes, exclusive, seed, faults, clock });
        log.remember_trimmed();
        let provider = Provider::new(Dice::new(seed ^ 0x5eed));
        provider.book().trouble = dice.below(40);
        let reconciles = dice.below(2) == 0;
        provider.book().drops_repeats = dice.below(3) == 0;
        let restores = copies && World::has_copies(seed);
        let ledger = Ledger::default();
        let mut world = World {
            log,
            provider,
            ledger,
            dice,
            reconciles,
            faults,
            serial: 0,
            processes,
            starts: AtomicU64::new(1),
            restores,
            trims: seed.is_multiple_of(3),
            backup: None,
            removed: false,
            told: Told::default(),
            end: (0, Arc::new(State::new(SALT))),
            lived: Mutex::default(),
        };
        world.live().await?;
        world.quiet().await?;
        Ok(world)
    }

    pub(super) fn now(&self) -> Timestamp {
        let now = clock::now();
        self.log.set_now(now);
        now
    }

    /// A process starts: recovery, leading, lanes. Recovery meets the log's faults too, so it may need several tries.
    pub(super) async fn start(&self, told: Told) -> Result<Process, String> {
        self.now();
        let process = format!("{:024x}", self.starts.fetch_add(1, Ordering::Relaxed));
        let own = self.log.of_process(&process);
        let log: Arc<dyn Log> = Arc::new(own.clone());
        let files = vec![("pack.yaml".to_owned(), PACK.as_bytes().to_vec())];
        let packs = Arc::new(Packs::new(Source::Files(files), Environment::default()));
        let same_id_retry = self.provider.book().drops_repeats;
        let adapter = |kind: Kind| -> Arc<dyn Adapter> {
            Arc::new(SimAdapter { kind, reconciles: self.reconciles, same_id_retry })
        };
        let kinds = [(CHANNEL, Kind::Sms), (CHAT, Kind::Chat), (DESK, Kind::Desk)];
        let mut adapters: BTreeMap<_, _> = kinds.into_iter().map(|(id, kind)| (id, adapter(kind))).collect();
        if self.removed {
            adapters.remove(CHANNEL);
        }
        let profiles: BTreeMap<_, _> = adapters.iter().map(|(id, a)| ((*id).to_owned(), a.profile())).collect();
        let metrics = Arc::new(Metrics::default());
        let history = Arc::new(Mutex::new(told));
        let mut tries = 0;
        let (router, handle) = loop {
            let codec = Arc::new(Codec::new(log.clone()));
            let seat = Seat {
                channels: profiles.clone(),
                salt: SALT,
                limits: Default::default(),
                process: process.clone(),
                feed: keeps(history.clone()),
                may_lead: true,
                told,
            };
            let led = Member::enter(log.clone(), codec, packs.clone(), metrics.clone(), seat);
            match led.await {
                Ok(led) => break led,
                Err(e) if tries < 200 => {
                    tries += 1;
                    tracing::debug!(%e, "start failed");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(e) => return Err(format!("the router cannot start: {e}")),
            }
        };
        // Frames from before the start are read from LOG.
        let (frame, state) = handle.state.latest();
        *history.lock().unwrap_or_else(PoisonError::into_inner) =
            Told { frame, id: self.log.frame_id(frame), rebase: state.rebased.map_or(0, |r| r.number) };
        let (stop, stopping) = watch::channel(false);
        let lane = |channel: &str, adapter: Arc<dyn Adapter>| Lane {
            channel: channel.into(),
            adapter,
            log: log.clone(),
            client: Arc::new(Reached { provider: self.provider.clone(), log: own.clone() }),
            transport: None,
            limits: None,
            send_timeout: Duration::from_secs(20),
            metrics: metrics.clone(),
            parallel: 4,
            process: process.clone(),
            links: None,
            clock_wrong: watch::channel(None).1,
            made: Default::default(),
        };
        let lanes = adapters.into_iter().map(|(channel, adapter)| spawn(lane(channel, adapter), stopping.clone()));
        let mut tasks: Vec<_> = lanes.collect();
        tasks.push(tokio::spawn(keeps_tidy(log, handle.clone(), self.trims, stopping.clone())));
        tasks.push(tokio::spawn(async move {
            if let Err(e) = router.run(stopping).await {
                tracing::debug!(%e, "the router stopped");
            }
        }));
        Ok(Process { log: own, history, handle, stop, packs, tasks })
    }

    /// What processes held when they were killed.
    pub(super) fn lived(&self) -> Vec<Lived> {
        std::mem::take(&mut self.lived.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// SIGKILL: nothing of the process runs on, what the log acknowledged stays.
    pub(super) async fn kill(&self, process: Process) {
        let (told, (at, state)) = (process.told(), process.handle.state.latest());
        if told.frame == at && told.id != 0 {
            let lived = Lived { at, frame: told.id, state };
            self.lived.lock().unwrap_or_else(PoisonError::into_inner).push(lived);
        }
        for task in &process.tasks {
            task.abort();
        }
        for task in process.tasks {
            let _ = task.await;
        }
        process.log.leave();
        self.log.crash();
    }

    async fn live(&mut self) -> Result<(), String> {
        let mut crew = vec![];
        while crew.len() < self.processes {
            crew.push(self.start(Told::default()).await?);
        }
        let steps = 30 + self.dice.below(60);
        for _ in 0..steps {
            self.now();
            self.robot_answers().await;
            for i in 0..crew.len() {
                if crew[i].tasks.iter().any(JoinHandle::is_finished) {
                    // The router met the log's faults: the supervisor starts the process again.
                    let told = crew[i].told();
                    self.kill(crew.remove(i)).await;
                    crew.insert(i, self.start(told).await?);
                }
            }
            let one = seat(&mut self.dice, crew.len());
            match self.dice.below(if self.restores { 23 } else { 21 }) {
                0..=5 => self.customer_writes().await,
                6..=9 => self.agent_acts(&crew[one]).await,
                10 => self.provider_reports().await,
                11 => self.consent().await,
                12 => {
                    let ms = self.dice.below(5_000);
                    self.pass(Duration::from_millis(ms)).await;
                }
                13 => {
                    let s = self.dice.below(900);
                    self.pass(Duration::from_secs(s)).await;
                }
                14 => {
                    let told = crew[one].told();
                    self.kill(crew.remove(one)).await;
                    if !crew.is_empty() && self.dice.below(2) == 0 {
                        // Long enough for the other to take over, or not.
                        let ms = self.dice.below(4_000);
                        self.pass(Duration::from_millis(ms)).await;
                    }
                    crew.insert(one, self.start(told).await?);
                }
                17 => self.rules_change(&crew[one]).await,
                18 => self.disk_fills(&crew[one]).await,
                19 if !self.log.exclusive() => self.out_drops().await,
                20 if self.dice.below(3) == 0 => self.channel_leaves(&mut crew).await?,
                21 if self.backup.is_none() => self.backup = Some(self.log.copy()),
                21 | 22 => self.restore(&mut crew).await?,
                15 if crew.len() > 1 => self.pause(&crew[one]).await,
                16 if self.dice.below(4) == 0 => self.clock_goes_ahead().await,
                _ => self.pass(Duration::from_millis(3)).await,
            }
            if self.dice.below(4) == 0 {
                self.pass(Duration::from_millis(30)).await;
            }
        }
        for process in crew {
            self.told = process.told();
            self.kill(process).await;
        }
        Ok(())
    }

    /// Time passes; the log's clock follows.
    pub(super) async fn pass(&self, by: Duration) {
        let mut left = by;
        while !left.is_zero() {
            let step = left.min(Duration::from_secs(5).max(by / 40));
            tokio::time::sleep(step).await;
            self.now();
            left -= step;
        }
    }

    pub(super) async fn customer_writes(&mut self) {
        let number = format!("+1555000000{}", self.dice.below(CUSTOMERS));
        let words = [
            "hello",
            "where is my refund",
            "direct please",
            "thanks",
            "a refund, direct",
            "later, please, number 8",
            "now, number 6",
            "Guten Tag, wo ist denn meine Bestellung? Ich warte schon seit einer Woche darauf.",
        ];
        let text = words[seat(&mut self.dice, words.len())];
        let trips = self.dice.below(25) == 0;
        let channel = self.some_channel();
        let automatic = self.dice.below(12) == 0;
        self.writes(channel, &number, if trips { TRIP } else { text }, automatic).await;
    }

    /// One of the channels on which customers write.
    fn some_channel(&mut self) -> &'static str {
        if self.dice.below(3) == 0 { CHAT } else { CHANNEL }
    }

    /// The machine among the customers answers the latest that it got, in the same words each time.
    async fn robot_answers(&mut self) {
        let (channel, all) = {
            let book = self.provider.book();
            let new = book.delivered.iter().skip(self.ledger.heard).rev().find(|d| d.to == ROBOT);
            (new.map(|d| if d.channel == CHAT { CHAT } else { CHANNEL }), book.delivered.len())
        };
        self.ledger.heard = all;
        if let Some(channel) = channel {
            self.writes(channel, ROBOT, "Thank you, your refund is important to us.", false).await;
        }
    }

    /// A message comes, and comes again until IN has it.
    async fn writes(&mut self, channel: &str, number: &str, text: &str, automatic: bool) {
        self.serial += 1;
        let id = format!("{channel}:message:{}", self.serial);
        self.ledger.tripping.extend((text == TRIP).then(|| id.clone()));
        self.ledger.machines.extend(automatic.then(|| id.clone()));
        self.ledger.offered.push(id.clone());
        let now = self.now();
        let message = Message {
            id: id.clone(),
            channel: channel.into(),
            thread: number.into(),
            at: now,
            received_at: now,
            from: Address::new("phone", number),
            to: None,
            content: Content::text(text),
            references: vec![],
            provider_id: None,
            visibility: Visibility::Private,
            automatic,
            authenticated: None,
            meta: BTreeMap::new(),
            raw: None,
            traceparent: None,
            mail: None,
        };
        let inbound = Inbound::Message(Box::new(message));
        // The provider repeats until it is told that we have it, and now and then once more.
        let mut repeats = 1 + u64::from(self.dice.below(5) == 0);
        let mut tries = 0;
        while repeats > 0 && tries < 50 {
            tries += 1;
            if self.ingest(&inbound).await {
                repeats -= 1;
                let accepted = self.ledger.accepted.entry(number.to_owned()).or_default();
                if !accepted.contains(&id) {
                    accepted.push(id.clone());
                }
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    pub(super) async fn ingest(&self, inbound: &Inbound) -> bool {
        let record = InRecord {
            id: inbound.id().to_owned(),
            channel: inbound.channel().to_owned(),
            class: if matches!(inbound, Inbound::Message(_)) { Class::Message } else { Class::Vital },
            data: inbound.to_vec().into(),
        };
        self.log.ingest(record).await.is_ok()
    }

    /// A command reaches IN; whoever sent it repeats it until it does.
    pub(super) async fn command(&mut self, agent: Option<&str>, action: Action) {
        self.serial += 1;
        let command = Command {
            id: format!("api:command:{}", self.serial),
            channel: "api".into(),
            at: self.now(),
            actor: Actor { agent: agent.map(str::to_owned), token: None, scope: Scope::Supervisor },
            action,
            body_hash: None,
            traceparent: None,
        };
        let inbound = Inbound::Command(Box::new(command));
        for _ in 0..20 {
            if self.ingest(&inbound).await {
                return;
            }
        }
    }

    pub(super) async fn agent_acts(&mut self, process: &Process) {
        let state = process.handle.state.latest().1;
        let agent = ["ann", "bob", "cy"][seat(&mut self.dice, 3)];
        let all: Vec<_> = state.conversations.keys().copied().collect();
        let pick = |dice: &mut Dice| {
            let n = u64::try_from(all.len()).unwrap_or(0);
            all.get(usize::try_from(dice.below(n.max(1))).unwrap_or(0)).map(ToString::to_string)
        };
        let Some(conversation) = pick(&mut self.dice) else {
            return self.command(Some(agent), presence(agent, "available")).await;
        };
        let people: BTreeSet<_> = state.conversations.values().map(|c| c.contact.to_string()).collect();
        let whose = |dice: &mut Dice| people.iter().nth(seat(dice, people.len())).cloned().unwrap_or_default();
        let offer = state.offers().map(|(o, _)| o.to_string()).next();
        let dead = state.sends.values().find(|s| s.is_dead()).map(|s| s.id.to_string());
        let action = match self.dice.below(17) {
            0 | 1 => presence(agent, "available"),
            // Names of packs, each of which others do not know, or take for something else.
            2 => presence(agent, ["away", "offline", "limited", "lunch", "tea"][seat(&mut self.dice, 5)]),
            3..=6 => Action::Reply {
                choices: vec![],
                template: None,
                conversation,
                text: format!("answer {}", self.serial),
                // Each file is a call of its own.
                attachments: vec![Attachment::default(); seat(&mut self.dice, 8).saturating_sub(5)],
                take: self.dice.below(2) == 0,
                seen: None,
            },
            7 => Action::Close { conversation },
            8 => match offer {
                Some(offer) if self.dice.below(2) == 0 => Action::AcceptOffer { offer },
                Some(offer) => Action::DeclineOffer { offer },
                None => Action::Take { conversation },
            },
            9 => Action::Snooze { conversation, until: self.now().plus(60_000) },
            10 => Action::Transfer { conversation, to: Destination::Queue("direct".into()) },
            11 => {
                let to = ["ann", "bob", "cy"][seat(&mut self.dice, 3)];
                Action::Transfer { conversation, to: Destination::Agent(to.into()) }
            }
            // One of ours writes first, and keeps it, or has somebody wait for the answer.
            12 => Action::Start {
                to_channel: self.some_channel().into(),
                to: Address::new("phone", format!("+1555000000{}", self.dice.below(CUSTOMERS))),
                subject: None,
                text: format!("news {}", self.serial),
                destination: match self.dice.below(3) {
                    0 => Some(Destination::Queue("everyone".into())),
                    1 => Some(Destination::Agent("bob".into())),
                    _ => None,
                },
            },
            13 => Action::Update {
                conversation,
                tags: Some([vec!["vip".into()], vec![]][seat(&mut self.dice, 2)].clone()),
                priority: (self.dice.below(2) == 0).then(|| "low".into()),
                attributes: BTreeMap::new(),
            },
            14 => Action::UpdateContact {
                contact: whose(&mut self.dice),
                tags: Some(vec!["loud".into()]),
                attributes: BTreeMap::from([("owner".into(), Some(agent.into()))]),
                consent: BTreeMap::new(),
                unblock: vec![CHANNEL.into(), CHAT.into()],
            },
            15 if self.dice.below(4) == 0 => {
                Action::MergeContact { into: whose(&mut self.dice), from: whose(&mut self.dice) }
            }
            _ => match dead {
                Some(send) => Action::Resend { send },
                None => Action::Reopen { conversation },
            },
        };
        self.command(Some(agent), action).await;
    }

    /// An operator puts a pack in force, tries one, ends that, or takes back what they did.
    async fn rules_change(&mut self, process: &Process) {
        let text = [PACK, OTHER, THIRD][seat(&mut self.dice, 3)];
        let log: Arc<dyn Log> = Arc::new(process.log.clone());
        let files = vec![("pack.yaml".to_owned(), text.as_bytes().to_vec())];
        let staged = process.packs.stage_files(&log, files, false).await;
        let hash = staged.ok().and_then(Result::ok).map(|(pack, _)| pack.hash().to_owned());
        let action = match (self.dice.below(8), hash) {
            (0, _) => Action::EndTrial { promote: true },
            (1, _) => Action::EndTrial { promote: false },
            (2, _) => Action::RollbackPack { to: None },
            (3, Some(hash)) => Action::ReloadPack { hash },
            (_, Some(hash)) => {
                let percent = [20, 50, 100][seat(&mut self.dice, 3)];
                Action::TryPack { hash, percent }
            }
            // The log did not take the pack: the operator tries again another time.
            (_, None) => return,
        };
        self.command(None, action).await;
    }

    async fn provider_reports(&mut self) {
        // Desks report nothing.
        let to_customers = |d: &&Delivered| d.to.starts_with('+');
        let delivered: Vec<_> = self.provider.book().delivered.iter().filter(to_customers).cloned().collect();
        let n = u64::try_from(delivered.len()).unwrap_or(0);
        let Some(d) = delivered.get(usize::try_from(self.dice.below(n.max(1))).unwrap_or(0)) else { return };
        let status = [ReceiptStatus::Accepted, ReceiptStatus::Delivered, ReceiptStatus::Read, ReceiptStatus::Failed]
            [usize::try_from(self.dice.below(4)).unwrap_or(0)];
        let named = self.dice.below(2) == 0;
        let receipt = Receipt {
            thread: None,
            id: format!("{}:receipt:{}:{status:?}", d.channel, d.key()),
            channel: d.channel.clone(),
            provider_id: format!("P{}", d.key()),
            send: named.then(|| d.send.clone()),
            part: named.then_some(d.part),
            n: None,
            status,
            at: self.now(),
            code: None,
            detail: None,
        };
        self.ingest(&Inbound::Receipt(receipt)).await;
    }

    async fn consent(&mut self) {
        self.serial += 1;
        let state = if self.dice.below(3) == 0 { ConsentState::OptedOut } else { ConsentState::OptedIn };
        let channel = self.some_channel();
        let change = ConsentChange {
            id: format!("{channel}:consent:{}", self.serial),
            channel: channel.into(),
            address: Address::new("phone", format!("+1555000000{}", self.dice.below(CUSTOMERS))),
            state,
            at: self.now(),
            reason: None,
            topic: None,
        };
        self.ingest(&Inbound::Consent(change)).await;
    }

    /// The faults end, time passes, everything settles.
    async fn quiet(&mut self) -> Result<(), String> {
        self.log.set_faults(Faults::default());
        self.faults = Faults::default();
        self.log.land_late();
        self.provider.book().trouble = 0;
        self.log.set_room(Room::Enough);
        self.removed = false;
        let process = self.start(self.told).await?;
        self.pass(Duration::from_secs(3 * 3600)).await;
        self.end = process.handle.state.latest();
        process.stop.send_replace(true);
        for task in process.tasks {
            task.await.map_err(|e| format!("P0: a task of the daemon died: {e}"))?;
        }
        Ok(())
    }
}

/// A history that holds what it is handed.
fn keeps(history: Arc<Mutex<Told>>) -> Feed {
    Box::new(move |frame, id, events| {
        let rebased = events.iter().rev().find_map(|e| match e.public {
            Public::Rebased { number, .. } => Some(number),
            _ => None,
        });
        let mut told = history.lock().unwrap_or_else(PoisonError::into_inner);
        *told = Told { frame, id, rebase: rebased.unwrap_or(told.rebase) };
    })
}

/// One of so many places.
pub(super) fn seat(dice: &mut Dice, places: usize) -> usize {
    usize::try_from(dice.below(places as u64)).unwrap_or(0)
}

fn presence(agent: &str, presence: &str) -> Action {
    Action::Presence { agent: agent.into(), presence: presence.into() }
}
