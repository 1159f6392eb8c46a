//! The parts of a mail: its text, its page, its files, and the parts that machines write.

use crate::{
    charset, file_name, flowed,
    header::Headers,
    html,
    params::Params,
    structure::{self, Part, Structure},
    tnef,
    transfer::Transfer,
};
use std::borrow::Cow;
use std::collections::HashSet;

/// The most files of one mail. An envelope holds a hundred, and two are for the text and the page where they are too long for it.
pub const MAX_FILES: usize = 98;
/// The most bytes of one part's text.
const MAX_TEXT: usize = 1024 * 1024;
/// The most bytes of the texts of all parts together, and of their pages.
const MAX_TEXTS: usize = 2 * MAX_TEXT;

/// A file of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Safe to be a file's name anywhere.
    pub name: String,
    pub mime: String,
    pub bytes: Vec<u8>,
    /// By what a page can show it.
    pub content_id: Option<String>,
}

impl File {
    /// A picture that the page shows where it stands. Whatever else it names stays a file: it would be seen by nobody.
    pub(crate) fn is_of(&self, page: &HashSet<String>) -> bool {
        self.mime.starts_with("image/") && self.content_id.as_ref().is_some_and(|id| page.contains(id))
    }
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
    let mut walk = Walk { parts: Parts::default(), report: false };
    if headers.iter().next().is_some() {
        let structure = structure::read(mail, headers, body);
        walk.parts.damaged = structure.damaged;
        let kind = headers.first("content-type").map(Params::read).unwrap_or_default();
        walk.report = kind.value == "multipart/report";
        let pieces = walk.part(&structure, 0, 0, "");
        walk.finish(pieces);
    } else {
        let flat = mail.get(body..).unwrap_or_default();
        walk.parts.damaged = !flat.is_empty();
        walk.parts.text = Some(charset::unlabelled(flat.get(..flat.len().min(MAX_TEXT)).unwrap_or(flat)));
    }
    if let Some(text) = &walk.parts.text
        && text.contains("-----BEGIN PGP MESSAGE-----")
    {
        walk.parts.encrypted = true;
    }
    walk.parts
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
    report: bool,
}

struct Leaf<'a> {
    part: &'a Part<'a>,
    /// The type, or what a part without one is.
    kind: String,
}

impl<'a> Leaf<'a> {
    fn of(part: &'a Part<'a>, parent: &str) -> Leaf<'a> {
        let default = if parent == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        let named = part.head.kind.value.as_str();
        Leaf { part, kind: if named.contains('/') { named } else { default }.to_owned() }
    }

    fn bytes(&self) -> Vec<u8> {
        let bytes = self.part.head.transfer.decode(self.part.body);
        if bytes.is_empty() { self.part.body.to_vec() } else { bytes }
    }

    fn name(&self) -> Option<String> {
        let named = |params: &Params, name: &str| params.get(name).map(str::to_owned).filter(|n| !n.trim().is_empty());
        let head = &self.part.head;
        named(&head.disposition, "filename")
            .or_else(|| named(&head.kind, "name"))
            .or_else(|| named(&head.disposition, "name"))
    }

    fn is_attachment(&self) -> bool {
        self.part.head.disposition.value == "attachment"
    }

    /// A text of a type that nobody knows, or a multipart in which no part was found.
    fn is_other_text(&self) -> bool {
        (self.kind.starts_with("text/") && self.kind != "text/calendar") || self.kind.starts_with("multipart/")
    }

    fn text(&self) -> String {
        let head = &self.part.head;
        let bytes = head.transfer.decode(self.part.body);
        let bytes = bytes.get(..bytes.len().min(MAX_TEXT)).unwrap_or_default();
        let is_page = self.kind == "text/html";
        let said = is_page.then(|| meta_charset(bytes)).flatten();
        let label = head.kind.get("charset").map(str::to_owned).or(said);
        let text = charset::decode(label.as_deref(), bytes);
        let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "");
        if !is_page && head.kind.get("format").is_some_and(|f| f.eq_ignore_ascii_case("flowed")) {
            let delsp = head.kind.get("delsp").is_some_and(|d| d.eq_ignore_ascii_case("yes"));
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
    /// What is shown of a part and of what is inside. As deep as multiparts are, which is bounded.
    fn part(&mut self, structure: &Structure<'_>, id: usize, depth: usize, parent: &str) -> Vec<Piece> {
        let Some(part) = structure.parts.get(id) else { return vec![] };
        let leaf = Leaf::of(part, parent);
        if part.children.is_empty() {
            return self.leaf(&leaf, depth, parent);
        }
        if leaf.kind == "multipart/encrypted" {
            self.parts.encrypted = true;
        }
        let pieces: Vec<Vec<Piece>> =
            part.children.iter().map(|child| self.part(structure, *child, depth + 1, &leaf.kind)).collect();
        if leaf.kind == "multipart/alternative" { alternative(pieces) } else { pieces.into_iter().flatten().collect() }
    }

    fn leaf(&mut self, leaf: &Leaf<'_>, depth: usize, parent: &str) -> Vec<Piece> {
        let kind = leaf.kind.as_str();
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
            "text/plain" if shown && leaf.part.head.transfer != Transfer::Uuencode => vec![Piece::Plain(leaf.text())],
            "text/html" if shown => vec![Piece::Page(leaf.text())],
            // A type that nobody knows is still a text, when it is all that there is.
            _ if depth == 0 && shown && leaf.is_other_text() => vec![Piece::Plain(leaf.text())],
            _ => {
                self.file(leaf, name);
                vec![]
            }
        }
    }

    fn file(&mut self, leaf: &Leaf<'_>, name: Option<String>) {
        let kind = &leaf.kind;
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
        let content_id = leaf.part.head.content_id.clone();
        self.keep(File { name: name.unwrap_or_default(), mime: kind.clone(), bytes, content_id });
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
        let method =
            leaf.part.head.kind.get("method").map(str::to_owned).or_else(|| value("METHOD")).map(|m| m.to_uppercase());
        let known = self.parts.calendar.get_or_insert_with(Calendar::default);
        known.method = known.method.take().or(method);
        known.uid = known.uid.take().or_else(|| value("UID"));
    }

    fn winmail(&mut self, leaf: &Leaf<'_>) -> Vec<Piece> {
        let bytes = leaf.bytes();
        let Some(inside) = tnef::read(&bytes) else {
            let (name, mime) = ("winmail.dat".into(), "application/ms-tnef".into());
            self.keep(File { name, mime, bytes, content_id: None });
            return vec![];
        };
        for file in inside.files {
            let mime = file.mime.unwrap_or_else(|| "application/octet-stream".into());
            self.keep(File { name: file.name, mime, bytes: file.bytes, content_id: None });
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
            self.parts.html = Some(joined(pieces.iter().map(|p| match p {
                Piece::Plain(text) => Cow::Owned(html::from_text(text)),
                Piece::Page(page) | Piece::Both(_, page) => Cow::Borrowed(page.as_str()),
            })));
        }
        if !pieces.iter().any(|p| matches!(p, Piece::Page(_))) {
            self.parts.text = Some(joined(pieces.iter().map(|p| match p {
                Piece::Plain(text) | Piece::Both(text, _) | Piece::Page(text) => Cow::Borrowed(text.as_str()),
            })));
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
            self.parts.text = Some(joined(told.into_iter().map(Cow::Borrowed)));
        }
        let empty = self.parts.html.is_none() && self.parts.text.as_ref().is_none_or(|t| t.trim().is_empty());
        if let [file] = self.parts.files.as_slice()
            && empty
            && file.mime.starts_with("text/")
            && file.name.starts_with("file-")
        {
            let bytes = file.bytes.get(..MAX_TEXT).unwrap_or(&file.bytes);
            self.parts.text = Some(charset::unlabelled(bytes));
        }
    }
}

/// The forms of one content: one plain text and one page.
fn alternative(forms: Vec<Vec<Piece>>) -> Vec<Piece> {
    let is_page = |form: &Vec<Piece>| form.iter().any(|p| !matches!(p, Piece::Plain(_)));
    let plain: Option<String> = forms
        .iter()
        .filter(|form| !form.is_empty() && !is_page(form))
        .map(|form| joined(form.iter().map(|p| if let Piece::Plain(t) = p { t.as_str() } else { "" }.into())))
        .find(|text| !text.trim().is_empty());
    // The last form is the richest one.
    let page = forms.iter().rfind(|form| is_page(form)).map(|form| {
        joined(form.iter().map(|p| match p {
            Piece::Plain(text) => Cow::Owned(html::from_text(text)),
            Piece::Page(page) | Piece::Both(_, page) => Cow::Borrowed(page.as_str()),
        }))
    });
    match (plain, page) {
        (Some(plain), Some(page)) => vec![Piece::Both(plain, page)],
        (Some(plain), None) => vec![Piece::Plain(plain)],
        (None, Some(page)) => vec![Piece::Page(page)],
        (None, None) => vec![],
    }
}

/// One below the other, up to [`MAX_TEXTS`]: a thousand texts of a mebibyte are more than anybody reads.
fn joined<'a>(texts: impl Iterator<Item = Cow<'a, str>>) -> String {
    let mut out = String::new();
    for (i, text) in texts.enumerate() {
        let mut end = text.len().min(MAX_TEXTS.saturating_sub(out.len()));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        if i > 0 {
            out.push('\n');
        }
        out.push_str(text.get(..end).unwrap_or_default());
        if end < text.len() {
            break;
        }
    }
    out
}
