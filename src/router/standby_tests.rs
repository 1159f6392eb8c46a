//! Two routers of one workspace, over the log in memory: who leads, who follows, and what changes hands.

use super::{Codec, Member, RouterHandle, Seat, Standing, Stop};
use crate::clock;
use crate::log::memory::{Fate, MemoryLog, MemoryOptions};
use crate::log::{Claim, Class, InRecord, Leader, Log, Told};
use crate::metrics::Metrics;
use crate::packs::{Packs, Source};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::{
    Action, Actor, Address, ChannelProfile, Command, Content, Inbound, Message, Scope, Timestamp, Visibility,
};
use switchboard_routing_rules::event::Event;
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::pack::Environment;
use switchboard_routing_rules::state::Phase;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const PACK: &str = r#"
queues: { everyone: {} }
agents: { ann: { name: Ann, capacity: 3 } }
replies: { refund: "We will look at it." }
rules: [ { name: Refunds, when: { content: { word: refund } }, then: { reply: refund } } ]
default: { queue: everyone }
"#;
/// Saturday, 21 November 2026.
const START: Timestamp = Timestamp(1_795_219_200_000);

/// One log, which several processes share, and what its channel is.
pub(super) struct Workspace(pub MemoryLog, pub ChannelProfile);

impl Workspace {
    pub fn new() -> Workspace {
        Workspace::with(MemoryOptions { clock: Some(clock::now), ..MemoryOptions::default() })
    }

    fn with(options: MemoryOptions) -> Workspace {
        clock::simulated::start(START);
        Workspace(MemoryLog::new(&MemoryOptions { exclusive: false, ..options }), ChannelProfile::new("sms", "phone"))
    }

    /// A log of one process.
    pub fn exclusive() -> Workspace {
        clock::simulated::start(START);
        let options = MemoryOptions { clock: Some(clock::now), ..MemoryOptions::default() };
        Workspace(MemoryLog::new(&options), ChannelProfile::new("sms", "phone"))
    }

    pub async fn process(&self, name: &str) -> Process {
        self.start(name, true).await
    }

    pub async fn start(&self, name: &str, may_lead: bool) -> Process {
        self.starts(name, may_lead, Told::default()).await
    }

    /// A process whose history was told something before.
    pub async fn starts(&self, name: &str, may_lead: bool, told: Told) -> Process {
        self.tries(name, may_lead, told).await.expect("it can start")
    }

    /// Whether a process can start; else why not.
    pub async fn enters(&self, name: &str) -> Result<Process, String> {
        self.tries(name, true, Told::default()).await.map_err(|stop| stop.to_string())
    }

    async fn tries(&self, name: &str, may_lead: bool, told: Told) -> Result<Process, Stop> {
        let own = self.0.of_process(name);
        let log: Arc<dyn Log> = Arc::new(own.clone());
        let files = vec![("pack.yaml".to_owned(), PACK.as_bytes().to_vec())];
        let packs = Arc::new(Packs::new(Source::Files(files), Environment::default()));
        let codec = Arc::new(Codec::new(log.clone()));
        let (fed, feed) = tokio::sync::mpsc::unbounded_channel();
        let seat = Seat {
            channels: BTreeMap::from([("sms".to_owned(), self.1.clone())]),
            salt: Salt([9; 16]),
            limits: Default::default(),
            process: name.to_owned(),
            feed: Box::new(move |seq, _, events| drop(fed.send((seq, events)))),
            may_lead,
            told,
        };
        let (member, handle) = Member::enter(log, codec, packs, Arc::new(Metrics::default()), seat).await?;
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(async move {
            if let Err(stop) = member.run(stopping).await {
                panic!("a router among others does not end: {stop}");
            }
        });
        Ok(Process { log: own, handle, stop, task, feed })
    }

    pub async fn says(&self, id: u32, text: &str) {
        let at = clock::now();
        let number = format!("+1555000{id:04}");
        let message = Message {
            id: format!("sms:message:{id}"),
            channel: "sms".into(),
            thread: number.clone(),
            at,
            received_at: at,
            from: Address::new("phone", number),
            to: None,
            content: Content::text(text),
            references: vec![],
            provider_id: None,
            visibility: Visibility::Private,
            automatic: false,
            authenticated: None,
            meta: BTreeMap::new(),
            raw: None,
            traceparent: None,
            mail: None,
        };
        self.ingest(&Inbound::Message(Box::new(message))).await;
    }

    /// An edge has claimed the one attempt that is in flight, under this nonce.
    async fn claims(&self, router: &Process, nonce: &str) {
        self.says(1, "a refund please").await;
        sleep(Duration::from_secs(1)).await;
        let state = router.handle.state.latest().1;
        let send = state.sends.values().next().expect("an attempt");
        let key = format!("sms.{}.{}.{}", send.id, send.part, send.n);
        assert_eq!(self.0.claim(&key, nonce).await, Ok(Claim::Ours));
    }

    pub async fn ingest(&self, inbound: &Inbound) {
        let (id, channel) = (inbound.id().to_owned(), inbound.channel().to_owned());
        let record = InRecord { id, channel, class: Class::Vital, data: inbound.to_vec().into() };
        self.0.ingest(record).await.expect("there is room");
    }
}

/// A process of the workspace.
pub(super) struct Process {
    pub log: MemoryLog,
    pub handle: RouterHandle,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    feed: tokio::sync::mpsc::UnboundedReceiver<(u64, Arc<Vec<Event>>)>,
}

impl Process {
    pub fn leads(&self) -> bool {
        *self.handle.standing.borrow() == Standing::Leads
    }

    /// SIGKILL.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        self.log.leave();
    }

    /// SIGTERM: what is decided is kept as a snapshot.
    pub async fn ends(self) {
        self.stop.send_replace(true);
        self.task.await.expect("it ends well");
        self.log.leave();
    }

    /// Waits until its router ends by itself, and says with what.
    pub async fn fails(self) -> String {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.task).await.expect("it ends");
        let panicked = ended.expect_err("it does not end well").into_panic();
        self.log.leave();
        panicked.downcast_ref::<String>().cloned().expect("it says why")
    }

    /// Waits until it stands so, and says how long that took.
    async fn stands(&self, wanted: impl Fn(&Standing) -> bool) -> Duration {
        let began = Instant::now();
        let mut standing = self.handle.standing.clone();
        let waited = tokio::time::timeout(Duration::from_secs(60), standing.wait_for(|s| wanted(s))).await;
        assert!(waited.is_ok(), "it is {:?}", self.handle.standing.borrow());
        began.elapsed()
    }

    /// Whether the one attempt is still taken for under way.
    fn waits(&self) -> bool {
        self.handle.state.latest().1.sends.values().all(|s| matches!(s.phase, Phase::InFlight { .. }))
    }

    /// Inputs that its state holds.
    pub fn decided(&self) -> u64 {
        self.handle.state.latest().1.cursor.seq
    }
}

fn hindered(standing: &Standing) -> bool {
    matches!(standing, Standing::Vacant { hindered: Some(why) } if why.contains("clock"))
}

#[tokio::test(start_paused = true)]
async fn a_standby_holds_the_state_and_takes_over_when_the_leader_is_killed() {
    let shop = Workspace::new();
    let (one, mut two) = (shop.process("one").await, shop.process("two").await);
    assert!(one.leads() && !two.leads(), "who comes second follows");
    for n in 1..=20 {
        shop.says(n, "hello").await;
    }
    sleep(Duration::from_millis(600)).await;
    assert_eq!((one.decided(), two.decided()), (20, 20), "it holds what the other decided");
    let frames: Vec<u64> = std::iter::from_fn(|| two.feed.try_recv().ok()).map(|(seq, _)| seq).collect();
    let last = shop.0.log_bounds().await.expect("bounds").1;
    assert_eq!(frames.last(), Some(&last), "and hands every frame to who follows it");
    assert!(frames.windows(2).all(|w| w[0] + 1 == w[1]), "without a gap: {frames:?}");
    one.kill().await;
    let took = two.stands(|s| *s == Standing::Leads).await;
    assert!(took < Duration::from_millis(1500), "{took:?}");
    shop.says(21, "hello").await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(two.decided(), 21);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_goes_on_after_it_was_relieved_discards_what_it_decided_and_follows() {
    let shop = Workspace::new();
    let (one, two) = (shop.process("one").await, shop.process("two").await);
    shop.says(1, "hello").await;
    sleep(Duration::from_millis(100)).await;
    one.log.pause(true);
    shop.says(2, "hello").await;
    assert!(
        two.stands(|s| *s == Standing::Leads).await >= Duration::from_millis(1900),
        "a silent leader is given time"
    );
    shop.says(3, "hello").await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(two.decided(), 3);
    one.log.pause(false);
    one.stands(|s| matches!(s, Standing::Follows(by) if by == "two")).await;
    shop.says(4, "hello").await;
    sleep(Duration::from_millis(600)).await;
    assert!(two.leads() && !one.leads());
    let parts = |p: &Process| p.handle.state.latest().1.to_parts().expect("parts");
    assert_eq!(parts(&one), parts(&two), "both hold the same");
    // And it is ready again.
    two.kill().await;
    one.stands(|s| *s == Standing::Leads).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_routers_that_see_nobody_lead_one_leads_and_neither_ends() {
    let shop = Workspace::new();
    let (one, two) = tokio::join!(shop.process("one"), shop.process("two"));
    sleep(Duration::from_secs(3)).await;
    assert!(one.leads() != two.leads(), "{:?}, {:?}", one.handle.standing.borrow(), two.handle.standing.borrow());
    shop.says(1, "hello").await;
    sleep(Duration::from_millis(600)).await;
    assert_eq!((one.decided(), two.decided()), (1, 1));
    let incarnation = one.handle.state.latest().1.incarnation;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(one.handle.state.latest().1.incarnation, incarnation, "and they do not take turns");
}

#[tokio::test(start_paused = true)]
async fn an_answer_reaches_the_process_that_asked_whoever_decided() {
    let shop = Workspace::new();
    let (_one, two) = (shop.process("one").await, shop.process("two").await);
    let command = Command {
        id: "api:command:1".into(),
        channel: "api".into(),
        at: clock::now(),
        actor: Actor { agent: Some("ann".into()), token: None, scope: Scope::Supervisor },
        action: Action::Presence { agent: "ann".into(), presence: "available".into() },
        body_hash: None,
        traceparent: None,
    };
    let key = two.handle.state.latest().1.hash("input", &[&command.id]);
    let answer = two.handle.answers.expect(key);
    shop.ingest(&Inbound::Command(Box::new(command))).await;
    let answer = tokio::time::timeout(Duration::from_secs(5), answer).await.expect("in time").expect("answered");
    assert_eq!(answer.status, 200);
    let presence = two.handle.state.latest().1.agents.get("ann").map(|a| a.presence.as_str().to_owned());
    assert_eq!(presence.as_deref(), Some("available"), "who is answered sees what the command did");
}

#[tokio::test(start_paused = true)]
async fn sends_that_a_killed_router_left_out_are_sent_by_the_next() {
    for seed in 0..8 {
        let shop = Workspace::with(MemoryOptions { seed, clock: Some(clock::now), ..MemoryOptions::default() });
        let (one, two) = (shop.process("one").await, shop.process("two").await);
        for n in 0..5 {
            shop.says(n, "a refund please").await;
        }
        // The next frame has an answer for each of them, and some are not in OUT when the process dies.
        shop.0.force(Fate::Half);
        while shop.0.log_bounds().await.expect("bounds").1 < 2 {
            tokio::task::yield_now().await;
        }
        one.kill().await;
        two.stands(|s| *s == Standing::Leads).await;
        sleep(Duration::from_millis(100)).await;
        assert_eq!(shop.0.out_last().await, Ok(5), "each once");
        two.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_whose_clock_is_off_the_logs_does_not_lead() {
    let shop = Workspace::with(MemoryOptions::default());
    let ahead = |s: i64| shop.0.set_now(clock::now().plus(s * 1000));
    ahead(7);
    let one = shop.process("one").await;
    assert!(hindered(&one.handle.standing.borrow()), "{:?}", one.handle.standing.borrow());
    assert_eq!(shop.0.log_bounds().await, Ok((1, 0)), "it wrote nothing");
    ahead(-7);
    sleep(Duration::from_secs(20)).await;
    ahead(-7);
    assert!(hindered(&one.handle.standing.borrow()));
    for _ in 0..20 {
        sleep(Duration::from_millis(500)).await;
        ahead(0);
    }
    assert!(one.leads(), "once the clock is set it leads");
    ahead(60);
    one.stands(hindered).await;
    assert_eq!(shop.0.leader().await, Leader::Nobody, "and steps down when it is off again, without ending");
}

#[tokio::test(start_paused = true)]
async fn an_edge_follows_and_never_leads() {
    let shop = Workspace::new();
    let edge = shop.start("edge", false).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(*edge.handle.standing.borrow(), Standing::Vacant { hindered: None });
    assert_eq!(shop.0.log_bounds().await, Ok((1, 0)), "it wrote nothing");
    let router = shop.process("router").await;
    shop.says(1, "hello").await;
    edge.stands(|s| matches!(s, Standing::Follows(by) if by == "router")).await;
    assert_eq!(edge.decided(), 1);
    router.stop.send_replace(true);
    router.task.await.expect("it ends");
    edge.stands(|s| matches!(s, Standing::Vacant { .. })).await;
}

/// The form of the nonces of our own processes.
const EDGE: &str = "00000000000000000000ed9e";

#[tokio::test(start_paused = true)]
async fn a_slow_call_of_an_adapter_elsewhere_is_not_taken_for_lost() {
    let external = ChannelProfile { external: true, ..ChannelProfile::new("sms", "phone") };
    for (profile, nonce) in [
        (external, format!("{EDGE}.7")),
        (ChannelProfile::new("sms", "phone"), "k3jx.7".into()),
        (ChannelProfile::new("sms", "phone"), format!("{EDGE}.x")),
    ] {
        let shop = Workspace(Workspace::new().0, profile);
        let router = shop.process("router").await;
        shop.claims(&router, &nonce).await;
        sleep(Duration::from_secs(100)).await;
        assert!(router.waits(), "{nonce}: its end decides");
        router.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_edge_whose_connection_comes_and_goes_is_not_taken_for_gone() {
    let shop = Workspace::new();
    let router = shop.process("router").await;
    shop.claims(&router, &format!("{EDGE}.1")).await;
    // Until shortly before the attempt's end.
    for _ in 0..7 {
        sleep(Duration::from_secs(9)).await;
        let edge = shop.0.of_process(EDGE);
        sleep(Duration::from_secs(6)).await;
        edge.leave();
    }
    assert!(router.waits(), "it was there now and again");
}

#[tokio::test(start_paused = true)]
async fn what_an_edge_that_is_gone_had_claimed_is_settled_before_its_end() {
    let shop = Workspace::new();
    let router = shop.process("router").await;
    shop.claims(&router, &format!("{EDGE}.1")).await;
    sleep(Duration::from_secs(12)).await;
    assert!(router.waits(), "it may come back");
    sleep(Duration::from_secs(20)).await;
    assert!(!router.waits());
}
