//! What an account is opened with at this moment: tokens are short-lived, and somebody else keeps them fresh.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use switchboard_adapter_sdk::Secret;
use switchboard_email::Login;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// How long a program may take to make a token.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest token.
const MOST: u64 = 64 * 1024;

/// A password or a token.
pub(super) enum Credential {
    Password(Secret),
    Token(Secret),
}

/// # Errors
/// With a sentence that names the file or the program, and never what it holds or says.
pub(super) async fn credential(login: &Login) -> Result<Credential, String> {
    match login {
        Login::Password(password) => Ok(Credential::Password(password.clone())),
        Login::TokenFile(path) => token(&from_file(path).await?, &format!("`token_file` {}", path.display())),
        Login::TokenCommand(command) => {
            let name = format!("`token_command` {}", command.first().map_or("", String::as_str));
            token(&from_command(command, &name).await?, &name)
        }
    }
}

fn token(bytes: &[u8], source: &str) -> Result<Credential, String> {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("{source}: what it gives is no token: it must be one word"));
    }
    Ok(Credential::Token(Secret::new(text)))
}

async fn from_file(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |e: std::io::Error| format!("`token_file` {} cannot be read: {e}", path.display());
    let mut bytes = vec![];
    tokio::fs::File::open(path).await.map_err(cannot)?.take(MOST).read_to_end(&mut bytes).await.map_err(cannot)?;
    Ok(bytes)
}

async fn from_command(command: &[String], name: &str) -> Result<Vec<u8>, String> {
    let (program, arguments) = command.split_first().ok_or_else(|| format!("{name} is empty"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("{name} cannot be run: {e}"))?;
    let mut said = vec![];
    let run = async {
        if let Some(out) = child.stdout.take() {
            out.take(MOST).read_to_end(&mut said).await?;
        }
        child.wait().await
    };
    let status = tokio::time::timeout(PATIENCE, run)
        .await
        .map_err(|_| format!("{name} did not end within {} s", PATIENCE.as_secs()))?
        .map_err(|e| format!("{name}: {e}"))?;
    if status.success() { Ok(said) } else { Err(format!("{name} failed: {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(shell: &str) -> Login {
        Login::TokenCommand(["/bin/sh", "-c", shell].map(str::to_owned).to_vec())
    }

    async fn given(login: Login) -> Result<String, String> {
        match credential(&login).await? {
            Credential::Token(token) => Ok(token.expose().to_owned()),
            Credential::Password(_) => Err("a password".into()),
        }
    }

    #[tokio::test]
    async fn a_token_is_what_the_program_or_the_file_says_now() {
        assert_eq!(given(command("echo ya29.abc")).await, Ok("ya29.abc".into()));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\n")).expect("written");
            assert_eq!(given(Login::TokenFile(path.clone())).await, Ok(token.into()));
        }
    }

    #[tokio::test]
    async fn what_is_no_token_is_not_shown() {
        for (login, wanted) in [
            (command("echo a secret; exit 3"), "failed: exit status: 3"),
            (command("echo a secret"), "it must be one word"),
            (command("printf ''"), "it must be one word"),
            (Login::TokenCommand(vec!["/nowhere/at/all".into()]), "cannot be run"),
            (Login::TokenFile("/nowhere/at/all".into()), "cannot be read"),
        ] {
            let error = given(login).await.expect_err("no token");
            assert!(error.contains(wanted) && !error.contains("secret"), "{error}");
        }
    }
}
