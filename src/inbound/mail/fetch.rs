//! The mails themselves: asked for together, where the server fails one by one, and never counted as gone because of an
//! answer that was not understood.

use super::Trouble;
use super::catch_up::CatchUp;
use super::cursor::{Witness, internal_date};
use super::list::{Item, unless_leaving};
use super::session::Session;
use super::store::Taken;
use super::strikes::Strikes;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use switchboard_email::imap::command::set;
use switchboard_email::imap::{Fetched, Reply, Said};

/// Mails of one batch, and their bytes.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Of a mail that is too large so much of its head is kept.
const HEAD: usize = 64 * 1024;

/// How a fetch ended.
enum Given {
    /// What was had, and the mails of which the answer could not be read.
    Mails(BTreeMap<u32, Vec<u8>>, BTreeSet<u32>),
    No(String),
}

impl CatchUp<'_> {
    /// Fetches a batch; where the server fails at it, mail by mail.
    pub(super) async fn fetch(
        &self,
        session: &mut Session,
        strikes: &mut Strikes,
        batch: &[Item],
    ) -> Result<Vec<Taken>, Trouble> {
        let most = self.mailbox.email.config().max_mail;
        let mut taken = vec![];
        if let [one] = batch {
            taken.extend(self.fetch_one(session, strikes, one).await?);
            return Ok(taken);
        }
        let uids: Vec<u32> = batch.iter().map(|i| i.uid).collect();
        strikes.at = uids.first().copied().zip(uids.last().copied());
        let (mut mails, mut again) = match given(session, &uids, &section(most)).await? {
            Given::Mails(mails, unreadable) => (mails, unreadable),
            Given::No(_) => (BTreeMap::new(), uids.iter().copied().collect()),
        };
        // A mail that has bytes is not read by an answer without one.
        let empty = |item: &&Item| mails.get(&item.uid).is_some_and(|mail| gives_nothing(item, mail));
        again.extend(batch.iter().filter(empty).map(|item| item.uid));
        mails.retain(|uid, _| !again.contains(uid));
        strikes.gives |= !mails.is_empty();
        let missing: Vec<u32> =
            uids.iter().copied().filter(|uid| !mails.contains_key(uid) && !again.contains(uid)).collect();
        again.extend(still_there(session, &missing).await?);
        for item in batch {
            if again.contains(&item.uid) {
                taken.extend(self.fetch_one(session, strikes, item).await?);
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
    ) -> Result<Option<Taken>, Trouble> {
        let (uid, most) = (item.uid, self.mailbox.email.config().max_mail);
        if strikes.is_out(uid) {
            return Ok(Some(self.not_given(uid, "the connection broke each time that it was fetched")));
        }
        if strikes.is_suspect(uid) && !strikes.gives {
            self.ask_for_another(session, strikes, uid).await?;
        }
        strikes.at = Some((uid, uid));
        let size = item.size.map_or(0, |s| s as usize);
        let too_large = size > most;
        let section = if too_large { format!("BODY.PEEK[HEADER]<0.{HEAD}>") } else { section(most) };
        let mut mails = match given(session, &[uid], &section).await? {
            Given::Mails(mails, _) => mails,
            Given::No(words) => {
                strikes.look_back();
                if strikes.is_out(uid) {
                    return Ok(Some(self.not_given(uid, &words)));
                }
                return Err(Trouble::Connection(format!("the server does not give mail {uid}: {words}")));
            }
        };
        match mails.remove(&uid) {
            Some(mail) if !too_large && gives_nothing(item, &mail) => {
                if still_there(session, &[uid]).await?.is_empty() {
                    return Ok(None);
                }
                let words = format!("it gives none of its {size} bytes");
                // It gives others, and did so over an earlier connection: one more will not bring it.
                let again = strikes.is_suspect(uid) && strikes.gives;
                strikes.look_back();
                if again || strikes.is_out(uid) {
                    return Ok(Some(self.not_given(uid, &words)));
                }
                Err(Trouble::Connection(format!("the server does not give mail {uid}: {words}")))
            }
            Some(head) if too_large => Ok(Some(Taken::large(uid, head, size as u64))),
            Some(mail) => {
                strikes.gives = true;
                Ok(Some(whole(uid, mail, most)))
            }
            None if still_there(session, &[uid]).await?.is_empty() => Ok(None),
            None => Ok(Some(self.not_given(uid, "the server's answer about it cannot be read"))),
        }
    }

    /// A mail at which the server failed is asked for again only after another one was, each time another: who gives none has
    /// an outage, which is no mail's fault.
    async fn ask_for_another(&self, session: &mut Session, strikes: &mut Strikes, uid: u32) -> Result<(), Trouble> {
        const BYTE: &str = "(UID BODY.PEEK[]<0.1>)";
        let others = self.others.iter().filter(|other| **other != uid);
        let mut commands: Vec<String> = others.map(|other| format!("UID FETCH {other} {BYTE}")).collect();
        // With one mail in the folder there is nothing behind it that waits.
        if session.exists() > 1 {
            commands.extend([format!("FETCH 1 {BYTE}"), format!("FETCH * {BYTE}")]);
        }
        let Some(command) = commands.get(strikes.asked % commands.len().max(1)) else { return Ok(()) };
        strikes.asked = strikes.asked.wrapping_add(1);
        strikes.at = None;
        let tag = session.send(command).await?;
        loop {
            match session.reply().await? {
                Reply::Fetched(Fetched { uid: Some(other), body: Some(_), .. }) if other != uid => strikes.gives = true,
                Reply::Done { tag: t, .. } if t == tag => return Ok(()),
                reply => unless_leaving(&reply)?,
            }
        }
    }

    fn not_given(&self, uid: u32, why: &str) -> Taken {
        let place = format!("mail {uid} of {} (UIDVALIDITY {})", self.mailbox.imap.mailbox, self.cursor.validity);
        Taken::not_given(uid, place, why.to_owned())
    }
}

/// Servers say NIL for what another session removed meanwhile, and some for a file that they cannot read.
fn gives_nothing(item: &Item, mail: &[u8]) -> bool {
    mail.is_empty() && item.size.is_some_and(|size| size > 0)
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
pub(super) fn batches(items: Vec<Item>, singly: u32, most: usize) -> Vec<Vec<Item>> {
    let mut batches: Vec<Vec<Item>> = vec![];
    let mut bytes = 0;
    let mut closed = true;
    for item in items {
        let size = item.size.map_or(0, |s| s as usize);
        // Of what nobody knows how large it is, a hundred may be too many.
        let alone = item.uid < singly || size > most || item.size.is_none();
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
            Reply::Done { tag: t, said, words, .. } if t == tag => {
                unreadable.retain(|uid| !mails.contains_key(uid));
                return Ok(if said == Said::Ok { Given::Mails(mails, unreadable) } else { Given::No(words) });
            }
            reply => unless_leaving(&reply)?,
        }
    }
}

/// Which of these are in the folder. Where that cannot be told, they are.
async fn still_there(session: &mut Session, uids: &[u32]) -> Result<BTreeSet<u32>, Trouble> {
    let mut there = BTreeSet::new();
    if uids.is_empty() {
        return Ok(there);
    }
    let tag = session.send(&format!("UID FETCH {} (UID)", set(uids))).await?;
    loop {
        match session.reply().await? {
            Reply::Fetched(Fetched { uid: Some(uid), .. }) | Reply::Unreadable { uid: Some(uid) } => {
                there.insert(uid);
            }
            Reply::Unreadable { uid: None } => there.extend(uids),
            Reply::Done { tag: t, said: Said::Ok, .. } if t == tag => {
                there.retain(|uid| uids.binary_search(uid).is_ok());
                return Ok(there);
            }
            Reply::Done { tag: t, words, .. } if t == tag => {
                return Err(Trouble::Connection(format!("the server does not say which mails are there: {words}")));
            }
            reply => unless_leaving(&reply)?,
        }
    }
}

/// The UID of the last mail; 0 in an empty folder.
pub(super) async fn last_uid(session: &mut Session) -> Result<u32, Trouble> {
    let tag = session.send("UID FETCH * (UID)").await?;
    let mut last = 0;
    loop {
        match session.reply().await? {
            Reply::Fetched(Fetched { uid: Some(uid), .. }) => last = last.max(uid),
            Reply::Done { tag: t, .. } if t == tag => return Ok(last),
            reply => unless_leaving(&reply)?,
        }
    }
}

/// Whether a mail still has the number under which it was taken.
pub(super) async fn look_for(session: &mut Session, witness: Option<(u32, i64)>) -> Result<Witness, Trouble> {
    let Some((wanted, at)) = witness else { return Ok(Witness::Gone) };
    let tag = session.send(&format!("UID FETCH {wanted} (UID INTERNALDATE)")).await?;
    let mut found = Witness::Gone;
    loop {
        match session.reply().await? {
            Reply::Fetched(Fetched { uid: Some(uid), date: Some(date), .. }) if uid == wanted => {
                found = match internal_date(&date) {
                    Some(date) if date == at => Witness::Same,
                    Some(_) => Witness::Other,
                    None => found,
                };
            }
            Reply::Done { tag: t, .. } if t == tag => return Ok(found),
            reply => unless_leaving(&reply)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(items: &[(u32, u32)], singly: u32) -> Vec<Vec<u32>> {
        let items = items.iter().map(|(uid, size)| Item { uid: *uid, size: Some(*size), at: None }).collect();
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
}
