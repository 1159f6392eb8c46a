use crate::{eventually, http, shop::free_port};
use base64::Engine;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The key that WebDriver calls Shift.
const SHIFT: char = '\u{e008}';

/// A Chromium without a screen, driven over the W3C WebDriver protocol. Dropping it ends the browser.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    session: String,
    _profile: TempDir,
}

/// A node of the accessibility tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxNode {
    pub role: String,
    pub name: String,
    /// Such as `live` and `expanded`, with their values as text.
    pub properties: Vec<(String, String)>,
}

impl AxNode {
    fn of(node: &Value) -> AxNode {
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let properties = node["properties"].as_array().cloned().unwrap_or_default();
        AxNode {
            role: text(&node["role"]["value"]),
            name: node["name"]["value"].as_str().unwrap_or_default().to_owned(),
            properties: properties.iter().map(|p| (text(&p["name"]), text(&p["value"]["value"]))).collect(),
        }
    }

    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A tab of the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab(String);

impl Browser {
    /// Starts ChromeDriver and a browser with an empty profile.
    ///
    /// # Panics
    /// When Chromium or ChromeDriver is missing or does not start.
    pub async fn start() -> Browser {
        let profile = TempDir::with_prefix("switchboard-browser-").expect("a folder for the profile");
        let port = free_port();
        let log = std::fs::File::create(profile.path().join("chromedriver.log")).expect("a log for chromedriver");
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .spawn()
            .expect("chromedriver starts (apt-get install chromium chromium-driver)");
        let mut browser = Browser { driver, session: format!("http://127.0.0.1:{port}"), _profile: profile };
        let status = format!("{}/status", browser.session);
        eventually("chromedriver", || async {
            let answer = http().get(&status).send().await.map_err(|e| e.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--window-size=1440,900".to_owned(),
            // No word to the maker's servers: the test must pass without a network.
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1".to_owned(),
            format!("--user-data-dir={}", browser._profile.path().join("profile").display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let made = browser.command("POST", "/session", wanted).await.expect("a browser session");
        let id = made["sessionId"].as_str().expect("a session id").to_owned();
        browser.session = format!("{}/session/{id}", browser.session);
        browser
    }

    async fn command(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.session);
        let method = method.parse().map_err(|_| format!("{method} is no method"))?;
        let mut request = http().request(method, url).timeout(std::time::Duration::from_secs(60));
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.map_err(|e| format!("{path}: {e}"))?;
        let failed = !answer.status().is_success();
        let text = answer.text().await.map_err(|e| format!("{path}: {e}"))?;
        let body: Value = serde_json::from_str(&text).map_err(|e| format!("{path}: {e}: {text}"))?;
        if failed {
            return Err(format!("{path}: {}: {}", body["value"]["error"], body["value"]["message"]));
        }
        Ok(body["value"].clone())
    }

    async fn must(&self, method: &str, path: &str, body: Value) -> Value {
        self.command(method, path, body).await.unwrap_or_else(|e| panic!("the browser refused {e}"))
    }

    /// Opens an address and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.must("POST", "/url", json!({ "url": url })).await;
    }

    pub async fn reload(&self) {
        self.must("POST", "/refresh", json!({})).await;
    }

    pub async fn url(&self) -> String {
        self.must("GET", "/url", Value::Null).await.as_str().unwrap_or_default().to_owned()
    }

    pub async fn tab(&self) -> Tab {
        Tab(self.must("GET", "/window", Value::Null).await.as_str().unwrap_or_default().to_owned())
    }

    /// A new tab; it becomes the current one.
    pub async fn new_tab(&self) -> Tab {
        let made = self.must("POST", "/window/new", json!({ "type": "tab" })).await;
        let tab = Tab(made["handle"].as_str().expect("a window handle").to_owned());
        self.switch(&tab).await;
        tab
    }

    pub async fn switch(&self, tab: &Tab) {
        self.must("POST", "/window", json!({ "handle": tab.0 })).await;
    }

    /// Runs a function body in the page and returns its value.
    ///
    /// # Errors
    /// When it throws.
    pub async fn script(&self, body: &str, arguments: &[Value]) -> Result<Value, String> {
        self.command("POST", "/execute/sync", json!({ "script": body, "args": arguments })).await
    }

    /// Waits until an expression over the page, given as a function body, returns something true.
    pub async fn wait_for(&self, what: &str, body: &str) -> Value {
        eventually(what, || async {
            let found = self.script(body, &[]).await?;
            let falsy = found.is_null() || found == json!(false) || found == json!("");
            if falsy { Err(self.page_text().await) } else { Ok(found) }
        })
        .await
    }

    /// All text that the page shows, through open shadow roots too.
    pub async fn page_text(&self) -> String {
        let walk = "const out = []; const walk = (n) => { if (n.shadowRoot) walk(n.shadowRoot); \
                    for (const c of n.childNodes) { if (c.nodeType === 3) out.push(c.textContent); \
                    else if (!['SCRIPT','STYLE'].includes(c.nodeName)) walk(c); } }; \
                    walk(document.documentElement); return out.join(' ').replace(/\\s+/g, ' ');";
        self.script(walk, &[]).await.map_or_else(|e| e, |v| v.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page shows a text.
    pub async fn sees(&self, text: &str) {
        eventually(&format!("the page to show {text:?}"), || async {
            let page = self.page_text().await;
            if page.contains(text) { Ok(()) } else { Err(page) }
        })
        .await;
    }

    /// Waits for the first element of a selector that a person could use, through open shadow roots, and returns its handle.
    pub async fn element(&self, selector: &str) -> Value {
        let body = format!(
            "const find = (root) => {{ for (const e of root.querySelectorAll('*')) {{ \
               if (e.matches({selector}) && e.getClientRects().length && !e.disabled) return e; \
               if (e.shadowRoot) {{ const inner = find(e.shadowRoot); if (inner) return inner; }} }} return null; }}; \
             return find(document);",
            selector = Value::String(selector.to_owned())
        );
        self.wait_for(selector, &body).await
    }

    /// Clicks as a person does: the browser refuses when something lies over it.
    pub async fn click(&self, selector: &str) {
        let what = format!("a click on {selector}");
        eventually(&what, || async {
            let element = self.element(selector).await;
            self.command("POST", &format!("/element/{}/click", handle(&element)), json!({})).await
        })
        .await;
    }

    /// Types keys into a field; `\u{e007}` is Enter.
    pub async fn keys(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.must("POST", &format!("/element/{}/value", handle(&element)), json!({ "text": text })).await;
    }

    /// Types keys into whatever has the focus. Shift is held for those after `\u{e008}`, until the end.
    pub async fn press(&self, keys: &str) {
        let shift = |held: bool| json!({ "type": if held { "keyDown" } else { "keyUp" }, "value": SHIFT });
        let (plain, shifted) = keys.split_once(SHIFT).unwrap_or((keys, ""));
        let press = |key: char| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let mut actions: Vec<Value> = plain.chars().flat_map(press).collect();
        if !shifted.is_empty() {
            actions.push(shift(true));
            actions.extend(shifted.chars().flat_map(press));
            actions.push(shift(false));
        }
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.must("POST", "/actions", body).await;
    }

    /// The window's inner size and the system's theme, as a page sees them.
    pub async fn look(&self, width: u32, height: u32, theme: &str) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Runs a script in each page that is loaded from now on, before the page's own.
    pub async fn before_each_page(&self, script: &str) {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.must("POST", "/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// What the page is to assistive technology: `role "name"` of each node that it has a role for, in their order, with the
    /// properties that are set.
    pub async fn accessibility(&self) -> Vec<AxNode> {
        let tree = self.devtools("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().filter(|n| n["ignored"] != true).map(AxNode::of).collect()
    }

    /// What has the focus, through open shadow roots: its tag, and its label or text.
    pub async fn focused(&self) -> String {
        let walk = "let e = document.activeElement; while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement; \
                    return e ? e.nodeName.toLowerCase() + ' ' + (e.getAttribute('aria-label') ?? e.textContent).trim() : '';";
        self.script(walk, &[]).await.map_or_else(|e| e, |v| v.as_str().unwrap_or_default().to_owned())
    }

    /// Presses a key until something has the focus, as somebody does who looks for it.
    ///
    /// # Panics
    /// When it never gets there.
    pub async fn press_until(&self, key: &str, wanted: &str) {
        let mut seen = vec![];
        for _ in 0..40 {
            self.press(key).await;
            let now = self.focused().await;
            if now == wanted {
                return;
            }
            seen.push(now);
        }
        panic!("{wanted:?} is not reached by this key, but: {seen:?}");
    }

    /// Gives a file to a field for files, which need not be in sight.
    pub async fn choose_file(&self, selector: &str, path: &Path) {
        let body = format!(
            "const find = (root) => {{ for (const e of root.querySelectorAll('*')) {{ if (e.matches({selector})) return e; \
               if (e.shadowRoot) {{ const inner = find(e.shadowRoot); if (inner) return inner; }} }} return null; }}; \
             return find(document);",
            selector = Value::String(selector.to_owned())
        );
        let element = self.wait_for(selector, &body).await;
        let text = path.to_str().expect("a path that is text");
        self.must("POST", &format!("/element/{}/value", handle(&element)), json!({ "text": text })).await;
    }

    /// Saves what the page looks like.
    pub async fn screenshot(&self, to: &Path) {
        let png = self.must("GET", "/screenshot", Value::Null).await;
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(png.as_str().unwrap_or_default()).expect("a picture");
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder for screenshots");
        std::fs::write(to, bytes).expect("the screenshot can be written");
    }

    /// What the page complained about since the last call: refused scripts, failed loads, uncaught errors.
    pub async fn complaints(&self) -> Vec<String> {
        let rows = self.must("POST", "/se/log", json!({ "type": "browser" })).await;
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter()
            .filter(|r| r["level"] == "SEVERE")
            .map(|r| r["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Only the driver's own goodbye ends the browser with all its processes; a killed driver leaves them behind.
        let _ = self.say_goodbye();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    fn say_goodbye(&self) -> std::io::Result<()> {
        use std::io::{Read, Write};
        let (host, path) = self.session.trim_start_matches("http://").split_once('/').unwrap_or_default();
        let mut stream = std::net::TcpStream::connect(host)?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        write!(stream, "DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        // The answer comes once the browser has ended.
        stream.read(&mut [0; 1024]).map(|_| ())
    }
}

fn handle(element: &Value) -> String {
    // The W3C's name for "this is an element".
    element["element-6066-11e4-a52e-4f735466cecf"].as_str().unwrap_or_default().to_owned()
}

/// Where screenshots are kept for people to look at: `target/screenshots`.
#[must_use]
pub fn screenshots() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/screenshots"))
}
