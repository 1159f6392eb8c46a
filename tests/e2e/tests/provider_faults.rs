//! What the provider does to a send, and what becomes of it: the outcome table, end to end.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::time::Duration;
use switchboard_e2e::{
    Api, Backend, Daemon, Provider, Shop, Step, eventually, eventually_within, message, on_every_backend, sid,
};

const ANN: &str = "+15551230001";
const REPLY: &str = "Your refund A-1 is on its way.";

on_every_backend! {
    too_many_requests_is_retried_after_what_the_provider_asks,
    a_provider_that_is_down_gets_the_reply_when_it_is_back,
    a_permanent_refusal_is_shown_with_the_providers_code_and_never_retried,
    an_undocumented_500_is_parked_and_resent_by_a_person_only,
    a_reset_after_the_request_is_parked_and_resent_by_a_person_only,
    an_answer_that_never_comes_is_parked_and_resent_by_a_person_only,
    a_garbage_answer_is_parked_and_resent_by_a_person_only,
    refused_credentials_pause_the_channel_and_resume_sends_what_waited,
    a_paused_channel_sends_nothing_until_it_is_resumed,
    a_stop_that_only_the_provider_heard_holds_here_too_until_start,
    what_somebody_wrote_in_the_providers_own_tool_is_in_the_conversation,
}

/// A customer writes, the rule answers, and the provider's first answer is `fault`.
async fn answered_under(shop: &Shop, provider: &Provider, fault: Step) {
    provider.next(fault);
    shop.sms(ANN, "refund A-1", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
}

/// Waits until the reply has that status.
async fn reply_is(api: &Api, status: &str) -> Value {
    let conversation = api
        .conversation(&format!("phone:{ANN}"), &format!("to have its reply {status}"), |c| {
            message(c, REPLY).is_some_and(|m| m["status"] == status)
        })
        .await;
    message(&conversation, REPLY).unwrap().clone()
}

async fn dead_letter(api: &Api) -> Value {
    eventually("a dead letter", || async {
        let list = api.get("/dead-letters").await;
        list.body["dead_letters"].as_array().and_then(|d| d.first().cloned()).ok_or(list.text)
    })
    .await
}

async fn too_many_requests_is_retried_after_what_the_provider_asks(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let began = std::time::Instant::now();
    answered_under(&shop, &provider, Step::rate_limited(Some(2))).await;
    eventually_within(Duration::from_secs(40), "the second attempt", || async {
        if provider.sent().len() == 1 { Ok(()) } else { Err(provider.requests().to_string()) }
    })
    .await;
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "retried after {:?}, before the two seconds it asked for",
        began.elapsed()
    );
    reply_is(&shop.api(), "accepted").await;
    assert_eq!(provider.requests(), 2);
}

async fn a_provider_that_is_down_gets_the_reply_when_it_is_back(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    provider.down().await;
    shop.sms(ANN, "refund A-1", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    let waiting =
        shop.api().conversation(&format!("phone:{ANN}"), "to hold its reply", |c| message(c, REPLY).is_some()).await;
    assert_ne!(message(&waiting, REPLY).unwrap()["status"], "accepted");
    provider.up().await;
    eventually_within(Duration::from_secs(90), "the reply after the outage", || async {
        if provider.sent().len() == 1 { Ok(()) } else { Err("not yet") }
    })
    .await;
    reply_is(&shop.api(), "accepted").await;
    assert_eq!(provider.sent().len(), 1);
}

async fn a_permanent_refusal_is_shown_with_the_providers_code_and_never_retried(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    answered_under(&shop, &provider, Step::bad_request(21_211)).await;
    let reply = reply_is(&shop.api(), "rejected").await;
    assert!(reply.to_string().contains("21211"), "{reply}");
    assert_eq!(provider.requests(), 1);
}

/// Each of these leaves it open whether the customer got the reply: it must not be sent again by itself, and a person decides.
async fn parks_what_may_have_been_sent(backend: &Backend, fault: Step) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(backend).sms("send_timeout = \"2s\"").open();
    let mut daemon = Daemon::start(&shop).await;
    let api = shop.api();
    answered_under(&shop, &provider, fault).await;
    let parked = eventually_within(Duration::from_secs(60), "the parked send", || async {
        let list = api.get("/dead-letters").await;
        list.body["dead_letters"].as_array().and_then(|d| d.first().cloned()).ok_or(list.text)
    })
    .await;
    assert_eq!(parked["reason"], "unknown", "{parked}");
    reply_is(&api, "unknown").await;

    // Not even a restart sends it again.
    daemon.kill();
    daemon.restart().await;
    assert_eq!(dead_letter(&api).await["id"], parked["id"]);
    let attempts = provider.requests();
    assert_eq!(attempts, 1, "nor did anything before it");

    // A person can.
    let id = parked["id"].as_str().unwrap();
    let resent = api.post(&format!("/dead-letters/{id}/resend"), json!({})).await;
    assert!((200..300).contains(&resent.status), "{resent}");
    provider.asked(attempts + 1).await;
    eventually("the dead letters to be empty", || async {
        let list = api.all("/dead-letters", "dead_letters").await;
        if list.is_empty() { Ok(()) } else { Err(format!("{list:?}")) }
    })
    .await;
}

async fn an_undocumented_500_is_parked_and_resent_by_a_person_only(backend: Backend) {
    parks_what_may_have_been_sent(&backend, Step::server_error()).await;
}

async fn a_reset_after_the_request_is_parked_and_resent_by_a_person_only(backend: Backend) {
    parks_what_may_have_been_sent(&backend, Step::ReadAndReset).await;
}

async fn an_answer_that_never_comes_is_parked_and_resent_by_a_person_only(backend: Backend) {
    parks_what_may_have_been_sent(&backend, Step::Delay(Duration::from_secs(30), Box::new(Step::ReadAndReset))).await;
}

async fn a_garbage_answer_is_parked_and_resent_by_a_person_only(backend: Backend) {
    parks_what_may_have_been_sent(&backend, Step::garbage()).await;
}

async fn refused_credentials_pause_the_channel_and_resume_sends_what_waited(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    answered_under(&shop, &provider, Step::unauthorized()).await;
    eventually("the channel to be paused", || async {
        let channels = api.get("/channels").await;
        let sms =
            channels.body["channels"].as_array().and_then(|c| c.iter().find(|c| c["id"] == "support-sms").cloned());
        sms.filter(|c| c["paused"] == true || c["state"] == "paused").ok_or(channels.text)
    })
    .await;
    assert_eq!(provider.sent().len(), 0);
    api.post("/channels/support-sms/resume", json!({})).await.ok();
    provider.sent_to(ANN, 1).await;
    reply_is(&api, "accepted").await;
}

async fn a_paused_channel_sends_nothing_until_it_is_resumed(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let mut daemon = Daemon::start(&shop).await;
    let api = shop.api();
    api.post("/channels/support-sms/pause", json!({})).await.ok();
    shop.sms(ANN, "refund A-1", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    api.conversation(&format!("phone:{ANN}"), "to hold its reply", |c| message(c, REPLY).is_some()).await;
    // A pause is a decision: it survives a restart.
    daemon.kill();
    daemon.restart().await;
    api.conversation(&format!("phone:{ANN}"), "to be there", |c| message(c, REPLY).is_some()).await;
    assert_eq!(provider.requests(), 0);
    api.post("/channels/support-sms/resume", json!({})).await.ok();
    provider.sent_to(ANN, 1).await;
}

async fn a_stop_that_only_the_provider_heard_holds_here_too_until_start(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    provider.sim().opt_out(ANN);
    shop.sms(ANN, "refund A-1", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    let reply = reply_is(&api, "rejected").await;
    assert_eq!(reply["code"], "21610", "{reply}");
    let consent = |word: &'static str| move |c: &Value| c["contact"]["consent"]["support-sms"] == word;
    let opted_out = api.conversation(&format!("phone:{ANN}"), "to be opted out", consent("opted_out")).await;
    assert_eq!(opted_out["can_reply"]["ok"], false, "{opted_out}");
    let reply_path = format!("/conversations/{}/reply", opted_out["id"].as_str().unwrap());
    let asked = provider.requests();
    api.post(&reply_path, json!({ "text": "are you there?" })).await.refused(422, "opted_out");
    assert_eq!(provider.requests(), asked, "the provider is not asked again");

    provider.sim().opt_in(ANN);
    shop.sms(ANN, "START", &sid("2")).deliver(&shop.hook("support-sms")).await.unwrap();
    api.conversation(&format!("phone:{ANN}"), "to be opted in", consent("opted_in")).await;
    api.post(&reply_path, json!({ "text": "welcome back" })).await.ok();
    assert_eq!(provider.sent_to(ANN, 1).await[0].body, "welcome back");
}

async fn what_somebody_wrote_in_the_providers_own_tool_is_in_the_conversation(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).sms("poll = \"10s\"\nechoes = true").open();
    let minutes_ago = std::time::SystemTime::now() - Duration::from_secs(150);
    provider.sim().wrote_elsewhere(ANN, "we called your neighbour", jiff::Timestamp::try_from(minutes_ago).unwrap());
    let _daemon = Daemon::start(&shop).await;
    let found = shop
        .api()
        .conversation(&format!("phone:{ANN}"), "to hold what was written elsewhere", |c| {
            message(c, "we called your neighbour").is_some()
        })
        .await;
    let shown = message(&found, "we called your neighbour").unwrap();
    assert_eq!((&shown["direction"], &shown["author"]["kind"]), (&json!("out"), &json!("elsewhere")), "{shown}");
    assert_eq!(found["state"], "pending", "{found}");
    assert_eq!(provider.requests(), 0, "nothing was sent");
}
