//! The listener, and what each path answers.

use super::{Shared, Step, create, error, list};
use crate::{
    http::{Answer, Connection, Request},
    lock,
};
use std::sync::{Arc, Weak};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(super) async fn run(listener: TcpListener, shared: Weak<Shared>, mut up: watch::Receiver<bool>) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.map(|(stream, _)| stream).ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stream = accepted => {
                if let Some(stream) = stream {
                    tokio::spawn(connection(stream, shared.clone(), up.clone()));
                }
            }
            changed = up.changed() => {
                if changed.is_err() {
                    return;
                }
                listener = None;
                if *up.borrow_and_update() {
                    listener = TcpListener::bind(address).await.ok();
                }
                if let Some(shared) = shared.upgrade() {
                    shared.listening.send_replace(listener.is_some());
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Weak<Shared>, mut up: watch::Receiver<bool>) {
    let mut connection = Connection::new(stream);
    let is_broken = tokio::select! {
        is_broken = serve(&mut connection, &shared) => is_broken,
        // Down, or the last handle has gone.
        _ = up.wait_for(|up| !up) => true,
    };
    if is_broken {
        connection.reset();
    }
}

/// What to do with the connection after a request.
enum Then {
    Write(Answer),
    Reset,
}

/// Serves until the client closes; true when the connection is to be reset.
async fn serve(connection: &mut Connection, shared: &Weak<Shared>) -> bool {
    while connection.has_begun().await {
        let Some(shared) = shared.upgrade() else { return true };
        if shared.take_reset() {
            return true;
        }
        let request = match connection.read().await {
            Ok(Some(request)) => request,
            Ok(None) => return false,
            Err(e) => {
                shared.violation(format!("not a request: {e}"));
                return true;
            }
        };
        match answer(&shared, &request).await {
            Then::Write(answer) => {
                let is_last = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                if connection.write(&answer).await.is_err() || is_last {
                    return false;
                }
            }
            Then::Reset => return true,
        }
    }
    false
}

async fn answer(shared: &Arc<Shared>, request: &Request) -> Then {
    let account = format!("/2010-04-01/Accounts/{}/", shared.config.account_sid);
    if let Some(id) = request.path.strip_prefix("/signed/") {
        if request.header("authorization").is_some() {
            shared.violation("credentials were shown to the host of the files");
        }
        return Then::Write(file(shared, id));
    }
    if request.path == "/sim/messages" {
        return Then::Write(list::everything(shared));
    }
    if request.path == "/sim/inbound" && request.method == "POST" {
        return Then::Write(super::webhooks::by_hand(shared, &request.body).await);
    }
    if !request.path.starts_with(&account) {
        shared.violation(format!("{} {}: no such resource", request.method, request.path));
        return Then::Write(error(404, 20_404, "The requested resource was not found"));
    }
    if !shared.is_authorized(request) {
        return Then::Write(error(401, 20_003, "Authenticate"));
    }
    if request.path == shared.list_path() {
        match request.method.as_str() {
            "POST" => return send(shared, request).await,
            "GET" => return Then::Write(list::page(shared, &request.query)),
            _ => {}
        }
    }
    if let (Some((message, "")), "GET") = (request.path.rsplit_once("/Media.json"), request.method.as_str()) {
        return Then::Write(list::media(shared, message.rsplit('/').next().unwrap_or_default()));
    }
    if let (Some((_, id)), "GET") = (request.path.rsplit_once("/Media/"), request.method.as_str()) {
        if let Some(status) = shared.next_file_step() {
            return Then::Write(error(status, 20_500, "As the script says"));
        }
        // `localhost` is another origin than the address.
        let to = format!("http://localhost:{}/signed/{id}", shared.address.port());
        return Then::Write(Answer::new(307, "text/plain", "").with("location", to));
    }
    shared.violation(format!("{} {}: no such resource", request.method, request.path));
    Then::Write(error(404, 20_404, "The requested resource was not found"))
}

fn file(shared: &Shared, id: &str) -> Answer {
    match lock(&shared.state).files.get(id) {
        Some((content_type, bytes)) => Answer::new(200, content_type, bytes.clone()),
        None => error(404, 20_404, "The requested resource was not found"),
    }
}

async fn send(shared: &Arc<Shared>, request: &Request) -> Then {
    lock(&shared.state).sends_read += 1;
    let checked = create::check(shared, request);
    let to = form_urlencoded::parse(&request.body).find(|(name, _)| name == "To").map(|(_, to)| to).unwrap_or_default();
    let mut step = shared.next_step(&to);
    while let Step::Delay(pause, next) = step {
        tokio::time::sleep(pause).await;
        step = *next;
    }
    match step {
        Step::Refuse { status, code, retry_after } => {
            let answer = error(status, code, "As the script says");
            return Then::Write(match retry_after {
                Some(seconds) => answer.with("retry-after", seconds.to_string()),
                None => answer,
            });
        }
        Step::Answer { status, body } => return Then::Write(Answer::new(status, "text/html", body)),
        Step::ReadAndReset | Step::Reset => return Then::Reset,
        Step::Accept | Step::AcceptAndAnswer { .. } | Step::AcceptAndReset | Step::Delay(..) => {}
    }
    let message = match checked {
        Ok(message) => message,
        Err(refusal) => return Then::Write(refusal),
    };
    let taken = create::take(shared, message).await;
    match step {
        Step::AcceptAndAnswer { status, body } => Then::Write(Answer::new(status, "text/html", body)),
        Step::AcceptAndReset => Then::Reset,
        _ => Then::Write(taken),
    }
}

impl Shared {
    fn next_step(&self, to: &str) -> Step {
        let mut state = lock(&self.state);
        let by_number = state.script_to.get_mut(to).and_then(std::collections::VecDeque::pop_front);
        by_number.or_else(|| state.script.pop_front()).or_else(|| state.otherwise.clone()).unwrap_or(Step::Accept)
    }

    /// The status with which the next request for a file fails, if it does.
    fn next_file_step(&self) -> Option<u16> {
        let mut state = lock(&self.state);
        state.files_asked += 1;
        state.file_failures.pop_front()
    }

    /// Whether the next step breaks the connection before anything is read.
    fn take_reset(&self) -> bool {
        let mut state = lock(&self.state);
        match (state.script.front(), &state.otherwise) {
            (Some(Step::Reset), _) => state.script.pop_front().is_some(),
            (None, Some(Step::Reset)) => true,
            _ => false,
        }
    }
}
