//! Judging what is on this machine: configuration, rule pack, data directory, and the store of a daemon that is stopped.

use super::daemon::room;
use super::finding::{Finding, Level, size};
use crate::cli::check::Found;
use crate::cli::screen::relative;
use crate::config::{Config, Environment, Severity, Source};
use crate::log::sqlite::look::{self, Store};
use std::path::Path;
use switchboard_envelope::Timestamp;

/// Lines of one kind that are shown; `check` shows all.
const SHOWN: usize = 5;
/// How long a broker may take to answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// What is known of the daemon beside the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Daemon {
    Down,
    /// It answers, and was started then, as far as it tells.
    Up(Option<Timestamp>),
}

/// What `check` says, and whether the daemon runs with what is on disk, which was written `at`.
pub(super) fn configuration(found: &Found, at: Option<Timestamp>, daemon: Daemon, now: Timestamp) -> Vec<Finding> {
    let changed = match (daemon, at) {
        (Daemon::Up(Some(started)), Some(at)) if at > started => Some(at),
        _ => None,
    };
    // A daemon that was started with this file could read what this user perhaps cannot, such as a secret of its own.
    let proved = matches!(daemon, Daemon::Up(_)) && changed.is_none();
    let mut told = vec![];
    let problems = |severity| found.problems.iter().filter(move |p| p.severity == severity).map(ToString::to_string);
    let level = if proved { Level::Warning } else { Level::Fault };
    let todo = if proved {
        "the daemon runs with it: if only this user cannot read a secret, ask as the daemon's; else mend it before a restart"
    } else {
        "mend it: nothing would start"
    };
    some(&mut told, level, "configuration", Some(todo), problems(Severity::Error).collect());
    let level = if matches!(daemon, Daemon::Down) { Level::Fault } else { Level::Warning };
    let todo = "mend it: no start and no reload would take it";
    some(&mut told, level, "rules", Some(todo), found.pack.errors.clone());
    let todo = "mend the pack or its test: a reload refuses it without --force";
    some(&mut told, Level::Warning, "rules", Some(todo), found.pack.failing.clone());
    some(&mut told, Level::Warning, "configuration", None, problems(Severity::Warning).map(|p| unmarked(&p)).collect());
    some(&mut told, Level::Warning, "rules", None, found.pack.warnings.iter().map(|w| unmarked(w)).collect());
    if let Some(at) = changed {
        told.push(Finding::warning(
            "configuration",
            format!("was changed {}, after the daemon was started", relative(at, now)),
            "restart the daemon to put it in force (`systemctl restart switchboard`); a reload reads the rules only",
        ));
    }
    if let Some(config) = found.config.as_ref().filter(|_| told.iter().all(|f| f.level == Level::Well)) {
        told.push(Finding::well("configuration", format!("{}, with its rules: nothing is wrong", config.source)));
    }
    told
}

/// The first few, and how many more there are.
fn some(told: &mut Vec<Finding>, level: Level, about: &str, then: Option<&str>, lines: Vec<String>) {
    let more = lines.len().saturating_sub(SHOWN);
    for line in lines.into_iter().take(SHOWN) {
        told.push(Finding { level, about: about.to_owned(), seen: line, then: then.map(str::to_owned) });
    }
    if more > 0 {
        let then = Some("`switchboard check` shows all".to_owned());
        told.push(Finding { level, about: about.to_owned(), seen: format!("{more} more of these"), then });
    }
}

/// The level stands in front already.
fn unmarked(line: &str) -> String {
    line.replacen(" warning: ", " ", 1)
}

/// When a configuration was written, where it is a file.
pub(super) fn written(config: &Config) -> Option<Timestamp> {
    let Source::File(path) = &config.source else { return None };
    let at = std::fs::metadata(path).ok()?.modified().ok()?;
    jiff::Timestamp::try_from(at).ok().map(Timestamp::from_jiff)
}

/// Whether what this machine has is that of the daemon that is asked: not where somebody named only its address.
pub(super) fn is_its(found: &Found, env: &Environment) -> bool {
    let elsewhere = env.get("SWITCHBOARD_URL").ok().flatten().is_some_and(|url| !url.is_empty());
    let written = found.config.as_ref().is_none_or(|config| !config.is_quickstart());
    !elsewhere || written
}

/// An entry of the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: String,
    pub owner: u32,
    pub mode: u32,
    pub is_folder: bool,
}

/// Folders that the daemon has in its directory; others are somebody else's, such as backups, or `lost+found` of a disk.
const FOLDERS: [&str; 4] = ["blobs", "snapshots", "unfinished", "restoring"];

/// Whose the data is: the directory's owner's, but where that is root, as of a volume, of who has most of what is in it.
fn owner_of(own: &Entry, within: &[&Entry]) -> u32 {
    let count = |owner: u32| within.iter().filter(|e| e.owner == owner).count();
    let most = within.iter().map(|e| e.owner).max_by_key(|owner| count(*owner));
    match most.filter(|_| own.owner == 0) {
        Some(most) if count(most) > count(0) => most,
        _ => own.owner,
    }
}

/// A data directory and what is directly in it, as far as this user may look.
#[cfg(unix)]
pub(super) fn entries(dir: &Path) -> std::io::Result<(Entry, Vec<Entry>)> {
    use std::os::unix::fs::MetadataExt as _;
    let entry = |path: &Path, name: String| {
        let meta = std::fs::symlink_metadata(path)?;
        let (owner, mode, is_folder) = (meta.uid(), meta.mode() & 0o777, meta.is_dir());
        Ok::<Entry, std::io::Error>(Entry { name, owner, mode, is_folder })
    };
    // The directory that a link leads to counts.
    let real = std::fs::canonicalize(dir)?;
    let own = entry(&real, dir.display().to_string())?;
    let mut within = vec![];
    for found in std::fs::read_dir(&real)? {
        let found = found?;
        // What was there a moment ago may be gone.
        within.extend(entry(&found.path(), found.file_name().to_string_lossy().into_owned()));
    }
    within.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((own, within))
}

/// Who may read the data, and whether all of it is the daemon's.
pub(super) fn directory(own: &Entry, within: &[Entry], down: bool) -> Vec<Finding> {
    let mut found = vec![];
    let dir = &own.name;
    let of_daemon: Vec<&Entry> = within.iter().filter(|e| !e.is_folder || FOLDERS.contains(&e.name.as_str())).collect();
    let owner = owner_of(own, &of_daemon);
    // The daemon comes into a directory of root's by its group, or as everybody does.
    let by_group = own.owner != owner;
    if by_group && own.mode & 0o077 == 0 {
        found.push(Finding::fault(
            "data",
            format!("{dir} is of user {}, and lets nobody else in, while what is in it is of user {owner}", own.owner),
            format!("`chown {owner} {dir}`, or the daemon cannot come to its data"),
        ));
    } else if by_group && own.mode & 0o007 != 0 {
        found.push(Finding::warning(
            "data",
            format!("everybody may enter {dir} (mode {:o}), where customers' messages and the token are", own.mode),
            format!("give it to the daemon alone: `chown {owner} {dir} && chmod 700 {dir}`, or mount its volume so"),
        ));
    } else if !by_group && own.mode & 0o077 != 0 {
        found.push(Finding::warning(
            "data",
            format!(
                "others than its owner may enter {dir} (mode {:o}), where customers' messages and the token are",
                own.mode
            ),
            format!("`chmod 700 {dir}`"),
        ));
    }
    let foreign: Vec<&str> =
        of_daemon.iter().filter(|e| e.owner != owner).map(|e| e.name.as_str()).take(SHOWN).collect();
    if !foreign.is_empty() {
        let paths: Vec<String> = foreign.iter().map(|name| format!("{dir}/{name}")).collect();
        found.push(Finding {
            // A daemon that runs can write what it needs by now.
            level: if down { Level::Fault } else { Level::Warning },
            about: "data".into(),
            seen: format!(
                "{} in {dir} {} not of user {owner}, whose the data is",
                foreign.join(", "),
                are(foreign.len())
            ),
            then: Some(format!("`chown -R {owner} {}`, or the daemon cannot write there", paths.join(" "))),
        });
    }
    let token = within.iter().find(|e| e.name == "admin.token" && e.mode & 0o077 != 0);
    if let Some(token) = token.filter(|_| own.mode & 0o077 != 0) {
        found.push(Finding::fault(
            "data",
            format!("others may read the token of the daemon, {dir}/admin.token (mode {:o})", token.mode),
            format!("`chmod 600 {dir}/admin.token`; make another by removing it and restarting the daemon"),
        ));
    }
    if found.is_empty() {
        let alone = if by_group { "" } else { " alone" };
        found.push(Finding::well("data", format!("{dir}, of user {owner}{alone}")));
    }
    found
}

fn are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

/// What can be said of the store while no daemon answers.
pub(super) fn store(found: &Store, dir: &Path) -> Finding {
    let dir = dir.display();
    match found {
        Store::Absent => Finding::told(
            Level::Warning,
            "data",
            format!("there is no log in {dir}: no daemon has run with this configuration, or its data is elsewhere"),
        ),
        Store::Whole { bytes } => Finding::well("data", format!("the log in {dir} is whole ({})", size(*bytes))),
        Store::Damaged(why) => Finding::fault(
            "data",
            format!("the log in {dir} is damaged: {why}"),
            "start nothing; copy the directory as it is, see the disk, and restore the newest backup with `switchboard restore`: \
             docs/operators/deploy.md",
        ),
        Store::Unfolded { bytes } => Finding::told(
            Level::Warning,
            "data",
            format!(
                "the log in {dir} was not looked into: a process uses it, or one that did was killed ({} are in its write-ahead log, \
                 which the next start takes in)",
                size(*bytes)
            ),
        ),
        Store::Unread(why) => Finding::warning(
            "data",
            format!("the log in {dir} cannot be looked at: {why}"),
            "ask as the user of the daemon, or as root",
        ),
    }
}

/// The data directory, and with the daemon down everything that can be known without it.
pub(super) async fn data(config: &Config, down: bool, tell: &mut dyn FnMut(&str)) -> Vec<Finding> {
    let dir = config.log.path.clone();
    let mut found = vec![];
    #[cfg(unix)]
    match entries(&dir) {
        Ok((own, within)) => found.extend(directory(&own, &within, down)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => found.push(Finding::warning(
            "data",
            format!("{} cannot be looked at: {e}", dir.display()),
            "ask as the user of the daemon, or as root",
        )),
    }
    if !down {
        return found;
    }
    if let Some((free, whole)) = crate::machine::disk(&dir) {
        found.extend(room(free, whole, 0));
    }
    let Some(nats) = &config.log.nats else {
        let bytes = look::to_read(&dir);
        if bytes > LONG {
            tell(&format!("reading the log, {}", size(bytes)));
        }
        let path = dir.clone();
        let looked = tokio::task::spawn_blocking(move || look::look(&path)).await;
        found.push(store(&looked.unwrap_or_else(|e| Store::Unread(e.to_string())), &dir));
        return found;
    };
    for server in &nats.servers {
        found.push(broker(server, reached(server).await));
    }
    found
}

/// What is said before a look that takes a while.
const LONG: u64 = 256 << 20;

/// Whether a port of a broker is open from here.
async fn reached(server: &str) -> Result<(), String> {
    let url =
        url::Url::parse(server).or_else(|_| url::Url::parse(&format!("nats://{server}"))).map_err(|e| e.to_string())?;
    let host = url.host_str().ok_or("it has no host")?.trim_matches(['[', ']']).to_owned();
    let asked = tokio::net::TcpStream::connect((host, url.port().unwrap_or(4222)));
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

fn broker(server: &str, reached: Result<(), String>) -> Finding {
    // A password that somebody put into the address is not repeated.
    let server = server.rsplit('@').next().unwrap_or_default();
    match reached {
        Ok(()) => Finding::well("log", format!("the broker at {server} can be reached from here")),
        Err(why) => Finding::fault(
            "log",
            format!("the broker at {server} cannot be reached from here: {why}"),
            "start nats-server, or change `log.servers`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Place, Problem};
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp(1_795_219_200_000);

    fn found(severities: &[Severity]) -> Found {
        let place = Place::Whole(Arc::new("switchboard.toml".into()));
        let problem =
            |severity: &Severity| Problem { place: place.clone(), severity: *severity, message: "`x` is wrong".into() };
        Found {
            problems: severities.iter().map(problem).collect(),
            config: crate::config::from_text(crate::config::QUICKSTART, Source::Quickstart, &Environment::default())
                .ok(),
            ..Found::default()
        }
    }

    #[test]
    fn what_check_says_is_a_fault_unless_a_daemon_proves_that_it_can_be_read() {
        let up = Daemon::Up(Some(NOW));
        let told = configuration(&found(&[]), None, up, NOW);
        assert_eq!((told.len(), told[0].level), (1, Level::Well));
        let level = |daemon, at| configuration(&found(&[Severity::Error]), at, daemon, NOW)[0].level;
        assert_eq!(level(Daemon::Down, None), Level::Fault);
        assert_eq!(level(up, Some(NOW.plus(-1))), Level::Warning, "the daemon was started with it");
        assert_eq!(level(up, Some(NOW.plus(1))), Level::Fault, "it was changed since");
        let told = configuration(&found(&[Severity::Warning; 7]), None, up, NOW);
        assert_eq!(told.len(), 6);
        assert_eq!(told[0].seen, "switchboard.toml: `x` is wrong");
        assert_eq!(told[5].seen, "2 more of these");
    }

    #[test]
    fn a_configuration_that_was_changed_after_the_start_is_not_in_force() {
        let told = configuration(&found(&[]), Some(NOW.plus(-60_000)), Daemon::Up(Some(NOW.plus(-120_000))), NOW);
        assert_eq!((told.len(), told[0].level), (1, Level::Warning));
        assert!(
            told[0].seen.contains("was changed 1m ago")
                && told[0].then.as_deref().unwrap_or_default().contains("restart")
        );
    }

    #[test]
    fn a_pack_with_errors_keeps_a_daemon_from_starting_and_not_from_running() {
        let mut broken = found(&[]);
        broken.pack.errors = vec!["pack.yaml:4:1: there is no queue `nowhere`".into()];
        assert_eq!(configuration(&broken, None, Daemon::Down, NOW)[0].level, Level::Fault);
        assert_eq!(configuration(&broken, None, Daemon::Up(None), NOW)[0].level, Level::Warning);
    }

    #[test]
    fn the_data_is_its_owners_alone() {
        let entry = |name: &str, owner, mode| Entry { name: name.into(), owner, mode, is_folder: false };
        let directory = |own: &Entry, within: &[Entry]| directory(own, within, true);
        let dir = |mode| entry("/var/lib/switchboard", 998, mode);
        let good = [entry("admin.token", 998, 0o600), entry("log.db", 998, 0o600)];
        let told = directory(&dir(0o700), &good);
        assert_eq!((told.len(), told[0].level), (1, Level::Well));
        let told = directory(&dir(0o755), &good);
        assert!(
            told[0].level == Level::Warning && told[0].then.as_deref() == Some("`chmod 700 /var/lib/switchboard`"),
            "{told:?}"
        );
        let told = directory(&dir(0o700), &[entry("history.db", 0, 0o600), good[1].clone()]);
        assert!(told[0].level == Level::Fault && told[0].seen.starts_with("history.db in"), "{told:?}");
        assert_eq!(
            told[0].then.as_deref(),
            Some("`chown -R 998 /var/lib/switchboard/history.db`, or the daemon cannot write there")
        );
        let running = super::directory(&dir(0o700), &[entry("history.db", 0, 0o600), good[1].clone()], false);
        assert_eq!(running[0].level, Level::Warning, "it can be written to, or would not run");
        let told = directory(&dir(0o755), &[entry("admin.token", 998, 0o644)]);
        assert!(told.iter().any(|f| f.level == Level::Fault && f.seen.contains("admin.token (mode 644)")), "{told:?}");
        let behind_a_door = directory(&dir(0o700), &[entry("admin.token", 998, 0o644)]);
        assert_eq!(behind_a_door[0].level, Level::Well, "nobody else comes to it");
    }

    #[test]
    fn a_volume_of_roots_and_folders_of_somebody_else_are_no_reason_to_lock_the_daemon_out() {
        let entry = |name: &str, owner, mode, is_folder| Entry { name: name.into(), owner, mode, is_folder };
        let volume = |mode| entry("/data", 0, mode, true);
        let mut within = vec![
            entry("admin.token", 1000, 0o600, false),
            entry("backups", 0, 0o700, true),
            entry("blobs", 1000, 0o700, true),
            entry("log.db", 1000, 0o600, false),
            entry("lost+found", 0, 0o700, true),
        ];
        for down in [true, false] {
            let told = directory(&volume(0o775), &within, down);
            assert!(told[0].level == Level::Warning || told[0].level == Level::Well, "{told:?}");
            assert!(!told.iter().any(|f| f.then.as_deref().unwrap_or_default().contains("chown -R")), "{told:?}");
            let told = directory(&volume(0o770), &within, down);
            assert_eq!(told, [Finding::well("data", "/data, of user 1000".to_owned())]);
        }
        let told = directory(&volume(0o700), &within, true);
        assert!(told[0].level == Level::Fault && told[0].seen.contains("lets nobody else in"), "{told:?}");
        within.push(entry("history.db", 0, 0o600, false));
        let told = directory(&volume(0o770), &within, true);
        assert!(told[0].level == Level::Fault && told[0].seen.starts_with("history.db in /data is"), "{told:?}");
        assert!(
            told[0].then.as_deref().unwrap_or_default().starts_with("`chown -R 1000 /data/history.db`"),
            "{told:?}"
        );
        // A daemon of root's is at home in it.
        let told = directory(&volume(0o700), &[entry("log.db", 0, 0o600, false)], true);
        assert_eq!(told, [Finding::well("data", "/data, of user 0 alone".to_owned())]);
        // What root made in a directory of the daemon's it cannot write.
        let told = directory(&entry("/data", 998, 0o700, true), &[entry("log.db", 0, 0o600, false)], true);
        assert!(told[0].then.as_deref().unwrap_or_default().starts_with("`chown -R 998 /data/log.db`"), "{told:?}");
    }

    #[test]
    fn the_store_of_a_stopped_daemon_is_whole_damaged_or_in_use() {
        let of = |found: Store| store(&found, Path::new("/data"));
        assert_eq!(of(Store::Whole { bytes: 3 << 20 }), Finding::well("data", "the log in /data is whole (3.0 MiB)"));
        let damaged = of(Store::Damaged("Tree 4 page 9: btreeInitPage() returns error code 11".into()));
        assert!(
            damaged.level == Level::Fault && damaged.then.as_deref().unwrap_or_default().contains("copy the directory")
        );
        assert_eq!(of(Store::Unfolded { bytes: 4096 }).level, Level::Warning);
        assert_eq!(of(Store::Absent).level, Level::Warning);
        assert_eq!(of(Store::Unread("permission denied".into())).level, Level::Warning);
    }

    #[tokio::test]
    async fn a_broker_that_nobody_runs_is_a_fault_and_its_password_is_not_repeated() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        assert_eq!(reached(&format!("nats://{address}")).await, Ok(()));
        assert_eq!(reached(&address).await, Ok(()), "without a scheme too");
        drop(listener);
        let told = broker(&format!("nats://ann:s3cr3t@{address}"), reached(&address).await);
        assert!(
            told.level == Level::Fault && !told.seen.contains("s3cr3t") && told.seen.contains(&address),
            "{told:?}"
        );
    }
}
