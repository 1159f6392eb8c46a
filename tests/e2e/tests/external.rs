//! An adapter in another language: the example in Python, on a broker with the shipped permissions, through a conversation in
//! both directions; killed in the middle, absent for a while, and one that oversteps.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use switchboard_e2e::{
    Api, Backend, Daemon, Python, Shop, eventually, eventually_within, http, line, message, shipped_users,
};
use switchboard_simulators::NatsServer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A pair made for this test.
const SEED: &str = "SUAPT3AUXD5JGY672D4BLUSBURXBNBLQBYDLURDRA354V7MJGTR5AG5WOY";
const PUBLIC: &str = "UBZAXALZ65UGYXAEGG7QSOCK4HTSF3HFR52A2O6P6HFPJADXZQFBMX7V";
/// Keys of processes that this test does not start.
const ROUTER: &str = "UBC2O7WOVSIMQLBZACKRSJGBR5E7NXAUEVZCGC67RD3DONH67JTS6CLV";
const EDGE: &str = "UA7K7SGKOVBIO33OVFIDZDIBRFPOONSRKQ6HVCAFSLHPMYW6QT445FJT";
const PASSWORD: &str = "the-lines-own-password";

/// The shipped permissions, the adapter's among them.
fn users() -> String {
    shipped_users(&[
        ("$DAEMON_NKEY", PUBLIC),
        ("$ROUTER_NKEY", ROUTER),
        ("$EDGE_NKEY", EDGE),
        ("$LINE_PASSWORD", PASSWORD),
    ])
}

/// A broker with them.
fn broker() -> NatsServer {
    NatsServer::with(&users())
}

fn shop(broker: &Backend) -> Shop {
    let shop = Shop::with("http://127.0.0.1:9")
        .log(broker)
        .more("[channels.line]\nkind = \"external\"\nlabel = \"telnet\"\naddress_kind = \"line\"\n")
        .open();
    std::fs::write(shop.folder().join("daemon.nk"), SEED).expect("a seed");
    shop.reconfigure(|toml| toml.replace("backend = \"nats\"", "backend = \"nats\"\nnkey = { file = \"daemon.nk\" }"));
    shop
}

/// The address of the broker with the adapter's account.
fn server(broker: &NatsServer) -> String {
    broker.url().replace("nats://", &format!("nats://line:{PASSWORD}@"))
}

/// Somebody who writes to us.
struct Person {
    stream: BufReader<TcpStream>,
}

impl Person {
    async fn called(name: &str, address: &str) -> Person {
        let stream = TcpStream::connect(address).await.expect("the adapter listens");
        let mut person = Person { stream: BufReader::new(stream) };
        assert_eq!(person.reads().await, "* who are you?");
        person.writes(name).await;
        assert!(person.reads().await.starts_with("* hello "));
        person
    }

    async fn writes(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).await.expect("the adapter reads");
    }

    async fn reads(&mut self) -> String {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(30), self.stream.read_line(&mut line));
        read.await.expect("a line in time").expect("the adapter writes");
        line.trim_end().to_owned()
    }

    /// Says something, and waits until it is said to be durable; what else came meanwhile.
    async fn says(&mut self, line: &str) -> Vec<String> {
        self.writes(line).await;
        let mut others = vec![];
        loop {
            match self.reads().await {
                line if line == "* received" => return others,
                other => others.push(other),
            }
        }
    }
}

async fn outcome(api: &Api, person: &str, text: &str, status: &str) {
    let identity = format!("line:{person}");
    eventually_within(Duration::from_secs(40), &format!("{text:?} to be {status}"), || async {
        let list = api.get(&format!("/conversations?contact={identity}")).await;
        let id = list.body["conversations"][0]["id"].as_str().unwrap_or_default().to_owned();
        let whole = api.get(&format!("/conversations/{id}")).await;
        let found = message(&whole.body, text).is_some_and(|m| m["status"] == status);
        if found { Ok(()) } else { Err(whole.to_string()) }
    })
    .await;
}

fn channel(channels: &Value) -> Option<Value> {
    channels["channels"].as_array()?.iter().find(|c| c["id"] == "line").cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_adapter_carries_a_conversation_both_ways_and_outlives_its_own_death() {
    let backend = Backend::Nats(broker());
    let Backend::Nats(broker) = &backend else { unreachable!() };
    let shop = shop(&backend);
    let daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let (mut first, address) = line(&shop, &server(broker), "adapter-1.log", &[]).await;

    // A rule answers, and the answer comes back on the line.
    let mut ann = Person::called("ann", &address).await;
    let mut lines = ann.says("refund A-1").await;
    if lines.is_empty() {
        lines.push(ann.reads().await);
    }
    assert_eq!(lines, ["Your refund A-1 is on its way."]);
    outcome(&api, "ann", "Your refund A-1 is on its way.", "accepted").await;

    // A file, stored by the adapter, read by an agent.
    ann.says("/file map.png iVBORw0KGgpub3QgbXVjaCBvZiBhIHBpY3R1cmU=").await;
    ann.says("do you see it?").await;
    let conversation = api.conversation("line:ann", "to hold it all", |c| message(c, "do you see it?").is_some()).await;
    assert_eq!(
        (&conversation["channel"], &conversation["contact"]["identities"]),
        (&json!("line"), &json!(["line:ann"]))
    );
    let id = conversation["id"].as_str().unwrap();
    let messages = api.messages(id).await;
    let file = messages.iter().find_map(|m| m["attachments"].get(0)).expect("a message with a file");
    assert_eq!((&file["name"], &file["state"]), (&json!("map.png"), &json!("stored")), "{file}");
    let url = format!("{}{}", shop.admin(), file["url"].as_str().unwrap());
    let bytes = http().get(url).bearer_auth(shop.token()).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(&bytes[..], b"\x89PNG\r\n\x1a\nnot much of a picture");

    // An agent answers while nobody is there to take it; the next adapter delivers it, once.
    first.kill();
    api.post(&format!("/conversations/{id}/reply"), json!({ "text": "Yes, clearly.", "agent": "ann" })).await.ok();
    let (second, address) = line(&shop, &server(broker), "adapter-2.log", &[]).await;
    let mut ann = Person::called("ann", &address).await;
    assert_eq!(ann.reads().await, "Yes, clearly.");
    outcome(&api, "ann", "Yes, clearly.", "accepted").await;
    ann.says("thank you").await;
    api.conversation("line:ann", "to hold her thanks", |c| message(c, "thank you").is_some()).await;
    let heard: Vec<Value> =
        api.messages(id).await.iter().filter(|m| m["direction"] == "in").map(|m| m["text"].clone()).collect();
    assert_eq!(heard, ["refund A-1", "", "do you see it?", "thank you"]);

    // It is shown to be there.
    let shown = api.get("/channels").await.ok();
    assert_eq!(channel(&shown).map(|c| (c["kind"].clone(), c["state"].clone())), Some((json!("telnet"), json!("up"))));
    assert!(daemon.metrics().await.contains("switchboard_adapter_up{channel=\"line\"} 1"));
    assert!(!second.said().contains("Traceback"), "{}", second.said());
}

/// Another prefix is said to the daemon, to the adapter and in the broker's permissions, as the head of the shipped ones has it.
#[tokio::test(flavor = "multi_thread")]
async fn under_another_prefix_daemon_and_adapter_carry_a_conversation_with_the_permissions_for_it() {
    let conf = users().replace("_INBOX_sb_main", "_INBOX_shop_eu_main").replace("sb.main.", "shop.eu.main.");
    let backend = Backend::Nats(NatsServer::with(&conf));
    let Backend::Nats(broker) = &backend else { unreachable!() };
    let shop = shop(&backend);
    shop.reconfigure(|toml| toml.replace("backend = \"nats\"", "backend = \"nats\"\nprefix = \"shop.eu\""));
    let daemon = Daemon::start(&shop).await;
    let (python, address) = line(&shop, &server(broker), "adapter.log", &["--prefix", "shop.eu"]).await;
    let mut ann = Person::called("ann", &address).await;
    let mut lines = ann.says("refund A-1").await;
    if lines.is_empty() {
        lines.push(ann.reads().await);
    }
    assert_eq!(lines, ["Your refund A-1 is on its way."]);
    outcome(&shop.api(), "ann", "Your refund A-1 is on its way.", "accepted").await;
    eventually("the adapter to be heard of", || async {
        let metrics = daemon.metrics().await;
        if metrics.contains("switchboard_adapter_up{channel=\"line\"} 1") { Ok(()) } else { Err(metrics) }
    })
    .await;
    let denied: Vec<String> = broker.log().lines().filter(|l| l.contains("Violation")).map(str::to_owned).collect();
    assert_eq!(denied, Vec::<String>::new(), "the permissions are of another prefix");
    assert!(!python.said().contains("Traceback"), "{}", python.said());
}

/// Publishes in the adapter's name what no adapter may say, and to where it may not.
const OVERSTEPS: &str = r#"
import asyncio, json, sys, nats
async def main():
    told = []
    async def error(e): told.append(str(e).lower())
    nc = await nats.connect(sys.argv[1], inbox_prefix="_INBOX_sb_main_line", error_cb=error)
    js = nc.jetstream()
    async def denied(what, subject):
        deadline = asyncio.get_running_loop().time() + 10
        while not any(what in t and f'"{subject.lower()}"' in t for t in told):
            assert asyncio.get_running_loop().time() < deadline, (what, subject, told)
            await asyncio.sleep(0.01)
    async def say(kind, **more):
        body = {"v": 1, "type": kind, "id": f"line:{kind}:1", "channel": "line", "at": "2026-11-21T20:22:05Z", **more}
        await js.publish("sb.main.in.line", json.dumps(body).encode())
    await say("command", actor={"agent": None, "scope": "admin"}, action={"do": "rollback_pack"})
    at = "2026-11-21T20:22:05Z"
    forged = {"v": 1, "type": "message", "id": "support-sms:message:forged", "channel": "support-sms", "thread": "+15551230099", "at": at,
              "received_at": at, "from": {"kind": "phone", "value": "+15551230099"}, "content": {"text": "refund A-1"}}
    await js.publish("sb.main.in.line", json.dumps(forged).encode())
    for subject in ["sb.main.in.api", "sb.main.in.support-sms", "sb.main.log", "sb.main.out.line", "$KV.SB_main_CLAIMS.support-sms.m.1.1",
                    "$KV.SB_main_KEYS.workspace", "$O.SB_main_BLOBS.M.c25hcHNob3Rz", "$O.SB_main_BLOBS.M.other.a.b",
                    "$JS.API.STREAM.MSG.GET.OBJ_SB_main_BLOBS", "$JS.API.CONSUMER.MSG.NEXT.SB_main_OUT.support-sms",
                    "$JS.API.DIRECT.GET.KV_SB_main_KEYS.$KV.SB_main_KEYS.workspace", "$JS.API.STREAM.INFO.SB_main_IN"]:
        await nc.publish(subject, b"{}")
        await denied("publish", subject)
    for subject in [">", "sb.main.>", "_INBOX_sb_main_all.>"]:
        await nc.subscribe(subject)
        await denied("subscription", subject)
    print("denied")
asyncio.run(main())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_adapters_account_may_speak_for_its_channel_and_for_nothing_else() {
    let backend = Backend::Nats(broker());
    let Backend::Nats(broker) = &backend else { unreachable!() };
    let shop = shop(&backend);
    let _daemon = Daemon::start(&shop).await;
    let script: &Path = &shop.folder().join("oversteps.py");
    std::fs::write(script, OVERSTEPS).unwrap();
    let mut python = Python::start(&shop, "oversteps.log", &[script.to_str().unwrap(), &server(broker)]);
    let done = python.ends();
    assert!(done.success() && python.said().contains("denied"), "{}", python.said());
    let held = shop.api().held(2).await;
    let reasons: Vec<&str> = held.iter().filter_map(|q| q["reason"].as_str()).collect();
    assert!(reasons.contains(&"commands come from the API, and from no channel"), "{reasons:?}");
    assert!(reasons.contains(&"the record names another channel than its subject"), "{reasons:?}");
    let routed = shop.api().all("/conversations", "conversations").await;
    assert!(routed.is_empty(), "nobody wrote to the other channel: {routed:?}");
}
