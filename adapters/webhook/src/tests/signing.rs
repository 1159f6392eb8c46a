//! The cases of Standard Webhooks, with vectors of our own and the recorded one.

use super::*;
use std::path::PathBuf;

fn fixture(file: &str) -> Value {
    let folder = std::env::var_os("SWITCHBOARD_FIXTURES").map_or_else(
        || {
            let start = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
            let found = start.ancestors().map(|f| f.join("shared/fixtures")).find(|f| f.is_dir());
            found.expect("no folder shared/fixtures above this crate: set SWITCHBOARD_FIXTURES")
        },
        PathBuf::from,
    );
    let path = folder.join("webhook").join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// The recorded request, when it was made.
fn recorded() -> (Webhook, RawRequest) {
    let recorded = fixture("signed-request.json");
    let headers = &recorded["headers"];
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature", "content-type"];
    let headers: Vec<_> = names.iter().map(|name| (*name, text(headers, name))).collect();
    let secrets = vec![Secret::new(text(&recorded, "secret"))];
    let mut request = request(&headers, text(&recorded, "body").as_bytes());
    request.received_at = Timestamp(recorded["expected"]["valid_at"].as_i64().unwrap() * 1000);
    (Webhook::new("crm", WebhookConfig { secrets, ..config() }).unwrap(), request)
}

fn genuine(adapter: &Webhook, request: &RawRequest) -> bool {
    adapter.verify(request) == Verdict::Genuine
}

#[test]
fn the_recorded_request_is_genuine_for_five_minutes_either_way() {
    let (adapter, request) = recorded();
    for (ms, expected) in
        [(0, true), (300_000, true), (300_001, false), (-300_000, true), (-300_001, false), (i64::MAX / 2, false)]
    {
        let request = RawRequest { received_at: Timestamp(request.received_at.0 + ms), ..request.clone() };
        assert_eq!(genuine(&adapter, &request), expected, "{ms} ms later");
    }
}

#[test]
fn every_recorded_bad_case_is_refused() {
    let cases = fixture("bad-cases.json")["cases"].as_array().unwrap().clone();
    assert!(cases.len() >= 6, "{} cases", cases.len());
    for case in cases {
        let (adapter, mut request) = recorded();
        if let Some(name) = case["drop"].as_str() {
            request.headers.remove(name);
        }
        for (name, value) in case["set"].as_object().into_iter().flatten() {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers.insert(name, HeaderValue::from_str(value.as_str().unwrap()).unwrap());
        }
        let refused = case["status"].as_u64().unwrap() >= 400;
        assert_eq!(!genuine(&adapter, &request), refused, "{case}");
    }
}

/// Vectors made with `openssl dgst -sha256 -mac HMAC`, not with this code.
#[test]
fn signatures_are_those_that_openssl_makes() {
    for (secret, id, seconds, body, wanted) in [
        (
            "whsec_YSBrZXkgb2YgdHdlbnR5LWZvdXIgYnl0ZQ==",
            "msg_2",
            1_795_298_400,
            r#"{"type":"message"}"#,
            "v1,DxBieQa2UUoyjGy8Pfs0P2Uvuho2uyb/5gp4Ey1q+Nw=",
        ),
        (
            "whsec_dGhlIHNlY29uZCBrZXkgaGFzIHNvbWUgbW9yZSBieXRlcyB0aGFuIHRoZSBmaXJzdA==",
            "evt.7/x",
            0,
            "żółw",
            "v1,eNniUEZyfsGy86lm0dZPgKDbiMCJqSUIyVMNBthcmVI=",
        ),
    ] {
        let adapter = Webhook::new("crm", WebhookConfig { secrets: vec![Secret::new(secret)], ..config() }).unwrap();
        let call = Call {
            method: Method::POST,
            url: "https://crm.example".into(),
            headers: vec![("webhook-id", id.to_owned())],
            body: CallBody::Bytes("application/json", Bytes::from_static(body.as_bytes())),
            timeout: CALL_TIMEOUT,
        };
        let signed = adapter.signed(call, Timestamp(seconds * 1000 + 999));
        let wanted_headers =
            [("webhook-id", id), ("webhook-timestamp", &seconds.to_string()), ("webhook-signature", wanted)];
        let seen: Vec<_> = signed.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(seen, wanted_headers);
        let mut received = request(&wanted_headers, body.as_bytes());
        received.received_at = Timestamp(seconds * 1000);
        assert!(genuine(&adapter, &received));
    }
}

#[test]
fn while_a_secret_is_rotated_either_side_may_be_first() {
    let both = vec![Secret::new(SECRET), Secret::new(OLD_SECRET)];
    let both = Webhook::new("crm", WebhookConfig { secrets: both, ..config() }).unwrap();
    let old = Webhook::new("crm", WebhookConfig { secrets: vec![Secret::new(OLD_SECRET)], ..config() }).unwrap();
    let (body, seconds) = (b"{}", (NOW.0 / 1000).to_string());
    let (new_tag, old_tag) = (tag(SECRET, "msg_1", &seconds, body), tag(OLD_SECRET, "msg_1", &seconds, body));
    for (signatures, with_both, with_old) in [
        (new_tag.clone(), true, false),
        (old_tag.clone(), true, true),
        (format!("{old_tag} {new_tag}"), true, true),
        (format!("v1,AAAA v1a,zzz  {new_tag}"), true, false),
        (format!("v1a,{}", new_tag.trim_start_matches("v1,")), false, false),
        (new_tag.replace("v1,", "V1,"), false, false),
        (new_tag.replace("v1,", ""), false, false),
        (format!("v1,{}", &new_tag[3..10]), false, false),
        (new_tag.trim_end_matches('=').to_owned(), false, false),
        (format!("{}{new_tag}", "v1,AAAA ".repeat(16)), false, false),
    ] {
        let request = request(
            &[("webhook-id", "msg_1"), ("webhook-timestamp", &seconds), ("webhook-signature", &signatures)],
            body,
        );
        assert_eq!(genuine(&both, &request), with_both, "both: {signatures}");
        assert_eq!(genuine(&old, &request), with_old, "old: {signatures}");
    }
    // What we send is signed with each.
    let call = both.encode(&send("hi")).unwrap();
    let call = both.signed(call, NOW);
    let (_, signatures) = call.headers.iter().find(|(name, _)| *name == "webhook-signature").unwrap();
    assert_eq!(signatures.split(' ').count(), 2);
}

#[test]
fn a_request_without_one_of_its_headers_is_unsigned() {
    let whole = signed("msg_1", b"{}");
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut without = whole.clone();
        without.headers.remove(name);
        assert_eq!(adapter().verify(&without), Verdict::Missing, "{name}");
        let mut empty = whole.clone();
        empty.headers.insert(name, HeaderValue::from_static(""));
        assert_eq!(adapter().verify(&empty), Verdict::Missing, "{name}");
    }
    for name in ["webhook-id", "webhook-timestamp"] {
        let mut twice = whole.clone();
        twice.headers.append(name, HeaderValue::from_static("other"));
        assert_eq!(adapter().verify(&twice), Verdict::Missing, "{name} twice says nothing");
    }
    // Two headers are one list.
    let mut two = whole.clone();
    two.headers.insert("webhook-signature", HeaderValue::from_static("v1,AAAA"));
    two.headers.append("webhook-signature", whole.headers["webhook-signature"].clone());
    assert_eq!(adapter().verify(&two), Verdict::Genuine);
}

#[test]
fn a_timestamp_that_is_none_is_refused_although_it_was_signed() {
    for timestamp in ["", "+1795298400", "-1", "1795298400.0", " 1795298400", "9999999999999999999", "0x1", "soon"] {
        let tag = tag(SECRET, "msg_1", timestamp, b"{}");
        let request =
            request(&[("webhook-id", "msg_1"), ("webhook-timestamp", timestamp), ("webhook-signature", &tag)], b"{}");
        assert!(!genuine(&adapter(), &request), "{timestamp:?}");
    }
}

#[test]
fn a_secret_has_one_form() {
    for (text, holds) in [
        (SECRET, true),
        (OLD_SECRET, true),
        ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", true),
        (&format!("whsec_{}", to_base64(&[7; 64])), true),
        (&format!("whsec_{}", to_base64(&[7; 65])), false),
        (&format!("whsec_{}", to_base64(&[7; 23])), false),
        ("C2FVsBQIhrscChlQIMV+b5sSYspob7oD", false),
        ("whsec_C2FVsBQIhrscChlQIMV-b5sSYspob7oD", false),
        ("whsec_", false),
        ("", false),
    ] {
        assert_eq!(SigningKey::parse(text).is_ok(), holds, "{text}");
    }
    let shown = format!("{:?}", SigningKey::parse(SECRET).unwrap());
    assert!(!shown.contains("MDEy") && shown.contains("•••"), "{shown}");
}

proptest! {
    #[test]
    fn what_another_secret_signed_is_never_genuine(id in "[!-~]{1,40}", body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let seconds = (NOW.0 / 1000).to_string();
        let tag = tag(OLD_SECRET, &id, &seconds, &body);
        let request = request(&[("webhook-id", &id), ("webhook-timestamp", &seconds), ("webhook-signature", &tag)], &body);
        prop_assert!(!genuine(&adapter(), &request));
        prop_assert!(genuine(&adapter(), &signed(&id, &body)));
    }
}
