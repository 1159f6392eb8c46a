//! Whom a queue asks first by what they can, and whom a rule names by what is known of a customer.

use crate::life::Life;
use std::collections::BTreeMap;
use switchboard_envelope::{Action, ChannelProfile};
use switchboard_routing_rules::event::{Event, PassedOver, Public};
use switchboard_routing_rules::pack::{Environment, Priority, RulePack};

fn life(yaml: &str) -> Life {
    Life::with(ChannelProfile::new("sms", "phone"), yaml)
}

fn come(life: &mut Life, agents: &[&str]) {
    for agent in agents {
        life.acts(Action::Presence { agent: (*agent).into(), presence: "available".into() });
    }
}

fn says(life: &mut Life, who: &str, meta: &[(&str, &str)]) -> Vec<Event> {
    let meta: BTreeMap<String, String> = meta.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let key = format!("{who} {}", life.seq);
    life.says(who, &key, "hello", |m| m.meta = meta)
}

const LEVELS: &str = "
agents:
  ann: { skills: { support: 8, english: 3 } }
  bob: { skills: { support: 8, english: 7 } }
  cyn: { skills: { support: 2 } }
  dan: { skills: { support: 9, english: 1 }, capacity: 1 }
  eve: {}
default: { queue: q }
";

#[test]
fn who_has_most_of_a_skill_is_asked_first() {
    let mut life = life(&format!("zone: UTC\nqueues: {{ q: {{ prefer: [support, english] }} }}{LEVELS}"));
    come(&mut life, &["eve", "cyn", "ann", "bob", "dan"]);
    let order: Vec<String> = (0..3)
        .map(|n| {
            says(&mut life, &format!("c{n}"), &[]);
            life.has(&format!("c{n}"))
        })
        .collect();
    assert_eq!(
        order,
        ["dan", "bob", "bob"],
        "the most support; then, alike in it, the most English, whatever their load"
    );
}

#[test]
fn who_has_least_of_it_comes_first_and_who_has_none_before_them() {
    let mut life = life(&format!("zone: UTC\nqueues: {{ q: {{ prefer: {{ english: least }} }} }}{LEVELS}"));
    come(&mut life, &["bob", "cyn", "ann"]);
    let events = says(&mut life, "x", &[]);
    assert_eq!(life.has("x"), "cyn", "none is less than any, so who speaks English stays free");
    let more = PassedOver::Skilled { skill: "english".into(), less: false };
    assert_eq!(passed(&events), [("ann", more.clone()), ("bob", more), offline("dan"), offline("eve")]);
    life.acts(Action::Presence { agent: "cyn".into(), presence: "away".into() });
    let events = says(&mut life, "y", &[]);
    assert_eq!(life.has("y"), "ann", "three is less than seven");
    let away = ("cyn", PassedOver::Away);
    let more = PassedOver::Skilled { skill: "english".into(), less: false };
    assert_eq!(passed(&events), [("bob", more), away, offline("dan"), offline("eve")]);
}

fn offline(agent: &str) -> (&str, PassedOver) {
    (agent, PassedOver::Offline)
}

/// Who was passed over in the last assignment of a decision.
fn passed(events: &[Event]) -> Vec<(&str, PassedOver)> {
    let considered = events.iter().rev().find_map(|e| match &e.public {
        Public::Assigned { considered, .. } => Some(considered),
        _ => None,
    });
    let passed = considered.expect("an assignment").passed.iter();
    passed.map(|(name, why)| (name.as_str(), why.clone())).collect()
}

#[test]
fn who_is_preferred_by_a_skill_is_told_from_who_is_preferred_by_their_turn() {
    let mut life = life(&format!("zone: UTC\nqueues: {{ q: {{ prefer: [support, english] }} }}{LEVELS}"));
    come(&mut life, &["ann", "bob", "cyn"]);
    let events = says(&mut life, "x", &[]);
    assert_eq!(life.has("x"), "bob");
    let less = |skill: &str| PassedOver::Skilled { skill: skill.into(), less: true };
    let told = [("ann", less("english")), ("cyn", less("support")), offline("dan"), offline("eve")];
    assert_eq!(passed(&events), told);
    let mut life = self::life("zone: UTC\nqueues: { q: {} }\nagents: { ann: {}, bob: {} }\ndefault: { queue: q }\n");
    come(&mut life, &["ann", "bob"]);
    assert_eq!(passed(&says(&mut life, "x", &[])), [("bob", PassedOver::LessPreferred)]);
}

/// Everybody of the names, and why not the first ones.
#[test]
fn whom_a_rule_names_and_passes_over_is_told_with_the_reason() {
    let mut life = life(NAMED);
    come(&mut life, &["max"]);
    assert_eq!(passed(&says(&mut life, "x", &[("either", "yes")])), [offline("bob")]);
    let mut life = self::life(NAMED);
    come(&mut life, &["ann", "bob", "max"]);
    says(&mut life, "x", &[("agent", "ann")]);
    let full = PassedOver::Capacity { load: 100, capacity: 100 };
    assert_eq!(passed(&says(&mut life, "y", &[("agent", "ann, max, bob")])), [("ann", full.clone())]);
    // Nobody who is named can: then the queue finds somebody, and they are still told of.
    let many: String = (0..30).map(|n| format!("  a{n:02}: {{}}\n")).collect();
    let pack = format!(
        "zone: UTC\nqueues: {{ q: {{}} }}\nagents:\n{many}  ann: {{}}\n  zed: {{ capacity: 1 }}\nrules:\n  - {{ name: Zed, when: {{ meta.to: \
         zed }}, then: {{ agent: zed, queue: q }} }}\n  - {{ name: Known, then: {{ agent: sticky, queue: q }} }}\ndefault: {{ queue: q }}\n"
    );
    let mut life = self::life(&pack);
    let all: Vec<String> = (0..30).map(|n| format!("a{n:02}")).collect();
    come(&mut life, &all.iter().map(String::as_str).collect::<Vec<_>>());
    let events = says(&mut life, "x", &[("to", "zed")]);
    assert!(passed(&events).contains(&offline("zed")), "{events:?}");
    come(&mut life, &["zed"]);
    says(&mut life, "y", &[("to", "zed")]);
    assert_eq!(life.has("y"), "zed");
    let events = says(&mut life, "z", &[("to", "zed")]);
    assert!(passed(&events).contains(&("zed", full)), "{events:?}");
    // Who knows the customer as well.
    life.acts(Action::Presence { agent: "zed".into(), presence: "away".into() });
    let events = life.says("y", "again", "hello", |m| m.thread = "second".into());
    assert!(passed(&events).contains(&("zed", PassedOver::Away)), "{events:?}");
    // And who had this very conversation.
    let conversation = life.conversation_of("y");
    life.acts(Action::Snooze { conversation, until: life.now.plus(60_000) });
    let events = life.passes(60_000);
    assert!(passed(&events).contains(&("zed", PassedOver::Away)), "{events:?}");
}

#[test]
fn who_is_alike_in_it_is_chosen_by_the_strategy() {
    let pack = "
zone: UTC
queues: { q: { prefer: support, strategy: least_loaded }, r: { strategy: least_loaded } }
agents: { ann: { skills: { support: 5 } }, bob: { skills: { support: 5 } }, cyn: { skills: { support: 4 } } }
rules: [{ name: Other, when: { meta.to: r }, then: { queue: r } }]
default: { queue: q }
";
    let mut life = life(pack);
    come(&mut life, &["ann", "bob", "cyn"]);
    for (who, meta, has) in [("1", None, "ann"), ("2", None, "bob"), ("3", None, "ann"), ("4", Some("r"), "cyn")] {
        says(&mut life, who, &meta.map(|to| ("to", to)).into_iter().collect::<Vec<_>>());
        assert_eq!(life.has(who), has, "message {who}");
    }
    // What is wanted limits who is asked, also where it is searched for by a set of its own.
    let wanting = pack.replace("prefer: support,", "prefer: { support: least }, skills: { support: 5 },");
    let mut life = self::life(&wanting);
    come(&mut life, &["ann", "bob", "cyn"]);
    says(&mut life, "1", &[]);
    assert_eq!(life.has("1"), "ann");
}

const NAMED: &str = r#"
zone: UTC
queues: { q: {}, support: { skills: [support] } }
agents:
  ann: { name: Ann Smith, skills: [support, shoes], capacity: 1 }
  bob: { name: Bob, skills: [support], capacity: 1 }
  max: { capacity: 1 }
rules:
  - name: Asked for
    when: { meta.agent: { exists: true } }
    then: { agent: "{{ message.meta.agent }}", queue: support }
  - name: About
    when: { meta.about: { exists: true } }
    then: { skills: [support, "{{ message.meta.about }}"], queue: q }
  - name: Either
    when: { meta.either: { exists: true } }
    then: { agent: [bob, max] }
default: { queue: q }
"#;

#[test]
fn a_rule_gives_a_conversation_to_whom_a_text_names() {
    for (named, has) in [
        ("max", "max"),
        (" ANN smith ", "ann"),
        ("nobody, bob", "bob"),
        ("bob, ann", "bob"),
        ("nobody", "ann"),
        ("", "ann"),
        (",,", "ann"),
    ] {
        let mut life = life(NAMED);
        come(&mut life, &["max", "ann", "bob"]);
        says(&mut life, "x", &[("agent", named)]);
        assert_eq!(life.has("x"), has, "{named:?}: who is nobody leaves it to the queue");
    }
    let mut life = life(NAMED);
    come(&mut life, &["ann", "max"]);
    says(&mut life, "x", &[("agent", "ann")]);
    says(&mut life, "y", &[("agent", "ann, bob, max")]);
    assert_eq!(life.has("y"), "max", "the first who can take it");
    says(&mut life, "z", &[("agent", "ann")]);
    assert_eq!(life.has("z"), "queued", "one who has no room is nobody else");
    let queue = |who: &str| life.conv(who).queue.as_ref().map(ToString::to_string);
    assert_eq!(queue("z").as_deref(), Some("support"));
}

#[test]
fn a_list_of_agents_is_the_first_who_can_take_it() {
    let mut life = life(NAMED);
    come(&mut life, &["ann", "bob", "max"]);
    for (who, has) in [("x", "bob"), ("y", "max"), ("z", "ann")] {
        says(&mut life, who, &[("either", "yes")]);
        assert_eq!(life.has(who), has, "and then whoever the queue finds");
    }
}

#[test]
fn skills_that_a_text_names_are_wanted_as_far_as_somebody_has_them() {
    let mut life = life(NAMED);
    come(&mut life, &["bob", "ann"]);
    let events = says(&mut life, "x", &[("about", "Shoes")]);
    assert_eq!(life.has("x"), "ann");
    let wanted = events.iter().find_map(|e| match &e.public {
        Public::Queued { skills, .. } => Some(skills.keys().cloned().collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(wanted, Some(vec!["shoes".to_owned(), "support".to_owned()]));
    let events = says(&mut life, "y", &[("about", "my card is 4111, support")]);
    assert_eq!(life.has("y"), "bob");
    let public: Vec<_> = events.iter().map(|e| format!("{:?}", e.public)).collect();
    assert!(!public.concat().contains("4111"), "a customer's words name nothing in public");
}

const WAITS: &str = r#"
zone: UTC
queues: { q: { skills: [support], overflow: [{ after: 20s, priority: high }, { after: 1m, queue: r }] }, r: {} }
agents:
  ann: { skills: [support], capacity: 1 }
  bob: { skills: [support], capacity: 1 }
  cyn: { skills: [support], capacity: 1 }
  dan: { capacity: 1 }
rules:
  - name: Known
    when: { meta.agent: { exists: true } }
    then: { agent: "{{ message.meta.agent }}", wait: 30s, queue: q }
default: { queue: q }
"#;

fn queued(life: &Life, who: &str) -> String {
    life.conv(who).queue.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// The steps that took effect: their numbers, their times, and who was asked alone until then.
fn taken(events: &[Event]) -> Vec<(Option<u32>, Option<i64>, Vec<String>)> {
    let one = |e: &Event| match &e.public {
        Public::Relaxed { taken, .. } => {
            taken.as_deref().map(|taken| (taken.number, taken.after_ms, taken.only.clone()))
        }
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

#[test]
fn who_is_named_and_busy_is_waited_for_and_then_others_are_asked() {
    let mut life = life(WAITS);
    come(&mut life, &["ann", "bob"]);
    says(&mut life, "x", &[("agent", "ann")]);
    let events = says(&mut life, "y", &[("agent", "ann, dan")]);
    assert_eq!(life.has("y"), "queued", "Bob is free and is not asked");
    let passed = events.iter().find_map(|e| match &e.public {
        Public::NobodyFree { considered, .. } => considered.passed.iter().find(|(name, _)| name == "bob").cloned(),
        _ => None,
    });
    assert_eq!(passed.map(|(_, why)| why), Some(PassedOver::NotYet));
    // An earlier step of the queue takes its effect, and asks nobody else.
    let events = life.passes(20_000);
    assert_eq!((life.has("y"), life.conv("y").priority), ("queued".into(), Priority::High));
    assert_eq!(taken(&events), [(Some(1), Some(20_000), vec![])], "Ann alone is asked after it as well");
    let parts = life.state.to_parts().expect("a snapshot");
    let again = switchboard_routing_rules::State::from_parts(life.state.salt, &parts.public, &parts.private);
    life.state = again.expect("it reads");
    let events = life.passes(10_000);
    assert_eq!((life.has("y"), queued(&life, "y")), ("bob".into(), "q".into()), "after half a minute he is");
    // The end of a wait is no step of the pack's.
    assert_eq!(taken(&events), [(None, Some(30_000), vec!["ann".to_owned()])]);
    says(&mut life, "z", &[("agent", "ann")]);
    for ms in [20_000, 10_000] {
        assert_eq!(taken(&life.passes(ms)).len(), 1);
    }
    let events = life.passes(30_000);
    assert_eq!((queued(&life, "z"), taken(&events)), ("r".into(), vec![(Some(2), Some(60_000), vec![])]));
}

#[test]
fn who_is_named_and_becomes_free_or_comes_meanwhile_gets_it_and_nobody_else() {
    let mut life = life(WAITS);
    come(&mut life, &["ann"]);
    says(&mut life, "x", &[("agent", "ann")]);
    says(&mut life, "y", &[("agent", "ann")]);
    come(&mut life, &["cyn"]);
    assert_eq!(life.has("y"), "queued");
    life.closes("x");
    assert_eq!(life.has("y"), "ann");
    // Bob is not there yet, and is one of those for whom it waits.
    says(&mut life, "w", &[("agent", "ann, bob")]);
    assert_eq!(life.has("w"), "queued");
    come(&mut life, &["bob"]);
    assert_eq!(life.has("w"), "bob");
    // What another names is theirs at once, whoever was waited for.
    says(&mut life, "z", &[("agent", "ann")]);
    assert_eq!(life.has("z"), "queued");
    says(&mut life, "z", &[("agent", "cyn")]);
    assert_eq!(life.has("z"), "cyn");
}

#[test]
fn a_rule_may_wait_for_who_is_not_there() {
    let pack = WAITS.replace("wait: 30s", "wait: { for: 30s, absent: true }");
    let mut life = life(&pack);
    come(&mut life, &["bob"]);
    for who in ["x", "y"] {
        says(&mut life, who, &[("agent", "ann")]);
        assert_eq!(life.has(who), "queued", "Bob is there and is not asked");
    }
    come(&mut life, &["ann"]);
    assert_eq!((life.has("x"), life.has("y")), ("ann".into(), "queued".into()), "the first who was named");
    life.passes(20_000);
    life.passes(10_000);
    assert_eq!(life.has("y"), "bob");
    says(&mut life, "z", &[("agent", "dan")]);
    assert_ne!(life.conv("z").overflow.first().map(|step| step.only.len()), Some(1), "Dan could never take it");
}

#[test]
fn who_has_the_least_of_it_may_come_first_and_who_has_none_last() {
    let yaml = "
zone: UTC
queues: { q: { prefer: [{ finance: least_held }, { support: least_held }] } }
agents:
  alice: { skills: { finance: 10, support: 8 }, capacity: 1 }
  bob: { skills: { finance: 10 }, capacity: 1 }
  cyn: { skills: { support: 1 }, capacity: 1 }
default: { queue: q }
";
    let mut life = life(yaml);
    come(&mut life, &["cyn", "bob", "alice"]);
    let events = says(&mut life, "x", &[]);
    let lacks = |skill: &str| PassedOver::Skilled { skill: skill.into(), less: true };
    assert_eq!(passed(&events), [("bob", lacks("support")), ("cyn", lacks("finance"))]);
    for (who, wanted) in [("x", "alice"), ("y", "bob"), ("z", "cyn")] {
        says(&mut life, who, &[]);
        assert_eq!(life.has(who), wanted);
    }
}

#[test]
fn nobody_waits_for_who_is_not_there_or_could_never_take_it() {
    for named in ["cyn", "dan", "nobody", "cyn, dan"] {
        let mut life = life(WAITS);
        come(&mut life, &["dan", "bob"]);
        says(&mut life, "busy", &[("agent", "dan")]);
        assert_eq!(life.has("busy"), "dan", "who is named need not have what is wanted");
        says(&mut life, "x", &[("agent", named)]);
        assert_eq!(life.has("x"), "bob", "{named}: Cyn is not there, and Dan has not the skill");
    }
}

/// A step that asks whether anybody is free now is not asked for whom it waits: it has its turn after them.
#[test]
fn a_step_for_when_nobody_is_free_has_its_turn_after_the_wait() {
    let pack = WAITS.replace(
        "overflow: [{ after: 20s, priority: high }, { after: 1m, queue: r }]",
        "overflow: [{ if: nobody_free, queue: r }]",
    );
    let mut life = life(&pack);
    come(&mut life, &["ann", "bob"]);
    says(&mut life, "x", &[("agent", "ann")]);
    says(&mut life, "b", &[("agent", "bob")]);
    says(&mut life, "y", &[("agent", "ann")]);
    assert_eq!((life.has("y"), queued(&life, "y")), ("queued".into(), "q".into()), "Ann is waited for");
    life.passes(29_000);
    assert_eq!(queued(&life, "y"), "q");
    life.passes(1_000);
    assert_eq!((life.has("y"), queued(&life, "y")), ("queued".into(), "r".into()), "and then nobody is free");
}

#[test]
fn names_are_checked_when_the_pack_loads() {
    let wrong = |then: &str| {
        let yaml = format!(
            "zone: UTC\nqueues: {{ q: {{}} }}\nagents: {{ ann: {{}} }}\nrules: [{{ name: A, then: {then} }}]\ndefault: {{ queue: q }}\n"
        );
        let files = [("a.yaml".to_owned(), yaml.into_bytes())];
        let problems = RulePack::load(&files, &Environment::default()).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(wrong("{ agent: '{{ contact.attributes.owner }}' }"), "");
    for (then, said) in [
        ("{ agent: '{{ contact.owner }}' }", "unknown name `contact.owner` in a template"),
        ("{ agent: '{{ match.who }}' }", "no pattern of this rule captures `who`"),
        ("{ agent: '{{ queue.wait }}' }", "`queue.wait` is not known before the conversation is placed"),
        ("{ agent: '{{ message.text' }", "a `{{` is never closed"),
        ("{ agent: [ann, bob] }", "there is no agent `bob`"),
        ("{ queue: q, wait: 30s }", "`wait` without `agent`"),
        ("{ agent: [] }", "an empty list of agents"),
        ("{ skills: ['{{ nothing }}'] }", "unknown name `nothing` in a template"),
        ("{ skills: { '{{ message.text }}': 0 } }", "`0` is not a level"),
    ] {
        assert!(wrong(then).contains(said), "{then}: {}", wrong(then));
    }
}
