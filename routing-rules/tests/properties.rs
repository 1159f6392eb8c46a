//! For any message and state: running never panics, explaining tells what running did, and loading is total.

use proptest::prelude::*;
use std::sync::LazyLock;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::pack::{ConvStatus, Environment, RulePack, SeenMessage, SeenState};

/// Rules that use everything, in few enough words that arbitrary messages meet them.
const RULES: &str = "\
zone: America/New_York
queues: { q: { overflow: [{ if: nobody_free, queue: r }] }, r: { prefer: [x, { y: least }] } }
agents: { ann: { skills: [x, y] } }
hours: { office: { week: { mon-fri: \"22:00-06:00\", sat: \"06:00-24:00\" }, closed: 2026-12-25 } }
rotations: { turns: { start: \"2026-03-08T02:30\", every: 1h, agents: [ann] } }
replies: { hi: \"{{ contact.first_name | default('x') }} {{ hours.office.next_open }} {{ conversation.tags }}\" }
rules:
  - { name: 1, when: { text: { word: [a, été] }, hours: { office: open } }, then: { tag: a, reply: hi }, continue: true }
  - { name: 2, when: { content: { matches: '(?<x>[ab]+)(?<y>c)?' } }, then: { set: { x: '{{ match.x }}' } }, continue: true }
  - { name: 3, when: { attributes.x: { exists: true }, not: { tags: a } }, then: { tag: b, reply: hi }, continue: true }
  - { name: 4, when: { any: [{ channel: [c1, c2] }, { silence: { gt: 1h } }] }, then: { queue: q }, continue: true }
  - { name: 5, when: { channel: c1, weekday: mon-wed, time: '23:00-04:00' }, then: { agent: { rotation: turns } } }
  - { name: 6, when: { channel: c2, contact.tags: { all: [a, b] } }, then: { queue: r } }
  - { name: 7, when: { meta.n: { gte: 1, lt: 2 }, state: { none: closed } }, then: { close: true }, continue: true }
  - { name: 8, when: { text: { suffix: b, prefix: a }, age: { lte: 1d } }, then: { priority: low } }
  - { name: 9, when: { channel: c3 }, then: { agent: '{{ message.text }}', wait: 1m, skills: ['{{ message.meta.n }}'] } }
  - { name: 10, on: closed, when: { tags: a }, then: { reply: hi } }
default: { queue: q }
";

static PACK: LazyLock<RulePack> = LazyLock::new(|| {
    RulePack::load(&[("a.yaml".to_owned(), RULES.as_bytes().to_vec())], &Environment::default()).unwrap().pack
});

fn words() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[abc É ÉTÉ]{0,12}", Just(String::new())]
}

fn channel() -> impl Strategy<Value = String> {
    prop_oneof![Just("c1".to_owned()), Just("c2".to_owned()), Just("C1".to_owned()), any::<String>()]
}

prop_compose! {
    fn messages()(
        channel in channel(), kind in words(), public: bool, text in words(), subject in proptest::option::of(words()),
        from in proptest::option::of(words()), n in prop_oneof!["1\\.[0-9]", words()], automatic: bool,
    ) -> SeenMessage {
        SeenMessage {
            channel, kind, public, text, subject, from, automatic, meta: [("n".to_owned(), n)].into(), ..SeenMessage::default()
        }
    }
}

prop_compose! {
    fn states()(
        now in prop_oneof![any::<i64>(), 1_700_000_000_000i64..1_900_000_000_000], new: bool, closed: bool,
        tags in proptest::collection::btree_set("[ab]", 0..3), contact_tags in proptest::collection::btree_set("[ab]", 0..3),
        age_ms: i64, silence_ms: Option<i64>, name in proptest::option::of(words()),
    ) -> SeenState {
        SeenState {
            now: Timestamp(now), new, state: closed.then_some(ConvStatus::Closed), tags, contact_tags, age_ms, silence_ms,
            contact_name: name, ..SeenState::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn running_is_total_and_explaining_agrees(message in messages(), state in states()) {
        let out = PACK.run(&message, &state);
        let traces = PACK.explain(&message, &state);
        let matched: Vec<&str> = traces.iter().filter(|t| t.matched).map(|t| t.rule.as_str()).collect();
        prop_assert_eq!(&out.hits, &matched);
        prop_assert_eq!(traces.len() + 1, PACK.rules().count(), "all but the one that follows up");
        for trace in &traces {
            prop_assert_eq!(trace.failed.is_some(), !trace.matched && !trace.skipped, "{:?}", trace);
            prop_assert!(trace.failed.as_ref().is_none_or(|f| !f.sentence.is_empty()));
        }
        let lost: Vec<&String> = traces.iter().flat_map(|t| &t.superseded).collect();
        prop_assert_eq!(out.superseded.iter().map(|(_, a)| a).collect::<Vec<_>>(), lost);
        if let Some(reply) = &out.reply {
            prop_assert!(reply.text.is_ok(), "{:?}", reply);
        }
        prop_assert_eq!(PACK.run(&message, &state), out, "the same message decides the same");
        prop_assert!(PACK.with_default(&Default::default(), &message, &state).queue.is_some_and(|q| q == "q"));
    }

    #[test]
    fn deadlines_never_come_before_their_start(from in 0i64..253_370_764_799_999, ms: i64) {
        let from = Timestamp(from);
        prop_assert!(PACK.add_open_time("office", from, ms) >= from);
        prop_assert!(PACK.add_open_time("no-such", from, ms) >= from);
    }

    #[test]
    fn loading_is_total(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = RulePack::load(&[("a.yaml".to_owned(), text.into_bytes())], &Environment::default());
        let _ = RulePack::load(&[("a.yaml".to_owned(), bytes.clone())], &Environment::default());
        let _ = RulePack::from_blob(&bytes);
    }

    /// A pack with a piece cut out, or with one letter changed, loads or is refused, and its tests too.
    #[test]
    fn damaged_packs_never_panic(at in 0usize..RULES.len(), cut in 0usize..40, with in "[{}\\[\\]:,'\"*&!|>%@#\\-\\n\\t a1]{0,3}") {
        let mut bytes = RULES.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with.into_bytes());
        let files = [("a.yaml".to_owned(), bytes.clone()), ("a_test.yaml".to_owned(), bytes)];
        if let Err(problems) = RulePack::load(&files, &Environment::default()) {
            prop_assert!(!problems.is_empty());
        }
        let _ = PACK.tests(&files, &Environment::default());
    }
}
