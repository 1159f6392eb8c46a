//! A real Dovecot with one mailbox, and another client of that mailbox.

use crate::poll_until;
use crate::shop::free_port;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// The account of the mailbox.
pub const MAILBOX_USER: &str = "support";
/// Its password.
pub const MAILBOX_PASSWORD: &str = "a-mailbox-secret";
/// With what tokens are signed.
const TOKEN_KEY: &[u8] = b"a-key-of-thirty-two-bytes-or-so!";
/// Debian's user `mail`: a Dovecot that root starts reads nobody's mail as root.
const MAIL_UID: u32 = 8;

/// A Dovecot that is installed on this machine, in a folder of its own. Dropping it ends its processes.
#[derive(Debug)]
pub struct Dovecot {
    folder: TempDir,
    /// In the clear, with STARTTLS.
    pub imap_port: u16,
    /// Within TLS.
    pub imaps_port: u16,
    /// Where other servers ask who somebody is (SASL).
    pub sasl_port: u16,
    child: Option<Child>,
}

impl Dovecot {
    /// Configured, not started.
    ///
    /// # Panics
    /// When openssl is missing.
    #[must_use]
    pub fn new() -> Dovecot {
        Dovecot::with("")
    }

    /// One that never says by itself that a mail came.
    ///
    /// # Panics
    /// As [`Dovecot::new`].
    #[must_use]
    pub fn without_idle() -> Dovecot {
        Dovecot::with("imap_capability = IMAP4rev1 LITERAL+ SASL-IR UIDPLUS MOVE ENABLE\n")
    }

    /// With more lines in its configuration.
    fn with(more: &str) -> Dovecot {
        let folder = TempDir::with_prefix("switchboard-dovecot-").expect("a temporary folder");
        let [imap_port, imaps_port, sasl_port] = [(); 3].map(|()| free_port());
        let dovecot = Dovecot { folder, imap_port, imaps_port, sasl_port, child: None };
        let at = dovecot.path("").display().to_string();
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755)).expect("a folder for others");
        std::fs::create_dir_all(dovecot.maildir().join("new")).expect("a mailbox");
        for part in ["cur", "tmp"] {
            std::fs::create_dir_all(dovecot.maildir().join(part)).expect("a mailbox");
        }
        dovecot.certificate();
        // Tokens that are signed with this key are believed.
        std::fs::create_dir_all(dovecot.path("keys/default/HS256")).expect("a folder");
        std::fs::write(dovecot.path("keys/default/HS256/default"), STANDARD.encode(TOKEN_KEY)).expect("a key");
        let tokens = format!(
            "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={at}/keys/\nusername_attribute = sub\n"
        );
        std::fs::write(dovecot.path("tokens.conf"), tokens).expect("a configuration of tokens");
        let whoami = Command::new("id").arg("-un").output().expect("id");
        let me = String::from_utf8_lossy(&whoami.stdout).trim().to_owned();
        let uid: u32 = String::from_utf8_lossy(&Command::new("id").arg("-u").output().expect("id").stdout)
            .trim()
            .parse()
            .expect("a number");
        let (users, owner) = if uid == 0 {
            dovecot.give_away(&dovecot.path("mail"));
            (String::new(), MAIL_UID)
        } else {
            (format!("default_internal_user = {me}\ndefault_internal_group = {me}\ndefault_login_user = {me}\n"), uid)
        };
        let config = format!(
            "{more}protocols = imap\nlisten = 127.0.0.1\nbase_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/dovecot.log\n\
             {users}first_valid_uid = 1\nssl = yes\nssl_cert = <{at}/cert.pem\nssl_key = <{at}/key.pem\n\
             disable_plaintext_auth = no\nmail_location = maildir:{at}/mail/%u\nmail_max_userip_connections = 100\n\
             auth_mechanisms = plain login xoauth2 oauthbearer\n\
             passdb {{\n driver = oauth2\n mechanisms = xoauth2 oauthbearer\n args = {at}/tokens.conf\n}}\n\
             passdb {{\n driver = static\n mechanisms = plain login\n args = password={MAILBOX_PASSWORD}\n}}\n\
             service auth {{\n inet_listener {{\n address = 127.0.0.1\n port = {sasl_port}\n }}\n}}\n\
             userdb {{\n driver = static\n args = uid={owner} gid={owner} home={at}/mail/%u allow_all_users=yes\n}}\n\
             service anvil {{\n chroot =\n}}\nservice imap-login {{\n chroot =\n inet_listener imap {{\n port = {imap_port}\n }}\n inet_listener imaps {{\n port = {imaps_port}\n ssl = yes\n }}\n}}\n"
        );
        std::fs::write(dovecot.path("dovecot.conf"), config).expect("a configuration for Dovecot");
        dovecot
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn maildir(&self) -> PathBuf {
        self.path("mail").join(MAILBOX_USER)
    }

    /// The certificate, as `ca` in the configuration.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.path("cert.pem")
    }

    /// An OAuth 2 access token of the account that holds for so many seconds from now, and none where they are negative.
    #[must_use]
    pub fn token(&self, seconds: i64) -> String {
        let now = jiff::Timestamp::now().as_second();
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let said = json!({ "sub": MAILBOX_USER, "iat": now - 3600, "exp": now + seconds });
        let signed = format!("{}.{}", part(json!({ "alg": "HS256", "typ": "JWT" })), part(said));
        let key = hmac::Key::new(hmac::HMAC_SHA256, TOKEN_KEY);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
    }

    /// How often somebody logged in so: `PLAIN`, `XOAUTH2`.
    #[must_use]
    pub fn logins(&self, method: &str) -> usize {
        self.said().matches(&format!("method={method},")).count()
    }

    fn certificate(&self) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args([
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .arg("-keyout")
            .arg(self.path("key.pem"))
            .arg("-out")
            .arg(self.ca())
            .stderr(Stdio::null())
            .status()
            .expect("openssl makes a certificate");
        assert!(made.success(), "openssl made no certificate");
    }

    fn give_away(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                self.give_away(&entry.path());
            }
        }
        chown(folder, Some(MAIL_UID), Some(MAIL_UID)).expect("the folder can be given away");
    }

    /// `[channels.support-email]`, within TLS, with more keys in its `imap`.
    #[must_use]
    pub fn channel(&self, imap: &str) -> String {
        format!(
            "[channels.support-email]\nkind = \"email\"\naddress = \"support@shop.example\"\npoll = \"10s\"\nimap = {{ host = \"127.0.0.1\", port = {}, user = \"{MAILBOX_USER}\", password = \"{MAILBOX_PASSWORD}\", ca = \"{}\"{imap} }}\n",
            self.imaps_port,
            self.ca().display()
        )
    }

    /// Starts it and waits until it greets.
    ///
    /// # Panics
    /// When Dovecot is not installed, or does not start.
    pub async fn up(&mut self) {
        // After a kill the port may be somebody's for a moment still, and then it ends at once.
        for _ in 0..6 {
            self.spawn();
            if self.greets(Duration::from_secs(4)).await.is_ok() {
                return;
            }
            self.down();
        }
        panic!("Dovecot does not greet:\n{}", self.said());
    }

    fn spawn(&mut self) {
        // A killed master leaves the name of its process behind.
        let _ = std::fs::remove_file(self.path("run/master.pid"));
        let child = Command::new("/usr/sbin/dovecot")
            .arg("-F")
            .arg("-c")
            .arg(self.path("dovecot.conf"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.path("stderr.log")).expect("a file"))
            .spawn();
        let child = child.unwrap_or_else(|e| panic!("dovecot: {e}: install Debian's dovecot-imapd, as tests/run does"));
        self.child = Some(child);
    }

    async fn greets(&self, within: Duration) -> Result<(), String> {
        let port = self.imap_port;
        poll_until(within, || async move {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
            let mut line = String::new();
            let mut stream = BufReader::new(stream);
            let read = tokio::time::timeout(Duration::from_secs(2), stream.read_line(&mut line));
            read.await.map_err(|_| "silence")?.map_err(|e| e.to_string())?;
            if line.starts_with("* OK") { Ok(()) } else { Err(line) }
        })
        .await
    }

    /// Ends it with all of its processes, as a power cut would.
    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").args(["-9", "--", &format!("-{}", child.id())]).status();
            let _ = child.wait();
        }
    }

    /// While it is down: forgets every number and index, so that the mailbox has another UIDVALIDITY afterwards.
    pub fn renumber(&self) {
        assert!(self.child.is_none(), "it runs");
        for entry in std::fs::read_dir(self.maildir()).expect("the mailbox").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // What keywords are called is kept elsewhere: `dovecot-keywords`.
            if name.starts_with("dovecot.index") || name.starts_with("dovecot-uid") || name == "dovecot.list.index" {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        // It is a time in seconds, and two within one would be the same.
        std::thread::sleep(Duration::from_millis(1100));
    }

    /// Puts mails into the mailbox as files, as a delivery would; for very many of them.
    pub fn drop_files(&self, mails: impl Iterator<Item = String>) {
        for (number, mail) in mails.enumerate() {
            let name = format!("{}.M{number}P1.localhost", 1_700_000_000 + number);
            let path = self.maildir().join("new").join(name);
            std::fs::write(&path, mail.replace("\r\n", "\n")).expect("a mail can be written");
            let _ = chown(&path, Some(MAIL_UID), Some(MAIL_UID));
        }
    }

    fn said(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
        format!("{}\n{}", read("stderr.log"), read("dovecot.log"))
    }

    /// Another client of the mailbox, with its folder open.
    ///
    /// # Panics
    /// When the server does not let it in.
    pub async fn client(&self) -> MailClient {
        self.try_client().await.expect("Dovecot lets a client in")
    }

    /// The same, of a server that may be down.
    ///
    /// # Errors
    /// With why it is not let in.
    pub async fn try_client(&self) -> Result<MailClient, String> {
        let stream = TcpStream::connect(("127.0.0.1", self.imap_port)).await.map_err(|e| e.to_string())?;
        let mut client = MailClient { stream: BufReader::new(stream), tags: 0 };
        client.line().await?;
        client.try_ask(&format!("LOGIN {MAILBOX_USER} {MAILBOX_PASSWORD}")).await?;
        client.try_ask("SELECT INBOX").await?;
        Ok(client)
    }
}

impl Default for Dovecot {
    fn default() -> Dovecot {
        Dovecot::new()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.down();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            eprintln!("--- Dovecot's last lines ---\n{}\n---", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

/// A mail program that has the mailbox open too.
#[derive(Debug)]
pub struct MailClient {
    stream: BufReader<TcpStream>,
    tags: u32,
}

impl MailClient {
    async fn line(&mut self) -> Result<String, String> {
        let mut line = vec![];
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read_until(b'\n', &mut line));
        match read.await.map_err(|_| "silence")?.map_err(|e| e.to_string())? {
            0 => Err("the connection ended".into()),
            _ => Ok(String::from_utf8_lossy(&line).into_owned()),
        }
    }

    /// Sends a command and returns what is said to it.
    ///
    /// # Errors
    /// When the server refuses it, or is gone.
    pub async fn try_ask(&mut self, command: &str) -> Result<String, String> {
        self.tags += 1;
        let tag = format!("c{}", self.tags);
        self.stream.write_all(format!("{tag} {command}\r\n").as_bytes()).await.map_err(|e| e.to_string())?;
        let mut said = String::new();
        loop {
            let line = self.line().await?;
            if let Some(ended) = line.strip_prefix(&format!("{tag} ")) {
                return if ended.starts_with("OK") { Ok(said) } else { Err(ended.to_owned()) };
            }
            let literal = line.trim_end().strip_suffix('}').and_then(|l| l.rsplit('{').next()?.parse::<usize>().ok());
            said.push_str(&line);
            if let Some(count) = literal {
                let mut bytes = vec![0; count];
                self.stream.read_exact(&mut bytes).await.map_err(|e| e.to_string())?;
                said.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }

    /// # Panics
    /// When the server refuses it.
    pub async fn ask(&mut self, command: &str) -> String {
        self.try_ask(command).await.unwrap_or_else(|e| panic!("{}: {e}", command.chars().take(60).collect::<String>()))
    }

    /// Puts a mail into the mailbox.
    ///
    /// # Errors
    /// When the server does not say that it has it.
    pub async fn append(&mut self, mail: &str) -> Result<(), String> {
        self.try_ask(&format!("APPEND INBOX {{{}+}}\r\n{mail}", mail.len())).await.map(drop)
    }
}
