//! A connection whose bytes are DEFLATE in both directions (RFC 4978), under TLS or not. Incoming
//! bytes are inflated only as far as the reader has room, whatever they claim to be. All that a
//! peer has flushed, in full or in part, can be read at once: nothing waits for the end of a block
//! or a byte. What is written becomes readable for the peer at each flush.
//!
//! Memory: 44 kB for the window of what comes in, and up to 24 kB on the way. A compressor takes
//! 330 kB more; there are never more than [`Compressors`] allow, and a connection that rests has
//! none. Who gets none sends stored blocks, which every peer can read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Compressors that may be at work at once, 330 kB each; cheap to clone.
#[derive(Debug, Clone)]
pub struct Compressors(Arc<Semaphore>);

impl Compressors {
    /// So many.
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }
}

/// A stream over another that carries it compressed.
#[derive(Debug)]
pub struct Deflated<S> {
    inner: S,
    incoming: Incoming,
    outgoing: Outgoing,
}

impl<S> Deflated<S> {
    /// From now on. `early` is what was read already and belongs to it.
    pub fn new(inner: S, early: &[u8], compressors: Compressors) -> Self {
        let incoming = Incoming {
            inflate: Decompress::new(false),
            waiting: early.to_vec(),
            taken: 0,
            more: !early.is_empty(),
            ended: false,
        };
        let outgoing =
            Outgoing { compressors, packer: None, ready: Vec::new(), sent: 0, flushed: true };
        Self { inner, incoming, outgoing }
    }

    /// What carries it.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Gives back what only a talk needs: the next bytes are compressed anew. Does nothing while
    /// something is under way.
    pub fn rest(&mut self) {
        if self.outgoing.flushed && self.outgoing.ready.is_empty() {
            self.outgoing.packer = None;
            self.outgoing.ready = Vec::new();
        }
        if self.incoming.is_empty() {
            self.incoming.waiting = Vec::new();
            self.incoming.taken = 0;
        }
    }
}

/// Compressed bytes read at once.
const READ: usize = 8 << 10;
/// Compressed bytes held before more are taken.
const HELD: usize = 16 << 10;

#[derive(Debug)]
struct Incoming {
    inflate: Decompress,
    /// Compressed bytes; up to `taken` they are used.
    waiting: Vec<u8>,
    taken: usize,
    /// There may be more to read although no byte waits.
    more: bool,
    /// The peer has ended its stream: nothing can follow.
    ended: bool,
}

impl Incoming {
    fn is_empty(&self) -> bool {
        self.taken == self.waiting.len()
    }

    /// As much as there is room for; how much.
    fn inflate(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
        if self.ended || !self.more {
            return Ok(0);
        }
        let (came, made) = (self.inflate.total_in(), self.inflate.total_out());
        let bytes = self.waiting.get(self.taken..).unwrap_or_default();
        let room = buffer.initialize_unfilled();
        let status = self.inflate.decompress(bytes, room, FlushDecompress::None);
        let status = status.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let used = usize::try_from(self.inflate.total_in() - came).unwrap_or(usize::MAX);
        let filled = usize::try_from(self.inflate.total_out() - made).unwrap_or(usize::MAX);
        self.taken = self.taken.saturating_add(used).min(self.waiting.len());
        if used == 0 && filled == 0 && !bytes.is_empty() && !room.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // A full buffer may have left some behind; an empty one has not.
        self.more = !self.is_empty() || filled == room.len();
        self.ended = status == Status::StreamEnd;
        buffer.advance(filled.min(buffer.remaining()));
        Ok(filled)
    }
}

#[derive(Debug)]
struct Outgoing {
    compressors: Compressors,
    packer: Option<Packer>,
    /// Compressed bytes; up to `sent` they are written.
    ready: Vec<u8>,
    sent: usize,
    /// The peer can read everything once `ready` is written.
    flushed: bool,
}

#[derive(Debug)]
struct Packer {
    deflate: Compress,
    _permit: OwnedSemaphorePermit,
}

impl Outgoing {
    /// Whether a compressor is at hand. One that is new after others knows nothing of what was
    /// sent before; the peer need not know of that.
    fn packer(&mut self) -> Option<&mut Packer> {
        if self.packer.is_none() {
            let permit = Arc::clone(&self.compressors.0).try_acquire_owned().ok()?;
            let deflate = Compress::new(Compression::fast(), false);
            self.packer = Some(Packer { deflate, _permit: permit });
        }
        self.packer.as_mut()
    }

    /// Compresses these.
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.packer().is_none() {
            for piece in bytes.chunks(usize::from(u16::MAX)) {
                self.store(piece);
            }
            // A stored block ends at a byte, and is whole.
            return Ok(());
        }
        self.flushed = false;
        self.deflate(bytes, FlushCompress::None)
    }

    /// Makes all that was pushed readable.
    fn finish(&mut self) -> io::Result<()> {
        if !self.flushed {
            self.deflate(&[], FlushCompress::Sync)?;
            self.flushed = true;
        }
        Ok(())
    }

    fn deflate(&mut self, mut bytes: &[u8], flush: FlushCompress) -> io::Result<()> {
        let Some(Packer { deflate, .. }) = &mut self.packer else { return Ok(()) };
        loop {
            self.ready.reserve(READ);
            let before = deflate.total_in();
            let status = deflate.compress_vec(bytes, &mut self.ready, flush);
            status.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let used = usize::try_from(deflate.total_in() - before).unwrap_or(usize::MAX);
            bytes = bytes.get(used..).unwrap_or_default();
            // Room that is left says that nothing was held back for want of it.
            if bytes.is_empty() && self.ready.len() < self.ready.capacity() {
                return Ok(());
            }
        }
    }

    /// A block of RFC 1951 §3.2.4, at most 65,535 bytes.
    fn store(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.ready.push(0);
        self.ready.extend_from_slice(&length.to_le_bytes());
        self.ready.extend_from_slice(&(!length).to_le_bytes());
        self.ready.extend_from_slice(bytes);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deflated<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { inner, incoming, .. } = self.get_mut();
        loop {
            if incoming.inflate(buffer)? > 0 || incoming.ended || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [0; READ];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *inner).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            incoming.waiting.clear();
            incoming.taken = 0;
            incoming.waiting.extend_from_slice(read.filled());
            incoming.more = true;
        }
    }
}

impl<S: AsyncWrite + Unpin> Deflated<S> {
    /// Writes what is ready.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Outgoing { ready, sent, .. } = &mut self.outgoing;
        while let Some(bytes) = ready.get(*sent..).filter(|bytes| !bytes.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(context, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *sent += written,
            }
        }
        ready.clear();
        *sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deflated<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outgoing.ready.len() >= HELD {
            ready!(this.poll_drain(context))?;
        }
        let piece = bytes.get(..bytes.len().min(HELD)).unwrap_or_default();
        this.outgoing.push(piece)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.outgoing.finish()?;
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.outgoing.finish()?;
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is the failed test")]
mod tests;
