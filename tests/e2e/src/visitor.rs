use crate::Shop;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

const PATIENCE: Duration = Duration::from_secs(15);

/// A visitor's socket of the chat `site`.
#[derive(Debug)]
pub struct Visitor {
    socket: WebSocketStream<TcpStream>,
    /// What the daemon said first: token, replay and place.
    pub welcome: Value,
}

impl Visitor {
    /// Says hello at this edge: with a token, as the visitor that it is of, who has seen everything up to `after`.
    ///
    /// # Errors
    /// When the edge does not take sockets now.
    ///
    /// # Panics
    /// When the edge answers otherwise than with a welcome.
    pub async fn at(shop: &Shop, token: Option<&str>, after: u64) -> Result<Visitor, String> {
        let broken = |e: &dyn std::fmt::Display| e.to_string();
        let stream = TcpStream::connect(("127.0.0.1", shop.public_port)).await.map_err(|e| broken(&e))?;
        let url = format!("ws://127.0.0.1:{}/chat/site/ws", shop.public_port);
        let (mut socket, _) = client_async(url, stream).await.map_err(|e| broken(&e))?;
        let mut hello = json!({ "type": "hello", "v": 1 });
        if let Some(token) = token {
            hello = json!({ "type": "hello", "v": 1, "token": token, "resume_after": after });
        }
        socket.send(Message::text(hello.to_string())).await.map_err(|e| broken(&e))?;
        let mut visitor = Visitor { socket, welcome: Value::Null };
        visitor.welcome = visitor.next().await?;
        if visitor.welcome["type"] == "welcome" { Ok(visitor) } else { Err(visitor.welcome.to_string()) }
    }

    /// # Panics
    /// When the welcome has no token.
    #[must_use]
    pub fn token(&self) -> String {
        self.welcome["token"].as_str().expect("a visitor's token").to_owned()
    }

    /// # Errors
    /// When the socket ended.
    pub async fn write(&mut self, client_id: &str, text: &str) -> Result<(), String> {
        let frame = json!({ "type": "message", "client_id": client_id, "text": text });
        self.socket.send(Message::text(frame.to_string())).await.map_err(|e| e.to_string())
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the socket ended.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub async fn next(&mut self) -> Result<Value, String> {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(_))) | None => return Err("the socket was closed".into()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
            }
        }
    }

    /// The next frame of a type, passing others.
    ///
    /// # Errors
    /// When the socket ended.
    pub async fn until(&mut self, kind: &str) -> Result<Value, String> {
        loop {
            let frame = self.next().await?;
            if frame["type"] == kind {
                return Ok(frame);
            }
        }
    }
}
