//! C16 to C19 in full: the published cases of the Autobahn test suite, groups 1 to 7, 9 and 10, as a
//! table of our own, against an echo over the real upgrade and frame code. (`judges` runs the
//! cases by another program.)

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use hubbub_tests::child::Child;
use hubbub_tests::deadline::eventually;
use hubbub_tests::process::binary;
use hubbub_tests::wire::{Frame, Read, Wire, op};
use tempfile::TempDir;

const START: Duration = Duration::from_secs(20);

/// `examples/conformance`, whose `/echo` has no chat behind it.
struct Echo {
    child: Child,
    _dir: TempDir,
}

impl Echo {
    fn start() -> Self {
        let program = binary().with_file_name("examples").join("conformance");
        assert!(
            program.is_file(),
            "run `cargo build --release --workspace --examples` first"
        );
        let dir = TempDir::new().expect("a temporary directory can be made");
        let mut command = Command::new(program);
        command.arg("0");
        let child = Child::start("conformance", command, &dir.path().join("log"));
        Self { child, _dir: dir }
    }

    async fn address(&self) -> SocketAddr {
        let listens = async || {
            let output = self.child.output();
            let line = output
                .lines()
                .find_map(|line| line.strip_prefix("listening on "))?;
            line.parse().ok()
        };
        eventually("the echo listens", START, listens).await.0
    }
}

/// What a case sends, and what has to come back.
struct Case {
    name: String,
    frames: Vec<Frame>,
    /// Bytes written at once; 0: all.
    chop: usize,
    answers: Vec<Read>,
    /// The close code that the server ends it with; `None`: it stays open.
    close: Option<u16>,
}

impl Case {
    fn new(name: impl Into<String>, frames: Vec<Frame>) -> Self {
        Self {
            name: name.into(),
            frames,
            chop: 0,
            answers: Vec::new(),
            close: None,
        }
    }

    fn hears(mut self, answers: Vec<Read>) -> Self {
        self.answers = answers;
        self
    }

    fn closes(mut self, code: u16) -> Self {
        self.close = Some(code);
        self
    }

    fn chopped(mut self, bytes: usize) -> Self {
        self.chop = bytes;
        self
    }

    async fn run(self, address: SocketAddr) {
        let mut wire = Wire::open_at(address, "/echo").await;
        let bytes: Vec<u8> = self.frames.iter().flat_map(Frame::bytes).collect();
        let size = if self.chop == 0 {
            bytes.len().max(1)
        } else {
            self.chop
        };
        for piece in bytes.chunks(size) {
            wire.write(piece).await;
        }
        for (number, answer) in self.answers.iter().enumerate() {
            let heard = wire.read().await;
            assert!(
                heard == *answer,
                "{}: answer {number}: {:.200?}",
                self.name,
                heard
            );
        }
        let code = match self.close {
            Some(code) => code,
            None => {
                wire.send(&Frame::close(1000, b"")).await;
                1000
            }
        };
        match wire.read().await {
            Read::Close(heard, _) => assert_eq!(heard, code, "{}", self.name),
            other => panic!("{}: {other:.200?}", self.name),
        }
        assert_eq!(wire.read().await, Read::End, "{}", self.name);
    }
}

async fn run(cases: Vec<Case>) {
    let echo = Echo::start();
    let address = echo.address().await;
    let count = cases.len();
    for case in cases {
        case.run(address).await;
    }
    println!("{count} cases");
}

fn text(payload: impl Into<Vec<u8>>) -> Frame {
    Frame::new(op::TEXT, payload)
}

fn ping(payload: impl Into<Vec<u8>>) -> Frame {
    Frame::new(op::PING, payload)
}

fn echoed(text: impl Into<String>) -> Read {
    Read::Text(text.into())
}

/// A message in pieces; an empty one is one empty frame.
fn pieces(opcode: u8, payload: &[u8], size: usize) -> Vec<Frame> {
    let mut chunks: Vec<&[u8]> = payload.chunks(size).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let last = chunks.len() - 1;
    let frame = |(number, chunk): (usize, &&[u8])| Frame {
        first: if number == 0 {
            opcode
        } else {
            op::CONTINUATION
        } | if number == last { 0x80 } else { 0 },
        ..text(*chunk)
    };
    chunks.iter().enumerate().map(frame).collect()
}

#[tokio::test]
async fn c16_autobahn_1_whole_messages() {
    let mut cases = Vec::new();
    for size in [0, 125, 126, 127, 128, 65_535, 65_536] {
        cases.push(
            Case::new(format!("1.1 {size}"), vec![text("*".repeat(size))])
                .hears(vec![echoed("*".repeat(size))]),
        );
        let bytes = vec![0xFE; size];
        cases.push(
            Case::new(
                format!("1.2 {size}"),
                vec![Frame::new(op::BINARY, bytes.clone())],
            )
            .hears(vec![Read::Binary(bytes)]),
        );
    }
    let large = "*".repeat(65_536);
    cases.push(
        Case::new("1.1.8", vec![text(large.clone())])
            .chopped(997)
            .hears(vec![echoed(large)]),
    );
    run(cases).await;
}

#[tokio::test]
async fn c16_autobahn_2_pings_and_pongs() {
    let pong = |payload: &[u8]| Read::Pong(payload.to_vec());
    let many: Vec<Frame> = (0..10).map(|n| ping(format!("payload-{n}"))).collect();
    let answers = || {
        (0..10)
            .map(|n| pong(format!("payload-{n}").as_bytes()))
            .collect()
    };
    let odd = [0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF];
    run(vec![
        Case::new("2.1", vec![ping("")]).hears(vec![pong(b"")]),
        Case::new("2.2", vec![ping("Hello, world!")]).hears(vec![pong(b"Hello, world!")]),
        Case::new("2.3", vec![ping(odd)]).hears(vec![pong(&odd)]),
        Case::new("2.4", vec![ping([0xFE; 125])]).hears(vec![pong(&[0xFE; 125])]),
        Case::new("2.5", vec![ping([0xFE; 126])]).closes(1002),
        Case::new("2.6", vec![ping([0xFE; 125])])
            .chopped(1)
            .hears(vec![pong(&[0xFE; 125])]),
        Case::new("2.7", vec![Frame::new(op::PONG, "")]),
        Case::new("2.8", vec![Frame::new(op::PONG, "unsolicited")]),
        Case::new("2.9", vec![Frame::new(op::PONG, "unsolicited"), ping("p")])
            .hears(vec![pong(b"p")]),
        Case::new("2.10", many.clone()).hears(answers()),
        Case::new("2.11", many).chopped(1).hears(answers()),
    ])
    .await;
}

/// A bad frame alone, and after a good message with a ping behind it: nothing after it is heard.
fn after_a_good_one(name: &str, bad: Frame) -> Vec<Case> {
    let with = vec![text("Hello, world!"), bad.clone(), ping("")];
    let hears = vec![echoed("Hello, world!")];
    vec![
        Case::new(format!("{name} alone"), vec![bad]).closes(1002),
        Case::new(format!("{name} after"), with.clone())
            .hears(hears.clone())
            .closes(1002),
        Case::new(format!("{name} by bytes"), with)
            .chopped(1)
            .hears(hears)
            .closes(1002),
    ]
}

#[tokio::test]
async fn c16_autobahn_3_and_4_reserved_bits_and_opcodes() {
    let mut cases = Vec::new();
    for (number, opcode) in [
        op::TEXT,
        op::TEXT,
        op::TEXT,
        op::TEXT,
        op::BINARY,
        op::PING,
        op::CLOSE,
    ]
    .into_iter()
    .enumerate()
    {
        let bits = (number as u8 + 1) << 4;
        let bad = Frame {
            first: 0x80 | bits | opcode,
            ..text("")
        };
        cases.extend(after_a_good_one(&format!("3.{}", number + 1), bad));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in ["", "reserved opcode payload"] {
            let bad = Frame {
                first: 0x80 | opcode,
                ..text(payload)
            };
            cases.extend(after_a_good_one(&format!("4 opcode {opcode}"), bad));
        }
    }
    run(cases).await;
}

#[tokio::test]
async fn c16_autobahn_5_fragments() {
    let first = || Frame::fragment(op::TEXT, "fragment1");
    let last = || Frame::new(op::CONTINUATION, "fragment2");
    let whole = || echoed("fragment1fragment2");
    let more = || Frame::fragment(op::CONTINUATION, "continues nothing");
    let end = || Frame::new(op::CONTINUATION, "continues nothing");
    let five = || {
        let next = |n: u8| Frame::fragment(op::CONTINUATION, format!("fragment{n}"));
        vec![
            first(),
            next(2),
            ping("1"),
            next(3),
            next(4),
            ping("2"),
            Frame::new(op::CONTINUATION, "fragment5"),
        ]
    };
    let joined: String = (1..6).map(|n| format!("fragment{n}")).collect();
    let pong = |payload: &str| Read::Pong(payload.into());
    let mut cases = vec![
        Case::new("5.1", vec![Frame::fragment(op::PING, "fragment1"), last()]).closes(1002),
        Case::new("5.2", vec![Frame::fragment(op::PONG, "fragment1"), last()]).closes(1002),
        Case::new("5.15", vec![first(), last(), more(), text("Hello")])
            .hears(vec![whole()])
            .closes(1002),
        Case::new("5.16", vec![more(), first(), last()]).closes(1002),
        Case::new("5.17", vec![end(), first(), last()]).closes(1002),
        Case::new("5.18", vec![first(), text("fragment2")]).closes(1002),
        Case::new("5.19", five()).hears(vec![pong("1"), pong("2"), echoed(joined)]),
    ];
    for chop in [0, 1, 3] {
        cases.extend([
            Case::new("5.3-5", vec![first(), last()])
                .chopped(chop)
                .hears(vec![whole()]),
            Case::new("5.6-8", vec![first(), ping("between"), last()])
                .chopped(chop)
                .hears(vec![pong("between"), whole()]),
            Case::new("5.9-11", vec![end(), text("Hello")])
                .chopped(chop)
                .closes(1002),
            Case::new("5.12-14", vec![more(), text("Hello")])
                .chopped(chop)
                .closes(1002),
        ]);
    }
    run(cases).await;
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// Whole, in fragments of one byte, and by bytes on the wire.
fn utf8(name: &str, payload: &[u8]) -> Vec<Case> {
    let cases = [
        Case::new(name, vec![text(payload)]),
        Case::new(format!("{name} in fragments"), pieces(op::TEXT, payload, 1)),
        Case::new(format!("{name} by bytes"), vec![text(payload)]).chopped(1),
    ];
    let judge = |case: Case| match std::str::from_utf8(payload) {
        Ok(good) => case.hears(vec![echoed(good)]),
        Err(_) => case.closes(1007),
    };
    cases.map(judge).into()
}

/// Sequences that the groups 6.5 to 6.23 have, by their number, and whether they are good text.
const SEQUENCES: [(&str, bool, &str); 17] = [
    ("6.5", true, "cebae1bdb9cf83cebcceb5"),
    ("6.7", true, "00 c280 e0a080 f0908080"),
    ("6.8", false, "f888808080 fc8480808080"),
    ("6.9", true, "7f dfbf efbfbf f48fbfbf"),
    ("6.10", false, "f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf"),
    ("6.11", true, "ed9fbf ee8080 efbfbd f48fbfbf"),
    ("6.11", false, "f4908080"),
    (
        "6.12",
        false,
        "80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf",
    ),
    (
        "6.13",
        false,
        "c020c120c220df20 e020e120ef20 f020f120f720 f820f920fa20fb20 fc20fd20",
    ),
    (
        "6.14",
        false,
        "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf",
    ),
    (
        "6.15",
        false,
        "c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf",
    ),
    ("6.16", false, "fe ff fefeffff"),
    (
        "6.17",
        false,
        "c0af e080af f08080af f8808080af fc80808080af",
    ),
    (
        "6.18",
        false,
        "c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf",
    ),
    (
        "6.19",
        false,
        "c080 e08080 f0808080 f880808080 fc8080808080",
    ),
    (
        "6.20",
        false,
        "eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf",
    ),
    (
        "6.21",
        false,
        "eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf edae80edb080 edae80edbfbf edafbfedb080 edafbfedbfbf",
    ),
];

#[tokio::test]
async fn c17_autobahn_6_utf_8() {
    let empty = |opcode: u8| Frame::fragment(opcode, "");
    let (one, two) = (empty(op::TEXT), empty(op::CONTINUATION));
    let middle = Frame::fragment(op::CONTINUATION, "middle frame payload");
    let end = Frame::new(op::CONTINUATION, "");
    let good = "Hello-µ@ßöäüàá-UTF-8!!";
    let bad = bytes_of("cebae1bdb9cf83cebcceb5eda080656469746564");
    let [kosme, high] = ["cebae1bdb9cf83cebcceb5", "f4908080"].map(bytes_of);
    let mut cases = vec![
        Case::new("6.1.1", vec![text("")]).hears(vec![echoed("")]),
        Case::new("6.1.2", vec![one.clone(), two, end.clone()]).hears(vec![echoed("")]),
        Case::new("6.1.3", vec![one, middle, end]).hears(vec![echoed("middle frame payload")]),
        // Told as soon as a fragment is bad, not at the message's end, which never comes here.
        Case::new(
            "6.4.1",
            vec![
                Frame::fragment(op::TEXT, kosme.clone()),
                Frame::fragment(op::CONTINUATION, high),
            ],
        )
        .closes(1007),
        Case::new(
            "6.4.2",
            vec![
                Frame::fragment(op::TEXT, [&kosme[..], &[0xF4]].concat()),
                Frame::fragment(op::CONTINUATION, [0x90]),
            ],
        )
        .closes(1007),
    ];
    cases.extend(utf8("6.2", good.as_bytes()));
    cases.push(Case::new("6.2.2", pieces(op::TEXT, good.as_bytes(), 7)).hears(vec![echoed(good)]));
    cases.extend(utf8("6.3", &bad));
    // 6.6: every beginning of good text.
    for length in 1..=kosme.len() {
        cases.extend(utf8(&format!("6.6 {length}"), &kosme[..length]));
    }
    for (name, is_good, list) in SEQUENCES {
        for hex in list.split(' ') {
            let bytes = bytes_of(hex);
            assert_eq!(
                std::str::from_utf8(&bytes).is_ok(),
                is_good,
                "{name} {hex}: the table is right"
            );
            cases.extend(utf8(&format!("{name} {hex}"), &bytes));
        }
    }
    cases.extend(utf8("6.12.8", &(0x80..0xBF).collect::<Vec<u8>>()));
    // 6.22 and 6.23: code points that are no characters are good text.
    let planes = (0..=16_u32).flat_map(|plane| [plane << 16 | 0xFFFE, plane << 16 | 0xFFFF]);
    for point in planes.chain(0xFFF9..=0xFFFD) {
        let text = char::from_u32(point).expect("no surrogate").to_string();
        cases.extend(utf8(&format!("6.22 {point:x}"), text.as_bytes()));
    }
    run(cases).await;
}

#[tokio::test]
async fn c16_autobahn_7_closing() {
    let close = |code: u16| Frame::close(code, b"");
    let hello = || text("Hello World!");
    let reason = |length: usize| Frame::close(1000, "*".repeat(length).as_bytes());
    let large = "BAsd7&jh23".repeat(26_214);
    let closed = |name: &str, frames: Vec<Frame>| Case::new(name, frames).closes(1000);
    let mut cases = vec![
        closed("7.1.1", vec![hello(), close(1000)]).hears(vec![echoed("Hello World!")]),
        closed("7.1.2", vec![close(1000), close(1000)]),
        closed("7.1.3", vec![close(1000), ping("")]),
        closed("7.1.4", vec![close(1000), hello()]),
        closed(
            "7.1.5",
            vec![
                Frame::fragment(op::TEXT, "fragment1"),
                close(1000),
                Frame::new(op::CONTINUATION, "fragment2"),
            ],
        ),
        closed("7.1.6", vec![text(large.clone()), close(1000), ping("")])
            .hears(vec![echoed(large)]),
        // An answer without a code to a goodbye without one.
        Case::new("7.3.1", vec![Frame::new(op::CLOSE, "")]).closes(0),
        Case::new("7.3.2", vec![Frame::new(op::CLOSE, "a")]).closes(1002),
        closed("7.3.3", vec![close(1000)]),
        closed("7.3.4", vec![Frame::close(1000, b"Hello World!")]),
        closed("7.3.5", vec![reason(123)]),
        Case::new("7.3.6", vec![reason(124)]).closes(1002),
        Case::new(
            "7.5.1",
            vec![Frame::close(
                1000,
                &bytes_of("cebae1bdb9cf83cebcceb5eda080656469746564"),
            )],
        )
        .closes(1007),
    ];
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        cases.push(Case::new(format!("7.7 {code}"), vec![close(code)]).closes(code));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        cases.push(Case::new(format!("7.9 {code}"), vec![close(code)]).closes(1002));
        let with = Frame::close(code, b"and why");
        cases.push(Case::new(format!("7.9 {code} with a reason"), vec![with]).closes(1002));
    }
    run(cases).await;
}

#[tokio::test]
async fn c19_autobahn_9_and_10_large_messages() {
    let mut cases = Vec::new();
    let answer = |opcode: u8, bytes: &[u8]| match opcode {
        op::TEXT => echoed(String::from_utf8_lossy(bytes)),
        _ => Read::Binary(bytes.to_vec()),
    };
    for opcode in [op::TEXT, op::BINARY] {
        for kib in [64, 256, 1024, 4 * 1024, 8 * 1024, 16 * 1024] {
            let bytes = vec![b'*'; kib * 1024];
            let frames = vec![Frame::new(opcode, bytes.clone())];
            cases.push(
                Case::new(format!("9.1-2 {kib} KiB"), frames).hears(vec![answer(opcode, &bytes)]),
            );
        }
        let bytes = vec![b'*'; 4 << 20];
        for size in [
            64,
            256,
            1024,
            4096,
            16_384,
            65_536,
            262_144,
            1 << 20,
            4 << 20,
        ] {
            let frames = pieces(opcode, &bytes, size);
            cases.push(
                Case::new(format!("9.3-4 by {size}"), frames).hears(vec![answer(opcode, &bytes)]),
            );
        }
        let bytes = vec![b'*'; 1 << 20];
        for size in [64, 128, 256, 512, 1024, 2048] {
            let frames = vec![Frame::new(opcode, bytes.clone())];
            cases.push(
                Case::new(format!("9.5-6 by {size}"), frames)
                    .chopped(size)
                    .hears(vec![answer(opcode, &bytes)]),
            );
        }
    }
    let bytes = vec![b'*'; 65_536];
    cases.push(
        Case::new("10.1.1", pieces(op::TEXT, &bytes, 1300)).hears(vec![answer(op::TEXT, &bytes)]),
    );
    run(cases).await;
}

#[tokio::test]
async fn c19_autobahn_9_a_thousand_messages_there_and_back() {
    let echo = Echo::start();
    let address = echo.address().await;
    for size in [0, 16, 64, 256, 1024, 4096, 16_384, 65_536] {
        let mut wire = Wire::open_at(address, "/echo").await;
        let payload = "*".repeat(size);
        for number in 0..1_000 {
            let binary = number % 2 == 1;
            let opcode = if binary { op::BINARY } else { op::TEXT };
            wire.send(&Frame::new(opcode, payload.clone())).await;
            let expected = if binary {
                Read::Binary(payload.clone().into())
            } else {
                echoed(payload.clone())
            };
            assert!(wire.read().await == expected, "9.7-8 {size}: {number}");
        }
    }
}
