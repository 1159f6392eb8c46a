//! API tokens: the configured ones, and the data directory's own `admin.token`.

use crate::config::Config;
use crate::http::api::Tokens;
use crate::http::console::Identity;
use crate::log::sqlite::files::private;
use crate::random;
use std::io::Write as _;
use std::path::Path;
use switchboard_adapter_sdk::{Secret, signature::to_hex};
use switchboard_envelope::Scope;

/// The file in the data directory by which commands on the same machine find their token.
pub const FILE: &str = "admin.token";

/// Every token that the API takes. The data directory's own is made at the first start, readable by its owner only.
///
/// # Errors
/// When `admin.token` can neither be read nor made.
pub fn all(config: &Config) -> std::io::Result<Tokens> {
    let mut tokens = Tokens::default();
    for (name, t) in &config.admin.tokens {
        let identity = Identity { token: name.clone(), agent: t.agent.clone(), scopes: t.scopes.clone() };
        tokens.add(t.secret.expose(), identity);
    }
    let own = own(&config.log.path.join(FILE))?;
    tokens.add(own.expose(), Identity { token: FILE.into(), agent: None, scopes: vec![Scope::Admin] });
    Ok(tokens)
}

fn own(path: &Path) -> std::io::Result<Secret> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= 32 => {
            if let Err(error) = private(path) {
                tracing::warn!(%error, "admin.token cannot be closed to other users");
            }
            return Ok(Secret::new(text.trim()));
        }
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let text = to_hex(&random::bytes::<32>().map_err(std::io::Error::other)?);
    let mut file = private(path)?;
    file.set_len(0)?;
    file.write_all(format!("{text}\n").as_bytes())?;
    Ok(Secret::new(text))
}
