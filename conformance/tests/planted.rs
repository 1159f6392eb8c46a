//! The kit over the example, as it is and with mistakes: it holds, and each mistake is found and told.
#![forbid(unsafe_code)]

use futures_util::StreamExt as _;
use std::path::{Path, PathBuf};
use switchboard_conformance::{NAMES, On, Options, Plan, Report, check};
use switchboard_envelope::Timestamp;
use tempfile::TempDir;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What the step `nats` of `tests/run` installed, or a variable names.
fn tool(variable: &str, path: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let found = std::env::var_os(variable).map_or_else(|| target.join(path), PathBuf::from);
    assert!(found.exists(), "no {}: run `tests/run nats`, which installs it, or set {variable}", found.display());
    found
}

/// A mistake that somebody makes who writes an adapter.
struct Mistake {
    what: &'static str,
    /// In which file what becomes what.
    changes: &'static [(&'static str, &'static str, &'static str)],
    /// Which check says so, and in which words.
    found_by: &'static str,
    said: &'static str,
}

const COURIER: &str = "courier/courier.py";
const SHARED: &str = "switchboard.py";

const MISTAKES: &[Mistake] = &[
    Mistake {
        what: "it answers the provider before the broker has the message",
        changes: &[(
            COURIER,
            "        await self.switchboard.ingest(envelope)",
            "        asyncio.create_task(self.switchboard.ingest(envelope))",
        )],
        found_by: "no-room",
        said: "while IN refused it",
    },
    Mistake {
        what: "it publishes a while after it answered",
        changes: &[(
            COURIER,
            "        await self.switchboard.ingest(envelope)",
            "        asyncio.get_running_loop().call_later(2, lambda: asyncio.ensure_future(self.switchboard.ingest(envelope)))",
        )],
        found_by: "message",
        said: "was answered before it was in IN",
    },
    Mistake {
        what: "blanks around a body are not signed",
        changes: &[(COURIER, "hmac.new(self.secret, body, ", "hmac.new(self.secret, body.strip(), ")],
        found_by: "forged",
        said: "with the right proof of another body",
    },
    Mistake {
        what: "only the first that cannot be read is told",
        changes: &[(
            COURIER,
            "            await self.switchboard.unparsed(",
            "            if self.__dict__.setdefault(\"told\", body) != body:\n                return 200\n            await self.switchboard.unparsed(",
        )],
        found_by: "malformed",
        said: "nobody was told",
    },
    Mistake {
        what: "of what cannot be read only the beginning is told",
        changes: &[(COURIER, "await self.switchboard.unparsed(body, ", "await self.switchboard.unparsed(body[:10], ")],
        found_by: "malformed",
        said: "without its bytes",
    },
    Mistake {
        what: "each delivery has an id of its own",
        changes: &[(
            COURIER,
            "self.switchboard.id(\"message\", key)",
            "self.switchboard.id(\"message\", os.urandom(8).hex())",
        )],
        found_by: "duplicates",
        said: "has another id each time",
    },
    Mistake {
        what: "the id is another one after a restart",
        changes: &[
            (COURIER, "self.switchboard.id(\"message\", key)", "self.switchboard.id(\"message\", STARTED + key)"),
            (
                COURIER,
                "log = logging.getLogger(\"courier\")",
                "log = logging.getLogger(\"courier\")\nSTARTED = os.urandom(4).hex()",
            ),
        ],
        found_by: "crash",
        said: "comes again after a restart has another id",
    },
    Mistake {
        what: "the broker is not told the id",
        changes: &[(
            SHARED,
            ", json.dumps(envelope).encode(), {\"Nats-Msg-Id\": envelope[\"id\"]})",
            ", json.dumps(envelope).encode())",
        )],
        found_by: "message",
        said: "without the header `Nats-Msg-Id`",
    },
    Mistake {
        what: "what is older than the newest is dropped",
        changes: &[(
            COURIER,
            "        await self.switchboard.ingest(envelope)",
            "        if envelope[\"at\"] < getattr(self, \"newest\", \"\"):\n            return 200\n        self.newest = envelope[\"at\"]\n        await self.switchboard.ingest(envelope)",
        )],
        found_by: "reordering",
        said: "older than the one before it is not in IN",
    },
    Mistake {
        what: "anybody may deliver",
        changes: &[(COURIER, "if not hmac.compare_digest(expected, signature):", "if not signature and not expected:")],
        found_by: "forged",
        said: "anybody could speak for your customers",
    },
    Mistake {
        what: "what cannot be read is dropped",
        changes: &[
            (COURIER, "            await self.switchboard.unparsed(", "            log.info(\"%r\", ("),
            (
                COURIER,
                "f\"not an event of Courier: {type(error).__name__}\")",
                "f\"not an event of Courier: {type(error).__name__}\"))",
            ),
        ],
        found_by: "malformed",
        said: "nobody was told",
    },
    Mistake {
        what: "it sends without a claim",
        changes: &[(SHARED, "ours = await self.claim(send)", "ours = True")],
        found_by: "send",
        said: "was called without a claim",
    },
    Mistake {
        what: "it claims after it sent",
        changes: &[
            (SHARED, "ours = await self.claim(send)", "ours = True"),
            (
                SHARED,
                "            result = await tell(send)",
                "            result = await tell(send)\n            await self.claim(send)",
            ),
        ],
        found_by: "send",
        said: "before the attempt was claimed",
    },
    Mistake {
        what: "a claim that exists is taken for its own",
        changes: &[(SHARED, "return held == nonce", "return held is not nonce")],
        found_by: "claimed",
        said: "for an attempt that another edge had claimed",
    },
    Mistake {
        what: "the same, seen by a second process",
        changes: &[(SHARED, "return held == nonce", "return held is not nonce")],
        found_by: "second-edge",
        said: "were sent more than once",
    },
    Mistake {
        what: "the same, after a death in the middle of a call",
        changes: &[(SHARED, "return held == nonce", "return held is not nonce")],
        found_by: "crash",
        said: "the next process called again",
    },
    Mistake {
        what: "it believes the broker alone",
        changes: &[(SHARED, "        self.made[part] = n\n", "        self.made[part] = 0\n")],
        found_by: "redelivery",
        said: "of which the broker had lost the claim",
    },
    Mistake {
        what: "it sends whatever the hour",
        changes: &[
            (SHARED, "if send is None or time.time() > until(send):", "if send is None:"),
            (SHARED, "if time.time() + SEND_TIMEOUT > until(send):", "if not send:"),
        ],
        found_by: "too-late",
        said: "s after `until`",
    },
    Mistake {
        what: "it tries again by itself when it is asked for patience",
        changes: &[(
            COURIER,
            "        return await asyncio.to_thread(self.call, send)",
            "        for _ in range(3):\n            result = await asyncio.to_thread(self.call, send)\n            if result.get(\"code\") != \"429\":\n                break\n        return result",
        )],
        found_by: "throttled",
        said: "tried again by itself",
    },
    Mistake {
        what: "it does not say how long the provider asked it to wait",
        changes: &[(
            COURIER,
            "int(seconds) * 1000 if seconds.isdecimal() else None",
            "int(seconds) if seconds.isdecimal() else None",
        )],
        found_by: "throttled",
        said: "`retry_after_ms` is 7 and the provider asked for 7000",
    },
    Mistake {
        what: "a lost answer counts as not sent",
        changes: &[(
            COURIER,
            "{\"outcome\": \"unknown\", \"detail\": f\"Courier's answer",
            "{\"outcome\": \"not_sent\", \"detail\": f\"Courier's answer",
        )],
        found_by: "lost-answer",
        said: "called `not_sent`: call it `unknown`",
    },
    Mistake {
        what: "a provider that is down counts as a refusal",
        changes: &[(
            COURIER,
            "{\"outcome\": \"not_sent\", \"detail\": f\"Courier cannot",
            "{\"outcome\": \"rejected\", \"detail\": f\"Courier cannot",
        )],
        found_by: "unreachable",
        said: "called `rejected`: call it `not_sent`",
    },
    Mistake {
        what: "it waits for the provider without end",
        changes: &[(COURIER, ", timeout=SEND_TIMEOUT)", ")")],
        found_by: "no-answer",
        said: "has no result after 5 s",
    },
    Mistake {
        what: "a result is published once, and lost when that fails",
        changes: &[
            (
                SHARED,
                "        await self.publish(subject, json.dumps(envelope)",
                "        await self.js.publish(subject, json.dumps(envelope)",
            ),
            (SHARED, "{\"Nats-Msg-Id\": envelope[\"id\"]})", "headers={\"Nats-Msg-Id\": envelope[\"id\"]})"),
        ],
        found_by: "kept-result",
        said: "was never published again",
    },
    Mistake {
        what: "a record that it cannot read is not acknowledged",
        changes: &[(
            SHARED,
            "    except (ValueError, KeyError, TypeError, AttributeError) as error:\n        log.warning(\"a record",
            "    except ZeroDivisionError as error:\n        log.warning(\"a record",
        )],
        found_by: "unreadable",
        said: "a record that cannot be understood was not acknowledged",
    },
    Mistake {
        what: "a result's id does not say the outcome",
        changes: &[(SHARED, "{send['n']}:{outcome}\"", "{send['n']}\"")],
        found_by: "send",
        said: "with the outcome, so that a later one is no duplicate",
    },
    Mistake {
        what: "the provider's id is not passed on",
        changes: &[(COURIER, "\"provider_ids\": [str(told[\"id\"])]", "\"provider_ids\": []")],
        found_by: "send",
        said: "its receipts will not be understood",
    },
    Mistake {
        what: "it asks for what its account may not",
        changes: &[(
            SHARED,
            "    async def beat(self):\n",
            "    async def beat(self):\n        await self.client.publish(\"sb.other.status\", b\"\")\n",
        )],
        found_by: "permissions",
        said: "tried to publish to \"sb.other.status\"",
    },
    Mistake {
        what: "it says only once that it is there",
        changes: &[(SHARED, "await asyncio.sleep(BEAT)", "await asyncio.sleep(3600)")],
        found_by: "presence",
        said: "used once and never again",
    },
];

/// A copy of the example, and its plan. It shares the lists of the original, so that a mistake of the test is one here too.
fn copied(changes: &[(&str, &str, &str)]) -> (TempDir, Plan) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("courier")).expect("made");
    let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).expect("written");
    for path in [SHARED, COURIER, "courier/courier.toml"] {
        let mut text = std::fs::read_to_string(root().join("adapters/examples").join(path)).expect("the example");
        for (_, from, to) in changes.iter().filter(|(file, ..)| *file == path) {
            assert_eq!(text.matches(from).count(), 1, "{path} must hold once: {from}");
            text = text.replace(from, to);
        }
        write(path, &text);
    }
    let library = tool("SWITCHBOARD_NATS_PY", "tools/nats-py");
    let plan = folder.path().join("courier/courier.toml");
    let text = std::fs::read_to_string(&plan).expect("the plan");
    let with_library = text.replace(
        "env = { ",
        &format!("env = {{ PYTHONDONTWRITEBYTECODE = \"1\", PYTHONPATH = \"{}\", ", library.display()),
    );
    assert_ne!(text, with_library);
    write("courier/courier.toml", &with_library);
    (folder, Plan::read(Path::new(&plan)).expect("a plan"))
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(i64::try_from(since.as_millis()).expect("a time"))
}

async fn checked(changes: &[(&str, &str, &str)], only: &[&str]) -> Report {
    let (_folder, plan) = copied(changes);
    let on = On::Own(tool("SWITCHBOARD_NATS_SERVER", "tools/nats/bin/nats-server"));
    let options = Options { on, only: only.iter().map(|o| (*o).to_owned()).collect(), clock: now };
    check(plan, options, &mut |_| {}).await.expect("the broker and the adapter start")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_holds_in_every_check() {
    let report = checked(&[], &[]).await;
    let wrong: Vec<_> = report.checks.iter().filter(|v| !v.holds()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let names: Vec<&str> = report.checks.iter().map(|v| v.name).collect();
    assert_eq!(names, NAMES, "each was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_planted_mistake_is_found_and_told() {
    let tried = MISTAKES.iter().map(async |mistake| {
        let report = checked(mistake.changes, &[mistake.found_by]).await;
        let said: Vec<String> = report.checks.into_iter().flat_map(|v| v.problems).collect();
        (!said.iter().any(|s| s.contains(mistake.said))).then(|| format!("{}: {said:?}", mistake.what))
    });
    // What takes the time is waiting.
    let missed: Vec<String> =
        futures_util::stream::iter(tried).buffer_unordered(4).filter_map(async |m| m).collect().await;
    assert!(missed.is_empty(), "not found, or not told: {missed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_of_envelopes_where_there_are_none() {
    let report = checked(&[], &["envelopes"]).await;
    let [verdict] = &report.checks[..] else { panic!("one check was wanted") };
    assert!(verdict.not_tried.as_ref().is_some_and(|why| why.contains("said nothing")), "{verdict:?}");
    let report = checked(&[], &["message", "envelopes"]).await;
    assert!(report.checks.iter().all(|v| v.not_tried.is_none() && v.holds()), "{report:?}");
}

#[tokio::test]
async fn what_is_not_there_is_said_with_what_to_do() {
    let (_folder, plan) = copied(&[]);
    let options = Options { on: On::Own("/nowhere/nats-server".into()), only: vec![], clock: now };
    let stopped = check(plan, options, &mut |_| {}).await.expect_err("no broker").to_string();
    assert!(stopped.contains("/nowhere/nats-server") && stopped.contains("--server"), "{stopped}");

    let (_folder, plan) =
        copied(&[(COURIER, "async def main():\n", "async def main():\n    sys.exit(\"no such setting\")\n")]);
    let on = On::Own(tool("SWITCHBOARD_NATS_SERVER", "tools/nats/bin/nats-server"));
    let options = Options { on, only: vec![], clock: now };
    let stopped = check(plan, options, &mut |_| {}).await.expect_err("no adapter").to_string();
    assert!(stopped.contains("no such setting"), "{stopped}");
}
