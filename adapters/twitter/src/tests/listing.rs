//! Catching up, and the proof of sends.

use super::*;
use std::collections::BTreeMap;

const MINUTE: i64 = 60_000;

fn url(call: &Call) -> (String, BTreeMap<String, String>) {
    let url = Url::parse(&call.url).unwrap();
    (url.path().to_owned(), url.query_pairs().into_owned().collect())
}

fn item(id: &str, sender: &str, text: &str, at: Timestamp) -> Value {
    let other = if sender == US { ANN } else { sender };
    json!({ "id": id, "event_type": "MessageCreate", "text": text, "sender_id": sender, "created_at": at.to_string(),
        "dm_conversation_id": format!("{other}-{US}") })
}

fn page(items: &[Value], next: Option<&str>) -> Answer {
    let users = json!([{ "id": ANN, "name": "Ann", "username": "ann", "public_metrics": { "followers_count": 7 } }]);
    let media = json!([{ "media_key": "3_1", "type": "photo", "url": "https://pbs.twimg.com/dm/a.jpg" }]);
    response(
        200,
        json!({ "data": items, "includes": { "users": users, "media": media }, "meta": { "next_token": next } }),
    )
}

/// One poll: what it asked, and what came of the answer.
fn poll(adapter: &dyn Adapter, cursor: Option<&str>, answer: &Answer, now: Timestamp) -> (Call, Polled) {
    let call = adapter.poll(cursor, now).unwrap();
    (call, adapter.polled(cursor, answer, now).unwrap())
}

fn ids(polled: &Polled) -> Vec<&str> {
    polled.events.iter().map(Inbound::id).collect()
}

#[test]
fn a_sweep_finds_what_the_webhook_missed_and_tells_it_once() {
    let adapter = adapter();
    let (call, begun) = poll(adapter.as_ref(), None, &page(&[], None), NOW);
    assert_eq!((url(&call).0.as_str(), url(&call).1["event_types"].as_str()), ("/2/dm_events", "MessageCreate"));
    let at = |minutes: i64| NOW.plus(minutes * MINUTE);
    let all = [
        item("9", ANN, "too new", at(10).plus(-1000)),
        item("8", ANN, "second", at(6)),
        item("7", US, "by hand", at(5)),
        item("6", ANN, "first &amp; more", at(4)),
        item("5", ANN, "from before", at(-6)),
    ];
    let (_, first) = poll(adapter.as_ref(), Some(&begun.cursor), &page(&all, Some("more")), at(10));
    assert_eq!(ids(&first), ["handle:message:6", "handle:echo:7", "handle:message:8"], "oldest first");
    assert!(!first.more, "the rest is older");
    let Inbound::Message(m) = &first.events[0] else { panic!("{first:?}") };
    assert_eq!(
        (m.content.text.as_str(), m.from.name.as_deref(), m.thread.as_str()),
        ("first & more", Some("Ann"), ANN)
    );
    assert_eq!((m.meta["followers"].as_str(), m.provider_id.as_deref(), m.at), ("7", Some("6"), at(4)));
    let again = adapter.reparse(
        m.raw.as_ref().unwrap(),
        switchboard_adapter_sdk::signature::from_base64(m.raw.as_ref().unwrap().inline.as_deref().unwrap())
            .unwrap()
            .into(),
        at(10),
    );
    assert_eq!(again, [first.events[0].clone()], "what was kept is enough to read it again");
    let (_, second) = poll(adapter.as_ref(), Some(&first.cursor), &page(&all, None), at(12));
    assert_eq!(ids(&second), ["handle:message:9"]);
    let (_, third) = poll(adapter.as_ref(), Some(&second.cursor), &page(&all, None), at(14));
    assert_eq!(ids(&third), Vec::<&str>::new());
}

#[test]
fn a_long_list_is_read_page_by_page_and_nonsense_leaves_the_cursor() {
    let adapter = adapter();
    let (_, begun) = poll(adapter.as_ref(), None, &page(&[], None), NOW);
    let later = NOW.plus(10 * MINUTE);
    let (_, first) = poll(
        adapter.as_ref(),
        Some(&begun.cursor),
        &page(&[item("8", ANN, "b", NOW.plus(6 * MINUTE))], Some("p2")),
        later,
    );
    assert!(first.more);
    let (call, second) = poll(
        adapter.as_ref(),
        Some(&first.cursor),
        &page(&[item("6", ANN, "a", NOW.plus(4 * MINUTE))], None),
        later.plus(5),
    );
    assert_eq!(url(&call).1["pagination_token"], "p2");
    assert_eq!((ids(&second), second.more), (vec!["handle:message:6"], false));
    for wrong in
        [response(429, json!({})), response(200, json!([])), Err(switchboard_adapter_sdk::CallError::Lost("x".into()))]
    {
        assert!(adapter.polled(Some(&first.cursor), &wrong, later).is_err(), "{wrong:?}");
    }
    let odd = [
        json!(7),
        json!({}),
        item("8", ANN, "", NOW.plus(6 * MINUTE)),
        json!({ "id": "4", "event_type": "ParticipantsJoin" }),
    ];
    let (_, read) = poll(adapter.as_ref(), Some(&begun.cursor), &page(&odd, None), later);
    assert!(
        read.events.iter().all(|e| e.kind() == "unparsed" && e.validate().is_ok()) && read.events.len() == 3,
        "{read:?}"
    );
    let (_, fresh) = poll(adapter.as_ref(), Some("nonsense"), &page(&[], None), later);
    assert!(!fresh.more);
}

#[test]
fn a_picture_of_the_list_is_a_file() {
    let adapter = adapter();
    let (_, begun) = poll(adapter.as_ref(), None, &page(&[], None), NOW);
    let mut with = item("8", ANN, "see https://t.co/m1", NOW.plus(6 * MINUTE));
    with["attachments"] = json!({ "media_keys": ["3_1"] });
    with["entities"] = json!({ "urls": [{ "url": "https://t.co/m1", "expanded_url": "https://x.com/messages/media/8", "media_key": "3_1" }] });
    let (_, polled) = poll(adapter.as_ref(), Some(&begun.cursor), &page(&[with], None), NOW.plus(10 * MINUTE));
    let content = &message(&polled.events).content;
    assert_eq!(
        (content.text.as_str(), content.attachments[0].url.as_deref()),
        ("see", Some("https://pbs.twimg.com/dm/a.jpg"))
    );
}

#[test]
fn after_a_gap_x_is_asked_to_deliver_again_once_it_takes_the_question() {
    let secret = Setting::Secrets(vec![Secret::new("app-bearer")]);
    let replays = settings().with("webhook_id", Setting::Text("114665".into())).with("bearer_token", secret);
    let adapter = crate::config::build(&replays).unwrap();
    let empty = page(&[], None);
    let step = |cursor: &str, minutes: i64| {
        let now = NOW.plus(minutes * MINUTE);
        let (call, polled) = poll(adapter.as_ref(), Some(cursor), &empty, now);
        assert_eq!(url(&call).0, "/2/dm_events", "{minutes}");
        polled
    };
    let (_, begun) = poll(adapter.as_ref(), None, &empty, NOW);
    let before = step(&begun.cursor, 5);
    let after = step(&before.cursor, 65);
    assert!(!after.more, "it is too early");
    let early = step(&after.cursor, 70);
    assert!(!early.more);
    let ready = step(&early.cursor, 80);
    assert!(ready.more, "right after a sweep");
    let now = NOW.plus(80 * MINUTE).plus(100);
    let call = adapter.poll(Some(&ready.cursor), now).unwrap();
    assert_eq!((call.method.as_str(), call.url.as_str()), ("POST", "https://api.x.com/2/webhooks/replay"));
    // NOW is 2027-01-15T08:00:00Z.
    assert_eq!(body(&call), json!({ "webhook_id": "114665", "from_date": "202701150804", "to_date": "202701150906" }));
    let proved = adapter.memory().unwrap().authorized(call, &Kept::default(), now);
    assert_eq!(proved.headers, [("authorization", "Bearer app-bearer".to_owned())], "the app's own, and no other");
    let why =
        adapter.polled(Some(&ready.cursor), &response(403, json!({ "detail": "not in your plan" })), now).unwrap_err();
    assert!(why.contains("403") && why.contains("not in your plan"));
    assert!(step(&ready.cursor, 90).more, "sweeps go on, and it is asked again");
    let done = adapter.polled(Some(&ready.cursor), &response(200, json!({ "job_id": "1" })), now).unwrap();
    assert!(!step(&done.cursor, 90).more);
    assert!(!step(&ready.cursor, 26 * 60).more, "X keeps nothing that old");
    let without = self::adapter();
    let (_, polled) = poll(without.as_ref(), Some(&after.cursor), &empty, NOW.plus(100 * MINUTE));
    assert!(!polled.more, "without the webhook's id nobody asks");
}

fn question(send: &Send) -> Reconcile {
    Reconcile {
        send: send.send.clone(),
        part: 1,
        n: 1,
        channel: send.channel.clone(),
        conversation: send.conversation.clone(),
        thread: send.thread.clone(),
        to: send.to.clone(),
        content: send.content.clone(),
        released_at: NOW,
        until: NOW.plus(120_000),
    }
}

#[test]
fn the_one_message_of_ours_with_those_words_is_the_attempt() {
    let adapter = adapter();
    let asked = question(&send("see https://shop.example/a  now"));
    let (path, query) = url(&adapter.reconcile(&asked).unwrap());
    assert_eq!(
        (path.as_str(), query["max_results"].as_str()),
        (format!("/2/dm_conversations/with/{ANN}/dm_events").as_str(), "100")
    );
    let shown = |id: &str, at: i64| {
        let mut item = item(id, US, "see https://t.co/a1 now", NOW.plus(at));
        item["entities"] = json!({ "urls": [{ "url": "https://t.co/a1", "expanded_url": "https://shop.example/a" }] });
        item
    };
    let proof = |items: &[Value]| adapter.reconciled(&asked, &page(items, None)).map(|o| (o.outcome, o.provider_ids));
    let noise = [
        item("1", ANN, "see https://shop.example/a now", NOW.plus(10)),
        item("2", US, "another", NOW.plus(20)),
        shown("3", -5000),
        shown("4", 130_000),
    ];
    assert_eq!(proof(&noise), None, "absence proves nothing");
    let with = |more: &[Value]| [noise.as_slice(), more].concat();
    assert_eq!(proof(&with(&[shown("5", 30)])), Some((Outcome::Accepted, vec!["5".into()])));
    assert_eq!(proof(&with(&[shown("5", 30), shown("6", 40)])), None, "two alike prove nothing");
    for nothing in
        [response(404, json!({})), response(200, json!(7)), Err(switchboard_adapter_sdk::CallError::Lost("x".into()))]
    {
        assert_eq!(adapter.reconciled(&asked, &nothing), None);
    }
}

#[test]
fn a_file_alone_is_like_any_other_and_its_link_is_not_of_the_words() {
    let picture = Attachment { mime: "image/png".into(), ..Attachment::default() };
    let with = |text: &str| {
        let mut send = send(text);
        send.content.attachments = vec![picture.clone()];
        question(&send)
    };
    let proof = |asked: &Reconcile, text: &str| {
        adapter().reconciled(asked, &page(&[item("5", US, text, NOW.plus(30))], None)).map(|o| o.provider_ids)
    };
    assert_eq!(proof(&with("look"), "look https://t.co/m1"), Some(vec!["5".into()]));
    assert_eq!(proof(&with("look"), "look"), Some(vec!["5".into()]));
    assert_eq!(proof(&with("look"), "look at"), None);
    assert_eq!(proof(&question(&send("look")), "look https://t.co/m1"), None, "without a file it is another message");
    assert_eq!(proof(&with(""), "https://t.co/m1"), None);
    assert_eq!(proof(&with(""), ""), None);
}

#[test]
fn a_group_is_read_and_asked_about_by_its_number() {
    let adapter = adapter();
    let in_group = |id: &str, from: &str, text: &str| {
        let mut item = item(id, from, text, NOW.plus(6 * MINUTE));
        item["dm_conversation_id"] = json!("1582103724607971332");
        item
    };
    let (_, begun) = poll(adapter.as_ref(), None, &page(&[], None), NOW);
    let items = [in_group("8", ANN, "hi all"), in_group("9", US, "hello")];
    let (_, polled) = poll(adapter.as_ref(), Some(&begun.cursor), &page(&items, None), NOW.plus(10 * MINUTE));
    let thread = format!("group:1582103724607971332:{ANN}");
    assert_eq!(message(&polled.events).thread, thread, "and nothing of ours");
    let asked = question(&Send { thread, ..send("hello") });
    let asked = Reconcile { until: NOW.plus(10 * MINUTE), ..asked };
    assert_eq!(url(&adapter.reconcile(&asked).unwrap()).0, "/2/dm_conversations/1582103724607971332/dm_events");
    let proof = |item: Value| adapter.reconciled(&asked, &page(&[item], None)).map(|o| o.provider_ids);
    assert_eq!(proof(in_group("9", US, "hello")), Some(vec!["9".into()]));
    assert_eq!(proof(item("9", US, "hello", NOW.plus(6 * MINUTE))), None, "to one person");
    let odd = question(&Send { thread: "group:../x:1".into(), ..send("hello") });
    assert!(adapter.reconcile(&odd).is_none());
}

#[test]
fn a_public_answer_is_found_among_our_posts() {
    let adapter = public("invite");
    let asked = question(&in_public("Sorry!"));
    assert_eq!(url(&adapter.reconcile(&asked).unwrap()).0, format!("/2/users/{US}/tweets"));
    let post = |id: &str, to: &str, text: &str| {
        json!({ "id": id, "text": text, "created_at": NOW.plus(50).to_string(), "in_reply_to_user_id": to,
        "entities": { "urls": [{ "url": "https://t.co/d", "expanded_url": format!("https://x.com/messages/compose?recipient_id={US}") }] } })
    };
    let said = "@other Sorry!\n\nPlease send us a direct message: https://t.co/d";
    let all = [post("1", "3", said), post("2", ANN, "@other something else"), post("3", ANN, said)];
    let outcome = adapter.reconciled(&asked, &response(200, json!({ "data": all })));
    assert_eq!(outcome.map(|o| o.provider_ids), Some(vec!["3".to_owned()]));
}

#[test]
fn a_page_that_x_gives_no_more_does_not_end_catching_up() {
    let adapter = adapter();
    let (_, begun) = poll(adapter.as_ref(), None, &page(&[], None), NOW);
    let at = |minutes: i64| NOW.plus(minutes * MINUTE);
    let newer = [item("9", ANN, "second", at(7))];
    let (_, first) = poll(adapter.as_ref(), Some(&begun.cursor), &page(&newer, Some("more")), at(10));
    assert!(first.more);
    // Trouble leaves the sweep as it is; a refusal of the page begins it anew.
    assert!(adapter.polled(Some(&first.cursor), &response(429, json!({})), at(11)).is_err());
    let (asked, refused) = poll(adapter.as_ref(), Some(&first.cursor), &response(400, json!({})), at(11));
    assert_eq!(url(&asked).1.get("pagination_token").map(String::as_str), Some("more"));
    assert!(refused.complaint.as_ref().is_some_and(|said| said.contains("400")) && !refused.more, "{refused:?}");
    let all = [item("9", ANN, "second", at(7)), item("8", ANN, "first", at(4)), item("7", ANN, "old", at(-9))];
    let (asked, again) = poll(adapter.as_ref(), Some(&refused.cursor), &page(&all, None), at(12));
    assert_eq!(url(&asked).1.get("pagination_token"), None);
    assert_eq!(ids(&again), ["handle:message:8", "handle:message:9"], "what the first try told is known by its id");
    assert!(adapter.polled(None, &response(400, json!({})), NOW).is_err(), "without a page it is an error");
}

#[test]
fn a_message_of_ours_to_no_number_is_set_aside() {
    let odd = json!({ "id": "9", "event_type": "MessageCreate", "text": "hi", "sender_id": US, "created_at": NOW.plus(-2 * MINUTE).to_string(),
        "dm_conversation_id": format!("{US}-") });
    let (_, polled) = poll(adapter().as_ref(), None, &page(&[odd], None), NOW);
    assert!(reason(&polled.events).contains("nobody who is known"), "{polled:?}");
}
