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

fn disproved(mut said: Event) -> Event {
    if let Some((_, Private::Received { proved, disproved, .. })) = &mut said.private {
        (*proved, *disproved) = (Some(false), true);
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
            Public::Prioritised { conv: conv(1), priority: Priority::High, by: None }.into(),
            queued(1, "billing"),
            clock.into(),
        ],
        vec![opened_at(2, 20), disproved(says(2, 20))],
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

fn state_at(frames: &[(Seq, Vec<Event>)], of: Seq) -> State {
    let mut state = State::new(SALT);
    frames.iter().filter(|f| f.0 <= of).flat_map(|f| &f.1).for_each(|event| state.apply(event));
    state
}

/// What a snapshot of the frames up to `of` knows.
fn earlier(frames: &[(Seq, Vec<Event>)], of: Seq) -> Earlier {
    Earlier { of, state: state_at(frames, of), held: BTreeMap::new() }
}

/// A history of the frames from `first` on, which begins with what a snapshot of the frames up to `of` knows.
fn begun(dir: &Path, frames: &[(Seq, Vec<Event>)], of: Seq, first: Seq) -> (HistoryWriter, History) {
    let path = dir.join("history.db");
    let mut w = HistoryWriter::open(&path).unwrap();
    w.begin(&earlier(frames, of), first).unwrap();
    let left: Vec<_> = frames.iter().filter(|f| f.0 >= first).cloned().collect();
    w.apply(&left).unwrap();
    let h = History::new(&path, watch::channel(w.cursor()).1);
    (w, h)
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
            Box::pin(std::future::ready(Ok(Some(earlier(&frames(), SNAPSHOT)))))
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

#[tokio::test]
async fn what_waits_for_a_person_is_listed_though_the_log_does_not_tell_of_it_any_more() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let held =
        |seq| Event::from(Public::Quarantined { seq, channel: "sms".into(), reason: "no body".into(), at: t(4) });
    let dead = |n: u32, m: u32, reason| Event::from(Public::Dead { conv: conv(n), message: msg(m), reason, at: t(90) });
    let answer = |n: u32, m: u32, text: &str| send(n, m, text, agent("ann"), false);
    let mut told = answer(1, 103, "at a desk");
    if let Public::SendQueued { channel, notice, .. } = &mut told.public {
        (*channel, *notice) = ("team-slack".into(), true);
    }
    let begins = vec![Public::PackInForce { hash: "pack1".into() }.into(), channels(), consumed(1)];
    let sends = vec![queued(1, "everyone"), answer(1, 101, "first"), answer(1, 102, "second"), told];
    let frames = vec![
        (1, begins),
        (2, [writes(1, 10), sends, vec![held(9), held(10)]].concat()),
        (3, vec![dead(1, 101, DeadReason::Rejected), dead(1, 103, DeadReason::Expired)]),
        // From here on LOG tells it.
        (4, [vec![consumed(2), says(1, 40), answer(1, 104, "third")], writes(2, 41)].concat()),
        (5, vec![answer(2, 105, "fourth"), Public::QuarantineReleased { seq: 10 }.into(), says(1, 50)]),
        (6, vec![dead(1, 104, DeadReason::Failed), dead(2, 105, DeadReason::Failed)]),
        // The snapshot does not know this.
        (7, vec![dead(1, 102, DeadReason::Unknown)]),
    ];
    let (_whole, all) = history_of(other.path(), &frames);
    let (mut w, h) = begun(dir.path(), &frames, 6, 4);
    let letters = async |h: &History| {
        let found = h.dead_letters(None, None, 9).await.unwrap().items;
        let letter = |d: DeadLetter| (d.message.id, d.message.text, d.message.status, d.channel, d.reason, d.at);
        let mut letters: Vec<_> = found.into_iter().map(letter).collect();
        letters.sort_by(|a, b| a.0.cmp(&b.0));
        letters
    };
    let expected = letters(&all).await;
    assert_eq!((expected.len(), letters(&h).await), (5, expected));
    let held: Vec<u64> = h.quarantine(None, 9).await.unwrap().items.iter().map(|q| q.seq).collect();
    assert_eq!(held, [9]);
    assert!(h.quarantined(9).await.unwrap().is_some());

    // Each stands once, and where LOG tells of it behind what came before.
    let lines = async |n: u32| {
        let c = h.conversation(conv(n)).await.unwrap().unwrap().0;
        let rows = h.messages(c.seq, None, 99).await.unwrap().items;
        let line = |m: Message| m.text.or(m.event.map(|e| e.what)).unwrap_or_default();
        (c.messages, rows.into_iter().rev().map(line).collect::<Vec<_>>())
    };
    assert_eq!(
        lines(1).await,
        (5, [OLDER_GONE, "first", "second", "at a desk", "hello", "third", "hello"].map(String::from).to_vec())
    );
    assert_eq!(lines(2).await, (2, ["hello", "fourth"].map(String::from).to_vec()));
    // And what becomes of it is told of it.
    let sent = Public::Sent { conv: conv(1), message: msg(102), at: t(95) };
    w.apply(&[(8, vec![sent.into()])]).unwrap();
    assert_eq!(h.message(msg(102).to_string()).await.unwrap().unwrap().status, Some(Status::Accepted));
    assert_eq!(letters(&h).await.len(), 4);
}

#[tokio::test]
async fn who_waited_as_the_log_begins_is_counted_when_they_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let now = |ms: i64| Event::from(Public::Ticked { now: t(ms), relived: false });
    let answer = |n: u32, m: u32| send(n, m, "yes", agent("ann"), false);
    let frames = vec![
        (1, vec![channels(), consumed(1)]),
        (2, [writes(1, 10), writes(2, 10), vec![queued(1, "everyone"), queued(2, "everyone")]].concat()),
        // One is answered before the snapshot and writes again, as LOG tells.
        (3, vec![now(500), answer(2, 20)]),
        (4, vec![now(600), says(2, 600)]),
        (5, vec![now(1_010), answer(1, 30), answer(2, 40)]),
    ];
    let (_w, h) = begun(dir.path(), &frames, 4, 3);
    let [(_, slot)] = h.slots(t(0)).await.unwrap()[..] else { panic!("all within a quarter of an hour") };
    assert_eq!((slot.arrived, slot.answered, slot.waited_ms), (1, 2, 1_000 + 410));
}

#[test]
fn little_of_what_a_snapshot_knows_is_in_memory_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let known: Vec<Event> = (0..12_000).flat_map(|n| writes(n, n)).collect();
    let earlier = earlier(&[(1, [vec![channels()], known].concat())], 1);
    let mut w = HistoryWriter::open(dir.path().join("history.db")).unwrap();
    let held = w.transaction(|w| {
        w.add_all(&earlier)?;
        let work = &w.work;
        Ok(work.conversations.total_bytes() + work.contacts.total_bytes() + work.messages.total_bytes())
    });
    let held = held.unwrap();
    assert!(held < 11 << 20, "{held} bytes before the transaction ended");
}

#[tokio::test]
async fn a_dead_letter_is_listed_though_the_state_has_its_conversation_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let over = |n: u32, at: u32| {
        let closed = Public::Closed { conv: conv(n), by: None, reopen_until: t(i64::from(at) + 1) };
        let now = Public::Ticked { now: t(i64::from(at)), relived: false };
        vec![now.into(), closed.into(), Public::Forgotten { conv: conv(n), sticky_until: None }.into()]
    };
    let dead = |n: u32, m: u32| {
        Event::from(Public::Dead { conv: conv(n), message: msg(m), reason: DeadReason::Rejected, at: t(50) })
    };
    let answer = |n: u32, m: u32, text: &str| send(n, m, text, agent("ann"), false);
    let mut told = answer(2, 121, "at a desk");
    if let Public::SendQueued { channel, notice, .. } = &mut told.public {
        (*channel, *notice) = ("team-slack".into(), true);
    }
    let frames = vec![
        (1, vec![channels(), consumed(1)]),
        (2, [writes(1, 10), vec![answer(1, 111, "first")], writes(2, 20), vec![told]].concat()),
        (3, vec![dead(1, 111), dead(2, 121)]),
        (4, [over(1, 60), over(2, 60)].concat()),
        // From here on LOG tells it; one more ends, and its dead letter is known by both.
        (5, [vec![consumed(2)], writes(3, 70), vec![answer(3, 131, "third")]].concat()),
        (6, [vec![dead(3, 131)], over(3, 80)].concat()),
        (7, vec![consumed(3)]),
    ];
    let (mut w, h) = begun(dir.path(), &frames, 7, 5);
    let letters = async |h: &History| {
        let found = h.dead_letters(None, None, 9).await.unwrap().items;
        let mut found: Vec<_> = found.into_iter().map(|d| (d.message.id, d.message.text, d.channel, d.at)).collect();
        found.sort_by(|a, b| a.1.cmp(&b.1));
        found
    };
    let letter =
        |m: u32, text: &str, channel: &str| (msg(m).to_string(), Some(text.to_owned()), channel.to_owned(), t(50));
    let expected = [letter(121, "at a desk", "team-slack"), letter(111, "first", "sms"), letter(131, "third", "sms")];
    assert_eq!(letters(&h).await, expected);
    let (c, who) = h.conversation(conv(1)).await.unwrap().unwrap();
    assert_eq!((c.state, c.channel.as_str(), c.messages, c.closed_at), (ConvStatus::Closed, "sms", 1, Some(t(50))));
    assert!(who.unwrap().identities.contains("phone:+15550000001"));
    // Whoever finds it there can give it up, and it is trimmed like every conversation that ended.
    let cleared = |n: u32, m: u32| Event::from(Public::DeadCleared { conv: conv(n), message: msg(m), resent: None });
    w.apply(&[(8, vec![cleared(1, 111), cleared(3, 131)])]).unwrap();
    assert_eq!(letters(&h).await, expected[..1]);
    let trimmed = w.trim(t(1_000), SOON).unwrap();
    assert_eq!((trimmed.conversations, letters(&h).await.len()), (3, 0));
}

#[tokio::test]
async fn what_is_in_quarantine_says_of_which_channel_it_is_and_what_is_wrong_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let held = |seq| Event::from(Public::Quarantined { seq, channel: "sms".into(), reason: "lost".into(), at: t(4) });
    let frames = [(1, vec![channels(), consumed(1)]), (2, vec![held(7), held(8), held(9)]), (3, vec![consumed(2)])];
    let told = |reason: Option<&str>| Held { channel: "sms".into(), at: t(4), reason: reason.map(str::to_owned) };
    let earlier =
        Earlier { held: BTreeMap::from([(7, told(Some("no body"))), (8, told(None))]), ..earlier(&frames, 3) };
    let mut w = HistoryWriter::open(dir.path().join("history.db")).unwrap();
    w.begin(&earlier, 3).unwrap();
    let h = History::new(w.path(), watch::channel(w.cursor()).1);
    let rows = h.quarantine(None, 9).await.unwrap().items;
    let rows: Vec<_> = rows.into_iter().map(|q| (q.seq, q.channel, q.reason, q.at)).collect();
    let older = "what is wrong with it is older than the log; reading it again says so".to_owned();
    let row = |seq, channel: &str, reason: String, at| (seq, channel.to_owned(), reason, at);
    let now = earlier.state.now;
    assert_eq!(
        rows,
        [row(9, "", older.clone(), now), row(8, "sms", older, t(4)), row(7, "sms", "no body".into(), t(4))]
    );
}
