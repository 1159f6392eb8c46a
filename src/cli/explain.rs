//! Why a message was handled as it was: asked of the daemon, or worked out over a file.

use super::api::{Api, encoded};
use super::list::{ago, first, lookup, text};
use super::screen::{Screen, plain};
use super::{Done, Failure, check};
use crate::config::{Config, Environment};
use crate::http::api::{no_reply_words, passed_words};
use crate::packs;
use serde_json::{Value, json};
use std::path::Path;
use switchboard_envelope::{Inbound, MAX_ENVELOPE};
use switchboard_routing_rules::pack::{ConvStatus, Priority, RuleTrace};
use switchboard_routing_rules::trial::{self, First, Verdict};

/// What the API calls the newest message that a customer wrote.
pub(crate) const LAST: &str = "last";

/// Shows the daemon's explanation of a message, or of a conversation: of its customer's newest message, or who was considered where
/// they wrote nothing.
pub(crate) async fn of(api: &Api, what: &str, json: bool, screen: &mut Screen) -> Done {
    let kind = if what.starts_with('c') && !what.contains(':') { "conversations" } else { "messages" };
    let trace = api.get(&format!("/{kind}/{}/explain", encoded(what))).await?;
    if json {
        screen.out(&super::screen::json(&trace));
    } else {
        show(&trace, screen);
    }
    Ok(())
}

/// What the configured pack would do with an envelope of type `message`, as the first of its conversation.
pub(crate) fn of_file(path: &Path, config: &Config, json: bool, screen: &mut Screen) -> Done {
    let failed = |e: &dyn std::fmt::Display| Failure::Failed(format!("{}: {e}", path.display()));
    let length = std::fs::metadata(path).map_err(|e| failed(&e))?.len();
    if length > MAX_ENVELOPE as u64 {
        return Err(failed(&format!("longer than {MAX_ENVELOPE} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|e| failed(&e))?;
    let Inbound::Message(message) = Inbound::from_slice(&bytes).map_err(|e| failed(&e))? else {
        return Err(failed(&"rules run for envelopes of type `message` only"));
    };
    let source = packs::Source::of(config.rules.clone());
    let environment = packs::environment(config);
    let loaded = packs::load(&source, &environment).map_err(|e| Failure::Failed(e.to_string()))?;
    let kind = environment.channels.and_then(|mut kinds| kinds.remove(&message.channel)).unwrap_or_default();
    if kind.is_empty() {
        let known: Vec<&str> = config.channels.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "no channel".to_owned() } else { known.join(", ") };
        screen.err(&format!(
            "{}: {} has no channel `{}`, so no rule that asks for its kind matches; it has {known}",
            path.display(),
            config.source,
            message.channel
        ));
    }
    let First { actual, would, trace, not_replied } =
        trial::first(&loaded.pack, &message, &kind).ok_or_else(|| failed(&"no rule was asked about this message"))?;
    let agent = would.agent.map(|a| if a == "sticky" { "the one who knows the customer".to_owned() } else { a });
    let snoozed_until = would.snoozed_ms.map(|ms| message.received_at.plus(ms));
    let notices: Vec<Value> = would.notified.iter().map(|desk| json!({ "desk": desk })).collect();
    let outcome = json!({
        "queue": actual.queue, "agent": agent, "priority": would.priority.map(Priority::as_str), "replies": actual.replies,
        "not_replied": not_replied.map(no_reply_words), "notices": notices, "tags": actual.tags,
        "closed": actual.state == Some(ConvStatus::Closed), "snoozed_until": snoozed_until,
    });
    let rules: Vec<Value> = trace.iter().map(rule).collect();
    let trace = json!({ "pack": loaded.pack.hash(), "rules": rules, "outcome": outcome });
    if json {
        screen.out(&super::screen::json(&trace));
    } else {
        show(&trace, screen);
    }
    Ok(())
}

fn rule(t: &RuleTrace) -> Value {
    serde_json::to_value(t).unwrap_or_default()
}

/// A trace in sentences.
fn show(trace: &Value, screen: &mut Screen) {
    let list = |path: &str| lookup(trace, path).as_array().cloned().unwrap_or_default();
    let sentences = list("sentences");
    for sentence in &sentences {
        screen.out(&plain(&text(sentence, "")));
    }
    // Where there are sentences they tell it.
    let outcome = outcome(lookup(trace, "outcome"));
    if sentences.is_empty() && !outcome.is_empty() {
        screen.out(&format!("outcome: {}", outcome.join(", ")));
    }
    let rules = list("rules");
    if !rules.is_empty() {
        screen.out("rules, in order:");
    }
    for r in rules {
        screen.out(&rule_line(&r));
    }
    let agents = list("agents");
    if !agents.is_empty() {
        screen.out("agents considered:");
    }
    let considered = agents.clone();
    for a in agents {
        let chosen = lookup(&a, "chosen").as_bool() == Some(true);
        let mark = if chosen { "+" } else { "-" };
        let line = format!("  {mark} {}  {}", plain(&first(&a, &["agent", "id"])), plain(&text(&a, "reason")));
        screen.out(line.trim_end());
    }
    and_more(trace, screen);
    let then = lookup(trace, "nobody_free");
    let mut passed = lookup(then, "agents").as_array().cloned().unwrap_or_default();
    let said = |a: &Value| (text(a, "agent"), text(a, "reason"));
    let again = passed.len() == considered.len()
        && passed.iter().zip(&considered).all(|(a, b)| said(a) == said(b))
        && text(trace, "others") == text(then, "others");
    if again {
        passed.clear();
    }
    if !passed.is_empty() {
        screen.out("why nobody could take it then:");
    }
    for a in passed {
        screen.out(&format!("  - {}  {}", plain(&text(&a, "agent")), plain(&text(&a, "reason"))));
    }
    if !again {
        and_more(then, screen);
    }
    let decided = ago(trace, "decided_at", screen.now);
    let decided = if decided.is_empty() { decided } else { format!(", decided {decided}") };
    let pack = text(trace, "pack");
    if !pack.is_empty() {
        screen.out(&format!("pack {}{decided}", check::short(&pack)));
    }
}

/// Where it stands while it waits, why nobody takes it, and what tells it of each agent.
pub(crate) fn waits(c: &Value) -> Vec<String> {
    let said: Vec<String> =
        lookup(c, "waiting.sentences").as_array().into_iter().flatten().map(|s| plain(&text(s, ""))).collect();
    let more = format!("why each agent does not take it: switchboard rules explain {}", plain(&text(c, "id")));
    let shown = !said.is_empty();
    [said.join(" "), more].into_iter().filter(|_| shown).collect()
}

/// How many agents are not named.
fn and_more(of: &Value, screen: &mut Screen) {
    let others = text(of, "others");
    if !others.is_empty() && others != "0" {
        screen.out(&format!("  and {others} more"));
    }
}

/// Rules of a failed test that are shown; what hit is always shown.
const MAX_SHOWN: usize = 60;

/// What came of a test that failed, and why: what the rules did, in order.
pub(crate) fn of_test(verdict: &Verdict, screen: &mut Screen) {
    if let Some(actual) = &verdict.actual {
        screen.out(&format!("      it came to: {}", plain(&actual.to_string())));
    }
    came_before(&verdict.before, screen);
    traced("rules, in order:", &verdict.trace, screen);
    for (on, trace) in &verdict.followed {
        traced(&format!("rules on `{}`, in order:", on.as_str()), trace, screen);
    }
    if let Some(considered) = &verdict.considered {
        screen.out("      agents considered:");
        considered.chosen.iter().for_each(|agent| screen.out(&format!("      + {agent}")));
        for (agent, why) in &considered.passed {
            screen.out(&format!("      - {agent}  {}", plain(&passed_words(why))));
        }
    }
}

/// What the rules had made of the message before an agent did something: those that matched.
fn came_before(traces: &[RuleTrace], screen: &mut Screen) {
    if traces.is_empty() {
        return;
    }
    let matched: Vec<&RuleTrace> = traces.iter().filter(|t| t.matched).collect();
    if matched.is_empty() {
        return screen
            .out("      before, no rule matched the message: it went where `default` says, unless it was somewhere");
    }
    screen.out("      before, on the message:");
    matched.iter().for_each(|trace| screen.out(&format!("    {}", rule_line(&rule(trace)))));
    let others = traces.iter().filter(|t| !t.matched && !t.skipped).count();
    if others > 0 {
        screen.out(&format!("        {} did not match", check::count(others, "rule")));
    }
}

fn traced(title: &str, traces: &[RuleTrace], screen: &mut Screen) {
    if traces.is_empty() {
        return;
    }
    screen.out(&format!("      {title}"));
    let asked: Vec<&RuleTrace> = traces.iter().filter(|t| !t.skipped).collect();
    for (_, trace) in asked.iter().enumerate().filter(|(n, t)| t.matched || *n < MAX_SHOWN) {
        screen.out(&format!("    {}", rule_line(&rule(trace))));
    }
    let unshown = asked.iter().skip(MAX_SHOWN).filter(|t| !t.matched).count();
    let skipped = traces.len() - asked.len();
    if unshown > 0 {
        screen.out(&format!("        {} more did not match", check::count(unshown, "rule")));
    }
    if skipped > 0 {
        screen.out(&format!("        {} not asked: a rule before ended the run", check::count(skipped, "rule")));
    }
}

/// `queue billing, replies After hours`. Where a message moved nothing, what stayed is named as that.
fn outcome(of: &Value) -> Vec<String> {
    let kept = lookup(of, "kept").as_bool() == Some(true);
    let replies: Vec<String> =
        lookup(of, "replies").as_array().into_iter().flatten().map(|r| first(r, &["rule", ""])).collect();
    let notices: Vec<String> =
        lookup(of, "notices").as_array().into_iter().flatten().map(|n| text(n, "desk")).collect();
    let parts = [
        (if kept { "still in queue" } else { "queue" }, text(of, "queue")),
        (if kept { "still with" } else { "agent" }, text(of, "agent")),
        ("priority", text(of, "priority")),
        ("tags", text(of, "tags")),
        ("replies", replies.join(", ")),
        ("no reply:", text(of, "not_replied")),
        ("told", notices.join(", ")),
        ("snoozed until", text(of, "snoozed_until")),
    ];
    let closed = (lookup(of, "closed").as_bool() == Some(true)).then(|| "closed".to_owned());
    let named = parts.into_iter().filter(|(_, v)| !v.is_empty()).map(|(name, v)| format!("{name} {}", plain(&v)));
    named.chain(closed).collect()
}

fn rule_line(r: &Value) -> String {
    let name = plain(&first(r, &["name", "rule"]));
    let place = plain(&text(r, "place"));
    let place = if place.is_empty() { place } else { format!(" ({place})") };
    let all = |key: &str| plain(&text(r, key));
    if lookup(r, "matched").as_bool() == Some(true) {
        let mut line =
            format!("  + {name}{place}: {}", if all("applied").is_empty() { "matched".into() } else { all("applied") });
        if !all("superseded").is_empty() {
            line.push_str(&format!("; decided before: {}", all("superseded")));
        }
        return line;
    }
    if !matches!(lookup(r, "skipped"), Value::Null | Value::Bool(false)) {
        return format!("    {name}{place}: not asked, a rule before it ended the run");
    }
    let failed = lookup(r, "failed");
    let why = first(failed, &["sentence"]);
    let why = if why.is_empty() && failed.is_object() {
        format!("{} should be {}, was {}", text(failed, "field"), text(failed, "wanted"), text(failed, "saw"))
    } else {
        why
    };
    format!("  - {name}{place}: {}", if why.is_empty() { "did not match".into() } else { plain(&why) })
}

/// The configuration in force here, for commands that need no daemon.
pub(crate) fn configured(at: &super::ConfigArg, env: &Environment) -> Result<Config, Failure> {
    let inspected = crate::config::inspect(at.config.as_deref(), env).map_err(|e| Failure::Failed(e.to_string()))?;
    inspected
        .config
        .ok_or_else(|| Failure::Failed(format!("{}: not TOML; `switchboard check` says where", inspected.source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_a_file_is_explained_without_a_daemon() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/message.json");
        let config = crate::config::from_text(
            crate::config::QUICKSTART,
            crate::config::Source::Quickstart,
            &Environment::default(),
        )
        .expect("the quickstart");
        let mut screen = Screen::of_test(None);
        of_file(&file, &config, false, &mut screen).expect("explained");
        let said = screen.kept.unwrap_or_default();
        for part in ["+ Refunds are answered at once", "queue everyone", "replies refund"] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let envelope = std::fs::read_to_string(&file).expect("the example");
        let file = dir.path().join("message.json");
        std::fs::write(&file, envelope.replace("refund", "hat").replace("\"site", "\"shop")).expect("written");
        let mut screen = Screen::of_test(None);
        of_file(&file, &config, false, &mut screen).expect("explained");
        let said = screen.kept.unwrap_or_default();
        assert!(said.contains("- Refunds are answered at once") && said.contains("content"), "{said}");
        assert!(
            said.contains("the built-in quickstart has no channel `shop`") && said.contains("it has site"),
            "{said}"
        );
    }

    #[test]
    fn a_message_in_a_file_comes_to_what_the_router_does_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let pack = "
zone: UTC
queues: { everyone: {}, later: {} }
agents: { ann: {} }
replies: { hi: Hello }
rules:
  - { name: Later, when: { text: later }, then: { queue: later, snooze: 2h, notify: { desk: console } } }
  - { name: Thanks, when: { text: thanks }, then: { close: true } }
  - { name: Hello, then: { reply: hi } }
default: { queue: everyone, tag: placed }
";
        std::fs::write(dir.path().join("pack.yaml"), pack).expect("written");
        let config = crate::config::from_text(
            crate::config::QUICKSTART,
            crate::config::Source::Quickstart,
            &Environment::default(),
        )
        .expect("the quickstart");
        let config = Config { rules: Some(dir.path().to_owned()), ..config };
        let file = dir.path().join("message.json");
        for (change, outcome) in [
            ("hello", "outcome: queue everyone, tags placed, replies hi\n"),
            ("thanks", "outcome: closed\n"),
            ("later", "outcome: queue later, told console, snoozed until 2026-11-23T11:30:00.250Z\n"),
            (
                "away\" }, \"automatic\": true, \"meta\": { \"subject\": \"-",
                "outcome: queue everyone, tags placed, no reply: a machine wrote the message\n",
            ),
        ] {
            let envelope = include_str!("../../docs/message.json").replace("Where is my refund?", change);
            std::fs::write(&file, envelope).expect("written");
            let mut screen = Screen::of_test(None);
            of_file(&file, &config, false, &mut screen).expect("explained");
            let said = screen.kept.unwrap_or_default();
            assert!(said.contains(outcome), "{change}: {said}");
        }
    }

    #[test]
    fn a_message_that_moved_nothing_says_what_stayed() {
        let kept =
            json!({ "queue": "billing", "agent": "ann", "kept": true, "replies": [], "tags": [], "closed": false });
        assert_eq!(outcome(&kept), ["still in queue billing", "still with ann"]);
        let moved = json!({ "queue": "billing", "agent": null, "kept": false, "tags": ["vip"], "closed": true,
            "replies": [{ "message": "m1", "rule": "After hours" }], "snoozed_until": null });
        assert_eq!(outcome(&moved), ["queue billing", "tags vip", "replies After hours", "closed"]);
    }

    #[test]
    fn a_conversation_that_waits_says_why_and_what_tells_more() {
        assert_eq!(waits(&json!({ "id": "c1", "waiting": null })), Vec::<String>::new());
        let sentences = ["It waits in the queue billing, first of 2.", "Nobody can take it now: both agents are away."];
        assert_eq!(
            waits(&json!({ "id": "c1", "waiting": { "sentences": sentences } })),
            [
                "It waits in the queue billing, first of 2. Nobody can take it now: both agents are away.",
                "why each agent does not take it: switchboard rules explain c1"
            ]
        );
    }

    #[test]
    fn a_test_with_an_act_tells_what_the_rules_made_of_the_message_before() {
        let trace = |rule: &str, matched: bool| RuleTrace {
            rule: rule.into(),
            place: "a.yaml:1".into(),
            matched,
            skipped: false,
            failed: None,
            applied: if matched { vec!["queue vip".into()] } else { vec![] },
            superseded: vec![],
        };
        let told = |before: Vec<RuleTrace>| {
            let mut screen = Screen::of_test(None);
            of_test(&Verdict { before, ..Verdict::default() }, &mut screen);
            screen.kept.unwrap_or_default()
        };
        assert_eq!(
            told(vec![trace("A", false), trace("B", true), trace("C", false)]),
            "      before, on the message:\n      + B (a.yaml:1): queue vip\n        2 rules did not match\n"
        );
        assert!(told(vec![trace("A", false)]).contains("before, no rule matched the message"));
        assert_eq!(told(vec![]), "");
    }

    #[test]
    fn a_daemons_trace_is_told_in_sentences() {
        let trace = json!({ "pack": "0123456789abcdef", "decided_at": "2026-11-21T20:29:00Z", "rules": [
            { "name": "A", "matched": false, "skipped": false, "failed": { "sentence": "text does not contain \"x\"" } },
            { "name": "B", "matched": true, "applied": ["queue billing"], "superseded": ["priority"] },
            { "name": "C", "matched": false, "skipped": true } ],
            "agents": [{ "agent": "ann", "chosen": true }, { "agent": "bob", "chosen": false, "reason": "is away" }], "others": 3,
            "nobody_free": { "agents": [{ "agent": "cyn", "chosen": false, "reason": "is offline" }], "others": 2 } });
        let said = |trace: &Value| {
            let mut screen = Screen::of_test(None);
            show(trace, &mut screen);
            screen.kept.unwrap_or_default()
        };
        let mut same = trace.clone();
        same["nobody_free"]["agents"] = json!([{ "agent": "bob", "chosen": false, "reason": "is away" }]);
        same["agents"] = same["nobody_free"]["agents"].clone();
        let twice = said(&same);
        assert!(twice.contains("and 3 more") && twice.contains("and 2 more"), "they are not the same: {twice}");
        same["nobody_free"]["others"] = json!(3);
        let once = said(&same);
        assert!(once.contains("agents considered:") && !once.contains("why nobody could take it then:"), "{once}");
        assert_eq!(once.matches("bob  is away").count(), 1, "{once}");
        let mut told = trace.clone();
        (told["sentences"], told["outcome"]) = (json!(["It was put in the queue q."]), json!({ "queue": "q" }));
        assert!(said(&told).starts_with("It was put in the queue q.\nrules, in order:"), "each is said once");
        let said = said(&trace);
        for part in [
            "- A: text does not contain \"x\"",
            "+ B: queue billing; decided before: priority",
            "C: not asked",
            "+ ann",
            "- bob  is away",
            "and 3 more",
            "why nobody could take it then:",
            "- cyn  is offline",
            "and 2 more",
            "pack 0123456789ab, decided 1m ago",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}
