//! What a pack is warned of that loads.

use switchboard_routing_rules::pack::{Environment, RulePack};

const BASE: &str = "\
zone: Europe/Paris
queues: { everyone: {}, billing: {}, sales: {} }
agents: { ann: {}, bob: { skills: { french: 2 } } }
hours: { office: { week: { mon-fri: \"09:00-18:00\" } } }
default: { queue: everyone }
";

#[test]
fn what_a_queue_wants_of_nobody_is_warned_of() {
    let warn = |queue: &str| {
        let yaml = format!(
            "zone: UTC\nqueues: {{ everyone: {{}}, q: {queue} }}\nagents: {{ ann: {{ skills: {{ french: 2 }} }} }}\ndefault: {{ queue: q }}\n"
        );
        let loaded = RulePack::load(&[("a.yaml".to_owned(), yaml.into_bytes())], &Environment::default()).unwrap();
        loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (queue, said) in [
        (
            "{ skills: [frensh] }",
            "a.yaml:2:25: the queue `q` wants `frensh`, a skill that no agent has; did you mean `french`",
        ),
        (
            "{ skills: [german] }",
            "a.yaml:2:25: the queue `q` wants `german`, a skill that no agent has; give it to an agent, or write `skills: \
             [nobody]` where people take it by hand",
        ),
        (
            "{ skills: { french: 3 } }",
            "a.yaml:2:25: the queue `q` wants `french` of level 3, and no agent has more than 2; want less of it, or give an agent \
             more",
        ),
        (
            "{ overflow: [{ after: 5m, skills: { french: 4 } }] }",
            "a.yaml:2:25: the queue `q` wants `french` of level 4, and no agent has more than 2; want less of it, or give an agent \
             more",
        ),
    ] {
        assert_eq!(warn(queue), [said]);
    }
    for fine in ["{ skills: [french] }", "{ skills: [nobody] }", "{ overflow: [{ after: 5m, skills: [] }] }"] {
        assert_eq!(warn(fine), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn rules_that_never_match_are_warned_of_with_both_places() {
    let warn = |rules: &str| {
        let files =
            [("a.yaml".to_owned(), BASE.into()), ("b.yaml".to_owned(), format!("rules:\n{rules}").into_bytes())];
        let loaded = RulePack::load(&files, &Environment::default()).unwrap();
        loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let shadowed = [
        "  - { name: A, then: { tag: a } }\n  - { name: B, when: { kind: sms }, then: { tag: b } }\n",
        "  - { name: A, when: { channel: [x, y] }, then: { tag: a } }\n  - { name: B, when: { channel: y, new: true }, then: { tag: b } }\n",
        "  - { name: A, when: { text: { contains: ref } }, then: { tag: a } }\n  - { name: B, when: { text: { word: refund } }, then: { tag: b } }\n",
        "  - { name: A, when: { age: { gt: 1h } }, then: { tag: a } }\n  - { name: B, when: { age: { gt: 2h } }, then: { tag: b } }\n",
        "  - { name: A, when: { any: [{ kind: sms }, { kind: email }] }, then: { tag: a } }\n  - { name: B, when: { kind: sms }, then: { tag: b } }\n",
        "  - { name: A, when: { text: { contains: ref } }, then: { tag: a } }\n  - { name: B, when: { text: { contains: [refund, prefer] } }, then: { tag: b } }\n",
        "  - { name: A, when: { text: { prefix: ref } }, then: { tag: a } }\n  - { name: B, when: { text: { prefix: refund } }, then: { tag: b } }\n",
        "  - { name: A, when: { from: { suffix: .example } }, then: { tag: a } }\n  - { name: B, when: { from: { suffix: '@shop.example' } }, then: { tag: b } }\n",
        "  - { name: A, when: { text: { word: money } }, then: { tag: a } }\n  - { name: B, when: { text: { word: my money back } }, then: { tag: b } }\n",
        "  - { name: A, when: { text: { word: foo } }, then: { tag: a } }\n  - { name: B, when: { text: foo }, then: { tag: b } }\n",
        "  - { name: A, when: { text: { prefix: fo } }, then: { tag: a } }\n  - { name: B, when: { text: [foo, form] }, then: { tag: b } }\n",
        "  - { name: A, when: { contact.tags: vip }, then: { tag: a } }\n  - { name: B, when: { contact.tags: { all: [x, vip] } }, then: { tag: b } }\n",
        "  - { name: A, when: { tags: vip }, then: { priority: high } }\n  - { name: B, when: { tags: { all: [x, vip] } }, then: { priority: high } }\n",
        "  - { name: A, when: { not: { contact.tags: x } }, then: { tag: a } }\n  - { name: B, when: { contact.tags: { none: [x, y] } }, then: { tag: b } }\n",
        "  - { name: A, when: { kind: { none: [email] } }, then: { tag: a } }\n  - { name: B, when: { kind: sms }, then: { tag: b } }\n",
        "  - { name: A, when: { not: { kind: [sms, email] } }, then: { tag: a } }\n  - { name: B, when: { not: { kind: [sms, email, webchat] } }, then: { tag: b } }\n",
        "  - { name: A, when: { not: { text: { contains: refund } } }, then: { tag: a } }\n  - { name: B, when: { not: { text: { contains: ref } } }, then: { tag: b } }\n",
        "  - { name: A, when: { not: { subject: { exists: true } } }, then: { tag: a } }\n  - { name: B, when: { subject: { exists: false } }, then: { tag: b } }\n",
    ];
    for rules in [
        "  - { name: A, when: { tags: vip }, then: { priority: high } }\n  - { name: M, when: { text: x }, then: { tag: vip }, continue: true }\n  - { name: B, when: { tags: { all: [x, vip] } }, then: { priority: high } }\n",
        "  - { name: A, when: { text: { word: ref } }, then: { tag: a } }\n  - { name: B, when: { text: { word: refund } }, then: { tag: b } }\n",
        "  - { name: A, when: { text: { contains: [refund] } }, then: { tag: a } }\n  - { name: B, when: { text: { contains: [ref, refunds] } }, then: { tag: b } }\n",
        "  - { name: A, when: { text: { prefix: foo } }, then: { tag: a } }\n  - { name: B, when: { text: { word: foo } }, then: { tag: b } }\n",
        "  - { name: A, when: { contact.tags: { none: [x] } }, then: { tag: a } }\n  - { name: B, when: { contact.tags: y }, then: { tag: b } }\n",
        "  - { name: A, when: { content: { none: [x] } }, then: { tag: a } }\n  - { name: B, when: { content: y }, then: { tag: b } }\n",
        "  - { name: A, when: { text: refund, all: [{ text: { contains: 'refund ' } }] }, then: { tag: a } }\n",
        "  - { name: A, when: { not: { kind: sms } }, then: { tag: a } }\n  - { name: B, when: { not: { kind: email } }, then: { tag: b } }\n",
    ] {
        assert_eq!(warn(rules), Vec::<String>::new(), "{rules}");
    }
    for rules in shadowed {
        let told = warn(rules);
        assert_eq!(told.len(), 1, "{rules}");
        assert!(told[0].starts_with("b.yaml:3:5: the rule `B` is never reached: `A` at b.yaml:2:5"), "{told:?}");
    }
    for when in [
        "{ kind: sms, all: [{ kind: email }] }",
        "{ age: { gt: 2h, lt: 1h } }",
        "{ subject: { exists: false, word: x } }",
        "{ hours: { office: open }, all: [{ hours: { office: closed } }] }",
        "{ time: '08:00-10:00', all: [{ time: '22:00-06:00' }] }",
        "{ kind: sms, not: { kind: [sms, email] } }",
        "{ kind: sms, any: [{ kind: email }, { all: [{ kind: webchat }] }] }",
        "{ new: true, state: queued }",
        "{ new: true, silence: { gt: 1m } }",
        "{ new: true, messages: { gte: 2 } }",
        "{ tags: { all: [a, b], none: [b] } }",
        "{ language: { exists: false } }",
        "{ from: ann@shop.example, all: [{ from: { suffix: '@bank.example' } }] }",
    ] {
        let told = warn(&format!("  - {{ name: A, when: {when}, then: {{ tag: a }} }}\n"));
        assert!(told.len() == 1 && told[0].contains("can never match"), "{when}: {told:?}");
    }
    // Those that follow up on the same are asked in turn as well.
    let told = warn(
        "  - { name: A, on: closed, then: { tag: a } }\n  - { name: B, on: closed, when: { tags: x }, then: { tag: b } }\n",
    );
    assert!(told.len() == 1 && told[0].starts_with("b.yaml:3:5: the rule `B` is never reached: `A` at b.yaml:2:5"));
    let told = warn("  - { name: A, on: noted, when: { age: { gt: 2h, lt: 1h } }, then: { tag: a } }\n");
    assert!(told.len() == 1 && told[0].contains("`A` can never match"), "{told:?}");
    let told = warn("  - { name: A, on: closed, when: { new: true }, then: { tag: a } }\n");
    assert!(told.len() == 1 && told[0].contains("asks for a new conversation"), "{told:?}");
    let apart = "  - { name: A, on: closed, then: { tag: a } }\n  - { name: B, on: noted, then: { tag: b } }\n  - { name: C, then: { tag: c } }\n";
    assert_eq!(warn(apart), Vec::<String>::new());
    let many: String = (0..400)
        .map(|n| format!("  - {{ name: S{n}, when: {{ attributes.x: a{n}, kind: k{n} }}, then: {{ tag: a }} }}\n"))
        .collect();
    let far: String =
        (0..400).map(|n| format!("  - {{ name: S{n}, when: {{ kind: k{n} }}, then: {{ tag: a }} }}\n")).collect();
    assert_eq!(warn(&many), Vec::<String>::new());
    let told = warn(&format!(
        "{far}  - {{ name: B, when: {{ all: [{{ text: x }}, {{ kind: k399 }}] }}, then: {{ tag: b }} }}\n"
    ));
    assert!(
        told.len() == 1 && told[0].contains("`S399` at b.yaml:401:5"),
        "however many rules stand between: {told:?}"
    );
    let fine = [
        "  - { name: A, when: { new: true, tags: x, messages: { lt: 2 } }, then: { tag: a } }\n",
        "  - { name: A, when: { kind: [sms, email], not: { kind: sms } }, then: { tag: a } }\n",
        "  - { name: A, when: { time: '22:00-06:00', all: [{ time: '05:00-08:00' }] }, then: { tag: a } }\n",
        "  - { name: A, then: { tag: a }, continue: true }\n  - { name: B, then: { tag: b } }\n",
        "  - { name: A, when: { channel: x }, then: { tag: a } }\n  - { name: B, when: { channel: [x, y] }, then: { tag: b } }\n",
        "  - { name: A, when: { tags: x }, then: { tag: a } }\n  - { name: C, then: { tag: x }, continue: true }\n  - { name: B, when: { tags: x }, then: { tag: b } }\n",
        "  - { name: A, when: { tags: a, all: [{ tags: b }] }, then: { tag: a } }\n",
        "  - { name: A, when: { content: a, all: [{ content: b }] }, then: { tag: a } }\n",
        "  - { name: A, when: { age: { gt: 2h } }, then: { tag: a } }\n  - { name: B, when: { age: { gt: 1h } }, then: { tag: b } }\n",
    ];
    for rules in fine {
        assert_eq!(warn(rules), Vec::<String>::new(), "{rules}");
    }
}
