//! Whom a delivery is for. An app has one address, which Meta calls for all of its pages, accounts and numbers.

use crate::event::{Size, id, text, written};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The `object` of WhatsApp's deliveries.
pub(crate) const WHATSAPP: &str = "whatsapp_business_account";
/// More accounts than these no delivery is for.
const MOST_ACCOUNTS: usize = 64;

/// A page, account or number. Ids of one product may be another thing's in the next.
pub(crate) fn account(object: &str, id: &str) -> String {
    format!("{object}:{id}")
}

/// What is said of a business account and none of its numbers; without an id, how all of them begin.
pub(crate) fn of_no_number(business: &str) -> String {
    account(WHATSAPP, &format!("waba:{business}"))
}

/// The delivery by accounts, each part a delivery of its own, in the order in which they come. Empty for what cannot be told apart,
/// and for what would become more than a delivery may: that is counted before any of it is made.
pub(crate) fn delivery(body: &Bytes) -> Vec<(String, Bytes)> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return vec![] };
    let (Some(object), Some(entries)) = (text(&body, "/object"), body.get("entry").and_then(Value::as_array)) else {
        return vec![];
    };
    let (mut parts, mut size) = (Parts::default(), Size::default());
    for entry in entries {
        let of = id(entry, "/id").unwrap_or_default();
        match entry.get("changes").and_then(Value::as_array).filter(|_| object == WHATSAPP) {
            Some(changes) if !changes.is_empty() => {
                let around = written(entry.get("id")) + written(entry.get("time"));
                if size.add(changes.len(), around).is_err() {
                    return vec![];
                }
                for change in changes {
                    let number = id(change, "/value/metadata/phone_number_id");
                    let of = number.map_or_else(|| of_no_number(&of), |number| account(object, &number));
                    parts.add(of, entry, Some(change));
                }
            }
            _ if object == WHATSAPP => parts.add(of_no_number(&of), entry, None),
            _ => parts.add(account(object, &of), entry, None),
        }
    }
    parts.written(object)
}

/// An entry as a part has it: whole, or these changes of it alone.
struct Entry<'a> {
    entry: &'a Value,
    changes: Vec<&'a Value>,
}

impl Entry<'_> {
    fn written(&self) -> Value {
        if self.changes.is_empty() {
            return self.entry.clone();
        }
        let around =
            ["id", "time"].into_iter().filter_map(|name| Some((name.to_owned(), self.entry.get(name)?.clone())));
        let mut alone: Map<String, Value> = around.collect();
        alone.insert("changes".to_owned(), json!(self.changes));
        Value::Object(alone)
    }
}

#[derive(Default)]
struct Parts<'a> {
    order: Vec<String>,
    entries: BTreeMap<String, Vec<Entry<'a>>>,
    too_many: bool,
}

impl<'a> Parts<'a> {
    /// Adds an entry, or one change of it.
    fn add(&mut self, account: String, entry: &'a Value, change: Option<&'a Value>) {
        let known = self.entries.get_mut(&account);
        if known.is_none() && self.order.len() >= MOST_ACCOUNTS {
            self.too_many = true;
            return;
        }
        let Some(known) = known else {
            self.order.push(account.clone());
            self.entries.insert(account, vec![Entry { entry, changes: change.into_iter().collect() }]);
            return;
        };
        match (known.last_mut(), change) {
            (Some(last), Some(change)) if std::ptr::eq(last.entry, entry) => last.changes.push(change),
            _ => known.push(Entry { entry, changes: change.into_iter().collect() }),
        }
    }

    fn written(mut self, object: &str) -> Vec<(String, Bytes)> {
        if self.too_many {
            return vec![];
        }
        let part = |account: String| {
            let entries = self.entries.remove(&account).unwrap_or_default();
            let entries: Vec<Value> = entries.iter().map(Entry::written).collect();
            let body = json!({ "object": object, "entry": entries });
            (account, Bytes::from(body.to_string()))
        };
        self.order.drain(..).map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(body: &Value) -> Vec<(String, Value)> {
        let read = |(account, part): (String, Bytes)| (account, serde_json::from_slice(&part).unwrap());
        delivery(&Bytes::from(body.to_string())).into_iter().map(read).collect()
    }

    #[test]
    fn each_account_gets_its_entries_in_their_order_and_nothing_is_lost() {
        let entry = |id: &str, n: u32| json!({ "id": id, "time": n, "messaging": [{ "n": n }] });
        let body = json!({ "object": "page", "entry": [entry("1", 1), entry("2", 2), entry("1", 3), json!(7)] });
        let found = parts(&body);
        let wanted = [
            ("page:1".to_owned(), json!({ "object": "page", "entry": [entry("1", 1), entry("1", 3)] })),
            ("page:2".to_owned(), json!({ "object": "page", "entry": [entry("2", 2)] })),
            ("page:".to_owned(), json!({ "object": "page", "entry": [7] })),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn whatsapps_changes_are_told_apart_by_number_and_the_accounts_news_are_of_none() {
        let change =
            |number: &str| json!({ "field": "messages", "value": { "metadata": { "phone_number_id": number } } });
        let closed = json!({ "field": "account_update", "value": { "event": "ACCOUNT_DELETED" } });
        let changes = [change("5"), closed.clone(), change("6"), change("5")];
        let entry = json!({ "id": "1", "time": 7, "changes": changes });
        let again = json!({ "id": "1", "changes": [change("5")] });
        let empty = json!({ "id": "2", "changes": [] });
        let found = parts(&json!({ "object": WHATSAPP, "entry": [entry, again, empty] }));
        let accounts: Vec<&str> = found.iter().map(|(account, _)| account.as_str()).collect();
        assert_eq!(accounts, [account(WHATSAPP, "5"), of_no_number("1"), account(WHATSAPP, "6"), of_no_number("2")]);
        let of_five = json!([{ "id": "1", "time": 7, "changes": [change("5"), change("5")] }, again]);
        assert_eq!(found[0].1, json!({ "object": WHATSAPP, "entry": of_five }));
        let of_none = json!([{ "id": "1", "time": 7, "changes": [closed] }]);
        assert_eq!(found[1].1, json!({ "object": WHATSAPP, "entry": of_none }));
        assert_eq!(found[3].1, json!({ "object": WHATSAPP, "entry": [empty] }));
    }

    /// A megabyte must not become a hundred gigabytes, nor take minutes.
    #[test]
    fn what_stands_around_many_changes_is_not_copied_for_each() {
        let long = "1".repeat(500_000);
        let many = |around: Value, count: usize| {
            let mut entry = around;
            entry["changes"] = json!(vec![0; count]);
            json!({ "object": WHATSAPP, "entry": [entry] })
        };
        for (around, count) in [(json!({ "id": long }), 250_000), (json!({ "id": "1" }), 500_000)] {
            assert_eq!(parts(&many(around, count)), []);
        }
        for (around, fits) in [
            (json!({ "id": "1", "other": long }), true),
            (json!({ "id": long }), false),
            (json!({ "id": "1", "time": long }), false),
        ] {
            let body = many(around.clone(), 4000);
            let found = parts(&body);
            assert_eq!(found.len(), usize::from(fits));
            assert!(found.iter().all(|(_, part)| part.to_string().len() < 20_000), "{:.100}", around.to_string());
        }
    }

    #[test]
    fn what_is_no_delivery_stays_whole() {
        let many: Vec<Value> = (0..=MOST_ACCOUNTS).map(|n| json!({ "id": n.to_string() })).collect();
        for odd in [json!(7), json!({}), json!({ "object": "page" }), json!({ "object": "page", "entry": many })] {
            assert_eq!(parts(&odd), [], "{odd}");
        }
        assert_eq!(delivery(&Bytes::from_static(b"{")), []);
    }
}
