//! Readings that do not end, that end the process, and those that have nothing to do with them.

use super::guard::{Again, Careful, Guard, Job, NotNow, Read};
use crate::log::Log;
use crate::log::memory::{MemoryLog, MemoryOptions};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use switchboard_adapter_sdk::Opened;

const NAME: &str = "reading.imap.mail";

fn log() -> Arc<dyn Log> {
    Arc::new(MemoryLog::new(&MemoryOptions::default()))
}

fn guard(log: &Arc<dyn Log>, careful: Careful) -> Guard {
    Guard::new(log.clone(), NAME.into(), careful).within(Duration::from_millis(300))
}

fn plain(key: &'static str, read: &Arc<AtomicUsize>) -> Job {
    let read = read.clone();
    let work = move || {
        read.fetch_add(1, Ordering::SeqCst);
        Opened::default()
    };
    Job { key: Bytes::from_static(key.as_bytes()), work: Arc::new(work) }
}

/// A reading that goes on until `held` is dropped, and whether it began.
fn endless(key: &'static str) -> (Job, Arc<AtomicUsize>, mpsc::SyncSender<()>) {
    let (held, wait) = mpsc::sync_channel::<()>(1);
    let (began, wait) = (Arc::new(AtomicUsize::new(0)), std::sync::Mutex::new(wait));
    let count = began.clone();
    let work = move || {
        count.fetch_add(1, Ordering::SeqCst);
        let _ = wait.lock().map(|wait| wait.recv());
        Opened::default()
    };
    (Job { key: Bytes::from_static(key.as_bytes()), work: Arc::new(work) }, began, held)
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_ends_the_process_twice_is_not_read_a_third_time() {
    let log = log();
    for _ in 0..2 {
        let (job, began, held) = endless("poison");
        let guard = Arc::new(guard(&log, Careful::Mails(100)).within(Duration::from_secs(600)));
        // What comes before it in the folder is read again each time, and is not blamed.
        let read = Arc::default();
        assert!(matches!(guard.read_all(&[plain("good", &read)]).await, Ok(all) if all.len() == 1));
        let reading = tokio::spawn({
            let (guard, job) = (guard.clone(), job.clone());
            async move { guard.read_all(&[job]).await.map(|_| ()) }
        });
        until("the reading to begin", || began.load(Ordering::SeqCst) == 1).await;
        // The process is gone in the middle.
        reading.abort();
        drop(held);
    }
    let (job, began, _held) = endless("poison");
    let (guard, read) = (guard(&log, Careful::Mails(100)), Arc::default());
    let all = guard.read_all(&[plain("good", &read), job, plain("behind", &read)]).await.expect("it goes on");
    assert!(matches!(all.as_slice(), [Read::Opened(_), Read::Unread(_), Read::Opened(_)]));
    assert_eq!((began.load(Ordering::SeqCst), read.load(Ordering::SeqCst)), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_does_not_end_is_tried_once_more_and_holds_up_nothing() {
    let log = log();
    let guard = guard(&log, Careful::Mails(0));
    let (job, began, _held) = endless("endless");
    let read = Arc::default();
    let both = [job.clone(), plain("behind", &read)];
    assert!(matches!(guard.read_all(&both).await, Err(NotNow::TooLong)), "together, then alone");
    let all = guard.read_all(&both).await.expect("it goes on");
    assert!(matches!(all.as_slice(), [Read::Unread(_), Read::Opened(_)]));
    assert_eq!(began.load(Ordering::SeqCst), 3, "once together and twice alone");
    // Handed over once more, it is not read any more.
    assert!(matches!(guard.read(&job).await, Ok(Read::Unread(_))));
    assert_eq!(began.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_handed_over_comes_later_and_is_then_kept_unread() {
    let log = log();
    for careful in [Careful::Mails(0), Careful::For(Duration::from_secs(3600))] {
        let guard = guard(&log, careful);
        let (job, began, _held) = endless(if matches!(careful, Careful::Mails(_)) { "a" } else { "b" });
        assert!(matches!(guard.read(&job).await, Err(NotNow::TooLong)));
        assert!(matches!(guard.read(&job).await, Ok(Read::Unread(_))));
        assert!(matches!(guard.read(&job).await, Ok(Read::Unread(_))));
        assert_eq!(began.load(Ordering::SeqCst), 2);
        let read = Arc::default();
        assert!(matches!(guard.read(&plain("other", &read)).await, Ok(Read::Opened(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_panics_costs_its_mail() {
    let log = log();
    let (guard, read) = (guard(&log, Careful::Mails(0)), Arc::default());
    let panics = Job { key: Bytes::from_static(b"panics"), work: Arc::new(|| panic!("a reader that fails")) };
    let all = guard.read_all(&[plain("a", &read), panics.clone(), plain("b", &read)]).await.expect("it goes on");
    assert!(matches!(all.as_slice(), [Read::Opened(_), Read::Unread(_), Read::Opened(_)]));
    assert!(matches!(guard.read(&panics).await, Ok(Read::Unread(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_for_a_mail_without_a_reason() {
    let log = log();
    let (guard, read) = (guard(&log, Careful::Mails(2)), Arc::default());
    let jobs = ["a", "b", "c"].map(|key| plain(key, &read));
    assert_eq!(guard.read_all(&jobs).await.map(|all| all.len()).ok(), Some(3));
    log.put_cursor(NAME, "untouched").await.expect("written");
    assert_eq!(guard.read_all(&jobs).await.map(|all| all.len()).ok(), Some(3));
    assert!(matches!(guard.read(&jobs[0]).await, Ok(Read::Opened(_))));
    assert_eq!(log.get_cursor(NAME).await, Ok(Some("untouched".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_mails_that_do_not_end_the_oldest_is_forgotten() {
    let log = log();
    let guard = guard(&log, Careful::Mails(0)).within(Duration::from_millis(10));
    let keys: Vec<&'static str> = (0..66).map(|n| &*Box::leak(n.to_string().into_boxed_str())).collect();
    for key in &keys {
        let (job, _, held) = endless(key);
        until_not_overdue(&guard, &job).await;
        drop(held);
    }
    for (key, known) in [(keys[2], true), (keys[65], true), (keys[0], false), (keys[1], false)] {
        let (job, _, held) = endless(key);
        let kept = loop {
            match guard.read(&job).await {
                Ok(Read::Unread(_)) => break true,
                Err(NotNow::TooLong) => break false,
                Err(NotNow::Overdue) => tokio::time::sleep(Duration::from_millis(5)).await,
                _ => panic!("mail {key} was read"),
            }
        };
        drop(held);
        assert_eq!(kept, known, "mail {key}");
    }
}

/// Reads a mail that does not end, once there is room for it.
async fn until_not_overdue(guard: &Guard, job: &Job) {
    while !matches!(guard.read(job).await, Err(NotNow::TooLong)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_again_out_of_the_quarantine_holds_up_nobody() {
    let again = Again::default();
    assert_eq!(again.read(Opened::default).await, Ok(Opened::default()));
    assert!(again.read(|| panic!("a reader that fails")).await.is_err_and(|why| why.contains("failed")));
    let again = again.within(Duration::from_millis(50));
    let mut held = vec![];
    for key in ["a", "b"] {
        let (job, _, sender) = endless(key);
        held.push(sender);
        let work = job.work.clone();
        assert!(again.read(move || work()).await.is_err_and(|why| why.contains("did not end")));
    }
    assert!(again.read(Opened::default).await.is_err_and(|why| why.contains("under way")));
    drop(held);
    for _ in 0..2000 {
        if again.read(Opened::default).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("readings that ended still take the room");
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_that_do_not_end_are_counted() {
    let log = log();
    let guard = guard(&log, Careful::Mails(0)).within(Duration::from_millis(20));
    let mut held = vec![];
    for key in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        let (job, _, sender) = endless(key);
        held.push(sender);
        assert!(matches!(guard.read(&job).await, Err(NotNow::TooLong)));
    }
    let read = Arc::default();
    assert!(matches!(guard.read(&plain("other", &read)).await, Err(NotNow::Overdue)));
    drop(held);
    for _ in 0..2000 {
        if let Ok(Read::Opened(_)) = guard.read(&plain("other", &read)).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("readings that ended are still counted");
}
