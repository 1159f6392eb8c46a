//! With what an account is opened.

use super::Ended;
use crate::config::{self, Login};
use std::process::Stdio;
use std::time::Duration;
use switchboard_adapter_sdk::{classify::Class, signature::to_base64};
use tokio::io::AsyncReadExt;

/// The longest token.
const MAX_TOKEN: u64 = 16 * 1024;
/// How long a program may take to print one.
const PATIENCE: Duration = Duration::from_secs(20);

/// The steps of one way to log in: what `AUTH` says, and what answers each challenge.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Steps {
    pub start: String,
    pub answers: Vec<String>,
    /// A token may be too old: a refusal is no sign that the account is.
    pub by_token: bool,
}

/// Chooses the way, of those that the server offers.
pub(super) async fn steps(user: &str, login: &Login, offered: &[String]) -> Result<Steps, Ended> {
    let offers = |name: &str| offered.iter().any(|o| o == name);
    let token = match login {
        Login::Password(known) => {
            let password = config::password(known).await.map_err(|e| later(format!("`smtp.password`: {e}")))?;
            let password = password.expose();
            if offers("PLAIN") {
                let start = format!("AUTH PLAIN {}", to_base64(format!("\0{user}\0{password}").as_bytes()));
                return Ok(Steps { start, answers: vec![], by_token: false });
            }
            if offers("LOGIN") {
                let answers = vec![to_base64(user.as_bytes()), to_base64(password.as_bytes())];
                return Ok(Steps { start: "AUTH LOGIN".into(), answers, by_token: false });
            }
            return Err(no_way("PLAIN or LOGIN", offered));
        }
        Login::TokenFile(path) => {
            let read = tokio::fs::read_to_string(path).await;
            read.map_err(|e| later(format!("`smtp.token_file` cannot be read: {e}")))?
        }
        Login::TokenCommand(words) => printed(words).await?,
    };
    if !offers("XOAUTH2") {
        return Err(no_way("XOAUTH2", offered));
    }
    let token = token.trim();
    if token.is_empty() || token.len() as u64 > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(later("the OAuth 2 token is empty, or is none".into()));
    }
    let start = format!("AUTH XOAUTH2 {}", to_base64(format!("user={user}\x01auth=Bearer {token}\x01\x01").as_bytes()));
    // A refusal comes as a challenge first, which wants an empty answer.
    Ok(Steps { start, answers: vec![String::new()], by_token: true })
}

fn no_way(wanted: &str, offered: &[String]) -> Ended {
    let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
    super::config(&format!(
        "the mail server offers no way to sign in with what is configured ({wanted} is needed, it has {offered}): check `smtp.tls` and `smtp.user`"
    ))
}

/// It may be there in a moment.
fn later(what: String) -> Ended {
    Ended::By(Box::new(Class::Retry.attempt(None, what)))
}

/// What a program of the operator prints. It is run without a shell.
async fn printed(words: &[String]) -> Result<String, Ended> {
    let wrong = |e: String| later(format!("`smtp.token_command`: {e}"));
    let Some((program, arguments)) = words.split_first() else { return Err(wrong("is empty".into())) };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| wrong(e.to_string()))?;
    let out = child.stdout.take();
    let run = async {
        let mut text = String::new();
        if let Some(out) = out {
            out.take(MAX_TOKEN + 1).read_to_string(&mut text).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, text))
    };
    match tokio::time::timeout(PATIENCE, run).await {
        Ok(Ok((status, text))) if status.success() => Ok(text),
        Ok(Ok((status, _))) => Err(wrong(format!("it ended with {status}"))),
        Ok(Err(e)) => Err(wrong(e.to_string())),
        Err(_) => Err(wrong(format!("it took more than {} s", PATIENCE.as_secs()))),
    }
}
