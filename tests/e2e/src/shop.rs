use crate::Backend;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

pub const ACCOUNT_SID: &str = "AC00000000000000000000000000000000";
pub const AUTH_TOKEN: &str = "an-auth-token-of-the-tests";
pub const OUR_NUMBER: &str = "+15005550006";
const API_TOKEN: &str = "a-token-of-the-tests-with-every-right";

/// The rule pack that most tests run: "refund" is answered by a rule, everything else waits for ann, who is asked first.
#[derive(Clone, Debug)]
pub struct Pack {
    pub yaml: String,
}

impl Default for Pack {
    fn default() -> Pack {
        Pack {
            yaml: r#"
zone: Europe/Paris
budget: { conversation: 10000, address: 10000, ping_pong: 10000 }
queues:
  everyone:
    offer: { timeout: 10m }
agents:
  ann: { name: Ann, capacity: 100 }
replies:
  refund: "Your refund {{ match.order }} is on its way."
rules:
  - name: Refunds
    when: { text: { matches: '(?i)\brefund (?<order>\S+)' } }
    then: { tag: refund, reply: refund }
default: { queue: everyone }
"#
            .to_owned(),
        }
    }
}

/// A shop: a folder with its configuration, pack and data, and two free ports. It outlives the daemons that run over it.
#[derive(Debug)]
pub struct Shop {
    folder: TempDir,
    pub public_port: u16,
    pub admin_port: u16,
    quickstart: bool,
    role: Option<&'static str>,
    environment: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct ShopBuilder {
    log: String,
    role: Option<&'static str>,
    pack: Pack,
    provider: String,
    sms: String,
    more: String,
    public_port: Option<u16>,
}

impl Shop {
    /// With `provider` the base address of the SMS provider's simulator.
    #[must_use]
    pub fn with(provider: &str) -> ShopBuilder {
        ShopBuilder {
            log: "backend = \"embedded\"".into(),
            role: None,
            pack: Pack::default(),
            provider: provider.to_owned(),
            sms: String::new(),
            more: String::new(),
            public_port: None,
        }
    }

    /// An empty folder: the program runs without a configuration, as on the first day, but on ports that are free.
    #[must_use]
    pub fn quickstart() -> Shop {
        let folder = TempDir::with_prefix("switchboard-e2e-").expect("a temporary folder");
        Shop {
            folder,
            public_port: free_port(),
            admin_port: free_port(),
            quickstart: true,
            role: None,
            environment: vec![],
        }
    }

    /// The arguments and environment that start the daemon over this shop.
    pub(crate) fn start(&self) -> (Vec<OsString>, Vec<(String, String)>) {
        if self.quickstart {
            let listen = |port: u16| format!("127.0.0.1:{port}");
            let environment = [
                ("SWITCHBOARD__HTTP__LISTEN".to_owned(), listen(self.public_port)),
                ("SWITCHBOARD__ADMIN__LISTEN".to_owned(), listen(self.admin_port)),
            ];
            return (vec![], environment.into_iter().chain(self.environment.clone()).collect());
        }
        let mut arguments = vec!["run".into(), "--config".into(), self.config().into()];
        arguments.extend(self.role.into_iter().flat_map(|role| ["--role".into(), role.into()]));
        (arguments, self.environment.clone())
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file beside the configuration that nobody else may read.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_secret(&self, name: &str, secret: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder().join(name);
        std::fs::write(&path, secret).expect("a secret");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("for us alone");
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder().join("switchboard.toml")
    }

    #[must_use]
    pub fn pack(&self) -> PathBuf {
        self.folder().join("pack")
    }

    /// What the daemon has printed, of all its runs over this shop.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder().join("daemon.log")
    }

    /// The public address that signatures are computed over. It is not where the daemon listens: a proxy stands between.
    #[must_use]
    pub fn public_hook(&self, channel: &str) -> String {
        format!("https://hooks.shop.example/hooks/{channel}")
    }

    /// Where the daemon takes that channel's webhooks.
    #[must_use]
    pub fn hook(&self, channel: &str) -> String {
        format!("{}/hooks/{channel}", self.public())
    }

    #[must_use]
    pub fn public(&self) -> String {
        format!("http://127.0.0.1:{}", self.public_port)
    }

    #[must_use]
    pub fn admin(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    #[must_use]
    pub fn api(&self) -> crate::Api {
        crate::Api::new(&self.admin(), &self.token())
    }

    /// A token with every right: the configured one, else what the program wrote into its data.
    ///
    /// # Panics
    /// When the quickstart has not written it.
    #[must_use]
    pub fn token(&self) -> String {
        if !self.quickstart {
            return API_TOKEN.to_owned();
        }
        let path = self.folder().join("data/admin.token");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().to_owned()
    }

    /// A webhook for the SMS channel of this shop.
    #[must_use]
    pub fn sms(&self, from: &str, text: &str, sid: &str) -> crate::Sms {
        crate::Sms::new(&self.public_hook("support-sms"), from, text, sid)
    }

    /// What the daemons of this shop find in their environment, as from a supervisor.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Shop {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Changes the configuration for the next start.
    pub fn reconfigure(&self, change: impl Fn(&str) -> String) {
        let before = std::fs::read_to_string(self.config()).expect("the configuration can be read");
        let after = change(&before);
        assert_ne!(before, after, "the change changed nothing");
        std::fs::write(self.config(), after).expect("the configuration can be written");
    }

    pub fn write_pack(&self, pack: &Pack) {
        std::fs::create_dir_all(self.pack()).expect("a folder for the pack");
        std::fs::write(self.pack().join("pack.yaml"), &pack.yaml).expect("the pack can be written");
    }
}

impl ShopBuilder {
    #[must_use]
    pub fn pack(mut self, yaml: &str) -> ShopBuilder {
        self.pack = Pack { yaml: yaml.to_owned() };
        self
    }

    /// The keys of `[log]` beside its path.
    #[must_use]
    pub fn log(mut self, backend: &Backend) -> ShopBuilder {
        self.log = backend.keys();
        self
    }

    /// On the broker at `url`, which may be a [`crate::Cable`] to it.
    #[must_use]
    pub fn broker(mut self, url: &str) -> ShopBuilder {
        self.log = crate::backend::on_broker(url);
        self
    }

    /// More keys of `[log]`, after its backend was chosen.
    #[must_use]
    pub fn log_keys(mut self, toml: &str) -> ShopBuilder {
        self.log = format!("{}\n{toml}", self.log);
        self
    }

    /// The part of the daemon in its workspace.
    #[must_use]
    pub fn role(mut self, role: &'static str) -> ShopBuilder {
        self.role = Some(role);
        self
    }

    /// More keys of `[channels.support-sms]`.
    #[must_use]
    pub fn sms(mut self, toml: &str) -> ShopBuilder {
        self.sms = toml.to_owned();
        self
    }

    /// The public listener's port, where something must know it before.
    #[must_use]
    pub fn public_port(mut self, port: u16) -> ShopBuilder {
        self.public_port = Some(port);
        self
    }

    /// More tables of the configuration.
    #[must_use]
    pub fn more(mut self, toml: &str) -> ShopBuilder {
        self.more = toml.to_owned();
        self
    }

    #[must_use]
    pub fn open(self) -> Shop {
        let folder = TempDir::with_prefix("switchboard-e2e-").expect("a temporary folder");
        let (public_port, admin_port) = (self.public_port.unwrap_or_else(free_port), free_port());
        let shop = Shop { folder, public_port, admin_port, quickstart: false, role: self.role, environment: vec![] };
        let config = format!(
            r#"
workspace = "main"
[log]
{log}
path = "data"
[http]
listen = "127.0.0.1:{public}"
public_url = "https://hooks.shop.example"
[admin]
listen = "127.0.0.1:{admin}"
[admin.tokens.ops]
token = {{ file = "ops.token" }}
scopes = ["admin"]
[rules]
path = "pack"
[channels.support-sms]
kind = "sms"
provider = "twilio"
account_sid = "{ACCOUNT_SID}"
auth_token = {{ file = "twilio.token" }}
from = "{OUR_NUMBER}"
base_url = "{provider}"
{sms}
{more}
"#,
            public = shop.public_port,
            admin = shop.admin_port,
            provider = self.provider,
            log = self.log,
            sms = self.sms,
            more = self.more,
        );
        std::fs::write(shop.config(), config).expect("the configuration can be written");
        for (name, secret) in [("ops.token", API_TOKEN), ("twilio.token", AUTH_TOKEN)] {
            write_secret(&shop.folder().join(name), secret);
        }
        shop.write_pack(&self.pack);
        shop
    }
}

fn write_secret(path: &Path, secret: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("a file for a secret");
    writeln!(file, "{secret}").expect("the secret can be written");
}

/// A port that is free now and that the system does not hand out by itself, so that it is still free when a killed daemon comes
/// back to it.
///
/// # Panics
/// When none of ten thousand is free.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 397).expect("below 397") * 25;
    for _ in 0..10_000 {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from 20000 to 29999");
}
