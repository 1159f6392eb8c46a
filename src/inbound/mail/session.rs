//! One connection to an IMAP server: logged in, with a folder open.

use super::Trouble;
use super::token::{Credential, credential};
use std::collections::BTreeSet;
use std::time::Duration;
use switchboard_adapter_sdk::Secret;
use switchboard_email::connect::{self, Io};
use switchboard_email::imap::command::{folder, oauthbearer, plain, quoted, xoauth2};
use switchboard_email::imap::{Code, Framer, Reply, Said};
use switchboard_email::{Server, Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

/// How long a server may be silent while it is asked something.
const PATIENCE: Duration = Duration::from_secs(90);
/// What is read at once.
const CHUNK: usize = 32 * 1024;
/// Bytes of one answer beside the mail in it.
const BESIDE: usize = 64 * 1024;

/// How a command ended.
pub(super) struct Ended {
    pub said: Said,
    pub code: Option<Code>,
    pub words: String,
}

impl Ended {
    pub fn is_ok(&self) -> bool {
        self.said == Said::Ok
    }
}

/// A folder as it was when it was opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Selected {
    pub validity: u32,
    /// The next UID; `None` from servers that do not say.
    pub uid_next: Option<u32>,
    pub exists: u32,
    pub permanent: Vec<String>,
    pub read_only: bool,
}

pub(super) struct Session {
    stream: Io,
    framer: Framer,
    chunk: Vec<u8>,
    capabilities: BTreeSet<String>,
    tags: u32,
    /// Mails in the folder, as far as it was told.
    exists: u32,
    /// There came more of them.
    news: bool,
}

fn lost(e: &dyn std::fmt::Display) -> Trouble {
    Trouble::Connection(e.to_string())
}

impl Session {
    /// Greets, encrypts where that comes second, and logs in.
    pub async fn open(stream: Io, server: &Server, max_mail: usize) -> Result<Session, Trouble> {
        let mut session = Session {
            stream,
            framer: Framer::new(max_mail + BESIDE),
            chunk: vec![0; CHUNK],
            capabilities: BTreeSet::new(),
            tags: 0,
            exists: 0,
            news: false,
        };
        let mut logged_in = session.greeted().await?;
        if server.tls == Tls::StartTls {
            if logged_in {
                // Whoever sits in between can say so, and everything would go on unencrypted.
                return Err(lost(&"the server greets as if we were logged in, before TLS"));
            }
            session = session.encrypted(server).await?;
            logged_in = false;
        }
        if session.capabilities.is_empty() {
            session.ask_capabilities().await?;
        }
        if let Some((user, login)) = server.account.as_ref().filter(|_| !logged_in) {
            let credential = credential(login).await.map_err(Trouble::Refused)?;
            session.log_in(user, &credential).await?;
        }
        Ok(session)
    }

    async fn greeted(&mut self) -> Result<bool, Trouble> {
        match self.reply().await? {
            Reply::Told { said: Said::Ok, code, .. } => {
                self.learn(code.as_ref());
                Ok(false)
            }
            Reply::Told { said: Said::Preauth, code, .. } => {
                self.learn(code.as_ref());
                Ok(true)
            }
            Reply::Told { words, .. } => Err(lost(&format!("the server will not talk: {words}"))),
            _ => Err(lost(&"this is not an IMAP server")),
        }
    }

    async fn encrypted(mut self, server: &Server) -> Result<Session, Trouble> {
        let ended = self.command("STARTTLS").await?;
        if !ended.is_ok() {
            return Err(Trouble::Refused(format!("the server has no STARTTLS: {}; set `tls`", ended.words)));
        }
        // What came before the handshake was written by anybody, and would be taken for the server's own words.
        if !self.framer.is_empty() {
            return Err(lost(&"something was said between STARTTLS and TLS: somebody may be in between"));
        }
        let stream = connect::encrypted(self.stream, server).await?;
        // What was said before counts for nothing.
        Ok(Session {
            stream,
            framer: Framer::new(self.framer.most),
            chunk: self.chunk,
            capabilities: BTreeSet::new(),
            tags: 0,
            exists: 0,
            news: false,
        })
    }

    async fn ask_capabilities(&mut self) -> Result<(), Trouble> {
        let tag = self.send("CAPABILITY").await?;
        loop {
            match self.reply().await? {
                Reply::Capabilities(all) => self.capabilities = all.into_iter().collect(),
                Reply::Done { tag: t, .. } if t == tag => return Ok(()),
                _ => {}
            }
        }
    }

    fn learn(&mut self, code: Option<&Code>) {
        if let Some(Code::Capabilities(all)) = code {
            self.capabilities = all.iter().cloned().collect();
        }
    }

    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    pub fn can_idle(&self) -> bool {
        self.has("IDLE")
    }

    async fn log_in(&mut self, user: &str, credential: &Credential) -> Result<(), Trouble> {
        let ended = match credential {
            Credential::Token(token) if self.has("AUTH=XOAUTH2") => {
                self.authenticate("XOAUTH2", &xoauth2(user, token), "").await?
            }
            Credential::Token(token) if self.has("AUTH=OAUTHBEARER") => {
                self.authenticate("OAUTHBEARER", &oauthbearer(user, token), "AQ==").await?
            }
            Credential::Token(_) => {
                return Err(Trouble::Refused("the server takes no OAuth 2 token (no XOAUTH2, no OAUTHBEARER)".into()));
            }
            Credential::Password(password) if self.has("AUTH=PLAIN") => {
                self.authenticate("PLAIN", &plain(user, password), "*").await?
            }
            Credential::Password(password) if !self.has("LOGINDISABLED") => self.login(user, password).await?,
            Credential::Password(_) => {
                return Err(Trouble::Refused("the server takes no password (LOGINDISABLED): set `tls`".into()));
            }
        };
        if !ended.is_ok() {
            return Err(Trouble::Refused(format!("the server refuses the login of `{user}`: {}", ended.words)));
        }
        match &ended.code {
            Some(Code::Capabilities(_)) => self.learn(ended.code.as_ref()),
            _ => self.ask_capabilities().await?,
        }
        Ok(())
    }

    async fn login(&mut self, user: &str, password: &Secret) -> Result<Ended, Trouble> {
        let (Some(user), Some(password)) = (quoted(user), quoted(password.expose())) else {
            return Err(Trouble::Refused("the server takes only plain letters in a password (no AUTH=PLAIN)".into()));
        };
        self.command(&format!("LOGIN {user} {password}")).await
    }

    /// One exchange; `refused` answers a challenge that can only be the reason of a refusal.
    async fn authenticate(&mut self, how: &str, first: &str, refused: &str) -> Result<Ended, Trouble> {
        let at_once = self.has("SASL-IR");
        let tag = self
            .send(&if at_once { format!("AUTHENTICATE {how} {first}") } else { format!("AUTHENTICATE {how}") })
            .await?;
        let mut answers = if at_once { vec![refused] } else { vec![refused, first] };
        loop {
            match self.reply().await? {
                Reply::Go(_) => {
                    let answer = answers.pop().ok_or_else(|| lost(&"the server asks without end who we are"))?;
                    self.write(&format!("{answer}\r\n")).await?;
                }
                Reply::Done { tag: t, said, code, words } if t == tag => return Ok(Ended { said, code, words }),
                Reply::Told { said: Said::Bye, words, .. } => return Err(lost(&format!("the server leaves: {words}"))),
                _ => {}
            }
        }
    }

    /// Opens a folder.
    pub async fn select(&mut self, name: &str) -> Result<Selected, Trouble> {
        let tag = self.send(&format!("SELECT {}", folder(name))).await?;
        let mut selected = Selected::default();
        let mut validity = None;
        loop {
            match self.reply().await? {
                Reply::Exists(count) => selected.exists = count,
                Reply::Told { code: Some(Code::UidValidity(n)), .. } => validity = Some(n),
                Reply::Told { code: Some(Code::UidNext(n)), .. } => selected.uid_next = Some(n),
                Reply::Told { code: Some(Code::PermanentFlags(flags)), .. } => selected.permanent = flags,
                Reply::Told { said: Said::Bye, words, .. } => return Err(lost(&format!("the server leaves: {words}"))),
                Reply::Done { tag: t, said, code, words } if t == tag => {
                    if said != Said::Ok {
                        return Err(Trouble::Refused(format!("the folder `{name}` cannot be opened: {words}")));
                    }
                    selected.read_only = code == Some(Code::ReadOnly);
                    break;
                }
                _ => {}
            }
        }
        selected.validity = validity.ok_or_else(|| {
            Trouble::Refused(format!("the folder `{name}` has no UIDVALIDITY: its mails cannot be told apart"))
        })?;
        Ok(selected)
    }

    /// Waits until the server tells of something, or for so long.
    pub async fn idle(&mut self, most: Duration) -> Result<(), Trouble> {
        let tag = self.send("IDLE").await?;
        loop {
            match self.reply().await? {
                Reply::Go(_) => break,
                // It does not want to: then it is asked now and then.
                Reply::Done { tag: t, said, .. } if t == tag => {
                    if said != Said::Ok {
                        self.capabilities.remove("IDLE");
                    }
                    return Ok(());
                }
                Reply::Told { said: Said::Bye, words, .. } => return Err(lost(&format!("the server leaves: {words}"))),
                _ => {}
            }
        }
        // What came before the server began to wait with us is not told again.
        let until = Instant::now() + if self.take_news() { Duration::ZERO } else { most };
        while let Ok(reply) = tokio::time::timeout_at(until, self.reply_whenever()).await {
            match reply? {
                Reply::Exists(_) => break,
                Reply::Told { said: Said::Bye, words, .. } => return Err(lost(&format!("the server leaves: {words}"))),
                _ => {}
            }
        }
        self.write("DONE\r\n").await?;
        self.ended(&tag).await.map(|_| ())
    }

    pub async fn noop(&mut self) -> Result<(), Trouble> {
        self.command("NOOP").await.map(|_| ())
    }

    /// A command whose answer is nothing but its end.
    pub async fn command(&mut self, line: &str) -> Result<Ended, Trouble> {
        let tag = self.send(line).await?;
        self.ended(&tag).await
    }

    async fn ended(&mut self, tag: &str) -> Result<Ended, Trouble> {
        loop {
            match self.reply().await? {
                Reply::Done { tag: t, said, code, words } if t == tag => return Ok(Ended { said, code, words }),
                Reply::Told { said: Said::Bye, words, .. } => return Err(lost(&format!("the server leaves: {words}"))),
                _ => {}
            }
        }
    }

    /// Sends a command and returns its tag.
    pub async fn send(&mut self, line: &str) -> Result<String, Trouble> {
        self.tags += 1;
        let tag = format!("s{}", self.tags);
        self.write(&format!("{tag} {line}\r\n")).await?;
        Ok(tag)
    }

    async fn write(&mut self, text: &str) -> Result<(), Trouble> {
        let stream = &mut self.stream;
        let written = async {
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await
        };
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(done) => done.map_err(|e| lost(&format!("the connection broke: {e}"))),
            Err(_) => Err(lost(&"the server takes nothing any more")),
        }
    }

    /// The next response. A large one may take its time, as long as it goes on.
    pub async fn reply(&mut self) -> Result<Reply, Trouble> {
        loop {
            if let Some(response) = self.framer.response().map_err(|e| lost(&e))? {
                return Ok(self.heard(&response));
            }
            let silent = |_| lost(&format!("the server said nothing for {} s", PATIENCE.as_secs()));
            tokio::time::timeout(PATIENCE, self.hear()).await.map_err(silent)??;
        }
    }

    /// The next response, however long it takes. A wait that is dropped loses nothing.
    async fn reply_whenever(&mut self) -> Result<Reply, Trouble> {
        loop {
            if let Some(response) = self.framer.response().map_err(|e| lost(&e))? {
                return Ok(self.heard(&response));
            }
            self.hear().await?;
        }
    }

    fn heard(&mut self, response: &[u8]) -> Reply {
        let reply = Reply::read(response);
        match &reply {
            // A server tells this whenever it likes, and once.
            Reply::Exists(count) => {
                self.news |= *count > self.exists;
                self.exists = *count;
            }
            Reply::Expunged => self.exists = self.exists.saturating_sub(1),
            _ => {}
        }
        reply
    }

    /// Whether mail came since this was asked last.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Mails in the folder, as far as it was told.
    pub fn exists(&self) -> u32 {
        self.exists
    }

    async fn hear(&mut self) -> Result<(), Trouble> {
        let read = self.stream.read(&mut self.chunk).await.map_err(|e| lost(&format!("the connection broke: {e}")))?;
        if read == 0 {
            return Err(lost(&"the server closed the connection"));
        }
        self.framer.push(self.chunk.get(..read).unwrap_or_default());
        Ok(())
    }
}
