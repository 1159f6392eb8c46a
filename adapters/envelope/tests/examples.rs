//! Envelopes as the specification writes them, byte for byte in their shape: with its nulls, its empty lists and what it leaves
//! out. Whoever writes an adapter by the documents alone must be understood.

use switchboard_envelope::{Inbound, Outcome, ReceiptStatus, Timestamp, Visibility};

const MESSAGE: &str = r#"
{ "v": 1, "type": "message", "id": "shop-sms:message:SM81c4", "channel": "shop-sms", "thread": "+15551230007",
  "at": "2026-11-22T08:15:30.250Z", "received_at": "2026-11-22T08:15:31.004Z",
  "from": { "kind": "phone", "value": "+15551230007", "name": "Bea" },
  "to":   { "kind": "phone", "value": "+15559990000" },
  "content": { "text": "The parcel is open.", "subject": null, "html": null,
               "attachments": [ { "name": "parcel.jpg", "mime": "image/jpeg", "size": 51200,
                                  "ref": "blob:sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a" } ],
               "choice": null },
  "references": [], "visibility": "private", "automatic": false, "meta": { "provider": "twilio" },
  "raw": { "content_type": "application/x-www-form-urlencoded",
           "ref": "blob:sha256:0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b" } }"#;

const RESULT: &str = r#"{"v":1,"type":"result","id":"tg:result:m7.1.1:accepted","channel":"tg","send":"m7","part":1,"n":1,"at":"2026-11-22T08:15:30Z","outcome":"accepted","provider_ids":["77"],"code":null,"detail":null,"retry_after_ms":null}"#;

const RECEIPT: &str = r#"{"v":1,"type":"receipt","id":"tg:receipt:77:read","channel":"tg","provider_id":"77","send":null,"part":null,"status":"read","at":"2026-11-22T08:15:30Z"}"#;

const UNPARSED: &str = r#"{"v":1,"type":"unparsed","id":"tg:unparsed:78","channel":"tg","reason":"no text and no file","raw":{"content_type":"application/json","ref":"blob:sha256:0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c"}}"#;

/// What it is read as; and what we write of it reads the same.
fn read(json: &str) -> Inbound {
    let inbound = Inbound::from_slice(json.as_bytes()).expect("the documented shape is read");
    assert_eq!(Inbound::from_slice(&inbound.to_vec()).expect("ours too"), inbound);
    inbound
}

#[test]
fn a_message_as_documented_is_not_refused_for_its_nulls() {
    let Inbound::Message(m) = read(MESSAGE) else { panic!("a message") };
    assert_eq!(
        (m.id.as_str(), m.channel.as_str(), m.thread.as_str()),
        ("shop-sms:message:SM81c4", "shop-sms", "+15551230007")
    );
    assert_eq!(m.received_at.since(m.at), 754);
    assert_eq!(
        (m.from.kind.as_str(), m.from.value.as_str(), m.from.name.as_deref()),
        ("phone", "+15551230007", Some("Bea"))
    );
    assert_eq!(m.to.map(|to| (to.value, to.name)), Some(("+15559990000".to_owned(), None)));
    assert_eq!((m.content.text.as_str(), m.content.subject, m.content.html), ("The parcel is open.", None, None));
    let [file] = &m.content.attachments[..] else { panic!("one file") };
    assert_eq!((file.name.as_str(), file.mime.as_str(), file.size), ("parcel.jpg", "image/jpeg", 51_200));
    assert_eq!(file.blob.as_ref().and_then(|b| b.hash()), Some("0a".repeat(32).as_str()));
    assert_eq!((m.visibility, m.automatic, m.references.len()), (Visibility::Private, false, 0));
    assert_eq!(m.meta.get("provider").map(String::as_str), Some("twilio"));
    assert!(m.raw.is_some_and(|raw| raw.content_type == "application/x-www-form-urlencoded"));
}

#[test]
fn a_result_as_documented_is_not_refused_for_its_nulls() {
    let Inbound::Result(r) = read(RESULT) else { panic!("a result") };
    assert_eq!((r.send.as_str(), r.part, r.n, r.outcome), ("m7", 1, 1, Outcome::Accepted));
    assert_eq!((r.provider_ids, r.code, r.detail, r.retry_after_ms), (vec!["77".to_owned()], None, None, None));
    assert!(!r.channel_refused && !r.opted_out && !r.reconciled);
}

#[test]
fn a_receipt_as_documented_is_not_refused_for_its_nulls() {
    let Inbound::Receipt(r) = read(RECEIPT) else { panic!("a receipt") };
    assert_eq!((r.provider_id.as_str(), r.send, r.part, r.n), ("77", None, None, None));
    assert_eq!((r.status, r.at), (ReceiptStatus::Read, Timestamp(1_795_335_330_000)));
}

#[test]
fn what_cannot_be_parsed_is_not_refused_for_the_time_that_it_does_not_say() {
    let Inbound::Unparsed(u) = read(UNPARSED) else { panic!("unparsed") };
    assert_eq!((u.reason.as_str(), u.raw.content_type.as_str()), ("no text and no file", "application/json"));
}

#[test]
fn what_is_unknown_is_kept_out_of_the_way_and_another_version_is_not_guessed_at() {
    for json in [MESSAGE, RESULT, RECEIPT, UNPARSED] {
        let more = json.trim_start().replacen('{', r#"{"of_a_later_version":{"a":[1]},"#, 1);
        assert_eq!(read(&more), read(json));
        let newer = json.replacen("\"v\": 1", "\"v\": 2", 1).replacen("\"v\":1", "\"v\":2", 1);
        let refused = Inbound::from_slice(newer.as_bytes()).expect_err("another version").to_string();
        assert!(refused.contains("version 2"), "{refused}");
    }
}
