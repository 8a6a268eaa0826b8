//! Both ends of the control socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Reply, Request, answer, carry};
use crate::files::create_private_folder;
use crate::office::{Office, OfficeError};

/// Asks the post office that holds this data folder, or opens the folder when none runs.
pub fn ask(data: &Path, request: &Request) -> Result<Value, ControlError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ControlError::Runtime)?;
    runtime.block_on(async {
        match UnixStream::connect(path(data)).await {
            Ok(stream) => exchange(stream, request).await,
            Err(error) if nobody_runs(&error) => {
                // Only a set-up makes a folder; a slip in its name must not.
                if !data.is_dir() && !matches!(request, Request::Setup { .. }) {
                    return Err(ControlError::NoFolder(data.to_owned()));
                }
                let office = Arc::new(Office::open(data)?);
                let result = answer(&office, request).await;
                if let Ok(office) = Arc::try_unwrap(office) {
                    office.close().await?;
                }
                result.map_err(ControlError::Refused)
            }
            Err(source) => Err(ControlError::Socket { path: path(data), source }),
        }
    })
}

/// No socket, or one left behind by a power cut.
pub(super) fn nobody_runs(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// The post office's end.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Opens the socket. The caller holds the store's lock, so a socket found here is stale.
    pub fn bind(data: &Path) -> Result<Self, ControlError> {
        let path = path(data);
        let listener = bind_private(&data.join("control.new"), &path)
            .map_err(|source| ControlError::Socket { path: path.clone(), source })?;
        Ok(Self { listener, path })
    }

    /// Answers until `stop`, then removes the socket.
    pub async fn run(self, office: Arc<Office>, stop: CancellationToken, tasks: TaskTracker) {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match stream {
                Ok((stream, _)) => {
                    let (office, stop) = (Arc::clone(&office), stop.clone());
                    tasks.spawn(async move {
                        if let Err(error) = serve(stream, &office, &stop).await {
                            tracing::debug!(%error, "control connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket was gone");
        }
    }
}

/// Binds where nobody else can look until the socket has its mode, then puts it into its place,
/// over a stale one.
fn bind_private(folder: &Path, place: &Path) -> io::Result<UnixListener> {
    create_private_folder(folder)?;
    let socket = folder.join("s");
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&socket)?;
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o600))?;
    std::fs::rename(&socket, place)?;
    std::fs::remove_dir(folder)?;
    Ok(listener)
}

/// Answers one line, and carries mail over it when that was asked for.
pub(super) async fn serve(
    stream: UnixStream,
    office: &Arc<Office>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut limited = (&mut stream).take(MAX_LINE);
    tokio::select! {
        // Who has not asked by now asks the next one.
        () = stop.cancelled() => return Ok(()),
        read = limited.read_line(&mut line) => read?,
    };
    let (reply, carried) = match serde_json::from_str::<Request>(&line) {
        Ok(request) => match answer(office, &request).await {
            Ok(value) => (Reply::Ok(value), Some(request)),
            Err(message) => (Reply::Error(message), None),
        },
        Err(error) => (Reply::Error(format!("not a request this version knows: {error}")), None),
    };
    let mut bytes = serde_json::to_vec(&reply)?;
    bytes.push(b'\n');
    stream.get_mut().write_all(&bytes).await?;
    match carried {
        // Nothing is said before the answer, so nothing is left in the buffer.
        Some(request) => carry::carry(office, &request, stream.into_inner(), stop).await,
        None => Ok(()),
    }
}

async fn exchange(mut stream: UnixStream, request: &Request) -> Result<Value, ControlError> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let answered = timeout(patience(request), async {
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        BufReader::new(stream).read_until(b'\n', &mut answer).await?;
        Ok::<_, io::Error>(answer)
    });
    let answer =
        answered.await.map_err(|_| ControlError::Silent)?.map_err(|_| ControlError::Silent)?;
    match serde_json::from_slice(&answer).map_err(|_| ControlError::Silent)? {
        Reply::Ok(value) => Ok(value),
        Reply::Error(message) => Err(ControlError::Refused(message)),
    }
}

/// How long an answer may take.
fn patience(request: &Request) -> Duration {
    match request {
        // Reads every byte of the card.
        Request::StoreVerify => Duration::from_hours(24),
        // A self-check asks far-away servers; anything slower is stuck.
        _ => Duration::from_mins(2),
    }
}

/// Where the socket of a folder is.
pub(super) fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Longest request in bytes: an answers file fits many times.
const MAX_LINE: u64 = 1 << 20;

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The request is understood and cannot be done; the message says why.
    #[error("{0}")]
    Refused(String),
    /// There is no such folder.
    #[error("there is no post office in {}: name its folder with --data, or set one up", .0.display())]
    NoFolder(PathBuf),
    /// The folder cannot be opened.
    #[error(transparent)]
    Office(#[from] OfficeError),
    /// The socket is there and cannot be used.
    #[error("cannot use {path}: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No answer, or none that makes sense.
    #[error("the running pillarbox does not answer; look at its log")]
    Silent,
    /// An answer of an unexpected shape.
    #[error("the running pillarbox is another version: {0}")]
    Shape(#[from] serde_json::Error),
    /// The system refused an event loop.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_takes_the_place_of_a_stale_one() {
        let data = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let server = Server::bind(data.path()).unwrap();
            let place = path(data.path());
            let mode = std::fs::metadata(&place).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let (_asking, asked) =
                tokio::join!(UnixStream::connect(&place), server.listener.accept());
            asked.unwrap();
            assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 1);
        }
    }
}
