use super::*;
use crate::history::tests::{contact, conv, msg};
use crate::http::api::Undelivered;
use std::time::Duration;
use switchboard_envelope::{Outcome, Timestamp};
use switchboard_routing_rules::event::{Event, Private, Public};

#[tokio::test]
async fn a_conversation_looks_as_the_console_reads_it() {
    let fake = fake().await;
    let got = fake.get(&format!("/conversations/{}", conv(1))).await.ok();
    for (place, wanted) in [
        ("/id", json!(conv(1))),
        ("/channel", json!("sms")),
        ("/kind", json!("sms")),
        ("/state", json!("assigned")),
        ("/queue", json!("billing")),
        ("/agent", json!("ann")),
        ("/priority", json!("high")),
        ("/tags", json!(["refund"])),
        ("/contact/name", json!("Ann 1")),
        ("/contact/identities", json!(["phone:+15550000001"])),
        ("/sla/kind", json!("first_response")),
        ("/sla/breached", json!(false)),
        ("/last_message/text", json!("your money is back")),
        ("/last_message/direction", json!("out")),
        // Nobody knows whether they got it, so it is ours to look at.
        ("/last_message/status", json!("unknown")),
        ("/turn", json!("us")),
        ("/offer", Value::Null),
        ("/can_reply/ok", json!(true)),
        ("/messages/0/direction", json!("in")),
        ("/messages/0/author/kind", json!("contact")),
        ("/messages/1/author", json!({ "kind": "auto", "rule": "Refunds" })),
        ("/messages/1/status", json!("accepted")),
        ("/messages/2/text", json!("assigned to ann, who came first by the queue's order")),
        ("/messages/3/status", json!("unknown")),
    ] {
        assert_eq!(got.pointer(place), Some(&wanted), "{place} of {got}");
    }
    assert_eq!(got["messages"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn lists_filter_and_page() {
    let fake = fake().await;
    let ids = async |query: &str| {
        let list = fake.get(&format!("/conversations{query}")).await.ok();
        let rows: Vec<String> =
            list["conversations"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect();
        (rows, list["next"].as_str().map(str::to_owned))
    };
    let (one, two) = (conv(1).to_string(), conv(2).to_string());
    assert_eq!(ids("").await, (vec![two.clone(), one.clone()], None));
    assert_eq!(ids("?state=assigned,queued").await.0, [one.as_str()]);
    assert_eq!(ids("?state=closed&agent=bob").await.0, [two.as_str()]);
    assert_eq!(ids("?state=open").await.0, [one.as_str()], "all but the closed ones");
    assert_eq!(ids("?queue=billing&channel=sms").await.0, [one.as_str()]);
    assert_eq!(ids("?contact=phone:%2B15550000002").await.0, [two.as_str()]);
    assert_eq!(ids(&format!("?contact={}", contact(1))).await.0, [one.as_str()]);
    assert!(ids("?contact=phone:%2B1999").await.0.is_empty());
    let (first, next) = ids("?limit=1").await;
    assert_eq!(first, [two.as_str()]);
    let next = next.unwrap();
    assert_eq!(ids(&format!("?limit=1&cursor={next}")).await, (vec![one.clone()], None));
    // A cursor of one list is none of another.
    fake.get(&format!("/contacts?cursor={next}")).await.refused(400, "bad_query");
    let page = fake.get(&format!("/conversations/{one}/messages?limit=3")).await.ok();
    assert_eq!(page["messages"][0]["text"], "your money is back");
    let cursor = page["next"].as_str().unwrap();
    let rest = fake.get(&format!("/conversations/{one}/messages?cursor={cursor}")).await.ok();
    assert_eq!((rest["messages"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
}

#[tokio::test]
async fn the_other_lists_say_what_is_there() {
    let fake = fake().await;
    let queues = fake.get("/queues").await.ok();
    let everyone = queues["queues"].as_array().unwrap().iter().find(|q| q["id"] == "everyone").unwrap().clone();
    assert_eq!(
        (&everyone["depth"], &everyone["oldest_wait_ms"], &everyone["sla"]["level"]),
        (&json!(3), &json!(5000), &json!(0.9))
    );
    let channels = fake.get("/channels").await.ok();
    let paused = &channels["channels"][0];
    assert_eq!((&paused["state"], &paused["paused_reason"]), (&json!("paused"), &json!("by an operator")));
    assert_eq!(paused["then"], "switchboard channels resume site");
    assert_eq!(
        (&paused["sending_trouble"], &paused["receiving_trouble"]),
        (&Value::Null, &json!("its mailbox cannot be read"))
    );
    assert_eq!(paused["trouble"], "its mailbox cannot be read", "why its attempts failed is why it is paused");
    assert_eq!(
        channels["channels"][1],
        json!({
            "id": "sms", "kind": "sms", "state": "failing", "paused_reason": null, "failures": 0, "probe_at": null, "silent_since": null,
            "trouble": "the last attempt to send failed: connection refused", "receiving_trouble": null,
            "sending_trouble": "the last attempt to send failed: connection refused", "then": null
        })
    );
    let agents = fake.get("/agents").await.ok();
    let ann = agents["agents"].as_array().unwrap().iter().find(|a| a["id"] == "ann").unwrap();
    assert_eq!((&ann["load"], &ann["presence"]), (&json!(1.5), &json!("offline")));
    assert_eq!(ann["presence_name"], "offline");
    assert_eq!(agents["presences"][0], json!({ "name": "available", "counts_as": "available" }));
    let first = fake.get("/agents?limit=1").await.ok();
    let cursor = first["next"].as_str().unwrap();
    assert_ne!(
        fake.get(&format!("/agents?limit=1&cursor={cursor}")).await.ok()["agents"][0]["id"],
        first["agents"][0]["id"]
    );
    let dead = fake.get("/dead-letters").await.ok();
    let one = &dead["dead_letters"][0];
    assert_eq!((&one["id"], &one["reason"], &one["to"]), (&json!(msg(6)), &json!("unknown"), &json!("+15550000001")));
    assert!(one["detail"].as_str().unwrap().contains("may have been sent"));
    let held = fake.get("/quarantine").await.ok();
    assert_eq!(
        (&held["quarantine"][0]["id"], &held["quarantine"][0]["raw"]["text"]),
        (&json!("10"), &json!("Body=café"))
    );
    assert_eq!(fake.get("/quarantine/10").await.ok(), held["quarantine"][0]);
    for id in ["11", "x", "-1"] {
        fake.get(&format!("/quarantine/{id}")).await.refused(404, "not_found");
    }
    let retried = fake.post("/quarantine/10/retry", "t-sup", json!({})).await.ok();
    assert_eq!(retried, json!({ "id": "10", "released": false, "reason": "no from" }));
    fake.post("/quarantine/9/retry", "t-sup", json!({})).await.refused(404, "not_found");
    let rules = fake.get("/rules").await.ok();
    assert_eq!((&rules["hash"], rules["warnings"].as_array().unwrap().len()), (&json!("pack1"), 1));
    assert!(!rules["rules"].as_array().unwrap().is_empty() && rules["loaded_at"].is_string(), "{rules}");
    let found = fake.get("/contacts?identity=phone:%2B15550000001").await.ok();
    assert_eq!(found["contacts"][0]["id"], json!(contact(1)));
    assert_eq!(fake.get("/offers").await.ok(), json!({ "offers": [], "next": null }));
}

#[tokio::test]
async fn a_decision_explains_itself() {
    let fake = fake().await;
    let got = fake.get(&format!("/messages/{}/explain", msg(1))).await.ok();
    assert_eq!(
        (&got["pack"], &got["outcome"]["queue"], &got["others"]),
        (&json!("pack1"), &json!("billing"), &json!(4))
    );
    assert_eq!(got["outcome"]["replies"][0]["rule"], "Refunds");
    // The facts' message is empty here, so the pack's rules run over an empty channel: each says what it wanted.
    let rules = got["rules"].as_array().unwrap();
    assert!(!rules.is_empty() && rules.iter().all(|r| r["name"].is_string() && r["place"].is_string()), "{got}");
    assert_eq!(got["agents"][0], json!({ "agent": "ann", "chosen": true, "reason": "it was assigned to them" }));
    assert_eq!(got["agents"][2]["reason"], "has no room: 3 of 3 units taken");
    let told = got["sentences"].to_string();
    assert!(told.contains("The rule “Refunds” matched.") && told.contains("6 other agents were passed over"), "{told}");
    assert_eq!(fake.get("/messages/last/explain").await.ok()["message"], json!(msg(3)));
    fake.get(&format!("/messages/{}/explain", msg(2))).await.refused(404, "no_decision");
    fake.get("/messages/nonsense/explain").await.refused(404, "not_found");
}

/// A rule of the pack that the daemon of these tests has.
const REFUNDS: &str = "Refunds are answered at once";

#[tokio::test]
async fn why_nobody_took_it_is_told_and_that_the_pack_is_gone() {
    use crate::history::tests::{decided, opened, queued, received};
    use switchboard_routing_rules::event::{Considered, PassedOver, Public};
    let fake = fake().await;
    let mut decision = decided(3, 9, REFUNDS);
    if let Public::Decided { pack, .. } = &mut decision.public {
        *pack = "older".into();
    }
    let passed = vec![("ann".to_owned(), PassedOver::Away), ("bob".to_owned(), PassedOver::MissingSkill("x".into()))];
    let considered = Considered { chosen: None, passed, others: 7 };
    let nobody = Public::NobodyFree { conv: conv(3), considered };
    let events = vec![opened(3, "sms"), received(3, 9, "hello"), decision, queued(3, "billing"), nobody.into()];
    fake.back.frames.push((5, events));
    assert!(fake.history.history().wait_for(5, std::time::Duration::from_secs(10)).await);
    let got = fake.get(&format!("/messages/{}/explain", msg(9))).await.ok();
    let told = got["sentences"].to_string();
    let sentence = "Nobody could take it then: of 9 agents 1 was away, 1 lacked the skill x, and 7 others.";
    assert!(told.contains(sentence), "{told}");
    let then = &got["nobody_free"];
    assert_eq!((&then["agents"][0]["reason"], &then["others"]), (&json!("is away"), &json!(7)));
    assert_eq!(
        (&got["pack"], &got["incomplete"]),
        (&json!("older"), &json!("the pack that decided is not kept any more"))
    );
    assert!(told.contains("The conditions cannot be shown: the pack that decided is not kept any more."), "{told}");
    assert_eq!(got["rules"][0]["name"], REFUNDS, "what hit is known all the same");
}

#[tokio::test]
async fn of_many_who_let_their_offers_lapse_the_first_and_the_newest_are_told() {
    use crate::history::tests::{assigned, decided, opened, queued, received};
    use switchboard_routing_rules::event::{Considered, Public, Why};
    let fake = fake().await;
    let events = vec![opened(3, "sms"), received(3, 9, "hello"), decided(3, 9, REFUNDS), queued(3, "billing")];
    fake.back.frames.push((5, events));
    for n in 0..25 {
        let agent = format!("agent{n}");
        let considered = Considered { chosen: Some(agent.clone()), ..Considered::default() };
        let id = switchboard_routing_rules::ids::OfferId::from_bytes([n; 10]);
        let offer = Public::Offered { conv: conv(3), offer: id, agent, expires: Timestamp(0), considered };
        fake.back.frames.push((6 + u64::from(n), vec![offer.into()]));
    }
    fake.back.frames.push((31, vec![assigned(3, "zed", Why::Accepted)]));
    assert!(fake.history.history().wait_for(31, Duration::from_secs(10)).await);
    let got = fake.get(&format!("/messages/{}/explain", msg(9))).await.ok();
    let told = got["sentences"].to_string();
    for said in ["offered to agent0.", "offered to agent24.", "zed accepted it"] {
        assert!(told.contains(said), "{said}: {told}");
    }
    assert!(!told.contains("offered to agent2."), "but not all of them: {told}");
    // Of the conversation it is the same explanation.
    assert_eq!(fake.get(&format!("/conversations/{}/explain", conv(3))).await.ok(), got);
}

#[tokio::test]
async fn a_conversation_in_which_the_customer_wrote_nothing_says_who_was_considered_for_it() {
    use crate::history::tests::{assigned, opened, queued, received};
    use switchboard_routing_rules::event::Why;
    let fake = fake().await;
    let path = format!("/conversations/{}/explain", conv(3));
    fake.back.frames.push((5, vec![opened(3, "sms"), queued(3, "billing"), assigned(3, "ann", Why::Strategy)]));
    assert!(fake.history.history().wait_for(5, Duration::from_secs(10)).await);
    let got = fake.get(&path).await.ok();
    assert_eq!((&got["message"], &got["rules"], &got["pack"]), (&Value::Null, &json!([]), &Value::Null));
    assert_eq!((&got["outcome"]["agent"], &got["others"]), (&json!("ann"), &json!(4)));
    assert_eq!(got["agents"][0], json!({ "agent": "ann", "chosen": true, "reason": "it was assigned to them" }));
    assert_eq!(got["agents"][1], json!({ "agent": "bob", "chosen": false, "reason": "is away" }));
    let told = got["sentences"].to_string();
    assert!(told.contains("No rule was asked"), "{told}");
    assert!(told.contains("it was assigned to ann, who came first by the queue's order; 6 other agents"), "{told}");
    // What they write then has an explanation of its own.
    fake.back.frames.push((6, vec![received(3, 9, "hello")]));
    assert!(fake.history.history().wait_for(6, Duration::from_secs(10)).await);
    let told = fake.get(&path).await.ok()["sentences"].to_string();
    assert!(!told.contains("assigned to ann"), "{told}");
    assert!(told.contains("a rule had blocked the sender"), "nothing else is received and not decided: {told}");
    fake.get("/conversations/nonsense/explain").await.refused(404, "not_found");
    fake.get(&format!("/conversations/{}/explain", conv(77))).await.refused(404, "not_found");
}

#[tokio::test]
async fn the_settings_of_the_pack_in_force_can_be_compared_with_anothers() {
    let fake = fake().await;
    let got = fake.get("/rules/settings").await.ok();
    assert_eq!((&got["hash"], &got["settings"]), (&json!("pack1"), &json!(fake.back.pack.settings())));
    assert!(got["settings"].as_object().is_some_and(|all| all.keys().any(|key| key.starts_with("queue "))), "{got}");
}

#[tokio::test]
async fn a_rules_hits_are_counted_under_the_pack_in_force_and_in_all() {
    use crate::history::tests::{decided, received};
    use switchboard_routing_rules::event::Public;
    let fake = fake().await;
    let mut seq = 4;
    for (of, wanted) in [("older", (0, 1)), ("pack1", (1, 2)), ("pack1", (2, 3))] {
        seq += 1;
        let message = u32::try_from(seq).unwrap() + 20;
        let mut decision = decided(1, message, REFUNDS);
        if let Public::Decided { pack, .. } = &mut decision.public {
            *pack = of.into();
        }
        fake.back.frames.push((seq, vec![received(1, message, "refund"), decision]));
        assert!(fake.history.history().wait_for(seq, std::time::Duration::from_secs(10)).await);
        let rules = fake.get("/rules").await.ok();
        let rule = rules["rules"].as_array().unwrap().iter().find(|r| r["name"] == REFUNDS).cloned().unwrap();
        assert_eq!((&rule["hits"], &rule["hits_in_all"]), (&json!(wanted.0), &json!(wanted.1)), "after one of {of}");
    }
}

#[tokio::test]
async fn who_was_not_proved_is_said_with_the_message_its_conversation_and_its_decision() {
    use crate::history::tests::{decided, received};
    let fake = fake().await;
    let disproved_words = "Their domain says that this is not theirs (DMARC failed): somebody else may have written it in the customer's \
                           name, or a server that forwarded it changed it.";
    let cases = [
        (21, None, false, Value::Null, None),
        (22, Some(true), false, json!("proved"), None),
        (
            23,
            Some(false),
            false,
            json!("not_proved"),
            Some("Nothing proves that the customer wrote this: anybody may have, in their name."),
        ),
        (24, Some(false), true, json!("disproved"), Some(disproved_words)),
    ];
    for (seq, (message, was, other, proof, sentence)) in (5..).zip(cases) {
        let mut event = received(1, message, "my new bank account");
        let Some((_, Private::Received { proved, disproved, .. })) = &mut event.private else { panic!("{event:?}") };
        (*proved, *disproved) = (was, other);
        fake.back.frames.push((seq, vec![event, decided(1, message, "Refunds")]));
        assert!(fake.history.history().wait_for(seq, Duration::from_secs(10)).await);
        let one = fake.get(&format!("/messages/{}", msg(message))).await.ok();
        let row = fake.get(&format!("/conversations/{}", conv(1))).await.ok();
        let list = fake.get("/conversations").await.ok();
        let listed = list["conversations"].as_array().unwrap().iter().find(|c| c["id"] == row["id"]).cloned().unwrap();
        let shown = row["messages"].as_array().unwrap().last().cloned().unwrap();
        let said = was.map_or(Value::Null, Value::Bool);
        for of in [&one, &shown, &row["last_message"], &listed["last_message"]] {
            assert_eq!(of.get("sender_proved").cloned().unwrap_or_default(), said, "{of}");
            assert_eq!(of.get("sender_proof").cloned().unwrap_or_default(), proof, "{of}");
        }
        assert_eq!((&row["sender_proof"], &listed["sender_proof"]), (&proof, &proof));
        let explained = fake.get(&format!("/messages/{}/explain", msg(message))).await.ok();
        let told = explained["sentences"].to_string();
        let doubts = ["Nothing proves that the customer wrote this: anybody may have, in their name.", disproved_words];
        let doubts = doubts.into_iter().find(|doubt| told.contains(doubt));
        assert_eq!(doubts, sentence, "{told}");
    }
    // An answer of ours is what is shown last, and proves nothing.
    let answer = crate::history::tests::send(
        1,
        90,
        "our answer",
        switchboard_envelope::Author::Agent { id: "ann".into() },
        true,
    );
    fake.back.frames.push((9, vec![answer]));
    assert!(fake.history.history().wait_for(9, Duration::from_secs(10)).await);
    let list = fake.get("/conversations").await.ok();
    let row = list["conversations"].as_array().unwrap().iter().find(|c| c["id"] == json!(conv(1))).cloned().unwrap();
    assert_eq!((&row["last_message"]["text"], &row["sender_proof"]), (&json!("our answer"), &json!("disproved")));
    assert_eq!(row["last_message"].get("sender_proof"), None, "it is not the customer's");
}

#[tokio::test]
async fn a_transcript_says_which_rules_answer_was_not_sent_and_why() {
    use switchboard_routing_rules::event::NoReply;
    let fake = fake().await;
    let refused = switchboard_routing_rules::event::Event {
        public: Public::NotReplied {
            conv: conv(1),
            message: msg(1),
            rule: "Who has it".into(),
            why: NoReply::Answered,
        },
        private: None,
    };
    fake.back.frames.push((5, vec![refused]));
    assert!(fake.history.history().wait_for(5, Duration::from_secs(10)).await);
    let row = fake.get(&format!("/conversations/{}", conv(1))).await.ok();
    let shown = row["messages"].as_array().unwrap().last().cloned().unwrap();
    assert_eq!((&shown["direction"], &shown["event"]["what"]), (&json!("event"), &json!("not_replied")));
    let said =
        "the rule “Who has it” would have answered, but something else was said to the customer at the same time";
    assert_eq!(shown["text"], said);
}

#[tokio::test]
async fn a_picture_of_a_page_says_so() {
    use crate::history::tests::received;
    let fake = fake().await;
    let mut event = received(1, 21, "look");
    let Some((_, Private::Received { content, .. })) = &mut event.private else { panic!("{event:?}") };
    content.attachments = ["logo@x", ""]
        .map(|id| switchboard_envelope::Attachment {
            name: "a.png".into(),
            content_id: Some(id.to_owned()).filter(|id| !id.is_empty()),
            ..switchboard_envelope::Attachment::default()
        })
        .to_vec();
    fake.back.frames.push((5, vec![event]));
    assert!(fake.history.history().wait_for(5, Duration::from_secs(10)).await);
    let files = fake.get(&format!("/messages/{}", msg(21))).await.ok()["attachments"].clone();
    assert_eq!((&files[0]["content_id"], files[1].get("content_id")), (&json!("logo@x"), None), "{files}");
}

#[tokio::test]
async fn what_bounced_is_no_dead_letter_and_the_answer_says_what_to_do() {
    let fake = fake().await;
    let bounced = crate::history::tests::receipt(1, 2, switchboard_envelope::ReceiptStatus::Failed);
    fake.back.frames.push((5, vec![bounced]));
    assert!(fake.history.history().wait_for(5, Duration::from_secs(10)).await);
    assert_eq!(fake.get(&format!("/messages/{}", msg(2))).await.ok()["status"], "failed");
    *fake.back.reply.lock().unwrap() = switchboard_routing_rules::event::Reply {
        status: 404,
        code: "not_found".into(),
        detail: "there is no such dead letter".into(),
        ids: std::collections::BTreeMap::new(),
    };
    let said = async |m: u32| {
        let got = fake.post(&format!("/dead-letters/{}/resend", msg(m)), "t-sup", json!({})).await;
        got.refused(404, "not_found");
        got.body["detail"].as_str().unwrap().to_owned()
    };
    assert!(said(2).await.contains("answer there again"));
    let (path, json) = (format!("/dead-letters/{}", msg(2)), [("content-type", "application/json")]);
    let given_up = super::fake::call(&fake, http::Method::DELETE, &path, "t-sup", &json, "{}").await;
    given_up.refused(404, "not_found");
    assert!(given_up.body["detail"].as_str().unwrap().ends_with("Nothing of it waits here for a decision"));
    assert_eq!(said(99).await, "there is no such dead letter");
}

#[tokio::test]
async fn decisions_are_listed_with_what_the_rules_saw_for_another_pack_to_be_tried_on() {
    let fake = fake().await;
    let got = fake.get("/decisions").await.ok();
    let rows = got["decisions"].as_array().cloned().unwrap();
    assert!(!rows.is_empty() && got["next"].is_null(), "{got}");
    let last = fake.get("/messages/last/explain").await.ok();
    assert_eq!((&rows[0]["message"], &rows[0]["pack"]), (&last["message"], &last["pack"]));
    for key in ["said", "seen", "did"] {
        assert!(rows.iter().any(|r| r[key].is_object()), "{key}: {got}");
    }
    let first = fake.get("/decisions?limit=1").await.ok();
    assert_eq!(first["decisions"].as_array().map(Vec::len), Some(1));
    let none = fake.get("/decisions?since=2100-01-01T00:00:00Z").await.ok();
    assert_eq!(none["decisions"], json!([]));
    fake.get("/decisions?since=yesterday").await.refused(400, "bad_query");
}

#[tokio::test]
async fn a_conversation_that_waits_says_where_it_stands_and_why_nobody_takes_it() {
    use switchboard_routing_rules::event::PassedOver;
    let fake = fake().await;
    let shown = fake.get(&format!("/conversations/{}", conv(1))).await.ok();
    assert_eq!(shown["waiting"], Value::Null);
    *fake.back.waiting.lock().unwrap() = Some(switchboard_routing_rules::waiting::Waiting {
        queue: "billing".into(),
        since: None,
        place: Some(2),
        depth: 5,
        wait_ms: Some(120_000),
        wanted: [("french".to_owned(), 1)].into(),
        presence: vec!["available".into()],
        asked_first: None,
        next_step: None,
        agents: vec![("dan".into(), Some(PassedOver::MissingSkill("french".into())))],
    });
    let shown = fake.get(&format!("/conversations/{}", conv(1))).await.ok();
    assert_eq!((&shown["waiting"]["position"], &shown["waiting"]["estimated_wait_ms"]), (&json!(2), &json!(120_000)));
    assert_eq!(shown["waiting"]["presences"], json!(["available"]));
    assert_eq!(shown["waiting"]["sentences"][0], "It waits in the queue billing, second of 5, about two minutes.");
    let got = fake.get("/messages/last/explain").await.ok();
    assert_eq!(got["waiting"]["agents"][0]["reason"], "lacks the skill french");
    let told = got["sentences"].to_string();
    assert!(
        told.contains("second of 5, about two minutes.") && told.contains("the only agent lacks the skill"),
        "{told}"
    );
}

#[tokio::test]
async fn what_the_retention_removed_is_not_found() {
    use switchboard_routing_rules::event::Public;
    let fake = fake().await;
    let (gone, message) = (conv(2), msg(3));
    fake.get(&format!("/conversations/{gone}")).await.ok();
    fake.back.frames.push((5, vec![Public::Forgotten { conv: gone, sticky_until: None }.into()]));
    assert!(fake.history.history().wait_for(5, std::time::Duration::from_secs(10)).await);
    let trimmed = fake.history.trim(switchboard_envelope::Timestamp::MAX).await.unwrap();
    assert_eq!((trimmed.conversations, trimmed.more), (1, false));
    let paths = [
        format!("/conversations/{gone}"),
        format!("/conversations/{gone}/messages"),
        format!("/messages/{message}"),
        format!("/messages/{message}/explain"),
        format!("/contacts/{}", contact(2)),
    ];
    for path in paths {
        fake.get(&path).await.refused(404, "not_found");
    }
    let left = fake.get("/conversations").await.ok();
    assert_eq!(left["conversations"].as_array().unwrap().len(), 1);
    assert_eq!(left["conversations"][0]["id"], conv(1).to_string());
}

#[tokio::test]
async fn an_answer_that_has_not_left_is_told_with_its_reason() {
    let fake = fake().await;
    let (one, two) = (format!("/conversations/{}", conv(1)), format!("/conversations/{}", conv(2)));
    assert_eq!(fake.get(&one).await.ok()["undelivered"], Value::Null);
    let late = Undelivered {
        message: msg(6),
        told_by: msg(6),
        status: crate::history::Status::Queued,
        since: fake::NOW.plus(-9000),
        attempts: 2,
        tried_again: Some(fake::NOW.plus(4000)),
        delayed: true,
        paused: None,
        then: None,
    };
    *fake.back.undelivered.lock().unwrap() = Some(late.clone());
    let failed = Public::AttemptEnded {
        conv: conv(1),
        message: msg(6),
        part: 1,
        n: 2,
        outcome: Outcome::NotSent,
        code: None,
        retry_at: None,
        provider: vec![],
    };
    let said = Private::Attempt { provider_ids: vec![], detail: Some("no answer".into()) };
    fake.back.frames.push((5, vec![Event { public: failed, private: Some((contact(1), said)) }]));
    assert!(fake.history.history().wait_for(5, Duration::from_secs(10)).await);
    let wanted = json!({
        "message": msg(6), "status": "queued", "since": fake::NOW.plus(-9000), "delayed": true, "attempts": 2,
        "tried_again_at": fake::NOW.plus(4000), "reason": "no answer", "then": null,
        "receiving_trouble": "its mailbox cannot be read",
    });
    assert_eq!(fake.get(&one).await.ok()["undelivered"], wanted);
    assert_eq!(fake.get(&two).await.ok()["undelivered"], Value::Null);
    let list = fake.get("/conversations").await.ok();
    let row = list["conversations"].as_array().unwrap().iter().find(|c| c["id"] == json!(conv(1))).unwrap();
    assert_eq!(row["undelivered"], wanted, "nobody has to open it");
    // Why nothing leaves at all says more than what an attempt of before met.
    let paused = Some("channel `sms` is paused: its credentials were refused".to_owned());
    let then = Some("switchboard channels resume sms".to_owned());
    *fake.back.undelivered.lock().unwrap() =
        Some(Undelivered { paused: paused.clone(), then: then.clone(), tried_again: None, ..late });
    let told = &fake.get(&one).await.ok()["undelivered"];
    assert_eq!((&told["reason"], &told["then"]), (&json!(paused), &json!(then)));
}

#[tokio::test]
async fn what_came_and_was_answered_is_told_by_slots() {
    let fake = fake().await;
    let told = fake.get("/activity?hours=168").await.ok();
    let slots = told["slots"].as_array().unwrap();
    let sum = |key: &str| slots.iter().map(|s| s[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("arrived"), sum("answered"), &told["slot_ms"]), (2, 2, &json!(900_000)), "{told}");
    assert!(slots.iter().all(|s| s["at"].is_string() && s["due"].is_u64()), "{told}");
    fake.get("/activity?hours=0").await.refused(400, "bad_query");
    fake.get("/activity?hours=169").await.refused(400, "bad_query");
    let rules = fake.get("/rules").await.ok();
    assert!(rules["rules"].as_array().unwrap().iter().all(|r| r["hits_today"].is_u64()), "{rules}");
}
