//! A snapshot that an earlier build wrote is read by this one.

use crate::life::{CHANNEL, Life};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use switchboard_envelope::{Action, ChannelProfile, Inbound, Outcome, Receipt, ReceiptStatus, Timestamp};
use switchboard_routing_rules::State;

/// What came to be kept later, by the record in which it stands.
const LATER: [(&str, &[&str]); 4] = [
    ("Head", &["assign_at", "packs", "canary"]),
    ("Conversation", &["resolution", "answered", "answer", "chosen", "chosen_priority"]),
    ("Agent", &["idle_since", "wrap_until"]),
    ("Settled", &["parts"]),
];

/// What a conversation had none of was written all the same.
fn nothings() -> Vec<(&'static str, Any)> {
    let none = ["queue", "agent", "offer", "relaxed", "ageing", "queued_at", "entered_at", "last_in", "last_out"];
    let none = none.into_iter().chain(["last_message", "last_sent", "clock", "resolution_due", "wait_until"]);
    let lists = ["overflow", "tags", "lane"].into_iter().map(|name| (name, Any::List(vec![])));
    let maps = ["skills", "declined"].into_iter().map(|name| (name, Any::Named(vec![])));
    let numbers = ["step", "auto_replies"].into_iter().map(|name| (name, Any::Number(0)));
    none.map(|name| (name, Any::Nothing)).chain(lists).chain(maps).chain(numbers).collect()
}

/// Anything that a record may hold.
#[derive(Debug, PartialEq)]
enum Any {
    Nothing,
    Flag(bool),
    Number(i64),
    Large(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Any>),
    Named(Vec<(Any, Any)>),
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Any::Nothing => to.serialize_unit(),
            Any::Flag(b) => to.serialize_bool(*b),
            Any::Number(n) => to.serialize_i64(*n),
            Any::Large(n) => to.serialize_u64(*n),
            Any::Text(t) => to.serialize_str(t),
            Any::Bytes(b) => to.serialize_bytes(b),
            Any::List(list) => list.serialize(to),
            Any::Named(entries) => {
                let mut map = to.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(k, v)| map.serialize_entry(k, v))?;
                map.end()
            }
        }
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Any;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Nothing)
    }

    fn visit_none<E>(self) -> Result<Any, E> {
        Ok(Any::Nothing)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Any, E> {
        Ok(Any::Flag(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Any, E> {
        Ok(Any::Number(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Any, E> {
        Ok(Any::Large(n))
    }

    fn visit_str<E>(self, t: &str) -> Result<Any, E> {
        Ok(Any::Text(t.to_owned()))
    }

    fn visit_bytes<E>(self, b: &[u8]) -> Result<Any, E> {
        Ok(Any::Bytes(b.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Any, A::Error> {
        let mut list = vec![];
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Any::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
        let mut entries = vec![];
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Any::Named(entries))
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Any, D::Error> {
        from.deserialize_any(Reader)
    }
}

/// The records as they were before, and how many fields they had less.
fn before(public: &[u8]) -> (Vec<u8>, usize) {
    let (mut rest, mut written, mut left_out) = (public, vec![], 0);
    while !rest.is_empty() {
        let record = Any::deserialize(&mut rmp_serde::Deserializer::new(&mut rest)).expect("a record");
        let Any::Named(mut entries) = record else { panic!("{record:?} is no record") };
        let Some((Any::Text(kind), held)) = entries.first_mut() else { panic!("{entries:?} has no kind") };
        if kind == "Pace" || kind == "LastAgent" {
            continue;
        }
        // Where a record holds a key and an entity, the entity comes last.
        let entity = if let Any::List(parts) = held { parts.last_mut().expect("an entity") } else { held };
        if let (Some((_, later)), Any::Named(fields)) = (LATER.iter().find(|(of, _)| of == kind), entity) {
            let all = fields.len();
            fields.retain(|(name, _)| !matches!(name, Any::Text(n) if later.contains(&n.as_str())));
            left_out += all - fields.len();
            let written = |name: &str| fields.iter().any(|(n, _)| *n == Any::Text(name.into()));
            let missing = nothings().into_iter().filter(|(name, _)| kind == "Conversation" && !written(name));
            let missing: Vec<_> = missing.map(|(name, none)| (Any::Text(name.into()), none)).collect();
            fields.extend(missing);
        }
        rmp_serde::encode::write_named(&mut written, &Any::Named(entries)).expect("it is written");
    }
    (written, left_out)
}

#[test]
fn a_snapshot_from_before_skills_clocks_and_wrap_up_is_read() {
    let pack = "
zone: UTC
queues: { q: { sla: { first_response: 15m, resolution: 8h }, wrap_up: 30s, sticky: 1d } }
agents: { ann: { capacity: 1 } }
default: { queue: q }
";
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), pack);
    life.asks("1", Action::Presence { agent: "ann".into(), presence: "available".into() });
    for who in ["a", "b", "c"] {
        life.writes(who, who);
    }
    let conversation = life.conversation_of("a");
    life.asks("2", Action::Close { conversation });
    let parts = life.state.to_parts().expect("a snapshot");
    let (older, left_out) = before(&parts.public);
    assert!(left_out >= 1 + 3 + 2, "{left_out} fields are new");
    let mut read = State::from_parts(life.state.salt, &older, &parts.private).expect("it is read");
    assert_eq!((read.conversations.len(), read.depth("q")), (3, life.state.depth("q")));
    assert_eq!(read.agents["ann"].presence, life.state.agents["ann"].presence);
    let due = |state: &State| {
        let thread = state.thread_hash(CHANNEL, "b");
        state.conversation_of_thread(thread).and_then(|c| c.resolution_due.get())
    };
    assert!(due(&read).is_some() && due(&read) == due(&life.state), "its clock runs on");
    // And goes on: what is new is filled in by what happens.
    std::mem::swap(&mut life.state, &mut read);
    life.asks("3", Action::Presence { agent: "ann".into(), presence: "available".into() });
    life.passes(60_000);
    life.writes("d", "d");
    assert_eq!(life.state.conversations.len(), 4);
}

#[test]
fn a_snapshot_from_before_parts_had_receipts_of_their_own_is_read() {
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "a long text").2;
    life.result(&send, Outcome::Accepted, false, &["P1", "P2"]);
    let receipt = |provider_id: &str, status: ReceiptStatus| {
        Inbound::Receipt(Receipt {
            id: format!("{CHANNEL}:receipt:{provider_id}:{status:?}"),
            channel: CHANNEL.into(),
            provider_id: provider_id.into(),
            thread: None,
            send: None,
            part: None,
            n: None,
            status,
            at: Timestamp(0),
            code: None,
            detail: None,
        })
    };
    life.hears(&receipt("P1", ReceiptStatus::Delivered));
    let parts = life.state.to_parts().expect("a snapshot");
    let (older, left_out) = before(&parts.public);
    assert!(left_out >= 1, "{left_out} fields are new");
    let read = State::from_parts(life.state.salt, &older, &parts.private).expect("it is read");
    life.state = read;
    let status = |life: &Life| life.state.settled.values().map(|s| s.status).collect::<Vec<_>>();
    assert_eq!(status(&life), [ReceiptStatus::Delivered]);
    // Whose receipt that was nobody knows any more, so it counts for all of it.
    life.hears(&receipt("P2", ReceiptStatus::Failed));
    life.hears(&receipt("P2", ReceiptStatus::Read));
    assert_eq!(status(&life), [ReceiptStatus::Read]);
}
