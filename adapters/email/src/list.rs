//! Mail of lists: how one leaves them (RFC 2369, RFC 8058), and how they are told from people.

use crate::header::{self, Headers};

/// How to leave a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsubscribe {
    /// A POST of `List-Unsubscribe=One-Click` to this address is enough.
    OneClick(String),
    Mail {
        address: String,
        subject: Option<String>,
    },
    /// A page that a person has to open.
    Page(String),
}

/// What the fields say; the simplest way first.
#[must_use]
pub fn unsubscribe(list_unsubscribe: &str, list_unsubscribe_post: Option<&str>) -> Option<Unsubscribe> {
    let mut links = vec![];
    let mut rest = list_unsubscribe;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((link, tail)) = after.split_once('>') else { break };
        links.push(link.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect::<String>());
        rest = tail;
    }
    let with = |scheme: &'static str| {
        links.iter().find_map(move |link| {
            let found = link.get(..scheme.len())?;
            let written = format!("{scheme}{}", link.get(scheme.len()..).unwrap_or_default());
            let link = url::Url::parse(&written).ok().filter(|_| found.eq_ignore_ascii_case(scheme))?;
            Some(link.to_string())
        })
    };
    let one_click =
        list_unsubscribe_post.is_some_and(|post| post.trim().eq_ignore_ascii_case("List-Unsubscribe=One-Click"));
    if let Some(link) = with("https://").filter(|_| one_click) {
        return Some(Unsubscribe::OneClick(link));
    }
    if let Some(link) = with("mailto:") {
        let link = link.strip_prefix("mailto:").unwrap_or(&link);
        let (address, query) = link.split_once('?').unwrap_or((link, ""));
        let subject = query.split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.eq_ignore_ascii_case("subject").then(|| percent(value))
        });
        if address.contains('@') {
            return Some(Unsubscribe::Mail { address: percent(address), subject });
        }
    }
    with("https://").or_else(|| with("http://")).map(Unsubscribe::Page)
}

fn percent(text: &str) -> String {
    let mut out = vec![];
    crate::transfer::escapes(text.as_bytes(), b'%', false, &mut out);
    crate::charset::decode(Some("utf-8"), &out).chars().filter(|c| !c.is_control()).collect()
}

/// The id of the list that a mail came by.
#[must_use]
pub fn id(headers: &Headers) -> Option<String> {
    let value = headers.first("list-id").map(header::shown)?;
    let (_, after) = value.rsplit_once('<')?;
    let (id, _) = after.split_once('>')?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// It went to many: a list's mail, or a newsletter.
#[must_use]
pub fn is_bulk(headers: &Headers) -> bool {
    let precedence = headers.word("precedence");
    ["bulk", "junk", "list"].contains(&precedence.as_str())
        || id(headers).is_some()
        || ["list-unsubscribe", "list-unsubscribe-post", "feedback-id"].iter().any(|name| headers.has(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_corpus_is_met() {
        let names = fixtures::names("list-unsubscribe", ".json");
        for name in &names {
            let case = fixtures::json(&format!("list-unsubscribe/{name}"));
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            let found = unsubscribe(
                &text(&case["input"]["list_unsubscribe"]).unwrap_or_default(),
                text(&case["input"]["list_unsubscribe_post"]).as_deref(),
            );
            let wanted = &case["expected"];
            let met = match (&found, wanted["kind"].as_str()) {
                (Some(Unsubscribe::OneClick(url)), Some("OneClick"))
                | (Some(Unsubscribe::Page(url)), Some("HttpLink")) => Some(url.as_str()) == wanted["url"].as_str(),
                (Some(Unsubscribe::Mail { address, subject }), Some("Mailto")) => {
                    Some(address.as_str()) == wanted["address"].as_str()
                        && subject.as_deref() == wanted["subject"].as_str()
                }
                (None, None | Some("None")) => true,
                _ => false,
            };
            assert!(met, "{name}: {found:?}, wanted {wanted}");
        }
        println!("{} of {} unsubscribe cases met", names.len(), names.len());
    }
}
