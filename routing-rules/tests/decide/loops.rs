//! Machines that answer machines: what stops them, and what does not stop people.

use crate::life::{ANN, CHANNEL, Life};
use switchboard_envelope::{ChannelProfile, Choice};
use switchboard_routing_rules::event::{Event, NoReply, Public};

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

fn life(budget: &str) -> Life {
    life_on(ChannelProfile::new("sms", "phone"), budget)
}

fn life_on(profile: ChannelProfile, budget: &str) -> Life {
    let pack = format!(
        "zone: UTC
queues: {{ q: {{}} }}
agents: {{ ann: {{ capacity: 10 }} }}
replies: {{ hi: We read it. }}
budget: {{ {budget} }}
rules: [{{ name: All, when: {{ text: {{ exists: true }} }}, then: {{ reply: hi }} }}]
default: {{ queue: q }}
"
    );
    Life::with(profile, &pack)
}

/// How a message was answered automatically: not at all, or why not.
fn replied(events: &[Event]) -> Result<usize, NoReply> {
    let refused = events.iter().find_map(|e| match e.public {
        Public::NotReplied { why, .. } => Some(why),
        _ => None,
    });
    let sent = events.iter().filter(|e| matches!(e.public, Public::SendQueued { .. })).count();
    refused.map_or(Ok(sent), Err)
}

#[test]
fn a_robot_that_does_not_mark_itself_is_cut_until_a_person_of_ours_writes() {
    let mut life = life("conversation: 100, address: 100");
    let mut beeps = 0;
    let mut robot = |life: &mut Life| {
        beeps += 1;
        replied(&life.says(ANN, &format!("r{beeps}"), &format!("Your call {beeps} matters."), |_| {}))
    };
    let first: Vec<_> = (0..3).map(|_| robot(&mut life)).collect();
    assert_eq!(first, [Ok(1), Ok(1), Ok(1)]);
    assert_eq!((robot(&mut life), robot(&mut life)), (Err(NoReply::PingPong), Err(NoReply::PingPong)));
    // Neither time nor a snapshot changes that.
    life.passes(2 * DAY);
    let parts = life.state.to_parts().expect("a snapshot");
    let again = switchboard_routing_rules::State::from_parts(life.state.salt, &parts.public, &parts.private);
    life.state = again.expect("it reads");
    assert_eq!(robot(&mut life), Err(NoReply::PingPong));
    assert_eq!(life.answers("a", "A person here.").0, 202);
    assert_eq!(robot(&mut life), Ok(1), "a person of ours wrote");
}

#[test]
fn the_same_words_again_and_again_are_a_machines_however_slow() {
    let mut life = life("conversation: 100, address: 100, ping_pong: 2");
    let mut slow = |key: &str, text: &str| {
        life.passes(40 * MINUTE);
        replied(&life.says(ANN, key, text, |_| {}))
    };
    let away = "I am  away.\n";
    assert_eq!([slow("1", away), slow("2", away), slow("3", "I am away.")], [Ok(1), Ok(1), Err(NoReply::PingPong)]);
}

#[test]
fn people_are_answered_as_often_as_the_budget_allows() {
    let mut life = life("conversation: 5, address: 100");
    let person = |life: &mut Life, key: &str| replied(&life.says(ANN, key, &format!("and {key}"), |_| {}));
    for key in ["1", "2", "3", "4", "5"] {
        assert_eq!(person(&mut life, key), Ok(1), "message {key}");
        life.passes(MINUTE);
    }
    assert_eq!(person(&mut life, "6"), Err(NoReply::ConversationBudget));
}

#[test]
fn whoever_presses_buttons_may_be_fast_and_one_slow_answer_begins_the_count_again() {
    let mut life = life("conversation: 100, address: 100");
    for n in 0..8 {
        let pressed = |m: &mut switchboard_envelope::Message| {
            m.content.choice = Some(Choice { id: "yes".into(), label: Some("Yes".into()) });
        };
        assert_eq!(replied(&life.says(ANN, &format!("c{n}"), "Yes", pressed)), Ok(1), "choice {n}");
    }
    for n in 0..8 {
        if n % 2 == 0 {
            life.passes(MINUTE);
        }
        assert_eq!(replied(&life.says(ANN, &format!("t{n}"), &format!("text {n}"), |_| {})), Ok(1), "text {n}");
    }
}

#[test]
fn an_address_has_one_budget_a_day_over_conversations_and_channels() {
    let mut life = life("conversation: 100, address: 20");
    life.leads_with(&[("other-sms", ChannelProfile::new("sms", "phone"))]);
    let ask = |life: &mut Life, who: &str, n: usize| {
        let channel = ["other-sms", CHANNEL][n % 2];
        let told = life.says(who, &format!("{who} {n}"), "hello", |m| {
            m.id = format!("{channel}:message:{who} {n}");
            m.channel = channel.into();
            m.thread = format!("{who} {n}");
        });
        replied(&told)
    };
    for n in 0..20 {
        assert_eq!(ask(&mut life, ANN, n), Ok(1), "message {n}");
    }
    assert_eq!(ask(&mut life, ANN, 20), Err(NoReply::AddressBudget));
    assert_eq!(ask(&mut life, ANN, 21), Err(NoReply::AddressBudget), "on the other channel too");
    assert_eq!(ask(&mut life, "+15551239999", 22), Ok(1), "another address has its own");
    let parts = life.state.to_parts().expect("a snapshot");
    let again = switchboard_routing_rules::State::from_parts(life.state.salt, &parts.public, &parts.private);
    life.state = again.expect("it reads");
    assert_eq!(ask(&mut life, ANN, 23), Err(NoReply::AddressBudget), "a snapshot keeps it");
    life.passes(DAY);
    assert_eq!(ask(&mut life, ANN, 24), Ok(1), "the next day is another");
}

#[test]
fn what_somebody_wrote_before_our_reply_is_no_answer_to_it() {
    let mut life = life("conversation: 100, address: 100");
    life.passes(DAY);
    let began = life.state.now;
    // A mailbox gives within a second what a customer wrote over hours.
    for n in 0_i64..6 {
        let written = began.plus((n - 8) * 30 * MINUTE);
        let told = life.says(ANN, &format!("{n}"), &format!("and {n}"), |m| m.at = written);
        assert_eq!(replied(&told), Ok(1), "message {n}");
    }
}

#[test]
fn a_keyword_is_confirmed_also_to_whom_no_rule_answers_any_more() {
    let mut profile = ChannelProfile::new("sms", "phone");
    profile.keyword_replies.insert("help".into(), "Shop, 555 0100".into());
    let mut life = life_on(profile, "conversation: 100, address: 100, ping_pong: 1");
    let said = |life: &mut Life, key: &str| replied(&life.says(ANN, key, &format!("call {key}"), |_| {}));
    assert_eq!([said(&mut life, "1"), said(&mut life, "2")], [Ok(1), Err(NoReply::PingPong)]);
    let help = life.says(ANN, "3", "HELP", |m| {
        m.meta.insert("keyword".into(), "help".into());
    });
    assert_eq!(replied(&help), Ok(1));
}
