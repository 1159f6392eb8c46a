//! Why somebody is passed over, and where a transfer ends whose queue is full.

use crate::life::Life;
use std::collections::BTreeMap;
use switchboard_envelope::{Action, ChannelProfile, Destination};
use switchboard_routing_rules::event::{PassedOver, Public, Why};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::state::LetGo;
use switchboard_routing_rules::{State, waiting};

fn life(yaml: &str) -> Life {
    Life::with(ChannelProfile::new("sms", "phone"), yaml)
}

fn comes(life: &mut Life, agent: &str) {
    life.acts(Action::Presence { agent: agent.into(), presence: "available".into() });
}

#[test]
fn who_let_it_lapse_or_had_it_or_knows_too_little_is_told_apart_from_who_declined() {
    let mut life = life(
        "
zone: UTC
queues: { q: { skills: { french: 2 }, offer: { timeout: 60s } } }
agents:
  ann: { skills: { french: 3 } }
  bob: { skills: { french: 1 } }
  cy: { skills: { french: 2 } }
default: { queue: q }
",
    );
    let told = |life: &Life| -> BTreeMap<String, Option<PassedOver>> {
        let waits = waiting::why(&life.state, life.packs(), life.conv("who").id).expect("it waits");
        waits.agents.into_iter().collect()
    };
    comes(&mut life, "ann");
    comes(&mut life, "bob");
    life.writes("who", "1");
    life.passes(61_000);
    let low = PassedOver::LowSkill { skill: "french".into(), level: 1, wanted: 2 };
    assert_eq!(
        told(&life),
        [("ann", PassedOver::Lapsed), ("bob", low), ("cy", PassedOver::Offline)]
            .map(|(a, w)| (a.to_owned(), Some(w)))
            .into()
    );
    // A snapshot knows it as well.
    let parts = life.state.to_parts().expect("parts");
    let again = State::from_parts(Salt([7; 16]), &parts.public, &parts.private).expect("a state");
    assert_eq!(again, life.state);
    assert_eq!(again.conversation(life.conv("who").id).and_then(|c| c.let_go("ann")), Some(LetGo::Lapsed));
    comes(&mut life, "cy");
    let offer = life.conv("who").offer.as_ref().expect("an offer").id.to_string();
    life.acts(Action::DeclineOffer { offer });
    assert_eq!(told(&life).remove("cy"), Some(Some(PassedOver::Declined)));
}

#[test]
fn a_transfer_to_a_full_queue_says_so_and_by_whom_it_was_meant() {
    let mut life = life(
        "zone: UTC\nqueues: { q: {}, full: { limit: { waiting: 1, queue: last } }, last: {} }\nagents: { ann: {} }\ndefault: { queue: q }\n",
    );
    let mut found = vec![];
    for who in ["a", "b"] {
        life.writes(who, who);
        let (conversation, to) = (life.conversation_of(who), Destination::Queue("full".into()));
        let events = life.acts(Action::Transfer { conversation, to });
        found.extend(events.into_iter().filter_map(|e| match e.public {
            Public::Queued { queue, why, by, .. } => Some((queue, why, by.is_some())),
            _ => None,
        }));
    }
    assert_eq!(
        found,
        [("full".into(), Why::Transferred, true), ("last".into(), Why::TransferredOn("full".into()), true)]
    );
}
