use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use nkeys::KeyPair;
use serde_json::{Value, json};
use std::path::PathBuf;

/// `deploy/nats-users.conf` with these values in the place of its variables, and with the entries that it ships behind `#`.
///
/// # Panics
/// When the file is not as it was: a test over other permissions than the shipped ones proves nothing.
#[must_use]
pub fn shipped_users(values: &[(&str, &str)]) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nats-users.conf"));
    let shipped = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let marked = |line: &str| {
        let rest = line.strip_prefix("      #").filter(|rest| !rest.starts_with(' ') || rest.starts_with("  "));
        format!("{}\n", rest.unwrap_or(line))
    };
    let all: String = shipped.lines().map(marked).collect();
    assert_ne!(all, shipped, "the entries behind `#`");
    values.iter().fold(all, |conf, (name, value)| {
        assert!(conf.contains(name), "no place for {name}");
        conf.replace(name, value)
    })
}

/// An operator and an account, as `nsc` makes them, who issue users: the broker knows nobody by name and believes their signatures.
pub struct Issuer {
    operator: KeyPair,
    system: KeyPair,
    account: KeyPair,
}

impl Issuer {
    #[must_use]
    pub fn new() -> Issuer {
        Issuer { operator: KeyPair::new_operator(), system: KeyPair::new_account(), account: KeyPair::new_account() }
    }

    /// What the broker is told: whom to believe, and the accounts.
    #[must_use]
    pub fn configuration(&self) -> String {
        let operator = self.operator.public_key();
        let claims = json!({ "type": "operator", "version": 2, "system_account": self.system.public_key() });
        let of_operator = jwt(&self.operator, &operator, "operator", claims);
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": 0, "disk_storage": -1, "streams": -1, "consumer": -1
        });
        let account = |pair: &KeyPair, name: &str, limits: &Value| {
            jwt(&self.operator, &pair.public_key(), name, json!({ "type": "account", "version": 2, "limits": limits }))
        };
        let plain = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1 });
        format!(
            "operator: {of_operator}\nresolver: MEMORY\nsystem_account: {}\nresolver_preload: {{\n{}: {}\n{}: {}\n}}\n",
            self.system.public_key(),
            self.system.public_key(),
            account(&self.system, "SYS", &plain),
            self.account.public_key(),
            account(&self.account, "switchboard", &limits),
        )
    }

    /// The `.creds` file of a user of the account.
    ///
    /// # Panics
    /// When the user has no seed.
    #[must_use]
    pub fn credentials(&self, name: &str) -> String {
        let user = KeyPair::new_user();
        let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let token = jwt(&self.account, &user.public_key(), name, claims);
        let seed = user.seed().expect("a new pair has its seed");
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

impl Default for Issuer {
    fn default() -> Issuer {
        Issuer::new()
    }
}

/// Signed by `issuer`: who `subject` is.
fn jwt(issuer: &KeyPair, subject: &str, name: &str, claims: Value) -> String {
    let id = digest::digest(&digest::SHA256, format!("{subject} {name}").as_bytes());
    let body = json!({
        "jti": BASE64.encode(id), "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject, "name": name, "nats": claims
    });
    let header = BASE64.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{header}.{}", BASE64.encode(body.to_string()));
    let signature = issuer.sign(signed.as_bytes()).expect("a pair with a seed signs");
    format!("{signed}.{}", BASE64.encode(signature))
}
