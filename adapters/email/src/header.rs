//! The header block of a mail: every field as it stands, whatever is wrong with its neighbours.

use crate::words;

/// The most bytes of a header block that are looked at.
const MAX_BLOCK: usize = 1024 * 1024;
/// The most fields that are looked at.
const MAX_FIELDS: usize = 2000;
/// The most Message-IDs taken from one mail's fields of a name.
const MAX_IDS: usize = 100;
const MAX_ID: usize = 512;

/// The fields of a header block, in their order.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    fields: Vec<(String, Vec<u8>)>,
}

impl Headers {
    /// Reads the block at the start of `mail`; the number is where the body begins.
    #[must_use]
    pub fn read(mail: &[u8]) -> (Headers, usize) {
        Headers::from(mail, skip_envelope_line(mail))
    }

    /// Reads a block of fields that begins with the first byte: that of a part.
    pub(crate) fn block(bytes: &[u8]) -> Headers {
        Headers::from(bytes, 0).0
    }

    /// Reads the block of a part, and says where in it the part's text begins already: no empty line stood before it.
    pub(crate) fn block_and_text(bytes: &[u8]) -> (Headers, usize) {
        Headers::from(bytes, 0)
    }

    /// The line begins a field.
    pub(crate) fn is_field(line: &[u8]) -> bool {
        split_field(trim_end(line)).is_some()
    }

    fn from(mail: &[u8], start: usize) -> (Headers, usize) {
        let mut fields: Vec<(String, Vec<u8>)> = vec![];
        let mut at = start;
        let mut open = false;
        // Lines that are no fields, and after which no field came: the body began without an empty line before it.
        let mut loose: Option<usize> = None;
        while let Some(line) = line_at(mail, at) {
            let text = trim_end(line);
            if text.is_empty() {
                return (Headers { fields }, loose.unwrap_or(at + line.len()));
            }
            let room = at < MAX_BLOCK && fields.len() < MAX_FIELDS;
            if matches!(line.first(), Some(b' ' | b'\t')) {
                if let Some((_, value)) = fields.last_mut().filter(|_| open && room) {
                    value.extend_from_slice(line);
                }
            } else if let Some((name, value)) = split_field(text) {
                open = room;
                // What a person wrote may look like a field ("Order: 12").
                if loose.is_some() && is_usual(&name) {
                    loose = None;
                }
                if room {
                    fields.push((name, [value, b"\n"].concat()));
                }
            } else if fields.is_empty() {
                // A text that has no headers at all.
                return (Headers { fields }, at);
            } else {
                open = false;
                loose = loose.or(Some(at));
            }
            at += line.len();
        }
        (Headers { fields }, loose.unwrap_or(at))
    }

    /// The values of every field of this name (lower case), as they stand.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_slice())
    }

    /// The value of the first field of this name (lower case).
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_slice())
    }

    /// The text of the first field of this name, with encoded words read and control characters gone.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.first(name).map(shown)
    }

    /// Like [`Headers::text`], in lower case; empty when there is no such field.
    #[must_use]
    pub fn word(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_lowercase()
    }

    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// Every field with its place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(n, v)| (n.as_str(), v.as_slice()))
    }

    /// The Message-IDs of every field of this name, without brackets.
    #[must_use]
    pub fn ids(&self, name: &str) -> Vec<String> {
        let mut found = vec![];
        for value in self.all(name) {
            ids(value, &mut found);
        }
        found
    }
}

/// A name that fields of mails have: those of one word, or one with a hyphen.
fn is_usual(name: &str) -> bool {
    const WORDS: [&str; 19] = [
        "from",
        "to",
        "cc",
        "bcc",
        "subject",
        "date",
        "sender",
        "received",
        "references",
        "keywords",
        "comments",
        "priority",
        "importance",
        "sensitivity",
        "organization",
        "precedence",
        "encrypted",
        "lines",
        "status",
    ];
    name.contains('-') || WORDS.contains(&name)
}

/// A header's value as people read it.
#[must_use]
pub(crate) fn shown(value: &[u8]) -> String {
    let text = words::decode(value);
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.trim().to_owned()
}

/// Where the headers begin: mail out of an mbox file has a line of the envelope before them.
pub(crate) fn skip_envelope_line(mail: &[u8]) -> usize {
    let mut at = 0;
    while let Some(line) = line_at(mail, at) {
        let is_envelope = line.starts_with(b"From ") || line.starts_with(b">From ");
        if !(line.trim_ascii().is_empty() || is_envelope) {
            break;
        }
        at += line.len();
        if is_envelope {
            break;
        }
    }
    at
}

fn line_at(mail: &[u8], at: usize) -> Option<&[u8]> {
    let rest = mail.get(at..).filter(|rest| !rest.is_empty())?;
    let end = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |i| i + 1);
    rest.get(..end)
}

fn trim_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |i| i + 1);
    line.get(..end).unwrap_or(line)
}

fn split_field(line: &[u8]) -> Option<(String, &[u8])> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = line.get(..colon)?.trim_ascii_end();
    let plain = !name.is_empty() && name.len() <= 200 && name.iter().all(|b| b.is_ascii_graphic());
    plain.then(|| (String::from_utf8_lossy(name).to_ascii_lowercase(), line.get(colon + 1..).unwrap_or_default()))
}

/// The Message-IDs in a value. Clients write comments, commas and broken ids between them.
pub(crate) fn ids(value: &[u8], found: &mut Vec<String>) {
    let text = String::from_utf8_lossy(value);
    let mut rest = text.as_ref();
    let mut bracketed = false;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((inside, tail)) = after.split_once('>') else { break };
        // `<broken <whole@example>`: the last opening counts.
        let inside = inside.rsplit('<').next().unwrap_or(inside);
        bracketed = true;
        keep(inside, found);
        rest = tail;
    }
    if !bracketed {
        for word in text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '<' | '>' | '"')) {
            if word.contains('@') {
                keep(word, found);
            }
        }
    }
}

fn keep(id: &str, found: &mut Vec<String>) {
    let id = id.trim();
    let plain = !id.is_empty() && id.len() <= MAX_ID && !id.chars().any(|c| c.is_whitespace() || c.is_control());
    let id = unquoted(id);
    if plain && id != "@" && found.len() < MAX_IDS && !found.contains(&id) {
        found.push(id);
    }
}

/// `"a.b"@x` and `a.b@x` are the same id.
fn unquoted(id: &str) -> String {
    let Some((local, domain)) = id.rsplit_once('@') else { return id.to_owned() };
    match local.strip_prefix('"').and_then(|l| l.strip_suffix('"')) {
        Some(inner) if !inner.is_empty() && !inner.contains(['"', '\\', '<', '>', '(', ')', ',', ';', ':', '@']) => {
            format!("{inner}@{domain}")
        }
        _ => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_found_among_broken_ones() {
        let mail = b"From MAILER Thu Apr 29 23:34:45 2015\nA: one\r\n two\nbroken line\n lost\nDelivered-To:x@y\nB :b\n=?: z\n\nbody: text\n";
        let (headers, body) = Headers::read(mail);
        assert_eq!(headers.text("a").unwrap(), "one two");
        assert_eq!(headers.text("delivered-to").unwrap(), "x@y");
        assert_eq!(headers.text("b").unwrap(), "b");
        assert_eq!(&mail[body..], b"body: text\n");
        let (headers, body) = Headers::read(b"just a text\nwithout headers\n");
        assert_eq!((headers.iter().count(), body), (0, 0));
        assert_eq!(Headers::read(b"").1, 0);
        assert_eq!(Headers::read(b"\n\nA: b\n\nc").1, 8);
        // No empty line before the text, which is a text all the same.
        assert_eq!(Headers::read(b"A: b\n c\nhere it is\n and more\n").1, 8);
        assert_eq!(Headers::read(b"A: b\nhere it is\n\nand more").1, 5);
        // A line of that text that looks like a field.
        for line in ["Order: 12", "https://x.example/a", "Hello: you"] {
            let mail = format!("Subject: b\nhere it is\n{line}\n\nand more");
            assert_eq!(Headers::read(mail.as_bytes()).1, 11, "{line}");
        }
        for field in ["To: x@y", "X-Mailer: z", "Content-Type: text/plain", "DATE : now"] {
            let mail = format!("Subject: b\nbroken line\n{field}\n\nbody");
            assert_eq!(&mail[Headers::read(mail.as_bytes()).1..], "body", "{field}");
        }
    }

    #[test]
    fn ids_are_found_in_any_company() {
        for (value, ids) in [
            ("<a@b> <c@d>", &["a@b", "c@d"][..]),
            ("<a@b>,\r\n\t<c@d>", &["a@b", "c@d"]),
            ("Your message of \"Mon\" <a@b> (comment)", &["a@b"]),
            ("a@b c@d", &["a@b", "c@d"]),
            ("<baz@bar.net>, <invalid.  \n  something@bar.net>", &["baz@bar.net"]),
            ("<\"01KF\"@x.y>", &["01KF@x.y"]),
            ("not-an-id", &[]),
            (" \r\n", &[]),
            ("<>", &[]),
            ("<a@b", &["a@b"]),
            ("<x <a@b>", &["a@b"]),
            ("<a@b> <a@b>", &["a@b"]),
        ] {
            let mut found = vec![];
            super::ids(value.as_bytes(), &mut found);
            assert_eq!(found, ids, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_headers_and_a_body(mail in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b':'), Just(b' '), Just(b'<'), any::<u8>()], 0..200)) {
            let (headers, body) = Headers::read(&mail);
            prop_assert!(body <= mail.len());
            for (name, value) in headers.iter() {
                prop_assert!(!shown(value).contains('\n'), "{}", name);
                super::ids(value, &mut vec![]);
            }
        }
    }
}
