use super::api::Api;
use super::canary::{self, Canary};
use super::list::{Common, first, lookup, text};
use super::replay::{self, Replay};
use super::screen::{Screen, plain, relative};
use super::table::Table;
use super::{ConfigArg, Done, Failure, check, explain};
use crate::config::{self, Environment, Source};
use crate::packs;
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use switchboard_routing_rules::pack::Environment as PackEnvironment;
use switchboard_routing_rules::trial;

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Run the tests of a rule pack; needs no daemon. Where there is a configuration, its channels are those of the tests
    Test {
        /// The pack's directory; without it the configured pack
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Say why a message was handled as it was, or how one in a file would be
    #[command(group = clap::ArgGroup::new("which").required(true), after_help = EXAMPLE)]
    Explain {
        /// A message's id, a conversation's id, or a file with a `message` envelope
        #[arg(value_name = "ID|FILE", group = "which")]
        what: Option<String>,
        /// The newest message that a customer wrote
        #[arg(long, group = "which")]
        last: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Run what was decided lately through another pack, and show what it would do otherwise; nothing changes
    Replay(Replay),
    /// Read the pack again and put it in force; a bad one, or one whose tests fail, leaves the running one in force
    Reload {
        /// Also when tests of the pack fail
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Try another pack on a share of the new conversations, and show how both do; without an option, the latest trial
    Canary(Canary),
    /// Take back the latest change: end the trial of a pack, else put the pack of before in force again; twice is back where it
    /// began, for then that is the pack of before
    Rollback {
        /// Put this earlier pack in force instead: its hash as `rules history` shows it
        #[arg(long, value_name = "HASH", value_parser = super::list::id)]
        to: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// List the packs that were in force, the newest first
    History(Common),
}

/// What a pack is that was taken back.
const AGAIN: &str = "in force again";

const EXAMPLE: &str = concat!(
    "A file needs no daemon: it holds one envelope as adapters make them (`switchboard schema envelope`), and is asked of the\n\
     configured pack as the first message of its conversation. This one works as it is (docs/message.json):\n\n",
    include_str!("../../docs/message.json")
);

pub(crate) async fn run(command: Rules, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
    match command {
        Rules::Test { directory: Some(directory) } => {
            test(&packs::Source::Path(directory), &channels(at, env, screen)?, screen)
        }
        Rules::Test { directory: None } => {
            let config = explain::configured(at, env)?;
            test(&packs::Source::of(config.rules), &channels(at, env, screen)?, screen)
        }
        Rules::Replay(replay) => {
            let known = channels(at, env, screen)?;
            replay::run(replay, &known, at, env, screen).await
        }
        Rules::Explain { what, last, common } => why(what.filter(|_| !last), &common, at, env, screen).await,
        Rules::Reload { force, common } => {
            let body = if force { json!({ "force": true }) } else { json!({}) };
            change(&common, "reload", body, "in force", at, env, screen).await
        }
        Rules::Canary(canary) => canary::run(canary, at, env, screen).await,
        Rules::Rollback { to, common } => {
            let body = to.map_or_else(|| json!({}), |to| json!({ "to": to }));
            change(&common, "rollback", body, AGAIN, at, env, screen).await?;
            // It is in force, whatever comes of this look.
            let rules = Api::open(at, env)?.get("/rules").await;
            if let Some(said) = rules.ok().as_ref().and_then(other_on_disk) {
                screen.err(&said);
            }
            Ok(())
        }
        Rules::History(common) => history(&common, at, env, screen).await,
    }
}

async fn why(what: Option<String>, common: &Common, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
    if let Some(path) = what.as_deref().map(Path::new).filter(|p| p.is_file()) {
        let config = explain::configured(at, env)?;
        return explain::of_file(path, &config, common.json, screen);
    }
    let missing = what.clone().filter(|w| w.contains(['.', '/']));
    if let Some(file) = missing {
        return Err(Failure::Failed(format!(
            "there is no file `{file}`, and no message or conversation has such an id"
        )));
    }
    let api = Api::open(at, env)?;
    explain::of(&api, what.as_deref().unwrap_or(explain::LAST), common.json, screen).await
}

async fn change(
    common: &Common,
    action: &str,
    body: Value,
    said: &str,
    at: &ConfigArg,
    env: &Environment,
    screen: &mut Screen,
) -> Done {
    let answer =
        Api::open(at, env)?.under(common.idempotency_key.as_deref()).post(&format!("/rules/{action}"), body).await?;
    if common.json {
        screen.out(&super::screen::json(&answer));
        return Ok(());
    }
    tell(&answer, said, screen);
    Ok(())
}

/// What a reload would do now, where the pack on disk is not the one that decides.
fn other_on_disk(rules: &Value) -> Option<String> {
    let mend = "change the files before the next `rules reload` or `systemctl reload`";
    match (lookup(rules, "on_disk").as_str(), text(rules, "hash")) {
        (Some(on_disk), hash) if on_disk != hash => Some(format!(
            "on disk is still pack {}, which a reload would put in force again: {mend}",
            check::short(on_disk)
        )),
        (None, _) => Some(format!("the pack on disk has errors, which `switchboard check` tells: {mend}")),
        _ => None,
    }
}

/// The packs that were in force.
async fn history(common: &Common, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
    let rules = Api::open(at, env)?.get("/rules").await?;
    let rows = lookup(&rules, "history").clone();
    if common.json {
        screen.out(&super::screen::json(&json!({ "history": rows })));
        return Ok(());
    }
    let mut table = Table::new(&["PACK", "IN FORCE SINCE", ""]);
    for (n, row) in rows.as_array().into_iter().flatten().enumerate() {
        let since = text(row, "since");
        let ago = since.parse().map(|at| relative(at, screen.now)).unwrap_or_default();
        let now = if n == 0 { "decides now".to_owned() } else { String::new() };
        table.row(vec![check::short(&text(row, "hash")).to_owned(), format!("{since} ({ago})"), now]);
    }
    let rendered = table.render(screen.width);
    screen.out(&rendered);
    Ok(())
}

/// What a pack was taken in spite of.
pub(super) fn tell_warnings(answer: &Value, screen: &mut Screen) {
    for warning in lookup(answer, "warnings").as_array().into_iter().flatten().filter_map(Value::as_str) {
        screen.err(&format!("warning: {}", plain(warning)));
    }
}

fn tell(answer: &Value, said: &str, screen: &mut Screen) {
    tell_warnings(answer, screen);
    let ended = first(answer, &["ended"]);
    if !ended.is_empty() {
        screen.out(&format!("the trial of pack {} has ended", check::short(&ended)));
    }
    let hash = first(answer, &["hash", "pack"]);
    let pack = if hash.is_empty() { "the pack of before".to_owned() } else { format!("pack {}", check::short(&hash)) };
    let unchanged = lookup(answer, "changed").as_bool() == Some(false);
    let said = match said {
        _ if unchanged => "in force already: the files have not changed",
        // A trial is taken back without a change of the other pack.
        AGAIN if !ended.is_empty() => "in force, as it was",
        said => said,
    };
    screen.out(&format!("{pack} is {said}"));
    let tried = first(answer, &["tried"]);
    if !tried.is_empty() {
        let tried = check::short(&tried);
        screen.out(&format!(
            "pack {tried} is tried beside it: `rules canary --stop` ends that, `--promote` puts it in force"
        ));
    }
}

/// What a pack may name: the channels of the configuration, as `check` and `run` see them. Without one, or while it has
/// errors, any name will do.
fn channels(at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Result<PackEnvironment, Failure> {
    let found = config::inspect(at.config.as_deref(), env).map_err(|e| Failure::Failed(e.to_string()))?;
    if found.source == Source::Quickstart {
        return Ok(PackEnvironment::default());
    }
    if found.errors() > 0 {
        let said = format!("{}: has errors, so the names of channels are not compared with it", found.source);
        screen.err(&format!("{said}; `switchboard check` tells them"));
    }
    Ok(found.config.as_ref().map(|config| check::known(&found, config)).unwrap_or_default())
}

/// Every test of a pack, with what was otherwise than expected.
fn test(source: &packs::Source, known: &PackEnvironment, screen: &mut Screen) -> Done {
    let read = match packs::load(source, known) {
        Ok(read) => read,
        Err(e) => {
            if let packs::PackError::Problems(unusable) = &e {
                unusable.warnings.iter().for_each(|w| screen.err(&check::warning(w)));
            }
            return Err(Failure::Failed(e.to_string()));
        }
    };
    let tests = &read.tests;
    for warning in &read.warnings {
        screen.err(&check::warning(warning));
    }
    let mut wrong = 0;
    for test in tests {
        let verdict = trial::run(&read.pack, test);
        if verdict.passed() {
            screen.out(&format!("ok    {}", test.name));
            continue;
        }
        wrong += 1;
        screen.out(&format!(
            "FAIL  {}  ({}:{}:{})",
            test.name,
            source.name(test.at.file.to_string()),
            test.at.line,
            test.at.column
        ));
        for fault in &verdict.faults {
            screen.out(&format!("      {fault}"));
        }
        explain::of_test(&verdict, screen);
        if test.message.kind.is_empty() {
            let channel = &test.message.channel;
            screen.out(&format!(
                "      without a configuration nothing says of which kind the channel {channel} is, so no rule that asks for \
                 `kind` matches: write `kind` in the test's message too, or name the configuration with `--config`"
            ));
        }
    }
    if wrong > 0 {
        return Err(Failure::Failed(format!("{wrong} of {} failed", check::count(tests.len(), "test"))));
    }
    let none = if tests.is_empty() { "; files that end in _test.yaml hold tests" } else { "" };
    screen.out(&format!("{} passed, pack {}{none}", check::count(tests.len(), "test"), check::short(read.pack.hash())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_packs_pass_their_tests() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("routing-rules/packs");
        let packs: Vec<_> = std::fs::read_dir(shipped).expect("packs").map(|e| e.expect("a pack").path()).collect();
        assert!(packs.len() >= 6, "{packs:?}");
        for directory in packs {
            let mut screen = Screen::of_test(None);
            let done = test(&packs::Source::Path(directory.clone()), &PackEnvironment::default(), &mut screen);
            let said = screen.kept.unwrap_or_default();
            assert_eq!(done, Ok(()), "{said}");
            assert!(said.contains("ok    ") && said.contains("tests passed"), "{said}");
        }
    }

    #[test]
    fn a_wrong_expectation_fails_with_its_place() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(
            dir.path().join("pack.yaml"),
            "queues: { everyone: {}, billing: {} }\ndefault: { queue: everyone }\nrules:\n  - name: Refunds\n    when: { text: \
             refund }\n    then: { queue: billing }\n",
        )
        .expect("written");
        std::fs::write(
            dir.path().join("a_test.yaml"),
            "tests:\n  - name: Wrong\n    message: { kind: sms, text: hi }\n    expect: { queue: billing }\n",
        )
        .expect("written");
        let mut screen = Screen::of_test(None);
        let done = test(&packs::Source::Path(dir.path().into()), &PackEnvironment::default(), &mut screen);
        let said = screen.kept.unwrap_or_default();
        assert_eq!(done, Err(Failure::Failed("1 of 1 test failed".into())));
        assert!(said.contains("FAIL  Wrong") && said.contains("a_test.yaml:2:") && said.contains("everyone"), "{said}");
        assert!(
            said.contains("rules, in order:") && said.contains("- Refunds (pack.yaml:4): text is \"hi\""),
            "{said}"
        );
        assert!(said.contains("it came to: queue everyone, state queued, priority normal"), "{said}");
    }

    #[test]
    fn a_test_of_a_rule_that_follows_up_says_where_it_gave_up_and_that_no_kind_is_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let pack = "queues: { everyone: {} }\nagents: { ann: {} }\ndefault: { queue: everyone }\nrules:\n  - name: \
                    Mails\n    on: closed\n    when: { kind: email }\n    then: { tag: done }\n";
        std::fs::write(dir.path().join("pack.yaml"), pack).expect("written");
        let one = |message: &str| {
            let test = format!(
                "tests:\n  - name: One\n    message: {{ {message}, text: hi }}\n    act: {{ agent: ann, does: close }}\n    \
                 expect: {{ tags: [done] }}\n"
            );
            std::fs::write(dir.path().join("a_test.yaml"), test).expect("written");
            let mut screen = Screen::of_test(None);
            let done = test_of(dir.path(), &mut screen);
            (done.is_ok(), screen.kept.unwrap_or_default())
        };
        let (passed, said) = one("channel: support-email");
        assert!(!passed && said.contains("rules on `closed`, in order:"), "{said}");
        assert!(said.contains("- Mails (pack.yaml:5): kind is ") && said.contains(", not \"email\""), "{said}");
        assert!(said.contains("nothing says of which kind the channel support-email is"), "{said}");
        let (passed, said) = one("kind: sms");
        assert!(!passed && said.contains("kind is \"sms\"") && !said.contains("nothing says"), "{said}");
        assert!(one("channel: support-email, kind: email").0);
    }

    #[test]
    fn a_test_that_expected_another_agent_says_who_was_considered() {
        let dir = tempfile::tempdir().expect("a directory");
        let pack = "queues: { q: { prefer: { french: least } } }\nagents: { ann: { skills: { french: 3 } }, bob: {}, cyn: {} }\ndefault: { \
                    queue: q }\n";
        std::fs::write(dir.path().join("pack.yaml"), pack).expect("written");
        let test = "tests:\n  - name: One\n    message: { kind: sms, text: hi }\n    given: { agents: { ann: {}, bob: {} } }\n    expect: \
                    { agent: ann }\n";
        std::fs::write(dir.path().join("a_test.yaml"), test).expect("written");
        let mut screen = Screen::of_test(None);
        assert!(test_of(dir.path(), &mut screen).is_err());
        let said = screen.kept.unwrap_or_default();
        let considered = "      agents considered:\n      + bob\n      - ann  has more of the skill french, and another agent was \
                          preferred by it\n      - cyn  is offline\n";
        assert!(said.contains(considered), "{said}");
    }

    fn test_of(directory: &Path, screen: &mut Screen) -> Done {
        test(&packs::Source::Path(directory.into()), &PackEnvironment::default(), screen)
    }

    #[test]
    fn what_is_wrong_with_a_pack_and_with_its_tests_is_told_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let pack = "queues: { everyone: { strategy: fewest } }\nagents: { ann: { skills: [french] } }\ndefault: { queue: \
                    everyone }\nrules:\n  - name: A\n    on: clossed\n    when: { text: x }\n    then: { close: true }\n  - name: \
                    B\n    then: { skills: [frensh], reply: none-such }\n";
        std::fs::write(dir.path().join("pack.yaml"), pack).expect("written");
        let one = "tests:\n  - name: One\n    message: { kind: sms, text: hi }\n    act: { agent: annn }\n    expect: { rules: [C] }\n";
        std::fs::write(dir.path().join("a_test.yaml"), one).expect("written");
        let mut screen = Screen::of_test(None);
        let Err(Failure::Failed(said)) = test_of(dir.path(), &mut screen) else { panic!("it was taken") };
        for wrong in [
            "`fewest`",
            "`clossed`",
            "`text` is of a message",
            "`close` is not for a rule that follows up",
            "no agent has the skill `frensh`; did you mean `french`",
            "there is no reply `none-such`",
            "`act` needs either `does`, `tag`, `priority` or `transfer`",
            "there is no agent `annn`",
            "there is no rule `C`",
        ] {
            assert!(said.contains(wrong), "{wrong} is not in {said}");
        }
    }

    /// `check`, `run` and `rules test` judge by the same channels.
    #[tokio::test]
    async fn a_test_that_names_a_channel_which_is_not_configured_is_refused_everywhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let pack = dir.path().join("pack");
        std::fs::create_dir(&pack).expect("made");
        std::fs::write(pack.join("pack.yaml"), "queues: { everyone: {} }\ndefault: { queue: everyone }\n")
            .expect("written");
        let one =
            "tests:\n  - name: One\n    message: { channel: shop-sms, text: hi }\n    expect: { queue: everyone }\n";
        std::fs::write(pack.join("a_test.yaml"), one).expect("written");
        let config = dir.path().join("switchboard.toml");
        std::fs::write(&config, "[rules]\npath = \"pack\"\n[channels.site]\nkind = \"webchat\"\n").expect("written");
        let (at, env) = (ConfigArg { config: Some(config.clone()) }, Environment::default());

        let mut screen = Screen::of_test(None);
        let known = channels(&at, &env, &mut screen).expect("the configuration's channels");
        let Err(Failure::Failed(tested)) = test(&packs::Source::Path(pack.clone()), &known, &mut screen) else {
            panic!("`rules test` took it")
        };
        let mut screen = Screen::of_test(None);
        assert!(check::run(&at, &env, &mut screen).is_err());
        let checked = screen.kept.unwrap_or_default();
        let loaded = config::load(Some(&config), &env).expect("a good configuration");
        let started = packs::load(&packs::Source::of(loaded.rules.clone()), &packs::environment(&loaded));
        let started = started.expect_err("`run` took it").to_string();
        for said in [tested, checked, started] {
            assert!(said.contains("a_test.yaml:3:") && said.contains("shop-sms"), "{said}");
            assert!(said.contains(&pack.display().to_string()), "{said}");
        }

        // It is the configured pack that is tested where none is named.
        let mut screen = Screen::of_test(None);
        let Err(Failure::Failed(same)) = run(Rules::Test { directory: None }, &at, &env, &mut screen).await else {
            panic!("`rules test` took it")
        };
        assert!(same.contains("a_test.yaml:3:") && same.contains("shop-sms"), "{same}");

        // Without a configuration any name will do.
        let mut screen = Screen::of_test(None);
        assert_eq!(test(&packs::Source::Path(pack.clone()), &PackEnvironment::default(), &mut screen), Ok(()));
        // A configuration with errors is no measure.
        std::fs::write(&config, "[channels.site]\nkind = \"webcat\"\n").expect("written");
        let known = channels(&at, &env, &mut screen).expect("still tested");
        assert_eq!(test(&packs::Source::Path(pack.clone()), &known, &mut screen), Ok(()));
        assert!(screen.kept.unwrap_or_default().contains("`switchboard check` tells them"));
    }

    #[tokio::test]
    async fn without_a_directory_the_configured_pack_is_tested() {
        let dir = tempfile::tempdir().expect("a directory");
        let pack = dir.path().join("pack");
        std::fs::create_dir(&pack).expect("made");
        std::fs::write(pack.join("pack.yaml"), "queues: { here: {} }\ndefault: { queue: here }\n").expect("written");
        let one =
            "tests:\n  - name: It is this one\n    message: { kind: webchat, text: hi }\n    expect: { queue: here }\n";
        std::fs::write(pack.join("a_test.yaml"), one).expect("written");
        let config = dir.path().join("switchboard.toml");
        std::fs::write(&config, "[rules]\npath = \"pack\"\n[channels.site]\nkind = \"webchat\"\n").expect("written");
        let (at, env) = (ConfigArg { config: Some(config) }, Environment::default());
        let mut screen = Screen::of_test(None);
        assert_eq!(run(Rules::Test { directory: None }, &at, &env, &mut screen).await, Ok(()));
        assert!(screen.kept.unwrap_or_default().contains("ok    It is this one"));
    }

    #[test]
    fn a_roll_back_says_that_the_files_are_still_the_others() {
        let said = |rules| other_on_disk(&rules);
        assert_eq!(said(json!({ "hash": "a1", "on_disk": "a1" })), None);
        let other = said(json!({ "hash": "a1", "on_disk": "fedcba9876543210" })).unwrap_or_default();
        assert!(other.contains("still pack fedcba987654,") && other.contains("`systemctl reload`"), "{other}");
        assert!(said(json!({ "hash": "a1", "on_disk": null })).is_some_and(|said| said.contains("has errors")));
    }

    /// What was taken back is, whatever comes of the look at the disk; what was refused is not.
    #[tokio::test]
    async fn a_roll_back_succeeds_where_only_the_look_afterwards_fails() {
        use super::super::api::tests::{answer, answering};
        let taken = answer("200 OK", &json!({ "pack": "0123456789abcdef" }));
        let down = answer("503 Service Unavailable", &json!({ "detail": "the daemon stops" }));
        let other = answer("200 OK", &json!({ "hash": "0123456789abcdef", "on_disk": "fedcba9876543210" }));
        let refused = answer("409 Conflict", &json!({ "detail": "there is no pack of before" }));
        for (answers, code, said) in [
            (vec![&taken, &down], 0, "pack 0123456789ab is in force again"),
            (vec![&taken, &other], 0, "on disk is still pack fedcba987654"),
            (vec![&refused], 1, "there is no pack of before"),
        ] {
            let answers: Vec<&str> = answers.into_iter().map(String::as_str).collect();
            let (api, seen) = answering(&answers).await;
            let env: Environment = [("SWITCHBOARD_URL", api.url()), ("SWITCHBOARD_TOKEN", "t")].into_iter().collect();
            let mut screen = Screen::of_test(None);
            let command = Rules::Rollback { to: None, common: Common::default() };
            let done = run(command, &ConfigArg { config: None }, &env, &mut screen).await;
            let exit = super::super::finish(done, &mut screen);
            let told = screen.kept.unwrap_or_default();
            assert_eq!(exit, std::process::ExitCode::from(code), "{told}");
            assert!(told.contains(said), "{told}");
            assert!(seen.lock().expect("seen")[0].starts_with("post /api/v1/rules/rollback "));
        }
    }

    #[test]
    fn a_reload_says_whether_anything_changed() {
        let said = |answer| {
            let mut screen = Screen::of_test(None);
            tell(&answer, "in force", &mut screen);
            screen.kept.unwrap_or_default()
        };
        assert_eq!(said(json!({ "hash": "0123456789abcdef", "changed": true })), "pack 0123456789ab is in force\n");
        let same = said(json!({ "hash": "0123456789abcdef", "changed": false }));
        assert_eq!(same, "pack 0123456789ab is in force already: the files have not changed\n");
        assert_eq!(said(json!({ "pack": "0123456789abcdef" })), "pack 0123456789ab is in force\n");
        let never =
            said(json!({ "pack": "0123456789abcdef", "warnings": ["a.yaml:3:1: the rule `B` is never reached"] }));
        assert_eq!(never, "warning: a.yaml:3:1: the rule `B` is never reached\npack 0123456789ab is in force\n");
        let beside = said(json!({ "hash": "0123456789abcdef", "changed": false, "tried": "fedcba9876543210" }));
        assert!(beside.contains("pack fedcba987654 is tried beside it"), "{beside}");
    }

    #[test]
    fn a_trial_that_is_taken_back_leaves_the_other_pack_as_it_was() {
        let mut screen = Screen::of_test(None);
        tell(&json!({ "ended": "fedcba9876543210", "hash": "0123456789abcdef" }), AGAIN, &mut screen);
        let said = screen.kept.unwrap_or_default();
        assert_eq!(said, "the trial of pack fedcba987654 has ended\npack 0123456789ab is in force, as it was\n");
    }
}

#[cfg(test)]
#[path = "kinds_tests.rs"]
mod kinds_tests;
