use crate::client::Server;
use crate::fake::Fake;
use serde_json::json;
use std::sync::Arc;
use switchboard::http::chat::Timing;
use switchboard_envelope::Inbound;
use switchboard_webchat::WebchatConfig;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n-not-really-a-picture";

async fn start(fake: &Arc<Fake>) -> Server {
    Server::start(fake.daemon(WebchatConfig::default(), Timing::default())).await
}

async fn bearer(server: &Server) -> String {
    let welcome = server.post("/chat/site/session", &[], &json!({})).await.json();
    format!("Bearer {}", welcome["token"].as_str().unwrap())
}

#[tokio::test]
async fn a_file_is_stored_named_in_a_message_and_served_back_as_a_download() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let token = bearer(&server).await;
    let auth = [("authorization", token.as_str())];
    let stored = server.request("POST", "/chat/site/files?name=box%20%C3%A9.png", &auth, PNG).await;
    assert_eq!(stored.status, 201);
    let file = stored.json();
    assert_eq!(
        (&file["name"], &file["mime"], &file["size"]),
        (&json!("box é.png"), &json!("image/png"), &json!(PNG.len()))
    );
    let message = json!({ "client_id": "c1", "text": "", "attachments": [file] });
    assert_eq!(server.post("/chat/site/messages", &auth, &message).await.status, 200);
    let Inbound::Message(m) = fake.store.lock().unwrap().ingested[0].clone() else { panic!("not a message") };
    assert_eq!(m.content.attachments[0].blob.as_ref().map(|b| b.0.as_str()), file["ref"].as_str());
    let hash = file["ref"].as_str().unwrap().rsplit(':').next().unwrap();
    let path = format!("/chat/site/files/{hash}?name=box%20%C3%A9%22%0d%0a.png");
    let served = server.get(&path, &auth).await;
    assert_eq!((served.status, served.body.as_slice()), (200, PNG));
    assert_eq!(served.header("content-type"), Some("application/octet-stream"));
    assert_eq!(served.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(served.header("content-disposition"), Some("attachment; filename*=UTF-8''box%20%C3%A9%22%0D%0A.png"));
    assert!(served.header("content-security-policy").unwrap().starts_with("sandbox"));
    // Neither without a token nor with a stranger's.
    assert_eq!(server.get(&path, &[]).await.status, 401);
    let stranger = bearer(&server).await;
    assert_eq!(server.get(&path, &[("authorization", &stranger)]).await.status, 404);
    let stolen = server.post("/chat/site/messages", &[("authorization", &stranger)], &message).await;
    assert_eq!((stolen.status, &stolen.json()["code"]), (422, &json!("refused")));
    assert_eq!(server.get("/chat/site/files/..%2f..%2fetc", &auth).await.status, 404);
}

#[tokio::test]
async fn a_form_is_understood_too() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let token = bearer(&server).await;
    let mut form =
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n"
            .to_vec();
    form.extend_from_slice(PNG);
    form.extend_from_slice(b"\r\n--x--\r\n");
    let auth = [("authorization", token.as_str()), ("content-type", "multipart/form-data; boundary=x")];
    let stored = server.request("POST", "/chat/site/files", &auth, &form).await;
    assert_eq!((stored.status, &stored.json()["size"]), (201, &json!(PNG.len())));
    let broken = server.request("POST", "/chat/site/files", &auth, &form[..form.len() - 8]).await;
    assert_eq!(broken.status, 400);
}

#[tokio::test]
async fn uploads_are_capped_looked_at_and_metered() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let token = bearer(&server).await;
    let auth = [("authorization", token.as_str())];
    // Refused by its length alone, before a byte of it is read.
    let said = [auth[0], ("content-length", "999999999999")];
    assert_eq!(server.request("POST", "/chat/site/files?name=a.png", &said, b"").await.status, 413);
    let mut large = PNG.to_vec();
    large.resize(10 * 1024 * 1024 + 1, 0);
    assert_eq!(server.request("POST", "/chat/site/files?name=a.png", &auth, &large).await.status, 413);
    for (name, bytes, status) in [
        ("a.exe", &b"MZ\x90\x00"[..], 415),
        ("a.png", b"<svg onload=alert(1)>", 415),
        ("a.html", b"hello", 415),
        ("a.png", b"", 422),
    ] {
        let answer = server.request("POST", &format!("/chat/site/files?name={name}"), &auth, bytes).await;
        assert_eq!(answer.status, status, "{name}");
    }
    assert_eq!(server.request("POST", "/chat/site/files?name=a.png", &[], PNG).await.status, 401);
    assert!(fake.store.lock().unwrap().files.is_empty());
    let mut limited = 0;
    for _ in 0..20 {
        let answer = server.request("POST", "/chat/site/files?name=a.png", &auth, PNG).await;
        limited += u32::from(answer.status == 429);
    }
    assert!(limited > 0, "twenty uploads at once passed");
    let off = WebchatConfig { uploads: false, ..WebchatConfig::default() };
    let server = Server::start(fake.daemon(off, Timing::default())).await;
    assert_eq!(server.request("POST", "/chat/site/files?name=a.png", &auth, PNG).await.status, 422);
}
