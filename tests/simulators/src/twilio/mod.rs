//! Twilio's messaging API and webhooks.

mod create;
mod list;
mod server;
mod webhooks;

pub use webhooks::{Delivery, InboundSms, Signature, sign};

use crate::{
    http::{Answer, Request},
    lock,
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch};

/// Who the simulated account is.
#[derive(Clone, Debug)]
pub struct TwilioSimConfig {
    pub account_sid: String,
    pub auth_token: String,
    pub api_key: Option<(String, String)>,
    /// The account's senders: numbers, short codes, `whatsapp:+…`.
    pub numbers: Vec<String>,
    pub services: Vec<String>,
    /// Port 0 is a free one.
    pub listen: SocketAddr,
}

impl Default for TwilioSimConfig {
    fn default() -> Self {
        TwilioSimConfig {
            account_sid: "AC00000000000000000000000000000000".into(),
            auth_token: "12345".into(),
            api_key: None,
            numbers: vec!["+15005550006".into()],
            services: vec![],
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

/// What the simulator does with a request to send.
#[derive(Clone, Debug)]
pub enum Step {
    /// Takes it: 201.
    Accept,
    /// Refuses it with an error object; `retry_after` in seconds.
    Refuse { status: u16, code: u32, retry_after: Option<u64> },
    /// Answers this, and takes nothing.
    Answer { status: u16, body: String },
    /// Takes the message, and answers this instead of 201.
    AcceptAndAnswer { status: u16, body: String },
    /// Takes the message, and resets the connection without an answer.
    AcceptAndReset,
    /// Reads the request, takes nothing, and resets the connection.
    ReadAndReset,
    /// Resets the connection as soon as the request begins to arrive.
    Reset,
    /// Waits first; what follows is decided then.
    Delay(Duration, Box<Step>),
}

impl Step {
    #[must_use]
    pub fn rate_limited(retry_after: Option<u64>) -> Step {
        Step::Refuse { status: 429, code: 20_429, retry_after }
    }

    #[must_use]
    pub fn unauthorized() -> Step {
        Step::Refuse { status: 401, code: 20_003, retry_after: None }
    }

    /// An error of the request, such as 21211.
    #[must_use]
    pub fn bad_request(code: u32) -> Step {
        Step::Refuse { status: 400, code, retry_after: None }
    }

    #[must_use]
    pub fn server_error() -> Step {
        Step::Answer { status: 500, body: String::new() }
    }

    #[must_use]
    pub fn garbage() -> Step {
        Step::Answer { status: 200, body: "<html>It works!</html>".into() }
    }
}

/// A status callback that follows an accepted message.
#[derive(Clone, Debug)]
pub struct Callback {
    pub status: String,
    pub error_code: Option<u32>,
    /// Before the 201 is written, as happens in reality.
    pub before_answer: bool,
    pub delay: Duration,
}

impl Callback {
    #[must_use]
    pub fn after(status: &str) -> Callback {
        Callback { status: status.into(), error_code: None, before_answer: false, delay: Duration::ZERO }
    }

    #[must_use]
    pub fn before(status: &str) -> Callback {
        Callback { before_answer: true, ..Callback::after(status) }
    }

    #[must_use]
    pub fn failed(code: u32) -> Callback {
        Callback { error_code: Some(code), ..Callback::after("failed") }
    }
}

/// A message that the simulator has, in either direction.
#[derive(Clone, Debug)]
pub struct Sent {
    pub sid: String,
    pub inbound: bool,
    pub from: String,
    pub to: String,
    pub body: String,
    pub media: Vec<String>,
    pub service: Option<String>,
    pub status: String,
    pub error_code: Option<u32>,
    pub at: jiff::Timestamp,
    pub status_callback: Option<String>,
    /// Out of the callback's query: the daemon's token of the send.
    pub send: Option<String>,
    pub part: Option<u16>,
    pub n: Option<u32>,
}

/// A running simulator; clones are handles on the same one. It stops with the last of them.
#[derive(Clone)]
pub struct TwilioSim {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    config: TwilioSimConfig,
    address: SocketAddr,
    state: Mutex<State>,
    /// The number of accepted messages, to wait on.
    accepted: watch::Sender<usize>,
    /// The number of callbacks that were answered or failed.
    called_back: watch::Sender<usize>,
    /// False while the simulator is down. Its end stops the server.
    up: watch::Sender<bool>,
    /// Whether the port is open.
    listening: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    messages: Vec<Sent>,
    sends_read: usize,
    violations: Vec<String>,
    script: VecDeque<Step>,
    script_to: HashMap<String, VecDeque<Step>>,
    otherwise: Option<Step>,
    callbacks: Vec<Callback>,
    opted_out: HashSet<String>,
    routes: Vec<(String, String)>,
    files: HashMap<String, (String, Vec<u8>)>,
    file_failures: VecDeque<u16>,
    files_asked: usize,
    callback_answers: Vec<u16>,
    sids: u64,
}

impl TwilioSim {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start(config: TwilioSimConfig) -> io::Result<TwilioSim> {
        let listener = TcpListener::bind(config.listen).await?;
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            config,
            state: Mutex::default(),
            accepted: watch::Sender::new(0),
            called_back: watch::Sender::new(0),
            up: watch::Sender::new(true),
            listening: watch::Sender::new(true),
        });
        tokio::spawn(server::run(listener, Arc::downgrade(&shared), shared.up.subscribe()));
        Ok(TwilioSim { shared })
    }

    /// What to configure as `base_url`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    #[must_use]
    pub fn config(&self) -> &TwilioSimConfig {
        &self.shared.config
    }

    /// The next send meets this step; steps queue up.
    pub fn script(&self, step: Step) {
        lock(&self.shared.state).script.push_back(step);
    }

    /// The next send to this number meets this step, before those of [`TwilioSim::script`]. [`Step::Reset`] is not possible
    /// here: it comes before the number is read.
    pub fn script_to(&self, to: &str, step: Step) {
        lock(&self.shared.state).script_to.entry(to.into()).or_default().push_back(step);
    }

    /// What happens when nothing is scripted; at first [`Step::Accept`].
    pub fn otherwise(&self, step: Step) {
        lock(&self.shared.state).otherwise = Some(step);
    }

    /// The callbacks that follow every accepted message, in this order, however wrong.
    pub fn callbacks(&self, callbacks: Vec<Callback>) {
        lock(&self.shared.state).callbacks = callbacks;
    }

    /// Requests to addresses under `public` go to `local` instead; signatures are made for `public`.
    pub fn route(&self, public: &str, local: &str) {
        lock(&self.shared.state).routes.push((public.into(), local.into()));
    }

    /// Sends to this number are refused with 21610.
    pub fn opt_out(&self, number: &str) {
        lock(&self.shared.state).opted_out.insert(number.into());
    }

    /// Takes that back, as a START to Twilio does.
    pub fn opt_in(&self, number: &str) {
        lock(&self.shared.state).opted_out.remove(number);
    }

    /// Stops listening and breaks every connection, so that connecting fails; or listens again.
    pub async fn set_up(&self, up: bool) {
        let mut listening = self.shared.listening.subscribe();
        self.shared.up.send_replace(up);
        let _ = listening.wait_for(|listening| *listening == up).await;
    }

    /// Messages taken from the daemon, oldest first.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        lock(&self.shared.state).messages.iter().filter(|message| !message.inbound).cloned().collect()
    }

    /// Requests to send that were read, whatever became of them.
    #[must_use]
    pub fn sends_read(&self) -> usize {
        lock(&self.shared.state).sends_read
    }

    /// What no correct client would have sent.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        lock(&self.shared.state).violations.clone()
    }

    /// What the daemon answered to callbacks, in order of their answers; 0 is no answer.
    #[must_use]
    pub fn callback_answers(&self) -> Vec<u16> {
        lock(&self.shared.state).callback_answers.clone()
    }

    /// Waits until `n` messages were taken; false when the limit came first.
    pub async fn wait_for_sent(&self, n: usize, limit: Duration) -> bool {
        reached(self.shared.accepted.subscribe(), n, limit).await
    }

    /// Waits until `n` callbacks were answered or failed; false when the limit came first.
    pub async fn wait_for_callbacks(&self, n: usize, limit: Duration) -> bool {
        reached(self.shared.called_back.subscribe(), n, limit).await
    }

    /// Keeps a file as the media of a message, and gives the address under which webhooks name it. Fetching it needs the
    /// account's credentials, and leads over a redirect to another origin, which must not see them.
    #[must_use]
    pub fn add_file(&self, content_type: &str, bytes: &[u8]) -> String {
        let id = self.shared.new_sid("ME");
        let path = format!("/2010-04-01/Accounts/{}/Messages/MM1/Media/{id}", self.shared.config.account_sid);
        lock(&self.shared.state).files.insert(id, (content_type.into(), bytes.to_vec()));
        format!("{}{path}", self.base_url())
    }
}

impl TwilioSim {
    /// The next requests for files fail with these statuses.
    pub fn fail_files(&self, statuses: impl IntoIterator<Item = u16>) {
        lock(&self.shared.state).file_failures.extend(statuses);
    }

    /// Whatever failures are left do not happen.
    pub fn mend_files(&self) {
        lock(&self.shared.state).file_failures.clear();
    }

    /// Requests for files, whatever became of them.
    #[must_use]
    pub fn files_asked(&self) -> usize {
        lock(&self.shared.state).files_asked
    }
}

impl Shared {
    fn new_sid(&self, prefix: &str) -> String {
        let mut state = lock(&self.state);
        state.sids += 1;
        format!("{prefix}{:032x}", state.sids)
    }

    fn violation(&self, what: impl Into<String>) {
        lock(&self.state).violations.push(what.into());
    }

    fn list_path(&self) -> String {
        format!("/2010-04-01/Accounts/{}/Messages.json", self.config.account_sid)
    }

    fn is_authorized(&self, request: &Request) -> bool {
        let basic = |user: &str, password: &str| {
            let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{user}:{password}"));
            request.header("authorization") == Some(&format!("Basic {pair}"))
        };
        basic(&self.config.account_sid, &self.config.auth_token)
            || self.config.api_key.as_ref().is_some_and(|(sid, secret)| basic(sid, secret))
    }
}

async fn reached(mut count: watch::Receiver<usize>, n: usize, limit: Duration) -> bool {
    matches!(tokio::time::timeout(limit, count.wait_for(|count| *count >= n)).await, Ok(Ok(_)))
}

fn error(status: u16, code: u32, message: &str) -> Answer {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    let body = serde_json::json!({ "code": code, "message": message, "more_info": more_info, "status": status });
    Answer::json(status, &body)
}
