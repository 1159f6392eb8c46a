//! Hostile, broken and oversized input at the webhook: each has its answer, its counter, and leaves nothing half done.
#![forbid(unsafe_code)]

use serde_json::Value;
use switchboard_e2e::{Backend, Daemon, Provider, Shop, eventually, message, on_every_backend, post_form, sid};

const ANN: &str = "+15551230001";

on_every_backend! {
    a_missing_or_wrong_signature_is_refused_counted_and_never_stored,
    report_mode_lets_a_wrong_signature_in_and_counts_it,
    a_body_over_the_limit_is_413_and_the_daemon_goes_on,
    garbage_on_the_wire_ends_no_daemon,
    unknown_channels_and_methods_are_not_found,
    a_signed_body_that_cannot_be_read_is_quarantined_visible_and_retryable,
}

/// Sends a genuine message and waits for it: whatever came before it has been decided by then.
async fn after_everything(shop: &Shop) -> Vec<Value> {
    shop.sms("+15559990001", "the last one", &sid("last")).deliver(&shop.hook("support-sms")).await.unwrap();
    let api = shop.api();
    api.conversation("phone:+15559990001", "to be decided", |c| message(c, "the last one").is_some()).await;
    api.all("/conversations", "conversations").await
}

/// How many deliveries of the SMS channel had this verdict.
fn counted(metrics: &str, verdict: &str) -> Option<String> {
    let of = |l: &&str| l.contains("support-sms") && l.contains(&format!("\"{verdict}\""));
    metrics.lines().find(of).and_then(|l| l.rsplit(' ').next().map(str::to_owned))
}

async fn a_missing_or_wrong_signature_is_refused_counted_and_never_stored(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let daemon = Daemon::start(&shop).await;
    let hook = shop.hook("support-sms");

    let sms = shop.sms(ANN, "refund A-1", &sid("1"));
    assert_eq!(sms.deliver_unsigned(&hook).await.unwrap().status, 401);
    assert_eq!(sms.clone().signed_with("a-token-of-somebody-else").deliver(&hook).await.unwrap().status, 403);
    let tampered = sms.clone().with("Body", "refund EVERYTHING").body();
    assert_eq!(post_form(&hook, Some(&sms.signature()), tampered).await.unwrap().status, 403);
    assert_eq!(post_form(&hook, Some("not base64 at all!"), sms.body()).await.unwrap().status, 403);

    assert_eq!(after_everything(&shop).await.len(), 1, "only the genuine message made a conversation");
    assert_eq!(provider.sent().len(), 0);
    let metrics = daemon.metrics().await;
    let verdicts = ["missing", "forged"].map(|verdict| counted(&metrics, verdict));
    assert_eq!(verdicts, [Some("1".to_owned()), Some("3".to_owned())], "{metrics}");
    let said = daemon.said();
    assert!(said.contains("it has no signature") && said.contains("a delivery without a valid signature"), "{said}");
    assert!(
        !said.contains("refund EVERYTHING") && !said.contains(switchboard_e2e::AUTH_TOKEN),
        "a text or a secret is in the log"
    );
}

async fn report_mode_lets_a_wrong_signature_in_and_counts_it(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).sms("signatures = \"report\"").open();
    let daemon = Daemon::start(&shop).await;
    let forged = shop.sms(ANN, "refund A-2", &sid("1")).signed_with("another");
    assert_eq!(forged.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
    assert_eq!(provider.sent_to(ANN, 1).await[0].body, "Your refund A-2 is on its way.");
    assert!(daemon.said().contains("was let through"), "{}", daemon.said());
    let metrics = daemon.metrics().await;
    assert_eq!(counted(&metrics, "reported_forged").as_deref(), Some("1"), "{metrics}");
    assert_eq!(
        shop.sms(ANN, "refund A-3", &sid("2")).deliver_unsigned(&shop.hook("support-sms")).await.unwrap().status,
        200
    );
    let metrics = daemon.metrics().await;
    assert_eq!(counted(&metrics, "reported_missing").as_deref(), Some("1"), "{metrics}");
}

async fn a_body_over_the_limit_is_413_and_the_daemon_goes_on(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let huge = shop.sms(ANN, &"x".repeat(3 << 20), &sid("1"));
    // The daemon may answer and hang up before it has read everything; a client then sees a broken pipe or the answer.
    if let Ok(answer) = huge.deliver(&shop.hook("support-sms")).await {
        assert_eq!(answer.status, 413);
    }
    // Whoever does not even seem to be the provider is not read at all.
    for (signature, status) in [("", 401), ("X-Twilio-Signature: AAAA\r\n", 413)] {
        let head =
            format!("POST /hooks/support-sms HTTP/1.1\r\nHost: x\r\n{signature}Content-Length: 99999999999\r\n\r\n");
        let raw = raw_request(&shop, &head).await;
        assert!(raw.starts_with(&format!("HTTP/1.1 {status}")), "{raw}");
    }
    assert_eq!(after_everything(&shop).await.len(), 1);
}

async fn garbage_on_the_wire_ends_no_daemon(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    for garbage in [
        "\0\0\0\0",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /hooks/support-sms HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /hooks/support-sms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /hooks/../../etc/passwd HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    ] {
        let answer = raw_request(&shop, garbage).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{garbage:?} was accepted: {answer}");
    }
    assert_eq!(after_everything(&shop).await.len(), 1);
}

async fn unknown_channels_and_methods_are_not_found(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let sms = shop.sms(ANN, "hello", &sid("1"));
    assert_eq!(sms.deliver(&shop.hook("no-such-channel")).await.unwrap().status, 404);
    let deleted = switchboard_e2e::http().delete(shop.hook("support-sms")).send().await.unwrap();
    assert!(deleted.status().is_client_error(), "{}", deleted.status());
    // The admin surface does not answer on the public listener, nor without a token on its own.
    for url in [format!("{}/api/v1/conversations", shop.public()), format!("{}/metrics", shop.public())] {
        assert_eq!(switchboard_e2e::http().get(&url).send().await.unwrap().status().as_u16(), 404, "{url}");
    }
    let bare = switchboard_e2e::http().get(format!("{}/api/v1/conversations", shop.admin())).send().await.unwrap();
    assert_eq!(bare.status().as_u16(), 401);
}

async fn a_signed_body_that_cannot_be_read_is_quarantined_visible_and_retryable(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();

    // Well signed, but without a sender there is nobody to answer.
    let broken = shop
        .sms(ANN, "hello", &sid("1"))
        .without("From")
        .without("MessageSid")
        .without("SmsSid")
        .without("SmsMessageSid");
    assert_eq!(broken.deliver(&shop.hook("support-sms")).await.unwrap().status, 200, "the provider did nothing wrong");
    let held = eventually("the body in quarantine", || async {
        let list = api.get("/quarantine").await;
        list.body["quarantine"].as_array().and_then(|q| q.first().cloned()).ok_or(list.text)
    })
    .await;
    assert_eq!(held["channel"], "support-sms");
    assert!(held["reason"].as_str().is_some_and(|r| !r.is_empty()), "{held}");
    let id = held["id"].as_str().expect("a quarantined body has an id");
    let retried = api.post(&format!("/quarantine/{id}/retry"), serde_json::json!({})).await;
    assert!((200..300).contains(&retried.status), "{retried}");
    // It still cannot be read, so it is still there, and nothing was made up from it.
    let list = api.all("/quarantine", "quarantine").await;
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(after_everything(&shop).await.len(), 1);
}

async fn raw_request(shop: &Shop, bytes: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", shop.public_port)).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(std::time::Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
    // A reset instead of an answer is an answer too.
    let _ = read.expect("the daemon lets go of a broken connection");
    String::from_utf8_lossy(&answer).into_owned()
}
