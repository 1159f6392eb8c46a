//! The index decides nothing: with it and without it the same rules match, for any pack, message and state.

use proptest::prelude::*;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::pack::{
    ConvStatus, Environment, Priority, RulePack, RunOutcome, SeenMessage, SeenState,
};

const BASE: &str = "\
zone: Europe/Paris
queues: { q: {}, r: {}, s: {} }
agents: { ann: {} }
hours: { office: { week: { mon-fri: \"09:00-18:00\" } }, night: { week: { mon-sun: \"22:00-06:00\" } } }
default: { queue: q }
";

/// One condition over few values, so that messages meet them.
fn leaf() -> impl Strategy<Value = String> {
    let list = prop::sample::select;
    let word = || prop::sample::select(vec!["a", "b", "ab", "ba", "aß", "ſ", "s", "été", "K"]);
    let text_field = || {
        list(vec![
            "text",
            "subject",
            "content",
            "from",
            "to",
            "channel",
            "kind",
            "choice",
            "meta.x",
            "attributes.x",
            "attributes.y",
            "contact.attributes.x",
            "tags",
            "contact.tags",
            "contact.identities",
        ])
    };
    let pattern = list(vec![
        "a",
        "(?i)AB",
        "a|b",
        "a+b?",
        "[ab]s",
        "(?i)s",
        "(?i)k",
        "^a",
        "b$",
        r"\ba\b",
        "a.b",
        "(a|é)(b|s)",
        "x?ab",
        r"\d",
        "",
        "(?<n>a)b?",
        "[^a]b",
        "(?i)ß",
        "(ab){2}",
        "(ab)?s",
        "(?s).*b",
        "été|a{2,3}",
    ]);
    prop_oneof![
        (text_field(), word()).prop_map(|(f, w)| format!("{f}: {w}")),
        (text_field(), word(), word()).prop_map(|(f, v, w)| format!("{f}: [{v}, {w}]")),
        (text_field(), list(vec!["contains", "word", "prefix", "suffix", "none"]), word(), word())
            .prop_map(|(f, op, v, w)| format!("{f}: {{ {op}: [{v}, {w}] }}")),
        (text_field(), pattern)
            .prop_filter("a pattern is not empty", |(_, p)| !p.is_empty())
            .prop_map(|(f, p)| format!("{f}: {{ matches: '{p}' }}")),
        (text_field(), any::<bool>()).prop_map(|(f, b)| format!("{f}: {{ exists: {b} }}")),
        (list(vec!["tags", "contact.tags"]), word(), word())
            .prop_map(|(f, v, w)| format!("{f}: {{ all: [{v}, {w}] }}")),
        (list(vec!["meta.n", "attributes.n", "contact.attributes.n"]), list(vec!["gt", "gte", "lt", "lte"]), 0..4)
            .prop_map(|(f, op, n)| format!("{f}: {{ {op}: {n} }}")),
        (0..4, 0..4).prop_map(|(a, b)| format!("messages: {{ gte: {a}, lte: {b} }}")),
        (0..4, 0..4).prop_map(|(a, b)| format!("contact.open: [{a}, {b}]")),
        (list(vec!["age", "silence"]), list(vec!["gt", "gte", "lt", "lte"]), 0..3)
            .prop_map(|(f, op, n)| format!("{f}: {{ {op}: {n}h }}")),
        list(vec![
            "new: true",
            "new: false",
            "automatic: true",
            "visibility: public",
            "has_attachment: false",
            "authenticated: true",
            "state: queued",
            "state: { none: [closed] }",
            "queue: [q, r]",
            "priority: [high, urgent]",
            "priority: { none: [low] }",
            "contact.consent: opted_out",
            "hours: { office: open }",
            "hours: { office: closed, night: open }",
            "hours: { night: closed }",
            "weekday: [mon-wed]",
            "weekday: sat",
            "time: '08:00-12:00'",
            "time: '22:00-06:00'",
            "time: { gte: '12:00' }",
            "time: ['00:00-00:15', '23:59-24:00']",
            "language: de",
            "language: { none: [unknown] }",
            "contact.agent: ann",
            "age: [1h, 2h]",
        ])
        .prop_map(str::to_owned),
    ]
}

fn when() -> impl Strategy<Value = String> {
    let one = leaf().prop_map(|l| format!("{{ {l} }}"));
    one.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|l| format!("{{ any: [{}] }}", l.join(", "))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|l| format!("{{ all: [{}] }}", l.join(", "))),
            inner.prop_map(|c| format!("{{ not: {{ all: [{c}] }} }}")),
        ]
    })
}

fn then() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "tag: a",
        "tag: [b, AB]",
        "set: { x: ab }",
        "set: { y: b, n: 2 }",
        "set: { contact.x: a, contact.n: 1 }",
        "queue: r",
        "priority: high",
        "set: { x: '' }",
    ])
    .prop_map(str::to_owned)
}

fn pack() -> impl Strategy<Value = RulePack> {
    let rule = (prop::option::weighted(0.95, when()), then(), prop::bool::weighted(0.7));
    prop::collection::vec(rule, 1..70).prop_map(|rules| {
        let mut yaml = format!("{BASE}rules:\n");
        for (n, (when, then, continues)) in rules.iter().enumerate() {
            let when = when.as_ref().map(|w| format!("when: {w}, ")).unwrap_or_default();
            yaml.push_str(&format!("  - {{ name: R{n}, {when}then: {{ {then} }}, continue: {continues} }}\n"));
        }
        let files = [("a.yaml".to_owned(), yaml.clone().into_bytes())];
        match RulePack::load(&files, &Environment::default()) {
            Ok(loaded) => loaded.pack,
            Err(p) => panic!("{}\n{yaml}", p.iter().map(|p| format!("{p}\n")).collect::<String>()),
        }
    })
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof!["[abs éßſKk]{0,8}", "(a|b|AB|Ab|ſ|S|été|ÉTÉ|1)( (a|b|s|ba|K))?", Just("ich habe eine Frage".to_owned())]
}

fn some_words() -> impl Strategy<Value = Option<String>> {
    prop::option::of(words())
}

prop_compose! {
    fn message()(
        (channel, kind, text, subject) in (words(), words(), words(), some_words()),
        (from, to, choice, language) in (some_words(), some_words(), some_words(), prop::option::of("(de|fr|und|DE-at)")),
        (public, has_attachment, automatic, authenticated) in any::<(bool, bool, bool, Option<bool>)>(),
        x in some_words(), n in prop::option::of("[0-3](\\.5)?|x"),
    ) -> SeenMessage {
        let meta = [("x", x), ("n", n)].into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect();
        SeenMessage {
            channel, kind, public, text, subject, from, to, authenticated, language, has_attachment, automatic, choice, meta,
        }
    }
}

fn priorities() -> impl Strategy<Value = Priority> {
    prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High, Priority::Urgent])
}

prop_compose! {
    fn state()(
        now in 1_790_000_000_000i64..1_792_000_000_000, new: bool, state in prop::option::of(0..6usize),
        queue in prop::option::of("[qrs]"), tags in prop::collection::btree_set("a|b|ab|ba", 0..3),
        (x, y, n) in (some_words(), some_words(), prop::option::of("[0-3]|x")),
        contact_tags in prop::collection::btree_set("a|b|AB", 0..3),
        (age, silence, messages, open) in (0..4i64, prop::option::of(0..4i64), 0..5u32, 0..5u32),
        identities in prop::collection::vec(words(), 0..3), consent in prop::option::of("opted_in|opted_out"),
        (agent, priority) in (prop::option::of(Just("ann".to_owned())), prop::option::of(priorities())),
    ) -> SeenState {
        let states = [
            ConvStatus::Queued, ConvStatus::Offered, ConvStatus::Assigned, ConvStatus::Pending, ConvStatus::Snoozed,
            ConvStatus::Closed,
        ];
        let some = |list: [(&str, &Option<String>); 3]| {
            list.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v.clone()?))).collect()
        };
        SeenState {
            now: Timestamp(now), new, state: state.map(|s| states[s]), queue, tags, attributes: some([("x", &x), ("y", &y), ("n", &n)]),
            age_ms: age * 3_600_000, messages, silence_ms: silence.map(|h| h * 3_600_000), contact_identities: identities,
            contact_name: None, contact_tags, contact_attributes: some([("x", &y), ("n", &n), ("z", &x)]), contact_consent: consent,
            contact_open: open, contact_agent: agent, priority, owned: false,
        }
    }
}

fn without_language(out: RunOutcome) -> RunOutcome {
    RunOutcome { language: None, ..out }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_index_and_the_order_of_the_rules_decide_the_same(
        pack in pack(), seen in prop::collection::vec((message(), state()), 1..12),
    ) {
        for (message, state) in &seen {
            let out = pack.run(message, state);
            prop_assert_eq!(&without_language(out.clone()), &pack.run_in_order(message, state));
            let traced: Vec<String> =
                pack.explain(message, state).into_iter().filter(|t| t.matched).map(|t| t.rule).collect();
            prop_assert_eq!(&out.hits, &traced);
        }
    }
}

/// Large enough that values are listed and not bits, and that ranges share a slot.
#[test]
fn a_large_pack_finds_each_of_its_rules_and_no_other() {
    let mut yaml = format!("{BASE}rules:\n");
    for n in 0..2_000 {
        let when = match n % 5 {
            0 => format!("channel: c{}, text: {{ word: w{n} }}", n % 7),
            1 => format!("content: {{ matches: '(?i)\\border-{n:05}\\b' }}"),
            2 => format!("contact.attributes.account: A{n}"),
            3 => format!("from: {{ suffix: '@company{n}.example' }}"),
            _ => format!("meta.followers: {{ gte: {n}, lt: {} }}", n + 5),
        };
        yaml.push_str(&format!("  - {{ name: R{n}, when: {{ {when} }}, then: {{ tag: t{n} }}, continue: true }}\n"));
    }
    let pack = RulePack::load(&[("a.yaml".to_owned(), yaml.into_bytes())], &Environment::default()).unwrap().pack;
    let now = SeenState { now: Timestamp(1_790_000_000_000), ..SeenState::default() };
    for n in (0..2_000).step_by(13) {
        let message = SeenMessage {
            channel: format!("C{}", n % 7),
            text: if n % 5 == 0 { format!("now W{n}!") } else { format!("my ORDER-{n:05} please") },
            from: Some(format!("ann@company{n}.example")),
            meta: [("followers".to_owned(), n.to_string())].into(),
            ..SeenMessage::default()
        };
        let message = if n % 5 == 4 { SeenMessage { text: "x".into(), from: None, ..message } } else { message };
        let state = SeenState { contact_attributes: [("account".to_owned(), format!("a{n}"))].into(), ..now.clone() };
        let out = pack.run(&message, &state);
        assert_eq!(without_language(out.clone()), pack.run_in_order(&message, &state), "{n}");
        assert!(out.hits.contains(&format!("R{n}")), "{n}: {:?}", out.hits);
    }
    assert!(pack.run(&SeenMessage { text: "hello".into(), ..SeenMessage::default() }, &now).hits.is_empty());
}
