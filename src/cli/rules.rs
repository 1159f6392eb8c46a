use super::api::Api;
use super::list::{Common, text};
use super::screen::Screen;
use super::{ConfigArg, Done, Failure, check, explain, pack};
use crate::config::Environment;
use clap::Subcommand;
use serde_json::json;
use std::path::{Path, PathBuf};
use switchboard_routing_rules::pack::Environment as PackEnvironment;

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Run the tests of a rule pack; needs neither configuration nor daemon
    Test {
        /// The pack's directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Say why a message was handled as it was
    #[command(group = clap::ArgGroup::new("which").required(true))]
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
    /// Read the pack again and put it in force; a bad one leaves the running one in force
    Reload(Common),
    /// Put the pack of before in force again
    Rollback(Common),
}

pub(crate) async fn run(command: Rules, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
    match command {
        Rules::Test { directory } => test(&directory, screen),
        Rules::Explain { what, last, common } => why(what.filter(|_| !last), &common, at, env, screen).await,
        Rules::Reload(common) => change(&common, "reload", "in force", at, env, screen).await,
        Rules::Rollback(common) => change(&common, "rollback", "in force again", at, env, screen).await,
    }
}

async fn why(what: Option<String>, common: &Common, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
    if let Some(path) = what.as_deref().map(Path::new).filter(|p| p.is_file()) {
        let config = explain::configured(at, env)?;
        return explain::of_file(path, &config, common.json, screen);
    }
    let api = Api::open(at, env)?;
    let message = match what {
        None => explain::LAST.to_owned(),
        Some(id) if id.starts_with('c') && !id.contains(':') => explain::last_of(&api, &id).await?,
        Some(id) => id,
    };
    explain::of_message(&api, &message, common.json, screen).await
}

async fn change(
    common: &Common,
    action: &str,
    said: &str,
    at: &ConfigArg,
    env: &Environment,
    screen: &mut Screen,
) -> Done {
    let answer = Api::open(at, env)?.post(&format!("/rules/{action}"), json!({})).await?;
    if common.json {
        screen.out(&format!("{answer:#}"));
        return Ok(());
    }
    let hash = text(&answer, "hash");
    let pack = if hash.is_empty() { "the pack of before".to_owned() } else { format!("pack {}", check::short(&hash)) };
    screen.out(&format!("{pack} is {said}"));
    Ok(())
}

/// Every test of a pack, with what was otherwise than expected.
fn test(directory: &Path, screen: &mut Screen) -> Done {
    let read = pack::read(Some(&directory.to_path_buf()), &PackEnvironment::default()).map_err(pack::failure)?;
    let tests = &read.tests;
    for warning in &read.warnings {
        screen.err(&pack::warning(warning));
    }
    let mut wrong = 0;
    for test in tests {
        let faults = super::trial::faults(&read.pack, test);
        if faults.is_empty() {
            screen.out(&format!("ok    {}", test.name));
            continue;
        }
        wrong += 1;
        screen.out(&format!(
            "FAIL  {}  ({}:{}:{})",
            test.name,
            directory.join(&*test.at.file).display(),
            test.at.line,
            test.at.column
        ));
        for fault in faults {
            screen.out(&format!("      {fault}"));
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
        for name in ["quickstart", "shop"] {
            let mut screen = Screen::of_test(None);
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("routing-rules/packs").join(name);
            let done = test(&directory, &mut screen);
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
            "queues: { everyone: {}, billing: {} }\ndefault: { queue: everyone }\n",
        )
        .expect("written");
        std::fs::write(
            dir.path().join("a_test.yaml"),
            "tests:\n  - name: Wrong\n    message: { kind: sms, text: hi }\n    expect: { queue: billing }\n",
        )
        .expect("written");
        let mut screen = Screen::of_test(None);
        let done = test(dir.path(), &mut screen);
        let said = screen.kept.unwrap_or_default();
        assert_eq!(done, Err(Failure::Failed("1 of 1 test failed".into())));
        assert!(said.contains("FAIL  Wrong") && said.contains("a_test.yaml:2:") && said.contains("everyone"), "{said}");
    }
}
