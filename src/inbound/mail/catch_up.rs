//! From the place that is remembered to the end of a folder: listed in windows, fetched in batches, each taken before the next.

use super::cursor::{Cursor, Found};
use super::fetch::{batches, last_uid, look_for};
use super::guard::Guard;
use super::list::Item;
use super::session::{Selected, Session};
use super::store::{Marker, take};
use super::strikes::Strikes;
use super::{Mailbox, Trouble};
use crate::clock;
use switchboard_email::Tls;

/// UIDs in a window of the list; where a folder has gaps it becomes larger.
pub(super) const WINDOW: u32 = 1000;
/// Mails of a window that are remembered, to ask for one of them in the place of another.
const OTHERS: usize = 8;
/// How often in a row a server may tell of new mail where there is none.
const NOTHING_NEW: usize = 8;

pub(super) struct CatchUp<'a> {
    pub mailbox: &'a Mailbox,
    pub cursor: Cursor,
    pub marker: Marker,
    /// Mails of the window that is in hand.
    pub others: Vec<u32>,
    /// As the log has it.
    stored: Cursor,
    guard: &'a Guard,
    /// UIDs below were there when the folder was opened: the list goes through them in windows.
    bound: u32,
}

impl<'a> CatchUp<'a> {
    /// Finds the place to go on from.
    pub async fn begin(
        mailbox: &'a Mailbox,
        guard: &'a Guard,
        session: &mut Session,
        strikes: &mut Strikes,
        selected: &Selected,
    ) -> Result<CatchUp<'a>, Trouble> {
        strikes.begin();
        let uid_next = match selected.uid_next {
            Some(next) => next,
            None => last_uid(session).await?.saturating_add(1),
        };
        let server = &mailbox.imap.server;
        let user = server.account.as_ref().map_or("", |(user, _)| user);
        let log = &mailbox.ingest.log;
        let stored = log.get_cursor(&name(mailbox)).await?.and_then(|text| Cursor::read(&text));
        let witness = stored.as_ref().filter(|c| c.validity == selected.validity).and_then(|c| c.witness);
        let found = Found {
            of: &format!("{user}@{}/{}", server.host, mailbox.imap.mailbox),
            validity: selected.validity,
            uid_next,
            said_next: selected.uid_next.is_some(),
            only_new: mailbox.imap.only_new,
            witness: look_for(session, witness).await?,
            now_ms: clock::now().0,
        };
        let cursor = Cursor::now(stored.clone(), &found);
        if stored.as_ref() != Some(&cursor) {
            if stored.is_some_and(|stored| stored.next > cursor.next || stored.validity != cursor.validity) {
                tracing::warn!(channel = %mailbox.channel, validity = selected.validity, "the mailbox is numbered anew: all of it is looked at again, and known mails change nothing");
                *strikes = Strikes::default();
            }
            log.put_cursor(&name(mailbox), &cursor.text()).await?;
        }
        if server.tls == Tls::None {
            tracing::debug!(channel = %mailbox.channel, "the mailbox is read without TLS");
        }
        let marker = Marker::new(mailbox, selected);
        Ok(CatchUp { mailbox, stored: cursor.clone(), cursor, marker, others: vec![], guard, bound: uid_next })
    }

    /// Takes everything that is there.
    pub async fn run(&mut self, session: &mut Session, strikes: &mut Strikes) -> Result<(), Trouble> {
        let mut window = WINDOW;
        let mut passed = self.cursor.next;
        while passed < self.bound {
            let last = passed.saturating_add(window - 1).min(self.bound - 1);
            let listed = self.list(session, passed, Some(last)).await?;
            window = if listed.items.is_empty() { window.saturating_mul(8) } else { WINDOW };
            passed = listed.upto.unwrap_or(last.saturating_add(1));
            self.through(session, strikes, listed.items).await?;
        }
        if passed > self.cursor.next {
            // Gaps are not asked for again after a restart.
            self.remember(self.cursor.passed(passed, &[], clock::now().0)).await?;
        }
        let mut nothing = 0;
        loop {
            // What comes while the list is made may be told of, and not be in it.
            session.take_news();
            let listed = self.list(session, self.cursor.next, None).await?;
            match (listed.items.is_empty(), listed.upto) {
                (true, None) if session.take_news() && nothing < NOTHING_NEW => nothing += 1,
                (true, None) => return self.at_end().await,
                (_, upto) => {
                    nothing = 0;
                    self.through(session, strikes, listed.items).await?;
                    if let Some(upto) = upto.filter(|upto| *upto > self.cursor.next) {
                        self.remember(self.cursor.passed(upto, &[], clock::now().0)).await?;
                    }
                }
            }
        }
    }

    /// Takes what was listed.
    async fn through(&mut self, session: &mut Session, strikes: &mut Strikes, items: Vec<Item>) -> Result<(), Trouble> {
        self.others = items.iter().map(|i| i.uid).take(OTHERS).collect();
        for batch in batches(items, strikes.singly, self.mailbox.email.config().max_mail) {
            let Some((first, last)) = batch.first().zip(batch.last()).map(|(a, b)| (a.uid, b.uid)) else { continue };
            let taken = self.fetch(session, strikes, &batch).await?;
            // What was not given stays where it is and as it is: somebody has to look at it there.
            let uids: Vec<u32> = taken.iter().filter(|t| t.was_given()).map(|t| t.uid).collect();
            // The waits for the log are no failure of the server's.
            strikes.at = None;
            take(self.mailbox, self.guard, taken).await?;
            strikes.settle(first, last);
            self.marker.mark(session, &uids).await?;
            let dated: Vec<(u32, i64)> = batch.iter().filter_map(|i| Some((i.uid, i.at?))).collect();
            let had: Vec<(u32, i64)> = dated.into_iter().filter(|(uid, _)| uids.binary_search(uid).is_ok()).collect();
            self.remember(self.cursor.passed(last.saturating_add(1), &had, clock::now().0)).await?;
        }
        Ok(())
    }

    async fn remember(&mut self, cursor: Cursor) -> Result<(), Trouble> {
        self.mailbox.ingest.log.put_cursor(&name(self.mailbox), &cursor.text()).await?;
        self.stored = cursor.clone();
        self.cursor = cursor;
        Ok(())
    }

    /// Everything was taken. That goes into the log with the next mail, unless it is far from what the log has.
    async fn at_end(&mut self) -> Result<(), Trouble> {
        self.cursor = self.cursor.at_end();
        if self.cursor.is_far_from(&self.stored) {
            self.remember(self.cursor.clone()).await?;
        }
        Ok(())
    }
}

fn name(mailbox: &Mailbox) -> String {
    format!("imap.{}", mailbox.channel)
}
