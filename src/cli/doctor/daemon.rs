//! Judging the process that answers, its log and its machine.

use super::finding::{Finding, Level, size};
use crate::cli::check::count;
use crate::cli::screen::{relative, span};
use crate::http::api::Status;
use crate::log::Store;
use switchboard_envelope::Timestamp;

/// Clocks that differ by more than this are wrong for us: it is what nobody leads or sends with.
const CLOCK_MS: i64 = 5_000;
/// Frames by which history may be behind for a moment.
const BEHIND: u64 = 1_000;
/// A rebase is told this long.
const REBASED_MS: i64 = 7 * 86_400_000;
/// What was lost by one is a fault this long.
const LOST_MS: i64 = 86_400_000;
/// IN is emptied behind the router once it is half full, so this much of it, in thousandths, is not yet decided.
const IN_FULL: u32 = 600;
/// Room that log, history and snapshots need beside IN.
const ROOM: u64 = 512 << 20;

/// What begins a line of `/readyz`, and what to do about it.
const TODO: [(&str, &str); 7] = [
    ("the log cannot be written", "see the disk, or the broker; what failed is tried again by itself"),
    ("nothing is decided", "give LOG room: free the disk, or raise `log.sizes.log` and the stream's max_bytes"),
    (
        "history cannot follow",
        "see the daemon's log and the disk; `history.db` may be removed while it is stopped, and is made again",
    ),
    ("nothing is sent from here", "set the clock of its machine, for instance with chrony"),
    ("the router cannot lead", "mend what it says, or see the daemon's log"),
    ("nothing is sent: claims have no room", "raise `log.sizes.claims` and the stream's max_bytes, or see the broker"),
    (
        "the log is not the one",
        "start a process that may lead; docs/operators/nats.md says what an older copy of the log means",
    ),
];

/// What `/readyz` answered. What it says of channels and of a rebase is judged with more of it elsewhere.
pub(super) fn ready(status: u16, text: &str) -> Vec<Finding> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "ready");
    let mut found = vec![];
    for line in lines {
        let todo = TODO.iter().find(|(start, _)| line.starts_with(start)).map(|(_, todo)| *todo);
        match todo {
            Some(todo) => found.push(Finding::fault("daemon", line, todo)),
            None if line.starts_with("the daemon is stopping") => {
                found.push(Finding::warning("daemon", line, "wait for its end, and see that it is started again"));
            }
            None if line.starts_with("IN was another") => {
                found.push(Finding::told(Level::Fault, "log", line));
            }
            None if line.starts_with("nobody leads") => found.push(Finding::fault(
                "daemon",
                "nobody leads the workspace: messages are kept, and nothing is decided",
                "start a process that may lead; `/readyz` of each says what keeps it from leading",
            )),
            None if status != 200 => {
                found.push(Finding::fault("daemon", format!("is not ready: {line}"), "see the daemon's log"));
            }
            None => {}
        }
    }
    found
}

/// The process itself: which it is, since when, and whether its clock is ours. `now` is between its question and its answer.
pub(super) fn process(s: &Status, now: Timestamp, ours: &str) -> Vec<Finding> {
    let mut found = vec![];
    if s.version != ours {
        found.push(Finding::warning(
            "daemon",
            format!("is of version {}, and this program of {ours}", s.version),
            "restart the daemon with the program that is installed, or ask it with its own",
        ));
    }
    let off = s.now.map_or(0, |theirs| now.since(theirs));
    if off.abs() > CLOCK_MS {
        let way = if off > 0 { "behind" } else { "ahead of" };
        found.push(Finding::warning(
            "daemon",
            format!("its clock is {} {way} that of this machine", span(off.abs())),
            "set both, for instance with chrony: clocks of queues, hours and retries follow the daemon's",
        ));
    }
    if s.history.behind > BEHIND {
        let behind = s.history.behind;
        found.push(Finding::warning(
            "history",
            format!("is {behind} frames behind: lists and transcripts show what was then"),
            "wait while it catches up; where the number grows, see the disk and the daemon's log",
        ));
    }
    let standing = match (s.standing.as_str(), &s.leader) {
        ("leads", _) => "leads".to_owned(),
        ("follows", Some(by)) => format!("follows {by}"),
        (other, _) => other.to_owned(),
    };
    let since = s.started_at.map(|at| format!(", runs for {}", span(now.since(at)))).unwrap_or_default();
    found.push(Finding::well(
        "daemon",
        format!(
            "version {}, {standing}{since}, workspace {}, history {} behind",
            s.version,
            s.workspace,
            frames(s.history.behind)
        ),
    ));
    found
}

fn frames(n: u64) -> String {
    count(usize::try_from(n).unwrap_or(usize::MAX), "frame")
}

/// The log: that it is the one that was written, what it can lose, and its room.
pub(super) fn log(s: &Status, now: Timestamp) -> Vec<Finding> {
    let mut found = vec![];
    found.extend(rebased(s, now));
    if s.log.may_lose {
        found.push(Finding::warning(
            "log",
            s.log.durability.clone(),
            "set `sync_interval: always` in the broker's `jetstream` block, or `log.replicas = 3` on a cluster",
        ));
    }
    let filled = s.log.in_thousandths.unwrap_or(0);
    if filled > IN_FULL {
        found.push(Finding::fault(
            "log",
            format!("IN is {} % full, and from 80 % on messages are refused", filled / 10),
            "see why the router is behind, or raise `limits.inbox`",
        ));
    }
    found.extend(disk(s));
    found.extend(s.log.stores.iter().flat_map(stream));
    let d = &s.duplicates;
    if d.most > 0 && d.remembered.saturating_mul(10) > d.most.saturating_mul(9) {
        found.push(Finding::warning(
            "log",
            format!("remembers {} of at most {} ids: soon some are forgotten before their time", d.remembered, d.most),
            "raise `limits.duplicates`",
        ));
    }
    let free = s.machine.disk_free.map(|free| format!(", {} free on its disk", size(free))).unwrap_or_default();
    let streams =
        if s.log.stores.is_empty() { String::new() } else { format!(", {}", count(s.log.stores.len(), "stream")) };
    if !s.log.may_lose && !s.log.durability.is_empty() {
        found.push(Finding::well("log", s.log.durability.clone()));
    }
    found.push(Finding::well(
        "log",
        format!(
            "{}, format {} of {}, IN {} % full of {}{streams}{free}",
            s.log.backend,
            s.log.format,
            s.log.newest_format,
            filled / 10,
            size(s.log.in_max_bytes),
        ),
    ));
    found
}

/// A stream of a broker: its room and its copies.
fn stream(store: &Store) -> Vec<Finding> {
    let mut found = vec![];
    let key = store.name.rsplit('_').next().unwrap_or_default().to_lowercase();
    let raise = if key == "in" { "limits.inbox".to_owned() } else { format!("log.sizes.{key}") };
    let percent = store.max_bytes.map_or(0, |most| store.bytes.saturating_mul(100) / most.max(1));
    let full = format!("stream {} is {percent} % full, with {}", store.name, size(store.bytes));
    let todo = format!("raise `{raise}` and the stream's max_bytes (`nats stream edit`)");
    match percent {
        // Judged above, by what of it is not decided.
        _ if key == "in" => {}
        95.. => found.push(Finding::fault("log", full, todo)),
        80..95 => found.push(Finding::warning("log", full, todo)),
        _ => {}
    }
    if store.replicas != store.wanted_replicas {
        found.push(Finding::warning(
            "log",
            format!(
                "stream {} keeps {}, and `log.replicas` is {}",
                store.name,
                copies(store.replicas),
                store.wanted_replicas
            ),
            "restart the daemon with a user that may change streams, or `nats stream edit --replicas`",
        ));
    }
    if !store.behind.is_empty() {
        found.push(Finding::warning(
            "log",
            format!("stream {}: the copy on {} is not up to date", store.name, store.behind.join(", ")),
            "see that these servers run and reach the others",
        ));
    }
    found
}

fn copies(n: u32) -> String {
    if n == 1 { "1 copy".into() } else { format!("{n} copies") }
}

fn rebased(s: &Status, now: Timestamp) -> Option<Finding> {
    let told = |at: &Timestamp| now.since(*at) < REBASED_MS;
    let at = s.rebased_at.filter(told)?;
    let ago = relative(at, now);
    let page = if s.log.backend == "embedded" { "docs/operators/deploy.md" } else { "docs/operators/nats.md" };
    if s.lost_at.filter(told).is_none() {
        return Some(Finding::warning(
            "log",
            format!(
                "was rebased {ago} ({at}): it came back as an older copy of itself, or was moved; nothing was lost but whether \
                 some messages were sent"
            ),
            format!("look at `switchboard dead-letters`: {page}"),
        ));
    }
    // Who restored it knows; a week of it would hide what comes next.
    let level = if now.since(at) < LOST_MS { Level::Fault } else { Level::Warning };
    Some(Finding {
        level,
        about: "log".into(),
        seen: format!(
            "was restored from a backup, or came back as an older copy of itself, {ago} ({at}), and what was acknowledged after the \
             copy is lost"
        ),
        then: Some(format!("look at `switchboard dead-letters`, and ask customers what was lost: {page}")),
    })
}

/// The file system of the data directory, against what is still to come.
fn disk(s: &Status) -> Option<Finding> {
    let (free, whole) = (s.machine.disk_free?, s.machine.disk_size?);
    let used = s.log.in_max_bytes / 1000 * u64::from(s.log.in_thousandths.unwrap_or(0));
    let grows = if s.log.backend == "embedded" { s.log.in_max_bytes.saturating_sub(used) } else { 0 };
    room(free, whole, grows)
}

/// Free bytes of a file system, its size, and by how much IN may grow.
pub(super) fn room(free: u64, whole: u64, grows: u64) -> Option<Finding> {
    let todo = "free or add room where `log.path` is, or shorten `retention.messages` and `retention.raw`";
    let seen = format!("{} free of {} where the data is", size(free), size(whole));
    if free < ROOM {
        return Some(Finding::fault("log", format!("{seen}: without room nothing is taken or decided"), todo));
    }
    let wanted = grows.saturating_add(ROOM);
    (free < wanted).then(|| {
        Finding::warning(
            "log",
            format!("{seen}, and IN alone may grow by {}", size(grows)),
            format!("{todo}, or lower `limits.inbox`"),
        )
    })
}

/// Open files, memory and the clock of its machine.
pub(super) fn machine(s: &Status) -> Vec<Finding> {
    let m = &s.machine;
    let mut found = vec![];
    let nofile = "set `LimitNOFILE=65536` in its unit (`ulimit -n` where none is), and restart it";
    if let (Some(open), Some(most)) = (m.open_files, m.max_open_files) {
        if open.saturating_mul(10) > most.saturating_mul(8) {
            found.push(Finding::fault("machine", format!("{open} of {most} files are open"), nofile));
        } else if s.max_connections > most {
            let seen = format!("it may open {most} files, and `http.max_connections` is {}", s.max_connections);
            found.push(Finding::warning("machine", seen, format!("{nofile}; or lower `http.max_connections`")));
        }
    }
    if let (Some(held), Some(most)) = (m.memory, m.max_memory) {
        let seen = format!("holds {} of {} of memory", size(held), size(most));
        let todo = "give it more (`MemoryMax=` of its unit, or the container's limit), before it is killed";
        if held.saturating_mul(100) > most.saturating_mul(95) {
            found.push(Finding::fault("machine", seen, todo));
        } else if held.saturating_mul(100) > most.saturating_mul(80) {
            found.push(Finding::warning("machine", seen, todo));
        }
    }
    if m.clock_synchronised == Some(false) {
        found.push(Finding::warning(
            "machine",
            "no time server sets its clock",
            "see `timedatectl`, or run chrony: hours, clocks of queues and signatures follow it",
        ));
    }
    let part = |said: Option<String>| said.map(|said| format!(", {said}")).unwrap_or_default();
    let files = m.open_files.zip(m.max_open_files).map(|(open, most)| format!("{open} of {most} files open"));
    let memory = m.memory.zip(m.max_memory).map(|(held, most)| format!("{} of {} of memory", size(held), size(most)));
    let clock = m.clock_synchronised.filter(|sure| *sure).map(|_| "clock synchronised".to_owned());
    let said = [part(files), part(memory), part(clock)].concat();
    if found.is_empty() && !said.is_empty() {
        found.push(Finding::well("machine", said.trim_start_matches(", ")));
    }
    found
}

/// The value of a metric, summed over its labels.
pub(super) fn metric(text: &str, name: &str) -> Option<f64> {
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).reduce(|a, b| a + b)
}

/// What only `/metrics` tells.
pub(super) fn counted(metrics: &str) -> Vec<Finding> {
    let forgotten = metric(metrics, "switchboard_duplicates_forgotten_total").unwrap_or(0.0);
    let said = |ids: f64| {
        Finding::warning(
            "log",
            format!(
                "{ids:.0} ids were forgotten before their time since the start: what is delivered again then is routed again"
            ),
            "raise `limits.duplicates`",
        )
    };
    (forgotten > 0.0).then(|| said(forgotten)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api::LogStatus;
    use crate::machine::Machine;

    const NOW: Timestamp = Timestamp(1_795_219_200_000);

    fn status() -> Status {
        Status {
            version: "0.1.0".into(),
            workspace: "main".into(),
            role: "all".into(),
            standing: "leads".into(),
            started_at: Some(NOW.plus(-3 * 86_400_000)),
            now: Some(NOW),
            log: LogStatus {
                backend: "embedded".into(),
                durability: "embedded: a power cut takes nothing".into(),
                in_thousandths: Some(30),
                in_max_bytes: 1 << 30,
                format: 1,
                newest_format: 1,
                ..LogStatus::default()
            },
            machine: Machine {
                open_files: Some(40),
                max_open_files: Some(65_536),
                memory: Some(31 << 20),
                max_memory: Some(1 << 30),
                disk_free: Some(92 << 30),
                disk_size: Some(100 << 30),
                clock_synchronised: Some(true),
            },
            max_connections: 10_000,
            ..Status::default()
        }
    }

    fn worst(found: &[Finding]) -> Option<(Level, &str, Option<&str>)> {
        found.iter().min_by_key(|f| f.level).map(|f| (f.level, f.seen.as_str(), f.then.as_deref()))
    }

    #[track_caller]
    fn judged(found: &[Finding], level: Level, seen: &str, then: &str) {
        let worst = worst(found);
        let right =
            worst.is_some_and(|(l, s, t)| l == level && s.contains(seen) && t.unwrap_or_default().contains(then));
        assert!(right, "{worst:?} is not {level:?}, `{seen}`, `{then}`");
    }

    #[test]
    fn a_healthy_process_is_well_with_numbers() {
        let s = status();
        for found in [process(&s, NOW, "0.1.0"), log(&s, NOW), machine(&s)] {
            assert!(!found.is_empty() && found.iter().all(|f| f.level == Level::Well), "{found:?}");
        }
        assert!(process(&s, NOW, "0.1.0")[0].seen.contains("leads, runs for 3d"));
        assert!(log(&s, NOW)[0].seen.contains("a power cut takes nothing"));
        assert!(log(&s, NOW)[1].seen.contains("IN 3 % full of 1.0 GiB, 92 GiB free"), "{:?}", log(&s, NOW));
        assert!(
            machine(&s)[0].seen.contains("40 of 65536 files open, 31 MiB of 1.0 GiB of memory, clock synchronised")
        );
        assert!(ready(200, "ready\nleads\nchannel mail: its mailbox cannot be read\n").is_empty(), "judged elsewhere");
        assert!(counted("switchboard_duplicates_forgotten_total 0\n").is_empty());
    }

    #[test]
    fn what_keeps_it_from_being_ready_is_a_fault_with_what_to_do() {
        let text = "the log cannot be written: no answer for 3.0 s\nhistory cannot follow the log\nanother reason\n";
        let found = ready(503, text);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|f| f.level == Level::Fault && f.then.is_some()));
        judged(&found, Level::Fault, "no answer for 3.0 s", "see the disk, or the broker");
        judged(&ready(200, "ready\nnobody leads the workspace\n"), Level::Fault, "nothing is decided", "/readyz");
        judged(
            &ready(200, "ready\nleads\nnothing is sent: claims have no room: full"),
            Level::Fault,
            "full",
            "log.sizes.claims",
        );
        judged(&ready(503, "the daemon is stopping\n"), Level::Warning, "stopping", "started again");
    }

    #[test]
    fn another_version_and_another_clock_are_warnings() {
        judged(&process(&status(), NOW, "0.2.0"), Level::Warning, "0.1.0, and this program of 0.2.0", "restart");
        judged(&process(&status(), NOW.plus(90_000), "0.1.0"), Level::Warning, "1m behind", "chrony");
        judged(&process(&status(), NOW.plus(-90_000), "0.1.0"), Level::Warning, "1m ahead of", "chrony");
        assert_eq!(process(&status(), NOW.plus(4_000), "0.1.0").len(), 1, "an answer takes its time");
        let mut late = status();
        late.history.behind = 40_000;
        judged(&process(&late, NOW, "0.1.0"), Level::Warning, "40000 frames behind", "see the disk");
    }

    #[test]
    fn a_log_that_fills_that_may_lose_or_that_came_back_older_is_said() {
        let with = |change: &dyn Fn(&mut Status)| {
            let mut s = status();
            change(&mut s);
            log(&s, NOW)
        };
        judged(&with(&|s| s.log.in_thousandths = Some(620)), Level::Fault, "62 % full", "limits.inbox");
        judged(&with(&|s| s.log.may_lose = true), Level::Warning, "a power cut", "sync_interval: always");
        judged(&with(&|s| s.machine.disk_free = Some(100 << 20)), Level::Fault, "100 MiB free of 100 GiB", "retention");
        judged(&with(&|s| s.machine.disk_free = Some(1 << 30)), Level::Warning, "IN alone may grow by", "limits.inbox");
        judged(
            &with(&|s| (s.duplicates.remembered, s.duplicates.most) = (91, 100)),
            Level::Warning,
            "91 of at most 100",
            "limits",
        );
        let back = |lost: bool, days: i64| {
            with(&|s| {
                s.rebased_at = Some(NOW.plus(-days * 86_400_000));
                s.lost_at = s.rebased_at.filter(|_| lost);
            })
        };
        judged(&back(true, 0), Level::Fault, "was restored from a backup, or came back as an older", "ask customers");
        judged(&back(true, 1), Level::Warning, "was restored from a backup, or", "docs/operators/deploy.md");
        judged(&back(false, 1), Level::Warning, "nothing was lost but", "dead-letters");
        assert_eq!(worst(&back(true, 8)).map(|w| w.0), Some(Level::Well), "for a week");
    }

    #[test]
    fn streams_of_a_broker_are_judged_by_their_room_and_their_copies() {
        let of = |store: Store| {
            let mut s = status();
            s.log.stores = vec![store];
            log(&s, NOW)
        };
        let store = |name: &str, bytes| Store {
            name: name.into(),
            bytes,
            max_bytes: Some(1000),
            replicas: 3,
            wanted_replicas: 3,
            behind: vec![],
        };
        assert_eq!(worst(&of(store("SB_main_LOG", 500))).map(|w| w.0), Some(Level::Well));
        judged(&of(store("SB_main_LOG", 850)), Level::Warning, "SB_main_LOG is 85 % full", "`log.sizes.log`");
        judged(&of(store("KV_SB_main_CLAIMS", 990)), Level::Fault, "99 % full", "`log.sizes.claims`");
        let fewer = Store { replicas: 1, ..store("SB_main_IN", 0) };
        judged(&of(fewer), Level::Warning, "keeps 1 copy, and `log.replicas` is 3", "--replicas");
        let behind = Store { behind: vec!["b".into()], ..store("SB_main_IN", 0) };
        judged(&of(behind), Level::Warning, "the copy on b is not up to date", "run and reach");
    }

    #[test]
    fn the_machine_s_limits_are_held_against_what_is_used() {
        let with = |change: &dyn Fn(&mut Machine)| {
            let mut s = status();
            change(&mut s.machine);
            machine(&s)
        };
        judged(&with(&|m| m.max_open_files = Some(1024)), Level::Warning, "1024 files", "LimitNOFILE");
        judged(
            &with(&|m| (m.open_files, m.max_open_files) = (Some(900), Some(1024))),
            Level::Fault,
            "900 of 1024",
            "LimitNOFILE",
        );
        judged(&with(&|m| m.memory = Some(900 << 20)), Level::Warning, "900 MiB of 1.0 GiB", "MemoryMax");
        judged(&with(&|m| m.memory = Some(1020 << 20)), Level::Fault, "1020 MiB", "killed");
        judged(&with(&|m| m.clock_synchronised = Some(false)), Level::Warning, "no time server", "timedatectl");
        assert!(with(&|m| *m = Machine::default()).is_empty(), "what cannot be known is not judged");
    }

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3.5\nab_total 9\n";
        assert_eq!(metric(text, "a_total"), Some(5.5));
        assert_eq!(metric(text, "b_total"), None);
        judged(&counted("switchboard_duplicates_forgotten_total 7\n"), Level::Warning, "7 ids", "limits.duplicates");
    }
}
