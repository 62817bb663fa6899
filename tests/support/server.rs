//! A small HTTP server on loopback that speaks as a vendor does, and as broken things do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a client asked.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "what a request is, whether or not a vendor looks at all of it")]
pub struct Request {
    pub method: String,
    /// With the query string.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When its first line came.
    pub at: Instant,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The path without its query string.
    pub fn place(&self) -> &str {
        self.path.split('?').next().unwrap()
    }

    /// A parameter of the query string or of a form, decoded.
    pub fn param(&self, name: &str) -> Option<String> {
        let form = String::from_utf8_lossy(&self.body);
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').chain(form.split('&')).filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(n, _)| *n == name).map(|(_, value)| decode(value))
    }

    #[allow(dead_code, reason = "vendors that take JSON read it")]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (hex, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap()
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// What the server answers.
#[derive(Clone)]
pub enum Reply {
    Body(Vec<u8>),
    Status(u16),
    /// Status, headers, body.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// 200 with a length, and only half of the bytes.
    Half(Vec<u8>),
    /// The connection is reset without an answer.
    Reset,
    /// The head, and then a byte now and then.
    Drip(Vec<u8>),
    /// Nothing, for a while.
    Silence,
    /// Answered after a while, as a busy server does.
    Late(Duration, Box<Reply>),
}

impl Reply {
    /// 200 with a JSON document.
    pub fn json(document: &serde_json::Value) -> Self {
        Self::Full(200, vec![("Content-Type", "application/json".into())], document.to_string().into_bytes())
    }
}

/// Answers until the test's process ends.
pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers by path and by how often that path was asked for before.
    pub fn start(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::answering(move |request, before| {
            reply(&request.path, before.iter().filter(|b| b.path == request.path).count())
        })
    }

    /// Answers by the request and those before it; each connection has a thread, and is kept open as clients like it.
    pub fn answering(reply: impl Fn(&Request, &[Request]) -> Reply + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::<Request>::new()));
        let log = Arc::clone(&asked);
        let url = serve(move |request| {
            let before = {
                let mut log = log.lock().unwrap();
                let before = log.clone();
                log.push(request.clone());
                before
            };
            reply(request, &before)
        });
        Self { url, asked }
    }

    /// Answers by the request alone, and keeps no record of it: for hundreds of thousands of them.
    pub fn forgetting(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self { url: serve(reply), asked: Arc::default() }
    }

    /// The paths asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    /// All that was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers on a port of its own; the URL.
fn serve(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let reply = Arc::new(reply);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let reply = Arc::clone(&reply);
            // A client that hangs up early is its own business.
            std::thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut input = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                while let Some(request) = read(&mut input) {
                    if answer(&mut stream, reply(&request)).is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

fn read(input: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let at = Instant::now();
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.and_then(|(_, n)| n.parse().ok()).unwrap_or(0)];
    input.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body, at })
}

/// An error ends the connection.
fn answer(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    let end = || Err(std::io::ErrorKind::ConnectionAborted.into());
    match reply {
        Reply::Body(body) => whole(stream, 200, &[], &body),
        Reply::Status(status) => whole(stream, status, &[], b""),
        Reply::Full(status, headers, body) => whole(stream, status, &headers, &body),
        Reply::Half(body) => {
            stream.write_all(head(200, &[], body.len()).as_bytes())?;
            stream.write_all(&body[..body.len() / 2])?;
            end()
        }
        Reply::Reset => end(),
        Reply::Drip(body) => {
            stream.write_all(head(200, &[], body.len()).as_bytes())?;
            for byte in body {
                stream.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        }
        Reply::Silence => {
            std::thread::sleep(Duration::from_secs(30));
            end()
        }
        Reply::Late(pause, reply) => {
            std::thread::sleep(pause);
            answer(stream, *reply)
        }
    }
}

fn whole(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(&'static str, String)],
    body: &[u8],
) -> std::io::Result<()> {
    let mut bytes = head(status, headers, body.len()).into_bytes();
    bytes.extend_from_slice(body);
    stream.write_all(&bytes)
}

fn head(status: u16, headers: &[(&'static str, String)], length: usize) -> String {
    let mut head = format!("HTTP/1.1 {status} Answer\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}
