use switchboard_e2e::wire::{Messages, find};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What the replies of the benchmark's rule carry, so that the provider knows which message is answered.
pub const MARK: &str = "bench-";

/// A stub of the SMS provider that accepts everything at once and notes when each reply arrived.
pub struct Provider {
    pub address: SocketAddr,
    answered: Arc<AtomicU64>,
}

/// A reply's number and the moment when all of its request had arrived.
pub type Arrival = (u64, Instant);

impl Provider {
    /// Starts it. `arrivals`, if any, hears of every reply.
    pub async fn start(arrivals: Option<mpsc::UnboundedSender<Arrival>>) -> std::io::Result<Provider> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let answered = Arc::new(AtomicU64::new(0));
        let counter = answered.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, counter.clone(), arrivals.clone()));
            }
        });
        Ok(Provider { address, answered })
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests it has answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, answered: Arc<AtomicU64>, arrivals: Option<mpsc::UnboundedSender<Arrival>>) {
    let _ = stream.set_nodelay(true);
    let mut messages = Messages::new();
    while let Ok(Some(request)) = messages.next(&mut stream).await {
        let at = Instant::now();
        let post = request.starts_with(b"POST ");
        if post
            && let Some(arrivals) = &arrivals
            && let Some(number) = number(request)
        {
            let _ = arrivals.send((number, at));
        }
        let answer = if post { created(answered.load(Ordering::Relaxed)) } else { listed() };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if post {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The number after the mark in a request's body.
fn number(request: &[u8]) -> Option<u64> {
    let from = find(request, MARK.as_bytes())? + MARK.len();
    let digits: Vec<u8> = request[from..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

fn created(number: u64) -> String {
    let body = format!(
        r#"{{"sid":"SM{number:032x}","status":"queued","num_segments":"1","error_code":null,"error_message":null}}"#
    );
    format!("HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The list that the catch-up poll asks for: nothing was missed.
fn listed() -> String {
    let body = r#"{"messages":[],"next_page_uri":null}"#;
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
