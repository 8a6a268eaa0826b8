//! A connection with the replies on it, in the clear or under TLS, and the message going out piece
//! by piece.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::Timeouts;
use super::data::DotStuffer;
use super::reply::ReplyBuffer;
use super::session::Phase;
use super::{Beyond, Encryption, Fault, Reply};

/// A stream of bytes, in the clear or under TLS.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A connection with the replies on it.
pub(super) struct Wire {
    pub(super) stream: Box<dyn Connection>,
    pub(super) replies: ReplyBuffer,
    /// What TLS there is.
    pub(super) tls: Encryption,
    timeouts: Timeouts,
    /// When the patience for the whole message ends. It ends here and not around all of it: only
    /// the session knows whether the host may have the message already.
    pub(super) until: Instant,
}

impl Wire {
    /// For a message that has to be over `until` then.
    pub(super) fn new(
        stream: Box<dyn Connection>,
        tls: Encryption,
        timeouts: Timeouts,
        until: Instant,
    ) -> Self {
        Self { stream, replies: ReplyBuffer::default(), tls, timeouts, until }
    }

    /// Another message begins.
    pub(super) fn begin(&mut self) {
        self.until = Instant::now() + self.timeouts.total;
    }

    fn patience(&self, most: Duration) -> Instant {
        self.until.min(Instant::now() + most)
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let until = self.patience(self.timeouts.data_block);
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout_at(until, write).await.map_err(|_| Fault::Timeout)?.map_err(Fault::Broken)
    }

    pub(super) async fn reply(&mut self, phase: Phase) -> Result<Reply, Fault> {
        let patience = match phase {
            Phase::Command => self.timeouts.command,
            Phase::DataStart => self.timeouts.data_start,
            Phase::DataEnd => self.timeouts.data_end,
        };
        let until = self.patience(patience);
        let read = async {
            let mut chunk = [0; 4096];
            loop {
                if let Some(reply) = self.replies.next_reply()? {
                    return Ok(reply);
                }
                match self.stream.read(&mut chunk).await.map_err(Fault::Broken)? {
                    0 => return Err(Fault::Closed),
                    n => self.replies.feed(chunk.get(..n).unwrap_or_default()),
                }
            }
        };
        timeout_at(until, read).await.map_err(|_| Fault::Timeout)?
    }

    /// Streams the message with dots doubled. When our own copy cannot be read, the connection is
    /// dropped without the final dot, so that the host cannot take a part for the whole.
    pub(super) async fn send_message<R: Read>(
        &mut self,
        open: Arc<impl Fn() -> io::Result<R> + Send + Sync + 'static>,
    ) -> Result<(), Fault> {
        let (to_wire, mut pieces) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || pump(open.as_ref(), &to_wire));
        let mut ended = false;
        while let Some(piece) = pieces.recv().await {
            let Piece { bytes, last } = piece.map_err(Fault::Message)?;
            self.send(&bytes).await?;
            ended = last;
        }
        if ended { Ok(()) } else { Err(Fault::Message(io::ErrorKind::UnexpectedEof.into())) }
    }

    /// Courtesy; whatever the host answers, the matter is settled.
    pub(super) async fn quit(mut self) {
        let goodbye = async {
            self.send(b"QUIT\r\n").await?;
            self.reply(Phase::Command).await
        };
        if !matches!(timeout(QUIT_PATIENCE, goodbye).await, Ok(Ok(_))) {
            tracing::debug!("a host did not answer QUIT");
        }
    }
}

/// Reads a message for what it holds beyond ASCII.
pub(super) async fn scan<R: Read>(
    open: Arc<impl Fn() -> io::Result<R> + Send + Sync + 'static>,
) -> Result<Beyond, Fault> {
    let looked = tokio::task::spawn_blocking(move || look(open()?));
    looked.await.map_err(|error| Fault::Message(io::Error::other(error)))?.map_err(Fault::Message)
}

fn look(mut message: impl Read) -> io::Result<Beyond> {
    let mut beyond = Beyond::default();
    // The last two bytes that are no CR: two line ends make the end of the header.
    let (mut in_header, mut before) = (true, b'\n');
    let mut chunk = vec![0; BLOCK];
    loop {
        let n = match message.read(&mut chunk) {
            Ok(0) => return Ok(beyond),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for byte in chunk.get(..n).unwrap_or_default() {
            match byte {
                b'\n' if before == b'\n' => in_header = false,
                0x80.. if in_header => beyond.header = true,
                0x80.. => beyond.body = true,
                _ => {}
            }
            if *byte != b'\r' {
                before = *byte;
            }
        }
    }
}

/// A part of the message in its wire form.
struct Piece {
    bytes: Vec<u8>,
    last: bool,
}

/// Reads the message and passes it on piece by piece, until it ends or nobody listens.
fn pump<R: Read>(open: impl Fn() -> io::Result<R>, to: &mpsc::Sender<io::Result<Piece>>) {
    let send = |piece| to.blocking_send(piece).is_ok();
    let mut message = match open() {
        Ok(message) => message,
        Err(error) => {
            send(Err(error));
            return;
        }
    };
    let mut stuffer = DotStuffer::new();
    let mut chunk = vec![0; BLOCK];
    loop {
        let mut bytes = Vec::with_capacity(BLOCK + BLOCK / 16);
        match message.read(&mut chunk) {
            Ok(0) => {
                stuffer.finish(&mut bytes);
                send(Ok(Piece { bytes, last: true }));
                return;
            }
            Ok(n) => stuffer.push(chunk.get(..n).unwrap_or_default(), &mut bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                send(Err(error));
                return;
            }
        }
        if !send(Ok(Piece { bytes, last: false })) {
            return;
        }
    }
}

/// Bytes read from the disk at once.
const BLOCK: usize = 32 << 10;
const QUIT_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "reading from memory cannot fail")]
mod tests {
    use super::*;

    #[test]
    fn header_and_body_are_looked_at_apart() {
        for (message, header, body) in [
            ("A: b\r\n\r\nc\r\n", false, false),
            ("A: ä\r\n\r\nc\r\n", true, false),
            ("A: b\r\n\r\nä\r\n", false, true),
            ("A: b\n\nä\n", false, true),
            ("\r\nä", false, true),
            ("A: b\r\n ä\r\n\r\nö", true, true),
        ] {
            let found = look(message.as_bytes()).unwrap();
            assert_eq!(found, Beyond { header, body }, "{message:?}");
        }
    }
}
