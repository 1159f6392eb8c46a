//! A visitor's side of the wire, for tests: a socket that speaks JSON, and plain requests.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use switchboard::http::chat::{ChatState, ClientAddr, routes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

const PATIENCE: Duration = Duration::from_secs(10);

pub struct Server {
    pub addr: SocketAddr,
    pub state: ChatState,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(state: ChatState) -> Server {
        Server::start_at(state, "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(state: ChatState, addr: SocketAddr) -> Server {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = routes(state.clone()).layer(axum::middleware::from_fn(at));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Server { addr, state, task }
    }

    /// Ends without a word, as a crash does to those who listen.
    pub async fn stop(self) -> SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.addr
    }

    pub async fn visitor(&self) -> Visitor {
        self.visitor_from(None).await
    }

    pub async fn visitor_from(&self, origin: Option<&str>) -> Visitor {
        let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        self.handshake(&headers).await.expect("a socket")
    }

    /// A socket, or the status of the answer instead of one.
    pub async fn handshake(&self, headers: &[(&'static str, &str)]) -> Result<Visitor, u16> {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("ws://{}/chat/site/ws", self.addr).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Visitor { socket }),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A visitor who said hello: the socket and its welcome.
    pub async fn welcome(&self, hello: Value) -> (Visitor, Value) {
        let mut visitor = self.visitor().await;
        visitor.say(hello).await;
        let welcome = visitor.next().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        (visitor, welcome)
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", path, headers, b"").await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.request("POST", path, headers, body.to_string().as_bytes()).await
    }

    /// A request whose body begins and never ends; the answer comes with the task.
    pub async fn stalled(&self, path: &str, headers: &[(&str, &str)]) -> JoinHandle<Answer> {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let mut head =
            format!("POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 100\r\n", self.addr);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n0123456789").as_bytes()).await.unwrap();
        tokio::spawn(async move {
            let mut bytes = vec![];
            tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer in time").ok();
            Answer::read(&bytes)
        })
    }

    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.addr);
        if !headers.iter().any(|(name, _)| *name == "content-length") {
            head += &format!("content-length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        // The server may answer, and close, before it read everything.
        let _ = stream.write_all(body).await;
        let mut bytes = vec![];
        tokio::time::timeout(PATIENCE * 4, stream.read_to_end(&mut bytes)).await.expect("an answer in time").ok();
        Answer::read(&bytes)
    }
}

/// A request from where its test says, as the daemon's listener would note it.
async fn at(mut request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response {
    if let Some(ip) = request.headers().get("x-at").map(|v| v.to_str().unwrap().parse().unwrap()) {
        request.extensions_mut().insert(ClientAddr(ip));
    }
    next.run(request).await
}

pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Answer {
        let at = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = bytes[at + 4..].to_vec();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            body = unchunk(&body);
        }
        Answer { status, head, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|l| {
            let (key, value) = l.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&self.body)))
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    while let Some(at) = body.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..at]).unwrap(), 16).unwrap();
        out.extend_from_slice(&body[at + 2..at + 2 + size]);
        body = &body[at + 4 + size..];
    }
    out
}

pub struct Visitor {
    pub socket: WebSocketStream<TcpStream>,
}

impl Visitor {
    pub async fn say(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    pub async fn message(&mut self, client_id: &str, text: &str) {
        self.say(json!({ "type": "message", "client_id": client_id, "text": text })).await;
    }

    /// The next frame; pings are answered below.
    pub async fn next(&mut self) -> Value {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("not a frame: {other:?}"),
            }
        }
    }

    /// The next frame of a type, passing others.
    pub async fn until(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Waits for the end: the close code, and the frames before it.
    pub async fn closed(&mut self) -> (u16, Vec<Value>) {
        let mut frames = vec![];
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("an end in time") {
                Some(Ok(Message::Text(text))) => frames.push(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frames),
                Some(Ok(_)) => {}
                other => panic!("ended without a close code: {other:?} after {frames:?}"),
            }
        }
    }
}

pub fn hello() -> Value {
    json!({ "type": "hello", "v": 1 })
}

pub fn hello_again(welcome: &Value, after: u64) -> Value {
    json!({ "type": "hello", "v": 1, "token": welcome["token"], "resume_after": after })
}
