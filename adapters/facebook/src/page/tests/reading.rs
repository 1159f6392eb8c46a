//! What the corpus does not show.

use super::*;

#[test]
fn one_bad_event_spoils_none_of_its_neighbours() {
    let good = |mid: &str| event(json!({ "message": { "mid": mid, "text": "hi" } }));
    let bad = [
        event(json!({ "message": { "text": "without an id" } })),
        event(json!({ "message": { "mid": "m_empty" } })),
        event(json!({ "brand_new": { "x": 1 } })),
        json!({ "timestamp": 1, "message": { "mid": "m", "text": "from nobody" } }),
        json!(7),
        json!(null),
        json!([]),
    ];
    let all: Vec<Value> = [vec![good("m_1")], bad.to_vec(), vec![good("m_2")]].concat();
    let events = read(&all);
    let ids: Vec<&str> = events.iter().filter(|e| e.kind() == "message").map(Inbound::id).collect();
    assert_eq!(ids, ["page:message:m_1", "page:message:m_2"]);
    let set_aside: Vec<_> = events.iter().filter(|e| e.kind() == "unparsed").collect();
    assert_eq!(set_aside.len(), bad.len(), "{events:#?}");
    for inbound in set_aside {
        let Inbound::Unparsed(unparsed) = inbound else { continue };
        assert!(unparsed.raw.inline.is_some() && !unparsed.reason.contains("from nobody"), "{unparsed:?}");
    }
}

#[test]
fn what_is_not_of_this_page_or_product_is_kept_and_not_taken() {
    let of = |body: Value| adapter().parse(&signed(body.to_string().as_bytes()));
    let text = json!([event(json!({ "message": { "mid": "m_1", "text": "hi" } }))]);
    for body in [
        json!({ "object": "page", "entry": [{ "id": "999", "messaging": text }] }),
        json!({ "object": "instagram", "entry": [{ "id": PAGE, "messaging": text }] }),
        json!({ "object": "page", "entry": [{ "id": PAGE, "changes": [{ "field": "feed", "value": {} }] }] }),
        json!({ "object": "page", "entry": [{ "id": PAGE }] }),
        json!({ "object": "page" }),
        json!([]),
    ] {
        let events = of(body.clone());
        assert!(matches!(events.as_slice(), [Inbound::Unparsed(_)]), "{body}: {events:?}");
    }
    assert!(of(json!({ "object": "page", "entry": [] })).is_empty(), "nothing is said, and nothing is lost");
    let numbers = json!({ "object": "page", "entry": [{ "id": 102_030_405_060_u64, "messaging": text }] });
    assert_eq!(message(&of(numbers)).provider_id.as_deref(), Some("m_1"), "an id as a number");
}

#[test]
fn our_own_echo_names_the_attempt_and_an_agents_in_the_app_does_not() {
    let echo = |more: Value| {
        let mut message = json!({ "is_echo": true, "mid": "m_OUT", "text": "We are on it.", "app_id": 987 });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "sender": { "id": PAGE }, "recipient": { "id": ANN }, "timestamp": 1_756_632_000_300_i64, "message": message })
    };
    let read = |value: Value| match read(&[value]).remove(0) {
        Inbound::Echo(echo) => *echo,
        other => panic!("{other:?}"),
    };
    let ours = read(echo(json!({ "metadata": "mAbC.2.3" })));
    assert_eq!((ours.send.as_deref(), ours.part, ours.n), (Some("mAbC"), Some(2), Some(3)));
    for foreign in [json!({ "metadata": "m-7731" }), json!({}), json!({ "metadata": "" })] {
        let elsewhere = read(echo(foreign));
        assert_eq!((elsewhere.send, elsewhere.part, elsewhere.n), (None, None, None));
        assert_eq!((elsewhere.thread.as_str(), elsewhere.content.text.as_str()), (ANN, "We are on it."));
    }
    let photo =
        json!({ "attachments": [{ "type": "image", "payload": { "url": "https://scontent.xx.fbcdn.net/a.jpg" } }] });
    assert!(read(echo(photo)).content.attachments.iter().all(|file| !file.is_wanted()), "nobody fetches what we sent");
    let mut turned = echo(json!({}));
    (turned["sender"], turned["recipient"]) = (json!({ "id": ANN }), json!({ "id": PAGE }));
    assert_eq!(read(turned).thread, ANN, "the other way round, as some deliveries have it");
}

#[test]
fn what_another_app_owns_is_watched_and_not_answered() {
    let body = wrapped("standby", &[event(json!({ "message": { "mid": "m_1", "text": "hi" } }))]);
    let events = adapter().parse(&signed(&body));
    let message = message(&events);
    assert!(message.automatic && message.meta["standby"] == "true" && message.content.text == "hi");
}

#[test]
fn attachments_are_files_or_lines() {
    let of = |attachments: Value| read(&[event(json!({ "message": { "mid": "m_1", "attachments": attachments } }))]);
    let url = "https://cdn.fbsbx.com/v/invoice.pdf?oh=1";
    for (attachment, text, files) in [
        (
            json!({ "type": "location", "payload": { "coordinates": { "lat": 48.5, "long": 2.25 } } }),
            "[location: 48.5, 2.25]",
            0,
        ),
        (json!({ "type": "location" }), "[location]", 0),
        (json!({ "type": "fallback", "title": "A page", "url": "https://a.example" }), "A page: https://a.example", 0),
        (json!({ "type": "template", "payload": {} }), "[template]", 0),
        (json!({ "type": "like_heart" }), "\u{2764}\u{fe0f}", 0),
        (json!({ "type": "file", "payload": { "url": url } }), "", 1),
        (json!({ "type": "ig_reel", "payload": { "url": url, "title": "A reel" } }), "", 1),
        (json!({ "type": "of_a_new_kind", "payload": { "url": url } }), "", 1),
        (json!({ "type": "of_a_new_kind" }), "[of_a_new_kind]", 0),
        (json!(7), "[file]", 0),
    ] {
        let events = of(json!([attachment]));
        let message = message(&events);
        assert_eq!((message.content.text.as_str(), message.content.attachments.len()), (text, files), "{attachment}");
    }
    let events = of(json!([{ "type": "file", "payload": { "url": url } }]));
    assert_eq!(message(&events).content.attachments[0].name, "invoice.pdf");
    let many = json!(vec![json!({ "type": "image", "payload": { "url": url } }); 200]);
    assert_eq!(message(&of(many)).content.attachments.len(), crate::event::MAX_FILES);
    let two = of(json!([
        { "type": "sticker", "payload": { "sticker_id": 1, "url": url } },
        { "type": "sticker", "payload": { "sticker_id": 2, "url": url } },
    ]));
    assert_eq!(message(&two).content.attachments.len(), 2, "two stickers are two");
}

#[test]
fn files_that_are_too_many_are_counted() {
    let file = json!({ "type": "image", "payload": { "url": "https://cdn.example/a.png" } });
    let events = read(&[event(json!({ "message": { "mid": "m_1", "text": "all", "attachments": vec![file; 33] } }))]);
    let content = &message(&events).content;
    assert_eq!((content.attachments.len(), content.text.as_str()), (30, "all\n[3 more files, which are not shown]"));
}

#[test]
fn events_without_words_are_told_once_each() {
    for (name, value) in [
        ("pass_thread_control", json!({ "new_owner_app_id": "1" })),
        ("account_linking", json!({ "status": "linked" })),
        ("messaging_feedback", json!({ "feedback_screens": [] })),
    ] {
        let events = read(&[event(json!({ (name): value }))]);
        let message = message(&events);
        assert_eq!((message.automatic, message.meta["event"].as_str()), (true, name));
    }
    let react = |action: &str, at: i64| {
        let mut value = event(json!({ "reaction": { "action": action, "mid": "m_OUT1", "emoji": "x" } }));
        value["timestamp"] = json!(at);
        value
    };
    let all =
        [react("react", 1_756_632_000_001), react("unreact", 1_756_632_000_002), react("react", 1_756_632_000_003)];
    let again: Vec<Value> = all.iter().chain(&all).cloned().collect();
    assert_eq!(read(&again).len(), 3, "each of them once, and the same reaction later is another");
}

#[test]
fn a_page_that_is_blocked_is_the_operators_to_see() {
    let enforced = |action: &str| {
        json!({ "recipient": { "id": PAGE }, "timestamp": 1_756_632_000_123_i64,
        "policy_enforcement": { "action": action, "reason": "spam" } })
    };
    let [Inbound::Refused(refused)] = &read(&[enforced("block")])[..] else { panic!("not refused") };
    assert!(refused.detail.contains("policies") && refused.validate_as_inbound());
    assert!(matches!(read(&[enforced("unblock")])[..], [Inbound::Unparsed(_)]));
}

trait Valid {
    fn validate_as_inbound(&self) -> bool;
}

impl Valid for switchboard_envelope::ChannelRefused {
    fn validate_as_inbound(&self) -> bool {
        Inbound::Refused(self.clone()).validate().is_ok()
    }
}

#[test]
fn a_quarantined_event_is_read_again_alone() {
    let events =
        read(&[event(json!({ "message": { "mid": "m_1", "text": "hi" } })), event(json!({ "brand_new": {} }))]);
    let Some(Inbound::Unparsed(unparsed)) = events.iter().find(|e| e.kind() == "unparsed") else {
        panic!("{events:?}")
    };
    let body = switchboard_adapter_sdk::signature::from_base64(unparsed.raw.inline.as_deref().unwrap()).unwrap();
    let again = adapter().reparse(&unparsed.raw, body.into(), NOW);
    assert_eq!(again.iter().map(Inbound::id).collect::<Vec<_>>(), [unparsed.id.as_str()]);
}

#[test]
fn another_kind_of_event_can_be_known_by_its_name_only() {
    let events = read(&[event(json!({ "s3cret words": {} })), event(json!({ "brand_new": {} }))]);
    let reasons: BTreeMap<_, _> = events
        .iter()
        .map(|e| match e {
            Inbound::Unparsed(u) => (u.reason.clone(), ()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        reasons.keys().all(|reason| !reason.contains("s3cret")) && reasons.keys().any(|r| r.ends_with("brand_new"))
    );
}

#[test]
fn a_long_event_beside_others_keeps_its_own_bytes_and_no_more() {
    let long = "a".repeat(40_000);
    let of = |who: &str, text: &str| {
        json!({ "sender": { "id": who }, "recipient": { "id": PAGE }, "timestamp": 1_756_632_000_123_i64,
            "message": { "mid": format!("m_{who}"), "text": text } })
    };
    let body =
        json!({ "object": "page", "entry": [{ "id": PAGE, "messaging": [of("11", &long), of("22", "a secret")] }] });
    let events = adapter().parse(&signed(body.to_string().as_bytes()));
    let Inbound::Message(first) = &events[0] else { panic!("{events:#?}") };
    let inline = first.raw.as_ref().and_then(|raw| raw.inline.as_ref()).expect("its own bytes");
    let kept = String::from_utf8(switchboard_adapter_sdk::signature::from_base64(inline).unwrap()).unwrap();
    assert!(kept.contains(&long) && !kept.contains("a secret") && !kept.contains("22"));
}

#[test]
fn a_delivery_that_would_become_gigabytes_is_counted_before_it_is_made() {
    let one = json!({ "sender": { "id": "11" }, "recipient": { "id": PAGE } });
    for (entry, count, wanted) in [("1".repeat(500_000), 4000, "around"), (PAGE.to_owned(), 9000, "more events")] {
        let body = json!({ "object": "page", "entry": [{ "id": entry, "messaging": vec![one.clone(); count] }] });
        let events = adapter().parse(&signed(body.to_string().as_bytes()));
        let [Inbound::Unparsed(whole)] = events.as_slice() else { panic!("{} events", events.len()) };
        assert!(whole.reason.contains(wanted), "{}", whole.reason);
    }
}

#[test]
fn a_receipt_is_of_what_it_names_and_of_everything_before() {
    let of = |told: Value| {
        let events = read(&[event(told)]);
        let of = |r: &Receipt| (r.provider_id.clone(), r.thread.clone(), r.at.0, r.id.clone());
        receipts(&events).into_iter().map(of).collect::<Vec<_>>()
    };
    let named = |mid: &str, at: i64, name: &str| (mid.to_owned(), None, at, format!("page:receipt:{name}:{mid}"));
    let before =
        |at: i64, name: &str| (String::new(), Some(ANN.to_owned()), at, format!("page:receipt:{name}:{ANN}:{at}"));
    let seen_at = 1_756_632_000_123;
    assert_eq!(of(json!({ "read": { "watermark": 1_756_632_000_100_i64 } })), [before(1_756_632_000_100, "read")]);
    assert_eq!(of(json!({ "read": { "mid": "m_1" } })), [named("m_1", seen_at, "read"), before(seen_at, "read")]);
    let delivered = of(json!({ "delivery": { "mids": ["m_1", "m_2"], "watermark": 1_756_632_000_100_i64 } }));
    let at = 1_756_632_000_100;
    assert_eq!(delivered, [named("m_1", at, "delivery"), named("m_2", at, "delivery"), before(at, "delivery")]);
    let only = of(json!({ "delivery": { "mids": ["m_1"] } }));
    assert_eq!(only, [named("m_1", seen_at, "delivery")], "a delivery of one says nothing of others");
}

#[test]
fn a_page_and_an_account_of_the_same_id_are_two() {
    let other = |product: &Product, settings: Settings| adapter_of(product, &settings).accounts();
    assert_eq!(adapter().accounts(), [format!("page:{PAGE}")]);
    assert_eq!(other(&INSTAGRAM, settings()), [format!("instagram:{PAGE}")]);
    let linked =
        settings().with("page_id", Setting::Text("17841".into())).with("linked_page", Setting::Text(PAGE.into()));
    assert_eq!(other(&INSTAGRAM, linked.clone()), ["instagram:17841".to_owned(), format!("instagram:{PAGE}")]);
    let said = |id: &str| {
        let event = json!({ "sender": { "id": ANN }, "recipient": { "id": id }, "timestamp": 1_756_632_000_123_i64,
            "message": { "mid": "m_1", "text": "hi" } });
        json!({ "object": "instagram", "entry": [{ "id": id, "messaging": [event] }] })
    };
    let instagram = adapter_of(&INSTAGRAM, &linked);
    for id in ["17841", PAGE] {
        let events = instagram.parse(&signed(said(id).to_string().as_bytes()));
        assert_eq!(message(&events).from.value, ANN, "{id}");
    }
    let body = Bytes::from(said(PAGE).to_string());
    assert!(adapter().apart(&body).iter().all(|(account, _)| !adapter().accounts().contains(account)));
}

#[test]
fn who_writes_is_known_within_the_page_alone() {
    let page = |page: &str| {
        let adapter = adapter_of(&MESSENGER, &settings().with("page_id", Setting::Text(page.into())));
        let said = json!({ "message": { "mid": format!("m_{page}"), "text": "hi" } });
        let body = json!({ "object": "page", "entry": [{ "id": page, "messaging": [event(said)] }] }).to_string();
        message(&adapter.parse(&signed(body.as_bytes()))).from.clone()
    };
    let (one, other) = (page("1"), page("2"));
    assert_eq!((one.value.as_str(), one.within.as_deref()), (ANN, Some("1")));
    assert!(one != other && one.identity() == other.identity(), "{one:?} {other:?}");
    let echo = json!({ "sender": { "id": PAGE }, "recipient": { "id": ANN },
        "message": { "is_echo": true, "mid": "m_1", "text": "by hand" } });
    let found = read(&[event(echo)]);
    let [Inbound::Echo(echo)] = found.as_slice() else { panic!("no echo: {found:#?}") };
    assert_eq!(echo.to.within.as_deref(), Some(PAGE));
}
