//! A receiving host on loopback that does as it is told and keeps what it gets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Default)]
pub(super) struct Got {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    /// As on the wire, without the final dot.
    pub(super) data: String,
}

pub(super) struct Host {
    port: u16,
    told: Arc<Mutex<HashMap<String, String>>>,
    got: Arc<Mutex<Vec<Got>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Host {
    pub(super) async fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Arc::new(Mutex::new(HashMap::new()));
        let got = Arc::new(Mutex::new(Vec::new()));
        let (replies, kept) = (Arc::clone(&told), Arc::clone(&got));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&replies), Arc::clone(&kept)));
            }
        });
        Self { port, told, got, serving }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The reply to a recipient; to the connection for the empty one.
    pub(super) fn answer(&self, recipient: &str, reply: &str) {
        self.told.lock().unwrap().insert(recipient.to_owned(), reply.to_owned());
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    stream: TcpStream,
    told: Arc<Mutex<HashMap<String, String>>>,
    got: Arc<Mutex<Vec<Got>>>,
) {
    let mut stream = BufReader::new(stream);
    let reply_to = |recipient: &str| told.lock().unwrap().get(recipient).cloned();
    let mut mail = Got::default();
    let mut reply = reply_to("").unwrap_or_else(|| "220 ready".into());
    loop {
        if stream.write_all(format!("{reply}\r\n").as_bytes()).await.is_err() {
            return;
        }
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let inside = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        "250 ok".clone_into(&mut reply);
        match line.get(..4).unwrap_or_default() {
            "MAIL" => mail = Got { from: inside(), ..Got::default() },
            "RCPT" => match reply_to(&inside()) {
                Some(told) if !told.starts_with('2') => reply = told,
                _ => mail.to.push(inside()),
            },
            "DATA" => {
                stream.write_all(b"354 go\r\n").await.unwrap();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    if line == ".\r\n" || line.is_empty() {
                        break;
                    }
                    mail.data.push_str(&line);
                }
                got.lock().unwrap().push(std::mem::take(&mut mail));
            }
            _ => {}
        }
    }
}
