//! Whom a delivery is for. An app has one address, which Meta calls for all of its pages, accounts and numbers.

use crate::event::{id, text};
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

/// What is said of a business account and none of its numbers.
pub(crate) fn of_no_number() -> String {
    account(WHATSAPP, "")
}

/// The delivery by accounts, each part a delivery of its own, in the order in which they come. Empty for what cannot be told apart.
pub(crate) fn delivery(body: &Bytes) -> Vec<(String, Bytes)> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return vec![] };
    let (Some(object), Some(entries)) = (text(&body, "/object"), body.get("entry").and_then(Value::as_array)) else {
        return vec![];
    };
    let mut parts = Parts::default();
    for entry in entries {
        let changes = entry.get("changes").and_then(Value::as_array).filter(|_| object == WHATSAPP);
        let Some(changes) = changes else {
            parts.add(account(object, &id(entry, "/id").unwrap_or_default()), entry.clone());
            continue;
        };
        for change in changes {
            let number = id(change, "/value/metadata/phone_number_id");
            let of = number.map_or_else(of_no_number, |number| account(object, &number));
            let mut alone: Map<String, Value> = entry.as_object().cloned().unwrap_or_default();
            alone.insert("changes".to_owned(), json!([change]));
            parts.add(of, Value::Object(alone));
        }
    }
    parts.written(object)
}

#[derive(Default)]
struct Parts {
    order: Vec<String>,
    entries: BTreeMap<String, Vec<Value>>,
    too_many: bool,
}

impl Parts {
    fn add(&mut self, account: String, entry: Value) {
        if let Some(known) = self.entries.get_mut(&account) {
            return known.push(entry);
        }
        self.too_many |= self.order.len() >= MOST_ACCOUNTS;
        if !self.too_many {
            self.order.push(account.clone());
            self.entries.insert(account, vec![entry]);
        }
    }

    fn written(mut self, object: &str) -> Vec<(String, Bytes)> {
        if self.too_many {
            return vec![];
        }
        let part = |account: String| {
            let entries = self.entries.remove(&account).unwrap_or_default();
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
        let entry = json!({ "id": "waba", "changes": [change("5"), closed, change("6")] });
        let found = parts(&json!({ "object": WHATSAPP, "entry": [entry] }));
        let accounts: Vec<&str> = found.iter().map(|(account, _)| account.as_str()).collect();
        assert_eq!(accounts, [account(WHATSAPP, "5"), of_no_number(), account(WHATSAPP, "6")]);
        assert_eq!(found[1].1, json!({ "object": WHATSAPP, "entry": [{ "id": "waba", "changes": [closed] }] }));
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
