//! What a support team needs over time, by the shipped packs: a pack's own tests are of one moment.

use crate::life::{CHANNEL, Life};
use std::collections::BTreeSet;
use std::path::Path;
use switchboard_envelope::{Action, Address, Attachment, ChannelProfile, Outcome, Timestamp};
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::pack::{ConvStatus, Environment, RulePack, files};
use switchboard_routing_rules::state::Conversation;

fn life(pack: &str, kind: &str, now: &str) -> Life {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("packs").join(pack);
    let files = files::read_dir(&dir).expect("a shipped pack");
    let pack = RulePack::load(&files, &Environment::default()).expect("it loads").pack;
    let mut life = Life::of(ChannelProfile::new(kind, "phone"), pack, now.parse().expect("a time"));
    life.passes(1);
    life
}

fn comes(life: &mut Life, agent: &str) {
    let key = format!("{agent} {}", life.seq);
    let presence = Action::Presence { agent: agent.into(), presence: "available".into() };
    assert_eq!(life.asks(&key, presence).0.status, 200);
}

fn conv<'l>(life: &'l Life, who: &str) -> &'l Conversation {
    let thread = life.state.thread_hash(CHANNEL, who);
    life.state.conversation_of_thread(thread).expect("a conversation")
}

/// Time passes timer by timer.
fn until(life: &mut Life, end: Timestamp) {
    while life.now < end {
        let next = life.state.next_timer().filter(|at| *at <= end).unwrap_or(end).max(life.now);
        life.passes(next.since(life.now));
        if next == end {
            return;
        }
    }
}

#[test]
fn a_german_chat_waits_two_minutes_for_a_german_speaker_and_then_takes_anybody() {
    let mut life = life("support-team", "webchat", "2027-02-03T12:00:00Z");
    comes(&mut life, "fay");
    life.says("who", "1", "Guten Tag, wo ist mein Paket geblieben?", |_| {});
    let start = life.now;
    until(&mut life, start.plus(119_000));
    assert_eq!(conv(&life, "who").status, ConvStatus::Queued, "fay speaks no german");
    until(&mut life, start.plus(121_000));
    let c = conv(&life, "who");
    assert_eq!(c.offer.as_ref().map(|o| o.agent.as_str()), Some("fay"));
    // One who comes in time is asked at once.
    comes(&mut life, "ann");
    life.says("else", "2", "Guten Tag, meine Bestellung ist nicht angekommen", |_| {});
    assert_eq!(conv(&life, "else").offer.as_ref().map(|o| o.agent.as_str()), Some("ann"));
}

/// The step of the rule comes back with the skill: nobody waits for ever for who has gone home.
#[test]
fn a_german_chat_that_comes_back_waits_two_minutes_again_and_then_takes_anybody() {
    for answered in [true, false] {
        let mut life = life("support-team", "webchat", "2027-02-03T12:00:00Z");
        comes(&mut life, "ann");
        life.says("who", "1", "Guten Tag, wo ist mein Paket geblieben?", |_| {});
        if answered {
            let (status, _, send) = life.answers_to("who", "a", "Ich sehe nach.");
            assert_eq!(status, 202);
            life.result(&send, Outcome::Accepted, false, &["p"]);
        } else {
            let conversation = life.conversation_of("who");
            assert_eq!(life.asks("t", Action::Take { conversation }).0.status, 200);
        }
        assert_eq!(
            life.asks("off", Action::Presence { agent: "ann".into(), presence: "offline".into() }).0.status,
            200
        );
        comes(&mut life, "fay");
        match answered {
            true => drop(life.says("who", "2", "Und wann kommt es?", |_| {})),
            false => {
                let grace = life.now.plus(60_000);
                until(&mut life, grace);
            }
        }
        let c = conv(&life, "who");
        let back = c.entered_at.get().expect("it waits");
        assert_eq!((c.status, c.skills.len(), c.overflow.len()), (ConvStatus::Queued, 1, 1), "answered: {answered}");
        until(&mut life, back.plus(119_000));
        assert_eq!(conv(&life, "who").status, ConvStatus::Queued, "fay speaks no german");
        until(&mut life, back.plus(121_000));
        assert_eq!(conv(&life, "who").offer.as_ref().map(|o| o.agent.as_str()), Some("fay"), "answered: {answered}");
    }
}

#[test]
fn who_asks_for_a_person_twice_within_ten_minutes_skips_the_robot() {
    let mut life = life("support-team", "webchat", "2027-02-03T12:00:00Z");
    let queue = |life: &Life, who: &str| conv(life, who).queue.as_deref().cloned().unwrap_or_default();
    for (who, wait) in [("quick", 9 * 60_000), ("slow", 11 * 60_000)] {
        life.says(who, &format!("{who} 1"), "can I talk to a human please", |_| {});
        assert_eq!(queue(&life, who), "bot");
        life.passes(wait);
        life.says(who, &format!("{who} 2"), "a human, please", |_| {});
    }
    assert_eq!((queue(&life, "quick").as_str(), queue(&life, "slow").as_str()), ("people", "bot"));
}

#[test]
fn a_lead_climbs_as_taskrouter_shows_it() {
    let mut life = life("from-taskrouter", "webchat", "2027-02-03T20:00:00Z");
    life.says("lead", "1", "hello", |m| drop(m.meta.insert("type".into(), "lead".into())));
    let start = life.now;
    let at = |life: &Life| {
        let c = conv(life, "lead");
        (c.queue.as_deref().cloned().unwrap_or_default(), c.priority)
    };
    use switchboard_routing_rules::pack::Priority;
    assert_eq!(at(&life), ("leads".to_owned(), Priority::Normal));
    until(&mut life, start.plus(5 * 60_000));
    assert_eq!(at(&life), ("leads".to_owned(), Priority::High));
    until(&mut life, start.plus(10 * 60_000));
    assert_eq!(at(&life), ("managers".to_owned(), Priority::Urgent));
}

#[test]
fn a_customer_with_another_conversation_open_goes_to_the_same_agent() {
    let mut life = life("support-team", "webchat", "2027-02-03T12:00:00Z");
    for agent in ["ann", "bob", "fay"] {
        comes(&mut life, agent);
    }
    life.says("who", "1", "where is my order?", |_| {});
    let conversation = life.conversation_of("who");
    life.asks("t", Action::Transfer { conversation, to: switchboard_envelope::Destination::Agent("bob".into()) });
    // The same person, in another thread.
    life.says("who", "2", "and another thing", |m| m.thread = "second".into());
    let second = conv(&life, "second");
    assert_eq!((second.status, second.agent.as_deref().map(String::as_str)), (ConvStatus::Assigned, Some("bob")));
}

/// One with these desks.
fn with_desks(pack: &str, kind: &str, now: &str, desks: &[&str]) -> Life {
    let mut life = life(pack, kind, now);
    let desk = || ChannelProfile { desk: true, ..ChannelProfile::new("slack", "slack") };
    life.leads_with(&desks.iter().map(|name| (*name, desk())).collect::<Vec<_>>());
    life
}

/// At which desk who is told what.
fn notices(life: &Life, events: &[Event]) -> Vec<(String, String, String)> {
    let one = |e: &Event| match &e.public {
        Public::SendQueued { message, notice: true, .. } => {
            let sent = life.state.sends.get(message)?;
            let said = sent.private.as_ref()?;
            Some((sent.channel.clone(), said.to.value.clone(), said.content.text.clone()))
        }
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

#[test]
fn a_vips_mail_by_night_reaches_the_one_on_call_by_slack() {
    for comes_first in [true, false] {
        let mut life = with_desks("support-team", "email", "2026-11-24T03:00:00Z", &["team-slack", "fraud-desk"]);
        if comes_first {
            comes(&mut life, "ann");
        }
        let contact = life.state.contact_of(&Address::new("phone", "vip@customer.example")).to_string();
        let (tags, attributes, consent) = (Some(vec!["vip".to_owned()]), [].into(), [].into());
        let tagged = Action::UpdateContact { contact, tags, attributes, consent, unblock: vec![] };
        assert_eq!(life.asks("vip", tagged).0.status, 200);
        let events = life.says("vip@customer.example", "1", "My shop is empty.", |_| {});
        let told = notices(&life, &events);
        let [(desk, to, text)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((desk.as_str(), to.as_str()), ("team-slack", "U0ANN"), "there: {comes_first}");
        assert!(text.contains("Ann: "), "{text}");
    }
}

#[test]
fn a_banks_mail_with_a_file_is_told_at_the_desk_for_fraud() {
    let mut life = with_desks("support-team", "email", "2026-11-24T10:00:00Z", &["team-slack", "fraud-desk"]);
    let events = life.says("alerts@bank.example", "1", "See the file.", |m| {
        m.authenticated = Some(true);
        m.content.subject = Some("Chargeback 17".into());
        m.content.attachments = vec![Attachment::default()];
    });
    let told = notices(&life, &events);
    let [(desk, _, text)] = told.as_slice() else { panic!("{told:?}") };
    assert!(desk == "fraud-desk" && text.contains("The bank wrote: Chargeback 17"), "{told:?}");
}

#[test]
fn an_alarm_by_night_calls_the_pager_of_the_one_on_call_and_again_when_nobody_answers() {
    let mut life = with_desks("on-call", "email", "2026-11-24T03:00:00Z", &["pager"]);
    let events = life.says("monitor", "1", "disk full", |m| {
        m.automatic = true;
        m.content.subject = Some("[ALERT] db-1".into());
    });
    let told = notices(&life, &events);
    assert!(told.iter().any(|(desk, to, _)| desk == "pager" && to == "+4915112345601"), "{told:?}");
    let (mut late, end) = (vec![], life.now.plus(15 * 60_000));
    while life.now < end {
        let events = life.passes(60_000);
        late.extend(notices(&life, &events));
    }
    assert!(late.iter().any(|(_, _, text)| text.contains("Nobody has answered the call")), "{late:?}");
}

#[test]
fn the_leads_hear_of_a_vip_who_waits_too_long() {
    let mut life = with_desks("vip", "email", "2026-11-24T10:00:00Z", &["leads"]);
    let events = life.says("ceo@bigcustomer.example", "1", "Where is my order?", |_| {});
    assert_eq!(notices(&life, &events), []);
    let events = life.passes(5 * 60_000);
    let told = notices(&life, &events);
    let [(desk, _, text)] = told.as_slice() else { panic!("{told:?}") };
    assert!(desk == "leads" && text.contains("A VIP waits too long"), "{told:?}");
}

/// What rules add is looked for in sets of its own, of which there are only so many: whoever has it is found either way.
#[test]
fn who_has_all_that_rules_add_is_found_among_whatever_else_was_asked_for() {
    let skills: Vec<String> = (0..11).map(|n| format!("s{n:02}")).collect();
    let mut yaml = String::from(
        "zone: UTC\nqueues: { q: { skills: { s00: 2 }, strategy: longest_idle } }\ndefault: { queue: q }\nagents:\n",
    );
    for (a, lacks) in skills.iter().enumerate().skip(1) {
        // Each has all but one, of which some have too little.
        let has = skills.iter().filter(|s| *s != lacks).map(|s| format!("{s}: 2"));
        let has: Vec<String> = has.chain((a % 2 == 0).then(|| format!("{lacks}: 1"))).collect();
        yaml.push_str(&format!("  a{a:02}: {{ capacity: 50, skills: {{ {} }} }}\n", has.join(", ")));
    }
    yaml.push_str(
        "rules: [{ name: Wanted, when: { meta.skills: { matches: s } }, then: { skills: { \"{{ message.meta.skills }}\": 2 } } }]\n",
    );
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), &yaml);
    for n in 1..skills.len() {
        comes(&mut life, &format!("a{n:02}"));
    }
    let mut given = BTreeSet::new();
    // More kinds than have sets, again and again, until the first ones give way.
    for n in 0..420_usize {
        let bits = n * 7 + 3;
        let asked = skills.iter().enumerate().skip(1).filter(|(s, _)| bits >> (s - 1) & 1 == 1);
        let wanted: Vec<&str> = asked.map(|(_, s)| s.as_str()).collect();
        let who = format!("c{n}");
        life.says(&who, &who, "hello", |m| drop(m.meta.insert("skills".into(), wanted.join(", "))));
        let agent = conv(&life, &who).agent.as_deref().cloned();
        let Some(agent) = agent else {
            assert_eq!(wanted.len(), skills.len() - 1, "somebody has {wanted:?}");
            continue;
        };
        assert!(wanted.iter().all(|s| agent[1..] != s[1..]), "{agent} lacks something of {wanted:?}");
        if n % 50 == 49 {
            let away = Action::Presence { agent: agent.clone(), presence: "away".into() };
            life.asks(&format!("{agent} {n}"), away);
            comes(&mut life, &agent);
        }
        given.insert(agent);
    }
    assert_eq!(given.len(), skills.len() - 1);
}
