use super::ChatItem;
use super::cors::{page, problem};
use super::session::{PAGE, Session, shown};
use super::state::{Addr, Channel, ChatState};
use super::wakes::{Signal, Wake};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use switchboard_webchat::{
    Ack, Bye, ClientFrame, Confirmations, ErrorCode, ErrorFrame, From, Hello, MAX_FRAME, MessageFrame, Queue, Read,
    ServerFrame, Speaker, TokenBucket, Typing,
};
use tokio::time::{Duration, Instant, sleep_until, timeout};

const UNAUTHORIZED: u16 = 4401;
const ORIGIN: u16 = 4403;
const IDLE: u16 = 4408;
const RATE: u16 = 4429;

/// What may wait for a visitor who does not read, in bytes.
const UNREAD: usize = 64 * 1024;
/// Larger messages are not even read; those between this and a frame's limit get an error that says so.
const MAX_READ: usize = 4 * MAX_FRAME;
const TYPING_EVERY: Duration = Duration::from_secs(2);

/// Why a socket ends: the close code, and a word for the other side.
struct End(u16, &'static str);

/// The client is gone, or does not read: nothing can be said any more.
const GONE: End = End(0, "");

pub(super) async fn upgrade(
    State(state): State<ChatState>,
    Path(channel): Path<String>,
    addr: Addr,
    headers: HeaderMap,
    ws: WebSocketUpgrade,
) -> Response {
    let Some(channel) = state.channel(&channel) else { return StatusCode::NOT_FOUND.into_response() };
    let admitted =
        page(&state, &channel, &headers, addr).and_then(|()| state.metered_address(&channel, &channel.strangers, addr));
    let seat = admitted.and_then(|()| {
        let seat = Arc::clone(&channel.seats).try_acquire_owned();
        seat.map_err(|_| state.refuse_for(&channel, ErrorCode::Busy, 5000))
    });
    let ws = ws.max_message_size(MAX_READ).max_frame_size(MAX_READ).write_buffer_size(0).max_write_buffer_size(UNREAD);
    match seat {
        Ok(seat) => ws.on_upgrade(move |socket| async move {
            serve(state, channel, socket, addr).await;
            drop(seat);
        }),
        Err(error) => turn_away(&state, ws, error),
    }
}

/// A browser is told why by a close code, which it shows to the page; a failed handshake it would not explain. But a socket
/// outlives its request, and so only some are told.
fn turn_away(state: &ChatState, ws: WebSocketUpgrade, error: ErrorFrame) -> Response {
    let Ok(place) = Arc::clone(&state.turned_away).try_acquire_owned() else { return problem(error) };
    let code = match error.code {
        ErrorCode::OriginRefused => ORIGIN,
        ErrorCode::Busy => close_code::AGAIN,
        _ => RATE,
    };
    let send = state.timing.send;
    ws.on_upgrade(move |socket| async move {
        let mut wire = Wire { socket, send };
        let _ = wire.send(&ServerFrame::Error(error)).await;
        wire.close(End(code, "refused")).await;
        drop(place);
    })
}

async fn serve(state: ChatState, channel: Arc<Channel>, socket: WebSocket, addr: Addr) {
    let _counted = state.metrics.opened();
    let mut wire = Wire { socket, send: state.timing.send };
    let end = match greet(&state, &channel, &mut wire, addr).await {
        Ok(mut talk) => {
            let end = talk.run(&mut wire).await;
            talk.flush().await;
            end
        }
        Err(end) => end,
    };
    wire.close(end).await;
}

/// The socket with its deadlines.
struct Wire {
    socket: WebSocket,
    send: Duration,
}

impl Wire {
    async fn send(&mut self, frame: &ServerFrame) -> Result<(), End> {
        self.put(Message::text(frame.to_json())).await
    }

    async fn put(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.send, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(GONE),
            Err(_) => Err(End(close_code::AGAIN, "not reading")),
        }
    }

    async fn close(mut self, end: End) {
        let End(code, reason) = end;
        if code == 0 {
            return;
        }
        let frame = CloseFrame { code, reason: reason.into() };
        // Waits for the other side's half of the handshake, so that our last words are not cut off by a reset.
        let _ = timeout(self.send.min(Duration::from_secs(2)), async {
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        })
        .await;
    }
}

/// Waits for the `hello`, and answers it with the welcome.
async fn greet(state: &ChatState, channel: &Arc<Channel>, wire: &mut Wire, addr: Addr) -> Result<Talk, End> {
    let hello = match timeout(state.timing.hello, first_frame(wire)).await {
        Ok(hello) => hello?,
        Err(_) => return Err(End(IDLE, "no hello")),
    };
    let session = match Session::open(state, channel, &hello) {
        Ok(session) => session,
        Err(error) => {
            wire.send(&ServerFrame::Error(error)).await?;
            return Err(End(UNAUTHORIZED, "unauthorized"));
        }
    };
    let most = channel.settings.limits.sockets_per_visitor as usize;
    let Some(mut wake) = state.wakes.listen(channel.id(), session.visitor.as_str(), most) else {
        wire.send(&ServerFrame::Error(state.refuse_for(channel, ErrorCode::Busy, 30_000))).await?;
        return Err(End(RATE, "too many windows"));
    };
    // Listening came first, so what happens while history is read is not missed.
    let seen = wake.seen();
    let limits = channel.settings.limits;
    let now = Instant::now();
    let mut talk = Talk {
        state: state.clone(),
        session,
        addr,
        wake,
        seen,
        cursor: hello.resume_after,
        position: None,
        bucket: TokenBucket::new(limits.rate, limits.burst, state.monotonic_ms()),
        strikes: 0,
        confirmations: Confirmations::default(),
        confirm_at: None,
        typing_until: now,
        alive: now,
    };
    talk.welcome(wire).await?;
    Ok(talk)
}

async fn first_frame(wire: &mut Wire) -> Result<Hello, End> {
    loop {
        match wire.socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                return match ClientFrame::parse(text.as_bytes(), MAX_FRAME) {
                    Ok(ClientFrame::Hello(hello)) => Ok(*hello),
                    _ => Err(End(UNAUTHORIZED, "say hello first")),
                };
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(End(UNAUTHORIZED, "say hello first")),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(GONE),
        }
    }
}

/// One visitor on one socket.
struct Talk {
    state: ChatState,
    session: Session,
    addr: Addr,
    wake: Wake,
    seen: Signal,
    /// The newest sequence that was sent.
    cursor: u64,
    position: Option<u32>,
    bucket: TokenBucket,
    /// Frames refused in a row.
    strikes: u32,
    confirmations: Confirmations,
    confirm_at: Option<Instant>,
    typing_until: Instant,
    alive: Instant,
}

impl Talk {
    async fn run(&mut self, wire: &mut Wire) -> End {
        let state = self.state.clone();
        let mut drained = std::pin::pin!(state.drained());
        let mut ping = tokio::time::interval_at(Instant::now() + self.state.timing.ping, self.state.timing.ping);
        loop {
            let confirm_at = self.confirm_at;
            let confirm_due = async move {
                match confirm_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let done = tokio::select! {
                // What was not read yet is a sign of life too.
                biased;
                () = &mut drained => {
                    let bye = ServerFrame::Bye(Bye { reason: "restart".into() });
                    let _ = wire.send(&bye).await;
                    Err(End(close_code::RESTART, "restart"))
                }
                received = wire.socket.recv() => match received {
                    Some(Ok(message)) => self.heard(message, wire).await,
                    Some(Err(_)) | None => Err(GONE),
                },
                signal = self.wake.changed() => self.signalled(signal, wire).await,
                () = confirm_due => { self.flush().await; Ok(()) }
                _ = ping.tick() => self.tick(wire).await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn tick(&mut self, wire: &mut Wire) -> Result<(), End> {
        if self.alive.elapsed() >= self.state.timing.idle {
            let _ = wire.send(&ServerFrame::Bye(Bye { reason: "idle".into() })).await;
            return Err(End(IDLE, "idle"));
        }
        // A browser answers by itself, even in a tab whose timers are throttled.
        wire.put(Message::Ping(bytes::Bytes::new())).await
    }

    async fn welcome(&mut self, wire: &mut Wire) -> Result<(), End> {
        let transcript = match self.session.transcript(&self.state, self.cursor, PAGE).await {
            Ok(transcript) => transcript,
            Err(error) => {
                wire.send(&ServerFrame::Error(error)).await?;
                return Err(End(close_code::AGAIN, "unavailable"));
            }
        };
        if transcript.reset {
            self.cursor = 0;
        }
        self.position = transcript.queue_position;
        let full = transcript.messages.len() >= PAGE;
        for item in &transcript.messages {
            self.passed(item);
        }
        let (welcome, rest) = self.session.welcome(&self.state, transcript);
        wire.send(&ServerFrame::Welcome(Box::new(welcome))).await?;
        for item in &rest {
            wire.send(&shown(item)).await?;
        }
        if full { self.catch_up(wire).await } else { Ok(()) }
    }

    fn passed(&mut self, item: &ChatItem) {
        self.cursor = self.cursor.max(item.seq);
        if !item.from_visitor {
            self.confirmations.sent(item.seq, item.status);
        }
    }

    /// Sends what history holds beyond the cursor. The socket is the buffer: nothing is read that it cannot take.
    async fn catch_up(&mut self, wire: &mut Wire) -> Result<(), End> {
        loop {
            // The log is away for a moment: whatever changes next, or the widget's next connection, brings the rest.
            let Ok(transcript) = self.session.transcript(&self.state, self.cursor, PAGE).await else { return Ok(()) };
            if transcript.reset {
                // The widget starts over with a new welcome.
                let _ = wire.send(&ServerFrame::Bye(Bye { reason: "reset".into() })).await;
                return Err(End(close_code::RESTART, "reset"));
            }
            for item in &transcript.messages {
                self.passed(item);
                wire.send(&shown(item)).await?;
            }
            if self.position != transcript.queue_position {
                self.position = transcript.queue_position;
                wire.send(&ServerFrame::Queue(Queue { position: self.position })).await?;
            }
            if transcript.messages.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn signalled(&mut self, signal: Signal, wire: &mut Wire) -> Result<(), End> {
        let before = std::mem::replace(&mut self.seen, signal);
        if before.typing != self.seen.typing {
            let from = From { kind: Speaker::Agent, name: self.seen.typist.clone() };
            wire.send(&ServerFrame::Typing(Typing { from })).await?;
        }
        if before.read_up_to != self.seen.read_up_to {
            wire.send(&ServerFrame::Read(Read { up_to_seq: self.seen.read_up_to })).await?;
        }
        if before.grew == self.seen.grew { Ok(()) } else { self.catch_up(wire).await }
    }

    async fn heard(&mut self, message: Message, wire: &mut Wire) -> Result<(), End> {
        self.alive = Instant::now();
        let text = match message {
            Message::Text(text) => text,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(GONE),
            Message::Binary(_) => return self.complain(wire, ErrorCode::BadFrame, None).await,
        };
        let frame = ClientFrame::parse(text.as_bytes(), MAX_FRAME);
        if let Err(wait) = self.bucket.take(self.state.monotonic_ms()) {
            return self.slow_down(wire, wait, frame.ok()).await;
        }
        match frame {
            Ok(frame) => {
                self.strikes = 0;
                self.answer(frame, wire).await
            }
            Err(switchboard_webchat::FrameError::TooLarge) => self.complain(wire, ErrorCode::TooLarge, None).await,
            Err(switchboard_webchat::FrameError::Unknown) => self.complain(wire, ErrorCode::BadFrame, None).await,
        }
    }

    async fn answer(&mut self, frame: ClientFrame, wire: &mut Wire) -> Result<(), End> {
        match frame {
            ClientFrame::Message(message) => {
                // What was being written was said: the next word begins something new, and is told at once.
                self.typing_until = Instant::now();
                let answer = match self.said(&message).await {
                    Ok(ack) => ServerFrame::Ack(ack),
                    Err(error) => ServerFrame::Error(error),
                };
                wire.send(&answer).await
            }
            ClientFrame::Ping => wire.send(&ServerFrame::Pong).await,
            ClientFrame::Typing => {
                if Instant::now() >= self.typing_until {
                    self.typing_until = Instant::now() + TYPING_EVERY;
                    self.state.backend.visitor_typing(self.session.channel.id(), self.session.visitor.as_str());
                }
                Ok(())
            }
            ClientFrame::Read { up_to_seq } => {
                let up_to = up_to_seq.min(self.cursor);
                self.claim(up_to, true);
                self.state.wakes.visitor_read(self.session.channel.id(), self.session.visitor.as_str(), up_to);
                Ok(())
            }
            ClientFrame::Delivered { up_to_seq } => {
                self.claim(up_to_seq.min(self.cursor), false);
                Ok(())
            }
            ClientFrame::Hello(_) => self.complain(wire, ErrorCode::BadFrame, None).await,
        }
    }

    async fn said(&mut self, message: &MessageFrame) -> Result<Ack, ErrorFrame> {
        let channel = &self.session.channel;
        let metered = self.state.metered_address(channel, &channel.messages, self.addr);
        metered.map_err(|e| ErrorFrame { client_id: Some(message.client_id.chars().take(64).collect()), ..e })?;
        self.session.say(&self.state, message, self.addr).await
    }

    fn claim(&mut self, up_to: u64, read: bool) {
        self.confirmations.claim(up_to, read);
        self.confirm_at.get_or_insert_with(|| Instant::now() + self.state.timing.confirm);
    }

    /// Records what was confirmed. A failure loses nothing that matters: the widget confirms again when it returns.
    async fn flush(&mut self) {
        self.confirm_at = None;
        for confirmed in self.confirmations.take() {
            let _ = self.session.confirm(&self.state, confirmed).await;
        }
    }

    async fn slow_down(&mut self, wire: &mut Wire, wait: u64, frame: Option<ClientFrame>) -> Result<(), End> {
        self.strikes += 1;
        let mut error = self.state.refuse_for(&self.session.channel, ErrorCode::RateLimited, wait);
        if let Some(ClientFrame::Message(m)) = frame {
            error.client_id = Some(m.client_id.chars().take(64).collect());
        }
        wire.send(&ServerFrame::Error(error)).await?;
        // One who does not listen to twice the burst of warnings is no widget.
        if self.strikes > 2 * self.session.channel.settings.limits.burst { Err(End(RATE, "rate")) } else { Ok(()) }
    }

    async fn complain(&mut self, wire: &mut Wire, code: ErrorCode, client_id: Option<String>) -> Result<(), End> {
        let error = ErrorFrame { client_id, ..self.state.refuse(&self.session.channel, code, "") };
        wire.send(&ServerFrame::Error(error)).await
    }
}
