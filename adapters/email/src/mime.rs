//! The parts of a mail: its text, its page, its files, and the parts that machines write.

use crate::{
    charset, file_name, flowed,
    header::{self, Headers},
    html,
    params::Params,
    tnef,
    transfer::Transfer,
    words,
};
use mail_parser::{HeaderName, Message, MessageParser, MessagePart, PartType};

/// The most files of one mail; an envelope holds no more.
pub const MAX_FILES: usize = 100;
/// The most parts that are looked at.
const MAX_PARTS: usize = 1000;
/// Mails inside of mails, and lists of them, are followed as long as there are no more.
const MAX_NESTED: usize = 100;
/// The most bytes of one part's text.
const MAX_TEXT: usize = 1024 * 1024;
const MAX_DEPTH: usize = 50;

/// A file of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Safe to be a file's name anywhere.
    pub name: String,
    pub mime: String,
    pub bytes: Vec<u8>,
    /// What the page calls it by, as `cid:`.
    pub content_id: Option<String>,
    /// It is shown in the page, and no attachment.
    pub inline: bool,
}

/// An invitation or an answer to one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// REQUEST, CANCEL, REPLY, COUNTER, …; in upper case.
    pub method: Option<String>,
    pub uid: Option<String>,
}

/// A part of a report (RFC 6522).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportPart {
    /// message/delivery-status
    Delivery(String),
    /// message/disposition-notification
    Disposition(String),
    /// message/feedback-report
    Feedback(String),
    /// The mail, or the headers of the mail, that the report is about.
    Returned(Vec<u8>),
}

/// A mail, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// What is read as plain text; `None` when there is only a page.
    pub text: Option<String>,
    /// The page as it came, to be made safe.
    pub html: Option<String>,
    pub files: Vec<File>,
    /// Files beyond [`MAX_FILES`].
    pub left_out: usize,
    pub calendar: Option<Calendar>,
    pub report: Vec<ReportPart>,
    /// It cannot be read here.
    pub encrypted: bool,
    /// The structure is not what the headers say.
    pub damaged: bool,
}

/// Takes a mail apart. `headers` and `body` are what [`Headers::read`] says of it.
#[must_use]
pub fn read(mail: &[u8], headers: &Headers, body: usize) -> Parts {
    let start = header::skip_envelope_line(mail);
    let mail_from = mail.get(start..).unwrap_or_default();
    let parsed = (nested(mail_from) <= MAX_NESTED).then(|| MessageParser::new().parse(mail_from)).flatten();
    let mut walk = Walk { parts: Parts::default(), count: 0, report: false };
    let flat = mail.get(body..).unwrap_or_default();
    match parsed.filter(|m| !m.parts.is_empty() && headers.iter().next().is_some()) {
        Some(message) => {
            let kind = kind_of(headers.first("content-type"));
            walk.report = kind.value == "multipart/report";
            let pieces = walk.part(&message, mail_from, 0, 0, "");
            walk.finish(pieces);
        }
        None => {
            walk.parts.damaged = !flat.is_empty();
            walk.parts.text = Some(charset::unlabelled(flat.get(..flat.len().min(MAX_TEXT)).unwrap_or(flat)));
        }
    }
    if let Some(text) = &walk.parts.text
        && text.contains("-----BEGIN PGP MESSAGE-----")
    {
        walk.parts.encrypted = true;
    }
    walk.parts
}

/// How many mails may be inside of this one. A mail of nothing but mails inside of mails would need a stack as deep.
fn nested(mail: &[u8]) -> usize {
    let mut count = 0;
    let mut at = 0;
    while let Some(found) = find_ignoring_case(mail.get(at..).unwrap_or_default(), b"content-type") {
        let from = at + found + b"content-type".len();
        let rest = mail.get(from..).unwrap_or_default();
        let mut end = 0;
        // To the end of the folded field.
        while let Some(i) = rest.get(end..).and_then(|r| r.iter().position(|b| *b == b'\n')) {
            end += i + 1;
            if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let end = if end == 0 { rest.len() } else { end };
        let value = rest.get(..end).unwrap_or_default();
        count +=
            usize::from([&b"rfc822"[..], b"global", b"digest"].iter().any(|w| find_ignoring_case(value, w).is_some()));
        at = from + end;
    }
    count
}

fn find_ignoring_case(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w.eq_ignore_ascii_case(needle))
}

fn kind_of(value: Option<&[u8]>) -> Params {
    value.map(Params::read).unwrap_or_default()
}

/// What a reader shows at one place.
#[derive(Clone, Debug)]
enum Piece {
    Plain(String),
    Page(String),
    /// The same in both forms.
    Both(String, String),
}

struct Walk {
    parts: Parts,
    count: usize,
    report: bool,
}

struct Leaf<'a> {
    part: &'a MessagePart<'a>,
    /// The bytes that the part's offsets count in.
    raw: &'a [u8],
    kind: Params,
    disposition: Params,
}

impl<'a> Leaf<'a> {
    fn of(part: &'a MessagePart<'a>, raw: &'a [u8], default: &str) -> Leaf<'a> {
        let mut leaf = Leaf { part, raw, kind: Params::default(), disposition: Params::default() };
        leaf.kind = kind_of(leaf.field(&HeaderName::ContentType));
        if !leaf.kind.value.contains('/') {
            leaf.kind.value = default.into();
        }
        leaf.disposition = kind_of(leaf.field(&HeaderName::ContentDisposition));
        leaf
    }

    fn field(&self, name: &HeaderName<'_>) -> Option<&'a [u8]> {
        let header = self.part.headers.iter().find(|h| h.name == *name)?;
        self.raw.get(usize::try_from(header.offset_start).ok()?..usize::try_from(header.offset_end).ok()?)
    }

    fn body(&self) -> &'a [u8] {
        let (start, end) = (usize::try_from(self.part.offset_body), usize::try_from(self.part.offset_end));
        match (start, end) {
            (Ok(start), Ok(end)) => self.raw.get(start..end.min(self.raw.len())).unwrap_or_default(),
            _ => &[],
        }
    }

    fn transfer(&self) -> Transfer {
        self.field(&HeaderName::ContentTransferEncoding)
            .map_or(Transfer::Plain, |value| Transfer::named(&String::from_utf8_lossy(value)))
    }

    fn bytes(&self) -> Vec<u8> {
        let bytes = self.transfer().decode(self.body());
        if bytes.is_empty() { self.part.contents().to_vec() } else { bytes }
    }

    fn name(&self) -> Option<String> {
        let named = |params: &Params, name: &str| params.get(name).map(str::to_owned).filter(|n| !n.trim().is_empty());
        named(&self.disposition, "filename")
            .or_else(|| named(&self.kind, "name"))
            .or_else(|| named(&self.disposition, "name"))
    }

    fn is_attachment(&self) -> bool {
        self.disposition.value == "attachment"
    }

    fn text(&self) -> String {
        let bytes = self.transfer().decode(self.body());
        let bytes = bytes.get(..bytes.len().min(MAX_TEXT)).unwrap_or_default();
        let is_page = self.kind.value == "text/html";
        let said = is_page.then(|| meta_charset(bytes)).flatten();
        let label = self.kind.get("charset").map(str::to_owned).or(said);
        let text = charset::decode(label.as_deref(), bytes);
        let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "");
        if !is_page && self.kind.get("format").is_some_and(|f| f.eq_ignore_ascii_case("flowed")) {
            let delsp = self.kind.get("delsp").is_some_and(|d| d.eq_ignore_ascii_case("yes"));
            return flowed::unflow(&text, delsp);
        }
        text
    }
}

/// A page that says its own charset.
fn meta_charset(page: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(page.get(..page.len().min(1024))?).to_ascii_lowercase();
    let (_, after) = head.split_once("charset=")?;
    let label: String = after
        .trim_start_matches(['"', '\'', ' '])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
        .collect();
    // What could be read so far in one byte a letter is not in two.
    (!label.is_empty() && !label.starts_with("utf-16")).then_some(label)
}

impl Walk {
    fn part(&mut self, message: &Message<'_>, raw: &[u8], id: u32, depth: usize, parent: &str) -> Vec<Piece> {
        self.count += 1;
        let Some(part) = message.part(id).filter(|_| self.count <= MAX_PARTS && depth <= MAX_DEPTH) else {
            self.parts.damaged = true;
            return vec![];
        };
        let default = if parent == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        let leaf = Leaf::of(part, raw, default);
        if let PartType::Multipart(children) = &part.body {
            let kind = leaf.kind.value.clone();
            if kind == "multipart/encrypted" {
                self.parts.encrypted = true;
            }
            let pieces: Vec<Vec<Piece>> =
                children.iter().map(|child| self.part(message, raw, *child, depth + 1, &kind)).collect();
            return if kind == "multipart/alternative" {
                alternative(pieces)
            } else {
                pieces.into_iter().flatten().collect()
            };
        }
        self.leaf(&leaf, depth, parent)
    }

    fn leaf(&mut self, leaf: &Leaf<'_>, depth: usize, parent: &str) -> Vec<Piece> {
        let kind = leaf.kind.value.as_str();
        self.parts.damaged |= leaf.part.is_encoding_problem;
        match kind {
            "message/delivery-status" | "message/global-delivery-status" => {
                self.parts.report.push(ReportPart::Delivery(leaf.text()));
                return vec![];
            }
            "message/disposition-notification" | "message/global-disposition-notification" => {
                self.parts.report.push(ReportPart::Disposition(leaf.text()));
                return vec![];
            }
            "message/feedback-report" => {
                self.parts.report.push(ReportPart::Feedback(leaf.text()));
                return vec![];
            }
            "text/rfc822-headers" | "message/global-headers" => {
                self.parts.report.push(ReportPart::Returned(leaf.bytes()));
                return vec![];
            }
            "application/pgp-encrypted" | "application/pkcs7-mime" | "application/x-pkcs7-mime" => {
                self.parts.encrypted = true;
            }
            "application/ms-tnef" | "application/vnd.ms-tnef" => return self.winmail(leaf),
            "text/calendar" | "application/ics" => self.calendar(leaf),
            _ => {}
        }
        let name = leaf.name();
        if kind != "text/calendar" && name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case("winmail.dat")) {
            return self.winmail(leaf);
        }
        let shown = !leaf.is_attachment() && (name.is_none() || depth == 0 || parent == "multipart/alternative");
        match kind {
            "text/plain" if shown && leaf.transfer() != Transfer::Uuencode => vec![Piece::Plain(leaf.text())],
            "text/html" if shown => vec![Piece::Page(leaf.text())],
            // A type that nobody knows is still a text, when it is all that there is.
            _ if depth == 0
                && shown
                && matches!(leaf.part.body, PartType::Text(_))
                && !kind.starts_with("message/")
                && kind != "text/calendar" =>
            {
                vec![Piece::Plain(leaf.text())]
            }
            _ => {
                self.file(leaf, name);
                vec![]
            }
        }
    }

    fn file(&mut self, leaf: &Leaf<'_>, name: Option<String>) {
        let kind = &leaf.kind.value;
        let is_mail = matches!(kind.as_str(), "message/rfc822" | "message/global");
        let bytes = leaf.bytes();
        if is_mail && self.report {
            self.parts.report.push(ReportPart::Returned(bytes.clone()));
        }
        let name = name.or_else(|| {
            is_mail
                .then(|| Headers::read(&bytes).0.text("subject").filter(|s| !s.is_empty()))
                .flatten()
                .map(|s| s + ".eml")
        });
        let content_id = leaf
            .field(&HeaderName::ContentId)
            .map(|v| words::decode(v).trim().trim_matches(['<', '>']).to_owned())
            .filter(|c| !c.is_empty());
        let inline = content_id.is_some() && !leaf.is_attachment() && kind.starts_with("image/");
        self.keep(File { name: name.unwrap_or_default(), mime: kind.clone(), bytes, content_id, inline });
    }

    fn keep(&mut self, mut file: File) {
        if self.parts.files.len() >= MAX_FILES {
            self.parts.left_out += 1;
            return;
        }
        let plain = |m: &str| m.len() <= 100 && m.contains('/') && m.bytes().all(|b| b.is_ascii_graphic());
        if !plain(&file.mime) {
            file.mime = "application/octet-stream".into();
        }
        file.name = file_name::safe(&file.name, self.parts.files.len() + 1, &file.mime);
        self.parts.files.push(file);
    }

    fn calendar(&mut self, leaf: &Leaf<'_>) {
        let text = leaf.text();
        let unfolded = text.replace("\n ", "").replace("\n\t", "");
        let value = |name: &str| {
            unfolded.lines().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field
                    .split(';')
                    .next()?
                    .trim()
                    .eq_ignore_ascii_case(name)
                    .then(|| value.trim().chars().take(200).collect::<String>())
            })
        };
        let method = leaf.kind.get("method").map(str::to_owned).or_else(|| value("METHOD")).map(|m| m.to_uppercase());
        let known = self.parts.calendar.get_or_insert_with(Calendar::default);
        known.method = known.method.take().or(method);
        known.uid = known.uid.take().or_else(|| value("UID"));
    }

    fn winmail(&mut self, leaf: &Leaf<'_>) -> Vec<Piece> {
        let bytes = leaf.bytes();
        let Some(inside) = tnef::read(&bytes) else {
            self.keep(File {
                name: "winmail.dat".into(),
                mime: "application/ms-tnef".into(),
                bytes,
                content_id: None,
                inline: false,
            });
            return vec![];
        };
        for file in inside.files {
            let mime = file.mime.unwrap_or_else(|| "application/octet-stream".into());
            self.keep(File { name: file.name, mime, bytes: file.bytes, content_id: None, inline: false });
        }
        match (inside.text, inside.html) {
            (Some(text), Some(html)) => vec![Piece::Both(text, html)],
            (Some(text), None) => vec![Piece::Plain(text)],
            (None, Some(html)) => vec![Piece::Page(html)],
            (None, None) => vec![],
        }
    }

    fn finish(&mut self, pieces: Vec<Piece>) {
        // The text beside a winmail.dat, or an empty line before a page, says nothing that the page does not say.
        let says = |p: &Piece| match p {
            Piece::Plain(text) => !text.trim().is_empty(),
            Piece::Page(_) | Piece::Both(..) => true,
        };
        let pieces: Vec<Piece> = pieces.into_iter().filter(says).collect();
        let has_page = pieces.iter().any(|p| matches!(p, Piece::Page(_) | Piece::Both(..)));
        if has_page {
            self.parts.html = Some(
                pieces
                    .iter()
                    .map(|p| match p {
                        Piece::Plain(text) => html::from_text(text),
                        Piece::Page(page) | Piece::Both(_, page) => page.clone(),
                    })
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
        }
        if !pieces.iter().any(|p| matches!(p, Piece::Page(_))) {
            let texts = pieces.into_iter().map(|p| match p {
                Piece::Plain(text) | Piece::Both(text, _) | Piece::Page(text) => text,
            });
            let texts: Vec<String> = texts.collect();
            self.parts.text = Some(texts.join("\n"));
        }
        self.text_without_a_body();
    }

    /// A mail that is nothing but an unnamed text of a type that is not shown.
    fn text_without_a_body(&mut self) {
        // A report whose words for people stand in the machine's part.
        let told: Vec<&str> = self
            .parts
            .report
            .iter()
            .filter_map(|p| if let ReportPart::Delivery(t) = p { Some(t.as_str()) } else { None })
            .collect();
        if self.parts.html.is_none() && self.parts.text.as_ref().is_none_or(|t| t.trim().is_empty()) && !told.is_empty()
        {
            self.parts.text = Some(told.join("\n"));
        }
        let empty = self.parts.html.is_none() && self.parts.text.as_ref().is_none_or(|t| t.trim().is_empty());
        if let [file] = self.parts.files.as_slice()
            && empty
            && file.mime.starts_with("text/")
            && file.name.starts_with("file-")
        {
            self.parts.text = Some(charset::unlabelled(&file.bytes));
        }
    }
}

/// The forms of one content: one plain text and one page.
fn alternative(forms: Vec<Vec<Piece>>) -> Vec<Piece> {
    let is_page = |form: &Vec<Piece>| form.iter().any(|p| !matches!(p, Piece::Plain(_)));
    let plain: Option<String> = forms
        .iter()
        .filter(|form| !form.is_empty() && !is_page(form))
        .map(|form| {
            form.iter().map(|p| if let Piece::Plain(t) = p { t.as_str() } else { "" }).collect::<Vec<_>>().join("\n")
        })
        .find(|text| !text.trim().is_empty());
    // The last form is the richest one.
    let page = forms.iter().rfind(|form| is_page(form)).map(|form| {
        let pages = form.iter().map(|p| match p {
            Piece::Plain(text) => html::from_text(text),
            Piece::Page(page) | Piece::Both(_, page) => page.clone(),
        });
        pages.collect::<Vec<_>>().join("\n")
    });
    match (plain, page) {
        (Some(plain), Some(page)) => vec![Piece::Both(plain, page)],
        (Some(plain), None) => vec![Piece::Plain(plain)],
        (None, Some(page)) => vec![Piece::Page(page)],
        (None, None) => vec![],
    }
}
