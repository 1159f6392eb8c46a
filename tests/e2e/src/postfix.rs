//! A real Postfix: its own configuration, queue and port, started and killed by the test. It takes mail as a submission server
//! would, and delivers it into Maildirs that the test reads.

use crate::shop::free_port;
use crate::{eventually_within, poll_until};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const MASTER: &str = "
127.0.0.1:PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

/// A Postfix that is installed on this machine, as a mail server of `shop.example` and of its customers at `customer.example`.
/// Mail to `gone.example` is accepted and comes back. Dropping it ends its processes.
pub struct Postfix {
    folder: TempDir,
    pub port: u16,
}

impl Postfix {
    /// Writes its configuration; nothing runs yet. `more` are further lines of main.cf. What it cannot deliver at once it tries again
    /// within seconds, not after its usual five minutes: a kill may fall between a mail and its delivery.
    ///
    /// # Panics
    /// When Postfix is not installed, or the test is not run as root, which Postfix wants.
    #[must_use]
    pub fn new(more: &str) -> Postfix {
        let folder = TempDir::with_prefix("switchboard-postfix-").expect("a temporary folder");
        let port = free_port();
        let home = folder.path();
        // Its processes give their rights up, and must still get here.
        std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o755)).expect("a folder that others may enter");
        let [etc, queue, data, mail] = ["etc", "queue", "data", "mail"].map(|name| home.join(name));
        for path in [&etc, &queue, &data, &mail] {
            std::fs::create_dir(path).expect("a folder");
        }
        own(&data, "postfix");
        own(&mail, "nobody");
        // `postfix start` writes what it finds wrong in the queue after a kill as the queue's owner, not as root.
        std::fs::write(home.join("mail.log"), "").expect("a log");
        own(&home.join("mail.log"), "postfix");
        certificate(&etc);
        let base = home.display();
        let nobody = id("nobody");
        let main = format!(
            "compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
maillog_file = {base}/mail.log
maillog_file_prefixes = {base}
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.shop.example
mydestination =
mynetworks = 127.0.0.0/8 [::1]/128
inet_protocols = all
inet_interfaces = loopback-only
alias_maps =
alias_database =
local_transport = error:no local mail
virtual_mailbox_domains = shop.example, customer.example, gone.example
virtual_mailbox_base = {base}/mail
virtual_mailbox_maps = inline:{{ {{ @shop.example = shop/ }}, {{ @customer.example = customers/ }} }}
virtual_uid_maps = static:{nobody}
virtual_gid_maps = static:{nobody}
virtual_minimum_uid = 1
smtpd_reject_unlisted_recipient = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{ nobody@customer.example = 550 5.1.1 no such person }} }}, permit_mynetworks, reject
smtpd_tls_security_level = may
smtpd_tls_cert_file = {base}/etc/mail.pem
smtpd_tls_key_file = {base}/etc/mail.key
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_forbid_bare_newline = yes
disable_dns_lookups = yes
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
transport_retry_time = 1s
{more}
"
        );
        std::fs::write(etc.join("main.cf"), main).expect("a configuration for Postfix");
        std::fs::write(etc.join("master.cf"), MASTER.replace("PORT", &port.to_string())).expect("its services");
        Postfix { folder, port }
    }

    /// Before it starts: a port for submission within TLS, for who logs in. Who they are is asked at this port of a Dovecot.
    ///
    /// # Panics
    /// When its configuration cannot be written.
    #[must_use]
    pub fn submissions(&self, sasl: u16) -> u16 {
        let port = free_port();
        let path = self.folder.path().join("etc/master.cf");
        let services = std::fs::read_to_string(&path).expect("its services");
        let more = format!(
            "127.0.0.1:{port} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_type=dovecot
  -o smtpd_sasl_path=inet:127.0.0.1:{sasl}
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
"
        );
        std::fs::write(path, services + &more).expect("its services");
        port
    }

    /// Starts it and waits until it takes mail.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn up(&self) {
        let started = self.run("start");
        assert!(started.0, "postfix start: {}\n{}", started.1, self.said());
        let port = self.port;
        let listens = poll_until(Duration::from_secs(20), || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(|_| ()).map_err(|e| e.to_string())
        });
        listens.await.unwrap_or_else(|e| panic!("postfix does not listen: {e}\n{}", self.said()));
    }

    /// Ends every process of it at once, as a power cut would.
    pub fn kill(&self) {
        let Ok(pid) = std::fs::read_to_string(self.folder.path().join("queue/pid/master.pid")) else { return };
        // Its processes are one group.
        let group = format!("-{}", pid.trim());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = std::fs::remove_file(self.folder.path().join("queue/pid/master.pid"));
        // What a death leaves that falls between making a mail's file and giving it its name: a file that is no mail's.
        let _ = std::fs::write(self.folder.path().join("queue/incoming").join(format!("155400.{}", pid.trim())), "");
    }

    fn run(&self, what: &str) -> (bool, String) {
        let output = Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(self.folder.path().join("etc"))
            .arg(what)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| panic!("postfix: {e}: install Debian's postfix, as tests/run does"));
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The certificate that its TLS shows, for `smtp.ca`.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("etc/mail.pem")
    }

    /// What was delivered into a mailbox, `shop` or `customers`, in no order.
    #[must_use]
    pub fn mails(&self, mailbox: &str) -> Vec<String> {
        let folder = self.folder.path().join("mail").join(mailbox).join("new");
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files
            .filter_map(|file| std::fs::read(file.path()).ok())
            .map(|mail| String::from_utf8_lossy(&mail).into_owned())
            .collect()
    }

    /// Waits until a mailbox holds so many mails.
    pub async fn delivered(&self, mailbox: &str, count: usize) -> Vec<String> {
        eventually_within(Duration::from_secs(60), &format!("{count} mails in {mailbox}"), || async {
            let mails = self.mails(mailbox);
            if mails.len() >= count { Ok(mails) } else { Err(format!("{} mails", mails.len())) }
        })
        .await
    }

    /// Its log.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("mail.log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            eprintln!("--- Postfix's last lines ---\n{}\n---", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// The fields of a mail, unfolded, and its body.
#[must_use]
pub fn fields(mail: &str) -> (Vec<(String, String)>, String) {
    let (head, body) = mail.split_once("\n\n").unwrap_or((mail, ""));
    let mut fields: Vec<(String, String)> = vec![];
    for line in head.lines() {
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some((_, value))) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            _ => {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
    }
    (fields, body.to_owned())
}

/// The value of a mail's field; empty when it has none.
#[must_use]
pub fn field(mail: &str, name: &str) -> String {
    fields(mail).0.into_iter().find(|(n, _)| n == name).map(|(_, value)| value).unwrap_or_default()
}

/// A certificate for `localhost` that signs itself.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-keyout")
        .arg(folder.join("mail.key"))
        .arg("-out")
        .arg(folder.join("mail.pem"))
        .output()
        .unwrap_or_else(|e| panic!("openssl: {e}: install Debian's openssl, as tests/run does"));
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
}

fn id(user: &str) -> u32 {
    let asked = Command::new("id").args(["-u", user]).output().expect("id runs");
    let text = String::from_utf8_lossy(&asked.stdout);
    text.trim().parse().unwrap_or_else(|_| panic!("no user `{user}`: install Debian's postfix, as tests/run does"))
}

fn own(path: &Path, user: &str) {
    chown(path, Some(id(user)), None).unwrap_or_else(|e| panic!("{}: {e}: Postfix runs as root only", path.display()));
}
