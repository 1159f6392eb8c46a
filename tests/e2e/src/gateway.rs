//! A real Kannel, with a centre behind it: its bearerbox and smsbox as processes of the test's own, in a folder of their own.

use crate::shop::free_port;
use crate::{Backend, Shop, http, poll_until};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// What stands in the path of Kannel's calls to the daemon.
pub const HOOK_SECRET: &str = "a-hook-secret-of-the-tests";
/// The number that the gateway's texts come from.
pub const GATEWAY_NUMBER: &str = "+15005550006";

/// A Kannel that is installed on this machine. Dropping it ends its processes.
pub struct Gateway {
    channel: String,
    folder: TempDir,
    admin_port: u16,
    boxes_port: u16,
    sendsms_port: u16,
    fake_port: u16,
    running: Vec<Child>,
}

impl Gateway {
    /// Before an SMPP centre that listens on `centre`, or with Kannel's own fake one when that is `None`. It calls this channel of
    /// the shop.
    #[must_use]
    pub fn new(channel: &str, shop_port: u16, centre: Option<u16>) -> Gateway {
        let folder = TempDir::with_prefix("switchboard-kannel-").expect("a temporary folder");
        let [admin_port, boxes, sendsms_port, fake_port] = [(); 4].map(|()| free_port());
        let smsc = match centre {
            Some(port) => format!(
                "smsc = smpp\nsmsc-id = centre\nhost = 127.0.0.1\nport = {port}\ntransceiver-mode = true\nsmsc-username = shop\nsmsc-password = secret\nsystem-type = \"\"\nreconnect-delay = 1\nenquire-link-interval = 5\ninterface-version = 34\nalt-charset = \"GSM\"\n"
            ),
            None => format!("smsc = fake\nsmsc-id = fake\nport = {fake_port}\nconnect-allow-ip = 127.0.0.1\n"),
        };
        let get_url = format!(
            "http://127.0.0.1:{shop_port}/hooks/{channel}/{HOOK_SECRET}/in?id=%I&ts=%T&message=%b&sender=%q&to=%P&backend=%i&coding=%c&charset=%C&service=%n"
        );
        let config = format!(
            "group = core\nadmin-port = {admin_port}\nadmin-password = x\nsms-resend-freq = 1\nsmsbox-port = {boxes}\nbox-allow-ip = 127.0.0.1\nlog-file = bearerbox.log\nlog-level = 0\nstore-type = file\nstore-location = store\n\ngroup = smsc\n{smsc}\ngroup = smsbox\nbearerbox-host = 127.0.0.1\nsendsms-port = {sendsms_port}\nlog-file = smsbox.log\nlog-level = 0\nhttp-request-retry = 60\nhttp-queue-delay = 1\n\ngroup = sendsms-user\nusername = tester\npassword = foobar\nconcatenation = true\nmax-messages = 20\n\ngroup = sms-service\nkeyword = default\ncatch-all = true\nmax-messages = 0\nget-url = \"{get_url}\"\n"
        );
        std::fs::write(folder.path().join("kannel.conf"), config).expect("a configuration for Kannel");
        let channel = channel.to_owned();
        Gateway { channel, folder, admin_port, boxes_port: boxes, sendsms_port, fake_port, running: vec![] }
    }

    /// Its channel of a shop, for [`crate::ShopBuilder::more`]. The shop calls itself at its own port.
    #[must_use]
    pub fn channel(&self, shop_port: u16) -> String {
        format!(
            "[channels.{}]\nkind = \"sms\"\nprovider = \"kannel\"\nbase_url = \"http://127.0.0.1:{}\"\nusername = \"tester\"\npassword = \"foobar\"\nfrom = \"{GATEWAY_NUMBER}\"\nhook_secret = \"{HOOK_SECRET}\"\ncallback_url = \"http://127.0.0.1:{shop_port}\"\n",
            self.channel, self.sendsms_port
        )
    }

    /// Waits until Kannel has handed over everything that it took.
    pub async fn is_drained(&self) {
        let status = format!("http://127.0.0.1:{}/status.txt?password=x", self.admin_port);
        let drained = poll_until(Duration::from_secs(60), || async {
            let answer = http().get(&status).send().await.map_err(|e| e.to_string())?;
            let said = answer.text().await.map_err(|e| e.to_string())?;
            if said.contains("store size 0") { Ok(()) } else { Err(said) }
        });
        drained.await.unwrap_or_else(|e| panic!("Kannel still holds something: {e}"));
    }

    /// Starts both of its processes and waits until it takes texts.
    ///
    /// # Panics
    /// When Kannel is not installed, or does not start.
    pub async fn up(&mut self) {
        self.spawn("bearerbox");
        // The boxes' port is open before smsbox looks for it, or smsbox ends.
        let boxes = self.boxes_port;
        reachable(boxes).await.unwrap_or_else(|e| panic!("bearerbox does not listen: {e}\n{}", self.said()));
        self.spawn("smsbox");
        reachable(self.sendsms_port).await.unwrap_or_else(|e| panic!("smsbox does not listen: {e}\n{}", self.said()));
    }

    fn spawn(&mut self, program: &str) {
        let child = Command::new(format!("/usr/sbin/{program}"))
            .arg("kannel.conf")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child
            .unwrap_or_else(|e| panic!("{program}: {e}: install Debian's kannel and kannel-extras, as tests/run does"));
        self.running.push(child);
    }

    /// Ends both processes, as a power cut would.
    pub fn down(&mut self) {
        for mut child in self.running.drain(..).rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets somebody with Kannel's fake phone send one text, and keeps the phone on for what comes back.
    ///
    /// # Panics
    /// When the program is not installed.
    #[must_use]
    pub fn phone(&self, from: &str, to: &str, text: &str) -> FakePhone {
        let log = self.folder.path().join(format!("phone-{}.log", from.trim_start_matches('+')));
        let file = std::fs::File::create(&log).expect("a file for the phone's log");
        let child = Command::new("/usr/lib/kannel/test/fakesmsc")
            .args(["-H", "127.0.0.1", "-r", &self.fake_port.to_string(), "-i", "0.2", "-m", "1"])
            .arg(format!("{from} {to} text {text}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn();
        FakePhone { child: child.unwrap_or_else(|e| panic!("fakesmsc: {e}: install Debian's kannel-extras")), log }
    }

    fn said(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        format!("{}\n{}", read("bearerbox.log"), read("smsbox.log"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.down();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            eprintln!("--- Kannel's last lines ---\n{}\n---", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// Waits until something listens on a port.
async fn reachable(port: u16) -> Result<(), String> {
    let listens = poll_until(Duration::from_secs(20), || async move {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(|_| ()).map_err(|e| e.to_string())
    });
    listens.await
}

/// A phone on Kannel's fake centre.
pub struct FakePhone {
    child: Child,
    log: PathBuf,
}

impl FakePhone {
    /// The texts that it got, as Kannel's fake centre shows them.
    #[must_use]
    pub fn got(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let got =
            |line: &str| Some(line.split_once("Got message ")?.1.split_once('<')?.1.trim_end_matches('>').to_owned());
        log.lines().filter_map(got).collect()
    }
}

impl Drop for FakePhone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shop {
    /// A shop with the channel `gateway`, and the Kannel that serves it, which is not started yet.
    #[must_use]
    pub fn with_gateway(backend: &Backend, centre: Option<u16>) -> (Shop, Gateway) {
        let shop_port = free_port();
        let gateway = Gateway::new("gateway", shop_port, centre);
        // The other channel of every shop has nobody behind it here.
        let shop = Shop::with("http://127.0.0.1:9").log(backend).public_port(shop_port);
        let shop = shop.more(&gateway.channel(shop_port)).open();
        (shop, gateway)
    }
}
