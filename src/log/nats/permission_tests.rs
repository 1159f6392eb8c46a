//! deploy/nats-users.conf: with its permissions, and none beside them, everything works; what it does not allow is denied.

use super::{Credentials, NatsLog, NatsOptions};
use crate::log::{
    Claim, Class, Commit, FrameWrite, Ingested, Log,
    conformance::{frame, record, send, take, texts, within},
};
use bytes::Bytes;
use std::path::Path;
use switchboard_adapter_sdk::Secret;
use switchboard_envelope::Timestamp;
use switchboard_simulators::NatsServer;
use tokio::sync::mpsc;

/// A pair made for this test.
const SEED: &str = "SUAPT3AUXD5JGY672D4BLUSBURXBNBLQBYDLURDRA354V7MJGTR5AG5WOY";
const PUBLIC: &str = "UBZAXALZ65UGYXAEGG7QSOCK4HTSF3HFR52A2O6P6HFPJADXZQFBMX7V";

/// A broker with the shipped permissions.
fn broker() -> NatsServer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nats-users.conf");
    let shipped = std::fs::read_to_string(&path).expect("deploy/nats-users.conf");
    assert!(shipped.contains("nkey: $DAEMON_NKEY"), "the place of the key");
    NatsServer::with(&shipped.replace("$DAEMON_NKEY", PUBLIC))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_permissions_suffice() {
    let broker = broker();
    let mut options = NatsOptions::new(vec![broker.url()], "main", "process".into());
    options.credentials = Credentials::Nkey(Secret::new(SEED));
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
async fn what_the_shipped_permissions_leave_out_is_denied() {
    let broker = broker();
    let (told, mut errors) = mpsc::unbounded_channel();
    let client = async_nats::ConnectOptions::with_nkey(SEED.into())
        .event_callback(move |event| {
            let told = told.clone();
            async move { drop(told.send(event.to_string())) }
        })
        .connect(broker.url())
        .await
        .expect("the daemon's key is let in");
    let denied = [
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
        "anything",
    ];
    for subject in denied {
        client.publish(subject, Bytes::from_static(b"{}")).await.expect("sent");
        within(violation(&mut errors, "publish", subject)).await;
    }
    for subject in [">", "_INBOX.>", "sb.main.in.>", "sb.main.log", "$KV.SB_main_KEYS.>"] {
        let _listening = client.subscribe(subject).await.expect("sent");
        within(violation(&mut errors, "subscription", subject)).await;
    }
    let nobody = async_nats::connect(broker.url()).await.expect_err("without a key nobody is let in");
    assert!(nobody.to_string().contains("authorization"), "{nobody}");
}

async fn violation(errors: &mut mpsc::UnboundedReceiver<String>, what: &str, subject: &str) {
    loop {
        let error = errors.recv().await.expect("the connection tells").to_lowercase();
        if error.contains("permissions violation") && error.contains(what) && error.contains(&subject.to_lowercase()) {
            return;
        }
    }
}
