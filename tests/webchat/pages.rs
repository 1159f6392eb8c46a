use crate::client::Server;
use crate::fake::Fake;
use switchboard::http::chat::Timing;
use switchboard_webchat::WebchatConfig;

async fn start(config: WebchatConfig) -> Server {
    Server::start(Fake::new().daemon(config, Timing::default())).await
}

#[tokio::test]
async fn the_widget_is_cached_by_its_content_and_carries_its_channels_settings() {
    let server = start(WebchatConfig { title: Some("Hi </script>".into()), ..WebchatConfig::default() }).await;
    let widget = server.get("/chat/site/widget.js", &[("origin", "https://anywhere.example")]).await;
    assert_eq!((widget.status, widget.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    let script = String::from_utf8(widget.body.clone()).unwrap();
    assert!(script.contains(r#""title":"Hi \u003c/script>""#), "the settings are not in the script");
    assert!(!script.contains("/*{settings}*/"));
    let etag = widget.header("etag").unwrap();
    let again = server.get("/chat/site/widget.js", &[("if-none-match", etag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(server.get("/chat/site/widget.js", &[("if-none-match", "\"other\"")]).await.status, 200);
    let other = start(WebchatConfig::default()).await;
    assert_ne!(other.get("/chat/site/widget.js", &[]).await.header("etag"), Some(etag));
}

#[tokio::test]
async fn the_demo_page_runs_only_what_we_serve() {
    let server = start(WebchatConfig::default()).await;
    let page = server.get("/chat/site", &[]).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let html = String::from_utf8(page.body.clone()).unwrap();
    assert!(html.contains("be the customer") && html.contains("src=\"site/widget.js\""), "{html}");
    for inline in ["<style", " style=", " onclick", "javascript:", "{channel}"] {
        assert!(!html.contains(inline), "the page holds `{inline}`");
    }
    assert_eq!(server.get("/chat/site/demo.css", &[]).await.header("content-type"), Some("text/css; charset=utf-8"));
    for path in ["/chat/none", "/chat/none/widget.js", "/chat/none/demo.css", "/chat/none/session"] {
        assert!(matches!(server.get(path, &[]).await.status, 404 | 405), "{path}");
    }
    let off = start(WebchatConfig { demo: false, ..WebchatConfig::default() }).await;
    assert_eq!(off.get("/chat/site", &[]).await.status, 404);
    assert_eq!(off.get("/chat/site/widget.js", &[]).await.status, 200);
}

#[tokio::test]
async fn the_widget_speaks_five_languages_whole() {
    let server = start(WebchatConfig::default()).await;
    let answer = server.get("/chat/site/words.json", &[("origin", "https://anywhere.example")]).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let words = answer.json();
    let languages: Vec<&String> = words.as_object().unwrap().keys().collect();
    assert_eq!(languages, ["de", "es", "fr", "pl"]);
    for (language, phrases) in words.as_object().unwrap() {
        let phrases = phrases.as_array().unwrap();
        assert_eq!(phrases.len(), 28, "{language}");
        for n in [16, 17, 18, 19, 25] {
            assert!(phrases[n].as_str().unwrap().contains("{}"), "{language}: phrase {n} has no place for its value");
        }
    }
}

#[tokio::test]
async fn a_plain_request_to_the_socket_is_refused() {
    let server = start(WebchatConfig::default()).await;
    let plain = server.get("/chat/site/ws", &[]).await;
    assert!((400..500).contains(&plain.status), "{}", plain.status);
}

#[tokio::test]
async fn the_widget_is_at_most_twenty_kilobytes_on_the_wire() {
    use std::io::Read as _;
    let server = start(WebchatConfig::default()).await;
    let plain = server.get("/chat/site/widget.js", &[]).await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
    let packed = server.get("/chat/site/widget.js", &[("accept-encoding", "br, gzip;q=0.8")]).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() <= 20_000, "{} bytes", packed.body.len());
    let mut script = vec![];
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_end(&mut script).unwrap();
    assert!(script == plain.body, "not the same script");
    for refused in ["identity", "gzip;q=0", "x-gzip-like"] {
        let answer = server.get("/chat/site/widget.js", &[("accept-encoding", refused)]).await;
        assert_eq!(answer.header("content-encoding"), None, "{refused}");
    }
    let etag = plain.header("etag").unwrap();
    assert_eq!(Some(etag), packed.header("etag"));
    let again = server.get("/chat/site/widget.js", &[("if-none-match", etag), ("accept-encoding", "gzip")]).await;
    assert_eq!(again.status, 304);
}
