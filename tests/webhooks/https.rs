//! An endpoint with TLS that is no code of ours: Python checks the signature as the documentation says.

use std::process::Command;
use std::time::Duration;

use hubbub_tests::child::Child;
use hubbub_tests::deadline::eventually;
use hubbub_tests::port::free_port;
use hubbub_tests::process::{FILE, Launch, NodeProcess};
use hubbub_tests::raw::Raw;
use tempfile::TempDir;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const SOON: Duration = Duration::from_secs(30);
const DOCS: &str = include_str!("../../static/docs/index.html");
const SERVER: &str = r#"
import http.server, ssl, sys

class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        genuine = is_genuine(self.headers, body, sys.argv[2])
        forged = is_genuine(self.headers, body + b" ", sys.argv[2])
        print("told", genuine and not forged, body.decode(), flush=True)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening", flush=True)
server.serve_forever()
"#;

/// The function that the documentation gives to readers.
fn documented_check() -> String {
    let begin = DOCS.find("import base64, hashlib").expect("the example");
    let example = &DOCS[begin..];
    let end = example.find("</code>").expect("its end");
    example[..end]
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// A certificate for 127.0.0.1 that signs itself.
fn make_certificate(dir: &TempDir) {
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args([
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-subj",
            "/CN=127.0.0.1",
        ])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(dir.path())
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_with_tls_is_told_and_finds_it_genuine() {
    let dir = TempDir::new().expect("a temporary directory can be made");
    make_certificate(&dir);
    let port = free_port();
    let script = dir.path().join("server.py");
    std::fs::write(&script, documented_check() + SERVER).expect("a file can be written");
    let mut python = Command::new("python3");
    python
        .arg(&script)
        .args([&port.to_string(), SECRET])
        .current_dir(dir.path());
    let python = Child::start("python", python, &dir.path().join("python.log"));
    let listening = async || python.output().contains("listening").then_some(());
    eventually("the endpoint listens", SOON, listening).await;

    let table = |name: &str| {
        format!(
            "[[webhook]]\nname = \"{name}\"\nurl = \"https://127.0.0.1:{port}/\"\nsecret = \"{SECRET}\"\n"
        )
    };
    let certificate = dir.path().join("cert.pem");
    let trusting = Launch {
        env: vec![(
            "SSL_CERT_FILE".to_owned(),
            certificate.display().to_string(),
        )],
        ..Launch::new("gw-0", &[(FILE, &table("trusting"))])
    };
    let mut node = NodeProcess::launch(trusting);
    node.ready().await;
    let mut raw = Raw::connect(node.address()).await;
    raw.join("lobby").await;
    raw.say("lobby", "over TLS").await;
    let told = async || python.output().contains("over TLS").then_some(());
    eventually("the endpoint is told", SOON, told).await;
    let log = python.output();
    assert!(
        log.contains("told True") && !log.contains("told False"),
        "{log}"
    );

    // The same endpoint is a stranger to a node that does not know its certificate.
    let mut node = NodeProcess::spawn("gw-1", &[(FILE, &table("wary"))]);
    node.ready().await;
    let mut raw = Raw::connect(node.address()).await;
    raw.join("lobby").await;
    raw.say("lobby", "to a stranger").await;
    let failed = async || {
        let answer = hubbub_tests::http::try_get(node.ops(), "/metrics").await?;
        let failed = "hubbub_webhook_failed_attempts_total{webhook=\"wary\"} 0";
        (answer.body.contains("wary") && !answer.body.contains(failed)).then_some(())
    };
    eventually("a try has failed", SOON, failed).await;
    assert!(
        !python.output().contains("to a stranger"),
        "{}",
        python.output()
    );
}
