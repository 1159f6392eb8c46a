//! The main job on real input: a signed SMS comes in, rules decide, a rule or an agent answers, the provider gets the answer.
#![forbid(unsafe_code)]

use serde_json::json;
use switchboard_e2e::{Backend, Daemon, Provider, Shop, eventually, message, on_every_backend, sid};

const ANN: &str = "+15551230001";
const BOB: &str = "+15551230002";

on_every_backend! {
    a_rule_answers_a_signed_sms_through_the_provider,
    what_no_rule_answers_waits_for_an_agent_and_the_answer_arrives,
    every_decision_explains_itself,
    a_duplicate_webhook_changes_nothing,
    stop_opts_out_and_a_reply_is_refused_with_the_reason,
    the_answer_to_a_repeated_post_is_the_first_answer,
}

async fn a_rule_answers_a_signed_sms_through_the_provider(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;

    let answer = shop.sms(ANN, "Where is my refund A-17?", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "<Response/>"),
        "twilio sends what a webhook answers to the customer"
    );

    let sent = provider.sent_to(ANN, 1).await;
    assert_eq!(sent[0].body, "Your refund A-17? is on its way.");
    assert_eq!(sent[0].from, switchboard_e2e::OUR_NUMBER);

    let api = shop.api();
    let conversation = api
        .conversation(&format!("phone:{ANN}"), "to have its reply accepted", |c| {
            c["messages"]
                .as_array()
                .is_some_and(|m| m.iter().any(|m| m["direction"] == "out" && m["status"] == "accepted"))
        })
        .await;
    assert_eq!(conversation["channel"], "support-sms");
    assert!(conversation["tags"].as_array().unwrap().contains(&json!("refund")), "{conversation}");
    let reply = message(&conversation, "Your refund A-17? is on its way.").expect("the reply is in the transcript");
    assert_eq!(reply["direction"], "out");

    provider.status(&sent[0], "delivered", &shop).await;
    api.conversation(&format!("phone:{ANN}"), "to have its reply delivered", |c| {
        message(c, "Your refund A-17? is on its way.").is_some_and(|m| m["status"] == "delivered")
    })
    .await;
    // A late, older status never overwrites a newer one.
    provider.status(&sent[0], "sent", &shop).await;
    shop.sms(ANN, "thank you", &sid("2")).deliver(&shop.hook("support-sms")).await.unwrap();
    let after = api
        .conversation(&format!("phone:{ANN}"), "to hold the next message", |c| message(c, "thank you").is_some())
        .await;
    assert_eq!(message(&after, "Your refund A-17? is on its way.").unwrap()["status"], "delivered");
}

async fn what_no_rule_answers_waits_for_an_agent_and_the_answer_arrives(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();

    shop.sms(BOB, "Do you open on Sunday?", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    let waiting = api.conversation(&format!("phone:{BOB}"), "to wait in the queue", |c| c["state"] == "queued").await;
    assert_eq!(waiting["queue"], "everyone");
    assert_eq!(api.get("/queues").await.ok()["queues"][0]["depth"], 1);

    api.available("ann").await;
    let offer = eventually("an offer to ann", || async {
        let offers = api.get("/offers").await;
        offers.body["offers"].as_array().and_then(|o| o.first().cloned()).ok_or(offers.text)
    })
    .await;
    assert_eq!((&offer["agent"], &offer["conversation"]), (&json!("ann"), &waiting["id"]));
    let id = offer["id"].as_str().expect("an offer has an id");
    api.post(&format!("/offers/{id}/accept"), json!({ "agent": "ann" })).await.ok();
    let taken = api.conversation(&format!("phone:{BOB}"), "to be ann's", |c| c["state"] == "assigned").await;
    assert_eq!(taken["agent"], "ann");

    let conversation = taken["id"].as_str().unwrap();
    let reply = api
        .post(&format!("/conversations/{conversation}/reply"), json!({ "text": "Yes, from ten.", "agent": "ann" }))
        .await;
    assert_eq!(reply.status, 202, "{reply}");
    let sent = provider.sent_to(BOB, 1).await;
    assert_eq!((sent[0].to.as_str(), sent[0].body.as_str()), (BOB, "Yes, from ten."));
    api.conversation(&format!("phone:{BOB}"), "to show the reply as accepted", |c| {
        message(c, "Yes, from ten.").is_some_and(|m| m["status"] == "accepted")
    })
    .await;

    api.post(&format!("/conversations/{conversation}/close"), json!({ "agent": "ann" })).await.ok();
    api.conversation(&format!("phone:{BOB}"), "to be closed", |c| c["state"] == "closed").await;
}

async fn every_decision_explains_itself(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();

    for (from, text) in [(ANN, "refund A-1"), (BOB, "hello")] {
        shop.sms(from, text, &sid(text)).deliver(&shop.hook("support-sms")).await.unwrap();
    }
    for (from, text, hit) in [(ANN, "refund A-1", true), (BOB, "hello", false)] {
        let conversation =
            api.conversation(&format!("phone:{from}"), "to hold it", |c| message(c, text).is_some()).await;
        let id = message(&conversation, text).unwrap()["id"].as_str().unwrap().to_owned();
        let trace = api.get(&format!("/messages/{id}/explain")).await.ok();
        let text = trace.to_string();
        assert!(text.contains("Refunds"), "the trace of {from} names every rule: {text}");
        assert!(trace["pack"].as_str().is_some_and(|hash| !hash.is_empty()), "the trace names the pack's hash: {text}");
        let rule = trace["rules"].as_array().and_then(|r| r.iter().find(|r| r["name"] == "Refunds")).cloned();
        let rule = rule.unwrap_or_else(|| panic!("no rule `Refunds` in {text}"));
        assert_eq!(rule["hit"].as_bool(), Some(hit), "{text}");
        if !hit {
            assert!(rule["failed"].to_string().contains("text"), "it names the condition that failed: {text}");
        }
    }
}

async fn a_duplicate_webhook_changes_nothing(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let mut daemon = Daemon::start(&shop).await;
    let api = shop.api();

    let sms = shop.sms(ANN, "refund A-1", &sid("same"));
    let deliveries = (0..8).map(|_| {
        let (sms, hook) = (sms.clone(), shop.hook("support-sms"));
        tokio::spawn(async move { sms.deliver(&hook).await })
    });
    for delivery in deliveries.collect::<Vec<_>>() {
        assert_eq!(delivery.await.unwrap().unwrap().status, 200, "a duplicate is not the provider's fault");
    }
    provider.sent_to(ANN, 1).await;
    daemon.kill();
    daemon.restart().await;
    assert_eq!(sms.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);

    // A later message of the same customer is decided after the duplicate, so nothing of the duplicate can still come.
    shop.sms(ANN, "that was all", &sid("later")).deliver(&shop.hook("support-sms")).await.unwrap();
    let conversation =
        api.conversation(&format!("phone:{ANN}"), "to hold both", |c| message(c, "that was all").is_some()).await;
    let messages = api.messages(conversation["id"].as_str().unwrap()).await;
    let texts: Vec<_> =
        messages.iter().filter(|m| m["direction"] == "in").map(|m| m["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["refund A-1", "that was all"]);
    assert_eq!(provider.sent().len(), 1);
}

async fn stop_opts_out_and_a_reply_is_refused_with_the_reason(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();

    shop.sms(ANN, "hello", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    shop.sms(ANN, "STOP", &sid("2")).deliver(&shop.hook("support-sms")).await.unwrap();
    let conversation =
        api.conversation(&format!("phone:{ANN}"), "to hold the stop", |c| message(c, "STOP").is_some()).await;
    let id = conversation["id"].as_str().unwrap();
    let refused =
        api.post(&format!("/conversations/{id}/reply"), json!({ "text": "are you sure?", "agent": "ann" })).await;
    refused.refused(422, "opted_out");

    // A rule may not write to them either.
    shop.sms(ANN, "refund A-9", &sid("3")).deliver(&shop.hook("support-sms")).await.unwrap();
    api.conversation(&format!("phone:{ANN}"), "to hold the next message", |c| message(c, "refund A-9").is_some()).await;
    assert_eq!(provider.sent().len(), 0);

    shop.sms(ANN, "START", &sid("4")).deliver(&shop.hook("support-sms")).await.unwrap();
    shop.sms(ANN, "refund A-10", &sid("5")).deliver(&shop.hook("support-sms")).await.unwrap();
    assert_eq!(provider.sent_to(ANN, 1).await[0].body, "Your refund A-10 is on its way.");
}

async fn the_answer_to_a_repeated_post_is_the_first_answer(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();

    shop.sms(BOB, "hello", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    let conversation = api.conversation(&format!("phone:{BOB}"), "to wait", |c| c["state"] == "queued").await;
    let path = format!("/conversations/{}/reply", conversation["id"].as_str().unwrap());
    let body = json!({ "text": "hello to you", "agent": "ann" });
    let first = api.call(http::Method::POST, &path, Some(&body), Some("key-1")).await.unwrap();
    let again = api.call(http::Method::POST, &path, Some(&body), Some("key-1")).await.unwrap();
    assert_eq!((first.status, &first.body), (202, &again.body));
    let other = json!({ "text": "something else", "agent": "ann" });
    assert_eq!(api.call(http::Method::POST, &path, Some(&other), Some("key-1")).await.unwrap().status, 422);
    provider.sent_to(BOB, 1).await;
    api.conversation(&format!("phone:{BOB}"), "to be settled", |c| {
        message(c, "hello to you").is_some_and(|m| m["status"] == "accepted")
    })
    .await;
    assert_eq!(provider.sent().len(), 1);
}
