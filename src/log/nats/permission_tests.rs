//! deploy/nats-users.conf: with its permissions, and none beside them, everything works; what it does not allow is denied.

use super::{Credentials, NatsLog, NatsOptions, Part};
use crate::log::{
    Claim, Class, Commit, FrameWrite, Ingested, Log,
    conformance::{frame, record, send, take, texts, within},
};
use bytes::Bytes;
use std::path::Path;
use std::time::{Duration, Instant};
use switchboard_adapter_sdk::Secret;
use switchboard_envelope::Timestamp;
use switchboard_simulators::NatsServer;
use tokio::sync::mpsc;

/// A pair made for this test.
const SEED: &str = "SUAPT3AUXD5JGY672D4BLUSBURXBNBLQBYDLURDRA354V7MJGTR5AG5WOY";
const PUBLIC: &str = "UBZAXALZ65UGYXAEGG7QSOCK4HTSF3HFR52A2O6P6HFPJADXZQFBMX7V";

const ROUTER: (&str, &str) = (
    "SUAKWI4TLIOTMWLZXQGZATP7QAFO6WY6IRHN42KWVDBYLNCI6TXVSY4WEE",
    "UBC2O7WOVSIMQLBZACKRSJGBR5E7NXAUEVZCGC67RD3DONH67JTS6CLV",
);
const EDGE: (&str, &str) = (
    "SUACKR47KFVSZY5QY4VYPPYAZURW7AAFOI5MH7XAG473HA2VEAOT5JMOKM",
    "UA7K7SGKOVBIO33OVFIDZDIBRFPOONSRKQ6HVCAFSLHPMYW6QT445FJT",
);

/// What the head of the shipped file says of another prefix.
const OTHER_PREFIX: &str = "shop.eu";

/// A broker with the shipped permissions for this prefix.
fn broker_of(prefix: &str) -> NatsServer {
    let inboxes = format!("_INBOX_{}_main", prefix.replace('.', "_"));
    let conf = shipped().replace("_INBOX_sb_main", &inboxes).replace("sb.main.", &format!("{prefix}.main."));
    assert!(prefix == "sb" || !(conf.contains("sb.main") || conf.contains("_sb_")), "{conf}");
    NatsServer::with(&conf)
}

/// A broker with the shipped permissions.
fn broker() -> NatsServer {
    NatsServer::with(&shipped())
}

fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nats-users.conf");
    let shipped = std::fs::read_to_string(&path).expect("deploy/nats-users.conf");
    assert!(shipped.contains("nkey: $DAEMON_NKEY"), "the place of the key");
    // The entries that are shipped behind `#` as well: of each role, and of an adapter.
    let entry = |line: &str| {
        let rest = line.strip_prefix("      #").filter(|rest| !rest.starts_with(' ') || rest.starts_with("  "));
        format!("{}\n", rest.unwrap_or(line))
    };
    let all: String = shipped.lines().map(entry).collect();
    let keys =
        [("$DAEMON_NKEY", PUBLIC), ("$ROUTER_NKEY", ROUTER.1), ("$EDGE_NKEY", EDGE.1), ("$LINE_PASSWORD", "secret")];
    keys.iter().fold(all, |conf, (name, key)| conf.replace(name, key))
}

fn options(broker: &NatsServer, part: Part, process: &str, seed: &str) -> NatsOptions {
    let credentials = Credentials::Nkey(Secret::new(seed));
    NatsOptions { credentials, part, ..NatsOptions::new(vec![broker.url()], "main", process.into()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_permissions_suffice() {
    for prefix in ["sb", OTHER_PREFIX] {
        let broker = broker_of(prefix);
        let options = options(&broker, Part::All, "process", SEED);
        suffices(NatsOptions { prefix: prefix.into(), ..options }).await;
    }
}

/// The daemon does everything that it ever does.
async fn suffices(options: NatsOptions) {
    let work = async {
        let log = NatsLog::open(&options).await.expect("open");
        assert_eq!(log.ingest(record("one", Class::Message)).await, Ok(Ingested::Stored(1)));
        assert_eq!(log.ingest(record("one", Class::Message)).await, Ok(Ingested::Duplicate));
        let first = FrameWrite { keys: vec![("ann".into(), [1; 32])], ..frame("frame", 1, vec![send("sms", 1)]) };
        assert_eq!(log.commit(0, first).await, Commit::Done(1));
        assert_eq!(log.commit(0, frame("other", 2, vec![])).await, Commit::Conflict);
        let mut outbox = log.outbox("sms").await.expect("outbox");
        let sent = take(&mut *outbox, 1).await;
        outbox.ack(sent[0].seq).await.expect("ack");
        assert_eq!(log.claim("sms.s1.1.1", "edge").await, Ok(Claim::Ours));
        assert_eq!(log.claim("sms.s1.1.1", "other").await, Ok(Claim::Taken));
        let blob = log.put_blob("sms/ann", Bytes::from_static(b"a picture")).await.expect("put");
        assert_eq!(log.get_blob("sms/ann", &blob).await, Ok(Some(Bytes::from_static(b"a picture"))));
        log.delete_blob("sms/ann", &blob).await.expect("delete");
        log.put_cursor("poll.sms", "page 2").await.expect("put");
        assert_eq!(log.get_cursor("poll.sms").await, Ok(Some("page 2".into())));
        log.delete_cursor("poll.sms").await.expect("delete");
        for at in 1..=3 {
            log.put_snapshot(at, Bytes::from_static(b"state")).await.expect("put");
        }
        assert_eq!(log.snapshots().await.expect("snapshots").len(), 2);
        log.delete_key("ann").await.expect("delete");
        assert_eq!(log.get_keys(&["ann".into()]).await, Ok(vec![None]));
        assert!(!log.is_gone("process").await && log.is_gone("nobody").await);
        log.stand(true).await.expect("stand");
        assert_eq!(
            log.leader().await,
            crate::log::Leader::Here(format!("process process, pid {}", std::process::id()))
        );
        log.stand(false).await.expect("stand");
        assert_eq!(log.leader().await, crate::log::Leader::Nobody);
        assert_eq!(log.duty("poll.sms").await, Ok(true));
        log.leave_duty("poll.sms").await.expect("left");
        drop(log);
        // What a new start reads lies further back than its memory.
        let log = NatsLog::open(&options).await.expect("open again");
        assert_eq!(texts(&log.read_in(0, 9).await.expect("read")), ["data of one"]);
        assert_eq!(texts(&log.read_log(0, 9).await.expect("read")), ["frame"]);
        log.trim_in(1).await.expect("trim");
        log.trim_log(1).await.expect("trim");
        log.trim_out(log.now().await.expect("now").plus(1)).await.expect("trim");
        assert_eq!((log.claimed("sms.s1.1.1").await, log.out_last().await), (Ok(None), Ok(1)));
        assert!(log.now().await.expect("now") > Timestamp(0));
    };
    within(work).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_permissions_of_each_role_suffice() {
    for prefix in ["sb", OTHER_PREFIX] {
        roles_suffice(prefix).await;
    }
}

/// A router decides and an edge sends, each with the permissions of its role.
async fn roles_suffice(prefix: &str) {
    let broker = broker_of(prefix);
    let options = |broker: &NatsServer, part, process, seed| NatsOptions {
        prefix: prefix.into(),
        ..options(broker, part, process, seed)
    };
    let work = async {
        let router = NatsLog::open(&options(&broker, Part::Router, "router", ROUTER.0)).await.expect("open");
        let made = router.put_key("workspace", [7; 32]).await.expect("key");
        let edge = NatsLog::open(&options(&broker, Part::Edge, "edge", EDGE.0)).await.expect("open");
        assert_eq!(edge.put_key("workspace", [8; 32]).await, Ok(made), "the one that is there");
        assert_eq!(edge.ingest(record("one", Class::Message)).await, Ok(Ingested::Stored(1)));
        router.in_tail().wait_for(|last| *last >= 1).await.expect("the record is followed");
        assert_eq!(texts(&router.read_in(0, 9).await.expect("read")), ["data of one"]);
        let first = FrameWrite { keys: vec![("ann".into(), [1; 32])], ..frame("frame", 1, vec![send("sms", 1)]) };
        assert_eq!(router.commit(0, first).await, Commit::Done(1));
        drop(router.outbox("external").await.expect("the consumer of an adapter elsewhere"));
        for hold in [true, false] {
            assert_eq!(router.hold_out(&["external".into(), "none".into()], hold).await, Ok(()));
        }
        assert_eq!(edge.get_keys(&["ann".into()]).await, Ok(vec![Some([1; 32])]));
        let mut frames = edge.log_tail();
        frames.wait_for(|last| *last >= 1).await.expect("the frame is followed");
        assert_eq!(texts(&edge.read_log(0, 9).await.expect("read")), ["frame"]);
        let mut outbox = edge.outbox("sms").await.expect("outbox");
        let sent = take(&mut *outbox, 1).await;
        outbox.ack(sent[0].seq).await.expect("ack");
        assert_eq!(edge.claim("sms.s1.1.1", "edge.1").await, Ok(Claim::Ours));
        assert_eq!(router.claimed("sms.s1.1.1").await, Ok(Some("edge.1".into())));
        assert!(edge.get_in(1).await.expect("a record of IN").is_some());
        let blob = edge.put_blob("sms/ann", Bytes::from_static(b"a picture")).await.expect("put");
        assert_eq!(router.get_blob("sms/ann", &blob).await, Ok(Some(Bytes::from_static(b"a picture"))));
        router.delete_blob("sms/ann", &blob).await.expect("delete");
        edge.put_cursor("poll.sms", "page 2").await.expect("put");
        assert_eq!(edge.get_cursor("poll.sms").await, Ok(Some("page 2".into())));
        assert_eq!(edge.duty("poll.sms").await, Ok(true));
        router.put_snapshot(1, Bytes::from_static(b"state")).await.expect("put");
        assert_eq!(edge.snapshots().await.expect("snapshots").len(), 1);
        router.stand(true).await.expect("stand");
        // Its subscription is on its way to the broker.
        while !matches!(edge.leader().await, crate::log::Leader::Here(_)) {}
        assert!(!router.is_gone("edge").await);
        assert!(edge.in_fill().await.is_ok() && edge.now().await.is_ok() && edge.log_bounds().await == Ok((1, 1)));
        router.trim_in(1).await.expect("trim");
        router.trim_log(1).await.expect("trim");
        router.trim_out(router.now().await.expect("now").plus(1)).await.expect("trim");
        router.delete_key("ann").await.expect("delete");
    };
    within(work).await;
}

/// What a process of this seed says at its start of a power cut, and how long it took to start.
async fn durability(broker: &NatsServer, seed: &str) -> (String, Duration) {
    let began = Instant::now();
    let log = NatsLog::open(&options(broker, Part::All, "process", seed)).await.expect("open");
    (log.durability(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_power_cut_can_take_is_asked_of_the_servers() {
    let always = "jetstream { store_dir: \"store\", max_file_store: 200GB, sync_interval: always }\n";
    for (conf, says) in [
        (shipped(), "on disk every 2 minutes: a power cut there can take what was acknowledged since"),
        (format!("{}{always}", shipped()), "before it answers: a power cut takes nothing"),
        // Nobody may ask.
        (shipped().replace(", \"$SYS.REQ.SERVER.PING.VARZ\"", ""), "on disk perhaps only every 2 minutes"),
        // Everybody may, and nobody answers.
        (shipped().replace("imports: [ { service", "#"), "on disk perhaps only every 2 minutes"),
    ] {
        let (said, took) = durability(&NatsServer::with(&conf), SEED).await;
        assert!(said.contains("one copy") && said.contains(says), "{said}");
        println!("{took:?}: {said}");
    }
    let plain = NatsServer::start();
    let log = NatsLog::open(&NatsOptions::new(vec![plain.url()], "main", "process".into())).await.expect("open");
    assert!(log.durability().contains("on disk perhaps only every 2 minutes"), "{}", log.durability());
}

/// An edge may be started first. What it needs of a router it waits for, however long that takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_waits_for_the_streams_and_keys_of_a_router() {
    let broker = broker();
    let early = options(&broker, Part::Edge, "edge", EDGE.0);
    // Longer than a connection is tried.
    let early = NatsOptions { connect: Duration::from_millis(100), ..early };
    let edge = tokio::spawn(async move { NatsLog::open(&early).await });
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!edge.is_finished(), "an edge that has nothing to serve is there");
    let router = NatsLog::open(&options(&broker, Part::Router, "router", ROUTER.0)).await.expect("open");
    let edge = within(edge).await.expect("it ran").expect("open");
    let waits = tokio::spawn(async move { edge.put_key("workspace", [8; 32]).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!waits.is_finished(), "an edge makes no key");
    router.put_key("workspace", [7; 32]).await.expect("key");
    assert_eq!(within(waits).await.expect("it ran"), Ok([7; 32]), "the router's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_may_not_decide_and_a_router_may_not_take_what_is_to_be_sent() {
    let broker = broker();
    let log = NatsLog::open(&options(&broker, Part::All, "process", SEED)).await.expect("open");
    let of_an_edge = [
        "sb.main.log",
        "sb.main.out.sms",
        "$KV.SB_main_KEYS.ann",
        "$KV.SB_main_EDGES.switchboard.snapshots",
        "$JS.API.STREAM.CREATE.SB_main_IN",
        "$JS.API.CONSUMER.PAUSE.SB_main_OUT.sms",
        "$JS.API.STREAM.PURGE.SB_main_LOG",
        "$JS.API.STREAM.PURGE.KV_SB_main_CLAIMS",
        "$JS.API.STREAM.MSG.DELETE.KV_SB_main_KEYS",
        "$JS.API.STREAM.MSG.DELETE.KV_SB_main_EDGES",
    ];
    denied(&broker, EDGE.0, &of_an_edge, &["sb.main.router", "_INBOX_sb_main_router.>"]).await;
    let of_a_router = ["$JS.API.CONSUMER.MSG.NEXT.SB_main_OUT.sms", "$JS.ACK.SB_main_OUT.sms.1.1.1.1.0"];
    denied(&broker, ROUTER.0, &of_a_router, &["_INBOX_sb_main_edge.>"]).await;
    drop(log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_shipped_permissions_leave_out_is_denied() {
    let broker = broker();
    let publishes = [
        "$JS.API.STREAM.DELETE.SB_main_IN",
        "$JS.API.STREAM.UPDATE.SB_main_LOG",
        "$JS.API.STREAM.PURGE.KV_SB_main_KEYS",
        "$JS.API.STREAM.MSG.DELETE.SB_main_LOG",
        "$JS.API.STREAM.CREATE.SB_other_IN",
        "$JS.API.STREAM.MSG.GET.KV_SB_other_KEYS",
        "$JS.API.CONSUMER.DELETE.SB_main_OUT.sms",
        "$KV.SB_other_CLAIMS.sms.s1.1.1",
        "sb.other.log",
        "sb.main.in.sms.more",
        // Of the broker's own account it asks one thing.
        "$SYS.REQ.SERVER.PING.CONNZ",
        "anything",
    ];
    let subscriptions = [">", "_INBOX.>", "sb.main.in.>", "sb.main.log", "$KV.SB_main_KEYS.>"];
    denied(&broker, SEED, &publishes, &subscriptions).await;
    let nobody = async_nats::connect(broker.url()).await.expect_err("without a key nobody is let in");
    assert!(nobody.to_string().contains("authorization"), "{nobody}");
}

/// What the holder of a key is refused.
async fn denied(broker: &NatsServer, seed: &str, publishes: &[&'static str], subscriptions: &[&'static str]) {
    let (told, mut errors) = mpsc::unbounded_channel();
    let client = async_nats::ConnectOptions::with_nkey(seed.into())
        .event_callback(move |event| {
            let told = told.clone();
            async move { drop(told.send(event.to_string())) }
        })
        .connect(broker.url())
        .await
        .expect("the key is let in");
    for subject in publishes {
        client.publish(*subject, Bytes::from_static(b"{}")).await.expect("sent");
        within(violation(&mut errors, "publish", subject)).await;
    }
    for subject in subscriptions {
        let _listening = client.subscribe(*subject).await.expect("sent");
        within(violation(&mut errors, "subscription", subject)).await;
    }
}

async fn violation(errors: &mut mpsc::UnboundedReceiver<String>, what: &str, subject: &str) {
    loop {
        let error = errors.recv().await.expect("the connection tells").to_lowercase();
        if error.contains("permissions violation") && error.contains(what) && error.contains(&subject.to_lowercase()) {
            return;
        }
    }
}
