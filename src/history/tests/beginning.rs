//! A history that is made of a LOG whose beginning is gone.

use super::versions::rebased;
use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use switchboard_envelope::SenderProof;
use switchboard_routing_rules::State;

/// It opens then, and its customer writes under their name.
fn writes(n: u32, at: u32) -> Vec<Event> {
    vec![opened_at(n, at), says(n, at)]
}

fn opened_at(n: u32, at: u32) -> Event {
    let mut opened = opened(n, "sms");
    if let Public::Opened { at: opened_at, .. } = &mut opened.public {
        *opened_at = t(i64::from(at));
    }
    opened
}

fn says(n: u32, at: u32) -> Event {
    let mut said = received(n, at, "hello");
    if let Some((_, Private::Received { from, .. })) = &mut said.private {
        from.name = Some(format!("Ann {n}"));
    }
    said
}

fn offered(n: u32) -> Event {
    let considered = Considered::default();
    Public::Offered { conv: conv(n), offer: offer(1), agent: "bob".into(), expires: t(900), considered }.into()
}

/// Conversations 1, 2, 3 and 5 opened in frames that LOG has no more, and 3 is over; 4 and 6 opened since, before the snapshot.
fn frames() -> Vec<(Seq, Vec<Event>)> {
    let tags = BTreeSet::from(["vip".to_owned()]);
    let (due, warn_at) = (t(900), Some(t(800)));
    let clock = Public::ClockSet { conv: conv(1), clock: ClockKind::FirstResponse, due, warn_at };
    let begins = vec![Public::PackInForce { hash: "pack1".into() }.into(), channels(), consumed(1)];
    let first = [
        writes(1, 10),
        vec![
            Public::Tagged { conv: conv(1), add: tags.clone(), remove: BTreeSet::new() }.into(),
            Public::Prioritised { conv: conv(1), priority: Priority::High }.into(),
            queued(1, "billing"),
            clock.into(),
        ],
        vec![opened_at(2, 20), shown::mail(2, 20, SenderProof::Disproved, false)],
        vec![queued(2, "everyone"), assigned(2, "ann", Why::Strategy)],
        writes(3, 30),
        vec![
            Public::Closed { conv: conv(3), by: None, reopen_until: t(40) }.into(),
            Public::Forgotten { conv: conv(3), sticky_until: None }.into(),
        ],
    ];
    vec![
        (1, begins),
        (2, first.concat()),
        (3, vec![Public::ContactTouched { contact: contact(2), tags: Some(tags) }.into()]),
        (4, [vec![consumed(2)], writes(5, 40), vec![queued(5, "everyone"), offered(5)]].concat()),
        (5, rebased(2)),
        (6, [vec![consumed(3), says(1, 60)], writes(4, 61), vec![queued(4, "everyone")]].concat()),
        (7, [vec![consumed(4)], writes(6, 70), vec![queued(6, "everyone")]].concat()),
        (
            8,
            vec![consumed(5), queued(1, "vip"), Public::Closed { conv: conv(2), by: None, reopen_until: t(99) }.into()],
        ),
    ]
}

const FIRST: Seq = 6;
const SNAPSHOT: Seq = 7;

fn snapshot() -> State {
    let mut state = State::new(SALT);
    frames().iter().filter(|f| f.0 <= SNAPSHOT).flat_map(|f| &f.1).for_each(|event| state.apply(event));
    state
}

/// Follows until this frame, and ends.
async fn follows(path: &Path, log: &Arc<Frames>, before: Before, to: Seq) {
    let (stop, stopped) = watch::channel(false);
    let writer = HistoryWriter::open(path).unwrap();
    let (handle, task) = spawn_projection_after(before, log.clone(), writer, log.decoder(), stopped);
    assert!(handle.history().wait_for(to, SOON).await);
    stop.send(true).unwrap();
    tokio::time::timeout(SOON, task).await.unwrap().unwrap();
}

/// What a state keeps of a conversation, without its messages.
fn kept(c: Conversation) -> Conversation {
    Conversation { seq: 0, updated_at: t(0), last: None, last_inbound: None, messages: 0, ..c }
}

#[tokio::test]
async fn what_opened_before_the_log_begins_is_listed_as_a_snapshot_knows_it() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().join("history.db");
    let (asked, log) = (Arc::new(AtomicUsize::new(0)), Frames::new());
    let mut left = frames().into_iter().filter(|f| f.0 >= FIRST);
    log.push(left.next().unwrap());
    let before = |asked: Arc<AtomicUsize>| -> Before {
        Box::new(move || {
            asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(std::future::ready(Ok(Some((SNAPSHOT, snapshot())))))
        })
    };
    follows(&path, &log, before(asked.clone()), FIRST).await;
    // A process that starts in the midst of it goes on.
    left.for_each(|f| log.push(f));
    follows(&path, &log, before(asked.clone()), 8).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    let (whole, all) = history_of(other.path(), &frames());
    let writer = HistoryWriter::open(&path).unwrap();
    assert_eq!((writer.told().frame, writer.told().rebase), (8, whole.told().rebase));
    let h = History::new(&path, watch::channel(8).1);
    let list = async |h: &History| {
        let page = h.conversations(ConversationFilter::default(), None, 9).await.unwrap();
        page.items.into_iter().map(|(c, who)| (kept(c), who)).collect::<Vec<_>>()
    };
    let over = |c: &Conversation| c.id == conv(3);
    let proof = h.conversation(conv(2)).await.unwrap().unwrap().0.sender_proof;
    assert_eq!(proof, Some(SenderProof::Disproved), "the mail is gone, and the warning stays");
    let expected: Vec<_> = list(&all).await.into_iter().filter(|(c, _)| !over(c)).collect();
    assert_eq!(expected.iter().map(|(c, _)| c.id).collect::<Vec<_>>(), [6, 4, 5, 2, 1].map(conv));
    assert_eq!(list(&h).await, expected);
    assert_eq!(h.offers(Some("bob".into()), None, 9).await.unwrap().items.len(), 1);
    assert_eq!(h.contact(contact(2)).await.unwrap(), all.contact(contact(2)).await.unwrap());

    // Of what was said only what LOG holds is there, below a line that says so.
    let texts = async |n: u32| h.transcript("sms".into(), thread(n), 0, 9).await.unwrap().len();
    assert_eq!([texts(1).await, texts(2).await, texts(4).await, texts(6).await], [1, 0, 1, 1]);
    let first = async |n: u32| {
        let place = h.conversation(conv(n)).await.unwrap().unwrap().0.seq;
        let page = h.messages(place, None, 9).await.unwrap().items;
        page.into_iter().min_by_key(|m| m.seq).unwrap()
    };
    for n in [1, 2, 5] {
        assert_eq!(first(n).await.event.unwrap().what, OLDER_GONE, "conversation {n}");
    }
    for n in [4, 6] {
        assert_eq!(first(n).await.text.as_deref(), Some("hello"), "conversation {n} has all that was said");
    }
}
