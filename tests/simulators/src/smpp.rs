//! An SMPP centre (SMPP 3.4): gateways log in, hand over messages, and get receipts and messages back. It is as small as a
//! gateway allows, and notes every message with its bytes.

use crate::lock;
use std::{
    collections::{BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

const SUBMIT_SM: u32 = 0x04;
const DELIVER_SM: u32 = 0x05;
const UNBIND: u32 = 0x06;
const ENQUIRE_LINK: u32 = 0x15;
const BINDS: [u32; 3] = [0x01, 0x02, 0x09];
const ANSWER: u32 = 0x8000_0000;
/// How long what was answered last may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);
const MAX_PDU: u32 = 64 * 1024;

/// A message as the gateway handed it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    pub from: String,
    pub to: String,
    /// 0 for septets, 8 for UCS-2.
    pub coding: u8,
    /// The user data header of a part of a longer text; empty for a whole one.
    pub header: Vec<u8>,
    pub data: Vec<u8>,
    /// A receipt is wanted.
    pub registered: bool,
    /// The centre's id of it.
    pub id: String,
}

impl Submitted {
    /// What it says, where its letters are ASCII in the septets of GSM, or UCS-2.
    #[must_use]
    pub fn text(&self) -> String {
        if self.coding != 8 {
            return String::from_utf8_lossy(&self.data).into_owned();
        }
        let units: Vec<u16> =
            self.data.chunks(2).map(|pair| pair.iter().fold(0, |n, b| n << 8 | u16::from(*b))).collect();
        String::from_utf16_lossy(&units)
    }
}

/// What becomes of the next message.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// The status that answers it; 0 takes it.
    pub status: u32,
    /// The states of the receipts that follow, as `DELIVRD`.
    pub receipts: Vec<&'static str>,
}

impl Fate {
    /// It is taken, and these receipts follow.
    #[must_use]
    pub fn taken(receipts: &[&'static str]) -> Fate {
        Fate { status: 0, receipts: receipts.to_vec() }
    }

    /// It is refused with this status.
    #[must_use]
    pub fn refused(status: u32) -> Fate {
        Fate { status, receipts: vec![] }
    }
}

/// To a gateway: a PDU, or `None` where the centre hangs up.
type Sender = mpsc::UnboundedSender<Option<Vec<u8>>>;

#[derive(Default)]
struct State {
    fates: VecDeque<Fate>,
    submitted: Vec<Submitted>,
    /// The gateways that are logged in.
    sessions: Vec<Sender>,
    next: u32,
    /// What was delivered and is not answered, by its sequence number.
    unanswered: BTreeSet<u32>,
    /// Connections of gateways.
    connections: usize,
    /// Nobody may log in, and nothing is taken.
    hung_up: bool,
}

impl State {
    fn next(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn deliver(&mut self, body: &[u8]) -> bool {
        let sequence = self.next();
        self.sessions.retain(|session| !session.is_closed());
        let Some(session) = self.sessions.last().filter(|_| !self.hung_up) else { return false };
        let is_sent = session.send(Some(pdu(DELIVER_SM, 0, sequence, body))).is_ok();
        self.unanswered.extend(is_sent.then_some(sequence));
        is_sent
    }
}

/// What the connections share; who waits for a change is told of each.
struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

/// The centre. It stops when it is dropped.
pub struct SmppCentre {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl SmppCentre {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<SmppCentre> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { state: Mutex::default(), changed: watch::Sender::new(()) });
        let state = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (input, output) = stream.into_split();
                if !lock(&state.state).hung_up {
                    tokio::spawn(serve(input, output, state.clone()));
                }
            }
        });
        Ok(SmppCentre { address, shared, task })
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What becomes of the next message; several calls queue up. Without one it is taken and delivered.
    pub fn next(&self, fate: Fate) {
        lock(&self.shared.state).fates.push_back(fate);
    }

    /// Everything that gateways handed over, in order.
    #[must_use]
    pub fn submitted(&self) -> Vec<Submitted> {
        lock(&self.shared.state).submitted.clone()
    }

    /// How many gateways are logged in.
    #[must_use]
    pub fn sessions(&self) -> usize {
        let mut state = lock(&self.shared.state);
        state.sessions.retain(|session| !session.is_closed());
        state.sessions.len()
    }

    /// Somebody sends a text in UCS-2 to a number of the gateway's; false where no gateway is logged in.
    pub fn say(&self, from: &str, to: &str, text: &str) -> bool {
        let data: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        lock(&self.shared.state).deliver(&message(from, to, 0, 8, &data))
    }

    /// Ends the connections so that both sides know the same of each message: what was delivered is answered, what was taken was
    /// answered for, and the gateway has read that and hung up as well. Nobody logs in until [`SmppCentre::opens`].
    pub async fn hang_up(&self) {
        let mut changed = self.shared.changed.subscribe();
        let _ = changed.wait_for(|()| lock(&self.shared.state).unanswered.is_empty()).await;
        {
            let mut state = lock(&self.shared.state);
            state.hung_up = true;
            for session in state.sessions.drain(..) {
                let _ = session.send(None);
            }
        }
        let _ = changed.wait_for(|()| lock(&self.shared.state).connections == 0).await;
    }

    /// Gateways may log in again.
    pub fn opens(&self) {
        lock(&self.shared.state).hung_up = false;
    }

    /// The same in septets, one in each byte.
    pub fn say_septets(&self, from: &str, to: &str, data: &[u8]) {
        lock(&self.shared.state).deliver(&message(from, to, 0, 0, data));
    }
}

impl Drop for SmppCentre {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn pdu(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 16).unwrap_or(u32::MAX);
    let head = [length, command, status, sequence].map(u32::to_be_bytes).concat();
    [head.as_slice(), body].concat()
}

/// The body of a `deliver_sm` (§4.6.1): source and destination are international numbers, or what they are.
fn message(from: &str, to: &str, class: u8, coding: u8, data: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    for number in [from, to] {
        let (kind, digits) = number.strip_prefix('+').map_or((0, number), |digits| (1, digits));
        body.extend([kind, 1]);
        body.extend(digits.as_bytes());
        body.push(0);
    }
    body.extend([class, 0, 0, 0, 0, 0, 0, coding, 0, u8::try_from(data.len()).unwrap_or(u8::MAX)]);
    body.extend(data.iter().take(255));
    body
}

fn receipt(of: &Submitted, stat: &str) -> Vec<u8> {
    let arrived = u8::from(stat == "DELIVRD");
    let text = format!(
        "id:{} sub:001 dlvrd:00{arrived} submit date:2611221000 done date:2611221001 stat:{stat} err:00{} text:",
        of.id,
        1 - arrived
    );
    message(&of.to, &of.from, 4, 0, text.as_bytes())
}

async fn serve(mut input: OwnedReadHalf, mut output: OwnedWriteHalf, shared: Arc<Shared>) {
    let (sender, mut waiting) = mpsc::unbounded_channel::<Option<Vec<u8>>>();
    lock(&shared.state).connections += 1;
    let mut writer = tokio::spawn(async move {
        while let Some(Some(pdu)) = waiting.recv().await {
            if output.write_all(&pdu).await.is_err() {
                return;
            }
        }
        let _ = output.shutdown().await;
    });
    while let Ok((command, sequence, body)) = read(&mut input).await {
        let goes_on = answer(command, sequence, &body, &sender, &mut lock(&shared.state));
        shared.changed.send_replace(());
        if !goes_on {
            break;
        }
    }
    // What was answered last is written before the connection ends.
    let _ = sender.send(None);
    // A gateway that stopped reading keeps nobody waiting.
    if timeout(LAST_WORDS, &mut writer).await.is_err() {
        writer.abort();
    }
    {
        let mut state = lock(&shared.state);
        state.connections -= 1;
        if state.connections == 0 {
            // Nobody is left who could answer.
            state.unanswered.clear();
        }
    }
    shared.changed.send_replace(());
}

async fn read(input: &mut OwnedReadHalf) -> io::Result<(u32, u32, Vec<u8>)> {
    let length = input.read_u32().await?;
    let (command, _status, sequence) = (input.read_u32().await?, input.read_u32().await?, input.read_u32().await?);
    if !(16..=MAX_PDU).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length as usize - 16];
    input.read_exact(&mut body).await?;
    Ok((command, sequence, body))
}

/// Answers while nothing else changes, so that the centre hangs up before or after; false ends the connection.
fn answer(command: u32, sequence: u32, body: &[u8], sender: &Sender, state: &mut State) -> bool {
    if state.hung_up {
        return true;
    }
    let answers = match command {
        bind if BINDS.contains(&bind) => {
            state.sessions.push(sender.clone());
            vec![pdu(bind | ANSWER, 0, sequence, b"centre\0")]
        }
        SUBMIT_SM => submitted(sequence, body, state),
        ENQUIRE_LINK | UNBIND => vec![pdu(command | ANSWER, 0, sequence, &[])],
        // Answers to what we delivered.
        command if command & ANSWER != 0 => {
            state.unanswered.remove(&sequence);
            vec![]
        }
        _ => vec![pdu(ANSWER, 0x03, sequence, &[])],
    };
    answers.into_iter().all(|pdu| sender.send(Some(pdu)).is_ok()) && command != UNBIND
}

/// What a message is answered, and the receipts that follow.
fn submitted(sequence: u32, body: &[u8], state: &mut State) -> Vec<Vec<u8>> {
    let fate = state.fates.pop_front().unwrap_or_else(|| Fate::taken(&["DELIVRD"]));
    let id = format!("{:010}", state.next());
    if fate.status != 0 {
        return vec![pdu(SUBMIT_SM | ANSWER, fate.status, sequence, &[])];
    }
    let Some(taken) = parse_submit(body, &id) else {
        return vec![pdu(SUBMIT_SM | ANSWER, 0x08, sequence, &[])];
    };
    let mut answers = vec![pdu(SUBMIT_SM | ANSWER, 0, sequence, format!("{id}\0").as_bytes())];
    if taken.registered {
        for stat in fate.receipts {
            let sequence = state.next();
            answers.push(pdu(DELIVER_SM, 0, sequence, &receipt(&taken, stat)));
        }
    }
    state.submitted.push(taken);
    answers
}

/// Reads the body of a `submit_sm` (§4.4.1).
fn parse_submit(body: &[u8], id: &str) -> Option<Submitted> {
    let mut at = 0;
    text_at(body, &mut at)?;
    let from = number_at(body, &mut at)?;
    let to = number_at(body, &mut at)?;
    let class = *body.get(at)?;
    at += 3;
    text_at(body, &mut at)?;
    text_at(body, &mut at)?;
    let registered = *body.get(at)? & 3 != 0;
    let coding = *body.get(at + 2)?;
    let length = usize::from(*body.get(at + 4)?);
    let data = body.get(at + 5..at + 5 + length)?;
    let header = if class & 0x40 == 0 { 0 } else { usize::from(*data.first()?) + 1 };
    let (header, data) = (data.get(..header)?.to_vec(), data.get(header..)?.to_vec());
    Some(Submitted { from, to, coding, header, data, registered, id: id.to_owned() })
}

fn text_at(body: &[u8], at: &mut usize) -> Option<String> {
    let rest = body.get(*at..)?;
    let end = rest.iter().position(|b| *b == 0)?;
    *at += end + 1;
    Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
}

fn number_at(body: &[u8], at: &mut usize) -> Option<String> {
    let kind = *body.get(*at)?;
    *at += 2;
    let digits = text_at(body, at)?;
    Some(if kind == 1 { format!("+{digits}") } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_back() {
        let body = message("+15551230001", "24453", 0x40, 8, &[5, 0, 3, 1, 2, 1, 0x04, 0x1f]);
        let read = parse_submit(&body, "7").unwrap();
        assert_eq!((read.from.as_str(), read.to.as_str(), read.coding), ("+15551230001", "24453", 8));
        assert_eq!((read.header, read.data), (vec![5, 0, 3, 1, 2, 1], vec![0x04, 0x1f]));
        for cut in 0..body.len() {
            assert_eq!(parse_submit(&body[..cut], "7"), None, "{cut}");
        }
    }
}
