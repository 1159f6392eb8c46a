//! The people that come with an event, in each of the shapes in which they come.

use crate::json::{id, tell, text};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What came beside an event: its `users` are a map or a list, of users or of `{ "data": user }`.
pub(super) struct People<'a>(pub &'a Value);

/// What is known of somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Person {
    pub name: Option<String>,
    pub username: Option<String>,
    pub followers: Option<u64>,
    pub verified: bool,
}

/// The longest name that is kept, in characters.
const MAX_NAME: usize = 200;

/// The most people of a list who are looked at.
const MAX_USERS: usize = 1000;

/// A user, who may stand in a `data` of their own.
fn bare(user: &Value) -> &Value {
    user.get("data").filter(|data| data.is_object()).unwrap_or(user)
}

impl People<'_> {
    pub(super) fn of(&self, person: &str) -> Person {
        let users = self.0.get("users").unwrap_or(&Value::Null);
        let found = match users {
            Value::Object(all) => all.get(person).map(bare),
            Value::Array(all) => {
                all.iter().take(MAX_USERS).map(bare).find(|user| id(user, "/id").as_deref() == Some(person))
            }
            _ => None,
        };
        found.map(Person::of).unwrap_or_default()
    }

    /// Those of `users` who have a part in one event, with what is read of them, so that it can be kept alone.
    pub(super) fn named(around: &Value, event: &Value) -> Value {
        let pointers =
            ["/sender_id", "/message_create/sender_id", "/target/recipient_id", "/message_create/target/recipient_id"];
        let named = pointers.iter().filter_map(|at| id(event, at)).filter_map(|person| {
            let user = around.get("users")?.get(&person)?;
            Some((person, Person::of(bare(user)).written()))
        });
        Value::Object(Map::from_iter(named))
    }
}

impl Person {
    /// A user object, of either version of the API.
    pub(crate) fn of(user: &Value) -> Person {
        let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect::<String>();
        let count = |at: &str| user.pointer(at).and_then(Value::as_u64);
        Person {
            name: text(user, "/name").map(short),
            username: text(user, "/username").or_else(|| text(user, "/screen_name")).map(short),
            followers: count("/public_metrics/followers_count").or_else(|| count("/followers_count")),
            verified: user.get("verified").and_then(Value::as_bool) == Some(true),
        }
    }

    /// As [`Person::of`] reads it.
    fn written(&self) -> Value {
        let count = self.followers.map(|n| json!({ "followers_count": n }));
        let all = json!({
            "name": self.name, "username": self.username, "public_metrics": count, "verified": self.verified,
        });
        let Value::Object(all) = all else { return all };
        all.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    pub(crate) fn told(&self, meta: &mut BTreeMap<String, String>) {
        tell(meta, "username", self.username.as_deref());
        tell(meta, "followers", self.followers.map(|n| n.to_string()).as_deref());
        tell(meta, "verified", self.verified.then_some("true"));
    }
}
