//! Text messages: longer ones that come part by part, and keywords that their channel answers.

use std::collections::BTreeMap;
use switchboard_envelope::{
    Address, Author, ChannelProfile, ConsentChange, ConsentState, Content, Inbound, Message, Timestamp, Visibility,
};
use switchboard_routing_rules::event::{Event, Private, Public};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::invariants::check_invariants;
use switchboard_routing_rules::pack::{Environment, RulePack};
use switchboard_routing_rules::{Input, State, decide};

const CHANNEL: &str = "support-sms";
const ANN: &str = "+15551230001";
const SALT: Salt = Salt([7; 16]);

struct Life {
    state: State,
    pack: RulePack,
    seq: u64,
    now: Timestamp,
}

impl Life {
    fn new() -> Life {
        Life::on(ChannelProfile::new("sms", "phone"))
    }

    fn on(profile: ChannelProfile) -> Life {
        let yaml = "zone: UTC\nqueues: { q: {} }\ndefault: { queue: q }\n";
        let files = [("a.yaml".to_owned(), yaml.as_bytes().to_vec())];
        let pack = RulePack::load(&files, &Environment::default()).expect("a pack").pack;
        let channels = BTreeMap::from([(CHANNEL.to_owned(), profile)]);
        let now = Timestamp(1_800_000_000_000);
        let state = decide(State::new(SALT), &Input::Lead { now, incarnation: 1, channels: &channels }, &pack).after;
        Life { state, pack, seq: 0, now }
    }

    fn decided(&mut self, input: &Input<'_>) -> Vec<Event> {
        let decision = decide(self.state.clone(), input, &self.pack);
        self.state = decision.after;
        assert_eq!(check_invariants(&self.state, &self.pack), vec![]);
        // What is stored in between is the same state.
        let parts = self.state.to_parts().expect("a snapshot");
        assert_eq!(State::from_parts(SALT, &parts.public, &parts.private).expect("it is read"), self.state);
        State::check_public(&parts.public).expect("it is the same");
        parts.private.iter().for_each(|(_, part)| State::check_private(part).expect("it is the same"));
        decision.events
    }

    fn part(&mut self, key: &str, from: &str, of: &str, number: u16, total: u16, text: &str) -> Vec<String> {
        let meta = [("part_of", of.to_owned()), ("part", number.to_string()), ("parts", total.to_string())];
        received(&self.said(key, from, text, meta.map(|(k, v)| (k.to_owned(), v)).into()))
    }

    fn keyword(&mut self, key: &str, keyword: &str) -> Vec<(String, String)> {
        let meta = BTreeMap::from([("keyword".to_owned(), keyword.to_owned())]);
        answered(&self.said(key, ANN, "a word", meta))
    }

    fn consents(&mut self, key: &str, state: ConsentState) {
        self.hears(&Inbound::Consent(ConsentChange {
            id: format!("{CHANNEL}:consent:{key}"),
            channel: CHANNEL.into(),
            address: Address::new("phone", ANN),
            state,
            at: self.now,
            reason: Some("a word".into()),
            topic: None,
        }));
    }

    fn said(&mut self, key: &str, from: &str, text: &str, meta: BTreeMap<String, String>) -> Vec<Event> {
        let message = Message {
            id: format!("{CHANNEL}:message:{key}"),
            channel: CHANNEL.into(),
            thread: from.into(),
            at: self.now,
            received_at: self.now,
            from: Address::new("phone", from),
            to: None,
            content: Content::text(text),
            references: vec![],
            provider_id: Some(key.to_owned()),
            visibility: Visibility::Private,
            automatic: false,
            authenticated: None,
            meta,
            raw: None,
            traceparent: None,
            mail: None,
        };
        self.hears(&Inbound::Message(Box::new(message)))
    }

    fn hears(&mut self, inbound: &Inbound) -> Vec<Event> {
        self.now = self.now.plus(1000);
        self.seq += 1;
        let (seq, stored_at) = (self.seq, self.now);
        self.decided(&Input::Record { seq, stored_at, inbound, candidate: None })
    }

    fn tick(&mut self, ms: i64) -> Vec<String> {
        self.now = self.now.plus(ms);
        let now = self.now;
        let events = self.decided(&Input::Timers { now });
        received(&events)
    }
}

fn received(events: &[Event]) -> Vec<String> {
    let text = |e: &Event| match (&e.public, &e.private) {
        (Public::Received { .. }, Some((_, Private::Received { content, .. }))) => Some(content.text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

/// What was sent by itself, with the name that stands for it.
fn answered(events: &[Event]) -> Vec<(String, String)> {
    let sent = |e: &Event| match (&e.public, &e.private) {
        (Public::SendQueued { author: Author::Auto { rule }, .. }, Some((_, Private::Send { content, .. }))) => {
            Some((rule.clone(), content.text.clone()))
        }
        _ => None,
    };
    events.iter().filter_map(sent).collect()
}

#[test]
fn a_keyword_is_answered_by_the_channel_once() {
    let replies = [("STOP", "no more"), ("START", "again")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let mut life = Life::on(ChannelProfile { keyword_replies: replies, ..ChannelProfile::new("sms", "phone") });
    let answer = |rule: &str, text: &str| vec![(rule.to_owned(), text.to_owned())];
    assert_eq!(life.keyword("1", "HELP"), [], "there is no answer for it");
    assert_eq!(life.keyword("2", "STOP"), answer("STOP", "no more"));
    life.consents("2", ConsentState::OptedOut);
    assert_eq!(life.keyword("3", "STOP"), [], "who opted out is told once");
    life.consents("4", ConsentState::OptedIn);
    assert_eq!(life.keyword("4", "START"), answer("START", "again"));
}

#[test]
fn parts_in_every_order_are_one_message() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2]] {
        let mut life = Life::new();
        let texts = ["One, ", "two 😀", " and three."];
        for (i, number) in order.iter().enumerate() {
            let heard = life.part(&format!("p{number}"), ANN, "ref-1", *number, 3, texts[usize::from(*number) - 1]);
            let wanted: &[&str] = if i == 2 { &["One, two 😀 and three."] } else { &[] };
            assert_eq!(heard, wanted, "{order:?}");
        }
        assert!(life.state.joins.is_empty());
        assert_eq!(life.tick(120_000), Vec::<String>::new(), "nothing is said twice");
    }
}

#[test]
fn what_is_missing_after_a_minute_is_marked_and_a_late_part_stands_alone() {
    let mut life = Life::new();
    assert_eq!(life.part("p1", ANN, "r", 1, 3, "one "), Vec::<String>::new());
    assert_eq!(life.part("p3", ANN, "r", 3, 3, " three"), Vec::<String>::new());
    assert_eq!(life.state.next_timer(), Some(life.now.plus(59_000)), "the first part's minute counts");
    assert_eq!(life.tick(58_000), Vec::<String>::new());
    assert_eq!(life.tick(1_000), ["one [part 2 of 3 is missing] three"]);
    assert_eq!(life.part("p2", ANN, "r", 2, 3, "two"), Vec::<String>::new());
    assert_eq!(life.tick(60_000), ["[part 1 of 3 is missing]two[part 3 of 3 is missing]"]);
}

#[test]
fn a_repeated_part_changes_nothing_and_a_repeated_reference_is_another_text() {
    let mut life = Life::new();
    assert_eq!(life.part("p1", ANN, "r", 1, 2, "a"), Vec::<String>::new());
    assert_eq!(life.part("p1", ANN, "r", 1, 2, "a"), Vec::<String>::new(), "the same delivery again");
    assert_eq!(
        life.part("q1", ANN, "r", 1, 2, "A"),
        ["a[part 2 of 2 is missing]"],
        "another text under the same reference"
    );
    assert_eq!(life.part("q2", ANN, "r", 2, 2, "B"), ["AB"]);
}

#[test]
fn texts_of_two_people_and_of_two_references_do_not_mix() {
    let mut life = Life::new();
    assert_eq!(life.part("a1", ANN, "r", 1, 2, "a1"), Vec::<String>::new());
    assert_eq!(life.part("b2", "+15551230002", "r", 2, 2, "b2"), Vec::<String>::new());
    assert_eq!(life.part("c1", ANN, "s", 1, 2, "c1"), Vec::<String>::new());
    assert_eq!(life.part("b1", "+15551230002", "r", 1, 2, "b1"), ["b1b2"]);
    assert_eq!(life.part("a2", ANN, "r", 2, 2, "a2"), ["a1a2"]);
    assert_eq!(life.state.joins.len(), 1);
}

#[test]
fn a_part_of_nonsense_is_a_message() {
    for (number, total) in [(0, 2), (3, 2), (1, 1), (1, 900)] {
        let mut life = Life::new();
        assert_eq!(life.part("p", ANN, "r", number, total, "x"), ["x"], "{number} of {total}");
    }
}
