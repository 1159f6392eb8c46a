//! The channel `telegram` through the real daemon, both ways.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use switchboard_e2e::{
    Api, Backend, Daemon, Shop, TelegramSent, TelegramSim, TelegramStep, eventually, message, on_every_backend,
};

const ANN: i64 = 7_000_000_001;

on_every_backend! {
    only_telegram_is_heard_each_update_once_and_an_answer_comes_back_as_a_choice,
    patience_a_lost_answer_and_somebody_who_blocks_the_bot,
    a_picture_is_fetched_with_a_token_that_nobody_sees,
}

struct Scene {
    sim: TelegramSim,
    shop: Shop,
}

async fn scene(backend: &Backend) -> Scene {
    let sim = TelegramSim::start().await.expect("a port for Telegram");
    let channel = format!(
        "[channels.bot]\nkind = \"telegram\"\ntoken = \"{}\"\nsecret_token = [\"{}\", \"the-next-one\"]\nbase_url = \"{}\"\n",
        TelegramSim::TOKEN,
        TelegramSim::SECRET,
        sim.base_url()
    );
    let shop = Shop::with("http://127.0.0.1:9").log(backend).more(&channel).open();
    Scene { sim, shop }
}

impl Scene {
    async fn says(&self, update: &Value) -> String {
        let (status, body) = self.sim.says(&self.shop.hook("bot"), update, Some(TelegramSim::SECRET)).await;
        assert_eq!(status, 200, "{update}");
        body
    }

    async fn sent(&self, count: usize) -> Vec<TelegramSent> {
        eventually(&format!("{count} messages at Telegram"), || async {
            let all = self.sim.sent();
            if all.len() >= count { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await
    }
}

fn ann() -> String {
    format!("telegram:{ANN}")
}

async fn holds(api: &Api, text: &str) -> Value {
    api.conversation(&ann(), &format!("to hold `{text}`"), |c| message(c, text).is_some()).await
}

async fn status(api: &Api, text: &str, wanted: &str) -> Value {
    api.conversation(&ann(), &format!("to have `{text}` {wanted}"), |c| {
        message(c, text).is_some_and(|m| m["status"] == wanted)
    })
    .await
}

async fn reply(api: &Api, body: Value) {
    let conversation = holds(api, "hello").await;
    let id = conversation["id"].as_str().expect("an id");
    api.post(&format!("/conversations/{id}/reply"), body).await.ok();
}

async fn only_telegram_is_heard_each_update_once_and_an_answer_comes_back_as_a_choice(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, hook) = (scene.shop.api(), scene.shop.hook("bot"));
    let hello = scene.sim.message(ANN, &json!({ "text": "hello" }));
    for (secret, wanted) in [(None, 401), (Some("another"), 403)] {
        assert_eq!(scene.sim.says(&hook, &hello, secret).await.0, wanted, "{secret:?}");
    }
    for _ in 0..3 {
        scene.says(&hello).await;
    }
    let choices = json!([{ "id": "RED", "label": "Red" }, { "id": "BLUE", "label": "Blue" }]);
    reply(&api, json!({ "text": "Which colour?", "choices": choices })).await;
    let sent = scene.sent(1).await.remove(0);
    assert_eq!((sent.method.as_str(), &sent.body["chat_id"]), ("sendMessage", &json!(ANN.to_string())));
    status(&api, "Which colour?", "accepted").await;
    let press = scene.sim.press(ANN, &sent, 1);
    let stopped: Value = serde_json::from_str(&scene.says(&press).await).expect("an answer to the press");
    assert_eq!(stopped["method"], "answerCallbackQuery");
    scene.says(&press).await;
    let whole = holds(&api, "Blue").await;
    assert_eq!(message(&whole, "Blue").map(|m| m["choice"]["id"].clone()), Some(json!("BLUE")));
    let all = api.messages(whole["id"].as_str().expect("an id")).await;
    assert_eq!(all.iter().filter(|m| m["direction"] != "event").count(), 3, "nothing came twice: {all:?}");
}

async fn patience_a_lost_answer_and_somebody_who_blocks_the_bot(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.says(&scene.sim.message(ANN, &json!({ "text": "hello" }))).await;
    scene.sim.next(TelegramStep::Error(429, "Too Many Requests: retry after 1".into(), Some(1)));
    reply(&api, json!({ "text": "after a while" })).await;
    status(&api, "after a while", "accepted").await;
    assert_eq!(scene.sent(1).await.len(), 1);
    scene.sim.next(TelegramStep::CutAfter);
    reply(&api, json!({ "text": "lost on the way back" })).await;
    status(&api, "lost on the way back", "unknown").await;
    assert_eq!(scene.sent(2).await.len(), 2, "parked, and not sent again");
    // Telegram refuses before its update comes.
    let blocked = scene.sim.block(ANN);
    reply(&api, json!({ "text": "are you there?" })).await;
    let whole = status(&api, "are you there?", "rejected").await;
    let told = message(&whole, "are you there?").map(ToString::to_string).unwrap_or_default();
    assert!(told.contains("the person blocked the bot"), "{told}");
    scene.says(&blocked).await;
    let id = whole["id"].as_str().expect("an id").to_owned();
    let refused = api.post(&format!("/conversations/{id}/reply"), json!({ "text": "hello?" })).await;
    assert_eq!(refused.status, 422, "opted out: {refused}");
    assert_eq!(scene.sim.sent().len(), 2);
}

async fn a_picture_is_fetched_with_a_token_that_nobody_sees(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    let photo =
        json!([{ "file_id": "AgADsmall", "width": 90 }, { "file_id": "AgADpicture", "width": 1280, "file_size": 33 }]);
    scene.says(&scene.sim.message(ANN, &json!({ "photo": photo, "caption": "hello" }))).await;
    let whole = api
        .conversation(&ann(), "to have its file", |c| {
            message(c, "hello").is_some_and(|m| m["attachments"][0]["state"] == "stored")
        })
        .await;
    let file = message(&whole, "hello").map(|m| m["attachments"][0].clone()).unwrap_or_default();
    assert_eq!(file["mime"], "image/png", "typed by what it holds: {file}");
    assert_eq!(scene.sim.fetched(), 1);
    let key = TelegramSim::TOKEN.split(':').nth(1).expect("a key");
    assert!(!whole.to_string().contains(key), "{whole}");
    let unknown = scene.sim.update("inline_query", json!({ "id": "1", "from": { "id": ANN } }));
    scene.says(&unknown).await;
    eventually("a record in quarantine", || async {
        let held = api.all("/quarantine", "quarantine").await;
        let told = |held: &serde_json::Value| held["reason"].as_str().is_some_and(|why| why.contains("of setWebhook"));
        if held.iter().any(told) { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
}
