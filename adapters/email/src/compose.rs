//! What we write: an envelope and a mail for one send. Pure: the same send gives the same bytes, so a retry is the same mail.

use crate::{
    address,
    dkim::Signer,
    html,
    ids::{Keys, OurMail, Tag, Verp},
    letter::{Letter, Quote},
    subject,
};
use jiff::tz::TimeZone;
use lettre::{
    Address, Message,
    address::Envelope,
    message::{
        Attachment, Body, Mailbox, MultiPart, MultiPartBuilder, SinglePart,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};
use std::time::{Duration, SystemTime};
use switchboard_adapter_sdk::signature::to_base64;
use switchboard_envelope::{Author, Send, Timestamp};

/// The largest mail that is sent, in bytes; the large providers take no more.
pub const MAX_MAIL: usize = 25 * 1024 * 1024;
/// Of a long chain of References its first id and this many of the last are kept.
const MAX_REFERENCES: usize = 20;
/// The most bytes of a quoted text.
const MAX_QUOTE: usize = 20_000;
/// The longest subject, in characters.
const MAX_SUBJECT: usize = 250;

/// How a channel writes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The address that mails come from.
    pub address: String,
    /// The name beside it.
    pub name: Option<String>,
    /// The domain of our Message-IDs.
    pub domain: String,
    pub keys: Keys,
    /// What our loop header says.
    pub instance: String,
    /// Answers and bounces come to `name+tag@domain`: the mailbox takes addresses with a tag.
    pub tags: bool,
    /// The line above the quote, from which on nothing in an answer is new.
    pub above_line: bool,
    /// A page of HTML stands beside the text.
    pub html: bool,
    /// What a person answers is copied to the others whom the customer wrote to.
    pub reply_all: bool,
    /// Every address of ours, also of other channels, canonical and without a tag: none of them gets a copy.
    pub ours: Vec<String>,
    pub dkim: Option<Signer>,
}

/// The mail that is answered, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Parent {
    pub message_id: Option<String>,
    pub in_reply_to: Vec<String>,
    pub references: Vec<String>,
    pub subject: Option<String>,
    /// Who wrote it, as the sentence above the quote says.
    pub author: Option<String>,
    pub at: Option<Timestamp>,
    /// The zone in which that sentence tells the time; without it UTC.
    pub zone: Option<String>,
    /// What is quoted.
    pub text: Option<String>,
}

/// A mail that can be handed to a mail server.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Where bounces go.
    pub from: Address,
    pub to: Address,
    /// Who gets a copy, for everybody to see.
    pub cc: Vec<Address>,
    /// Without brackets.
    pub message_id: String,
    pub bytes: Vec<u8>,
}

impl Mail {
    /// # Errors
    /// Never for what [`compose`] made.
    pub fn envelope(&self) -> Result<Envelope, lettre::error::Error> {
        let to = std::iter::once(&self.to).chain(&self.cc).cloned().collect();
        Envelope::new(Some(self.from.clone()), to)
    }
}

/// Why nothing can be sent; the sentence is for the agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("`{0}` is no address that mail can be sent to")]
    Address(String),
    #[error("there is nothing to send")]
    Empty,
    #[error("the mail has {0} bytes, and {MAX_MAIL} are allowed: leave files out")]
    TooLarge(usize),
    #[error("the channel has no key to sign its addresses with: set `secret`")]
    Key,
    #[error("the mail could not be written: {0}")]
    Build(String),
}

impl Parent {
    /// The mail that a send answers, by what the router knows of it.
    #[must_use]
    pub fn of(send: &Send) -> Parent {
        let mail = send.mail.as_deref().cloned().unwrap_or_default();
        let quote = mail.quote.unwrap_or_default();
        Parent {
            message_id: send.reply_to.last().cloned(),
            in_reply_to: vec![],
            references: mail.references,
            subject: None,
            author: quote.author,
            at: (quote.at != Timestamp::default()).then_some(quote.at),
            zone: mail.zone,
            text: Some(quote.text).filter(|text| !text.is_empty()),
        }
    }
}

/// Writes the mail of a send as the router released it.
///
/// # Errors
/// As [`compose`].
pub fn write(send: &Send, files: &[Vec<u8>], identity: &Identity) -> Result<Mail, Refused> {
    let mail = send.mail.as_deref();
    let at = mail.map_or(send.until, |mail| mail.at);
    compose(send, &Parent::of(send), files, mail.and_then(|mail| mail.signature.as_deref()), identity, at)
}

/// Writes the mail of a send. `files` are the bytes of its attachments, in their order; `signature` stands below the text;
/// `now` is when the send was accepted, so that every attempt is the same mail.
///
/// # Errors
/// When the content cannot be a mail.
pub fn compose(
    send: &Send,
    parent: &Parent,
    files: &[Vec<u8>],
    signature: Option<&str>,
    identity: &Identity,
    now: Timestamp,
) -> Result<Mail, Refused> {
    let to = mailbox(send.to.name.as_deref(), &send.to.value)?;
    let from = mailbox(identity.name.as_deref(), &identity.address)?;
    if send.content.text.trim().is_empty() && send.content.html.is_none() && files.is_empty() {
        return Err(Refused::Empty);
    }
    let keys = &identity.keys;
    // One that is sent again because nobody knows whether it arrived is the same mail.
    let first = send.mail.as_ref().and_then(|mail| mail.first.as_deref()).unwrap_or(&send.send);
    let message_id = OurMail::id(keys, &send.conversation, first, send.part, &send.to.value, &identity.domain)
        .ok_or(Refused::Key)?;
    let parent_id = parent.message_id.clone().or_else(|| send.reply_to.last().cloned());
    let chain = chain(parent, parent_id.as_deref());
    let copies = copies(send, identity);
    let mut mail = Message::builder().from(from).to(to.clone());
    for copy in &copies {
        mail = mail.cc(copy.clone());
    }
    let mut mail = mail
        .raw_header(words("Subject", &subject_of(send, parent, parent_id.is_some())))
        .date(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or(0)))
        .message_id(Some(format!("<{message_id}>")))
        .raw_header(plain("X-Switchboard-Loop", &identity.instance));
    if let Some(parent) = parent_id.as_deref().filter(|id| is_id(id)) {
        mail = mail.raw_header(ids("In-Reply-To", &[parent.to_owned()]));
    }
    if !chain.is_empty() {
        mail = mail.raw_header(ids("References", &chain));
    }
    let mut bounces = identity.address.clone();
    if identity.tags {
        let answers = Tag::address(keys, &send.conversation, &send.to.value, &identity.address).ok_or(Refused::Key)?;
        mail = mail.reply_to(mailbox(identity.name.as_deref(), &answers)?);
        let copied: Vec<String> = copies.iter().map(|copy| copy.email.to_string()).collect();
        bounces = Verp::address(keys, &send.send, send.part, &copied, &identity.address).ok_or(Refused::Key)?;
    }
    if let Author::Auto { .. } = send.author {
        let kind = if parent_id.is_some() { "auto-replied" } else { "auto-generated" };
        mail = mail
            .raw_header(plain("Auto-Submitted", kind))
            .raw_header(plain("X-Auto-Response-Suppress", "All"))
            .raw_header(plain("Precedence", "auto_reply"));
    }
    let letter = letter(send, parent, signature, identity);
    let body = body(send, files, letter.text(), identity.html.then(|| letter.html()));
    let written = match body {
        Written::Single(part) => mail.singlepart(part),
        Written::Multi(part) => mail.multipart(part),
    };
    let mut bytes = written.map_err(|e| Refused::Build(e.to_string()))?.formatted();
    if bytes.len() > MAX_MAIL {
        return Err(Refused::TooLarge(bytes.len()));
    }
    if let Some(signer) = &identity.dkim {
        let signed = signer.sign(bytes, now.0.max(0) / 1000);
        bytes = signed.ok_or_else(|| Refused::Build("its DKIM signature could not be made".into()))?;
    }
    let from = bounces.parse().map_err(|_| Refused::Address(bounces.clone()))?;
    let cc = copies.into_iter().map(|copy| copy.email).collect();
    Ok(Mail { from, to: to.email, cc, message_id, bytes })
}

/// The others whom the answered mail openly went to. An automatic answer goes to one person (RFC 3834), and nothing to ourselves.
fn copies(send: &Send, identity: &Identity) -> Vec<Mailbox> {
    let by_hand = send.author.by_hand();
    let others = send.mail.iter().filter(|_| identity.reply_all && by_hand).flat_map(|mail| &mail.others);
    let mut seen = vec![address::canonical(&send.to.value)];
    let mut copies = vec![];
    for other in others {
        let canonical = address::canonical(&other.value);
        if !seen.contains(&canonical) && !address::is_of(&identity.ours, &canonical) {
            // One that can have no mail is no reason to send none to the customer.
            copies.extend(mailbox(other.name.as_deref(), &other.value).ok());
            seen.push(canonical);
        }
    }
    copies
}

/// The ids of a conversation so far, the parent last (RFC 5322 §3.6.4).
fn chain(parent: &Parent, parent_id: Option<&str>) -> Vec<String> {
    let mut ids = match (parent.references.as_slice(), parent.in_reply_to.as_slice()) {
        ([], [only]) => vec![only.clone()],
        (references, _) => references.to_vec(),
    };
    ids.extend(parent_id.map(str::to_owned));
    ids.retain(|id| is_id(id));
    // The last place of an id is the one that counts.
    let mut seen = std::collections::BTreeSet::new();
    let mut kept: Vec<String> = ids.into_iter().rev().filter(|id| seen.insert(id.clone())).collect();
    kept.reverse();
    if kept.len() > MAX_REFERENCES + 1 {
        kept.drain(1..kept.len() - MAX_REFERENCES);
    }
    kept
}

/// An id that can stand in a field as it is.
fn is_id(id: &str) -> bool {
    (1..=250).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>')
}

/// Text for one line of a header: what would end the line is a blank.
fn line(text: &str, most: usize) -> String {
    let text: String =
        text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(most).collect::<String>().trim().to_owned()
}

fn plain(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), line(value, 200))
}

/// Words in any language, after [`line`]: plain where they are ASCII, else encoded as a whole (RFC 2047), cut between letters.
fn words(name: &'static str, text: &str) -> HeaderValue {
    let plain = text.is_ascii() && !text.contains("=?");
    let encoded = if plain { text.to_owned() } else { encoded_words(text) };
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str(name), text.to_owned(), encoded)
}

fn encoded_words(text: &str) -> String {
    // 45 bytes are 60 letters of base64, and a word may have 75.
    let mut pieces = vec![String::new()];
    for letter in text.chars() {
        if pieces.last().is_none_or(|p| p.len() + letter.len_utf8() > 45) {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    let words: Vec<String> = pieces.iter().map(|p| format!("=?utf-8?B?{}?=", to_base64(p.as_bytes()))).collect();
    words.join("\r\n ")
}

/// Ids a line each: they are not to be encoded, whatever is in them, and [`is_id`] holds for each.
fn ids(name: &'static str, ids: &[String]) -> HeaderValue {
    let written = ids.iter().map(|id| format!("<{id}>")).collect::<Vec<_>>();
    HeaderValue::dangerous_new_pre_encoded(
        HeaderName::new_from_ascii_str(name),
        written.join(" "),
        written.join("\r\n "),
    )
}

fn mailbox(name: Option<&str>, address: &str) -> Result<Mailbox, Refused> {
    let wrong = || Refused::Address(line(address, 100));
    let one_line = !address.chars().any(|c| c.is_control() || c.is_whitespace());
    let parsed: Address = address::wire(address).parse().map_err(|_| wrong())?;
    // lettre takes signs in a domain that no domain has, and that no reader takes.
    let known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let domain = parsed.domain();
    // What stands in brackets is the address of a machine.
    let literal = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
    let literal = literal.is_some_and(|d| !d.is_empty() && d.chars().all(|c| known(c) || c == ':'));
    if !(domain.chars().all(known) || literal) {
        return Err(wrong());
    }
    let name = name.map(|n| line(n, 100)).filter(|n| !n.is_empty());
    if one_line && address::split(address).is_some() { Ok(Mailbox::new(name, parsed)) } else { Err(wrong()) }
}

fn subject_of(send: &Send, parent: &Parent, answers: bool) -> String {
    let own = send.content.subject.as_deref().map(|s| line(s, MAX_SUBJECT)).filter(|s| !s.is_empty());
    let theirs = parent.subject.as_deref().map(|s| line(s, MAX_SUBJECT)).filter(|s| !s.is_empty());
    match own.or(theirs) {
        Some(words) if answers => subject::reply(&words),
        Some(words) => words,
        None if answers => "Re: your message".into(),
        None => "A message for you".into(),
    }
}

fn tidy(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "")
}

/// When something was written, as people and their mail programs put it: `On Sat, 21 Nov 2026 at 23:00 CET, `.
fn moment(at: Timestamp, zone: Option<&str>) -> String {
    let zone = zone.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
    let at = at.to_jiff().to_zoned(zone);
    let said = |format: &str| jiff::fmt::strtime::format(format, &at).unwrap_or_default();
    let zone = said("%Z");
    // Many zones have no letters but only their distance, as `-03`.
    let utc = if zone.starts_with(['+', '-']) { "UTC" } else { "" };
    format!("{} {utc}{zone}, ", said("On %a, %-d %b %Y at %H:%M"))
}

/// The words, the signature, and what it answers.
fn letter(send: &Send, parent: &Parent, signature: Option<&str>, identity: &Identity) -> Letter {
    let page = send.content.html.as_deref().map(tidy);
    let mut words = tidy(&send.content.text);
    if let Some(page) = page.as_deref().filter(|_| words.trim().is_empty()) {
        words = html::read(page, true).text;
    }
    let quote = parent.text.as_deref().map(tidy).filter(|t| !t.trim().is_empty()).map(|mut text| {
        let at = parent.at.map(|at| moment(at, parent.zone.as_deref())).unwrap_or_default();
        let author = parent.author.as_deref().map(|a| line(a, 100)).filter(|a| !a.is_empty());
        let who = author.unwrap_or_else(|| send.to.value.clone());
        let mut end = text.len().min(MAX_QUOTE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Quote { above_line: identity.above_line, intro: format!("{at}{who} wrote:"), text }
    });
    Letter { words, page, signature: signature.map(tidy).filter(|s| !s.trim().is_empty()), quote }
}

enum Written {
    Single(SinglePart),
    Multi(MultiPart),
}

fn body(send: &Send, files: &[Vec<u8>], text: String, page: Option<String>) -> Written {
    // Boundaries of a retry must be the same. The send's token is in no text that a person writes.
    let boundary = |kind: &str| format!("=_{kind}.{}.{}", line(&send.send, 40), send.part);
    let words = match page {
        Some(page) => Written::Multi(
            builder(MultiPart::alternative(), boundary("a"))
                .singlepart(SinglePart::plain(text))
                .singlepart(SinglePart::html(page)),
        ),
        None => Written::Single(SinglePart::plain(text)),
    };
    if files.is_empty() {
        return words;
    }
    let mixed = builder(MultiPart::mixed(), boundary("m"));
    let mut all = match words {
        Written::Single(part) => mixed.singlepart(part),
        Written::Multi(part) => mixed.multipart(part),
    };
    for (i, bytes) in files.iter().enumerate() {
        let known = send.content.attachments.get(i);
        let mime = known.map(|a| a.mime.as_str()).unwrap_or_default();
        // A mail inside of a mail must not be encoded, and a multipart needs a boundary: as a file it is just bytes.
        let whole = mime.starts_with("message/") || mime.starts_with("multipart/");
        let kind = Some(mime).filter(|m| !whole && m.is_ascii()).and_then(|m| ContentType::parse(m).ok());
        let name = crate::file_name::safe(known.map(|a| a.name.as_str()).unwrap_or_default(), i + 1, mime);
        all = all.singlepart(Attachment::new(name).body(coded(bytes), kind.unwrap_or_else(octets)));
    }
    Written::Multi(all)
}

/// A file as base64, also one of letters only: its line ends are its own, and a mail has none but CR LF.
fn coded(bytes: &[u8]) -> Body {
    Body::new_with_encoding(bytes.to_vec(), ContentTransferEncoding::Base64).unwrap_or_else(Body::new)
}

fn builder(multi: MultiPartBuilder, boundary: String) -> MultiPartBuilder {
    multi.boundary(boundary)
}

#[expect(clippy::expect_used, reason = "a constant type, which every test with a file builds")]
fn octets() -> ContentType {
    ContentType::parse("application/octet-stream").expect("a constant type")
}
