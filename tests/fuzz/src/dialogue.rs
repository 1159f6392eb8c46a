//! What a mail server says to us (IMAP), and what whoever hands mail over says (LMTP, SMTP): any bytes, arriving in any pieces.

use switchboard_email::address;
use switchboard_email::delivery::{Dialogue, Protocol, Rules, Settled, Step};
use switchboard_email::imap::{Framer, Reply};

/// The one address of ours.
const OURS: &str = "support@desk.example";

/// The most bytes of a mail in both.
const MOST: usize = 4096;

/// Line ends, which a file of seeds with a line each cannot hold, are written as `\r\n` there.
fn spelt(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((byte, after)) = rest.split_first() {
        match rest.strip_prefix(br"\r\n") {
            Some(after) => {
                out.extend_from_slice(b"\r\n");
                rest = after;
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

/// The same responses come of what arrives at once and of what arrives byte by byte, and each of them is read.
pub fn answers_are_read(input: &[u8]) {
    let input = spelt(input);
    let responses = |piece: usize| {
        let mut framer = Framer::new(MOST);
        let mut found = vec![];
        for part in input.chunks(piece) {
            framer.push(part);
            loop {
                match framer.response() {
                    Ok(Some(response)) => found.push(response),
                    Ok(None) => break,
                    Err(_) => return (found, true),
                }
            }
        }
        (found, false)
    };
    let (whole, ended) = responses(input.len().max(1));
    let (pieces, given_up) = responses(1);
    if !ended {
        assert_eq!((&whole, false), (&pieces, given_up));
    }
    for response in whole.iter().chain(&pieces) {
        drop(Reply::read(response));
    }
}

/// Whatever is said, only mail for our addresses is taken, none that is too large, and none that another reader could take for two.
pub fn mail_is_taken(input: &[u8]) {
    let input = spelt(input);
    for (protocol, piece) in [(Protocol::Lmtp, input.len().max(1)), (Protocol::Smtp, 1), (Protocol::Lmtp, 7)] {
        let ours = vec![OURS.to_owned()];
        let rules = Rules { protocol, name: "mx.desk.example".into(), ours, plus_addresses: true, max_mail: MOST };
        let mut dialogue = Dialogue::new(rules);
        for part in input.chunks(piece) {
            dialogue.push(part);
            while let Some(step) = dialogue.step() {
                match step {
                    Step::Answer(said) | Step::Close(said) => assert!(said.ends_with("\r\n"), "{said}"),
                    Step::Store(taken) => {
                        assert!(!taken.to.is_empty() && taken.mail.len() <= MOST);
                        for to in &taken.to {
                            assert_eq!(address::without_tag(to), OURS, "{to}");
                        }
                        let lone = |pair: &[u8]| matches!(pair, [a, b] if (*a == b'\r') != (*b == b'\n'));
                        assert!(!taken.mail.windows(2).any(lone), "{:?}", String::from_utf8_lossy(&taken.mail));
                        assert!(!dialogue.settled(Settled::Durable).is_empty());
                    }
                }
            }
        }
    }
}
