//! What is in a folder, without the mails themselves.

use super::Trouble;
use super::catch_up::{CatchUp, WINDOW};
use super::cursor::internal_date;
use super::session::Session;
use std::collections::BTreeMap;
use switchboard_email::config::KEYWORD;
use switchboard_email::imap::{Fetched, Reply, Said};

/// Mails remembered of a window. The others are listed again.
const LISTED: usize = 1000;
/// The longest range of UIDs that is searched at once: each that is found takes a few bytes of one line.
const SEARCHED: u32 = 8 * WINDOW;

/// A mail in the list.
#[derive(Clone, Debug, Default)]
pub(super) struct Item {
    pub uid: u32,
    pub size: Option<u32>,
    /// When it came, in milliseconds.
    pub at: Option<i64>,
}

/// A part of the list.
pub(super) struct Listed {
    /// In the order of their UIDs, without those that need not be taken.
    pub items: Vec<Item>,
    /// From here on it has to be listed again; `None` when that was all.
    pub upto: Option<u32>,
}

/// What answers to a list told.
#[derive(Default)]
struct Told {
    found: BTreeMap<u32, Fetched>,
    /// Something was said about a mail, and nobody knows about which.
    unnamed: bool,
    upto: Option<u32>,
}

impl Told {
    fn add(&mut self, uid: u32, fetched: Fetched) {
        let known = self.found.entry(uid).or_default();
        known.size = fetched.size.or(known.size);
        known.flags = fetched.flags.or(known.flags.take());
        known.date = fetched.date.or(known.date.take());
        if self.found.len() > LISTED {
            self.found.pop_last();
            self.upto = self.found.last_key_value().map(|(uid, _)| uid.saturating_add(1));
        }
    }
}

impl CatchUp<'_> {
    /// The first mails of a window; without its end, of all that follows.
    pub(super) async fn list(&self, session: &mut Session, from: u32, to: Option<u32>) -> Result<Listed, Trouble> {
        let renumbered = from < self.cursor.renumbered;
        let facts = if renumbered { "(UID RFC822.SIZE INTERNALDATE FLAGS)" } else { "(UID RFC822.SIZE INTERNALDATE)" };
        let end = to.map_or("*".to_owned(), |to| to.to_string());
        let tag = session.send(&format!("UID FETCH {from}:{end} {facts}")).await?;
        let mut told = Told::default();
        loop {
            let fetched = match session.reply().await? {
                Reply::Fetched(fetched) => fetched,
                Reply::Unreadable { uid } => Fetched { uid, size: Some(0), ..Fetched::default() },
                Reply::Done { tag: t, said, words, .. } if t == tag => match said {
                    Said::Ok => break,
                    _ => return Err(Trouble::Connection(format!("the server does not list its mails: {words}"))),
                },
                other => {
                    unless_leaving(&other)?;
                    continue;
                }
            };
            match fetched.uid {
                // A window that ends in `*` always names the last mail, whatever its number.
                Some(uid) if uid >= from && to.is_none_or(|to| uid <= to) => told.add(uid, fetched),
                Some(_) => {}
                // Flags alone tell what another client did.
                None => told.unnamed |= fetched.size.is_some() || fetched.date.is_some(),
            }
        }
        if told.unnamed {
            self.search(session, from, to, &mut told).await?;
        }
        let needed = |(uid, fetched): (u32, Fetched)| {
            let at = fetched.date.as_deref().and_then(internal_date);
            let flags = fetched.flags.as_deref().unwrap_or_default();
            let has = |flag: &str| flags.iter().any(|f| f.eq_ignore_ascii_case(flag));
            let seen = self.marker.marks_as_seen() && has("\\Seen");
            let size = fetched.size.filter(|size| *size > 0);
            (!self.cursor.was_taken(uid, at, has(KEYWORD), seen)).then_some(Item { uid, size, at })
        };
        Ok(Listed { items: told.found.into_iter().filter_map(needed).collect(), upto: told.upto })
    }

    /// Finds the mails of which the list told nothing that could be read.
    async fn search(&self, session: &mut Session, from: u32, to: Option<u32>, told: &mut Told) -> Result<(), Trouble> {
        let last = from.saturating_add(SEARCHED - 1);
        let to = match to {
            Some(to) if to > last => {
                told.found.retain(|uid, _| *uid <= last);
                told.upto = Some(told.upto.unwrap_or(u32::MAX).min(last.saturating_add(1)));
                Some(last)
            }
            other => other,
        };
        let end = to.map_or("*".to_owned(), |to| to.to_string());
        let tag = session.send(&format!("UID SEARCH UID {from}:{end}")).await?;
        loop {
            match session.reply().await? {
                Reply::Found(uids) => {
                    for uid in uids.into_iter().filter(|uid| *uid >= from && to.is_none_or(|to| *uid <= to)) {
                        told.add(uid, Fetched::default());
                    }
                }
                Reply::Done { tag: t, said: Said::Ok, .. } if t == tag => return Ok(()),
                Reply::Done { tag: t, words, .. } if t == tag => {
                    return Err(Trouble::Connection(format!("the server does not search its mails: {words}")));
                }
                other => unless_leaving(&other)?,
            }
        }
    }
}

/// Ends where the server leaves.
pub(super) fn unless_leaving(reply: &Reply) -> Result<(), Trouble> {
    match reply {
        Reply::Told { said: Said::Bye, words, .. } => Err(Trouble::Connection(format!("the server leaves: {words}"))),
        _ => Ok(()),
    }
}
