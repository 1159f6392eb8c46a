//! What a conversation keeps of its customer's words and addresses.

use super::fold::beginning;
use super::slim::{Rare, When};
use crate::ids::MessageId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use switchboard_envelope::{Address, Attachment, Choice, Quote, SenderProof, Timestamp};

/// The most bytes of a letter that are kept to be quoted: every open conversation keeps that.
pub const MAX_QUOTE: usize = 4096;

/// The most bytes of the customer's latest message that are kept for notices.
pub const MAX_EXCERPT: usize = 280;

/// The most files of the customer's latest message whose names are kept for notices.
const MOST_FILES: usize = 5;
const MAX_FILE_NAME: usize = 80;

/// The files of the customer's latest message, as notices tell of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The message that has them.
    pub message: MessageId,
    pub count: usize,
    /// The first five: the place of each among the message's files, its type and its name.
    pub first: Vec<(usize, String, String)>,
}

impl Files {
    /// Of a message; `None` where the person attached nothing.
    #[must_use]
    pub fn of(message: MessageId, attachments: &[Attachment]) -> Option<Files> {
        let sent = || attachments.iter().enumerate().filter(|(_, file)| file.is_sent());
        let named = |(i, file): (usize, &Attachment)| {
            let mime = line(&file.mime, MAX_FILE_NAME);
            let name = Some(line(&file.name, MAX_FILE_NAME)).filter(|name| !name.is_empty());
            (i, mime.clone(), name.unwrap_or(mime))
        };
        let count = sent().count();
        if sent().any(|(_, file)| file.mime == Attachment::LIST) {
            // What they are is not known yet, nor how many.
            return Some(Files { message, count, first: vec![] });
        }
        (count > 0).then(|| Files { message, count, first: sent().take(MOST_FILES).map(named).collect() })
    }

    /// As it is kept: a line for the message, and one for each name.
    fn written(&self) -> String {
        let mut text = format!("{} {}", self.message, self.count);
        for (i, mime, name) in &self.first {
            text.push_str(&format!("\n{i}\t{mime}\t{name}"));
        }
        text
    }

    fn read(text: &str) -> Option<Files> {
        let mut lines = text.split('\n');
        let (message, count) = lines.next()?.split_once(' ')?;
        let named = |line: &str| {
            let (i, rest) = line.split_once('\t')?;
            let (mime, name) = rest.split_once('\t')?;
            Some((i.parse().ok()?, mime.to_owned(), name.to_owned()))
        };
        let first = lines.filter_map(named).collect();
        Some(Files { message: MessageId::parse(message)?, count: count.parse().ok()?, first })
    }
}

/// One line of what somebody wrote, cut where it grows too long.
pub(crate) fn line(text: &str, most: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let joined = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = beginning(&joined, most);
    if cut.len() < joined.len() { format!("{cut}…") } else { joined }
}

/// The letter that an answer would answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    /// The ids of the letters before it, oldest first.
    pub references: Vec<Box<str>>,
    /// Its words, up to [`MAX_QUOTE`].
    pub quote: Quote,
    /// To whom else it openly went, who may answer as guests.
    #[serde(default, skip_serializing_if = "<[Address]>::is_empty")]
    pub others: Box<[Address]>,
}

/// What came from the person, absent once erased.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct ConvPrivate {
    /// The texts that every conversation has, one after the other: see [`Text`].
    texts: Box<[u8]>,
    pub attributes: Rare<BTreeMap<String, String>>,
    /// For letters: what an answer names and quotes of the latest.
    pub parent: Option<Box<Parent>>,
    /// When the customer last said something, by the provider's clock: windows are counted from it.
    pub said_at: When,
    /// What our latest message lets them choose from.
    pub offered: Rare<Vec<Choice>>,
}

/// A text of each conversation, by its place among them.
#[derive(Clone, Copy)]
enum Text {
    /// Left out where it is the address, as with phones.
    Thread,
    Kind,
    Value,
    Name,
    ReplyTo,
    Subject,
    Excerpt,
    Words,
    /// Of the address.
    Within,
    Files,
    /// Kept where it was not proved that they wrote.
    Proof,
}

const TEXTS: usize = 11;

/// Each text after its length and one, in bytes of seven bits with the lowest first; an absent one is 0, and those after the last
/// are left out.
fn packed(texts: [Option<&str>; TEXTS]) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(TEXTS * 2 + texts.iter().flatten().map(|t| t.len()).sum::<usize>());
    let there = texts.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    for text in texts.into_iter().take(there) {
        let mut n = text.map_or(0, |t| t.len() + 1);
        while n > 127 {
            bytes.push((n & 127) as u8 | 128);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes.extend(text.unwrap_or_default().as_bytes());
    }
    bytes.into_boxed_slice()
}

/// The first of the packed texts, and those after it.
fn first(bytes: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let (mut n, mut shift, mut rest) = (0usize, 0, bytes);
    loop {
        let (byte, after) = rest.split_first()?;
        n |= usize::from(byte & 127).checked_shl(shift)?;
        (shift, rest) = (shift + 7, after);
        if byte & 128 == 0 {
            break;
        }
    }
    let Some(len) = n.checked_sub(1) else { return Some((None, rest)) };
    let (text, rest) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(text).ok(), rest))
}

/// What the customer's latest message says beside where it came from; see [`ConvPrivate::heard`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said<'a> {
    pub reply_to: Option<Option<&'a str>>,
    pub subject: Option<&'a str>,
    pub excerpt: Option<&'a str>,
    pub files: Option<&'a Files>,
    pub words: Option<&'a str>,
    pub proof: Option<SenderProof>,
}

/// What is kept of a proof: what is as it should be takes no room.
fn kept(proof: Option<SenderProof>) -> Option<&'static str> {
    proof.filter(|proof| *proof != SenderProof::Proved).map(SenderProof::as_str)
}

impl ConvPrivate {
    /// Of a conversation that begins.
    #[must_use]
    pub fn new(thread: &str, address: &Address, subject: Option<&str>) -> ConvPrivate {
        let mut new = ConvPrivate::default();
        new.put(thread, Some(address), [None, subject, None, None, None, None]);
        new
    }

    fn put(&mut self, thread: &str, address: Option<&Address>, rest: [Option<&str>; 6]) {
        let [reply_to, subject, excerpt, words, files, proof] = rest;
        let thread = Some(thread).filter(|thread| address.is_none_or(|a| a.value != *thread));
        let (kind, value) = (address.map(|a| a.kind.as_str()), address.map(|a| a.value.as_str()));
        let (name, within) = (address.and_then(|a| a.name.as_deref()), address.and_then(|a| a.within.as_deref()));
        self.texts = packed([thread, kind, value, name, reply_to, subject, excerpt, words, within, files, proof]);
    }

    fn text(&self, which: Text) -> Option<&str> {
        let mut rest: &[u8] = &self.texts;
        for _ in 0..which as usize {
            rest = first(rest)?.1;
        }
        first(rest)?.0
    }

    #[must_use]
    pub fn thread(&self) -> &str {
        self.text(Text::Thread).or_else(|| self.text(Text::Value)).unwrap_or_default()
    }

    /// Where they wrote from last.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        let own = |text| self.text(text).map(str::to_owned);
        let (name, within) = (own(Text::Name), own(Text::Within));
        Some(Address { kind: own(Text::Kind)?, value: own(Text::Value)?, name, within })
    }

    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text(Text::Subject)
    }

    /// The provider's id of the customer's latest message, to answer to.
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        self.text(Text::ReplyTo)
    }

    /// How the customer's latest message begins, up to [`MAX_EXCERPT`] bytes, for notices: kept where there are desks.
    #[must_use]
    pub fn excerpt(&self) -> Option<&str> {
        self.text(Text::Excerpt)
    }

    /// The files of the customer's latest message: kept where there are desks.
    #[must_use]
    pub fn files(&self) -> Option<Files> {
        Files::read(self.text(Text::Files)?)
    }

    /// By what the words of the customer's latest message are told from others.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        self.text(Text::Words)
    }

    /// That the sender of the customer's latest message was not proved, or was disproved.
    #[must_use]
    pub fn doubt(&self) -> Option<SenderProof> {
        let doubts = [SenderProof::NotProved, SenderProof::Disproved];
        let kept = self.text(Text::Proof)?;
        doubts.into_iter().find(|doubt| doubt.as_str() == kept)
    }

    /// They wrote from this address; what they answer to, the subject and the words stay as they were where they are absent.
    pub(super) fn heard(&mut self, from: &Address, said: &Said<'_>) {
        let was = self.clone();
        let reply_to = said.reply_to.unwrap_or_else(|| was.reply_to());
        let (subject, words) = (said.subject.or_else(|| was.subject()), said.words.or_else(|| was.words()));
        let files = said.files.map(Files::written);
        let rest = [reply_to, subject, said.excerpt, words, files.as_deref(), kept(said.proof)];
        self.put(was.thread(), Some(from), rest);
    }
}

impl std::fmt::Debug for ConvPrivate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Written::from(self.clone()).fmt(f)
    }
}

/// As snapshots have it.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    thread: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Box<Parent>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    said_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    offered: Vec<Choice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    excerpt: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    words: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<Box<str>>,
}

impl From<ConvPrivate> for Written {
    fn from(p: ConvPrivate) -> Written {
        Written {
            thread: p.thread().into(),
            address: p.address(),
            subject: p.subject().map(Into::into),
            reply_to: p.reply_to().map(Into::into),
            attributes: (*p.attributes).clone(),
            excerpt: p.excerpt().map(Into::into),
            words: p.words().map(Into::into),
            files: p.text(Text::Files).map(Into::into),
            proof: p.text(Text::Proof).map(Into::into),
            said_at: p.said_at.get(),
            offered: (*p.offered).clone(),
            parent: p.parent,
        }
    }
}

impl From<Written> for ConvPrivate {
    fn from(w: Written) -> ConvPrivate {
        let mut p = ConvPrivate {
            attributes: w.attributes.into(),
            parent: w.parent,
            said_at: w.said_at.into(),
            offered: w.offered.into(),
            ..ConvPrivate::default()
        };
        let rest = [w.reply_to, w.subject, w.excerpt, w.words, w.files, w.proof];
        p.put(&w.thread, w.address.as_ref(), rest.each_ref().map(Option::as_deref));
        p
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(value: &str, name: Option<&str>) -> Address {
        Address { name: name.map(Into::into), ..Address::new("phone", value) }
    }

    proptest! {
        /// What is packed says what it was made of, and is read back from a snapshot as it was.
        #[test]
        fn texts_are_kept_as_they_are(
            thread in ".{0,300}", value in ".{0,200}", name in prop::option::of(".{0,40}"), same: bool,
            reply_to in prop::option::of(".{0,40}"), subject in prop::option::of(".{0,20000}"),
            excerpt in prop::option::of(".{0,200}"), within in prop::option::of(".{0,40}"),
            names in prop::collection::vec((".{0,90}", ".{0,90}"), 0..8), proved: Option<bool>, disproved: bool,
        ) {
            let thread = if same { &value } else { &thread };
            let from = Address { within, ..address(&value, name.as_deref()) };
            let mut p = ConvPrivate::new(thread, &address("elsewhere", None), subject.as_deref());
            let file = |(name, mime)| Attachment { name, mime, ..Attachment::default() };
            let files: Vec<Attachment> = names.into_iter().map(file).collect();
            let files = Files::of(MessageId::MIN, &files);
            let proof = SenderProof::of(proved, disproved);
            p.heard(&from, &Said { reply_to: Some(reply_to.as_deref()), words: Some("a0Zz"), ..Said::default() });
            p.heard(&from, &Said { excerpt: excerpt.as_deref(), files: files.as_ref(), proof, ..Said::default() });
            prop_assert_eq!((p.thread(), p.address()), (thread.as_str(), Some(from)));
            prop_assert_eq!((p.reply_to(), p.subject()), (reply_to.as_deref(), subject.as_deref()));
            prop_assert_eq!((p.excerpt(), p.words()), (excerpt.as_deref(), Some("a0Zz")));
            prop_assert_eq!(p.files(), files);
            prop_assert_eq!(p.doubt(), proof.filter(|proof| *proof != SenderProof::Proved));
            let bytes = rmp_serde::to_vec_named(&p).expect("bytes");
            prop_assert_eq!(rmp_serde::from_slice::<ConvPrivate>(&bytes).expect("read back"), p);
        }

        #[test]
        fn damaged_bytes_are_read_as_something(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let p = ConvPrivate { texts: bytes.into(), ..ConvPrivate::default() };
            let _ = (p.thread(), p.address(), p.reply_to(), p.subject(), p.excerpt(), p.words(), p.files(), p.doubt());
        }
    }

    #[test]
    fn what_a_phones_conversation_keeps_is_small() {
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<ConvPrivate>() + counts <= 64, "{} bytes", size_of::<ConvPrivate>());
        let mut p = ConvPrivate::new("+15551230001", &address("+15551230001", None), None);
        let reply_to = Some(Some("SM0123456789abcdef0123456789abcdef"));
        let said = Said { reply_to, words: Some("a0Zz"), proof: Some(SenderProof::Proved), ..Said::default() };
        p.heard(&address("+15551230001", None), &said);
        assert!(p.texts.len() <= 64, "{} bytes", p.texts.len());
    }
}
