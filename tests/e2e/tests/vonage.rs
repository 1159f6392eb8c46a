//! The channel `vonage` through the real daemon: texts in every form that Vonage sends, both ways, by both of its APIs.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::time::Duration;
use switchboard_e2e::{
    Api, Backend, Daemon, Shop, VonageConfig, VonageForm, VonageSent, VonageSigned, VonageSim, VonageStep, eventually,
    message, on_every_backend,
};

const ANN: &str = "+447700900001";

on_every_backend! {
    texts_come_in_every_form_and_only_when_they_are_signed,
    parts_in_any_order_become_one_message,
    answers_go_out_and_their_receipts_come_back,
    a_segment_that_is_lost_is_told_although_another_arrived,
    of_a_long_text_whose_answer_was_lost_each_segment_is_told,
    failures_have_their_outcomes_and_nothing_goes_out_twice,
    the_price_of_a_text_is_told_before_it_is_sent,
}

struct Scene {
    sim: VonageSim,
    shop: Shop,
}

/// A shop with the channel `vonage`, whose API is `api`.
async fn scene(backend: &Backend, api: &str) -> Scene {
    let sim = VonageSim::start(VonageConfig::default()).await.expect("a port for Vonage");
    let (config, base) = (sim.config().clone(), sim.base_url());
    let channel = format!(
        "[channels.vonage]\nkind = \"sms\"\nprovider = \"vonage\"\napi = \"{api}\"\nmax_segments = 10\napi_key = \"{}\"\napi_secret = \"{}\"\nsignature_secret = [\"{}\", \"the-next-one\"]\nfrom = \"+{}\"\nbase_url = \"{base}\"\n",
        config.api_key, config.api_secret, config.signature_secret, config.numbers[0]
    );
    let shop = Shop::with("http://127.0.0.1:9").log(backend).more(&channel).open();
    sim.route("https://hooks.shop.example", &shop.public());
    Scene { sim, shop }
}

impl Scene {
    fn hook(&self) -> String {
        format!("{}/in", self.shop.hook("vonage"))
    }

    async fn hears(&self, id: &str, text: &str) {
        let answer = self.sim.deliver(&self.hook(), id, ANN, text, None, VonageForm::Form, VonageSigned::Well).await;
        assert_eq!(answer, 200);
    }

    async fn sent(&self, count: usize) -> Vec<VonageSent> {
        eventually(&format!("{count} texts at Vonage"), || async {
            let all = self.sim.sent();
            if all.len() >= count { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await
    }
}

async fn with_message(api: &Api, text: &str) -> Value {
    api.conversation(&format!("phone:{ANN}"), &format!("to hold `{text}`"), |c| message(c, text).is_some()).await
}

async fn status(api: &Api, text: &str, wanted: &str) {
    api.conversation(&format!("phone:{ANN}"), &format!("to have `{text}` {wanted}"), |c| {
        message(c, text).is_some_and(|m| m["status"] == wanted)
    })
    .await;
}

async fn reply(api: &Api, text: &str) {
    let conversation = with_message(api, "hello").await;
    let id = conversation["id"].as_str().expect("an id");
    api.post(&format!("/conversations/{id}/reply"), json!({ "text": text })).await.ok();
}

async fn texts_come_in_every_form_and_only_when_they_are_signed(backend: Backend) {
    let scene = scene(&backend, "sms").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, hook) = (scene.shop.api(), scene.hook());
    for (id, form) in [("A1", VonageForm::Get), ("A2", VonageForm::Form), ("A3", VonageForm::Json)] {
        let text = format!("{form:?} & = é 😀");
        let say = || scene.sim.deliver(&hook, id, ANN, &text, None, form, VonageSigned::Well);
        assert_eq!((say().await, say().await), (200, 200));
        with_message(&api, &text).await;
    }
    let by_messages = scene.sim.deliver_message(&hook, "M1", ANN, "by messages", VonageSigned::Well).await;
    assert_eq!(by_messages, 200);
    with_message(&api, "by messages").await;
    for (signed, wanted) in [(VonageSigned::Not, 503), (VonageSigned::Badly, 403)] {
        for form in [VonageForm::Get, VonageForm::Form, VonageForm::Json] {
            assert_eq!(
                scene.sim.deliver(&hook, "X", ANN, "forged", None, form, signed).await,
                wanted,
                "{form:?} {signed:?}"
            );
        }
        assert_eq!(scene.sim.deliver_message(&hook, "Y", ANN, "forged", signed).await, wanted);
    }
    let whole = with_message(&api, "by messages").await;
    assert_eq!(api.messages(whole["id"].as_str().expect("an id")).await.len(), 4, "each once, and nothing forged");
    // The secret is rotated: the next one is configured beside it, any other is not.
    for (secret, wanted) in [("the-next-one", 200), ("nobody-knows-this-one", 403)] {
        scene.sim.rotates(secret);
        let (form, well) = (VonageForm::Form, VonageSigned::Well);
        assert_eq!(scene.sim.deliver(&hook, secret, ANN, secret, None, form, well).await, wanted, "{secret}");
        assert_eq!(scene.sim.deliver_message(&hook, &format!("{secret}-m"), ANN, secret, well).await, wanted);
    }
    with_message(&api, "the-next-one").await;
}

async fn parts_in_any_order_become_one_message(backend: Backend) {
    let scene = scene(&backend, "sms").await;
    let mut daemon = Daemon::start(&scene.shop).await;
    let (api, hook) = (scene.shop.api(), scene.hook());
    let part = |id: &'static str, text: &'static str, number: u16| {
        scene.sim.deliver(&hook, id, ANN, text, Some((number, 3, 108)), VonageForm::Form, VonageSigned::Well)
    };
    assert_eq!(part("P3", " and three.", 3).await, 200);
    assert_eq!(part("P1", "One, ", 1).await, 200);
    assert_eq!(part("P1", "One, ", 1).await, 200, "the same again");
    // What was acknowledged survives a crash, also when it is a part.
    daemon.kill();
    daemon.restart().await;
    assert_eq!(part("P2", "two 😀", 2).await, 200);
    let whole = with_message(&api, "One, two 😀 and three.").await;
    assert_eq!(api.messages(whole["id"].as_str().expect("an id")).await.len(), 1);
}

async fn answers_go_out_and_their_receipts_come_back(backend: Backend) {
    for api_name in ["sms", "messages"] {
        let scene = scene(&backend, api_name).await;
        let _daemon = Daemon::start(&scene.shop).await;
        let api = scene.shop.api();
        scene.hears("A1", "hello").await;
        reply(&api, "Grüße, Ann & Co.").await;
        let sent = scene.sent(1).await.remove(0);
        assert_eq!((sent.text.as_str(), sent.to.as_str(), sent.unicode), ("Grüße, Ann & Co.", "447700900001", false));
        assert_eq!(scene.sim.receipt(&sent, if api_name == "sms" { "accepted" } else { "submitted" }, "0").await, 200);
        assert_eq!(scene.sim.receipt(&sent, "delivered", "0").await, 200);
        status(&api, "Grüße, Ann & Co.", "delivered").await;
        reply(&api, "Żółw").await;
        let sent = scene.sent(2).await.remove(1);
        assert_eq!(sent.unicode, api_name == "sms", "unicode must be asked for, or the letters are lost");
        let (word, code) = if api_name == "sms" { ("failed", "3") } else { ("undeliverable", "1190") };
        assert_eq!(scene.sim.receipt(&sent, word, code).await, 200);
        status(&api, "Żółw", "failed").await;
    }
}

async fn a_segment_that_is_lost_is_told_although_another_arrived(backend: Backend) {
    let scene = scene(&backend, "sms").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.hears("A1", "hello").await;
    scene.sim.next(VonageStep::Statuses(vec![("0", ""), ("0", "")]));
    reply(&api, "a text of two segments").await;
    let first = scene.sent(1).await.remove(0);
    let second = VonageSent { id: format!("{}-1", first.id), ..first.clone() };
    assert_eq!(scene.sim.receipt(&first, "delivered", "0").await, 200);
    status(&api, "a text of two segments", "delivered").await;
    assert_eq!(scene.sim.receipt(&second, "failed", "6").await, 200);
    status(&api, "a text of two segments", "failed").await;
    let told = api.conversation(&format!("phone:{ANN}"), "to be back", |c| c["state"] == "queued").await;
    let detail = message(&told, "a text of two segments").expect("the answer")["detail"].clone();
    assert_eq!(detail, "a part of it, while another was delivered: a carrier filtered the message as spam");
}

async fn of_a_long_text_whose_answer_was_lost_each_segment_is_told(backend: Backend) {
    let scene = scene(&backend, "sms").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.hears("A1", "hello").await;
    let text = "a text of two segments ".repeat(8).trim().to_owned();
    for (n, told) in [("delivered", "failed"), ("failed", "delivered")].into_iter().enumerate() {
        let text = format!("{text} {n}");
        scene.sim.next(VonageStep::CutAfter);
        reply(&api, &text).await;
        let first = scene.sent(n + 1).await.remove(n);
        let second = VonageSent { id: format!("{}-1", first.id), ..first.clone() };
        for (segment, word) in [(&first, told.0), (&second, told.1)] {
            assert_eq!(scene.sim.receipt(segment, word, if word == "failed" { "6" } else { "0" }).await, 200);
        }
        status(&api, &text, "failed").await;
        api.conversation(&format!("phone:{ANN}"), "to be back", |c| c["state"] == "queued").await;
    }
    let parked = api.all("/dead-letters", "dead_letters").await;
    assert!(parked.iter().all(|p| p["reason"] != "unknown"), "the receipts said what became of them: {parked:?}");
}

async fn failures_have_their_outcomes_and_nothing_goes_out_twice(backend: Backend) {
    let scene = scene(&backend, "sms").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.hears("A1", "hello").await;

    scene.sim.next(VonageStep::Statuses(vec![("1", "Throughput Rate Exceeded - please wait [ 250 ] and retry")]));
    reply(&api, "throttled, then taken").await;
    assert_eq!(scene.sent(1).await[0].text, "throttled, then taken");

    scene.sim.next(VonageStep::Statuses(vec![("7", "Number barred.")]));
    reply(&api, "barred").await;
    let letters = eventually("a dead letter", || async {
        let all = api.all("/dead-letters", "dead_letters").await;
        if all.len() == 1 { Ok(all) } else { Err(format!("{all:?}")) }
    })
    .await;
    assert_eq!(letters[0]["reason"], "rejected");

    // Half a text is never sent again by itself.
    scene.sim.next(VonageStep::Statuses(vec![("0", ""), ("1", "Throttled")]));
    reply(&api, "half of it").await;
    eventually("the second dead letter", || async {
        let all = api.all("/dead-letters", "dead_letters").await;
        if all.len() == 2 { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;

    // The answer is lost, and the receipt settles it.
    scene.sim.next(VonageStep::CutAfter);
    reply(&api, "the answer is lost").await;
    let sent = scene.sent(3).await.remove(2);
    assert_eq!(sent.text, "the answer is lost");
    eventually("the receipt to be told", || async {
        let answer = scene.sim.receipt(&sent, "delivered", "0").await;
        if answer == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
    status(&api, "the answer is lost", "delivered").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let texts: Vec<_> = scene.sim.sent().into_iter().map(|s| s.text).collect();
    assert_eq!(texts, ["throttled, then taken", "half of it", "the answer is lost"]);
}

async fn the_price_of_a_text_is_told_before_it_is_sent(backend: Backend) {
    let scene = scene(&backend, "sms").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    let measure = |text: String| {
        let api = api.clone();
        async move { api.post("/channels/vonage/measure", json!({ "text": text })).await.ok() }
    };
    let plain = measure("a".repeat(161)).await;
    assert_eq!(
        (&plain["segments"], &plain["encoding"], &plain["per_segment"]),
        (&json!(2), &json!("gsm7"), &json!([153, 8]))
    );
    let emoji = measure("😀".repeat(36)).await;
    assert_eq!((&emoji["segments"], &emoji["encoding"], &emoji["units"]), (&json!(2), &json!("ucs2"), &json!(72)));
    let long = measure("ж".repeat(700)).await;
    assert_eq!((&long["fits"], &long["most"]), (&json!(false), &json!(10)));
    api.post("/channels/other/measure", json!({ "text": "x" })).await.refused(404, "not_found");
}
