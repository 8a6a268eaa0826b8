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

use super::{Reply, Request, answer};
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
            // No socket, or one left behind by a power cut: nobody is running.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
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
        let fail = |source| ControlError::Socket { path: path.clone(), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(fail)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).map_err(fail)?;
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
                    let office = Arc::clone(&office);
                    tasks.spawn(async move {
                        if let Err(error) = serve(stream, &office).await {
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

async fn serve(stream: UnixStream, office: &Arc<Office>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(MAX_LINE).read_line(&mut line).await?;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => match answer(office, &request).await {
            Ok(value) => Reply::Ok(value),
            Err(message) => Reply::Error(message),
        },
        Err(error) => Reply::Error(format!("not a request this version knows: {error}")),
    };
    let mut bytes = serde_json::to_vec(&reply)?;
    bytes.push(b'\n');
    stream.get_mut().write_all(&bytes).await
}

async fn exchange(mut stream: UnixStream, request: &Request) -> Result<Value, ControlError> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let answered = timeout(PATIENCE, async {
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

fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Longest request in bytes: an answers file fits many times.
const MAX_LINE: u64 = 1 << 20;

/// A self-check asks far-away servers; anything slower is stuck.
const PATIENCE: Duration = Duration::from_mins(2);

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The request is understood and cannot be done; the message says why.
    #[error("{0}")]
    Refused(String),
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
