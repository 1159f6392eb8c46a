use super::screen::Screen;
use super::{ConfigArg, Done, Failure};
use crate::config::{self, Config, Environment, Inspected, Problem as ConfigProblem, Severity};
use crate::packs::{self, PackError};
use switchboard_routing_rules::pack::{Environment as PackEnvironment, Problem};

/// Configuration and pack, all problems at once, and what would run.
pub(crate) fn run(at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
    let found = look(at, env);
    let lines = found.problems.iter().map(|p| p.to_string());
    let lines: Vec<String> = lines.chain(found.pack_lines()).collect();
    lines.iter().for_each(|line| screen.err(line));
    let (errors, warnings) = (found.errors(), found.warnings());
    if errors > 0 {
        return Err(Failure::Failed(counted(errors, warnings)));
    }
    screen.out(&found.summary.join("\n"));
    if !found.pack.failing.is_empty() {
        let failing = found.pack.failing.len();
        let (tests, fail) = (count(failing, "test"), if failing == 1 { "fails" } else { "fail" });
        return Err(Failure::Failed(format!(
            "{tests} of the rule pack {fail}: `rules reload` would refuse it without --force"
        )));
    }
    screen.out(&if warnings == 0 { "ok".to_owned() } else { format!("ok, with {}", count(warnings, "warning")) });
    Ok(())
}

/// What is found in configuration and pack.
#[derive(Default)]
pub(super) struct Found {
    pub problems: Vec<ConfigProblem>,
    pub pack: Pack,
    /// What would run.
    pub summary: Vec<String>,
    /// As far as it could be understood.
    pub config: Option<Config>,
}

impl Found {
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|p| p.severity == Severity::Error).count() + self.pack.errors.len()
    }

    pub fn warnings(&self) -> usize {
        self.problems.iter().filter(|p| p.severity == Severity::Warning).count() + self.pack.warnings.len()
    }

    fn pack_lines(&self) -> impl Iterator<Item = String> {
        self.pack.errors.iter().chain(&self.pack.warnings).chain(&self.pack.failing).cloned()
    }
}

/// Looks at both.
pub(super) fn look(at: &ConfigArg, env: &Environment) -> Found {
    let inspected = match config::inspect(at.config.as_deref(), env) {
        Ok(inspected) => inspected,
        Err(e) => return Found { problems: e.problems, ..Found::default() },
    };
    let mut found = Found { summary: vec![format!("configuration: {}", inspected.source)], ..Found::default() };
    if let Some(config) = &inspected.config {
        found.pack = pack(config, &known(&inspected, config));
        found.summary.extend(configured(config));
        found.summary.extend(found.pack.lines.iter().cloned());
    }
    Found { problems: inspected.problems, config: inspected.config, ..found }
}

/// What a pack may name. While the configuration has errors, the kinds of its channels are not known: one of which something is
/// wrong is not among them, and a rule that names it is not wrong for that.
pub(super) fn known(inspected: &Inspected, config: &Config) -> PackEnvironment {
    match inspected.errors() {
        0 => packs::environment(config),
        _ => PackEnvironment { desks: inspected.desks.clone(), ..PackEnvironment::default() },
    }
}

/// What there is to say of a pack. One without errors could be put in force.
#[derive(Default)]
pub(super) struct Pack {
    pub errors: Vec<String>,
    /// What it holds.
    lines: Vec<String>,
    pub warnings: Vec<String>,
    /// Its tests that fail, a line each.
    pub failing: Vec<String>,
}

/// What the pack holds with its warnings, or its errors.
fn pack(config: &Config, known: &PackEnvironment) -> Pack {
    let directory = config.rules.as_ref();
    if directory.is_some_and(|d| !d.is_dir()) {
        // Said already, with the place in the configuration.
        return Pack::default();
    }
    let read = match packs::load(&packs::Source::of(config.rules.clone()), known) {
        Ok(read) => read,
        Err(PackError::Problems(unusable)) => {
            let errors = unusable.problems.iter().map(ToString::to_string).collect();
            return Pack { errors, warnings: unusable.warnings.iter().map(warning).collect(), ..Pack::default() };
        }
        Err(other) => return Pack { errors: vec![other.to_string()], ..Pack::default() },
    };
    let p = &read.pack;
    let wrong = |(id, agent): (&str, &str)| {
        format!("{}: `admin.tokens.{id}.agent`: the rule pack has no agent `{agent}`", config.source)
    };
    let errors = packs::unknown_agents(config, p).into_iter().map(wrong).collect();
    let from = directory.map_or_else(|| "compiled in".to_owned(), |d| d.display().to_string());
    let held = [
        count(p.rules().count(), "rule"),
        count(p.queues().len(), "queue"),
        count(p.agents().len(), "agent"),
        count(read.tests.len(), "test"),
    ];
    let failing = packs::failing(&packs::Source::of(config.rules.clone()), &read);
    let line = format!("rules: {from}: {}, hash {}", held.join(", "), short(p.hash()));
    Pack { errors, lines: vec![line], warnings: read.warnings.iter().map(warning).collect(), failing }
}

/// A warning of a pack as one line.
pub(super) fn warning(w: &Problem) -> String {
    format!("{}:{}:{}: warning: {}; {}", w.file, w.line, w.column, w.message, w.hint)
}

fn configured(config: &Config) -> Vec<String> {
    let mut lines = vec![
        format!("workspace: {}, {}", config.workspace, log_of(config)),
        format!(
            "public listener: {}{}",
            config.http.listen,
            config.http.public_url.as_deref().map(|u| format!(", called {u}")).unwrap_or_default()
        ),
        format!("admin listener: {}, {}", config.admin.listen, count(config.admin.tokens.len(), "token")),
    ];
    for (id, channel) in &config.channels {
        let off = if channel.enabled { "" } else { ", not enabled" };
        lines.push(format!("channel {id}: {}{off}", channel.kind.name()));
    }
    for (id, desk) in &config.desks {
        let off = if desk.enabled { "" } else { ", not enabled" };
        lines.push(format!("desk {id}: {}{off}", desk.kind.name()));
    }
    lines
}

fn log_of(config: &Config) -> String {
    let path = config.log.path.display();
    match &config.log.nats {
        None => format!("embedded log in {path}"),
        Some(nats) => {
            let copies = count(nats.replicas as usize, "replica");
            format!("log on nats at {}, {copies}, data in {path}", nats.servers.join(", "))
        }
    }
}

/// The first twelve letters of a hash, as the console shows it.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

pub(super) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn counted(errors: usize, warnings: usize) -> String {
    let also = if warnings > 0 { format!(" and {}", count(warnings, "warning")) } else { String::new() };
    format!("{}{also}; nothing would start", count(errors, "error"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn check(name: &str, text: &str, env: &Environment) -> (Done, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let path: PathBuf = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        let pack = dir.path().join("pack");
        std::fs::create_dir(&pack).expect("made");
        std::fs::write(
            pack.join("pack.yaml"),
            "queues: { everyone: {} }\nrules:\n  - name: A\n    when: { texxt: hi }\n    then: { queue: nowhere }\n",
        )
        .expect("written");
        let mut screen = Screen::of_test(None);
        let done = run(&ConfigArg { config: Some(path) }, env, &mut screen);
        (done, screen.kept.unwrap_or_default())
    }

    #[test]
    fn configuration_and_pack_are_reported_together() {
        let text = "[rules]\npath = \"pack\"\n[channels.broken]\nkind = \"sms\"\nprovider = \"nobody\"\nauth_token = \"s3cr3t-value\"\n";
        let (done, said) = check("switchboard.toml", text, &Environment::default());
        assert!(matches!(done, Err(Failure::Failed(_))));
        for part in ["switchboard.toml:5:12", "nobody", "pack/pack.yaml:4:", "texxt", "nowhere", "default"] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        assert!(!said.contains("s3cr3t-value"));
    }

    #[test]
    fn a_desk_that_is_not_configured_and_warnings_are_told_beside_errors_of_both() {
        let dir = tempfile::tempdir().expect("a directory");
        let pack = dir.path().join("pack");
        std::fs::create_dir(&pack).expect("made");
        let text = "zone: UTC\nqueues: { everyone: {}, books: { skills: [accounting] } }\nagents: { ann: { skills: [french], desks: { crm: a, \
                    taem: b } } }\ndefault: { queue: nowhere }\n";
        std::fs::write(pack.join("pack.yaml"), text).expect("written");
        let path = dir.path().join("switchboard.toml");
        // The desk is there, whatever is wrong with it.
        let text = "[rules]\npath = \"pack\"\n[desks.crm]\nkind = \"webhook\"\nurll = \"https://a.example\"\n";
        std::fs::write(&path, text).expect("written");
        let mut screen = Screen::of_test(None);
        let done = run(&ConfigArg { config: Some(path) }, &Environment::default(), &mut screen);
        let said = screen.kept.unwrap_or_default();
        for part in [
            "unknown key `desks.crm.urll`",
            "there is no queue `nowhere`",
            "there is no desk `taem`",
            "warning: the queue `books` wants `accounting`",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        assert!(!said.contains("no desk `crm`"), "{said}");
        assert!(matches!(&done, Err(Failure::Failed(m)) if m.contains("and 1 warning")), "{done:?} {said}");
    }

    #[test]
    fn a_pack_whose_own_tests_fail_is_said_with_the_place_of_the_test() {
        let dir = tempfile::tempdir().expect("a directory");
        let pack = dir.path().join("pack");
        std::fs::create_dir(&pack).expect("made");
        let write = |name: &str, text: &str| std::fs::write(pack.join(name), text).expect("written");
        write("pack.yaml", "queues: { everyone: {}, billing: {} }\ndefault: { queue: everyone }\n");
        let test = "tests:\n  - name: Wrong\n    message: { kind: sms, text: hi }\n    expect: { queue: billing }\n";
        write("a_test.yaml", test);
        let path = dir.path().join("switchboard.toml");
        std::fs::write(&path, "[rules]\npath = \"pack\"\n[channels.site]\nkind = \"webchat\"\n").expect("written");
        let mut screen = Screen::of_test(None);
        let done = run(&ConfigArg { config: Some(path) }, &Environment::default(), &mut screen);
        let said = screen.kept.unwrap_or_default();
        assert!(matches!(&done, Err(Failure::Failed(m)) if m.contains("1 test of the rule pack fails: ")), "{done:?}");
        assert!(
            said.contains("a_test.yaml:2:") && said.contains("“Wrong”") && !said.contains("nothing would start"),
            "{said}"
        );
    }

    #[test]
    fn the_quickstart_is_good_and_the_summary_says_what_would_run() {
        let (done, said) = check("switchboard.toml", config::QUICKSTART, &Environment::default());
        assert_eq!(done, Ok(()), "{said}");
        for part in [
            "workspace: main",
            "127.0.0.1:8080",
            "127.0.0.1:8081",
            "channel site: webchat",
            "rules: compiled in: 1 rule, 1 queue, 1 agent, 3 tests",
            "\nok\n",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }

    #[test]
    fn a_token_for_an_agent_that_the_pack_lacks_is_an_error() {
        let text = "[admin.tokens.ann]\ntoken = { env = \"T\" }\nscopes = [\"agent\"]\nagent = \"ann\"\n";
        let env: Environment = [("T", "0123456789abcdef")].into_iter().collect();
        let (done, said) = check("switchboard.toml", text, &env);
        assert!(done.is_err() && said.contains("the rule pack has no agent `ann`"), "{said}");
    }
}
