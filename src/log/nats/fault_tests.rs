//! The broker killed, paused, cut off and full, under traffic: nothing acknowledged is lost, and nothing is doubled.

use super::{NatsLog, NatsOptions};
use crate::log::{
    Claim, Class, Commit, FrameWrite, Ingested, Log, LogError,
    conformance::{frame, ingest, record, send, seqs, texts, within},
};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use switchboard_simulators::NatsServer;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

const PRODUCERS: usize = 16;

fn options(url: String) -> NatsOptions {
    let mut options = NatsOptions::new(vec![url], "main", crate::outbound::process_name());
    options.timeout = Duration::from_millis(500);
    options
}

/// Producers, a router and an edge that never give up, and what they were told.
struct Load {
    log: Arc<NatsLog>,
    stop: AtomicBool,
    acknowledged: Mutex<Vec<String>>,
    frames: Mutex<u64>,
    progress: watch::Sender<u64>,
}

impl Load {
    fn start(log: Arc<NatsLog>) -> (Arc<Load>, JoinSet<()>) {
        let load = Arc::new(Load {
            log,
            stop: AtomicBool::new(false),
            acknowledged: Mutex::default(),
            frames: Mutex::default(),
            progress: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        for producer in 0..PRODUCERS {
            tasks.spawn(Arc::clone(&load).produce(producer));
        }
        tasks.spawn(Arc::clone(&load).route());
        (load, tasks)
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    async fn produce(self: Arc<Self>, producer: usize) {
        for n in 0.. {
            let id = format!("p{producer:02}:{n:06}");
            // As a provider does: the same delivery again, until it is answered.
            while self.log.ingest(record(&id, Class::Message)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.acknowledged.lock().expect("lock").push(id);
            self.progress.send_modify(|n| *n += 1);
            if !self.goes_on() {
                return;
            }
        }
    }

    /// Each frame releases two sends, and the first of them is claimed.
    async fn route(self: Arc<Self>) {
        for n in 0.. {
            let first = 2 * n + 1;
            let write = frame(&format!("frame {n}"), first, vec![send("sms", first), send("sms", first + 1)]);
            self.commit_surely(n, write).await;
            *self.frames.lock().expect("lock") = n + 1;
            let (key, nonce) = (format!("sms.s{first}.1.1"), format!("nonce {first}"));
            let claim = loop {
                match self.log.claim(&key, &nonce).await {
                    Ok(claim) => break claim,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            assert_eq!(claim, Claim::Ours, "nobody else claims");
            if !self.goes_on() {
                return;
            }
        }
    }

    /// As the router does: the same bytes until their fate is known.
    async fn commit_surely(&self, expected: u64, write: FrameWrite) {
        loop {
            match self.log.commit(expected, write.clone()).await {
                Commit::Done(seq) => return assert_eq!(seq, expected + 1),
                Commit::Unknown(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Commit::Conflict => {
                    while let Err(error) = self.log.read_log(expected, 1).await {
                        assert!(matches!(error, LogError::Unavailable(_)), "{error}");
                    }
                    let there = self.log.read_log(expected, 1).await.map(|there| texts(&there));
                    let Ok(there) = there else { continue };
                    let ours = String::from_utf8_lossy(&write.bytes).into_owned();
                    return assert_eq!(there, [ours], "a conflict with nobody but ourselves");
                }
            }
        }
    }

    /// Waits until so many more records were acknowledged: the log works.
    async fn advance(&self, by: u64) {
        let mut progress = self.progress.subscribe();
        let target = *progress.borrow() + by;
        progress.wait_for(|n| *n >= target).await.expect("the load runs");
    }

    async fn end(&self, mut tasks: JoinSet<()>) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no task failed");
        }
    }

    /// Counts with a connection of its own, which was never in trouble.
    async fn check(&self, url: String) {
        let mut options = options(url);
        options.timeout = Duration::from_secs(5);
        let log = NatsLog::open(&options).await.expect("opens");
        let (mut stored, mut after) = (Vec::new(), 0);
        loop {
            let page = log.read_in(after, 1000).await.expect("read");
            let Some(last) = page.last() else { break };
            after = last.seq;
            stored.extend(texts(&page));
        }
        let once: BTreeSet<&String> = stored.iter().collect();
        assert_eq!(once.len(), stored.len(), "something is in IN twice");
        for id in self.acknowledged.lock().expect("lock").iter() {
            assert!(once.contains(&format!("data of {id}")), "{id} was acknowledged, and is gone");
        }
        let frames = *self.frames.lock().expect("lock");
        let (first, last) = log.log_bounds().await.expect("bounds");
        assert_eq!((first, last), (1, frames), "frames lost or doubled");
        assert_eq!(log.out_last().await, Ok(2 * frames), "sends lost or doubled");
        let mut outbox = log.outbox("sms").await.expect("outbox");
        let mut next = 1;
        while next <= (2 * frames).min(200) {
            for record in outbox.next(50).await.expect("next") {
                assert_eq!((record.seq, texts(&[record])[0].clone()), (next, format!("send {next}")));
                next += 1;
            }
        }
        for n in 0..frames {
            let first = 2 * n + 1;
            let holder = log.claimed(&format!("sms.s{first}.1.1")).await;
            assert_eq!(holder, Ok(Some(format!("nonce {first}"))), "a claim is gone, and could be taken twice");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_traffic_loses_and_doubles_nothing() {
    let mut broker = NatsServer::start();
    let (load, tasks) = Load::start(NatsLog::open(&options(broker.url())).await.expect("open"));
    for round in 0..8 {
        within(load.advance(200 + 37 * round)).await;
        broker.restart();
    }
    within(load.advance(200)).await;
    within(load.end(tasks)).await;
    within(load.check(broker.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_paused_past_every_timeout_loses_and_doubles_nothing() {
    let broker = NatsServer::start();
    let (load, tasks) = Load::start(NatsLog::open(&options(broker.url())).await.expect("open"));
    for round in 0..3 {
        within(load.advance(200 + 37 * round)).await;
        broker.pause();
        // All that is under way is given up: the same question fails for somebody new.
        let asked = within(load.log.ingest(record(&format!("while paused {round}"), Class::Message))).await;
        assert!(matches!(asked, Err(LogError::Unavailable(_))), "{asked:?}");
        broker.resume();
    }
    within(load.advance(200)).await;
    within(load.end(tasks)).await;
    within(load.check(broker.url())).await;
}

/// Stands between the daemon and the broker, and can cut what goes through it.
struct Cable {
    address: SocketAddr,
    cut: watch::Sender<u64>,
    _accepting: JoinHandle<()>,
}

impl Cable {
    async fn to(broker: &NatsServer) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let target = broker.url()["nats://".len()..].to_owned();
        let cut = watch::Sender::new(0);
        let cuts = cut.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (target, mut cut) = (target.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(&target).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Cable { address, cut, _accepting: accepting }
    }

    fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_under_traffic_loses_and_doubles_nothing() {
    let broker = NatsServer::start();
    let cable = Cable::to(&broker).await;
    let url = format!("nats://{}", cable.address);
    let (load, tasks) = Load::start(NatsLog::open(&options(url)).await.expect("open"));
    for round in 0..20 {
        within(load.advance(50 + 13 * round)).await;
        cable.cut();
    }
    within(load.advance(200)).await;
    within(load.end(tasks)).await;
    within(load.check(broker.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_outboxes_go_on_after_the_broker_was_killed() {
    let mut broker = NatsServer::start();
    let log = NatsLog::open(&options(broker.url())).await.expect("open");
    let mut outbox = log.outbox("sms").await.expect("outbox");
    for round in 0..4_u64 {
        ingest(&*log, &format!("before {round}")).await;
        let write = frame("frame", round + 1, vec![send("sms", round)]);
        assert_eq!(log.commit(round, write).await, Commit::Done(round + 1));
        let sent = within(async {
            loop {
                match outbox.next(5).await {
                    Ok(records) if records.iter().any(|r| r.seq == round + 1) => return records,
                    Ok(_) | Err(LogError::Unavailable(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        })
        .await;
        for one in sent {
            outbox.ack(one.seq).await.expect("ack");
        }
        let mut tail = log.in_tail();
        broker.restart();
        let after = format!("after {round}");
        // The first question may meet the end of the old connection.
        within(async { while log.ingest(record(&after, Class::Vital)).await.is_err() {} }).await;
        within(tail.wait_for(|seq| *seq >= 2 * (round + 1))).await.expect("the log is open");
        let there = within(log.read_in(0, 100)).await.expect("read");
        assert_eq!(seqs(&there), (1..=2 * (round + 1)).collect::<Vec<_>>());
    }
}

/// The broker comes back as it was before a claim, and LOG ended there already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_gone_puts_the_log_in_doubt_though_every_frame_is_there() {
    let mut broker = NatsServer::start();
    let log = NatsLog::open(&options(broker.url())).await.expect("open");
    assert_eq!(log.commit(0, frame("frame", 1, vec![send("sms", 1)])).await, Commit::Done(1));
    let copy = broker.copy();
    let key = "sms.s1.1.1";
    within(async { while log.claim(key, "ours.1").await != Ok(Claim::Ours) {} }).await;
    assert!(!log.doubt().is_doubted());
    broker.restore(&copy);
    // Another process is quicker, and its claim stands in the place of the one that is gone.
    let other = NatsLog::open(&options(broker.url())).await.expect("open");
    within(async { while other.claim("sms.s9.1.1", "theirs.1").await != Ok(Claim::Ours) {} }).await;
    within(async {
        loop {
            match log.claim(key, "ours.2").await {
                Err(LogError::Unavailable(why)) if why.contains("no router has rebased") => return,
                Err(LogError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    log.doubt().rebased(log.doubt().log_life(), 0);
    assert!(!other.doubt().is_doubted(), "it made none that is gone");
    assert_eq!(within(log.claim(key, "ours.3")).await, Ok(Claim::Ours), "the router that rebased answers for it");
    broker.restart();
    within(async { while log.claim("sms.s2.1.1", "ours.4").await.is_err() {} }).await;
    assert!(!log.doubt().is_doubted(), "what came since is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_takes_the_same_frame_once_there_is_room() {
    let broker = NatsServer::start();
    let mut options = options(broker.url());
    options.sizes.log = 1 << 20;
    let log = NatsLog::open(&options).await.expect("open");
    let bytes = Bytes::from(vec![7; 100_000]);
    let large = |first| FrameWrite { bytes: bytes.clone(), ..frame("", first, vec![send("sms", first)]) };
    let mut last = 0;
    let refused = loop {
        match log.commit(last, large(last + 1)).await {
            Commit::Done(seq) => last = seq,
            other => break other,
        }
        assert!(last < 20, "the limit is not kept");
    };
    assert!(matches!(&refused, Commit::Unknown(why) if why.contains("maximum bytes")), "{refused:?}");
    assert_eq!(log.out_last().await, Ok(last), "a frame that found no room sends nothing");
    log.trim_log(3).await.expect("trim");
    assert_eq!(log.commit(last, large(last + 1)).await, Commit::Done(last + 1));
    assert_eq!(log.out_last().await, Ok(last + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_whose_router_was_killed_before_its_sends_is_completed() {
    let broker = NatsServer::start();
    let log = NatsLog::open(&options(broker.url())).await.expect("open");
    let write = frame("half done", 1, vec![send("sms", 1), send("chat", 2), send("sms", 3)]);
    // What a router leaves that is killed after the frame and one of its three sends.
    log.committer.append_alone(&write, 1).await;
    assert_eq!(log.out_last().await, Ok(1));
    log.complete(1, write.sends.clone()).await.expect("complete");
    log.complete(1, write.sends.clone()).await.expect("again");
    assert_eq!(log.out_last().await, Ok(3), "each once");
    let other = frame("half done too", 4, vec![send("sms", 4), send("sms", 5)]);
    log.committer.append_alone(&other, 0).await;
    assert_eq!(log.commit(1, other).await, Commit::Conflict, "the frame is there");
    assert_eq!(log.out_last().await, Ok(5), "and now its sends are too");
    let mut outbox = log.outbox("sms").await.expect("outbox");
    let mut sent = Vec::new();
    while sent.len() < 4 {
        sent.extend(texts(&outbox.next(9).await.expect("next")));
    }
    assert_eq!(sent, ["send 1", "send 3", "send 4", "send 5"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_older_than_the_brokers_memory_is_stored_again() {
    let broker = NatsServer::start();
    let mut options = options(broker.url());
    options.duplicate_window = Duration::from_millis(200);
    let log = NatsLog::open(&options).await.expect("open");
    assert_eq!(ingest(&*log, "an event").await, Ingested::Stored(1));
    let mut again = Ingested::Duplicate;
    within(async {
        while again == Ingested::Duplicate {
            again = ingest(&*log, "an event").await;
        }
    })
    .await;
    assert_eq!(again, Ingested::Stored(2), "so the state's memory must decide");
}

/// Far below what a quiet machine does (tens of thousands a second), and far above what one round trip a record allows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingests_of_many_callers_do_not_wait_for_each_other() {
    const CALLERS: usize = 256;
    const EACH: usize = 100;
    let broker = NatsServer::start();
    let mut options = options(broker.url());
    options.timeout = Duration::from_secs(20);
    let log = NatsLog::open(&options).await.expect("open");
    let started = std::time::Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let log = Arc::clone(&log);
        callers.spawn(async move {
            for n in 0..EACH {
                ingest(&*log, &format!("{caller}:{n}")).await;
            }
        });
    }
    within(async { while callers.join_next().await.is_some_and(|ended| ended.is_ok()) {} }).await;
    let rate = (CALLERS * EACH) as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0} ingests a second from {CALLERS} callers");
    assert_eq!(log.read_in((CALLERS * EACH) as u64 - 1, 2).await.expect("read").len(), 1, "all are there");
    assert!(rate > 1000.0, "{rate:.0} ingests a second");
}
