//! A receiving host on loopback that does as it is told and keeps what it gets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Clone, Default)]
pub(super) struct Got {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    /// As on the wire, without the final dot.
    pub(super) data: String,
    /// MAIL and RCPT as they were said.
    pub(super) said: Vec<String>,
    pub(super) tls: bool,
}

pub(super) struct Host {
    port: u16,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    told: Mutex<HashMap<String, String>>,
    got: Mutex<Vec<Got>>,
    connections: AtomicUsize,
    ehlo: Vec<&'static str>,
    tls: Option<TlsAcceptor>,
}

impl Host {
    pub(super) async fn start(address: &str) -> Self {
        Self::with(address, &[], None).await
    }

    /// A host that offers these extensions.
    pub(super) async fn with(
        address: &str,
        ehlo: &[&'static str],
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { ehlo: ehlo.to_vec(), tls, ..Shared::default() });
        let all = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                all.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(Box::new(stream), Arc::clone(&all)));
            }
        });
        Self { port, shared, serving }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The reply to a recipient; to the connection for the empty one, to any sender for `MAIL`.
    pub(super) fn answer(&self, recipient: &str, reply: &str) {
        self.shared.told.lock().unwrap().insert(recipient.to_owned(), reply.to_owned());
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn serve(stream: Box<dyn Io>, all: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    let reply_to = |recipient: &str| all.told.lock().unwrap().get(recipient).cloned();
    let mut mail = Got::default();
    let mut tls = false;
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
            "EHLO" => {
                let starttls = (all.tls.is_some() && !tls).then_some("STARTTLS");
                let lines = all.ehlo.iter().copied().chain(starttls);
                reply = lines
                    .fold("250-mx\r\n".to_owned(), |text, line| text + "250-" + line + "\r\n")
                    + "250 HELP";
            }
            "STAR" => {
                stream.write_all(b"220 go\r\n").await.unwrap();
                let acceptor = all.tls.clone().unwrap();
                let Ok(secured) = acceptor.accept(stream.into_inner()).await else { return };
                stream = BufReader::new(Box::new(secured));
                tls = true;
                let mut hello = String::new();
                if stream.read_line(&mut hello).await.unwrap_or(0) == 0 {
                    return;
                }
                reply = all
                    .ehlo
                    .iter()
                    .fold("250-mx\r\n".to_owned(), |text, line| text + "250-" + line + "\r\n")
                    + "250 HELP";
            }
            "MAIL" => {
                mail = Got { from: inside(), tls, ..Got::default() };
                mail.said.push(line.trim_end().to_owned());
                reply = reply_to("MAIL").unwrap_or(reply);
            }
            "RCPT" => {
                mail.said.push(line.trim_end().to_owned());
                match reply_to(&inside()) {
                    Some(told) if !told.starts_with('2') => reply = told,
                    _ => mail.to.push(inside()),
                }
            }
            "DATA" => {
                stream.write_all(b"354 go\r\n").await.unwrap();
                loop {
                    let mut line = String::new();
                    // Who hangs up before the dot has sent nothing.
                    if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                    if line == ".\r\n" {
                        break;
                    }
                    mail.data.push_str(&line);
                }
                all.got.lock().unwrap().push(std::mem::take(&mut mail));
            }
            _ => {}
        }
    }
}
