//! The conformance suite against a real broker, and what only a broker can do wrong.

use super::{NatsLog, NatsOptions};
use crate::log::{
    Claim, Commit, Ingested, Leader, Log, LogError,
    conformance::{Backend, conformance_suite, frame, ingest, send, take, within},
};
use async_nats::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_envelope::BlobRef;
use switchboard_simulators::NatsServer;
use tokio::task::JoinHandle;

/// A broker of a test's own.
struct OnBroker(NatsServer);

impl OnBroker {
    fn new() -> OnBroker {
        OnBroker(NatsServer::start())
    }

    fn options(&self) -> NatsOptions {
        NatsOptions::new(vec![self.0.url()], "main", crate::outbound::process_name())
    }
}

#[async_trait]
impl Backend for OnBroker {
    async fn open_limited(&self, in_max_bytes: u64) -> Arc<dyn Log> {
        let mut options = self.options();
        options.sizes.inn = in_max_bytes;
        NatsLog::open(&options).await.expect("open")
    }

    fn forgets_trimmed_ids(&self) -> bool {
        false
    }
}

conformance_suite!(OnBroker::new());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_known_while_it_stands_and_its_process_while_it_lives() {
    let broker = OnBroker::new();
    let (first, second) = (broker.options(), broker.options());
    let (log, beside) = (NatsLog::open(&first).await.expect("open"), NatsLog::open(&second).await.expect("open"));
    assert_eq!(beside.leader().await, Leader::Nobody);
    log.stand(true).await.expect("stand");
    // What one connection told the broker, another may ask a moment too early.
    let leads = |leader| matches!(leader, Leader::Here(by) if by.contains(&first.process));
    within(async { while !leads(beside.leader().await) {} }).await;
    log.stand(false).await.expect("stand");
    within(async { while beside.leader().await != Leader::Nobody {} }).await;
    log.stand(true).await.expect("stand");
    within(async { while !leads(beside.leader().await) {} }).await;
    assert!(!beside.is_gone(&first.process).await && beside.is_gone("nobody").await);
    drop(log);
    within(async { while !beside.is_gone(&first.process).await {} }).await;
    // Who left leads no more.
    within(async { while beside.leader().await != Leader::Nobody {} }).await;
    let other =
        NatsLog::open(&NatsOptions { workspace: "other".into(), ..first.clone() }).await.expect("another workspace");
    other.stand(true).await.expect("stand");
    assert_eq!(beside.leader().await, Leader::Nobody, "another workspace has a leader of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duty_has_one_holder_and_passes_on_when_that_one_is_gone() {
    let broker = OnBroker::new();
    let one = NatsLog::open(&broker.options()).await.expect("open");
    let two = NatsLog::open(&broker.options()).await.expect("open");
    assert_eq!(one.duty("poll.sms").await, Ok(true));
    assert_eq!(two.duty("poll.sms").await, Ok(false));
    assert_eq!(two.duty("poll.other").await, Ok(true), "each duty for itself");
    assert_eq!(one.duty("poll.sms").await, Ok(true), "and it is kept");
    // What is left passes on at once, and nobody leaves what another has.
    two.leave_duty("poll.sms").await.expect("left");
    assert_eq!(two.duty("poll.sms").await, Ok(false));
    assert_eq!(one.duty("token.x").await, Ok(true));
    one.leave_duty("token.x").await.expect("left");
    assert_eq!(two.duty("token.x").await, Ok(true));
    drop(one);
    within(async { while two.duty("poll.sms").await != Ok(true) {} }).await;
}

/// The broker compares the expected sequence before it knows an id again, so a repeated frame would be told of as a conflict; and
/// what it takes for known it does not store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_carries_no_id_by_which_the_broker_could_swallow_it() {
    let broker = OnBroker::new();
    let log = NatsLog::open(&broker.options()).await.expect("open");
    let beside = async_nats::connect(broker.0.url()).await.expect("connect");
    let mut seen = beside.subscribe("sb.main.>").await.expect("subscribe");
    // An answer on this connection: the broker knows of the subscription before it.
    beside.request("$JS.API.INFO", Bytes::new()).await.expect("an answer");
    ingest(log.as_ref(), "a").await;
    // The same bytes in another place are another frame.
    for expected in 0..2 {
        assert_eq!(log.commit(expected, frame("the same", 1, vec![])).await, Commit::Done(expected + 1));
    }
    let mut told = vec![];
    while told.len() < 3 {
        let message = within(seen.next()).await.expect("what was published");
        let headers = message.headers.unwrap_or_default();
        let has = |name: &str| headers.get(name).is_some();
        told.push((message.subject.to_string(), has("Nats-Msg-Id"), has("Nats-Expected-Last-Sequence")));
    }
    told.sort();
    let log = ("sb.main.log".to_owned(), false, true);
    assert_eq!(told, [("sb.main.in.sms".to_owned(), true, false), log.clone(), log]);
}

/// A broker is shared by prefixes, and permissions are given by them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_said_is_below_the_prefix_and_streams_of_another_prefix_are_not_taken_for_ours() {
    let broker = OnBroker::new();
    let options = NatsOptions { prefix: "shop.eu".into(), ..broker.options() };
    let beside = async_nats::connect(broker.0.url()).await.expect("connect");
    let mut seen = beside.subscribe(">").await.expect("subscribe");
    // An answer on this connection: the broker knows of the subscription before it.
    beside.request("$JS.API.INFO", Bytes::new()).await.expect("an answer");
    let log = NatsLog::open(&options).await.expect("open");
    ingest(log.as_ref(), "a").await;
    assert_eq!(log.commit(0, frame("one", 1, vec![send("sms", 1)])).await, Commit::Done(1));
    let mut outbox = log.outbox("sms").await.expect("outbox");
    let sent = take(&mut *outbox, 1).await;
    outbox.ack(sent[0].seq).await.expect("ack");
    assert_eq!(log.claim("sms.s1.1.1", "edge").await, Ok(Claim::Ours));
    log.stand(true).await.expect("stand");
    assert!(matches!(within(log.leader()).await, Leader::Here(_)) && !log.is_gone(&options.process).await);
    log.beat("sms").await.expect("said");
    let mut missing: BTreeSet<String> = ["in.sms", "log", "out.sms", "router", "status.sms"].map(str::to_owned).into();
    missing.insert(format!("process.{}", options.process));
    while !missing.is_empty() {
        let subject = within(seen.next()).await.expect("what was published").subject.to_string();
        // Streams' own subjects, and the inboxes of this connection here.
        if subject.starts_with('$') || subject.starts_with("_INBOX.") || subject.starts_with("_INBOX_shop_eu_main_all.")
        {
            continue;
        }
        let ours = subject.strip_prefix("shop.eu.main.").unwrap_or_else(|| panic!("{subject} is not below the prefix"));
        missing.remove(ours);
    }
    drop(log);
    let refused = NatsLog::open(&broker.options()).await.err().map(|e| e.to_string()).expect("refused");
    assert!(refused.contains("[\"shop.eu.main.log\"] there and [\"sb.main.log\"] in the configuration"), "{refused}");
    assert!(refused.contains("change `log.prefix` or edit it with `nats stream edit SB_main_LOG`"), "{refused}");
    let again = NatsLog::open(&options).await.expect("the prefix that made it");
    assert_eq!(again.log_bounds().await, Ok((1, 1)));
}

/// As when OUT is full, or nobody routed for as long as it keeps anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_out_dropped_unsent_is_still_found_unclaimed() {
    let broker = OnBroker::new();
    let log = NatsLog::open(&broker.options()).await.expect("open");
    assert_eq!(log.commit(0, frame("one", 1, vec![send("sms", 1), send("sms", 2)])).await, Commit::Done(1));
    let beside = async_nats::connect(broker.0.url()).await.expect("connect");
    beside.request("$JS.API.STREAM.PURGE.SB_main_OUT", Bytes::new()).await.expect("purged");
    assert_eq!(log.claim("sms.s1.1.1", "router").await, Ok(Claim::Ours), "nothing was sent");
    assert_eq!(log.claim("sms.s1.1.1", "a late edge").await, Ok(Claim::Taken));
    assert_eq!(log.out_last().await, Ok(2), "what comes is numbered on");
    assert_eq!(log.commit(1, frame("two", 3, vec![send("sms", 3)])).await, Commit::Done(2));
}

/// A full bucket takes no claim, says so at once, and still says who holds one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_there_is_known_where_there_is_no_room_for_another() {
    let broker = OnBroker::new();
    let mut options = broker.options();
    options.sizes.claims = 64 << 10;
    let log = NatsLog::open(&options).await.expect("open");
    let mut made = 0;
    let full = loop {
        match log.claim(&format!("sms.s{made}.1.1"), "an edge").await {
            Ok(Claim::Ours) => made += 1,
            other => break other,
        }
        assert!(made < 2_000, "the bucket is never full");
    };
    assert!(matches!(full, Err(LogError::Full(_))), "{full:?}");
    assert_eq!(log.claim("sms.s0.1.1", "router").await, Ok(Claim::Taken));
    assert_eq!(log.claim("sms.s0.1.1", "an edge").await, Ok(Claim::Ours), "asked again by who made it");
    assert_eq!(log.claimed(&format!("sms.s{made}.1.1")).await, Ok(None), "nobody has what was refused");
}

/// A snapshot that a paused router stores late must not take away those of its successor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_snapshot_that_comes_late_displaces_no_newer_one() {
    let broker = OnBroker::new();
    let log = NatsLog::open(&broker.options()).await.expect("open");
    for at in [20, 30, 10] {
        log.put_snapshot(at, bytes::Bytes::from(format!("state {at}"))).await.expect("put");
    }
    let kept: Vec<u64> = log.snapshots().await.expect("snapshots").iter().map(|(at, _)| *at).collect();
    assert_eq!(kept, [30, 20]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_as_configured_is_shown_and_left_alone() {
    let broker = OnBroker::new();
    let mut options = broker.options();
    options.sizes.inn = 1 << 20;
    drop(NatsLog::open(&options).await.expect("open"));
    options.sizes.inn = 2 << 20;
    let refused = NatsLog::open(&options).await.err().map(|e| e.to_string()).expect("refused");
    let expected = "stream SB_main_IN of the broker is not as configured: max_bytes is 1048576 there and 2097152 in the \
                    configuration; change `limits.inbox` or edit it with `nats stream edit SB_main_IN`";
    assert_eq!(refused, expected);
}

/// A server that says hello with this version, and no more.
async fn greeter(version: &str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let hello = format!(
        "INFO {{\"server_id\":\"old\",\"server_name\":\"old\",\"version\":\"{version}\",\"go\":\"go\",\"host\":\"127.0.0.1\",\
         \"port\":{port},\"headers\":true,\"max_payload\":1048576,\"proto\":1,\"client_id\":1}}\r\n"
    );
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut client, _)) = listener.accept().await {
            let hello = hello.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = client.write_all(hello.as_bytes()).await;
                while client.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    let _ = client.write_all(b"PONG\r\n").await;
                }
            });
        }
    });
    format!("nats://127.0.0.1:{port}")
}

async fn refusal(url: String) -> String {
    let mut options = NatsOptions::new(vec![url], "main", "process".into());
    options.connect = std::time::Duration::from_millis(300);
    NatsLog::open(&options).await.err().map(|e| e.to_string()).expect("refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_serve_is_refused_with_what_to_do() {
    let old = refusal(greeter("2.9.10").await).await;
    assert!(old.contains("is nats-server 2.9.10, and at least 2.10.23 is needed: install 2.12.3 or later"), "{old}");
    let small = NatsServer::with("max_payload: 100000");
    assert!(refusal(small.url()).await.contains("set `max_payload` of nats-server to 1MB or more"));
    let without = NatsServer::with("accounts { A { users: [ { user: a, password: b } ] } }\nno_auth_user: a");
    let no_jetstream = refusal(without.url()).await;
    assert!(no_jetstream.contains("JetStream does not answer on this broker"), "{no_jetstream}");
    let nobody = refusal("nats://127.0.0.1:1".into()).await;
    assert!(nobody.starts_with("cannot connect to the broker at nats://127.0.0.1:1: "), "{nobody}");
    let guarded = NatsServer::with("authorization { token: secret }");
    let denied = refusal(guarded.url()).await;
    assert!(denied.contains("does not let this process in") && denied.contains("`log.credentials`"), "{denied}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapters_description_of_a_blob_reaches_no_further_than_its_own_chunks() {
    let broker = OnBroker::new();
    let log = NatsLog::open(&broker.options()).await.expect("open");
    let others = log.put_blob("sms/ann", Bytes::from_static(b"a picture")).await.expect("put");
    let hello = BlobRef::of_hash("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    let hash = hello.hash().expect("a hash");
    let publish =
        async |subject: String, data: Bytes| log.link.publish(subject, HeaderMap::new(), data).await.expect("publish");
    for _ in 0..3 {
        publish(format!("$O.{}.C.line.many", log.blobs.bucket), Bytes::from_static(b"hello")).await;
    }
    let describe = async |nuid: &str, size: u64, chunks: u64| {
        let digest = "SHA-256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
        let object = serde_json::json!({ "name": "n", "bucket": log.blobs.bucket, "nuid": nuid, "size": size,
            "mtime": "2026-11-21T20:22:05Z", "chunks": chunks, "digest": digest });
        publish(log.blobs.external("line/bob", hash), object.to_string().into()).await;
    };
    for (nuid, size, chunks) in [
        (">", 5, 1),
        ("line.>", 5, 1),
        ("line.", 5, 1),
        ("sms.x", 5, 1),
        ("line.one", 1 << 30, 1),
        ("line.one", 5, 1 << 30),
    ] {
        describe(nuid, size, chunks).await;
        let read = log.get_blob("line/bob", &hello).await;
        assert!(matches!(read, Err(LogError::Damaged(_))), "{nuid} {size} {chunks}: {read:?}");
        log.delete_blob("line/bob", &hello).await.expect("delete");
        assert_eq!(log.get_blob("line/bob", &hello).await, Ok(None));
    }
    assert_eq!(
        log.get_blob("sms/ann", &others).await,
        Ok(Some(Bytes::from_static(b"a picture"))),
        "what is another's stays"
    );
    describe("line.many", 5, 3).await;
    assert!(matches!(log.get_blob("line/bob", &hello).await, Err(LogError::Damaged(_))), "more than it says");
    describe("line.many", 5, 1).await;
    assert_eq!(log.get_blob("line/bob", &hello).await, Ok(Some(Bytes::from_static(b"hello"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_from_out_elsewhere_gets_nothing_while_held_back_and_all_of_it_afterwards() {
    let broker = OnBroker::new();
    let log = NatsLog::open(&broker.options()).await.expect("open");
    let mut outbox = log.outbox("sms").await.expect("outbox");
    let mut other = log.outbox("other").await.expect("outbox");
    log.hold_out(&["sms".into()], true).await.expect("held back");
    let mut of_other = send("sms", 2);
    of_other.channel = "other".into();
    assert_eq!(log.commit(0, frame("frame", 1, vec![send("sms", 1), of_other])).await, Commit::Done(1));
    assert_eq!(within(other.next(1)).await.expect("another channel goes on").len(), 1);
    let early = tokio::time::timeout(std::time::Duration::from_secs(2), outbox.next(1)).await;
    assert!(early.is_err(), "{early:?}");
    log.hold_out(&["sms".into()], false).await.expect("let go");
    assert_eq!(within(outbox.next(1)).await.expect("it goes on")[0].seq, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_that_were_never_listed_leave_nothing_behind() {
    let broker = OnBroker::new();
    let (one, two) = (broker.options(), broker.options());
    let (one, two) = (NatsLog::open(&one).await.expect("open"), NatsLog::open(&two).await.expect("open"));
    let bytes = Bytes::from(vec![7; 300_000]);
    let kept = async || {
        let under = |letter: &str| format!("$O.{}.{letter}._snapshots.", one.blobs.bucket);
        let subjects = async |letter: &str| one.blobs.subjects(&under(letter)).await.expect("subjects").len();
        (subjects("M").await, subjects("C").await, one.snapshot_seqs().await.expect("list").len())
    };
    let mut refused = 0;
    for at in 1..=20 {
        let both = tokio::join!(one.put_snapshot(2 * at, bytes.clone()), two.put_snapshot(2 * at + 1, bytes.clone()));
        refused += u32::from(both.0.is_err()) + u32::from(both.1.is_err());
    }
    assert!(refused > 0, "else this proves nothing of refused ones");
    assert_eq!(kept().await, (2, 2, 2));
    // A process that was killed before it listed one, and one that was killed before it described one.
    one.blobs.put(one.blobs.snapshot(1), &bytes).await.expect("put");
    let chunk = one.blobs.chunks("_snapshots.cut");
    one.link.publish(chunk, HeaderMap::new(), bytes.slice(..9)).await.expect("publish");
    assert_eq!(kept().await, (3, 4, 2));
    two.stand(true).await.expect("stand");
    within(async { while kept().await != (2, 2, 2) {} }).await;
    assert_eq!(one.snapshots().await.expect("read").len(), 2);
}

/// What is on its way to a reader when it asks for the end is not taken for the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asked_where_in_ends_reads_as_far_or_is_told_that_it_cannot() {
    let broker = OnBroker::new();
    let mut options = broker.options();
    options.timeout = Duration::from_millis(500);
    let (reader, writer) = (NatsLog::open(&options).await.expect("open"), NatsLog::open(&options).await.expect("open"));
    assert_eq!(ingest(writer.as_ref(), "one").await, Ingested::Stored(1));
    within(async { while reader.read_in(0, 10).await.map_or(0, |all| all.len()) < 1 {} }).await;
    // From here on nothing is delivered to it.
    reader.tasks.iter().for_each(JoinHandle::abort);
    within(async { while !reader.tasks.iter().all(JoinHandle::is_finished) {} }).await;
    assert_eq!(ingest(writer.as_ref(), "two").await, Ingested::Stored(2));
    assert_eq!(reader.in_last().await, Ok(2));
    assert!(matches!(reader.read_in(1, 10).await, Err(LogError::Unavailable(_))), "one more is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_does_not_answer_is_waited_for_once_and_not_for_each_of_its_streams() {
    let broker = OnBroker::new();
    let mut options = broker.options();
    options.timeout = Duration::from_secs(1);
    let log = NatsLog::open(&options).await.expect("open");
    assert_eq!(log.stores().await.len(), 7);
    broker.0.pause();
    let asked = Instant::now();
    let stores = log.stores().await;
    broker.0.resume();
    assert!(stores.is_empty() && asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}
