//! What each sentence of the rule language means, one test a sentence.

use switchboard_envelope::Timestamp;
use switchboard_routing_rules::pack::{
    AgentChoice, ConvStatus, Environment, Priority, RulePack, RunOutcome, SeenMessage, SeenState, SetTarget,
};

const BASE: &str = "\
zone: Europe/Paris
queues: { everyone: {}, billing: {}, sales: {} }
agents: { ann: {}, bob: { skills: { french: 2 } } }
hours: { office: { week: { mon-fri: \"09:00-18:00\" } } }
rotations:
  oncall: { start: \"2026-11-23T09:00\", every: 1w, agents: [ann, bob] }
  turns: { start: \"2026-11-23T00:00\", every: 1d, queues: [billing, sales] }
replies:
  hello: \"Hello {{ contact.first_name | default('there') }}\"
  other: Other
  back: Back {{ hours.office.next_open }} or {{ hours.office.next_open_date }} {{ hours.office.next_open_time }}
  all: \"{{ contact.name | default('-') }}|{{ contact.tags }}|{{ contact.attributes.plan | default('-') }}|{{ conversation.queue | \
                     default('-') }}|{{ conversation.tags }}|{{ conversation.attributes.order | default('-') }}|{{ message.text }}|{{ \
                     message.subject | default('-') }}|{{ message.from | default('-') | upper }}|{{ message.channel }}\"
default: { queue: everyone }
";

fn pack(rules: &str) -> RulePack {
    let rules = rules.trim_start_matches('\n');
    let files = [("a.yaml".to_owned(), BASE.into()), ("b.yaml".to_owned(), format!("rules:\n{rules}").into_bytes())];
    match RulePack::load(&files, &Environment::default()) {
        Ok(loaded) => loaded.pack,
        Err(p) => panic!("{rules}\n{}", p.iter().map(|p| format!("{p}\n")).collect::<String>()),
    }
}

/// Wednesday, 10:00 in Paris.
fn at(s: &str) -> Timestamp {
    s.parse().unwrap()
}

fn message() -> SeenMessage {
    SeenMessage {
        channel: "support-sms".into(),
        kind: "sms".into(),
        text: "I want a Refund for #123456, ÉTÉ please".into(),
        subject: Some("My Order".into()),
        from: Some("Ann@Shop.example".into()),
        to: Some("+15559990000".into()),
        authenticated: Some(true),
        language: Some("fr".into()),
        choice: Some("yes".into()),
        meta: [("followers".to_owned(), "1500".to_owned()), ("word".to_owned(), "many".to_owned())].into(),
        ..SeenMessage::default()
    }
}

fn state() -> SeenState {
    SeenState {
        now: at("2026-11-25T09:00:00Z"),
        state: Some(ConvStatus::Queued),
        queue: Some("billing".into()),
        tags: ["vip".to_owned(), "Gold".to_owned()].into(),
        attributes: [("order".to_owned(), "42".to_owned()), ("empty".to_owned(), String::new())].into(),
        age_ms: 3_600_000,
        messages: 3,
        silence_ms: Some(60_000),
        contact_identities: vec!["email:ann@shop.example".into(), "phone:+15550001111".into()],
        contact_name: Some("Ann Lee".into()),
        contact_tags: ["blocked".to_owned()].into(),
        contact_attributes: [("plan".to_owned(), "Gold".to_owned()), ("orders".to_owned(), "12".to_owned())].into(),
        contact_consent: Some("opted_in".into()),
        contact_open: 2,
        contact_agent: Some("ann".into()),
        priority: Some(Priority::High),
        ..SeenState::default()
    }
}

fn holds_for(when: &str, message: &SeenMessage, state: &SeenState) -> bool {
    let pack = pack(&format!("  - name: A\n    when: {when}\n    then: {{ tag: hit }}\n"));
    let out = pack.run(message, state);
    let trace = pack.explain(message, state);
    assert_eq!(trace[0].matched, !out.hits.is_empty(), "{when}");
    assert_eq!(trace[0].failed.is_none(), trace[0].matched, "{when}");
    !out.hits.is_empty()
}

fn holds(when: &str) -> bool {
    holds_for(when, &message(), &state())
}

#[test]
fn conditions_over_all_fields() {
    let yes = [
        "{ channel: support-sms }",
        "{ channel: [site, support-sms] }",
        "{ kind: SMS }",
        "{ visibility: private }",
        "{ text: { contains: refund } }",
        "{ text: { contains: [nothing, été] } }",
        "{ text: { word: REFUND } }",
        "{ text: { prefix: i want } }",
        "{ text: { suffix: PLEASE } }",
        "{ text: { matches: 'Refund' } }",
        "{ text: { matches: ['xx', '(?i)refund'] } }",
        "{ subject: my order }",
        "{ content: { contains: order } }",
        "{ content: { contains: refund } }",
        "{ content: { none: [my other] } }",
        "{ from: ann@shop.example }",
        "{ from: { suffix: '@shop.example' } }",
        "{ to: +15559990000 }",
        "{ authenticated: true }",
        "{ language: [en, FR] }",
        "{ has_attachment: false }",
        "{ automatic: false }",
        "{ choice: yes }",
        "{ meta.followers: { gt: 1000, lte: 1500 } }",
        "{ meta.followers: 1500 }",
        "{ state: [queued, closed] }",
        "{ state: { none: closed } }",
        "{ queue: billing }",
        "{ priority: high }",
        "{ priority: [urgent, high] }",
        "{ priority: { none: [low, normal] } }",
        "{ priority: { exists: true } }",
        "{ tags: VIP }",
        "{ tags: [x, gold] }",
        "{ tags: { all: [vip, gold] } }",
        "{ tags: { none: [x, y] } }",
        "{ tags: { prefix: gol } }",
        "{ attributes.order: 42 }",
        "{ attributes.order: { gte: 42 } }",
        "{ attributes.empty: { exists: true } }",
        "{ age: { gte: 1h } }",
        "{ age: 1h }",
        "{ age: { none: 2h } }",
        "{ messages: 3 }",
        "{ messages: [1, 3] }",
        "{ silence: { lt: 2m } }",
        "{ new: false }",
        "{ contact.identities: 'phone:+15550001111' }",
        "{ contact.identities: { prefix: 'email:' } }",
        "{ contact.tags: blocked }",
        "{ contact.attributes.plan: gold }",
        "{ contact.attributes.orders: { gt: 9 } }",
        "{ contact.consent: opted_in }",
        "{ contact.open: { gt: 1 } }",
        "{ contact.agent: ann }",
        "{ hours: { office: open } }",
        "{ weekday: wed }",
        "{ weekday: [mon-tue, wed-fri] }",
        "{ time: '09:00-10:01' }",
        "{ time: { gte: '10:00', lt: '10:01' } }",
        "{ time: '22:00-10:30' }",
        "{ language: { exists: true } }",
        "{ meta.nothing: { exists: false } }",
        "{ }",
    ];
    for when in yes {
        assert!(holds(when), "{when}");
    }
    let no = [
        "{ channel: site }",
        "{ visibility: public }",
        "{ text: { word: fund } }",
        "{ text: { matches: 'refund' } }",
        "{ text: refund }",
        "{ text: { prefix: want } }",
        "{ text: { suffix: refund } }",
        "{ content: { none: [my order] } }",
        "{ authenticated: false }",
        "{ has_attachment: true }",
        "{ meta.followers: { gt: 1500 } }",
        "{ meta.word: { gt: 1 } }",
        "{ meta.word: { lt: 1 } }",
        "{ state: closed }",
        "{ priority: urgent }",
        "{ priority: { none: high } }",
        "{ tags: { all: [vip, x] } }",
        "{ tags: { none: [x, VIP] } }",
        "{ age: { lt: 1h } }",
        "{ age: { gt: 1h } }",
        "{ messages: { gt: 3 } }",
        "{ silence: { gt: 2m } }",
        "{ new: true }",
        "{ contact.consent: opted_out }",
        "{ hours: { office: closed } }",
        "{ weekday: [thu-tue] }",
        "{ time: '10:01-11:00' }",
        "{ time: '09:00-10:00' }",
        "{ time: { gt: '10:00' } }",
        "{ subject: { exists: false } }",
        "{ contact.agent: bob }",
        "{ text: { contains: refund, prefix: please } }",
    ];
    for when in no {
        assert!(!holds(when), "{when}");
    }
}

#[test]
fn how_the_words_of_a_text_are_spaced_is_nothing() {
    let said = |text: &str| SeenMessage { text: text.into(), ..message() };
    let now = state();
    for when in [
        "{ text: { word: money back } }",
        "{ text: { contains: 'my money  back' } }",
        "{ text: { prefix: I want my } }",
        "{ text: { suffix: back please } }",
        "{ text: i want my money back please }",
        r"{ text: { matches: '(?i)money\s+back' } }",
    ] {
        for text in [
            "I want my money\nback please",
            " I want my  money \r\n\tback please\n",
            "I want my money\u{a0}back please ",
        ] {
            assert!(holds_for(when, &said(text), &now), "{when} {text:?}");
        }
    }
    assert!(!holds_for("{ text: { word: money back } }", &said("moneyback"), &now));
    assert!(
        !holds_for("{ text: { matches: 'money back' } }", &said("money\nback"), &now),
        "a pattern sees what was written"
    );
}

#[test]
fn a_text_without_letters_is_in_an_unknown_language() {
    for text in ["", "123456", "\u{1f621}\u{1f621}", "https://shop.example/item/123", "!!!", "ann@shop.example", "ok"] {
        let m = SeenMessage { text: text.into(), language: None, ..message() };
        assert!(holds_for("{ language: unknown }", &m, &state()), "{text:?}");
        assert!(!holds_for("{ language: [en, fr, de] }", &m, &state()), "{text:?}");
    }
}

#[test]
fn a_missing_value_satisfies_only_exists_false_none_and_not() {
    let (m, s) = (SeenMessage { channel: "site".into(), ..SeenMessage::default() }, SeenState::default());
    for field in
        ["subject", "text", "content", "from", "choice", "queue", "contact.agent", "tags", "meta.x", "attributes.x"]
    {
        let value = if field == "queue" {
            "billing"
        } else if field == "contact.agent" {
            "ann"
        } else {
            "x"
        };
        for (operators, wanted) in [
            ("{ exists: false }".to_owned(), true),
            ("{ exists: true }".to_owned(), false),
            (format!("{{ none: [{value}] }}"), true),
            (value.to_owned(), false),
            (format!("{{ contains: {value} }}"), false),
            ("{ matches: '.*' }".to_owned(), false),
            ("{ prefix: x }".to_owned(), false),
            ("{ word: x }".to_owned(), false),
        ] {
            assert_eq!(holds_for(&format!("{{ {field}: {operators} }}"), &m, &s), wanted, "{field}: {operators}");
        }
        assert!(holds_for(&format!("{{ not: {{ {field}: {value} }} }}"), &m, &s), "{field}");
    }
    for (when, wanted) in [
        ("{ silence: { lt: 1h } }", false),
        ("{ silence: { gte: 0s } }", false),
        ("{ silence: { none: [1h] } }", true),
        ("{ silence: { exists: false } }", true),
        ("{ authenticated: false }", false),
        ("{ authenticated: { exists: false } }", true),
        ("{ attributes.x: { gt: 0 } }", false),
        ("{ attributes.x: { lt: 0 } }", false),
        ("{ state: { none: queued } }", true),
        ("{ priority: normal }", false),
        ("{ priority: { none: urgent } }", true),
        ("{ priority: { exists: false } }", true),
        ("{ contact.consent: { none: opted_out } }", true),
        ("{ tags: { all: [x] } }", false),
    ] {
        assert_eq!(holds_for(when, &m, &s), wanted, "{when}");
    }
}

#[test]
fn any_all_and_not() {
    for (when, wanted) in [
        ("{ any: [{ channel: site }, { kind: sms }] }", true),
        ("{ any: [{ channel: site }, { kind: sms, new: true }] }", false),
        ("{ all: [{ kind: sms }, { text: { word: refund } }] }", true),
        ("{ all: [{ kind: sms }, { text: { word: x } }] }", false),
        ("{ not: { kind: sms } }", false),
        ("{ not: { any: [{ kind: email }, { kind: webchat }] } }", true),
        ("{ not: { all: [{ kind: sms }, { new: true }] } }", true),
        ("{ not: { text: { contains: refund, prefix: please } } }", true),
        ("{ kind: sms, not: { not: { kind: sms } } }", true),
        ("{ kind: email, any: [{ kind: sms }] }", false),
    ] {
        assert_eq!(holds(when), wanted, "{when}");
    }
}

fn run(rules: &str) -> RunOutcome {
    pack(rules).run(&message(), &state())
}

#[test]
fn rules_stop_at_the_first_match_without_continue() {
    let out = run("
  - { name: No, when: { kind: email }, then: { tag: no } }
  - { name: One, then: { tag: one }, continue: true }
  - { name: Two, when: { kind: sms }, then: { tag: two } }
  - { name: Three, then: { tag: three } }
");
    assert_eq!(out.hits, ["One", "Two"]);
    assert_eq!(out.tags, ["one".to_owned(), "two".to_owned()].into());
}

#[test]
fn tags_and_notices_add_up_and_for_the_rest_the_first_decision_stands() {
    let out = run("
  - name: One
    then: { queue: billing, priority: high, tag: [a, b], set: { x: 1, contact.y: 2 }, reply: hello, snooze: 1h, notify: { desk: d } }
    continue: true
  - name: Two
    then:
      - { queue: sales, agent: bob, priority: low, tag: c, set: { x: 9, z: 3 } }
      - { reply: other, snooze: 2h, consent: opted_in, close: true, notify: [{ desk: e, text: 'Hi {{ message.from | default(\"\") }}' }] }
    continue: true
  - name: Three
    then: { agent: ann, consent: opted_out, close: true, move: true, block: true, desk: d, skills: { french: 2 } }
");
    assert_eq!((out.queue.as_deref(), out.priority), (Some("billing"), Some(Priority::High)));
    assert_eq!(out.agent, Some(AgentChoice::Agent("bob".into())));
    assert_eq!(out.tags.len(), 3);
    let set: Vec<(SetTarget, String)> = out.set.into_iter().collect();
    assert_eq!(
        set,
        [
            (SetTarget::Conversation("x".into()), "1".to_owned()),
            (SetTarget::Conversation("z".into()), "3".to_owned()),
            (SetTarget::Contact("y".into()), "2".to_owned()),
        ]
    );
    assert_eq!(out.reply.unwrap().text.unwrap(), "Hello Ann");
    assert_eq!((out.snooze_ms, out.consent), (Some(3_600_000), Some(true)));
    assert!(out.close && out.move_ && out.block);
    assert_eq!(out.desk.as_deref(), Some("d"));
    assert_eq!(out.skills.get("french"), Some(&2));
    let notices: Vec<_> = out.notify.iter().map(|n| (n.desk.as_str(), n.text.as_deref())).collect();
    assert_eq!(notices, [("d", None), ("e", Some("Hi Ann@Shop.example"))]);
    let lost: Vec<String> = out.superseded.iter().map(|(r, a)| format!("{r}: {a}")).collect();
    assert_eq!(
        lost,
        [
            "Two: set x",
            "Two: queue sales",
            "Two: priority low",
            "Two: snooze 2h",
            "Two: reply other",
            "Three: agent ann",
            "Three: close",
            "Three: consent opted_out",
        ]
    );
}

#[test]
fn rules_see_what_earlier_rules_of_the_run_have_set_and_nothing_else_of_it() {
    let out = run("
  - { name: Set, then: { tag: seen, set: { level: 5, contact.grade: A }, queue: sales }, continue: true }
  - { name: Tag, when: { tags: { all: [SEEN, vip] } }, then: { tag: t }, continue: true }
  - { name: Attribute, when: { attributes.level: { gte: 5 } }, then: { tag: a }, continue: true }
  - { name: Contact, when: { contact.attributes.grade: a }, then: { tag: c }, continue: true }
  - { name: Queue, when: { queue: sales }, then: { tag: q }, continue: true }
  - { name: Overwritten, when: { attributes.order: 42 }, then: { set: { order: 43 } }, continue: true }
  - { name: New order, when: { attributes.order: 43 }, then: { tag: o } }
");
    assert_eq!(out.hits, ["Set", "Tag", "Attribute", "Contact", "Overwritten", "New order"]);
}

#[test]
fn captures_fill_attributes_and_replies() {
    let out = run("
  - name: Order
    when: { content: { matches: ['nope(?<order>x)', '(?<what>\\w+) for #(?<order>\\d{6})(?<rest>zzz)?'] } }
    then: { set: { order: '{{ match.order }}', rest: '[{{ match.rest | default(\"\") }}]', contact.last: 'no {{match.order}}' } }
");
    let get = |n: &str| out.set.get(&SetTarget::Conversation(n.into())).map(String::as_str);
    assert_eq!((get("order"), get("rest")), (Some("123456"), Some("[]")));
    assert_eq!(out.set.get(&SetTarget::Contact("last".into())).unwrap(), "no 123456");
}

#[test]
fn captures_come_from_the_alternative_that_holds() {
    let out = run("
  - name: Order
    when: { any: [{ kind: email, text: { matches: '(?<n>Refund)' } }, { text: { matches: '#(?<n>\\d+)' } }] }
    then: { set: { n: '{{ match.n }}' } }
");
    assert_eq!(out.set.values().next().unwrap(), "123456");
}

#[test]
fn templates_know_the_contact_the_conversation_the_message_and_the_hours() {
    let p = pack("  - { name: A, then: { queue: sales, tag: new, reply: all } }\n");
    let text = p.run(&message(), &state()).reply.unwrap().text.unwrap();
    assert_eq!(
        text,
        "Ann Lee|blocked|Gold|sales|Gold, vip, new|42|I want a Refund for #123456, ÉTÉ please|My Order|ANN@SHOP.EXAMPLE|support-sms"
    );
    let empty = SeenMessage { channel: "site".into(), ..SeenMessage::default() };
    let night = SeenState { now: at("2026-11-25T19:00:00Z"), ..SeenState::default() };
    assert_eq!(p.render("hello", &empty, &night).unwrap(), "Hello there");
    assert_eq!(p.render("back", &empty, &night).unwrap(), "Back tomorrow at 09:00 or 2026-11-26 09:00");
    assert!(p.render("none-such", &empty, &night).is_err());
}

#[test]
fn rotations_take_turns() {
    let p = pack("  - { name: A, then: { agent: { rotation: oncall }, queue: { rotation: turns } } }\n");
    let on = |s: &str| {
        let out = p.run(&message(), &SeenState { now: at(s), ..state() });
        (out.agent.unwrap(), out.queue.unwrap())
    };
    assert_eq!(on("2026-11-25T09:00:00Z"), (AgentChoice::Agent("ann".into()), "billing".into()));
    assert_eq!(on("2026-12-01T09:00:00Z"), (AgentChoice::Agent("bob".into()), "billing".into()));
    assert_eq!(on("2026-12-02T09:00:00Z"), (AgentChoice::Agent("bob".into()), "sales".into()));
}

#[test]
fn default_is_told_apart_from_the_rules() {
    let p = pack("  - { name: A, when: { kind: email }, then: { queue: sales } }\n");
    assert_eq!(p.run(&message(), &state()), RunOutcome::default());
    assert_eq!(p.with_default(&RunOutcome::default(), &message(), &state()).queue.as_deref(), Some("everyone"));
    assert_eq!(p.default_queue(Timestamp(0)), Some("everyone"));
}

#[test]
fn explanations_name_the_first_condition_that_failed() {
    let p = pack(
        "
  - { name: Order, when: { kind: sms, subject: refund, new: true }, then: { tag: a } }
  - { name: Any, when: { any: [{ kind: email }, { tags: x }] }, then: { tag: a } }
  - { name: Not, when: { not: { contact.tags: blocked } }, then: { tag: a } }
  - { name: Missing, when: { meta.x: y }, then: { tag: a } }
  - { name: Closed, when: { hours: { office: closed } }, then: { tag: a } }
  - { name: Age, when: { age: { gt: 1d } }, then: { tag: a } }
  - { name: Hit, when: { text: { word: refund } }, then: { tag: b, queue: sales } }
  - { name: After, then: { tag: c } }
",
    );
    let traces = p.explain(&message(), &state());
    let why: Vec<String> = traces.iter().filter_map(|t| t.failed.as_ref().map(|f| f.sentence.clone())).collect();
    assert_eq!(
        why,
        [
            "subject is \"My Order\", not \"refund\"",
            "none of the alternatives holds: kind is \"sms\", not \"email\"; tags is \"Gold\", \"vip\", not \"x\"",
            "it must not be that contact.tags has \"blocked\", and it is",
            "meta.x is missing, and must be \"y\"",
            "hours office are open, not closed",
            "age is 1h, not more than 1d",
        ]
    );
    let first = traces[0].failed.as_ref().unwrap();
    assert_eq!(
        (first.field.as_str(), first.wanted.as_str(), first.saw.as_str()),
        ("subject", "\"refund\"", "\"My Order\"")
    );
    assert_eq!(traces[6].applied, ["tag b", "queue sales"]);
    assert!(traces[6].matched && traces[7].skipped && !traces[7].matched);
    assert_eq!(traces[6].place, "b.yaml:8");
}

#[test]
fn files_load_in_byte_order_of_their_path() {
    let file = |p: &str, t: &str| (p.to_owned(), t.as_bytes().to_vec());
    let files = [
        file("b/x.yaml", "rules: [{ name: Third, then: { tag: c }, continue: true }]"),
        file("b.yaml", "rules: [{ name: Second, then: { tag: b }, continue: true }]"),
        file(
            "a.yaml",
            "rules: [{ name: First, then: { tag: a }, continue: true }]\ndefault: { queue: q }\nqueues: { q: {} }",
        ),
        file("README.md", "not YAML: ["),
        file("z_test.yaml", "tests: nonsense"),
    ];
    let pack = RulePack::load(&files, &Environment::default()).unwrap().pack;
    assert_eq!(pack.rules().map(|(n, _)| n).collect::<Vec<_>>(), ["First", "Second", "Third"]);
    let reversed: Vec<_> = files.iter().rev().cloned().collect();
    assert_eq!(RulePack::load(&reversed, &Environment::default()).unwrap().pack.hash(), pack.hash());
}

#[test]
fn problems_of_several_files_come_at_once() {
    let file = |p: &str, t: &[u8]| (p.to_owned(), t.to_vec());
    let files = [
        file("a.yaml", b"zone: Mars/Base\nqueues: { a: { hourz: x } }"),
        file("b.yaml", b"zone: UTC\nrules: [{ name: A, then: { tag: \"a\x07\" } }, }"),
        file("c.yaml", b"queues: {}\nzone: \xff"),
        file("d.yaml", b"agents: { ann: { capacity: -1 } }"),
    ];
    let problems: Vec<String> =
        RulePack::load(&files, &Environment::default()).unwrap_err().iter().map(ToString::to_string).collect();
    let at = |p: &str| problems.iter().any(|x| x.starts_with(p));
    for place in ["a.yaml:1:7: ", "a.yaml:2:16: ", "b.yaml:2:", "c.yaml:2:1: not UTF-8", "d.yaml:1:28: "] {
        assert!(at(place), "{place} is not in {problems:#?}");
    }
    assert!(!problems.iter().any(|p| p.contains("default")), "what may be in the unreadable file is not missed");
}

#[test]
fn sizes_are_capped() {
    let load = |t: String| RulePack::load(&[("a.yaml".to_owned(), t.into_bytes())], &Environment::default());
    let ends = "\nqueues: { q: {} }\ndefault: { queue: q }\n";
    let long = load(format!("replies: {{ a: {} }}{ends}", "x".repeat(20_000))).unwrap_err();
    assert!(long[0].message.contains("20000 bytes"), "{long:?}");
    let huge = load(format!("# {}{ends}", "x".repeat(5_000_000))).unwrap_err();
    assert!(huge[0].message.contains("too large"), "{huge:?}");
    let many: String =
        (0..10_001).map(|i| format!("  - {{ name: r{i}, then: {{ tag: a }}, continue: true }}\n")).collect();
    let many = load(format!("rules:\n{many}{ends}")).unwrap_err();
    assert!(many[0].message.contains("10000 rules"), "{many:?}");
    let wrong: String = (0..1_000).map(|i| format!("  - {{ nam: r{i} }}\n")).collect();
    let wrong = load(format!("rules:\n{wrong}{ends}")).unwrap_err();
    assert!(wrong.len() <= 201 && wrong.last().unwrap().message.contains("more problems"), "{}", wrong.len());
}

#[test]
fn what_was_decided_before_priorities_were_kept_is_read_as_having_none() {
    let now = SeenState { priority: None, ..state() };
    let s = now.clone();
    // As the history keeps it, which is by place.
    let before = (
        s.now,
        s.new,
        s.state,
        s.queue,
        s.tags,
        s.attributes,
        s.age_ms,
        s.messages,
        s.silence_ms,
        s.contact_identities,
        s.contact_name,
        s.contact_tags,
        s.contact_attributes,
        s.contact_consent,
        s.contact_open,
        s.contact_agent,
    );
    let bytes = rmp_serde::to_vec(&before).expect("it packs");
    let read: SeenState = rmp_serde::from_slice(&bytes).expect("it reads");
    assert_eq!(read, now);
    for kept in [state(), SeenState { owned: true, ..now.clone() }] {
        let bytes = rmp_serde::to_vec(&kept).expect("it packs");
        assert_eq!(rmp_serde::from_slice::<SeenState>(&bytes).expect("it reads"), kept);
    }
    // And as the log does, by name.
    let mut named = serde_json::to_value(state()).expect("it is written");
    named.as_object_mut().expect("fields").remove("priority");
    assert_eq!(serde_json::from_value::<SeenState>(named).expect("it reads"), now);
    assert!(holds_for("{ priority: { exists: false } }", &message(), &read));
}

#[test]
fn how_long_ago_a_kept_time_was_can_be_asked() {
    let kept = |time: &str| SeenState { attributes: [("asked".to_owned(), time.to_owned())].into(), ..state() };
    // It is 09:00.
    for (time, within, beyond) in [
        ("2026-11-25T08:51:00Z", true, false),
        ("2026-11-25T08:50:00.000Z", true, false),
        ("2026-11-25T09:50:00+01:00", true, false),
        ("2026-11-25T08:49:59.999Z", false, true),
        ("2025-11-25T08:55:00Z", false, true),
        ("600000", false, false),
        ("yesterday", false, false),
        ("", false, false),
    ] {
        assert_eq!(holds_for("{ attributes.asked: { lte: 10m } }", &message(), &kept(time)), within, "{time}");
        assert_eq!(holds_for("{ attributes.asked: { gt: 10m } }", &message(), &kept(time)), beyond, "{time}");
        assert_eq!(
            holds_for("{ not: { attributes.asked: { lte: 10m } } }", &message(), &kept(time)),
            !within,
            "{time}"
        );
    }
    assert!(!holds("{ attributes.asked: { gt: 0s } }"), "what is missing is no time");
    let pack = pack(
        "  - { name: A, then: { set: { asked: '{{ now }}' } }, continue: true }\n  - { name: B, when: { attributes.asked: { lte: 1s } }, then: { tag: hit } }\n",
    );
    assert_eq!(pack.run(&message(), &state()).hits, ["A", "B"], "what was set in this run is asked too");
    let trace = pack.explain(&message(), &SeenState::default());
    assert!(trace[1].matched, "{trace:?}");
}
