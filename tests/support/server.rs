//! A small HTTP server on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the server answers.
pub enum Reply {
    Body(Vec<u8>),
    Status(u16),
    /// 200 with a length, and only half of the bytes.
    Half(Vec<u8>),
}

/// Answers until the test's process ends.
pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers by path and by how often that path was asked for before.
    pub fn start(reply: impl Fn(&str, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(path) = path(&stream) else { continue };
                let before = log.lock().unwrap().iter().filter(|p| **p == path).count();
                log.lock().unwrap().push(path.clone());
                // A client that hangs up early is its own business.
                let _ = answer(stream, reply(&path, before));
            }
        });
        Self { url, asked }
    }

    /// The paths asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn path(stream: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    Some(request.split(' ').nth(1)?.to_owned())
}

fn answer(mut stream: TcpStream, reply: Reply) -> std::io::Result<()> {
    let (status, length, body) = match reply {
        Reply::Body(body) => (200, body.len(), body),
        Reply::Status(status) => (status, 0, Vec::new()),
        Reply::Half(body) => (200, body.len(), body[..body.len() / 2].to_vec()),
    };
    let head = format!("HTTP/1.1 {status} Answer\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}
