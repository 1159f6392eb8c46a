//! The centre behind a gateway, as a gateway sees it: it answers every PDU, refuses what it is told to, and tells what became of a text.

use switchboard_simulators::{Fate, SmppCentre};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const BIND_TRANSCEIVER: u32 = 0x09;
const SUBMIT_SM: u32 = 0x04;
const DELIVER_SM: u32 = 0x05;
const UNBIND: u32 = 0x06;
const ANSWER: u32 = 0x8000_0000;

/// A gateway that is not careful: it sends whatever it is told.
struct Client {
    stream: TcpStream,
    next: u32,
}

impl Client {
    async fn new(centre: &SmppCentre) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", centre.port())).await.expect("the centre listens");
        Client { stream, next: 0 }
    }

    async fn sends(&mut self, command: u32, sequence: u32, body: &[u8]) {
        let length = u32::try_from(body.len() + 16).expect("a short one");
        let head = [length, command, 0, sequence].map(u32::to_be_bytes).concat();
        self.stream.write_all(&[head.as_slice(), body].concat()).await.expect("the centre reads");
    }

    /// Command, status, sequence number and body of what comes next.
    async fn reads(&mut self) -> (u32, u32, u32, Vec<u8>) {
        let length = self.stream.read_u32().await.expect("a PDU");
        let mut head = [0; 3];
        for word in &mut head {
            *word = self.stream.read_u32().await.expect("a PDU");
        }
        let mut body = vec![0; length as usize - 16];
        self.stream.read_exact(&mut body).await.expect("a PDU");
        (head[0], head[1], head[2], body)
    }

    /// What something is answered: its status and body.
    async fn asks(&mut self, command: u32, body: &[u8]) -> (u32, Vec<u8>) {
        self.next += 1;
        let sequence = self.next;
        self.sends(command, sequence, body).await;
        let (answered, status, of, body) = self.reads().await;
        assert_eq!((answered & ANSWER, of), (ANSWER, sequence));
        (status, body)
    }
}

/// The body of a `submit_sm`, with a receipt wanted.
fn text(from: &str, to: &str, said: &str) -> Vec<u8> {
    let mut body = vec![0, 0, 1];
    body.extend(from.as_bytes());
    body.extend([0, 1, 1]);
    body.extend(to.as_bytes());
    body.extend([0, 0, 0, 0, 0, 0, 1, 0, 0, 0, u8::try_from(said.len()).expect("a short one")]);
    body.extend(said.as_bytes());
    body
}

#[tokio::test]
async fn a_gateway_logs_in_hands_over_hears_what_became_of_it_and_what_people_write() {
    let centre = SmppCentre::start().await.expect("a port");
    assert!(!centre.say("+15005550009", "24453", "too early"), "nobody is logged in");
    let mut gateway = Client::new(&centre).await;
    assert_eq!(gateway.asks(BIND_TRANSCEIVER, b"shop\0secret\0\0\x34\0\0\0").await, (0, b"centre\0".to_vec()));
    assert_eq!(centre.sessions(), 1);
    centre.next(Fate::refused(0x58));
    assert_eq!(gateway.asks(SUBMIT_SM, &text("24453", "15005550009", "hi")).await, (0x58, vec![]));
    assert_eq!(centre.submitted(), [], "what is refused is not taken");
    assert_eq!(gateway.asks(SUBMIT_SM, &text("24453", "15005550009", "hi")[..20]).await.0, 0x08, "cut off");
    assert_eq!(gateway.asks(0x0103, b"").await.0, 0x03, "a command that it does not have");

    centre.next(Fate::taken(&["ACCEPTD", "DELIVRD"]));
    let (status, id) = gateway.asks(SUBMIT_SM, &text("24453", "15005550009", "hi")).await;
    let taken = centre.submitted().remove(0);
    assert_eq!((status, id), (0, format!("{}\0", taken.id).into_bytes()));
    assert_eq!((taken.from.as_str(), taken.to.as_str(), taken.text().as_str()), ("24453", "+15005550009", "hi"));
    for stat in ["ACCEPTD", "DELIVRD"] {
        let (command, _, sequence, body) = gateway.reads().await;
        let told = String::from_utf8_lossy(&body).into_owned();
        assert!(command == DELIVER_SM && told.contains(&format!("id:{}", taken.id)), "{told}");
        assert!(told.contains(&format!("stat:{stat} ")), "{told}");
        gateway.sends(DELIVER_SM | ANSWER, sequence, b"\0").await;
    }

    assert!(centre.say("+15005550009", "24453", "hej"));
    let (command, _, sequence, body) = gateway.reads().await;
    let said: Vec<u8> = "hej".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert!(command == DELIVER_SM && body.ends_with(&said), "{body:?}");
    // It hangs up once that is answered, and the gateway has read everything.
    let answers = async {
        gateway.sends(DELIVER_SM | ANSWER, sequence, b"\0").await;
        let mut rest = vec![];
        gateway.stream.read_to_end(&mut rest).await.expect("the end");
        drop(gateway);
        rest
    };
    let (rest, ()) = tokio::join!(answers, centre.hang_up());
    assert_eq!((rest, centre.sessions()), (vec![], 0));
    let mut shut_out = Client::new(&centre).await;
    assert_eq!(shut_out.stream.read(&mut [0; 1]).await.expect("an end"), 0, "nobody logs in");
    centre.opens();
    let mut again = Client::new(&centre).await;
    assert_eq!(again.asks(BIND_TRANSCEIVER, b"shop\0secret\0\0\x34\0\0\0").await.0, 0);
    assert_eq!(again.asks(UNBIND, b"").await.0, 0);
}
