//! What leaves, and what is made of the answers.

use super::*;
use crate::send::{HELD, RENEWAL};
use http::{HeaderName, HeaderValue};

fn encoded(adapter: &dyn Adapter, send: &Send) -> (String, Value) {
    let call = adapter.encode(send).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(call.method, Method::POST);
    (call.url.clone(), body(&call))
}

fn refused(adapter: &dyn Adapter, send: &Send) -> String {
    let outcome = adapter.encode(send).unwrap_err();
    assert_eq!(outcome.outcome, Outcome::Rejected);
    outcome.detail.unwrap()
}

#[test]
fn a_direct_message_goes_as_x_documents_it() {
    let (url, body) = encoded(adapter().as_ref(), &send("Grüße 👋"));
    assert_eq!(url, format!("https://api.x.com/2/dm_conversations/with/{ANN}/messages"));
    assert_eq!(body, json!({ "text": "Grüße 👋" }));
    assert!(adapter().encode(&send(&"ü".repeat(10_000))).is_ok());
    assert!(refused(adapter().as_ref(), &send(&"ü".repeat(10_001))).contains("10001 characters"));
    assert!(refused(adapter().as_ref(), &send(" \n")).contains("nothing"));
    let mut odd = send("hi");
    odd.to.value = "../../2/tweets".into();
    assert!(refused(adapter().as_ref(), &odd).contains("number"));
    assert!(adapter().reaches(&odd.to).is_err() && adapter().reaches(&send("hi").to).is_ok());
}

#[test]
fn a_public_answer_answers_the_post_and_weighs_what_x_takes() {
    let (url, body) = encoded(adapter().as_ref(), &in_public("sorry to hear that"));
    assert_eq!(url, "https://api.x.com/2/tweets");
    assert_eq!(
        body,
        json!({ "text": "sorry to hear that", "reply": { "in_reply_to_tweet_id": "2080765901528535096" } })
    );
    assert!(adapter().encode(&in_public(&"a".repeat(280))).is_ok());
    assert!(refused(adapter().as_ref(), &in_public(&"a".repeat(281))).contains("weighs 281"));
    assert!(refused(adapter().as_ref(), &in_public(&"語".repeat(141))).contains("weighs 282"));
    let link = format!("https://shop.example/{}", "a".repeat(300));
    assert!(adapter().encode(&in_public(&link)).is_ok(), "a link is a link");
    let longer = crate::config::build(&settings().with("public_length", Setting::Count(25_000))).unwrap();
    assert!(longer.encode(&in_public(&"a".repeat(281))).is_ok());
    let nothing = Send { reply_to: vec![], ..in_public("hi") };
    assert!(refused(adapter().as_ref(), &nothing).contains("no post"));
    let mut choices = in_public("Which?");
    choices.content.choices = vec![Choice { id: "A".into(), label: Some("Red".into()) }];
    let buttons = crate::config::build(&settings().with("quick_replies", Setting::Flag(true))).unwrap();
    assert_eq!(encoded(buttons.as_ref(), &choices).1["text"], "Which?\n\n1. Red", "there are none in public");
    // Without buttons the core has written them into the text: they are listed once, and weighed once.
    let mut listed = in_public(&switchboard_envelope::numbered(&"a".repeat(270), &choices.content.choices));
    listed.content.choices.clone_from(&choices.content.choices);
    assert_eq!(crate::words::weight(&listed.content.text), 278);
    assert_eq!(encoded(adapter().as_ref(), &listed).1["text"], listed.content.text);
}

#[test]
fn in_public_the_policy_speaks() {
    let (_, body) = encoded(public("invite").as_ref(), &in_public("Sorry!"));
    let wanted = format!("Sorry!\n\nPlease send us a direct message: https://x.com/messages/compose?recipient_id={US}");
    assert_eq!(body["text"], wanted);
    let room = 280 - crate::words::weight(&wanted) + 6;
    assert!(public("invite").encode(&in_public(&"a".repeat(room))).is_ok());
    assert!(refused(public("invite").as_ref(), &in_public(&"a".repeat(room + 1))).contains("invitation"));
    assert_eq!(encoded(public("invite").as_ref(), &send("Sorry!")).1["text"], "Sorry!", "in private nobody is invited");
    for policy in ["read", "ignore"] {
        assert!(refused(public(policy).as_ref(), &in_public("hi")).contains("public"), "{policy}");
        assert!(public(policy).encode(&send("hi")).is_ok());
    }
}

#[test]
fn choices_are_buttons_where_the_operator_wants_the_older_call() {
    let mut choices = send("Which?");
    choices.content.choices = vec![Choice { id: "RED".into(), label: Some("Red".into()) }];
    let buttons = crate::config::build(&settings().with("quick_replies", Setting::Flag(true))).unwrap();
    let (url, body) = encoded(buttons.as_ref(), &choices);
    assert_eq!(url, "https://api.x.com/1.1/direct_messages/events/new.json");
    let data = &body["event"]["message_create"];
    assert_eq!((&data["target"]["recipient_id"], &data["message_data"]["text"]), (&json!(ANN), &json!("Which?")));
    let wanted = json!({ "type": "options", "options": [{ "label": "Red", "metadata": "RED" }] });
    assert_eq!(data["message_data"]["quick_reply"], wanted);
    assert!(buttons.profile().shows(&choices.content.choices) && !adapter().profile().shows(&choices.content.choices));
    choices.content.choices = vec![Choice { id: "x".repeat(1001), label: Some("Red".into()) }];
    assert!(refused(buttons.as_ref(), &choices).contains("longer"));
}

#[test]
fn calls_are_signed_when_they_leave_and_show_no_secret() {
    let adapter = adapter();
    let call = adapter.encode(&send("hi")).unwrap();
    assert!(call.headers.is_empty());
    let call = adapter.memory().unwrap().authorized(call, &Kept::default(), NOW);
    let [("authorization", header)] = &call.headers[..] else { panic!("not signed") };
    assert!(
        header.starts_with("OAuth oauth_consumer_key=\"a-consumer-key\"")
            && header.contains("oauth_token=\"1-a-token\"")
    );
    let elsewhere = Call { url: "https://evil.example/".into(), headers: vec![], ..call };
    assert!(adapter.memory().unwrap().authorized(elsewhere, &Kept::default(), NOW).headers.is_empty());
    let shown = format!("{:?}", Twitter::new(&settings()).unwrap());
    assert!(!shown.contains("a-token-secret") && !shown.contains(SECRET) && !shown.contains("1-a-token"), "{shown}");
}

#[test]
fn with_oauth_2_a_call_waits_for_its_token_and_a_refused_one_is_renewed() {
    let secret = |text: &str| Setting::Secrets(vec![Secret::new(text)]);
    let settings = Settings::new("handle", None)
        .with("user_id", Setting::Text(US.into()))
        .with("consumer_secret", secret(SECRET))
        .with("client_id", Setting::Text("client".into()))
        .with("refresh_token", secret("first"));
    let adapter = crate::config::build(&settings).unwrap();
    let memory = adapter.memory().unwrap();
    let call = adapter.encode(&send("hi")).unwrap();
    let Before::Renew(renewal) = memory.before(&Kept::default(), &call, NOW) else { panic!("no renewal") };
    assert_eq!(renewal.url, "https://api.x.com/2/oauth2/token");
    let fresh = response(200, json!({ "access_token": "a1", "refresh_token": "r1", "expires_in": 7200 }));
    let token = memory.renewed(&Kept::default(), &fresh, NOW).unwrap();
    let kept = Kept { token: Some(token), ..Kept::default() };
    let Before::Go(Some(counts)) = memory.before(&kept, &call, NOW) else { panic!("does not leave") };
    let kept = Kept { counts: Some(counts), ..kept };
    let leaving = memory.authorized(call.clone(), &kept, NOW);
    assert_eq!(leaving.headers, [("authorization", "Bearer a1".to_owned())]);
    let learned = memory.learned(&kept, &call, &response(401, json!({ "title": "Unauthorized" })), NOW);
    assert!(learned.refused);
    let kept = Kept { refused: true, ..kept };
    assert!(matches!(memory.before(&kept, &call, NOW), Before::Renew(_)));
    let public = Call { url: "https://pbs.twimg.com/a.jpg".into(), method: Method::GET, ..call };
    assert!(matches!(memory.before(&kept, &public, NOW), Before::Go(None)), "a public file needs no token");
}

fn outcome(send: &Send, status: u16, body: Value) -> AttemptOutcome {
    adapter().classify(send, &response(status, body), NOW)
}

fn v1(code: i64) -> Value {
    json!({ "errors": [{ "code": code, "message": "words of X's" }] })
}

#[test]
fn each_code_has_its_outcome() {
    for (code, wanted, stops) in [
        (88, Outcome::NotSent, false),
        (185, Outcome::NotSent, false),
        (130, Outcome::NotSent, false),
        (131, Outcome::NotSent, false),
        (89, Outcome::NotSent, true),
        (32, Outcome::NotSent, true),
        (64, Outcome::NotSent, true),
        (326, Outcome::NotSent, true),
        (150, Outcome::Rejected, false),
        (349, Outcome::Rejected, false),
        (151, Outcome::Rejected, false),
        (186, Outcome::Rejected, false),
        (187, Outcome::Rejected, false),
        (226, Outcome::Rejected, false),
        (354, Outcome::Rejected, false),
        (144, Outcome::Rejected, false),
        (99_999, Outcome::Rejected, false),
    ] {
        let got = outcome(&send("hi"), 403, v1(code));
        assert_eq!((got.outcome, got.channel_refused), (wanted, stops), "{code}: {got:?}");
        assert!(got.detail.is_some_and(|d| !d.ends_with('.') && d.len() > 10), "{code}");
    }
    assert_eq!(outcome(&send("hi"), 503, v1(130)).outcome, Outcome::NotSent, "documented, whatever its status");
    assert_eq!(outcome(&send("hi"), 500, v1(99_999)).outcome, Outcome::Unknown);
}

#[test]
fn words_that_an_earlier_attempt_may_have_brought_are_not_asked_to_be_changed() {
    let forbidden = json!({ "detail": "You are not allowed to create a Tweet with duplicate content.", "status": 403 });
    for told in [v1(187), forbidden] {
        let why = |n: u32| outcome(&Send { n, ..send("hi") }, 403, told.clone()).detail.unwrap();
        assert!(why(1).contains("change them"), "{}", why(1));
        assert!(why(2).contains("an earlier attempt") && !why(2).contains("change"), "{}", why(2));
    }
}

#[test]
fn each_status_and_each_reason_has_its_outcome() {
    let problem =
        |detail: &str| json!({ "title": "Forbidden", "detail": detail, "type": "about:blank", "status": 403 });
    for (send, status, body, wanted, stops) in [
        (send("hi"), 401, json!({ "title": "Unauthorized", "detail": "Unauthorized" }), Outcome::NotSent, true),
        (send("hi"), 402, json!({ "title": "CreditsDepleted" }), Outcome::NotSent, true),
        (send("hi"), 403, problem("You are not permitted to perform this action."), Outcome::Rejected, false),
        (send("hi"), 403, problem("You cannot send messages to this user."), Outcome::Rejected, false),
        (
            send("hi"),
            403,
            problem("Your client app is not configured with the appropriate oauth1 app permissions for this endpoint."),
            Outcome::NotSent,
            true,
        ),
        (send("hi"), 403, problem("To protect our users, this account is temporarily locked."), Outcome::NotSent, true),
        (
            send("hi"),
            403,
            json!({ "title": "Client Forbidden", "type": "https://api.x.com/2/problems/client-forbidden" }),
            Outcome::NotSent,
            true,
        ),
        (
            in_public("hi"),
            403,
            problem("You are not allowed to create a Tweet with duplicate content."),
            Outcome::Rejected,
            false,
        ),
        (
            in_public("hi"),
            403,
            problem(
                "Reply to this conversation is not allowed because you have not been mentioned or otherwise engaged by the author.",
            ),
            Outcome::Rejected,
            false,
        ),
        (in_public("hi"), 404, problem("gone"), Outcome::Rejected, false),
        (send("hi"), 404, problem("gone"), Outcome::Rejected, false),
        (
            send("hi"),
            400,
            json!({ "title": "Invalid Request", "type": "https://api.x.com/2/problems/invalid-request" }),
            Outcome::Rejected,
            false,
        ),
        (send("hi"), 429, json!({ "title": "Too Many Requests" }), Outcome::NotSent, false),
        (
            send("hi"),
            429,
            json!({ "title": "UsageCapExceeded", "type": "https://api.x.com/2/problems/usage-capped" }),
            Outcome::NotSent,
            true,
        ),
        (send("hi"), 503, json!({ "title": "Service Unavailable", "status": 503 }), Outcome::NotSent, false),
        (send("hi"), 503, json!({}), Outcome::Unknown, false),
        (send("hi"), 500, json!({ "title": "Internal Server Error" }), Outcome::Unknown, false),
        (send("hi"), 403, json!({}), Outcome::NotSent, true),
        (send("hi"), 301, json!({}), Outcome::NotSent, true),
        (send("hi"), 201, json!({ "data": {} }), Outcome::Unknown, false),
        (send("hi"), 201, json!({ "event": { "id": "133" } }), Outcome::Accepted, false),
    ] {
        let got = outcome(&send, status, body.clone());
        assert_eq!((got.outcome, got.channel_refused), (wanted, stops), "{status} {body}: {got:?}");
    }
    let window = outcome(&in_public("hi"), 403, problem("you have not been mentioned by the author"));
    assert!(window.detail.unwrap().contains("mention or quote"));
    let personal = outcome(&send("hi"), 400, json!({ "detail": "odd: +15551230001", "title": "x" }));
    assert!(!personal.detail.unwrap().contains("+15551230001"));
}

#[test]
fn a_limit_says_when_it_ends() {
    let of = |status: u16, pairs: &[(&'static str, i64)]| {
        let pair = |(name, value): &(&'static str, i64)| (HeaderName::from_static(name), HeaderValue::from(*value));
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let body = json!({ "title": "Too Many Requests", "status": status }).to_string().into();
        adapter().classify(&send("hi"), &Ok(Response { status, headers, body }), NOW).retry_after_ms
    };
    let reset = NOW.0 / 1000 + 60;
    assert_eq!(of(429, &[("x-rate-limit-reset", reset)]), Some(60_000));
    assert_eq!(of(429, &[("retry-after", 90), ("x-rate-limit-reset", reset)]), Some(90_000));
    let day = [
        ("x-rate-limit-reset", reset),
        ("x-user-limit-24hour-remaining", 0),
        ("x-user-limit-24hour-reset", reset + 3600),
    ];
    assert_eq!(of(429, &day), Some(3_660_000));
    assert_eq!(of(429, &[("x-rate-limit-reset", i64::MAX)]), None, "nonsense");
    assert_eq!(of(429, &[]), None);
    assert_eq!(of(503, &[("x-rate-limit-remaining", 3), ("x-rate-limit-reset", reset)]), None, "it is not used up");
}

#[test]
fn what_is_answered_in_xs_place_has_its_own_words() {
    let held = outcome(&send("hi"), 429, json!({ "type": HELD, "detail": "used up until noon; nothing was sent" }));
    assert_eq!(
        (held.outcome, held.detail.as_deref(), held.fault),
        (
            Outcome::NotSent,
            Some("used up until noon; nothing was sent"),
            // Five of them would hold up public answers, whose limit is another.
            Some(switchboard_envelope::Fault::Recipient)
        )
    );
    let renewal =
        outcome(&send("hi"), 401, json!({ "type": RENEWAL, "detail": "X answered 400 to the refresh token" }));
    assert!(renewal.channel_refused && renewal.detail.unwrap().contains("write the new refresh_token"));
}
