//! A batch of mails into IN, and then their marks.

use super::guard::{Guard, Job, Read};
use super::session::{Selected, Session};
use super::{Mailbox, Trouble};
use crate::clock;
use crate::inbound::Ingest;
use crate::log::LogError;
use bytes::Bytes;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_adapter_sdk::Opened;
use switchboard_email::config::KEYWORD;
use switchboard_email::imap::Code;
use switchboard_email::imap::command::{folder, set};
use switchboard_email::{Email, Mark};
use switchboard_envelope::Inbound;

/// What was had of a mail.
enum What {
    Whole(Bytes),
    Head { head: Bytes, size: u64 },
    Nothing { place: String, why: String },
}

/// A mail out of the folder.
pub(super) struct Taken {
    pub uid: u32,
    what: What,
}

impl Taken {
    pub fn mail(uid: u32, bytes: Bytes) -> Taken {
        Taken { uid, what: What::Whole(bytes) }
    }

    pub fn large(uid: u32, head: Vec<u8>, size: u64) -> Taken {
        Taken { uid, what: What::Head { head: head.into(), size } }
    }

    /// The server gave it, or as much of it as is kept.
    pub fn was_given(&self) -> bool {
        !matches!(self.what, What::Nothing { .. })
    }

    pub fn not_given(uid: u32, place: String, why: String) -> Taken {
        Taken { uid, what: What::Nothing { place, why } }
    }
}

/// Puts all of a batch into IN. Mails of one thread go in as they stand in the folder; the others need not wait for each other.
pub(super) async fn take(mailbox: &Mailbox, guard: &Guard, batch: Vec<Taken>) -> Result<(), Trouble> {
    let jobs: Vec<Job> = batch.into_iter().map(|taken| job(&mailbox.email, taken.what)).collect();
    let read = guard.read_all(&jobs).await?;
    let mut threads: BTreeMap<String, Vec<(Opened, Bytes)>> = BTreeMap::new();
    for (number, (job, read)) in jobs.into_iter().zip(read).enumerate() {
        let opened = opened(&mailbox.email, &job.key, read);
        threads.entry(thread(&opened, number)).or_default().push((opened, job.key));
    }
    let each = threads.into_values().map(|mails| async move {
        for (opened, bytes) in mails {
            store(&mailbox.ingest, &mailbox.email, opened, &bytes).await?;
        }
        Ok::<_, LogError>(())
    });
    try_join_all(each).await?;
    Ok(())
}

fn job(email: &Arc<Email>, what: What) -> Job {
    let (email, now) = (email.clone(), clock::now());
    let alone = |event: Inbound| Opened { events: vec![event], files: vec![] };
    match what {
        What::Whole(key) => {
            let mail = key.clone();
            Job { key, work: Arc::new(move || email.read(&mail, now)) }
        }
        What::Head { head: key, size } => {
            let head = key.clone();
            Job { key, work: Arc::new(move || alone(email.too_large(&head, size, now))) }
        }
        What::Nothing { place, why } => {
            let key = Bytes::from(place.clone());
            Job { key, work: Arc::new(move || alone(email.not_given(&place, &why, now))) }
        }
    }
}

/// What was read, or the mail itself for the quarantine.
pub(in crate::inbound) fn opened(email: &Email, mail: &Bytes, read: Read) -> Opened {
    match read {
        Read::Opened(opened) => opened,
        Read::Unread(why) => email.refused(mail, why, clock::now()),
    }
}

fn thread(opened: &Opened, number: usize) -> String {
    match opened.events.first() {
        Some(Inbound::Message(m)) => m.thread.clone(),
        Some(Inbound::Echo(e)) => e.thread.clone(),
        _ => format!("alone {number}"),
    }
}

/// Stores one mail. What the log will not have as it was read is quarantined, and does not hold up the next one.
pub async fn store(ingest: &Ingest, email: &Email, opened: Opened, bytes: &Bytes) -> Result<(), LogError> {
    match ingest.opened(opened, bytes).await {
        Err(LogError::Refused(why)) => ingest.opened(email.refused(bytes, &why, clock::now()), bytes).await,
        other => other,
    }
}

/// How mails are marked that the log has.
pub(super) struct Marker {
    channel: String,
    flag: Option<&'static str>,
    move_to: Option<String>,
    /// It was said that this server will not.
    said: bool,
}

impl Marker {
    pub fn new(mailbox: &Mailbox, selected: &Selected) -> Marker {
        let can = |flag: &str| selected.permanent.iter().any(|f| f.eq_ignore_ascii_case(flag));
        let keyword = (can("\\*") || can(KEYWORD)) && mailbox.imap.mark == Mark::Keyword;
        // Servers that name no flags take them all (RFC 3501 §7.1).
        let seen = selected.permanent.is_empty() || can("\\Seen");
        let flag = match (keyword || selected.permanent.is_empty() && mailbox.imap.mark == Mark::Keyword, seen) {
            (true, _) => Some(KEYWORD),
            (false, true) => Some("\\Seen"),
            (false, false) => None,
        };
        let mut marker = Marker {
            channel: mailbox.channel.clone(),
            flag: flag.filter(|_| !selected.read_only),
            move_to: mailbox.imap.move_to.clone().filter(|_| !selected.read_only),
            said: false,
        };
        if selected.read_only || marker.flag.is_none() {
            marker.complain("the folder can only be read");
        } else if !keyword && mailbox.imap.mark == Mark::Keyword && marker.flag != Some(KEYWORD) {
            tracing::warn!(channel = %mailbox.channel, "the server takes no keywords: mails that the log has are marked as read");
        }
        marker
    }

    /// What the log has is marked as read, as it is by people.
    pub fn marks_as_seen(&self) -> bool {
        self.flag == Some("\\Seen")
    }

    fn complain(&mut self, words: &str) {
        if !self.said {
            tracing::warn!(channel = %self.channel, words, "mails that the log has cannot be marked in the mailbox; none is taken twice for that");
            self.said = true;
        }
    }

    /// Marks, and then moves. A server that will not is no reason to take no more mails: the cursor knows what was taken.
    pub async fn mark(&mut self, session: &mut Session, uids: &[u32]) -> Result<(), Trouble> {
        if uids.is_empty() {
            return Ok(());
        }
        let uids = set(uids);
        if let Some(flag) = self.flag {
            let ended = session.command(&format!("UID STORE {uids} +FLAGS.SILENT ({flag})")).await?;
            if !ended.is_ok() {
                self.complain(&ended.words);
            }
        }
        if let Some(to) = self.move_to.clone() {
            self.transfer(session, &uids, &folder(&to)).await?;
        }
        Ok(())
    }

    async fn transfer(&mut self, session: &mut Session, uids: &str, to: &str) -> Result<(), Trouble> {
        let can_move = session.has("MOVE");
        let command = if can_move { format!("UID MOVE {uids} {to}") } else { format!("UID COPY {uids} {to}") };
        let mut ended = session.command(&command).await?;
        if !ended.is_ok() && ended.code == Some(Code::TryCreate) {
            session.command(&format!("CREATE {to}")).await?;
            ended = session.command(&command).await?;
        }
        if !ended.is_ok() {
            self.complain(&ended.words);
            return Ok(());
        }
        if !can_move {
            session.command(&format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)")).await?;
            // Without this extension an EXPUNGE would take what others have marked too.
            if session.has("UIDPLUS") {
                session.command(&format!("UID EXPUNGE {uids}")).await?;
            }
        }
        Ok(())
    }
}
