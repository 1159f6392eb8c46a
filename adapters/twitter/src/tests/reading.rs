//! What the corpus does not show.

use super::*;

#[test]
fn one_bad_event_spoils_none_of_its_neighbours() {
    let good = |id: &str| direct(id, ANN, US, json!({ "text": "hi" }));
    let bad = [
        direct("", ANN, US, json!({ "text": "without an id" })),
        direct("80", ANN, US, json!({})),
        direct("81", ANN, "3333", json!({ "text": "between others" })),
        direct("82", US, US, json!({ "text": "to ourselves" })),
        json!({ "type": "welcomed", "id": "83" }),
        json!(7),
        json!(null),
    ];
    let all: Vec<Value> = [vec![good("78")], bad.to_vec(), vec![good("79"), good("78")]].concat();
    for body in [
        json!({ "for_user_id": US, "direct_message_events": all }),
        activity("dm.received", json!({ "direct_message_events": all })),
    ] {
        let events = read(&body);
        let ids: Vec<&str> = events.iter().filter(|e| e.kind() == "message").map(Inbound::id).collect();
        assert_eq!(ids, ["handle:message:78", "handle:message:79"], "each of them once");
        let aside: Vec<_> = events.iter().filter(|e| e.kind() == "unparsed").collect();
        assert_eq!(aside.len(), bad.len(), "{events:#?}");
        for inbound in aside {
            let Inbound::Unparsed(unparsed) = inbound else { continue };
            let kept =
                switchboard_adapter_sdk::signature::from_base64(unparsed.raw.inline.as_deref().unwrap()).unwrap();
            let again = adapter().reparse(&unparsed.raw, kept.into(), NOW);
            assert_eq!(again.iter().map(Inbound::id).collect::<Vec<_>>(), [unparsed.id.as_str()], "read again alone");
            assert!(!unparsed.reason.contains("between others\""), "{unparsed:?}");
        }
    }
}

#[test]
fn the_same_message_is_the_same_on_both_ways_and_for_two_accounts() {
    let event = direct("77", ANN, US, json!({ "text": "hi" }));
    let newer = read(&activity("dm.received", json!({ "direct_message_events": [event] })));
    let older = read(&json!({ "for_user_id": US, "direct_message_events": [event] }));
    let other = read(&json!({ "for_user_id": ANN, "direct_message_events": [event] }));
    let ids: Vec<&str> = [&newer, &older, &other].iter().map(|events| events[0].id()).collect();
    assert_eq!(ids, ["handle:message:77"; 3]);
}

#[test]
fn words_are_read_as_they_were_written() {
    let links = json!({ "urls": [{ "url": "https://t.co/a1", "expanded_url": "https://shop.example/?a=1&b=2" }] });
    let said = read(&received(json!({ "text": "1 &lt; 2 &amp;&amp; https://t.co/a1 👋", "entities": links })));
    assert_eq!(message(&said).content.text, "1 < 2 && https://shop.example/?a=1&b=2 👋");
    let place = json!({ "text": "here", "attachment": { "type": "location", "location": { "type": "shared_coordinate",
        "shared_coordinate": { "coordinates": { "type": "Point", "coordinates": [2.25, 48.5] } } } } });
    assert_eq!(message(&read(&received(place))).content.text, "here\n[location: 48.5, 2.25]");
    let chose = json!({ "text": "Yes", "quick_reply_response": { "type": "options", "metadata": "YES" } });
    let chosen = Choice { id: "YES".into(), label: Some("Yes".into()) };
    assert_eq!(message(&read(&received(chose))).content.choice, Some(chosen));
    let bare = json!({ "text": "No", "quick_reply_response": { "type": "options" } });
    assert_eq!(message(&read(&received(bare))).content.choice.as_ref().map(|c| c.id.as_str()), Some("No"));
}

#[test]
fn films_and_pictures_are_files_and_their_links_no_words() {
    let media = |media: Value| {
        received(json!({ "text": "see https://t.co/m1", "attachment": { "type": "media", "media": media } }))
    };
    let film = json!({ "url": "https://t.co/m1", "type": "video", "media_url_https": "https://pbs.twimg.com/first.jpg",
        "video_info": { "variants": [
            { "content_type": "application/x-mpegURL", "url": "https://video.twimg.com/a.m3u8" },
            { "bitrate": 256, "content_type": "video/mp4", "url": "https://video.twimg.com/small.mp4" },
            { "bitrate": 832, "content_type": "video/mp4", "url": "https://video.twimg.com/large.mp4" }] } });
    let events = read(&media(film));
    let (content, file) = (&message(&events).content, &message(&events).content.attachments[0]);
    assert_eq!((content.text.as_str(), file.url.as_deref()), ("see", Some("https://video.twimg.com/large.mp4")));
    assert_eq!(file.mime, "video/mp4");
    let mine = json!({ "direct_message_events": [direct("77", US, ANN, json!({ "text": "", "attachment": { "type": "media",
        "media": { "type": "photo", "media_url_https": "https://ton.x.com/a.jpg" } } }))] });
    let events = read(&activity("dm.sent", mine));
    assert!(echo(&events).content.attachments.iter().all(|file| !file.is_wanted()), "nobody fetches what we sent");
}

#[test]
fn files_that_are_too_many_are_counted() {
    let media: Vec<Value> = (0..33)
        .map(|n| json!({ "type": "photo", "media_url_https": format!("https://pbs.twimg.com/{n}.jpg") }))
        .collect();
    let post = json!({ "id_str": "90", "user": { "id_str": ANN }, "text": "all", "extended_entities": { "media": media },
        "entities": { "user_mentions": [{ "id_str": US }] } });
    let events = read(&json!({ "for_user_id": US, "tweet_create_events": [post] }));
    let content = &message(&events).content;
    assert_eq!((content.attachments.len(), content.text.as_str()), (30, "all\n[3 more files, which are not shown]"));
}

#[test]
fn files_are_fetched_with_our_keys_from_x_only_and_never_from_inside() {
    let adapter = adapter();
    let fetched = |url: &str| {
        let file = Attachment { url: Some(url.into()), ..Attachment::default() };
        adapter.fetch(&file).map(|call| {
            let call = adapter.memory().unwrap().authorized(call, &Kept::default(), NOW);
            call.headers.iter().any(|(name, value)| *name == "authorization" && value.starts_with("OAuth "))
        })
    };
    assert_eq!(fetched("https://ton.x.com/1.1/ton/data/dm/1/2/a.jpg"), Some(true));
    assert_eq!(fetched("https://ton.twitter.com/1.1/ton/data/dm/1/2/a.jpg"), Some(true));
    for other in
        ["https://pbs.twimg.com/a.jpg", "https://evilx.com/a", "https://x.com.evil.example/a", "https://x.com:8443/a"]
    {
        assert_eq!(fetched(other), Some(false), "{other}");
    }
    for inside in [
        "http://ton.x.com/a",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/a",
        "https://[::1]/a",
        "https://u@x.com/a",
        "file:///etc/passwd",
    ] {
        assert_eq!(fetched(inside), None, "{inside}");
    }
}

#[test]
fn what_is_said_in_public_is_of_its_own_thread_and_says_what_it_is() {
    let post = |more: Value| {
        let mut post = json!({ "id": "2080765813578191303", "author_id": ANN, "created_at": "2026-07-24T21:23:23.000Z",
            "text": "@deskbrand leaks", "lang": "en", "entities": { "mentions": [{ "id": US, "username": "deskbrand" }] } });
        post.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post
    };
    let read_as = |kind: &str, post: Value| read(&activity(kind, post));
    let reply = json!({ "referenced_tweets": [{ "type": "replied_to", "id": "5" }], "in_reply_to_user_id": US });
    let quote = json!({ "referenced_tweets": [{ "type": "quoted", "id": "6" }] });
    let edit = json!({ "edit_history_tweet_ids": ["2080765813578191300", "2080765813578191303"] });
    for (kind, more, what, refers, event) in [
        ("post.mention.create", json!({}), "mention", None, None),
        ("post.create", json!({}), "mention", None, None),
        ("post.reply.create", reply, "reply", Some("5"), None),
        ("post.quote.create", quote, "quote", Some("6"), None),
        ("post.mention.create", edit, "mention", Some("2080765813578191300"), Some("edit")),
    ] {
        let events = read_as(kind, post(more));
        let message = message(&events);
        assert_eq!((message.visibility, message.thread.as_str()), (Visibility::Public, format!("post:{ANN}").as_str()));
        assert_eq!(
            (message.meta["post"].as_str(), message.meta.get("event").map(String::as_str)),
            (what, event),
            "{kind}"
        );
        assert_eq!(message.references.first().map(String::as_str), refers, "{kind}");
        assert_eq!((message.meta["language"].as_str(), message.automatic), ("en", false));
        assert_eq!(message.id, "handle:message:2080765813578191303", "a mention that is a reply too is one message");
    }
    let elsewhere = json!({ "entities": {} });
    assert!(read_as("post.create", post(elsewhere)).is_empty(), "nobody said it to us");
    let long = json!({ "note_tweet": { "text": "@deskbrand a long story &amp; more" } });
    assert_eq!(message(&read_as("post.mention.create", post(long))).content.text, "@deskbrand a long story & more");
    assert!(
        public("ignore")
            .parse(&signed(activity("post.mention.create", post(json!({}))).to_string().as_bytes()))
            .is_empty()
    );
    assert_eq!(
        public("read").parse(&signed(activity("post.mention.create", post(json!({}))).to_string().as_bytes())).len(),
        1
    );
}

#[test]
fn our_own_posts_are_echoes_where_they_answer_somebody() {
    let ours = |more: Value| {
        let mut post =
            json!({ "id": "90", "author_id": US, "text": "@other sorry", "created_at": "2026-07-24T21:23:23.000Z" });
        post.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(&activity("post.create", post))
    };
    let answered =
        ours(json!({ "in_reply_to_user_id": ANN, "referenced_tweets": [{ "type": "replied_to", "id": "5" }] }));
    assert_eq!(
        (echo(&answered).thread.as_str(), echo(&answered).to.value.as_str()),
        (format!("post:{ANN}").as_str(), ANN)
    );
    assert!(ours(json!({})).is_empty() && ours(json!({ "in_reply_to_user_id": US })).is_empty());
    let tweet = |more: Value| {
        let mut tweet = json!({ "id": 90, "id_str": "90", "user": { "id_str": US }, "text": "sorry", "in_reply_to_user_id_str": ANN });
        tweet.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(&json!({ "for_user_id": US, "tweet_create_events": [tweet] }))
    };
    assert_eq!(echo(&tweet(json!({}))).provider_id, "90");
    assert!(tweet(json!({ "user": { "id_str": ANN }, "retweeted_status": {} })).is_empty(), "a repost says nothing");
    let mention = tweet(
        json!({ "user": { "id_str": ANN, "screen_name": "other", "followers_count": 12000 }, "in_reply_to_user_id_str": US }),
    );
    assert_eq!(
        (message(&mention).meta["followers"].as_str(), message(&mention).meta["username"].as_str()),
        ("12000", "other")
    );
}

#[test]
fn an_encrypted_chat_cannot_be_read_and_says_so() {
    let chat = |sender: &str, conversation: &str| json!({ "id": "e4f4d3fc", "created_at_msec": "1784841183370", "sender_id": sender, "conversation_id": conversation, "encoded_event": "CwAB" });
    let both = format!("{ANN}:{US}");
    let events = read(&activity("chat.received", chat(ANN, &both)));
    let message = message(&events);
    assert!(message.content.text.contains("encrypted") && message.meta["event"] == "encrypted" && !message.automatic);
    assert_eq!((message.thread.as_str(), message.provider_id.as_ref()), (ANN, None), "it cannot be answered as such");
    let sent = read(&activity("chat.sent", chat(US, &both)));
    assert_eq!(echo(&sent).thread, ANN);
    assert!(reason(&read(&activity("chat.sent", chat(US, &format!("{US}:{US}"))))).contains("nobody"));
    assert_eq!(
        read(&activity("chat.sent", chat(US, "g123"))),
        [],
        "what we say in a group joins nobody's conversation"
    );
    let group = read(&activity("chat.received", chat(ANN, "g123")));
    let message = super::message(&group);
    assert_eq!((message.thread.as_str(), message.visibility), ("group:g123:2222222222222222222", Visibility::Public));
    assert_eq!((message.meta["chat"].as_str(), message.meta["event"].as_str()), ("group", "encrypted"));
    let why = adapter().fits(&message.thread, &Content::text("hi")).unwrap_err();
    assert!(why.contains("X app"), "{why}");
}

#[test]
fn in_a_group_each_person_has_a_thread_and_the_group_is_answered() {
    let said = |from: &str| {
        let mut event = direct("77", from, "3333", json!({ "text": "hi all" }));
        event["dm_conversation_id"] = json!("1582103724607971332");
        read(&activity("dm.received", json!({ "direct_message_events": [event] })))
    };
    let events = said(ANN);
    let message = message(&events);
    assert_eq!(message.thread, format!("group:1582103724607971332:{ANN}"));
    assert_eq!((message.from.value.as_str(), message.visibility), (ANN, Visibility::Public));
    assert_eq!(message.meta["chat"], "group");
    assert_eq!(said(US), []);
    let mut answer = Send { thread: message.thread.clone(), ..send("hello") };
    answer.content.choices = vec![Choice { id: "RED".into(), label: Some("Red".into()) }];
    let buttons = crate::config::build(&settings().with("quick_replies", Setting::Flag(true))).unwrap();
    let call = buttons.encode(&answer).unwrap();
    assert_eq!(call.url, "https://api.x.com/2/dm_conversations/1582103724607971332/messages");
    assert_eq!(body(&call), json!({ "text": "hello\n\n1. Red" }));
    let odd = Send { thread: "group:../../tweets:1".into(), ..send("hello") };
    assert_eq!(adapter().encode(&odd).unwrap_err().outcome, Outcome::Rejected);
}

#[test]
fn a_group_of_another_account_of_the_app_is_not_ours() {
    let said = |from: &str| {
        let mut event = direct("77", from, "3333", json!({ "text": "hi all" }));
        event["dm_conversation_id"] = json!("1582103724607971332");
        event
    };
    for from in [ANN, "3333", US] {
        let event = said(from);
        let newer = json!({ "data": { "event_uuid": "1", "filter": { "user_id": "3333" }, "event_type": "dm.received",
            "payload": { "direct_message_events": [event] } } });
        for body in [newer, json!({ "for_user_id": "3333", "direct_message_events": [event] })] {
            assert!(reason(&read(&body)).contains("account 3333"), "{body}");
        }
    }
    let ours = read(&json!({ "for_user_id": US, "direct_message_events": [said(ANN)] }));
    assert_eq!(message(&ours).thread, format!("group:1582103724607971332:{ANN}"));
}

#[test]
fn somebody_read_up_to_a_message_and_what_was_before_it_by_time() {
    let mark = |sender: &str| {
        json!({ "created_timestamp": "1784928300000", "sender_id": sender,
        "target": { "recipient_id": US }, "last_read_event_id": "2080765901528535096" })
    };
    for body in [
        json!({ "for_user_id": US, "direct_message_mark_read_events": [mark(ANN)] }),
        activity("dm.read", json!({ "direct_message_mark_read_events": [mark(ANN)] })),
        activity("dm.read", mark(ANN)),
    ] {
        let events = read(&body);
        let [Inbound::Receipt(it), Inbound::Receipt(before)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(
            (it.provider_id.as_str(), it.thread.as_ref(), it.at.0),
            ("2080765901528535096", None, 1_784_928_300_000)
        );
        assert_eq!((before.provider_id.as_str(), before.thread.as_deref()), ("", Some(ANN)));
        assert_eq!(before.at.0, 1_784_928_224_342, "what was made later was not read by this");
    }
    assert!(read(&json!({ "for_user_id": US, "direct_message_mark_read_events": [mark(US)] })).is_empty());
}

#[test]
fn what_says_nothing_is_acknowledged_or_noted_as_the_operator_likes() {
    let user = |id: &str| json!({ "id": id, "name": "Other", "screen_name": "other" });
    let follow =
        json!({ "type": "follow", "created_timestamp": "1517588749178", "target": user(US), "source": user(ANN) });
    let noise = [
        json!({ "for_user_id": US, "follow_events": [follow] }),
        json!({ "for_user_id": US, "favorite_events": [{ "id": "a7", "timestamp_ms": 1_522_082_006_140_i64, "user": user(ANN) }] }),
        json!({ "for_user_id": US, "block_events": [{ "type": "unblock", "source": user(US), "target": user(ANN) }] }),
        json!({ "for_user_id": US, "mute_events": [{ "type": "mute", "source": user(US), "target": user(ANN) }] }),
        activity("profile.update.bio", json!({ "before": "a", "after": "b" })),
        activity("follow.follow", json!({ "source": { "data": { "id": ANN } }, "target": {} })),
        activity("spaces.start", json!({ "user": { "data": { "id": US } } })),
        activity("news.new", json!({ "id": "1" })),
        activity("dm.indicate_typing", json!({})),
        activity("chat.conversation_join", json!({})),
        json!({ "replay_job_status": { "webhook_id": "1", "job_state": "Complete" } }),
        json!({ "for_user_id": US, "direct_message_events": [] }),
    ];
    for body in &noise {
        assert!(read(body).is_empty(), "{body}");
    }
    let noisy = crate::config::build(&settings().with("activity", Setting::Flag(true))).unwrap();
    let told = noisy.parse(&signed(noise[0].to_string().as_bytes()));
    assert!(
        message(&told).automatic && message(&told).meta["event"] == "follow.follow" && message(&told).from.value == ANN
    );
    assert!(noisy.parse(&signed(noise[3].to_string().as_bytes())).is_empty(), "what we do ourselves is no event");
}

#[test]
fn what_nobody_documented_is_kept_and_named() {
    for (body, named) in [
        (activity("dm.brand_new", json!({ "s3cret": 1 })), "dm.brand_new"),
        (json!({ "for_user_id": US, "brand_new_events": [{ "s3cret": 1 }] }), "aaa.brand_new_events"),
        (activity("S3cret words", json!({})), "not known"),
        (json!({ "for_user_id": US }), "not known"),
        (json!([]), "no JSON object"),
        (json!({ "user_event": { "s3cret": {} } }), "aaa.user_event"),
    ] {
        let why = reason(&read(&body));
        assert!(why.contains(named) && !why.to_lowercase().contains("s3cret"), "{why}");
    }
    assert!(reason(&adapter().parse(&signed(b"{"))).contains("no JSON"));
    let many = json!({ "for_user_id": US, "direct_message_events": vec![json!(1); 2001] });
    assert!(reason(&read(&many)).contains("more events"));
}

#[test]
fn only_our_own_revocation_stops_the_channel() {
    let of = |user: &str| {
        read(&activity(
            "oauth.revoke",
            json!({ "date_time": "2026-07-23T21:44:05+00:00", "user_id": user, "app_id": "1" }),
        ))
    };
    assert!(matches!(&of(US)[..], [Inbound::Refused(_)]));
    assert!(of(ANN).is_empty());
    let older = json!({ "user_event": { "revoke": { "date_time": "2018-05-24T09:48:12+00:00", "target": { "app_id": "1" }, "source": { "user_id": US } } } });
    assert!(matches!(&read(&older)[..], [Inbound::Refused(_)]));
}

#[test]
fn who_is_writing_is_shown_and_kept_by_nobody() {
    let mark = |sender: &str| json!({ "created_timestamp": "1518127183443", "sender_id": sender, "target": { "recipient_id": US } });
    for body in [
        json!({ "for_user_id": US, "direct_message_indicate_typing_events": [mark(ANN), mark(ANN), mark(US), json!(7)] }),
        activity("dm.indicate_typing", json!({ "direct_message_indicate_typing_events": [mark(ANN)] })),
        activity("dm.indicate_typing", mark(ANN)),
    ] {
        assert_eq!(adapter().typing(&signed(body.to_string().as_bytes())), [ANN], "{body}");
        assert!(read(&body).is_empty());
    }
    for other in [received(json!({ "text": "indicate_typing" })), json!([]), json!("indicate_typing")] {
        assert!(adapter().typing(&signed(other.to_string().as_bytes())).is_empty(), "{other}");
    }
    assert!(adapter().typing(&signed(b"{indicate_typing")).is_empty());
}

#[test]
fn what_is_told_for_another_account_is_kept_and_not_taken() {
    let post = json!({ "id_str": "90", "user": { "id_str": ANN }, "text": "@another hi", "entities": {} });
    let mark = json!({ "created_timestamp": "1", "sender_id": ANN, "last_read_event_id": "2080765901528535096" });
    let told = |kind: &str, payload: Value| json!({ "data": { "event_uuid": "1", "filter": { "user_id": "3333" }, "event_type": kind, "payload": payload } });
    for body in [
        json!({ "for_user_id": "3333", "tweet_create_events": [post] }),
        json!({ "for_user_id": "3333", "direct_message_mark_read_events": [mark] }),
        told("post.mention.create", json!({ "id": "90", "author_id": ANN, "text": "@another hi" })),
        told("chat.received", json!({ "id": "e4", "sender_id": ANN, "conversation_id": format!("{ANN}:3333") })),
        json!({ "for_user_id": "3333", "tweet_delete_events": [{ "status": { "id": "9", "user_id": "3333" }, "timestamp_ms": "1" }] }),
        told("post.delete", json!({ "id": "9", "author_id": ANN })),
    ] {
        assert!(reason(&read(&body)).contains("account 3333"), "{body}");
    }
    let noted = crate::config::build(&settings().with("activity", Setting::Flag(true))).unwrap();
    let followed = json!({ "for_user_id": "3333", "follow_events": [{ "type": "follow", "source": { "id": ANN } }] });
    assert!(reason(&noted.parse(&signed(followed.to_string().as_bytes()))).contains("account 3333"));
    let writes = |of: &str| {
        let body = json!({ "for_user_id": of, "direct_message_indicate_typing_events": [{ "sender_id": ANN }] });
        adapter().typing(&signed(body.to_string().as_bytes()))
    };
    assert_eq!((writes("3333"), writes(US)), (vec![], vec![ANN.to_owned()]));
    let both = json!({ "id_str": "91", "user": { "id_str": ANN }, "text": "hi", "entities": { "user_mentions": [{ "id_str": US }] } });
    assert_eq!(
        message(&read(&json!({ "for_user_id": "3333", "tweet_create_events": [both] }))).provider_id.as_deref(),
        Some("91")
    );
}

/// One megabyte must not become a hundred gigabytes of copies, and nothing is copied before events are counted.
#[test]
fn what_stands_beside_many_events_is_not_copied_for_each() {
    let long = "a".repeat(400_000);
    let bodies = |events: &[Value]| {
        [
            json!({ "data": { "event_type": "dm.x", "filter": { "a": long }, "payload": { "direct_message_events": events } } }),
            json!({ "data": { "event_type": "dm.x", "event_uuid": long, "payload": { "direct_message_events": events } } }),
            json!({ "data": { "event_type": long, "payload": { "direct_message_events": events } } }),
            json!({ "for_user_id": long, "direct_message_events": events }),
            json!({ "direct_message_events": events, "users": { ANN: { "name": long } } }),
        ]
    };
    for body in bodies(&vec![json!(0); 300_000]) {
        assert!(reason(&read(&body)).contains("more events"));
        let typed = body.to_string().replace("dm.x", "dm.indicate_typing");
        assert_eq!(adapter().typing(&signed(typed.as_bytes())), Vec::<String>::new());
    }
    let messages: Vec<Value> = (0..2000).map(|n| direct(&n.to_string(), ANN, US, json!({ "text": "hi" }))).collect();
    for body in bodies(&messages) {
        let kept: usize = read(&body)
            .iter()
            .map(|inbound| match inbound {
                Inbound::Message(m) => m.raw.as_ref().and_then(|raw| raw.inline.as_ref()).expect("kept inline").len(),
                Inbound::Unparsed(u) => u.raw.inline.as_ref().expect("kept inline").len(),
                other => panic!("{other:?}"),
            })
            .sum();
        assert!(kept < 4_000_000, "{kept}");
    }
    let named = json!({ "a".repeat(1000): [1, 2, 3] });
    assert!(reason(&read(&named)).contains("longer than any of X's"));
}

#[test]
fn an_event_that_is_kept_alone_is_read_again_as_it_was() {
    let users =
        json!({ ANN: { "id": ANN, "name": "Ann", "screen_name": "ann", "followers_count": 7, "verified": true } });
    let events = [direct("1", ANN, US, json!({ "text": "one" })), direct("2", ANN, US, json!({ "text": "two" }))];
    for body in [
        json!({ "for_user_id": US, "direct_message_events": events, "users": users }),
        activity("dm.received", json!({ "direct_message_events": events, "users": users })),
    ] {
        let found = read(&body);
        assert_eq!(found.len(), 2);
        for inbound in found {
            let Inbound::Message(m) = &inbound else { panic!("{inbound:?}") };
            assert_eq!((m.from.name.as_deref(), m.meta["followers"].as_str()), (Some("Ann"), "7"));
            let raw = m.raw.clone().expect("kept");
            let bytes = switchboard_adapter_sdk::signature::from_base64(raw.inline.as_deref().expect("inline"))
                .expect("base64");
            let again = adapter().reparse(&raw, bytes.into(), NOW);
            let same = |m: &Message| (m.id.clone(), m.from.clone(), m.content.clone(), m.meta.clone(), m.at);
            assert_eq!(same(message(&again)), same(m));
        }
    }
}
