//! The dialogue on one connection: greeting, TLS, login, and mails one after the other.

use super::{Ended, config, login};
use crate::compose::Mail;
use crate::config::{Server, Tls};
use crate::connect::{self, Io};
use crate::submission::{self, Reply, Stage};
use lettre::Address;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use switchboard_adapter_sdk::classify::Class;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// The longest line of a reply; the protocol allows 512 bytes.
const MAX_LINE: u64 = 4096;
/// The most lines of one.
const MAX_LINES: usize = 128;
/// A server that refuses a mail while it is on its way says so before it hangs up.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the server says that it can.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offers {
    /// The largest mail, in bytes.
    pub size: Option<usize>,
    pub eight_bit: bool,
    pub utf8: bool,
    pub dsn: bool,
    pub starttls: bool,
    pub auth: Vec<String>,
}

impl Offers {
    fn read(lines: &[String]) -> Offers {
        let mut offers = Offers::default();
        // The first line is a greeting.
        for line in lines.iter().skip(1) {
            let mut words = line.split([' ', '=']).filter(|w| !w.is_empty()).map(str::to_ascii_uppercase);
            match words.next().as_deref() {
                Some("SIZE") => offers.size = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0),
                Some("8BITMIME") => offers.eight_bit = true,
                Some("SMTPUTF8") => offers.utf8 = true,
                Some("DSN") => offers.dsn = true,
                Some("STARTTLS") => offers.starttls = true,
                Some("AUTH") => offers.auth.extend(words),
                _ => {}
            }
        }
        offers
    }
}

/// An open connection that mails can be handed to.
pub(super) struct Dialogue {
    io: BufReader<Io>,
    offers: Offers,
}

impl Dialogue {
    /// Connects, greets, encrypts and logs in. `stage` says how far it came.
    pub async fn open(server: &Server, stage: &mut Stage) -> Result<Dialogue, Ended> {
        *stage = Stage::Connect;
        let (io, ours) = connect::open(server).await?;
        let mut dialogue = Dialogue { io: BufReader::new(io), offers: Offers::default() };
        dialogue.expect(220).await?;
        dialogue.hello(ours).await?;
        if server.tls == Tls::StartTls {
            dialogue = dialogue.start_tls(server).await?;
            dialogue.hello(ours).await?;
        }
        if let Some((user, login)) = &server.account {
            *stage = Stage::Authenticate;
            let steps = login::steps(user, login, &dialogue.offers.auth).await?;
            dialogue.log_in(&steps).await?;
        }
        Ok(dialogue)
    }

    /// Our address stands for our name, which a server need not be able to look up.
    async fn hello(&mut self, ours: SocketAddr) -> Result<(), Ended> {
        let name = match ours.ip().to_canonical() {
            IpAddr::V4(ip) => format!("[{ip}]"),
            IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
        };
        self.say(&format!("EHLO {name}")).await?;
        let (code, lines) = self.lines().await?;
        if code != 250 {
            return Err(answer(code, &lines));
        }
        self.offers = Offers::read(&lines);
        Ok(())
    }

    async fn start_tls(mut self, server: &Server) -> Result<Dialogue, Ended> {
        if !self.offers.starttls {
            return Err(config(
                "the mail server offers no STARTTLS, so nothing is sent to it: check `smtp.tls` and `smtp.port`",
            ));
        }
        self.say("STARTTLS").await?;
        self.expect(220).await?;
        // What came before the handshake was not said by whom the certificate names.
        if !self.io.buffer().is_empty() {
            return Err(config("the mail server spoke before the encryption began, as somebody on the way would"));
        }
        let io = connect::encrypted(self.io.into_inner(), server).await?;
        Ok(Dialogue { io: BufReader::new(io), offers: Offers::default() })
    }

    async fn log_in(&mut self, steps: &login::Steps) -> Result<(), Ended> {
        self.say(&steps.start).await?;
        for answer in &steps.answers {
            match self.reply().await? {
                reply if reply.code == 334 => self.say(answer).await?,
                reply if reply.code == 235 => return Ok(()),
                reply => return Err(refused(steps, reply)),
            }
        }
        match self.reply().await? {
            reply if reply.code == 235 => Ok(()),
            reply => Err(refused(steps, reply)),
        }
    }

    /// Hands one mail in. `stage` says how far it came; the server has it once this returns, which is who gets no copy and why.
    pub async fn hand_in(&mut self, mail: &Mail, stage: &mut Stage) -> Result<Vec<String>, Ended> {
        *stage = Stage::Sender;
        let sender = self.sender(mail)?;
        self.say(&sender).await?;
        self.expect(250).await?;
        *stage = Stage::Recipient;
        let reply = self.recipient(&mail.to).await?;
        if !matches!(reply.code, 250 | 251) {
            return Err(Ended::Answered(reply));
        }
        let mut left_out = vec![];
        for copy in &mail.cc {
            match self.recipient(copy).await? {
                reply if matches!(reply.code, 250 | 251) => {}
                reply if reply.code == 421 => return Err(Ended::Answered(reply)),
                reply => left_out.push(format!("{copy}: {}", submission::refusal(Stage::Recipient, &reply))),
            }
        }
        *stage = Stage::Data;
        self.say("DATA").await?;
        self.expect(354).await?;
        if let Err(error) = self.body(&mail.bytes).await {
            return Err(self.last_words(error).await);
        }
        // From here on the server may have it. What was written before is no mail without this line.
        *stage = Stage::Sent;
        if let Err(error) = self.last_line().await {
            // It did not leave this machine as a whole, so it ends nothing there.
            *stage = Stage::Data;
            return Err(self.last_words(error).await);
        }
        let reply = self.reply().await?;
        if (200..300).contains(&reply.code) { Ok(left_out) } else { Err(Ended::Answered(reply)) }
    }

    /// `MAIL FROM`, with what the server must be told, or the reason why it need not be asked.
    fn sender(&self, mail: &Mail) -> Result<String, Ended> {
        let refuse = |what: String| Err(Ended::By(Box::new(Class::PermanentMessage.attempt(None, what))));
        let mut line = format!("MAIL FROM:<{}>", mail.from);
        if let Some(most) = self.offers.size {
            let has = mail.bytes.len();
            if has > most {
                return refuse(format!("the mail has {has} bytes, and the mail server takes {most}: leave files out"));
            }
            line.push_str(&format!(" SIZE={has}"));
        }
        let mut addresses = [&mail.from, &mail.to].into_iter().chain(&mail.cc);
        if !addresses.all(|a| a.to_string().is_ascii()) {
            if !self.offers.utf8 {
                return refuse("the mail server takes no addresses with letters beyond ASCII (SMTPUTF8)".into());
            }
            line.push_str(" SMTPUTF8");
        }
        if !mail.bytes.is_ascii() {
            if !self.offers.eight_bit {
                return refuse("the mail server takes no mails with bytes beyond ASCII (8BITMIME)".into());
            }
            line.push_str(" BODY=8BITMIME");
        }
        if self.offers.dsn {
            line.push_str(&format!(" RET=HDRS ENVID={}", xtext(&mail.message_id)));
        }
        Ok(line)
    }

    async fn recipient(&mut self, to: &Address) -> Result<Reply, Ended> {
        let to = to.to_string();
        let line = match self.offers.dsn {
            true if to.is_ascii() => format!("RCPT TO:<{to}> NOTIFY=FAILURE,DELAY ORCPT=rfc822;{}", xtext(&to)),
            true => format!("RCPT TO:<{to}> NOTIFY=FAILURE,DELAY"),
            false => format!("RCPT TO:<{to}>"),
        };
        self.say(&line).await?;
        self.reply().await
    }

    /// Every line with its own end and no other, and none that is a dot alone.
    async fn body(&mut self, mail: &[u8]) -> Result<(), std::io::Error> {
        let io = self.io.get_mut();
        for chunk in wire(mail).chunks(64 * 1024) {
            io.write_all(chunk).await?;
        }
        io.flush().await
    }

    async fn last_line(&mut self) -> Result<(), std::io::Error> {
        let io = self.io.get_mut();
        io.write_all(b".\r\n").await?;
        io.flush().await
    }

    /// What a server said before it hung up.
    async fn last_words(&mut self, error: std::io::Error) -> Ended {
        match tokio::time::timeout(LAST_WORDS, self.reply()).await {
            Ok(Ok(reply)) if reply.code >= 400 => Ended::Answered(reply),
            _ => Ended::Lost(error.to_string()),
        }
    }

    /// Ends it politely; nobody waits for what is said to that.
    pub async fn quit(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.say("QUIT")).await;
    }

    /// What a refused mail left behind is forgotten, so that the next one can follow.
    pub async fn reset(&mut self) -> Result<(), Ended> {
        self.say("RSET").await?;
        self.expect(250).await
    }

    async fn say(&mut self, line: &str) -> Result<(), Ended> {
        // An address or a name with an end of line in it would be a command of its own.
        if line.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(Ended::By(Box::new(Class::PermanentMessage.attempt(None, "the address holds an end of line"))));
        }
        let io = self.io.get_mut();
        io.write_all(format!("{line}\r\n").as_bytes()).await?;
        Ok(io.flush().await?)
    }

    async fn expect(&mut self, code: u16) -> Result<(), Ended> {
        let reply = self.reply().await?;
        if reply.code == code { Ok(()) } else { Err(Ended::Answered(reply)) }
    }

    async fn reply(&mut self) -> Result<Reply, Ended> {
        let (code, lines) = self.lines().await?;
        Ok(read(code, &lines))
    }

    /// One reply: its code, and its lines without it.
    async fn lines(&mut self) -> Result<(u16, Vec<String>), Ended> {
        let mut lines = vec![];
        loop {
            let mut line = vec![];
            let read = (&mut self.io).take(MAX_LINE).read_until(b'\n', &mut line).await?;
            if read == 0 {
                return Err(Ended::Lost("the mail server closed the connection".into()));
            }
            let text = String::from_utf8_lossy(&line);
            let whole = text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t));
            let code = whole.and_then(|t| t.get(..3)).filter(|c| c.bytes().all(|b| b.is_ascii_digit()));
            let (Some(whole), Some(code)) = (whole, code.and_then(|c| c.parse::<u16>().ok())) else {
                return Err(Ended::Lost("what answers there does not speak SMTP".into()));
            };
            lines.push(whole.get(4..).unwrap_or_default().to_owned());
            match whole.as_bytes().get(3) {
                Some(b'-') if lines.len() < MAX_LINES => {}
                None | Some(b' ') => return Ok((code, lines)),
                _ => return Err(Ended::Lost("what answers there does not speak SMTP".into())),
            }
        }
    }
}

fn read(code: u16, lines: &[String]) -> Reply {
    Reply::read(code, &lines.iter().map(String::as_str).collect::<Vec<_>>())
}

fn answer(code: u16, lines: &[String]) -> Ended {
    Ended::Answered(read(code, lines))
}

/// A refused password is for somebody to mend; a refused token may have been too old.
fn refused(steps: &login::Steps, reply: Reply) -> Ended {
    if steps.by_token && reply.code >= 500 {
        let what =
            format!("the mail server refuses the OAuth 2 token ({} {}): check what makes it", reply.code, reply.text);
        return Ended::By(Box::new(Class::Retry.attempt(reply.status.as_deref(), what)));
    }
    Ended::Answered(reply)
}

/// A mail as it travels: lines end with CR and LF, and one that begins with a dot gets another (RFC 5321 §4.5.2).
pub(super) fn wire(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + mail.len() / 64 + 2);
    let mut start = true;
    let mut bytes = mail.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' | b'\n' => {
                if byte == b'\r' && bytes.peek() == Some(&b'\n') {
                    bytes.next();
                }
                out.extend_from_slice(b"\r\n");
                start = true;
                continue;
            }
            b'.' if start => out.extend_from_slice(b".."),
            byte => out.push(byte),
        }
        start = false;
    }
    if !start {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// RFC 3461 §4: what is no plain letter as `+XX`.
fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'+' && byte != b'=' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("+{byte:02X}"));
        }
    }
    out
}
