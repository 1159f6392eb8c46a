//! What a conversation keeps of its customer's words and addresses.

use super::slim::{Rare, When};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use switchboard_envelope::{Address, Choice, Quote, Timestamp};

/// The most bytes of a letter that are kept to be quoted: every open conversation keeps that.
pub const MAX_QUOTE: usize = 4096;

/// The most bytes of the customer's latest message that are kept for notices.
pub const MAX_EXCERPT: usize = 280;

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
}

const TEXTS: usize = 9;

/// Each text after its length and one, in bytes of seven bits with the lowest first; an absent one is 0.
fn packed(texts: [Option<&str>; TEXTS]) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(TEXTS * 2 + texts.iter().flatten().map(|t| t.len()).sum::<usize>());
    for text in texts {
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

impl ConvPrivate {
    /// Of a conversation that begins.
    #[must_use]
    pub fn new(thread: &str, address: &Address, subject: Option<&str>) -> ConvPrivate {
        let mut new = ConvPrivate::default();
        new.put(thread, Some(address), [None, subject, None, None]);
        new
    }

    fn put(&mut self, thread: &str, address: Option<&Address>, rest: [Option<&str>; 4]) {
        let [reply_to, subject, excerpt, words] = rest;
        let thread = Some(thread).filter(|thread| address.is_none_or(|a| a.value != *thread));
        let (kind, value) = (address.map(|a| a.kind.as_str()), address.map(|a| a.value.as_str()));
        let (name, within) = (address.and_then(|a| a.name.as_deref()), address.and_then(|a| a.within.as_deref()));
        self.texts = packed([thread, kind, value, name, reply_to, subject, excerpt, words, within]);
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

    /// By what the words of the customer's latest message are told from others.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        self.text(Text::Words)
    }

    /// They wrote from this address; what they answer to, the subject and the words stay as they were where they are absent.
    pub(super) fn heard(
        &mut self,
        from: &Address,
        reply_to: Option<Option<&str>>,
        subject: Option<&str>,
        excerpt: Option<&str>,
        words: Option<&str>,
    ) {
        let was = self.clone();
        let reply_to = reply_to.unwrap_or_else(|| was.reply_to());
        self.put(
            was.thread(),
            Some(from),
            [reply_to, subject.or_else(|| was.subject()), excerpt, words.or_else(|| was.words())],
        );
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
        let texts = [w.reply_to.as_deref(), w.subject.as_deref(), w.excerpt.as_deref(), w.words.as_deref()];
        p.put(&w.thread, w.address.as_ref(), texts);
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
        ) {
            let thread = if same { &value } else { &thread };
            let from = Address { within, ..address(&value, name.as_deref()) };
            let mut p = ConvPrivate::new(thread, &address("elsewhere", None), subject.as_deref());
            p.heard(&from, Some(reply_to.as_deref()), None, None, Some("a0Zz"));
            p.heard(&from, None, None, excerpt.as_deref(), None);
            prop_assert_eq!((p.thread(), p.address()), (thread.as_str(), Some(from)));
            prop_assert_eq!((p.reply_to(), p.subject()), (reply_to.as_deref(), subject.as_deref()));
            prop_assert_eq!((p.excerpt(), p.words()), (excerpt.as_deref(), Some("a0Zz")));
            let bytes = rmp_serde::to_vec_named(&p).expect("bytes");
            prop_assert_eq!(rmp_serde::from_slice::<ConvPrivate>(&bytes).expect("read back"), p);
        }

        #[test]
        fn damaged_bytes_are_read_as_something(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let p = ConvPrivate { texts: bytes.into(), ..ConvPrivate::default() };
            let _ = (p.thread(), p.address(), p.reply_to(), p.subject(), p.excerpt(), p.words());
        }
    }

    #[test]
    fn what_a_phones_conversation_keeps_is_small() {
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<ConvPrivate>() + counts <= 64, "{} bytes", size_of::<ConvPrivate>());
        let mut p = ConvPrivate::new("+15551230001", &address("+15551230001", None), None);
        p.heard(
            &address("+15551230001", None),
            Some(Some("SM0123456789abcdef0123456789abcdef")),
            None,
            None,
            Some("a0Zz"),
        );
        assert!(p.texts.len() <= 64, "{} bytes", p.texts.len());
    }
}
