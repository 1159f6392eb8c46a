//! Until when somebody must be answered and their matter resolved: never early, at most once, and only in open hours.

use crate::life::{CHANNEL, Life};
use switchboard_envelope::{Action, ChannelProfile, Destination, Outcome, Timestamp};
use switchboard_routing_rules::event::{ClockKind, Event, Public};
use switchboard_routing_rules::invariants::ClockWatch;
use switchboard_routing_rules::pack::Priority;
use switchboard_routing_rules::state::Conversation;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn at(s: &str) -> Timestamp {
    s.parse().expect("a time")
}

fn life(yaml: &str, now: &str) -> Life {
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), yaml);
    // Life begins in 2027; the state's time only goes on.
    life.now = at(now);
    life
}

fn conv<'l>(life: &'l Life, who: &str) -> &'l Conversation {
    let thread = life.state.thread_hash(CHANNEL, who);
    life.state.conversation_of_thread(thread).expect("a conversation")
}

fn acts(life: &mut Life, action: Action) -> Vec<Event> {
    let key = format!("act {}", life.seq);
    let (reply, events) = life.asks(&key, action);
    assert!(reply.status < 300, "{reply:?}");
    events
}

/// What clocks did: `warned first_response`, `breached resolution`.
fn told(events: &[Event]) -> Vec<String> {
    let one = |e: &Event| match &e.public {
        Public::ClockWarned { clock, .. } => Some(format!("warned {clock:?}")),
        Public::ClockBreached { clock, .. } => Some(format!("breached {clock:?}")),
        Public::SendQueued { channel, notice: true, .. } => Some(format!("told {channel}")),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

/// Time passes as it does under a router: timer by timer.
fn until(life: &mut Life, end: Timestamp) -> Vec<(Timestamp, String)> {
    let mut all = vec![];
    loop {
        let next = life.state.next_timer().filter(|t| *t <= end);
        let to = next.unwrap_or(end).max(life.now);
        let events = life.passes(to.since(life.now));
        all.extend(told(&events).into_iter().map(|what| (to, what)));
        if next.is_none() {
            return all;
        }
    }
}

fn answers(life: &mut Life, who: &str) {
    let key = format!("answer {}", life.seq);
    let (status, code, send) = life.answers_to(who, &key, "hi");
    assert_eq!(status, 202, "{code}");
    life.result(&send, Outcome::Accepted, false, &[&key]);
}

#[test]
fn a_clock_warns_then_is_breached_once_and_each_does_what_the_queue_says() {
    let pack = "
zone: UTC
queues:
  q: { sla: { first_response: 10m, warn: 80%, on_warn: { priority: high, notify: { desk: console } }, on_breach: { queue: late, priority: urgent } } }
  late: {}
agents: { ann: {} }
default: { queue: q }
";
    let mut life = life(pack, "2027-02-01T10:00:00Z");
    life.writes("who", "1");
    let start = conv(&life, "who").opened_at;
    let told = until(&mut life, start.plus(3 * DAY));
    let expected = [(8, "warned FirstResponse"), (8, "told console"), (10, "breached FirstResponse")];
    assert_eq!(told, expected.map(|(m, what)| (start.plus(m * MINUTE), what.to_owned())));
    let c = conv(&life, "who");
    assert_eq!((c.queue.as_deref().map(String::as_str), c.priority), (Some("late"), Priority::Urgent));
    assert!(c.clock.as_ref().is_some_and(|k| k.breached));
    assert!(life.state.next_timer().is_some(), "and it is still looked at");
}

#[test]
fn what_a_breach_moves_takes_whoever_is_there_whatever_a_rule_wanted_before() {
    let pack = "
zone: UTC
queues: { q: { sla: { first_response: 10m, on_breach: { queue: late } } }, late: {} }
agents: { ann: { skills: [french] }, bob: {} }
rules: [{ name: French, when: { text: bonjour }, then: { queue: q, skills: [french] } }]
default: { queue: q }
";
    let mut life = life(pack, "2027-02-01T10:00:00Z");
    acts(&mut life, Action::Presence { agent: "bob".into(), presence: "available".into() });
    life.says("who", "1", "bonjour", |_| {});
    let start = conv(&life, "who").opened_at;
    until(&mut life, start.plus(9 * MINUTE));
    assert_eq!(life.has("who"), "queued", "Bob speaks no French");
    until(&mut life, start.plus(10 * MINUTE));
    let queue = conv(&life, "who").queue.as_deref().map(String::as_str);
    assert_eq!((life.has("who").as_str(), queue), ("bob", Some("late")));
}

#[test]
fn the_next_question_has_a_clock_of_its_own_and_an_automatic_reply_is_no_answer() {
    let pack = "
zone: UTC
queues: { q: { sla: { first_response: 10m, next_response: 1h } } }
agents: { ann: {} }
replies: { hi: Hello }
rules: [{ name: Hello, when: { new: true }, then: { reply: hi } }]
default: { queue: q }
";
    let mut life = life(pack, "2027-02-01T10:00:00Z");
    life.writes("who", "1");
    let hello = life.state.sends.keys().next().expect("a reply").to_string();
    life.result(&hello, Outcome::Accepted, false, &["hello"]);
    let kind = |life: &Life| conv(life, "who").clock.as_ref().map(|k| k.kind);
    acts(&mut life, Action::Presence { agent: "ann".into(), presence: "available".into() });
    assert_eq!(kind(&life), Some(ClockKind::FirstResponse), "ann has it and has not answered");
    life.writes("who", "2");
    assert_eq!(kind(&life), Some(ClockKind::FirstResponse), "a second message gains no time");
    answers(&mut life, "who");
    assert_eq!(kind(&life), None);
    life.passes(DAY);
    life.writes("who", "3");
    let c = conv(&life, "who").clock.clone().expect("a clock");
    assert_eq!((c.kind, c.due), (ClockKind::NextResponse, life.now.plus(HOUR)));
}

/// Laying a conversation aside is no answer: what was left to answer in is left when it comes back.
#[test]
fn a_snooze_stops_the_clock_of_the_response_and_gives_it_no_more_time() {
    let pack = "
zone: UTC
queues: { q: { sla: { first_response: 40m, warn: 50%, on_breach: { priority: urgent } }, hours: day }, other: { sla: { first_response: 5m } } }
hours: { day: { week: { mon-sun: \"08:00-18:00\" } } }
agents: { ann: {} }
default: { queue: q }
";
    let mut life = life(pack, "2027-02-01T10:00:00Z");
    life.writes("who", "1");
    let start = conv(&life, "who").opened_at;
    let snooze = |life: &mut Life, until: Timestamp| {
        let conversation = life.conversation_of("who");
        acts(life, Action::Snooze { conversation, until });
        assert!(life.state.next_timer().is_some_and(|at| at <= until), "it comes back then");
    };
    assert_eq!(until(&mut life, start.plus(10 * MINUTE)), vec![]);
    snooze(&mut life, start.plus(2 * HOUR));
    assert_eq!(conv(&life, "who").clock.as_ref().and_then(|k| k.left()).map(|ms| (ms + 59_999) / MINUTE), Some(30));
    // Again, while it is aside: nothing is gained.
    snooze(&mut life, start.plus(3 * HOUR));
    assert_eq!(until(&mut life, start.plus(3 * HOUR)), vec![]);
    let told = until(&mut life, start.plus(3 * HOUR + 12 * MINUTE));
    assert_eq!(told.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>(), ["warned FirstResponse"]);
    // It warns once, and closed hours do not count, as ever.
    snooze(&mut life, at("2027-02-01T17:55:00Z"));
    let told = until(&mut life, at("2027-02-02T08:30:00Z"));
    let breached = told.first().expect("a breach");
    assert_eq!((told.len(), breached.1.as_str()), (1, "breached FirstResponse"), "{told:?}");
    assert!((at("2027-02-02T08:12:00Z")..at("2027-02-02T08:14:00Z")).contains(&breached.0), "{told:?}");
    // What is breached is breached: no second time.
    let back = life.now.plus(HOUR);
    snooze(&mut life, back);
    let later = life.now.plus(3 * DAY);
    assert_eq!(until(&mut life, later), vec![]);
    assert!(conv(&life, "who").clock.as_ref().is_some_and(|k| k.breached));
    // A customer who writes meanwhile finds the rest of the clock, and a queue that promises more has its way.
    life.now = at("2027-02-10T09:00:00Z");
    life.writes("else", "2");
    let conversation = life.conversation_of("else");
    let aside = life.now.plus(4 * HOUR);
    acts(&mut life, Action::Snooze { conversation: conversation.clone(), until: aside });
    life.passes(HOUR);
    life.writes("else", "3");
    let due = conv(&life, "else").clock.as_ref().expect("a clock").due.since(life.now);
    assert!((39 * MINUTE..40 * MINUTE).contains(&due), "{due}");
    let aside = life.now.plus(4 * HOUR);
    acts(&mut life, Action::Snooze { conversation: conversation.clone(), until: aside });
    acts(&mut life, Action::Transfer { conversation, to: Destination::Queue("other".into()) });
    let due = conv(&life, "else").clock.as_ref().expect("a clock").due;
    assert_eq!(due, life.now.plus(5 * MINUTE));
}

#[test]
fn a_queue_knows_how_many_first_responses_of_the_day_came_in_time() {
    let pack = "zone: UTC\nqueues: { q: { sla: { first_response: 10m } }, other: {} }\nagents: { ann: {} }\ndefault: { queue: q }\n";
    let mut life = life(pack, "2027-02-01T10:00:00Z");
    for who in ["in time", "late", "moved", "closed"] {
        life.writes(who, who);
    }
    answers(&mut life, "in time");
    assert_eq!(life.state.kept_today("q"), (1, 1));
    let conversation = life.conversation_of("closed");
    acts(&mut life, Action::Close { conversation });
    assert_eq!(life.state.kept_today("q"), (1, 1), "what needed no answer was not due");
    let conversation = life.conversation_of("moved");
    acts(&mut life, Action::Transfer { conversation, to: Destination::Queue("other".into()) });
    let now = life.now;
    until(&mut life, now.plus(HOUR));
    answers(&mut life, "late");
    assert_eq!((life.state.kept_today("q"), life.state.kept_today("other")), ((2, 1), (1, 0)));
    life.writes("in time", "again");
    answers(&mut life, "in time");
    assert_eq!(life.state.kept_today("q"), (2, 1), "a later question is no first one");
    let now = life.now;
    until(&mut life, now.plus(DAY));
    assert_eq!(life.state.kept_today("q"), (0, 0));
    let parts = life.state.to_parts().expect("a snapshot");
    let again = switchboard_routing_rules::State::from_parts(life.state.salt, &parts.public, &parts.private);
    assert_eq!(again.expect("it reads"), life.state);
}

#[test]
fn a_resolution_stands_still_while_the_customer_is_waited_for_and_outside_the_hours() {
    let pack = "
zone: Europe/Paris
queues: { q: { hours: office, sla: { resolution: 4h, warn: 50%, on_breach: { notify: { desk: console } } } } }
hours: { office: { week: { mon-fri: [\"09:00-12:00\", \"13:00-17:00\"] } } }
agents: { ann: {} }
default: { queue: q }
";
    // A Friday.
    let mut life = life(pack, "2027-02-05T08:59:59Z");
    acts(&mut life, Action::Presence { agent: "ann".into(), presence: "available".into() });
    life.now = at("2027-02-05T08:59:59Z");
    life.writes("who", "1");
    assert_eq!(conv(&life, "who").resolution_due.get(), Some(at("2027-02-05T14:00:00Z")), "10 to 12, then 13 to 15");
    // An hour later she asks back.
    life.now = at("2027-02-05T09:59:59Z");
    answers(&mut life, "who");
    let c = conv(&life, "who");
    assert_eq!((c.resolution_due.get(), c.resolution.as_ref().and_then(|r| r.left)), (None, Some(3 * HOUR)));
    assert_eq!(until(&mut life, at("2027-02-08T15:29:59Z")), [], "nobody waits for us");
    // Monday, half an hour before closing: three hours are left, so it warns on the way and ends on Tuesday.
    life.writes("who", "2");
    let due = at("2027-02-09T10:30:00Z");
    let told = until(&mut life, at("2027-02-12T12:00:00Z"));
    let seconds = |t: &Timestamp| t.since(due) / 1_000;
    let told: Vec<_> = told.iter().map(|(t, what)| (seconds(t), what.as_str())).collect();
    assert_eq!(
        told.iter().filter(|(_, w)| *w == "breached Resolution").collect::<Vec<_>>(),
        [&(0, "breached Resolution")]
    );
    assert_eq!(told.iter().filter(|(_, w)| *w == "told console").count(), 1);
    let (warned, _) = told.iter().find(|(_, w)| *w == "warned Resolution").expect("a warning");
    assert_eq!(*warned, -7_200, "with two of the four hours left");
}

#[test]
fn a_closed_matter_has_no_clock_and_begins_again_when_it_is_opened_again() {
    let pack = "zone: UTC\nqueues: { q: { sla: { resolution: 2h } } }\nagents: { ann: {} }\ndefault: { queue: q }\n";
    let mut life = life(pack, "2027-02-01T10:00:00Z");
    life.writes("who", "1");
    let conversation = life.conversation_of("who");
    acts(&mut life, Action::Close { conversation });
    assert_eq!(until(&mut life, at("2027-02-02T10:00:00Z")), []);
    life.writes("who", "2");
    assert_eq!(conv(&life, "who").resolution_due.get(), Some(life.now.plus(2 * HOUR)));
}

#[test]
fn a_move_gains_no_time_and_a_queue_that_promises_more_is_held_to_it() {
    let pack = "
zone: UTC
queues:
  none: {}
  slow: { sla: { first_response: 8h } }
  fast: { sla: { first_response: 5m } }
agents: { ann: {} }
default: { queue: none }
";
    let mut life = life(pack, "2027-02-01T10:00:00Z");
    life.writes("who", "1");
    let mut goes = |queue: &str| {
        let conversation = life.conversation_of("who");
        acts(&mut life, Action::Transfer { conversation, to: Destination::Queue(queue.into()) });
        let c = conv(&life, "who");
        let clock = c.clock.as_ref().expect("a clock");
        (clock.kind, clock.due.since(life.now))
    };
    assert_eq!(goes("slow"), (ClockKind::FirstResponse, 8 * HOUR));
    assert_eq!(goes("fast"), (ClockKind::FirstResponse, 5 * MINUTE));
    assert_eq!(goes("slow"), (ClockKind::FirstResponse, 5 * MINUTE - 1_000));
    assert_eq!(goes("none"), (ClockKind::FirstResponse, 5 * MINUTE - 2_000));
}

#[test]
fn no_clock_is_early_or_breached_twice_whatever_happens() {
    let pack = "
zone: America/New_York
queues:
  night: { hours: late, offer: { timeout: 20s }, sla: { first_response: 30m, next_response: 2h, resolution: 6h, warn: 75%, on_warn: { priority: high }, on_breach: { queue: day, priority: urgent } }, reopen: 1h }
  day: { sla: { first_response: 15m, resolution: 9h, warn: 50% }, overflow: [{ after: 2h, priority: high }] }
hours: { late: { week: { mon-sun: \"20:00-04:00\" }, closed: 2027-03-15 } }
agents: { ann: { capacity: 2 }, bob: { capacity: 1 } }
rules: [{ name: Day, when: { from: { prefix: d } }, then: { queue: day } }]
default: { queue: night }
";
    let mut breached = 0;
    for seed in 1..40u64 {
        // The clocks go forward on 14 March.
        let mut life = life(pack, "2027-03-12T12:00:00Z");
        let mut watch = ClockWatch::default();
        let mut dice = seed;
        let mut below = |end: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % end
        };
        for step in 0..80 {
            let who = format!("{}{}", ["d", "n"][below(2) as usize], below(3));
            let thread = life.state.thread_hash(CHANNEL, &who);
            let known = life.state.conversation_of_thread(thread).map(|c| c.id.to_string());
            let key = format!("{step}");
            let events = match (below(8), known) {
                (0 | 1, _) | (_, None) => life.says(&who, &key, "hello", |_| {}),
                (2, Some(conversation)) => life.asks(&key, Action::Close { conversation }).1,
                (3, Some(conversation)) => {
                    let until = life.now.plus(40 * MINUTE);
                    life.asks(&key, Action::Snooze { conversation, until }).1
                }
                (4, Some(conversation)) => {
                    let text = "hi".into();
                    life.asks(
                        &key,
                        Action::Reply {
                            conversation,
                            text,
                            attachments: vec![],
                            take: true,
                            seen: None,
                            choices: vec![],
                            template: None,
                        },
                    )
                    .1
                }
                (5, Some(conversation)) => {
                    let to = Destination::Queue(["day", "night"][below(2) as usize].into());
                    life.asks(&key, Action::Transfer { conversation, to }).1
                }
                (6, _) => {
                    let presence = ["available", "offline"][below(2) as usize].into();
                    life.asks(&key, Action::Presence { agent: "ann".into(), presence }).1
                }
                _ => life.passes([MINUTE, 20 * MINUTE, 5 * HOUR][below(3) as usize]),
            };
            for e in &events {
                assert_eq!(watch.see(life.state.now, &e.public), None, "seed {seed}, step {step}");
            }
        }
        breached += watch.breached;
    }
    assert!(breached > 50, "{breached} clocks were breached, which is too few to say much");
}

/// The hours are counted minute by minute, and a deadline lies where the minutes say.
#[test]
fn deadlines_are_the_minutes_that_were_open_also_over_the_change_of_the_clock() {
    let pack = "
zone: Europe/Paris
queues: { q: {} }
hours:
  night: { week: { sat: \"22:00-06:00\", sun: \"22:00-06:00\", wed: \"10:00-11:30\" }, closed: 2027-10-27 }
agents: { ann: {} }
default: { queue: q }
";
    let life = life(pack, "2027-01-01T00:00:00Z");
    for (from, hours) in [
        ("2027-03-27T12:00:00Z", 20),
        ("2027-10-30T12:00:00Z", 20),
        ("2027-10-26T00:00:00Z", 4),
        ("2027-06-06T21:30:00Z", 9),
    ] {
        let from = at(from);
        let due = life.pack.add_open_time("night", from, hours * HOUR);
        let minutes = (0..due.since(from) / MINUTE)
            .filter(|m| life.pack.hours_open("night", from.plus(m * MINUTE)) == Some(true));
        assert_eq!(minutes.count() as i64, hours * 60, "from {from} to {due}");
        assert_eq!(life.pack.open_time_between("night", from, due), hours * HOUR);
        assert_eq!(life.pack.open_time_between("night", due, from), 0);
    }
}
