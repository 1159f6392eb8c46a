//! Who writes again after a conversation was closed: into the same one or a new one, as its queue says.

use crate::life::Life;
use switchboard_envelope::{Action, ChannelProfile};

const HOUR: i64 = 3_600_000;
const PACK: &str = "
zone: UTC
queues: { never: { reopen: 0s }, short: { reopen: 1h }, usual: {} }
agents: { ann: {} }
rules:
  - { name: never, when: { from: never }, then: { queue: never } }
  - { name: short, when: { from: short }, then: { queue: short } }
default: { queue: usual }
";

#[test]
fn each_queue_says_for_how_long_a_customer_comes_back_to_the_same_conversation() {
    // Hours after the end, and who comes back to the same one then.
    for (hours, back) in [(0, ["short", "usual"].as_slice()), (2, &["usual"]), (71, &["usual"]), (73, &[])] {
        let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
        for who in ["never", "short", "usual"] {
            life.writes(who, &format!("{who}-1"));
            let first = life.conversation_of(who);
            let (reply, _) = life.asks(&format!("close-{who}"), Action::Close { conversation: first.clone() });
            assert!(reply.status < 300, "{reply:?}");
            life.passes(hours * HOUR + 60_000);
            life.writes(who, &format!("{who}-2"));
            assert_eq!(life.conversation_of(who) == first, back.contains(&who), "{who}, {hours} hours later");
        }
    }
}
