//! What a file keeps over restarts and from older versions.

use super::shown::mail;
use super::{channels, conv, history_of, opened, story, t};
use crate::history::HistoryWriter;
use switchboard_envelope::SenderProof;
use switchboard_routing_rules::event::{Event, Public};

pub(super) fn rebased(number: u64) -> Vec<Event> {
    let why = "an older copy was put back".to_owned();
    let at = t(0);
    vec![
        Public::Rebased {
            number,
            at,
            frame: 5,
            cursor: 0,
            cursor_at: at,
            cursor_id: None,
            inn: 0,
            out: 0,
            cut: true,
            why,
        }
        .into(),
    ]
}

#[test]
fn the_number_of_the_last_rebase_is_remembered_and_goes_with_what_it_was_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let mut w = HistoryWriter::open(&path).unwrap();
    w.apply(&story()).unwrap();
    assert_eq!(w.told().rebase, 0);
    w.apply_up_to(&[(5, rebased(3))], 77).unwrap();
    drop(w);
    let mut w = HistoryWriter::open(&path).unwrap();
    let told = w.told();
    assert_eq!((told.frame, told.id, told.rebase), (5, 77, 3));
    w.reset().unwrap();
    assert_eq!(w.told().rebase, 0);
}

#[test]
fn a_file_of_an_older_version_is_brought_up_to_date_with_all_that_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    HistoryWriter::open(&path).unwrap().apply(&story()).unwrap();
    let back = [
        ("", 12),
        ("", 11),
        ("ALTER TABLE meta DROP COLUMN known_to", 10),
        ("", 9),
        (
            "ALTER TABLE identities RENAME TO of_several;
             CREATE TABLE identities(identity TEXT PRIMARY KEY, contact BLOB NOT NULL) WITHOUT ROWID;
             INSERT INTO identities SELECT identity, contact FROM of_several; DROP TABLE of_several",
            8,
        ),
        ("DROP TABLE slots; DROP TABLE slot_hits", 7),
        ("ALTER TABLE meta DROP COLUMN rebase", 6),
        ("DROP TABLE pack_hits", 5),
        ("ALTER TABLE meta DROP COLUMN frame", 4),
    ];
    for older in 1..=back.len() {
        let db = rusqlite::Connection::open(&path).unwrap();
        for (step, version) in &back[..older] {
            db.execute_batch(&format!("{step}; PRAGMA user_version = {version}")).unwrap();
        }
        drop(db);
        let mut w = HistoryWriter::open(&path).unwrap();
        assert_eq!(w.cursor(), 4, "{older} versions back");
        w.apply(&[(5, rebased(1))]).unwrap();
        assert_eq!(w.told().rebase, 1);
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("UPDATE meta SET cursor = 4, rebase = 0").unwrap();
    }
}

#[tokio::test]
async fn of_a_row_of_before_the_newest_message_says_whether_its_sender_is_proved() {
    let dir = tempfile::tempdir().unwrap();
    let disproved = mail(1, 1, SenderProof::Disproved, false);
    let (mut w, h) = history_of(dir.path(), &[(1, vec![channels(), opened(1, "sms"), disproved])]);
    let row: Vec<u8> = w.db.query_row("SELECT doc FROM conversations", [], |r| r.get(0)).unwrap();
    // A list of one part less, of which the last was itself a list of two.
    let mut before = row[..row.len() - 3].to_vec();
    assert_eq!((before[0], row[row.len() - 3]), (0x9c, 0x92));
    before[0] -= 1;
    w.db.execute("UPDATE conversations SET doc = ?1", [before]).unwrap();
    w.rest();
    let proof = async || h.conversation(conv(1)).await.unwrap().unwrap().0.sender_proof;
    assert_eq!(proof().await, Some(SenderProof::Disproved));
    w.apply(&[(2, vec![mail(1, 2, SenderProof::Proved, true)])]).unwrap();
    assert_eq!(proof().await, Some(SenderProof::Disproved), "a machine wrote since");
    w.apply(&[(3, vec![mail(1, 3, SenderProof::Proved, false)])]).unwrap();
    assert_eq!(proof().await, Some(SenderProof::Proved));
}
