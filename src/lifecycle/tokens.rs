//! API tokens: the configured ones, and the data directory's own `admin.token`.

use crate::config::Config;
use std::io::Write as _;
use std::path::Path;
use switchboard_adapter_sdk::Secret;
use switchboard_envelope::Scope;

/// The file in the data directory by which commands on the same machine find their token.
pub const FILE: &str = "admin.token";

/// A token and what its bearer may do.
#[derive(Clone, Debug)]
pub struct Token {
    pub name: String,
    pub secret: Secret,
    pub scopes: Vec<Scope>,
    pub agent: Option<String>,
}

/// Every token that the API takes. The data directory's own is made at the first start, readable by its owner only.
///
/// # Errors
/// When `admin.token` can neither be read nor made.
pub fn all(config: &Config) -> std::io::Result<Vec<Token>> {
    let mut tokens: Vec<Token> = config
        .admin
        .tokens
        .iter()
        .map(|(name, t)| Token {
            name: name.clone(),
            secret: t.secret.clone(),
            scopes: t.scopes.clone(),
            agent: t.agent.clone(),
        })
        .collect();
    let own = own(&config.log.path.join(FILE))?;
    tokens.push(Token { name: "admin.token".into(), secret: own, scopes: vec![Scope::Admin], agent: None });
    Ok(tokens)
}

fn own(path: &Path) -> std::io::Result<Secret> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= 32 => return Ok(Secret::new(text.trim())),
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
    let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(format!("{text}\n").as_bytes())?;
    Ok(Secret::new(text))
}

/// The token that matches, compared in constant time with each.
#[must_use]
pub fn find<'a>(tokens: &'a [Token], presented: &str) -> Option<&'a Token> {
    let mut found = None;
    for token in tokens {
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(token.secret.expose().as_bytes(), presented.as_bytes());
        if same.is_ok() && found.is_none() {
            found = Some(token);
        }
    }
    found
}
