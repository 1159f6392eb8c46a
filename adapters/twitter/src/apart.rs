//! Whom a delivery is for. An app has one webhook, which X calls for all of its accounts.

use crate::json::id;
use bytes::Bytes;
use serde_json::{Value, json};

/// More accounts than these no delivery is for.
const MOST_ACCOUNTS: usize = 64;

/// An account as a delivery names it; without an id, that of what is said of none, which is for the channel that is called.
pub(crate) fn account(id: &str) -> String {
    format!("user:{id}")
}

/// The delivery by accounts, each part a delivery of its own, in the order in which they come. Empty for what cannot be told apart.
pub(crate) fn delivery(body: &Bytes) -> Vec<(String, Bytes)> {
    let Ok(whole) = serde_json::from_slice::<Value>(body) else { return vec![] };
    let Some(data) = whole.get("data") else { return vec![(account(&of_older(&whole)), body.clone())] };
    let mut parts: Vec<(String, Vec<&Value>)> = vec![];
    for event in data.as_array().map_or(std::slice::from_ref(data), Vec::as_slice) {
        let of = account(&of_activity(event));
        if let Some((_, events)) = parts.iter_mut().find(|(known, _)| *known == of) {
            events.push(event);
        } else if parts.len() < MOST_ACCOUNTS {
            parts.push((of, vec![event]));
        } else {
            return vec![];
        }
    }
    if let [(of, _)] = &parts[..] {
        return vec![(of.clone(), body.clone())];
    }
    parts.into_iter().map(|(of, events)| (of, json!({ "data": events }).to_string().into())).collect()
}

/// Whom an X Activity event is told for. Of a revocation it is the account whose rights the app loses.
fn of_activity(event: &Value) -> String {
    let revoked = event.get("event_type").and_then(Value::as_str) == Some("oauth.revoke");
    let of = revoked.then(|| id(event, "/payload/user_id").or_else(|| id(event, "/payload/revoke/source/user_id")));
    of.flatten().or_else(|| id(event, "/filter/user_id")).unwrap_or_default()
}

/// The same of a delivery of the older API.
fn of_older(whole: &Value) -> String {
    id(whole, "/for_user_id").or_else(|| id(whole, "/user_event/revoke/source/user_id")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(body: &Value) -> Vec<(String, Value)> {
        let read = |(account, part): (String, Bytes)| (account, serde_json::from_slice(&part).unwrap());
        delivery(&Bytes::from(body.to_string())).into_iter().map(read).collect()
    }

    #[test]
    fn each_account_gets_its_events_in_their_order_and_nothing_is_lost() {
        let event = |of: &str, n: u32| json!({ "event_uuid": n, "filter": { "user_id": of }, "event_type": "dm.read" });
        let nobodys = json!({ "event_uuid": 9 });
        let body = json!({ "data": [event("1", 1), event("2", 2), nobodys, event("1", 3)] });
        let wanted = [
            ("user:1".to_owned(), json!({ "data": [event("1", 1), event("1", 3)] })),
            ("user:2".to_owned(), json!({ "data": [event("2", 2)] })),
            ("user:".to_owned(), json!({ "data": [nobodys] })),
        ];
        assert_eq!(parts(&body), wanted);
    }

    #[test]
    fn what_is_for_one_account_stays_as_it_is() {
        let revoked = json!({ "revoke": { "source": { "user_id": "2" }, "target": { "app_id": "7" } } });
        for (body, of) in [
            (json!({ "data": { "filter": { "user_id": "2" } }, "more": 1 }), "user:2"),
            (
                json!({ "data": [{ "filter": { "user_id": "2" } }, { "filter": { "user_id": "2" } }], "more": 1 }),
                "user:2",
            ),
            (json!({ "data": { "event_type": "oauth.revoke", "payload": { "user_id": "2" } } }), "user:2"),
            (json!({ "data": { "event_type": "oauth.revoke", "payload": revoked } }), "user:2"),
            (json!({ "data": 7 }), "user:"),
            (json!({ "for_user_id": "2", "tweet_create_events": [] }), "user:2"),
            (json!({ "user_event": revoked }), "user:2"),
            (json!({ "replay_job_status": {} }), "user:"),
        ] {
            let whole = Bytes::from(format!(" {body}"));
            assert_eq!(delivery(&whole), [(of.to_owned(), whole.clone())], "{body}");
        }
    }

    #[test]
    fn what_is_no_delivery_stays_whole() {
        let many: Vec<Value> = (0..=MOST_ACCOUNTS).map(|n| json!({ "filter": { "user_id": n } })).collect();
        assert_eq!(parts(&json!({ "data": many })), []);
        assert_eq!(parts(&json!({ "data": [] })), []);
        assert_eq!(delivery(&Bytes::from_static(b"{")), []);
    }
}
