//! `rules canary`: another pack on a share of the new conversations, and both side by side.

use super::api::Api;
use super::list::{Common, lookup, text};
use super::screen::{Screen, relative, span};
use super::table::Table;
use super::{ConfigArg, Done, Failure, check, rules};
use crate::config::Environment;
use clap::Args;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::pack::files;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").multiple(false))]
pub(crate) struct Canary {
    /// Try a pack on this share of the new conversations, as 10%; while one is tried, change its share
    #[arg(long, value_name = "PERCENT", value_parser = share, group = "change")]
    share: Option<u8>,
    /// The directory of the pack to try; when left out, the one that is tried, else the one that the daemon is configured with
    #[arg(long, value_name = "DIR", requires = "share")]
    pack: Option<PathBuf>,
    /// The pack that the daemon is configured with, also while another one is tried
    #[arg(long, requires = "share", conflicts_with = "pack")]
    disk: bool,
    /// Also when tests of the pack fail
    #[arg(long, requires = "share")]
    force: bool,
    /// Put the pack that is tried in force
    #[arg(long, group = "change")]
    promote: bool,
    /// End the trial; the pack in force decides everything again
    #[arg(long, group = "change")]
    stop: bool,
    #[command(flatten)]
    common: Common,
}

fn share(s: &str) -> Result<u8, String> {
    let percent = s.trim().trim_end_matches('%').trim_end().parse().ok().filter(|n| (1..=100).contains(n));
    percent.ok_or_else(|| "write a share of 1% to 100%".into())
}

pub(crate) async fn run(canary: Canary, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
    let Canary { share, pack, disk, force, promote, stop, common } = canary;
    let api = Api::open(at, env)?.under(common.idempotency_key.as_deref());
    let answer = match share {
        Some(share) => {
            let mut body = json!({ "share": share });
            if let (Some(map), true) = (body.as_object_mut(), force) {
                map.insert("force".into(), Value::Bool(true));
            }
            if let (Some(map), true) = (body.as_object_mut(), disk) {
                map.insert("disk".into(), Value::Bool(true));
            }
            if let (Some(map), Some(pack)) = (body.as_object_mut(), pack) {
                map.insert("files".into(), read(&pack)?);
            }
            Some(api.post("/rules/canary", body).await?)
        }
        None if promote => Some(api.post("/rules/canary/promote", json!({})).await?),
        None if stop => Some(api.delete("/rules/canary").await?),
        None => None,
    };
    if let Some(answer) = answer.as_ref().filter(|_| common.json) {
        screen.out(&super::screen::json(answer));
        return Ok(());
    }
    if let Some(answer) = &answer {
        rules::tell_warnings(answer, screen);
    }
    let mut found = api.get("/rules/canary").await?;
    if common.json {
        screen.out(&super::screen::json(&found));
        return Ok(());
    }
    let found = found.get_mut("canary").map(Value::take).unwrap_or_default();
    tell(&found, screen);
    Ok(())
}

/// The files of a pack as the daemon takes them.
fn read(pack: &Path) -> Result<Value, Failure> {
    let shown = pack.display();
    let found = files::read_dir(pack).map_err(|e| Failure::Failed(format!("{shown}: cannot be read: {e}")))?;
    if found.is_empty() {
        let said = "no file ends in .yaml or .yml; a rule pack is a directory of YAML files";
        return Err(Failure::Failed(format!("{shown}: {said}")));
    }
    let mut map = Map::new();
    for (path, bytes) in found {
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::Failed(format!("{shown}/{path}: is not UTF-8: write the file again as UTF-8")))?;
        map.insert(path, Value::String(text));
    }
    Ok(Value::Object(map))
}

/// Both packs, a column each.
fn tell(canary: &Value, screen: &mut Screen) {
    if canary.is_null() {
        screen.out("no pack was ever tried here; --share 10% tries the pack on disk");
        return;
    }
    let (pack, beside) =
        (check::short(&text(canary, "pack")).to_owned(), check::short(&text(canary, "beside")).to_owned());
    let ago =
        |path: &str| text(canary, path).parse::<Timestamp>().map(|at| relative(at, screen.now)).unwrap_or_default();
    let since = ago("since");
    let standing = match text(canary, "ended.how").as_str() {
        "" => format!("is tried on {}% of the new conversations since {since}", text(canary, "share")),
        "promoted" => format!("was tried, and is in force since {}", ago("ended.at")),
        how => format!("was tried; that ended {} ({})", ago("ended.at"), how.replace('_', " ")),
    };
    screen.out(&format!("pack {pack} {standing}, beside pack {beside}"));
    let mut table = Table::new(&["NEW CONVERSATIONS", "IN FORCE", "TRIED"]);
    let arms: Vec<&Value> = lookup(canary, "packs").as_array().into_iter().flatten().collect();
    let (Some(others), Some(tried)) = (arms.first(), arms.get(1)) else { return };
    let mut row = |name: &str, of: &dyn Fn(&Value) -> String| table.row(vec![name.to_owned(), of(others), of(tried)]);
    row("opened", &|arm| text(arm, "conversations"));
    let mut places: Vec<String> =
        arms.iter().filter_map(|a| lookup(a, "destinations").as_object()).flat_map(|m| m.keys().cloned()).collect();
    places.sort();
    places.dedup();
    for place in &places {
        row(&format!("  to {place}"), &|arm| counted(arm, place));
    }
    row("automatic replies", &|arm| text(arm, "auto_replies"));
    row("answered by a person", &|arm| text(arm, "answered"));
    row("  first answer, median", &|arm| took(arm, "first_answer.median_ms"));
    row("  first answer, 90% within", &|arm| took(arm, "first_answer.p90_ms"));
    row("clocks breached", &|arm| text(arm, "breached"));
    let rendered = table.render(screen.width);
    screen.out(&rendered);
}

/// How many went to a place, with the share that this is.
fn counted(arm: &Value, place: &str) -> String {
    let n = lookup(arm, "destinations").get(place).and_then(Value::as_u64).unwrap_or(0);
    match lookup(arm, "conversations").as_u64().filter(|all| *all > 0) {
        Some(all) => format!("{n} ({}%)", n * 100 / all),
        None => n.to_string(),
    }
}

fn took(arm: &Value, path: &str) -> String {
    lookup(arm, path).as_i64().map(span).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_packs_stand_side_by_side() {
        let canary = json!({
            "pack": "0123456789abcdef", "beside": "fedcba9876543210", "share": 10, "since": "2026-11-22T10:00:00Z", "ended": null,
            "packs": [
                { "conversations": 90, "destinations": { "queue everyone": 90 }, "auto_replies": 2, "answered": 40,
                  "first_answer": { "median_ms": 65_000, "p90_ms": 4_000_000 }, "breached": 1 },
                { "conversations": 10, "destinations": { "queue billing": 4, "queue everyone": 6 }, "auto_replies": 0,
                  "answered": 0, "first_answer": { "median_ms": null, "p90_ms": null }, "breached": 0 },
            ],
        });
        let mut screen = Screen::of_test(None);
        screen.now = "2026-11-22T12:00:00Z".parse().expect("a time");
        tell(&canary, &mut screen);
        let said = screen.kept.unwrap_or_default();
        let lines: Vec<String> = said.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "pack 0123456789ab is tried on 10% of the new conversations since 2h ago, beside pack fedcba987654",
            "opened 90 10",
            "to queue billing 0 (0%) 4 (40%)",
            "to queue everyone 90 (100%) 6 (60%)",
            "first answer, median 1m -",
            "first answer, 90% within 1h -",
            "clocks breached 1 0",
        ] {
            assert!(lines.iter().any(|l| l == line), "{line} is not in:\n{said}");
        }
        let mut screen = Screen::of_test(None);
        tell(&Value::Null, &mut screen);
        assert!(screen.kept.unwrap_or_default().contains("--share 10%"));
    }

    #[test]
    fn a_share_is_one_to_a_hundred_percent() {
        assert_eq!((share("10"), share("10%"), share("100 %")), (Ok(10), Ok(10), Ok(100)));
        for wrong in ["0", "101", "0.1", "", "ten"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pack_is_sent_as_its_files() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(matches!(read(dir.path()), Err(Failure::Failed(said)) if said.contains("no file ends in .yaml")));
        std::fs::write(dir.path().join("pack.yaml"), "default: { queue: a }\n").expect("written");
        assert_eq!(read(dir.path()), Ok(json!({ "pack.yaml": "default: { queue: a }\n" })));
        std::fs::write(dir.path().join("bad.yaml"), [0xff, 0xfe]).expect("written");
        assert!(matches!(read(dir.path()), Err(Failure::Failed(said)) if said.contains("bad.yaml: is not UTF-8")));
    }
}
