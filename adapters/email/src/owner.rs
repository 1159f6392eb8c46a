//! Whose mail it is, where several of our addresses are channels of their own: one mail to two of them is one message of one
//! conversation, whichever mailbox is read first.
//!
//! The mail alone decides, so that each copy is taken for the same channel, under the same id: by what we signed that it comes
//! back to or answers, then by the first of our addresses that it was written to.

use crate::{
    address,
    header::Headers,
    ids::{OurMail, Tag, Verp},
    read::Settings,
};

/// Ids that are looked at, the nearest first.
const MAX_IDS: usize = 20;

/// Which of these a mail belongs to; `None` when it names none of them.
pub(crate) fn of(mail: &[u8], channels: &[&Settings]) -> Option<usize> {
    let (headers, _) = Headers::read(mail);
    let written: Vec<String> =
        ["to", "cc"].iter().flat_map(|name| address::of(&headers, name)).map(|m| m.address).collect();
    by_tag(&written, channels).or_else(|| by_answered(&headers, channels)).or_else(|| by_address(&written, channels))
}

/// An address that we signed for an answer, or for what becomes of a mail.
fn by_tag(written: &[String], channels: &[&Settings]) -> Option<usize> {
    written.iter().filter_map(|one| address::detail(one)?.1).find_map(|detail| {
        let signed = |s: &&Settings| Tag::read(&s.keys, detail).is_some() || Verp::read(&s.keys, detail).is_some();
        channels.iter().position(signed)
    })
}

/// A mail of ours to whoever writes now; or it is ours itself, and comes back.
fn by_answered(headers: &Headers, channels: &[&Settings]) -> Option<usize> {
    let people: Vec<String> =
        ["reply-to", "from"].iter().flat_map(|name| address::of(headers, name)).map(|m| m.canonical()).collect();
    let own = headers.ids("message-id").into_iter().take(1).map(|id| (id, false));
    let nearest = headers.ids("in-reply-to").into_iter().chain(headers.ids("references").into_iter().rev());
    own.chain(nearest.take(MAX_IDS).map(|id| (id, true))).find_map(|(id, answers)| {
        channels.iter().position(|s| {
            let theirs = |mail: OurMail| people.iter().take(MAX_IDS).any(|p| mail.was_for(&s.keys, p));
            OurMail::read(&s.keys, &id).is_some_and(|mail| !answers || theirs(mail))
        })
    })
}

fn by_address(written: &[String], channels: &[&Settings]) -> Option<usize> {
    written.iter().find_map(|one| channels.iter().position(|s| s.is_ours(one)))
}
