//! Files of text messages: fetched after the message is taken, kept, and offered as any other attachment.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::time::Duration;
use switchboard_e2e::{Backend, Daemon, InboundSms, Provider, Shop, Sms, http, message, on_every_backend, sid};

const ANN: &str = "+15551230001";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nnot much of a picture";

on_every_backend! {
    a_picture_is_fetched_with_our_credentials_and_offered_by_link,
    a_message_stands_while_its_file_cannot_be_had_and_the_file_comes_later,
    a_crash_loses_no_file,
    what_is_not_the_providers_or_too_large_is_not_fetched_and_says_so,
    the_files_of_a_message_that_only_the_list_told_of_are_fetched_too,
    an_agents_file_goes_out_by_a_link_that_only_the_provider_gets,
}

fn with_media(sms: Sms, media: &[(&str, &str)]) -> Sms {
    let sms = sms.with("NumMedia", &media.len().to_string());
    media.iter().enumerate().fold(sms, |sms, (i, (url, mime))| {
        sms.with(&format!("MediaUrl{i}"), url).with(&format!("MediaContentType{i}"), mime)
    })
}

fn files(conversation: &Value) -> Vec<Value> {
    let messages = conversation["messages"].as_array().cloned().unwrap_or_default();
    messages.iter().flat_map(|m| m["attachments"].as_array().cloned().unwrap_or_default()).collect()
}

async fn until(shop: &Shop, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let found = shop.api().conversation(&format!("phone:{ANN}"), what, |c| holds(&files(c))).await;
    files(&found)
}

fn all(state: &'static str, count: usize) -> impl Fn(&[Value]) -> bool {
    move |files| files.len() == count && files.iter().all(|f| f["state"] == state)
}

/// Follows the link of an attachment as a console does.
async fn download(shop: &Shop, file: &Value) -> (String, Vec<u8>) {
    let url = format!("{}{}", shop.admin(), file["url"].as_str().expect("a stored file has a link"));
    let answer = http().get(url).bearer_auth(shop.token()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let mime = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (mime, answer.bytes().await.unwrap().to_vec())
}

async fn a_picture_is_fetched_with_our_credentials_and_offered_by_link(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let picture = provider.sim().add_file("image/png", PNG);
    // What calls itself a picture and is a page is a download.
    let page = provider.sim().add_file("image/jpeg", b"<html><script>alert(1)</script></html>");
    let sms = with_media(shop.sms(ANN, "look", &sid("1")), &[(&picture, "image/png"), (&page, "image/jpeg")]);
    assert_eq!(sms.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);

    let files = until(&shop, "to have its files", all("stored", 2)).await;
    assert_eq!(download(&shop, &files[0]).await, ("image/png".into(), PNG.to_vec()));
    assert_eq!((&files[0]["mime"], &files[0]["size"]), (&json!("image/png"), &json!(PNG.len())));
    assert_eq!(download(&shop, &files[1]).await.0, "application/octet-stream");
    assert!(!files.iter().any(|f| f.to_string().contains("/2010-04-01/")), "the provider's address is not shown");
    assert_eq!(provider.sent().len(), 0, "and no credentials were shown to the host of the files");
}

async fn a_message_stands_while_its_file_cannot_be_had_and_the_file_comes_later(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    provider.sim().fail_files([503]);
    let picture = provider.sim().add_file("image/png", PNG);
    with_media(shop.sms(ANN, "look", &sid("1")), &[(&picture, "image/png")])
        .deliver(&shop.hook("support-sms"))
        .await
        .unwrap();
    let waiting =
        until(&shop, "to say why its file is not there", |f| f.iter().any(|f| f["problem"].is_string())).await;
    assert_eq!((&waiting[0]["state"], &waiting[0]["url"]), (&json!("fetching"), &Value::Null), "{waiting:?}");
    assert_eq!(waiting[0]["problem"], "the provider answered 503");
    let stored = until(&shop, "to have its file after all", all("stored", 1)).await;
    assert_eq!(stored[0].get("problem"), None, "{stored:?}");
    assert_eq!(download(&shop, &stored[0]).await.1, PNG);
    assert_eq!(provider.sim().files_asked(), 2);
}

async fn a_crash_loses_no_file(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let mut daemon = Daemon::start(&shop).await;
    provider.sim().fail_files([503; 100]);
    let picture = provider.sim().add_file("image/png", PNG);
    with_media(shop.sms(ANN, "look", &sid("1")), &[(&picture, "image/png")])
        .deliver(&shop.hook("support-sms"))
        .await
        .unwrap();
    until(&shop, "to say why its file is not there", |f| f.iter().any(|f| f["problem"].is_string())).await;
    daemon.kill();
    provider.sim().mend_files();
    daemon.restart().await;
    until(&shop, "to have its file after the crash", all("stored", 1)).await;
    let asked = provider.sim().files_asked();
    daemon.kill();
    daemon.restart().await;
    shop.sms(ANN, "again", &sid("2")).deliver(&shop.hook("support-sms")).await.unwrap();
    until(&shop, "to have its file still", all("stored", 1)).await;
    assert_eq!(provider.sim().files_asked(), asked, "what is stored is not fetched again");
}

async fn what_is_not_the_providers_or_too_large_is_not_fetched_and_says_so(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let large = provider.sim().add_file("video/mp4", &vec![0; (16 << 20) + 1]);
    let inside = format!("{}/api/v1/agents", shop.admin());
    let media =
        [("http://169.254.169.254/latest/meta-data/", "text/plain"), (&inside, "text/plain"), (&large, "video/mp4")];
    with_media(shop.sms(ANN, "look", &sid("1")), &media).deliver(&shop.hook("support-sms")).await.unwrap();
    let files = until(&shop, "to say what became of its files", all("failed", 3)).await;
    let why: Vec<&str> = files.iter().filter_map(|f| f["problem"].as_str()).collect();
    let foreign = |at: &str| format!("its address, {at}, is not the provider's");
    let large = "it is larger than 16 MiB".to_owned();
    assert_eq!(why, [foreign("http://169.254.169.254:80"), foreign(&shop.admin()), large]);
}

/// The message list names no files, only where they are listed.
async fn the_files_of_a_message_that_only_the_list_told_of_are_fetched_too(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).sms("poll = \"10s\"").open();
    let picture = provider.sim().add_file("image/png", PNG);
    let note = provider.sim().add_file("text/vcard", b"BEGIN:VCARD\nFN:Ann\nEND:VCARD\n");
    let mut missed = InboundSms::new(ANN, "look what I found");
    missed.media = vec![(picture, "image/png".into()), (note, "text/vcard".into())];
    let minutes_ago = std::time::SystemTime::now() - Duration::from_secs(150);
    provider.sim().missed(&missed, jiff::Timestamp::try_from(minutes_ago).unwrap());
    let _daemon = Daemon::start(&shop).await;
    let files = until(&shop, "to have the files that the list names", all("stored", 2)).await;
    assert_eq!((&files[0]["mime"], &files[1]["mime"]), (&json!("image/png"), &json!("text/vcard")), "{files:?}");
    assert_eq!(download(&shop, &files[0]).await.1, PNG);
}

async fn upload(shop: &Shop, conversation: &str, bytes: &[u8]) -> Value {
    let url = format!("{}/api/v1/attachments?conversation={conversation}&name=map.png", shop.admin());
    let request = http().post(url).bearer_auth(shop.token()).header("content-type", "image/png").body(bytes.to_vec());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

async fn conversation(shop: &Shop) -> String {
    shop.sms(ANN, "where are you?", &sid("q")).deliver(&shop.hook("support-sms")).await.unwrap();
    let api = shop.api();
    let there = |c: &Value| message(c, "where are you?").is_some();
    let found = api.conversation(&format!("phone:{ANN}"), "to be there", there).await;
    found["id"].as_str().unwrap().to_owned()
}

async fn an_agents_file_goes_out_by_a_link_that_only_the_provider_gets(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let mut daemon = Daemon::start(&shop).await;
    let id = conversation(&shop).await;
    let file = upload(&shop, &id, PNG).await;
    let reply = json!({ "text": "here", "attachments": [file] });
    shop.api().post(&format!("/conversations/{id}/reply"), reply).await.ok();
    let sent = provider.sent_to(ANN, 1).await;
    let link = sent[0].media.first().expect("the text came with a file").clone();
    let path = link.strip_prefix("https://hooks.shop.example/media/").expect("under the public address");
    assert!(!link.contains(&ANN[1..]), "the link shows no number: {link}");

    let local = format!("{}/media/{path}", shop.public());
    let fetched = http().get(&local).send().await.unwrap();
    assert_eq!((fetched.status().as_u16(), &fetched.headers()["content-type"]), (200, &"image/png".parse().unwrap()));
    assert_eq!(fetched.bytes().await.unwrap(), PNG);
    for wrong in [
        format!("{local}A"),
        format!("{}/media/{}", shop.public(), path.to_lowercase()),
        format!("{}/media/x", shop.public()),
    ] {
        assert_eq!(http().get(&wrong).send().await.unwrap().status().as_u16(), 404, "{wrong}");
    }
    // The provider may come late: the link outlives the process that made it.
    daemon.kill();
    daemon.restart().await;
    assert_eq!(http().get(&local).send().await.unwrap().bytes().await.unwrap(), PNG);
}
