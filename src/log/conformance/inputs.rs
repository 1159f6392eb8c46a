//! IN: nothing accepted is lost, nothing is stored twice, nothing comes out of order.

use super::{Backend, ingest, record, seqs, texts};
use crate::log::{Class, InRecord, Ingested, Log, LogError};
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

pub(crate) async fn a_duplicate_delivery_is_not_stored_again(backend: &dyn Backend) {
    let log = backend.open().await;
    assert_eq!(ingest(&*log, "sms:message:1").await, Ingested::Stored(1));
    assert_eq!(ingest(&*log, "sms:message:1").await, Ingested::Duplicate);
    assert_eq!(ingest(&*log, "sms:message:2").await, Ingested::Stored(2));
    drop(log);
    let log = backend.open().await;
    assert_eq!(ingest(&*log, "sms:message:1").await, Ingested::Duplicate, "after reopening");
    assert_eq!(seqs(&log.read_in(0, 10).await.expect("read")), [1, 2]);
}

pub(crate) async fn duplicates_at_the_same_moment_are_stored_once(backend: &dyn Backend) {
    let log = backend.open().await;
    let tries: Vec<_> = (0..32)
        .map(|_| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { ingest(&*log, "sms:message:same").await })
        })
        .collect();
    let mut stored = 0;
    for one in tries {
        stored += usize::from(one.await.expect("task") != Ingested::Duplicate);
    }
    assert_eq!(stored, 1);
    assert_eq!(log.read_in(0, 10).await.expect("read").len(), 1);
}

pub(crate) async fn an_acknowledged_record_is_there_after_reopening(backend: &dyn Backend) {
    let log = backend.open().await;
    let data = Bytes::from((0..=255).cycle().take(70_000).collect::<Vec<u8>>());
    let odd = InRecord { id: "a".repeat(900), channel: "chat".into(), class: Class::Vital, data: data.clone() };
    assert_eq!(log.ingest(odd).await, Ok(Ingested::Stored(1)));
    let before = log.get_in(1).await.expect("get").expect("there");
    drop(log);
    let log = backend.open().await;
    let after = log.get_in(1).await.expect("get").expect("still there");
    assert_eq!((after.seq, after.at, &after.channel[..]), (1, before.at, "chat"));
    assert_eq!(after.data, data);
    assert_eq!(*log.in_tail().borrow(), 1);
    assert!(log.get_in(2).await.expect("get").is_none());
}

pub(crate) async fn the_end_of_in_is_known_also_when_its_last_records_were_trimmed(backend: &dyn Backend) {
    let log = backend.open().await;
    assert_eq!(log.in_last().await, Ok(0));
    for n in 1..=3 {
        ingest(&*log, &format!("sms:message:{n}")).await;
        assert_eq!(log.in_last().await, Ok(n));
    }
    log.trim_in(3).await.expect("trim");
    assert_eq!((log.in_last().await, log.read_in(0, 10).await.expect("read").len()), (Ok(3), 0));
    drop(log);
    assert_eq!(backend.open().await.in_last().await, Ok(3), "after reopening");
}

pub(crate) async fn reading_in_pages_skips_and_repeats_nothing(backend: &dyn Backend) {
    let log = backend.open().await;
    assert!(log.read_in(0, 10).await.expect("read").is_empty());
    for n in 0..25 {
        ingest(&*log, &format!("sms:message:{n}")).await;
    }
    drop(log);
    let log = backend.open().await;
    // Half of what is read is from before the reopening, half is fresh.
    for n in 25..50 {
        ingest(&*log, &format!("sms:message:{n}")).await;
    }
    let (mut after, mut all) = (0, Vec::new());
    loop {
        let page = log.read_in(after, 7).await.expect("read");
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        after = last.seq;
        all.extend(page);
    }
    assert_eq!(seqs(&all), (1..=50).collect::<Vec<_>>());
    let expected: Vec<_> = (0..50).map(|n| format!("data of sms:message:{n}")).collect();
    assert_eq!(texts(&all), expected);
    assert!(log.read_in(50, 7).await.expect("read").is_empty());
    assert!(log.read_in(u64::MAX, 7).await.expect("read").is_empty());
}

pub(crate) async fn a_reader_at_the_tail_is_woken_and_misses_nothing(backend: &dyn Backend) {
    let log = backend.open().await;
    let reader = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            let (mut tail, mut after, mut seen) = (log.in_tail(), 0, Vec::new());
            while seen.len() < 200 {
                tail.borrow_and_update();
                let page = log.read_in(after, 16).await.expect("read");
                match page.last() {
                    Some(last) => after = last.seq,
                    None => tail.changed().await.expect("the log is open"),
                }
                seen.extend(seqs(&page));
            }
            seen
        }
    });
    for n in 0..200 {
        ingest(&*log, &format!("sms:message:{n}")).await;
    }
    assert_eq!(reader.await.expect("reader"), (1..=200).collect::<Vec<_>>());
}

pub(crate) async fn stored_times_never_go_backwards(backend: &dyn Backend) {
    let log = backend.open().await;
    let before = log.now().await.expect("now");
    for n in 0..50 {
        ingest(&*log, &format!("sms:message:{n}")).await;
    }
    let after = log.now().await.expect("now");
    let times: Vec<_> = log.read_in(0, 50).await.expect("read").iter().map(|r| r.at).collect();
    assert!(times.is_sorted());
    assert!(before <= times[0] && times[49] <= after);
}

pub(crate) async fn sixty_four_producers_lose_nothing_and_keep_their_order(backend: &dyn Backend) {
    let log = backend.open().await;
    let producers: Vec<_> = (0..64)
        .map(|p| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                for n in 0..50 {
                    let id = format!("p{p:02}:{n:02}");
                    assert!(matches!(ingest(&*log, &id).await, Ingested::Stored(_)));
                    if n % 5 == 0 {
                        assert_eq!(ingest(&*log, &id).await, Ingested::Duplicate);
                    }
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.expect("producer");
    }
    let mut all = Vec::new();
    while all.len() < 64 * 50 {
        let page = log.read_in(all.len() as u64, 500).await.expect("read");
        assert!(!page.is_empty(), "records are missing after {}", all.len());
        all.extend(page);
    }
    assert_eq!(seqs(&all), (1..=64 * 50).collect::<Vec<_>>());
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in texts(&all) {
        let (producer, n) = text["data of ".len()..].split_once(':').expect("an id");
        of.entry(producer.to_owned()).or_default().push(n.to_owned());
    }
    assert_eq!(of.len(), 64);
    for (producer, order) in of {
        assert!(order.len() == 50 && order.is_sorted(), "{producer}: {order:?}");
    }
}

/// Ingests messages until one is refused, and answers how many were taken.
async fn fill(log: &dyn Log, class: Class) -> usize {
    for n in 0..10_000 {
        let mut one = record(&format!("{class:?}:{n}"), class);
        one.data = Bytes::from(vec![b'x'; 1000]);
        match log.ingest(one).await {
            Ok(_) => {}
            Err(LogError::Full(_)) => return n,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the limit is not kept");
}

pub(crate) async fn a_nearly_full_log_refuses_messages_and_takes_results(backend: &dyn Backend) {
    let log = backend.open_limited(100_000).await;
    let messages = fill(&*log, Class::Message).await;
    assert!((60..=80).contains(&messages), "{messages} messages of 1,000 bytes in 80 % of 100,000");
    assert_eq!(log.read_in(0, 1000).await.expect("read").len(), messages, "a refused message leaves nothing");
    let results = fill(&*log, Class::Vital).await;
    assert!(results >= 10, "only {results} results found room");
    assert!(messages + results <= 100);
}

pub(crate) async fn a_full_log_still_knows_its_duplicates(backend: &dyn Backend) {
    let log = backend.open_limited(100_000).await;
    fill(&*log, Class::Message).await;
    let known = log.ingest(record("Message:0", Class::Message)).await;
    if backend.knows_duplicates_when_full() {
        assert_eq!(known, Ok(Ingested::Duplicate), "else its provider retries for nothing");
    } else {
        // Known, or refused so that its provider retries; never stored a second time.
        assert!(matches!(known, Ok(Ingested::Duplicate) | Err(LogError::Full(_))), "{known:?}");
    }
}

pub(crate) async fn trimming_makes_room_and_keeps_what_is_later(backend: &dyn Backend) {
    let log = backend.open_limited(100_000).await;
    let messages = fill(&*log, Class::Message).await as u64;
    let fill = log.in_fill().await.expect("fill");
    assert!((700..=800).contains(&fill), "messages fill four fifths of it, not {fill} thousandths");
    // Whoever trims does so again when the log did not answer.
    while let Err(error) = log.trim_in(messages - 2).await {
        assert!(matches!(error, LogError::Unavailable(_)), "{error}");
    }
    assert!(log.in_fill().await.expect("fill") < 300, "trimming makes room");
    assert_eq!(seqs(&log.read_in(0, 1000).await.expect("read")), [messages - 1, messages]);
    assert!(log.get_in(messages - 2).await.expect("get").is_none());
    assert!(log.get_in(messages - 1).await.expect("get").is_some());
    assert_eq!(ingest(&*log, "sms:message:new").await, Ingested::Stored(messages + 1));
    drop(log);
    let log = backend.open_limited(100_000).await;
    assert_eq!(seqs(&log.read_in(0, 1000).await.expect("read")), [messages - 1, messages, messages + 1]);
    log.trim_in(messages - 2).await.expect("trimming again changes nothing");
    assert!(log.get_in(messages - 1).await.expect("get").is_some());
}

pub(crate) async fn a_sequence_is_never_used_twice_even_when_all_is_trimmed(backend: &dyn Backend) {
    let log = backend.open().await;
    for n in 0..700 {
        ingest(&*log, &format!("sms:message:{n}")).await;
    }
    log.trim_in(u64::MAX).await.expect("trim");
    assert!(log.read_in(0, 10).await.expect("read").is_empty());
    drop(log);
    let log = backend.open().await;
    assert_eq!(ingest(&*log, "sms:message:next").await, Ingested::Stored(701));
}

pub(crate) async fn an_id_may_come_again_once_its_record_was_trimmed(backend: &dyn Backend) {
    let log = backend.open().await;
    ingest(&*log, "sms:message:1").await;
    ingest(&*log, "sms:message:2").await;
    log.trim_in(1).await.expect("trim");
    let again = ingest(&*log, "sms:message:1").await;
    let remembered = !backend.forgets_trimmed_ids() && again == Ingested::Duplicate;
    assert!(again == Ingested::Stored(3) || remembered, "the state's memory decides now: {again:?}");
    assert_eq!(ingest(&*log, "sms:message:1").await, Ingested::Duplicate);
    assert_eq!(ingest(&*log, "sms:message:2").await, Ingested::Duplicate);
}
