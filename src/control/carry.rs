//! Lines over which mail is carried in or out: opened like any request, by the running post office
//! or one opened here for the purpose, and then kept for what [`crate::archive`] says over them.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::answer::account_id;
use super::socket::{nobody_runs, path, serve};
use super::{ControlError, Reply, Request};
use crate::archive;
use crate::office::Office;

/// Longest answer to the request.
const MAX_REPLY: usize = 64 << 10;

/// A line over which mail is carried, at its owner's end.
pub struct Line {
    stream: UnixStream,
    /// The post office, when it was opened for this.
    here: Option<Here>,
}

struct Here {
    runtime: Runtime,
    office: Arc<Office>,
    serving: JoinHandle<io::Result<()>>,
}

/// Asks for mail to be carried.
pub fn open_line(data: &Path, request: &Request) -> Result<Line, ControlError> {
    let socket = path(data);
    let line = match UnixStream::connect(&socket) {
        Ok(stream) => Line { stream, here: None },
        Err(error) if nobody_runs(&error) => open_here(data)?,
        Err(source) => return Err(ControlError::Socket { path: socket, source }),
    };
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    let answer = (&line.stream).write_all(&text).and_then(|()| first_line(&line.stream));
    let answer = answer.map_err(|_| ControlError::Silent)?;
    match serde_json::from_slice(&answer)? {
        Reply::Ok(Value::Object(_)) => Ok(line),
        Reply::Ok(_) => Err(ControlError::Silent),
        Reply::Error(message) => {
            line.close()?;
            Err(ControlError::Refused(message))
        }
    }
}

impl Line {
    /// For reading and writing.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Hangs up, and closes a post office that was opened for this.
    pub fn close(self) -> Result<(), ControlError> {
        let Self { stream, here } = self;
        drop(stream);
        if let Some(Here { runtime, office, serving }) = here {
            runtime.block_on(async {
                // What went wrong on the line was seen at this end as well.
                drop(serving.await);
                match Arc::try_unwrap(office) {
                    Ok(office) => office.close().await,
                    Err(_) => Ok(()),
                }
            })?;
        }
        Ok(())
    }
}

/// Opens the folder here, and a line to it.
fn open_here(data: &Path) -> Result<Line, ControlError> {
    if !data.is_dir() {
        return Err(ControlError::NoFolder(data.to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(ControlError::Runtime)?;
    let (stream, other) = UnixStream::pair().map_err(ControlError::Runtime)?;
    let (office, serving) = runtime.block_on(async {
        let office = Arc::new(Office::open(data)?);
        other.set_nonblocking(true).map_err(ControlError::Runtime)?;
        let other = tokio::net::UnixStream::from_std(other).map_err(ControlError::Runtime)?;
        let serving = tokio::spawn({
            let office = Arc::clone(&office);
            async move { serve(other, &office, &CancellationToken::new()).await }
        });
        Ok::<_, ControlError>((office, serving))
    })?;
    Ok(Line { stream, here: Some(Here { runtime, office, serving }) })
}

/// Not a byte beyond the line: those are somebody else's.
fn first_line(mut stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') && line.len() < MAX_REPLY {
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    Ok(line)
}

/// The post office's end, after the answer: nothing for requests that carry no mail.
pub(super) async fn carry(
    office: &Office,
    request: &Request,
    stream: tokio::net::UnixStream,
    stop: &CancellationToken,
) -> io::Result<()> {
    let (Request::Import { address } | Request::Export { address }) = request else {
        return Ok(());
    };
    let account = account_id(office, address).map_err(io::Error::other)?;
    let import = matches!(request, Request::Import { .. });
    let store = office.store().clone();
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let other = stream.try_clone()?;
    let runtime = Handle::current();
    let mut work = tokio::task::spawn_blocking(move || {
        if import {
            archive::receive(&store, account, &stream, &runtime)
        } else {
            archive::give(&store, account, &stream)
        }
    });
    let done = tokio::select! {
        done = &mut work => done,
        () = stop.cancelled() => {
            other.shutdown(Shutdown::Both)?;
            work.await
        }
    };
    done.map_err(io::Error::other)?
}
