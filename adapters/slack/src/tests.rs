use super::*;
use http::HeaderMap;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use switchboard_adapter_sdk::{CallBody, CallError, Response, settings::Value as Setting};
use switchboard_envelope::{Address, Attachment, Author, Content, Outcome};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn settings() -> Settings {
    Settings::new("team-slack", None)
        .with("bot_token", Setting::Secrets(vec![Secret::new("xoxb-1-abc")]))
        .with("channel", Setting::Text("C0SUPPORT".into()))
}

fn adapter() -> Arc<dyn Adapter> {
    build(&settings()).unwrap()
}

fn send(to: Address, text: &str) -> Send {
    Send {
        send: "m0000000000000001".into(),
        part: 1,
        n: 1,
        until: NOW,
        channel: "team-slack".into(),
        conversation: "c0000000000000001".into(),
        thread: "c0000000000000001".into(),
        to,
        content: Content::text(text),
        author: Author::Auto { rule: "Bank".into() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

fn body(send: &Send) -> Value {
    let call = adapter().encode(send).unwrap();
    assert_eq!(call.url, "https://slack.com/api/chat.postMessage");
    assert_eq!(call.headers, [("authorization", "Bearer xoxb-1-abc".to_owned())]);
    let CallBody::Bytes("application/json; charset=utf-8", bytes) = call.body else { panic!("json with its charset") };
    serde_json::from_slice(&bytes).unwrap()
}

fn answer(status: u16, body: &str, headers: &[(&'static str, &str)]) -> Answer {
    let headers: HeaderMap = headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
    Ok(Response { status, headers, body: Bytes::from(body.to_owned()) })
}

fn classified(answer: &Answer) -> AttemptOutcome {
    adapter().classify(&send(Address::new("desk", "team-slack"), "hi"), answer, NOW)
}

fn fixtures() -> PathBuf {
    if let Ok(folder) = std::env::var("SWITCHBOARD_FIXTURES") {
        return Path::new(&folder).join("slack");
    }
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut found = above.map(|a| a.join("shared/fixtures/slack")).filter(|p| p.is_dir());
    found.next().expect("the recorded payloads: set SWITCHBOARD_FIXTURES to their folder")
}

#[test]
fn a_customers_text_wakes_nobody_and_the_agent_is_mentioned() {
    let text = "Ann: yours\n> <!channel> & <@U1> see <https://evil.example|here>";
    let posted = body(&send(Address::new("slack", "U024BE7LH"), text));
    assert_eq!(
        posted["text"],
        "<@U024BE7LH> Ann: yours\n&gt; &lt;!channel&gt; &amp; &lt;@U1&gt; see &lt;https://evil.example|here&gt;"
    );
    assert_eq!((&posted["channel"], &posted["unfurl_links"]), (&json!("C0SUPPORT"), &json!(false)));
    assert_eq!(posted["metadata"]["event_payload"]["send"], "m0000000000000001");
    // A pack may hold anything in the place of a member's id.
    for (kind, value) in [("slack", "U1> <!here"), ("slack", "ann"), ("desk", "U024BE7LH"), ("slack", "")] {
        assert_eq!(body(&send(Address::new(kind, value), "hi"))["text"], "hi", "{kind} {value}");
    }
    assert_eq!(body(&send(Address::new("slack", "S0GROUP"), "hi"))["text"], "<!subteam^S0GROUP> hi");
}

#[test]
fn a_file_is_a_link_under_its_name_and_a_name_makes_none() {
    let mut told = send(Address::new("desk", "team-slack"), "look");
    let url = "https://desk.shop.example/api/v1/messages/m1/attachments/0?until=1&signature=00";
    let file = |name: &str, url: Option<&str>| Attachment {
        name: name.into(),
        url: url.map(Into::into),
        ..Attachment::default()
    };
    let names = ["a.png", "<!channel>|\n<https://evil.example", "without"];
    told.content.attachments = vec![file(names[0], Some(url)), file(names[1], Some(url)), file(names[2], None)];
    let link = url.replace('&', "&amp;");
    assert_eq!(
        body(&told)["text"],
        format!("look\nOpen: <{link}|a.png> · <{link}|&lt;!channel&gt;  &lt;https://evil.example>")
    );
}

#[test]
fn what_slack_would_cut_is_refused_before() {
    let to = Address::new("desk", "team-slack");
    for text in [" \n".to_owned(), "x".repeat(40_001), "&".repeat(8_001)] {
        let refused = adapter().encode(&send(to.clone(), &text)).unwrap_err();
        assert_eq!(refused.outcome, Outcome::Rejected);
    }
    assert!(adapter().encode(&send(to, &"&".repeat(8_000))).is_ok());
}

#[test]
fn every_error_of_the_table_ends_as_it_says_and_none_stands_twice() {
    let mut known = std::collections::BTreeSet::new();
    for row in codes::ERRORS {
        assert!(known.insert(row.code), "{} stands twice", row.code);
        assert!(!row.sentence.ends_with('.'));
        let told = classified(&answer(200, &json!({ "ok": false, "error": row.code }).to_string(), &[]));
        assert_eq!((told.outcome, told.code.as_deref()), (row.class.outcome(), Some(row.code)));
        assert_eq!(told.channel_refused, row.class == switchboard_adapter_sdk::classify::Class::Config, "{}", row.code);
    }
}

#[test]
fn recorded_answers_are_understood() {
    let told = |name: &str| {
        let text = std::fs::read_to_string(fixtures().join(name)).expect(name);
        classified(&answer(200, &text, &[]))
    };
    // The recorded payloads call it passing; by Slack's own page the message may be there, and telling people twice is worse than
    // looking for it first. See `codes::MAYBE`.
    assert_eq!(told("api-error-internal.json").outcome, Outcome::Unknown);
    for name in ["api-error-not-in-channel.json", "api-error-token-revoked.json"] {
        let told = told(name);
        assert!(told.outcome == Outcome::NotSent && told.channel_refused, "{name}");
    }
}

#[test]
fn answers_say_what_became_of_a_post() {
    let ok = r#"{"ok":true,"channel":"C0SUPPORT","ts":"1800000000.000100","warning":"message_truncated"}"#;
    let told = classified(&answer(200, ok, &[]));
    assert_eq!((told.outcome, told.provider_ids), (Outcome::Accepted, vec!["C0SUPPORT.1800000000.000100".to_owned()]));
    assert_eq!(told.detail.as_deref(), Some("Slack cut the text"));
    for (status, body, headers, outcome, after, refused) in [
        (
            429,
            r#"{"ok":false,"error":"ratelimited"}"#,
            &[("retry-after", "30")][..],
            Outcome::NotSent,
            Some(30_000),
            false,
        ),
        (429, "slow down", &[("retry-after", "7")], Outcome::NotSent, Some(7_000), false),
        (200, r#"{"ok":false,"error":"never_heard_of"}"#, &[], Outcome::Rejected, None, false),
        (200, r#"{"ok":true}"#, &[], Outcome::Unknown, None, false),
        (200, "<html>", &[], Outcome::Unknown, None, false),
        (502, "bad gateway", &[], Outcome::Unknown, None, false),
        (500, r#"{"ok":false,"error":"internal_error"}"#, &[], Outcome::Unknown, None, false),
        (404, "no such page", &[], Outcome::NotSent, None, true),
    ] {
        let told = classified(&answer(status, body, headers));
        assert_eq!(
            (told.outcome, told.retry_after_ms, told.channel_refused),
            (outcome, after, refused),
            "{status} {body}"
        );
    }
    assert_eq!(classified(&Err(CallError::Lost("reset".into()))).outcome, Outcome::Unknown);
    assert_eq!(classified(&Err(CallError::NotSent("refused".into()))).outcome, Outcome::NotSent);
}

#[test]
fn a_post_whose_answer_was_lost_is_found_by_our_id_and_absence_proves_nothing() {
    let attempt = Reconcile {
        send: "m0000000000000001".into(),
        part: 1,
        n: 1,
        channel: "team-slack".into(),
        conversation: "c".into(),
        thread: "c".into(),
        to: Address::new("desk", "team-slack"),
        content: Content::text("hi"),
        released_at: NOW,
        until: NOW,
    };
    let call = adapter().reconcile(&attempt).unwrap();
    assert_eq!(
        call.url,
        "https://slack.com/api/conversations.history?channel=C0SUPPORT&oldest=1799999940.000000&inclusive=true\
         &include_all_metadata=true&limit=200"
    );
    assert_eq!(call.headers.len(), 1);
    let message = |kind: &str, send: &str, part: u16| {
        json!({ "ts": "1800000001.000200", "text": "hi",
            "metadata": { "event_type": kind, "event_payload": { "send": send, "part": part } } })
    };
    let told = |messages: Value| {
        let body = json!({ "ok": true, "messages": messages }).to_string();
        adapter().reconciled(&attempt, &answer(200, &body, &[]))
    };
    let ours = message("switchboard_notice", "m0000000000000001", 1);
    let proof = told(json!([{ "ts": "1", "text": "hi" }, ours])).unwrap();
    assert_eq!((proof.outcome, proof.provider_ids), (Outcome::Accepted, vec!["C0SUPPORT.1800000001.000200".into()]));
    for others in [
        json!([]),
        json!([message("other", "m0000000000000001", 1)]),
        json!([message("switchboard_notice", "m0000000000000002", 1)]),
        json!([message("switchboard_notice", "m0000000000000001", 2)]),
        json!("none"),
    ] {
        assert_eq!(told(others.clone()), None, "{others}");
    }
    assert_eq!(adapter().reconciled(&attempt, &Err(CallError::Lost("reset".into()))), None);
    assert_eq!(adapter().reconciled(&attempt, &answer(200, r#"{"ok":false,"error":"missing_scope"}"#, &[])), None);
}

#[test]
fn settings_that_cannot_work_are_refused_with_what_to_write() {
    for wrong in ["", "https://hooks.slack.com/services/T/B/X", "xapp-1", "xoxb- with space"] {
        let settings = settings().with("bot_token", Setting::Secrets(vec![Secret::new(wrong)]));
        let problems = build(&settings).err().expect(wrong);
        assert!(problems[0].to_string().contains("bot_token"), "{problems:?}");
    }
    for wrong in ["", "#support", "c0support", "support", "U024BE7LH", "C0/../x"] {
        assert!(channel_id(wrong).is_err(), "{wrong}");
    }
    for base in ["https://slack.example", "https://slack.example/", "https://slack.example/api"] {
        let settings = settings().with("base_url", Setting::Text(base.into()));
        let call = build(&settings).unwrap().encode(&send(Address::new("desk", "d"), "hi")).unwrap();
        assert_eq!(call.url, "https://slack.example/api/chat.postMessage", "{base}");
    }
    let shown = format!("{:?}", settings());
    assert!(!shown.contains("xoxb-1-abc"), "{shown}");
}
