use super::*;
use http::Method;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A server that answers each request with what `answer` makes of its head; `None` closes the connection instead.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

async fn serve(answer: impl Fn(usize, &str) -> Option<String> + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (seen, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
    let (heads, count, answer) = (seen.clone(), connections.clone(), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let (heads, answer) = (heads.clone(), answer.clone());
            tokio::spawn(async move {
                while let Some(head) = read_head(&mut stream).await {
                    let n = {
                        let mut heads = heads.lock().unwrap();
                        heads.push(head.clone());
                        heads.len()
                    };
                    let Some(bytes) = answer(n, &head) else { return };
                    if stream.write_all(bytes.as_bytes()).await.is_err() {
                        return;
                    }
                    if bytes.contains("close\r\n") {
                        return;
                    }
                }
            });
        }
    });
    Server { url, seen, connections }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\ncontent-type: text/x\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn redirect(to: &str) -> Option<String> {
    Some(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))
}

fn get(url: &str) -> Call {
    Call {
        method: Method::GET,
        url: url.into(),
        headers: vec![("authorization", "Basic c2VjcmV0".into())],
        body: CallBody::Empty,
        timeout: Duration::from_secs(10),
    }
}

fn post(url: &str, body: &'static str) -> Call {
    Call { method: Method::POST, body: CallBody::Bytes("text/plain", Bytes::from_static(body.as_bytes())), ..get(url) }
}

fn client() -> Client {
    Client::loopback_only().unwrap()
}

#[tokio::test]
async fn a_call_carries_its_parts_and_keeps_the_connection() {
    let server = serve(|_, _| ok("fine")).await;
    let client = client();
    for _ in 0..3 {
        let answer = client.call(post(&server.url, "To=x")).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"fine"[..]));
    }
    let head = server.seen.lock().unwrap()[0].clone();
    for part in
        ["post / http/1.1", "authorization: basic ", "content-type: text/plain", "user-agent: switchboard/", "To=x"]
    {
        assert!(head.contains(part), "{part} in {head}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = client().call(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap_err();
    assert!(matches!(&error, CallError::NotSent(_)), "{error}");
    assert!(
        !error.to_string().contains(&port.to_string()) || !error.to_string().contains("http://"),
        "no URL in {error}"
    );
}

#[tokio::test]
async fn a_failed_tls_handshake_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 this is no TLS\r\n\r\n").await.unwrap();
    });
    let error = client().call(post(&url, "x")).await.unwrap_err();
    assert!(matches!(error, CallError::NotSent(_)), "{error}");
}

#[tokio::test]
async fn a_connection_closed_after_the_request_is_lost_and_the_request_is_sent_once() {
    // The first answer leaves a kept connection, on which the second request is read and then dropped.
    let server = serve(|n, _| if n == 1 { ok("") } else { None }).await;
    let client = client();
    client.call(post(&server.url, "one")).await.unwrap();
    let error = client.call(post(&server.url, "two")).await.unwrap_err();
    assert!(matches!(error, CallError::Lost(_)), "{error}");
    assert_eq!(server.seen.lock().unwrap().len(), 2, "a written request is never repeated");
}

#[tokio::test]
async fn silence_is_lost_after_the_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let call = Call { timeout: Duration::from_millis(50), ..post(&url, "x") };
    let error = client().call(call).await.unwrap_err();
    assert!(matches!(&error, CallError::Lost(why) if why.contains("timed out")), "{error}");
}

/// What ended a fetch that may take 200 ms in all, and how long it took.
async fn gives_up(url: &str) -> (String, Duration) {
    let begun = tokio::time::Instant::now();
    let call = Call { timeout: Duration::from_millis(200), ..get(url) };
    let error = client().fetch(call, 1 << 20).await.expect_err("it does not end");
    (error.to_string(), begun.elapsed())
}

#[tokio::test]
async fn a_file_that_comes_byte_by_byte_without_end_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let (why, took) = gives_up(&url).await;
    assert!(why.contains("timed out"), "{why}");
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&took), "{took:?}");
    assert!(sent.load(Ordering::SeqCst) > 1, "each byte came before the one before it was old");
}

/// Its clock goes on only while nobody has anything to do, so that no machine is too slow for it.
#[tokio::test(start_paused = true)]
async fn redirects_that_take_their_time_have_one_time_between_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while read_head(&mut stream).await.is_some() {
            count.fetch_add(1, Ordering::SeqCst);
            // Less than the time of one call, and more than that of three.
            tokio::time::sleep(Duration::from_millis(90)).await;
            stream.write_all(redirect("/next").unwrap().as_bytes()).await.unwrap();
        }
    });
    let (why, took) = gives_up(&url).await;
    assert!(why.contains("timed out"), "{why}");
    assert!((200..210).contains(&took.as_millis()), "{took:?} for all of them together");
    assert_eq!(asked.load(Ordering::SeqCst), 3, "of the four that were allowed");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_lost() {
    let server =
        serve(|_, _| Some("HTTP/1.1 201 Created\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{\"si".into())).await;
    let error = client().call(post(&server.url, "x")).await.unwrap_err();
    assert!(matches!(error, CallError::Lost(_)), "{error}");
}

#[tokio::test]
async fn a_long_answer_is_cut() {
    let long = "x".repeat(BODY_LIMIT + 7);
    let server = serve(move |_, _| ok(&long)).await;
    assert_eq!(client().call(get(&server.url)).await.unwrap().body.len(), BODY_LIMIT);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let server = serve(|_, _| redirect("/elsewhere")).await;
    assert_eq!(client().call(post(&server.url, "x")).await.unwrap().status, 302);
    assert_eq!(server.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn other_schemes_and_other_hosts_are_refused_before_a_byte_leaves() {
    for url in
        ["file:///etc/passwd", "ftp://127.0.0.1/", "http://", "nonsense", "https://example.org/", "http://10.0.0.1/"]
    {
        let error = client().call(get(url)).await.unwrap_err();
        assert!(matches!(error, CallError::NotSent(_)), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_header_that_could_split_the_request_is_refused() {
    let call = Call { headers: vec![("authorization", "a\r\nx: y".into())], ..get("http://127.0.0.1:1/") };
    let error = client().call(call).await.unwrap_err();
    assert!(matches!(&error, CallError::NotSent(why) if !why.contains('a') || !why.contains("x: y")), "{error}");
}

#[tokio::test]
async fn a_fetch_keeps_credentials_on_its_origin_only() {
    let storage = serve(|_, head| if head.starts_with("get /last") { ok("picture") } else { redirect("/last") }).await;
    let away = storage.url.clone() + "/signed";
    let provider =
        serve(move |_, head| if head.starts_with("get /media") { redirect("/moved") } else { redirect(&away) }).await;
    let file = client().fetch(get(&format!("{}/media", provider.url)), 100).await.unwrap();
    assert_eq!(file, File { bytes: Bytes::from_static(b"picture"), content_type: Some("text/x".into()) });
    let with_credentials = |server: &Server| -> Vec<bool> {
        server.seen.lock().unwrap().iter().map(|head| head.contains("authorization")).collect()
    };
    assert_eq!(with_credentials(&provider), [true, true]);
    assert_eq!(with_credentials(&storage), [false, false], "not even on its second redirect");
}

#[tokio::test]
async fn a_fetch_ends_at_the_fourth_redirect_a_bad_status_and_its_size() {
    let server = serve(|_, head| match head.split(' ').nth(1) {
        Some("/loop") => redirect("/loop"),
        Some("/gone") => Some("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into()),
        Some("/file") => redirect("file:///etc/passwd"),
        Some("/chunks") => Some(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n".into(),
        ),
        _ => ok("123456789"),
    })
    .await;
    let client = client();
    let fetch = async |path: &str, limit| client.fetch(get(&format!("{}{path}", server.url)), limit).await;
    assert!(matches!(fetch("/loop", 9).await, Err(FetchError::Redirect(_))));
    assert_eq!(fetch("/gone", 9).await, Err(FetchError::Status(404)));
    assert!(matches!(fetch("/file", 9).await, Err(FetchError::Redirect(_))));
    assert_eq!(fetch("/", 8).await, Err(FetchError::TooLarge { limit: 8 }));
    assert_eq!(fetch("/chunks", 15).await, Err(FetchError::TooLarge { limit: 15 }));
    assert_eq!(fetch("/chunks", 16).await.unwrap().bytes.len(), 16);
    assert_eq!(fetch("/", 9).await.unwrap().bytes.len(), 9);
}

#[test]
fn a_redirect_never_leads_inside_or_out_of_tls() {
    let client = Client::new().unwrap();
    let from = Url::parse("https://api.twilio.com/x").unwrap();
    for (to, allowed) in [
        ("https://media.example.org/a?sig=1", true),
        ("/y", true),
        ("http://media.example.org/a", false),
        ("https://127.0.0.1/", false),
        ("https://localhost/", false),
        ("https://169.254.169.254/latest", false),
        ("https://[::ffff:10.0.0.1]/", false),
        ("https://[fd00::1]/", false),
        ("https://0.0.0.0/", false),
        ("gopher://example.org/", false),
    ] {
        assert_eq!(client.redirected(&from, to).is_ok(), allowed, "{to}");
    }
}

#[test]
fn a_proxy_must_be_a_url() {
    assert!(matches!(Client::with_proxy("http://["), Err(ClientError::Proxy(_))));
    Client::with_proxy("http://127.0.0.1:3128").unwrap();
}

#[tokio::test]
async fn a_name_that_leads_into_a_private_network_has_no_address_for_files() {
    let name = "localhost".parse::<Name>().unwrap();
    let error = OutsideOnly.resolve(name).await.err().expect("localhost is this machine");
    assert!(error.to_string().contains("private network"), "{error}");
}

#[test]
fn addresses_that_outsiders_must_not_make_us_visit() {
    for inside in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fd00::1",
        "fe80::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "192.0.0.170",
        "198.18.0.1",
        "198.19.255.255",
        "::10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::8.8.8.8",
        "2002:a00:1::1",
        "2002:7f00:1::",
    ] {
        assert!(is_internal_ip(inside.parse().unwrap()), "{inside}");
    }
    for outside in [
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "192.0.1.1",
        "198.20.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ] {
        assert!(!is_internal_ip(outside.parse().unwrap()), "{outside}");
    }
}

#[tokio::test]
async fn addresses_that_were_called_are_shown_to_nobody() {
    let server = serve(|_, _| Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into())).await;
    let client = Client::loopback_only().unwrap();
    let url = format!("{}/v26.0/1/messages?access_token=sesame-42&appsecret_proof=abcdef", server.url);
    let call =
        Call { method: Method::POST, url, headers: vec![], body: CallBody::Empty, timeout: Duration::from_secs(5) };
    client.call(call).await.unwrap();
    assert!(!client.known.lock().unwrap().is_empty(), "it is kept, to be called again");
    let shown = format!("{client:?}");
    assert!(!shown.contains("sesame") && !shown.contains("abcdef"), "{shown}");
}
