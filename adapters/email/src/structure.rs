//! Where the parts of a mail begin and end (RFC 2046 §5.1): one pass over its lines, whatever they hold.
//!
//! The work is linear in the mail and the memory is bounded by [`MAX_PARTS`]. A mail inside of a mail is one part: nothing here or
//! behind it looks into one, so there is no depth but that of multiparts, which is [`MAX_DEPTH`].

use crate::{header::Headers, params::Params, transfer::Transfer};

/// The most parts of one mail; what comes after them is left out.
pub(crate) const MAX_PARTS: usize = 1000;
/// Multiparts inside of multiparts; a deeper one is one part.
pub(crate) const MAX_DEPTH: usize = 50;
/// The longest boundary that is looked for, in bytes; RFC 2046 allows 70.
const MAX_BOUNDARY: usize = 1000;
/// The most bytes of a part's id.
const MAX_ID: usize = 500;

/// What the header block of a part says about it.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub kind: Params,
    pub disposition: Params,
    pub transfer: Transfer,
    /// Without its brackets.
    pub content_id: Option<String>,
}

impl Head {
    fn of(headers: &Headers) -> Head {
        let params = |name: &str| headers.first(name).map(Params::read).unwrap_or_default();
        let transfer = headers.first("content-transfer-encoding");
        let trimmed = |value: &[u8]| {
            let text = String::from_utf8_lossy(value);
            text.trim().trim_start_matches('<').trim_end_matches('>').trim().to_owned()
        };
        Head {
            kind: params("content-type"),
            disposition: params("content-disposition"),
            transfer: transfer.map_or(Transfer::Plain, |value| Transfer::named(&String::from_utf8_lossy(value))),
            content_id: headers.first("content-id").map(trimmed).filter(|id| (1..=MAX_ID).contains(&id.len())),
        }
    }

    /// The boundary of the parts inside, if it is a multipart that can have some.
    fn boundary(&self) -> Option<&[u8]> {
        let boundary = self.kind.get("boundary").filter(|_| self.kind.value.starts_with("multipart/"))?;
        (1..=MAX_BOUNDARY).contains(&boundary.len()).then_some(boundary.as_bytes())
    }
}

/// A part. One with children is a multipart; a multipart without any is a part like others.
#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    pub head: Head,
    pub body: &'a [u8],
    pub children: Vec<usize>,
}

/// The parts of a mail; the first one is the mail itself.
#[derive(Debug)]
pub(crate) struct Structure<'a> {
    pub parts: Vec<Part<'a>>,
    /// It ends within a multipart, or has more than is looked at.
    pub damaged: bool,
}

/// Finds the parts. `headers` and `body` are what [`Headers::read`] says of the mail.
pub(crate) fn read<'a>(mail: &'a [u8], headers: &Headers, body: usize) -> Structure<'a> {
    let mut reader = Reader { mail, parts: vec![], open: vec![], place: Place::Between, damaged: false };
    reader.begin(Head::of(headers), body);
    let mut at = body;
    // Where no multipart is open nothing can begin.
    while !reader.open.is_empty() {
        let Some(rest) = mail.get(at..).filter(|rest| !rest.is_empty()) else { break };
        let end = at + rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |i| i + 1);
        if !reader.line(at, end) {
            reader.damaged = true;
            break;
        }
        at = end;
    }
    reader.end()
}

/// A multipart that is not at its end.
struct Open {
    part: usize,
    boundary: Vec<u8>,
    /// Where its body begins.
    from: usize,
}

enum Place {
    /// In the header block of a part that begins here.
    Head(usize),
    /// In the body, which begins here, of a part.
    Body(usize, usize),
    /// Before the first part of a multipart, or behind the last one.
    Between,
}

struct Reader<'a> {
    mail: &'a [u8],
    parts: Vec<Part<'a>>,
    open: Vec<Open>,
    place: Place,
    damaged: bool,
}

impl<'a> Reader<'a> {
    /// Takes a line; false when there is no room for what begins here.
    fn line(&mut self, at: usize, end: usize) -> bool {
        let line = self.mail.get(at..end).unwrap_or_default();
        if let Some((which, last)) = self.boundary(line) {
            self.end_part(at);
            while self.open.len() > which + 1 {
                self.close(at);
                self.damaged = true;
            }
            if last {
                self.close(at);
                self.place = Place::Between;
            } else if self.parts.len() < MAX_PARTS {
                self.place = Place::Head(end);
            } else {
                self.place = Place::Between;
                return false;
            }
        } else if let Place::Head(start) = self.place {
            if line.trim_ascii().is_empty() {
                let (headers, text) = Headers::block_and_text(self.mail.get(start..at).unwrap_or_default());
                // Its text may stand right below its fields.
                let from = if start + text < at { start + text } else { end };
                self.begin(Head::of(&headers), from);
            } else if at == start && !Headers::is_field(line) {
                // A text without fields, and without the empty line that says so.
                self.begin(self.head(start, start), start);
            }
        }
        true
    }

    /// The multipart that this line belongs to, and whether it is its last. The inmost counts, and an exact line before a sloppy one.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let line = line.strip_prefix(b"--")?.trim_ascii_end();
        let which = |fits: &dyn Fn(&[u8]) -> Option<bool>| {
            self.open
                .iter()
                .enumerate()
                .rev()
                .find_map(|(i, open)| Some((i, fits(line.strip_prefix(open.boundary.as_slice())?)?)))
        };
        which(&|rest| match rest {
            b"" => Some(false),
            b"--" => Some(true),
            _ => None,
        })
        .or_else(|| {
            which(&|rest| match rest {
                [b'-', b'-', ..] => Some(true),
                [b, ..] if b.is_ascii_whitespace() => Some(false),
                _ => None,
            })
        })
    }

    fn head(&self, from: usize, to: usize) -> Head {
        Head::of(&Headers::block(self.mail.get(from..to).unwrap_or_default()))
    }

    /// A part whose fields are known, and whose body begins here.
    fn begin(&mut self, head: Head, from: usize) {
        let part = self.parts.len();
        let boundary = head.boundary().map(<[u8]>::to_vec);
        self.damaged |= boundary.is_some() && self.open.len() >= MAX_DEPTH;
        if let Some(parent) = self.open.last().and_then(|open| self.parts.get_mut(open.part)) {
            parent.children.push(part);
        }
        self.parts.push(Part { head, body: self.mail.get(from..).unwrap_or_default(), children: vec![] });
        self.place = match boundary.filter(|_| self.open.len() < MAX_DEPTH) {
            Some(boundary) => {
                self.open.push(Open { part, boundary, from });
                Place::Between
            }
            None => Place::Body(part, from),
        };
    }

    /// The part that is open ends before this place.
    fn end_part(&mut self, at: usize) {
        match std::mem::replace(&mut self.place, Place::Between) {
            Place::Head(start) => {
                let depth = self.open.len();
                let (headers, text) = Headers::block_and_text(self.mail.get(start..at).unwrap_or_default());
                let from = (start + text).min(at);
                self.begin(Head::of(&headers), from);
                // Nothing of it is left in which parts could be.
                self.open.truncate(depth);
                self.place = Place::Between;
                self.set_body(self.parts.len() - 1, from, at);
            }
            Place::Body(part, from) => self.set_body(part, from, at),
            Place::Between => {}
        }
    }

    /// The inmost multipart ends before this place.
    fn close(&mut self, at: usize) {
        if let Some(open) = self.open.pop() {
            self.set_body(open.part, open.from, at);
        }
    }

    /// The end of the line before a boundary belongs to the boundary.
    fn set_body(&mut self, part: usize, from: usize, to: usize) {
        let body = self.mail.get(from..to).unwrap_or_default();
        let inside = to < self.mail.len();
        let body = body.strip_suffix(b"\n").filter(|_| inside).map_or(body, |b| b.strip_suffix(b"\r").unwrap_or(b));
        if let Some(part) = self.parts.get_mut(part) {
            part.body = body;
        }
    }

    fn end(mut self) -> Structure<'a> {
        self.damaged |= !self.open.is_empty();
        let end = self.mail.len();
        self.end_part(end);
        while !self.open.is_empty() {
            self.close(end);
        }
        Structure { parts: self.parts, damaged: self.damaged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(mail: &[u8]) -> (Vec<(String, Vec<usize>, String)>, bool) {
        let (headers, body) = Headers::read(mail);
        let found = read(mail, &headers, body);
        let shown = |p: Part<'_>| (p.head.kind.value, p.children, String::from_utf8_lossy(p.body).into_owned());
        (found.parts.into_iter().map(shown).collect(), found.damaged)
    }

    #[test]
    fn parts_are_found_as_they_are_nested() {
        let mail = b"Content-Type: multipart/mixed; boundary=m\r\n\r\nbefore\r\n--m \r\nContent-Type: multipart/alternative; boundary=\"m--\"\r\n\r\n--m--\r\n\r\none\r\n\r\n--m--\r\nContent-Type: text/html\r\n\r\ntwo\r\n--m----\r\nafter\r\n--m\r\n\r\nthree\r\n--m--\r\nbehind\r\n";
        let (parts, damaged) = of(mail);
        assert!(!damaged);
        let shown: Vec<_> = parts.iter().map(|(kind, inside, _)| (kind.as_str(), inside.as_slice())).collect();
        assert_eq!(
            shown,
            [
                ("multipart/mixed", &[1, 4][..]),
                ("multipart/alternative", &[2, 3]),
                ("", &[]),
                ("text/html", &[]),
                ("", &[])
            ]
        );
        let bodies: Vec<_> = parts.iter().skip(2).map(|(.., body)| body.as_str()).collect();
        assert_eq!(bodies, ["one\r\n", "two", "three"]);
    }

    #[test]
    fn what_is_missing_or_wrong_costs_only_its_place() {
        for (rest, bodies, damaged) in [
            // The inner one has no end, and the outer one goes on.
            ("--m\nContent-Type: multipart/x; boundary=i\n\n--i\n\na\n--m\n\nb\n--m--\n", &["a", "b"][..], true),
            ("--m\nContent-Type: multipart/x; boundary=absent\n\na\n--m--\n", &["a"], true),
            ("--m\nContent-Type: multipart/x\n\na\n--m--\n", &["a"], false),
            ("--m\na text: with a colon, and no field\nb\n--m--\n", &["a text: with a colon, and no field\nb"], false),
            ("--m\nContent-Type: multipart/x; boundary=i\n--m\nX: y\n--m--\n", &["", ""], false),
            ("--m\n\n\nX: y\n\nb\n--m--\n", &["\nX: y\n\nb"], false),
            ("--m\n\na\n--mm\nb\n", &["a\n--mm\nb\n"], true),
            ("--m\nX: y", &[""], true),
            ("--m\nX: y\na\n\nb\n--m--\n", &["a\n\nb"], false),
            ("--m\nX: y\na\n--m--\n", &["a"], false),
            ("--m\n\na\n--m--\n\n--m\n\nb\n", &["a"], false),
        ] {
            let (parts, cut) = of(format!("Content-Type: multipart/mixed; boundary=m\n\n{rest}").as_bytes());
            let leaves: Vec<_> = parts.iter().filter(|p| p.1.is_empty()).map(|(.., body)| body.as_str()).collect();
            assert_eq!((leaves.as_slice(), cut), (bodies, damaged), "{rest}");
        }
        assert_eq!(of(b"A: b\n\n--m\n"), (vec![(String::new(), vec![], "--m\n".into())], false));
    }

    #[test]
    fn parts_and_depth_are_bounded() {
        let many = format!("Content-Type: multipart/mixed; boundary=m\n\n{}", "--m\n".repeat(500_000));
        let (parts, damaged) = of(many.as_bytes());
        assert!(parts.len() == MAX_PARTS && damaged);
        let deep: String =
            (0..5_000).map(|i| format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n")).collect();
        let (parts, damaged) = of(deep.as_bytes());
        assert!(parts.len() == MAX_DEPTH + 1 && damaged);
    }

    proptest! {
        #[test]
        fn every_part_but_the_first_has_one_parent(mail in "(Content-Type: |multipart/x; boundary=a|multipart/x; boundary=b|\n|\n\n|--a\n|--a--\n|--b\n|--b--\n|x){0,60}") {
            let (parts, _) = of(mail.as_bytes());
            let mut children: Vec<usize> = parts.iter().flat_map(|p| p.1.clone()).collect();
            children.sort_unstable();
            prop_assert_eq!(children, (1..parts.len()).collect::<Vec<_>>());
        }
    }
}
