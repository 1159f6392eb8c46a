//! The words of a mail of ours, as text and as a page that says the same: what was written, the signature, and what is answered.
//! The page is small and plain: nothing in it runs, is fetched from anywhere, or tells anybody that it was read.

use crate::{html, reply};

/// A link is no longer than this, in bytes; a longer one is text.
const MAX_LINK: usize = 2000;
/// What a link begins with.
const SCHEMES: [&str; 3] = ["https://", "http://", "mailto:"];

/// The tag of a quote: by its type and class programs know one, and its style shows it to who knows none of them.
pub(crate) const QUOTE: &str = "blockquote type=\"cite\" class=\"gmail_quote\" \
    style=\"margin:0 0 0 1ex;border-left:1px solid #ccc;padding-left:1ex\" dir=\"auto\"";

/// What stands in a mail. All of it is tidy: its lines end with `\n`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Letter {
    pub words: String,
    /// How the words are to look, where their writer said it.
    pub page: Option<String>,
    pub signature: Option<String>,
    pub quote: Option<Quote>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Quote {
    /// With the line from which on nothing in an answer is new.
    pub above_line: bool,
    /// Who wrote what follows, and when.
    pub intro: String,
    pub text: String,
}

impl Letter {
    pub fn text(&self) -> String {
        let mut text = self.words.trim_end().to_owned();
        if let Some(signature) = &self.signature {
            text.push_str("\n\n-- \n");
            text.push_str(signature.trim());
        }
        if let Some(quote) = &self.quote {
            text.push_str("\n\n");
            if quote.above_line {
                text.push_str(reply::ABOVE);
                text.push_str("\n\n");
            }
            text.push_str(&quote.intro);
            text.push('\n');
            for quoted in quote.text.trim_end().lines() {
                text.push_str(if quoted.starts_with('>') || quoted.is_empty() { ">" } else { "> " });
                text.push_str(quoted);
                text.push('\n');
            }
        }
        text.trim_end().to_owned() + "\n"
    }

    /// The same as a page. What mail programs fold away and cut is marked as they mark it. Only in our own words a link can be
    /// followed: what is quoted may be anybody's, and goes to others.
    pub fn html(&self) -> String {
        let mut out = String::from(
            "<!DOCTYPE html>\n<html><head><meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head>\n<body>\n",
        );
        let safe = self.page.as_deref().and_then(|page| html::read(page, true).html).filter(|p| !p.trim().is_empty());
        out.push_str("<div dir=\"auto\">");
        out.push_str(&safe.unwrap_or_else(|| paragraphs(&self.words)));
        out.push_str("</div>\n");
        if let Some(signature) = &self.signature {
            out.push_str("<div class=\"moz-signature\">-- <br>\n");
            out.push_str(&lines(signature.trim(), true));
            out.push_str("</div>\n");
        }
        if let Some(quote) = &self.quote {
            out.push_str("<br>\n");
            if quote.above_line {
                out.push_str("<div>");
                out.push_str(&lines(reply::ABOVE, false));
                out.push_str("</div>\n");
            }
            out.push_str("<div class=\"gmail_quote\">\n<div class=\"gmail_attr\">");
            out.push_str(&lines(&quote.intro, false));
            out.push_str("</div>\n<");
            out.push_str(QUOTE);
            out.push('>');
            out.push_str(&lines(quote.text.trim_end(), false));
            out.push_str("</blockquote>\n</div>\n");
        }
        out.push_str("</body></html>\n");
        out
    }
}

/// What stands between empty lines is a paragraph.
fn paragraphs(text: &str) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    for line in text.trim_end().lines().chain([""]) {
        if !line.trim().is_empty() {
            if !paragraph.is_empty() {
                paragraph.push('\n');
            }
            paragraph.push_str(line);
        } else if !paragraph.is_empty() {
            out.push_str("<p>");
            out.push_str(&lines(&paragraph, true));
            out.push_str("</p>\n");
            paragraph.clear();
        }
    }
    out
}

/// Lines as they are. With `links` those of the web, and addresses, can be followed.
fn lines(text: &str, links: bool) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            out.push_str("<br>\n");
        }
        let mut rest = line;
        while let Some((before, link, after)) = links.then(|| next_link(rest)).flatten() {
            escape(before, &mut out);
            out.push_str("<a href=\"");
            escape_plainly(link, &mut out);
            out.push_str("\">");
            escape_plainly(link, &mut out);
            out.push_str("</a>");
            rest = after;
        }
        escape(rest, &mut out);
    }
    out
}

/// What comes before the first link of a line, the link, and what follows.
fn next_link(line: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = scheme_at(line, from) {
        let (before, rest) = line.split_at_checked(at)?;
        let scheme = SCHEMES.iter().find(|scheme| starts_with(rest, scheme))?;
        // A scheme inside of a word begins nothing.
        if before.chars().next_back().is_some_and(char::is_alphanumeric) {
            from = at + scheme.len();
            continue;
        }
        let whole = rest.get(..rest.find(ends_link).unwrap_or(rest.len()))?;
        let link = if whole.len() > MAX_LINK { "" } else { without_end(whole) };
        if link.len() > scheme.len() {
            return Some((before, link, rest.get(link.len()..)?));
        }
        from = at + whole.len();
    }
    None
}

/// Where the next scheme begins, in any case.
fn scheme_at(line: &str, from: usize) -> Option<usize> {
    let rest = line.get(from..)?;
    let mut places = rest.match_indices([':']).map(|(colon, _)| from + colon);
    places.find_map(|colon| {
        SCHEMES.iter().find_map(|scheme| {
            let start = colon.checked_sub(scheme.find(':')?).filter(|start| *start >= from)?;
            line.get(start..).is_some_and(|found| starts_with(found, scheme)).then_some(start)
        })
    })
}

fn starts_with(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// A blank, and what cannot stand in a link.
fn ends_link(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "<>\"`{}|\\^".contains(c) || is_invisible(c)
}

/// A link without what ends the sentence that it stands in, or closes a bracket around it.
fn without_end(mut link: &str) -> &str {
    let mut unopened = ['(', '['].map(|open| link.matches(open).count());
    for (left, close) in unopened.iter_mut().zip([')', ']']) {
        *left = link.matches(close).count().saturating_sub(*left);
    }
    while let Some(last) = link.chars().next_back() {
        let closes = match last {
            ')' => unopened.first_mut(),
            ']' => unopened.last_mut(),
            _ => None,
        };
        match closes.filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None if ".,;:!?'*…。、，".contains(last) => {}
            None => break,
        }
        link = link.get(..link.len() - last.len_utf8()).unwrap_or_default();
    }
    link
}

/// What turns the direction of writing, or is not seen: a link with it would look like another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Blanks that stand beside each other, or begin a line, are kept.
fn escape(text: &str, out: &mut String) {
    let mut blank = out.is_empty() || out.ends_with('\n');
    for c in text.chars() {
        match c {
            ' ' if blank => out.push_str("&nbsp;"),
            '\t' => out.push_str("&nbsp;&nbsp;&nbsp; "),
            c => escape_one(c, out),
        }
        blank = matches!(c, ' ' | '\t');
    }
}

fn escape_plainly(text: &str, out: &mut String) {
    for c in text.chars() {
        escape_one(c, out);
    }
}

fn escape_one(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        c if c.is_control() => {}
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_paragraphs_and_lines() {
        for (text, page) in [
            ("One\ntwo\n\nThree", "<p>One<br>\ntwo</p>\n<p>Three</p>\n"),
            ("\n\n\nOne\n\n\n \n\nTwo\n\n", "<p>One</p>\n<p>Two</p>\n"),
            ("a  b\n - c", "<p>a &nbsp;b<br>\n&nbsp;- c</p>\n"),
            ("<b>&\"\u{1}\u{7f}", "<p>&lt;b&gt;&amp;&quot;</p>\n"),
            ("", ""),
        ] {
            assert_eq!(paragraphs(text), page, "{text:?}");
        }
    }

    #[test]
    fn a_link_can_be_followed_where_it_is_shown_as_it_is() {
        let link = |target: &str| format!("<a href=\"{target}\">{target}</a>");
        for (text, page) in [
            ("https://x.example", link("https://x.example")),
            ("see https://x.example/a?b=1&c=2.", format!("see {}.", link("https://x.example/a?b=1&amp;c=2"))),
            ("(http://x.example/a_(b))", format!("({})", link("http://x.example/a_(b)"))),
            ("<HTTPS://X.example>", format!("&lt;{}&gt;", link("HTTPS://X.example"))),
            (
                "mailto:ann@x.example, https://y.example",
                format!("{}, {}", link("mailto:ann@x.example"), link("https://y.example")),
            ),
            (
                "\"https://x.example\" onclick=\"x()\"",
                format!("&quot;{}&quot; onclick=&quot;x()&quot;", link("https://x.example")),
            ),
            ("https://bücher.example/ü", link("https://bücher.example/ü")),
            // The end of the link would stand before its beginning.
            ("https://x.example/\u{202e}gpj.exe", format!("{}\u{202e}gpj.exe", link("https://x.example/"))),
            (
                "javascript:alert(1) data:text/html,x file:///etc ftp://x",
                "javascript:alert(1) data:text/html,x file:///etc ftp://x".into(),
            ),
            (
                "xhttps://x.example https:// mailto: www.x.example",
                "xhttps://x.example https:// mailto: www.x.example".into(),
            ),
        ] {
            assert_eq!(lines(text, true), page, "{text}");
        }
        assert_eq!(lines("https://x.example", false), "https://x.example", "what is quoted is not ours");
        let long = format!("https://x.example/{}", "a".repeat(MAX_LINK));
        assert_eq!(lines(&long, true), long);
    }

    #[test]
    fn a_text_of_any_kind_is_written_in_a_moment() {
        for hostile in ["https://", "mailto:", ":", "https://(", "))))", "https://)", " ", "<", "\u{202e}", "h"] {
            let began = std::time::Instant::now();
            let text = hostile.repeat(300_000 / hostile.len());
            assert!(paragraphs(&text).len() >= text.trim().len(), "{hostile:?}");
            assert!(began.elapsed() < std::time::Duration::from_secs(5), "{hostile:?}: {:?}", began.elapsed());
        }
    }
}
