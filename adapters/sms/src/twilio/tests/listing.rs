use super::*;

fn attempt(text: &str) -> Reconcile {
    Reconcile {
        send: "tok-1".into(),
        part: 1,
        n: 1,
        channel: "support-sms".into(),
        conversation: "c1".into(),
        thread: "+15005550009".into(),
        to: Address::new("phone", "+15005550009"),
        content: Content::text(text),
        released_at: NOW,
        until: NOW.plus(30_000),
    }
}

fn rfc2822(at: Timestamp) -> String {
    jiff::fmt::rfc2822::to_string(&at.to_jiff().to_zoned(jiff::tz::TimeZone::UTC)).unwrap()
}

fn item(sid: &str, direction: &str, at: Timestamp, extra: Value) -> Value {
    let (ours, theirs) = ("+15005550006", "+15005550009");
    let (from, to) = if direction == "inbound" { (theirs, ours) } else { (ours, theirs) };
    let mut item = json!({
        "sid": sid, "direction": direction, "from": from, "to": to, "body": "hi", "num_media": "0", "status": "sent",
        "date_created": rfc2822(at), "date_sent": rfc2822(at), "error_code": null, "account_sid": ACCOUNT,
    });
    item.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    item
}

fn page(messages: &[Value]) -> Answer {
    answer(200, json!({ "messages": messages, "next_page_uri": null }))
}

fn ours(at: Timestamp, extra: Value) -> Value {
    item("SM7", "outbound-api", at, extra)
}

#[test]
fn the_question_names_the_pair() {
    let call = adapter().reconcile(&attempt("hi")).unwrap();
    assert_eq!(call.method, Method::GET);
    let wanted = "http://127.0.0.1:1/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json?To=%2B15005550009&PageSize=100&From=%2B15005550006";
    assert_eq!(call.url, wanted);
    assert_eq!(call.headers[0].0, "authorization");
    let service = TwilioConfig { messaging_service_sid: Some("MG1".into()), ..config() };
    let call = Twilio::new("support-sms", service).unwrap().reconcile(&attempt("hi")).unwrap();
    assert!(!call.url.contains("From"), "Twilio chooses the sender: {}", call.url);
}

#[test]
fn one_message_alike_since_the_release_proves_the_send() {
    let proof = |messages: &[Value]| adapter().reconciled(&attempt("hi"), &page(messages));
    let seconds = |n: i64| NOW.plus(n * 1000);
    let proved = proof(&[ours(seconds(2), json!({}))]).unwrap();
    assert_eq!((proved.outcome, proved.provider_ids), (Outcome::Accepted, vec!["SM7".to_owned()]));
    for (messages, why) in [
        (vec![], "absence"),
        (vec![ours(seconds(2), json!({"body": "hello"}))], "another text"),
        (vec![ours(seconds(2), json!({"to": "+15005550010"}))], "another person"),
        (vec![ours(seconds(2), json!({"from": "+15005550007"}))], "another sender"),
        (vec![ours(seconds(2), json!({"num_media": "1"}))], "with a file"),
        (vec![ours(seconds(-2), json!({}))], "before the release"),
        (vec![ours(seconds(31), json!({}))], "after the wait"),
        (vec![ours(seconds(2), json!({"date_created": "yesterday"}))], "at no time"),
        (vec![ours(seconds(2), json!({"sid": ""}))], "without a sid"),
        (vec![item("SM8", "inbound", seconds(2), json!({"from": "+15005550006", "to": "+15005550009"}))], "not ours"),
        (vec![ours(seconds(2), json!({})), ours(seconds(3), json!({"sid": "SM8"}))], "two alike"),
        (
            vec![ours(seconds(2), json!({})), ours(seconds(3), json!({"sid": "SM8", "date_created": null}))],
            "perhaps two alike",
        ),
    ] {
        assert_eq!(proof(&messages), None, "{why}");
    }
    let with_older = [ours(seconds(2), json!({})), ours(seconds(-60), json!({"sid": "SM1"}))];
    assert!(proof(&with_older).is_some(), "an earlier twin is another send");
    let failed = proof(&[ours(seconds(2), json!({"status": "undelivered", "error_code": 30003}))]).unwrap();
    assert_eq!((failed.outcome, failed.code.as_deref()), (Outcome::Rejected, Some("30003")));
    for nonsense in
        [answer(500, ""), answer(200, "[]"), answer(200, "{\"messages\": 1}"), Err(CallError::Lost(String::new()))]
    {
        assert_eq!(adapter().reconciled(&attempt("hi"), &nonsense), None);
    }
}

#[test]
fn a_first_poll_starts_now_and_reads_days() {
    let call = adapter().poll(None, NOW).unwrap();
    let day = NOW.plus(-300_000).to_string()[..10].to_owned();
    assert!(
        call.url.ends_with(&format!("Messages.json?To=%2B15005550006&DateSent%3E={day}&PageSize=100")),
        "{}",
        call.url
    );
    let service = TwilioConfig { messaging_service_sid: Some("MG1".into()), from: None, ..config() };
    assert!(Twilio::new("support-sms", service).unwrap().poll(None, NOW).is_none(), "whose messages?");
}

fn poll_page(cursor: Option<&str>, messages: &[Value], next: Value, now: Timestamp) -> Polled {
    let body = json!({ "messages": messages, "next_page_uri": next });
    adapter().polled(cursor, &answer(200, body), now).unwrap()
}

fn sids(polled: &Polled) -> Vec<&str> {
    polled.events.iter().filter_map(|event| event.id().strip_prefix("support-sms:message:")).collect()
}

fn heard(sid: &str, at: Timestamp) -> Value {
    item(sid, "inbound", at, json!({}))
}

#[test]
fn a_poll_tells_what_webhooks_missed_once_and_in_order() {
    let minutes = |n: i64| NOW.plus(n * 60_000);
    let first = poll_page(
        None,
        &[
            heard("SMyoung", NOW),
            heard("SMb", minutes(-2)),
            ours(minutes(-2), json!({})),
            heard("SMa", minutes(-3)),
            heard("SMold", minutes(-6)),
        ],
        json!("/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json?Page=1"),
        NOW,
    );
    assert_eq!(sids(&first), ["SMa", "SMb"], "oldest first; the newest minute is the webhooks', the past is past");
    assert!(!first.more, "the page reached the window's end");
    let second = poll_page(
        Some(&first.cursor),
        &[heard("SMyoung", NOW), heard("SMb", minutes(-2)), heard("SMa", minutes(-3))],
        Value::Null,
        minutes(2),
    );
    assert_eq!(sids(&second), ["SMyoung"]);
    let message = message(&second.events);
    assert_eq!((message.at, message.received_at, message.thread.as_str()), (NOW, minutes(2), "+15005550009"));
    let webhook = inbound(&[("Body", "hi")]);
    let same = poll_page(None, &[heard("SM1", minutes(-2))], Value::Null, NOW);
    assert_eq!(same.events[0].id(), parse(&webhook)[0].id(), "the same id on both ways");
}

#[test]
fn a_sweep_goes_on_from_page_to_page_and_nowhere_else() {
    let list = "/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json?Page=1&PageToken=x";
    let long_ago = json!({ "since": NOW.plus(-3_600_000) }).to_string();
    let first = poll_page(Some(&long_ago), &[heard("SMb", NOW.plus(-120_000))], json!(list), NOW);
    assert!(first.more);
    let call = adapter().poll(Some(&first.cursor), NOW.plus(1000)).unwrap();
    assert_eq!(call.url, format!("http://127.0.0.1:1{list}"));
    let last = poll_page(Some(&first.cursor), &[heard("SMa", NOW.plus(-3_000_000))], Value::Null, NOW.plus(1000));
    assert_eq!((sids(&last), last.more), (vec!["SMa"], false));
    let cursor: Value = serde_json::from_str(&last.cursor).unwrap();
    assert_eq!(cursor["since"], NOW.to_string(), "the next sweep starts where this one began");
    assert_eq!(cursor["seen"], json!(["SMb"]), "only what the overlap shows again");
    for evil in
        ["https://evil.example/x", "//evil.example/x", "@evil.example/", "/2010-04-01/Accounts/AC2/Messages.json?x"]
    {
        let body = json!({ "messages": [heard("SMb", NOW.plus(-120_000))], "next_page_uri": evil });
        let polled = adapter().polled(Some(&long_ago), &answer(200, body), NOW).unwrap();
        assert_eq!((sids(&polled), polled.more), (vec!["SMb"], false), "{evil}");
        assert!(polled.complaint.unwrap().contains("not of this list"), "{evil}");
        let call = adapter().poll(Some(&polled.cursor), NOW).unwrap();
        assert_eq!(call.url, adapter().poll(Some(&long_ago), NOW).unwrap().url, "what is behind it is still missing");
        // As after another account was configured.
        let planted = json!({ "since": NOW, "sweep": { "began": NOW, "next": evil } }).to_string();
        assert_eq!(adapter().poll(Some(&planted), NOW).unwrap().url, adapter().poll(None, NOW).unwrap().url, "{evil}");
    }
}

#[test]
fn a_page_that_twilio_refuses_begins_the_window_anew() {
    let list = "/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json?Page=1&PageToken=x";
    let long_ago = json!({ "since": NOW.plus(-3_600_000) }).to_string();
    let first = poll_page(Some(&long_ago), &[heard("SMb", NOW.plus(-120_000))], json!(list), NOW);
    for status in [400, 404, 410, 422] {
        let refused = adapter().polled(Some(&first.cursor), &answer(status, ""), NOW).unwrap();
        assert!(refused.events.is_empty() && !refused.more);
        assert!(refused.complaint.unwrap().contains(&status.to_string()));
        let call = adapter().poll(Some(&refused.cursor), NOW.plus(1000)).unwrap();
        assert_eq!(call.url, adapter().poll(Some(&long_ago), NOW).unwrap().url, "{status}");
        let whole = poll_page(
            Some(&refused.cursor),
            &[heard("SMb", NOW.plus(-120_000)), heard("SMa", NOW.plus(-3_000_000))],
            Value::Null,
            NOW.plus(1000),
        );
        assert_eq!(sids(&whole), ["SMa", "SMb"], "nothing behind the refused page is missed");
        assert!(
            adapter().polled(Some(&long_ago), &answer(status, ""), NOW).is_err(),
            "a first page is refused for good"
        );
    }
    for status in [401, 429, 500] {
        assert!(adapter().polled(Some(&first.cursor), &answer(status, ""), NOW).is_err(), "{status} passes");
    }
}

#[test]
fn a_list_with_nonsense_keeps_its_neighbours() {
    let polled =
        poll_page(None, &[json!(7), heard("SMa", NOW.plus(-120_000)), json!({"sid": "SMx"})], Value::Null, NOW);
    assert_eq!(sids(&polled), ["SMa"]);
    let kinds: Vec<_> = polled.events.iter().map(Inbound::kind).collect();
    assert_eq!(kinds, ["unparsed", "message", "unparsed"]);
    let again = poll_page(Some(&polled.cursor), &[json!(7)], Value::Null, NOW.plus(60_000));
    assert_eq!(again.events, [], "not quarantined twice");
    for bad in [answer(500, ""), answer(200, "x"), answer(200, "{}"), Err(CallError::NotSent("no".into()))] {
        assert!(adapter().polled(None, &bad, NOW).is_err(), "{bad:?}");
    }
}

#[test]
fn a_record_of_the_list_is_read_again_alike() {
    let keyword = item(
        "SM5",
        "inbound",
        NOW.plus(-120_000),
        json!({"body": "STOP", "num_media": "2",
        "subresource_uris": {"media": "/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages/SM5/Media.json"}}),
    );
    let polled = poll_page(None, &[keyword], Value::Null, NOW);
    assert_eq!(consent(&polled.events), Some((ConsentState::OptedOut, "STOP")));
    let files = &message(&polled.events).content.attachments;
    assert_eq!(files.len(), 1);
    assert!(adapter().fetch(&files[0]).unwrap().url.ends_with("/Messages/SM5/Media.json"));
    let raw = message(&polled.events).raw.clone().unwrap();
    let body = switchboard_adapter_sdk::signature::from_base64(raw.inline.as_deref().unwrap()).unwrap();
    assert_eq!(adapter().reparse(&raw, body.into(), NOW), polled.events);
}

#[test]
fn with_echoes_a_sweep_goes_on_to_what_our_number_sent() {
    let adapter = Twilio::new("support-sms", TwilioConfig { echoes: true, ..config() }).unwrap();
    let at = NOW.plus(-120_000);
    let polled = |cursor: Option<&str>, messages: &[Value], next: Value| {
        let body = json!({ "messages": messages, "next_page_uri": next });
        adapter.polled(cursor, &answer(200, body), NOW).unwrap()
    };
    let theirs = polled(None, &[heard("SMa", at)], Value::Null);
    assert_eq!((sids(&theirs), theirs.more), (vec!["SMa"], true));
    let call = adapter.poll(Some(&theirs.cursor), NOW).unwrap();
    assert!(call.url.contains("?From=%2B15005550006&"), "{}", call.url);
    let mine = polled(
        Some(&theirs.cursor),
        &[
            ours(at, json!({"sid": "SM1", "body": "from the provider's tool", "status": "delivered"})),
            ours(at, json!({"sid": "SM2", "status": "failed"})),
            ours(NOW, json!({"sid": "SM3"})),
        ],
        Value::Null,
    );
    assert!(!mine.more, "both lists were read");
    let [Inbound::Echo(echo)] = mine.events.as_slice() else { panic!("{:?}", mine.events) };
    assert_eq!((echo.id.as_str(), echo.thread.as_str()), ("support-sms:echo:SM1", "+15005550009"));
    assert_eq!((echo.at, echo.content.text.as_str(), &echo.send), (at, "from the provider's tool", &None));
    // A busy number has more of its own messages than are worth reading.
    let list = "/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json?Page=1&PageToken=x";
    let mut cursor = theirs.cursor;
    let mut pages = 0;
    loop {
        let page = polled(Some(&cursor), &[ours(at, json!({}))], json!(list));
        cursor = page.cursor;
        pages += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!(pages, 10);
}

#[test]
fn a_list_of_files_names_files_of_this_account_only() {
    let polled = poll_page(
        None,
        &[item(
            "SM1",
            "inbound",
            NOW.plus(-120_000),
            json!({
                "num_media": "2",
                "subresource_uris": { "media": format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/SM1/Media.json") },
            }),
        )],
        Value::Null,
        NOW,
    );
    let list = message(&polled.events).content.attachments[0].clone();
    assert!(adapter().fetch(&list).is_some());
    let base = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/SM1/Media");
    let fetched = json!({ "media_list": [
        { "sid": "ME1", "content_type": "image/jpeg", "uri": format!("{base}/ME1.json") },
        { "sid": "ME2", "content_type": "x", "uri": "https://evil.example/ME2.json" },
        { "sid": "ME3", "content_type": "text/vcard", "uri": format!("{base}/ME3.json") },
    ]});
    let listed = adapter().listed(&list, &Bytes::from(fetched.to_string())).unwrap();
    let urls: Vec<_> = listed.iter().map(|f| f.url.as_deref().unwrap()).collect();
    assert_eq!(urls, [format!("http://127.0.0.1:1{base}/ME1"), format!("http://127.0.0.1:1{base}/ME3")]);
    assert_eq!(listed[0].name, "file-1.jpg");
    assert_eq!(adapter().listed(&listed[0], &Bytes::from(fetched.to_string())), None, "a file is no list");
    assert_eq!(adapter().listed(&list, &Bytes::from_static(b"<html>")), None);
}
