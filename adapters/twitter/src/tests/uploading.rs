//! Files that are handed to X before the message that shows them.

use super::*;
use std::time::Duration;
use switchboard_adapter_sdk::{CallError, Step, signature::from_base64};

const ID: &str = "1880028106020515840";

fn file(name: &str, mime: &str, size: usize) -> Attachment {
    Attachment { name: name.into(), mime: mime.into(), size: size as u64, ..Attachment::default() }
}

fn with(send: Send, files: &[Attachment]) -> Send {
    Send { content: Content { attachments: files.to_vec(), ..send.content }, ..send }
}

/// What the calls say, and when, until X has the file or will not have it. Each is answered by the next of `answers`.
fn hand(send: &Send, bytes: usize, answers: &[Answer]) -> (Vec<(Call, Duration)>, Result<String, AttemptOutcome>) {
    let adapter = adapter();
    let mut upload = adapter.upload(send, &send.content.attachments[0]).expect("it is handed over");
    let (whole, mut calls, mut answers) = (Bytes::from(vec![7; bytes]), vec![], answers.iter());
    let mut answer = None;
    loop {
        match upload.step(&whole, answer, NOW) {
            Err(outcome) => return (calls, Err(outcome)),
            Ok(Step::Done(id)) => return (calls, Ok(id)),
            Ok(Step::Call(call, wait)) => calls.push((*call, wait)),
        }
        answer = Some(answers.next().expect("no call too many"));
    }
}

fn path(call: &Call) -> &str {
    call.url.strip_prefix("https://api.x.com/2/media/upload").unwrap()
}

fn began() -> Answer {
    response(200, json!({ "data": { "id": ID, "media_key": "3_1", "expires_after_secs": 86400 } }))
}

fn took() -> Answer {
    response(200, json!({ "data": { "expires_at": 1_800_000_000 } }))
}

fn state(state: &str, more: Value) -> Answer {
    let mut info = json!({ "state": state });
    info.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    response(200, json!({ "data": { "id": ID, "processing_info": info } }))
}

#[test]
fn a_picture_goes_in_pieces_that_make_the_whole() {
    let send = with(send("look"), &[file("a.png", "image/png", 4 << 20)]);
    let (calls, id) = hand(&send, 4 << 20, &[began(), took(), took(), response(200, json!({ "data": { "id": ID } }))]);
    assert_eq!(id.as_deref(), Ok(ID));
    let paths: Vec<&str> = calls.iter().map(|(call, _)| path(call)).collect();
    let (append, end) = (format!("/{ID}/append"), format!("/{ID}/finalize"));
    assert_eq!(paths, ["/initialize", &append, &append, &end]);
    let wanted = json!({ "media_type": "image/png", "total_bytes": 4 << 20, "media_category": "dm_image" });
    assert_eq!(body(&calls[0].0), wanted);
    let pieces = [body(&calls[1].0), body(&calls[2].0)];
    let bytes: Vec<u8> = pieces.iter().flat_map(|p| from_base64(p["media"].as_str().unwrap()).unwrap()).collect();
    assert_eq!(bytes, vec![7; 4 << 20]);
    assert_eq!((&pieces[0]["segment_index"], &pieces[1]["segment_index"]), (&json!(0), &json!(1)));
    assert!(pieces.iter().all(|piece| piece["media"].as_str().unwrap().len() < 5_000_000));
    assert!(calls.iter().all(|(_, wait)| wait.is_zero()));
}

#[test]
fn a_film_is_asked_about_until_x_converted_it() {
    let send = with(in_public("look"), &[file("a.mp4", "video/mp4; codecs=avc1", 10)]);
    let film = [
        began(),
        took(),
        state("pending", json!({ "check_after_secs": 7 })),
        state("in_progress", json!({ "check_after_secs": 9000 })),
        state("succeeded", json!({})),
    ];
    let (calls, id) = hand(&send, 10, &film);
    assert_eq!(id.as_deref(), Ok(ID));
    assert_eq!(body(&calls[0].0)["media_category"], "tweet_video");
    let asked: Vec<(&str, u64)> = calls[3..].iter().map(|(call, wait)| (path(call), wait.as_secs())).collect();
    let question = format!("?command=STATUS&media_id={ID}");
    assert_eq!(asked, [(question.as_str(), 7), (question.as_str(), 30)], "as X says, within bounds");
    let broken =
        state("failed", json!({ "error": { "name": "InvalidMedia", "message": "Unsupported video format." } }));
    let outcome = hand(&send, 10, &[began(), took(), broken]).1.unwrap_err();
    assert_eq!(outcome.outcome, Outcome::Rejected);
    assert_eq!(outcome.detail.as_deref(), Some("X does not take the file `a.mp4`: Unsupported video format"));
}

#[test]
fn what_fails_before_the_message_sent_nothing() {
    let send = with(send("look"), &[file("a.gif", "image/gif", 10)]);
    let told = |title: &str| json!({ "title": title, "detail": "for a reason", "type": "about:blank" });
    for (answer, outcome, stops) in [
        (Err(CallError::Lost("cut".into())), Outcome::NotSent, false),
        (Err(CallError::NotSent("no route".into())), Outcome::NotSent, false),
        (response(500, json!({})), Outcome::NotSent, false),
        (response(503, told("x")), Outcome::NotSent, false),
        (response(429, told("x")), Outcome::NotSent, false),
        (response(401, told("Unauthorized")), Outcome::NotSent, true),
        (response(402, told("CreditsDepleted")), Outcome::NotSent, true),
        (response(403, told("Forbidden")), Outcome::Rejected, false),
        (response(400, told("Invalid Request")), Outcome::Rejected, false),
        (response(413, json!({})), Outcome::Rejected, false),
    ] {
        for before in [vec![], vec![began()], vec![began(), took()]] {
            let answers = [before, vec![answer.clone()]].concat();
            let got = hand(&send, 10, &answers).1.unwrap_err();
            assert_eq!((got.outcome, got.channel_refused), (outcome, stops), "{answer:?}");
            assert!(got.detail.is_some_and(|d| d.len() > 10 && !d.ends_with('.')));
        }
    }
    for nothing in [json!({}), json!({ "data": { "id": "../../2/tweets" } }), json!([7])] {
        let got = hand(&send, 10, &[response(200, nothing)]).1.unwrap_err();
        assert_eq!(got.outcome, Outcome::NotSent);
    }
    let forbidden = hand(&send, 10, &[response(403, told("Forbidden"))]).1.unwrap_err();
    assert!(forbidden.detail.unwrap().contains("media.write"));
}

#[test]
fn x_is_not_offered_what_it_does_not_show() {
    let refused = |send: Send| adapter().fits(&send.thread, &send.content).unwrap_err();
    let picture = |n: usize| file(&format!("{n}.jpg"), "image/jpeg", 10);
    let letter = file("a.pdf", "application/pdf", 10);
    assert!(refused(with(send("look"), std::slice::from_ref(&letter))).contains("`a.pdf`"));
    assert!(adapter().upload(&send("look"), &letter).is_none());
    assert!(refused(with(send("look"), &[file("a.png", "image/png", 6 << 20)])).contains("5 MiB"));
    assert!(refused(with(send("look"), &[picture(1), picture(2)])).contains("one file"));
    let four: Vec<Attachment> = (0..4).map(picture).collect();
    let public = with(in_public("look"), &four);
    assert!(adapter().fits(&public.thread, &public.content).is_ok());
    assert!(refused(with(in_public("look"), &[four, vec![picture(5)]].concat())).contains("4 pictures"));
    assert!(refused(with(in_public("look"), &[picture(1), file("a.gif", "image/gif", 1)])).contains("one film"));
    assert!(refused(with(send(" "), &[])).contains("nothing"));
    assert_eq!(adapter().profile().no_files, None);
}

#[test]
fn the_message_shows_the_files_by_their_ids() {
    let has = |id: &str| Attachment { url: Some(id.into()), ..file("a.png", "image/png", 10) };
    let sent = |send: &Send| body(&adapter().encode(send).unwrap());
    let direct = with(send("look"), &[has(ID)]);
    assert_eq!(sent(&direct), json!({ "text": "look", "attachments": [{ "media_id": ID }] }));
    assert_eq!(sent(&with(send(""), &[has(ID)])), json!({ "attachments": [{ "media_id": ID }] }));
    let public = sent(&with(in_public("look"), &[has(ID), has("2")]));
    assert_eq!((&public["text"], &public["media"]), (&json!("look"), &json!({ "media_ids": [ID, "2"] })));
    let buttons = crate::config::build(&settings().with("quick_replies", Setting::Flag(true))).unwrap();
    let mut choices = direct.clone();
    choices.content.choices = vec![Choice { id: "RED".into(), label: Some("Red".into()) }];
    let older = body(&buttons.encode(&choices).unwrap());
    let data = &older["event"]["message_create"]["message_data"];
    assert_eq!(data["attachment"], json!({ "type": "media", "media": { "id": ID } }));
    for never_handed_over in [file("a.png", "image/png", 10), has("https://x.com/")] {
        let outcome = adapter().encode(&with(send("look"), &[never_handed_over])).unwrap_err();
        assert_eq!(outcome.outcome, Outcome::NotSent);
    }
}
