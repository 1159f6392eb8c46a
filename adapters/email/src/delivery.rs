//! The words of SMTP (RFC 5321) and LMTP (RFC 2033) for a site whose mail server hands us its mail, without a socket: bytes in,
//! answers and whole mails out.
//!
//! It takes mail for our own addresses and for nobody else. Lines end in CRLF and mails in CRLF.CRLF: what another reader could take
//! for the end of a mail is refused, so that nobody smuggles a second mail in a first one.

use crate::address;

/// The longest line of a command, with SMTPUTF8 and its parameters.
const MAX_LINE: usize = 2048;
/// Recipients of one mail.
const MAX_RECIPIENTS: usize = 100;
/// Mistakes after which whoever talks to us is left.
const MAX_MISTAKES: u32 = 20;
/// Commands of one connection.
const MAX_COMMANDS: u32 = 10_000;
/// Mail servers that a mail may have passed (RFC 5321 §6.3).
const MAX_HOPS: usize = 50;
/// A mail that is too large is read to its end, up to so many times the size that we take.
const PATIENCE: usize = 4;
/// More than the lines have that [`with_trace`] writes, for as many recipients as there may be.
pub const MAX_TRACE: usize = 64 * 1024;

/// Which of the two is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Lmtp,
    Smtp,
}

/// What holds for every connection of a listener.
#[derive(Clone, Debug)]
pub struct Rules {
    pub protocol: Protocol,
    /// What we call ourselves.
    pub name: String,
    /// Our addresses, canonical and without a tag.
    pub ours: Vec<String>,
    /// Whether an address of ours may have a tag.
    pub plus_addresses: bool,
    /// The largest mail, in bytes.
    pub max_mail: usize,
}

/// A mail with its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Empty for what must not be answered.
    pub from: String,
    /// Addresses of ours.
    pub to: Vec<String>,
    /// What the client calls itself, in harmless letters.
    pub helo: String,
    pub mail: Vec<u8>,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Answer(String),
    /// Store this, then call [`Dialogue::settled`] and answer what it says.
    Store(Delivered),
    /// Answer, and end the connection.
    Close(String),
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is in the log.
    Durable,
    /// There is no room.
    Full,
    /// The log did not answer.
    Later,
}

enum State {
    Commands,
    /// Within a mail: what is kept of it.
    Data(Data),
}

#[derive(Default)]
struct Data {
    mail: Vec<u8>,
    /// All bytes of it, also those that are not kept.
    seen: usize,
    /// A CR or LF stood alone.
    bare: bool,
    /// The line before ended in a LF alone: a dot after it ends nothing.
    torn: bool,
    /// What of the line that is held was looked through for its end.
    searched: usize,
}

/// One connection.
pub struct Dialogue {
    rules: Rules,
    held: Vec<u8>,
    state: State,
    helo: Option<String>,
    from: Option<String>,
    to: Vec<String>,
    mistakes: u32,
    commands: u32,
    closed: bool,
    /// To how many recipients the mail in hand is answered.
    owed: usize,
}

impl Dialogue {
    #[must_use]
    pub fn new(rules: Rules) -> Dialogue {
        Dialogue {
            rules,
            held: vec![],
            state: State::Commands,
            helo: None,
            from: None,
            to: vec![],
            mistakes: 0,
            commands: 0,
            closed: false,
            owed: 0,
        }
    }

    #[must_use]
    pub fn greeting(&self) -> String {
        let protocol = match self.rules.protocol {
            Protocol::Lmtp => "LMTP",
            Protocol::Smtp => "ESMTP",
        };
        format!("220 {} {protocol} Switchboard\r\n", self.rules.name)
    }

    /// Takes what arrived. Call [`Dialogue::step`] until it has nothing to say before the next call, so that no more is held than
    /// one read brings.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.held.extend_from_slice(bytes);
        }
    }

    /// What is to be done with what arrived; `None` when more has to arrive.
    pub fn step(&mut self) -> Option<Step> {
        if self.closed {
            return None;
        }
        let step = match &mut self.state {
            State::Commands => self.command(),
            State::Data(_) => self.data(),
        };
        self.closed = matches!(step, Some(Step::Close(_)));
        step
    }

    /// The answer to a mail, once it is known what became of it. LMTP wants one a recipient.
    pub fn settled(&mut self, settled: Settled) -> String {
        let answer = match settled {
            Settled::Durable => "250 2.0.0 it is kept\r\n",
            Settled::Full => "452 4.3.1 there is no room now\r\n",
            Settled::Later => "451 4.3.0 it cannot be kept now\r\n",
        };
        answer.repeat(std::mem::take(&mut self.owed))
    }

    fn command(&mut self) -> Option<Step> {
        let Some(end) = self.held.iter().position(|b| *b == b'\n') else {
            let long = self.held.len() > MAX_LINE;
            return long.then(|| Step::Close("500 5.5.2 the line is too long\r\n".into()));
        };
        let rest = self.held.split_off(end + 1);
        let line = std::mem::replace(&mut self.held, rest);
        let Some(line) = line.strip_suffix(b"\r\n").filter(|l| l.len() <= MAX_LINE && !l.contains(&b'\r')) else {
            return Some(Step::Close("500 5.5.2 lines end in CR LF\r\n".into()));
        };
        self.commands += 1;
        if self.commands > MAX_COMMANDS {
            return Some(Step::Close("421 4.7.0 that was enough for one connection\r\n".into()));
        }
        let Ok(line) = std::str::from_utf8(line) else { return Some(self.mistake("500 5.5.2 this is no UTF-8")) };
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(self.obey(&verb.to_ascii_uppercase(), rest.trim()))
    }

    fn obey(&mut self, verb: &str, rest: &str) -> Step {
        let answer = |text: &str| Step::Answer(format!("{text}\r\n"));
        match (verb, self.rules.protocol) {
            ("LHLO", Protocol::Lmtp) | ("EHLO", Protocol::Smtp) => self.hello(rest, true),
            ("HELO", Protocol::Smtp) => self.hello(rest, false),
            ("LHLO" | "EHLO" | "HELO", _) => self.mistake("500 5.5.1 the other protocol is spoken here"),
            ("MAIL", _) => self.mail_from(rest),
            ("RCPT", _) => self.rcpt_to(rest),
            ("DATA", _) => self.begin(),
            ("RSET", _) => {
                self.forget();
                answer("250 2.0.0 forgotten")
            }
            ("NOOP", _) => answer("250 2.0.0 still here"),
            ("VRFY", _) => answer("252 2.1.5 try it"),
            ("QUIT", _) => Step::Close("221 2.0.0 bye\r\n".into()),
            _ => self.mistake("502 5.5.1 this is not known here"),
        }
    }

    fn mistake(&mut self, answer: &str) -> Step {
        self.mistakes += 1;
        if self.mistakes > MAX_MISTAKES {
            return Step::Close("421 4.7.0 too many mistakes\r\n".into());
        }
        Step::Answer(format!("{answer}\r\n"))
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }

    fn hello(&mut self, who: &str, extended: bool) -> Step {
        self.forget();
        let harmless = |c: &char| c.is_ascii_alphanumeric() || ".-_:[]".contains(*c);
        self.helo = Some(who.chars().filter(harmless).take(100).collect());
        let name = &self.rules.name;
        Step::Answer(if extended {
            format!(
                "250-{name}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE {}\r\n",
                self.rules.max_mail
            )
        } else {
            format!("250 {name}\r\n")
        })
    }

    fn mail_from(&mut self, rest: &str) -> Step {
        if self.helo.is_none() || self.from.is_some() {
            return self.mistake("503 5.5.1 not now");
        }
        let Some((from, parameters)) = path(rest, "FROM:") else {
            return self.mistake("501 5.5.4 write MAIL FROM:<address>");
        };
        let size = parameters
            .split_whitespace()
            .find_map(|p| p.to_ascii_uppercase().strip_prefix("SIZE=")?.parse::<u64>().ok());
        if size.is_some_and(|size| size > self.rules.max_mail as u64) {
            return Step::Answer(self.too_large());
        }
        if !from.is_empty() && !is_plain(from) {
            return self.mistake("501 5.1.7 this is no address");
        }
        self.from = Some(from.to_owned());
        Step::Answer("250 2.1.0 go on\r\n".into())
    }

    fn too_large(&self) -> String {
        format!("552 5.3.4 at most {} bytes are taken\r\n", self.rules.max_mail)
    }

    fn rcpt_to(&mut self, rest: &str) -> Step {
        if self.from.is_none() {
            return self.mistake("503 5.5.1 who is it from?");
        }
        let Some((to, _)) = path(rest, "TO:") else { return self.mistake("501 5.5.4 write RCPT TO:<address>") };
        if self.to.len() >= MAX_RECIPIENTS {
            return self.mistake("452 4.5.3 too many recipients");
        }
        if !is_plain(to) || !self.is_ours(to) {
            return self.mistake("550 5.1.1 no such mailbox here");
        }
        self.to.push(to.to_owned());
        Step::Answer("250 2.1.5 go on\r\n".into())
    }

    /// Mail for anybody else is not ours to take.
    fn is_ours(&self, to: &str) -> bool {
        let Some((base, tag, domain)) = address::detail(to) else { return false };
        let plain = address::canonical(&format!("{base}@{domain}"));
        (tag.is_none() || self.rules.plus_addresses) && self.rules.ours.contains(&plain)
    }

    fn begin(&mut self) -> Step {
        if self.from.is_none() || self.to.is_empty() {
            return self.mistake("503 5.5.1 for whom?");
        }
        // Nobody who waits for our answer has sent the mail already (RFC 2920 §3.1).
        if !self.held.is_empty() {
            return Step::Close("503 5.5.0 wait for the answer to DATA\r\n".into());
        }
        self.state = State::Data(Data::default());
        Step::Answer("354 go on, and end with a line of one dot\r\n".into())
    }

    fn data(&mut self) -> Option<Step> {
        let State::Data(data) = &mut self.state else { return None };
        let most = self.rules.max_mail;
        let whole = data.take(&mut self.held, most);
        if data.seen > most.saturating_mul(PATIENCE) {
            return Some(Step::Close(self.too_large()));
        }
        if !whole {
            return None;
        }
        let State::Data(data) = std::mem::replace(&mut self.state, State::Commands) else { return None };
        let (from, to) = (self.from.take().unwrap_or_default(), std::mem::take(&mut self.to));
        self.owed = if self.rules.protocol == Protocol::Lmtp { to.len() } else { 1 };
        let refused = if data.bare {
            Some("554 5.6.0 a line end that is not CR LF\r\n".to_owned())
        } else if data.seen > most {
            Some(self.too_large())
        } else if hops(&data.mail) > MAX_HOPS {
            Some("554 5.4.6 it goes in circles\r\n".to_owned())
        } else {
            None
        };
        Some(match refused {
            Some(answer) => Step::Answer(answer.repeat(std::mem::take(&mut self.owed))),
            None => Step::Store(Delivered { from, to, helo: self.helo.clone().unwrap_or_default(), mail: data.mail }),
        })
    }
}

impl Data {
    /// Takes whole lines out of what arrived, without the dots that were added to them; true at the line of one dot. What follows it
    /// stays.
    fn take(&mut self, held: &mut Vec<u8>, most: usize) -> bool {
        let mut begin = 0;
        let mut ended = false;
        while let Some(line) = held.get(begin..).and_then(|rest| {
            let known = std::mem::take(&mut self.searched);
            let end = known + rest.get(known..)?.iter().position(|b| *b == b'\n')?;
            rest.get(..=end)
        }) {
            begin += line.len();
            if line == b".\r\n" && !self.torn {
                ended = true;
                break;
            }
            self.keep(line, most);
        }
        // A line without an end is not waited for in memory, and not searched again for each piece of it that arrives.
        let waiting = held.len() - begin;
        if !ended && waiting > most.max(MAX_LINE) {
            self.seen += waiting;
            begin = held.len();
            self.bare = true;
            // What comes next is the rest of this line, and a dot there ends nothing.
            self.torn = true;
        } else if !ended {
            self.searched = waiting;
        }
        held.drain(..begin);
        ended
    }

    fn keep(&mut self, line: &[u8], most: usize) {
        let text = line.strip_suffix(b"\r\n");
        self.torn = text.is_none();
        self.bare |= text.is_none_or(|text| text.contains(&b'\r'));
        let line = line.strip_prefix(b".").unwrap_or(line);
        self.seen += line.len();
        if self.seen <= most && !self.bare {
            self.mail.extend_from_slice(line);
        } else {
            self.mail = vec![];
        }
    }
}

/// `<address>` after its word, and the parameters. A route before the address (RFC 5321 §4.1.2) is left out.
fn path<'a>(rest: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let start = rest.get(..word.len()).filter(|start| start.eq_ignore_ascii_case(word))?;
    let rest = rest.get(start.len()..)?.trim_start().strip_prefix('<')?;
    let (path, parameters) = rest.split_once('>')?;
    let address = if path.starts_with('@') { path.split_once(':').map_or("", |(_, address)| address) } else { path };
    Some((address, parameters))
}

/// Nothing that could become a header line of its own, or another address.
fn is_plain(address: &str) -> bool {
    address.len() <= 320
        && address.contains('@')
        && !address.chars().any(|c| c.is_control() || c.is_whitespace() || "<>,;".contains(c))
}

fn hops(mail: &[u8]) -> usize {
    let lines = mail.split(|b| *b == b'\n').take_while(|line| !matches!(line, [] | [b'\r']));
    lines.filter(|line| line.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"received:"))).count()
}

/// The mail with what its way to us says (RFC 5321 §4.4): where it came from and whom it was for.
#[must_use]
pub fn with_trace(delivered: &Delivered, peer: &str, protocol: Protocol, by: &str, date: &str) -> Vec<u8> {
    let mut head = format!("Return-Path: <{}>\r\n", delivered.from);
    for to in &delivered.to {
        head.push_str(&format!("Delivered-To: {to}\r\n"));
    }
    let with = if protocol == Protocol::Lmtp { "LMTP" } else { "ESMTP" };
    head.push_str(&format!("Received: from {} ([{peer}])\r\n\tby {by} with {with}; {date}\r\n", delivered.helo));
    let mut mail = head.into_bytes();
    mail.extend_from_slice(&delivered.mail);
    mail
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
