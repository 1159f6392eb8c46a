//! The packs by which simulated workspaces decide.

use std::cell::OnceCell;
use std::sync::Arc;
use switchboard_routing_rules::RulePack;
use switchboard_routing_rules::pack::{Environment, Problem};

/// Automatic replies of a conversation and of an address a day, and to what seems a machine, by either pack.
pub(super) const AUTO_REPLIES: u32 = 4;
pub(super) const ADDRESS_REPLIES: u32 = 6;
pub(super) const PING_PONG: u32 = 2;

/// What each workspace begins with.
pub(super) const PACK: &str = r#"
zone: Europe/Paris
queues:
  everyone: { offer: { timeout: 30s }, reopen: 1h, sticky: 1d, overflow: [{ after: 10m, priority: high }] }
  direct:
    skills: { direct: 2 }
    strategy: longest_idle
    wrap_up: 20s
    presence: available
    limit: { waiting: 4, queue: everyone }
    overflow: [{ after: 3m, if: { agents: [away, lunch], gte: 2 }, skills: [] }]
    hours: long
    sla: { first_response: 10m, next_response: 30m, resolution: 40m, warn: 80%, on_warn: { priority: high, notify: { desk: team, text: Soon } }, on_breach: { queue: everyone, priority: urgent, notify: { desk: team } } }
hours: { long: { week: { mon-sun: "08:00-07:30" } } }
presence: { grace: 30s, lapses: 2, names: { limited: available, lunch: away } }
agents:
  ann: { name: Ann, capacity: 3, skills: { direct: 2 }, desks: { team: U1 } }
  bob: { name: Bob, capacity: 2, skills: { direct: 1 } }
  cy: { name: Cy, capacity: 1 }
rotations:
  call: { start: "2026-10-25T00:10", every: 10m, agents: [ann, bob] }
  turns: { start: "2026-10-25T00:05", every: 5m, queues: [everyone, direct] }
replies:
  refund: "We will look at it; you are {{ queue.place }}, {{ queue.wait }}."
budget: { conversation: 4, address: 6, ping_pong: 2 }
rules:
  - name: Number
    when: { content: { matches: 'number (?<order>\d+)' } }
    then: { set: { order: "{{ match.order }}", contact.order: "{{ match.order }}" } }
    continue: true
  - name: Refunds
    when: { content: { word: refund } }
    then: { reply: refund, tag: refund, notify: { desk: team, text: "{{ message.text }}" } }
    continue: true
  - name: Direct
    when: { content: { word: direct } }
    then: { queue: direct, priority: high }
  - name: Thanks
    when: { content: { word: thanks } }
    then: { close: true }
  - name: Known
    when: { contact.attributes.order: { gte: 7 }, new: true }
    then: { agent: sticky, queue: everyone }
  - name: Later
    when: { content: { word: later } }
    then: { snooze: 2m, queue: { rotation: turns } }
  - name: Now
    when: { content: { word: now } }
    then: { agent: { rotation: call }, desk: team, queue: direct, move: true, priority: urgent }
  - name: German
    when: { language: de }
    then: { queue: { rotation: turns }, skills: { direct: 1 }, set: { language: de } }
default: { queue: everyone }
"#;

/// What is tried beside it, and put in force: other queues, other promises, another way to choose agents.
pub(super) const OTHER: &str = r#"
queues:
  everyone: { skills: { direct: 1 }, strategy: round_robin, sla: { first_response: 20m }, overflow: [{ after: 5m, skills: [] }] }
  direct: { skills: { direct: 2 }, offer: { timeout: 20s }, ageing: 10m }
  late: { sla: { first_response: 1m, on_breach: { queue: everyone } } }
presence: { grace: 30s, lapses: 2 }
agents:
  ann: { name: Ann, capacity: 2, skills: { direct: 2 } }
  bob: { name: Bob, capacity: 2, skills: { direct: 1 } }
replies:
  hello: "Welcome."
budget: { conversation: 4, address: 6, ping_pong: 2 }
rules:
  - name: Refunds
    when: { content: { word: refund } }
    then: { queue: late, reply: hello }
  - name: Direct
    when: { content: { word: direct } }
    then: { agent: bob, queue: direct }
  - name: German, from there
    when: { language: de, channel: chat }
    then: { queue: late, move: true, set: { contact.language: de } }
  - name: Later
    when: { content: { word: later } }
    then: { snooze: 1m }
default: { queue: everyone }
"#;

/// A third: who is asked first and waited for, steps that are taken where nobody is, and rules about what our own people do.
pub(super) const THIRD: &str = r#"
zone: Europe/Paris
queues:
  everyone:
    skills: { direct: 1 }
    prefer: [{ direct: least }]
    ageing: 15m
    overflow: [{ if: nobody_free, skills: [] }, { after: 4m, if: nobody_available, queue: late }]
  direct:
    skills: { direct: 2 }
    prefer: [direct]
    overflow: [{ if: nobody_available, skills: { direct: 1 } }, { after: 5m, priority: urgent }]
    sla: { first_response: 15m, resolution: 90m, on_breach: { queue: everyone, priority: high } }
    hours: day
  late:
    offer: { timeout: 40s }
    ageing: 5m
    order: newest
    presence: [available, tea]
    overflow: [{ after: 6m, if: { any: [{ agents: tea, lt: 1 }, { agents: available, lte: 1 }] }, priority: urgent }]
hours: { day: { week: { mon-sun: "01:30-00:30" } } }
presence: { grace: 30s, lapses: 2, names: { limited: away, tea: available } }
agents:
  ann: { name: Ann, capacity: 2, skills: { direct: 2 }, desks: { team: U1 } }
  bob: { name: Bob, capacity: 1, skills: { direct: 1 } }
  cy: { name: Cy, capacity: 3 }
replies:
  which: { text: "Which one?", choices: [Refund, { id: OTHER, label: Something else }] }
  closed: "Closed by {{ agent.name | default('us') }}."
budget: { conversation: 4, address: 6, ping_pong: 2 }
rules:
  - name: Never again
    when: { content: { word: thanks }, contact.tags: loud }
    then: { block: true }
  - name: Leaves
    when: { content: { word: later }, contact.consent: opted_in }
    then: { consent: opted_out }
  - name: Refunds
    when: { content: { word: refund } }
    then: { reply: which, agent: [cy, bob], queue: everyone }
  - name: Direct
    when: { content: { word: direct } }
    then: { agent: [ann, bob], wait: 3m, queue: direct, skills: { direct: 2 } }
  - name: Now
    when: { content: { word: now } }
    then: { agent: "{{ contact.attributes.owner }}", queue: late, overflow: [{ after: 2m, priority: urgent }] }
  - name: Told
    on: assigned
    when: { queue: direct }
    then: { tag: told, notify: { desk: team, text: Given } }
  - name: Ended
    on: closed
    then: { reply: closed, set: { ended: "yes" } }
  - name: Answered
    on: answered
    when: { queue: [late, everyone] }
    then: { priority: normal, set: { contact.owner: cy } }
  - name: Moved
    on: moved
    when: { priority: [high, urgent] }
    then: { tag: moved, notify: { desk: team, text: Moved } }
  - name: Returned
    on: returned
    then: { tag: returned, notify: { desk: team, text: Back } }
  - name: Changed
    on: changed
    when: { tags: vip }
    then: { priority: high }
default: { queue: everyone }
"#;

/// All of them.
pub(super) fn packs() -> Result<[Arc<RulePack>; 3], String> {
    thread_local! {
        static PACKS: OnceCell<Result<[Arc<RulePack>; 3], String>> = const { OnceCell::new() };
    }
    let read = |text: &str| {
        let loaded = RulePack::load(&[("pack.yaml".to_owned(), text.as_bytes().to_vec())], &Environment::default());
        let said = |p: Vec<Problem>| p.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        loaded.map(|l| Arc::new(l.pack)).map_err(said)
    };
    PACKS.with(|packs| packs.get_or_init(|| Ok([read(PACK)?, read(OTHER)?, read(THIRD)?])).clone())
}
