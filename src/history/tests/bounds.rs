//! Long transcripts, many conversations, many ids.

use super::*;

#[tokio::test]
async fn a_long_transcript_is_read_whole_from_either_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut frames = vec![(1, vec![channels(), opened(1, "site"), opened(2, "site")])];
    for n in 0..500u32 {
        let note = Public::NoteAdded { conv: conv(1), message: msg(10_000 + n), agent: None, token: None, at: t(1) };
        let events = vec![
            received(1, n, "hello"),
            received(2, 20_000 + n, "somebody else"),
            with(note, 1, Private::Note { text: "a note".into() }),
            send(1, 30_000 + n, "hi", agent("ann"), true),
        ];
        frames.push((2 + u64::from(n), events));
    }
    let (_w, h) = history_of(dir.path(), &frames);
    let (c, _) = h.conversation(conv(1)).await.unwrap().unwrap();
    for limit in [1, 7, 50, 200] {
        let (mut found, mut before) = (vec![], None);
        loop {
            let page = h.messages(c.seq, before, limit).await.unwrap();
            assert!(page.items.len() <= limit);
            found.extend(page.items);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), 1500, "pages of {limit}");
        assert!(found.windows(2).all(|w| w[0].seq > w[1].seq), "newest first");
        assert!(found.iter().all(|m| m.conversation == conv(1)));
        let (mut found, mut after) = (vec![], 0);
        loop {
            let part = h.transcript("site".into(), thread(1), after, limit).await.unwrap();
            let Some(last) = part.last() else { break };
            assert!(part.len() <= limit);
            after = last.seq;
            found.extend(part);
        }
        assert_eq!(found.len(), 1000, "parts of {limit}, without the notes");
        assert!(found.windows(2).all(|w| w[0].seq < w[1].seq), "oldest first");
    }
    // A place that is no message's own.
    let middle = h.messages(c.seq, Some(c.seq + 4096 * 250), 3).await.unwrap();
    assert!(middle.items.iter().all(|m| m.seq < c.seq + 4096 * 250) && middle.items.len() == 3);
    assert!(h.messages(c.seq + 9, None, 3).await.unwrap().items.is_empty(), "no such conversation");
}

#[tokio::test]
async fn conversations_of_one_thread_make_one_transcript() {
    let dir = tempfile::tempdir().unwrap();
    let of_thread = |n: u32| {
        let Event { public: Public::Opened { conv, contact, channel, at, ours, .. }, private } = opened(n, "site")
        else {
            unreachable!()
        };
        Event { public: Public::Opened { conv, contact, channel, thread: thread(1), at, ours, trial: 0 }, private }
    };
    let frames: Vec<(Seq, Vec<Event>)> = (1..=30)
        .map(|n: u32| {
            (n.into(), std::iter::once(of_thread(n)).chain((0..5).map(|m| received(n, n * 10 + m, "x"))).collect())
        })
        // The first one goes on after the others began.
        .chain([(31, vec![received(1, 9_999, "late")])])
        .collect();
    let (_w, h) = history_of(dir.path(), &[&[(0, vec![])], frames.as_slice()].concat());
    let (mut found, mut after) = (vec![], 0);
    loop {
        let part = h.transcript("site".into(), thread(1), after, 4).await.unwrap();
        let Some(last) = part.last() else { break };
        after = last.seq;
        found.extend(part);
    }
    assert_eq!(found.len(), 151);
    assert!(found.windows(2).all(|w| w[0].seq < w[1].seq));
    assert_eq!(found.last().unwrap().id, msg(9_999).to_string());
    let newest = h.thread_conversation("site".into(), thread(1)).await.unwrap().unwrap();
    assert_eq!(newest.id, conv(30));
}

#[tokio::test]
async fn every_message_is_found_by_its_id_in_whatever_run_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut w, h) = history_of(dir.path(), &[(1, vec![channels(), opened(1, "sms")])]);
    for n in 0..300u32 {
        w.apply(&[(2 + u64::from(n), vec![received(1, 2 * n, "x"), received(1, 2 * n + 1, "y")])]).unwrap();
    }
    let runs: i64 = w.db.query_row("SELECT count(*) FROM runs", [], |r| r.get(0)).unwrap();
    assert!((8..20).contains(&runs), "{runs}");
    for n in (0..600).step_by(7) {
        assert_eq!(h.message(msg(n).to_string()).await.unwrap().unwrap().id, msg(n).to_string());
    }
    assert_eq!(h.message(msg(700).to_string()).await.unwrap(), None);
    // Also for the projection itself, after it forgot everything.
    let mut w = HistoryWriter::open(dir.path().join("history.db")).unwrap();
    w.apply(&[(400, vec![receipt(1, 5, ReceiptStatus::Read)])]).unwrap();
    assert_eq!(h.message(msg(5).to_string()).await.unwrap().unwrap().status, Some(Status::Read));
}

#[test]
fn memory_stays_bounded_however_many_conversations_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = HistoryWriter::open(dir.path().join("history.db")).unwrap();
    w.apply(&[(1, vec![channels()])]).unwrap();
    let mut most = 0;
    for frame in 0..120u32 {
        let of = |n: u32| vec![opened(n, "sms"), received(n, n, "hello, where is it?"), decided(n, n, "Refunds")];
        w.apply(&[(2 + u64::from(frame), (0..100).flat_map(|i| of(frame * 100 + i)).collect::<Vec<_>>())]).unwrap();
        let work = &w.work;
        let held = work.conversations.total_bytes()
            + work.contacts.total_bytes()
            + work.messages.total_bytes()
            + work.fates.total_bytes()
            + work.outcomes.total_bytes();
        most = most.max(held);
    }
    assert!(most < 11 << 20, "{most} bytes");
    assert!(most > 4 << 20, "it does remember: {most} bytes");
    // What was forgotten is read again.
    let at = Public::Closed { conv: conv(3), by: None, reopen_until: t(9) };
    w.apply(&[(500, vec![at.into(), received(4, 90_000, "me again")])]).unwrap();
    w.rest();
    assert_eq!(w.work.conversations.total_bytes() + w.work.messages.total_bytes(), 0);
    w.apply(&[(501, vec![received(4, 90_001, "and again")])]).unwrap();
    let rows: (i64, i64) = w
        .db
        .query_row("SELECT count(*), (SELECT count(*) FROM conversations WHERE state = 5) FROM messages", [], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })
        .unwrap();
    assert_eq!(rows, (12_000 + 3, 1));
}

#[test]
fn the_write_ahead_log_begins_again_while_changes_come() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let mut w = HistoryWriter::open(&path).unwrap();
    w.apply(&[(1, vec![channels(), opened(1, "sms")])]).unwrap();
    let text = "many words ".repeat(400);
    let mut longest = 0;
    for n in 0..3000u32 {
        w.apply(&[(2 + u64::from(n), vec![received(1, n, &text)])]).unwrap();
        longest = longest.max(std::fs::metadata(path.with_extension("db-wal")).unwrap().len());
    }
    let file = std::fs::metadata(&path).unwrap().len();
    assert!(file > 10 << 20, "the pages came into the file: {file} bytes");
    // Each change writes at least five pages of 4 KiB.
    assert!(longest < 24 << 20, "{longest} bytes, where more than 58 MiB were written");
    drop(w);
    assert_eq!(HistoryWriter::open(&path).unwrap().cursor(), 3001);
}

#[test]
fn no_statement_is_compiled_again_because_another_value_is_bound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let w = HistoryWriter::open(&path).unwrap();
    for db in [&w.db, &schema::open_reader(&path).unwrap()] {
        for sql in [load::PLACE_OF, stored::messages!("WHERE m.seq = ?1")] {
            let mut statement = db.prepare(sql).unwrap();
            for value in 0..9 {
                assert!(statement.query([value]).unwrap().next().unwrap().is_none());
            }
            assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0, "{sql}");
        }
    }
}
