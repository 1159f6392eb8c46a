//! Where a response ends: lines, and literals of which only the number of bytes is known.

use thiserror::Error;

/// The longest line of a response, without its literals.
const MAX_LINE: usize = 256 * 1024;
/// The most literals in one response; a mail is one.
const MAX_LITERALS: usize = 64;
/// Brackets within brackets. What is asked for has a few; whoever reads a response goes as deep as they do, on its stack.
const MAX_DEPTH: usize = 50;

/// A response that is longer than what was asked for can make it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TooLong {
    #[error("a line of the server's answer is longer than {MAX_LINE} bytes")]
    Line,
    #[error("the server announces {announced} bytes where at most {most} were asked for")]
    Literal { announced: u64, most: usize },
    #[error("the server's answer has more than {MAX_LITERALS} parts")]
    Literals,
    #[error("the server's answer has more than {MAX_DEPTH} brackets inside of each other")]
    Deep,
}

/// Cuts what arrives into responses.
#[derive(Debug)]
pub struct Framer {
    held: Vec<u8>,
    /// Everything before is read: whole lines and literals of the response at the beginning of `held`.
    read: usize,
    /// Where a search for the end of the line goes on.
    searched: usize,
    literals: usize,
    /// Bytes of all of them together.
    announced: u64,
    /// Brackets that are open before `read`.
    depth: usize,
    /// The most bytes of the literals of one response.
    pub most: usize,
}

impl Framer {
    #[must_use]
    pub fn new(most: usize) -> Framer {
        Framer { held: vec![], read: 0, searched: 0, literals: 0, announced: 0, depth: 0, most }
    }

    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Whether anything arrived that is no whole response yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The next whole response with its line end, if it has arrived.
    ///
    /// # Errors
    /// When it is longer than it may be; the connection is of no more use.
    pub fn response(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        loop {
            let rest = self.held.get(self.searched.max(self.read)..).unwrap_or_default();
            let Some(end) = rest.iter().position(|b| *b == b'\n') else {
                self.searched = self.held.len().max(self.read);
                let line = self.held.len().saturating_sub(self.read);
                return if line > MAX_LINE && self.arrived() { Err(TooLong::Line) } else { Ok(None) };
            };
            let end = self.searched.max(self.read) + end + 1;
            let line = self.held.get(self.read..end).unwrap_or_default();
            if line.len() > MAX_LINE {
                return Err(TooLong::Line);
            }
            let is_data = is_data(&self.held);
            let (deepest, depth) = brackets(line, self.depth);
            if is_data && deepest > MAX_DEPTH {
                return Err(TooLong::Deep);
            }
            match literal(line).filter(|_| is_data) {
                None => return Ok(Some(self.take(end))),
                Some(announced) => {
                    self.announced = self.announced.saturating_add(announced);
                    if self.announced > self.most as u64 {
                        return Err(TooLong::Literal { announced: self.announced, most: self.most });
                    }
                    self.depth = depth;
                    self.literals += 1;
                    if self.literals > MAX_LITERALS {
                        return Err(TooLong::Literals);
                    }
                    self.read = end + usize::try_from(announced).unwrap_or(usize::MAX - end);
                    self.searched = self.read;
                    if self.held.len() < self.read {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The literals that were announced are there.
    fn arrived(&self) -> bool {
        self.held.len() >= self.read
    }

    fn take(&mut self, end: usize) -> Vec<u8> {
        let rest = self.held.split_off(end);
        (self.read, self.searched, self.literals, self.announced, self.depth) = (0, 0, 0, 0, 0);
        std::mem::replace(&mut self.held, rest)
    }
}

/// How many bytes follow a line that ends in `{n}`.
pub(super) fn literal(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line).strip_suffix(b"}")?;
    let open = line.iter().rposition(|b| *b == b'{')?;
    let digits = line.get(open + 1..)?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// How many brackets are open at most within a line and at its end, where so many are before it. In quotes they are text.
fn brackets(line: &[u8], before: usize) -> (usize, usize) {
    let (mut deepest, mut depth) = (before, before);
    let (mut quoted, mut escaped) = (false, false);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    (deepest, depth)
}

/// Words for people may end in anything: only data has literals and brackets.
fn is_data(response: &[u8]) -> bool {
    let Some(data) = response.strip_prefix(b"* ") else { return false };
    let word = data.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
    !["OK", "NO", "BAD", "BYE", "PREAUTH"].iter().any(|status| word.eq_ignore_ascii_case(status.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(stream: &[u8], step: usize, most: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut framer = Framer::new(most);
        let mut found = vec![];
        for piece in stream.chunks(step.max(1)) {
            framer.push(piece);
            while let Some(response) = framer.response()? {
                found.push(response);
            }
        }
        Ok(found)
    }

    const MIXED: &[u8] = b"* OK ready {5}\r\n* 1 FETCH (UID 7 BODY[] {12}\r\nline\r\n* {3}\n X {0}\r\n)\r\na1 OK done {2}\r\n+ go {9}\r\n";

    #[test]
    fn literals_are_counted_and_words_for_people_are_not() {
        for step in 1..MIXED.len() {
            let found = all(MIXED, step, 100).expect("nothing is too long");
            let lines: Vec<_> = found.iter().map(|f| f.len()).collect();
            assert_eq!(found.concat(), MIXED, "{step}");
            assert_eq!(lines.len(), 4, "{step}: {lines:?}");
        }
    }

    #[test]
    fn what_is_longer_than_asked_for_is_refused_before_it_arrives() {
        assert_eq!(all(b"* 1 FETCH (BODY[] {101}\r\n", 9, 100), Err(TooLong::Literal { announced: 101, most: 100 }));
        assert_eq!(
            all(b"* 1 FETCH (BODY[] {99999999999999999999}\r\n)\r\n", 9, 100).map(|f| f.len()),
            Ok(2),
            "no number of bytes"
        );
        let together = |one: usize, other: usize| {
            format!(
                "* 1 FETCH (BODY[HEADER] {{{one}}}\r\n{} BODY[] {{{other}}}\r\n{})\r\n",
                "a".repeat(one),
                "b".repeat(other)
            )
        };
        assert_eq!(
            all(together(60, 41).as_bytes(), 9, 100),
            Err(TooLong::Literal { announced: 101, most: 100 }),
            "many that are small enough are too much as well"
        );
        assert_eq!(all(together(60, 40).repeat(3).as_bytes(), 9, 100).map(|f| f.len()), Ok(3), "of one response");
        let long = vec![b'a'; MAX_LINE + 2];
        assert_eq!(all(&long, 4096, 100), Err(TooLong::Line));
        let many = b"* 1 FETCH ({1}\r\na".iter().copied().chain(b" {1}\r\na".repeat(70)).collect::<Vec<_>>();
        assert_eq!(all(&many, 4096, 100), Err(TooLong::Literals));
    }

    #[test]
    fn brackets_are_as_deep_as_a_stack_is_sure_to_be() {
        let answer = |open: &str| format!("* 1 FETCH (BODYSTRUCTURE {open}\r\n");
        let deep = answer(&"(".repeat(100_000));
        assert_eq!(all(deep.as_bytes(), 4096, 100), Err(TooLong::Deep));
        let pieces = format!("* 1 FETCH ({}\r\n", " ((((({1}\r\na".repeat(20));
        assert_eq!(all(pieces.as_bytes(), 4096, 100), Err(TooLong::Deep), "before and after a literal");
        for fine in [
            answer(&format!("\"{}\\\"(\"", "(".repeat(1000))),
            format!("* OK {}\r\n", "(".repeat(1000)),
            format!("* 1 FETCH (BODY[] {{60}}\r\n{})\r\n", "(".repeat(60)),
            answer("()").repeat(100),
        ] {
            let found = all(fine.as_bytes(), 7, 100).expect("nothing is too deep");
            assert_eq!(found.concat(), fine.as_bytes());
            // As deep as it can be, on a stack as small as a worker has.
            found.iter().for_each(|response| drop(crate::imap::Reply::read(response)));
        }
        let most = answer(&"(".repeat(MAX_DEPTH - 1));
        let found = all(most.as_bytes(), 4096, 100).expect("it may be so deep");
        let read = std::thread::Builder::new().stack_size(1024 * 1024);
        let read = read.spawn(move || crate::imap::Reply::read(&found[0])).unwrap().join();
        assert_eq!(read.unwrap(), crate::imap::Reply::Unreadable { uid: None });
    }

    proptest! {
        #[test]
        fn any_bytes_come_out_as_they_came_in(bytes in proptest::collection::vec(any::<u8>(), 0..400), step in 1usize..50) {
            if let Ok(found) = all(&bytes, step, 50) {
                prop_assert!(bytes.starts_with(&found.concat()));
            }
        }

        #[test]
        fn the_pieces_that_arrive_change_nothing(mails in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..5), step in 1usize..60) {
            let mut stream = vec![];
            for mail in &mails {
                stream.extend(format!("* 1 FETCH (UID 1 BODY[] {{{}}}\r\n", mail.len()).bytes());
                stream.extend(mail);
                stream.extend(b")\r\n");
            }
            let found = all(&stream, step, 200).expect("nothing is too long");
            prop_assert_eq!(found.len(), mails.len());
        }
    }
}
