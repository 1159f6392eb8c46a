//! Which trace what is sent belongs to.

use crate::life::{ANN, Life};
use switchboard_envelope::ChannelProfile;
use switchboard_routing_rules::event::{Event, Private};

const YAML: &str = "zone: UTC\nqueues: { q: {} }\nagents: { ann: {} }\nreplies: { have-it: We have it. }\n\
rules:\n  - { name: All, when: {}, then: { reply: have-it } }\ndefault: { queue: q }\n";

fn trace(events: &[Event]) -> Option<String> {
    let sent = events.iter().find_map(|e| match &e.private {
        Some((_, Private::Send { traceparent, .. })) => Some(traceparent.clone()),
        _ => None,
    });
    sent.expect("a reply")
}

#[test]
fn what_is_sent_carries_the_trace_of_what_it_answers_and_no_other() {
    let long = "x".repeat(300);
    for (given, carried) in
        [(Some("00-a-b-01"), true), (None, false), (Some(long.as_str()), false), (Some("a b"), false)]
    {
        let mut life = Life::with(ChannelProfile::new("sms", "phone"), YAML);
        let events = life.says(ANN, "1", "hello", |m| m.traceparent = given.map(str::to_owned));
        assert_eq!(trace(&events), given.filter(|_| carried).map(str::to_owned));
        let send = life.state.sends.values().next().expect("a reply");
        let kept = send.private.as_ref().and_then(|p| p.traceparent.clone());
        assert_eq!(kept, trace(&events), "the attempt has it");
        let next = life.says("+15551230002", "2", "hello", |_| {});
        assert_eq!(trace(&next), None, "that of another message");
    }
}
