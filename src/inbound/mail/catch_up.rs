//! From the place that is remembered to the end of a folder: listed in windows, fetched in batches, each taken before the next.

use super::cursor::{Cursor, internal_date};
use super::session::{Selected, Session};
use super::store::{Marker, Taken, take};
use super::{Mailbox, Trouble};
use crate::clock;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use switchboard_email::Tls;
use switchboard_email::config::KEYWORD;
use switchboard_email::imap::command::set;
use switchboard_email::imap::{Fetched, Reply, Said};

/// UIDs in a window of the list; where a folder has gaps it becomes larger.
const WINDOW: u32 = 1000;
/// Mails remembered of a window. The others are listed again.
const LISTED: usize = 1000;
/// Mails of one batch, and their bytes.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// A server may fail as often at one mail, with growing waits between: together some minutes.
const STRIKES: u32 = 8;
/// Of a mail that is too large so much of its head is kept.
const HEAD: usize = 64 * 1024;

/// What a server failed at. Kept from one connection to the next, so that no mail can stand in the way of those behind it.
#[derive(Default)]
pub(super) struct Strikes {
    /// What is being fetched.
    at: Option<(u32, u32)>,
    /// Mails below are fetched one by one.
    singly: u32,
    failed: BTreeMap<u32, u32>,
}

impl Strikes {
    /// Notes at what the last connection ended.
    fn look_back(&mut self) {
        let Some((first, last)) = self.at.take() else { return };
        if first == last {
            *self.failed.entry(first).or_default() += 1;
        }
        self.singly = last.saturating_add(1);
    }

    fn is_out(&self, uid: u32) -> bool {
        self.failed.get(&uid).is_some_and(|n| *n >= STRIKES)
    }
}

/// A mail in the list.
#[derive(Clone, Debug, Default)]
struct Item {
    uid: u32,
    size: Option<u32>,
}

/// How a fetch ended.
enum Given {
    /// The mails that are there still, and those whose answer could not be read.
    Mails(BTreeMap<u32, Vec<u8>>, BTreeSet<u32>),
    No(String),
}

pub(super) struct CatchUp<'a> {
    mailbox: &'a Mailbox,
    cursor: Cursor,
    marker: Marker,
    /// UIDs below were there when the folder was opened: the list goes through them in windows.
    bound: u32,
}

impl<'a> CatchUp<'a> {
    /// Finds the place to go on from.
    pub async fn begin(
        mailbox: &'a Mailbox,
        session: &mut Session,
        strikes: &mut Strikes,
        selected: &Selected,
    ) -> Result<CatchUp<'a>, Trouble> {
        let uid_next = match selected.uid_next {
            Some(next) => next,
            None => last_uid(session).await?.saturating_add(1),
        };
        let server = &mailbox.imap.server;
        let user = server.account.as_ref().map_or("", |(user, _)| user);
        let of = format!("{user}@{}/{}", server.host, mailbox.imap.mailbox);
        let log = &mailbox.ingest.log;
        let stored = log.get_cursor(&name(mailbox)).await?;
        let only_new = mailbox.imap.only_new;
        let cursor = Cursor::now(stored.as_deref(), &of, selected.validity, uid_next, only_new, clock::now().0);
        if stored.as_deref() != Some(&cursor.text()) {
            if stored.is_some() {
                tracing::warn!(channel = %mailbox.channel, validity = selected.validity, "the mailbox is numbered anew: all of it is looked at again, and known mails change nothing");
                *strikes = Strikes::default();
            }
            log.put_cursor(&name(mailbox), &cursor.text()).await?;
        }
        strikes.look_back();
        if server.tls == Tls::None {
            tracing::debug!(channel = %mailbox.channel, "the mailbox is read without TLS");
        }
        let marker = Marker::new(mailbox, selected);
        Ok(CatchUp { mailbox, cursor, marker, bound: uid_next })
    }

    /// Takes everything that is there.
    pub async fn run(&mut self, session: &mut Session, strikes: &mut Strikes) -> Result<(), Trouble> {
        let mut window = WINDOW;
        let mut passed = self.cursor.next;
        while passed < self.bound {
            let last = passed.saturating_add(window - 1).min(self.bound - 1);
            let (items, whole) = self.list(session, passed, Some(last)).await?;
            let found = items.len();
            passed = self.through(session, strikes, items, whole, last.saturating_add(1)).await?;
            window = if found == 0 { window.saturating_mul(8) } else { WINDOW };
        }
        if passed > self.cursor.next {
            // Gaps are not asked for again after a restart.
            self.remember(passed).await?;
        }
        loop {
            let (items, whole) = self.list(session, self.cursor.next, None).await?;
            if items.is_empty() {
                return Ok(());
            }
            let end = items.iter().map(|i| i.uid).max().unwrap_or(0).saturating_add(1);
            self.through(session, strikes, items, whole, end).await?;
        }
    }

    /// Takes what was listed, and says from where on nothing was looked at.
    async fn through(
        &mut self,
        session: &mut Session,
        strikes: &mut Strikes,
        items: Vec<Item>,
        whole: bool,
        end: u32,
    ) -> Result<u32, Trouble> {
        let last = items.last().map(|i| i.uid.saturating_add(1));
        let most = self.mailbox.email.config().max_mail;
        for batch in batches(items, strikes.singly, most) {
            let Some((first, last)) = batch.first().zip(batch.last()).map(|(a, b)| (a.uid, b.uid)) else { continue };
            let taken = self.fetch(session, strikes, &batch, most).await?;
            let uids: Vec<u32> = taken.iter().map(|t| t.uid).collect();
            // The waits for the log are no failure of the server's.
            strikes.at = None;
            take(self.mailbox, taken).await?;
            strikes.at = None;
            strikes.failed.retain(|uid, _| *uid < first || *uid > last);
            self.marker.mark(session, &uids).await?;
            self.remember(last.saturating_add(1)).await?;
        }
        Ok(if whole { end } else { last.unwrap_or(end) })
    }

    async fn remember(&mut self, next: u32) -> Result<(), Trouble> {
        let cursor = Cursor { next, ..self.cursor.clone() };
        self.mailbox.ingest.log.put_cursor(&name(self.mailbox), &cursor.text()).await?;
        self.cursor = cursor;
        Ok(())
    }

    /// The first mails of a window, in the order of their UIDs, without those that need not be taken; and whether that is all.
    async fn list(&self, session: &mut Session, from: u32, to: Option<u32>) -> Result<(Vec<Item>, bool), Trouble> {
        let renumbered = from < self.cursor.renumbered;
        let facts = if renumbered { "(UID RFC822.SIZE FLAGS INTERNALDATE)" } else { "(UID RFC822.SIZE)" };
        let end = to.map_or("*".to_owned(), |to| to.to_string());
        let tag = session.send(&format!("UID FETCH {from}:{end} {facts}")).await?;
        // A window that ends in `*` always names the last mail, whatever its number.
        let wanted = |uid: u32| uid >= from && to.is_none_or(|to| uid <= to);
        let mut found: BTreeMap<u32, Fetched> = BTreeMap::new();
        let mut whole = true;
        loop {
            let fetched = match session.reply().await? {
                Reply::Fetched(fetched) => fetched,
                Reply::Unreadable { uid } => Fetched { uid, ..Fetched::default() },
                Reply::Told { said: Said::Bye, words, .. } => {
                    return Err(Trouble::Connection(format!("the server leaves: {words}")));
                }
                Reply::Done { tag: t, said, words, .. } if t == tag => match said {
                    Said::Ok => break,
                    _ => return Err(Trouble::Connection(format!("the server does not list its mails: {words}"))),
                },
                _ => continue,
            };
            let Some(uid) = fetched.uid.filter(|uid| wanted(*uid)) else { continue };
            let known = found.entry(uid).or_default();
            known.size = fetched.size.or(known.size);
            known.flags = fetched.flags.or(known.flags.take());
            known.date = fetched.date.or(known.date.take());
            if found.len() > LISTED {
                found.pop_last();
                whole = false;
            }
        }
        let needed = |(uid, fetched): (u32, Fetched)| {
            (!self.was_taken(uid, &fetched)).then_some(Item { uid, size: fetched.size })
        };
        let last = found.last_key_value().map(|(uid, _)| *uid);
        let mut items: Vec<Item> = found.into_iter().filter_map(needed).collect();
        // Where the rest is listed again, the place up to which this list goes is needed.
        if let Some(last) = last.filter(|last| !whole && items.last().is_none_or(|i| i.uid < *last)) {
            items.push(Item { uid: last, size: None });
        }
        Ok((items, whole))
    }

    /// Of a folder that was numbered anew: what carries our keyword was taken under its old number, and what is older than the
    /// first look was to be left alone.
    fn was_taken(&self, uid: u32, fetched: &Fetched) -> bool {
        if uid >= self.cursor.renumbered {
            return false;
        }
        let flags = fetched.flags.as_deref().unwrap_or_default();
        let older = fetched.date.as_deref().and_then(internal_date).zip(self.cursor.since);
        flags.iter().any(|f| f.eq_ignore_ascii_case(KEYWORD)) || older.is_some_and(|(date, since)| date < since)
    }

    /// Fetches a batch; where the server fails at it, mail by mail.
    async fn fetch(
        &self,
        session: &mut Session,
        strikes: &mut Strikes,
        batch: &[Item],
        most: usize,
    ) -> Result<Vec<Taken>, Trouble> {
        let mut taken = vec![];
        if let [one] = batch {
            taken.extend(self.fetch_one(session, strikes, one, most).await?);
            return Ok(taken);
        }
        let uids: Vec<u32> = batch.iter().map(|i| i.uid).collect();
        strikes.at = uids.first().copied().zip(uids.last().copied());
        let given = given(session, &uids, &section(most)).await?;
        let (mut mails, again) = match given {
            Given::Mails(mails, unreadable) => (mails, unreadable),
            Given::No(_) => (BTreeMap::new(), uids.iter().copied().collect()),
        };
        for item in batch {
            if again.contains(&item.uid) {
                taken.extend(self.fetch_one(session, strikes, item, most).await?);
            } else if let Some(mail) = mails.remove(&item.uid) {
                taken.push(whole(item.uid, mail, most));
            }
        }
        Ok(taken)
    }

    /// Fetches one mail; `None` when somebody took it out of the folder.
    async fn fetch_one(
        &self,
        session: &mut Session,
        strikes: &mut Strikes,
        item: &Item,
        most: usize,
    ) -> Result<Option<Taken>, Trouble> {
        let uid = item.uid;
        if strikes.is_out(uid) {
            return Ok(Some(self.not_given(uid, "the connection broke each time that it was fetched")));
        }
        strikes.at = Some((uid, uid));
        let size = item.size.map_or(0, |s| s as usize);
        let too_large = size > most;
        let section = if too_large { format!("BODY.PEEK[HEADER]<0.{HEAD}>") } else { section(most) };
        match given(session, &[uid], &section).await? {
            Given::Mails(mut mails, unreadable) => match mails.remove(&uid) {
                Some(head) if too_large => Ok(Some(Taken::large(uid, head, size as u64))),
                Some(mail) => Ok(Some(whole(uid, mail, most))),
                None if unreadable.contains(&uid) => {
                    Ok(Some(self.not_given(uid, "the server's answer about it cannot be read")))
                }
                None => Ok(None),
            },
            Given::No(words) => {
                strikes.look_back();
                if strikes.is_out(uid) {
                    return Ok(Some(self.not_given(uid, &words)));
                }
                Err(Trouble::Connection(format!("the server does not give mail {uid}: {words}")))
            }
        }
    }

    fn not_given(&self, uid: u32, why: &str) -> Taken {
        let place = format!("mail {uid} of {} (UIDVALIDITY {})", self.mailbox.imap.mailbox, self.cursor.validity);
        Taken::not_given(uid, place, why.to_owned())
    }
}

fn name(mailbox: &Mailbox) -> String {
    format!("imap.{}", mailbox.channel)
}

/// One byte more than is wanted shows what is longer, whatever the server says of its size.
fn section(most: usize) -> String {
    format!("BODY.PEEK[]<0.{}>", most + 1)
}

fn whole(uid: u32, mail: Vec<u8>, most: usize) -> Taken {
    if mail.len() <= most {
        return Taken::mail(uid, Bytes::from(mail));
    }
    let size = mail.len() as u64;
    let mut head = mail;
    head.truncate(HEAD);
    let blank = head.windows(4).position(|w| w == b"\r\n\r\n");
    head.truncate(blank.map_or(head.len(), |at| at + 4));
    Taken::large(uid, head, size)
}

/// Mails that are fetched together.
fn batches(items: Vec<Item>, singly: u32, most: usize) -> Vec<Vec<Item>> {
    let mut batches: Vec<Vec<Item>> = vec![];
    let mut bytes = 0;
    let mut closed = true;
    for item in items {
        let size = item.size.map_or(0, |s| s as usize);
        let alone = item.uid < singly || size > most;
        let full = closed || alone || bytes + size > BATCH_BYTES;
        match batches.last_mut().filter(|b| !full && b.len() < BATCH) {
            Some(batch) => {
                bytes += size;
                batch.push(item);
            }
            None => {
                bytes = size;
                closed = alone;
                batches.push(vec![item]);
            }
        }
    }
    batches
}

async fn given(session: &mut Session, uids: &[u32], section: &str) -> Result<Given, Trouble> {
    let tag = session.send(&format!("UID FETCH {} (UID {section})", set(uids))).await?;
    let (mut mails, mut unreadable) = (BTreeMap::new(), BTreeSet::new());
    loop {
        match session.reply().await? {
            Reply::Fetched(Fetched { uid: Some(uid), body, header, .. }) if uids.binary_search(&uid).is_ok() => {
                if let Some(bytes) = body.or(header) {
                    mails.insert(uid, bytes);
                }
            }
            Reply::Unreadable { uid: Some(uid) } if uids.binary_search(&uid).is_ok() => {
                unreadable.insert(uid);
            }
            Reply::Told { said: Said::Bye, words, .. } => {
                return Err(Trouble::Connection(format!("the server leaves: {words}")));
            }
            Reply::Done { tag: t, said, words, .. } if t == tag => {
                unreadable.retain(|uid| !mails.contains_key(uid));
                return Ok(if said == Said::Ok { Given::Mails(mails, unreadable) } else { Given::No(words) });
            }
            _ => {}
        }
    }
}

/// The UID of the last mail; 0 in an empty folder.
async fn last_uid(session: &mut Session) -> Result<u32, Trouble> {
    let tag = session.send("UID FETCH * (UID)").await?;
    let mut last = 0;
    loop {
        match session.reply().await? {
            Reply::Fetched(Fetched { uid: Some(uid), .. }) => last = last.max(uid),
            Reply::Done { tag: t, .. } if t == tag => return Ok(last),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(items: &[(u32, u32)], singly: u32) -> Vec<Vec<u32>> {
        let items = items.iter().map(|(uid, size)| Item { uid: *uid, size: Some(*size) }).collect();
        batches(items, singly, 10_000_000).iter().map(|b| b.iter().map(|i| i.uid).collect()).collect()
    }

    #[test]
    fn batches_are_bounded_by_their_bytes_and_large_mails_are_alone() {
        let mib = 1024 * 1024;
        assert_eq!(sizes(&[(1, mib), (2, mib), (3, mib), (4, mib), (5, mib)], 0), [vec![1, 2, 3, 4], vec![5]]);
        assert_eq!(sizes(&[(1, 5), (2, 11_000_000), (3, 5), (4, 5)], 0), [vec![1], vec![2], vec![3, 4]]);
        assert_eq!(sizes(&[(1, 5), (2, 5), (3, 5), (4, 5)], 3), [vec![1], vec![2], vec![3, 4]]);
        let many: Vec<_> = (1..=250).map(|uid| (uid, 10)).collect();
        assert_eq!(sizes(&many, 0).iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    }

    #[test]
    fn a_mail_counts_as_failed_once_it_was_alone() {
        let mut strikes = Strikes { at: Some((3, 9)), ..Strikes::default() };
        strikes.look_back();
        assert!(strikes.singly == 10 && strikes.failed.is_empty(), "one of them, and nobody knows which");
        for _ in 0..STRIKES {
            assert!(!strikes.is_out(5));
            strikes.at = Some((5, 5));
            strikes.look_back();
        }
        assert!(strikes.is_out(5) && !strikes.is_out(6));
    }
}
