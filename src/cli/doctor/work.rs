//! Judging channels, queues, rules and what is held back. Nothing that a customer wrote is repeated, nor what a provider said of
//! one message: it may quote them.

use super::finding::{Finding, Level};
use crate::cli::check::{count, short};
use crate::cli::list::{lookup, since, text, time};
use crate::cli::screen::span;
use crate::http::api::{Queue, Status, Unsettled, resume_command};
use serde_json::Value;
use std::collections::BTreeMap;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::decide::{FAILING, PAUSED_BY_OPERATOR};

/// A message of ours that has not left within this is told.
const LATE_MS: i64 = 15 * 60_000;
/// A trial of a pack that goes on for longer was forgotten.
const TRIAL_MS: i64 = 3 * 86_400_000;

/// Each trouble of each channel with what ends it; those of which nothing is wrong together.
pub(super) fn channels(rows: &[Value], now: Timestamp) -> Vec<Finding> {
    let (mut found, mut up) = (vec![], vec![]);
    for row in rows {
        let troubles = channel(row, now);
        if troubles.is_empty() {
            up.push(text(row, "id"));
        }
        found.extend(troubles);
    }
    if !up.is_empty() {
        found.push(Finding::well("channels", format!("{} up: {}", up.len(), up.join(", "))));
    }
    if rows.is_empty() {
        found.push(Finding::warning(
            "channels",
            "none is configured, so nobody can write",
            "add one, such as `[channels.site]`",
        ));
    }
    found
}

fn channel(row: &Value, now: Timestamp) -> Vec<Finding> {
    let id = text(row, "id");
    let about = format!("channel {id}");
    let resume = resume_command(&id);
    let mut found = vec![];
    let paused = text(row, "paused_reason");
    let failures = lookup(row, "failures").as_u64().unwrap_or(0);
    if paused == PAUSED_BY_OPERATOR {
        let seen = "is paused by an operator: nothing is sent";
        found.push(Finding::warning(&about, seen, format!("`{resume}` once it should send again")));
    } else if !paused.is_empty() {
        let seen = format!("is paused, nothing is sent: {}", bare(&paused));
        found.push(Finding::fault(&about, seen, format!("mend that, then `{resume}`")));
    } else if failures > 0 {
        let next = time(row, "probe_at")
            .map(|at| format!(", the next is made in {}", span(at.since(now))))
            .unwrap_or_default();
        let seen = match failures {
            1 => "the last attempt to send failed".to_owned(),
            n => format!("the last {n} attempts to send failed{next}"),
        };
        let todo = format!("`switchboard channels` says why; it goes on by itself, and `{resume}` tries at once");
        let level = if failures >= u64::from(FAILING) { Level::Fault } else { Level::Warning };
        found.push(Finding { level, about: about.clone(), seen, then: Some(todo) });
    }
    let receiving = text(row, "receiving_trouble");
    if !receiving.is_empty() {
        // A mailbox is the only way in; what a webhook missed is asked for again.
        let level = if receiving.contains("mailbox") { Level::Fault } else { Level::Warning };
        let todo = "mend that: it is tried again by itself, and nothing is lost meanwhile".to_owned();
        found.push(Finding { level, about: about.clone(), seen: bare(&receiving), then: Some(todo) });
    }
    if text(row, "state") == "unheard" {
        let seen = "is not heard of yet: its adapter is another process";
        found.push(Finding::fault(&about, seen, "start its adapter, or see why it does not reach the broker"));
    } else if let Some(silent) = time(row, "silent_since") {
        let seen =
            format!("nothing is heard of its adapter, which is another process, for {}", span(now.since(silent)));
        found.push(Finding::fault(&about, seen, "start its adapter, or see why it does not reach the broker"));
    }
    found
}

/// Quotes of a sentence that stands in quotes of ours.
fn bare(said: &str) -> String {
    said.replace('`', "")
}

/// Messages of ours that should have left.
pub(super) fn unsettled(all: &[Unsettled], now: Timestamp) -> Vec<Finding> {
    let late = |of: &Unsettled| {
        let waited = now.since(of.oldest_at?);
        (waited > LATE_MS).then(|| {
            Finding::warning(
                format!("channel {}", of.channel),
                format!(
                    "{} of ours {} not left, the oldest for {}",
                    messages(of.messages),
                    have(of.messages),
                    span(waited)
                ),
                "they leave by themselves once the channel sends; `switchboard conversations` says what each waits for",
            )
        })
    };
    all.iter().filter_map(late).collect()
}

fn messages(n: u64) -> String {
    count(usize::try_from(n).unwrap_or(usize::MAX), "message")
}

fn have(n: u64) -> &'static str {
    if n == 1 { "has" } else { "have" }
}

/// Those who wait and have no owner.
pub(super) fn queues(all: &[Queue], now: Timestamp) -> Vec<Finding> {
    let mut found: Vec<Finding> = all.iter().filter_map(|q| queue(q, now)).collect();
    let waiting: u64 = all.iter().map(|q| q.waiting).sum();
    if found.is_empty() {
        let oldest =
            all.iter().filter_map(|q| q.oldest_at).min().map(|at| format!(", the longest for {}", span(now.since(at))));
        let said = match waiting {
            0 => "nobody waits".to_owned(),
            n => format!("{n} {}, none beyond its clock{}", wait(n), oldest.unwrap_or_default()),
        };
        found.push(Finding::well("queues", said));
    }
    found
}

fn wait(n: u64) -> &'static str {
    if n == 1 { "waits" } else { "wait" }
}

/// The skill that a queue wants which is for who takes by hand: docs/operators/queues.md.
const NOBODY: &str = "nobody";

fn queue(q: &Queue, now: Timestamp) -> Option<Finding> {
    let oldest = q.oldest_at.map(|at| format!(", the longest for {}", span(now.since(at)))).unwrap_or_default();
    let overdue = match q.overdue {
        0 => String::new(),
        n => format!("; {n} of them beyond the clock"),
    };
    let waits = format!("{} {}{oldest}{overdue}", q.waiting, wait(q.waiting));
    let about = format!("queue {}", q.id);
    let skills = q.wanted.join(", ");
    // Where the pack names no agents, programs and tokens answer; a queue that wants `nobody` is for who takes by hand.
    if q.agents > 0 && q.able == 0 && q.wanted.iter().any(|skill| skill.starts_with(NOBODY)) {
        let late = (q.overdue > 0).then(|| {
            let take = "`switchboard conversations take ID --as AGENT`";
            Finding::warning(about, format!("{waits}; it is given to nobody, and taken by hand"), take)
        });
        return late;
    }
    if q.agents > 0 && q.able == 0 {
        let transfer = "or `switchboard conversations transfer ID QUEUE`";
        return Some(Finding::fault(
            about,
            format!("{waits}; none of {} has what is wanted ({skills}), so nobody is ever given it", agents(q.agents)),
            format!("give an agent of the rule pack that skill and `switchboard rules reload`, {transfer}"),
        ));
    }
    if q.agents > 0 && q.there == 0 {
        let able = if skills.is_empty() { agents(q.able) } else { format!("{} who could ({skills})", agents(q.able)) };
        return Some(Finding::warning(
            about,
            format!("{waits}; none of {able} is there"),
            "call somebody in, `switchboard agents` says who; or let the queue overflow: docs/operators/queues.md",
        ));
    }
    (q.overdue > 0).then(|| {
        Finding::warning(
            about,
            waits,
            "`switchboard conversations --state queued` shows who; take the longest waiting first",
        )
    })
}

fn agents(n: u64) -> String {
    count(usize::try_from(n).unwrap_or(usize::MAX), "agent")
}

/// Answers that only a person can decide about; `more` where there are more than were read.
pub(super) fn dead_letters(rows: &[Value], more: bool, now: Timestamp) -> Vec<Finding> {
    let mut by: BTreeMap<(String, String), Vec<&Value>> = BTreeMap::new();
    for row in rows {
        by.entry((text(row, "channel"), text(row, "reason"))).or_default().push(row);
    }
    let told = |((channel, reason), of): ((String, String), Vec<&Value>)| {
        let oldest = of.iter().filter_map(|row| time(row, "at")).min();
        let oldest = oldest.map(|at| format!(", the oldest for {}", span(now.since(at)))).unwrap_or_default();
        let n = u64::try_from(of.len()).unwrap_or(u64::MAX);
        let why = match reason.as_str() {
            "unknown" => "may or may not have been sent".to_owned(),
            "rejected" => format!("{} refused by the provider", if n == 1 { "was" } else { "were" }),
            "expired" => "could not be sent in time".to_owned(),
            "channel_removed" => format!("{} for a channel that is gone", if n == 1 { "is" } else { "are" }),
            other => format!("did not leave ({other})"),
        };
        Finding::warning(
            "dead letters",
            format!("{} of ours on {channel} {why}{oldest}", messages(n)),
            "`switchboard dead-letters` lists them: `dead-letters resend ID`, or `dead-letters drop ID`",
        )
    };
    let mut found: Vec<Finding> = by.into_iter().map(told).collect();
    if more {
        let seen = format!("more than {} are there, of which the newest are counted here", rows.len());
        found.push(Finding::warning("dead letters", seen, "`switchboard dead-letters list --limit 100000`"));
    }
    if found.is_empty() {
        found.push(Finding::well("dead letters", "none"));
    }
    found
}

/// Records that nobody could read, of which the newest `rows` were looked at.
pub(super) fn quarantine(rows: &[Value], all: u64, now: Timestamp) -> Finding {
    let all = all.max(u64::try_from(rows.len()).unwrap_or(u64::MAX));
    if all == 0 {
        return Finding::well("quarantine", "empty");
    }
    let channels: std::collections::BTreeSet<String> =
        rows.iter().map(|r| text(r, "channel")).filter(|c| !c.is_empty()).collect();
    let from = if channels.is_empty() {
        String::new()
    } else {
        format!(" of {}", channels.into_iter().collect::<Vec<_>>().join(", "))
    };
    let newest = rows.first().map(|r| format!(", the newest {} ago", since(r, "at", now))).unwrap_or_default();
    let records = count(usize::try_from(all).unwrap_or(usize::MAX), "record");
    Finding::warning(
        "quarantine",
        format!("{records}{from} could not be read{newest}: perhaps customers' messages, which nobody sees"),
        "`switchboard quarantine` says why; mend that, then `quarantine retry ID`, or `quarantine drop ID`",
    )
}

/// The pack in force, the one on disk and the one that is tried.
pub(super) fn rules(rules: &Value, now: Timestamp) -> Vec<Finding> {
    let mut found = vec![];
    let hash = text(rules, "hash");
    let running = Some(lookup(rules, "canary")).filter(|c| c.is_object() && lookup(c, "ended").is_null());
    let tried = running.map(|c| text(c, "pack")).unwrap_or_default();
    match lookup(rules, "on_disk").as_str() {
        None => found.push(Finding::warning(
            "rules",
            format!("the pack on disk has errors, and pack {} stays in force", short(&hash)),
            "`switchboard check` says each with its place; mend them before the next reload or restart",
        )),
        Some(disk) if disk != hash && disk != tried => found.push(Finding::warning(
            "rules",
            format!("the pack on disk ({}) is not the one in force ({})", short(disk), short(&hash)),
            "`switchboard rules reload` puts it in force; `switchboard rules replay --pack DIR` shows before what it would change",
        )),
        Some(_) => {}
    }
    if let Some(trial) = running {
        let (share, for_) = (text(trial, "share"), since(trial, "since", now));
        let seen = format!("pack {} is tried on {share} % of the new conversations for {for_}", short(&tried));
        let long = time(trial, "since").is_some_and(|at| now.since(at) > TRIAL_MS);
        found.push(if long {
            let todo = "`switchboard rules canary` shows how it does, `--promote` takes it, `--stop` ends it";
            Finding::warning("rules", seen, todo)
        } else {
            Finding::well("rules", seen)
        });
    }
    if found.iter().all(|f| f.level == Level::Well) && !hash.is_empty() {
        let for_ = since(rules, "loaded_at", now);
        let for_ = if for_.is_empty() { for_ } else { format!(" for {for_}") };
        let disk = if lookup(rules, "on_disk").as_str() == Some(&hash) { ", and on disk" } else { "" };
        found.push(Finding::well("rules", format!("pack {} in force{for_}{disk}", short(&hash))));
    }
    found
}

/// What waits on the whole, for a daemon that tells it.
pub(super) fn waiting(s: &Status, now: Timestamp) -> Vec<Finding> {
    unsettled(&s.unsettled, now).into_iter().chain(queues(&s.queues, now)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_795_219_200_000);

    fn ago(ms: i64) -> Timestamp {
        NOW.plus(-ms)
    }

    #[track_caller]
    fn judged(found: &[Finding], level: Level, seen: &str, then: &str) {
        let right = found
            .iter()
            .any(|f| f.level == level && f.seen.contains(seen) && f.then.as_deref().unwrap_or_default().contains(then));
        assert!(right, "{found:?} has no {level:?}, `{seen}`, `{then}`");
    }

    #[test]
    fn channels_that_work_are_one_line_and_each_trouble_another() {
        let up =
            |id: &str| json!({ "id": id, "state": "up", "failures": 0, "paused_reason": null, "silent_since": null });
        let found = channels(&[up("site"), up("sms")], NOW);
        assert_eq!(found, [Finding::well("channels", "2 up: site, sms")]);
        let paused = |why: &str| json!({ "id": "sms", "state": "paused", "paused_reason": why, "failures": 5 });
        let found = channels(&[up("site"), paused("401: check `auth_token`")], NOW);
        judged(
            &found,
            Level::Fault,
            "nothing is sent: 401: check auth_token",
            "then `switchboard channels resume sms`",
        );
        assert_eq!(found.len(), 2);
        judged(&channels(&[paused(PAUSED_BY_OPERATOR)], NOW), Level::Warning, "by an operator", "channels resume sms");
        let said = "550 no such user +1555";
        let failing =
            |n: u32| json!({ "id": "sms", "failures": n, "probe_at": NOW.plus(40_000), "sending_trouble": said });
        judged(
            &channels(&[failing(5)], NOW),
            Level::Fault,
            "last 5 attempts to send failed, the next is made in 40s",
            "says why",
        );
        judged(&channels(&[failing(1)], NOW), Level::Warning, "the last attempt to send failed", "by itself");
        assert!(!format!("{:?}", channels(&[failing(5)], NOW)).contains("1555"), "what the provider said of a message");
        judged(&channels(&[], NOW), Level::Warning, "none is configured", "[channels.site]");
    }

    #[test]
    fn what_does_not_come_in_and_who_is_not_heard_of_is_said_beside() {
        let unread = "its mailbox cannot be read: `x` gone";
        let row = json!({ "id": "mail", "state": "failing", "failures": 1, "receiving_trouble": unread });
        let found = channels(&[row], NOW);
        assert_eq!(found.len(), 2);
        judged(&found, Level::Fault, "its mailbox cannot be read: x gone", "tried again by itself");
        let polls = json!({ "id": "sms", "failures": 0, "receiving_trouble": "what its webhook missed cannot be fetched: 401" });
        judged(&channels(&[polls], NOW), Level::Warning, "cannot be fetched", "mend that");
        let silent = json!({ "id": "crm", "state": "down", "failures": 0, "silent_since": ago(7_200_000) });
        judged(
            &channels(&[silent], NOW),
            Level::Fault,
            "nothing is heard of its adapter, which is another process, for 2h",
            "start its adapter",
        );
        judged(
            &channels(&[json!({ "id": "crm", "state": "unheard" })], NOW),
            Level::Fault,
            "not heard of yet",
            "start its adapter",
        );
    }

    #[test]
    fn what_has_not_left_for_long_is_said_by_channel() {
        let of = |ms| vec![Unsettled { channel: "sms".into(), messages: 3, oldest_at: Some(ago(ms)) }];
        assert!(unsettled(&of(60_000), NOW).is_empty(), "it is on its way");
        judged(
            &unsettled(&of(7_200_000), NOW),
            Level::Warning,
            "3 messages of ours have not left, the oldest for 2h",
            "by themselves",
        );
    }

    #[test]
    fn a_queue_that_nobody_can_serve_is_a_fault_and_one_where_nobody_is_there_a_warning() {
        let q = Queue {
            id: "books".into(),
            waiting: 4,
            oldest_at: Some(ago(7_200_000)),
            wanted: vec!["accounting".into()],
            agents: 5,
            able: 2,
            there: 1,
            ..Queue::default()
        };
        assert_eq!(
            queues(std::slice::from_ref(&q), NOW),
            [Finding::well("queues", "4 wait, none beyond its clock, the longest for 2h")]
        );
        assert_eq!(queues(&[], NOW), [Finding::well("queues", "nobody waits")]);
        let nobody = Queue { able: 0, there: 0, overdue: 3, ..q.clone() };
        let seen =
            "4 wait, the longest for 2h; 3 of them beyond the clock; none of 5 agents has what is wanted (accounting)";
        judged(&queues(&[nobody], NOW), Level::Fault, seen, "rules reload");
        let by_hand = Queue { able: 0, there: 0, wanted: vec!["nobody".into()], ..q.clone() };
        assert_eq!(queues(std::slice::from_ref(&by_hand), NOW).iter().filter(|f| f.level != Level::Well).count(), 0);
        judged(&queues(&[Queue { overdue: 1, ..by_hand }], NOW), Level::Warning, "taken by hand", "conversations take");
        let away = Queue { there: 0, ..q.clone() };
        judged(
            &queues(&[away], NOW),
            Level::Warning,
            "none of 2 agents who could (accounting) is there",
            "call somebody in",
        );
        let late = Queue { overdue: 1, ..q.clone() };
        judged(&queues(&[late], NOW), Level::Warning, "1 of them beyond the clock", "--state queued");
        let by_tokens = Queue { agents: 0, able: 0, there: 0, ..q };
        judged(&queues(&[by_tokens], NOW), Level::Well, "4 wait", "");
    }

    #[test]
    fn dead_letters_are_counted_by_channel_and_reason_and_nothing_of_them_is_quoted() {
        let row = |reason: &str, ms| {
            json!({ "channel": "sms", "reason": reason, "at": ago(ms), "text": "secret words", "to": "+1555",
                "detail": "no +1555" })
        };
        let found =
            dead_letters(&[row("unknown", 60_000), row("unknown", 7_200_000), row("rejected", 1_000)], false, NOW);
        assert_eq!(found.len(), 2);
        judged(
            &found,
            Level::Warning,
            "2 messages of ours on sms may or may not have been sent, the oldest for 2h",
            "dead-letters resend ID",
        );
        judged(&found, Level::Warning, "1 message of ours on sms was refused by the provider", "drop ID");
        assert!(!format!("{found:?}").contains("secret") && !format!("{found:?}").contains("1555"));
        judged(&dead_letters(&[row("unknown", 1)], true, NOW), Level::Warning, "more than 1", "--limit");
        assert_eq!(dead_letters(&[], false, NOW), [Finding::well("dead letters", "none")]);
    }

    #[test]
    fn the_quarantine_is_counted_whole() {
        let row = json!({ "channel": "crm", "reason": "it is no JSON", "at": ago(60_000), "raw": { "text": "secret words" } });
        let found = quarantine(&[row], 70, NOW);
        assert!(!format!("{found:?}").contains("secret"));
        judged(
            &[found],
            Level::Warning,
            "70 records of crm could not be read, the newest 1m ago",
            "quarantine retry ID",
        );
        assert_eq!(quarantine(&[], 0, NOW).level, Level::Well);
    }

    #[test]
    fn another_pack_on_disk_and_a_trial_that_was_forgotten_are_warnings() {
        let with = |disk: Value, canary: Value| {
            rules(
                &json!({ "hash": "aaaaaaaaaaaaaaaa", "on_disk": disk, "canary": canary, "loaded_at": ago(7_200_000) }),
                NOW,
            )
        };
        let same = || json!("aaaaaaaaaaaaaaaa");
        judged(&with(same(), Value::Null), Level::Well, "pack aaaaaaaaaaaa in force for 2h", "");
        judged(
            &with(json!("bbbbbbbbbbbbbbbb"), Value::Null),
            Level::Warning,
            "on disk (bbbbbbbbbbbb) is not the one in force",
            "rules reload",
        );
        judged(&with(Value::Null, Value::Null), Level::Warning, "has errors", "switchboard check");
        let trial = |days: i64, ended: Value| {
            let since = ago(days * 86_400_000);
            json!({ "pack": "bbbbbbbbbbbbbbbb", "share": 10, "since": since, "ended": ended })
        };
        let running = with(json!("bbbbbbbbbbbbbbbb"), trial(1, Value::Null));
        assert!(running.iter().all(|f| f.level == Level::Well), "it is the one that is tried: {running:?}");
        judged(
            &with(same(), trial(5, Value::Null)),
            Level::Warning,
            "tried on 10 % of the new conversations for 5d",
            "--promote",
        );
        assert_eq!(with(same(), trial(5, json!({ "how": "stopped" }))).len(), 1, "it is over");
    }
}
