//! A longer text that its provider delivers part by part: parts wait for each other, in any order, and are read as one message.
//!
//! An adapter says so in `meta.part_of` (what the parts have in common), `meta.part` (from one) and `meta.parts`. What has not
//! come within a minute is marked as missing, so that nothing that did come waits longer.

use super::Draft;
use crate::event::{KeyHash, Private, Public};
use crate::state::Join;
use switchboard_envelope::Message;

/// How long the first part waits for the others.
const WAIT_MS: i64 = 60_000;
/// The most parts of one text.
const MAX_PARTS: u16 = 255;
/// The most texts whose parts wait at once; beyond it a part is a message.
const MAX_JOINS: usize = 10_000;

/// Which part of what a message is.
struct Part {
    key: KeyHash,
    number: u16,
    total: u16,
}

impl Draft<'_> {
    fn part_of(&self, m: &Message) -> Option<Part> {
        let of = m.meta.get("part_of")?;
        let count = |name: &str| m.meta.get(name)?.parse::<u16>().ok();
        let (number, total) = (count("part")?, count("parts")?);
        let holds = (2..=MAX_PARTS).contains(&total) && (1..=total).contains(&number);
        holds.then(|| Part { key: self.state.hash("part", &[&m.channel, &m.thread, of]), number, total })
    }

    /// A customer wrote, all of it or a part.
    pub(super) fn said(&mut self, m: &Message) {
        let Some(part) = self.part_of(m) else { return self.message(m) };
        if let Some(join) = self.state.joins.get(&part.key).cloned() {
            // References come round again: the same part twice is another text.
            if join.total != part.total || join.numbers.contains(&part.number) {
                self.join_up(part.key);
            }
        }
        if !self.state.joins.contains_key(&part.key) && self.state.joins.len() >= MAX_JOINS {
            return self.message(m);
        }
        let contact = self.state.contact_of(&m.from);
        let until = self.state.joins.get(&part.key).map_or_else(|| self.now().plus(WAIT_MS), |join| join.until);
        let (number, total) = (part.number, part.total);
        let kept = Message { raw: None, ..m.clone() };
        self.emit_private(
            Public::PartKept { key: part.key, contact, channel: m.channel.clone(), number, total, until },
            contact,
            Private::Part { message: Box::new(kept) },
        );
        let complete =
            self.state.joins.get(&part.key).is_some_and(|join| join.numbers.len() >= usize::from(join.total));
        if complete {
            self.join_up(part.key);
        }
    }

    /// What came of a text becomes one message.
    pub(super) fn join_up(&mut self, key: KeyHash) {
        let Some(join) = self.state.joins.get(&key).cloned() else { return };
        self.emit(Public::PartsJoined { key });
        // The person was erased, or the channel left the configuration meanwhile.
        if self.profile(&join.channel).is_none() {
            return self.ignore("parts of a text on a channel that is not in the configuration");
        }
        let Some(whole) = whole(&join) else { return };
        // Its parts came before what is lost, where it may have been answered.
        let was = (self.relived, self.before_rebase);
        self.relived |= join.relived;
        self.before_rebase |= join.relived;
        self.message(&whole);
        (self.relived, self.before_rebase) = was;
    }
}

/// The parts as one message, which is the first of them with the texts of all.
fn whole(join: &Join) -> Option<Message> {
    let parts = join.private.as_ref()?;
    let mut whole = parts.values().next()?.clone();
    let mut text = String::new();
    let mut missing = false;
    whole.content.attachments.clear();
    for number in 1..=join.total {
        match parts.get(&number) {
            Some(part) => {
                text.push_str(&part.content.text);
                whole.content.attachments.extend(part.content.attachments.iter().cloned());
            }
            None => {
                missing = true;
                text.push_str(&format!("[part {number} of {} is missing]", join.total));
            }
        }
    }
    whole.content.text = text;
    whole.received_at = parts.values().map(|part| part.received_at).max().unwrap_or(whole.received_at);
    for name in ["part_of", "part", "parts"] {
        whole.meta.remove(name);
    }
    if missing {
        whole.meta.insert("incomplete".into(), "true".into());
    }
    Some(whole)
}
