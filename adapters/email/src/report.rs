//! What became of a mail of ours, as mail systems tell it: delivery reports (RFC 3464), the shapes without them, read receipts
//! (RFC 8098) and complaints (RFC 5965).

mod reason;

pub use reason::Reason;

use crate::{
    address,
    header::Headers,
    mime::{Parts, ReportPart},
};
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

/// The most recipients of one report.
const MAX_RECIPIENTS: usize = 100;

/// The most groups of fields of one report, in however many parts it says them.
const MAX_GROUPS: usize = 1000;
/// The most of them that speak of a recipient: each is searched for reasons.
const MAX_TOLD: usize = 200;
/// The most bytes of what a system says that are searched for its reasons: this is done for each recipient.
const MAX_SAID: usize = 8 * 1024;

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Delivery,
    Read,
    Complaint,
}

/// What happened to one recipient's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Failed,
    Delayed,
    Delivered,
    /// Handed on to a system, or to a list, that reports no further.
    Relayed,
}

/// One recipient of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Empty where the report does not say, or hides it.
    pub address: String,
    pub action: Action,
    /// The enhanced status code (RFC 3463), such as 5.1.1; empty where there is none.
    pub status: String,
    /// The reply code of SMTP, such as 550.
    pub code: Option<String>,
    pub reason: Reason,
    /// The address will not work tomorrow either.
    pub hard: bool,
    /// The system's own words.
    pub diagnostic: String,
}

/// A report, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub kind: Kind,
    pub recipients: Vec<Recipient>,
    /// Message-IDs that the report names as the mail's, the likeliest first.
    pub original_ids: Vec<String>,
    /// What was given as ENVID when it was sent.
    pub envelope_id: Option<String>,
    /// abuse, opt-out, fraud, not-spam, …
    pub feedback: Option<String>,
    /// The mail was shown, and not deleted unread.
    pub displayed: bool,
}

impl Report {
    fn new(kind: Kind) -> Report {
        Report { kind, recipients: vec![], original_ids: vec![], envelope_id: None, feedback: None, displayed: false }
    }
}

/// Who writes for a mail system.
pub(crate) fn is_daemon(address: &str) -> bool {
    let local = address::split(address).map_or(address, |(local, _)| local).to_ascii_lowercase();
    ["mailer-daemon", "postmaster", "mail-daemon", "mailerdaemon", "mdaemon", "mail delivery"]
        .iter()
        .any(|d| local.starts_with(d))
}

/// Reads a mail as a report; `None` when it is something else.
#[must_use]
pub fn read(headers: &Headers, parts: &Parts, text: &str) -> Option<Report> {
    let is_report = headers.word("content-type").trim_start().starts_with("multipart/report");
    let from = address::of(headers, "from");
    let back = address::of(headers, "return-path");
    let daemon = from.iter().chain(&back).any(|m| is_daemon(&m.address));
    let null = is_null_sender(headers);
    let mut found = parts
        .report
        .iter()
        .filter(|_| is_report || daemon || null)
        .find_map(|part| match part {
            ReportPart::Delivery(_) => Some(delivery(parts, text)),
            ReportPart::Disposition(text) => Some(disposition(text)),
            ReportPart::Feedback(text) => Some(feedback(text)),
            ReportPart::Returned(_) => None,
        })
        .or_else(|| notice(&from, text))
        .or_else(|| without_a_report(headers, daemon || null, daemon, is_report, text))?;
    originals(&mut found, parts, text);
    (!found.recipients.is_empty() || found.kind != Kind::Delivery).then_some(found)
}

/// The envelope sender is empty: nobody wants an answer.
pub(crate) fn is_null_sender(headers: &Headers) -> bool {
    ["return-path", "x-envelope-from", "envelope-from", "x-return-path"]
        .iter()
        .any(|name| headers.text(name).is_some_and(|v| v.replace(' ', "") == "<>"))
}

/// Groups of fields, with a blank line between them.
fn groups(text: &str) -> impl Iterator<Item = Headers> {
    let groups = text.split("\n\n").map(|group| Headers::block(group.trim_start_matches('\n').as_bytes()));
    groups.filter(|headers| headers.iter().next().is_some()).take(MAX_GROUPS)
}

/// The start of what a system says.
fn said(text: &str) -> &str {
    let mut end = text.len().min(MAX_SAID);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// What a system says in words, searched once.
struct Said {
    reason: Option<Reason>,
    code: Option<String>,
    /// As people are told it.
    start: String,
}

impl Said {
    fn of(text: &str) -> Said {
        let text = said(text);
        Said {
            reason: reason::in_words(text),
            code: code_in(text),
            start: text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect(),
        }
    }
}

fn delivery(parts: &Parts, text: &str) -> Report {
    let mut report = Report::new(Kind::Delivery);
    let told = Said::of(text);
    let statuses = parts.report.iter().filter_map(|part| match part {
        ReportPart::Delivery(status) => Some(status),
        _ => None,
    });
    let mut looked = 0;
    for group in statuses.flat_map(|status| groups(status)).take(MAX_GROUPS) {
        report.envelope_id =
            report.envelope_id.take().or_else(|| group.text("original-envelope-id").filter(|v| !v.is_empty()));
        let Some(found) = recipient(&group, &told) else { continue };
        // Some systems say the same of one recipient many times.
        if !report.recipients.contains(&found) {
            report.recipients.push(found);
        }
        looked += 1;
        if looked >= MAX_TOLD || report.recipients.len() >= MAX_RECIPIENTS {
            break;
        }
    }
    if report.recipients.is_empty() {
        // The machine's part is damaged; what it says to people is left.
        report.recipients = from_text(text, &[]);
    }
    report
}

/// `rfc822; <ann@x.org>`, with the type in any case, or without.
fn typed_address(value: &str) -> String {
    let value = value.split_once(';').map_or(value, |(_, v)| v);
    address::list(value.as_bytes()).into_iter().next().map(|m| m.address).unwrap_or_default()
}

fn recipient(group: &Headers, told: &Said) -> Option<Recipient> {
    let whose =
        ["final-recipient", "original-recipient", "x-actual-recipient"].iter().find_map(|name| group.text(name));
    if whose.is_none() && !group.has("action") {
        return None;
    }
    let original = group.text("original-recipient").map(|v| typed_address(&v)).filter(|a| !a.is_empty());
    let last = whose.map(|v| typed_address(&v)).unwrap_or_default();
    let diagnostic = group.text("diagnostic-code").unwrap_or_default();
    let diagnostic = said(diagnostic.split_once(';').map_or(diagnostic.as_str(), |(_, d)| d).trim());
    let mut status = status_in(&group.word("status")).unwrap_or_default();
    if let Some(better) =
        status_in(diagnostic).filter(|s| is_vague(&status) && (status.is_empty() || s.get(..1) == status.get(..1)))
    {
        status = better;
    }
    let class = status.chars().next();
    let action = match group.word("action").split_whitespace().next().unwrap_or_default() {
        "failed" => Action::Failed,
        "delayed" => Action::Delayed,
        "delivered" => Action::Delivered,
        "relayed" | "expanded" => Action::Relayed,
        _ => match class {
            Some('2') => Action::Delivered,
            Some('4') => Action::Delayed,
            _ => Action::Failed,
        },
    };
    let own = (!diagnostic.is_empty()).then(|| Said::of(diagnostic));
    let of_text = || told.code.clone().filter(|c| class.is_none_or(|class| c.starts_with(class)));
    let code = own.as_ref().and_then(|own| own.code.clone()).or_else(of_text);
    Some(judge(original.unwrap_or(last), action, status, code, own.as_ref().unwrap_or(told)))
}

fn is_vague(status: &str) -> bool {
    status.is_empty() || status.ends_with(".0.0") || status.ends_with(".0")
}

/// Puts the facts together.
fn judge(address: String, action: Action, status: String, code: Option<String>, told: &Said) -> Recipient {
    let reason = reason::of(action, &status, code.as_deref(), told.reason);
    let permanent = status.starts_with('5') || (status.is_empty() && code.as_ref().is_none_or(|c| c.starts_with('5')));
    let hard = action == Action::Failed && permanent && reason.is_lasting(&status);
    Recipient { address, action, status, code, reason, hard, diagnostic: told.start.clone() }
}

#[expect(clippy::expect_used, reason = "the pattern is a constant, and tests build it")]
static STATUS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[^0-9.])([245]\.\d{1,3}\.\d{1,3})(?:[^0-9.]|\.?\s|\.?$|$)").expect("a constant pattern")
});
#[expect(clippy::expect_used, reason = "the pattern is a constant, and tests build it")]
static CODE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?:^|[\s'"(:;<#])([245][0-5]\d)(?:[\s\-:#,.'")]|$)"#).expect("a constant pattern"));
#[expect(clippy::expect_used, reason = "the pattern is a constant, and tests build it")]
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[A-Za-z0-9._%+=&'/~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+").expect("a constant pattern")
});

fn status_in(text: &str) -> Option<String> {
    STATUS.captures(text).and_then(|c| c.get(1)).map(|m| m.as_str().to_owned())
}

fn code_in(text: &str) -> Option<String> {
    CODE.captures(text).and_then(|c| c.get(1)).map(|m| m.as_str().to_owned())
}

fn disposition(text: &str) -> Report {
    let mut report = Report::new(Kind::Read);
    for group in groups(text) {
        let how = group.word("disposition");
        report.displayed |= how.contains("displayed") || how.contains("processed") || how.contains("dispatched");
        report.original_ids.extend(group.ids("original-message-id"));
    }
    report
}

fn feedback(text: &str) -> Report {
    let mut report = Report::new(Kind::Complaint);
    for group in groups(text) {
        report.feedback = report.feedback.take().or_else(|| group.text("feedback-type").map(|f| f.to_lowercase()));
        report.envelope_id = report.envelope_id.take().or_else(|| group.text("original-envelope-id"));
        let whose: Vec<String> = ["original-rcpt-to", "removal-recipient"]
            .iter()
            .flat_map(|n| address::of(&group, n))
            .map(|m| m.address)
            .collect();
        for address in whose {
            if !report.recipients.iter().any(|r| r.address == address) && report.recipients.len() < MAX_RECIPIENTS {
                report.recipients.push(judge(address, Action::Delivered, String::new(), None, &Said::of("")));
            }
        }
    }
    report
}

/// Notices as JSON, which SES sends by mail through SNS.
fn notice(from: &[address::Mailbox], text: &str) -> Option<Report> {
    let from_sns = from.iter().any(|m| m.address.to_ascii_lowercase().ends_with("@sns.amazonaws.com"));
    let start = text.find('{').filter(|_| from_sns)?;
    let mut values = serde_json::Deserializer::from_str(text.get(start..)?).into_iter::<Value>();
    let mut value = values.next()?.ok()?;
    // SNS wraps it up once more, unless it is told not to.
    if let Some(inner) = at(&value, "/Message").as_str().and_then(|m| serde_json::from_str(m).ok()) {
        value = inner;
    }
    let kind = at(&value, "/notificationType").as_str().or_else(|| at(&value, "/eventType").as_str())?;
    let complaint = kind == "Complaint";
    let mut report = Report::new(if complaint { Kind::Complaint } else { Kind::Delivery });
    let (list, action) = match kind {
        "Delivery" => ("/delivery/recipients", Action::Delivered),
        "Bounce" => ("/bounce/bouncedRecipients", Action::Failed),
        "Complaint" => ("/complaint/complainedRecipients", Action::Delivered),
        "DeliveryDelay" => ("/deliveryDelay/delayedRecipients", Action::Delayed),
        _ => return None,
    };
    let feedback = at(&value, "/complaint/complaintFeedbackType").as_str().unwrap_or("abuse");
    report.feedback = complaint.then(|| feedback.to_lowercase());
    for one in at(&value, list).as_array()?.iter().take(MAX_RECIPIENTS) {
        let address = one.as_str().or_else(|| at(one, "/emailAddress").as_str()).unwrap_or_default();
        let taken = at(&value, "/delivery/smtpResponse").as_str();
        let told = said(at(one, "/diagnosticCode").as_str().or(taken).unwrap_or_default());
        let said = Said::of(told);
        let status = at(one, "/status").as_str().map(str::to_owned).or_else(|| status_in(told)).unwrap_or_default();
        report.recipients.push(judge(address.to_owned(), action, status, said.code.clone(), &said));
    }
    let named = at(&value, "/mail/headers").as_array().into_iter().flatten();
    for header in named.filter(|h| at(h, "/name").as_str().is_some_and(|n| n.eq_ignore_ascii_case("message-id"))) {
        crate::header::ids(at(header, "/value").as_str().unwrap_or_default().as_bytes(), &mut report.original_ids);
    }
    Some(report)
}

/// The value at a pointer, or null.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// What begins the copy of the mail that came back.
const COPIES: [&str; 14] = [
    "--- below this line is a copy",
    "------ this is a copy of the message",
    "this is a copy of the message",
    "original message follows",
    "original message headers:",
    "----- original message -----",
    "----- message header follows",
    "--- the header of the original",
    "---------- original message",
    "unsent message follows",
    "----- unsent message",
    "your original message",
    "--- enclosed are the original headers",
    "------- original message -------",
];

/// qmail, Exim, Exchange, old and home-made systems: words for people only.
fn without_a_report(headers: &Headers, system: bool, daemon: bool, is_report: bool, text: &str) -> Option<Report> {
    let failed: Vec<String> = address::of(headers, "x-failed-recipients").into_iter().map(|m| m.address).collect();
    let subject = headers.word("subject");
    let says_so = reason::is_failure_notice(&subject, text);
    let sure = !failed.is_empty() || (system && says_so) || (is_report && says_so);
    // A machine that answers an empty envelope sender with a word about absence is no bounce.
    if !sure || (!daemon && failed.is_empty() && !is_report && reason::is_absence(&subject)) {
        return None;
    }
    let mut report = Report::new(Kind::Delivery);
    report.recipients = from_text(text, &failed);
    Some(report)
}

fn from_text(text: &str, failed: &[String]) -> Vec<Recipient> {
    let lower = text.to_lowercase();
    let end = COPIES.iter().filter_map(|c| lower.find(c)).min().unwrap_or(text.len());
    let told = text.get(..end).unwrap_or(text);
    let mut addresses = failed.to_vec();
    if addresses.is_empty() {
        addresses = in_angles(told);
    }
    if addresses.is_empty() {
        // Exchange names the way before the address.
        let bare = |found: &str| found.strip_prefix("SMTP=").unwrap_or(found).to_owned();
        addresses.extend(ADDRESS.find_iter(told).take(1).map(|m| bare(m.as_str())));
    }
    let delayed = reason::is_delay(&told.to_lowercase());
    // What did not arrive has no status of success; a program's version looks like one.
    let status = status_in(told).filter(|s| !s.starts_with('2')).unwrap_or_default();
    let code = code_in(told);
    let action = if delayed && !status.starts_with('5') { Action::Delayed } else { Action::Failed };
    if addresses.is_empty() {
        addresses.push(String::new());
    }
    // Of all of them the same was said.
    let one = judge(String::new(), action, status, code, &Said::of(told));
    addresses.into_iter().take(MAX_RECIPIENTS).map(|address| Recipient { address, ..one.clone() }).collect()
}

/// `<ann@x.org>:` at the start of a line.
fn in_angles(text: &str) -> Vec<String> {
    let mut found: Vec<String> = vec![];
    for line in text.lines() {
        if found.len() >= MAX_RECIPIENTS {
            break;
        }
        let Some((inside, after)) = line.trim().strip_prefix('<').and_then(|l| l.split_once('>')) else { continue };
        let is_entry = after.trim_start().is_empty() || after.trim_start().starts_with([':', '(', '.']);
        if is_entry && !inside.contains(':') && address::split(inside).is_some() && !found.iter().any(|f| f == inside) {
            found.push(inside.to_owned());
        }
    }
    found
}

/// Every Message-ID that may be the mail's.
fn originals(report: &mut Report, parts: &Parts, text: &str) {
    for part in &parts.report {
        if let ReportPart::Returned(bytes) = part {
            report.original_ids.extend(Headers::read(bytes).0.ids("message-id"));
        }
    }
    for line in text.lines() {
        let line = line.trim().trim_start_matches('>').trim();
        if line.len() > 11 && line.get(..11).is_some_and(|l| l.eq_ignore_ascii_case("message-id:")) {
            crate::header::ids(line.get(11..).unwrap_or_default().as_bytes(), &mut report.original_ids);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    report.original_ids.retain(|id| seen.insert(id.clone()));
    report.original_ids.truncate(MAX_RECIPIENTS);
}
