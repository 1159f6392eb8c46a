use crate::wire::{Messages, find};
use crate::{ACCOUNT_SID, AUTH_TOKEN, Dice, OUR_NUMBER, Shop, Sms, eventually, sid};
use base64::Engine;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the provider does with the next send, once.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Accepts it, later.
    Slow(Duration),
    /// 429; nothing was sent.
    TooMany { retry_after: Option<u64> },
    /// A documented refusal.
    Refused { status: u16, code: u32 },
    /// A status without a body that explains it.
    Status(u16),
    /// Accepts it, and resets the connection instead of answering.
    ResetAfterRequest,
    /// Reads it and never answers.
    Silence,
    /// Answers what is no answer.
    Garbage,
}

/// A text that the provider accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub sid: String,
    pub to: String,
    pub from: String,
    pub body: String,
    pub status_callback: Option<String>,
}

/// The SMS provider, in this process, so that it outlives the daemon and counts independently of it. It refuses what Twilio
/// refuses: another account, other credentials, a sender that is not ours, fields that do not exist.
#[derive(Debug)]
pub struct Provider {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    sent: Vec<Sent>,
    requests: usize,
    faults: VecDeque<Fault>,
    delay: Duration,
    dice: Dice,
    complaints: Vec<String>,
}

impl Provider {
    pub async fn start() -> Provider {
        let state = State {
            sent: vec![],
            requests: 0,
            faults: VecDeque::new(),
            delay: Duration::ZERO,
            dice: Dice::new(1),
            complaints: vec![],
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for the provider");
        let address = listener.local_addr().expect("the provider's address");
        let provider = Provider { address, state: Arc::new(Mutex::new(state)), serving: Mutex::new(None) };
        provider.listen(listener);
        provider
    }

    fn listen(&self, listener: TcpListener) {
        let state = self.state.clone();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, state.clone()));
            }
        });
        *self.serving.lock().expect("the provider's task") = Some(task);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the provider's state")
    }

    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What becomes of the next send; several calls queue up.
    pub fn next(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Every answer comes after up to this long.
    pub fn delay_up_to(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Refuses connections and cuts those that are open.
    ///
    /// # Panics
    /// When it is down already.
    pub async fn down(&self) {
        let task = self.serving.lock().expect("the provider's task").take().expect("the provider is up");
        task.abort();
        let _ = task.await;
    }

    /// Listens again at the same address.
    pub async fn up(&self) {
        let listener = eventually("the provider's port", || async { TcpListener::bind(self.address).await }).await;
        self.listen(listener);
    }

    /// Every text that was accepted, in order.
    ///
    /// # Panics
    /// When a request was not one that Twilio would take.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        let state = self.state();
        assert!(state.complaints.is_empty(), "the provider complains: {:?}", state.complaints);
        state.sent.clone()
    }

    /// How many sends were asked for, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.state().requests
    }

    /// Waits until that many texts to `to` were accepted.
    pub async fn sent_to(&self, to: &str, count: usize) -> Vec<Sent> {
        eventually(&format!("{count} texts to {to}"), || async {
            let all = self.sent();
            let found: Vec<Sent> = all.iter().filter(|s| s.to == to).cloned().collect();
            if found.len() >= count { Ok(found) } else { Err(format!("{all:?}")) }
        })
        .await
    }

    /// Tells the shop what became of a text, at the address that came with it.
    ///
    /// # Panics
    /// When the daemon asked for no status callbacks, or refuses this one.
    pub async fn status(&self, sent: &Sent, status: &str, shop: &Shop) {
        let public = sent.status_callback.as_deref().expect("the daemon asks for status callbacks");
        let path = public.strip_prefix("https://hooks.shop.example").expect("a callback below the public address");
        let callback = Sms::status(public, &sent.sid, status).with("To", &sent.to);
        let answer = callback.deliver(&format!("{}{path}", shop.public())).await.expect("the daemon answers");
        assert_eq!(answer.status, 200, "a status callback was refused");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Ok(mut serving) = self.serving.lock()
            && let Some(task) = serving.take()
        {
            task.abort();
        }
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut messages = Messages::new();
    while let Ok(Some(bytes)) = messages.next(&mut stream).await {
        let request = Request::read(bytes);
        let (fault, delay) = {
            let mut state = state.lock().expect("the provider's state");
            let fault = request.post.then(|| state.faults.pop_front()).flatten();
            state.requests += usize::from(request.post);
            let most = state.delay.as_millis() as u64;
            (fault, state.dice.millis(most))
        };
        tokio::time::sleep(if let Some(Fault::Slow(delay)) = fault { delay } else { delay }).await;
        let answer = match fault {
            None | Some(Fault::Slow(_)) => take(&request, &state),
            Some(Fault::TooMany { retry_after }) => {
                let header = retry_after.map(|s| format!("Retry-After: {s}\r\n")).unwrap_or_default();
                answer(429, &header, r#"{"code":20429,"message":"Too Many Requests","status":429}"#)
            }
            Some(Fault::Refused { status, code }) => {
                answer(status, "", &format!(r#"{{"code":{code},"message":"no","more_info":"","status":{status}}}"#))
            }
            Some(Fault::Status(status)) => answer(status, "", ""),
            Some(Fault::Garbage) => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html>\0\0\0".to_owned(),
            Some(Fault::ResetAfterRequest) => {
                take(&request, &state);
                return;
            }
            Some(Fault::Silence) => {
                // Until the other side gives up.
                let _ = messages.next(&mut stream).await;
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

struct Request {
    post: bool,
    path: String,
    authorization: Option<String>,
    form: BTreeMap<String, String>,
}

impl Request {
    fn read(bytes: &[u8]) -> Request {
        let end = find(bytes, b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let body = bytes.get(end + 4..).unwrap_or_default();
        let mut first = head.split(' ');
        let post = first.next() == Some("POST");
        let path = first.next().unwrap_or_default().to_owned();
        let authorization = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
        });
        Request { post, path, authorization, form: form_urlencoded::parse(body).into_owned().collect() }
    }

    fn complaint(&self) -> Option<String> {
        let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{ACCOUNT_SID}:{AUTH_TOKEN}"));
        if self.authorization.as_deref() != Some(&format!("Basic {credentials}")) {
            return Some("other credentials than the account's".into());
        }
        let known = ["To", "From", "Body", "StatusCallback", "ValidityPeriod"];
        if let Some(unknown) = self.form.keys().find(|name| !known.contains(&name.as_str())) {
            return Some(format!("an unknown field {unknown}"));
        }
        (self.form.get("From").map(String::as_str) != Some(OUR_NUMBER)).then(|| "a sender that is not ours".into())
    }
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Accepts a send, or lists what was accepted: newest first, as Twilio does.
fn take(request: &Request, state: &Mutex<State>) -> String {
    let mut state = state.lock().expect("the provider's state");
    if !request.path.starts_with(&format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json")) {
        return answer(404, "", r#"{"code":20404,"message":"not found","status":404}"#);
    }
    if let Some(complaint) = request.complaint() {
        state.complaints.push(format!("{complaint}: {} {:?}", request.path, request.form));
    }
    if !request.post {
        return answer(200, "", r#"{"messages":[],"next_page_uri":null}"#);
    }
    let field = |name: &str| request.form.get(name).cloned();
    let sent = Sent {
        sid: sid(&format!("sent {}", state.sent.len())),
        to: field("To").unwrap_or_default(),
        from: field("From").unwrap_or_default(),
        body: field("Body").unwrap_or_default(),
        status_callback: field("StatusCallback"),
    };
    let body = format!(r#"{{"sid":"{}","status":"queued","error_code":null,"error_message":null}}"#, sent.sid);
    state.sent.push(sent);
    answer(201, "", &body)
}
