//! What an account is opened with at this moment: tokens are short-lived, and somebody else keeps them fresh.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use switchboard_adapter_sdk::Secret;
use switchboard_email::{Login, config};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// How long a program may take to make a token.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the file of a password that was refused is looked at.
const LOOK: Duration = Duration::from_secs(5);
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
        Login::Password(known) => {
            let password = config::password(known).await.map_err(|e| format!("`imap.password`: {e}"))?;
            Ok(Credential::Password(password))
        }
        Login::TokenFile(path) => token(&from_file(path).await?, &format!("`token_file` {}", path.display())),
        Login::TokenCommand(command) => {
            let name = format!("`token_command` {}", command.first().map_or("", String::as_str));
            token(&from_command(command, &name).await?, &name)
        }
    }
}

/// What stands in a password's file before a login, for [`mended`]; nothing of what is kept otherwise.
pub(super) type Standing = Option<Result<Secret, String>>;

pub(super) async fn standing(login: &Login) -> Standing {
    match login {
        Login::Password(known) if known.file().is_some() => Some(config::password(known).await),
        _ => None,
    }
}

/// Ends when another password stands in the file than before the login that was refused. One that is nowhere else never changes.
pub(super) async fn mended(login: &Login, refused: Standing) {
    let (Login::Password(known), Some(refused)) = (login, refused) else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK).await;
        let now = config::password(known).await;
        if now.is_ok() && now != refused {
            return;
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
            Credential::Password(password) => Ok(password.expose().to_owned()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_is_mended_in_its_file_is_used_at_the_next_login() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let login = Login::Password(Secret::new("worng").of_file(&path));
        assert_eq!(given(login.clone()).await, Ok("worng".into()), "a file that is gone takes nothing away");
        for wrong in ["", "\n", "one\ntwo\n"] {
            std::fs::write(&path, wrong).expect("written");
            let error = given(login.clone()).await.expect_err("no password");
            assert!(error.contains("must hold one line") && !error.contains("two"), "{error}");
        }
        std::fs::write(&path, "worng\n").expect("written");
        assert_eq!(given(login.clone()).await, Ok("worng".into()));
        let refused = standing(&login).await;
        let waiting = tokio::spawn({
            let (login, refused) = (login.clone(), refused.clone());
            async move { mended(&login, refused).await }
        });
        tokio::time::sleep(LOOK * 4).await;
        assert!(!waiting.is_finished(), "it is as it was");
        std::fs::write(&path, "").expect("written");
        tokio::time::sleep(LOOK * 4).await;
        assert!(!waiting.is_finished(), "somebody is writing it");
        std::fs::write(&path, "right\n").expect("written");
        tokio::time::timeout(LOOK * 4, waiting).await.expect("at once").expect("it ends");
        assert_eq!(given(login.clone()).await, Ok("right".into()));
        // It was mended while the server thought about the wrong one.
        tokio::time::timeout(LOOK * 4, mended(&login, refused)).await.expect("at once");
        let literal = Login::Password(Secret::new("p"));
        assert_eq!(given(literal.clone()).await, Ok("p".into()));
        assert!(
            tokio::time::timeout(LOOK * 100, mended(&literal, standing(&literal).await)).await.is_err(),
            "nothing will change it"
        );
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
