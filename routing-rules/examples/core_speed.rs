//! What the core costs: time of a decision, memory of an open conversation, time of the copy that a snapshot begins with.
//!
//! `cargo run --release -p switchboard-routing-rules --example core_speed [conversations]` prints JSON.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it measures, and prints what it measured")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use switchboard_envelope::{Address, ChannelProfile, Content, Inbound, Message, Timestamp, Visibility};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::pack::Environment;
use switchboard_routing_rules::{Input, RulePack, State, decide};

const PACK: &str = "\
zone: UTC
queues: { everyone: {} }
agents: { ann: { capacity: 5 } }
replies: { refund: \"Thanks, your refund is on its way.\" }
rules:
  - name: Refunds
    when: { text: { contains: [refund] } }
    then: { tag: refund, reply: refund }
default: { queue: everyone }
";

fn message(n: usize, person: usize, text: &str) -> Inbound {
    let phone = format!("+1555{person:07}");
    Inbound::Message(Box::new(Message {
        id: format!("sms:message:SM{n:032x}"),
        channel: "sms".into(),
        thread: phone.clone(),
        at: Timestamp(0),
        received_at: Timestamp(0),
        from: Address::new("phone", phone),
        to: None,
        content: Content { text: text.into(), ..Content::default() },
        references: vec![],
        provider_id: Some(format!("SM{n:032x}")),
        visibility: Visibility::default(),
        automatic: false,
        authenticated: None,
        meta: BTreeMap::new(),
        raw: None,
        traceparent: None,
        mail: None,
    }))
}

/// Resident memory in kilobytes, where the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let loaded = RulePack::load(&[("pack.yaml".to_owned(), PACK.as_bytes().to_vec())], &Environment::default())
        .map_err(|p| p.iter().map(ToString::to_string).collect::<String>())?;
    let pack = loaded.pack;
    let channels = BTreeMap::from([("sms".to_owned(), ChannelProfile::new("sms", "phone"))]);
    let start = Timestamp(1_790_000_000_000);
    let mut state = State::new(Salt([7; 16]));
    state = decide(state, &Input::Lead { now: start, incarnation: 1, channels: &channels }, &pack).after;
    let run = |mut state: State, first: usize, text: &str| {
        let mut took = Duration::ZERO;
        for i in 0..count {
            let inbound = message(first + i, i, text);
            let seq = (first + i + 1) as u64;
            let input = Input::Record { seq, stored_at: start.plus(seq as i64), inbound: &inbound, candidate: None };
            let began = Instant::now();
            let decision = decide(state, &input, &pack);
            took += began.elapsed();
            state = decision.after;
        }
        (state, took.as_secs_f64() * 1e6 / count as f64)
    };
    let before = resident();
    let (opened, open_us) = run(state, 0, "hello, where is my parcel?");
    let after = resident();
    let (state, again_us) = run(opened, count, "hello, are you there?");
    let held = state.clone();
    let (state, copied_us) = run(state, 2 * count, "are you still there?");
    drop(held);
    let began = Instant::now();
    let copy = state.clone();
    let clone_us = began.elapsed().as_secs_f64() * 1e6;
    let began = Instant::now();
    let parts = copy.to_parts()?;
    let parts_ms = began.elapsed().as_secs_f64() * 1e3;
    let peak = resident();
    let began = Instant::now();
    let again = State::from_parts(Salt([7; 16]), &parts.public, &parts.private)?;
    let read_ms = began.elapsed().as_secs_f64() * 1e3;
    if again.conversations.len() != state.conversations.len() {
        return Err("a snapshot gives back another state".into());
    }
    println!(
        "{{\n  \"conversations\": {},\n  \"first_message_us\": {open_us:.1},\n  \"next_message_us\": {again_us:.1},\n  \
         \"next_message_while_a_copy_is_held_us\": {copied_us:.1},\n  \"kilobytes_per_open_conversation\": {:.2},\n  \
         \"copy_for_a_snapshot_us\": {clone_us:.1},\n  \"snapshot_parts_ms\": {parts_ms:.0},\n  \"snapshot_read_ms\": {read_ms:.0},\n  \
         \"snapshot_megabytes\": {:.1},\n  \"resident_at_the_end_megabytes\": {:.1}\n}}",
        state.conversations.len(),
        (after - before) as f64 / count as f64,
        (parts.public.len() + parts.private.iter().map(|p| p.1.len()).sum::<usize>()) as f64 / 1e6,
        peak as f64 / 1024.0
    );
    Ok(())
}
