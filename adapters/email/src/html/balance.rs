//! A page with its tags in order, before anything builds a tree of it.
//!
//! A parser of HTML mends pages as browsers do: it looks through all open elements at many a tag, and opens again what a block closed
//! too early. So a mebibyte of unclosed tags costs it minutes, and some hundred open `<b a=1>` cost it gigabytes. Here each element is
//! closed before the one around it, none is deeper than [`MAX_DEPTH`], and what has no business where it stands is left out: on what
//! comes out, the parser's work is bounded by its length. What is shown is a page that browsers make of the one that came, or nearly:
//! an end tag inside of a block closes nothing outside of it, and what stands between the cells of a table is a cell.

/// Elements inside of elements; of a deeper one the tag is left out, and not what is in it.
const MAX_DEPTH: usize = 128;
/// The most bytes of the attributes of one element.
const MAX_ATTRIBUTES: usize = 16 * 1024;
/// The most attributes of one element; a parser compares each with all before it.
const MAX_COUNT: usize = 50;

/// What is written is at most so many times as long as a page that is read; a page of signs grows.
const MAX_OUT: usize = 2 * super::MAX_HTML;

/// Elements that hold nothing.
const VOID: &[&str] = &["br", "hr", "img", "wbr", "col"];
/// Elements whose content is text up to their end, whatever it looks like.
const RAW: &[&str] = &["script", "style", "title", "textarea", "iframe", "noscript"];
/// Elements that a paragraph cannot hold: it ends before them.
const BLOCKS: &[&str] = &[
    "blockquote",
    "center",
    "details",
    "div",
    "dl",
    "dd",
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
    "p",
    "pre",
    "summary",
    "table",
    "ul",
];
/// What has its place in a table only.
const TABLE: &[&str] = &["caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "td", "th"];

/// What bounds the elements inside of it.
const CELLS: &[&str] = &["table", "td", "th", "caption"];
/// What bounds the items of a list.
const LISTS: &[&str] = &["ul", "ol", "dl", "blockquote", "table", "td", "th", "caption"];
/// What bounds what stands in a line.
const WALLS: &[&str] = &[
    "blockquote",
    "center",
    "details",
    "div",
    "dl",
    "dd",
    "dt",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "li",
    "ol",
    "p",
    "pre",
    "summary",
    "table",
    "td",
    "th",
    "caption",
    "ul",
];

/// The page in order. Of the tags, those in `tags` are kept; of the elements in `dropped` nothing is.
pub(super) fn balanced(html: &str, tags: &[&str], dropped: &[&str]) -> String {
    let mut writer = Writer { out: String::with_capacity(html.len()), open: vec![], endless: vec![] };
    let mut rest = html;
    while let Some(at) = rest.find('<').filter(|_| writer.out.len() < MAX_OUT) {
        let (text, from) = rest.split_at(at);
        writer.text(text);
        rest = writer.markup(from, tags, dropped);
    }
    if writer.out.len() < MAX_OUT {
        writer.text(rest);
    }
    writer.close_to(0);
    writer.out
}

struct Writer<'a> {
    out: String,
    /// The open elements that were written.
    open: Vec<&'a str>,
    /// Ends that do not stand anywhere in what follows: each is looked for to the end of the page once.
    endless: Vec<String>,
}

impl<'a> Writer<'a> {
    /// Writes what begins with this `<`, and returns what follows it.
    fn markup<'h>(&mut self, from: &'h str, tags: &[&'a str], dropped: &[&str]) -> &'h str {
        let inside = from.get(1..).unwrap_or_default();
        if let Some(comment) = inside.strip_prefix("!--") {
            // `<!-->` is a whole comment.
            let comment = if comment.starts_with('>') || comment.starts_with("->") { inside } else { comment };
            if let Some(after) = self.behind(comment, "-->") {
                return after;
            }
        }
        if inside.starts_with(['!', '?']) {
            return inside.split_once('>').map_or("", |(_, after)| after);
        }
        let (closes, named) = inside.strip_prefix('/').map_or((false, inside), |named| (true, named));
        if !named.starts_with(|c: char| c.is_ascii_alphabetic()) {
            // A sign, and no tag; or an end tag of nothing, which is a comment.
            if closes {
                return named.split_once('>').map_or("", |(_, after)| after);
            }
            self.text("<");
            return inside;
        }
        let end = named.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')).unwrap_or(named.len());
        let (name, after) = named.split_at(end);
        let name = name.to_ascii_lowercase();
        let Tag { attributes, empty, after } = Tag::read(after);
        if let Some(known) = tags.iter().find(|t| **t == name) {
            if closes { self.close(known) } else { self.start(known, &attributes) }
        } else if !closes && RAW.contains(&name.as_str()) {
            // As in a browser, all that follows belongs to it if it has no end.
            return self.behind(after, &format!("</{name}")).map_or("", |after| Tag::read(after).after);
        } else if !closes && !empty && dropped.contains(&name.as_str()) {
            return self.behind(after, &format!("</{name}")).map_or(after, |after| Tag::read(after).after);
        }
        after
    }

    /// What follows the next `end`, in any case; `None` when there is none.
    fn behind<'h>(&mut self, text: &'h str, end: &str) -> Option<&'h str> {
        if self.endless.iter().any(|e| e == end) {
            return None;
        }
        let found = find_ignoring_case(text, end).and_then(|at| text.get(at + end.len()..));
        if found.is_none() {
            self.endless.push(end.to_owned());
        }
        found
    }

    fn text(&mut self, text: &str) {
        if !text.trim_ascii().is_empty() {
            self.make_cell();
        }
        self.out.push_str(if text == "<" { "&lt;" } else { text });
    }

    /// Between the cells of a table a browser would move things in front of it, one by one.
    fn make_cell(&mut self) {
        if self.open.last().is_some_and(|o| matches!(*o, "table" | "thead" | "tbody" | "tfoot" | "tr" | "colgroup")) {
            self.start("td", "");
        }
    }

    fn start(&mut self, name: &'a str, attributes: &str) {
        // A cell is where its table is.
        if !self.make_room(name) || (self.open.len() >= MAX_DEPTH && name != "td") {
            return;
        }
        if !VOID.contains(&name) {
            self.open.push(name);
        }
        self.out.push('<');
        self.out.push_str(name);
        self.out.push_str(attributes);
        self.out.push('>');
    }

    /// Closes what ends where an element begins; false when it cannot begin here.
    fn make_room(&mut self, name: &str) -> bool {
        if TABLE.contains(&name) {
            let parents: &[&str] = match name {
                "td" | "th" => &["tr", "tbody", "thead", "tfoot", "table"],
                "tr" => &["tbody", "thead", "tfoot", "table"],
                "col" => &["colgroup", "table"],
                _ => &["table"],
            };
            let parent = self.open.iter().rposition(|o| parents.contains(o));
            // The nearest table only.
            let table = self.open.iter().rposition(|o| *o == "table");
            let Some(parent) = parent.filter(|parent| Some(*parent) >= table) else { return false };
            self.close_to(parent + 1);
            return true;
        }
        self.make_cell();
        if BLOCKS.contains(&name) {
            self.end("p", CELLS);
        }
        match name {
            "li" => drop(self.end("li", LISTS)),
            "dd" | "dt" => {
                self.end("dd", LISTS);
                self.end("dt", LISTS);
            }
            "a" => drop(self.end("a", CELLS)),
            _ => {}
        }
        true
    }

    /// Ends the nearest element of this name, unless one of `walls` is nearer; false when it does not.
    fn end(&mut self, name: &str, walls: &[&str]) -> bool {
        let near = self.open.iter().enumerate().rev().find(|(_, o)| **o == name || walls.contains(*o));
        let at = near.filter(|(_, o)| **o == name).map(|(at, _)| at);
        at.is_some_and(|at| {
            self.close_to(at);
            true
        })
    }

    fn close(&mut self, name: &'a str) {
        match name {
            // A break, for every browser.
            "br" => self.start("br", ""),
            // A paragraph that nobody opened is an empty one.
            "p" if !self.end("p", CELLS) => {
                self.start("p", "");
                self.end("p", CELLS);
            }
            "p" => {}
            name if VOID.contains(&name) => {}
            // What is in a cell ends no cell, and no table around it.
            name if TABLE.contains(&name) => drop(self.end(name, &["table"])),
            "table" => drop(self.end(name, &[])),
            "li" | "dd" | "dt" => drop(self.end(name, LISTS)),
            name if BLOCKS.contains(&name) => drop(self.end(name, CELLS)),
            // Inside of a block nothing ends that began outside of it.
            name => drop(self.end(name, WALLS)),
        }
    }

    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            let Some(name) = self.open.pop() else { break };
            self.out.push_str("</");
            self.out.push_str(name);
            self.out.push('>');
        }
    }
}

/// A tag behind its name.
struct Tag<'h> {
    /// As they are written again.
    attributes: String,
    /// It ends in `/>`.
    empty: bool,
    after: &'h str,
}

impl<'h> Tag<'h> {
    /// A tag without an end takes everything with it.
    fn read(text: &'h str) -> Tag<'h> {
        let (mut out, mut count) = (String::new(), 0);
        let mut rest = text;
        loop {
            let start = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            let empty = rest.strip_suffix(start).is_some_and(|between| between.ends_with('/'));
            if let Some(after) = start.strip_prefix('>') {
                return Tag { attributes: out, empty, after };
            }
            let Some(first) = start.chars().next() else { return Tag { attributes: out, empty, after: "" } };
            // A `=` may begin a name.
            let tail = start.get(first.len_utf8()..).unwrap_or_default();
            let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>' | '=');
            let (name, after) = start.split_at(first.len_utf8() + tail.find(ends).unwrap_or(tail.len()));
            let (value, after) = value(after);
            rest = after;
            count += 1;
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if plain && count <= MAX_COUNT && out.len() + name.len() + value.len() < MAX_ATTRIBUTES {
                out.extend([" ", name, "=\"", &value.replace('"', "&quot;").replace('<', "&lt;"), "\""]);
            }
        }
    }
}

fn value(text: &str) -> (&str, &str) {
    let Some(after) = text.trim_start().strip_prefix('=') else { return ("", text) };
    let after = after.trim_start();
    for quote in ['"', '\''] {
        if let Some(inside) = after.strip_prefix(quote) {
            return inside.split_once(quote).unwrap_or((inside, ""));
        }
    }
    let end = after.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(after.len());
    after.split_at(end)
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    let (text, wanted) = (text.as_bytes(), wanted.as_bytes());
    let first = wanted.first()?;
    let mut places = text.iter().enumerate().filter(|(_, b)| *b == first).map(|(at, _)| at);
    places.find(|at| text.get(*at..*at + wanted.len()).is_some_and(|t| t.eq_ignore_ascii_case(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(html: &str) -> String {
        balanced(html, crate::html::TAGS, crate::html::DROPPED)
    }

    #[test]
    fn tags_are_put_in_order() {
        for (html, ordered) in [
            ("<b>a<i>b</b>c</i>", "<b>a<i>b</i></b>c"),
            ("<p>a<p>b", "<p>a</p><p>b</p>"),
            ("<p><b>a<div>b</div>", "<p><b>a</b></p><div>b</div>"),
            ("<div><b>a</div>b</b>", "<div><b>a</b></div>b"),
            ("<span><div>a</span>b</div>c", "<span><div>ab</div>c</span>"),
            ("a</p>b</br>c</div>", "a<p></p>b<br>c"),
            ("<ul><li>a<li>b<ul><li>c</ul>d</ul>", "<ul><li>a</li><li>b<ul><li>c</li></ul>d</li></ul>"),
            (
                "<table><tr><td>a<td>b<table><td>c</table>d</td></tr>e<td>f</table>g",
                "<table><tr><td>a</td><td>b<table><td>c</td></table>d</td></tr><td>e</td><td>f</td></table>g",
            ),
            ("<table> <tr> <b>a</b></table>", "<table> <tr> <td><b>a</b></td></tr></table>"),
            ("<td>a</td>", "a"),
            ("<div><td></div>", "<div></div>"),
            (
                "<A HREF=x/y Title='a\"b' disabled =c / >t</A >",
                "<a HREF=\"x/y\" Title=\"a&quot;b\" disabled=\"c\">t</a>",
            ),
            ("1 < 2 <3 a<", "1 &lt; 2 &lt;3 a&lt;"),
            ("a<!-- <b> -->b<!-->c<!--->d<!DOCTYPE x>e<?x?>f</ x>g", "abcdefg"),
            ("a<!-- b>c<!-- d>e", "ace"),
            ("a<style>b</b></STYLE >c<script>d", "ac"),
            ("a<svg><b>x</b></svg>b<svg/>c<object>d<object>e", "abcde"),
            ("<img src=cid:a<b>c", "<img src=\"cid:a&lt;b\">c"),
        ] {
            assert_eq!(of(html), ordered, "{html}");
        }
    }

    #[test]
    fn pages_that_are_made_to_hurt_take_no_longer() {
        let many = |text: &str| text.repeat(crate::html::MAX_HTML / 4 / text.len());
        let formats: String = (0..2_000).map(|i| format!("<b id={i}>")).collect();
        let half = |text: &str| text.repeat(crate::html::MAX_HTML / 8 / text.len());
        for html in [
            many("<div>"),
            many("<a>"),
            many("<p><b>"),
            many("<table>"),
            many("<table><td>"),
            many("<b><table></b>"),
            format!("<p>{formats}</p>{}", half("<p>x</p>")),
            format!("<table>{formats}{}", half("<tr></tr>x")),
            format!("{}<table>{}", half("<br>"), half("<br>")),
            many("<!--"),
            many("<object>"),
            many("<select><svg><math>"),
            many("<script"),
            many("<b a=\""),
            format!("<b {}>", half("a=b ")),
            many("<"),
            many("</"),
            many("</p>"),
            many("<li><dd>"),
        ] {
            let start = html.get(..40).unwrap();
            let page = crate::fixtures::in_time(start, 30, || crate::html::read(&html, false));
            assert!(page.html.is_some(), "{start}");
        }
    }

    proptest! {
        #[test]
        fn every_element_that_opens_is_closed_in_its_order(html in "(<|>|/|</|b|p|td|tr|table|div|li|ul|a|br|=|\"|'| |<!--|-->|svg|x|\\PC){0,60}") {
            let ordered = of(&html);
            let mut open = vec![];
            for piece in ordered.split('<').skip(1) {
                let name: String = piece.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
                if piece.starts_with('/') {
                    prop_assert_eq!(open.pop(), Some(name), "{}", &ordered);
                } else if !name.is_empty() && !VOID.contains(&name.as_str()) && crate::html::TAGS.contains(&name.as_str()) {
                    open.push(name);
                    prop_assert!(open.len() <= MAX_DEPTH + 1);
                }
            }
            prop_assert!(open.is_empty(), "{}", &ordered);
        }
    }
}
