//! One mail, read: who wrote what to whom, and what kind of mail it is. Pure and total.

use crate::{
    address::{self, Mailbox},
    authentication::{self, Authentication},
    automatic,
    header::{Headers, shown},
    html,
    ids::{Keys, OurMail, Tag, Verp},
    list::{self, Unsubscribe},
    mime::{self, Calendar, File, ReportPart},
    reply::{self, Forwarded},
    report::{self, Action, Report},
    subject,
};
use switchboard_envelope::Timestamp;

/// Of so many dates the first one that can be read counts.
const MAX_DATES: usize = 10;

/// What a channel knows when it reads its mail.
#[derive(Clone, Debug)]
pub struct Settings {
    pub channel: String,
    /// Our addresses, in their canonical form and without a tag.
    pub addresses: Vec<String>,
    /// The names under which the servers that we trust write `Authentication-Results`. Without one nobody is told apart.
    pub trusted: Vec<String>,
    /// Those of them that take mail from outside, by the name that they have in `Received`.
    pub boundary: Vec<String>,
    pub keys: Keys,
    /// What our own loop header says.
    pub instance: String,
}

impl Settings {
    pub(crate) fn is_ours(&self, address: &str) -> bool {
        address::is_of(&self.addresses, address)
    }
}

/// What a mail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person wrote to us.
    Message,
    /// A machine answered: a vacation notice, an acknowledgement.
    AutoReply,
    /// It went to many: a newsletter, a list.
    Bulk,
    /// A mail of ours did not arrive, or is late.
    Bounce,
    /// A mail of ours arrived.
    Delivered,
    /// A mail of ours was read.
    ReadReceipt,
    /// A person called a mail of ours spam, or wants no more.
    Complaint,
    /// Nothing but the wish to get no more mail.
    OptOut,
    /// We wrote it ourselves.
    Own,
}

impl Kind {
    /// What rules see as `meta.kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::AutoReply => "auto_reply",
            Kind::Bulk => "bulk",
            Kind::Bounce => "bounce",
            Kind::Delivered => "delivered",
            Kind::ReadReceipt => "read_receipt",
            Kind::Complaint => "complaint",
            Kind::OptOut => "opt_out",
            Kind::Own => "own",
        }
    }
}

/// A mail, read.
#[derive(Clone, Debug)]
pub struct Reading {
    pub kind: Kind,
    /// A machine wrote it.
    pub automatic: bool,
    /// An automatic answer may be sent (RFC 3834).
    pub auto_reply_allowed: bool,
    pub subject: Option<String>,
    /// Who is to be answered.
    pub sender: Option<Mailbox>,
    pub from: Vec<Mailbox>,
    pub to: Vec<Mailbox>,
    pub cc: Vec<Mailbox>,
    /// Every address that it was delivered or written to, the envelope's first.
    pub recipients: Vec<String>,
    /// What follows `+` in the recipients that have something there.
    pub details: Vec<String>,
    pub message_id: Option<String>,
    pub in_reply_to: Vec<String>,
    pub references: Vec<String>,
    pub date: Option<Timestamp>,
    /// All of its text.
    pub text: String,
    /// The person's new words.
    pub new_text: String,
    pub signature: Option<String>,
    pub forwarded: Option<Forwarded>,
    /// The whole page, safe to show.
    pub html: Option<String>,
    /// With a `content_id` only what the page shows as a picture.
    pub files: Vec<File>,
    pub files_left_out: usize,
    pub calendar: Option<Calendar>,
    pub encrypted: bool,
    pub damaged: bool,
    pub authentication: Authentication,
    pub list_id: Option<String>,
    pub unsubscribe: Option<Unsubscribe>,
    pub report: Option<Report>,
    /// The tag in a recipient's address, if we signed it.
    pub tag: Option<Tag>,
    /// The mail of ours that it is about, by the address that it came back to.
    pub verp: Option<Verp>,
    /// Mails of ours that it names, with their ids; the nearest first.
    pub our_mails: Vec<(String, OurMail)>,
    /// To whom a returned mail was written.
    pub returned_to: Vec<String>,
    /// Who got a copy of a returned mail.
    pub returned_cc: Vec<String>,
}

/// Reads a mail.
#[must_use]
pub fn read(mail: &[u8], settings: &Settings) -> Reading {
    let (headers, body) = Headers::read(mail);
    let parts = mime::read(mail, &headers, body);
    let subject = headers.text("subject").filter(|s| !s.is_empty());
    let forwards = subject.as_deref().is_some_and(subject::is_forward);
    let words = Words::of(&parts, forwards);
    let pictures = words.html.as_deref().map(html::pictures).unwrap_or_default();
    // Where pictures are all that a mail says, they are what it brings.
    let says = !words.new.trim().is_empty();
    let of_page =
        |file: File| File { content_id: file.content_id.clone().filter(|_| says && file.is_of(&pictures)), ..file };
    let from = address::of(&headers, "from");
    let sender = sender(&headers, &from, settings);
    let recipients = recipients(&headers);
    let details: Vec<String> = recipients.iter().filter_map(|r| address::detail(r)?.1.map(str::to_owned)).collect();
    let report = report::read(&headers, &parts, &words.text);
    let from_domain =
        from.first().and_then(|m| address::split(&m.address)).map(|(_, d)| address::ascii_domain(&d.to_lowercase()));
    let mut reading = Reading {
        kind: Kind::Message,
        automatic: false,
        auto_reply_allowed: false,
        authentication: authentication(&headers, settings, &from, sender.as_ref(), from_domain.as_deref()),
        tag: details.iter().find_map(|d| Tag::read(&settings.keys, d)),
        verp: details.iter().find_map(|d| Verp::read(&settings.keys, d)),
        our_mails: vec![],
        returned_to: returned(&parts.report, "to"),
        returned_cc: returned(&parts.report, "cc"),
        subject,
        sender,
        to: address::of(&headers, "to"),
        cc: address::of(&headers, "cc"),
        from,
        recipients,
        details,
        message_id: headers.ids("message-id").into_iter().next(),
        in_reply_to: headers.ids("in-reply-to"),
        references: headers.ids("references"),
        date: headers.all("date").take(MAX_DATES).find_map(|d| date(&shown(d))),
        text: words.text,
        new_text: words.new,
        signature: words.signature,
        forwarded: words.forwarded,
        html: words.html,
        files: parts.files.into_iter().map(of_page).collect(),
        files_left_out: parts.left_out,
        calendar: parts.calendar,
        encrypted: parts.encrypted,
        damaged: parts.damaged,
        list_id: list::id(&headers),
        unsubscribe: headers
            .text("list-unsubscribe")
            .and_then(|l| list::unsubscribe(&l, headers.text("list-unsubscribe-post").as_deref())),
        report,
    };
    reading.our_mails = our_mails(&reading, settings);
    classify(&mut reading, &headers, settings);
    reading
}

struct Words {
    text: String,
    new: String,
    signature: Option<String>,
    forwarded: Option<Forwarded>,
    html: Option<String>,
}

impl Words {
    fn of(parts: &mime::Parts, forwards: bool) -> Words {
        let page = parts.html.as_deref().map(|h| html::read(h, forwards));
        let plain = parts.text.as_deref().filter(|t| !t.trim().is_empty());
        let (text, cut, marked) = match (plain, &page) {
            (Some(text), _) => (text.to_owned(), reply::cut(text, forwards), None),
            (None, Some(page)) => (page.text.clone(), reply::cut(&page.new, forwards), page.signature.clone()),
            (None, None) => (String::new(), reply::Cut::default(), None),
        };
        Words {
            text,
            new: cut.text,
            signature: cut.signature.or(marked),
            forwarded: cut.forwarded,
            html: page.and_then(|p| p.html),
        }
    }
}

/// Who is to be answered: Reply-To, then who a list says has written, then the author.
fn sender(headers: &Headers, from: &[Mailbox], settings: &Settings) -> Option<Mailbox> {
    let usable = |m: &Mailbox| !settings.is_ours(&m.address);
    let first = |name: &str| address::of(headers, name).into_iter().find(usable);
    let author = if from.len() > 1 { first("sender").or_else(|| from.first().cloned()) } else { from.first().cloned() };
    let mut found = first("reply-to")
        .or_else(|| first("x-original-sender"))
        .or(author.clone())
        .or_else(|| first("sender"))
        .or_else(|| first("return-path"))?;
    // An answer address often comes without the name that the author has.
    if found.name.is_none() && author.as_ref().is_some_and(|a| a.canonical() == found.canonical()) {
        found.name = author.and_then(|a| a.name);
    }
    Some(found)
}

fn recipients(headers: &Headers) -> Vec<String> {
    const FIELDS: [&str; 12] = [
        "delivered-to",
        "x-original-to",
        "envelope-to",
        "x-envelope-to",
        "x-delivered-to",
        "x-real-to",
        "x-forwarded-to",
        "x-forwarded-for",
        "resent-to",
        "to",
        "cc",
        "bcc",
    ];
    let mut found: Vec<String> = vec![];
    for mailbox in FIELDS.iter().flat_map(|name| address::of(headers, name)) {
        if !found.contains(&mailbox.address) && found.len() < 500 {
            found.push(mailbox.address);
        }
    }
    found
}

fn authentication(
    headers: &Headers,
    settings: &Settings,
    from: &[Mailbox],
    sender: Option<&Mailbox>,
    domain: Option<&str>,
) -> Authentication {
    let mut found = authentication::read(headers, &settings.trusted, &settings.boundary, domain);
    let author = from.first().map(Mailbox::canonical);
    let one_author = headers.all("from").count() == 1 && from.len() == 1;
    // What was proved is the author's domain, and nothing about an answer address elsewhere.
    if found.verdict == Some(true) && !(one_author && author == sender.map(Mailbox::canonical)) {
        found.verdict = None;
    }
    found
}

/// The addresses in a field of the mail that a report returns.
fn returned(report: &[ReportPart], field: &str) -> Vec<String> {
    let headers = report.iter().filter_map(|part| match part {
        ReportPart::Returned(bytes) => Some(Headers::read(bytes).0),
        _ => None,
    });
    headers.flat_map(|h| address::of(&h, field)).map(|m| m.address).take(20).collect()
}

/// RFC 5322 dates, and those that only look like one.
fn date(text: &str) -> Option<Timestamp> {
    let text = text.split('(').next().unwrap_or(text).trim();
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let at = parser.parse_timestamp(text).ok().or_else(|| {
        // Without a weekday, with a zone that is a word, or with none.
        let words: Vec<&str> = text.split_whitespace().collect();
        let start = words.iter().position(|w| w.chars().next().is_some_and(|c| c.is_ascii_digit()))?;
        let plain = words.get(start..start + 4)?.join(" ");
        parser.parse_timestamp(format!("{plain} +0000")).ok()
    })?;
    Some(Timestamp(at.as_millisecond()))
}

fn our_mails(reading: &Reading, settings: &Settings) -> Vec<(String, OurMail)> {
    let named = reading.report.iter().flat_map(|r| &r.original_ids);
    let answered = reading.in_reply_to.iter().chain(reading.references.iter().rev());
    let own = reading.message_id.iter();
    let mut found: Vec<(String, OurMail)> = vec![];
    for id in named.chain(answered).chain(own) {
        if let Some(mail) = OurMail::read(&settings.keys, id)
            && !found.iter().any(|(known, _)| known == id)
        {
            found.push((id.clone(), mail));
        }
    }
    found
}

fn classify(reading: &mut Reading, headers: &Headers, settings: &Settings) {
    let signs = automatic::signs(headers, &settings.instance, &settings.addresses);
    let own_id = reading.message_id.as_deref().and_then(|id| OurMail::read(&settings.keys, id)).is_some();
    let from_us = !reading.from.is_empty() && reading.from.iter().all(|m| settings.is_ours(&m.address));
    let method = reading.calendar.as_ref().and_then(|c| c.method.as_deref());
    let invites = method.is_some();
    let machine_calendar = matches!(method, Some("REPLY" | "COUNTER" | "REFRESH" | "DECLINECOUNTER"));
    reading.kind = match &reading.report {
        Some(report) => of_report(report),
        None if own_id || from_us => Kind::Own,
        None if is_opt_out(reading) => Kind::OptOut,
        None if signs.auto_reply => Kind::AutoReply,
        None if signs.bulk => Kind::Bulk,
        None => Kind::Message,
    };
    // What went to many may be a person's all the same: large senders mark everything so, and so does a group that passes mail on.
    let persons = matches!(reading.kind, Kind::Message | Kind::Bulk | Kind::OptOut);
    reading.automatic = !persons || machine_calendar || signs.looping || signs.auto_reply;
    let addressed =
        reading.to.iter().chain(&reading.cc).any(|m| settings.is_ours(&m.address)) || settings.addresses.is_empty();
    reading.auto_reply_allowed =
        reading.kind == Kind::Message && !reading.automatic && !signs.no_answer && !signs.bulk && !invites && addressed;
}

fn of_report(report: &Report) -> Kind {
    match report.kind {
        report::Kind::Read => Kind::ReadReceipt,
        report::Kind::Complaint => Kind::Complaint,
        report::Kind::Delivery => {
            let arrived = |r: &report::Recipient| matches!(r.action, Action::Delivered | Action::Relayed);
            if report.recipients.iter().all(arrived) { Kind::Delivered } else { Kind::Bounce }
        }
    }
}

const LEAVE: &[&str] = &[
    "unsubscribe",
    "stop",
    "opt out",
    "opt-out",
    "optout",
    "remove",
    "abmelden",
    "abbestellen",
    "désabonner",
    "désinscription",
    "darse de baja",
    "cancelar suscripción",
    "cancella iscrizione",
    "afmelden",
    "wypisz",
];

/// It went to an address that is there for leaving.
pub(crate) fn is_to_leave(reading: &Reading) -> bool {
    let mut bases = reading.recipients.iter().filter_map(|r| address::detail(r));
    bases.any(|(base, ..)| base.eq_ignore_ascii_case("unsubscribe"))
}

/// The whole mail says one thing.
fn is_opt_out(reading: &Reading) -> bool {
    let only = |text: &str| {
        let text = text.trim().trim_end_matches(['.', '!']).to_lowercase();
        LEAVE.contains(&text.as_str())
    };
    let text = reading.new_text.trim();
    let to_leave = is_to_leave(reading);
    let says = reading.subject.as_deref().is_some_and(only);
    (to_leave && (text.is_empty() || only(text)))
        || (says && (text.is_empty() || only(text)))
        || (text.len() < 30 && only(text) && text.to_lowercase() != "remove")
}
