use crate::http;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard_simulators::http::{Answer, Connection, Request, call};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Longer than a poll of the widget may take.
const ANSWER: Duration = Duration::from_secs(60);

/// A site with one page, on an origin of its own.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    page: Arc<Mutex<(String, String)>>,
    task: JoinHandle<()>,
}

impl Site {
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let page = Arc::new(Mutex::new((String::new(), String::new())));
        let shown = page.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shown = shown.clone();
                tokio::spawn(async move {
                    let mut connection = Connection::new(stream);
                    while let Ok(Some(request)) = connection.read().await {
                        let (policy, html) = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        let answer = if request.path == "/" {
                            Answer::new(200, "text/html; charset=utf-8", html).with("content-security-policy", policy)
                        } else {
                            Answer::new(404, "text/plain", "")
                        };
                        if connection.write(&answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Site { address, page, task }
    }

    /// What stands at `/`, and the policy that it is served with.
    pub fn show(&self, policy: &str, html: &str) {
        *self.page.lock().unwrap_or_else(PoisonError::into_inner) = (policy.to_owned(), html.to_owned());
    }

    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a [`Front`] does to a visitor's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The daemon never gets it.
    Refuse,
    /// The daemon gets it, and its answer is lost.
    LoseAnswer,
}

/// A proxy before the public listener, as some networks have one: plain requests pass, WebSockets do not.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    sockets: AtomicUsize,
    messages: AtomicUsize,
    mishaps: Mutex<VecDeque<Mishap>>,
}

impl Front {
    /// Before the listener at `target`, `http://…`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(target: &str) -> Front {
        // The client of the tests is made before anything waits for it.
        let _ = http();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            sockets: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
            mishaps: Mutex::default(),
        });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Front { address, shared, task }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to the next messages, one each.
    pub fn mishaps(&self, next: impl IntoIterator<Item = Mishap>) {
        self.shared.mishaps.lock().unwrap_or_else(PoisonError::into_inner).extend(next);
    }

    /// WebSockets that were refused.
    #[must_use]
    pub fn sockets_refused(&self) -> usize {
        self.shared.sockets.load(Ordering::SeqCst)
    }

    /// How often a message was posted, whatever became of it.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.shared.messages.load(Ordering::SeqCst)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream);
    while let Ok(Some(request)) = connection.read().await {
        let answer = pass(&shared, &request).await;
        if connection.write(&answer).await.is_err() {
            return;
        }
    }
}

async fn pass(shared: &Shared, request: &Request) -> Answer {
    if request.header("upgrade").is_some() {
        shared.sockets.fetch_add(1, Ordering::SeqCst);
        return Answer::new(403, "text/plain", "no upgrades here");
    }
    let said = request.method == "POST" && request.path.ends_with("/messages");
    let mishap = if said && request.body.windows(16).any(|w| w == b"\"type\":\"message\"") {
        shared.messages.fetch_add(1, Ordering::SeqCst);
        shared.mishaps.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    } else {
        None
    };
    let lost = || {
        let body = serde_json::json!({ "type": "error", "code": "unavailable", "retry_after_ms": 20 });
        let origin = request.header("origin").unwrap_or("null");
        Answer::json(503, &body).with("access-control-allow-origin", origin)
    };
    if mishap == Some(Mishap::Refuse) {
        return lost();
    }
    let Ok(answer) = forward(shared, request).await else { return Answer::new(502, "text/plain", "") };
    if mishap == Some(Mishap::LoseAnswer) { lost() } else { answer }
}

async fn forward(shared: &Shared, request: &Request) -> std::io::Result<Answer> {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let url = format!("{}{}{query}", shared.target, request.path);
    let own = ["host", "content-length", "connection"];
    let headers = request.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let headers: Vec<(&str, &str)> = headers.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut answer = call(&request.method, &url, &headers, &request.body, ANSWER).await?;
    answer.headers.retain(|(name, _)| !["content-length", "connection", "transfer-encoding"].contains(&name.as_str()));
    Ok(answer)
}
