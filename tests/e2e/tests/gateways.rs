//! Text messages through gateways of one's own, by the real daemon: `jasmin`, and one that the configuration alone describes.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use switchboard_e2e::ways::DESCRIBED;
use switchboard_e2e::{
    Api, Backend, Daemon, Dialect, GatewaySent, GatewaySim, GatewayStep, Shop, eventually, message, on_every_backend,
};

const ANN: &str = "+15005550009";
const HOOK: &str = "a-secret-of-the-path-0123456789";

on_every_backend! {
    jasmin_both_ways,
    a_described_gateway_both_ways,
    jasmin_fails,
    a_described_gateway_fails,
}

struct Scene {
    sim: GatewaySim,
    shop: Shop,
}

async fn scene(backend: &Backend, dialect: Dialect) -> Scene {
    let sim = GatewaySim::start(dialect).await.expect("a port for the gateway");
    let common = format!("from = \"24453\"\nhook_secret = \"{HOOK}\"\nbase_url = \"{}\"\n", sim.base_url());
    let own = match dialect {
        Dialect::Jasmin => format!(
            "provider = \"jasmin\"\n{common}numbers = \"digits\"\nusername = \"{}\"\npassword = \"{}\"\n",
            GatewaySim::USER,
            GatewaySim::PASSWORD
        ),
        Dialect::Json => {
            format!("provider = \"http\"\n{common}{}", DESCRIBED.replace("PASSWORD", GatewaySim::PASSWORD))
        }
    };
    let shop = Shop::with("http://127.0.0.1:9")
        .log(backend)
        .more(&format!("[channels.gateway]\nkind = \"sms\"\n{own}"))
        .open();
    sim.route("https://hooks.shop.example", &shop.public());
    Scene { sim, shop }
}

impl Scene {
    async fn hears(&self, id: &str, text: &str) {
        let hook = format!("{}/{HOOK}/in", self.shop.hook("gateway"));
        assert_eq!(self.sim.says(&hook, id, ANN, text).await, (200, true), "{text}");
    }

    async fn sent(&self, count: usize) -> Vec<GatewaySent> {
        eventually(&format!("{count} texts at the gateway"), || async {
            let all = self.sim.sent();
            if all.len() >= count { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await
    }
}

async fn holds(api: &Api, text: &str) -> Value {
    api.conversation(&format!("phone:{ANN}"), &format!("to hold `{text}`"), |c| message(c, text).is_some()).await
}

async fn reply(api: &Api, text: &str) {
    let id = holds(api, "hello").await["id"].as_str().expect("an id").to_owned();
    api.post(&format!("/conversations/{id}/reply"), json!({ "text": text })).await.ok();
}

async fn status(api: &Api, text: &str, wanted: &str) -> Value {
    let whole = api
        .conversation(&format!("phone:{ANN}"), &format!("to have `{text}` {wanted}"), |c| {
            message(c, text).is_some_and(|m| m["status"] == wanted)
        })
        .await;
    message(&whole, text).cloned().unwrap_or_default()
}

async fn texts_go_both_ways_once_each_and_their_reports_come_back(
    backend: &Backend,
    dialect: Dialect,
    words: [&str; 2],
) {
    let scene = scene(backend, dialect).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    let wrong = format!("{}/another-secret-of-16/in", scene.shop.hook("gateway"));
    assert_eq!(scene.sim.says(&wrong, "m0", ANN, "forged").await.0, 403);
    for (id, text) in [("m1", "Grüße 👋 & ="), ("m2", "hello"), ("m2", "hello")] {
        scene.hears(id, text).await;
    }
    let whole = holds(&api, "hello").await;
    assert!(message(&whole, "Grüße 👋 & =").is_some(), "{whole}");
    assert_eq!(api.messages(whole["id"].as_str().expect("an id")).await.len(), 2, "each once, and nothing forged");
    for (n, text) in ["plain & simple", "with ✓ and 👋"].into_iter().enumerate() {
        reply(&api, text).await;
        let sent = scene.sent(n + 1).await.remove(n);
        assert_eq!((sent.to.as_str(), sent.from.as_str(), sent.text.as_str()), (&ANN[1..], "24453", text));
    }
    let sent = scene.sent(2).await;
    for _ in 0..2 {
        assert_eq!(scene.sim.reports(&sent[0], words[0]).await, (200, true));
    }
    assert_eq!(scene.sim.reports(&sent[1], words[1]).await, (200, true));
    status(&api, "plain & simple", "delivered").await;
    assert!(status(&api, "with ✓ and 👋", "failed").await.is_object());
    scene.sim.next(GatewayStep::ReportFirst);
    reply(&api, "reported before it is answered").await;
    status(&api, "reported before it is answered", "delivered").await;
    assert_eq!(scene.sent(3).await.len(), 3);
    assert_eq!(api.all("/quarantine", "quarantine").await, Vec::<Value>::new());
}

/// `steps` are: tried again and again until it is taken; one that is nobody's; one that stops the channel.
async fn each_failure_has_its_outcome_and_nothing_goes_twice(
    backend: &Backend,
    dialect: Dialect,
    steps: [(u16, &str); 3],
) {
    let scene = scene(backend, dialect).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.hears("m1", "hello").await;
    let [busy, nobody, refused] = steps.map(|(status, body)| GatewayStep::Answer(status, body.into()));
    scene.sim.next(busy);
    scene.sim.next(GatewayStep::Limited(Some(1)));
    reply(&api, "in the end").await;
    status(&api, "in the end", "accepted").await;
    scene.sim.next(nobody);
    reply(&api, "to nobody").await;
    status(&api, "to nobody", "rejected").await;
    // What was taken and not answered: its report tells.
    scene.sim.next(GatewayStep::CutAfter);
    reply(&api, "lost on the way back").await;
    status(&api, "lost on the way back", "unknown").await;
    let lost = scene.sent(2).await.remove(1);
    let word = if dialect == Dialect::Jasmin { "DELIVRD" } else { "delivered" };
    assert_eq!(scene.sim.reports(&lost, word).await, (200, true));
    status(&api, "lost on the way back", "delivered").await;
    scene.sim.next(refused);
    reply(&api, "once more").await;
    eventually("the channel to be paused", || async {
        let channels = api.all("/channels", "channels").await;
        let gateway = channels.iter().find(|c| c["id"] == "gateway").cloned().unwrap_or_default();
        if gateway["paused_reason"].is_string() { Ok(()) } else { Err(gateway.to_string()) }
    })
    .await;
    api.post("/channels/gateway/resume", json!({})).await.ok();
    status(&api, "once more", "accepted").await;
    assert_eq!(scene.sent(3).await.len(), 3, "nothing went twice");
}

async fn jasmin_both_ways(backend: Backend) {
    texts_go_both_ways_once_each_and_their_reports_come_back(&backend, Dialect::Jasmin, ["DELIVRD", "UNDELIV"]).await;
}

async fn a_described_gateway_both_ways(backend: Backend) {
    texts_go_both_ways_once_each_and_their_reports_come_back(&backend, Dialect::Json, ["delivered", "lost"]).await;
}

async fn jasmin_fails(backend: Backend) {
    let steps = [
        (500, "Error \"Cannot send submit_sm, check SMPPClientManagerPB log file for details\""),
        (412, "Error \"No route found\""),
        (403, "Error \"Authentication failure for username:desk\""),
    ];
    each_failure_has_its_outcome_and_nothing_goes_twice(&backend, Dialect::Jasmin, steps).await;
}

async fn a_described_gateway_fails(backend: Backend) {
    let steps = [
        (200, r#"{"messages": [{"status": "BUSY"}]}"#),
        (200, r#"{"messages": [{"status": "BAD_NUMBER"}]}"#),
        (200, r#"{"messages": [{"status": "NO_CREDIT"}]}"#),
    ];
    each_failure_has_its_outcome_and_nothing_goes_twice(&backend, Dialect::Json, steps).await;
}
