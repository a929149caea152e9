//! The pages as people see them: in a real Chromium, wide and narrow, light and dark.
//!
//! A run is given a small capture, its pages are made by the built command and opened through
//! chromedriver, spoken to over plain HTTP. Each view must be drawn, complain of nothing, fit its
//! width, and show an advertisement's fields when it is clicked. Where there is no Chromium the
//! test says so and proves nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use serde_json::{Value, json};

/// How long a browser may take to come up, or a page to be drawn.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every page, in every width and colour.
#[test]
fn screen_pages_fit_and_answer_in_a_real_browser() {
    let Some(mut browser) = Browser::start() else {
        eprintln!("not run: needs chromium and chromedriver (Debian: chromium chromium-driver)");
        return;
    };
    let folder = env::temp_dir().join(format!("steadfast-screen-{}", process::id()));
    let run = folder.join("active-loses-power-0");
    bundle(&run);
    for path in [&run, &folder] {
        let mut steadfast = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        let output = steadfast.arg("report").arg(path).output().unwrap();
        assert!(
            output.status.code().is_some_and(|code| code <= 2),
            "{output:?}"
        );
    }
    for width in [1280, 400] {
        for scheme in ["light", "dark"] {
            let view = format!("{width} px, {scheme}");
            browser.look(&run.join("timeline.html"), width, scheme);
            browser.check(&view, width);
            let lanes = browser.ask("return document.querySelectorAll('g.lane').length");
            assert!(lanes.as_u64() > Some(10), "{view}: {lanes} lanes");
            browser.click(".mark[data-kind=advert]");
            let details = browser.ask("return document.getElementById('details').textContent");
            let details = details.as_str().unwrap().to_owned();
            for part in ["ADVERT of node 1", "in run.pcapng", "Counter", "Epoch"] {
                assert!(details.contains(part), "{view}: {part}: {details}");
            }
            browser.check(&format!("{view}, clicked"), width);
            browser.look(&folder.join("index.html"), width, scheme);
            browser.check(&format!("index, {view}"), width);
            let link = browser.ask("return document.querySelector('#runs a').getAttribute('href')");
            assert_eq!(link, json!("active-loses-power-0/timeline.html"), "{view}");
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

/// A run with its scenario, a summary above it and a capture of one advertisement.
fn bundle(run: &Path) {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    let data = package.join("tests/data/report");
    fs::create_dir_all(run).unwrap();
    for name in ["trace.jsonl", "scenario.toml"] {
        fs::copy(data.join(name), run.join(name)).unwrap();
    }
    let record = json!({"scenario": "active-loses-power", "world": "lab", "seed": 0,
        "verdict": "unknown", "trace": null, "outage_ms": 6.5});
    let summary = json!({"results": [record]}).to_string();
    fs::write(run.parent().unwrap().join("summary.json"), summary).unwrap();
    let mut writer = PcapNgWriter::new(Vec::new()).unwrap();
    for name in ["notes", "lan.a"] {
        let mut port = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
        let name = InterfaceDescriptionOption::IfName(Cow::Borrowed(name));
        port.options = vec![name, InterfaceDescriptionOption::IfTsResol(9)];
        writer.write_pcapng_block(port).unwrap();
    }
    let step = EnhancedPacketOption::Comment(Cow::Borrowed("step cut: power_off a"));
    let out = EnhancedPacketOption::Flags(2);
    let packets = [(1, 2_999, advert(), out), (0, 3_000, Vec::new(), step)];
    for (interface_id, millis, data, option) in packets {
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_secs(1_800_000_000) + Duration::from_millis(millis),
            original_len: 140,
            data: Cow::Owned(data),
            options: vec![option],
        };
        writer.write_pcapng_block(block).unwrap();
    }
    fs::write(run.join("run.pcapng"), writer.into_inner()).unwrap();
}

/// An advertisement of node 1, active; signed by nobody, which no reader of captures can tell.
fn advert() -> Vec<u8> {
    let mut frame = vec![0_u8; 14 + 110 + 16];
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    let fields: [(usize, &[u8]); 8] = [
        (14, &[1, 2, 1, 1]),
        (18, &126_u16.to_be_bytes()),
        (41, &[1]),
        (44, &110_u16.to_be_bytes()),
        (46, &[2, 1]),
        (56, &77_u64.to_be_bytes()),
        (84, &100_000_u32.to_be_bytes()),
        (88, &300_000_u32.to_be_bytes()),
    ];
    for (at, bytes) in fields {
        frame[at..at + bytes.len()].copy_from_slice(bytes);
    }
    frame
}

/// A browser behind its driver; both are gone afterwards.
struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: PathBuf,
}

impl Browser {
    /// None where there is none.
    fn start() -> Option<Self> {
        Command::new("chromium").arg("--version").output().ok()?;
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut command = Command::new("chromedriver");
        command
            .arg(format!("--port={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let driver = command.spawn().ok()?;
        let profile = env::temp_dir().join(format!("steadfast-chromium-{}", process::id()));
        let mut browser = Self {
            driver,
            port: free,
            session: String::new(),
            profile,
        };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", free)).is_err() {
            assert!(began.elapsed() < PATIENCE, "chromedriver does not come up");
            thread::sleep(Duration::from_millis(50));
        }
        let args = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", browser.profile.display()),
        ];
        let always = json!({"browserName": "chrome", "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL"}});
        let wanted = json!({"capabilities": {"alwaysMatch": always}});
        let begun = browser.send("POST", "/session", &wanted);
        browser.session = begun["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("{begun}"))
            .to_owned();
        Some(browser)
    }

    /// Opens a page in this width and colour, and waits until it is drawn.
    fn look(&mut self, page: &Path, width: u32, scheme: &str) {
        let metrics =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": feature}));
        self.command("url", &json!({"url": format!("file://{}", page.display())}));
        let began = Instant::now();
        while self.ask("return document.documentElement.dataset.ready") != json!("yes") {
            assert!(
                began.elapsed() < PATIENCE,
                "{} is not drawn",
                page.display()
            );
            thread::sleep(Duration::from_millis(50));
        }
        let dark = self.ask("return matchMedia('(prefers-color-scheme: dark)').matches");
        assert_eq!(dark, json!(scheme == "dark"));
    }

    /// Nothing sticks out, nothing was complained of, and something was painted.
    fn check(&mut self, view: &str, width: u32) {
        let wide = self.ask("return document.documentElement.scrollWidth");
        assert!(
            wide.as_u64() <= Some(u64::from(width)),
            "{view}: {wide} px wide"
        );
        let log = self.command("se/log", &json!({"type": "browser"}));
        assert_eq!(log, json!([]), "{view}: the console has complaints");
        let path = format!("/session/{}/screenshot", self.session);
        let picture = self.send("GET", &path, &Value::Null);
        let size = picture.as_str().map_or(0, str::len);
        assert!(
            size > 15_000,
            "{view}: a picture of {size} letters shows nothing"
        );
    }

    /// Runs a script in the page.
    fn ask(&mut self, script: &str) -> Value {
        self.command("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Clicks where a person would.
    fn click(&mut self, selector: &str) {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self.command("element", &wanted);
        let id = found
            .as_object()
            .and_then(|it| it.values().next())
            .and_then(Value::as_str);
        let id = id
            .unwrap_or_else(|| panic!("{selector}: {found}"))
            .to_owned();
        let clicked = self.command(&format!("element/{id}/click"), &json!({}));
        assert_eq!(clicked, Value::Null, "{selector}");
    }

    fn devtools(&mut self, command: &str, params: &Value) {
        let body = json!({"cmd": command, "params": params});
        self.command("goog/cdp/execute", &body);
    }

    fn command(&mut self, what: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{what}", self.session);
        self.send("POST", &path, body)
    }

    /// One request, one answer; its value.
    fn send(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(count) = line.strip_prefix("content-length:") {
                length = count.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !thread::panicking() {
            let path = format!("/session/{}", self.session);
            self.send("DELETE", &path, &Value::Null);
        }
        // The driver takes its browser with it.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}
