//! Addresses of header fields (RFC 5322 §3.4), as they are met: groups, comments, names in any charset, missing commas.

use crate::{header::Headers, words};

/// The most addresses taken from one field.
const MAX_ADDRESSES: usize = 500;
/// The most bytes of a field that are looked at.
const MAX_FIELD: usize = 64 * 1024;
/// The longest address, in bytes; longer ones are nobody's.
const MAX_ADDRESS: usize = 320;

/// A person or a machine with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    pub name: Option<String>,
    /// As it was written, without brackets.
    pub address: String,
}

impl Mailbox {
    /// The address in the form in which two spellings of it are the same.
    #[must_use]
    pub fn canonical(&self) -> String {
        canonical(&self.address)
    }
}

/// Addresses differ in nothing but case, and in how a domain beyond ASCII is spelled, for every server that is met.
#[must_use]
pub fn canonical(address: &str) -> String {
    wire(&address.to_lowercase())
}

/// The address as servers know it: its domain in ASCII (RFC 5890), so that only a name beyond ASCII asks them for SMTPUTF8.
#[must_use]
pub fn wire(address: &str) -> String {
    match split(address) {
        Some((local, domain)) if !domain.is_ascii() => format!("{local}@{}", ascii_domain(domain)),
        _ => address.to_owned(),
    }
}

/// A domain in ASCII: `bücher.example` is `xn--bcher-kva.example`. What has no such form is left as it is.
#[must_use]
pub fn ascii_domain(domain: &str) -> String {
    if domain.is_ascii() {
        return domain.to_owned();
    }
    match url::Host::parse(domain) {
        Ok(url::Host::Domain(ascii)) => ascii,
        _ => domain.to_owned(),
    }
}

/// The address without its tag, in its canonical form.
#[must_use]
pub fn without_tag(address: &str) -> String {
    let parts = detail(address);
    parts.map_or_else(|| canonical(address), |(base, _, domain)| canonical(&format!("{base}@{domain}")))
}

/// Whether an address, with a tag or without, is one of `ours`, which are canonical and without.
#[must_use]
pub fn is_of(ours: &[String], address: &str) -> bool {
    ours.contains(&without_tag(address)) || ours.contains(&canonical(address))
}

/// The part before the last `@`, and the domain.
#[must_use]
pub fn split(address: &str) -> Option<(&str, &str)> {
    address.rsplit_once('@').filter(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

/// The local part without what follows `+`, the tag, and the domain.
#[must_use]
pub fn detail(address: &str) -> Option<(&str, Option<&str>, &str)> {
    let (local, domain) = split(address)?;
    Some(match local.split_once('+') {
        Some((base, tag)) if !base.is_empty() => (base, Some(tag), domain),
        _ => (local, None, domain),
    })
}

/// The addresses of every field of this name (lower case).
#[must_use]
pub fn of(headers: &Headers, name: &str) -> Vec<Mailbox> {
    headers.all(name).flat_map(list).take(MAX_ADDRESSES).collect()
}

/// The addresses of a value. What is no address is left out.
#[must_use]
pub fn list(value: &[u8]) -> Vec<Mailbox> {
    let value = words::unfold(value.get(..MAX_FIELD).unwrap_or(value));
    let mut reader = Reader { found: vec![], words: vec![], angle: None, comment: None, holds_address: false };
    let mut rest = value.as_slice();
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b',' | b';' => {
                reader.end();
                after
            }
            b':' if reader.angle.is_none() && !reader.holds_address => {
                // The name of a group.
                reader.clear();
                after
            }
            b'"' => {
                let (text, after) = quoted(after);
                reader.words.push(Word { text, quoted: true, glued: glued(&value, rest) });
                after
            }
            b'(' => {
                let (text, after) = comment(after);
                reader.comment = Some(text);
                after
            }
            b'<' => {
                let (text, after) = angle(after);
                // `<a@b> <c@d>` without a comma are two.
                if reader.angle.is_some() {
                    reader.end();
                }
                reader.angle = Some(text);
                after
            }
            b if b.is_ascii_whitespace() || b == b'>' => after,
            _ => {
                let end = rest
                    .iter()
                    .position(|b| b"\"(<,;: \t\r\n>".contains(b) && !(*b == b':' && reader.holds_address))
                    .unwrap_or(rest.len());
                let (word, after) = rest.split_at(end.max(1));
                reader.holds_address |= word.contains(&b'@');
                reader.words.push(Word { text: word.to_vec(), quoted: false, glued: glued(&value, rest) });
                after
            }
        };
        if reader.found.len() >= MAX_ADDRESSES {
            break;
        }
    }
    reader.end();
    reader.found.truncate(MAX_ADDRESSES);
    reader.found
}

/// Nothing stands between this place and what came before it.
fn glued(whole: &[u8], rest: &[u8]) -> bool {
    let at = whole.len() - rest.len();
    at.checked_sub(1).and_then(|i| whole.get(i)).is_some_and(|b| !b.is_ascii_whitespace() && !b",;:<>()".contains(b))
}

struct Word {
    text: Vec<u8>,
    quoted: bool,
    /// It continues the word before it, as in `"a b"@example.org`.
    glued: bool,
}

struct Reader {
    found: Vec<Mailbox>,
    words: Vec<Word>,
    angle: Option<Vec<u8>>,
    comment: Option<Vec<u8>>,
    /// A word outside of quotes has an `@`.
    holds_address: bool,
}

impl Reader {
    fn clear(&mut self) {
        self.holds_address = false;
        self.words.clear();
        self.angle = None;
        self.comment = None;
    }

    fn end(&mut self) {
        self.holds_address = false;
        let angle = self.angle.take();
        let words = std::mem::take(&mut self.words);
        let comment = self.comment.take().map(|c| text(&c)).filter(|c| !c.is_empty());
        if let Some(address) = angle.and_then(|a| clean(&a)) {
            let joined: Vec<&[u8]> = words.iter().map(|w| w.text.as_slice()).collect();
            let name = Some(text(&joined.join(&b' '))).filter(|n| !n.is_empty()).or(comment);
            self.found.push(Mailbox { name, address });
            return;
        }
        // Without brackets: each word that is an address.
        let mut whole: Vec<(Vec<u8>, bool)> = vec![];
        for word in words {
            let shown = if word.quoted { [b"\"", word.text.as_slice(), b"\""].concat() } else { word.text };
            match whole.last_mut().filter(|_| word.glued) {
                Some((last, _)) => last.extend(shown),
                None => whole.push((shown, word.quoted)),
            }
        }
        let addresses: Vec<String> = whole.iter().filter_map(|(w, _)| clean(w)).collect();
        let only = addresses.len() == 1;
        for address in addresses {
            self.found.push(Mailbox { name: comment.clone().filter(|_| only), address });
        }
    }
}

fn quoted(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = vec![];
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'\\', [next, tail @ ..]) => {
                text.push(*next);
                rest = tail;
            }
            (b'"', _) => return (text, rest),
            _ => text.push(byte),
        }
    }
    (text, rest)
}

fn comment(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = vec![];
    let mut depth = 1usize;
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        text.push(byte);
    }
    (text, rest)
}

/// What stands between the brackets. One that is not closed before the next opens ends at a comma: so that each byte is looked at
/// once, and the next address is not lost with it.
fn angle(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = bytes.iter().position(|b| matches!(b, b'>' | b'<')).unwrap_or(bytes.len());
    let (inside, after) = bytes.split_at(end);
    if let Some(after) = after.strip_prefix(b">") {
        return (inside.to_vec(), after);
    }
    let end = inside.iter().position(|b| *b == b',').unwrap_or(end);
    let (inside, after) = bytes.split_at(end);
    (inside.to_vec(), after)
}

fn text(bytes: &[u8]) -> String {
    let text: String = words::decode(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim().trim_matches(['\'', '"']).trim();
    text.chars().take(200).collect()
}

/// An address that mail can be sent to, or nothing.
fn clean(bytes: &[u8]) -> Option<String> {
    let text = if bytes.contains(&b'?') && bytes.starts_with(b"=?") {
        words::decode(bytes)
    } else {
        crate::charset::unlabelled(bytes)
    };
    let text = text.trim().trim_matches(['<', '>', '\'', ' ', '.']);
    // A route (RFC 5322 §4.4), or a scheme.
    let text = text.strip_prefix("mailto:").unwrap_or(text);
    let text = if text.starts_with('@') { text.rsplit_once(':').map_or(text, |(_, t)| t) } else { text };
    let text: String = text.chars().filter(|c| !c.is_whitespace() || text.starts_with('"')).collect();
    if text.len() > MAX_ADDRESS {
        return None;
    }
    let (local, domain) = split(&text)?;
    let plain_domain =
        ascii_domain(domain).chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':'));
    let plain_local = !local.chars().any(char::is_control)
        && (local.starts_with('"') || !local.contains(['"', '(', ')', ',', ';', '<', '>', '@']));
    (plain_domain && plain_local && local != "\"\"").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &[u8]) -> Vec<(String, String)> {
        list(value).into_iter().map(|m| (m.name.unwrap_or_default(), m.address)).collect()
    }

    #[test]
    fn addresses_are_found_as_people_and_programs_write_them() {
        let one = |name: &str, address: &str| vec![(name.to_owned(), address.to_owned())];
        for (value, found) in [
            (&b"Ann <ann@x.org>"[..], one("Ann", "ann@x.org")),
            (b"\"Neko, Nyaan\" <n@x.org>", one("Neko, Nyaan", "n@x.org")),
            (b"ann@x.org (Ann)", one("Ann", "ann@x.org")),
            (b"(c (d)) ann@x.org", one("c (d)", "ann@x.org")),
            (b"undisclosed-recipients:;", vec![]),
            (
                b"A Group:Ed Jones <ed@x.net>,joe@x.org;",
                vec![("Ed Jones".into(), "ed@x.net".into()), (String::new(), "joe@x.org".into())],
            ),
            (
                b"tim@p.com concierge@p.com",
                vec![(String::new(), "tim@p.com".into()), (String::new(), "concierge@p.com".into())],
            ),
            (b"<\"\">", vec![]),
            (b"<>", vec![]),
            (b"\"\"@", vec![]),
            (b"\"a b\"@x.org", one("", "\"a b\"@x.org")),
            (b"Mary: Personal <m@x.org>", one("Personal", "m@x.org")),
            (
                b"\"Mary Smith: Personal Account\" <smith@home.example>",
                one("Mary Smith: Personal Account", "smith@home.example"),
            ),
            (b"=?utf-8?Q?Mueller=2C_Ann?= <ann@x.org>", one("Mueller, Ann", "ann@x.org")),
            (b"J\xf6hn <j@x.org>", one("Jöhn", "j@x.org")),
            ("Jöhn <jdöe@mächine.example>".as_bytes(), one("Jöhn", "jdöe@mächine.example")),
            (b"<@a.org,@b.org:ann@x.org>", one("", "ann@x.org")),
            (b"Ann <ann@x.org", one("Ann", "ann@x.org")),
            (b"ann@x.org>", one("", "ann@x.org")),
            (b"'ann@x.org'", one("", "ann@x.org")),
            (
                b"Ann <ann@x.org>; Bob <bob@x.org>",
                vec![("Ann".into(), "ann@x.org".into()), ("Bob".into(), "bob@x.org".into())],
            ),
            (b"Ann <Ann> <ann@x.org>", one("", "ann@x.org")),
            (
                b"Ann <ann@x.org, Bob <bob@x.org>",
                vec![("Ann".into(), "ann@x.org".into()), ("Bob".into(), "bob@x.org".into())],
            ),
            (b"nobody", vec![]),
        ] {
            assert_eq!(read(value), found, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn a_field_is_read_once_whatever_it_opens_and_never_closes() {
        let fields = [
            "<,".repeat(400_000),
            "<".repeat(800_000),
            format!("{}a@b {}", "x ".repeat(200_000), ":".repeat(400_000)),
            format!("{}a@b {}", "x ".repeat(15_000), ":".repeat(30_000)),
            "a@b".repeat(200_000),
            "a@b ".repeat(200_000),
            "(".repeat(800_000),
            "\"x\"".repeat(200_000),
            ": ".repeat(400_000),
        ];
        for field in fields {
            let found = crate::fixtures::in_time(&field[..9], 10, || list(field.as_bytes()));
            assert!(found.len() <= MAX_ADDRESSES);
        }
    }

    #[test]
    fn the_detail_of_an_address_is_what_follows_the_first_plus() {
        assert_eq!(detail("support+c-1+2@x.org"), Some(("support", Some("c-1+2"), "x.org")));
        assert_eq!(detail("support@x.org"), Some(("support", None, "x.org")));
        assert_eq!(detail("+a@x.org"), Some(("+a", None, "x.org")));
        assert_eq!(detail("x.org"), None);
    }

    proptest! {
        #[test]
        fn any_value_gives_addresses_or_none(value in proptest::collection::vec(prop_oneof![Just(b'<'), Just(b'>'), Just(b'@'), Just(b','), Just(b'"'), Just(b'('), Just(b':'), Just(b'\\'), any::<u8>()], 0..120)) {
            for found in list(&value) {
                prop_assert!(split(&found.address).is_some(), "{:?}", found);
                prop_assert!(!found.address.chars().any(|c| c.is_control()), "{:?}", found);
            }
        }
    }
}
