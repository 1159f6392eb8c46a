//! What a mail means for the router: a message, a receipt, a consent, or our own mail seen again.

use crate::{
    address, config,
    header::Headers,
    ids::OurMail,
    mime::File,
    read::{self, Kind, Reading, Settings},
    report::{Action, Recipient, Report},
    subject,
};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use switchboard_adapter_sdk::signature::{sha256_hex, to_base64};
use switchboard_envelope::{
    Address, Answers, Attachment, ConsentChange, ConsentState, Content, Echo, Evidence, Inbound, MailFacts, Message,
    Raw, Receipt, ReceiptStatus, Timestamp, Unparsed, Visibility, event_id,
};

/// The largest mail that is read, in bytes.
pub const MAX_MAIL: usize = 50 * 1024 * 1024;
/// The longest raw mail that travels inside its record.
const MAX_INLINE: usize = 16 * 1024;
const MAX_TEXT: usize = 128 * 1024;
const MAX_HTML: usize = 256 * 1024;
const MAX_SUBJECT: usize = 1000;
const MAX_REFERENCES: usize = 100;
const MAX_DETAIL: usize = 400;
/// Whom a mail went to beside us, at most: who writes to a crowd is answered alone.
const MAX_OTHERS: usize = 20;
const MAX_NAME: usize = 100;
/// A mail cannot be written later than a day after it came: clocks differ, but not so much.
const MAX_AHEAD_MS: i64 = 86_400_000;

/// What one mail became.
#[derive(Clone, Debug, Default)]
pub struct Events {
    pub events: Vec<Inbound>,
    /// The files of the one message or echo, in the order of its attachments: whoever stores them sets their `ref`.
    pub files: Vec<File>,
}

/// Reads a mail into events. Never fails and never loses: what cannot be read is `unparsed`, with its bytes when they are few.
/// Whoever stores the record puts a blob where they are many.
#[must_use]
pub fn events(mail: &[u8], settings: &Settings, received_at: Timestamp) -> Events {
    if mail.len() > MAX_MAIL {
        return unparsed(mail, settings, received_at, "the mail is larger than 50 MiB");
    }
    // The parsers of others are total as far as anybody knows; one mail must not stop a mailbox if they are not.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let reading = read::read(mail, settings);
        Writer { reading: &reading, settings, received_at, mail }.events()
    }));
    let Ok(found) = read else {
        return unparsed(mail, settings, received_at, "the reader of mails failed on it");
    };
    match found.events.iter().find_map(|e| e.validate().err()) {
        Some(problem) => unparsed(mail, settings, received_at, &problem.to_string().replace('`', "")),
        None => found,
    }
}

pub(crate) fn unparsed(mail: &[u8], settings: &Settings, at: Timestamp, reason: &str) -> Events {
    let key = sha256_hex(mail);
    let id = event_id(&settings.channel, "unparsed", &key);
    let event = Unparsed { id, channel: settings.channel.clone(), reason: reason.into(), at, raw: raw(mail) };
    Events { events: vec![Inbound::Unparsed(event)], files: vec![] }
}

/// In the facts of a raw mail of which only the head is kept: how many bytes it had.
pub const WHOLE_SIZE: &str = "whole_size";

/// A mail that is larger than what is read, by its head.
#[must_use]
pub fn too_large(head: &[u8], size: u64, most: usize, settings: &Settings, at: Timestamp) -> Inbound {
    let (from, subject) = catch_unwind(AssertUnwindSafe(|| {
        let (headers, _) = Headers::read(head);
        let from = address::of(&headers, "from").into_iter().next().map(|m| m.address);
        (from.unwrap_or_default(), headers.text("subject").unwrap_or_default())
    }))
    .unwrap_or_default();
    let reason = format!(
        "the mail has {size} bytes, and max_mail is {most}: its head alone is kept. From {}, subject {}",
        capped(if from.is_empty() { "nobody" } else { &from }, 100),
        capped(if subject.is_empty() { "(none)" } else { &subject }, 200),
    );
    let key = sha256_hex(&[head, format!("\n{size}").as_bytes()].concat());
    let mut raw = raw(head);
    raw.meta.insert(WHOLE_SIZE.into(), size.to_string());
    Inbound::Unparsed(Unparsed {
        id: event_id(&settings.channel, "unparsed", &key),
        channel: settings.channel.clone(),
        reason,
        at,
        raw,
    })
}

/// In the facts of a mail that its server did not give away: why.
pub const NOT_GIVEN: &str = "not_given";

/// A mail that its server does not give away.
#[must_use]
pub fn not_given(place: &str, why: &str, settings: &Settings, at: Timestamp) -> Inbound {
    let why = capped(why, MAX_DETAIL);
    let mut raw = raw(place.as_bytes());
    raw.content_type = "text/plain; charset=utf-8".into();
    raw.meta.insert(NOT_GIVEN.into(), why.clone());
    Inbound::Unparsed(Unparsed {
        id: event_id(&settings.channel, "unparsed", &sha256_hex(place.as_bytes())),
        channel: settings.channel.clone(),
        reason: format!("{place}: {why}. It is in the mailbox still: copy it there to have it tried again"),
        at,
        raw,
    })
}

fn raw(mail: &[u8]) -> Raw {
    let inline = (mail.len() <= MAX_INLINE).then(|| to_base64(mail));
    Raw { content_type: "message/rfc822".into(), blob: None, inline, meta: BTreeMap::new() }
}

/// Text up to so many bytes, cut between letters.
fn capped(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// What a mail says, whatever way it came and however often: who wrote it, under which id, and its content.
fn key(mail: &[u8], reading: &Reading) -> String {
    let (_, start) = Headers::read(mail);
    let body = mail.get(start..).unwrap_or_default();
    // Servers differ in the ends of lines, and in blanks at the end.
    let plain: Vec<u8> = body.iter().copied().filter(|b| *b != b'\r').collect();
    let sender = reading.from.first().or(reading.sender.as_ref()).map(address::Mailbox::canonical).unwrap_or_default();
    let id = reading.message_id.clone().unwrap_or_else(|| {
        let at = reading.date.map(|d| d.0.to_string()).unwrap_or_default();
        format!("{at}\n{}", reading.subject.as_deref().unwrap_or_default())
    });
    let content = sha256_hex(plain.trim_ascii());
    sha256_hex(format!("{sender}\n{id}\n{content}").as_bytes()).chars().take(40).collect()
}

struct Writer<'a> {
    reading: &'a Reading,
    settings: &'a Settings,
    received_at: Timestamp,
    mail: &'a [u8],
}

impl Writer<'_> {
    fn events(&self) -> Events {
        let told = match self.reading.kind {
            Kind::Bounce | Kind::Delivered => self.receipts(),
            Kind::ReadReceipt => self.read_receipt(),
            Kind::Complaint => self.complaint(),
            Kind::OptOut => return self.opt_out(),
            Kind::Own => return self.own(),
            Kind::Message | Kind::AutoReply | Kind::Bulk => vec![],
        };
        if told.is_empty() { self.message() } else { Events { events: told, files: vec![] } }
    }

    fn id(&self, kind: &str, number: Option<usize>) -> String {
        let key = key(self.mail, self.reading);
        let key = number.map_or(key.clone(), |n| format!("{key}.{n}"));
        event_id(&self.settings.channel, kind, &key)
    }

    /// The sender's time, unless it cannot be.
    fn at(&self) -> Timestamp {
        self.reading
            .date
            .filter(|d| d.0 > 0 && d.0 <= self.received_at.0.saturating_add(MAX_AHEAD_MS))
            .unwrap_or(self.received_at)
    }

    /// What a mail says about its sender may be believed: it was proved, or there is nobody who could prove it.
    fn believed(&self) -> bool {
        match self.reading.authentication.verdict {
            Some(verdict) => verdict,
            None => self.settings.trusted.is_empty(),
        }
    }

    /// Somebody whom we trust says that its sender wrote it.
    fn proved(&self) -> bool {
        self.reading.authentication.verdict == Some(true)
    }

    fn sender(&self) -> Address {
        match &self.reading.sender {
            Some(mailbox) => Address { name: mailbox.name.clone(), ..Address::new("email", mailbox.canonical()) },
            // Each of them is somebody else.
            None => Address::new("email", format!("unknown.{}@invalid", key(self.mail, self.reading))),
        }
    }

    /// One thread a person and a first mail; what is not believed is a thread of its own.
    fn thread(&self, person: &str) -> String {
        let root = self.root();
        let scope = if self.believed() { "" } else { "unproved" };
        let hash = sha256_hex(format!("{scope}\n{}\n{root}", address::canonical(person)).as_bytes());
        format!("mail:{}", hash.chars().take(32).collect::<String>())
    }

    fn root(&self) -> String {
        let reading = self.reading;
        match reading.references.iter().chain(&reading.in_reply_to).next() {
            Some(first) => match OurMail::read(&self.settings.keys, first) {
                Some(ours) => format!("conversation:{}", ours.conversation),
                None => first.clone(),
            },
            None => match (&reading.tag, &reading.verp) {
                (Some(tag), _) => format!("conversation:{}", tag.conversation),
                // However often a machine answers a mail of ours.
                (None, Some(verp)) => format!("send:{}", verp.send),
                (None, None) => reading.message_id.clone().unwrap_or_else(|| key(self.mail, reading)),
            },
        }
    }

    /// The conversation that the mail belongs to, as something signed by us says; and whether the sender is new in it.
    fn conversation(&self) -> Option<(String, bool)> {
        if !self.believed() {
            return None;
        }
        let keys = &self.settings.keys;
        let sender = self.sender().value;
        if let Some(tag) = &self.reading.tag {
            let new = !tag.was_for(keys, &sender);
            return (self.proved() || !new).then(|| (tag.conversation.clone(), new));
        }
        // A Message-ID is no secret: it speaks only for the one whom the mail was for.
        let ours = self.reading.our_mails.iter().map(|(_, mail)| mail);
        ours.into_iter().find(|mail| mail.was_for(keys, &sender)).map(|mail| (mail.conversation.clone(), false))
    }

    /// What the router joins by: it compares the person itself, so a Message-ID is named whomever the mail was for.
    fn facts(&self) -> MailFacts {
        let reading = self.reading;
        let token = reading.subject.as_deref().and_then(subject::ticket);
        let by_tag = reading.tag.as_ref().map(|tag| (tag.conversation.clone(), Evidence::ReplyAddress));
        let by_id = || reading.our_mails.first().map(|(_, mail)| (mail.conversation.clone(), Evidence::MessageId));
        let by_envelope = || reading.verp.as_ref().map(|verp| (verp.send.clone(), Evidence::Envelope));
        let by_subject = || token.map(|token| (token.to_lowercase(), Evidence::Subject));
        let named = by_tag.or_else(by_id).or_else(by_envelope).or_else(by_subject);
        MailFacts {
            answers: named.map(|(conversation, by)| Answers { conversation, by }),
            believed: self.believed(),
            proved: self.proved(),
            others: self.others(),
            no_auto_reply: !reading.auto_reply_allowed,
            original: self.shows_less().then(|| u64::try_from(self.mail.len()).unwrap_or(u64::MAX)),
        }
    }

    /// Something of the mail is in none of its texts and files: quotes and signatures, the page, what was too much.
    fn shows_less(&self) -> bool {
        let reading = self.reading;
        reading.html.is_some()
            || reading.encrypted
            || reading.damaged
            || reading.files_left_out > 0
            || reading.new_text.len() > MAX_TEXT
            || !reading.new_text.split_whitespace().eq(reading.text.split_whitespace())
    }

    /// To whom a person wrote beside us. Fields that a server adds name who got a blind copy, and are not looked at.
    fn others(&self) -> Vec<Address> {
        let reading = self.reading;
        if reading.kind != Kind::Message {
            return vec![];
        }
        let authors: Vec<String> =
            reading.from.iter().chain(&reading.sender).map(address::Mailbox::canonical).collect();
        let mut found: Vec<Address> = vec![];
        for other in reading.to.iter().chain(&reading.cc).filter(|m| config::is_address(&m.address)) {
            let value = other.canonical();
            let known = authors.contains(&value) || found.iter().any(|f| f.value == value);
            if !known && !self.settings.is_ours(&value) {
                let name = other.name.as_deref().map(|name| capped(name, MAX_NAME));
                found.push(Address { name, ..Address::new("email", value) });
            }
        }
        if found.len() > MAX_OTHERS { vec![] } else { found }
    }

    fn meta(&self) -> BTreeMap<String, String> {
        let reading = self.reading;
        let mut meta = BTreeMap::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                meta.insert(name.to_owned(), capped(&value, MAX_SUBJECT));
            }
        };
        put("kind", Some(reading.kind.as_str().into()));
        put("auto_reply", (!reading.auto_reply_allowed).then(|| "no".into()));
        if let Some((conversation, new)) = self.conversation() {
            put("conversation", Some(conversation));
            put("participant", new.then(|| "new".into()));
        } else if let Some((_, mail)) = reading.our_mails.first() {
            put("mentions", Some(mail.conversation.clone()));
        }
        put("ticket", reading.subject.as_deref().and_then(subject::ticket).map(str::to_owned));
        put("list", reading.list_id.clone());
        put("calendar", reading.calendar.as_ref().and_then(|c| c.method.clone()));
        put("encrypted", reading.encrypted.then(|| "yes".into()));
        put("forwarded_from", reading.forwarded.as_ref().and_then(|f| f.from.clone()));
        let others: Vec<&str> = reading
            .to
            .iter()
            .chain(&reading.cc)
            .map(|m| m.address.as_str())
            .filter(|a| !self.settings.is_ours(a))
            .take(20)
            .collect();
        put("others", Some(others.join(", ")));
        put("dmarc", reading.authentication.dmarc.clone());
        put("files_left_out", (reading.files_left_out > 0).then(|| reading.files_left_out.to_string()));
        meta
    }

    fn content(&self) -> Content {
        let reading = self.reading;
        let mut text = reading.new_text.clone();
        if text.trim().is_empty() {
            text = match (reading.encrypted, &reading.calendar) {
                (true, _) => "(an encrypted message: open the original in a mail program that has the key)".into(),
                (_, Some(calendar)) => {
                    format!("(calendar: {})", calendar.method.as_deref().unwrap_or("an event").to_lowercase())
                }
                _ => text,
            };
        }
        Content {
            text: capped(&text, MAX_TEXT),
            subject: reading.subject.as_deref().map(|s| capped(s, MAX_SUBJECT)),
            html: reading.html.clone().filter(|h| h.len() <= MAX_HTML),
            attachments: reading
                .files
                .iter()
                .map(|f| Attachment {
                    name: f.name.clone(),
                    mime: f.mime.clone(),
                    size: u64::try_from(f.bytes.len()).unwrap_or(u64::MAX),
                    content_id: f.content_id.clone(),
                    ..Attachment::default()
                })
                .collect(),
            ..Content::default()
        }
    }

    fn references(&self) -> Vec<String> {
        let reading = self.reading;
        let named = reading.report.iter().flat_map(|r| &r.original_ids);
        let mut found: Vec<String> = vec![];
        for id in reading.in_reply_to.iter().chain(reading.references.iter().rev()).chain(named) {
            if !found.contains(id) && found.len() < MAX_REFERENCES {
                found.push(id.clone());
            }
        }
        found
    }

    fn message(&self) -> Events {
        let reading = self.reading;
        let from = self.sender();
        let facts = self.facts();
        // What is listed as a file is a blob, however small it is.
        let raw = raw(self.mail);
        let ours = reading.recipients.iter().find(|r| self.settings.is_ours(r)).or(reading.recipients.first());
        let message = Message {
            id: self.id("message", None),
            channel: self.settings.channel.clone(),
            thread: self.thread(&from.value),
            at: self.at(),
            received_at: self.received_at,
            to: ours.map(|o| Address::new("email", address::canonical(o))),
            from,
            content: self.content(),
            references: self.references(),
            provider_id: reading.message_id.clone(),
            visibility: Visibility::Private,
            automatic: reading.automatic,
            authenticated: reading.authentication.verdict,
            meta: self.meta(),
            raw: Some(Raw { inline: raw.inline.filter(|_| facts.original.is_none()), ..raw }),
            traceparent: None,
            mail: Some(Box::new(facts)),
        };
        Events { events: vec![Inbound::Message(Box::new(message))], files: reading.files.clone() }
    }

    /// The send that a report is about, when it names one that we signed: its token, its part, and its Message-ID.
    fn about(&self) -> Option<(String, u16, String)> {
        let named = self.reading.our_mails.first();
        match &self.reading.verp {
            Some(verp) => {
                let id = named.filter(|(_, mail)| mail.send == verp.send).map(|(id, _)| id.clone());
                Some((verp.send.clone(), verp.part, id.unwrap_or_else(|| format!("{}.{}", verp.send, verp.part))))
            }
            None => named.map(|(id, mail)| (mail.send.clone(), mail.part, id.clone())),
        }
    }

    fn receipt(&self, status: ReceiptStatus, code: Option<String>, detail: Option<String>) -> Vec<Inbound> {
        let Some((send, part, provider_id)) = self.about() else { return vec![] };
        vec![Inbound::Receipt(Receipt {
            thread: None,
            id: self.id("receipt", None),
            channel: self.settings.channel.clone(),
            provider_id,
            send: Some(send),
            part: Some(part),
            n: None,
            status,
            at: self.received_at,
            code,
            detail: detail.map(|d| capped(&d, MAX_DETAIL)),
        })]
    }

    /// A mail of ours goes to one person; of several lines about it the worst one counts. That a copy did not arrive says nothing of it.
    fn receipts(&self) -> Vec<Inbound> {
        let Some(report) = &self.reading.report else { return vec![] };
        let named = |list: &[String], address: &str| list.iter().any(|a| address::canonical(a) == address);
        let keys = &self.settings.keys;
        let told = |address: &str| self.reading.verp.as_ref().is_some_and(|verp| verp.was_copied_to(keys, address));
        let written_to = |address: &str| {
            let ours = self.reading.our_mails.first().is_some_and(|(_, mail)| mail.was_for(keys, address));
            ours || named(&self.reading.returned_to, address)
        };
        let copy = |r: &Recipient| {
            let address = address::canonical(&r.address);
            (named(&self.reading.returned_cc, &address) || told(&address)) && !written_to(&address)
        };
        let rank = |r: &&Recipient| match r.action {
            Action::Failed => 3,
            Action::Delayed => 2,
            Action::Relayed => 1,
            Action::Delivered => 0,
        };
        let Some(worst) = report.recipients.iter().filter(|r| !copy(r)).max_by_key(rank) else {
            let missing = report.recipients.iter().filter(|r| matches!(r.action, Action::Failed | Action::Delayed));
            let said: Vec<String> = missing.map(sentence).collect();
            let detail = (!said.is_empty()).then(|| format!("a copy did not arrive: {}", said.join("; ")));
            return self.receipt(ReceiptStatus::Accepted, None, detail);
        };
        let status = match worst.action {
            Action::Failed => ReceiptStatus::Failed,
            Action::Delayed | Action::Relayed => ReceiptStatus::Accepted,
            Action::Delivered => ReceiptStatus::Delivered,
        };
        let code = Some(worst.status.clone()).filter(|s| !s.is_empty()).or_else(|| worst.code.clone());
        self.receipt(status, code, Some(sentence(worst)))
    }

    fn read_receipt(&self) -> Vec<Inbound> {
        let displayed = self.reading.report.as_ref().is_some_and(|r| r.displayed);
        let status = if displayed { ReceiptStatus::Read } else { ReceiptStatus::Delivered };
        self.receipt(status, None, None)
    }

    fn consent(&self, address: Address, reason: &str) -> Inbound {
        Inbound::Consent(ConsentChange {
            id: self.id("consent", None),
            channel: self.settings.channel.clone(),
            address,
            state: ConsentState::OptedOut,
            at: self.received_at,
            reason: Some(reason.into()),
            topic: None,
        })
    }

    /// Only a complaint that names a mail of ours, and somebody whom that mail was for, says anything about a person. Where every address
    /// is withheld, it is told of the mail.
    fn complaint(&self) -> Vec<Inbound> {
        let Some(report) = &self.reading.report else { return vec![] };
        let wants_out =
            matches!(report.feedback.as_deref(), Some("abuse" | "opt-out" | "opt-out-list" | "fraud" | "complaint"));
        let named = report.recipients.iter().map(|r| &r.address).chain(&self.reading.returned_to);
        let keys = &self.settings.keys;
        let theirs = named
            .into_iter()
            .find(|address| self.reading.our_mails.iter().any(|(_, mail)| mail.was_for(keys, address)));
        let forged = self.reading.authentication.verdict == Some(false);
        match theirs.filter(|_| wants_out && !forged) {
            Some(address) => {
                vec![self.consent(Address::new("email", address::canonical(address)), "called a mail of ours spam")]
            }
            None if wants_out && !forged && !self.names_somebody(report) => {
                let detail = "the receiver says that it was called spam; whose address that is, is withheld";
                self.receipt(ReceiptStatus::Accepted, None, Some(detail.into()))
            }
            None => vec![],
        }
    }

    /// The report says whom the mail was for. A redacted address is none.
    fn names_somebody(&self, report: &Report) -> bool {
        let mut named = report.recipients.iter().map(|r| &r.address).chain(&self.reading.returned_to);
        named.any(|address| config::is_address(address) && !address.to_lowercase().contains("redacted"))
    }

    /// The wish is a message, for whoever has the conversation. It silences by itself only who proved to be who, or who wrote to the
    /// address for leaving that we signed for them: anybody can write another's address into a mail. An answer in a conversation may
    /// mean its subject ("shall we stop the order?").
    fn opt_out(&self) -> Events {
        let reading = self.reading;
        let mut found = self.message();
        let Some(sender) = &reading.sender else { return found };
        let proved = reading.authentication.verdict == Some(true);
        let answers = reading.tag.is_some() || !reading.our_mails.is_empty();
        let theirs = reading.tag.as_ref().is_some_and(|tag| tag.was_for(&self.settings.keys, &sender.canonical()));
        if (proved && !answers) || (read::is_to_leave(reading) && theirs && self.believed()) {
            found.events.push(self.consent(self.sender(), "asked by mail"));
        }
        found
    }

    /// Our own mail. With a Message-ID that we signed it is known; without, somebody wrote it in a mail program, if that is proved.
    fn own(&self) -> Events {
        let reading = self.reading;
        let signed = reading.message_id.as_deref().and_then(|id| OurMail::read(&self.settings.keys, id));
        let others = reading.to.iter().chain(&reading.cc).find(|m| !self.settings.is_ours(&m.address));
        let proved = reading.authentication.verdict == Some(true);
        let Some((to, id)) = others.zip(reading.message_id.clone()).filter(|_| signed.is_some() || proved) else {
            return self.message();
        };
        let echo = Echo {
            id: self.id("echo", None),
            channel: self.settings.channel.clone(),
            thread: self.thread(&to.address),
            at: self.at(),
            provider_id: id,
            send: signed.as_ref().map(|s| s.send.clone()),
            part: signed.as_ref().map(|s| s.part),
            n: None,
            to: Address { name: to.name.clone(), ..Address::new("email", to.canonical()) },
            content: self.content(),
        };
        Events { events: vec![Inbound::Echo(Box::new(echo))], files: reading.files.clone() }
    }
}

/// For the agent who waits for an answer: whom it did not reach, why, and the system's words.
fn sentence(recipient: &Recipient) -> String {
    let whom = if recipient.address.is_empty() { "the mail".to_owned() } else { recipient.address.clone() };
    let code = [recipient.code.as_deref(), Some(recipient.status.as_str())]
        .into_iter()
        .flatten()
        .filter(|c| !c.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let mut text = format!("{whom}: {}", recipient.reason.sentence());
    if !code.is_empty() {
        text.push_str(&format!(" ({code})"));
    }
    let words: String = recipient.diagnostic.chars().take(200).collect();
    if !words.is_empty() {
        text.push_str(": ");
        text.push_str(&words);
    }
    text
}
