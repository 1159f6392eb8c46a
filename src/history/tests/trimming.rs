//! What is older than the retention leaves, and nothing else.

use super::*;

const WHILE: Duration = Duration::from_secs(10);

fn closed(n: u32, at: i64) -> Vec<Event> {
    vec![
        Public::Ticked { now: t(at), relived: false }.into(),
        Public::Closed { conv: conv(n), by: None, reopen_until: t(at + 10) }.into(),
    ]
}

fn forgotten(n: u32) -> Event {
    Public::Forgotten { conv: conv(n), sticky_until: None }.into()
}

/// Conversations 1 and 2 are over since 100, 3 since 900; 4 is closed and may reopen; 5 is open. Contact 2 has a tag.
fn frames() -> Vec<(Seq, Vec<Event>)> {
    let open = |n: u32| {
        vec![
            opened(n, "sms"),
            received(n, n * 100, "hello"),
            decided(n, n * 100, "Greet"),
            queued(n, "everyone"),
            send(n, n * 100 + 1, "good day", agent("ann"), false),
        ]
    };
    let tags = Some(BTreeSet::from(["vip".to_owned()]));
    vec![
        (1, vec![channels()]),
        (2, (1..=5).flat_map(open).collect()),
        (3, vec![Public::ContactTouched { contact: contact(2), tags }.into()]),
        (4, vec![Public::Dead { conv: conv(1), message: msg(101), reason: DeadReason::Expired, at: t(50) }.into()]),
        (5, [closed(1, 100), closed(2, 100), closed(4, 100), closed(3, 900)].concat()),
        (6, vec![forgotten(1), forgotten(2), forgotten(3)]),
    ]
}

#[tokio::test]
async fn only_what_ended_before_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let (mut w, h) = history_of(dir.path(), &frames());
    let place = h.message(msg(100).to_string()).await.unwrap().unwrap().seq;
    assert_eq!(w.trim(t(100), WHILE).unwrap(), Trimmed::default(), "not yet");
    let trimmed = w.trim(t(500), WHILE).unwrap();
    // Both messages and the line that tells of the end.
    assert_eq!(trimmed, Trimmed { conversations: 2, messages: 6, contacts: 1, more: false });
    for n in 1..=5 {
        let there = n > 2;
        assert_eq!(h.conversation(conv(n)).await.unwrap().is_some(), there, "conversation {n}");
        assert_eq!(h.message(msg(n * 100).to_string()).await.unwrap().is_some(), there, "message of {n}");
        assert_eq!(h.contact(contact(n)).await.unwrap().is_some(), n != 1, "contact {n}");
    }
    assert!(h.facts(place).await.unwrap().is_none());
    assert!(h.dead_letter(msg(101).to_string()).await.unwrap().is_none());
    assert!(h.dead_letters(None, None, 9).await.unwrap().items.is_empty());
    let found = async |n: u32| h.contacts(Some(format!("phone:+1555{n:07}")), None, 9).await.unwrap().items.len();
    assert_eq!((found(1).await, found(2).await), (0, 1));
    assert_eq!(h.transcript("sms".into(), thread(1), 0, 9).await.unwrap(), []);
    let left = h.conversations(ConversationFilter::default(), None, 9).await.unwrap();
    assert_eq!(left.items.iter().map(|c| c.0.id).collect::<Vec<_>>(), [conv(5), conv(4), conv(3)]);
    let rows = |sql: &str| w.db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(
        rows("SELECT count(*) FROM messages"),
        rows("SELECT count(*) FROM messages m JOIN conversations c ON c.seq = m.conv")
    );
    assert_eq!(rows("SELECT count(*) FROM ids"), 6);
    assert_eq!(rows("SELECT count(*) FROM trash"), 0);
}

#[tokio::test]
async fn what_comes_late_for_what_is_gone_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut w, h) = history_of(dir.path(), &frames());
    w.trim(t(500), WHILE).unwrap();
    let before = dump(w.path());
    let late = vec![
        receipt(1, 101, ReceiptStatus::Delivered),
        Public::DeadCleared { conv: conv(1), message: msg(101), resent: None }.into(),
        forgotten(1),
    ];
    w.apply(&[(7, late)]).unwrap();
    let others = |d: Vec<(String, Vec<Vec<Value>>)>| d.into_iter().filter(|(t, _)| t != "meta").collect::<Vec<_>>();
    assert_eq!(others(dump(w.path())), others(before));
    // Who was forgotten may write again.
    w.apply(&[(8, vec![opened(1, "sms"), received(1, 777, "it is me")])]).unwrap();
    assert_eq!(h.transcript("sms".into(), thread(1), 0, 9).await.unwrap().len(), 1);
    assert!(h.contact(contact(1)).await.unwrap().is_some());
}

#[test]
fn history_that_was_trimmed_is_made_again_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (mut w, _) = history_of(dir.path(), &frames());
    w.trim(t(500), WHILE).unwrap();
    let trimmed = dump(w.path());
    w.reset().unwrap();
    w.apply(&frames()).unwrap();
    assert_eq!(dump(w.path()).iter().find(|t| t.0 == "conversations").unwrap().1.len(), 5);
    w.trim(t(500), WHILE).unwrap();
    assert_eq!(dump(w.path()), trimmed);
}

/// One conversation of `n` messages, which is over, and one that stays.
fn long(n: u32) -> Vec<(Seq, Vec<Event>)> {
    let mut frames = vec![(1, vec![channels(), opened(1, "sms"), opened(2, "sms"), received(2, 1, "I stay")])];
    frames.extend((0..n / 100).map(|f| {
        let all = (0..100).map(|m| received(1, 1000 + f * 100 + m, "one of many"));
        (2 + u64::from(f), all.collect())
    }));
    frames.push((9_000, closed(1, 100)));
    frames.push((9_001, vec![forgotten(1)]));
    frames
}

#[tokio::test]
async fn a_long_conversation_leaves_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let (mut w, h) = history_of(dir.path(), &long(2000));
    let (mut sum, mut steps) = (Trimmed::default(), 0);
    loop {
        let step = w.trim(t(500), Duration::ZERO).unwrap();
        sum = sum.plus(step);
        steps += 1;
        assert!(step.messages <= 16, "a step without time takes little: {step:?}");
        // Whole for readers, or gone.
        assert!(h.conversation(conv(1)).await.unwrap().is_none());
        assert!(h.message(msg(1000).to_string()).await.unwrap().is_none());
        assert_eq!(h.transcript("sms".into(), thread(2), 0, 9).await.unwrap().len(), 1);
        // Changes go on in between.
        let seq = 10_000 + steps;
        w.apply(&[(seq, vec![Public::Ticked { now: t(200), relived: false }.into()])]).unwrap();
        if !step.more {
            break;
        }
        // As after a crash.
        if steps == 50 {
            w = HistoryWriter::open(dir.path().join("history.db")).unwrap();
        }
    }
    assert_eq!(sum, Trimmed { conversations: 1, messages: 2001, contacts: 1, more: false });
    assert!(steps > 100, "{steps}");
    let rows =
        |table: &str| w.db.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get::<_, i64>(0)).unwrap();
    let left = ["conversations", "messages", "ids", "marks", "trash", "contacts", "identities"].map(rows);
    assert_eq!(left, [1, 1, 1, 0, 0, 1, 1]);
    assert!(rows("runs") <= 2, "runs without ids are not asked: {}", rows("runs"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_projection_trims_while_it_follows_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (w, _) = history_of(dir.path(), &long(3000));
    let log = Frames::new();
    long(3000).into_iter().for_each(|f| log.push(f));
    let (_stop, stopped) = watch::channel(false);
    let (handle, _task) = spawn_projection(log.clone(), w, log.decoder(), stopped);
    let trimmer = handle.clone();
    let trimmed = tokio::spawn(async move { trimmer.trim(t(500)).await });
    for seq in 9_002..9_050u64 {
        let events = vec![received(2, u32::try_from(seq).unwrap(), "meanwhile")];
        log.push((seq, events.clone()));
        handle.feed(seq, 0, Arc::new(events));
        assert!(handle.history().wait_for(seq, SOON).await);
    }
    let trimmed = tokio::time::timeout(SOON, trimmed).await.unwrap().unwrap().unwrap();
    assert_eq!(trimmed, Trimmed { conversations: 1, messages: 3001, contacts: 1, more: false });
    assert_eq!(handle.history().transcript("sms".into(), thread(2), 0, 100).await.unwrap().len(), 49);
    assert_eq!(handle.trim(t(500)).await, Some(Trimmed::default()), "there is nothing more");
}

#[test]
fn answers_are_forgotten_after_a_week() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = HistoryWriter::open(dir.path().join("history.db")).unwrap();
    let answer = |n: u128| -> Event { Public::Answered { command: KeyHash(n), body: None, reply: ok("done") }.into() };
    let week = 7 * 24 * 3_600_000;
    let old = (0..450).map(answer).collect::<Vec<_>>();
    w.apply(&[
        (1, [vec![Public::Ticked { now: t(0), relived: false }.into()], old].concat()),
        (2, vec![Public::Ticked { now: t(week), relived: false }.into(), answer(1000)]),
    ])
    .unwrap();
    assert!(!w.trim(t(0), WHILE).unwrap().more, "a week is not over");
    w.apply(&[(3, vec![Public::Ticked { now: t(week + 1), relived: false }.into()])]).unwrap();
    let steps: Vec<bool> = (0..3).map(|_| w.trim(t(0), WHILE).unwrap().more).collect();
    assert_eq!(steps, [true, true, false]);
    assert_eq!(w.db.query_row("SELECT count(*) FROM answers", [], |r| r.get::<_, i64>(0)).unwrap(), 1);
}

#[tokio::test]
async fn a_history_that_log_was_trimmed_beyond_is_made_again_from_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let (story, log) = (story(), Frames::new());
    let (w, _) = history_of(dir.path(), &story[..1]);
    // Frame 2 is gone, and with it what it says of the conversations that history holds.
    story.iter().skip(2).cloned().for_each(|f| log.push(f));
    let (_stop, stopped) = watch::channel(false);
    let (handle, _task) = spawn_projection(log.clone(), w, log.decoder(), stopped);
    let mut cursor = handle.history().watch_cursor();
    let last = story.last().unwrap().0;
    tokio::time::timeout(WHILE, cursor.wait_for(|c| *c == last)).await.unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (_, fresh) = history_of(dir.path(), &story[2..]);
    assert_eq!(dump(handle.history().path()), dump(fresh.path()));
}
