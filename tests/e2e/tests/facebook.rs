//! The channel `facebook` through the real daemon: Messenger and WhatsApp, both ways.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use switchboard_e2e::{
    Api, Backend, Daemon, MetaConfig, MetaSent, MetaSigned, MetaSim, MetaStep, Shop, eventually, message,
    on_every_backend,
};

const ANN: &str = "7000000000000001";
const KIM: &str = "15005550009";

on_every_backend! {
    only_meta_is_heard_and_each_event_once,
    an_answer_goes_out_with_choices_and_comes_back_as_one,
    a_lost_answer_is_settled_by_the_echo_and_nothing_goes_twice,
    a_closed_window_and_a_refused_token_are_said,
    files_are_fetched_at_once,
    whatsapp_answers_and_its_statuses_come_back,
    what_comes_on_one_address_reaches_each_channel_of_the_app_and_strangers_are_an_alarm,
    a_read_mark_is_of_every_message_until_then,
    an_instagram_account_is_heard_answered_and_read_and_what_was_taken_back_is_said,
}

struct Scene {
    sim: MetaSim,
    shop: Shop,
}

async fn scene(backend: &Backend) -> Scene {
    let sim = MetaSim::start(MetaConfig::default()).await.expect("a port for Meta");
    let (config, base) = (sim.config().clone(), sim.base_url());
    let common = format!(
        "kind = \"facebook\"\napp_secret = [\"{}\", \"the-next-one\"]\nverify_token = \"{}\"\nbase_url = \"{base}\"\n",
        config.app_secret, config.verify_token
    );
    let channels = format!(
        "[channels.page]\n{common}page_id = \"{}\"\npage_token = \"{}\"\n[channels.wa]\n{common}product = \"whatsapp\"\nphone_number_id = \"{}\"\naccess_token = \"{}\"\n",
        config.page_id, config.page_token, config.phone_number_id, config.access_token
    );
    let shop = Shop::with("http://127.0.0.1:9").log(backend).more(&channels).open();
    Scene { sim, shop }
}

impl Scene {
    async fn says(&self, told: Value) {
        let event = self.sim.event(ANN, told);
        assert_eq!(self.sim.page_says(&self.shop.hook("page"), &[event], MetaSigned::Well).await, 200);
    }

    async fn sent(&self, count: usize) -> Vec<MetaSent> {
        eventually(&format!("{count} messages at Meta"), || async {
            let all = self.sim.sent();
            if all.len() >= count { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await
    }
}

async fn holds(api: &Api, identity: &str, text: &str) -> Value {
    api.conversation(identity, &format!("to hold `{text}`"), |c| message(c, text).is_some()).await
}

async fn status(api: &Api, identity: &str, text: &str, wanted: &str) {
    api.conversation(identity, &format!("to have `{text}` {wanted}"), |c| {
        message(c, text).is_some_and(|m| m["status"] == wanted)
    })
    .await;
}

async fn reply(api: &Api, identity: &str, body: Value) {
    let conversation = holds(api, identity, "hello").await;
    let id = conversation["id"].as_str().expect("an id");
    api.post(&format!("/conversations/{id}/reply"), body).await.ok();
}

async fn only_meta_is_heard_and_each_event_once(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, hook) = (scene.shop.api(), scene.shop.hook("page"));
    let word = scene.sim.config().verify_token.clone();
    assert_eq!(scene.sim.shakes_hands(&hook, &word).await, (200, "1158201444".into()));
    assert_eq!(scene.sim.shakes_hands(&hook, "another").await.0, 403);
    let said = |mid: &str, text: &str| scene.sim.event(ANN, json!({ "message": { "mid": mid, "text": text } }));
    for (signed, wanted) in [(MetaSigned::Not, 401), (MetaSigned::Badly, 403)] {
        assert_eq!(scene.sim.page_says(&hook, &[said("m_0", "forged")], signed).await, wanted, "{signed:?}");
    }
    let batch =
        [said("m_1", "Grüße / 👋"), json!({ "nobody": "knows" }), said("m_2", "hello"), said("m_1", "Grüße / 👋")];
    for _ in 0..2 {
        assert_eq!(scene.sim.page_says(&hook, &batch, MetaSigned::Well).await, 200);
    }
    let whole = holds(&api, &format!("facebook:{ANN}"), "hello").await;
    assert!(message(&whole, "Grüße / 👋").is_some(), "{whole}");
    assert_eq!(api.messages(whole["id"].as_str().expect("an id")).await.len(), 2, "each once, and nothing forged");
    // What nobody knows is kept, of each delivery.
    api.held(2).await;
    // The app's secret is rotated: the next one is configured beside it, any other is not.
    scene.sim.rotates("the-next-one");
    assert_eq!(scene.sim.page_says(&hook, &[said("m_3", "after the rotation")], MetaSigned::Well).await, 200);
    holds(&api, &format!("facebook:{ANN}"), "after the rotation").await;
    scene.sim.rotates("nobody-knows-this-one");
    assert_eq!(scene.sim.page_says(&hook, &[said("m_4", "forged")], MetaSigned::Well).await, 403);
}

async fn an_answer_goes_out_with_choices_and_comes_back_as_one(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, ann) = (scene.shop.api(), format!("facebook:{ANN}"));
    scene.says(json!({ "message": { "mid": "m_1", "text": "hello" } })).await;
    let choices = json!([{ "id": "RED", "label": "Red" }, { "id": "BLUE", "label": "Blue" }]);
    reply(&api, &ann, json!({ "text": "Which colour?", "choices": choices })).await;
    let sent = scene.sent(1).await.remove(0);
    assert_eq!(
        (sent.to.as_str(), sent.text(), sent.body["messaging_type"].as_str()),
        (ANN, "Which colour?", Some("RESPONSE"))
    );
    assert_eq!(sent.body["message"]["quick_replies"][1]["payload"], "BLUE");
    // The echo may come at any time, and is no message of anybody's.
    assert_eq!(scene.sim.page_says(&scene.shop.hook("page"), &[scene.sim.echo(&sent)], MetaSigned::Well).await, 200);
    status(&api, &ann, "Which colour?", "accepted").await;
    let watermark = jiff_now() + 1000;
    scene.says(json!({ "delivery": { "mids": [sent.id], "watermark": watermark } })).await;
    status(&api, &ann, "Which colour?", "delivered").await;
    scene.says(json!({ "read": { "watermark": watermark } })).await;
    status(&api, &ann, "Which colour?", "read").await;
    for (mid, told) in [
        ("m_2", json!({ "mid": "m_2", "text": "Blue", "quick_reply": { "payload": "BLUE" } })),
        ("m_3", json!({ "mid": "m_3", "text": "2" })),
    ] {
        scene.says(json!({ "message": told })).await;
        let text = told["text"].as_str().expect("a text");
        let whole = holds(&api, &ann, text).await;
        let chose = message(&whole, text).map(|m| m["choice"]["id"].clone());
        assert_eq!(chose, Some(json!("BLUE")), "{mid}: pressed or typed, it is the same choice");
    }
    let whole = holds(&api, &ann, "2").await;
    let all = api.messages(whole["id"].as_str().expect("an id")).await;
    assert_eq!(all.iter().filter(|m| m["direction"] != "event").count(), 4, "nothing came twice");
}

async fn a_lost_answer_is_settled_by_the_echo_and_nothing_goes_twice(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, ann) = (scene.shop.api(), format!("facebook:{ANN}"));
    scene.says(json!({ "message": { "mid": "m_1", "text": "hello" } })).await;
    scene.sim.next(MetaStep::CutAfter);
    reply(&api, &ann, json!({ "text": "lost on the way back" })).await;
    let sent = scene.sent(1).await.remove(0);
    status(&api, &ann, "lost on the way back", "unknown").await;
    assert_eq!(scene.sim.page_says(&scene.shop.hook("page"), &[scene.sim.echo(&sent)], MetaSigned::Well).await, 200);
    status(&api, &ann, "lost on the way back", "accepted").await;
    scene.sim.next(MetaStep::Error(400, 613, None));
    reply(&api, &ann, json!({ "text": "in the end" })).await;
    status(&api, &ann, "in the end", "accepted").await;
    assert_eq!(scene.sent(2).await.len(), 2, "each once");
    let elsewhere = json!({ "is_echo": true, "mid": "m_APP", "text": "from the app" });
    let page = scene.sim.config().page_id.clone();
    let event = json!({ "sender": { "id": page }, "recipient": { "id": ANN }, "timestamp": jiff_now() + 600_000, "message": elsewhere });
    assert_eq!(scene.sim.page_says(&scene.shop.hook("page"), &[event], MetaSigned::Well).await, 200);
    let whole = holds(&api, &ann, "from the app").await;
    assert_eq!(message(&whole, "from the app").map(|m| m["direction"].clone()), Some(json!("out")));
}

async fn a_closed_window_and_a_refused_token_are_said(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, ann) = (scene.shop.api(), format!("facebook:{ANN}"));
    // It was repeated for eight days before it got here.
    let mut late = scene.sim.event(ANN, json!({ "message": { "mid": "m_1", "text": "hello" } }));
    late["timestamp"] = json!(jiff_now() - 8 * 86_400_000);
    assert_eq!(scene.sim.page_says(&scene.shop.hook("page"), &[late], MetaSigned::Well).await, 200);
    let conversation = holds(&api, &ann, "hello").await;
    // An agent sees it before a word is typed, in the words of the refusal.
    let shown = &conversation["can_reply"];
    assert!(
        shown["ok"] == false
            && shown["until"].as_str().is_some_and(|t| t < conversation["opened_at"].as_str().unwrap()),
        "{shown}"
    );
    let path = format!("/conversations/{}/reply", conversation["id"].as_str().expect("an id"));
    let refused = api.post(&path, json!({ "text": "too late" })).await;
    refused.refused(422, "outside_window");
    assert_eq!(refused.body["detail"], shown["reason"]);
    let mut older = scene.sim.event(ANN, json!({ "message": { "mid": "m_2", "text": "again" } }));
    older["timestamp"] = json!(jiff_now() - 2 * 86_400_000);
    assert_eq!(scene.sim.page_says(&scene.shop.hook("page"), &[older], MetaSigned::Well).await, 200);
    let open = holds(&api, &ann, "again").await;
    assert!(open["can_reply"]["ok"] == true && open["can_reply"]["until"].is_string(), "{}", open["can_reply"]);
    api.post(&path, json!({ "text": "by a person" })).await.ok();
    assert_eq!(scene.sent(1).await[0].body["tag"], "HUMAN_AGENT");
    scene.sim.next(MetaStep::Error(401, 190, None));
    api.post(&path, json!({ "text": "with an old token" })).await.ok();
    let paused = eventually("the channel to be paused", || async {
        let channels = api.all("/channels", "channels").await;
        let page = channels.iter().find(|c| c["id"] == "page").cloned().unwrap_or_default();
        if page["paused_reason"].is_string() { Ok(page) } else { Err(format!("{channels:?}")) }
    })
    .await;
    assert!(paused["paused_reason"].as_str().is_some_and(|why| why.contains("page_token")), "{paused}");
    api.post("/channels/page/resume", json!({})).await.ok();
    status(&api, &ann, "with an old token", "accepted").await;
}

async fn files_are_fetched_at_once(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    let attachment = json!({ "type": "image", "payload": { "url": scene.sim.picture() } });
    scene.says(json!({ "message": { "mid": "m_1", "text": "hello", "attachments": [attachment] } })).await;
    let image = json!({ "from": KIM, "id": "wamid.1", "timestamp": now_s(), "type": "image",
        "image": { "id": "1003383421387257", "mime_type": "image/png", "caption": "hello" } });
    assert_eq!(scene.sim.whatsapp_says(&scene.shop.hook("wa"), "messages", &[image]).await, 200);
    for identity in [format!("facebook:{ANN}"), format!("whatsapp:{KIM}")] {
        let whole = api
            .conversation(&identity, "to have its file", |c| {
                message(c, "hello").is_some_and(|m| m["attachments"][0]["size"].as_u64().is_some_and(|size| size > 0))
            })
            .await;
        assert_eq!(message(&whole, "hello").map(|m| m["attachments"][0]["mime"].clone()), Some(json!("image/png")));
    }
    assert_eq!(scene.sim.fetched(), 2);
}

async fn whatsapp_answers_and_its_statuses_come_back(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, kim, hook) = (scene.shop.api(), format!("whatsapp:{KIM}"), scene.shop.hook("wa"));
    let text = |id: &str, said: &str, at: String| json!({ "from": KIM, "id": id, "timestamp": at, "type": "text", "text": { "body": said } });
    assert_eq!(scene.sim.whatsapp_says(&hook, "messages", &[text("wamid.1", "hello", now_s())]).await, 200);
    reply(&api, &kim, json!({ "text": "Which?", "choices": [{ "id": "A", "label": "First" }] })).await;
    let sent = scene.sent(1).await.remove(0);
    assert_eq!(
        (sent.to.as_str(), sent.text(), sent.body["interactive"]["type"].as_str()),
        (KIM, "Which?", Some("button"))
    );
    let told = |word: &str| json!({ "id": sent.id, "status": word, "timestamp": now_s(), "recipient_id": KIM, "biz_opaque_callback_data": sent.word() });
    for word in ["read", "delivered", "sent"] {
        assert_eq!(scene.sim.whatsapp_says(&hook, "statuses", &[told(word)]).await, 200);
    }
    status(&api, &kim, "Which?", "read").await;
    let old = (jiff_now() - 2 * 86_400_000) / 1000;
    let other = json!({ "from": "15005550010", "id": "wamid.9", "timestamp": old.to_string(), "type": "text", "text": { "body": "hello" } });
    assert_eq!(scene.sim.whatsapp_says(&hook, "messages", &[other]).await, 200);
    let conversation = holds(&api, "whatsapp:15005550010", "hello").await;
    let path = format!("/conversations/{}/reply", conversation["id"].as_str().expect("an id"));
    api.post(&path, json!({ "text": "too late" })).await.refused(422, "outside_window");
    let template = json!({ "name": "order_ready", "language": "en_US", "values": ["7"] });
    api.post(&path, json!({ "text": "Your order 7 is ready", "template": template })).await.ok();
    assert_eq!(scene.sent(2).await[1].body["template"]["name"], "order_ready");
    // Who wants nothing sold to them is still answered.
    let stops =
        json!({ "wa_id": "15005550010", "category": "marketing_messages", "value": "stop", "timestamp": now_s() });
    assert_eq!(scene.sim.whatsapp_says(&hook, "user_preferences", &[stops]).await, 200);
    let has_stopped = |c: &Value| c["contact"]["consent"]["wa/marketing"] == "opted_out";
    api.conversation("whatsapp:15005550010", "to want nothing sold to them", has_stopped).await;
    let sale = json!({ "name": "sale", "language": "en_US", "category": "marketing" });
    api.post(&path, json!({ "text": "Everything must go", "template": sale })).await.refused(422, "opted_out");
    let useful = json!({ "name": "order_shipped", "language": "en_US", "category": "utility" });
    api.post(&path, json!({ "text": "Your order 7 is on its way", "template": useful })).await.ok();
}

fn jiff_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock of this age")
}

fn now_s() -> String {
    (jiff_now() / 1000).to_string()
}

/// An app has one address for all that it speaks for.
async fn what_comes_on_one_address_reaches_each_channel_of_the_app_and_strangers_are_an_alarm(backend: Backend) {
    let scene = scene(&backend).await;
    let config = scene.sim.config().clone();
    let channel = |name: &str, secret: &str, page: &str| {
        format!(
            "[channels.{name}]\nkind = \"facebook\"\napp_secret = \"{secret}\"\nverify_token = \"word\"\nbase_url = \"{}\"\npage_id = \"{page}\"\npage_token = \"{}\"\n",
            scene.sim.base_url(),
            config.page_token
        )
    };
    // One of the same app, and one of another that has a page in its name only.
    let more = [channel("second", &config.app_secret, "202"), channel("foreign", "another-secret", "303")].concat();
    scene.shop.reconfigure(|before| format!("{before}\n{more}"));
    let mut daemon = Daemon::start(&scene.shop).await;
    let (api, hook) = (scene.shop.api(), scene.shop.hook("page"));
    let entry = |page: &str, person: &str, text: &str| {
        let event = json!({ "sender": { "id": person }, "recipient": { "id": page }, "timestamp": jiff_now(),
            "message": { "mid": format!("m_{text}"), "text": text } });
        json!({ "id": page, "time": jiff_now(), "messaging": [event] })
    };
    let mut untimed = entry("404", "74", "to-nobody");
    untimed.as_object_mut().expect("an entry").remove("time");
    untimed["messaging"][0].as_object_mut().expect("an event").remove("timestamp");
    let entries = [
        entry(&config.page_id, "71", "to-the-first"),
        entry("202", "72", "to-the-second"),
        entry("303", "73", "to-the-foreign"),
        untimed,
    ];
    let body = json!({ "object": "page", "entry": entries });
    for _ in 0..2 {
        assert_eq!(scene.sim.delivers(&hook, &body).await, 200);
    }
    for (person, text, of) in [("71", "to-the-first", "page"), ("72", "to-the-second", "second")] {
        let found = holds(&api, &format!("facebook:{person}"), text).await;
        assert_eq!(found["channel"], of);
        assert_eq!(api.messages(found["id"].as_str().expect("an id")).await.len(), 1, "once");
    }
    // An id counts within its page: on the next it is somebody else.
    let body = json!({ "object": "page", "entry": [entry("202", "71", "somebody-else")] });
    assert_eq!(scene.sim.delivers(&hook, &body).await, 200);
    let both = eventually("two people of one id", || async {
        let both = api.all("/conversations?contact=facebook%3A71", "conversations").await;
        if both.len() == 2 { Ok(both) } else { Err(format!("{both:?}")) }
    })
    .await;
    assert_ne!(both[0]["contact"]["id"], both[1]["contact"]["id"], "{both:?}");
    let told = json!({ "from": KIM, "id": "wamid.1", "timestamp": "1756632000", "type": "text", "text": { "body": "on WhatsApp" } });
    assert_eq!(scene.sim.whatsapp_says(&hook, "messages", &[told]).await, 200);
    assert_eq!(holds(&api, &format!("whatsapp:{KIM}"), "on WhatsApp").await["channel"], "wa");
    let typed = api.all(&format!("/conversations?contact=whatsapp%3A%2B{KIM}"), "conversations").await;
    assert_eq!(typed.len(), 1, "a number has one spelling, however it is typed");
    // Of the other app, and of nobody.
    let held = api.held(2).await;
    assert!(daemon.metrics().await.contains("webhooks_total{channel=\"page\",verdict=\"stranger\"} 4"));
    assert!(daemon.said().contains("for an account that no channel has"));
    let before = jiff_now();
    // Once there is a channel for it, what is held is its.
    scene.shop.reconfigure(|before| format!("{before}\n{}", channel("third", &config.app_secret, "404")));
    daemon.kill();
    daemon.restart().await;
    for row in &held {
        let path = format!("/quarantine/{}/retry", row["id"].as_str().expect("an id"));
        api.post(&path, json!({})).await;
    }
    let found = holds(&api, "facebook:74", "to-nobody").await;
    assert_eq!(found["channel"], "third");
    let until: jiff::Timestamp = found["can_reply"]["until"].as_str().expect("a window").parse().expect("a time");
    assert!(until.as_millisecond() <= before + 7 * 86_400_000, "it was said when it came, not when it was read again");
    // The other app's secret did not sign what names its page, whoever asks for it again.
    let held = api.all("/quarantine", "quarantine").await;
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(api.all("/conversations?contact=facebook%3A73", "conversations").await, Vec::<Value>::new());
}

async fn a_read_mark_is_of_every_message_until_then(backend: Backend) {
    let scene = scene(&backend).await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, ann) = (scene.shop.api(), format!("facebook:{ANN}"));
    scene.says(json!({ "message": { "mid": "m_1", "text": "hello" } })).await;
    for text in ["one", "two"] {
        reply(&api, &ann, json!({ "text": text })).await;
        status(&api, &ann, text, "accepted").await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let watermark = jiff_now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    reply(&api, &ann, json!({ "text": "three" })).await;
    status(&api, &ann, "three", "accepted").await;
    scene.says(json!({ "read": { "watermark": watermark } })).await;
    for text in ["one", "two"] {
        status(&api, &ann, text, "read").await;
    }
    status(&api, &ann, "three", "accepted").await;
    // As Instagram says it: by the message that was seen.
    let last = scene.sent(3).await.remove(2);
    scene.says(json!({ "read": { "mid": last.id } })).await;
    status(&api, &ann, "three", "read").await;
}

async fn an_instagram_account_is_heard_answered_and_read_and_what_was_taken_back_is_said(backend: Backend) {
    let scene = scene(&backend).await;
    let c = scene.sim.config().clone();
    let account = format!(
        "[channels.insta]\nkind = \"facebook\"\nproduct = \"instagram\"\napp_secret = \"{}\"\nverify_token = \"{}\"\npage_id = \"{}\"\npage_token = \"{}\"\nbase_url = \"{}\"\n",
        c.app_secret,
        c.verify_token,
        c.account_id,
        c.account_token,
        scene.sim.base_url()
    );
    scene.shop.reconfigure(|before| format!("{before}\n{account}"));
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, ann, hook) = (scene.shop.api(), format!("instagram:{ANN}"), scene.shop.hook("insta"));
    let says = async |event: Value| {
        for _ in 0..2 {
            let taken = scene.sim.instagram_says(&hook, std::slice::from_ref(&event), MetaSigned::Well).await;
            assert_eq!(taken, 200, "{event}");
        }
    };
    let to_us = |told: Value| scene.sim.instagram_event(ANN, json!({ "message": told }));
    let story = json!({ "story": { "id": "17995", "url": "https://cdn.example/story" } });
    says(to_us(json!({ "mid": "aWd_1", "text": "hello", "reply_to": story }))).await;
    reply(&api, &ann, json!({ "text": "Thank you!" })).await;
    let sent = scene.sent(1).await.remove(0);
    assert_eq!((sent.to.as_str(), sent.text()), (ANN, "Thank you!"));
    // Its echo may come at any time, and is no message of anybody's.
    says(scene.sim.echo(&sent)).await;
    status(&api, &ann, "Thank you!", "accepted").await;
    assert_eq!(scene.sim.tells(&hook, &sent, "read").await, 200);
    status(&api, &ann, "Thank you!", "read").await;
    // What was lost on its way back is settled by the echo, which names it.
    scene.sim.next(MetaStep::CutAfter);
    reply(&api, &ann, json!({ "text": "lost on the way back" })).await;
    let lost = scene.sent(2).await.remove(1);
    says(scene.sim.echo(&lost)).await;
    status(&api, &ann, "lost on the way back", "accepted").await;
    // Somebody answers in the app itself, and the customer takes their words back.
    let by_hand = json!({ "sender": { "id": c.account_id }, "recipient": { "id": ANN }, "timestamp": jiff_now(),
        "message": { "is_echo": true, "mid": "aWd_by_hand", "text": "from the app" } });
    says(by_hand).await;
    says(to_us(json!({ "mid": "aWd_1", "is_deleted": true }))).await;
    let whole = holds(&api, &ann, "[the customer took this message back]").await;
    assert_eq!(message(&whole, "from the app").map(|m| m["direction"].clone()), Some(json!("out")), "{whole}");
    let all = api.messages(whole["id"].as_str().expect("an id")).await;
    let count = |direction: &str| all.iter().filter(|m| m["direction"] == direction).count();
    assert_eq!((count("in"), count("out")), (2, 3), "nothing came twice: {all:?}");
    assert_eq!(scene.sent(2).await.len(), 2, "and what was taken back is answered by nobody");
}
