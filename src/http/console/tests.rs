use super::*;
use axum::body::to_bytes;
use axum::http::Method;
use std::sync::atomic::{AtomicI64, Ordering};
use switchboard_envelope::{Scope, Timestamp};
use tower_service::Service;

const START: i64 = 1_763_762_400_000;

struct Desk {
    clock: Arc<AtomicI64>,
    sessions: Arc<Sessions>,
    router: Router,
}

fn you() -> Identity {
    Identity { token: "admin".into(), agent: Some("you".into()), scopes: vec![Scope::Admin] }
}

fn desk_with(secure: bool) -> Desk {
    let clock = Arc::new(AtomicI64::new(START));
    let read = Arc::clone(&clock);
    let sessions = Arc::new(Sessions::new(Arc::new(move || Timestamp(read.load(Ordering::SeqCst))), secure));
    let tokens: TokenCheck = Arc::new(|token| (token == "s3cret").then(you));
    let workspace = "main <b>\"quoted\"</b>".to_owned();
    let router = routes(ConsoleState { sessions: Arc::clone(&sessions), tokens, workspace });
    Desk { clock, sessions, router }
}

fn desk() -> Desk {
    desk_with(false)
}

impl Desk {
    fn later(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8081");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().call(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], "").await
    }

    async fn login(&self, body: &str) -> Response {
        self.send(Method::POST, "/console/login", &[("x-switchboard", "console")], body).await
    }

    /// Signs in and answers the value for a `Cookie` header.
    async fn cookie(&self) -> String {
        let code = self.sessions.create_login(you()).unwrap();
        let response = self.login(&format!("{{\"code\":\"{code}\"}}")).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        set_cookie(&response).split(';').next().unwrap().to_owned()
    }
}

fn set_cookie(response: &Response) -> &str {
    response.headers()["set-cookie"].to_str().unwrap()
}

fn with_cookie(cookie: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("cookie", cookie.parse().unwrap());
    headers.insert("host", "127.0.0.1:8081".parse().unwrap());
    headers
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn the_bare_address_leads_to_the_console() {
    let response = desk().get("/").await;
    assert_eq!(
        (response.status(), &response.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/console".parse().unwrap())
    );
}

#[tokio::test]
async fn a_login_code_works_once() {
    let desk = desk();
    let code = desk.sessions.create_login(you()).unwrap();
    let body = format!("{{\"code\":\"{code}\"}}");
    let first = desk.login(&body).await;
    assert_eq!(first.status(), StatusCode::NO_CONTENT);
    let cookie = set_cookie(&first).split(';').next().unwrap().to_owned();
    assert_eq!(desk.sessions.identify(&with_cookie(&cookie)), Some(you()));

    let second = desk.login(&body).await;
    assert_eq!(second.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(second.headers()["content-type"], "application/problem+json");
    assert!(second.headers().get("set-cookie").is_none());
    assert!(text(second).await.contains("login_refused"));
}

#[tokio::test]
async fn a_login_code_expires() {
    let desk = desk();
    let code = desk.sessions.create_login(you()).unwrap();
    desk.later(10 * 60_000);
    assert_eq!(desk.login(&format!("{{\"code\":\"{code}\"}}")).await.status(), StatusCode::UNAUTHORIZED);
    let code = desk.sessions.create_login(you()).unwrap();
    desk.later(10 * 60_000 - 1);
    assert_eq!(desk.login(&format!("{{\"code\":\"{code}\"}}")).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_token_signs_in_and_a_wrong_one_does_not() {
    let desk = desk();
    assert_eq!(desk.login("{\"token\":\" s3cret\\n\"}").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(desk.login("{\"token\":\"guess\"}").await.status(), StatusCode::UNAUTHORIZED);
    for bad in ["", "{}", "[]", "{\"code\":1}", "{\"code\":\"a\",\"token\":\"b\"}", "\u{0}\u{1}"] {
        assert_eq!(desk.login(bad).await.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    let huge = format!("{{\"code\":\"{}\"}}", "x".repeat(MAX_LOGIN_BODY));
    assert_eq!(desk.login(&huge).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let long = format!("{{\"code\":\"{}\"}}", "x".repeat(3000));
    assert_eq!(desk.login(&long).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
    let plain = desk().login("{\"token\":\"s3cret\"}").await;
    let cookie = set_cookie(&plain);
    assert!(cookie.starts_with("switchboard_console="), "{cookie}");
    for flag in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=604800"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    let id = cookie.split(';').next().unwrap().split_once('=').unwrap().1;
    assert_eq!(id.len(), 43, "256 bits");

    let secure = desk_with(true).login("{\"token\":\"s3cret\"}").await;
    let cookie = set_cookie(&secure);
    assert!(cookie.starts_with("__Host-switchboard_console=") && cookie.ends_with("; Secure"), "{cookie}");
}

#[tokio::test]
async fn a_change_without_the_consoles_header_or_from_another_origin_is_refused() {
    let desk = desk();
    let mut headers = with_cookie(&desk.cookie().await);
    let check = |method: &Method, headers: &HeaderMap| desk.sessions.check(method, headers);
    assert_eq!(check(&Method::GET, &headers), Ok(Some(you())), "reading needs no header");
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        assert_eq!(check(&method, &headers), Err(Forged::Header), "{method}");
    }
    headers.insert("x-switchboard", "console".parse().unwrap());
    assert_eq!(check(&Method::POST, &headers), Ok(Some(you())));
    headers.insert("origin", "http://127.0.0.1:8081".parse().unwrap());
    assert_eq!(check(&Method::POST, &headers), Ok(Some(you())));
    for foreign in ["http://evil.example", "null", "http://127.0.0.1:8080", "http://127.0.0.1:8081.evil.example"] {
        headers.insert("origin", foreign.parse().unwrap());
        assert_eq!(check(&Method::POST, &headers), Err(Forged::Origin), "{foreign}");
    }
    headers.remove("origin");
    headers.insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(check(&Method::POST, &headers), Err(Forged::Origin));
}

#[tokio::test]
async fn no_other_site_can_sign_us_in_or_out() {
    let desk = desk();
    let body = "{\"token\":\"s3cret\"}";
    assert_eq!(desk.send(Method::POST, "/console/login", &[], body).await.status(), StatusCode::FORBIDDEN);
    let foreign = [("x-switchboard", "console"), ("origin", "http://evil.example")];
    assert_eq!(desk.send(Method::POST, "/console/login", &foreign, body).await.status(), StatusCode::FORBIDDEN);
    let cookie = desk.cookie().await;
    let refused = desk.send(Method::POST, "/console/logout", &[("cookie", &cookie)], "").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(desk.sessions.identify(&with_cookie(&cookie)).is_some());
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let desk = desk();
    let cookie = desk.cookie().await;
    let ours = [("x-switchboard", "console"), ("cookie", cookie.as_str())];
    let out = desk.send(Method::POST, "/console/logout", &ours, "").await;
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    assert!(set_cookie(&out).contains("Max-Age=0"));
    assert_eq!(desk.sessions.identify(&with_cookie(&cookie)), None);
}

#[tokio::test]
async fn an_idle_session_ends_and_a_used_one_slides_until_its_week_is_over() {
    let desk = desk();
    let idle = with_cookie(&desk.cookie().await);
    let used = with_cookie(&desk.cookie().await);
    let hour = 3_600_000;
    for _ in 0..11 {
        desk.later(hour);
        assert!(desk.sessions.identify(&used).is_some());
    }
    desk.later(hour);
    assert_eq!(desk.sessions.identify(&idle), None, "twelve hours without a request");
    for _ in 12..(7 * 24 - 1) {
        assert!(desk.sessions.identify(&used).is_some());
        desk.later(hour);
    }
    assert!(desk.sessions.identify(&used).is_some());
    desk.later(hour);
    assert_eq!(desk.sessions.identify(&used), None, "a week");
}

#[tokio::test]
async fn forged_cookies_open_nothing() {
    let desk = desk();
    let real = desk.cookie().await;
    let id = real.split_once('=').unwrap().1;
    let forged = [
        "switchboard_console=".to_owned(),
        "switchboard_console".to_owned(),
        format!("other={id}"),
        format!("__Host-switchboard_console={id}"),
        format!("switchboard_console={}", "A".repeat(4000)),
        format!("switchboard_console={}", &id[1..]),
    ];
    for cookie in forged {
        assert_eq!(desk.sessions.identify(&with_cookie(&cookie)), None, "{cookie}");
    }
    assert!(desk.sessions.identify(&with_cookie(&format!("a=b; {real} ; c=d"))).is_some());
}

#[tokio::test]
async fn the_number_of_sessions_and_codes_is_bounded() {
    let desk = desk();
    let first = with_cookie(&desk.cookie().await);
    let code = desk.sessions.create_login(you()).unwrap();
    desk.later(1);
    for _ in 0..1000 {
        desk.sessions.start(you()).unwrap();
    }
    assert_eq!(desk.sessions.identify(&first), None, "the one idle for longest made room");
    for _ in 0..100 {
        desk.sessions.create_login(you()).unwrap();
    }
    assert_eq!(desk.sessions.redeem(&code), None, "the oldest code made room");
}

#[tokio::test]
async fn every_address_of_the_console_serves_the_page_under_the_strict_policy() {
    let desk = desk();
    let deep = [
        "/console",
        "/console/inbox/mine/c-4127",
        "/console/board",
        "/console/inbox/queue/billing/a%2Fb",
        "/console/login",
    ];
    for path in deep {
        let response = desk.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let headers = response.headers();
        assert_eq!(headers["content-security-policy"], CONTENT_SECURITY_POLICY);
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    }
    assert!(CONTENT_SECURITY_POLICY.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
    assert!(!CONTENT_SECURITY_POLICY.contains("unsafe"));
    assert_eq!(desk.send(Method::POST, "/console/board", &[], "").await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_page_holds_nothing_inline_and_escapes_the_workspace() {
    let page = text(desk().get("/console").await).await;
    assert!(page.contains("content=\"main &lt;b&gt;&quot;quoted&quot;&lt;/b&gt;\""));
    assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onclick"));
    for script in page.split("<script").skip(1) {
        assert!(script.starts_with(" type=\"module\" src=\"/console/assets/"), "{script}");
        assert!(script.contains("\"></script>"), "nothing inside: {script}");
    }
    assert!(!page.contains("{version}") && !page.contains("{preload}") && !page.contains("{workspace}"));
}

#[tokio::test]
async fn files_are_served_with_a_tag_and_kept_by_version() {
    let desk = desk();
    let page = text(desk.get("/console").await).await;
    let start = page.find("src=\"").unwrap() + 5;
    let app = &page[start..start + page[start..].find('"').unwrap()];
    let response = desk.get(app).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(response.headers()["content-security-policy"], CONTENT_SECURITY_POLICY);

    let bare = desk.get("/console/assets/console.css").await;
    assert_eq!(bare.headers()["cache-control"], "no-cache");
    assert_eq!(bare.headers()["content-type"], "text/css; charset=utf-8");
    let tag = bare.headers()["etag"].to_str().unwrap().to_owned();
    let again = desk.send(Method::GET, "/console/assets/console.css", &[("if-none-match", &tag)], "").await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(text(again).await, "");
}

#[tokio::test]
async fn an_unknown_file_is_not_the_page() {
    let desk = desk();
    for path in [
        "/console/assets/none.js",
        "/console/assets/0/none.js",
        "/console/assets/..%2Fmod.rs",
        "/console/assets/a/b/app.js",
    ] {
        let response = desk.get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}

/// What a customer wrote must never be read as markup, so no module may have a way to do that.
#[test]
fn no_module_can_turn_text_into_markup() {
    for asset in ASSETS {
        let forbidden = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
            "http-equiv",
        ];
        for word in forbidden {
            assert!(!asset.body.contains(word), "{} holds {word}", asset.name);
        }
    }
}

/// A module that is not in the table is a blank page in production only.
#[test]
fn every_file_and_every_import_is_in_the_table() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/console/assets");
    let mut files: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.retain(|name| name != "page.html");
    files.sort();
    let mut table: Vec<String> = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
    table.sort();
    assert_eq!(files, table);
    for asset in ASSETS.iter().filter(|asset| asset.name.ends_with(".js")) {
        for line in asset.body.lines().filter(|line| line.starts_with("import ")) {
            let name = line.split("\"./").nth(1).and_then(|rest| rest.split('"').next()).expect(line);
            assert!(table.iter().any(|known| known == name), "{} imports {name}", asset.name);
        }
    }
}

#[tokio::test]
async fn open_consoles_are_counted_until_their_stream_is_dropped() {
    let desk = desk();
    let one = desk.sessions.open_console("you");
    let two = desk.sessions.open_console("you");
    assert_eq!(desk.sessions.open_consoles("you"), 2);
    drop(one);
    desk.later(presence::OFFLINE_AFTER_MS);
    assert_eq!(desk.sessions.presence_changes(|_| Some(Presence::Available)), vec![]);
    drop(two);
    assert_eq!(desk.sessions.open_consoles("you"), 0);
    desk.later(presence::AWAY_AFTER_MS);
    let away = PresenceChange { agent: "you".into(), to: Presence::Away };
    assert_eq!(desk.sessions.presence_changes(|_| Some(Presence::Available)), vec![away]);
}

fn kept(dir: &std::path::Path, ops: &str) -> super::Kept {
    super::Kept::new(dir, [("ops".to_owned(), ops.to_owned())].into())
}

#[test]
fn a_restart_signs_nobody_out_and_a_sign_out_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(1_763_000_000_000));
    let clock = now.clone();
    let clock: super::sessions::Clock = Arc::new(move || Timestamp(clock.load(Ordering::SeqCst)));
    let open = |ops: &str| Sessions::restored(clock.clone(), false, kept(dir.path(), ops));
    let who = |token: &str| Identity { token: token.into(), agent: Some("ann".into()), scopes: vec![Scope::Agent] };
    let headers = |cookie: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::COOKIE, cookie.split(';').next().unwrap().parse().unwrap());
        headers
    };
    let first = open("v1");
    let (ann, console) = (headers(&first.start(who("ops")).unwrap()), headers(&first.start(who("console")).unwrap()));
    let file = std::fs::read_to_string(dir.path().join("sessions.json")).unwrap();
    let id = ann[http::header::COOKIE].to_str().unwrap().split_once('=').unwrap().1.to_owned();
    assert!(!file.contains(&id), "the file opens nothing");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(dir.path().join("sessions.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    let second = open("v1");
    assert_eq!(second.identify(&ann), Some(who("ops")));
    assert_eq!(second.identify(&console), Some(who("console")));
    let changes = |s: &Sessions| s.presence_changes(|_| Some(Presence::Available)).len();
    now.fetch_add(31_000, Ordering::SeqCst);
    assert_eq!(changes(&second), 1, "who does not come back after the restart is away");
    drop(second.end(&console));

    let third = open("v1");
    assert_eq!((third.identify(&ann), third.identify(&console)), (Some(who("ops")), None));
    assert_eq!(open("v2").identify(&ann), None, "its token was changed");
    now.fetch_add(super::sessions::SESSION_IDLE_MS, Ordering::SeqCst);
    assert_eq!(open("v1").identify(&ann), None, "idle for too long");
    std::fs::write(dir.path().join("sessions.json"), "{ nonsense").unwrap();
    assert_eq!(open("v1").identify(&ann), None);
}
