//! The channel `twitter` through the real daemon: direct messages and mentions, both ways, while X does what X does.
#![forbid(unsafe_code)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;
use switchboard_e2e::{
    Api, Backend, Daemon, Shop, XConfig, XSent, XSim, XStep, eventually, eventually_within, jetstream, message,
    on_every_backend, put_value,
};

const ANN: &str = "2222222222222222222";
const MINUTE: Duration = Duration::from_secs(60);

on_every_backend! {
    only_x_is_heard_on_either_api_and_each_event_once,
    two_accounts_of_an_app_are_told_apart_on_one_webhook,
    an_answer_goes_out_is_read_and_its_echo_is_no_message,
    a_mention_is_answered_in_public_with_an_invitation_and_the_rest_in_private,
    a_lost_answer_is_settled_by_the_list_and_nothing_goes_twice,
    refusals_and_limits_are_said_and_waited_for,
    the_days_budget_holds_across_a_restart,
    what_the_webhook_missed_is_in_the_list_and_files_are_fetched_with_our_keys,
    files_are_handed_over_first_and_shown_in_private_and_in_public,
    a_group_of_the_list_is_answered_in_the_group,
    user_tokens_are_renewed_and_the_latest_one_survives_a_restart,
    after_a_gap_x_delivers_again_what_is_in_no_list_and_is_asked_once,
    challenges_are_answered_under_load_and_while_the_log_is_away,
    who_is_writing_is_told_and_is_no_message,
}

struct Scene {
    sim: XSim,
    shop: Shop,
}

/// A shop with an account on X, proved by OAuth 1.0a.
async fn scene(backend: &Backend, config: XConfig, more: &str) -> Scene {
    let sim = XSim::start(config).await.expect("a port for X");
    let c = sim.config();
    let keys = format!(
        "consumer_key = \"{}\"\naccess_token = \"{}\"\naccess_token_secret = \"{}\"\n",
        c.consumer_key, c.access_token, c.access_token_secret
    );
    let shop = shop(backend, &sim, &keys, more);
    Scene { sim, shop }
}

fn shop(backend: &Backend, sim: &XSim, keys: &str, more: &str) -> Shop {
    let c = sim.config();
    let channel = format!(
        "[channels.handle]\nkind = \"twitter\"\nuser_id = \"{}\"\nconsumer_secret = [\"{}\", \"the-next-one\"]\nbase_url = \"{}\"\n{keys}{more}\n",
        c.user_id,
        c.consumer_secret,
        sim.base_url()
    );
    Shop::with("http://127.0.0.1:9").log(backend).more(&channel).open()
}

impl Scene {
    fn hook(&self) -> String {
        self.shop.hook("handle")
    }

    async fn says(&self, body: &Value) {
        assert_eq!(self.sim.says(&self.hook(), body).await, 200, "{body}");
    }

    /// Ann writes directly; the message's id.
    async fn hears(&self, text: &str) -> String {
        let id = self.sim.id();
        self.says(&self.sim.received(&[self.sim.direct(&id, ANN, json!({ "text": text, "entities": {} }))])).await;
        id
    }

    async fn sent(&self, count: usize) -> Vec<XSent> {
        eventually(&format!("{count} messages at X"), || async {
            let all = self.sim.sent();
            if all.len() >= count { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await
    }
}

/// Ann's conversation in which she said this: in private and in public she has one each.
async fn where_said(api: &Api, text: &str) -> Value {
    eventually(&format!("a conversation with `{text}`"), || async {
        for row in api.all(&format!("/conversations?contact=twitter%3A{ANN}"), "conversations").await {
            let whole = api.get(&format!("/conversations/{}", row["id"].as_str().unwrap_or_default())).await.body;
            if message(&whole, text).is_some() {
                return Ok(whole);
            }
        }
        Err("there is none".to_owned())
    })
    .await
}

async fn reply(api: &Api, to: &str, body: Value) {
    let conversation = where_said(api, to).await;
    let id = conversation["id"].as_str().expect("an id");
    api.post(&format!("/conversations/{id}/reply"), body).await.ok();
}

async fn status(api: &Api, text: &str, wanted: &str) -> Value {
    eventually(&format!("`{text}` to be {wanted}"), || async {
        let whole = where_said(api, text).await;
        let found = message(&whole, text).cloned().unwrap_or_default();
        if found["status"] == wanted { Ok(found) } else { Err(found.to_string()) }
    })
    .await
}

async fn only_x_is_heard_on_either_api_and_each_event_once(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, hook, sim) = (scene.shop.api(), scene.hook(), &scene.sim);
    for token in ["test token", "MjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1"] {
        assert_eq!(sim.challenges(&hook, token).await, Ok(()));
    }
    assert!(
        sim.challenges(&hook, "{\"for_user_id\":\"1\"}").await.is_err(),
        "nothing that could be delivered is signed"
    );
    let (one, two) = (sim.id(), sim.id());
    let said = |id: &str, text: &str| sim.direct(id, ANN, json!({ "text": text }));
    assert_eq!(sim.delivers(&hook, &sim.received(&[said(&one, "forged")]), None).await, 401);
    assert_eq!(sim.delivers(&hook, &sim.received(&[said(&one, "forged")]), Some("another")).await, 403);
    assert_eq!(sim.delivers(&hook, &sim.received(&[said(&one, "Grüße &amp; 👋")]), Some("the-next-one")).await, 200);
    let batch = [said(&one, "Grüße &amp; 👋"), json!({ "nobody": "knows" }), said(&two, "hello"), said(&two, "hello")];
    for body in [sim.received(&batch), sim.received_before(&batch), sim.received(&batch)] {
        scene.says(&body).await;
    }
    let whole = where_said(&api, "hello").await;
    assert!(message(&whole, "Grüße & 👋").is_some(), "{whole}");
    assert_eq!(api.messages(whole["id"].as_str().expect("an id")).await.len(), 2, "each once, and nothing forged");
    // What nobody knows is kept, of each delivery.
    api.held(3).await;
    // Rotated, any secret of the list is good for a delivery, and the first alone answers.
    sim.rotates("the-next-one");
    scene.says(&sim.received(&[said(&sim.id(), "signed by the next one")])).await;
    where_said(&api, "signed by the next one").await;
    assert!(sim.challenges(&hook, "test token").await.is_err(), "the list has to begin with the new one");
}

async fn two_accounts_of_an_app_are_told_apart_on_one_webhook(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "").await;
    let c = scene.sim.config().clone();
    let second = format!(
        "[channels.second]\nkind = \"twitter\"\nuser_id = \"3333\"\nconsumer_secret = \"{}\"\nbase_url = \"{}\"\nconsumer_key = \"{}\"\naccess_token = \"{}\"\naccess_token_secret = \"{}\"\n",
        c.consumer_secret,
        scene.sim.base_url(),
        c.consumer_key,
        c.access_token,
        c.access_token_secret
    );
    scene.shop.reconfigure(|before| format!("{before}\n{second}"));
    let daemon = Daemon::start(&scene.shop).await;
    let (api, sim) = (scene.shop.api(), &scene.sim);
    let told = |of: &str, text: &str| {
        let post = json!({ "id": sim.id(), "author_id": ANN, "text": text });
        json!({ "event_uuid": sim.id(), "filter": { "user_id": of }, "event_type": "post.mention.create", "payload": post })
    };
    let direct = json!({ "type": "message_create", "id": sim.id(), "message_create":
        { "target": { "recipient_id": "3333" }, "sender_id": ANN, "message_data": { "text": "older to the second" } } });
    let bodies = [
        json!({ "data": [told(&c.user_id, "to the first"), told("3333", "to the second"), told("4444", "to nobody")] }),
        json!({ "for_user_id": "3333", "direct_message_events": [direct] }),
    ];
    for body in &bodies {
        scene.says(body).await;
        scene.says(body).await;
    }
    for (text, of) in [("to the first", "handle"), ("to the second", "second"), ("older to the second", "second")] {
        let found = where_said(&api, text).await;
        assert_eq!(found["channel"], of, "{text}");
        assert_eq!(api.messages(found["id"].as_str().expect("an id")).await.len(), 1, "once: {found}");
    }
    assert_eq!(api.all("/quarantine", "quarantine").await.len(), 1, "of an account that has no channel");
    assert!(daemon.metrics().await.contains("webhooks_total{channel=\"handle\",verdict=\"stranger\"} 2"));
}

async fn an_answer_goes_out_is_read_and_its_echo_is_no_message(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.hears("hello").await;
    reply(&api, "hello", json!({ "text": "hi, how can we help?" })).await;
    let sent = scene.sent(1).await.remove(0);
    assert_eq!((sent.to.as_str(), sent.text.as_str(), sent.public), (ANN, "hi, how can we help?", false));
    scene.says(&scene.sim.echo(&sent.id, ANN, &sent.text)).await;
    status(&api, "hi, how can we help?", "accepted").await;
    let read = json!({ "created_timestamp": "1518452444662", "sender_id": ANN, "last_read_event_id": sent.id,
        "target": { "recipient_id": scene.sim.config().user_id } });
    let marks = json!({ "for_user_id": scene.sim.config().user_id, "direct_message_mark_read_events": [read] });
    scene.says(&marks).await;
    status(&api, "hi, how can we help?", "read").await;
    let by_hand = scene.sim.id();
    // Later than what could be an echo of a send that is under way.
    scene.says(&scene.sim.echo(&by_hand, ANN, "from the app")).await;
    let found = status(&api, "from the app", "accepted").await;
    assert_eq!(found["direction"], "out");
    let whole = where_said(&api, "hello").await;
    let all = api.messages(whole["id"].as_str().expect("an id")).await;
    assert_eq!(all.iter().filter(|m| m["direction"] != "event").count(), 3, "nothing came twice: {all:?}");
    assert_eq!(scene.sent(1).await.len(), 1);
}

async fn a_mention_is_answered_in_public_with_an_invitation_and_the_rest_in_private(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "public = \"invite\"\ninvitation = \"Write to us:\"").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    let post = scene.sim.id();
    scene.says(&scene.sim.mention(&post, ANN, "@deskbrand kettle leaks!")).await;
    reply(&api, "@deskbrand kettle leaks!", json!({ "text": "Sorry!" })).await;
    let sent = scene.sent(1).await.remove(0);
    assert_eq!((sent.to.as_str(), sent.public), (post.as_str(), true));
    let link = format!("https://x.com/messages/compose?recipient_id={}", scene.sim.config().user_id);
    assert_eq!(sent.text, format!("Sorry!\n\nWrite to us: {link}"));
    let public = where_said(&api, "@deskbrand kettle leaks!").await;
    let path = format!("/conversations/{}/reply", public["id"].as_str().expect("an id"));
    api.post(&path, json!({ "text": "a".repeat(281) })).await.refused(422, "does_not_fit");
    scene.hears("order 123456").await;
    let private = where_said(&api, "order 123456").await;
    assert_ne!(private["id"], public["id"], "what is private stays out of the public conversation");
    reply(&api, "order 123456", json!({ "text": "Found it" })).await;
    assert_eq!(scene.sent(2).await[1].text, "Found it");
}

async fn a_lost_answer_is_settled_by_the_list_and_nothing_goes_twice(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.hears("hello").await;
    scene.sim.next(XStep::CutAfter);
    reply(&api, "hello", json!({ "text": "lost on the way back" })).await;
    status(&api, "lost on the way back", "accepted").await;
    scene.sim.next(XStep::CutBefore);
    reply(&api, "hello", json!({ "text": "cut before it was read" })).await;
    status(&api, "cut before it was read", "unknown").await;
    scene.hears("are you there?").await;
    where_said(&api, "are you there?").await;
    let texts: Vec<String> = scene.sim.sent().into_iter().map(|s| s.text).collect();
    assert_eq!(texts, ["lost on the way back"], "absence in the list proves nothing, so nobody sends it again");
}

async fn refusals_and_limits_are_said_and_waited_for(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.hears("hello").await;
    scene.sim.next(XStep::Problem(403, "You cannot send messages to this user.".into()));
    reply(&api, "hello", json!({ "text": "to nobody" })).await;
    let dead = eventually("a dead letter", || async {
        let all = api.all("/dead-letters", "dead_letters").await;
        all.first().cloned().ok_or_else(|| "none".to_owned())
    })
    .await;
    assert!(dead.to_string().contains("direct messages"), "{dead}");
    scene.sim.next(XStep::Limited(Some(2)));
    reply(&api, "hello", json!({ "text": "in the end" })).await;
    status(&api, "in the end", "accepted").await;
    scene.sim.next(XStep::Answer(401, vec![], "{\"title\":\"Unauthorized\"}".into()));
    reply(&api, "hello", json!({ "text": "with old keys" })).await;
    let paused = eventually("the channel to be paused", || async {
        let channels = api.all("/channels", "channels").await;
        let handle = channels.iter().find(|c| c["id"] == "handle").cloned().unwrap_or_default();
        if handle["paused_reason"].is_string() { Ok(handle) } else { Err(format!("{channels:?}")) }
    })
    .await;
    assert!(paused["paused_reason"].as_str().is_some_and(|why| why.contains("tokens")), "{paused}");
    api.post("/channels/handle/resume", json!({})).await.ok();
    status(&api, "with old keys", "accepted").await;
    let revoked = json!({ "date_time": "2026-07-23T21:44:05+00:00", "user_id": scene.sim.config().user_id, "app_id": "29820954" });
    scene.says(&scene.sim.activity("oauth.revoke", revoked, Value::Null)).await;
    eventually("the channel to be paused again", || async {
        let channels = api.all("/channels", "channels").await;
        let handle = channels.iter().find(|c| c["id"] == "handle").cloned().unwrap_or_default();
        let why = handle["paused_reason"].as_str().unwrap_or_default().to_owned();
        if why.contains("revoked") { Ok(()) } else { Err(why) }
    })
    .await;
}

async fn the_days_budget_holds_across_a_restart(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "limits = { dm_24h = 2 }").await;
    let mut daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.hears("hello").await;
    for text in ["one", "two", "three"] {
        reply(&api, "hello", json!({ "text": text })).await;
    }
    status(&api, "two", "accepted").await;
    daemon.kill();
    daemon.restart().await;
    reply(&api, "hello", json!({ "text": "four" })).await;
    eventually("the budget to be said", || async {
        let whole = where_said(&api, "three").await;
        let three = message(&whole, "three").cloned().unwrap_or_default();
        if three.to_string().contains("used up") { Ok(()) } else { Err(three.to_string()) }
    })
    .await;
    assert_eq!(scene.sim.sent().len(), 2, "X was not asked again");
}

async fn what_the_webhook_missed_is_in_the_list_and_files_are_fetched_with_our_keys(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "poll = \"10s\"").await;
    for (n, text) in ["missed one", "missed two", "missed three"].into_iter().enumerate() {
        scene.sim.missed(ANN, text, 200 - i64::try_from(n).expect("a small number"));
    }
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    let whole = where_said(&api, "missed three").await;
    for text in ["missed one", "missed two"] {
        assert!(message(&whole, text).is_some(), "{text}: {whole}");
    }
    let media = json!({ "type": "media", "media": { "url": "https://t.co/m1", "type": "photo", "media_url_https": scene.sim.picture() } });
    let id = scene.sim.id();
    let picture = scene.sim.direct(&id, ANN, json!({ "text": "look https://t.co/m1", "attachment": media }));
    scene.says(&scene.sim.received(&[picture])).await;
    eventually("the picture to be fetched", || async {
        let whole = where_said(&api, "look").await;
        let found = message(&whole, "look").cloned().unwrap_or_default();
        let size = found["attachments"][0]["size"].as_u64().unwrap_or(0);
        if size > 0 { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
    assert_eq!(scene.sim.fetched(), 1);
}

/// Writes where the catch-up of the channel is into the log of a daemon that is down.
async fn catches_up_from(backend: &Backend, shop: &Shop, cursor: &Value) {
    let value = cursor.to_string();
    match backend.url() {
        Some(url) => put_value(&url, "SB_main_EDGES", "poll.handle", &value).await,
        None => {
            let log = rusqlite::Connection::open(shop.folder().join("data").join("log.db")).expect("the log");
            let put = "INSERT OR REPLACE INTO edge_cursors VALUES ('poll.handle', ?1)";
            log.execute(put, [&value]).expect("the cursor is written");
        }
    }
}

async fn after_a_gap_x_delivers_again_what_is_in_no_list_and_is_asked_once(backend: Backend) {
    let c = XConfig::default();
    let more = format!("poll = \"10s\"\nwebhook_id = \"{}\"\nbearer_token = \"{}\"", c.webhook_id, c.bearer_token);
    let scene = scene(&backend, c, &more).await;
    let mut daemon = Daemon::start(&scene.shop).await;
    let (api, sim) = (scene.shop.api(), &scene.sim);
    daemon.kill();
    // It was away for half an hour, and that is so long ago that X takes the question.
    let ago = |minutes: i64| (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes)).to_string();
    let gap = json!({ "from": ago(70), "to": ago(40) });
    catches_up_from(&backend, &scene.shop, &json!({ "since": ago(1), "every": 10_000, "gap": gap })).await;
    sim.withhold_replays(true);
    daemon.restart().await;
    let readyz = async || {
        let url = format!("{}/readyz", scene.shop.admin());
        switchboard_e2e::http().get(url).send().await.expect("an answer").text().await.expect("a body")
    };
    // A duty of the process that was killed lasts a while.
    eventually_within(MINUTE, "/readyz to say that X refuses", || async {
        let said = readyz().await;
        if said.contains("403") && said.contains("does not include replays") { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(sim.replays(), Vec::<Value>::new());
    sim.withhold_replays(false);
    let asked = eventually_within(MINUTE, "the question for what was missed", || async {
        sim.replays().first().cloned().ok_or("none")
    })
    .await;
    let minute = |at: &Value| {
        let at: jiff::Timestamp = at.as_str().expect("a time").parse().expect("a time");
        at.strftime("%Y%m%d%H%M").to_string()
    };
    let wanted = json!({ "webhook_id": sim.config().webhook_id,
        "from_date": minute(&gap["from"]), "to_date": minute(&gap["to"]) });
    assert_eq!(asked, wanted, "asked with the app's own token, or X had refused it");
    // X delivers it again, and at times more than once.
    let post = sim.mention(&sim.id(), ANN, "@deskbrand missed in public");
    scene.says(&post).await;
    scene.says(&post).await;
    let whole = where_said(&api, "@deskbrand missed in public").await;
    assert_eq!(api.messages(whole["id"].as_str().expect("an id")).await.len(), 1, "once: {whole}");
    let polls = sim.polls();
    eventually_within(MINUTE, "two more looks at the list", || async {
        if sim.polls() > polls + 1 { Ok(()) } else { Err(sim.polls()) }
    })
    .await;
    assert_eq!(sim.replays().len(), 1, "nobody asks a second time");
    eventually_within(MINUTE, "/readyz to say no more of it", || async {
        let said = readyz().await;
        if said.contains("replay") { Err(said) } else { Ok(()) }
    })
    .await;
    assert_eq!(sim.sent(), vec![], "and X would have taken each request");
}

/// X withdraws a webhook whose challenge is not answered within ten seconds.
async fn challenged(scene: &Scene, when: &str) {
    let ask = async |n: usize| {
        let begun = std::time::Instant::now();
        let answer = scene.sim.challenges(&scene.hook(), &format!("token-{n}")).await;
        assert_eq!(answer, Ok(()), "{when}");
        begun.elapsed()
    };
    let times = futures_util::future::join_all((0..200).map(ask)).await;
    let longest = times.into_iter().max().expect("there were some");
    assert!(longest < Duration::from_secs(10), "{when}: {longest:?}");
}

async fn challenges_are_answered_under_load_and_while_the_log_is_away(backend: Backend) {
    const DELIVERIES: usize = 1_000;
    let scene = scene(&backend, XConfig::default(), "").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, hook, sim) = (scene.shop.api(), scene.hook(), &scene.sim);
    let one = |_| sim.received(&[sim.direct(&sim.id(), ANN, json!({ "text": "hello" }))]);
    let bodies: Vec<Value> = (0..DELIVERIES).map(one).collect();
    // Sixteen at a time, as fast as they are taken; what is refused is delivered again.
    let deliver = async |of: usize| {
        for body in bodies.iter().skip(of).step_by(16) {
            eventually_within(MINUTE, "a delivery to be taken", || async {
                let status = sim.says(&hook, body).await;
                if status == 200 { Ok(()) } else { Err(status) }
            })
            .await;
        }
    };
    let load = futures_util::future::join_all((0..16).map(deliver));
    let (_, ()) = tokio::join!(load, challenged(&scene, "under load"));
    if let Backend::Nats(server) = &backend {
        server.pause();
        let held = json!({ "text": "while the log was away" });
        let held = sim.received(&[sim.direct(&sim.id(), ANN, held)]);
        // Its answer waits for the log, or says that it could not be had.
        let (before, ()) = tokio::join!(sim.says(&hook, &held), challenged(&scene, "while the log was away"));
        assert_ne!(before, 200);
        server.resume();
        eventually_within(MINUTE, "the delivery to be taken", || async {
            let status = sim.says(&hook, &held).await;
            if status == 200 { Ok(()) } else { Err(status) }
        })
        .await;
        where_said(&api, "while the log was away").await;
    }
    let id = where_said(&api, "hello").await["id"].as_str().expect("an id").to_owned();
    eventually_within(MINUTE, "each delivery as one message", || async {
        let said = api.messages(&id).await.iter().filter(|m| m["text"] == "hello").count();
        if said == DELIVERIES { Ok(()) } else { Err(said) }
    })
    .await;
}

async fn who_is_writing_is_told_and_is_no_message(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let (api, sim) = (scene.shop.api(), &scene.sim);
    scene.hears("hello").await;
    let id = where_said(&api, "hello").await["id"].as_str().expect("an id").to_owned();
    let url = format!("{}/api/v1/events", scene.shop.admin());
    let stream = switchboard_e2e::http().get(url).bearer_auth(scene.shop.token()).send();
    let mut stream = stream.await.expect("a stream");
    assert_eq!(stream.status().as_u16(), 200);
    let us = &sim.config().user_id;
    let mark = json!({ "created_timestamp": "1518452444662", "sender_id": ANN, "target": { "recipient_id": us } });
    scene.says(&json!({ "for_user_id": us, "direct_message_indicate_typing_events": [mark] })).await;
    let mut told = String::new();
    let heard = async {
        while !(told.contains("event: typing") && told.contains(&id)) {
            let more = stream.chunk().await.expect("an open stream").expect("an open stream");
            told.push_str(&String::from_utf8_lossy(&more));
        }
    };
    tokio::time::timeout(MINUTE, heard).await.expect("that she is writing");
    assert_eq!(api.messages(&id).await.len(), 1, "and it is in no transcript");
    assert_eq!(api.all("/quarantine", "quarantine").await, Vec::<Value>::new());
}

/// As an agent's own tool puts a file beside a reply.
async fn upload(scene: &Scene, conversation: &str, name: &str, mime: &str, bytes: &[u8]) -> Value {
    let url = format!("{}/api/v1/attachments?conversation={conversation}&name={name}", scene.shop.admin());
    let request = switchboard_e2e::http()
        .post(url)
        .bearer_auth(scene.shop.token())
        .header("content-type", mime)
        .body(bytes.to_vec());
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 201);
    serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
}

async fn files_are_handed_over_first_and_shown_in_private_and_in_public(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "").await;
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.hears("hello").await;
    let private = where_said(&api, "hello").await["id"].as_str().expect("an id").to_owned();
    let picture = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 4 << 20]].concat();
    let file = upload(&scene, &private, "a.png", "image/png", &picture).await;
    reply(&api, "hello", json!({ "text": "look", "attachments": [file] })).await;
    let sent = scene.sent(1).await.remove(0);
    assert_eq!((sent.text.as_str(), sent.files.len()), ("look", 1));
    assert_eq!((sent.files[0].category.as_str(), &sent.files[0].bytes), ("dm_image", &picture));
    status(&api, "look", "accepted").await;
    let letter = upload(&scene, &private, "a.txt", "text/plain", b"words").await;
    let path = format!("/conversations/{private}/reply");
    api.post(&path, json!({ "text": "a letter", "attachments": [letter] })).await.refused(422, "does_not_fit");

    let post = scene.sim.id();
    scene.says(&scene.sim.mention(&post, ANN, "@deskbrand kettle leaks!")).await;
    let public = where_said(&api, "@deskbrand kettle leaks!").await["id"].as_str().expect("an id").to_owned();
    let gif = upload(&scene, &public, "a.gif", "image/gif", b"GIF89a\x01\0\x01\0\0\0\0;").await;
    reply(&api, "@deskbrand kettle leaks!", json!({ "text": "Turn it", "attachments": [gif] })).await;
    let sent = scene.sent(2).await.remove(1);
    assert_eq!((sent.public, sent.files[0].category.as_str()), (true, "tweet_gif"), "once X converted it");
    scene.sim.next(XStep::CutAfter);
    let file = upload(&scene, &private, "b.png", "image/png", b"\x89PNG\r\n\x1a\nsmall").await;
    reply(&api, "hello", json!({ "text": "lost on the way back", "attachments": [file] })).await;
    status(&api, "lost on the way back", "accepted").await;
    assert_eq!(scene.sim.sent().len(), 3, "nothing went twice");
}

async fn a_group_of_the_list_is_answered_in_the_group(backend: Backend) {
    let scene = scene(&backend, XConfig::default(), "poll = \"10s\"").await;
    scene.sim.missed_in_group("1582103724607971332", ANN, "hi all", 200);
    let _daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    reply(&api, "hi all", json!({ "text": "hello" })).await;
    let sent = scene.sent(1).await.remove(0);
    assert_eq!((sent.to.as_str(), sent.text.as_str()), ("1582103724607971332", "hello"));
}

async fn user_tokens_are_renewed_and_the_latest_one_survives_a_restart(backend: Backend) {
    let sim = XSim::start(XConfig::default()).await.expect("a port for X");
    let keys =
        format!("client_id = \"{}\"\nrefresh_token = \"{}\"\n", sim.config().client_id, sim.config().refresh_token);
    let shop = shop(&backend, &sim, &keys, "");
    let scene = Scene { sim, shop };
    let mut daemon = Daemon::start(&scene.shop).await;
    let api = scene.shop.api();
    scene.hears("hello").await;
    reply(&api, "hello", json!({ "text": "one" })).await;
    status(&api, "one", "accepted").await;
    assert_eq!(scene.sim.renewals(), 1, "one token for the send and the list");
    daemon.kill();
    daemon.restart().await;
    reply(&api, "hello", json!({ "text": "two" })).await;
    status(&api, "two", "accepted").await;
    assert_eq!(scene.sim.renewals(), 1, "what was renewed was kept");
    scene.sim.forget_token();
    reply(&api, "hello", json!({ "text": "three" })).await;
    status(&api, "three", "accepted").await;
    assert_eq!((scene.sim.renewals(), scene.sim.sent().len()), (2, 3), "the refused call was made again, once");
    let kept = kept(&backend, &scene.shop).await;
    let is_in = |text: &[u8]| kept.windows(text.len()).any(|window| window == text);
    assert!(is_in(b"token.handle"), "what is kept is in the log");
    assert!(!is_in(b"refresh-token-2") && !is_in(b"user-token-2"), "and sealed");
}

/// The log as it is stored: its file, or what the broker has under the name of the token.
async fn kept(backend: &Backend, shop: &Shop) -> Vec<u8> {
    let Some(url) = backend.url() else {
        let read = |name: &str| std::fs::read(shop.folder().join("data").join(name)).expect("the log's file");
        return [read("log.db"), read("log.db-wal")].concat();
    };
    let asked = json!({ "last_by_subj": "$KV.SB_main_EDGES.token.handle" });
    let found = jetstream(&url, "STREAM.MSG.GET.KV_SB_main_EDGES", &asked).await;
    let (subject, data) = (found["message"]["subject"].as_str().unwrap(), found["message"]["data"].as_str().unwrap());
    [subject.as_bytes().to_vec(), STANDARD.decode(data).expect("base64")].concat()
}
