use super::*;
use crate::fixtures;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use switchboard_adapter_sdk::{
    CallError, Response,
    classify::{Class, Row},
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Author, BlobRef, Choice, ConsentState, Content, Message, Outcome, Receipt, ReceiptStatus};

mod fixture_files;
mod listing;
mod sending;

const ACCOUNT: &str = "AC00000000000000000000000000000000";
const TOKEN: &str = "12345";
const NOW: Timestamp = Timestamp(1_795_298_400_000);

fn config() -> TwilioConfig {
    TwilioConfig {
        from: Some("+1 500 555 0006".into()),
        public_url: Some("https://hooks.shop.example/".into()),
        base_url: "http://127.0.0.1:1/".into(),
        ..TwilioConfig::new(ACCOUNT, Secret::new(TOKEN))
    }
}

fn adapter() -> Twilio {
    Twilio::new("support-sms", config()).unwrap()
}

/// A signed request with this form.
fn signed(path: &str, query: &str, body: &[u8]) -> RawRequest {
    let mark = if query.is_empty() { "" } else { "?" };
    let url = format!("https://hooks.shop.example/hooks/support-sms{path}{mark}{query}");
    let mut fields: Vec<_> = form_urlencoded::parse(body).collect();
    fields.sort();
    fields.dedup();
    let data = fields.iter().fold(url.clone(), |data, (name, value)| data + name + value);
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    let signature = to_base64(&Mac::sha1(TOKEN.as_bytes()).sign(data.as_bytes()));
    headers.insert(signature::HEADER, signature.parse().unwrap());
    RawRequest {
        method: Method::POST,
        path: path.into(),
        query: query.into(),
        headers,
        body: Bytes::copy_from_slice(body),
        url,
        received_at: NOW,
    }
}

fn form(pairs: &[(&str, &str)]) -> Vec<u8> {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
}

fn inbound(extra: &[(&str, &str)]) -> RawRequest {
    let pairs = [("MessageSid", "SM1"), ("From", "+15005550009"), ("To", "+15005550006"), ("AccountSid", ACCOUNT)];
    signed("", "", &form(&[&pairs, extra].concat()))
}

fn parse(request: &RawRequest) -> Vec<Inbound> {
    let adapter = adapter();
    assert_eq!(adapter.verify(request), Verdict::Genuine);
    let events = adapter.parse(request);
    events.iter().for_each(|event| event.validate().unwrap());
    events
}

fn message(events: &[Inbound]) -> &Message {
    let mut messages = events.iter().filter_map(|event| match event {
        Inbound::Message(message) => Some(message.as_ref()),
        _ => None,
    });
    let (Some(message), None) = (messages.next(), messages.next()) else { panic!("not one message: {events:?}") };
    message
}

fn receipt(events: &[Inbound]) -> &Receipt {
    // What a refusal says of the person follows it.
    let [Inbound::Receipt(receipt), rest @ ..] = events else { panic!("no receipt first: {events:?}") };
    assert!(rest.iter().all(|e| matches!(e, Inbound::Consent(_))), "more than a receipt: {events:?}");
    receipt
}

fn reason(events: &[Inbound]) -> &str {
    let [Inbound::Unparsed(unparsed)] = events else { panic!("not one unparsed: {events:?}") };
    &unparsed.reason
}

fn consent(events: &[Inbound]) -> Option<(ConsentState, &str)> {
    events.iter().find_map(|event| match event {
        Inbound::Consent(consent) => Some((consent.state, consent.reason.as_deref().unwrap())),
        _ => None,
    })
}

fn answer(status: u16, body: impl ToString) -> Answer {
    Ok(Response { status, headers: HeaderMap::new(), body: body.to_string().into() })
}

#[test]
fn a_whatsapp_button_is_a_choice_on_another_thread() {
    let events = parse(&signed(
        "",
        "",
        &form(&[
            ("MessageSid", "SM2"),
            ("From", "whatsapp:+15005550009"),
            ("To", "whatsapp:+15005550006"),
            ("Body", "Yes, please"),
            ("ButtonText", "Yes, please"),
            ("ButtonPayload", "confirm-7"),
            ("ProfileName", "Ann"),
            ("WaId", "15005550009"),
        ]),
    ));
    let message = message(&events);
    assert_eq!(message.content.choice, Some(Choice { id: "confirm-7".into(), label: Some("Yes, please".into()) }));
    assert_eq!(message.from.identity(), "whatsapp:15005550009");
    assert_eq!(message.from.name.as_deref(), Some("Ann"));
    assert_eq!(message.thread, "whatsapp:+15005550009");
    assert_eq!(message.content.text, "Yes, please");
}

#[test]
fn a_business_scoped_id_is_an_address() {
    let extra = [("ExternalUserId", "whatsapp:US.1234"), ("Body", "hi")];
    let pairs = [("MessageSid", "SM3"), ("From", "whatsapp:US.1234"), ("To", "whatsapp:+15005550006")];
    let events = parse(&signed("", "", &form(&[&pairs[..], &extra].concat())));
    let message = message(&events);
    assert_eq!(message.from.identity(), "whatsapp:US.1234");
    assert_eq!(message.meta["external_user_id"], "whatsapp:US.1234");
}

#[test]
fn consent_changes_by_the_whole_word_or_by_what_twilio_says() {
    use ConsentState::{OptedIn, OptedOut};
    for (extra, state, keyword) in [
        (vec![("Body", " Unsubscribe ")], Some((OptedOut, "UNSUBSCRIBE")), Some("STOP")),
        (vec![("Body", "please stop sending")], None, None),
        (vec![("Body", "arret"), ("OptOutType", "STOP")], Some((OptedOut, "STOP")), Some("STOP")),
        (vec![("Body", "yes"), ("OptOutType", "START")], Some((OptedIn, "START")), Some("START")),
        (vec![("Body", "yes")], Some((OptedIn, "YES")), None),
        (vec![("Body", "unstop")], Some((OptedIn, "UNSTOP")), Some("START")),
        (vec![("Body", "info")], None, Some("HELP")),
        (vec![("Body", "stop"), ("OptOutType", "HELP")], None, Some("HELP")),
    ] {
        let events = parse(&inbound(&extra));
        assert_eq!(consent(&events), state, "{extra:?}");
        let message = message(&events);
        assert_eq!(message.meta.get("keyword").map(String::as_str), keyword, "{extra:?}");
        assert_eq!(message.content.text, extra[0].1, "what the person wrote is never lost");
        if state.is_some() {
            assert!(
                matches!(&events[0], Inbound::Consent(c) if c.id == "support-sms:consent:SM1"),
                "consent comes first"
            );
        }
    }
}

#[test]
fn files_that_are_counted_but_not_described_are_still_shown() {
    let events = parse(&inbound(&[
        ("Body", "Look"),
        ("NumMedia", "3"),
        ("MediaUrl0", "https://api.twilio.com/a"),
        ("MediaContentType0", "image/JPEG; q=1"),
        ("MediaUrl1", "javascript:alert(1)"),
        ("MediaContentType1", "../../etc"),
    ]));
    let files: Vec<_> = message(&events)
        .content
        .attachments
        .iter()
        .map(|a| (a.name.as_str(), a.mime.as_str(), a.url.is_some()))
        .collect();
    let unknown = "application/octet-stream";
    let wanted = [("file-1.jpg", "image/jpeg", true), ("file-2.bin", unknown, false), ("file-3.bin", unknown, false)];
    assert_eq!(files, wanted);
    assert_eq!(message(&parse(&inbound(&[("Body", ""), ("NumMedia", "999999999")]))).content.attachments.len(), 20);
}

#[test]
fn a_place_is_text() {
    let place = [("Body", ""), ("Latitude", "52.5"), ("Longitude", "13.4"), ("Label", "Office")];
    assert_eq!(message(&parse(&inbound(&place))).content.text, "Office (52.5,13.4)");
}

#[test]
fn receipts_carry_our_attempt_whatever_overtakes_it() {
    let body = form(&[("MessageSid", "SM9"), ("MessageStatus", "Delivered"), ("AccountSid", ACCOUNT)]);
    let events = parse(&signed("/status", "send=aB-_9&part=2&n=3", &body));
    let seen = receipt(&events);
    assert_eq!((seen.send.as_deref(), seen.part, seen.n), (Some("aB-_9"), Some(2), Some(3)));
    assert_eq!((seen.id.as_str(), seen.status), ("support-sms:receipt:SM9:delivered", ReceiptStatus::Delivered));
    for forged in [
        "",
        "send=a&part=1",
        "send=a&part=0&n=1",
        "send=a&part=1&n=0",
        "send=a%20b&part=1&n=1",
        "send=&part=1&n=1",
        "send=a&part=70000&n=1",
    ] {
        let events = parse(&signed("/status", forged, &body));
        let seen = receipt(&events);
        assert_eq!((&seen.send, seen.part, seen.n), (&None, None, None), "{forged}");
    }
}

#[test]
fn every_status_word_has_its_meaning() {
    use ReceiptStatus::{Accepted, Delivered, Failed, Read};
    for (word, status) in [
        ("queued", Some(Accepted)),
        ("accepted", Some(Accepted)),
        ("scheduled", Some(Accepted)),
        ("sending", Some(Accepted)),
        ("sent", Some(Accepted)),
        ("partially_delivered", Some(Accepted)),
        ("delivered", Some(Delivered)),
        ("read", Some(Read)),
        ("undelivered", Some(Failed)),
        ("failed", Some(Failed)),
        ("canceled", Some(Failed)),
        ("teleported", None),
        ("received", None),
    ] {
        let events = parse(&signed("/status", "", &form(&[("MessageSid", "SM9"), ("MessageStatus", word)])));
        match status {
            Some(status) => assert_eq!(receipt(&events).status, status, "{word}"),
            None => assert_eq!(events, [], "{word}: acknowledged, and nothing to show"),
        }
    }
}

#[test]
fn a_status_is_known_by_its_form_and_a_message_never_taken_for_one() {
    let status =
        form(&[("MessageSid", "SM9"), ("MessageStatus", "sent"), ("From", "+15005550006"), ("To", "+15005550009")]);
    assert_eq!(receipt(&parse(&signed("", "", &status))).status, ReceiptStatus::Accepted);
    let misrouted = signed(
        "/status",
        "",
        &form(&[("MessageSid", "SM9"), ("SmsStatus", "received"), ("From", "+15005550009"), ("Body", "hi")]),
    );
    assert_eq!(message(&parse(&misrouted)).content.text, "hi");
}

#[test]
fn what_cannot_be_understood_is_kept_whole() {
    for (request, why) in [
        (signed("", "", b"CallSid=CA1&CallStatus=ringing"), "neither a message nor a status"),
        (signed("", "", b""), "neither a message nor a status"),
        (signed("", "", b"MessageSid=SM1&Body=x"), "no From"),
        (signed("", "", b"MessageSid=SM1&Body=x&From=%07"), "From is not an address"),
        (signed("", "", b"From=%2B15005550009&Body=x"), "no MessageSid"),
        (signed("", "", b"From=%2B15005550009&Body=x&MessageSid=a%20b"), "no MessageSid"),
        (signed("/status", "", b"MessageStatus=sent"), "no MessageSid"),
        (
            signed("", "", b"MessageSid=SM1&Body=x&From=%2B15005550009&AccountSid=AC2"),
            "AccountSid is another account's",
        ),
    ] {
        let events = parse(&request);
        assert_eq!(reason(&events), why);
        let Inbound::Unparsed(unparsed) = &events[0] else { unreachable!() };
        assert_eq!(unparsed.raw.inline.as_deref(), Some(to_base64(&request.body).as_str()));
        let hash = switchboard_adapter_sdk::signature::sha256_hex(&request.body);
        assert_eq!(unparsed.id, format!("support-sms:unparsed:{hash}"));
        assert_eq!(adapter().reparse(&unparsed.raw, request.body.clone(), NOW), events);
    }
}

#[test]
fn a_body_over_sixteen_kibibytes_leaves_its_place_to_a_blob() {
    let events = parse(&inbound(&[("Body", &"x".repeat(17_000))]));
    let raw = message(&events).raw.as_ref().unwrap();
    assert_eq!((&raw.inline, &raw.blob), (&None::<String>, &None::<BlobRef>));
    assert_eq!(raw.content_type, "application/x-www-form-urlencoded");
}

#[test]
fn a_get_is_read_from_its_query() {
    let mut get = inbound(&[("Body", "hi")]);
    get.query = String::from_utf8(get.body.to_vec()).unwrap();
    get.body = Bytes::new();
    get.method = Method::GET;
    let events = adapter().parse(&get);
    assert_eq!(message(&events).content.text, "hi");
    let raw = message(&events).raw.clone().unwrap();
    assert_eq!(adapter().reparse(&raw, Bytes::new(), NOW), events);
}

#[test]
fn the_answer_says_nothing_to_the_person() {
    let reply = adapter().accepted(&inbound(&[]));
    assert_eq!((reply.status, reply.content_type, reply.body.as_str()), (200, "text/xml", "<Response/>"));
}

#[test]
fn any_of_several_tokens_verifies_and_the_first_calls() {
    let config = TwilioConfig { auth_tokens: vec![Secret::new("new"), Secret::new(TOKEN)], ..config() };
    let rotating = Twilio::new("support-sms", config).unwrap();
    assert_eq!(rotating.verify(&inbound(&[("Body", "x")])), Verdict::Genuine);
    assert_eq!(rotating.authorization.expose(), format!("Basic {}", to_base64(format!("{ACCOUNT}:new").as_bytes())));
}

#[test]
fn bad_settings_are_all_named_at_once() {
    let bad = TwilioConfig {
        account_sid: "12".into(),
        auth_tokens: vec![],
        api_key: Some(("key".into(), Secret::new(""))),
        from: Some("0049 30 1234".into()),
        messaging_service_sid: Some("MG/../x".into()),
        base_url: "api.twilio.com".into(),
        public_url: Some("https://my_host.example".into()),
        validity: Some(0),
        smart_encoding: false,
        echoes: false,
    };
    let problems = Twilio::new("support-sms", bad).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    let wanted =
        ["account_sid", "auth_token", "api_key", "messaging_service_sid", "from", "validity", "base_url", "public_url"];
    assert_eq!(keys, wanted);
    assert!(problems[0].to_string().starts_with("channels.support-sms.account_sid: "), "{}", problems[0]);
    let senderless = TwilioConfig { from: None, ..config() };
    assert_eq!(Twilio::new("support-sms", senderless).unwrap_err()[0].key, "from");
}

#[test]
fn nothing_shows_a_secret() {
    let shown = format!("{:?} {:?}", config(), adapter());
    assert!(!shown.contains(TOKEN), "{shown}");
    assert!(!shown.contains(&to_base64(format!("{ACCOUNT}:{TOKEN}").as_bytes())), "{shown}");
}

#[test]
fn credentials_go_to_twilio_only() {
    let file = |url: &str| read::file(0, String::new(), Some(url.into()));
    let adapter = adapter();
    for (url, is_fetched) in [
        ("https://api.twilio.com/2010-04-01/Accounts/AC0/Messages/MM1/Media/ME1", true),
        ("https://mcs.us1.twilio.com/x", true),
        ("http://127.0.0.1:1/media/1", true),
        ("http://127.0.0.1:2/media/1", false),
        ("http://api.twilio.com/x", false),
        ("https://api.twilio.com:8443/x", false),
        ("https://twilio.com.evil.example/x", false),
        ("https://eviltwilio.com/x", false),
        ("https://user@api.twilio.com/x", false),
        ("nonsense", false),
    ] {
        assert_eq!(adapter.fetch(&file(url)).is_some(), is_fetched, "{url}");
    }
    let call = adapter.fetch(&file("http://127.0.0.1:1/media/1")).unwrap();
    assert_eq!(call.headers[0], ("authorization", adapter.authorization.expose().to_owned()));
}

#[test]
fn the_profile_tells_the_router_what_a_text_message_is() {
    let profile = adapter().profile();
    assert_eq!((profile.kind.as_str(), profile.address_kind.as_str()), ("sms", "phone"));
    assert_eq!((profile.max_text, profile.max_attachments), (Some(1600), Some(10)));
    assert!(profile.reconciles && profile.proactive && !profile.same_id_retry && !profile.push);
    let whatsapp = TwilioConfig { from: Some("whatsapp:+15005550006".into()), ..config() };
    assert_eq!(Twilio::new("wa", whatsapp).unwrap().profile().address_kind, "whatsapp");
}
