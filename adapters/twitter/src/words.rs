//! The words of a post or message: as X writes them, and as X counts them
//! (<https://docs.x.com/fundamentals/counting-characters>).

use icu_normalizer::ComposingNormalizerBorrowed;
use regex::Regex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What every link counts, however long it is.
const LINK: usize = 23;
/// The most links of a text that are looked at.
const MAX_LINKS: usize = 200;
/// The longest address that stands in the place of a shortened one.
const MAX_EXPANDED: usize = 2048;
/// A text that has grown to this many bytes keeps X's short links: more than a text and its links really have.
const MAX_TEXT: usize = 64 * 1024;
/// How X's own links begin.
const PREFIXES: [&str; 2] = ["https://t.co/", "http://t.co/"];

/// The text with `&amp;`, `&lt;` and `&gt;` as what they mean; X escapes these three and no others.
pub(crate) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')];
        let (c, after) = known
            .iter()
            .find_map(|(escaped, c)| Some((*c, from.strip_prefix(escaped)?)))
            .unwrap_or(('&', from.strip_prefix('&').unwrap_or_default()));
        out.push(c);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The text with X's short links as where they lead. `links` are X's entities; `dropped` are links that stand for files.
///
/// One pass over what X wrote: what a link brings in is not looked at again, so that no event makes more of it than [`MAX_TEXT`] and
/// what it said itself.
pub(crate) fn expanded(text: &str, links: &[&Value], dropped: &[&str]) -> String {
    let text = without(unescaped(text), dropped);
    let mut known: HashMap<&str, &str> = HashMap::new();
    for link in links.iter().take(MAX_LINKS) {
        let at = |name: &str| link.get(name).and_then(Value::as_str);
        let (Some(short), Some(long)) = (at("url"), at("unwound_url").or(at("expanded_url"))) else { continue };
        if is_short(short) && long.len() <= MAX_EXPANDED && long.starts_with("http") && !dropped.contains(&short) {
            known.entry(short).or_insert(long);
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, short, after)) = next_short(rest) {
        out.push_str(before);
        let long = known.get(short).filter(|long| out.len() + long.len() <= MAX_TEXT);
        out.push_str(long.unwrap_or(&short));
        rest = after;
    }
    out.push_str(rest);
    out.trim().to_owned()
}

/// The text without the links of files: each is the last of its kind.
fn without(mut text: String, dropped: &[&str]) -> String {
    for short in dropped.iter().take(MAX_LINKS).filter(|short| is_short(short)) {
        if let Some(at) = text.rfind(short) {
            text.replace_range(at..at + short.len(), "");
        }
    }
    text
}

/// The first of X's links in a text, with what is before and behind it. What X makes of a link is letters and digits.
fn next_short(text: &str) -> Option<(&str, &str, &str)> {
    const HOST: &str = "://t.co/";
    // Each place is looked at once, however many there are.
    text.match_indices(HOST).find_map(|(host, _)| {
        let scheme =
            ["https", "http"].into_iter().find(|s| text.get(..host).is_some_and(|before| before.ends_with(s)))?;
        let name = text.get(host + HOST.len()..)?;
        let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        let (start, end) = (host - scheme.len(), host + HOST.len() + end);
        Some((text.get(..start)?, text.get(start..end)?, text.get(end..)?))
    })
}

/// Only X's own links are replaced, so that an event cannot rewrite words.
pub(crate) fn is_short(link: &str) -> bool {
    link.len() <= 64 && PREFIXES.iter().any(|prefix| link.starts_with(prefix))
}

/// Patterns that never fail to compile: a test compiles them.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

static LINKS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(concat!(
        r"(?i)https?://[^\s<>\x22]*[^\s<>\x22.,:;!?'()\[\]{}]",
        r"|\b[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\.(?:com|org|net|edu|gov|info|biz|io|co|app|dev|shop|store|online|site)\b(?:/[^\s<>\x22]*[^\s<>\x22.,:;!?'()\[\]{}])?",
    ))
});

static EMOJI: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let one = r"\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|\x{FE0F})?[\x{E0020}-\x{E007F}]*";
    pattern(&format!(
        r"\p{{Regional_Indicator}}{{2}}|[0-9#*]\x{{FE0F}}?\x{{20E3}}|{one}(?:\x{{200D}}(?:{one}|[\x{{2640}}\x{{2642}}\x{{2695}}]\x{{FE0F}}?))*"
    ))
});

/// What a text weighs in public: Latin letters and the like 1, others 2, an emoji 2 however it is put together, a link 23.
pub(crate) fn weight(text: &str) -> usize {
    let text = ComposingNormalizerBorrowed::new_nfc().normalize(text);
    let mut weight = 0;
    let mut end = 0;
    for link in LINKS.as_ref().into_iter().flat_map(|links| links.find_iter(&text)) {
        weight += plain_weight(text.get(end..link.start()).unwrap_or_default()) + LINK;
        end = link.end();
    }
    weight + plain_weight(text.get(end..).unwrap_or_default())
}

fn plain_weight(text: &str) -> usize {
    let of = |text: &str| text.chars().map(char_weight).sum::<usize>();
    let (mut weight, mut end) = (0, 0);
    for emoji in EMOJI.as_ref().into_iter().flat_map(|emoji| emoji.find_iter(text)) {
        let own = emoji.as_str();
        // A sign as old as `©` is a letter unless it is marked as an emoji.
        let is_letter = own.chars().count() == 1 && own.chars().all(|c| char_weight(c) == 1);
        weight += of(text.get(end..emoji.start()).unwrap_or_default()) + if is_letter { 1 } else { 2 };
        end = emoji.end();
    }
    weight + of(text.get(end..).unwrap_or_default())
}

fn char_weight(c: char) -> usize {
    match u32::from(c) {
        0..=4351 | 8192..=8205 | 8208..=8223 | 8242..=8247 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn three_escapes_are_read_once() {
        for (written, meant) in [
            ("a &lt; b &amp;&amp; c &gt; d", "a < b && c > d"),
            ("&amp;lt;", "&lt;"),
            ("&quot; &#39; & &am", "&quot; &#39; & &am"),
            ("", ""),
            ("&", "&"),
            ("ż&amp;", "ż&"),
        ] {
            assert_eq!(unescaped(written), meant, "{written}");
        }
    }

    #[test]
    fn short_links_lead_where_they_lead_and_those_of_files_go() {
        let link = json!({ "url": "https://t.co/a1", "expanded_url": "https://shop.example/?a=1&b=2" });
        let said = "see https://t.co/a1 and https://t.co/pic1";
        assert_eq!(expanded(said, &[&link], &["https://t.co/pic1"]), "see https://shop.example/?a=1&b=2 and");
        assert_eq!(expanded(" https://t.co/q9nTPKXu6K", &[], &["https://t.co/q9nTPKXu6K"]), "");
        let rewrites = json!({ "url": "see", "expanded_url": "https://evil.example" });
        let script = json!({ "url": "https://t.co/a1", "expanded_url": "javascript:alert(1)" });
        assert_eq!(expanded(said, &[&rewrites, &script, &json!(7)], &["and", ""]), said);
    }

    #[test]
    fn links_that_lead_to_links_do_not_multiply() {
        // Each of them would bring in 144 of the next one: gigabytes after four.
        let link = |short: char, long: char| {
            let many = format!("https://t.co/{long}").repeat(144);
            json!({ "url": format!("https://t.co/{short}"), "expanded_url": format!("https://e.example/?{many}") })
        };
        let links: Vec<Value> = ('a'..'h').zip('b'..='h').map(|(short, long)| link(short, long)).collect();
        let links: Vec<&Value> = links.iter().collect();
        let long = links.first().and_then(|l| l.get("expanded_url")).and_then(Value::as_str).expect("a link");
        assert_eq!(expanded("https://t.co/a", &links, &[]), long, "what it leads to is not looked at again");
        // One level is bounded as well, and what does not fit stays short.
        let said = "https://t.co/a ".repeat(700);
        let told = expanded(&said, &links, &[]);
        assert!(told.len() <= MAX_TEXT + said.len(), "{}", told.len());
        assert!(told.starts_with(long) && told.ends_with("https://t.co/a"));
    }

    #[test]
    fn a_short_link_is_replaced_only_whole() {
        let link = json!({ "url": "https://t.co/a1", "expanded_url": "https://shop.example/" });
        let said = "https://t.co/a1b https://t.co/a1. (http://t.co/a1) https://t.co/ https://t.co/a1";
        let meant = "https://t.co/a1b https://shop.example/. (http://t.co/a1) https://t.co/ https://shop.example/";
        assert_eq!(expanded(said, &[&link], &[]), meant);
        assert_eq!(expanded("é https://t.co/a1é", &[&link], &[]), "é https://shop.example/é");
    }

    #[test]
    fn a_text_weighs_what_x_counts() {
        assert!(LINKS.is_some() && EMOJI.is_some());
        for (text, wanted) in [
            ("", 0),
            ("hello", 5),
            ("Żółw – “yes”", 12),
            ("e\u{301}", 1),
            ("日本語", 6),
            ("한", 2),
            ("👋", 2),
            ("👨‍👩‍👧‍👦", 2),
            ("👋🏽!", 3),
            ("🇵🇱🇫🇷", 4),
            ("1️⃣", 2),
            ("❤️", 2),
            ("©", 1),
            ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", 2),
            ("see https://shop.example/a/very/long/path?with=a&query=too.", 4 + 23 + 1),
            ("shop.example.com/x, then", 23 + 6),
            ("e.g. this", 9),
            ("1.5 kg", 6),
        ] {
            assert_eq!(weight(text), wanted, "{text}");
        }
        assert_eq!(weight(&"a".repeat(280)), 280);
        assert_eq!(weight(&"語".repeat(140)), 280);
    }
}
