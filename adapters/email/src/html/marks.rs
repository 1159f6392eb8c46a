//! What a mail program marks in a page: what it quotes, what it signs with, and what it passes on.

use super::{Token, attributes, entities, tokens};

/// What a mark means for the element that carries it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    None,
    Hidden,
    /// The element is quoted.
    Quote,
    Signature,
    /// Everything from here on is quoted.
    Below,
}

/// What the attributes of an element say of it.
pub(super) fn mark(name: &str, text: &str) -> Mark {
    const QUOTES: [&str; 14] = [
        "gmail_quote",
        "gmail_quote_container",
        "gmail_attr",
        "yahoo_quoted",
        "moz-cite-prefix",
        "protonmail_quote",
        "zmail_extra",
        "tutanota_quote",
        "freebirdmailquote",
        "quoted-text",
        "wordsection-quote",
        "qt",
        "mcntmcntquote",
        "oe_quote",
    ];
    const SIGNATURES: [&str; 8] = [
        "gmail_signature",
        "gmail_signature_prefix",
        "moz-signature",
        "protonmail_signature_block",
        "signature",
        "ms-outlook-mobile-signature",
        "mobile-signature",
        "applemailsignature",
    ];
    const BELOW: [&str; 7] = [
        "divrplyfwdmsg",
        "appendonsend",
        "olk_src_body_section",
        "mail-editor-reference-message-container",
        "replyforwardedmessage",
        "oriMsgHtmlSeperator",
        "divtagdefaultwrapper_reply",
    ];
    let mut style = Mark::None;
    for (attribute, value) in attributes(text) {
        let value = value.to_ascii_lowercase();
        let any = |table: &[&str]| {
            value.split_ascii_whitespace().any(|v| {
                let v = v.strip_prefix("x_").unwrap_or(v);
                table.iter().any(|t| t.eq_ignore_ascii_case(v))
            })
        };
        match attribute {
            "style" if value == "hidden" => return Mark::Hidden,
            "style" if value == "outlook" => style = Mark::Below,
            "class" | "id" if any(&BELOW) => return Mark::Below,
            "class" | "id" if any(&QUOTES) => return Mark::Quote,
            "class" | "id" if any(&SIGNATURES) => return Mark::Signature,
            "data-marker" if value.contains("quoted_text") => return Mark::Quote,
            "type" if name == "blockquote" && value == "cite" => return Mark::Quote,
            _ => {}
        }
    }
    style
}

/// Gmail marks what it forwards as it marks what it quotes.
pub(super) fn forwarded(inside: &str) -> bool {
    let words = tokens(inside).take(12).filter_map(|t| match t {
        Token::Text(words) => Some(entities(words)),
        _ => None,
    });
    let start: String = words.take(4).collect();
    start.lines().any(|line| crate::reply::marks::is_forward(line.trim()))
}

/// Somebody answered inside of what their program marked as one quote: words stand behind a part that is quoted.
pub(super) fn interleaved(inside: &str) -> bool {
    let (mut depth, mut quotes, mut quoted) = (1usize, 0usize, false);
    for token in tokens(inside) {
        match token {
            Token::Text(words) => {
                if quoted && quotes == 0 && !entities(words).trim().is_empty() {
                    return true;
                }
            }
            Token::Open { name, .. } if is_void(name) => {}
            Token::Open { name, .. } => {
                depth += 1;
                quotes += usize::from(name == "blockquote");
            }
            Token::Close(name) => {
                depth -= 1;
                if depth == 0 {
                    return false;
                }
                if name == "blockquote" {
                    quotes = quotes.saturating_sub(1);
                    quoted = true;
                }
            }
        }
    }
    false
}

/// An element that nothing closes.
pub(super) fn is_void(name: &str) -> bool {
    matches!(name, "br" | "hr" | "img" | "wbr" | "col")
}
