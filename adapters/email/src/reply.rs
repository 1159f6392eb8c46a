//! A person's new words, without what they quote and sign with (protocols: what the corpora of mail programs need). Linear in
//! the text, and never empty when the text is not.

pub(crate) mod marks;

pub use marks::ABOVE;

/// Longer texts are looked at up to here, in bytes.
const MAX_TEXT: usize = 100_000;
/// A program's sentence may be broken over so many lines.
const MAX_WRAP: usize = 6;
/// No line of a program's sentence is longer, in characters.
const MAX_LINE: usize = 500;
/// So many lines at most are looked into for a sentence of a program that shares its line.
const MAX_SHARED: usize = 20;
/// A signature has at most so many lines.
const MAX_SIGNATURE: usize = 30;

/// A text, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The new words.
    pub text: String,
    /// What stood below them under `-- `, or what a device added.
    pub signature: Option<String>,
    /// Somebody else's mail that the person passed on; it is part of `text`.
    pub forwarded: Option<Forwarded>,
}

/// A mail inside a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    pub before: String,
    pub from: Option<String>,
    pub subject: Option<String>,
    pub body: String,
}

/// Takes a text apart. `forwards` says that the mail passes another one on: what stands below is meant.
#[must_use]
pub fn cut(text: &str, forwards: bool) -> Cut {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let all = text.trim_matches(['\n', ' ', '\t', '\u{a0}']).to_owned();
    let (head, tail) = match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => text.split_at_checked(at).unwrap_or((&text, "")),
        None => (text.as_str(), ""),
    };
    let lines = Lines::read(head);
    let place = lines.first_mark();
    let passed_on = |kind: Kind| kind == Kind::Forward || (kind == Kind::Below && forwards);
    if let Some(Mark { start, end, .. }) = place.filter(|p| passed_on(p.kind)) {
        return Cut { forwarded: Some(lines.forwarded(start, end)), text: all, signature: None };
    }
    if let Some(at) = lines.quoted_block().filter(|_| forwards && place.is_none()) {
        return Cut { forwarded: Some(lines.forwarded(at, at)), text: all, signature: None };
    }
    let kept = match place {
        Some(mark) => lines.around(mark),
        None => lines.without_trailing_quote(),
    };
    let uncut = kept.len() == lines.lines.len();
    let (kept, signature) = signed(&lines, kept);
    let mut new = lines.join(&kept);
    if uncut && signature.is_none() {
        new.push_str(tail);
        new.truncate(new.trim_end().len());
    }
    if new.trim().is_empty() {
        Cut { text: all, ..Cut::default() }
    } else {
        Cut { text: new, signature, forwarded: None }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A program's sentence: what follows is quoted, or stands as it is.
    Attribution,
    /// Everything below is somebody else's.
    Below,
    Forward,
}

/// Lines `start..end` say that a quote follows.
#[derive(Clone, Copy)]
struct Mark {
    kind: Kind,
    start: usize,
    end: usize,
}

struct Lines<'a> {
    lines: Vec<&'a str>,
    /// Which of them are quoted.
    quoted: Vec<bool>,
}

impl<'a> Lines<'a> {
    fn read(text: &'a str) -> Lines<'a> {
        let mut lines = Lines { lines: text.lines().collect(), quoted: vec![] };
        lines.split_shared();
        lines.find_quoted();
        lines
    }

    /// Some programs begin their sentence in the person's last line.
    fn split_shared(&mut self) {
        let mut found = vec![];
        for i in 0..self.lines.len() {
            let Some(parts) = marks::shared(self.at(i)).filter(|_| self.at(i).len() <= MAX_LINE) else { continue };
            if found.len() < MAX_SHARED && !self.at(i).trim_start().starts_with('>') && self.quotes_below(i, parts.1) {
                found.push((i, parts));
            }
        }
        for (i, (before, sentence)) in found.into_iter().rev() {
            self.lines.splice(i..=i, [before, sentence]);
        }
    }

    /// The sentence that begins at line `i` ends within three lines, and a quote follows it.
    fn quotes_below(&self, i: usize, start: &str) -> bool {
        let mut sentence = clean(start);
        for end in i..(i + 3).min(self.lines.len()) {
            if end > i {
                sentence.push_str(&clean(self.at(end)));
            }
            if sentence.ends_with("wrote:") {
                let next = self.lines.iter().skip(end + 1).map(|l| l.trim_start()).find(|l| !l.is_empty());
                return next.is_some_and(|l| l.starts_with('>'));
            }
        }
        false
    }

    /// Lines that begin with `>`, and links that a program broke out of them.
    fn find_quoted(&mut self) {
        let is_marked = |line: &&str| line.trim_start().starts_with('>');
        self.quoted = self.lines.iter().map(is_marked).collect();
        for i in 1..self.lines.len() {
            let (above, line) = (self.at(i - 1), self.at(i).trim());
            if !self.is_quote(i - 1) || self.is_quote(i) || line.is_empty() {
                continue;
            }
            let open = above.rfind("(http").is_some_and(|at| above.get(at..).is_some_and(|l| !l.contains(')')));
            let tail = open && line.ends_with(')') && !line.contains(char::is_whitespace);
            if (tail || (marks::is_link(line) && self.is_quote(i + 1)))
                && let Some(quoted) = self.quoted.get_mut(i)
            {
                *quoted = true;
            }
        }
    }

    fn at(&self, i: usize) -> &'a str {
        self.lines.get(i).copied().unwrap_or_default()
    }

    fn is_quote(&self, i: usize) -> bool {
        self.quoted.get(i).copied().unwrap_or_default()
    }

    fn is_blank(&self, i: usize) -> bool {
        self.at(i).chars().all(|c| c.is_whitespace() || c == '\u{feff}' || c == '\u{200b}')
    }

    fn join(&self, kept: &[usize]) -> String {
        let lines: Vec<&str> = kept.iter().map(|i| self.at(*i).trim_end()).collect();
        let first = lines.iter().position(|l| !l.trim().is_empty()).unwrap_or(0);
        lines.get(first..).unwrap_or_default().join("\n").trim_end().to_owned()
    }

    fn first_mark(&self) -> Option<Mark> {
        (0..self.lines.len()).find_map(|i| self.mark(i))
    }

    fn mark(&self, i: usize) -> Option<Mark> {
        let line = clean(self.at(i));
        if line.is_empty() || line.len() > MAX_LINE * 4 {
            return None;
        }
        if marks::is_forward(&line) {
            return Some(Mark { kind: Kind::Forward, start: i, end: i + 1 });
        }
        if self.is_quote(i) {
            return None;
        }
        if line.contains(ABOVE) {
            return Some(Mark { kind: Kind::Below, start: i, end: i + 1 });
        }
        if marks::is_original(&line) || (marks::is_rule(&line) && self.block(self.next_text(i + 1)).is_some()) {
            return Some(Mark { kind: Kind::Below, start: i, end: i + 1 });
        }
        if self.block(i).is_some() {
            return Some(Mark { kind: Kind::Below, start: i, end: i });
        }
        self.attribution(i).map(|end| Mark { kind: Kind::Attribution, start: i, end })
    }

    fn next_text(&self, from: usize) -> usize {
        (from..self.lines.len().min(from + 4)).find(|i| !self.is_blank(*i)).unwrap_or(from)
    }

    /// `From: … Sent: … To: … Subject: …`, as a block of lines in any order; where it ends.
    fn block(&self, i: usize) -> Option<usize> {
        let first = clean(self.at(i));
        if !marks::is_field(&first) || self.is_quote(i) {
            return None;
        }
        // Of two fields a date and an address are enough.
        let second = clean(self.at(i + 1));
        let dated = |date: &str, whose: &str| marks::has_moment(date) && whose.contains('@');
        if marks::is_field(&second) && (dated(&first, &second) || dated(&second, &first)) {
            return Some(i + 2);
        }
        let mut named = marks::is_from_field(&first);
        let (mut fields, mut end, mut misses) = (1, i + 1, 0);
        for j in i + 1..self.lines.len().min(i + 16) {
            let line = clean(self.at(j));
            if marks::is_field(&line) {
                fields += 1;
                named |= marks::is_from_field(&line);
                end = j + 1;
                misses = 0;
            } else if !line.is_empty() {
                // A long list of recipients goes on in the next line.
                misses += 1;
                if misses > 3 {
                    break;
                }
            } else if fields >= 3 {
                break;
            }
        }
        (fields >= 3 && named).then_some(end)
    }

    /// A block of fields that the program quoted with the mail that it passes on.
    fn quoted_block(&self) -> Option<usize> {
        let field = |i: usize, is: fn(&str) -> bool| self.is_quote(i) && is(&clean(plain(self.at(i))));
        (0..self.lines.len()).find(|i| {
            field(*i, marks::is_from_field) && (*i + 1..*i + 6).filter(|j| field(*j, marks::is_field)).count() >= 2
        })
    }

    /// A program's sentence that begins at line `i`, wrapped or not; where it ends.
    fn attribution(&self, i: usize) -> Option<usize> {
        (i..self.lines.len().min(i + MAX_WRAP)).find_map(|end| {
            let sentence = self.sentence(i, end)?;
            // What is a sentence without its first lines does not need them.
            let later = || {
                (i + 1..=end).any(|k| {
                    !clean(self.at(k)).starts_with(['<', '>'])
                        && self.sentence(k, end).is_some_and(|s| marks::is_attribution(&s))
                })
            };
            (marks::is_attribution(&sentence) && !later()).then_some(end + 1)
        })
    }

    /// Lines that may be one sentence, joined; its angle brackets are closed.
    fn sentence(&self, start: usize, end: usize) -> Option<String> {
        let mut joined = String::new();
        let mut open = 0i32;
        for j in start..=end {
            let line = clean(self.at(j));
            let continues = open > 0 || line.starts_with('<');
            // `>` may end an address that was broken off.
            if j > start && self.is_quote(j) && open <= 0 {
                return None;
            }
            if line.is_empty() {
                let next = clean(self.at(j + 1));
                if j == start || j == end || !(next.starts_with('<') || open > 0) {
                    return None;
                }
                continue;
            }
            if j > start && self.is_blank(j - 1) && !continues {
                return None;
            }
            open += line.chars().fold(0, |n, c| n + i32::from(c == '<') - i32::from(c == '>'));
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(&line);
            if joined.len() > MAX_LINE * 4 || joined.chars().count() > MAX_LINE {
                return None;
            }
        }
        (open == 0 && !joined.is_empty()).then_some(joined)
    }

    /// What is kept of a text with this mark.
    fn around(&self, mark: Mark) -> Vec<usize> {
        let before: Vec<usize> = (0..mark.start).collect();
        let has_before =
            before.iter().any(|i| !self.is_blank(*i) && !marks::is_rule(self.at(*i)) && !self.is_quote(*i));
        if mark.kind == Kind::Below {
            return if has_before { before } else { vec![] };
        }
        let after = mark.end..self.lines.len();
        let first = after.clone().find(|i| !self.is_blank(*i));
        if !first.is_some_and(|i| self.is_quote(i)) {
            if has_before {
                return before;
            }
            // The program's sentence stands first and what follows is not marked as a quote: it may be all there is.
            return after.filter(|i| !self.inside_attribution(*i)).collect();
        }
        let answer = |i: &usize| !self.is_quote(*i) && !self.is_blank(*i);
        let own: Vec<usize> = after.clone().filter(answer).collect();
        let Some((first_own, last_own)) = own.first().zip(own.last()) else { return before };
        let interleaved = (*first_own..=*last_own).any(|i| self.is_quote(i));
        let mut kept = before;
        if interleaved && !self.signature_starts_in(&own) {
            kept.extend(after.clone().take_while(|i| i <= last_own));
        } else {
            // Below the quote, and after a further sentence of a program nothing is the person's.
            let stop = after.clone().skip_while(|i| i < first_own).find(|i| self.mark(*i).is_some());
            kept.extend((*first_own..=*last_own).filter(|i| stop.is_none_or(|stop| *i < stop) && !self.is_quote(*i)));
        }
        kept
    }

    fn inside_attribution(&self, i: usize) -> bool {
        (i.saturating_sub(MAX_WRAP)..=i)
            .any(|start| self.mark(start).is_some_and(|m| m.kind == Kind::Attribution && (m.start..m.end).contains(&i)))
    }

    /// What looks like answers between quotes is a signature.
    fn signature_starts_in(&self, own: &[usize]) -> bool {
        own.first().is_some_and(|i| is_signature_line(self.at(*i)))
    }

    /// Everything but a quote at the very end of a text that is not only a quote.
    fn without_trailing_quote(&self) -> Vec<usize> {
        let all: Vec<usize> = (0..self.lines.len()).collect();
        let body: Vec<usize> = all.iter().copied().take_while(|i| !is_signature_line(self.at(*i))).collect();
        let last = body.iter().rev().find(|i| !self.is_blank(**i) && !self.is_quote(**i));
        match last {
            Some(last) if body.iter().any(|i| i > last && self.is_quote(*i)) => {
                let tail = all.iter().copied().skip(body.len());
                all.iter().copied().take_while(|i| i <= last).chain(tail).collect()
            }
            _ => all,
        }
    }

    fn forwarded(&self, start: usize, end: usize) -> Forwarded {
        let before: Vec<usize> = (0..start).collect();
        let plain = |i: usize| plain(self.at(i)).trim_end().to_owned();
        let mut found = Forwarded { before: self.join(&before), ..Forwarded::default() };
        let mut fields = 0;
        // A long subject goes on in the next line.
        let mut in_subject = false;
        let mut body = vec![];
        for i in end..self.lines.len() {
            let line = plain(i);
            if !body.is_empty() {
                body.push(line);
                continue;
            }
            let shown = clean(&line);
            if shown.is_empty() {
                continue;
            }
            if marks::is_field(&shown) && fields < 12 {
                fields += 1;
                let value = shown.split_once([':', '：']).map(|(_, v)| v.trim().trim_matches('*').trim().to_owned());
                let name = shown.to_lowercase();
                in_subject = found.subject.is_none() && is_subject(&name);
                if in_subject {
                    found.subject = value;
                } else if marks::is_from_field(&shown) && found.from.is_none() {
                    found.from = value;
                }
            } else if in_subject && !clean(&plain(i - 1)).is_empty() && marks::is_field(&clean(&plain(i + 1))) {
                let subject = found.subject.take().unwrap_or_default();
                found.subject = Some(format!("{subject} {shown}"));
            } else if fields == 0 || i == 0 || self.is_blank(i - 1) || clean(&plain(i - 1)).is_empty() {
                body.push(line);
            }
        }
        found.body = body.join("\n").trim().to_owned();
        found
    }
}

/// A line without the sign of its quote.
fn plain(line: &str) -> &str {
    let line = line.trim_start();
    line.strip_prefix("> ").or_else(|| line.strip_prefix('>')).unwrap_or(line)
}

fn is_subject(line: &str) -> bool {
    const NAMES: [&str; 25] = [
        "subject",
        "sujet",
        "onderwerp",
        "predmet",
        "tárgy",
        "subiect",
        "θέμα",
        "主旨",
        "제목",
        "נושא",
        "الموضوع",
        "betreff",
        "objet",
        "asunto",
        "assunto",
        "oggetto",
        "ämne",
        "emne",
        "temat",
        "тема",
        "předmět",
        "aihe",
        "konu",
        "主题",
        "件名",
    ];
    NAMES.iter().any(|name| line.trim_start_matches(['*', ' ']).starts_with(name))
}

/// A line as the patterns see it: blanks are one blank, nothing around it.
fn clean(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for word in line
        .split(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\u{200e}' || c == '\u{200f}')
        .filter(|w| !w.is_empty())
    {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

fn is_signature_line(line: &str) -> bool {
    matches!(line.trim_end(), "--" | "—" | "–" | "-- \u{a0}") || line == "-- "
}

/// Splits off what a person signs with, and what their device adds.
fn signed(lines: &Lines<'_>, mut kept: Vec<usize>) -> (Vec<usize>, Option<String>) {
    let mut signature = vec![];
    let at = kept.iter().position(|i| is_signature_line(lines.at(*i)));
    if let Some(at) =
        at.filter(|at| kept.len() - at <= MAX_SIGNATURE && kept.iter().take(*at).any(|i| !lines.is_blank(*i)))
    {
        signature = kept.split_off(at);
    }
    let first = kept.iter().copied().find(|i| !lines.is_blank(*i));
    let mut below = vec![];
    while let Some(last) = kept.last().copied() {
        let line = lines.at(last);
        let device = first.is_some_and(|first| first < last) && marks::is_device(&clean(line));
        if !(lines.is_blank(last) || marks::is_rule(line) || device) {
            break;
        }
        kept.pop();
        below.push(last);
    }
    signature.splice(0..0, below.into_iter().rev());
    let signature = lines.join(&signature);
    (kept, Some(signature).filter(|s| s.lines().any(|l| !marks::is_rule(l) && !l.trim().is_empty())))
}

#[cfg(test)]
mod tests;
