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
queues:
  everyone: { offer: { timeout: 30s }, reopen: 1h, sticky: 1d, overflow: [{ after: 10m, priority: high }] }
  direct:
    skills: { direct: 2 }
    strategy: longest_idle
    wrap_up: 20s
    limit: { waiting: 4, queue: everyone }
    overflow: [{ after: 3m, skills: [] }]
    hours: long
    sla: { first_response: 10m, next_response: 30m, resolution: 40m, warn: 80%, on_warn: { priority: high, notify: { desk: team, text: Soon } }, on_breach: { queue: everyone, priority: urgent, notify: { desk: team } } }
hours: { long: { week: { mon-sun: "08:00-07:30" } } }
presence: { grace: 30s, lapses: 2 }
agents:
  ann: { name: Ann, capacity: 3, skills: { direct: 2 }, desks: { team: U1 } }
  bob: { name: Bob, capacity: 2, skills: { direct: 1 } }
replies:
  refund: "We will look at it; you are {{ queue.place }}, {{ queue.wait }}."
budget: { conversation: 4, address: 6, ping_pong: 2 }
rules:
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
default: { queue: everyone }
"#;

/// Both of them.
pub(super) fn packs() -> Result<[Arc<RulePack>; 2], String> {
    thread_local! {
        static PACKS: OnceCell<Result<[Arc<RulePack>; 2], String>> = const { OnceCell::new() };
    }
    let read = |text: &str| {
        let loaded = RulePack::load(&[("pack.yaml".to_owned(), text.as_bytes().to_vec())], &Environment::default());
        let said = |p: Vec<Problem>| p.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        loaded.map(|l| Arc::new(l.pack)).map_err(said)
    };
    PACKS.with(|packs| packs.get_or_init(|| Ok([read(PACK)?, read(OTHER)?])).clone())
}
