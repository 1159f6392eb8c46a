//! `rules replay`: recorded traffic through another pack, beside what happened.

use super::api::{Api, encoded};
use super::list::Common;
use super::screen::{Screen, plain};
use super::{ConfigArg, Done, Failure, check};
use crate::config::Environment;
use crate::packs;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::RulePack;
use switchboard_routing_rules::pack::{Environment as PackEnvironment, SeenMessage, SeenState, Settings};
use switchboard_routing_rules::replay::{Would, not_replayed, would};

/// Examples of each kind of change.
const EXAMPLES: usize = 3;
/// Characters of an example's text.
const SHOWN: usize = 60;
/// A page of the API's list.
const PAGE: usize = 200;

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The directory of the pack to try
    #[arg(long, value_name = "DIR")]
    pub pack: PathBuf,
    /// How far back: 24h, 7d, or a time, as 2026-11-20T09:00:00Z
    #[arg(long, default_value = "7d", value_name = "SPAN|TIME", value_parser = super::conversations::span_or_time)]
    pub since: super::conversations::Until,
    /// Fail when more messages would be handled otherwise
    #[arg(long, value_name = "N")]
    pub max_changes: Option<usize>,
    #[command(flatten)]
    pub common: Common,
}

/// One decision as the API lists it.
#[derive(Debug, Deserialize)]
struct Decided {
    message: String,
    did: Option<Would>,
    said: Option<SeenMessage>,
    seen: Option<SeenState>,
}

/// Messages that would go from one place to another.
#[derive(Debug, Default)]
struct Group {
    count: usize,
    examples: Vec<(String, String)>,
}

/// What came of a replay.
#[derive(Debug, Default)]
struct Report {
    messages: usize,
    /// Erased since, or decided by a pack that is not kept any more.
    unknown: usize,
    changes: usize,
    groups: BTreeMap<(String, String), Group>,
    /// What is written otherwise beside the rules, and shows in no message.
    not_replayed: Vec<String>,
}

impl Report {
    fn add(&mut self, pack: &RulePack, row: Decided) {
        self.messages += 1;
        let (Some(did), Some(said), Some(seen)) = (row.did, row.said, row.seen) else {
            self.unknown += 1;
            return;
        };
        let now = would(pack, &said, &seen);
        if now == did {
            return;
        }
        self.changes += 1;
        let more = now.differences(&did);
        let after = std::iter::once(now.destination()).chain(more).collect::<Vec<_>>().join("; ");
        let group = self.groups.entry((did.destination(), after)).or_default();
        group.count += 1;
        if group.examples.len() < EXAMPLES {
            let text: String = said.text.chars().take(SHOWN).collect();
            group.examples.push((row.message, text));
        }
    }

    /// The groups, the largest first.
    fn sorted(&self) -> Vec<(&(String, String), &Group)> {
        let mut all: Vec<_> = self.groups.iter().collect();
        all.sort_by_key(|(key, g)| (std::cmp::Reverse(g.count), *key));
        all
    }

    fn value(&self, pack: &RulePack, since: Timestamp) -> Value {
        let group = |((before, after), g): &(&(String, String), &Group)| {
            let examples: Vec<Value> =
                g.examples.iter().map(|(m, text)| json!({ "message": m, "text": text })).collect();
            json!({ "before": before, "after": after, "count": g.count, "examples": examples })
        };
        json!({
            "pack": pack.hash(), "since": since, "messages": self.messages, "changes": self.changes, "unknown": self.unknown,
            "groups": self.sorted().iter().map(group).collect::<Vec<_>>(), "not_replayed": self.not_replayed,
        })
    }

    fn tell(&self, pack: &RulePack, since: Timestamp, screen: &mut Screen) {
        let pack = check::short(pack.hash());
        screen.out(&format!(
            "{} since {since}: pack {pack} would handle {} otherwise",
            check::count(self.messages, "message"),
            self.changes
        ));
        for ((before, after), group) in self.sorted() {
            screen.out(&format!("{:>6}  {before} → {}", group.count, plain(after)));
            for (message, text) in &group.examples {
                screen.out(&format!("        {message}  “{}”", plain(text)));
            }
        }
        if !self.not_replayed.is_empty() {
            screen.out(&format!("also otherwise, and not replayed: {}", plain(&self.not_replayed.join("; "))));
        }
        if self.unknown > 0 {
            screen.out(&format!(
                "{} cannot be compared: erased, or its pack is not kept",
                check::count(self.unknown, "message")
            ));
        }
    }
}

fn unreadable(e: serde_json::Error) -> Failure {
    Failure::Failed(format!("the daemon's answer cannot be read, is it another version? {e}"))
}

pub(crate) async fn run(
    replay: Replay,
    known: &PackEnvironment,
    at: &ConfigArg,
    env: &Environment,
    screen: &mut Screen,
) -> Done {
    let source = packs::Source::Path(replay.pack.clone());
    let pack = packs::load(&source, known).map_err(|e| Failure::Failed(e.to_string()))?.pack;
    let since = replay.since.before(screen.now);
    let api = Api::open(at, env)?;
    let settings = api.get("/rules/settings").await?.get_mut("settings").map(Value::take).unwrap_or_default();
    let settings: Settings = serde_json::from_value(settings).map_err(unreadable)?;
    let mut report = Report { not_replayed: not_replayed(&settings, &pack.settings()), ..Report::default() };
    let mut next = Value::Null;
    loop {
        let from = next.as_str().map(|c| format!("&cursor={}", encoded(c))).unwrap_or_default();
        let mut page = api.get(&format!("/decisions?since={}&limit={PAGE}{from}", encoded(&since.to_string()))).await?;
        let rows = page.get_mut("decisions").map(Value::take).unwrap_or_default();
        let rows: Vec<Decided> = serde_json::from_value(rows).map_err(unreadable)?;
        rows.into_iter().for_each(|row| report.add(&pack, row));
        next = page.get_mut("next").map(Value::take).unwrap_or_default();
        if next.is_null() {
            break;
        }
    }
    if replay.common.json {
        screen.out(&format!("{:#}", report.value(&pack, since)));
    } else {
        report.tell(&pack, since, screen);
    }
    match replay.max_changes {
        Some(most) if report.changes > most => Err(Failure::Failed(format!(
            "{} would be handled otherwise, at most {most} may",
            check::count(report.changes, "message")
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(rule: &str) -> RulePack {
        let yaml = format!(
            "zone: UTC\nqueues: {{ everyone: {{}}, billing: {{}} }}\nrules: [{rule}]\ndefault: {{ queue: everyone }}\n"
        );
        let files = [("a.yaml".to_owned(), yaml.into_bytes())];
        RulePack::load(&files, &PackEnvironment::default()).expect("a pack").pack
    }

    #[test]
    fn what_changes_is_grouped_by_where_it_goes_with_counts_and_examples() {
        let old = pack("");
        let new = pack("{ name: R, when: { text: { word: refund } }, then: { queue: billing, priority: high } }");
        let mut report = Report::default();
        for n in 0..10 {
            let text = if n < 4 { "a refund" } else { "hello" };
            let said = SeenMessage { text: text.into(), ..SeenMessage::default() };
            let seen = SeenState { new: true, ..SeenState::default() };
            let did = (n != 3).then(|| would(&old, &said, &seen));
            // As it comes over the wire.
            let row = json!({ "message": format!("m{n}"), "did": did, "said": said, "seen": seen, "at": 5 });
            report.add(&new, serde_json::from_value(row).expect("a row"));
        }
        assert_eq!((report.messages, report.changes, report.unknown), (10, 3, 1));
        let mut screen = Screen::of_test(None);
        report.tell(&new, Timestamp(0), &mut screen);
        let said = screen.kept.unwrap_or_default();
        assert!(said.starts_with("10 messages since 1970-01-01T00:00:00.000Z: pack "), "{said}");
        assert!(said.contains("     3  queue everyone → queue billing; priority high instead of none\n"), "{said}");
        assert!(said.contains("        m0  “a refund”\n") && said.contains("1 message cannot be compared"), "{said}");
        assert!(!said.contains("not replayed"), "{said}");
        report.not_replayed = not_replayed(&old.settings(), &new.settings());
        assert_eq!(report.not_replayed, Vec::<String>::new(), "the rules for messages are what is replayed");
        report.not_replayed = vec!["agent bob (gone)".into(), "queue billing (overflow, skills)".into()];
        let mut screen = Screen::of_test(None);
        report.tell(&new, Timestamp(0), &mut screen);
        let said = screen.kept.unwrap_or_default();
        let line = "also otherwise, and not replayed: agent bob (gone); queue billing (overflow, skills)\n";
        assert!(said.contains(line), "{said}");
        let value = report.value(&new, Timestamp(0));
        assert_eq!(value["not_replayed"][0], "agent bob (gone)");
        assert_eq!(value["groups"][0]["count"], 3);
        assert_eq!(value["groups"][0]["examples"].as_array().map(Vec::len), Some(3));
    }
}
