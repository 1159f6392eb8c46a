//! HTML bodies: made safe by an allow-list, read as text, and cut where mail programs begin to quote.

mod balance;
mod marks;

use self::marks::{Mark, forwarded, interleaved, is_void, mark};
use crate::transfer;
use ammonia::Builder;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Longer bodies are read as text only, in bytes.
pub const MAX_HTML: usize = 1024 * 1024;
/// The most bytes of text taken from a body.
const MAX_TEXT: usize = 512 * 1024;

/// A body of HTML, as it can be shown and read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Safe to show: no scripts, no styles, no forms, no images but the mail's own. `None` when it was too long.
    pub html: Option<String>,
    /// All of its text.
    pub text: String,
    /// Its text without what a mail program marked as quoted, and without signatures that it marked.
    pub new: String,
    /// What it marked as a signature.
    pub signature: Option<String>,
}

/// Reads a body. `forwards` says that the mail passes another one on, so that what looks quoted is meant.
#[must_use]
pub fn read(html: &str, forwards: bool) -> Page {
    if html.len() > MAX_HTML {
        let text = bare(html);
        return Page { html: None, new: text.clone(), text, signature: None };
    }
    let marked = MARKED.clean(&balance::balanced(html, TAGS, DROPPED)).to_string();
    let mut page = Page { html: Some(safe(&marked)), ..Page::default() };
    page.text = Text::read(&marked, Want::All).out;
    let mut new = Text::read(&marked, Want::New { forwards });
    if new.interleaved {
        // Answers between what they answer say nothing without it: where the quote ends is left to its lines.
        new = Text::read(&marked, Want::New { forwards: true });
    }
    page.new = if new.out.trim().is_empty() { page.text.clone() } else { new.out };
    page.signature = Some(new.signature.trim().to_owned()).filter(|s| !s.is_empty());
    page
}

/// The ids of the parts that a page which is safe shows as pictures, as their `Content-ID` writes them.
#[must_use]
pub fn pictures(page: &str) -> HashSet<String> {
    let source = |token| match token {
        Token::Open { name: "img", attributes, .. } => attribute(attributes, "src"),
        _ => None,
    };
    let ids = tokens(page).filter_map(source).filter_map(|source| {
        let (scheme, id) = source.trim().split_once(':')?;
        let mut bytes = vec![];
        transfer::escapes(entities(id).as_bytes(), b'%', false, &mut bytes);
        scheme.eq_ignore_ascii_case("cid").then(|| String::from_utf8_lossy(&bytes).into_owned())
    });
    ids.collect()
}

/// Plain text as HTML.
#[must_use]
pub fn from_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str("<div>");
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("<br>\n"),
            '\r' => {}
            c => out.push(c),
        }
    }
    out.push_str("</div>");
    out
}

const TAGS: &[&str] = &[
    "a",
    "abbr",
    "b",
    "bdi",
    "bdo",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "font",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "mark",
    "ol",
    "p",
    "pre",
    "q",
    "rp",
    "rt",
    "ruby",
    "s",
    "samp",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "time",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
    "wbr",
];
const DROPPED: &[&str] = &[
    "script", "style", "title", "template", "iframe", "object", "svg", "math", "textarea", "select", "noscript",
    "audio", "video",
];

/// What a mail program's marks are made of; it is taken away again before anybody sees the page.
const MARKS: &[&str] = &["class", "id", "style", "type", "data-marker"];

static MARKED: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::new();
    builder
        .tags(TAGS.iter().copied().collect())
        .clean_content_tags(DROPPED.iter().copied().collect())
        .generic_attributes(["class", "id", "style", "data-marker", "dir", "lang", "title"].into_iter().collect())
        .add_tag_attributes("blockquote", ["type"])
        .add_tag_attributes("font", ["color"])
        .url_schemes(["http", "https", "mailto", "tel", "cid"].into_iter().collect::<HashSet<_>>())
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .attribute_filter(|element, attribute, value| match (element, attribute) {
            // Only images that came with the mail: any other tells its server that, when and where the mail was read.
            ("img", "src") => value.trim().to_ascii_lowercase().starts_with("cid:").then_some(Cow::Borrowed(value)),
            (_, "src" | "background") => None,
            (_, "style") => style_mark(value).map(Cow::Borrowed),
            _ => Some(Cow::Borrowed(value)),
        });
    builder
});

/// What of a style means something here.
fn style_mark(style: &str) -> Option<&'static str> {
    let style: String = style.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    if style.contains("display:none") || style.contains("mso-hide:all") {
        return Some("hidden");
    }
    let outlook = style.contains("border:none") && style.contains("border-top:solid") && style.contains("padding:");
    outlook.then_some("outlook")
}

/// One step through a page that was cleaned: its tags are closed and its attributes quoted.
enum Token<'a> {
    Text(&'a str),
    /// A tag, and what follows it.
    Open {
        name: &'a str,
        attributes: &'a str,
        inside: &'a str,
    },
    Close(&'a str),
}

fn tokens(html: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = html;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let Some(at) = rest.find('<').filter(|at| *at == 0) else {
                let (text, after) = rest.split_at_checked(rest.find('<').unwrap_or(rest.len()))?;
                rest = after;
                return Some(Token::Text(text));
            };
            let tag = rest.get(at + 1..)?;
            let end = tag_end(tag);
            let written = tag.get(..end)?;
            rest = tag.get(end + 1..).unwrap_or_default();
            if let Some(name) = written.strip_prefix('/') {
                return Some(Token::Close(name));
            }
            if written.starts_with('!') {
                continue;
            }
            let (name, attributes) = written.split_once(' ').unwrap_or((written, ""));
            return Some(Token::Open { name, attributes, inside: rest });
        }
    })
}

/// Where the tag ends that begins here: a `>` inside quotes does not count.
fn tag_end(tag: &str) -> usize {
    let mut quoted = false;
    for (at, byte) in tag.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'>' if !quoted => return at,
            _ => {}
        }
    }
    tag.len()
}

fn attributes(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (name, after) = rest.trim_start().split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        rest = after;
        Some((name, value))
    })
}

fn attribute<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    attributes(text).find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// The page without the marks.
fn safe(marked: &str) -> String {
    let mut out = String::with_capacity(marked.len());
    for token in tokens(marked) {
        match token {
            Token::Text(text) => out.push_str(text),
            Token::Close(name) => {
                out.push_str("</");
                out.push_str(name);
                out.push('>');
            }
            Token::Open { name, attributes: text, .. } => {
                out.push('<');
                out.push_str(name);
                for (name, value) in attributes(text).filter(|(name, _)| !MARKS.contains(name)) {
                    out.push(' ');
                    out.push_str(name);
                    out.push_str("=\"");
                    out.push_str(value);
                    out.push('"');
                }
                out.push('>');
            }
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    All,
    New { forwards: bool },
}

struct Text {
    out: String,
    signature: String,
    /// Empty lines that come before the next word.
    breaks: usize,
    blank: bool,
    pre: usize,
    quotes: usize,
    /// There are words between two quotes that were left out.
    interleaved: bool,
}

const BLOCKS: &[&str] = &[
    "blockquote",
    "caption",
    "center",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "pre",
    "summary",
    "table",
    "tr",
    "ul",
];
const SPACED: &[&str] = &["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "table"];

impl Text {
    fn read(marked: &str, want: Want) -> Text {
        let mut text = Text {
            out: String::new(),
            signature: String::new(),
            breaks: 0,
            blank: false,
            pre: 0,
            quotes: 0,
            interleaved: false,
        };
        // A quote was left out, and how much text there was then.
        let mut left_out: Option<usize> = None;
        // Depth inside what is left out, and whether that is a signature.
        let (mut skipped, mut in_signature) = (0usize, false);
        let mut links: Vec<(String, usize)> = vec![];
        for token in tokens(marked) {
            if text.out.len() > MAX_TEXT {
                break;
            }
            match token {
                Token::Text(words) => {
                    if skipped == 0 {
                        text.words(&entities(words));
                    } else if in_signature {
                        text.signature.push_str(&entities(words));
                    }
                }
                Token::Open { name, attributes: attrs, inside } => {
                    let void = is_void(name);
                    if skipped > 0 {
                        if in_signature && (name == "br" || BLOCKS.contains(&name) || name == "p") {
                            text.signature.push('\n');
                        }
                        skipped += usize::from(!void);
                        continue;
                    }
                    match (mark(name, attrs), want) {
                        (Mark::Hidden, _) if !void => skipped = 1,
                        (Mark::Signature, Want::New { .. }) if !void => (skipped, in_signature) = (1, true),
                        (Mark::Quote, Want::New { forwards: false }) if !void && !forwarded(inside) => {
                            let block = name == "blockquote";
                            let answered = block && left_out.is_some_and(|until| text.out.len() > until);
                            if answered || (!block && interleaved(inside)) {
                                text.interleaved = true;
                                break;
                            }
                            left_out = if block { Some(text.out.len()) } else { left_out };
                            skipped = 1;
                        }
                        (Mark::Below, Want::New { forwards: false }) if !text.out.trim().is_empty() => break,
                        _ => text.open(name, attrs, &mut links),
                    }
                }
                Token::Close(name) => {
                    if skipped > 0 {
                        skipped -= 1;
                        if skipped == 0 {
                            in_signature = false;
                            text.line();
                        }
                        continue;
                    }
                    text.close(name, &mut links);
                }
            }
        }
        text.out.truncate(text.out.trim_end().len());
        text
    }

    fn line(&mut self) {
        self.breaks = self.breaks.max(1);
        self.blank = false;
    }

    fn words(&mut self, words: &str) {
        for c in words.chars() {
            if self.pre > 0 && c == '\n' {
                self.breaks += 1;
                self.blank = false;
            } else if c.is_whitespace() && !(self.pre > 0 && c == ' ') {
                // A blank between words; between blocks it is nothing.
                self.blank |= !self.out.is_empty() && self.breaks == 0;
                if c == '\u{a0}' && self.breaks == 0 {
                    self.blank = true;
                }
            } else if !c.is_control() {
                self.settle();
                self.out.push(c);
            }
        }
    }

    /// Writes the breaks and blanks that wait for a word.
    fn settle(&mut self) {
        if self.breaks > 0 {
            if !self.out.is_empty() {
                self.out.extend(std::iter::repeat_n('\n', self.breaks.min(3)));
            }
            self.out.extend(std::iter::repeat_n("> ", self.quotes.min(20)));
        } else if self.blank {
            self.out.push(' ');
        } else if self.out.is_empty() {
            self.out.extend(std::iter::repeat_n("> ", self.quotes.min(20)));
        }
        self.breaks = 0;
        self.blank = false;
    }

    fn open(&mut self, name: &str, attributes: &str, links: &mut Vec<(String, usize)>) {
        match name {
            "br" => {
                self.breaks += 1;
                self.blank = false;
            }
            "p" => self.breaks = self.breaks.max(2),
            "pre" => {
                self.line();
                self.pre += 1;
            }
            "blockquote" => {
                self.line();
                self.quotes += 1;
            }
            "li" => {
                self.line();
                self.settle();
                self.out.push_str("- ");
            }
            "td" | "th" => self.blank = !self.out.is_empty() && self.breaks == 0,
            "a" => links.push((entities(attribute(attributes, "href").unwrap_or_default()), self.out.len())),
            name if BLOCKS.contains(&name) => self.line(),
            _ => {}
        }
    }

    fn close(&mut self, name: &str, links: &mut Vec<(String, usize)>) {
        match name {
            "p" => self.breaks = self.breaks.max(2),
            "pre" => {
                self.pre = self.pre.saturating_sub(1);
                self.line();
            }
            "blockquote" => {
                self.quotes = self.quotes.saturating_sub(1);
                self.line();
            }
            "a" => {
                let Some((target, from)) = links.pop() else { return };
                let shown = self.out.get(from..).unwrap_or_default().trim();
                let bare = |t: &str| {
                    t.trim_start_matches("https://")
                        .trim_start_matches("http://")
                        .trim_start_matches("mailto:")
                        .trim_end_matches('/')
                        .to_owned()
                };
                let is_web = target.starts_with("http://") || target.starts_with("https://");
                if is_web && !shown.is_empty() && bare(shown) != bare(&target) {
                    self.out.push_str(" <");
                    self.out.push_str(&target);
                    self.out.push('>');
                }
            }
            name if SPACED.contains(&name) && name != "table" => self.breaks = self.breaks.max(1),
            name if BLOCKS.contains(&name) => self.line(),
            _ => {}
        }
    }
}

/// The few entities that a cleaned page has.
fn entities(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    text.replace("&nbsp;", "\u{a0}")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

/// A page that is too long to be understood: what is not between `<` and `>`.
fn bare(html: &str) -> String {
    let mut out = String::new();
    for piece in html.split('<') {
        let text = piece.split_once('>').map_or("", |(_, text)| text);
        out.push_str(&entities(text));
        if out.len() > MAX_TEXT {
            break;
        }
    }
    let lines: Vec<&str> = out.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_is_safe_to_show() {
        for (html, safe) in [
            ("<p onclick=\"x()\">a<script>alert(1)</script></p>", "<p>a</p>"),
            (
                "<img src=\"https://spy.example/p.gif\" alt=\"x\"><img src=\"cid:a@b\">",
                "<img alt=\"x\"><img src=\"cid:a@b\">",
            ),
            ("<a href=\"javascript:x\">a</a>", "<a rel=\"noopener noreferrer nofollow\">a</a>"),
            (
                "<div style=\"background:url(https://spy.example)\" class=\"gmail_quote\" id=\"x\">a</div>",
                "<div>a</div>",
            ),
            ("<form action=\"https://evil.example\"><input name=pw>go</form>", "go"),
            ("<title>t</title><b>a", "<b>a</b>"),
            (
                "<a href='https://x.example/?a=1&b=\"<>'>a</a>",
                "<a href=\"https://x.example/?a=1&amp;b=&quot;&lt;&gt;\" rel=\"noopener noreferrer nofollow\">a</a>",
            ),
        ] {
            assert_eq!(read(html, false).html.unwrap(), safe, "{html}");
        }
    }

    #[test]
    fn a_page_is_read_as_a_person_reads_it() {
        for (html, text) in [
            ("<p>One</p><p>Two<br>Three</p>", "One\n\nTwo\nThree"),
            ("<div>One</div><div>Two</div>", "One\nTwo"),
            ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
            (
                "see <a href=\"https://x.example/y\">here</a> or <a href=\"https://x.example\">x.example</a>",
                "see here <https://x.example/y> or x.example",
            ),
            ("<pre>a\n  b</pre>c", "a\n  b\nc"),
            ("a &amp; b &lt;c&gt;&nbsp;d", "a & b <c> d"),
            ("<blockquote>q<br>r</blockquote>s", "> q\n> r\ns"),
            ("<span style=\"display:none\">preheader</span>a", "a"),
        ] {
            assert_eq!(read(html, false).text, text, "{html}");
        }
    }

    #[test]
    fn answers_between_what_they_answer_keep_it() {
        let gmail = "<div dir=ltr>See below.</div><div class=gmail_quote><div class=gmail_attr>On 1 May 2026, Ann &lt;a@x.org&gt; wrote:<br></div><blockquote class=gmail_quote><div>One?</div></blockquote><div>Yes.</div><blockquote class=gmail_quote><div>Two?</div></blockquote><div>No.</div></div>";
        let mozilla = "<p>See below.</p><div class=moz-cite-prefix>On 1 May 2026, Ann wrote:</div><blockquote type=cite>One?</blockquote><p>Yes.</p><blockquote type=cite>Two?</blockquote><p>No.</p>";
        for page in [gmail, mozilla] {
            let page = read(page, false);
            let new = crate::reply::cut(&page.new, false).text;
            let lines: Vec<&str> = new.lines().filter(|l| !l.is_empty()).collect();
            assert_eq!((lines.first(), lines.last()), (Some(&"See below."), Some(&"No.")), "{new}");
            assert!(new.contains("> One?") && new.contains("Yes.") && new.contains("> Two?"), "{new}");
        }
        // What only stands below a quote is found without it.
        let below = read(
            "Hi.<div class=gmail_quote>On 1 May 2026, Ann &lt;a@x.org&gt; wrote:<blockquote class=gmail_quote>One?</blockquote></div><div>Ann</div>",
            false,
        );
        assert_eq!(below.new, "Hi.\nAnn");
    }

    #[test]
    fn what_programs_mark_as_quoted_is_left_out() {
        for (html, new) in [
            ("Hello<br><div class=\"gmail_quote\">On … wrote:<blockquote>Hi</blockquote></div>", "Hello"),
            (
                "<div class=\"gmail_quote\">---------- Forwarded message ---------<br>From: x</div>",
                "---------- Forwarded message ---------\nFrom: x",
            ),
            ("Hello<blockquote type=\"cite\">Hi</blockquote>Bye", "Hello\nBye"),
            (
                "<div>Hello</div><div id=\"Signature\"><p>Kim</p></div><div id=\"appendonsend\"></div><hr><div id=\"divRplyFwdMsg\">From</div><div>old</div>",
                "Hello",
            ),
            (
                "<p>Hello</p><div style=\"border:none;border-top:solid #B5C4DF 1.0pt;padding:3.0pt 0cm 0cm 0cm\">From: x</div>old",
                "Hello",
            ),
            ("<div class=\"gmail_quote\">everything</div>", "everything"),
            ("<div id=\"x_divRplyFwdMsg\">all there is</div>", "all there is"),
        ] {
            assert_eq!(read(html, false).new, new, "{html}");
        }
        let page = read("a<div class=gmail_quote>b</div>", true);
        assert_eq!(page.new, "a\nb");
    }

    #[test]
    fn a_page_of_any_size_is_read() {
        let deep = format!("{}x", "<div>".repeat(20_000));
        assert_eq!(read(&deep, false).text, "x");
        let long = format!("<p>{}</p>", "word ".repeat(300_000));
        assert!(read(&long, false).html.is_none() && read(&long, false).text.starts_with("word"));
    }

    proptest! {
        #[test]
        fn nothing_harmful_gets_through(html in "(<|>|/|script|img|src=|\"|'|on|=|a|style|svg|math|<!--|-->|&lt;|&#60;|https://x| |p|href|javascript:|blockquote|type=cite|\\PC){0,40}") {
            let page = read(&html, false);
            let safe = page.html.unwrap().to_ascii_lowercase();
            for token in tokens(&safe) {
                if let Token::Open { name, attributes: text, .. } = token {
                    prop_assert!(TAGS.contains(&name), "{}", name);
                    for (name, value) in attributes(text) {
                        prop_assert!(!name.starts_with("on") && name != "style", "{}", name);
                        prop_assert!(!value.trim_start().starts_with("javascript:"), "{}", value);
                    }
                }
            }
            prop_assert_eq!(MARKED.clean(&safe).to_string(), safe);
        }
    }
}
