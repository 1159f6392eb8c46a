//! What the rule language promises, beyond what one condition means (`semantics.rs`): over whole decisions, with state, agents
//! and sends, through the pack's own tests, so that those are tried as well.

use switchboard_routing_rules::pack::{Environment, RulePack};
use switchboard_routing_rules::trial;

/// A pack with everything in it, as the documentation shows it.
const SHOWN: &str = r#"
zone: Europe/Paris
queues:
  everyone: {}
  billing:
    skills: [billing]
    sla: { first_response: 15m, resolution: 8h, warn: 80%, on_breach: { priority: urgent, notify: { desk: team-slack } } }
    hours: office
    strategy: least_loaded
    sticky: 7d
    offer: { timeout: 60s }
    ageing: 30m
    overflow:
      - { after: 5m,  skills: [] }
      - { after: 15m, queue: everyone, priority: high }
    reopen: 72h
agents:
  ann: { name: Ann, skills: [billing, french], capacity: 5, desks: { team-slack: U024BE7LH, mail: ann@shop.example } }
hours:
  office: { week: { mon-fri: ["09:00-12:30", "13:30-18:00"] }, closed: [2026-12-25] }
rotations:
  oncall: { start: "2026-11-23T09:00", every: 1w, agents: [ann] }
replies:
  after-hours: "Thanks {{ contact.first_name | default('') }}, we are back {{ hours.office.next_open }}."
rules:
  - name: After hours
    when: { hours: { office: closed }, new: true }
    then: { reply: after-hours }
    continue: true
  - name: Refunds go to billing
    when:
      channel: [support-email, support-sms]
      text: { matches: '(?i)\b(refund|money back)\b' }
      not: { contact.tags: blocked }
    then: { tag: refund, queue: billing, priority: high }
  - name: Note the order number
    when: { content: { matches: '#(?<order>\d{6})\b' } }
    then: { set: { order: '{{match.order}}' } }
    continue: true
default: { queue: everyone }
"#;

const SHOWN_TEST: &str = r"
tests:
  - name: A refund mail on Sunday waits for billing and gets the after-hours note
    at: 2026-11-22T10:00:00+01:00
    message: { channel: support-email, from: ann@example.org, subject: Refund please, text: I want my money back }
    expect: { queue: billing, priority: high, tags: [refund], replies: [after-hours] }
";

/// What else stands in the packs below.
const BASE: &str = "\
zone: UTC
queues: { everyone: {}, billing: { skills: [billing] }, sales: {}, slow: { offer: { timeout: 60s } } }
agents:
  ann: { skills: { billing: 2, french: 1 }, capacity: 2 }
  bob: { capacity: 1 }
replies: { hello: Hello, bye: 'Bye {{ contact.first_name | default(\"you\") }}' }
default: { queue: everyone, tag: unplaced }
";

fn load(files: &[(&str, &str)]) -> (RulePack, Vec<(String, Vec<u8>)>) {
    let files: Vec<(String, Vec<u8>)> =
        files.iter().map(|(p, t)| ((*p).to_owned(), t.trim_start_matches('\n').as_bytes().to_vec())).collect();
    match RulePack::load(&files, &Environment::default()) {
        Ok(loaded) => (loaded.pack, files),
        Err(p) => panic!("{}", p.iter().map(|p| format!("{p}\n")).collect::<String>()),
    }
}

/// The faults of the tests of a pack, each with the test's name.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let (pack, files) = load(files);
    let tests = pack.tests(&files, &Environment::default()).unwrap_or_else(|p| panic!("{p:#?}"));
    assert!(!tests.is_empty());
    let all = tests.iter().map(|t| (t, trial::run(&pack, t)));
    all.flat_map(|(t, v)| v.faults.into_iter().map(move |f| format!("{}: {f}", t.name))).collect()
}

/// The faults of one test of [`BASE`] with these rules.
fn faults_of(rules: &str, test: &str) -> Vec<String> {
    let rules = format!("rules:\n{}", rules.trim_start_matches('\n'));
    let test = format!("tests:\n  - name: T\n{}", test.trim_start_matches('\n'));
    faults(&[("a.yaml", BASE), ("b.yaml", &rules), ("c_test.yaml", &test)])
}

fn passes(rules: &str, test: &str) {
    assert_eq!(faults_of(rules, test), Vec::<String>::new(), "{rules}\n{test}");
}

#[test]
fn the_pack_that_the_documentation_shows_does_what_its_test_says() {
    assert_eq!(faults(&[("pack.yaml", SHOWN), ("pack_test.yaml", SHOWN_TEST)]), Vec::<String>::new());
}

#[test]
fn its_after_hours_note_names_the_next_opening() {
    let (pack, _) = load(&[("pack.yaml", SHOWN)]);
    let sunday = switchboard_routing_rules::pack::SeenState {
        now: "2026-11-22T10:00:00+01:00".parse().unwrap(),
        new: true,
        ..Default::default()
    };
    let text = pack.render("after-hours", &Default::default(), &sunday).unwrap();
    assert_eq!(text, "Thanks , we are back tomorrow at 09:00.");
}

#[test]
fn queue_and_agent_move_a_queued_conversation_but_not_one_that_is_held_unless_move() {
    let to_sales = "  - { name: Sales, when: { text: buy }, then: { queue: sales } }\n";
    let given = |state: &str| {
        format!(
            "    message: {{ kind: sms, text: buy }}\n    given: {{ conversation: {state}, agents: {{ bob: {{ presence: away }} }} }}\n"
        )
    };
    passes(to_sales, &format!("{}    expect: {{ queue: sales, state: queued }}\n", given("{ queue: billing }")));
    for held in [
        "{ agent: bob, queue: billing }",
        "{ agent: bob, queue: billing, state: offered }",
        "{ agent: bob, queue: billing, state: pending }",
    ] {
        passes(to_sales, &format!("{}    expect: {{ queue: billing, rules: [Sales] }}\n", given(held)));
    }
    passes(
        to_sales,
        &format!("{}    expect: {{ queue: sales, state: queued }}\n", given("{ queue: billing, state: snoozed }")),
    );
    passes(
        to_sales,
        &format!("{}    expect: {{ queue: billing }}\n", given("{ agent: bob, queue: billing, state: snoozed }")),
    );
    let moved = "  - { name: Sales, when: { text: buy }, then: { queue: sales, move: true } }\n";
    for held in ["{ agent: bob, queue: billing }", "{ agent: bob, queue: billing, state: offered }"] {
        passes(moved, &format!("{}    expect: {{ queue: sales, state: queued, agent: '' }}\n", given(held)));
    }
}

#[test]
fn default_takes_only_what_has_no_place_after_the_rules() {
    let rules = "
  - { name: Closed, when: { text: bye }, then: { close: true } }
  - { name: Later, when: { text: later }, then: { snooze: 2h } }
  - { name: Noted, when: { text: hi }, then: { tag: noted } }
";
    passes(
        rules,
        "    message: { kind: sms, text: hi }\n    expect: { queue: everyone, state: queued, tags: [noted, unplaced] }\n",
    );
    passes(rules, "    message: { kind: sms, text: bye }\n    expect: { queue: '', state: closed, tags: [] }\n");
    passes(rules, "    message: { kind: sms, text: later }\n    expect: { state: snoozed, tags: [] }\n");
    passes(
        rules,
        "    message: { kind: sms, text: hi }\n    given: { conversation: { queue: sales } }\n    expect: { queue: sales, tags: [noted] }\n",
    );
    passes(
        rules,
        "    message: { kind: sms, text: hi }\n    given: { conversation: { agent: bob, queue: sales } }\n    expect: { queue: sales, agent: bob }\n",
    );
}

#[test]
fn default_takes_what_nobody_takes_who_is_named_without_a_queue() {
    let rules = "
  - { name: Bob, when: { text: bob }, then: { agent: bob } }
  - { name: Again, when: { text: again }, then: { agent: sticky } }
";
    for (text, presence, expected) in [
        ("bob", "available", "{ agent: bob, queue: '', tags: [] }"),
        ("bob", "offline", "{ agent: '', queue: everyone, tags: [unplaced] }"),
        ("again", "available", "{ queue: everyone, tags: [unplaced] }"),
    ] {
        let message = format!("    message: {{ kind: sms, text: {text} }}\n");
        let given = format!("    given: {{ agents: {{ bob: {{ presence: {presence} }} }} }}\n");
        passes(rules, &format!("{message}{given}    expect: {expected}\n"));
    }
}

#[test]
fn what_a_kind_of_channel_costs_is_what_it_takes_of_an_agent() {
    let given = "    given: { agents: { bob: { presence: available, load: 0.5 } } }\n";
    let rules = "  - { name: Bob, then: { agent: bob, queue: sales } }\n";
    for (kind, agent) in [("email", "bob"), ("webchat", "''"), ("sms", "''")] {
        let message = format!("    message: {{ kind: {kind}, text: hi }}\n");
        passes(rules, &format!("{message}{given}    expect: {{ queue: sales, agent: {agent} }}\n"));
    }
}

#[test]
fn an_agent_who_cannot_take_it_leaves_it_to_the_queue_that_is_named_with_the_agent() {
    let rules = "  - { name: Bob, then: { agent: bob, queue: sales } }\n";
    for (given, agent) in [
        ("{ presence: available }", "bob"),
        ("{ presence: offline }", "''"),
        ("{ presence: away }", "''"),
        ("{ presence: available, load: 1 }", "''"),
    ] {
        let test = format!(
            "    message: {{ kind: sms, text: hi }}\n    given: {{ agents: {{ bob: {given} }} }}\n    expect: {{ queue: sales, agent: {agent} }}\n"
        );
        let faults = faults_of(rules, &test);
        assert!(faults.is_empty(), "{given}: {faults:?}");
    }
}

#[test]
fn sticky_is_the_owner_of_the_latest_other_open_conversation_else_who_last_answered() {
    let rules = "  - { name: Again, then: { agent: sticky, queue: sales } }\n";
    let test = |contact: &str, agent: &str| {
        format!(
            "    message: {{ kind: sms, text: hi }}\n    given: {{ contact: {contact}, agents: {{ ann: {{}}, bob: {{ presence: available }} }} }}\n    expect: {{ agent: {agent} }}\n"
        )
    };
    passes(rules, &test("{ open: 1, agent: bob }", "bob"));
    passes(rules, &test("{ agent: bob }", "bob"));
}

#[test]
fn skills_of_a_rule_add_to_those_of_the_queue() {
    let rules = "  - { name: French, when: { text: bonjour }, then: { queue: billing, skills: { french: 2 } } }\n";
    let test = "    message: { kind: sms, text: bonjour }\n    given: { agents: { ann: {} } }\n    expect: { queue: billing, agent: '', state: queued }\n";
    passes(rules, test);
    passes(&rules.replace("french: 2", "french: 1"), &test.replace("'', state: queued", "ann, state: assigned"));
}

#[test]
fn at_most_one_reply_is_sent_and_an_automatic_message_gets_none_though_rules_run() {
    let rules = "
  - { name: One, then: { reply: hello, tag: one }, continue: true }
  - { name: Two, then: { reply: bye, tag: two } }
";
    passes(
        rules,
        "    message: { kind: sms, text: hi }\n    expect: { replies: [hello], tags: [one, two, unplaced] }\n",
    );
    passes(
        rules,
        "    message: { kind: sms, text: hi, automatic: true }\n    expect: { replies: [], rules: [One, Two], tags: [one, two, unplaced] }\n",
    );
    passes(
        rules,
        "    message: { kind: sms, text: hi }\n    given: { contact: { consent: opted_out } }\n    expect: { replies: [], consent: opted_out }\n",
    );
}

#[test]
fn consent_is_for_this_address_and_attributes_are_of_the_conversation_or_the_contact() {
    let rules = "
  - name: Stop
    when: { text: { matches: '^stop (?<what>\\w+)' } }
    then: { consent: opted_out, set: { stopped: '{{ match.what }}', contact.plan: none }, close: true }
";
    passes(
        rules,
        "    message: { kind: sms, from: '+15550001111', text: stop ads }\n    expect: { consent: opted_out, state: closed, attributes: { stopped: ads, contact.plan: none } }\n",
    );
}

#[test]
fn a_language_is_found_only_when_the_adapter_does_not_say_it() {
    let rules = "
  - { name: German, when: { language: de }, then: { queue: sales, tag: de } }
  - { name: Unknown, when: { language: unknown }, then: { tag: unknown } }
";
    for (message, tags) in [
        ("{ kind: webchat, text: Wo ist meine Bestellung? }", "[de]"),
        ("{ kind: webchat, text: ok }", "[unknown, unplaced]"),
        ("{ kind: webchat, text: ok, language: de-AT }", "[de]"),
        ("{ kind: webchat, text: Wo ist meine Bestellung?, language: fr }", "[unplaced]"),
        ("{ kind: webchat, text: '12345' }", "[unknown, unplaced]"),
        ("{ kind: twitter, text: ok, language: und }", "[unknown, unplaced]"),
    ] {
        passes(rules, &format!("    message: {message}\n    expect: {{ tags: {tags} }}\n"));
    }
}

#[test]
fn what_a_test_gives_is_what_conditions_see() {
    let rules = "
  - name: All
    when:
      state: offered
      queue: billing
      tags: { all: [a, b] }
      attributes.order: 5
      age: { gte: 2h, lt: 3h }
      messages: 4
      silence: 30m
      new: false
      contact.identities: { prefix: 'phone:' }
      contact.tags: vip
      contact.attributes.plan: gold
      contact.consent: opted_in
      contact.open: 2
      from: ann@shop.example
    then: { tag: all }
";
    passes(
        rules,
        "    message: { kind: email, from: ann@shop.example, text: hi }
    given:
      conversation: { state: offered, agent: ann, queue: billing, tags: [a, b], attributes: { order: 5 }, age: 2h, messages: 4, silence: 30m }
      contact: { tags: [vip], attributes: { plan: gold }, consent: opted_in, open: 2, identities: ['email:ann@shop.example', 'phone:+15550001111'] }
    expect: { rules: [All] }
",
    );
}

/// Those that follow up are asked in turn as well: after what an agent does, and after an assignment that a message led to.
#[test]
fn a_failure_tells_where_each_rule_gave_up_that_follows_up() {
    let rules = "
rules:
  - { name: Buy, when: { text: buy }, then: { queue: sales } }
  - { name: Rest, then: { priority: high } }
  - { name: Sold, on: closed, when: { queue: sales }, then: { tag: sold }, continue: true }
  - { name: Done, on: closed, when: { kind: sms }, then: { tag: done } }
  - { name: Last, on: closed, then: { tag: last } }
  - { name: Owner, on: assigned, when: { contact.agent: bob }, then: { tag: owned } }
";
    let test = "
tests:
  - name: T
    message: { kind: sms, text: hi }
    act: { agent: ann, does: close }
    expect: { tags: [sold] }
  - name: U
    message: { kind: sms, text: hi }
    given: { agents: { ann: {} } }
    expect: { tags: [owned] }
";
    let (pack, files) = load(&[("a.yaml", BASE), ("b.yaml", rules), ("c_test.yaml", test)]);
    let tests = pack.tests(&files, &Environment::default()).unwrap();
    let told = |n: usize| {
        let verdict = trial::run(&pack, &tests[n]);
        assert!(!verdict.passed());
        let followed = verdict.followed.into_iter();
        let told = followed.map(|(on, traces)| (on.as_str(), traces)).collect::<Vec<_>>();
        (verdict.before, told)
    };
    let (before, followed) = told(0);
    let before: Vec<(&str, bool)> = before.iter().map(|t| (t.rule.as_str(), t.matched)).collect();
    assert_eq!(before, [("Buy", false), ("Rest", true)], "what the rules made of the message before");
    let [("closed", traces)] = followed.as_slice() else { panic!("{followed:?}") };
    let failed = |n: usize| traces[n].failed.as_ref().map(|f| f.sentence.as_str());
    assert_eq!(failed(0), Some("queue is \"everyone\", not \"sales\""));
    assert_eq!((traces[1].matched, traces[1].applied.as_slice()), (true, &["tag done".to_owned()][..]));
    assert!(traces[2].skipped, "a rule before ended it");
    let (before, followed) = told(1);
    assert_eq!(before, [], "nobody did anything after the message");
    let [("assigned", traces)] = followed.as_slice() else { panic!("{followed:?}") };
    let failed = traces[0].failed.as_ref().map(|f| f.sentence.as_str());
    assert_eq!(failed, Some("contact.agent is \"ann\", not \"bob\""));
}

#[test]
fn a_failure_tells_what_was_expected_what_came_and_why() {
    let rules =
        "  - { name: Buy, when: { text: buy }, then: { queue: sales } }\n  - { name: Rest, then: { tag: rest } }\n";
    let rules = format!("rules:\n{rules}");
    let test = "tests:\n  - { name: T, message: { kind: sms, text: hi }, expect: { queue: sales, tags: [] } }\n";
    let (pack, files) = load(&[("a.yaml", BASE), ("b.yaml", &rules), ("c_test.yaml", test)]);
    let tests = pack.tests(&files, &Environment::default()).unwrap();
    let verdict = trial::run(&pack, &tests[0]);
    assert_eq!(
        verdict.faults,
        ["queue: expected \"sales\", got \"everyone\"", "tags: expected {}, got {\"rest\", \"unplaced\"}"]
    );
    assert_eq!(verdict.trace[0].failed.as_ref().map(|f| f.sentence.as_str()), Some("text is \"hi\", not \"buy\""));
    assert!(verdict.trace[1].matched);
    assert_eq!(
        verdict.actual.unwrap().to_string(),
        "queue everyone, state queued, priority normal, tags rest unplaced"
    );
}
